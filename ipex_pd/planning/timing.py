"""When to transplant: the expected outcome against the day, its optimum, and what waiting is worth.

```python
goal = load_plan("bridge_and_transplant")
profile = transplant_timing(load_patient("seidel_2009"), goal=goal)
profile.optimum, profile.table, profile.causes, profile.groups
early, late = (transplant_timing(ensemble, goal=goal, regimen=r, days=days) for r in (unrelated, sibling))
value_of_waiting({"unrelated": early, "sibling from day 180": late}, {"sibling from day 180": 180.0})
```

Every day meets the same members. The band is that of the parameters (between draws, of the mean within a draw); the
standard error is that of a finite number of children.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.planning.comparison import NOTICE
from ipex_pd.planning.ensemble import Ensemble, ensemble_from, ensemble_of
from ipex_pd.planning.outcomes import CAUSES, LATE, Marcher, Outcomes
from ipex_pd.planning.paths import NEVER
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.timing_told import (
    Optimum,
    Who,
    cause_table,
    coarse_days,
    finer_days,
    group_table,
    optimum,
    profile_table,
)
from ipex_pd.records.draws import ParameterDraws
from ipex_pd.records.library import load_regimen
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.population import Population

if TYPE_CHECKING:
    from ipex_pd.records.patients import Patient

SCHEMA = "ipex_pd.timing/1"
Progress = Callable[[int, int], None]
_LEAST_KEPT = 0.9


@dataclass(frozen=True)
class TimingOptions:
    """How a profile is made.

    Attributes:
        coarse: days of the first grid, where no days are given; the ends are among them.
        rounds: how often days are put in around the best one.
        nearest: days closer than this are not divided further [day].
        never: whether no transplant is a candidate too: the bridge goes on.
        at_once: members whose courses are held in memory at a time.
        threads: chunks marched at a time.
        seed: of the resampling.
    """

    coarse: int = 7
    rounds: int = 2
    nearest: float = 8.0
    never: bool = True
    at_once: int = 2000
    threads: int = 2
    seed: int = 1

    def __post_init__(self) -> None:
        if self.coarse < 2 or self.rounds < 0 or self.nearest < 2 or self.at_once < 1 or self.threads < 1:
            raise UsageError(
                "the options of a profile do not fit", rule="At least two coarse days, one member, one thread"
            )


@dataclass(frozen=True, eq=False)
class TimingProfile:
    """Expected outcome by day of transplant.

    Attributes:
        table: a row a day (`inf` is never): day, then value, survival and organ_free, each with _low and _high (5 % and
            95 % over parameter draws of the mean within a draw) and _se (Monte Carlo error over children).
        causes: a row a day: the parts of the members' fate, which add up to 1 (`planning.outcomes.CAUSES`), and
            late effects, which overlap them (`LATE`).
        groups: a row a grouping, group and day: by organ-involvement score and age, at the start and at transplant.
        optimum: the best day with its intervals.
        outcomes: of every member.
        who: weights, draws, children and ages of the members.
        regimen: the plan that was moved.
        goal: name of the plan whose goals were valued.
        unit: of the value.
        horizon: [day].
        notes: how it was done, what was assumed and what was left out, in sentences.
        partial: whether an interrupt came before all was done.
    """

    table: pd.DataFrame
    causes: pd.DataFrame
    groups: pd.DataFrame
    optimum: Optimum
    outcomes: Outcomes
    who: Who
    regimen: Regimen
    goal: str
    unit: str
    horizon: float
    notes: tuple[str, ...]
    partial: bool = False

    @property
    def days(self) -> np.ndarray:
        """[D] candidate days; `inf` is never."""
        return self.outcomes.days

    def __repr__(self) -> str:
        best = self.optimum
        rows = [
            f"  {f'day {day:g}' if np.isfinite(day) else 'never'}: {row.value:.4g} ({row.value_low:.4g} to "
            f"{row.value_high:.4g}), survival {row.survival:.1%}, with all organs {row.organ_free:.1%}"
            for day, row in zip(self.days.tolist(), self.table.itertuples(), strict=True)
        ]
        when = "no transplant" if np.isinf(best.day) else f"day {best.day:g}"
        told = (
            f"best: {when}; among days {best.planned:g} ({best.low:g} to {best.high:g}; by draw {best.draw_low:g} to "
        )
        told += f"{best.draw_high:g})"
        head = f"Transplant of `{self.regimen.name}`, {len(self.who.weights)} members, value in {self.unit}:"
        return "\n".join([head, *rows, told, *(["(interrupted)"] if self.partial else [])])

    def to_json(self) -> str:
        """The record as strict JSON; `inf` becomes None."""
        body = {
            "notice": NOTICE,
            "regimen": self.regimen.name,
            "goal": self.goal,
            "unit": self.unit,
            "horizon_days": self.horizon,
            "members": len(self.who.weights),
            "optimum": vars(self.optimum),
            "table": self.table,
            "causes": self.causes,
            "meanings": {**CAUSES, **{f"late_{name}": words for name, words in LATE.items()}},
            "groups": self.groups,
            "notes": list(self.notes),
            "partial": self.partial,
        }
        return as_json(SCHEMA, body)


def transplant_timing(
    child: Patient | Population | Ensemble,
    *,
    goal: PlanningProblem,
    days: Sequence[float] | None = None,
    regimen: Regimen | None = None,
    draws: ParameterDraws | None = None,
    options: TimingOptions | None = None,
    progress: Progress | None = None,
) -> TimingProfile:
    """The expected outcome of a plan against the day of its transplant.

    Args:
        child: a child (with the ensemble that the plan asks for), a population, or the members themselves.
        goal: what the outcome is worth: goals, horizon; its days of `timing`, else its bounds of the transplant day,
            say between which days a coarse grid is refined around the best day. Its limits are not applied.
        days: exactly these candidate days instead [day].
        regimen: with one transplant; the one the plan starts from when None.
        draws: of the parameters, in place of the plan's.
        options: of the method.
        progress: called with (parts done, parts in all). Ctrl-C keeps the members and days that are done.

    Raises:
        UsageError: no single transplant, days that do not fit, a statistic other than the mean, draws beside members.
        SimulationError: what a march cannot do (nonlinear drugs, doses at steady state).
    """
    chosen = options or TimingOptions()
    if goal.statistic.kind != "mean":
        raise UsageError(
            f"a profile of {goal.statistic.in_words()}",
            code="timing.statistic",
            where=goal.name,
            rule="A profile tells expectations; how members and draws differ stands in its bands",
            cure="Write `statistic: mean`",
        )
    ensemble = members_of(child, goal, draws)
    plan = regimen if regimen is not None else regimen_of(goal.start)
    first = _days(goal, days, chosen)
    run = _Run(Marcher(ensemble, goal, plan, first, at_once=chosen.at_once, threads=chosen.threads), progress)
    never = [NEVER] if chosen.never else []
    rounds = 0 if days is not None else chosen.rounds
    run.first([*first, *never], rounds)
    for _ in range(rounds):
        run.refine(Who.of(ensemble, run.found.members), chosen.nearest)
    notes = _notes(run, ensemble, goal, refined=days is None)
    return profile_of(run.found, ensemble, goal, plan, seed=chosen.seed, notes=notes, partial=run.partial)


class _Run:
    """Blocks of members and rounds of days, with what is done when an interrupt comes."""

    def __init__(self, marcher: Marcher, progress: Progress | None) -> None:
        self.marcher, self.progress, self.partial = marcher, progress, False
        self.blocks = marcher.blocks()
        self.parts: list[Outcomes] = []
        self.done = self.total = 0

    @property
    def whole(self) -> Outcomes:
        """All members that are done, on their days."""
        whole = self.parts[0]
        for part in self.parts[1:]:
            whole = whole.beside(part)
        return whole

    @property
    def found(self) -> Outcomes:
        """Those of them whose numbers stayed finite. Raises: SimulationError."""
        whole = self.whole
        found = whole.finite()
        if len(found.members) < _LEAST_KEPT * len(whole.members):
            raise SimulationError(
                f"{len(whole.members) - len(found.members)} of {len(whole.members)} members have no finite numbers",
                code="timing.lost",
                rule="Members without numbers are left out where they are one in ten or fewer",
                cure="Look at one of them with `simulate`",
            )
        return found

    def first(self, days: Sequence[float], rounds: int) -> None:
        """The first days of every block of members. An interrupt keeps the blocks that are done, if any."""
        self.total = len(self.blocks) * (1 + rounds)
        try:
            for number, who in enumerate(self.blocks):
                self.parts.append(self.marcher.outcomes(days, number, who))
                self._tick()
        except KeyboardInterrupt:
            if not self.parts:
                raise
            self.partial = True

    def refine(self, who: Who, nearest: float) -> None:
        """Days around the best one. An interrupt leaves the days as they were."""
        if self.partial:
            return
        days = finer_days(self.found, who, nearest)
        if not days:
            return
        try:
            more = []
            for number, rows in enumerate(self.blocks):
                more.append(self.parts[number].joined(self.marcher.outcomes(days, number, rows)))
                self._tick()
            self.parts = more
        except KeyboardInterrupt:
            self.partial = True

    def _tick(self) -> None:
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.total)


def members_of(child: Patient | Population | Ensemble, goal: PlanningProblem, draws: ParameterDraws | None) -> Ensemble:
    """The members that a plan asks for around a child, or those that are given. Raises: UsageError."""
    if isinstance(child, Ensemble):
        if draws is not None:
            raise UsageError("draws beside the members", rule="Members have their draws already", cure="Leave them out")
        return child
    if draws is None:
        return ensemble_from(child, goal.ensemble)
    children = None if isinstance(child, Population) else goal.ensemble.children
    return ensemble_of(child, children=children, draws=draws, seed=goal.ensemble.seed)


def regimen_of(start: str | Regimen) -> Regimen:
    """A regimen, by its name or itself."""
    return start if isinstance(start, Regimen) else load_regimen(start)


def _days(goal: PlanningProblem, days: Sequence[float] | None, options: TimingOptions) -> tuple[float, ...]:
    if days is not None:
        given = tuple(sorted({float(day) for day in days if np.isfinite(day)}))
        if not given:
            raise UsageError("no candidate day", where="days", rule="There is a day of transplant at least")
        return given
    if goal.timing is not None:
        ends = goal.timing.grid()[0], goal.timing.grid()[-1]
    elif goal.transplant_day is not None:
        ends = float(goal.transplant_day.earliest), float(goal.transplant_day.latest)
    else:
        raise UsageError(
            f"`{goal.name}` does not say when a transplant may be",
            code="timing.days",
            rule="Days come from `timing`, or from the bounds of a free transplant day",
            cure="Give `days`",
        )
    return coarse_days(*ends, options.coarse)


def profile_of(
    found: Outcomes,
    ensemble: Ensemble,
    goal: PlanningProblem,
    regimen: Regimen,
    *,
    seed: int,
    notes: tuple[str, ...],
    partial: bool = False,
) -> TimingProfile:
    """A profile from what became of its members."""
    who = Who.of(ensemble, found.members)
    return TimingProfile(
        table=profile_table(found, who),
        causes=cause_table(found, who),
        groups=group_table(found, who),
        optimum=optimum(found, who, seed),
        outcomes=found,
        who=who,
        regimen=regimen,
        goal=goal.name,
        unit="weighted goals" if len(goal.goals) > 1 else goal.goals[0].unit,
        horizon=float(goal.horizon),
        notes=notes,
        partial=partial,
    )


def _notes(run: _Run, ensemble: Ensemble, goal: PlanningProblem, refined: bool) -> tuple[str, ...]:
    marcher, lines = run.marcher, [*ensemble.in_words()]
    lines.append(f"Value: {'; '.join(g.in_words(alone=len(goal.goals) == 1) for g in goal.goals)}.")
    if refined:
        lines.append(
            "Days: a coarse grid, refined around the best day; between days a monotone cubic through the means."
        )
    if marcher.plans.followed:
        drugs = ", ".join(marcher.plans.followed)
        lines.append(f"Doses of {drugs}, which follow troughs, are those of the middle member, for all.")
    if marcher.held:
        lines.append(f"Held at their mean, because members share the times of doses: {', '.join(marcher.held)}.")
    if goal.limits:
        lines.append("The limits of the plan are not applied: the regimen is valued as it stands.")
    lost = len(run.whole.members) - len(run.found.members)
    if lost:
        lines.append(f"{lost} of {len(run.whole.members)} members have no finite numbers and are left out.")
    lines.append(
        "Marched in sub-steps of up to four days, after a transplant two, and a week when its drugs are gone: it errs "
        "by about a thousandth."
    )
    return tuple(lines)
