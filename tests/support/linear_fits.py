"""A linear mixed model whose likelihood is a closed form, for what follows a fit."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.optimize
from hand_groups import Array, Bound, group_of

from ipex_pd.inference.estimation import fit
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import OmegaBlock, Population, Theta
from ipex_pd.inference.results import Fit

X = np.array([0.0, 1.0, 2.0, 4.0])


def line(inputs: Any, theta: Array, eta: Array) -> tuple[Array, Array]:
    """A random intercept and slope; theta: intercept, slope, residual variance."""
    (x,) = inputs
    slope = theta[:, 1] + (eta[:, 1] if eta.shape[1] > 1 else 0.0)
    return (theta[:, 0] + eta[:, 0])[:, None] + slope[:, None] * x, theta[:, 2:3]


def observations(subjects: int = 24, spread: float = 0.7, slope: float = 0.3, seed: int = 5) -> np.ndarray:
    random = np.random.default_rng(seed)
    eta = random.standard_normal((subjects, 2)) * [spread, slope]
    return 2.0 + eta[:, :1] + (eta[:, 1:] - 0.5) * X + 0.5 * random.standard_normal((subjects, len(X)))


def bound_of(y: np.ndarray, effects: int = 1) -> Bound:
    start = ((0.4,),) if effects == 1 else ((0.4, 0.05), (0.05, 0.1))
    thetas = (Theta("a", 1.5), Theta("b", -0.4), Theta("s", 0.3, lower=0.0, scale="log", role="residual"))
    block = OmegaBlock(("ea", "eb")[:effects], start)
    inputs = (jnp.asarray(np.tile(X, (len(y), 1))),)
    return Bound(Population(thetas, (block,)), (group_of(line, y, inputs, effects),))


def fitted(y: np.ndarray, effects: int = 1, **options: Any) -> Fit:
    return fit(bound_of(y, effects), "fo", FitOptions(restarts=0, **options))


def minus2ll(y: np.ndarray, values: Any) -> float:
    """-2 log likelihood without its constant of a, b, s, then the covariance's lower triangle."""
    a, b, s, *omega = values
    covariance = np.array([[omega[0]]]) if len(omega) == 1 else np.array([[omega[0], omega[1]], [omega[1], omega[2]]])
    design = np.stack([np.ones_like(X), X], 1)[:, : len(covariance)]
    matrix = design @ covariance @ design.T + s * np.eye(len(X))
    if s <= 0 or np.linalg.eigvalsh(matrix).min() <= 0 or np.linalg.eigvalsh(covariance).min() <= 0:
        return 1e10
    away = y - a - b * X
    return float(len(y) * np.linalg.slogdet(matrix)[1] + np.einsum("ij,jk,ik->", away, np.linalg.inv(matrix), away))


def profiled(y: np.ndarray, place: int, value: float, start: np.ndarray) -> float:
    """The lowest -2 log likelihood with one value held, by SciPy."""
    others = np.delete(np.arange(len(start)), place)

    def function(x: np.ndarray) -> float:
        whole = np.array(start, float)
        whole[others], whole[place] = x, value
        return minus2ll(y, whole)

    found = scipy.optimize.minimize(
        function, start[others], method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-9, "maxfev": 8000}
    )
    return float(found.fun)
