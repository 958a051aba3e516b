"""`ipex-pd optimise`: the best regimen for a plan's goals within its limits."""

from __future__ import annotations

import json as plain_json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ipex_pd.cli import console, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible, open_run, require_writable_file, write_report
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    from ipex_pd.planning.optimise import PlanOptions
    from ipex_pd.planning.plan import Plan
    from ipex_pd.planning.plan_checkpoint import PlanCheckpoint
    from ipex_pd.planning.timing import TimingProfile
    from ipex_pd.records.draws import ParameterDraws
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.plans import PlanningProblem

CHECKPOINT = "checkpoint.json"


def optimise(
    plan: options.PlanArgument,
    patient: Annotated[
        str | None,
        typer.Option(
            "--patient",
            "-p",
            metavar="NAME|FILE",
            help="Another child than the plan's own.",
            autocompletion=options.complete_patient,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--start",
            metavar="NAME|FILE",
            help="Another regimen to begin from than the plan's own.",
            autocompletion=options.complete_regimen,
        ),
    ] = None,
    draws: Annotated[
        Path | None,
        typer.Option(
            "--draws",
            metavar="FILE",
            help="Draws of parameters (of a fit, or of one child's posterior) in place of the stated uncertainty.",
        ),
    ] = None,
    children: Annotated[
        int | None,
        typer.Option("--children", min=1, help="Virtual children of the ensemble, in place of the plan's number."),
    ] = None,
    starts: Annotated[int, typer.Option("--starts", min=1, help="Searches of each combination of choices.")] = 3,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="The most steps of one search.")] = 60,
    algorithm: Annotated[str, typer.Option("--algorithm", help="slsqp, trust-constr or adam.")] = "slsqp",
    timing: Annotated[
        bool, typer.Option(help="Profile the transplant day, where the plan has a `timing` grid.")
    ] = True,
    seed: options.SeedOption = 1,
    report: options.ReportOption = None,
    out: options.OutOption = None,
    overwrite: options.OverwriteOption = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the finished searches that the run in --out wrote down.")
    ] = False,
    json: options.JsonOption = False,
) -> None:
    """Find the regimen, and the transplant day, that serve a plan's goals best within its limits.

    Doses are prescribable, the plan is judged on children it was not made for, and a search that finds nothing better,
    or nothing permitted, says so. Ctrl-C keeps the best so far. Exit code 1: no plan keeps all limits.

    Examples:
      ipex-pd optimise steroid_sparing_taper --out runs/taper
      ipex-pd optimise my_plan.yaml --children 5 --starts 1
      ipex-pd compare --patient seidel_2009 --regimen untreated --regimen runs/taper/regimen.yaml
    """
    from ipex_pd.planning.optimise import PlanOptions

    if report is not None:
        require_writable_file(report, "--report")
    problem = _problem(plan, children)
    child = options.read_patient(patient or problem.patient)
    given = None if draws is None else _draws(draws)
    chosen = PlanOptions(starts=starts, seed=seed, iterations=iterations, algorithm=algorithm)  # type: ignore[arg-type]
    asked: dict[str, Any] = {
        "command": "optimise",
        "plan": plan,
        "patient": patient or problem.patient,
        "start": start,
        "draws": None if draws is None else str(draws),
        "children": children,
        "starts": starts,
        "iterations": iterations,
        "algorithm": algorithm,
        "seed": seed,
    }
    done = _checkpoint(out, resume=resume)
    folder = open_run(out, asked, _inputs(plan, asked), overwrite=overwrite or resume)
    if folder is not None and done is not None:
        folder.write(CHECKPOINT, done.to_json() + "\n")
    found, profile = _searched(problem, child, start, given, chosen, folder, done, timing=timing, quiet=json)
    with guarded(folder):
        _deliver(found, profile, report, folder, as_json=json)
    if found.partial:
        raise console.Interrupted(
            "the search was stopped before its end",
            rule="What is shown and written is the best plan so far",
            cure=f"Go on with: ipex-pd optimise {plan} --out {out} --resume" if out else "Run it again with `--out`",
        )
    if not found.feasible:
        raise typer.Exit(console.EXIT_FAILED)


