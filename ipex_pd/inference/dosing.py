"""Rows of subjects made ready for the event table: doses given in two ways, and doses that are all infused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import RecordError
from ipex_pd.records.datasets import Subject
from ipex_pd.records.formulas import Formula
from ipex_pd.records.individual import Dosing
from ipex_pd.records.models import StructuralModel
from ipex_pd.records.problems import EstimationProblem


def prepared(problem: EstimationProblem, model: StructuralModel, subjects: Iterable[Subject]) -> tuple[Subject, ...]:
    """Subjects whose rows say what the `doses` of the problem say: copies of doses, and RATE of infused ones.

    Raises:
        RecordError: something is said of doses that no row of the data has.
    """
    found = tuple(subjects)
    for compartment, dosing in problem.doses.items():
        if dosing.copies is not None:
            found = tuple(_copied(s, model, dosing.copies, compartment) for s in found)
    for compartment, dosing in problem.doses.items():
        if dosing.infuse == "all":
            found = tuple(_infused(s, model, compartment, -2 if dosing.duration is not None else -1) for s in found)
    for compartment, dosing in problem.doses.items():
        _require_used(compartment, dosing, model, found)
    return found


def _into(subject: Subject, model: StructuralModel, compartment: str) -> NDArray[np.bool_]:
    default = model.compartments.index(model.default_dose) + 1
    given = np.where(subject.cmt == 0, default, subject.cmt)
    return np.asarray(np.isin(subject.evid, (1, 4)) & (given == model.compartments.index(compartment) + 1))


def _infused(subject: Subject, model: StructuralModel, compartment: str, rate: int) -> Subject:
    doses = _into(subject, model, compartment)
    return replace(subject, rate=np.where(doses & (subject.rate == 0), float(rate), subject.rate))


def _copied(subject: Subject, model: StructuralModel, source: str, target: str) -> Subject:
    """Each dose into the source stands a second time, into the target; the copy resets nothing."""
    doses = np.flatnonzero(_into(subject, model, source))
    if len(doses) == 0:
        return subject
    order = np.insert(np.arange(len(subject.time)), doses + 1, doses)
    new = np.zeros(len(order), bool)
    new[doses + 1 + np.arange(len(doses))] = True
    changed: dict[str, Any] = {
        field.name: getattr(subject, field.name)[order]
        for field in fields(subject)
        if field.name not in ("id", "covariates")
    }
    changed["evid"] = np.where(new, 1, changed["evid"])
    changed["ss"] = np.where(new & (changed["ss"] > 0), 2, changed["ss"])
    changed["cmt"] = np.where(new, model.compartments.index(target) + 1, changed["cmt"])
    covariates = {name: values[order] for name, values in subject.covariates.items()}
    return replace(subject, covariates=covariates, **changed)


def _require_used(compartment: str, dosing: Dosing, model: StructuralModel, subjects: tuple[Subject, ...]) -> None:
    where = f"doses.{compartment}"
    doses = [(s, _into(s, model, compartment)) for s in subjects]
    if not any(mask.any() for _, mask in doses):
        raise RecordError(
            f"no dose of the data goes to `{compartment}`",
            code="problem.unused-dosing",
            where=where,
            rule="What is said of doses belongs to doses of the data",
            cure="Correct CMT in the data or the compartment here, or take it out",
        )
    for term, rate in (("duration", -2), ("rate", -1)):
        if getattr(dosing, term) is not None and not any((s.rate[mask] == rate).any() for s, mask in doses):
            raise RecordError(
                f"the {term} of doses into `{compartment}` is never used",
                code="problem.unused-dosing",
                where=f"{where}.{term}",
                rule=f"It is that of doses with RATE = {rate}",
                cure=f"Write RATE {rate} in the data, or `infuse: all`",
            )


def dose_values(problem: EstimationProblem) -> tuple[dict[str, dict[str, str]], tuple[tuple[str, Formula], ...]]:
    """Names of the values of doses by compartment, and their formulas."""
    names = {c: {term: f"doses.{c}.{term}" for term in dosing.formulas()} for c, dosing in problem.doses.items()}
    formulas = tuple(
        (names[c][term], formula) for c, dosing in problem.doses.items() for term, formula in dosing.formulas().items()
    )
    return names, formulas
