"""The hot path: drugs in closed form, filters by quadrature, the rest of the disease by DOP853.

Drug effects (and filters of them) are projected on Legendre polynomials of degree 3 over the sub-step; the disease
sees the projection at the twelve stage times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics import superposition
from ipex_pd.numerics.filters import NODE_TIMES, NODE_WEIGHTS, NODES, end_value, node_values
from ipex_pd.numerics.integrate import Advance, Carry, Layout, potencies
from ipex_pd.numerics.reduction import Reduced, reduce
from ipex_pd.numerics.rows import rows_of
from ipex_pd.numerics.stepping import EIGHTH, STAGES

Array = Any

_DEGREE = 3
_at_nodes = np.polynomial.legendre.legvander(2 * NODE_TIMES - 1, _DEGREE)
_at_stages = np.polynomial.legendre.legvander(2 * EIGHTH.times - 1, _DEGREE)
PROJECTION = _at_stages @ ((2 * np.arange(_DEGREE + 1) + 1)[:, None] * (_at_nodes * NODE_WEIGHTS[:, None]).T)
"""[stage, node]: from values at the nodes to the projection at the stages."""


def mesh_advance(layout: Layout, theta: Mapping[str, Array], x: Array) -> Advance:
    """The method for `integrate.sub_step`.

    Args:
        layout: what the program is specialised to.
        theta: parameters.
        x: [S, P] states, of which those at rest are taken as they are.
    """
    system = layout.system
    reduced = reduce(system.model, layout.dormant)
    effect_constants = system.model.prepare_effects(theta)
    constants = reduced.prepare(theta, x)

    def advance(carry: Carry, now: Array, length: Array) -> tuple[Array, tuple[Array, ...], Array]:
        levels, amounts, auc = _drugs(layout, theta, carry, length)
        values = system.model.affected(potencies(system, theta, levels), theta, effect_constants)
        effects = [jnp.broadcast_to(v, (NODES, *length.shape)) for v in values]
        rows = rows_of(carry.x)
        standing = [rows[i] for i in reduced.moving]
        seen = [effects[i] for i in reduced.inputs]
        for about, (drive, decay) in zip(reduced.filters, reduced.linear(effects, theta), strict=True):
            given = jnp.broadcast_to(drive, (NODES, *length.shape))
            known = (rows[about.state], given, decay if about.decays else None, length)
            if about.used:
                seen.append(node_values(*known))
            rows[about.state] = end_value(*known)
        moved = _moved(reduced, theta, constants, standing, seen, now, length)
        for i, row in zip(reduced.moving, moved, strict=True):
            rows[i] = row
        return jnp.stack(rows), amounts, auc

    return advance


def _drugs(
    layout: Layout, theta: Mapping[str, Array], carry: Carry, length: Array
) -> tuple[list[Array], tuple[Array, ...], Array]:
    """Concentrations at the nodes [mg/L], amounts and areas at the end."""
    nodes = NODE_TIMES[:, None] * length
    levels, amounts, areas = [], [], []
    for i, drug in enumerate(layout.system.drugs):
        infused = layout.infused and (i, False) in layout.channels
        constants, held, rate = carry.kinetics[i], carry.amounts[i], carry.infusion[i]
        level = superposition.central(constants, held, rate, nodes, depot=drug.depot, infused=infused)
        level = level / constants.volume
        levels.append(level)
        measured = next(iter(drug.concentrations(theta, carry.covariates, level).values()))
        areas.append(length * jnp.sum(NODE_WEIGHTS[:, None] * measured, axis=0))
        amounts.append(superposition.advance(constants, held, rate, length, depot=drug.depot, infused=infused))
    return levels, tuple(amounts), carry.auc + jnp.stack(areas) if areas else carry.auc


def _moved(
    reduced: Reduced,
    theta: Mapping[str, Array],
    constants: Sequence[Array],
    moving: Sequence[Array],
    seen: Sequence[Array],
    now: Array,
    length: Array,
) -> Array:
    """Moving states [M, P] at the end."""
    patients = length.shape[0]
    if not moving:
        return jnp.zeros((0, patients))
    at_nodes = jnp.stack(seen, axis=1).reshape(NODES, -1) if seen else jnp.zeros((NODES, 0))
    inputs = (jnp.asarray(PROJECTION) @ at_nodes).reshape(STAGES, len(seen), patients)

    def slope(age: Array, moving: Array, u: Array) -> Array:
        return reduced.rates(age, rows_of(moving), rows_of(u), theta, constants)

    return EIGHTH.step(slope, jnp.stack(moving), inputs, now, length)
