"""Orders as prescribed: a dose with its rhythm, taper and trough target; a transplant with its prophylaxis."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Literal

from pydantic import Field, model_validator

from ipex_pd.errors import UnitError, UnknownKeyError
from ipex_pd.records.dosing import Amount, DoseAmount, Moment, When, parse_amount
from ipex_pd.records.drugs import Route
from ipex_pd.records.provenance import Source
from ipex_pd.records.record import Day, Name, Number, Record, Span, Texts, fault, quantity
from ipex_pd.units import factor

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SHORTEST = 1.0 / 24.0 - 1e-9
_MOST_STEPS = 1000
_CLOCK = re.compile(r"^([01]\d|2[0-3]):([0-5]\d)$")


class TaperStep(Record):
    """One step of a taper: wait `after`, then go `to` an amount, or go down `by` steps.

    Attributes:
        after: waiting time since the order began or since the last change.
        to: the new amount; `0 mg/kg` and the like end the order.
        by: a share of the present amount (`25 %`) or an amount, taken off again and again.
        every: time between such reductions.
        until: the amount at which they end; it is the last amount given.
    """

    after: Span = Field(gt=0)
    to: DoseAmount | None = None
    by: str | None = None
    every: Span | None = Field(None, gt=0)
    until: DoseAmount | None = None

    @model_validator(mode="after")
    def _one_way(self) -> TaperStep:
        if (self.to is None) == (self.by is None):
            raise fault("a taper step needs one of `to` and `by`", rule="It goes to an amount, or down by steps")
        if self.by is None and (self.every is not None or self.until is not None):
            raise fault("`every` and `until` go with `by`", rule="A step `to` an amount happens once")
        if self.by is not None and (self.every is None or self.until is None):
            raise fault("a taper `by` steps needs `every` and `until`", rule="Otherwise it never ends")
        return self


class Loading(Record):
    """First doses of another size: `count` doses of `amount` before the ordinary ones."""

    amount: DoseAmount
    count: int = Field(1, ge=1)


class TargetTrough(Record):
    """Keep the trough in a range: the dose follows levels sampled on stated days.

    Attributes:
        low, high: range, such as `5 ng/mL`; `target` is aimed at, their geometric mean when absent.
        sampling_days: days after the order's start (the sample is drawn before the next dose); `then_every` afterwards.
        smallest_dose, largest_dose: limits in the unit of the order's amount.
        largest_step: the most by which one adjustment multiplies or divides the dose.
    """

    low: str
    high: str
    target: str = ""
    sampling_days: tuple[Number, ...] = Field(min_length=1)
    then_every: Span | None = Field(None, ge=1)
    smallest_dose: DoseAmount
    largest_dose: DoseAmount
    largest_step: Number = Field(2.0, gt=1)
    source: Source | None = None

    @model_validator(mode="after")
    def _ordered(self) -> TargetTrough:
        low, high, target = self.low_mg_l, self.high_mg_l, self.target_mg_l
        if not 0 < low < high:
            raise fault(f"`{self.low}` is not below `{self.high}`", rule="A target goes from low to high")
        if not low <= target <= high:
            raise fault(f"target `{self.target}` is outside {self.low} to {self.high}", rule="The target lies inside")
        days = self.sampling_days
        if days[0] <= 0 or any(a >= b for a, b in pairwise(days)):
            raise fault("sampling days are not in order", rule="They rise, and the first is after the order's start")
        if self.smallest_dose.value > self.largest_dose.value:
            raise fault(f"`{self.smallest_dose}` is above `{self.largest_dose}`", rule="Limits go from small to large")
        return self

    @property
    def low_mg_l(self) -> float:
        """Lower limit [mg/L]."""
        return _level(self.low)

    @property
    def high_mg_l(self) -> float:
        """Upper limit [mg/L]."""
        return _level(self.high)

    @property
    def target_mg_l(self) -> float:
        """What is aimed at [mg/L]."""
        return _level(self.target) if self.target else float((self.low_mg_l * self.high_mg_l) ** 0.5)


def _level(text: str) -> float:
    measure = quantity(text, "mg/L")
    return measure.value * factor(measure.unit, "mg/L")


class Dose(Record):
    """One order of a drug.

    Attributes:
        drug, route: what and how; `infusion` is how long an infusion runs.
        amount: of one dose (`0.1 mg/kg`) or of a day (`2 mg/kg/day`, split over the day's doses); `maximum` likewise.
        every: time between doses; or `at` clock times, on `days_of_week` if stated (day 0 is a Monday).
        start, stop: days; or `count` doses.
        loading, taper, after_taper, target_trough: see there. `after_taper: maintain` keeps the last amount.
        source: where the dose comes from.
    """

    drug: Name
    amount: DoseAmount
    maximum: DoseAmount | None = None
    route: Route
    infusion: Span | None = None
    every: Span | None = None
    at: Texts = ()
    days_of_week: Texts = ()
    start: When = Moment(0.0)
    stop: When | None = None
    count: int | None = Field(None, ge=1, le=10_000)
    loading: Loading | None = None
    taper: tuple[TaperStep, ...] = ()
    after_taper: Literal["maintain"] | None = None
    target_trough: TargetTrough | None = None
    source: Source | None = None

    @model_validator(mode="after")
    def _sound(self) -> Dose:
        self._check_rhythm()
        self._check_amounts()
        self._check_ends()
        if self.infusion is not None and (self.route != "iv" or self.infusion <= 0):
            by_mouth = self.route != "iv"
            what = "an infusion by mouth" if by_mouth else "an infusion of no length"
            raise fault(
                what,
                rule="`infusion` is the length of an intravenous infusion",
                cure="Take `infusion` out" if by_mouth else "Write `infusion: 4 h`; a bolus has no `infusion`",
                at=("infusion",),
            )
        return self

    def _check_rhythm(self) -> None:
        if self.every is not None and self.every < _SHORTEST:
            what = f"doses {self.every * 24:g} h apart"
            raise fault(
                what,
                rule="They are at least an hour apart",
                cure="Write `every: 12 h`, or use `infusion`",
                at=("every",),
            )
        if (self.every is None) == (not self.at):
            cure = "Write `every: 12 h`, or `at: ['08:00', '20:00']`"
            raise fault("a dose needs one of `every` and `at`", rule="It says when it is given", cure=cure)
        if self.days_of_week and not self.at:
            raise fault(
                "`days_of_week` without `at`", rule="Days of the week go with clock times", cure="Add `at: '08:00'`"
            )
        for day in self.days_of_week:
            if day not in WEEKDAYS:
                rule = f"Days are {', '.join(WEEKDAYS)}"
                raise fault(f"`{day}` is not a day of the week", rule=rule, kind=UnknownKeyError.__name__)
        for name, words in (("days_of_week", self.days_of_week), ("at", self.at)):
            if len(set(words)) != len(words):
                raise fault(f"`{name}` names one twice", rule="Each stands once")
        for clock in self.at:
            if _CLOCK.match(clock) is None:
                raise fault(f"`{clock}` is not a time of day", rule="Times are written `08:00`, in quotes")

    def _check_amounts(self) -> None:
        if self.amount.value == 0:
            raise fault(
                f"dose `{self.amount}` is nothing",
                rule="An order gives something",
                cure="Take the order out",
                at=("amount",),
            )
        if self.amount.per_day and self.doses_a_day < 1:
            what = f"`{self.amount}` is an amount a day, but doses are more than a day apart"
            raise fault(what, rule="Then the amount of one dose must be said", cure=f"Write `{self.amount.basis}`")
        if self.maximum is not None and self.maximum.basis != "mg":
            raise fault(
                f"maximum `{self.maximum}` depends on size",
                rule="A maximum is in mg",
                kind=UnitError.__name__,
                at=("maximum",),
            )
        if self.maximum is not None and self.maximum.value == 0:
            raise fault("a maximum of nothing", rule="A maximum is more than zero", at=("maximum",))
        trough, loading = self.target_trough, self.loading
        others = [step.to for step in self.taper] + [step.until for step in self.taper]
        others += [trough.smallest_dose, trough.largest_dose] if trough else []
        for other in others:
            if other is not None and other.unit != self.amount.unit:
                what = f"`{other}` beside an order in `{self.amount.unit}`"
                raise fault(
                    what, rule="An order keeps one unit", cure=f"Write it in `{self.amount.unit}`", kind="UnitError"
                )
        if loading is not None and loading.amount.basis != self.amount.basis:
            what = f"loading dose `{loading.amount}` beside an order in `{self.amount.unit}`"
            raise fault(what, rule="Both are in one unit", kind=UnitError.__name__)

    def _check_ends(self) -> None:
        if self.stop is not None and self.count is not None:
            raise fault("both `stop` and `count`", rule="An order ends by one of them", cure="Take one of them out")
        if self.count is not None and self.loading is not None and self.loading.count >= self.count:
            raise fault("the loading doses are all there is", rule="`count` counts them too", cure="Raise `count`")
        if self.stop is not None and self.stop.anchor == self.start.anchor and self.stop.day <= self.start.day:
            raise fault(
                f"it stops at {self.stop}, not after its start at {self.start}",
                rule="`stop` is later than `start`",
                at=("stop",),
            )
        if not self.taper:
            if self.after_taper:
                raise fault("`after_taper` without a taper", rule="It says what follows a taper")
            return
        if self.count is not None:
            raise fault("both `taper` and `count`", rule="A taper ends at its last step", cure="Take one of them out")
        last = levels(self)[-1][1]
        if last > 0 and self.stop is None and self.after_taper is None:
            cure = f"End at `0 {self.amount.unit}`, add `stop`, or write `after_taper: maintain`"
            raise fault(
                "the taper never ends", rule=f"It stays at {last:g} {self.amount.unit}", cure=cure, at=("taper",)
            )
        if last == 0 and self.after_taper:
            raise fault("`after_taper: maintain` of nothing", rule="The taper reaches zero")

    @property
    def doses_a_day(self) -> float:
        """Mean number of doses a day."""
        if self.every is not None:
            return 1.0 / self.every
        return len(self.at) * (len(self.days_of_week) / 7 if self.days_of_week else 1.0)

    @property
    def split(self) -> float:
        """Into how many doses a day's amount is split."""
        return 1.0 / self.every if self.every is not None else float(len(self.at))

    @property
    def clock(self) -> tuple[float, ...]:
        """Clock times as fractions of a day, in order."""
        found = [_CLOCK.match(text) for text in self.at]
        return tuple(sorted((int(m.group(1)) + int(m.group(2)) / 60) / 24 for m in found if m is not None))

    def needs_weight(self) -> bool:
        """Whether the dose depends on body size."""
        return self.amount.basis != "mg"

    def given_on(self, day: int) -> bool:
        """Whether it is given on a day counted from the start, which is a Monday."""
        return not self.days_of_week or WEEKDAYS[day % 7] in self.days_of_week


def levels(dose: Dose) -> list[tuple[float, float]]:
    """(days since the order began, amount in the order's unit) of each level of a taper, the first at the start."""
    time, value = 0.0, dose.amount.value
    rows = [(time, value)]
    for step in dose.taper:
        time += step.after
        if step.to is not None:
            value = _lower(value, step.to.value, dose)
            rows.append((time, value))
            continue
        assert step.by is not None
        assert step.every is not None
        assert step.until is not None
        rows += _downward(step.by, step.every, step.until.value, time, value, dose)
        time, value = rows[-1]
    return rows


def _lower(old: float, new: float, dose: Dose) -> float:
    if new >= old:
        what = f"the taper goes from {old:g} to {new:g} {dose.amount.unit}"
        raise fault(what, rule="A taper goes down", cure="Write a rise as an order of its own", at=("taper",))
    return new


def _downward(by: str, every: float, until: float, time: float, value: float, dose: Dose) -> list[tuple[float, float]]:
    share, step = _reduction(by, dose.amount)
    if share is not None and until <= 0:
        rule = "A share of what is left never reaches zero"
        raise fault(
            "the taper never ends", rule=rule, cure="Give `until` above zero and a last step `to` zero", at=("taper",)
        )
    _lower(value, until, dose)
    rows: list[tuple[float, float]] = []
    while value > until:
        value = max(until, value * (1 - share) if share is not None else value - step)
        value = until if value <= until * 1.01 + 1e-12 else value
        rows.append((time, value))
        time += every
        if len(rows) > _MOST_STEPS:
            raise fault(
                f"a taper of more than {_MOST_STEPS} steps", rule="Its steps are too small", cure="Write larger ones"
            )
    return rows


def _reduction(by: str, amount: Amount) -> tuple[float | None, float]:
    if by.rstrip().endswith("%"):
        share = float(by.rstrip().removesuffix("%")) / 100
        if not 0 < share < 1:
            raise fault(f"`{by}` is not a reduction", rule="A share lies between 0 and 100 %", at=("taper",))
        return share, 0.0
    step = parse_amount(by)
    if step.unit != amount.unit or step.value <= 0:
        what = f"`{by}` is not a reduction of an order in `{amount.unit}`"
        raise fault(
            what, rule="A reduction is a share such as `25 %` or an amount in the order's unit", kind="UnitError"
        )
    return None, step.value


class Transplant(Record):
    """A stem cell transplant.

    Attributes:
        day: of the regimen.
        conditioning, serotherapy, donor, graft: what was chosen.
        cd34, cd3: cells per kg, as `5e6 cells/kg`; unknown when absent.
        prophylaxis: orders against graft-versus-host disease, with days counted from the transplant.
        source: where the choice comes from.
    """

    day: Day
    conditioning: Literal["reduced", "full"]
    serotherapy: Literal["alemtuzumab", "atg", "none"]
    donor: Literal["matched_related", "matched_unrelated", "haploidentical", "mismatched"]
    graft: Literal["marrow", "peripheral_blood", "cord"]
    cd34: str | None = None
    cd3: str | None = None
    prophylaxis: tuple[Dose, ...] = ()
    source: Source | None = None

    @model_validator(mode="after")
    def _sound(self) -> Transplant:
        if self.day < 0:
            what = f"a transplant on day {self.day:g}"
            raise fault(
                what,
                rule="The regimen starts on day 0, a transplant comes no earlier",
                cure="Start with a younger child, and write the day counted from that start",
                at=("day",),
            )
        for text in (self.cd34, self.cd3):
            if text is not None:
                quantity(text, "cells/kg")
        for dose in self.prophylaxis:
            if dose.start.anchor == "transplant" or (dose.stop and dose.stop.anchor == "transplant"):
                raise fault("`transplant` in a prophylaxis", rule="Its days are counted from the transplant already")
        return self

    def cells(self) -> dict[str, float | None]:
        """CD34 and CD3 dose [cells/kg]."""
        found: dict[str, float | None] = {}
        for name, text in (("cd34", self.cd34), ("cd3", self.cd3)):
            measure = quantity(text, "cells/kg") if text is not None else None
            found[name] = measure.value * factor(measure.unit, "cells/kg") if measure else None
        return found
