"""`ipex-pd replay`: repeat a fit from its run folder and compare."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import Annotated, Any

import typer

from ipex_pd.cli import console, fit_runs, options
from ipex_pd.cli.runs import guarded, interruptible, surroundings


def replay(
    run: options.RunArgument,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="Largest accepted difference (objective; estimates: share).")
    ] = 1e-6,
    json: options.JsonOption = False,
) -> None:
    """Repeat a fit on the inputs kept in its folder and compare objective and estimates.

    Exit code 0: the same within the tolerance; 1: not the same. Versions that differ from the run's are named.

    Example: ipex-pd replay runs/first
    """
    settings, before = fit_runs.settings_of(run), fit_runs.result_of(run)
    problem = fit_runs.kept_problem(run)
    from ipex_pd.inference.settings import options_from

    chosen = options_from(settings["method"], settings["options"])
    with guarded(None), console.progress("Repeating", chosen.iterations, quiet=json) as advance:
        from ipex_pd.inference.estimation import fit as estimate

        start = settings["resumed_from"]
        done = interruptible(
            lambda: estimate(
                problem, settings["method"], chosen, lambda stage: advance(stage.phase, stage.iteration), start
            )
        )
    rows = _compared(before, json_module.loads(done.to_json()))
    worst = max(row["difference"] for row in rows)
    same = worst <= tolerance
    versions = _versions(run)
    result = {"run": str(run), "same": same, "largest_difference": worst, "tolerance": tolerance, "values": rows}
    if json:
        console.emit_json({**result, "versions_that_differ": versions})
    else:
        table = [[r["name"], f"{r['before']:.8g}", f"{r['now']:.8g}", f"{r['difference']:.1e}"] for r in rows]
        console.emit_table(f"{run} repeated", ["value", "in the run", "now", "difference"], table)
        for name, (old, new) in versions.items():
            console.warn(f"the run was made with {name} {old}, now it is {new}")
        console.emit_text("The same." if same else f"Not the same: {worst:.2g} is above {tolerance:g}.")
    if not same:
        raise typer.Exit(console.EXIT_FAILED)


def _compared(before: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    rows = [_row("objective", before["objective"], now["objective"], 1.0)] if "objective" in before else []
    column = "estimate" if "objective" in before else "mean"
    estimates = {p["parameter"]: p[column] for p in now["parameters"]}
    rows += [_row(p["parameter"], p[column], estimates[p["parameter"]], abs(p[column])) for p in before["parameters"]]
    return rows


def _row(name: str, before: float, now: float, scale: float) -> dict[str, Any]:
    return {"name": name, "before": before, "now": now, "difference": abs(now - before) / (scale or 1.0)}


def _versions(run: Path) -> dict[str, tuple[str, str]]:
    file = run / "env.json"
    then = json_module.loads(file.read_text(encoding="utf-8")).get("versions", {}) if file.is_file() else {}
    now = surroundings()["versions"]
    return {name: (old, now[name]) for name, old in then.items() if name in now and now[name] != old}
