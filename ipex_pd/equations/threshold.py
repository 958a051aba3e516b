"""The tolerance threshold: R0 by the next-generation matrix, and the functional Treg share at which R0 = 1.

At the disease-free state (no effector cells, no injury) the spread of autoreactive cells is linear. With ``F`` the
Jacobian of new effector cells and ``V`` that of all other change (sign reversed), R0 is the spectral radius of
``F V^-1`` (van den Driessche's construction). Treg cells enter through their functional share ``r`` of CD4 cells.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import sympy

from ipex_pd.equations.immunity import (
    cd4_now,
    effector_activation,
    residual_function,
    treg_loss,
    treg_niche,
    treg_output,
    treg_renewal,
)
from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.states import effector_t, gut_injury, skin_injury, th2, treg_donor, treg_host
from ipex_pd.equations.symbols import declaration
from ipex_pd.errors import ModelError, nearest_hint

functional_treg_share = sympy.Symbol("functional_treg_share", nonnegative=True)
"""Functional Treg cells as a share of CD4 cells [fraction]: the variable of the threshold."""


@dataclass(frozen=True)
class Threshold:
    """The tolerance threshold as expressions.

    Attributes:
        next_generation: the matrix ``F V^-1`` for (effector, Th2) cells.
        reproduction_number: R0 of the functional Treg share, drug effects and parameters.
        share: functional Treg share of CD4 cells at which R0 = 1; negative when R0 < 1 without any Treg.
        host_share: share of CD4 cells that Treg cells of the host hold at rest.
    """

    next_generation: sympy.Matrix
    reproduction_number: sympy.Expr
    share: sympy.Expr
    host_share: sympy.Expr


def _at_rest(expression: sympy.Expr) -> sympy.Expr:
    quiet = expression.subs({effector_t: 0, th2: 0, gut_injury: 0, skin_injury: 0})
    return sympy.simplify(quiet.subs(treg_donor, functional_treg_share * cd4_now - residual_function * treg_host))


@lru_cache(maxsize=1)
def threshold() -> Threshold:
    """Derive the threshold from the composed model; done once."""
    model = ipex_model()
    cells = sympy.Matrix([effector_t, th2])
    new = sympy.Matrix([effector_activation(), 0]).jacobian(cells)
    all_change = sympy.Matrix([model.rates[cell] for cell in (effector_t, th2)]).jacobian(cells)
    gain, loss = new.applyfunc(_at_rest), (new - all_change).applyfunc(_at_rest)
    matrix = (gain * loss.inv()).applyfunc(sympy.simplify)
    number = matrix[0, 0]
    (share,) = sympy.solve(sympy.Eq(number, 1), functional_treg_share)
    return Threshold(matrix, number, sympy.simplify(share), _host_share())


def _host_share() -> sympy.Expr:
    """Positive root of ``output + renewal x / (1 + x/niche) = loss x``."""
    slope = treg_output / treg_niche + treg_renewal - treg_loss
    return treg_niche * (slope + sympy.sqrt(slope**2 + 4 * treg_loss * treg_output / treg_niche)) / (2 * treg_loss)


def _value(expression: sympy.Expr, values: Mapping[str, float]) -> float:
    numbers: dict[sympy.Symbol, float] = {}
    for symbol in expression.free_symbols:
        if str(symbol) in values:
            numbers[symbol] = values[str(symbol)]
        elif symbol == functional_treg_share or declaration(symbol).kind == "parameter":
            raise ModelError(f"`{symbol}` has no value", rule=nearest_hint(str(symbol), values), cure="Give its value")
        else:
            numbers[symbol] = 0.0
    return float(expression.evalf(subs=numbers))


def reproduction_number(values: Mapping[str, float], functional_share: float) -> float:
    """R0 for parameter values by name, at a functional Treg share of CD4 cells [fraction].

    Args:
        values: parameters; drug effects (`calcineurin_effect`, `mtor_effect`, `calcineurin_mtor_effect`,
            `steroid_signal`) may stand among them, and are zero when they do not.
        functional_share: functional Treg cells over CD4 cells.

    Raises:
        ModelError: a parameter has no value.
    """
    return _value(threshold().reproduction_number, {**values, "functional_treg_share": functional_share})


def threshold_share(values: Mapping[str, float]) -> float:
    """Functional Treg share of CD4 cells [fraction] at which R0 = 1. Raises: ModelError."""
    return _value(threshold().share, values)


def host_share(values: Mapping[str, float]) -> float:
    """Share of CD4 cells [fraction] held by host Treg cells at rest, whatever they can do. Raises: ModelError."""
    return _value(threshold().host_share, values)


def untreated(values: Mapping[str, float]) -> float:
    """R0 of an untreated child before disease, with the residual function in `values`. Raises: ModelError."""
    return reproduction_number(values, values["residual_function"] * host_share(values))


@dataclass(frozen=True)
class ClassThreshold:
    """Where the typical child of a FOXP3 class stands beside the threshold, before disease and untreated.

    Attributes:
        name: of the class.
        residual_function: suppression by one host Treg cell, healthy = 1 [fraction].
        functional_percent: functional Treg cells of CD4 cells [percent].
        reproduction_number: R0 [1].
        donor_percent: donor Treg cells of CD4 cells, beside the host's own, that bring R0 to 1 [percent]; 0 below it.
    """

    name: str
    residual_function: float
    functional_percent: float
    reproduction_number: float
    donor_percent: float


def class_thresholds(values: Mapping[str, float], functions: Mapping[str, float]) -> tuple[ClassThreshold, ...]:
    """The threshold of each class, the gravest first.

    Args:
        values: parameters of the disease by name.
        functions: residual function of each class [fraction].

    Raises:
        ModelError: a parameter has no value.
    """
    held, needed = host_share(values), threshold_share(values)
    rows = []
    for name, function in sorted(functions.items(), key=lambda item: item[1]):
        own = function * held
        number = reproduction_number(values, own)
        rows.append(ClassThreshold(name, function, 100 * own, number, 100 * max(needed - own, 0.0)))
    return tuple(rows)


def threshold_markdown(rows: Iterable[ClassThreshold]) -> str:
    """The rows of `class_thresholds` as a Markdown table."""
    head = ("class", "residual function", "functional Treg, % of CD4", "R0", "donor Treg for R0 = 1, % of CD4")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in rows:
        numbers = (row.residual_function, row.functional_percent, row.reproduction_number, row.donor_percent)
        lines.append(f"| {row.name} | {' | '.join(f'{number:.3g}' for number in numbers)} |")
    return "\n".join(lines) + "\n"
