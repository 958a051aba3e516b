"""`ipex-pd simulate`: one child, or virtual patients around one, under one regimen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipex_pd.cli import console, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible, open_run
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    from ipex_pd.simulation.results import Simulation


def simulate(
    patient: options.PatientOption,
    regimen: options.RegimenOption,
    years: options.YearsOption = 2.0,
    population: Annotated[
        int,
        typer.Option(
            "--population", min=1, help="Virtual patients drawn around the child; 1 is the child as described."
        ),
    ] = 1,
    seed: Annotated[
        int | None,
        typer.Option("--seed", min=0, help="Seed of the virtual patients of --population; 1 when not given."),
    ] = None,
    output_every: Annotated[
        str, typer.Option("--output-every", metavar="TIME", help="Time between outputs, with its unit.")
    ] = "7 day",
    out: options.OutOption = None,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
) -> None:
    """Simulate a child, or virtual patients around the child, under one regimen.

    Example: ipex-pd simulate --patient seidel_2009 --regimen prednisolone_tacrolimus --years 2
    """
    if population == 1 and seed is not None:
        raise UsageError(
            f"nothing is drawn with seed {seed}",
            where="--seed",
            rule="One patient is the child as described; only virtual patients are drawn",
            cure="Leave `--seed` out, or ask for virtual patients with `--population 20`",
        )
    drawn_with = 1 if seed is None else seed
    (name, treatment), *_ = options.read_regimens([regimen]).items()
    child = options.read_patient(patient)
    asked = {
        "command": "simulate",
        "patient": patient,
        "regimen": regimen,
        "years": years,
        "population": population,
        "seed": drawn_with if population > 1 else None,
        "output_every": output_every,
    }
    folder = open_run(out, asked, options.input_files(patient, [regimen]), overwrite=overwrite)

    from ipex_pd.simulation.population import virtual_population
    from ipex_pd.simulation.simulation import InterruptedSimulation
    from ipex_pd.simulation.simulation import simulate as run_simulation

    with guarded(folder), console.progress("Simulating", population, quiet=json) as advance:
        group = child if population == 1 else virtual_population(child, population, seed=drawn_with)
        try:
            simulation = interruptible(
                lambda: run_simulation(
                    group,
                    treatment,
                    years=years,
                    output_every=output_every,
                    progress=lambda done, total: advance(f"{done} of {total} patients", done),
                )
            )
        except InterruptedSimulation as stop:
            if stop.simulation is None:
                raise
            simulation = stop.simulation
    with guarded(folder):
        _deliver(simulation, {"regimen_name": name, **asked}, folder, as_json=json)
    if len(simulation) < population:
        raise console.Interrupted(
            f"the run was stopped after {len(simulation)} of {population} patients",
            rule="What is shown and written covers the finished patients",
            cure="Run again for all of them",
        )


def _deliver(simulation: Simulation, asked: dict[str, Any], folder: RunFolder | None, *, as_json: bool) -> None:
    from ipex_pd.report.tables import simulation_summary, summary_rows

    result = {**asked, **simulation_summary(simulation)}
    if folder is not None:
        folder.write("result.json", console.to_json(result) + "\n")
        folder.write("quantities.csv", simulation.to_frame().to_csv(index=False))
        folder.write("doses.csv", simulation.doses.to_frame(simulation.patients).to_csv(index=False))
        folder.write("endpoints.csv", simulation.endpoints().to_csv(index=False))
        folder.finish("finished" if len(simulation) == asked["population"] else "interrupted")
        console.say(f"The run is in {folder.path}.")
    for warning in simulation.warnings:
        console.warn(warning)
    if as_json:
        console.emit_json(result)
    else:
        columns, rows = summary_rows(simulation)
        console.emit_table(f"{asked['patient']} under {asked['regimen_name']}, median (5-95 %)", columns, rows)
