"""Paired differences between two regimens: their spread over patients, and how well their mean is known.

Two intervals answer two questions and are never mixed: the percentiles of the differences say how much patients differ
from one another; the bootstrap interval of the mean says how well a finite number of virtual patients fixes the mean.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ipex_pd.simulation.summary import summarise

Array = NDArray[np.float64]

RESAMPLES = 2000
CONFIDENCE = 0.95
_BLOCK = 200


@dataclass(frozen=True)
class PairedDifference:
    """One endpoint under one regimen less the same endpoint of the same patients under the reference.

    Attributes:
        mean: mean difference.
        mean_low, mean_high: bootstrap interval of the mean at 95 % (`nan` for fewer than two pairs).
        median, low, high: quantiles of the differences over patients: between-patient spread.
        share_better: share of pairs in which the regimen is better than the reference, ties counted half; `nan` when
            neither direction is better.
        pairs: patients with an answer under both.
    """

    mean: float
    mean_low: float
    mean_high: float
    median: float
    low: float
    high: float
    share_better: float
    pairs: int

    def as_dict(self) -> dict[str, float | int]:
        """As a row of a table."""
        return asdict(self)


def restricted(times: Array, horizon: float) -> Array:
    """Times cut at the horizon, so that one that was not reached counts as the horizon; `nan` stays."""
    return np.minimum(times, horizon)


def bootstrap_mean(columns: Array, seed: int, resamples: int = RESAMPLES, confidence: float = CONFIDENCE) -> Array:
    """Percentile bootstrap interval of the means of columns, (2, column).

    Args:
        columns: (patient, column); `nan` where a patient has no answer. Patients are resampled as wholes.
        seed: of the resampling.
        resamples: how many.
        confidence: coverage asked for.

    Returns:
        Low and high end of every column; `nan` for columns with fewer than two answers.
    """
    count = columns.shape[0]
    known = np.isfinite(columns)
    enough = known.sum(axis=0) >= 2
    if count < 2 or not enough.any():
        return np.full((2, columns.shape[1]), np.nan)
    filled, mask = np.where(known, columns, 0.0), known.astype(np.float64)
    random = np.random.default_rng(seed)
    means = []
    for start in range(0, resamples, _BLOCK):
        draws = random.multinomial(count, np.full(count, 1.0 / count), size=min(_BLOCK, resamples - start))
        weights = draws.astype(np.float64)
        total, size = weights @ filled, weights @ mask
        means.append(np.divide(total, size, out=np.full_like(total, np.nan), where=size > 0))
    tail = (1.0 - confidence) / 2.0
    with np.errstate(invalid="ignore"):
        ends = np.nanquantile(np.concatenate(means)[:, enough], [tail, 1.0 - tail], axis=0)
    result = np.full((2, columns.shape[1]), np.nan)
    result[:, enough] = ends
    return result


def paired_differences(differences: Array, better: list[str], seed: int) -> list[PairedDifference]:
    """Summaries of paired differences, (patient, endpoint), with the direction that is good for each endpoint."""
    ends = bootstrap_mean(differences, seed)
    results = []
    for column, direction in enumerate(better):
        values = differences[:, column]
        numbers = summarise(values)
        results.append(
            PairedDifference(
                mean=numbers.mean,
                mean_low=float(ends[0, column]),
                mean_high=float(ends[1, column]),
                median=numbers.median,
                low=numbers.low,
                high=numbers.high,
                share_better=_share_better(values[np.isfinite(values)], direction),
                pairs=numbers.patients,
            )
        )
    return results


def _share_better(values: Array, direction: str) -> float:
    if direction == "" or values.size == 0:
        return np.nan
    gain = values if direction == "higher" else -values
    return float(np.mean(gain > 0) + np.mean(gain == 0) / 2)
