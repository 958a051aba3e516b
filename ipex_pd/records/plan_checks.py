"""Whether the parts of a plan fit each other and the regimens it names: a list of named checks, all faults at once."""

from __future__ import annotations

from collections.abc import Iterator

from ipex_pd.errors import IpexError, UnitError, UnknownKeyError, nearest_hint
from ipex_pd.records.dosing import Moment
from ipex_pd.records.plan_check_limits import LIMIT_CHECKS
from ipex_pd.records.plan_free import (
    PROPHYLAXIS,
    FreeDays,
    FreeDose,
    FreeInterval,
    FreeOrder,
    FreeStart,
    FreeStop,
    FreeTransplant,
    TransplantConditioning,
    TransplantDay,
    TransplantDonor,
)
from ipex_pd.records.plan_names import name_faults, records_of
from ipex_pd.records.plan_view import Check, Placed, PlanView, Problem, finite
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.wording import duration_in_words
from ipex_pd.records.yamlfile import Document, first

_TINY = 1e-9
_TWICE = "A quantity is free once"


def plan_faults(problem: PlanningProblem, document: Document) -> list[IpexError]:
    """Everything that does not fit, as errors that name file and line; names that lead nowhere come first, alone."""
    faults = name_faults(problem, document)
    if faults:
        return faults
    view = PlanView(problem, records_of(problem))
    for check in CHECKS:
        for place, what, rule, cure, kind in check.find(view):
            faults.append(kind(what, code=check.code, where=document.where(place), rule=rule, cure=cure))
        if faults and check.code == "plan.unknown-order":
            return faults
    return faults


def require_sound_plan(problem: PlanningProblem) -> None:
    """Refuse a plan with faults, however it was made.

    Raises:
        RecordError: the first fault, with its place in the plan.
    """
    faults = plan_faults(problem, Document(f"plan `{problem.name}`", problem.as_data(), {}))
    if faults:
        raise first(faults)


def _unknown_orders(view: PlanView) -> Iterator[Problem]:
    for index, line in enumerate(view.problem.free):
        if isinstance(line, FreeOrder) and not view.placed(line.order):
            what = f"`{line.order}` is not an order of `{view.records.start.name}`"
            what += " or of an alternative" if view.records.alternatives else ""
            cure = "Rename it, or add the order to the regimen"
            yield Problem(("free", index, line.key), what, nearest_hint(line.order, view.keys), cure, UnknownKeyError)


def _nothing_free(view: PlanView) -> Iterator[Problem]:
    places = [("start",), *((("alternatives", i)) for i in range(len(view.records.alternatives)))]
    for place, regimen in zip(places, view.records.regimens, strict=True):
        if not view.problem.free_in(regimen):
            rule, cure = "Something is free in every regimen of a plan", "Free a dose of it, or take it out"
            yield Problem(place, f"nothing of `{regimen.name}` is free", rule, cure)


def _units(view: PlanView) -> Iterator[Problem]:
    for index, line in view.free(FreeDose):
        for placed in view.placed(line.order):
            unit = placed.order.dose.amount.unit
            if line.lowest.unit != unit:
                what = f"`{line.lowest}` beside an order in `{unit}` (`{placed.regimen.name}`)"
                cure = f"Write it in `{unit}`, or write the order of the regimen in `{line.lowest.unit}`"
                yield Problem(("free", index, "lowest"), what, "Bounds are in the unit of the order", cure, UnitError)


def _twice(view: PlanView) -> Iterator[Problem]:
    seen: list[FreeOrder | FreeTransplant] = []
    for index, line in enumerate(view.problem.free):
        for other in seen:
            if isinstance(line, FreeOrder) and isinstance(other, FreeOrder):
                if line.order == other.order and _same(view, line, other):
                    what = f"`{line.key}` and `{other.key}` of `{line.order}` are free"
                    what = f"the {line.key} of `{line.order}` is free twice" if line.key == other.key else what
                    yield Problem(("free", index), what, _TWICE, "Take one of the lines out")
            elif line.key == other.key:
                what = f"the {line.key.removeprefix('transplant ')} of transplant is free twice"
                yield Problem(("free", index), what, _TWICE, "Take one of the lines out")
        seen.append(line)


