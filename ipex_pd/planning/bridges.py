"""The bridge to a transplant, made anew for each day of it: what waiting is worth when waiting is done well.

A profile (`planning.timing`) moves one bridge with the day. Here the doses of the bridge, and all else that the plan
frees but the day, are searched for each candidate day, and for no transplant at all; both profiles are of the same
members, so that the value of a day is not that of a bridge made for another one.

```python
goal = load_plan("bridge_and_transplant")
bridges = bridge_timing(load_patient(goal.patient), goal=goal, days=[60, 180, 365])
bridges.table, bridges.plans[180.0].regimen
value_of_waiting({"one bridge": bridges.given, "a bridge for each day": bridges.made})
```
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.planning.comparison import NOTICE
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.optimise import optimise_regimen
from ipex_pd.planning.optimise_search import PlanOptions
from ipex_pd.planning.paths import NEVER
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.policies import Fixed
from ipex_pd.planning.timing import (
    TimingOptions,
    TimingProfile,
    members_of,
    profile_of,
    regimen_of,
    transplant_timing,
)
from ipex_pd.planning.timing_told import resampled
from ipex_pd.planning.transplant_plans import BEYOND
from ipex_pd.records.plan_free import FreeTransplant
from ipex_pd.records.plan_limits import ProphylaxisLimit
from ipex_pd.simulation.population import Population

if TYPE_CHECKING:
    from ipex_pd.planning.outcomes import Outcomes
    from ipex_pd.planning.plan import Plan
    from ipex_pd.records.draws import ParameterDraws
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.plans import PlanningProblem
    from ipex_pd.records.regimens import Regimen

SCHEMA = "ipex_pd.bridges/1"
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class BridgeTiming:
    """The day of transplant with a bridge of its own for each day.

    Attributes:
        table: a row a day (`inf` is never): day, given (value with the bridge of the start), made (with its own), gain
            with gain_low and gain_high (5 % and 95 % when draws and children are resampled), feasible, converged.
        given: profile of the bridge that was given.
        made: profile of the bridges that were made.
        plans: day -> the plan with its bridge.
        notes: how it was done, in sentences.
        partial: whether an interrupt came before all days were done.
    """

    table: pd.DataFrame
    given: TimingProfile
    made: TimingProfile
    plans: dict[float, Plan]
    notes: tuple[str, ...]
    partial: bool = False

    def __repr__(self) -> str:
        rows = [
            f"  {Fixed(float(r['day'])).in_words()}: {r['given']:.4g} with the bridge given, {r['made']:.4g} with its "
            f"own, {r['gain']:+.3g} ({r['gain_low']:+.3g} to {r['gain_high']:+.3g})"
            f"{'' if r['feasible'] else ', limits not kept'}"
            for r in self.table.to_dict("records")
        ]
        best = [float(self.table["day"][int(self.table[name].argmax())]) for name in ("given", "made")]
        told = [Fixed(day).in_words() for day in best]
        last = f"best with the bridge given: {told[0]}; with a bridge of its own for each: {told[1]}"
        head = f"Bridges of `{self.given.regimen.name}` [{self.given.unit}]:"
        return "\n".join([head, *rows, last, *(["(interrupted)"] if self.partial else [])])

    def to_json(self) -> str:
        """The record as strict JSON; `inf` becomes None."""
        bridges = [
            {"day": day, "regimen": plan.regimen.as_data(), "words": plan.regimen.in_words()}
            for day, plan in self.plans.items()
        ]
        body = {
            "notice": NOTICE,
            "goal": self.given.goal,
            "unit": self.given.unit,
            "table": self.table,
            "bridges": bridges,
            "notes": list(self.notes),
            "partial": self.partial,
        }
        return as_json(SCHEMA, body)


def bridge_timing(
    child: Patient | Population | Ensemble,
    *,
    goal: PlanningProblem,
    days: Sequence[float],
    regimen: Regimen | None = None,
    draws: ParameterDraws | None = None,
    never: bool = True,
    options: PlanOptions | None = None,
    progress: Progress | None = None,
) -> BridgeTiming:
    """Search what a plan frees, but the day of its transplant, for each of some days, and value both.

    Args:
        child: a child (bridges are made for the ensemble of the plan and valued on its fresh members), a population, or
            the members themselves.
        goal: goals, limits and what is free, the transplant itself not; without one there are no limits of prophylaxis.
        days: candidate days of the transplant [day].
        regimen: with one transplant; the one the plan starts from when None.
        draws: of the parameters, in place of the plan's.
        never: whether no transplant is a candidate too, with a bridge made for the whole horizon.
        options: of each search; one start by default, the bridge given.
        progress: called with (what is done, days done, days in all). Ctrl-C keeps the days that are done.

    Raises:
        UsageError: no day, or nothing but the day is free.
        RecordError, SimulationError: as `optimise_regimen` and `transplant_timing`.
    """
    wanted = tuple(sorted({float(day) for day in days if math.isfinite(day)}))
    free = tuple(line for line in goal.free if not isinstance(line, FreeTransplant))
    if not wanted or not free:
        raise UsageError(
            "no candidate day" if free else f"nothing but the day is free in `{goal.name}`",
            code="bridges.free",
            rule="A bridge is made for given days, from what the plan frees",
            cure="Free doses in the plan, and give days",
        )
    start = regimen if regimen is not None else regimen_of(goal.start)
    group = isinstance(child, Population | Ensemble)
    ensemble = members_of(child, goal if group else goal.model_copy(update={"ensemble": goal.fresh}), draws)
    chosen = options or PlanOptions(starts=1)
    given = transplant_timing(ensemble, goal=goal, regimen=start, days=wanted, options=TimingOptions(never=never))
    asked = {"free": free, "timing": None, "compare_with": (), "alternatives": ()}
    whom = (ensemble, None) if group else (child, draws)
    search = _Searches(goal.model_copy(update=asked), start, whom, ensemble, chosen, wanted[0])
    partial, candidates = given.partial, (*wanted, *([NEVER] if never else []))
    for number, day in enumerate(() if partial else candidates):
        if progress is not None:
            progress(Fixed(day).in_words(), number, len(candidates))
        partial = not search.done(day)
        if partial:
            break
    if not search.plans:
        raise KeyboardInterrupt
    return _told(search, given, partial)


@dataclass(eq=False)
class _Searches:
    """The searches, day by day, and what they found.

    Attributes:
        goal: without a free day.
        start: the bridge given.
        whom: whom plans are made for, and the draws beside a child.
        ensemble: whom they are valued on.
        options: of each search.
        first: a day on which `never` is marched beside.
    """

    goal: PlanningProblem
    start: Regimen
    whom: tuple[Patient | Population | Ensemble, ParameterDraws | None]
    ensemble: Ensemble
    options: PlanOptions
    first: float
    plans: dict[float, Plan] = field(default_factory=dict)
    outcomes: dict[float, Outcomes] = field(default_factory=dict)

    def done(self, day: float) -> bool:
        """Make and value the bridge to one day; False where an interrupt cut it short."""
        ever = math.isfinite(day)
        moved = self.start.with_transplant_day(day if ever else float(self.goal.horizon) + BEYOND)
        limits = tuple(line for line in self.goal.limits if ever or not isinstance(line, ProphylaxisLimit))
        goal, (child, draws) = self.goal.model_copy(update={"start": moved, "limits": limits}), self.whom
        options = TimingOptions(never=not ever)
        try:
            plan = optimise_regimen(child, goal=goal, draws=draws, options=self.options)
            valued = transplant_timing(
                self.ensemble, goal=goal, regimen=plan.regimen, days=[day if ever else self.first], options=options
            )
        except KeyboardInterrupt:
            return False
        if plan.partial or valued.partial:
            return False
        self.plans[day], self.outcomes[day] = plan, valued.outcomes
        return True


def _told(search: _Searches, given: TimingProfile, partial: bool) -> BridgeTiming:
    """Both profiles on the members and days that both have, and the table of their differences."""
    days = list(search.plans)
    members = given.outcomes.members
    for part in search.outcomes.values():
        members = np.intersect1d(members, part.members)
    parts = [search.outcomes[day].only([day], members) for day in days]
    made = parts[0]
    for part in parts[1:]:
        made = made.joined(part)
    before = given.outcomes.only(days, members)
    same = search.whom[0] is search.ensemble
    whose = "the members that they were made for, and errs in their favour" if same else "fresh members"
    unreached = "Without transplant the regimen holds one after the horizon, which is not reached."
    notes = (
        f"A bridge was searched for each of {len(days)} candidates; what they gain is told on {whose}.",
        *([unreached] if NEVER in days else []),
        *given.notes,
    )
    seed = search.options.seed
    profiles = [
        profile_of(found, search.ensemble, search.goal, search.start, seed=seed, notes=notes, partial=partial)
        for found in (before, made)
    ]
    return BridgeTiming(_table(search, *profiles), profiles[0], profiles[1], dict(search.plans), notes, partial)


def _table(search: _Searches, given: TimingProfile, made: TimingProfile) -> pd.DataFrame:
    weights, who = resampled(given.who, search.options.seed), given.who.weights
    rows: list[dict[str, object]] = []
    for day, old, new in zip(given.days.tolist(), given.outcomes.value, made.outcomes.value, strict=True):
        low, high = np.quantile(weights @ (new - old), [0.05, 0.95])
        rows.append(
            {
                "day": day,
                "given": float(who @ old),
                "made": float(who @ new),
                "gain": float(who @ (new - old)),
                "gain_low": float(low),
                "gain_high": float(high),
                "feasible": search.plans[day].feasible,
                "converged": search.plans[day].optimality.converged,
            }
        )
    return pd.DataFrame(rows)
