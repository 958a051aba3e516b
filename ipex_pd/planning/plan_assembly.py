"""From the ends of searches to a Plan: the choice among combinations, judgements, tables, and what must be said."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipex_pd.errors import RecordError
from ipex_pd.planning.expected import expected_table
from ipex_pd.planning.judged import Judgement, best_of, gain, judge
from ipex_pd.planning.optimise_search import FEASIBLE, PlanOptions, SearchEnd, Searcher, best_end, choice_name
from ipex_pd.planning.plan import (
    ActiveLimit,
    Plan,
    PlanLimit,
    PlanOptimality,
    RoundingCost,
    StartOutcome,
)
from ipex_pd.planning.plan_verdicts import verdicts
from ipex_pd.records.library import load_regimen

if TYPE_CHECKING:
    from ipex_pd.planning.conflicts import Conflicts
    from ipex_pd.planning.ensemble import Ensemble
    from ipex_pd.planning.limits import LimitQuantity
    from ipex_pd.planning.objective import Evaluated
    from ipex_pd.planning.rounding import Rounded
    from ipex_pd.planning.template import Combination, Size, Template
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.plans import PlanningProblem
    from ipex_pd.records.regimens import Regimen

START, RELAXED, PLAN = "start", "plan before rounding", "plan"
FRESH = ", fresh"


@dataclass(frozen=True, eq=False)
class Question:
    """What is asked, and for whom.

    Attributes:
        problem: the planning problem.
        name: of the child.
        ensemble: members of the search.
        fresh: members on whom the plan is judged again, None without any.
        size: of the child, None where the problem's own child counts.
        patient: the child himself, None for a population.
    """

    problem: PlanningProblem
    name: str
    ensemble: Ensemble
    fresh: Ensemble | None
    size: Size | None
    patient: Patient | None


@dataclass(eq=False)
class Candidate:
    """One combination of choices and what its searches found.

    Attributes:
        combination: the choices and the regimen to begin from.
        searcher: with its template and objective, on the scouts where there are any.
        ends: of the searches; empty where no start keeps the linear limits.
        on_all, polished: the search on all members and its ends; None and empty where there are no scouts, or others
            were better.
        searched: in full, or only shortly.
        whole, rounded, at: the template in mg, the prescribable point, and the smooth goal there; None before rounding.
        bounded: the limits at the prescribable point; amounts in mg can take limits from the doses to the simulation.
    """

    combination: Combination
    searcher: Searcher
    ends: list[SearchEnd]
    searched: bool
    on_all: Searcher | None = None
    polished: list[SearchEnd] = field(default_factory=list)
    whole: Template | None = None
    rounded: Rounded | None = None
    at: Evaluated | None = None
    bounded: tuple[LimitQuantity, ...] = ()

    @property
    def template(self) -> Template:
        """Plans as functions of x."""
        return self.searcher.template

    @property
    def best(self) -> SearchEnd:
        """The best end, of those on all members where there are any."""
        return best_end(self.polished or self.ends)

    @property
    def final(self) -> Searcher:
        """The searcher that found the best end."""
        return self.on_all if self.on_all is not None else self.searcher

    @property
    def members(self) -> int:
        """On how many members the best end was found."""
        return len(self.final.objective.ensemble)

    @property
    def feasible(self) -> bool:
        """Whether an end keeps all limits."""
        return any(end.feasible for end in self.polished or self.ends)

    def prescribed(self, name: str) -> Regimen:
        """The prescribable regimen under a name."""
        assert self.whole is not None
        assert self.rounded is not None
        return _named(self.whole.regimen(self.rounded.x), name)

    def relaxed(self, name: str) -> Regimen:
        """The regimen before rounding under a name."""
        return _named(self.template.regimen(self.best.x), name)


def _named(regimen: Regimen, name: str) -> Regimen:
    return regimen.model_copy(update={"name": name})


@dataclass
class _Table:
    """Judgements by candidate, in sample and on fresh members."""

    inside: dict[str, Judgement] = field(default_factory=dict)
    outside: dict[str, Judgement] = field(default_factory=dict)


def assemble_plan(
    question: Question,
    start: Regimen,
    candidates: list[Candidate],
    others: list[Candidate],
    conflicts: Conflicts | None,
    options: PlanOptions,
    *,
    notes: tuple[str, ...],
    partial: bool,
    settings: Mapping[str, Any],
) -> Plan:
    """Choose among the combinations by simulation and write the plan.

    Args:
        question: what is asked.
        start: the regimen the plan began from.
        candidates: combinations that were searched; finalists are rounded.
        others: combinations that a short search ruled out.
        conflicts: what contradicts what, where no combination keeps all limits.
        options: of the search.
        notes: so far.
        partial: whether the run was interrupted.
        settings: what else to record.

    Raises:
        RecordError: no combination has a point that can be judged, and the limits do not say why.
    """
    rounded = [c for c in candidates if c.rounded is not None]
    if not rounded:
        return _without(question, start, candidates, conflicts, options, notes, partial, settings)
    table = _Table()
    table.inside[START] = judge(question.problem, question.ensemble, start, START, seed=options.seed)
    finals = [(c, _judged(question, c, options)) for c in rounded]
    best = best_of([judged for _, judged in finals])
    chosen, table.inside[PLAN] = next((c, j) for c, j in finals if j is best)
    relaxed = _relaxed(question, chosen)
    try:
        if not partial:
            table.inside[RELAXED] = judge(question.problem, question.ensemble, relaxed, RELAXED, seed=options.seed)
            _outside(question, table, options)
    except KeyboardInterrupt:
        partial = True
        table.outside.clear()
    assert chosen.whole is not None
    assert chosen.rounded is not None
    assert chosen.at is not None
    values = _values(question, table, chosen, options)
    found = Plan(
        problem=question.problem,
        patient=question.name,
        regimen=table.inside[PLAN].regimen,
        relaxed=relaxed,
        start=start,
        x=chosen.rounded.x,
        names=chosen.whole.names,
        units=chosen.whole.units,
        choices=dict(chosen.combination.choices),
        words=tuple(chosen.whole.in_words(chosen.rounded.x)),
        calendar=chosen.whole.calendar(chosen.rounded.x),
        values=values,
        limits=_limits(chosen, table),
        optimality=_optimality(chosen),
        rounding=_cost(chosen),
        ranking=_ranking(candidates, others),
        conflicts=conflicts,
        expected=_expected(question, table, options.seed),
        settings=_settings(question, options, settings),
        notes=(*notes, *verdicts(question, table.inside, table.outside, values, chosen, conflicts)),
        partial=partial,
        judgements={**table.inside, **{f"{name}{FRESH}": j for name, j in table.outside.items()}},
    )
    return found


def _relaxed(question: Question, chosen: Candidate) -> Regimen:
    """The plan before rounding; the rounded one where the other breaks a rule of regimens."""
    try:
        return chosen.relaxed(f"{question.problem.name}_before_rounding")
    except RecordError:
        return chosen.prescribed(f"{question.problem.name}_before_rounding")


def _judged(question: Question, candidate: Candidate, options: PlanOptions) -> Judgement:
    regimen = candidate.prescribed(question.problem.name)
    return judge(question.problem, question.ensemble, regimen, PLAN, seed=options.seed)


def _outside(question: Question, table: _Table, options: PlanOptions) -> None:
    """Start, plan and standards on fresh members; standards in sample where there are none."""
    members = question.fresh if question.fresh is not None else question.ensemble
    place = table.outside if question.fresh is not None else table.inside
    for name, judged in list(table.inside.items()) if question.fresh is not None else []:
        place[name] = judge(question.problem, members, judged.regimen, name, seed=options.seed)
    for given in question.problem.compare_with:
        regimen = load_regimen(given) if isinstance(given, str) else given
        if regimen.as_data() != table.inside[START].regimen.as_data():
            place[regimen.name] = judge(question.problem, members, regimen, regimen.name, seed=options.seed)


def _values(question: Question, table: _Table, chosen: Candidate, options: PlanOptions) -> pd.DataFrame:
    assert chosen.at is not None
    roles = {START: "start", RELAXED: "relaxed", PLAN: "plan"}
    smooth = {PLAN: chosen.at.value, RELAXED: chosen.best.value}
    rows = []
    for name in dict.fromkeys([*table.inside, *table.outside]):
        inside, outside = table.inside.get(name), table.outside.get(name)
        shown = outside if outside is not None else inside
        assert shown is not None
        group = question.fresh if outside is not None and question.fresh is not None else question.ensemble
        base = (table.outside if outside is not None else table.inside)[START]
        won = gain(question.problem, group, shown, base, options.seed)
        rows.append(
            {"name": name, "role": roles.get(name, "standard"), "smooth": smooth.get(name, math.nan)}
            | _numbers("inside", inside)
            | _numbers("outside", outside)
            | {"gain": won.value, "gain_low": won.low, "gain_high": won.high, "share_better": won.share_better}
            | {"feasible": shown.feasible, "violation": shown.violation}
            | {"feasible_inside": None if inside is None else inside.feasible}
        )
    return pd.DataFrame(rows)


def _numbers(prefix: str, judged: Judgement | None) -> dict[str, float]:
    if judged is None:
        return {prefix: math.nan, f"{prefix}_low": math.nan, f"{prefix}_high": math.nan}
    return {prefix: judged.value, f"{prefix}_low": judged.low, f"{prefix}_high": judged.high}


def _limits(chosen: Candidate, table: _Table) -> tuple[PlanLimit, ...]:
    assert chosen.whole is not None
    assert chosen.rounded is not None
    assert chosen.at is not None
    prices = {m.label: m.price for m in chosen.best.minimum.multipliers if m.kind != "bound"}
    linear = chosen.whole.linear
    values = linear.matrix @ chosen.rounded.x
    found = [
        _limit(label, "", "linear", value, low, high, prices.get(label, 0.0))
        for label, value, low, high in zip(linear.labels, values, linear.lower, linear.upper, strict=True)
    ]
    for quantity, value in zip(chosen.bounded, chosen.at.exact, strict=True):
        ends = (quantity.lower, quantity.upper)
        found.append(_limit(quantity.label, quantity.unit, "simulated", value, *ends, prices.get(quantity.label, 0.0)))
    judged = table.outside.get(PLAN, table.inside[PLAN])
    for limit in judged.limits:
        found.append(
            PlanLimit(limit.label, limit.unit, "true", limit.value, limit.low, limit.high, limit.slack, limit.met)
        )
    return tuple(found)


def _limit(label: str, unit: str, how: str, value: float, low: float, high: float, price: float) -> PlanLimit:
    slack = min(value - low, high - value)
    size = max((abs(end) for end in (low, high) if math.isfinite(end)), default=1.0) or 1.0
    return PlanLimit(
        label, unit, how, float(value), low + 0.0, high + 0.0, float(slack), bool(slack >= -1e-3 * size), float(price)
    )


def _optimality(chosen: Candidate) -> PlanOptimality:
    best, scouted = chosen.best, best_end(chosen.ends)
    template = chosen.template
    units = dict(zip(template.names, template.units, strict=True))
    units |= {quantity.label: quantity.unit for quantity in chosen.searcher.objective.limits}
    width = np.where(template.upper > template.lower, template.upper - template.lower, 1.0)
    active = tuple(
        ActiveLimit(m.label, m.side, m.bound, units.get(m.label, ""), m.price) for m in best.minimum.multipliers
    )
    starts = tuple(
        StartOutcome(
            name=end.start,
            value=end.value,
            violation=end.violation,
            converged=end.minimum.converged,
            outcome=end.minimum.outcome,
            iterations=end.minimum.iterations,
            evaluations=end.minimum.evaluations,
            distance=float((np.abs(end.x - scouted.x) / width).max(initial=0.0)),
        )
        for end in chosen.ends
    )
    return PlanOptimality(
        projected_gradient=best.minimum.projected_gradient,
        relative=best.minimum.relative_gradient,
        converged=best.minimum.converged,
        violation=best.violation,
        outcome=best.minimum.outcome,
        active=active,
        starts=starts,
        size=float(np.nanmax([abs(scouted.value), scouted.value - chosen.ends[0].began])),
        members=chosen.members,
        scouts=len(chosen.searcher.objective.ensemble) if chosen.polished else 0,
    )


def _cost(chosen: Candidate) -> RoundingCost:
    assert chosen.rounded is not None
    assert chosen.at is not None
    rounded = chosen.rounded
    cut = tuple(f"{name}: the last dose is cut short, because its rhythm does not fit" for name in rounded.cut_doses)
    return RoundingCost(
        before=chosen.best.value,
        after=chosen.at.value,
        tried=rounded.tried,
        violation=rounded.violation,
        notes=(*rounded.changes, *cut, rounded.outcome),
    )


def _ranking(candidates: list[Candidate], others: list[Candidate]) -> pd.DataFrame:
    rows = []
    for candidate in (*candidates, *others):
        best = candidate.best if candidate.ends else None
        rows.append(
            {
                "choices": choice_name(candidate.combination.choices),
                "regimen": candidate.combination.regimen.name,
                "value": math.nan if best is None else best.value,
                "rounded": math.nan if candidate.at is None else candidate.at.value,
                "violation": math.nan if best is None else best.violation,
                "feasible": best is not None and best.feasible,
                "searched": candidate.searched,
                "converged": best is not None and best.minimum.converged,
                "members": candidate.members,
            }
        )
    table = pd.DataFrame(rows)
    return table.sort_values(["members", "feasible", "value"], ascending=False, ignore_index=True)


def _expected(question: Question, table: _Table, seed: int) -> pd.DataFrame:
    """Endpoints of all candidates on fresh members where there are any, against the start."""
    fresh = bool(table.outside) and question.fresh is not None
    group = question.fresh if fresh and question.fresh is not None else question.ensemble
    judged = table.outside if fresh else table.inside
    return expected_table(judged, judged[START], group, question.problem.horizon, seed)


def _settings(question: Question, options: PlanOptions, more: Mapping[str, Any]) -> dict[str, Any]:
    from importlib.metadata import version

    return {
        "options": asdict(options),
        "members": len(question.ensemble),
        "fresh_members": 0 if question.fresh is None else len(question.fresh),
        "ensemble": list(question.ensemble.in_words()),
        "tolerance": FEASIBLE,
        "versions": {name: version(name) for name in ("ipex-pd", "jax", "numpy", "scipy", "optax")},
        **more,
    }


def _without(
    question: Question,
    start: Regimen,
    candidates: list[Candidate],
    conflicts: Conflicts | None,
    options: PlanOptions,
    notes: tuple[str, ...],
    partial: bool,
    settings: Mapping[str, Any],
) -> Plan:
    """No point keeps the linear limits: the start stays, and the conflicts say why."""
    if conflicts is None or not candidates:
        raise RecordError(
            "no combination of choices could be searched",
            where=question.problem.name,
            rule="A plan needs a point that keeps its bounds",
        )
    template = candidates[0].template
    table = _Table(inside={START: judge(question.problem, question.ensemble, start, START, seed=options.seed)})
    table.inside[PLAN] = table.inside[START]
    rows = [
        {"name": name, "role": role, "smooth": math.nan}
        | _numbers("inside", table.inside[START])
        | _numbers("outside", None)
        | {"gain": 0.0, "gain_low": math.nan, "gain_high": math.nan, "share_better": 0.5}
        | {"feasible": False, "violation": conflicts.total, "feasible_inside": False}
        for name, role in ((START, "start"), (PLAN, "plan"))
    ]
    nothing = PlanOptimality(math.nan, math.nan, False, conflicts.total, "no search began", (), (), math.nan)
    return Plan(
        problem=question.problem,
        patient=question.name,
        regimen=start,
        relaxed=start,
        start=start,
        x=np.asarray(template.start, float),
        names=template.names,
        units=template.units,
        choices={},
        words=tuple(start.in_words()),
        calendar=template.calendar(template.start),
        values=pd.DataFrame(rows),
        limits=tuple(
            PlanLimit(c.label, "", "linear", c.bound, c.bound, c.bound, -c.excess, c.excess <= 0)
            for c in conflicts.limits
        ),
        optimality=nothing,
        rounding=RoundingCost(math.nan, math.nan, 0, conflicts.total),
        ranking=_ranking(candidates, []),
        conflicts=conflicts,
        expected=_expected(question, table, options.seed),
        settings=_settings(question, options, settings),
        notes=(*notes, "the limits contradict one another: no plan was made, and the start stays"),
        partial=partial,
        judgements=table.inside,
    )
