"""Observations and predictions subject by subject, and how the search went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from ipex_pd.report.fit_axes import CENSORED, OBSERVED, PREDICTED, dress, grid, logarithmic, panel, points

Numbers = NDArray[np.float64]

PAGE = 6
_DECADE = 10.0


def individual_figures(
    table: pd.DataFrame, subject: NDArray[np.int64], curves: pd.DataFrame, *, log: bool = False
) -> list[Figure]:
    """Pages of six subjects each: observations, individual (line) and population (dashed) predictions.

    Args:
        table: records of one endpoint (`Diagnostics.table`).
        subject: number of the subject of each of these records.
        curves: predictions between records of the same endpoint (`diagnostics.tables.curves`).
        log: logarithmic value axis for subjects whose values span more than a decade.
    """
    who = np.unique(subject)
    pages = []
    for start in range(0, len(who), PAGE):
        chosen = who[start : start + PAGE]
        rows = -(-len(chosen) // 2)
        figure, axes = grid(rows, 2, height=0.35 + 1.4 * rows)
        for spot, one in zip(axes, chosen, strict=False):
            own, line = table[subject == one], curves[curves["subject"] == one]
            dress(spot, str(own["ID"].iloc[0]), "", "", font=7.5)
            x, y, cens = (own[name].to_numpy(float) for name in ("TIME", "DV", "CENS"))
            spot.plot(line["TIME"], line["PRED"], color="#888888", linewidth=1.0, dashes=(4, 2))
            spot.plot(line["TIME"], line["IPRED"], color=PREDICTED, linewidth=1.2)
            points(spot, np.where(cens == 0, x, np.nan), y)
            points(spot, np.where(cens != 0, x, np.nan), y, colour=CENSORED, marker="v")
            spot.xaxis.set_major_locator(MaxNLocator(4))
            if log and _wide(np.concatenate([y, line["IPRED"].to_numpy(float)])):
                logarithmic(spot)
            else:
                spot.yaxis.set_major_locator(MaxNLocator(4))
        for spare in axes[len(chosen) :]:
            spare.set_axis_off()
        pages.append(figure)
    return pages


def _wide(values: Numbers) -> bool:
    """Whether positive values span more than a decade."""
    positive = values[values > 0]
    return len(positive) > 1 and float(positive.max() / positive.min()) > _DECADE


def trace_figure(values: Sequence[float]) -> Figure:
    """The objective along the search, as what was still to be gained (logarithmic)."""
    figure, axes = panel("Objective along the search", "step", "objective above its end")
    left = np.asarray(values, float) - min(values)
    shown = np.maximum(left, 1e-6)
    axes.plot(np.arange(len(left)), shown, color=OBSERVED, linewidth=1.4)
    axes.set_yscale("log")
    return figure


def gradient_figure(names: Sequence[str], gradient: Numbers) -> Figure:
    """Entries of the gradient at the end, each on the search scale of its parameter."""
    figure, axes = panel("Gradient at the end", "absolute value", "", height=max(1.6, 0.6 + 0.19 * len(names)))
    axes.barh(np.arange(len(names)), np.maximum(np.abs(gradient), 1e-12), color=OBSERVED + "90", height=0.6)
    axes.set_yticks(np.arange(len(names)), list(names))
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=5))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = np.abs(gradient).min(initial=1.0), np.abs(gradient).max(initial=1e-12)
    axes.set_xlim(max(low, 1e-12) / 10.0, max(high, 1e-12) * 10.0)
    axes.grid(False, axis="y")
    return figure
