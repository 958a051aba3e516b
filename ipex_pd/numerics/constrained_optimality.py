"""Whether a point of a constrained problem is optimal (Karush, Kuhn and Tucker), and what its limits cost.

At a minimum the gradient is a sum of the inward normals of the active limits and bounds with multipliers that are not
negative (of either sign for equations). They are found by nonnegative least squares; what is left over is the
projected gradient. The
multiplier of a limit is its shadow price: what the goal would gain if the limit were moved outward by one unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.optimize import nnls

from ipex_pd.numerics.constrained_limits import Array
from ipex_pd.numerics.constrained_scaled import Point, ScaledProblem

Side = Literal["lower", "upper", "equal"]
_NEAR = 1e-4


@dataclass(frozen=True)
class Multiplier:
    """An active limit or bound.

    Attributes:
        label: of the limit; of a bound, the name of the quantity.
        kind: `linear`, `nonlinear` or `bound`.
        index: place among the limits of its kind, or of the quantity.
        side: the end that is active.
        bound: where that end lies.
        price: gain of the goal for one unit of limit that is moved outward; of an equation, for a rise of its value.
    """

    label: str
    kind: Literal["linear", "nonlinear", "bound"]
    index: int
    side: Side
    bound: float
    price: float


@dataclass(frozen=True, eq=False)
class Optimality:
    """The optimality conditions at a point.

    Attributes:
        projected_gradient: largest entry of what the multipliers leave of the gradient: change of the goal over the
            whole range of a quantity.
        relative: the same in units of the largest entry of the gradient where the search started; or price times
            distance of a limit that is not quite reached, if that is more.
        multipliers: of the active limits and bounds.
        violation: largest overstepping of a limit, in units of the limit.
        converged: whether the conditions hold within the tolerances.
    """

    projected_gradient: float
    relative: float
    multipliers: tuple[Multiplier, ...]
    violation: float
    converged: bool


@dataclass(frozen=True, eq=False)
class _Normal:
    kind: Literal["linear", "nonlinear", "bound"]
    index: int
    label: str
    side: Side
    bound: float
    direction: Array
    size: float
    slack: float


def optimality(
    problem: ScaledProblem, point: Point, gradient: float, names: tuple[str, ...], near: float = _NEAR
) -> Optimality:
    """The optimality conditions of a point.

    Args:
        problem: whose.
        point: where.
        gradient: relative projected gradient that counts as zero.
        names: of the quantities, [n].
        near: distance from a limit, in its unit, or from a bound, in ranges, within which it is active.
    """
    slope = point.gradient * problem.scale
    normals = [*_limit_normals(problem, point, near), *_bound_normals(problem, point, names, near)]
    prices, rest = _least(slope, normals)
    left = float(np.abs(rest).max(initial=0.0))
    found = tuple(
        Multiplier(n.label, n.kind, n.index, n.side, n.bound, float(price) / n.size)
        for n, price in zip(normals, prices, strict=True)
    )
    idle = max((m.price * n.slack for m, n in zip(found, normals, strict=True)), default=0.0)
    relative = max(left, abs(idle)) / problem.size
    good = bool(relative <= gradient and point.violation <= problem.tolerance)
    return Optimality(left, relative, found, point.violation, good)


def _least(slope: Array, normals: list[_Normal]) -> tuple[Array, Array]:
    """Multipliers by nonnegative least squares, and the residual; an equation may push either way."""
    if not normals:
        return np.zeros(0), slope
    columns = [n.direction / n.size for n in normals]
    both = [i for i, n in enumerate(normals) if n.side == "equal"]
    matrix = np.stack([*columns, *(-columns[i] for i in both)], axis=1)
    size = max(float(np.abs(slope).max(initial=0.0)), 1e-300)
    found, _ = nnls(matrix, slope / size)
    found = found * size
    prices = found[: len(normals)].copy()
    for place, i in enumerate(both):
        prices[i] -= found[len(normals) + place]
    rest: Array = slope - matrix @ found
    return prices, rest


def _limit_normals(problem: ScaledProblem, point: Point, near: float) -> list[_Normal]:
    found: list[_Normal] = []
    side: Side
    reach = near * problem.unit
    for i, label in enumerate(problem.labels):
        direction = point.jacobian[i] * problem.scale
        size = float(np.linalg.norm(direction))
        if size == 0.0:
            continue
        linear = i < len(problem.linear)
        kind: Literal["linear", "nonlinear"] = "linear" if linear else "nonlinear"
        place = i if linear else i - len(problem.linear)
        low, high = problem.lower[i], problem.upper[i]
        if low == high:
            found.append(_Normal(kind, place, label, "equal", float(low), -direction, size, 0.0))
            continue
        for side, end, sign in (("lower", low, 1.0), ("upper", high, -1.0)):
            slack = float(sign * (point.limits[i] - end))
            if slack <= reach[i]:
                found.append(_Normal(kind, place, label, side, float(end), sign * direction, size, max(slack, 0.0)))
    return found


def _bound_normals(problem: ScaledProblem, point: Point, names: tuple[str, ...], near: float) -> list[_Normal]:
    found: list[_Normal] = []
    side: Side
    for i, name in enumerate(names):
        unit = np.zeros(len(problem))
        unit[i] = problem.scale[i]
        width = float(unit[i])
        for side, end, sign in (("lower", problem.floor[i], 1.0), ("upper", problem.ceiling[i], -1.0)):
            slack = float(sign * (point.x[i] - end))
            if slack <= near * width:
                found.append(_Normal("bound", i, name, side, float(end), sign * unit, width, slack))
    return found
