"""What studies measured: each observation with its group, doses, sampling, spread and source, ready to be predicted."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ipex_pd.records.orders import Dose
from ipex_pd.records.provenance import Citation, Source
from ipex_pd.records.record import Fraction, Name, Number, Record, Span, Texts, fault, quantity
from ipex_pd.records.relations import COVARIATES, CYP3A5
from ipex_pd.units import Measure, factor, parse_measure, same_dimension

Quantity = Literal[
    "auc",
    "average",
    "peak",
    "time_of_peak",
    "level",
    "half_life",
    "clearance",
    "terminal_volume",
    "steady_state_volume",
    "bioavailability",
    "relative_dose",
    "detectable",
]
QUANTITIES: dict[Quantity, tuple[str, str]] = {
    "auc": ("mg/L*day", "area under the curve"),
    "average": ("mg/L", "average level"),
    "peak": ("mg/L", "peak"),
    "time_of_peak": ("day", "time of peak"),
    "level": ("mg/L", "level"),
    "half_life": ("day", "half-life by log-linear slope"),
    "clearance": ("L/day", "clearance, dose over area"),
    "terminal_volume": ("L", "volume, clearance over slope"),
    "steady_state_volume": ("L", "volume at steady state"),
    "bioavailability": ("1", "bioavailability"),
    "relative_dose": ("1", "dose for the same exposure, relative"),
    "detectable": ("day", "time detectable after the last dose"),
}
"""Quantity -> the unit in which it is computed, and its words."""

Statistic = Literal["mean", "median", "geometric_mean", "typical"]
Per = Literal["", "kg", "mg", "mg/kg"]
_OBSERVATION_ID = r"^O\d{3}$"


class CovariateSpread(Record):
    """How a covariate is spread over a group, each number with its unit.

    One of: `value`; `low` and `high` (evenly in between, and with a `median` half on each side of it); `mean` and `sd`
    (lognormal, for quantities that are positive).
    """

    value: str = ""
    low: str = ""
    high: str = ""
    median: str = ""
    mean: str = ""
    sd: str = ""

    @model_validator(mode="after")
    def _one_way(self) -> CovariateSpread:
        ways = [bool(self.value), bool(self.low and self.high), bool(self.mean and self.sd)]
        if sum(ways) != 1 or bool(self.low) != bool(self.high) or bool(self.mean) != bool(self.sd):
            raise fault(
                "a spread needs `value`, `low` and `high`, or `mean` and `sd`", rule="A covariate is spread one way"
            )
        return self

    def in_words(self) -> str:
        """`low 2 year, high 6 year` and so on."""
        if self.value:
            return self.value
        stated = {name: getattr(self, name) for name in type(self).model_fields}
        return ", ".join(f"{name} {text}" for name, text in stated.items() if text)

    def numbers(self, unit: str) -> dict[str, float]:
        """What is stated, in a unit. Raises (for pydantic): UnitError."""
        found = {}
        for name in type(self).model_fields:
            text = getattr(self, name)
            if text:
                measure = quantity(text, unit)
                found[name] = measure.value * factor(measure.unit, unit)
        return found


class Group(Record):
    """Who was studied, and how the virtual group is drawn.

    Size that is not stated follows age and sex by the WHO tables (to 19 years), with standard normal z-scores.

    Attributes:
        description: in the study's words.
        n: how many, None when not stated.
        covariates: name of `records.relations.COVARIATES` -> spread.
        cyp3a5: type of all, `unknown` when not typed.
        source: where the description comes from, and what is assumed beside it.
    """

    description: str = Field(min_length=1)
    n: int | None = Field(None, ge=1)
    covariates: dict[str, CovariateSpread]
    cyp3a5: Literal["nonexpresser", "expresser", "unknown"] = "unknown"
    source: Source

    @model_validator(mode="after")
    def _covariates(self) -> Group:
        for name, spread in self.covariates.items():
            if name not in COVARIATES or name == "cyp3a5":
                rule = f"Covariates are {', '.join(sorted(set(COVARIATES) - {'cyp3a5'}))}"
                raise fault(f"`{name}` is not a covariate with a spread", rule=rule, kind="UnknownKeyError")
            spread.numbers(COVARIATES[name][0])
        if "age" not in self.covariates:
            raise fault("a group without `age`", rule="Size and maturation follow age")
        return self

    @property
    def cyp3a5_code(self) -> float:
        """The code of `records.relations.CYP3A5`."""
        return float(CYP3A5.index(self.cyp3a5))


class PublishedSpread(Record):
    """How the published number spreads: one of sd, sem, range, rse, in the unit of the value (rse is relative)."""

    sd: Number | None = Field(None, gt=0)
    sem: Number | None = Field(None, gt=0)
    range: tuple[Number, Number] | None = None
    rse: Fraction | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _one(self) -> PublishedSpread:
        if sum(x is not None for x in (self.sd, self.sem, self.range, self.rse)) != 1:
            raise fault("a spread needs one of `sd`, `sem`, `range`, `rse`", rule="A spread is stated once")
        return self

    def interval(self, value: float, n: int | None) -> tuple[float, float]:
        """Mean +- 1 SD (from the SEM: SEM sqrt(n)), the range, or the 95 % interval of an RSE, in the value's unit."""
        if self.range is not None:
            return self.range
        if self.rse is not None:
            return value * (1 - 1.96 * self.rse), value * (1 + 1.96 * self.rse)
        half = self.sd if self.sd is not None else (self.sem or 0.0) * math.sqrt(n or 1)
        return value - half, value + half

    def in_words(self) -> str:
        """`SD 167` and so on."""
        if self.range is not None:
            return f"range {self.range[0]:g} to {self.range[1]:g}"
        if self.rse is not None:
            return f"RSE {100 * self.rse:g} %"
        return f"SD {self.sd:g}" if self.sd is not None else f"SEM {self.sem:g}"


