"""The first part of a search whose objective is costly: from minimum to minimum of cheap objectives that hold nearby.

Around every point reached the objective gives a cheap one, close to itself there. Its minimum in a box is tried; the
box grows where the step kept its promise and shrinks where it did not. What is left is a search by the objective
itself, which begins with the curvature of the cheap one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ipex_pd.inference.totals import Evaluation, Objective, Starts
from ipex_pd.numerics.optimiser import Minimum, Step, Stopping, minimise

_BOX, _WIDEST = 1.0, 4.0
_ROUNDS = 20
_FAILURES = 3
_DIFFERENCE = 2e-4
_CHEAP = Stopping(gradient=1e-3, decrease=1e-6, iterations=100)

At = Callable[[np.ndarray, Starts | None], Evaluation]


@dataclass(frozen=True, eq=False)
class Led:
    """Where the way through nearby objectives ended.

    Attributes:
        w: [n] the best point.
        at: the objective there.
        curvature: [m, m] Hessian of the last nearby objective by the free entries of w over their scale; None where it
            is not positive definite.
        trace: points reached, in units of the scale.
        ended: whether nothing was left to gain there.
        interrupted: by the user.
    """

    w: np.ndarray
    at: Evaluation
    curvature: np.ndarray | None
    trace: tuple[Step, ...]
    ended: bool = False
    interrupted: bool = False

    def minimum(self, free: np.ndarray, scale: np.ndarray) -> Minimum:
        """The same as what a search over the free entries tells."""
        outcome = "interrupted; the best point seen is kept" if self.interrupted else "nothing is left to gain"
        count, gradient = len(self.trace), self.at.gradient[free] * scale
        x, value = self.w[free] / scale, self.at.value
        return Minimum(x, value, gradient, self.ended, outcome, count, count, self.trace, value)


@dataclass
class _Guide:
    """A nearby objective over the free entries of w, in units of their scale."""

    objective: Objective
    w: np.ndarray
    free: np.ndarray
    scale: np.ndarray
    modes: Starts

    def __post_init__(self) -> None:
        at = self.objective.at(self.w, self.modes)
        self.value, self.modes = at.value, at.modes
        matrix = self.objective.hessian(self.w, at, _DIFFERENCE * self.scale, self.free)
        matrix = matrix * np.outer(self.scale, self.scale)
        self.curvature = matrix if np.isfinite(matrix).all() and np.linalg.eigvalsh(matrix).min() > 0 else None

    def lowest(self, box: float) -> tuple[np.ndarray, float, Starts]:
        """The search vector [n] of the lowest point in a box, the value there, and its modes."""
        start = self.w[self.free] / self.scale
        modes, best = self.modes, self.value

        def function(x: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal modes, best
            if np.abs(x - start).max() > box:
                return np.inf, np.zeros_like(x)
            found = self.objective.at(self._whole(x), modes)
            if found.value <= best:
                best, modes = found.value, found.modes
            return found.value, found.gradient[self.free] * self.scale

        stopping = replace(_CHEAP, longest=box)
        found = minimise(function, start, stopping=stopping, curvature=self.curvature)
        if found.outcome.startswith("interrupted"):
            raise KeyboardInterrupt
        return self._whole(found.x), found.value, modes

    def _whole(self, x: np.ndarray) -> np.ndarray:
        whole = np.array(self.w, float)
        whole[self.free] = x * self.scale
        return whole


def lead(
    objective: Objective,
    at: At,
    w: np.ndarray,
    first: Evaluation,
    free: np.ndarray,
    scale: np.ndarray,
    *,
    enough: float,
    tell: Callable[[Step], None],
    trace: tuple[Step, ...] = (),
) -> Led | None:
    """Go down through nearby objectives; None where the objective is cheap itself.

    Args:
        objective: evaluated last at w.
        at: its evaluation, as the search counts it.
        w: [n] where to start.
        first: the objective there.
        free: [m] places of the entries that move.
        scale: [m] of these entries.
        enough: a step that promises less ends the way.
        tell: told of every point reached.
        trace: of the way before.
    """
    near = objective.nearby()
    if near is None:
        return None
    here, ended = Led(w, first, None, trace), False
    box, failures = _BOX, 0
    try:
        guide = _Guide(near, w, free, scale, first.modes)
        for _ in range(_ROUNDS):
            there, value, modes = guide.lowest(box)
            promise = guide.value - value
            if not promise > enough:
                ended = True
                break
            found = at(there, modes)
            gain = here.at.value - found.value
            if not gain > 0:
                box, failures = 0.25 * box, failures + 1
                if failures == _FAILURES:
                    break
                continue
            failures, box = 0, min(2.0 * box, _WIDEST) if gain > 0.75 * promise else 0.5 * box
            step = Step(len(here.trace) + 1, found.value, there[free] / scale, found.gradient[free] * scale)
            tell(step)
            here = Led(there, found, None, (*here.trace, step))
            after = objective.nearby()
            assert after is not None
            guide = _Guide(after, there, free, scale, found.modes)
    except KeyboardInterrupt:
        return replace(here, interrupted=True)
    return replace(here, curvature=guide.curvature, ended=ended)
