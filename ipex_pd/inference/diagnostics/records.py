"""The records that a fit counts, one by one in the order of the dataset, and where they stand in its groups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import RecordError, UsageError, nearest_hint
from ipex_pd.inference.binding import BoundProblem
from ipex_pd.records.datasets import Subject

Numbers = NDArray[np.float64]
Places = NDArray[np.int64]
Mask = NDArray[np.bool_]
Array = Any


@dataclass(frozen=True, eq=False)
class Records:
    """All M records that have a likelihood; arrays are [M], in the order of subjects and of their rows.

    Attributes:
        bound: the problem with its data.
        group, row, column: where a record stands: number of its group, and its place in the group's arrays [B, N].
        subject, place: number of the subject, and place among the subject's rows.
        endpoint: number of the endpoint.
        line: of the file.
        time: in the unit of the data.
        time_after_dose: since the last dose before the record (additional doses included); NaN before any.
        occasion: as in the data.
        dv: observation on the data's own scale; the limit where censored.
        cens: 0 measured, 1 below `dv`, -1 above it.
        limit: other end of a censored interval, infinite when open; NaN where measured.
        lower, upper: limits of quantification that apply to the record, censored or not; infinite without.
        event: True for records of event endpoints.
        covariates: name -> values.
    """

    bound: BoundProblem
    group: Places
    row: Places
    column: Places
    subject: Places
    place: Places
    endpoint: Places
    line: Places
    time: Numbers
    time_after_dose: Numbers
    occasion: Places
    dv: Numbers
    cens: Places
    limit: Numbers
    lower: Numbers
    upper: Numbers
    event: Mask
    covariates: Mapping[str, Numbers]

    def __len__(self) -> int:
        return len(self.time)

    @property
    def ids(self) -> tuple[str, ...]:
        """[M] subjects as in the file."""
        return tuple(self.bound.subjects[i].id for i in self.subject)

    @property
    def continuous(self) -> Mask:
        """[M] True for measured endpoints."""
        return ~self.event

    def flat(self, parts: Sequence[Array]) -> NDArray[Any]:
        """[..., M] of arrays [..., B, N], one for each group."""
        arrays = [np.asarray(part) for part in parts]
        found = np.zeros((*arrays[0].shape[:-2], len(self)), arrays[0].dtype)
        for number, array in enumerate(arrays):
            own = self.group == number
            found[..., own] = array[..., self.row[own], self.column[own]]
        return found

    def of_endpoint(self, name: str) -> Mask:
        """[M] records of an endpoint. Raises: UsageError: no endpoint has this name."""
        names = self.bound.endpoint_names
        if name not in names:
            raise UsageError(f"`{name}` is not an endpoint", rule=nearest_hint(name, names))
        return np.asarray(self.endpoint == names.index(name))


def records_of(bound: BoundProblem, limits: Mapping[str, float] | None = None) -> Records:
    """The records of a bound problem.

    Args:
        bound: the problem with its data.
        limits: endpoint -> lower limit of quantification of the records that are not censored. Where nothing is said it
            is the `lloq` of the data, or the limit that the censored records of the subject, or else of the endpoint,
            share.

    Raises:
        RecordError: the censored records of an endpoint have several limits, and nothing tells which one applies to the
            others.
        UsageError: a limit of something that is not an endpoint.
    """
    columns: dict[str, list[Any]] = {name: [] for name in ("group", "row", "column", "subject", "place", "endpoint")}
    for number, (group, places, endpoints) in enumerate(zip(bound.groups, bound.places, bound.endpoints, strict=True)):
        subjects = np.asarray(group.subjects)
        rows, spots = np.nonzero(np.asarray(group.mask) & (subjects >= 0)[:, None])
        found = (np.full(len(rows), number), rows, spots, subjects[rows], places[rows, spots], endpoints[spots])
        for name, values in zip(columns, found, strict=True):
            columns[name].append(np.asarray(values, np.int64))
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    order = np.lexsort((joined["endpoint"], joined["place"], joined["subject"]))
    joined = {name: values[order] for name, values in joined.items()}
    picked = _picked(bound, joined["subject"], joined["place"])
    kinds = np.array([e.kind == "event" for e in bound.problem.endpoints.values()])
    event = kinds[joined["endpoint"]]
    lower, upper = _limits(bound, joined, picked, event, limits or {})
    known: dict[str, Any] = {**joined, **picked}
    return Records(bound=bound, event=event, lower=lower, upper=upper, **known)


def _picked(bound: BoundProblem, subject: Places, place: Places) -> dict[str, Any]:
    """What the rows of the subjects say of the records."""
    after = [time_after_dose(s) for s in bound.subjects]

    def of(name: str) -> NDArray[Any]:
        return np.array([getattr(bound.subjects[i], name)[k] for i, k in zip(subject, place, strict=True)])

    found: dict[str, Any] = {
        "line": of("rows"),
        "time": of("time"),
        "time_after_dose": np.array([after[i][k] for i, k in zip(subject, place, strict=True)], float),
        "occasion": of("occ"),
        "dv": of("dv"),
        "cens": of("cens"),
        "limit": of("limit"),
    }
    names = list(bound.problem.data.covariates)
    found["covariates"] = {
        name: np.array([bound.subjects[i].covariates[name][k] for i, k in zip(subject, place, strict=True)], float)
        for name in names
    }
    return found


def time_after_dose(subject: Subject) -> Numbers:
    """[R] time since the last dose before each row; NaN without one. A reset, and SS = 1, end doses still to come."""
    found = np.full(len(subject.time), np.nan)
    trains: list[tuple[float, float, int]] = []
    for k, (time, evid) in enumerate(zip(subject.time, subject.evid, strict=True)):
        if evid in (3, 4):
            trains = []
        if evid in (1, 4):
            if subject.ss[k] == 1:
                trains = []
            trains.append((float(time), float(subject.ii[k]), int(subject.addl[k])))
        last = [_last(train, float(time)) for train in trains]
        if last:
            found[k] = time - max(last)
    return found


def _last(train: tuple[float, float, int], time: float) -> float:
    """When the last of a dose and its additional ones was given, up to `time`."""
    start, interval, more = train
    if interval <= 0 or more <= 0:
        return start
    return start + interval * min(more, math.floor((time - start) / interval * (1 + 1e-12)))


def _limits(
    bound: BoundProblem, joined: Mapping[str, Places], picked: Mapping[str, Any], event: Mask, said: Mapping[str, float]
) -> tuple[Numbers, Numbers]:
    """Limits of quantification, below and above, of every record."""
    for name in said:
        if name not in bound.endpoint_names:
            raise UsageError(f"`{name}` is not an endpoint", rule=nearest_hint(name, bound.endpoint_names))
    lower, upper = (np.full(len(event), end) for end in (-np.inf, np.inf))
    for sign, values in ((1, lower), (-1, upper)):
        censored = (picked["cens"] == sign) & ~event
        values[censored] = picked["dv"][censored]
        for number, name in enumerate(bound.endpoint_names):
            own = (joined["endpoint"] == number) & ~event
            if not (own & censored).any() and not (sign == 1 and name in said):
                continue
            rest = own & ~censored
            general = said.get(name, bound.problem.data.lloq) if sign == 1 else None
            if general is not None:
                values[rest] = general
            else:
                _shared(name, values, rest, own & censored, joined["subject"])
    return lower, upper


def _shared(name: str, values: Numbers, rest: Mask, censored: Mask, subject: Places) -> None:
    """Give records the limit of the subject's censored ones, or that of all censored ones, when there is only one."""
    everywhere = np.unique(values[censored])
    for who in np.unique(subject[rest]):
        own = np.unique(values[censored & (subject == who)])
        limit = own if len(own) == 1 else everywhere
        if len(limit) != 1:
            raise RecordError(
                f"the censored records of `{name}` have {len(everywhere)} limits",
                code="diagnostics.limits",
                where=f"endpoint {name}",
                rule="To censor simulated values, the limit of every record must be known",
                cure=f"Say it: limits={{'{name}': ...}}, or write `lloq` in the data section",
            )
        values[rest & (subject == who)] = limit[0]
