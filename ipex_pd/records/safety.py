"""Safety limits: the most of a drug that a plan may give at once or in a day."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pydantic import model_validator

from ipex_pd.errors import nearest_hint
from ipex_pd.records.dosing import Amount, DoseAmount
from ipex_pd.records.orders import Dose
from ipex_pd.records.provenance import Source
from ipex_pd.records.record import Name, Record, fault
from ipex_pd.records.schedule import Order

_SLACK = 1 + 1e-9


class SafetyLimits(Record):
    """The most of one drug that may be given.

    Attributes:
        drug: as in the orders.
        single: the largest dose, such as `5 mg` or `0.3 mg/kg`.
        daily: the most in a day, over all orders of the drug, such as `60 mg/day`.
        source: where the limit comes from.
    """

    drug: Name
    single: DoseAmount | None = None
    daily: DoseAmount | None = None
    source: Source

    @model_validator(mode="after")
    def _sound(self) -> SafetyLimits:
        if self.single is None and self.daily is None:
            cure = "Write for example `single: 5 mg` or `daily: 10 mg/day`"
            raise fault("safety limits without a limit", rule="They say `single`, `daily` or both", cure=cure)
        for name, limit, per_day in (("single", self.single, False), ("daily", self.daily, True)):
            if limit is not None and limit.per_day != per_day:
                written = Amount(limit.value, limit.basis, per_day)
                rule = f"A {name} limit is an amount of {'a day' if per_day else 'one dose'}"
                raise fault(f"`{limit}` as a {name} limit", rule=rule, cure=f"Write `{written}`", at=(name,))
            if limit is not None and limit.value == 0:
                raise fault(
                    "a limit of nothing", rule="A limit is more than zero", cure="Take the drug out", at=(name,)
                )
        return self

    def in_words(self) -> str:
        """One sentence."""
        stated = [f"{limit.value:g} {limit.basis} {words}" for limit, words in self.limits()]
        return f"Safety limit of {self.drug.replace('_', ' ')}: at most {' and '.join(stated)}."

    def limits(self) -> Iterator[tuple[Amount, str]]:
        """Each limit, with `a dose` or `a day`."""
        if self.single is not None:
            yield self.single, "a dose"
        if self.daily is not None:
            yield self.daily, "a day"


class _Largest(NamedTuple):
    """The largest amounts that an order writes, before titration, in its basis."""

    dose: float
    day: float


def _largest(dose: Dose) -> _Largest:
    single = dose.amount.per_dose(dose.split)
    if dose.loading is not None:
        single = max(single, dose.loading.amount.per_dose(dose.split))
    return _Largest(single, single * max(1.0, dose.split))


def check_limits(limits: Sequence[SafetyLimits], orders: Sequence[Order]) -> None:
    """Refuse orders that are written above a limit in the same unit, or capped above one in mg.

    What depends on the size of the child or on titration is watched by the simulation.

    Raises (for pydantic):
        RecordError: a limit that is exceeded, stated twice, or of a drug that is not ordered.
    """
    drugs = [order.drug for order in orders]
    for index, limit in enumerate(limits):
        at = ("safety_limits", index)
        if limit.drug not in drugs:
            what, rule = f"`{limit.drug}` has a limit and no order", nearest_hint(limit.drug, set(drugs))
            raise fault(what, rule=rule, cure="Rename it or take it out", kind="UnknownKeyError", at=(*at, "drug"))
        if limit.drug in [other.drug for other in limits[:index]]:
            cure = "Take one of them out"
            raise fault(f"`{limit.drug}` has its limits twice", rule="They stand once", cure=cure, at=(*at, "drug"))
        for order in orders:
            if order.drug == limit.drug and order.given:
                _check_order(order, limit)


def _check_order(order: Order, limit: SafetyLimits) -> None:
    written = _largest(order.dose)
    for most, words in limit.limits():
        if most.basis != order.basis:
            continue
        asked = written.dose if words == "a dose" else written.day
        if most.basis == "mg" and order.maximum_mg is not None:
            asked = min(asked, order.maximum_mg * (1.0 if words == "a dose" else max(1.0, order.dose.split)))
        if asked > most.value * _SLACK:
            raise fault(
                f"the order of `{order.drug}` gives {asked:g} {most.basis} {words}",
                rule=f"Its safety limit is {most.value:g} {most.basis} {words}",
                cure="Lower the dose, or change the limit with its source",
                at=("safety_limits",),
            )
