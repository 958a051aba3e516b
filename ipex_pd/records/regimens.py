"""Regimens: orders of drugs and transplants under one name."""

from __future__ import annotations

import os

from pydantic import Field, model_validator

from ipex_pd.errors import RecordError
from ipex_pd.records import schedule, wording
from ipex_pd.records.orders import Dose, Transplant
from ipex_pd.records.provenance import Citation
from ipex_pd.records.record import Name, Record, fault
from ipex_pd.records.safety import SafetyLimits, check_limits
from ipex_pd.records.schedule import Administration, Order, Titration
from ipex_pd.records.yamlfile import from_data, save_data


class Regimen(Record):
    """A treatment plan.

    Attributes:
        name, description: what it is.
        doses: orders of drugs.
        transplants: at least a day apart.
        safety_limits: the most of a drug that may be given; orders above them are refused, doses above them warned of.
        sources: citations that stand in the same file.
    """

    name: Name
    description: str = Field(min_length=1)
    doses: tuple[Dose, ...] = ()
    transplants: tuple[Transplant, ...] = ()
    safety_limits: tuple[SafetyLimits, ...] = ()
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound(self) -> Regimen:
        days = [transplant.day for transplant in self.transplants]
        for index, day in enumerate(days):
            near = [other for other in days[:index] if abs(other - day) < 1.0]
            if near:
                both = f"day {day:g}" if near[0] == day else f"days {near[0]:g} and {day:g}"
                raise fault(
                    f"two transplants on {both}",
                    rule="Transplants are at least a day apart",
                    cure="Move one of them, or take it out",
                    at=("transplants", index, "day"),
                )
        for index, dose in enumerate(self.doses):
            if not days and "transplant" in (dose.start.anchor, dose.stop.anchor if dose.stop else ""):
                raise fault(
                    "an order counts from the transplant, but there is none",
                    rule="Add `transplants`",
                    at=("doses", index),
                )
        schedule.check_overlap(self.orders)
        check_limits(self.safety_limits, self.orders)
        return self

    @property
    def orders(self) -> tuple[Order, ...]:
        """Orders with days counted from the start, prophylaxis included."""
        return schedule.orders(self.doses, self.transplants)

    @property
    def drugs(self) -> tuple[str, ...]:
        """Names of the drugs in order of appearance, prophylaxis included."""
        return tuple(dict.fromkeys(order.drug for order in self.orders))

    def administrations(self, until_day: float) -> list[Administration]:
        """Explicit rows before a day, by time."""
        return schedule.administrations(self.orders, until_day)

    def titrations(self, until_day: float) -> list[Titration]:
        """Trough targets with their sampling times before a day."""
        return schedule.titrations(self.orders, until_day)

    def needs_weight(self) -> bool:
        """Whether any dose depends on body size."""
        return any(order.dose.needs_weight() for order in self.orders)

    def with_transplant_day(self, day: float) -> Regimen:
        """The same plan with its only transplant, and all that counts from it, on another day.

        Raises:
            RecordError: there is not exactly one transplant, or the day is negative.
        """
        if len(self.transplants) != 1:
            number = len(self.transplants)
            raise RecordError(
                f"`{self.name}` has {number} transplants", rule="The day of a single transplant can be moved"
            )
        data = self.as_data()
        return from_data(
            Regimen, {**data, "transplants": [{**data["transplants"][0], "day": float(day)}]}, where=self.name
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as YAML; `load_regimen` reads it back."""
        save_data(path, self.as_data())

    def in_words(self) -> list[str]:
        """The plan in sentences that a pharmacist can check."""
        plan = wording.regimen_in_words(self.orders, self.transplants)
        return [*plan, *(limit.in_words() for limit in self.safety_limits)]
