"""What full Bayesian estimation found, as one frozen record with tables: draws, what they say of themselves, a verdict.

A posterior is no `Fit`: it has no objective at a minimum, no gradient and no covariance step.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.inference.bayes import EFFECTIVE, ENERGY, R_HAT, NutsOptions, Posterior, nuts
from ipex_pd.inference.draws import posterior_draws
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Population
from ipex_pd.inference.progress import Progress
from ipex_pd.inference.results import SCHEMA
from ipex_pd.inference.settings import settings_for
from ipex_pd.inference.totals import Bound
from ipex_pd.inference.verdict import Reason, Verdict
from ipex_pd.records.draws import ParameterDraws
from ipex_pd.records.plain import plain

_FULL = 0.05


@dataclass(frozen=True, eq=False)
class PosteriorFit:
    """What `fit(..., method="nuts")` returns.

    Attributes:
        bound: the problem and its data.
        population: what was estimated.
        options: of the fit.
        settings: of the sampler.
        posterior: the draws.
        subjects: [S] as in the data.
        verdict: whether to believe them.
        seconds: wall time.
    """

    bound: Bound
    population: Population
    options: FitOptions
    settings: NutsOptions
    posterior: Posterior
    subjects: tuple[Any, ...]
    verdict: Verdict
    seconds: float

    method = "nuts"

    @property
    def interrupted(self) -> bool:
        """Whether the user stopped it."""
        return self.posterior.interrupted

    @property
    def judgement(self) -> str:
        """The verdict in words."""
        if not self.verdict.reasons:
            return "trust: chains agree, enough effective draws, no divergence"
        return str(self.verdict)

    @property
    def parameters(self) -> pd.DataFrame:
        """One row a parameter: mean, SD, median, interval between quantiles, Monte Carlo error, R-hat, effective sizes.

        `mcse` is the SD over the square root of the bulk effective size.
        """
        level, found = self.options.level, self.posterior
        table = self.draws.table(level)
        thetas = self.population.thetas
        units = [t.unit for t in thetas] + ["1"] * (len(table) - len(thetas))
        meanings = [t.meaning for t in thetas] + [""] * (len(table) - len(thetas))
        table.insert(1, "unit", units)
        table.insert(2, "meaning", meanings)
        table["mcse"] = table["sd"] / np.sqrt(found.bulk)
        table["r_hat"], table["ess_bulk"], table["ess_tail"] = found.r_hat, found.bulk, found.tail
        table["fixed"] = ~self.population.free
        return table

    @property
    def draws(self) -> ParameterDraws:
        """All draws of all chains, as planning and intervals read them."""
        return posterior_draws(self.posterior)

    @property
    def draw_table(self) -> pd.DataFrame:
        """One row a draw: chain, draw, diverging, energy, natural values of the parameters."""
        found = self.posterior
        chains, count, size = found.draws.shape
        table = pd.DataFrame(found.draws.reshape(-1, size), columns=list(found.names))
        table.insert(0, "energy", found.energy.reshape(-1))
        table.insert(0, "diverging", found.diverging.reshape(-1))
        table.insert(0, "draw", np.tile(np.arange(1, count + 1), chains))
        table.insert(0, "chain", np.repeat(np.arange(1, chains + 1), count))
        return table

    @property
    def individuals(self) -> pd.DataFrame:
        """[S rows] identifier, posterior mean and SD of every random effect."""
        eta = self.posterior.eta.reshape(-1, *self.posterior.eta.shape[2:])
        table = pd.DataFrame({"id": list(self.subjects)})
        for k, name in enumerate(self.population.eta_names):
            table[name], table[f"sd({name})"] = eta[:, :, k].mean(0), eta[:, :, k].std(0, ddof=1)
        return table

    def to_json(self) -> str:
        """The posterior as JSON: everything but the data and the draws."""
        found = self.posterior
        whole = {
            "schema": SCHEMA,
            "method": self.method,
            "options": asdict(self.options),
            "settings": asdict(self.settings),
            "outcome": found.words,
            "converged": found.converged,
            "verdict": {"level": self.verdict.level, "text": self.judgement},
            "chains": found.draws.shape[0],
            "draws": found.draws.shape[1],
            "divergences": int(found.diverging.sum()),
            "saturated": found.saturated,
            "energy_fraction": found.energy_fraction,
            "priors": list(found.priors),
            "seconds": self.seconds,
            "parameters": self.parameters.to_dict("records"),
            "individuals": self.individuals.to_dict("records"),
        }
        return json.dumps(plain(whole), indent=1, allow_nan=False)

    def __str__(self) -> str:
        interval = f"{100 * self.options.level:g} % interval"
        head = f"NUTS  {self.posterior.words} ({self.seconds:.1f} s)"
        columns = f"{'mean':>11s} {'SD':>10s} {'median':>11s} {interval:>25s} {'MCSE':>9s} {'R-hat':>6s} {'ESS':>6s}"
        lines = [_line(row) for row in self.parameters.to_dict("records")]
        priors = ["priors:", *(f"  {text}" for text in self.posterior.priors)]
        return "\n".join([head, f"{'parameter':24s} {columns}", *lines, *priors, f"verdict: {self.judgement}"])


def sample_posterior(
    bound: Bound,
    options: FitOptions,
    subjects: tuple[Any, ...],
    progress: Progress | None = None,
    start: np.ndarray | None = None,
) -> PosteriorFit:
    """Draw from the posterior of a bound problem.

    Args:
        bound: the problem and its data.
        options: of the fit; its settings are `NutsOptions`.
        subjects: [S] as in the data; numbered when empty.
        progress: told of every block of iterations.
        start: [n] search vector to begin near.

    Raises:
        UsageError: an option that a posterior cannot honour, or numpyro is missing.
    """
    if options.covariance not in ("auto", "none"):
        raise UsageError(
            f"covariance `{options.covariance}` is not offered by nuts",
            code="fit.option",
            rule="R and S belong to a maximised likelihood; a posterior has its draws",
            cure="Write `auto`, or fit with focei",
        )
    begun = time.perf_counter()
    settings = settings_for("nuts", options)
    assert isinstance(settings, NutsOptions)

    found = nuts(bound.population, bound.groups, settings, progress, start)
    names = subjects or tuple(range(1, found.eta.shape[2] + 1))
    seconds = time.perf_counter() - begun
    return PosteriorFit(bound, bound.population, options, settings, found, names, _judge(found), seconds)


def _judge(found: Posterior) -> Verdict:
    reasons = []
    if found.interrupted:
        reasons.append(Reason("do not trust", "the sampling was interrupted"))
    worst, least = float(np.nanmax(found.r_hat)), float(min(np.nanmin(found.bulk), np.nanmin(found.tail)))
    if not worst < R_HAT:
        name = found.names[int(np.nanargmax(found.r_hat))]
        text = f"chains disagree: R-hat of {name} is {worst:.3f} (below {R_HAT:g} wanted); draw more"
        reasons.append(Reason("do not trust", text))
    if not least > EFFECTIVE:
        text = f"smallest effective sample size {least:.0f} (above {EFFECTIVE:g} wanted); draw more"
        reasons.append(Reason("look", text))
    divergences = int(found.diverging.sum())
    if divergences:
        text = f"{divergences} divergent trajectories: part of the posterior may be missed; raise target_accept"
        reasons.append(Reason("do not trust", text))
    if not found.energy_fraction > ENERGY:
        reasons.append(Reason("do not trust", f"E-BFMI is {found.energy_fraction:.2f} (above {ENERGY:g} wanted)"))
    if found.saturated > _FULL:
        text = f"{100 * found.saturated:.0f} % of trees were full: slow, not wrong; raise max_tree_depth"
        reasons.append(Reason("look", text))
    return Verdict(tuple(reasons))


def _line(row: dict[Any, Any]) -> str:
    if row["fixed"]:
        return f"{row['parameter']:24s} {row['mean']:11.5g} {'FIX':>10s}"
    return (
        f"{row['parameter']:24s} {row['mean']:11.5g} {row['sd']:10.4g} {row['median']:11.5g} {row['low']:12.4g} "
        f"{row['high']:12.4g} {row['mcse']:9.2g} {row['r_hat']:6.3f} {row['ess_bulk']:6.0f}"
    )
