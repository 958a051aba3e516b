"""Importance sampling: its own errors, its gradient and information, the EM built on it, and what it flags."""

import hand_groups as hand
import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.errors import UsageError
from ipex_pd.inference.imp import ImpOptions, imp
from ipex_pd.inference.importance import ImportanceOptions, marginal
from ipex_pd.inference.information import inform
from ipex_pd.inference.links import find_links
from ipex_pd.inference.objectives import evaluate, method_for
from ipex_pd.inference.population import OmegaBlock, Population, Theta


@pytest.fixture(scope="module")
def theophylline():
    return hand.theophylline()


@pytest.fixture(scope="module")
def links(theophylline):
    return find_links(*theophylline)


def exact_slope(bound, w):
    method = method_for("agq", bound.groups, nodes=9)
    (group,) = bound.groups
    start = jnp.zeros(group.eta_mask.shape)
    found = evaluate(group, jnp.asarray(w), start, layout=bound.population.layout, method=method)
    return np.asarray(found.gradients).sum(0) / 2


def test_score_and_information_are_those_of_the_exact_marginal(theophylline, links):
    w = np.array(theophylline.population.start) + np.array([0.1, -0.05, 0.02, 0.1, 0.2, -0.2, 0.2])
    found = inform(*theophylline, w, ImportanceOptions(samples=2000), links)
    error = np.sqrt(np.diagonal(found.noise))
    assert np.all(np.abs(found.score - exact_slope(theophylline, w)) < 4 * error + 1e-3)
    steps = 1e-3 * np.eye(len(w))
    exact = np.array([exact_slope(theophylline, w + s) - exact_slope(theophylline, w - s) for s in steps]) / 2e-3
    scale = np.sqrt(np.outer(np.diagonal(exact), np.diagonal(exact)))
    assert np.abs((found.information - exact) / scale).max() < 0.03


def test_draws_that_follow_the_parameters_are_less_noisy(theophylline, links):
    w = theophylline.population.start
    followed = inform(*theophylline, w, ImportanceOptions(samples=200), links)
    still = inform(*theophylline, w, ImportanceOptions(samples=200))
    assert np.all(np.diagonal(followed.noise)[:3] < 0.05 * np.diagonal(still.noise)[:3])
    assert followed.marginal.objective == pytest.approx(still.marginal.objective, abs=1e-9)


def test_common_random_numbers(theophylline):
    layout, w = theophylline.population.layout, np.array(theophylline.population.start)
    near = w + 1e-6
    options = ImportanceOptions(samples=200, seed=3)
    one, other = (marginal(layout, theophylline.groups, at, options).objective for at in (w, near))
    again = marginal(layout, theophylline.groups, w, options).objective
    assert one == again
    assert abs(one - other) < 1e-3
    assert one != marginal(layout, theophylline.groups, w, ImportanceOptions(samples=200, seed=4)).objective


def test_imp_finds_the_maximum(theophylline):
    start = (0.2, 0.6, 3.0, 1.0)
    found = imp(*hand.theophylline(start=start), ImpOptions(importance=ImportanceOptions(samples=500)))
    best = np.array(hand.THEOPHYLLINE_MLE)
    w = theophylline.population.pack(best[:4], np.diag(best[4:]))
    deviations = np.sqrt(np.diagonal(np.linalg.inv(found.informed.information)))
    assert np.all(np.abs(found.informed.w - w) < 0.15 * deviations)
    assert found.informed.left < 0.05


def test_a_subject_that_the_proposal_misses_is_flagged():
    """Two modes far apart: a normal approximation finds one of them."""

    def square(inputs, theta, eta):
        return jnp.broadcast_to((theta[:, :1] + eta[:, :1]) ** 2, (eta.shape[0], inputs[0].shape[1])), theta[:, 1:2]

    y = np.full((1, 8), 9.0)
    group = hand.group_of(square, y, (jnp.zeros(y.shape),), 1)
    thetas = (Theta("a", 0.5), Theta("variance", 30.0, lower=0.0, role="residual"))
    population = Population(thetas, (OmegaBlock(("eta",), ((4.0,),)),))
    found = marginal(population.layout, (group,), population.start, ImportanceOptions(rounds=0))
    assert found.flagged == (0,)


def test_options_that_cannot_be_honoured():
    with pytest.raises(UsageError, match="The Monte Carlo error is estimated from the draws"):
        ImportanceOptions(samples=5)
    with pytest.raises(UsageError, match="strictly between 0 and 1"):
        ImportanceOptions(defensive=0.0)
    with pytest.raises(UsageError, match="At least one iteration"):
        ImpOptions(iterations=0)