def _same(view: PlanView, line: FreeOrder, other: FreeOrder) -> bool:
    """Whether two lines about one order free the same: doses in one time, or days beside what days settle."""
    if isinstance(line, FreeDose) and isinstance(other, FreeDose):
        return any(_overlap(view, placed, line, other) for placed in view.placed(line.order))
    of_days = (FreeDays, FreeStart, FreeStop, FreeInterval)
    if isinstance(line, FreeDays) or isinstance(other, FreeDays):
        return isinstance(line, of_days) and isinstance(other, of_days)
    return line.key == other.key


def _overlap(view: PlanView, placed: Placed, line: FreeDose, other: FreeDose) -> bool:
    spans = [_span(view, placed, dose) for dose in (line, other)]
    return max(spans[0][0], spans[1][0]) < min(spans[0][1], spans[1][1]) - _TINY


def _span(view: PlanView, placed: Placed, line: FreeDose) -> tuple[float, float]:
    """First day and end of a free dose, in days of the regimen."""
    start, end = placed.order.start, placed.end(view.problem.horizon)
    start = max(start, placed.day_of(line.first)) if line.first is not None else start
    return start, min(end, placed.day_of(line.until)) if line.until is not None else end


def _periods(view: PlanView) -> Iterator[Problem]:
    for index, line in view.free(FreeDose):
        for placed in view.placed(line.order):
            place = ("free", index)
            if _from_transplant(line) and not _may_count(placed):
                yield _miscounted(placed, (*place, "changes_on"))
                continue
            start, end = _span(view, placed, line)
            if end <= start + _TINY:
                what = f"the free time of `{line.order}` in `{placed.regimen.name}` is empty"
                rule = f"It goes from day {start:g} to day {end:g}"
                yield Problem(place, what, rule, "Change `from` and `until`, or the order")
            elif line.changes_every is not None and start + line.changes_every > end + _TINY:
                what = f"a period of {duration_in_words(line.changes_every)} in {duration_in_words(end - start)}"
                rule, cure = "The free time holds one period at least", "Shorten the period, or leave it out"
                yield Problem((*place, "changes_every"), what, rule, cure)
            yield from _idle_changes(placed, line, place, (start, end))


def _from_transplant(line: FreeDose) -> bool:
    return line.anchor == "transplant"


def _idle_changes(
    placed: Placed, line: FreeDose, place: tuple[str | int, ...], span: tuple[float, float]
) -> Iterator[Problem]:
    moving = placed.order.dose.stop is not None and placed.order.dose.stop.anchor == "transplant"
    for number, moment in enumerate(line.changes_on):
        day = placed.day_of(moment)
        late = day >= span[1] - _TINY and not moving
        if late or day < span[0] - _TINY:
            what = f"a change of `{line.order}` on {moment}, out of its free time"
            rule = f"In `{placed.regimen.name}` it goes from day {span[0]:g} to day {span[1]:g}"
            yield Problem((*place, "changes_on", number), what, rule, "Take the day out")


def _may_count(placed: Placed) -> bool:
    """Whether a day may be written as counted from the transplant."""
    return bool(placed.regimen.transplants) and not placed.key.startswith(PROPHYLAXIS)


def _miscounted(placed: Placed, place: tuple[str | int, ...]) -> Problem:
    if placed.key.startswith(PROPHYLAXIS):
        rule = "Days of a prophylaxis count from the transplant already"
        return Problem(place, "`transplant` in a line about prophylaxis", rule, "Write the number of days alone")
    what = f"a day that counts from the transplant, and `{placed.regimen.name}` has none"
    return Problem(place, what, "Then days count from the start", "Write the day of the regimen")


def _days(view: PlanView) -> Iterator[Problem]:
    """Free starts, stops and days: fit to their orders, inside the horizon."""
    horizon = view.problem.horizon
    for index, line in enumerate(view.problem.free):
        if not isinstance(line, FreeStart | FreeStop | FreeDays):
            continue
        for placed in view.placed(line.order):
            if line.earliest.anchor == "transplant" and not _may_count(placed):
                yield _miscounted(placed, ("free", index, "earliest"))
                continue
            earliest, latest = placed.day_of(line.earliest), placed.day_of(line.latest)
            if latest > horizon + _TINY:
                what, rule = f"`latest` is day {latest:g} of the regimen", f"The horizon is day {horizon:g}"
                yield Problem(("free", index, "latest"), what, rule, "Lower it, or lengthen the horizon")
            if earliest < -_TINY:
                what, rule = f"`earliest` is day {earliest:g} of the regimen", "Nothing is given before day 0"
                yield Problem(("free", index, "earliest"), what, rule, "Raise it")
            yield from _rhythm(placed, line, index)


