"""Amounts and moments as a prescriber writes them: `2 mg/kg/day`, `60 mg/m2`, `transplant - 1 day`."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, PlainSerializer

from ipex_pd.errors import UnitError
from ipex_pd.records.record import fault

Basis = Literal["mg", "mg/kg", "mg/m2"]

_AMOUNT = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([a-zA-Zµμ]+)?(.*)$")
_MASSES = {"g": 1000.0, "mg": 1.0, "ug": 1e-3, "mcg": 1e-3, "µg": 1e-3, "μg": 1e-3}
_SIZES: dict[str, Basis] = {"kg": "mg/kg", "m2": "mg/m2", "m**2": "mg/m2", "m^2": "mg/m2"}
_DAYS = {"day", "d", "days"}
_MOMENT = re.compile(r"^transplant\s*(?:([+-])\s*(\d+(?:\.\d+)?)\s*(day|week)s?)?$")
_PLAIN = re.compile(r"^([+-]?\d+(?:\.\d+)?)\s*(day|week|month|year)s?$")
_SPANS = {"day": 1.0, "week": 7.0, "month": 30.4375, "year": 365.25}

DOSE_RULE = "A dose is written as `5 mg`, `0.1 mg/kg`, `60 mg/m2`, or a day's amount as `2 mg/kg/day`"


class Amount(NamedTuple):
    """A dose: value [mg, mg/kg or mg/m2], its basis, and whether it is the amount of a whole day."""

    value: float
    basis: Basis
    per_day: bool

    def __str__(self) -> str:
        return f"{self.value:g} {self.unit}"

    @property
    def unit(self) -> str:
        """`mg/kg/day` and so on."""
        return f"{self.basis}/day" if self.per_day else self.basis

    def per_dose(self, doses_a_day: float) -> float:
        """The value of one dose."""
        return self.value / doses_a_day if self.per_day else self.value


def parse_amount(value: Any) -> Amount:
    """Read an amount. Raises (for pydantic): UnitError or RecordError with rule and cure."""
    if isinstance(value, Amount):
        return value
    match = _AMOUNT.match(str(value).strip()) if not isinstance(value, bool) else None
    if match is None:
        raise fault(f"`{value}` is not a dose", rule=DOSE_RULE, kind=UnitError.__name__)
    if match.group(2) is None:
        what = f"dose `{value}` has no unit"
        raise fault(what, rule=DOSE_RULE, cure=f"Write for example `{match.group(1)} mg`", kind=UnitError.__name__)
    number, mass = float(match.group(1)), match.group(2)
    parts = [part.strip() for part in match.group(3).split("/")[1:]]
    per_day = bool(parts) and parts[-1] in _DAYS
    sizes = parts[:-1] if per_day else parts
    if mass not in _MASSES or len(sizes) > 1 or any(size not in _SIZES for size in sizes):
        raise fault(f"`{value}` is not a dose", rule=DOSE_RULE, kind=UnitError.__name__)
    if not math.isfinite(number):
        raise fault(f"dose `{value}` is not a finite number", rule="Numbers are finite")
    if number < 0:
        raise fault(f"dose `{value}` is negative", rule="A dose is zero or more", cure="Write it without the minus")
    return Amount(number * _MASSES[mass], _SIZES[sizes[0]] if sizes else "mg", per_day)


class Moment(NamedTuple):
    """A day [day], counted from the start or from the (first) transplant."""

    day: float
    anchor: Literal["start", "transplant"] = "start"

    def __str__(self) -> str:
        if self.anchor == "start":
            return f"day {self.day:g}"
        return "transplant" if self.day == 0 else f"transplant {'+' if self.day > 0 else '-'} {abs(self.day):g} day"


def parse_moment(value: Any) -> Moment:
    """Read a day: `14`, `2 week`, `transplant`, `transplant - 1 day`. Raises (for pydantic): RecordError."""
    if isinstance(value, Moment):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Moment(float(value))
    text = str(value).strip()
    relative, plain = _MOMENT.match(text), _PLAIN.match(text)
    if relative is not None:
        days = float(relative.group(2) or 0) * _SPANS[relative.group(3) or "day"]
        return Moment(-days if relative.group(1) == "-" else days, "transplant")
    if plain is not None:
        return Moment(float(plain.group(1)) * _SPANS[plain.group(2)])
    raise fault(
        f"`{value}` is not a day", rule="A day is written as `14`, `2 week`, `transplant` or `transplant - 1 day`"
    )


def _moment_text(moment: Moment) -> Any:
    return moment.day if moment.anchor == "start" else str(moment)


DoseAmount = Annotated[Amount, BeforeValidator(parse_amount), PlainSerializer(str)]
When = Annotated[Moment, BeforeValidator(parse_moment), PlainSerializer(_moment_text)]
