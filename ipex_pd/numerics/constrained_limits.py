"""Limits of a constrained search: linear ones as a matrix, others as a function with its Jacobian; all with labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import UsageError

Array = NDArray[np.float64]
LimitFunction = Callable[[Array], tuple[Array, Array]]


@dataclass(frozen=True, eq=False)
class LinearLimits:
    """lower <= matrix x <= upper.

    Attributes:
        matrix: [m, n].
        lower, upper: [m], infinite where a side is open; equal for an equation.
        labels: [m] what each limit is, in words.
    """

    matrix: Array
    lower: Array
    upper: Array
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        matrix = np.asarray(self.matrix, float)
        if matrix.ndim != 2:
            raise UsageError(f"a matrix of limits with shape {matrix.shape}", code="limits.shape", where="linear")
        object.__setattr__(self, "matrix", matrix)
        _settle(self, len(matrix), "linear")

    def __len__(self) -> int:
        return len(self.lower)

    def excess(self, x: Array) -> Array:
        """How far each limit is overstepped at x [n]: [m], 0 where it is kept."""
        return excess_of(self.matrix @ np.asarray(x, float), self.lower, self.upper)

    @staticmethod
    def none(size: int) -> LinearLimits:
        """No limit on `size` quantities."""
        return LinearLimits(np.zeros((0, size)), np.zeros(0), np.zeros(0))

    @staticmethod
    def together(limits: Sequence[LinearLimits]) -> LinearLimits:
        """Several groups of limits on the same quantities as one.

        Raises:
            UsageError: no group, or groups of different width.
        """
        widths = {limit.matrix.shape[1] for limit in limits}
        if len(widths) != 1:
            raise UsageError(f"limits on {sorted(widths)} quantities", code="limits.shape", where="linear")
        return LinearLimits(
            np.concatenate([limit.matrix for limit in limits]),
            np.concatenate([limit.lower for limit in limits]),
            np.concatenate([limit.upper for limit in limits]),
            tuple(label for limit in limits for label in limit.labels),
        )


@dataclass(frozen=True, eq=False)
class NonlinearLimits:
    """lower <= function(x) <= upper.

    Attributes:
        function: x [n] -> (values [m], jacobian [m, n]).
        lower, upper: [m], infinite where a side is open; equal for an equation.
        labels: [m] what each limit is, in words.
    """

    function: LimitFunction
    lower: Array
    upper: Array
    labels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _settle(self, len(np.atleast_1d(np.asarray(self.lower, float))), "nonlinear")

    def __len__(self) -> int:
        return len(self.lower)


def excess_of(values: Array, lower: Array, upper: Array) -> Array:
    """How far values lie outside [lower, upper], 0 inside; infinite where a value is not finite."""
    outside = np.maximum(np.maximum(lower - values, values - upper), 0.0)
    return np.where(np.isfinite(values), outside, np.inf)


def _settle(limits: LinearLimits | NonlinearLimits, count: int, kind: str) -> None:
    """Arrays as floats, one label each; refused where they do not fit together."""
    lower, upper = (np.atleast_1d(np.asarray(side, float)) for side in (limits.lower, limits.upper))
    labels = tuple(limits.labels) or tuple(f"{kind} limit {number + 1}" for number in range(count))
    if not len(lower) == len(upper) == len(labels) == count:
        raise UsageError(
            f"{count} limits with {len(lower)} lower ends, {len(upper)} upper ends and {len(labels)} labels",
            code="limits.shape",
            where=kind,
            rule="Every limit has two ends and one label",
        )
    crossed = np.flatnonzero(~(lower <= upper))
    if crossed.size:
        first = int(crossed[0])
        raise UsageError(
            f"`{labels[first]}` asks for at least {lower[first]:g} and at most {upper[first]:g}",
            code="limits.crossed",
            where=kind,
            rule="The lower end of a limit does not lie above its upper end",
        )
    for name, value in (("lower", lower), ("upper", upper), ("labels", labels)):
        object.__setattr__(limits, name, value)
