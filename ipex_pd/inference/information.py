"""Score and observed information of the marginal likelihood, by importance sampling with the draws held.

The score is Fisher's identity on weighted draws; the information is its central difference with the same draws,
which is
Louis' formula (1982, J R Stat Soc B 44:226-233) without writing out its terms. Both are those of half the objective,
with
the priors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.group import Group
from ipex_pd.inference.importance import (
    Draws,
    ImportanceOptions,
    Marginal,
    log_weights,
    marginal,
    normalised,
    propose,
    score,
)
from ipex_pd.inference.links import Link, Links, scales_of
from ipex_pd.inference.population import Population
from ipex_pd.inference.sampling import subject_count

Array = Any

_STEP = 1e-3
_LARGEST_STEP = 1e-2


@dataclass(frozen=True)
class Informed:
    """The marginal likelihood around a search vector.

    Attributes:
        w: [n] where.
        marginal: the objective.
        score: [n] slope of half the objective and priors; 0 where nothing is estimated.
        noise: [n, n] its Monte Carlo covariance.
        information: [n, n] second derivatives; 0 where nothing is estimated.
        left: s'I^-1 s, how far the objective could fall; NaN when the information is not positive definite.
        left_noise: its expectation by Monte Carlo error alone.
        eta, eta_variance: [n, q], [n, q, q] conditional means and covariances of the random effects.
        slopes: [subjects, n] of the log marginal likelihood of each subject.
    """

    w: np.ndarray
    marginal: Marginal
    score: np.ndarray
    noise: np.ndarray
    information: np.ndarray
    left: float
    left_noise: float
    eta: np.ndarray
    eta_variance: np.ndarray
    slopes: np.ndarray


def inform(
    population: Population,
    groups: Sequence[Group],
    w: np.ndarray,
    options: ImportanceOptions | None = None,
    links: Links | None = None,
) -> Informed:
    """Objective, score and information at a search vector [n].

    Args:
        population: what is estimated.
        groups: all subjects.
        w: search vector.
        options: how it is sampled.
        links: of the typical values; with them the draws follow the parameters, which takes noise away.
    """
    options, layout = options or ImportanceOptions(), population.layout
    held = [propose(group, layout, jnp.asarray(w), options) for group in groups]
    value = marginal(layout, groups, w, options, held)
    eta, spread = conditional_moments(population, groups, w, held)
    chain = links.links if links is not None else ()
    if links is not None and chain:
        held = following(population, links, groups, w, held, spread)
    slope, noise, scale = slope_of(population, groups, w, held, chain)
    free = np.flatnonzero(population.free)
    information = np.zeros((len(w), len(w)))
    for k in free:
        step = min(_STEP * scale[k], _LARGEST_STEP * max(1.0, abs(float(w[k]))))
        high, low = np.array(w, float), np.array(w, float)
        high[k], low[k] = high[k] + step, low[k] - step
        slopes = [slope_of(population, groups, at, held, chain)[0] for at in (high, low)]
        information[free, k] = (slopes[0] - slopes[1])[free] / (2 * step)
    information = 0.5 * (information + information.T)
    left, left_noise = _left(slope[free], noise[np.ix_(free, free)], information[np.ix_(free, free)])
    each = slopes_of(population, groups, w, held, chain)[0]
    return Informed(np.asarray(w), value, slope, noise, information, left, left_noise, eta, spread, each)


def following(
    population: Population,
    links: Links,
    groups: Sequence[Group],
    w: np.ndarray,
    draws: Sequence[Draws],
    spread: np.ndarray,
) -> list[Draws]:
    """The draws, made to go with the linked typical values: follow = (I - V Omega^-1) X.

    Args:
        population, links, groups: of the problem.
        w: [n] where the draws were made.
        draws: of each group.
        spread: [n, q, q] conditional covariances V.
    """
    omega = np.asarray(population.omega(jnp.asarray(w)))
    weight = np.eye(len(omega)) - spread @ np.linalg.pinv(omega)
    follow = jnp.asarray(weight @ links.design)
    origin = scales_of(population.layout, links.links, jnp.asarray(w))
    places = [np.maximum(np.asarray(group.subjects), 0) for group in groups]
    return [own._replace(follow=follow[at], origin=origin) for own, at in zip(draws, places, strict=True)]


def slopes_of(
    population: Population, groups: Sequence[Group], w: np.ndarray, draws: Sequence[Draws], links: tuple[Link, ...] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """Slopes [subjects, n] of the log marginal likelihoods, and the Monte Carlo covariance [n, n] of their sum."""
    layout, point, size = population.layout, jnp.asarray(w), len(w)
    slopes, noise = np.zeros((subject_count(groups), size)), np.zeros((size, size))
    for group, own in zip(groups, draws, strict=True):
        found = score(group, layout, point, own, log_weights(group, layout, point, own, links), links)
        rows = np.asarray(group.subjects) >= 0
        slopes[np.asarray(group.subjects)[rows]] = np.asarray(found.slope)[rows]
        noise += np.asarray(found.variance)[rows].sum(axis=0)
    return np.where(population.free, slopes, 0.0), noise


def slope_of(
    population: Population, groups: Sequence[Group], w: np.ndarray, draws: Sequence[Draws], links: tuple[Link, ...] = ()
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope [n] of half the objective and priors, its Monte Carlo covariance, and 1/sqrt(sum of squared scores) [n]."""
    slopes, noise = slopes_of(population, groups, w, draws, links)
    total, squares = -slopes.sum(axis=0), (slopes**2).sum(axis=0)
    if any(t.prior for t in population.thetas) or any(b.prior for b in population.blocks):
        total = total + 0.5 * np.asarray(jax.grad(population.penalty)(jnp.asarray(w)))
    scale = 1.0 / np.sqrt(np.where(squares > 0, squares, 1.0))
    return np.where(population.free, total, 0.0), noise, scale


def _left(slope: np.ndarray, noise: np.ndarray, information: np.ndarray) -> tuple[float, float]:
    if len(slope) == 0:
        return 0.0, 0.0
    if not np.isfinite(information).all() or np.linalg.eigvalsh(information).min() <= 0:
        return float("nan"), float("nan")
    inverse = np.linalg.inv(information)
    return float(slope @ inverse @ slope), float(np.trace(inverse @ noise))


def conditional_moments(
    population: Population, groups: Sequence[Group], w: np.ndarray, draws: Sequence[Draws]
) -> tuple[np.ndarray, np.ndarray]:
    """Conditional means [n, q] and covariances [n, q, q] of the random effects."""
    layout = population.layout
    total = subject_count(groups)
    mean, spread = np.zeros((total, layout.etas)), np.zeros((total, layout.etas, layout.etas))
    for group, own in zip(groups, draws, strict=True):
        weights = np.asarray(normalised(log_weights(group, layout, jnp.asarray(w), own)))
        eta, rows = np.asarray(own.eta), np.asarray(group.subjects) >= 0
        centre = np.einsum("kb,kbq->bq", weights, eta)
        covariance = np.einsum("kb,kbq,kbr->bqr", weights, eta - centre, eta - centre)
        places = np.asarray(group.subjects)[rows]
        mean[places], spread[places] = centre[rows], covariance[rows]
    return mean, spread
