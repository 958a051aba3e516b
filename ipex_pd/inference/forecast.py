"""A Bayesian forecast of one child: what sparse measurements say of him, and the courses that agree with them.

```python
child = ipx.load_patient("seidel_2009")
found = forecast(child, "seidel_2009_visits.csv", regimen=ipx.load_regimen("prednisolone"), years=2, draws=200, seed=1)
found.informed, found.bands, found.endpoints, found.warnings
```

With random effects z in units of their prior, the mode of -2 log p(y | z) + z'z is found by damped Gauss-Newton steps;
z is then normal around it with the inverse of that curvature (Laplace). Draws are simulated as virtual children are.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.inference.forecast_mode import Mode, find_mode
from ipex_pd.inference.forecast_prior import ForecastPrior, prior_of_parameters
from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.cohorts import CohortData, checked_table, read_table
from ipex_pd.records.measurements import Event
from ipex_pd.records.patients import Patient
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.draws import Array, normals
from ipex_pd.simulation.population import Population
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.study import YEAR, output_grid

INFORMED = 0.9
"""Ratio of posterior to prior standard deviation below which data are said to inform a parameter: assumed, a tenth."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """What is to be expected of one child.

    Attributes:
        patient, regimen: names.
        informed: one row a parameter: parameter, value (at the mode), shipped, z (at the mode, in prior SD),
            posterior_sd (in prior SD; 1: the data say nothing), informed.
        bands: one row a quantity and day: quantity, unit, time [day], median, low, high (5 and 95 % of draws).
        endpoints: summary over the draws, as of a virtual population.
        simulation: the draws.
        mode: the mode and its curvature.
        warnings: sentences.
        cohort: the child with his table and the record of his regimen.
        population: the draws as a population, which `simulate`, `compare` and `optimise_regimen` take.
    """

    patient: str
    regimen: str
    informed: pd.DataFrame
    bands: pd.DataFrame
    endpoints: pd.DataFrame
    simulation: Simulation
    mode: Mode
    warnings: tuple[str, ...]
    cohort: CohortData
    population: Posterior


@dataclass(frozen=True, eq=False)
class Posterior(Population):
    """Draws of one child as a population: drawn parameters have their posterior values, others those of the population.

    Attributes:
        drawn: name -> value of every numbered draw, in the parameter's own unit.
    """

    drawn: Mapping[str, Array] | None = None

    def values(self, parameter: Any, name: str = "") -> Array:
        """Individual values of a parameter in its own unit, (draw,)."""
        key = name or parameter.name
        if self.drawn is not None and key in self.drawn:
            return np.asarray(self.drawn[key])[self.index]
        return super().values(parameter, name)


def forecast(
    patient: Patient,
    data: pd.DataFrame | str | os.PathLike[str],
    *,
    regimen: Regimen,
    years: float,
    draws: int = 200,
    seed: int = 1,
    prior: ForecastPrior | None = None,
    quantities: Sequence[str] | None = None,
) -> Forecast:
    """Forecast one child from his measurements.

    Args:
        patient: who; his record states what is known on day 0.
        data: table of a cohort (`ipex_pd.records.cohorts`), ID not needed; or the path of its CSV file.
        regimen: what was given, and what will be. What was given until the last measurement must not follow troughs.
        years: how long from day 0.
        draws: how many courses.
        seed: of the draws.
        prior: what is known before the data; the shipped variability between children when None
            (`prior_of_parameters`, or `prior_of_fit` for the result of a fit).
        quantities: whose bands are wanted; all when None.

    Raises:
        RecordError: a row of the table that breaks a rule.
        SimulationError: measurements without a likelihood, or a history that follows troughs.
        UsageError: no draw, or a horizon before the last measurement.
    """
    if draws < 1 or seed < 0:
        raise UsageError(f"{draws} draws, seed {seed}", rule="At least one draw, and a seed from 0 on")
    cohort = one_child(patient, data, regimen)
    last = float(cohort.table["day"].max())
    if years * YEAR < last:
        raise UsageError(
            f"{years:g} years end before day {last:g}",
            where="years",
            rule="A forecast goes beyond the last measurement",
        )
    known = prior if prior is not None else prior_of_parameters(cohort)
    mode = find_mode(cohort, known)
    table = _informed(known, mode)
    population = _posterior(patient, known, mode, draws, seed)
    times = np.unique(np.concatenate([output_grid(years=years, every="14 day"), np.maximum(cohort.table["day"], 0.0)]))
    simulation = simulate(population, regimen, output_times=times, options=SolverOptions(audit="off"))
    return Forecast(
        patient=patient.name,
        regimen=regimen.name,
        informed=table,
        bands=_bands(simulation, quantities),
        endpoints=simulation.endpoints(),
        simulation=simulation,
        mode=mode,
        warnings=(*_warnings(table, mode), *simulation.warnings),
        cohort=cohort,
        population=population,
    )


def one_child(patient: Patient, data: pd.DataFrame | str | os.PathLike[str], regimen: Regimen) -> CohortData:
    """One child and his table as a cohort of one.

    Raises:
        RecordError: a row of the table that breaks a rule.
        SimulationError: an onset, which has no likelihood.
    """
    source = "" if isinstance(data, pd.DataFrame) else os.fspath(data)
    frame = data.astype(str) if isinstance(data, pd.DataFrame) else read_table(data, optional=("ID",))
    if "ID" not in frame.columns:
        frame = frame.assign(ID="1")
    table, missing, items = checked_table(frame, (1,), (patient,), (regimen,), source)
    onsets = sorted(name for name, item in items.items() if isinstance(item.error, Event))
    if onsets:
        raise SimulationError(
            f"`{onsets[0]}` is an onset",
            where=source or patient.name,
            rule="The model gives the day of an onset without error, so that an interval is certain or impossible",
            cure="Leave it out, or give what was judged at visits (severity, mass, level)",
        )
    return CohortData(patient.name, patient.description, (1,), (patient,), (regimen,), table, items, missing, source)


def _informed(prior: ForecastPrior, mode: Mode) -> pd.DataFrame:
    values = prior.values(mode.z[None, :])
    sd = np.sqrt(np.diag(mode.covariance))
    rows = [
        {
            "parameter": name,
            "value": float(values[name][0]),
            "shipped": prior.shipped[name],
            "z": float(mode.z[prior.place(name)]),
            "posterior_sd": float(sd[prior.place(name)]),
            "informed": bool(sd[prior.place(name)] < INFORMED),
        }
        for name in prior.parameters
    ]
    return pd.DataFrame(rows).sort_values("posterior_sd", ignore_index=True)


def _posterior(patient: Patient, prior: ForecastPrior, mode: Mode, draws: int, seed: int) -> Posterior:
    index = np.arange(draws)
    normal = np.stack([normals(seed, f"forecast/{name}", index) for name in prior.etas], axis=1)
    factor = np.linalg.cholesky(mode.covariance)
    values = prior.values(mode.z + normal @ factor.T)
    drawn = {name: values[name] / prior.ratio[name] for name in prior.parameters}
    # a stated residual function is what its draws are centred on already
    child = patient.model_copy(update={"residual_function": None}) if "residual_function" in drawn else patient
    copies = tuple(child.model_copy(update={"name": f"{patient.name}_draw_{number:04d}"}) for number in index)
    others = None if prior.others_vary else frozenset[str]()
    return Posterior(f"{patient.name}", copies, index, seed, varies=others, drawn=drawn)


def _bands(simulation: Simulation, quantities: Sequence[str] | None) -> pd.DataFrame:
    names = list(simulation.quantities) if quantities is None else list(quantities)
    parts = []
    for name in names:
        low, median, high = np.nanquantile(simulation[name], (0.05, 0.5, 0.95), axis=0)
        columns = {"quantity": name, "unit": simulation.units[name], "time": simulation.times}
        parts.append(pd.DataFrame({**columns, "median": median, "low": low, "high": high}))
    return pd.concat(parts, ignore_index=True)


def _warnings(table: pd.DataFrame, mode: Mode) -> tuple[str, ...]:
    lines = []
    silent = table.loc[~table["informed"], "parameter"].tolist()
    if silent:
        lines.append(
            f"the measurements say little or nothing of {len(silent)} of {len(table)} parameters, which keep the "
            f"spread between children: {', '.join(silent)}"
        )
    if not mode.converged:
        lines.append(f"the search stopped before its end (last step {mode.decrement:.2g} posterior SD)")
    far = table.loc[table["z"].abs() > 3.0, "parameter"].tolist()
    if far:
        lines.append(f"the child lies more than three standard deviations from the typical one in {', '.join(far)}")
    return tuple(lines)
