"""The disease of all members as programs that know nothing of goals: forward, back to the schedule, along it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics.gradients import FrozenMesh, Traced, solve_traced
from ipex_pd.numerics.schedule import Schedule

Array = Any


class Leaves(NamedTuple):
    """What of a schedule may depend on x: times and amounts [N], transplant days [G], and times of outputs [T]."""

    times: Array
    amount: Array
    transplants: Array
    outputs: Array

    @staticmethod
    def of(schedule: Schedule, outputs: Array) -> Leaves:
        """The leaves of a schedule."""
        leaves = (schedule.times, schedule.amount, schedule.transplant_times, outputs)
        return Leaves(*(jnp.asarray(leaf, float) for leaf in leaves))

    def put(self, schedule: Schedule) -> Schedule:
        """The schedule with these leaves."""
        return replace(schedule, times=self.times, amount=self.amount, transplant_times=self.transplants)


class Members(NamedTuple):
    """Members as arrays: parameters, age at day 0 [day], states on day 0; [M] each."""

    theta: dict[str, Array]
    age: Array
    state: dict[str, Array]

    def some(self, rows: np.ndarray) -> Members:
        """Those at some positions."""
        return Members(
            {name: values[rows] for name, values in self.theta.items()},
            self.age[rows],
            {name: values[rows] for name, values in self.state.items()},
        )


def solution(mesh: FrozenMesh, schedule: Schedule, members: Members, leaves: Leaves) -> Traced:
    """The members under a schedule with these leaves: pure."""
    own = replace(mesh, shared=leaves.outputs)
    return solve_traced(own, leaves.put(schedule), members.theta, age=members.age, state=members.state)


forward: Any = jax.jit(solution)


def _some(names: tuple[str, ...], leaves: Leaves) -> Callable[[tuple[Array, ...]], Leaves]:
    return lambda moved: leaves._replace(**dict(zip(names, moved, strict=True)))


@partial(jax.jit, static_argnums=0)
def pulled(
    names: tuple[str, ...], mesh: FrozenMesh, schedule: Schedule, members: Members, leaves: Leaves, cotangents: Traced
) -> tuple[Array, ...]:
    """[k, ...] cotangents of the named leaves, summed over members, from those of the solution [k, T, ..., M]."""
    put = _some(names, leaves)
    _, back = jax.vjp(
        lambda moved: solution(mesh, schedule, members, put(moved)), tuple(getattr(leaves, n) for n in names)
    )
    found: tuple[Array, ...] = jax.vmap(lambda one: back(one)[0])(cotangents)
    return found


@partial(jax.jit, static_argnums=0)
def pushed(
    names: tuple[str, ...],
    mesh: FrozenMesh,
    schedule: Schedule,
    members: Members,
    leaves: Leaves,
    tangents: tuple[Array, ...],
) -> Traced:
    """[n, T, ..., M] tangents of the solution from those of the named leaves [n, ...]."""
    put = _some(names, leaves)

    def along(one: tuple[Array, ...]) -> Traced:
        at = tuple(getattr(leaves, n) for n in names)
        moved: Traced = jax.jvp(lambda m: solution(mesh, schedule, members, put(m)), (at,), (one,))[1]
        return moved

    found: Traced = jax.vmap(along)(tangents)
    return found


_SHARED_SLOTS = ("visit", "sample", "any_dose", "any_graft")


def mesh_of(mesh: FrozenMesh, rows: np.ndarray, members: int) -> FrozenMesh:
    """The mesh of some members; itself where all share the order of events."""
    if mesh.left.shape[-1] == 1 or members == 1:
        return mesh

    def own(leaf: Array) -> Array:
        return leaf[..., rows] if leaf.shape[-1:] == (members,) else leaf

    slots = mesh.slots
    kept = {name: getattr(slots, name) for name in _SHARED_SLOTS}
    by_member = ("left", "right", "start", "stop", "source", "which")
    return replace(
        mesh,
        slots=jax.tree.map(own, slots)._replace(**kept),
        **{name: own(getattr(mesh, name)) for name in by_member},
    )


def movable(schedule: Schedule) -> dict[str, Array]:
    """The leaves of a schedule that may depend on x, by name."""
    return {
        "times": jnp.asarray(schedule.times, float),
        "amount": jnp.asarray(schedule.amount, float),
        "transplants": jnp.asarray(schedule.transplant_times, float),
    }


def moving_leaves(function: Callable[[Array], dict[str, Array]], at: np.ndarray) -> tuple[str, ...]:
    """Which of named results depend on the argument at all, by the program itself and not by its slopes."""
    closed, shapes = jax.make_jaxpr(function, return_shape=True)(jnp.asarray(at, float))
    jaxpr = closed.jaxpr
    reached = set(jaxpr.invars)
    for equation in jaxpr.eqns:
        if any(not hasattr(v, "val") and v in reached for v in equation.invars):
            reached |= set(equation.outvars)
    names = list(jax.tree.structure(shapes).unflatten(range(len(jaxpr.outvars))).items())
    return tuple(name for name, i in names if not hasattr(jaxpr.outvars[i], "val") and jaxpr.outvars[i] in reached)
