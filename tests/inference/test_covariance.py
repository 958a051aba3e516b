import numpy as np
import pytest
from toy_groups import SIMPLE, toy

from ipex_pd.inference.covariance import covariance_of
from ipex_pd.inference.objectives import method_for
from ipex_pd.inference.totals import Objective


@pytest.fixture(scope="module")
def pieces():
    group = toy(24, etas=2)
    objective = Objective(SIMPLE, (group,), method_for("fo", (group,)))
    at = objective.at(SIMPLE.start)
    size = len(SIMPLE.start)
    factor = np.tril(0.1 * np.sin(np.arange(size * size)).reshape(size, size), -1) + np.diag(np.linspace(4, 9, size))
    return objective, at, factor @ factor.T


def test_r_s_and_sandwich(pieces):
    objective, at, hessian = pieces
    r, s = 0.5 * hessian, 0.25 * at.gradients.T @ at.gradients
    inverse = np.linalg.inv(r)
    expected = {"r": inverse, "s": np.linalg.inv(s), "sandwich": inverse @ s @ inverse}
    for kind, matrix in expected.items():
        found = covariance_of(objective, SIMPLE.start, at, hessian, kind)
        assert found.done
        np.testing.assert_allclose(found.search, matrix, rtol=1e-8, atol=1e-12)


def test_natural_values_by_the_delta_method(pieces):
    objective, at, hessian = pieces
    found = covariance_of(objective, SIMPLE.start, at, hessian, "r")
    slopes = []
    for unit in np.eye(len(SIMPLE.start)):
        up, down = (np.asarray(SIMPLE.layout.natural(SIMPLE.start + s * 1e-6 * unit)) for s in (1, -1))
        slopes.append((up - down) / 2e-6)
    slopes = np.array(slopes).T
    np.testing.assert_allclose(found.matrix, slopes @ found.search @ slopes.T, rtol=1e-6, atol=1e-12)
    assert found.condition_number == pytest.approx(np.linalg.cond(found.correlation), rel=1e-6)


def test_a_failure_is_told_and_not_raised(pieces):
    objective, at, hessian = pieces
    bent = hessian.copy()
    bent[0, 0] = -1.0
    found = covariance_of(objective, SIMPLE.start, at, bent, "sandwich")
    assert not found.done
    assert not found.definite
    assert found.outcome.startswith("R is not positive definite")
    assert np.isnan(found.standard_errors).all()
    broken = covariance_of(objective, SIMPLE.start, at, np.full_like(hessian, np.nan), "r")
    assert broken.outcome == "the Hessian is not finite"


def test_few_subjects_have_no_s():
    group = toy(5, etas=2)
    objective = Objective(SIMPLE, (group,), method_for("fo", (group,)))
    at = objective.at(SIMPLE.start)
    hessian = np.eye(len(SIMPLE.start))
    asked = covariance_of(objective, SIMPLE.start, at, hessian, "sandwich")
    assert asked.outcome == "S has not full rank: 5 subjects for 8 parameters; use covariance `r`"
    assert covariance_of(objective, SIMPLE.start, at, hessian, "auto").kind == "r"
