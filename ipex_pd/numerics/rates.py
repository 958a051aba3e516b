"""How fast the disease is: the rates that choose the sub-steps and the route."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics.compiler import CompiledModel

Array = Any
Values = dict[str, Array]

STIFF_RATE = 500.0
"""Rate [1/day] of the fastest mode above which the implicit method is taken."""


def fastest_rate(model: CompiledModel, theta: Values, age: Array, x: Array) -> np.ndarray:
    """[P] largest modulus [1/day] of the eigenvalues of the disease Jacobian at a state, without and under drugs.

    Under drugs means all effects at 1; effects above 1 are left to the audit.
    """
    found = np.asarray(_jacobians(model, dict(theta), age, x))
    clean = np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(np.abs(np.linalg.eigvals(clean)).max(axis=(0, 2)))


@partial(jax.jit, static_argnums=0)
def _jacobians(model: CompiledModel, theta: Values, age: Array, x: Array) -> Array:
    """Jacobians [2, P, S, S] of the disease with every effect at 0 and at 1."""

    def rates(level: Array, *states: Array) -> Array:
        u = [jnp.broadcast_to(level, age.shape)] * len(model.effects)
        return jnp.stack([jnp.broadcast_to(r, age.shape) for r in model.rates(age, states, u, theta)])

    def along(level: Array, k: Array) -> Array:
        direction = tuple(jnp.where(k == i, jnp.ones_like(age), 0.0) for i in range(x.shape[0]))
        return jax.jvp(partial(rates, level), tuple(x), direction)[1]

    columns = jax.vmap(jax.vmap(along, (None, 0)), (0, None))(jnp.array([0.0, 1.0]), jnp.arange(x.shape[0]))
    return jnp.transpose(columns, (0, 3, 2, 1))
