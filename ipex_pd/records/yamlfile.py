"""Reading YAML that people wrote: safe, line by line accountable, and all faults of a file told in our words."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from ipex_pd import errors
from ipex_pd.errors import IpexError, RecordError, nearest_hint
from ipex_pd.records.record import Record

Place = tuple[str | int, ...]
R = TypeVar("R", bound=Record)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The YAML 1.2 core scalars only: `no` stays a word, `12:30` a text and `1e-4` a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012


_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"^(~|null|)$"), ["~", "n", ""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(true|false)$"), ["t", "f"])
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789"))
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"),
    list("-+.0123456789"),
)


@dataclass(frozen=True)
class Document:
    """A file as plain data, and the line on which each part of it stands."""

    path: str
    data: Any
    lines: Mapping[Place, int]

    def place(self, location: Sequence[str | int]) -> Place:
        """The longest part of a pydantic location that exists in the file (union tags are stepped over)."""
        here: Any = self.data
        found: Place = ()
        for step in location:
            if isinstance(here, dict) and isinstance(step, int) and 0 <= step < len(here):
                step = list(here)[step]  # a mapping read as a list of named records
            inside = isinstance(here, dict) and step in here
            if inside or (isinstance(here, list) and isinstance(step, int) and 0 <= step < len(here)):
                here, found = here[step], (*found, step)
        return found

    def where(self, location: Sequence[str | int] = ()) -> str:
        """`file.yaml:12 doses[0].amount`."""
        place = self.place(location)
        line = next((self.lines[place[:n]] for n in range(len(place), -1, -1) if place[:n] in self.lines), 0)
        head = f"{self.path}:{line}" if line else self.path
        return f"{head} {dotted(place)}" if place else head


def dotted(place: Place) -> str:
    """`("doses", 0, "amount")` as `doses[0].amount`."""
    text = ""
    for step in place:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else str(step))
    return text


class _Reader:
    """Turns YAML nodes into plain data, keeping lines and refusing what cannot be meant."""

    def __init__(self, path: str) -> None:
        self.path, self.lines, self._seen = path, dict[Place, int](), set[int]()

    def refuse(self, node: yaml.Node, what: str, rule: str, cure: str = "", code: str = "") -> RecordError:
        where = f"{self.path}:{node.start_mark.line + 1}"
        return RecordError(what, where=where, rule=rule, cure=cure, code=code)

    def read(self, node: yaml.Node, place: Place) -> Any:
        if id(node) in self._seen:
            what = "an alias (`*name`) stands here"
            raise self.refuse(node, what, "Records are written out in full", "Repeat the text")
        self._seen.add(id(node))
        self.lines.setdefault(place, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode):
            return [self.read(child, (*place, i)) for i, child in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.refuse(key_node, "a key is not a word", "Keys are single words")
            key = str(key_node.value)
            if key in result:
                what, code = f"`{key}` is written twice", "record.duplicate-key"
                raise self.refuse(key_node, what, "A key stands once", "Take one of them out", code)
            self.lines[(*place, key)] = key_node.start_mark.line + 1
            result[key] = self.read(value_node, (*place, key))
        return result

    def _scalar(self, node: yaml.Node) -> Any:
        kind, text = node.tag.removeprefix("tag:yaml.org,2002:"), str(node.value)
        if kind == "null":
            return None
        if kind == "bool":
            return text == "true"
        if kind == "int":
            return int(text)
        if kind == "float":
            value = float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            if not math.isfinite(value):
                raise self.refuse(node, f"`{text}` is not a finite number", "Numbers are finite", "Write the number")
            return value
        if kind == "str":
            return text
        raise self.refuse(node, f"`{node.tag}` is not plain data", "Files hold words, numbers, lists and mappings only")


def read_document(path: str | os.PathLike[str], text: str | None = None) -> Document:
    """Read a YAML file (or the text given for it) as plain data with line numbers.

    Raises:
        RecordError: no such file, broken YAML, duplicate keys, not-finite numbers, aliases or foreign tags.
    """
    name = os.fspath(path)
    if text is None:
        text = _text(Path(path), name)
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{name}:{mark.line + 1}" if mark else name
        problem = getattr(error, "problem", None) or str(error)
        rule = "Check indentation, colons and quotes"
        raise RecordError(f"this is not YAML: {problem}", where=where, rule=rule) from error
    finally:
        loader.dispose()
    reader = _Reader(name)
    data = None if node is None else reader.read(node, ())
    return Document(name, data, reader.lines)


def _text(path: Path, name: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        cure = "Check the path, or give a shipped name (see `ipex-pd catalogue`)"
        raise RecordError("there is no such file", where=name, cure=cure, code="record.no-file") from None
    except UnicodeDecodeError as error:
        what, cure = "the file is not text", "Save it as text in UTF-8"
        raise RecordError(
            what, where=name, rule="Records are text in UTF-8", cure=cure, code="record.no-file"
        ) from error
    except OSError as error:
        what = f"the file cannot be read ({error.strerror or error})"
        raise RecordError(what, where=name, rule="A record is a readable file", code="record.no-file") from error


def build(kind: type[R], document: Document) -> tuple[R | None, list[IpexError]]:
    """Check a document against a record type: the record (or None) and every fault found."""
    if not isinstance(document.data, dict):
        return None, [not_a_record(document)]
    try:
        return kind.model_validate(document.data), []
    except ValidationError as error:
        return None, list(translate(error, document))


def not_a_record(document: Document) -> RecordError:
    """The fault of a file that holds no mapping."""
    what = "the file is empty" if document.data is None else "the file is not a mapping"
    return RecordError(what, where=document.path, rule="A record is written as `key: value` lines")


def read_record(kind: type[R], path: str | os.PathLike[str], text: str | None = None) -> R:
    """Load one record from a file.

    Raises:
        RecordError: the first fault; its message counts the others.
    """
    record, faults = build(kind, read_document(path, text))
    if record is not None:
        return record
    raise first(faults)


def first(faults: Sequence[IpexError]) -> IpexError:
    """The first fault, saying how many more there are."""
    fault = faults[0]
    if len(faults) == 1:
        return fault
    more = f"({len(faults) - 1} more in this file: `ipex-pd check` lists them all)"
    cure = f"{fault.cure.rstrip('. ')} {more}" if fault.cure else more
    return type(fault)(fault.what, code=fault.code, where=fault.where, rule=fault.rule, cure=cure)


def from_data(kind: type[R], data: Mapping[str, Any], where: str = "") -> R:
    """Build a record from plain data with the same checks and messages as a file.

    Raises:
        RecordError: the first fault.
    """
    record, faults = build(kind, Document(where, dict(data), {}))
    if record is not None:
        return record
    raise first(faults)


def save_data(path: str | os.PathLike[str], data: Mapping[str, Any]) -> None:
    """Write plain data as YAML, keys in their order."""
    text = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=120, default_flow_style=None)
    Path(path).write_text(text, encoding="utf-8")


def translate(error: ValidationError, document: Document) -> Iterator[IpexError]:
    """Pydantic's findings as ours, each with its file and line."""
    items = error.errors(include_url=False)
    inner = {item["loc"][:n] for item in items for n in range(len(item["loc"]))}
    for item in items:
        if item["type"] == "too_short" and item["loc"] in inner:
            continue  # a list is counted without its faulty members
        context = item.get("ctx", {})
        where, key = document.where((*item["loc"], *context.get("at", ()))), _key(item["loc"])
        if item["type"] == "ipex":
            made = getattr(errors, str(context["kind"]))
            yield made(context["what"], code=context["code"], where=where, rule=context["rule"], cure=context["cure"])
        else:
            yield _plain(item, key, where, context)


