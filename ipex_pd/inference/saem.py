"""Stochastic approximation EM.

Iteration k samples the random effects by a sweep of Metropolis-Hastings kernels, takes their moments into a running
average with gain g_k, and maximises (see `saem_iteration`). Gains are 1 while the search explores, with variances that
may only cool slowly (simulated annealing), then k^-0.7 while it smooths; the estimate is the mean of the later half of
the smoothing (Polyak averaging). Typical values without a random effect take stochastic Newton steps, whose fixed
point is where the conditional expectation of the complete-data score is zero: the maximum of the marginal likelihood.

Smoothing goes on in rounds until the marginal score s and information I, both by importance sampling at the estimate,
say that less than `tolerance` of the objective is left: s'I^-1 s < tolerance. A few Newton steps w - I^-1 s end the
search.

Delyon, Lavielle & Moulines 1999, Ann Stat 27:94-128; Kuhn & Lavielle 2005, Comput Stat Data Anal 49:1020-1038.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.expectation import Maximiser
from ipex_pd.inference.group import Group
from ipex_pd.inference.imp import polish
from ipex_pd.inference.importance import ImportanceOptions
from ipex_pd.inference.information import Informed, inform
from ipex_pd.inference.kernels import Moves
from ipex_pd.inference.links import Links, find_links
from ipex_pd.inference.population import Population
from ipex_pd.inference.progress import Progress, Stage
from ipex_pd.inference.saem_iteration import Data, Plan, State, iterate, prepare
from ipex_pd.inference.sampling import require_random_effects

BLOCK = 50
"""Iterations of one call of the program: between them an interrupt is heard and the stop is weighed."""


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
        progress: told of every block of iterations.

    Raises:
        UsageError: there are no random effects to sample.
    """
    options = options or SaemOptions()
    require_random_effects(population, groups, "saem")
    links = find_links(population, groups)
    maximiser = Maximiser.of(population, links)
    data, state = prepare(maximiser, links.design, groups, options.chains, options.seed)
    run = _Run(maximiser, links, options, data, state, progress)
    informed = run.search()
    names = tuple(population.thetas[link.theta].name for link in links.links)
    return run.result(informed, names)


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
        self.state, (trace, accepted) = iterate(self.maximiser, self.options.moves, self.data, self.state, plan)
        self.trace.append(np.asarray(trace))
        self.acceptance.append(np.asarray(accepted))
        if self.progress is not None:
            self.progress(Stage(phase, self.iterations, self.trace[-1][-1]))

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
