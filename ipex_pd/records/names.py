"""Names that a record mentions: drugs, patients, regimens and parameters must be on their shelves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import ParamSpec

from ipex_pd.errors import IpexError, UnknownKeyError, nearest_hint
from ipex_pd.records.cohort_problems import CohortProblem
from ipex_pd.records.cohort_records import Cohort
from ipex_pd.records.library import is_path, load_drug, load_parameters, not_shipped, resolve_drug, shipped
from ipex_pd.records.measurements import Measurements
from ipex_pd.records.observations import Observations
from ipex_pd.records.orders import Dose
from ipex_pd.records.record import Record
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import Document, Place

P = ParamSpec("P")


def unknown_names(record: Record, document: Document) -> list[IpexError]:
    """A fault for every name that is on no shelf, and for every drug ordered by a route it cannot take."""
    faults: list[IpexError] = []
    for place, name in _names_of_drugs(record):
        faults += _told(resolve_drug, name, document.where(place))
    for place, dose in _orders(record):
        faults += _told(_require_order, dose, place, document)
    for kind, place, name in _names_of_records(record):
        if name not in shipped(kind):
            faults.append(not_shipped(kind, name, document.where(place)))
    if isinstance(record, Observations):
        faults += _unknown_parameters(record, document)
    return faults


def _told(check: Callable[P, object], *arguments: P.args, **named: P.kwargs) -> list[IpexError]:
    try:
        check(*arguments, **named)
    except IpexError as error:
        return [error]
    return []


def _orders(record: Record, at: Place = ()) -> Iterator[tuple[Place, Dose]]:
    if isinstance(record, Regimen):
        yield from _numbered((*at, "doses"), record.doses)
        for j, transplant in enumerate(record.transplants):
            yield from _numbered((*at, "transplants", j, "prophylaxis"), transplant.prophylaxis)
    if isinstance(record, Cohort):
        for i, child in enumerate(record.children):
            if isinstance(child.regimen, Regimen):
                yield from _orders(child.regimen, ("children", i, "regimen"))
    if isinstance(record, Observations):
        for i, study in enumerate(record.studies):
            yield from _numbered(("studies", i, "doses"), study.doses)
        for i, course in enumerate(record.courses):
            yield from _numbered(("courses", i, "doses"), course.doses)


def _numbered(place: Place, doses: Iterable[Dose]) -> Iterator[tuple[Place, Dose]]:
    return (((*place, i), dose) for i, dose in enumerate(doses))


def _names_of_drugs(record: Record) -> Iterator[tuple[Place, str]]:
    if isinstance(record, Measurements):
        yield from ((("assays", name), name) for name in record.assays)
    if isinstance(record, Observations):
        for i, study in enumerate(record.studies):
            for j, asked in enumerate(study.observations):
                if asked.reference:
                    yield ("studies", i, "observations", j, "reference"), asked.reference


def _require_order(dose: Dose, place: Place, document: Document) -> None:
    drug = load_drug(resolve_drug(dose.drug, document.where((*place, "drug")))[0])
    drug.require_route(dose.route, document.where((*place, "route")))


def _names_of_records(record: Record) -> Iterator[tuple[str, Place, str]]:
    """Kind, place and name of every record that is mentioned by its shipped name."""
    if isinstance(record, CohortProblem) and not is_path(record.cohort):
        yield "cohorts", ("cohort",), record.cohort
    if isinstance(record, Cohort):
        for i, child in enumerate(record.children):
            for kind, key, given in (("patients", "patient", child.patient), ("regimens", "regimen", child.regimen)):
                if isinstance(given, str):
                    yield kind, ("children", i, key), given
    if isinstance(record, Observations):
        yield from (("patients", ("courses", i, "patient"), course.patient) for i, course in enumerate(record.courses))
        for i, course in enumerate(record.courses):
            if course.regimen:
                yield "regimens", ("courses", i, "regimen"), course.regimen
        yield from (("parameters", ("rates", i, "set"), rate.set) for i, rate in enumerate(record.rates))


def _unknown_parameters(record: Observations, document: Document) -> list[IpexError]:
    faults: list[IpexError] = []
    for i, rate in enumerate(record.rates):
        if rate.set in shipped("parameters"):
            known = load_parameters(rate.set).names
            if rate.parameter not in known:
                what, where = f"`{rate.parameter}` is not a parameter of `{rate.set}`", ("rates", i, "parameter")
                rule = nearest_hint(rate.parameter, known)
                faults.append(UnknownKeyError(what, where=document.where(where), rule=rule, cure="Rename it"))
    return faults
