"""Observations of subjects laid out as the padded records of groups, endpoint by endpoint."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import RecordError
from ipex_pd.inference.residuals import jacobian, observe
from ipex_pd.records.dataset_fit import rows_of
from ipex_pd.records.datasets import Subject
from ipex_pd.records.endpoints import AnyEndpoint, Continuous
from ipex_pd.records.models import StructuralModel
from ipex_pd.records.problems import EstimationProblem

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class EndpointRecords:
    """Records of one endpoint for the subjects of a group, all [B, N]; see `inference.group.Group`."""

    place: Places
    mask: Mask
    y: Numbers
    cens: Places
    limit: Numbers
    floor: Numbers
    jacobian: Numbers
    direct: Mask
    happened: Places


def endpoint_rows(problem: EstimationProblem, model: StructuralModel, subject: Subject) -> tuple[Places, ...]:
    """Places of the subject's records of each endpoint; those that M1 leaves out are not among them."""
    found = []
    for endpoint in problem.endpoints.values():
        mask = rows_of(endpoint, subject, model)
        if isinstance(endpoint, Continuous) and endpoint.censoring == "m1":
            mask = mask & (subject.cens == 0)
        found.append(np.flatnonzero(mask).astype(np.int64))
    return tuple(found)


def lay_out(
    endpoint: AnyEndpoint, name: str, subjects: Sequence[Subject], places: Sequence[Places], width: int
) -> EndpointRecords:
    """The records of an endpoint, padded to `width`; padding repeats the subject's last record.

    Raises:
        RecordError: a value that the endpoint cannot take.
    """
    count = len(subjects)
    place = np.zeros((count, width), np.int64)
    mask = np.zeros((count, width), bool)
    for i, own in enumerate(places):
        place[i, : len(own)] = own
        place[i, len(own) :] = own[-1] if len(own) else 0
        mask[i, : len(own)] = True
    pick = {
        field: np.stack([getattr(s, field)[row] for s, row in zip(subjects, place, strict=True)])
        for field in ("dv", "cens", "limit")
    }
    dv = np.where(mask, pick["dv"], 1.0)
    cens = np.where(mask, pick["cens"], 0)
    limit = np.where(cens != 0, pick["limit"], 0.0)
    if isinstance(endpoint, Continuous):
        return _continuous(endpoint, place, mask, dv, cens, limit)
    if np.isfinite(limit[cens != 0]).any() or (cens == -1).any():
        raise RecordError(
            f"a row of the event endpoint `{name}` has a LIMIT or CENS = -1",
            code="problem.event-limit",
            rule="CENS = 1 with DV = 1 says that the event came since the row before; nothing else is censored",
            cure="Put a row with DV = 0 at the last time without event",
        )
    happened = np.where(mask & (dv == 1), np.where(cens == 1, 2, 1), 0)
    nothing = np.zeros(mask.shape)
    return EndpointRecords(
        place, mask, nothing, nothing.astype(np.int64), nothing, nothing - np.inf, nothing, mask.copy(), happened
    )


def _continuous(
    endpoint: Continuous, place: Places, mask: Mask, dv: Numbers, cens: Places, limit: Numbers
) -> EndpointRecords:
    on = observe(endpoint.scale)
    nothing = np.zeros(mask.shape)
    if endpoint.scale is not None and endpoint.scale.positive:
        limit = np.where((cens == 1) & (limit <= 0), -np.inf, limit)
    ends = np.where(cens != 0, limit, 1.0)
    floor = np.full(mask.shape, -np.inf)
    if endpoint.censoring == "m4":
        floor = np.where(mask, on(nothing), floor)
    return EndpointRecords(
        place,
        mask,
        np.where(mask, on(dv), 0.0),
        cens,
        np.where(cens != 0, on(ends), 0.0),
        floor,
        np.where(mask & (cens == 0), jacobian(endpoint.scale, dv), 0.0),
        np.zeros(mask.shape, bool),
        np.zeros(mask.shape, np.int64),
    )


def partners(
    problem: EstimationProblem, subjects: Sequence[Subject], records: Sequence[EndpointRecords]
) -> tuple[Places, tuple[tuple[int, int], ...]]:
    """For each record the earlier-standing record of the same time with a correlated residual, -1 without one.

    Returns:
        [B, N] places over all endpoints, and the (first, second) endpoints of each correlation.
    """
    names = list(problem.endpoints)
    widths = [part.mask.shape[1] for part in records]
    starts = np.concatenate([[0], np.cumsum(widths)])
    found = np.full((len(subjects), int(starts[-1])), -1, np.int64)
    pairs = []
    for correlation in problem.correlations:
        first, second = sorted(names.index(name) for name in correlation.endpoints)
        pairs.append((first, second))
        for i, subject in enumerate(subjects):
            free = {j: subject.time[records[first].place[i, j]] for j in np.flatnonzero(records[first].mask[i])}
            for j in np.flatnonzero(records[second].mask[i]):
                now = subject.time[records[second].place[i, j]]
                match = next((k for k, time in free.items() if time == now), None)
                if match is not None:
                    free.pop(match)
                    found[i, starts[second] + j] = starts[first] + match
    return found, tuple(pairs)
