"""Full Bayesian estimation with the No-U-Turn sampler (Hoffman & Gelman 2014, J Mach Learn Res 15:1593-1623).

Random effects are sampled non-centred. With z standard normal and eta = L z, the sampler moves xi in

    z_i = c_i + S_i xi_i - L^-1 D_i (t - t0),

c and S S' the normal approximation at the start, t the linked typical values (see `links`) and D_i their pull on the
conditional distribution (see `importance.Draws`): constants and shifts, so that the density is that of z. xi is then
near standard normal for rich and for sparse data alike.

This module and `priors` are the door to numpyro, which is needed for this method alone.
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
from ipex_pd.inference.chains import bulk_size, energy_fraction, r_hat, tail_size
from ipex_pd.inference.group import Group
from ipex_pd.inference.importance import approximate, log_joint
from ipex_pd.inference.links import find_links, scales_of
from ipex_pd.inference.population import Population
from ipex_pd.inference.progress import Progress, Stage
from ipex_pd.inference.sampling import subject_count

try:
    from numpyro.infer.hmc import hmc

    from ipex_pd.inference.priors import Parameters, check_defaults
except ModuleNotFoundError as missing:
    raise UsageError(
        f"the package `{missing.name}` is not installed",
        where="nuts",
        code="bayes.missing",
        rule="Full Bayesian estimation samples with numpyro",
        cure="Install it with `pip install ipex-pd[bayes]`",
    ) from missing

Array = Any

BLOCK = 50
"""Iterations of one call of the program: between them an interrupt is heard."""
_JITTER = 0.1
R_HAT, EFFECTIVE, ENERGY = 1.01, 400.0, 0.3
"""Thresholds of the verdict: Vehtari et al. 2021 (R-hat, effective sample sizes), Betancourt 2016 (E-BFMI)."""


@dataclass(frozen=True)
class NutsOptions:
    """How the posterior is sampled.

    Attributes:
        chains: side by side, in one program.
        warmup: iterations of adaptation, thrown away.
        draws: iterations kept, of each chain.
        target_accept: of the adaptation of the step; higher takes smaller steps.
        max_tree_depth: a trajectory has at most 2**depth steps.
        defaults: whether parameters without a prior of their own get a weakly informative one, told in words.
        seed: of everything random.
    """

    chains: int = 4
    warmup: int = 500
    draws: int = 1000
    target_accept: float = 0.85
    max_tree_depth: int = 8
    defaults: bool = True
    seed: int = 1

    def __post_init__(self) -> None:
        counts = (self.warmup, self.draws)
        if self.chains < 2 or min(counts) < BLOCK or any(c % BLOCK for c in counts) or self.max_tree_depth < 1:
            raise UsageError(
                f"chains {self.chains}, warmup {self.warmup}, draws {self.draws}, depth {self.max_tree_depth}",
                where="NutsOptions",
                rule=f"At least 2 chains (R-hat compares them); iterations in blocks of {BLOCK}; depth 1 or more",
            )
        if not 0 < self.target_accept < 1:
            raise UsageError(
                f"target_accept is {self.target_accept:g}", where="NutsOptions", rule="It lies between 0 and 1"
            )


@dataclass(frozen=True)
class Posterior:
    """Draws from the posterior and what they say of themselves.

    Attributes:
        names: [n] of the natural values, as in `Population.names`.
        draws: [chains, draws, n] natural values; constants where fixed.
        eta: [chains, draws, subjects, q] random effects.
        search: [chains, draws, n] search vectors.
        r_hat, bulk, tail: [n] rank-normalised R-hat and effective sample sizes; NaN where fixed.
        diverging: [chains, draws] whether the trajectory diverged.
        steps: [chains, draws] leapfrog steps.
        energy: [chains, draws].
        saturated: share of trajectories that reached the largest tree.
        energy_fraction: smallest E-BFMI.
        priors: the prior of every estimated parameter, in words.
        converged: R-hat below 1.01, bulk and tail sizes above 400, no divergence, E-BFMI above 0.3.
        words: how it ended.
        interrupted: stopped by the user; the draws are those that were finished.
    """

    names: tuple[str, ...]
    draws: np.ndarray
    eta: np.ndarray
    search: np.ndarray
    r_hat: np.ndarray
    bulk: np.ndarray
    tail: np.ndarray
    diverging: np.ndarray
    steps: np.ndarray
    energy: np.ndarray
    saturated: float
    energy_fraction: float
    priors: tuple[str, ...]
    converged: bool
    words: str
    interrupted: bool


class _Local(NamedTuple):
    """Coordinates of a group: centre [B, q], scatter [B, q, q], pull [B, q, m] of the linked typical values."""

    centre: Array
    scatter: Array
    pull: Array


class _Record(NamedTuple):
    x: Array
    xi: Array
    diverging: Array
    steps: Array
    energy: Array


class _Posterior(NamedTuple):
    """The log posterior: its constants."""

    parameters: Parameters
    links: tuple[Any, ...]
    groups: tuple[Group, ...]
    local: tuple[_Local, ...]
    origin: Array

    def parts(self, position: tuple[Array, Array]) -> tuple[Array, Array, list[Array]]:
        """Search vector, log prior, and the random effects [B, q] of every group."""
        x, xi = position
        layout = self.parameters.population.layout
        w, prior = self.parameters.search(x)
        shift = scales_of(layout, self.links, w) - self.origin
        etas = []
        for group, local in zip(self.groups, self.local, strict=True):
            own = xi[jnp.maximum(group.subjects, 0)]
            z = local.centre + jnp.einsum("bqr,br->bq", local.scatter, own)
            eta = z @ layout.factor(w).T - jnp.einsum("bqm,m->bq", local.pull, shift)
            etas.append(jnp.where(group.eta_mask, eta, 0.0))
        return w, prior, etas

    def potential(self, position: tuple[Array, Array]) -> Array:
        """Minus the log posterior density, without its constant."""
        w, total, etas = self.parts(position)
        layout = self.parameters.population.layout
        volume = jnp.diagonal(layout.factor(w))
        volume = jnp.where(volume > 0, jnp.log(jnp.where(volume > 0, volume, 1.0)), 0.0)
        idle = jnp.ones(position[1].shape)
        for group, eta in zip(self.groups, etas, strict=True):
            rows = group.subjects >= 0
            wide = jnp.broadcast_to(w, (group.shape[0], w.shape[0]))
            mask = group.eta_mask & (jnp.diagonal(layout.factor(w)) > 0)
            joint = log_joint(group, layout, wide, eta) + jnp.sum(jnp.where(mask, volume, 0.0), axis=-1)
            total = total + jnp.sum(jnp.where(rows, joint, 0.0))
            places = jnp.where(rows, group.subjects, idle.shape[0])
            idle = idle.at[places].set(jnp.where(mask, 0.0, 1.0), mode="drop")
        total = total - 0.5 * jnp.sum(idle * position[1] ** 2)
        return jnp.where(jnp.isfinite(total), -total, jnp.inf)


def nuts(
    population: Population,
    groups: Sequence[Group],
    options: NutsOptions | None = None,
    progress: Progress | None = None,
    start: np.ndarray | None = None,
) -> Posterior:
    """Draws from the posterior distribution of population parameters and random effects.

    Args:
        population: what is estimated, with priors.
        groups: all subjects.
        options: how.
        progress: told of every block of iterations, with the last search vector of the first chain.
        start: [n] search vector to begin near; the start of the population when not given.

    Raises:
        UsageError: a prior is missing and defaults are off, or nothing is estimated.
        KeyboardInterrupt: interrupted before there was a draw to keep.
    """
    options, parameters = options or NutsOptions(), Parameters(population)
    if not population.free.any() or not groups:
        raise UsageError("nothing is estimated", where="nuts", rule="At least one parameter is free")
    check_defaults(parameters, options.defaults)
    w = np.array(population.start if start is None else start, float)
    posterior = _posterior(parameters, groups, w)
    first, last = jax.random.split(jax.random.key(options.seed))
    noise = jax.random.normal(first, (options.chains, parameters.size))
    x = jnp.asarray(parameters.start(w)) + _JITTER * noise
    xi = jax.random.normal(
        jax.random.fold_in(first, 1), (options.chains, subject_count(groups), population.layout.etas)
    )
    init, advance = hmc(posterior.potential, algo="NUTS")
    begin = partial(
        init,
        num_warmup=options.warmup,
        target_accept_prob=options.target_accept,
        max_tree_depth=options.max_tree_depth,
    )
    keys = jax.random.split(last, options.chains)
    state = jax.jit(jax.vmap(lambda at, key: begin(at, rng_key=key)))((x, xi), keys)

    def one(state: Any, _: None) -> tuple[Any, _Record]:
        state = jax.vmap(advance)(state)
        return state, _Record(state.z[0], state.z[1], state.diverging, state.num_steps, state.energy)

    block = jax.jit(lambda state: jax.lax.scan(one, state, None, length=BLOCK))
    kept: list[_Record] = []
    interrupted = False
    try:
        for number in range(BLOCK, options.warmup + options.draws + 1, BLOCK):
            state, record = block(state)
            record = jax.tree.map(np.asarray, record)
            if number > options.warmup:
                kept.append(record)
            if progress is not None:
                at = np.asarray(parameters.search(jnp.asarray(record.x[-1, 0]))[0])
                progress(Stage("warmup" if number <= options.warmup else "sample", number, at))
    except KeyboardInterrupt:
        if not kept:
            raise
        interrupted = True
    return _result(posterior, kept, options, interrupted)


def _posterior(parameters: Parameters, groups: Sequence[Group], w: np.ndarray) -> _Posterior:
    population = parameters.population
    layout, at = population.layout, jnp.asarray(w)
    links = find_links(population, groups)
    root, omega = layout.factor(at), np.asarray(population.omega(at))
    local = []
    for group in groups:
        near = approximate(group, layout, at)
        scatter = near.scatter()
        spread = np.asarray(jnp.einsum("qr,brs,bts->bqt", root, scatter, scatter) @ root.T)
        weight = np.eye(len(omega)) - spread @ np.linalg.pinv(omega)
        pull = weight @ links.design[np.maximum(np.asarray(group.subjects), 0)]
        local.append(_Local(near.centre, scatter, jnp.asarray(pull)))
    return _Posterior(parameters, links.links, tuple(groups), tuple(local), scales_of(layout, links.links, at))


def _result(posterior: _Posterior, kept: list[_Record], options: NutsOptions, interrupted: bool) -> Posterior:
    population = posterior.parameters.population
    x, xi, diverging, steps, energy = (np.concatenate([getattr(r, f) for r in kept]) for f in _Record._fields)
    count, chains = x.shape[:2]
    subjects = xi.shape[2]

    def natural(pair: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        w, _, etas = posterior.parts(pair)
        eta = jnp.zeros((subjects, population.layout.etas))
        for group, own in zip(posterior.groups, etas, strict=True):
            eta = eta.at[jnp.where(group.subjects >= 0, group.subjects, subjects)].set(own, mode="drop")
        return population.layout.natural(w), w, eta

    flat = (jnp.asarray(x.reshape(count * chains, -1)), jnp.asarray(xi.reshape(count * chains, *xi.shape[2:])))
    value, search, eta = (np.asarray(v) for v in jax.jit(lambda pair: jax.lax.map(natural, pair))(flat))

    def by_chain(values: np.ndarray) -> np.ndarray:
        return np.swapaxes(values.reshape(count, chains, *values.shape[1:]), 0, 1)

    draws, energies = by_chain(value), energy.T
    free = population.free
    tables = np.full((3, len(free)), np.nan)
    for k in np.flatnonzero(free):
        own = draws[:, :, k]
        tables[:, k] = r_hat(own), bulk_size(own), tail_size(own)
    saturated = float(np.mean(steps >= 2**options.max_tree_depth - 1))
    fraction = energy_fraction(energies)
    worst = (np.nanmax(tables[0]), np.nanmin(tables[1]), np.nanmin(tables[2]))
    fine = worst[0] < R_HAT and min(worst[1:]) > EFFECTIVE and not diverging.any() and fraction > ENERGY
    words = (
        f"{'Interrupted; ' if interrupted else ''}{'converged' if fine else 'not converged'}: "
        f"{chains} chains of {count} draws, largest R-hat {worst[0]:.3f}, "
        f"smallest effective sizes {worst[1]:.0f} (bulk) and {worst[2]:.0f} (tail), "
        f"{int(diverging.sum())} divergences, {saturated:.1%} of trees full, E-BFMI {fraction:.2f}"
    )
    return Posterior(
        names=population.names,
        draws=draws,
        eta=by_chain(eta),
        search=by_chain(search),
        r_hat=tables[0],
        bulk=tables[1],
        tail=tables[2],
        diverging=diverging.T,
        steps=steps.T,
        energy=energies,
        saturated=saturated,
        energy_fraction=fraction,
        priors=posterior.parameters.words(),
        converged=bool(fine and not interrupted),
        words=words[0].upper() + words[1:],
        interrupted=interrupted,
    )
