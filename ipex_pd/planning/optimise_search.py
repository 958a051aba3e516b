"""The constrained search of one combination of choices: from several starts, with smoothing that narrows in stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.constrained import (
    CONSTRAINED,
    ConstrainedAlgorithm,
    ConstrainedMinimum,
    ConstrainedStep,
    ConstrainedStopping,
    minimise_constrained,
)
from ipex_pd.numerics.constrained_limits import Array, NonlinearLimits
from ipex_pd.numerics.constrained_memory import Learnt
from ipex_pd.planning.starts import PlanStart

if TYPE_CHECKING:
    from ipex_pd.planning.objective import Evaluated, PlanObjective
    from ipex_pd.planning.template import Template

Told = Callable[[str, int, float, float], None]

FEASIBLE = 1e-4
"""Overstepping of a limit, in units of the limit, that a search counts as none."""

ROUGH = ConstrainedStopping(decrease=1e-5, violation=FEASIBLE, stall=0.03)
"""Ends a stage that only prepares the next one; thirty times the asked gradient is enough."""
SCOUTING = ConstrainedStopping(decrease=1e-6, violation=FEASIBLE, stall=0.01)
"""Ends a search on scouts: what they cannot tell from what all members want is not worth steps."""

ON_ALL = 0.002
"""Share of all gained that four steps on all members must gain for the search to go on."""

NEARLY = 0.03
"""Part of the size of the goal within which the second of two optima of scouts is searched on all members too."""
APART = 0.1
"""Part of the range of a quantity by which such optima differ."""

CROSSING = ("start", "stop", "transplant")
"""Quantities that pass doses as they move."""
_COARSE = 8
"""First steps of a walk in the range of a quantity."""
_DAY = 1.0
"""The last step of a walk [day]."""
_WORTH = 1e-6
"""Part of the goal's size that a step of a walk must gain."""


@dataclass(frozen=True)
class PlanOptions:
    """How a plan is searched.

    Attributes:
        starts: searches of each combination of choices, the start regimen first.
        seed: of random starts and of resampling.
        algorithm: one of `numerics.constrained.CONSTRAINED`.
        iterations: the most steps of each search from a start.
        widths: scales of the smoothing, one stage each; the last is that of the reported values.
        gradient: projected gradient, relative to the start's, that counts as zero.
        screen: combinations searched in full; more are ranked first by a short search of each, and that is said.
        scouts: members on whom starts and combinations are compared, where the ensemble has more; the best ends are
            then searched on all members.
        polish: the most steps of the search on all members from an end of the scouts.
        finalists: combinations that are searched on all members, and whose rounded plans are judged by simulation
            before one is chosen.
        neighbours: the most neighbours that rounding tries.
        threads: chunks of members that are solved at a time.
    """

    starts: int = 3
    seed: int = 1
    algorithm: ConstrainedAlgorithm = "slsqp"
    iterations: int = 40
    widths: tuple[float, ...] = (4.0, 1.0)
    gradient: float = 1e-3
    screen: int = 4
    scouts: int = 16
    polish: int = 8
    finalists: int = 2
    neighbours: int = 60
    threads: int = 2

    def __post_init__(self) -> None:
        positive = ("starts", "iterations", "screen", "scouts", "polish", "finalists", "threads")
        counts = {name: getattr(self, name) for name in positive}
        low = [name for name, count in counts.items() if count < 1]
        if low:
            raise UsageError(f"`{low[0]}` is {counts[low[0]]}", code="plan.options", rule="It is one or more")
        if self.algorithm not in CONSTRAINED:
            raise UsageError(f"`{self.algorithm}` is not a search", code="plan.options", rule=f"Known: {CONSTRAINED}")
        if not self.widths or min(self.widths) <= 0 or self.neighbours < 0 or not self.gradient > 0:
            raise UsageError(
                "`widths` and `gradient` are more than zero, `neighbours` is not negative", code="plan.options"
            )


@dataclass(frozen=True, eq=False)
class SearchEnd:
    """Where one search ended.

    Attributes:
        start: where it began.
        x: [n].
        value: the smooth goal there; larger is better.
        minimum: what the search says of it (of the goal's negative).
        began: the goal where it began, at the first width.
    """

    start: str
    x: Array
    value: float
    minimum: ConstrainedMinimum
    began: float

    @property
    def violation(self) -> float:
        """Largest overstepping of a limit, in its unit."""
        return self.minimum.violation

    @property
    def feasible(self) -> bool:
        """Whether all limits are kept."""
        return self.minimum.violation <= FEASIBLE


