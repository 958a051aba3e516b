"""Steps between points that can be prescribed, and the way to a point that keeps the rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise, product

import numpy as np

from ipex_pd.errors import RecordError
from ipex_pd.planning.template_grids import Grid
from ipex_pd.planning.template_terms import TINY, Term

Merit = Callable[[np.ndarray], tuple[float, float, int]]
Group = tuple[int, ...]

_DAYS = (1, -1, 7, -7)
_ALL_PAIRS = 12
_EXCESS = 1e-7


def distance(grid: Grid, x: np.ndarray, start: np.ndarray) -> float:
    """How far x lies from a point, each quantity by its room."""
    room = np.maximum(grid.template.upper - grid.template.lower, TINY)
    return float(np.sum(((x - start) / room) ** 2))


def settled(grid: Grid, x: np.ndarray, start: np.ndarray) -> np.ndarray:
    """A point near x that keeps the linear limits, by steps that bring it nearer to them.

    Raises:
        RecordError: there is none.
    """
    here, excess = x, _linear(grid, x)
    while excess > 0.0:
        options = [y for y in neighbours(grid, here) if _linear(grid, y) < excess - TINY]
        if not options:
            raise _nothing(grid, here)
        here = min(options, key=lambda y: (_linear(grid, y), distance(grid, y, start)))
        excess = _linear(grid, here)
    return here


def obedient(grid: Grid, x: np.ndarray, start: np.ndarray, merit: Merit) -> np.ndarray:
    """A point near x that keeps smallest steps and numbers of changes too: periods merged, the best merger first.

    Raises:
        RecordError: there is none.
    """
    here, unruly = x, _unruly(grid, x)
    while unruly > 0.0:
        options = [y for y in mergers(grid, here) if _linear(grid, y) <= 0.0 and _unruly(grid, y) < unruly - TINY]
        if not options:
            others = neighbours(grid, here)
            options = [y for y in others if _linear(grid, y) <= 0.0 and _unruly(grid, y) < unruly - TINY]
        if not options:
            raise _nothing(grid, here)
        here = min(options, key=lambda y: (*merit(y), distance(grid, y, start)))
        unruly = _unruly(grid, here)
    return here


def _nothing(grid: Grid, x: np.ndarray) -> RecordError:
    label, by = grid.broken(x)[0]
    return RecordError(
        f"nothing that can be prescribed was found that keeps `{label}`; the nearest is {by:.4g} away",
        where=grid.template.problem.name,
        rule="Prescribed doses keep the limits",
        cure="Widen the limit, or give other strengths or steps",
    )


def _linear(grid: Grid, x: np.ndarray) -> float:
    excess = grid.template.linear.excess(x)
    return float(np.sum(excess[excess > _EXCESS])) if excess.size else 0.0


def _unruly(grid: Grid, x: np.ndarray) -> float:
    return sum(by for _, by in grid.unruly(x))


def neighbours(grid: Grid, x: np.ndarray) -> Iterator[np.ndarray]:
    """Points beside x: one quantity up or down, equal neighbours or all later periods together, one up and another
    down, a period like the one beside it; days by a week too. Where changes have a smallest size, steps go over it."""
    for place, variable in enumerate(grid.template.variables):
        if variable.kind != "dose":
            for days in _DAYS:
                yield from _some(grid.moved(x, place, days))
    for own, reach in groups_of(grid, x):
        for group in own:
            yield from _split(grid, x, group, reach)
        steps = [sign * size for size in range(1, reach + 2) for sign in (1, -1)]
        periods = [(place,) for group in own if len(group) > 1 for place in group]
        for group in (*own, *periods):
            for step in steps:
                yield from _some(_together(grid, x, group, step))
        yield from _later(grid, x, own, steps)
        yield from _pairs(grid, x, own, reach)
        for one, other in pairwise(own):
            yield from _some(_set(grid, x, one[-1:], float(x[other[0]])))
            yield from _some(_set(grid, x, other[:1], float(x[one[0]])))
        if reach > 1:
            yield from _parted(grid, x, own, reach)


def _split(grid: Grid, x: np.ndarray, group: Group, reach: int) -> Iterator[np.ndarray]:
    """Equal periods in two: one part up, the other down, or one of them alone."""
    for cut in range(1, len(group)):
        for first, second in product(range(-reach, reach + 1), repeat=2):
            if first * second < 0 or (first == 0) != (second == 0):
                found = x if first == 0 else _together(grid, x, group[:cut], first)
                if second and found is not None:
                    found = _together(grid, found, group[cut:], second)
                yield from _some(found)


def _parted(grid: Grid, x: np.ndarray, own: Sequence[Group], reach: int) -> Iterator[np.ndarray]:
    """Periods before a day and those after it, each part by its own steps: levels come apart over a smallest change."""
    places = [place for group in own for place in group]
    sizes = range(-reach, reach + 1)
    for cut in range(1, len(places)):
        for first, second in product(sizes, sizes):
            found: np.ndarray | None = x if first or second else None
            for part, step in ((places[:cut], first), (places[cut:], second)):
                for place in part if step else ():
                    found = None if found is None else grid.moved(found, place, step)
            yield from _some(found)


def _pairs(grid: Grid, x: np.ndarray, own: Sequence[Group], reach: int) -> Iterator[np.ndarray]:
    """One level up and another down."""
    pairs = list(combinations(own, 2) if len(own) <= _ALL_PAIRS else pairwise(own))
    for up, down in (*pairs, *((other, one) for one, other in pairs)):
        for rise, fall in product(range(1, reach + 1), repeat=2):
            raised = _together(grid, x, up, rise)
            yield from _some(None if raised is None else _together(grid, raised, down, -fall))


def _later(grid: Grid, x: np.ndarray, own: Sequence[Group], steps: Sequence[int]) -> Iterator[np.ndarray]:
    """All levels from one on, up or down."""
    for first in range(len(own) - 1):
        for step in steps:
            found: np.ndarray | None = x
            for group in own[first:]:
                found = None if found is None else _together(grid, found, group, step)
            yield from _some(found)


def mergers(grid: Grid, x: np.ndarray) -> Iterator[np.ndarray]:
    """Two neighbouring levels made one: at the level of either, or at their mean over time."""
    for _, rows in grid.sequences(x):
        levels = _levels(rows, x)
        ends = [day for day, _, _ in levels[1:]] + [grid.template.horizon]
        for k in range(len(levels) - 1):
            (begin, one, a), (middle, other, b) = levels[k], levels[k + 1]
            if not one and not other:
                continue
            shares = max(middle - begin, TINY), max(ends[k + 1] - middle, TINY)
            wished = [a, b] if one and other else [b if one else a]
            for level in wished:
                yield from _some(_set(grid, x, (*one, *other), level))
            if one and other:
                yield from _some(_nearest(grid, x, (*one, *other), float(np.average([a, b], weights=shares))))


def groups_of(grid: Grid, x: np.ndarray) -> list[tuple[list[Group], int]]:
    """For each order with free doses, its free levels as groups of neighbouring equal periods, and how far steps go."""
    return [
        ([places for _, places, _ in _levels(rows, x) if places], grid.reach(course))
        for course, rows in grid.sequences(x)
    ]


def _levels(rows: Sequence[tuple[float, Term]], x: np.ndarray) -> list[tuple[float, Group, float]]:
    """(first day, places in x, amount) of each level, neighbouring equal ones together; no places where it is fixed."""
    found: list[tuple[float, Group, float]] = []
    for day, term in rows:
        amount = float(term.at(x))
        fixed = not term.variables
        if found and abs(found[-1][2] - amount) <= TINY and bool(found[-1][1]) != fixed:
            begin, places, same = found[-1]
            found[-1] = (begin, (*places, *term.variables), same)
        else:
            found.append((day, tuple(term.variables), amount))
    return found


def _some(x: np.ndarray | None) -> Iterator[np.ndarray]:
    if x is not None:
        yield x


def _together(grid: Grid, x: np.ndarray, group: Group, steps: int) -> np.ndarray | None:
    """A group of equal periods one step up or down."""
    values = grid.values(group[0], x)
    here = int(np.argmin(np.abs(values - x[group[0]]))) + steps
    return _set(grid, x, group, float(values[here])) if 0 <= here < len(values) else None


def _nearest(grid: Grid, x: np.ndarray, places: Group, level: float) -> np.ndarray | None:
    values = grid.values(places[0], x)
    return _set(grid, x, places, float(values[int(np.argmin(np.abs(values - level)))]))


def _set(grid: Grid, x: np.ndarray, places: Group, level: float) -> np.ndarray | None:
    """Some periods at one level, None where it cannot be prescribed in one of them or nothing changes."""
    if all(abs(x[place] - level) <= TINY for place in places):
        return None
    for place in places:
        values = grid.values(place, x)
        if np.min(np.abs(values - level)) > 1e-6:
            return None
    found = x.copy()
    found[list(places)] = level
    return found
