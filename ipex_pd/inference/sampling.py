"""Random effects in units of their prior, and the density that every sampler of this room draws from.

With Omega = L L' a random effect is eta = L z, z standard normal, so that

    log p(z | y) = -z'z / 2 - (-2 log p(y | L z)) / 2 + constant.

A variance of zero is a row of zeros in L: the effect is zero and its z is idle. So is the z of an occasion that a
subject does not have.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.group import Group
from ipex_pd.inference.likelihood import minus2ll
from ipex_pd.inference.population import Population

Array = Any


class Target(NamedTuple):
    """The conditional distribution of the random effects of a group's subjects.

    Attributes:
        group: subjects.
        theta: [p] population values, natural scale.
        root: [q, q] lower root of Omega.
    """

    group: Group
    theta: Array
    root: Array

    @property
    def mask(self) -> Array:
        """[B, q] which random effects a subject has."""
        return jnp.logical_and(self.group.eta_mask, jnp.diagonal(self.root) > 0)


def whiten(root: Array, eta: Array) -> Array:
    """z [R, q] with eta [R, q] = root z, root [q, q] or [R, q, q]; 0 where the variance is zero."""
    absent = jnp.diagonal(root, axis1=-2, axis2=-1) <= 0
    full = root + jnp.where(absent[..., None], jnp.eye(root.shape[-1]), 0.0)
    full = jnp.broadcast_to(full, (eta.shape[0], *root.shape[-2:]))
    z = jax.scipy.linalg.solve_triangular(full, eta[..., None], lower=True)[..., 0]
    return jnp.where(absent, 0.0, z)


def random_effects(target: Target, z: Array) -> Array:
    """eta [B, q] of z [B, q]."""
    return jnp.where(target.group.eta_mask, z @ target.root.T, 0.0)


def theta_rows(theta: Array, rows: int) -> Array:
    """theta [p] given to every row, [B, p]."""
    return jnp.broadcast_to(theta, (rows, theta.shape[-1]))


def data_term(target: Target, z: Array) -> Array:
    """-2 log p(y | z) [B] of each subject; inf where the model has no finite answer."""
    eta = random_effects(target, z)
    value = minus2ll(target.group, theta_rows(target.theta, z.shape[0]), eta)
    return jnp.where(jnp.isfinite(value), value, jnp.inf)


def prior_term(target: Target, z: Array) -> Array:
    """z'z [B] over the random effects that a subject has."""
    return jnp.sum(jnp.where(target.mask, z**2, 0.0), axis=-1)


def log_density(target: Target, z: Array) -> Array:
    """Logarithm of the conditional density of z [B], without its constant."""
    return -0.5 * (prior_term(target, z) + data_term(target, z))


def require_random_effects(population: Population, groups: Sequence[Group], method: str) -> None:
    """Refuse a problem without anything to integrate over. Raises: UsageError."""
    if population.layout.etas == 0 or not groups:
        raise UsageError(
            "there are no random effects", where=method, rule="EM integrates over them", cure="Use method `pooled`"
        )


def widened(group: Group, copies: int) -> Group:
    """The group's rows repeated: copy 0 of every subject, copy 1 of every subject, ..."""
    return group.take(np.tile(np.arange(group.shape[0]), copies))


def row_keys(key: Array, subjects: Array, copies: int = 1) -> Array:
    """One random key a row [copies * B], which depends on the subject and the copy and on nothing else."""

    def one(subject: Array, copy: Array) -> Array:
        return jax.random.fold_in(jax.random.fold_in(key, subject), copy)

    number = jnp.repeat(jnp.arange(copies), subjects.shape[0])
    return jax.vmap(one)(jnp.tile(subjects, copies), number)


def normals(keys: Array, shape: tuple[int, ...]) -> Array:
    """Standard normal numbers [rows, *shape], each row from its own key."""

    def one(key: Array) -> Array:
        return jax.random.normal(key, shape)

    return jax.vmap(one)(keys)


def uniforms(keys: Array) -> Array:
    """Uniform numbers [rows], each row from its own key."""
    return jax.vmap(jax.random.uniform)(keys)


def subject_count(groups: Sequence[Group]) -> int:
    """Number of subjects of the dataset."""
    return 1 + max(int(np.max(np.asarray(group.subjects))) for group in groups)
