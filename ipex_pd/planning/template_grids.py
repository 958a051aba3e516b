"""What can be prescribed: tablets and steps, whole days, smallest steps and few changes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.planning.template_courses import Course
from ipex_pd.planning.template_limits import sequence
from ipex_pd.planning.template_size import countable
from ipex_pd.planning.template_terms import TINY, Term
from ipex_pd.records.plan_limits import ChangesLimit, TaperLimit

if TYPE_CHECKING:
    from ipex_pd.planning.template import Template

_DIGITS = 3
"""Digits of doses without strengths or steps: a prescription states no more (assumed)."""

_FARTHEST = 5
_MOST_DAYS = 100
_FIRST = ("transplant", "start", "day")


@dataclass(frozen=True, eq=False)
class Grid:
    """The values that can be prescribed for the quantities of a template in mg (see `Template.sized`).

    Attributes:
        template: whose quantities.
    """

    template: Template

    def __post_init__(self) -> None:
        drugs = countable(self.template)
        for course in self.template.courses:
            if course.order.drug in drugs and course.basis != "mg" and course.windows:
                raise UsageError(
                    f"`{course.key}` is dosed in `{course.unit}`, and its tablets are in mg",
                    where=self.template.problem.name,
                    rule="Tablets are counted for doses in mg",
                    cure="Round `template.sized(x)`",
                )

    def values(self, place: int, x: np.ndarray) -> np.ndarray:
        """What x[place] may be, rising, with the other quantities as in x; times only where whole doses result."""
        variable = self.template.variables[place]
        if variable.kind == "dose":
            return self._doses[place]
        step, origin = 1.0, 0.0
        if variable.kind == "stop":
            course = next(c for c in self.template.courses if c.order.index == variable.order)
            step = whole_days(course.order.dose.every or 1.0)
            assert course.stop is not None
            origin = float(course.start.at(x)) - (float(course.stop.at(x)) - x[place])
        first = math.ceil((variable.lower - origin) / step - TINY)
        last = math.floor((variable.upper - origin) / step + TINY)
        found = origin + step * np.arange(first, last + 1)
        return found if found.size else np.array([variable.lower])

    @cached_property
    def _doses(self) -> dict[int, np.ndarray]:
        found = {}
        for place, variable in enumerate(self.template.variables):
            if variable.kind == "dose":
                course = next(c for c in self.template.courses if c.order.index == variable.order)
                found[place] = self._amounts(course, variable.lower, variable.upper, variable.name)
        return found

    def _amounts(self, course: Course, lower: float, upper: float, name: str) -> np.ndarray:
        limit = countable(self.template).get(course.order.drug)
        if limit is None:
            step = 10.0 ** (math.floor(math.log10(upper)) - _DIGITS + 1)
            numbers = np.arange(math.ceil(lower / step - TINY), math.floor(upper / step + TINY) + 1)
            return np.asarray(np.round(numbers * step, 12))
        found = np.array(limit.permitted(lower / course.split, upper / course.split)) * course.split
        if not found.size:
            raise RecordError(
                f"no tablets or steps of `{course.order.drug}` make {name}",
                where=self.template.problem.name,
                rule=f"It lies between {lower:g} and {upper:g} {course.unit}",
                cure="Widen its bounds, or give other strengths",
            )
        return found

    def snapped(self, x: np.ndarray) -> np.ndarray:
        """The nearest point that can be prescribed, each quantity by itself; starts and transplant before stops."""
        found = x.copy()
        kinds = [v.kind for v in self.template.variables]
        for place in sorted(range(len(x)), key=lambda p: kinds[p] not in _FIRST):
            values = self.values(place, found)
            found[place] = values[int(np.argmin(np.abs(values - found[place])))]
        return found

    def moved(self, x: np.ndarray, place: int, steps: int) -> np.ndarray | None:
        """x with one quantity so many values higher, what hangs on it brought along; None past the end."""
        values = self.values(place, x)
        here = int(np.argmin(np.abs(values - x[place]))) + steps
        if not 0 <= here < len(values):
            return None
        found = x.copy()
        found[place] = values[here]
        return self.snapped(found) if self.template.variables[place].kind in _FIRST else found

    def sequences(self, x: np.ndarray) -> Iterator[tuple[Course, list[tuple[float, Term]]]]:
        """The levels of each order with free doses, in the order in which they are given."""
        for course in self.template.courses:
            if course.windows:
                yield course, sequence(self.template, course, x)

    def changes(self, x: np.ndarray) -> int:
        """How often doses change at x, in all orders with free doses."""
        levels = ([float(term.at(x)) for _, term in rows] for _, rows in self.sequences(x))
        return sum(abs(b - a) > TINY for own in levels for a, b in pairwise(own))

    def broken(self, x: np.ndarray) -> list[tuple[str, float]]:
        """(rule, by how much) of linear limits, smallest steps and numbers of changes that x does not keep."""
        linear = self.template.linear
        excess = linear.excess(x)
        scale = 1.0 + np.abs(np.where(np.isfinite(linear.upper), linear.upper, linear.lower))
        found = [(linear.labels[k], float(excess[k])) for k in np.flatnonzero(excess > TINY * scale)]
        return found + self.unruly(x)

    def unruly(self, x: np.ndarray) -> list[tuple[str, float]]:
        """(rule, by how much) of smallest steps and numbers of changes that x does not keep."""
        found = []
        for course, rows in self.sequences(x):
            levels = [(day, float(term.at(x))) for day, term in rows]
            for line in self.template.problem.limits:
                if isinstance(line, ChangesLimit) and line.order == course.key:
                    number = sum(abs(b - a) > TINY for (_, a), (_, b) in pairwise(levels))
                    if number > line.most:
                        found.append((f"{course.key}: at most {line.most} changes", float(number - line.most)))
                elif isinstance(line, TaperLimit) and line.order == course.key and line.smallest_step is not None:
                    for (_, a), (day, b) in pairwise(levels):
                        least = self.smallest_step(course, day)
                        if TINY < abs(b - a) < least - TINY:
                            found.append((f"{course.key}: steps of at least {line.smallest_step}", least - abs(b - a)))
        return found

    def reach(self, course: Course) -> int:
        """How many values one step goes over so that it is no smaller than the smallest change."""
        least = self.smallest_step(course, float(course.start.at(self.template.start)))
        apart = np.diff(self._doses[course.windows[0].values[0].variables[0]])
        if not least or not apart.size:
            return 1
        return max(1, min(_FARTHEST, math.ceil(least / float(np.median(apart)) - TINY)))

    def smallest_step(self, course: Course, day: float) -> float:
        """The smallest change of an order on a day, in its unit; 0 where any is allowed."""
        lines = [line for line in self.template.problem.limits if isinstance(line, TaperLimit)]
        own = [line for line in lines if line.order == course.key and line.smallest_step is not None]
        return max((self._step(course, line, day) for line in own), default=0.0)

    def _step(self, course: Course, line: TaperLimit, day: float) -> float:
        """The smallest step in the unit of the course, by the size of the child."""
        step = line.smallest_step
        assert step is not None
        value = step.per_dose(course.order.dose.split) * course.split
        if step.basis == course.basis:
            return value
        if self.template.size is None:
            raise RecordError(
                f"a step of `{step}` in an order in `{course.unit}`, and the child has no weight",
                where=self.template.problem.name,
                rule="Units are converted by the size of the child",
                cure=f"Write the step in `{course.unit}`",
            )
        size = self.template.size
        return value * size.of(step.basis, day) / size.of(course.basis, day)

    def cut_doses(self, x: np.ndarray) -> tuple[str, ...]:
        """Orders that give a part of a dose at x, because a day that moves does not fall on their rhythm."""
        found = []
        for course in self.template.courses:
            shares = [np.asarray(course.share(x, b)) for b in course.boundaries()] if course.count else []
            if any(np.any((s > 1e-6) & (s < 1 - 1e-6)) for s in shares):
                found.append(course.key)
        return tuple(found)


def whole_days(every: float) -> float:
    """The fewest whole days that hold a whole number of doses; the interval itself where there are none."""
    for days in range(1, _MOST_DAYS):
        if abs(days / every - round(days / every)) < 1e-6:
            return float(days)
    return every
