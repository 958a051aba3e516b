"""Bayes' rule on the members of an ensemble: how likely a measured value is in each of them, and what that leaves.

The laws are those of `records.measurements`; CENS and LIMIT are those of Monolix and NONMEM data, as
`simulation.measuring.measure` writes them. All numbers stand in the unit of the measurement.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr, logit

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.records.measurements import (
    Additive,
    Combined,
    LogitNormal,
    Lognormal,
    Measurement,
    Ordinal,
    Proportional,
)
from ipex_pd.simulation import measurement_draws as law

Floats = NDArray[np.float64]

_TINY = 1e-300
_HALF_LOG_TWO_PI = 0.5 * np.log(2.0 * np.pi)


@dataclass(frozen=True, eq=False)
class Posterior:
    """What a measurement leaves of an ensemble.

    Attributes:
        weights: [M] with sum 1.
        effective: effective number of members, 1 over the sum of squared weights.
        log_evidence: log of the mean likelihood under the weights before.
    """

    weights: Floats
    effective: float
    log_evidence: float


def normalised(weights: ArrayLike) -> Floats:
    """Weights with sum 1. Raises: UsageError."""
    found = np.asarray(weights, dtype=np.float64)
    if found.ndim != 1 or not (np.isfinite(found).all() and (found >= 0).all() and found.sum() > 0):
        raise UsageError("the weights of the members are no weights", rule="They are finite, not negative, not all 0")
    return np.asarray(found / found.sum())


def effective(weights: Floats) -> float:
    """Effective number of members of weights with sum 1 (Kish)."""
    return float(1.0 / np.sum(weights**2))


def reweighted(weights: Floats, log_likelihood: Floats) -> Posterior:
    """Bayes' rule on the members.

    Raises:
        SimulationError: no member can have given what was measured.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(weights) + log_likelihood
    top = float(np.max(logs))
    if not np.isfinite(top):
        raise SimulationError(
            "what was measured is impossible in every member of the ensemble",
            code="planning.impossible-measurement",
            rule="At least one member must be able to give it",
            cure="Widen the ensemble, or check the value and its unit",
        )
    raw = np.exp(logs - top)
    after = raw / raw.sum()
    return Posterior(after, effective(after), top + float(np.log(raw.sum())))


def log_likelihood(
    item: Measurement, measured: ArrayLike, true: ArrayLike, cens: ArrayLike = 0, limit: ArrayLike = np.nan
) -> Floats:
    """Log density (for levels and censored values: log probability) of measured values given true ones.

    Args:
        item: the measurement; not an event, nor survival.
        measured: what the laboratory reported; broadcasts with `true`.
        true: the quantity in the members.
        cens: 0 a value, 1 it lies between `limit` and `measured`, -1 between `measured` and `limit`.
        limit: other end of a censored value.

    Raises:
        UsageError: the measurement is an onset or a death, which are not read at a visit.
    """
    y, f = np.asarray(measured, dtype=np.float64), np.asarray(true, dtype=np.float64)
    flags, ends = np.asarray(cens), np.asarray(limit, dtype=np.float64)
    error = item.error
    if isinstance(error, Ordinal):
        return _level(error, y, f)
    centre, spread = _centre(item, f)
    at, jacobian = _scale(item, y)
    z = (at - centre) / spread
    density = -0.5 * z * z - np.log(spread) - _HALF_LOG_TWO_PI + jacobian
    if not np.any(flags != 0):
        return np.asarray(density)
    other = (_scale(item, np.where(np.isnan(ends), np.where(flags > 0, -np.inf, np.inf), ends))[0] - centre) / spread
    below = _log_between(other, z)
    above = _log_between(z, other)
    return np.asarray(np.select([flags > 0, flags < 0], [below, above], density))


def _centre(item: Measurement, f: Floats) -> tuple[Any, Any]:
    """Mean and standard deviation on the scale where the error is normal."""
    error = item.error
    if isinstance(error, Additive):
        return f, np.float64(error.sd)
    if isinstance(error, Proportional):
        return f, np.maximum(error.cv * np.abs(f), _TINY)
    if isinstance(error, Combined):
        return f, np.hypot(error.sd, error.cv * f)
    if isinstance(error, Lognormal):
        return np.log(np.maximum(f, _TINY)), np.sqrt(np.log1p(error.cv**2))
    if isinstance(error, LogitNormal):
        return logit(np.clip(f / item.support[1], law.ROUNDING, 1 - law.ROUNDING)), np.float64(error.sd)
    raise UsageError(
        f"`{item.name}` is {item.kind}",
        code="planning.no-likelihood",
        rule="Members are weighed by values read at a visit; onsets and deaths are not",
        cure="Measure the quantity itself",
    )


def _scale(item: Measurement, y: Floats) -> tuple[Floats, Any]:
    """A measured value on the scale where its error is normal, and the log of the derivative."""
    error = item.error
    with np.errstate(divide="ignore", invalid="ignore"):
        if isinstance(error, Lognormal):
            logs = np.log(y)
            return logs, -logs
        if isinstance(error, LogitNormal):
            share = y / item.support[1]
            return np.asarray(logit(share)), -np.log(y) - np.log1p(-share)
    return y, 0.0


def _log_between(low: Floats, high: Floats) -> Floats:
    """log(Phi(high) - Phi(low)), from the side of the nearer tail."""
    flip = low > 0
    a, b = np.where(flip, -high, low), np.where(flip, -low, high)
    upper, lower = log_ndtr(b), log_ndtr(a)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(upper + np.log1p(-np.exp(np.where(np.isneginf(lower), -np.inf, lower - upper))))


def _level(error: Ordinal, y: Floats, f: Floats) -> Floats:
    edges = np.array([-np.inf, *error.cuts, np.inf])
    place = y.astype(int)
    if np.any((place != y) | (place < 0) | (place > len(error.cuts))):
        raise UsageError("a measured level does not exist", rule=f"Levels are numbered 0 to {len(error.cuts)}")
    if error.sd == 0:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log((law.level(error, f) == y).astype(np.float64)))
    return _log_between((edges[place] - f) / error.sd, (edges[place + 1] - f) / error.sd)
