"""From text to event records: columns by role, clock times, and what NM-TRAN infers where a column is absent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import nearest_hint
from ipex_pd.records.clock import HOURS_PER_DAY, date_order, days_of, has_clock, hours_of, since_first
from ipex_pd.records.dataspec import REFUSED, ROLES, DataSpec
from ipex_pd.records.findings import Notebook, Severity
from ipex_pd.records.tables import Mask, Numbers, Table, as_number
from ipex_pd.units import factor

INTEGERS = ("mdv", "evid", "addl", "ss", "cmt", "dvid", "cens", "blq", "occ")
NEVER_EMPTY = ("mdv", "evid", "occ")
DOSE_ITEMS = ("amt", "rate", "dur", "ii", "addl", "ss")
_NUMERIC = (
    "dv",
    "mdv",
    "evid",
    "amt",
    "rate",
    "dur",
    "addl",
    "ss",
    "cmt",
    "dvid",
    "cens",
    "limit",
    "blq",
    "lloq",
    "occ",
)


@dataclass
class DataRows:
    """The records of a dataset as columns, before they are cut into subjects.

    Args:
        spec: how the file is read.
        table: its text.
        headers: role -> header.
        ids: [N] subject of every row, as text.
        starts: [S] place of every subject's first row.
        values: role -> [N]; NaN where there is nothing, 0 for dose items and compartments.
        given: role -> [N], where the cell was not empty.
        inferred: which of `evid` and `mdv` the file does not have.
        clock: how times were read, in words.
    """

    spec: DataSpec
    table: Table
    headers: Mapping[str, str]
    ids: list[str]
    starts: NDArray[np.int64]
    values: dict[str, Numbers]
    given: dict[str, Mask]
    inferred: tuple[str, ...] = ()
    clock: str = ""
    _texts: dict[str, list[str]] = field(default_factory=dict)

    def __getitem__(self, role: str) -> Numbers:
        return self.values[role]

    @property
    def count(self) -> int:
        """Number of rows."""
        return len(self.ids)

    @property
    def subject(self) -> NDArray[np.int64]:
        """[N] place of every row's subject."""
        return np.repeat(np.arange(len(self.starts)), np.diff(np.append(self.starts, self.count)))

    @property
    def observed(self) -> Mask:
        """[N] rows whose DV counts."""
        return np.asarray((self["evid"] == 0) & (self["mdv"] == 0))

    @property
    def dosed(self) -> Mask:
        """[N] rows that give a dose."""
        return np.isin(self["evid"], (1, 4))

    def shown(self, role: str, place: int) -> str:
        """What stands in a cell."""
        header = self.headers.get(role)
        if header is None:
            return ""
        if header not in self._texts:
            self._texts[header] = self.table.text(header)
        return self._texts[header][place] or "(empty)"

    def tell(
        self,
        found: Notebook,
        severity: Severity,
        code: str,
        where: Mask,
        role: str,
        rule: str,
        cure: str = "",
        together: bool = False,
    ) -> None:
        """Write a finding for every row under a mask, or one for all of them."""
        places = np.flatnonzero(where)
        for place in places[:1] if together else places:
            found.write(
                severity,
                code,
                rule,
                cure,
                row=int(self.table.lines[place]),
                subject=self.ids[place],
                column=self.headers.get(role, role.upper()),
                value=self.shown(role, int(place)),
                count=len(places) if together else 1,
            )


def read_rows(spec: DataSpec, table: Table, found: Notebook) -> DataRows:
    """The records behind a table.

    Raises:
        DataError: columns that are missing or cannot be told apart.
    """
    headers = resolve_columns(spec, table, found)
    found.stop_on_errors()
    ids = [_identity(cell) for cell in table.text(headers["id"])]
    starts = np.array([i for i in range(len(ids)) if i == 0 or ids[i] != ids[i - 1]], dtype=np.int64)
    rows = DataRows(spec, table, headers, ids, starts, {}, {})
    rows.tell(found, "error", "id-missing", ~table.given(headers["id"]), "id", "Every row names its subject")
    for role in _NUMERIC:
        _read_numbers(rows, role, found)
    if spec.lloq is not None and "lloq" not in headers:
        rows.values["lloq"] = np.full(rows.count, spec.lloq)
    _read_times(rows, found)
    _infer(rows)
    return rows


