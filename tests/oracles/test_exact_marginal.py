"""The exact marginal likelihood, by quadrature and by importance sampling, against values verified outside the
package."""

import hand_groups as hand
import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.inference.importance import ImportanceOptions, marginal
from ipex_pd.inference.objectives import evaluate, method_for

# Adaptive Gauss-Hermite values of shared/reference/*/README.md and reference.json.
WANG = {"prop": 39.354803462611216, "add": -1.9896142612026078, "add+prop combined2": 39.635447292191465}
FOCEI_THEOPHYLLINE, MLE_THEOPHYLLINE, FOCEI_PHENOBARBITAL = 118.1242, 118.10094, 729.56825


def quadrature(bound, w, nodes):
    """-2 log marginal likelihood, and half its gradient."""
    method = method_for("agq", bound.groups, nodes=nodes)
    found = [
        evaluate(g, jnp.asarray(w), jnp.zeros(g.eta_mask.shape), layout=bound.population.layout, method=method)
        for g in bound.groups
    ]
    return sum(float(f.values.sum()) for f in found), sum(np.asarray(f.gradients).sum(0) for f in found) / 2


@pytest.fixture(scope="module")
def theophylline():
    return hand.theophylline()


def mle_of(bound):
    best = np.array(hand.THEOPHYLLINE_MLE)
    return bound.population.pack(best[:4], np.diag(best[4:]))


@pytest.mark.parametrize("model", list(WANG))
def test_wang(model):
    bound = hand.wang(model)
    exact, _ = quadrature(bound, bound.population.start, 15)
    assert exact == pytest.approx(WANG[model], abs=1e-4)
    sampled = marginal(bound.population.layout, bound.groups, bound.population.start)
    assert abs(sampled.objective - exact) < 3.5 * sampled.error
    assert sampled.error < 0.1
    assert sampled.flagged == ()


def test_theophylline(theophylline):
    start = theophylline.population.start
    exact, _ = quadrature(theophylline, start, 11)
    assert exact == pytest.approx(FOCEI_THEOPHYLLINE, abs=1e-3)
    sampled = marginal(theophylline.population.layout, theophylline.groups, start)
    assert abs(sampled.objective - exact) < 3.5 * sampled.error
    assert sampled.error < 0.2
    assert np.sum(sampled.subjects) == pytest.approx(sampled.objective)


def test_theophylline_maximum(theophylline):
    exact, slope = quadrature(theophylline, mle_of(theophylline), 11)
    assert exact == pytest.approx(MLE_THEOPHYLLINE, abs=1e-3)
    # The published maximum is rounded to four digits.
    assert np.abs(slope).max() < 0.1


def test_phenobarbital():
    bound = hand.phenobarbital()
    exact, _ = quadrature(bound, bound.population.start, 21)
    assert exact == pytest.approx(FOCEI_PHENOBARBITAL, abs=2e-3)
    sampled = marginal(bound.population.layout, bound.groups, bound.population.start)
    assert abs(sampled.objective - exact) < 3.5 * sampled.error
    assert sampled.error < 0.4


def test_the_monte_carlo_error_is_calibrated():
    bound = hand.wang("prop")
    layout, w = bound.population.layout, bound.population.start
    exact, _ = quadrature(bound, w, 15)
    scores = []
    for seed in range(40):
        found = marginal(layout, bound.groups, w, ImportanceOptions(samples=300, seed=seed))
        scores.append((found.objective - exact) / found.error)
    # 40 standard normal scores: their standard deviation lies in (0.72, 1.30) with probability 0.99, |mean| < 0.41.
    assert 0.72 < np.std(scores, ddof=1) < 1.30
    assert abs(np.mean(scores)) < 0.45
