"""Linear drug kinetics in closed form: amounts in a depot and one to three disposition compartments.

The disposition matrix A has real eigenvalues -l_i, and exp(A t) = sum_i exp(-l_i t) R_i with constant projectors R_i
(Sylvester). Amounts are what is carried, so a change of the constants at a visit conserves mass. Where the absorption
rate meets an eigenvalue, divided differences keep values and gradients finite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError

Array = Any

_NEAR = 0.02
_GAUSS, _WEIGHT = (0.5 * (np.polynomial.legendre.leggauss(6)[0] + 1.0), 0.5 * np.polynomial.legendre.leggauss(6)[1])


class Kinetics(NamedTuple):
    """One drug's constants for each patient.

    Attributes:
        rates: [n, P] eigenvalues l_i [1/day].
        projectors: [n, n, n, P]: mode, row, column.
        absorption: [P] absorption rate [1/day]; zero without a depot.
        volume: [P] central volume [L].
    """

    rates: Array
    projectors: Array
    absorption: Array
    volume: Array


def divided_difference(a: Array, b: Array, exp_a: Array, exp_b: Array, t: Array) -> Array:
    """(exp(-b t) - exp(-a t)) / (a - b), smooth where a = b; ``exp_a`` is exp(-a t), ``exp_b`` exp(-b t)."""
    gap = a - b
    z = gap * t
    near = jnp.abs(z) < _NEAR
    series = t * exp_b * (1 - z / 2 * (1 - z / 3 * (1 - z / 4 * (1 - z / 5 * (1 - z / 6)))))
    return jnp.where(near, series, (exp_b - exp_a) / jnp.where(near, 1.0, gap))


def kinetics(values: Mapping[str, Array], compartments: int, depot: bool, patients: int) -> Kinetics:
    """Constants of a drug from its clearances [L/day], volumes [L] and absorption rate [1/day].

    Raises:
        SimulationError: a name is missing.
    """
    wanted = ["clearance", "volume_central"] + ["absorption_rate"] * depot
    for i in range(1, compartments):
        wanted += [f"intercompartmental_clearance_{i}", f"volume_peripheral_{i}"]
    for name in wanted:
        if name not in values:
            raise SimulationError(
                f"`{name}` is missing in the individual kinetics of a drug", rule=f"This drug needs {', '.join(wanted)}"
            )
    wide = {n: jnp.broadcast_to(jnp.asarray(values[n], float), (patients,)) for n in wanted}
    volume = wide["volume_central"]
    elimination = wide["clearance"] / volume
    out = [wide[f"intercompartmental_clearance_{i}"] / volume for i in range(1, compartments)]
    back = [wide[f"intercompartmental_clearance_{i}"] / wide[f"volume_peripheral_{i}"] for i in range(1, compartments)]
    rates = eigenvalues(elimination, out, back)
    absorption = wide["absorption_rate"] if depot else jnp.zeros(patients)
    return Kinetics(jnp.stack(rates), _projectors(elimination, out, back, rates), absorption, volume)


def eigenvalues(elimination: Array, out: Sequence[Array], back: Sequence[Array]) -> list[Array]:
    """Eigenvalues l_i [1/day] of a mammillary system, fastest first."""
    if not out:
        return [elimination]
    if len(out) == 1:
        total = elimination + out[0] + back[0]
        fast = 0.5 * (total + jnp.sqrt((elimination + out[0] - back[0]) ** 2 + 4 * out[0] * back[0]))
        return [fast, elimination * back[0] / fast]
    a2 = elimination + out[0] + out[1] + back[0] + back[1]
    a1 = elimination * (back[0] + back[1]) + out[0] * back[1] + out[1] * back[0] + back[0] * back[1]
    a0 = elimination * back[0] * back[1]
    return _cubic_roots(a2, a1, a0)


def _cubic_roots(a2: Array, a1: Array, a0: Array) -> list[Array]:
    """Roots of l^3 - a2 l^2 + a1 l - a0, all real and positive, polished by Newton steps."""
    mean = a2 / 3
    spread = jnp.sqrt(mean * mean - a1 / 3)
    skew = (2 * mean**3 - mean * a1 + a0) / (2 * spread**3)
    angle = jnp.arccos(jnp.clip(skew, -1 + 1e-15, 1 - 1e-15)) / 3
    roots = [mean + 2 * spread * jnp.cos(angle - 2 * np.pi * k / 3) for k in (0, 1, 2)]
    for _ in range(2):
        roots = [r - (((r - a2) * r + a1) * r - a0) / ((3 * r - 2 * a2) * r + a1) for r in roots]
    return roots


def _projectors(elimination: Array, out: Sequence[Array], back: Sequence[Array], rates: Sequence[Array]) -> Array:
    n = len(rates)
    zero, one = jnp.zeros_like(elimination), jnp.ones_like(elimination)
    rows = [[zero] * n for _ in range(n)]
    rows[0][0] = -(elimination + sum(out, zero))
    for i, (k_out, k_back) in enumerate(zip(out, back, strict=True), start=1):
        rows[0][i], rows[i][0], rows[i][i] = k_back, k_out, -k_back
    identity = [[one if i == j else zero for j in range(n)] for i in range(n)]
    result = []
    for i in range(n):
        product = identity
        for j in range(n):
            if j != i:
                gap = rates[j] - rates[i]
                factor = [[(rows[a][b] + rates[j] * identity[a][b]) / gap for b in range(n)] for a in range(n)]
                product = [
                    [sum((product[a][c] * factor[c][b] for c in range(n)), zero) for b in range(n)] for a in range(n)
                ]
        result.append(jnp.stack([jnp.stack(row) for row in product]))
    return jnp.stack(result)


def central(drug: Kinetics, amounts: Array, infusion: Array, t: Array, *, depot: bool, infused: bool) -> Array:
    """Amount [mg] in the central compartment a time ``t`` [..., P] after ``amounts`` [1 + n, P], depot first."""
    n = drug.rates.shape[0]
    start = [sum(drug.projectors[i, 0, j] * amounts[1 + j] for j in range(n)) for i in range(n)]
    weight = [drug.projectors[i, 0, 0] for i in range(n)]
    fading = [jnp.exp(-drug.rates[i] * t) for i in range(n)]
    total = sum(start[i] * fading[i] for i in range(n))
    if depot:
        absorbed = jnp.exp(-drug.absorption * t)
        total = total + drug.absorption * amounts[0] * sum(
            weight[i] * divided_difference(drug.absorption, drug.rates[i], absorbed, fading[i], t) for i in range(n)
        )
    if infused:
        total = total + infusion * sum(
            weight[i] * divided_difference(0.0, drug.rates[i], 1.0, fading[i], t) for i in range(n)
        )
    return total


def advance(drug: Kinetics, amounts: Array, infusion: Array, t: Array, *, depot: bool, infused: bool) -> Array:
    """Amounts [1 + n, P] a time ``t`` [P] later."""
    n = drug.rates.shape[0]
    fading = jnp.exp(-drug.rates * t)
    absorbed = jnp.exp(-drug.absorption * t) if depot else jnp.ones_like(t)
    rows = [amounts[0] * absorbed]
    entering = []
    for i in range(n):
        entry = jnp.zeros_like(t)
        if depot:
            entry = entry + drug.absorption * amounts[0] * divided_difference(
                drug.absorption, drug.rates[i], absorbed, fading[i], t
            )
        if infused:
            entry = entry + infusion * divided_difference(0.0, drug.rates[i], 1.0, fading[i], t)
        entering.append(entry)
    for k in range(n):
        rows.append(
            sum(
                fading[i] * sum(drug.projectors[i, k, j] * amounts[1 + j] for j in range(n))
                + drug.projectors[i, k, 0] * entering[i]
                for i in range(n)
            )
        )
    return jnp.stack(rows)


def steady(drug: Kinetics, amount: Array, duration: Array, interval: Array, lag: Array, *, oral: bool) -> Array:
    """Amounts [1 + n, P] left by all earlier doses of an endless series, at the time of the next administration.

    Args:
        drug: its constants.
        amount: [P] dose after bioavailability [mg].
        duration: [P] infusion length [day], 0 for a bolus; not above ``interval``.
        interval: [P] dosing interval [day].
        lag: [P] absorption lag [day], below ``interval``; counts for oral doses.
        oral: depot or central compartment.
    """
    n = drug.rates.shape[0]
    since = interval - lag if oral else interval
    if oral:
        depot = amount * _series(drug.absorption, since, interval)
        reach = [
            drug.absorption * amount * _series_difference(drug.absorption, drug.rates[i], since, interval)
            for i in range(n)
        ]
    else:
        depot = jnp.zeros_like(amount)
        reach = [
            amount * _series(drug.rates[i], since, interval) * _spreading(drug.rates[i], duration) for i in range(n)
        ]
    rows = [sum(drug.projectors[i, k, 0] * reach[i] for i in range(n)) for k in range(n)]
    return jnp.stack([depot, *rows])


def _series(rate: Array, since: Array, interval: Array) -> Array:
    """sum over k >= 0 of exp(-rate (since + k interval))."""
    return jnp.exp(-rate * since) / -jnp.expm1(-rate * interval)


def _series_difference(a: Array, b: Array, since: Array, interval: Array) -> Array:
    """(series(b) - series(a)) / (a - b), smooth where a = b."""
    gap = a - b
    near = jnp.abs(gap * interval) < 0.3
    smooth = jnp.zeros_like(gap)
    for node, weight in zip(_GAUSS, _WEIGHT, strict=True):
        rate = b + node * gap
        tail = jnp.exp(-rate * interval) / -jnp.expm1(-rate * interval)
        smooth = smooth + weight * _series(rate, since, interval) * (since + interval * tail)
    direct = (_series(b, since, interval) - _series(a, since, interval)) / jnp.where(near, 1.0, gap)
    return jnp.where(near, smooth, direct)


def _spreading(rate: Array, duration: Array) -> Array:
    """(exp(rate T) - 1) / (rate T): what an infusion of length T leaves, relative to a bolus at its start."""
    z = rate * duration
    flat = jnp.abs(z) < 1e-5
    safe = jnp.where(flat, 1.0, z)
    return jnp.where(flat, 1.0 + 0.5 * z, jnp.expm1(safe) / safe)


def concentration(
    values: Mapping[str, Array],
    times: Array,
    dose_times: Array,
    amounts: Array,
    *,
    compartments: int,
    oral: bool,
    durations: Array | None = None,
) -> Array:
    """Concentration [mg/L] of a linear drug as the sum over its doses.

    Args:
        values: as `DrugKinetics.individual` returns, each a number or [P]; ``lag`` is optional.
        times: [T] when [day].
        dose_times: [N] or [N, P] [day].
        amounts: [N] or [N, P] reaching the body [mg] (after bioavailability).
        compartments: number of disposition compartments, 1 to 3.
        oral: doses go to the depot; otherwise to the central compartment.
        durations: [N] or [N, P] infusion length [day]; none for boluses.

    Returns:
        [T, P]; at the time of a dose, the value before it.
    """
    patients = max(
        [int(np.size(v)) for v in values.values()]
        + [int(np.shape(a)[1]) for a in (dose_times, amounts) if np.ndim(a) == 2]
    )
    drug = kinetics(values, compartments, oral, patients)
    lag = jnp.asarray(values.get("lag", 0.0)) if oral else 0.0
    start = _wide(dose_times, patients) + lag
    amount, length = (
        _wide(amounts, patients),
        _wide(0.0 * np.zeros(len(start)) if durations is None else durations, patients),
    )
    elapsed = jnp.asarray(times)[:, None, None] - start
    after = jnp.maximum(elapsed, 0.0)
    depot = jnp.zeros((1 + compartments, patients)).at[0 if oral else 1].set(1.0)
    bolus = central(drug, depot, jnp.zeros(patients), after, depot=oral, infused=False)
    if durations is not None:
        nothing = jnp.zeros((1 + compartments, patients))
        lasting = length > 0
        ramp = central(drug, nothing, 1.0, after, depot=False, infused=True) - central(
            drug, nothing, 1.0, jnp.maximum(elapsed - length, 0.0), depot=False, infused=True
        )
        bolus = jnp.where(lasting, ramp / jnp.where(lasting, length, 1.0), bolus)
    return jnp.sum(jnp.where(elapsed > 0, amount * bolus, 0.0), axis=1) / drug.volume


def _wide(values: Array, patients: int) -> Array:
    array = jnp.asarray(values, float)
    return jnp.broadcast_to(array[:, None] if array.ndim == 1 else array, (array.shape[0], patients))
