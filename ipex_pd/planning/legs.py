"""A plan with a transplant, marched in legs: each in a system of the drugs that are given or left in anyone.

Quadrature of drug effects is most of a march. The bridge leaves the body some weeks after the transplant, prophylaxis
some weeks after its last dose, and from then on a stabilised method takes a week at a step.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ipex_pd.numerics.march_many import GONE, GRADING, Branch, Marched
from ipex_pd.numerics.mesh import Grading
from ipex_pd.numerics.schedule import Schedule, System
from ipex_pd.numerics.stepping import EIGHTH, Chebyshev, Method
from ipex_pd.planning.evidence import Floats

ACUTE = 150.0
"""Days after a transplant in which the method of order eight goes on whatever is given: grafts grow, members die."""
WASHOUT = 42.0
"""Days after its last dose when a drug is looked for; one that is left goes on with the member."""
_APART = 70.0
"""A leg shorter than this [day] is joined to the next: assumed, programs cost time too."""
_FIRST = 20.0
"""The same of the first leg, which has most drugs."""
_BEFORE = 1.0
"""Doses given so long [day] before a leg may arrive in it: assumed, lags of oral doses are hours."""


class Pace(NamedTuple):
    """Lengths of sub-steps, and how one is taken."""

    grading: Grading = GRADING
    method: Method = EIGHTH


PLAIN = Pace()
"""Of legs with drugs, and of the first months after a transplant."""
TRUNK = Pace(Grading(first=1.0, growth=0.3, longest=4.0))
"""Without transplant; four days are as exact there as two (`numerics.march_many`)."""
QUIET = Pace(Grading(first=1.0, growth=0.3, longest=7.0), Chebyshev(8))
"""Of the years after the last drug. One fast state, the host's own Treg cells, bounds steps of order eight there: it
falls back at up to 2.4 a day, and this method is stable up to 5.9. Measured against sub-steps of half a day, 256
virtual children, transplants on days 30 to 700: five-year survival and incidences err by at most 5e-6."""

March = Callable[[System, Sequence[Branch], Pace], Sequence[Marched]]


@lru_cache(maxsize=32)
def with_drugs(system: System, names: tuple[str, ...]) -> System:
    """The disease with some of its drugs."""
    return replace(system, drugs=tuple(drug for drug in system.drugs if drug.name in names))


def last_given(schedule: Schedule) -> dict[str, float]:
    """Drug -> day on which its last dose has been given or infused [day]; only drugs of which anything is given."""
    ends = np.asarray(schedule.times) + np.asarray(schedule.duration)
    found: dict[str, float] = {}
    for k in np.flatnonzero(np.asarray(schedule.amount) > 0):
        drug = schedule.orders[schedule.order[k]].drug
        found[drug] = max(found.get(drug, -np.inf), float(ends[k]))
    return found


def in_order(system: System, names: Collection[str]) -> tuple[str, ...]:
    """Some drugs in the order of a system."""
    return tuple(drug.name for drug in system.drugs if drug.name in names)


def of_drugs(schedule: Schedule, names: Collection[str]) -> Schedule:
    """What a schedule gives of some drugs, its transplants and visits; without drugs the transplants alone."""
    kept = [k for k, order in enumerate(schedule.orders) if order.drug in names]
    place = np.full(len(schedule.orders), -1)
    place[kept] = np.arange(len(kept))
    rows = np.flatnonzero(place[schedule.order] >= 0) if len(schedule.order) else np.zeros(0, int)
    columns = ("times", "amount", "duration", "per_day", "steady_state")
    return replace(
        schedule,
        orders=tuple(schedule.orders[k] for k in kept),
        order=place[schedule.order[rows]],
        visits=schedule.visits if kept else np.zeros(0),
        **{name: np.asarray(getattr(schedule, name))[rows] for name in columns},
    )


def stops(schedule: Schedule, start: float, day: float, horizon: float) -> list[float]:
    """Days at which legs of a plan end, the horizon last: drugs are gone some weeks after their last doses [day].

    Args:
        schedule: what is given.
        start: where the first leg begins.
        day: of the transplant.
        horizon: [day].
    """
    found = sorted({*(max(end, day) + WASHOUT for end in last_given(schedule).values()), day + ACUTE})
    last = [horizon]
    for end in reversed(found):
        if start + _FIRST < end < last[0] - _APART:
            last.insert(0, end)
    return last


@dataclass(eq=False)
class Walk:
    """A plan on its way.

    Attributes:
        schedule: what is given.
        day: of the transplant.
        start: where it leaves the course without transplant.
        trunk: that course, which kept the start; None where it starts on day 0.
        reads: days on which it is read, from the start on.
        who: [B] members.
        horizon: [day].
    """

    schedule: Schedule
    day: float
    start: float
    trunk: Marched | None
    reads: Floats
    who: np.ndarray
    horizon: float
    parts: list[Marched] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.last = last_given(self.schedule)
        self.at, self.stops = self.start, stops(self.schedule, self.start, self.day, self.horizon)

    def needed(self, system: System) -> tuple[str, ...]:
        """Drugs that are still given, or left in anyone."""
        found = {name for name, end in self.last.items() if end > self.at - _BEFORE}
        last = self.parts[-1] if self.parts else self.trunk
        if last is not None:
            row = int(np.argmin(np.abs(np.asarray(last.branch.keep) - self.at)))
            amounts = zip(last.drugs, last.carried.amounts, strict=True)
            found |= {name for name, amount in amounts if float(np.max(amount[row], initial=0.0)) > 0.5 * GONE}
        return in_order(system, found)

    def pace(self, drugs: tuple[str, ...]) -> Pace:
        """How the next leg is marched."""
        return QUIET if not drugs and self.at >= self.day + ACUTE - _BEFORE else PLAIN

    def branch(self, drugs: tuple[str, ...]) -> Branch:
        """The next leg."""
        stop = self.stops[0]
        first = self.reads >= self.at - 1e-9 if not self.parts else self.reads > self.at + 1e-9
        read = self.reads[first & (self.reads <= stop + 1e-9)].tolist()
        return Branch(
            of_drugs(self.schedule, drugs),
            days=read or [stop],
            start=self.at,
            trunk=self.parts[-1] if self.parts else self.trunk,
            keep=[stop] if len(self.stops) > 1 else [],
            who=self.who,
        )

    def take(self, leg: Marched) -> None:
        """A leg that was marched."""
        self.parts.append(leg)
        self.at = self.stops.pop(0)

    def readings(self, names: Sequence[str]) -> tuple[Floats, dict[str, Floats]]:
        """Days, and what was read on them: name -> [V, B]."""
        kept = [np.isin(leg.days, self.reads) for leg in self.parts]
        days = np.concatenate([leg.days[own] for leg, own in zip(self.parts, kept, strict=True)])
        tables = {n: np.concatenate([leg[n][own] for leg, own in zip(self.parts, kept, strict=True)]) for n in names}
        return days, tables


def walk(system: System, walks: Sequence[Walk], march: March) -> None:
    """March plans to their ends, legs with the same drugs together."""
    while going := [one for one in walks if one.stops]:
        groups: dict[tuple[tuple[str, ...], Pace], list[Walk]] = {}
        for one in going:
            drugs = one.needed(system)
            groups.setdefault((drugs, one.pace(drugs)), []).append(one)
        for (drugs, pace), group in groups.items():
            legs = march(with_drugs(system, drugs), [one.branch(drugs) for one in group], pace)
            for one, leg in zip(group, legs, strict=True):
                one.take(leg)
