"""minimise(): one question, several searches behind it. The only door to optax.

`bfgs` is a dense quasi-Newton search with a Wolfe line search of its own: it takes a curvature to start from and steps
back from points where the objective is not finite. `l-bfgs-b` is SciPy's (bounds); `adam` is optax's (rough or noisy
objectives). All return the best point seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import optax
from scipy.optimize import minimize as scipy_minimize

from ipex_pd.errors import UsageError, nearest_hint

Objective = Callable[[np.ndarray], tuple[float, np.ndarray]]
Algorithm = Literal["bfgs", "l-bfgs-b", "adam"]
ALGORITHMS: tuple[Algorithm, ...] = ("bfgs", "l-bfgs-b", "adam")

_ARMIJO, _WOLFE = 1e-4, 0.9
_TRIALS = 30


@dataclass(frozen=True)
class Stopping:
    """When a search ends.

    Attributes:
        gradient: largest entry of the gradient in absolute value that counts as zero.
        decrease: a step that is expected to gain less than this, and gains less, ends the search.
        iterations: the most steps.
        longest: the longest step, in any entry of x.
        learning_rate: of adam.
    """

    gradient: float = 1e-4
    decrease: float = 1e-7
    iterations: int = 300
    longest: float = 2.0
    learning_rate: float = 0.05


@dataclass(frozen=True)
class Step:
    """One accepted point of a search: its number, value, x and gradient."""

    iteration: int
    value: float
    x: np.ndarray
    gradient: np.ndarray


@dataclass(frozen=True)
class Minimum:
    """What a search found: always the best point seen.

    Attributes:
        x, value, gradient: there.
        converged: whether it ended because nothing was left to gain.
        outcome: why it ended, in words.
        iterations, evaluations: counts.
        trace: the accepted points.
        last: value at the last point, which may be above the best.
    """

    x: np.ndarray
    value: float
    gradient: np.ndarray
    converged: bool
    outcome: str
    iterations: int
    evaluations: int
    trace: tuple[Step, ...]
    last: float


class _Search:
    """Counts evaluations and remembers the best."""

    def __init__(self, function: Objective, callback: Callable[[Step], None] | None) -> None:
        self.function, self.callback = function, callback
        self.evaluations = 0
        self.best: Step | None = None
        self.trace: list[Step] = []

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        value, gradient = self.function(x)
        value, gradient = float(value), np.asarray(gradient, float)
        if not (math.isfinite(value) and np.isfinite(gradient).all()):
            return math.inf, gradient
        if self.best is None or value < self.best.value:
            self.best = Step(len(self.trace), value, np.array(x, float), gradient)
        return value, gradient

    def accept(self, x: np.ndarray, value: float, gradient: np.ndarray) -> None:
        step = Step(len(self.trace), value, np.array(x, float), gradient)
        self.trace.append(step)
        if self.callback is not None:
            self.callback(step)

    def minimum(self, outcome: str, converged: bool) -> Minimum:
        assert self.best is not None
        best = self.best
        last = self.trace[-1].value if self.trace else best.value
        count = max(len(self.trace) - 1, 0)
        trace = tuple(self.trace)
        return Minimum(best.x, best.value, best.gradient, converged, outcome, count, self.evaluations, trace, last)


def minimise(
    function: Objective,
    x0: np.ndarray,
    *,
    algorithm: Algorithm = "bfgs",
    stopping: Stopping | None = None,
    curvature: np.ndarray | None = None,
    bounds: list[tuple[float | None, float | None]] | None = None,
    callback: Callable[[Step], None] | None = None,
) -> Minimum:
    """Search the minimum of a smooth function from x0 [n].

    Args:
        function: x -> (value, gradient); a value that is not finite marks a point as out of bounds.
        x0: where to start; the value there must be finite.
        algorithm: one of `ALGORITHMS`.
        stopping: when to end.
        curvature: [n, n] positive definite guess of the Hessian at x0 (bfgs).
        bounds: lowest and highest value of every entry (l-bfgs-b).
        callback: told of every accepted point. A KeyboardInterrupt ends the search and keeps the best point.

    Raises:
        UsageError: an unknown algorithm, an option that it cannot honour, or no finite value at x0.
    """
    stop = stopping or Stopping()
    _check(algorithm, curvature, bounds)
    search = _Search(function, callback)
    start = np.array(x0, float)
    value, gradient = search(start)
    if not math.isfinite(value):
        raise UsageError("the objective is not finite where the search starts", code="optimiser.start")
    try:
        search.accept(start, value, gradient)
        if algorithm == "bfgs":
            outcome = _bfgs(search, stop, curvature)
        elif algorithm == "adam":
            outcome = _adam(search, stop)
        else:
            outcome = _lbfgsb(search, stop, bounds)
    except KeyboardInterrupt:
        return search.minimum("interrupted; the best point seen is kept", False)
    return search.minimum(*outcome)


def _check(algorithm: str, curvature: np.ndarray | None, bounds: Any) -> None:
    if algorithm not in ALGORITHMS:
        raise UsageError(f"`{algorithm}` is not a search", rule=nearest_hint(algorithm, ALGORITHMS))
    if curvature is not None and algorithm != "bfgs":
        raise UsageError(f"`{algorithm}` takes no curvature", cure="Use bfgs")
    if bounds is not None and algorithm != "l-bfgs-b":
        raise UsageError(f"`{algorithm}` takes no bounds", cure="Use l-bfgs-b, or transform the parameters")


def _bfgs(search: _Search, stop: Stopping, curvature: np.ndarray | None) -> tuple[str, bool]:
    here = search.trace[-1]
    size = len(here.x)
    scale = max(1.0, float(np.abs(here.gradient).max()))
    first = np.eye(size) / scale if curvature is None else np.linalg.inv(curvature)
    inverse, fresh = first, True
    for _ in range(stop.iterations):
        if np.abs(here.gradient).max() <= stop.gradient:
            return "the gradient is zero", True
        direction = -inverse @ here.gradient
        if here.gradient @ direction >= 0:
            inverse, fresh = first, True
            direction = -inverse @ here.gradient
        promise = -0.5 * float(here.gradient @ direction)
        direction *= min(1.0, stop.longest / max(float(np.abs(direction).max()), 1e-300))
        there = _line_search(search, here, direction)
        if there is None or (here.value - there.value < stop.decrease and promise < stop.decrease):
            if fresh or promise < stop.decrease:
                found = promise < stop.decrease
                return ("nothing is left to gain" if found else "no step lowers the objective"), found
            inverse, fresh = np.eye(size) / max(1.0, float(np.abs(here.gradient).max())), True
            continue
        inverse, fresh = _updated(inverse, there.x - here.x, there.gradient - here.gradient), False
        search.accept(there.x, there.value, there.gradient)
        here = there
    return f"{stop.iterations} iterations were not enough", False


def _updated(inverse: np.ndarray, s: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The BFGS update of an inverse Hessian; as it was where the curvature along the step is not positive."""
    bend = float(s @ y)
    if bend <= 1e-12 * float(np.linalg.norm(s) * np.linalg.norm(y)):
        return inverse
    left = np.eye(len(s)) - np.outer(s, y) / bend
    updated: np.ndarray = left @ inverse @ left.T + np.outer(s, s) / bend
    return updated


