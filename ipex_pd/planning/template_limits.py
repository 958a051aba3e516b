"""Limits of a plan that are linear in x, and which of its lines they settle.

Doses are bounded as they are written: an order above a limit is refused even where its `maximum` would cut the dose.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import RecordError
from ipex_pd.numerics.constrained_limits import LinearLimits
from ipex_pd.planning.template_courses import Course
from ipex_pd.planning.template_limits_times import between_orders, end_of, timed
from ipex_pd.planning.template_terms import TINY, Row, Term, combine, limits_of
from ipex_pd.records.dosing import Amount
from ipex_pd.records.plan_limits import (
    ApartLimit,
    ChangesLimit,
    CumulativeDoseLimit,
    DailyDoseLimit,
    NotTogetherLimit,
    ProphylaxisLimit,
    SingleDoseLimit,
    StepLimit,
    StrengthsLimit,
    TaperLimit,
    VisitsLimit,
)

if TYPE_CHECKING:
    from ipex_pd.planning.template import Template

_SLACK = 1 + 1e-9


def linear_limits(template: Template) -> tuple[LinearLimits, tuple[int, ...]]:
    """All linear limits, and the places of the lines of `limits` that need nothing further.

    Raises:
        RecordError: a limit that no x can keep, or a line that this start regimen cannot honour.
    """
    rows = list(between_orders(template))
    handled: list[int] = []
    for place, line in enumerate(template.problem.limits):
        where = f"{template.problem.name} limits[{place}]"
        own = _rows(template, line, where)
        if own is not None:
            rows += own
            handled.append(place)
    for safety in template.base.safety_limits:
        for most, _ in safety.limits():
            rows += _bounded(template, safety.drug, most, f"{template.base.name} safety_limits") or []
    return limits_of(_once(rows), len(template.variables)), tuple(handled)


def _once(rows: Iterable[Row]) -> Iterator[Row]:
    """Each limit once, under its first label."""
    seen = set()
    for row in rows:
        key = (tuple(sorted(row.weights.items())), row.lower, row.upper)
        if key not in seen:
            seen.add(key)
            yield row


def _rows(template: Template, line: object, where: str) -> list[Row] | None:
    """The limits of one line; None where it is not linear here."""
    if isinstance(line, SingleDoseLimit | DailyDoseLimit):
        return _bounded(template, line.drug, line.most, where)
    if isinstance(line, CumulativeDoseLimit):
        return _cumulative(template, line)
    if isinstance(line, TaperLimit):
        return list(_taper(template, line.order, where))
    if isinstance(line, VisitsLimit):
        return _visits(template, line, where)
    if isinstance(line, NotTogetherLimit | ApartLimit | ProphylaxisLimit):
        return list(timed(template, line, where))
    return [] if isinstance(line, ChangesLimit | StrengthsLimit | StepLimit) else None


def _of_drug(template: Template, drug: str) -> list[Course]:
    return [course for course in template.courses if course.order.drug == drug and course.count]


def _bounded(template: Template, drug: str, most: Amount, where: str) -> list[Row] | None:
    """The most of a dose or of a day, where all orders are in its unit and take turns."""
    courses = _of_drug(template, drug)
    if any(course.basis != most.basis for course in courses) or (most.per_day and not _in_turn(template, courses)):
        return None
    rows = []
    for course in courses:
        factor = max(1.0, course.order.dose.split) / course.split if most.per_day else 1.0 / course.split
        what = "a day" if most.per_day else "a dose"
        label = f"{course.key}: at most {most.value:g} {most.basis} {what}"
        fixed = float(np.max(_without_doses(template, course, template.start))) * course.split * factor
        if fixed > most.value * _SLACK:
            raise RecordError(
                f"`{course.key}` gives {fixed:g} {most.basis} {what} where its dose is not free",
                where=where,
                rule=f"The limit is {most.value:g} {most.basis} {what}",
                cure="Lower the dose in the start regimen, or free it there",
            )
        rows += [
            Row(
                {place: factor for place in value.variables}, -np.inf, most.value, f"{label}, {_words(template, value)}"
            )
            for window in course.windows
            for value in window.values
        ]
    return rows


def _without_doses(template: Template, course: Course, x: np.ndarray) -> np.ndarray:
    """[N] doses that remain when every free dose is nothing."""
    bare = x.copy()
    bare[[place for place, v in enumerate(template.variables) if v.kind == "dose"]] = 0.0
    return np.asarray(course.amounts(bare))


def _in_turn(template: Template, courses: Sequence[Course]) -> bool:
    """Whether no two of these orders give at the same time, whatever x."""
    x = template.start
    ordered = sorted(courses, key=lambda c: float(c.start.at(x)))
    for first, second in pairwise(ordered):
        end = end_of(first)
        apart = None if end is None else second.start.since(end)
        if apart is None or apart < -TINY:
            return False
    return True


def _cumulative(template: Template, line: CumulativeDoseLimit) -> list[Row] | None:
    """The sum of all doses, where it is linear and in the unit of the limit."""
    courses = _of_drug(template, line.drug)
    plain = all(
        c.basis == line.most.basis and c.linear() and not c.start.variables and c.order.dose.maximum is None
        for c in courses
    )
    if not plain:
        return None
    size = len(template.variables)
    zero, weights = np.zeros(size), np.zeros(size)
    constant = sum(float(_before_horizon(template, c, zero)) for c in courses)
    for place, variable in enumerate(template.variables):
        if variable.kind == "dose" and variable.order in {c.order.index for c in courses}:
            unit = np.zeros(size)
            unit[place] = 1.0
            weights[place] = sum(float(_before_horizon(template, c, unit)) for c in courses) - constant
    label = f"{line.drug}: at most {line.most.value:g} {line.most.basis} in all"
    found = {place: float(w) for place, w in enumerate(weights) if w}
    return [Row(found, -np.inf, line.most.value - constant, label)] if found else []


def _before_horizon(template: Template, course: Course, x: np.ndarray) -> float:
    return float(np.sum(np.where(np.asarray(course.times(x)) < template.horizon - TINY, course.amounts(x), 0.0)))


def _taper(template: Template, key: str, where: str) -> Iterator[Row]:
    """No period above the one before it."""
    for course in template.courses:
        if course.key != key:
            continue
        if not course.windows:
            raise RecordError(
                f"the dose of `{key}` is not free",
                where=where,
                rule="A taper is found for a free dose",
                cure=f"Add `dose: {key}` to `free`, or take the line out",
            )
        for before, after in pairwise(term for _, term in sequence(template, course, template.start)):
            weights, constant = combine([(1.0, after), (-1.0, before)])
            if weights:
                label = f"taper of {key}: {_words(template, after)} not above {_words(template, before)}"
                yield Row(weights, -np.inf, -constant, label)


def sequence(template: Template, course: Course, x: np.ndarray) -> list[tuple[float, Term]]:
    """(day, amount) of an order's levels in the order in which they are given at x, fixed ones beside the free."""
    start = float(course.start.at(x))
    times = start + course.offsets
    end = np.inf if course.stop is None else float(course.stop.at(x))
    fixed = _without_doses(template, course, x) * course.split
    found: list[tuple[float, Term]] = []
    free = times >= end - TINY
    for window in course.windows:
        begins = [max(start, float(begin.at(x))) for begin in window.begins]
        until = np.inf if window.until is None else float(window.until.at(x))
        pairs = zip(begins, window.values, strict=True)
        found += [(begin, value) for begin, value in pairs if begin < min(end, until) - TINY]
        free |= (times >= begins[0] - TINY) & (times < until - TINY)
    found += [(float(times[k]), Term(float(fixed[k]))) for k in np.flatnonzero(~free)]
    return sorted(found, key=lambda item: item[0])


