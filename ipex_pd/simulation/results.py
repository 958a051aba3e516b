"""Simulation: the labelled result of simulate(), patient by time by quantity, with units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ipex_pd.errors import SimulationError, UnknownKeyError, UsageError, nearest_hint
from ipex_pd.simulation.tables import Array, DoseTable, Exposure, TroughTable


def _frozen(array: Array) -> Array:
    view = np.asarray(array, dtype=np.float64).view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, eq=False)
class Simulation:
    """One regimen given to one child or to a population.

    Attributes:
        times: output times since the start of the regimen [day], (time,).
        values: quantity -> (patient, time).
        units: quantity -> unit.
        meanings: quantity -> one line for people.
        patients: label of every patient.
        patient: name of the child, or of the child the population was built around.
        regimen: name of the regimen.
        age: age at day 0 [day], (patient,).
        error: audit of the solver, largest relative difference to the refined mesh, (patient,).
        route: how each patient was solved (`mesh` or `general`), (patient,).
        alive: False where the numbers stopped being finite, (patient,); nothing to do with survival.
        seed: seed of the random effects.
        exposures: the drugs of the regimen and where they show.
        doses: doses as given.
        troughs: sampled troughs and the doses that followed.
        warnings: what the user must know.
        assumptions: numbers without a published source that entered.
        sources: works that numbers were taken from, as (key, citation).
    """

    times: Array
    values: Mapping[str, Array]
    units: Mapping[str, str]
    meanings: Mapping[str, str]
    patients: tuple[str, ...]
    patient: str
    regimen: str
    age: Array
    error: Array
    route: tuple[str, ...]
    alive: NDArray[np.bool_]
    seed: int = 0
    exposures: tuple[Exposure, ...] = ()
    doses: DoseTable = field(default_factory=DoseTable)
    troughs: TroughTable = field(default_factory=TroughTable)
    warnings: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        count = len(self.patients)
        times = _frozen(self.times)
        values = {name: _frozen(array) for name, array in self.values.items()}
        _check_times(times)
        for name, array in values.items():
            if array.shape != (count, times.size):
                raise SimulationError(
                    f"`{name}` has shape {array.shape}, expected {(count, times.size)}",
                    rule="Every quantity of a simulation is a (patient, time) array",
                )
            if name not in self.units or name not in self.meanings:
                raise SimulationError(f"`{name}` has no unit or no meaning", rule="Every quantity carries both")
        for name in ("age", "error", "route", "alive"):
            if len(getattr(self, name)) != count:
                raise SimulationError(f"`{name}` has {len(getattr(self, name))} entries for {count} patients")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "values", MappingProxyType(values))

    def __getitem__(self, quantity: str) -> Array:
        """The values of a quantity, (patient, time), in `units[quantity]`."""
        if quantity not in self.values:
            raise UnknownKeyError(
                f"`{quantity}` is not a quantity of this simulation", cure=nearest_hint(quantity, self.values)
            )
        return self.values[quantity]

    def __contains__(self, quantity: object) -> bool:
        return quantity in self.values

    def __len__(self) -> int:
        return len(self.patients)

    def __repr__(self) -> str:
        return (
            f"Simulation({self.patient!r} under {self.regimen!r}: {len(self.patients)} patients, "
            f"{self.times.size} times to day {self.horizon:g}, {len(self.values)} quantities)"
        )

    @property
    def horizon(self) -> float:
        """Last output time [day]."""
        return float(self.times[-1])

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of all quantities."""
        return tuple(self.values)

    def exposure(self, drug: str) -> Exposure:
        """Where a drug of the regimen shows. Raises: UnknownKeyError."""
        for item in self.exposures:
            if item.drug == drug:
                return item
        raise UnknownKeyError(
            f"`{drug}` is not given in this regimen", cure=nearest_hint(drug, [item.drug for item in self.exposures])
        )

    def pick(self, patients: Sequence[int] | slice) -> Simulation:
        """The same simulation for some patients, by position."""
        rows = np.arange(len(self.patients))[patients if isinstance(patients, slice) else list(patients)]
        return replace(
            self,
            values={name: array[rows] for name, array in self.values.items()},
            patients=tuple(self.patients[row] for row in rows),
            age=self.age[rows],
            error=self.error[rows],
            route=tuple(self.route[row] for row in rows),
            alive=self.alive[rows],
            doses=self.doses.pick(rows),
            troughs=self.troughs.pick(rows),
        )

    def at(self, day: float) -> pd.DataFrame:
        """All quantities at one day, linear between output times: a row a patient, a column a quantity.

        Raises:
            UsageError: the day lies outside the simulation.
        """
        if not self.times[0] <= day <= self.times[-1]:
            raise UsageError(
                f"day {day:g} is outside the simulation",
                rule=f"It covers days {self.times[0]:g} to {self.times[-1]:g}",
                cure="Choose a day inside, or simulate longer",
            )
        upper = max(int(np.searchsorted(self.times, day)), 1) if self.times.size > 1 else 0
        lower = max(upper - 1, 0)
        width = self.times[upper] - self.times[lower]
        share = (day - self.times[lower]) / width if width > 0 else 0.0
        columns = {
            name: (array[:, lower] if share == 0 else array[:, lower] * (1 - share) + array[:, upper] * share)
            for name, array in self.values.items()
        }
        return pd.DataFrame(columns, index=pd.Index(self.patients, name="patient"))

    def quantiles(self, quantity: str, levels: Sequence[float] = (0.05, 0.5, 0.95)) -> Array:
        """Quantiles of a quantity over the patients whose numbers are finite, (level, time)."""
        rows = self[quantity][self.alive]
        if rows.shape[0] == 0:
            return np.full((len(levels), self.times.size), np.nan)
        return np.asarray(np.quantile(rows, levels, axis=0), dtype=np.float64)

    def to_frame(self, quantities: Iterable[str] | None = None) -> pd.DataFrame:
        """Tidy table: patient, time [day], quantity, value, unit; all quantities, or those named."""
        names = tuple(self.values) if quantities is None else tuple(quantities)
        patients = np.repeat(np.array(self.patients, dtype=object), self.times.size)
        times = np.tile(self.times, len(self.patients))
        parts = [
            pd.DataFrame(
                {
                    "patient": patients,
                    "time": times,
                    "quantity": name,
                    "value": self[name].reshape(-1),
                    "unit": self.units[name],
                }
            )
            for name in names
        ]
        columns = ["patient", "time", "quantity", "value", "unit"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    def patient_endpoints(self) -> pd.DataFrame:
        """Every endpoint that this simulation can answer: a row a patient, a column an endpoint.

        A time that was not reached before the horizon is `inf`; an endpoint that has no meaning for a patient is `nan`.
        """
        from ipex_pd.simulation.endpoints import evaluate

        return evaluate(self)

    def endpoints(self, interval: tuple[float, float] = (0.05, 0.95)) -> pd.DataFrame:
        """Summary of every endpoint over the patients, one row an endpoint.

        Columns: endpoint, label, unit, mean, median, low, high (quantiles over patients at `interval`), reached (share
        of patients in whom a time was reached), patients (how many entered), better (`higher`, `lower` or empty),
        drug (empty for the disease), meaning.
        """
        from ipex_pd.simulation.endpoints import summary

        return summary(self, interval)

    def save(self, folder: str | Path) -> Path:
        """Write everything to a new folder (`simulation.npz`, `simulation.json`).

        Raises:
            OutputError: the folder exists, or cannot be written.
        """
        from ipex_pd.simulation.storage import save

        return save(self, Path(folder))

    @staticmethod
    def load(folder: str | Path) -> Simulation:
        """Read what `save` wrote. Raises: RecordError."""
        from ipex_pd.simulation.storage import load

        return load(Path(folder))


def _check_times(times: Array) -> None:
    if times.ndim != 1 or times.size == 0 or not np.all(np.isfinite(times)) or np.any(np.diff(times) <= 0):
        raise SimulationError("output times must be a non-empty, finite, strictly increasing list of days")
