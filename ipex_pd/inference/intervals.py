"""Intervals of what follows from parameters, over draws of them: functions of the parameters, and endpoints.

Of an endpoint, three things can be asked: the `typical` subject (random effects 0: the uncertainty of the parameters
alone), an `individual` (random effects drawn anew), an `observation` (its residual error besides).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.binding import BoundProblem
from ipex_pd.inference.conditional import Reading, effects, predictions
from ipex_pd.inference.diagnostics.scales import undone
from ipex_pd.inference.draws import search_vectors, tails
from ipex_pd.inference.group import Group
from ipex_pd.inference.linearised import residual_factor
from ipex_pd.inference.objectives import values_of
from ipex_pd.inference.population import Layout
from ipex_pd.records.draws import ParameterDraws, weighted_quantiles
from ipex_pd.records.endpoints import Continuous

Array = Any
Of = Literal["typical", "individual", "observation"]
_WHAT = ("typical", "individual", "observation")


def function_intervals(
    function: Callable[[Mapping[str, float]], np.ndarray | float], draws: ParameterDraws, level: float = 0.95
) -> pd.DataFrame:
    """The interval of any function of the parameters.

    Args:
        function: from values by name to a number or an array, of the same shape for every draw.
        draws: of the parameters.
        level: of the interval.

    Returns:
        One row an entry of the result: mean, median, low, high.
    """
    values = np.array([function(dict(zip(draws.names, row.tolist(), strict=True))) for row in draws.values], float)
    return _summary(values.reshape(len(draws), -1), draws.weights, level)


def prediction_intervals(
    bound: BoundProblem,
    draws: ParameterDraws,
    *,
    of: Of = "typical",
    endpoint: str | None = None,
    level: float = 0.95,
    seed: int = 1,
) -> pd.DataFrame:
    """Intervals of the endpoints of a problem at the records of its data (or of a planned study).

    Args:
        bound: the problem and its records; what was observed is not looked at.
        draws: of its parameters.
        of: `typical`, `individual` or `observation`.
        endpoint: one of them; all when left out.
        level: of the intervals.
        seed: of random effects and residuals.

    Returns:
        One row a record: id, time, endpoint, mean, median, low, high, on the scale of the data.

    Raises:
        UsageError: draws of other parameters, an unknown endpoint, or one without a mean.
    """
    if of not in _WHAT:
        raise UsageError(f"`{of}` is not what can be predicted", rule=nearest_hint(of, _WHAT))
    tails(level)
    _require_continuous(bound, endpoint)
    vectors = search_vectors(bound.population, draws)
    tables = [
        _group_table(bound, number, vectors, draws.weights, (of, level, seed)) for number in range(len(bound.groups))
    ]
    whole = pd.concat(tables).sort_values(["_subject", "time"], kind="stable")
    if endpoint is not None:
        whole = whole[whole["endpoint"] == endpoint]
    return whole.drop(columns="_subject").reset_index(drop=True)


def _require_continuous(bound: BoundProblem, endpoint: str | None) -> None:
    names = bound.endpoint_names
    if endpoint is not None and endpoint not in names:
        raise UsageError(f"`{endpoint}` is not an endpoint", rule=nearest_hint(endpoint, names))
    asked = names if endpoint is None else (endpoint,)
    events = [name for name in asked if not isinstance(bound.problem.endpoints[name], Continuous)]
    if events:
        raise UsageError(
            f"the event endpoint `{events[0]}` has no mean to predict",
            code="prediction.event",
            cure="Name another `endpoint`, or give its survival as a function of the parameters",
        )


def _group_table(
    bound: BoundProblem, number: int, vectors: np.ndarray, weights: np.ndarray, how: tuple[str, float, int]
) -> pd.DataFrame:
    of, level, seed = how
    group, places, endpoints = bound.groups[number], bound.places[number], np.asarray(bound.endpoints[number])
    key = jax.random.fold_in(jax.random.key(seed), number)
    held = jax.tree.map(jnp.asarray, group)
    parts = [
        np.asarray(_predicted(held, jnp.asarray(w), jax.random.fold_in(key, k), layout=bound.population.layout, of=of))
        for k, w in enumerate(vectors)
    ]
    values = np.array(parts)
    for place, one in enumerate(bound.problem.endpoints.values()):
        if isinstance(one, Continuous):
            values[:, :, endpoints == place] = undone(one.scale, values[:, :, endpoints == place])
    real = np.asarray(group.mask) & ~np.asarray(group.direct) & (np.asarray(group.subjects) >= 0)[:, None]
    row, column = np.nonzero(real)
    subjects = np.asarray(group.subjects)[row]
    table = pd.DataFrame(
        {
            "_subject": subjects,
            "id": [bound.subjects[int(s)].id for s in subjects],
            "time": [bound.subjects[int(s)].time[p] for s, p in zip(subjects, places[real], strict=True)],
            "endpoint": [bound.endpoint_names[int(e)] for e in endpoints[column]],
        }
    )
    return pd.concat([table, _summary(values[:, real], weights, level)], axis=1)


@functools.partial(jax.jit, static_argnames=("layout", "of"))
def _predicted(group: Group, w: Array, key: Array, *, layout: Layout, of: str) -> Array:
    """[B, N] on the fitted scale, of one draw."""
    values = values_of(layout, jnp.broadcast_to(w, (group.y.shape[0], w.shape[0])))
    first, second = jax.random.split(key)
    z = jnp.zeros(group.eta_mask.shape)
    if of != "typical":
        z = jnp.where(group.eta_mask, jax.random.normal(first, z.shape), 0.0)
    if of != "observation":
        return group.predict(values.theta, effects(group, values, z)).mean
    _, factor = residual_factor(group, values, z)
    mean = predictions(group, values, z, Reading(censoring="none")).mean
    return mean + jnp.einsum("bnk,bk->bn", factor, jax.random.normal(second, group.y.shape))


def _summary(values: np.ndarray, weights: np.ndarray, level: float) -> pd.DataFrame:
    low, high = tails(level)
    ends = weighted_quantiles(values, weights, (low, 0.5, high))
    return pd.DataFrame({"mean": weights @ values, "median": ends[1], "low": ends[0], "high": ends[2]})
