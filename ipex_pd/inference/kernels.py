"""Metropolis-Hastings kernels for the random effects of all subjects and chains at once.

Four kinds, used in turn: draws from the prior; independent draws from the normal approximation with the tails of a
Student distribution (Karimi, Lavielle & Moulines 2020); random walks of all effects along that approximation; random
walks
of one effect after another (both as in Kuhn & Lavielle 2005, Comput Stat Data Anal 49:1020-1038). The scales of the
walks
are adapted for each subject by Robbins-Monro steps towards the acceptance of Roberts & Rosenthal 2001 (Stat Sci
16:351-367).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.proposals import Approximation
from ipex_pd.inference.sampling import Target, log_density, normals, prior_term, uniforms

Array = Any

DEGREES = 5
"""Degrees of freedom of the independent proposals: tails heavier than a posterior's with a normal prior."""
ACCEPT_BLOCK, ACCEPT_SINGLE = 0.3, 0.44
OPTIMAL = 2.38
"""Scale of a random walk, in standard deviations over sqrt(dimension), to start from (Roberts & Rosenthal 2001)."""


@dataclass(frozen=True)
class Moves:
    """How many times each kernel acts in one sweep.

    Attributes:
        prior: draws from the prior.
        independent: draws from the normal approximation.
        block: random walks of all effects.
        single: rounds of random walks of one effect after another.
    """

    prior: int = 1
    independent: int = 2
    block: int = 2
    single: int = 1

    def __post_init__(self) -> None:
        counts = (self.prior, self.independent, self.block, self.single)
        if min(counts) < 0 or sum(counts[1:]) == 0:
            raise UsageError(
                f"moves {counts} do not sample",
                where="Moves",
                rule="Counts are zero or more, and one of independent, block and single is at least 1",
            )


class Chains(NamedTuple):
    """State of the chains of a group; rows are copies of its subjects.

    Attributes:
        z: [R, q].
        density: [R] log density at z.
        scales: [B, 1 + q] logarithms of the scales of the block walk and of each single walk.
        accepted: [4] mean acceptance of the prior, independent, block and single kernel in the last sweep.
    """

    z: Array
    density: Array
    scales: Array
    accepted: Array


def start(target: Target, z: Array, subjects: int) -> Chains:
    """Chains at z [R, q]."""
    return Chains(z, log_density(target, z), jnp.zeros((subjects, 1 + z.shape[1])), jnp.zeros(4))


_REFRESH, _PRIOR, _INDEPENDENT, _BLOCK, _SINGLE = range(5)


def _turns(moves: Moves, effects: int) -> np.ndarray:
    """[2, steps] kernel and random effect of every step of a sweep; the first takes the density anew."""
    pairs = [(_REFRESH, 0), *[(_PRIOR, 0)] * moves.prior, *[(_INDEPENDENT, 0)] * moves.independent]
    pairs += [(_BLOCK, 0)] * moves.block + [(_SINGLE, j) for _ in range(moves.single) for j in range(effects)]
    return np.array(pairs).T


