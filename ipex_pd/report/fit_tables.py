"""Tables of a fit as texts for people: parameters, shrinkage, counts, strong correlations, prediction errors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ipex_pd.inference.diagnostics.summary import Diagnostics
from ipex_pd.inference.results import Fit
from ipex_pd.records.endpoints import Continuous
from ipex_pd.report.tables import number

_STRONG = 0.9
NOTHING = "–"


class ParameterRow(NamedTuple):
    """One parameter as it is shown."""

    name: str
    meaning: str
    unit: str
    estimate: str
    se: str
    rse: str
    interval: str
    cv: str
    shrinkage: str


class Section(NamedTuple):
    """Parameters of one kind."""

    title: str
    rows: list[ParameterRow]


def parameter_sections(fit: Fit) -> list[Section]:
    """Typical values, random effects and residual errors, each in the order of the problem."""
    table = fit.parameters
    roles = {theta.name: theta.role for theta in fit.population.thetas}
    kinds = [roles.get(name, "random") for name in table["parameter"]]
    titles = {
        "structural": "Typical values",
        "covariate": "Covariate effects",
        "random": "Random effects (variances and covariances)",
        "residual": "Residual error",
    }
    found = []
    for kind, title in titles.items():
        rows = [_parameter(row) for row, own in zip(table.to_dict("records"), kinds, strict=True) if own == kind]
        if rows:
            found.append(Section(title, rows))
    return found


def _parameter(row: dict[Any, Any]) -> ParameterRow:
    known = math.isfinite(row["se"]) and not row["fixed"]
    interval = f"{figure(row['low'])} to {figure(row['high'])}" if known else NOTHING
    return ParameterRow(
        name=row["parameter"],
        meaning=row["meaning"],
        unit="" if row["unit"] == "1" else row["unit"],
        estimate=figure(row["estimate"]),
        se="FIX" if row["fixed"] else figure(row["se"]),
        rse=figure(row["rse_percent"], 3) if known else NOTHING,
        interval=interval,
        cv=figure(row["cv_percent"], 3),
        shrinkage=figure(row["shrinkage_percent"], 3),
    )


def figure(value: float, digits: int = 4) -> str:
    """A number with significant digits; a dash where there is none."""
    if not math.isfinite(value):
        return NOTHING
    text = f"{value:.{digits}g}"
    if "e" in text:
        return text.replace("-", "\u2212")
    whole, _, part = text.partition(".")
    wanted = digits - len(whole.lstrip("-").lstrip("0")) if whole.lstrip("-") != "0" else 0
    text = f"{value:.{max(wanted, 0)}f}" if wanted > 0 and part else text
    return text.replace("-", "\u2212")


def footnotes(fit: Fit) -> list[str]:
    """How the columns of the parameter table are computed."""
    level = f"{100 * fit.options.level:g} %"
    on_log = [t.name for t in fit.population.thetas if t.scale == "log" and not t.fixed]
    on_logit = [t.name for t in fit.population.thetas if t.scale == "logit" and not t.fixed]
    told = [
        f"{level} interval: estimate plus and minus a normal quantile times the standard error on the scale of the "
        "parameter (logarithm for variances), transformed back.",
        "RSE = SE/estimate; of parameters on a log scale sqrt(exp(SE²) − 1) with the SE there.",
        "IIV CV % = 100 sqrt(exp(ω²) − 1), for log-normal individual values.",
        "Shrinkage = 100 (1 − SD(η)/ω) over the subjects; of residuals 100 (1 − SD(IWRES)).",
        "FIX: not estimated.",
    ]
    if on_log:
        told.append(f"On a log scale: {', '.join(on_log)}.")
    if on_logit:
        told.append(f"On a logit scale: {', '.join(on_logit)}.")
    covariance = fit.covariance
    if covariance.done:
        kinds = {"sandwich": "R⁻¹ S R⁻¹", "r": "R⁻¹ (R: half the Hessian of the objective)", "s": "S⁻¹"}
        told.append(f"Standard errors from {kinds.get(covariance.kind, covariance.kind)}.")
    else:
        told.append(f"No standard errors: {covariance.outcome}.")
    return told


def count_rows(diagnostics: Diagnostics) -> list[list[str]]:
    """Endpoint, subjects, records, below and above limits (with shares), first and last time."""
    records = diagnostics.records
    rows = []
    for name, endpoint in records.bound.problem.endpoints.items():
        own = records.of_endpoint(name)
        cens, count = records.cens[own], int(own.sum())
        if isinstance(endpoint, Continuous):
            low, high = (int((cens == side).sum()) for side in (1, -1))
            shares = [f"{k} ({100 * k / count:.1f} %)" if k else "0" for k in (low, high)]
        else:
            shares = [f"{int((records.dv[own] == 1).sum())} events", NOTHING]
        time = records.time[own]
        ends = f"{number(float(time.min()))} to {number(float(time.max()))}"
        rows.append([name, str(len(np.unique(records.subject[own]))), str(count), *shares, ends])
    return rows


def shrinkage_rows(table: pd.DataFrame) -> list[list[str]]:
    """Name, SD shrinkage, variance shrinkage."""
    return [
        [str(row["name"]), figure(row["sd_percent"], 3), figure(row["vr_percent"], 3)]
        for row in table.to_dict("records")
    ]


def error_rows(table: pd.DataFrame) -> list[list[str]]:
    """Endpoint, records, mean and variance of NPDE with standard errors, p values."""
    return [
        [
            str(row["endpoint"]),
            str(int(row["records"])),
            f"{figure(row['mean'], 2)} ({figure(row['mean_se'], 2)})",
            f"{figure(row['variance'], 2)} ({figure(row['variance_se'], 2)})",
            *(_p(row[name]) for name in ("p_mean", "p_variance", "p_shape", "p_global")),
        ]
        for row in table.to_dict("records")
    ]


def _p(value: float) -> str:
    if not math.isfinite(value):
        return NOTHING
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def strong_correlations(fit: Fit) -> list[str]:
    """Pairs of estimates whose correlation is beyond 0.9."""
    if not fit.covariance.done:
        return []
    correlation, names = fit.covariance.correlation, fit.covariance.names
    return [
        f"{names[i]} and {names[j]}: {figure(float(correlation[i, j]), 3)}"
        for i in range(len(names))
        for j in range(i)
        if abs(correlation[i, j]) > _STRONG
    ]