def _key(location: Sequence[str | int]) -> str:
    names = [step for step in location if isinstance(step, str)]
    return names[-1] if names else "the record"


def _plain(item: Any, key: str, where: str, context: Mapping[str, Any]) -> IpexError:
    kind, value = str(item["type"]), item.get("input")
    if kind == "missing":
        return _missing(item, key, where)
    if kind in {"literal_error", "union_tag_invalid"}:
        text = str(context.get("expected") or context.get("expected_tags"))
        known = re.findall(r"'([^']*)'", text)
        tag = context.get("tag", value)
        return errors.UnknownKeyError(f"`{tag}` is not known here", where=where, rule=nearest_hint(str(tag), known))
    if kind.startswith(("float", "int", "finite")):
        shown = repr(value) if isinstance(value, str) else value
        return RecordError(f"`{shown}` is not a number", where=where, rule=f"`{key}` is a plain finite number")
    bounds = {"greater_than": "gt", "greater_than_equal": "ge", "less_than": "lt", "less_than_equal": "le"}
    if kind in bounds:
        sign = {"gt": "more than", "ge": "at least", "lt": "less than", "le": "at most"}[bounds[kind]]
        rule = f"`{key}` must be {sign} {context[bounds[kind]]:g}"
        return RecordError(f"`{value}` is out of range", where=where, rule=rule)
    if kind in {"too_short", "string_too_short"}:
        return RecordError(f"`{key}` is empty", where=where, rule="It must hold something")
    if kind == "string_pattern_mismatch":
        return RecordError(f"`{value}` is not a name", where=where, rule="Names are lower-case words joined by `_`")
    return RecordError(f"`{value}` does not fit `{key}`", where=where, rule=str(item["msg"]))


def _missing(item: Any, key: str, where: str) -> IpexError:
    if key == "source":
        return errors.SourceError(
            "a number has no source",
            where=where,
            rule="Every number has a source, or says `assumed` with a reason",
            cure="Write `source: {reported: key_in_sources_yaml}` or `source: {assumed: why}`",
        )
    return RecordError(f"`{key}` is missing", where=where, rule="It must be written", code="record.missing")
