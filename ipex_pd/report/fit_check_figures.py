"""Checks by simulation: visual predictive checks, censored shares, survival, prediction errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from ipex_pd.inference.diagnostics.survival import SurvivalCheck
from ipex_pd.inference.diagnostics.vpc import PERCENTILES, Vpc
from ipex_pd.report.figures import COLOURS
from ipex_pd.report.fit_axes import CENSORED, OBSERVED, PREDICTED, dress, grid, logarithmic, panel, points

Numbers = NDArray[np.float64]

_BANDS = (COLOURS[2], COLOURS[1], COLOURS[2])
_DASHES = ((4, 2), (), (4, 2))
WORDS = {"time": "time", "time_after_dose": "time after dose", "prediction": "population prediction"}


def check_figure(
    check: Vpc, stratum: str = "", *, unit: str = "", x_unit: str = "", log: bool = False, title: str = ""
) -> Figure:
    """Observed percentiles (lines) over the intervals of the simulated ones (bands), and the observations.

    Args:
        check: what `visual_check` returned.
        stratum: which.
        unit, x_unit: of the observations and of x.
        log: logarithmic value axis.
        title: what stands above; by default what kind of check it is.
    """
    kind = "VPC" if check.correction == "none" else "Prediction-corrected VPC"
    below = WORDS.get(check.x, check.x) + (f" [{x_unit}]" if x_unit else "")
    left = ("corrected " if check.correction != "none" else "") + "observation" + (f" [{unit}]" if unit else "")
    figure, axes = panel((title or kind) + (f": {stratum}" if stratum else ""), below, left, height=2.9)
    table = check.table[check.table["stratum"] == stratum]
    shown = check.points[check.points["stratum"] == stratum]
    y = shown["y"].to_numpy(float)
    if log:
        logarithmic(axes)
    points(axes, shown["x"].to_numpy(float), np.where((y > 0) | (not log), y, np.nan), colour="#6E6E6E", size=6)
    for q, colour, dashes in zip(PERCENTILES, _BANDS, _DASHES, strict=True):
        part = table[table["percentile"] == q]
        low, high = part["low"].to_numpy(float), part["high"].to_numpy(float)
        _band(axes, part, low, high, colour)
        axes.plot(part["x"], part["observed"], color=PREDICTED, linewidth=1.5, dashes=dashes or (None, None), zorder=4)
    if log:
        usable = np.concatenate([y[y > 0], table["high"][table["high"] > 0], table["low"][table["low"] > 0]])
        if len(usable):
            axes.set_ylim(usable.min() / 1.15, usable.max() * 1.15)
        logarithmic(axes)
    return figure


def _band(axes: object, part: pd.DataFrame, low: Numbers, high: Numbers, colour: str) -> None:
    """The interval of a percentile; a box over the bin where there is only one bin."""
    x = part["x"].to_numpy(float)
    if len(x) == 1:
        x, low, high = part[["from", "to"]].to_numpy(float)[0], np.repeat(low, 2), np.repeat(high, 2)
    axes.fill_between(x, low, high, color=colour, alpha=0.28, linewidth=0, zorder=3)  # type: ignore[attr-defined]


def censored_figure(check: Vpc, side: int = 1, stratum: str = "", *, x_unit: str = "") -> Figure:
    """The share of records below (side 1) or above (-1) their limit: observed line over the simulated interval."""
    where = "below" if side == 1 else "above"
    below = WORDS.get(check.x, check.x) + (f" [{x_unit}]" if x_unit else "")
    title = f"Share {where} the limit" + (f": {stratum}" if stratum else "")
    figure, axes = panel(title, below, f"share {where} the limit", height=2.1)
    own = (check.censored["stratum"] == stratum) & (check.censored["side"] == side)
    part = check.censored[own]
    _band(axes, part, part["low"].to_numpy(float), part["high"].to_numpy(float), CENSORED)
    axes.plot(part["x"], part["median"], color=CENSORED, linewidth=1.0, zorder=3)
    axes.plot(part["x"], part["observed"], color=PREDICTED, linewidth=1.5, marker="o", markersize=3, zorder=4)
    axes.set_ylim(-0.03, 1.03)
    return figure


def survival_figure(check: SurvivalCheck, stratum: str = "", *, x_unit: str = "") -> Figure:
    """The Kaplan-Meier curve of the data (steps; ticks: left without event) over the band of replicates."""
    title = f"Without {check.endpoint}" + (f": {stratum}" if stratum else "")
    figure, axes = panel(title, "time" + (f" [{x_unit}]" if x_unit else ""), "share without event", height=2.7)
    table = check.table[check.table["stratum"] == stratum]
    time = table["time"].to_numpy(float)
    low, high = table["low"].to_numpy(float), table["high"].to_numpy(float)
    axes.fill_between(time, low, high, step="post", color=OBSERVED, alpha=0.25, linewidth=0)
    axes.step(time, table["median"], where="post", color=OBSERVED, linewidth=1.0)
    axes.step(time, table["observed"], where="post", color=PREDICTED, linewidth=1.5)
    marks = check.marks[check.marks["stratum"] == stratum]["time"].to_numpy(float)
    if len(marks):
        heights = table["observed"].to_numpy(float)[np.clip(np.searchsorted(time, marks), 0, len(time) - 1)]
        axes.plot(marks, heights, linestyle="none", marker="|", color=PREDICTED, markersize=5)
    axes.set_ylim(-0.03, 1.03)
    axes.set_xlim(0.0, max(float(time.max(initial=0.0)), 1e-9) * 1.02)
    return figure


def errors_figure(errors: Numbers) -> Figure:
    """The distribution of NPDE: histogram with the standard normal density, and quantiles."""
    usable = np.sort(errors[np.isfinite(errors)])
    figure, (left, right) = grid(1, 2, height=2.1)
    dress(left, "NPDE", "", "")
    left.hist(usable, bins=min(25, max(6, int(np.sqrt(len(usable))))), density=True, facecolor=OBSERVED + "60",
              edgecolor=OBSERVED, linewidth=0.6)  # fmt: skip
    at = np.linspace(-3.6, 3.6, 121)
    left.plot(at, stats.norm.pdf(at), color=PREDICTED, linewidth=1.3)
    left.set_yticks([])
    dress(right, "Quantiles", "standard normal", "")
    count = len(usable)
    place = np.arange(1, count + 1)
    expected = stats.norm.ppf((place - 0.5) / count)
    bounds = [stats.norm.ppf(stats.beta.ppf(p, place, count - place + 1)) for p in (0.025, 0.975)]
    right.fill_between(expected, *bounds, color="#BBBBBB", alpha=0.5, linewidth=0)
    right.plot([-3.6, 3.6], [-3.6, 3.6], color="#777777", linewidth=1.0)
    points(right, expected, usable)
    return figure
