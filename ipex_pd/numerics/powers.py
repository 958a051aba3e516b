"""Powers by repeated squaring, exact at a base of zero and cheaper than a logarithm."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array


def integer_power(base: Array, n: int) -> Array:
    """The base, of any shape, multiplied with itself.

    Args:
        base: the base, any shape and unit.
        n: how many times, 0 or more.
    """
    if n == 0:
        return jnp.ones_like(base)
    if n == 1:
        return base
    half = integer_power(base, n // 2)
    return half * half * base if n % 2 else half * half
