"""Units through the equations: every sum adds like to like, every rate is its state's unit a day.

The walk gives each expression the dimension of its names and reports each place where two do not fit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

import sympy

from ipex_pd.equations.model import Equations, Model
from ipex_pd.equations.symbols import Name, declaration
from ipex_pd.errors import ModelError
from ipex_pd.units import dimension

Dimension = tuple[tuple[str, Fraction], ...]
PURE: Dimension = ()


@dataclass(frozen=True)
class Misfit:
    """One unit that does not fit.

    Attributes:
        where: the equation, in words.
        part: the expression at fault.
        found, expected: dimensions in words.
    """

    where: str
    part: str
    found: str
    expected: str

    def in_words(self) -> str:
        """One line for people."""
        return f"{self.where}: `{self.part}` is {self.found}, not {self.expected}"


class _Unfit(Exception):
    def __init__(self, part: sympy.Basic, found: Dimension, expected: Dimension) -> None:
        self.part, self.found, self.expected = part, found, expected


def of_unit(unit: str) -> Dimension:
    """The dimension of a unit, in a form that can be compared."""
    return _tidy({base: Fraction(power).limit_denominator(12) for base, power in dimension(unit).items()})


def _tidy(powers: Mapping[str, Fraction]) -> Dimension:
    return tuple(sorted((base, power) for base, power in powers.items() if power))


def _times(*factors: tuple[Dimension, Fraction]) -> Dimension:
    total: dict[str, Fraction] = {}
    for powers, exponent in factors:
        for base, power in powers:
            total[base] = total.get(base, Fraction(0)) + power * exponent
    return _tidy(total)


def in_words(powers: Dimension) -> str:
    """A dimension for people: `[cell] [length]^-3`."""
    if not powers:
        return "a pure number"
    return " ".join(base if power == 1 else f"{base}^{power}" for base, power in powers)


def _same(parts: list[tuple[sympy.Basic, Dimension]]) -> Dimension:
    first = parts[0][1]
    for part, found in parts[1:]:
        if found != first:
            raise _Unfit(part, found, first)
    return first


def _of_sum(terms: tuple[sympy.Basic, ...]) -> Dimension:
    counted = [(term, of_expression(term)) for term in terms if term != 0]
    return _same(counted) if counted else PURE


def _of_power(base: sympy.Basic, exponent: sympy.Basic) -> Dimension:
    powers = of_expression(base)
    if not powers:
        return _require_pure(exponent)
    if not exponent.is_Rational:
        raise _Unfit(base, powers, PURE)
    return _times((powers, Fraction(int(exponent.p), int(exponent.q))))


def _require_pure(expression: sympy.Basic) -> Dimension:
    found = of_expression(expression)
    if found:
        raise _Unfit(expression, found, PURE)
    return PURE


def of_expression(expression: sympy.Basic) -> Dimension:
    """The dimension of an expression of declared names.

    Raises:
        ModelError: a name was never declared.
    """
    if isinstance(expression, Name):
        return of_unit(declaration(expression).unit)
    if expression.is_Number or expression in (sympy.true, sympy.false):
        return PURE
    if expression.is_Add:
        return _of_sum(expression.args)
    if expression.is_Mul:
        return _times(*((of_expression(factor), Fraction(1)) for factor in expression.args))
    if expression.is_Pow:
        return _of_power(expression.base, expression.exp)
    if isinstance(expression, sympy.Piecewise):
        for _, condition in expression.args:
            of_expression(condition)
        return _of_sum(tuple(value for value, _ in expression.args))
    if isinstance(expression, sympy.core.relational.Relational):
        _of_sum(expression.args)
        return PURE
    for argument in expression.args:
        _require_pure(argument)
    return PURE


def _expected(model: Model) -> Iterator[tuple[str, sympy.Expr, Dimension]]:
    groups: tuple[tuple[str, Equations], ...] = (
        ("initial value", model.initial),
        ("effect", model.effects),
        ("output", model.outputs),
        *((f"map `{event}`", mapping) for event, mapping in model.maps.items()),
    )
    for state, rate in model.rates.items():
        yield f"rate of `{state}`", rate, _times((of_unit(state.declaration.unit), Fraction(1)), _PER_DAY)
    for word, group in groups:
        for name, right in group.items():
            yield f"{word} of `{name}`", right, of_unit(name.declaration.unit)


_PER_DAY = (of_unit("day"), Fraction(-1))
_CLOCK = re.compile(r"[A-Za-zµ]+")


def _not_in_days(unit: str) -> list[str]:
    time = of_unit("day")
    return [word for word in _CLOCK.findall(unit) if word != "day" and word not in _NO_UNITS and of_unit(word) == time]


_NO_UNITS = frozenset({"fraction", "percent"})


def misfits(model: Model) -> list[Misfit]:
    """Every equation whose units do not fit, and every name whose time unit is not the day.

    Returns:
        An empty list for a sound model.
    """
    found = []
    for where, expression, expected in _expected(model):
        expression = sympy.sympify(expression)
        if expression == 0:
            continue
        try:
            powers = of_expression(expression)
        except _Unfit as unfit:
            found.append(Misfit(where, str(unfit.part), in_words(unfit.found), in_words(unfit.expected)))
            continue
        if powers != expected:
            found.append(Misfit(where, str(expression), in_words(powers), in_words(expected)))
    for name in model.symbols():
        unit = declaration(name).unit
        found += [Misfit(f"name `{name}`", word, "its time unit", "the day") for word in _not_in_days(unit)]
    return found


def require_dimensions(model: Model) -> None:
    """Refuse a model whose units do not fit.

    Raises:
        ModelError: names the first misfit and how many there are.
    """
    found = misfits(model)
    if found:
        more = f" ({len(found) - 1} more)" if len(found) > 1 else ""
        raise ModelError(
            f"model `{model.name}`: {found[0].in_words()}{more}",
            rule="Sums add like to like, and a rate is its state's unit a day",
            cure="Correct the equation, or the unit of the name that stands in it",
        )
