"""Prior distributions of a full Bayesian fit: those that were written, and weakly informative ones in words for the
rest.

Nothing is flat: an improper prior on a variance can give an improper posterior (Gelman 2006, Bayesian Anal 1:515-534,
who recommends half-normal or half-t priors on standard deviations). The widths of the defaults are assumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpyro.distributions import LKJCholesky
from numpyro.distributions.transforms import CorrCholeskyTransform

from ipex_pd.errors import UsageError
from ipex_pd.inference.population import InverseWishart, Layout, OmegaBlock, Population, Theta

Array = Any

WIDTH = 1.0
"""Standard deviation of the logarithm of a positive value around its start: a factor of 7 either way within 95 %."""
WIDE = 2.0
"""Standard deviation of a value without bounds, in units of the larger of 1 and its start."""
SPREAD = 2.5
"""Scale of the half-normal prior of a standard deviation of a random effect, in units of its start."""
LKJ = 2.0
"""Concentration of the prior of correlations (Lewandowski, Kurowicka & Joe 2009): 1 is uniform, more is nearer to
none."""


@dataclass(frozen=True)
class Parameters:
    """The free population parameters as unconstrained numbers x, their priors, and the way to a search vector.

    x holds the search values of the estimated thetas, then for every estimated block the log standard deviations and
    the
    unconstrained correlations.
    """

    population: Population

    @property
    def thetas(self) -> tuple[int, ...]:
        """Places of the estimated thetas."""
        return tuple(k for k, theta in enumerate(self.population.thetas) if not theta.fixed)

    @property
    def size(self) -> int:
        """Length of x."""
        return int(self.population.free.sum())

    def start(self, w: np.ndarray) -> np.ndarray:
        """x [m] of a search vector [n]."""
        parts = [np.asarray(w)[list(self.thetas)]]
        for block, at in self._blocks():
            size = len(block)
            entries = np.asarray(w)[at : at + size * (size + 1) // 2]
            factor = np.eye(size)
            factor[np.tril_indices(size, -1)] = entries[size:]
            factor *= np.exp(entries[:size])[:, None]
            sd = np.sqrt(np.sum(factor**2, axis=1))
            parts.append(np.log(sd))
            if size > 1:
                parts.append(np.asarray(CorrCholeskyTransform()._inverse(jnp.asarray(factor / sd[:, None]))))
        joined: np.ndarray = np.concatenate(parts)
        return joined

    def search(self, x: Array) -> tuple[Array, Array]:
        """The search vector [n] and the log prior density of x, traceable."""
        layout = self.population.layout
        w = jnp.asarray(self.population.start)
        w = w.at[np.array(self.thetas, int)].set(x[: len(self.thetas)])
        density = sum(
            (_theta_density(layout, w, k, self.population.thetas[k]) for k in self.thetas), start=jnp.zeros(())
        )
        place = len(self.thetas)
        for names, at in self._blocks():
            size = len(names)
            entries = size * (size + 1) // 2
            prior = self._block_of(names).prior
            part, own = _block(x[place : place + entries], size, self._scales(names), prior)
            w, density = w.at[at : at + entries].set(part), density + own
            place += entries
        return w, density

    def _blocks(self) -> list[tuple[tuple[str, ...], int]]:
        found, at = [], self.population.layout.thetas
        for block in self.population.blocks:
            size = len(block.names)
            if not block.fixed:
                found.append((block.names, at))
            at += size * (size + 1) // 2
        return found

    def _scales(self, names: tuple[str, ...]) -> np.ndarray:
        scales: np.ndarray = SPREAD * np.sqrt(np.diagonal(np.array(self._block_of(names).start, float)))
        return scales

    def _block_of(self, names: tuple[str, ...]) -> OmegaBlock:
        found: OmegaBlock = next(block for block in self.population.blocks if block.names == names)
        return found

    def words(self) -> tuple[str, ...]:
        """The prior of every estimated parameter, a sentence each."""
        said = [_theta_words(self.population.thetas[k]) for k in self.thetas]
        for names, _ in self._blocks():
            if (prior := self._block_of(names).prior) is not None:
                said.append(
                    f"covariance of {', '.join(names)}: inverse-Wishart, {prior.degrees:g} degrees (as written)"
                )
                continue
            for name, scale in zip(names, self._scales(names), strict=True):
                said.append(f"sd({name}): half-normal with scale {scale:.4g} (assumed: {SPREAD:g} times its start)")
            if len(names) > 1:
                said.append(f"correlations of {', '.join(names)}: LKJ with concentration {LKJ:g} (assumed)")
        return tuple(said)

    def without_prior(self) -> tuple[str, ...]:
        """Names of the estimated parameters whose prior is a default."""
        own = [t for k in self.thetas if (t := self.population.thetas[k]).prior is None]
        blocks = [names for names, _ in self._blocks() if self._block_of(names).prior is None]
        return (*(t.name for t in own), *(f"omega({n})" for names in blocks for n in names))


def _theta_density(layout: Layout, w: Array, k: int, theta: Theta) -> Array:
    """Log prior density of a search value."""
    low, high = layout.transform.lower[k], layout.transform.upper[k]
    value, kind = layout.theta(w)[k], layout.transform.kinds[k]
    if kind == "between":
        jacobian = jnp.log(value - low) + jnp.log(high - value) - math.log(high - low)
    else:
        jacobian = jnp.zeros(()) if kind == "free" else w[k]
    if theta.prior is not None:
        return jacobian - 0.5 * theta.prior.minus2log(value)
    if kind == "between":
        return jacobian
    if kind == "free":
        return -0.5 * ((value - theta.start) / (WIDE * max(1.0, abs(theta.start)))) ** 2
    away = theta.start - low if kind == "above" else high - theta.start
    return -0.5 * ((w[k] - math.log(away)) / WIDTH) ** 2


def _theta_words(theta: Theta) -> str:
    if theta.prior is not None:
        shape = theta.prior.distribution.replace("_", "-")
        return f"{theta.name}: {shape} with mean {theta.prior.mean:g} and sd {theta.prior.sd:g} (as written)"
    low, high = theta.search_bounds
    if math.isfinite(low) and math.isfinite(high):
        return f"{theta.name}: uniform between its bounds {low:g} and {high:g}"
    if not math.isfinite(low) and not math.isfinite(high):
        sd = WIDE * max(1.0, abs(theta.start))
        return f"{theta.name}: normal with mean {theta.start:g} (its start) and sd {sd:g} (assumed)"
    inside = f"{theta.name} - {low:g}" if math.isfinite(low) else f"{high:g} - {theta.name}"
    away = theta.start - low if math.isfinite(low) else high - theta.start
    return f"{inside}: log-normal with median {away:g} (from its start) and sd of the log {WIDTH:g} (assumed)"


def _block(x: Array, size: int, scales: np.ndarray, prior: InverseWishart | None) -> tuple[Array, Array]:
    """The entries of a block in the search vector, and the log prior density of its unconstrained numbers."""
    log_sd = x[:size]
    sd = jnp.exp(log_sd)
    correlation, density = jnp.eye(size), jnp.zeros(())
    if size > 1:
        transform = CorrCholeskyTransform()
        correlation = transform(x[size:])
        # The uniform LKJ density holds the Jacobian from the correlations to their factor.
        concentration = LKJ if prior is None else 1.0
        density = density + transform.log_abs_det_jacobian(x[size:], correlation)
        density = density + LKJCholesky(size, concentration).log_prob(correlation)
    factor = sd[:, None] * correlation
    if prior is None:
        density = density + jnp.sum(log_sd - 0.5 * (sd / scales) ** 2)
    else:
        density = density - 0.5 * prior.minus2log(factor) + (size + 1) * jnp.sum(log_sd)
    if size == 1:
        return log_sd, density
    own = jnp.diagonal(factor)
    row, column = np.tril_indices(size, -1)
    return jnp.concatenate([jnp.log(own), (factor / own[:, None])[row, column]]), density


def check_defaults(parameters: Parameters, allowed: bool) -> None:
    """Refuse defaults where they are not allowed.

    Raises:
        UsageError: an estimated parameter has no prior of its own.
    """
    without = parameters.without_prior()
    if without and not allowed:
        raise UsageError(
            f"`{without[0]}` has no prior" + (f", nor have {len(without) - 1} more" if len(without) > 1 else ""),
            where="nuts",
            code="bayes.prior",
            rule="With defaults off, every estimated parameter needs a prior of its own; flat priors are not used",
            cure="Write a prior, fix the parameter, or allow the default priors, which are then reported in words",
        )
