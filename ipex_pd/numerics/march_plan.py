"""Sub-steps and doses of a cohort as padded arrays, children first: what `march` marches through."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.march_steps import EPSILON, PAUSE, Steps, cut, least_rooms, rooms
from ipex_pd.numerics.mesh import Grading
from ipex_pd.numerics.reduction import Dormant, reduce
from ipex_pd.numerics.schedule import Order, Schedule, System

Array = Any
Values = Mapping[str, Array]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SIZES = range(4, 33)
_OVERHEAD = 2.0
"""What a block costs besides its sub-steps, in sub-steps: measured roughly."""


@dataclass(frozen=True)
class Family:
    """Drugs that share effects, and what follows from them; indices.

    Attributes:
        drugs: of the system.
        orders: of these drugs.
        infused: those of the orders that are infusions.
        effects: of the model.
        filters: of the reduced model.
    """

    drugs: tuple[int, ...]
    orders: tuple[int, ...]
    infused: tuple[int, ...]
    effects: tuple[int, ...]
    filters: tuple[int, ...]


class Doses(NamedTuple):
    """Pieces of one family, [P, K, S, M, ...]; O orders of the family, A all orders, I infused orders.

    Attributes:
        begin, span: of a piece, the former from the left edge of the sub-step [day].
        amount: [..., O] given at the beginning, in the order's unit; 0 is none.
        current: [..., A] single dose of each order that holds now, in its unit.
        often: [..., A] administrations of it a day; -1: as it was when the block began.
        flowing: [..., I] amount of a running infusion, in the order's unit.
        hours: [..., I] its length [day], 0 without one, -1: as it was when the block began.
    """

    begin: Array
    span: Array
    amount: Array
    current: Array
    often: Array
    flowing: Array
    hours: Array


class Blocks(NamedTuple):
    """Sub-steps in blocks, [P, K, S]: covariates and transplants change only where a block begins.

    Attributes:
        time, length: of the sub-steps, from day 0 [day].
        visit: [P, K] covariates and kinetics are brought up to date.
        graft: [P, K] a transplant happens.
        event: its covariates, [P, K].
        doses: of each family.
    """

    time: Array
    length: Array
    visit: Array
    graft: Array
    event: dict[str, Array]
    doses: tuple[Doses, ...]


def families_of(
    system: System, orders: Sequence[Order], infused: Collection[int], dormant: Dormant, theta: Values
) -> tuple[Family, ...]:
    """Drugs that must be looked at together, each set with its effects and filters; last what no drug acts on.

    Args:
        system: disease, drugs, body.
        orders: what doses give.
        infused: those of the orders that are infusions, by `infused_orders`.
        dormant: what stands still.
        theta: parameters of one child.
    """
    model = system.model.model
    reduced = reduce(system.model, dormant)
    symbols = [{str(s) for s in right.free_symbols} for right in model.effects.values()]
    targets = [{f"potency_{t}" for t in drug.potency(theta, jnp.zeros(()))} for drug in system.drugs]
    acting = [{i for i, own in enumerate(targets) if own & names} for names in symbols]
    names = {effect: i for i, effect in enumerate(model.effects)}
    driving = [
        {names[s] for s in model.rates[model.states[f.state]].free_symbols if s in names} for f in reduced.filters
    ]
    behind = [set().union(*(acting[e] for e in effects)) for effects in driving]
    needed = {*reduced.inputs, *(e for effects in driving for e in effects)}
    groups = _joined(len(system.drugs), [*acting, *behind])
    made = []
    for group in [*groups, set[int]()]:
        own = tuple(k for k, order in enumerate(orders) if system.drug(order.drug) in group)
        effects = tuple(e for e in sorted(needed) if (acting[e] <= group if acting[e] else not group))
        filters = tuple(j for j in range(len(behind)) if (behind[j] <= group if behind[j] else not group))
        if group or effects or filters:
            made.append(Family(tuple(sorted(group)), own, tuple(k for k in own if k in infused), effects, filters))
    return tuple(made)


def infused_orders(schedule: Schedule) -> set[int]:
    """Orders of which some rows last."""
    duration = np.asarray(schedule.duration)
    return {k for k in range(len(schedule.orders)) if (duration[schedule.order == k] > 0).any()}


def _joined(count: int, sets: Sequence[set[int]]) -> list[set[int]]:
    groups = [{i} for i in range(count)]
    for one in sets:
        touched = [g for g in groups if g & one]
        if len(touched) > 1:
            groups = [g for g in groups if not g & one] + [set().union(*touched)]
    return groups


def require_plain(system: System, schedule: Schedule) -> None:
    """Refuse what histories of a cohort do not hold.

    Raises:
        SimulationError: titrations, doses at steady state, oral infusions, or drugs with nonlinear kinetics.
    """
    lasting = (np.asarray(schedule.duration) > 0).any(axis=1) if len(schedule.order) else np.zeros(0, bool)
    oral = np.array([schedule.orders[k].route == "oral" for k in schedule.order], bool)
    faults = {
        "trough levels are followed": bool(schedule.titrations),
        "doses are given as at steady state": bool((np.asarray(schedule.steady_state) > 0).any()),
        "an oral dose is infused": bool((lasting & oral).any()),
        "a drug has nonlinear kinetics": any(drug.nonlinear is not None for drug in system.drugs),
    }
    for fault, present in faults.items():
        if present:
            raise SimulationError(fault, where="schedule", rule="A fit takes doses as they were given")


class Shape(NamedTuple):
    """Sizes of arrays that plans may share, so that one program serves them.

    Attributes:
        room: pieces of each family that a sub-step has room for.
        size: sub-steps of a block.
    """

    room: tuple[int, ...]
    size: int


class Laid(NamedTuple):
    """Blocks, the last of a child's steps padded, and where days lie.

    Attributes:
        blocks: the arrays.
        places: [P, V] steps at which the days begin.
        days: [P, V].
        kept: [P, W] blocks that days of branches open.
        counts: [P] blocks in which anything happens.
        shape: of the blocks.
    """

    blocks: Blocks
    places: Ints
    days: Floats
    kept: Ints
    counts: Ints
    shape: Shape


def plan_blocks(
    families: Sequence[Family], schedule: Schedule, lags: Floats, days: Floats, grading: Grading, names: Sequence[str]
) -> Laid:
    """Decide sub-steps, blocks and doses.

    Args:
        families: of the drugs.
        schedule: wide.
        lags: [N, P] [day].
        days: [P, V] days at which states are read.
        grading: lengths of sub-steps.
        names: covariates of a transplant.
    """
    nothing = np.zeros(0)
    given = [(schedule.select(np.array([p])), lags[:, p : p + 1], 0.0) for p in range(len(days))]
    return _lay_out(
        [_Child(families, *one, own, nothing) for one, own in zip(given, days, strict=True)], grading, names
    )


def plan_branches(
    families: Sequence[Family],
    given: Sequence[tuple[Schedule, Floats, float]],
    days: Floats,
    grading: Grading,
    names: Sequence[str],
    shape: Shape | None = None,
) -> Laid:
    """`plan_blocks` of schedules with rows of their own, where blocks begin on the days at which values are read.

    Args:
        families: of the drugs, the same for all.
        given: (schedule, lags [N, 1], day on which the march begins) of each; earlier rows are what was carried.
        days: [P, V], the last of each where its march ends.
        grading: lengths of sub-steps.
        names: covariates of a transplant.
        shape: of an earlier plan, taken where all doses find room in it.
    """
    children = [_Child(families, *one, own, own) for one, own in zip(given, days, strict=True)]
    return _lay_out(children, grading, names, shape)


def _lay_out(children: Sequence[_Child], grading: Grading, names: Sequence[str], shape: Shape | None = None) -> Laid:
    families, orders = children[0].families, len(children[0].schedule.orders)
    events = [[keys[:, 0] for keys in child.keys] for child in children]
    if shape is not None and all(a >= b for a, b in zip(shape.room, least_rooms(events), strict=True)):
        room, sizes = shape.room, range(shape.size, shape.size + 1)
    else:
        sizes = _SIZES
        room = rooms([(child.hard, own) for child, own in zip(children, events, strict=True)], grading)
    for child in children:
        child.cut(room, grading)
    size, count = _block_size([child.segments for child in children], sizes)
    blank = (len(children), count, size)
    blocks = Blocks(
        time=np.zeros(blank),
        length=np.zeros(blank),
        visit=np.zeros(blank[:2], bool),
        graft=np.zeros(blank[:2], bool),
        event={name: np.ones(blank[:2]) for name in names},
        doses=tuple(_no_doses((*blank, m), f, orders) for m, f in zip(room, families, strict=True)),
    )
    for place, child in enumerate(children):
        child.fill(blocks, place, size)
    days, places, kept = (np.stack([getattr(c, name) for c in children]) for name in ("asked", "places", "openings"))
    return Laid(blocks, places, days, kept, np.array([child.blocks for child in children]), Shape(room, size))


def _no_doses(shape: tuple[int, ...], family: Family, orders: int) -> Doses:
    every = orders if family.orders else 0
    sizes = {"amount": len(family.orders), "current": every, "often": every}
    sizes |= {"flowing": len(family.infused), "hours": len(family.infused)}
    return Doses(np.zeros(shape), np.zeros(shape), **{name: np.zeros((*shape, n)) for name, n in sizes.items()})


def _block_size(segments: Sequence[Ints], sizes: Sequence[int]) -> tuple[int, int]:
    """Sub-steps of a block, and blocks of the child that has most."""

    def count(size: int) -> int:
        return int(max((-(-lengths // size)).sum() for lengths in segments))

    best = min(sizes, key=lambda size: count(size) * (size + _OVERHEAD))
    return best, count(best)


class _Child:
    """Steps, blocks and doses of one child."""

    def __init__(
        self, families: Sequence[Family], schedule: Schedule, lags: Floats, start: float, days: Floats, kept: Floats
    ) -> None:
        self.families, self.schedule, self.asked, self.start = families, schedule, days, start
        self.days, self.kept = np.maximum(days, start), np.maximum(kept, start)
        end = float(self.days.max())
        self.arrival: Floats = (np.asarray(schedule.times) + lags)[:, 0]
        self.amount: Floats = np.asarray(schedule.amount)[:, 0]
        self.duration: Floats = np.asarray(schedule.duration)[:, 0]
        if len(self.arrival) and self.arrival.min() < 0:
            raise SimulationError("an event lies before the start", where="schedule", rule="Day 0 is the start")
        grafts = np.asarray(schedule.transplant_times)[:, 0]
        self.happening = np.nonzero((grafts < end - EPSILON) & (grafts > self.start - EPSILON))[0]
        self.grafts: Floats = grafts[self.happening]
        visits = np.asarray(schedule.visits)
        self.visits = visits[(visits > self.start + EPSILON) & (visits < end)]
        self.rows = [self._rows(family, end) for family in families]
        found = [self._keys(family, rows, end) for family, rows in zip(families, self.rows, strict=True)]
        self.keys, self.events = [keys for keys, _ in found], [events for _, events in found]
        self._fronts(end)

    def _rows(self, family: Family, end: float) -> Ints:
        within = (self.arrival > self.start - EPSILON) & (self.arrival < end - EPSILON)
        rows = np.nonzero(self._given(family) & within)[0]
        return rows[np.argsort(self.arrival[rows], kind="stable")]

    def _keys(self, family: Family, rows: Ints, end: float) -> tuple[Floats, Ints]:
        """[E, 2] time and rank of each event, and the event of each row: doses of one order at one time are events of
        their own."""
        self._require_apart(family)
        rank = np.zeros(len(rows))
        times = np.round(self.arrival[rows], 9)
        for k in family.orders:
            own = np.nonzero(self.schedule.order[rows] == k)[0]
            place = np.arange(len(own))
            first = np.diff(times[own], prepend=-np.inf) != 0
            rank[own] = place - np.maximum.accumulate(np.where(first, place, 0))
        lasting = self.duration > 0
        stops = np.round((self.arrival + self.duration)[self._given(family) & lasting], 9)
        stops = stops[(stops < end) & (stops > self.start + EPSILON)]
        table = np.concatenate([np.stack([times, rank], 1), np.stack([stops, 0 * stops], 1)])
        keys, places = np.unique(table, axis=0, return_inverse=True)
        return keys, places.ravel()[: len(rows)]

    def _given(self, family: Family) -> NDArray[np.bool_]:
        return np.asarray(np.isin(self.schedule.order, family.orders) & (self.amount != 0))

    def _require_apart(self, family: Family) -> None:
        for k in family.infused:
            rows = np.nonzero((self.schedule.order == k) & (self.duration > 0) & (self.amount != 0))[0]
            rows = rows[np.argsort(self.arrival[rows])]
            if (self.arrival[rows][1:] < (self.arrival + self.duration)[rows][:-1] - EPSILON).any():
                raise SimulationError(
                    f"two infusions of `{self.schedule.orders[k].drug}` run at once",
                    where="schedule",
                    rule="In a fit the next infusion of an order begins after the one before it ends",
                )

    def _fronts(self, end: float) -> None:
        opening = [np.full(1, self.start), self.grafts]
        for keys in self.keys:
            times = np.unique(keys[:, 0])
            opening.append(times[np.diff(times, prepend=-np.inf) > PAUSE])
        fronts = np.concatenate(opening)
        going = end > self.start
        self.fronts: Floats = np.unique(np.round(fronts[fronts < end - EPSILON], 9)) if going else opening[0]
        everything = np.unique(np.concatenate([self.fronts, self.visits, self.days, self.kept, opening[0]]))
        self.hard = everything[np.diff(everything, prepend=-1.0) > EPSILON]

    def cut(self, room: Sequence[int], grading: Grading) -> None:
        """Decide the sub-steps, and how many of them stand between visits and transplants [day]."""
        self.steps: Steps = cut(self.hard, self.fronts, [keys[:, 0] for keys in self.keys], room, grading)
        self.left = self.steps.edges[:-1]
        opening = np.zeros(len(self.left), bool)
        for times in (self.visits, self.grafts, self.kept):
            opening[np.searchsorted(self.left, times - EPSILON)] = True
        opening[0] = True
        self.opening = np.nonzero(opening)[0]
        self.segments = np.diff(np.append(self.opening, len(self.left)))

    def fill(self, blocks: Blocks, p: int, size: int) -> None:
        """Write everything into row ``p`` of the arrays."""
        count = -(-self.segments // size)
        within = np.arange(len(self.left)) - np.repeat(self.opening, self.segments)
        first = np.repeat(np.cumsum(count) - count, self.segments)
        block, rest = first + within // size, within % size
        at = block * size + rest
        time = blocks.time[p].reshape(-1)
        time[:] = self.left[-1]
        time[at] = self.left
        blocks.length[p].reshape(-1)[at] = np.diff(self.steps.edges)
        for flag, times in ((blocks.visit, self.visits), (blocks.graft, self.grafts)):
            flag[p, block[np.searchsorted(self.left, times - EPSILON)]] = True
        for name, values in blocks.event.items():
            own = np.asarray(self.schedule.transplants[name])[self.happening, 0]
            values[p, block[np.searchsorted(self.left, self.grafts - EPSILON)]] = own
        self.places: Ints = at[np.searchsorted(self.left[:-1], self.days - EPSILON)]
        self.openings: Ints = block[np.searchsorted(self.left, self.kept - EPSILON)]
        self.blocks = int(count.sum())
        opened = np.append(blocks.time[p, :, 0], self.left[-1])
        for k, doses in enumerate(blocks.doses):
            self._fill(doses, p, k, at, opened)

    def _fill(self, doses: Doses, p: int, k: int, at: Ints, opened: Floats) -> None:
        family, pieces = self.families[k], self.steps.pieces[k]
        room = doses.begin.shape[-1]
        flat = at[pieces.step] * room + pieces.slot
        doses.begin[p].reshape(-1)[flat] = pieces.begin - self.left[pieces.step]
        doses.span[p].reshape(-1)[flat] = pieces.span
        if not family.orders:
            return
        holder = np.full(len(self.keys[k]), -1)
        has = pieces.event >= 0
        holder[pieces.event[has]] = flat[has]
        table = doses.amount[p].reshape(-1, len(family.orders))
        table[holder[self.events[k]], np.searchsorted(family.orders, self.schedule.order[self.rows[k]])] = self.amount[
            self.rows[k]
        ]
        self._state(doses, p, family, flat, pieces.begin, opened)

    def _state(self, doses: Doses, p: int, family: Family, flat: Ints, begin: Floats, opened: Floats) -> None:
        """Orders and infusions that hold during each piece; those of empty places hold at the end of their block."""
        shape = doses.begin[p].shape
        block = np.repeat(np.arange(shape[0]), shape[1] * shape[2])
        since = opened[:-1][block]
        when = np.maximum(opened[1:][block] - 2 * EPSILON, since)
        when[flat] = begin
        for o in range(len(self.schedule.orders)):
            source = self._holding(np.nonzero(self.schedule.order == o)[0], when)
            amount = np.where(source >= 0, self.amount[source], 0.0)
            often = np.where(source >= 0, np.asarray(self.schedule.per_day)[source], 0.0)
            before = (source >= 0) & (self.arrival[source] < since - EPSILON) & (amount * often != 0)
            doses.current[p].reshape(len(when), -1)[:, o] = amount
            doses.often[p].reshape(len(when), -1)[:, o] = np.where(before, -1.0, often)
        for i, o in enumerate(family.infused):
            rows = np.nonzero((self.schedule.order == o) & (self.duration > 0) & (self.amount != 0))[0]
            source = self._holding(rows, when)
            running = (source >= 0) & (when < (self.arrival + self.duration)[source] - EPSILON)
            before = running & (self.arrival[source] < since - EPSILON)
            doses.flowing[p].reshape(len(when), -1)[:, i] = np.where(running, self.amount[source], 0.0)
            hours = np.where(running, self.duration[source], 0.0)
            doses.hours[p].reshape(len(when), -1)[:, i] = np.where(before, -1.0, hours)

    def _holding(self, rows: Ints, when: Floats) -> Ints:
        """Row that holds at some times, or -1."""
        ordered = rows[np.argsort(self.arrival[rows], kind="stable")]
        at = np.searchsorted(self.arrival[ordered], when + EPSILON) - 1
        return np.where(at >= 0, ordered[np.maximum(at, 0)], -1) if len(ordered) else np.full(len(when), -1)
