"""From the scale on which an endpoint is fitted back to the data's own, and the reverse."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipex_pd.inference.diagnostics.records import Records
from ipex_pd.inference.residuals import observe
from ipex_pd.records.endpoints import Continuous, Transform

Numbers = NDArray[np.float64]


def undone(transform: Transform | None, values: Numbers) -> Numbers:
    """The inverse of a transform, elementwise.

    Box-Cox values beyond the end of what any observation maps to become that end: 0 for a positive shape, inf for a
    negative one.
    """
    if transform is None:
        return values
    shape = 0.0 if transform.shape is None else transform.shape
    if transform.positive:
        if shape == 0:
            return np.asarray(np.exp(values))
        with np.errstate(divide="ignore"):
            return np.asarray(np.maximum(1.0 + shape * values, 0.0) ** (1.0 / shape))
    up, down = np.maximum(values, 0.0), np.maximum(-values, 0.0)
    return np.asarray(np.where(values >= 0, _grown(up, shape), -_grown(down, 2.0 - shape)))


def _grown(value: Numbers, shape: float) -> Numbers:
    """(1 + shape value)^(1/shape) - 1; inf where nothing maps to the value."""
    if shape == 0:
        return np.asarray(np.expm1(value))
    inside = 1.0 + shape * value
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(inside > 0, np.maximum(inside, 1e-300) ** (1.0 / shape) - 1.0, np.inf))


def own_scale(records: Records, values: Numbers) -> Numbers:
    """Values [..., M] of the fitted scale on the data's own; those of event endpoints as they are."""
    found = np.array(values, float)
    for number, endpoint in enumerate(records.bound.problem.endpoints.values()):
        if isinstance(endpoint, Continuous):
            mine = records.endpoint == number
            found[..., mine] = undone(endpoint.scale, found[..., mine])
    return found


def fitted_scale(records: Records, values: Numbers) -> Numbers:
    """Values [..., M] of the data's own scale on the fitted one."""
    found = np.array(values, float)
    for number, endpoint in enumerate(records.bound.problem.endpoints.values()):
        if isinstance(endpoint, Continuous):
            mine = records.endpoint == number
            scale = endpoint.scale
            ends = found[..., mine]
            if scale is not None and scale.positive:
                ends = np.where(ends <= 0, np.where(np.isneginf(ends), -np.inf, 0.0), ends)
            found[..., mine] = observe(scale)(ends)
    return found
