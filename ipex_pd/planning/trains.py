"""One order of a linear drug as a train of doses in many members: troughs without the disease.

Levels are linear in the doses. Over one dosing interval the amounts s (depot, then compartments) go to

```
s' = A s + u d,     trough = r s'[central]
```

with d the dose by its multiple of the ordered one, and A, u, r of the member's own kinetics, renewed every 28 days of
age and weight as in the solver. Weight follows the child's z-scores, which are given (at day 0, or at every visit): the
disease is not solved. `simulate` audits the difference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, UsageError, nearest_hint
from ipex_pd.numerics import superposition
from ipex_pd.numerics.body import body
from ipex_pd.numerics.drugs import bind_drug
from ipex_pd.numerics.events import VISIT_INTERVAL
from ipex_pd.numerics.schedule import DrugKinetics
from ipex_pd.planning.evidence import Floats
from ipex_pd.records.drugs import Drug, Linear
from ipex_pd.records.library import load_drug
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.relations import DosePower
from ipex_pd.records.schedule import Administration, Order
from ipex_pd.units import factor

SIZES = ("weight_z", "height_z", "gut_injury")
"""States of the disease that drug kinetics meet through the body."""
_TINY = 1e-9


@dataclass(frozen=True, eq=False)
class Aim:
    """A trough target in the unit of the measured concentration; limits are multiples of the ordered dose.

    Attributes:
        low, high, target: of the trough.
        smallest, largest: limits of the multiple.
        step: the most by which one adjustment multiplies or divides the dose.
        samples: [J] number of the dose before which each sample is drawn.
    """

    low: float
    high: float
    target: float
    smallest: float
    largest: float
    step: float
    samples: np.ndarray

    def adjusted(self, multiple: Floats, trough: Floats) -> Floats:
        """The multiple after a sample, by the rule of trough targets in `simulate`."""
        outside = (trough > 0) & ((trough < self.low) | (trough > self.high))
        change = np.clip(self.target / np.where(outside, trough, self.target), 1.0 / self.step, self.step)
        return np.where(outside, np.clip(multiple * change, self.smallest, self.largest), multiple)


@dataclass(frozen=True, eq=False)
class Train:
    """Doses of one order in M members.

    Attributes:
        drug: name of the drug; the unit of its measured concentration is `unit`.
        order: as the regimen has it.
        unit: of troughs.
        times: [N] days of the doses; trough n is drawn just before dose n, and trough N when the next would be due.
        given: [N, M] dose [mg] at multiple 1.
        reach: [N, M] what of it reaches the body [mg].
        segment: [N] interval between visits in which each dose lies.
        advance: [K, S, S, M] amounts over one dosing interval.
        enter: [K, S, M] amounts at its end from 1 mg at its beginning.
        read: [K, M] central amount [mg] -> measured concentration.
        aim: the trough target.
        kinetics: what the constants were made of, for members that are moved (`moved`).
    """

    drug: str
    order: Order
    unit: str
    times: Floats
    given: Floats
    reach: Floats
    segment: np.ndarray
    advance: Floats
    enter: Floats
    read: Floats
    aim: Aim
    kinetics: _Kinetics

    @property
    def members(self) -> int:
        """How many."""
        return int(self.given.shape[1])

    @property
    def doses(self) -> int:
        """How many."""
        return len(self.times)

    def begin(self) -> Floats:
        """Amounts [S, M] before the first dose: none."""
        return np.zeros((self.advance.shape[1], self.members))

    def run(self, state: Floats, first: int, last: int, multiple: Floats) -> tuple[Floats, Floats]:
        """Amounts [S, M] before dose `last`, and the troughs [last - first, M] at the ends of the intervals between.

        Args:
            state: [S, M] before dose `first`.
            first, last: numbers of doses.
            multiple: [M] or [last - first, M] multiples of the ordered doses given in between.
        """
        wide = np.broadcast_to(multiple, (last - first, self.members))
        troughs = np.empty((last - first, self.members))
        for n in range(first, last):
            k = self.segment[n]
            state = np.einsum("ijm,jm->im", self.advance[k], state) + self.enter[k] * (self.reach[n] * wide[n - first])
            troughs[n - first] = self.read[k] * state[1]
        return state, troughs

    def response(self, state: Floats, first: int, last: int) -> tuple[Floats, Floats]:
        """Troughs [T, M] with no dose and those of multiple 1 from nothing: troughs are `base + multiple * own`."""
        zero = np.zeros(self.members)
        _, base = self.run(state, first, last, zero)
        _, own = self.run(np.zeros_like(state), first, last, zero + 1.0)
        return base, own

    def followed(self, measured: Callable[[int, Floats], Floats] | None = None) -> tuple[Floats, Floats]:
        """Multiples [N, M] when doses follow the troughs, and all troughs [N, M].

        Args:
            measured: (number of the sample, true troughs [M]) -> measured ones; the true ones when None.
        """
        state, multiple = self.begin(), np.ones(self.members)
        multiples, troughs = np.empty((self.doses, self.members)), np.empty((self.doses, self.members))
        edges = [*self.aim.samples.tolist(), self.doses]
        start = 0
        for j, end in enumerate(edges):
            if end > start:
                multiples[start:end] = multiple
                state, troughs[start:end] = self.run(state, start, end, multiple)
            if j < len(self.aim.samples):
                true = troughs[end - 1] if end > 0 else np.zeros(self.members)
                multiple = self.aim.adjusted(multiple, true if measured is None else measured(j, true))
            start = end
        return multiples, troughs

    def pick(self, rows: np.ndarray) -> Train:
        """The train in some members."""
        return replace(
            self,
            given=self.given[:, rows],
            reach=self.reach[:, rows],
            advance=self.advance[..., rows],
            enter=self.enter[..., rows],
            read=self.read[:, rows],
            kinetics=self.kinetics.pick(rows),
        )

    def moved(self, ratios: Mapping[str, Floats]) -> Train:
        """The train in members whose kinetic values are multiplied: name (`clearance`, ...) -> [M]."""
        kinetics = self.kinetics.moved(ratios)
        advance, enter, read = kinetics.constants()
        reach = self.reach * ratios.get("bioavailability", 1.0)
        return replace(self, reach=reach, advance=advance, enter=enter, read=read, kinetics=kinetics)


@dataclass(frozen=True, eq=False)
class _Kinetics:
    """Individual kinetic values [K, M] at the visits of a drug given by one route every `gap` days."""

    values: Mapping[str, Floats]
    compartments: int
    depot: bool
    gap: float
    duration: float
    scale: float

    def pick(self, rows: np.ndarray) -> _Kinetics:
        return replace(self, values={name: v[:, rows] for name, v in self.values.items()})

    def moved(self, ratios: Mapping[str, Floats]) -> _Kinetics:
        values = {name: v * ratios[name] if name in ratios else v for name, v in self.values.items()}
        return replace(self, values=values)

    def constants(self) -> tuple[Floats, Floats, Floats]:
        """(advance [K, S, S, M], enter [K, S, M], read [K, M])."""
        shape = self.values["clearance"].shape
        flat = {name: jnp.asarray(v.reshape(-1)) for name, v in self.values.items()}
        found = _constants(self.compartments, self.depot, self.duration > 0, flat, self.gap, self.duration)
        advance, enter, volume = (np.asarray(v) for v in found)
        size = 1 + self.compartments
        return (
            np.ascontiguousarray(advance.reshape(size, size, *shape).transpose(2, 0, 1, 3)),
            np.ascontiguousarray(enter.reshape(size, *shape).transpose(1, 0, 2)),
            self.scale / volume.reshape(shape),
        )


@partial(jax.jit, static_argnums=(0, 1, 2))
def _constants(
    compartments: int, depot: bool, infused: bool, values: Mapping[str, Any], gap: Any, duration: Any
) -> tuple[Any, Any, Any]:
    count = values["clearance"].shape[0]
    drug = superposition.kinetics(values, compartments, depot, count)
    zero, span = jnp.zeros(count), jnp.full(count, gap)
    columns = []
    for j in range(1 + compartments):
        one = jnp.zeros((1 + compartments, count)).at[j].set(1.0)
        columns.append(superposition.advance(drug, one, zero, span, depot=depot, infused=False))
    nothing = jnp.zeros((1 + compartments, count))
    if infused:
        length = jnp.full(count, duration)
        after = superposition.advance(drug, nothing, 1.0 / length, length, depot=False, infused=True)
        enter = superposition.advance(drug, after, zero, span - length, depot=False, infused=False)
    else:
        lag = jnp.broadcast_to(jnp.asarray(values.get("lag", 0.0)), (count,)) if depot else zero
        dose = nothing.at[0 if depot else 1].set(1.0)
        enter = superposition.advance(drug, dose, zero, span - lag, depot=depot, infused=False)
    return jnp.stack(columns, axis=1), enter, drug.volume


def followed_order(regimen: Regimen, name: str | None = None) -> Order:
    """The order of a regimen that follows trough levels.

    Args:
        regimen: with one such order, or more.
        name: the drug, where several orders follow troughs.

    Raises:
        UsageError: there is none, or it is not said which.
    """
    found = [order for order in regimen.orders if order.titration is not None and order.given]
    named = [order for order in found if name is None or order.drug == name]
    if len(named) != 1:
        drugs = sorted({order.drug for order in found})
        raise UsageError(
            f"{len(named)} orders{f' of `{name}`' if name else ''} follow trough levels",
            where=regimen.name,
            rule=nearest_hint(name or "", drugs) if drugs else "No order of this regimen has a `target_trough`",
            cure="Name the drug of one of them",
        )
    return named[0]


def train_of(
    regimen: Regimen, order: Order, theta: Mapping[str, Floats], age: Floats, size: Mapping[str, Floats], days: float
) -> Train:
    """The train of an order that follows trough levels.

    Args:
        regimen: the order's regimen; its other orders count as companions where they change bioavailability.
        order: one of `regimen.orders`, with a target.
        theta: name -> [M], of the drug and `covariate.` names.
        age: [M] at day 0 [day].
        size: `weight_z`, `height_z` and `gut_injury`, [M] at day 0 or [K, M] at the visits every 28 days.
        days: until when [day].

    Raises:
        SimulationError: an order whose levels are not linear in its doses, or whose doses are not evenly spaced.
    """
    drug = load_drug(order.drug)
    about = bind_drug(drug)
    rows = [row for row in regimen.administrations(days) if row.order == order.index and row.per_day > 0]
    times = np.array([row.time for row in rows])
    gap = _require_linear(drug, about, order, times)
    first = int(times[0] // VISIT_INTERVAL)
    visits = np.arange(first, int(times[-1] // VISIT_INTERVAL) + 1)
    segment = (times // VISIT_INTERVAL).astype(int) - first
    own = {name: np.asarray(v) for name, v in theta.items() if name.startswith((f"{about.name}.", "covariate."))}
    state = {name: np.stack([_at_visit(np.asarray(size[name]), int(k)) for k in visits]) for name in SIZES}
    wide, covariates = (
        {name: np.asarray(table) for name, table in found.items()}
        for found in _individual(about, own, np.asarray(age, float), state, visits * VISIT_INTERVAL)
    )
    if "lag" in wide:
        wide["lag"] = np.repeat(np.minimum(wide["lag"][:1], gap), len(visits), axis=0)
    scale = factor("mg/L", drug.concentration.unit)
    depot = order.route == "oral"
    kinetics = _Kinetics(wide, about.compartments, depot, gap, rows[0].duration, scale)
    advance, enter, read = kinetics.constants()
    given = _milligrams(order, rows, covariates, segment)
    reach = given
    if depot:
        daily = _companions(regimen, order, covariates, segment, times)
        reach = given * np.asarray(_bioavailable(about, own, covariates, segment, given, daily))
    return Train(
        drug=about.name,
        order=order,
        unit=drug.concentration.unit,
        times=times,
        given=given,
        reach=reach,
        segment=segment,
        advance=advance,
        enter=enter,
        read=read,
        aim=_aim(regimen, order, times, scale, days),
        kinetics=kinetics,
    )


def _require_linear(drug: Drug, about: DrugKinetics, order: Order, times: Floats) -> float:
    own = [r for r in drug.relations_on("bioavailability") if isinstance(r, DosePower)]
    gaps = np.diff(times)
    faults = {
        "its bioavailability depends on the dose": bool(own) and order.route == "oral",
        "its elimination is not linear": about.nonlinear is not None,
        "its measured concentration is not linear in the amount": not isinstance(drug.concentration, Linear),
        "its doses are not evenly spaced": len(times) < 2 or bool((np.abs(gaps - gaps[:1]) > 1e-6).any()),
    }
    for fault, present in faults.items():
        if present:
            rule = "Levels by superposition need a linear drug given at even intervals"
            raise SimulationError(f"`{order.drug}`: {fault}", code="planning.not-linear", where="doses", rule=rule)
    return float(gaps[0])


@partial(jax.jit, static_argnums=0)
def _individual(
    about: DrugKinetics, theta: Mapping[str, Any], age: Any, state: Mapping[str, Any], days: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Individual kinetic values and covariates at the visits, name -> [K, M]."""
    shape = state[SIZES[0]].shape
    found = body(age + days[:, None], state, theta)
    covariates = {name: jnp.broadcast_to(jnp.asarray(v, float), shape) for name, v in found.items()}
    values = about.individual(theta, covariates)
    return {name: jnp.broadcast_to(jnp.asarray(v, float), shape) for name, v in values.items()}, covariates


