"""Published cases against the model: what was seen in a child, and what virtual children like him do.

Each shipped patient with observations is simulated from his own start, under the treatment of his report where one is
shipped and untreated otherwise, as virtual children around him. A number of the report is set beside the median and the
middle 90 % of these children on that day; an event beside the day on which it comes to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.library import catalogue, load_parameters, load_patient, load_regimen
from ipex_pd.simulation import measures
from ipex_pd.simulation import thresholds as limit
from ipex_pd.simulation.population import Population, virtual_population
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.tables import Array
from ipex_pd.units import factor, parse_measure

if TYPE_CHECKING:
    from ipex_pd.records.patients import Observation, Patient
    from ipex_pd.records.regimens import Regimen

TREATMENT = {"seidel_2009": "seidel_2009", "magg_2018": "transplant_early_full"}
"""Regimen of a case, by patient; the others are simulated untreated, because their drugs are not published."""

GRAFT_LOST = frozenset({"seidel_2009", "magg_2018"})
"""Cases whose graft was lost but for Treg cells: compared with the virtual children who reject most, one in twenty."""

COLUMNS = ("patient", "quantity", "day", "since", "observed", "model", "low", "high", "unit", "verdict")
_NOT_MODELLED = "not in the model"
_WEEK = 7.0
_ONE_IN = 20


def case_table(n: int = 30, *, seed: int = 1) -> pd.DataFrame:
    """Every numeric observation of the shipped patients, and their diabetes and death, beside the model.

    Args:
        n: virtual children around each patient.
        seed: of the virtual children.

    Returns:
        One row an observation, with the columns of `COLUMNS`: `day` since birth or the transplant; `observed`; `model`,
        `low`, `high` are the median and the middle 90 % of the virtual children, in `unit`. For the onset of diabetes
        `observed` is its day, and the others the days on which it comes (`inf`: not within the time of the report); for
        death `observed` is 1 and the others the probability to have died by that day.
    """
    rows: list[dict[str, object]] = []
    for name in catalogue()["patients"]:
        patient = load_patient(name)
        wanted = [item for item in patient.observations if _compared(item)]
        if wanted:
            rows += _rows(patient, wanted, n, seed)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def case_markdown(table: pd.DataFrame) -> str:
    """The table of `case_table` as Markdown."""
    head = ("patient", "observation", "day", "observed", "model, median (90 %)", "unit", "verdict")
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in table.to_dict("records"):
        model, low, high = (float(row[name]) for name in ("model", "low", "high"))
        middle = "-" if np.isnan(model) else f"{_short(model)} ({_short(low)} to {_short(high)})"
        cells = (row["patient"], row["quantity"], f"{row['day']:g} since {row['since']}", f"{row['observed']:g}")
        lines.append(f"| {' | '.join(map(str, (*cells, middle, row['unit'], row['verdict'])))} |")
    return "\n".join(lines) + "\n"


def _short(value: float) -> str:
    return "not yet" if np.isinf(value) else f"{value:.3g}"


def _compared(item: Observation) -> bool:
    return not isinstance(item.value, str) or item.quantity in _EVENTS


def _rows(patient: Patient, wanted: list[Observation], n: int, seed: int) -> Iterator[dict[str, object]]:
    regimen = load_regimen(TREATMENT.get(patient.name, "untreated"))
    days = [_day(item, patient, regimen) for item in wanted]
    times = np.unique(np.concatenate([np.arange(0.0, max(days) + _WEEK, _WEEK), np.maximum(days, 0.0)]))
    sim = simulate(_children(patient, n, seed), regimen, output_times=times, options=SolverOptions(audit="off"))
    for item, day in zip(wanted, days, strict=True):
        observed, values = _pair(item, sim, day, patient.age)
        middle = [float("nan")] * 3 if values is None else _quantiles(values)
        yield dict(
            zip(
                COLUMNS,
                (patient.name, item.quantity, _since(item), item.since, observed, *middle, _unit(item),
                 _verdict(item, observed, middle)),
                strict=True,
            )
        )  # fmt: skip


def _children(patient: Patient, n: int, seed: int) -> Population:
    if patient.name not in GRAFT_LOST:
        return virtual_population(patient, n, seed=seed)
    everyone = virtual_population(patient, _ONE_IN * n, seed=seed)
    strength = everyone.values(load_parameters("disease")["rejection_rate"])
    return everyone.pick([int(row) for row in np.sort(np.argsort(strength)[-n:])])


def _since(item: Observation) -> float:
    measure = parse_measure(item.time)
    return measure.value * factor(measure.unit, "day")


def _day(item: Observation, patient: Patient, regimen: Regimen) -> float:
    """Day of an observation since the start of the simulation."""
    if item.since == "transplant":
        return _since(item) + regimen.transplants[0].day
    return _since(item) - patient.age


def _unit(item: Observation) -> str:
    return {"diabetes": "day", "death": "probability"}.get(item.quantity, item.unit)


def _pair(item: Observation, sim: Simulation, day: float, age: float) -> tuple[float, Array | None]:
    """What was observed and the same in each virtual child, (patient,); None where the model has no such quantity."""
    if item.quantity == "diabetes":
        return _since(item), _diabetes(sim) + age
    if item.quantity == "death":
        return 1.0, 1.0 - measures.at_time(sim.times, sim["survival"], np.full(len(sim), day))
    observed = float(item.value)
    if item.quantity in _DERIVED:
        course, unit = _DERIVED[item.quantity](sim), _DERIVED_UNITS[item.quantity]
    elif item.quantity in sim:
        course, unit = sim[item.quantity], sim.units[item.quantity]
    else:
        return observed, None
    values = measures.at_time(sim.times, course, np.full(len(sim), max(day, 0.0)))
    return observed, values * factor(unit, item.unit or unit)


def _quantiles(values: Array) -> list[float]:
    """Median, 5 % and 95 %, of sorted values without interpolation, so that `inf` stays `inf`."""
    found = np.quantile(values, [0.5, 0.05, 0.95], method="inverted_cdf")
    return [float(value) for value in found]


def _verdict(item: Observation, observed: float, middle: list[float]) -> str:
    median, low, high = middle
    if np.isnan(median):
        return _NOT_MODELLED
    if item.limit:
        agrees = median > observed if item.limit == "above" else median < observed
        return f"median {'beyond' if agrees else 'short of'} the bound"
    if item.quantity == "death":
        return f"{median:.0%} had died"
    if low <= observed <= high:
        return "within"
    if item.quantity == "diabetes":
        return "model later" if observed < low else "model earlier"
    by = f"{median - observed:+.2g} SD" if item.unit == "SD" else f"{median / observed:.2g} times"
    return f"model {'above' if observed < low else 'below'}, {by}"


def _diabetes(sim: Simulation) -> Array:
    return measures.first_below(sim.times, sim["beta_cell_mass"], limit.DIABETES_MASS.value)


def _treg_count(sim: Simulation) -> Array:
    return np.asarray(sim["treg_percent"] * sim["cd4"] / 100.0, dtype=np.float64)


_EVENTS = frozenset({"diabetes", "death"})
_DERIVED: dict[str, Callable[[Simulation], Array]] = {"regulatory T cells": _treg_count}
_DERIVED_UNITS = {"regulatory T cells": "cells/uL"}
