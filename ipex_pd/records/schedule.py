"""From orders to explicit rows: when, how much, which trough samples. Plain Python, no body size needed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ipex_pd.records.dosing import Basis, Moment
from ipex_pd.records.drugs import Route
from ipex_pd.records.orders import Dose, Transplant, levels
from ipex_pd.records.record import fault

_TINY = 1e-9


@dataclass(frozen=True)
class Order:
    """An order with its days counted from the start of the regimen.

    Attributes:
        index: position among the regimen's orders.
        dose: as written.
        start, stop: first day, and the day from which nothing is given any more (infinite when it goes on).
        titration: index of its trough target, None without one.
    """

    index: int
    dose: Dose
    start: float
    stop: float
    titration: int | None

    @property
    def drug(self) -> str:
        """The drug ordered."""
        return self.dose.drug

    @property
    def route(self) -> Route:
        """How it is given."""
        return self.dose.route

    @property
    def basis(self) -> Basis:
        """`mg`, `mg/kg` or `mg/m2`."""
        return self.dose.amount.basis

    @property
    def maximum_mg(self) -> float | None:
        """Largest single dose [mg]."""
        maximum = self.dose.maximum
        return maximum.per_dose(self.dose.split) if maximum else None

    @property
    def given(self) -> bool:
        """Whether anything is given: an order that ends at a transplant may end before it starts."""
        return self.stop > self.start + _TINY


@dataclass(frozen=True)
class Administration:
    """One dose given, or the end of an order (amount 0, per_day 0).

    Attributes:
        order: index of the order.
        drug, route, basis: what, how, and the unit of `amount`.
        time: [day].
        amount: [mg, mg/kg or mg/m2].
        maximum_mg: largest single dose [mg], None without one.
        duration: of an infusion [day], 0 for a bolus or a dose by mouth.
        per_day: administrations a day of this order from here on.
        titration: index of the trough target, None without one.
    """

    order: int
    drug: str
    route: Route
    time: float
    amount: float
    basis: Basis
    maximum_mg: float | None
    duration: float
    per_day: float
    titration: int | None


@dataclass(frozen=True)
class Titration:
    """A trough target with its samples.

    Attributes:
        index, order, drug: which.
        low, high, target: [mg/L].
        smallest, largest: limits of the dose as multiples of the ordered amount.
        largest_step: the most by which one adjustment multiplies or divides the dose.
        sample_times: [day], each at a dose and before it.
    """

    index: int
    order: int
    drug: str
    low: float
    high: float
    target: float
    smallest: float
    largest: float
    largest_step: float
    sample_times: tuple[float, ...]


def orders(doses: Sequence[Dose], transplants: Sequence[Transplant]) -> tuple[Order, ...]:
    """Doses, then each transplant's prophylaxis, with their days counted from the start."""
    anchor = min((t.day for t in transplants), default=0.0)
    found: list[Order] = []
    for dose in doses:
        _add(found, dose, anchor, 0.0)
    for transplant in transplants:
        for dose in transplant.prophylaxis:
            _add(found, dose, anchor, transplant.day)
    return tuple(found)


def _add(found: list[Order], dose: Dose, anchor: float, shift: float) -> None:
    start = max(0.0, _day(dose.start, anchor) + shift)
    stop = _day(dose.stop, anchor) + shift if dose.stop is not None else math.inf
    rows = levels(dose)
    if rows[-1][1] == 0:
        stop = min(stop, start + rows[-1][0])
    if dose.count is not None:
        stop = min(stop, _end_of_count(dose, start, dose.count))
    titrations = sum(order.titration is not None for order in found)
    found.append(Order(len(found), dose, start, stop, titrations if dose.target_trough else None))


def _day(moment: Moment, anchor: float) -> float:
    return moment.day + (anchor if moment.anchor == "transplant" else 0.0)


def _end_of_count(dose: Dose, start: float, count: int) -> float:
    times = _times(dose, start)
    for _ in range(count):
        next(times)
    return next(times)


