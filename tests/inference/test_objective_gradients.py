"""Exact gradients against central differences, for every method and every kind of parameter."""

import numpy as np
import pytest
from toy_groups import POPULATION, SIMPLE, censored, correlated, toy

from ipex_pd.inference.objectives import method_for
from ipex_pd.inference.population import InverseWishart, OmegaBlock, Population, Prior, Theta
from ipex_pd.inference.totals import Objective

CASES = {
    "pooled": (toy(), POPULATION, "pooled"),
    "fo": (toy(), POPULATION, "fo"),
    "foce": (toy(), POPULATION, "foce"),
    "focei": (toy(), POPULATION, "focei"),
    "laplace": (toy(), POPULATION, "laplace"),
    "agq": (toy(etas=2), SIMPLE, "agq"),
    "fo, correlated": (correlated(), SIMPLE, "fo"),
    "focei, correlated": (correlated(), SIMPLE, "focei"),
    "laplace, censored": (censored(), SIMPLE, "laplace"),
}


def central(function, w, size=2e-4):
    """Five-point differences of a function of w [n]."""
    slopes = []
    for unit in np.eye(len(w)):
        near = function(w + size * unit) - function(w - size * unit)
        far = function(w + 2 * size * unit) - function(w - 2 * size * unit)
        slopes.append((8 * near - far) / (12 * size))
    return np.array(slopes)


@pytest.mark.parametrize("case", list(CASES))
def test_gradient_is_exact(case):
    group, population, name = CASES[case]
    objective = Objective(population, (group,), method_for(name, (group,), 7))
    w = population.start + 0.1 * np.cos(np.arange(len(population.start)))
    at = objective.at(w)
    assert at.found.all()
    expected = central(lambda x: objective.at(x, at.modes).value, w)
    np.testing.assert_allclose(at.gradient, expected, rtol=1e-6, atol=1e-6 * np.abs(expected).max())
    np.testing.assert_allclose(at.gradients.sum(0), at.gradient, rtol=1e-12)
    single = central(lambda x: objective.at(x, at.modes).values[2], w)
    np.testing.assert_allclose(at.gradients[2], single, rtol=1e-6, atol=1e-6 * np.abs(single).max())


def test_gradient_of_priors_is_exact():
    group, population, name = CASES["fo"]
    thetas = (Theta("k", 0.3, 0.0, prior=Prior("log_normal", -1.0, 0.2)), *population.thetas[1:])
    block = OmegaBlock(("eta_k", "eta_a"), ((0.09, 0.02), (0.02, 1.0)), prior=InverseWishart(6.0, ((0.4, 0), (0, 3.0))))
    informed = Population(thetas, (block, population.blocks[1]))
    objective = Objective(informed, (group,), method_for(name, (group,)))
    expected = central(lambda x: objective.at(x).value, informed.start)
    np.testing.assert_allclose(objective.at(informed.start).gradient, expected, rtol=1e-6, atol=1e-5)


def test_hessian_by_differences_of_gradients():
    group, population, _ = CASES["fo"]
    objective = Objective(population, (group,), method_for("fo", (group,)))
    w, free = population.start, np.arange(len(population.start))
    at = objective.at(w)
    hessian = objective.hessian(w, at, np.full(len(w), 2e-4), free)
    diagonal = []
    for unit in np.eye(len(w)):
        size = 1e-3
        values = [objective.at(w + s * size * unit).value for s in (-2, -1, 0, 1, 2)]
        diagonal.append(np.dot([-1, 16, -30, 16, -1], values) / (12 * size**2))
    np.testing.assert_allclose(np.diag(hessian), diagonal, rtol=1e-5, atol=1e-4)
