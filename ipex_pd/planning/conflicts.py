"""When no plan keeps all limits: which of them contradict one another, and by how much each would have to yield."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ipex_pd.numerics.constrained import ConstrainedStep, ConstrainedStopping
from ipex_pd.numerics.constrained_elastic import Relaxation, irreducible, least_violation
from ipex_pd.numerics.constrained_limits import Array, LinearLimits, NonlinearLimits

_NOTHING = 1e-6
_MOST_ALONE = 6
_SEARCH = ConstrainedStopping(iterations=60, gradient=1e-6)


@dataclass(frozen=True)
class Conflict:
    """A limit that stands against others.

    Attributes:
        label: of the limit.
        bound: the end that is overstepped, in the limit's unit.
        excess: how far it is overstepped where the sum of all violations is least, in its unit.
        alone: by how much it would have to yield if all others were kept; `inf` where that is not enough.
    """

    label: str
    bound: float
    excess: float
    alone: float

    def in_words(self) -> str:
        """One sentence."""
        together = f"`{self.label}` is missed by {self.excess:.3g}" if self.excess > 0 else f"`{self.label}` is kept"
        if math.isinf(self.alone):
            return f"{together} where all limits are missed least; moving it alone is not enough"
        return f"{together} where all limits are missed least; moved alone, it has to yield by {self.alone:.3g}"


@dataclass(frozen=True, eq=False)
class Conflicts:
    """Why no plan keeps all limits.

    Attributes:
        limits: those that have to yield or stand in the irreducible set.
        irreducible: a smallest set that cannot be kept together; limits that are not linear stand in it as they are
            near the least violation.
        total: the least sum of violations, each in units of its limit.
        exact: whether all limits are linear; else the statement is that of the best point found.
        x: [n] the point of least violation.
    """

    limits: tuple[Conflict, ...]
    irreducible: tuple[str, ...]
    total: float
    exact: bool
    x: Array

    def in_words(self) -> tuple[str, ...]:
        """Sentences."""
        kind = "No plan keeps all limits" if self.exact else "No plan that keeps all limits was found"
        lines = [f"{kind}: {conflict.in_words()}." for conflict in self.limits[:1]]
        lines += [f"{conflict.in_words()}." for conflict in self.limits[1:]]
        if len(self.irreducible) > 1:
            named = "; ".join(f"`{label}`" for label in self.irreducible)
            lines.append(f"These cannot be kept together, and any of them moved lets the others be kept: {named}.")
        return tuple(lines)


def find_conflicts(
    x0: Array,
    *,
    lower: Array,
    upper: Array,
    linear: LinearLimits,
    nonlinear: NonlinearLimits | None,
    names: tuple[str, ...],
    callback: Callable[[ConstrainedStep], None] | None = None,
) -> Conflicts | None:
    """What contradicts what; None where a point keeps all limits.

    Args:
        x0: [n] where to begin; the point of a search that violates limits least.
        lower, upper: [n] bounds, which never yield.
        linear, nonlinear: limits.
        names: of the quantities.
        callback: told of every accepted point of the elastic searches.
    """

    def relaxed(start: Array, soft: Array | None) -> Relaxation:
        return least_violation(
            start,
            lower=lower,
            upper=upper,
            linear=linear,
            nonlinear=nonlinear,
            soft=soft,
            stopping=_SEARCH,
            callback=callback,
        )

    found = relaxed(x0, None)
    if (found.excess <= _NOTHING * found.units).all():
        return None
    low, high = _ends(linear, nonlinear)
    contrary = irreducible(_around(found, low, high), lower, upper, names)
    missed = found.excess > _NOTHING * found.units
    named = [i for i, label in enumerate(found.labels) if missed[i] or label in contrary]
    named.sort(key=lambda i: -found.excess[i] / found.units[i])
    conflicts = []
    for place, i in enumerate(named):
        alone = _alone(relaxed, found, i, x0) if place < _MOST_ALONE else math.inf
        bound = low[i] if math.isinf(high[i]) else high[i]
        conflicts.append(Conflict(found.labels[i], float(bound), float(missed[i] * found.excess[i]), alone))
    return Conflicts(tuple(conflicts), contrary, found.total, found.exact, found.x)


def _alone(relaxed: Callable[[Array, Array | None], Relaxation], found: Relaxation, index: int, x0: Array) -> float:
    """By how much one limit has to yield while the others are kept.

    The search begins beside the point of least violation: at it all limits meet, and no step looks better than none.
    """
    soft = np.zeros(len(found.labels), bool)
    soft[index] = True
    for start in (0.9 * found.x + 0.1 * np.asarray(x0, float), np.asarray(x0, float)):
        at = relaxed(start, soft)
        if not (~soft & (at.excess > 10 * _NOTHING * at.units)).any():
            return float(at.excess[index])
        if found.exact:
            break
    return math.inf


def _ends(linear: LinearLimits, nonlinear: NonlinearLimits | None) -> tuple[Array, Array]:
    others = (nonlinear.lower, nonlinear.upper) if nonlinear is not None else (np.zeros(0), np.zeros(0))
    return np.concatenate([linear.lower, others[0]]), np.concatenate([linear.upper, others[1]])


def _around(found: Relaxation, low: Array, high: Array) -> LinearLimits:
    """All limits as straight lines through the point of least violation."""
    offset = found.values - found.jacobian @ found.x
    return LinearLimits(found.jacobian, low - offset, high - offset, found.labels)