@dataclass
class Searcher:
    """One combination of choices with its objective.

    Attributes:
        name: of the combination, for progress.
        template: plans as functions of x.
        objective: at the last width.
        options: of the search.
        told: progress(name, iteration, objective, violation).
        scouting: whether ends are searched on elsewhere; such searches need not go to the last digit.
        evaluations: so far.
    """

    name: str
    template: Template
    objective: PlanObjective
    options: PlanOptions
    told: Told | None = None
    scouting: bool = False
    evaluations: int = 0
    _last: tuple[bytes, float, Evaluated] | None = field(default=None, repr=False)

    def evaluate(self, x: Array, width: float) -> Evaluated:
        """The objective with derivatives at a width; the last point is remembered."""
        key = np.asarray(x, float).tobytes()
        if self._last is not None and self._last[0] == key and self._last[1] == width:
            return self._last[2]
        found = self.objective.sharpened(width).evaluate(np.asarray(x, float))
        self.evaluations += 1
        self._last = (key, width, found)
        return found

    def limits(self, width: float) -> NonlinearLimits | None:
        """The simulated limits of the objective at a width; None where there are none."""
        if not self.objective.labels:
            return None

        def both(x: Array) -> tuple[Array, Array]:
            found = self.evaluate(x, width)
            assert found.jacobian is not None
            return found.limits, found.jacobian

        return NonlinearLimits(both, self.objective.lower, self.objective.upper, self.objective.labels)

    def search(self, start: PlanStart, learnt: Learnt | None = None) -> SearchEnd:
        """Search from one start through all widths; the end is judged at the last one.

        Args:
            start: where to begin.
            learnt: by the search that this one goes on with.
        """
        stages, began = self.options.widths, float("nan")
        x = self._walked(start.name, start.x, stages[0])
        found: ConstrainedMinimum | None = None
        for number, width in enumerate(stages):
            last = number == len(stages) - 1
            ends, loose = (ROUGH, 30) if not last else (SCOUTING, 10) if self.scouting else (self._whole, 1)
            stopping = replace(
                ends,
                gradient=loose * self.options.gradient,
                iterations=self.options.iterations if last else max(1, self.options.iterations // 4),
            )
            try:
                found = self._stage(start.name, x, width, stopping, learnt if found is None else found.learnt)
            except KeyboardInterrupt:
                # it came before the stage had a first point
                if found is None:
                    raise
                found = replace(found, interrupted=True)
                break
            x = found.x
            began = -found.trace[0].value if number == 0 and found.trace else began
            if found.interrupted:
                break
        assert found is not None
        return SearchEnd(start.name, x, -found.value, found, began)

    def _walked(self, label: str, x: Array, width: float) -> Array:
        """x with better days: walked by values alone, in steps from an eighth of a range to a day, and doses between.

        Where a transplant, a start or a stop passes doses, the slope jumps, several times in a day: the value has peaks
        of a millionth there, at which a search along slopes would end, while weeks further on it is worth a hundredth
        more. Doses are then searched with the days held, since a day at such a peak stops the doses too.
        """
        template = self.template
        free = np.array([v.kind in CROSSING and v.upper > v.lower for v in template.variables])
        if not free.any():
            return x
        walked = self._over_days(label, x, width, np.flatnonzero(free))
        if free.all():
            return walked
        stopping = replace(ROUGH, gradient=30 * self.options.gradient, iterations=max(1, self.options.iterations // 4))
        found = self._stage(f"{label}, doses", walked, width, stopping, held=free)
        if found.interrupted or found.violation > max(FEASIBLE, self._standing_at(walked, width)[1]):
            return walked
        return self._over_days(label, found.x, width, np.flatnonzero(free), 2 * _COARSE)

    def _standing_at(self, x: Array, width: float) -> tuple[float, float]:
        """Value and violation."""
        found = self.objective.sharpened(width).told(x)
        return found.value, self.violation(x, found.limits)

    def _over_days(self, label: str, x: Array, width: float, places: np.ndarray, parts: int = _COARSE) -> Array:
        """The best point that steps of some quantities lead to; each step is tried both ways, and halved.

        Steps are of whole days, so that what a day is compared with lies as far from its doses.
        """
        template, count = self.template, 0
        value, over = self._standing_at(x, width)
        for place in places:
            step = np.ceil((template.upper[place] - template.lower[place]) / parts)
            while step >= _DAY:
                moved = False
                for ahead in (step, -step):
                    at = np.array(x, float)
                    at[place] = np.clip(x[place] + ahead, template.lower[place], template.upper[place])
                    if at[place] == x[place]:
                        continue
                    there, outside = self._standing_at(at, width)
                    count += 1
                    if self.told is not None:
                        self.told(f"{self.name}, {label}, days", count, max(there, value), over)
                    gained = there > value + _WORTH * abs(value) and outside <= max(FEASIBLE, over)
                    if gained or (over > FEASIBLE and outside < over):
                        x, value, over, moved = at, there, outside, True
                        break
                step = step if moved else np.floor(0.5 * step)
        return x

    @property
    def _whole(self) -> ConstrainedStopping:
        return ConstrainedStopping(gradient=self.options.gradient, decrease=1e-9, violation=FEASIBLE)

    def polished(self, label: str, x: Array, learnt: Learnt | None = None) -> SearchEnd:
        """A search on from where a search on other members ended, at the last width.

        Args:
            label: of where it began.
            x: where the other search ended.
            learnt: by that search.
        """
        stopping = replace(self._whole, iterations=self.options.polish, stall=ON_ALL)
        found = self._stage(f"{label}, all members", x, self.options.widths[-1], stopping, learnt)
        began = -found.trace[0].value if found.trace else float("nan")
        return SearchEnd(label, found.x, -found.value, found, began)

    def standing(self, end: SearchEnd) -> SearchEnd:
        """An end of a search on other members, with goal and violation on these; its optimality stays that of them."""
        value, over = self._standing_at(end.x, self.options.widths[-1])
        kept = replace(end.minimum, value=-value, violation=over, interrupted=True)
        return replace(end, value=value, minimum=replace(kept, converged=False))

    def roughly(self, start: PlanStart, iterations: int = 6) -> SearchEnd:
        """A short search at the last width, to rank combinations."""
        stopping = ConstrainedStopping(gradient=1e-2, decrease=1e-4, violation=FEASIBLE, iterations=iterations)
        found = self._stage("screening", start.x, self.options.widths[-1], stopping)
        began = -found.trace[0].value if found.trace else float("nan")
        return SearchEnd(start.name, found.x, -found.value, found, began)

    def _stage(
        self,
        label: str,
        x: Array,
        width: float,
        stopping: ConstrainedStopping,
        learnt: Learnt | None = None,
        held: np.ndarray | None = None,
    ) -> ConstrainedMinimum:
        objective = self.objective.sharpened(width)

        def quick(at: Array) -> tuple[float, Array]:
            found = objective.told(np.asarray(at, float))
            return -found.value, found.limits

        def cost(at: Array) -> tuple[float, Array]:
            found = self.evaluate(at, width)
            assert found.gradient is not None
            return -found.value, -found.gradient

        def step(done: ConstrainedStep) -> None:
            if self.told is not None:
                self.told(f"{self.name}, {label}", done.iteration, -done.value, done.violation)

        template = self.template
        still = np.zeros(len(x), bool) if held is None else held
        return minimise_constrained(
            cost,
            x,
            lower=np.where(still, x, template.lower),
            upper=np.where(still, x, template.upper),
            linear=template.linear if len(template.linear) else None,
            nonlinear=self.limits(width),
            names=template.names,
            algorithm=self.options.algorithm,
            stopping=stopping,
            callback=step,
            quick=quick,
            learnt=learnt,
        )

    def violation(self, x: Array, limits: Array) -> float:
        """Largest overstepping of linear and simulated limits at x, in units of each."""
        linear = self.template.linear
        found = [0.0]
        for values, low, high in (
            (linear.matrix @ x, linear.lower, linear.upper),
            (limits, self.objective.lower, self.objective.upper),
        ):
            size = np.maximum(*(np.where(np.isfinite(end), np.abs(end), 0.0) for end in (low, high)))
            outside = np.maximum(np.maximum(low - values, values - high), 0.0)
            found.append(float((outside / np.where(size > 0, size, 1.0)).max(initial=0.0)))
        return max(found)


def better(one: SearchEnd, other: SearchEnd) -> bool:
    """Whether one end is to be preferred: feasible first, then the value, else the smaller violation."""
    if one.feasible != other.feasible:
        return one.feasible
    return one.value > other.value if one.feasible else one.violation < other.violation


def best_end(ends: list[SearchEnd]) -> SearchEnd:
    """The best of several."""
    best = ends[0]
    for end in ends[1:]:
        best = end if better(end, best) else best
    return best


def distinct_ends(ends: list[SearchEnd], width: Array) -> list[SearchEnd]:
    """The best end, and the next one of nearly the same value that is another schedule, if there is one.

    Args:
        ends: of the searches of a combination.
        width: [n] ranges of the quantities.
    """
    best = best_end(ends)
    size = max(abs(best.value), best.value - ends[0].began, 1e-12)
    others = [
        end
        for end in ends
        if end.feasible == best.feasible
        and best.value - end.value <= NEARLY * size
        and float((np.abs(end.x - best.x) / np.where(width > 0, width, 1.0)).max(initial=0.0)) > APART
    ]
    return [best, best_end(others)] if others else [best]


def choice_name(choices: Mapping[str, str]) -> str:
    """`interval of tacrolimus: 12 h, conditioning: reduced`; `the plan` without a choice."""
    return ", ".join(f"{name}: {value}" for name, value in choices.items()) or "the plan"
