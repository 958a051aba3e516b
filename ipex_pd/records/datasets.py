"""Datasets of event records: one row per event as NONMEM has them, checked, with everything inferred said aloud."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipex_pd.records.datacovariates import read_covariates
from ipex_pd.records.datarows import DataRows, read_rows
from ipex_pd.records.dataset_checks import check_events
from ipex_pd.records.dataset_words import in_words
from ipex_pd.records.dataspec import Covariate, DataSpec, default_spec
from ipex_pd.records.findings import DataError, Finding, Notebook
from ipex_pd.records.tables import read_table

__all__ = ["Covariate", "DataError", "DataSpec", "Dataset", "Finding", "Subject", "load_dataset", "read_dataset"]

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Subject:
    """The records of one subject, in the order of the file; arrays are read-only.

    A covariate that is carried `last` changes after its record: where it does, a record with EVID 2 and the old value
    is put before it, at its time, so that every record's values rule the time up to it. Such records have `rows` 0.

    Args:
        id: as in the file.
        rows: [R] lines of the file.
        time: [R] in the unit of the data section; clock times and dates since the first record.
        evid: [R] 0 to 4.
        amt: [R] amounts, 0 where there is no dose.
        rate: [R] 0, positive, -1 or -2.
        ii: [R] interval of additional or steady-state doses [unit of time].
        addl: [R] number of additional doses.
        ss: [R] 0, 1 or 2.
        cmt: [R] compartments from 1; 0 is the default one.
        dv: [R] observations; the limit where censored; NaN where there is none.
        mdv: [R] 0 where DV counts; 100 and 101 are left out of the estimation.
        dvid: [R] endpoint, 0 where the file has no such column.
        cens: [R] 1 below `dv`, -1 above it, 0 measured.
        limit: [R] other end of a censored interval, -inf or inf when open; NaN where measured.
        occ: [R] occasion, 1 where the file has no such column.
        covariates: name -> [R].
    """

    id: str
    rows: Integers
    time: Numbers
    evid: Integers
    amt: Numbers
    rate: Numbers
    ii: Numbers
    addl: Integers
    ss: Integers
    cmt: Integers
    dv: Numbers
    mdv: Integers
    dvid: Integers
    cens: Integers
    limit: Numbers
    occ: Integers
    covariates: Mapping[str, Numbers]

    @property
    def observed(self) -> NDArray[np.bool_]:
        """[R] records whose DV counts."""
        return np.asarray((self.evid == 0) & (self.mdv == 0))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Subjects and what was understood of their file.

    Args:
        subjects: in the order of the file.
        covariates: name -> how it was read.
        spec: the data section.
        findings: warnings and notes.
        understood: the dataset in plain words, one fact a line.
    """

    subjects: tuple[Subject, ...]
    covariates: Mapping[str, Covariate]
    spec: DataSpec
    findings: tuple[Finding, ...]
    understood: tuple[str, ...]

    @property
    def observations(self) -> int:
        """Number of observations that count."""
        return sum(int(subject.observed.sum()) for subject in self.subjects)


def read_dataset(spec: DataSpec, folder: str | os.PathLike[str] = ".", *, planned: bool = False) -> Dataset:
    """Read and check a dataset.

    Args:
        spec: the data section.
        folder: where its file is relative to.
        planned: a study that has not been made: observations without a DV count as samples, with a DV of 1.

    Raises:
        DataError: what is wrong, all of it in `findings`; the message names the first few.
        RecordError: there is no such file, or it is not a table.
    """
    found = Notebook(spec.file)
    table = read_table(spec, Path(folder), found)
    rows = read_rows(spec, table, found)
    if planned:
        _plan(rows)
    check_events(rows, found)
    covariates = read_covariates(rows, found)
    found.stop_on_errors()
    _quantify(rows)
    subjects = tuple(_subject(rows, covariates, place) for place in range(len(rows.starts)))
    return Dataset(subjects, dict(spec.covariates), spec, found.sorted(), in_words(rows, covariates))


