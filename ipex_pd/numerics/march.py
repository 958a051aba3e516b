"""The disease on sub-steps that are data and may span many doses: any choice of children marches through one program.

The mesh of `ipex_pd.numerics.mesh` has a sub-step for every dose. A fit needs a thousandth, which the disease gives
with sub-steps of two days once drug effects are averaged over the doses inside (`ipex_pd.numerics.averaging`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics import averaging, program, superposition
from ipex_pd.numerics.integrate import potencies
from ipex_pd.numerics.march_plan import Blocks, Doses, Family, families_of, infused_orders, plan_blocks, require_plain
from ipex_pd.numerics.march_steps import EPSILON
from ipex_pd.numerics.mesh import Grading
from ipex_pd.numerics.reduction import Dormant, Reduced, dormant_states, reduce
from ipex_pd.numerics.rows import rows_of
from ipex_pd.numerics.schedule import Order, Schedule, System, check_schedule
from ipex_pd.numerics.solve import unaffected
from ipex_pd.numerics.stepping import EIGHTH, Method
from ipex_pd.numerics.superposition import Kinetics

Array = Any
Values = Mapping[str, Array]


@dataclass(frozen=True)
class Course:
    """What a march is specialised to; equal ones are one program.

    Attributes:
        system: disease, drugs, body.
        orders: what doses give.
        families: drugs that share effects.
        transplants: whether there are any.
        dormant: states that stand still.
        method: how a sub-step is taken.
    """

    system: System
    orders: tuple[Order, ...]
    families: tuple[Family, ...]
    transplants: bool
    dormant: Dormant
    method: Method = EIGHTH


class March(NamedTuple):
    """Sub-steps as data.

    Attributes:
        course: the program's static part.
        slots: what happens, children first.
        days: [P, V] days at which each child's states are read.
        places: [P, V] steps at which those days begin.
    """

    course: Course
    slots: Blocks
    days: np.ndarray
    places: np.ndarray

    def at(self, days: np.ndarray) -> np.ndarray:
        """Steps at which some days [P, V] of the plan begin."""
        order = np.argsort(self.days, axis=1, kind="stable")
        ordered, where = (np.take_along_axis(v, order, 1) for v in (self.days, self.places))
        found = [np.searchsorted(own, some - EPSILON) for own, some in zip(ordered, days, strict=True)]
        return np.take_along_axis(where, np.stack(found), 1)


def plan_march(
    system: System, schedule: Schedule, theta: Values, *, age: Array, x: Array, days: Array, grading: Grading
) -> March:
    """Decide the sub-steps and lay out the events of children from day 0 to the last of some days.

    Args:
        system: disease, drugs, body.
        schedule: concrete, without titrations.
        theta: name -> [P], the values at which lags are taken.
        age: at day 0 [day], [P].
        x: [S, P] states at day 0.
        days: [P, V] days at which each child's states will be read, or the same flattened.
        grading: lengths of the sub-steps, of which the longest also bounds the pieces of the quadrature.

    Raises:
        SimulationError: a schedule that does not fit the system, or holds what a history cannot.
    """
    check_schedule(schedule, system)
    require_plain(system, schedule.rows(len(age)))
    rows = schedule.rows(len(age))
    own = np.reshape(np.asarray(days, float), (len(age), -1))
    lags = np.asarray(program.lags_of(system, rows, theta, jnp.asarray(age), jnp.asarray(x)))
    transplants = bool((np.asarray(rows.transplant_times) < own.max(axis=1)).any())
    dormant = dormant_in_march(system, transplants, theta, x)
    families = families_of(system, rows.orders, infused_orders(rows), dormant, {n: v[0] for n, v in theta.items()})
    names = system.model.events["transplant"] if transplants else ()
    laid = plan_blocks(families, rows, lags, own, grading, names)
    course = Course(system, rows.orders, families, transplants, dormant)
    return March(course, laid.blocks, laid.days, laid.places)


def dormant_in_march(system: System, transplants: bool, theta: Values, x: Array) -> Dormant:
    """What stands still from states [S, P] on."""
    absent = unaffected(system, theta)
    return Dormant(absent=absent) if transplants else dormant_states(system.model, absent, theta, np.asarray(x))


class Carry(NamedTuple):
    """What goes from block to block, children last.

    Attributes:
        x: [S, B] states.
        amounts: of each drug, [1 + n, B] [mg], depot first.
        daily: [O, B] daily dose of each order [mg].
        rate: [O, B] its running infusion [mg/day].
        covariates: name -> [B], of the last visit.
    """

    x: Array
    amounts: tuple[Array, ...]
    daily: Array
    rate: Array
    covariates: dict[str, Array]


def march(course: Course, slots: Blocks, places: Array, theta: Values, *, age: Array, x: Array) -> tuple[Array, Array]:
    """States [V, S, B] and central concentrations [V, D, B] [mg/L] of each child at steps of his own.

    Args:
        course: of the plan.
        slots: of the plan, or some rows of it.
        places: [B, V] steps at which a child's values are read, before what happens there.
        theta: name -> [B]; traced.
        age: [B] at day 0 [day].
        x: [S, B] states at day 0; traced.
    """
    blocks = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), slots)
    begin = beginning(course, theta, age=age, x=x)
    _, history = jax.lax.scan(jax.checkpoint(partial(_block, course, theta, age)), begin, blocks)
    return _read(history, places)


def beginning(course: Course, theta: Values, *, age: Array, x: Array) -> Carry:
    """What a march begins with on day 0: no drug anywhere."""
    children, orders = x.shape[1], len(course.orders)
    return Carry(
        x=x,
        amounts=tuple(jnp.zeros((1 + d.compartments, children)) for d in course.system.drugs),
        daily=jnp.zeros((orders, children)),
        rate=jnp.zeros((orders, children)),
        covariates=_covariates(course.system, theta, age, x),
    )


class Kept(NamedTuple):
    """What `march_on` leaves of W days: central concentrations [W, D, B] [mg/L] and a Carry of [W, ...]."""

    levels: Array
    carried: Carry


def march_on(
    course: Course, slots: Blocks, kept: Array, count: Array, theta: Values, *, age: Array, begin: Carry
) -> Kept:
    """March on from what was carried to a day; values are read where blocks begin, before what happens there.

    Args:
        course: what the program is specialised to.
        slots: of `plan_branches`, one row: all children share their times and amounts.
        kept: [W] blocks that days open, ascending; of equal ones the first is filled.
        count: blocks to be taken; the others only fill up.
        theta: name -> [B].
        age: [B] at day 0 [day].
        begin: at the start.
    """
    children = begin.x.shape[1]
    days = kept.shape[0]
    some = jax.tree.map(lambda leaf: leaf[0], slots)
    blank = (jnp.zeros((days, len(course.system.drugs), children)), begin)
    found = Kept(blank[0], jax.tree.map(lambda leaf: jnp.zeros((days, *leaf.shape)), begin))

    def taken(state: tuple[Array, Carry, Kept]) -> tuple[Array, Carry, Kept]:
        k, carry, sofar = state
        own = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[k][..., None], (*leaf.shape[1:], children)), some)
        after, (_, levels) = _block(course, theta, age, carry, own)
        place = jnp.minimum(jnp.sum(kept < k), days - 1)
        here = kept[place] == k

        def keep(old: Array, new: Array) -> Array:
            row = jnp.where(here, new, jax.lax.dynamic_index_in_dim(old, place, keepdims=False))
            return jax.lax.dynamic_update_index_in_dim(old, row, place, 0)

        left = Kept(keep(sofar.levels, levels[0]), jax.tree.map(keep, sofar.carried, carry))
        return k + 1, after, left

    ended: tuple[Array, Carry, Kept] = jax.lax.while_loop(
        lambda state: state[0] < count, taken, (jnp.zeros((), int), begin, found)
    )
    return ended[2]


def _read(history: tuple[Array, Array], places: Array) -> tuple[Array, Array]:
    """[V, S, B] and [V, D, B] at steps [B, V]."""
    people = jnp.arange(places.shape[0])[:, None]
    states, levels = (
        leaf.reshape(leaf.shape[0] * leaf.shape[1], *leaf.shape[2:])[places, :, people] for leaf in history
    )
    return jnp.moveaxis(states, 0, -1), jnp.moveaxis(levels, 0, -1)


def _covariates(system: System, theta: Values, age: Array, x: Array) -> dict[str, Array]:
    body = system.body(age, dict(zip(system.model.states, x, strict=True)), theta)
    return {name: jnp.broadcast_to(jnp.asarray(v, float), age.shape) for name, v in body.items()}


def _block(course: Course, theta: Values, age: Array, carry: Carry, some: Blocks) -> tuple[Carry, tuple[Array, Array]]:
    """Visit and transplant, then drugs and effects of all sub-steps at once, then the disease step by step."""
    system = course.system
    now = age + some.time
    renewed = _covariates(system, theta, now[0], carry.x)
    covariates = {n: jnp.where(some.visit, renewed[n], old) for n, old in carry.covariates.items()}
    x = carry.x
    if course.transplants:
        x = jnp.where(some.graft, system.model.apply("transplant", x, theta, some.event), x)
    reduced = reduce(system.model, course.dormant)
    given = _Given(course, theta, covariates, carry, reduced, x, some.length)
    for family, doses in zip(course.families, some.doses, strict=True):
        given.take(family, doses)
    rows = given.march(now)
    after = Carry(rows[-1], tuple(given.amounts), given.daily, given.rate, covariates)
    before = jnp.concatenate([carry.x[None], rows[1:-1]])
    return after, (before, given.concentrations())


class _Given:
    """One block under construction: families of drugs one after the other, then the disease."""

    def __init__(
        self,
        course: Course,
        theta: Values,
        covariates: dict[str, Array],
        carry: Carry,
        reduced: Reduced,
        x: Array,
        length: Array,
    ) -> None:
        self.course, self.theta, self.covariates, self.carry = course, theta, covariates, carry
        self.reduced, self.x, self.length = reduced, x, length
        self.amounts, self.daily, self.rate = list(carry.amounts), carry.daily, carry.rate
        self.central: dict[int, Array] = {}
        self.inputs: dict[int, Array] = {}
        self.filters: dict[int, tuple[Array, Array | None]] = {}

    def take(self, family: Family, doses: Doses) -> None:
        """Drugs, effects and filters of one family over all sub-steps."""
        if not family.drugs:
            self._undriven(family)
            return
        steps, room = doses.begin.shape[:2]
        doses = jax.tree.map(lambda v: v.reshape(steps * room, *v.shape[2:]), doses)
        shape = (*doses.span.shape[:1], averaging.NODES, *doses.span.shape[1:])
        levels = self._levels(family, doses, steps)
        model = self.course.system.model
        potent = potencies(self.course.system, self.theta, levels)
        affected = model.affected(potent, self.theta, model.prepare_effects(self.theta))
        effects = [jnp.broadcast_to(v, shape) if i in family.effects else jnp.zeros(()) for i, v in enumerate(affected)]
        pieces = (steps, room, doses.span.shape[1])
        weights = averaging.basis(doses.begin.reshape(pieces), doses.span.reshape(pieces), self.length)
        for i in family.effects:
            if i in self.reduced.inputs:
                self.inputs[i] = averaging.coefficients(weights, effects[i])
        linear = self.reduced.linear(effects, self.theta)
        for j in family.filters:
            about, (drive, decay) = self.reduced.filters[j], linear[j]
            known = (jnp.broadcast_to(drive, shape), decay if about.decays else None, doses.span)
            edges = averaging.filtered(self.x[about.state], *known)
            seen = averaging.coefficients(weights, averaging.filter_nodes(edges, *known)) if about.used else None
            self.filters[j] = (edges[::room], seen)

    def _undriven(self, family: Family) -> None:
        """Effects and filters on which no drug acts: constant, and in closed form."""
        model, children = self.course.system.model, self.x.shape[1:]
        none = potencies(self.course.system, self.theta, [jnp.zeros(())] * len(self.course.system.drugs))
        effects = model.affected(none, self.theta, model.prepare_effects(self.theta))
        wide = [jnp.broadcast_to(v, children) for v in effects]
        for i in family.effects:
            if i in self.reduced.inputs:
                flat = jnp.broadcast_to(wide[i], self.length.shape)
                rest = jnp.zeros((averaging.DEGREE, *flat.shape))
                self.inputs[i] = jnp.concatenate([flat[None], rest])
        linear = self.reduced.linear(wide, self.theta)
        for j in family.filters:
            about, (drive, decay) = self.reduced.filters[j], linear[j]
            known = (jnp.broadcast_to(drive, children), decay if about.decays else None, self.length)
            edges = averaging.undriven(self.x[about.state], *known)
            self.filters[j] = (edges, averaging.undriven_coefficients(edges, *known) if about.used else None)

    def _levels(self, family: Family, doses: Doses, steps: int) -> list[Array]:
        """Concentrations [L, N, B] [mg/L] of every drug, zero outside the family."""
        system = self.course.system
        levels: list[Array] = [jnp.zeros(())] * len(system.drugs)
        if not family.drugs:
            return levels
        swallowed, injected, rates = self._administer(family, doses)
        for d in family.drugs:
            drug, about = self._kinetics(d), system.drugs[d]
            infused = any(system.drug(self.course.orders[o].drug) == d for o in family.infused)
            taken = averaging.take(drug, self.carry.amounts[d], doses.span, swallowed[d], injected[d], rates[d])
            levels[d] = averaging.levels(drug, taken, doses.span, rates[d], depot=about.depot, infused=infused)
            self.amounts[d] = taken.end
            self.central[d] = taken.before.reshape(steps, -1, taken.before.shape[1])[:, 0] / drug.volume
        return levels

    def _kinetics(self, d: int) -> Kinetics:
        drug = self.course.system.drugs[d]
        values = drug.individual(self.theta, self.covariates)
        return superposition.kinetics(values, drug.compartments, drug.depot, self.length.shape[1])

    def _administer(self, family: Family, doses: Doses) -> tuple[dict[int, Array], dict[int, Array], dict[int, Array]]:
        """By drug, [L, B]: doses to the depot and to the centre [mg], infusions [mg/day]."""
        system, zero = self.course.system, jnp.zeros_like(doses.span)
        swallowed, injected, rates = ({d: zero for d in family.drugs} for _ in range(3))
        totals = self._totals(doses)
        for k, o in enumerate(family.orders):
            order = self.course.orders[o]
            d, mg = system.drug(order.drug), self._prescribed(order, doses.amount[:, k])
            if order.route == "oral":
                fraction = system.drugs[d].bioavailability(self.theta, self.covariates, mg, totals)
                swallowed[d] = swallowed[d] + mg * fraction
            elif o not in family.infused:
                injected[d] = injected[d] + mg
            else:
                i = family.infused.index(o)
                hours, flowing = doses.hours[:, i], self._prescribed(order, doses.flowing[:, i])
                rate = jnp.where(hours > 0, flowing / jnp.where(hours > 0, hours, 1.0), 0.0)
                rate = jnp.where(hours < 0, self.carry.rate[o], rate)
                self.rate = self.rate.at[o].set(rate[-1])
                rates[d] = rates[d] + rate
                injected[d] = injected[d] + jnp.where(hours == 0, mg, 0.0)
        return swallowed, injected, rates

    def _totals(self, doses: Doses) -> dict[str, Array]:
        """Daily dose of each drug during each piece [mg], [L, B]."""
        totals: dict[str, Array] = {}
        for o, order in enumerate(self.course.orders):
            often = doses.often[:, o]
            daily = jnp.where(often < 0, self.carry.daily[o], often * self._prescribed(order, doses.current[:, o]))
            self.daily = self.daily.at[o].set(daily[-1])
            totals[order.drug] = totals[order.drug] + daily if order.drug in totals else daily
        return totals

    def _prescribed(self, order: Order, amount: Array) -> Array:
        size = {"mg/kg": "weight", "mg/m2": "bsa"}.get(order.basis)
        mg = amount if size is None else amount * self.covariates[size]
        return mg if order.maximum is None else jnp.minimum(mg, order.maximum)

    def concentrations(self) -> Array:
        """Central concentrations [S, D, B] [mg/L] at the left edges of sub-steps, before doses."""
        drugs = range(len(self.course.system.drugs))
        empty = jnp.zeros((self.length.shape[0], 0, self.length.shape[1]))
        return jnp.stack([self.central[d] for d in drugs], axis=1) if self.central else empty

    def march(self, now: Array) -> Array:
        """States [S + 1, states, B] at the edges of the sub-steps; ``now`` [S, B] ages at the left ones [day]."""
        reduced, steps = self.reduced, self.length.shape[0]
        used = [self.filters[j][1] for j, f in enumerate(reduced.filters) if f.used]
        seen = [*(self.inputs[i] for i in reduced.inputs), *used]
        edges = {f.state: self.filters[j][0] for j, f in enumerate(reduced.filters)}
        course = self._moved(now, seen)
        still = [jnp.broadcast_to(row, (steps + 1, *row.shape)) for row in self.x]
        for k, i in enumerate(reduced.moving):
            still[i] = course[:, k]
        return jnp.stack([edges.get(i, row) for i, row in enumerate(still)], axis=1)

    def _moved(self, now: Array, seen: Sequence[Array]) -> Array:
        """Moving states [S + 1, M, B]."""
        reduced, shape = self.reduced, self.length.shape
        table = jnp.stack(seen, axis=2) if seen else jnp.zeros((averaging.DEGREE + 1, shape[0], 0, shape[1]))
        method = self.course.method
        at_stages = averaging.at_times(table, method.times)
        constants = reduced.prepare(self.theta, self.x)

        def slope(age: Array, moving: Array, u: Array) -> Array:
            return reduced.rates(age, rows_of(moving), rows_of(u), self.theta, constants)

        def step(moving: Array, row: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            age, length, inputs = row
            after = method.step(slope, moving, inputs, age, length)
            return after, moving

        start = self.x[np.array(reduced.moving, int)]
        last, course = jax.lax.scan(step, start, (now, self.length, jnp.moveaxis(at_stages, 1, 0)))
        return jnp.concatenate([course, last[None]])


def observe(system: System, theta: Values, ages: Array, x: Array, levels: Array) -> dict[str, Array]:
    """Every quantity by name, [V, B]: states, outputs, covariates and reported concentrations.

    Args:
        system: disease, drugs, body.
        theta: name -> [B].
        ages: [V, B] [day].
        x: [V, S, B].
        levels: [V, D, B] central concentrations [mg/L].
    """

    def one(age: Array, state: Array, level: Array) -> dict[str, Array]:
        named = dict(zip(system.model.states, state, strict=True))
        covariates = system.body(age, named, theta)
        wide = {name: jnp.broadcast_to(jnp.asarray(v, float), age.shape) for name, v in covariates.items()}
        found = {**named, **wide}
        for i, drug in enumerate(system.drugs):
            found.update(drug.concentrations(theta, wide, level[i]))
        affected = system.model.affected(potencies(system, theta, list(level)), theta)
        effects = jnp.stack([jnp.broadcast_to(jnp.asarray(v, float), age.shape) for v in affected])
        found.update(system.model.observe(age, state, effects, theta, wide))
        return {name: jnp.broadcast_to(jnp.asarray(v, float), age.shape) for name, v in found.items()}

    seen: dict[str, Array] = jax.vmap(one)(ages, x, levels)
    return seen
