"""The report of a forecast: one self-contained HTML file that opens offline, prints on A4 and reads on a phone."""

from __future__ import annotations

import hashlib
import math
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from ipex_pd.errors import OutputError
from ipex_pd.records.measurements import Ordinal
from ipex_pd.report import narrative, tables
from ipex_pd.report.figures import PANEL_INCHES, to_svg
from ipex_pd.report.forecast_figures import forecast_figures

if TYPE_CHECKING:
    from ipex_pd.inference.forecast import Forecast

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
    target = Path(path)
    page = render_forecast_report(forecast)
    draft = target.with_name(f".{target.name}.part")
    try:
        draft.write_text(page, encoding="utf-8")
        draft.replace(target)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise OutputError(
            f"the report cannot be written ({error.strerror or error})", where=str(target), cure="Choose another place"
        ) from error
    return target


def render_forecast_report(forecast: Forecast) -> str:
    """The report as one HTML text."""
    environment = Environment(
        loader=PackageLoader("ipex_pd.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["coded"] = _coded
    return environment.get_template("forecast_report.html").render(_content(forecast))


def _coded(text: str) -> Markup:
    parts = [str(escape(part)) for part in text.split("`")]
    return Markup("".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts)))


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
        "pictures": {
            section: [
                (Markup(to_svg(figure, f"{section}-{k}")), told, figure.get_size_inches()[0] > PANEL_INCHES[0] + 0.1)
                for k, (told, figure) in enumerate(items)
            ]
            for section, items in forecast_figures(forecast).items()
        },
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
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("ipex-pd", "jax", "numpy", "pandas"))
    mode = forecast.mode
    digest = hashlib.sha256(forecast.bands.to_csv(index=False).encode()).hexdigest()
    return [
        ("draws", str(len(forecast.simulation))),
        ("seed", str(forecast.simulation.seed)),
        (
            "mode",
            f"{'found' if mode.converged else 'not found'} in {mode.iterations} steps, objective {mode.objective:.4f}",
        ),
        ("written", datetime.now(UTC).date().isoformat()),
        ("versions", f"{versions}, Python {platform.python_version()}"),
        ("SHA-256 of the bands", digest),
    ]
