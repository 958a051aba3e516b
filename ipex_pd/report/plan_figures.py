"""Figures of a plan: doses, exposure against windows, courses beside the start, and what the plan hangs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ipex_pd.records.plan_limits import TroughLimit
from ipex_pd.report import figures, tables
from ipex_pd.report.html import IMMUNE, ORGANS, PanelPlan
from ipex_pd.units import factor

if TYPE_CHECKING:
    from ipex_pd.planning.pareto import PlanFront
    from ipex_pd.planning.plan import Plan
    from ipex_pd.planning.sensitivity import Sensitivity
    from ipex_pd.simulation.results import Simulation

Drawn = list[tuple[str, Figure]]

FRESH = ", fresh"
START, PLAN, RELAXED = "start", "plan", "before rounding"
_IN_WEEKS = 400.0
"""Horizons up to this [day] are shown in weeks."""
_SHARE = (0.0, 1.0)
_BAND = 0.16
_MOST_BARS = 12


def simulations_of(plan: Plan) -> dict[str, Simulation]:
    """What was simulated of start, plan and standard regimens, on fresh members where there are any; start first."""
    shown: dict[str, Simulation] = {}
    for row in plan.values.to_dict("records"):
        name = str(row["name"])
        judged = plan.judgements.get(f"{name}{FRESH}") or plan.judgements.get(name)
        if judged is not None and row["role"] != "relaxed":
            shown[name] = judged.simulation
    return shown


def plan_figures(plan: Plan, look: Mapping[str, figures.Style]) -> dict[str, Drawn]:
    """Sections `doses`, `survival`, `exposure`, `organs`, `immune`; empty where nothing was simulated.

    Args:
        plan: with its judgements.
        look: name -> style, of start, plan and standards.
    """
    runs = simulations_of(plan)
    two = {name: run for name, run in runs.items() if name in (START, PLAN)}
    weeks = plan.problem.horizon <= _IN_WEEKS
    return {
        "doses": _doses(plan, weeks),
        "survival": _survival(runs, look, weeks),
        "exposure": _exposure(plan, two, look, weeks),
        "organs": _panels(two, ORGANS, look, weeks),
        "immune": _panels(two, IMMUNE, look, weeks),
    }


def _doses(plan: Plan, weeks: bool) -> Drawn:
    """A step line a drug: what is given a day."""
    drawn: Drawn = []
    table = plan.calendar[plan.calendar["drug"] != "transplant"]
    scale, below = (7.0, "weeks since the start") if weeks else (tables.DAYS_PER_YEAR, "years since the start")
    for drug, rows in table.groupby("drug", sort=False):
        amounts, unit = _daily(rows)
        days, level = _steps(rows, amounts, plan.problem.horizon)
        figure = Figure(figsize=figures.PANEL_INCHES, layout="constrained")
        axes = figure.add_subplot()
        title = tables.plain_name(str(drug)).capitalize()
        figures.dress(axes, title, below)
        axes.set_title(f"[{unit}]", fontsize=8.5, loc="right", color="#333333")
        axes.step(days / scale, level, where="post", color=figures.COLOURS[1], linewidth=1.6)
        axes.fill_between(days / scale, level, step="post", color=figures.COLOURS[1], alpha=0.18, linewidth=0)
        axes.set_xlim(0, plan.problem.horizon / scale)
        axes.set_ylim(0, max(1e-9, 1.08 * float(level.max(initial=0.0))))
        drawn.append((f"{title} of the plan, {unit}, over time", figure))
    return drawn


def _daily(rows: pd.DataFrame) -> tuple[np.ndarray[Any, Any], str]:
    """Amount a day (of one dose, where doses are days apart) and its unit."""
    single = rows["times_a_day"].to_numpy(float) < 1.0
    milligrams = rows["mg_a_dose" if single.any() else "mg_a_day"].to_numpy(float)
    if np.isfinite(milligrams).all():
        return milligrams, "mg a dose" if single.any() else "mg a day"
    parts = [str(dose).split(" ", 1) for dose in rows["dose"]]
    times = 1.0 if single.any() else rows["times_a_day"].to_numpy(float)
    return np.array(
        [float(value) for value, _ in parts]
    ) * times, f"{parts[0][1]} a {'dose' if single.any() else 'day'}"


def _steps(rows: pd.DataFrame, amounts: np.ndarray[Any, Any], horizon: float) -> tuple[Any, Any]:
    begin = rows["day"].to_numpy(float)
    end = np.minimum(np.maximum(rows["until"].to_numpy(float), begin + 0.5), horizon)
    days = np.unique(np.concatenate([[0.0, horizon], begin, end]))
    inside = (begin[:, None] <= days + 1e-9) & (days + 1e-9 < end[:, None])
    level = (inside * amounts[:, None]).sum(0)
    level[-1] = level[-2] if days.size > 1 else level[-1]
    return days, level


def _survival(runs: Mapping[str, Simulation], look: Mapping[str, figures.Style], weeks: bool) -> Drawn:
    if not runs:
        return []
    alive = [figures.share_course(run, run["survival"], look[name]) for name, run in runs.items()]
    whole = [figures.share_course(run, tables.organ_free_survival(run), look[name]) for name, run in runs.items()]
    causes = {name: tables.causes_of_death(run) for name, run in runs.items()}
    return [
        ("Alive, every regimen", figures.course_panel("Alive", "", alive, limits=_SHARE, bands=0, weeks=weeks)),
        (
            "Alive without lasting organ loss, every regimen",
            figures.course_panel("Alive, organs kept", "", whole, limits=_SHARE, bands=0, weeks=weeks),
        ),
        ("Expected deaths by cause, every regimen", figures.cause_panel("Deaths by cause", causes, dict(look))),
    ]


def _exposure(plan: Plan, two: Mapping[str, Simulation], look: Mapping[str, figures.Style], weeks: bool) -> Drawn:
    drawn: Drawn = []
    drugs = dict.fromkeys(item.drug for run in two.values() for item in run.exposures)
    for drug in drugs:
        runs = {name: run for name, run in two.items() if any(item.drug == drug for item in run.exposures)}
        first = next(iter(runs.values()))
        exposed = next(item for item in first.exposures if item.drug == drug)
        quantity, unit = exposed.concentration, first.units[exposed.concentration]
        courses = [figures.trough_course(run, quantity, look[name]) for name, run in runs.items()]
        window = _window(plan, drug, unit)
        title = tables.plain_name(drug).capitalize()
        panel = figures.course_panel(
            title, tables.plain_unit(unit), courses, window=window, bands=_BAND, weeks=weeks, limits=None
        )
        drawn.append((f"{title} before the first dose of the day" + (", with its window" if window else ""), panel))
    return drawn


def _window(plan: Plan, drug: str, unit: str) -> tuple[float, float] | None:
    """The trough window that the plan must keep, in the unit of the concentration."""
    for limit in plan.problem.limits:
        if isinstance(limit, TroughLimit) and limit.drug == drug and np.isfinite(limit.high_mg_l):
            scale = factor("mg/L", unit)
            return limit.low_mg_l * scale, limit.high_mg_l * scale
    return None


def _panels(
    two: Mapping[str, Simulation], plans: tuple[PanelPlan, ...], look: Mapping[str, figures.Style], weeks: bool
) -> Drawn:
    drawn: Drawn = []
    for panel in plans:
        shown = {name: run for name, run in two.items() if panel.quantity in run}
        courses = [figures.course(run, panel.quantity, look[name]) for name, run in shown.items()]
        if any(np.nanmax(np.abs(one.band.high), initial=0.0) > 0 for one in courses):
            unit = tables.plain_unit(next(run.units[panel.quantity] for run in shown.values()))
            figure = figures.course_panel(
                panel.title, unit, courses, log=panel.log, limits=panel.limits, bands=_BAND, weeks=weeks
            )
            drawn.append((f"{panel.title} over time, start and plan", figure))
    return drawn


def front_figure(front: PlanFront) -> tuple[str, Figure]:
    """The points of a front, its knee filled."""
    figure = Figure(figsize=(1.4 * figures.PANEL_INCHES[0], 1.2 * figures.PANEL_INCHES[1]), layout="constrained")
    axes = figure.add_subplot()
    one, two = (tables.plain_name(name) for name in (front.first, front.second))
    figures.dress(axes, f"{one.capitalize()} against {two}", f"{two} [{tables.plain_unit(front.units[1])}]")
    axes.set_ylabel(f"{one} [{tables.plain_unit(front.units[0])}]", fontsize=8.5, color="#333333")
    kept = front.table[~front.table["dominated"].astype(bool)]
    axes.plot(kept["second"], kept["first"], "-o", color=figures.COLOURS[2], markersize=4, linewidth=1.2)
    knee = front.table.iloc[front.knee]
    axes.plot([knee["second"]], [knee["first"]], "D", color=figures.COLOURS[1], markersize=7)
    return f"Front of {one} and {two}; the diamond is where the trade turns", figure


def sensitivity_figure(found: Sensitivity) -> tuple[str, Figure]:
    """A bar a parameter: change of the plan's value for 10 % more of it."""
    rows = found.slopes.head(_MOST_BARS)
    figure = Figure(figsize=(2 * figures.PANEL_INCHES[0], 0.9 + 0.22 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    figures.dress(axes, "Value of the plan for 10 % more", "change of the goal")
    change = rows["change"].to_numpy(float)
    colours = np.where(change >= 0, figures.COLOURS[2], figures.COLOURS[1])
    axes.barh(np.arange(len(rows)), change, height=0.66, color=colours, edgecolor="#555555", linewidth=0.4)
    axes.axvline(0.0, color="#555555", linewidth=0.8)
    axes.set_yticks(np.arange(len(rows)), [tables.plain_name(str(name)) for name in rows["parameter"]], fontsize=8)
    axes.invert_yaxis()
    return f"Change of the goal for 10 % more of each of {len(rows)} assumed parameters", figure
