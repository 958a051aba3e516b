"""A regimen's plain rows as the arrays of a Schedule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipex_pd.numerics.schedule import Order, Schedule, Titration
from ipex_pd.records import schedule as plain
from ipex_pd.records.drugs import Drug
from ipex_pd.records.regimens import Regimen
from ipex_pd.units import factor

Array = Any

VISIT_INTERVAL = 28.0
"""Days between visits, when weight, kinetics and doses per kg or m2 are brought up to date: assumed, monthly."""


def schedule_of(
    regimen: Regimen, drugs: Mapping[str, Drug], until: float, transplants: Mapping[str, Array] | None = None
) -> Schedule:
    """The administrations, transplants, visits and trough samples of a regimen before a day.

    Args:
        regimen: the plan.
        drugs: name in the regimen -> drug.
        until: the horizon [day].
        transplants: covariate of the transplant -> [M], one value for each transplant of the regimen.

    Raises:
        RecordError: a drug cannot be given by the ordered route.
    """
    orders = regimen.orders
    for order in orders:
        drugs[order.drug].require_route(order.route, where=f"{regimen.name}: {order.drug}")
    rows = regimen.administrations(until)
    titrations = regimen.titrations(until)
    samples = sorted((time, t.index) for t in titrations for time in t.sample_times)
    days = [t.day for t in regimen.transplants]
    happening = [i for i, day in enumerate(days) if day < until]
    return Schedule(
        orders=tuple(_order(order, drugs) for order in orders),
        times=np.array([row.time for row in rows], dtype=float),
        order=np.array([row.order for row in rows], dtype=int),
        amount=np.array([row.amount for row in rows], dtype=float),
        duration=np.array([row.duration for row in rows], dtype=float),
        per_day=np.array([row.per_day for row in rows], dtype=float),
        steady_state=np.zeros(len(rows)),
        transplant_times=np.array([days[i] for i in happening], dtype=float),
        transplants={name: np.asarray(v)[happening] for name, v in (transplants or {}).items()} if happening else {},
        visits=np.arange(0.0, until, VISIT_INTERVAL),
        sample_times=np.array([time for time, _ in samples], dtype=float),
        sample_titration=np.array([index for _, index in samples], dtype=int),
        titrations=_titrations(titrations, drugs),
    )


def _order(order: plain.Order, drugs: Mapping[str, Drug]) -> Order:
    return Order(drugs[order.drug].name, order.route, order.basis, order.maximum_mg, order.titration)


def _titrations(found: Sequence[plain.Titration], drugs: Mapping[str, Drug]) -> tuple[Titration, ...]:
    made = []
    for aim in sorted(found, key=lambda t: t.index):
        scale = factor("mg/L", drugs[aim.drug].concentration.unit)
        limits = (aim.smallest, aim.largest, 1.0 / aim.largest_step, aim.largest_step)
        made.append(Titration(drugs[aim.drug].name, aim.low * scale, aim.high * scale, aim.target * scale, *limits))
    return tuple(made)
