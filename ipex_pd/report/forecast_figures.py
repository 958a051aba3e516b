"""Figures of a forecast: bands over the draws with what was measured, and what the data told of each parameter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ipex_pd.inference.forecast import INFORMED
from ipex_pd.records.measurements import Lognormal, Measurement, Ordinal, Survival
from ipex_pd.report import figures, tables
from ipex_pd.report.html import IMMUNE, ORGANS, PanelPlan
from ipex_pd.units import factor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ipex_pd.inference.forecast import Forecast

Drawn = list[tuple[str, Figure]]

STYLE = figures.Style("", figures.COLOURS[2], ())
_OPACITY = 0.22
_POINT = "#111111"
_MOST_PARAMETERS = 24


def forecast_figures(forecast: Forecast) -> dict[str, Drawn]:
    """Every figure of a forecast by section, each with its text alternative.

    Args:
        forecast: what `forecast` returned.

    Returns:
        Sections `measured`, `survival`, `organs`, `immune`, `informed`. Measured quantities are not drawn again.
    """
    shown = drawable(forecast)
    seen = {item.quantity for item in shown.values()}
    return {
        "measured": [_measured(forecast, name, item) for name, item in shown.items()],
        "survival": _survival(forecast),
        "organs": _panels(forecast, [plan for plan in ORGANS if plan.quantity not in seen]),
        "immune": _panels(forecast, [plan for plan in IMMUNE if plan.quantity not in seen]),
        "informed": [_informed(forecast)],
    }


def drawable(forecast: Forecast) -> dict[str, Measurement]:
    """The measurements that stand on the scale of a quantity, so that points can be drawn over its bands."""
    return {
        name: item
        for name, item in forecast.cohort.measurements.items()
        if item.quantity in forecast.simulation and not isinstance(item.error, Ordinal | Survival)
    }


def _measured(forecast: Forecast, name: str, item: Measurement) -> tuple[str, Figure]:
    simulation, quantity = forecast.simulation, item.quantity
    plans = {plan.quantity: plan for plan in (*ORGANS, *IMMUNE)}
    plan = plans.get(quantity, PanelPlan(quantity, tables.plain_name(quantity).capitalize()))
    log = plan.log or isinstance(item.error, Lognormal)
    course = figures.course(simulation, quantity, STYLE)
    title, unit = plan.title, tables.plain_unit(simulation.units[quantity])
    figure = figures.course_panel(title, unit, [course], log=log, limits=plan.limits, bands=_OPACITY)
    rows = forecast.cohort.table[forecast.cohort.table["measurement"] == name]
    _points(figure.axes[0], rows[rows["day"] >= 0], factor(item.unit, simulation.units[quantity]))
    return f"{title}: forecast with its band, and {len(rows)} measured values", figure


def _points(axes: Axes, rows: pd.DataFrame, scale: float) -> None:
    years, values = rows["day"].to_numpy(float) / tables.DAYS_PER_YEAR, rows["value"].to_numpy(float) * scale
    cens = rows["cens"].to_numpy(int)
    for kind, marker in ((0, "o"), (1, "v"), (-1, "^")):
        own = cens == kind
        face = _POINT if kind == 0 else "white"
        axes.plot(
            years[own],
            values[own],
            marker,
            markersize=3.8,
            markerfacecolor=face,
            markeredgecolor=_POINT,
            markeredgewidth=0.8,
            zorder=5,
            clip_on=False,
        )


def _survival(forecast: Forecast) -> Drawn:
    simulation = forecast.simulation
    alive = figures.share_course(simulation, simulation["survival"], STYLE)
    whole = figures.share_course(simulation, tables.organ_free_survival(simulation), STYLE)
    share = (0.0, 1.0)
    return [
        ("Probability to be alive", figures.course_panel("Alive", "", [alive], limits=share, bands=_OPACITY)),
        (
            "Probability to be alive without lasting organ loss",
            figures.course_panel("Alive, organs kept", "", [whole], limits=share, bands=_OPACITY),
        ),
    ]


def _panels(forecast: Forecast, plans: list[PanelPlan]) -> Drawn:
    drawn: Drawn = []
    for plan in plans:
        if plan.quantity not in forecast.simulation:
            continue
        course = figures.course(forecast.simulation, plan.quantity, STYLE)
        if np.nanmax(np.abs(course.band.high), initial=0.0) > 0:
            unit = tables.plain_unit(forecast.simulation.units[plan.quantity])
            limits, title = plan.limits, plan.title
            panel = figures.course_panel(title, unit, [course], log=plan.log, limits=limits, bands=_OPACITY)
            drawn.append((f"{title}, forecast with its band", panel))
    return drawn


def _informed(forecast: Forecast) -> tuple[str, Figure]:
    """Posterior over prior standard deviation, smallest first: bars that end left of the line were told by the data."""
    table = forecast.informed.head(_MOST_PARAMETERS)
    figure = Figure(figsize=(2 * figures.PANEL_INCHES[0], 0.9 + 0.2 * len(table)), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(table))
    told = table["informed"].to_numpy(bool)
    colours = np.where(told, figures.COLOURS[2], "#BDBDBD")
    axes.barh(places, table["posterior_sd"], height=0.66, color=colours, edgecolor="#555555", linewidth=0.4)
    axes.axvline(1.0, color="#555555", linewidth=1.0)
    axes.axvline(INFORMED, color="#555555", linewidth=0.8, linestyle=(0, (3, 2)))
    axes.set_yticks(places, [tables.plain_name(name) for name in table["parameter"]], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.08, float(table["posterior_sd"].max()) * 1.05))
    axes.set_title("What the measurements told", fontsize=9.5, loc="left", fontweight="bold")
    axes.set_xlabel("posterior SD, where the spread between children is 1", fontsize=8.5, color="#333333")
    axes.tick_params(labelsize=8, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    words = f"Posterior standard deviation of {len(table)} parameters, in units of the spread between children"
    return words, figure
