"""What a fit says of every subject and record: posterior covariance, predictions and weighted residuals.

Residuals as NONMEM defines them, to first order in the random effects: with m, r mean and variance, h = sqrt r, A and b
the derivatives of m and h by z, and z* the mode,

| residual | expectation | variance |
|---|---|---|
| WRES (fo, foce) | m(0) | A A' + r(0) at z = 0 |
| WRES (interaction) | m(0) | A A' + h(0)^2 + b b' at z = 0 |
| CWRES | m(z*) - A z* | A A' + r at the mode (r(0) without interaction) |
| CWRESI | m(z*) - A z* | A A' + (h(z*) - b z*)^2 + b b' |

each decorrelated by the symmetric inverse root of its variance; IWRES = (y - m(z*))/h(z*). They are given for measured
records only.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.conditional import along, effects, exact_curvature, predictions, slope
from ipex_pd.inference.group import Group
from ipex_pd.inference.modes import find_modes
from ipex_pd.inference.objectives import Method, values_of
from ipex_pd.inference.population import Layout
from ipex_pd.inference.totals import Objective, Starts

Array = Any

COLUMNS = ("PRED", "RES", "WRES", "CPRED", "CRES", "CWRES", "CWRESI", "IPRED", "IRES", "IWRES")


class _Described(NamedTuple):
    eta: Array
    covariance: Array
    z: Array
    population: tuple[Array, Array, Array]
    individual: tuple[Array, Array, Array]
    slopes: tuple[Array, Array, Array, Array]


@dataclass(frozen=True, eq=False)
class Individuals:
    """What is known of S subjects.

    Attributes:
        eta: [S, q] modes of the random effects (after the fit where the method has none).
        covariance: [S, q, q] of the random effects given the data.
        present: [S, q] which random effects a subject has; none where it was set aside.
        tables: for each group, column name -> [B, N] (NaN where a record has none).
    """

    eta: np.ndarray
    covariance: np.ndarray
    present: np.ndarray
    tables: tuple[dict[str, np.ndarray], ...]


def describe(objective: Objective, w: np.ndarray, modes: Starts) -> Individuals:
    """Describe every subject at the search vector w [n], with modes searched from `modes`."""
    layout, method = objective.population.layout, objective.method
    parts = []
    groups, modes = objective.described(w, modes)
    for group, start in zip(groups, modes, strict=True):
        found = _describe(group, jnp.asarray(w), jnp.asarray(start), layout=layout, method=method)
        parts.append(jax.tree.map(np.asarray, found))
    return Individuals(
        eta=objective.gather([p.eta for p in parts]),
        covariance=objective.gather([p.covariance for p in parts]),
        present=objective.gather([np.asarray(g.eta_mask) for g in objective.groups]) & ~objective.aside[:, None],
        tables=tuple(_table(g, p, method) for g, p in zip(objective.groups, parts, strict=True)),
    )


@functools.partial(jax.jit, static_argnames=("layout", "method"))
def _describe(group: Group, w: Array, start: Array, *, layout: Layout, method: Method) -> _Described:
    values = values_of(layout, jnp.broadcast_to(w, (*group.y.shape[:1], w.shape[0])))
    reading, z = method.reading, start
    if method.name == "fo":
        z = find_modes(group, values, start, reading=reading, exact=method.exact).z
    if method.exact:
        curvature = exact_curvature(group, values, z, reading)
    else:
        curvature = slope(group, values, z, reading).curvature
    factor = jnp.where(group.eta_mask[..., None], values.factor, 0.0)
    covariance = factor @ jnp.linalg.inv(curvature) @ jnp.swapaxes(factor, -1, -2)

    def at(point: Array) -> tuple[Array, Array, Array]:
        said = predictions(group, values, point, reading._replace(interaction=True))
        usual = group.mask & ~group.direct
        variance = jnp.where(usual, said.variance, 1.0)
        correlation = jnp.where(usual, said.correlation, 0.0)
        return jnp.where(usual, said.mean, 0.0), jnp.sqrt(variance), correlation

    both, (slopes_of_mean, slopes_of_spread, _) = jax.vmap(lambda point: along(at, point))(
        jnp.stack([jnp.zeros_like(z), z])
    )
    population, individual = (tuple(part[i] for part in both) for i in (0, 1))
    slopes = (slopes_of_mean[0], slopes_of_spread[0], slopes_of_mean[1], slopes_of_spread[1])
    return _Described(effects(group, values, z), covariance, z, population, individual, slopes)


def _table(group: Group, found: _Described, method: Method) -> dict[str, np.ndarray]:
    y, usual = np.asarray(group.y), np.asarray(group.mask & ~group.direct)
    measured = usual & (np.asarray(group.cens) == 0)
    partner = np.asarray(group.partner)
    table = {name: np.full(y.shape, np.nan) for name in COLUMNS}
    m0, h0, c0 = found.population
    m1, h1, c1 = found.individual
    a0, b0, a1, b1 = found.slopes
    expected = m1 - np.einsum("bni,bi->bn", a1, found.z)
    spread = h1 - np.einsum("bni,bi->bn", b1, found.z)
    follows = method.reading.interaction
    for name, values in (("PRED", m0), ("IPRED", m1), ("CPRED", expected)):
        table[name][usual] = values[usual]
    for name, values in (("RES", y - m0), ("IRES", y - m1), ("CRES", y - expected), ("IWRES", (y - m1) / h1)):
        table[name][measured] = values[measured]
    for b in range(len(y)):
        rows = np.flatnonzero(measured[b])
        if not len(rows):
            continue
        still, there = c0[b][rows], c1[b][rows]
        links = np.array([np.searchsorted(rows, p) if p in rows else -1 for p in partner[b][rows]], int)
        first = (a0[b][rows], h0[b][rows], b0[b][rows])
        last = (a1[b][rows], h1[b][rows], b1[b][rows])
        none = np.zeros_like(first[2])
        plain = _variance(first[0], first[1], first[2] if follows else none, still, links)
        own = last[1] if follows else first[1]
        conditional = _variance(last[0], own, none, there if follows else still, links)
        interacting = _variance(last[0], spread[b][rows], last[2], there, links)
        table["WRES"][b, rows] = _decorrelated(plain, (y - m0)[b][rows])
        table["CWRES"][b, rows] = _decorrelated(conditional, (y - expected)[b][rows])
        table["CWRESI"][b, rows] = _decorrelated(interacting, (y - expected)[b][rows])
    return table


def _variance(
    slopes: np.ndarray, sd: np.ndarray, sd_slopes: np.ndarray, correlation: np.ndarray, links: np.ndarray
) -> np.ndarray:
    """A A' + the residual part: diagonal, and correlations of a record with its partner."""
    residual = np.diag(sd**2 + (sd_slopes**2).sum(1))
    for i, j in enumerate(links):
        if j >= 0:
            residual[i, j] = residual[j, i] = correlation[i] * (sd[i] * sd[j] + sd_slopes[i] @ sd_slopes[j])
    variance: np.ndarray = slopes @ slopes.T + residual
    return variance


def _decorrelated(variance: np.ndarray, residual: np.ndarray) -> np.ndarray:
    if not np.isfinite(variance).all():
        return np.full(len(residual), np.nan)
    values, vectors = np.linalg.eigh(variance)
    decorrelated: np.ndarray = vectors @ ((vectors.T @ residual) / np.sqrt(np.maximum(values, 1e-300)))
    return decorrelated
