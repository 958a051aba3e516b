"""The report of a fit: one self-contained HTML file that opens offline, prints on A4 and reads on a phone."""

from __future__ import annotations

import hashlib
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ipex_pd.errors import OutputError
from ipex_pd.inference.binding import BoundProblem
from ipex_pd.inference.diagnostics.summary import DiagnosticOptions, Diagnostics, diagnose
from ipex_pd.inference.results import Fit
from ipex_pd.records.description_fit import describe_model, describe_problem
from ipex_pd.report import fit_narrative, fit_tables, narrative
from ipex_pd.report.figures import to_svg
from ipex_pd.report.fit_figures import MOST_PAGES, fit_figures
from ipex_pd.report.tables import plain_name


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
    target = Path(path)
    page = render_fit_report(diagnostics or diagnose(fit, options))
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


def render_fit_report(diagnostics: Diagnostics) -> str:
    """The report as one HTML text."""
    environment = Environment(
        loader=PackageLoader("ipex_pd.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    environment.filters["coded"] = _coded
    return environment.get_template("fit_report.html").render(_content(diagnostics))


def _coded(text: str) -> Markup:
    """Text in which `names` are shown as code."""
    parts = [str(escape(part)) for part in text.split("`")]
    return Markup("".join(f"<code>{part}</code>" if k % 2 else part for k, part in enumerate(parts)))


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
        "pictures": {section: _pictures(section, items) for section, items in drawn.items()},
        "pages_left_out": left_out,
        "check_words": fit_narrative.check_words(diagnostics),
        "limitations": fit_narrative.limitations(diagnostics),
        "sources": [(key, citation.citation) for key, citation in bound.problem.sources.items()],
        "run": _run(fit, bound, diagnostics),
    }


def _pictures(section: str, items: list[tuple[str, Figure]]) -> list[tuple[Markup, str]]:
    return [(Markup(to_svg(figure, f"{section}-{k}")), told) for k, (told, figure) in enumerate(items)]


def _run(fit: Fit, bound: BoundProblem, diagnostics: Diagnostics) -> list[tuple[str, str]]:
    packages = ("ipex-pd", "jax", "numpy", "scipy", "pandas")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    return [
        ("written", datetime.now(UTC).date().isoformat()),
        ("versions", f"{versions}, Python {platform.python_version()}"),
        ("system", f"{platform.system()} {platform.machine()}"),
        ("seed of the search", str(fit.options.seed)),
        ("seed of the replicates", str(diagnostics.options.seed)),
        ("SHA-256 of the data file", _digest(Path(bound.problem.folder or ".") / bound.problem.data.file)),
        ("SHA-256 of the problem", hashlib.sha256(bound.problem.model_dump_json().encode()).hexdigest()),
        ("SHA-256 of the fit", hashlib.sha256(fit.to_json().encode()).hexdigest()),
    ]


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "not at hand when this was written"
