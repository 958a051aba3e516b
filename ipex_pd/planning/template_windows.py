"""The periods of a free dose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipex_pd.planning.template_courses import Course, Window
from ipex_pd.planning.template_terms import TINY, Term
from ipex_pd.records.plan_free import FreeDose
from ipex_pd.records.plan_limits import VisitsLimit

if TYPE_CHECKING:
    from ipex_pd.planning.template_build import Draft


def windows_of(made: Draft, course: Course, entry: int, line: FreeDose, origin: Term) -> Window:
    """The periods of one line, each with a variable; none where the order has no doses then.

    Args:
        made: where the variables go.
        course: of the order.
        entry, line: the line of `free`.
        origin: from where the days of the line count.
    """
    first = course.start if line.first is None else origin.plus(line.first.day)
    until = None if line.until is None else origin.plus(line.until.day)
    begins = _begins(made, course, line, origin, first, until)
    amounts = [_start_value(course, begin, made) for begin in begins]
    values = []
    for number, (begin, amount) in enumerate(zip(begins, amounts, strict=True)):
        end = begins[number + 1] if number + 1 < len(begins) else until or course.stop
        name = f"{course.key} dose {_days(made, course, begin, end)}"
        bounds = (line.lowest.value, line.highest.value)
        values.append(made.add(name, course.unit, bounds, amount, "dose", course.order.index, entry))
    return Window(tuple(begins), tuple(values), until, entry)


def _begins(made: Draft, course: Course, line: FreeDose, origin: Term, first: Term, until: Term | None) -> list[Term]:
    lower, upper, _ = made.bounds()
    ends = [course.start.highest(upper) + _length(course), made.problem.horizon]
    ends += [term.highest(upper) for term in (until, course.stop) if term is not None]
    last = min(ends)
    found = [first] if first.lowest(lower) < last - TINY else []
    if line.changes_every is not None:
        return _regular(made, course, line.changes_every, first, until, last) if found else []
    for moment in line.changes_on:
        begin = origin.plus(moment.day)
        apart = begin.since(first)
        later = apart > TINY if apart is not None else begin.highest(upper) > first.lowest(lower) + TINY
        if found and later and begin.lowest(lower) < last - TINY and _before(begin, until, course):
            found.append(begin)
    return found


def _regular(made: Draft, course: Course, step: float, first: Term, until: Term | None, last: float) -> list[Term]:
    """Periods of one length; where the plan has visits, those that begin on one."""
    lower, number, found = made.bounds()[0], 1, [first]
    visits = [line.days for line in made.problem.limits if isinstance(line, VisitsLimit)]
    while (begin := first.plus(number * step)).lowest(lower) < last - TINY and _before(begin, until, course):
        number += 1
        if not visits or begin.variables or min(abs(begin.constant - day) for day in visits[0]) < 1e-6:
            found.append(begin)
    return found


def _before(begin: Term, until: Term | None, course: Course) -> bool:
    """Whether a period begins before the free time and the order end, as far as x does not decide it."""
    for end in (until, course.stop):
        apart = None if end is None else end.since(begin)
        if apart is not None and apart <= TINY:
            return False
    return True


def _length(course: Course) -> float:
    return float(course.offsets[-1] + course.gaps[-1]) if course.count and not course.days else float("inf")


def _start_value(course: Course, begin: Term, made: Draft) -> float:
    """What the start regimen gives on the day."""
    x = made.bounds()[2]
    since = float(begin.at(x)) - float(course.start.at(x))
    found = course.levels[0][1]
    for day, amount in course.levels:
        if day <= since + TINY:
            found = amount
    return found


def _days(made: Draft, course: Course, begin: Term, end: Term | None) -> str:
    """`day 14-21`, `day 21 on`, with what the days count from."""
    origin, words = Term(0.0), ""
    if begin.variables and made.transplant is not None and begin.variables == made.transplant.variables:
        origin, words = made.transplant, " after the transplant"
    elif begin.variables:
        origin, words = course.start, " after its start"
    here = begin.constant - origin.constant
    apart = None if end is None else end.since(begin)
    return f"day {here:g}-{here + apart:g}{words}" if apart is not None else f"day {here:g} on{words}"
