"""The shelves: where records are kept, and loading them by name or path. No other module knows these places."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TypeVar, cast

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError, nearest_hint
from ipex_pd.records.cohort_problems import CohortProblem
from ipex_pd.records.cohort_records import Cohort
from ipex_pd.records.drugs import Drug
from ipex_pd.records.kinds import kind_of_document
from ipex_pd.records.measurements import Measurements
from ipex_pd.records.models import StructuralModel, compose
from ipex_pd.records.observations import Observations
from ipex_pd.records.parameters import ParameterSet
from ipex_pd.records.patients import Patient
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.problem_checks import located_faults
from ipex_pd.records.problems import AnyModel, Composition, EstimationProblem
from ipex_pd.records.provenance import Citation, Shelf, load_citations, unknown_citations
from ipex_pd.records.record import Record
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import Document, build, first, read_document

AnyRecord = (
    ParameterSet
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
    | Shelf
)
R = TypeVar("R", bound=Record)

KINDS: dict[str, tuple[type[Record], str]] = {
    "parameters": (ParameterSet, "parameters"),
    "drugs": (Drug, "parameters/drugs"),
    "patients": (Patient, "treatments/patients"),
    "regimens": (Regimen, "treatments/regimens"),
    "plans": (PlanningProblem, "treatments/plans"),
    "models": (StructuralModel, "fit/models"),
    "problems": (EstimationProblem, "fit/problems"),
    "cohort_problems": (CohortProblem, "fit/problems"),
    "cohorts": (Cohort, "fit/cohorts"),
}
"""Kind of record that is used by name -> its type and its shelf."""

_TYPES: dict[str, type[Record]] = {kind: record for kind, (record, _) in KINDS.items()} | {
    "observations": Observations,
    "measurements": Measurements,
    "citations": Shelf,
}
_SINGULAR = {
    "parameters": "parameter set",
    "drugs": "drug",
    "patients": "patient",
    "regimens": "regimen",
    "plans": "plan",
    "models": "structural model",
    "problems": "estimation problem",
    "cohort_problems": "problem of the disease",
    "cohorts": "cohort",
}
_DATA = "data"
_NOT_SETS = {"sources", "measurements"}


@cache
def shelf() -> Path:
    """The folder that holds `parameters/`, `treatments/` and `fit/`: the checkout, or the data inside the package.

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
    return load_citations(_citations_file())


def _citations_file() -> Path:
    return shelf() / "parameters" / "sources.yaml"


@cache
def shipped(kind: str) -> Mapping[str, Path]:
    """Names on a shelf and their files."""
    place = KINDS[kind][1]
    found = {path.stem: path for path in sorted((shelf() / place).glob("*.yaml")) if path.stem not in _NOT_SETS}
    if [folder for _, folder in KINDS.values()].count(place) == 1:
        return found
    return {name: path for name, path in found.items() if kind_of(path) == kind}


def catalogue() -> dict[str, list[str]]:
    """Names of everything shipped, shelf by shelf; drugs with their variants; tables of data."""
    found = {kind: list(shipped(kind)) for kind in KINDS} | {_DATA: list(cohort_files())}
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
    if is_path(name):
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


def load_plan(name: str | os.PathLike[str]) -> PlanningProblem:
    """A planning problem, by shipped name or path; paths in it, counted from its own folder, are written out in full.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    return _load("plans", name, PlanningProblem)


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
    if not is_path(name) and name not in known:
        raise UnknownKeyError(f"`{os.fspath(name)}` is not a file of observations", rule=nearest_hint(str(name), known))
    return _read("observations", Path(name) if is_path(name) else known[str(name)], Observations)


def load_model(name: str | os.PathLike[str]) -> StructuralModel:
    """A structural model for fitting, by shipped name or path.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    return _load("models", name, StructuralModel)


def load_problem(name: str | os.PathLike[str]) -> EstimationProblem:
    """An estimation problem, by shipped name or path; it knows the folder from which its data are looked up.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    path = file_of("problems", name)
    problem = _load("problems", name, EstimationProblem)
    return problem.model_copy(update={"folder": str((path.parent / problem.folder).resolve())})


def load_cohort_problem(name: str | os.PathLike[str]) -> CohortProblem:
    """A problem of the disease, by shipped name or path.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    problem = _load("cohort_problems", name, CohortProblem)
    beside = file_of("cohort_problems", name).parent / problem.cohort
    return problem.model_copy(update={"cohort": str(beside)}) if beside.is_file() else problem


def load_any_problem(name: str | os.PathLike[str]) -> EstimationProblem | CohortProblem:
    """A problem of either kind, by shipped name or path: one that names a `cohort` is of the disease.

    Raises:
        RecordError: unknown name, or a file that breaks a rule (with its line).
    """
    of_disease = name in shipped("cohort_problems")
    if is_path(name) and Path(name).is_file():
        data = _document(Path(name)).data
        of_disease = isinstance(data, dict) and "cohort" in data
    return load_cohort_problem(name) if of_disease else load_problem(name)


def resolve_model(model: AnyModel, where: str = "") -> StructuralModel:
    """The model behind the `model` of a problem: a shipped name, a composition, or itself.

    Raises:
        RecordError: an unknown name, or models that do not fit together.
    """
    if isinstance(model, StructuralModel):
        return model
    names = model.compose if isinstance(model, Composition) else (model,)
    for name in names:
        if name not in shipped("models"):
            raise not_shipped("models", name, where)
    models = [load_model(name) for name in names]
    if isinstance(model, Composition):
        try:
            return compose(models, model.inputs)
        except RecordError as error:
            raise type(error)(error.what, code=error.code, where=where, rule=error.rule, cure=error.cure) from error
    return models[0]


