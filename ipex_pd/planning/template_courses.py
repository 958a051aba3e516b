"""The rows of one order as functions of the free quantities: dose times and amounts.

A dose at t stands for the time until the next one, [t, t + gap). What of that time lies after a boundary is the
`share` of the dose that belongs to what begins there. With base levels, free periods and a stop,

    dose_k = (1 - share_stop,k) (base_k (1 - inside_k) + sum over periods j of value_j (share_j,k - share_j+1,k))

Where times and boundary move together (or neither moves), a dose lies before or after it and the shares are 0 or 1,
as in a written regimen. Where one moves against the other, the share is the overlap of the dose's time with what
follows the boundary: the value of a plan is continuous in the boundary, and its slope changes only where a boundary
passes a dose, by the difference between what two neighbouring doses do. A stop on a day of a dose leaves whole doses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.planning.template_terms import TINY, Array, Term
from ipex_pd.records.dosing import Amount, Basis
from ipex_pd.records.schedule import Order


def tool_of(x: Array) -> Any:
    """numpy for plain numbers, jax.numpy inside a trace and for its arrays."""
    return jnp if isinstance(x, jax.Array) else np


@dataclass(frozen=True)
class Window:
    """A time in which the dose is free.

    Attributes:
        begins: when each period begins, rising.
        values: the amount of each period.
        until: when the free time ends, None when it lasts as long as the order.
        entry: index of the entry of `free`.
    """

    begins: tuple[Term, ...]
    values: tuple[Term, ...]
    until: Term | None
    entry: int


@dataclass(frozen=True, eq=False)
class Course:
    """One order of the start regimen with its free quantities.

    Attributes:
        order: as the start regimen has it.
        key: `prednisolone`, `prednisolone 2`, `transplant: ciclosporin`.
        basis, per_day: unit of the values.
        graft: index of the transplant whose prophylaxis it is, None for an order of its own.
        start: when it begins.
        offsets: [N] days of the doses after the start.
        gaps: [N] time to the next dose [day].
        days: places in x of the doses' days where these are free, else empty.
        stop: from when nothing is given, None when nothing stops it before its last row.
        levels: (days after the start, amount) of the order without its free times.
        windows: its free times.
        loading: number of first doses of another size.
        loading_amount: their amount, in the unit of the values.
        rewritten: whether its doses are written anew even where x leaves them as they are.
    """

    order: Order
    key: str
    basis: Basis
    per_day: bool
    graft: int | None
    start: Term
    offsets: np.ndarray
    gaps: np.ndarray
    days: tuple[int, ...]
    stop: Term | None
    levels: tuple[tuple[float, float], ...]
    windows: tuple[Window, ...]
    loading: int
    loading_amount: float
    rewritten: bool

    @property
    def unit(self) -> str:
        """Of the values, `mg/kg/day`."""
        return Amount(0.0, self.basis, self.per_day).unit

    @property
    def split(self) -> float:
        """Into how many doses a value is divided."""
        return self.order.dose.split if self.per_day else 1.0

    @property
    def count(self) -> int:
        """Number of doses N."""
        return len(self.offsets)

    @property
    def ends(self) -> bool:
        """Whether there is a day on which it is over."""
        return self.stop is not None or self.order.dose.count is not None

    @property
    def variables(self) -> frozenset[int]:
        """Places in x that this order depends on."""
        terms = [self.start, *([] if self.stop is None else [self.stop])]
        for window in self.windows:
            terms += [*window.begins, *window.values, *([] if window.until is None else [window.until])]
        return frozenset(self.days).union(*(term.variables for term in terms))

    def times(self, x: Array) -> Array:
        """[N] days of the doses."""
        if self.days:
            return tool_of(x).asarray(x)[np.array(self.days)] + self.start.at(x)
        return tool_of(x).asarray(self.offsets) + self.start.at(x)

    def ending(self, x: Array) -> Array:
        """[E] days of the rows that say that it has stopped: one at its end, or after each dose on a free day."""
        tool = tool_of(x)
        if not self.ends or not self.count:
            return tool.zeros(0)
        if self.days:
            times = self.times(x)
            return tool.minimum(times + self.gaps, tool.append(times[1:], np.inf))
        if self.stop is not None and self.stop.since(self.start) is not None:
            return tool.atleast_1d(tool.asarray(self.stop.at(x), float))
        return tool.atleast_1d(self.start.at(x) + self.offsets[-1] + self.gaps[-1])

    def share(self, x: Array, boundary: Term) -> Array:
        """[N] how much of each dose's time lies after a boundary."""
        apart, tool = boundary.since(self.start), tool_of(x)
        if apart is not None and not self.days:
            return tool.asarray((self.offsets >= apart - TINY).astype(float))
        return tool.clip((self.times(x) + self.gaps - boundary.at(x)) / self.gaps, 0.0, 1.0)

    def base(self) -> np.ndarray:
        """[N] amounts of the order without its free times, a stop aside, in the unit of the values."""
        begins = np.array([begin for begin, _ in self.levels])
        amounts = np.array([amount for _, amount in self.levels])
        found: np.ndarray = amounts[np.searchsorted(begins, self.offsets + TINY, side="right") - 1]
        return np.where(np.arange(self.count) < self.loading, self.loading_amount, found)

    def amounts(self, x: Array) -> Array:
        """[N] each dose in the basis."""
        total: Array = tool_of(x).asarray(self.base())
        for window, fixed in zip(self.windows, self._fixed, strict=True):
            kept, shares = self._shares(x, window) if fixed is None else fixed
            total = total * kept + tool_of(x).stack([value.at(x) for value in window.values]) @ shares
        if self.stop is not None:
            total = total * (1.0 - self.share(x, self.stop))
        return total / self.split

    @cached_property
    def _fixed(self) -> tuple[tuple[np.ndarray, np.ndarray] | None, ...]:
        """`_shares` of the free times that x does not move, worked out once."""
        found = []
        for window in self.windows:
            ends = [*window.begins, *([] if window.until is None else [window.until])]
            still = not self.days and all(end.since(self.start) is not None for end in ends)
            found.append(self._shares(np.zeros(0), window) if still else None)
        return tuple(found)

    def _shares(self, x: Array, window: Window) -> tuple[Array, Array]:
        """[N] what remains of each dose outside the free time, and [V, N] the share of each value in it."""
        tool = tool_of(x)
        after = tool.zeros(self.count) if window.until is None else self.share(x, window.until)
        shares = [tool.maximum(self.share(x, begin), after) for begin in window.begins] + [after]
        parts = [now - tool.minimum(then, now) for now, then in pairwise(shares)]
        return 1.0 - (shares[0] - after), tool.stack(parts)

    def linear(self) -> bool:
        """Whether its doses are linear in x: no boundary moves against the doses."""
        return not self.days and all(boundary.since(self.start) is not None for boundary in self.boundaries())

    def boundaries(self) -> list[Term]:
        """Stop, and beginnings and ends of free times."""
        found = [] if self.stop is None else [self.stop]
        for window in self.windows:
            found += [*window.begins, *([] if window.until is None else [window.until])]
        return found


def drugs_of(courses: Sequence[Course]) -> tuple[str, ...]:
    """Drugs in order of appearance."""
    return tuple(dict.fromkeys(course.order.drug for course in courses))
