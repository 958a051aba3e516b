"""Parameters: value, unit, meaning, bounds, scale, variability between patients, uncertainty and source."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from ipex_pd.errors import RecordError, UnknownKeyError, nearest_hint
from ipex_pd.records.provenance import Citation, Source, assumed, require_citations
from ipex_pd.records.record import Fraction, Name, Number, Record, carried, fault
from ipex_pd.records.yamlfile import build, first, read_document, save_data
from ipex_pd.units import convert, dimension, factor, parse_measure

Scale = Literal["natural", "log", "logit"]


class Variability(Record):
    """How a parameter differs between patients.

    Attributes:
        distribution: `lognormal` (value * exp(eta)), `normal` (value + eta) or `logit` (eta added between the bounds).
        cv: coefficient of variation [1]; for lognormal, sd of eta = sqrt(ln(1 + cv^2)).
        sd: standard deviation of eta (lognormal, logit) or in the parameter's unit (normal); instead of cv.
        source: where the number comes from, when it is another place than the value's.
    """

    distribution: Literal["lognormal", "normal", "logit"] = "lognormal"
    cv: Fraction | None = Field(None, ge=0)
    sd: Fraction | None = Field(None, ge=0)
    source: Source | None = None

    @model_validator(mode="after")
    def _one_spread(self) -> Variability:
        if (self.cv is None) == (self.sd is None):
            raise fault("variability needs one of `cv` and `sd`", rule="A spread is stated once")
        if self.distribution == "logit" and self.sd is None:
            raise fault("a logit variability needs `sd`", rule="On the logit scale a spread is a standard deviation")
        return self

    def eta_sd(self, value: float) -> float:
        """Standard deviation of the random effect for a typical value."""
        if self.sd is not None:
            return self.sd
        cv = self.cv or 0.0
        return math.sqrt(math.log1p(cv * cv)) if self.distribution == "lognormal" else cv * abs(value)


class Uncertainty(Record):
    """How well the value is known: one of rse, sd, interval or range.

    Attributes:
        rse: relative standard error [1].
        sd: standard error in the parameter's unit.
        interval: low and high of a confidence interval, of the stated `level`.
        range: lowest and highest value seen or thought possible.
    """

    rse: Fraction | None = Field(None, ge=0)
    sd: Number | None = Field(None, ge=0)
    interval: tuple[Number, Number] | None = None
    level: Fraction = Field(0.95, gt=0, lt=1)
    range: tuple[Number, Number] | None = None

    @model_validator(mode="after")
    def _one(self) -> Uncertainty:
        stated = [x for x in (self.rse, self.sd, self.interval, self.range) if x is not None]
        if len(stated) != 1:
            raise fault("uncertainty needs one of `rse`, `sd`, `interval`, `range`", rule="It is stated once")
        for pair in (self.interval, self.range):
            if pair is not None and pair[0] > pair[1]:
                raise fault(f"`{pair[0]:g}` is above `{pair[1]:g}`", rule="An interval is written [low, high]")
        return self


class Parameter(Record):
    """One number of a model.

    Attributes:
        name: its name in the equations.
        value, unit, meaning: what it is.
        bounds: lowest and highest value allowed; None is open.
        scale: the scale on which it is searched and drawn.
        variability: between patients, or None when it is the same in all.
        uncertainty: of the value itself.
        source: where the value comes from.
    """

    name: Name
    value: Number
    unit: str
    meaning: str = Field(min_length=1)
    bounds: tuple[Number | None, Number | None] = (None, None)
    scale: Scale = "natural"
    variability: Variability | None = None
    uncertainty: Uncertainty | None = None
    source: Source

    @model_validator(mode="after")
    def _sound(self) -> Parameter:
        try:
            dimension(self.unit)
        except RecordError as error:
            raise carried(error, at=("unit",)) from error
        low, high = self.limits
        if not low <= self.value <= high:
            raise fault(
                f"`{self.name}` is {self.value:g} {self.unit}, outside its bounds {_text(low)} to {_text(high)}",
                rule="A value lies inside its bounds",
                cure="Change the value, or the bounds with a reason",
                at=("value",),
            )
        if self.scale == "log" and (self.value <= 0 or low < 0):
            raise fault(f"`{self.name}` is on a log scale and not positive", rule="Log scale needs positive values")
        logit = self.scale == "logit" or (self.variability is not None and self.variability.distribution == "logit")
        if logit and not (math.isfinite(low) and math.isfinite(high) and low < self.value < high):
            what = f"`{self.name}` is on a logit scale and not between two bounds"
            raise fault(what, rule="Logit scale needs low < value < high")
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds as numbers, open ones infinite."""
        low, high = self.bounds
        return (-math.inf if low is None else low, math.inf if high is None else high)

    def value_in(self, unit: str) -> float:
        """The value in another unit. Raises: UnitError."""
        return float(convert(self.value, self.unit, unit))


