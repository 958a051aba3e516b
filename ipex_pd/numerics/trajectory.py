"""What solve() is told and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.parallel import SIZES

TOLERANCES = {"default": 1e-5, "tight": 1e-7}


@dataclass(frozen=True)
class SolverOptions:
    """How solve() works.

    Attributes:
        accuracy: `default` (relative error of 1e-5) or `tight` (1e-7).
        audit: `full` solves twice, on the mesh and on the next finer one, and goes on with the finer one for patients
            that differ by more than the tolerance; `off` solves once and reports no error.
        route: `auto`, or force `mesh` or `general`.
        tolerance: accepted relative error instead of that of the accuracy.
        chunk: most patients that are computed together: 1, 8, 64 or 256.
        threads: chunks at a time.
    """

    accuracy: Literal["default", "tight"] = "default"
    audit: Literal["full", "off"] = "full"
    route: Literal["auto", "mesh", "general"] = "auto"
    tolerance: float | None = None
    chunk: int = 256
    threads: int = 2

    def __post_init__(self) -> None:
        for name, allowed in (
            ("accuracy", ("default", "tight")),
            ("audit", ("full", "off")),
            ("route", ("auto", "mesh", "general")),
            ("chunk", SIZES),
        ):
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"{name} is `{getattr(self, name)}`",
                    where="SolverOptions",
                    rule="It is one of " + ", ".join(str(a) for a in allowed),
                )
        if self.tolerance is not None and not 1e-12 <= self.tolerance <= 0.1:
            raise UsageError(f"tolerance is {self.tolerance}", where="SolverOptions", rule="It lies in 1e-12 .. 0.1")
        if self.threads < 1:
            raise UsageError(f"threads is {self.threads}", where="SolverOptions", rule="At least one thread works")

    @property
    def accepted(self) -> float:
        """Relative error that is accepted."""
        return TOLERANCES[self.accuracy] if self.tolerance is None else self.tolerance


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What happened, at the output times; patients are the last axis.

    Attributes:
        times: [T] [day].
        states: [T, S, P], before the events of that time.
        concentrations: name -> [T, P] as the drug reports them.
        auc: drug -> [T, P] area under its measured concentration since day 0 [concentration x day].
        effects: [T, U, P].
        covariates: name -> [T, P]: weight [kg], bsa [m2], ...
        outputs: name -> [T, P]: the outputs of the model.
        doses: [N, P] prescribed amounts given [mg].
        multipliers: [K, P] of the sampled titration, after each sample.
        troughs: [K, P] sampled.
        error: [P] largest relative difference to a finer solution; NaN without audit.
        route: [P] `mesh` or `general`.
        reason: [P] why.
        alive: [P] False where numbers stopped being finite (values stay at the last finite ones).
        finished: [P] False where the run was interrupted (values are NaN).
    """

    times: np.ndarray
    states: np.ndarray
    concentrations: dict[str, np.ndarray]
    auc: dict[str, np.ndarray]
    effects: np.ndarray
    covariates: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    doses: np.ndarray
    multipliers: np.ndarray
    troughs: np.ndarray
    error: np.ndarray
    route: np.ndarray
    reason: tuple[str, ...]
    alive: np.ndarray
    finished: np.ndarray

    @property
    def weight(self) -> np.ndarray:
        """[T, P] body weight [kg]."""
        return self.covariates["weight"]
