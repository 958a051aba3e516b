"""The look that all figures of a fit share: small panels of one size, blue observations, black predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ipex_pd.report.figures import COLOURS, PANEL_INCHES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Numbers = NDArray[np.float64]

OBSERVED, CENSORED, PREDICTED, TREND = COLOURS[2], COLOURS[1], COLOURS[0], COLOURS[1]
INK = "#333333"
FONT = 8.5
_DENSE = 1500


def panel(title: str, below: str, left: str, *, height: float = PANEL_INCHES[1]) -> tuple[Figure, Axes]:
    """A figure of one panel: its title, and what is on its axes."""
    figure = Figure(figsize=(PANEL_INCHES[0], height), layout="constrained")
    axes = figure.add_subplot()
    dress(axes, title, below, left)
    return figure, axes


def grid(rows: int, columns: int, *, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of several small panels, row by row; the size of the whole is that of a panel, but for its height."""
    figure = Figure(figsize=(PANEL_INCHES[0], height), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, k + 1) for k in range(rows * columns)]


def dress(axes: Axes, title: str, below: str, left: str, font: float = FONT) -> None:
    """Title, labels, light grid, no box."""
    axes.set_title(title, fontsize=font + 0.5, loc="left", color="black", fontweight="bold")
    axes.set_xlabel(below, fontsize=font, color=INK)
    axes.set_ylabel(left, fontsize=font, color=INK)
    axes.tick_params(labelsize=font - 0.5, color=INK, labelcolor=INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#777777")
    axes.grid(True, color="#E8E8E8", linewidth=0.6)
    axes.set_axisbelow(True)


def name_figure(figure: Figure, name: str) -> None:
    """Put a name behind the title of the first panel."""
    axes = figure.axes[0]
    text = f"{axes.get_title(loc='left')}: {name}"
    axes.set_title(text, fontsize=FONT + 0.5, loc="left", color="black", fontweight="bold")


def points(axes: Axes, x: Numbers, y: Numbers, *, colour: str = OBSERVED, marker: str = "o", size: float = 9.0) -> None:
    """A cloud of points, drawn as a picture where there are very many."""
    usable = np.isfinite(x) & np.isfinite(y)
    crowded = int(usable.sum()) > _DENSE
    axes.scatter(
        x[usable],
        y[usable],
        s=size if not crowded else 0.5 * size,
        marker=marker,
        facecolor=colour + ("80" if not crowded else "40"),
        edgecolor=colour if not crowded else "none",
        linewidth=0.5,
        rasterized=crowded,
        zorder=2,
    )


def trend(axes: Axes, x: Numbers, y: Numbers) -> None:
    """A local regression through points, where there are enough of them at enough places."""
    usable = np.isfinite(x) & np.isfinite(y)
    if usable.sum() < 12 or len(np.unique(x[usable])) < 5:
        return
    at, level = smooth(x[usable], y[usable])
    axes.plot(at, level, color=TREND, linewidth=1.6, zorder=3)


def smooth(x: Numbers, y: Numbers, share: float = 0.6, count: int = 60) -> tuple[Numbers, Numbers]:
    """Local linear regression with tricube weights over the nearest share of points (W. S. Cleveland, 1979)."""
    at = np.unique(np.quantile(x, np.linspace(0.0, 1.0, count)))
    nearest = max(4, int(np.ceil(share * len(x))))
    level = np.zeros(len(at))
    for k, place in enumerate(at):
        distance = np.abs(x - place)
        width = max(np.partition(distance, min(nearest, len(x)) - 1)[min(nearest, len(x)) - 1], 1e-12) * 1.0001
        weight = np.clip(1.0 - np.minimum(distance / width, 1.0) ** 3, 0.0, 1.0) ** 3
        total = weight.sum()
        middle, mean = (weight @ x) / total, (weight @ y) / total
        spread = weight @ (x - middle) ** 2
        slope = (weight @ ((x - middle) * (y - mean))) / spread if spread > 1e-12 * total else 0.0
        level[k] = mean + slope * (place - middle)
    return at, level


def identity(axes: Axes, values: Sequence[Numbers], *, positive: bool) -> None:
    """The line of identity over the range of the values; a range of its own for logarithmic axes."""
    usable = np.concatenate([v[np.isfinite(v) & ((v > 0) | (not positive))] for v in values])
    if len(usable) == 0:
        return
    low, high = float(usable.min()), float(usable.max())
    margin = (high / low) ** 0.05 if positive else 0.04 * (high - low)
    ends = (low / margin, high * margin) if positive else (low - margin, high + margin)
    axes.plot(ends, ends, color="#777777", linewidth=1.0, zorder=1)
    axes.set_xlim(*ends)
    axes.set_ylim(*ends)


def zero_line(axes: Axes, bounds: Sequence[float] = (-1.96, 1.96)) -> None:
    """Zero, and where 95 % of standard normal values lie."""
    axes.axhline(0.0, color="#777777", linewidth=1.0, zorder=1)
    for bound in bounds:
        axes.axhline(bound, color="#999999", linewidth=0.8, dashes=(4, 3), zorder=1)


def logarithmic(axes: Axes, *, both: bool = False) -> None:
    """A logarithmic value axis (or both axes) with plain numbers."""
    chosen = [axes.yaxis, axes.xaxis] if both else [axes.yaxis]
    axes.set_yscale("log")
    if both:
        axes.set_xscale("log")
    for one in chosen:
        low, high = sorted(one.get_view_interval())
        wide = np.log10(max(high, 1e-300) / max(low, 1e-300))
        one.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if wide < 2.5 else (1.0,), numticks=12))
        one.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        one.set_minor_formatter(NullFormatter())


def spaced(low: float, high: float, share: float = 0.04) -> tuple[float, float]:
    """A range with a margin; a range around the value where there is only one."""
    width = high - low
    margin = share * width if width > 0 else max(0.5 * abs(low), 0.5)
    return low - margin, high + margin
