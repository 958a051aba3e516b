"""Sampling importance resampling (SIR): the likelihood around the estimates, without a normal assumption.

A.-G. Dosne, M. Bergstrand, K. Harling, M. O. Karlsson, J Pharmacokinet Pharmacodyn 43 (2016) 583; the iterations:
A.-G. Dosne, M. Bergstrand, M. O. Karlsson, J Pharmacokinet Pharmacodyn 44 (2017) 509.

Vectors are drawn from a proposal, weighted by exp(-dOFV/2) over its density, and resampled without replacement; the
next proposal has the mean and covariance of the resamples. All on the search scale, where the normal proposal takes the
place of the Box-Cox one of the second paper, and where the likelihood is read as a density. The first proposal has the
covariance R^-1, the curvature of the likelihood that is sampled. Were a proposal the distribution that is looked for,
the dOFV of resamples would follow chi-square with as many degrees of freedom as parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import chi2

from ipex_pd.errors import UsageError
from ipex_pd.inference.draws import natural_draws, require_covariance, tails
from ipex_pd.inference.reestimation import Reestimation
from ipex_pd.inference.results import Fit
from ipex_pd.records.draws import ParameterDraws

_LOWER = 0.01


@dataclass(frozen=True)
class SirOptions:
    """How SIR samples.

    Attributes:
        samples: vectors drawn in every iteration.
        resamples: vectors kept of them.
        inflation: of the covariance of the first proposal.
        seed: of the draws.
        level: of the intervals.
    """

    samples: tuple[int, ...] = (500, 500, 1000)
    resamples: tuple[int, ...] = (100, 100, 200)
    inflation: float = 1.0
    seed: int = 1
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.samples or len(self.samples) != len(self.resamples):
            raise UsageError(f"samples {self.samples} and resamples {self.resamples}", rule="One of each an iteration")
        if any(not 2 <= kept <= drawn for drawn, kept in zip(self.samples, self.resamples, strict=True)):
            raise UsageError(
                f"samples {self.samples} and resamples {self.resamples}",
                rule="Resampling is without replacement: 2 <= resamples <= samples",
                cure="About a fifth of the samples serves",
            )
        if not (math.isfinite(self.inflation) and self.inflation > 0):
            raise UsageError(f"inflation = {self.inflation:g}", rule="It is above zero; 1 leaves the covariance")
        tails(self.level)


@dataclass(frozen=True, eq=False)
class SirIteration:
    """One round of SIR.

    Attributes:
        free: [M, m] drawn free entries of search vectors.
        drops: [M] their objective less that of the fit; inf where there is none.
        weights: [M] with sum 1.
        kept: [K] places of the resamples.
    """

    free: np.ndarray
    drops: np.ndarray
    weights: np.ndarray
    kept: np.ndarray

    @property
    def effective(self) -> float:
        """Effective sample size of the weights."""
        return float(1.0 / np.sum(self.weights**2))

    @property
    def failed(self) -> int:
        """How many draws had no objective."""
        return int(np.sum(~np.isfinite(self.drops)))

    @property
    def degrees(self) -> float:
        """Estimated degrees of freedom: the mean dOFV of the resamples."""
        return float(np.mean(self.drops[self.kept]))


@dataclass(frozen=True, eq=False)
class Sir:
    """What SIR found.

    Attributes:
        fit: around whose estimates.
        options: of the sampling.
        iterations: in their order.
        interrupted: by the user; the iterations done are here.
    """

    fit: Fit
    options: SirOptions
    iterations: tuple[SirIteration, ...]
    interrupted: bool = False

    @property
    def last(self) -> SirIteration:
        """The last iteration. Raises: UsageError when none was finished."""
        if not self.iterations:
            raise UsageError("no iteration of SIR was finished", code="sir.nothing", cure="Draw fewer samples")
        return self.iterations[-1]

    @property
    def draws(self) -> ParameterDraws:
        """The resamples of the last iteration."""
        last = self.last
        return natural_draws(self.fit.population, last.free[last.kept], "sir", self.fit.w)

    @property
    def parameters(self) -> pd.DataFrame:
        """One row an estimated parameter: estimate, then mean, sd, median and interval of the resamples."""
        table = self.draws.table(self.options.level)
        table.insert(1, "estimate", self.fit.estimates)
        return table[self.fit.population.free].reset_index(drop=True)

    @property
    def diagnostics(self) -> pd.DataFrame:
        """One row an iteration: samples, failed, effective sample size, largest weight, lowest dOFV, degrees of
        freedom estimated from the resamples and of the chi-square that they would follow near normality."""
        rows = []
        for number, one in enumerate(self.iterations, 1):
            rows.append(
                {
                    "iteration": number,
                    "samples": len(one.drops),
                    "resamples": len(one.kept),
                    "failed": one.failed,
                    "effective": one.effective,
                    "largest_weight": float(one.weights.max()),
                    "lowest_dofv": float(one.drops.min()),
                    "degrees": one.degrees,
                    "parameters": int(one.free.shape[1]),
                }
            )
        return pd.DataFrame(rows)

    @property
    def distribution(self) -> pd.DataFrame:
        """Quantiles of dOFV, chi-square and by iteration of the samples and the resamples; the plot of the papers."""
        shares = np.linspace(0.05, 0.95, 19)
        table = pd.DataFrame({"share": shares, "chi_square": chi2.ppf(shares, self.last.free.shape[1])})
        for number, one in enumerate(self.iterations, 1):
            finite = one.drops[np.isfinite(one.drops)]
            table[f"samples_{number}"] = np.quantile(finite, shares)
            table[f"resamples_{number}"] = np.quantile(one.drops[one.kept], shares)
        return table

    @property
    def remarks(self) -> tuple[str, ...]:
        """What speaks against the result, in words; empty when nothing does."""
        last, found = self.last, []
        if self.interrupted:
            found.append("interrupted: later iterations are missing")
        if last.drops.min() < -_LOWER:
            found.append(f"a draw has an objective lower by {-last.drops.min():.3g}: the fit is not at its minimum")
        if last.failed:
            found.append(f"{last.failed} of {len(last.drops)} draws had no objective and count for nothing")
        if last.effective < len(last.kept):
            found.append(f"the {len(last.kept)} resamples are worth {last.effective:.0f}: draw more samples")
        if not self._settled():
            found.append("the dOFV of resamples still moved in the last iteration: add iterations")
        return tuple(found)

    def _settled(self) -> bool:
        """Whether the mean dOFV of resamples stayed, within twice its standard error, or there was one iteration."""
        if len(self.iterations) < 2:
            return True
        one, two = (i.drops[i.kept] for i in self.iterations[-2:])
        error = math.sqrt(one.var(ddof=1) / len(one) + two.var(ddof=1) / len(two))
        return bool(abs(one.mean() - two.mean()) <= 2.0 * error)

    def __str__(self) -> str:
        told = self.diagnostics.to_string(index=False, float_format=lambda v: f"{v:.4g}")
        table = self.parameters.to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return "\n".join([f"SIR, seed {self.options.seed}", told, table, *self.remarks])


def sir(fit: Fit, options: SirOptions | None = None, progress: Callable[[int, int], None] | None = None) -> Sir:
    """Sample the uncertainty of a fit by sampling importance resampling, on the search scale.

    Args:
        fit: by an objective (fo, foce, focei, laplace, agq, pooled), with a covariance.
        options: of the sampling.
        progress: called with the number of draws evaluated and of all. A KeyboardInterrupt keeps the iterations done.

    Raises:
        UsageError: a fit without a covariance, or by a method whose objective cannot be evaluated again, or
            too few draws with an objective.
    """
    chosen = options or SirOptions()
    near = Reestimation(fit, "SIR")
    random = np.random.default_rng(chosen.seed)
    mean, covariance = fit.w[near.free], chosen.inflation * _first(fit)
    done: tuple[SirIteration, ...] = ()
    counter = _Counter(near, sum(chosen.samples), progress)
    try:
        for samples, resamples in zip(chosen.samples, chosen.resamples, strict=True):
            one = _iteration(counter, mean, covariance, (samples, resamples), random)
            done = (*done, one)
            kept = one.free[one.kept]
            mean, covariance = kept.mean(0), _covariance(kept, covariance)
    except KeyboardInterrupt:
        return Sir(fit, chosen, done, interrupted=True)
    return Sir(fit, chosen, done)


def _first(fit: Fit) -> np.ndarray:
    """R^-1 where R is positive definite, else the covariance of the fit. Raises: UsageError without either."""
    if fit.covariance.definite:
        return np.asarray(np.linalg.inv(fit.covariance.r))
    require_covariance(fit)
    return fit.covariance.search


class _Counter:
    """Objectives of drawn vectors, less that of the fit."""

    def __init__(self, near: Reestimation, whole: int, progress: Callable[[int, int], None] | None) -> None:
        self.near, self.whole, self.progress, self.done = near, whole, progress, 0

    def drop(self, free: np.ndarray) -> float:
        fit = self.near.fit
        w = np.array(fit.w, float)
        w[self.near.free] = free
        value = self.near.total(w, self.near.objective.at(w, fit.found.at.modes))[0] - fit.value
        self.done += 1
        if self.progress is not None:
            self.progress(self.done, self.whole)
        return value if math.isfinite(value) else math.inf


def _iteration(
    counter: _Counter, mean: np.ndarray, covariance: np.ndarray, counts: tuple[int, int], random: np.random.Generator
) -> SirIteration:
    factor = np.linalg.cholesky(covariance)
    noise = random.standard_normal((counts[0], len(mean)))
    free = mean + noise @ factor.T
    drops = np.array([counter.drop(row) for row in free])
    if np.sum(np.isfinite(drops)) < counts[1]:
        raise UsageError(
            f"only {int(np.sum(np.isfinite(drops)))} of {counts[0]} draws have an objective",
            code="sir.no-objective",
            rule=f"{counts[1]} are to be kept",
            cure="Give an inflation below 1, or another covariance",
        )
    logs = -0.5 * drops + 0.5 * np.sum(noise**2, axis=1)
    weights = np.exp(logs - logs.max())
    kept = without_replacement(logs, counts[1], random)
    return SirIteration(free, drops, weights / weights.sum(), kept)


def without_replacement(logs: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """Places drawn one after another in proportion to exp(logs), none twice (the largest of logs + Gumbel noise)."""
    return np.sort(np.argsort(-(logs + random.gumbel(size=len(logs))))[:count])


def _covariance(kept: np.ndarray, before: np.ndarray) -> np.ndarray:
    """That of the resamples; blended with the proposal's where there are too few for a proper one."""
    found = np.atleast_2d(np.cov(kept, rowvar=False))
    share = min(1.0, len(kept) / (10.0 * kept.shape[1]))
    return np.asarray(share * found + (1.0 - share) * before)
