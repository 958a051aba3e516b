"""Linear limits on days: orders that take turns, doses on free days, washout, prophylaxis."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import RecordError
from ipex_pd.planning.template_courses import Course
from ipex_pd.planning.template_terms import TINY, Row, Term, combine
from ipex_pd.records.plan_free import FreeDays
from ipex_pd.records.plan_limits import TRANSPLANT, ApartLimit, NotTogetherLimit, ProphylaxisLimit

if TYPE_CHECKING:
    from ipex_pd.planning.template import Template


def end_of(course: Course) -> Term | None:
    """From when nothing is given, None when it goes on."""
    if course.days:
        return Term(
            course.start.constant + float(course.gaps[-1]), tuple(sorted((*course.start.variables, course.days[-1])))
        )
    if course.stop is not None:
        return course.stop
    if course.order.dose.count is not None and course.count:
        return course.start.plus(float(course.offsets[-1] + course.gaps[-1]))
    return None


def first_dose(course: Course) -> Term:
    """The day of the first dose."""
    if course.days:
        return Term(course.start.constant, tuple(sorted((*course.start.variables, course.days[0]))))
    return course.start.plus(float(course.offsets[0]) if course.count else 0.0)


def last_dose(course: Course) -> Term | None:
    """The day of the last dose when whole doses are given; None when it goes on."""
    end = end_of(course)
    if end is None:
        return None
    apart = end.since(course.start)
    if apart is None or course.days or not course.count:
        return end.plus(-float(course.gaps[-1]) if course.count else 0.0)
    inside = course.offsets[course.offsets < apart - TINY]
    return course.start.plus(float(inside[-1]) if inside.size else 0.0)


def between_orders(template: Template) -> Iterator[Row]:
    """What any regimen keeps to: stops after starts, free days in order, one order of a drug and route at a time."""
    for course in template.courses:
        if course.stop is not None and not course.days:
            yield from _least(course.start, course.stop, 0.0, f"{course.key}: stop not before start")
        if course.days:
            line = template.problem.free[template.variables[course.days[0]].entry]
            apart = line.apart if isinstance(line, FreeDays) else 0.0
            for before, after in pairwise(course.days):
                label = f"{template.names[after]} at least {apart:g} days after the one before"
                yield Row({after: 1.0, before: -1.0}, apart, np.inf, label)
    x = template.start
    for first, second in combinations(sorted(template.courses, key=lambda c: float(c.start.at(x))), 2):
        way = [(c.order.drug, c.order.route) for c in (first, second)]
        end = end_of(first)
        if way[0] == way[1] and end is not None and first.count and second.count:
            yield from _least(end, first_dose(second), 0.0, f"{second.key}: start not before the end of {first.key}")


def timed(template: Template, line: NotTogetherLimit | ApartLimit | ProphylaxisLimit, where: str) -> Iterator[Row]:
    """The limits of one line. Raises: RecordError where no x can keep it."""
    if isinstance(line, NotTogetherLimit):
        for one, other in combinations(line.drugs, 2):
            for first, second in _pairs(template, one, other):
                yield from _not_together(template, first, second, where)
    elif isinstance(line, ApartLimit):
        yield from _apart(template, line, where)
    else:
        yield from _prophylaxis(template, line, where)


def _pairs(template: Template, one: str, other: str) -> Iterator[tuple[Course, Course]]:
    """Orders of two drugs, the one that begins first before the other."""
    x = template.start
    for left in _given(template, one):
        for right in _given(template, other):
            begins = [float(first_dose(course).at(x)) for course in (left, right)]
            yield (left, right) if begins[0] <= begins[1] else (right, left)


def _given(template: Template, drug: str) -> list[Course]:
    return [course for course in template.courses if course.order.drug == drug and course.count]


def _not_together(template: Template, first: Course, second: Course, where: str) -> Iterator[Row]:
    end = end_of(first)
    label = f"{second.key} not together with {first.key}"
    if end is None or _never(template, end, first_dose(second), 0.0):
        raise RecordError(
            f"`{first.key}` and `{second.key}` are given together",
            where=where,
            rule="They are not given at the same time",
            cure=f"Let `{first.key}` stop before, free its `stop`, or write them as `alternatives`",
        )
    yield from _least(end, first_dose(second), 0.0, label)


def _apart(template: Template, line: ApartLimit, where: str) -> Iterator[Row]:
    """From the last dose of the earlier to the first dose of the later."""
    day = template.transplant
    if TRANSPLANT in line.between and day is None:
        return
    x = template.start
    earlier, later = line.between
    if later == TRANSPLANT:
        ends = [(c.key, last_dose(c)) for c in _given(template, earlier) if c.graft is None]
        begins = [("the transplant", day)]
    elif earlier == TRANSPLANT:
        ends = [("the transplant", day)]
        own = _given(template, later)
        begins = [(c.key, first_dose(c)) for c in own if day is not None and float(c.start.at(x)) > float(day.at(x))]
    else:
        ends = [(c.key, last_dose(c)) for c in _given(template, earlier)]
        begins = [(c.key, first_dose(c)) for c in _given(template, later)]
    for before, end in ends:
        for after, begin in begins:
            if end is None or begin is None or _never(template, end, begin, line.least):
                raise RecordError(
                    f"`{before}` does not end {line.least:g} days before {after}",
                    where=where,
                    rule=f"They are at least {line.least:g} days apart",
                    cure=f"Write an earlier `stop` for `{before}` in the start regimen, or free it",
                )
            yield from _least(end, begin, line.least, f"{after} at least {line.least:g} days after {before}")


def _prophylaxis(template: Template, line: ProphylaxisLimit, where: str) -> Iterator[Row]:
    day = template.transplant
    own = [course for course in _given(template, line.drug) if course.graft is not None]
    if day is None or line.drug not in template.base.drugs:
        return
    if not own:
        raise RecordError(
            f"the transplant has no prophylaxis with `{line.drug}`",
            where=where,
            rule=f"It goes on for at least {line.least:g} days",
            cure="Add it to the start regimen, or take the line out",
        )
    for course in own:
        if any(template.variables[v.variables[0]].lower <= 0 for w in course.windows for v in w.values):
            raise RecordError(
                f"the dose of `{course.key}` may be nothing",
                where=where,
                rule=f"The prophylaxis goes on for at least {line.least:g} days",
                cure="Write `lowest` above zero",
            )
    ends = [end_of(course) for course in own]
    if any(end is None for end in ends):
        return
    x = template.start
    end = max((end for end in ends if end is not None), key=lambda term: float(term.at(x)))
    if _never(template, day, end, line.least):
        lasts = float(end.at(x)) - float(day.at(x))
        raise RecordError(
            f"the prophylaxis with `{line.drug}` ends {lasts:g} days after the transplant",
            where=where,
            rule=f"It goes on for at least {line.least:g} days",
            cure="Write a later `stop` in the start regimen",
        )
    yield from _least(day, end, line.least, f"prophylaxis with {line.drug} for at least {line.least:g} days")


def _never(template: Template, before: Term, after: Term, least: float) -> bool:
    """Whether no x within bounds brings `after` so long after `before`."""
    weights, constant = combine([(1.0, after), (-1.0, before)])
    best = constant + sum(
        w * (template.variables[p].upper if w > 0 else template.variables[p].lower) for p, w in weights.items()
    )
    return best < least - TINY


def _least(before: Term, after: Term, least: float, label: str) -> Iterator[Row]:
    """after - before >= least, where x has a part in it."""
    weights, constant = combine([(1.0, after), (-1.0, before)])
    if weights:
        yield Row(weights, least - constant, np.inf, label)
