"""`ipex-pd optimise`: the best regimen for a plan's goals within its limits."""

from __future__ import annotations

import json as plain_json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from ipex_pd.cli import console, options
from ipex_pd.cli.runs import RunFolder, guarded, interruptible, open_run, require_writable_file, write_report
from ipex_pd.errors import UsageError, nearest_hint

if TYPE_CHECKING:
    from ipex_pd.planning.bridges import BridgeTiming
    from ipex_pd.planning.optimise import PlanOptions
    from ipex_pd.planning.pareto import PlanFront
    from ipex_pd.planning.plan import Plan
    from ipex_pd.planning.plan_checkpoint import PlanCheckpoint
    from ipex_pd.planning.sensitivity import Sensitivity
    from ipex_pd.planning.timing import TimingProfile
    from ipex_pd.records.draws import ParameterDraws
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.plans import PlanningProblem

CHECKPOINT = "checkpoint.json"
_FEW = 5


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
            help="Draws of population values (of a fit) in place of the stated uncertainty; virtual children vary "
            "around them: not for one child's posterior, which is planned for in Python.",
        ),
    ] = None,
    children: Annotated[
        int | None,
        typer.Option(
            "--children", min=1, help="Virtual children of the search, in place of the plan's number; fresh ones stay."
        ),
    ] = None,
    starts: Annotated[int, typer.Option("--starts", min=1, help="Searches of each combination of choices.")] = 3,
    iterations: Annotated[int, typer.Option("--iterations", min=1, help="The most steps of one search.")] = 40,
    algorithm: Annotated[str, typer.Option("--algorithm", help="slsqp, trust-constr or adam.")] = "slsqp",
    timing: Annotated[
        bool, typer.Option(help="Profile the transplant day, where the plan has a `timing` grid.")
    ] = True,
    front: Annotated[
        str | None,
        typer.Option(
            "--front",
            metavar="GOAL,GOAL",
            help="Also what more of one goal costs in another, such as survival,steroid_dose.",
        ),
    ] = None,
    bridges: Annotated[
        str | None,
        typer.Option(
            "--bridges",
            metavar="DAY,DAY",
            help="Also search the doses before the transplant anew for these days of it, such as 60,180,365.",
        ),
    ] = None,
    sensitivity: Annotated[
        bool, typer.Option(help="Which assumptions the plan hangs on, and what would change the decision.")
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
    two, days = _two(front), _bridge_days(bridges, problem)
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
        "front": front,
        "bridges": bridges,
        "seed": seed,
    }
    done = _checkpoint(out, resume=resume)
    folder = open_run(out, asked, _inputs(plan, asked), overwrite=overwrite or resume)
    if folder is not None and done is not None:
        folder.write(CHECKPOINT, done.to_json() + "\n")
    found = _searched(problem, child, start, given, chosen, folder, done, quiet=json)
    with guarded(folder):
        if folder is not None:
            _keep(folder, found)
        more = _more(
            problem, child, found, given, chosen, timing=timing, two=two, days=days, hangs=sensitivity, quiet=json
        )
        _deliver(found, more, report, folder, as_json=json)
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
    quiet: bool,
) -> Plan:
    from ipex_pd.planning.optimise import optimise_regimen

    begin = None if start is None else next(iter(options.read_regimens([start]).values()))

    def keep(checkpoint: PlanCheckpoint) -> None:
        if folder is not None:
            folder.write(CHECKPOINT, checkpoint.to_json() + "\n")

    stop = guarded(folder, cure="Ask for fewer children or starts")
    with stop, console.progress("Planning", chosen.iterations, quiet=quiet) as advance:
        return interruptible(
            lambda: optimise_regimen(
                child,
                goal=problem,
                start=begin,
                draws=draws,
                options=chosen,
                progress=_teller(advance),
                resume=done,
                checkpoint=keep,
            )
        )


def _teller(advance: console.Advance) -> Callable[[str, int, float, float], None]:
    def tell(search: str, iteration: int, value: float, violation: float) -> None:
        over = f", over a limit by {violation:.2g}" if violation > 0 else ""
        advance(f"{search}, goal {value:.5g}{over}", iteration)

    return tell


class _More(NamedTuple):
    """What is asked about a plan that was found."""

    timing: TimingProfile | None = None
    front: PlanFront | None = None
    sensitivity: Sensitivity | None = None
    bridges: BridgeTiming | None = None


def _more(
    problem: PlanningProblem,
    child: Patient,
    found: Plan,
    draws: ParameterDraws | None,
    chosen: PlanOptions,
    *,
    timing: bool,
    two: tuple[str, str] | None,
    days: tuple[float, ...],
    hangs: bool,
    quiet: bool,
) -> _More:
    """Timing, front and sensitivity; Ctrl-C leaves out what is not done, and the plan stays."""
    told = _More()
    if found.partial:
        return told
    try:
        if hangs and problem.statistic.kind == "mean":
            told = told._replace(sensitivity=_hanging(problem, child, found, draws, quiet))
        if two is not None:
            told = told._replace(front=_front(problem, child, draws, chosen, two, quiet))
        if timing and problem.timing is not None:
            told = told._replace(timing=_timed(problem, child, draws, quiet))
        if days:
            told = told._replace(bridges=_bridged(problem, child, days, draws, chosen, quiet))
    except KeyboardInterrupt:
        console.warn("stopped: the plan is kept, what was being asked about it is left out")
    return told


