"""One iteration of SAEM as a program: sweep, moments, maximisation, and chains that follow the parameters.

Typical values without a random effect take stochastic Newton steps on the complete-data log likelihood; random effects
stay where they are on the scale of the individual when typical values move.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.curvature import expand
from ipex_pd.inference.expectation import Maximiser, Moments, newton_step
from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.kernels import Chains, Moves, start, sweep
from ipex_pd.inference.likelihood import minus2ll
from ipex_pd.inference.proposals import Approximation, begin, improve
from ipex_pd.inference.sampling import Target, random_effects, row_keys, subject_count, theta_rows, whiten, widened

Array = Any

_CANDIDATES = (1.0, 0.25, 0.05)
_ROWS = 300


class State(NamedTuple):
    """What goes from one iteration to the next."""

    w: Array
    chains: tuple[Chains, ...]
    near: tuple[Approximation, ...]
    moments: Moments


class Data(NamedTuple):
    """What stays: groups, their copies, design [n, q, m] of the links, t0 [m], presence [q], the key."""

    groups: tuple[Group, ...]
    wide: tuple[Group, ...]
    design: Array
    shift: Array
    present: Array
    key: Array


class Plan(NamedTuple):
    """Of each iteration of a block: its number, the gain, the least share of a variance, the gain of adaptation."""

    number: Array
    gain: Array
    cooling: Array
    adaptation: Array


def prepare(
    maximiser: Maximiser, design: np.ndarray, groups: Sequence[Group], chains: int, seed: int
) -> tuple[Data, State]:
    """What stays and where the search begins.

    Args:
        maximiser: the M-step.
        design: [n, q, m] of the links.
        groups: all subjects.
        chains: Markov chains of each subject; 0 takes as many as make 300 rows.
        seed: of the chains.
    """
    w, layout = jnp.asarray(maximiser.population.start), maximiser.population.layout
    total = subject_count(groups)
    copies = chains or max(1, -(-_ROWS // total))
    wide = tuple(widened(group, copies) for group in groups)
    masks = [np.asarray(g.eta_mask)[np.asarray(g.subjects) >= 0] for g in groups]
    present = jnp.asarray(np.sum(np.concatenate(masks), axis=0).astype(float))
    key = jax.random.key(seed)
    data = Data(tuple(groups), wide, jnp.asarray(design), maximiser.scales(w), present, key)
    begun = []
    for group in wide:
        z = jnp.zeros(group.eta_mask.shape)
        begun.append(start(Target(group, layout.theta(w), layout.factor(w)), z, group.shape[0] // copies))
    near = tuple(begin(Target(group, layout.theta(w), layout.factor(w))) for group in groups)
    count = len(maximiser.numeric)
    zero = Moments(jnp.zeros(design.shape[:2]), jnp.zeros(design.shape[1:2] * 2), jnp.eye(count))
    return data, State(w, tuple(begun), near, zero)


@partial(jax.jit, static_argnames=("maximiser", "moves"))
def iterate(
    maximiser: Maximiser, moves: Moves, data: Data, state: State, plan: Plan
) -> tuple[State, tuple[Array, Array]]:
    """A block of iterations: the state after them, and of each the search vector [K, n] and the acceptance [K, 4]."""
    found: tuple[State, tuple[Array, Array]] = jax.lax.scan(partial(_iteration, maximiser, moves, data), state, plan)
    return found


def _iteration(
    maximiser: Maximiser, moves: Moves, data: Data, state: State, plan: Plan
) -> tuple[State, tuple[Array, Array]]:
    layout, w = maximiser.population.layout, state.w
    theta, root = layout.theta(w), layout.factor(w)
    key = jax.random.fold_in(data.key, plan.number)
    near, chains, etas = [], [], []
    for group, wide, old, before in zip(data.groups, data.wide, state.near, state.chains, strict=True):
        copies = wide.shape[0] // group.shape[0]
        improved = improve(Target(group, theta, root), old, 1)
        target = Target(wide, theta, root)
        keys = row_keys(key, group.subjects, copies)
        after = sweep(target, before, improved.widened(copies), keys, moves, plan.adaptation)
        near.append(improved)
        chains.append(after)
        etas.append(random_effects(target, after.z))
    moments = _moments(maximiser, data, w, etas, state.moments, plan.gain)
    moved = maximiser.move_links(w, data.design, data.shift, moments)
    moved = maximiser.move_omega(moved, data.design, data.shift, moments, data.present, plan.cooling)
    if maximiser.numeric:
        moved, curvature = _numeric(maximiser, data, w, moved, etas, state.moments.curvature, plan)
        moments = moments._replace(curvature=curvature)
    shift = maximiser.scales(moved) - maximiser.scales(w)
    return State(
        moved,
        tuple(
            _follow(c, g, data, layout.factor(moved), e, shift) for c, g, e in zip(chains, data.wide, etas, strict=True)
        ),
        tuple(
            n._replace(centre=_recentred(g, data, layout.factor(moved), n.centre @ root.T, shift))
            for n, g in zip(near, data.groups, strict=True)
        ),
        moments,
    ), (moved, jnp.mean(jnp.stack([c.accepted for c in chains]), axis=0))


def _recentred(group: Group, data: Data, root: Array, eta: Array, shift: Array) -> Array:
    """z [R, q] under new parameters of random effects that stay where they are on the scale of the individual."""
    x = data.design[jnp.maximum(group.subjects, 0)]
    moved = jnp.where(group.eta_mask, eta - jnp.einsum("rqm,m->rq", x, shift), 0.0)
    return whiten(root, moved)


def _follow(chains: Chains, group: Group, data: Data, root: Array, eta: Array, shift: Array) -> Chains:
    return chains._replace(z=_recentred(group, data, root, eta, shift))


def _by_subject(group: Group, values: Array, into: Array) -> Array:
    """Means [B, ...] over copies, put in their places [n, ...]; padding is dropped."""
    rows = group.shape[0]
    mean = jnp.mean(values.reshape(-1, rows, *values.shape[1:]), axis=0)
    places = jnp.where(group.subjects >= 0, group.subjects, into.shape[0])
    return into.at[places].set(mean, mode="drop")


def _moments(maximiser: Maximiser, data: Data, w: Array, etas: list[Array], before: Moments, gain: Array) -> Moments:
    total, effects, _ = data.design.shape
    shift = maximiser.scales(w) - data.shift
    first, second = jnp.zeros((total, effects)), jnp.zeros((total, effects, effects))
    for group, wide, eta in zip(data.groups, data.wide, etas, strict=True):
        x = data.design[jnp.maximum(wide.subjects, 0)]
        psi = jnp.where(wide.eta_mask, eta + jnp.einsum("rqm,m->rq", x, shift), 0.0)
        first = _by_subject(group, psi, first)
        second = _by_subject(group, psi[:, :, None] * psi[:, None, :], second)
    return before._replace(
        first=before.first + gain * (first - before.first),
        second=before.second + gain * (jnp.sum(second, axis=0) - before.second),
    )


def _numeric(
    maximiser: Maximiser, data: Data, w: Array, moved: Array, etas: list[Array], curvature: Array, plan: Plan
) -> tuple[Array, Array]:
    """One stochastic Newton step of the typical values without a link; the first candidate that is not worse is
    taken."""
    layout, places = maximiser.population.layout, np.array(maximiser.numeric)
    total, count = data.design.shape[0], len(places)
    slope, bend = jnp.zeros((total, count)), jnp.zeros((total, count, count))
    for group, wide, eta in zip(data.groups, data.wide, etas, strict=True):

        def predict(x: Array, wide: Group = wide, eta: Array = eta) -> Prediction:
            rows = theta_rows(w, x.shape[0]).at[:, places].set(x)
            return wide.predict(layout.theta(rows), eta)

        around = expand(wide, predict, theta_rows(w[places], wide.shape[0]))
        slope = _by_subject(group, around.gradient, slope)
        bend = _by_subject(group, around.curvature, bend)

    def penalty(x: Array) -> Array:
        return maximiser.penalty(moved.at[places].set(x))

    gradient, information = jnp.sum(slope, axis=0), jnp.sum(bend, axis=0)
    if maximiser.has_priors:
        prior = jnp.diag(jnp.maximum(jnp.diagonal(jax.hessian(penalty)(w[places])), 0.0))
        gradient, information = gradient + jax.grad(penalty)(w[places]), information + prior
    curvature = curvature + plan.gain * (information - curvature)
    step = plan.gain * newton_step(w[places], gradient, curvature)

    def total_at(share: Array) -> Array:
        x = w[places] + share * step
        own = jnp.zeros(total)
        for group, wide, eta in zip(data.groups, data.wide, etas, strict=True):
            theta = layout.theta(w.at[places].set(x))
            own = _by_subject(group, 0.5 * minus2ll(wide, theta_rows(theta, wide.shape[0]), eta), own)
        return jnp.sum(own) + penalty(x)

    shares = jnp.asarray([0.0, *_CANDIDATES])
    totals = jax.lax.map(total_at, shares)
    fine = jnp.isfinite(totals) & (totals <= totals[0] + 1e-12 * jnp.abs(totals[0]))
    best = shares[1 + jnp.argmax(fine[1:])] * jnp.any(fine[1:])
    new = _cooled(maximiser, w[places], w[places] + best * step, plan.cooling)
    return moved.at[places].set(new), curvature


def _cooled(maximiser: Maximiser, before: Array, after: Array, cooling: Array) -> Array:
    """Residual values on a log scale fall no faster than the variances of the random effects may."""
    population = maximiser.population
    kinds = population.layout.transform.kinds
    slow = np.array([population.thetas[k].role == "residual" and kinds[k] == "above" for k in maximiser.numeric])
    least = before + 0.5 * jnp.log(jnp.maximum(cooling, 1e-300))
    return jnp.where(slow, jnp.maximum(after, least), after)
