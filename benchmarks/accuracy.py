"""The mesh solution against solvers that share nothing with it but the equations."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np

from benchmarks.engine import concentration_errors, errors, run, scale_of
from benchmarks.equations import Array, Equations, full_equations
from benchmarks.figures import Figure, Goal, Part, missing
from benchmarks.measure import say
from benchmarks.peers.native import Native, PeerMissing
from benchmarks.problem import case_of, population, weekly
from benchmarks.timeline import Case, Course, Integrate, follow
from ipex_pd.numerics.solve import SolverOptions

REGIMENS = (
    "prednisolone_tacrolimus",
    "prednisolone_ciclosporin",
    "sirolimus_prednisolone",
    "rituximab_course",
    "transplant_early_reduced",
)
SHARP = 1e-6
"""Floor of absolute tolerances of references, relative to the size of a state."""


def measure(*, quick: bool) -> Part:
    """64 virtual patients, five shipped regimens, two years, weekly outputs."""
    patients, years = (4, 0.1) if quick else (64, 2.0)
    rows, figures = {}, []
    for name in REGIMENS[:2] if quick else REGIMENS:
        say(f"accuracy: {name}, {patients} patients, {years:g} years")
        try:
            rows[name] = _regimen(case_of(population(patients, seed=11), name, weekly(years)), quick)
        except PeerMissing as why:
            figures.append(missing(f"reference for {name}", why))
    if not rows:
        return Part("accuracy", figures)
    for accuracy, bound in (("default", 1e-5), ("tight", 1e-7)):
        worst = {n: max(r[accuracy]["error"]) for n, r in rows.items()}
        note = (
            f"largest of {len(rows)} regimens x {patients} patients x weekly outputs of all states and areas; "
            "z-scores count against 1 SD, having no zero of their own"
        )
        figures.append(
            Figure(
                f"largest relative error, {accuracy} settings",
                max(worst.values()),
                "",
                Goal("at most", bound),
                f"{note}; worst: {max(worst, key=lambda n: worst[n])}",
            )
        )
        median = statistics.median(e for r in rows.values() for e in r[accuracy]["error"])
        figures.append(Figure(f"median over patients of the largest error, {accuracy}", median, ""))
        level = max(max(r[accuracy]["concentration_error"]) for r in rows.values())
        figures.append(Figure(f"largest relative error of drug concentrations, {accuracy}", level, ""))
        ratios = [
            e / t
            for r in rows.values()
            for e, t in zip(r[accuracy]["estimate"], r[accuracy]["error"], strict=True)
            if t > 0
        ]
        for word, value in (("smallest", min(ratios)), ("largest", max(ratios))):
            figures.append(
                Figure(f"audit estimate over true error, {accuracy}, {word}", value, "x", Goal("within a factor", 10))
            )
    checks = [c for r in rows.values() for c in r["checks"]]
    for peer in dict.fromkeys(c["peer"] for c in checks):
        mine = [c for c in checks if c["peer"] == peer]
        worst_check = max(c["difference"] for c in mine)
        figures.append(
            Figure(
                f"the reference against {peer}",
                worst_check,
                "",
                note=f"{mine[0]['patients']} patients x {len(mine)} regimens x {mine[0]['years']:g} years",
            )
        )
    figures += [
        missing(f"check of the reference: {why.split(':')[0]}", why) for r in rows.values() for why in r["absent"]
    ][:3]
    return Part("accuracy", figures, rows)


def _regimen(case: Case, quick: bool) -> dict[str, Any]:
    equations = full_equations(case.system)
    found = {a: run(case, SolverOptions(accuracy=a)) for a in ("default", "tight")}
    scale = scale_of(case, found["tight"], len(equations.states))
    say("  reference: compiled adaptive DOP853 at 1e-12, drugs as states")
    reference = follow(case, equations, Native(equations, "dop853", 1e-12, scale, floor=SHARP))
    row: dict[str, Any] = {}
    for accuracy, trajectory in found.items():
        row[accuracy] = {
            "error": errors(case, trajectory.states, trajectory.auc, reference).tolist(),
            "estimate": np.asarray(trajectory.error).tolist(),
            "route": np.asarray(trajectory.route).tolist(),
            "concentration_error": concentration_errors(trajectory.concentrations, reference).tolist(),
        }
        say(
            f"  {accuracy}: largest error {max(row[accuracy]['error']):.2e}, "
            f"estimate {max(row[accuracy]['estimate']):.2e}"
        )
    row["checks"], row["absent"] = _checks(case, equations, scale, reference, quick)
    return row


def _checks(
    case: Case, equations: Equations, scale: Array, reference: Course, quick: bool
) -> tuple[list[dict[str, Any]], list[str]]:
    """The reference itself against CVODE, diffrax and SciPy on some of the patients."""
    from benchmarks.peers.scipy_peer import SciPy

    done, absent = [], []
    plans: list[tuple[str, int, float]] = [
        ("CVODE Adams at 1e-12", 1, 2.0),
        ("diffrax Dopri8 at 1e-10", 2, 2.0),
        ("SciPy DOP853 at 1e-10", 1, 1.0),
    ]
    for name, patients, years in plans:
        years = min(years, 0.1) if quick else years
        times = case.times[case.times <= years * 365.25 + 1e-9]
        part = case.pick(slice(0, patients)).until(times)
        try:
            peer: Integrate
            if name.startswith("CVODE"):
                peer = Native(equations, "cvode_adams", 1e-12, scale, floor=SHARP)
            elif name.startswith("diffrax"):
                from benchmarks.peers.diffrax_peer import Diffrax

                peer = Diffrax(equations, 1e-10, scale, solver="dopri8", floor=SHARP)
            else:
                peer = SciPy(equations, "dop853", 1e-10, scale, floor=SHARP)
            course = follow(part, equations, peer)
        except (PeerMissing, ImportError) as why:
            absent.append(f"{name}: {why}")
            continue
        own = Course(
            *(_cut(v, len(times), patients) for v in (reference.states, reference.concentrations, reference.auc))
        )
        difference = max(
            float(errors(case, course.states, course.auc, own).max()),
            float(concentration_errors(course.concentrations, own).max()),
        )
        say(f"  the reference against {name}: {difference:.1e}")
        done.append({"peer": name, "patients": patients, "years": years, "difference": difference})
    return done, absent


def _cut(values: Any, times: int, patients: int) -> Any:
    if isinstance(values, dict):
        return {n: v[:times, ..., :patients] for n, v in values.items()}
    return values[:times, ..., :patients]
