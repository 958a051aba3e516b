"""The No-U-Turn sampler against a posterior computed by quadrature; priors, diagnostics, interrupts."""

import hand_groups as hand
import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("numpyro")

from ipex_pd.errors import UsageError
from ipex_pd.inference.bayes import NutsOptions, nuts
from ipex_pd.inference.chains import bulk_size, r_hat, tail_size
from ipex_pd.inference.objectives import evaluate, method_for
from ipex_pd.inference.population import InverseWishart, OmegaBlock, Population, Prior, Theta
from ipex_pd.inference.priors import SPREAD, Parameters


def decay():
    """Ten subjects; rate with a prior and sd of its random effect with the default one; residual variance fixed."""
    bound = hand.wang("add")
    thetas = (
        Theta("ke", 0.5, lower=0.0, prior=Prior("log_normal", np.log(0.6), 0.3)),
        Theta("variance", 0.1, fixed=True, role="residual"),
    )
    return hand.Bound(Population(thetas, (OmegaBlock(("eta",), ((0.04,),)),)), bound.groups)


@pytest.mark.slow
def test_posterior_moments_are_those_of_quadrature():
    bound = decay()
    found = nuts(*bound, NutsOptions(warmup=500, draws=1000))
    assert found.converged, found.words
    rate, sd = np.meshgrid(np.linspace(np.log(0.25), np.log(0.85), 60), np.linspace(1e-3, 1.2, 60), indexing="ij")
    method = method_for("agq", bound.groups, nodes=15)
    (group,) = bound.groups
    start = jnp.zeros(group.eta_mask.shape)
    log_posterior = np.zeros(rate.shape)
    for at in np.ndindex(rate.shape):
        w = np.array([rate[at], 0.1, np.log(sd[at])])
        value = evaluate(group, jnp.asarray(w), start, layout=bound.population.layout, method=method).values.sum()
        prior = -0.5 * ((rate[at] - np.log(0.6)) / 0.3) ** 2 - 0.5 * (sd[at] / (SPREAD * 0.2)) ** 2
        log_posterior[at] = -0.5 * float(value) + prior
    weight = np.exp(log_posterior - log_posterior.max())
    weight /= weight.sum()
    sampled_rate, sampled_sd = found.search[:, :, 0], np.exp(found.search[:, :, 2])
    for draws, grid in ((sampled_rate, rate), (sampled_sd, sd)):
        mean = np.sum(weight * grid)
        spread = np.sqrt(np.sum(weight * (grid - mean) ** 2))
        error = spread / np.sqrt(min(bulk_size(draws), tail_size(draws)))
        assert abs(draws.mean() - mean) < 4 * error
        assert abs(draws.std() / spread - 1) < 0.1


def test_priors_in_words_and_refusals():
    bound = decay()
    said = Parameters(bound.population).words()
    assert said == (
        "ke: log-normal with mean -0.510826 and sd 0.3 (as written)",
        "sd(eta): half-normal with scale 0.5 (assumed: 2.5 times its start)",
    )
    with pytest.raises(UsageError, match=r"`omega\(eta\)` has no prior.*flat priors are not used"):
        nuts(*bound, NutsOptions(defaults=False))
    with pytest.raises(UsageError, match="At least 2 chains"):
        NutsOptions(chains=1)
    fixed = Population(
        tuple(Theta(t.name, t.start, fixed=True) for t in bound.population.thetas),
        (OmegaBlock(("eta",), ((0.04,),), fixed=True),),
    )
    with pytest.raises(UsageError, match="nothing is estimated"):
        nuts(fixed, bound.groups)


def test_search_vectors_and_prior_densities():
    """The unconstrained numbers lead back to the covariance, and densities carry their Jacobians."""
    omega = ((0.3, 0.1, 0.0), (0.1, 0.4, -0.1), (0.0, -0.1, 0.2))
    scale = ((1.0, 0.2, 0.0), (0.2, 1.5, 0.1), (0.0, 0.1, 0.8))
    prior = InverseWishart(7.0, scale)
    population = Population(
        (Theta("a", 1.0, lower=0.0, upper=3.0),), (OmegaBlock(("x", "y", "z"), omega, prior=prior),)
    )
    parameters = Parameters(population)
    search, natural = jax.jit(parameters.search), jax.jit(population.layout.natural)
    x = parameters.start(population.start)
    w, _ = search(jnp.asarray(x))
    np.testing.assert_allclose(w, population.start, rtol=1e-9, atol=1e-12)

    def density(x):
        return float(search(jnp.asarray(x))[1])

    def expected(x):
        """Density over (a, Omega) times the Jacobian to x, by differences."""
        w = np.asarray(search(jnp.asarray(x))[0])
        rows = []
        for step in 1e-6 * np.eye(len(x)):
            ends = [np.asarray(natural(search(jnp.asarray(x + s))[0])) for s in (step, -step)]
            rows.append((ends[0] - ends[1]) / 2e-6)
        return -0.5 * float(prior.minus2log(population.layout.factor(w))) + np.linalg.slogdet(np.array(rows))[1]

    other = x + np.array([0.3, -0.2, 0.1, 0.4, 0.2, -0.3, 0.5])
    assert density(other) - density(x) == pytest.approx(expected(other) - expected(x), abs=1e-5)


def test_diagnostics_of_chains_know_good_from_bad():
    rng = np.random.default_rng(0)
    good = rng.standard_normal((4, 500))
    assert r_hat(good) < 1.01
    assert 1500 < bulk_size(good) < 2700
    assert tail_size(good) > 1000
    shifted = good + np.array([0.0, 0.0, 0.0, 1.0])[:, None]
    assert r_hat(shifted) > 1.05
    wider = good * np.array([1.0, 1.0, 1.0, 3.0])[:, None]
    assert r_hat(wider) > 1.05
    slow = np.cumsum(rng.standard_normal((4, 500)), axis=1)
    assert bulk_size(slow) < 40


@pytest.mark.slow
def test_an_interrupt_keeps_the_draws():
    def stop(stage):
        if stage.iteration == 150:
            raise KeyboardInterrupt

    found = nuts(*decay(), NutsOptions(warmup=50, draws=500), stop)
    assert found.interrupted
    assert not found.converged
    assert found.draws.shape == (4, 100, 3)
    assert found.words.startswith("Interrupted")
    assert np.all(found.draws[:, :, 1] == 0.1)
