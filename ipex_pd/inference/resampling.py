"""The bootstrap of subjects: the fit repeated on subjects drawn with replacement, stratum by stratum.

A replicate is the objective with every subject counted as often as it was drawn, so the programs of the fit serve it.
It depends on the seed and its number alone. Intervals are percentiles, and BCa (B. Efron, J Am Stat Assoc 82 (1987)
171) with the acceleration from the infinitesimal jackknife: a subject's influence is -H^-1 g of the fit, turned to
natural values. Replicates that failed or ended at a boundary are counted and told; intervals are given with and
without them.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.inference.draws import natural_draws, tails
from ipex_pd.inference.reestimation import Reestimation, natural_and_slopes
from ipex_pd.inference.results import Fit
from ipex_pd.inference.strata import Stratify, resampled, strata_of
from ipex_pd.inference.verdict import at_bounds
from ipex_pd.records.draws import ParameterDraws

_SCHEMA = 1
_NEAR = 1e-3

Told = Callable[[int, "Replicate"], None]
"""Told of every replicate: how many are done, and the replicate."""


@dataclass(frozen=True, eq=False)
class Replicate:
    """One fit to resampled subjects.

    Attributes:
        number: from 0; with the seed it says which subjects were drawn.
        w: [n] search vector; NaN where there is none.
        value: the objective there.
        converged, outcome: whether and why the search ended.
        bounds: names of parameters at a boundary.
    """

    number: int
    w: np.ndarray
    value: float
    converged: bool
    outcome: str
    bounds: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether there are estimates at all."""
        return bool(math.isfinite(self.value) and not np.isnan(self.w).any())

    @property
    def clean(self) -> bool:
        """Whether the search ended as it should, away from boundaries."""
        return self.usable and self.converged and not self.bounds


