"""What was given: a plan that follows trough levels, turned into the doses that a simulated child got."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import Administration, Order
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.results import Simulation

_TINY = 1e-9


def as_given(regimen: Regimen, simulation: Simulation, child: int = 0) -> Regimen:
    """The same treatment as doses that were given, without trough targets.

    Orders that follow no trough stay as they are; the others become orders of their own wherever the dose changed.
    Amounts are rounded to six digits.

    Args:
        regimen: the plan that was simulated.
        simulation: of it.
        child: position of the child in the simulation.

    Raises:
        SimulationError: the simulation is of another regimen.
    """
    if simulation.regimen != regimen.name:
        raise SimulationError(
            f"the simulation is of `{simulation.regimen}`", where=regimen.name, rule="Doses are those of the plan given"
        )
    data = regimen.as_data()
    doses = [dose for dose, order in zip(data.get("doses", ()), regimen.orders, strict=False) if _fixed(order)]
    place = len(regimen.doses)
    grafts = []
    for transplant in data.get("transplants", ()):
        own = regimen.orders[place : place + len(transplant.get("prophylaxis", ()))]
        place += len(own)
        kept = [dose for dose, order in zip(transplant.get("prophylaxis", ()), own, strict=True) if _fixed(order)]
        grafts.append({**{k: v for k, v in transplant.items() if k != "prophylaxis"}, "prophylaxis": kept})
    rows = regimen.administrations(simulation.horizon + _TINY)
    for order in regimen.orders:
        if not _fixed(order):
            own_rows = [row for row in rows if row.order == order.index]
            doses += list(_pieces(order, own_rows, _multipliers(order, own_rows, simulation, child)))
    named = {"name": f"{regimen.name}_as_given", "description": f"{regimen.description} Doses as they were given."}
    return from_data(Regimen, {**data, **named, "doses": doses, "transplants": grafts}, where=regimen.name)


def _fixed(order: Order) -> bool:
    return order.titration is None


def _multipliers(order: Order, rows: Sequence[Administration], simulation: Simulation, child: int) -> list[float]:
    """Dose over the dose as prescribed, of every row: that of the last sample of this order at or before it."""
    troughs = simulation.troughs
    lasting = [k for k in troughs.rows(order.drug) if order.start - _TINY <= troughs.times[k] <= order.stop + _TINY]
    days = troughs.times[lasting]
    factors = troughs.multiplier[child, lasting]
    found = []
    for row in rows:
        before = np.searchsorted(days, row.time + _TINY)
        found.append(float(factors[before - 1]) if before else 1.0)
    return found


def _pieces(order: Order, rows: Sequence[Administration], factors: Sequence[float]) -> Iterator[dict[str, Any]]:
    """Orders of constant amount, one after the other."""
    given = [(row, factor) for row, factor in zip(rows, factors, strict=True) if row.per_day > 0]
    runs = [list(run) for _, run in groupby(given, key=lambda pair: f"{pair[0].amount * pair[1]:.6g}")]
    for number, run in enumerate(runs):
        first, factor = run[0]
        if first.amount == 0:
            continue
        following = runs[number + 1][0][0].time if number + 1 < len(runs) else order.stop
        piece = _rhythm(order) | {"amount": f"{first.amount * factor:.6g} {order.basis}", "start": first.time}
        if np.isfinite(following):
            piece["stop"] = float(following)
        if order.maximum_mg is not None:
            piece["maximum"] = f"{order.maximum_mg * factor:.6g} mg"
        yield piece


def _rhythm(order: Order) -> dict[str, Any]:
    dose = order.dose
    found: dict[str, Any] = {"drug": dose.drug, "route": dose.route}
    if dose.infusion is not None:
        found["infusion"] = f"{dose.infusion * 24:.10g} h"
    if dose.every is not None:
        return found | {"every": f"{dose.every * 24:.10g} h"}
    return found | {"at": list(dose.at)} | ({"days_of_week": list(dose.days_of_week)} if dose.days_of_week else {})
