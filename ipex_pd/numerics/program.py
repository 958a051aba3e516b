"""From schedule and mesh to the rows of the integrator, and the compiled loop over them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics import integrate
from ipex_pd.numerics.explicit import mesh_advance
from ipex_pd.numerics.integrate import BASES, Carry, Layout, Record, Slots
from ipex_pd.numerics.mesh import Mesh, event_times
from ipex_pd.numerics.reduction import Dormant
from ipex_pd.numerics.schedule import Order, Schedule, System

Array = Any
Values = dict[str, Array]

BLOCK = 64
"""Sub-steps that one call of the compiled program takes."""


@dataclass(frozen=True, eq=False)
class Raw:
    """What the loop leaves: values at the shared times [Y, ...], doses given [N, P], and those times."""

    x: Array
    central: Array
    auc: Array
    multiplier: Array
    trough: Array
    given: Array
    alive: Array
    shared: np.ndarray


def _rounded(count: int) -> int:
    return 8 * -(-count // 8)


def layout_for(system: System, schedule: Schedule, mesh: Mesh, dormant: Dormant) -> Layout:
    """What the program must be specialised to."""
    infusions = int((np.asarray(schedule.duration) > 0).any(axis=1).sum()) if len(schedule.order) else 0
    return Layout(
        system=system,
        channels=mesh.channels,
        infused=infusions > 0,
        steady=bool((mesh.steady >= 0).any()),
        transplants=bool((mesh.transplant >= 0).any()),
        titrations=schedule.titrations,
        orders=_rounded(max(len(schedule.orders), 1)),
        infusions=_rounded(max(infusions, 1)),
        dormant=dormant,
    )


def lags_of(system: System, schedule: Schedule, theta: Mapping[str, Array], age: Array, x: Array) -> Array:
    """[N, P] lag of each administration [day]: zero for intravenous ones, fixed at the start of the simulation."""
    return _order_lags(system, schedule.orders, theta, age, x)[schedule.order]


def _order_lags(system: System, orders: tuple[Order, ...], theta: Mapping[str, Array], age: Array, x: Array) -> Array:
    covariates = system.body(age, dict(zip(system.model.states, x, strict=True)), theta)
    zero = jnp.zeros(x.shape[1])
    by_order = []
    for order in orders:
        values = system.drugs[system.drug(order.drug)].individual(theta, covariates)
        by_order.append(zero + (values.get("lag", 0.0) if order.route == "oral" else 0.0))
    return jnp.stack(by_order) if by_order else jnp.zeros((1, x.shape[1]))


@partial(jax.jit, static_argnums=(0, 1))
def beginning(
    system: System, orders: tuple[Order, ...], theta: Values, age: Array, state: Values
) -> tuple[Array, Array]:
    """States [S, P] at day 0 and the lag of each order [O, P], compiled."""
    x = initial_state(system, theta, age, state)
    return x, _order_lags(system, orders, theta, age, x)


def orders_of(system: System, schedule: Schedule, size: int) -> np.ndarray:
    """[D, size]: 1 where an order gives a drug."""
    table = np.zeros((len(system.drugs), size))
    for k, order in enumerate(schedule.orders):
        table[system.drug(order.drug), k] = 1.0
    return table


class Lookup(NamedTuple):
    """Fixed facts of the rows of a schedule: place in the memory of infusions [N], codes of its orders [3, O]."""

    memory: np.ndarray
    codes: np.ndarray


def lookup(schedule: Schedule) -> Lookup:
    """Fixed facts of a concrete schedule."""
    infused = np.any(np.asarray(schedule.duration) > 0, axis=1)
    memory = np.where(infused, np.cumsum(infused) - 1, 0) if len(schedule.order) else np.zeros(1)
    rows = [
        (BASES.index(o.basis), np.inf if o.maximum is None else o.maximum, -1 if o.titration is None else o.titration)
        for o in schedule.orders
    ] or [(0, np.inf, -1)]
    return Lookup(memory.astype(np.int32), np.array(rows, float).T)


def slots_of(
    mesh: Mesh,
    schedule: Schedule,
    facts: Lookup,
    lags: Array,
    table: Array,
    steps: slice,
    *,
    event_names: tuple[str, ...] = (),
) -> Slots:
    """Rows ``steps`` of the integrator's input; traced times, amounts and lags stay differentiable."""
    people = np.arange(mesh.left.shape[1])
    left, right = mesh.left[steps], mesh.right[steps]
    opening, closing = table[left, people], table[right, people]
    span = closing - opening
    start, stop = mesh.start[steps], mesh.stop[steps]
    prior = mesh.steady[steps] >= 0
    dose = mesh.doses[steps] >= 0
    source = np.where(prior, mesh.steady[steps], np.maximum(mesh.doses[steps], 0))
    stopping = mesh.stops[steps]
    memory, per_order = facts
    graft = mesh.transplant[steps] >= 0
    which = np.maximum(mesh.transplant[steps], 0)
    orders = schedule.order[source] if len(schedule.order) else source
    return Slots(
        time=opening + start * span,
        length=(stop - start) * span,
        dose=dose,
        amount=schedule.amount[source, people],
        duration=schedule.duration[source, people],
        basis=per_order[0][orders].astype(np.int32),
        maximum=per_order[1][orders],
        titration=per_order[2][orders].astype(np.int32),
        order=orders.astype(np.int32),
        per_day=np.asarray(schedule.per_day, float)[source],
        lag=lags[source, people],
        interval=np.asarray(schedule.steady_state, float)[source],
        prior=prior,
        memory=memory[source],
        stop=np.where(stopping >= 0, memory[np.maximum(stopping, 0)], -1).astype(np.int32),
        graft=graft,
        event={n: schedule.transplants[n][which, people] for n in event_names},
        visit=mesh.visit[steps],
        sample=mesh.samples[steps],
        any_dose=(dose | prior | (stopping >= 0)).any(axis=(1, 2)),
        any_graft=graft.any(axis=1),
    )


