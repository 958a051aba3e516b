"""The report of a forecast: a page (see `page`) of one child, measured and foreseen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipex_pd.records.measurements import Ordinal
from ipex_pd.report import narrative, tables
from ipex_pd.report.forecast_figures import forecast_figures
from ipex_pd.report.page import digest, pictures_of, render_page, run_rows, write_page

if TYPE_CHECKING:
    from ipex_pd.inference.forecast import Forecast

_PACKAGES = ("ipex-pd", "jax", "numpy", "pandas")
_LIMITS = (
    "The band is the spread of the model's courses after the measurements were taken in. It does not hold what the "
    "model lacks: infections that are not modelled, decisions of the clinic, errors of the equations.",
    "The distribution of the child's parameters is taken as normal around its mode on the scale of the random effects "
    "(Laplace); with few measurements it is mostly the assumed spread between children.",
    "The spread between children is published for few parameters and assumed for most; see the assumptions.",
)


def write_forecast_report(forecast: Forecast, path: str | Path) -> Path:
    """Write the report of a forecast: child, regimen, measured values over bands, what the data told, endpoints.

    Args:
        forecast: what `forecast` returned.
        path: the HTML file; an older one is replaced when the new one is complete.

    Returns:
        The path of the report.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_page(render_forecast_report(forecast), path)


def render_forecast_report(forecast: Forecast) -> str:
    """The report as one HTML text."""
    return render_page("forecast_report.html", _content(forecast))


def _content(forecast: Forecast) -> dict[str, Any]:
    cohort, simulation = forecast.cohort, forecast.simulation
    return {
        "child": tables.plain_name(forecast.patient),
        "regimen": tables.plain_name(forecast.regimen),
        "notice": narrative.NOTICE,
        "summary": summary_sentences(forecast),
        "about": [
            f"{cohort.patients[0].description.strip().rstrip('.')}.",
            f"{_age(float(simulation.age[0]))} on day 0.",
        ],
        "words": cohort.regimens[0].in_words(),
        "draws": len(simulation),
        "years": f"{simulation.horizon / tables.DAYS_PER_YEAR:.3g}",
        "pictures": pictures_of(forecast_figures(forecast)),
        "measured": _measured_rows(forecast),
        "informed": _informed_rows(forecast),
        "silent": int((~forecast.informed["informed"]).sum()),
        "endpoints": endpoint_rows(forecast),
        "meanings": _meanings(forecast),
        "warnings": list(forecast.warnings),
        "limits": list(_LIMITS),
        "assumptions": list(simulation.assumptions),
        "sources": list(simulation.sources),
        "run": _run(forecast),
    }


def summary_sentences(forecast: Forecast) -> list[str]:
    """What is expected, on what it rests, and how much of it the measurements told."""
    cohort, simulation = forecast.cohort, forecast.simulation
    years = simulation.horizon / tables.DAYS_PER_YEAR
    alive = 100.0 * narrative.final(simulation, "survival")
    middle = tables.band(alive[:, None])
    told, whole = int(forecast.informed["informed"].sum()), len(forecast.informed)
    last = float(cohort.table["day"].max())
    return [
        f"Of 100 children who agree with these measurements the model expects {alive.mean():.0f} to be alive after "
        f"{years:.3g} years ({middle.low[0]:.0f} to {middle.high[0]:.0f} over the courses).",
        f"It rests on {len(cohort.table)} measured values of {len(cohort.measurements)} kinds, the last on day "
        f"{last:g}; what comes after that day is forecast.",
        f"The measurements told something of {told} of {whole} parameters; the other {whole - told} keep the spread "
        "between children.",
    ]


def _age(days: float) -> str:
    return f"{days:.0f} days old" if days < 60 else f"{days / 30.4375:.0f} months old" if days < 1100 else _years(days)


def _years(days: float) -> str:
    return f"{days / tables.DAYS_PER_YEAR:.1f} years old"


def _measured_rows(forecast: Forecast) -> list[list[str]]:
    rows = []
    table = forecast.cohort.table
    for name, item in forecast.cohort.measurements.items():
        own = table[table["measurement"] == name].sort_values("day")
        signs = {0: "", 1: "< ", -1: "> "}
        values = [f"{signs[int(c)]}{tables.number(float(v))}" for c, v in zip(own["cens"], own["value"], strict=True)]
        days = ", ".join(f"{day:g}" for day in own["day"])
        unit = "level" if isinstance(item.error, Ordinal) else tables.plain_unit(item.unit)
        rows.append([tables.plain_name(name), unit, days, ", ".join(values)])
    return rows


def _informed_rows(forecast: Forecast) -> list[list[str]]:
    told = forecast.informed[forecast.informed["informed"]]
    return [
        [
            tables.plain_name(row["parameter"]),
            tables.number(row["value"]),
            tables.number(row["shipped"]),
            f"{row['z']:+.1f}".replace("-", "−"),
            f"{row['posterior_sd']:.2f}",
        ]
        for row in told.to_dict("records")
    ]


def endpoint_rows(forecast: Forecast) -> list[list[str]]:
    """Endpoint, unit, expected value and 90 % range, as text."""
    rows = []
    for row in forecast.endpoints.to_dict("records"):
        share = row["unit"] == "fraction"
        scale, middle = (100.0, row["mean"]) if share else (1.0, row["median"])
        cell = tables.cell(scale * middle, scale * row["low"], scale * row["high"])
        if cell.middle == "–" and not math.isinf(middle):
            continue
        label = str(row["label"]) or tables.plain_name(str(row["endpoint"]))
        rows.append([label, "%" if share else tables.plain_unit(str(row["unit"])), cell.middle, cell.spread])
    return rows


def _meanings(forecast: Forecast) -> list[tuple[str, str]]:
    rows = forecast.endpoints.to_dict("records")
    return [(str(row["label"]) or tables.plain_name(str(row["endpoint"])), str(row["meaning"])) for row in rows]


def _run(forecast: Forecast) -> list[tuple[str, str]]:
    mode = forecast.mode
    return [
        ("draws", str(len(forecast.simulation))),
        ("seed", str(forecast.simulation.seed)),
        (
            "mode",
            f"{'found' if mode.converged else 'not found'} in {mode.iterations} steps, objective {mode.objective:.4f}",
        ),
        *run_rows(_PACKAGES),
        ("SHA-256 of the bands", digest(forecast.bands.to_csv(index=False))),
    ]