def _timed(problem: PlanningProblem, child: Patient, draws: ParameterDraws | None, quiet: bool) -> TimingProfile:
    from ipex_pd.planning.timing import transplant_timing

    with console.progress("Timing", 1, quiet=quiet) as advance:

        def tell(done: int, total: int) -> None:
            advance(f"the day of the transplant, {done} of {total} parts", int(done == total))

        return interruptible(lambda: transplant_timing(child, goal=problem, draws=draws, progress=tell))


def _bridged(
    problem: PlanningProblem,
    child: Patient,
    days: tuple[float, ...],
    draws: ParameterDraws | None,
    chosen: PlanOptions,
    quiet: bool,
) -> BridgeTiming:
    from ipex_pd.planning.bridges import bridge_timing

    with console.progress("Bridges", len(days) + 1, quiet=quiet) as advance:

        def tell(day: str, done: int, total: int) -> None:
            advance(f"a bridge for {day}, {done} of {total} done", done)

        one = replace(chosen, starts=1)
        return interruptible(
            lambda: bridge_timing(child, goal=problem, days=days, draws=draws, options=one, progress=tell)
        )


def _front(
    problem: PlanningProblem,
    child: Patient,
    draws: ParameterDraws | None,
    chosen: PlanOptions,
    two: tuple[str, str],
    quiet: bool,
) -> PlanFront:
    from ipex_pd.planning.pareto import pareto_front

    few = _fewer(problem)
    with console.progress("Front", chosen.iterations, quiet=quiet) as advance:
        return interruptible(
            lambda: pareto_front(
                child, goal=few, first=two[0], second=two[1], draws=draws, options=chosen, progress=_teller(advance)
            )
        )


def _hanging(
    problem: PlanningProblem, child: Patient, found: Plan, draws: ParameterDraws | None, quiet: bool
) -> Sensitivity:
    from ipex_pd.planning.optimise import question_for
    from ipex_pd.planning.sensitivity import plan_sensitivity

    with console.progress("Sensitivity", 1, quiet=quiet) as advance:
        advance("what the plan hangs on", 0)
        ensemble = question_for(child, _fewer(problem), draws, None).ensemble
        return interruptible(lambda: plan_sensitivity(found, ensemble))


def _fewer(problem: PlanningProblem) -> PlanningProblem:
    """The same question to few members: enough for slopes and for the shape of a front."""
    spec = problem.ensemble
    few = {"children": min(spec.children, _FEW)} | ({} if spec.draws is None else {"draws": min(spec.draws, 2)})
    return problem.model_copy(update={"ensemble": spec.model_copy(update=few)})


def _two(front: str | None) -> tuple[str, str] | None:
    if front is None:
        return None
    names = [name.strip() for name in front.split(",")]
    if len(names) != 2:
        raise UsageError(
            f"`{front}` does not name two goals",
            where="--front",
            rule="A front is of two goals",
            cure="Write for example `--front survival,steroid_dose`",
        )
    from ipex_pd.records.plan_goals import GOALS

    for name in names:
        if name not in GOALS:
            raise UsageError(f"`{name}` is no goal", where="--front", rule=nearest_hint(name, GOALS))
    return names[0], names[1]


def _bridge_days(text: str | None, problem: PlanningProblem) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        days = tuple(sorted({float(day) for day in text.split(",")}))
    except ValueError:
        days = ()
    if not days or not (days[0] >= 0 and days[-1] < problem.horizon):
        raise UsageError(
            f"`{text}` names no days of a transplant",
            where="--bridges",
            rule=f"Days lie between 0 and the horizon, {problem.horizon:g}",
            cure="Write for example `--bridges 60,180,365`",
        )
    if problem.transplant_day is None and problem.timing is None:
        raise UsageError(
            f"`{problem.name}` moves no transplant", where="--bridges", rule="It is for plans with a day of transplant"
        )
    return days


def _problem(plan: str, children: int | None) -> PlanningProblem:
    from ipex_pd.records.library import load_plan

    problem = load_plan(plan)
    if children is None:
        return problem
    # judged as the plan asks: the share of a few children says little of what a limit keeps in others
    changed = {"ensemble": problem.ensemble.model_copy(update={"children": children}), "out_of_sample": problem.fresh}
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


def _keep(folder: RunFolder, found: Plan) -> None:
    """Write the plan as soon as it is found."""
    found.save(folder.path)
    folder.written += ["regimen.yaml", "plan.json"]
    folder.write("plan.txt", f"{found}\n")
    for name in ("calendar", "values", "expected", "ranking"):
        folder.write(f"{name}.csv", getattr(found, name).to_csv(index=False))


def _deliver(found: Plan, more: _More, report: Path | None, folder: RunFolder | None, *, as_json: bool) -> None:
    from ipex_pd.report.plan_html import render_plan_report

    page = ""
    if report is not None or folder is not None:
        page = render_plan_report(found, **more._asdict())
    told = {name: record for name, record in more._asdict().items() if record is not None}
    if folder is not None:
        for name, record in told.items():
            folder.write(f"{name}.json", record.to_json() + "\n")
        folder.write("report.html", page)
        folder.finish("interrupted" if found.partial else "finished")
        console.say(f"The run is in {folder.path}.")
    if report is not None:
        write_report(report, page, folder)
    if as_json:
        console.emit_json(
            plain_json.loads(found.to_json())
            | {name: plain_json.loads(record.to_json()) for name, record in told.items()}
        )
        return
    for record in (found, *told.values()):
        console.emit_text(f"{record}\n")
