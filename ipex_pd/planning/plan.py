"""Plan: what `optimise_regimen` found, what it is worth, what it keeps to, and how sure that is."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipex_pd.errors import OutputError, RecordError
from ipex_pd.planning.conflicts import Conflict, Conflicts
from ipex_pd.planning.plain import as_json
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data

if TYPE_CHECKING:
    from ipex_pd.planning.judged import Judgement

Array = np.ndarray[Any, np.dtype[np.float64]]

SCHEMA = "ipex_pd.plan/1"
NOTICE = "Research tool, not medical advice: a plan of a model of published facts and stated assumptions."
SAME = 0.01
"""Part of the size of the goal within which two optima count as one."""


@dataclass(frozen=True)
class PlanLimit:
    """A limit and how the plan keeps it.

    Attributes:
        label, unit: what is bounded.
        how: `linear` in the free quantities, `simulated` (in sample, without smoothing), or `true` (judged by a
            simulation of the fresh members where there are any).
        value: of the plan.
        low, high: between which it must lie; infinite where open.
        slack: distance to the nearer end, negative where it is overstepped.
        met: whether it is kept within the tolerance.
        price: what the goal would gain for one unit by which the limit yields; 0 where it does not bind, NaN where no
            search tells (`true`).
    """

    label: str
    unit: str
    how: str
    value: float
    low: float
    high: float
    slack: float
    met: bool
    price: float = math.nan


@dataclass(frozen=True)
class ActiveLimit:
    """A limit or bound that the optimum leans on, before rounding.

    Attributes:
        label: of the limit, or the name of the quantity.
        side: `lower`, `upper` or `equal`.
        bound: where.
        unit: of the bound; empty where the label says it.
        price: gain of the goal for one unit of bound moved outward.
    """

    label: str
    side: str
    bound: float
    unit: str
    price: float

    def in_words(self) -> str:
        """One sentence."""
        way = {"lower": "lower", "upper": "higher", "equal": "higher"}[self.side]
        unit = f" {self.unit}" if self.unit else ""
        where = f"{self.label} is at its {self.side} bound {self.bound + 0.0:.4g}{unit}"
        if abs(self.price) < 1e-12:
            return f"{where}; moving it gains nothing"
        return f"{where}; one{unit or ' unit'} {way} would be worth {self.price:.3g} of the goal"


@dataclass(frozen=True)
class StartOutcome:
    """One search.

    Attributes:
        name: where it began.
        value: of the smooth goal where it ended; larger is better.
        violation: largest overstepping there, in units of the limit.
        converged, outcome: whether the optimality conditions hold, and why it ended.
        iterations, evaluations: counts.
        distance: largest distance of where it ended from the best, in ranges of the quantities.
    """

    name: str
    value: float
    violation: float
    converged: bool
    outcome: str
    iterations: int
    evaluations: int
    distance: float


@dataclass(frozen=True)
class PlanOptimality:
    """How optimal the plan is, before rounding, for the smooth goal in sample.

    Attributes:
        projected_gradient: change of the goal over the whole range of a quantity that is left.
        relative: the same over that at the start of the search.
        converged: whether the optimality conditions hold.
        violation: largest overstepping of a limit, in its unit.
        outcome: why the search ended.
        active: limits and bounds it leans on.
        starts: all searches of the chosen combination, on the scouts where there are any.
        size: of the goal: the larger of its value and its gain over the start regimen, by which optima are compared.
        members: on whom all but `starts` was found.
        scouts: members on whom `starts` were searched; 0 where on all.
    """

    projected_gradient: float
    relative: float
    converged: bool
    violation: float
    outcome: str
    active: tuple[ActiveLimit, ...]
    starts: tuple[StartOutcome, ...]
    size: float = 0.0
    members: int = 0
    scouts: int = 0

    @property
    def spread(self) -> float:
        """Best less worst value of the searches that found a feasible end; 0 for one."""
        values = [s.value for s in self._feasible]
        return max(values) - min(values) if values else math.nan

    @property
    def _feasible(self) -> tuple[StartOutcome, ...]:
        kept = tuple(s for s in self.starts if s.violation <= 1e-3)
        return kept or self.starts

    def agreement(self) -> str:
        """`the same optimum from 4 of 5 starts within 1 %`, and other optima by value."""
        found = self._feasible
        if not found:
            return "no search began"
        best = max(s.value for s in found)
        size = max(self.size, abs(best), 1e-12)
        same = [s for s in found if best - s.value <= SAME * size]
        words = f"the same optimum from {len(same)} of {len(self.starts)} starts within {SAME:.0%}"
        if self.scouts:
            words += f", compared on {self.scouts} of {self.members} members; from the best on all of them"
        others = sorted({float(f"{s.value:.4g}") for s in found if s not in same}, reverse=True)
        apart = max((s.distance for s in same), default=0.0)
        if apart > 0.1 and len(same) > 1:
            words += f", by schedules that differ by up to {apart:.0%} of a quantity's range"
        if others:
            words += "; other ends: " + ", ".join(f"{value:.6g}" for value in others[:4])
        lost = len(self.starts) - len(found)
        return words + (f"; {lost} found no feasible point" if lost else "")


@dataclass(frozen=True)
class RoundingCost:
    """What prescribable doses cost.

    Attributes:
        before, after: the smooth goal in sample before and after rounding.
        tried: neighbours of the rounded plan that were tried.
        violation: largest overstepping of a limit after rounding, in its unit.
        notes: what was done, in sentences.
    """

    before: float
    after: float
    tried: int
    violation: float
    notes: tuple[str, ...] = ()

    @property
    def cost(self) -> float:
        """What rounding takes from the goal."""
        return self.before - self.after


@dataclass(frozen=True, eq=False)
class Plan:
    """A treatment plan.

    Attributes:
        problem: what was asked.
        patient: name of the child.
        regimen: the plan, prescribable; `simulate` and `compare` take it.
        relaxed: the plan before rounding.
        start: the regimen it began from.
        x: [n] free quantities of the plan (after rounding), with `names` and `units`.
        choices: enumerated choices of the plan.
        words: the plan in sentences that a pharmacist can check.
        calendar: a row a dose change.
        values: a row a candidate: name, role (`start`, `relaxed`, `plan`, `standard`), smooth (the goal that was
            searched, in sample), inside, inside_low, inside_high (judged in sample), outside, outside_low,
            outside_high (judged on fresh members), gain, gain_low, gain_high, share_better (against the start,
            paired, on the fresh members where there are any), feasible, violation, feasible_inside (in sample).
        limits: of the plan.
        optimality: of the search.
        rounding: what prescribable doses cost.
        ranking: a row a combination of choices: choices, value, violation, searched, converged, members (on whom the
            value was found; those on all members first).
        conflicts: why no plan keeps all limits; None where one does.
        expected: a row an endpoint and candidate: endpoint, label, unit, better, regimen, mean, low, high (5 and 95 %
            of members), difference, difference_low, difference_high (mean of the paired difference to the start with
            a 95 % interval), members.
        settings: options, numbers of members, versions.
        notes: what the reader must know.
        partial: whether it was interrupted.
        judgements: candidate -> what was simulated in sample, and out of sample under `<name>, fresh`; not in JSON.
    """

    problem: PlanningProblem
    patient: str
    regimen: Regimen
    relaxed: Regimen
    start: Regimen
    x: Array
    names: tuple[str, ...]
    units: tuple[str, ...]
    choices: Mapping[str, str]
    words: tuple[str, ...]
    calendar: pd.DataFrame
    values: pd.DataFrame
    limits: tuple[PlanLimit, ...]
    optimality: PlanOptimality
    rounding: RoundingCost
    ranking: pd.DataFrame
    conflicts: Conflicts | None
    expected: pd.DataFrame
    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    partial: bool = False
    judgements: Mapping[str, Judgement] = field(default_factory=dict)

    @property
    def feasible(self) -> bool:
        """Whether every limit is met by the members that the plan was made for; `true` limits tell of fresh ones."""
        kept = all(limit.met for limit in self.limits if limit.how != "true")
        return kept and bool(self.value().get("feasible_inside", True))

    def value(self, role: str = "plan") -> Mapping[str, Any]:
        """The row of `values` of a role: `start`, `relaxed` or `plan`. Raises: KeyError."""
        rows = self.values[self.values["role"] == role]
        if rows.empty:
            raise KeyError(role)
        return {str(key): value for key, value in rows.iloc[0].items()}

    @property
    def better(self) -> bool:
        """Whether the plan does better than the start: judged on fresh members, else in sample."""
        gained = float(self.value()["gain"])
        return gained > 0

    def __repr__(self) -> str:
        from ipex_pd.planning.plan_words import summary

        return "\n".join(summary(self))

    def as_data(self) -> dict[str, Any]:
        """Everything but the simulations, as plain data; what is not finite becomes None."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("judgements", "conflicts")}
        return {
            **plain,
            "notice": NOTICE,
            "problem": self.problem.as_data(),
            **{name: getattr(self, name).as_data() for name in ("regimen", "relaxed", "start")},
            "limits": [_record(limit) for limit in self.limits],
            "optimality": _record(self.optimality)
            | {
                "active": [{**_record(a), "words": a.in_words()} for a in self.optimality.active],
                "starts": [_record(s) for s in self.optimality.starts],
                "agreement": self.optimality.agreement(),
            },
            "rounding": {**_record(self.rounding), "cost": self.rounding.cost},
            "conflicts": _conflicts_data(self.conflicts),
            "in_words": list(self.regimen.in_words()),
            "feasible": self.feasible,
        }

    def to_json(self) -> str:
        """`as_data` as strict JSON; `plan_from_json` reads it back."""
        return as_json(SCHEMA, self.as_data())

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
        """Write `regimen.yaml` and `plan.json` into a folder. Raises: OutputError."""
        place = Path(folder)
        try:
            place.mkdir(parents=True, exist_ok=True)
            regimen, record = place / "regimen.yaml", place / "plan.json"
            from ipex_pd.records.yamlfile import save_data

            save_data(regimen, self.regimen.as_data())
            record.write_text(self.to_json(), encoding="utf-8")
        except OSError as fault:
            raise OutputError(f"`{place}` cannot be written: {fault}") from fault
        return regimen, record


