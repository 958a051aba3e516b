"""`ipex-pd fit`: estimate the parameters of a problem."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipex_pd.cli import console, fit_runs, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from ipex_pd.inference.options import FitOptions
    from ipex_pd.inference.posterior import PosteriorFit
    from ipex_pd.inference.progress import Stage
    from ipex_pd.inference.results import Fit
    from ipex_pd.inference.settings import Settings


def fit(
    problem: options.ProblemArgument,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            "-m",
            help="fo, foce, focei, laplace, agq (exact, few random effects), saem, imp, two_stage; nuts (posterior); "
            "pooled (no random effects), map (modes only).",
        ),
    ] = "focei",
    restarts: Annotated[int, typer.Option("--restarts", min=0, help="Further searches from moved starts.")] = 1,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="The most steps of one search.")] = 300,
    covariance: Annotated[
        str, typer.Option("--covariance", help="auto, sandwich (R^-1 S R^-1), r, s, or none.")
    ] = "auto",
    seed: options.SeedOption = 20240,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="A setting that saem, imp or nuts alone has, such as `draws=2000`; `--option list` shows them.",
        ),
    ] = None,
    out: options.OutOption = None,
    overwrite: options.OverwriteOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the best point that the run in --out wrote down.")
    ] = False,
    json: options.JsonOption = False,
) -> None:
    """Fit a mixed-effects problem to its data, with standard errors, shrinkage and a verdict.

    Ctrl-C keeps the best estimates so far. Exit code 1: the fit ended, and its verdict is `do not trust`.

    Examples:
      ipex-pd fit theophylline --method focei
      ipex-pd fit my_problem.yaml --method laplace --out runs/first
      ipex-pd fit theophylline --method nuts --option draws=2000
      ipex-pd diagnose runs/first
    """
    from ipex_pd.inference.options import FitOptions
    from ipex_pd.records.library import load_any_problem

    settings = _settings(method, option or [], seed)
    chosen = FitOptions(
        iterations=iterations,
        restarts=restarts,
        covariance=covariance,  # type: ignore[arg-type]
        seed=seed,
        settings=settings,
    )
    asked = load_any_problem(problem)
    start = _start(out, problem, resume)
    folder = _open(out, problem, method, chosen, overwrite=overwrite or resume)
    if folder is not None:
        inputs = fit_runs.keep_problem(folder, problem, asked)
        about = {
            "command": "fit",
            "problem": problem,
            "method": method,
            "options": fit_runs.describe_options(chosen),
            "inputs": inputs,
            "resumed_from": None if start is None else start.tolist(),
        }
        folder.write(fit_runs.SETTINGS, console.to_json(about) + "\n")
        if start is not None:
            folder.write(fit_runs.CHECKPOINT, console.to_json({"phase": "resumed", "search": start.tolist()}) + "\n")
    with guarded(folder), console.progress("Fitting", iterations, quiet=json) as advance:
        tell = fit_runs.Checkpoints(folder, lambda stage: _tell(advance, stage))
        from ipex_pd.inference.estimation import fit as estimate

        done = interruptible(lambda: estimate(asked, method, chosen, tell, start))
    with guarded(folder):
        _deliver(done, problem, folder, as_json=json)
    if _interrupted(done):
        raise console.Interrupted(
            "the fit was stopped before its end",
            rule="What is shown and written are the best estimates so far, without standard errors",
            cure=f"Go on with: ipex-pd fit {problem} --method {method} --out {out} --resume" if out else "Run it again",
        )
    if done.verdict.level == "do not trust":
        raise typer.Exit(console.EXIT_FAILED)


def _open(out: Path | None, problem: str, method: str, chosen: FitOptions, *, overwrite: bool) -> RunFolder | None:
    if out is None:
        return None
    asked = {"command": "fit", "problem": problem, "method": method, **fit_runs.describe_options(chosen)}
    return RunFolder(out, asked, overwrite=overwrite)


def _settings(method: str, given: list[str], seed: int) -> Settings | None:
    """What was given with `--option`."""
    if not given:
        return None
    from ipex_pd.inference.settings import setting_names, settings_from_text

    pairs = {}
    for text in given:
        name, sign, value = text.partition("=")
        if not sign:
            known = ", ".join(f"{n}={v}" for n, v in setting_names(method).items())
            raise UsageError(
                f"`{text}` sets nothing" if text != "list" else f"the options of {method} are shown here",
                where="--option",
                rule=f"Options of {method} and their defaults: {known}",
                cure=f"Write for example `--option {next(iter(setting_names(method)))}=VALUE`",
            )
        pairs[name.strip()] = value.strip()
    return settings_from_text(method, pairs, seed)


def _start(out: Path | None, problem: str, resume: bool) -> np.ndarray | None:
    """The point to go on from."""
    if not resume:
        return None
    import numpy as np

    if out is None:
        raise UsageError("there is nothing to resume", where="--resume", rule="It needs the folder of the run: `--out`")
    fit_runs.settings_of(out)
    point = fit_runs.checkpoint_of(out)
    if point is None:
        raise UsageError(
            f"the run in `{out}` wrote no point down",
            where="--resume",
            rule="A run writes its best point every few seconds",
            cure="Fit again with `--overwrite`",
        )
    kept = fit_runs.kept_problem(out)
    from ipex_pd.records.library import load_any_problem

    if not fit_runs.same_problem(load_any_problem(problem), kept):
        raise UsageError(
            f"`{problem}` is not the problem of the run in `{out}`, or it was changed since",
            where="--resume",
            rule="A run goes on with the same problem",
            cure="Fit again with `--overwrite`",
        )
    return np.array(point["search"], float)


def _tell(advance: console.Advance, stage: Stage) -> None:
    said = [stage.phase]
    if stage.objective is not None:
        said.append(f"objective {stage.objective:.3f}")
    if stage.gradient is not None and math.isfinite(stage.gradient):
        said.append(f"gradient {stage.gradient:.2g}")
    advance(", ".join(said), stage.iteration)


def _interrupted(done: Fit | PosteriorFit) -> bool:
    return done.posterior.interrupted if done.method == "nuts" else done.found.interrupted  # type: ignore[union-attr]


def _deliver(done: Fit | PosteriorFit, problem: str, folder: RunFolder | None, *, as_json: bool) -> None:
    if folder is not None:
        if done.method == "nuts":
            fit_runs.write_posterior(folder, done)  # type: ignore[arg-type]
        else:
            fit_runs.write_fit(folder, done)  # type: ignore[arg-type]
        folder.finish("interrupted" if _interrupted(done) else "finished")
        console.say(f"The run is in {folder.path}.")
    if as_json:
        import json

        result: dict[str, Any] = {"problem": problem, **json.loads(done.to_json())}
        console.emit_json(result)
    else:
        console.emit_text(str(done))
