"""What a plan leaves free: doses by periods, intervals, starts, stops, days of infusions, the transplant.

```yaml
free:
  - {dose: prednisolone, changes_every: 1 week, lowest: 0 mg/kg/day, highest: 2 mg/kg/day}
  - {dose: tacrolimus, changes_on: [0, 14, 42], lowest: 0.02 mg/kg/day, highest: 0.4 mg/kg/day}
  - {interval: tacrolimus, among: [12 h, 24 h]}
  - {start: sirolimus, earliest: 0, latest: 56}
  - {stop: tacrolimus, earliest: transplant - 28 day, latest: transplant - 1 day}
  - {days: rituximab, earliest: 0, latest: 60, apart: 7}
  - {transplant: day, earliest: 60, latest: 720}
  - {transplant: conditioning, among: [reduced, full]}
  - {transplant: donor, among: [{donor: matched_unrelated}, {donor: matched_related, from: 180}]}
```

An order is named by its drug: `tacrolimus` is the first order of it in `doses`, `tacrolimus 2` the second;
`"transplant: ciclosporin"` (in quotes) is the first order of it in the prophylaxis of the transplant. A line counts for
the start and for every alternative that has its order. Days of a prophylaxis count from the transplant, as in a
regimen; elsewhere days that count from the transplant say so (`transplant - 14 day`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ipex_pd.records.dosing import DoseAmount, Moment, When
from ipex_pd.records.patients import Donor
from ipex_pd.records.plan_parts import Sourced, leading_key, tag
from ipex_pd.records.record import Day, Record, Span, fault
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import Order

PROPHYLAXIS = "transplant: "
"""Before the drug of an order that belongs to the transplant."""

_KEY = re.compile(r"^(transplant: )?[a-z][a-z0-9_]*( ([2-9]|[1-9][0-9]+))?$")


def order_keys(regimen: Regimen) -> dict[str, Order]:
    """The orders of a regimen by the names that a plan gives them, in the order of `Regimen.orders`."""
    found: dict[str, Order] = {}
    for order in regimen.orders:
        prefix = "" if order.index < len(regimen.doses) else PROPHYLAXIS
        name, number = f"{prefix}{order.drug}", 1
        while (name if number == 1 else f"{name} {number}") in found:
            number += 1
        found[name if number == 1 else f"{name} {number}"] = order
    return found


def drug_of(key: str) -> str:
    """The drug of an order's name."""
    return key.removeprefix(PROPHYLAXIS).split(" ")[0]


def _order_key(value: Any) -> Any:
    if isinstance(value, str) and _KEY.match(value):
        return value
    rule = "An order is named by its drug; `tacrolimus 2` is the second one, `transplant: ciclosporin` a prophylaxis"
    quoted = isinstance(value, Mapping) and len(value) == 1
    cure = f'Write it in quotes: "transplant: {next(iter(value.values()))}"' if quoted else "Name an order of `start`"
    raise fault(f"`{value}` is not the name of an order", rule=rule, cure=cure)


OrderKey = Annotated[str, BeforeValidator(_order_key)]
"""The name of an order in a plan."""


