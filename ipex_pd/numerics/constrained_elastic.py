"""When limits contradict one another: the point that oversteps them least, and a smallest set that cannot be kept
together.

The elastic problem gives every limit that may yield a slack s >= 0 in units of its size, and minimises the sum of
slacks: the sum of violations, which leaves most limits kept and names the few that are not. For linear limits it is a
linear programme, and an irreducible set is found by deletion: a limit stays out if the others still contradict one
another without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog

from ipex_pd.numerics.constrained import ConstrainedStep, ConstrainedStopping, minimise_constrained
from ipex_pd.numerics.constrained_limits import Array, LinearLimits, NonlinearLimits, excess_of

_FEASIBLE = 1e-7
_HARD = 100.0
"""What a unit of a limit that may not yield costs, so that a point always exists."""


@dataclass(frozen=True, eq=False)
class Relaxation:
    """The least by which limits have to yield.

    Attributes:
        x: [n] where.
        excess: [m] how far each limit is overstepped there, in its own unit of measurement; linear ones first.
        units: [m] the size that each excess was divided by in the sum.
        total: the sum of excess over size.
        labels: [m].
        exact: whether all limits are linear, so that no smaller sum exists; else it is a local minimum.
        values, jacobian: [m], [m, n] of the limits there.
        interrupted: by the user.
    """

    x: Array
    excess: Array
    units: Array
    total: float
    labels: tuple[str, ...]
    exact: bool
    values: Array
    jacobian: Array
    interrupted: bool = False

    @property
    def feasible(self) -> bool:
        """Whether nothing has to yield."""
        return bool((self.excess <= _FEASIBLE * self.units).all())


def least_violation(
    x0: Array,
    *,
    lower: Array,
    upper: Array,
    linear: LinearLimits,
    nonlinear: NonlinearLimits | None = None,
    soft: Array | None = None,
    stopping: ConstrainedStopping | None = None,
    callback: Callable[[ConstrainedStep], None] | None = None,
) -> Relaxation:
    """The point within its bounds that oversteps limits least, in the sum over limits of excess over size.

    Args:
        x0: where to start [n].
        lower, upper: [n] bounds, which never yield.
        linear, nonlinear: limits.
        soft: [m] which limits may yield, linear ones first; all when None.
        stopping: when to end.
        callback: told of every accepted point of the elastic search (x and slacks).

    Returns:
        The relaxation. Limits that may not yield pay a hundredfold for it; they are overstepped where nothing keeps
        them (see `excess`).
    """
    at = _Limits(np.clip(x0, lower, upper), lower, upper, linear, nonlinear)
    may = np.ones(len(at), bool) if soft is None else np.asarray(soft, bool)
    if nonlinear is None or not len(nonlinear):
        return at.relaxed(_linear_programme(at, may), exact=True, interrupted=False)
    return _elastic(at, may, stopping or ConstrainedStopping(), callback)


class _Limits:
    """All limits of a problem, with their sizes at the start."""

    def __init__(
        self, start: Array, lower: Array, upper: Array, linear: LinearLimits, nonlinear: NonlinearLimits | None
    ) -> None:
        self.start, self.floor, self.ceiling = start, lower, upper
        self.linear, self.nonlinear = linear, nonlinear
        others = (nonlinear.lower, nonlinear.upper) if nonlinear is not None else (np.zeros(0), np.zeros(0))
        self.lower = np.concatenate([linear.lower, others[0]])
        self.upper = np.concatenate([linear.upper, others[1]])
        self.labels = (*linear.labels, *(nonlinear.labels if nonlinear is not None else ()))
        _, jacobian = self.at(start)
        self.units = sizes(self.lower, self.upper, jacobian, lower, upper)

    def __len__(self) -> int:
        return len(self.lower)

    def at(self, x: Array) -> tuple[Array, Array]:
        """Values [m] and Jacobian [m, n]."""
        values, jacobian = self.linear.matrix @ x, self.linear.matrix
        if self.nonlinear is None:
            return values, jacobian
        others, slopes = self.nonlinear.function(x)
        wide = np.asarray(slopes, float).reshape(len(self.nonlinear), len(x))
        return np.concatenate([values, np.asarray(others, float)]), np.concatenate([jacobian, wide])

    def relaxed(self, x: Array, exact: bool, interrupted: bool) -> Relaxation:
        """What has to yield at x."""
        values, jacobian = self.at(x)
        excess = excess_of(values, self.lower, self.upper)
        total = float((excess / self.units).sum())
        return Relaxation(x, excess, self.units, total, self.labels, exact, values, jacobian, interrupted)


def sizes(lower: Array, upper: Array, jacobian: Array, low: Array, high: Array) -> Array:
    """[m] what a limit is counted in: its larger end; where that is zero, its change over the ranges of x."""
    ends = np.stack([np.where(np.isfinite(side), np.abs(side), 0.0) for side in (lower, upper)]).max(0)
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(low) & np.isfinite(high), high - low, 1.0)
    change = np.abs(jacobian) @ width
    found: Array = np.where(ends > 0, ends, np.where(change > 0, change, 1.0))
    return found


def _linear_programme(at: _Limits, may: Array) -> Array:
    """min sum s  with  l - unit s <= A x <= u + unit s; limits that may not yield pay a hundredfold for it."""
    size, count = len(at.start), len(at)
    rows, ends = _sides(at.linear.matrix / at.units[:, None], at.lower / at.units, at.upper / at.units)
    slack = np.eye(count)
    matrix = np.concatenate([np.concatenate([row, -slack[which]]) for row, which in rows]).reshape(-1, size + count)
    cost = np.concatenate([np.zeros(size), np.where(may, 1.0, _HARD)])
    bounds = [*zip(at.floor, at.ceiling, strict=True), *[(0.0, None)] * count]
    found = linprog(cost, A_ub=matrix if len(matrix) else None, b_ub=ends if len(matrix) else None, bounds=bounds)
    x: Array = np.clip(np.asarray(found.x[:size]), at.floor, at.ceiling)
    return x


def _sides(matrix: Array, lower: Array, upper: Array) -> tuple[list[tuple[Array, int]], Array]:
    """Every finite end as row x <= end: the rows with the place of their limit, and the ends."""
    rows: list[tuple[Array, int]] = []
    ends: list[float] = []
    for i in range(len(lower)):
        if np.isfinite(upper[i]):
            rows.append((matrix[i], i))
            ends.append(float(upper[i]))
        if np.isfinite(lower[i]):
            rows.append((-matrix[i], i))
            ends.append(float(-lower[i]))
    return rows, np.array(ends)


def _elastic(
    at: _Limits, may: Array, stop: ConstrainedStopping, callback: Callable[[ConstrainedStep], None] | None
) -> Relaxation:
    """The same for limits that are not linear, by a constrained search over (x, s)."""
    size, count = len(at.start), len(at)
    values, _ = at.at(at.start)
    slack = excess_of(values, at.lower, at.upper) / at.units
    cost = np.concatenate([np.zeros(size), np.where(may, 1.0, _HARD)])
    ups, downs = np.isfinite(at.upper), np.isfinite(at.lower)

    def limits(w: Array) -> tuple[Array, Array]:
        values, jacobian = at.at(w[:size])
        give = np.eye(count)
        scaled, slopes = values / at.units, jacobian / at.units[:, None]
        up = np.concatenate([slopes, -give], axis=1)[ups]
        down = np.concatenate([slopes, give], axis=1)[downs]
        moved = w[size:]
        return np.concatenate([(scaled - moved)[ups], (scaled + moved)[downs]]), np.concatenate([up, down])

    low = np.concatenate([np.full(int(ups.sum()), -np.inf), (at.lower / at.units)[downs]])
    high = np.concatenate([(at.upper / at.units)[ups], np.full(int(downs.sum()), np.inf)])
    found = minimise_constrained(
        lambda w: (float(cost @ w), cost),
        np.concatenate([at.start, slack]),
        lower=np.concatenate([at.floor, np.zeros(count)]),
        upper=np.concatenate([at.ceiling, np.full(count, np.inf)]),
        nonlinear=NonlinearLimits(limits, low, high),
        stopping=stop,
        callback=callback,
    )
    return at.relaxed(found.x[:size], exact=False, interrupted=found.interrupted)


def feasible_start(near: Array, lower: Array, upper: Array, linear: LinearLimits) -> Array | None:
    """The point nearest to `near` [n] within bounds and linear limits, in distances over ranges; None: none exists."""
    size = len(near)
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(lower) & np.isfinite(upper) & (upper > lower), upper - lower, 1.0)
    here = np.clip(near, lower, upper)
    if not len(linear) or (linear.excess(here) <= 1e-9 * sizes_of(linear, lower, upper)).all():
        return here
    rows, ends = _sides(linear.matrix, linear.lower, linear.upper)
    matrix = np.stack([row for row, _ in rows])
    identity = np.eye(size) / width[:, None]
    away = np.concatenate([np.concatenate([identity, -np.eye(size)], 1), np.concatenate([-identity, -np.eye(size)], 1)])
    found = linprog(
        np.concatenate([np.zeros(size), np.ones(size)]),
        A_ub=np.concatenate([np.concatenate([matrix, np.zeros((len(matrix), size))], 1), away]),
        b_ub=np.concatenate([ends, here / width, -here / width]),
        bounds=[*zip(lower, upper, strict=True), *[(0.0, None)] * size],
    )
    return np.clip(np.asarray(found.x[:size]), lower, upper) if found.status == 0 else None


def sizes_of(linear: LinearLimits, lower: Array, upper: Array) -> Array:
    """[m] what linear limits are counted in."""
    return sizes(linear.lower, linear.upper, linear.matrix, lower, upper)


def irreducible(linear: LinearLimits, lower: Array, upper: Array, names: tuple[str, ...]) -> tuple[str, ...]:
    """A smallest set of linear limits and bounds that contradict one another; empty where all can be kept.

    Taking any one of them out lets the others be kept (deletion filter).

    Args:
        linear: the limits.
        lower, upper: [n] bounds.
        names: of the quantities, for bounds that belong to the set.
    """
    units = sizes_of(linear, lower, upper)
    rows, ends = _sides(linear.matrix / units[:, None], linear.lower / units, linear.upper / units)
    items: list[tuple[str, Array, float]] = [
        (linear.labels[which], row, float(end)) for (row, which), end in zip(rows, ends, strict=True)
    ]
    for i, name in enumerate(names):
        row = np.zeros(len(lower))
        row[i] = 1.0
        if np.isfinite(upper[i]):
            items.append((f"{name} is at most {upper[i]:g}", row, float(upper[i])))
        if np.isfinite(lower[i]):
            items.append((f"{name} is at least {lower[i]:g}", -row, float(-lower[i])))
    if _can_be_kept(items):
        return ()
    kept = list(items)
    for item in items:
        others = [other for other in kept if other is not item]
        if not _can_be_kept(others):
            kept = others
    return tuple(dict.fromkeys(label for label, _, _ in kept))


def _can_be_kept(items: list[tuple[str, Array, float]]) -> bool:
    if not items:
        return True
    matrix = np.stack([row for _, row, _ in items])
    ends = np.array([end for _, _, end in items])
    found = linprog(np.zeros(matrix.shape[1]), A_ub=matrix, b_ub=ends, bounds=(None, None))
    return bool(found.status == 0)
