"""The table of a cohort as arrays [children, records] on the fitted scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ipex_pd.errors import SimulationError
from ipex_pd.inference.disease_endpoints import Endpoint
from ipex_pd.records.cohorts import CohortData

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Records:
    """Records of children, padded to one number; see `ipex_pd.inference.group.Group`.

    Attributes:
        y, mask, cens, limit, jacobian, direct: [B, N].
        endpoint: [B, N] index of the endpoint, -1 for padding.
        days: [B, V] days on which each child's values are read, the last repeated.
        visit: [B, N] place of the record's day among them.
        until: [B] last of them.
    """

    y: Floats
    mask: NDArray[np.bool_]
    cens: Ints
    limit: Floats
    jacobian: Floats
    direct: NDArray[np.bool_]
    endpoint: Ints
    days: Floats
    visit: Ints
    until: Floats


def records_of(cohort: CohortData, endpoints: Sequence[Endpoint]) -> Records:
    """The rows of a cohort that some endpoints use.

    Raises:
        SimulationError: a censored row of an endpoint that does not say what to do with it, a child without any row,
            or an observation before day 0 of a child whose course before it is not that of the disease.
    """
    places = {endpoint.name: k for k, endpoint in enumerate(endpoints)}
    rows = [_rows(cohort, child, places) for child in range(len(cohort))]
    children, records = len(rows), max(len(part) for part in rows)
    blank = (children, records)
    days = [np.unique(part["when"]) for part in rows]
    width = max(len(own) for own in days)
    table = Records(
        y=np.zeros(blank),
        mask=np.zeros(blank, bool),
        cens=np.zeros(blank, np.int64),
        limit=np.zeros(blank),
        jacobian=np.zeros(blank),
        direct=np.zeros(blank, bool),
        endpoint=np.full(blank, -1, np.int64),
        days=np.stack([np.concatenate([own, np.full(width - len(own), own[-1])]) for own in days]),
        visit=np.zeros(blank, np.int64),
        until=np.array([own[-1] for own in days]),
    )
    for child, part in enumerate(rows):
        _fill(table, child, part, endpoints)
        table.visit[child, : len(part)] = np.searchsorted(days[child], part["when"])
    return table


def _rows(cohort: CohortData, child: int, places: dict[str, int]) -> pd.DataFrame:
    table = cohort.table[(cohort.table["child"] == child) & cohort.table["measurement"].isin(list(places))].copy()
    if table.empty:
        raise SimulationError(
            f"child {cohort.ids[child]} has no observation of any endpoint",
            where=cohort.name,
            rule="Every child of a fit is observed",
            cure="Leave the child out of the cohort, or add an endpoint",
        )
    table["endpoint"] = table["measurement"].map(places)
    event = table["measurement"].map(lambda name: cohort.measurements[name].kind == "survival")
    table["when"] = np.where(event, table["value"], table["day"])
    if (table["when"] < 0).any() and cohort.patients[child].history == "as_stated":
        raise SimulationError(
            f"child {cohort.ids[child]} is observed on day {table['when'].min():g}",
            where=cohort.name,
            rule="A child whose history is `as_stated` begins on day 0",
            cure="Write `history: born_untreated`, or leave the row out",
        )
    return table


def _fill(table: Records, child: int, part: pd.DataFrame, endpoints: Sequence[Endpoint]) -> None:
    columns = (part[name].to_numpy() for name in ("endpoint", "value", "cens", "limit", "row"))
    for n, (place, value, cens, limit, line) in enumerate(zip(*columns, strict=True)):
        endpoint = endpoints[int(place)]
        if endpoint.censoring is None and cens != 0:
            raise SimulationError(
                f"`{endpoint.name}` is censored on line {line}",
                where=f"endpoint `{endpoint.name}`",
                rule="The endpoint does not say what to do with censored rows",
                cure="Write `censoring: m3`, or `m1` to leave them out",
            )
        here = (child, n)
        table.endpoint[here], table.cens[here], table.y[here] = place, cens, value
        table.mask[here] = not (endpoint.censoring == "m1" and cens != 0)
        table.direct[here] = endpoint.kind != "value"
        if endpoint.kind == "value":
            with np.errstate(divide="ignore"):
                table.y[here] = endpoint.scaled(np.asarray(value), np)
                table.limit[here] = endpoint.scaled(np.asarray(limit), np) if cens != 0 else 0.0
            table.jacobian[here] = endpoint.jacobian(np.asarray(value)) if cens == 0 else 0.0
