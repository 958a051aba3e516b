"""Simulation and estimation: whether a fit finds the values that made the data.

Each replicate draws a dataset of the problem's own design from the truth, starts the search elsewhere, and fits as
anybody would. Told are bias, root mean square error, and how often the intervals hold the truth.
"""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
import pandas as pd

from ipex_pd.errors import IpexError, UsageError, nearest_hint
from ipex_pd.inference.estimation import bound_of, fit, population_for
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Population
from ipex_pd.inference.recovery_data import redrawn, require_drawable
from ipex_pd.records.cohort_problems import CohortProblem
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.simulation.draws import normals

if TYPE_CHECKING:
    from ipex_pd.inference.recovery_data import AnyBound

OPTIONS = FitOptions(restarts=0, level=0.9)
"""Of the fits of a study."""
_POLL_SECONDS = 0.5

Problem = EstimationProblem | CohortProblem


@dataclass(frozen=True)
class Trial:
    """One replicate.

    Attributes:
        number: from 0; with the seed it says which data were drawn.
        estimates, errors, low, high: natural values by name: estimate, standard error, interval; NaN without one.
        objective, start_objective: -2 log likelihood, without what transforms add.
        converged, outcome, verdict: of the fit.
        covariance: `done`, or why there is none.
        seconds: wall time.
        failure: why there are no estimates; empty when there are.
    """

    number: int
    estimates: Mapping[str, float]
    errors: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    objective: float
    start_objective: float
    converged: bool
    outcome: str
    verdict: str
    covariance: str
    seconds: float
    failure: str = ""

    @property
    def usable(self) -> bool:
        """Whether the fit ended as it should, with estimates."""
        return not self.failure and self.converged

    def to_data(self) -> dict[str, Any]:
        """As plain data; what is not finite is None."""
        return {name: _plain(value) for name, value in vars(self).items()}


def trial_of(data: Mapping[str, Any]) -> Trial:
    """A replicate from the data of `Trial.to_data`. Raises: UsageError."""
    try:
        return Trial(**{name: _restored(value) for name, value in data.items()})
    except TypeError as error:
        raise UsageError(f"this is no replicate of a study ({error})", code="recovery.trial") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(v) for name, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _restored(v) for name, v in value.items()}
    return math.nan if value is None else value


