"""The unit vocabulary: the only door to pint.

Every number that people write carries a unit; inside, time is in days. A unit is a string such as ``mg/kg``, ``L/h``,
``cells/uL`` or ``1`` (dimensionless). Pint is loaded on first use, so that the command line starts fast.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, NamedTuple

from ipex_pd.errors import UnitError

_DEFINITIONS = (
    "cell = [cell] = cells",
    "IU = [activity]",
    "SD = [zscore]",
    "ULN = [limit_of_normal]",
    "fraction = []",
    "percent = 0.01",
)


class Measure(NamedTuple):
    """A number with its unit."""

    value: float
    unit: str


@lru_cache(maxsize=1)
def _registry() -> Any:
    import pint

    registry: Any
    try:
        registry = pint.UnitRegistry(cache_folder=":auto:")
        registry.parse_units("mg")
    except OSError:  # no place to keep the parsed definitions
        registry = pint.UnitRegistry(cache_folder=None)
    for definition in _DEFINITIONS:
        # `percent` exists in recent pint; redefinition is harmless but noisy.
        if definition.split(" ")[0] not in registry:
            registry.define(definition)
    return registry


@lru_cache(maxsize=4096)
def _unit(text: str) -> Any:
    cleaned = text.strip().replace("%", "percent").replace("µ", "u").replace("μ", "u")
    if cleaned in {"", "1", "-"}:
        return _registry().Unit("")
    # `m2`, `m3` as clinicians write them
    cleaned = re.sub(r"\bm([23])\b", r"m**\1", cleaned)
    registry = _registry()
    try:
        return registry.parse_units(cleaned)
    except Exception as error:
        raise UnitError(
            f"`{text}` is not a unit", rule="Units are written as in `mg/kg`, `L/h`, `ng/mL`, `1/day`, `cells/uL`, `1`"
        ) from error


@lru_cache(maxsize=4096)
def factor(source: str, target: str) -> float:
    """The number by which a value in ``source`` is multiplied to be in ``target``.

    Raises:
        UnitError: the two measure different things.
    """
    if source == target:
        return 1.0
    left, right = _unit(source), _unit(target)
    if left.dimensionality != right.dimensionality:
        raise UnitError(
            f"`{source}` cannot be turned into `{target}`",
            rule="Both must measure the same thing",
            cure=f"Write the value in `{target}` or a multiple of it",
        )
    return float(_registry().Quantity(1.0, left).to(right).magnitude)


def convert(value: Any, source: str, target: str) -> Any:
    """``value`` (number or array) from one unit to another. Raises: UnitError."""
    return value * factor(source, target)


def same_dimension(left: str, right: str) -> bool:
    """Whether two units measure the same thing."""
    return bool(_unit(left).dimensionality == _unit(right).dimensionality)


def dimension(unit: str) -> dict[str, float]:
    """The dimension of a unit as exponents of base dimensions; empty for a pure number."""
    return {str(k): float(v) for k, v in _unit(unit).dimensionality.items()}


_NUMBER = re.compile(r"^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*(.*?)\s*$")


def parse_measure(text: str | int | float, *, where: str = "", like: str = "") -> Measure:
    """Read ``0.15 mg/kg`` as ``Measure(0.15, "mg/kg")``; the unit must be there.

    Args:
        text: what was written.
        where: its place, for the error.
        like: a unit that would fit, for the cure.

    Raises:
        UnitError: no number, no unit, or an unknown unit.
    """
    match = _NUMBER.match(str(text))
    example = f"1 {like}" if like else "0.15 mg/kg"
    if match is None:
        raise UnitError(f"`{text}` is not a number with a unit", where=where, rule=f"Write for example `{example}`")
    number, unit = float(match.group(1)), match.group(2)
    if unit == "":
        raise UnitError(
            f"`{text}` has no unit",
            where=where,
            rule="Every quantity carries its unit",
            cure=f"Write for example `{str(text).strip()} {like or 'mg'}`",
        )
    try:
        _unit(unit)
    except UnitError as error:
        raise UnitError(error.what, where=where, rule=error.rule) from error
    return Measure(number, unit)
