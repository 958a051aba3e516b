"""Structural models and estimation problems in plain words."""

from __future__ import annotations

from collections.abc import Iterator

from ipex_pd.records.endpoints import AnyEndpoint, Event
from ipex_pd.records.individual import Individual
from ipex_pd.records.models import StructuralModel
from ipex_pd.records.problems import Composition, EstimationProblem, PopulationParameter


def describe_model(model: StructuralModel) -> list[str]:
    """Sentences, one a line."""
    return list(_model(model))


def describe_problem(problem: EstimationProblem) -> list[str]:
    """Sentences, one a line."""
    return list(_problem(problem))


def _model(model: StructuralModel) -> Iterator[str]:
    yield f"Structural model `{model.name}`: {model.description.rstrip('.')}."
    if not model.compartments:
        yield "It has no compartments: its outputs are formulas."
    for number, (name, state) in enumerate(model.states.items(), 1):
        rate = f"; d/dt = {model.rates[name].text}" if name in model.rates else ""
        begin = f"; starts at {model.initial[name].text}" if name in model.initial else ""
        yield f"Compartment {number} {name} [{state.unit}]: {state.meaning}{rate}{begin}"
    for kind, quantities in (("Parameter", model.parameters), ("Input", model.inputs)):
        yield from (f"{kind} {name} [{q.unit}]: {q.meaning}" for name, q in quantities.items())
    for name, output in model.outputs.items():
        yield f"Output {name} [{output.unit}] = {output.formula.text}: {output.meaning}"
    if model.source is not None:
        yield f"Source: {model.source.in_words()}."


def _problem(problem: EstimationProblem) -> Iterator[str]:
    yield f"Estimation problem `{problem.name}`: {problem.description.rstrip('.')}."
    yield f"Data: {problem.data.file}, time in {problem.data.time_unit}."
    yield f"Model: {_named(problem)}."
    yield from (_parameter(name, p) for name, p in problem.parameters.items())
    for part in problem.random_effects.parts():
        level = "Between subjects" if part.level == "subject" else "Between occasions"
        spread = "variance" if len(part.names) == 1 else "variances"
        values = ", ".join(f"{value:g}" for value in part.start.diagonal())
        joined = " (correlated)" if len(part.names) > 1 else ""
        kept = "fixed at" if part.fixed else "from"
        yield f"{level}: {', '.join(part.names)}{joined}, {spread} {kept} {values}"
    for name, value in problem.individual.items():
        short = f" ({value.distribution.replace('_', '-')})" if isinstance(value, Individual) and value.random else ""
        yield f"Individual {name} = {value.formula().text}{short}"
    for compartment, dosing in problem.doses.items():
        said = [f"{term} {formula.text}" for term, formula in dosing.formulas().items()]
        said += [f"copies of those into {dosing.copies}"] if dosing.copies else []
        yield f"Doses into {compartment}: {', '.join(said)}"
    yield from (_endpoint(name, endpoint) for name, endpoint in problem.endpoints.items())
    for c in problem.correlations:
        yield f"Residual errors of {c.endpoints[0]} and {c.endpoints[1]} in one sample: correlation {c.value.text}"


def _named(problem: EstimationProblem) -> str:
    if isinstance(problem.model, Composition):
        return " with ".join(problem.model.compose)
    return problem.model if isinstance(problem.model, str) else "written in the problem"


def _parameter(name: str, parameter: PopulationParameter) -> str:
    unit = "" if parameter.unit == "1" else f" {parameter.unit}"
    low, high = parameter.limits
    bounds = "" if low == -float("inf") and high == float("inf") else f", between {low:g} and {high:g}"
    kept = f"fixed at {parameter.start:g}{unit}" if parameter.fixed else f"from {parameter.start:g}{unit}{bounds}"
    prior = "" if parameter.prior is None else f", with a {parameter.prior.distribution.replace('_', '-')} prior"
    meaning = f" ({parameter.meaning})" if parameter.meaning else ""
    return f"Parameter {name}{meaning}: {kept}{prior}"


def _endpoint(name: str, endpoint: AnyEndpoint) -> str:
    chosen = f" (DVID {endpoint.dvid})" if endpoint.dvid is not None else ""
    chosen = f" (CMT {endpoint.cmt})" if endpoint.cmt is not None else chosen
    if isinstance(endpoint, Event):
        return f"Event {name}{chosen}: hazard {endpoint.hazard.text}"
    terms = ", ".join(f"{term} {formula.text}" for term, formula in endpoint.error.formulas().items())
    scale = f", on the {endpoint.scale.kind.replace('_', '-')} scale" if endpoint.scale is not None else ""
    censored = f", censored rows by {endpoint.censoring.upper()}" if endpoint.censoring else ""
    return (
        f"Endpoint {name}{chosen} = {endpoint.prediction.text}; {endpoint.error.model} error ({terms}){scale}{censored}"
    )
