"""Rows of the validation table that need the disease model: courses of cells, and half-lives that its rates imply."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.records.library import load_parameters, load_patient, load_regimen
from ipex_pd.records.observations import CourseObservation, ParameterObservation
from ipex_pd.records.patients import Fact, Patient
from ipex_pd.records.provenance import assumed
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.draws import Array
from ipex_pd.simulation.population import virtual_population
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.validation import Row, blank_row, filled
from ipex_pd.units import factor, parse_measure

LARGEST_GROUP = 12
"""Virtual patients of a course at most: the disease is much dearer than kinetics alone."""

_EVERY = "5 day"


def course_row(subject: str, asked: CourseObservation, size: int, seed: int) -> Row:
    """The row of a published course: a level at a time, or the time of a return, over virtual patients.

    Raises:
        SimulationError: the quantity is not back within the horizon in any patient, or there is no such quantity.
    """
    regimen = _regimen(asked)
    found = _course(asked.patient, asked.age, regimen, asked.horizon, min(size, LARGEST_GROUP), seed)
    zero = _zero(asked, regimen)
    values = _level(asked, found, zero) if asked.at is not None else _return(asked, found, zero)
    question = f"at {asked.at:g} days" if asked.at is not None else f"time until above {asked.above}"
    row = replace(
        blank_row(subject, asked, ", ".join(regimen.drugs), None),
        quantity=f"{asked.quantity.replace('_', ' ')}, {question} after {asked.after.replace('_', ' ')}",
        people=f"{asked.description}; simulated: `{asked.patient}`",
        doses=f"Regimen `{regimen.name}`." if asked.regimen else " ".join(regimen.in_words()),
    )
    return filled(row, values, math.nan, asked.spread)


def rate_row(subject: str, asked: ParameterObservation) -> Row:
    """The row of a published half-life that a rate of a shipped set implies: ln 2 / rate."""
    parameter = load_parameters(asked.set)[asked.parameter]
    value = math.log(2) / parameter.value_in("1/day") * factor("day", asked.published.unit)
    row = replace(
        blank_row(subject, asked, f"set {asked.set}", None),
        quantity=f"{asked.part}: half-life, ln 2 / {asked.parameter}",
        people=asked.description,
    )
    return filled(row, np.array([value]), value, asked.spread)


def _regimen(asked: CourseObservation) -> Regimen:
    if asked.regimen:
        return load_regimen(asked.regimen)
    return Regimen(name=f"course_{asked.id.lower()}", description=asked.description, doses=asked.doses)


def _zero(asked: CourseObservation, regimen: Regimen) -> float:
    if asked.after == "transplant":
        return min(t.day for t in regimen.transplants)
    return max(row.time + row.duration for row in regimen.administrations(asked.horizon) if row.amount > 0)


def _child(name: str, age: float | None) -> Patient:
    child = load_patient(name)
    if age is None:
        return child
    stated = Fact(value=f"{age!r} day", source=assumed("set for the comparison"))
    return child.model_copy(update={"stated_age": stated})


@lru_cache(maxsize=4)
def _simulated(name: str, age: float | None, regimen: str, horizon: float, size: int, seed: int) -> Simulation:
    group = virtual_population(_child(name, age), size, seed=seed)
    return simulate(group, Regimen.model_validate_json(regimen), days=horizon, output_every=_EVERY)


def _course(name: str, age: float | None, regimen: Regimen, horizon: float, size: int, seed: int) -> Simulation:
    return _simulated(name, age, regimen.model_dump_json(by_alias=True), horizon, size, seed)


def _level(asked: CourseObservation, found: Simulation, zero: float) -> Array:
    assert asked.at is not None
    values = _in_unit(asked, found, asked.published.unit)
    return np.array([np.interp(zero + asked.at, found.times, course) for course in values])


def _return(asked: CourseObservation, found: Simulation, zero: float) -> Array:
    limit = parse_measure(asked.above)
    values = _in_unit(asked, found, limit.unit)
    back = np.array([_last_rise(found.times, course, limit.value) for course in values]) - zero
    back = back[np.isfinite(back)]
    if back.size == 0:
        raise SimulationError(
            f"{asked.id}: `{asked.quantity}` is not above {asked.above} again", cure="Lengthen `horizon`"
        )
    return back * factor("day", asked.published.unit)


def _last_rise(times: Array, course: Array, limit: float) -> float:
    below = np.flatnonzero(course < limit)
    if below.size == 0 or below[-1] + 1 == times.size:
        return math.nan
    i = below[-1]
    share = (limit - course[i]) / (course[i + 1] - course[i])
    return float(times[i] + share * (times[i + 1] - times[i]))


def _in_unit(asked: CourseObservation, found: Simulation, unit: str) -> Array:
    return np.asarray(found[asked.quantity]) * factor(found.units[asked.quantity], unit)
