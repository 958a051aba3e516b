"""-2 log likelihood of records from what a model says of them.

Measured: log r + (y - m)^2/r (without log 2 pi, as NONMEM). Censored (M3 and intervals): -2 log(Phi(b) - Phi(a)), a
and b the standardised ends of the interval. Conditional on being above a floor (M4): + 2 log Phi((m - floor)/sqrt r),
and a censored interval begins at the floor. Event endpoints give their own -2 log likelihood. Correlated records (a
partner j with correlation c): mean m + k (y_j - m_j) with k = c sqrt(r/r_j), variance r (1 - c^2).

M3, M4: S. L. Beal, J Pharmacokinet Pharmacodyn 28 (2001) 481.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from ipex_pd.errors import RecordError
from ipex_pd.inference.group import Group, Prediction

Array = Any
Censoring = Literal["none", "one_sided", "general"]
"""No censored record; only with an open end and without a floor (M3); any."""


class Rows(NamedTuple):
    """Records as the likelihood sees them, all [B, N]: after correlation, and harmless numbers in padding.

    Attributes:
        mean, variance: conditional on an earlier record of the same sample, where there is one.
        weight: k, how the earlier record's residual enters the mean; 0 without a partner.
    """

    mean: Array
    variance: Array
    weight: Array


def check_likelihood(group: Group) -> None:
    """Refuse records whose likelihood is not defined here. Raises: RecordError."""
    partner, cens, direct = (np.asarray(v) for v in (group.partner, group.cens, group.direct))
    paired = partner >= 0
    others = np.take_along_axis((cens != 0) | direct, np.maximum(partner, 0), 1)
    if group.correlated and bool(np.any(paired & (others | (cens != 0) | direct))):
        raise RecordError(
            "a censored or event record belongs to a sample with correlated residuals",
            code="likelihood.correlated-censored",
            rule="Correlated residuals need measured records",
            cure="Leave the correlation out, or take the sample apart",
        )


def rows_of(group: Group, prediction: Prediction) -> Rows:
    """Means and variances given the earlier records of the samples; padding gets mean y and variance 1."""
    usual = group.mask & ~group.direct
    mean = jnp.where(usual, prediction.mean, group.y)
    variance = jnp.where(usual, prediction.variance, 1.0)
    if not group.correlated:
        return Rows(mean, variance, jnp.zeros_like(mean))
    paired = (group.partner >= 0) & usual
    place = jnp.maximum(group.partner, 0)

    def other(values: Array) -> Array:
        return jnp.take_along_axis(values, place, 1)

    correlation = jnp.where(paired, prediction.correlation, 0.0)
    weight = correlation * jnp.sqrt(variance / other(variance))
    return Rows(mean + weight * other(group.y - mean), variance * (1.0 - correlation**2), weight)


def minus2ll(group: Group, theta: Array, eta: Array) -> Array:
    """[B] -2 log likelihood of each subject's records at theta [B, p] and eta [B, q]."""
    return jnp.sum(record_terms(group, group.predict(theta, eta)), axis=-1)


def censoring_of(group: Group) -> Censoring:
    """What censoring a group's records have; for data that are at hand, not traced."""
    mask, cens = np.asarray(group.mask), np.asarray(group.cens)
    cut = (cens != 0) & mask
    floors = np.isfinite(np.asarray(group.floor)) & mask
    if floors.any() or bool(np.any(cut & np.isfinite(np.asarray(group.limit)))):
        return "general"
    return "one_sided" if cut.any() else "none"


def has_events(group: Group) -> bool:
    """Whether any record gives its own -2 log likelihood; for data that are at hand, not traced."""
    return bool(np.any(np.asarray(group.direct) & np.asarray(group.mask)))


def record_terms(group: Group, prediction: Prediction, censoring: Censoring = "general") -> Array:
    """[B, N] -2 log likelihood of every record, 0 in padding; the Jacobian of a transform is part of it.

    Args:
        group: subjects.
        prediction: what the model says of their records.
        censoring: as `censoring_of` says: the less there is, the smaller is the program.
    """
    rows = rows_of(group, prediction)
    usual = jnp.log(rows.variance) + (group.y - rows.mean) ** 2 / rows.variance + group.jacobian
    if censoring == "one_sided":
        usual = jnp.where(group.cens == 0, usual, _one_sided_terms(group, rows))
    elif censoring == "general":
        usual = _censored_terms(group, rows, usual)
    value = jnp.where(group.direct, prediction.minus2ll, usual)
    return jnp.where(group.mask, value, 0.0)


def _one_sided_terms(group: Group, rows: Rows) -> Array:
    sign = jnp.where(group.cens < 0, -1.0, 1.0)
    return -2.0 * log_ndtr(sign * (group.y - rows.mean) / jnp.sqrt(rows.variance))


def _censored_terms(group: Group, rows: Rows, normal: Array) -> Array:
    sd = jnp.sqrt(rows.variance)
    measured = group.cens == 0
    left = jnp.where(group.cens > 0, group.limit, group.y)
    right = jnp.where(group.cens > 0, group.y, group.limit)
    left = jnp.where(measured, -1.0, jnp.maximum(left, group.floor))
    right = jnp.where(measured, 1.0, right)
    censored = -2.0 * log_interval(_standard(left, rows.mean, sd), _standard(right, rows.mean, sd))
    open_below = jnp.isinf(group.floor)
    above = (rows.mean - jnp.where(open_below, rows.mean, group.floor)) / sd
    conditional = jnp.where(open_below, 0.0, 2.0 * log_ndtr(above))
    return jnp.where(measured, normal, censored) + conditional


def _standard(end: Array, mean: Array, sd: Array) -> Array:
    """The standardised end of an interval; infinite ends stay so, without a derivative."""
    inside = jnp.isfinite(end)
    return jnp.where(inside, (jnp.where(inside, end, 0.0) - mean) / sd, end)


def log_interval(left: Array, right: Array) -> Array:
    """log(Phi(right) - Phi(left)) for left < right, either infinite; accurate in both tails, and so are derivatives."""
    flip = left > 0
    low, high = jnp.where(flip, -right, left), jnp.where(flip, -left, right)
    low_open, high_open = jnp.isneginf(low), jnp.isposinf(high)
    safe_low, safe_high = jnp.where(low_open, -1.0, low), jnp.where(high_open, 1.0, high)
    upper = jnp.where(high_open, 0.0, log_ndtr(safe_high))
    gap = jnp.where(low_open, -1.0, log_ndtr(safe_low) - upper)
    share = jnp.log(-jnp.expm1(jnp.minimum(gap, -1e-300)))
    return upper + jnp.where(low_open, 0.0, share)
