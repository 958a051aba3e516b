"""The value of a plan over an ensemble, its limits, and the exact derivatives of both.

    value(x) = statistic over members of  sum over goals of  sign x weight x goal       (larger is better)

One evaluation solves the disease forward, asks goals and limits what they hold against each state of it, and takes all
these answers back through the disease to the doses and days, together: one compiled program for any number of them.
Where there are few free quantities it is cheaper to push them forward; the derivatives are the same.

```python
objective = plan_objective(problem, ensemble, template)
found = objective.evaluate(x)
found.value, found.gradient, found.limits, found.jacobian
objective.lower, objective.upper, objective.labels  # of the limits
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.gradients import Traced
from ipex_pd.numerics.schedule import Schedule, System
from ipex_pd.planning.course_programs import Leaves, Members
from ipex_pd.planning.courses import Candidate, Courses, Frozen, plan_times
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.goals import goal_quantity
from ipex_pd.planning.limits import LimitQuantity, limit_quantities, trough_days
from ipex_pd.planning.observed import Bearings, course_of
from ipex_pd.planning.statistic import statistic
from ipex_pd.records.plan_goals import QUALITY, QualityStates, Statistic
from ipex_pd.records.plans import PlanningProblem

Array = Any
Direction = Literal["auto", "reverse", "forward"]

_ALONG = 5
"""Free quantities that are pushed forward at the price of one number pulled back: measured, 1.2 and 6.7 solutions."""
_MOST_ALONG = 32
"""Each free quantity that is pushed forward holds a solution of all members in memory."""


class PlanTemplate(Candidate, Protocol):
    """What is needed of a template beside its schedule."""

    @property
    def handled(self) -> tuple[int, ...]:
        """Lines of `limits` that hold by other means."""


@dataclass(frozen=True)
class Wish:
    """One goal: name, sign times weight, worth of states."""

    name: str
    weight: float
    states: QualityStates | None = None


@dataclass(frozen=True)
class Question:
    """What is asked of a course; equal ones are one program."""

    wishes: tuple[Wish, ...]
    statistic: Statistic
    limits: tuple[LimitQuantity, ...]
    days: int


class Answers(NamedTuple):
    """What a course answers.

    Attributes:
        numbers: [1 + k] value and limits, smooth.
        members: [M] weighted sum of the goals in each member.
        goals: [g, M] each goal in each member, in its unit.
        exact: [k] limits without smoothing.
    """

    numbers: Array
    members: Array
    goals: Array
    exact: Array


@dataclass(frozen=True, eq=False)
class Evaluated:
    """A plan over the ensemble.

    Attributes:
        x: [n] the plan.
        value: what is maximised.
        limits: [k] smooth numbers, between `PlanObjective.lower` and `upper`.
        exact: [k] the same without smoothing.
        parts: goal -> weighted mean over the members, in its unit.
        goals: goal -> [M], in its unit.
        members: [M] the weighted sum of goals in each member.
        gradient: [n] of the value; None where it was not asked.
        jacobian: [k, n] of the limits; None where it was not asked.
    """

    x: np.ndarray
    value: float
    limits: np.ndarray
    exact: np.ndarray
    parts: Mapping[str, float]
    goals: Mapping[str, np.ndarray]
    members: np.ndarray
    gradient: np.ndarray | None = None
    jacobian: np.ndarray | None = None


class Ground(NamedTuple):
    """What answers stand on besides the solution; not differentiated."""

    schedule: Schedule
    members: Members
    weights: Array
    width: Array
    bearings: Bearings


def _answers(question: Question, system: System, ground: Ground, traced: Traced, leaves: Leaves) -> Answers:
    members, weights, width = ground.members, ground.weights, ground.width
    course = course_of(
        system,
        leaves.put(ground.schedule),
        members.theta,
        members.age,
        traced,
        leaves.outputs,
        ground.bearings,
        question.days,
    )
    goals = jnp.stack([goal_quantity(w.name, w.states).function(course, width) for w in question.wishes])
    total = jnp.asarray([w.weight for w in question.wishes]) @ goals
    value = statistic(question.statistic, total, weights)
    exact = [limit.exact(course, weights, width) for limit in question.limits]
    return Answers(
        numbers=jnp.stack([value, *(limit.value(course, weights, width) for limit in question.limits)]),
        members=total,
        goals=goals,
        exact=jnp.stack(exact) if exact else jnp.zeros(0),
    )


_asked: Any = jax.jit(_answers, static_argnums=(0, 1))


@partial(jax.jit, static_argnums=(0, 1))
def _asked_back(
    question: Question, system: System, ground: Ground, traced: Traced, leaves: Leaves
) -> tuple[Answers, tuple[Traced, Leaves]]:
    """Answers, and the cotangents [1 + k, ...] of the solution and the leaves."""

    def numbers(solution: Traced, moved: Leaves) -> tuple[Array, Answers]:
        found = _answers(question, system, ground, solution, moved)
        return found.numbers, found

    _, back, found = jax.vjp(numbers, traced, leaves, has_aux=True)
    return found, jax.vmap(back)(jnp.eye(found.numbers.shape[0]))


@partial(jax.jit, static_argnums=(0, 1))
def _asked_along(
    question: Question,
    system: System,
    ground: Ground,
    traced: Traced,
    leaves: Leaves,
    tangents: tuple[Traced, Leaves],
) -> tuple[Answers, Array]:
    """Answers, and their slopes [n, 1 + k] along tangents [n, ...] of the solution and the leaves."""

    def numbers(solution: Traced, moved: Leaves) -> Array:
        return _answers(question, system, ground, solution, moved).numbers

    slopes = jax.vmap(lambda along: jax.jvp(numbers, (traced, leaves), along)[1])(tangents)
    return _answers(question, system, ground, traced, leaves), slopes


class PlanObjective:
    """A plan's value and limits over an ensemble.

    Args:
        problem: goals, statistic, limits.
        ensemble: the members.
        template: plans as functions of x.
        width: scale of every smoothing (`goals`, `limits`); smaller is sharper.
        direction: how derivatives are taken; `auto` chooses by the numbers of free quantities and limits.
        threads: chunks of members that are solved at a time.

    Raises:
        UsageError: a limit that nobody keeps, or a goal without meaning over the horizon.
    """

    def __init__(
        self,
        problem: PlanningProblem,
        ensemble: Ensemble,
        template: PlanTemplate,
        *,
        width: float = 1.0,
        direction: Direction = "auto",
        threads: int = 2,
    ) -> None:
        if not width > 0:
            raise UsageError(f"width {width:g}", code="objective.width", rule="It is more than zero")
        self.problem, self.ensemble, self.template, self.width = problem, ensemble, template, width
        states = next((goal.states for goal in problem.goals if goal.name == QUALITY), None)
        drugs = ensemble.study(template.base, plan_times(template.horizon)).shelves.drugs
        self.limits = limit_quantities(problem.limits, template.handled, drugs, template.horizon, states)
        self.courses = Courses(
            ensemble, template, plan_times(template.horizon), troughs=trough_days(self.limits), threads=threads
        )
        wishes = tuple(Wish(goal.name, goal.sign * goal.weight, goal.states) for goal in problem.goals)
        self.question = Question(wishes, problem.statistic, self.limits, self.courses.days)
        self._require_long_enough()
        self._slopes: Any = jax.jit(jax.jacfwd(self._leaves))
        self.direction: Direction = self._direction() if direction == "auto" else direction

    def _require_long_enough(self) -> None:
        names = [
            *(w.name for w in self.question.wishes),
            *(q.about for q in self.limits if q.kind in ("mean", "share")),
        ]
        for name in names:
            goal = goal_quantity(name, next((w.states for w in self.question.wishes if w.name == name), None))
            if self.template.horizon < goal.days:
                raise UsageError(
                    f"`{name}` over {self.template.horizon:g} days",
                    code="objective.horizon",
                    where=self.problem.name,
                    rule=f"It has a meaning from {goal.days:g} days on",
                )

    def _direction(self) -> Direction:
        quantities, numbers = len(self.template.start), 1 + len(self.limits)
        return "forward" if quantities <= min(_ALONG * numbers, _MOST_ALONG) else "reverse"

    @property
    def lower(self) -> np.ndarray:
        """[k] lower bounds of the limits."""
        return np.array([limit.lower for limit in self.limits])

    @property
    def upper(self) -> np.ndarray:
        """[k] upper bounds of the limits."""
        return np.array([limit.upper for limit in self.limits])

    @property
    def labels(self) -> tuple[str, ...]:
        """[k] what the limits are, in words."""
        return tuple(limit.label for limit in self.limits)

    def value(self, x: np.ndarray) -> float:
        """The value alone, forward."""
        return self.told(x).value

    def told(self, x: np.ndarray) -> Evaluated:
        """Value, limits and parts without derivatives."""
        frozen, leaves, solution = self.courses.solved_at(x)
        found = _asked(self.question, self.courses.system, self._ground(frozen), solution, leaves)
        return self._evaluated(x, found, None)

    def evaluate(self, x: np.ndarray) -> Evaluated:
        """Value, limits, parts, gradient and jacobian."""
        frozen, leaves, solution = self.courses.solved_at(x)
        slopes = {name: np.asarray(table) for name, table in self._slopes(jnp.asarray(x), frozen).items()}
        along = self._reverse if self.direction == "reverse" else self._forward
        found, jacobian = along(frozen, leaves, solution, slopes)
        return self._evaluated(x, found, jacobian)

    def sharpened(self, width: float) -> PlanObjective:
        """The same with another width; programs, meshes and solutions are shared. Raises: UsageError."""
        if not width > 0:
            raise UsageError(f"width {width:g}", code="objective.width", rule="It is more than zero")
        other = object.__new__(PlanObjective)
        other.__dict__.update(self.__dict__)
        other.width = width
        return other

    def _leaves(self, x: Array, frozen: Frozen) -> dict[str, Array]:
        leaves = self.courses.leaves(frozen, self.template.schedule(x))
        return {name: getattr(leaves, name) for name in self.courses.names}

    def _ground(self, frozen: Frozen) -> Ground:
        weights, width = jnp.asarray(self.ensemble.weights), jnp.asarray(self.width)
        return Ground(frozen.schedule, self.courses.members, weights, width, frozen.bearings)

    def _reverse(
        self, frozen: Frozen, leaves: Leaves, solution: Traced, slopes: Mapping[str, np.ndarray]
    ) -> tuple[Answers, np.ndarray]:
        found, (back, direct) = _asked_back(self.question, self.courses.system, self._ground(frozen), solution, leaves)
        pulled = self.courses.pulled(frozen, leaves, back)
        total = np.zeros((len(self.limits) + 1, len(self.template.start)))
        for name, table in slopes.items():
            own = pulled[name] + np.asarray(getattr(direct, name))
            total += own @ table
        return found, total

    def _forward(
        self, frozen: Frozen, leaves: Leaves, solution: Traced, slopes: Mapping[str, np.ndarray]
    ) -> tuple[Answers, np.ndarray]:
        tangents = {name: jnp.asarray(table.T) for name, table in slopes.items()}
        along = self.courses.pushed(frozen, leaves, tangents)
        count = len(self.template.start)
        still = Leaves(*(jnp.zeros((count, *np.shape(leaf))) for leaf in leaves))
        found, table = _asked_along(
            self.question,
            self.courses.system,
            self._ground(frozen),
            solution,
            leaves,
            (along, still._replace(**tangents)),
        )
        return found, np.asarray(table).T

    def _evaluated(self, x: np.ndarray, found: Answers, jacobian: np.ndarray | None) -> Evaluated:
        numbers, goals = np.asarray(found.numbers), np.asarray(found.goals)
        names = [wish.name for wish in self.question.wishes]
        return Evaluated(
            x=np.array(x, float),
            value=float(numbers[0]),
            limits=numbers[1:],
            exact=np.asarray(found.exact),
            parts={name: float(self.ensemble.weights @ row) for name, row in zip(names, goals, strict=True)},
            goals=dict(zip(names, goals, strict=True)),
            members=np.asarray(found.members),
            gradient=None if jacobian is None else jacobian[0],
            jacobian=None if jacobian is None else jacobian[1:],
        )
