"""From a start regimen and the free quantities of a plan to variables and courses."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ipex_pd.errors import RecordError, UnitError
from ipex_pd.planning.template_courses import Course
from ipex_pd.planning.template_terms import TINY, Kind, Term, Variable
from ipex_pd.planning.template_windows import windows_of
from ipex_pd.records.orders import levels
from ipex_pd.records.plan_free import (
    FreeDays,
    FreeDose,
    FreeStart,
    FreeStop,
    TransplantDay,
    TransplantDonor,
    order_keys,
)
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import Order, administrations_of

Levels = Sequence[tuple[float, float]]


@dataclass
class Draft:
    """Variables and courses as they are put together.

    Attributes:
        problem, regimen: what is asked, and the start.
        variables, courses: so far.
        transplant: the day of the (first) transplant, None without one.
        notes: what the reader must know.
    """

    problem: PlanningProblem
    regimen: Regimen
    variables: list[Variable] = field(default_factory=list)
    courses: list[Course] = field(default_factory=list)
    transplant: Term | None = None
    notes: list[str] = field(default_factory=list)

    def add(
        self, name: str, unit: str, bounds: tuple[float, float], start: float, kind: Kind, order: int | None, entry: int
    ) -> Term:
        """A new variable as a term; a start outside its bounds is moved to the nearest, and told."""
        lower, upper = bounds
        kept = min(max(start, lower), upper)
        if abs(kept - start) > TINY:
            self.notes.append(f"{name} starts at {kept:g} {unit}; {start:g} of `{self.regimen.name}` is out of bounds.")
        self.variables.append(Variable(name, unit, lower, upper, kept, kind, order, entry))
        return Term(0.0, (len(self.variables) - 1,))

    def where(self, entry: int) -> str:
        """The place of an entry of `free`."""
        return f"{self.problem.name} free[{entry}]"

    def bounds(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """[n] lower and upper bounds and start values so far."""
        rows = np.array([(v.lower, v.upper, v.start) for v in self.variables]).reshape(-1, 3)
        return rows[:, 0], rows[:, 1], rows[:, 2]


@dataclass(frozen=True)
class Lines:
    """The lines of `free` about one order, with their places."""

    doses: tuple[tuple[int, FreeDose], ...] = ()
    start: tuple[int, FreeStart] | None = None
    stop: tuple[int, FreeStop] | None = None
    days: tuple[int, FreeDays] | None = None


def lines_of(problem: PlanningProblem, key: str) -> Lines:
    """What a plan frees of one order. Raises: RecordError."""
    found: dict[type, list[tuple[int, object]]] = {FreeDose: [], FreeStart: [], FreeStop: [], FreeDays: []}
    for entry, line in enumerate(problem.free):
        if type(line) in found and getattr(line, "order", None) == key:
            found[type(line)].append((entry, line))
    for kind, name in ((FreeStart, "start"), (FreeStop, "stop"), (FreeDays, "days")):
        if len(found[kind]) > 1:
            raise RecordError(
                f"the {name} of `{key}` is free twice",
                where=f"{problem.name} free[{found[kind][1][0]}]",
                rule="A quantity is freed once",
                cure="Take one of the lines out",
            )
    single = {kind: (items[0] if items else None) for kind, items in found.items()}
    return Lines(tuple(found[FreeDose]), single[FreeStart], single[FreeStop], single[FreeDays])  # type: ignore[arg-type]


def draft(problem: PlanningProblem, regimen: Regimen, frozen: Mapping[int, Levels]) -> Draft:
    """All variables and courses of a regimen.

    Args:
        problem: what is free; lines about orders that the regimen does not have are passed over.
        regimen: the start.
        frozen: index of a titrated order -> (days since its start, amount in its unit) that stand for its titration.

    Raises:
        RecordError: what is asked and cannot be honoured.
    """
    made = Draft(problem, regimen)
    _transplant(made)
    for key, order in order_keys(regimen).items():
        made.courses.append(_course(made, key, order, lines_of(problem, key), frozen.get(order.index)))
    made.courses = [_until_next(made, course) for course in made.courses]
    for place, course in enumerate(made.courses):
        own = lines_of(problem, course.key)
        found = tuple(
            windows_of(made, course, entry, line, _origin(made, course.graft, line.anchor or "start"))
            for entry, line in own.doses
        )
        made.courses[place] = replace(course, windows=tuple(w for w in found if w.begins))
    return made


def _transplant(made: Draft) -> None:
    days = [transplant.day for transplant in made.regimen.transplants]
    found = [(entry, line) for entry, line in enumerate(made.problem.free) if isinstance(line, TransplantDay)]
    if not found or not days:
        made.transplant = Term(days[0]) if days else None
        return
    entry, line = found[0]
    if len(days) != 1:
        raise RecordError(
            f"`{made.regimen.name}` has {len(days)} transplants",
            where=made.where(entry),
            rule="The day of a single transplant can be free",
            cure="Start from a regimen with one transplant, or take the line out",
        )
    before = _days_before(made.regimen)
    earliest = max(line.earliest, _donor_from(made.problem, made.regimen))
    if earliest < before:
        raise RecordError(
            f"a transplant may come on day {earliest:g}, and an order begins {before:g} days before it",
            where=made.where(entry),
            rule="Nothing is given before day 0",
            cure=f"Write `earliest: {before:g}` or later",
        )
    if earliest >= line.latest:
        raise RecordError(
            f"the donor is there from day {earliest:g}, and the transplant comes until day {line.latest:g}",
            where=made.where(entry),
            rule="A free day has room",
            cure="Raise `latest`, or take the donor out",
        )
    made.transplant = made.add("transplant day", "day", (earliest, line.latest), days[0], "transplant", None, entry)


def _until_next(made: Draft, course: Course) -> Course:
    """A freed order without an end gives way to the next order of its drug and route."""
    if course.ends or not course.count:
        return course
    x = made.bounds()[2]
    way = (course.order.drug, course.order.route)
    later = [
        other.start
        for other in made.courses
        if (other.order.drug, other.order.route) == way and other.start.at(x) > course.start.at(x) + TINY
    ]
    if not later:
        return course
    cut = replace(course, stop=min(later, key=lambda term: float(term.at(x))))
    offsets, gaps = _rhythm(made, cut)
    return replace(cut, offsets=offsets, gaps=gaps)


def _days_before(regimen: Regimen) -> float:
    """How long before the transplant the first order that counts from it begins."""
    own = len(regimen.doses)
    begins = [o.dose.start.day for o in regimen.orders if o.index >= own or o.dose.start.anchor == "transplant"]
    return max(0.0, -min(begins, default=0.0))


def _donor_from(problem: PlanningProblem, regimen: Regimen) -> float:
    donor = regimen.transplants[0].donor
    choices = [choice for line in problem.free if isinstance(line, TransplantDonor) for choice in line.among]
    return max((choice.available for choice in choices if choice.donor == donor), default=0.0)


def _course(made: Draft, key: str, order: Order, own: Lines, frozen: Levels | None) -> Course:
    _refuse(made, key, order, own, frozen)
    dose = order.dose
    graft = _graft_of(made.regimen, order)
    start = _start(made, key, order, own, graft)
    stop = _stop(made, key, order, own, graft, start)
    course = Course(
        order=order,
        key=key,
        basis=dose.amount.basis,
        per_day=dose.amount.per_day,
        graft=graft,
        start=start,
        offsets=np.zeros(0),
        gaps=np.zeros(0),
        days=(),
        stop=stop,
        levels=tuple(frozen if frozen is not None else levels(dose)),
        windows=(),
        loading=dose.loading.count if dose.loading else 0,
        loading_amount=_loading(order),
        rewritten=frozen is not None,
    )
    if own.days is not None:
        return _free_days(made, course, *own.days)
    offsets, gaps = _rhythm(made, course)
    return replace(course, offsets=offsets, gaps=gaps)


def _loading(order: Order) -> float:
    loading, dose = order.dose.loading, order.dose
    if loading is None:
        return 0.0
    return loading.amount.per_dose(dose.split) * (dose.split if dose.amount.per_day else 1.0)


def _graft_of(regimen: Regimen, order: Order) -> int | None:
    place = order.index - len(regimen.doses)
    if place < 0:
        return None
    for number, transplant in enumerate(regimen.transplants):
        if place < len(transplant.prophylaxis):
            return number
        place -= len(transplant.prophylaxis)
    return None


def _refuse(made: Draft, key: str, order: Order, own: Lines, frozen: Levels | None) -> None:
    """Refuse what a schedule that is settled beforehand cannot do."""
    throughout = any(line.first is None and line.until is None for _, line in own.doses)
    if order.titration is not None and not throughout and frozen is None:
        raise RecordError(
            f"`{key}` of `{made.regimen.name}` follows its trough level",
            where=made.problem.name,
            rule="The doses of a plan are settled beforehand",
            cure=f"Free its dose from its start to its end (`dose: {key}`), or take `target_trough` out of the regimen",
        )
    for entry, line in own.doses:
        if line.highest.unit != order.dose.amount.unit:
            raise UnitError(
                f"`{line.highest}` beside an order in `{order.dose.amount.unit}`",
                where=made.where(entry),
                rule="Bounds are in the unit of the order",
                cure=f"Write them in `{order.dose.amount.unit}`",
            )
    times = own.start or own.stop or own.days
    if times is not None:
        _refuse_times(made, key, order, own, times[0])


def _refuse_times(made: Draft, key: str, order: Order, own: Lines, entry: int) -> None:
    where, dose = made.where(entry), order.dose
    if dose.every is None:
        raise RecordError(
            f"`{key}` is given at clock times, and its days are free",
            where=where,
            rule="Days are free for orders with `every`",
            cure="Write `every: 12 h` in the start regimen",
        )
    if own.days is not None and (own.start is not None or own.stop is not None):
        raise RecordError(
            f"the days of `{key}` are free, and its start or stop besides",
            where=where,
            rule="The days of all doses say when it starts and stops",
            cure="Take one of the lines out",
        )
    if own.days is not None and dose.count is None:
        raise RecordError(
            f"the days of `{key}` are free, and it has no `count`",
            where=where,
            rule="The number of doses is fixed",
            cure="Write `count` in the start regimen",
        )
    if own.stop is not None and dose.count is not None:
        raise RecordError(
            f"the stop of `{key}` is free, and it has a `count`",
            where=where,
            rule="An order ends by one of them",
            cure="Take `count` out of the start regimen, or free its days",
        )


def _origin(made: Draft, graft: int | None, anchor: str) -> Term:
    """From where days count: the transplant for prophylaxis and where they say so, else day 0."""
    if graft is not None and made.transplant is not None:
        day = made.regimen.transplants[graft].day
        return made.transplant if made.transplant.variables else Term(day)
    return made.transplant if anchor == "transplant" and made.transplant is not None else Term(0.0)


def _joined(origin: Term, own: Term) -> Term:
    return Term(origin.constant + own.constant, tuple(sorted((*origin.variables, *own.variables))))


def _after(graft: int | None, anchor: str) -> str:
    return " after the transplant" if graft is not None or anchor == "transplant" else ""


def _start(made: Draft, key: str, order: Order, own: Lines, graft: int | None) -> Term:
    moment = order.dose.start
    if own.start is None:
        moving = made.transplant is not None and bool(made.transplant.variables)
        if moving and (graft is not None or moment.anchor == "transplant"):
            return _origin(made, graft, "transplant").plus(moment.day)
        return Term(order.start)
    entry, line = own.start
    origin = _origin(made, graft, line.earliest.anchor)
    now = order.start - float(origin.at(made.bounds()[2]))
    name = f"{key} start{_after(graft, line.earliest.anchor)}"
    bounds = (line.earliest.day, line.latest.day)
    return _joined(origin, made.add(name, "day", bounds, now, "start", order.index, entry))


def _stop(made: Draft, key: str, order: Order, own: Lines, graft: int | None, start: Term) -> Term | None:
    dose = order.dose
    if own.stop is not None:
        entry, line = own.stop
        origin = _origin(made, graft, line.earliest.anchor)
        end = order.stop if math.isfinite(order.stop) else made.problem.horizon
        now = end - float(origin.at(made.bounds()[2]))
        name = f"{key} stop{_after(graft, line.earliest.anchor)}"
        bounds = (line.earliest.day, line.latest.day)
        return _joined(origin, made.add(name, "day", bounds, now, "stop", order.index, entry))
    if own.days is not None or dose.count is not None:
        return None
    stated = None if dose.stop is None else _origin(made, graft, dose.stop.anchor).plus(dose.stop.day)
    lasting, final = levels(dose)[-1]
    if own.doses or final > 0:
        return stated
    tapered = start.plus(lasting)
    apart = None if stated is None else stated.since(tapered)
    return tapered if apart is None or apart > 0 else stated


def _free_days(made: Draft, course: Course, entry: int, line: FreeDays) -> Course:
    """Every dose with a day of its own; days count from `start`."""
    dose = course.order.dose
    assert dose.count is not None
    assert dose.every is not None
    origin = _origin(made, course.graft, line.earliest.anchor)
    first = course.order.start - float(origin.at(made.bounds()[2]))
    gap = max(dose.every, line.apart)
    room = line.latest.day - line.earliest.day - line.apart * (dose.count - 1)
    if room < -TINY:
        raise RecordError(
            f"{dose.count} doses of `{course.key}` at least {line.apart:g} days apart do not fit",
            where=made.where(entry),
            rule=f"They come from day {line.earliest.day:g} to day {line.latest.day:g}",
            cure="Raise `latest`, or lower `apart`",
        )
    begin = min(max(first, line.earliest.day), line.latest.day - line.apart * (dose.count - 1))
    spacing = min(gap, (line.latest.day - begin) / max(1, dose.count - 1))
    places: list[int] = []
    for number in range(dose.count):
        bounds = (line.earliest.day, line.latest.day)
        name = f"{course.key} day of dose {number + 1}{_after(course.graft, line.earliest.anchor)}"
        term = made.add(name, "day", bounds, begin + number * spacing, "day", course.order.index, entry)
        places += term.variables
    rows = np.arange(dose.count) * dose.every
    return replace(course, start=origin, offsets=rows, gaps=np.full(dose.count, dose.every), days=tuple(places))


def _rhythm(made: Draft, course: Course) -> tuple[np.ndarray, np.ndarray]:
    """Offsets and gaps of all doses that may come before the horizon and the latest stop."""
    lower, upper, _ = made.bounds()
    dose, begin = course.order.dose, course.start.lowest(lower)
    length = made.problem.horizon - begin
    if course.stop is not None:
        apart = course.stop.since(course.start)
        length = min(length, apart if apart is not None else course.stop.highest(upper) - begin)
    if dose.every is not None:
        number = max(0, math.ceil((length - TINY) / dose.every))
        number = number if dose.count is None else dose.count
        return np.arange(number) * dose.every, np.full(number, dose.every)
    return _clock_rows(made, course, length)


def _clock_rows(made: Draft, course: Course, length: float) -> tuple[np.ndarray, np.ndarray]:
    if course.start.variables:
        raise RecordError(
            f"`{course.key}` is given at clock times and moves with the transplant",
            where=made.problem.name,
            rule="What moves has `every`",
            cure="Write `every: 12 h` in the start regimen",
        )
    order = replace(course.order, stop=math.inf)
    ahead = [row.time - order.start for row in administrations_of(order, order.start + length + 8.0)]
    if course.order.dose.count is not None:
        every = [row.time - order.start for row in administrations_of(order, course.order.stop + 8.0)]
        number, ahead = course.order.dose.count, every
    else:
        number = sum(time < length - TINY for time in ahead)
    times = np.array(ahead)
    return times[:number], np.diff(times)[:number]
