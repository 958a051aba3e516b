"""minimise_constrained(): the lowest value of a smooth function within bounds and limits, several searches behind one
door.

`slsqp` (sequential quadratic programming) for tens of quantities, `trust-constr` (interior point with quasi-Newton)
for many, `adam` (augmented Lagrangian) for rough goals. All search in scaled quantities, step back from points that
are not finite, and return the best feasible point seen with the optimality conditions there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.numerics.constrained_limits import Array, LinearLimits, NonlinearLimits
from ipex_pd.numerics.constrained_memory import Learnt
from ipex_pd.numerics.constrained_optimality import Multiplier, Optimality, optimality
from ipex_pd.numerics.constrained_scaled import Point, Quick, ScaledProblem, ValueFunction
from ipex_pd.numerics.constrained_searches import adam, slsqp, trust_constr

ConstrainedAlgorithm = Literal["slsqp", "trust-constr", "trust-constr-sr1", "adam"]
CONSTRAINED: tuple[ConstrainedAlgorithm, ...] = ("slsqp", "trust-constr", "trust-constr-sr1", "adam")


@dataclass(frozen=True)
class ConstrainedStopping:
    """When a constrained search ends.

    Attributes:
        gradient: projected gradient, in units of the gradient at the start, that counts as zero.
        decrease: gain of the scaled goal below which slsqp ends a round.
        violation: overstepping of a limit, in units of the limit, that counts as none.
        iterations: the most steps.
        learning_rate: of adam, in ranges of the quantities.
        stall: share of all that was gained which `patience` steps must gain for the search to go on; 0: it goes on.
        patience: see there.
    """

    gradient: float = 1e-5
    decrease: float = 1e-12
    violation: float = 1e-7
    iterations: int = 300
    learning_rate: float = 0.05
    stall: float = 0.0
    patience: int = 4


@dataclass(frozen=True, eq=False)
class ConstrainedStep:
    """One accepted point: its number, goal, violation (in units of the limit) and x [n]."""

    iteration: int
    value: float
    violation: float
    x: Array


@dataclass(frozen=True, eq=False)
class ConstrainedMinimum:
    """What a constrained search found: the best feasible point seen, else the one that oversteps least.

    Attributes:
        x, value, gradient: there.
        limits: [m] values of the limits, linear ones first.
        multipliers: of the active limits and bounds, with their shadow prices.
        projected_gradient: what the multipliers leave of the gradient (`Optimality.projected_gradient`).
        relative_gradient: the same in units of the gradient at the start, or of that which an earlier search handed on.
        active: labels of the active limits and bounds.
        violation: largest overstepping, in units of the limit.
        feasible: whether it lies within the tolerance of `ConstrainedStopping`.
        converged: whether the optimality conditions hold.
        outcome: why the search ended, in words.
        interrupted: by the user.
        iterations, evaluations: counts.
        trace: the accepted points.
        learnt: what a search that goes on from here takes over.
    """

    x: Array
    value: float
    gradient: Array
    limits: Array
    multipliers: tuple[Multiplier, ...]
    projected_gradient: float
    relative_gradient: float
    active: tuple[str, ...]
    violation: float
    feasible: bool
    converged: bool
    outcome: str
    interrupted: bool
    iterations: int
    evaluations: int
    trace: tuple[ConstrainedStep, ...]
    learnt: Learnt


def minimise_constrained(
    function: ValueFunction,
    x0: Array,
    *,
    lower: Array | None = None,
    upper: Array | None = None,
    linear: LinearLimits | None = None,
    nonlinear: NonlinearLimits | None = None,
    names: Sequence[str] = (),
    algorithm: ConstrainedAlgorithm = "slsqp",
    stopping: ConstrainedStopping | None = None,
    callback: Callable[[ConstrainedStep], None] | None = None,
    quick: Quick | None = None,
    learnt: Learnt | None = None,
) -> ConstrainedMinimum:
    """Search the minimum of a smooth function within bounds and limits.

    Args:
        function: x [n] -> (value, gradient [n]).
        x0: where to start; put back between the bounds first. It need not keep the limits.
        lower, upper: [n] bounds, never overstepped; open where infinite or None.
        linear, nonlinear: limits.
        names: of the quantities, for what is said of bounds.
        algorithm: one of `CONSTRAINED`.
        stopping: when to end.
        callback: told of every accepted point. A KeyboardInterrupt, there or in a function, ends the search and keeps
            the best.
        quick: x [n] -> (value, nonlinear limits [m]), where they are cheap without derivatives; trial points ask it.
        learnt: by an earlier search of the same problem, with other smoothing or other members.

    Raises:
        UsageError: an unknown algorithm, shapes that do not fit, or numbers that are not finite at x0.
    """
    stop = stopping or ConstrainedStopping()
    start = np.atleast_1d(np.asarray(x0, float))
    bounds = _bounds(lower, upper, len(start))
    labels = tuple(names) or tuple(f"x{number + 1}" for number in range(len(start)))
    _check(algorithm, start, linear, labels)
    limits = linear if linear is not None else LinearLimits.none(len(start))
    unit = None if learnt is None else learnt.unit
    problem = ScaledProblem(function, start, bounds, limits, nonlinear, stop.violation, quick, unit)
    log = _Log(problem, callback, stop, Learnt(problem.size) if learnt is None else learnt)

    def judge(point: Point) -> Optimality:
        return optimality(problem, point, stop.gradient, labels)

    interrupted, used = False, 0
    try:
        log.accept(problem.start)
        outcome, used = _searched(algorithm, problem, stop, log, judge)
    except _Stalled:
        outcome, used = f"{stop.patience} steps gained less than {100 * stop.stall:g}% of all", len(log.steps)
    except KeyboardInterrupt:
        outcome, interrupted, used = "interrupted; the best point seen is kept", True, len(log.steps)
    return _minimum(problem, log, judge, outcome, interrupted, used)


class _Stalled(Exception):
    """The last steps gained too little."""


class _Log:
    """The accepted points of a search, and the end of one that gains no more."""

    def __init__(
        self,
        problem: ScaledProblem,
        callback: Callable[[ConstrainedStep], None] | None,
        stop: ConstrainedStopping,
        before: Learnt,
    ) -> None:
        self.problem, self.callback, self.stop, self.before = problem, callback, stop, before
        self.steps: list[ConstrainedStep] = []
        self.gradients: list[Array] = []
        self.bests: list[float] = []
        self.last: Point | None = None

    def accept(self, point: Point) -> None:
        if not point.finite or (self.last is not None and np.array_equal(point.x, self.last.x)):
            return
        self.last = point
        step = ConstrainedStep(len(self.steps), point.value, point.violation, point.x)
        self.steps.append(step)
        self.gradients.append(point.gradient)
        if self.callback is not None:
            self.callback(step)
        best = self.problem.best
        if best is not None and best.violation <= self.problem.tolerance:
            self.bests.append(best.value)
            self._go_on()

    def _go_on(self) -> None:
        if self.stop.stall == 0 or len(self.bests) <= self.stop.patience:
            return
        lately = self.bests[-1 - self.stop.patience] - self.bests[-1]
        if self.gained > 0 and lately < self.stop.stall * self.gained:
            raise _Stalled

    @property
    def gained(self) -> float:
        """By this search and those before it."""
        own = max(self.bests[0] - self.bests[-1], 0.0) if self.bests else 0.0
        return self.before.gained + own

    def learnt(self) -> Learnt:
        """What a search that follows takes over."""
        places = np.array([step.x for step in self.steps])
        steps, changes = np.diff(places, axis=0), np.diff(np.array(self.gradients), axis=0)
        if len(self.before.steps):
            steps, changes = np.vstack([self.before.steps, steps]), np.vstack([self.before.changes, changes])
        return Learnt(self.problem.size, self.gained, steps, changes)


def _searched(
    algorithm: str,
    problem: ScaledProblem,
    stop: ConstrainedStopping,
    log: _Log,
    judge: Callable[[Point], Optimality],
) -> tuple[str, int]:
    if algorithm == "slsqp":
        return slsqp(problem, stop.iterations, stop.decrease, log.accept, judge, log.before.root(problem.scale))
    if algorithm == "adam":
        return adam(problem, stop.iterations, stop.learning_rate, log.accept, judge)
    hessian = "sr1" if algorithm.endswith("sr1") else "bfgs"
    return trust_constr(problem, stop.iterations, stop.gradient, log.accept, judge, hessian)


def _minimum(
    problem: ScaledProblem,
    log: _Log,
    judge: Callable[[Point], Optimality],
    outcome: str,
    interrupted: bool,
    used: int,
) -> ConstrainedMinimum:
    best = _chosen(problem, log)
    found = judge(best)
    words = outcome.strip().rstrip(".")
    return ConstrainedMinimum(
        x=best.x,
        value=best.value,
        gradient=best.gradient,
        limits=best.limits,
        multipliers=found.multipliers,
        projected_gradient=found.projected_gradient,
        relative_gradient=found.relative,
        active=tuple(m.label for m in found.multipliers),
        violation=best.violation,
        feasible=best.violation <= problem.tolerance,
        converged=found.converged,
        outcome=words[:1].lower() + words[1:],
        interrupted=interrupted,
        iterations=used,
        evaluations=problem.evaluations,
        trace=tuple(log.steps),
        learnt=log.learnt(),
    )


def _chosen(problem: ScaledProblem, log: _Log) -> Point:
    """The best point; the last one where the best only gains what the tolerance of the limits gives away."""
    best = problem.best or problem.start
    last = log.last
    if not best.finite:
        return last or problem.start
    if last is None or last.violation > problem.tolerance or best.violation > problem.tolerance:
        return best
    given = 10.0 * problem.tolerance * problem.size
    return last if last.value - best.value <= given and last.violation < best.violation else best


def _bounds(lower: Array | None, upper: Array | None, size: int) -> tuple[Array, Array]:
    low = np.full(size, -np.inf) if lower is None else np.asarray(lower, float)
    high = np.full(size, np.inf) if upper is None else np.asarray(upper, float)
    if low.shape != (size,) or high.shape != (size,):
        raise UsageError(
            f"{size} quantities with bounds of shape {low.shape} and {high.shape}", code="constrained.shape"
        )
    if not (low <= high).all():
        first = int(np.flatnonzero(~(low <= high))[0])
        raise UsageError(
            f"quantity {first + 1} lies between {low[first]:g} and {high[first]:g}",
            code="constrained.bounds",
            rule="A lower bound does not lie above its upper bound",
        )
    return low, high


def _check(algorithm: str, start: Array, linear: LinearLimits | None, names: tuple[str, ...]) -> None:
    if algorithm not in CONSTRAINED:
        raise UsageError(f"`{algorithm}` is not a constrained search", cure=nearest_hint(algorithm, CONSTRAINED))
    if linear is not None and linear.matrix.shape[1] != len(start):
        raise UsageError(
            f"limits on {linear.matrix.shape[1]} quantities, and {len(start)} of them", code="constrained.shape"
        )
    if len(names) != len(start):
        raise UsageError(f"{len(names)} names for {len(start)} quantities", code="constrained.shape")
