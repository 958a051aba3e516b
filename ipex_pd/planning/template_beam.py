"""Levels near a point that keep smallest steps, tapers and numbers of changes, found period by period."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ipex_pd.planning.template_courses import Course
from ipex_pd.planning.template_grids import Grid
from ipex_pd.planning.template_terms import TINY, Term
from ipex_pd.records.plan_limits import ChangesLimit, TaperLimit

_WIDTH = 64


class _Beam(NamedTuple):
    """Levels up to a period: what was chosen, the level there, changes so far where they count, distance so far."""

    chosen: tuple[tuple[int, float], ...]
    level: float | None
    changes: int
    distance: float


def nearest_levels(grid: Grid, x: np.ndarray, start: np.ndarray, count: int) -> list[np.ndarray]:
    """Up to `count` points near `start` that keep the rules, the nearest first; days are those of x.

    Every order with rules is taken by itself, by a beam search over its periods (distances squared, each period by its
    length and the room of its dose); limits that bind orders together are not looked at.
    """
    found = [x]
    for course, rows in grid.sequences(x):
        lines = [line for line in grid.template.problem.limits if isinstance(line, ChangesLimit | TaperLimit)]
        if not any(line.order == course.key for line in lines):
            continue
        beams = _search(grid, course, rows, start, x)
        found = [_with(point, beam) for point in found for beam in beams[:count]][:count]
    return found


def _with(x: np.ndarray, beam: _Beam) -> np.ndarray:
    made = x.copy()
    for place, value in beam.chosen:
        made[place] = value
    return made


def _search(
    grid: Grid, course: Course, rows: Sequence[tuple[float, Term]], start: np.ndarray, x: np.ndarray
) -> list[_Beam]:
    ends = [day for day, _ in rows[1:]] + [grid.template.horizon]
    beams = [_Beam((), None, 0, 0.0)]
    most, falls = _most(grid, course)
    for (day, term), end in zip(rows, ends, strict=True):
        least = grid.smallest_step(course, day)
        options: list[tuple[int | None, float, float]] = [(None, float(term.at(x)), 0.0)]
        if term.variables:
            (place,) = term.variables
            variable = grid.template.variables[place]
            weight = max(end - day, TINY) / max(variable.upper - variable.lower, TINY) ** 2
            options = [(place, float(v), weight * (float(v) - start[place]) ** 2) for v in grid.values(place, x)]
        beams = _extended(beams, options, most, falls, least)
    return beams


def _extended(
    beams: Sequence[_Beam],
    options: Sequence[tuple[int | None, float, float]],
    most: float,
    falls: bool,
    least: float,
) -> list[_Beam]:
    made = []
    for beam in beams:
        for place, value, cost in options:
            step = 0.0 if beam.level is None else value - beam.level
            changed = abs(step) > TINY
            if (changed and abs(step) < least - TINY) or (falls and step > TINY) or beam.changes + changed > most:
                continue
            chosen = beam.chosen if place is None else (*beam.chosen, (place, value))
            counted = beam.changes + int(changed) if np.isfinite(most) else 0
            made.append(_Beam(chosen, value, counted, beam.distance + cost))
    return _kept(made)


def _kept(beams: list[_Beam]) -> list[_Beam]:
    """The nearest for each level and number of changes, then the nearest of all others, up to a width."""
    beams = sorted(beams, key=lambda beam: beam.distance)
    first: dict[tuple[float | None, int], _Beam] = {}
    for beam in beams:
        first.setdefault((beam.level, beam.changes), beam)
    leading = {id(beam) for beam in first.values()}
    others = [beam for beam in beams if id(beam) not in leading]
    return sorted([*first.values(), *others[:_WIDTH]], key=lambda beam: beam.distance)


def _most(grid: Grid, course: Course) -> tuple[float, bool]:
    """The most changes of an order, and whether it never rises."""
    most, falls = np.inf, False
    for line in grid.template.problem.limits:
        if isinstance(line, ChangesLimit) and line.order == course.key:
            most = float(line.most)
        falls = falls or (isinstance(line, TaperLimit) and line.order == course.key)
    return most, falls