@dataclass(frozen=True, eq=False)
class Recovery:
    """A study.

    Attributes:
        problem: its name.
        method: of the fits.
        truth: natural values that made the data, of what is estimated.
        seed: of all draws.
        moved: how far starts were moved, standard deviations on the search scale.
        level: of the intervals.
        trials: those done, by number.
        interrupted: by the user.
    """

    problem: str
    method: str
    truth: Mapping[str, float]
    seed: int
    moved: float
    level: float
    trials: tuple[Trial, ...]
    interrupted: bool = False

    @property
    def usable(self) -> tuple[Trial, ...]:
        """Replicates whose fit ended as it should."""
        return tuple(trial for trial in self.trials if trial.usable)

    @property
    def tally(self) -> dict[str, int]:
        """How many replicates there are, and what became of them."""
        done = self.trials
        return {
            "replicates": len(done),
            "failed": sum(bool(t.failure) for t in done),
            "not converged": sum(not t.failure and not t.converged for t in done),
            "without standard errors": sum(t.usable and t.covariance != "done" for t in done),
            "not to be trusted": sum(t.usable and t.verdict == "do not trust" for t in done),
        }

    @property
    def table(self) -> pd.DataFrame:
        """One row a parameter, over usable replicates; coverage over those with standard errors.

        Columns: truth; mean; bias and its Monte Carlo error; relative_bias and its error [%]; rmse; sd of the estimates
        and mean_se, the mean standard error; coverage and its binomial error [%]; intervals, how many.
        """
        return pd.DataFrame([self._row(name, truth) for name, truth in self.truth.items()])

    def _row(self, name: str, truth: float) -> dict[str, Any]:
        values = np.array([t.estimates[name] for t in self.usable])
        known = [t for t in self.usable if math.isfinite(t.low[name]) and math.isfinite(t.high[name])]
        held = np.array([t.low[name] <= truth <= t.high[name] for t in known], float)
        count, several = len(values), len(values) > 1
        mean = float(values.mean()) if count else math.nan
        sd = float(values.std(ddof=1)) if several else math.nan
        error = sd / math.sqrt(count) if count else math.nan
        share = float(held.mean()) if len(held) else math.nan
        percent = 100.0 / abs(truth) if truth else math.nan
        return {
            "parameter": name,
            "truth": truth,
            "mean": mean,
            "bias": mean - truth,
            "bias_error": error,
            "relative_bias": percent * (mean - truth),
            "relative_bias_error": percent * error,
            "rmse": math.sqrt(float(((values - truth) ** 2).mean())) if count else math.nan,
            "sd": sd,
            "mean_se": float(np.mean([t.errors[name] for t in known])) if known else math.nan,
            "coverage": 100.0 * share,
            "coverage_error": 100.0 * math.sqrt(share * (1.0 - share) / len(held)) if len(held) else math.nan,
            "intervals": len(held),
        }

    @property
    def replicates(self) -> pd.DataFrame:
        """One row a replicate: what became of it, then the estimates."""
        about = ("number", "objective", "start_objective", "converged", "outcome", "verdict", "seconds", "failure")
        return pd.DataFrame([{**{n: getattr(t, n) for n in about}, **t.estimates} for t in self.trials])

    def to_json(self) -> str:
        """The study as JSON, without its replicates."""
        whole = {
            "problem": self.problem,
            "method": self.method,
            "seed": self.seed,
            "moved": self.moved,
            "level": self.level,
            "interrupted": self.interrupted,
            "tally": self.tally,
            "seconds": sum(t.seconds for t in self.trials),
            "parameters": [{n: _plain(v) for n, v in row.items()} for row in self.table.to_dict("records")],
        }
        return json.dumps(whole, indent=1, allow_nan=False)

    def __str__(self) -> str:
        said = ", ".join(f"{count} {name}" for name, count in self.tally.items())
        percent = f"{100 * self.level:g} %"
        head = f"{self.problem} by {self.method}, seed {self.seed}: {said}"
        width = max([9, *(len(name) for name in self.truth)])
        columns = f"{'truth':>9s} {'mean':>9s} {'bias %':>14s} {'RMSE':>9s} {'SD':>9s} {'mean SE':>9s}"
        lines = [f"{'parameter':{width}s} {columns} {'held by ' + percent + ' interval':>24s}"]
        for row in self.table.to_dict("records"):
            bias = f"{row['relative_bias']:.1f} +- {row['relative_bias_error']:.1f}"
            held = f"{row['coverage']:.0f} +- {row['coverage_error']:.0f} % of {row['intervals']}"
            numbers = " ".join(f"{row[n]:9.4g}" for n in ("rmse", "sd", "mean_se"))
            lines.append(
                f"{row['parameter']:{width}s} {row['truth']:9.4g} {row['mean']:9.4g} {bias:>14s} {numbers} {held:>24s}"
            )
        note = "bias and coverage +- their Monte Carlo standard errors; SD of the estimates over replicates"
        return "\n".join([head, *lines, note])


@dataclass(frozen=True, eq=False)
class Study:
    """What every replicate of a study shares.

    Attributes:
        bound: the problem with its data, of which only the design is used.
        method, options: of the fits.
        seed: of all draws.
        moved: how far starts are moved.
    """

    bound: AnyBound
    method: str
    options: FitOptions
    seed: int
    moved: float

    @property
    def population(self) -> Population:
        """As the method estimates it."""
        return population_for(self.bound.population, self.method)

    @property
    def truth(self) -> dict[str, float]:
        """Natural values of what is estimated."""
        population = self.population
        values = np.asarray(population.layout.natural(jnp.asarray(population.start))).tolist()
        named = zip(population.names, values, population.free, strict=True)
        return {name: value for name, value, free in named if free}

    def start(self, number: int) -> np.ndarray:
        """[n] where the search of a replicate starts: the truth, every free entry moved at random."""
        population = self.population
        sizes = np.ones(len(population.start))
        open_ended = [not np.isfinite(theta.search_bounds).any() for theta in population.thetas]
        natural = np.flatnonzero(open_ended)
        sizes[natural] = np.where(population.start[natural] == 0, 1.0, np.abs(population.start[natural]))
        away = normals(self.seed, f"recovery/{number}/start", np.arange(len(sizes)))
        return np.where(population.free, population.start + self.moved * sizes * away, population.start)

    def trial(self, number: int) -> Trial:
        """One replicate; a fit that fails is told, never raised."""
        begun = time.perf_counter()
        try:
            made = redrawn(self.bound, self.bound.population.start, number, self.seed)
            found = fit(made, self.method, self.options, start=self.start(number))
        except (IpexError, np.linalg.LinAlgError) as error:
            none = dict.fromkeys(self.truth, math.nan)
            seconds = time.perf_counter() - begun
            nothing = (math.nan, math.nan, False, "failed", "", "")
            return Trial(number, none, none, none, none, *nothing, seconds, f"{type(error).__name__}: {error}")
        if found.found.interrupted:
            raise KeyboardInterrupt
        rows = {row["parameter"]: row for row in found.parameters.to_dict("records")}
        columns = {c: {name: float(rows[name][c]) for name in self.truth} for c in ("estimate", "se", "low", "high")}
        return Trial(
            number=number,
            estimates=columns["estimate"],
            errors=columns["se"],
            low=columns["low"],
            high=columns["high"],
            objective=float(found.value),
            start_objective=float(found.found.start),
            converged=bool(found.found.converged),
            outcome=found.found.outcome,
            verdict=found.verdict.level,
            covariance=found.covariance.outcome,
            seconds=time.perf_counter() - begun,
        )


