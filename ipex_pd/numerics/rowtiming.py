"""When events happen and what they do, as functions of values: the traced side of event tables.

Times that depend on values (lags, lengths of infusions) are sorted here; the sort itself has no derivative, the sorted
times have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics.rowplan import (
    ARRIVAL,
    BOLUS,
    END,
    MODELLED_DURATION,
    MODELLED_RATE,
    NO_STEADY,
    RATE,
    RECORD,
    REPEATED,
    TAIL,
    RowPlan,
)

Array = Any
Values = Mapping[str, Array]

_LAG, _BIOAVAILABILITY, _DURATION, _RATE = range(4)


class Slots(NamedTuple):
    """Intervals between events in order of time, each with the event at its end; E slots, B subjects last.

    Attributes:
        length: [E, B] of the interval.
        time: [E, B] TIME at which it begins.
        ruling: [B, E] the record whose values rule it.
        keep: [E, B] amounts stay at its end (False: replaced, and infusions stop).
        reset: [E, B] amounts start anew.
        jump: [S, E, B] amounts added at its end.
        rate: [S, E, B] change of the infusion rates at its end; None without infusions.
        modelled: [S, E, B] change of the number of infusions at a modelled rate; None without them.
        position: [B, R] slot after which each record is read; None when slots are records.
        place: [B, E] slot of each event of the plan; None when they stand in order.
    """

    length: Array
    time: Array
    ruling: Array
    keep: Array
    reset: Array
    jump: Array
    rate: Array | None
    modelled: Array | None
    position: Array | None
    place: Array | None


class SteadyInputs(NamedTuple):
    """What doses at steady state need, all [B, Q]: amount after bioavailability, infusion rate and duration, lag."""

    amount: Array
    rate: Array
    duration: Array
    lag: Array


class Faults(NamedTuple):
    """Where values are such that a record has no meaning; [B, E] and [B, Q]."""

    lag: Array
    bioavailability: Array
    duration: Array
    rate: Array
    steady_lag: Array
    overlap: Array


def pick(values: Values, name: str, index: Array) -> Array:
    """Values [B, X] of the records ``index`` [B, X]; [B, 1] where they are the same at all records."""
    given = jnp.asarray(values[name], float)
    return given if given.shape[1] == 1 else jnp.take_along_axis(given, jnp.asarray(index), axis=1)


def dose_value(plan: RowPlan, values: Values, kind: int, compartment: Array, index: Array, default: float) -> Array:
    """Lag, bioavailability, duration or rate [B, X] of doses into ``compartment`` as the records ``index`` have it."""
    chosen = jnp.full(np.shape(compartment), default)
    for place, names in enumerate(plan.names):
        name = names[kind]
        if name is not None:
            chosen = jnp.where(compartment == place, pick(values, name, index), chosen)
    return chosen


def _has(plan: RowPlan, kind: int) -> bool:
    return any(names[kind] is not None for names in plan.names)


def slots_of(plan: RowPlan, values: Values) -> tuple[Slots, Faults]:
    """Slots of a plan for values, name -> [B, R] or [B, 1]."""
    e = plan.events
    own_clock = jnp.take_along_axis(jnp.asarray(plan.clock), jnp.asarray(e.record), 1)
    dosed, later = e.amount > 0, (e.kind == ARRIVAL) | (e.kind == END) | (e.kind == TAIL)
    raw_lag = dose_value(plan, values, _LAG, e.compartment, e.record, 0.0)
    lag = jnp.where(later & (raw_lag > 0), raw_lag, 0.0)
    arrive = e.clock + lag
    raw_share = _shares(plan, values, arrive, lag)
    amount = e.amount * jnp.where(raw_share > 0, raw_share, 0.0)
    raw_duration, raw_rate = _modelled(plan, values)
    end, rate = _ends(plan, values, own_clock, arrive, amount, raw_duration, raw_rate)
    closing = (e.kind == END) | (e.kind == TAIL)
    when = jnp.where(closing, end, arrive) if plan.infusions else arrive
    running = (e.kind == TAIL) & (when > own_clock)
    gone = (when > e.limit) | ((e.kind == TAIL) & ~running)
    when = jnp.where(gone, own_clock, when)
    entering = ((e.kind == RECORD) | (e.kind == ARRIVAL)) & dosed & ~gone
    bolus = jnp.where(entering & (e.mode == BOLUS), amount, 0.0)
    steps = jnp.where(entering & (e.mode != BOLUS), 1.0, jnp.where(closing & ~gone, -1.0, 0.0))
    if plan.infusions and plan.steady.pattern.shape[1]:
        started = jnp.take_along_axis(jnp.asarray(plan.event), jnp.asarray(e.record), 1)
        subject = jnp.arange(e.kind.shape[0])[:, None]
        trains = jnp.where(running, 1.0, 0.0)
    else:
        started = subject = trains = None
    changes = {
        "rate": steps * jnp.where(e.mode == MODELLED_RATE, 0.0, rate),
        "count": steps * (e.mode == MODELLED_RATE),
    }
    if trains is not None:
        at_rate = trains * jnp.where(e.mode == MODELLED_RATE, 0.0, rate)
        changes["rate"] = changes["rate"].at[subject, started].add(at_rate)
        changes["count"] = changes["count"].at[subject, started].add(trains * (e.mode == MODELLED_RATE))
    order = jnp.argsort(when, axis=1, stable=True) if plan.moving else None
    slots = _ordered(plan, order, when, bolus, changes, raw_lag)
    faults = Faults(
        lag=later & dosed & ~(raw_lag >= 0),
        bioavailability=dosed & ~(raw_share >= 0),
        duration=dosed & (e.mode == MODELLED_DURATION) & ~(raw_duration > 0),
        rate=dosed & (e.mode == MODELLED_RATE) & ~(raw_rate > 0),
        steady_lag=jnp.zeros((e.kind.shape[0], 0), bool),
        overlap=jnp.zeros((e.kind.shape[0], 0), bool),
    )
    return slots, faults


def _shares(plan: RowPlan, values: Values, arrive: Array, lag: Array) -> Array:
    """Bioavailability [B, E]: of the record that ends the interval in which a dose enters."""
    e = plan.events
    if not _has(plan, _BIOAVAILABILITY):
        return jnp.ones(e.kind.shape)
    before = jnp.sum(plan.clock[:, None, :] < arrive[:, :, None], axis=2)
    entry = jnp.minimum(jnp.maximum(e.record + 1, before), plan.last[:, None])
    entry = jnp.where(e.own | (e.first & (lag == 0)), e.record, entry)
    return dose_value(plan, values, _BIOAVAILABILITY, e.compartment, entry, 1.0)


def _modelled(plan: RowPlan, values: Values) -> tuple[Array, Array]:
    e = plan.events
    duration = rate = jnp.ones(e.kind.shape)
    if MODELLED_DURATION in plan.modes:
        duration = dose_value(plan, values, _DURATION, e.compartment, e.record, 1.0)
    if MODELLED_RATE in plan.modes:
        rate = dose_value(plan, values, _RATE, e.compartment, e.record, 1.0)
    return duration, rate


def _ends(
    plan: RowPlan, values: Values, own_clock: Array, arrive: Array, amount: Array, duration: Array, rate: Array
) -> tuple[Array, Array]:
    """When infusions end, and at which rate they run (where it is not a modelled rate); [B, E] both."""
    e = plan.events
    if not plan.infusions:
        return arrive, jnp.zeros(e.kind.shape)
    fixed = jnp.where(e.rate > 0, e.rate, 1.0)
    duration = jnp.where(duration > 0, duration, 1.0)
    length = jnp.where(e.mode == RATE, amount / fixed, duration)
    end = arrive + length
    speed = jnp.where(e.mode == RATE, fixed, amount / duration)
    if MODELLED_RATE in plan.modes:
        begin = jnp.maximum(arrive, own_clock)
        rest = amount - jnp.where(rate > 0, rate, 1.0) * (begin - arrive)
        found = _emptied(plan, values, begin, jnp.where(rest > 0, rest, 0.0))
        found = jnp.where(rest > 0, found, own_clock)
        end = jnp.where(e.mode == MODELLED_RATE, found, end)
    return end, speed


def _emptied(plan: RowPlan, values: Values, begin: Array, rest: Array) -> Array:
    """When an amount has been infused at the rate of the records, which may change from record to record."""
    e, clock = plan.events, jnp.asarray(plan.clock)
    count = clock.shape[1]
    places = jnp.broadcast_to(jnp.arange(count), clock.shape)
    before = jnp.concatenate([clock[:, :1], clock[:, :-1]], axis=1)
    open_for = jnp.maximum(clock[:, None, :] - jnp.maximum(before[:, None, :], begin[:, :, None]), 0.0)
    speeds = jnp.ones((*e.kind.shape, count))
    for place, names in enumerate(plan.names):
        name = names[_RATE]
        if name is not None:
            speed = pick(values, name, jnp.minimum(places, plan.last[:, None]))
            speeds = jnp.where((e.compartment == place)[:, :, None], speed[:, None, :], speeds)
    speeds = jnp.where(speeds > 0, speeds, 1.0)
    total = jnp.cumsum(open_for * speeds, axis=2)
    enough = total >= rest[:, :, None]
    first = jnp.argmax(enough, axis=2)
    at = jnp.take_along_axis(total, first[:, :, None], 2)[:, :, 0]
    speed = jnp.take_along_axis(speeds, first[:, :, None], 2)[:, :, 0]
    end = jnp.take_along_axis(clock, first, 1) - (at - rest) / speed
    return jnp.where(jnp.any(enough, axis=2), jnp.maximum(end, begin), jnp.inf)


def _ordered(
    plan: RowPlan, order: Array | None, when: Array, bolus: Array, changes: dict[str, Array], lag: Array
) -> Slots:
    e = plan.events

    def arranged(rows: Array) -> Array:
        return jnp.asarray(rows) if order is None else jnp.take_along_axis(jnp.asarray(rows), order, 1)

    when = arranged(when)
    before = jnp.concatenate([when[:, :1], when[:, :-1]], axis=1)
    ruling, position, place = jnp.asarray(plan.ruling), jnp.asarray(plan.event), None
    if order is not None:
        record = arranged(e.kind) == RECORD
        ruling = jnp.minimum(jnp.cumsum(record, axis=1) - record, plan.last[:, None])
        place = jnp.argsort(order, axis=1)
        at_once = jnp.take_along_axis(lag, jnp.asarray(plan.arrival), 1) == 0
        position = jnp.take_along_axis(place, jnp.where(at_once, plan.arrival, plan.event), 1)
    shift = jnp.take_along_axis(jnp.asarray(plan.shift), ruling, 1)
    compartment = arranged(e.compartment)
    here = jnp.stack([(compartment == c).T for c in range(len(plan.structure.compartments))])
    return Slots(
        length=(when - before).T,
        time=(before - shift).T,
        ruling=ruling,
        keep=arranged(e.keep).T,
        reset=arranged(e.reset).T,
        jump=jnp.where(here, arranged(bolus).T, 0.0),
        rate=jnp.where(here, arranged(changes["rate"]).T, 0.0) if plan.infusions else None,
        modelled=jnp.where(here, arranged(changes["count"]).T, 0.0) if MODELLED_RATE in plan.modes else None,
        position=None if plan.direct else position,
        place=place,
    )


def steady_inputs(plan: RowPlan, values: Values) -> tuple[SteadyInputs, Array, Array]:
    """Inputs of doses at steady state from their records, and where their lag is too long, or too many overlap."""
    q = plan.steady
    raw_lag = dose_value(plan, values, _LAG, q.compartment, q.record, 0.0)
    share = dose_value(plan, values, _BIOAVAILABILITY, q.compartment, q.record, 1.0)
    duration, rate = jnp.zeros(q.record.shape), jnp.asarray(q.rate, float)
    amount = q.amount * jnp.where(share > 0, share, 0.0)
    if MODELLED_RATE in plan.modes or _has(plan, _RATE):
        modelled = dose_value(plan, values, _RATE, q.compartment, q.record, 1.0)
        rate = jnp.where(q.mode == MODELLED_RATE, jnp.where(modelled > 0, modelled, 1.0), rate)
    duration = jnp.where(rate > 0, amount / jnp.where(rate > 0, rate, 1.0), duration)
    if MODELLED_DURATION in plan.modes:
        modelled = dose_value(plan, values, _DURATION, q.compartment, q.record, 1.0)
        modelled = jnp.where(modelled > 0, modelled, 1.0)
        duration = jnp.where(q.mode == MODELLED_DURATION, modelled, duration)
        rate = jnp.where(q.mode == MODELLED_DURATION, amount / modelled, rate)
    repeated = q.pattern == REPEATED
    too_late = repeated & ~(raw_lag <= q.interval)
    lag = jnp.where((q.pattern != NO_STEADY) & (raw_lag > 0) & ~too_late, raw_lag, 0.0)
    crowded = repeated & (q.mode != BOLUS) & ~(duration + lag <= (q.tails + 1) * q.interval)
    return SteadyInputs(amount, rate, duration, lag), too_late, crowded
