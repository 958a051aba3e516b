"""What an ensemble goes through under candidate plans: meshes that are renewed when events change places, in chunks.

The disease is solved by programs that know nothing of goals: one forward, one that pulls cotangents of the solution
back to the schedule, one that pushes tangents of the schedule forward. They are compiled for a set of drugs, numbers
of rows, outputs and members, and serve every goal, limit, template and day that has the same.

```python
courses = Courses(ensemble, template, plan_times(template.horizon), troughs={"tacrolimus": (14.0, 28.0)})
course = courses.at(x)  # Course of all members
```
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, UsageError, nearest_hint
from ipex_pd.numerics.gradients import Freezer, FrozenMesh, Traced, freezer
from ipex_pd.numerics.parallel import run_chunks
from ipex_pd.numerics.schedule import Schedule
from ipex_pd.planning.course import Course
from ipex_pd.planning.course_programs import (
    Leaves,
    Members,
    forward,
    mesh_of,
    movable,
    moving_leaves,
    pulled,
    pushed,
    solution,
)
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.observed import Bearings, Sampled, course_of, rows_of
from ipex_pd.records.regimens import Regimen

Array = Any

EVERY = 7.0
"""Days between output times: as `simulate` has them."""
SIZES = (1, 2, 4, 8, 16, 25, 32, 50, 64, 100, 128)
"""Members of a chunk for which programs are compiled."""
_OVERHEAD = 16
"""What a chunk costs besides its members, in members: measured roughly."""
_MOMENT = 1e-6
"""A sample that moves with its dose is drawn this long before it [day], so that samples of two drugs stay apart."""
_TINY = 1e-9


class Candidate(Protocol):
    """What is needed of a template (`planning.template.Template`)."""

    @property
    def base(self) -> Regimen:
        """The regimen it begins from, with all its drugs."""

    @property
    def start(self) -> np.ndarray:
        """[n] where a search begins."""

    @property
    def horizon(self) -> float:
        """Until when a plan is judged [day]."""

    def schedule(self, x: Array) -> Schedule:
        """The doses at x [n]: times [N], amounts [N] and transplant days may be traced, the rest is fixed."""


@dataclass(frozen=True, eq=False)
class Frozen:
    """What is decided for a plan and not differentiated.

    Attributes:
        mesh: sub-steps of all members.
        schedule: concrete.
        outputs: [T] times of outputs, visits and samples [day].
        bearings: what stands where among them.
    """

    mesh: FrozenMesh
    schedule: Schedule
    outputs: np.ndarray
    bearings: Bearings


jax.tree_util.register_dataclass(Frozen, ["mesh", "schedule", "outputs", "bearings"], [])


def plan_times(horizon: float, *, every: float = EVERY) -> np.ndarray:
    """Output times [T] from day 0 to the horizon [day]; visits and samples come to them by themselves."""
    grid = np.arange(0.0, horizon, every)
    return np.append(grid, horizon) if horizon - grid[-1] > _TINY else grid


class Courses:
    """An ensemble under the plans of a template.

    Args:
        ensemble: the members.
        template: plans as functions of x.
        times: output times from day 0 to the horizon [day].
        troughs: drug -> days on which troughs are sampled, each right before the first dose that follows.
        threads: chunks that are solved at a time.

    Raises:
        SimulationError: doses that follow troughs, or a drug with nonlinear elimination.
        UsageError: troughs of a drug that the template does not give.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        template: Candidate,
        times: np.ndarray,
        *,
        troughs: Mapping[str, Sequence[float]] | None = None,
        threads: int = 2,
    ) -> None:
        self.ensemble, self.template, self.threads = ensemble, template, threads
        self.base = np.asarray(times, float)
        self.troughs = {drug: tuple(days) for drug, days in (troughs or {}).items()}
        asked = ensemble.study(template.base, self.base)
        self.study, self.system = asked, asked.system
        self.members = Members(asked.theta, asked.age, asked.state)
        self.schedule = jax.jit(lambda x: movable(template.schedule(x)))
        self._require_plain()
        self.moving = moving_leaves(lambda x: movable(template.schedule(x)), template.start)
        self._sampled_moves = bool(self.troughs) and "times" in self.moving
        self._frozen: Frozen | None = None
        self._freezer: Freezer | None = None
        self._solved: tuple[bytes, Members, Frozen, Leaves, Traced] | None = None
        self._lock = threading.Lock()

    def _require_plain(self) -> None:
        plain = self.template.schedule(self.template.start)
        if plain.titrations:
            raise SimulationError(
                "doses follow troughs",
                where=self.template.base.name,
                rule="A plan states its doses; a rule that changes them on the way is no plan",
                cure="Take `target_trough` out, or free the dose",
            )
        given = {order.drug for order in plain.orders}
        for drug in self.troughs:
            if drug not in given:
                raise UsageError(f"troughs of `{drug}`, which is not given", rule=nearest_hint(drug, given))

    @property
    def days(self) -> int:
        """Days up to the horizon, the last begun one included."""
        return math.ceil(float(self.base[-1]) - _TINY)

    def concrete(self, x: Array) -> Schedule:
        """The schedule at x as plain arrays. Raises: SimulationError."""
        fixed = self.template.schedule(np.asarray(x, float))
        names = ("times", "amount", "duration", "transplant_times")
        plain: dict[str, Any] = {name: np.asarray(getattr(fixed, name), float) for name in names}
        if plain["times"].ndim != 1:
            raise SimulationError("doses at times of each member's own", rule="A plan has the same days for everyone")
        return replace(fixed, **plain)

    def frozen(self, x: Array) -> Frozen:
        """What holds at x and near it; the last one as long as events keep their order and sub-steps their length."""
        with self._lock:
            schedule = self.concrete(x)
            kept = self._frozen
            if kept is not None and (not self.moving or self.moving == ("amount",)):
                return kept
            outputs, bearings = self._bearings(schedule)
            if kept is None or not np.array_equal(outputs.shape, kept.outputs.shape):
                self._frozen = Frozen(self._freeze(outputs, schedule), schedule, outputs, bearings)
                return self._frozen
            own = self._freezer_at(outputs)
            mesh = own.renewed(kept.mesh, schedule) if _same_places(bearings, kept.bearings) else own.freeze(schedule)
            self._frozen = Frozen(mesh, schedule, outputs, bearings)
            return self._frozen

    def _freeze(self, outputs: np.ndarray, schedule: Schedule) -> FrozenMesh:
        return self._freezer_at(outputs).freeze(schedule)

    def _freezer_at(self, outputs: np.ndarray) -> Freezer:
        if self._freezer is None:
            self._freezer = freezer(
                self.system,
                self.members.theta,
                age=self.members.age,
                output_times=outputs,
                state=self.members.state,
                derivatives="schedule",
            )
        return replace(self._freezer, output_times=outputs)

    def _bearings(self, schedule: Schedule) -> tuple[np.ndarray, Bearings]:
        horizon = float(self.base[-1])
        visits = np.unique(np.append(0.0, schedule.visits[schedule.visits < horizon]))
        rows = {drug: _sampled_rows(schedule, drug, days, horizon) for drug, days in self.troughs.items()}
        drawn = self._drawn(schedule, rows)
        outputs = np.unique(np.concatenate([self.base, visits, *drawn.values()]))
        apart = np.append(True, np.diff(outputs) > _TINY)
        outputs = outputs[apart]

        def places(days: np.ndarray) -> np.ndarray:
            return np.searchsorted(outputs, days - 0.5 * _TINY)

        sampled = {drug: Sampled(own, places(drawn[drug]), there) for drug, (own, there) in rows.items()}
        return outputs, Bearings(places(visits), visits, sampled)

    def _drawn(self, schedule: Schedule, rows: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, np.ndarray]:
        """Days of the samples: those of their doses, or a moment before, one moment more for each where they move."""
        found, number, horizon = {}, 0, float(self.base[-1])
        for drug, (own, _) in rows.items():
            days = np.minimum(schedule.times[own], horizon)
            if self._sampled_moves:
                days = days - _MOMENT * (1 + number + np.arange(len(own)))
                number += len(own)
            found[drug] = days
        return found

    def leaves(self, frozen: Frozen, schedule: Schedule) -> Leaves:
        """The leaves of a schedule, with samples that move as their doses do; traced."""
        outputs = jnp.asarray(frozen.outputs)
        if self._sampled_moves:
            for own in frozen.bearings.sampled.values():
                moved = jnp.asarray(schedule.times)[own.rows] - frozen.schedule.times[own.rows]
                outputs = outputs.at[own.places].add(jnp.where(own.there > 0, moved, 0.0))
        return Leaves.of(schedule, outputs)

    @property
    def names(self) -> tuple[str, ...]:
        """The leaves that depend on x."""
        return (*self.moving, "outputs") if self._sampled_moves else self.moving

    def at(self, x: Array) -> Course:
        """The members under the plan at x, solved in chunks."""
        frozen, leaves, solution = self.solved_at(x)
        return self.course(frozen, self.concrete(x), leaves, solution)

    def solved_at(self, x: Array) -> tuple[Frozen, Leaves, Traced]:
        """What holds at x, its leaves and the solution; the last one is remembered: derivatives follow a value."""
        key, known = np.asarray(x, float).tobytes(), self._solved
        if known is None or known[0] != key or known[1] is not self.members:
            frozen = self.frozen(x)
            leaves = self.leaves(frozen, self.concrete(x))
            known = (key, self.members, frozen, leaves, self.solved(frozen, leaves))
            self._solved = known
        return known[2:]

    def course(self, frozen: Frozen, schedule: Schedule, leaves: Leaves, traced: Traced) -> Course:
        """A course from a solution; pure, under derivatives."""
        members = self.members
        return course_of(
            self.system,
            leaves.put(schedule),
            members.theta,
            members.age,
            traced,
            leaves.outputs,
            frozen.bearings,
            self.days,
        )

    def traced(self, frozen: Frozen, x: Array) -> Course:
        """The course of all members at once as a pure function of x, for the caller's jit and derivatives."""
        schedule = self.template.schedule(x)
        leaves = self.leaves(frozen, schedule)
        return self.course(frozen, schedule, leaves, solution(frozen.mesh, frozen.schedule, self.members, leaves))

    def solved(self, frozen: Frozen, leaves: Leaves) -> Traced:
        """The solution of all members, [T, ..., M]."""
        found = self._by_chunks(lambda rows: forward(*self._inputs(frozen, leaves, rows)))
        return Traced(
            *(jnp.concatenate(parts, axis=-1)[..., : len(self.ensemble)] for parts in zip(*found, strict=True))
        )

    def pulled(self, frozen: Frozen, leaves: Leaves, cotangents: Traced) -> dict[str, np.ndarray]:
        """Cotangents [k, ...] of the leaves that move, from those of the solution [k, T, ..., M]."""

        def one(rows: np.ndarray) -> tuple[Array, ...]:
            own = Traced(*(leaf[..., rows] for leaf in cotangents))
            # the last member fills the chunk up, and counts once
            once = jnp.arange(rows.size) < np.unique(rows).size
            own = Traced(*(jnp.where(once, leaf, 0.0) for leaf in own))
            found: tuple[Array, ...] = pulled(self.names, *self._inputs(frozen, leaves, rows), own)
            return found

        parts = self._by_chunks(one)
        return {name: np.sum([np.asarray(part[i]) for part in parts], axis=0) for i, name in enumerate(self.names)}

    def pushed(self, frozen: Frozen, leaves: Leaves, tangents: Mapping[str, Array]) -> Traced:
        """Tangents [n, T, ..., M] of the solution along those [n, ...] of the leaves that move."""
        along = tuple(jnp.asarray(tangents[name]) for name in self.names)
        found = self._by_chunks(lambda rows: pushed(self.names, *self._inputs(frozen, leaves, rows), along))
        return Traced(
            *(jnp.concatenate(parts, axis=-1)[..., : len(self.ensemble)] for parts in zip(*found, strict=True))
        )

    def _inputs(self, frozen: Frozen, leaves: Leaves, rows: np.ndarray) -> tuple[FrozenMesh, Schedule, Members, Leaves]:
        return mesh_of(frozen.mesh, rows, len(self.ensemble)), frozen.schedule, self.members.some(rows), leaves

    def _by_chunks(self, work: Callable[[np.ndarray], Any]) -> list[Any]:
        parts = chunks_of(len(self.ensemble), self.threads)

        def task(rows: np.ndarray, halt: threading.Event) -> Any:
            del halt
            return jax.block_until_ready(work(rows))

        found, finished = run_chunks(parts, task, threads=self.threads)
        if not finished:
            raise KeyboardInterrupt
        return found


