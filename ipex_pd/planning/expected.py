"""Endpoints under every candidate of a plan, with paired differences to the start."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipex_pd.planning.judged import Array, resampled
from ipex_pd.simulation.endpoints import available

if TYPE_CHECKING:
    from ipex_pd.planning.ensemble import Ensemble
    from ipex_pd.planning.judged import Judgement


def expected_table(
    judged: Mapping[str, Judgement], start: Judgement, group: Ensemble, horizon: float, seed: int
) -> pd.DataFrame:
    """A row an endpoint and candidate (see `Plan.expected`).

    Args:
        judged: candidate -> judgement on the same members.
        start: that differences are taken from.
        group: the members.
        horizon: at which a time that was not reached counts [day].
        seed: of the resampling.
    """
    counts = resampled(group, seed)
    base = start.simulation.patient_endpoints()
    rows = []
    for name, judgement in judged.items():
        answers = judgement.simulation.patient_endpoints()
        for asked in available(judgement.simulation):
            most = horizon if asked.is_time else np.inf
            values = np.minimum(answers[asked.name].to_numpy(float), most)
            row: dict[str, Any] = {"endpoint": asked.name, "label": asked.label, "unit": asked.unit}
            row |= {"better": asked.better, "regimen": name, "meaning": asked.meaning}
            row |= _spread(values, group.weights)
            if asked.name in base:
                row |= _paired(values - np.minimum(base[asked.name].to_numpy(float), most), group.weights, counts)
            rows.append(row)
    return pd.DataFrame(rows)


def _spread(values: Array, weights: Array) -> dict[str, float]:
    """Weighted mean, and the values below which 5 and 95 % of the weight lie."""
    known = np.isfinite(values) & (weights > 0)
    if not known.any():
        return {"mean": math.nan, "low": math.nan, "high": math.nan, "members": 0}
    order = np.argsort(values[known])
    ranked, heavy = values[known][order], weights[known][order] / weights[known].sum()
    middle = np.cumsum(heavy) - 0.5 * heavy
    low, high = np.interp([0.05, 0.95], middle, ranked)
    return {"mean": float(ranked @ heavy), "low": float(low), "high": float(high), "members": int(known.sum())}


def _paired(differences: Array, weights: Array, counts: Array | None) -> dict[str, float]:
    known = np.isfinite(differences) & (weights > 0)
    if not known.any():
        return {"difference": math.nan, "difference_low": math.nan, "difference_high": math.nan}
    own = np.where(known, weights, 0.0)
    filled = np.where(known, differences, 0.0)
    low = high = math.nan
    if counts is not None:
        heavy = counts * own
        total = heavy.sum(1)
        means = (heavy @ filled)[total > 0] / total[total > 0]
        low, high = (float(v) for v in np.quantile(means, [0.025, 0.975]))
    return {"difference": float(own @ filled / own.sum()), "difference_low": low, "difference_high": high}
