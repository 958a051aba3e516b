"""Any record in plain words: what was understood, and what is assumed."""

from __future__ import annotations

from collections.abc import Iterator

from ipex_pd.records import wording
from ipex_pd.records.cohort_problems import CohortProblem
from ipex_pd.records.cohort_records import Cohort
from ipex_pd.records.description_fit import describe_cohort, describe_cohort_problem, describe_model, describe_problem
from ipex_pd.records.drugs import Drug
from ipex_pd.records.measurements import Limit, Measurement, Measurements
from ipex_pd.records.models import StructuralModel
from ipex_pd.records.observations import (
    QUANTITIES,
    CourseObservation,
    Observation,
    Observations,
    ParameterObservation,
    Study,
)
from ipex_pd.records.parameters import Parameter, ParameterSet
from ipex_pd.records.patients import Patient
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.provenance import Shelf, Source, sources_in
from ipex_pd.records.record import Record
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import orders


def describe_record(
    record: ParameterSet
    | Drug
    | Patient
    | Regimen
    | PlanningProblem
    | Observations
    | Measurements
    | StructuralModel
    | EstimationProblem
    | CohortProblem
    | Cohort
    | Shelf,
) -> list[str]:
    """Sentences or table lines, one a line."""
    if isinstance(record, ParameterSet):
        return _parameters(record)
    if isinstance(record, Drug):
        return _drug(record)
    if isinstance(record, Patient):
        return _patient(record)
    if isinstance(record, Observations):
        return [*_observations(record), _sources(record)]
    if isinstance(record, Measurements):
        return [*_measurements(record), _sources(record)]
    if isinstance(record, StructuralModel):
        return list(describe_model(record))
    if isinstance(record, EstimationProblem):
        return list(describe_problem(record))
    if isinstance(record, CohortProblem):
        return list(describe_cohort_problem(record))
    if isinstance(record, Cohort):
        return list(describe_cohort(record))
    if isinstance(record, PlanningProblem):
        return [f"Plan `{record.name}`: {record.description}", *record.in_words(), _sources(record)]
    if isinstance(record, Shelf):
        return _citations(record)
    return [f"Regimen `{record.name}`: {record.description}", *record.in_words()]


def source_counts(record: Record) -> dict[str, int]:
    """How many sources of each kind a record names."""
    counts: dict[str, int] = {}
    for _, source in sources_in(record):
        counts[source.kind] = counts.get(source.kind, 0) + 1
    return counts


def _sources(record: Record) -> str:
    counts = source_counts(record)
    return "Sources: " + ", ".join(f"{number} {kind}" for kind, number in sorted(counts.items())) + "."


def _line(parameter: Parameter) -> str:
    spread = parameter.variability
    width = ""
    if spread is not None:
        width = (
            f", between patients {spread.cv:.0%}" if spread.cv is not None else f", between patients SD {spread.sd:g}"
        )
    unit = "" if parameter.unit == "1" else f" {parameter.unit}"
    return f"{parameter.name} = {parameter.value:g}{unit} ({parameter.meaning}{width}; {parameter.source.in_words()})"


def _parameters(record: ParameterSet) -> list[str]:
    head = f"Parameter set `{record.name}` with {len(record.parameters)} parameters: {record.description}"
    return [head, f"It is not: {record.is_not}", *(_line(p) for p in record.parameters), _sources(record)]


def _drug(record: Drug) -> list[str]:
    shape = f"{record.kinetics.compartments} compartment{'s' if record.kinetics.compartments > 1 else ''}"
    depot = "with a depot" if record.kinetics.depot else "without a depot"
    lines = [
        f"Drug `{record.name}`: {record.description}",
        f"It is not: {record.is_not}",
        f"{shape.capitalize()} {depot}; given {' or '.join(record.routes)}; measured in {record.concentration.unit}.",
    ]
    lines += [_line(p) for p in record.parameters]
    lines += [f"{relation.on} depends on: {relation.kind.replace('_', ' ')}" for relation in record.relations]
    lines += [f"Acts on {action.target}: {_line(action.ec50)}" for action in record.acts_on]
    if record.variants:
        lines.append(f"Variants: {', '.join(record.variants)}.")
    return [*lines, _sources(record)]


def _patient(record: Patient) -> list[str]:
    lines = [
        f"Patient `{record.name}`: {record.description}",
        f"{record.sex.capitalize()}, {record.age:g} days old at the start, FOXP3 class {record.foxp3.value}.",
    ]
    lines += [f"{name} = {value} ({source.in_words()})" for name, value, source in record.facts()]
    if record.history == "born_untreated":
        lines.append("States that are not given come from an untreated course since birth.")
    if record.observations:
        lines.append(f"{len(record.observations)} observations for comparison.")
    return [*lines, _sources(record)]


