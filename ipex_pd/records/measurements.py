"""Clinical measurements: which quantity each reads, with what error, and between which limits of its assay.

Numbers of an error (`sd`, `cuts`, `threshold`) and limits stand in the `unit` of their measurement. With the true value
`f` and a standard normal `e`, the measured value `y` is

```
additive      y = f + sd e
proportional  y = f (1 + cv e)
combined      y = f + sqrt(sd^2 + (cv f)^2) e
lognormal     y = f exp(s e),  s = sqrt(log(1 + cv^2)):  median f, coefficient of variation cv
logit_normal  logit(y) = logit(f) + sd e,  y and f as shares of the whole
ordinal       y = number of cuts at or below f + sd e
event         y = the visit at which f has first been beyond the threshold
survival      y = the day of death, f being the probability to be alive
```
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ipex_pd.errors import RecordError
from ipex_pd.records.drugs import Drug, Residual
from ipex_pd.records.provenance import Citation, Source
from ipex_pd.records.record import Fraction, Name, Number, Record, fault, measures
from ipex_pd.units import factor, parse_measure


class Additive(Record):
    """Error of the same size everywhere: `sd` in the unit of the measurement."""

    kind: Literal["additive"]
    sd: Number = Field(gt=0)
    source: Source


class Proportional(Record):
    """Error in proportion to the value."""

    kind: Literal["proportional"]
    cv: Fraction = Field(gt=0)
    source: Source


class Combined(Record):
    """Both: variances add."""

    kind: Literal["combined"]
    cv: Fraction = Field(gt=0)
    sd: Number = Field(gt=0)
    source: Source


class Lognormal(Record):
    """Error of the logarithm; `cv` is the coefficient of variation of the value itself."""

    kind: Literal["lognormal"]
    cv: Fraction = Field(gt=0)
    source: Source


class LogitNormal(Record):
    """Error of the logit of a share; `sd` is on the logit scale."""

    kind: Literal["logit_normal"]
    sd: Number = Field(gt=0)
    source: Source


class Ordinal(Record):
    """Levels between cut points; with `sd` the quantity is judged with an error before it is cut."""

    kind: Literal["ordinal"]
    cuts: tuple[Number, ...] = Field(min_length=1)
    levels: tuple[str, ...]
    sd: Number = Field(0.0, ge=0)
    source: Source

    @model_validator(mode="after")
    def _ordered(self) -> Ordinal:
        if any(right <= left for left, right in zip(self.cuts, self.cuts[1:], strict=False)):
            raise fault("`cuts` do not rise", rule="Cut points stand in rising order, each once")
        if len(self.levels) != len(self.cuts) + 1:
            what = f"{len(self.levels)} levels for {len(self.cuts)} cuts"
            raise fault(what, rule="There is one level more than cut points", cure="Name every level once")
        return self


class Event(Record):
    """An onset: the quantity goes `below` or `above` the threshold; once come it is known at the next visit."""

    kind: Literal["event"]
    side: Literal["below", "above"]
    threshold: Number
    source: Source


class Survival(Record):
    """Death: the quantity is the probability to be alive, and the day of death is drawn from it."""

    kind: Literal["survival"]


AnyError = Annotated[
    Additive | Proportional | Combined | Lognormal | LogitNormal | Ordinal | Event | Survival,
    Field(discriminator="kind"),
]


class Limit(Record):
    """A limit of quantification, in the unit of the measurement."""

    value: Number
    source: Source


class Measurement(Record):
    """One clinical measurement.

    Attributes:
        name: its key.
        quantity: the quantity of a `Simulation` that it reads.
        unit: of the measured value; any unit that measures the same as the quantity.
        meaning: what is measured, for people.
        error: how the measured value differs from the true one; its `kind` names the law.
        lloq, uloq: lower and upper limit of quantification, None when there is none or it is not known.
    """

    name: Name
    quantity: str = Field(min_length=1)
    unit: str
    meaning: str = Field(min_length=1)
    error: AnyError
    lloq: Limit | None = None
    uloq: Limit | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Measurement:
        pure = measures(self.unit, "1")
        if self.kind in ("logit_normal", "survival") and not pure:
            raise fault(
                f"`{self.name}` is in `{self.unit}`",
                rule="It must be a share of a whole",
                kind="UnitError",
                at=("unit",),
            )
        if self.kind in ("ordinal", "event", "survival") and (self.lloq or self.uloq):
            raise fault(f"`{self.name}` is {self.kind} and has a limit", rule="Limits belong to assays")
        self._check_limits()
        return self

    def _check_limits(self) -> None:
        low, highest = 0.0, self.support[1]
        for name, limit in (("lloq", self.lloq), ("uloq", self.uloq)):
            if limit is not None:
                if not low < limit.value < highest:
                    rule = f"It lies above {low:g} and below {highest:g}"
                    raise fault(f"`{name}` {limit.value:g} is out of range", rule=rule, at=(name, "value"))
                low = limit.value

    @property
    def kind(self) -> str:
        """Name of the law of its error."""
        return self.error.kind

    @property
    def support(self) -> tuple[float, float]:
        """Between which ends a measured value can fall by its law, in `unit`."""
        if self.kind == "logit_normal":
            return 0.0, factor("fraction", self.unit)
        return (0.0 if self.kind == "lognormal" else float("-inf")), float("inf")


class Assay(Record):
    """Lower limit of quantification of the level of a drug, in a unit; its error stands in the drug's own file."""

    unit: str
    lloq: Limit

    @model_validator(mode="after")
    def _concentration(self) -> Assay:
        if not measures(self.unit, "mg/L"):
            raise fault(f"`{self.unit}` is not a mass concentration", kind="UnitError")
        return self

    def lloq_in(self, unit: str) -> Limit:
        """The limit in another unit."""
        return Limit(value=self.lloq.value * factor(self.unit, unit), source=self.lloq.source)


