"""The timing of a transplant in the report of a plan: the profile with its bands, fates by day, groups."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ipex_pd.planning.outcomes import CAUSES, LATE
from ipex_pd.report import figures, tables

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ipex_pd.planning.bridges import BridgeTiming
    from ipex_pd.planning.timing import TimingProfile

_CURVES = (("survival", "Alive at the horizon"), ("organ_free", "Alive with all organs"))
_MONTH = 30.4375


def timing_content(profile: TimingProfile | None) -> dict[str, Any]:
    """Sentences, table and figures of a profile; empty lists without one."""
    if profile is None:
        return {"lines": [], "columns": [], "rows": [], "figures": []}
    return {
        "lines": timing_sentences(profile),
        "columns": ["Transplant", f"Goal [{profile.unit}]", "Alive, %", "With all organs, %", *_fates(profile)],
        "rows": [_row(profile, k) for k in range(len(profile.table))],
        "figures": [*_curves(profile), _stacked(profile), *_groups(profile)],
    }


def timing_sentences(profile: TimingProfile) -> list[str]:
    """The best day, how well it is known, what waiting costs, and how it was done."""
    best = profile.optimum
    if math.isinf(best.day):
        first = (
            f"No transplant is expected to do best (goal {best.value:.4g}); among days of transplant day "
            f"{best.planned:.0f} is best."
        )
    else:
        first = f"The best day is day {best.day:.0f} (goal {best.value:.4g})."
    lines = [
        f"{first} The bridge is that of `{profile.regimen.name}`, moved with the day.",
        f"With this number of members the best day is known to lie between {best.low:.0f} and {best.high:.0f} (90 % of "
        f"resamples); over what is not known of the parameters it lies between {best.draw_low:.0f} and "
        f"{best.draw_high:.0f} (90 % of draws).",
    ]
    if best.never == best.never:
        lines.append(f"In {100 * best.never:.0f} % of the resamples no transplant does better than any day.")
    if profile.partial:
        lines.append("The profile was interrupted: it holds the members and days that were done.")
    return [*lines, *profile.notes]


def bridges_content(bridges: BridgeTiming | None) -> dict[str, Any]:
    """Sentences, table and figure of bridges made for each day; empty lists without them."""
    if bridges is None:
        return {"lines": [], "columns": [], "rows": [], "figures": []}
    rows = [
        [
            _day(float(row["day"])),
            f"{row['given']:.4g}",
            f"{row['made']:.4g}",
            f"{row['gain']:+.3g} ({row['gain_low']:+.3g} to {row['gain_high']:+.3g})".replace("-", "−"),
            "kept" if row["feasible"] else "not kept",
        ]
        for row in bridges.table.to_dict("records")
    ]
    figure = Figure(figsize=figures.PANEL_INCHES, layout="constrained")
    axes = figure.add_subplot()
    figures.dress(axes, "Goal, by bridge", "months from the start to the transplant")
    for name, label, k in (("given", "the bridge given", 2), ("made", "a bridge for each day", 1)):
        finite = np.isfinite(bridges.table["day"].to_numpy(float))
        own, never = bridges.table[finite], bridges.table[~finite]
        colour = figures.COLOURS[k]
        axes.plot(own["day"] / _MONTH, own[name], "-o", color=colour, linewidth=1.4, markersize=3, label=label)
        if len(never):
            axes.axhline(float(never[name].iloc[0]), color=colour, linewidth=1.0, linestyle=":")
    axes.legend(fontsize=7, frameon=False)
    lines = [
        "The doses before the transplant were searched anew for each of these days, and for no transplant.",
        bridges.notes[0],
        *(["The search was interrupted: days that were not done are left out."] if bridges.partial else []),
    ]
    words = "Goal against the day of transplant, with the bridge given and with one made for each day, dotted without"
    return {
        "lines": lines,
        "columns": ["Transplant", "Bridge given", "Bridge of its own", "Gain (90 %)", "Limits"],
        "rows": rows,
        "figures": [(words, figure)],
    }


def _day(day: float) -> str:
    return "never" if math.isinf(day) else f"day {day:.0f} ({day / _MONTH:.1f} months)"


def _fates(profile: TimingProfile) -> list[str]:
    return [f"{CAUSES[name].split(';')[0].capitalize()}, %" for name in CAUSES if name in profile.causes]


def _row(profile: TimingProfile, k: int) -> list[str]:
    row, cause = profile.table.iloc[k], profile.causes.iloc[k]
    told = [f"{row['value']:.4g} ({row['value_low']:.4g} to {row['value_high']:.4g})"]
    told += [f"{100 * row[n]:.1f} ({100 * row[f'{n}_low']:.0f} to {100 * row[f'{n}_high']:.0f})" for n, _ in _CURVES]
    told += [f"{100 * cause[name]:.1f}" for name in CAUSES if name in profile.causes]
    return [_day(float(row["day"])), *(text.replace("-", "−") for text in told)]


def _curves(profile: TimingProfile) -> list[tuple[str, Figure]]:
    drawn = []
    for name, title in (("value", "Goal"), *_CURVES):
        figure = Figure(figsize=figures.PANEL_INCHES, layout="constrained")
        axes = figure.add_subplot()
        figures.dress(axes, title, "months from the start to the transplant")
        _curve(axes, profile.table, name)
        if name == "value":
            axes.axvline(profile.optimum.planned / _MONTH, color=figures.COLOURS[1], linewidth=1.2, linestyle="--")
            ends = profile.optimum.low / _MONTH, profile.optimum.high / _MONTH
            axes.axvspan(*ends, color=figures.COLOURS[1], alpha=0.10, linewidth=0)
        words = f"{title} against the day of transplant, band over parameter draws, dotted without transplant"
        drawn.append((words, figure))
    return drawn


def _curve(axes: Axes, table: pd.DataFrame, name: str) -> None:
    finite = np.isfinite(table["day"].to_numpy(float))
    rows, never = table[finite], table[~finite]
    months = rows["day"].to_numpy(float) / _MONTH
    low, high = rows[f"{name}_low"], rows[f"{name}_high"]
    axes.fill_between(months, low, high, color=figures.COLOURS[2], alpha=0.16, linewidth=0)
    axes.plot(months, rows[name], "-o", color=figures.COLOURS[2], linewidth=1.4, markersize=3)
    if len(never):
        axes.axhline(float(never[name].iloc[0]), color="#555555", linewidth=1.0, linestyle=":")


def _stacked(profile: TimingProfile) -> tuple[str, Figure]:
    """Parts of the fate, which add up to 1, stacked over the days."""
    rows = profile.causes[np.isfinite(profile.causes["day"].to_numpy(float))]
    names = [name for name in CAUSES if name in rows]
    figure = Figure(figsize=(2 * figures.PANEL_INCHES[0], 1.35 * figures.PANEL_INCHES[1]), layout="constrained")
    axes = figure.add_subplot()
    figures.dress(axes, "What becomes of 100 such children", "months from the start to the transplant")
    shades = [figures.COLOURS[(k + 1) % len(figures.COLOURS)] for k in range(len(names))]
    parts = [100 * rows[name].to_numpy(float) for name in names]
    fills = [f"{shade}99" for shade in shades]
    handles = axes.stackplot(rows["day"] / _MONTH, *parts, colors=fills, edgecolor="#333333", linewidth=0.4)
    axes.legend(
        handles,
        [tables.plain_name(name) for name in names],
        fontsize=7.5,
        frameon=False,
        loc="center left",
        bbox_to_anchor=(1.0, 0.5),
    )
    axes.set_ylim(0, 100)
    words = "; ".join(f"{tables.plain_name(name)}: {text}" for name, text in {**CAUSES, **LATE}.items())
    return f"Fates by day of transplant. {words}", figure


def _groups(profile: TimingProfile) -> list[tuple[str, Figure]]:
    """Survival of those who come to the day, by organ-involvement score and age at transplant."""
    drawn = []
    for grouping, own in profile.groups.groupby("grouping", sort=False):
        if not str(grouping).endswith("at transplant") or own["group"].nunique() < 2:
            continue
        figure = Figure(figsize=figures.PANEL_INCHES, layout="constrained")
        axes = figure.add_subplot()
        figures.dress(axes, f"Alive, by {grouping}", "months from the start to the transplant")
        for k, (group, rows) in enumerate(own.groupby("group", sort=False)):
            axes.plot(
                rows["day"] / _MONTH,
                rows["survival_if_alive"],
                "-o",
                markersize=2.5,
                linewidth=1.2,
                color=figures.COLOURS[k % len(figures.COLOURS)],
                label=str(group),
            )
        axes.set_ylim(0, 1.02)
        axes.legend(fontsize=7, frameon=False)
        drawn.append((f"Survival of those who come to the transplant, by {grouping}", figure))
    return drawn
