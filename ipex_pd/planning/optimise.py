"""optimise_regimen(): the best prescribable regimen for a goal within its limits, over an ensemble of what may be true.

For every combination of enumerated choices (drug, interval, conditioning, donor): searches from several starts over the
free doses and days with exact gradients, smoothing narrowed in stages. In large ensembles these go on a few members
(scouts), and the best of them on all members; then prescribable doses by a local search.
What is chosen is judged by simulation, in sample and on fresh members, beside the start and the standard regimens.

```python
goal = load_plan("steroid_sparing_taper")
plan = optimise_regimen(load_patient(goal.patient), goal=goal)
print(plan)
plan.regimen  # simulate and compare take it
```
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.constrained import ConstrainedStep
from ipex_pd.numerics.constrained_limits import Array
from ipex_pd.numerics.constrained_memory import Learnt
from ipex_pd.planning.conflicts import Conflicts, find_conflicts
from ipex_pd.planning.ensemble import Ensemble, ensemble_of
from ipex_pd.planning.objective import PlanObjective
from ipex_pd.planning.optimise_scouts import scouts_of
from ipex_pd.planning.optimise_search import (
    FEASIBLE,
    PlanOptions,
    SearchEnd,
    Searcher,
    Told,
    choice_name,
    distinct_ends,
)
from ipex_pd.planning.plan import Plan
from ipex_pd.planning.plan_assembly import Candidate, Question, assemble_plan
from ipex_pd.planning.plan_checkpoint import FinishedSearch, PlanCheckpoint, question_of
from ipex_pd.planning.rounding import RoundingOptions, prescribable
from ipex_pd.planning.starts import PlanStart, starts_of
from ipex_pd.planning.template import Combination, Size, Template, combinations, size_of, template_of
from ipex_pd.records.draws import ParameterDraws, load_draws
from ipex_pd.records.library import load_plan
from ipex_pd.records.patients import Patient
from ipex_pd.records.plan_free import FreeDose, order_keys
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.population import Population
from ipex_pd.simulation.simulation import simulate

if TYPE_CHECKING:
    from ipex_pd.records.plan_parts import PlanEnsemble

__all__ = ["PlanOptions", "optimise_regimen"]


def optimise_regimen(
    child: Patient | Population | Ensemble,
    *,
    goal: PlanningProblem | str,
    start: Regimen | None = None,
    draws: ParameterDraws | None = None,
    options: PlanOptions | None = None,
    progress: Told | None = None,
    fresh: Ensemble | None = None,
    resume: PlanCheckpoint | None = None,
    checkpoint: Callable[[PlanCheckpoint], None] | None = None,
) -> Plan:
    """Find the best regimen for a goal within its limits.

    Args:
        child: who the plan is for: a child, around whom the problem's ensemble is drawn; a population or an ensemble is
            taken as it is.
        goal: the planning problem, or its name or path.
        start: the regimen to begin from, in place of the problem's own.
        draws: parameter draws (of a fit, or of one child's posterior), in place of the stated uncertainty.
        options: of the search.
        progress: called with (search, iteration, goal so far, violation) at every accepted point.
        fresh: members on whom the plan is judged out of sample, where `child` is a population or an ensemble.
        resume: finished searches of an interrupted run.
        checkpoint: called with all finished searches after each of them.

    Returns:
        The plan. Where no plan keeps all limits it says which contradict one another; where it does no better than the
        start, it says so in `notes`. Ctrl-C ends the searches and plans with the best so far (`partial`).

    Raises:
        RecordError: a free quantity, limit or drug that cannot be honoured, or a checkpoint of another question.
        UsageError: options or draws that do not fit.
    """
    settings = options or PlanOptions()
    problem = load_plan(goal) if isinstance(goal, str) else goal
    if start is not None:
        problem = problem.model_copy(update={"start": start})
    question = question_for(child, problem, draws, fresh)
    run = _Run(question, settings, progress, checkpoint)
    if resume is not None:
        resume.require(run.done.question)
        run.resumed = resume
    return run.plan()


@dataclass
class _Run:
    """One planning run: its searches, and what they found."""

    question: Question
    options: PlanOptions
    told: Told | None
    checkpoint: Callable[[PlanCheckpoint], None] | None
    resumed: PlanCheckpoint | None = None
    interrupted: bool = False
    scouts: Ensemble | None = None
    notes: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.done = PlanCheckpoint(question_of(self.question.problem, self.question.ensemble), {})

    def plan(self) -> Plan:
        """All combinations, the best of them rounded and judged."""
        every = combinations(self.question.problem)
        self._muster(every[0])
        searched, ranked = self._screened(every)
        candidates: list[Candidate] = []
        for combination in searched:
            try:
                candidates.append(self._candidate(combination))
            except KeyboardInterrupt:
                if not any(c.ends for c in candidates):
                    raise
                self.interrupted = True
            if self.interrupted:
                break
        found = [c for c in candidates if c.ends]
        for candidate in self._finalists(found):
            self._rounded(candidate)
        searchers = [s for c in (*candidates, *ranked) for s in (c.searcher, c.on_all) if s is not None]
        evaluated = sum(s.evaluations for s in searchers)
        conflicts = None if any(c.feasible for c in found) else self._conflicts(candidates)
        return assemble_plan(
            self.question,
            every[0].regimen,
            candidates,
            ranked,
            conflicts,
            self.options,
            notes=tuple(dict.fromkeys(self.notes)),
            partial=self.interrupted,
            settings={"seconds": round(time.monotonic() - self.began, 1), "evaluations": evaluated},
        )

    def _muster(self, first: Combination) -> None:
        """Choose the scouts, by how all members do under the regimen to begin from."""
        everyone = self.question.ensemble
        if len(everyone) <= self.options.scouts:
            return
        searcher = self._searcher(first, everyone)
        starts = starts_of(searcher.template, 1, self.options.seed)
        values = searcher.objective.told(starts[0].x).members if starts else np.zeros(len(everyone))
        self.scouts = scouts_of(everyone, values, self.options.scouts, self.question.problem.statistic)

    def _finalists(self, found: list[Candidate]) -> list[Candidate]:
        """The best combinations, searched on all members; after an interrupt as many as are ready."""
        best = sorted(found, key=_order)[: self.options.finalists]
        if self.scouts is None:
            return best
        for number, candidate in enumerate(best):
            if self.interrupted and number:
                break
            try:
                self._on_all(candidate)
            except KeyboardInterrupt:
                if self.interrupted:
                    raise
                self.interrupted = True
                if not any(c.polished for c in best):
                    self._on_all(candidate)
        return [c for c in best if c.polished]

    def _on_all(self, candidate: Candidate) -> None:
        """Search on all members from the best ends of the scouts, and from the start where that is better."""
        template, name = candidate.template, candidate.searcher.name
        full = Searcher(name, template, self._objective(template, self.question.ensemble), self.options, self.told)
        candidate.on_all = full
        learnt = candidate.best.minimum.learnt
        begin = [(e.start, e.x) for e in distinct_ends(candidate.ends, template.upper - template.lower)]
        known = () if self.resumed is None else self.resumed.searches.get(_on_all_name(name), ())
        if known:
            begin = [(done.start, np.array(done.x)) for done in known]
        for label, x in begin:
            if known or self._may_win(candidate, full, x):
                self._polished(candidate, full, label, x, learnt)
        if not candidate.polished:
            candidate.polished.append(full.standing(candidate.best))
            self.notes.append(
                f"interrupted before the search on all members: optimality is that of {len(self.scouts or ())} of them"
            )
        start = starts_of(template, 1, self.options.seed)[0]
        at = None if self.interrupted else full.objective.told(start.x)
        if at is None or full.violation(start.x, at.limits) > FEASIBLE:
            return
        if not candidate.best.feasible or at.value > candidate.best.value:
            self.notes.append("on all members the start is better than what the scouts found: searched from there too")
            self._polished(candidate, full, start.name, start.x, learnt)

    def _may_win(self, candidate: Candidate, full: Searcher, x: Array) -> bool:
        """Whether a search from x may end above the best on all members, if it gains twice what that one gained."""
        if self.interrupted or not candidate.polished:
            return True
        best, at = candidate.best, full.objective.told(x)
        if not best.feasible:
            return True
        return at.value + 2.0 * max(best.value - best.began, 0.0) > best.value

    def _polished(self, candidate: Candidate, full: Searcher, label: str, x: Array, learnt: Learnt) -> None:
        if self.interrupted:
            return
        try:
            end = full.polished(label, x, learnt)
        except KeyboardInterrupt:
            self.interrupted = True
            return
        candidate.polished.append(end)
        self.interrupted |= end.minimum.interrupted
        if not self.interrupted:
            self._keep(_on_all_name(full.name), end)

    def _keep(self, name: str, end: SearchEnd) -> None:
        self.done = self.done.with_end(name, end)
        if self.checkpoint is not None:
            self.checkpoint(self.done)

    def _screened(self, every: tuple[Combination, ...]) -> tuple[list[Combination], list[Candidate]]:
        """The combinations to search in full, and the others as a short search left them."""
        if len(every) <= self.options.screen:
            return list(every), []
        short = [self._shortly(combination) for combination in every]
        short.sort(key=_order)
        kept, rest = short[: self.options.screen], short[self.options.screen :]
        self.notes.append(
            f"{len(every)} combinations of choices: all had a short search, the {len(kept)} best were searched in full"
        )
        return [c.combination for c in kept], rest

    def _shortly(self, combination: Combination) -> Candidate:
        searcher = self._searcher(combination)
        starts = starts_of(searcher.template, 1, self.options.seed)
        ends = [] if self.interrupted else [searcher.roughly(s) for s in starts]
        self.interrupted |= any(end.minimum.interrupted for end in ends)
        return Candidate(combination, searcher, ends, searched=False)

    def _searcher(self, combination: Combination, members: Ensemble | None = None) -> Searcher:
        """On the scouts where there are any, or on given members."""
        question, name = self.question, choice_name(combination.choices)
        template = template_for(question.problem, combination.regimen, question.size, question.patient)
        objective = self._objective(template, members or self.scouts or question.ensemble)
        self.notes.extend(template.notes)
        scouting = self.scouts is not None
        return Searcher(name, template, objective, self.options, self.told, scouting=scouting)

    def _objective(self, template: Template, members: Ensemble) -> PlanObjective:
        width, threads = self.options.widths[-1], self.options.threads
        return PlanObjective(self.question.problem, members, template, width=width, threads=threads)

    def _candidate(self, combination: Combination) -> Candidate:
        searcher = self._searcher(combination)
        candidate = Candidate(combination, searcher, [], searched=True)
        known = () if self.resumed is None else self.resumed.searches.get(searcher.name, ())
        learnt = Learnt(known[0].unit) if known else None
        for start in self._starts(searcher, known):
            if self.interrupted and candidate.ends:
                break
            try:
                end = searcher.search(start, learnt)
            except KeyboardInterrupt:
                if not candidate.ends:
                    raise
                self.interrupted = True
                break
            candidate.ends.append(end)
            if end.minimum.interrupted:
                self.interrupted = True
                break
            self._keep(searcher.name, end)
        return candidate

    def _starts(self, searcher: Searcher, known: Sequence[FinishedSearch]) -> tuple[PlanStart, ...]:
        starts = starts_of(searcher.template, self.options.starts, self.options.seed)
        if not known:
            return starts
        best = min(known, key=lambda d: (d.violation > FEASIBLE, -d.value if d.violation <= FEASIBLE else d.violation))
        left = tuple(s for s in starts if s.name not in {done.start for done in known})
        return (PlanStart(best.start, np.array(best.x), 0.0), *left)

    def _rounded(self, candidate: Candidate) -> None:
        """The best end of a combination as prescribable doses, by a local search that keeps the exact limits."""
        whole, at = candidate.template.sized(candidate.best.x)
        objective = candidate.final.objective
        if whole is not candidate.template:
            objective = self._objective(whole, self.question.ensemble)
        searcher = Searcher(candidate.searcher.name, whole, objective, self.options, self.told)

        def value(x: Array) -> tuple[float, float]:
            found = objective.told(x)
            # what the search kept was smooth; a point to prescribe keeps the limits as they are written
            violation = searcher.violation(x, found.limits if np.array_equal(x, at) else found.exact)
            if self.told is not None:
                self.told(f"{searcher.name}, rounding", 0, found.value, violation)
            return found.value, violation

        count = 2 if self.interrupted else max(4, self.options.neighbours)
        found = prescribable(whole, at, value, RoundingOptions(evaluations=count, violation=FEASIBLE))
        self.interrupted |= found.outcome == "interrupted"
        candidate.whole, candidate.rounded, candidate.at = whole, found, objective.told(found.x)
        candidate.bounded = objective.limits

    def _conflicts(self, candidates: list[Candidate]) -> Conflicts | None:
        """What contradicts what, in the combination that comes nearest to its limits."""
        if self.interrupted:
            return None
        ready = [c for c in candidates if c.polished] or candidates
        nearest = min(ready, key=lambda c: c.best.violation if c.ends else np.inf)
        searcher, template = nearest.final, nearest.template

        def step(done: ConstrainedStep) -> None:
            if self.told is not None:
                self.told(f"{searcher.name}, conflicts", done.iteration, float("nan"), done.violation)

        linear_only = not nearest.ends
        return find_conflicts(
            template.start,
            lower=template.lower,
            upper=template.upper,
            linear=template.linear,
            nonlinear=None if linear_only else searcher.limits(self.options.widths[-1]),
            names=template.names,
            callback=step,
        )


def _order(candidate: Candidate) -> tuple[bool, float]:
    """Feasible combinations by value, then others by violation."""
    if not candidate.ends:
        return True, np.inf
    best = candidate.best
    return not best.feasible, -best.value if best.feasible else best.violation


def _on_all_name(name: str) -> str:
    return f"{name}, all members"


def template_for(problem: PlanningProblem, regimen: Regimen, size: Size | None, patient: Patient | None) -> Template:
    """The template of a regimen; orders that follow troughs and are not free stand as the child himself was given.

    Raises:
        RecordError: what cannot be honoured, such as titrated orders where no child is known.
    """
    if patient is None or not _follows(problem, regimen):
        return template_of(problem, regimen, size=size)
    course = simulate(patient, regimen, days=problem.horizon)
    return template_of(problem, regimen, size=size, titrated=course)


def _follows(problem: PlanningProblem, regimen: Regimen) -> bool:
    """Whether an order follows its trough for a time in which its dose is not free."""
    whole = {
        line.order for line in problem.free if isinstance(line, FreeDose) and line.first is None and line.until is None
    }
    return any(order.titration is not None and key not in whole for key, order in order_keys(regimen).items())


def question_for(
    child: Patient | Population | Ensemble,
    problem: PlanningProblem,
    draws: ParameterDraws | None,
    fresh: Ensemble | None,
) -> Question:
    """The problem with its members, as `optimise_regimen` takes them. Raises: UsageError."""
    if isinstance(child, Patient):
        if fresh is not None:
            raise UsageError(
                "`fresh` beside a child",
                code="plan.fresh",
                rule="Fresh members around a child are those of `out_of_sample` in the problem",
                cure="Leave it out",
            )
        ensemble = _drawn(child, problem.ensemble, draws)
        return Question(problem, child.name, ensemble, _drawn(child, problem.fresh, draws), size_of(child), child)
    if isinstance(child, Ensemble):
        if draws is not None:
            raise UsageError("draws beside an ensemble", code="plan.draws", rule="An ensemble has its draws")
        ensemble = child
    else:
        ensemble = ensemble_of(child, draws=draws if draws is not None else 0)
    one = _one_child(ensemble.population)
    size = None if one is None else size_of(one)
    return Question(problem, ensemble.population.name, ensemble, fresh, size, one)


def _one_child(group: Population) -> Patient | None:
    """The child who all members are (draws of the parameters of one), by any name; None where bodies differ."""
    children = [patient.model_copy(update={"name": group.name}) for patient in group.patients]
    return children[0] if all(child == children[0] for child in children[1:]) else None


def _drawn(child: Patient, spec: PlanEnsemble, given: ParameterDraws | None) -> Ensemble:
    draws: ParameterDraws | None = given
    if draws is None and spec.file is not None:
        draws = load_draws(spec.file)
    if draws is not None and spec.draws is not None and spec.draws < len(draws):
        draws = draws.sample(spec.draws, spec.seed)
    chosen: ParameterDraws | int = draws if draws is not None else int(spec.draws or 0)
    return ensemble_of(child, children=spec.children, draws=chosen, seed=spec.seed)
