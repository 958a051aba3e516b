"""A plan at x as a regimen that people can read and `simulate` takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ipex_pd.planning.template_courses import Course
from ipex_pd.planning.template_terms import TINY
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data

if TYPE_CHECKING:
    from ipex_pd.planning.template import Template

Orders = list[dict[str, Any]]

_NOTHING = 1e-12
_SAME = 1e-9
_DIGITS = 9


@dataclass(frozen=True)
class Piece:
    """Doses of one amount, one after the other.

    Attributes:
        course: of which order.
        begin, end: first day, and the day from which they are not given any more; `end` is None when they go on.
        last: day of the last dose before the horizon.
        amount: in the unit of the course.
    """

    course: Course
    begin: float
    end: float | None
    last: float
    amount: float

    @property
    def single(self) -> bool:
        """Whether it is one dose."""
        return self.last <= self.begin + TINY


def pieces_of(course: Course, x: np.ndarray) -> list[Piece]:
    """The doses of a course at x in pieces, nothing left out, by time."""
    times = np.asarray(course.times(x), float)
    amounts = np.asarray(course.amounts(x), float) * course.split
    ending = np.asarray(course.ending(x), float)
    if course.days:
        rows = zip(times, ending, amounts, strict=True)
        return [Piece(course, *map(float, (t, e, t, a))) for t, e, a in rows if a > _NOTHING and e - t > TINY]
    found: list[Piece] = []
    number = 0
    while number < course.count:
        amount, first = amounts[number], number
        while number + 1 < course.count and abs(amounts[number + 1] - amount) <= _SAME * max(abs(amount), _NOTHING):
            number += 1
        last, number = number, number + 1
        if amount <= _NOTHING:
            continue
        if last + 1 < course.count:
            end: float | None = float(times[last + 1])
        else:
            end = _over(course, x, float(ending[0])) if course.ends else None
        found.append(Piece(course, float(times[first]), end, float(times[last]), float(amount)))
    return found


def _over(course: Course, x: np.ndarray, ending: float) -> float:
    """When the last dose is over; a stop beyond the horizon as it is."""
    return ending if course.stop is None else max(ending, float(course.stop.at(x)))


def plan_pieces(template: Template, x: np.ndarray) -> list[Piece]:
    """The pieces of all orders; one that runs into the next order of its drug and route ends there."""
    found = [piece for course in template.courses for piece in pieces_of(course, x)]
    return [_cut(piece, found) for piece in found]


def _cut(piece: Piece, found: list[Piece]) -> Piece:
    """A part of a dose keeps its drug's clock from starting a second order inside its time."""
    same = (piece.course.order.drug, piece.course.order.route)
    later = [
        other.begin
        for other in found
        if other.course is not piece.course
        and (other.course.order.drug, other.course.order.route) == same
        and piece.last + TINY < other.begin
        and (piece.end is None or other.begin < piece.end)
    ]
    if not later:
        return piece
    return Piece(piece.course, piece.begin, min(later), piece.last, piece.amount)


def written(template: Template, x: np.ndarray) -> Regimen:
    """See `Template.regimen`."""
    base, name = template.base, template.problem.name
    doses, grafts = _orders(template, x)
    transplants = [
        _transplant(template, x, item.as_data(), own) for item, own in zip(base.transplants, grafts, strict=True)
    ]
    given = {order["drug"] for order in [*doses, *(order for own in grafts for order in own)]}
    whole = base.as_data()
    changed: dict[str, Any] = {
        "name": name,
        "description": f"{base.description} Doses and days found by optimisation of plan {name}.",
        "doses": doses,
        "transplants": transplants,
        "safety_limits": [limit for limit in whole.get("safety_limits", ()) if limit["drug"] in given],
    }
    return from_data(Regimen, whole | changed, where=name)


def _orders(template: Template, x: np.ndarray) -> tuple[Orders, list[Orders]]:
    """Orders of their own, and those of each transplant, as plain data."""
    pieces = plan_pieces(template, x)
    doses: Orders = []
    grafts: list[Orders] = [[] for _ in template.base.transplants]
    for course in template.courses:
        if as_it_stands(template, course, x):
            data = [course.order.dose.as_data()]
        else:
            origin = 0.0 if course.graft is None else _day_of(template, course.graft, x)
            data = [_order(piece, origin, template.problem.name) for piece in pieces if piece.course is course]
        (doses if course.graft is None else grafts[course.graft]).extend(data)
    return doses, grafts


def _day_of(template: Template, graft: int, x: np.ndarray) -> float:
    """The day of a transplant."""
    free = template.transplant is not None and bool(template.transplant.variables)
    if free and template.transplant is not None:
        return float(template.transplant.at(x))
    return template.base.transplants[graft].day


def _transplant(template: Template, x: np.ndarray, data: dict[str, Any], own: Orders) -> dict[str, Any]:
    free = template.transplant is not None and bool(template.transplant.variables)
    moved = {"day": _plain(_day_of(template, 0, x))} if free else {}
    return {**data, **moved, "prophylaxis": own}


def as_it_stands(template: Template, course: Course, x: np.ndarray) -> bool:
    """Whether the order of the start regimen gives the same doses, its transplant moved or not."""
    graft = template.transplant.variables if template.transplant is not None else ()
    if course.rewritten or not course.variables <= set(graft) or course.windows:
        return False
    shares = 1.0 if course.stop is None else np.asarray(course.share(x, course.stop))
    return bool(np.all((np.abs(shares) < _SAME) | (np.abs(shares - 1.0) < _SAME)))


def _order(piece: Piece, origin: float, plan: str) -> dict[str, Any]:
    course = piece.course
    dose, found = course.order.dose, dict[str, Any](drug=course.order.drug)
    found["amount"] = f"{piece.amount!r} {course.unit}"
    if dose.maximum is not None:
        found["maximum"] = f"{dose.maximum.value!r} {dose.maximum.unit}"
    found["route"] = dose.route
    if dose.infusion is not None:
        found["infusion"] = f"{dose.infusion!r} day"
    if dose.every is not None:
        found["every"] = f"{dose.every!r} day"
    else:
        found["at"] = list(dose.at)
        if dose.days_of_week:
            found["days_of_week"] = list(dose.days_of_week)
    found["start"] = _plain(piece.begin - origin)
    if piece.end is not None:
        found["stop"] = _plain(piece.end - origin)
    found["source"] = {"assumed": f"found by optimisation of plan {plan}"}
    return found


def _plain(day: float) -> float:
    return round(day, _DIGITS) + 0.0
