"""From an optimum to what can be prescribed: tablets, steps, whole days, few changes; by a local search.

```python
whole, at = template.sized(x)  # doses by size in mg, so that tablets can be counted
rounded = prescribable(whole, at, value)  # value(x) -> (goal, violation of the other limits); larger goals are better
whole.regimen(rounded.x), rounded.cost
```

The search never leaves bounds, linear limits, smallest steps or numbers of changes. It begins at the nearest point that
can be prescribed; where the rules ask for other changes, at the best of the nearest points that keep them and of the
cheapest mergers of periods. Then it tries neighbours until none is better: one quantity up or down, equal neighbours or
all later periods together, one up and another down, a period like the one beside it. The order of trials is fixed: the
same question has the same answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from ipex_pd.planning.template import Template
from ipex_pd.planning.template_beam import nearest_levels
from ipex_pd.planning.template_grids import Grid
from ipex_pd.planning.template_moves import distance, mergers, neighbours, obedient, settled
from ipex_pd.planning.template_terms import TINY

Value = Callable[[np.ndarray], tuple[float, float]]
"""x [n] -> (goal, larger is better; by how much the limits that are not linear are exceeded, 0 when kept)."""


_WAYS = 12
"""Points near the optimum that are asked for their value where rules on changes keep the nearest one out."""


@dataclass(frozen=True)
class RoundingOptions:
    """How far the search goes.

    Attributes:
        evaluations: the most values asked for.
        violation: excess of the other limits that counts as none.
        give: loss of the goal that one change less is worth; with 0 periods are merged only where nothing is lost.
    """

    evaluations: int = 400
    violation: float = 1e-6
    give: float = 0.0


@dataclass(frozen=True, eq=False)
class Rounded:
    """A plan that can be prescribed.

    Attributes:
        x: [n].
        value, violation: there.
        cost: what rounding cost: the goal before less the goal after.
        before: goal and violation before.
        tried: values asked for.
        changes: what was changed, in words.
        cut_doses: orders that give a part of a dose, because their rhythm does not fit a day that moves.
        outcome: how the search ended: `no neighbour is better`, `out of evaluations` or `interrupted`.
    """

    x: np.ndarray
    value: float
    violation: float
    cost: float
    before: tuple[float, float]
    tried: int
    changes: tuple[str, ...]
    cut_doses: tuple[str, ...]
    outcome: str


class _Spent(Exception):
    """No evaluations are left."""


class _Search:
    """The values asked for so far, and the best point that keeps the rules."""

    def __init__(self, grid: Grid, value: Value, options: RoundingOptions) -> None:
        self.grid, self.value, self.options = grid, value, options
        self.tried, self.known = 0, dict[bytes, tuple[float, float]]()
        self.best: np.ndarray | None = None
        self.allowed = options.violation
        self.before = (np.nan, np.nan)

    def begin(self, start: np.ndarray) -> None:
        """The value before rounding; what it exceeds already may be exceeded."""
        self.before = self.ask(start)
        self.allowed = max(self.options.violation, self.before[1])

    def ask(self, x: np.ndarray) -> tuple[float, float]:
        """Goal and violation at x, asked for once."""
        key = _key(x)
        if key not in self.known:
            if self.tried >= self.options.evaluations:
                raise _Spent
            goal, violation = self.value(x.copy())
            self.tried += 1
            self.known[key] = (float(goal), float(violation))
        return self.known[key]

    def merit(self, x: np.ndarray) -> tuple[float, float, int]:
        """Smaller is better: excess of violation first, then the goal and what changes are worth, then few changes."""
        goal, violation = self.ask(x)
        changes = self.grid.changes(x)
        if not (np.isfinite(goal) and np.isfinite(violation)):
            return np.inf, np.inf, changes
        return max(0.0, violation - self.allowed), self.options.give * changes - goal, changes


def prescribable(template: Template, x: np.ndarray, value: Value, options: RoundingOptions | None = None) -> Rounded:
    """The best point near x that can be prescribed.

    Args:
        template: in mg where tablets are counted (`Template.sized`).
        x: [n] an optimum, within bounds.
        value: goal and violation at a point; Ctrl-C in it ends the search with the best so far.
        options: of the search.

    Raises:
        UsageError: doses by size of a drug whose tablets are counted.
        RecordError: nothing that can be prescribed keeps the limits.
    """
    grid, settings = Grid(template), options or RoundingOptions()
    start = template.point(x)
    search = _Search(grid, value, settings)
    first = settled(grid, grid.snapped(np.clip(start, template.lower, template.upper)), start)
    search.best = _nearest(grid, first, start)
    outcome = "no neighbour is better"
    try:
        search.begin(start)
        _first(search, first, start)
        _descend(search)
    except _Spent:
        outcome = "out of evaluations"
    except KeyboardInterrupt:
        outcome = "interrupted"
    return _told(search, start, outcome)


def _nearest(grid: Grid, first: np.ndarray, start: np.ndarray) -> np.ndarray:
    """A point that keeps the rules, without asking for values."""
    if not grid.unruly(first):
        return first
    near = [y for y in nearest_levels(grid, first, start, _WAYS) if not grid.broken(y)]
    return near[0] if near else obedient(grid, first, start, lambda y: (distance(grid, y, start), 0.0, 0))


def _key(x: np.ndarray) -> bytes:
    return bytes((np.round(x, 9) + 0.0).tobytes())


def _first(search: _Search, first: np.ndarray, start: np.ndarray) -> None:
    """The best of several ways to keep the rules: the nearest points, and the cheapest mergers."""
    grid = search.grid
    assert search.best is not None
    search.merit(search.best)
    if not grid.unruly(first):
        return
    near = [y for y in nearest_levels(grid, first, start, _WAYS) if not grid.broken(y)]
    for other in [*near, obedient(grid, first, start, search.merit)]:
        if search.merit(other) < search.merit(search.best):
            search.best = other


def _descend(search: _Search) -> None:
    """To better neighbours and mergers until there is none."""
    better = True
    while better:
        better = False
        assert search.best is not None
        for y in chain(neighbours(search.grid, search.best), mergers(search.grid, search.best)):
            if not search.grid.broken(y) and search.merit(y) < search.merit(search.best):
                search.best, better = y, True
                break


def _told(search: _Search, start: np.ndarray, outcome: str) -> Rounded:
    grid, found = search.grid, search.best
    assert found is not None
    goal, violation = search.known.get(_key(found), (np.nan, np.nan))
    changes = tuple(
        f"{v.name}: {old:.4g} to {new:.4g} {v.unit}"
        for v, old, new in zip(grid.template.variables, start, found, strict=True)
        if abs(new - old) > TINY
    )
    cut, cost = grid.cut_doses(found), search.before[0] - goal
    return Rounded(found, goal, violation, cost, search.before, search.tried, changes, cut, outcome)
