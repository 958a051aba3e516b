"""What becomes of every member by day of transplant: marched once to the days, and from each day on.

The course without transplant (the bridge going on) is marched once for all candidate days and kept where they branch
off; each day goes on in legs, with the drugs that are left (`planning.legs`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.march_many import Branch, Marched, march_many
from ipex_pd.numerics.march_plan import Shape
from ipex_pd.numerics.schedule import Schedule, System
from ipex_pd.planning.course import Course
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.goals import goal_quantity
from ipex_pd.planning.legs import TRUNK, Pace, Walk, in_order, last_given, of_drugs, walk, with_drugs
from ipex_pd.planning.paths import NEVER
from ipex_pd.planning.transplant_plans import TransplantPlans, first_difference, held_lags, transplant_plans
from ipex_pd.records.plan_goals import QualityStates
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation import measures
from ipex_pd.simulation import thresholds as limit
from ipex_pd.simulation.questions import DEATH_HAZARDS, ORGANS

EVERY = 84.0
"""Days between readings: every third visit of the solver, where blocks of sub-steps begin anyway."""
EARLY = (28.0, 56.0, 112.0, 140.0)
"""Days that are read besides, while the bridge begins to act."""
AFTER = (7.0, 14.0, 42.0, 70.0, 100.0, 150.0)
"""Days after a transplant that are read besides: most deaths by it come in the first hundred days (E012)."""
SHARP = 1e-3
"""Width of the thresholds of goals, as a part of that of a search: outcomes are told, not differentiated."""
_MASSES = ("beta_cell_mass", "thyroid_mass", "renal_scarring")
_READ = (
    "survival",
    "cumulative_hazard_gvhd",
    "cumulative_hazard_graft_failure",
    "oi_score",
    "oi_score_integer",
    "ige",
    "weight",
    *_MASSES,
    *DEATH_HAZARDS.values(),
    "cumulative_hazard_serious_infection",
    "c_peptide",
    "weight_z",
    "height_z",
    "steroid_burden",
    "cni_burden",
    *ORGANS,
)
"""What every goal, cause and measurement reads: the same for all, so that one program serves every plan."""
CAUSES: Mapping[str, str] = {
    "death_before_disease": "death from the disease before the transplant",
    "death_before_infection": "death from infection before the transplant",
    "death_transplant": "death from the transplant, infections in its wake included",
    "death_after_disease": "death from the disease after the transplant",
    "death_after_infection": "death from infection after the transplant",
    "alive_diabetes": "alive at the horizon with too few beta cells",
    "alive_other_organ_loss": "alive at the horizon without thyroid or with a scarred kidney, not diabetic",
    "alive_all_organs": "alive at the horizon with all organs",
}
"""Parts of the members' fate; they add up to 1. Without transplant everything is before it."""
LATE: Mapping[str, str] = {
    "gvhd": "graft-versus-host disease by the horizon, death competing",
    "graft_failure": "graft failure by the horizon, death competing",
    "renal_scarring": "scarred share of the kidney at the horizon",
}
"""Late effects, which overlap the parts."""
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Members by day of transplant.

    Attributes:
        days: [D] rising; `NEVER` last where asked.
        value: [D, M] weighted sum of the plan's goals.
        survival, organ_free: [D, M] at the horizon.
        causes: part -> [D, M].
        late: late effect -> [D, M].
        alive: [D, M] survival up to the day without transplant (at the horizon for `NEVER`).
        score: [D, M] organ-involvement score on the day, before the transplant.
        members: positions in the ensemble.
    """

    days: Floats
    value: Floats
    survival: Floats
    organ_free: Floats
    causes: Mapping[str, Floats]
    late: Mapping[str, Floats]
    alive: Floats
    score: Floats
    members: np.ndarray

    def joined(self, other: Outcomes) -> Outcomes:
        """With other days of the same members; a day of both is taken from the other."""
        kept = ~np.isin(self.days, other.days)
        days = np.concatenate([self.days[kept], other.days])
        order = np.argsort(days)
        return self._each(other, lambda a, b: np.concatenate([a[kept], b])[order], days[order], self.members)

    def beside(self, other: Outcomes) -> Outcomes:
        """With other members on the same days."""
        who = np.concatenate([self.members, other.members])
        return self._each(other, lambda a, b: np.concatenate([a, b], axis=1), self.days, who)

    def finite(self) -> Outcomes:
        """Without the members who have lost their numbers on any day."""
        kept = np.isfinite(self.value).all(axis=0) & np.isfinite(self.survival).all(axis=0)
        return self if kept.all() else self._each(self, lambda a, b: a[:, kept], self.days, self.members[kept])

    def only(self, days: Sequence[float], members: np.ndarray) -> Outcomes:
        """Some days of some members."""
        rows, columns = np.isin(self.days, days), np.isin(self.members, members)
        return self._each(self, lambda a, b: a[rows][:, columns], self.days[rows], self.members[columns])

    def _each(
        self, other: Outcomes, put: Callable[[Floats, Floats], Floats], days: Floats, members: np.ndarray
    ) -> Outcomes:
        tables = ("value", "survival", "organ_free", "alive", "score")
        plain = {name: put(getattr(self, name), getattr(other, name)) for name in tables}
        causes = {name: put(values, other.causes[name]) for name, values in self.causes.items()}
        late = {name: put(values, other.late[name]) for name, values in self.late.items()}
        return Outcomes(days=days, members=members, causes=causes, late=late, **plain)


@dataclass(frozen=True)
class Wish:
    """One goal: name, sign times weight, worth of states."""

    name: str
    weight: float
    states: QualityStates | None = None


class Marcher:
    """An ensemble marched under the plans of a regimen.

    Args:
        ensemble: the members.
        goal: whose goals are told.
        regimen: with one transplant.
        grid: candidate days at which the course without transplant is kept and observed [day].
        at_once: members whose courses are held at a time.
        threads: chunks marched at a time.
        read: further days on which the course without transplant is read [day].
    """

    def __init__(
        self,
        ensemble: Ensemble,
        goal: PlanningProblem,
        regimen: Regimen,
        grid: Sequence[float],
        *,
        at_once: int = 2000,
        threads: int = 2,
        read: Sequence[float] = (),
    ) -> None:
        self.ensemble, self.horizon, self.threads, self.at_once = ensemble, float(goal.horizon), threads, at_once
        self.plans: TransplantPlans = transplant_plans(ensemble, regimen, self.horizon)
        asked = self.plans.study
        self.system, self.age, self.state = asked.system, asked.age, asked.state
        self.theta, self.held = held_lags({n: np.asarray(v) for n, v in asked.theta.items()}, ensemble.weights)
        self.wishes = tuple(Wish(g.name, g.sign * g.weight, g.states) for g in goal.goals)
        self.names = _READ
        self.never = self.plans.schedule(NEVER)
        self.bridge = in_order(self.system, last_given(self.never))
        self.trunk_names = (*self.names, *self.bridge)
        self.schedules: dict[float, Schedule] = {}
        self.starts: dict[float, float] = {}
        self.grid = np.array(sorted({float(day) for day in grid if np.isfinite(day)}))
        if self.grid.size and not (self.grid[0] >= 0 and self.grid[-1] < self.horizon):
            raise UsageError(
                f"a transplant on day {self.grid[-1]:g} of {self.horizon:g}",
                code="timing.days",
                rule="A transplant comes from day 0 on, and the outcome is told after it",
            )
        early = [day for day in EARLY if day < self.horizon]
        every = np.arange(0.0, self.horizon, EVERY)
        self.readings = np.unique([*every, *early, *self.grid, *read, self.horizon])
        self.keep = np.unique([self._start(day) for day in self.grid] or [0.0])
        self._trunks: dict[int, Marched] = {}
        self._shapes: dict[tuple[System, Pace], Shape] = {}

    def blocks(self) -> list[np.ndarray]:
        """Members held at a time."""
        return np.array_split(np.arange(len(self.ensemble)), max(1, -(-len(self.ensemble) // self.at_once)))

    def schedule(self, day: float) -> Schedule:
        """What is given with the transplant on a day."""
        if day not in self.schedules:
            self.schedules[day] = self.plans.schedule(day)
        return self.schedules[day]

    def _start(self, day: float) -> float:
        """The day on which a plan leaves the course without transplant."""
        if day not in self.starts:
            self.starts[day] = min(first_difference(self.schedule(day), self.never), day)
        return self.starts[day]

    def trunk(self, number: int, who: np.ndarray, progress: Callable[[int, int], None] | None = None) -> Marched:
        """The course of some members without transplant, kept for later calls."""
        if number not in self._trunks:
            asked = of_drugs(self.never, self.bridge)
            branch = Branch(asked, days=self.readings.tolist(), keep=self.keep.tolist(), who=who)
            system = with_drugs(self.system, self.bridge)
            self._trunks[number] = self._march(system, [branch], TRUNK, self.trunk_names, progress)[0]
        return self._trunks[number]

    def _march(
        self,
        system: System,
        branches: Sequence[Branch],
        pace: Pace,
        names: Sequence[str] = _READ,
        progress: Progress | None = None,
    ) -> list[Marched]:
        found = march_many(
            system,
            branches,
            self.theta,
            age=self.age,
            state=self.state,
            outputs=names,
            grading=pace.grading,
            method=pace.method,
            shape=self._shapes.get((system, pace)),
            threads=self.threads,
            progress=progress,
        )
        self._shapes.setdefault((system, pace), found[0].shape)
        return found

    def outcomes(self, days: Sequence[float], number: int, who: np.ndarray) -> Outcomes:
        """What becomes of some members by day of transplant, `NEVER` among the days or not."""
        trunk = self.trunk(number, who)
        planned = sorted(day for day in days if np.isfinite(day))
        parts = self._branched(trunk, planned, who) if planned else []
        told = [self._told(day, part, who) for day, part in zip(planned, parts, strict=True)]
        if NEVER in days:
            told.append(self._told(NEVER, Readings(trunk.days, {n: trunk[n] for n in self.names}), who))
        found = told[0]
        for one in told[1:]:
            found = found.joined(one)
        alive, score = self._before(trunk, found.days)
        return replace(found, alive=alive, score=score)

    def _before(self, trunk: Marched, days: Floats) -> tuple[Floats, Floats]:
        """Survival and score on the days without transplant, linear between readings."""
        at = np.minimum(days, self.horizon)
        alive, score = (
            np.stack([np.interp(at, trunk.days, row) for row in trunk[name].T], axis=1)
            for name in ("survival", "oi_score")
        )
        return alive, score

    def _branched(self, trunk: Marched, days: Sequence[float], who: np.ndarray) -> list[Readings]:
        """Readings of each plan from day 0 to the horizon."""
        walks = []
        for day in days:
            start = self._kept_before(self._start(day))
            known = trunk if start > 0 else None
            walks.append(Walk(self.schedule(day), day, start, known, self._reads(day, start), who, self.horizon))
        walk(self.system, walks, self._march)
        return [_joined(trunk, one, self.names) for one in walks]

    def _kept_before(self, day: float) -> float:
        """The last kept day up to a day; 0 when none is."""
        place = int(np.searchsorted(self.keep, day + 1e-9)) - 1
        return float(self.keep[place]) if place >= 0 else 0.0

    def _reads(self, day: float, start: float) -> Floats:
        """Days from the start of a branch on at which a plan is read."""
        own = {*self.readings.tolist(), day, *(day + wait for wait in AFTER if day + wait < self.horizon)}
        return np.array(sorted(t for t in own if t >= start - 1e-9))

    def _told(self, day: float, read: Readings, who: np.ndarray) -> Outcomes:
        """What one plan comes to."""
        read = padded(read, len(self.readings) + len(AFTER) + 1)
        graft = np.full((1 if np.isfinite(day) else 0, len(who)), day)
        values = {name: jnp.asarray(table) for name, table in read.tables.items()}
        course = Course(jnp.asarray(read.times), values, {}, {}, jnp.asarray(graft))
        value = np.asarray(_valued(self.wishes, course))
        causes, late = fates(read, day)
        parts = {
            "value": value,
            "survival": read.tables["survival"][-1],
            "organ_free": causes["alive_all_organs"],
            "alive": np.zeros_like(value),
            "score": np.zeros_like(value),
        }
        return Outcomes(
            days=np.array([day]),
            members=who,
            causes={name: v[None] for name, v in causes.items()},
            late={name: v[None] for name, v in late.items()},
            **{name: v[None] for name, v in parts.items()},
        )


@dataclass(frozen=True, eq=False)
class Readings:
    """Courses of members: times [T] [day] and name -> [T, B]."""

    times: Floats
    tables: Mapping[str, Floats]


def _joined(trunk: Marched, walked: Walk, names: Sequence[str]) -> Readings:
    """A whole course: without transplant before it begins, then its legs."""
    early = trunk.days < walked.start - 1e-9
    days, tables = walked.readings(names)
    return Readings(
        np.concatenate([trunk.days[early], days]), {n: np.concatenate([trunk[n][early], tables[n]]) for n in names}
    )


def padded(read: Readings, count: int) -> Readings:
    """The same courses with midpoints put into the longest intervals, so that all have as many times."""
    times, tables = read.times, dict(read.tables)
    missing = count - len(times)
    if missing <= 0:
        return read
    at = np.sort(np.argsort(-np.diff(times), kind="stable")[:missing])
    times = np.insert(times, at + 1, 0.5 * (times[at] + times[at + 1]))
    tables = {n: np.insert(v, at + 1, 0.5 * (v[at] + v[at + 1]), axis=0) for n, v in tables.items()}
    return padded(Readings(times, tables), count)


@partial(jax.jit, static_argnums=0)
def _valued(wishes: tuple[Wish, ...], course: Course) -> Any:
    goals = [goal_quantity(wish.name, wish.states).function(course, jnp.asarray(SHARP)) for wish in wishes]
    return jnp.asarray([wish.weight for wish in wishes]) @ jnp.stack(goals)


def fates(read: Readings, day: float) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Parts of the fate of members [B], which add up to 1, and late effects.

    Args:
        read: from day 0 to the horizon.
        day: of the transplant, one of the times; `NEVER` without.
    """
    hazards = {cause: (read.tables[name] - read.tables[name][:1]).T for cause, name in DEATH_HAZARDS.items()}
    place = int(np.searchsorted(read.times, min(day, read.times[-1]) - 1e-9))
    died = {cause: measures.incidence(hazards, cause) for cause in hazards}
    alive = 1.0 - sum(table[:, -1] for table in died.values())
    beta, thyroid, scar = (read.tables[name][-1] for name in _MASSES)
    diabetic = beta < limit.DIABETES_MASS.value
    other = ~diabetic & ((thyroid < limit.HYPOTHYROID_MASS.value) | (scar > limit.SCARRED_KIDNEY.value))
    causes = {
        "death_before_disease": died["disease"][:, place],
        "death_before_infection": died["infection"][:, place],
        "death_transplant": died["transplant"][:, -1],
        "death_after_disease": died["disease"][:, -1] - died["disease"][:, place],
        "death_after_infection": died["infection"][:, -1] - died["infection"][:, place],
        "alive_diabetes": alive * diabetic,
        "alive_other_organ_loss": alive * other,
        "alive_all_organs": alive * ~(diabetic | other),
    }
    late = {"renal_scarring": scar}
    for name in ("gvhd", "graft_failure"):
        event = read.tables[f"cumulative_hazard_{name}"]
        late[name] = measures.incidence({**hazards, "event": (event - event[:1]).T}, "event")[:, -1]
    return causes, late
