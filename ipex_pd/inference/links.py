"""Which typical values shift a random effect, found by asking the model.

A typical value theta is linked to the random effect j when, on the scale t(theta) = theta, log theta or its search
value,
adding d to t does to the predictions of every subject i what adding d x_i to eta_ij does, whatever theta and eta are
(mu-referencing; a covariate coefficient has x_i = the subject's covariate). EM methods then move t in closed form.

Derivatives at two random points propose the links; a finite shift at a third confirms them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.population import Layout, Population
from ipex_pd.inference.sampling import subject_count

Array = Any
Scale = Literal["natural", "log", "search"]

_AGREE = 1e-6
_SHIFT = 0.2
_SILENT = 1e-12


@dataclass(frozen=True)
class Link:
    """One typical value and the random effect that it shifts.

    Attributes:
        theta, eta: places in `Population.thetas` and among the random effects.
        scale: on which it shifts.
    """

    theta: int
    eta: int
    scale: Scale


@dataclass(frozen=True)
class Links:
    """All links of a population.

    Attributes:
        links: one for each linked typical value.
        design: [n, q, m] x of subject, random effect, link; 0 where a subject's records do not tell.
        numeric: places of the estimated typical values without a link.
    """

    links: tuple[Link, ...]
    design: np.ndarray
    numeric: tuple[int, ...]


def to_scale(layout: Layout, link: Link, w: Array) -> Array:
    """t [...] of search vectors [..., n]."""
    if link.scale == "search":
        return w[..., link.theta]
    value = layout.theta(w)[..., link.theta]
    return jnp.log(value) if link.scale == "log" else value


def scales_of(layout: Layout, links: tuple[Link, ...], w: Array) -> Array:
    """t [..., m] of all links, of search vectors [..., n]."""
    parts = [to_scale(layout, link, w) for link in links]
    return jnp.stack(parts, axis=-1) if parts else jnp.zeros((*w.shape[:-1], 0))


def to_search(layout: Layout, link: Link, t: Array) -> Array:
    """The search value of t; t is moved inside the bounds."""
    if link.scale == "search":
        return t
    low, high = layout.transform.lower[link.theta], layout.transform.upper[link.theta]
    kind = layout.transform.kinds[link.theta]
    if kind == "above" and link.scale == "log" and low == 0.0:
        return t
    value = jnp.exp(t) if link.scale == "log" else t
    if kind == "free":
        return value
    if kind == "between":
        share = jnp.clip((value - low) / (high - low), 1e-6, 1 - 1e-6)
        return jnp.log(share / (1 - share))
    away = value - low if kind == "above" else high - value
    edge = low if kind == "above" else high
    return jnp.log(jnp.maximum(away, 1e-6 * max(1.0, abs(edge))))


def find_links(population: Population, groups: Sequence[Group], seed: int = 0) -> Links:
    """The links of the typical values that are estimated; the rest is left to numerical steps."""
    layout, rng = population.layout, np.random.default_rng(seed)
    free = [k for k, theta in enumerate(population.thetas) if not theta.fixed]
    effects = _candidates(population)
    total = subject_count(groups)
    points = [_point(population, rng) for _ in range(2)]
    slopes = [[_slopes(group, layout, w, _etas(group, sd, rng)) for group in groups] for w, sd in points]
    found: list[tuple[Link, np.ndarray]] = []
    for k in free:
        for j in effects:
            pair = _proposed(population, groups, points, slopes, k, j, total)
            if pair is not None and _confirmed(population, groups, pair, rng):
                found.append(pair)
                break
    design = np.zeros((total, layout.etas, len(found)))
    for place, (link, x) in enumerate(found):
        design[:, link.eta, place] = x
    linked = {link.theta for link, _ in found}
    return Links(tuple(link for link, _ in found), design, tuple(k for k in free if k not in linked))


def _candidates(population: Population) -> list[int]:
    """Random effects between subjects whose variance is not zero."""
    places: list[int] = []
    corner = 0
    for block in population.blocks:
        size = len(block.names)
        if block.occasions == 0 and np.any(block.start):
            places += range(corner, corner + size)
        corner += size * max(block.occasions, 1)
    return places


def _point(population: Population, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A search vector near the start, and the standard deviations [q] there."""
    w = np.array(population.start)
    count = population.layout.thetas
    moved = 0.1 * rng.standard_normal(count) * np.where(population.free[:count], 1.0, 0.0)
    w[:count] += moved * np.maximum(np.abs(w[:count]), 0.1)
    return w, np.sqrt(np.diagonal(np.asarray(population.omega(jnp.asarray(w)))))


