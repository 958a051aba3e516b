"""Arithmetic of courses that can be differentiated: areas, incidences, and soft forms of thresholds.

Courses are [T, M]. Where `simulation.measures` has the same question, the answer is the same number; where that is a
step (a level reached or not), the step is a logistic function of stated width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

import ipex_pd.numerics  # noqa: F401  float64

Array = Any

_FLAT = 1e-4


def shrinking(rise: Array) -> Array:
    """(1 - exp(-h)) / h, 1 at h = 0: the mean of survival over an interval in which the hazard rises by h."""
    flat = jnp.abs(rise) < _FLAT
    safe = jnp.where(flat, 1.0, rise)
    return jnp.where(flat, 1.0 - rise / 2 * (1.0 - rise / 3 * (1.0 - rise / 4)), -jnp.expm1(-safe) / safe)


def area(times: Array, course: Array) -> Array:
    """[M] integral over time [unit * day], linear between times [T]."""
    return jnp.sum(0.5 * (course[1:] + course[:-1]) * jnp.diff(times)[:, None], axis=0)


def area_between(times: Array, means: Array, start: Array, stop: Array) -> Array:
    """[M] integral from days to days [M] of each member's own, which are held inside the times.

    Args:
        times: [T] [day].
        means: [T - 1, M] of the integrand between times.
        start, stop: [M] [day].
    """
    return _area_to(times, means, stop) - _area_to(times, means, start)


def _area_to(times: Array, means: Array, day: Array) -> Array:
    end = jnp.clip(day, times[0], times[-1])
    whole = jnp.cumsum(means * jnp.diff(times)[:, None], axis=0)
    begun = jnp.concatenate([jnp.zeros((1, means.shape[1])), whole])
    left = jnp.clip(jnp.searchsorted(times, end, side="right") - 1, 0, times.shape[0] - 2)
    people = jnp.arange(means.shape[1])
    return begun[left, people] + (end - times[left]) * means[left, people]


def middles(course: Array) -> Array:
    """[T - 1, M] means of a course between times, as a line has them."""
    return 0.5 * (course[1:] + course[:-1])


def share_below(course: Array, threshold: float, width: Array) -> Array:
    """[T - 1, M] means of `softly_below` between times, exact for a course that is a line there.

    As the width shrinks this is the share of the time below the threshold, as `simulation.measures` counts it.
    """
    z = (threshold - course) / width
    gap, middle = z[1:] - z[:-1], 0.5 * (z[1:] + z[:-1])
    flat = jnp.abs(gap) < 1e-2
    soft = jax.nn.sigmoid(middle)
    bend = soft * (1.0 - soft) * (1.0 - 2.0 * soft) / 24.0
    rise = jax.nn.softplus(z[1:]) - jax.nn.softplus(z[:-1])
    return jnp.where(flat, soft + bend * gap * gap, rise / jnp.where(flat, 1.0, gap))


def mean_time_alive(times: Array, survival: Array) -> Array:
    """[M] area under the survival curve [day]: exact for a hazard constant between times."""
    rise = jnp.log(survival[:-1]) - jnp.log(survival[1:])
    return jnp.sum(survival[:-1] * shrinking(rise) * jnp.diff(times)[:, None], axis=0)


def incidence(hazards: Mapping[str, Array], cause: str) -> Array:
    """[M] cumulative incidence of one cause among competing ones at the last time.

    Args:
        hazards: cumulative hazard [1] of every cause, [T, M].
        cause: the one asked for.
    """
    total = jnp.sum(jnp.stack(list(hazards.values())), axis=0)
    rise, own = jnp.diff(total, axis=0), jnp.diff(hazards[cause], axis=0)
    return jnp.sum(own * jnp.exp(-total[:-1]) * shrinking(rise), axis=0)


def softly_above(course: Array, threshold: float, width: Array) -> Array:
    """1 well above a threshold, 0 well below: logistic in (course - threshold) / width."""
    return jax.nn.sigmoid((course - threshold) / width)


def softly_below(course: Array, threshold: float, width: Array) -> Array:
    """1 well below a threshold, 0 well above."""
    return jax.nn.sigmoid((threshold - course) / width)


def at_time(times: Array, course: Array, day: float) -> Array:
    """[M] the course at a day inside the times, linear between them."""
    left = jnp.clip(jnp.searchsorted(times, day, side="right") - 1, 0, times.shape[0] - 2)
    share = (day - times[left]) / (times[left + 1] - times[left])
    return course[left] * (1.0 - share) + course[left + 1] * share


def soft_largest(values: Array, width: Array, weights: Array | None = None) -> Array:
    """Mean of values over axis 0, weighted by exp(value / width): a largest value with slopes shared among near ones.

    It lies below the largest value, by about one width where many are near it, and comes to it as the width shrinks.

    Args:
        values: [N, ...].
        width: of the unit of the values.
        weights: [N, ...] not negative; entries of no weight do not count.
    """
    share = jax.nn.softmax(values / width, axis=0, where=None if weights is None else weights > 0)
    return jnp.sum(jnp.where(share > 0, share * values, 0.0), axis=0)
