"""The searches behind `minimise_constrained`: SLSQP and trust-constr of SciPy, projected Adam of optax.

All work on a `ScaledProblem`. A point that is not finite counts as a step too long: the search is told a value above
everything seen, and steps back.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import BFGS, SR1, Bounds, LinearConstraint, NonlinearConstraint
from scipy.optimize import minimize as scipy_minimize

from ipex_pd.numerics.constrained_limits import Array
from ipex_pd.numerics.constrained_optimality import Optimality
from ipex_pd.numerics.constrained_scaled import Point, ScaledProblem
from ipex_pd.numerics.optimiser import projected_adam

Accept = Callable[[Point], None]
Judge = Callable[[Point], Optimality]
Outcome = tuple[str, int]

_ROUNDS = 6
_STAGES = 12
_GROWTH = 4.0
_STALL = 0.25
_MARGIN = 0.01
_BARRIERS = (0.1, 1e-4, 1e-7)


class Guard:
    """Scaled values, limits and derivatives with a barrier where they are not finite.

    `weight` multiplies the goal: 0 asks for the limits alone.
    """

    def __init__(self, problem: ScaledProblem) -> None:
        self.problem = problem
        self.highest = abs(problem.start.value / problem.size)
        self.last = problem.start

    def at(self, z: Array) -> Point:
        """The point."""
        point = self.problem.point(z)
        if point.valued:
            self.highest = max(self.highest, abs(point.value / self.problem.size))
        return point

    def sloped(self, z: Array) -> Point:
        """The point, or the last one with finite derivatives."""
        point = self.at(z)
        self.last = point if point.finite else self.last
        return self.last

    def value(self, z: Array) -> float:
        """The goal, scaled."""
        point = self.at(z)
        return point.value / self.problem.size if point.valued else 1e3 * (1.0 + self.highest)

    def gradient(self, z: Array) -> Array:
        """Its gradient by z, scaled."""
        return self.sloped(z).gradient * self.problem.scale / self.problem.size

    def limits(self, z: Array) -> Array:
        """Limits in units of their own size."""
        point = self.at(z)
        return (point if point.valued else self.last).limits / self.problem.unit

    def jacobian(self, z: Array) -> Array:
        """Their Jacobian by z."""
        return self.sloped(z).jacobian * self.problem.scale / self.problem.unit[:, None]


def slsqp(
    problem: ScaledProblem, iterations: int, decrease: float, accept: Accept, judge: Judge, root: Array | None = None
) -> Outcome:
    """Sequential quadratic programming (Kraft), begun again at the best point while that helps.

    A point is accepted where its gradient is asked for: SciPy's own callback tells the first trial of the next step.

    Args:
        problem: what is searched.
        iterations: the most steps.
        decrease: gain of the scaled goal that counts as none.
        accept: told of points.
        judge: whether a point is optimal.
        root: [n, n] of the inverse Hessian by z, where earlier steps tell of it (`constrained_memory`).
    """
    guard = Guard(problem)
    used, message = 0, ""
    for _ in range(_ROUNDS):
        before = problem.best or problem.start
        view = _View(guard, problem.scaled(before.x), root, accept)
        found = scipy_minimize(
            view.value,
            view.begin,
            jac=view.gradient,
            method="SLSQP",
            bounds=view.bounds,
            constraints=view.constraints,
            options={"maxiter": max(iterations - used, 1), "ftol": decrease},
        )
        used += int(found.nit)
        accept(problem.point(view.z(np.asarray(found.x))))
        message = str(found.message)
        after = problem.best or before
        if used >= iterations or judge(after).converged or not _gained(problem, before, after, decrease):
            break
    return message, used


def _gained(problem: ScaledProblem, before: Point, after: Point, decrease: float) -> bool:
    if before.violation > problem.tolerance:
        return after.violation < 0.9 * before.violation
    return before.value - after.value > decrease * problem.size


class _View:
    """A guarded problem in quantities w, z = z0 + S w; in z itself where there is no S.

    With S, bounds are inequalities like others, as they are inside SLSQP anyway.
    """

    def __init__(self, guard: Guard, begin: Array, root: Array | None, accept: Accept) -> None:
        self.guard, self.root, self.accept = guard, root, accept
        problem = guard.problem
        self.centre, self.begin = begin, begin if root is None else np.zeros(len(begin))
        self.bounds = list(zip(problem.low, problem.high, strict=True)) if root is None else None
        self.constraints = [self._seen(own) for own in _slsqp_constraints(problem, guard)]
        if root is not None:
            self.constraints.append(self._within(problem.low, problem.high, root))

    def z(self, w: Array) -> Array:
        return w if self.root is None else self.centre + self.root @ w

    def value(self, w: Array) -> float:
        return self.guard.value(self.z(w))

    def gradient(self, w: Array) -> Array:
        slope = self.guard.gradient(self.z(w))
        self.accept(self.guard.at(self.z(w)))
        return slope if self.root is None else slope @ self.root

    def _seen(self, own: dict[str, Any]) -> dict[str, Any]:
        root = self.root
        if root is None:
            return own
        return {**own, "fun": lambda w: own["fun"](self.z(w)), "jac": lambda w: own["jac"](self.z(w)) @ root}

    def _within(self, low: Array, high: Array, root: Array) -> dict[str, Any]:
        floors, ceilings = np.flatnonzero(np.isfinite(low)), np.flatnonzero(np.isfinite(high))
        slope = np.concatenate([root[floors], -root[ceilings]])

        def inside(w: Array) -> Array:
            z = self.z(w)
            return np.concatenate([z[floors] - low[floors], high[ceilings] - z[ceilings]])

        return {"type": "ineq", "fun": inside, "jac": lambda w: slope}


def _slsqp_constraints(problem: ScaledProblem, guard: Guard) -> list[dict[str, Any]]:
    """Equations, and everything else as something that must not be negative."""
    same = problem.lower == problem.upper
    low = np.flatnonzero(np.isfinite(problem.lower) & ~same)
    high = np.flatnonzero(np.isfinite(problem.upper) & ~same)
    equal = np.flatnonzero(same)
    floor, ceiling = problem.lower / problem.unit, problem.upper / problem.unit

    def inside(z: Array) -> Array:
        limits = guard.limits(z)
        return np.concatenate([limits[low] - floor[low], ceiling[high] - limits[high]])

    def inside_slope(z: Array) -> Array:
        slope = guard.jacobian(z)
        return np.concatenate([slope[low], -slope[high]])

    found: list[dict[str, Any]] = []
    if low.size + high.size:
        found.append({"type": "ineq", "fun": inside, "jac": inside_slope})
    if equal.size:
        found.append(
            {
                "type": "eq",
                "fun": lambda z: guard.limits(z)[equal] - floor[equal],
                "jac": lambda z: guard.jacobian(z)[equal],
            }
        )
    return found


def trust_constr(
    problem: ScaledProblem, iterations: int, gradient: float, accept: Accept, judge: Judge, hessian: str = "bfgs"
) -> Outcome:
    """Trust-region interior point of SciPy with a quasi-Newton Hessian, begun again with a lower barrier."""
    guard = Guard(problem)
    update = {"bfgs": BFGS, "sr1": SR1}[hessian]
    floor, ceiling = problem.lower / problem.unit, problem.upper / problem.unit
    count = len(problem.linear)
    constraints: list[Any] = []
    if count:
        matrix = problem.linear.matrix * problem.scale / problem.unit[:count, None]
        offset = problem.linear.matrix @ problem.shift / problem.unit[:count]
        constraints.append(LinearConstraint(matrix, floor[:count] - offset, ceiling[:count] - offset))
    if problem.nonlinear is not None and len(problem.nonlinear):
        constraints.append(
            NonlinearConstraint(
                lambda z: guard.limits(z)[count:],
                floor[count:],
                ceiling[count:],
                jac=lambda z: guard.jacobian(z)[count:],
                hess=update(),
            )
        )

    def told(z: Array, state: Any) -> bool:
        accept(problem.point(z))
        return False

    z, used, message = _inside(problem), 0, ""
    for barrier in _BARRIERS:
        before = problem.best or problem.start
        with warnings.catch_warnings():
            # of the search's own steps: a linear goal, limits that say the same, a step along a bound
            warnings.filterwarnings("ignore", module="scipy.optimize._trustregion_constr")
            warnings.filterwarnings("ignore", message="delta_grad == 0.0")
            found = scipy_minimize(
                guard.value,
                z,
                jac=guard.gradient,
                hess=update(),
                method="trust-constr",
                bounds=Bounds(problem.low, problem.high),
                constraints=constraints,
                callback=told,
                options={
                    "maxiter": max(iterations - used, 1),
                    "gtol": 0.01 * gradient,
                    "xtol": 1e-12,
                    "barrier_tol": min(barrier, 1e-10),
                    "initial_barrier_parameter": barrier,
                    "initial_barrier_tolerance": barrier,
                },
            )
        used, message = used + int(found.nit), str(found.message)
        after = problem.best or before
        if used >= iterations or judge(after).converged:
            break
        z = problem.scaled(after.x)
    return message, used


def _inside(problem: ScaledProblem) -> Array:
    """The start, moved off its bounds: an interior point method cannot leave them."""
    with np.errstate(invalid="ignore"):
        width = np.where(np.isfinite(problem.low) & np.isfinite(problem.high), problem.high - problem.low, 1.0)
    z: Array = problem.scaled(problem.start.x)
    return np.minimum(np.maximum(z, problem.low + _MARGIN * width), problem.high - _MARGIN * width)


def adam(problem: ScaledProblem, iterations: int, rate: float, accept: Accept, judge: Judge) -> Outcome:
    """An augmented Lagrangian whose stages are searched by projected Adam (optax) with a falling learning rate.

    For rough or noisy goals: it needs no line search. Multipliers and penalties follow the limits after every stage.
    """
    guard = Guard(problem)
    floor, ceiling = problem.lower / problem.unit, problem.upper / problem.unit
    price, penalty = np.zeros(len(floor)), 10.0
    z, worst, used = problem.scaled(problem.start.x), math.inf, 0
    for _ in range(_STAGES):
        steps = max(iterations // _STAGES, 1)

        def slope(at: Array, price: Array = price, penalty: float = penalty) -> Array | None:
            point = guard.at(at)
            if not point.finite:
                return None
            limits = guard.limits(at)
            push = _push(limits, floor, ceiling, price, penalty)
            return np.asarray(guard.gradient(at) + push @ guard.jacobian(at))

        z = projected_adam(slope, z, problem.low, problem.high, steps, rate, lambda at: accept(problem.point(at)))
        used += steps
        limits = guard.limits(z)
        price = _push(limits, floor, ceiling, price, penalty)
        violation = problem.point(z).violation
        if problem.best is not None and judge(problem.best).converged:
            return "the optimality conditions hold", used
        penalty = penalty * _GROWTH if violation > max(_STALL * worst, problem.tolerance) else penalty
        worst, rate = violation, 0.6 * rate
    return f"{used} steps were not enough", used


def _push(limits: Array, floor: Array, ceiling: Array, price: Array, penalty: float) -> Array:
    """The slope of the augmented Lagrangian by the limits: positive pushes down from a ceiling."""
    with np.errstate(invalid="ignore"):
        down = np.where(np.isfinite(ceiling), price + penalty * (limits - ceiling), -math.inf)
        up = np.where(np.isfinite(floor), price + penalty * (limits - floor), math.inf)
    return np.where(floor == ceiling, down, np.maximum(down, 0.0) + np.minimum(up, 0.0))
