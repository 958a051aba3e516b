"""Times as people write them: numbers, clock times `14:45`, dates. Clock times become hours since the first record."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipex_pd.records.tables import as_number

Numbers = NDArray[np.float64]
HOURS_PER_DAY = 24.0
_MOST_DAYS = 100_000
_CLOCK = re.compile(r"(\d{1,3}):(\d{1,2})(?::(\d{1,2}(?:\.\d*)?))?", re.ASCII)
_PARTS = re.compile(r"(\d+)[-/.](\d+)[-/.](\d+)", re.ASCII)
_BY_HEADER = {"DATE": "mdy", "DAT1": "dmy", "DAT2": "ymd", "DAT3": "ydm"}


def has_clock(cells: Sequence[str]) -> bool:
    """Whether any cell has a colon: then all are clock times."""
    return any(":" in cell for cell in cells)


def hours_of(cell: str) -> float:
    """Hours of a clock time `hh:mm[:ss]`, or of a plain number of hours; NaN when it is neither."""
    match = _CLOCK.fullmatch(cell)
    if not match:
        return as_number(cell)
    hours, minutes, seconds = int(match[1]), int(match[2]), float(match[3] or 0.0)
    if minutes > 59 or seconds >= 60:
        return math.nan
    return hours + minutes / 60.0 + seconds / 3600.0


def date_order(order: str, header: str) -> str:
    """The order of a date's parts, `auto` following the header as NONMEM does."""
    return order if order != "auto" else _BY_HEADER.get(header.upper(), "mdy")


def days_of(cell: str, order: str) -> float:
    """Days since a fixed day of a date with a four-digit year, or a plain number of days; NaN when it is neither.

    `2026-03-31` is read as year, month, day whatever the order, since it can be nothing else; `20260331` is no number
    of days.
    """
    match = _PARTS.fullmatch(cell)
    if not match:
        number = as_number(cell)
        return number if abs(number) < _MOST_DAYS else math.nan
    parts = list(match.groups())
    if len(parts[0]) == 4 and "-" in cell:
        order = "ymd"
    named = dict(zip(order, parts, strict=True))
    if len(named["y"]) != 4:
        return math.nan
    try:
        return float(datetime.date(int(named["y"]), int(named["m"]), int(named["d"])).toordinal())
    except ValueError:
        return math.nan


def since_first(values: Numbers, starts: NDArray[np.int64]) -> Numbers:
    """Times relative to the first record of every subject.

    Args:
        values: [N] absolute times.
        starts: [S] place of every subject's first record.
    """
    lengths = np.diff(np.append(starts, len(values)))
    return np.asarray(values - np.repeat(values[starts], lengths))