def recover(
    problem: Problem | AnyBound,
    replicates: int = 50,
    *,
    seed: int = 1,
    method: str = "focei",
    options: FitOptions = OPTIONS,
    moved: float = 0.2,
    processes: int = 1,
    done: Sequence[Trial] = (),
    progress: Callable[[int, Trial], None] | None = None,
) -> Recovery:
    """Draw data from a problem's start values and fit them, again and again.

    Args:
        problem: as loaded, or bound to its data; of the data only the design counts.
        replicates: in all, those done among them.
        seed: a replicate depends on it and on its number only.
        method: of `fit`, with estimates and intervals.
        options: of every fit; `level` is that of the intervals.
        moved: standard deviation of the distance of a start from the truth, on the search scale (log for most).
        processes: how many work at a time; with several the problem must be one that was loaded.
        done: replicates of the same study, to go on from.
        progress: called with the number done and the replicate. A KeyboardInterrupt keeps the replicates done.

    Raises:
        UsageError: a method without one set of estimates, records that cannot be drawn, or numbers without meaning.
    """
    if replicates < 1 or processes < 1 or not moved >= 0:
        raise UsageError("replicates and processes are at least 1, and `moved` is not negative", code="recovery.number")
    refused = ("map", "nuts", "two_stage")
    if method in refused:
        raise UsageError(f"`{method}` has no population estimates to judge here", code="recovery.method")
    bound: Any = bound_of(problem)
    require_drawable(bound)
    study = Study(bound, method, options, seed, moved)
    trials = {trial.number: trial for trial in done if trial.number < replicates}
    for trial in trials.values():
        _require_same(trial, study.truth)
    left = [number for number in range(replicates) if number not in trials]
    interrupted = False
    try:
        for trial in _worked(study, problem, left, processes):
            trials[trial.number] = trial
            if progress is not None:
                progress(len(trials), trial)
    except KeyboardInterrupt:
        interrupted = True
    kept = tuple(trials[number] for number in sorted(trials))
    named = getattr(getattr(bound, "problem", None), "name", "")
    return Recovery(named, method, study.truth, seed, moved, options.level, kept, interrupted)


def _require_same(trial: Trial, truth: Mapping[str, float]) -> None:
    for name in truth:
        if name not in trial.estimates:
            raise UsageError(
                f"replicate {trial.number} has no `{name}`",
                code="recovery.resume",
                rule=nearest_hint(name, list(trial.estimates)),
                cure="Go on with the problem that the study began with, or begin anew",
            )


def _worked(study: Study, problem: Problem | AnyBound, numbers: Sequence[int], processes: int) -> Iterator[Trial]:
    """Replicates as they are finished."""
    if processes == 1 or len(numbers) < 2:
        for number in numbers:
            yield study.trial(number)
        return
    if not isinstance(problem, EstimationProblem | CohortProblem):
        raise UsageError("several processes need the problem as loaded, not bound", code="recovery.processes")
    given = (problem, replace(study, bound=None))  # type: ignore[arg-type]
    pool = multiprocessing.get_context("spawn").Pool(min(processes, len(numbers)), _prepared, given)
    try:
        found = pool.imap_unordered(_one, numbers)
        for _ in numbers:
            yield _next(found)
    finally:
        pool.terminate()
        pool.join()


def _next(found: Any) -> Trial:
    """The next replicate; waited for in short pieces, so that Ctrl-C is heard."""
    while True:
        try:
            trial: Trial = found.next(timeout=_POLL_SECONDS)
        except multiprocessing.TimeoutError:
            continue
        return trial


_shared: list[Study] = []


def _prepared(problem: Problem, study: Study) -> None:
    """In a process of its own: bind the problem once. Ctrl-C reaches the program alone, which ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        os.setsid()
    bound: Any = bound_of(problem)
    _shared[:] = [replace(study, bound=bound)]


def _one(number: int) -> Trial:
    return _shared[0].trial(number)
