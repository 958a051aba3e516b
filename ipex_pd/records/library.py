"""The shelves: where records are kept, and loading them by name or path. No other module knows these places."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError, nearest_hint
from ipex_pd.records.drugs import Drug
from ipex_pd.records.measurements import Measurements
from ipex_pd.records.observations import Observations
from ipex_pd.records.parameters import ParameterSet
from ipex_pd.records.patients import Patient
from ipex_pd.records.provenance import Citation, load_citations, unknown_citations
from ipex_pd.records.record import Record
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import Document, build, first, read_document

AnyRecord = ParameterSet | Drug | Patient | Regimen
R = TypeVar("R", ParameterSet, Drug, Patient, Regimen)

KINDS: dict[str, tuple[type[Record], str]] = {
    "parameters": (ParameterSet, "parameters"),
    "drugs": (Drug, "parameters/drugs"),
    "patients": (Patient, "treatments/patients"),
    "regimens": (Regimen, "treatments/regimens"),
}
"""Kind of record -> its type and its shelf."""

_SINGULAR = {"parameters": "parameter set", "drugs": "drug", "patients": "patient", "regimens": "regimen"}
_NOT_SETS = {"sources", "measurements"}


@cache
def shelf() -> Path:
    """The folder that holds `parameters/` and `treatments/`: the checkout, or the data inside the package.

    Raises:
        RecordError: neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent, package / "library_data"):
        if (folder / "parameters" / "sources.yaml").is_file():
            return folder
    raise RecordError(
        "the data shelves are missing", where=str(package), rule="The package carries them", cure="Reinstall it"
    )


def growth_file(name: str) -> Path:
    """A growth table on the shelf."""
    return shelf() / "parameters" / "growth" / f"{name}.csv"


@cache
def citations() -> Mapping[str, Citation]:
    """The shelf of citations, by key."""
    return load_citations(shelf() / "parameters" / "sources.yaml")


@cache
def shipped(kind: str) -> Mapping[str, Path]:
    """Names on a shelf and their files."""
    folder = shelf() / KINDS[kind][1]
    return {path.stem: path for path in sorted(folder.glob("*.yaml")) if path.stem not in _NOT_SETS}


def catalogue() -> dict[str, list[str]]:
    """Names of everything shipped: parameter sets, drugs (with their variants), patients, regimens."""
    found = {kind: list(shipped(kind)) for kind in KINDS}
    found["drugs"] = [name for drug in found["drugs"] for name in (drug, *_variants(drug))]
    return found


def _variants(drug: str) -> list[str]:
    data = _document(shipped("drugs")[drug]).data
    return [f"{drug}_{name}" for name in data.get("variants", {})] if isinstance(data, dict) else []


def load_parameters(name: str | os.PathLike[str] = "disease") -> ParameterSet:
    """A parameter set, by shipped name or path.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    return _load("parameters", name, ParameterSet)


def load_drug(name: str | os.PathLike[str]) -> Drug:
    """A drug, by shipped name, synonym, `<drug>_<variant>` or path.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    if _is_path(name):
        return _load("drugs", name, Drug)
    drug, variant = resolve_drug(os.fspath(name))
    loaded = _load("drugs", drug, Drug)
    return loaded.variant(variant) if variant else loaded


def load_patient(name: str | os.PathLike[str]) -> Patient:
    """A patient, by shipped name or path.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    return _load("patients", name, Patient)


def load_regimen(name: str | os.PathLike[str]) -> Regimen:
    """A regimen, by shipped name or path; its drugs must be known.

    Raises:
        RecordError: unknown name or drug, or a file that breaks a rule (with its line).
    """
    return _load("regimens", name, Regimen)


@cache
def observed() -> Mapping[str, Path]:
    """Names and files of the published observations that drug models are held against."""
    return {path.stem: path for path in sorted((shelf() / "parameters" / "observed").glob("*.yaml"))}


def load_observations(name: str | os.PathLike[str]) -> Observations:
    """Published observations of one subject, by name (see `observed`) or path.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    known = observed()
    if not _is_path(name) and name not in known:
        raise UnknownKeyError(f"`{os.fspath(name)}` is not a file of observations", rule=nearest_hint(str(name), known))
    document = _document(Path(name) if _is_path(name) else known[str(name)])
    record, faults = build(Observations, document)
    if record is not None:
        faults = unknown_citations(record, {*citations(), *record.sources}, document)
    if record is None or faults:
        raise first(faults)
    return record


def load_measurements(path: str | os.PathLike[str] | None = None) -> Measurements:
    """What the clinic measures, with its errors and limits: the shipped file, or one of the same form.

    Raises:
        RecordError: a file that breaks a rule (with its line).
    """
    document = _document(shelf() / "parameters" / "measurements.yaml" if path is None else Path(path))
    record, faults = build(Measurements, document)
    if record is not None:
        faults = unknown_citations(record, {*citations(), *record.sources}, document)
    if record is None or faults:
        raise first(faults)
    return record


