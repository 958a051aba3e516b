"""The project's own solver on a case."""

from __future__ import annotations

import numpy as np

from benchmarks.timeline import Array, Case, Course
from ipex_pd.numerics.solve import SolverOptions, Trajectory, solve

FLOOR = 1e-3
"""Values below this part of the largest in time count against that part, as in the engine's own audit."""


def run(case: Case, options: SolverOptions | None = None) -> Trajectory:
    """Solve a case."""
    start = dict(zip(case.system.model.states, case.start, strict=True))
    return solve(
        case.system, case.schedule, case.theta, age=case.age, output_times=case.times, state=start, options=options
    )


def scale_of(case: Case, found: Trajectory, size: int) -> Array:
    """[n] size of every state of the full equations; 1 for amounts [mg] and areas."""
    scale = np.ones(size)
    largest = np.abs(found.states).max(axis=(0, 2))
    scale[: len(largest)] = np.maximum(largest, 1e-6)
    return scale


def errors(states: Array, auc: dict[str, Array], reference: Course) -> Array:
    """[P] largest relative error of states and areas over outputs."""
    pairs = [(states, reference.states)] + [(auc[d][:, None], reference.auc[d][:, None]) for d in reference.auc]
    worst = np.zeros(states.shape[-1])
    for one, true in pairs:
        scale = np.maximum(np.abs(true), FLOOR * np.abs(true).max(axis=0)) + 1e-12
        worst = np.maximum(worst, (np.abs(one - true) / scale).max(axis=(0, 1)))
    return worst


def concentration_errors(found: dict[str, Array], reference: Course) -> Array:
    """[P] largest relative error of reported concentrations over outputs."""
    worst = (
        np.zeros(next(iter(reference.concentrations.values())).shape[-1]) if reference.concentrations else np.zeros(1)
    )
    for name, true in reference.concentrations.items():
        scale = np.maximum(np.abs(true), FLOOR * np.abs(true).max(axis=0)) + 1e-12
        worst = np.maximum(worst, (np.abs(found[name] - true) / scale).max(axis=0))
    return worst
