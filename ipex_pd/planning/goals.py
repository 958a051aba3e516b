"""Every goal of a plan as a function of a course, [M], that can be differentiated, and the same number of a simulation.

Names and meanings are those of `simulation.endpoints`. Where an endpoint is smooth, the goal is the same number. Where
it compares with a threshold, the goal takes a logistic function of stated width in its place; plans are judged in the
end by the endpoints of a simulation (`measured`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UnknownKeyError, UsageError, nearest_hint
from ipex_pd.planning import smooth
from ipex_pd.planning.course import Course
from ipex_pd.planning.goals_measured import quality_adjusted_time as measured_quality
from ipex_pd.planning.goals_measured import time_in_remission as measured_remission
from ipex_pd.records import plan_goals
from ipex_pd.simulation import thresholds as limit
from ipex_pd.simulation.endpoints import endpoint
from ipex_pd.simulation.questions import DEATH_HAZARDS, ORGANS

if TYPE_CHECKING:
    from ipex_pd.records.plan_goals import QualityStates
    from ipex_pd.records.regimens import Regimen
    from ipex_pd.simulation.results import Simulation

Array = Any
GoalFunction = Callable[[Course, Array], Array]

INJURY_WIDTH = 0.01
"""Of the logistic threshold of organ injury: a tenth of the threshold; half-way from 0.078 to 0.122 it goes from 10 to
90 %. Assumed, small beside the differences between members."""
MASS_WIDTH = 0.02
"""Of the thresholds of beta cells, thyroid and scarring [fraction]: assumed likewise, a tenth of the smallest."""


@dataclass(frozen=True)
class GoalQuantity:
    """One goal.

    Attributes:
        name, label, unit, better: as `records.plan_goals` and `simulation.endpoints` have them.
        meaning: what is computed, with the width of what was smoothed.
        function: (course, scale of the widths) -> [M].
        measured: (simulation, its regimen) -> the exact number, (patient,).
        smoothed: whether `function` differs from `measured` by the width of a threshold.
        days: shortest horizon it has a meaning for [day].
    """

    name: str
    label: str
    unit: str
    better: str
    meaning: str
    function: GoalFunction
    measured: Callable[[Simulation, Regimen], np.ndarray]
    smoothed: bool = False
    days: float = 0.0


def goal_quantity(name: str, states: QualityStates | None = None) -> GoalQuantity:
    """A goal by name; `states` says what a day is worth, for `quality_adjusted_time`.

    Raises:
        UnknownKeyError: no goal has this name.
        UsageError: quality-adjusted time without the worth of states.
    """
    if name == plan_goals.QUALITY:
        if states is None:
            raise UsageError(
                f"`{name}` without `states`", code="goal.states", rule="A day in each state has a stated worth"
            )
        return _quality(states)
    if name not in GOALS:
        raise UnknownKeyError(f"`{name}` is not a goal", rule=nearest_hint(name, plan_goals.GOALS))
    return GOALS[name]


def worst_injury(course: Course) -> Array:
    """[T, M] largest injury among the reversible organs [fraction]."""
    return jnp.max(jnp.stack([course[name] for name in ORGANS]), axis=0)


def in_remission(course: Course, width: Array) -> Array:
    """[T - 1, M] between 0 and 1: share of the time between outputs with all reversible organs quiet."""
    return smooth.share_below(worst_injury(course), limit.REMISSION_INJURY.value, INJURY_WIDTH * width)


def _deaths(course: Course) -> dict[str, Array]:
    return {cause: course[name] - course[name][:1] for cause, name in DEATH_HAZARDS.items()}


def _died_of(cause: str) -> GoalFunction:
    return lambda course, width: smooth.incidence(_deaths(course), cause)


def _last(name: str) -> GoalFunction:
    return lambda course, width: course[name][-1]


def _change(name: str) -> GoalFunction:
    return lambda course, width: course[name][-1] - course[name][0]


def _fold(name: str) -> GoalFunction:
    return lambda course, width: course[name][-1] / course[name][0]


def _infection(course: Course, width: Array) -> Array:
    hazard = course["cumulative_hazard_serious_infection"]
    return -jnp.expm1(hazard[0] - hazard[-1])


def _kept(course: Course, name: str, threshold: float, width: Array) -> Array:
    return smooth.softly_above(course[name][-1], threshold, MASS_WIDTH * width)


def _organ_free(course: Course, width: Array) -> Array:
    kidney = 1.0 - smooth.softly_above(course["renal_scarring"][-1], limit.SCARRED_KIDNEY.value, MASS_WIDTH * width)
    glands = _kept(course, "beta_cell_mass", limit.DIABETES_MASS.value, width)
    glands = glands * _kept(course, "thyroid_mass", limit.HYPOTHYROID_MASS.value, width)
    return course["survival"][-1] * glands * kidney


def _diabetes_free(course: Course, width: Array) -> Array:
    return course["survival"][-1] * _kept(course, "beta_cell_mass", limit.DIABETES_MASS.value, width)


def _remission(course: Course, width: Array) -> Array:
    """Below the threshold over all of the last days: the soft largest injury among the times inside and their edge."""
    start = course.times[-1] - limit.REMISSION_HOLD.value
    injury = worst_injury(course)
    edge = smooth.at_time(course.times, injury, start)[None]
    held = jnp.where((course.times >= start)[:, None], injury, -jnp.inf)
    largest = jnp.max(jnp.concatenate([edge, held]), axis=0)
    return smooth.softly_below(largest, limit.REMISSION_INJURY.value, INJURY_WIDTH * width)


def _time_in_remission(course: Course, width: Array) -> Array:
    lived = smooth.middles(course["survival"]) * in_remission(course, width)
    return jnp.sum(lived * jnp.diff(course.times)[:, None], axis=0)


def _quality(states: QualityStates) -> GoalQuantity:
    base = plan_goals.GOALS[plan_goals.QUALITY]

    def function(course: Course, width: Array) -> Array:
        return _worth(course, states, width)

    return GoalQuantity(
        name=plan_goals.QUALITY,
        label="Quality-adjusted time alive",
        unit=base.unit,
        better=base.better,
        meaning=f"integral of survival times the worth of a day: {states.in_words()}; remission and diabetes are "
        f"smoothed over {INJURY_WIDTH:g} of injury and {MASS_WIDTH:g} of beta-cell mass",
        function=function,
        measured=lambda sim, regimen: measured_quality(sim, states, [t.day for t in regimen.transplants]),
        smoothed=True,
    )


def _worth(course: Course, states: QualityStates, width: Array) -> Array:
    quiet = in_remission(course, width)
    plain = states.remission.value * quiet + states.active.value * (1.0 - quiet)
    alive = smooth.middles(course["survival"])
    if states.diabetes is not None:
        loss = smooth.share_below(course["beta_cell_mass"], limit.DIABETES_MASS.value, MASS_WIDTH * width)
        alive = alive * (1.0 - (1.0 - states.diabetes.value) * loss)
    total = jnp.sum(alive * plain * jnp.diff(course.times)[:, None], axis=0)
    after = states.after_transplant
    if after is None or not course.transplants.shape[0]:
        return total
    assert after.lasts is not None
    starts = jnp.sort(course.transplants, axis=0)
    ends = jnp.concatenate([jnp.minimum(starts[:-1] + after.lasts, starts[1:]), starts[-1:] + after.lasts])
    for start, end in zip(starts, ends, strict=True):
        total = total + smooth.area_between(course.times, alive * (after.value - plain), start, end)
    return total


def _endpoint(name: str) -> Callable[[Simulation, Regimen], np.ndarray]:
    return lambda sim, regimen: endpoint(sim, name)


def _of(
    name: str,
    label: str,
    function: GoalFunction,
    *,
    width: str = "",
    days: float = 0.0,
    measured: Callable[[Simulation, Regimen], np.ndarray] | None = None,
) -> GoalQuantity:
    about = plan_goals.GOALS[name]
    meaning = f"{about.words}{f'; {width}' if width else ''}"
    exact = _endpoint(name) if measured is None else measured
    return GoalQuantity(name, label, about.unit, about.better, meaning, function, exact, bool(width), days)


_ORGAN = f"thresholds of organs are smoothed over {MASS_WIDTH:g} of their mass"
_INJURY = f"the threshold of injury is smoothed over {INJURY_WIDTH:g}"

GOALS: Mapping[str, GoalQuantity] = {
    goal.name: goal
    for goal in (
        _of("survival", "Survival at the horizon", _last("survival")),
        _of("death_disease", "Death from the disease", _died_of("disease")),
        _of("death_infection", "Death from infection", _died_of("infection")),
        _of("death_transplant", "Death from the transplant", _died_of("transplant")),
        _of("organ_free_survival", "Alive with all organs", _organ_free, width=_ORGAN),
        _of("diabetes_free_survival", "Alive without diabetes", _diabetes_free, width=_ORGAN),
        _of(
            "time_in_remission",
            "Time alive in remission",
            _time_in_remission,
            width=f"days with all six reversible organs below {limit.REMISSION_INJURY.value:g}, however few in a row, "
            f"weighted by survival; {_INJURY}",
            measured=lambda sim, regimen: measured_remission(sim),
        ),
        _of("remission", "In remission at the horizon", _remission, width=_INJURY, days=limit.REMISSION_HOLD.value),
        _of("c_peptide", "C-peptide reserve", _last("c_peptide")),
        _of(
            "beta_cell_mass",
            "Beta-cell mass",
            _last("beta_cell_mass"),
            measured=lambda sim, regimen: np.asarray(sim["beta_cell_mass"][:, -1]),
        ),
        _of("height_z_change", "Height, change of z", _change("height_z")),
        _of("weight_z_change", "Weight, change of z", _change("weight_z")),
        _of("steroid_dose", "Cumulative steroid", _change("steroid_burden")),
        _of("calcineurin_burden", "Calcineurin inhibition", _change("cni_burden")),
        _of("infection_risk", "Serious infection", _infection),
        _of("renal_scarring", "Renal scarring", _last("renal_scarring")),
        _of("oi_score", "Organ-involvement score", _last("oi_score")),
        _of("ige_fold", "IgE, horizon over start", _fold("ige")),
    )
}
"""Every goal but `quality_adjusted_time`, which `goal_quantity` makes with its states."""
