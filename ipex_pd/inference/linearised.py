"""The Fisher information of subjects to first order in their random effects.

With m and R the mean and residual (co)variance at eta = 0, A = dm/deta and V = A Omega A' + R, for parameters i and j

    full:     m_i' V^-1 m_j + tr(V^-1 V_i V^-1 V_j)/2
    blocks:   the same, but 0 between typical values and the other kind (variances and residual values)
    reduced:  besides, only m_i' V^-1 m_j between typical values, and only the trace within the other kind

F. Mentre, A. Mallet, D. Baccar, Biometrika 84 (1997) 429; the reduced matrix is that of NONMEM's $DESIGN.
"""

from __future__ import annotations

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from ipex_pd.inference.conditional import Reading, Values, along, predictions
from ipex_pd.inference.group import Group
from ipex_pd.inference.likelihood import rows_of
from ipex_pd.inference.objectives import values_of
from ipex_pd.inference.population import Layout

Array = Any
Kind = Literal["reduced", "blocks", "full"]

_READING = Reading(interaction=True, censoring="none")


def residual_factor(group: Group, values: Values, z: Array) -> tuple[Array, Array]:
    """Mean [B, N] and a matrix F [B, N, N] with residual covariance F F', at z; 0 and the identity in padding."""
    said = predictions(group, values, z, _READING)
    rows = rows_of(group, said)
    usual = group.mask & ~group.direct
    size = group.y.shape[1]
    scaled = jnp.sqrt(rows.variance)[:, :, None] * jnp.eye(size)
    if group.correlated:
        place = jnp.maximum(group.partner, 0)
        follow = rows.weight[:, :, None] * jax.nn.one_hot(place, size)
        scaled = jnp.linalg.solve(jnp.eye(size) - follow, scaled)
    return jnp.where(usual, said.mean, 0.0), scaled


def _moments(group: Group, values: Values) -> tuple[Array, Array]:
    """m [B, N] and V [B, N, N]."""
    still = jnp.zeros(group.eta_mask.shape)
    (mean, factor), (slopes, _) = along(lambda z: residual_factor(group, values, z), still)
    return mean, slopes @ jnp.swapaxes(slopes, 1, 2) + factor @ jnp.swapaxes(factor, 1, 2)


@functools.partial(jax.jit, static_argnames=("layout", "kind"))
def linearised_information(
    group: Group, w: Array, basis: Array, typical: Array, *, layout: Layout, kind: Kind
) -> Array:
    """The information [B, m, m] of every subject about directions of the search vector.

    Args:
        group: subjects; what was observed is not looked at.
        w: [n] search vector.
        basis: [m, n] directions.
        typical: [m] whether a direction moves a typical value (and not a variance or a residual value).
        layout: of the search vector.
        kind: of the table above.
    """
    wide = jnp.broadcast_to(w, (group.y.shape[0], w.shape[0]))

    def moments(x: Array) -> tuple[Array, Array]:
        return _moments(group, values_of(layout, x))

    def one(direction: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        pair: tuple[Any, Any] = jax.jvp(moments, (wide,), (jnp.broadcast_to(direction, wide.shape),))
        return pair

    (_, variance), (by_mean, by_variance) = jax.vmap(one, out_axes=((None, None), (0, 0)))(basis)
    factor = jnp.linalg.cholesky(variance)

    def left(matrix: Array) -> Array:
        return jax.lax.linalg.triangular_solve(factor, matrix, left_side=True, lower=True)

    whitened = left(jnp.moveaxis(by_mean, 0, -1))
    turned = jax.vmap(lambda v: left(jnp.swapaxes(left(v), 1, 2)))(by_variance)
    first = jnp.einsum("bni,bnj->bij", whitened, whitened)
    second = 0.5 * jnp.einsum("ibnk,jbnk->bij", turned, turned)
    if kind == "full":
        return first + second
    same, both = typical[:, None] == typical[None, :], typical[:, None] & typical[None, :]
    if kind == "blocks":
        return jnp.where(same, first + second, 0.0)
    return jnp.where(both, first, jnp.where(same, second, 0.0))


@functools.partial(jax.jit, static_argnames=("layout",))
def simulated(group: Group, w: Array, key: Array, *, layout: Layout) -> tuple[Array, Array]:
    """Observations [B, N] on the fitted scale and the random effects [B, q] in z that they came from."""
    values = values_of(layout, jnp.broadcast_to(w, (group.y.shape[0], w.shape[0])))
    first, second = jax.random.split(key)
    z = jnp.where(group.eta_mask, jax.random.normal(first, group.eta_mask.shape), 0.0)
    mean, factor = residual_factor(group, values, z)
    noise = jax.random.normal(second, group.y.shape)
    y = mean + jnp.einsum("bnk,bk->bn", factor, noise)
    return jnp.where(group.mask, y, group.y), z