def _visits(template: Template, line: VisitsLimit, where: str) -> list[Row]:
    """Periods begin on visits: nothing to search for, only to check."""
    for course in template.courses:
        for window in course.windows:
            for begin in window.begins:
                _on_visit(course, begin, line, where)
    return []


def _on_visit(course: Course, begin: Term, line: VisitsLimit, where: str) -> None:
    if begin == course.start:
        return
    if begin.variables:
        raise RecordError(
            f"a period of `{course.key}` begins on a day that moves",
            where=where,
            rule="Doses change on visits, which are days of the regimen",
            cure="Fix the day that it counts from, or take `visits` out",
        )
    if min(abs(begin.constant - day) for day in line.days) > TINY:
        near = min(line.days, key=lambda day: abs(day - begin.constant))
        raise RecordError(
            f"a period of `{course.key}` begins on day {begin.constant:g}, which is no visit",
            where=where,
            rule=f"Doses change on visits; the nearest is on day {near:g}",
            cure=f"Write `changes_on: [{', '.join(f'{day:g}' for day in line.days)}]`",
        )


def _words(template: Template, term: Term) -> str:
    """The name of a variable without its order, or the amount."""
    if not term.variables:
        return f"the fixed {term.constant:g}"
    return template.variables[term.variables[0]].name.rpartition(" dose ")[2]
