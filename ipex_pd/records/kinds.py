"""Which kind of record a file holds, told by its keys."""

from __future__ import annotations

from ipex_pd.errors import RecordError
from ipex_pd.records.yamlfile import Document, not_a_record


def kind_of_document(document: Document) -> str:
    """The kind: `parameters`, `drugs`, `patients`, ... as the library names them.

    Raises:
        RecordError: no mapping, or keys that belong to no kind.
    """
    if not isinstance(document.data, dict):
        raise not_a_record(document)
    keys = set(document.data)
    if "cohort" in keys:
        return "cohort_problems"
    if "children" in keys:
        return "cohorts"
    if "endpoints" in keys and "data" in keys:
        return "problems"
    if "goals" in keys or "horizon" in keys:
        return "plans"
    if "outputs" in keys or "compartments" in keys:
        return "models"
    if "kinetics" in keys or "acts_on" in keys:
        return "drugs"
    if "sex" in keys or "foxp3" in keys:
        return "patients"
    if "doses" in keys or "transplants" in keys:
        return "regimens"
    if "parameters" in keys:
        return "parameters"
    if "measurements" in keys or "assays" in keys:
        return "measurements"
    if keys & {"studies", "courses", "rates", "not_used"}:
        return "observations"
    if keys == {"sources"}:
        return "citations"
    raise RecordError(
        "this is not a file of this project",
        where=document.path,
        rule="A drug has `kinetics`, a patient `sex`, a regimen `doses` or `transplants`, a plan `goals`, a parameter "
        "set `parameters`, a file of measurements `measurements`, one of observations `studies`, `courses` or `rates`, "
        "a structural model `outputs`, an estimation problem `data` and `endpoints`, one of the disease `cohort`, a "
        "cohort `children`, one of citations nothing but `sources`",
        code="record.unknown-kind",
    )
