"""What a study measured, computed the same way from simulated concentrations of a virtual group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.drugs import bind_drug, concentration_names
from ipex_pd.numerics.superposition import concentration
from ipex_pd.records.drugs import SaturableBinding
from ipex_pd.records.observations import Observation, Study
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import Administration
from ipex_pd.simulation.draws import Array
from ipex_pd.simulation.validation_group import Subjects
from ipex_pd.units import factor

_SAMPLES = 64
_DOSES = 16


def administrations(study: Study, until: float) -> list[Administration]:
    """The doses of a study before a day."""
    regimen = Regimen(name=study.name, description=study.population.description, doses=study.doses)
    return [row for row in regimen.administrations(until) if row.amount > 0]


def milligrams(rows: list[Administration], subjects: Subjects) -> Array:
    """Doses given [mg], (dose, subject)."""
    ones = np.ones(len(subjects))
    size = {"mg": ones, "mg/kg": subjects.covariates["weight"], "mg/m2": subjects.covariates["bsa"]}
    given = [np.minimum(row.amount * size[row.basis], row.maximum_mg or np.inf) for row in rows]
    return np.stack(given)


def individual(subjects: Subjects) -> dict[str, Array]:
    """Individual kinetics, name -> (subject,), in the units of `records.drugs.UNITS`."""
    width = len(subjects)
    found = bind_drug(subjects.drug).individual(subjects.theta, subjects.covariates)
    return {name: np.broadcast_to(np.asarray(value), (width,)) for name, value in found.items()}


def bioavailable(rows: list[Administration], subjects: Subjects, given: Array) -> Array:
    """Amounts that reach the body [mg], (dose, subject)."""
    bound = bind_drug(subjects.drug)
    if rows[0].route == "iv":
        return given
    share = bound.bioavailability(subjects.theta, subjects.covariates, jnp.asarray(given), {})
    return np.asarray(given * np.asarray(share))


def concentrations(subjects: Subjects, rows: list[Administration], times: Array, of: str = "") -> Array:
    """Reported concentration [mg/L], (time, subject), of doses that all go one way.

    Args:
        subjects: whose.
        rows: the doses.
        times: [day].
        of: which reported concentration; the measured one when empty.

    Raises:
        SimulationError: doses by two routes, or no such concentration.
    """
    routes = {row.route for row in rows}
    if len(routes) != 1:
        raise SimulationError(f"`{subjects.drug.name}` is given by {len(routes)} routes", rule="A study has one route")
    subjects.drug.require_route(rows[0].route)
    amounts = bioavailable(rows, subjects, milligrams(rows, subjects))
    central = _central(subjects, rows, times, amounts)
    reported = bind_drug(subjects.drug).concentrations(subjects.theta, subjects.covariates, jnp.asarray(central))
    names = {which: key for key, which in concentration_names(subjects.drug).items()}
    which = of or subjects.drug.concentration.names[0]
    if which not in names:
        raise SimulationError(f"`{which}` is not a concentration of `{subjects.drug.name}`")
    return np.asarray(reported[names[which]]) / factor("mg/L", subjects.drug.concentration.unit)


def _central(subjects: Subjects, rows: list[Administration], times: Array, amounts: Array) -> Array:
    """Amount over central volume [mg/L], (time, subject): superposition, padded so that few shapes are compiled."""
    infused = any(row.duration > 0 for row in rows)
    more, later = -len(rows) % _DOSES, -len(times) % _SAMPLES
    starts = np.pad(np.array([row.time for row in rows]), (0, more))
    lengths = np.pad(np.array([row.duration for row in rows]), (0, more))
    doses = np.pad(amounts, ((0, more), (0, 0)))
    solve = _solver(subjects.drug.kinetics.compartments, rows[0].route == "oral", infused)
    found = solve(individual(subjects), np.pad(times, (0, later), mode="edge"), starts, doses, lengths)
    return np.asarray(found)[: len(times)]


@cache
def _solver(compartments: int, oral: bool, infused: bool) -> Callable[..., Any]:
    def solve(values: Mapping[str, Any], times: Any, starts: Any, doses: Any, lengths: Any) -> Any:
        durations = lengths if infused else None
        return concentration(values, times, starts, doses, compartments=compartments, oral=oral, durations=durations)

    compiled: Callable[..., Any] = jax.jit(solve)
    return compiled


def measure(study: Study, asked: Observation, subjects: Subjects) -> Array:
    """The quantity of an observation, (subject,), in the unit of `QUANTITIES` (per kg, mg or mg/kg where asked).

    Raises:
        SimulationError: a titrated drug that is not linear, or a slope that cannot be had.
    """
    rows = administrations(study, asked.end)
    if asked.quantity == "steady_state_volume":
        return _per(asked, _volumes(subjects), rows, subjects)
    times = _samples(asked, rows)
    levels = concentrations(subjects, rows, times, asked.of) * _titration(study, subjects)
    value = _MEASURES[asked.quantity](_Course(asked, subjects, rows, times, levels))
    return _per(asked, value, rows, subjects)


@dataclass(frozen=True, eq=False)
class _Course:
    """The samples of one observation: times [day] (sample,) and levels [mg/L] (sample, subject)."""

    asked: Observation
    subjects: Subjects
    rows: list[Administration]
    times: Array
    levels: Array

    @property
    def area(self) -> Array:
        """Area by trapezoids [mg/L*day]."""
        return np.asarray(np.trapezoid(self.levels, self.times, axis=0))

    @property
    def slope(self) -> Array:
        """Log-linear slope over all samples [1/day]."""
        centred = self.times - self.times.mean()
        return np.asarray(-(centred @ np.log(self.levels)) / (centred @ centred))

    @property
    def given(self) -> Array:
        """Dose inside the samples [mg]; an infusion that only partly lies inside counts in part."""
        begin, end = self.times[0], self.times[-1]
        doses = milligrams(self.rows, self.subjects)
        return np.asarray(sum(_inside(row, begin, end) * dose for row, dose in zip(self.rows, doses, strict=True)))


def _inside(row: Administration, begin: float, end: float) -> float:
    if row.duration == 0:
        return float(begin - 1e-9 <= row.time < end - 1e-9)
    return max(0.0, min(end, row.time + row.duration) - max(begin, row.time)) / row.duration


def _samples(asked: Observation, rows: list[Administration]) -> Array:
    step = asked.every
    inner = np.arange(asked.start, asked.end + 0.5 * step, step)
    ends = [row.time + row.duration for row in rows if asked.start < row.time + row.duration < asked.end]
    # the peak of an infusion is at its end, which is always sampled; slopes take evenly spaced samples only
    return inner if asked.quantity in _SLOPES else np.unique(np.round([*inner, *ends], 9))


def _clearance(course: _Course) -> Array:
    asked = course.asked
    area = course.area
    if asked.start == 0.0:
        area = area + course.levels[-1] / _last_slope(course)
    return course.given / area


def _last_slope(course: _Course) -> Array:
    """Terminal slope [1/day], for the area after the samples."""
    span = course.asked.slope
    if span is None:
        late = np.arange(len(course.times)) >= 2 * len(course.times) // 3
    else:
        late = (course.times >= span[0] - 1e-9) & (course.times <= span[1] + 1e-9)
    return replace(course, times=course.times[late], levels=course.levels[late]).slope


def _terminal_volume(course: _Course) -> Array:
    return _clearance(course) / _last_slope(course)


def _detectable(course: _Course) -> Array:
    last = course.rows[-1].time + course.rows[-1].duration
    seen = course.levels >= course.asked.limit_mg_l
    if np.any(seen[-1]):
        raise SimulationError(f"{course.asked.id}: the drug is still detectable at the end", cure="Lengthen `to`")
    return np.asarray(course.times[len(seen) - 1 - np.argmax(seen[::-1], axis=0)] - last)


_SLOPES = ("half_life",)
_MEASURES: dict[str, Callable[[_Course], Array]] = {
    "auc": lambda c: c.area,
    "average": lambda c: c.area / (c.times[-1] - c.times[0]),
    "peak": lambda c: np.max(c.levels, axis=0),
    "time_of_peak": lambda c: c.times[np.argmax(c.levels, axis=0)] - c.asked.start,
    "level": lambda c: c.levels[-1],
    "half_life": lambda c: np.log(2) / c.slope,
    "clearance": _clearance,
    "terminal_volume": _terminal_volume,
    "relative_dose": lambda c: 1.0 / (c.area if c.asked.by == "auc" else c.levels[-1]),
    "bioavailability": _clearance,
    "detectable": _detectable,
}


def _volumes(subjects: Subjects) -> Array:
    return np.asarray(sum(v for name, v in individual(subjects).items() if name.startswith("volume_")))


def _per(asked: Observation, value: Array, rows: list[Administration], subjects: Subjects) -> Array:
    weight = subjects.covariates["weight"]
    if asked.per == "kg":
        return value / weight
    if asked.per:
        dose = milligrams(rows[-1:], subjects)[0]
        return np.asarray(value / (dose if asked.per == "mg" else dose / weight))
    return value


def _titration(study: Study, subjects: Subjects) -> Array:
    """Factor on everybody's doses (and so on the levels of a linear drug), (subject,)."""
    aim = study.titrated
    if aim is None:
        return np.ones(len(subjects))
    dose_dependent = any(relation.needs_dose for relation in subjects.drug.relations)
    if dose_dependent and isinstance(subjects.drug.concentration, SaturableBinding):
        raise SimulationError(f"doses of `{subjects.drug.name}` cannot be titrated", rule="Its levels are not linear")
    level = concentrations(subjects, administrations(study, aim.at), np.array([aim.at]))[0]
    return np.asarray(aim.mg_l / level)
