"""SAEM against exact maxima, and the faults of its kind: fixed values, values without random effects, censoring."""

import dataclasses

import hand_groups as hand
import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.errors import UsageError
from ipex_pd.inference.importance import ImportanceOptions
from ipex_pd.inference.kernels import Moves
from ipex_pd.inference.links import find_links
from ipex_pd.inference.objectives import evaluate, method_for
from ipex_pd.inference.population import OmegaBlock, Population, Prior, Theta
from ipex_pd.inference.saem import SaemOptions, saem

QUICK = SaemOptions(polish=0, rounds=1, importance=ImportanceOptions(samples=300))


def exactly_left(bound, fit, nodes=7):
    """g'I^-1 g with the gradient by quadrature: how far the objective is from its maximum, apart from any sampling."""
    population = bound.population
    method = method_for("agq", bound.groups, nodes=nodes)
    slope = np.zeros(len(fit.w))
    for group in bound.groups:
        start = jnp.zeros(group.eta_mask.shape)
        found = evaluate(group, jnp.asarray(fit.w), start, layout=population.layout, method=method)
        slope += np.asarray(found.gradients).sum(0) / 2
    if any(t.prior is not None for t in population.thetas):
        step = 1e-6 * np.eye(len(fit.w))
        slope += [float(population.penalty(fit.w + s) - population.penalty(fit.w - s)) / 4e-6 for s in step]
    free = population.free
    information = fit.informed.information[np.ix_(free, free)]
    return float(slope[free] @ np.linalg.solve(information, slope[free]))


@pytest.fixture(scope="module")
def theophylline():
    return hand.theophylline(start=(0.2, 0.6, 3.0, 1.0))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_theophylline_maximum(theophylline, seed):
    """Without the Newton steps at the end: SAEM alone."""
    fit = saem(*theophylline, SaemOptions(polish=0, rounds=1, seed=seed))
    best = np.array(hand.THEOPHYLLINE_MLE)
    w = theophylline.population.pack(best[:4], np.diag(best[4:]))
    deviations = np.sqrt(np.diagonal(np.linalg.inv(fit.informed.information)))
    assert np.all(np.abs(fit.w - w) < 0.15 * deviations)
    assert fit.converged
    assert fit.informed.left < 0.05
    assert abs(fit.informed.marginal.objective - 118.10094) < 3.5 * fit.informed.marginal.error
    assert fit.linked == ("tka", "tcl", "tv")
    assert fit.trace.shape[1] == len(w)


def test_a_fixed_value_stays_and_is_not_followed():
    bound = hand.theophylline(start=(0.2, 0.6, 3.0, 1.0))
    thetas = tuple(dataclasses.replace(t, fixed=t.name == "tcl") for t in bound.population.thetas)
    blocks = tuple(dataclasses.replace(b, fixed=b.names == ("v",)) for b in bound.population.blocks)
    held = hand.Bound(Population(thetas, blocks), bound.groups)
    fit = saem(*held, QUICK)
    still = ~held.population.free
    assert list(np.flatnonzero(still)) == [1, 6]
    assert np.all(fit.trace[:, still] == held.population.start[still])
    assert np.all(fit.w[still] == held.population.start[still])
    assert exactly_left(held, fit) < 0.1


@pytest.mark.slow
def test_the_same_numbers_however_subjects_are_grouped(theophylline):
    (group,) = theophylline.groups
    parts = (group.take(np.array([3, 0, 7, 9])), group.take(np.array([1, 2, 4, 5, 6, 8, 10, 11, -1])))
    padded = parts[1].take(np.arange(9))
    absent = np.arange(9) == 8
    padded = dataclasses.replace(
        padded,
        subjects=jnp.where(absent, -1, padded.subjects),
        mask=padded.mask & ~absent[:, None],
    )
    options = SaemOptions(explore=50, smooth=50, cool=50, rounds=1, polish=0, chains=4)
    one = saem(theophylline.population, (group,), options)
    other = saem(theophylline.population, (parts[0], padded), options)
    np.testing.assert_allclose(one.trace, other.trace, rtol=1e-7)
    np.testing.assert_allclose(one.informed.eta, other.informed.eta, rtol=1e-6, atol=1e-8)
    assert one.informed.marginal.objective == pytest.approx(other.informed.marginal.objective, abs=1e-7)


def powered(inputs, theta, eta):
    """A baseline without random effect, a decay with one, variance s f^(2 p)."""
    (time,) = inputs
    mean = theta[:, :1] + 10.0 * jnp.exp(-theta[:, 1:2] * jnp.exp(eta[:, :1]) * time)
    return mean, theta[:, 2:3] * mean ** (2 * theta[:, 3:4])


def simulated(function, truth, sd, time, seed, effects=1):
    rng = np.random.default_rng(seed)
    subjects = time.shape[0]
    eta = rng.standard_normal((subjects, effects)) * sd
    mean, variance = function((jnp.asarray(time),), jnp.broadcast_to(jnp.asarray(truth), (subjects, len(truth))), eta)
    return np.asarray(mean + jnp.sqrt(variance) * rng.standard_normal(time.shape))


