"""A thousand virtual patients for two years, and the same work by other solvers at the same accuracy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from benchmarks.engine import errors, run, scale_of
from benchmarks.equations import Array, Equations, full_equations
from benchmarks.figures import Figure, Goal, Part, missing
from benchmarks.measure import say, worker
from benchmarks.peers.native import Native, PeerMissing
from benchmarks.peers.scipy_peer import SciPy
from benchmarks.problem import SPEED_REGIMEN, case_of, population, weekly
from benchmarks.timeline import Case, Course, follow
from ipex_pd.numerics.solve import SolverOptions

LADDER = tuple(float(f"{m}e{-e}") for e in range(3, 11) for m in (3, 1))
"""Relative tolerances tried, loosest first."""
RESTARTS = (0.005, 0.02, 0.05)
"""First steps after a jump tried [day]."""


def measure(*, quick: bool) -> Part:
    """Twice-daily tacrolimus, daily prednisolone with a taper, four rituximab infusions, weekly output."""
    patients, years = (8, 0.1) if quick else (1000, 2.0)
    engine = _engine(patients, years, quick)
    tuning = case_of(population(4 if quick else 8, seed=1), SPEED_REGIMEN, weekly(0.1 if quick else 0.25))
    bench = _Bench(tuning, years, quick)
    rows: dict[str, dict[str, Any]] = {}
    figures = _own(engine, years, bench)
    for name, (goal, cores, peer) in bench.peers().items():
        say(f"speed: {name}")
        try:
            rows[name] = peer()
        except (PeerMissing, ImportError) as why:
            figures.append(missing(name, why))
            continue
        figures += _compared(name, rows[name], goal, cores, engine, years)
    return Part("speed", figures, {"engine": engine, "peers": rows, "engine_error_when_tuning": bench.aim})


def _engine(patients: int, years: float, quick: bool) -> dict[str, Any]:
    """On the whole machine with all patients; on one core with one batch of them, whose time a patient is the same."""
    batch, repeats = (patients, 1) if quick else (256, 3)
    found = {}
    for label, one_core, count, audit, times in (
        ("machine", False, patients, "off", repeats),
        ("machine, audited", False, patients, "full", 1),
        ("one core", True, batch, "off", repeats),
        ("one core, audited", True, batch, "full", 1),
    ):
        say(f"speed: the engine on {count} patients x {years:g} years, {label}")
        row = worker(
            "solve_population",
            one_core=one_core,
            patients=count,
            years=years,
            repeats=times,
            threads=1 if one_core else 2,
            audit=audit,
        )
        found[label] = {**row, "patients": count}
        say(f"  {row['median_s']:.2f} s, first call {row['first_s']:.2f} s")
    return found


def _own(engine: dict[str, Any], years: float, bench: _Bench) -> list[Figure]:
    lines = [
        Figure(
            f"{row['patients']} patients x {years:g} years, {label}",
            row["median_s"],
            "s",
            note=f"median of {len(row['all_s'])}; first call with compiling {row['first_s']:.1f} s; "
            f"peak {row['peak_mb']:.0f} MB",
        )
        for label, row in engine.items()
    ]
    lines.append(
        Figure(
            "largest relative error that the peers were tuned to",
            bench.aim,
            "",
            note=f"of the engine without audit over {len(bench.case.age)} patients, {bench.case.times[-1]:.0f} days",
        )
    )
    return lines


def _compared(
    name: str, row: dict[str, Any], goal: float | None, cores: str, engine: dict[str, Any], years: float
) -> list[Figure]:
    """Times per patient and two years; the ratio with one solution each, and with the engine's audit on."""
    note = (
        f"{row['per_patient_s']:.3g} s a patient from {row['patients']} patients x {row['years']:g} years; tolerance "
        f"{row['rtol']:g}, error {row['error']:.1e}{row['note']}"
    )
    plain, audited = (engine[k]["median_s"] / engine[k]["patients"] for k in (cores, f"{cores}, audited"))
    per_patient = row["per_patient_s"] * years / row["years"]
    bound = None if goal is None else Goal("at least", goal)
    lines = [
        Figure(f"{name}, times slower than the engine ({cores})", per_patient / plain, "x", bound, note),
        Figure(f"{name}, against the engine with its audit on", per_patient / audited, "x", bound),
    ]
    if name.startswith("SciPy"):
        whole = engine["machine"]["median_s"] / engine["machine"]["patients"]
        told = "the engine's patients share the cores of the machine, SciPy solves one patient on one core"
        lines.append(
            Figure(f"{name}, a patient against a patient of the machine", per_patient / whole, "x", bound, told)
        )
    return lines


