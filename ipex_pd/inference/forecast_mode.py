"""The mode of a child's random effects, and the curvature there.

Rows of one group are the child at random effects moved a little each way, so that one program gives values and
Jacobian: central differences on a fixed mesh, with a step of a thousandth of the prior's standard deviation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.inference.disease import disease_group
from ipex_pd.inference.disease_endpoints import Endpoint, Judged, measured_endpoint
from ipex_pd.inference.forecast_prior import ForecastPrior
from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.likelihood import record_terms
from ipex_pd.records.cohorts import CohortData
from ipex_pd.simulation.draws import Array

_STEP = 1e-3
_ITERATIONS = 40
_SMALL = 1e-4


@dataclass(frozen=True, eq=False)
class Mode:
    """The mode.

    Attributes:
        z: [q] random effects in prior SD.
        covariance: [q, q] of the normal approximation, in prior SD.
        objective: -2 log p(y | z) + z'z there.
        decrement: length of the next step in posterior SD.
        iterations: steps tried.
        converged: whether the decrement is below a ten-thousandth.
    """

    z: Array
    covariance: Array
    objective: float
    decrement: float
    iterations: int
    converged: bool


def find_mode(cohort: CohortData, prior: ForecastPrior) -> Mode:
    """Search from the typical child.

    Args:
        cohort: one child.
        prior: what is known of him before the data.

    Raises:
        SimulationError: a measurement without a likelihood, a history that follows troughs, or a course without finite
            numbers.
    """
    endpoints = tuple(measured_endpoint(item) for item in cohort.measurements.values())
    size = len(prior.etas)
    one = disease_group(cohort, endpoints, thetas=tuple(prior.thetas), etas=prior.etas, individual=prior.individual)
    group = one.take(jnp.zeros(2 * size + 1, int))
    theta = jnp.broadcast_to(jnp.array(list(prior.thetas.values())), (2 * size + 1, len(prior.thetas)))
    factor = jnp.asarray(prior.factor)

    compiled = jax.jit(partial(_look, endpoints))

    def look(group: Group, z: Array) -> tuple[Array, Array, Array]:
        value, gradient, curvature = compiled(group, theta, factor, z)
        return np.asarray(value), np.asarray(gradient), np.asarray(curvature)

    z, damping = np.zeros(size), 0.0
    here = look(group, z)
    if not np.isfinite(here[0]):
        raise SimulationError("the typical child has no finite likelihood", where=cohort.name)
    left, tried = _decrement(here), 0
    while left > _SMALL and tried < _ITERATIONS:
        tried += 1
        step = np.linalg.solve(here[2] + damping * np.eye(size), here[1])
        there = look(group, z - step)
        if np.isfinite(there[0]) and there[0] <= here[0]:
            z, here, damping = z - step, there, 0.1 * damping if damping > _SMALL else 0.0
            left = _decrement(here)
        else:
            damping = max(10.0 * damping, 0.1)
    return Mode(z, np.asarray(np.linalg.inv(here[2]), dtype=np.float64), float(here[0]), left, tried, left <= _SMALL)


def _decrement(here: Sequence[Array]) -> float:
    return float(np.sqrt(here[1] @ np.linalg.solve(here[2], here[1])))


def _look(endpoints: Sequence[Endpoint], group: Group, theta: Any, factor: Any, z: Any) -> tuple[Any, Any, Any]:
    """-2 log p(y | z) + z'z, half its gradient, and half its expected curvature, at z [q]."""
    size = z.shape[0]
    moves = _STEP * jnp.concatenate([jnp.zeros((1, size)), jnp.eye(size), -jnp.eye(size)])
    around = z + moves
    found = group.predict(theta, around @ factor.T)
    cost = jnp.sum(record_terms(group, found), -1) + jnp.sum(around**2, -1)
    gradient = (cost[1 : size + 1] - cost[size + 1 :]) / (2.0 * _STEP)
    slopes = (found.mean[1 : size + 1] - found.mean[size + 1 :]) / (2.0 * _STEP)
    weights = _weights(group.take(jnp.zeros(1, int)), Prediction(*(part[:1] for part in found)), endpoints)
    curvature = jnp.eye(size) + 0.5 * (slopes * weights) @ slopes.T
    return cost[0], 0.5 * gradient, curvature


def _weights(group: Group, found: Prediction, endpoints: Sequence[Endpoint]) -> Any:
    """[N] second derivative of -2 log L of a child's records by their predictions, not below zero."""

    def total(mean: Any) -> Any:
        terms = record_terms(group, found._replace(mean=mean))
        for k, endpoint in enumerate(endpoints):
            if endpoint.kind != "value":
                sd = {name: jnp.asarray(float(formula.text)) for name, formula in endpoint.terms}
                direct = Judged(endpoint, mean, sd, jnp.zeros(())).minus2ll(group.inputs["y"], group.inputs["cens"])
                terms = jnp.where(group.inputs["endpoint"] == k, direct, terms)
        return jnp.sum(jnp.where(group.mask, terms, 0.0))

    # every record depends on its own prediction alone: one product gives all second derivatives
    ones = jnp.ones_like(found.mean)
    _, second = jax.jvp(jax.grad(total), (found.mean,), (ones,))
    return jnp.maximum(second[0], 0.0)
