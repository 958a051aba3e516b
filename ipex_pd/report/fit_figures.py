"""All figures of a fit by section, each with its text alternative."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ipex_pd.inference.diagnostics.summary import Diagnostics
from ipex_pd.inference.diagnostics.tables import curves
from ipex_pd.inference.diagnostics.vpc import Vpc
from ipex_pd.records.endpoints import Continuous
from ipex_pd.report.fit_axes import name_figure
from ipex_pd.report.fit_check_figures import censored_figure, check_figure, errors_figure, survival_figure
from ipex_pd.report.fit_effect_figures import covariate_figure, effect_figure, pair_figure
from ipex_pd.report.fit_individual_figures import PAGE, gradient_figure, individual_figures, trace_figure
from ipex_pd.report.fit_residual_figures import observed_figure, residual_figure, spread_figure

Drawn = list[tuple[str, Figure]]
Numbers = NDArray[np.float64]

MOST_PAGES = 8
_MOST_PAIRS = 9
_MOST_RELATIONS = 16


def fit_figures(diagnostics: Diagnostics) -> dict[str, Drawn]:
    """Every figure of a fit by section, each with its text alternative.

    Args:
        diagnostics: what `diagnose` returned.

    Returns:
        Sections `predictions`, `residuals`, `individuals`, `effects`, `covariates`, `errors`, `checks`, `search`.
    """
    return {
        "predictions": _of_each(diagnostics, _predictions),
        "residuals": _of_each(diagnostics, _residuals),
        "individuals": _individuals(diagnostics),
        "effects": _effects(diagnostics),
        "covariates": _covariates(diagnostics),
        "errors": _of_each(diagnostics, _errors),
        "checks": _checks(diagnostics),
        "search": _search(diagnostics),
    }


def _of_each(diagnostics: Diagnostics, draw: Callable[[Diagnostics, str], Drawn]) -> Drawn:
    """Figures of every measured endpoint; where there are several, their titles say of which."""
    names = _measured(diagnostics)
    found: Drawn = []
    for name in names:
        drawn = draw(diagnostics, name)
        for _, figure in drawn if len(names) > 1 else ():
            name_figure(figure, name)
        found += drawn
    return found


def _measured(diagnostics: Diagnostics) -> list[str]:
    endpoints = diagnostics.records.bound.problem.endpoints
    return [name for name, endpoint in endpoints.items() if isinstance(endpoint, Continuous)]


def _endpoint(diagnostics: Diagnostics, name: str) -> Continuous:
    endpoint = diagnostics.records.bound.problem.endpoints[name]
    assert isinstance(endpoint, Continuous)
    return endpoint


def _of(diagnostics: Diagnostics, name: str) -> pd.DataFrame:
    return diagnostics.table[diagnostics.records.of_endpoint(name)]


def _time_unit(diagnostics: Diagnostics) -> str:
    return diagnostics.records.bound.problem.data.time_unit


def _logarithmic(endpoint: Continuous) -> bool:
    """Whether an endpoint is seen best on a logarithmic axis: its error grows with it."""
    positive = endpoint.scale is not None and endpoint.scale.positive
    return positive or endpoint.error.model in ("proportional", "power", "exponential")


def _predictions(diagnostics: Diagnostics, name: str) -> Drawn:
    table, unit = _of(diagnostics, name), _endpoint(diagnostics, name).unit
    found: Drawn = []
    for prediction in ("PRED", "IPRED"):
        told = f"Observed {name} against {'population' if prediction == 'PRED' else 'individual'} predictions"
        found.append((told, observed_figure(table, prediction, unit=unit)))
        if (table["DV"] > 0).mean() > 0.9 and (table[prediction] > 0).mean() > 0.5:
            found.append((f"{told}, logarithmic", observed_figure(table, prediction, unit=unit, log=True)))
    return found


def _residuals(diagnostics: Diagnostics, name: str) -> Drawn:
    table, unit, time = _of(diagnostics, name), _endpoint(diagnostics, name).unit, _time_unit(diagnostics)
    over = [("TIME", time), ("PRED", unit)]
    after = table["TAD"].to_numpy(float)
    if np.isfinite(after).any() and not np.allclose(after, table["TIME"].to_numpy(float), equal_nan=True):
        over.insert(1, ("TAD", time))
    found = [
        (f"CWRES of {name} over {x}", residual_figure(table, "CWRES", x, unit=own))
        for x, own in over
        if np.isfinite(table[x]).any()
    ]
    found.append((f"Absolute IWRES of {name} over IPRED", spread_figure(table, unit=unit)))
    return found


def _individuals(diagnostics: Diagnostics) -> Drawn:
    names = _measured(diagnostics)
    if not names:
        return []
    lines = curves(diagnostics.fit, diagnostics.records)
    found: Drawn = []
    for name in names:
        own = diagnostics.records.of_endpoint(name)
        pages = individual_figures(
            diagnostics.table[own],
            diagnostics.records.subject[own],
            lines[lines["ENDPOINT"].eq(name)],
            log=_logarithmic(_endpoint(diagnostics, name)),
        )
        found += [
            (f"{name}: observations and predictions of subjects {PAGE * k + 1} and following", page)
            for k, page in enumerate(pages)
        ]
    return found


def _pooled(diagnostics: Diagnostics) -> Iterator[tuple[str, Numbers, int]]:
    """Random effects that vary: name, modes (of all occasions together), and place of the first."""
    population = diagnostics.fit.population
    sd = np.sqrt(np.diagonal(population.unpack(diagnostics.fit.w)[1]))
    names = [name.split("[")[0] for name in population.eta_names]
    for name in dict.fromkeys(names):
        places = [k for k, own in enumerate(names) if own == name]
        if sd[places[0]] > 0:
            values = diagnostics.individuals[[population.eta_names[k] for k in places]].to_numpy(float)
            yield name, values.ravel(), places[0]


def _effects(diagnostics: Diagnostics) -> Drawn:
    fit = diagnostics.fit
    omega = fit.population.unpack(fit.w)[1]
    found: Drawn = []
    singles = []
    for name, values, place in _pooled(diagnostics):
        sd = float(np.sqrt(omega[place, place]))
        usable = values[np.isfinite(values)]
        shrinkage = 100.0 * (1.0 - float(usable.std(ddof=1)) / sd) if len(usable) > 1 else float("nan")
        found.append((f"Distribution of {name}", effect_figure(name, values, sd, shrinkage)))
        if fit.population.eta_names[place] == name:
            singles.append((name, values, place))
    pairs = sorted(itertools.combinations(singles, 2), key=lambda pair: -abs(_related(pair[0][1], pair[1][1])))
    for (first, x, i), (second, y, j) in pairs[:_MOST_PAIRS]:
        found.append((f"{second} against {first}", pair_figure(first, second, x, y, omega[np.ix_((i, j), (i, j))])))
    return found


def _covariates(diagnostics: Diagnostics) -> Drawn:
    units = {name: covariate.unit for name, covariate in diagnostics.records.bound.problem.data.covariates.items()}
    effects = diagnostics.fit.population.eta_names
    chosen = [
        (effect, name, values, diagnostics.individuals[name].to_numpy(float))
        for effect, values, place in _pooled(diagnostics)
        if effects[place] == effect
        for name in units
        if diagnostics.individuals[name].nunique() > 1
    ]
    chosen.sort(key=lambda item: -abs(_related(item[2], item[3])))
    return [
        (f"{effect} against {name}", covariate_figure(effect, name, eta, values, unit=units[name]))
        for effect, name, eta, values in chosen[:_MOST_RELATIONS]
    ]


def _related(x: Numbers, y: Numbers) -> float:
    usable = np.isfinite(x) & np.isfinite(y)
    if usable.sum() < 3 or x[usable].std() == 0 or y[usable].std() == 0:
        return 0.0
    return float(np.corrcoef(x[usable], y[usable])[0, 1])


def _errors(diagnostics: Diagnostics, name: str) -> Drawn:
    table, time = _of(diagnostics, name), _time_unit(diagnostics)
    if not np.isfinite(table["NPDE"]).any():
        return []
    unit = _endpoint(diagnostics, name).unit
    return [
        (f"Distribution of NPDE of {name}", errors_figure(table["NPDE"].to_numpy(float))),
        (f"NPDE of {name} over time", residual_figure(table, "NPDE", "TIME", unit=time)),
        (f"NPDE of {name} over population predictions", residual_figure(table, "NPDE", "PRED", unit=unit)),
    ]


def _checks(diagnostics: Diagnostics) -> Drawn:
    found: Drawn = []
    for check in (*diagnostics.checks, *diagnostics.corrected_checks):
        for stratum in dict.fromkeys(check.table["stratum"]):
            found += _check(diagnostics, check, str(stratum))
    for survival in diagnostics.survival_checks:
        for stratum in dict.fromkeys(survival.table["stratum"]):
            told = f"Kaplan-Meier curve of {survival.endpoint} {stratum}".rstrip()
            figure = survival_figure(survival, str(stratum), x_unit=_time_unit(diagnostics))
            found.append((f"{told}, observed and simulated", figure))
    return found


def _check(diagnostics: Diagnostics, check: Vpc, stratum: str) -> Drawn:
    endpoint = _endpoint(diagnostics, check.endpoint)
    unit = _time_unit(diagnostics) if check.x in ("time", "time_after_dose") else ""
    kind = "Visual predictive check" if check.correction == "none" else "Prediction-corrected check"
    told = f"{kind} of {check.endpoint} {stratum}".rstrip()
    log = _logarithmic(endpoint) and check.correction != "difference"
    found: Drawn = [(told, check_figure(check, stratum, unit=endpoint.unit, x_unit=unit, log=log))]
    several = len(_measured(diagnostics)) > 1
    if check.correction == "none":
        sides = check.censored.loc[check.censored["stratum"].eq(stratum), "side"].unique()
        for side in sides:
            figure = censored_figure(check, int(side), stratum, x_unit=unit)
            found.append((f"Share of {check.endpoint} beyond the limit {stratum}".rstrip(), figure))
    for _, figure in found if several else ():
        name_figure(figure, check.endpoint)
    return found


def _search(diagnostics: Diagnostics) -> Drawn:
    fit = diagnostics.fit
    free = fit.population.free
    found: Drawn = []
    if len(fit.trace) > 1:
        found.append(("Objective along the search", trace_figure(fit.trace)))
    if free.any() and np.isfinite(fit.found.at.gradient).all():
        names = [name for name, own in zip(fit.population.names, free, strict=True) if own]
        found.append(("Gradient at the end", gradient_figure(names, fit.found.at.gradient[free])))
    return found
