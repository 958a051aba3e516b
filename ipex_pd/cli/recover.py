"""`ipex-pd recover`: does a fit find what made the data?"""

from __future__ import annotations

import json as plain_json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipex_pd.cli import console, fit_runs, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ipex_pd.inference.recovery import Recovery, Trial

_REPLICATES = "replicates"


def recover(
    problem: options.ProblemArgument,
    replicates: Annotated[int, typer.Option("--replicates", min=1, help="Datasets drawn and fitted.")] = 50,
    method: Annotated[
        str, typer.Option("--method", "-m", help="fo, foce, focei, laplace, agq, saem, imp or pooled.")
    ] = "focei",
    moved: Annotated[
        float,
        typer.Option("--moved", min=0.0, help="SD of starts around the truth on the search scale (log for most)."),
    ] = 0.2,
    level: Annotated[float, typer.Option("--level", min=0.01, max=0.99, help="Level of the intervals.")] = 0.9,
    covariance: Annotated[str, typer.Option("--covariance", help="auto, sandwich (R^-1 S R^-1), r or s.")] = "auto",
    processes: Annotated[int, typer.Option("--processes", min=1, help="Fits at a time, each on a core.")] = 1,
    seed: options.SeedOption = 1,
    out: options.OutOption = None,
    overwrite: options.OverwriteOption = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the replicates kept in --out.")] = False,
    json: options.JsonOption = False,
) -> None:
    """Draw data from a problem's start values, fit them, and see whether the start values are found again.

    The design stays (who, doses, what is measured when); random effects and residuals are drawn anew. Ctrl-C keeps the
    replicates done. Exit code 1: no fit ended as it should.

    Examples:
      ipex-pd recover theophylline --replicates 100
      ipex-pd recover synthetic_ipex --replicates 50 --seed 1 --processes 2 --out runs/recovery
    """
    from ipex_pd.inference.options import FitOptions
    from ipex_pd.records.library import load_any_problem

    chosen = FitOptions(restarts=0, level=level, covariance=covariance)  # type: ignore[arg-type]
    asked = load_any_problem(problem)
    about = {
        "command": "recover",
        "problem": problem,
        "method": method,
        "seed": seed,
        "moved": moved,
        "options": fit_runs.describe_options(chosen),
    }
    done = _kept(out, about, asked) if resume else []
    folder = None
    if out is not None:
        folder = RunFolder(out, {**about, "replicates": replicates}, overwrite=overwrite or resume)
        for trial in done:
            _write(folder, trial)
        about["inputs"] = fit_runs.keep_problem(folder, problem, asked)
        folder.write(fit_runs.SETTINGS, console.to_json(about) + "\n")
    with guarded(folder), console.progress("Recovering", replicates, quiet=json) as advance:

        def tell(count: int, trial: Trial) -> None:
            if folder is not None:
                _write(folder, trial)
                folder.log(f"replicate {trial.number}: {trial.failure or trial.outcome}, {trial.seconds:.1f} s")
            advance(f"replicate {trial.number} took {trial.seconds:.0f} s", count)

        from ipex_pd.inference.recovery import recover as study

        found = interruptible(
            lambda: study(
                asked,
                replicates,
                seed=seed,
                method=method,
                options=chosen,
                moved=moved,
                processes=processes,
                done=done,
                progress=tell,
            )
        )
    with guarded(folder):
        _deliver(found, folder, as_json=json)
    if found.interrupted:
        raise console.Interrupted(
            "the study was stopped before its end",
            rule=f"{len(found.trials)} of {replicates} replicates are done",
            cure=f"Go on with the same command and `--out {out} --resume`" if out else "Run it again with `--out`",
        )
    if not found.usable:
        raise typer.Exit(console.EXIT_FAILED)


def _write(folder: RunFolder, trial: Trial) -> None:
    folder.write(f"{_REPLICATES}/{trial.number:05d}.json", console.to_json(trial.to_data()) + "\n")


def _kept(out: Path | None, about: dict[str, Any], asked: Any) -> Sequence[Trial]:
    """Replicates of the run in a folder. Raises: UsageError: none, or those of another study."""
    if out is None:
        raise UsageError("there is nothing to resume", where="--resume", rule="It needs the folder of the run: `--out`")
    before = fit_runs.settings_of(out)
    now = plain_json.loads(console.to_json(about))
    other = [name for name, value in now.items() if name != "problem" and before.get(name) != value]
    if not fit_runs.same_problem(asked, fit_runs.kept_problem(out)):
        other.append("problem")
    if other:
        raise UsageError(
            f"the study in `{out}` had another {' and '.join(other)}",
            code="recovery.resume",
            rule="Replicates are decided by the problem, method, options, seed and how far starts are moved",
            cure="Give the same, or begin anew in another folder",
        )
    from ipex_pd.inference.recovery import trial_of

    files = sorted((out / _REPLICATES).glob("*.json"))
    return [trial_of(plain_json.loads(file.read_text(encoding="utf-8"))) for file in files]


def _deliver(found: Recovery, folder: RunFolder | None, *, as_json: bool) -> None:
    if folder is not None:
        folder.write("recovery.json", found.to_json() + "\n")
        folder.write("recovery.csv", found.table.to_csv(index=False))
        folder.write("replicates.csv", found.replicates.to_csv(index=False))
        folder.write("recovery.txt", str(found) + "\n")
        folder.finish("interrupted" if found.interrupted else "finished")
        console.say(f"The run is in {folder.path}.")
    if as_json:
        console.emit_json(plain_json.loads(found.to_json()))
    else:
        console.emit_text(str(found))