class FreeDose(Sourced):
    """The dose of an order, constant within periods.

    It takes the place of the amount, loading dose, taper and trough target that `start` has between `from` and
    `until`; a dose of nothing is allowed when `lowest` is. The order's interval, days, `maximum` and `stop` or `count`
    stay; a taper that reaches zero is no stop: the freed order goes on to the horizon.

    Attributes:
        order: written `dose`.
        lowest, highest: bounds in the unit of the order's amount.
        changes_every: length of the periods, counted from `from`.
        changes_on: days on which periods begin; with neither there is one period.
        first: written `from`; from when the dose is free, the order's start when left out.
        until: until when, the order's end or the horizon when left out; afterwards the order is as in `start`.
    """

    key: ClassVar[str] = "dose"
    order: OrderKey = Field(alias="dose")
    lowest: DoseAmount
    highest: DoseAmount
    changes_every: Span | None = Field(None, gt=0)
    changes_on: tuple[When, ...] = ()
    first: When | None = Field(None, alias="from")
    until: When | None = None

    @model_validator(mode="after")
    def _sound(self) -> FreeDose:
        if self.lowest.unit != self.highest.unit:
            what = f"`{self.lowest}` beside `{self.highest}`"
            raise fault(what, rule="Both bounds are in one unit", kind="UnitError", at=("highest",))
        if self.lowest.value >= self.highest.value:
            rule = "`lowest` is below `highest`; a dose that is not free stands in `start`"
            raise fault(f"`{self.lowest}` is not below `{self.highest}`", rule=rule, at=("lowest",))
        if self.changes_every is not None and self.changes_on:
            raise fault("both `changes_every` and `changes_on`", rule="One of them says when the dose may change")
        if len({moment.anchor for moment in self._moments()}) > 1:
            rule = "All days of a line count from the start, or all from the transplant"
            raise fault("days of two kinds", rule=rule, at=("changes_on",))
        days = [moment.day for moment in self.changes_on]
        if any(a >= b for a, b in pairwise(days)):
            raise fault("the days of `changes_on` are not in order", rule="They rise", at=("changes_on",))
        if self.first and self.until and self.until.day <= self.first.day:
            raise fault(f"`until` {self.until.day:g} is not after `from`", rule="A dose is free for a time")
        return self

    def _moments(self) -> list[Moment]:
        return [moment for moment in (self.first, self.until, *self.changes_on) if moment is not None]

    @property
    def anchor(self) -> str | None:
        """From what its days count: `start`, `transplant`, or None when it states no day."""
        moments = self._moments()
        return moments[0].anchor if moments else None

    def span(self, start: float, stop: float) -> tuple[float, float]:
        """First day and end of the free time of an order that runs from `start` to `stop`, on one count of days."""
        first = start if self.first is None else max(start, self.first.day)
        return first, stop if self.until is None else min(stop, self.until.day)

    def periods(self, start: float, stop: float) -> tuple[float, ...]:
        """The day on which each period begins, for an order that runs from `start` to `stop`.

        Args:
            start, stop: of the order, counted as the days of this line are; the horizon stands for no stop.
        """
        first, last = self.span(start, stop)
        if first >= last:
            return ()
        if self.changes_every is None:
            return (first, *(moment.day for moment in self.changes_on if first < moment.day < last - 1e-9))
        found, number = [first], 1
        while first + number * self.changes_every < last - 1e-9:
            found.append(first + number * self.changes_every)
            number += 1
        return tuple(found)


