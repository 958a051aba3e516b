"""Which assumptions a plan hangs on: slopes of its value by every assumed parameter, and what would change the
decision.

The slope d value / d log parameter takes one reverse pass through the disease for all parameters at once; it counts
what happens from day 0 on. Where the decision would change is asked of simulations: plan and alternative are judged
again with a parameter at other values, the time before day 0 lived anew. Weights of goals need nothing new: the value
is linear in them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ipex_pd.numerics.frozen import FrozenMesh, freeze
from ipex_pd.numerics.gradients import solve_traced
from ipex_pd.numerics.schedule import Schedule
from ipex_pd.planning.courses import Leaves, chunks_of, mesh_of, plan_times
from ipex_pd.planning.goals import goal_quantity
from ipex_pd.planning.judged import judge
from ipex_pd.planning.objective import Ground, PlanObjective, Question
from ipex_pd.planning.observed import course_of
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.statistic import statistic
from ipex_pd.simulation.draws import normals
from ipex_pd.simulation.variability import uncertain

if TYPE_CHECKING:
    from ipex_pd.planning.ensemble import Ensemble
    from ipex_pd.planning.judged import Judgement
    from ipex_pd.planning.plan import Plan
    from ipex_pd.records.parameters import Parameter, ParameterSet
    from ipex_pd.records.plans import PlanningProblem
    from ipex_pd.records.regimens import Regimen

Array = Any

SCHEMA = "ipex_pd.sensitivity/1"
FACTORS = (0.5, 2.0)
"""By which an assumed parameter is multiplied to see whether the decision changes: assumed, half and double."""
HORIZONS = (0.5, 1.5)
"""The same for the horizon."""


@dataclass(frozen=True, eq=False)
class Sensitivity:
    """What a plan hangs on.

    Attributes:
        plan: name of the problem.
        alternative: the regimen it is weighed against.
        advantage: value of the plan less that of the alternative on the same members.
        slopes: a row a parameter, steepest first: parameter, value, unit, reason, slope (of the value by the
            logarithm of the parameter), change (of the value for 10 % more).
        switches: a row a parameter that was tried: parameter, factor, advantage, and where the advantage is zero:
            switch (factor; NaN where it does not change sign).
        weights: a row a goal: goal, weight, contribution (to the advantage), switch (weight at which the advantage is
            zero; NaN where no weight above zero does).
        horizons: a row a horizon: days, advantage.
        notes: sentences.
    """

    plan: str
    alternative: str
    advantage: float
    slopes: pd.DataFrame
    switches: pd.DataFrame
    weights: pd.DataFrame
    horizons: pd.DataFrame
    notes: tuple[str, ...] = ()

    def in_words(self) -> tuple[str, ...]:
        """What would change the decision."""
        lines = [f"the plan is worth {self.advantage:+.4g} of the goal against `{self.alternative}`"]
        for name, rows in self.switches.groupby("parameter", sort=False):
            points = sorted({float(v) for v in rows["switch"] if math.isfinite(v)}, key=lambda v: abs(math.log(v)))
            low, high = float(rows["factor"].min()), float(rows["factor"].max())
            if points:
                lines.append(f"`{self.alternative}` would be better if `{name}` were {points[0]:.3g} times its value")
            else:
                lines.append(f"`{name}` between {low:g} and {high:g} times its value does not change the decision")
        for row in self.weights.to_dict("records"):
            if math.isfinite(row["switch"]):
                lines.append(
                    f"`{self.alternative}` would be better with a weight of `{row['goal']}` of {row['switch']:.3g} "
                    f"instead of {row['weight']:.3g}"
                )
        for row in self.horizons.to_dict("records"):
            if row["advantage"] * self.advantage < 0:
                lines.append(f"with a horizon of {row['days']:g} days `{self.alternative}` would be better")
        return (*lines, *self.notes)

    def __repr__(self) -> str:
        head = [f"Sensitivity of plan `{self.plan}`"]
        steep = [
            f"  {row['parameter']} = {row['value']:.4g} {row['unit']}: {row['change']:+.3g} for 10 % more; "
            f"{row['reason']}"
            for row in self.slopes.head(8).to_dict("records")
        ]
        return "\n".join([*head, *steep, *(f"  {line}" for line in self.in_words())])

    def to_json(self) -> str:
        """As strict JSON."""
        tables = {name: getattr(self, name) for name in ("slopes", "switches", "weights", "horizons")}
        body = {"plan": self.plan, "alternative": self.alternative, "advantage": self.advantage}
        return as_json(SCHEMA, {**body, **tables, "notes": self.notes, "words": self.in_words()})


def plan_sensitivity(
    plan: Plan,
    ensemble: Ensemble,
    *,
    alternative: Regimen | None = None,
    tried: int = 4,
    factors: Sequence[float] = FACTORS,
    horizons: Sequence[float] = HORIZONS,
    every: bool = False,
    seed: int = 0,
) -> Sensitivity:
    """What a plan hangs on.

    Args:
        plan: as `optimise_regimen` gave it.
        ensemble: members over whom it is asked; few are enough.
        alternative: what the plan is weighed against; the best other regimen that the plan was judged beside when None.
        tried: how many of the steepest parameters are tried at `factors`.
        factors: by which they are multiplied, put back within the parameter's bounds.
        horizons: by which the horizon is multiplied.
        every: slopes of all parameters, not only of those marked `assumed`.
        seed: of resampling.

    Raises:
        SimulationError: a plan whose doses follow troughs, or a drug with nonlinear elimination.
    """
    problem = plan.problem
    other = alternative if alternative is not None else best_alternative(plan)
    sets = _sets(ensemble, plan.regimen)
    known = _known(sets, every)
    slopes = _slope_table(value_slopes(problem, ensemble, plan.regimen), known)
    ours, theirs = _pair(problem, ensemble, plan.regimen, other, seed)
    advantage = ours.value - theirs.value
    rows = []
    for name in slopes["parameter"].head(tried):
        rows += _switch_rows(problem, ensemble, plan.regimen, other, name, known[name][0], advantage, factors, seed)
    ahead = []
    for scale in horizons:
        own = problem.model_copy(update={"horizon": problem.horizon * scale, "timing": None})
        mine, yours = _pair(own, ensemble, plan.regimen, other, seed)
        ahead.append({"days": own.horizon, "advantage": mine.value - yours.value})
    columns = ["parameter", "factor", "advantage", "switch"]
    return Sensitivity(
        plan=problem.name,
        alternative=other.name,
        advantage=advantage,
        slopes=slopes,
        switches=pd.DataFrame(rows, columns=columns),
        weights=_weights(problem, ours, theirs, advantage),
        horizons=pd.DataFrame(ahead, columns=["days", "advantage"]),
        notes=("slopes count what happens from day 0 on, not how the child came there",),
    )


def best_alternative(plan: Plan) -> Regimen:
    """The best regimen beside the plan that it was judged with: a standard one or the start."""
    rows = plan.values[plan.values["role"].isin(["start", "standard"])]
    shown = rows["outside"].where(rows["outside"].notna(), rows["inside"])
    for name in rows.loc[shown.sort_values(ascending=False).index, "name"]:
        judged = plan.judgements.get(name) or plan.judgements.get(f"{name}, fresh")
        if judged is not None:
            return judged.regimen
    return plan.start


def value_slopes(problem: PlanningProblem, ensemble: Ensemble, regimen: Regimen) -> dict[str, float]:
    """d value / d log parameter of a regimen's smooth value, for every parameter, from day 0 on.

    Args:
        problem: goals and statistic.
        ensemble: the members; a parameter is scaled in all of them.
        regimen: with doses that do not follow troughs.
    """
    objective = PlanObjective(problem, ensemble, _Fixed(problem, ensemble, regimen))
    courses, question = objective.courses, objective.question
    nothing = np.zeros(0)
    frozen, schedule = courses.frozen(nothing), courses.concrete(nothing)
    members = courses.members
    leaves = courses.leaves(frozen, schedule)
    mesh = freeze(
        courses.system,
        schedule,
        members.theta,
        age=members.age,
        output_times=frozen.outputs,
        state=members.state,
        derivatives="everything",
    )
    totals = jnp.asarray(objective.told(nothing).members)
    shares = np.asarray(jax.grad(lambda t: statistic(problem.statistic, t, jnp.asarray(ensemble.weights)))(totals))
    ground = Ground(frozen.schedule, members, jnp.asarray(ensemble.weights), jnp.asarray(1.0), frozen.bearings)
    found: dict[str, float] = {}
    for rows in chunks_of(len(ensemble), 1):
        own = mesh_of(mesh, rows, len(ensemble))
        some = members.some(rows)
        # the last member fills the chunk up, and counts once
        count = np.where(np.arange(rows.size) < np.unique(rows).size, shares[rows], 0.0)
        slopes = _member_slopes(
            question, courses.system, own, ground._replace(members=some), leaves, jnp.asarray(count)
        )
        for name, slope in slopes.items():
            found[name] = found.get(name, 0.0) + float(np.sum(np.asarray(slope) * np.asarray(some.theta[name])))
    return found


@partial(jax.jit, static_argnums=(0, 1))
def _member_slopes(
    question: Question, system: Any, mesh: FrozenMesh, ground: Ground, leaves: Leaves, shares: Array
) -> dict[str, Array]:
    """Slopes of the weighted goals by every value of theta, [m] each."""
    at = ground.members

    def totals(theta: dict[str, Array]) -> Array:
        own = replace(mesh, shared=leaves.outputs)
        schedule = leaves.put(ground.schedule)
        traced = solve_traced(own, schedule, theta, age=at.age, state=at.state)
        course = course_of(system, schedule, theta, at.age, traced, leaves.outputs, ground.bearings, question.days)
        goals = [w.weight * goal_quantity(w.name, w.states).function(course, ground.width) for w in question.wishes]
        return sum(goals[1:], goals[0])

    _, back = jax.vjp(totals, dict(at.theta))
    found: dict[str, Array] = back(shares)[0]
    return found


class _Fixed:
    """A regimen as a template without free quantities."""

    def __init__(self, problem: PlanningProblem, ensemble: Ensemble, regimen: Regimen) -> None:
        self.base, self.horizon = regimen, problem.horizon
        self.start = np.zeros(0)
        self.handled = tuple(range(len(problem.limits)))
        self._schedule = ensemble.study(regimen, plan_times(problem.horizon)).schedule

    def schedule(self, x: Array) -> Schedule:
        """The doses of the regimen, whatever x."""
        del x
        return self._schedule


def _sets(ensemble: Ensemble, regimen: Regimen) -> tuple[ParameterSet, ...]:
    shelves = ensemble.study(regimen, np.array([0.0, 1.0])).shelves
    return tuple(shelves.sets())


def _known(sets: Sequence[ParameterSet], every: bool) -> dict[str, tuple[Parameter, str]]:
    """Full name -> the parameter and why it is assumed; drug parameters as `tacrolimus.clearance`."""
    found = {}
    for number, group in enumerate(sets):
        for parameter in group.parameters:
            if every or parameter.source.assumed:
                found[parameter.name] = (parameter, str(parameter.source.reason or "published"))
                if number:
                    found[f"{group.name}.{parameter.name}"] = found[parameter.name]
    return found


def _slope_table(slopes: Mapping[str, float], known: Mapping[str, tuple[Parameter, str]]) -> pd.DataFrame:
    rows = []
    for name, slope in slopes.items():
        if name in known:
            parameter, reason = known[name]
            row = {"parameter": name, "value": parameter.value, "unit": parameter.unit, "reason": reason}
            rows.append({**row, "slope": slope, "change": slope * math.log(1.1)})
    table = pd.DataFrame(rows, columns=["parameter", "value", "unit", "reason", "slope", "change"])
    order = table["slope"].abs().sort_values(ascending=False, kind="stable").index
    return table.loc[order].reset_index(drop=True)


def _pair(
    problem: PlanningProblem, ensemble: Ensemble, regimen: Regimen, other: Regimen, seed: int
) -> tuple[Judgement, Judgement]:
    return (
        judge(problem, ensemble, regimen, "plan", seed=seed),
        judge(problem, ensemble, other, "alternative", seed=seed),
    )


def _switch_rows(
    problem: PlanningProblem,
    ensemble: Ensemble,
    regimen: Regimen,
    other: Regimen,
    name: str,
    parameter: Parameter,
    advantage: float,
    factors: Sequence[float],
    seed: int,
) -> list[dict[str, Any]]:
    """The advantage at other values of a parameter, and the factor at which it is zero between them."""
    points = [(1.0, advantage)]
    for factor in factors:
        moved, real = scaled(ensemble, name, parameter, factor)
        ours, theirs = _pair(problem, moved, regimen, other, seed)
        points.append((real, ours.value - theirs.value))
    points.sort()
    rows = []
    for place, (factor, gained) in enumerate(points):
        switch = math.nan
        if place + 1 < len(points) and gained * points[place + 1][1] < 0:
            then, later = points[place + 1]
            share = gained / (gained - later)
            switch = math.exp(math.log(factor) + share * (math.log(then) - math.log(factor)))
        rows.append({"parameter": name, "factor": factor, "advantage": gained, "switch": switch})
    return rows


def scaled(ensemble: Ensemble, name: str, parameter: Parameter, factor: float) -> tuple[Ensemble, float]:
    """The ensemble with a population value multiplied, within the parameter's bounds, and the factor it came to."""
    population = ensemble.population
    typical = population.typical.get(name)
    if typical is None and population.uncertainty_seed is not None and parameter.uncertainty is not None:
        typical = uncertain(parameter, normals(population.uncertainty_seed, f"uncertainty/{name}", population.truth))
    now = np.full(len(population), parameter.value) if typical is None else np.asarray(typical, dtype=np.float64)
    low, high = parameter.limits
    then = np.clip(now * factor, low, high)
    moved = replace(population, typical={**population.typical, name: then})
    real = float(np.mean(then / now)) if np.all(now != 0) else factor
    return replace(ensemble, population=moved), real


def _weights(problem: PlanningProblem, ours: Judgement, theirs: Judgement, advantage: float) -> pd.DataFrame:
    """The value of a mean is linear in the weights; for other statistics nothing is said."""
    rows = []
    for goal in problem.goals:
        switch = part = math.nan
        if problem.statistic.kind == "mean":
            difference = float(np.nanmean(ours.goals[goal.name] - theirs.goals[goal.name]))
            part = goal.sign * goal.weight * difference
            zero = goal.weight - advantage / (goal.sign * difference) if difference else math.nan
            switch = zero if math.isfinite(zero) and zero > 0 and len(problem.goals) > 1 else math.nan
        rows.append({"goal": goal.name, "weight": goal.weight, "contribution": part, "switch": switch})
    return pd.DataFrame(rows)
