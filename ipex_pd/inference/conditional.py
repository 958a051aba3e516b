"""The conditional density of one subject's random effects, and its derivatives.

Random effects are told as eta = L z with Omega = L L', so that their prior is z'z whatever Omega is (a variance of zero
needs no care). The joint l(z) = -2 log p(y | z) + z'z; all slopes and curvatures are those of l/2.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.likelihood import Censoring, record_terms, rows_of

Array = Any


class Reading(NamedTuple):
    """How records are read; static.

    Attributes:
        interaction: the residual variance follows eta, else it is that at eta = 0.
        censoring: of the records (see `likelihood.record_terms`).
    """

    interaction: bool = True
    censoring: Censoring = "general"


class Values(NamedTuple):
    """Population values row by row: theta [B, p] and the lower factor L [B, q, q] of the covariance."""

    theta: Array
    factor: Array


class Slope(NamedTuple):
    """l [B], the gradient [B, q] of l/2, and the expected curvature [B, q, q] of l/2 (Gauss-Newton)."""

    value: Array
    gradient: Array
    curvature: Array


def effects(group: Group, values: Values, z: Array) -> Array:
    """eta [B, q]; zero on occasions that a subject does not have."""
    return jnp.where(group.eta_mask, jnp.einsum("bij,bj->bi", values.factor, z), 0.0)


def predictions(group: Group, values: Values, z: Array, reading: Reading) -> Prediction:
    """What the model says at z; without interaction the residual variance is that at eta = 0."""
    said = group.predict(values.theta, effects(group, values, z))
    if reading.interaction:
        return said
    still = group.predict(values.theta, jnp.zeros_like(z))
    return said._replace(variance=still.variance, correlation=still.correlation)


def joint(group: Group, values: Values, z: Array, reading: Reading) -> Array:
    """l(z) [B]."""
    terms = record_terms(group, predictions(group, values, z, reading), reading.censoring)
    return jnp.sum(terms, -1) + jnp.sum(z**2, -1)


def along(function: Callable[[Array], Any], z: Array) -> tuple[Any, Any]:
    """A function of z [B, q] and its derivatives by the q entries of each row, as a new last axis."""
    basis = jnp.eye(z.shape[-1])

    def one(direction: Array) -> tuple[Any, Any]:
        pair: tuple[Any, Any] = jax.jvp(function, (z,), (jnp.broadcast_to(direction, z.shape),))
        return pair

    pair: tuple[Any, Any] = jax.vmap(one, out_axes=(None, -1))(basis)
    return pair


def slope(group: Group, values: Values, z: Array, reading: Reading) -> Slope:
    """l and its derivatives at z.

    ```
    curvature = I + sum a a'/r + c c'/2 + k k' r_j/r      a = dm/dz, c = dlog r/dz, k = dweight/dz
    ```
    """

    def at(point: Array) -> tuple[Array, Array, Array, Array]:
        said = predictions(group, values, point, reading)
        rows = rows_of(group, said)
        value = jnp.sum(record_terms(group, said, reading.censoring), -1) + jnp.sum(point**2, -1)
        usual = group.mask & ~group.direct
        return value, jnp.where(usual, said.mean, 0.0), jnp.log(rows.variance), rows.weight

    (value, _, log_variance, weight), (gradient, a, c, k) = along(at, z)
    information = expected_information(group, jnp.exp(log_variance), weight, (a, c, k))
    return Slope(value, 0.5 * gradient, jnp.eye(z.shape[-1]) + information)


def expected_information(group: Group, variance: Array, weight: Array, slopes: tuple[Array, Array, Array]) -> Array:
    """sum a a'/r + c c'/2 + k k' r_j/r [B, q, q] over the measured records of each subject.

    Args:
        group: subjects.
        variance, weight: [B, N] of `Rows`.
        slopes: [B, N, q] derivatives of the mean (before correlation), of the log variance and of the weight.
    """
    a, c, k = slopes
    if group.correlated:
        place = jnp.maximum(group.partner, 0)
        a = a - weight[..., None] * jnp.take_along_axis(a, place[..., None], 1)
        ratio = jnp.take_along_axis(variance, place, 1) / variance
        c = jnp.concatenate([c, jnp.sqrt(2.0 * ratio)[..., None] * k], 1)
    scaled = a / jnp.sqrt(variance)[..., None]
    return jnp.einsum("bni,bnj->bij", scaled, scaled) + 0.5 * jnp.einsum("bni,bnj->bij", c, c)


def exact_curvature(group: Group, values: Values, z: Array, reading: Reading) -> Array:
    """The Hessian of l/2 by z, [B, q, q]."""
    size = z.shape[-1]
    row, column = np.tril_indices(size)
    basis = jnp.eye(size)

    def value(point: Array) -> Array:
        return joint(group, values, point, reading)

    def second(first: Array, then: Array) -> Array:
        one, two = jnp.broadcast_to(first, z.shape), jnp.broadcast_to(then, z.shape)
        return jax.jvp(lambda x: jax.jvp(value, (x,), (one,))[1], (z,), (two,))[1]

    entries = 0.5 * jax.vmap(second, out_axes=-1)(basis[row], basis[column])
    full = jnp.zeros((*z.shape, size)).at[..., row, column].set(entries)
    return full.at[..., column, row].set(entries)


def solve_definite(matrix: Array, vector: Array) -> Array:
    """matrix^-1 vector by Cholesky, row by row ([B, q, q], [B, q]); NaN where the matrix is not positive definite."""
    factor = jnp.linalg.cholesky(matrix)
    half = jax.lax.linalg.triangular_solve(factor, vector[..., None], left_side=True, lower=True)
    back = jax.lax.linalg.triangular_solve(factor, half, left_side=True, lower=True, transpose_a=True)
    return back[..., 0]


def log_determinant(matrix: Array) -> Array:
    """log|matrix| [B] of positive definite matrices; NaN where one is not."""
    factor = jnp.linalg.cholesky(matrix)
    return 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), -1)