def _text(bound: float) -> str:
    return "open" if math.isinf(bound) else f"{bound:g}"


def _named(data: Any) -> Any:
    """A mapping name -> fields as a list of fields with their names (other shapes are left to the checks)."""
    if not isinstance(data, Mapping):
        return data
    return [{"name": name, **fields} if isinstance(fields, Mapping) else fields for name, fields in data.items()]


def unnamed(parameter: Parameter) -> dict[str, Any]:
    """A parameter as plain data without its name."""
    return {key: value for key, value in parameter.as_data().items() if key != "name"}


def _by_name(parameters: Iterable[Parameter]) -> dict[str, Any]:
    return {parameter.name: unnamed(parameter) for parameter in parameters}


ParametersByName = Annotated[
    tuple[Parameter, ...], Field(min_length=1), BeforeValidator(_named), PlainSerializer(_by_name)
]
"""Parameters in the order of the file, written there as `name: {value: ..., unit: ..., ...}`."""


class ParameterSet(Record):
    """A named set of parameters, and what it is not meant for.

    Attributes:
        name, description: what it is.
        is_not: what it must not be used for, in words.
        sources: citations that stand in the same file, beside those of the shelf.
        parameters: see `ParametersByName`.
    """

    name: Name
    description: str = Field(min_length=1)
    is_not: str = Field(min_length=1)
    sources: dict[str, Citation] = Field(default_factory=dict)
    parameters: ParametersByName

    @property
    def names(self) -> tuple[str, ...]:
        """Names in order."""
        return tuple(p.name for p in self.parameters)

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def __getitem__(self, name: str) -> Parameter:
        """One parameter. Raises: UnknownKeyError with the nearest names."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise UnknownKeyError(
            f"`{name}` is not a parameter of `{self.name}`", rule=nearest_hint(name, self.names), cure="Rename it"
        )

    def values(self, units: Mapping[str, str] | None = None) -> dict[str, float]:
        """Values by name, in the asked units where given and in their own elsewhere.

        Raises:
            UnknownKeyError: a name that is not in the set.
            UnitError: a unit that measures something else.
        """
        asked = dict(units or {})
        for name in asked:
            self[name]
        return {p.name: p.value_in(asked.get(p.name, p.unit)) for p in self.parameters}

    def replace(self, changes: Mapping[str, float | str | Parameter], reason: str = "") -> ParameterSet:
        """A new set with other values; a text carries its unit, a number is in the parameter's unit.

        The new value's source is `assumed` with `reason`, unless a whole Parameter is given.

        Raises:
            UnknownKeyError: a name that is not in the set.
            UnitError: a unit that measures something else.
            RecordError: a value outside its bounds.
        """
        new = {name: _changed(self[name], change, reason) for name, change in changes.items()}
        return self.model_copy(update={"parameters": tuple(new.get(p.name, p) for p in self.parameters)})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the set as a YAML file that `load` reads back to an equal set."""
        save_data(path, self.as_data())

    @classmethod
    def load(cls, path: str | os.PathLike[str], citations: Iterable[str] | None = None) -> ParameterSet:
        """Read a set; with `citations`, keys that stand neither there nor in the file are refused.

        Raises:
            RecordError: unknown keys, units, bounds, missing sources; with file and line.
        """
        document = read_document(path)
        record, faults = build(cls, document)
        if record is None:
            raise first(faults)
        if citations is not None:
            require_citations(record, {*citations, *record.sources}, document)
        return record


def _changed(old: Parameter, change: float | str | Parameter, reason: str) -> Parameter:
    if isinstance(change, Parameter):
        return change
    if isinstance(change, str):
        measure = parse_measure(change, where=old.name)
        value = measure.value * factor(measure.unit, old.unit)
    else:
        value = float(change)
    low, high = old.limits
    if not (math.isfinite(value) and low <= value <= high):
        raise RecordError(
            f"`{old.name}` cannot be {value:g} {old.unit}",
            rule=f"Its bounds are {_text(low)} to {_text(high)}",
            cure="Choose a value inside, or change the bounds in the file",
        )
    why = reason or f"set in place of {old.value:g} {old.unit} ({old.source.in_words()})"
    return old.model_copy(update={"value": value, "source": assumed(why)})
