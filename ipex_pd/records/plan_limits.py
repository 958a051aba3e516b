"""What a plan must keep to: levels, doses, tapers, visits, tablets, combinations, washout, prophylaxis, endpoints.

```yaml
limits:
  - {trough: tacrolimus, low: 5 ng/mL, high: 10 ng/mL, share: 90 %, from: 14}
  - {daily_dose: prednisolone, most: 60 mg/day}
  - {single_dose: rituximab, most: 500 mg}
  - {cumulative_dose: prednisolone, most: 100 mg/kg}
  - {taper: prednisolone, smallest_step: 1 mg/day}
  - {changes: tacrolimus, most: 4}
  - {visits: [0, 14, 28, 56, 84]}
  - {strengths: prednisolone, of: [1 mg, 5 mg, 20 mg], halves: true}
  - {step: tacrolimus, of: 0.1 mg}
  - {not_together: [tacrolimus, ciclosporin]}
  - {apart: [sirolimus, transplant], least: 7}
  - {prophylaxis: ciclosporin, least: 100}
  - {endpoint: infection_risk, most: 20 %, share: 90 %}
```

A limit with `share` holds in that share of the members (a chance constraint); without it, of the mean over them. Limits
of doses hold in every member. A limit on a drug that a regimen does not give is idle there.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ipex_pd.records.dosing import Amount, DoseAmount
from ipex_pd.records.plan_free import OrderKey
from ipex_pd.records.plan_goals import GOALS, GoalKey
from ipex_pd.records.plan_parts import Sourced, leading_key, tag
from ipex_pd.records.record import Day, Fraction, Name, Number, Record, Span, fault, quantity
from ipex_pd.units import factor

TRANSPLANT = "transplant"
WEEK = 7.0
"""How far apart troughs are sampled when nothing is said [day]."""
_GRAIN = 1000
_MOST_GRAINS = 2_000_000


class TroughLimit(Sourced):
    """The trough of a drug in a window, on stated days of the regimen, in a share of members and days.

    Every stated day counts, so a window with a lower end is sampled while the drug is surely given.

    Attributes:
        drug: written `trough`.
        low, high: window, such as `5 ng/mL`; one of them may be left out.
        share: of members times days in which it holds; of the mean over the members on every day when left out.
        days: sampled days, each before the first dose that follows.
        first: written `from`; or the first of days that are `every` apart (a week when not said).
        until: the last of them; the horizon when left out.
        every: see `first`.
    """

    key: ClassVar[str] = "trough"
    drug: Name = Field(alias="trough")
    low: str | None = None
    high: str | None = None
    share: Fraction | None = Field(None, gt=0, le=1)
    days: tuple[Day, ...] = ()
    first: Day | None = Field(None, alias="from", gt=0)
    until: Day | None = None
    every: Span | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _sound(self) -> TroughLimit:
        if self.low is None and self.high is None:
            raise fault("a window without an end", rule="It says `low`, `high` or both", cure="Write `low: 5 ng/mL`")
        if self.low_mg_l >= self.high_mg_l:
            what = f"`{self.low}` is not below `{self.high}`"
            raise fault(what, rule="No trough can lie in an empty window", cure="Exchange them", at=("low",))
        if (self.first is None) == (not self.days):
            raise fault(
                "a trough needs one of `days` and `from`", rule="It is sampled on days", cure="Write `from: 14`"
            )
        if self.days and (self.until is not None or self.every is not None):
            raise fault("`until` or `every` beside `days`", rule="They go with `from`", cure="Take them out")
        if self.days and (self.days[0] <= 0 or any(a >= b for a, b in pairwise(self.days))):
            raise fault("the days are not in order", rule="They rise, and the first is after day 0", at=("days",))
        if self.first is not None and self.until is not None and self.until < self.first:
            raise fault(f"`until` {self.until:g} is before `from`", rule="Days go forward", at=("until",))
        return self

    @property
    def low_mg_l(self) -> float:
        """Lower end [mg/L], 0 without one."""
        return 0.0 if self.low is None else _level(self.low)

    @property
    def high_mg_l(self) -> float:
        """Upper end [mg/L], infinite without one."""
        return math.inf if self.high is None else _level(self.high)

    def sample_days(self, horizon: float) -> tuple[float, ...]:
        """The days on which it is sampled, up to the horizon [day]."""
        if self.first is None:
            return tuple(day for day in self.days if day <= horizon)
        last = horizon if self.until is None else min(self.until, horizon)
        count = math.floor((last - self.first) / (self.every or WEEK) + 1e-9) + 1
        return tuple(self.first + k * (self.every or WEEK) for k in range(count))


def _level(text: str) -> float:
    measure = quantity(text, "mg/L")
    return measure.value * factor(measure.unit, "mg/L")


class _MostDose(Sourced):
    """The most of a drug; by the child's size on the day of each dose where the unit says so."""

    per_day: ClassVar[bool] = False
    drug: Name
    most: DoseAmount

    @model_validator(mode="after")
    def _unit(self) -> _MostDose:
        if self.most.per_day != self.per_day:
            written = Amount(self.most.value, self.most.basis, self.per_day)
            rule = f"It is an amount {'a day' if self.per_day else 'without a day'}"
            raise fault(
                f"`{self.most}` is not a limit of this kind", rule=rule, cure=f"Write `{written}`", at=("most",)
            )
        if self.most.value == 0:
            raise fault("a limit of nothing", rule="It is more than zero", cure="Take the drug out", at=("most",))
        return self