def _rhythm(placed: Placed, line: FreeStart | FreeStop | FreeDays, index: int) -> Iterator[Problem]:
    dose, place = placed.order.dose, ("free", index, line.key)
    name = f"`{line.order}` of `{placed.regimen.name}`"
    if dose.every is None:
        rule, cure = "Days are free for orders with `every`", "Write `every: 12 h` in the regimen"
        yield Problem(place, f"{name} is given at clock times", rule, cure)
    if isinstance(line, FreeStop) and dose.count is not None:
        cure = "Take `count` out of the regimen, or free its `days`"
        yield Problem(place, f"the stop of {name} is free, and it has a `count`", "An order ends by one of them", cure)
    if isinstance(line, FreeDays) and dose.count is None:
        cure = "Write `count` in the regimen"
        yield Problem(place, f"{name} has no `count`", "Days are free of a known number of doses", cure)
    if isinstance(line, FreeDays) and dose.count is not None:
        room = line.latest.day - line.earliest.day
        if room < line.apart * (dose.count - 1) - _TINY:
            what = f"{dose.count} doses at least {duration_in_words(line.apart)} apart in {duration_in_words(room)}"
            yield Problem(("free", index), what, "The doses find room", "Raise `latest`, or lower `apart`")


def _intervals(view: PlanView) -> Iterator[Problem]:
    for index, line in view.free(FreeInterval):
        for placed in view.placed(line.order):
            dose, place = placed.order.dose, ("free", index)
            name = f"`{line.order}` of `{placed.regimen.name}`"
            if dose.every is None:
                rule, cure = "Clock times fix the interval", "Write `every: 12 h` in the regimen"
                yield Problem((*place, "interval"), f"{name} is given at clock times", rule, cure)
                continue
            if all(abs(span - dose.every) > _TINY for span in line.among):
                what = f"{name} is given every {duration_in_words(dose.every)}"
                rule, cure = "The interval of the regimen is one of the choices", "Add it"
                yield Problem((*place, "among"), what, rule, cure)
            for number, span in enumerate(line.among):
                if dose.amount.per_day and span > 1 + _TINY:
                    what = f"{name} is an amount a day, and doses {duration_in_words(span)} apart"
                    rule, cure = "Then the amount of one dose must be said", f"Order it in `{dose.amount.basis}`"
                    yield Problem((*place, "among", number), what, rule, cure)


def _transplants(view: PlanView) -> Iterator[Problem]:
    regimens, horizon = view.records.regimens, view.problem.horizon
    for index, line in enumerate(view.problem.free):
        if not isinstance(line, FreeTransplant):
            continue
        place = ("free", index)
        if not any(regimen.transplants for regimen in regimens):
            cure = "Begin from a regimen with a transplant, such as `transplant_early_reduced`"
            yield Problem(place, f"the {line.transplant} of a transplant that there is not", "It has one", cure)
        for regimen in regimens:
            if len(regimen.transplants) > 1:
                rule = "What is free about a transplant is about a single one"
                yield Problem(place, f"`{regimen.name}` has {len(regimen.transplants)} transplants", rule)
        if isinstance(line, TransplantDay) and line.latest >= horizon:
            what, rule = f"`latest` is day {line.latest:g}", f"The horizon, day {horizon:g}, is after the transplant"
            yield Problem((*place, "latest"), what, rule, "Lower it, or lengthen the horizon")
        if isinstance(line, TransplantDonor):
            yield from _donors(view, line, place)


def _donors(view: PlanView, line: TransplantDonor, place: tuple[str | int, ...]) -> Iterator[Problem]:
    free = view.problem.transplant_day
    for number, choice in enumerate(line.among):
        if free is not None and choice.available >= free.latest:
            what = f"the {choice.donor} donor is there from day {choice.available:g}"
            rule, cure = f"The transplant comes before day {free.latest:g}", "Raise `latest`, or take the donor out"
            yield Problem((*place, "among", number), what, rule, cure)
        for regimen in view.records.regimens:
            fixed = [t.day for t in regimen.transplants if t.day < choice.available - _TINY]
            if free is None and fixed:
                what = (
                    f"the {choice.donor} donor is there from day {choice.available:g}, the transplant on {fixed[0]:g}"
                )
                cure = "Free the day: `{transplant: day, earliest: ..., latest: ...}`"
                yield Problem((*place, "among", number), what, "No transplant without its donor", cure)


