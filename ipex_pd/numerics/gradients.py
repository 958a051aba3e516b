"""The solution as a pure function of traced values on a frozen mesh, and a check of its gradients.

`freeze` makes every decision that cannot be differentiated (order of events, number of sub-steps) for one set of
values; `solve_traced` then runs under jax.jit, jax.jvp, jax.grad and jax.vmap of the caller. When a dose time crosses
another event, the order changes: freeze again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics import integrate, program
from ipex_pd.numerics.explicit import mesh_advance
from ipex_pd.numerics.integrate import Layout
from ipex_pd.numerics.levels import FIRST_LEVEL, grading_for, rate_class
from ipex_pd.numerics.mesh import Mesh, build_mesh, event_times
from ipex_pd.numerics.program import Lookup
from ipex_pd.numerics.rates import fastest_rate
from ipex_pd.numerics.reduction import Dormant
from ipex_pd.numerics.schedule import Schedule, System, check_schedule
from ipex_pd.numerics.solve import SolverOptions, unaffected

Array = Any

_BLOCK = 32


@dataclass(frozen=True, eq=False)
class Plan:
    """A frozen mesh: data, not traced.

    Attributes:
        layout: what the program is specialised to.
        mesh: sub-steps, filled up to whole blocks.
        facts: fixed facts of the schedule's rows.
        rows: [T] places of the outputs among the shared times.
    """

    layout: Layout
    mesh: Mesh
    facts: Lookup
    rows: np.ndarray


class Traced(NamedTuple):
    """States [T, S, P], concentrations [T, D, P] [mg/L], area under the measured ones [T, D, P] at the output times."""

    states: Array
    concentrations: Array
    auc: Array


def freeze(
    system: System,
    schedule: Schedule,
    theta: Mapping[str, Array],
    *,
    age: Array,
    output_times: Array,
    state: Mapping[str, Array] | None = None,
    options: SolverOptions | None = None,
) -> Plan:
    """Decide the mesh for concrete values; simultaneous events are kept apart so that their times can differ.

    Raises:
        SimulationError: what is given does not fit together, or a drug has nonlinear elimination.
    """
    check_schedule(schedule, system)
    nonlinear = [d.name for d in system.drugs if d.nonlinear is not None]
    if nonlinear:
        raise SimulationError(
            f"`{nonlinear[0]}` has nonlinear elimination",
            where="freeze",
            rule="Gradients are taken on the mesh, which holds drugs in closed form",
        )
    ages = jnp.atleast_1d(jnp.asarray(age, float))
    wide = _wide(theta, len(ages))
    rows = schedule.rows(len(ages))
    x = program.initial_state(system, wide, ages, state)
    lags = np.asarray(program.lags_of(system, rows, wide, ages, x))
    dormant = Dormant(absent=unaffected(system, wide))
    rate = rate_class(np.max(fastest_rate(system.model, dormant, wide, ages, x), keepdims=True))
    grading = grading_for(FIRST_LEVEL[(options or SolverOptions()).accuracy], float(rate[0]))
    rows = replace(
        rows,
        times=np.asarray(rows.times),
        duration=np.asarray(rows.duration),
        transplant_times=np.asarray(rows.transplant_times),
    )
    times = np.atleast_1d(np.asarray(output_times, float))
    mesh = build_mesh(system, rows, lags, times, grading, separate=True)
    layout = program.layout_for(system, rows, mesh, dormant)
    places = np.searchsorted(mesh.shared, times - 1e-9)
    return Plan(layout, program.padded(mesh, _BLOCK), program.lookup(rows), places)


def solve_traced(
    plan: Plan, schedule: Schedule, theta: Mapping[str, Array], *, age: Array, state: Mapping[str, Array] | None = None
) -> Traced:
    """Solve on a frozen mesh; differentiable in theta, age, state, and in the schedule's times, amounts, durations,
    transplant times and their covariates. Reverse mode keeps one carry per block of sub-steps."""
    layout, mesh = plan.layout, plan.mesh
    system = layout.system
    ages = jnp.atleast_1d(jnp.asarray(age, float))
    wide = _wide(theta, ages.shape[0])
    rows = schedule.rows(ages.shape[0])
    x = program.initial_state(system, wide, ages, state)
    lags = program.lags_of(system, rows, wide, ages, x)
    rows = replace(
        rows,
        times=jnp.asarray(rows.times),
        amount=jnp.asarray(rows.amount),
        duration=jnp.asarray(rows.duration),
        transplant_times=jnp.asarray(rows.transplant_times),
        transplants={n: jnp.asarray(v) for n, v in rows.transplants.items()},
    )
    table = event_times(rows, lags, mesh.shared, jnp)
    slots = program.slots_of(mesh, rows, plan.facts, lags, table, slice(None), event_names=program.event_names(layout))
    blocks = jax.tree.map(lambda v: jnp.reshape(v, (mesh.steps // _BLOCK, _BLOCK, *jnp.shape(v)[1:])), slots)
    membership = jnp.asarray(program.orders_of(system, rows, layout.orders))
    step = partial(integrate.sub_step, layout, wide, ages, membership, mesh_advance(layout, wide, x))

    def block(carry: integrate.Carry, some: integrate.Slots) -> tuple[integrate.Carry, Any]:
        after, record = jax.lax.scan(step, carry, some)
        return after, (record.x, record.central, record.auc)

    _, history = jax.lax.scan(jax.checkpoint(block), integrate.begin(layout, wide, ages, x), blocks)
    at = mesh.sync[plan.rows]
    return Traced(*(h.reshape(-1, *h.shape[2:])[at] for h in history))


def _wide(theta: Mapping[str, Array], patients: int) -> dict[str, Array]:
    return {n: jnp.broadcast_to(jnp.asarray(v, float), (patients,)) for n, v in theta.items()}


class GradientCheck(NamedTuple):
    """Gradients of one number: forward, reverse, by central differences, and the largest relative disagreement."""

    forward: np.ndarray
    reverse: np.ndarray
    differences: np.ndarray
    disagreement: float


def gradcheck(function: Callable[[Array], Array], argument: Array, *, step: float = 1e-5) -> GradientCheck:
    """Compare jax.jvp and jax.grad of a function of one array, with one number as result, with central differences.

    Args:
        function: traceable.
        argument: where.
        step: of the differences, relative to the size of each entry (absolute for zeros).
    """
    point = np.asarray(argument, float)
    run = jax.jit(function)
    reverse = np.asarray(jax.jit(jax.grad(function))(point))
    tangent = jax.jit(lambda at, along: jax.jvp(function, (at,), (along,))[1])
    forward, differences = np.zeros(point.shape), np.zeros(point.shape)
    for index in np.ndindex(point.shape):
        unit = np.zeros(point.shape)
        unit[index] = 1.0
        forward[index] = float(tangent(point, unit))
        size = step * (abs(point[index]) or 1.0)
        differences[index] = (float(run(point + size * unit)) - float(run(point - size * unit))) / (2 * size)
    scale = max(float(np.abs(differences).max()), 1e-300)
    worst = max(float(np.abs(forward - differences).max()), float(np.abs(reverse - differences).max())) / scale
    return GradientCheck(forward, reverse, differences, worst)
