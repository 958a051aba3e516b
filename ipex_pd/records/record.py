"""What every record shares: frozen, no unknown keys, and faults that carry what, rule and cure through pydantic."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, model_validator
from pydantic_core import PydanticCustomError

from ipex_pd.errors import IpexError, UnitError, nearest_hint
from ipex_pd.units import Measure, factor, parse_measure, same_dimension


def fault(
    what: str,
    *,
    rule: str = "",
    cure: str = "",
    kind: str = "RecordError",
    code: str = "",
    at: Sequence[str | int] = (),
) -> PydanticCustomError:
    """An error to raise inside a validator; `yamlfile` turns it into the named IpexError with its file and line.

    Args:
        what, rule, cure, code: see `IpexError`.
        kind: name of its class.
        at: where inside the record being checked it stands, such as `("doses", 0)`; the record itself when empty.
    """
    context = {"what": what, "rule": rule, "cure": cure, "kind": kind, "code": code, "at": tuple(at)}
    return PydanticCustomError("ipex", "{what}", context)


def carried(error: IpexError, at: Sequence[str | int] = ()) -> PydanticCustomError:
    """An IpexError raised below, made fit to travel through pydantic."""
    return fault(error.what, rule=error.rule, cure=error.cure, kind=type(error).__name__, code=error.code, at=at)


def words(name: str) -> str:
    """`TargetTrough` as `target trough`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name).lower()


_COMMA = "A comma inside {...} begins a new key: put the text in quotes"


class Record(BaseModel):
    """Base of everything that people write: frozen, and a key it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_validator(mode="before")
    @classmethod
    def _known_keys(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        known = cls.known_keys()
        for key in data:
            if key not in known and key not in cls.model_fields:
                raise fault(
                    f"`{key}` is not a key of a {words(cls.__name__)}",
                    rule=nearest_hint(str(key), known),
                    cure=_COMMA if data[key] is None and " " in str(key) else "Rename it or take it out",
                    kind="UnknownKeyError",
                    at=(str(key),),
                )
        return data

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """The keys that people may write."""
        return tuple(field.alias or name for name, field in cls.model_fields.items())

    def as_data(self) -> dict[str, Any]:
        """Plain data as it stands in a file: only what was written or differs from the default."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _percent(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        measure = parse_measure(value)
        return measure.value * factor(measure.unit, "1")
    except IpexError as error:
        raise carried(error) from error


def measures(unit: str, like: str) -> bool:
    """Whether a unit measures the same as another. Raises (for pydantic): UnitError on an unknown unit."""
    try:
        return same_dimension(unit, like)
    except IpexError as error:
        raise carried(error) from error


def quantity(value: Any, like: str, positive: bool = True) -> Measure:
    """Read `0.1 mg/kg` (or take a Measure) that measures the same as `like`.

    Raises:
        PydanticCustomError: no unit, an unknown unit, another dimension, or a negative number.
    """
    try:
        measure = value if isinstance(value, Measure) else parse_measure(value, like=like)
        fits = same_dimension(measure.unit, like)
    except IpexError as error:
        raise carried(error) from error
    if not fits:
        raise fault(
            f"`{measure.value:g} {measure.unit}` does not measure what is asked",
            rule=f"The unit must be `{like}` or a multiple of it",
            kind=UnitError.__name__,
        )
    if not math.isfinite(measure.value):
        raise fault(f"`{value}` is not a finite number", rule="Numbers are finite")
    if positive and measure.value < 0:
        raise fault(f"`{measure.value:g} {measure.unit}` is negative", rule="It must be zero or more")
    return measure


def _days(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    measure = quantity(value, "day", positive=False)
    return measure.value * factor(measure.unit, "day")


def _length_of_time(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        what, cure = f"`{value}` has no unit", "Write for example `12 h` or `7 day`"
        raise fault(what, rule="Every duration carries its unit", cure=cure, kind="UnitError")
    return value


def _as_days(value: Any) -> Any:
    return f"{float(value)!r} day"


def one_or_many(value: Any) -> Any:
    """A single text where a list may stand."""
    return (value,) if isinstance(value, str) else value


Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
"""A finite number; text and true/false are not numbers."""

Fraction = Annotated[float, BeforeValidator(_percent), Field(strict=True, allow_inf_nan=False)]
"""A pure number, written `0.3` or `30 %`."""

Day = Annotated[float, BeforeValidator(_days), Field(allow_inf_nan=False)]
"""A point in time [day], written as a number of days or with a unit (`14`, `2 week`)."""

Span = Annotated[
    float,
    BeforeValidator(_days),
    BeforeValidator(_length_of_time),
    PlainSerializer(_as_days),
    Field(allow_inf_nan=False),
]
"""A length of time [day], always written with its unit (`12 h`)."""

Texts = Annotated[tuple[str, ...], BeforeValidator(one_or_many)]
"""One text or a list of them."""

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
"""A lower-case word with underscores."""
