"""The front of two goals: what more of one costs in the other.

Either one goal is maximised with the other held at a bound that moves along the front (`bounds`, which reaches every
part of it), or a weighted sum of both (`weights`, which leaves dents out). Each point starts where its neighbour
ended. The second goal is always the mean over the members; the first takes the problem's statistic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from ipex_pd.errors import UnknownKeyError, UsageError, nearest_hint
from ipex_pd.numerics.constrained import ConstrainedMinimum, ConstrainedStep, ConstrainedStopping, minimise_constrained
from ipex_pd.numerics.constrained_limits import Array, NonlinearLimits
from ipex_pd.planning.judged import judge
from ipex_pd.planning.objective import PlanObjective
from ipex_pd.planning.optimise import question_for, template_for
from ipex_pd.planning.optimise_search import FEASIBLE, PlanOptions, Searcher, Told
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.starts import starts_of
from ipex_pd.planning.template import combinations
from ipex_pd.records.library import load_plan
from ipex_pd.records.plan_goals import GOALS, QUALITY, Goal
from ipex_pd.records.plan_limits import EndpointLimit
from ipex_pd.records.plans import PlanningProblem

if TYPE_CHECKING:
    from ipex_pd.planning.ensemble import Ensemble
    from ipex_pd.records.draws import ParameterDraws
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.regimens import Regimen
    from ipex_pd.simulation.population import Population

SCHEMA = "ipex_pd.plan_front/1"
Method = Literal["bounds", "weights"]
_SAME = 1e-6


@dataclass(frozen=True, eq=False)
class PlanFront:
    """Plans of which none is better in both goals.

    Attributes:
        plan: name of the problem.
        first, second: names of the goals.
        units: of both.
        better: `higher` or `lower`, of both.
        table: a row a point, from the best in the first goal to the best in the second: first, second (smooth, in
            sample, before rounding), first_judged, second_judged (simulated; NaN where not asked), bound (on the
            second, or its weight), violation, converged, dominated.
        x: [k, n] free quantities, with `names`.
        regimens: the plans, before rounding.
        knee: the point farthest from the line between the ends, both goals in units of their range.
        method: `bounds` or `weights`.
        partial: whether it was interrupted.
        notes: what the reader must know.
    """

    plan: str
    first: str
    second: str
    units: tuple[str, str]
    better: tuple[str, str]
    table: pd.DataFrame
    x: Array
    names: tuple[str, ...]
    regimens: tuple[Regimen, ...]
    knee: int
    method: Method
    partial: bool = False
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        head = f"Front of `{self.plan}`: {self.first} [{self.units[0]}] and {self.second} [{self.units[1]}]"
        rows = [
            f"  {row['first']:.5g}  {row['second']:.5g}{'  (knee)' if place == self.knee else ''}"
            f"{'  (dominated)' if row['dominated'] else ''}"
            for place, row in enumerate(self.table.to_dict("records"))
        ]
        return "\n".join([head, *rows, *(f"  {note}" for note in self.notes)])

    def to_json(self) -> str:
        """As strict JSON."""
        names = (
            "plan",
            "first",
            "second",
            "units",
            "better",
            "table",
            "x",
            "names",
            "knee",
            "method",
            "partial",
            "notes",
        )
        body = {name: getattr(self, name) for name in names}
        return as_json(SCHEMA, {**body, "regimens": [regimen.as_data() for regimen in self.regimens]})


def pareto_front(
    child: Patient | Population | Ensemble,
    *,
    goal: PlanningProblem | str,
    first: str,
    second: str,
    points: int = 7,
    method: Method = "bounds",
    draws: ParameterDraws | None = None,
    options: PlanOptions | None = None,
    judged: bool = True,
    progress: Told | None = None,
) -> PlanFront:
    """The front of two goals for the start regimen of a problem, within its limits.

    Args:
        child: as for `optimise_regimen`.
        goal: the problem, whose own goals give way to the two.
        first, second: names of goals (`records.plan_goals.GOALS`).
        points: on the front, its ends included; at least 2.
        method: `bounds` or `weights`.
        draws: parameter draws, in place of the stated uncertainty.
        options: of the searches.
        judged: whether the points are simulated.
        progress: called with (search, iteration, first goal, violation).

    Raises:
        UsageError: fewer than two points, one goal twice, or quality-adjusted time as the second goal.
        UnknownKeyError: no goal has such a name.
    """
    problem = load_plan(goal) if isinstance(goal, str) else goal
    settings = options or PlanOptions()
    _check(first, second, points)
    question = question_for(child, problem, draws, None)
    two = _two_goals(problem, first, second)
    regimen = combinations(problem)[0].regimen
    template = template_for(two, regimen, question.size, question.patient)
    objective = PlanObjective(two, question.ensemble, template, width=settings.widths[-1], threads=settings.threads)
    searcher = Searcher(f"{first} and {second}", template, objective, settings, progress)
    starts = starts_of(template, 1, settings.seed)
    if not starts:
        raise UsageError(
            "the limits on doses and days contradict one another",
            code="front.infeasible",
            where=problem.name,
            cure="`optimise_regimen` says which",
        )
    ends = _Front(searcher, second).along(starts[0].x, points, method)
    return _told(problem, two, question.ensemble, searcher, ends, (first, second), method, judged)


@dataclass(frozen=True, eq=False)
class _End:
    """One point: where, both goals (larger is better), the bound or weight, and what the search says."""

    x: Array
    one: float
    two: float
    bound: float
    minimum: ConstrainedMinimum


class _Front:
    """Searches along the front of one objective: its value, and one of its limits as the second goal."""

    def __init__(self, searcher: Searcher, second: str) -> None:
        self.searcher = searcher
        limits = searcher.objective.limits
        self.place = next(i for i, q in enumerate(limits) if q.line == len(searcher.template.problem.limits) - 1)
        self.sign = 1.0 if GOALS[second].better == "higher" else -1.0
        self.width = searcher.options.widths[-1]

    def along(self, x: Array, points: int, method: Method) -> list[_End]:
        """Points from the best in the first goal to the best in the second."""
        left = self.solved(x, (1.0, 0.0), -math.inf, 1.0)
        if left.minimum.interrupted:
            return [left]
        right = self.solved(left.x, (0.0, 1.0), -math.inf, 0.0)
        size = (max(abs(left.one - right.one), _SAME), max(abs(right.two - left.two), _SAME))
        found, here = [left], left
        for share in np.linspace(0.0, 1.0, points)[1:-1]:
            if here.minimum.interrupted or right.minimum.interrupted:
                break
            if method == "bounds":
                bound = left.two + share * (right.two - left.two)
                here = self.solved(here.x, (1.0, 0.0), bound, bound * self.sign)
            else:
                here = self.solved(here.x, ((1.0 - share) / size[0], share / size[1]), -math.inf, share)
            found.append(here)
        return [*found, right]

    def solved(self, x: Array, weights: tuple[float, float], least: float, told: float) -> _End:
        """The best of a weighted sum with the second goal at `least` or more."""
        found = minimise_constrained(
            lambda at: self._cost(at, weights),
            x,
            lower=self.searcher.template.lower,
            upper=self.searcher.template.upper,
            linear=self.searcher.template.linear if len(self.searcher.template.linear) else None,
            nonlinear=self._limits(least),
            names=self.searcher.template.names,
            algorithm=self.searcher.options.algorithm,
            stopping=ConstrainedStopping(
                gradient=self.searcher.options.gradient,
                decrease=1e-9,
                violation=FEASIBLE,
                iterations=self.searcher.options.iterations,
            ),
            callback=self._step,
        )
        at = self.searcher.evaluate(found.x, self.width)
        return _End(found.x, at.value, self.sign * float(at.limits[self.place]), told, found)

    def _cost(self, x: Array, weights: tuple[float, float]) -> tuple[float, Array]:
        at = self.searcher.evaluate(x, self.width)
        assert at.gradient is not None
        assert at.jacobian is not None
        value = weights[0] * at.value + weights[1] * self.sign * at.limits[self.place]
        return -float(value), -(weights[0] * at.gradient + weights[1] * self.sign * at.jacobian[self.place])

    def _limits(self, least: float) -> NonlinearLimits | None:
        objective = self.searcher.objective
        lower, upper = objective.lower.copy(), objective.upper.copy()
        ends = (least, math.inf) if self.sign > 0 else (-math.inf, -least)
        lower[self.place], upper[self.place] = ends
        kept = np.isfinite(lower) | np.isfinite(upper)
        if not kept.any():
            return None

        def both(x: Array) -> tuple[Array, Array]:
            at = self.searcher.evaluate(x, self.width)
            assert at.jacobian is not None
            return at.limits[kept], at.jacobian[kept]

        labels = tuple(label for label, keep in zip(objective.labels, kept, strict=True) if keep)
        return NonlinearLimits(both, lower[kept], upper[kept], labels)

    def _step(self, done: ConstrainedStep) -> None:
        if self.searcher.told is not None:
            self.searcher.told(self.searcher.name, done.iteration, -done.value, done.violation)


def _check(first: str, second: str, points: int) -> None:
    for name in (first, second):
        if name not in GOALS:
            raise UnknownKeyError(f"`{name}` is not a goal", rule=nearest_hint(name, GOALS), cure="Rename it")
    if first == second:
        raise UsageError(f"`{first}` against itself", code="front.goals", rule="A front has two goals")
    if second == QUALITY:
        raise UsageError(f"`{QUALITY}` as the second goal", code="front.goals", cure="Make it the first")
    if points < 2:
        raise UsageError(f"{points} points", code="front.points", rule="A front has two ends at least")


def _two_goals(problem: PlanningProblem, first: str, second: str) -> PlanningProblem:
    """The problem with the first goal alone, and the second as a limit that bounds nothing."""
    known = {goal.name: goal for goal in problem.goals}
    own = known[first].model_copy(update={"weight": 1.0}) if first in known else _goal(first)
    fraction = GOALS[second].unit == "fraction"
    end = (
        {"least": 0.0 if fraction else -1e9} if GOALS[second].better == "higher" else {"most": 1.0 if fraction else 1e9}
    )
    open_end = EndpointLimit.model_validate({"endpoint": second, **end})
    return problem.model_copy(update={"goals": (own,), "limits": (*problem.limits, open_end)})


def _goal(name: str) -> Goal:
    return Goal.model_validate({"maximise" if GOALS[name].better == "higher" else "minimise": name, "weight": 1.0})


def _told(
    problem: PlanningProblem,
    two: PlanningProblem,
    ensemble: Ensemble,
    searcher: Searcher,
    ends: list[_End],
    goals: tuple[str, str],
    method: Method,
    judged: bool,
) -> PlanFront:
    template = searcher.template
    sign = [1.0 if GOALS[name].better == "higher" else -1.0 for name in goals]
    regimens = tuple(
        template.regimen(end.x).model_copy(update={"name": f"{problem.name}_front_{place + 1}"})
        for place, end in enumerate(ends)
    )
    partial = any(end.minimum.interrupted for end in ends)
    asked = problem.model_copy(update={"goals": (two.goals[0], _goal(goals[1])), "limits": problem.limits})
    rows = []
    for place, end in enumerate(ends):
        true = (math.nan, math.nan)
        if judged and not partial:
            answers = judge(asked, ensemble, regimens[place], regimens[place].name).goals
            one, other = (float(ensemble.weights @ np.nan_to_num(answers[name])) for name in goals)
            true = (one, other)
        rows.append(
            {"first": sign[0] * end.one, "second": sign[1] * end.two, "first_judged": true[0], "second_judged": true[1]}
            | {"bound": end.bound, "violation": end.minimum.violation, "converged": end.minimum.converged}
            | {"dominated": _dominated(end, ends)}
        )
    notes = []
    if len(ends) > 1 and abs(ends[0].two - ends[-1].two) <= _SAME * max(1.0, abs(ends[0].two)):
        notes.append("the two goals do not stand against each other here: one plan is best in both")
    if problem.statistic.kind != "mean":
        notes.append("the first goal is that of the problem's statistic, the second the mean over the members")
    return PlanFront(
        plan=problem.name,
        first=goals[0],
        second=goals[1],
        units=(GOALS[goals[0]].unit, GOALS[goals[1]].unit),
        better=(GOALS[goals[0]].better, GOALS[goals[1]].better),
        table=pd.DataFrame(rows),
        x=np.stack([end.x for end in ends]),
        names=template.names,
        regimens=regimens,
        knee=_knee(ends),
        method=method,
        partial=partial,
        notes=tuple(notes),
    )


def _dominated(end: _End, ends: list[_End]) -> bool:
    """Whether another feasible point is better in one goal and no worse in the other."""
    size = [max(abs(getattr(e, name)) for e in ends) or 1.0 for name in ("one", "two")]
    for other in ends:
        if other is end or other.minimum.violation > FEASIBLE:
            continue
        more = ((other.one - end.one) / size[0], (other.two - end.two) / size[1])
        if min(more) > -1e-9 and max(more) > 1e-5:
            return True
    return end.minimum.violation > FEASIBLE


def _knee(ends: list[_End]) -> int:
    """The point farthest above the line between the ends, in units of the ranges."""
    one, two = (np.array([getattr(end, name) for end in ends]) for name in ("one", "two"))
    width = (max(np.ptp(one), _SAME), max(np.ptp(two), _SAME))
    a, b = (one - one.min()) / width[0], (two - two.min()) / width[1]
    return int(np.argmax(a + b))
