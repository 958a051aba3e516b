"""diagnose(): everything that is usually asked of a fit before it is believed, as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ipex_pd.errors import IpexError, UsageError
from ipex_pd.inference.binding import BoundProblem
from ipex_pd.inference.diagnostics.npde import NormalTest, Root, normal_test, prediction_errors
from ipex_pd.inference.diagnostics.records import Records, records_of
from ipex_pd.inference.diagnostics.replicates import Replicates, replicate
from ipex_pd.inference.diagnostics.survival import SurvivalCheck, survival_check
from ipex_pd.inference.diagnostics.tables import (
    individual_table,
    population_predictions,
    record_table,
    shrinkage_table,
)
from ipex_pd.inference.diagnostics.vpc import Correction, Vpc, visual_check
from ipex_pd.inference.results import Fit
from ipex_pd.records.endpoints import Continuous

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class DiagnosticOptions:
    """How a fit is checked.

    Attributes:
        replicates: how many simulated datasets.
        seed: of all draws.
        against: x of the visual predictive checks: `time`, `time_after_dose`, `prediction`, or a covariate.
        bins: of x: a number, edges, or None for automatic ones.
        stratify: the checks by this covariate, or `occasion`.
        level: of the intervals of simulated percentiles.
        limits: endpoint -> lower limit of quantification, where the data do not say it.
        root: decorrelation of NPDE; see `npde.prediction_errors`.
    """

    replicates: int = 300
    seed: int = 20240
    against: str = "time"
    bins: int | tuple[float, ...] | None = None
    stratify: str = ""
    level: float = 0.95
    limits: Mapping[str, float] = field(default_factory=dict)
    root: Root = "cholesky"

    def __post_init__(self) -> None:
        if self.replicates < 20:
            raise UsageError(f"{self.replicates} replicates", rule="A check needs 20 at least, better 300 or more")
        if not 0 < self.level < 1:
            raise UsageError(f"the level {self.level:g}", rule="It lies between 0 and 1, such as 0.95")
        if self.root not in ("cholesky", "symmetric"):
            raise UsageError(f"`{self.root}` is not a root", rule="Write `cholesky` or `symmetric`")


@dataclass(frozen=True, eq=False)
class Diagnostics:
    """How well a fit describes its data.

    Attributes:
        fit: what was checked.
        options: how.
        records: what was counted.
        replicates: simulated datasets; None without a measured endpoint.
        table: one row a record (`tables.record_table`).
        individuals: one row a subject (`tables.individual_table`).
        shrinkage: SD and variance shrinkage [%].
        npde_tests: one row a measured endpoint: mean, variance and tests of NPDE.
        checks, corrected_checks: visual predictive checks of the measured endpoints, plain and prediction-corrected.
        survival_checks: of the event endpoints.
        notes: what was not done, or needs to be known to read the rest.
    """

    fit: Fit
    options: DiagnosticOptions
    records: Records
    replicates: Replicates | None
    table: pd.DataFrame
    individuals: pd.DataFrame
    shrinkage: pd.DataFrame
    npde_tests: pd.DataFrame
    checks: tuple[Vpc, ...]
    corrected_checks: tuple[Vpc, ...]
    survival_checks: tuple[SurvivalCheck, ...]
    notes: tuple[str, ...]


def diagnose(fit: Fit, options: DiagnosticOptions | None = None) -> Diagnostics:
    """Check a fit against its data: residuals, prediction errors, visual predictive checks, shrinkage.

    The dataset is simulated again from the estimates (new subjects and residuals, the same design). Figures of the
    result are in `ipex_pd.report.fit_figures`; `write_fit_report` writes all of it as one page.

    Args:
        fit: of a problem with its data.
        options: number of replicates, seed, what to plot against, bins, strata.

    Returns:
        Tables: `table` (one row a record: PRED, IPRED, CWRES, NPDE, ...), `individuals`, `shrinkage`, `npde_tests`,
        `checks`, `corrected_checks`, `survival_checks`; and `notes`.

    Raises:
        UsageError: an option that cannot be honoured, or a fit that was not bound to a dataset.
        RecordError: censored records with several limits, and no limit for the others.
        SimulationError: a simulated record is not finite.
    """
    chosen = options or DiagnosticOptions()
    if not isinstance(fit.bound, BoundProblem):
        raise UsageError("this fit has no dataset", rule="Diagnostics need the rows of the data", cure="Fit a problem")
    bound = fit.bound
    records = records_of(bound, chosen.limits)
    measured = [n for n, e in bound.problem.endpoints.items() if isinstance(e, Continuous)]
    events = [n for n in bound.endpoint_names if n not in measured]
    notes = _notes(records)
    simulated = replicate(records, fit.w, chosen.replicates, seed=chosen.seed) if measured else None
    errors = None if simulated is None else prediction_errors(simulated, root=chosen.root)
    table = record_table(fit, records, errors)
    if errors is not None and not errors.whole.all():
        lost = ", ".join(bound.subjects[int(i)].id for i in np.flatnonzero(~errors.whole)[:8])
        notes.append(f"NPDE is missing for subjects whose simulated covariance is singular: {lost}")
    checks, corrected = [], []
    for name in measured:
        assert simulated is not None
        own = _checks(simulated, population_predictions(fit, records), name, chosen)
        checks.append(own[0])
        corrected += own[1:]
        if own[-1].left_out:
            notes.append(f"{own[-1].left_out} records of {name} with a prediction of 0 are not in the corrected check")
    survivals = []
    for name in events:
        try:
            survivals.append(_survival(records, fit, name, chosen))
        except IpexError as error:
            notes.append(f"{name} has no Kaplan-Meier check: {error}")
    return Diagnostics(
        fit=fit,
        options=chosen,
        records=records,
        replicates=simulated,
        table=table,
        individuals=individual_table(fit, records),
        shrinkage=shrinkage_table(fit, records),
        npde_tests=_tests(table, measured),
        checks=tuple(checks),
        corrected_checks=tuple(corrected),
        survival_checks=tuple(survivals),
        notes=tuple(notes),
    )


def _checks(simulated: Replicates, population: Numbers, name: str, options: DiagnosticOptions) -> list[Vpc]:
    """The plain check and, where predictions vary, the corrected one."""
    own = population[simulated.records.of_endpoint(name)]
    corrections: list[Correction] = ["none", "difference" if (own < 0).any() else "ratio"]
    bins: int | Sequence[float] | None = options.bins
    return [
        visual_check(
            simulated,
            population,
            endpoint=name,
            x=options.against,
            bins=bins,
            stratify=options.stratify,
            correction=correction,
            level=options.level,
        )
        for correction in corrections
    ]


def _survival(records: Records, fit: Fit, name: str, options: DiagnosticOptions) -> SurvivalCheck:
    stratify = "" if options.stratify == "occasion" else options.stratify
    return survival_check(
        records,
        fit.w,
        endpoint=name,
        count=options.replicates,
        seed=options.seed,
        stratify=stratify,
        level=options.level,
    )


def _tests(table: pd.DataFrame, measured: Sequence[str]) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for name in measured:
        found = normal_test(table.loc[table["ENDPOINT"].eq(name), "NPDE"].to_numpy(float))
        rows.append({"endpoint": name, **found._asdict()})
    return pd.DataFrame(rows, columns=["endpoint", *NormalTest._fields])


def _notes(records: Records) -> list[str]:
    notes = []
    for name, endpoint in records.bound.problem.endpoints.items():
        if isinstance(endpoint, Continuous) and endpoint.censoring == "m1":
            notes.append(
                f"{name}: censored records were left out of the fit (M1); they are in no check either, so that "
                "simulated values near the limit have no counterpart in the data"
            )
    imputed = int((records.cens[records.continuous] != 0).sum())
    if imputed:
        notes.append(f"{imputed} censored records have no residuals; their NPDE are drawn by the cdf method")
    return notes
