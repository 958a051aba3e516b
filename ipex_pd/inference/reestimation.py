"""Searches again from a fit, with the programs compiled for it: for other weights of its subjects, or one value held.

Everything is a new sum over the subjects' own objectives and gradients, so that no shape changes and nothing is
compiled anew. The search starts at the estimates, with the fit's Hessian as curvature and its modes to start from.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import IpexError, UsageError
from ipex_pd.inference.estimation import objective_for
from ipex_pd.inference.objectives import METHODS
from ipex_pd.inference.population import Layout
from ipex_pd.inference.results import Fit
from ipex_pd.inference.totals import Evaluation, Starts
from ipex_pd.numerics.optimiser import Stopping, minimise

Array = Any

_STOPPING = Stopping(gradient=5e-3, decrease=1e-5, iterations=100, longest=5.0)
_OTHER_PATH = 1e-3
_FIT_AGAIN = "Fit with one of these, then ask again"
_STOCHASTIC = (
    "Fit with laplace or agq from the estimates of this fit, then ask again; or draw from its covariance: "
    "`covariance_draws(fit)`, `ipex-pd uncertainty RUN --method covariance`"
)
_CURES = {
    "saem": _STOCHASTIC,
    "imp": _STOCHASTIC,
    "nuts": "The draws of the posterior are its uncertainty: `posterior.draws`, `draws.csv` in the run folder",
    "map": "A map fit holds all population values: estimate them, for example with focei, then ask again",
    "two_stage": "Two stages have no joint likelihood: fit with focei, then ask again",
}


@dataclass(frozen=True, eq=False)
class Refound:
    """Where a search ended.

    Attributes:
        w: [n] search vector.
        value: the objective there; NaN when the search failed.
        converged: whether it ended because nothing was left to gain.
        outcome: why it ended, in words.
        modes: of the subjects there.
        interrupted: by the user.
    """

    w: np.ndarray
    value: float
    converged: bool
    outcome: str
    modes: Starts
    interrupted: bool = False


class Held:
    """One natural value held at a number, by a coordinate of the search vector that is solved for.

    Typical values: their own coordinate. A variance of a block: the log sd of its row. A covariance: the entry of the
    factor, in which it is linear. All closed forms, so that the value is held to rounding.

    Args:
        layout: of the search vector.
        place: of the natural value.
        value: at which it is held.
    """

    def __init__(self, layout: Layout, place: int, value: float) -> None:
        self.layout, self.place, self.value = layout, place, value
        self.entry, self.kind = coordinate_of(layout, place)

    def applied(self, w: np.ndarray) -> np.ndarray:
        """w [n] with the coordinate moved so that the value is held."""
        moved = np.array(w, float)
        if self.kind == "theta":
            thetas = np.asarray(self.layout.theta(jnp.asarray(w))).copy()
            thetas[self.place] = self.value
            moved[self.entry] = self.layout.transform.search(thetas)[self.entry]
            return moved
        natural, slopes = natural_and_slopes(self.layout, moved)
        if self.kind == "variance":
            moved[self.entry] += 0.5 * np.log(self.value / natural[self.place])
        else:
            moved[self.entry] += (self.value - natural[self.place]) / slopes[self.place, self.entry]
        return moved

    def slope(self, w: np.ndarray) -> np.ndarray:
        """[n] how the coordinate follows the others; 0 at itself."""
        follow = np.zeros(len(w))
        if self.kind != "theta":
            own = natural_and_slopes(self.layout, w)[1][self.place]
            follow = -own / own[self.entry]
            follow[self.entry] = 0.0
        return follow


def coordinate_of(layout: Layout, place: int) -> tuple[int, str]:
    """The entry of the search vector that answers for a natural value, and `theta`, `variance` or `covariance`."""
    if place < layout.thetas:
        return place, "theta"
    at = natural = layout.thetas
    for size, _ in layout.blocks:
        below = 0
        for i in range(size):
            for j in range(i + 1):
                if natural == place:
                    return (at + i, "variance") if i == j else (at + size + below + j, "covariance")
                natural += 1
            below += i
        at += size * (size + 1) // 2
    raise UsageError(f"there is no natural value {place}")


def natural_and_slopes(layout: Layout, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Natural values [n] of a search vector and their derivatives [n, n] by it."""
    natural, slopes = _natural_and_slopes(jnp.asarray(w), layout=layout)
    return np.asarray(natural), np.asarray(slopes)


@functools.partial(jax.jit, static_argnames="layout")
def _natural_and_slopes(w: Array, *, layout: Layout) -> tuple[Array, Array]:
    return layout.natural(w), jax.jacfwd(layout.natural)(w)


