"""The limits of a plan as a simulation keeps them: true troughs, doses in mg as given, endpoints without smoothing."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ipex_pd.numerics.events import VISIT_INTERVAL
from ipex_pd.planning.goals import goal_quantity
from ipex_pd.records.plan_goals import QUALITY
from ipex_pd.records.plan_limits import (
    CumulativeDoseLimit,
    DailyDoseLimit,
    DoseLimit,
    EndpointLimit,
    SingleDoseLimit,
    TroughLimit,
)
from ipex_pd.units import factor

if TYPE_CHECKING:
    from ipex_pd.records.plans import PlanningProblem
    from ipex_pd.records.regimens import Regimen
    from ipex_pd.simulation.results import Simulation

Array = NDArray[np.float64]

_TINY = 1e-9
TOLERANCE = 1e-3
"""Part of a limit by which it may be overstepped and counts as met: rounding of sizes between visits, solver error."""


@dataclass(frozen=True)
class JudgedLimit:
    """A limit as a regimen keeps it.

    Attributes:
        line: place in the problem's `limits`.
        label: in words.
        unit: of value and bound; `fraction` where the limit is a share of members.
        value: what is bounded: a share, or the mean or largest over members.
        low, high: between which it must lie.
        share: asked share of members (times days), None without one.
    """

    line: int
    label: str
    unit: str
    value: float
    low: float
    high: float
    share: float | None = None

    @property
    def slack(self) -> float:
        """Distance to the nearer end, negative where the limit is overstepped."""
        return min(self.value - self.low, self.high - self.value)

    @property
    def violation(self) -> float:
        """Overstepping in units of the limit, 0 where it is kept."""
        size = max((abs(end) for end in (self.low, self.high) if math.isfinite(end)), default=1.0) or 1.0
        return max(0.0, -self.slack) / size

    @property
    def met(self) -> bool:
        """Whether it is kept, within a thousandth of itself."""
        return math.isfinite(self.value) and self.violation <= TOLERANCE


def sample_times(problem: PlanningProblem, regimen: Regimen) -> Array:
    """Days on which troughs have to be known: those of the dose that follows each sampled day."""
    found = [_drawn(regimen, limit, problem.horizon) for limit in problem.limits if isinstance(limit, TroughLimit)]
    return np.concatenate([np.zeros(0), *found])


def _drawn(regimen: Regimen, limit: TroughLimit, horizon: float) -> Array:
    """The time right before the first dose at or after each sampled day; none where the drug is over."""
    rows = regimen.administrations(horizon + 1e-6)
    times = np.unique([row.time for row in rows if row.drug == limit.drug and row.amount > 0])
    days = np.array(limit.sample_days(horizon))
    at = np.searchsorted(times, days - _TINY)
    at = at[at < len(times)]
    found: Array = np.unique(np.minimum(times[at], horizon)) if len(times) else np.zeros(0)
    return found


def judged_limits(
    problem: PlanningProblem, simulation: Simulation, regimen: Regimen, weights: Array
) -> tuple[JudgedLimit, ...]:
    """Every limit that a simulation can judge: troughs, endpoints and doses; others hold by how the plan is written.

    Args:
        problem: whose limits.
        simulation: with outputs on the days of `sample_times`.
        regimen: that was simulated.
        weights: [M] of members, 0 for those without finite numbers.
    """
    found = []
    for line, limit in enumerate(problem.limits):
        if isinstance(limit, TroughLimit) and limit.drug in regimen.drugs:
            found.append(_trough(line, limit, simulation, regimen, problem.horizon, weights))
        elif isinstance(limit, EndpointLimit):
            found.append(_endpoint(line, limit, problem, simulation, regimen, weights))
        elif isinstance(limit, (SingleDoseLimit, DailyDoseLimit, CumulativeDoseLimit)) and limit.drug in regimen.drugs:
            found.append(_dose(line, limit, simulation, weights))
    return tuple(found)


def _share(inside: Array, weights: Array) -> float:
    return float((weights * inside).sum() / weights.sum())


def _trough(
    line: int, limit: TroughLimit, simulation: Simulation, regimen: Regimen, horizon: float, weights: Array
) -> JudgedLimit:
    exposure = simulation.exposure(limit.drug)
    unit = simulation.units[exposure.concentration]
    scale = factor("mg/L", unit)
    low, high = limit.low_mg_l * scale, limit.high_mg_l * scale
    days = _drawn(regimen, limit, horizon)
    at = np.searchsorted(simulation.times, days - _TINY)
    levels = simulation[exposure.concentration][:, at]
    ends = [f"at least {low:g}"] * (low > 0) + [f"at most {high:g}"] * math.isfinite(high)
    words = f"trough of {limit.drug} {' and '.join(ends)} {unit}"
    if not len(days):
        return _none_sampled(line, limit, f"{words} (no dose on the sampled days)", unit, (low, high))
    if limit.share is not None:
        inside = ((levels >= low) & (levels <= high)).mean(1)
        return JudgedLimit(
            line,
            f"{words} in {limit.share:.0%}",
            "fraction",
            _share(inside, weights),
            limit.share,
            math.inf,
            limit.share,
        )
    means = weights @ np.nan_to_num(levels) / weights.sum()
    outside = np.maximum(low - means, means - high)
    return JudgedLimit(line, f"{words}, mean on every day", unit, float(means[np.argmax(outside)]), low, high)


def _none_sampled(line: int, limit: TroughLimit, words: str, unit: str, window: tuple[float, float]) -> JudgedLimit:
    """A drug that is not given on any sampled day misses a window with a lower end, and keeps an upper end."""
    low, high = window
    if limit.share is None:
        return JudgedLimit(line, words, unit, 0.0, low, high)
    share = 0.0 if low > 0 else 1.0
    return JudgedLimit(line, f"{words} in {limit.share:.0%}", "fraction", share, limit.share, math.inf, limit.share)


def _endpoint(
    line: int,
    limit: EndpointLimit,
    problem: PlanningProblem,
    simulation: Simulation,
    regimen: Regimen,
    weights: Array,
) -> JudgedLimit:
    states = next((goal.states for goal in problem.goals if goal.name == QUALITY), None)
    quantity = goal_quantity(limit.endpoint, states)
    values = np.asarray(quantity.measured(simulation, regimen), dtype=np.float64)
    most = limit.most is not None
    low, high = (-math.inf, limit.bound) if most else (limit.bound, math.inf)
    words = f"{quantity.label.lower()} {'at most' if most else 'at least'} {limit.bound:g} {quantity.unit}"
    if limit.share is not None:
        inside = _share(((values >= low) & (values <= high)).astype(float), weights)
        return JudgedLimit(
            line, f"{words} in {limit.share:.0%}", "fraction", inside, limit.share, math.inf, limit.share
        )
    mean = float(weights @ np.nan_to_num(values) / weights.sum())
    return JudgedLimit(line, f"mean {words}", quantity.unit, mean, low, high)


def _dose(line: int, limit: DoseLimit, simulation: Simulation, weights: Array) -> JudgedLimit:
    """The largest dose, daily sum or total over members, by the size at the last visit."""
    table = simulation.doses
    rows = np.flatnonzero(np.array(table.drug) == limit.drug)
    times, amounts = table.times[:, rows], table.amount[:, rows]
    per = amounts / _size(limit, simulation, times)
    if isinstance(limit, SingleDoseLimit):
        of_member, words = per.max(axis=1, initial=0.0), "single dose"
    elif isinstance(limit, CumulativeDoseLimit):
        of_member, words = per.sum(axis=1), "cumulative dose"
    else:
        of_member, words = _daily(times, per), "daily dose"
    value = float(np.where(weights > 0, of_member, 0.0).max(initial=0.0))
    label = f"{words} of {limit.drug} at most {limit.most}"
    return JudgedLimit(line, label, limit.most.unit, value, -math.inf, limit.most.value)


def _daily(times: Array, amounts: Array) -> Array:
    """[M] the largest sum of a day, a day beginning at midnight."""
    days = np.floor(times + _TINY).astype(int)
    count = int(days.max(initial=0)) + 1
    return np.array([np.bincount(d, a, count).max(initial=0.0) for d, a in zip(days, amounts, strict=True)])


def _size(limit: DoseLimit, simulation: Simulation, times: Array) -> Array:
    """[M, N] what a dose is divided by: weight or surface at the last visit, by which it was given; 1 for mg."""
    name = {"mg/kg": "weight", "mg/m2": "bsa"}.get(limit.most.basis)
    if name is None:
        return np.ones(times.shape)
    visits = np.floor((times + _TINY) / VISIT_INTERVAL) * VISIT_INTERVAL
    rows = [np.interp(v, simulation.times, size) for v, size in zip(visits, simulation[name], strict=True)]
    return np.stack(rows)
