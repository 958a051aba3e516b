"""Orders that follow troughs, frozen at what a simulated child was given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ipex_pd.errors import RecordError, SimulationError
from ipex_pd.planning.template_terms import TINY
from ipex_pd.records.orders import levels
from ipex_pd.records.regimens import Regimen

if TYPE_CHECKING:
    from ipex_pd.records.schedule import Order
    from ipex_pd.simulation.results import Simulation


def as_dosed(regimen: Regimen, simulation: Simulation, child: int = 0) -> dict[int, list[tuple[float, float]]]:
    """Index of each titrated order -> (days since its start, amount in its unit), as a simulated child was given.

    Args:
        regimen: that was simulated.
        simulation: of it.
        child: position of the child in the simulation.

    Raises:
        SimulationError: the simulation is of another regimen.
        RecordError: a titrated order with a `maximum`, which titration goes beyond.
    """
    if simulation.regimen != regimen.name:
        raise SimulationError(
            f"the simulation is of `{simulation.regimen}`", where=regimen.name, rule="Doses are those of the plan given"
        )
    troughs, found = simulation.troughs, {}
    for order in regimen.orders:
        if order.titration is None:
            continue
        require_uncapped(order, regimen)
        changes = levels(order.dose)
        sampled = [k for k in troughs.rows(order.drug) if order.start - TINY <= troughs.times[k] <= order.stop + TINY]
        steps = [(float(troughs.times[k]) - order.start, float(troughs.multiplier[child, k])) for k in sampled]
        days = sorted({day for day, _ in changes} | {day for day, _ in steps})
        found[order.index] = [(day, _last(changes, day) * _last([(0.0, 1.0), *steps], day)) for day in days]
    return found


def require_uncapped(order: Order, regimen: Regimen) -> None:
    """Raises RecordError: an order that follows its trough has a `maximum`, which titration goes beyond."""
    if order.maximum_mg is not None:
        raise RecordError(
            f"`{order.drug}` has a `maximum` and follows its trough",
            where=regimen.name,
            rule="Titration multiplies what `maximum` has capped",
            cure="Take `maximum` or `target_trough` out",
        )


def _last(rows: list[tuple[float, float]], day: float) -> float:
    return [value for at, value in rows if at <= day + TINY][-1]
