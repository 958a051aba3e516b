"""Children under different regimens as one schedule: rows of all orders, each child with times and amounts of his own.

Where a child is not given what a row gives, or has no transplant, the row lies after his last observation with amount
0. All children then march through one compiled program.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.body import body
from ipex_pd.numerics.drugs import bind_drug
from ipex_pd.numerics.events import VISIT_INTERVAL, schedule_of
from ipex_pd.numerics.schedule import DrugKinetics, Order, Schedule, System
from ipex_pd.records.drugs import Drug
from ipex_pd.records.library import load_drug, load_parameters
from ipex_pd.records.patients import Patient
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation import individuals
from ipex_pd.simulation.individuals import Shelves
from ipex_pd.simulation.population import Population
from ipex_pd.simulation.study import disease

Floats = NDArray[np.float64]
NEVER = 1.0e6
"""Day [day] of what does not happen: after any observation."""


@dataclass(frozen=True)
class _Row:
    time: float
    amount: float
    duration: float


@dataclass(frozen=True, eq=False)
class Joined:
    """Children under their regimens, ready for a mesh.

    Attributes:
        system: disease, all drugs of the cohort, body.
        schedule: times and amounts [N, P], transplants [M, P].
        theta: shipped values of the children, name -> [P].
        age: at day 0 [day], [P].
        ill: [P] whether the course since birth was that of the disease (`born_untreated`).
        stated: states that patient files set on day 0, name -> [P], nan elsewhere.
    """

    system: System
    schedule: Schedule
    theta: dict[str, Floats]
    age: Floats
    ill: NDArray[np.bool_]
    stated: dict[str, Floats]


@lru_cache(maxsize=16)
def system_of(drugs: tuple[DrugKinetics, ...]) -> System:
    """One system for each set of drugs, so that programs compiled for it are used again."""
    return System(disease(), drugs, body)


def join(patients: Sequence[Patient], regimens: Sequence[Regimen], until: Sequence[float]) -> Joined:
    """Bind children and their regimens.

    Args:
        patients: who.
        regimens: what each was given.
        until: day [day] of each child's last observation.

    Raises:
        SimulationError: a dose before the last observation that follows trough levels.
        RecordError: doses by size for a child without one, or a drug or route that the records do not know.
    """
    for patient, regimen, end in zip(patients, regimens, until, strict=True):
        _require_given(regimen, end)
        individuals.require_size(individuals.as_population(patient), regimen)
    names = dict.fromkeys(drug for regimen in regimens for drug in regimen.drugs)
    drugs = {name: load_drug(name) for name in names}
    shelves = Shelves(
        load_parameters("disease"), load_parameters("foxp3_classes"), load_parameters("transplant"), drugs
    )
    crowd = Population("cohort", tuple(patients), np.arange(len(patients)), 0, varies=frozenset())
    theta = individuals.theta(crowd, disease().model, shelves)
    kinetics = {drug.name: bind_drug(drug) for drug in drugs.values()}
    return Joined(
        system=system_of(tuple(kinetics[name] for name in sorted(kinetics))),
        schedule=_joined([_one(r, drugs, end, shelves) for r, end in zip(regimens, until, strict=True)], max(until)),
        theta={name: np.asarray(values, dtype=np.float64) for name, values in theta.items()},
        age=np.array([patient.age for patient in patients]),
        ill=np.array([patient.history == "born_untreated" for patient in patients]),
        stated=individuals.start_overrides(crowd),
    )


def _require_given(regimen: Regimen, until: float) -> None:
    for order in regimen.orders:
        if order.titration is not None and order.given and order.start < until:
            raise SimulationError(
                f"`{order.drug}` follows trough levels",
                where=regimen.name,
                rule="Data are explained by doses as they were given, not by a plan that would have changed them",
                cure="Write the doses given (of a simulation: `ipex_pd.simulation.cohort_histories.as_given`)",
            )


def _one(regimen: Regimen, drugs: Mapping[str, Drug], until: float, shelves: Shelves) -> Schedule:
    jump = individuals.transplant_covariates(regimen.transplants, disease().events["transplant"], shelves.transplant)
    return schedule_of(regimen, drugs, max(until, 0.0), jump)


def _joined(schedules: Sequence[Schedule], until: float) -> Schedule:
    """One schedule of all: rows keyed by (order, administrations a day)."""
    orders: dict[Order, int] = {}
    tables: list[dict[tuple[int, float], list[_Row]]] = []
    for schedule in schedules:
        table: dict[tuple[int, float], list[_Row]] = {}
        for key, row in _rows(schedule, orders):
            table.setdefault(key, []).append(row)
        tables.append(table)
    keys = sorted({key for table in tables for key in table})
    blocks = [(key, max(len(table.get(key, ())) for table in tables)) for key in keys]
    fixed = [key for key, count in blocks for _ in range(count)]
    columns = {
        name: _column(tables, blocks, name, empty)
        for name, empty in (("time", NEVER), ("amount", 0.0), ("duration", 0.0))
    }
    times, events = _transplants(schedules)
    return Schedule(
        orders=tuple(orders),
        times=columns["time"],
        order=np.array([order for order, _ in fixed], dtype=int),
        amount=columns["amount"],
        duration=columns["duration"],
        per_day=np.array([often for _, often in fixed], dtype=float),
        steady_state=np.zeros(len(fixed)),
        transplant_times=times,
        transplants=events,
        visits=np.arange(0.0, max(until, VISIT_INTERVAL), VISIT_INTERVAL),
    )


def _rows(schedule: Schedule, orders: dict[Order, int]) -> Iterator[tuple[tuple[int, float], _Row]]:
    """Rows of one child by order; the end of an order that another of the same kind continues is left out."""
    place = [orders.setdefault(schedule.orders[k], len(orders)) for k in schedule.order]
    going = {(k, round(t, 9)) for k, t, n in zip(place, schedule.times, schedule.per_day, strict=True) if n > 0}
    columns = (place, schedule.times, schedule.amount, schedule.duration, schedule.per_day)
    for k, time, amount, duration, often in zip(*columns, strict=True):
        if often > 0 or (k, round(time, 9)) not in going:
            yield (k, float(often)), _Row(float(time), float(amount), float(duration))


def _column(
    tables: Sequence[Mapping[tuple[int, float], Sequence[_Row]]],
    blocks: Sequence[tuple[tuple[int, float], int]],
    name: str,
    empty: float,
) -> Floats:
    """[N, P] one item of every row, `empty` where a child has fewer."""
    made = np.full((sum(count for _, count in blocks), len(tables)), empty)
    for child, table in enumerate(tables):
        start = 0
        for key, count in blocks:
            values = [getattr(row, name) for row in table.get(key, ())]
            made[start : start + len(values), child] = values
            start += count
    return made


def _transplants(schedules: Sequence[Schedule]) -> tuple[Floats, dict[str, Floats]]:
    """Times and covariates [M, P]; a child without a transplant has one that never comes."""
    most = max(len(schedule.transplant_times) for schedule in schedules)
    times = np.full((most, len(schedules)), NEVER)
    names = sorted({name for schedule in schedules for name in schedule.transplants})
    events = {name: np.ones((most, len(schedules))) for name in names}
    for child, schedule in enumerate(schedules):
        count = len(schedule.transplant_times)
        times[:count, child] = schedule.transplant_times
        for name in names if count else ():
            events[name][:count, child] = schedule.transplants[name]
    return times, events