def load_dataset(path: str | os.PathLike[str], spec: Mapping[str, Any] | DataSpec | None = None) -> Dataset:
    """Read a file by the usual names of columns.

    Args:
        path: the file.
        spec: what differs from the usual, as in a data section; its `file` is not needed.

    Raises:
        DataError: what is wrong, all of it in `findings`.
        RecordError: there is no such file, or the specification breaks a rule.
    """
    place = Path(path)
    if isinstance(spec, DataSpec):
        return read_dataset(spec.model_copy(update={"file": place.name}), place.parent)
    return read_dataset(default_spec(place.name, spec), place.parent)


def _plan(rows: DataRows) -> None:
    """Observations without a DV become samples; one that a column MDV leaves out (1, 100, 101) stays out."""
    kept = np.isin(rows["mdv"], (1, 100, 101)) & ("mdv" not in rows.inferred)
    empty = (rows["evid"] == 0) & ~rows.given["dv"] & ~kept
    rows.values["dv"] = np.where(empty, 1.0, rows["dv"])
    rows.values["mdv"] = np.where(empty, 0.0, rows["mdv"])
    rows.given["dv"] = rows.given["dv"] | empty


def _quantify(rows: DataRows) -> None:
    """BLQ and LLOQ as CENS and DV, open limits as infinities, DUR as RATE -2: one convention from here on."""
    below = rows.observed & (rows["blq"] == 1)
    rows.values["dv"] = np.where(below, rows["lloq"], rows["dv"])
    rows.values["cens"] = np.where(rows["evid"] == 0, np.where(rows["blq"] == 1, 1.0, rows["cens"]), 0.0)
    flag = rows["cens"]
    end = np.where(np.isnan(rows["limit"]), -np.inf * np.where(flag == 0, 1.0, flag), rows["limit"])
    rows.values["limit"] = np.where(flag == 0, np.nan, end)
    rows.values["dv"] = np.where(rows["evid"] == 0, rows["dv"], np.nan)
    spread = rows.dosed & (rows["dur"] > 0) & (rows["rate"] == 0)
    rows.values["rate"] = np.where(spread, -2.0, rows["rate"])


_INTEGERS = ("evid", "addl", "ss", "cmt", "mdv", "dvid", "cens", "occ")
_NUMBERS = ("time", "amt", "rate", "ii", "dv", "limit")


def _subject(rows: DataRows, covariates: Mapping[str, Numbers], place: int) -> Subject:
    start = int(rows.starts[place])
    stop = int(rows.starts[place + 1]) if place + 1 < len(rows.starts) else rows.count
    arrays: dict[str, Any] = {role: rows[role][start:stop] for role in (*_INTEGERS, *_NUMBERS)}
    arrays["rows"] = rows.table.lines[start:stop]
    if "occ" not in rows.headers:
        arrays["occ"] = np.ones(stop - start)
    own = {name: values[start:stop] for name, values in covariates.items()}
    late = {name for name in own if rows.spec.carry_of(name) == "last"}
    arrays, own = _inserted(arrays, own, late)
    for role in ("rows", *_INTEGERS):
        arrays[role] = arrays[role].astype(np.int64)
    for values in (*arrays.values(), *own.values()):
        values.setflags(write=False)
    return Subject(id=rows.ids[start], covariates=own, **arrays)


def _inserted(
    arrays: dict[str, Any], own: dict[str, Numbers], late: set[str]
) -> tuple[dict[str, Any], dict[str, Numbers]]:
    """Records put before those at which a covariate carried `last` changes, except at resets."""
    count = len(arrays["time"])
    changed = np.zeros(count, dtype=bool)
    for name in late:
        changed[1:] |= np.diff(own[name]) != 0
    changed &= ~np.isin(arrays["evid"], (3, 4))
    order = np.sort(np.concatenate([np.arange(count), np.flatnonzero(changed)]))
    new = np.zeros(len(order), dtype=bool)
    new[:-1] = order[:-1] == order[1:]
    kept = {"time", "occ", "dvid"}
    nothing = {"evid": 2, "mdv": 1, "dv": np.nan, "limit": np.nan}
    found = {
        role: values[order] if role in kept else np.where(new, nothing.get(role, 0), values[order])
        for role, values in arrays.items()
    }
    covariates = {
        name: values[np.where(new, order - 1, order)] if name in late else values[order] for name, values in own.items()
    }
    return found, covariates
