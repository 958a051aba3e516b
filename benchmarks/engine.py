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


def errors(case: Case, states: Array, auc: dict[str, Array], reference: Course) -> Array:
    """[P] largest relative error of states and areas over outputs.

    A z-score has no zero of its own (0 SD is the average child), so that a part of its value says nothing: its error
    counts in SD. A relative error would ask for 1e-8 SD wherever a growth curve passes the average.
    """
    in_sd = np.array([s.declaration.unit == "SD" for s in case.system.model.model.states])[:, None]
    worst: Array = (np.abs(states - reference.states) / np.where(in_sd, 1.0, _scale(reference.states))).max(axis=(0, 1))
    for drug, true in reference.auc.items():
        worst = np.maximum(worst, (np.abs(auc[drug] - true) / _scale(true)).max(axis=0))
    return worst


def _scale(true: Array) -> Array:
    return np.asarray(np.maximum(np.abs(true), FLOOR * np.abs(true).max(axis=0)) + 1e-12)


def concentration_errors(found: dict[str, Array], reference: Course) -> Array:
    """[P] largest relative error of reported concentrations over outputs."""
    worst = (
        np.zeros(next(iter(reference.concentrations.values())).shape[-1]) if reference.concentrations else np.zeros(1)
    )
    for name, true in reference.concentrations.items():
        worst = np.maximum(worst, (np.abs(found[name] - true) / _scale(true)).max(axis=0))
    return worst