@dataclass(frozen=True, eq=False)
class Bootstrap:
    """What repeating a fit on resampled subjects found.

    Attributes:
        fit: that was repeated.
        seed: of the resampling.
        strata: [S] stratum of every subject.
        replicates: in their order.
        level: of the intervals.
        interrupted: by the user; the replicates done are here.
    """

    fit: Fit
    seed: int
    strata: tuple[str, ...]
    replicates: tuple[Replicate, ...]
    level: float
    interrupted: bool = False

    @property
    def counts(self) -> np.ndarray:
        """[R, S] how often each subject was drawn in each replicate."""
        return np.array([resampled(self.strata, self.seed, r.number) for r in self.replicates], int)

    @property
    def tally(self) -> dict[str, int]:
        """How many replicates there are, failed (no estimates), did not converge, and ended at a boundary."""
        done = self.replicates
        return {
            "replicates": len(done),
            "failed": sum(not r.usable for r in done),
            "not converged": sum(r.usable and not r.converged for r in done),
            "at a boundary": sum(r.usable and r.converged and bool(r.bounds) for r in done),
            "clean": sum(r.clean for r in done),
        }

    def draws(self, *, clean: bool = False) -> ParameterDraws:
        """The estimates of all usable replicates, or of the clean ones.

        Raises:
            UsageError: there are none.
        """
        kept = [r.w[self.fit.population.free] for r in self.replicates if (r.clean if clean else r.usable)]
        if not kept:
            raise UsageError("no replicate has estimates", code="bootstrap.nothing", rule=_told(self.tally))
        return natural_draws(self.fit.population, np.array(kept), "bootstrap", self.fit.w)

    @property
    def parameters(self) -> pd.DataFrame:
        """One row an estimated parameter.

        Columns: estimate; mean, bias, se and the percentile interval (low, high) and BCa interval over all usable
        replicates; the percentile interval without those that did not converge or ended at a boundary (clean_...).
        """
        free = self.fit.population.free
        draws = self.draws()
        values, estimates = draws.values[:, free], self.fit.estimates[free]
        low, high = np.quantile(values, tails(self.level), axis=0)
        bca = bca_intervals(values, estimates, acceleration(self.fit), self.level)
        kept = self.draws(clean=True).values[:, free] if self.tally["clean"] else np.full((1, free.sum()), np.nan)
        clean_low, clean_high = np.quantile(kept, tails(self.level), axis=0)
        return pd.DataFrame(
            {
                "parameter": [n for n, f in zip(self.fit.population.names, free, strict=True) if f],
                "estimate": estimates,
                "mean": values.mean(0),
                "bias": values.mean(0) - estimates,
                "se": values.std(0, ddof=1) if len(values) > 1 else np.full(len(estimates), np.nan),
                "low": low,
                "high": high,
                "bca_low": bca[0],
                "bca_high": bca[1],
                "clean_low": clean_low,
                "clean_high": clean_high,
            }
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row a replicate: number, objective, whether it converged, outcome, boundaries, then the parameters."""
        rows = []
        for r in self.replicates:
            natural = natural_and_slopes(self.fit.population.layout, r.w)[0]
            values = natural if r.usable else np.full(len(natural), np.nan)
            about = {"replicate": r.number, "objective": r.value, "converged": r.converged, "outcome": r.outcome}
            named = dict(zip(self.fit.population.names, values.tolist(), strict=True))
            rows.append({**about, "boundary": ", ".join(r.bounds), **named})
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        head = f"bootstrap, seed {self.seed}, {len(set(self.strata))} strata: {_told(self.tally)}"
        stopped = " (interrupted)" if self.interrupted else ""
        return f"{head}{stopped}\n{self.parameters.to_string(index=False, float_format=lambda v: f'{v:.4g}')}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the replicates to a .json file, from which `load_bootstrap` goes on."""
        rows = [
            {
                "number": r.number,
                "w": [v if math.isfinite(v) else None for v in r.w.tolist()],
                "value": r.value if math.isfinite(r.value) else None,
                "converged": r.converged,
                "outcome": r.outcome,
                "bounds": list(r.bounds),
            }
            for r in self.replicates
        ]
        whole = {
            "schema": _SCHEMA,
            "seed": self.seed,
            "level": self.level,
            "strata": list(self.strata),
            "estimates": self.fit.estimates.tolist(),
            "replicates": rows,
        }
        Path(path).write_text(json.dumps(whole), encoding="utf-8")


def load_bootstrap(path: str | os.PathLike[str], fit: Fit) -> Bootstrap:
    """Read what `Bootstrap.save` wrote, for the fit that it repeated.

    Raises:
        RecordError: no such file, one that holds no bootstrap, or the bootstrap of another fit.
    """
    try:
        whole = json.loads(Path(path).read_text(encoding="utf-8"))
        if whole["schema"] != _SCHEMA:
            raise ValueError(f"schema {whole['schema']}, not {_SCHEMA}")
        rows = tuple(_replicate(row, fit.w) for row in whole["replicates"])
        found = Bootstrap(fit, int(whole["seed"]), tuple(whole["strata"]), rows, float(whole["level"]))
        estimates = np.array(whole["estimates"], float)
    except OSError as error:
        raise RecordError("the bootstrap cannot be read", where=str(path), rule=error.strerror or "") from error
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(f"this file does not hold a bootstrap ({error})", where=str(path)) from error
    if estimates.shape != fit.estimates.shape or not np.allclose(estimates, fit.estimates, rtol=1e-4, atol=1e-8):
        raise RecordError(
            "this is the bootstrap of another fit",
            code="bootstrap.other-fit",
            where=str(path),
            rule="Replicates go on from the estimates they began from",
        )
    return found


def _replicate(row: dict[str, Any], w: np.ndarray) -> Replicate:
    values = np.array([np.nan if v is None else v for v in row["w"]], float)
    if len(values) != len(w):
        raise ValueError("a replicate has another number of parameters")
    held = np.isnan(values) & ~np.isfinite(w)
    value = float("nan") if row["value"] is None else float(row["value"])
    bounds = tuple(str(name) for name in row["bounds"])
    whole = np.where(held, w, values)
    return Replicate(int(row["number"]), whole, value, bool(row["converged"]), str(row["outcome"]), bounds)


def bootstrap(
    fit: Fit,
    replicates: int = 200,
    *,
    seed: int = 1,
    stratify: Stratify = None,
    level: float = 0.95,
    progress: Told | None = None,
    resume: Bootstrap | None = None,
) -> Bootstrap:
    """Repeat a fit on subjects drawn with replacement.

    Args:
        fit: by an objective (fo, foce, focei, laplace, agq, pooled); every search starts from its estimates.
        replicates: in all, those of `resume` among them.
        seed: a replicate depends on it and on its number only.
        stratify: nothing, a covariate that is constant in a subject, `endpoint`, or a label for every subject:
            subjects are then drawn within their stratum, whose sizes stay.
        level: of the intervals.
        progress: called with the number done and the replicate. A KeyboardInterrupt keeps the replicates done.
        resume: a bootstrap of the same fit, seed and strata, to go on from.

    Raises:
        UsageError: a fit that cannot be searched again, strata within which nothing would be resampled, or a
            bootstrap to go on from that was another.
    """
    if replicates < 1:
        raise UsageError(f"replicates = {replicates}", rule="There is at least one")
    tails(level)
    near = Reestimation(fit, "the bootstrap")
    strata = strata_of(fit, stratify)
    if resume is not None:
        require_resumable(resume, fit, seed, strata)
    done = () if resume is None else resume.replicates
    finished = Bootstrap(fit, seed, strata, done[:replicates], level)
    try:
        for number in range(len(done), replicates):
            found = _repeated(near, strata, seed, number)
            if found is None:
                return replace(finished, interrupted=True)
            finished = replace(finished, replicates=(*finished.replicates, found))
            if progress is not None:
                progress(number + 1, found)
    except KeyboardInterrupt:
        return replace(finished, interrupted=True)
    return finished


def require_resumable(resume: Bootstrap, fit: Fit, seed: int, strata: tuple[str, ...]) -> None:
    """Refuse to go on from a bootstrap of another fit, seed or strata. Raises: UsageError."""
    same = resume.seed == seed and resume.strata == strata and np.array_equal(resume.fit.w, fit.w)
    if not same:
        raise UsageError(
            "the bootstrap to go on from has another fit, seed or strata",
            code="bootstrap.resume",
            rule="Replicate k is decided by them",
            cure="Give the same, or begin anew",
        )


def _repeated(near: Reestimation, strata: tuple[str, ...], seed: int, number: int) -> Replicate | None:
    """One replicate; None when the user interrupted it."""
    found = near.search(weights=resampled(strata, seed, number))
    if found.interrupted:
        return None
    bounds = boundaries(near, found.w) if math.isfinite(found.value) else ()
    return Replicate(number, found.w, found.value, found.converged, found.outcome, bounds)


def boundaries(near: Reestimation, w: np.ndarray) -> tuple[str, ...]:
    """Names of values at a bound, and of variances and bounded values a thousand times nearer to it than in the fit."""
    population, fit = near.fit.population, near.fit
    natural = natural_and_slopes(population.layout, w)[0]
    found = set(at_bounds(near.objective, w))
    for i, name in enumerate(population.names):
        ends = population.thetas[i].search_bounds if i < len(population.thetas) else (0.0, math.inf)
        measured = i < len(population.thetas) or "," not in name
        for end in filter(math.isfinite, ends):
            if population.free[i] and measured and abs(natural[i] - end) < _NEAR * abs(fit.estimates[i] - end):
                found.add(name)
    return tuple(name for name in population.names if name in found)


def acceleration(fit: Fit) -> np.ndarray:
    """[m] the acceleration of BCa of every estimated natural value; NaN where the fit has no proper Hessian."""
    free = fit.population.free
    hessian = fit.found.hessian
    if not np.isfinite(hessian).all():
        return np.full(int(free.sum()), np.nan)
    slopes = natural_and_slopes(fit.population.layout, fit.w)[1][np.ix_(free, free)]
    influence = -slopes @ np.linalg.lstsq(hessian, fit.found.at.gradients[:, free].T, rcond=None)[0]
    square = np.sum(influence**2, axis=1)
    return np.asarray(np.sum(influence**3, axis=1) / (6.0 * np.maximum(square, 1e-300) ** 1.5))


def bca_intervals(values: np.ndarray, estimates: np.ndarray, skew: np.ndarray, level: float) -> np.ndarray:
    """[2, m] bias-corrected and accelerated ends from replicates [R, m]; NaN where all lie on one side.

    ```
    z0 = Phi^-1(share below the estimate),  shares of the ends: Phi(z0 + (z0 + z)/(1 - a (z0 + z)))
    ```
    """
    ends = np.full((2, len(estimates)), np.nan)
    below = (np.sum(values < estimates, axis=0) + 0.5 * np.sum(values == estimates, axis=0)) / len(values)
    for i, share in enumerate(below):
        if 0 < share < 1 and np.isfinite(skew[i]):
            z0 = norm.ppf(share)
            z = z0 + norm.ppf(tails(level))
            ends[:, i] = np.quantile(values[:, i], norm.cdf(z0 + z / (1.0 - skew[i] * z)))
    return ends


def _told(tally: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in tally.items())