def sweep(target: Target, chains: Chains, near: Approximation, keys: Array, moves: Moves, gain: Array) -> Chains:
    """Every kernel as often as asked; one program evaluates the density for all of them.

    Args:
        target: of the widened group.
        chains: state; the density may be that of an earlier target.
        near: approximation of each row.
        keys: [R] one for each row.
        moves: how often.
        gain: of the adaptation of scales; 0 keeps them.
    """
    effects, subjects = chains.z.shape[1], chains.scales.shape[0]
    copies = chains.z.shape[0] // subjects
    scatter, mask = near.scatter(), target.mask
    deviation = 1.0 / jnp.sqrt(jnp.diagonal(near.precision, axis1=-2, axis2=-1))
    size = jnp.maximum(jnp.sum(mask, axis=-1), 1)
    kinds = _turns(moves, effects)

    def propose(chains: Chains, kind: Array, which: Array, noise: Array) -> tuple[Array, Array]:
        normal = jnp.where(mask, noise[:, :effects], 0.0)
        along = jnp.einsum("rij,rj->ri", scatter, normal)
        far = near.centre + along * student_scale(noise[:, effects:])[:, None]
        scales = jnp.tile(jnp.exp(chains.scales), (copies, 1)) * OPTIMAL
        walk = chains.z + (scales[:, 0] / jnp.sqrt(size))[:, None] * along
        unit = jnp.where(jnp.arange(effects) == which, deviation * normal, 0.0)
        single = chains.z + jnp.take(scales, 1 + which, axis=1)[:, None] * unit
        z = jnp.stack([chains.z, normal, far, walk, single])[kind]
        prior = 0.5 * (prior_term(target, z) - prior_term(target, chains.z))
        density = student_log_density(near, mask, chains.z) - student_log_density(near, mask, z)
        symmetric = jnp.zeros_like(prior)
        return z, jnp.stack([jnp.full_like(prior, jnp.inf), prior, density, symmetric, symmetric])[kind]

    def step(chains: Chains, turn: tuple[Array, Array, Array]) -> tuple[Chains, Array]:
        number, kind, which = turn
        split = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, number)))(keys)
        z, correction = propose(chains, kind, which, normals(split[:, 0], (effects + DEGREES,)))
        density = log_density(target, z)
        ratio = density - jnp.where(kind == _REFRESH, 0.0, chains.density) + correction
        ratio = jnp.where(jnp.isnan(ratio) | jnp.isneginf(density) & (kind != _REFRESH), -jnp.inf, ratio)
        accept = (jnp.log(uniforms(split[:, 1])) < ratio) | (kind == _REFRESH)
        rate = jnp.minimum(1.0, jnp.exp(jnp.minimum(ratio, 0.0)))
        surplus = jnp.mean(rate.reshape(copies, subjects), axis=0) - jnp.where(
            kind == _BLOCK, ACCEPT_BLOCK, ACCEPT_SINGLE
        )
        column = jnp.where(kind == _SINGLE, 1 + which, 0)
        change = jnp.where(kind >= _BLOCK, gain, 0.0) * surplus
        return Chains(
            jnp.where(accept[:, None], z, chains.z),
            jnp.where(accept, density, chains.density),
            jnp.clip(chains.scales.at[:, column].add(change), -5.0, 3.0),
            chains.accepted,
        ), jnp.mean(rate)

    turns = (jnp.arange(kinds.shape[1]), jnp.asarray(kinds[0]), jnp.asarray(kinds[1]))
    chains, rates = jax.lax.scan(step, chains, turns)
    return chains._replace(accepted=jnp.stack([_mean(rates, kinds[0] == kind) for kind in range(1, 5)]))


def _mean(rates: Array, chosen: np.ndarray) -> Array:
    return jnp.sum(jnp.where(chosen, rates, 0.0)) / max(int(chosen.sum()), 1)


def student_scale(normal: Array) -> Array:
    """sqrt(degrees / chi2) [R] of standard normal numbers [R, degrees]."""
    return jnp.sqrt(normal.shape[1] / jnp.sum(normal**2, axis=1))


def student_log_density(near: Approximation, mask: Array, z: Array) -> Array:
    """Log density [R] of the t distribution around the centre, over the effects that a row has, with its constant."""
    size = jnp.sum(mask, axis=-1)
    away = jnp.where(mask, z - near.centre, 0.0)
    distance = jnp.einsum("ri,rij,rj->r", away, near.precision, away)
    half = jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(near.precision), axis1=-2, axis2=-1)), axis=-1)
    gammaln = jax.scipy.special.gammaln
    constant = gammaln((DEGREES + size) / 2) - gammaln(DEGREES / 2) - 0.5 * size * jnp.log(DEGREES * jnp.pi)
    return constant + half - 0.5 * (DEGREES + size) * jnp.log1p(distance / DEGREES)
