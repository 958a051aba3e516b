"""Fits: cold in a fresh process with an empty and a filled compile cache, warm, and how one gradient grows.

Written to results/fitting.json and results/fitting.md; the summary of all parts has its figures as well.
"""

from __future__ import annotations

import json
import tempfile
from typing import Any

from benchmarks.figures import RESULTS, Figure, Goal, Part, missing
from benchmarks.fitting_problems import REFERENCE
from benchmarks.measure import machine, say, worker

GOALS = {
    "theophylline": (12.0, 1.0),
    "phenobarbital": (None, 2.0),
    "oral_two_compartments": (30.0, None),
    "Bolus_1CPTMM_SD": (120.0, None),
}
WHAT = {
    "theophylline": "theophylline (12 subjects, 132 records)",
    "phenobarbital": "phenobarbital (59 subjects, 155 records)",
    "oral_two_compartments": "two compartments, oral (160 subjects, 3,040 records)",
    "Bolus_1CPTMM_SD": "Michaelis-Menten, equations (120 subjects, 2,274 records)",
    "Bolus_1CPTMM_ALL": "Michaelis-Menten, equations (120 subjects, all doses)",
}
BASE = {"subjects": 40, "samples": 10, "doses": 1, "effects": 2}
GROWTH = {
    "subjects": (40, 80, 160, 320),
    "samples": (10, 20, 40, 80),
    "doses": (1, 10, 20, 40),
    "effects": (1, 2, 3, 5),
}


def measure(*, quick: bool) -> Part:
    """FOCEI with the default options (a restart and the covariance step) on every problem, then growth tables."""
    names = ["theophylline"] if quick else list(GOALS)
    figures: list[Figure] = []
    detail: dict[str, Any] = {"fits": {}, "growth": {}}
    for name in names:
        if name.startswith("Bolus") and not REFERENCE.exists():
            figures.append(missing(WHAT[name], "the reference data are not at hand"))
            continue
        runs = _fits(name)
        detail["fits"][name] = runs
        figures += _figures(name, runs)
    for what, sizes in GROWTH.items():
        rows = worker("grow_fit", base=BASE, what=what, sizes=list(sizes[:2] if quick else sizes))["rows"]
        detail["growth"][what] = rows
        last = rows[-1]
        say(f"fitting: growth with {what} measured")
        figures.append(
            Figure(
                f"gradient over objective, {last['size']} {what}",
                last["gradient_ms"] / last["objective_ms"],
                "x",
                Goal("at most", 4),
                "; ".join(f"{r['size']}: {r['objective_ms']:.1f}, {r['gradient_ms']:.1f} ms" for r in rows),
            )
        )
    if not quick:
        _save(detail, figures)
    return Part("fitting", figures, detail)


def _fits(name: str) -> dict[str, Any]:
    """The same fit in two processes that share a compile cache, empty for the first."""
    with tempfile.TemporaryDirectory(prefix="ipex_fitting_") as cache:
        runs = {state: worker("fit_problem", name=name, cache=cache) for state in ("empty cache", "filled cache")}
    for state, run in runs.items():
        say(f"fitting: {name}, {state}: {run['cold_wall_s']:.1f} s, warm {run['warm_wall_s']:.2f} s")
    return runs


def _figures(name: str, runs: dict[str, Any]) -> list[Figure]:
    cold_goal, warm_goal = GOALS[name]
    empty, filled = runs["empty cache"], runs["filled cache"]
    phases = ", ".join(f"{phase} {p['wall_s']:.1f} s" for phase, p in empty["phases"].items())
    note = f"processor {empty['cold_cpu_s']:.1f} s; {phases}; building programs {empty['compile_s']:.1f} s of it"
    warm = f"processor {empty['warm_cpu_s']:.2f} s; {empty['evaluations']} evaluations; OFV {empty['value']:.4f}"
    return [
        Figure(f"{WHAT[name]}: empty cache", empty["cold_wall_s"], "s", _goal(cold_goal), note),
        Figure(
            f"{WHAT[name]}: filled cache", filled["cold_wall_s"], "s", None, f"processor {filled['cold_cpu_s']:.1f} s"
        ),
        Figure(f"{WHAT[name]}: warm", empty["warm_wall_s"], "s", _goal(warm_goal), warm),
    ]


def _goal(value: float | None) -> Goal | None:
    return None if value is None else Goal("at most", value)


def _save(detail: dict[str, Any], figures: list[Figure]) -> None:
    where = machine()
    (RESULTS / "fitting.json").write_text(json.dumps({"machine": where, **detail}, indent=1) + "\n")
    lines = [
        "# Fits",
        "",
        f"Written by `python -m benchmarks fitting`. {where['processor']}, {where['cores']} cores, load average before "
        f"the end {where['load']}, commit {where['commit']}. FOCEI with default options: the search, one restart, the "
        "Hessian by differences and the covariance step. Cold is a whole process: imports, reading, building programs. "
        "Where the load average is above the number of cores, seconds of the processor tell more than those of the "
        "clock. The references of these data sets publish no run times of NONMEM.",
        "",
        "| what | measured | goal | | note |",
        "|---|---|---|---|---|",
    ]
    for f in figures:
        goal = "" if f.goal is None else f"{f.goal.sense} {f.goal.value:g}"
        number = "" if f.measured is None else f"{f.measured:.3g} {f.unit}"
        lines.append(f"| {f.what} | {number} | {goal} | {f.verdict} | {f.note} |")
    for what, rows in detail["growth"].items():
        lines += ["", f"## Growth with {what}", "", "| " + what + " | objective ms | gradient ms |", "|---|---|---|"]
        lines += [f"| {r['size']} | {r['objective_ms']:.2f} | {r['gradient_ms']:.2f} |" for r in rows]
    (RESULTS / "fitting.md").write_text("\n".join(lines) + "\n")
