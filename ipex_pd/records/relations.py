"""How a drug parameter depends on the patient and the dose: a closed grammar of relations.

Every relation is a factor on one parameter, computed by `factor` on NumPy or JAX arrays: the caller hands over the
array module. Covariates come in the units of `COVARIATES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from ipex_pd.errors import UnknownKeyError, nearest_hint
from ipex_pd.records.provenance import Source
from ipex_pd.records.record import Fraction, Name, Number, Record, Span, fault, quantity
from ipex_pd.units import factor as unit_factor

COVARIATES: dict[str, tuple[str, str]] = {
    "age": ("day", "age since birth"),
    "weight": ("kg", "body weight"),
    "height": ("cm", "length or height"),
    "bsa": ("m**2", "body surface area"),
    "haematocrit": ("1", "haematocrit as a fraction"),
    "albumin": ("g/L", "serum albumin"),
    "bilirubin": ("umol/L", "total bilirubin"),
    "cyp3a5": ("1", "code of the CYP3A5 type, see CYP3A5"),
    "azole": ("1", "1 while an azole antifungal is taken, 0 otherwise"),
    "immunoassay": ("1", "1 when levels are measured by an assay that also sees metabolites, 0 when not"),
    "protein_loss": ("1", "share of a full protein-losing state (gut or kidney), 0 to 1"),
}
"""Covariates that relations may name: unit and meaning."""

CYP3A5 = ("nonexpresser", "expresser", "unknown")
"""Types of CYP3A5 in the order of their codes 0, 1, 2."""

SWITCH_DEFAULTS = {"azole": 0.0, "immunoassay": 1.0, "protein_loss": 0.0}
"""Values of switchable covariates when nobody states them."""


class Relation(Record):
    """Base of all relations: `on` which parameter, and where the numbers come from."""

    needs_dose: ClassVar[bool] = False
    on: Name
    source: Source

    def covariates(self) -> tuple[str, ...]:
        """Names of the covariates it needs."""
        name = getattr(self, "covariate", None)
        return (name,) if name else ()

    def _known(self, name: str | None) -> None:
        if name is not None and name not in COVARIATES:
            rule = nearest_hint(name, COVARIATES)
            raise fault(f"`{name}` is not a covariate", rule=rule, kind=UnknownKeyError.__name__)


class _Reference(Relation):
    covariate: str
    reference: str
    exponent: Number

    @model_validator(mode="after")
    def _fits(self) -> _Reference:
        self._known(self.covariate)
        if quantity(self.reference, COVARIATES[self.covariate][0]).value <= 0:
            raise fault(f"reference `{self.reference}` is not positive", rule="A reference is divided by")
        return self

    @property
    def reference_value(self) -> float:
        """The reference in the covariate's unit."""
        unit = COVARIATES[self.covariate][0]
        measure = quantity(self.reference, unit)
        return measure.value * unit_factor(measure.unit, unit)


class Power(_Reference):
    """(covariate / reference)^exponent."""

    kind: Literal["power"]

    def factor(self, xp: Any, covariates: Mapping[str, Any]) -> Any:
        """The factor, of the covariate's shape."""
        return (covariates[self.covariate] / self.reference_value) ** self.exponent


class PowerBelow(_Reference):
    """(covariate / reference)^exponent below the reference, 1 above it."""

    kind: Literal["power_below"]

    def factor(self, xp: Any, covariates: Mapping[str, Any]) -> Any:
        """The factor, of the covariate's shape."""
        return xp.minimum(covariates[self.covariate] / self.reference_value, 1.0) ** self.exponent


class HillMaturation(Relation):
    """(f(age) / f(reference_age))^exponent below the reference age, 1 above it.

    f(a) = at_birth + (maximum - at_birth) a^hill / (half_age^hill + a^hill); below `youngest_age` f is held.
    """

    kind: Literal["hill_maturation"]
    maximum: Number = Field(gt=0)
    at_birth: Number = Field(ge=0)
    half_age: Span = Field(gt=0)
    hill: Number = Field(gt=0)
    reference_age: Span = Field(gt=0)
    youngest_age: Span = Field(gt=0)
    exponent: Number = 1.0

    def covariates(self) -> tuple[str, ...]:
        """It needs the age."""
        return ("age",)

    def _activity(self, age: Any) -> Any:
        grown = age**self.hill
        return self.at_birth + (self.maximum - self.at_birth) * grown / (self.half_age**self.hill + grown)

    def factor(self, xp: Any, covariates: Mapping[str, Any]) -> Any:
        """The factor, of the age's shape."""
        age = xp.clip(covariates["age"], self.youngest_age, self.reference_age)
        return (self._activity(age) / self._activity(self.reference_age)) ** self.exponent


