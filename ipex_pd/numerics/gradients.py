"""The solution as a pure function of traced values on a frozen mesh, and a check of its gradients.

`freeze` makes every decision that cannot be differentiated (order of events, number of sub-steps) for one set of
values; `solve_traced` then runs under jax.jit, jax.jvp, jax.grad and jax.vmap of the caller:

```python
freezer = gradients.freezer(asked.system, asked.theta, age=asked.age, output_times=asked.times, state=asked.state)


@jax.jit
def outcome(frozen, x):  # compiled once, whatever the days
    return objective(solve_traced(frozen, schedule_of(x), asked.theta, age=asked.age, state=asked.state))


frozen = freezer.freeze(schedule_of(x))
value, slope = jax.value_and_grad(outcome, argnums=1)(frozen, x)
frozen = freezer.renewed(frozen, schedule_of(other))  # the same while the order of events is the same
```

Kinks. Where a dose, the end of an infusion, a transplant, a visit or an output change places, the value is continuous
(to the error of the mesh) and each order has its own gradient: at the crossing itself they are the one-sided ones. A
frozen mesh must not be used beyond a crossing: time would run backwards in it. One thing does jump: a dose by weight
or surface that crosses a visit is weighed anew. Simultaneous events are kept in the order of `mesh` (ends of infusions
and transplants before doses), so that the gradient there is that of moving a dose later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics import integrate, program
from ipex_pd.numerics.explicit import mesh_advance
from ipex_pd.numerics.frozen import BLOCK, Freezer, FrozenMesh, freeze, freezer
from ipex_pd.numerics.integrate import Carry, Slots
from ipex_pd.numerics.mesh import event_times
from ipex_pd.numerics.schedule import Schedule

Array = Any

_KEPT = 256 * 2**20
"""Bytes of carries that reverse mode keeps, one for each sub-step; above it keeps one for each block."""


class Traced(NamedTuple):
    """States [T, S, P], concentrations [T, D, P] [mg/L], area under the measured ones [T, D, P] at the output times."""

    states: Array
    concentrations: Array
    auc: Array


def solve_traced(
    frozen: FrozenMesh,
    schedule: Schedule,
    theta: Mapping[str, Array],
    *,
    age: Array,
    state: Mapping[str, Array] | None = None,
) -> Traced:
    """Solve on a frozen mesh; differentiable in theta, age, state, and in the schedule's times, amounts, durations,
    transplant times and their covariates.

    Args:
        frozen: made for a schedule of the same rows and the same order of events.
        schedule: times and amounts may be traced.
        theta: name -> [P] or a number.
        age: [P] at day 0 [day].
        state: states that replace those of the model on day 0.

    Raises:
        SimulationError: derivatives by members are asked of a mesh that was frozen for derivatives by the schedule.
    """
    layout = frozen.layout
    system = layout.system
    if layout.dormant.zero or layout.dormant.resting:
        theta, age, state = _held((dict(theta), age, dict(state or {})))
    ages = jnp.atleast_1d(jnp.asarray(age, float))
    wide = {n: jnp.broadcast_to(jnp.asarray(v, float), ages.shape) for n, v in theta.items()}
    x = program.initial_state(system, wide, ages, state)
    slots = _traced_slots(frozen, schedule, program.lags_of(system, schedule, wide, ages, x))
    membership = jnp.asarray(program.orders_of(system, schedule, layout.orders))
    advance = mesh_advance(layout, wide, x)

    def step(carry: Carry, own: Slots) -> tuple[Carry, Traced]:
        amount = jnp.broadcast_to(own.amount, (own.amount.shape[0], *ages.shape))
        after, record = integrate.sub_step(layout, wide, ages, membership, advance, carry, own._replace(amount=amount))
        return after, Traced(record.x, record.central, record.auc)

    history = _history(step, integrate.begin(layout, wide, ages, x), slots, frozen.busy)
    traced: Traced = jax.tree.map(lambda leaf: leaf[frozen.places], history)
    return traced


Step = Callable[[Carry, Slots], tuple[Carry, Traced]]


def _history(step: Step, begin: Carry, slots: Slots, busy: Array) -> Traced:
    """Values at the left edges of all sub-steps, [N, ...]; blocks that only fill up are skipped."""
    steps = slots.length.shape[0]
    blocks = jax.tree.map(lambda leaf: leaf.reshape(steps // BLOCK, BLOCK, *leaf.shape[1:]), slots)

    def taken(carry: Carry, some: Slots) -> tuple[Carry, Traced]:
        ended: tuple[Carry, Traced] = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), carry, some)
        return ended

    def skipped(carry: Carry, some: Slots) -> tuple[Carry, Traced]:
        del some
        nothing = jax.eval_shape(taken, begin, jax.tree.map(lambda leaf: leaf[0], blocks))[1]
        return carry, jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), nothing)

    def block(carry: Carry, row: tuple[Array, Slots]) -> tuple[Carry, Traced]:
        ended: tuple[Carry, Traced] = jax.lax.cond(row[0], taken, skipped, carry, row[1])
        return ended

    kept = steps * sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(begin))
    frugal = jax.checkpoint(block, prevent_cse=False) if kept > _KEPT else block
    _, history = jax.lax.scan(frugal, begin, (busy, blocks))
    joined: Traced = jax.tree.map(lambda leaf: leaf.reshape(steps, *leaf.shape[2:]), history)
    return joined


def _traced_slots(frozen: FrozenMesh, schedule: Schedule, lags: Array) -> Slots:
    """The frozen facts with traced times, amounts, lengths and lags; [.., 1] where members share them."""
    patients = lags.shape[1]
    rows = replace(
        schedule,
        times=_columns(schedule.times),
        duration=_columns(schedule.duration),
        transplant_times=jnp.broadcast_to(
            _columns(schedule.transplant_times), (np.shape(schedule.transplant_times)[0], patients)
        ),
    )
    rows = replace(rows, times=jnp.broadcast_to(rows.times, (rows.times.shape[0], patients)))
    table = event_times(rows, lags, frozen.shared, jnp)
    opening, closing = _picked(table, frozen.left), _picked(table, frozen.right)
    span = closing - opening
    layout, slots = frozen.layout, frozen.slots
    found = slots._replace(
        time=opening + frozen.start * span,
        length=(frozen.stop - frozen.start) * span,
        amount=_picked(_columns(schedule.amount), frozen.source),
        event={n: _picked(_columns(schedule.transplants[n]), frozen.which) for n in program.event_names(layout)},
    )
    if layout.infused or layout.steady:
        found = found._replace(duration=_picked(rows.duration, frozen.source))
    return found._replace(lag=_picked(lags, frozen.source)) if layout.steady else found


def _columns(values: Array) -> Array:
    """[N] as [N, 1]."""
    array = jnp.asarray(values, float)
    return array[:, None] if array.ndim == 1 else array


def _picked(values: Array, rows: Array) -> Array:
    """[..., P] rows of values [R, P or 1] chosen for all members together [..., 1] or one by one [..., P]."""
    if rows.shape[-1] == 1:
        return values[rows[..., 0]]
    wide = jnp.broadcast_to(values, (values.shape[0], rows.shape[-1]))
    return wide[rows, jnp.arange(rows.shape[-1])]


def _same(values: Any) -> Any:
    return values


def _refused(primals: Any, tangents: Any) -> Any:
    raise SimulationError(
        "derivatives by parameters, ages or states are asked of a mesh frozen for derivatives by the schedule",
        where="solve_traced",
        rule="States that stand still are left out of it",
        cure='freeze(..., derivatives="everything")',
    )


_held: Any = jax.custom_jvp(_same)
_held.defjvp(_refused)


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


__all__ = ["Freezer", "FrozenMesh", "GradientCheck", "Traced", "freeze", "freezer", "gradcheck", "solve_traced"]
