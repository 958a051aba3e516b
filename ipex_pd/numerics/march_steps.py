"""Sub-steps of each child that may span many doses, and the pieces from dose to dose inside them (plain numpy).

A sub-step begins where something happens to the disease at once (visit, observation, transplant, first dose after a
pause), and in between every day or two, at a dose where one is near. Each family of drugs, drugs that share an effect,
has pieces of its own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

import numpy as np
from numpy.typing import NDArray

from ipex_pd.numerics.mesh import Grading

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EPSILON = 1e-8
"""Times [day] closer than this are one."""
PAUSE = 1.5
"""A dose this long [day] after the last event of its family opens a sub-step: assumed, daily doses are one course."""
_LONGEST_PIECE = 0.5
"""Of the longest sub-step: the effect of a slow drug is smooth, but nodes must not be days apart."""
_BUSY = 90.0
"""Percentile of the pieces of full sub-steps for which there is room; sub-steps with more are cut shorter."""


@dataclass(frozen=True, eq=False)
class Pieces:
    """Pieces of one family of drugs in one child, in order of time.

    Attributes:
        step: [Q] sub-step of each.
        slot: [Q] place within it.
        begin, span: [Q] [day].
        event: [Q] event at its beginning, or -1.
    """

    step: Ints
    slot: Ints
    begin: Floats
    span: Floats
    event: Ints


@dataclass(frozen=True, eq=False)
class Steps:
    """Sub-steps of one child: edges [N + 1] [day], and the pieces of each family."""

    edges: Floats
    pieces: tuple[Pieces, ...]


def rooms(children: Sequence[tuple[Floats, Sequence[Floats]]], grading: Grading) -> tuple[int, ...]:
    """Pieces of each family for which a sub-step has room.

    Args:
        children: of each, the days at which sub-steps must begin, and the events of each family.
        grading: lengths.
    """
    families = len(children[0][1])
    found: list[list[int]] = [[] for _ in range(families)]
    for hard, events in children:
        steps = cut(hard, hard[:1], events, (10**6,) * families, grading)
        full = np.diff(steps.edges) > 0.5 * grading.longest
        for k, pieces in enumerate(steps.pieces):
            counts = np.bincount(pieces.step, minlength=len(full))
            found[k] += counts[full].tolist()
    return tuple(
        max(lowest, int(np.percentile(counts, _BUSY)) if counts else 1)
        for lowest, counts in zip(least_rooms([events for _, events in children]), found, strict=True)
    )


def least_rooms(children: Sequence[Sequence[Floats]]) -> tuple[int, ...]:
    """Pieces of each family without room for which a sub-step cannot be cut: doses at one time stay together."""
    return tuple(1 + max(_repeats(own) for own in family) for family in zip(*children, strict=True))


def _repeats(events: Floats) -> int:
    """Most events at one time."""
    if not len(events):
        return 0
    return int(np.unique(np.round(events, 8), return_counts=True)[1].max())


def cut(hard: Floats, fronts: Floats, events: Sequence[Floats], room: Sequence[int], grading: Grading) -> Steps:
    """Sub-steps from the first to the last of some days, and a last one of length zero.

    Args:
        hard: days at which sub-steps begin, ascending.
        fronts: those of them after which sub-steps are shorter, ascending.
        events: of each family, ascending, repeated where doses of one order coincide.
        room: pieces of each family that a sub-step has room for.
        grading: lengths.
    """
    edges = [float(hard[0])]
    opening = fronts.tolist()
    families = [
        _Family(own.tolist(), most, _LONGEST_PIECE * grading.longest) for own, most in zip(events, room, strict=True)
    ]
    for end in hard[1:].tolist():
        while end - edges[-1] > EPSILON:
            now = edges[-1]
            front = opening[max(bisect_left(opening, now + EPSILON) - 1, 0)]
            reach = min(grading.first + grading.growth * max(now - front, 0.0), grading.longest)
            edges.append(_next(now, end, reach, families))
        edges[-1] = end
    table = np.array([*edges, edges[-1]])
    return Steps(table, tuple(_pieces(table, own, grading) for own in events))


class _Family:
    """Events of one family as plain numbers: a sub-step holds a few of them, too few for arrays."""

    def __init__(self, events: list[float], room: int, longest: float) -> None:
        self.events, self.room, self.longest = events, room, longest

    def begins(self, start: float, stop: float) -> list[float]:
        """Where the pieces between two edges begin."""
        low, high = bisect_left(self.events, start - EPSILON), bisect_left(self.events, stop - EPSILON)
        times = self.events[low:high]
        if not times or times[0] > start + EPSILON:
            times = [start, *times]
        if stop - start <= self.longest:
            return times
        found = []
        for now, then in pairwise([*times, stop]):
            span = then - now
            parts = max(ceil(span / self.longest - 0.1), 1)
            found += [now + rank * (span / parts) for rank in range(parts)]
        return found


def _next(now: float, end: float, reach: float, families: Sequence[_Family]) -> float:
    goal = end if end - now <= reach + EPSILON else now + reach
    busiest, most = None, 0
    for family in families:
        begins = family.begins(now, goal)
        if len(begins) > family.room:
            goal = begins[family.room]
        if len(begins) > most:
            busiest, most = family.events, len(begins)
    if goal < end - EPSILON and busiest is not None:
        last = bisect_left(busiest, goal + EPSILON) - 1
        if last >= 0 and busiest[last] > 0.5 * (now + goal):
            goal = busiest[last]
    return goal


def _pieces(edges: Floats, events: Floats, grading: Grading) -> Pieces:
    """The pieces of all sub-steps: from each edge, or the event there, from event to event to the next edge."""
    low = np.searchsorted(events, edges - EPSILON)
    first, last = low[:-1], low[1:]
    held = events[np.minimum(first, len(events) - 1)] if len(events) else np.zeros(len(first))
    bare = (first == last) | (held > edges[:-1] + EPSILON)
    counts = last - first + bare
    step = np.repeat(np.arange(len(counts)), counts)
    slot = _within(counts)
    which = first[step] + slot - bare[step]
    which[slot < bare[step]] = -1
    begin = np.where(which >= 0, events[np.maximum(which, 0)] if len(events) else 0.0, edges[step])
    closing = np.append(step[1:] != step[:-1], True)
    spans = np.where(closing, edges[step + 1], np.append(begin[1:], edges[-1])) - begin
    parts = np.maximum(np.ceil(spans / (_LONGEST_PIECE * grading.longest) - 0.1), 1).astype(int)
    rank = _within(parts)
    begin = np.repeat(begin, parts) + rank * np.repeat(spans / parts, parts)
    step, which = np.repeat(step, parts), np.where(rank == 0, np.repeat(which, parts), -1)
    span = np.maximum(np.append(begin[1:], edges[-1]) - begin, 0.0)
    return Pieces(step, _within(np.bincount(step, minlength=len(edges) - 1)), begin, span, which)


def _within(counts: Ints) -> Ints:
    """0, 1, ... within each of some groups."""
    return np.asarray(np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts))