class AgeSaturation(Relation):
    """age / (age + half_age), with the age held below `youngest_age`."""

    kind: Literal["age_saturation"]
    half_age: Span = Field(gt=0)
    youngest_age: Span = Field(gt=0)

    def covariates(self) -> tuple[str, ...]:
        """It needs the age."""
        return ("age",)

    def factor(self, xp: Any, covariates: Mapping[str, Any]) -> Any:
        """The factor, of the age's shape."""
        age = xp.maximum(covariates["age"], self.youngest_age)
        return age / (age + self.half_age)


class Category(Relation):
    """One factor for each CYP3A5 type."""

    kind: Literal["category"]
    covariate: Literal["cyp3a5"]
    factors: dict[Literal["nonexpresser", "expresser", "unknown"], Annotated[Number, Field(gt=0)]]

    @model_validator(mode="after")
    def _complete(self) -> Category:
        missing = [level for level in CYP3A5 if level not in self.factors]
        if missing:
            raise fault(f"no factor for `{missing[0]}`", rule=f"A category gives one for each of {', '.join(CYP3A5)}")
        return self

    def factor(self, xp: Any, covariates: Mapping[str, Any]) -> Any:
        """The factor, of the covariate's shape."""
        none, full, unknown = (self.factors[level] for level in ("nonexpresser", "expresser", "unknown"))
        code = covariates[self.covariate]
        return xp.where(code == 0, none, xp.where(code == 1, full, unknown))


class Scale(Relation):
    """1 + (multiplier - 1) * covariate for a covariate from 0 (off) to 1 (on); always on without a covariate."""

    kind: Literal["scale"]
    covariate: Literal["azole", "immunoassay", "protein_loss"] | None = None
    multiplier: Number = Field(gt=0)

    def factor(self, xp: Any, covariates: Mapping[str, Any]) -> Any:
        """The factor, of the covariate's shape."""
        share = 1.0 if self.covariate is None else covariates[self.covariate]
        return 1.0 + (self.multiplier - 1.0) * share


class DosePower(Relation):
    """(max(dose, smallest_dose) / reference)^exponent, of the amount of one dose."""

    needs_dose: ClassVar[bool] = True
    kind: Literal["dose_power"]
    reference: str
    exponent: Number
    smallest_dose: str

    @model_validator(mode="after")
    def _fits(self) -> DosePower:
        for text in (self.reference, self.smallest_dose):
            if quantity(text, "mg").value <= 0:
                raise fault(f"`{text}` is not positive", rule="A reference dose is more than zero")
        return self

    def dose_factor(self, xp: Any, covariates: Mapping[str, Any], amount: Any, daily: Mapping[str, Any]) -> Any:
        """The factor for doses of `amount` [mg]."""
        reference, smallest = milligrams(self.reference), milligrams(self.smallest_dose)
        return (xp.maximum(amount, smallest) / reference) ** self.exponent


class CompanionReduction(Relation):
    """1 - largest * D / (half_dose + D), D [mg/day] of companion drugs, scaled to `adult_weight` by weight.

    D = sum over companions of equivalence * daily dose * adult_weight / weight.
    """

    needs_dose: ClassVar[bool] = True
    kind: Literal["companion_reduction"]
    companions: dict[str, Annotated[Number, Field(gt=0)]] = Field(min_length=1)
    largest: Fraction = Field(gt=0, le=1)
    half_dose: str
    adult_weight: str

    @model_validator(mode="after")
    def _fits(self) -> CompanionReduction:
        if quantity(self.half_dose, "mg/day").value <= 0 or quantity(self.adult_weight, "kg").value <= 0:
            raise fault("a half dose or weight is not positive", rule="Both are divided by")
        return self

    def covariates(self) -> tuple[str, ...]:
        """It needs the weight."""
        return ("weight",)

    def dose_factor(self, xp: Any, covariates: Mapping[str, Any], amount: Any, daily: Mapping[str, Any]) -> Any:
        """The factor given daily doses [mg/day] by drug name; an absent drug counts as none."""
        half, adult = quantity(self.half_dose, "mg/day"), quantity(self.adult_weight, "kg")
        present = [ratio * daily[name] for name, ratio in self.companions.items() if name in daily]
        if not present:
            return 1.0
        weight_70 = adult.value * unit_factor(adult.unit, "kg") / covariates["weight"]
        dose = sum(present) * weight_70
        return 1.0 - self.largest * dose / (half.value * unit_factor(half.unit, "mg/day") + dose)


def milligrams(text: str) -> float:
    """A mass such as `5 mg` in mg. Raises: UnitError through pydantic."""
    measure = quantity(text, "mg")
    return measure.value * unit_factor(measure.unit, "mg")


CovariateRelation = Power | PowerBelow | HillMaturation | AgeSaturation | Category | Scale
DoseRelation = DosePower | CompanionReduction
AnyRelation = Annotated[CovariateRelation | DoseRelation, Field(discriminator="kind")]