def resolve_columns(spec: DataSpec, table: Table, found: Notebook) -> dict[str, str]:
    """Role -> header, by the specification and by default names."""
    dropped = {_existing(name, table, found, "drop") for name in spec.drop}
    headers: dict[str, str] = {}
    for role, names in ROLES.items():
        wanted = spec.columns.get(role)
        if wanted is not None:
            if wanted.lower() != "none":
                headers[role] = _existing(wanted, table, found, f"columns.{role}")
            continue
        there = [header for header in map(table.find, names) if header is not None and header not in dropped]
        if len(there) > 1:
            listed = " and ".join(f"`{header}`" for header in there)
            cure = f"Write `columns: {{{role}: ...}}`, or `drop` one"
            found.write("error", "two-columns", f"{listed} could both be the {role} column", cure, column=there[0])
        if there:
            headers[role] = there[0]
    _check_roles(spec, table, headers, dropped, found)
    return headers


def _existing(name: str, table: Table, found: Notebook, where: str) -> str:
    header = table.find(name)
    if header is None:
        rule = f"`{where}` names a column that does not exist. {nearest_hint(name, table.headers)}"
        found.write("error", "column-missing", rule, "Correct the name", column=name)
    return header or name


def _check_roles(spec: DataSpec, table: Table, headers: dict[str, str], dropped: set[str], found: Notebook) -> None:
    for role in ("id", "time", "dv"):
        if role not in headers:
            rule = f"A dataset has a column for {role.upper()}. {nearest_hint(role.upper(), table.headers)}"
            found.write("error", "column-missing", rule, f"Write `columns: {{{role}: ...}}`", column=role.upper())
    for role, header in headers.items():
        twice = next((other for other in headers if other != role and headers[other] == header), None)
        if twice and role < twice:
            rule = f"One column is both the {role} and the {twice} column"
            found.write("error", "two-roles", rule, "Correct `columns`", column=header)
    covariates = {table.find(spec.column_of(name)) for name in spec.covariates}
    for name, meaning in REFUSED.items():
        here = table.find(name)
        if here is not None and here not in dropped and here not in covariates and here not in headers.values():
            rule = f"In NONMEM this column {meaning}; no method here honours that"
            found.write(
                "error", "unsupported-column", rule, f"If it is not meant so, write `drop: [{here}]`", column=here
            )


def _identity(cell: str) -> str:
    """`1`, `1.0` and `01` are one subject; long numbers keep all their digits."""
    if cell.isdecimal():
        return str(int(cell))
    number = as_number(cell)
    return str(int(number)) if number.is_integer() and abs(number) < 2**53 else cell


def _read_numbers(rows: DataRows, role: str, found: Notebook) -> None:
    header = rows.headers.get(role)
    empty = np.nan if role in ("dv", "limit", "lloq") else 0.0
    if header is None:
        rows.values[role] = np.full(rows.count, empty)
        rows.given[role] = np.zeros(rows.count, dtype=bool)
        return
    column = rows.table.numbers(header)
    words = column.given & np.isnan(column.values)
    cure = "Write a number, or `.` where there is none"
    rows.tell(found, "error", "not-a-number", words, role, f"{role.upper()} holds numbers", cure)
    rows.given[role] = column.given
    rows.values[role] = np.where(np.isnan(column.values), empty, column.values)
    if role in INTEGERS:
        rows.tell(found, "error", "not-whole", rows[role] % 1 != 0, role, f"{role.upper()} is a whole number")
    if role in NEVER_EMPTY:
        cure = "Write its value in every row, or drop the column"
        rows.tell(found, "error", "missing", ~column.given, role, f"{role.upper()} is never empty", cure)


