from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import multivariate_normal, norm
from toy_groups import POPULATION, SIMPLE, THETAS, censored, correlated, toy

from ipex_pd.errors import UsageError
from ipex_pd.inference.objectives import evaluate, method_for
from ipex_pd.inference.population import OmegaBlock, Population
from ipex_pd.inference.totals import Objective


def objective(group, population, name, nodes=9):
    groups = group if isinstance(group, tuple) else (group,)
    return Objective(population, groups, method_for(name, groups, nodes))


def differences(function, at, size=1e-5):
    rows = [(function(at + size * e) - function(at - size * e)) / (2 * size) for e in np.eye(len(at))]
    return np.array(rows)


def subject(group, population, b):
    """f(eta) and r(eta) [N] of one subject, in NumPy."""
    theta, omega = population.unpack(population.start)

    def at(eta):
        said = group.predict(np.tile(theta, (group.shape[0], 1)), np.tile(eta, (group.shape[0], 1)))
        return np.asarray(said.mean)[b], np.asarray(said.variance)[b]

    return at, omega


@pytest.mark.parametrize("pairs", [False, True])
def test_fo_is_the_density_of_the_linearised_model(pairs):
    some = correlated() if pairs else toy(etas=2)
    found = objective(some, SIMPLE, "fo").at(SIMPLE.start)
    correlation = np.kron(np.eye(3), [[1.0, 0.6], [0.6, 1.0]]) if pairs else np.eye(6)
    for b in range(5):
        at, omega = subject(some, SIMPLE, b)
        mean, variance = at(np.zeros(2))
        slopes = differences(lambda e, at=at: at(e)[0], np.zeros(2)).T
        sd = np.sqrt(variance)
        whole = slopes @ omega @ slopes.T + correlation * np.outer(sd, sd)
        expected = -2 * multivariate_normal.logpdf(some.y[b], mean, whole) - 6 * np.log(2 * np.pi)
        np.testing.assert_allclose(found.values[b], expected, rtol=1e-7)


@pytest.mark.parametrize("interaction", [False, True])
def test_foce_is_what_its_formula_says(interaction):
    some = toy(etas=2)
    name = "focei" if interaction else "foce"
    whole = objective(some, SIMPLE, name)
    found = whole.at(SIMPLE.start)
    factor = np.asarray(SIMPLE.layout.factor(SIMPLE.start))
    for b in range(5):
        at, omega = subject(some, SIMPLE, b)
        eta = factor @ found.modes[0][b]
        mean, r = at(eta)
        r = r if interaction else at(np.zeros(2))[1]
        a = differences(lambda e, at=at: at(e)[0], eta).T
        c = differences(lambda e, at=at: np.log(at(e)[1]), eta).T if interaction else np.zeros((6, 2))
        inner = np.sum(np.log(r) + (some.y[b] - mean) ** 2 / r) + eta @ np.linalg.solve(omega, eta)
        curvature = np.linalg.inv(omega) + a.T @ (a / r[:, None]) + 0.5 * c.T @ c
        expected = inner + np.log(np.linalg.det(omega)) + np.log(np.linalg.det(curvature))
        np.testing.assert_allclose(found.values[b], expected, rtol=1e-8)


def test_expected_curvature_of_correlated_records():
    """A'V^-1A + tr(V^-1 dV V^-1 dV)/2, the Fisher information of a normal sample with covariance V."""
    some = correlated()
    found = objective(some, SIMPLE, "focei").at(SIMPLE.start)
    factor = np.asarray(SIMPLE.layout.factor(SIMPLE.start))
    correlation = np.kron(np.eye(3), [[1.0, 0.6], [0.6, 1.0]])
    for b in range(5):
        at, omega = subject(some, SIMPLE, b)
        eta = factor @ found.modes[0][b]

        def covariance(e, at=at):
            return correlation * np.sqrt(np.outer(at(e)[1], at(e)[1]))

        mean, whole = at(eta)[0], covariance(eta)
        a = differences(lambda e, at=at: at(e)[0], eta).T
        slopes = [np.linalg.solve(whole, d) for d in differences(covariance, eta)]
        information = a.T @ np.linalg.solve(whole, a)
        information += 0.5 * np.array([[np.trace(one @ two) for two in slopes] for one in slopes])
        inner = -2 * multivariate_normal.logpdf(some.y[b], mean, whole) - 6 * np.log(2 * np.pi)
        inner += eta @ np.linalg.solve(omega, eta)
        expected = inner + np.linalg.slogdet(np.eye(2) + omega @ information)[1]
        np.testing.assert_allclose(found.values[b], expected, rtol=1e-7)


