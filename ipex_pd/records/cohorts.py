"""Cohorts: children with their treatment histories, and the table of what was measured in them.

A cohort is a YAML file (`fit/cohorts/<name>.yaml`) with one entry a child, and a CSV file beside it with one row a
child, day and measurement. Days are days of the child's regimen: day 0 is his age at the start, earlier days are
negative, and no day lies before birth.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError, nearest_hint
from ipex_pd.records.cohort_records import Cohort, CohortChild
from ipex_pd.records.library import file_of, load_drug, load_measurements, load_patient, load_regimen, resolve_drug
from ipex_pd.records.measurements import Event, Measurement, Ordinal, Survival, level_of
from ipex_pd.records.patients import Patient
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import first, read_record

COLUMNS = {
    "ID": "number of the child in the cohort",
    "TIME": "day of the regimen [day]; of an event the visit that tells, of a death its day",
    "DVID": "name of the measurement, or <drug>_level",
    "DV": "measured value in the unit of the measurement; level number of an ordinal one; day of an event",
    "CENS": "0 measured; 1 between LIMIT and DV (below quantification, or an onset between two visits); "
    "-1 between DV and LIMIT (above quantification, or not come by DV)",
    "LIMIT": "other end of the interval of a censored row; empty: as far as the measurement goes",
    "MDV": "1 when the measurement is missing; the row is then not used",
}
"""The data dictionary that every table shares; DV is `.` in a row whose measurement is missing."""

_REQUIRED = ("ID", "TIME", "DVID", "DV")
_MISSING = (".", "", "NA")


@dataclass(frozen=True, eq=False)
class CohortData:
    """A cohort as read: records loaded, table checked.

    Attributes:
        name, description: what it is.
        ids: number of every child.
        patients, regimens: of every child.
        table: columns id, child (position), day, measurement, value, cens, limit, row (of the file, 1 is the header);
            rows with MDV 1 left out; `limit` is filled where the row is censored.
        measurements: those of the table, by name.
        missing: rows left out because of MDV 1.
        source: the table's file, for messages.
    """

    name: str
    description: str
    ids: tuple[int, ...]
    patients: tuple[Patient, ...]
    regimens: tuple[Regimen, ...]
    table: pd.DataFrame
    measurements: Mapping[str, Measurement]
    missing: int = 0
    source: str = ""

    def __len__(self) -> int:
        return len(self.ids)

    def understood(self) -> list[str]:
        """What was read, in sentences."""
        counts = self.table["measurement"].value_counts()
        rows = ", ".join(f"{name} {counts[name]}" for name in sorted(counts.index))
        censored = int((self.table["cens"] != 0).sum())
        treated = sorted({regimen.name for regimen in self.regimens})
        return [
            f"{len(self)} children, {len(self.table)} observations ({rows}).",
            f"Censored: {censored}; missing and left out: {self.missing}.",
            f"Days {self.table['day'].min():g} to {self.table['day'].max():g} of their regimens, "
            f"{len(treated)} different: {', '.join(treated[:8])}{' ...' if len(treated) > 8 else ''}.",
        ]


def load_cohort(name: str | os.PathLike[str]) -> CohortData:
    """A cohort, by shipped name or path of its YAML file.

    Raises:
        RecordError: unknown name, a file that breaks a rule, or a table with a row that does.
    """
    path = file_of("cohorts", name)
    cohort = read_record(Cohort, path)
    children = [_child(child, path) for child in cohort.children]
    table = path.parent / cohort.observations
    return assemble(cohort, *zip(*children, strict=True), frame=read_table(table, cohort.columns), source=str(table))


def table_faults(path: Path) -> list[IpexError]:
    """Every fault of the table of a cohort file; empty when it is sound."""
    try:
        cohort = read_record(Cohort, path)
        patients, regimens = zip(*(_child(child, path) for child in cohort.children), strict=True)
        table = path.parent / cohort.observations
        frame = read_table(table, cohort.columns)
    except IpexError as error:
        return [error]
    return _Rows([child.id for child in cohort.children], patients, regimens, str(table)).read_all(frame)


def table_of(path: Path) -> Path:
    """The table of a cohort file. Raises: RecordError."""
    return path.parent / read_record(Cohort, path).observations


def _child(child: CohortChild, path: Path) -> tuple[Patient, Regimen]:
    try:
        patient = child.patient if isinstance(child.patient, Patient) else load_patient(child.patient)
        regimen = child.regimen if isinstance(child.regimen, Regimen) else load_regimen(child.regimen)
        for order in regimen.orders:
            load_drug(order.drug).require_route(order.route, where=f"{path}: child {child.id}: {order.drug}")
    except IpexError as error:
        where = f"{path}: child {child.id}" + (f": {error.where}" if error.where else "")
        raise type(error)(error.what, code=error.code, where=where, rule=error.rule, cure=error.cure) from error
    return patient, regimen


def read_table(
    path: str | os.PathLike[str], further: Mapping[str, str] | None = None, *, optional: Sequence[str] = ()
) -> pd.DataFrame:
    """A table of observations as text, columns known.

    Args:
        path: of the CSV file.
        further: columns beside those of `COLUMNS`, with their meanings.
        optional: required columns that may be missing here.

    Raises:
        RecordError: no such file, or a column that the dictionary lacks.
    """
    where = os.fspath(path)
    try:
        frame = pd.read_csv(where, dtype=str, keep_default_na=False, comment="#", skipinitialspace=True)
    except FileNotFoundError:
        raise RecordError("there is no such file", where=where, code="record.no-file") from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise RecordError(f"the table cannot be read: {error}", where=where) from error
    known = {**COLUMNS, **(further or {})}
    for column in frame.columns:
        if column not in known:
            raise UnknownKeyError(
                f"`{column}` is not a column of a cohort",
                where=where,
                rule=nearest_hint(column, known),
                cure="Rename it, or describe it under `columns`",
            )
    for column in _REQUIRED:
        if column not in frame.columns and column not in optional:
            raise RecordError(f"column `{column}` is missing", where=where, rule=f"It holds the {COLUMNS[column]}")
    return frame


def assemble(
    cohort: Cohort, patients: Sequence[Patient], regimens: Sequence[Regimen], *, frame: pd.DataFrame, source: str = ""
) -> CohortData:
    """Children and the text of their table as a cohort.

    Raises:
        RecordError: a row that breaks a rule; the first, with its line.
    """
    ids = tuple(child.id for child in cohort.children)
    table, missing, items = checked_table(frame, ids, patients, regimens, source)
    return CohortData(
        cohort.name, cohort.description, ids, tuple(patients), tuple(regimens), table, items, missing, source
    )


def checked_table(
    frame: pd.DataFrame, ids: Sequence[int], patients: Sequence[Patient], regimens: Sequence[Regimen], source: str = ""
) -> tuple[pd.DataFrame, int, dict[str, Measurement]]:
    """The rows of a table of text that are used, the number left out, and their measurements.

    Raises:
        RecordError: the first fault; its message counts the others.
    """
    reader = _Rows(ids, patients, regimens, source)
    faults = reader.read_all(frame)
    if faults:
        raise first(faults)
    table = pd.DataFrame(reader.rows)
    return table.sort_values(["child", "day"], kind="stable", ignore_index=True), reader.missing, reader.used


class _Rows:
    """Reads rows, one by one, against the children and what can be measured in them."""

    def __init__(
        self, ids: Sequence[int], patients: Sequence[Patient], regimens: Sequence[Regimen], source: str
    ) -> None:
        self.place = {number: k for k, number in enumerate(ids)}
        self.patients, self.regimens, self.source = patients, regimens, source
        self.shelf = load_measurements()
        self.rows: list[dict[str, object]] = []
        self.seen: dict[tuple[object, ...], int] = {}
        self.used: dict[str, Measurement] = {}
        self.missing = 0

    def read_all(self, frame: pd.DataFrame) -> list[IpexError]:
        """Read every row; returns the faults."""
        faults: list[IpexError] = []
        for number, row in enumerate(frame.to_dict("records"), start=2):
            try:
                self.read({str(k): str(v).strip() for k, v in row.items()}, number)
            except IpexError as error:
                faults.append(error)
        if not faults and not self.rows:
            rule = "A cohort holds at least one"
            return [RecordError("the table has no observation", where=self.source, rule=rule)]
        return faults

    def read(self, row: Mapping[str, str], number: int) -> None:
        where = f"{self.source}: line {number}" if self.source else f"line {number}"
        child = self._child(row["ID"], where)
        item = self._measurement(row["DVID"], child, where)
        flag = self._number(row.get("MDV", "0"), "MDV", where, empty=0.0)
        if flag not in (0, 1):
            raise RecordError(f"MDV is {flag:g}", where=where, rule="It is 0 or 1")
        day = self._number(row["TIME"], "TIME", where)
        self._check_day(day, child, where)
        if flag == 1:
            self.missing += 1
            return
        value = self._number(row["DV"], "DV", where)
        cens = self._number(row.get("CENS", "0"), "CENS", where, empty=0.0)
        limit = self._number(row.get("LIMIT", "."), "LIMIT", where, empty=math.nan)
        limit = _interval(item, value, cens, limit, where)
        _check_value(item, value, where)
        event = isinstance(item.error, Event | Survival)
        if event:
            self._check_day(value, child, where)
        key = (child, item.name) if event else (child, item.name, day)
        if key in self.seen:
            again = "a child has one" if event else "a measurement is made once on a day"
            rule = f"It stands on line {self.seen[key]} too; {again}"
            raise RecordError(f"`{item.name}` of child {row['ID']} is repeated", where=where, rule=rule)
        self.seen[key] = number
        self.used[item.name] = item
        names = ("id", "child", "day", "measurement", "value", "cens", "limit", "row")
        values = (int(row["ID"]), child, day, item.name, value, int(cens), limit, number)
        self.rows.append(dict(zip(names, values, strict=True)))

    def _child(self, text: str, where: str) -> int:
        number = self._number(text, "ID", where)
        if number not in self.place:
            known = f"Children are {', '.join(map(str, list(self.place)[:12]))}{' ...' if len(self.place) > 12 else ''}"
            raise UnknownKeyError(f"child `{text}` is not in the cohort", where=where, rule=known)
        return self.place[int(number)]

    def _measurement(self, name: str, child: int, where: str) -> Measurement:
        if name in self.shelf.measurements:
            return self.shelf.measurements[name]
        given = {resolve_drug(drug)[0]: drug for drug in self.regimens[child].drugs}
        levels = {f"{drug}_level": drug for drug in self.regimens[child].drugs} | {
            f"{drug}_level": original for drug, original in given.items()
        }
        if name in levels:
            return level_of(load_drug(levels[name]), self.shelf.assays)
        known = [*self.shelf.measurements, *levels]
        rule = nearest_hint(name, known)
        raise UnknownKeyError(f"`{name}` cannot be measured in this child", where=where, rule=rule, cure="Rename it")

    def _number(self, text: str, column: str, where: str, empty: float | None = None) -> float:
        if text in _MISSING:
            if empty is not None:
                return empty
            cure = "Write MDV 1 for a missing measurement" if column == "DV" else f"Fill in {column}"
            raise RecordError(f"{column} is missing", where=where, rule=f"It holds the {COLUMNS[column]}", cure=cure)
        try:
            value = float(text)
        except ValueError:
            raise RecordError(f"{column} is `{text}`", where=where, rule="It is a number") from None
        if not math.isfinite(value) and column != "LIMIT":
            raise RecordError(f"{column} is `{text}`", where=where, rule="It is a finite number")
        return value

    def _check_day(self, day: float, child: int, where: str) -> None:
        age = self.patients[child].age
        if day < -age - 1e-9:
            raise RecordError(
                f"day {day:g} lies before birth",
                where=where,
                rule=f"The child is {age:g} days old on day 0",
                cure="Count days from the start of the regimen",
            )


def _interval(item: Measurement, value: float, cens: float, limit: float, where: str) -> float:
    """LIMIT as it holds: filled where a row is censored, nan elsewhere."""
    if cens not in (-1, 0, 1):
        raise RecordError(f"CENS is {cens:g}", where=where, rule="It is 0, 1 or -1")
    if isinstance(item.error, Event) and cens == 0:
        rule = "An onset is known as an interval between visits: CENS 1, or CENS -1 when it has not come"
        raise RecordError(f"`{item.name}` with CENS 0", where=where, rule=rule)
    if isinstance(item.error, Survival) and cens == 1:
        raise RecordError(f"`{item.name}` with CENS 1", where=where, rule="A death has a day, or has not come (-1)")
    if isinstance(item.error, Ordinal) and cens != 0:
        raise RecordError(f"`{item.name}` is censored", where=where, rule="A level is judged or missing")
    if cens == 0:
        if not math.isnan(limit):
            rule = "LIMIT is the other end of a censored row"
            raise RecordError("LIMIT without CENS", where=where, rule=rule, cure="Empty it, or write CENS")
        return math.nan
    event = isinstance(item.error, Event | Survival)
    low, high = (-math.inf, math.inf) if event else item.support
    limit = (low if cens == 1 else high) if math.isnan(limit) else limit
    if (limit - value) * cens >= 0:
        rule = "With CENS 1 LIMIT lies below DV, with CENS -1 above it"
        raise RecordError(f"LIMIT {limit:g} beside DV {value:g}", where=where, rule=rule)
    return limit


def _check_value(item: Measurement, value: float, where: str) -> None:
    if isinstance(item.error, Ordinal):
        highest = len(item.error.levels) - 1
        if value != np.floor(value) or not 0 <= value <= highest:
            raise RecordError(f"level {value:g} of `{item.name}`", where=where, rule=f"Levels are 0 to {highest}")
    if isinstance(item.error, Event | Survival | Ordinal):
        return
    low, high = item.support
    open_end = item.kind in ("lognormal", "logit_normal")
    if value < low or value > high or (open_end and value in (low, high)):
        raise RecordError(
            f"`{item.name}` is {value:g} {item.unit}", where=where, rule=f"It lies between {low:g} and {high:g}"
        )
