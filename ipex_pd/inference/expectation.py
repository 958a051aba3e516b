"""The M-step of EM methods, from moments of the random effects and slopes of the records.

Linked typical values (see `links`) and covariances have closed forms. With psi_i = eta_i + X_i (t - t0) the random
effects
counted from where the search started, only psi's moments are kept:

    t     = t0 + (sum X'Omega^-1 X)^-1 sum X'Omega^-1 E psi                     (generalised least squares)
    Omega = mean of E (psi - X(t - t0))(psi - X(t - t0))', block by block; with an inverse-Wishart prior (degrees,
    scale)
            the sum and the scale, over the number, the degrees, the size and 1

All other typical values take Newton steps on the expected complete-data log likelihood; a prior enters either step as
its log density. Delyon, Lavielle & Moulines 1999, Ann Stat 27:94-128; Kuhn & Lavielle 2005.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.links import Link, Links, scales_of, to_search
from ipex_pd.inference.population import Population
from ipex_pd.inference.sampling import whiten

Array = Any

SMALLEST_VARIANCE = 1e-10
LONGEST_STEP = 1.0


class Moments(NamedTuple):
    """What the closed forms need.

    Attributes:
        first: [n, q] expectation of psi of each subject.
        second: [q, q] sum over subjects of the expectation of psi psi'.
        curvature: [m, m] expected information of the numeric typical values.
    """

    first: Array
    second: Array
    curvature: Array


@dataclass(frozen=True)
class Maximiser:
    """The M-step of one population; hashable, so that a program can be specialised to it.

    Attributes:
        population: what is estimated.
        links: its linked typical values.
        numeric: places of the others.
    """

    population: Population
    links: tuple[Link, ...]
    numeric: tuple[int, ...]

    @classmethod
    def of(cls, population: Population, links: Links) -> Maximiser:
        """From the links that were found."""
        return cls(population, links.links, links.numeric)

    def scales(self, w: Array) -> Array:
        """t [m] of the linked typical values."""
        return scales_of(self.population.layout, self.links, w)

    def with_scales(self, w: Array, t: Array) -> Array:
        """The search vector with the linked typical values at t."""
        for place, link in enumerate(self.links):
            w = w.at[link.theta].set(to_search(self.population.layout, link, t[place]))
        return w

    def penalty(self, w: Array) -> Array:
        """Half of -2 log density of the priors."""
        return 0.5 * self.population.penalty(w)

    @property
    def has_priors(self) -> bool:
        """Whether a typical value has a prior; that of a covariance stands in its closed form."""
        return any(theta.prior is not None for theta in self.population.thetas)

    def move_links(self, w: Array, design: Array, shift: Array, moments: Moments) -> Array:
        """The linked typical values that maximise the expected complete-data likelihood given Omega.

        Args:
            w: [n] search vector; its covariance weighs the effects.
            design: [n, q, m].
            shift: [m] t0, where psi counts from.
            moments: of psi.
        """
        if not self.links:
            return w
        root = self.population.layout.factor(w)
        subjects, effects, count = design.shape
        columns = jnp.moveaxis(design, 2, 1).reshape(-1, effects)
        x = whiten(root, columns).reshape(subjects, count, effects)
        psi = whiten(root, moments.first)
        normal = jnp.einsum("imq,inq->mn", x, x)
        normal = normal + 1e-12 * jnp.trace(normal) * jnp.eye(count)
        right = jnp.einsum("imq,iq->m", x, psi)
        t = shift + jnp.linalg.solve(normal, right)
        if not self.has_priors:
            return self.with_scales(w, t)

        def objective(t: Array) -> Array:
            away = t - shift
            return 0.5 * away @ normal @ away - right @ away + self.penalty(self.with_scales(w, t))

        def newton(_: int, t: Array) -> Array:
            curvature = jax.hessian(objective)(t)
            curvature = jnp.where(jnp.linalg.eigvalsh(curvature)[0] > 0, curvature, normal)
            return t - jnp.linalg.solve(curvature, jax.grad(objective)(t))

        return self.with_scales(w, jax.lax.fori_loop(0, 6, newton, self.scales(w)))

    def move_omega(
        self, w: Array, design: Array, shift: Array, moments: Moments, present: Array, cooling: Array
    ) -> Array:
        """The covariances of the blocks that are estimated.

        Args:
            w: [n] search vector whose linked typical values have been moved.
            design, shift, moments: see `move_links`.
            present: [q] how many subjects have each effect.
            cooling: a variance falls to no less than this share of its last value.
        """
        mean = jnp.einsum("iqm,m->iq", design, self.scales(w) - shift)
        cross = jnp.einsum("iq,ir->qr", moments.first, mean)
        spread = moments.second - cross - cross.T + jnp.einsum("iq,ir->qr", mean, mean)
        at, corner = self.population.layout.thetas, 0
        for block in self.population.blocks:
            size, repeats = len(block.names), max(block.occasions, 1)
            entries = size * (size + 1) // 2
            if not block.fixed:
                places = [corner + size * r for r in range(repeats)]
                total = sum((spread[p : p + size, p : p + size] for p in places), start=jnp.zeros((size, size)))
                having = sum((present[p] for p in places), start=jnp.zeros(()))
                if block.prior is not None:
                    total = total + jnp.asarray(block.prior.scale)
                    having = having + block.prior.degrees + size + 1
                before = jnp.exp(w[at : at + size])
                w = w.at[at : at + entries].set(_packed(total / jnp.maximum(having, 1.0), before, cooling))
            at, corner = at + entries, corner + size * repeats
        return w


def _packed(omega: Array, before: Array, cooling: Array) -> Array:
    """Log sd and unit factor of a covariance; sd not below sqrt(cooling) of the sd before."""
    size = omega.shape[0]
    omega = 0.5 * (omega + omega.T) + SMALLEST_VARIANCE * jnp.eye(size)
    factor = jnp.linalg.cholesky(omega)
    own = jnp.diagonal(factor)
    sd = jnp.maximum(own, jnp.sqrt(cooling) * before)
    row, column = np.tril_indices(size, -1)
    return jnp.concatenate([jnp.log(sd), (factor / own[:, None])[row, column]])


def newton_step(w: Array, gradient: Array, curvature: Array) -> Array:
    """-curvature^-1 gradient [m], no entry longer than `LONGEST_STEP` (or the value itself, when that is larger)."""
    ridge = 1e-8 * jnp.trace(curvature) / max(curvature.shape[0], 1) + 1e-300
    step = -jnp.linalg.solve(curvature + ridge * jnp.eye(curvature.shape[0]), gradient)
    step = jnp.where(jnp.all(jnp.isfinite(step)), step, 0.0)
    limit = jnp.maximum(LONGEST_STEP, jnp.abs(w))
    return step / jnp.maximum(1.0, jnp.max(jnp.abs(step) / limit, initial=0.0))