def _etas(group: Group, sd: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    drawn = rng.standard_normal(group.eta_mask.shape) * np.minimum(sd, 0.5)
    return np.where(np.asarray(group.eta_mask), drawn, 0.0)


@partial(jax.jit, static_argnames=("layout",))
def _slopes(group: Group, layout: Layout, w: Array, eta: Array) -> tuple[Array, Array, Array]:
    """Derivatives of all that is predicted, [B, 4N, p] by search values and [B, 4N, q] by eta, and d theta/dw [p]."""
    rows, count = group.shape[0], layout.thetas

    def flat(x: Array) -> Array:
        theta = layout.transform.natural(x[:, :count])
        return _flat(group, group.predict(theta, x[:, count:]))

    x = jnp.concatenate([jnp.broadcast_to(w[:count], (rows, count)), eta], axis=1)
    units = jnp.eye(x.shape[1])
    slopes = jax.vmap(lambda unit: jax.jvp(flat, (x,), (jnp.broadcast_to(unit, x.shape),))[1], out_axes=-1)(units)
    ones = jnp.ones(count)
    return slopes[..., :count], slopes[..., count:], jax.jvp(layout.transform.natural, (w[:count],), (ones,))[1]


def _flat(group: Group, prediction: Prediction) -> Array:
    """[B, 4N] mean, log variance, -2 log likelihood, correlation; 0 in padding."""
    usual = group.mask & ~group.direct
    direct = group.mask & group.direct
    variance = jnp.log(jnp.where(usual, jnp.maximum(prediction.variance, 1e-300), 1.0))
    parts = (
        jnp.where(usual, prediction.mean, 0.0),
        variance,
        jnp.where(direct, prediction.minus2ll, 0.0),
        jnp.where(usual, prediction.correlation, 0.0),
    )
    return jnp.concatenate(parts, axis=1)


@partial(jax.jit, static_argnames=("layout",))
def _predicted(group: Group, layout: Layout, w: Array, eta: Array) -> Array:
    theta = jnp.broadcast_to(layout.theta(w), (group.shape[0], layout.thetas))
    return _flat(group, group.predict(theta, eta))


def _proposed(
    population: Population,
    groups: Sequence[Group],
    points: list[tuple[np.ndarray, np.ndarray]],
    slopes: list[list[tuple[Array, Array, Array]]],
    k: int,
    j: int,
    total: int,
) -> tuple[Link, np.ndarray] | None:
    """The link of theta k to eta j that the derivatives at both points agree on."""
    ratios = []
    for at in slopes:
        ratio = np.zeros(total)
        for group, (by_theta, by_eta, _) in zip(groups, at, strict=True):
            own, other = np.asarray(by_theta)[..., k], np.asarray(by_eta)[..., j]
            if not (np.isfinite(own).all() and np.isfinite(other).all()):
                return None
            size = np.sum(other**2, axis=1)
            heard = size > _SILENT
            x = np.sum(own * other, axis=1) / np.where(heard, size, 1.0) * heard
            left = np.sqrt(np.sum((own - x[:, None] * other) ** 2, axis=1))
            if np.any(left > _AGREE * np.sqrt(np.maximum(np.sum(own**2, axis=1), _SILENT))):
                return None
            rows = np.asarray(group.subjects) >= 0
            ratio[np.asarray(group.subjects)[rows]] = x[rows]
        ratios.append(ratio)
    if not np.any(ratios[0]):
        return None
    for scale in ("search", "log", "natural"):
        factors = [_per_scale(population, w, k, float(np.asarray(at[0][2])[k]), scale) for (w, _), at in
                   zip(points, slopes, strict=True)]  # fmt: skip
        first, second = (r * f for r, f in zip(ratios, factors, strict=True))
        if np.allclose(first, second, rtol=_AGREE, atol=_AGREE * np.abs(first).max()):
            return Link(k, j, scale), first  # type: ignore[arg-type]
    return None


def _per_scale(population: Population, w: np.ndarray, k: int, slope: float, scale: str) -> float:
    """dw/dt of theta k: 1 on the search scale; theta / slope and 1 / slope with slope = d theta/dw otherwise."""
    value = float(population.layout.theta(jnp.asarray(w))[k])
    if scale == "search":
        return 1.0
    if scale == "log":
        return value / slope if value > 0 else np.nan
    return 1.0 / slope


def _confirmed(
    population: Population, groups: Sequence[Group], pair: tuple[Link, np.ndarray], rng: np.random.Generator
) -> bool:
    """Whether a finite shift of theta does what the same shift of eta does."""
    link, x = pair
    layout = population.layout
    w, sd = _point(population, rng)
    shift = _SHIFT * float(sd[link.eta]) / max(float(np.abs(x).max()), _SILENT)
    moved = jnp.asarray(w).at[link.theta].set(
        to_search(layout, link, to_scale(layout, link, jnp.asarray(w)) + shift)
    )  # fmt: skip
    for group in groups:
        eta = _etas(group, sd, rng)
        instead = np.array(eta)
        instead[:, link.eta] += shift * x[np.maximum(np.asarray(group.subjects), 0)]
        one = np.asarray(_predicted(group, layout, moved, jnp.asarray(eta)))
        other = np.asarray(_predicted(group, layout, jnp.asarray(w), jnp.asarray(instead)))
        rows = np.asarray(group.subjects) >= 0
        size = np.maximum(np.abs(one[rows]), 1e-6 * max(float(np.abs(one[rows]).max(initial=0.0)), 1e-300))
        if not np.all(np.abs(one - other)[rows] <= 1e-7 * size + 1e-12):
            return False
    return True
