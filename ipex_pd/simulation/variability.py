"""From standard normal draws to individual parameter values: variability between patients, uncertainty of the value.

lognormal: value * exp(sd * eta); normal: value + sd * eta; logit: the same on the logit scale of the bounds. Where a
value has bounds, the draw is that of the distribution cut at them, so that no patients pile up at a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

if TYPE_CHECKING:
    from ipex_pd.records.parameters import Parameter

Array = NDArray[np.float64]
Transform = Callable[[Any], Any]


def individual(parameter: Parameter, eta: Array, typical: Array | float | None = None) -> Array:
    """Individual values of a parameter in its own unit, (patient,).

    Args:
        parameter: with its variability and bounds.
        eta: standard normal draws, (patient,).
        typical: population value of every patient; the parameter's own when None.
    """
    centre = np.broadcast_to(np.asarray(parameter.value if typical is None else typical, dtype=np.float64), eta.shape)
    if parameter.variability is None:
        return centre.copy()
    spread = parameter.variability.eta_sd(parameter.value)
    return _vary(parameter.variability.distribution, centre, spread, eta, parameter.limits)


def uncertain(parameter: Parameter, draw: Array) -> Array:
    """Population values drawn from the uncertainty of a parameter, in its own unit, (draw,).

    A relative standard error or an interval of a parameter on a log or logit scale is taken on that scale; a `range` is
    uniform on the parameter's scale.
    """
    known = parameter.uncertainty
    if known is None:
        return np.full(draw.shape, parameter.value)
    kind = {"natural": "normal", "log": "lognormal", "logit": "logit"}[parameter.scale]
    forward, backward = _scale(kind, parameter.limits)
    if known.range is not None:
        low, high = (forward(np.asarray(end)) for end in known.range)
        return np.asarray(backward(low + (high - low) * ndtr(draw)), dtype=np.float64)
    return _vary(kind, np.full(draw.shape, parameter.value), _standard_error(parameter, kind), draw, parameter.limits)


def _standard_error(parameter: Parameter, kind: str) -> float:
    known, value = parameter.uncertainty, parameter.value
    assert known is not None
    if known.interval is not None:
        forward, _ = _scale(kind, parameter.limits)
        low, high = (float(forward(np.asarray(end))) for end in known.interval)
        return (high - low) / (2.0 * float(ndtri(0.5 + known.level / 2.0)))
    natural = known.sd if known.sd is not None else (known.rse or 0.0) * abs(value)
    if kind == "lognormal":
        return float(np.sqrt(np.log1p((natural / value) ** 2)))
    if kind == "logit":
        low, high = parameter.limits
        # delta method: the slope of the logit scale at the value
        return natural * (high - low) / ((value - low) * (high - value))
    return natural


def _scale(kind: str, limits: tuple[float, float]) -> tuple[Transform, Transform]:
    low, high = limits
    if kind == "lognormal":
        return np.log, np.exp
    if kind == "logit":
        return (lambda x: logit((x - low) / (high - low))), (lambda y: low + (high - low) * expit(y))
    return (lambda x: x), (lambda y: y)


def _vary(kind: str, centre: Array, spread: float, draw: Array, limits: tuple[float, float]) -> Array:
    if spread == 0.0:
        return centre.copy()
    forward, backward = _scale(kind, limits)
    middle = forward(centre)
    if kind == "logit":
        return np.asarray(backward(middle + spread * draw), dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = ((np.asarray(forward(np.asarray(end, dtype=np.float64))) - middle) / spread for end in limits)
    low = np.where(np.isnan(low), -np.inf, low)
    return np.asarray(backward(middle + spread * _cut(draw, low, high)), dtype=np.float64)


def _cut(draw: Array, low: Array, high: Array) -> Array:
    """The draw at the same probability of the standard normal distribution cut at `low` and `high`."""
    below, above = ndtr(low), ndtr(-high)
    inside = ndtri(below + ndtr(draw) * (1.0 - below - above))
    # far bounds change nothing, and the plain draw is kept to the last digit
    return np.where((below < 1e-12) & (above < 1e-12), draw, np.clip(inside, low, high))
