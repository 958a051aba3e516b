"""Where searches of a plan begin: the start regimen, flat schedules, and seeded random ones, all within the linear
limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.numerics.constrained_elastic import feasible_start
from ipex_pd.numerics.constrained_limits import Array

if TYPE_CHECKING:
    from ipex_pd.planning.template import Template

START = "the start regimen"
_FLAT = (("middle of the bounds", 0.5), ("near the upper bounds", 0.85), ("near the lower bounds", 0.15))


@dataclass(frozen=True, eq=False)
class PlanStart:
    """Where a search begins.

    Attributes:
        name: which start this is, in words.
        x: [n] within bounds and linear limits.
        moved: largest distance from where it was meant to be, in ranges of the quantities.
    """

    name: str
    x: Array
    moved: float


def starts_of(template: Template, count: int, seed: int) -> tuple[PlanStart, ...]:
    """The first `count` starts: the start regimen, three flat schedules, then random ones.

    Random starts alternate between one random level for all doses of an order and independent ones; each is moved to
    the nearest point that keeps the linear limits.

    Args:
        template: whose bounds, start and linear limits count.
        count: how many.
        seed: of the random ones.

    Returns:
        The starts; empty where no point keeps the linear limits.
    """
    found = []
    for name, x in _wanted(template, count, seed):
        kept = feasible_start(x, template.lower, template.upper, template.linear)
        if kept is None:
            return ()
        found.append(PlanStart(name, kept, _distance(kept, x, template)))
    return tuple(found)


def _wanted(template: Template, count: int, seed: int) -> list[tuple[str, Array]]:
    lower, width = template.lower, template.upper - template.lower
    found: list[tuple[str, Array]] = [(START, np.asarray(template.start, float))]
    found += [(name, lower + level * width) for name, level in _FLAT]
    random = np.random.default_rng([seed, 0x9A11])
    groups = _groups(template)
    for number in range(max(0, count - len(found))):
        levels = random.uniform(0.0, 1.0, len(lower))
        shared = random.uniform(0.0, 1.0, int(groups.max(initial=0)) + 1)[groups]
        found.append((f"random {number + 1}", lower + (shared if number % 2 == 0 else levels) * width))
    return found[:count]


def _groups(template: Template) -> np.ndarray:
    """[n] number of the (kind, order) that each quantity belongs to."""
    keys = [(variable.kind, variable.order) for variable in template.variables]
    known = list(dict.fromkeys(keys))
    return np.array([known.index(key) for key in keys], dtype=int)


def _distance(x: Array, other: Array, template: Template) -> float:
    width = np.where(template.upper > template.lower, template.upper - template.lower, 1.0)
    return float((np.abs(x - other) / width).max(initial=0.0))
