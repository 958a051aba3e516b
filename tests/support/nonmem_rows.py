"""Subjects of event tables, read from the columns of a table in NONMEM's form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True, eq=False)
class Rows:
    """The event columns of one subject."""

    id: Any
    rows: np.ndarray
    time: np.ndarray
    evid: np.ndarray
    amt: np.ndarray
    rate: np.ndarray
    ii: np.ndarray
    addl: np.ndarray
    ss: np.ndarray
    cmt: np.ndarray
    table: pd.DataFrame


def rows_of(table: pd.DataFrame, name: Any = 1) -> Rows:
    """One subject from its rows; columns that are absent are 0 (CMT: 1)."""
    count = len(table)

    def column(header: str, otherwise: float = 0.0) -> np.ndarray:
        return table[header].to_numpy(float) if header in table else np.full(count, otherwise)

    events = {n: column(n.upper()) for n in ("time", "evid", "amt", "rate", "ii", "addl", "ss")}
    return Rows(id=name, rows=np.arange(2, count + 2), cmt=column("CMT", 1.0), table=table, **events)


def subjects_of(table: pd.DataFrame) -> list[Rows]:
    """Subjects of a table in the order of the file."""
    return [rows_of(part.reset_index(drop=True), name) for name, part in table.groupby("ID", sort=False)]


def padded(subjects: list[Rows], header: str) -> np.ndarray:
    """A column as values [B, R]; what is behind the last record is NaN, so that it cannot be used unseen."""
    length = max(len(s.time) for s in subjects)
    out = np.full((len(subjects), length), np.nan)
    for b, s in enumerate(subjects):
        out[b, : len(s.time)] = s.table[header].to_numpy(float)
    return out