@cache
def cohort_files() -> Mapping[str, Path]:
    """Names of the shipped tables of data, and the tables."""
    return {path.stem: path for path in sorted((shelf() / "fit" / "cohorts").glob("*.csv"))}


def load_measurements(path: str | os.PathLike[str] | None = None) -> Measurements:
    """What the clinic measures, with its errors and limits: the shipped file, or one of the same form.

    Raises:
        RecordError: a file that breaks a rule (with its line).
    """
    return _read("measurements", _measurements_file() if path is None else Path(path), Measurements)


def _measurements_file() -> Path:
    return shelf() / "parameters" / "measurements.yaml"


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
        cure="Rename it (see `ipex-pd catalogue drugs`), or add a file to parameters/drugs",
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


def is_path(name: str | os.PathLike[str]) -> bool:
    """Whether what was given names a file rather than something shipped."""
    text = os.fspath(name)
    return not isinstance(name, str) or text.endswith((".yaml", ".yml")) or os.sep in text


def _load(kind: str, name: str | os.PathLike[str], expected: type[R]) -> R:
    return _read(kind, file_of(kind, name), expected)


def _read(kind: str, path: Path, expected: type[R]) -> R:
    record, faults = _checked(kind, _document(path))
    if faults or not isinstance(record, expected):
        raise first(faults)
    return record


def file_of(kind: str, name: str | os.PathLike[str]) -> Path:
    """The file behind a shipped name or a path. Raises: UnknownKeyError."""
    if is_path(name):
        return Path(name)
    known = shipped(kind)
    if name in known:
        return known[str(name)]
    raise not_shipped(kind, os.fspath(name))


def not_shipped(kind: str, name: str, where: str = "") -> UnknownKeyError:
    """The error of a name that is not on its shelf, with the nearest that are."""
    return UnknownKeyError(
        f"`{name}` is not a shipped {_SINGULAR[kind]}",
        where=where,
        rule=nearest_hint(name, shipped(kind)),
        cure="Rename it, or give the path of a YAML file" if not where else "Rename it",
    )


def _document(path: Path) -> Document:
    found = read_document(path)
    try:
        shown = path.resolve().relative_to(shelf()).as_posix()
    except (ValueError, IpexError):
        return found
    return Document(shown, found.data, found.lines)


def _checked(kind: str, document: Document) -> tuple[Record | None, list[IpexError]]:
    from ipex_pd.records.names import unknown_names

    record, faults = build(_TYPES[kind], document)
    if record is None:
        return None, faults
    inline = getattr(record, "sources", {})
    faults = unknown_citations(record, {*citations(), *inline}, document)
    faults += unknown_names(record, document)
    if isinstance(record, EstimationProblem):
        faults += _problem_faults(record, document)
    if isinstance(record, PlanningProblem):
        record, more = _checked_plan(record, document)
        faults += more
    return record, faults


def _checked_plan(plan: PlanningProblem, document: Document) -> tuple[PlanningProblem, list[IpexError]]:
    from ipex_pd.records.plan_checks import plan_faults
    from ipex_pd.records.plan_names import beside

    file = Path(document.path)
    plan = beside(plan, (file if file.is_file() else shelf() / file).parent)
    return plan, plan_faults(plan, document)


def _problem_faults(problem: EstimationProblem, document: Document) -> list[IpexError]:
    try:
        model = resolve_model(problem.model, document.where(("model",)))
    except IpexError as error:
        return [error]
    return located_faults(problem, model, document)


def kind_of(path: str | os.PathLike[str]) -> str:
    """Which kind of record a file holds: `parameters`, `drugs`, `patients`, `regimens`, or `observations` and so on.

    Raises:
        RecordError: broken YAML, or a file that is none of them.
    """
    return kind_of_document(_document(Path(path)))


def findings(path: str | os.PathLike[str]) -> list[IpexError]:
    """Every fault of a file; empty when it is sound."""
    try:
        document = _document(Path(path))
        return _checked(kind_of_document(document), document)[1]
    except IpexError as error:
        return [error]


def load(path: str | os.PathLike[str]) -> AnyRecord:
    """Whatever record a file holds.

    Raises:
        RecordError: a file that is none of them or breaks a rule.
    """
    document = _document(Path(path))
    record, faults = _checked(kind_of_document(document), document)
    if record is None or faults:
        raise first(faults)
    return cast(AnyRecord, record)


def describe(record: AnyRecord) -> list[str]:
    """What was understood, in plain words."""
    from ipex_pd.records.description import describe_record

    return describe_record(record)


def all_names() -> list[str]:
    """Every name that `files_of` knows, each once."""
    found = [name for kind, names in catalogue().items() if kind != _DATA for name in names]
    return list(dict.fromkeys([*found, *observed(), "measurements", "sources"]))


def files_of(name: str) -> list[Path]:
    """Every shipped file of a name, none when there is none: a drug, its observations and a regimen may share one."""
    found = [shipped(kind)[name] for kind in KINDS if name in shipped(kind)]
    if not found and name in _drug_names():
        found = [shipped("drugs")[_drug_names()[name][0]]]
    if name in observed():
        found.append(observed()[name])
    return found + {"measurements": [_measurements_file()], "sources": [_citations_file()]}.get(name, [])
