"""Normal approximations of the conditional distributions of the random effects.

The centre is found by Levenberg-Marquardt steps, the precision is the identity (the prior of z) and the curvature of
the
linearised model. Both serve as proposals only: nothing downstream rests on their being exact. Proposals of this kind in
SAEM: Karimi, Lavielle & Moulines 2020, Comput Stat Data Anal 141:123-138.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ipex_pd.inference.curvature import Expansion, expand
from ipex_pd.inference.group import Prediction
from ipex_pd.inference.sampling import Target, prior_term, random_effects, theta_rows

Array = Any

FIRST_DAMPING = 1e-2


class Approximation(NamedTuple):
    """A normal distribution for each subject, in z.

    Attributes:
        centre: [B, q].
        precision: [B, q, q].
        damping: [B] of the next step.
    """

    centre: Array
    precision: Array
    damping: Array

    def scatter(self) -> Array:
        """[B, q, q] S with covariance S S' = precision^-1."""
        root = jnp.linalg.cholesky(self.precision)
        identity = jnp.broadcast_to(jnp.eye(self.centre.shape[-1]), self.precision.shape)
        return jnp.swapaxes(jax.scipy.linalg.solve_triangular(root, identity, lower=True), -1, -2)

    def widened(self, copies: int) -> Approximation:
        """The rows repeated, as `sampling.widened` repeats those of a group."""
        parts = (jnp.tile(leaf, (copies,) + (1,) * (leaf.ndim - 1)) for leaf in self)
        return Approximation(*parts)


def begin(target: Target, centre: Array | None = None) -> Approximation:
    """The prior, or a centre [B, q] still to be improved."""
    rows, effects = target.group.eta_mask.shape
    start = jnp.zeros((rows, effects)) if centre is None else centre
    precision = jnp.broadcast_to(jnp.eye(effects), (rows, effects, effects))
    return Approximation(start, precision, jnp.full(rows, FIRST_DAMPING))


def improve(target: Target, near: Approximation, steps: int) -> Approximation:
    """Some damped steps uphill from a centre, which is kept where none is better."""
    rows = near.centre.shape[0]
    unknown = Expansion(jnp.full(rows, jnp.inf), jnp.zeros_like(near.centre), near.precision)

    def step(carry: tuple[Approximation, Expansion], _: None) -> tuple[tuple[Approximation, Expansion], None]:
        near, here = carry
        diagonal = jnp.diagonal(here.curvature, axis1=-2, axis2=-1)
        damped = here.curvature + jnp.einsum("b,bi,ij->bij", near.damping, diagonal, jnp.eye(diagonal.shape[-1]))
        move = jnp.linalg.solve(damped, here.gradient[..., None])[..., 0]
        trial = near.centre - jnp.where(jnp.isfinite(move), move, 0.0)
        there = _around(target, trial)
        better = there.value < here.value
        damping = jnp.clip(jnp.where(better, near.damping / 5, near.damping * 5), 1e-8, 1e8)
        kept = jax.tree.map(partial(_choose, better), (trial, there), (near.centre, here))
        return (Approximation(kept[0], kept[1].curvature, damping), kept[1]), None

    last: Approximation
    (last, _), _ = jax.lax.scan(step, (near, unknown), None, length=steps + 1)
    return last


def _choose(where: Array, one: Array, other: Array) -> Array:
    return jnp.where(where.reshape(-1, *[1] * (one.ndim - 1)), one, other)


def _around(target: Target, z: Array) -> Expansion:
    """Minus the log density around z, with the curvature of the linearised model."""
    theta = theta_rows(target.theta, z.shape[0])

    def predict(at: Array) -> Prediction:
        return target.group.predict(theta, random_effects(target, at))

    records = expand(target.group, predict, z)
    return Expansion(
        jnp.where(jnp.isfinite(records.value), records.value, jnp.inf) + 0.5 * prior_term(target, z),
        records.gradient + jnp.where(target.mask, z, 0.0),
        records.curvature + jnp.eye(z.shape[1]),
    )