def _searched(
    problem: PlanningProblem,
    child: Patient,
    start: str | None,
    draws: ParameterDraws | None,
    chosen: PlanOptions,
    folder: RunFolder | None,
    done: PlanCheckpoint | None,
    *,
    timing: bool,
    quiet: bool,
) -> tuple[Plan, TimingProfile | None]:
    from ipex_pd.planning.optimise import optimise_regimen

    begin = None if start is None else next(iter(options.read_regimens([start]).values()))

    def keep(checkpoint: PlanCheckpoint) -> None:
        if folder is not None:
            folder.write(CHECKPOINT, checkpoint.to_json() + "\n")

    with guarded(folder, cure="Ask for fewer children or starts"):
        with console.progress("Planning", chosen.iterations, quiet=quiet) as advance:

            def tell(search: str, iteration: int, value: float, violation: float) -> None:
                over = f", over a limit by {violation:.2g}" if violation > 0 else ""
                advance(f"{search}, goal {value:.5g}{over}", iteration)

            found = interruptible(
                lambda: optimise_regimen(
                    child,
                    goal=problem,
                    start=begin,
                    draws=draws,
                    options=chosen,
                    progress=tell,
                    resume=done,
                    checkpoint=keep,
                )
            )
        return found, None if found.partial or not timing else _timed(problem, child, found, draws, folder, quiet)


def _timed(
    problem: PlanningProblem,
    child: Patient,
    found: Plan,
    draws: ParameterDraws | None,
    folder: RunFolder | None,
    quiet: bool,
) -> TimingProfile | None:
    if problem.timing is None:
        return None
    from ipex_pd.planning.timing import transplant_timing

    if folder is not None:
        found.save(folder.path)
    with console.progress("Timing", 1, quiet=quiet) as advance:

        def tell(done: int, total: int) -> None:
            advance(f"the day of the transplant, {done} of {total} parts", int(done == total))

        return interruptible(lambda: transplant_timing(child, goal=problem, draws=draws, progress=tell))


def _problem(plan: str, children: int | None) -> PlanningProblem:
    from ipex_pd.records.library import load_plan

    problem = load_plan(plan)
    if children is None:
        return problem
    changed = {"ensemble": problem.ensemble.model_copy(update={"children": children})}
    if problem.out_of_sample is not None:
        changed["out_of_sample"] = problem.out_of_sample.model_copy(update={"children": children})
    return problem.model_copy(update=changed)


def _draws(path: Path) -> ParameterDraws:
    from ipex_pd.records.draws import load_draws

    return load_draws(path)


def _inputs(plan: str, asked: dict[str, Any]) -> list[Path]:
    from ipex_pd.records.library import shipped

    files = [shipped("plans").get(plan, Path(plan))]
    files += options.input_files(asked["patient"], [] if asked["start"] is None else [asked["start"]])
    return [*files, *([] if asked["draws"] is None else [Path(asked["draws"])])]


def _checkpoint(out: Path | None, *, resume: bool) -> PlanCheckpoint | None:
    """The finished searches to go on from."""
    if not resume:
        return None
    from ipex_pd.planning.plan_checkpoint import checkpoint_from_json

    if out is None:
        raise UsageError("there is nothing to resume", where="--resume", rule="It needs the folder of the run: `--out`")
    file = out / CHECKPOINT
    if not file.is_file():
        raise UsageError(
            f"the run in `{out}` has no `{CHECKPOINT}`",
            where="--resume",
            rule="A run writes it when its first search is finished",
            cure="Begin anew with `--overwrite`",
        )
    try:
        return checkpoint_from_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"`{file}` is no JSON ({error})", where="--resume", cure="Begin anew") from error


def _deliver(
    found: Plan, profile: TimingProfile | None, report: Path | None, folder: RunFolder | None, *, as_json: bool
) -> None:
    from ipex_pd.report.plan_html import render_plan_report

    page = render_plan_report(found, timing=profile) if report is not None or folder is not None else ""
    if folder is not None:
        found.save(folder.path)
        folder.written += ["regimen.yaml", "plan.json"]
        folder.write("plan.txt", f"{found}\n")
        for name in ("calendar", "values", "expected", "ranking"):
            folder.write(f"{name}.csv", getattr(found, name).to_csv(index=False))
        if profile is not None:
            folder.write("timing.json", profile.to_json() + "\n")
        folder.write("report.html", page)
        folder.finish("interrupted" if found.partial else "finished")
        console.say(f"The run is in {folder.path}.")
    if report is not None:
        write_report(report, page, folder)
    if as_json:
        result = plain_json.loads(found.to_json())
        if profile is not None:
            result["timing"] = plain_json.loads(profile.to_json())
        console.emit_json(result)
        return
    console.emit_text(str(found))
    if profile is not None:
        console.emit_text(str(profile))
