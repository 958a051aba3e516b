"""The records that a plan names: its patient and regimens, loaded; and paths beside the plan's own file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ipex_pd.errors import IpexError, RecordError
from ipex_pd.records.library import load_drug, load_patient, load_regimen, resolve_drug
from ipex_pd.records.patients import Patient
from ipex_pd.records.plan_parts import PlanEnsemble
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import Document, Place


@dataclass(frozen=True)
class PlanRecords:
    """What a plan names.

    Attributes:
        patient: who it is for.
        start: the regimen it begins from.
        alternatives: other regimens to begin from.
        compare_with: what it is compared with.
    """

    patient: Patient
    start: Regimen
    alternatives: tuple[Regimen, ...]
    compare_with: tuple[Regimen, ...]

    @property
    def regimens(self) -> tuple[Regimen, ...]:
        """The start, then the alternatives."""
        return (self.start, *self.alternatives)


def records_of(problem: PlanningProblem) -> PlanRecords:
    """The patient and the regimens of a plan.

    Raises:
        RecordError: an unknown name, a file that breaks a rule, or a drug that cannot be given so.
    """
    return PlanRecords(
        patient=load_patient(problem.patient),
        start=_regimen(problem.start),
        alternatives=tuple(_regimen(regimen) for regimen in problem.alternatives),
        compare_with=tuple(_regimen(regimen) for regimen in problem.compare_with),
    )


def name_faults(problem: PlanningProblem, document: Document) -> list[IpexError]:
    """A fault for every name of a plan that leads nowhere, with its place."""
    faults: list[IpexError] = []
    try:
        load_patient(problem.patient)
    except IpexError as error:
        faults.append(_at(error, document.where(("patient",))))
    for place, regimen in _regimens(problem):
        try:
            _regimen(regimen)
        except IpexError as error:
            faults.append(_at(error, document.where(place)))
    for key in ("ensemble", "out_of_sample"):
        spec: PlanEnsemble | None = getattr(problem, key)
        if spec is not None and spec.file is not None and not Path(spec.file).is_file():
            where = document.where((key, "file"))
            faults.append(RecordError(f"there is no file `{spec.file}`", where=where, code="record.no-file"))
    return faults


def beside(problem: PlanningProblem, folder: Path) -> PlanningProblem:
    """The same problem with paths counted from a folder written out in full."""
    change: dict[str, object] = {"patient": _full(problem.patient, folder), "start": _full(problem.start, folder)}
    for key in ("alternatives", "compare_with"):
        change[key] = tuple(_full(regimen, folder) for regimen in getattr(problem, key))
    for key in ("ensemble", "out_of_sample"):
        spec: PlanEnsemble | None = getattr(problem, key)
        if spec is not None and spec.file is not None:
            change[key] = spec.model_copy(update={"file": str((folder / spec.file).resolve())})
    return problem.model_copy(update=change)


def _full(name: str | Regimen, folder: Path) -> str | Regimen:
    if isinstance(name, str) and (name.endswith((".yaml", ".yml")) or os.sep in name):
        return str((folder / name).resolve())
    return name


def _regimens(problem: PlanningProblem) -> Iterator[tuple[Place, str | Regimen]]:
    yield ("start",), problem.start
    for key in ("alternatives", "compare_with"):
        for index, regimen in enumerate(getattr(problem, key)):
            yield (key, index), regimen


def _regimen(regimen: str | Regimen) -> Regimen:
    if isinstance(regimen, str):
        return load_regimen(regimen)
    for order in regimen.orders:
        load_drug(resolve_drug(order.drug)[0]).require_route(order.route)
    return regimen


def _at(error: IpexError, where: str) -> IpexError:
    what = error.what if not error.where else f"{error.where}: {error.what}"
    return type(error)(what, code=error.code, where=where, rule=error.rule, cure=error.cure)
