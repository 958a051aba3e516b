"""Figures as small panels: one quantity each, told apart by letter, colour and line style, so that grey print reads.

Every panel is a figure of its own, drawn at a fixed physical size: a page lays them out side by side on paper and one
below the other on a phone, and the letters keep their size. matplotlib's object interface is used, nothing global.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import matplotlib
import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from ipex_pd.report.tables import DAYS_PER_YEAR, Band, band

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ipex_pd.simulation.results import Simulation

Array = NDArray[np.float64]

# Okabe and Ito's palette without its yellow, which is lost on white paper.
COLOURS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#7F7F7F")
DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2), (2, 1.5), (7, 2, 1.5, 2), (1, 1), (4, 1, 1, 1, 1, 1))
PANEL_INCHES = (3.5, 2.55)
WEEKS_PER_YEAR = DAYS_PER_YEAR / 7.0
_INK = "#333333"
_FONT = 8.5
_POINTS = 160


class Style(NamedTuple):
    """How one regimen looks in every figure."""

    letter: str
    colour: str
    dashes: tuple[float, ...]


class Course(NamedTuple):
    """One line of a panel with its band: style, times [year], and what is drawn at them."""

    style: Style
    years: Array
    band: Band


def styles(names: Sequence[str]) -> dict[str, Style]:
    """A letter, colour and line style for every regimen, in order."""
    return {name: Style(_letter(i), COLOURS[i % len(COLOURS)], DASHES[i % len(DASHES)]) for i, name in enumerate(names)}


def _letter(index: int) -> str:
    quotient, rest = divmod(index, 26)
    return (chr(ord("A") + quotient - 1) if quotient else "") + chr(ord("A") + rest)


def course(simulation: Simulation, quantity: str, style: Style) -> Course:
    """The median and range of a quantity under one regimen, thinned to what a panel can show."""
    keep = _thinned(simulation)
    return Course(style, simulation.times[keep] / DAYS_PER_YEAR, band(simulation[quantity][simulation.alive][:, keep]))


def trough_course(simulation: Simulation, quantity: str, style: Style) -> Course:
    """The median and range of a concentration at whole days, where the first dose of the day is still to come."""
    whole = np.isclose(simulation.times % 1.0, 0.0)
    keep = np.flatnonzero(whole if whole.any() else np.ones_like(whole))
    keep = keep[_spaced(keep.size)]
    return Course(style, simulation.times[keep] / DAYS_PER_YEAR, band(simulation[quantity][simulation.alive][:, keep]))


def share_course(simulation: Simulation, shares: Array, style: Style) -> Course:
    """The expected share of children (mean over patients) and the range of the patients' own probabilities.

    Args:
        simulation: where the times come from.
        shares: probabilities, (patient, time).
        style: how it looks.
    """
    keep = _thinned(simulation)
    values = shares[simulation.alive][:, keep]
    middle = band(values)
    expected = values.mean(axis=0) if values.shape[0] else middle.median
    return Course(style, simulation.times[keep] / DAYS_PER_YEAR, Band(expected, middle.low, middle.high))


def _thinned(simulation: Simulation) -> NDArray[np.intp]:
    return _spaced(simulation.times.size)


def _spaced(count: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).round().astype(np.intp))


def course_panel(
    title: str,
    unit: str,
    courses: Sequence[Course],
    *,
    log: bool = False,
    limits: tuple[float, float] | None = None,
    window: tuple[float, float] | None = None,
    bands: float = 0.08,
    weeks: bool = False,
) -> Figure:
    """Medians with faint 5-95 % bands, one line a regimen, each labelled with its letter at its end.

    Args:
        title: what is shown.
        unit: its unit, empty for shares.
        courses: one for each regimen.
        log: logarithmic value axis.
        limits: fixed value axis.
        window: target range, drawn as a hatched strip.
        bands: opacity of the bands; 0 leaves them out.
        weeks: times are shown in weeks instead of years.
    """
    if weeks:
        courses = [one._replace(years=one.years * WEEKS_PER_YEAR) for one in courses]
    figure, axes = _panel(title, unit, "weeks since the start" if weeks else "years since the start")
    for one in courses:
        middle = one.band
        axes.fill_between(one.years, middle.low, middle.high, color=one.style.colour, alpha=bands, linewidth=0)
        _line(axes, one.years, middle.median, one.style)
    if window is not None:
        axes.axhspan(*window, facecolor="none", edgecolor="#888888", hatch="////", linewidth=0.6, alpha=0.5, zorder=0)
    _scale(axes, courses, log, limits)
    _label_ends(axes, [(c.style, float(c.years[-1]), float(c.band.median[-1])) for c in courses])
    return figure


def highlight_panel(title: str, courses: Sequence[Course], chosen: Style, *, unit: str = "") -> Figure:
    """One regimen with its band, the others as thin grey lines behind it; for shares between 0 and 1."""
    figure, axes = _panel(title, unit)
    for one in courses:
        middle = one.band
        if one.style == chosen:
            axes.fill_between(one.years, middle.low, middle.high, color=chosen.colour, alpha=0.22, linewidth=0)
            _line(axes, one.years, middle.median, chosen)
        else:
            axes.plot(one.years, middle.median, color="#B0B0B0", linewidth=0.7, zorder=1)
    _scale(axes, courses, False, (0.0, 1.0))
    own = next(c for c in courses if c.style == chosen)
    _label_ends(axes, [(chosen, float(own.years[-1]), float(own.band.median[-1]))])
    return figure


def cause_panel(title: str, shares: dict[str, dict[str, float]], look: dict[str, Style]) -> Figure:
    """Expected deaths by cause: one horizontal bar a regimen, causes told apart by shade and hatching.

    Args:
        title: what is shown.
        shares: regimen -> cause -> share of all children.
        look: regimen -> style, for the letters.
    """
    figure = Figure(figsize=(2 * PANEL_INCHES[0], 1.1 + 0.33 * len(shares)), layout="constrained")
    axes = figure.add_subplot()
    dress(axes, title, "deaths expected among 100 children")
    causes = list(dict.fromkeys(cause for split in shares.values() for cause in split))
    hatches = ("", "////", "....", "xxxx", "\\\\\\\\", "oo", "--")
    left = np.zeros(len(shares))
    for index, cause in enumerate(causes):
        width = np.array([100 * split.get(cause, 0.0) for split in shares.values()])
        axes.barh(
            range(len(shares)),
            width,
            left=left,
            height=0.62,
            label=cause,
            facecolor=COLOURS[(index + 1) % len(COLOURS)] + "66",
            edgecolor=_INK,
            linewidth=0.6,
            hatch=hatches[index % len(hatches)],
        )
        left = left + width
    axes.set_yticks(range(len(shares)), [look[name].letter for name in shares])
    axes.tick_params(axis="y", length=0, labelsize=_FONT + 1)
    axes.invert_yaxis()
    axes.set_xlim(0, max(5.0, min(100.0, float(left.max(initial=0.0)) * 1.08)))
    axes.legend(
        fontsize=_FONT, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=min(5, len(causes))
    )
    return figure


def to_svg(figure: Figure, name: str) -> str:
    """A figure as an SVG element to be put into a page; the same figure always gives the same text.

    Args:
        figure: the figure.
        name: unique within the page; keeps the identifiers of two figures apart.
    """
    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path", "path.simplify_threshold": 0.5}):
        FigureCanvasSVG(figure)  # type: ignore[no-untyped-call]
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def _panel(title: str, unit: str, below: str = "years since the start") -> tuple[Figure, Axes]:
    figure = Figure(figsize=PANEL_INCHES)
    axes = figure.add_axes((0.125, 0.165, 0.835, 0.725))
    dress(axes, title, below)
    if unit:
        axes.set_title(f"[{unit}]", fontsize=_FONT, loc="right", color=_INK)
    return figure, axes


def dress(axes: Axes, title: str, below: str) -> None:
    """Title, axis label, letters and grid as in every figure."""
    axes.set_title(title, fontsize=_FONT + 1, loc="left", color="black", fontweight="bold")
    axes.set_xlabel(below, fontsize=_FONT, color=_INK)
    axes.tick_params(labelsize=_FONT, color=_INK, labelcolor=_INK, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#777777")
    axes.grid(True, color="#E4E4E4", linewidth=0.6)
    axes.set_axisbelow(True)


def _line(axes: Axes, years: Array, median: Array, style: Style) -> None:
    axes.plot(years, median, color=style.colour, linewidth=1.5, dashes=style.dashes or (None, None), zorder=3)


def _scale(axes: Axes, courses: Sequence[Course], log: bool, limits: tuple[float, float] | None) -> None:
    end = max((float(c.years[-1]) for c in courses), default=1.0)
    axes.set_xlim(0, end * 1.07)
    if log:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=9))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    if limits is not None:
        margin = 0.03 * (limits[1] - limits[0])
        axes.set_ylim(limits[0] - margin, limits[1] + margin)


def _label_ends(axes: Axes, ends: Sequence[tuple[Style, float, float]]) -> None:
    """Letters at the ends of the lines, pushed apart where they would cover each other."""
    usable = sorted((e for e in ends if np.isfinite(e[2])), key=lambda e: e[2])
    if not usable:
        return
    to_axes = axes.transData + axes.transAxes.inverted()
    heights = np.array([float(to_axes.transform((0.0, value))[1]) for _, _, value in usable])
    for (style, _, _), height in zip(usable, _spread(np.clip(heights, 0.0, 1.0), 0.088), strict=True):
        axes.text(
            1.0,
            height,
            style.letter,
            transform=axes.transAxes,
            color=style.colour,
            fontsize=_FONT + 0.5,
            fontweight="bold",
            va="center",
            ha="center",
        )


def _spread(heights: Array, gap: float) -> Array:
    """Ascending positions moved as little as needed to be ``gap`` apart and to stay near 0..1."""
    moved = heights.copy()
    for _ in range(60):
        for i in range(1, moved.size):
            overlap = gap - (moved[i] - moved[i - 1])
            if overlap > 1e-9:
                moved[i - 1] -= overlap / 2
                moved[i] += overlap / 2
        moved = np.clip(moved, 0.0 + gap * np.arange(moved.size) * 0.5, 1.02 - gap * 0.5 * np.arange(moved.size)[::-1])
    return moved
