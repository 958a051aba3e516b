"""States that filter drug effects, ``dy/dt = drive(t) - decay y``, integrated over a sub-step by quadrature.

The drive is known at the Gauss nodes of the sub-step (graded towards its left edge), so that a filter is as exact
as the quadrature, however fast it is: nothing of it is left to the explicit method.

The nodes are tau = s^2. A saturated effect rises within a minute of a dose and falls hours later, and the nodes must
see both: with twelve nodes at s^3 the steroid signal erred by up to 7e-4 over sub-steps of half a day, with twenty at
s^2 by 4e-6.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

Array = Any

NODES = 20
_s, _w = np.polynomial.legendre.leggauss(NODES)
_s, _w = 0.5 * (_s + 1.0), 0.5 * _w
NODE_TIMES = _s**2
NODE_WEIGHTS = 2.0 * _s * _w


def _running_integrals() -> np.ndarray:
    """[node, node]: from values at the nodes to integrals from the left edge to each node (polynomial in s)."""
    table = np.empty((NODES, NODES))
    modes = np.polynomial.legendre.legvander(2 * _s - 1, NODES - 1)
    to_modes = (2 * np.arange(NODES) + 1)[:, None] * (modes * _w[:, None]).T
    for j, end in enumerate(_s):
        inner = end * _s
        weights = end * _w * 2.0 * inner
        table[j] = (weights @ np.polynomial.legendre.legvander(2 * inner - 1, NODES - 1)) @ to_modes
    return table


RUNNING = _running_integrals()


def end_value(start: Array, drive: Array, decay: Array | None, length: Array) -> Array:
    """[P] value at the end of a sub-step.

    Args:
        start: [P] value at its left edge.
        drive: [node, P].
        decay: [P] [1/day], or None for an integral.
        length: [P] [day].
    """
    if decay is None:
        return start + length * _sum(NODE_WEIGHTS, drive)
    left = jnp.exp(-decay * (1.0 - NODE_TIMES[:, None]) * length)
    return start * jnp.exp(-decay * length) + length * _sum(NODE_WEIGHTS, left * drive)


def node_values(start: Array, drive: Array, decay: Array | None, length: Array) -> Array:
    """[node, P] values at the nodes of a sub-step; arguments as in `end_value`."""
    if decay is None:
        return start + length * (jnp.asarray(RUNNING) @ drive)
    growth = jnp.exp(decay * NODE_TIMES[:, None] * length)
    return (start + length * (jnp.asarray(RUNNING) @ (growth * drive))) / growth


def _sum(weights: np.ndarray, values: Array) -> Array:
    return jnp.sum(weights[:, None] * values, axis=0)
