"""Exponentials of many small matrices, lanes last, by scaling and squaring of a Taylor polynomial.

With h = t / 2^s: G(h) = integral of exp(K u) over 0..h = h (I + hK/2 (I + hK/3 (...))), P(h) = I + K G(h); then
G(2h) = G(h) + P(h) G(h) and P(2h) = P(h)^2 (Moler and Van Loan, SIAM Review 45:3, 2003, method 3).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

Array = Any

_ORDER = 12
_SMALL = 0.5
_SQUARINGS = 24


def multiply(a: Array, b: Array) -> Array:
    """Products [S, T, ...] of matrices [S, R, ...] and [R, T, ...]."""
    return sum((a[:, k, None] * b[None, k] for k in range(1, a.shape[1])), a[:, 0, None] * b[None, 0])


def apply(a: Array, x: Array) -> Array:
    """Products [S, ...] of matrices [S, R, ...] and vectors [R, ...]."""
    return sum((a[:, k] * x[k] for k in range(1, a.shape[1])), a[:, 0] * x[0])


def exponential(matrix: Array, time: Array) -> tuple[Array, Array]:
    """exp(K t) and its integral from 0 to t.

    Args:
        matrix: K [S, S, ...], or what broadcasts to it.
        time: t [...]; not negative.

    Returns:
        Two [S, S, ...]; NaN where the norm of K t is above 2^23, which no float64 result survives.
    """
    size = matrix.shape[0]
    norm = jax.lax.stop_gradient(jnp.max(jnp.sum(jnp.abs(matrix), axis=0), axis=0) * time)
    halvings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(norm, _SMALL) / _SMALL)), 0, _SQUARINGS + 1)
    lost = ~(halvings <= _SQUARINGS)
    halvings = jnp.where(lost, 0.0, halvings)
    step = jnp.where(lost, 0.0, time * 2.0**-halvings)
    unit = jnp.eye(size).reshape(size, size, *([1] * (matrix.ndim - 2)))
    scaled = matrix * step

    def nest(inner: Array, order: Array) -> tuple[Array, None]:
        return unit + multiply(scaled, inner) / order, None

    start = jnp.broadcast_to(unit, scaled.shape)
    series, _ = jax.lax.scan(nest, start, jnp.arange(_ORDER, 1, -1, dtype=float))
    total = step * series
    power = unit + multiply(matrix, total)

    def square(carry: tuple[Array, Array], index: Array) -> tuple[tuple[Array, Array], None]:
        def grow(pair: tuple[Array, Array]) -> tuple[Array, Array]:
            p, g = pair
            wanted = index < halvings
            return jnp.where(wanted, multiply(p, p), p), jnp.where(wanted, g + multiply(p, g), g)

        return jax.lax.cond(jnp.any(index < halvings), grow, lambda pair: pair, carry), None

    (power, total), _ = jax.lax.scan(square, (power, total), jnp.arange(_SQUARINGS, dtype=float))
    return jnp.where(lost, jnp.nan, power), jnp.where(lost, jnp.nan, total)
