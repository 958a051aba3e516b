"""Days and amounts as affine functions of the free quantities, and what a free quantity is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ipex_pd.numerics.constrained_limits import LinearLimits

Array = Any
Kind = Literal["dose", "start", "stop", "day", "transplant"]

TINY = 1e-9


@dataclass(frozen=True)
class Variable:
    """A free quantity.

    Attributes:
        name: in words, `prednisolone dose day 14-21`.
        unit: clinical, `mg/kg/day` or `day`.
        lower, upper: bounds in that unit.
        start: where a search begins.
        kind: what it moves.
        order: index of its order among the regimen's orders; None for the transplant.
        entry: index of the entry of `free` that asked for it.
    """

    name: str
    unit: str
    lower: float
    upper: float
    start: float
    kind: Kind
    order: int | None
    entry: int


@dataclass(frozen=True)
class Term:
    """constant + sum of x[variables].

    Attributes:
        constant: in the unit of what it stands for.
        variables: places in x, rising.
    """

    constant: float
    variables: tuple[int, ...] = ()

    def at(self, x: Array) -> Array:
        """Its value at x [n]."""
        value: Array = self.constant
        for place in self.variables:
            value = value + x[place]
        return value

    def plus(self, days: float) -> Term:
        """The same, later."""
        return Term(self.constant + days, self.variables)

    def since(self, other: Term) -> float | None:
        """The difference to another where x does not move it, else None."""
        return self.constant - other.constant if self.variables == other.variables else None

    def lowest(self, lower: np.ndarray) -> float:
        """The least value between bounds."""
        return float(self.at(lower))

    def highest(self, upper: np.ndarray) -> float:
        """The largest value between bounds."""
        return float(self.at(upper))


@dataclass(frozen=True)
class Row:
    """One linear limit: lower <= sum of weights times x <= upper."""

    weights: Mapping[int, float]
    lower: float
    upper: float
    label: str


def combine(parts: Iterable[tuple[float, Term]]) -> tuple[dict[int, float], float]:
    """Weights by place in x, and the constant, of a weighted sum of terms."""
    weights: dict[int, float] = {}
    constant = 0.0
    for factor, term in parts:
        constant += factor * term.constant
        for place in term.variables:
            weights[place] = weights.get(place, 0.0) + factor
    return {place: weight for place, weight in weights.items() if weight != 0.0}, constant


def limits_of(rows: Iterable[Row], size: int) -> LinearLimits:
    """Rows as a matrix [k, n]."""
    kept = list(rows)
    matrix = np.zeros((len(kept), size))
    for number, row in enumerate(kept):
        for place, weight in row.weights.items():
            matrix[number, place] = weight
    lower, upper = (np.array([getattr(row, side) for row in kept], float) for side in ("lower", "upper"))
    return LinearLimits(matrix, lower, upper, tuple(row.label for row in kept))