def resolve_drug(name: str, where: str = "") -> tuple[str, str]:
    """(drug, variant or empty) behind a name, a synonym or `<drug>_<variant>`.

    Raises:
        UnknownKeyError: no such drug, with the nearest names.
    """
    names = _drug_names()
    word = re.sub(r"[\s-]+", "_", name.strip().lower())
    if word in names:
        return names[word]
    raise UnknownKeyError(
        f"`{name}` is not a known drug",
        where=where,
        rule=nearest_hint(word, names),
        cure="Rename it, or add a file to parameters/drugs",
    )


@cache
def _drug_names() -> Mapping[str, tuple[str, str]]:
    names: dict[str, tuple[str, str]] = {}
    for drug in shipped("drugs"):
        data = _document(shipped("drugs")[drug]).data
        names[drug] = (drug, "")
        for synonym in data.get("synonyms", []):
            names[synonym] = (drug, "")
        for variant in data.get("variants", {}):
            names[f"{drug}_{variant}"] = (drug, variant)
    return names


def _is_path(name: str | os.PathLike[str]) -> bool:
    text = os.fspath(name)
    return not isinstance(name, str) or text.endswith((".yaml", ".yml")) or os.sep in text


def _load(kind: str, name: str | os.PathLike[str], expected: type[R]) -> R:
    record, faults = _checked(kind, _document(_path(kind, name)))
    if faults or not isinstance(record, expected):
        raise first(faults)
    return record


def _path(kind: str, name: str | os.PathLike[str]) -> Path:
    if _is_path(name):
        return Path(name)
    known = shipped(kind)
    if name in known:
        return known[str(name)]
    raise UnknownKeyError(
        f"`{os.fspath(name)}` is not a shipped {_SINGULAR[kind]}",
        rule=nearest_hint(os.fspath(name), known),
        cure="Rename it, or give the path of a YAML file",
    )


def _document(path: Path) -> Document:
    found = read_document(path)
    try:
        shown = path.resolve().relative_to(shelf()).as_posix()
    except (ValueError, IpexError):
        return found
    return Document(shown, found.data, found.lines)


def _checked(kind: str, document: Document) -> tuple[Record | None, list[IpexError]]:
    record, faults = build(KINDS[kind][0], document)
    if record is None:
        return None, faults
    inline = getattr(record, "sources", {})
    faults = unknown_citations(record, {*citations(), *inline}, document)
    if isinstance(record, Regimen):
        faults += _drug_faults(record, document)
    return record, faults


def _drug_faults(regimen: Regimen, document: Document) -> list[IpexError]:
    faults: list[IpexError] = []
    places = [("doses", i) for i in range(len(regimen.doses))]
    places += [
        ("transplants", j, "prophylaxis", i)  # type: ignore[misc]
        for j, transplant in enumerate(regimen.transplants)
        for i in range(len(transplant.prophylaxis))
    ]
    for place, order in zip(places, regimen.orders, strict=True):
        try:
            load_drug(resolve_drug(order.drug, document.where((*place, "drug")))[0]).require_route(
                order.route, document.where((*place, "route"))
            )
        except IpexError as error:
            faults.append(error)
    return faults


def kind_of(path: str | os.PathLike[str]) -> str:
    """Which kind of record a file holds: `parameters`, `drugs`, `patients` or `regimens`.

    Raises:
        RecordError: broken YAML, or a file that is none of them.
    """
    document = _document(Path(path))
    return _kind(document)


def _kind(document: Document) -> str:
    keys = set(document.data) if isinstance(document.data, dict) else set()
    if "kinetics" in keys or "acts_on" in keys:
        return "drugs"
    if "sex" in keys or "foxp3" in keys:
        return "patients"
    if "doses" in keys or "transplants" in keys:
        return "regimens"
    if "parameters" in keys:
        return "parameters"
    raise RecordError(
        "this is not a file of this project",
        where=document.path,
        rule="A drug has `kinetics`, a patient `sex`, a regimen `doses` or `transplants`, a parameter set `parameters`",
        code="record.unknown-kind",
    )


def findings(path: str | os.PathLike[str]) -> list[IpexError]:
    """Every fault of a file; empty when it is sound."""
    try:
        document = _document(Path(path))
        return _checked(_kind(document), document)[1]
    except IpexError as error:
        return [error]


def load(path: str | os.PathLike[str]) -> AnyRecord:
    """Whatever record a file holds.

    Raises:
        RecordError: a file that is none of them or breaks a rule.
    """
    kind = kind_of(path)
    loaders = {"parameters": load_parameters, "drugs": load_drug, "patients": load_patient, "regimens": load_regimen}
    return loaders[kind](Path(path))  # type: ignore[no-any-return, operator]


def describe(record: AnyRecord) -> list[str]:
    """What was understood, in plain words."""
    from ipex_pd.records.description import describe_record

    return describe_record(record)


def all_names(kinds: Iterable[str] = KINDS) -> list[str]:
    """Every shipped name of some kinds."""
    found = catalogue()
    return [name for kind in kinds for name in found[kind]]
