"""measure(): what the clinic would have seen of simulated children, with errors, limits, visits and deaths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ipex_pd.errors import UnknownKeyError, UsageError, nearest_hint
from ipex_pd.records.library import load_drug, load_measurements, shipped
from ipex_pd.records.measurements import Event, Measurement, Ordinal, Survival, level_of
from ipex_pd.simulation import measurement_draws as law
from ipex_pd.simulation.draws import normals, uniforms
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import Array
from ipex_pd.units import factor

MONTHS_BETWEEN_VISITS = 3
"""The shorter end of the 3 to 6 months recommended for surveillance (GeneReviews, IPEX syndrome, 2024; E179)."""
SAME_DAY = 1e-6


@dataclass(frozen=True)
class _Rows:
    """Rows of one measurement: who (position), when, and the values of the table."""

    item: Measurement
    unit: str
    who: NDArray[np.intp]
    day: Array
    true: Array
    measured: Array
    cens: NDArray[np.int64]
    limit: Array


def measure(
    simulation: Simulation,
    schedule: Mapping[str, ArrayLike] | ArrayLike | None = None,
    *,
    seed: int,
    measurements: Sequence[Measurement] | None = None,
) -> pd.DataFrame:
    """Noisy measurements of every patient on given days, as a clinic would have recorded them.

    Days must be output times of the simulation: nothing is read between them. A measurement that is an event is one
    row a patient: the onset is the first crossing of its threshold (linear between output times) and is known only
    from the visits, as an interval. `death` is drawn from the survival curve by inverse transform; when it is among
    the measurements a child has no rows after it, otherwise children are followed as if alive. A draw depends on
    (seed, measurement, day, position of the patient) and on nothing else.

    Args:
        simulation: what happened.
        schedule: measurement -> days; or days for everything that can be measured here; or None for everything every
            3 months, at the nearest output times.
        seed: of errors and deaths.
        measurements: those to choose from instead of the shipped ones and the levels of the drugs given
            (`ipex_pd.simulation.measuring.measurable`).

    Returns:
        One row a patient, day and measurement, in that order: patient, day, measurement, true, measured, unit, cens,
        limit. `cens` is 0 for a value; 1 for one between `limit` and `measured` (below the lower limit of
        quantification, or an onset between two visits); -1 for one between `measured` and `limit` (above the upper
        limit, or an onset or death that has not come by the last visit). An ordinal value is the number of its level
        from 0. `day` of an event is the visit that tells, of a death its day. Patients without finite numbers have
        `nan`.

    Raises:
        UnknownKeyError: a name that is no measurement.
        UsageError: days outside the simulation, not output times, or given twice; a quantity this simulation lacks.
        UnitError: a measurement in a unit that does not measure its quantity.
    """
    if seed < 0:
        raise UsageError(f"seed {seed}", rule="A seed is a whole number from 0 on")
    visits = _visits(simulation, schedule, measurements)
    deaths = {item.name: _death(simulation, item, seed) for item, _ in visits if isinstance(item.error, Survival)}
    died = np.fmin.reduce([np.full(len(simulation), np.inf), *deaths.values()])
    parts = []
    for item, rows in visits:
        if isinstance(item.error, Survival):
            parts.append(_ended(simulation, item, rows, deaths[item.name]))
        elif isinstance(item.error, Event):
            parts.append(_onsets(simulation, item, item.error, rows, died))
        else:
            parts.append(_values(simulation, item, rows, died, seed))
    return _table(simulation, parts)


def measurable(simulation: Simulation) -> tuple[Measurement, ...]:
    """The shipped measurements whose quantity this simulation has, and the levels of the drugs given."""
    record = load_measurements()
    shelf = tuple(item for item in record.measurements.values() if item.quantity in simulation)
    drugs = [load_drug(exposure.drug) for exposure in simulation.exposures]
    levels = (level_of(drug, record.assays) for drug in drugs if drug.residual is not None)
    return (*shelf, *(item for item in levels if item.quantity in simulation))


def surveillance(simulation: Simulation) -> Array:
    """Output times nearest to every 3 months from the first on [day] (GeneReviews, IPEX syndrome, 2024; E179)."""
    first, times = simulation.times[0], simulation.times
    wanted = np.arange(first, simulation.horizon + SAME_DAY, MONTHS_BETWEEN_VISITS * 365.25 / 12)
    return np.unique([times[np.argmin(np.abs(times - day))] for day in wanted])


def _visits(
    simulation: Simulation, schedule: Mapping[str, ArrayLike] | ArrayLike | None, given: Sequence[Measurement] | None
) -> list[tuple[Measurement, NDArray[np.intp]]]:
    items = measurable(simulation) if given is None else tuple(given)
    known = {item.name: item for item in items}
    if len(known) < len(items):
        raise UsageError("two measurements have one name", rule="Each has a name of its own")
    if isinstance(schedule, Mapping):
        wanted = {name: _rows(simulation, days, name) for name, days in schedule.items()}
    else:
        rows = _rows(simulation, surveillance(simulation) if schedule is None else schedule, "schedule")
        wanted = dict.fromkeys(known, rows)
    if not wanted:
        raise UsageError("nothing is measured", rule="A schedule names at least one measurement that can be made")
    return [(_known(simulation, name, known, given is None), rows) for name, rows in wanted.items()]


def _known(simulation: Simulation, name: str, known: Mapping[str, Measurement], shelf: bool) -> Measurement:
    if name in known and known[name].quantity in simulation:
        return known[name]
    others = load_measurements().measurements if shelf else {}
    item = known.get(name) or others.get(name)
    if item is not None:
        raise UsageError(
            f"`{name}` reads `{item.quantity}`, which this simulation lacks",
            where=simulation.regimen,
            rule=nearest_hint(item.quantity, simulation.quantities),
        )
    drug = name.removesuffix("_level")
    if shelf and drug in shipped("drugs") and drug != name:
        if drug in [exposure.drug for exposure in simulation.exposures]:
            level_of(load_drug(drug))
        raise UsageError(
            f"`{name}` cannot be measured: `{drug}` is not given",
            where=simulation.regimen,
            cure="Measure a drug of the regimen",
        )
    raise UnknownKeyError(f"`{name}` is not a measurement", cure=nearest_hint(name, {**others, **known}))


def _rows(simulation: Simulation, days: ArrayLike, name: str) -> NDArray[np.intp]:
    """Rows of the output times at some days, rising. Raises: UsageError."""
    wanted, times = np.sort(np.atleast_1d(np.asarray(days, dtype=np.float64))), simulation.times
    if wanted.ndim != 1 or wanted.size == 0 or not np.all(np.isfinite(wanted)):
        raise UsageError("the days are no list of days", where=name, rule="Visits are a list of finite days")
    rows = np.array([int(np.argmin(np.abs(times - day))) for day in wanted], dtype=np.intp)
    for day, row in zip(wanted, rows, strict=True):
        if not times[0] - SAME_DAY <= day <= times[-1] + SAME_DAY:
            raise UsageError(
                f"day {day:g} is outside the simulation",
                where=name,
                rule=f"It covers days {times[0]:g} to {times[-1]:g}",
                cure="Choose a day inside, or simulate longer",
            )
        if abs(times[row] - day) > SAME_DAY:
            raise UsageError(
                f"day {day:g} is not an output time",
                where=name,
                rule=f"Nothing is read between output times; the nearest is {times[row]:g}",
                cure="Choose that day, or simulate with `output_times` that hold the visits",
            )
    if np.unique(rows).size < rows.size:
        raise UsageError("a day stands twice", where=name, rule="A measurement is made once on a day")
    return rows


def _course(simulation: Simulation, item: Measurement) -> Array:
    return simulation[item.quantity] * factor(simulation.units[item.quantity], item.unit)


def _values(simulation: Simulation, item: Measurement, rows: NDArray[np.intp], died: Array, seed: int) -> _Rows:
    days, people = simulation.times[rows], np.arange(len(simulation))
    true = _course(simulation, item)[:, rows]
    noise = np.stack([normals(seed, f"measure/{item.name}/{round(float(day), 6)!r}", people) for day in days], axis=1)
    values, cens, limit = law.censored(item, law.measured(item, true, noise))
    if isinstance(item.error, Ordinal):
        true = law.level(item.error, true)
    who, visit = np.nonzero(~(days[None, :] >= died[:, None]))
    unit = "1" if isinstance(item.error, Ordinal) else item.unit
    here = (who, visit)
    return _Rows(item, unit, who, days[visit], true[here], values[here], cens[here], limit[here])


def _onsets(simulation: Simulation, item: Measurement, event: Event, rows: NDArray[np.intp], died: Array) -> _Rows:
    visits = simulation.times[rows]
    true = law.onset(event, simulation.times, _course(simulation, item))
    day, cens, limit = law.seen(true, visits, died)
    who = np.flatnonzero(died > visits[0])
    shown = np.where(np.isnan(day), visits[-1], day)
    return _Rows(item, "day", who, shown[who], true[who], day[who], cens[who], limit[who])


def _death(simulation: Simulation, item: Measurement, seed: int) -> Array:
    draws = uniforms(seed, f"measure/{item.name}", np.arange(len(simulation)))
    return law.death(simulation.times, _course(simulation, item), draws)


def _ended(simulation: Simulation, item: Measurement, rows: NDArray[np.intp], day: Array) -> _Rows:
    last = simulation.times[rows[-1]]
    alive, unknown = day > last, np.isnan(day)
    found = np.where(alive, last, day)
    return _Rows(
        item=item,
        unit="day",
        who=np.arange(len(simulation)),
        day=np.where(unknown, last, found),
        true=day,
        measured=found,
        cens=-alive.astype(np.int64),
        limit=np.where(alive, np.inf, np.nan),
    )


def _table(simulation: Simulation, parts: Sequence[_Rows]) -> pd.DataFrame:
    counts = [part.who.size for part in parts]
    which = np.repeat(np.arange(len(parts)), counts)
    who, day = np.concatenate([part.who for part in parts]), np.concatenate([part.day for part in parts])
    names, units = [part.item.name for part in parts], [part.unit for part in parts]
    columns = {
        "patient": np.array(simulation.patients, dtype=object)[who],
        "day": day,
        "measurement": np.array(names, dtype=object)[which],
        "true": np.concatenate([part.true for part in parts]),
        "measured": np.concatenate([part.measured for part in parts]),
        "unit": np.array(units, dtype=object)[which],
        "cens": np.concatenate([part.cens for part in parts]),
        "limit": np.concatenate([part.limit for part in parts]),
    }
    return pd.DataFrame(columns).iloc[np.lexsort((which, day, who))].reset_index(drop=True)
