"""The report of a comparison: a page (see `page`) of figures, endpoints and differences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ipex_pd.report import figures, narrative, tables
from ipex_pd.report.page import digest, pictures_of, render_page, run_rows, write_page

if TYPE_CHECKING:
    from ipex_pd.planning.comparison import Comparison

_SHARE = (0.0, 1.0)
_PACKAGES = ("ipex-pd", "jax", "diffrax", "numpy")


class PanelPlan(NamedTuple):
    """A quantity to be drawn, its heading and its axis."""

    quantity: str
    title: str
    log: bool = False
    limits: tuple[float, float] | None = None


ORGANS = (
    PanelPlan("gut_injury", "Gut injury", limits=_SHARE),
    PanelPlan("skin_injury", "Skin injury", limits=_SHARE),
    PanelPlan("liver_injury", "Liver injury", limits=_SHARE),
    PanelPlan("kidney_injury", "Kidney injury", limits=_SHARE),
    PanelPlan("lung_injury", "Lung injury", limits=_SHARE),
    PanelPlan("blood_injury", "Blood-cell injury", limits=_SHARE),
    PanelPlan("beta_cell_mass", "Beta cells left", limits=_SHARE),
    PanelPlan("thyroid_mass", "Thyroid left", limits=_SHARE),
    PanelPlan("renal_scarring", "Kidney scarring", limits=_SHARE),
    PanelPlan("weight_z", "Weight for age"),
    PanelPlan("height_z", "Height for age"),
)
IMMUNE = (
    PanelPlan("ige", "Serum IgE", log=True),
    PanelPlan("autoantibody", "Autoantibody", log=True),
    PanelPlan("functional_treg_percent", "Working Treg of CD4"),
    PanelPlan("treg_percent", "FOXP3+ cells of CD4"),
    PanelPlan("chimerism_treg", "Donor share of Treg", limits=_SHARE),
    PanelPlan("eosinophils", "Eosinophils", log=True),
)


def write_report(comparison: Comparison, path: str | Path) -> Path:
    """Write the report of a comparison.

    Args:
        comparison: what `compare` returned.
        path: the HTML file; an older one is replaced when the new one is complete.

    Returns:
        The path of the report.

    Raises:
        OutputError: the file cannot be written.
    """
    return write_page(render_report(comparison), path)


def render_report(comparison: Comparison) -> str:
    """The report as one HTML text."""
    return render_page("report.html", _content(comparison))


def report_figures(comparison: Comparison) -> dict[str, list[tuple[str, Figure]]]:
    """Every figure of the report by section, each with its text alternative."""
    look = figures.styles(list(comparison.simulations))
    return {
        "survival": _survival(comparison, look),
        "organs": _panels(comparison, ORGANS, look),
        "immune": _panels(comparison, IMMUNE, look),
        "exposure": _exposure(comparison, look),
        "causes": _causes(comparison, look),
    }


def _content(comparison: Comparison) -> dict[str, Any]:
    look = figures.styles(list(comparison.simulations))
    reference, *others = comparison.regimens
    return {
        "child": tables.plain_name(next(iter(comparison.simulations.values())).patient),
        "notice": narrative.NOTICE,
        "legend": [_legend(name, look[name], regimen.in_words()) for name, regimen in comparison.regimens.items()],
        "summary": list(zip((s.letter for s in look.values()), narrative.summary_sentences(comparison), strict=True)),
        "differences_told": narrative.difference_sentences(comparison),
        "cautions": narrative.caution_sentences(comparison),
        "patients": _lines(comparison.patients.description),
        "pictures": pictures_of(report_figures(comparison)),
        "letters": [look[name].letter for name in comparison.regimens],
        "reference": look[reference].letter,
        "others": [look[name].letter for name in others],
        "endpoints": tables.endpoint_rows(comparison),
        "differences": tables.difference_rows(comparison),
        "meanings": tables.endpoint_meanings(comparison),
        "windows": _windows(comparison),
        "numerics": _numerics(comparison, look),
        "assumptions": list(comparison.assumptions),
        "sources": list(comparison.sources),
        "run": _run_data(comparison),
    }


def _lines(text: str | Iterable[str]) -> list[str]:
    return text.splitlines() if isinstance(text, str) else list(text)


def _legend(name: str, style: figures.Style, words: str | Iterable[str]) -> dict[str, Any]:
    dashes = " ".join(f"{2 * d:g}" for d in style.dashes) or "none"
    return {
        "letter": style.letter,
        "colour": style.colour,
        "dashes": dashes,
        "name": tables.plain_name(name),
        "words": _lines(words),
    }


def _survival(comparison: Comparison, look: dict[str, figures.Style]) -> list[tuple[str, Figure]]:
    runs = comparison.simulations.items()
    alive = [figures.share_course(s, s["survival"], look[n]) for n, s in runs]
    whole = [figures.share_course(s, tables.organ_free_survival(s), look[n]) for n, s in runs]
    drawn = [
        ("Alive, every regimen", figures.course_panel("Alive", "", alive, limits=_SHARE, bands=0)),
        (
            "Alive without lasting organ loss",
            figures.course_panel("Alive, organs kept", "", whole, limits=_SHARE, bands=0),
        ),
    ]
    for name, style in look.items():
        alternative = f"Alive under {tables.plain_name(name)}, with the range over virtual patients"
        drawn.append((alternative, figures.highlight_panel(f"Alive: {style.letter} and its range", alive, style)))
    return drawn


def _panels(
    comparison: Comparison, plans: Sequence[PanelPlan], look: dict[str, figures.Style]
) -> list[tuple[str, Figure]]:
    drawn = []
    for plan in plans:
        courses = _courses(comparison, plan.quantity, look)
        if any(np.nanmax(np.abs(one.band.high), initial=0.0) > 0 for one in courses):
            unit = next(s.units[plan.quantity] for s in comparison.simulations.values() if plan.quantity in s)
            drawn.append((f"{plan.title} over time, every regimen", _plain(plan, unit, courses)))
    return drawn


def _plain(plan: PanelPlan, unit: str, courses: Sequence[figures.Course]) -> Figure:
    return figures.course_panel(plan.title, tables.plain_unit(unit), courses, log=plan.log, limits=plan.limits)


def _courses(comparison: Comparison, quantity: str, look: dict[str, figures.Style]) -> list[figures.Course]:
    return [figures.course(s, quantity, look[n]) for n, s in comparison.simulations.items() if quantity in s]


def _exposure(comparison: Comparison, look: dict[str, figures.Style]) -> list[tuple[str, Figure]]:
    drawn = []
    for drug, (quantity, window, unit) in _exposures(comparison).items():
        courses = [
            figures.trough_course(s, quantity, look[n])
            for n, s in comparison.simulations.items()
            if any(item.drug == drug for item in s.exposures)
        ]
        figure = figures.course_panel(tables.plain_name(drug).capitalize(), unit, courses, window=window)
        drawn.append((f"{drug} concentration over time" + (" with its target window" if window else ""), figure))
    return drawn


def _exposures(comparison: Comparison) -> dict[str, tuple[str, tuple[float, float] | None, str]]:
    found: dict[str, tuple[str, tuple[float, float] | None, str]] = {}
    for simulation in comparison.simulations.values():
        for item in simulation.exposures:
            window = (item.low, item.high) if item.low is not None and item.high is not None else None
            if item.drug not in found or (window and found[item.drug][1] is None):
                found[item.drug] = (item.concentration, window, simulation.units[item.concentration])
    return found


def _windows(comparison: Comparison) -> list[tuple[str, str, str]]:
    rows = []
    for name, simulation in comparison.simulations.items():
        for item in simulation.exposures:
            if item.low is not None and item.high is not None:
                unit = simulation.units[item.concentration]
                target = f"{item.drug} {tables.number(item.low)} to {tables.number(item.high)} {unit}"
                rows.append((tables.plain_name(name), target, item.window_source))
    return rows


def _causes(comparison: Comparison, look: dict[str, figures.Style]) -> list[tuple[str, Figure]]:
    shares = {name: tables.causes_of_death(simulation) for name, simulation in comparison.simulations.items()}
    return [("Expected deaths by cause, every regimen", figures.cause_panel("Expected deaths by cause", shares, look))]


def _numerics(comparison: Comparison, look: dict[str, figures.Style]) -> list[dict[str, Any]]:
    rows = []
    for name, simulation in comparison.simulations.items():
        alive = np.asarray(simulation.alive)
        errors = np.asarray(simulation.error, dtype=float)[alive]
        routes = sorted(set(simulation.route))
        rows.append(
            {
                "letter": look[name].letter,
                "patients": len(simulation),
                "error": f"{errors.max():.1e}" if errors.size else "–",
                "route": ", ".join(f"{route} ({list(simulation.route).count(route)})" for route in routes),
                "failed": [p for p, fine in zip(simulation.patients, alive, strict=True) if not fine],
                "warnings": list(simulation.warnings),
            }
        )
    return rows


def _run_data(comparison: Comparison) -> list[tuple[str, str]]:
    settings = [(tables.plain_name(str(key)), str(value)) for key, value in comparison.settings.items()]
    return [*settings, *run_rows(_PACKAGES), ("SHA-256 of the result", digest(comparison.to_json()))]
