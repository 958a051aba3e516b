"""`ipex-pd forecast`: one child from his measurements."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipex_pd.cli import console, fit_runs, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible, open_run, require_writable_file, write_report
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from ipex_pd.inference.forecast import Forecast
    from ipex_pd.inference.forecast_prior import ForecastPrior
    from ipex_pd.records.cohorts import CohortData

_SHOWN = ("parameter", "value", "shipped", "z", "posterior_sd")


def forecast(
    patient: options.PatientArgument,
    data: Annotated[
        Path, typer.Argument(metavar="DATA", help="What was measured: a CSV file with TIME, DVID, DV, CENS, LIMIT.")
    ],
    regimen: options.RegimenOption,
    years: options.YearsOption = 2.0,
    draws: Annotated[int, typer.Option("--draws", min=2, help="Courses that agree with the measurements.")] = 200,
    seed: options.SeedOption = 1,
    fitted: Annotated[
        Path | None,
        typer.Option("--fit", metavar="RUN", help="Run folder of a fitted problem of the disease: its population."),
    ] = None,
    report: options.ReportOption = None,
    out: options.OutOption = None,
    overwrite: options.OverwriteOption = False,
    json: options.JsonOption = False,
) -> None:
    """Forecast one child from his measurements: bands, endpoints, and what the data told of him.

    The regimen is what was given so far and what will be given.

    Example: ipex-pd forecast seidel_2009 visits.csv --regimen prednisolone --years 2 --report forecast.html
    """
    if report is not None:
        require_writable_file(report, "--report")
    if not data.is_file():
        raise UsageError(f"there is no file `{data}`", where="DATA", rule="A table of measurements", cure="Check it")
    child = options.read_patient(patient)
    (treatment,) = options.read_regimens([regimen]).values()
    asked = {
        "command": "forecast",
        "patient": patient,
        "data": str(data),
        "regimen": regimen,
        "years": years,
        "draws": draws,
        "seed": seed,
        "fit": None if fitted is None else str(fitted),
    }
    folder = open_run(out, asked, [*options.input_files(patient, [regimen]), data], overwrite=overwrite)
    with guarded(folder), console.progress("Forecasting", 2, quiet=json) as advance:
        from ipex_pd.inference.forecast import forecast as foresee
        from ipex_pd.inference.forecast import one_child

        advance("reading", 0)
        cohort = one_child(child, data, treatment)
        prior = None if fitted is None else interruptible(lambda: _prior(fitted, cohort))
        advance("searching and simulating", 1)
        found = interruptible(
            lambda: foresee(child, data, regimen=treatment, years=years, draws=draws, seed=seed, prior=prior)
        )
        advance("done", 2)
    with guarded(folder):
        _deliver(found, asked, report, folder, as_json=json)


def _prior(run: Path, cohort: CohortData) -> ForecastPrior:
    """The population that a run found. Raises: UsageError."""
    from ipex_pd.inference.forecast_prior import prior_of_fit
    from ipex_pd.inference.recall import recall
    from ipex_pd.records.cohort_problems import CohortProblem

    problem = fit_runs.kept_problem(run)
    if not isinstance(problem, CohortProblem):
        raise UsageError(
            f"`{problem.name}` is no problem of the disease",
            where="--fit",
            rule="A forecast takes the spread between children from a fit with `model: ipex`",
            cure="See: ipex-pd catalogue cohort_problems",
        )
    return prior_of_fit(recall(problem, fit_runs.result_of(run)), cohort)


def _deliver(
    found: Forecast, asked: dict[str, Any], report: Path | None, folder: RunFolder | None, *, as_json: bool
) -> None:
    from ipex_pd.report.forecast_html import render_forecast_report

    result = {
        **asked,
        "converged": found.mode.converged,
        "objective": found.mode.objective,
        "informed": found.informed.to_dict("records"),
        "endpoints": found.endpoints.to_dict("records"),
        "bands": _bands(found.bands),
        "warnings": list(found.warnings),
    }
    page = render_forecast_report(found) if report is not None or folder is not None else ""
    if folder is not None:
        folder.write("result.json", console.to_json(result) + "\n")
        folder.write("informed.csv", found.informed.to_csv(index=False))
        folder.write("bands.csv", found.bands.to_csv(index=False))
        folder.write("endpoints.csv", found.endpoints.to_csv(index=False))
        folder.write("report.html", page)
        folder.finish()
        console.say(f"The run is in {folder.path}.")
    if report is not None:
        write_report(report, page, folder)
    for warning in found.warnings:
        console.warn(warning)
    if as_json:
        console.emit_json(result)
    else:
        _print(found)


def _bands(table: pd.DataFrame) -> dict[str, Any]:
    columns = ("time", "median", "low", "high")
    return {
        str(name): {"unit": str(own["unit"].iloc[0]), **{column: own[column].tolist() for column in columns}}
        for name, own in table.groupby("quantity", sort=False)
    }


def _print(found: Forecast) -> None:
    from ipex_pd.report.forecast_html import endpoint_rows, summary_sentences

    for sentence in summary_sentences(found):
        console.emit_text(sentence)
    told = found.informed[found.informed["informed"]]
    rows = [[str(row["parameter"]), *(f"{row[name]:.3g}" for name in _SHOWN[1:])] for row in told.to_dict("records")]
    titles = ["parameter", "this child", "typical", "away [SD]", "spread left"]
    console.emit_table("What the measurements told (spread between children is 1)", titles, rows)
    title = f"{found.patient} under {found.regimen}: mean of shares, median of all else"
    console.emit_table(title, ["endpoint", "unit", "expected", "90 % of courses"], endpoint_rows(found))