def _starts(view: PlanView) -> Iterator[Problem]:
    """What the regimens say now lies inside what is free."""
    for index, line in enumerate(view.problem.free):
        place = ("free", index)
        if isinstance(line, FreeTransplant):
            yield from _transplant_now(view, line, place)
            continue
        for placed in view.placed(line.order):
            if isinstance(line, FreeDose):
                yield from _dose_now(view, placed, line, place)
            elif isinstance(line, FreeStart | FreeStop | FreeDays):
                yield from _day_now(view, placed, line, place)


def _dose_now(view: PlanView, placed: Placed, line: FreeDose, place: tuple[str | int, ...]) -> Iterator[Problem]:
    unit = placed.order.dose.amount.unit
    if line.lowest.unit != unit or (_from_transplant(line) and not _may_count(placed)):
        return
    start, end = _span(view, placed, line)
    shift = placed.day_of(Moment(0.0, "transplant" if _from_transplant(line) else "start"))
    for day in line.periods(start - shift, end - shift):
        now = placed.amount_on(day + shift)
        if not line.lowest.value - _TINY <= now <= line.highest.value + _TINY:
            side, key = ("below", "lowest") if now < line.lowest.value else ("above", "highest")
            what = f"`{placed.regimen.name}` gives {now:.3g} {unit} of `{line.order}` on day {day + shift:g}"
            rule = f"A plan begins inside its bounds, and that is {side} {getattr(line, key)}"
            yield Problem((*place, key), what, rule, f"Change `{key}`, or begin from another dose")
            return


def _day_now(
    view: PlanView, placed: Placed, line: FreeStart | FreeStop | FreeDays, place: tuple[str | int, ...]
) -> Iterator[Problem]:
    if line.earliest.anchor == "transplant" and not _may_count(placed):
        return
    order = placed.order
    now = [("begins", order.start)] if not isinstance(line, FreeStop) else []
    now += [("stops", finite(order.stop, view.problem.horizon))] if isinstance(line, FreeStop) else []
    if isinstance(line, FreeDays) and order.dose.count is not None and order.dose.every is not None:
        now.append(("is given last", order.start + (order.dose.count - 1) * order.dose.every))
    for word, day in now:
        if placed.day_of(line.earliest) - _TINY <= day <= placed.day_of(line.latest) + _TINY:
            continue
        what = f"`{line.order}` of `{placed.regimen.name}` {word} on day {day:g}"
        rule = f"A plan begins inside its bounds, from {line.earliest} to {line.latest}"
        yield Problem(place, what, rule, "Widen them, or change the day in the regimen")


def _transplant_now(view: PlanView, line: FreeTransplant, place: tuple[str | int, ...]) -> Iterator[Problem]:
    for regimen in view.records.regimens:
        for transplant in regimen.transplants:
            if isinstance(line, TransplantDay):
                inside, now = line.earliest <= transplant.day <= line.latest, f"on day {transplant.day:g}"
            elif isinstance(line, TransplantConditioning):
                inside, now = transplant.conditioning in line.among, f"with {transplant.conditioning} conditioning"
            else:
                donors = [choice.donor for choice in line.among]
                inside, now = transplant.donor in donors, f"from a {transplant.donor} donor"
            if not inside:
                rule, cure = "A plan begins inside its bounds or choices", "Widen them, or begin from another regimen"
                yield Problem(place, f"the transplant of `{regimen.name}` is {now}", rule, cure)


def _timing(view: PlanView) -> Iterator[Problem]:
    if view.problem.timing is not None and not any(regimen.transplants for regimen in view.records.regimens):
        cure = "Begin from a regimen with a transplant, or take `timing` out"
        yield Problem(("timing",), "the timing of a transplant that there is not", "A regimen has one", cure)


CHECKS: tuple[Check, ...] = (
    Check("plan.unknown-order", _unknown_orders),
    Check("plan.nothing-free", _nothing_free),
    Check("plan.unit", _units),
    Check("plan.twice", _twice),
    Check("plan.period", _periods),
    Check("plan.day", _days),
    Check("plan.interval", _intervals),
    Check("plan.transplant", _transplants),
    Check("plan.start-outside", _starts),
    Check("plan.timing", _timing),
    *LIMIT_CHECKS,
)
"""Every check, in the order in which faults are told."""
