"""A constrained problem in scaled form: z in units of each quantity's range, limits in units of their own size.

With x = shift + scale z, a limit l <= c(x) <= u is counted in units of max(|l|, |u|), or, where both are zero, of the
change of c over the ranges of x. One cache serves the goal, its limits and their derivatives, and keeps the best
point seen.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.constrained_limits import Array, LinearLimits, NonlinearLimits, excess_of

ValueFunction = Callable[[Array], tuple[float, Array]]
Quick = Callable[[Array], tuple[float, Array]]
"""x [n] -> value, nonlinear limits [m]: without derivatives."""

_REMEMBERED = 16
_FLAT = 1e-3


@dataclass(frozen=True, eq=False)
class Point:
    """The problem at one place, in natural units.

    Attributes:
        x: [n].
        value: of the goal.
        limits: [m].
        violation: largest overstepping, in units of the limit.
        slopes: gradient [n] and Jacobian [m, n], worked out when first asked for: trial points need none.
    """

    x: Array
    value: float
    limits: Array
    violation: float
    slopes: Callable[[], tuple[Array, Array]]

    @cached_property
    def _slopes(self) -> tuple[Array, Array]:
        return self.slopes()

    @property
    def gradient(self) -> Array:
        """[n] of the goal."""
        return self._slopes[0]

    @property
    def jacobian(self) -> Array:
        """[m, n] of the limits."""
        return self._slopes[1]

    @property
    def valued(self) -> bool:
        """Whether goal and limits are finite."""
        return math.isfinite(self.value) and bool(np.isfinite(self.limits).all())

    @property
    def finite(self) -> bool:
        """Whether every number is, derivatives too."""
        return self.valued and all(bool(np.isfinite(slope).all()) for slope in self._slopes)


class ScaledProblem:
    """The goal and all limits of a search, evaluated once a point.

    Attributes:
        scale, shift: [n] x = shift + scale z.
        low, high: [n] bounds of z.
        lower, upper, unit, labels: [m] limits, linear ones first.
        size: what a change of the goal by one scaled unit is; gradients are counted in it.
    """

    def __init__(
        self,
        function: ValueFunction,
        start: Array,
        bounds: tuple[Array, Array],
        linear: LinearLimits,
        nonlinear: NonlinearLimits | None,
        tolerance: float,
        quick: Quick | None = None,
        unit: float | None = None,
    ) -> None:
        self.function, self.linear, self.nonlinear, self.tolerance = function, linear, nonlinear, tolerance
        self.quick = quick
        self.floor, self.ceiling = bounds
        self.scale, self.shift = _scaling(start, *bounds)
        self.low, self.high = (self.floor - self.shift) / self.scale, (self.ceiling - self.shift) / self.scale
        others = (nonlinear.lower, nonlinear.upper) if nonlinear is not None else (np.zeros(0), np.zeros(0))
        self.lower = np.concatenate([linear.lower, others[0]])
        self.upper = np.concatenate([linear.upper, others[1]])
        self.labels = (*linear.labels, *(nonlinear.labels if nonlinear is not None else ()))
        self.unit = _units(self.lower, self.upper)
        self.evaluations = 0
        self.best: Point | None = None
        self._known: OrderedDict[bytes, Point] = OrderedDict()
        self.start = self.point(self.scaled(np.clip(start, self.floor, self.ceiling)))
        _require_finite(self.start, self.labels)
        free = ~np.isfinite(self.unit)
        change = np.abs(self.start.jacobian * self.scale).sum(1)
        self.unit = np.where(free, np.where(change > 0, change, 1.0), self.unit)
        steepest = float(np.abs(self.start.gradient * self.scale).max(initial=0.0))
        self.size = unit if unit is not None else max(steepest, _FLAT * abs(self.start.value), 1e-12)
        self._forget()

    def __len__(self) -> int:
        return len(self.scale)

    def scaled(self, x: Array) -> Array:
        """z of a point x [n]."""
        z: Array = (np.asarray(x, float) - self.shift) / self.scale
        return z

    def natural(self, z: Array) -> Array:
        """x of a point z [n], within its bounds."""
        x: Array = np.clip(self.shift + self.scale * z, self.floor, self.ceiling)
        return x

    def point(self, z: Array) -> Point:
        """Everything at z [n]; a point that is not finite has an infinite violation."""
        x = self.natural(z)
        key = x.tobytes()
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        self.evaluations += 1
        found = self._evaluated(x)
        self._known[key] = found
        if len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        if self.better(found, self.best):
            self.best = found
        return found

    def better(self, one: Point, other: Point | None) -> bool:
        """Whether one point is kept rather than another: feasible before infeasible, then by value or violation."""
        return one.valued and (other is None or self._ahead(one, other))

    def _ahead(self, one: Point, other: Point) -> bool:
        kept, other_kept = one.violation <= self.tolerance, other.violation <= self.tolerance
        if kept != other_kept:
            return kept
        return one.value < other.value if kept else one.violation < other.violation

    def violations(self, limits: Array) -> Array:
        """[m] how far limits are overstepped, in units of each."""
        unit = np.where(np.isfinite(self.unit), self.unit, 1.0)
        found: Array = excess_of(limits, self.lower, self.upper) / unit
        return found

    def _evaluated(self, x: Array) -> Point:
        if self.quick is not None:
            value, others = self.quick(x)
            return self._point(x, value, others, lambda: self._sloped(x)[1])
        (value, others), slopes = self._sloped(x)
        return self._point(x, value, others, lambda: slopes)

    def _point(self, x: Array, value: float, others: Array, slopes: Callable[[], tuple[Array, Array]]) -> Point:
        limits = np.concatenate([self.linear.matrix @ x, np.asarray(others, float)])
        worst = float(self.violations(limits).max(initial=0.0))
        return Point(x, float(value), limits, worst, slopes)

    def _sloped(self, x: Array) -> tuple[tuple[float, Array], tuple[Array, Array]]:
        """The goal and the nonlinear limits; the gradient and the Jacobian of all limits."""
        value, gradient = self.function(x)
        others, jacobian = np.zeros(0), self.linear.matrix
        if self.nonlinear is not None:
            others, slopes = self.nonlinear.function(x)
            jacobian = np.concatenate([jacobian, np.asarray(slopes, float).reshape(len(self.nonlinear), len(x))])
        return (value, others), (np.asarray(gradient, float), jacobian)

    def _forget(self) -> None:
        """The start counted anew, in the units that it gave."""
        self._known.clear()
        self.best = None
        self.evaluations = 0
        self.start = self.point(self.scaled(self.start.x))


def _scaling(start: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """(scale, shift): the range of a quantity with two bounds, else its size at the start (1 for zero)."""
    closed = np.isfinite(lower) & np.isfinite(upper)
    with np.errstate(invalid="ignore"):
        width = np.where(closed, upper - lower, 0.0)
    size = np.where(start != 0, np.abs(start), 1.0)
    scale = np.where(width > 0, width, size)
    shift = np.where(closed, lower, 0.0)
    return scale, np.where(np.isfinite(shift), shift, 0.0)


def _units(lower: Array, upper: Array) -> Array:
    """[m] size of each limit; infinite where both ends are zero or open and the size is still to be found."""
    ends = np.stack([np.where(np.isfinite(side), np.abs(side), 0.0) for side in (lower, upper)])
    largest = ends.max(0) if ends.size else np.zeros(0)
    return np.where(largest > 0, largest, math.inf)


def _require_finite(start: Point, labels: tuple[str, ...]) -> None:
    if start.finite:
        return
    bad = [label for label, value in zip(labels, start.limits, strict=True) if not math.isfinite(value)]
    what = f"the limit `{bad[0]}`" if bad else "the goal or a derivative"
    raise UsageError(
        f"{what} is not finite where the search starts",
        code="constrained.start",
        rule="A search begins where everything can be computed",
        cure="Start elsewhere",
    )