class SingleDoseLimit(_MostDose):
    """The most of a drug in one dose.

    Attributes:
        drug: written `single_dose`.
        most: `5 mg`, `0.3 mg/kg` or `375 mg/m2`.
    """

    key: ClassVar[str] = "single_dose"
    drug: Name = Field(alias="single_dose")


class DailyDoseLimit(_MostDose):
    """The most of a drug in a day, over all its orders.

    Attributes:
        drug: written `daily_dose`.
        most: `60 mg/day`, `2 mg/kg/day` or `60 mg/m2/day`.
    """

    key: ClassVar[str] = "daily_dose"
    per_day: ClassVar[bool] = True
    drug: Name = Field(alias="daily_dose")


class CumulativeDoseLimit(_MostDose):
    """The most of a drug from the start to the horizon, over all its orders.

    Attributes:
        drug: written `cumulative_dose`.
        most: `2000 mg`, `100 mg/kg` (each dose by the weight of its day) or in mg/m2.
    """

    key: ClassVar[str] = "cumulative_dose"
    drug: Name = Field(alias="cumulative_dose")


class TaperLimit(Sourced):
    """A free dose that never rises from one period to the next.

    Attributes:
        order: written `taper`; its dose is free.
        smallest_step: a change is at least so large; in the order's unit, or in mg by the size of the plan's patient.
    """

    key: ClassVar[str] = "taper"
    order: OrderKey = Field(alias="taper")
    smallest_step: DoseAmount | None = None

    @model_validator(mode="after")
    def _positive(self) -> TaperLimit:
        if self.smallest_step is not None and self.smallest_step.value == 0:
            rule = "It is more than zero"
            raise fault("a smallest step of nothing", rule=rule, cure="Take it out", at=("smallest_step",))
        return self


class ChangesLimit(Sourced):
    """The most times that a free dose changes.

    Attributes:
        order: written `changes`; its dose is free.
        most: number of changes, 0 for one constant dose.
    """

    key: ClassVar[str] = "changes"
    order: OrderKey = Field(alias="changes")
    most: int = Field(ge=0)


