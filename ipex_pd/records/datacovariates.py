"""Covariates of event records: read, filled where that was asked for, and refused where a value is missing."""

from __future__ import annotations

import numpy as np

from ipex_pd.errors import nearest_hint
from ipex_pd.records.datarows import DataRows
from ipex_pd.records.dataspec import Covariate, Fill
from ipex_pd.records.findings import Notebook
from ipex_pd.records.tables import Mask, Numbers

_CURE = "Write it, or say what stands in empty cells: `fill: first`, `last` or `next`"


def read_covariates(rows: DataRows, found: Notebook) -> dict[str, Numbers]:
    """Covariates of every row, by name, [N] each; NaN only where an error was written."""
    return {name: _read(rows, name, covariate, found) for name, covariate in rows.spec.covariates.items()}


def _read(rows: DataRows, name: str, covariate: Covariate, found: Notebook) -> Numbers:
    written = rows.spec.column_of(name)
    header = rows.table.find(written)
    if header is None:
        rule = f"The covariate `{name}` has no column. {nearest_hint(written, rows.table.headers)}"
        cure = f"Write `covariates: {{{name}: HEADER}}`"
        found.write("error", "covariate-column", rule, cure, column=written)
        return np.full(rows.count, np.nan)
    column = rows.table.numbers(header, covariate.levels)
    cells = rows.table.text(header)
    for place in np.flatnonzero(column.given & np.isnan(column.values)):
        cure = f"Give its number: `levels: {{{cells[place]}: ...}}`"
        _tell(rows, found, "not-a-number", int(place), header, cells[place], "Covariates are numbers", cure)
    if header == rows.headers.get("dur"):
        return np.where(column.given, column.values, 0.0)
    if not column.given.any():
        rule = f"The covariate `{name}` has no value in any row"
        found.write("error", "covariate-all-missing", rule, "Take it out, or name another column", column=header)
        return column.values
    values = np.where(column.given, column.values, np.nan)
    if covariate.fill != "none":
        values = _filled(rows, values, covariate.fill)
    _missing(rows, found, name, header, values, column.given)
    return values


def _filled(rows: DataRows, values: Numbers, fill: Fill) -> Numbers:
    """Empty cells filled inside each subject; words that are not numbers stay NaN like empty ones."""
    filled = values.copy()
    for start, stop in zip(rows.starts, [*rows.starts[1:], rows.count], strict=True):
        own = values[start:stop]
        known = np.flatnonzero(~np.isnan(own))
        if not len(known):
            continue
        places = np.arange(len(own))
        if fill == "first":
            source = np.zeros(len(own), dtype=np.int64)
        elif fill == "last":
            source = known[np.maximum(np.searchsorted(known, places, side="right") - 1, 0)]
            source = np.where(places < known[0], places, source)
        else:
            source = known[np.minimum(np.searchsorted(known, places), len(known) - 1)]
            source = np.where(places > known[-1], places, source)
        filled[start:stop] = np.where(np.isnan(own), own[source], own)
    return filled


def _missing(rows: DataRows, found: Notebook, name: str, header: str, values: Numbers, given: Mask) -> None:
    empty = np.isnan(values) & ~given
    for place in np.flatnonzero(np.add.reduceat(empty.astype(np.int64), rows.starts)):
        start = rows.starts[place]
        stop = rows.starts[place + 1] if place + 1 < len(rows.starts) else rows.count
        holes = start + np.flatnonzero(empty[start:stop])
        every = " in every row of the subject" if len(holes) == stop - start else ""
        rule = f"The covariate `{name}` has no value{every}"
        _tell(rows, found, "covariate-missing", int(holes[0]), header, "(empty)", rule, _CURE, len(holes))


def _tell(
    rows: DataRows,
    found: Notebook,
    code: str,
    place: int,
    header: str,
    value: str,
    rule: str,
    cure: str,
    count: int = 1,
) -> None:
    found.write(
        "error",
        code,
        rule,
        cure,
        row=int(rows.table.lines[place]),
        subject=rows.ids[place],
        column=header,
        value=value,
        count=count,
    )