class Reestimation:
    """Searches near the estimates of a fit.

    Args:
        fit: by one of the methods of `objectives`.
        purpose: what the searches are for, as a message names it.

    Raises:
        UsageError: a fit by another method, or one that estimated nothing.
    """

    def __init__(self, fit: Fit, purpose: str) -> None:
        require_searchable(fit, purpose)
        self.fit = fit
        self.layout = fit.population.layout
        self.objective = objective_for(fit.population, fit.bound, fit.method, fit.options.nodes)
        self.free = np.flatnonzero(fit.population.free)
        self.curvature = _curvature(fit)
        self.counted = np.isfinite(fit.found.at.values)
        penalty = jax.jit(jax.value_and_grad(fit.population.penalty)) if self.objective.has_prior else None
        self._penalty = penalty

    def total(self, w: np.ndarray, at: Evaluation, weights: np.ndarray | None = None) -> tuple[float, np.ndarray]:
        """The objective at w and its gradient [n], with subjects counted by weights [S], and the priors.

        Subjects that the fit set aside (without an objective) count for nothing, nor do those of weight zero.
        """
        counts = np.where(self.counted, 1.0 if weights is None else weights, 0.0)
        own = counts > 0
        value, gradient = float(counts[own] @ at.values[own]), counts[own] @ at.gradients[own]
        if self._penalty is not None:
            extra, slope = self._penalty(jnp.asarray(w))
            value, gradient = value + float(extra), gradient + np.asarray(slope)
        return value, np.asarray(gradient)

    def search(
        self,
        weights: np.ndarray | None = None,
        held: Held | None = None,
        start: np.ndarray | None = None,
        modes: Starts | None = None,
    ) -> Refound:
        """Search; a failure is told in `outcome`, never raised.

        Args:
            weights: [S] how often a subject counts; once when left out.
            held: a value that stays.
            start: [n] search vector; the estimates when left out.
            modes: to start from; those of the fit when left out.
        """
        begin = self.fit.w if start is None else start
        if held is not None:
            begin = held.applied(begin)
        task = _Task(self, weights, held, begin, self.fit.found.at.modes if modes is None else modes)
        try:
            return task.run()
        except (IpexError, np.linalg.LinAlgError) as error:
            return Refound(begin, float("nan"), False, f"failed: {error}", task.modes)


class _Task:
    """One search: x holds the entries that move, in units of about one standard deviation."""

    def __init__(
        self, near: Reestimation, weights: np.ndarray | None, held: Held | None, begin: np.ndarray, modes: Starts
    ) -> None:
        self.near, self.held, self.begin, self.modes = near, held, begin, modes
        self.weights = np.ones(near.objective.subjects) if weights is None else np.asarray(weights, float)
        self.weights = np.where(near.counted, self.weights, 0.0)
        self.places = near.free if held is None else near.free[near.free != held.entry]
        self.curvature, self.scale = self._scaled()
        self.lowest = np.inf

    def _scaled(self) -> tuple[np.ndarray, np.ndarray]:
        """The Hessian over the entries that move, along the surface of the held value, with a diagonal of 2."""
        free, held = self.near.free, self.held
        matrix = self.near.curvature
        if held is not None:
            turn = np.eye(len(free))
            row = int(np.flatnonzero(free == held.entry)[0])
            turn[row] = held.slope(self.begin)[free]
            turn = np.delete(turn, row, axis=1)
            matrix = turn.T @ matrix @ turn
        scale = 1.0 / np.sqrt(0.5 * np.diag(matrix))
        return matrix * np.outer(scale, scale), scale

    def run(self) -> Refound:
        here, outcome, converged, interrupted = self.begin, "nothing to estimate", True, False
        for _ in range(2):
            if len(self.places):
                found = minimise(
                    self.function, here[self.places] / self.scale, stopping=_STOPPING, curvature=self.curvature
                )
                here, outcome, converged = self.whole(found.x), found.outcome, found.converged
                interrupted = outcome.startswith("interrupted")
            if interrupted:
                break
            warm, cold = self.at(here, self.modes), self.at(here, None)
            if not (cold.joint < warm.joint - _OTHER_PATH)[self.weights > 0].any():
                break
            self.modes = self.near.objective.lower(warm, cold)
        value = self.near.total(here, self.at(here, self.modes), self.weights)[0]
        return Refound(here, value, converged, outcome, self.modes, interrupted)

    def whole(self, x: np.ndarray) -> np.ndarray:
        w = np.array(self.begin, float)
        w[self.places] = x * self.scale
        return w if self.held is None else self.held.applied(w)

    def at(self, w: np.ndarray, modes: Starts | None) -> Evaluation:
        return self.near.objective.at(w, modes)

    def function(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        w = self.whole(x)
        if not np.isfinite(w[self.near.free]).all():
            return np.inf, np.zeros(len(x))
        at = self.at(w, self.modes)
        value, gradient = self.near.total(w, at, self.weights)
        if value < self.lowest:
            self.lowest, self.modes = value, at.modes
        moved = gradient[self.places]
        if self.held is not None:
            moved = moved + gradient[self.held.entry] * self.held.slope(w)[self.places]
        return value, moved * self.scale


def _curvature(fit: Fit) -> np.ndarray:
    """[m, m] the Hessian of the fit, or what the subjects' gradients say of it where that is not positive definite."""
    hessian = fit.found.hessian
    scaled = _unit(hessian)
    if np.isfinite(scaled).all() and np.linalg.eigvalsh(scaled).min() > 1e-8:
        return hessian
    gradients = fit.found.at.gradients[:, fit.population.free]
    gradients = gradients - gradients.mean(0)
    square = 0.5 * gradients.T @ gradients
    size = max(float(np.trace(square)) / len(square), 1e-6)
    return np.asarray(square + np.diag(0.01 * np.diag(square) + 1e-3 * size))


def _unit(matrix: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    return np.asarray(matrix / np.outer(size, size))


def require_method(method: str, purpose: str) -> None:
    """Refuse what follows a fit by a method that has no objective to search again. Raises: UsageError."""
    if method not in METHODS:
        raise UsageError(
            f"{purpose} cannot follow a fit by `{method}`",
            code="reestimation.method",
            rule=f"It needs one of the objectives {', '.join(METHODS)}",
            cure=_CURES.get(method, _FIT_AGAIN),
        )


def require_searchable(fit: Fit, purpose: str) -> None:
    """Refuse a fit whose objective cannot be searched again. Raises: UsageError."""
    require_method(fit.method, purpose)
    if not fit.population.free.any():
        raise UsageError(f"{purpose} has nothing to do: this fit estimated nothing", code="reestimation.nothing")
