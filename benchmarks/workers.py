"""Work that needs a process of its own: peak memory, one core only."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any


def solve_population(patients: int, years: float, repeats: int, threads: int, audit: str) -> dict[str, Any]:
    """The speed regimen by the engine: first call with compiling, then repeats."""
    from benchmarks.engine import run
    from benchmarks.measure import repeated
    from benchmarks.problem import SPEED_REGIMEN, case_of, population, weekly
    from ipex_pd.numerics.solve import SolverOptions

    case = case_of(population(patients, seed=1), SPEED_REGIMEN, weekly(years))
    options = SolverOptions(audit="full" if audit == "full" else "off", threads=threads)
    first, median, later = repeated(lambda: run(case, options), repeats)
    return {"first_s": first, "median_s": median, "all_s": later}


def simulate_population(patients: int, years: float, chunk: int, warm: bool) -> dict[str, Any]:
    """`simulate` on a population in chunks; of every chunk the endpoints are kept."""
    from benchmarks.problem import SPEED_REGIMEN, population
    from ipex_pd.records.library import load_regimen
    from ipex_pd.simulation.simulation import simulate

    regimen = load_regimen(SPEED_REGIMEN)
    group = population(patients, seed=1)
    parts = group.chunks(chunk)
    if warm:
        simulate(parts[0].pick(slice(0, min(256, len(parts[0])))), regimen, years=min(years, 0.25))
    kept = []
    begin = time.perf_counter()
    for part in parts:
        kept.append(simulate(part, regimen, years=years).patient_endpoints())
    return {"seconds": time.perf_counter() - begin, "chunks": len(kept)}


def fit_problem(name: str, cache: str) -> dict[str, Any]:
    """See `benchmarks.fitting_workers`."""
    from benchmarks.fitting_workers import fit_problem as work

    return work(name, cache)


def grow_fit(base: dict[str, int], what: str, sizes: list[int]) -> dict[str, Any]:
    """See `benchmarks.fitting_workers`."""
    from benchmarks.fitting_workers import grow_fit as work

    return work(base, what, sizes)


def plan_days(**sizes: Any) -> dict[str, Any]:
    """See `benchmarks.planning_workers`."""
    from benchmarks.planning_workers import plan_days as work

    return work(**sizes)


def timing_profile(**sizes: Any) -> dict[str, Any]:
    """See `benchmarks.planning_workers`."""
    from benchmarks.planning_workers import timing_profile as work

    return work(**sizes)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    "solve_population": solve_population,
    "simulate_population": simulate_population,
    "fit_problem": fit_problem,
    "grow_fit": grow_fit,
    "plan_days": plan_days,
    "timing_profile": timing_profile,
}


def main() -> None:
    """Do the task of the request in the first argument; print the answer as the last line."""
    request = json.loads(sys.argv[1])
    if request["one_core"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    answer = TASKS[request["task"]](**request["arguments"])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({**answer, "peak_mb": peak / (1024.0 if sys.platform != "darwin" else 1024.0**2)}))


if __name__ == "__main__":
    main()
