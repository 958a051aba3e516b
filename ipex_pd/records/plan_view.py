"""A plan beside the regimens it names, as checks look at it: every order with its days counted from the start."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from ipex_pd.errors import IpexError, RecordError
from ipex_pd.records.dosing import Moment
from ipex_pd.records.orders import levels
from ipex_pd.records.plan_free import PROPHYLAXIS, FreeOrder, order_keys
from ipex_pd.records.plan_names import PlanRecords
from ipex_pd.records.plan_parts import Sourced
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import Order
from ipex_pd.records.yamlfile import Place

L = TypeVar("L", bound=Sourced)


class Problem(NamedTuple):
    """Something that does not fit.

    Attributes:
        place: where in the plan.
        what, rule, cure: see `IpexError`.
        kind: of error.
    """

    place: Place
    what: str
    rule: str
    cure: str = ""
    kind: type[IpexError] = RecordError


class Check(NamedTuple):
    """A named rule between the parts of a plan.

    Attributes:
        code: of its errors.
        find: every place where it is broken.
    """

    code: str
    find: Callable[[PlanView], Iterator[Problem]]


@dataclass(frozen=True)
class Placed:
    """An order of a regimen as a plan sees it.

    Attributes:
        regimen: to which it belongs.
        key: its name in the plan.
        order: itself, days counted from the start.
    """

    regimen: Regimen
    key: str
    order: Order

    @property
    def origin(self) -> float:
        """The day of the regimen from which days of a prophylaxis count; 0 for others [day]."""
        if not self.key.startswith(PROPHYLAXIS):
            return 0.0
        place = self.order.index - len(self.regimen.doses)
        for transplant in self.regimen.transplants:
            if place < len(transplant.prophylaxis):
                return transplant.day
            place -= len(transplant.prophylaxis)
        raise AssertionError(f"`{self.key}` is no prophylaxis")

    def day_of(self, moment: Moment) -> float:
        """The day of the regimen that a day of the plan's line means [day]."""
        if moment.anchor == "transplant":
            return moment.day + min(transplant.day for transplant in self.regimen.transplants)
        return moment.day + self.origin

    def end(self, horizon: float) -> float:
        """Until when its dose can be free: its stop or count, or the horizon; a taper to zero is no stop [day]."""
        dose = self.order.dose
        if dose.stop is not None:
            return min(horizon, self.day_of(dose.stop))
        return min(horizon, self.order.stop) if dose.count is not None else horizon

    def amount_on(self, day: float) -> float:
        """The amount ordered for a day of the regimen, in the order's unit; before titration."""
        since = day - self.order.start
        return [value for begin, value in levels(self.order.dose) if begin <= since + 1e-9 or begin == 0][-1]


@dataclass(frozen=True)
class PlanView:
    """A plan and the records it names.

    Attributes:
        problem, records: the two.
    """

    problem: PlanningProblem
    records: PlanRecords

    def placed(self, key: str) -> tuple[Placed, ...]:
        """The order of a name in every regimen that has it."""
        found = ((regimen, order_keys(regimen).get(key)) for regimen in self.records.regimens)
        return tuple(Placed(regimen, key, order) for regimen, order in found if order is not None)

    def orders_of(self, regimen: Regimen) -> tuple[Placed, ...]:
        """Every order of a regimen."""
        return tuple(Placed(regimen, key, order) for key, order in order_keys(regimen).items())

    @property
    def keys(self) -> list[str]:
        """The names of all orders of all regimens."""
        return list(dict.fromkeys(key for regimen in self.records.regimens for key in order_keys(regimen)))

    @property
    def drugs(self) -> list[str]:
        """The drugs of all regimens."""
        return list(dict.fromkeys(drug for regimen in self.records.regimens for drug in regimen.drugs))

    def free(self, kind: type[L], key: str = "") -> Iterator[tuple[int, L]]:
        """Free quantities of a kind (about an order), each with its place in the list."""
        for index, line in enumerate(self.problem.free):
            if isinstance(line, kind) and (not key or (isinstance(line, FreeOrder) and line.order == key)):
                yield index, line

    def limits(self, kind: type[L]) -> Iterator[tuple[int, L]]:
        """Limits of a kind, each with its place in the list."""
        yield from ((index, line) for index, line in enumerate(self.problem.limits) if isinstance(line, kind))

    def moves(self, key: str, *kinds: type[Sourced]) -> bool:
        """Whether anything of some kinds is free about an order."""
        return any(isinstance(line, FreeOrder) and line.order == key for kind in kinds for _, line in self.free(kind))


def finite(day: float, horizon: float) -> float:
    """A day, or the horizon for an end that never comes."""
    return day if math.isfinite(day) else horizon
