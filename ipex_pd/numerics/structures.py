"""Structure of a compartment model: its compartments, its rates, and how it is advanced between events.

Three routes: `closed` (library kinetics with closed forms), `exponential` (any other linear rates, by matrix
exponentials) and `mesh` (nonlinear or explicitly time-dependent rates, by Runge-Kutta steps).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Protocol

import jax.numpy as jnp

from ipex_pd.errors import ModelError, nearest_hint
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.records.formulas import (
    Binary,
    Call,
    Choice,
    Comparison,
    Formula,
    Logical,
    Name,
    Negative,
    Not,
    Number,
    Tree,
    parse_formula,
)

Array = Any

ROUTES = ("closed", "exponential", "mesh")
TIME = "time"
_CONSTANT, _LINEAR, _OTHER = 0, 1, 2


class _KineticsLike(Protocol):
    """Library kinetics of a structural model."""

    @property
    def disposition(self) -> int: ...
    @property
    def absorption(self) -> str: ...


class _ModelLike(Protocol):
    """What a structural model must tell."""

    @property
    def compartments(self) -> tuple[str, ...]: ...
    @property
    def kinetics(self) -> _KineticsLike | None: ...
    @property
    def rates(self) -> Mapping[str, Formula]: ...
    @property
    def initial(self) -> Mapping[str, Formula]: ...
    @property
    def default_dose(self) -> str: ...


@dataclass(frozen=True)
class Structure:
    """A compartment model, ready to be advanced; compares by its fields, and so do the programs made of it.

    Attributes:
        compartments: names, in the order of the last axis of amounts; dose compartment 1 is the first.
        rates: d(amount)/dt of each compartment over compartments, `time`, and values of records.
        initial: amounts at the first record and after a reset; empty when all are zero.
        default_dose: compartment of doses whose CMT is 0.
        route: `closed`, `exponential` or `mesh`.
        disposition: disposition compartments of library kinetics; 0 without a closed form.
        depot: whether library kinetics have a depot.
    """

    compartments: tuple[str, ...]
    rates: tuple[Formula, ...]
    initial: tuple[Formula, ...]
    default_dose: str
    route: str
    disposition: int = 0
    depot: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of values that every record must have, without those of doses."""
        used: set[str] = set()
        for formula in (*self.rates, *self.initial):
            used |= formula.names
        return tuple(sorted(used - set(self.compartments) - {TIME}))

    @property
    def affine(self) -> bool:
        """Whether rates have a part that does not depend on amounts (production at a constant rate)."""
        return any(not _homogeneous(f.tree, self.compartments) for f in self.rates)

    def derivative(self, amounts: Array, time: Array, values: Mapping[str, Array]) -> Array:
        """d(amounts)/dt [S, ...] at amounts [S, ...] and a time [...]; values are broadcast to [...]."""
        named = {**values, TIME: time, **dict(zip(self.compartments, amounts, strict=True))}
        rows = [compile_formula(f)(named) for f in self.rates]
        return jnp.stack([jnp.broadcast_to(jnp.asarray(r, float), amounts.shape[1:]) for r in rows])

    def start(self, values: Mapping[str, Array], shape: tuple[int, ...]) -> Array:
        """Initial amounts [S, *shape]."""
        if not self.initial:
            return jnp.zeros((len(self.compartments), *shape))
        rows = [compile_formula(f)(values) for f in self.initial]
        return jnp.stack([jnp.broadcast_to(jnp.asarray(r, float), shape) for r in rows])


def structure_of(model: _ModelLike) -> Structure:
    """The structure of a model of the records; linear rates are recognised.

    Raises:
        ModelError: names do not fit together.
    """
    initial = tuple(sorted(model.initial.items(), key=lambda item: item[0]))
    if model.kinetics is not None:
        built = library_structure(model.kinetics.disposition, model.kinetics.absorption == "first_order")
        if tuple(model.compartments) != built.compartments:
            raise ModelError(
                f"compartments {list(model.compartments)} do not match the kinetics",
                rule=f"These kinetics have the compartments {list(built.compartments)}",
            )
        built = replace(built, default_dose=model.default_dose)
        return replace(built, initial=_initial(built.compartments, initial))
    rates = tuple(sorted(model.rates.items(), key=lambda item: item[0]))
    return _ode_structure(tuple(model.compartments), rates, initial, model.default_dose)


