"""The dose-aligned mesh: which sub-steps each patient takes, and what happens at their left edges.

All decisions (order of events, number of sub-steps) are numpy data made outside any trace. Edge times are gathered
from the traced event times by that order, so they stay differentiable. Steps of all patients are aligned at the times
that patients share (start, visits, samples, outputs); between them each patient has its own list, filled up with
steps of length zero, which change nothing: a patient's mesh does not depend on its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.schedule import Schedule, System

Array = Any
Floats = np.ndarray
Ints = np.ndarray

_DIGITS = 9
SYNC, STEADY, TRANSPLANT, STOP, ARRIVAL = range(5)


@dataclass(frozen=True)
class Grading:
    """How sub-steps grow with the time since the last front: h = min(first + growth * since, longest) [day].

    Attributes:
        first: length right after a dose, infusion start or stop, or transplant.
        growth: increase of the length per day since.
        longest: upper limit.
        refine: every sub-step is cut into this many.
    """

    first: float
    growth: float
    longest: float
    refine: int = 1

    def count(self, since: Floats) -> Floats:
        """How many sub-steps lead from a front to a time ``since`` later (a real number)."""
        turn = (self.longest - self.first) / self.growth
        early = np.log1p(self.growth * np.minimum(since, turn) / self.first) / self.growth
        return np.asarray(early + np.maximum(since - turn, 0.0) / self.longest)

    def since(self, count: Floats) -> Floats:
        """The inverse of `count`."""
        turn = (self.longest - self.first) / self.growth
        at_turn = np.log1p(self.growth * turn / self.first) / self.growth
        early = self.first * np.expm1(self.growth * np.minimum(count, at_turn)) / self.growth
        return np.asarray(early + np.maximum(count - at_turn, 0.0) * self.longest)


@dataclass(frozen=True, eq=False)
class Mesh:
    """Sub-steps as arrays [N, P]; times are `rows` of the event table (see `event_times`).

    Attributes:
        left, right: [N, P] rows of the event table whose times bound the interval.
        start, stop: [N, P] where the sub-step begins and ends in it, as fractions.
        doses: [N, C, P] administration that arrives at the left edge, by channel, or -1.
        stops: [N, C, P] administration whose infusion ends.
        steady: [N, C, P] administration given as at steady state that begins.
        transplant: [N, P] transplant that happens, or -1.
        visit: [N] covariates and kinetics are brought up to date.
        samples: [N, J] troughs of titrations are taken.
        sync: [Y] steps at which the shared times begin.
        shared: [Y] those times [day].
        channels: (drug, oral) of each channel.
    """

    left: Ints
    right: Ints
    start: Floats
    stop: Floats
    doses: Ints
    stops: Ints
    steady: Ints
    transplant: Ints
    visit: np.ndarray
    samples: np.ndarray
    sync: Ints
    shared: Floats
    channels: tuple[tuple[int, bool], ...]

    @property
    def steps(self) -> int:
        """Number of sub-steps, filling included."""
        return int(self.left.shape[0])


def event_times(schedule: Schedule, lags: Array, shared: Floats, tool: Any = np) -> Array:
    """The event table [E, P]: arrivals, infusion stops, administrations, transplants, shared times.

    Args:
        schedule: made wide by `Schedule.rows`.
        lags: [N, P] lag of each administration [day] (zero for intravenous ones).
        shared: [Y] times shared by all patients.
        tool: numpy, or jax.numpy inside a trace.
    """
    arrivals = schedule.times + lags
    patients = arrivals.shape[1]
    common = tool.broadcast_to(tool.asarray(shared)[:, None], (len(shared), patients))
    table: Array = tool.concatenate(
        [
            arrivals,
            arrivals + schedule.duration,
            tool.asarray(schedule.times),
            tool.asarray(schedule.transplant_times),
            common,
        ]
    )
    return table


def shared_times(schedule: Schedule, output_times: Floats) -> Floats:
    """Start, visits, samples and outputs up to the last output, without repetition."""
    end = float(np.max(output_times))
    candidates = np.concatenate([[0.0], schedule.visits, schedule.sample_times, output_times])
    kept = np.unique(np.round(candidates[(candidates >= 0) & (candidates <= end)], 12))
    apart = np.concatenate([[True], np.diff(kept) > 10.0**-_DIGITS])
    return np.asarray(kept[apart])


def build_mesh(
    system: System, schedule: Schedule, lags: Floats, output_times: Floats, grading: Grading, *, separate: bool
) -> Mesh:
    """Freeze the order of events and the sub-steps.

    Args:
        system: for the drugs of the orders.
        schedule: concrete and wide.
        lags: [N, P] [day].
        output_times: [T] [day].
        grading: sub-step lengths.
        separate: keep simultaneous events apart (zero-length intervals), for derivatives by their times.

    Raises:
        SimulationError: an event before the start.
    """
    shared = shared_times(schedule, output_times)
    times = event_times(schedule, lags, shared)
    if times.size and times.min() < 0:
        raise SimulationError(
            "an event lies before the start of the simulation",
            where="schedule",
            rule="Day 0 is the start",
            cure="Describe earlier doses by `steady_state`",
        )
    same = bool((times == times[:, :1]).all())
    table = times[:, :1] if same else times
    builder = _Builder(system, schedule, table, shared, grading, separate)
    mesh = builder.build()
    return _widen(mesh, times.shape[1]) if same else mesh


def _widen(mesh: Mesh, patients: int) -> Mesh:
    names = ("left", "right", "start", "stop", "doses", "stops", "steady", "transplant")
    wide = {n: np.broadcast_to(getattr(mesh, n), (*getattr(mesh, n).shape[:-1], patients)) for n in names}
    return Mesh(
        **wide, visit=mesh.visit, samples=mesh.samples, sync=mesh.sync, shared=mesh.shared, channels=mesh.channels
    )


class _Builder:
    """One construction of a mesh, over all patients at once."""

    def __init__(
        self, system: System, schedule: Schedule, times: Floats, shared: Floats, grading: Grading, separate: bool
    ) -> None:
        self.system, self.schedule, self.shared, self.grading, self.separate = (
            system,
            schedule,
            shared,
            grading,
            separate,
        )
        n, m, y = len(schedule.order), np.shape(schedule.transplant_times)[0], len(shared)
        self.counts = (n, m, y)
        pairs = [(system.drug(o.drug), o.route == "oral") for o in schedule.orders]
        used = [pairs[k] for k in schedule.order]
        self.channels = tuple(sorted(set(used)))
        channel = np.array([self.channels.index(u) for u in used], int)
        kind = np.concatenate(
            [np.full(n, ARRIVAL), np.full(n, STOP), np.full(n, STEADY), np.full(m, TRANSPLANT), np.full(y, SYNC)]
        )
        source = np.concatenate([np.tile(np.arange(n), 3), np.arange(m), np.arange(y)]).astype(int)
        lane = np.concatenate([np.tile(channel, 3), np.zeros(m + y, int)]).astype(int)
        infused = (np.asarray(schedule.duration) > 0).any(axis=1) if n else np.zeros(0, bool)
        needed = np.concatenate([np.ones(n, bool), infused, schedule.steady_state > 0, np.ones(m + y, bool)])
        needed &= (times < shared[-1]).any(axis=1) | (kind == SYNC)
        self.row = np.nonzero(needed)[0]
        self.times, self.kind, self.source, self.lane = times[needed], kind[needed], source[needed], lane[needed]

    def build(self) -> Mesh:
        self._sort()
        self._edges()
        self._place()
        return self._fill()

    def _sort(self) -> None:
        rounded = np.round(self.times, _DIGITS)
        keys = (
            np.broadcast_to(self.lane[:, None], rounded.shape),
            np.broadcast_to(self.kind[:, None], rounded.shape),
            rounded,
        )
        perm = np.lexsort(keys, axis=0)
        self.perm = perm
        self.sorted_times = np.take_along_axis(self.times, perm, 0)
        self.sorted_rounded = np.take_along_axis(rounded, perm, 0)
        self.sorted_kind, self.sorted_lane = self.kind[perm], self.lane[perm]
        self.sorted_row, self.sorted_source = self.row[perm], self.source[perm]

    def _edges(self) -> None:
        """Which sorted events open an edge, and where their interval ends."""
        t, kind, lane = self.sorted_rounded, self.sorted_kind, self.sorted_lane
        fresh = np.ones(t.shape, bool)
        if not self.separate:
            clash = (kind[1:] == kind[:-1]) & (lane[1:] == lane[:-1])
            alone = (kind[1:] == STEADY) | (kind[:-1] == STEADY)
            fresh[1:] = (t[1:] != t[:-1]) | clash | alone
        following = np.empty(t.shape, int)
        ahead = np.full(t.shape[1], t.shape[0] - 1)
        for e in range(t.shape[0] - 1, -1, -1):
            following[e] = ahead
            ahead = np.where(fresh[e], e, ahead)
        self.fresh, self.following = fresh, following

    def _place(self) -> None:
        """Number of sub-steps of each edge and the step at which it begins."""
        t, kind = self.sorted_times, self.sorted_kind
        end = np.take_along_axis(t, self.following, 0)
        front = np.where((kind != SYNC) & (kind != STEADY), t, 0.0)
        final = np.maximum(self.following - 1, np.arange(t.shape[0])[:, None])
        since = np.maximum(t - np.take_along_axis(np.maximum.accumulate(front, axis=0), final, 0), 0.0)
        begin, finish = self.grading.count(since), self.grading.count(since + np.maximum(end - t, 0.0))
        number = np.ceil(finish - begin - 1e-6).astype(int) * self.grading.refine
        self.number = np.where(self.fresh, np.maximum(number, 1), 0)
        self.begin, self.finish, self.since = begin, finish, since
        sync_count = np.cumsum(kind == SYNC, axis=0)
        self.segment = sync_count - 1
        last = sync_count == len(self.shared)
        self.number = np.where(last, np.where(kind == SYNC, 1, 0), self.number)
        before = np.cumsum(self.number, axis=0) - self.number
        patients = t.shape[1]
        column, row = np.nonzero((kind == SYNC).T)
        opening = before[row, column].reshape(patients, len(self.shared)).T
        longest = np.max(np.diff(opening, axis=0), axis=1) if len(self.shared) > 1 else np.zeros(0, int)
        self.offset = np.concatenate([[0], np.cumsum(longest)]).astype(int)
        self.total = int(self.offset[-1]) + 1
        step = before - np.take_along_axis(opening, self.segment, 0) + self.offset[self.segment]
        self.step = np.maximum.accumulate(np.where(self.fresh, step, 0), axis=0)
        self.dropped = last & (kind != SYNC)

    def _fill(self) -> Mesh:
        n, m, y = self.counts
        patients = self.times.shape[1]
        first_sync = 3 * n + m
        owner = np.searchsorted(self.offset, np.arange(self.total), side="right") - 1
        resting = np.minimum(first_sync + owner + 1, first_sync + y - 1)
        left = np.broadcast_to(resting[:, None], (self.total, patients)).copy()
        right, start, stop = left.copy(), np.zeros(left.shape), np.zeros(left.shape)
        column = np.broadcast_to(np.arange(patients), self.step.shape)
        target = np.take_along_axis(self.sorted_row, self.following, 0)
        for j in range(int(self.number.max())):
            chosen = (self.number > j) & self.fresh
            at = (self.step[chosen] + j, column[chosen])
            left[at], right[at] = self.sorted_row[chosen], target[chosen]
            start[at], stop[at] = self._fraction(chosen, j), self._fraction(chosen, j + 1)
        visits = self._flag(self.schedule.visits)
        samples = np.zeros((self.total, len(self.schedule.titrations)), bool)
        for k in range(len(self.schedule.titrations)):
            samples[:, k] = self._flag(self.schedule.sample_times[self.schedule.sample_titration == k])
        slots = {kind: self._slots(kind, column) for kind in (ARRIVAL, STOP, STEADY)}
        transplant = np.full((self.total, patients), -1, np.int32)
        chosen = (self.sorted_kind == TRANSPLANT) & ~self.dropped
        transplant[self.step[chosen], column[chosen]] = self.sorted_source[chosen]
        return Mesh(
            left,
            right,
            start,
            stop,
            slots[ARRIVAL],
            slots[STOP],
            slots[STEADY],
            transplant,
            visits,
            samples,
            self.offset,
            self.shared,
            self.channels,
        )

    def _fraction(self, chosen: np.ndarray, j: int) -> Floats:
        number = self.number[chosen]
        begin, finish, since = self.begin[chosen], self.finish[chosen], self.since[chosen]
        length = self.grading.since(finish) - since
        place = self.grading.since(begin + (finish - begin) * j / number) - since
        ratio = place / np.where(length > 0, length, 1.0)
        return np.where(j == 0, 0.0, np.where(j == number, 1.0, np.where(length > 0, ratio, j / number)))

    def _slots(self, kind: int, column: Ints) -> Ints:
        slots = np.full((self.total, len(self.channels), column.shape[1]), -1, np.int32)
        chosen = (self.sorted_kind == kind) & ~self.dropped
        slots[self.step[chosen], self.sorted_lane[chosen], column[chosen]] = self.sorted_source[chosen]
        return slots

    def _flag(self, times: Floats) -> np.ndarray:
        flag = np.zeros(self.total, bool)
        wanted = np.asarray(times, float)
        wanted = wanted[(wanted >= 0) & (wanted <= self.shared[-1])]
        flag[self.offset[np.searchsorted(self.shared, wanted - 10.0**-_DIGITS)]] = True
        return flag
