"""Work of the planning part that needs a process of its own."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmarks.measure import seconds

if TYPE_CHECKING:
    import numpy as np

    from ipex_pd.planning.objective import PlanObjective
    from ipex_pd.planning.optimise_search import PlanOptions, SearchEnd, Searcher
    from ipex_pd.planning.plan_assembly import Question
    from ipex_pd.planning.template import Template
    from ipex_pd.records.plans import PlanningProblem

DAYS_PLAN = "three_drugs_daily"
TIMING_PLAN = "bridge_and_transplant"
LSODA = 1e-6
"""Relative tolerance of SciPy's solutions: far looser than differences with SciPy's own step of 1.5e-8 ask for."""


def plan_days(
    cache: str, weeks: int, children: int, draws: int, iterations: int, repeats: int, columns: int, lsoda: int
) -> dict[str, Any]:
    """The whole plan with an empty compile cache, again compiled; then one search on all members, and its pieces.

    Args:
        cache: of compiled programs, empty.
        weeks: horizon; the shipped plan has 12.
        children, draws: of the ensemble.
        iterations: the most steps of a search.
        repeats: evaluations timed.
        columns: entries of a gradient by forward differences that are measured.
        lsoda: members that SciPy solves.
    """
    os.environ["IPEX_PD_CACHE"] = cache
    import jax

    from ipex_pd.planning.optimise_search import PlanOptions

    building: list[float] = []

    def heard(event: str, taken: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile"):
            building.append(taken)

    jax.monitoring.register_event_duration_secs_listener(heard)
    options = PlanOptions(iterations=iterations)
    problem = _problem(weeks, children, draws)
    first = _whole(problem, options)
    found: dict[str, Any] = {"cold_s": first["whole_s"], "building_s": sum(building), **_whole(problem, options)}
    question, template, objective = _objective(problem, options)
    x = template.start
    found |= {"members": len(question.ensemble), "free": len(x)}
    pieces: dict[str, Callable[[np.ndarray], Any]] = {"value": objective.told, "gradient": objective.evaluate}
    for name, work in pieces.items():
        work(x)
        # every time another point: the last solution is remembered
        near = [x * (1.0 - 1e-6 * k) for k in range(1, repeats + 1)]
        found[f"{name}_s"] = statistics.median(seconds(partial(work, at)) for at in near)
    found |= _differences(objective, x, columns)
    found |= _search(template, objective, options)
    return found | _scipy(objective, x, lsoda)


def _problem(weeks: int, children: int, draws: int) -> PlanningProblem:
    from ipex_pd.records.library import load_plan

    problem = load_plan(DAYS_PLAN)
    sizes = {"children": children, "draws": draws}
    return problem.model_copy(
        update={
            "horizon": 7.0 * weeks,
            "ensemble": problem.ensemble.model_copy(update=sizes),
            "out_of_sample": problem.fresh.model_copy(update=sizes),
        }
    )


def _objective(problem: PlanningProblem, options: PlanOptions) -> tuple[Question, Template, PlanObjective]:
    from ipex_pd.planning.objective import PlanObjective
    from ipex_pd.planning.optimise import question_for, template_for
    from ipex_pd.planning.template import combinations
    from ipex_pd.records.library import load_patient

    child = load_patient(problem.patient)
    question = question_for(child, problem, None, None)
    regimen = combinations(problem)[0].regimen
    template = template_for(problem, regimen, question.size, child)
    width = options.widths[-1]
    return question, template, PlanObjective(problem, question.ensemble, template, width=width, threads=options.threads)


def _differences(objective: PlanObjective, x: np.ndarray, columns: int) -> dict[str, float]:
    """Seconds of one entry of a gradient by forward differences, every time another dose, and the error of entries."""
    import numpy as np

    at = objective.evaluate(x)
    assert at.gradient is not None
    chosen = np.unique(np.linspace(0, len(x) - 1, min(columns, len(x))).astype(int))
    errors, taken = [], []
    for i in chosen:
        begin, size = time.perf_counter(), 1.5e-8 * max(1.0, abs(x[i]))
        moved = objective.value(x + size * (np.arange(len(x)) == i))
        taken.append(time.perf_counter() - begin)
        errors.append(abs((moved - at.value) / size - at.gradient[i]))
    worst = float(max(errors) / np.abs(at.gradient).max())
    return {"difference_s": statistics.median(taken), "differences": len(chosen), "difference_error": worst}


def _search(template: Template, objective: PlanObjective, options: PlanOptions) -> dict[str, Any]:
    """One search from the start regimen, through all widths, with everything compiled."""
    from ipex_pd.planning.optimise_search import Searcher
    from ipex_pd.planning.starts import starts_of

    steps: list[str] = []
    searcher: Searcher = Searcher("days", template, objective, options, lambda name, *_: steps.append(name))
    start = starts_of(template, 1, options.seed)[0]
    before = objective.told(start.x).value
    begin = time.perf_counter()
    end: SearchEnd = searcher.search(start)
    return {
        "search_s": time.perf_counter() - begin,
        "evaluations": searcher.evaluations,
        "iterations": len(steps),
        "goal_before": before,
        "goal_after": end.value,
        "violation": end.violation,
        "projected_gradient": end.minimum.projected_gradient,
        "relative_gradient": end.minimum.relative_gradient,
        "outcome": end.minimum.outcome,
    }


def _scipy(objective: PlanObjective, x: np.ndarray, members: int) -> dict[str, float]:
    """Seconds of LSODA for a member under the start regimen, and how far its survival is from the engine's."""
    import numpy as np

    from benchmarks.engine import run, scale_of
    from benchmarks.equations import full_equations
    from benchmarks.peers.scipy_peer import SciPy
    from benchmarks.timeline import Case, follow
    from ipex_pd.numerics.program import beginning
    from ipex_pd.numerics.solve import SolverOptions

    courses = objective.courses
    some = courses.members.some(np.arange(members))
    schedule, system = courses.concrete(x), courses.system
    begin = np.asarray(beginning(system, schedule.orders, some.theta, some.age, some.state)[0])
    theta = {name: np.asarray(values) for name, values in some.theta.items()}
    case = Case(system, schedule, theta, np.asarray(some.age), begin, courses.base, DAYS_PLAN)
    equations = full_equations(system)
    engine = run(case, SolverOptions(audit="off"))
    peer = SciPy(equations, "lsoda", LSODA, scale_of(case, engine, len(equations.states)), floor=1e-3)
    states = follow(case, equations, peer).states
    apart = np.abs(states - engine.states).max(axis=(0, 2)) / np.maximum(np.abs(engine.states).max(axis=(0, 2)), 1e-6)
    return {"lsoda_s": peer.seconds / members, "lsoda_members": members, "lsoda_apart": float(apart.max())}


