"""`ipex-pd diagnose`: check the fit of a run folder against its data, without searching again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipex_pd.cli import console, fit_runs, options
from ipex_pd.cli.runs import guarded, interruptible, write_atomically
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from ipex_pd.inference.diagnostics.summary import Diagnostics

_STEPS = 4


def diagnose(
    run: options.RunArgument,
    report: Annotated[bool, typer.Option("--report", help="Write report.html, one self-contained page.")] = False,
    plots: Annotated[bool, typer.Option("--plots", help="Write every figure into plots/, as SVG.")] = False,
    nonmem: Annotated[bool, typer.Option("--nonmem", help="Write nonmem/run1.ext, .phi, .cov, sdtab1, ...")] = False,
    replicates: Annotated[int, typer.Option("--replicates", min=20, help="Simulated datasets of the checks.")] = 300,
    seed: options.SeedOption = 20240,
    json: options.JsonOption = False,
) -> None:
    """Check a fit: residuals, NPDE, visual predictive checks, shrinkage; tables, figures and a report.

    The fit is rebuilt from the inputs and estimates kept in its folder; nothing is searched again. Into the folder go
    sdtab.csv (a row a record, now with NPDE), vpc.csv, and what is asked for.

    Example: ipex-pd diagnose runs/first --report --plots
    """
    told = fit_runs.result_of(run)
    problem = fit_runs.kept_problem(run)
    from ipex_pd.inference.diagnostics.summary import DiagnosticOptions
    from ipex_pd.records.problems import EstimationProblem

    if not isinstance(problem, EstimationProblem):
        raise UsageError(
            f"`{problem.name}` is a problem of the disease",
            code="diagnose.cohort",
            where=str(run),
            rule="NPDE and predictive checks simulate event tables of drugs; a cohort of children is none",
            cure="PRED, IPRED and the residuals of every record are in the folder's sdtab.csv",
        )
    chosen = DiagnosticOptions(replicates=replicates, seed=seed)
    with guarded(None), console.progress("Checking", _STEPS, quiet=json) as advance:
        from ipex_pd.inference.diagnostics.summary import diagnose as check
        from ipex_pd.inference.recall import recall

        advance("rebuilding the fit", 0)
        fit = interruptible(lambda: recall(problem, told))
        advance("simulating", 1)
        found = interruptible(lambda: check(fit, chosen))
        advance("writing tables", 2)
        written = [*_write_tables(run, found), *_write_extras(run, found, report=report, plots=plots, nonmem=nonmem)]
        advance("done", _STEPS)
    _deliver(run, found, written, as_json=json)


def _write_tables(run: Path, found: Diagnostics) -> list[str]:
    names = ["sdtab.csv", "vpc.csv"]
    write_atomically(run / names[0], found.table.to_csv(index=False))
    write_atomically(run / names[1], _checks(found).to_csv(index=False))
    if found.survival_checks:
        names.append("survival.csv")
        parts = [one.table.assign(endpoint=one.endpoint) for one in found.survival_checks]
        write_atomically(run / names[-1], _joined(parts).to_csv(index=False))
    return names


def _checks(found: Diagnostics) -> pd.DataFrame:
    parts = [
        one.table.assign(endpoint=one.endpoint, correction=one.correction)
        for one in (*found.checks, *found.corrected_checks)
    ]
    return _joined(parts)


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"endpoint": []})


def _write_extras(run: Path, found: Diagnostics, *, report: bool, plots: bool, nonmem: bool) -> list[str]:
    written = []
    if report:
        from ipex_pd.report.fit_html import write_fit_report

        write_fit_report(found.fit, run / "report.html", found)
        written.append("report.html")
    if plots:
        written += _write_plots(run / "plots", found)
    if nonmem:
        from ipex_pd.exchange.nonmem import write_nonmem

        written += [f"nonmem/{path.name}" for path in write_nonmem(found, run / "nonmem")]
    return written


def _write_plots(folder: Path, found: Diagnostics) -> list[str]:
    from ipex_pd.report.figures import to_svg
    from ipex_pd.report.fit_figures import fit_figures

    folder.mkdir(exist_ok=True)
    written = []
    for section, items in fit_figures(found).items():
        for number, (words, figure) in enumerate(items, start=1):
            short = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")[:60]
            name = f"{section}_{number:02d}_{short}.svg"
            write_atomically(folder / name, to_svg(figure, name))
            written.append(f"plots/{name}")
    return written


def _deliver(run: Path, found: Diagnostics, written: list[str], *, as_json: bool) -> None:
    fit = found.fit
    if as_json:
        result: dict[str, Any] = {
            "run": str(run),
            "objective": fit.value,
            "verdict": {"level": fit.verdict.level, "text": str(fit.verdict)},
            "npde": found.npde_tests.to_dict("records"),
            "shrinkage": found.shrinkage.to_dict("records"),
            "notes": list(found.notes),
            "written": written,
        }
        console.emit_json(result)
        return
    console.emit_text(str(fit))
    for row in found.npde_tests.to_dict("records"):
        said = ", ".join(f"{name} {value:.3g}" for name, value in row.items() if isinstance(value, float))
        console.emit_text(f"NPDE of {row['endpoint']}: {said}")
    for note in found.notes:
        console.warn(note)
    plots = sum(name.startswith("plots/") for name in written)
    plain = [name for name in written if not name.startswith("plots/")]
    console.say(f"Wrote into {run}: " + ", ".join([*plain, *([f"{plots} figures in plots/"] if plots else [])]) + ".")
