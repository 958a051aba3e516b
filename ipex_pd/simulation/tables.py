"""What was given and what was sampled: the dose table, the trough table, and which quantity shows which drug."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ipex_pd.errors import SimulationError

Array = NDArray[np.float64]


def _none() -> Array:
    return np.empty((0, 0))


@dataclass(frozen=True)
class Exposure:
    """Where a drug shows in a simulation.

    Attributes:
        drug: name of the drug.
        concentration: the quantity of `Simulation.values` that is measured in the clinic.
        auc: the quantity that accumulates its area under the curve [concentration * day]; empty when none is kept.
        low, high: target window of the trough, in the unit of the concentration; None when the regimen states none.
        window_source: where the window comes from.
    """

    drug: str
    concentration: str
    auc: str = ""
    low: float | None = None
    high: float | None = None
    window_source: str = ""

    @property
    def has_window(self) -> bool:
        """Whether a target window is stated."""
        return self.low is not None and self.high is not None

    @property
    def window(self) -> tuple[float, float]:
        """The target window; open ends are infinite."""
        return (-np.inf if self.low is None else self.low, np.inf if self.high is None else self.high)


def _check(name: str, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if shape != expected:
        raise SimulationError(
            f"`{name}` has shape {shape}, expected {expected}", rule="Tables of a simulation are (patient, row) arrays"
        )


@dataclass(frozen=True, eq=False)
class DoseTable:
    """Doses as they were given.

    Attributes:
        drug: name of the drug, [row].
        route: oral or iv, [row].
        times: when [day], (patient, row).
        amount: how much [mg], (patient, row).
        duration: length of the infusion [day], (patient, row); 0 for a bolus or an oral dose.
    """

    drug: tuple[str, ...] = ()
    route: tuple[str, ...] = ()
    times: Array = field(default_factory=_none)
    amount: Array = field(default_factory=_none)
    duration: Array = field(default_factory=_none)

    def __post_init__(self) -> None:
        _check("route", (len(self.route),), (len(self.drug),))
        if self.drug:
            for name in ("times", "amount", "duration"):
                _check(name, getattr(self, name).shape, (self.times.shape[0], len(self.drug)))

    def rows(self, drug: str) -> NDArray[np.intp]:
        """The rows of one drug."""
        return np.flatnonzero(np.array([name == drug for name in self.drug], dtype=bool))

    def pick(self, patients: NDArray[np.intp]) -> DoseTable:
        """The table of some patients."""
        if not self.drug:
            return self
        return DoseTable(self.drug, self.route, self.times[patients], self.amount[patients], self.duration[patients])

    def to_frame(self, patients: tuple[str, ...]) -> pd.DataFrame:
        """One row a dose: patient, time [day], drug, route, amount [mg], duration [day]."""
        count = len(self.drug)
        return pd.DataFrame(
            {
                "patient": np.repeat(np.array(patients, dtype=object), count),
                "time": self.times.reshape(-1),
                "drug": np.tile(np.array(self.drug, dtype=object), len(patients)),
                "route": np.tile(np.array(self.route, dtype=object), len(patients)),
                "amount": self.amount.reshape(-1),
                "duration": self.duration.reshape(-1),
            }
        )


@dataclass(frozen=True, eq=False)
class TroughTable:
    """Troughs that were sampled to adjust doses, and what followed.

    Attributes:
        drug: name of the drug, [sample].
        times: when the sample was taken [day], [sample].
        trough: measured concentration in the unit of the drug's concentration, (patient, sample).
        multiplier: dose after the sample over the dose as prescribed [1], (patient, sample).
    """

    drug: tuple[str, ...] = ()
    times: Array = field(default_factory=lambda: np.empty(0))
    trough: Array = field(default_factory=_none)
    multiplier: Array = field(default_factory=_none)

    def __post_init__(self) -> None:
        _check("times", self.times.shape, (len(self.drug),))
        if self.drug:
            for name in ("trough", "multiplier"):
                _check(name, getattr(self, name).shape, (self.trough.shape[0], len(self.drug)))

    def rows(self, drug: str) -> NDArray[np.intp]:
        """The samples of one drug."""
        return np.flatnonzero(np.array([name == drug for name in self.drug], dtype=bool))

    def pick(self, patients: NDArray[np.intp]) -> TroughTable:
        """The table of some patients."""
        if not self.drug:
            return self
        return TroughTable(self.drug, self.times, self.trough[patients], self.multiplier[patients])

    def to_frame(self, patients: tuple[str, ...]) -> pd.DataFrame:
        """One row a sample: patient, time [day], drug, trough, multiplier."""
        count = len(self.drug)
        return pd.DataFrame(
            {
                "patient": np.repeat(np.array(patients, dtype=object), count),
                "time": np.tile(self.times, len(patients)),
                "drug": np.tile(np.array(self.drug, dtype=object), len(patients)),
                "trough": self.trough.reshape(-1),
                "multiplier": self.multiplier.reshape(-1),
            }
        )