def chunks_of(members: int, threads: int) -> list[np.ndarray]:
    """Positions of the members in chunks of one size, the last filled up with its last member."""

    def cost(size: int) -> int:
        return math.ceil(math.ceil(members / size) / threads) * (size + _OVERHEAD)

    size = min(SIZES, key=cost)
    everyone = np.minimum(np.arange(math.ceil(members / size) * size), members - 1)
    return list(everyone.reshape(-1, size))


def _sampled_rows(
    schedule: Schedule, drug: str, days: Sequence[float], horizon: float
) -> tuple[np.ndarray, np.ndarray]:
    """For each day the row of the first dose that follows, and whether there is one up to the horizon."""
    rows = rows_of(schedule, drug)
    rows = rows[np.argsort(schedule.times[rows], kind="stable")]
    at = np.searchsorted(schedule.times[rows], np.asarray(days, float) - _TINY)
    found = rows[np.minimum(at, len(rows) - 1)]
    return found, ((at < len(rows)) & (schedule.times[found] <= horizon + _TINY)).astype(float)


def _same_places(new: Bearings, old: Bearings) -> bool:
    return all(
        np.array_equal(mine.rows, theirs.rows)
        and np.array_equal(mine.places, theirs.places)
        and np.array_equal(mine.there, theirs.there)
        for mine, theirs in zip(new.sampled.values(), old.sampled.values(), strict=True)
    )


__all__ = ["Candidate", "Courses", "Frozen", "Leaves", "Members", "chunks_of", "mesh_of", "plan_times"]
