"""From the solution on a frozen mesh to a Course: outputs, troughs, doses in mg. Pure, under jit and derivatives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics import program
from ipex_pd.numerics.gradients import Traced
from ipex_pd.numerics.march import observe
from ipex_pd.numerics.schedule import Schedule, System
from ipex_pd.planning.course import Course, Given, Samples

Array = Any

_TINY = 1e-9


class Sampled(NamedTuple):
    """Which doses the troughs of a drug are taken before.

    Attributes:
        rows: [K] rows of the schedule.
        places: [K] places among the times.
        there: [K] 0 where no dose follows before the horizon.
    """

    rows: Array
    places: Array
    there: Array


class Bearings(NamedTuple):
    """Where things stand among the times; data, not differentiated.

    Attributes:
        visits: [V] places of the visits, the start first.
        visit_days: [V] [day].
        sampled: drug -> which troughs.
    """

    visits: Array
    visit_days: Array
    sampled: dict[str, Sampled]


def course_of(
    system: System,
    schedule: Schedule,
    theta: Mapping[str, Array],
    age: Array,
    traced: Traced,
    times: Array,
    bearings: Bearings,
    days: int,
) -> Course:
    """Everything that goals and limits look at.

    Args:
        system: disease, drugs, body.
        schedule: as solved; traced.
        theta: name -> [M].
        age: [M] at day 0 [day].
        traced: the solution at the times.
        times: [T] of outputs, visits and samples [day]; traced where samples move with doses.
        bearings: where they stand.
        days: whole days up to the horizon, the last begun one included.
    """
    values = observe(system, theta, age + times[:, None], traced.states, traced.concentrations)
    values |= {f"auc_{drug.name}": traced.auc[:, i] for i, drug in enumerate(system.drugs)}
    members = age.shape[0]
    graft = jnp.asarray(schedule.transplant_times, float)
    graft = graft[:, None] if graft.ndim == 1 else graft
    return Course(
        times=times,
        values=values,
        troughs={drug: _samples(drug, own, schedule, times, values[drug]) for drug, own in bearings.sampled.items()},
        doses=_doses(system, schedule, theta, age, traced, times, values, bearings, days),
        transplants=jnp.broadcast_to(graft, (graft.shape[0], members)),
    )


def rows_of(schedule: Schedule, drug: str) -> np.ndarray:
    """Rows of a schedule that give a drug."""
    giving = np.array([order.drug == drug for order in schedule.orders], bool)
    return np.flatnonzero(giving[schedule.order]) if len(schedule.order) else np.zeros(0, int)


def _samples(drug: str, own: Sampled, schedule: Schedule, times: Array, course: Array) -> Samples:
    """Troughs, counted as long as the drug goes on: until the last dose, whose sample fades as that dose does."""
    rows = rows_of(schedule, drug)
    amounts = jnp.asarray(schedule.amount)[rows]
    amounts = amounts if amounts.ndim == 2 else amounts[:, None]
    left = (_days(schedule)[rows][None] >= _days(schedule)[own.rows][:, None] - _TINY).astype(float) @ amounts
    usual = jnp.max(amounts, axis=0)
    fading = jnp.clip(2.0 * left / jnp.where(usual > 0, usual, 1.0), 0.0, 1.0)
    return Samples(
        days=times[own.places],
        levels=course[own.places],
        counts=jnp.broadcast_to(own.there[:, None] * fading, course[own.places].shape),
    )


def _days(schedule: Schedule) -> Array:
    days = jnp.asarray(schedule.times, float)
    return days if days.ndim == 1 else days[:, 0]


def _doses(
    system: System,
    schedule: Schedule,
    theta: Mapping[str, Array],
    age: Array,
    traced: Traced,
    times: Array,
    values: Mapping[str, Array],
    bearings: Bearings,
    days: int,
) -> dict[str, Given]:
    """Doses as the solver gives them: by the size at the last visit, and not above the largest single dose."""
    if not len(schedule.order):
        return {}
    members = age.shape[0]
    amount = jnp.asarray(schedule.amount, float)
    amount = jnp.broadcast_to(amount[:, None] if amount.ndim == 1 else amount, (amount.shape[0], members))
    lags = program.lags_of(system, schedule, theta, age, traced.states[0])
    arrival = _days(schedule)[:, None] + lags
    people = jnp.arange(members)
    last = jnp.searchsorted(bearings.visit_days, arrival + _TINY, side="right") - 1
    sizes = {name: values[name][bearings.visits][last, people] for name in ("weight", "bsa")}
    basis = np.array([order.basis for order in schedule.orders])[schedule.order]
    most = np.array([np.inf if order.maximum is None else order.maximum for order in schedule.orders])[schedule.order]
    scale = jnp.where((basis == "mg/kg")[:, None], sizes["weight"], 1.0)
    scale = jnp.where((basis == "mg/m2")[:, None], sizes["bsa"], scale)
    given = jnp.minimum(amount * scale, most[:, None])
    given = jnp.where(arrival < times[-1], given, 0.0)
    by_basis = {"mg": given, "mg/kg": given / sizes["weight"], "mg/m2": given / sizes["bsa"]}
    found = {}
    for drug in dict.fromkeys(order.drug for order in schedule.orders):
        rows = rows_of(schedule, drug)
        found[drug] = _given(_days(schedule)[rows], {name: table[rows] for name, table in by_basis.items()}, days)
    return found


def _given(when: Array, doses: dict[str, Array], days: int) -> Given:
    which = jnp.floor(when + _TINY).astype(int)

    def daily(table: Array) -> Array:
        return jnp.zeros((days, table.shape[1])).at[which].add(table, mode="drop")

    return Given(when, doses, {name: daily(table) for name, table in doses.items()})
