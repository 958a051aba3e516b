"""The size of the child, and a template whose sized doses are turned into mg so that tablets can be counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import RecordError
from ipex_pd.planning.template_courses import Course, Window
from ipex_pd.planning.template_terms import Variable
from ipex_pd.records.growth import body_surface, size_at
from ipex_pd.records.patients import Patient
from ipex_pd.records.plan_limits import StepLimit, StrengthsLimit

if TYPE_CHECKING:
    from ipex_pd.planning.template import Template


@dataclass(frozen=True)
class Size:
    """The size of a child on a day of the regimen.

    Attributes:
        weight: day -> [kg].
        surface: day -> [m2].
    """

    weight: Callable[[float], float]
    surface: Callable[[float], float]

    def of(self, basis: str, day: float) -> float:
        """By what an amount in the basis is multiplied to be in mg."""
        if basis == "mg":
            return 1.0
        return self.weight(day) if basis == "mg/kg" else self.surface(day)


def size_of(patient: Patient) -> Size:
    """The size of a child who keeps to the z-scores of day 0 of his file (WHO tables; body surface by Mosteller)."""
    z = patient.size_z()

    def weight(day: float) -> float:
        return float(size_at("weight", patient.sex, patient.age + day, z["weight_z"]))

    def surface(day: float) -> float:
        height = size_at("height", patient.sex, patient.age + day, z["height_z"])
        return float(body_surface(weight(day), height))

    return Size(weight, surface)


def countable(template: Template) -> dict[str, StrengthsLimit | StepLimit]:
    """Drugs whose doses are counted in tablets, capsules or steps."""
    return {
        limit.drug: limit
        for limit in template.problem.limits
        if isinstance(limit, StrengthsLimit | StepLimit) and limit.drug in template.base.drugs
    }


def convert(template: Template, x: np.ndarray) -> tuple[Template, np.ndarray]:
    """See `Template.sized`. Raises: RecordError where the size of the child is not known."""
    drugs = countable(template)
    chosen = [c for c in template.courses if c.basis != "mg" and c.order.drug in drugs and c.count]
    if not chosen:
        return template, x
    if template.size is None:
        raise RecordError(
            f"tablets of `{chosen[0].order.drug}` cannot be counted: the child has no weight",
            where=template.problem.patient,
            rule="Doses by size are turned into mg by the weight at the beginning of each period",
            cure="Write `weight: {value: 7.5 kg, source: ...}` in the patient file",
        )
    variables, point = list(template.variables), x.copy()
    courses = list(template.courses)
    for place, course in enumerate(courses):
        if course in chosen:
            courses[place] = _in_mg(course, template.size, x, variables, point)
    made = replace(template, variables=tuple(variables), courses=tuple(courses), in_mg=True)
    return made, np.clip(point, made.lower, made.upper)


def _in_mg(course: Course, size: Size, x: np.ndarray, variables: list[Variable], point: np.ndarray) -> Course:
    """The course in mg; its variables and the point are brought along."""
    unit = replace(course, basis="mg").unit
    start = float(course.start.at(x))
    most = course.order.maximum_mg
    for window in course.windows:
        for number, value in enumerate(window.values):
            (place,) = value.variables
            factor = size.of(course.basis, _begin(course, window, number, x))
            cap = np.inf if most is None else most * course.split
            old = variables[place]
            bounds = {name: min(getattr(old, name) * factor, cap) for name in ("lower", "upper", "start")}
            variables[place] = replace(old, unit=unit, **bounds)
            point[place] = min(point[place] * factor, cap)
    levels = tuple((day, amount * size.of(course.basis, start + day)) for day, amount in course.levels)
    loading = course.loading_amount * size.of(course.basis, start)
    return replace(course, basis="mg", levels=levels, loading_amount=loading, rewritten=True)


def _begin(course: Course, window: Window, number: int, x: np.ndarray) -> float:
    return max(0.0, float(course.start.at(x)), float(window.begins[number].at(x)))
