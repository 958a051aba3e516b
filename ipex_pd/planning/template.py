"""Templates: a start regimen with free quantities as traced doses, as a written regimen, and in words.

```python
goal = load_plan("steroid_sparing_taper")
for choice in combinations(goal):  # drugs, intervals, conditioning, donor: everything that is enumerated
    template = template_of(goal, choice.regimen)
    template.names, template.lower, template.upper, template.start, template.linear
    template.schedule(x)  # traced
    template.regimen(x)  # written out: simulate and compare take it
```

What a free quantity means for the doses stands in `template_courses`. Free starts, days and transplant days move the
doses that hang on them; a free stop, and a transplant day at which another order stops, shrink the last dose to nothing
over one dosing interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.constrained_limits import LinearLimits
from ipex_pd.numerics.events import schedule_of
from ipex_pd.numerics.schedule import Schedule
from ipex_pd.planning.template_build import draft
from ipex_pd.planning.template_choices import Combination, combinations
from ipex_pd.planning.template_courses import Course, tool_of
from ipex_pd.planning.template_limits import linear_limits
from ipex_pd.planning.template_size import Size, convert, size_of
from ipex_pd.planning.template_terms import Array, Term, Variable
from ipex_pd.planning.template_titration import as_dosed
from ipex_pd.planning.template_words import calendar_of, words_of
from ipex_pd.planning.template_written import written
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen

if TYPE_CHECKING:
    import pandas as pd

    from ipex_pd.records.drugs import Drug
    from ipex_pd.simulation.results import Simulation

__all__ = ["Combination", "Size", "Template", "combinations", "size_of", "template_of"]


@dataclass(frozen=True, eq=False)
class Template:
    """A start regimen with free quantities x [n].

    Attributes:
        problem: what is asked.
        base: the start regimen of this combination of choices.
        variables: what each entry of x is.
        courses: one for each order of `base`.
        transplant: the day of the transplant, None without one.
        size: of the child the plan is for, None where it is not known.
        notes: what was settled on the way, in sentences (starts moved into bounds, titrations left out).
        in_mg: whether sized orders with tablets or steps have been turned into mg.
    """

    problem: PlanningProblem
    base: Regimen
    variables: tuple[Variable, ...]
    courses: tuple[Course, ...]
    transplant: Term | None
    size: Size | None
    notes: tuple[str, ...] = ()
    in_mg: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """[n] what each quantity is, in words."""
        return tuple(v.name for v in self.variables)

    @property
    def units(self) -> tuple[str, ...]:
        """[n] clinical units."""
        return tuple(v.unit for v in self.variables)

    @property
    def lower(self) -> np.ndarray:
        """[n] lower bounds."""
        return np.array([v.lower for v in self.variables])

    @property
    def upper(self) -> np.ndarray:
        """[n] upper bounds."""
        return np.array([v.upper for v in self.variables])

    @property
    def start(self) -> np.ndarray:
        """[n] values of the start regimen, within bounds."""
        return np.array([v.start for v in self.variables])

    @property
    def horizon(self) -> float:
        """Until when the plan is judged [day]."""
        return self.problem.horizon

    def schedule(self, x: Array) -> Schedule:
        """The doses at x [n]: times, amounts and the transplant day are traced, everything else is fixed.

        There is no titration in it. Rows are in the order of their times at the start values. Plain x gives plain
        arrays.
        """
        times, amounts = self._rows(x)
        fixed, day = self._fixed, self.transplant
        graft = fixed.transplant_times
        if day is not None and day.variables:
            graft = tool_of(x).atleast_1d(day.at(x))
        return replace(fixed, times=times[self._permutation], amount=amounts[self._permutation], transplant_times=graft)

    def _rows(self, x: Array) -> tuple[Array, Array]:
        tool = tool_of(x)
        at = tool.asarray(x, float)
        times, amounts = [tool.zeros(0)], [tool.zeros(0)]
        for course in self.courses:
            ending = course.ending(at)
            times += [course.times(at), ending]
            amounts += [course.amounts(at), tool.zeros(ending.shape)]
        return tool.concatenate(times), tool.concatenate(amounts)

    @cached_property
    def _permutation(self) -> np.ndarray:
        times, _ = self._rows(self.start)
        ends = np.concatenate(
            [np.zeros(0, bool), *(flag for course in self.courses for flag in _ends(course, self.start))]
        )
        return np.lexsort((~ends, np.round(np.asarray(times), 9)))

    @cached_property
    def _fixed(self) -> Schedule:
        """The schedule without doses, and the facts of its rows."""
        plain = _untitrated(self.base)
        drugs, jump = _bound(plain)
        bare = schedule_of(plain, drugs, self.horizon, jump)
        orders = tuple(replace(o, basis=c.basis) for o, c in zip(bare.orders, self.courses, strict=True))
        index, duration, per_day = [], [], []
        for course in self.courses:
            for ending in _ends(course, self.start):
                size, dose = len(ending), course.order.dose
                over = bool(ending.any())
                index.append(np.full(size, course.order.index))
                duration.append(np.full(size, 0.0 if over else dose.infusion or 0.0))
                per_day.append(np.full(size, 0.0 if over else dose.doses_a_day))
        where = self._permutation
        none = np.zeros(0)
        return replace(
            bare,
            orders=orders,
            order=np.concatenate([none, *index])[where].astype(int),
            duration=np.concatenate([none, *duration])[where],
            per_day=np.concatenate([none, *per_day])[where],
            steady_state=np.zeros(len(where)),
        )

    @cached_property
    def linear(self) -> LinearLimits:
        """Limits that are linear in x, with labels; `handled` says which lines of `limits` they settle."""
        return self._limits[0]

    @cached_property
    def handled(self) -> tuple[int, ...]:
        """Lines of `limits` that hold by `linear`, by the periods themselves or by rounding; others are nonlinear."""
        return self._limits[1]

    @cached_property
    def _limits(self) -> tuple[LinearLimits, tuple[int, ...]]:
        return linear_limits(self)

    def regimen(self, x: Array) -> Regimen:
        """The regimen at x, written out: constant doses merged, orders that x leaves alone as they stand.

        Raises:
            RecordError: x breaks a rule of regimens, such as a safety limit.
        """
        return written(self, self.point(x))

    def in_words(self, x: Array) -> list[str]:
        """The plan in sentences that a pharmacist can check."""
        return words_of(self, self.point(x))

    def calendar(self, x: Array) -> pd.DataFrame:
        """One row for each dose change: day, until, week, drug, route, dose, times a day, mg at the child's size,
        tablets."""
        return calendar_of(self, self.point(x))

    def sized(self, x: Array) -> tuple[Template, np.ndarray]:
        """The template with sized orders that have tablets or steps in mg at the child's size, and x there.

        A dose in mg/kg becomes the mg of the child's weight at the beginning of its period, as x has it.
        """
        return convert(self, self.point(x))

    def point(self, x: Array) -> np.ndarray:
        """x as numbers [n]. Raises: UsageError on another length or numbers that are not finite."""
        found = np.asarray(x, float)
        if found.shape != (len(self.variables),) or not np.isfinite(found).all():
            raise UsageError(
                f"x has shape {found.shape}, or is not finite",
                where=self.problem.name,
                rule=f"It holds {len(self.variables)} finite numbers: {', '.join(self.names)}",
            )
        return found

    def place(self, name: str) -> int:
        """The place of a quantity in x. Raises: UsageError."""
        if name not in self.names:
            raise UsageError(
                f"`{name}` is not free", where=self.problem.name, rule=f"Free are: {', '.join(self.names)}"
            )
        return self.names.index(name)


def _ends(course: Course, x: np.ndarray) -> Sequence[np.ndarray]:
    """For the doses of a course, and its rows of stopping: whether they are the latter."""
    return np.zeros(course.count, bool), np.ones(course.ending(x).shape, bool)


def template_of(
    problem: PlanningProblem, regimen: Regimen, *, size: Size | None = None, titrated: Simulation | None = None
) -> Template:
    """The template of a plan for one of its regimens (see `combinations`).

    Args:
        problem: what is free and what it must keep to.
        regimen: where it begins.
        size: of the child; when None that of the problem's patient, if his file states a weight.
        titrated: a simulation of `regimen`; orders that follow troughs and are not free are given as to its first
            child. Without it they are refused.

    Raises:
        RecordError: a free quantity or limit that cannot be honoured, with the cure.
    """
    frozen = {} if titrated is None else as_dosed(regimen, titrated)
    made = draft(problem, regimen, frozen)
    return Template(
        problem=problem,
        base=regimen,
        variables=tuple(made.variables),
        courses=tuple(made.courses),
        transplant=made.transplant,
        size=size if size is not None else _size(problem),
        notes=tuple(made.notes),
    )


def _size(problem: PlanningProblem) -> Size | None:
    from ipex_pd.records.library import load_patient

    patient = load_patient(problem.patient)
    stated = patient.weight_kg is not None or patient.weight_z is not None
    return size_of(patient) if stated else None


def _untitrated(regimen: Regimen) -> Regimen:
    doses = tuple(dose.model_copy(update={"target_trough": None}) for dose in regimen.doses)
    grafts = tuple(
        t.model_copy(update={"prophylaxis": tuple(d.model_copy(update={"target_trough": None}) for d in t.prophylaxis)})
        for t in regimen.transplants
    )
    return regimen.model_copy(update={"doses": doses, "transplants": grafts})


def _bound(regimen: Regimen) -> tuple[Mapping[str, Drug], dict[str, Array]]:
    from ipex_pd.simulation import individuals
    from ipex_pd.simulation.study import disease

    given = individuals.shelves(regimen, None)
    if not regimen.transplants:
        return given.drugs, {}
    jump = individuals.transplant_covariates(regimen.transplants, disease().events["transplant"], given.transplant)
    return given.drugs, jump
