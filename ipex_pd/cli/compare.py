"""`ipex-pd compare`: the same virtual patients under several regimens."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from ipex_pd.cli import console, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible, open_run, require_writable_file, write_report
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    from ipex_pd.planning.comparison import Comparison
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.regimens import Regimen
    from ipex_pd.simulation.results import Simulation

_COLUMNS_WITH_RANGE = 2


def compare(
    patient: options.PatientOption,
    regimen: Annotated[
        list[str],
        typer.Option(
            "--regimen",
            "-r",
            metavar="NAME|FILE",
            help="A regimen: a shipped name or a YAML file. Give at least two; the first is the reference.",
            autocompletion=options.complete_regimen,
        ),
    ],
    patients: Annotated[int, typer.Option("--patients", min=1, help="Virtual patients drawn around the child.")] = 100,
    years: options.YearsOption = 5.0,
    seed: options.SeedOption = 1,
    report: options.ReportOption = None,
    out: options.OutOption = None,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
) -> None:
    """Compare regimens over the same virtual patients, with differences and intervals.

    Example: ipex-pd compare --patient seidel_2009 --regimen untreated --regimen sirolimus --report report.html
    """
    if len(regimen) < 2:
        raise UsageError(
            "one regimen cannot be compared",
            where="--regimen",
            rule="A comparison needs at least two",
            cure="Add one, for example `--regimen untreated`",
        )
    if report is not None:
        require_writable_file(report, "--report")
    regimens = options.read_regimens(regimen)
    child = options.read_patient(patient)
    asked = {
        "command": "compare",
        "patient": patient,
        "regimens": list(regimen),
        "patients": patients,
        "years": years,
        "seed": seed,
    }
    folder = open_run(out, asked, options.input_files(patient, regimen), overwrite=overwrite)
    with guarded(folder), console.progress("Simulating", len(regimens), quiet=json) as advance:
        comparison = _run(child, regimens, patients, years, seed, folder, advance)
    with guarded(folder):
        _deliver(comparison, report, folder, as_json=json)
    if comparison.missing:
        raise console.Interrupted(
            f"the run was stopped before {', '.join(comparison.missing)}",
            rule="What is shown and written covers the finished regimens: " + ", ".join(comparison.simulations),
            cure="Run again for the others",
        )


def _run(
    child: Patient,
    regimens: dict[str, Regimen],
    patients: int,
    years: float,
    seed: int,
    folder: RunFolder | None,
    advance: console.Advance,
) -> Comparison:
    from ipex_pd.planning.comparison import assemble
    from ipex_pd.planning.comparison import compare as compare_regimens
    from ipex_pd.simulation.population import virtual_population

    finished: dict[str, Simulation] = {}
    stopped = Event()

    def keep(name: str, simulation: Simulation) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        if folder is not None:
            folder.save(f"simulations/{name}", simulation.save)
        finished[name] = simulation
        advance(name)

    population = virtual_population(child, patients, seed=seed)
    try:
        return interruptible(lambda: compare_regimens(population, regimens, years=years, seed=seed, progress=keep))
    except KeyboardInterrupt:
        stopped.set()
        if not finished:
            raise
        settings = {"years": years, "seed": seed, "regimens": list(regimens)}
        return assemble(population, regimens, dict(finished), settings, seed)


def _deliver(comparison: Comparison, report: Path | None, folder: RunFolder | None, *, as_json: bool) -> None:
    from ipex_pd.report.html import render_report

    if folder is not None:
        folder.write("result.json", comparison.to_json())
        folder.write("endpoints.csv", comparison.endpoints.to_csv(index=False))
        folder.write("differences.csv", comparison.differences.to_csv(index=False))
    page = render_report(comparison) if report is not None or folder is not None else ""
    if folder is not None:
        folder.write("report.html", page)
        folder.finish("interrupted" if comparison.partial else "finished")
        console.say(f"The run is in {folder.path}.")
    if report is not None:
        write_report(report, page, folder)
    for name, simulation in comparison.simulations.items():
        for warning in simulation.warnings:
            console.warn(f"{name}: {warning}")
    if as_json:
        console.emit_text(comparison.to_json())
    else:
        _print_endpoints(comparison)


def _print_endpoints(comparison: Comparison) -> None:
    from ipex_pd.report.figures import styles
    from ipex_pd.report.tables import endpoint_rows

    letters = {name: style.letter for name, style in styles(list(comparison.simulations)).items()}
    for name, letter in letters.items():
        console.emit_text(f"{letter}  {name}")
    brief = len(letters) > _COLUMNS_WITH_RANGE
    rows = [
        [row.label, row.unit, *(cell.middle if brief else str(cell) for cell in row.cells)]
        for row in endpoint_rows(comparison)
    ]
    title = "Mean of shares, median of all else" + ("" if brief else ", and the range that holds 90 % of the patients")
    console.emit_table(title, ["endpoint", "unit", *letters.values()], rows)