class _Bench:
    """Peers tuned to the engine's accuracy on a few patients and three months, then timed."""

    def __init__(self, case: Case, years: float, quick: bool) -> None:
        self.case, self.years, self.quick = case, years, quick
        self.equations: Equations = full_equations(case.system)
        tight = run(case, SolverOptions(accuracy="tight", audit="off"))
        self.scale: Array = scale_of(case, tight, len(self.equations.states))
        self.reference: Course = follow(
            case, self.equations, Native(self.equations, "dop853", 1e-12, self.scale, floor=1e-6)
        )
        found = run(case, SolverOptions(audit="off"))
        self.aim = float(errors(self.case, found.states, found.auc, self.reference).max())
        say(f"speed: peers are tuned to a largest error of {self.aim:.1e}")

    def peers(self) -> dict[str, tuple[float | None, str, Callable[[], dict[str, Any]]]]:
        """name -> goal, which engine run it is compared with, how to measure it."""
        return {
            "compiled CVODE (SUNDIALS, Adams)": (10.0, "one core", lambda: self._native("cvode_adams", 8)),
            "compiled CVODE (SUNDIALS, BDF)": (None, "one core", lambda: self._native("cvode_bdf", 4)),
            "compiled DOP853 (C)": (None, "one core", lambda: self._native("dop853", 64)),
            "SciPy LSODA, scalar right-hand side from sympy with `math`": (
                1000.0,
                "one core",
                lambda: self._scipy("math", 2),
            ),
            "SciPy LSODA, right-hand side by sympy.lambdify with NumPy": (
                None,
                "one core",
                lambda: self._scipy("numpy", 1),
            ),
            "diffrax Tsit5 under vmap": (60.0, "machine", self._diffrax),
        }

    def _error(self, peer: Any, case: Case | None = None, reference: Course | None = None) -> float:
        course = follow(case or self.case, self.equations, peer)
        error = float(errors(self.case, course.states, course.auc, reference or self.reference).max())
        return error if np.isfinite(error) else np.inf

    def _tuned(self, make: Callable[[float], Any], ladder: tuple[float, ...] = LADDER) -> tuple[float, float]:
        """The loosest tolerance whose error is not above the engine's."""
        for rtol in ladder:
            error = self._error(make(rtol))
            say(f"  tolerance {rtol:g}: error {error:.1e}")
            if error <= self.aim:
                break
        return rtol, error

    def _full(self, patients: int) -> Case:
        count = 4 if self.quick else patients
        return case_of(population(count, seed=1), SPEED_REGIMEN, weekly(self.years))

    def _native(self, method: Any, patients: int) -> dict[str, Any]:
        rtol, error = self._tuned(lambda r: Native(self.equations, method, r, self.scale, floor=1e-3))
        case = self._full(patients)
        peer = Native(self.equations, method, rtol, self.scale, floor=1e-3)
        follow(case, self.equations, peer)
        count = len(case.age)
        return {
            "per_patient_s": peer.seconds / count,
            "patients": count,
            "years": self.years,
            "rtol": rtol,
            "error": error,
            "note": f"; {peer.calls / count:.0f} right-hand sides a patient; "
            f"compile {peer.library.compile_s:.1f} s apart",
        }

    def _scipy(self, rates_in: Literal["math", "numpy"], patients: int) -> dict[str, Any]:
        few = self.case.pick(slice(0, 2))
        own = Course(self.reference.states[..., :2], {}, {n: v[..., :2] for n, v in self.reference.auc.items()})
        tries = {}
        for rtol in LADDER:
            error = self._error(SciPy(self.equations, "lsoda", rtol, self.scale, floor=1e-3), few, own)
            say(f"  tolerance {rtol:g}: error {error:.1e}")
            if error <= self.aim:
                break
        for restart in (0.0, *RESTARTS):
            peer = self._lsoda(rtol, restart, rates_in)
            if self._error(peer, few, own) <= self.aim or not restart:
                tries[restart] = peer.seconds
        restart = min(tries, key=lambda r: tries[r])
        case = self._full(patients)
        peer = self._lsoda(rtol, restart, rates_in)
        follow(case, self.equations, peer)
        count = len(case.age)
        return {
            "per_patient_s": peer.seconds / count,
            "patients": count,
            "years": self.years,
            "rtol": rtol,
            "error": error,
            "note": f"; first step after a jump {restart:g} day (0: its own choice)",
        }

    def _lsoda(self, rtol: float, restart: float, rates_in: Literal["math", "numpy"]) -> SciPy:
        return SciPy(self.equations, "lsoda", rtol, self.scale, restart=restart, floor=1e-3, rates_in=rates_in)

    def _diffrax(self) -> dict[str, Any]:
        from benchmarks.peers.diffrax_peer import Diffrax

        peer = Diffrax(self.equations, LADDER[0], self.scale, floor=1e-3)

        def at(rtol: float) -> Any:
            peer.rtol = rtol
            return peer

        rtol, error = self._tuned(at)
        restart = self._restart(peer)
        widths = (4, 8) if self.quick else (64, 256)
        paces = {}
        for width in widths:
            case = case_of(population(width, seed=1), SPEED_REGIMEN, weekly(0.1))
            paces[width] = self._timed(peer, case) / width
            say(f"  {width} patients at once: {1000 * paces[width]:.2f} ms a patient for {case.times[-1]:.0f} days")
        case = self._full(widths[0])
        seconds = self._timed(peer, case, warm=False)
        gain = min(paces.values()) / paces[widths[0]]
        return {
            "per_patient_s": seconds / len(case.age) * gain,
            "patients": len(case.age),
            "years": self.years,
            "rtol": rtol,
            "error": error,
            "widths": paces,
            "note": f"; first step after a jump {restart:g} day; scaled by {gain:.2f}, the gain of its best width "
            f"({min(paces, key=lambda w: paces[w])} patients) over 36 days; compile {peer.compile_seconds:.0f} s apart",
        }

    def _restart(self, peer: Any) -> float:
        times = {}
        for restart in RESTARTS:
            peer.restart, peer.seconds = restart, 0.0
            if self._error(peer) <= 1.5 * self.aim:
                times[restart] = peer.seconds
        peer.restart = min(times, key=lambda r: times[r]) if times else RESTARTS[0]
        return float(peer.restart)

    def _timed(self, peer: Any, case: Case, *, warm: bool = True) -> float:
        if warm:
            follow(case, self.equations, peer)
        peer.seconds = 0.0
        follow(case, self.equations, peer)
        return float(peer.seconds)