def _times(dose: Dose, start: float) -> Iterator[float]:
    """Dose times without end."""
    if dose.every is not None:
        number = 0
        while True:
            yield start + number * dose.every
            number += 1
    day = math.floor(start)
    while True:
        if dose.given_on(day):
            yield from (day + clock for clock in dose.clock if day + clock >= start - _TINY)
        day += 1


def administrations_of(order: Order, until_day: float) -> Iterator[Administration]:
    """The rows of one order before a day."""
    if not order.given:
        return
    dose, rows, per_day = order.dose, levels(order.dose), order.dose.doses_a_day
    for number, time in enumerate(_times(dose, order.start)):
        if time >= min(order.stop, until_day) - _TINY:
            break
        yield _row(order, time, _amount(dose, rows, number, time - order.start), per_day)
    if order.stop < until_day:
        yield _row(order, order.stop, 0.0, 0.0)


def _amount(dose: Dose, rows: list[tuple[float, float]], number: int, since: float) -> float:
    if dose.loading is not None and number < dose.loading.count:
        return dose.loading.amount.per_dose(dose.split)
    level = [value for day, value in rows if day <= since + _TINY][-1]
    return dose.amount._replace(value=level).per_dose(dose.split)


def _row(order: Order, time: float, amount: float, per_day: float) -> Administration:
    return Administration(
        order=order.index,
        drug=order.drug,
        route=order.route,
        time=time,
        amount=amount,
        basis=order.basis,
        maximum_mg=order.maximum_mg,
        duration=(order.dose.infusion or 0.0) if amount else 0.0,
        per_day=per_day,
        titration=order.titration,
    )


def administrations(found: Sequence[Order], until_day: float) -> list[Administration]:
    """All rows before a day, by time; at one time ends come first, then orders in their order."""
    rows = [row for order in found for row in administrations_of(order, until_day)]
    return sorted(rows, key=lambda row: (row.time, row.amount > 0, row.order))


def titrations(found: Sequence[Order], until_day: float) -> list[Titration]:
    """Trough targets with samples before a day; sampling ends where a taper begins."""
    return [_titration(order, until_day) for order in found if order.titration is not None]


def _titration(order: Order, until_day: float) -> Titration:
    aim, amount = order.dose.target_trough, order.dose.amount.value
    assert aim is not None
    assert order.titration is not None
    steps = levels(order.dose)
    end = min(order.stop, until_day, order.start + steps[1][0] if len(steps) > 1 else math.inf)
    times = [row.time for row in administrations_of(order, end) if row.amount > 0]
    return Titration(
        index=order.titration,
        order=order.index,
        drug=order.drug,
        low=aim.low_mg_l,
        high=aim.high_mg_l,
        target=aim.target_mg_l,
        smallest=aim.smallest_dose.value / amount,
        largest=aim.largest_dose.value / amount,
        largest_step=aim.largest_step,
        sample_times=tuple(_samples(order, times, end)),
    )


def _samples(order: Order, times: Sequence[float], end: float) -> Iterator[float]:
    aim = order.dose.target_trough
    assert aim is not None
    wished = list(aim.sampling_days)
    while aim.then_every is not None and order.start + wished[-1] < end:
        wished.append(wished[-1] + aim.then_every)
    previous, position = -math.inf, 0
    for day in wished:
        while position < len(times) and times[position] < order.start + day - _TINY:
            position += 1
        if position < len(times) and times[position] > previous:
            previous = times[position]
            yield previous


def check_overlap(found: Sequence[Order]) -> None:
    """Refuse one drug ordered twice at once by one route. Raises (for pydantic): RecordError."""
    for i, left in enumerate(found):
        for right in found[i + 1 :]:
            same = (left.drug, left.route) == (right.drug, right.route) and left.given and right.given
            begin = max(left.start, right.start)
            if same and begin < min(left.stop, right.stop) - _TINY:
                way = "by mouth" if left.route == "oral" else "intravenously"
                raise fault(
                    f"`{left.drug}` {way} is ordered twice at once, from day {begin:g}",
                    rule="One order of a drug and route runs at a time",
                    cure="Let the first stop before the second starts",
                )
