"""What the parts of a plan share: a number's source in short form, choosing a record by its leading key, ensembles."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic import Field, model_validator

from ipex_pd.errors import UnknownKeyError, nearest_hint
from ipex_pd.records.provenance import Source
from ipex_pd.records.record import Day, Record, fault

_MOST_DAYS = 10_000


class Sourced(Record):
    """A line of a plan whose numbers have a source: `source: {reported: ...}`, or in short `assumed: why`.

    Attributes:
        source: where the numbers of the line come from.
    """

    source: Source | None = None

    @model_validator(mode="before")
    @classmethod
    def _assumed(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "assumed" not in data:
            return data
        if "source" in data:
            raise fault("both `assumed` and `source`", rule="A line has one source", cure="Take one of them out")
        rest = {key: value for key, value in data.items() if key != "assumed"}
        return {**rest, "source": {"assumed": data["assumed"]}}

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """The keys that people may write."""
        return (*super().known_keys(), "assumed")


def tag(key: str) -> str:
    """The tag of a member of a union, that is no key of any record."""
    return f"<{key}>"


def leading_key(keys: Sequence[str], noun: str) -> Callable[[Any], Any]:
    """A check that a line begins with exactly one of some keys, told in words.

    Args:
        keys: of which one must be there.
        noun: what the line is, such as `a limit`.
    """

    def check(value: Any) -> Any:
        if isinstance(value, Record):
            return value
        if not isinstance(value, Mapping):
            raise fault(f"`{value}` is not {noun}", rule=f"It is written as `{{{keys[0]}: ..., ...}}`")
        found = [key for key in keys if key in value]
        if len(found) > 1:
            what = f"`{found[0]}` and `{found[1]}` on one line"
            raise fault(what, rule="A line says one thing", cure="Write two lines")
        if not found:
            first = str(next(iter(value), ""))
            rule, kind = nearest_hint(first, keys), UnknownKeyError.__name__
            raise fault(f"`{first}` does not begin {noun}", rule=rule, cure="Rename it", kind=kind)
        return value

    return check


class PlanEnsemble(Record):
    """The members over whom a plan is judged: virtual children of the patient, under draws of the parameters.

    Attributes:
        children: virtual children: the patient with draws of what varies between patients.
        draws: draws of the uncertain parameters themselves, each with as many children; all of a `file` when left out.
        file: draws with weights (`ParameterDraws.save`), instead of the uncertainty of the shipped parameters.
        seed: of every random number; the same seed gives the same members.
    """

    children: int = Field(ge=1)
    draws: int | None = Field(None, ge=1)
    file: str | None = Field(None, pattern=r"\.(json|csv)$")
    seed: int = Field(ge=0)

    @model_validator(mode="after")
    def _sized(self) -> PlanEnsemble:
        if self.file is None and self.draws is None:
            rule = "An ensemble says how many draws of the parameters it has"
            raise fault("`draws` is missing", rule=rule, cure="Write `draws: 10`, or `file: draws.json`")
        return self

    def in_words(self) -> str:
        """`20 children under each of 10 draws of the parameters (seed 1)`."""
        of = "of the uncertain parameters" if self.file is None else f"in `{self.file}`"
        draws = "every draw" if self.draws is None else f"each of {self.draws} draws" if self.draws > 1 else "1 draw"
        children = "1 virtual child" if self.children == 1 else f"{self.children} virtual children"
        return f"{children} under {draws} {of} (seed {self.seed})"


class DayGrid(Record):
    """Days from one to another, so many apart; the last is there when the steps meet it.

    Attributes:
        first: written `from`.
        until: the end, itself included.
        every: step.
    """

    first: Day = Field(alias="from", ge=0)
    until: Day
    every: Day = Field(gt=0)

    @model_validator(mode="after")
    def _forward(self) -> DayGrid:
        if self.until < self.first:
            raise fault(f"`until` {self.until:g} is before `from` {self.first:g}", rule="A grid goes forward")
        if (self.until - self.first) / self.every > _MOST_DAYS:
            raise fault(f"a grid of more than {_MOST_DAYS} days", rule="Its steps are too small", at=("every",))
        return self

    def days(self) -> tuple[float, ...]:
        """The days [day]."""
        count = math.floor((self.until - self.first) / self.every + 1e-9) + 1
        return tuple(self.first + k * self.every for k in range(count))


class Timing(Record):
    """The days of transplant for which the expected outcome is told, whatever the plan chooses.

    Attributes:
        days: a list, or `{from: 60, until: 1800, every: 60}`.
    """

    days: DayGrid | tuple[Day, ...]

    @model_validator(mode="before")
    @classmethod
    def _one_form(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("days"), Mapping):
            return {**data, "days": DayGrid.model_validate(data["days"])}
        return data

    @model_validator(mode="after")
    def _rising(self) -> Timing:
        days = self.grid()
        if not days or days[0] < 0 or any(a >= b for a, b in pairwise(days)):
            rule = "Days rise, and the first is 0 or later"
            raise fault("the days of `timing` are not in order", rule=rule, cure="Write `[60, 120]`", at=("days",))
        return self

    def grid(self) -> tuple[float, ...]:
        """The days of transplant [day]."""
        return self.days.days() if isinstance(self.days, DayGrid) else self.days

    def in_words(self) -> str:
        """One sentence."""
        days = self.grid()
        if isinstance(self.days, DayGrid):
            when = f"{days[0]:g} to {days[-1]:g}, every {self.days.every:g} days"
        else:
            when = ", ".join(f"{day:g}" for day in days)
        return f"The outcome is told for a transplant on day {when}."
