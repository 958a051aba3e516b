"""Where a number comes from: reported, derived, fitted or assumed; and the shelf of citations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, model_serializer, model_validator

from ipex_pd.errors import IpexError, SourceError, nearest_hint
from ipex_pd.records.record import Record, Texts, fault
from ipex_pd.records.yamlfile import Document, first, read_record

Kind = Literal["reported", "derived", "fitted", "assumed"]
KINDS: tuple[Kind, ...] = ("reported", "derived", "fitted", "assumed")


class Citation(Record):
    """One work that numbers were taken from.

    Attributes:
        citation: authors, year, journal, volume and pages, as known.
        doi, pmid: identifiers, empty when unknown.
        read: where the numbers were read (abstract, label, a transcription of the paper, ...).
    """

    citation: str = Field(min_length=1)
    doi: str = ""
    pmid: str = ""
    read: str = ""


class Source(Record):
    """Where one number comes from. Written short in files:

    ```yaml
    source: {reported: andrews_2018, evidence: D003}
    source: {derived: mean of both sexes, from: [who_2006], evidence: D003}
    source: {fitted: fit/problems/severity.yaml}
    source: {assumed: no paediatric value was published}
    ```

    Attributes:
        kind: which of the four.
        citations: keys of the shelf of citations; a reported number needs one.
        evidence: identifiers of the evidence collection, such as `D003`.
        reason: how it was derived, which fit gave it, or why it is assumed.
    """

    kind: Kind
    citations: Texts = Field((), alias="from")
    evidence: Texts = ()
    reason: str = Field("", alias="note")

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, data: Any) -> Any:
        if isinstance(data, str) or data is None:
            raise _no_source(f"`{data}` is not a source")
        if not isinstance(data, Mapping) or "kind" in data:
            return data
        kinds = [k for k in KINDS if k in data]
        if len(kinds) != 1:
            raise _no_source("a source says exactly one of reported, derived, fitted, assumed")
        kind = kinds[0]
        rest = {k: v for k, v in data.items() if k != kind}
        if kind == "reported":
            return {"kind": kind, "citations": data[kind], **rest}
        if "note" in rest:
            raise _no_source(f"`note` beside `{kind}`: the reason stands after `{kind}:` itself")
        return {"kind": kind, "reason": data[kind], **rest}

    @model_validator(mode="after")
    def _complete(self) -> Source:
        if self.kind == "reported" and not self.citations:
            raise _no_source("a reported number names no citation")
        if self.kind != "reported" and not self.reason.strip():
            raise _no_source(f"`{self.kind}` gives no reason")
        return self

    @classmethod
    def known_keys(cls) -> tuple[str, ...]:
        """The keys that people may write."""
        return (*KINDS, "from", "evidence", "note")

    @model_serializer(mode="plain")
    def _short(self) -> dict[str, Any]:
        cited: Any = self.citations[0] if len(self.citations) == 1 else list(self.citations)
        data: dict[str, Any] = {self.kind: cited if self.kind == "reported" else self.reason}
        if self.citations and self.kind != "reported":
            data["from"] = cited
        if self.evidence:
            data["evidence"] = self.evidence[0] if len(self.evidence) == 1 else list(self.evidence)
        if self.kind == "reported" and self.reason:
            data["note"] = self.reason
        return data

    @property
    def assumed(self) -> bool:
        """Whether the number is an assumption."""
        return self.kind == "assumed"

    def in_words(self) -> str:
        """One line for reports: `reported: andrews_2018 [D003]`."""
        cited = ", ".join(self.citations)
        tail = f" [{', '.join(self.evidence)}]" if self.evidence else ""
        middle = "; ".join(part for part in (cited, self.reason) if part)
        return f"{self.kind}: {middle}{tail}"


def assumed(reason: str) -> Source:
    """A source that says why the number is assumed."""
    return Source.model_validate({"assumed": reason})


def _no_source(what: str) -> Exception:
    return fault(
        what,
        rule="Every number has a source, or says `assumed` with a reason",
        cure="Write `source: {reported: key_in_sources_yaml}` or `source: {assumed: why}`",
        kind=SourceError.__name__,
    )


class Shelf(Record):
    """Citations by key."""

    sources: dict[str, Citation]


def load_citations(path: str | os.PathLike[str]) -> dict[str, Citation]:
    """Read a shelf of citations.

    Raises:
        RecordError: see `read_record`.
    """
    return read_record(Shelf, path).sources


def sources_in(data: Any, place: tuple[str | int, ...] = ()) -> Iterable[tuple[tuple[str | int, ...], Source]]:
    """Every Source inside a record, with its place."""
    if isinstance(data, Source):
        yield place, data
    elif isinstance(data, Record):
        for name, field in type(data).model_fields.items():
            yield from sources_in(getattr(data, name), (*place, field.alias or name))
    elif isinstance(data, Mapping):
        for key, value in data.items():
            yield from sources_in(value, (*place, key))
    elif isinstance(data, tuple | list):
        for index, value in enumerate(data):
            key = getattr(value, "name", index) if place and place[-1] == "parameters" else index
            yield from sources_in(value, (*place, key))


def unknown_citations(record: Record, known: Iterable[str], document: Document) -> list[IpexError]:
    """A SourceError for each citation key that stands on no shelf."""
    shelf = set(known)
    found: list[IpexError] = []
    for place, source in sources_in(record):
        for key in source.citations:
            if key not in shelf:
                found.append(
                    SourceError(
                        f"`{key}` is not a known citation",
                        where=document.where(place),
                        rule=nearest_hint(key, shelf),
                        cure="Add it to parameters/sources.yaml or to `sources:` in this file",
                    )
                )
    return found


def require_citations(record: Record, known: Iterable[str], document: Document) -> None:
    """Refuse a record that cites what is on no shelf. Raises: SourceError."""
    faults = unknown_citations(record, known, document)
    if faults:
        raise first(faults)


__all__ = [
    "KINDS",
    "Citation",
    "Kind",
    "Shelf",
    "Source",
    "assumed",
    "load_citations",
    "require_citations",
    "sources_in",
    "unknown_citations",
]
