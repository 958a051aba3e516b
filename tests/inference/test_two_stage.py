"""Two-stage estimation against SciPy: individual least squares, and the likelihood of a linear mixed model."""

import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.optimize import least_squares, minimize
from toy_groups import BLOCK, POPULATION, THETAS, TIMES, censored, toy

from ipex_pd.errors import UsageError
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import OmegaBlock, Population, Prior, Theta
from ipex_pd.inference.stages import Estimates, Structure, global_stage, standard_stage

SUBJECTS = 16
FIXED_SHAPE = tuple(
    replace(t, fixed=t.name in ("b", "prop"), role="residual" if t.name in ("add", "prop") else "structural")
    for t in (*THETAS[:4], Theta("prop", 1e-9, 0.0))
)
PROBLEM = Population(FIXED_SHAPE, (BLOCK,))


@dataclass(frozen=True)
class Toy:
    """A bound problem without data files."""

    population: Population
    groups: tuple


@pytest.fixture(scope="module")
def problem():
    group = toy(SUBJECTS, etas=2)
    mask = group.mask.copy()
    mask[4, 1:] = False
    return Toy(PROBLEM, (replace(group, mask=mask),))


@pytest.fixture(scope="module")
def whole(problem):
    return fit(problem, "two_stage")


@pytest.fixture(scope="module")
def standard(problem):
    return fit(problem, "two_stage", FitOptions(stages="standard"))


def by_scipy(y):
    """log k, a of every row, and the residual sum of squares."""

    def residual(x, own):
        return own - x[1] * (0.1 + 0.9 * np.exp(-np.exp(x[0]) * TIMES))

    found = [least_squares(residual, [np.log(0.3), 10.0], args=(own,), xtol=1e-14, ftol=1e-14) for own in y]
    return np.array([f.x for f in found]), sum(2 * f.cost for f in found)


def test_individual_estimates_are_least_squares_and_the_error_has_its_degrees_of_freedom(problem, whole):
    others = np.arange(SUBJECTS) != 4
    theirs, squares = by_scipy(problem.groups[0].y[others])
    own = whole.stages.estimates[others] + np.array([np.log(0.3), 10.0])
    # The prior of 200 start standard deviations pulls the least determined subject by 1e-5 of its value.
    np.testing.assert_allclose(own, theirs, rtol=2e-5, atol=3e-5)
    freedom = others.sum() * (len(TIMES) - 2)
    assert whole.parameter_values["add"] == pytest.approx(np.sqrt(squares / freedom), rel=1e-3)


def test_the_standard_stage_is_mean_and_covariance_of_the_estimates(standard):
    estimates = standard.stages.estimates + np.array([np.log(0.3), 10.0])
    found = standard.parameter_values
    assert np.log(found["k"]) == pytest.approx(estimates[:, 0].mean(), rel=1e-9)
    assert found["a"] == pytest.approx(estimates[:, 1].mean(), rel=1e-9)
    covariance = np.cov(estimates.T)
    ours = [found["omega(eta_k)"], found["omega(eta_a,eta_k)"], found["omega(eta_a)"]]
    np.testing.assert_allclose(ours, covariance[[0, 1, 1], [0, 0, 1]], rtol=1e-6)
    error = standard.parameters.set_index("parameter").se["a"]
    assert error == pytest.approx(np.sqrt(covariance[1, 1] / SUBJECTS), rel=1e-6)
    assert "too large" in str(standard.verdict)


def test_a_subject_that_is_not_identifiable_alone_is_told(whole, standard):
    table = whole.stages.table(whole.labels.subjects)
    assert table.way.tolist() == ["map" if i == 4 else "ml" for i in range(SUBJECTS)]
    assert table.why[4] == "its data do not tell every random effect"
    assert whole.verdict.level == "look"
    assert "subject 5 by MAP: not identifiable alone" in str(whole)
    assert "drawn towards the start values" in str(standard)
    assert whole.individuals.way[4] == "map"
    assert whole.found.outcome == "global two-stage: 15 of 16 subjects alone, 1 by MAP"
    assert json.loads(whole.to_json())["stages"][4]["way"] == "map"


def test_it_is_near_the_likelihood_of_all_subjects(problem, whole):
    """Estimates are within a standard error of focei's, and the objective within a unit of its minimum."""
    best = fit(problem, "focei", FitOptions(restarts=0))
    assert best.value <= whole.value < best.value + 1.0
    errors = best.covariance.standard_errors
    free = best.population.free
    np.testing.assert_array_less(np.abs(whole.estimates - best.estimates)[free], errors)
    np.testing.assert_allclose(whole.covariance.standard_errors[:2], errors[:2], rtol=0.25)


def test_a_subject_without_a_likelihood_takes_no_part_and_is_named(problem, whole):
    group = problem.groups[0]
    y = group.y.copy()
    y[2, 0] = np.nan
    found = fit(replace(problem, groups=(replace(group, y=y),)), "two_stage")
    assert found.failed == (3,)
    assert found.stages.way[2] == "failed"
    assert found.verdict.level == "do not trust"
    assert "subject 3 had no individual fit and took no part" in str(found)
    keep = np.arange(SUBJECTS) != 2
    np.testing.assert_allclose(found.stages.estimates[keep], whole.stages.estimates[keep], rtol=0.05, atol=0.02)
    assert np.isnan(found.stages.estimates[2]).all()