class FreeInterval(Sourced):
    """The time between the doses of an order, one of several; each is tried. An amount a day is split anew.

    Attributes:
        order: written `interval`; it has `every`.
        among: the intervals, that of `start` among them.
    """

    key: ClassVar[str] = "interval"
    order: OrderKey = Field(alias="interval")
    among: tuple[Span, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _sound(self) -> FreeInterval:
        for index, span in enumerate(self.among):
            if span < 1.0 / 24.0 - 1e-9:
                raise fault(f"doses {span * 24:g} h apart", rule="They are an hour apart or more", at=("among", index))
            if span in self.among[:index]:
                raise fault("an interval stands twice", rule="Each stands once", at=("among", index))
        return self


class _Between(Sourced):
    """A day between two others."""

    earliest: When
    latest: When

    @model_validator(mode="after")
    def _ordered(self) -> _Between:
        if self.earliest.anchor != self.latest.anchor:
            rule = "Both count from the start, or both from the transplant"
            raise fault("`earliest` and `latest` count from different days", rule=rule, at=("latest",))
        if self.earliest.day >= self.latest.day:
            what, rule = f"`earliest` {self.earliest} is not before `latest` {self.latest}", "A free day has room"
            raise fault(what, rule=rule, cure="Widen it, or write the day in `start`", at=("earliest",))
        return self


class FreeStart(_Between):
    """The day on which an order begins; its taper and `count` move with it.

    Attributes:
        order: written `start`.
        earliest, latest: days; they count from the transplant when the order's `start` does.
    """

    key: ClassVar[str] = "start"
    order: OrderKey = Field(alias="start")


class FreeStop(_Between):
    """The day from which an order gives nothing any more.

    Attributes:
        order: written `stop`; an order without `stop` stops at the end of its taper, or at the horizon.
        earliest, latest: days; they count from the transplant when the order's `stop` does.
    """

    key: ClassVar[str] = "stop"
    order: OrderKey = Field(alias="stop")


class FreeDays(_Between):
    """The day of every dose of an order that has a `count`, such as infusions; their order stays.

    Attributes:
        order: written `days`.
        earliest, latest: of the first and of the last dose.
        apart: the least time between two of them [day].
    """

    key: ClassVar[str] = "days"
    order: OrderKey = Field(alias="days")
    apart: Day = Field(gt=0)


class TransplantDay(Sourced):
    """The day of the only transplant of `start`; what counts from the transplant moves with it.

    Attributes:
        transplant: `day`.
        earliest, latest: days of the regimen.
    """

    key: ClassVar[str] = "transplant day"
    transplant: Literal["day"]
    earliest: Day = Field(ge=0)
    latest: Day

    @model_validator(mode="after")
    def _ordered(self) -> TransplantDay:
        if self.earliest >= self.latest:
            what = f"`earliest` day {self.earliest:g} is not before `latest` day {self.latest:g}"
            raise fault(
                what, rule="A free day has room", cure="Widen it, or write the day in `start`", at=("earliest",)
            )
        return self


class TransplantConditioning(Sourced):
    """The intensity of conditioning; each is tried.

    Attributes:
        transplant: `conditioning`.
        among: the intensities, that of `start` among them.
    """

    key: ClassVar[str] = "transplant conditioning"
    transplant: Literal["conditioning"]
    among: tuple[Literal["reduced", "full"], ...] = Field(min_length=2, max_length=2)

    @model_validator(mode="after")
    def _once(self) -> TransplantConditioning:
        if len(set(self.among)) < len(self.among):
            raise fault("an intensity stands twice", rule="Each stands once", at=("among",))
        return self


class DonorChoice(Record):
    """A donor who could be taken.

    Attributes:
        donor: the kind of donor.
        available: written `from`; the first day on which the transplant could be from this donor.
    """

    donor: Donor
    available: Day = Field(0.0, alias="from", ge=0)


class TransplantDonor(Sourced):
    """The donor; each is tried, with no day of transplant before the donor is there: what waiting is worth.

    Attributes:
        transplant: `donor`.
        among: the donors, that of `start` among them.
    """

    key: ClassVar[str] = "transplant donor"
    transplant: Literal["donor"]
    among: tuple[DonorChoice, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _once(self) -> TransplantDonor:
        donors = [choice.donor for choice in self.among]
        if len(set(donors)) < len(donors):
            raise fault("a donor stands twice", rule="Each stands once, with its first day", at=("among",))
        return self


FreeOrder = FreeDose | FreeInterval | FreeStart | FreeStop | FreeDays
FreeTransplant = TransplantDay | TransplantConditioning | TransplantDonor

_KEYS = ("dose", "interval", "start", "stop", "days", "transplant")
_OF_TRANSPLANT = ("day", "conditioning", "donor")


def _leading(value: Any) -> Any:
    if isinstance(value, Mapping) and value.get("transplant") not in (None, *_OF_TRANSPLANT):
        rule = f"Of a transplant these are free: {', '.join(f'`{name}`' for name in _OF_TRANSPLANT)}"
        raise fault(f"`transplant: {value['transplant']}` is not free", rule=rule, kind="UnknownKeyError")
    return leading_key(_KEYS, "a free quantity")(value)


def _tag(value: Any) -> str:
    if isinstance(value, Record):
        return tag(str(getattr(value, "key", "")))
    found = next(key for key in _KEYS if key in value)
    return tag(f"transplant {value['transplant']}" if found == "transplant" else found)


AnyFree = Annotated[
    Annotated[FreeDose, Tag("<dose>")]
    | Annotated[FreeInterval, Tag("<interval>")]
    | Annotated[FreeStart, Tag("<start>")]
    | Annotated[FreeStop, Tag("<stop>")]
    | Annotated[FreeDays, Tag("<days>")]
    | Annotated[TransplantDay, Tag("<transplant day>")]
    | Annotated[TransplantConditioning, Tag("<transplant conditioning>")]
    | Annotated[TransplantDonor, Tag("<transplant donor>")],
    Discriminator(_tag),
    BeforeValidator(_leading),
]
"""A free quantity of any kind."""