def _record(item: Any) -> dict[str, Any]:
    return {f.name: getattr(item, f.name) for f in fields(item)}


def _conflicts_data(found: Conflicts | None) -> dict[str, Any] | None:
    if found is None:
        return None
    limits = [_record(conflict) for conflict in found.limits]
    return {**_record(found), "limits": limits, "words": list(found.in_words())}


def plan_from_json(text: str) -> Plan:
    """A plan from the text of `Plan.to_json`, without its simulations.

    Raises:
        RecordError: the text is not a plan of this version.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        found = data.get("schema") if isinstance(data, dict) else None
        raise RecordError(f"schema `{found}`", code="plan.schema", rule=f"A plan has the schema `{SCHEMA}`")
    optimality = data["optimality"]
    active = tuple(ActiveLimit(**_numbers(a, ActiveLimit)) for a in optimality["active"])
    starts = tuple(StartOutcome(**_numbers(s, StartOutcome)) for s in optimality["starts"])
    return Plan(
        problem=from_data(PlanningProblem, data["problem"], where="plan.json"),
        patient=data["patient"],
        regimen=from_data(Regimen, data["regimen"], where="plan.json regimen"),
        relaxed=from_data(Regimen, data["relaxed"], where="plan.json relaxed"),
        start=from_data(Regimen, data["start"], where="plan.json start"),
        x=np.asarray(data["x"], dtype=np.float64),
        names=tuple(data["names"]),
        units=tuple(data["units"]),
        choices=dict(data["choices"]),
        words=tuple(data["words"]),
        limits=tuple(PlanLimit(**_numbers(limit, PlanLimit)) for limit in data["limits"]),
        optimality=PlanOptimality(**{**_numbers(optimality, PlanOptimality), "active": active, "starts": starts}),
        rounding=RoundingCost(
            **{**_numbers(data["rounding"], RoundingCost), "notes": tuple(data["rounding"]["notes"])}
        ),
        conflicts=_conflicts_from(data["conflicts"]),
        settings=dict(data["settings"]),
        notes=tuple(data["notes"]),
        partial=bool(data["partial"]),
        calendar=_calendar_from(data["calendar"]),
        values=pd.DataFrame(data["values"]),
        ranking=pd.DataFrame(data["ranking"]),
        expected=pd.DataFrame(data["expected"]),
    )


def _calendar_from(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """The calendar; what has no end goes on for ever."""
    table = pd.DataFrame(rows)
    for name in ("day", "until", "times_a_day", "mg_a_dose", "mg_a_day"):
        if name in table:
            table[name] = table[name].astype(float)
    if "until" in table:
        table["until"] = table["until"].fillna(math.inf)
    return table


def _numbers(data: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """The fields of a record; None stands for an open end or a number that is not known."""
    open_ends = {"low": -math.inf, "high": math.inf, "alone": math.inf, "slack": math.inf}
    found = {f.name: data[f.name] for f in fields(kind) if f.name in data}
    return {name: open_ends.get(name, math.nan) if value is None else value for name, value in found.items()}


def _conflicts_from(data: Mapping[str, Any] | None) -> Conflicts | None:
    if data is None:
        return None
    limits = tuple(Conflict(**_numbers(limit, Conflict)) for limit in data["limits"])
    x = np.asarray(data["x"], dtype=np.float64)
    return Conflicts(limits, tuple(data["irreducible"]), float(data["total"]), bool(data["exact"]), x)
