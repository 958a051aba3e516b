"""One number a patient, many patients: mean, median and spread, with times that were not reached kept as such."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.simulation.tables import Array


@dataclass(frozen=True)
class Summary:
    """A column of patients in five numbers.

    Attributes:
        mean: over patients; `nan` when a time was not reached in some.
        median, low, high: quantiles over patients; `inf` means not reached before the horizon.
        reached: share of patients with a finite answer among those with an answer.
        patients: how many have an answer.
    """

    mean: float
    median: float
    low: float
    high: float
    reached: float
    patients: int

    def as_dict(self) -> dict[str, float | int]:
        """As a row of a table."""
        return asdict(self)


def quantile(values: Array, level: float) -> float:
    """A quantile that allows for `inf`: linear between neighbours, `inf` as soon as the upper one is not reached."""
    order = np.sort(values)
    place = level * (order.size - 1)
    lower, share = int(place), place - int(place)
    if share == 0:
        return float(order[lower])
    return float(order[lower] * (1 - share) + order[lower + 1] * share)


def summarise(values: Array, interval: tuple[float, float] = (0.05, 0.95)) -> Summary:
    """Mean, median and interval over patients; those with `nan` have no answer and are left out.

    Raises:
        UsageError: the interval is not two ordered levels between 0 and 1.
    """
    low, high = interval
    if not 0 <= low < high <= 1:
        raise UsageError(
            f"`{interval}` is not an interval", rule="Two ordered levels between 0 and 1, such as (0.05, 0.95)"
        )
    known = values[~np.isnan(values)]
    if known.size == 0:
        return Summary(np.nan, np.nan, np.nan, np.nan, np.nan, 0)
    finite = np.isfinite(known)
    return Summary(
        mean=float(np.mean(known)) if finite.all() else np.nan,
        median=quantile(known, 0.5),
        low=quantile(known, low),
        high=quantile(known, high),
        reached=float(np.mean(finite)),
        patients=int(known.size),
    )
