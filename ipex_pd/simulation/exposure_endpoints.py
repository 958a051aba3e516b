"""Endpoints of drug exposure: trough, peak, area, average and time in the target window, for every drug given.

A trough is a sample of the regimen's monitoring, or the concentration at an output time that is also a dose time
(outputs at a dose time are taken before the dose); the first dose has no trough. A peak needs an output grid that
resolves it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ipex_pd.simulation.endpoints import Endpoint
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import Array, Exposure

PEAK_GRID = 1.0 / 12.0
"""Widest output interval [day] on which a peak is read: assumed, two hours resolve an absorption peak."""

_SAME_TIME = 1e-6


def exposure_endpoints(sim: Simulation) -> tuple[Endpoint, ...]:
    """The endpoints of every drug of the regimen that its grid and tables can answer."""
    return tuple(endpoint for exposure in sim.exposures for endpoint in _of_drug(sim, exposure))


def troughs(sim: Simulation, exposure: Exposure) -> Array:
    """Troughs of a drug in the unit of its concentration, (patient, sample); `nan` where a patient has none."""
    sampled = sim.troughs.rows(exposure.drug)
    if sampled.size:
        return sim.troughs.trough[:, sampled]
    rows = sim.doses.rows(exposure.drug)
    course = sim[exposure.concentration]
    if rows.size == 0:
        return np.empty((len(sim), 0))
    given = np.where(sim.doses.amount[:, rows] > 0, sim.doses.times[:, rows], np.nan)
    return np.stack([_pre_dose(sim.times, course[index], given[index]) for index in range(len(sim))])


def _pre_dose(times: Array, course: Array, doses: Array) -> Array:
    doses = np.unique(doses[np.isfinite(doses)])
    if doses.size < 2:
        return np.full(times.size, np.nan)
    after = np.clip(np.searchsorted(doses, times), 1, doses.size - 1)
    nearest = np.minimum(np.abs(doses[after] - times), np.abs(doses[after - 1] - times))
    return np.where((nearest <= _SAME_TIME) & (times > doses[0] + _SAME_TIME), course, np.nan)


def days_on_drug(sim: Simulation, drug: str) -> Array:
    """First dose, and one usual interval after the last or the horizon [day], (patient, 2); `nan` below two doses."""
    rows = sim.doses.rows(drug)
    given = np.where(sim.doses.amount[:, rows] > 0, sim.doses.times[:, rows], np.nan)
    return np.array([_span(np.sort(row[np.isfinite(row)]), sim.horizon) for row in given], dtype=np.float64)


def _span(doses: Array, horizon: float) -> tuple[float, float]:
    if doses.size < 2:
        return np.nan, np.nan
    return float(doses[0]), float(min(doses[-1] + np.median(np.diff(doses)), horizon))


def _average(sim: Simulation, drug: str, auc: str) -> Array:
    spans = days_on_drug(sim, drug)
    areas = [np.diff(np.interp(span, sim.times, course))[0] for span, course in zip(spans, sim[auc], strict=True)]
    return np.asarray(areas / np.diff(spans, axis=1)[:, 0], dtype=np.float64)


def _row_mean(table: Array) -> Array:
    known = np.isfinite(table)
    total = np.sum(np.where(known, table, 0.0), axis=1)
    mean: Array = np.divide(total, known.sum(axis=1), out=np.full(table.shape[0], np.nan), where=known.any(axis=1))
    return mean


def _mean_trough(exposure: Exposure) -> Callable[[Simulation], Array]:
    return lambda sim: _row_mean(troughs(sim, exposure))


def _in_window(exposure: Exposure) -> Callable[[Simulation], Array]:
    def value(sim: Simulation) -> Array:
        samples = troughs(sim, exposure)
        low, high = exposure.window
        inside = (samples >= low) & (samples <= high)
        return _row_mean(np.where(np.isnan(samples), np.nan, inside.astype(np.float64)))

    return value


def _of_drug(sim: Simulation, exposure: Exposure) -> list[Endpoint]:
    drug, name = exposure.drug, exposure.concentration
    unit = sim.units.get(name, "1")
    found: list[Endpoint] = []
    samples = troughs(sim, exposure) if name in sim else np.empty((len(sim), 0))
    if np.isfinite(samples).any():
        kind = "sampled troughs" if sim.troughs.rows(drug).size else "output times that are dose times, before the dose"
        found.append(
            Endpoint(
                f"trough_{drug}",
                f"{drug}: mean trough",
                unit,
                f"mean of the {kind}",
                "",
                (name,),
                _mean_trough(exposure),
                drug=drug,
            )
        )
        if exposure.has_window:
            window = "{:g} to {:g}".format(*exposure.window) + f" {unit} ({exposure.window_source})"
            found.append(
                Endpoint(
                    f"in_window_{drug}",
                    f"{drug}: troughs in window",
                    "fraction",
                    f"share of the {kind} within {window}",
                    "higher",
                    (name,),
                    _in_window(exposure),
                    drug=drug,
                )
            )
    if sim.times.size > 1 and float(np.max(np.diff(sim.times))) <= PEAK_GRID:
        found.append(
            Endpoint(
                f"peak_{drug}",
                f"{drug}: peak",
                unit,
                "largest concentration at an output time",
                "",
                (name,),
                lambda sim: np.max(sim[name], axis=1),
                drug=drug,
            )
        )
    if exposure.auc:
        found.extend(_area(sim, exposure))
    return found


def _area(sim: Simulation, exposure: Exposure) -> list[Endpoint]:
    drug, auc, unit = exposure.drug, exposure.auc, sim.units.get(exposure.concentration, "1")

    def total(sim: Simulation) -> Array:
        return sim[auc][:, -1] - sim[auc][:, 0]

    found = [
        Endpoint(
            f"auc_{drug}",
            f"{drug}: AUC",
            sim.units.get(auc, f"{unit}*day"),
            "area under the concentration from day 0 to the horizon",
            "",
            (auc,),
            total,
            drug=drug,
        )
    ]
    if sim.doses.rows(drug).size > 1:
        found.append(
            Endpoint(
                f"average_{drug}",
                f"{drug}: average concentration",
                unit,
                "over the days from the first dose to one interval after the last, the area taken between outputs",
                "",
                (auc,),
                lambda sim: _average(sim, drug, auc),
                drug=drug,
            )
        )
    return found
