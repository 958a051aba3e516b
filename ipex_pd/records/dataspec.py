"""The `data:` section of an estimation problem: which file, how it is written, and what its columns mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ipex_pd.errors import IpexError
from ipex_pd.records.filters import parse_filter
from ipex_pd.records.record import Number, Record, Texts, carried, fault, measures
from ipex_pd.records.yamlfile import from_data

Carry = Literal["next", "last"]
Fill = Literal["none", "first", "next", "last"]

ROLES: dict[str, tuple[str, ...]] = {
    "id": ("ID",),
    "time": ("TIME",),
    "date": ("DATE", "DAT1", "DAT2", "DAT3"),
    "dv": ("DV",),
    "mdv": ("MDV",),
    "evid": ("EVID",),
    "amt": ("AMT",),
    "rate": ("RATE",),
    "dur": ("DUR",),
    "ii": ("II",),
    "addl": ("ADDL",),
    "ss": ("SS",),
    "cmt": ("CMT",),
    "dvid": ("DVID", "YTYPE"),
    "cens": ("CENS",),
    "limit": ("LIMIT",),
    "blq": ("BLQ", "BQL"),
    "lloq": ("LLOQ",),
    "occ": ("OCC",),
}
"""Role of a column -> the headers under which it is found (in any case) when the file's author says nothing."""

REFUSED: dict[str, str] = {
    "L1": "groups whole subjects",
    "L2": "correlates the residual errors of one sample",
    "PCMT": "chooses the compartment of predictions on other records",
    "CALL": "forces calls of user code",
    "CONT": "continues a record on the next line",
}
"""Reserved columns of NONMEM whose meaning no method here honours."""


class Covariate(Record):
    """A covariate: where it stands and how it holds between records.

    Attributes:
        column: its header; the covariate's own name when empty.
        unit: its unit, `1` for numbers without one and for classes.
        carry: `next`: a record's value rules the time up to it (as NONMEM); `last`: the time after it; as the data's
            `carry` when absent.
        fill: what stands in empty cells: `none` (they are errors), `first` (the subject's first record holds the value
            of all), `last` or `next` (the nearest value before or after, of the same subject).
        levels: numbers for words, for example `{M: 0, F: 1}`.
    """

    column: str = ""
    unit: str = "1"
    carry: Carry | None = None
    fill: Fill = "none"
    levels: dict[str, Number] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"column": data} if isinstance(data, str) else {} if data is None else data

    @model_validator(mode="after")
    def _known_unit(self) -> Covariate:
        measures(self.unit, "1")
        return self


def _named(value: Any) -> Any:
    """A list of names as a mapping of names to nothing."""
    return dict.fromkeys(value) if isinstance(value, list | tuple) else value


def _filters(value: Any) -> Any:
    texts = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list | tuple) else value
    if isinstance(texts, tuple):
        for text in texts:
            try:
                parse_filter(text)
            except IpexError as error:
                raise carried(error) from error
    return texts


Filters = Annotated[tuple[str, ...], BeforeValidator(_filters)]


class DataSpec(Record):
    """How a dataset is read: one row per event, as NONMEM's.

    Attributes:
        file: path, relative to the file in which this stands.
        format: `csv` (comma, semicolon or tab), `whitespace`, or `auto` (what the header line shows).
        skip: title lines before the header.
        header: names of the columns, for a file without a header line.
        columns: role -> header, where it is not the default name; `none` switches a role off. See `ROLES`.
        comment: rows that begin with one of these characters are left out; `@` stands for any letter and `@` itself.
        ignore: rows for which one of these holds are left out: a formula over columns (`BLQ == 1 and TIME > 0`) or
            `COLUMN.EQ.value` with EQ, NE, LT, LE, GT or GE.
        accept: only rows for which all of these hold are kept.
        missing: what an empty cell looks like.
        drop: columns not to look at.
        time_unit: unit of TIME and II; clock times and dates are converted to it.
        date_order: order of the parts of a date; `auto` follows the header as NONMEM does (DATE month-day-year, DAT1
            day-month-year, DAT2 year-month-day, DAT3 year-day-month) and knows 2026-03-31.
        lloq: limit below which rows with BLQ = 1 lie, when the file has no column for it.
        covariates: name -> `Covariate`, its column, or a list of columns.
        carry: of covariates that do not say it themselves.
    """

    file: str = Field(min_length=1)
    format: Literal["auto", "csv", "whitespace"] = "auto"
    skip: int = Field(0, ge=0, strict=True)
    header: tuple[str, ...] = ()
    columns: dict[str, str] = Field(default_factory=dict)
    comment: str = "#"
    ignore: Filters = ()
    accept: Filters = ()
    missing: Texts = (".", "")
    drop: Texts = ()
    time_unit: str = "h"
    date_order: Literal["auto", "mdy", "dmy", "ymd", "ydm"] = "auto"
    lloq: Number | None = None
    covariates: Annotated[dict[str, Covariate], BeforeValidator(_named)] = Field(default_factory=dict)
    carry: Carry = "next"

    @model_validator(mode="after")
    def _sound(self) -> DataSpec:
        for role in self.columns:
            if role not in ROLES:
                rule = "Roles are " + ", ".join(f"`{name}`" for name in ROLES)
                raise fault(
                    f"`{role}` is not a role of a column", rule=rule, kind="UnknownKeyError", at=("columns", role)
                )
        if not measures(self.time_unit, "h"):
            raise fault(f"`{self.time_unit}` is not a unit of time", rule="Write `h` or `day`", kind="UnitError")
        for name in self.covariates:
            if not name.isidentifier() or not name.isascii():
                raise fault(
                    f"`{name}` cannot be the name of a covariate", rule="Formulas use it: letters, digits and _"
                )
        return self

    def column_of(self, covariate: str) -> str:
        """Header of a covariate."""
        return self.covariates[covariate].column or covariate

    def carry_of(self, covariate: str) -> Carry:
        """How a covariate holds between records."""
        return self.covariates[covariate].carry or self.carry


def default_spec(file: str, changes: Mapping[str, Any] | None = None) -> DataSpec:
    """The specification of a file that follows the usual names, with what differs.

    Raises:
        RecordError: what differs breaks a rule.
    """
    return from_data(DataSpec, {"file": file, **(changes or {})}, f"specification of {file}")
