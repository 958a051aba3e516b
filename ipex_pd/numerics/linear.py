"""Linear compartment models between events: amounts after a time t are P x + G u, with P = exp(K t), G its integral
and u the constant inputs. P and G of all slots are computed at once; what is left is a recurrence of small products.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics import superposition
from ipex_pd.numerics.exponential import apply, exponential
from ipex_pd.numerics.structures import Structure

Array = Any
Values = Mapping[str, Array]

_NEAR, _FLAT = 1.0, 0.5
_MEAN = [(-1.0) ** k / math.factorial(k + 1) for k in range(15)]
_RAMP = [(-1.0) ** k / (math.factorial(k) * (k + 2)) for k in range(15)]
_NODES = 0.5 * (np.polynomial.legendre.leggauss(6)[0] + 1.0)
_WEIGHTS = 0.5 * np.polynomial.legendre.leggauss(6)[1]


class Propagator(NamedTuple):
    """exp(K t) and its integral, [S, S, ...] both (no integral where there are no inputs), and production [S, ...]."""

    power: Array
    integral: Array | None
    production: Array | None


def propagator(structure: Structure, values: Values, time: Array, *, inputs: bool) -> Propagator:
    """What advances amounts over times [...] under values, each [...].

    Args:
        structure: linear.
        values: name -> what broadcasts to [...]; rates are worked out in the shape of the values.
        time: not negative.
        inputs: whether there are infusions.
    """
    production = None
    if structure.route == "closed":
        power, integral = _closed(structure, values, time, inputs)
    else:
        matrix, production = rate_matrix(structure, values, _shape(structure, values, time.ndim))
        power, integral = exponential(matrix, time)
    if not structure.affine:
        production = None
    return Propagator(power, integral if inputs or structure.affine else None, production)


def _shape(structure: Structure, values: Values, dimensions: int) -> tuple[int, ...]:
    """The shape that the values share, with leading ones up to a number of dimensions."""
    shape = np.broadcast_shapes(*(np.shape(values[n]) for n in structure.needs))
    return (*[1] * (dimensions - len(shape)), *shape)


def rate_matrix(structure: Structure, values: Values, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """K [S, S, *shape] and the production [S, *shape] of linear rates."""
    size = len(structure.compartments)
    nothing, unit = jnp.zeros((size, *shape)), np.eye(size)
    production = structure.derivative(nothing, jnp.zeros(shape), values)
    columns = [
        structure.derivative(nothing + unit[j].reshape(size, *([1] * len(shape))), jnp.zeros(shape), values)
        - production
        for j in range(size)
    ]
    return jnp.stack(columns, axis=1), production


def _series(terms: Sequence[float], x: Array) -> Array:
    total = jnp.full_like(x, terms[-1])
    for term in reversed(terms[:-1]):
        total = total * x + term
    return total


def difference(a: Array, b: Array, t: Array) -> Array:
    """(exp(-b t) - exp(-a t)) / (a - b), with its derivatives of any order where a = b."""
    return _difference(a, b, t, jnp.exp(-a * t), jnp.exp(-b * t))


def _difference(a: Array, b: Array, t: Array, exp_a: Array, exp_b: Array) -> Array:
    """`difference` where exp(-a t) and exp(-b t) are known."""
    z = (a - b) * t
    near = jnp.abs(z) < _NEAR
    smooth = t * exp_b * _series(_MEAN, jnp.where(near, z, 0.0))
    return jnp.where(near, smooth, (exp_b - exp_a) / jnp.where(near, 1.0, a - b))


def mean_decay(rate: Array, t: Array) -> Array:
    """(1 - exp(-rate t)) / rate, with its derivatives where the rate is 0."""
    y = rate * t
    near = jnp.abs(y) < _FLAT
    safe = jnp.where(near, 1.0, y)
    return t * jnp.where(near, _series(_MEAN, jnp.where(near, y, 0.0)), -jnp.expm1(-safe) / safe)


def _ramp(y: Array) -> Array:
    """(1 - exp(-y) (1 + y)) / y^2."""
    near = jnp.abs(y) < _FLAT
    safe = jnp.where(near, 1.0, y)
    return jnp.where(
        near, _series(_RAMP, jnp.where(near, y, 0.0)), (-jnp.expm1(-safe) - safe * jnp.exp(-safe)) / (safe * safe)
    )


def difference_integral(a: Array, b: Array, t: Array) -> Array:
    """The integral of `difference` from 0 to t."""
    gap = a - b
    near = jnp.abs(gap * t) < _NEAR
    spread = jnp.where(near, gap, 0.0)
    smooth = sum(w * _ramp((b + u * spread) * t) for u, w in zip(_NODES, _WEIGHTS, strict=True))
    direct = (mean_decay(b, t) - mean_decay(a, t)) / jnp.where(near, 1.0, gap)
    return jnp.where(near, t * t * smooth, direct)


def _closed(structure: Structure, values: Values, time: Array, inputs: bool) -> tuple[Array, Array | None]:
    n, depot, shape = structure.disposition, structure.depot, _shape(structure, values, time.ndim)
    flat = {k: jnp.broadcast_to(values[k], shape).reshape(-1) for k in structure.needs}
    for i, suffix in enumerate(("", "_2")[: n - 1], start=1):
        flat[f"intercompartmental_clearance_{i}"] = flat[f"intercompartmental_clearance{suffix}"]
        flat[f"volume_peripheral_{i}"] = flat[f"volume_peripheral{suffix}"]
    drug = superposition.kinetics(flat, n, depot, math.prod(shape))
    drug = superposition.Kinetics(*(part.reshape(*part.shape[:-1], *shape) for part in drug))
    fading = [jnp.exp(-drug.rates[i] * time) for i in range(n)]
    power = _assemble(drug, fading, n)
    integral = _assemble(drug, [mean_decay(drug.rates[i], time) for i in range(n)], n) if inputs else None
    if depot:
        ka = drug.absorption
        stays = jnp.exp(-ka * time)
        entry = [ka * _difference(ka, drug.rates[i], time, stays, fading[i]) for i in range(n)]
        power = _with_depot(drug, power, stays, entry, n)
        if integral is not None:
            entry = [ka * difference_integral(ka, drug.rates[i], time) for i in range(n)]
            integral = _with_depot(drug, integral, mean_decay(ka, time), entry, n)
    return _stack(power), None if integral is None else _stack(integral)


def _assemble(drug: superposition.Kinetics, modes: Sequence[Array], n: int) -> list[list[Array]]:
    return [[sum(modes[i] * drug.projectors[i, a, b] for i in range(n)) for b in range(n)] for a in range(n)]


def _with_depot(
    drug: superposition.Kinetics, block: list[list[Array]], stays: Array, entry: Sequence[Array], n: int
) -> list[list[Array]]:
    column = [sum(drug.projectors[i, a, 0] * entry[i] for i in range(n)) for a in range(n)]
    zero = jnp.zeros_like(stays)
    return [[stays] + [zero] * n] + [[column[a], *block[a]] for a in range(n)]


def _stack(rows: list[list[Array]]) -> Array:
    return jnp.stack([jnp.stack(row) for row in rows])


class Train(NamedTuple):
    """A dose at steady state; vectors [S, ...], times [...].

    Attributes:
        repeated, constant: [...] which pattern, if any.
        bolus: amounts that enter at once.
        rate: infusion rates.
        duration: of each infusion.
        interval: between doses.
        phase: time since the last dose entered, at which amounts are asked for.
    """

    repeated: Array
    constant: Array
    bolus: Array
    rate: Array
    duration: Array
    interval: Array
    phase: Array


def overlapping(train: Train) -> tuple[Array, Array]:
    """How many whole intervals an infusion lasts, and what is left of its duration."""
    whole = jax.lax.stop_gradient(jnp.floor(train.duration / train.interval))
    return whole, train.duration - whole * train.interval


def steady(structure: Structure, values: Values, train: Train, *, inputs: bool, constant: bool) -> Array:
    """Amounts [S, ...] of endless trains of doses (0 where there is none).

    Before a dose x = P(I) (x + b) + G(I) (n r + c) + P(I - d) G(d) r, for interval I, n + 1 infusions running until d
    and n after it.
    """
    shape = train.interval.shape
    whole, rest = overlapping(train)
    both = jnp.minimum(train.phase, rest)
    times = [train.interval, train.phase]
    if inputs:
        times += [rest, train.interval - rest, both, train.phase - both]
    p = propagator(structure, values, jnp.stack(times), inputs=inputs)

    def power(i: int, x: Array) -> Array:
        return apply(p.power[:, :, i], x)

    def integral(i: int, x: Array) -> Array:
        assert p.integral is not None
        return apply(p.integral[:, :, i], x)

    unit = jnp.eye(len(structure.compartments)).reshape(*p.power.shape[:2], *([1] * len(shape)))
    left = jnp.where(train.repeated, unit - p.power[:, :, 0], unit)
    right = power(0, train.bolus)
    always = whole * train.rate if inputs else 0.0
    if p.production is not None:
        always = always + p.production[:, 0]
    if p.integral is not None:
        right = right + integral(0, always)
    if inputs:
        right = right + power(3, integral(2, train.rate))
    before = solve(left, jnp.where(train.repeated, right, 0.0))
    amounts = power(1, before + train.bolus)
    if p.integral is not None:
        amounts = amounts + integral(1, always)
    if inputs:
        amounts = amounts + power(5, integral(4, train.rate))
    amounts = jnp.where(train.repeated, amounts, 0.0)
    if constant:
        matrix, production = rate_matrix(structure, values, shape)
        level = solve(jnp.where(train.constant, -matrix, unit), jnp.where(train.constant, train.rate + production, 0.0))
        amounts = jnp.where(train.constant, level, amounts)
    return amounts


def solve(matrix: Array, vector: Array) -> Array:
    """x [S, ...] with A x = b for A [S, S, ...] and b [S, ...]."""
    a = jnp.moveaxis(matrix, (0, 1), (-2, -1))
    return jnp.moveaxis(jnp.linalg.solve(a, jnp.moveaxis(vector, 0, -1)[..., None])[..., 0], -1, 0)


def walk(start: Array, step: Propagator, keep: Array, jump: Array, inputs: Array | None) -> Array:
    """Amounts [E, S, B] after each of E slots.

    Args:
        start: [S, B].
        step: of all slots, [S, S, E, B].
        keep: [E, B] False where amounts are replaced.
        jump: [S, E, B] amounts added at the end of slots.
        inputs: [S, E, B] constant inputs during slots.
    """
    lead = jnp.moveaxis(step.power, 2, 0)
    added = jnp.moveaxis(jump, 1, 0)
    if step.integral is not None:
        total = step.production if inputs is None else inputs
        if step.production is not None and inputs is not None:
            total = inputs + step.production
        gained = jnp.moveaxis(apply(step.integral, total), 1, 0)
        added = added + jnp.where(keep[:, None], gained, 0.0)

    def advance(x: Array, slot: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        power, stays, more = slot
        after = jnp.where(stays, apply(power, x), 0.0) + more
        return after, after

    return jax.lax.scan(advance, start, (lead, keep, added))[1]