def drawn(subjects=40, seed=8):
    """Estimates of a linear model with a covariate, two subjects with singular information."""
    random = np.random.default_rng(seed)
    omega = np.array([[0.3, 0.1], [0.1, 0.2]])
    root = random.standard_normal((subjects, 2, 2)) * 2.0
    information = root @ np.swapaxes(root, 1, 2)
    information[:2] = np.einsum("ni,nj->nij", root[:2, 0], root[:2, 0])
    design = np.zeros((subjects, 2, 3))
    design[:, 0, 0] = design[:, 1, 1] = 1.0
    design[:, 0, 2] = random.standard_normal(subjects)
    truth = design @ np.array([0.5, -0.4, 0.8]) + random.standard_normal((subjects, 2)) @ np.linalg.cholesky(omega).T
    noise = np.einsum("nij,nj->ni", root, random.standard_normal((subjects, 2)))
    noise[:2] = root[:2, 0] * random.standard_normal((2, 1))
    weighted = np.einsum("nij,nj->ni", information, truth) + noise
    estimate = np.einsum("nij,nj->ni", np.linalg.pinv(information), weighted)
    return Estimates(information, weighted, estimate, design)


def test_the_global_stage_is_the_maximum_of_its_likelihood():
    """-2 log likelihood of b_i ~ N(I_i X_i s, I_i D I_i + I_i), written without inverses of I_i, by SciPy."""
    told, structure = drawn(), Structure(np.diag([0.5, 0.5]), np.ones((2, 2), bool))

    def minus2ll(x):
        factor = np.array([[np.exp(x[3]), 0.0], [x[5], np.exp(x[4])]])
        omega, total = factor @ factor.T, 0.0
        for info, b, design in zip(told.information, told.weighted, told.design, strict=True):
            away = b - info @ design @ x[:3]
            spread = np.eye(2) + info @ omega
            estimate = np.linalg.pinv(info) @ away
            total += np.linalg.slogdet(spread)[1] + estimate @ np.linalg.solve(spread, away)
        return total

    first = standard_stage(told, structure)
    found = global_stage(told, structure, first)
    best = minimize(minus2ll, [0.5, -0.4, 0.8, np.log(0.5), np.log(0.4), 0.1], method="BFGS", options={"gtol": 1e-7})
    factor = np.array([[np.exp(best.x[3]), 0.0], [best.x[5], np.exp(best.x[4])]])
    assert found.converged
    np.testing.assert_allclose(found.shift, best.x[:3], atol=1e-5)
    np.testing.assert_allclose(found.omega, factor @ factor.T, atol=1e-5)
    points = [best.x + 0.01 * np.eye(6)[k] for k in range(3)]
    pairs = [[minus2ll(points[i] + points[j] - best.x) for j in range(3)] for i in range(3)]
    singles = np.array([minus2ll(x) for x in points])
    hessian = (np.array(pairs) - singles[:, None] - singles + best.fun) / 1e-4
    np.testing.assert_allclose(found.shift_covariance, 2 * np.linalg.inv(hessian), rtol=1e-3, atol=1e-6)


def test_fixed_and_absent_covariances_stay():
    told = drawn()
    structure = Structure(np.diag([0.5, 0.25]), np.diag([True, False]))
    for stage in (standard_stage(told, structure), global_stage(told, structure, standard_stage(told, structure))):
        assert stage.omega[1, 1] == 0.25
        assert stage.omega[0, 1] == 0
        assert stage.omega[0, 0] != 0.5
        assert stage.omega_covariance.shape == (1, 1)


def changed(**fields):
    return tuple(replace(t, **fields) if t.name == "a" else t for t in FIXED_SHAPE)


@pytest.mark.parametrize(
    ("population", "message"),
    [
        (
            Population(THETAS, (BLOCK,)),
            "cannot estimate typical values that shift no random effect: `b`, `add`, `prop`",
        ),
        (POPULATION, "cannot honour `kappa`, a random effect of occasions"),
        (Population(changed(prior=Prior("normal", 10.0, 1.0)), (BLOCK,)), "cannot honour the prior of `a`"),
    ],
)
def test_what_two_stages_cannot_do_is_refused_by_name(population, message):
    etas = population.layout.etas
    with pytest.raises(UsageError, match=message) as caught:
        fit(Toy(population, (toy(4, etas=etas),)), "two_stage")
    assert "ocei" in str(caught.value)


def test_data_too_sparse_for_any_subject_are_refused(problem):
    group = problem.groups[0]
    mask = group.mask.copy()
    mask[:, 1:] = False
    with pytest.raises(UsageError, match="no subject tells its random effects alone"):
        fit(replace(problem, groups=(replace(group, mask=mask),)), "two_stage")


def test_options_of_other_methods_are_refused(problem):
    with pytest.raises(UsageError, match="`focei` has no option `stages`"):
        fit(problem, "focei", FitOptions(stages="standard"))
    with pytest.raises(UsageError, match="covariance `r` is not offered by two_stage"):
        fit(problem, "two_stage", FitOptions(covariance="r"))


def test_censored_records_are_honoured(problem):
    """M3 records pull the estimates as they do in laplace."""
    group = replace(censored(12, etas=2, limit=1.5), mask=np.ones((12, 6), bool))
    bound = replace(problem, groups=(group,))
    found, best = fit(bound, "two_stage"), fit(bound, "laplace", FitOptions(restarts=0))
    assert best.value <= found.value < best.value + 3.0


def test_a_block_that_is_zero_has_no_effect(problem):
    blocks = (OmegaBlock(("eta_k",), ((0.09,),)), OmegaBlock(("eta_a",), ((0.0,),), fixed=True))
    with pytest.raises(UsageError, match="shift no random effect: `a`"):
        fit(replace(problem, population=Population(FIXED_SHAPE, blocks)), "two_stage")
