"""Objectives of a group of subjects, and their exact gradients by the whole search vector.

With l(z) of `conditional` and its mode z*, per subject:

| method | objective |
|---|---|
| pooled | -2 log p(y given eta = 0) |
| fo | -2 log density of y linearised at eta = 0, residual variance at eta = 0 |
| foce | l(z*) + log|H|, H the expected curvature; residual variance at eta = 0 in both |
| focei | the same with the residual variance at eta* (interaction) |
| laplace | l(z*) + log|H|, H the exact curvature |
| agq | -2 log of the integral of exp(-l/2) by adaptive Gauss-Hermite quadrature |

The mode depends on the search vector w through dl/dz = 0. With v = (d2l/dz2)^-1 dOFV/dz held, the total gradient is the
partial one by w of OFV(w, z) - v . dl/dz(w, z), whose value is also the objective corrected to second order in what is
left of the search for the mode.

foce and focei need of a model no more than the sums that make l, its slope and its expected curvature. Their first
derivatives by theta and eta, all found in one forward pass, are enough for the objective, the exact curvature and the
gradient; one small program is much less to compile than several reverse ones. laplace and agq differentiate in reverse.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.conditional import (
    Reading,
    Slope,
    Values,
    exact_curvature,
    joint,
    log_determinant,
    predictions,
    slope,
    solve_definite,
)
from ipex_pd.inference.conditional import along as along_z
from ipex_pd.inference.conditional import expected_information as information
from ipex_pd.inference.group import Group
from ipex_pd.inference.likelihood import Censoring, censoring_of, has_events, record_terms, rows_of
from ipex_pd.inference.modes import Modes, find_modes
from ipex_pd.inference.population import Layout

Array = Any
MethodName = Literal["pooled", "fo", "foce", "focei", "laplace", "agq"]

_TRUSTED = 1e-3
_MOST_NODES = 20_000


@dataclass(frozen=True)
class Method:
    """How the likelihood of a subject is approximated; hashable, so that a program can be specialised to it.

    Attributes:
        name: one of the table above.
        exact: search for modes with the exact Hessian (records that are not normal).
        censoring: of the records.
        nodes: of the quadrature, per random effect.
    """

    name: MethodName
    exact: bool = False
    censoring: Censoring = "none"
    nodes: int = 9

    @property
    def reading(self) -> Reading:
        """How records are read: fo and foce take the residual variance at eta = 0."""
        return Reading(self.name not in ("fo", "foce"), self.censoring)

    @property
    def conditional(self) -> bool:
        """Whether modes are searched."""
        return self.name not in ("pooled", "fo")


METHODS: tuple[MethodName, ...] = ("pooled", "fo", "foce", "focei", "laplace", "agq")


def method_for(name: str, groups: tuple[Group, ...], nodes: int = 9) -> Method:
    """The method of that name, if it can honour every record of the groups.

    Raises:
        UsageError: an unknown name, or records that the method cannot honour.
    """
    if name not in METHODS:
        raise UsageError(f"`{name}` is not an objective", code="method.unknown", rule=nearest_hint(name, METHODS))
    direct = any(has_events(g) for g in groups)
    kinds = {censoring_of(g) for g in groups}
    censoring: Censoring = "general" if "general" in kinds else "one_sided" if "one_sided" in kinds else "none"
    censored = censoring != "none"
    if (direct or censored) and name in ("fo", "foce", "focei"):
        raise UsageError(
            f"`{name}` cannot honour {'event endpoints' if direct else 'censored records (M3, M4, intervals)'}",
            code="method.not-normal",
            rule="It takes every record as normal with a mean and a variance",
            cure="Use laplace, saem or imp",
        )
    effects = max((int(g.eta_mask.shape[1]) for g in groups), default=0)
    if name == "agq" and nodes**effects > _MOST_NODES:
        raise UsageError(
            f"agq with {nodes} nodes for each of {effects} random effects needs {nodes**effects} points a subject",
            code="method.too-many-nodes",
            rule=f"The most are {_MOST_NODES}",
            cure="Use fewer nodes, laplace or imp",
        )
    exact = direct or censored or name in ("laplace", "agq")
    return Method(name, exact, censoring, nodes)  # type: ignore[arg-type]


class Evaluated(NamedTuple):
    """The objective of every subject of a group at one search vector.

    Attributes:
        values: [B] objective (-2 log likelihood without n log 2 pi).
        gradients: [B, n] by the whole search vector.
        z: [B, q] modes (zero for methods without).
        joint: [B] l at the mode.
        decrement: [B] what is left of the search, in posterior standard deviations; NaN where no mode was found.
        definite: [B] whether the exact curvature at the mode is positive definite.
    """

    values: Array
    gradients: Array
    z: Array
    joint: Array
    decrement: Array
    definite: Array


@functools.partial(jax.jit, static_argnames=("layout", "method"))
def evaluate(group: Group, w: Array, start: Array, *, layout: Layout, method: Method) -> Evaluated:
    """Values, gradients and modes of every subject at the search vector w [n], searching modes from `start` [B, q]."""
    wide = jnp.broadcast_to(w, (*group.y.shape[:1], w.shape[0]))
    if not method.conditional:
        values, pull = jax.vjp(lambda x: _unconditional(group, values_of(layout, x), method), wide)
        (gradients,) = pull(jnp.ones_like(values))
        rows = values.shape
        return Evaluated(values, gradients, start, values, jnp.zeros(rows), jnp.ones(rows, bool))
    return _conditional(group, wide, start, layout, method)


def values_of(layout: Layout, wide: Array) -> Values:
    """Population values of search vectors given row by row [B, n]."""
    return Values(layout.theta(wide), layout.factor(wide))


def _conditional(group: Group, wide: Array, start: Array, layout: Layout, method: Method) -> Evaluated:
    values = values_of(layout, wide)
    modes = find_modes(group, values, start, reading=method.reading, exact=method.exact)
    z = modes.z
    told = _first_order if method.name in ("foce", "focei") else _in_reverse
    objective, half_slope, curvature = told(group, layout, method, wide, modes)
    found, pull = jax.vjp(objective, wide, z)
    partial_w, partial_z = pull(jnp.ones_like(found))
    definite = jnp.all(jnp.linalg.eigvalsh(curvature) > 0, -1)
    instead = jnp.eye(z.shape[-1]) if method.exact else modes.slope.curvature
    safe = jnp.where(definite[:, None, None], curvature, instead)
    held = 0.5 * solve_definite(safe, partial_z)
    rest, pull_rest = jax.vjp(lambda x: 2.0 * half_slope(x, held), wide)
    (implicit,) = pull_rest(jnp.ones_like(rest))
    near = definite & (modes.decrement < _TRUSTED)
    step = solve_definite(safe, modes.slope.gradient)
    return Evaluated(
        values=found - jnp.where(near, rest, 0.0),
        gradients=partial_w - implicit,
        z=z - jnp.where(near[:, None], step, 0.0),
        joint=modes.slope.value,
        decrement=modes.decrement,
        definite=definite,
    )


class _Told(NamedTuple):
    """What a gradient needs near a mode: OFV(w, z), (dl/dz . v)/2 at the mode as a function of (w, v), d2l/dz2 /2."""

    objective: Callable[[Array, Array], Array]
    half_slope: Callable[[Array, Array], Array]
    curvature: Array


def _in_reverse(group: Group, layout: Layout, method: Method, wide: Array, modes: Modes) -> _Told:
    def half_slope(x: Array, direction: Array) -> Array:
        def at(point: Array) -> Array:
            return joint(group, values_of(layout, x), point, method.reading)

        return 0.5 * jax.jvp(at, (modes.z,), (direction,))[1]

    def objective(x: Array, point: Array) -> Array:
        return approximate(group, values_of(layout, x), point, method)

    values = values_of(layout, wide)
    known = modes.slope.curvature if method.exact else exact_curvature(group, values, modes.z, method.reading)
    return _Told(objective, half_slope, known)


def _first_order(group: Group, layout: Layout, method: Method, wide: Array, modes: Modes) -> _Told:
    """From what the records say at the mode (without the prior) and its first derivatives by theta and eta."""
    p, unit = layout.thetas, jnp.eye(modes.z.shape[-1])

    def place(x: Array, z: Array) -> tuple[Array, Array]:
        """(theta, eta) [B, p + q], and the factor of the effects that a subject has."""
        values = values_of(layout, x)
        factor = jnp.where(group.eta_mask[..., None], values.factor, 0.0)
        return jnp.concatenate([values.theta, jnp.einsum("bij,bj->bi", factor, z)], 1), factor

    def records(point: Array) -> Slope:
        theta, eta = point[:, :p], point[:, p:]
        here = slope(group, Values(theta, jnp.broadcast_to(unit, (*eta.shape, eta.shape[1]))), eta, method.reading)
        return Slope(here.value - jnp.sum(eta**2, -1), here.gradient - eta, here.curvature - unit)

    centre, held = place(wide, modes.z)
    at_mode, by_place = along_z(records, centre)

    def near(x: Array, z: Array) -> tuple[Slope, Array]:
        point, factor = place(x, z)
        moved = [jnp.einsum("b...d,bd->b...", slopes, point - centre) for slopes in by_place]
        return Slope(*(a + b for a, b in zip(at_mode, moved, strict=True))), factor

    def objective(x: Array, z: Array) -> Array:
        here, factor = near(x, z)
        curvature = unit + jnp.einsum("bki,bkl,blj->bij", factor, here.curvature, factor)
        return here.value + jnp.sum(z**2, -1) + log_determinant(curvature)

    def half_slope(x: Array, direction: Array) -> Array:
        here, factor = near(x, modes.z)
        return jnp.sum((jnp.einsum("bij,bi->bj", factor, here.gradient) + modes.z) * direction, -1)

    exact = unit + jnp.einsum("bki,bkl,blj->bij", held, by_place.gradient[..., p:], held)
    return _Told(objective, half_slope, 0.5 * (exact + jnp.swapaxes(exact, 1, 2)))


def approximate(group: Group, values: Values, z: Array, method: Method) -> Array:
    """The objective [B] with the modes given; differentiable in both."""
    if method.name in ("foce", "focei"):
        here = slope(group, values, z, method.reading)
        return here.value + log_determinant(here.curvature)
    curvature = exact_curvature(group, values, z, method.reading)
    if method.name == "laplace":
        return joint(group, values, z, method.reading) + log_determinant(curvature)
    return _quadrature(group, values, z, curvature, method)


def _quadrature(group: Group, values: Values, z: Array, curvature: Array, method: Method) -> Array:
    """-2 log of the sum over nodes x of weight(x) exp(-(l(z + C^-T x) - x'x)/2), C C' = H, plus log|H|."""
    points, log_weights = _nodes(method.nodes, z.shape[-1])
    factor = jnp.linalg.cholesky(curvature)

    def term(point: Array) -> Array:
        column = jnp.broadcast_to(point, z.shape)[..., None]
        away = jax.lax.linalg.triangular_solve(factor, column, left_side=True, lower=True, transpose_a=True)
        return -0.5 * (joint(group, values, z + away[..., 0], method.reading) - jnp.sum(point**2))

    terms = jax.lax.map(term, points, batch_size=64) + log_weights[:, None]
    return -2.0 * jax.scipy.special.logsumexp(terms, axis=0) + log_determinant(curvature)


@functools.cache
def _grid(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    logs = np.log(weights) - 0.5 * np.log(2 * np.pi)
    return (
        np.array(list(itertools.product(points, repeat=size))),
        np.array([sum(some) for some in itertools.product(logs, repeat=size)]),
    )


def _nodes(count: int, size: int) -> tuple[Array, Array]:
    points, logs = _grid(count, size)
    return jnp.asarray(points), jnp.asarray(logs)


def _unconditional(group: Group, values: Values, method: Method) -> Array:
    still = jnp.zeros(group.eta_mask.shape)
    if method.name == "pooled":
        said = predictions(group, values, still, method.reading)
        return jnp.sum(record_terms(group, said, method.censoring), -1)

    def at(z: Array) -> tuple[Array, Array]:
        said = predictions(group, values, z, method.reading)
        return jnp.where(group.mask, said.mean, 0.0), rows_of(group, said).mean

    (_, mean), (plain, _) = along_z(at, still)
    rows = rows_of(group, predictions(group, values, still, method.reading))
    none = jnp.zeros_like(plain)
    spread = jnp.eye(still.shape[-1]) + information(group, rows.variance, rows.weight, (plain, none, none))
    residual = (group.y - mean) / jnp.sqrt(rows.variance)
    return _linear_normal(group, rows.variance, residual, plain, rows.weight, spread)


def _linear_normal(group: Group, variance: Array, residual: Array, plain: Array, weight: Array, spread: Array) -> Array:
    """-2 log density [B] of a linear mixed model, by Woodbury: V = A A' + R, I + A'R^-1A = `spread`."""
    a = plain
    if group.correlated:
        place = jnp.maximum(group.partner, 0)
        a = a - weight[..., None] * jnp.take_along_axis(a, place[..., None], 1)
    pulled = jnp.einsum("bni,bn->bi", a / jnp.sqrt(variance)[..., None], residual)
    fit = jnp.sum(residual**2, -1) - jnp.sum(pulled * solve_definite(spread, pulled), -1)
    logs = jnp.sum(jnp.where(group.mask, jnp.log(variance) + group.jacobian, 0.0), -1)
    return fit + logs + log_determinant(spread)
