"""Scouts: a few members who stand for all while starts and combinations of choices are compared.

Members are put in order of what they have of the goal under the regimen to begin from, and cut into strata of equal
weight; one of each goes, by turns of draws and children, and carries the weight of its stratum. So a mean or a quantile
of the scouts is near that of all. Where the worst member counts, half of the scouts are the worst ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ipex_pd.planning.ensemble import Ensemble
    from ipex_pd.records.plan_goals import Statistic

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def scouts_of(ensemble: Ensemble, values: Array, count: int, asked: Statistic) -> Ensemble:
    """The scouts of an ensemble; the same each time.

    Args:
        ensemble: the members; one without weight is no scout.
        values: [M] weighted sum of goals of each member under the regimen to begin from. Members without a finite one
            are no scouts as long as there are others.
        count: at most so many; all members where there are not more.
        asked: the statistic of the plan. `worst` sends the worst half of the scouts by themselves.

    Returns:
        Scouts in the order of the members, with the weights of those they stand for.
    """
    if len(ensemble) <= count:
        return ensemble
    able = (ensemble.weights > 0) & np.isfinite(values)
    places = np.flatnonzero(able if able.any() else ensemble.weights > 0)
    order = places[np.argsort(values[places], kind="stable")]
    alone = count // 2 if asked.kind == "worst" else 0
    worst, rest = order[:alone], order[alone:]
    chosen = {int(place): float(ensemble.weights[place]) for place in worst}
    for stratum in _strata(ensemble.weights[rest], count - alone):
        chosen[_by_turns(ensemble, rest[stratum], list(chosen))] = float(ensemble.weights[rest[stratum]].sum())
    rows = np.array(sorted(chosen), dtype=np.int64)
    return ensemble.pick(rows).reweighted(np.array([chosen[int(row)] for row in rows]))


def _strata(weights: Array, count: int) -> list[Index]:
    """Places of members in order, in at most `count` groups of nearly equal weight."""
    middles = (np.cumsum(weights) - 0.5 * weights) / weights.sum()
    group = np.minimum((middles * count).astype(np.int64), count - 1)
    return [np.flatnonzero(group == number) for number in np.unique(group)]


def _by_turns(ensemble: Ensemble, stratum: Index, gone: list[int]) -> int:
    """The member whose draw and child have gone least often; then the one nearest to the middle of the stratum."""
    draws, children = ensemble.draw[gone], ensemble.child[gone]
    turns = [
        (int((draws == ensemble.draw[m]).sum() + (children == ensemble.child[m]).sum()), abs(2 * k + 1 - len(stratum)))
        for k, m in enumerate(stratum)
    ]
    return int(stratum[min(range(len(turns)), key=lambda k: (*turns[k], k))])