class _Published(Record):
    """What every observation shares.

    Attributes:
        id, part: number of the observation, and which of several values it holds.
        value, statistic, spread: what was published.
        source: where.
        independent: False when the published number is, or fitted, an input of the model.
        caution: what weakens the comparison whatever it says.
        if_outside: why the prediction misses the published spread, or the value where none was published.
    """

    id: Annotated[str, Field(pattern=_OBSERVATION_ID)]
    part: str = ""
    value: str
    statistic: Statistic
    spread: PublishedSpread | None = None
    source: Source
    independent: bool = True
    caution: str = ""
    if_outside: str = ""

    @property
    def published(self) -> Measure:
        """The published value with its unit."""
        return parse_measure(self.value)


class Observation(_Published):
    """One published number of drug kinetics, and how to compute the same from simulated concentrations.

    Attributes:
        quantity: see `QUANTITIES`.
        start, end, every: the samples, in time since the first dose; `level` is taken at `end`.
        slope: samples of the terminal slope of an area carried on without end; the last third when absent.
        per: the number is per kg of body weight, per mg of dose, or per mg/kg of dose.
        of: which concentration; the measured one when empty.
        reference: the intravenous drug whose clearance gives `bioavailability`.
        by: what is equal when doses are compared (`relative_dose`): the area, or the level at `end`.
        limit: the concentration down to which it is `detectable`.
    """

    quantity: Quantity
    start: Span = Field(0.0, ge=0, alias="from")
    end: Span = Field(gt=0, alias="to")
    every: Span = Field(gt=0)
    slope: tuple[Span, Span] | None = None
    per: Per = ""
    of: str = ""
    reference: str = ""
    by: Literal["auc", "level"] = "auc"
    limit: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Observation:
        unit = QUANTITIES[self.quantity][0] + ("/kg" if self.per == "kg" else "")
        if not same_dimension(self.published.unit, unit):
            raise fault(f"`{self.value}` is no {self.quantity}", rule=f"Its unit is like `{unit}`", kind="UnitError")
        if self.start >= self.end:
            raise fault("`from` is not before `to`", rule="Samples lie between them")
        if self.slope is not None and not self.start <= self.slope[0] < self.slope[1] <= self.end:
            raise fault("`slope` does not lie inside the samples", rule="It is a part of `from` to `to`")
        if (self.quantity == "detectable") != bool(self.limit):
            raise fault("`limit` goes with `detectable`", rule="A drug is detectable down to a limit")
        if (self.quantity == "bioavailability") != bool(self.reference):
            raise fault("`reference` goes with `bioavailability`", rule="Bioavailability is relative to a drug")
        return self

    @property
    def limit_mg_l(self) -> float:
        """Limit of detection [mg/L]."""
        measure = quantity(self.limit, "mg/L")
        return measure.value * factor(measure.unit, "mg/L")


