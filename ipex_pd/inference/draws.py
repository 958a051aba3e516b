"""Draws of parameters from fits, and as search vectors (`records.draws` keeps them)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.population import Population
from ipex_pd.inference.results import Fit
from ipex_pd.records.draws import ParameterDraws

if TYPE_CHECKING:
    from ipex_pd.inference.bayes import Posterior


def covariance_draws(fit: Fit, count: int = 1000, seed: int = 1) -> ParameterDraws:
    """Draws from the normal distribution of the estimates on the search scale, told as natural values.

    Args:
        fit: with a covariance.
        count: of draws.
        seed: of the draws.

    Raises:
        UsageError: the fit has no covariance.
    """
    require_covariance(fit)
    return natural_draws(fit.population, normal_draws(fit, count, np.random.default_rng(seed)), "covariance")


def posterior_draws(posterior: Posterior) -> ParameterDraws:
    """The draws of all chains of a Bayesian fit, one after another."""
    values = posterior.draws.reshape(-1, len(posterior.names))
    return ParameterDraws(posterior.names, values, np.ones(len(values)), "posterior")


def normal_draws(fit: Fit, count: int, random: np.random.Generator) -> np.ndarray:
    """[count, m] free entries of the search vector, normal around the estimates."""
    factor = np.linalg.cholesky(fit.covariance.search)
    drawn: np.ndarray = fit.w[fit.population.free] + random.standard_normal((count, len(factor))) @ factor.T
    return drawn


def natural_draws(
    population: Population, free: np.ndarray, kind: str, base: np.ndarray | None = None
) -> ParameterDraws:
    """The record of equally weighted free entries [K, m] of search vectors.

    Args:
        population: whose search scale it is.
        free: [K, m].
        kind: of the draws.
        base: [n] a search vector for the entries that are not free; the start values when left out.
    """
    whole = np.tile(population.start if base is None else base, (len(free), 1))
    whole[:, population.free] = free
    values = np.asarray(population.layout.natural(jnp.asarray(whole)))
    return ParameterDraws(population.names, values, np.ones(len(free)), kind)


def require_covariance(fit: Fit) -> None:
    """Refuse a fit without a covariance of its estimates. Raises: UsageError."""
    if not fit.covariance.done:
        raise UsageError(
            f"this fit has no covariance of its estimates: {fit.covariance.outcome}",
            code="draws.no-covariance",
            rule="Draws begin from the covariance on the search scale",
            cure="Use the bootstrap, or fit with another `covariance`",
        )


def search_vectors(population: Population, draws: ParameterDraws) -> np.ndarray:
    """[K, n] search vectors of draws of a population's natural values.

    Raises:
        UsageError: the draws are not of these parameters.
    """
    if draws.names != population.names:
        other = sorted(set(draws.names) ^ set(population.names))
        raise UsageError(
            "the draws are not of the parameters of this problem",
            code="draws.other-parameters",
            rule=f"Not in both: {', '.join(other[:6])}" if other else "Their order differs",
        )
    count, corner, at = len(population.thetas), 0, len(population.thetas)
    omega = np.zeros((len(draws), population.layout.etas, population.layout.etas))
    for size, repeats in population.layout.blocks:
        row, column = np.tril_indices(size)
        part = draws.values[:, at : at + len(row)]
        at += len(row)
        for _ in range(repeats):
            omega[:, corner + row, corner + column] = part
            omega[:, corner + column, corner + row] = part
            corner += size
    return np.array([population.pack(v[:count], o) for v, o in zip(draws.values, omega, strict=True)])


def tails(level: float) -> tuple[float, float]:
    """The shares below the ends of an interval. Raises: UsageError."""
    if not (0 < level < 1 and math.isfinite(level)):
        raise UsageError(f"level = {level:g}", rule="The level of an interval lies between 0 and 1")
    return 0.5 * (1.0 - level), 0.5 * (1.0 + level)
