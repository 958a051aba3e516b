"""What a regimen is worth in truth: simulated with the solver's audit, goals without smoothing, limits as they are
written.

A search looks at smooth goals of a few members; a plan is judged here, on the members it was made for and on fresh
ones.
Intervals come from resampling: children and parameter draws are two crossed samples, so both are drawn again, each with
replacement, and a member counts by the product (the pigeonhole bootstrap of crossed samples).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ipex_pd.planning.crossed import crossed_counts
from ipex_pd.planning.goals import goal_quantity
from ipex_pd.planning.judged_limits import JudgedLimit, judged_limits, sample_times
from ipex_pd.planning.statistic import plain_statistic
from ipex_pd.simulation.simulation import simulate

if TYPE_CHECKING:
    from ipex_pd.numerics.solve import SolverOptions
    from ipex_pd.planning.ensemble import Ensemble
    from ipex_pd.records.plans import PlanningProblem
    from ipex_pd.records.regimens import Regimen
    from ipex_pd.simulation.results import Simulation

Array = NDArray[np.float64]

RESAMPLES = 1000
CONFIDENCE = 0.95
SOLVED = 1e-6
"""Error of the solver, relative: a tenth of what its audit asks for at most."""
EVERY = 7.0


@dataclass(frozen=True, eq=False)
class Judgement:
    """A regimen on an ensemble.

    Attributes:
        name: of the candidate.
        regimen: what is given.
        value: the statistic of the weighted sum of goals; larger is better.
        low, high: 95 % interval of it from resampled children and draws; NaN with one of each.
        members: [M] the weighted sum in each member.
        goals: name -> [M].
        limits: each limit of the problem as it is kept.
        simulation: the members under the regimen.
        lost: members without finite numbers; they count in nothing.
    """

    name: str
    regimen: Regimen
    value: float
    low: float
    high: float
    members: Array
    goals: Mapping[str, Array]
    limits: tuple[JudgedLimit, ...]
    simulation: Simulation
    lost: int

    @property
    def feasible(self) -> bool:
        """Whether every limit is met."""
        return all(limit.met for limit in self.limits)

    @property
    def violation(self) -> float:
        """The largest overstepping, in units of the limit."""
        return max((limit.violation for limit in self.limits), default=0.0)


def judge(
    problem: PlanningProblem,
    ensemble: Ensemble,
    regimen: Regimen,
    name: str,
    *,
    seed: int = 0,
    options: SolverOptions | None = None,
) -> Judgement:
    """Simulate a regimen in every member and answer the problem's goals and limits.

    Args:
        problem: what is asked.
        ensemble: the members.
        regimen: what is given; its doses may follow troughs.
        name: of the candidate.
        seed: of the resampling.
        options: of the solver.

    Raises:
        SimulationError: no member has finite numbers.
    """
    times = np.unique(np.concatenate([_grid(problem.horizon), sample_times(problem, regimen)]))
    simulation = simulate(ensemble.population, regimen, output_times=times, options=options)
    goals, members = {}, np.zeros(len(ensemble))
    for goal in problem.goals:
        quantity = goal_quantity(goal.name, goal.states)
        goals[goal.name] = np.asarray(quantity.measured(simulation, regimen), dtype=np.float64)
        members = members + goal.sign * goal.weight * goals[goal.name]
    weights = _weights(ensemble, members)
    value = plain_statistic(problem.statistic, np.nan_to_num(members), weights)
    low, high = interval(problem, ensemble, members, seed)
    return Judgement(
        name=name,
        regimen=regimen,
        value=value,
        low=low,
        high=high,
        members=members,
        goals=goals,
        limits=judged_limits(problem, simulation, regimen, weights),
        simulation=simulation,
        lost=int((~np.isfinite(members)).sum()),
    )


def interval(problem: PlanningProblem, ensemble: Ensemble, members: Array, seed: int) -> tuple[float, float]:
    """95 % interval of the problem's statistic of [M] values, from resampled children and draws."""
    counts = resampled(ensemble, seed)
    if counts is None:
        return math.nan, math.nan
    plain = np.nan_to_num(members)
    base = _weights(ensemble, members)
    if problem.statistic.kind == "mean":
        heavy = counts * base
        found = (heavy @ plain) / heavy.sum(1)
    else:
        found = np.array([plain_statistic(problem.statistic, plain, base * row) for row in counts])
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def gain(problem: PlanningProblem, ensemble: Ensemble, one: Judgement, other: Judgement, seed: int) -> Gain:
    """How much better one regimen is than another on the same members, with a paired interval.

    A difference within the error of the solver is none: value and interval are 0 then.
    """
    difference = one.value - other.value
    if abs(difference) <= SOLVED * max(abs(one.value), abs(other.value)):
        apart = np.nan_to_num(np.abs(one.members - other.members))
        if apart.max() <= SOLVED * np.nan_to_num(np.abs(other.members)).max():
            return Gain(0.0, 0.0, 0.0, 0.5)
    counts = resampled(ensemble, seed)
    low = high = math.nan
    if counts is not None:
        ones, others = np.nan_to_num(one.members), np.nan_to_num(other.members)
        base = _weights(ensemble, one.members + other.members)
        if problem.statistic.kind == "mean":
            heavy = counts * base
            found = (heavy @ (ones - others)) / heavy.sum(1)
        else:
            both = [(plain_statistic(problem.statistic, v, base * row)) for row in counts for v in (ones, others)]
            found = np.array(both[::2]) - np.array(both[1::2])
        low, high = (float(v) for v in np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]))
    weights = _weights(ensemble, one.members + other.members)
    better = one.members > other.members
    level = one.members == other.members
    share = float((weights * (better + 0.5 * level)).sum() / weights.sum())
    return Gain(difference, low, high, share)


@dataclass(frozen=True)
class Gain:
    """One regimen less another in the same members.

    Attributes:
        value: difference of the statistic; above 0 the first is better.
        low, high: 95 % interval of it, paired; NaN with one child and one draw.
        share_better: weight of the members in which the first is better, ties counted half.
    """

    value: float
    low: float
    high: float
    share_better: float


def resampled(ensemble: Ensemble, seed: int) -> Array | None:
    """[R, M] how often each member counts when children and draws are drawn again; None with one of each."""
    counts = crossed_counts(np.random.default_rng([seed, 0xB007]), (ensemble.child, ensemble.draw), RESAMPLES)
    return None if counts is None else counts[counts @ ensemble.weights > 0]


def _weights(ensemble: Ensemble, members: Array) -> Array:
    """The weights of members with finite numbers."""
    kept = np.where(np.isfinite(members), ensemble.weights, 0.0)
    total = kept.sum()
    return np.asarray(kept / total) if total > 0 else ensemble.weights


def _grid(horizon: float) -> Array:
    """A week apart, with the days of visits, which are four weeks apart."""
    grid = np.arange(0.0, horizon, EVERY)
    return np.append(grid, horizon) if horizon - grid[-1] > 1e-9 else grid


def best_of(judgements: Sequence[Judgement]) -> Judgement:
    """The feasible one of most value, else the one that oversteps limits least."""
    return min(judgements, key=lambda j: (not j.feasible, -j.value if j.feasible else j.violation))
