"""What a method of estimation tells while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Stage:
    """Where the work stands.

    Attributes:
        phase: what is being done, in a few words.
        iteration: number of the step within the phase.
        w: [n] the search vector there.
        objective: there, where the method knows it.
        gradient: largest entry of the gradient on the search scale, where the method has one.
    """

    phase: str
    iteration: int
    w: np.ndarray
    objective: float | None = None
    gradient: float | None = None


Progress = Callable[[Stage], None]
"""Told of every step; a KeyboardInterrupt raised in it, as any Ctrl-C, keeps the best estimates."""
