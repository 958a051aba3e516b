"""The dose-aligned mesh as data: what `gradients.solve_traced` runs on, whatever the days of the events.

A `FrozenMesh` is a pytree. Its layout is static; everything else is arrays, filled up to a few numbers of sub-steps, so
that a user's `jax.jit(function)(frozen, x)` compiles once for a layout and a size. `Freezer` works out once what does
not depend on the schedule, and then freezes in milliseconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics import program
from ipex_pd.numerics.integrate import Layout, Slots
from ipex_pd.numerics.levels import FIRST_LEVEL, grading_for, rate_class
from ipex_pd.numerics.mesh import Grading, Mesh, build_mesh, event_times
from ipex_pd.numerics.rates import fastest_rate
from ipex_pd.numerics.reduction import Dormant, dormant_states
from ipex_pd.numerics.schedule import Schedule, System, Values, check_schedule
from ipex_pd.numerics.solve import SolverOptions, unaffected

Array = Any

BLOCK = 32
"""Sub-steps that stand and fall together: blocks that only fill up are skipped."""
_GROWTH = 1.2
_STRETCH = 1.3
"""How much longer than planned sub-steps may become before `Freezer.renewed` makes new ones."""

Derivatives = Literal["everything", "schedule"]


@dataclass(frozen=True, eq=False)
class FrozenMesh:
    """Sub-steps and what happens at them, as data. N sub-steps; W is 1 where all members share the order, else P.

    Attributes:
        layout: what the program is specialised to; the only static part.
        left, right: [N, W] rows of the event table whose times bound the interval of a sub-step.
        start, stop: [N, W] where the sub-step begins and ends in it, as fractions.
        source: [N, C, W] administration that arrives, by channel.
        which: [N, W] transplant that happens.
        slots: fixed facts of the sub-steps; times, amounts, lengths and lags in it are those frozen at.
        shared: [Y] times that all members share [day].
        places: [T] sub-steps at which the outputs are read.
        busy: [N / BLOCK] blocks in which anything happens.
        digest: [16] bytes of `order`.
    """

    layout: Layout
    left: Array
    right: Array
    start: Array
    stop: Array
    source: Array
    which: Array
    slots: Slots
    shared: Array
    places: Array
    busy: Array
    digest: Array

    @property
    def steps(self) -> int:
        """Number of sub-steps, filling included."""
        return int(self.left.shape[0])

    @property
    def order(self) -> bytes:
        """Equal as long as events follow each other in the same order (for all members)."""
        return np.asarray(self.digest).tobytes()


_DATA = tuple(f.name for f in fields(FrozenMesh) if f.name != "layout")
jax.tree_util.register_pytree_node(
    FrozenMesh,
    lambda frozen: (tuple(getattr(frozen, name) for name in _DATA), frozen.layout),
    lambda layout, leaves: FrozenMesh(layout, *leaves),
)


def sizes_up_to(steps: int) -> tuple[int, ...]:
    """The numbers of sub-steps that programs are compiled for, up to the first that holds ``steps``: whole blocks, a
    fifth apart."""
    blocks = [1]
    while blocks[-1] * BLOCK < steps:
        blocks.append(max(blocks[-1] + 1, int(blocks[-1] * _GROWTH)))
    return tuple(BLOCK * count for count in blocks)


@dataclass(frozen=True, eq=False)
class _Ground:
    """What depends on whether there is a transplant, not on the days: what stands still, and the sub-step lengths."""

    dormant: Dormant
    grading: Grading


@dataclass(frozen=True, eq=False)
class Freezer:
    """Freezes schedules of the same members; what does not depend on the schedule is worked out once.

    Attributes:
        system: disease, drugs, body.
        theta: name -> [P].
        age: at day 0 [day], [P].
        state: states that replace those of the model on day 0, name -> [P].
        output_times: [T] [day].
        accuracy: `default` or `tight`, as of `SolverOptions`.
        derivatives: `everything`, or `schedule`: states that stand still without a transplant are left out, which is
            exact, but derivatives by parameters, ages and states are then refused.
        sizes: numbers of sub-steps (whole blocks) that may be used, ascending; None: a ladder a fifth apart.
    """

    system: System
    theta: Values
    age: np.ndarray
    state: Values
    output_times: np.ndarray
    accuracy: Literal["default", "tight"]
    derivatives: Derivatives
    sizes: tuple[int, ...] | None
    _grounds: dict[bool, _Ground] = field(default_factory=dict, repr=False)
    _starts: dict[Any, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, repr=False)

    def freeze(self, schedule: Schedule) -> FrozenMesh:
        """The mesh of a concrete schedule; simultaneous events are kept apart so that their times can differ.

        Raises:
            SimulationError: what is given does not fit together, or no size holds the sub-steps.
        """
        rows, lags, ground = self._concrete(schedule)
        mesh = _narrow(build_mesh(self.system, rows, lags, self.output_times, ground.grading, separate=True))
        return self._frozen(mesh, rows, lags, ground)

    def renewed(self, frozen: FrozenMesh, schedule: Schedule) -> FrozenMesh:
        """``frozen`` itself where its order of events and sub-steps still serve a schedule, else a new mesh.

        A search that keeps its mesh as long as it can sees one smooth function: another number of sub-steps moves
        values by the error of the mesh (1e-6).
        """
        rows, lags, ground = self._concrete(schedule)
        grading = ground.grading
        loose = replace(grading, first=_STRETCH * grading.first, longest=_STRETCH * grading.longest)
        mesh = _narrow(build_mesh(self.system, rows, lags, self.output_times, loose, separate=True))
        if _digest(mesh).tobytes() == frozen.order:
            here, there = _counts(mesh.left, mesh.right, mesh.start), _counts(frozen.left, frozen.right, frozen.start)
            if len(here) == len(there) and (here <= there).all():
                return frozen
        return self.freeze(schedule)

    def _concrete(self, schedule: Schedule) -> tuple[Schedule, np.ndarray, _Ground]:
        """The schedule as numpy [N, P], lags [N, P], and the ground of the mesh."""
        check_schedule(schedule, self.system)
        names = ("times", "amount", "duration", "transplant_times")
        plain: dict[str, Any] = {name: np.asarray(getattr(schedule, name)) for name in names}
        events = {name: np.asarray(values) for name, values in schedule.transplants.items()}
        rows = replace(schedule, **plain, transplants=events).rows(len(self.age))
        x, lags = self._start(schedule)
        return rows, lags[rows.order], self._ground(bool(len(rows.transplant_times)), x)

    def _start(self, schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
        """States [S, P] on day 0 and the lag of each order [O, P]."""
        if schedule.orders not in self._starts:
            found = program.beginning(self.system, schedule.orders, self.theta, self.age, self.state)
            self._starts[schedule.orders] = (np.asarray(found[0]), np.asarray(found[1]))
        return self._starts[schedule.orders]

    def _ground(self, transplants: bool, x: np.ndarray) -> _Ground:
        if transplants not in self._grounds:
            dormant = Dormant(absent=unaffected(self.system, self.theta))
            if self.derivatives == "schedule" and not transplants:
                dormant = dormant_states(self.system.model, dormant.absent, self.theta, x)
            rates = fastest_rate(self.system.model, dormant, self.theta, self.age, x)
            rate = rate_class(np.max(rates, keepdims=True))
            self._grounds[transplants] = _Ground(dormant, grading_for(FIRST_LEVEL[self.accuracy], float(rate[0])))
        return self._grounds[transplants]

    def _frozen(self, mesh: Mesh, rows: Schedule, lags: np.ndarray, ground: _Ground) -> FrozenMesh:
        wide = mesh.left.shape[1]
        layout = program.layout_for(self.system, rows, mesh, ground.dormant)
        layout = replace(layout, transplants=bool(len(rows.transplant_times)))
        digest = _digest(mesh)
        full = program.padded(mesh, self._size(mesh.steps))
        own = rows.select(np.arange(wide))
        table = event_times(own, lags[:, :wide], mesh.shared)
        names = program.event_names(layout)
        slots = program.slots_of(full, own, program.lookup(rows), lags[:, :wide], table, slice(None), event_names=names)
        prior = full.steady >= 0
        found = FrozenMesh(
            layout=layout,
            left=full.left.astype(np.int32),
            right=full.right.astype(np.int32),
            start=full.start,
            stop=full.stop,
            source=np.where(prior, full.steady, np.maximum(full.doses, 0)).astype(np.int32),
            which=np.maximum(full.transplant, 0).astype(np.int32),
            slots=slots,
            shared=mesh.shared,
            places=mesh.sync[np.searchsorted(mesh.shared, self.output_times - 1e-9)].astype(np.int32),
            busy=np.arange(0, full.steps, BLOCK) < mesh.steps,
            digest=digest,
        )
        ready: FrozenMesh = jax.tree.map(jnp.asarray, found)
        return ready

    def _size(self, steps: int) -> int:
        for size in self.sizes or sizes_up_to(steps):
            if size >= steps:
                return size
        raise SimulationError(
            f"the mesh has {steps} sub-steps, the largest size is {max(self.sizes or (0,))}",
            where="freeze",
            rule="A mesh is filled up to one of the given sizes",
            cure="Give a larger size, or none",
        )


def freezer(
    system: System,
    theta: Mapping[str, Array],
    *,
    age: Array,
    output_times: Array,
    state: Mapping[str, Array] | None = None,
    options: SolverOptions | None = None,
    derivatives: Derivatives = "everything",
    sizes: Sequence[int] | None = None,
) -> Freezer:
    """A `Freezer` of some members; nothing of it may be traced.

    Raises:
        SimulationError: a drug has nonlinear elimination, a state that the model does not have, or sizes that are not
            ascending multiples of a block.
    """
    nonlinear = [d.name for d in system.drugs if d.nonlinear is not None]
    if nonlinear:
        raise SimulationError(
            f"`{nonlinear[0]}` has nonlinear elimination",
            where="freeze",
            rule="Gradients are taken on the mesh, which holds drugs in closed form",
        )
    given = None if sizes is None else tuple(int(s) for s in sizes)
    if given is not None and (
        not given or any(s <= 0 or s % BLOCK for s in given) or any(a >= b for a, b in pairwise(given))
    ):
        raise SimulationError("sizes do not fit", where="freeze", rule=f"Sizes are ascending multiples of {BLOCK}")
    ages = np.atleast_1d(np.asarray(age, float))
    return Freezer(
        system=system,
        theta={n: np.broadcast_to(np.asarray(v, float), ages.shape) for n, v in theta.items()},
        age=ages,
        state={n: np.broadcast_to(np.asarray(v, float), ages.shape) for n, v in (state or {}).items()},
        output_times=np.atleast_1d(np.asarray(output_times, float)),
        accuracy=(options or SolverOptions()).accuracy,
        derivatives=derivatives,
        sizes=given,
    )


def freeze(
    system: System,
    schedule: Schedule,
    theta: Mapping[str, Array],
    *,
    age: Array,
    output_times: Array,
    state: Mapping[str, Array] | None = None,
    options: SolverOptions | None = None,
    derivatives: Derivatives = "everything",
    sizes: Sequence[int] | None = None,
) -> FrozenMesh:
    """The mesh of one schedule; who freezes again and again takes a `Freezer`.

    Args:
        system: disease, drugs, body.
        schedule: concrete.
        theta: name -> [P] or a number.
        age: at day 0 [day].
        output_times: [T] [day].
        state: states that replace those of the model on day 0.
        options: their accuracy chooses the sub-steps.
        derivatives: see `Freezer`.
        sizes: see `Freezer`.

    Raises:
        SimulationError: what is given does not fit together, or a drug has nonlinear elimination.
    """
    own = freezer(
        system,
        theta,
        age=age,
        output_times=output_times,
        state=state,
        options=options,
        derivatives=derivatives,
        sizes=sizes,
    )
    return own.freeze(schedule)


def _fit(sizes: tuple[int, ...]) -> bool:
    return bool(sizes) and all(s > 0 and s % BLOCK == 0 for s in sizes) and all(a < b for a, b in pairwise(sizes))


_BY_MEMBER = ("left", "right", "start", "stop", "doses", "stops", "steady", "transplant")


def _narrow(mesh: Mesh) -> Mesh:
    """One column where all members have the same."""
    arrays = {name: getattr(mesh, name) for name in _BY_MEMBER}
    if all(v.strides[-1] == 0 or v.shape[-1] == 1 or (v == v[..., :1]).all() for v in arrays.values()):
        return replace(mesh, **{name: v[..., :1] for name, v in arrays.items()})
    return mesh


def _opening(left: Array, right: Array, start: Array) -> np.ndarray:
    """[N, W] first sub-steps of intervals."""
    return np.asarray((np.asarray(left) != np.asarray(right)) & (np.asarray(start) == 0.0))


def _digest(mesh: Mesh) -> np.ndarray:
    """[16] bytes that tell one order of events from another, whatever the sub-steps."""
    first = _opening(mesh.left, mesh.right, mesh.start).T
    found = blake2b(first.sum(axis=1).tobytes(), digest_size=16)
    for table in (mesh.left, mesh.transplant):
        found.update(np.ascontiguousarray(table.T[first]).tobytes())
    for table in (mesh.doses, mesh.stops, mesh.steady):
        found.update(np.ascontiguousarray(np.moveaxis(table, 2, 0)[first]).tobytes())
    return np.frombuffer(found.digest(), np.uint8)


def _counts(left: Array, right: Array, start: Array) -> np.ndarray:
    """Sub-steps of each interval, member after member."""
    moving = (np.asarray(left) != np.asarray(right)).T
    first = _opening(left, right, start).T[moving]
    return np.diff(np.append(np.flatnonzero(first), len(first)))
