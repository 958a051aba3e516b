"""The laws of measurement: measured values, onsets seen at visits, and days of death (`ipex_pd.records.measurements`).

Arrays are (patient, visit) for measured values and (patient,) for events; a missing number stays `nan`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from ipex_pd.errors import SimulationError
from ipex_pd.records.measurements import (
    Additive,
    Combined,
    Event,
    LogitNormal,
    Lognormal,
    Measurement,
    Ordinal,
    Proportional,
)
from ipex_pd.simulation import measures
from ipex_pd.simulation.tables import Array

ROUNDING = 1e-6
"""How far beyond its ends a share may lie by the error of the solver, as a part of the whole."""


def measured(item: Measurement, true: Array, noise: Array) -> Array:
    """Measured values of true ones, both in the unit of the measurement, before limits.

    Args:
        item: the measurement; not an event, nor survival.
        true: the quantity in `item.unit`.
        noise: standard normal draws of the same shape.

    Raises:
        SimulationError: a share outside 0 to 1.
    """
    error = item.error
    if isinstance(error, Additive):
        return true + error.sd * noise
    if isinstance(error, Proportional):
        return true * (1 + error.cv * noise)
    if isinstance(error, Combined):
        return true + np.hypot(error.sd, error.cv * true) * noise
    if isinstance(error, Lognormal):
        return np.asarray(true * np.exp(np.sqrt(np.log1p(error.cv**2)) * noise), dtype=np.float64)
    if isinstance(error, LogitNormal):
        whole = item.support[1]
        share = _share(item, true / whole)
        return np.asarray(whole * expit(logit(share) + error.sd * noise), dtype=np.float64)
    if isinstance(error, Ordinal):
        return level(error, true + error.sd * noise)
    raise SimulationError(f"`{item.name}` is {item.kind}", rule="Events and survival have no measured value at a visit")


def level(error: Ordinal, judged: Array) -> Array:
    """Which level a judged quantity falls in, from 0; a value on a cut point is in the level above it."""
    found = np.searchsorted(np.array(error.cuts), judged, side="right").astype(np.float64)
    return np.where(np.isnan(judged), np.nan, found)


def censored(item: Measurement, values: Array) -> tuple[Array, NDArray[np.int64], Array]:
    """Values as a laboratory reports them, with CENS and LIMIT as in NONMEM and Monolix data.

    Below the lower limit of quantification the value is that limit, CENS is 1 and LIMIT the lower end of what the
    value may be; above the upper limit the value is that limit, CENS is -1 and LIMIT the upper end; else CENS is 0 and
    LIMIT `nan`. An error that may turn a concentration negative (proportional, combined) is cut at 0 in the same way.
    """
    floored = isinstance(item.error, Proportional | Combined)
    low = item.lloq.value if item.lloq is not None else (0.0 if floored else -np.inf)
    high = item.uloq.value if item.uloq is not None else np.inf
    below, above = values < low, values > high
    cens = below.astype(np.int64) - above.astype(np.int64)
    limit = np.select([below, above], [item.support[0], item.support[1]], np.nan)
    return np.select([below, above], [low, high], values), cens, limit


def onset(event: Event, times: Array, course: Array) -> Array:
    """First day beyond the threshold [day], (patient,), linear between output times; `inf` if it never comes."""
    if event.side == "below":
        return measures.first_below(times, course, event.threshold)
    return measures.first_below(times, -course, -event.threshold)


def death(times: Array, survival: Array, uniform: Array) -> Array:
    """Day of death [day], (patient,): where survival from the first time on has fallen to a uniform draw.

    The cumulative hazard is linear between output times; `inf` where the child is alive at the last.

    Args:
        times: output times [day], (time,).
        survival: probability to be alive, (patient, time).
        uniform: draws between 0 and 1, (patient,).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        hazard = -np.log(np.maximum(survival, 0.0) / survival[:, :1])
    days = [_crossing(times, np.maximum.accumulate(row), -np.log(u)) for row, u in zip(hazard, uniform, strict=True)]
    return np.array(days, dtype=np.float64)


def seen(days: Array, visits: Array, until: Array) -> tuple[Array, NDArray[np.int64], Array]:
    """What visits tell of an onset: (day, cens, limit), each (patient,).

    CENS 1: it came after LIMIT (the last visit without it, -inf when there was none) and until the day, the first
    visit at which it is known. CENS -1: it has not come until the day, the last visit. The day is `nan` for a child
    who died before the first visit, and with CENS 0 for one without an answer.

    Args:
        days: true onsets, `inf` if none, `nan` if unknown.
        visits: rising days of visits, (visit,).
        until: day from which there are no visits (death), `inf` if none.
    """
    after = np.searchsorted(visits, days, side="left")
    last = np.searchsorted(visits, until, side="left") - 1
    came = after <= last
    padded = np.concatenate([[-np.inf], visits, [np.nan]])
    day = np.where(came, padded[np.minimum(after, visits.size - 1) + 1], padded[last + 1])
    day = np.where(np.isnan(days) | (last < 0), np.nan, day)
    cens = np.where(np.isnan(days), 0, np.where(came, 1, -1)).astype(np.int64)
    limit = np.where(np.isnan(days), np.nan, np.where(came, padded[after], np.inf))
    return day, cens, limit


def _crossing(times: Array, hazard: Array, reached: float) -> float:
    if not np.all(np.isfinite(hazard) | (hazard == np.inf)):
        return float("nan")
    after = int(np.searchsorted(hazard, reached, side="left"))
    if after >= hazard.size:
        return float("inf")
    left, right = hazard[after - 1], hazard[after]
    if np.isinf(right):
        return float(times[after])
    return float(times[after - 1] + (reached - left) / (right - left) * (times[after] - times[after - 1]))


def _share(item: Measurement, share: Array) -> Array:
    if np.any((share < -ROUNDING) | (share > 1 + ROUNDING)):
        raise SimulationError(
            f"`{item.quantity}` leaves its range",
            where=item.name,
            rule=f"A share lies between 0 and 1; found {np.nanmin(share):g} to {np.nanmax(share):g}",
            cure="Read another quantity, or give the measurement another kind of error",
        )
    return np.clip(share, 0.0, 1.0)
