"""One sub-step for all patients: events at its left edge, then the advance of drugs and disease."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ipex_pd.numerics import superposition
from ipex_pd.numerics.reduction import Dormant
from ipex_pd.numerics.rows import rows_of
from ipex_pd.numerics.schedule import System, Titration
from ipex_pd.numerics.superposition import Kinetics

Array = Any
Values = dict[str, Array]

BASES = ("mg", "mg/kg", "mg/m2")


@dataclass(frozen=True)
class Layout:
    """What a compiled program is specialised to (hashable).

    Attributes:
        system: disease, drugs, body.
        channels: (drug, oral) of each dose channel.
        infused, steady, transplants: whether such events occur at all.
        titrations: trough targets.
        orders, infusions: sizes of the memory for daily doses and running infusions.
        dormant: states and targets that the explicit method can leave out.
    """

    system: System
    channels: tuple[tuple[int, bool], ...]
    infused: bool
    steady: bool
    transplants: bool
    titrations: tuple[Titration, ...]
    orders: int
    infusions: int
    dormant: Dormant


class Carry(NamedTuple):
    """What goes from sub-step to sub-step; patients last."""

    x: Array
    amounts: tuple[Array, ...]
    infusion: tuple[Array, ...]
    auc: Array
    kinetics: tuple[Kinetics, ...]
    covariates: Values
    multiplier: Array
    daily: Array
    running: Array
    alive: Array


class Slots(NamedTuple):
    """What happens at the left edge of sub-steps ([K, C, P] unless said otherwise)."""

    time: Array
    length: Array
    dose: Array
    amount: Array
    duration: Array
    basis: Array
    maximum: Array
    titration: Array
    order: Array
    per_day: Array
    lag: Array
    interval: Array
    prior: Array
    memory: Array
    stop: Array
    graft: Array
    event: Values
    visit: Array
    sample: Array
    any_dose: Array
    any_graft: Array


class Record(NamedTuple):
    """What is kept of each sub-step: values at its left edge, before the doses there."""

    x: Array
    central: Array
    auc: Array
    multiplier: Array
    trough: Array
    given: Array


Advance = Callable[[Carry, Array, Array], tuple[Array, tuple[Array, ...], Array]]


def begin(layout: Layout, theta: Mapping[str, Array], age: Array, x: Array) -> Carry:
    """The carry at day 0."""
    system, patients = layout.system, x.shape[1]
    covariates, constants = visit(layout, theta, age, x)
    return Carry(
        x=x,
        amounts=tuple(jnp.zeros((1 + d.compartments, patients)) for d in system.drugs),
        infusion=tuple(jnp.zeros(patients) for _ in system.drugs),
        auc=jnp.zeros((len(system.drugs), patients)),
        kinetics=constants,
        covariates=covariates,
        multiplier=jnp.ones((len(layout.titrations), patients)),
        daily=jnp.zeros((layout.orders, patients)),
        running=jnp.zeros((layout.infusions, patients)),
        alive=jnp.all(jnp.isfinite(x), axis=0),
    )


def visit(layout: Layout, theta: Mapping[str, Array], age: Array, x: Array) -> tuple[Values, tuple[Kinetics, ...]]:
    """Covariates and drug constants at an age and disease state."""
    system, patients = layout.system, x.shape[1]
    body = system.body(age, dict(zip(system.model.states, rows_of(x), strict=True)), theta)
    covariates = {n: jnp.broadcast_to(jnp.asarray(v, float), (patients,)) for n, v in body.items()}
    constants = tuple(
        superposition.kinetics(d.individual(theta, covariates), d.compartments, d.depot, patients) for d in system.drugs
    )
    return covariates, constants


def sub_step(
    layout: Layout,
    theta: Mapping[str, Array],
    age: Array,
    orders_of: Array,
    advance: Advance,
    carry: Carry,
    slots: Slots,
) -> tuple[Carry, Record]:
    """Events at the left edge (visit, record, sample, steady state, transplant, stops, doses), then the advance.

    Args:
        layout: what the program is specialised to.
        theta: parameters.
        age: [P] age at day 0 [day].
        orders_of: [D, orders] 1 where an order gives a drug.
        advance: (carry, age at the left edge, length) -> states, amounts, AUC.
        carry: before.
        slots: this sub-step's row.
    """
    now = age + slots.time
    carry = _visit(layout, theta, now, carry, slots)
    levels = _central_concentrations(carry)
    carry, trough = _sample(layout, theta, carry, slots, levels)
    record = Record(carry.x, levels, carry.auc, carry.multiplier, trough, jnp.zeros_like(slots.amount))
    if layout.transplants:
        carry = jax.lax.cond(slots.any_graft, partial(_graft, layout, theta, slots), _same, carry)
    if layout.channels:
        carry, given = jax.lax.cond(
            slots.any_dose, partial(_administer, layout, theta, orders_of, slots), partial(_nothing, slots), carry
        )
        record = record._replace(given=given)
    x, amounts, auc = advance(carry, now, slots.length)
    sound = carry.alive & jnp.all(jnp.isfinite(x), axis=0) & jnp.all(jnp.isfinite(auc), axis=0)
    for amount in amounts:
        sound = sound & jnp.all(jnp.isfinite(amount), axis=0)

    def keep(new: Array, old: Array) -> Array:
        return jnp.where(sound, new, old)

    return carry._replace(
        x=keep(x, carry.x),
        amounts=tuple(map(keep, amounts, carry.amounts)),
        auc=keep(auc, carry.auc),
        alive=sound,
    ), record


def _central_concentrations(carry: Carry) -> Array:
    rows = [a[1] / k.volume for a, k in zip(carry.amounts, carry.kinetics, strict=True)]
    return jnp.stack(rows) if rows else jnp.zeros((0, carry.x.shape[1]))


def _visit(layout: Layout, theta: Mapping[str, Array], now: Array, carry: Carry, slots: Slots) -> Carry:
    def renew(old: tuple[Values, tuple[Kinetics, ...]]) -> tuple[Values, tuple[Kinetics, ...]]:
        del old
        return visit(layout, theta, now, carry.x)

    covariates, constants = jax.lax.cond(slots.visit, renew, lambda old: old, (carry.covariates, carry.kinetics))
    return carry._replace(covariates=covariates, kinetics=constants)


def _sample(
    layout: Layout, theta: Mapping[str, Array], carry: Carry, slots: Slots, levels: Array
) -> tuple[Carry, Array]:
    multipliers, troughs = [], []
    for j, rule in enumerate(layout.titrations):
        index = layout.system.drug(rule.drug)
        reported = layout.system.drugs[index].concentrations(theta, carry.covariates, levels[index])
        trough = next(iter(reported.values()))
        outside = slots.sample[j] & (trough > 0) & ((trough < rule.low) | (trough > rule.high))
        ratio = rule.target / jnp.where(outside, trough, 1.0)
        step = jnp.clip(ratio, rule.smallest_step, rule.largest_step)
        new = jnp.clip(carry.multiplier[j] * step, rule.smallest, rule.largest)
        multipliers.append(jnp.where(outside, new, carry.multiplier[j]))
        troughs.append(trough)
    if not troughs:
        return carry, jnp.zeros((0, carry.x.shape[1]))
    return carry._replace(multiplier=jnp.stack(multipliers)), jnp.stack(troughs)


def _same(carry: Carry) -> Carry:
    return carry


def _nothing(slots: Slots, carry: Carry) -> tuple[Carry, Array]:
    return carry, jnp.zeros_like(slots.amount)


def _graft(layout: Layout, theta: Mapping[str, Array], slots: Slots, carry: Carry) -> Carry:
    after = layout.system.model.apply("transplant", carry.x, theta, slots.event)
    return carry._replace(x=jnp.where(slots.graft, after, carry.x))


def _administer(
    layout: Layout, theta: Mapping[str, Array], orders_of: Array, slots: Slots, carry: Carry
) -> tuple[Carry, Array]:
    """Steady-state residues, ends of infusions, then the doses of each channel."""
    amounts, infusion = list(carry.amounts), list(carry.infusion)
    daily, running, given = carry.daily, carry.running, []
    places = jnp.arange(layout.infusions)[:, None]
    if layout.steady:
        for c, (d, oral) in enumerate(layout.channels):
            mg = _prescribed(layout, carry, slots, c, slots.prior[c])
            reaching = _reaching(layout, theta, orders_of, carry, daily, c, mg)
            residue = superposition.steady(
                carry.kinetics[d],
                reaching,
                slots.duration[c],
                jnp.where(slots.prior[c], slots.interval[c], 1.0),
                slots.lag[c],
                oral=oral,
            )
            amounts[d] = amounts[d] + jnp.where(slots.prior[c], residue, 0.0)
    for c, (d, _) in enumerate(layout.channels):
        if layout.infused:
            ending = slots.stop[c] >= 0
            rate = jnp.sum(jnp.where(places == slots.stop[c], running, 0.0), axis=0)
            infusion[d] = infusion[d] - jnp.where(ending, rate, 0.0)
    for c in range(len(layout.channels)):
        mg = _prescribed(layout, carry, slots, c, slots.dose[c])
        row = (jnp.arange(layout.orders)[:, None] == slots.order[c]) & slots.dose[c]
        daily = jnp.where(row, slots.per_day[c] * mg, daily)
        given.append(mg)
    for c, (d, oral) in enumerate(layout.channels):
        reaching = _reaching(layout, theta, orders_of, carry, daily, c, given[c])
        lasting = slots.dose[c] & (slots.duration[c] > 0)
        amounts[d] = amounts[d].at[0 if oral else 1].add(jnp.where(lasting, 0.0, reaching))
        if layout.infused and not oral:
            rate = jnp.where(lasting, reaching / jnp.where(lasting, slots.duration[c], 1.0), 0.0)
            infusion[d] = infusion[d] + rate
            running = jnp.where((places == slots.memory[c]) & lasting, rate, running)
    return carry._replace(amounts=tuple(amounts), infusion=tuple(infusion), daily=daily, running=running), jnp.stack(
        given
    )


def _prescribed(layout: Layout, carry: Carry, slots: Slots, channel: int, present: Array) -> Array:
    """Prescribed amount [mg], zero where nothing is given."""
    basis = slots.basis[channel]
    size = jnp.ones_like(slots.time)
    for code, name in ((1, "weight"), (2, "bsa")):
        if name in carry.covariates:
            size = jnp.where(basis == code, carry.covariates[name], size)
    mg = jnp.minimum(slots.amount[channel] * size, slots.maximum[channel])
    for j in range(len(layout.titrations)):
        mg = jnp.where(slots.titration[channel] == j, mg * carry.multiplier[j], mg)
    return jnp.where(present, mg, 0.0)


def _reaching(
    layout: Layout, theta: Mapping[str, Array], orders_of: Array, carry: Carry, daily: Array, channel: int, mg: Array
) -> Array:
    """Amount reaching the depot or central compartment [mg]."""
    index, oral = layout.channels[channel]
    if not oral:
        return mg
    system = layout.system
    totals = {d.name: jnp.sum(orders_of[i][:, None] * daily, axis=0) for i, d in enumerate(system.drugs)}
    fraction = system.drugs[index].bioavailability(theta, carry.covariates, mg, totals)
    return mg * fraction


def potencies(system: System, theta: Mapping[str, Array], levels: Sequence[Array]) -> Values:
    """Target -> sum over drugs of concentration over EC50, from concentrations [mg/L] of each drug."""
    total: Values = {}
    for drug, level in zip(system.drugs, levels, strict=True):
        for target, value in drug.potency(theta, level).items():
            total[target] = total[target] + value if target in total else value
    return total