@partial(jax.jit, static_argnums=0)
def _bioavailable(
    about: DrugKinetics,
    theta: Mapping[str, Any],
    covariates: Mapping[str, Any],
    segment: Any,
    given: Any,
    daily: Mapping[str, Any],
) -> Any:
    """[N, M] bioavailable share of each dose, companions taken as ordered."""
    here = {name: table[segment] for name, table in covariates.items()}
    return jnp.broadcast_to(about.bioavailability(theta, here, given, dict(daily)), given.shape)


def _at_visit(table: Floats, visit: int) -> Floats:
    return np.asarray(table[min(visit, len(table) - 1)]) if table.ndim == 2 else table


def _milligrams(
    order: Order, rows: list[Administration], covariates: Mapping[str, Floats], segment: np.ndarray
) -> Floats:
    """[N, M] doses at multiple 1 [mg]."""
    name = {"mg/kg": "weight", "mg/m2": "bsa"}.get(order.basis)
    sizes = covariates[name] if name else np.ones_like(covariates["weight"])
    amounts = np.array([row.amount for row in rows])[:, None] * sizes[segment]
    return np.asarray(amounts if order.maximum_mg is None else np.minimum(amounts, order.maximum_mg))


def _companions(
    regimen: Regimen, order: Order, covariates: Mapping[str, Floats], segment: np.ndarray, times: Floats
) -> dict[str, Floats]:
    """Daily doses [N, M] [mg] of the other orders at the times of this one."""
    found: dict[str, Floats] = {}
    rows = regimen.administrations(float(times[-1]) + _TINY)
    for other in regimen.orders:
        own = [row for row in rows if row.order == other.index]
        if other.index == order.index or other.drug == order.drug or not own:
            continue
        at = np.searchsorted([row.time for row in own], times + _TINY) - 1
        size = {"mg/kg": "weight", "mg/m2": "bsa"}.get(other.basis)
        sizes = (covariates[size] if size else np.ones_like(covariates["weight"]))[segment]
        amount = np.array([row.amount for row in own])[np.maximum(at, 0)][:, None] * sizes
        often = np.array([row.per_day for row in own])[np.maximum(at, 0)][:, None]
        if other.maximum_mg is not None:
            amount = np.minimum(amount, other.maximum_mg)
        dose = np.where((at >= 0)[:, None], amount * often, 0.0)
        found[other.drug] = found.get(other.drug, 0.0) + dose
    return found


def _aim(regimen: Regimen, order: Order, times: Floats, scale: float, days: float) -> Aim:
    rules = [t for t in regimen.titrations(days) if t.order == order.index]
    if not rules:
        raise UsageError(f"`{order.drug}` has no trough target", where=regimen.name, rule="Its order needs one")
    rule = rules[0]
    samples = np.searchsorted(times, np.array(rule.sample_times) - 1e-6)
    edges = (rule.low * scale, rule.high * scale, rule.target * scale)
    return Aim(*edges, rule.smallest, rule.largest, rule.largest_step, samples)