def _whole(problem: PlanningProblem, options: PlanOptions) -> dict[str, Any]:
    """`optimise_regimen` with its default starts, rounding and judgement; seconds of its parts."""
    from ipex_pd.planning.optimise import optimise_regimen
    from ipex_pd.planning.optimise_search import FEASIBLE
    from ipex_pd.records.library import load_patient

    heard: list[tuple[float, str]] = []
    begin = time.perf_counter()
    plan = optimise_regimen(
        load_patient(problem.patient),
        goal=problem,
        options=options,
        progress=lambda name, *_: heard.append((time.perf_counter() - begin, name)),
    )
    whole = time.perf_counter() - begin
    rounding = [when for when, name in heard if name.endswith(", rounding")]
    searched = max((when for when, name in heard if not name.endswith(", rounding")), default=0.0)
    rounded = max(rounding, default=searched)
    row = plan.value()
    return {
        "whole_s": whole,
        "whole_searches_s": searched,
        "whole_rounding_s": rounded - searched,
        "whole_judging_s": whole - rounded,
        "ends": len(plan.optimality.starts),
        "agreement": plan.optimality.agreement(),
        "goal_found": max(start.value for start in plan.optimality.starts if start.violation <= FEASIBLE),
        "gain": row["gain"],
        "gain_low": row["gain_low"],
        "gain_high": row["gain_high"],
        "feasible": plan.feasible,
    }


def timing_profile(children: int, draws: int, warm: int, days: list[float]) -> dict[str, Any]:
    """The profile of the transplant day over five years; its programs are compiled on a few members before.

    Args:
        children, draws: of the ensemble.
        warm: members of the first run.
        days: candidate days; none: the coarse grid of the plan, refined around the best day.
    """
    from ipex_pd.planning.ensemble import ensemble_of
    from ipex_pd.planning.timing import transplant_timing
    from ipex_pd.records.library import load_patient, load_plan

    goal = load_plan(TIMING_PLAN)
    begin = time.perf_counter()
    ensemble = ensemble_of(load_patient(goal.patient), children=children, draws=draws, seed=1)
    built = time.perf_counter()
    few = ensemble.pick(slice(0, min(warm, len(ensemble))))
    transplant_timing(few, goal=goal, days=days or None)
    compiled = time.perf_counter()
    profile = transplant_timing(ensemble, goal=goal, days=days or None)
    done = time.perf_counter()
    return {
        "members": len(ensemble),
        "warm_members": len(few),
        "build_s": built - begin,
        "warm_s": compiled - built,
        "profile_s": done - compiled,
        "days": [float(day) for day in profile.days[:-1]],
        "best": profile.optimum.planned,
        "low": profile.optimum.low,
        "high": profile.optimum.high,
    }
