"""How fast the disease is: the rates that choose the sub-steps and the route."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics.compiler import CompiledModel
from ipex_pd.numerics.reduction import Dormant, reduce

Array = Any
Values = dict[str, Array]

STIFF_RATE = 500.0
"""Rate [1/day] of the fastest mode above which the implicit method is taken."""

_FILTER_SHARE = 0.5
"""A filter is integrated by quadrature: it limits a sub-step as half its rate would (decay x length stays below 6)."""


def fastest_rate(model: CompiledModel, dormant: Dormant, theta: Values, age: Array, x: Array) -> np.ndarray:
    """[P] fastest rate [1/day] at a state: of the moving states, or a share of that of a filter.

    The largest modulus of the eigenvalues of the Jacobian without drugs and under drugs, which means all effects that
    the drugs of the system have at 1; effects above 1 are left to the audit.
    """
    found, decays = _jacobians(model, dormant, dict(theta), age, x)
    clean = np.nan_to_num(np.asarray(found), nan=0.0, posinf=0.0, neginf=0.0)
    fastest = np.asarray(decays).max(axis=0, initial=0.0) * _FILTER_SHARE
    if clean.shape[-1]:
        fastest = np.maximum(fastest, np.abs(np.linalg.eigvals(clean)).max(axis=(0, 2)))
    return np.asarray(np.nan_to_num(fastest, nan=0.0))


@partial(jax.jit, static_argnums=(0, 1))
def _jacobians(model: CompiledModel, dormant: Dormant, theta: Values, age: Array, x: Array) -> tuple[Array, Array]:
    """Jacobians [2, P, M, M] of the moving states with every effect at 0 and at 1, and decays [F, P] of the filters."""
    reduced = reduce(model, dormant)
    constants = reduced.prepare(theta, x)
    moving = tuple(x[i] for i in reduced.moving)

    def rates(level: Array, *states: Array) -> Array:
        u = [jnp.broadcast_to(level, age.shape)] * len(model.effects)
        linear = zip(reduced.filters, reduced.linear(u, theta), strict=True)
        settled = [d / k if f.decays else x[f.state] for f, (d, k) in linear if f.used]
        return reduced.rates(age, states, [u[i] for i in reduced.inputs] + settled, theta, constants)

    def along(level: Array, k: Array) -> Array:
        direction = tuple(jnp.where(k == i, jnp.ones_like(age), 0.0) for i in range(len(moving)))
        return jax.jvp(partial(rates, level), moving, direction)[1]

    decays = [jnp.broadcast_to(k, age.shape) for _, k in reduced.linear([0.0] * len(model.effects), theta)]
    table = jnp.stack(decays) if decays else jnp.zeros((0, *age.shape))
    if not moving:
        return jnp.zeros((2, *age.shape, 0, 0)), table
    columns = jax.vmap(jax.vmap(along, (None, 0)), (0, None))(jnp.array([0.0, 1.0]), jnp.arange(len(moving)))
    return jnp.transpose(columns, (0, 3, 2, 1)), table