def _read_times(rows: DataRows, found: Notebook) -> None:
    spec, per_hour = rows.spec, factor("h", rows.spec.time_unit)
    times = rows.table.text(rows.headers["time"])
    given = rows.table.given(rows.headers["time"])
    clock = has_clock(times) or "date" in rows.headers
    hours = np.array([hours_of(cell) if known else np.nan for cell, known in zip(times, given, strict=True)])
    rows.tell(found, "error", "time-missing", ~given, "time", "Every row has a time")
    cure = "Write a number of hours or `hh:mm`" if clock else "Write a number"
    rows.tell(found, "error", "not-a-number", given & np.isnan(hours), "time", "TIME is a number or a clock time", cure)
    if "date" in rows.headers:
        rule = "With a column of dates TIME is the hour of the day"
        cure = f"If TIME is elapsed time already, write `drop: [{rows.headers['date']}]`"
        rows.tell(found, "error", "time-of-day", (hours < 0) | (hours > HOURS_PER_DAY), "time", rule, cure)
    if clock:
        hours = since_first(hours + _hours_of_dates(rows, found), rows.starts) * per_hour
        source = "clock times and dates" if "date" in rows.headers else "clock times"
        rows.clock = f"{source}, turned into {spec.time_unit} since each subject's first record"
    rows.values["time"] = hours
    rows.values["ii"] = _intervals(rows, found, per_hour)


def _hours_of_dates(rows: DataRows, found: Notebook) -> Numbers:
    header = rows.headers.get("date")
    if header is None:
        return np.zeros(rows.count)
    order, cells = date_order(rows.spec.date_order, header), rows.table.text(header)
    given = rows.table.given(header)
    days = np.array([days_of(cell, order) for cell in cells])
    rows.tell(found, "error", "date-missing", ~given, "date", "With a column of dates every row has one")
    cure = "Write it so, or set `date_order`; days may also be plain numbers"
    rule = f"Dates here are {'-'.join({'y': 'year', 'm': 'month', 'd': 'day'}[part] for part in order)}, years in full"
    rows.tell(found, "error", "date", given & np.isnan(days), "date", rule, cure)
    plain = np.array([cell.replace(".", "", 1).isdigit() for cell in cells])
    if plain.any() and not plain[given].all():
        rule = "Dates are all calendar dates or all numbers of days"
        rows.tell(found, "error", "date", plain, "date", rule, "Write them one way", together=True)
    return days * HOURS_PER_DAY


def _intervals(rows: DataRows, found: Notebook, per_hour: float) -> Numbers:
    header = rows.headers.get("ii")
    if header is None:
        rows.given["ii"] = np.zeros(rows.count, dtype=bool)
        return np.zeros(rows.count)
    cells, given = rows.table.text(header), rows.table.given(header)
    clock = has_clock(cells)
    values = np.array([hours_of(cell) if known else 0.0 for cell, known in zip(cells, given, strict=True)])
    rows.tell(found, "error", "not-a-number", np.isnan(values), "ii", "II is a number or a clock time")
    if rows.clock and not clock and per_hour != 1:
        rule = f"Beside clock times II is in hours or in {rows.spec.time_unit}: a plain number does not say which"
        rows.tell(found, "error", "ii-unit", values != 0, "ii", rule, "Write it as `hh:mm`")
    rows.given["ii"] = given
    return np.asarray(np.nan_to_num(values) * (per_hour if clock else 1.0))


def _infer(rows: DataRows) -> None:
    dosing = np.any([rows[item] != 0 for item in DOSE_ITEMS], axis=0)
    inferred = []
    if "evid" not in rows.headers:
        other = np.isin(rows["mdv"], (1, 101)) if "mdv" in rows.headers else np.zeros(rows.count, dtype=bool)
        rows.values["evid"] = np.where(dosing, 1.0, np.where(other, 2.0, 0.0))
        inferred.append("evid")
    if "mdv" not in rows.headers:
        flagged = rows["blq"] == 1
        rows.values["mdv"] = np.where((rows["evid"] == 0) & (rows.given["dv"] | flagged), 0.0, 1.0)
        inferred.append("mdv")
    rows.inferred = tuple(inferred)
