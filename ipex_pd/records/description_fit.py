"""Structural models, estimation problems and cohorts in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from ipex_pd.records.cohort_problems import AsMeasured, CohortProblem
from ipex_pd.records.cohort_records import Cohort
from ipex_pd.records.endpoints import Continuous, Event
from ipex_pd.records.models import Quantity, StructuralModel
from ipex_pd.records.problems import Composition, EstimationProblem, PopulationParameter


def describe_model(model: StructuralModel) -> Iterator[str]:
    """Compartments, how they change, what is needed and what can be observed."""
    yield f"Structural model `{model.name}`: {model.description}"
    for name, about in model.states.items():
        yield f"Compartment {name}: {_about(about)}"
    if model.kinetics is not None:
        yield "Linear kinetics, solved in closed form."
    yield from (f"Rate of change of {name}: {rate}" for name, rate in model.rates.items())
    yield from (f"{name} starts at {value}" for name, value in model.initial.items())
    yield from (f"Parameter {name}: {_about(about)}" for name, about in model.parameters.items())
    yield from (f"Input {name}: {_about(about)}" for name, about in model.inputs.items())
    yield from (f"Output {name} = {output.formula}: {_about(output)}" for name, output in model.outputs.items())


def describe_problem(problem: EstimationProblem) -> Iterator[str]:
    """Data, model, what is estimated and what is observed."""
    yield f"Estimation problem `{problem.name}`: {problem.description}"
    yield f"Data: {problem.data.file}"
    if isinstance(problem.model, StructuralModel):
        yield from describe_model(problem.model)
    else:
        names = problem.model.compose if isinstance(problem.model, Composition) else (problem.model,)
        yield f"Model: {' then '.join(names)}"
    yield from (_parameter(name, value) for name, value in problem.parameters.items())
    yield from (f"In each subject, {name} = {value.formula()}" for name, value in problem.individual.items())
    yield from (_observed(name, endpoint) for name, endpoint in problem.endpoints.items())


def describe_cohort_problem(problem: CohortProblem) -> Iterator[str]:
    """Cohort, what is estimated of the disease and what is observed."""
    yield f"Problem of the disease `{problem.name}`: {problem.description}"
    yield f"Cohort: {problem.cohort}"
    yield from (_parameter(name, value) for name, value in problem.parameters.items())
    yield from (f"In each child, {name} = {value.formula()}" for name, value in problem.individual.items())
    for name, endpoint in problem.endpoints.items():
        if isinstance(endpoint, AsMeasured):
            yield f"Observed {name}: {endpoint.prediction or 'what it reads'}, with the error of its measurement"
        else:
            yield _observed(name, endpoint)


def describe_cohort(cohort: Cohort) -> Iterator[str]:
    """How many children, where their measurements are, what further columns mean."""
    yield f"Cohort `{cohort.name}`: {cohort.description}"
    yield f"{len(cohort.children)} children; what was measured is in {cohort.observations}."
    if cohort.truth is not None:
        yield f"The values that made it are in {cohort.truth}, which no fit reads."
    yield from (f"Column {name}: {meaning}" for name, meaning in cohort.columns.items())


def _observed(name: str, endpoint: Continuous | Event) -> str:
    if isinstance(endpoint, Continuous):
        return f"Observed {name}: {endpoint.prediction}, {endpoint.error.model.replace('_', ' ')} error"
    return f"Observed {name}: an event with hazard {endpoint.hazard}"


def _about(quantity: Quantity) -> str:
    return quantity.meaning if quantity.unit == "1" else f"{quantity.meaning} [{quantity.unit}]"


def _parameter(name: str, value: PopulationParameter) -> str:
    unit = "" if value.unit == "1" else f" {value.unit}"
    role = "fixed at" if value.fixed else "estimated from"
    meaning = f" ({value.meaning})" if value.meaning else ""
    return f"Population value {name}{meaning}: {role} {value.start:g}{unit}"
