"""Slope and curvature of the likelihood of records along what the predictions depend on.

The slope is exact. The curvature is that of the linearised model,

    sum_records a a' w_m + c c' w_v,    a = d mean / dx,  c = d log variance / dx,

with w_m = 1/variance and w_v = 1/2 (the expected information) for a measured record, the positive part of the second
derivative for a censored one, and the square of its slope for an event record.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.likelihood import record_terms

Array = Any


class Expansion(NamedTuple):
    """Half of -2 log likelihood [B], its gradient [B, d] and its curvature [B, d, d]."""

    value: Array
    gradient: Array
    curvature: Array


def expand(group: Group, predict: Callable[[Array], Prediction], x: Array) -> Expansion:
    """The likelihood of each subject around x [B, d]."""
    prediction, push = jax.linearize(predict, x)
    slopes = jax.vmap(lambda unit: push(jnp.broadcast_to(unit, x.shape)), out_axes=-1)(jnp.eye(x.shape[-1]))
    value = 0.5 * jnp.sum(record_terms(group, prediction), axis=-1)
    first, by_mean, by_variance = _record_derivatives(group, prediction)
    gradient = jnp.zeros(x.shape)
    for name in Prediction._fields:
        gradient = gradient + jnp.einsum("bnd,bn->bd", _finite(getattr(slopes, name)), getattr(first, name))
    a = _finite(slopes.mean)
    c = _finite(slopes.variance / jnp.maximum(prediction.variance, 1e-300)[..., None])
    e = 0.5 * _finite(slopes.minus2ll)
    events = jnp.where(group.direct & group.mask, 1.0, 0.0)
    weighted = ((a, by_mean), (c, by_variance), (e, events))
    parts = [jnp.einsum("bnd,bn,bne->bde", s, weight, s) for s, weight in weighted]
    return Expansion(value, gradient, sum(parts[1:], start=parts[0]))


def _finite(x: Array) -> Array:
    return jnp.where(jnp.isfinite(x), x, 0.0)


def _record_derivatives(group: Group, prediction: Prediction) -> tuple[Prediction, Array, Array]:
    """Slopes by the fields of the prediction, and the curvature [B, N] by mean and by log variance."""

    def total(p: Prediction) -> Array:
        return 0.5 * jnp.sum(record_terms(group, p))

    def by_log(logarithm: Array) -> Array:
        return total(prediction._replace(variance=jnp.exp(logarithm)))

    ones, zeros = jnp.ones_like(prediction.mean), jnp.zeros_like(prediction.mean)
    along = Prediction(ones, zeros, zeros, zeros)
    first, second = jax.jvp(jax.grad(total), (prediction,), (along,))
    logarithm = jnp.log(jnp.maximum(prediction.variance, 1e-300))
    observed = jnp.maximum(_finite(jax.jvp(jax.grad(by_log), (logarithm,), (ones,))[1]), 0.0)
    usual = group.mask & ~group.direct
    by_variance = jnp.where(usual, jnp.where(group.cens == 0, 0.5, observed), 0.0)
    by_mean = jnp.where(usual, jnp.maximum(_finite(second.mean), 0.0), 0.0)
    return jax.tree.map(_finite, first), by_mean, by_variance
