"""The report of a fit: a page (see `page`) of estimates, diagnostics and the verdict."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

from ipex_pd.inference.binding import BoundProblem
from ipex_pd.inference.diagnostics.summary import DiagnosticOptions, Diagnostics, diagnose
from ipex_pd.inference.results import Fit
from ipex_pd.records.description_fit import describe_model, describe_problem
from ipex_pd.report import fit_narrative, fit_tables, narrative
from ipex_pd.report.fit_figures import MOST_PAGES, fit_figures
from ipex_pd.report.page import digest, pictures_of, render_page, run_rows, write_page
from ipex_pd.report.tables import plain_name

_PACKAGES = ("ipex-pd", "jax", "numpy", "scipy", "pandas")


def write_fit_report(
    fit: Fit, path: str | Path, diagnostics: Diagnostics | None = None, options: DiagnosticOptions | None = None
) -> Path:
    """Write the report of a fit: verdict, data, methods, estimates, diagnostics, limitations, reproducibility.

    Args:
        fit: what `fit` returned.
        path: the HTML file; an older one is replaced when the new one is complete.
        diagnostics: what `diagnose` returned; made here when left out.
        options: of the diagnostics that are made here.

    Returns:
        The path of the report.

    Raises:
        OutputError: the file cannot be written.
        IpexError: the diagnostics cannot be made; see `diagnose`.
    """
    return write_page(render_fit_report(diagnostics or diagnose(fit, options)), path)


def render_fit_report(diagnostics: Diagnostics) -> str:
    """The report as one HTML text."""
    return render_page("fit_report.html", _content(diagnostics))


def _content(diagnostics: Diagnostics) -> dict[str, Any]:
    fit, bound = diagnostics.fit, diagnostics.records.bound
    drawn = fit_figures(diagnostics)
    left_out = max(len(drawn["individuals"]) - MOST_PAGES, 0)
    drawn["individuals"] = drawn["individuals"][:MOST_PAGES]
    return {
        "title": plain_name(bound.problem.name),
        "notice": narrative.NOTICE,
        "question": bound.problem.description,
        "level": fit.verdict.level,
        "verdict": fit_narrative.verdict_sentence(fit),
        "synopsis": fit_narrative.synopsis(diagnostics),
        "data": list(bound.dataset.understood),
        "findings": [finding.text for finding in bound.dataset.findings],
        "counts": fit_tables.count_rows(diagnostics),
        "time_unit": bound.problem.data.time_unit,
        "model": list(describe_model(bound.model)),
        "problem": list(describe_problem(bound.problem)),
        "methods": fit_narrative.methods(diagnostics),
        "sections": fit_tables.parameter_sections(fit),
        "interval": f"{100 * fit.options.level:g} % interval",
        "footnotes": fit_tables.footnotes(fit),
        "correlations": fit_tables.strong_correlations(fit),
        "shrinkage": fit_tables.shrinkage_rows(diagnostics.shrinkage),
        "errors": fit_tables.error_rows(diagnostics.npde_tests),
        "pictures": pictures_of(drawn),
        "pages_left_out": left_out,
        "check_words": fit_narrative.check_words(diagnostics),
        "limitations": fit_narrative.limitations(diagnostics),
        "sources": [(key, citation.citation) for key, citation in bound.problem.sources.items()],
        "run": _run(fit, bound, diagnostics),
    }


def _run(fit: Fit, bound: BoundProblem, diagnostics: Diagnostics) -> list[tuple[str, str]]:
    return [
        *run_rows(_PACKAGES),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("seed of the search", str(fit.options.seed)),
        ("seed of the replicates", str(diagnostics.options.seed)),
        ("SHA-256 of the data file", _digest_of_file(Path(bound.problem.folder or ".") / bound.problem.data.file)),
        ("SHA-256 of the problem", digest(bound.problem.model_dump_json())),
        ("SHA-256 of the fit", digest(fit.to_json())),
    ]


def _digest_of_file(path: Path) -> str:
    try:
        return digest(path.read_bytes())
    except OSError:
        return "not at hand when this was written"
