"""The marginal likelihood by importance sampling, with its Monte Carlo error, its gradient and its information.

    L_i = integral p(y_i | eta) p(eta) d eta  ~  (1/K) sum_k w_ik,    w_ik = p(y_i | eta_ik) p(eta_ik) / q_i(eta_ik)

The proposal q_i mixes a multivariate t at the conditional mode, with location and covariance adapted to a pilot
sample, and
a share of the prior, so that weights stay bounded (defensive mixture: Owen & Zhou 2000, J Am Stat Assoc 95:135-143).
With
the draws held, the estimate is a smooth function of the parameters; its slope is the weighted complete-data score
(Fisher's
identity), d log L_i = sum_k w_ik d log p(y_i, eta_ik) / sum_k w_ik.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.group import Group
from ipex_pd.inference.kernels import DEGREES, student_log_density, student_scale
from ipex_pd.inference.likelihood import minus2ll
from ipex_pd.inference.links import Link, scales_of
from ipex_pd.inference.population import Layout
from ipex_pd.inference.proposals import Approximation, begin, improve
from ipex_pd.inference.sampling import Target, normals, prior_term, row_keys, subject_count, whiten, widened

Array = Any

ROWS_AT_ONCE = 8192
"""Rows (subjects times draws) that are predicted together: bounds the memory."""


@dataclass(frozen=True)
class ImportanceOptions:
    """How the marginal likelihood is sampled.

    Attributes:
        samples: draws for each subject.
        rounds: adaptations of the proposal to the weighted moments of a sample of the same size.
        defensive: share of draws from the prior.
        mode_steps: damped steps towards the conditional modes.
        seed: of the draws; the same seed gives the same (common) random numbers at every parameter value.
        flag_below: effective sample size, as a share of the draws, under which a subject is flagged.
    """

    samples: int = 1000
    rounds: int = 2
    defensive: float = 0.1
    mode_steps: int = 25
    seed: int = 1
    flag_below: float = 0.1

    def __post_init__(self) -> None:
        if self.samples < 20 or self.rounds < 0 or self.mode_steps < 1:
            raise UsageError(
                "samples below 20, rounds below 0 or mode_steps below 1",
                where="ImportanceOptions",
                rule="The Monte Carlo error is estimated from the draws themselves",
            )
        if not 0 < self.defensive < 1:
            raise UsageError(
                f"defensive = {self.defensive:g}",
                where="ImportanceOptions",
                rule="A share strictly between 0 and 1 of the draws comes from the prior",
            )


class Draws(NamedTuple):
    """Random effects of a group, and how they move with the linked typical values t (see `links`).

    At parameters w the draws are eta - follow (t(w) - origin): a shift, which leaves the density they were drawn
    with as
    it is. With follow = (I - V Omega^-1) X, V the conditional covariance, they go with the conditional distribution
    (exactly
    so where that is normal), which takes most of the noise out of scores and informations.

    Attributes:
        eta: [K, B, q].
        log_proposal: [K, B].
        follow: [B, q, m]; m is 0 where nothing moves.
        origin: [m].
    """

    eta: Array
    log_proposal: Array
    follow: Array
    origin: Array


@dataclass(frozen=True)
class Marginal:
    """-2 log likelihood without its constant, by importance sampling.

    Attributes:
        objective: of all subjects.
        error: its Monte Carlo standard error.
        subjects: [n] of each subject, in the order of the dataset.
        errors: [n] their Monte Carlo standard errors.
        effective: [n] effective sample sizes.
        samples: draws for each subject.
        flagged: places of subjects whose effective sample size is too small to be trusted.
    """

    objective: float
    error: float
    subjects: np.ndarray
    errors: np.ndarray
    effective: np.ndarray
    samples: int
    flagged: tuple[int, ...]


def target_at(group: Group, layout: Layout, w: Array) -> Target:
    """The conditional distributions at a search vector [n]."""
    return Target(group, layout.theta(w), layout.factor(w))


@partial(jax.jit, static_argnames=("layout", "steps"))
def approximate(
    group: Group, layout: Layout, w: Array, start: Array | None = None, *, steps: int = 25
) -> Approximation:
    """Normal approximations of the conditional distributions, from a start [B, q] in z or from zero."""
    target = target_at(group, layout, w)
    return improve(target, begin(target, start), steps)


@partial(jax.jit, static_argnames=("layout", "samples", "share"))
def draw(
    group: Group, layout: Layout, w: Array, near: Approximation, key: Array, *, samples: int, share: float
) -> tuple[Draws, Array]:
    """Draws from the mixture, in eta and [K, B, q] in z."""
    target = target_at(group, layout, w)
    mask, rows = target.mask, group.shape[0]
    scatter, prior = near.scatter(), round(share * samples)
    keys = row_keys(key, group.subjects, samples).reshape(samples, rows)

    def one(number: Array, keys: Array) -> tuple[Array, Array]:
        noise = normals(keys, (mask.shape[1] + DEGREES,))
        wide = jnp.where(mask, noise[:, : mask.shape[1]], 0.0)
        away = jnp.einsum("bij,bj->bi", scatter, wide) * student_scale(noise[:, mask.shape[1] :])[:, None]
        z = jnp.where(number < prior, wide, jnp.where(mask, near.centre + away, 0.0))
        size = jnp.sum(mask, -1)
        from_prior = -0.5 * (prior_term(target, z) + size * jnp.log(2 * jnp.pi))
        mixed = jnp.logaddexp(
            from_prior + jnp.log(prior / samples), student_log_density(near, mask, z) + jnp.log1p(-prior / samples)
        )
        return z, mixed

    z, mixed = jax.lax.map(lambda pair: one(*pair), (jnp.arange(samples), keys))
    eta = jnp.where(group.eta_mask, z @ target.root.T, 0.0)
    still = jnp.zeros((*mask.shape, 0))
    return Draws(eta, mixed - _log_volume(target.root, mask), still, jnp.zeros(0)), z


def _log_volume(root: Array, mask: Array) -> Array:
    diagonal = jnp.diagonal(root, axis1=-2, axis2=-1)
    return jnp.sum(jnp.where(mask, jnp.log(jnp.where(diagonal > 0, diagonal, 1.0)), 0.0), axis=-1)


def log_joint(group: Group, layout: Layout, w: Array, eta: Array) -> Array:
    """log p(y, eta) [R] of rows with search vectors w [R, n] of their own; without the constant of p(y | eta)."""
    root = layout.factor(w)
    mask = group.eta_mask & (jnp.diagonal(root, axis1=-2, axis2=-1) > 0)
    z = jnp.where(mask, whiten(root, eta), 0.0)
    prior = -0.5 * jnp.sum(z**2, -1) - 0.5 * jnp.sum(mask, -1) * jnp.log(2 * jnp.pi) - _log_volume(root, mask)
    value = prior - 0.5 * minus2ll(group, layout.theta(w), eta)
    return jnp.where(jnp.isfinite(value), value, -jnp.inf)


class _Chunks(NamedTuple):
    """The group and the shifts widened to a chunk of draws; all draws [chunks, rows, ...], filled up to whole
    chunks."""

    group: Group
    copies: int
    follow: Array
    eta: Array
    log_proposal: Array


def _chunks(group: Group, draws: Draws) -> _Chunks:
    samples, rows = draws.log_proposal.shape
    copies = max(1, min(samples, ROWS_AT_ONCE // max(rows, 1)))
    short = -samples % copies

    def shaped(leaf: Array) -> Array:
        filled = jnp.concatenate([leaf, leaf[:short]]) if short else leaf
        return filled.reshape(-1, copies * rows, *leaf.shape[2:])

    follow = jnp.tile(draws.follow, (copies, 1, 1))
    return _Chunks(widened(group, copies), copies, follow, shaped(draws.eta), shaped(draws.log_proposal))


def _moved(layout: Layout, links: tuple[Link, ...], w: Array, chunks: _Chunks, origin: Array, eta: Array) -> Array:
    """The draws [R, q] of a chunk at search vectors w [R, n]."""
    shift = jnp.einsum("rqm,rm->rq", chunks.follow, scales_of(layout, links, w) - origin) if links else 0.0
    return jnp.where(chunks.group.eta_mask, eta - shift, 0.0)


@partial(jax.jit, static_argnames=("layout", "links"))
def log_weights(group: Group, layout: Layout, w: Array, draws: Draws, links: tuple[Link, ...] = ()) -> Array:
    """log w_ik [K, B]; `links` are those that the draws follow."""
    chunks = _chunks(group, draws)
    repeated = jnp.broadcast_to(w, (chunks.group.shape[0], w.shape[0]))

    def one(part: tuple[Array, Array]) -> Array:
        eta = _moved(layout, links, repeated, chunks, draws.origin, part[0])
        return log_joint(chunks.group, layout, repeated, eta) - part[1]

    values = jax.lax.map(one, (chunks.eta, chunks.log_proposal)).reshape(-1, group.shape[0])
    return values[: draws.log_proposal.shape[0]]


class Score(NamedTuple):
    """Slopes [B, n] of the log marginal likelihoods by the whole search vector, their Monte Carlo variances [B, n,
    n]."""

    slope: Array
    variance: Array


@partial(jax.jit, static_argnames=("layout", "links"))
def score(group: Group, layout: Layout, w: Array, draws: Draws, logs: Array, links: tuple[Link, ...] = ()) -> Score:
    """The weighted complete-data score (Fisher's identity); `logs` are those of `log_weights` at w."""
    weights, chunks = normalised(logs), _chunks(group, draws)
    samples, rows = logs.shape
    count, size, copies = chunks.eta.shape[0], w.shape[0], chunks.copies
    padded = jnp.concatenate([weights, jnp.zeros((count * copies - samples, rows))]).reshape(count, -1)
    repeated = jnp.broadcast_to(w, (chunks.group.shape[0], size))

    def one(total: tuple[Array, Array, Array], part: tuple[Array, Array]) -> tuple[tuple[Array, Array, Array], None]:
        eta, share = part

        def weighted(w: Array) -> Array:
            value = log_joint(chunks.group, layout, w, _moved(layout, links, w, chunks, draws.origin, eta))
            return jnp.sum(jnp.where(share > 0, share * jnp.where(share > 0, value, 0.0), 0.0))

        slope = jax.grad(weighted)(repeated).reshape(copies, rows, size)
        slope = jnp.where(jnp.isfinite(slope), slope, 0.0)
        first, crossed, squared = total
        crossed = crossed + jnp.einsum("kb,kbn->bn", share.reshape(copies, rows), slope)
        return (first + jnp.sum(slope, axis=0), crossed, squared + jnp.einsum("kbn,kbm->bnm", slope, slope)), None

    zero = (jnp.zeros((rows, size)), jnp.zeros((rows, size)), jnp.zeros((rows, size, size)))
    (slope, crossed, squared), _ = jax.lax.scan(one, zero, (chunks.eta, padded))
    mixed = slope[:, :, None] * crossed[:, None, :]
    own = slope[:, :, None] * slope[:, None, :] * jnp.sum(weights**2, axis=0)[:, None, None]
    return Score(slope, squared - mixed - jnp.swapaxes(mixed, 1, 2) + own)


def normalised(logs: Array) -> Array:
    """Weights [K, B] that sum to 1 over the draws."""
    return jnp.exp(logs - jax.scipy.special.logsumexp(logs, axis=0))


@partial(jax.jit)
def adapt(near: Approximation, mask: Array, z: Array, logs: Array) -> Approximation:
    """The approximation moved to weighted moments of a pilot sample, as far as its effective size [B] carries them."""
    weights = normalised(logs)
    effective = 1.0 / jnp.sum(weights**2, axis=0)
    effects = z.shape[-1]
    trust = (effective / (effective + 5.0 * effects))[:, None]
    centre = jnp.einsum("kb,kbq->bq", weights, z)
    away = z - centre
    covariance = jnp.einsum("kb,kbq,kbr->bqr", weights, away, away)
    blend = trust[..., None] * covariance + (1 - trust[..., None]) * jnp.linalg.inv(near.precision)
    both = mask[:, :, None] & mask[:, None, :]
    blend = jnp.where(both, blend, jnp.eye(effects))
    moved = jnp.where(mask, trust * centre + (1 - trust) * near.centre, 0.0)
    fine = jnp.all(jnp.isfinite(blend), (1, 2)) & (jnp.linalg.eigvalsh(blend)[:, 0] > 1e-12)
    precision = jnp.linalg.inv(jnp.where(fine[:, None, None], blend, jnp.eye(effects)))
    return near._replace(
        centre=jnp.where(fine[:, None], moved, near.centre),
        precision=jnp.where(fine[:, None, None], precision, near.precision),
    )


def propose(group: Group, layout: Layout, w: Array, options: ImportanceOptions, start: Array | None = None) -> Draws:
    """Draws [K, B] of a group from proposals fitted to its conditional distributions at w."""
    key = jax.random.key(options.seed)
    near = approximate(group, layout, w, start, steps=options.mode_steps)
    mask = target_at(group, layout, w).mask
    for number in range(options.rounds):
        own = jax.random.fold_in(key, number + 1)
        pilot, z = draw(group, layout, w, near, own, samples=options.samples, share=options.defensive)
        near = adapt(near, mask, z, log_weights(group, layout, w, pilot))
    final: Draws = draw(group, layout, w, near, key, samples=options.samples, share=options.defensive)[0]
    return final


def marginal(
    layout: Layout,
    groups: Sequence[Group],
    w: Array,
    options: ImportanceOptions | None = None,
    draws: Sequence[Draws] | None = None,
    links: tuple[Link, ...] = (),
) -> Marginal:
    """-2 log marginal likelihood at a search vector [n].

    Args:
        layout: of the population.
        groups: all subjects.
        w: search vector.
        options: how it is sampled.
        draws: of each group; drawn afresh when not given.
        links: which the draws follow.
    """
    options = options or ImportanceOptions()
    held = draws or [propose(group, layout, w, options) for group in groups]
    total = subject_count(groups)
    value, error, effective = (np.zeros(total) for _ in range(3))
    for group, own in zip(groups, held, strict=True):
        logs = np.asarray(log_weights(group, layout, jnp.asarray(w), own, links))
        rows = np.asarray(group.subjects) >= 0
        places = np.asarray(group.subjects)[rows]
        value[places], error[places], effective[places] = (part[rows] for part in _summary(logs))
    samples = int(held[0].log_proposal.shape[0])
    weak = np.flatnonzero(~(effective >= options.flag_below * samples))
    spread = float(np.sqrt(np.sum(error**2)))
    return Marginal(float(value.sum()), spread, value, error, effective, samples, tuple(int(i) for i in weak))


def _summary(logs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """-2 log mean weight, its Monte Carlo standard error by the delta method, and the effective sample size; all
    [B]."""
    top = logs.max(axis=0)
    weights = np.exp(logs - np.where(np.isfinite(top), top, 0.0))
    mean, samples = weights.mean(axis=0), logs.shape[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        variation = weights.std(axis=0, ddof=1) / mean
        effective = weights.sum(axis=0) ** 2 / (weights**2).sum(axis=0)
        return -2 * (top + np.log(mean)), 2 * variation / np.sqrt(samples), np.nan_to_num(effective)
