"""A problem with more records than the data have: for smooth curves, and for hazards between records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipex_pd.inference.binding import BoundProblem, bind
from ipex_pd.records.dataset_fit import rows_of
from ipex_pd.records.datasets import Dataset, Subject
from ipex_pd.records.endpoints import AnyEndpoint
from ipex_pd.records.models import StructuralModel

Numbers = NDArray[np.float64]
Array = Any


def densified(bound: BoundProblem, times: Sequence[Numbers], dv: float = 1.0) -> BoundProblem:
    """The problem with records of every endpoint added at more times; the other records stay where they are.

    An added record has the covariates and the occasion of the record after it (whose values rule the time up to it), or
    of the last one. Event records of the data lose their events: all tell of survival only.

    Args:
        bound: the problem with its data.
        times: for each subject, in the unit of the data; those at which it has a record already are left out.
        dv: what stands as observation in added records.
    """
    endpoints = list(bound.problem.endpoints.values())
    subjects = tuple(
        _filled(_eventless(subject, endpoints, bound.model), own, endpoints, bound.model, dv)
        for subject, own in zip(bound.dataset.subjects, times, strict=True)
    )
    dataset: Dataset = replace(bound.dataset, subjects=subjects)
    return bind(bound.problem, dataset, check=False, tolerance=bound.tolerance)


def _eventless(subject: Subject, endpoints: list[AnyEndpoint], model: StructuralModel) -> Subject:
    event = np.zeros(len(subject.time), bool)
    for endpoint in endpoints:
        if endpoint.kind == "event":
            event |= rows_of(endpoint, subject, model)
    return replace(
        subject,
        dv=np.where(event, 0.0, subject.dv),
        cens=np.where(event, 0, subject.cens),
        limit=np.where(event, np.nan, subject.limit),
    )


def _filled(
    subject: Subject, times: Numbers, endpoints: list[AnyEndpoint], model: StructuralModel, dv: float
) -> Subject:
    new = np.setdiff1d(np.asarray(times, float), subject.time)
    if len(new) == 0:
        return subject
    rounds = len(endpoints)
    when = np.repeat(new, rounds)
    which = np.tile(np.arange(rounds), len(new))
    spots = np.array([_spot(subject, t) for t in when], np.int64)
    source = np.minimum(spots, len(subject.time) - 1)
    added: dict[str, Any] = {name: np.zeros(len(when)) for name in ("rate", "ii", "amt")}
    added |= {name: np.zeros(len(when), np.int64) for name in ("rows", "evid", "addl", "ss", "mdv", "cens")}
    added["time"], added["occ"] = when, subject.occ[source]
    events = np.array([e.kind == "event" for e in endpoints])[which]
    added["dv"] = np.where(events, 0.0, dv)
    added["limit"] = np.full(len(when), np.nan)
    added["dvid"] = np.array([e.dvid or 0 for e in endpoints], np.int64)[which]
    added["cmt"] = np.array([e.cmt or 0 for e in endpoints], np.int64)[which]
    whole: dict[str, Any] = {
        field.name: np.insert(getattr(subject, field.name), spots, added[field.name])
        for field in fields(subject)
        if field.name not in ("id", "covariates")
    }
    covariates = {name: np.insert(v, spots, v[source]) for name, v in subject.covariates.items()}
    return replace(subject, covariates=covariates, **whole)


def _spot(subject: Subject, time: float) -> int:
    """Where a record of that time goes: before the first later one."""
    later = np.flatnonzero(subject.time > time)
    return int(later[0]) if len(later) else len(subject.time)


def by_group(bound: BoundProblem, etas: Array) -> list[Numbers]:
    """Random effects [S, q] of the subjects of the dataset as [B, q] for each group."""
    values = np.asarray(etas, float)
    return [
        np.where(np.asarray(group.eta_mask), values[np.maximum(np.asarray(group.subjects), 0)], 0.0)
        for group in bound.groups
    ]