class Measurements(Record):
    """A file of measurements.

    Attributes:
        name, description: what it is about.
        measurements: by name.
        assays: of drugs, by the name of the drug.
        sources: citations that stand in the same file.
    """

    name: Name
    description: str = Field(min_length=1)
    measurements: dict[str, Measurement] = Field(min_length=1)
    assays: dict[str, Assay] = Field(default_factory=dict)
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _named(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or not isinstance(data.get("measurements"), Mapping):
            return data
        items = data["measurements"].items()
        return {
            **data,
            "measurements": {key: {"name": key, **item} if isinstance(item, Mapping) else item for key, item in items},
        }

    @model_validator(mode="after")
    def _keys(self) -> Measurements:
        for key, item in self.measurements.items():
            if key != item.name:
                raise fault(f"`{key}` is called `{item.name}` inside", rule="A measurement has one name")
        return self


def level_of(drug: Drug, assays: Mapping[str, Assay] | None = None) -> Measurement:
    """The measured concentration of a drug, `<drug>_level`, with the residual error of its file.

    Args:
        drug: the drug, or a variant of it.
        assays: limits of quantification by the name of the drug.

    Raises:
        RecordError: the file of the drug states no residual error.
    """
    if drug.residual is None:
        raise RecordError(
            f"the level of `{drug.name}` cannot be measured",
            rule="Its file states no residual error",
            cure="Give a measurement of your own for it",
        )
    measured, unit = drug.concentration.names[0].replace("_", " "), drug.concentration.unit
    assay = (assays or {}).get(drug.variant_of or drug.name)
    return Measurement(
        name=f"{drug.name}_level",
        quantity=drug.name,
        unit=unit,
        meaning=f"{drug.name}, {measured} concentration; before the dose where one is given then (trough)",
        error=_error_of(drug.residual, unit),
        lloq=assay.lloq_in(unit) if assay else None,
    )


def _error_of(residual: Residual, unit: str) -> Additive | Proportional | Combined:
    sd = 0.0
    if residual.additive:
        stated = parse_measure(residual.additive)
        sd = stated.value * factor(stated.unit, unit)
    if sd == 0:
        return Proportional(kind="proportional", cv=residual.proportional, source=residual.source)
    if residual.proportional == 0:
        return Additive(kind="additive", sd=sd, source=residual.source)
    return Combined(kind="combined", cv=residual.proportional, sd=sd, source=residual.source)