@pytest.mark.slow
def test_values_without_random_effect_power_errors_and_censored_records():
    """Thetas start far off; a third of the records lies below the limit (M3) or is conditional on being above it
    (M4)."""
    time = np.tile(np.linspace(0.1, 4.0, 8), (30, 1))
    y = simulated(powered, [2.0, 0.8, 0.02, 0.7], 0.3, time, seed=5)
    limit = 2.6
    cens = (y < limit).astype(int)
    floor = np.where(np.arange(30)[:, None] < 5, limit, -np.inf) * np.ones(y.shape)
    mask = ~((cens == 1) & np.isfinite(floor))
    group = hand.group_of(
        powered, np.where(cens == 1, limit, y), (jnp.asarray(time),), 1, mask=mask, cens=cens, floor=floor
    )
    thetas = (
        Theta("baseline", 1.0, lower=0.0),
        Theta("rate", 0.4, lower=0.0, scale="log"),
        Theta("scale", 0.1, lower=0.0, scale="log", role="residual"),
        Theta("power", 0.3, lower=0.0, upper=2.0, role="residual"),
    )
    bound = hand.Bound(Population(thetas, (OmegaBlock(("eta",), ((0.04,),)),)), (group,))
    assert int((cens * mask).sum()) > 20
    fit = saem(*bound, QUICK)
    assert fit.linked == ("rate",)
    assert exactly_left(bound, fit) < 0.1


def two(inputs, theta, eta):
    """Volume and rate with correlated random effects, a covariate on the rate, an occasion effect on the volume."""
    time, weight, second = inputs
    volume = jnp.exp(theta[:, :1] + eta[:, :1] + jnp.where(second, eta[:, 3:4], eta[:, 2:3]))
    rate = jnp.exp(theta[:, 1:2] + theta[:, 2:3] * weight + eta[:, 1:2])
    return 10.0 / volume * jnp.exp(-rate * time), theta[:, 3:4]


@pytest.mark.slow
def test_correlated_effects_covariates_occasions_and_priors():
    rng = np.random.default_rng(11)
    subjects, records = 40, 10
    time = np.tile(np.linspace(0.2, 3.0, 5), (subjects, 2))
    second = np.tile(np.repeat([False, True], 5), (subjects, 1))
    weight = np.repeat(rng.standard_normal((subjects, 1)), records, axis=1)
    omega = np.array([[0.09, 0.05], [0.05, 0.12]])
    eta = np.concatenate(
        [rng.standard_normal((subjects, 2)) @ np.linalg.cholesky(omega).T, 0.2 * rng.standard_normal((subjects, 2))], 1
    )
    inputs = tuple(jnp.asarray(v) for v in (time, weight, second))
    theta = jnp.broadcast_to(jnp.asarray([0.5, -0.3, 0.4, 0.04]), (subjects, 4))
    y = np.asarray(two(inputs, theta, eta)[0]) + 0.2 * rng.standard_normal((subjects, records))
    once = np.arange(subjects) < 10
    mask = ~(once[:, None] & second)
    eta_mask = np.ones((subjects, 4), bool)
    eta_mask[once, 3] = False
    group = hand.group_of(two, y, inputs, 4, mask=mask, eta_mask=eta_mask)
    thetas = (
        Theta("log_volume", 0.0),
        Theta("log_rate", 0.2, prior=Prior("normal", 0.0, 0.1)),
        Theta("weight_on_rate", 0.0, role="covariate"),
        Theta("variance", 0.2, lower=0.0, scale="log", role="residual"),
    )
    blocks = (OmegaBlock(("v", "k"), ((0.2, 0.0), (0.0, 0.2))), OmegaBlock(("occasion",), ((0.1,),), occasions=2))
    bound = hand.Bound(Population(thetas, blocks), (group,))
    links = find_links(*bound)
    assert [link.eta for link in links.links] == [0, 1, 1]
    np.testing.assert_allclose(links.design[:, 1, 2], weight[:, 0], rtol=1e-6)
    fit = saem(*bound, QUICK)
    assert exactly_left(bound, fit, nodes=5) < 0.1


def test_options_and_problems_that_cannot_be_honoured(theophylline):
    with pytest.raises(UsageError, match="Iterations come in blocks of 50"):
        SaemOptions(explore=75)
    with pytest.raises(UsageError, match="Gains need an exponent"):
        SaemOptions(exponent=0.4)
    with pytest.raises(UsageError, match="one of independent, block and single is at least 1"):
        Moves(independent=0, block=0, single=0)
    with pytest.raises(UsageError, match="there are no random effects"):
        saem(Population(theophylline.population.thetas), theophylline.groups)


def test_an_interrupt_keeps_what_was_found(theophylline):
    def stop(stage):
        if stage.iteration == 100:
            raise KeyboardInterrupt

    fit = saem(*theophylline, SaemOptions(), stop)
    assert fit.interrupted
    assert not fit.converged
    assert len(fit.trace) == 100
    assert fit.words.startswith("interrupted after 100 iterations")
