"""Any record in plain words: what was understood, and what is assumed."""

from __future__ import annotations

from ipex_pd.records.drugs import Drug
from ipex_pd.records.parameters import Parameter, ParameterSet
from ipex_pd.records.patients import Patient
from ipex_pd.records.provenance import sources_in
from ipex_pd.records.record import Record
from ipex_pd.records.regimens import Regimen


def describe_record(record: ParameterSet | Drug | Patient | Regimen) -> list[str]:
    """Sentences or table lines, one a line."""
    if isinstance(record, ParameterSet):
        return _parameters(record)
    if isinstance(record, Drug):
        return _drug(record)
    if isinstance(record, Patient):
        return _patient(record)
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
