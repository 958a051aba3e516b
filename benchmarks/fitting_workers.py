"""Work of the fitting part that needs a process of its own."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


class _Clock:
    """Seconds of the clock and of the processor, phase by phase."""

    def __init__(self) -> None:
        self.phases: dict[str, dict[str, float]] = {}
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def mark(self, phase: str) -> None:
        """The phase that ends now."""
        wall, cpu = time.perf_counter(), time.process_time()
        self.phases[phase] = {"wall_s": wall - self.wall, "cpu_s": cpu - self.cpu}
        self.wall, self.cpu = wall, cpu

    def total(self, kind: str) -> float:
        """Of all phases."""
        return sum(phase[kind] for phase in self.phases.values())


def fit_problem(name: str, cache: str) -> dict[str, Any]:
    """A problem fitted with a compile cache of its own, then again in the same process."""
    os.environ["IPEX_PD_CACHE"] = cache
    clock = _Clock()
    import jax

    from benchmarks.fitting_problems import problem_of
    from ipex_pd.inference.binding import bind
    from ipex_pd.inference.estimation import fit

    building: list[float] = []

    def heard(event: str, seconds: float, **_: Any) -> None:
        if event.startswith("/jax/core/compile"):
            building.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(heard)
    clock.mark("import")
    with tempfile.TemporaryDirectory(prefix="ipex_fitting_") as folder:
        problem = problem_of(name, Path(folder))
        clock.mark("problem")
        bound = bind(problem)
        clock.mark("binding")
        found = fit(bound)
        clock.mark("fit")
        compiling = sum(building)
        again = _Clock()
        found = fit(bind(problem))
        again.mark("fit")
    return {
        "phases": clock.phases,
        "cold_wall_s": clock.total("wall_s"),
        "cold_cpu_s": clock.total("cpu_s"),
        "compile_s": compiling,
        "warm_wall_s": again.total("wall_s"),
        "warm_cpu_s": again.total("cpu_s"),
        "evaluations": found.found.evaluations,
        "value": found.value,
    }


def grow_fit(base: dict[str, int], what: str, sizes: list[int]) -> dict[str, Any]:
    """Processor time of one objective and one gradient of FOCEI near the mode, at several sizes."""
    return {"rows": [{"size": size, **_times({**base, what: size})} for size in sizes]}


def _times(size: dict[str, int]) -> dict[str, float]:
    import jax
    import jax.numpy as jnp

    from benchmarks.fitting_problems import Size, simulated
    from ipex_pd.inference.binding import bind
    from ipex_pd.inference.modes import find_modes
    from ipex_pd.inference.objectives import approximate, evaluate, method_for, values_of

    with tempfile.TemporaryDirectory(prefix="ipex_fitting_") as folder:
        bound = bind(simulated(Size(**size), Path(folder)))
    group = jax.tree.map(jnp.asarray, bound.groups[0])
    layout, method = bound.population.layout, method_for("focei", bound.groups)
    start = jnp.asarray(bound.population.start)

    @jax.jit  # type: ignore[untyped-decorator]
    def objective(group: Any, w: Any, z: Any) -> Any:
        values = values_of(layout, jnp.broadcast_to(w, (group.y.shape[0], w.shape[0])))
        found = find_modes(group, values, z, reading=method.reading, exact=method.exact)
        return approximate(group, values, found.z, method)

    def gradient(group: Any, w: Any, z: Any) -> Any:
        return evaluate(group, w, z, layout=layout, method=method)

    known = gradient(group, start, jnp.zeros(group.eta_mask.shape)).z
    moved = start + 0.02
    return {
        "objective_ms": _median(lambda: jax.block_until_ready(objective(group, moved, known))),
        "gradient_ms": _median(lambda: jax.block_until_ready(gradient(group, moved, known))),
    }


def _median(work: Callable[[], Any], repeats: int = 15) -> float:
    """Processor milliseconds of a call, the first one left out."""
    work()
    taken = []
    for _ in range(repeats):
        begin = time.process_time()
        work()
        taken.append(1e3 * (time.process_time() - begin))
    return statistics.median(taken)
