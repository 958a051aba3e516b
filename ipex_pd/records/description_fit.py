"""Structural models and estimation problems in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from ipex_pd.records.endpoints import Continuous
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
    for name, endpoint in problem.endpoints.items():
        if isinstance(endpoint, Continuous):
            error = endpoint.error.model.replace("_", " ")
            yield f"Observed {name}: {endpoint.prediction}, {error} error"
        else:
            yield f"Observed {name}: an event with hazard {endpoint.hazard}"


def _about(quantity: Quantity) -> str:
    return quantity.meaning if quantity.unit == "1" else f"{quantity.meaning} [{quantity.unit}]"


def _parameter(name: str, value: PopulationParameter) -> str:
    unit = "" if value.unit == "1" else f" {value.unit}"
    role = "fixed at" if value.fixed else "estimated from"
    meaning = f" ({value.meaning})" if value.meaning else ""
    return f"Population value {name}{meaning}: {role} {value.start:g}{unit}"
