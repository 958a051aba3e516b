"""Numbers of simulations and comparisons as rows for people and as plain data for machines."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ipex_pd.simulation.measures import incidence
from ipex_pd.simulation.questions import competing_deaths
from ipex_pd.simulation.thresholds import DIABETES_MASS, HYPOTHYROID_MASS, SCARRED_KIDNEY

if TYPE_CHECKING:
    import pandas as pd

    from ipex_pd.planning.comparison import Comparison
    from ipex_pd.simulation.results import Simulation

LOW_PERCENTILE, HIGH_PERCENTILE = 5.0, 95.0
DAYS_PER_YEAR = 365.25


class Band(NamedTuple):
    """Median and 5-95 % range over patients."""

    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def band(values: NDArray[np.float64]) -> Band:
    """Median and range over the first axis (patients); patients without a number are left out.

    Args:
        values: shape (patient, ...).
    """
    levels = [LOW_PERCENTILE, 50.0, HIGH_PERCENTILE]
    if np.isfinite(values).all():
        low, median, high = np.percentile(values, levels, axis=0)
        return Band(median, low, high)
    usable = np.where(np.isfinite(values), values, np.nan)
    if not np.isfinite(usable).any():
        empty = np.full(values.shape[1:], np.nan)
        return Band(empty, empty, empty)
    low, median, high = np.nanpercentile(usable, levels, axis=0)
    return Band(median, low, high)


def number(value: float, scale: float | None = None) -> str:
    """Three significant digits of the value, or of the largest number it stands beside.

    Args:
        value: what is shown.
        scale: the largest number beside it, so that all of them get the same decimals.
    """
    if not math.isfinite(value):
        return "–"
    largest = abs(value) if scale is None else scale
    if largest == 0:
        return "0"
    magnitude = math.floor(math.log10(largest))
    if magnitude >= 6 or magnitude < -4:
        return f"{value:.2e}"
    text = f"{value:,.{max(0, 2 - magnitude)}f}"
    if float(text.replace(",", "")) == 0:
        return "0"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace(",", "\u202f").replace("-", "\u2212")


class Cell(NamedTuple):
    """What is shown of one endpoint under one regimen: a middle, its interval, and how much patients differ."""

    middle: str
    spread: str = ""
    interval: str = ""

    def __str__(self) -> str:
        return f"{self.middle} ({self.spread})" if self.spread else self.middle


def cell(median: float, low: float, high: float) -> Cell:
    """``median (low to high)``; the median alone where all patients agree or only one was simulated."""
    if not math.isfinite(median):
        return Cell("not reached" if median == math.inf else "–")
    ends = [abs(end) for end in (low, median, high) if math.isfinite(end)]
    if low == median == high or not math.isfinite(low):
        return Cell(number(median))
    scale = max(ends)
    upper = "not reached" if high == math.inf else number(high, scale)
    if number(low, scale) == number(median, scale) == upper:
        return Cell(number(median))
    return Cell(number(median, scale), f"{number(low, scale)} to {upper}")


def plain_name(name: str) -> str:
    """``prednisolone_tacrolimus`` as ``prednisolone tacrolimus``."""
    return name.replace("_", " ")


class Row(NamedTuple):
    """One endpoint over several regimens."""

    label: str
    unit: str
    cells: tuple[Cell, ...]


def endpoint_rows(comparison: Comparison) -> list[Row]:
    """One row an endpoint, one cell a regimen: the mean of shares, the median of all else, and the patients' range.

    Endpoints that no regimen can answer are left out.
    """
    return _pivot(comparison.endpoints, list(comparison.regimens), _endpoint_cell, "%")


def difference_rows(comparison: Comparison) -> list[Row]:
    """Paired differences from the reference: their mean, its bootstrap interval, and the patients' range."""
    return _pivot(comparison.differences, list(comparison.regimens)[1:], _difference_cell, "% points")


def _endpoint_cell(row: dict[Hashable, Any]) -> Cell:
    if row["unit"] == "fraction":
        return cell(100 * row["mean"], 100 * row["low"], 100 * row["high"])
    return cell(row["median"], row["low"], row["high"])


