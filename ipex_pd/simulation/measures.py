"""Plain arithmetic of courses: spells below a threshold, crossings, areas, survival and competing risks.

Courses are (patient, time) arrays, taken as linear between output times; cumulative hazards likewise, so that survival
falls exponentially between them. A time that is not reached is `inf`; a course with a missing number gives `nan`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def days_below(times: Array, course: Array, threshold: float) -> Array:
    """Time spent below a threshold [day], (patient,)."""
    start, end = course[:, :-1] - threshold, course[:, 1:] - threshold
    size = np.abs(start) + np.abs(end)
    part = np.minimum(start, 0) + np.minimum(end, 0)
    share = np.divide(-part, size, out=np.zeros_like(part), where=size > 0)
    return _guard(course, np.sum(share * np.diff(times), axis=1))


def spells_below(times: Array, course: Array, threshold: float) -> list[tuple[float, float]]:
    """The intervals [day] in which one course, (time,), lies below a threshold."""
    below = course < threshold
    spells: list[tuple[float, float]] = []
    start = float(times[0]) if below[0] else np.inf
    for index in np.flatnonzero(below[1:] != below[:-1]):
        left, right = course[index], course[index + 1]
        moment = float(times[index] + (threshold - left) / (right - left) * (times[index + 1] - times[index]))
        if below[index]:
            spells.append((start, moment))
        start = moment
    if below[-1]:
        spells.append((start, float(times[-1])))
    return spells


def first_below(times: Array, course: Array, threshold: float, hold: float = 0.0) -> Array:
    """Start of the first spell below a threshold of at least `hold` days, (patient,); `inf` if there is none."""

    def first(row: Array) -> float:
        spells = spells_below(times, row, threshold)
        return next((start for start, end in spells if end - start >= hold), np.inf)

    return _each(course, first)


def below_at_end(times: Array, course: Array, threshold: float, hold: float) -> Array:
    """1 where the course has been below a threshold for the last `hold` days, else 0, (patient,)."""

    def last(row: Array) -> float:
        spells = spells_below(times, row, threshold)
        return float(bool(spells) and spells[-1][1] >= times[-1] and spells[-1][1] - spells[-1][0] >= hold)

    return _each(course, last)


def first_above_after(times: Array, course: Array, threshold: float, after: Array) -> Array:
    """First time a course reaches a threshold from each patient's own day on, (patient,); `nan` without such a day."""
    result = np.full(course.shape[0], np.nan)
    for index in np.flatnonzero(np.isfinite(after) & np.all(np.isfinite(course), axis=1)):
        spells = spells_below(times, -course[index], -threshold)
        result[index] = next((max(start, after[index]) for start, end in spells if end > after[index]), np.inf)
    return result


def area(times: Array, course: Array) -> Array:
    """Integral over time [unit * day] by the trapezium rule, (patient,)."""
    return np.asarray(np.sum((course[:, 1:] + course[:, :-1]) / 2 * np.diff(times), axis=1))


def at_time(times: Array, course: Array, moments: Array) -> Array:
    """The course at each patient's own day, linear between times, (patient,); `nan` where that day is not finite."""
    result = np.full(course.shape[0], np.nan)
    for index in np.flatnonzero(np.isfinite(moments)):
        result[index] = np.interp(moments[index], times, course[index])
    return result


def restricted_mean_survival(times: Array, survival: Array) -> Array:
    """Mean time alive up to the horizon [day], (patient,): exact for a hazard constant between output times."""
    left, right = survival[:, :-1], survival[:, 1:]
    with np.errstate(divide="ignore", invalid="ignore"):
        fall = np.log(left / right)
        mean = (left - right) / fall
    flat = ~(np.abs(fall) > 1e-8) | ~np.isfinite(mean)
    mean = np.where(flat, (left + right) / 2, mean)
    return np.asarray(np.sum(mean * np.diff(times), axis=1))


def incidence(hazards: Mapping[str, Array], cause: str) -> Array:
    """Cumulative incidence of one cause among competing ones, integral of S dH_cause, (patient, time).

    Args:
        hazards: cumulative hazard [1] of every competing cause, (patient, time).
        cause: the one asked for.

    With cumulative hazards linear between output times, the share of a cause in an interval is its share of the
    increase of the total, so that the incidences of all causes and the survival add up to the survival at the start.
    """
    total = np.sum(list(hazards.values()), axis=0)
    survival = np.exp(-total)
    rise = np.diff(total, axis=1)
    own = np.diff(hazards[cause], axis=1)
    # survival lost in an interval per unit of total hazard; expm1 keeps small hazards exact
    lost = -np.expm1(-rise) * survival[:, :-1]
    rate = np.divide(lost, rise, out=survival[:, :-1].copy(), where=np.abs(rise) > 0)
    course = np.cumsum(own * rate, axis=1)
    return np.concatenate([np.zeros((course.shape[0], 1)), course], axis=1)


def _each(course: Array, one: Callable[[Array], float]) -> Array:
    return np.array([one(row) if np.all(np.isfinite(row)) else np.nan for row in course], dtype=np.float64)


def _guard(course: Array, result: Array) -> Array:
    return np.where(np.all(np.isfinite(course), axis=1), result, np.nan)
