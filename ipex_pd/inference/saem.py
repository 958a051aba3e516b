"""Stochastic approximation EM.

Iteration k samples the random effects by a sweep of Metropolis-Hastings kernels, takes their moments into a running
average
with gain g_k, and maximises (see `expectation`). Gains are 1 while the search explores, with variances that may only
cool slowly (simulated annealing), then k^-0.7 while it smooths; the estimate is the mean of the later half of the
smoothing (Polyak averaging). Typical values without a random effect take stochastic Newton steps, whose fixed point is
where the conditional expectation of the complete-data score is zero: the maximum of the marginal likelihood.

Smoothing goes on in rounds until the marginal score s and information I, both by importance sampling at the estimate,
say that less than `tolerance` of the objective is left: s'I^-1 s < tolerance. A few Newton steps w - I^-1 s end the
search.

Delyon, Lavielle & Moulines 1999, Ann Stat 27:94-128; Kuhn & Lavielle 2005, Comput Stat Data Anal 49:1020-1038.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.curvature import expand
from ipex_pd.inference.expectation import Maximiser, Moments, newton_step
from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.imp import polish
from ipex_pd.inference.importance import ImportanceOptions
from ipex_pd.inference.information import Informed, inform
from ipex_pd.inference.kernels import Chains, Moves, start, sweep
from ipex_pd.inference.likelihood import minus2ll
from ipex_pd.inference.links import Links, find_links
from ipex_pd.inference.population import Population
from ipex_pd.inference.proposals import Approximation, begin, improve
from ipex_pd.inference.sampling import Target, random_effects, row_keys, subject_count, theta_rows, whiten, widened

Array = Any
Progress = Callable[[str, int, np.ndarray], None]

BLOCK = 50
"""Iterations of one call of the program: between them an interrupt is heard and the stop is weighed."""
_CANDIDATES = (1.0, 0.25, 0.05)


@dataclass(frozen=True)
class SaemOptions:
    """How SAEM searches.

    Attributes:
        chains: Markov chains of each subject; 0 takes as many as make 300 rows.
        explore: the most iterations with gain 1; fewer when the trace stands still.
        smooth: iterations of each round of smoothing.
        rounds: the most rounds.
        cool: iterations during which variances may only cool slowly.
        cooling: the least share of a variance that is left after one of these.
        exponent: of the gains k^-exponent of smoothing, above 1/2 and at most 1.
        moves: kernels of one sweep.
        tolerance: of the objective that may be left at the end.
        polish: the most Newton steps on the importance-sampled score that end the search; 0 leaves the SAEM estimate.
        seed: of the chains.
        importance: how the objective, the score and the information at the end are sampled.
    """

    chains: int = 0
    explore: int = 400
    smooth: int = 200
    rounds: int = 3
    cool: int = 100
    cooling: float = 0.95
    exponent: float = 0.7
    moves: Moves = field(default_factory=Moves)
    tolerance: float = 0.05
    polish: int = 4
    seed: int = 1
    importance: ImportanceOptions = field(default_factory=ImportanceOptions)

    def __post_init__(self) -> None:
        counts = (self.explore, self.smooth, self.cool)
        if self.chains < 0 or self.rounds < 1 or min(counts) < BLOCK or any(c % BLOCK for c in counts):
            raise UsageError(
                f"explore, smooth and cool are {counts}, chains {self.chains}, rounds {self.rounds}",
                where="SaemOptions",
                rule=f"Iterations come in blocks of {BLOCK}, at least one; chains is 0 or more, rounds 1 or more",
            )
        if not 0.5 < self.exponent <= 1 or not 0 < self.cooling <= 1 or not self.tolerance > 0:
            raise UsageError(
                f"exponent {self.exponent:g}, cooling {self.cooling:g}, tolerance {self.tolerance:g}",
                where="SaemOptions",
                rule="Gains need an exponent in (1/2, 1], cooling is a share in (0, 1], the tolerance positive",
            )


@dataclass(frozen=True)
class StochasticFit:
    """What a stochastic EM method found.

    Attributes:
        w: [n] search vector of the estimate.
        trace: [iterations, n] search vectors of all iterations.
        acceptance: [iterations, 4] of the prior, independent, block and single kernel; empty for importance sampling.
        explored: iterations before smoothing began.
        informed: the marginal likelihood at the estimate by importance sampling: objective, score, information.
        converged: whether it is below the tolerance (and the Monte Carlo error).
        linked: names of the typical values with closed-form steps.
        words: how it ended.
        interrupted: stopped by the user; the estimate is the last one.
    """

    w: np.ndarray
    trace: np.ndarray
    acceptance: np.ndarray
    explored: int
    informed: Informed
    converged: bool
    linked: tuple[str, ...]
    words: str
    interrupted: bool


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


def saem(
    population: Population,
    groups: Sequence[Group],
    options: SaemOptions | None = None,
    progress: Progress | None = None,
) -> StochasticFit:
    """Maximum likelihood (with priors: maximum a posteriori) by SAEM.

    Args:
        population: what is estimated, and where the search starts.
        groups: all subjects.
        options: how.
        progress: called with the phase, the iteration and the search vector after every block.

    Raises:
        UsageError: there are no random effects to sample.
    """
    options = options or SaemOptions()
    if population.layout.etas == 0 or not groups:
        raise UsageError(
            "there are no random effects", where="saem", rule="EM integrates over them", cure="Use method `pooled`"
        )
    links = find_links(population, groups)
    maximiser = Maximiser.of(population, links)
    data, state = _prepare(maximiser, links.design, groups, options)
    run = _Run(maximiser, links, options, data, state, progress)
    informed = run.search()
    names = tuple(population.thetas[link.theta].name for link in links.links)
    return run.result(informed, names)


def _prepare(
    maximiser: Maximiser, design: np.ndarray, groups: Sequence[Group], options: SaemOptions
) -> tuple[Data, State]:
    w, layout = jnp.asarray(maximiser.population.start), maximiser.population.layout
    total = subject_count(groups)
    copies = options.chains or max(1, -(-300 // total))
    wide = tuple(widened(group, copies) for group in groups)
    masks = [np.asarray(g.eta_mask)[np.asarray(g.subjects) >= 0] for g in groups]
    present = jnp.asarray(np.sum(np.concatenate(masks), axis=0).astype(float))
    key = jax.random.key(options.seed)
    data = Data(tuple(groups), wide, jnp.asarray(design), maximiser.scales(w), present, key)
    chains = []
    for group in wide:
        z = jnp.zeros(group.eta_mask.shape)
        chains.append(start(Target(group, layout.theta(w), layout.factor(w)), z, group.shape[0] // copies))
    near = tuple(begin(Target(group, layout.theta(w), layout.factor(w))) for group in groups)
    count = len(maximiser.numeric)
    zero = Moments(jnp.zeros(design.shape[:2]), jnp.zeros(design.shape[1:2] * 2), jnp.eye(count))
    return data, State(w, tuple(chains), near, zero)


@partial(jax.jit, static_argnames=("maximiser", "moves"))
def _iterate(
    maximiser: Maximiser, moves: Moves, data: Data, state: State, plan: Plan
) -> tuple[State, tuple[Array, Array]]:
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


class _Run:
    """The search on the host: blocks of iterations, their gains, and when to stop."""

    def __init__(
        self,
        maximiser: Maximiser,
        links: Links,
        options: SaemOptions,
        data: Data,
        state: State,
        progress: Progress | None,
    ) -> None:
        self.maximiser, self.links, self.options, self.data, self.state = maximiser, links, options, data, state
        self.progress = progress
        self.trace: list[np.ndarray] = []
        self.acceptance: list[np.ndarray] = []
        self.explored = 0
        self.interrupted = False

    @property
    def iterations(self) -> int:
        return BLOCK * len(self.trace)

    @property
    def estimate(self) -> np.ndarray:
        """The mean of the later half of smoothing; the last iterate before there is any."""
        rows = np.concatenate(self.trace) if self.trace else self.maximiser.population.start[None]
        smoothed = len(rows) - self.explored
        later = rows[-max(1, smoothed // 2) :] if self.explored and smoothed > 0 else rows[-1:]
        free = self.maximiser.population.free
        return np.where(free, _mean(later), rows[0])

    def search(self) -> Informed:
        try:
            self._explore()
            for _ in range(self.options.rounds):
                self._smooth()
                informed = self.inform()
                informed = self._polished(informed)
                if informed.left <= self.options.tolerance + informed.left_noise:
                    break
        except KeyboardInterrupt:
            self.interrupted = True
            informed = self.inform()
        return informed

    def inform(self) -> Informed:
        population = self.maximiser.population
        return inform(population, self.data.groups, self.estimate, self.options.importance, self.links)

    def _polished(self, informed: Informed) -> Informed:
        options, population = self.options, self.maximiser.population
        ended = polish(
            population, self.data.groups, informed, self.links, options.importance, options.tolerance, options.polish
        )
        return ended[0]

    def _explore(self) -> None:
        options = self.options
        while self.iterations < options.explore:
            number = self.iterations + np.arange(BLOCK)
            cooling = np.where(number < options.cool, options.cooling, 0.0)
            self._block("explore", number, np.ones(BLOCK), cooling)
            if self.iterations > options.cool and self._stands_still():
                break
        self.explored = self.iterations

    def _smooth(self) -> None:
        for _ in range(self.options.smooth // BLOCK):
            number = self.iterations + np.arange(BLOCK)
            gains = (number - self.explored + 1.0) ** -self.options.exponent
            self._block("smooth", number, gains, np.zeros(BLOCK))

    def _stands_still(self) -> bool:
        """Whether the means of the last two blocks differ by less than the spread within them, for every parameter."""
        if len(self.trace) < 3:
            return False
        free = self.maximiser.population.free
        one, other = (block[:, free] for block in self.trace[-2:])
        spread = np.sqrt(0.5 * (one.var(axis=0) + other.var(axis=0)))
        return bool(np.all(np.abs(one.mean(axis=0) - other.mean(axis=0)) <= spread + 1e-12))

    def _block(self, phase: str, number: np.ndarray, gain: np.ndarray, cooling: np.ndarray) -> None:
        adaptation = (1.0 + number) ** -0.6 if phase == "explore" else np.zeros(BLOCK)
        plan = Plan(*(jnp.asarray(v) for v in (number, gain, cooling, adaptation)))
        self.state, (trace, accepted) = _iterate(self.maximiser, self.options.moves, self.data, self.state, plan)
        self.trace.append(np.asarray(trace))
        self.acceptance.append(np.asarray(accepted))
        if self.progress is not None:
            self.progress(phase, self.iterations, self.trace[-1][-1])

    def result(self, informed: Informed, linked: tuple[str, ...]) -> StochasticFit:
        options = self.options
        converged = not self.interrupted and informed.left <= options.tolerance + informed.left_noise
        empty = np.zeros((0, 4))
        return StochasticFit(
            w=informed.w,
            trace=np.concatenate(self.trace) if self.trace else informed.w[None],
            acceptance=np.concatenate(self.acceptance) if self.acceptance else empty,
            explored=self.explored,
            informed=informed,
            converged=converged,
            linked=linked,
            words=_words(self.interrupted, converged, informed, options.tolerance, self.iterations),
            interrupted=self.interrupted,
        )


def _mean(rows: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray(rows.mean(axis=0))


def _words(interrupted: bool, converged: bool, informed: Informed, tolerance: float, iterations: int) -> str:
    rest = (
        f"by the score and information at the estimate the objective could fall by {informed.left:.3g} "
        f"(Monte Carlo error alone: {informed.left_noise:.2g}; tolerance {tolerance:g}; "
        f"Monte Carlo error of the objective: {informed.marginal.error:.2g})"
    )
    if interrupted:
        return f"interrupted after {iterations} iterations; {rest}"
    verdict = "converged" if converged else "not converged"
    return f"{verdict} after {iterations} iterations: {rest}"
