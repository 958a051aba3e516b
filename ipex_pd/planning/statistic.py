"""One number of many members: mean, quantile, worst; and the share of members for whom something holds.

Weights are those of the ensemble. The quantile is that of the weighted empirical distribution with straight lines
between the middles of neighbouring steps. Its derivative is exact almost everywhere: that of the two members beside it,
by their distance in weight; the order of members is not differentiated. It jumps in slope where members change places,
as every quantile does. (A conditional mean below the quantile would be smoother, and another number than the one asked
for.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

import ipex_pd.numerics  # noqa: F401  float64

if TYPE_CHECKING:
    from ipex_pd.records.plan_goals import Statistic

Array = Any


def mean(values: Array, weights: Array) -> Array:
    """Weighted mean of values [M]; members of no weight do not count, whatever their value."""
    return jnp.sum(jnp.where(weights > 0, weights * values, 0.0)) / jnp.sum(weights)


def quantile(values: Array, weights: Array, share: float) -> Array:
    """Weighted quantile of values [M]: that of `numpy.quantile(..., method="hazen")` for equal weights.

    Args:
        values: [M].
        weights: [M] not negative, not all zero.
        share: of the weight below, between 0 and 1.
    """
    order = jnp.argsort(jnp.where(weights > 0, values, jnp.inf))
    ordered, heavy = values[order], weights[order] / jnp.sum(weights)
    middle = jnp.cumsum(heavy) - 0.5 * heavy
    last = jnp.sum(heavy > 0) - 1
    right = jnp.clip(jnp.searchsorted(middle, share, side="right"), 0, last)
    left = jnp.maximum(jnp.minimum(right - 1, last), 0)
    gap = middle[right] - middle[left]
    part = jnp.clip(jnp.where(gap > 0, (share - middle[left]) / jnp.where(gap > 0, gap, 1.0), 0.0), 0.0, 1.0)
    return ordered[left] + part * (ordered[right] - ordered[left])


def worst(values: Array, weights: Array) -> Array:
    """Smallest value [M] of members with weight: larger is better."""
    return jnp.min(jnp.where(weights > 0, values, jnp.inf))


def statistic(asked: Statistic, values: Array, weights: Array) -> Array:
    """The number that a plan is judged by, from the members' values [M] (larger is better) and weights [M]."""
    if asked.kind == "mean":
        return mean(values, weights)
    if asked.kind == "worst":
        return worst(values, weights)
    assert asked.share is not None
    return quantile(values, weights, asked.share)


def plain_statistic(asked: Statistic, values: Array, weights: Array) -> float:
    """The same of plain arrays, for values that were simulated."""
    return float(statistic(asked, jnp.asarray(np.asarray(values)), jnp.asarray(np.asarray(weights))))
