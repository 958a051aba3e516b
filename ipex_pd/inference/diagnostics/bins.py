"""Bins of an independent variable: given edges, distinct values, or the best partition into clusters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import UsageError

Numbers = NDArray[np.float64]

_MOST = 10
_SMALLEST_SHARE = 0.04
_FINEST = 400


@dataclass(frozen=True, eq=False)
class Bins:
    """K bins, closed below and open above, the last one closed.

    Attributes:
        edges: [K + 1] rising.
    """

    edges: Numbers

    def __len__(self) -> int:
        return len(self.edges) - 1

    def place(self, x: Numbers) -> NDArray[np.int64]:
        """The bin of each value; -1 outside all of them and for NaN."""
        found = np.searchsorted(self.edges, x, side="right") - 1
        found = np.where(x == self.edges[-1], len(self) - 1, found)
        return np.where(np.isfinite(x) & (found >= 0) & (found < len(self)), found, -1).astype(np.int64)


def bins_of(x: Numbers, asked: int | Sequence[float] | None = None) -> Bins:
    """Bins of the values x.

    Args:
        x: values; NaN are left out.
        asked: a number of bins, their edges, or None: one bin for each of a few distinct values, else the partition
            into the most clusters (10 at most) that leaves 4 % of the values in each.

    Raises:
        UsageError: edges that do not rise, fewer than one bin, or no values.
    """
    values, counts = np.unique(x[np.isfinite(x)], return_counts=True)
    if len(values) == 0:
        raise UsageError("there is nothing to put into bins", rule="Bins need values that are numbers")
    if isinstance(asked, int):
        if asked < 1:
            raise UsageError(f"{asked} bins", rule="At least one is needed")
        return _between(values, _starts(values, counts, min(asked, len(values))))
    if asked is not None:
        edges = np.asarray(asked, float)
        if len(edges) < 2 or not (np.diff(edges) > 0).all():
            raise UsageError("the edges of bins do not rise", rule="K bins have K + 1 rising edges")
        return Bins(edges)
    least = _SMALLEST_SHARE * counts.sum()
    if len(values) <= _MOST and counts.min() >= least:
        return _between(values, np.arange(len(values)))
    for count in range(min(_MOST, len(values)), 0, -1):
        starts = _starts(values, counts, count)
        if np.add.reduceat(counts, starts).min() >= least:
            break
    return _between(values, starts)


def _between(values: Numbers, starts: NDArray[np.int64]) -> Bins:
    """Edges half way between clusters that begin at some places of the rising values."""
    inner = 0.5 * (values[starts[1:] - 1] + values[starts[1:]])
    first, last = values[0], values[-1]
    return Bins(np.concatenate([[first], inner, [last if last > first else first + 1.0]]))


def _starts(values: Numbers, counts: NDArray[np.int64], clusters: int) -> NDArray[np.int64]:
    """Where the clusters with the least sum of squares within them begin, by dynamic programming."""
    fine = _thinned(values, counts)
    size = len(fine)
    clusters = min(clusters, size)
    ends = np.append(fine[1:], len(values))
    weight = np.concatenate([[0.0], np.cumsum(counts)])
    first = np.concatenate([[0.0], np.cumsum(counts * values)])
    second = np.concatenate([[0.0], np.cumsum(counts * values**2)])
    begin, end = fine[:, None], ends[None, :]
    mass = np.where(end > begin, weight[end] - weight[begin], 1.0)
    spread = second[end] - second[begin] - (first[end] - first[begin]) ** 2 / mass
    cost = np.where(end > begin, np.maximum(spread, 0.0), np.inf)
    best = cost[0]
    origins = []
    for _ in range(1, clusters):
        total = np.full((size, size), np.inf)
        total[1:] = best[:-1, None] + cost[1:]
        origins.append(np.argmin(total, 0))
        best = total[origins[-1], np.arange(size)]
    place, starts = size - 1, []
    for origin in reversed(origins):
        starts.append(int(fine[origin[place]]))
        place = origin[place] - 1
    return np.array([0, *reversed(starts)], np.int64)


def _thinned(values: Numbers, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places at which a cluster may begin: all of them, or evenly spread ones where there are very many."""
    if len(values) <= _FINEST:
        return np.arange(len(values))
    share = np.cumsum(counts) / counts.sum()
    picked = np.searchsorted(share, np.linspace(0.0, 1.0, _FINEST, endpoint=False))
    return np.unique(picked).astype(np.int64)
