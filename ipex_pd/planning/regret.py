"""Regret over the parameter draws: what a policy loses to the one that would have been chosen with the draw known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.paths import Paths
from ipex_pd.records.draws import weighted_quantiles


@dataclass(frozen=True, eq=False)
class Regret:
    """Regret of policies.

    Attributes:
        policies: their names.
        by_draw: [policy, draw] best value in the draw less the policy's, never negative; the best is taken over the
            policies and over every fixed day.
        weights: [draw] of the draws.
        table: a row a policy, least mean regret first: policy, mean, q90 (90 % quantile over draws), worst, best_in
            (weight of the draws in which no other does better).
        best_by_draw: [draw] name of what is best in each draw.
    """

    policies: tuple[str, ...]
    by_draw: Floats
    weights: Floats
    table: pd.DataFrame
    best_by_draw: tuple[str, ...]

    def mean(self, policy: str) -> float:
        """Mean regret of a policy over the draws."""
        return float(self.by_draw[self.policies.index(policy)] @ self.weights)

    def __repr__(self) -> str:
        rows = [f"  {row.policy}: {row.mean:.3g}, worst {row.worst:.3g}" for row in self.table.itertuples()]
        return "\n".join([f"Regret over {len(self.weights)} draws:", *rows])


def regret_of(paths: Paths, values: Mapping[str, Floats]) -> Regret:
    """Regret of policies whose outcome in every member is known.

    Args:
        paths: the members and the fixed days that compete.
        values: policy -> [M] outcome of each member.
    """
    names = tuple(values)
    own = paths.by_draw(np.stack([values[name] for name in names]))
    fixed = paths.by_draw(paths.value)
    everything = np.concatenate([own, fixed])
    labels = (*names, *paths.labels)
    best = everything.max(axis=0)
    lost = np.maximum(best - own, 0.0)
    group = np.unique(paths.draw, return_inverse=True)[1]
    weights = np.asarray(np.bincount(group, paths.weights), dtype=np.float64)
    size = max(float(np.ptp(everything)), np.finfo(float).tiny)
    rows = [
        {
            "policy": name,
            "mean": float(row @ weights),
            "q90": float(weighted_quantiles(row, weights, (0.9,))[0]),
            "worst": float(row[weights > 0].max()),
            "best_in": float(weights[row <= 1e-9 * size].sum()),
        }
        for name, row in zip(names, lost, strict=True)
    ]
    table = pd.DataFrame(rows).sort_values("mean", ignore_index=True, kind="stable")
    return Regret(names, lost, weights, table, tuple(labels[i] for i in everything.argmax(axis=0)))
