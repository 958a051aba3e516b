"""Conditional modes of all subjects of a group at once: damped Newton steps, each subject with its own damping.

A subject that fails stays where it was best and is told apart by its decrement; its neighbours never notice. The first
step of the loop is one of length zero, from nowhere to the start, so that the model is compiled once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ipex_pd.inference.conditional import Reading, Slope, Values, exact_curvature, slope, solve_definite
from ipex_pd.inference.group import Group

Array = Any

_TOLERANCE = 1e-8
_LONGEST_STEP = 4.0
_HOPELESS = 1e8
_ROUNDING = 1e-11


class Modes(NamedTuple):
    """Where the conditional density of every subject is highest, row by row.

    Attributes:
        z: [B, q] random effects in units of their prior (eta = L z).
        slope: l and its derivatives there.
        decrement: [B] sqrt(g' H^-1 g), the length of the next Newton step in posterior standard deviations; NaN when
            the curvature is not positive definite.
        iterations: [B], counting the evaluation at the start.
    """

    z: Array
    slope: Slope
    decrement: Array
    iterations: Array


class _State(NamedTuple):
    modes: Modes
    damping: Array
    done: Array


def find_modes(
    group: Group, values: Values, start: Array, *, reading: Reading, exact: bool, iterations: int = 100
) -> Modes:
    """Search from `start` [B, q]; traceable, not differentiable (see `objectives` for implicit derivatives).

    Args:
        group: subjects.
        values: population values row by row.
        start: where to search from.
        reading: how records are read.
        exact: Newton steps with the exact Hessian instead of the expected one; needed where records are not normal.
        iterations: the most steps.
    """

    def at(z: Array) -> Slope:
        found = slope(group, values, z, reading)
        return found._replace(curvature=exact_curvature(group, values, z, reading)) if exact else found

    def decrement(here: Slope) -> Array:
        return jnp.sqrt(jnp.sum(here.gradient * solve_definite(here.curvature, here.gradient), -1))

    def advance(state: _State) -> _State:
        here = state.modes
        trial = here.z - _step(here.slope, state.damping)
        there = at(trial)
        highest = here.slope.value + _ROUNDING * (1.0 + jnp.abs(here.slope.value))
        finite = jnp.isfinite(there.value) & jnp.all(jnp.isfinite(there.gradient), -1)
        better = finite & (there.value <= highest) & ~state.done
        now = _choose(better, there, here.slope)
        left = jnp.where(better, decrement(there), here.decrement)
        lost = (here.iterations == 0) & ~finite
        damping = jnp.where(better, jnp.where(state.damping < 1e-3, 0.0, 0.1 * state.damping), _more(state.damping))
        modes = Modes(
            jnp.where(better[:, None], trial, here.z), now, left, here.iterations + jnp.where(state.done, 0, 1)
        )
        return _State(modes, damping, state.done | lost | (left < _TOLERANCE) | (damping > _HOPELESS))

    rows, size = start.shape
    unknown = jnp.full(rows, jnp.inf)
    nowhere = Slope(unknown, jnp.zeros(start.shape), jnp.broadcast_to(jnp.eye(size), (rows, size, size)))
    begin = Modes(start, nowhere, unknown, jnp.zeros(rows, int))

    def unfinished(state: _State) -> Array:
        return jnp.any(~state.done) & (jnp.max(state.modes.iterations) <= iterations)

    found: _State = jax.lax.while_loop(unfinished, advance, _State(begin, jnp.zeros(rows), jnp.zeros(rows, bool)))
    return found.modes


def _more(damping: Array) -> Array:
    return jnp.maximum(10.0 * damping, 1e-2)


def _step(here: Slope, damping: Array) -> Array:
    """The damped Newton step, no longer than is sensible; NaN where the damped curvature is not positive definite."""
    size = here.gradient.shape[-1]
    step = solve_definite(here.curvature + damping[:, None, None] * jnp.eye(size), here.gradient)
    length = jnp.sqrt(jnp.sum(step**2, -1, keepdims=True))
    return step * jnp.minimum(1.0, _LONGEST_STEP / jnp.maximum(length, 1e-300))


def _choose(where: Array, one: Slope, other: Slope) -> Slope:
    return Slope(*(jnp.where(where.reshape(-1, *[1] * (a.ndim - 1)), a, b) for a, b in zip(one, other, strict=True)))