def _difference_cell(row: dict[Hashable, Any]) -> Cell:
    scale = 100 if row["unit"] == "fraction" else 1
    mean, *spread, low, high = (scale * row[key] for key in ("mean", "low", "high", "mean_low", "mean_high"))
    known = math.isfinite(low) and low != high
    largest = max(abs(mean), abs(low), abs(high)) if known else 0.0
    interval = f"{number(low, largest)} to {number(high, largest)}" if known else ""
    return cell(mean, *spread)._replace(interval=interval)


def _pivot(
    table: pd.DataFrame, names: Sequence[str], show: Callable[[dict[Hashable, Any]], Cell], share: str
) -> list[Row]:
    rows = []
    for endpoint, group in table.groupby("endpoint", sort=False):
        known = {str(record["regimen"]): show(record) for record in group.to_dict("records")}
        cells = tuple(known.get(name, Cell("–")) for name in names)
        if any(item.middle != "–" for item in cells):
            unit = str(group["unit"].iloc[0])
            shown = share if unit == "fraction" else plain_unit(unit)
            rows.append(Row(_label(str(endpoint), group), shown, cells))
    return rows


def plain_unit(unit: str) -> str:
    """A unit as it is shown: nothing for pure numbers."""
    return "" if unit in {"", "1", "fraction"} else unit


def _label(endpoint: str, group: pd.DataFrame) -> str:
    return str(group["label"].iloc[0]) or plain_name(endpoint)


def endpoint_meanings(comparison: Comparison) -> list[tuple[str, str]]:
    """Each endpoint with the sentence that defines it, once."""
    groups = comparison.endpoints.groupby("endpoint", sort=False)
    return [(_label(str(endpoint), group), str(group["meaning"].iloc[0])) for endpoint, group in groups]


def simulation_summary(simulation: Simulation) -> dict[str, Any]:
    """A simulation as plain data: times, median and range of every quantity, endpoints, and how it was computed."""
    courses = {}
    for name in simulation.quantities:
        middle = band(np.asarray(simulation[name], dtype=float))
        courses[name] = {
            "unit": simulation.units[name],
            "meaning": simulation.meanings.get(name, ""),
            "median": middle.median.tolist(),
            "low": middle.low.tolist(),
            "high": middle.high.tolist(),
        }
    return {
        "patients": list(simulation.patients),
        "times": {"unit": "day", "values": np.asarray(simulation.times).tolist()},
        "range": f"{LOW_PERCENTILE:g}-{HIGH_PERCENTILE:g} % of patients",
        "quantities": courses,
        "endpoints": simulation.endpoints().to_dict("records"),
        "route": list(simulation.route),
        "error": np.asarray(simulation.error).tolist(),
        "alive": np.asarray(simulation.alive).tolist(),
        "warnings": list(simulation.warnings),
    }


def summary_rows(simulation: Simulation) -> tuple[list[str], list[list[str]]]:
    """Column titles and rows: every quantity at the start, in the middle and at the end."""
    times = np.asarray(simulation.times)
    picks = sorted({0, len(times) // 2, len(times) - 1})
    columns = ["quantity", "unit", *(f"{times[i] / DAYS_PER_YEAR:.1f} years" for i in picks)]
    rows = []
    for name in simulation.quantities:
        middle = band(np.asarray(simulation[name], dtype=float))
        cells = [str(cell(middle.median[i], middle.low[i], middle.high[i])) for i in picks]
        rows.append([name, simulation.units[name], *cells])
    return columns, rows


def causes_of_death(simulation: Simulation) -> dict[str, float]:
    """Expected deaths by cause at the end, as a share of all children, competing risks accounted for."""
    hazards = {cause: hazard[simulation.alive] for cause, hazard in competing_deaths(simulation).items()}
    return {cause: float(np.mean(incidence(hazards, cause)[:, -1])) for cause in hazards}


def organ_free_survival(simulation: Simulation) -> NDArray[np.float64]:
    """Probability to be alive with beta cells, thyroid and kidney kept, (patient, time)."""
    kept = (
        (simulation["beta_cell_mass"] >= DIABETES_MASS.value)
        & (simulation["thyroid_mass"] >= HYPOTHYROID_MASS.value)
        & (simulation["renal_scarring"] <= SCARRED_KIDNEY.value)
    )
    return np.asarray(simulation["survival"] * kept, dtype=np.float64)