def _citations(record: Shelf) -> list[str]:
    identified = {key: f", doi {work.doi}" if work.doi else "" for key, work in record.sources.items()}
    works = [f"{key}: {work.citation}{identified[key]}" for key, work in record.sources.items()]
    return [f"{len(works)} citations.", *works]


def _observations(record: Observations) -> Iterator[str]:
    predicted = len(record.ids) - len({item.id for item in record.not_used})
    yield f"Observations `{record.name}`: {record.description}"
    yield f"{predicted} observations to be predicted, {len(record.not_used)} that are not, each with its reason."
    for study in record.studies:
        yield from _study(study)
    for course in record.courses:
        yield _course(course)
    for rate in record.rates:
        about = f"half-life of `{rate.parameter}` in `{rate.set}`, in {rate.description}"
        yield f"{_published(rate)}: {about}{_from(rate.source)}"
    for item in record.not_used:
        yield f"{item.id} is not predicted: {item.what}; {item.because}{_from(item.source)}"


def _study(study: Study) -> Iterator[str]:
    groups = [study.population] if study.against is None else [study.population, study.against]
    people = " against ".join(f"{group.description}{f', {group.n} subjects' if group.n else ''}" for group in groups)
    yield f"Study `{study.name}`: {people}."
    yield from (f"  {line}" for line in wording.regimen_in_words(orders(study.doses, ()), ()))
    if study.titrated is not None:
        at = wording.duration_in_words(study.titrated.at)
        yield f"  Each subject's doses are scaled to a level of {study.titrated.level} after {at}."
    for item in study.observations:
        yield f"  {_published(item)}: {_asked(item)}{_from(item.source)}"


def _asked(item: Observation) -> str:
    words = wording.duration_in_words
    per = f" per {item.per}" if item.per else ""
    tail = f" of {item.of}" if item.of else ""
    tail += f" against {item.reference}" if item.reference else ""
    tail += f" down to {item.limit}" if item.limit else ""
    when = words(item.end) if item.quantity == "level" else f"{words(item.start)} to {words(item.end)}"
    return f"{QUANTITIES[item.quantity][1]}{per}{tail}, {when} after the first dose"


def _course(course: CourseObservation) -> str:
    asked = f"time above {course.above}" if course.at is None else f"level after {wording.duration_in_words(course.at)}"
    treatment = f"regimen `{course.regimen}`" if course.regimen else f"{course.doses[0].drug}"
    return (
        f"{_published(course)}: {course.quantity}, {asked}, counted from the {course.after.replace('_', ' ')}, "
        f"in {course.description}; predicted with patient `{course.patient}` under {treatment}{_from(course.source)}"
    )


def _published(item: Observation | CourseObservation | ParameterObservation) -> str:
    part = f" ({item.part})" if item.part else ""
    spread = f", {item.spread.in_words()}" if item.spread is not None else ""
    return f"{item.id}{part}, {item.statistic.replace('_', ' ')} {item.value.removesuffix(' 1')}{spread}"


def _from(source: Source) -> str:
    return f" ({source.in_words()})"


def _measurements(record: Measurements) -> Iterator[str]:
    yield f"Measurements `{record.name}`: {record.description}"
    yield from (_measurement(item) for item in record.measurements.values())
    for name, assay in record.assays.items():
        yield f"Level of {name}: {_limit('lower', assay.lloq, assay.unit)}."


def _measurement(item: Measurement) -> str:
    stated = item.error.model_dump(mode="json", exclude={"kind", "source", "levels"}, exclude_defaults=True)
    size = "".join(f", {name} {value}" for name, value in stated.items())
    source = "" if item.error.kind == "survival" else _from(item.error.source)
    unit = "" if item.unit == "1" else f" in {item.unit}"
    limits = [_limit(name, limit, item.unit) for name, limit in (("lower", item.lloq), ("upper", item.uloq)) if limit]
    error = f"{item.kind.replace('_', ' ')}{size}{source}"
    return f"{item.name} ({item.meaning}) reads `{item.quantity}`{unit}: {'; '.join([error, *limits])}"


def _limit(side: str, limit: Limit, unit: str) -> str:
    return f"{side} limit of quantification {limit.value:g} {unit}{_from(limit.source)}"
