"""The best day of transplant by its slope: where the derivative of the value goes from rising to falling.

The value is smooth between crossings of events and has kinks there; a bracket whose slopes point inward always holds a
maximum. The bracket is found on a few days, then narrowed by secant steps that stay inside, with a bisection whenever
a step does not halve it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ipex_pd.errors import UsageError

Slope = Callable[[float], tuple[float, float]]
"""Day -> value and its derivative by the day."""


@dataclass(frozen=True)
class SlopeOptimum:
    """What a search by slopes found.

    Attributes:
        day: best day seen [day].
        value, slope: there.
        low, high: the bracket that is left [day].
        at_bound: whether it is an end of the range.
        evaluations: how many values with slope were taken.
    """

    day: float
    value: float
    slope: float
    low: float
    high: float
    at_bound: bool
    evaluations: int


def best_day_by_slope(
    evaluate: Slope, low: float, high: float, *, scan: int = 6, tolerance: float = 0.5, most: int = 60
) -> SlopeOptimum:
    """Maximise over the day of transplant.

    Args:
        evaluate: value and slope of a day.
        low, high: range [day].
        scan: days at which brackets are looked for, ends included; every bracket is narrowed, the best maximum taken.
        tolerance: width of the bracket at which the search ends [day].
        most: evaluations in all.

    Raises:
        UsageError: a range of no length, fewer than two days to scan, or a value or slope that is not finite.
    """
    if not high > low or scan < 2:
        raise UsageError(f"days {low:g} to {high:g}", where="best_day_by_slope", rule="The range has a length")
    seen: dict[float, tuple[float, float]] = {}

    def at(day: float) -> tuple[float, float]:
        if day not in seen:
            value, slope = evaluate(day)
            if not (np.isfinite(value) and np.isfinite(slope)):
                raise UsageError(f"the value on day {day:g} is not finite", where="best_day_by_slope")
            seen[day] = (value, slope)
        return seen[day]

    days = np.linspace(low, high, scan).tolist()
    slopes = [at(day)[1] for day in days]
    inward = [k for k in range(scan - 1) if slopes[k] > 0 > slopes[k + 1]]
    brackets = [_narrowed(at, days[k], days[k + 1], tolerance, lambda: len(seen) < most) for k in inward]
    best = max(seen, key=lambda day: seen[day][0])
    left, right = next(((a, b) for a, b in brackets if a <= best <= b), (best, best))
    value, slope = seen[best]
    bound = (best == days[0] and slope <= 0) or (best == days[-1] and slope >= 0)
    return SlopeOptimum(best, value, slope, left, right, bound, len(seen))


def _narrowed(at: Slope, low: float, high: float, tolerance: float, more: Callable[[], bool]) -> tuple[float, float]:
    """A smaller bracket whose slopes point inward."""
    halve = False
    while high - low > tolerance and more():
        a, b = at(low)[1], at(high)[1]
        width = high - low
        middle = 0.5 * (low + high) if halve else low + width * np.clip(a / (a - b), 0.05, 0.95)
        slope = at(float(middle))[1]
        if slope > 0:
            low = float(middle)
        else:
            high = float(middle)
        halve = high - low > 0.5 * width
    return low, high