@cache
def library_structure(disposition: int, depot: bool) -> Structure:
    """One to three disposition compartments in closed form, with or without first-order absorption.

    Args:
        disposition: 1, 2 or 3.
        depot: absorption from a depot at `absorption_rate`.

    Raises:
        ModelError: another number of compartments.
    """
    if disposition not in (1, 2, 3):
        raise ModelError(
            f"{disposition} disposition compartments", rule="Closed forms are known for 1, 2 and 3 of them"
        )
    peripheral = [("", "peripheral"), ("_2", "peripheral_2")][: disposition - 1]
    central = "- clearance / volume_central * central"
    if depot:
        central += " + absorption_rate * depot"
    rates = {"depot": "-absorption_rate * depot"} if depot else {}
    rates["central"] = ""
    for suffix, name in peripheral:
        flow = f"intercompartmental_clearance{suffix} * (central / volume_central - {name} / volume_peripheral{suffix})"
        central += f" - {flow}"
        rates[name] = flow
    rates["central"] = central
    return Structure(
        compartments=tuple(rates),
        rates=tuple(parse_formula(text) for text in rates.values()),
        initial=(),
        default_dose=next(iter(rates)),
        route="closed",
        disposition=disposition,
        depot=depot,
    )


def ode_structure(
    rates: Mapping[str, str | Formula],
    *,
    initial: Mapping[str, str | Formula] | None = None,
    default_dose: str | None = None,
) -> Structure:
    """A structure from rates (formulas, or their text), compartment by compartment.

    Raises:
        ModelError: an initial value, or the default dose, names something that is not a compartment.
    """
    names = tuple(rates)
    parsed = tuple((n, parse_formula(f) if isinstance(f, str) else f) for n, f in rates.items())
    begin = tuple((n, parse_formula(f) if isinstance(f, str) else f) for n, f in (initial or {}).items())
    return _ode_structure(names, parsed, begin, default_dose or names[0])


def _ode_structure(
    compartments: tuple[str, ...],
    rates: tuple[tuple[str, Formula], ...],
    initial: tuple[tuple[str, Formula], ...],
    default_dose: str,
) -> Structure:
    by_name = dict(rates)
    for name in (*by_name, default_dose):
        if name not in compartments:
            raise ModelError(f"`{name}` is not a compartment", cure=nearest_hint(name, compartments))
    missing = [n for n in compartments if n not in by_name]
    if missing:
        raise ModelError(f"compartment `{missing[0]}` has no rate", cure="Write its rate, or `0`")
    ordered = tuple(by_name[n] for n in compartments)
    built = Structure(compartments, ordered, _initial(compartments, initial), default_dose, "exponential")
    return built if is_linear(built) else replace(built, route="mesh")


def _initial(compartments: tuple[str, ...], given: tuple[tuple[str, Formula], ...]) -> tuple[Formula, ...]:
    for name, _ in given:
        if name not in compartments:
            raise ModelError(f"`{name}` is not a compartment", cure=nearest_hint(name, compartments))
    by_name = dict(given)
    return tuple(by_name.get(n, parse_formula("0")) for n in compartments) if by_name else ()


def is_linear(structure: Structure) -> bool:
    """Whether rates are affine in amounts and do not depend on time, whatever the route."""
    return all(degree(f.tree, structure.compartments) <= _LINEAR for f in structure.rates)


def degree(tree: Tree, compartments: tuple[str, ...]) -> int:
    """0: a formula does not depend on amounts or time; 1: it is affine in amounts; 2: anything else."""
    match tree:
        case Number():
            return _CONSTANT
        case Name(name):
            return _LINEAR if name in compartments else _OTHER if name == TIME else _CONSTANT
        case Negative(argument):
            return degree(argument, compartments)
        case Binary(operator, left, right):
            first, second = degree(left, compartments), degree(right, compartments)
            if operator in ("+", "-"):
                return max(first, second)
            if operator == "*":
                return min(first + second, _OTHER)
            return first if second == _CONSTANT and operator == "/" else _steep(first, second)
        case Call(_, arguments) | Logical(_, arguments):
            return _steep(*(degree(a, compartments) for a in arguments))
        case Comparison(_, left, right):
            return _steep(degree(left, compartments), degree(right, compartments))
        case Not(argument):
            return _steep(degree(argument, compartments))
        case Choice(condition, yes, no):
            if degree(condition, compartments) != _CONSTANT:
                return _OTHER
            return max(degree(yes, compartments), degree(no, compartments))


def _steep(*degrees: int) -> int:
    return _CONSTANT if max(degrees) == _CONSTANT else _OTHER


def _homogeneous(tree: Tree, compartments: tuple[str, ...]) -> bool:
    """Whether an affine formula is zero where all amounts are; False when that cannot be seen."""
    match tree:
        case Number(value):
            return value == 0
        case Name(name):
            return name in compartments
        case Negative(argument):
            return _homogeneous(argument, compartments)
        case Binary("+" | "-", left, right):
            return _homogeneous(left, compartments) and _homogeneous(right, compartments)
        case Binary("*", left, right):
            return _homogeneous(left, compartments) or _homogeneous(right, compartments)
        case Binary("/", left, _):
            return _homogeneous(left, compartments)
        case Choice(_, yes, no):
            return _homogeneous(yes, compartments) and _homogeneous(no, compartments)
    return False
