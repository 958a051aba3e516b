"""Laws of measurements as likelihoods, against SciPy, and Bayes' rule on members."""

import numpy as np
import pytest
from scipy import integrate, stats
from scipy.special import expit, logit

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.planning.evidence import effective, log_likelihood, reweighted
from ipex_pd.records.library import load_measurements
from ipex_pd.records.measurements import Measurement

TOY = {"assumed": "a number of a test"}


def item(unit="1", lloq=None, **error):
    data = {"name": "m", "quantity": "m", "unit": unit, "meaning": "m", "error": {**error, "source": TOY}}
    return Measurement.model_validate(data | ({"lloq": {"value": lloq, "source": TOY}} if lloq else {}))


@pytest.mark.parametrize(
    ("error", "law"),
    [
        ({"kind": "additive", "sd": 0.4}, lambda f: stats.norm(f, 0.4)),
        ({"kind": "proportional", "cv": 0.2}, lambda f: stats.norm(f, 0.2 * f)),
        ({"kind": "combined", "cv": 0.2, "sd": 0.3}, lambda f: stats.norm(f, np.hypot(0.3, 0.2 * f))),
        ({"kind": "lognormal", "cv": 0.3}, lambda f: stats.lognorm(np.sqrt(np.log1p(0.09)), scale=f)),
    ],
)
def test_densities_and_censored_probabilities_are_those_of_the_law(error, law):
    y, f = np.array([0.5, 1.0, 3.0]), np.array([0.8, 1.1, 2.0])
    np.testing.assert_allclose(log_likelihood(item(**error), y, f), law(f).logpdf(y), rtol=1e-12)
    below = log_likelihood(item(**error), 0.9, f, 1, -np.inf if error["kind"] != "lognormal" else 0.0)
    np.testing.assert_allclose(below, law(f).logcdf(0.9), rtol=1e-9)
    above = log_likelihood(item(**error), 0.9, f, -1, np.inf)
    np.testing.assert_allclose(above, law(f).logsf(0.9), rtol=1e-9)
    between = log_likelihood(item(**error), 0.9, f, 1, 0.4)
    np.testing.assert_allclose(between, np.log(law(f).cdf(0.9) - law(f).cdf(0.4)), rtol=1e-9)


def test_a_share_has_a_density_of_sum_one_in_its_own_unit():
    percent = item("percent", kind="logit_normal", sd=0.5)
    total, _ = integrate.quad(lambda y: float(np.exp(log_likelihood(percent, y, 30.0))), 0, 100)
    assert total == pytest.approx(1.0, abs=1e-6)
    median, _ = integrate.quad(lambda y: float(np.exp(log_likelihood(percent, y, 30.0))), 0, 30)
    assert median == pytest.approx(0.5, abs=1e-6)
    assert expit(logit(0.3)) == pytest.approx(0.3)


def test_levels_have_probabilities_of_sum_one():
    score = load_measurements().measurements["oi_score"]
    true = np.array([0.0, 1.0, 2.4, 5.0])
    total = sum(np.exp(log_likelihood(score, float(k), true)) for k in range(6))
    np.testing.assert_allclose(total, 1.0, rtol=1e-12)
    with pytest.raises(UsageError, match="Levels are numbered 0 to 5"):
        log_likelihood(score, 6.0, true)


def test_onsets_are_refused():
    with pytest.raises(UsageError, match="`diabetes_onset` is event"):
        log_likelihood(load_measurements().measurements["diabetes_onset"], 1.0, np.ones(2))


def test_bayes_rule_on_members_is_that_of_a_conjugate_normal():
    # prior N(0, 1) as 4001 quantiles, y = 1 with error sd 0.5: posterior N(0.8, 0.2)
    members = stats.norm.ppf((np.arange(4001) + 0.5) / 4001)
    prior = np.full(4001, 1 / 4001)
    found = reweighted(prior, log_likelihood(item(kind="additive", sd=0.5), 1.0, members))
    mean = found.weights @ members
    assert mean == pytest.approx(0.8, abs=1e-3)
    assert found.weights @ (members - mean) ** 2 == pytest.approx(0.2, rel=5e-3)
    assert found.log_evidence == pytest.approx(stats.norm(0, np.sqrt(1.25)).logpdf(1.0), abs=1e-4)
    assert found.effective == pytest.approx(effective(found.weights))
    assert found.effective < 4001


def test_what_no_member_can_give_is_refused():
    with pytest.raises(SimulationError, match="impossible in every member"):
        reweighted(np.ones(2) / 2, np.full(2, -np.inf))