class VisitsLimit(Sourced):
    """Free doses change on visits only; free starts, stops and infusions are not bound to them.

    Attributes:
        days: written `visits`; of the regimen.
    """

    key: ClassVar[str] = "visits"
    days: tuple[Day, ...] = Field(alias="visits", min_length=1)

    @model_validator(mode="after")
    def _rising(self) -> VisitsLimit:
        if self.days[0] < 0 or any(a >= b for a, b in pairwise(self.days)):
            raise fault("the visits are not in order", rule="They rise, and the first is on day 0 or later")
        return self


def _in_mg(amount: Amount, at: tuple[str | int, ...]) -> None:
    if amount.basis != "mg" or amount.per_day or amount.value == 0:
        raise fault(
            f"`{amount}` is not a strength", rule="It is an amount in mg, more than zero", kind="UnitError", at=at
        )


class StrengthsLimit(Sourced):
    """Every dose is made of tablets or capsules of these strengths, for the plan's patient.

    Attributes:
        drug: written `strengths`.
        of: strengths in mg.
        halves: whether tablets are halved.
    """

    key: ClassVar[str] = "strengths"
    drug: Name = Field(alias="strengths")
    of: tuple[DoseAmount, ...] = Field(min_length=1)
    halves: bool = False

    @model_validator(mode="after")
    def _sound(self) -> StrengthsLimit:
        for index, amount in enumerate(self.of):
            _in_mg(amount, ("of", index))
            if amount in self.of[:index]:
                raise fault(f"`{amount}` stands twice", rule="Each strength stands once", at=("of", index))
        return self

    @property
    def pieces_mg(self) -> tuple[float, ...]:
        """What doses are put together from [mg], the smallest first."""
        whole = [amount.value for amount in self.of]
        return tuple(sorted({*whole, *(value / 2 for value in whole if self.halves)}))

    def permitted(self, low: float, high: float) -> tuple[float, ...]:
        """Every single dose from `low` to `high` [mg] that they make, nothing included."""
        pieces = [round(piece * _GRAIN) for piece in self.pieces_mg]
        grain = max(1, math.gcd(*pieces))
        top = math.floor(high * _GRAIN / grain + 1e-6)
        if top > _MOST_GRAINS // grain:
            raise fault("doses too many to be counted", rule="Strengths fit the doses", at=("of",))
        made = [True] + [False] * max(0, top)
        for piece in (piece // grain for piece in pieces):
            for total in range(piece, top + 1):
                made[total] = made[total] or made[total - piece]
        sums = (total * grain / _GRAIN for total, there in enumerate(made) if there)
        return tuple(value for value in sums if low - 1e-9 <= value <= high + 1e-9)


class StepLimit(Sourced):
    """Every dose is a multiple of a step, as a volume or a capsule allows, for the plan's patient.

    Attributes:
        drug: written `step`.
        of: the step in mg.
    """

    key: ClassVar[str] = "step"
    drug: Name = Field(alias="step")
    of: DoseAmount

    @model_validator(mode="after")
    def _mg(self) -> StepLimit:
        _in_mg(self.of, ("of",))
        return self

    @property
    def pieces_mg(self) -> tuple[float, ...]:
        """What doses are put together from [mg]."""
        return (self.of.value,)

    def permitted(self, low: float, high: float) -> tuple[float, ...]:
        """Every single dose from `low` to `high` [mg] that is a multiple of the step."""
        first, last = math.ceil(max(0.0, low) / self.of.value - 1e-9), math.floor(high / self.of.value + 1e-9)
        return tuple(round(number * self.of.value, 9) for number in range(first, last + 1))


class NotTogetherLimit(Sourced):
    """Drugs of which no two are given at the same time.

    Attributes:
        drugs: written `not_together`.
    """

    key: ClassVar[str] = "not_together"
    drugs: tuple[Name, ...] = Field(alias="not_together", min_length=2)

    @model_validator(mode="after")
    def _different(self) -> NotTogetherLimit:
        if len(set(self.drugs)) < len(self.drugs):
            raise fault("a drug stands twice", rule="They are different drugs", at=("not_together",))
        return self


class ApartLimit(Sourced):
    """The least time from the end of one to the beginning of the other (washout).

    Attributes:
        between: written `apart`; the earlier and the later: drugs, or `transplant` for one of them.
        least: [day], from the last dose of the earlier drug to the first of the later one.
    """

    key: ClassVar[str] = "apart"
    between: tuple[Name, Name] = Field(alias="apart")
    least: Day = Field(gt=0)

    @model_validator(mode="after")
    def _different(self) -> ApartLimit:
        if self.between[0] == self.between[1]:
            raise fault(f"`{self.between[0]}` apart from itself", rule="They are two", at=("apart",))
        return self


class ProphylaxisLimit(Sourced):
    """The prophylaxis with a drug goes on at least so long after the transplant.

    Attributes:
        drug: written `prophylaxis`.
        least: [day] after the transplant.
    """

    key: ClassVar[str] = "prophylaxis"
    drug: Name = Field(alias="prophylaxis")
    least: Day = Field(gt=0)


class EndpointLimit(Sourced):
    """A bound of a goal's quantity, at the horizon.

    Attributes:
        endpoint: one of `GOALS`.
        most, least: under one of the two; a number in its unit, or with a unit (`20 %`, `100 mg/kg`).
        share: of the members in which it holds; of the mean over them when left out.
    """

    key: ClassVar[str] = "endpoint"
    endpoint: GoalKey
    most: Number | str | None = None
    least: Number | str | None = None
    share: Fraction | None = Field(None, gt=0, le=1)

    @model_validator(mode="after")
    def _sound(self) -> EndpointLimit:
        if (self.most is None) == (self.least is None):
            raise fault("a limit needs one of `most` and `least`", rule="It bounds the endpoint on one side")
        bound = self.bound
        if self.unit == "fraction" and not 0 <= bound <= 1:
            rule = "A probability or share lies between 0 and 1"
            raise fault(f"`{self.most if self.most is not None else self.least}` bounds nothing", rule=rule)
        return self

    @property
    def unit(self) -> str:
        """Of the endpoint."""
        return GOALS[self.endpoint].unit

    @property
    def bound(self) -> float:
        """The bound in the endpoint's unit."""
        written = self.most if self.most is not None else self.least
        if not isinstance(written, str):
            return float(written) if written is not None else math.nan
        measure = quantity(written, self.unit, positive=False)
        return measure.value * factor(measure.unit, self.unit)


DoseLimit = SingleDoseLimit | DailyDoseLimit | CumulativeDoseLimit
_KEYS = (
    "trough",
    "single_dose",
    "daily_dose",
    "cumulative_dose",
    "taper",
    "changes",
    "visits",
    "strengths",
    "step",
    "not_together",
    "apart",
    "prophylaxis",
    "endpoint",
)


def _tag(value: Any) -> str:
    if isinstance(value, Record):
        return tag(str(getattr(value, "key", "")))
    return tag(next(key for key in _KEYS if key in value))


AnyLimit = Annotated[
    Annotated[TroughLimit, Tag("<trough>")]
    | Annotated[SingleDoseLimit, Tag("<single_dose>")]
    | Annotated[DailyDoseLimit, Tag("<daily_dose>")]
    | Annotated[CumulativeDoseLimit, Tag("<cumulative_dose>")]
    | Annotated[TaperLimit, Tag("<taper>")]
    | Annotated[ChangesLimit, Tag("<changes>")]
    | Annotated[VisitsLimit, Tag("<visits>")]
    | Annotated[StrengthsLimit, Tag("<strengths>")]
    | Annotated[StepLimit, Tag("<step>")]
    | Annotated[NotTogetherLimit, Tag("<not_together>")]
    | Annotated[ApartLimit, Tag("<apart>")]
    | Annotated[ProphylaxisLimit, Tag("<prophylaxis>")]
    | Annotated[EndpointLimit, Tag("<endpoint>")],
    Discriminator(_tag),
    BeforeValidator(leading_key(_KEYS, "a limit")),
]
"""A limit of any kind."""
