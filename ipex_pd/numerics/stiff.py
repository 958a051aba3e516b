"""The general solver: disease and drug compartments together, exact stops at events. The only door to diffrax.

It serves drugs with nonlinear elimination, stiff models, patients that the mesh cannot bring to its tolerance, and
tests as an independent answer. Patients are solved one at a time, so that each chooses its own steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import diffrax
import jax
import jax.numpy as jnp

from ipex_pd.numerics import integrate
from ipex_pd.numerics.integrate import Advance, Carry, Layout, Record, Slots
from ipex_pd.numerics.mesh import Grading
from ipex_pd.numerics.schedule import DrugKinetics
from ipex_pd.numerics.superposition import Kinetics

Array = Any
Values = dict[str, Array]

WHOLE = Grading(first=1e4, growth=1.0, longest=2e4)
"""A mesh of one step from event to event."""

_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Method:
    """Which method, and its relative tolerance per step."""

    implicit: bool
    tolerance: float

    @property
    def name(self) -> str:
        """Its usual name."""
        return "Kvaerno5" if self.implicit else "Dopri8"


@partial(jax.jit, static_argnums=(0, 1))
def _general(
    layout: Layout,
    implicit: bool,
    tolerance: Array,
    theta: Values,
    age: Array,
    table: Array,
    carry: Carry,
    slots: Slots,
) -> tuple[Carry, Record]:
    advance = general_advance(layout, implicit, tolerance, theta)
    step = partial(integrate.sub_step, layout, theta, age, table, advance)
    ended: tuple[Carry, Record] = jax.lax.scan(step, carry, slots)
    return ended


def runner(method: Method) -> Any:
    """A loop for `program.march` that advances by this method."""

    def run(
        layout: Layout, theta: Values, age: Array, table: Array, carry: Carry, slots: Slots
    ) -> tuple[Carry, Record]:
        ended: tuple[Carry, Record] = _general(
            layout, method.implicit, method.tolerance, theta, age, table, carry, slots
        )
        return ended

    return run


def general_advance(layout: Layout, implicit: bool, tolerance: Array, theta: Mapping[str, Array]) -> Advance:
    """Advance one interval between events adaptively (time scaled to 0..1, states to their size)."""
    system = layout.system
    constants, effects = system.model.prepare_rates(theta), system.model.prepare_effects(theta)
    solver = diffrax.Kvaerno5() if implicit else diffrax.Dopri8()
    controller = diffrax.PIDController(rtol=tolerance, atol=1e-2 * tolerance)

    def advance(carry: Carry, now: Array, length: Array) -> tuple[Array, tuple[Array, ...], Array]:
        start = (carry.x, carry.amounts, carry.auc)
        sizes = _sizes(carry)

        def slope(fraction: Array, scaled: Any, args: Any) -> Any:
            del args
            x, amounts, _ = jax.tree.map(jnp.multiply, scaled, sizes)
            parts = [
                _flow(d, k, a, r, theta, carry.covariates)
                for d, k, a, r in zip(system.drugs, carry.kinetics, amounts, carry.infusion, strict=True)
            ]
            levels = [a[1] / k.volume for a, k in zip(amounts, carry.kinetics, strict=True)]
            u = system.model.affected(integrate.potencies(system, theta, levels), theta, effects)
            rates = system.model.rates(now + fraction * length, x, u, theta, constants)
            disease = jnp.stack([jnp.broadcast_to(r, length.shape) for r in rates])
            measured = [
                next(iter(d.concentrations(theta, carry.covariates, c).values()))
                for d, c in zip(system.drugs, levels, strict=True)
            ]
            area = jnp.stack(measured) if measured else carry.auc
            return jax.tree.map(
                lambda v, size: jnp.where(carry.alive, v * length / size, 0.0), (disease, tuple(parts), area), sizes
            )

        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            solver,
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=jax.tree.map(jnp.divide, start, sizes),
            stepsize_controller=controller,
            max_steps=_MOST_STEPS,
            throw=False,
        )
        good = solution.result == diffrax.RESULTS.successful
        ended = jax.tree.map(lambda v, size: jnp.where(good, v[-1] * size, jnp.nan), solution.ys, sizes)
        return ended[0], ended[1], ended[2]

    return advance


def _sizes(carry: Carry) -> tuple[Array, tuple[Array, ...], Array]:
    drug = tuple(
        jnp.broadcast_to(jnp.sum(jnp.abs(a), axis=0) + jnp.abs(r) + 1e-6, a.shape)
        for a, r in zip(carry.amounts, carry.infusion, strict=True)
    )
    area = jnp.maximum(jnp.abs(carry.auc), 1e-3)
    return jnp.maximum(jnp.abs(carry.x), 1e-3), drug, area


def _flow(
    drug: DrugKinetics,
    constants: Kinetics,
    amounts: Array,
    infusion: Array,
    theta: Mapping[str, Array],
    covariates: Values,
) -> Array:
    """d(amounts)/dt [mg/day]: the linear part from the projectors, absorption, infusion, nonlinear elimination."""
    n = drug.compartments
    matrix = -jnp.sum(constants.rates[:, None, None] * constants.projectors, axis=0)
    rows = [sum(matrix[k, j] * amounts[1 + j] for j in range(n)) for k in range(n)]
    absorbed = constants.absorption * amounts[0]
    rows[0] = rows[0] + absorbed + infusion
    if drug.nonlinear is not None:
        rows[0] = rows[0] - drug.nonlinear(theta, covariates, amounts[1] / constants.volume)
    return jnp.stack([-absorbed, *rows])