def _line_search(search: _Search, here: Step, direction: np.ndarray) -> Step | None:
    """A point that meets the weak Wolfe conditions, or the lowest one found below the start; None if there is none."""
    slope = float(here.gradient @ direction)
    low, high, length = 0.0, math.inf, 1.0
    lowest: Step | None = None
    for _ in range(_TRIALS):
        x = here.x + length * direction
        value, gradient = search(x)
        if value < here.value and (lowest is None or value < lowest.value):
            lowest = replace(here, value=value, x=x, gradient=gradient)
        if not value <= here.value + _ARMIJO * length * slope:
            high = length
            length = _between(low, high, length, value - here.value, slope)
        elif float(gradient @ direction) < _WOLFE * slope:
            low = length
            length = 2.0 * length if math.isinf(high) else 0.5 * (low + high)
        else:
            return lowest
        if high - low < 1e-10:
            break
    return lowest


def _between(low: float, high: float, length: float, rise: float, slope: float) -> float:
    """The next trial: the minimum of a parabola through start and trial, kept well inside the bracket."""
    if not math.isfinite(rise):
        return low + 0.2 * (high - low)
    bend = rise - length * slope
    guess = -0.5 * slope * length**2 / bend if bend > 0 else 0.5 * (low + high)
    return min(max(guess, low + 0.1 * (high - low)), low + 0.6 * (high - low))


def _adam(search: _Search, stop: Stopping) -> tuple[str, bool]:
    here = search.trace[-1]
    rule = optax.adam(stop.learning_rate)
    x, gradient = here.x, here.gradient
    state = rule.init(x)
    for _ in range(stop.iterations):
        if np.abs(gradient).max() <= stop.gradient:
            return "the gradient is zero", True
        change, state = rule.update(gradient, state, x)
        move = np.asarray(change)
        for _ in range(_TRIALS):
            value, gradient = search(x + move)
            if math.isfinite(value):
                break
            move = 0.2 * move
        else:
            return "no step has a finite objective", False
        x = x + move
        search.accept(x, value, gradient)
    return f"{stop.iterations} iterations were not enough", False


def projected_adam(
    slope: Callable[[np.ndarray], np.ndarray | None],
    x: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    steps: int,
    rate: float,
    accept: Callable[[np.ndarray], None],
) -> np.ndarray:
    """Steps of optax's Adam from x [n], each put back between its bounds; the learning rate falls to a tenth.

    Args:
        slope: x -> gradient; None marks a point that is not finite, from which the step is shortened.
        x: where to start, a point with a slope.
        lower, upper: [n] bounds.
        steps: how many.
        rate: the learning rate at the start.
        accept: told of every step.
    """
    rule = optax.adam(optax.cosine_decay_schedule(rate, steps, alpha=0.1))
    here: np.ndarray = np.clip(x, lower, upper)
    state, gradient = rule.init(here), slope(here)
    for _ in range(steps):
        if gradient is None:
            return here
        change, state = rule.update(gradient, state, here)
        move = np.asarray(change)
        for _ in range(_TRIALS):
            there = np.clip(here + move, lower, upper)
            gradient = slope(there)
            if gradient is not None:
                break
            move = 0.2 * move
        else:
            return here
        here = there
        accept(here)
    return here


def _lbfgsb(search: _Search, stop: Stopping, bounds: Any) -> tuple[str, bool]:
    barrier = abs(search.trace[0].value) * 10 + 1e10

    def function(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = search(x)
        return (value, gradient) if math.isfinite(value) else (barrier, np.zeros_like(x))

    def accept(x: np.ndarray) -> None:
        value, gradient = function(x)
        search.accept(x, value, gradient)

    options = {"maxiter": stop.iterations, "gtol": stop.gradient, "ftol": 1e-14}
    found = scipy_minimize(
        function, search.trace[0].x, jac=True, method="L-BFGS-B", bounds=bounds, callback=accept, options=options
    )
    return str(found.message).lower().rstrip("."), bool(found.success)
