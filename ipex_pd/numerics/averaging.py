"""Drug effects averaged over sub-steps that span many doses: composite quadrature, one piece from dose to dose.

Sub-steps of a disease may be longer than dosing intervals. Each is cut into pieces at its doses; levels follow in
closed form from piece to piece and to the nodes inside, graded towards the dose (tau = s^2.5). The disease sees the
Legendre moments of effects over the whole sub-step. States that filter effects are integrated by the same nodes.

Shapes: S sub-steps of M pieces, L = S M pieces in order of time, N nodes, B rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics.superposition import Kinetics, divided_difference

Array = Any

NODES = 10
"""Of a piece. Means of saturated effects of drugs absorbed at 12 to 100/day with half-lives of 2 to 11 h, over half a
day or a day, err by at most 1.2e-4 (8 nodes at s^2: 8e-4; 12 at s^2.5: 2e-5)."""
_GRADE = 2.5
DEGREE = 3
_s, _w = np.polynomial.legendre.leggauss(NODES)
_s, _w = 0.5 * (_s + 1.0), 0.5 * _w
TIMES = _s**_GRADE
WEIGHTS = _GRADE * _s ** (_GRADE - 1.0) * _w
_TO_DEGREES = (2 * np.arange(DEGREE + 1) + 1)[:, None] * (
    np.polynomial.legendre.legvander(2 * _s - 1, DEGREE) * _w[:, None]
).T
"""[degree, node]: from values at Gauss nodes to Legendre coefficients."""


def _running() -> np.ndarray:
    """[node, node]: from values at the nodes to integrals from the left edge to each node."""
    modes = np.polynomial.legendre.legvander(2 * _s - 1, NODES - 1)
    to_modes = (2 * np.arange(NODES) + 1)[:, None] * (modes * _w[:, None]).T
    rows = [
        (end * _w * _GRADE * (end * _s) ** (_GRADE - 1.0))
        @ np.polynomial.legendre.legvander(2 * end * _s - 1, NODES - 1)
        for end in _s
    ]
    return np.asarray(np.stack(rows) @ to_modes)


RUNNING = _running()


class Taken(NamedTuple):
    """One drug over the pieces.

    Attributes:
        depot, modes: [L, B], [n, L, B] amounts [mg] at the beginning of each piece, after its dose.
        before: [L, B] central amounts [mg] at the beginning, before the dose.
        end: [1 + n, B] amounts at the end of the last piece, depot first.
    """

    depot: Array
    modes: Array
    before: Array
    end: Array


def take(drug: Kinetics, amounts: Array, span: Array, oral: Array, central: Array, rate: Array) -> Taken:
    """Carry a drug through its doses.

    Args:
        drug: its constants.
        amounts: [1 + n, B] at the beginning [mg], depot first.
        span: [L, B] length of each piece [day].
        oral, central: [L, B] doses at the beginning of each piece [mg].
        rate: [L, B] infusion during each piece [mg/day].
    """
    n = drug.rates.shape[0]
    share = jnp.stack([drug.projectors[i, 0, 0] for i in range(n)])
    held = jnp.stack([sum(drug.projectors[i, 0, j] * amounts[1 + j] for j in range(n)) for i in range(n)])
    absorbed = jnp.exp(-drug.absorption * span)
    fading = jnp.exp(-drug.rates[:, None] * span)
    entry = drug.absorption * divided_difference(drug.absorption, drug.rates[:, None], absorbed, fading, span)
    infused = rate * divided_difference(0.0, drug.rates[:, None], 1.0, fading, span)

    def piece(state: tuple[Array, Array], row: tuple[Array, ...]) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        depot, modes = state
        swallowed, given, absorbing, keeping, entering, pouring = row
        full, risen = depot + swallowed, modes + share * given
        after = full * absorbing, risen * keeping + share * (entering * full + pouring)
        return after, (full, risen, jnp.sum(modes, axis=0))

    across = (jnp.moveaxis(v, 0, 1) for v in (fading, entry, infused))
    (depot, modes), kept = jax.lax.scan(piece, (amounts[0], held), (oral, central, absorbed, *across))
    ratio = modes / share
    rows = [sum(drug.projectors[i, k, 0] * ratio[i] for i in range(n)) for k in range(n)]
    return Taken(kept[0], jnp.moveaxis(kept[1], 1, 0), kept[2], jnp.stack([depot, *rows]))


def levels(drug: Kinetics, taken: Taken, span: Array, rate: Array, *, depot: bool, infused: bool) -> Array:
    """Concentrations [mg/L] at the nodes of all pieces, [L, N, B]; arguments as in `take`."""
    time = TIMES[:, None] * span[:, None]
    total = jnp.zeros_like(time)
    absorbed = jnp.exp(-drug.absorption * time) if depot else total
    for i in range(drug.rates.shape[0]):
        share, fading = drug.projectors[i, 0, 0], jnp.exp(-drug.rates[i] * time)
        total = total + taken.modes[i][:, None] * fading
        if depot:
            entering = divided_difference(drug.absorption, drug.rates[i], absorbed, fading, time)
            total = total + share * drug.absorption * taken.depot[:, None] * entering
        if infused:
            total = total + share * rate[:, None] * divided_difference(0.0, drug.rates[i], 1.0, fading, time)
    return total / drug.volume


def at_times(coefficients: Array, times: np.ndarray) -> Array:
    """Values [T, ...] at some parts of a sub-step from Legendre coefficients [degree, ...]."""
    return jnp.tensordot(jnp.asarray(np.polynomial.legendre.legvander(2 * times - 1, DEGREE)), coefficients, axes=1)


def basis(begin: Array, span: Array, length: Array) -> Array:
    """Weights [degree, S, M, N, B] that turn values at nodes into Legendre coefficients over sub-steps.

    Args:
        begin: [S, M, B] of the pieces, from the left edge of the sub-step [day].
        span: [S, M, B] [day].
        length: [S, B] [day].
    """
    safe = jnp.where(length > 0, length, 1.0)[:, None, None]
    place = 2.0 * (begin[:, :, None] + TIMES[:, None] * span[:, :, None]) / safe - 1.0
    weight = WEIGHTS[:, None] * span[:, :, None] / safe
    square = place * place
    shapes = (
        jnp.ones_like(place),
        3.0 * place,
        2.5 * (3.0 * square - 1.0),
        3.5 * place * (5.0 * square - 3.0),
    )
    return jnp.stack([weight * shape for shape in shapes])


def coefficients(weights: Array, values: Array) -> Array:
    """Legendre coefficients [degree, S, B] of values [L, N, B] at the nodes."""
    return jnp.sum(weights * values.reshape(weights.shape[1:]), axis=(2, 3))


def filtered(start: Array, drive: Array, decay: Array | None, span: Array) -> Array:
    """A state ``dy/dt = drive - decay y``: its values [L + 1, B] at the edges of the pieces.

    Args:
        start: [B] value at the left edge of the first piece.
        drive: [L, N, B].
        decay: [B] [1/day], or None for an integral.
        span: [L, B] [day].
    """
    if decay is None:
        steps = span * jnp.einsum("n,lnb->lb", WEIGHTS, drive)
        return jnp.concatenate([start[None], start + jnp.cumsum(steps, axis=0)])
    keeping = jnp.exp(-decay * span)
    left = jnp.exp(-decay * (1.0 - TIMES[:, None]) * span[:, None])
    gains = span * jnp.sum(WEIGHTS[:, None] * left * drive, axis=1)

    def piece(value: Array, row: tuple[Array, Array]) -> tuple[Array, Array]:
        after = value * row[0] + row[1]
        return after, after

    _, after = jax.lax.scan(piece, start, (keeping, gains))
    return jnp.concatenate([start[None], after])


def filter_nodes(edges: Array, drive: Array, decay: Array | None, span: Array) -> Array:
    """Values [L, N, B] of a filter at the nodes, from those at the edges of the pieces; arguments as in `filtered`."""
    start = edges[:-1, None]
    if decay is None:
        return start + span[:, None] * jnp.einsum("mn,lnb->lmb", RUNNING, drive)
    growth = jnp.exp(decay * TIMES[:, None] * span[:, None])
    return (start + span[:, None] * jnp.einsum("mn,lnb->lmb", RUNNING, growth * drive)) / growth


def undriven(start: Array, drive: Array, decay: Array | None, length: Array) -> Array:
    """Values [S + 1, B] at the edges of sub-steps of ``dy/dt = drive - decay y`` with a constant drive, in closed form.

    Args:
        start: [B] value at the left edge of the first sub-step.
        drive: [B].
        decay: [B] [1/day], or None for an integral.
        length: [S, B] [day].
    """
    time = jnp.concatenate([jnp.zeros_like(length[:1]), jnp.cumsum(length, axis=0)])
    return _under(start, drive, decay, time)


def undriven_coefficients(edges: Array, drive: Array, decay: Array | None, length: Array) -> Array:
    """Its Legendre coefficients [degree, S, B] over the sub-steps; arguments as in `undriven`."""
    nodes = _under(edges[:-1, None], drive, decay, _s[:, None] * length[:, None])
    return jnp.einsum("dn,snb->dsb", _TO_DEGREES, nodes)


def _under(start: Array, drive: Array, decay: Array | None, time: Array) -> Array:
    if decay is None:
        return start + drive * time
    fading = jnp.exp(-decay * time)
    return start * fading + drive * divided_difference(0.0, decay, 1.0, fading, time)
