"""Amounts at the records of event tables, as NONMEM tabulates them, with exact gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, SolverError, nearest_hint
from ipex_pd.numerics import linear, rowmesh
from ipex_pd.numerics.linear import Train
from ipex_pd.numerics.rowplan import BOLUS, CONSTANT, REPEATED, Mesh, RowPlan
from ipex_pd.numerics.rowtiming import Faults, Slots, pick, slots_of, steady_inputs

Array = Any
Values = Mapping[str, Array]

_PERIODS = (12, 24, 48, 96, 192)
_EXPLICIT = "Nonlinear rates are advanced by explicit sub-steps"
_CURE = "Look for amounts that grow without bound, for a rate that is far too fast, or raise the tolerance"


def propagate(plan: RowPlan, values: Values) -> Array:
    """Amounts [B, R, S] at every record: an observation before later records of its time, a dose record after its dose.

    Args:
        plan: from `plan_rows` (and `refine`, on the mesh route).
        values: name -> [B, R], or [B, 1] where a value is the same at all records (then rates are worked out once for a
            subject); a record's values rule the interval that ends at it. All of `plan.needs`.

    Returns:
        Amounts; NaN for a subject whose values have no meaning (see `check_values`). Pure: differentiable in values to
        any order, forward and reverse.

    Raises:
        SimulationError: a value is missing, or a nonlinear plan has no mesh.
    """
    _require(plan, values)
    if plan.structure.route == "mesh" and plan.mesh is None:
        raise SimulationError(
            "the mesh of this plan has not been decided", where="propagate", cure="Call `refine` first"
        )
    return _propagate(plan, {n: values[n] for n in plan.needs})


def _require(plan: RowPlan, values: Values) -> None:
    for name in plan.needs:
        if name not in values:
            raise SimulationError(
                f"no value `{name}`",
                where="propagate",
                rule=f"This plan needs {', '.join(plan.needs)}",
                cure=nearest_hint(name, values),
            )
        if np.shape(values[name]) not in (plan.shape, (plan.shape[0], 1)):
            raise SimulationError(
                f"`{name}` has shape {np.shape(values[name])}",
                where="propagate",
                rule=f"Values have one number for each subject, or for each of its records: {plan.shape}",
            )


def _amounts(plan: RowPlan, values: Values) -> Array:
    slots, at, start, jump, inputs, faults = _drive(plan, values)
    if plan.structure.route == "mesh":
        after = rowmesh.walk(plan, at, start, slots, jump, inputs)
    else:
        step = linear.propagator(plan.structure, at, slots.length, inputs=plan.infusions)
        after = linear.walk(start, step, slots.keep, jump, inputs)
    amounts = jnp.transpose(after, (2, 0, 1))
    if slots.position is not None:
        amounts = jnp.take_along_axis(amounts, slots.position[:, :, None], axis=1)
    sound = ~jnp.any(jnp.stack([jnp.any(f, axis=1) for f in faults]), axis=0)
    return jnp.where(sound[:, None, None], amounts, jnp.nan)


_propagate = jax.jit(_amounts)


class _Drive(NamedTuple):
    """What an advance over slots needs."""

    slots: Slots
    at: dict[str, Array]
    start: Array
    jump: Array
    inputs: Array | None
    faults: Faults


def _drive(plan: RowPlan, values: Values) -> _Drive:
    slots, faults = slots_of(plan, values)
    at = _slot_values(plan, slots, values)
    inputs = _slot_inputs(plan, slots, values)
    jump, faults = _jumps(plan, slots, values, at, faults)
    start = plan.structure.start({n: v[0] for n, v in at.items()}, slots.length.shape[1:])
    return _Drive(slots, at, start, jump, inputs, faults)


def _slot_values(plan: RowPlan, slots: Slots, values: Values) -> dict[str, Array]:
    """Structural values of slots, name -> [E, B], or [1, B] where they are the same in all."""
    if plan.direct and not plan.moving:
        valid = jnp.arange(plan.shape[1])[None, :] <= jnp.asarray(plan.last)[:, None]
        given = {n: jnp.asarray(values[n], float) for n in plan.structure.needs}
        return {n: (v if v.shape[1] == 1 else jnp.where(valid, v, v[:, :1])).T for n, v in given.items()}
    return {n: pick(values, n, slots.ruling).T for n in plan.structure.needs}


def _slot_inputs(plan: RowPlan, slots: Slots, values: Values) -> Array | None:
    """Infusion rates [S, E, B] during slots."""
    if slots.rate is None:
        return None
    inputs = _running(slots.rate, slots.keep)
    if slots.modelled is not None:
        counts = _running(slots.modelled, slots.keep)
        zero = jnp.zeros(slots.length.shape)
        speeds = [zero if names[3] is None else pick(values, names[3], slots.ruling).T for names in plan.names]
        inputs = inputs + counts * jnp.stack([jnp.broadcast_to(s, zero.shape) for s in speeds])
    return inputs


def _running(change: Array, keep: Array) -> Array:
    """What runs during each slot, from the changes at their ends."""

    def advance(level: Array, slot: tuple[Array, Array]) -> tuple[Array, Array]:
        step, stays = slot
        return jnp.where(stays, level, 0.0) + step, level

    return jnp.moveaxis(
        jax.lax.scan(advance, jnp.zeros_like(change[:, 0]), (jnp.moveaxis(change, 1, 0), keep))[1], 0, 1
    )


def _jumps(plan: RowPlan, slots: Slots, values: Values, at: Values, faults: Faults) -> tuple[Array, Faults]:
    """Amounts [S, E, B] added at the ends of slots: doses, initial amounts after resets, steady states."""
    jump = slots.jump
    if plan.structure.initial:
        jump = jump + jnp.where(slots.reset, plan.structure.start(at, slots.length.shape), 0.0)
    if plan.steady.pattern.shape[1] == 0:
        return jump, faults
    train, too_late, crowded = _trains(plan, values)
    own = _own_values(plan, values)
    if plan.structure.route == "mesh":
        amounts = rowmesh.steady(plan, own, train)
    else:
        constant = CONSTANT in plan.patterns
        amounts = linear.steady(plan.structure, own, train, inputs=plan.infusions, constant=constant)
    event = jnp.asarray(plan.steady.event)
    place = event if slots.place is None else jnp.take_along_axis(slots.place, event, 1)
    subject = jnp.broadcast_to(jnp.arange(place.shape[0])[:, None], place.shape)
    return jump.at[:, place, subject].add(amounts), faults._replace(steady_lag=too_late, overlap=crowded)


def _own_values(plan: RowPlan, values: Values) -> dict[str, Array]:
    """Structural values [B, Q] of the records of doses at steady state, or [B, 1]."""
    return {n: pick(values, n, plan.steady.record) for n in plan.structure.needs}


def _trains(plan: RowPlan, values: Values) -> tuple[Train, Array, Array]:
    """Doses at steady state, [B, Q]; where their lag is too long or too many overlap."""
    q = plan.steady
    given, too_late, crowded = steady_inputs(plan, values)
    into = jnp.stack([jnp.asarray(q.compartment) == c for c in range(len(plan.structure.compartments))])
    bolus = jnp.asarray(q.mode) == BOLUS
    train = Train(
        repeated=jnp.asarray(q.pattern) == REPEATED,
        constant=jnp.asarray(q.pattern) == CONSTANT,
        bolus=jnp.where(into & bolus, given.amount, 0.0),
        rate=jnp.where(into & ~bolus, given.rate, 0.0),
        duration=jnp.where(bolus, 0.0, given.duration),
        interval=jnp.asarray(q.interval),
        phase=q.interval - given.lag,
    )
    return train, too_late, crowded


_COMPLAINTS = {
    "lag": ("a lag below 0", "A lag is not negative"),
    "bioavailability": ("a bioavailability below 0", "Bioavailability is not negative"),
    "duration": ("a modelled duration not above 0", "The duration of RATE -2 is positive"),
    "rate": ("a modelled rate not above 0", "The rate of RATE -1 is positive"),
    "steady_lag": ("a lag longer than II at steady state", "At steady state the lag is at most II"),
    "overlap": ("too many infusions overlap at steady state", "Plan rows with a larger `overlap`"),
}


def check_values(plan: RowPlan, values: Values) -> None:
    """Refuse values under which a record has no meaning (`propagate` gives NaN for such subjects).

    Raises:
        SimulationError: naming the subject's place in the plan and the record.
    """
    _require(plan, values)
    faults = _faults(plan, {n: values[n] for n in plan.needs})
    for name, found in faults._asdict().items():
        places = np.argwhere(np.asarray(found))
        if len(places):
            subject, index = places[0]
            table = plan.steady.record if name in ("steady_lag", "overlap") else plan.events.record
            what, rule = _COMPLAINTS[name]
            raise SimulationError(
                what,
                code="simulation.dose-value",
                where=f"subject {subject} of the plan, record {int(table[subject, index])}",
                rule=rule,
            )


def _find_faults(plan: RowPlan, values: Values) -> Faults:
    _, faults = slots_of(plan, values)
    if plan.steady.pattern.shape[1]:
        _, too_late, crowded = steady_inputs(plan, values)
        faults = faults._replace(steady_lag=too_late, overlap=crowded)
    return faults


_faults = jax.jit(_find_faults)


def refine(plan: RowPlan, values: Values, tolerance: float = 1e-8) -> RowPlan:
    """Decide the sub-steps of a nonlinear plan for values like these; other plans are returned as they are.

    Each subject gets sub-steps of its own, so its numbers do not depend on its neighbours.

    Args:
        plan: on the mesh route.
        values: name -> [B, R] or [B, 1].
        tolerance: of the local error of a sub-step, relative to each amount (and to 1e-6 of its peak).

    Raises:
        SimulationError: values without meaning.
        SolverError: rates too stiff for explicit sub-steps, or no steady state.
    """
    if plan.structure.route != "mesh":
        return plan
    check_values(plan, values)
    given = {n: values[n] for n in plan.needs}
    period = _refined_period(plan, given, tolerance)
    start = replace(plan, mesh=_bare(plan, period))
    counts, fractions, steady = (np.asarray(v) for v in _choose(start, given, tolerance))
    if not steady.all():
        raise SolverError(
            "no steady state was found",
            where=f"subject {int(np.argmin(steady))} of the plan",
            rule="It exists when what is given in an interval can be eliminated in it",
            cure="Write the doses out, or give values under which it exists",
        )
    if (counts < 0).any():
        slot, subject = np.argwhere(counts < 0)[0]
        raise SolverError(
            f"slot {slot} needs more than {fractions.shape[1]} sub-steps",
            where=f"subject {subject} of the plan",
            rule=_EXPLICIT,
            cure=_CURE,
        )
    return replace(plan, mesh=rowmesh.assemble(counts, fractions, period))


def _bare(plan: RowPlan, period: np.ndarray) -> Mesh:
    slots, subjects = plan.events.kind.shape[1], plan.shape[0]
    return rowmesh.assemble(np.ones((slots, subjects), int), np.ones((slots, 1, subjects)), period)


def _find_steps(plan: RowPlan, values: Values, tolerance: float) -> tuple[Array, Array, Array]:
    slots, at, start, jump, inputs, _ = _drive(plan, values)
    counts, fractions = rowmesh.choose(plan, slots, at, start, jump, inputs, jnp.asarray(tolerance))
    return counts, fractions, jnp.all(~jnp.isnan(jump), axis=(0, 1))


_choose = jax.jit(_find_steps)


def _rehearsed(plan: RowPlan, values: Values) -> Array:
    train, _, _ = _trains(plan, values)
    return rowmesh.rehearse(plan, _own_values(plan, values), train)


_rehearse = jax.jit(_rehearsed)


def _refined_period(plan: RowPlan, values: Values, tolerance: float) -> np.ndarray:
    """Sub-steps [B, N] of a dosing interval, enough for each subject to agree with half as many."""
    subjects = plan.shape[0]
    if REPEATED not in plan.patterns:
        return np.ones((subjects, 1))
    chosen, before = np.zeros(subjects, int), None
    for count in _PERIODS:
        mesh = _bare(plan, np.repeat(rowmesh.graded(count)[None, :], subjects, axis=0))
        now = np.asarray(_rehearse(replace(plan, mesh=mesh), values))
        if before is not None:
            scale = np.maximum(np.max(np.abs(now), axis=0), 1e-300)
            apart = np.max(np.max(np.abs(now - before), axis=0) / scale, axis=1)
            chosen = np.where((chosen == 0) & (apart <= 100 * tolerance), count, chosen)
        if (chosen > 0).all():
            break
        before = now
    if (chosen == 0).any():
        raise SolverError(
            f"a dosing interval needs more than {_PERIODS[-1]} sub-steps",
            where=f"subject {int(np.argmax(chosen == 0))} of the plan",
            rule=_EXPLICIT,
            cure=_CURE,
        )
    period = np.zeros((subjects, int(chosen.max())))
    for subject, count in enumerate(chosen):
        period[subject, :count] = rowmesh.graded(int(count))
    return period


def audit_rows(plan: RowPlan, values: Values) -> Array:
    """Largest difference [B] of amounts to those on a mesh with every sub-step halved, relative to each compartment's
    peak; 0 for linear plans, which have no mesh."""
    if plan.structure.route != "mesh":
        return np.zeros(plan.shape[0])
    coarse = np.asarray(propagate(plan, values))
    assert plan.mesh is not None
    fine = np.asarray(propagate(replace(plan, mesh=rowmesh.halved(plan.mesh)), values))
    peak = np.maximum(np.max(np.abs(fine), axis=1, keepdims=True), 1e-300)
    return np.max(np.abs(coarse - fine) / peak, axis=(1, 2))
