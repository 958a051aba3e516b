"""Goodness of fit: observations against predictions, residuals against time and predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ipex_pd.report.fit_axes import (
    CENSORED,
    identity,
    logarithmic,
    panel,
    points,
    trend,
    zero_line,
)

Numbers = NDArray[np.float64]

NAMES = {
    "PRED": "population prediction",
    "IPRED": "individual prediction",
    "TIME": "time",
    "TAD": "time after dose",
    "CWRES": "CWRES",
    "IWRES": "IWRES",
    "NPDE": "NPDE",
}


def observed_figure(table: pd.DataFrame, prediction: str, *, unit: str = "", log: bool = False) -> Figure:
    """Observations against predictions with the line of identity; censored ones as open triangles at their limit.

    Args:
        table: records of one endpoint (`Diagnostics.table`).
        prediction: `PRED` or `IPRED`.
        unit: of the observations.
        log: logarithmic axes; what is not above 0 is then not shown.
    """
    told = f" [{unit}]" if unit else ""
    figure, axes = panel(f"Observed and {NAMES[prediction]}", f"{NAMES[prediction]}{told}", f"observed{told}")
    x, y, cens = table[prediction].to_numpy(float), table["DV"].to_numpy(float), table["CENS"].to_numpy()
    shown = (x > 0) & (y > 0) if log else np.ones(len(x), bool)
    identity(axes, [x[shown], y[shown]], positive=log)
    points(axes, np.where(shown & (cens == 0), x, np.nan), y)
    points(axes, np.where(shown & (cens != 0), x, np.nan), y, colour=CENSORED, marker="v")
    if log:
        logarithmic(axes, both=True)
    else:
        trend(axes, np.where(cens == 0, x, np.nan), y)
    return figure


def residual_figure(table: pd.DataFrame, residual: str, against: str, *, unit: str = "") -> Figure:
    """Standardised residuals with zero, the range of 95 % of them, and a local regression.

    Args:
        table: records of one endpoint.
        residual: `CWRES`, `IWRES`, `NPDE`, ...
        against: `TIME`, `TAD`, `PRED`, `IPRED`, or a covariate.
        unit: of x.
    """
    below = NAMES.get(against, against) + (f" [{unit}]" if unit else "")
    figure, axes = panel(f"{residual} over {NAMES.get(against, against)}", below, residual)
    x, y = table[against].to_numpy(float), table[residual].to_numpy(float)
    zero_line(axes)
    points(axes, x, y)
    trend(axes, x, y)
    most = np.nanmax(np.abs(y)) if np.isfinite(y).any() else 3.0
    axes.set_ylim(-max(3.0, 1.08 * most), max(3.0, 1.08 * most))
    return figure


def spread_figure(table: pd.DataFrame, *, unit: str = "") -> Figure:
    """|IWRES| against the individual prediction: a trend says that the residual error model is wrong."""
    below = "individual prediction" + (f" [{unit}]" if unit else "")
    figure, axes = panel("|IWRES| over individual prediction", below, "|IWRES|")
    x, y = table["IPRED"].to_numpy(float), np.abs(table["IWRES"].to_numpy(float))
    axes.axhline(np.sqrt(2.0 / np.pi), color="#777777", linewidth=1.0, zorder=1)
    points(axes, x, y)
    trend(axes, x, y)
    axes.set_ylim(bottom=0.0)
    return figure