ONE = Population(THETAS, (OmegaBlock(("eta_k",), ((0.09,),)), OmegaBlock(("eta_a",), ((0.0,),), fixed=True)))


def exact_integral(group, b, censoring):
    at, omega = subject(group, ONE, b)

    def density(eta):
        mean, variance = at(np.array([eta, 0.0]))
        sd = np.sqrt(variance)
        log = norm.logpdf(group.y[b], mean, sd) + 0.5 * np.log(2 * np.pi)
        if censoring:
            log = np.where(group.cens[b] > 0, norm.logcdf(group.y[b], mean, sd), log)
        return np.exp(log.sum() + 8.0) * norm.pdf(eta, 0.0, np.sqrt(omega[0, 0]))

    return -2 * (np.log(quad(density, -2.0, 2.0, epsabs=0, epsrel=1e-10, limit=300)[0]) - 8.0)


@pytest.mark.parametrize("censoring", [pytest.param(False, marks=pytest.mark.slow), True])
def test_quadrature_is_the_marginal_likelihood_and_laplace_comes_near(censoring):
    """Beside that, a variance fixed at zero takes part in nothing."""
    some = censored(3) if censoring else toy(3, etas=2)
    marginal = objective(some, ONE, "agq", 21).at(ONE.start)
    expected = [exact_integral(some, b, censoring) for b in range(3)]
    np.testing.assert_allclose(marginal.values, expected, rtol=1e-7)
    laplace = objective(some, ONE, "laplace").at(ONE.start)
    assert 0 < np.abs(laplace.values - expected).max() < 0.1


def test_any_split_into_groups_gives_the_same():
    some = toy(6)
    whole = objective(some, POPULATION, "focei").at(POPULATION.start)
    first, rest = some.take(np.array([3, 0])), some.take(np.array([1, 2, 4, 5]))
    split = objective((first, rest), POPULATION, "focei").at(POPULATION.start)
    np.testing.assert_allclose(split.values, whole.values, rtol=0, atol=1e-9)
    np.testing.assert_allclose(split.gradient, whole.gradient, rtol=1e-7, atol=1e-8)


def test_rows_of_padding_count_nothing():
    some = toy(3)
    filled = replace(some, subjects=np.array([0, 1, -1]), mask=np.repeat([[True], [True], [False]], 6, axis=1))
    found = objective(filled, POPULATION, "focei").at(POPULATION.start)
    whole = objective(some, POPULATION, "focei").at(POPULATION.start)
    np.testing.assert_allclose(found.value, whole.values[:2].sum(), rtol=1e-12)


def test_the_objective_does_not_depend_on_where_modes_are_searched_from():
    some = toy()
    whole = objective(some, POPULATION, "focei")
    one = whole.at(POPULATION.start)
    two = whole.at(POPULATION.start, (np.full((5, 4), -1.0),))
    three = whole.at(POPULATION.start, one.modes)
    assert abs(one.value - two.value) < 1e-8
    assert abs(one.value - three.value) < 1e-8


@pytest.mark.parametrize("name", ["fo", "foce", "focei"])
def test_censored_records_are_refused_by_name(name):
    with pytest.raises(UsageError, match=rf"`{name}` cannot honour censored records .* Use laplace, saem or imp"):
        method_for(name, (censored(),))


def test_event_records_are_refused_by_name():
    some = toy(etas=2, direct=np.eye(5, 6, dtype=bool))
    with pytest.raises(UsageError, match="`focei` cannot honour event endpoints"):
        method_for("focei", (some,))
    assert method_for("laplace", (some,)).exact


def test_other_refusals():
    with pytest.raises(UsageError, match=r"`foceii` is not an objective. Nearest: `focei`"):
        method_for("foceii", (toy(),))
    with pytest.raises(UsageError, match="needs 28561 points a subject"):
        method_for("agq", (toy(),), nodes=13)


def test_a_program_serves_every_population_of_its_layout():
    some = toy(2)
    method = method_for("fo", (some,))
    start = np.zeros((2, 4))
    evaluate(some, POPULATION.start, start, layout=POPULATION.layout, method=method)
    count = evaluate._cache_size()
    fixed = Population(tuple(t for t in THETAS), (*POPULATION.blocks[:1], OmegaBlock(("kappa",), ((0.2,),), True, 2)))
    evaluate(some, fixed.start, start, layout=fixed.layout, method=method)
    assert evaluate._cache_size() == count
