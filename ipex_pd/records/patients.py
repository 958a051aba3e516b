"""Patients: who the child is, what state it starts in, and what was observed later; each fact with its source."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from ipex_pd.errors import IpexError, UnitError, UnknownKeyError, nearest_hint
from ipex_pd.records.provenance import Citation, Source
from ipex_pd.records.record import Name, Number, Record, Texts, carried, fault, one_or_many, quantity
from ipex_pd.records.relations import COVARIATES, CYP3A5
from ipex_pd.units import dimension, factor

Foxp3 = Literal["deletion", "frameshift", "polyadenylation", "missense", "splice", "in_frame", "healthy"]
Donor = Literal["matched_related", "matched_unrelated", "haploidentical", "mismatched"]

START: dict[str, tuple[str, float, float | None]] = {
    "gut_injury": ("1", 0.0, 1.0),
    "skin_injury": ("1", 0.0, 1.0),
    "liver_injury": ("1", 0.0, 1.0),
    "kidney_injury": ("1", 0.0, 1.0),
    "lung_injury": ("1", 0.0, 1.0),
    "blood_injury": ("1", 0.0, 1.0),
    "beta_cell_mass": ("1", 0.0, 1.0),
    "thyroid_mass": ("1", 0.0, 1.0),
    "renal_scarring": ("1", 0.0, 1.0),
    "ige": ("IU/mL", 0.0, None),
    "autoantibody": ("ULN", 0.0, None),
}
"""States that a patient file may set at the start: unit, lowest and highest value."""


class Fact(Record):
    """A number (pure, or with its unit as text) and where it comes from."""

    value: Number | str
    source: Source

    def __str__(self) -> str:
        return self.value if isinstance(self.value, str) else f"{self.value:g}"

    def in_unit(self, unit: str) -> float:
        """The value in a unit; a pure number is accepted where the unit is `1` or `SD`."""
        if not isinstance(self.value, str):
            if unit not in {"1", "SD"}:
                what, cure = f"`{self.value:g}` has no unit", f"Write for example `{self.value:g} {unit}`"
                raise fault(what, rule="Every quantity carries its unit", cure=cure, kind=UnitError.__name__)
            return self.value
        measure = quantity(self.value, unit, positive=False)
        return measure.value * factor(measure.unit, unit)


class Genotype(Record):
    """The FOXP3 class, with the variant as published."""

    value: Foxp3
    variant: str = ""
    source: Source


class Cyp3a5(Record):
    """The CYP3A5 type."""

    value: Literal["nonexpresser", "expresser", "unknown"]
    source: Source


class Observation(Record):
    """Something seen in the patient, for comparison with a simulation.

    Attributes:
        time: days since `since`; `approximate` when the source gives it roughly.
        since: `birth` or `transplant`.
        quantity: name of a model quantity (`ige`, `treg_percent`, ...) or words.
        value, unit: a number with its unit, or words with no unit.
        limit: `above` or `below` when the value is only a bound.
        source: where it stands.
    """

    time: str
    since: Literal["birth", "transplant"] = "birth"
    approximate: bool = False
    quantity: str
    value: Number | str
    unit: str = ""
    limit: Literal["", "above", "below"] = ""
    source: Source

    @model_validator(mode="after")
    def _sound(self) -> Observation:
        quantity(self.time, "day", positive=False)
        if isinstance(self.value, str):
            if self.unit:
                raise fault(f"`{self.value}` with a unit", rule="Words have no unit")
            return self
        if not self.unit:
            what = f"observation `{self.quantity}` has no unit"
            raise fault(what, rule="Every quantity carries its unit", cure="Write `unit: ...`", kind=UnitError.__name__)
        try:
            dimension(self.unit)
        except IpexError as error:
            raise carried(error) from error
        return self

    @property
    def day(self) -> float:
        """Days since `since`."""
        measure = quantity(self.time, "day", positive=False)
        return measure.value * factor(measure.unit, "day")


class Patient(Record):
    """A child.

    Attributes:
        name, description, sex: who it is.
        stated_age: age at the start of the simulation, written `age: {value: 300 day, source: ...}`.
        weight or weight_z, height or height_z: size at the start; the median for age when absent.
        foxp3, residual_function: genotype class, and the residual suppressive function (0 to 1) if it is set by hand.
        cyp3a5, haematocrit, albumin, bilirubin, azole: what drug kinetics need; reference values when absent.
        donors: transplant donors that exist for this child.
        history: `born_untreated` starts from an untreated course since birth, `as_stated` from the healthy state;
            facts under `start` replace what it gives.
        start: organ states and laboratory values on day 0.
        observations: what was seen.
    """

    name: Name
    description: str = Field(min_length=1)
    sex: Literal["male", "female"]
    stated_age: Fact = Field(alias="age")
    stated_weight: Fact | None = Field(None, alias="weight")
    weight_z: Fact | None = None
    stated_height: Fact | None = Field(None, alias="height")
    height_z: Fact | None = None
    foxp3: Genotype
    residual_function: Fact | None = None
    cyp3a5: Cyp3a5 | None = None
    haematocrit: Fact | None = None
    albumin: Fact | None = None
    bilirubin: Fact | None = None
    azole: Fact | None = None
    donors: Annotated[tuple[Donor, ...], BeforeValidator(one_or_many)] = ()
    history: Literal["born_untreated", "as_stated"] = "born_untreated"
    start: dict[str, Fact] = Field(default_factory=dict)
    observations: tuple[Observation, ...] = ()
    limits: Texts = ()
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound(self) -> Patient:
        if self.age < 0:
            raise fault(
                f"age `{self.stated_age.value}` is negative",
                rule="A child starts at birth or later",
                cure="Write `0 day` for birth",
                at=("age",),
            )
        for name, size, z in (
            ("weight", self.stated_weight, self.weight_z),
            ("height", self.stated_height, self.height_z),
        ):
            if size is not None and z is not None:
                raise fault(
                    f"both `{name}` and `{name}_z`", rule="Size is stated once", cure="Take one of them out", at=(name,)
                )
        for name in ("weight_kg", "height_cm"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                word = name.split("_")[0]
                raise fault(f"`{word}` is not positive", rule="A child has a size", at=(word,))
        self._check_ranges()
        self._check_start()
        return self

    def _check_ranges(self) -> None:
        ranges = {"residual_function": (0.0, 1.0), "haematocrit": (0.05, 0.8), "azole": (0.0, 1.0)}
        for name, (low, high) in ranges.items():
            fact: Fact | None = getattr(self, name)
            if fact is not None and not low <= fact.in_unit("1") <= high:
                raise fault(f"`{name}` is {fact}", rule=f"It lies between {low:g} and {high:g}", at=(name,))
        for name in ("albumin", "bilirubin"):
            fact = getattr(self, name)
            if fact is not None and fact.in_unit(COVARIATES[name][0]) <= 0:
                raise fault(f"`{name}` is {fact}", rule="It is more than zero", at=(name,))
        for name, fact in (("weight_z", self.weight_z), ("height_z", self.height_z)):
            if fact is not None and not -8 <= fact.in_unit("SD") <= 5:
                raise fault(f"a z-score of {fact}", rule="It lies between -8 and 5", at=(name,))

    def _check_start(self) -> None:
        for name, fact in self.start.items():
            if name not in START:
                what = f"`{name}` is not a state that a patient may start in"
                raise fault(what, rule=nearest_hint(name, START), kind=UnknownKeyError.__name__, at=("start", name))
            unit, low, high = START[name]
            value = fact.in_unit(unit)
            if value < low or (high is not None and value > high):
                ends = f"between {low:g} and {high:g}" if high is not None else f"{low:g} or more"
                raise fault(f"`{name}` starts at {value:g}", rule=f"It is {ends}", at=("start", name))

    @property
    def age(self) -> float:
        """Age at the start [day]."""
        return self.stated_age.in_unit("day")

    @property
    def weight_kg(self) -> float | None:
        """Stated weight at the start [kg]."""
        return None if self.stated_weight is None else self.stated_weight.in_unit("kg")

    @property
    def height_cm(self) -> float | None:
        """Stated length or height at the start [cm]."""
        return None if self.stated_height is None else self.stated_height.in_unit("cm")

    def start_values(self) -> dict[str, float]:
        """Stated states at the start, in the units of `START`."""
        return {name: fact.in_unit(START[name][0]) for name, fact in self.start.items()}

    def size_z(self) -> dict[str, float]:
        """`weight_z` and `height_z` [SD] at the start: as stated, from the stated size, or 0."""
        from ipex_pd.records import growth

        found = {"weight_z": 0.0, "height_z": 0.0}
        if self.weight_z is not None:
            found["weight_z"] = self.weight_z.in_unit("SD")
        if self.height_z is not None:
            found["height_z"] = self.height_z.in_unit("SD")
        if self.weight_kg is not None:
            found["weight_z"] = float(growth.z_score("weight", self.sex, self.age, self.weight_kg))
        if self.height_cm is not None:
            found["height_z"] = float(growth.z_score("height", self.sex, self.age, self.height_cm))
        return found

    def covariates(self) -> dict[str, float]:
        """Stated covariates of drug kinetics in the units of `COVARIATES`; `cyp3a5` as its code."""
        found = {"cyp3a5": float(CYP3A5.index(self.cyp3a5.value if self.cyp3a5 else "unknown"))}
        for name in ("haematocrit", "albumin", "bilirubin", "azole"):
            fact: Fact | None = getattr(self, name)
            if fact is not None:
                found[name] = fact.in_unit(COVARIATES[name][0])
        return found

    def facts(self) -> Iterator[tuple[str, str, Source]]:
        """(what, value as written, source) of every fact stated about the start."""
        for name, field in type(self).model_fields.items():
            fact = getattr(self, name)
            if isinstance(fact, Fact | Genotype | Cyp3a5):
                yield field.alias or name, str(fact) if isinstance(fact, Fact) else fact.value, fact.source
        for name, fact in self.start.items():
            yield name, str(fact), fact.source


def assumptions(patient: Patient) -> dict[str, str]:
    """What is assumed about a patient: fact -> reason."""
    return {name: source.reason for name, _, source in patient.facts() if source.assumed}
