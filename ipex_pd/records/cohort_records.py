"""Cohort files: children with their treatment histories, and where what was measured in them is kept."""

from __future__ import annotations

from pydantic import Field, model_validator

from ipex_pd.records.patients import Patient
from ipex_pd.records.record import Name, Record, fault
from ipex_pd.records.regimens import Regimen


class CohortChild(Record):
    """One child of a cohort file.

    Attributes:
        id: his number in the table.
        patient: a shipped name, or the record itself.
        regimen: likewise; what he was given, doses as given (a dose that follows troughs is a plan, not a history).
    """

    id: int = Field(ge=1)
    patient: Name | Patient
    regimen: Name | Regimen


class Cohort(Record):
    """A cohort file.

    Attributes:
        name, description: what it is.
        observations: the CSV file, beside this one.
        truth: a CSV file with the individual values that made a synthetic cohort; never read by a fit.
        columns: the data dictionary: further columns of the table, and what they mean.
        children: who.
    """

    name: Name
    description: str = Field(min_length=1)
    observations: str = Field(pattern=r"^[A-Za-z0-9_.-]+\.csv$")
    truth: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]+\.csv$")
    columns: dict[str, str] = Field(default_factory=dict)
    children: tuple[CohortChild, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> Cohort:
        numbers = [child.id for child in self.children]
        twice = sorted({number for number in numbers if numbers.count(number) > 1})
        if twice:
            raise fault(f"child {twice[0]} stands twice", rule="A child has a number of its own", cure="Renumber it")
        return self