class Titrated(Record):
    """Each child's doses are scaled so that his level at `at` is `level`: for studies whose dose was not read."""

    level: str
    at: Span

    @property
    def mg_l(self) -> float:
        """The level [mg/L]."""
        measure = quantity(self.level, "mg/L")
        return measure.value * factor(measure.unit, "mg/L")


class Study(Record):
    """A group under a regimen of one drug, and what was measured in it.

    Attributes:
        name: of the study.
        population: who.
        against: the second group of a comparison of doses.
        doses: the regimen; its drug is the study's drug.
        titrated: see `Titrated`.
        observations: what was measured.
    """

    name: Name
    population: Group
    against: Group | None = None
    doses: tuple[Dose, ...] = Field(min_length=1)
    titrated: Titrated | None = None
    observations: tuple[Observation, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _sound(self) -> Study:
        if len({dose.drug for dose in self.doses}) != 1:
            raise fault("doses of several drugs", rule="A study here follows one drug")
        compared = any(o.quantity == "relative_dose" for o in self.observations)
        if compared != (self.against is not None):
            raise fault("`against` goes with `relative_dose`", rule="Doses are compared between two groups")
        return self

    @property
    def drug(self) -> str:
        """The drug, as written in the doses."""
        return self.doses[0].drug


class CourseObservation(_Published):
    """A published course of cells, predicted with the disease model.

    Attributes:
        patient: a shipped name; `age` replaces the age of its file.
        regimen: a shipped name, or `doses` written out.
        description: who was studied, in the study's words.
        quantity: a quantity of the simulation, such as `lymphocytes`.
        after: `transplant` or `last_dose`, from which time is counted.
        at: the time of the level; or
        above: the level above which the quantity is again and stays, whose time is asked.
        horizon: how long to simulate.
    """

    patient: str
    age: Span | None = None
    regimen: str = ""
    doses: tuple[Dose, ...] = ()
    description: str
    quantity: str
    after: Literal["transplant", "last_dose"]
    at: Span | None = None
    above: str = ""
    horizon: Span

    @model_validator(mode="after")
    def _one_question(self) -> CourseObservation:
        if (self.at is None) == (not self.above):
            raise fault("a course needs one of `at` and `above`", rule="It asks for a level or for a time")
        if bool(self.regimen) == bool(self.doses):
            raise fault("a course needs one of `regimen` and `doses`", rule="A regimen is said once")
        return self


class ParameterObservation(_Published):
    """A published half-life that a rate of a shipped parameter set implies.

    Attributes:
        set, parameter: where the rate [1/time] stands.
        description: who was studied.
    """

    set: str
    parameter: str
    description: str


class NotUsed(Record):
    """An observation that is not predicted, and why."""

    id: Annotated[str, Field(pattern=_OBSERVATION_ID)]
    what: str = Field(min_length=1)
    because: str = Field(min_length=1)
    source: Source


class Observations(Record):
    """A file of observations about one drug or subject.

    Attributes:
        name, description: what it is about.
        studies, courses, rates: what is predicted.
        not_used: what is not, and why.
        sources: citations that stand in the same file.
    """

    name: Name
    description: str = Field(min_length=1)
    studies: tuple[Study, ...] = ()
    courses: tuple[CourseObservation, ...] = ()
    rates: tuple[ParameterObservation, ...] = ()
    not_used: tuple[NotUsed, ...] = ()
    sources: dict[str, Citation] = Field(default_factory=dict)

    @property
    def ids(self) -> Texts:
        """Numbers of all observations, in the order of the file."""
        predicted = [o.id for study in self.studies for o in study.observations]
        others = [o.id for o in (*self.courses, *self.rates)] + [o.id for o in self.not_used]
        return tuple(dict.fromkeys([*predicted, *others]))
