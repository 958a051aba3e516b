"""Importance-sampling EM, and Newton steps on the importance-sampled score that end every stochastic search.

Each EM iteration draws the random effects anew from proposals fitted to the conditional distributions (with common
random numbers), takes weighted moments and maximises (see `expectation`). When the objective stands still, or after the
given number of iterations, Newton steps with the observed information go on until s'I^-1 s is below the tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.curvature import expand
from ipex_pd.inference.expectation import Maximiser, Moments, newton_step
from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.importance import ImportanceOptions, marginal, propose
from ipex_pd.inference.information import Informed, conditional_moments, inform, slope_of
from ipex_pd.inference.links import Links, find_links
from ipex_pd.inference.population import Layout, Population
from ipex_pd.inference.progress import Progress, Stage
from ipex_pd.inference.sampling import require_random_effects, theta_rows

Array = Any

_FAR = 2.0
_POLISHED = 0.1


@dataclass(frozen=True)
class ImpOptions:
    """How importance-sampling EM searches.

    Attributes:
        iterations: the most EM iterations.
        polish: the most Newton steps after them.
        tolerance: of the objective that may be left at the end.
        importance: how every expectation is sampled.
    """

    iterations: int = 60
    polish: int = 8
    tolerance: float = 0.05
    importance: ImportanceOptions = field(default_factory=ImportanceOptions)

    def __post_init__(self) -> None:
        if self.iterations < 1 or self.polish < 0 or not self.tolerance > 0:
            raise UsageError(
                f"iterations {self.iterations}, polish {self.polish}, tolerance {self.tolerance:g}",
                where="ImpOptions",
                rule="At least one iteration, polish 0 or more, a positive tolerance",
            )


@dataclass(frozen=True)
class Climb:
    """What importance-sampling EM found: the marginal likelihood at its end, the way there, and whether it was
    stopped."""

    informed: Informed
    trace: np.ndarray
    objectives: np.ndarray
    links: Links
    steps: int
    interrupted: bool

    def words(self, tolerance: float) -> str:
        """How it ended."""
        left, noise = self.informed.left, self.informed.left_noise
        head = "interrupted" if self.interrupted else "converged" if left <= tolerance + noise else "not converged"
        return (
            f"{head} after {len(self.objectives)} EM iterations and {self.steps} Newton steps: by the score and "
            f"information at the estimate the objective could fall by {left:.3g} "
            f"(Monte Carlo error alone: {noise:.2g}; "
            f"Monte Carlo error of the objective: {self.informed.marginal.error:.2g})"
        )


def imp(
    population: Population, groups: Sequence[Group], options: ImpOptions | None = None, progress: Progress | None = None
) -> Climb:
    """Maximum likelihood (with priors: maximum a posteriori) by importance-sampling EM.

    Args:
        population: what is estimated, and where the search starts.
        groups: all subjects.
        options: how.
        progress: told of every iteration.

    Raises:
        UsageError: there are no random effects to sample.
    """
    options = options or ImpOptions()
    require_random_effects(population, groups, "imp")
    links = find_links(population, groups)
    maximiser = Maximiser.of(population, links)
    w, trace, objectives = np.array(population.start), [np.array(population.start)], []
    interrupted = False
    try:
        for number in range(options.iterations):
            value, w = _step(maximiser, links, groups, w, options.importance)
            trace.append(w)
            objectives.append(value)
            if progress is not None:
                progress(Stage("expectation-maximisation", number + 1, w))
            if len(objectives) > 5 and max(objectives[-6:]) - min(objectives[-6:]) < options.tolerance:
                break
    except KeyboardInterrupt:
        interrupted = True
    informed = inform(population, groups, trace[-1], options.importance, links)
    steps = 0
    if not interrupted:
        informed, steps = polish(
            population, groups, informed, links, options.importance, options.tolerance, options.polish
        )
    return Climb(informed, np.stack([*trace, informed.w]), np.array(objectives), links, steps, interrupted)


def polish(
    population: Population,
    groups: Sequence[Group],
    informed: Informed,
    links: Links,
    importance: ImportanceOptions,
    tolerance: float,
    steps: int,
) -> tuple[Informed, int]:
    """Newton steps until a tenth of the tolerance is left; returns where they end, and how many were taken."""
    share, taken = 1.0, 0
    for _ in range(steps):
        if not informed.left > _POLISHED * tolerance:
            break
        free = np.flatnonzero(population.free)
        step = np.zeros(len(informed.w))
        step[free] = -np.linalg.solve(informed.information[np.ix_(free, free)], informed.score[free])
        length = np.abs(step[free]) / np.maximum(_FAR, np.abs(informed.w[free]))
        step *= share / max(1.0, float(length.max()))
        there = inform(population, groups, informed.w + step, importance, links)
        if there.left < informed.left:
            informed, share, taken = there, 1.0, taken + 1
        else:
            share *= 0.3
    return informed, taken


def _step(
    maximiser: Maximiser, links: Links, groups: Sequence[Group], w: np.ndarray, options: ImportanceOptions
) -> tuple[float, np.ndarray]:
    """The objective at w, and the search vector after one EM iteration."""
    population, layout, point = maximiser.population, maximiser.population.layout, jnp.asarray(w)
    draws = [propose(group, layout, point, options) for group in groups]
    value = marginal(layout, groups, w, options, draws).objective + float(population.penalty(point))
    eta, spread = conditional_moments(population, groups, w, draws)
    design, shift = jnp.asarray(links.design), maximiser.scales(point)
    second = np.einsum("iq,ir->qr", eta, eta) + spread.sum(axis=0)
    moments = Moments(jnp.asarray(eta), jnp.asarray(second), jnp.zeros((0, 0)))
    present = np.sum([_present(group) for group in groups], axis=0)
    moved = maximiser.move_links(point, design, shift, moments)
    moved = maximiser.move_omega(moved, design, shift, moments, jnp.asarray(present), jnp.asarray(0.0))
    if maximiser.numeric:
        places = np.array(maximiser.numeric)
        slope = slope_of(population, groups, w, draws)[0][places]
        bend = _bend(maximiser, layout, groups, point, eta, places)
        moved = moved.at[places].set(point[places] + newton_step(point[places], jnp.asarray(slope), bend))
    return value, np.asarray(moved)


def _present(group: Group) -> np.ndarray:
    return np.asarray(np.asarray(group.eta_mask)[np.asarray(group.subjects) >= 0].sum(axis=0), float)


def _bend(
    maximiser: Maximiser, layout: Layout, groups: Sequence[Group], w: Array, eta: np.ndarray, places: np.ndarray
) -> Array:
    """Expected information of the numeric typical values at the conditional means; it only scales their steps."""
    total = jnp.zeros((len(places), len(places)))
    for group in groups:
        own = jnp.asarray(eta[np.maximum(np.asarray(group.subjects), 0)])
        total = total + _bend_of(group, layout, w, own, tuple(int(p) for p in places))
    if maximiser.has_priors:
        prior = jax.hessian(maximiser.penalty)(w)
        total = total + jnp.diag(jnp.maximum(jnp.diagonal(prior)[places], 0.0))
    return total


@partial(jax.jit, static_argnames=("layout", "places"))
def _bend_of(group: Group, layout: Layout, w: Array, eta: Array, places: tuple[int, ...]) -> Array:
    at = np.array(places)

    def predict(x: Array) -> Prediction:
        return group.predict(layout.theta(theta_rows(w, x.shape[0]).at[:, at].set(x)), eta)

    return jnp.sum(expand(group, predict, theta_rows(w[at], group.shape[0])).curvature, axis=0)
