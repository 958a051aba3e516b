"""Individual values from standard normal draws."""

import numpy as np
import pytest

from ipex_pd.records.parameters import Parameter
from ipex_pd.simulation.draws import normals
from ipex_pd.simulation.variability import individual, uncertain

ETA = normals(1, "test", np.arange(40000))
SOURCE = {"assumed": "a test"}


def parameter(**fields) -> Parameter:
    return Parameter.model_validate(
        {"name": "clearance", "unit": "L/day", "meaning": "test", "source": SOURCE, **fields}
    )


def test_lognormal_has_the_stated_cv_and_median():
    values = individual(parameter(value=10.0, variability={"cv": 0.4}), ETA)
    assert np.median(values) == pytest.approx(10.0, rel=0.01)
    assert values.std() / values.mean() == pytest.approx(0.4, rel=0.02)
    assert values == pytest.approx(10.0 * np.exp(np.sqrt(np.log(1.16)) * ETA))


def test_normal_adds():
    values = individual(parameter(value=10.0, variability={"distribution": "normal", "sd": 2.0}), ETA)
    assert values == pytest.approx(10.0 + 2.0 * ETA)


def test_logit_stays_inside_its_bounds():
    values = individual(parameter(value=0.2, bounds=[0.0, 1.0], variability={"distribution": "logit", "sd": 3.0}), ETA)
    assert 0 < values.min() < values.max() < 1
    assert np.median(values) == pytest.approx(0.2, abs=0.01)


def test_a_bound_cuts_the_distribution_and_gathers_nobody():
    values = individual(parameter(value=1.0, bounds=[0.5, 2.0], variability={"cv": 1.0}), ETA)
    assert 0.5 < values.min() < 0.501
    assert 1.99 < values.max() < 2.0
    assert np.unique(values).size == values.size
    inside = np.exp(np.sqrt(np.log(2.0)) * ETA)
    inside = inside[(inside > 0.5) & (inside < 2.0)]
    assert np.quantile(values, [0.25, 0.75]) == pytest.approx(np.quantile(inside, [0.25, 0.75]), rel=0.02)


def test_without_variability_all_are_the_same():
    assert set(individual(parameter(value=3.0), ETA[:5])) == {3.0}


def test_an_own_typical_value_moves_the_whole():
    varying = parameter(value=10.0, variability={"cv": 0.4})
    assert individual(varying, ETA, typical=20.0) == pytest.approx(2 * individual(varying, ETA))


def test_uncertainty_as_relative_error_interval_and_range():
    by_rse = uncertain(parameter(value=10.0, uncertainty={"rse": 0.1}), ETA)
    assert by_rse.std() == pytest.approx(1.0, rel=0.02)
    by_interval = uncertain(
        parameter(value=10.0, scale="log", bounds=[0.0, None], uncertainty={"interval": [5.0, 20.0]}), ETA
    )
    assert np.quantile(by_interval, [0.025, 0.975]) == pytest.approx([5.0, 20.0], rel=0.03)
    by_range = uncertain(
        parameter(value=10.0, scale="log", bounds=[0.0, None], uncertainty={"range": [1.0, 100.0]}), ETA
    )
    assert np.quantile(by_range, [0.0, 0.5, 1.0]) == pytest.approx([1.0, 10.0, 100.0], rel=0.05)
    assert set(uncertain(parameter(value=10.0), ETA[:3])) == {10.0}
