"""The disease on a mesh that is data: rows first, so that any choice of children marches through one program.

`ipex_pd.numerics.gradients` freezes a mesh inside the program; here it stands beside the children's other data, a row a
child, because a method of estimation picks children as it goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics import integrate, program
from ipex_pd.numerics.explicit import mesh_advance
from ipex_pd.numerics.integrate import Layout, Slots, potencies
from ipex_pd.numerics.mesh import Grading, build_mesh, event_times
from ipex_pd.numerics.reduction import Dormant, dormant_states
from ipex_pd.numerics.schedule import Schedule, System, check_schedule
from ipex_pd.numerics.solve import unaffected

Array = Any
Values = Mapping[str, Array]

_BLOCK = 32
_SAME_DAY = 1e-9
_SHARED = ("visit", "sample", "any_dose", "any_graft")


@dataclass(frozen=True)
class Course:
    """What a march is specialised to; equal ones are one program.

    Attributes:
        layout: of the integrator.
        membership: drug by order, 1 where the order gives the drug.
    """

    layout: Layout
    membership: tuple[tuple[float, ...], ...]


class March(NamedTuple):
    """A mesh as data.

    Attributes:
        course: the program's static part.
        slots: what happens at every sub-step, children first: [P, K, ...].
        shared: days that all children have in common.
        places: steps at which those days begin.
    """

    course: Course
    slots: Slots
    shared: np.ndarray
    places: np.ndarray

    def at(self, days: np.ndarray) -> np.ndarray:
        """Steps at which some days [B, V] begin."""
        return np.asarray(self.places[np.searchsorted(self.shared, days - _SAME_DAY)])


def plan_march(
    system: System, schedule: Schedule, theta: Values, *, age: Array, x: Array, days: Array, grading: Grading
) -> March:
    """Decide the sub-steps and lay out the events of children from day 0 to the last of some days.

    Args:
        system: disease, drugs, body.
        schedule: concrete, without titrations.
        theta: name -> [P], the values at which lags are taken.
        age: at day 0 [day], [P].
        x: [S, P] states at day 0.
        days: days at which states will be read, of any child.
        grading: lengths of the sub-steps.
    """
    check_schedule(schedule, system)
    rows = schedule.rows(len(age))
    lags = np.asarray(program.lags_of(system, rows, theta, jnp.asarray(age), jnp.asarray(x)))
    rows = replace(
        rows, times=np.asarray(rows.times), amount=np.asarray(rows.amount), duration=np.asarray(rows.duration)
    )
    mesh = build_mesh(system, rows, lags, np.unique(np.append(days, 0.0)), grading, separate=False)
    layout = program.layout_for(system, rows, mesh, _dormant(system, schedule, theta, x))
    full = program.padded(mesh, _BLOCK)
    table = np.asarray(event_times(rows, lags, mesh.shared))
    names = program.event_names(layout)
    slots = program.slots_of(full, rows, program.lookup(rows), lags, table, slice(None), event_names=names)
    membership = program.orders_of(system, rows, layout.orders)
    course = Course(layout, tuple(tuple(row) for row in membership.tolist()))
    return March(course, _children_first(slots, len(age)), mesh.shared, mesh.sync)


def _dormant(system: System, schedule: Schedule, theta: Values, x: Array) -> Dormant:
    absent = unaffected(system, theta)
    if len(schedule.transplant_times):
        return Dormant(absent=absent)
    return dormant_states(system.model, absent, theta, np.asarray(x))


def _children_first(slots: Slots, children: int) -> Slots:
    def turned(name: str, leaf: Any) -> Any:
        if name in _SHARED:
            return np.broadcast_to(np.asarray(leaf), (children, *np.shape(leaf)))
        return np.ascontiguousarray(np.moveaxis(np.asarray(leaf), -1, 0))

    made = {name: jax.tree.map(partial(turned, name), leaf) for name, leaf in slots._asdict().items()}
    return Slots(**made)


def _steps_first(slots: Slots) -> Slots:
    def turned(name: str, leaf: Array) -> Array:
        if name in _SHARED:
            return leaf[0]
        return jnp.moveaxis(leaf, 0, -1)

    made = {name: jax.tree.map(partial(turned, name), leaf) for name, leaf in slots._asdict().items()}
    return Slots(**made)


def march(course: Course, slots: Slots, places: Array, theta: Values, *, age: Array, x: Array) -> tuple[Array, Array]:
    """States [V, S, B] and central concentrations [V, D, B] [mg/L] of each child at steps of his own.

    Args:
        course: of the plan.
        slots: of the plan, or some rows of it.
        places: [B, V] steps at which a child's values are read, before what happens there.
        theta: name -> [B]; traced.
        age: [B] at day 0 [day].
        x: [S, B] states at day 0; traced.
    """
    steps = _steps_first(slots)
    blocks = jax.tree.map(lambda v: jnp.reshape(v, (v.shape[0] // _BLOCK, _BLOCK, *v.shape[1:])), steps)
    layout = course.layout
    membership = jnp.asarray(course.membership).reshape(len(layout.system.drugs), layout.orders)
    step = partial(integrate.sub_step, layout, theta, age, membership, mesh_advance(layout, theta, x))

    def block(carry: integrate.Carry, some: Slots) -> tuple[integrate.Carry, Any]:
        after, record = jax.lax.scan(step, carry, some)
        return after, (record.x, record.central)

    _, history = jax.lax.scan(jax.checkpoint(block), integrate.begin(layout, theta, age, x), blocks)
    people = jnp.arange(places.shape[0])[:, None]
    states, levels = (leaf.reshape(len(leaf) * _BLOCK, *leaf.shape[2:])[places, :, people] for leaf in history)
    return jnp.moveaxis(states, 0, -1), jnp.moveaxis(levels, 0, -1)


def observe(system: System, theta: Values, ages: Array, x: Array, levels: Array) -> dict[str, Array]:
    """Every quantity by name, [V, B]: states, outputs, covariates and reported concentrations.

    Args:
        system: disease, drugs, body.
        theta: name -> [B].
        ages: [V, B] [day].
        x: [V, S, B].
        levels: [V, D, B] central concentrations [mg/L].
    """

    def one(age: Array, state: Array, level: Array) -> dict[str, Array]:
        named = dict(zip(system.model.states, state, strict=True))
        covariates = system.body(age, named, theta)
        wide = {name: jnp.broadcast_to(jnp.asarray(v, float), age.shape) for name, v in covariates.items()}
        found = {**named, **wide}
        for i, drug in enumerate(system.drugs):
            found.update(drug.concentrations(theta, wide, level[i]))
        affected = system.model.affected(potencies(system, theta, list(level)), theta)
        effects = jnp.stack([jnp.broadcast_to(jnp.asarray(v, float), age.shape) for v in affected])
        found.update(system.model.observe(age, state, effects, theta, wide))
        return {name: jnp.broadcast_to(jnp.asarray(v, float), age.shape) for name, v in found.items()}

    seen: dict[str, Array] = jax.vmap(one)(ages, x, levels)
    return seen