def padded(mesh: Mesh, multiple: int) -> Mesh:
    """The mesh filled up to a multiple of steps with steps that do nothing."""
    extra = -mesh.steps % multiple

    def last(array: np.ndarray, value: Any = None) -> np.ndarray:
        tail = array[-1:] if value is None else np.full_like(array[-1:], value)
        return np.concatenate([array, np.repeat(tail, extra, axis=0)])

    return Mesh(
        last(mesh.left),
        last(mesh.right),
        last(mesh.start),
        last(mesh.stop),
        last(mesh.doses, -1),
        last(mesh.stops, -1),
        last(mesh.steady, -1),
        last(mesh.transplant, -1),
        last(mesh.visit, False),
        last(mesh.samples, False),
        mesh.sync,
        mesh.shared,
        mesh.channels,
    )


@partial(jax.jit, static_argnums=0)
def start(layout: Layout, theta: Values, age: Array, x: Array) -> Carry:
    """The carry at day 0."""
    return integrate.begin(layout, theta, age, x)


@partial(jax.jit, static_argnums=0)
def block(layout: Layout, theta: Values, age: Array, table: Array, carry: Carry, slots: Slots) -> tuple[Carry, Record]:
    """A block of sub-steps on the mesh."""
    advance = mesh_advance(layout, theta, carry.x)
    step = partial(integrate.sub_step, layout, theta, age, table, advance)
    ended: tuple[Carry, Record] = jax.lax.scan(step, carry, slots)
    return ended


class Halted(Exception):
    """The march was told to stop."""


def event_names(layout: Layout) -> tuple[str, ...]:
    """Covariates that come with a transplant, where there is one."""
    return layout.system.model.events["transplant"] if layout.transplants else ()


Runner = Callable[[Layout, Values, Array, Array, Carry, Slots], tuple[Carry, Record]]


def march(
    layout: Layout,
    schedule: Schedule,
    mesh: Mesh,
    theta: Values,
    age: Array,
    x: Array,
    lags: Array,
    *,
    run: Runner = block,
    size: int = BLOCK,
    halt: threading.Event | None = None,
) -> Raw:
    """Take all steps of a mesh, block by block, and keep the values at the shared times."""
    n, patients = len(schedule.order), x.shape[1]
    mesh_full = padded(mesh, size)
    lags = np.asarray(lags)
    table = event_times(schedule, lags, mesh.shared)
    names, facts = event_names(layout), lookup(schedule)
    membership = orders_of(layout.system, schedule, layout.orders)
    carry = start(layout, theta, age, x)
    kept: list[tuple[np.ndarray, ...]] = []
    given = np.zeros((n, patients))
    for first in range(0, mesh_full.steps, size):
        steps = slice(first, first + size)
        slots = slots_of(mesh_full, schedule, facts, lags, table, steps, event_names=names)
        if halt is not None and halt.is_set():
            raise Halted
        carry, record = run(layout, theta, age, membership, carry, slots)
        rows = mesh.sync[(mesh.sync >= first) & (mesh.sync < first + size)] - first
        if len(rows):
            kept.append(tuple(np.asarray(getattr(record, f))[rows] for f in Record._fields[:5]))
        doses = mesh_full.doses[steps]
        if (doses >= 0).any():
            step, channel, person = np.nonzero(doses >= 0)
            given[doses[step, channel, person], person] = np.asarray(record.given)[step, channel, person]
    x_kept, central, auc, multiplier, trough = (np.concatenate(c) for c in zip(*kept, strict=True))
    return Raw(x_kept, central, auc, multiplier, trough, given, np.asarray(carry.alive), mesh.shared)


def initial_state(system: System, theta: Values, age: Array, state: Mapping[str, Array] | None) -> Array:
    """States [S, P] at day 0, some of them replaced by ``state``. Raises: SimulationError."""
    names = system.model.states
    x = system.model.initial(age, theta)
    for name in state or {}:
        if name not in names:
            raise SimulationError(f"`{name}` is not a state of this model", where="state")
    rows = [jnp.broadcast_to(jnp.asarray((state or {}).get(n, x[i]), float), x[i].shape) for i, n in enumerate(names)]
    return jnp.stack(rows)
