"""Sub-steps of each child that may span many doses, and the pieces from dose to dose inside them (plain numpy).

A sub-step begins where something happens to the disease at once (visit, observation, transplant, first dose after a
pause), and in between every day or two, at a dose where one is near. Each family of drugs, drugs that share an effect,
has pieces of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
    least = [1] * families
    for hard, events in children:
        steps = cut(hard, hard[:1], events, (10**6,) * families, grading)
        full = np.diff(steps.edges) > 0.5 * grading.longest
        for k, pieces in enumerate(steps.pieces):
            counts = np.bincount(pieces.step, minlength=len(full))
            found[k] += counts[full].tolist()
            least[k] = max(least[k], 1 + _repeats(events[k]))
    return tuple(
        max(lowest, int(np.percentile(counts, _BUSY)) if counts else 1)
        for lowest, counts in zip(least, found, strict=True)
    )


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
    for end in hard[1:].tolist():
        while end - edges[-1] > EPSILON:
            now = edges[-1]
            front = fronts[max(int(np.searchsorted(fronts, now + EPSILON)) - 1, 0)]
            reach = min(grading.first + grading.growth * max(now - front, 0.0), grading.longest)
            edges.append(_next(now, end, reach, events, room, grading))
        edges[-1] = end
    table = np.array([*edges, edges[-1]])
    return Steps(table, tuple(_pieces(table, own, grading) for own in events))


def _next(
    now: float, end: float, reach: float, events: Sequence[Floats], room: Sequence[int], grading: Grading
) -> float:
    goal = end if end - now <= reach + EPSILON else now + reach
    busiest, most = None, 0
    for own, most_pieces in zip(events, room, strict=True):
        begins = _begins(now, goal, own, grading)[0]
        if len(begins) > most_pieces:
            goal = float(begins[most_pieces])
        if len(begins) > most:
            busiest, most = own, len(begins)
    if goal < end - EPSILON and busiest is not None:
        last = int(np.searchsorted(busiest, goal + EPSILON)) - 1
        if last >= 0 and busiest[last] > 0.5 * (now + goal):
            goal = float(busiest[last])
    return goal


def _begins(start: float, stop: float, events: Floats, grading: Grading) -> tuple[Floats, Ints]:
    """Where the pieces between two edges begin, and the event there or -1."""
    low, high = np.searchsorted(events, [start - EPSILON, stop - EPSILON])
    times, which = events[low:high], np.arange(low, high)
    if not len(times) or times[0] > start + EPSILON:
        times, which = np.append(start, times), np.append(-1, which)
    spans = np.diff(np.append(times, stop))
    parts = np.maximum(np.ceil(spans / (_LONGEST_PIECE * grading.longest) - 0.1), 1).astype(int)
    if parts.max() > 1:
        rank = np.arange(parts.sum()) - np.repeat(np.cumsum(parts) - parts, parts)
        times = np.repeat(times, parts) + rank * np.repeat(spans / parts, parts)
        which = np.where(rank == 0, np.repeat(which, parts), -1)
    return times, which


def _pieces(edges: Floats, events: Floats, grading: Grading) -> Pieces:
    parts = [_begins(a, b, events, grading) for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)]
    counts = [len(times) for times, _ in parts]
    begin = np.concatenate([times for times, _ in parts])
    step = np.repeat(np.arange(len(parts)), counts)
    slot = np.concatenate([np.arange(n) for n in counts])
    span = np.maximum(np.append(begin[1:], edges[-1]) - begin, 0.0)
    return Pieces(step, slot, begin, span, np.concatenate([which for _, which in parts]))
