"""What the solver is given: linear drugs, the system, and the dated administrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import numpy as np

from ipex_pd.errors import SimulationError, nearest_hint
from ipex_pd.numerics.compiler import CompiledModel

Array = Any
Values = dict[str, Array]
Route = Literal["oral", "iv"]
Basis = Literal["mg", "mg/kg", "mg/m2"]


@dataclass(frozen=True)
class DrugKinetics:
    """One drug with one to three disposition compartments, first-order absorption and a lag.

    Attributes:
        name: the word used in orders.
        compartments: number of disposition compartments, 1 to 3.
        depot: whether there is a depot with first-order absorption, besides direct input to the central compartment.
        individual: (theta, covariates) -> ``clearance`` [L/day], ``volume_central`` [L], and where they exist
            ``intercompartmental_clearance_1`` [L/day], ``volume_peripheral_1`` [L] (and ``_2``), ``absorption_rate``
            [1/day], ``lag`` [day], each [P]. The lag is taken at the start and holds for the whole simulation.
        bioavailability: (theta, covariates, amount [mg], drug -> current daily dose [mg]) -> fraction of depot doses.
        concentrations: (theta, covariates, c [mg/L]) -> reported concentrations, the measured one first.
        potency: (theta, c [mg/L]) -> target -> concentration over EC50, elementwise in c.
        nonlinear: (theta, covariates, c [mg/L]) -> further elimination from the central compartment [mg/day]; a drug
            that has it is solved with the disease by the general solver.
    """

    name: str
    compartments: int
    depot: bool
    individual: Callable[[Mapping[str, Array], Mapping[str, Array]], Values]
    bioavailability: Callable[[Mapping[str, Array], Mapping[str, Array], Array, Values], Array]
    concentrations: Callable[[Mapping[str, Array], Mapping[str, Array], Array], Values]
    potency: Callable[[Mapping[str, Array], Array], Values]
    nonlinear: Callable[[Mapping[str, Array], Mapping[str, Array], Array], Array] | None = None

    def __post_init__(self) -> None:
        if self.compartments not in (1, 2, 3):
            raise SimulationError(
                f"drug `{self.name}` has {self.compartments} compartments", rule="A drug has 1, 2 or 3 compartments"
            )


@dataclass(frozen=True)
class System:
    """A disease, its drugs and the body they share.

    Attributes:
        model: the compiled disease.
        drugs: the drugs of the regimen.
        body: (age [day], state -> [P], theta) -> covariates; ``weight`` [kg] and ``bsa`` [m2] are used for doses.
    """

    model: CompiledModel
    drugs: tuple[DrugKinetics, ...]
    body: Callable[[Array, Values, Mapping[str, Array]], Values]

    def __post_init__(self) -> None:
        names = [d.name for d in self.drugs]
        if len(set(names)) != len(names):
            raise SimulationError("two drugs of the system have one name", rule="Each drug stands once in the system")

    def drug(self, name: str) -> int:
        """The index of a drug. Raises: SimulationError."""
        names = [d.name for d in self.drugs]
        if name not in names:
            raise SimulationError(f"drug `{name}` is not in the system", cure=nearest_hint(name, names))
        return names.index(name)


@dataclass(frozen=True)
class Order:
    """What is given: drug, route (`oral` to the depot, `iv` to the central compartment), basis, cap, titration.

    Attributes:
        maximum: largest single dose [mg] before titration, or None.
        titration: index into the schedule's titrations, or None.
    """

    drug: str
    route: Route = "oral"
    basis: Basis = "mg"
    maximum: float | None = None
    titration: int | None = None


@dataclass(frozen=True)
class Titration:
    """A trough target: outside [low, high] the dose multiplier follows target / trough.

    Attributes:
        drug: whose measured concentration is sampled.
        low, high, target: of that concentration, in the unit in which the drug reports it.
        smallest, largest: limits of the multiplier.
        smallest_step, largest_step: limits of one change of the multiplier.
    """

    drug: str
    low: float
    high: float
    target: float
    smallest: float
    largest: float
    smallest_step: float
    largest_step: float


def _none() -> np.ndarray:
    return np.zeros(0)


def _no_index() -> np.ndarray:
    return np.zeros(0, int)


@dataclass(frozen=True, eq=False)
class Schedule:
    """Dated administrations, transplants, visits and samples; N rows shared by all patients or [N, P].

    Attributes:
        orders: what the rows give.
        times: [N] or [N, P] administration times [day].
        order: [N] index into orders.
        amount: [N] or [N, P] in the order's basis unit.
        duration: [N] or [N, P] infusion length [day], 0 for a bolus.
        per_day: [N] administrations a day of this order from here on (0: it stops).
        steady_state: [N] dosing interval [day] of doses given as already at steady state (what earlier doses left is
            added to what is there), or 0.
        transplant_times: [M] or [M, P] [day].
        transplants: covariate of the event -> [M] or [M, P].
        visits: [V] times [day] at which covariates and kinetics are brought up to date; the start always is one.
        sample_times: [K] trough sampling times [day] of titrations.
        sample_titration: [K] index into titrations.
        titrations: trough targets.
    """

    orders: tuple[Order, ...] = ()
    times: Array = field(default_factory=_none)
    order: np.ndarray = field(default_factory=_no_index)
    amount: Array = field(default_factory=_none)
    duration: Array = field(default_factory=_none)
    per_day: np.ndarray = field(default_factory=_none)
    steady_state: np.ndarray = field(default_factory=_none)
    transplant_times: Array = field(default_factory=_none)
    transplants: Values = field(default_factory=dict)
    visits: np.ndarray = field(default_factory=_none)
    sample_times: np.ndarray = field(default_factory=_none)
    sample_titration: np.ndarray = field(default_factory=_no_index)
    titrations: tuple[Titration, ...] = ()

    def rows(self, patients: int) -> Schedule:
        """The same with every traced array as [N, P] or [M, P]."""
        wide = {n: spread(getattr(self, n), patients) for n in ("times", "amount", "duration", "transplant_times")}
        events = {n: spread(v, patients) for n, v in self.transplants.items()}
        return replace(self, **wide, transplants=events)

    def select(self, patients: np.ndarray) -> Schedule:
        """The same for some patients of a schedule made wide by `rows`."""
        narrow = {n: getattr(self, n)[:, patients] for n in ("times", "amount", "duration", "transplant_times")}
        return replace(self, **narrow, transplants={n: v[:, patients] for n, v in self.transplants.items()})


def spread(values: Array, patients: int) -> Array:
    """[N] or [N, P] as [N, P]."""
    import jax.numpy as jnp

    tool: Any = jnp if isinstance(values, jax.Array) else np
    array = tool.asarray(values, dtype=float)
    column = array[:, None] if array.ndim == 1 else array
    return tool.broadcast_to(column, (column.shape[0], patients))


def _flatten(s: Schedule) -> tuple[Any, Any]:
    names = tuple(sorted(s.transplants))
    leaves = (s.times, s.amount, s.duration, s.transplant_times, tuple(s.transplants[n] for n in names))
    fixed = (s.orders, s.order, s.per_day, s.steady_state, s.visits, s.sample_times, s.sample_titration, s.titrations)
    return leaves, (names, _Static(fixed))


class _Static:
    """Fixed data of a pytree, compared by content."""

    def __init__(self, content: tuple[Any, ...]) -> None:
        self.content = content
        self.key = tuple((v.shape, v.tobytes()) if isinstance(v, np.ndarray) else v for v in content)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


def _unflatten(fixed: Any, leaves: Any) -> Schedule:
    names, static = fixed
    times, amount, duration, transplant_times, values = leaves
    orders, order, per_day, steady, visits, samples, sample_titration, titrations = static.content
    return Schedule(
        orders,
        times,
        order,
        amount,
        duration,
        per_day,
        steady,
        transplant_times,
        dict(zip(names, values, strict=True)),
        visits,
        samples,
        sample_titration,
        titrations,
    )


jax.tree_util.register_pytree_node(Schedule, _flatten, _unflatten)


def check_schedule(schedule: Schedule, system: System) -> None:
    """Refuse a schedule that does not fit together or that the system cannot honour.

    Raises:
        SimulationError: with the row or order at fault.
    """
    n = len(schedule.order)
    for name in ("times", "amount", "duration", "per_day", "steady_state"):
        if np.shape(getattr(schedule, name))[0] != n:
            raise SimulationError(
                f"`{name}` has {np.shape(getattr(schedule, name))[0]} rows, `order` has {n}",
                where="schedule",
                rule="Every administration has one entry in each array",
            )
    if n and (schedule.order.min() < 0 or schedule.order.max() >= len(schedule.orders)):
        raise SimulationError("a row names an order that does not exist", where="schedule")
    for order in schedule.orders:
        _check_order(order, schedule, system)
    for titration in schedule.titrations:
        system.drug(titration.drug)
    if len(schedule.sample_times) != len(schedule.sample_titration):
        raise SimulationError("`sample_times` and `sample_titration` differ in length", where="schedule")
    if len(schedule.sample_titration) and max(schedule.sample_titration) >= len(schedule.titrations):
        raise SimulationError("a sample names a titration that does not exist", where="schedule")
    _check_transplants(schedule, system)


def _check_order(order: Order, schedule: Schedule, system: System) -> None:
    drug = system.drugs[system.drug(order.drug)]
    if order.route not in ("oral", "iv") or order.basis not in ("mg", "mg/kg", "mg/m2"):
        raise SimulationError(
            f"route `{order.route}` or basis `{order.basis}` is unknown",
            where=f"order `{order.drug}`",
            rule="Routes are oral and iv; bases are mg, mg/kg and mg/m2",
        )
    if order.route == "oral" and not drug.depot:
        raise SimulationError(
            f"`{order.drug}` is given orally but has no depot",
            where="schedule",
            cure="Give it intravenously, or give the drug an absorption rate",
        )
    if order.titration is not None and not 0 <= order.titration < len(schedule.titrations):
        raise SimulationError(
            f"order of `{order.drug}` names titration {order.titration}, which does not exist", where="schedule"
        )


def _check_transplants(schedule: Schedule, system: System) -> None:
    count = np.shape(schedule.transplant_times)[0]
    if not count:
        return
    needed = system.model.events.get("transplant")
    if needed is None:
        raise SimulationError("the regimen has a transplant but the model has no map `transplant`", where="schedule")
    if set(needed) != set(schedule.transplants):
        raise SimulationError(
            "covariates of the transplant do not fit: the model needs "
            + (", ".join(needed) or "none")
            + ", given "
            + (", ".join(sorted(schedule.transplants)) or "none"),
            where="schedule",
        )
