"""Reading a table of text: header, rows with their line numbers, comments and filters; numbers only on request."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import RecordError, nearest_hint
from ipex_pd.records.dataspec import DataSpec
from ipex_pd.records.filters import RowFilter, parse_filter
from ipex_pd.records.findings import Notebook

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eEdD][-+]?\d+)?", re.ASCII)


@dataclass(frozen=True)
class Column:
    """The numbers of a column.

    Args:
        header: as it stands in the file.
        values: [N], NaN where there is no number.
        given: [N], where the cell is not empty (it may still not be a number).
    """

    header: str
    values: Numbers
    given: Mask


@dataclass(frozen=True)
class Table:
    """Rows of a file, in its order.

    Args:
        where: the file, for messages.
        headers: names of the columns.
        cells: rows of text.
        lines: line of the file of every row.
        missing: what an empty cell looks like.
        left_out: why and how many rows were left out.
    """

    where: str
    headers: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    lines: NDArray[np.int64]
    missing: frozenset[str]
    left_out: Mapping[str, int]

    def find(self, name: str) -> str | None:
        """The header that is this name, in any case."""
        if name in self.headers:
            return name
        return next((header for header in self.headers if header.upper() == name.upper()), None)

    def text(self, header: str) -> list[str]:
        """The cells of a column."""
        place = self.headers.index(header)
        return [row[place] for row in self.cells]

    def given(self, header: str) -> Mask:
        """Where the cells of a column are not empty."""
        return np.array([cell not in self.missing for cell in self.text(header)], dtype=bool)

    def numbers(self, header: str, levels: Mapping[str, float] | None = None) -> Column:
        """A column as numbers; `levels` gives numbers for words."""
        known = levels or {}
        values = [known[cell] if cell in known else as_number(cell) for cell in self.text(header)]
        return Column(header, np.array(values, dtype=float), self.given(header))

    def kept(self, mask: Mask, reason: str) -> Table:
        """The rows under a mask, the others counted."""
        cells = tuple(row for row, keep in zip(self.cells, mask, strict=True) if keep)
        gone = {**self.left_out, reason: int(len(mask) - mask.sum())}
        return Table(self.where, self.headers, cells, self.lines[mask], self.missing, gone)


def as_number(cell: str) -> float:
    """A finite number as people and Fortran write it (`2`, `.5`, `1.2E-3`, `1D0`); NaN when it is none."""
    if not _NUMBER.fullmatch(cell):
        return math.nan
    value = float(cell.replace("D", "e").replace("d", "e"))
    return value if math.isfinite(value) else math.nan


def read_table(spec: DataSpec, folder: Path, found: Notebook) -> Table:
    """Read the file of a specification and keep the rows that it asks for.

    Raises:
        RecordError: no such file, or no table in it.
        DataError: the header or a row does not fit.
    """
    lines = _lines(Path(folder) / spec.file, found.where)
    table = _split(spec, lines, found)
    found.stop_on_errors()
    for text in spec.ignore:
        table = table.kept(~_holds(parse_filter(text), table, found), f"ignore: {text}")
    for text in spec.accept:
        table = table.kept(_holds(parse_filter(text), table, found), f"accept: {text}")
    if not table.cells:
        found.write("error", "empty", "No row is left to use", "Look at the filters and at the comment character")
    found.stop_on_errors()
    return table


def _lines(path: Path, where: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise RecordError("there is no such file", where=where, code="data.no-file", cure="Correct `file`") from None
    except UnicodeDecodeError as error:
        rule, cure = "Data files are UTF-8 text", "Save it as UTF-8"
        raise RecordError(
            f"the file is not text: {error}", where=where, code="data.encoding", rule=rule, cure=cure
        ) from None
    except OSError as error:
        raise RecordError(f"the file cannot be read: {error}", where=where, code="data.no-file") from error


def _split(spec: DataSpec, lines: Sequence[str], found: Notebook) -> Table:
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and number > spec.skip]
    rows = [
        (number, line)
        for number, line in numbered
        if not (spec.comment and line.lstrip()[0] in "#;" and line.lstrip()[0] in spec.comment)
    ]
    if not rows:
        raise RecordError("the file holds no rows", where=found.where, code="data.empty", cure="Look at `skip`")
    separator = _separator(spec, rows[0][1])
    if spec.header:
        headers, body = tuple(spec.header), rows
    else:
        headers, body = tuple(_cells(rows[0][1], separator)), rows[1:]
        _check_header(headers, rows[0][0], found)
    _check_names(headers, found)
    cells, places = [], []
    for number, line in body:
        if _is_comment(line, spec.comment):
            continue
        row = _cells(line, separator)
        if len(row) != len(headers):
            found.write(
                "error",
                "ragged",
                f"The header has {len(headers)} columns and this row {len(row)} cells",
                "Write `.` for an empty cell, and quote text that holds the separator",
                row=number,
            )
            continue
        cells.append(row)
        places.append(number)
    gone = {"comments": len(numbered) - len(rows) + sum(_is_comment(line, spec.comment) for _, line in body)}
    missing = frozenset(spec.missing)
    return Table(found.where, headers, tuple(cells), np.array(places, dtype=np.int64), missing, gone)


def _separator(spec: DataSpec, line: str) -> str:
    if spec.format == "whitespace":
        return ""
    found = max(",;\t", key=line.count)
    if line.count(found):
        return found
    return "," if spec.format == "csv" else ""


def _cells(line: str, separator: str) -> tuple[str, ...]:
    if not separator:
        return tuple(line.split())
    return tuple(cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True)))


def _is_comment(line: str, comment: str) -> bool:
    first = line.lstrip().lstrip("\"'")[:1]
    return first in comment if first and "@" not in comment else first in comment or first.isalpha()


def _check_header(headers: Sequence[str], line: int, found: Notebook) -> None:
    if all(not np.isnan(as_number(cell)) or cell in (".", "") for cell in headers):
        cure = "Write one, or name the columns in `header`"
        found.write("error", "no-header", "The first row has numbers, not names of columns", cure, row=line)
    for place, header in enumerate(headers, 1):
        if not header:
            cure = "Give every column a name (R's row names make a column without one)"
            found.write("error", "no-header", f"Column {place} has no name", cure, row=line)


def _check_names(headers: Sequence[str], found: Notebook) -> None:
    upper = [header.upper() for header in headers]
    for place, header in enumerate(headers):
        if header and upper[place] in upper[:place]:
            cure = "Rename or remove one of them"
            found.write("error", "duplicate-column", "Names of columns are unique, in any case", cure, column=header)


def _holds(condition: RowFilter, table: Table, found: Notebook) -> Mask:
    headers = {}
    for name in sorted(condition.columns):
        header = table.find(name)
        if header is None:
            found.write(
                "error",
                "filter-column",
                f"The filter `{condition.text}` names a missing column. {nearest_hint(name, table.headers)}",
                "Correct the filter",
                column=name,
            )
            found.stop_on_errors()
        headers[name] = str(header)
    if condition.formula is None:
        cells = np.array(table.text(headers[condition.column]))
        return np.asarray(cells == condition.word if condition.operator == "==" else cells != condition.word)
    columns = {name: table.numbers(header) for name, header in headers.items()}
    for column in columns.values():
        _doubtful(condition, table, column, found)
    return condition.holds({name: column.values for name, column in columns.items()})


def _doubtful(condition: RowFilter, table: Table, column: Column, found: Notebook) -> None:
    empty, words = ~column.given, column.given & np.isnan(column.values)
    for place in np.flatnonzero(words):
        rule = f"The filter `{condition.text}` compares numbers"
        value, line = table.text(column.header)[place], int(table.lines[place])
        cure = f"Compare words as `{column.header}.EQ.word`"
        found.write("error", "not-a-number", rule, cure, row=line, column=column.header, value=value)
    if empty.any():
        found.write(
            "warning",
            "filter-empty",
            f"The filter `{condition.text}` holds for no row whose cell is empty",
            "Write a value there if the row is meant",
            row=int(table.lines[empty][0]),
            column=column.header,
            count=int(empty.sum()),
        )
