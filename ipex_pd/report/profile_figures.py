"""Figures of likelihood profiles: how the objective rises as one parameter is held away from its estimate."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ipex_pd.report.fit_axes import OBSERVED, panel

if TYPE_CHECKING:
    from ipex_pd.inference.profiles import Profile, Profiles

_ABOVE = 2.0


def profile_figures(found: Profiles) -> list[tuple[str, Figure]]:
    """A figure a parameter, with its text alternative.

    Dots are the rise of the objective, minimised over all other parameters; between them its signed root, which is
    nearly linear, is joined. The dashed line is the rise at the ends of the interval, which are marked; a line that
    stays below it on one side is a parameter that the data do not bound there.

    Args:
        found: what `profile` returned.
    """
    return [_figure(one, found.rise, found.level) for one in found.profiles]


def _figure(one: Profile, rise: float, level: float) -> tuple[str, Figure]:
    figure, axes = panel(f"Profile of {one.name}", one.name, "rise of the objective")
    kept = one.points[one.points["converged"].astype(bool)]
    values, rises = kept["value"].to_numpy(float), kept["rise"].to_numpy(float)
    roots = np.sign(values - one.estimate) * np.sqrt(np.maximum(rises, 0.0))
    between = np.linspace(values.min(), values.max(), 200)
    axes.plot(between, np.interp(between, values, roots) ** 2, color=OBSERVED, linewidth=1.3)
    axes.plot(values, rises, "o", color=OBSERVED, markersize=3)
    axes.axhline(rise, color="#555555", linewidth=1.0, linestyle=(0, (4, 3)))
    axes.axvline(one.estimate, color="#555555", linewidth=0.8)
    for end in (one.low, one.high):
        if end.outcome == "found" and math.isfinite(end.value):
            axes.plot([end.value], [rise], "|", color="#111111", markersize=12)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.set_ylim(min(0.0, float(np.min(rises, initial=0.0))), _ABOVE * rise)
    ends = f"{level:.0%} interval: {one.low.text}; {one.high.text}"
    return f"Likelihood profile of {one.name}; {ends}", figure
