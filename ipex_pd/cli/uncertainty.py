"""`ipex-pd uncertainty`: how sure the estimates of a run are, by more than their standard errors."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipex_pd.cli import console, fit_runs, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible, require_claimable
from ipex_pd.cli.uncertainty_methods import METHODS, REPLICATES, Asked, Ended
from ipex_pd.errors import UsageError, nearest_hint

if TYPE_CHECKING:
    from ipex_pd.cli.fit_runs import AnyProblem
    from ipex_pd.inference.results import Fit

_STEPS = 100
_REPLICATES = 200
_SOONER = "Ask for fewer replicates, draws or parameters to see results sooner"


def uncertainty(
    run: options.RunArgument,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="bootstrap (refits to resampled subjects), sir (sampling importance resampling), profile (likelihood "
            "profiles), or covariance (draws from the covariance of the fit).",
        ),
    ] = "bootstrap",
    replicates: Annotated[
        int | None,
        typer.Option("--replicates", min=1, help="Refits of the bootstrap, those of --resume among them; 200."),
    ] = None,
    stratify: Annotated[
        str | None,
        typer.Option("--stratify", metavar="NAME", help="Resample within a covariate, or within `endpoint`."),
    ] = None,
    draws: Annotated[
        int | None, typer.Option("--draws", min=2, help="Draws that sir (200) or covariance (1000) leaves.")
    ] = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", metavar="NAME", help="To be profiled, as in parameters.csv; all if left out."),
    ] = None,
    level: Annotated[float, typer.Option("--level", min=0.01, max=0.999, help="Level of the intervals.")] = 0.95,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of everything drawn; 1 when not given.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where it is written; RUN/METHOD if left out.")
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is in that folder.")] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the replicates that the bootstrap in that folder kept.")
    ] = False,
    json: options.JsonOption = False,
) -> None:
    """Tell how sure the estimates of a finished fit are: bootstrap, SIR, likelihood profiles, or its covariance.

    The fit is rebuilt from its folder. Written are parameters.csv (the intervals), draws.csv (a row a draw, an ensemble
    for what comes after; not of profiles) and what the method has besides. Ctrl-C keeps what is finished.

    Examples:
      ipex-pd uncertainty runs/first --replicates 500 --seed 1
      ipex-pd uncertainty runs/first --method profile --parameter tcl
    """
    given = {
        "--replicates": replicates is not None,
        "--stratify": stratify is not None,
        "--draws": draws is not None,
        "--parameter": bool(parameter),
        "--seed": seed is not None,
        "--resume": resume,
    }
    _require_options(method, [name for name, here in given.items() if here])
    asked = Asked(
        replicates or _REPLICATES, stratify, draws, tuple(parameter or ()), level, 1 if seed is None else seed
    )
    told, problem = fit_runs.result_of(run), fit_runs.kept_problem(run)
    _require_fit(str(told.get("method", "")), method)
    _require_names(told, problem, asked)
    chosen, place = METHODS[method], run / method if out is None else out
    require_claimable(place, overwrite=overwrite or resume)
    if resume:
        _require_kept(place)
    with guarded(None, _SOONER), console.progress("Rebuilding the fit", 1, quiet=json):
        from ipex_pd.inference.recall import recall

        fit = interruptible(lambda: recall(problem, told))
    folder, about = _open(place, run, method, asked, fit if resume else None, overwrite=overwrite)
    with guarded(folder, _SOONER), console.progress(chosen.title, _steps(method, asked), quiet=json) as advance:
        ended = interruptible(lambda: chosen.run(fit, asked, folder, advance))
    with guarded(folder):
        _deliver(ended, {**about, "objective": fit.value}, folder, as_json=json)
    if ended.interrupted:
        raise console.Interrupted(
            f"{chosen.purpose} was stopped before its end", rule=folder.kept, cure=_cure(run, method, asked, out)
        )


def _steps(method: str, asked: Asked) -> int:
    return asked.replicates if method == "bootstrap" else _STEPS


def _require_options(method: str, given: list[str]) -> None:
    """Refuse a method that does not exist, and an option that it would not read. Raises: UsageError."""
    if method not in METHODS:
        raise UsageError(f"`{method}` is not a method", where="--method", rule=nearest_hint(method, METHODS))
    for name in given:
        if name not in METHODS[method].options:
            readers = ", ".join(other for other, one in METHODS.items() if name in one.options)
            raise UsageError(
                f"`{method}` does not read `{name}`", where=name, rule=f"It belongs to: {readers}", cure="Leave it out"
            )


def _require_fit(fitted: str, method: str) -> None:
    """Refuse a fit that the method cannot follow, before anything is computed. Raises: UsageError."""
    from ipex_pd.inference.methods import STOCHASTIC
    from ipex_pd.inference.reestimation import require_method

    if method != "covariance" or fitted not in STOCHASTIC:
        require_method(fitted, METHODS[method].purpose)


def _require_names(told: dict[str, Any], problem: AnyProblem, asked: Asked) -> None:
    """Refuse parameters and covariates that the problem does not have. Raises: UsageError."""
    from ipex_pd.inference.strata import ENDPOINT
    from ipex_pd.records.problems import EstimationProblem

    estimated = [row["parameter"] for row in told["parameters"] if not row["fixed"]]
    for name in asked.parameters:
        if name not in estimated:
            rule = nearest_hint(name, estimated)
            raise UsageError(f"`{name}` is not an estimated parameter of this fit", where="--parameter", rule=rule)
    covariates = problem.data.covariates if isinstance(problem, EstimationProblem) else ()
    if asked.stratify is not None and asked.stratify not in (*covariates, ENDPOINT):
        rule = nearest_hint(asked.stratify, (*covariates, ENDPOINT))
        raise UsageError(f"`{asked.stratify}` is no covariate of this problem", where="--stratify", rule=rule)


def _require_kept(place: Path) -> None:
    """Refuse to go on where nothing was kept. Raises: UsageError."""
    if not (place / REPLICATES).is_file():
        raise UsageError(
            "there are no replicates to go on from",
            where="--resume",
            rule=f"A bootstrap keeps them in `{place / REPLICATES}`",
            cure="Leave --resume out, or name the folder of the bootstrap with --out",
        )


def _open(
    place: Path, run: Path, method: str, asked: Asked, resumed: Fit | None, *, overwrite: bool
) -> tuple[RunFolder, dict[str, Any]]:
    """The folder for the results, with the replicates of the fit `resumed`, and what was asked.

    Raises:
        UsageError: the replicates there are of another seed or strata.
        RecordError: they are of another fit; nothing is deleted.
        OutputError: the folder cannot be written.
    """
    before = None
    if resumed is not None:
        from ipex_pd.inference.resampling import load_bootstrap, require_resumable
        from ipex_pd.inference.strata import strata_of

        strata = strata_of(resumed, asked.stratify)
        require_resumable(load_bootstrap(place / REPLICATES, resumed), resumed, asked.seed, strata)
        before = (place / REPLICATES).read_text(encoding="utf-8")
    read = {name.removeprefix("--").replace("parameter", "parameters") for name in METHODS[method].options}
    words = {name: value for name, value in asdict(asked).items() if name in read | {"level"}}
    about = {"command": "uncertainty", "run": str(run), "method": method, **words}
    folder = RunFolder(place, about, overwrite=overwrite or before is not None)
    if before is not None:
        folder.write(REPLICATES, before)
    return folder, about


def _deliver(ended: Ended, about: dict[str, Any], folder: RunFolder, *, as_json: bool) -> None:
    for name, text in ended.tables.items():
        folder.write(name, text)
    if ended.draws is not None:
        folder.save("draws.csv", ended.draws.save)
    state = "interrupted" if ended.interrupted else "finished"
    result = {**about, "state": state, **ended.details, "remarks": list(ended.remarks)}
    folder.write("uncertainty.json", console.to_json(result) + "\n")
    folder.finish(state)
    console.say(f"The results are in {folder.path}.")
    if as_json:
        console.emit_json({**result, "folder": str(folder.path), "written": folder.written})
    else:
        console.emit_text(ended.text)


def _cure(run: Path, method: str, asked: Asked, out: Path | None) -> str:
    words = f"ipex-pd uncertainty {run} --method {method}" + (f" --out {out}" if out is not None else "")
    if method != "bootstrap":
        return f"Run it again: {words} --overwrite"
    within = f" --stratify {asked.stratify}" if asked.stratify is not None else ""
    return f"Go on with: {words} --replicates {asked.replicates} --seed {asked.seed}{within} --resume"
