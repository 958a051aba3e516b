from __future__ import annotations

from pathlib import Path

import pytest

from ipex_pd.errors import IpexError, RecordError
from ipex_pd.records.parameters import ParameterSet
from ipex_pd.records.yamlfile import build, read_document, read_record

SET = """name: small
description: two numbers
is_not: anything else
parameters:
  first: {value: 2, unit: 1/day, meaning: a rate, source: {assumed: why not}}
  second:
    value: 1e-4
    unit: L/h
    meaning: a flow
    source: {assumed: why not}
"""


def fault_of(text: str) -> str:
    with pytest.raises(IpexError) as caught:
        read_record(ParameterSet, "set.yaml", text)
    return str(caught.value)


def test_numbers_words_and_lines() -> None:
    document = read_document("x.yaml", "a: 1e-4\nb: no\nc: 12:30\nd: [1, 2.5]\ne: ~\nf: true\n")
    assert document.data == {"a": 1e-4, "b": "no", "c": "12:30", "d": [1, 2.5], "e": None, "f": True}
    assert document.where(("d", 1)) == "x.yaml:4 d[1]"
    assert document.where(()) == "x.yaml:1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2\n", "x.yaml:2: `a` is written twice. A key stands once. Take one of them out."),
        ("a: .nan\n", "x.yaml:1: `.nan` is not a finite number. Numbers are finite. Write the number."),
        ("a: -.inf\n", "x.yaml:1: `-.inf` is not a finite number. Numbers are finite. Write the number."),
        ("a: 1e999\n", "x.yaml:1: `1e999` is not a finite number. Numbers are finite. Write the number."),
        (
            "a: &x 1\nb: *x\n",
            "x.yaml:1: an alias (`*name`) stands here. Records are written out in full. Repeat the text.",
        ),
        (
            "a: !!python/name:os.system x\n",
            "x.yaml:1: `tag:yaml.org,2002:python/name:os.system` is not plain data. "
            "Files hold words, numbers, lists and mappings only.",
        ),
        ("? [1, 2]\n: 3\n", "x.yaml:1: a key is not a word. Keys are single words."),
    ],
)
def test_refused_yaml(text: str, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        read_document("x.yaml", text)
    assert str(caught.value) == message


def test_broken_yaml_names_its_line() -> None:
    with pytest.raises(RecordError, match=r"^x\.yaml:\d: this is not YAML: .* Check indentation, colons and quotes\.$"):
        read_document("x.yaml", "a: [1\nb: 2\n")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"nowhere\.yaml: there is no such file\. Check the path"):
        read_document(tmp_path / "nowhere.yaml")


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordError, match="the file is not text"):
        read_document(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    value: 1e-4",
            "    valeu: 1e-4",
            "set.yaml:7 parameters.second.valeu: `valeu` is not a key of a parameter. Nearest: `value`, `scale`. "
            "Rename it or take it out.",
        ),
        (
            "    value: 1e-4",
            "    value: '1'",
            "set.yaml:7 parameters.second.value: `'1'` is not a number. `value` is a plain finite number.",
        ),
        (
            "    value: 1e-4",
            "    value: true",
            "set.yaml:7 parameters.second.value: `True` is not a number. `value` is a plain finite number.",
        ),
        ("    meaning: a flow\n", "", "set.yaml:6 parameters.second: `meaning` is missing. It must be written."),
        (
            "    source: {assumed: why not}\n",
            "",
            "set.yaml:6 parameters.second: a number has no source. Every number has a source, or says `assumed` with a "
            "reason. Write `source: {reported: key_in_sources_yaml}` or `source: {assumed: why}`.",
        ),
        (
            "    unit: L/h",
            "    unit: banana/h",
            "set.yaml:8 parameters.second.unit: `banana/h` is not a unit. Units are written as in `mg/kg`, `L/h`, "
            "`ng/mL`, `1/day`, `cells/uL`, `1`.",
        ),
        (
            "    unit: L/h",
            "    unit: L/h\n    scale: logarithmic",
            "set.yaml:9 parameters.second.scale: `logarithmic` is not known here. Nearest: `logit`.",
        ),
        (
            "  second:",
            "  Second:",
            "set.yaml:6 parameters.Second: `Second` is not a name. Names are lower-case words joined by `_`.",
        ),
        (
            "    source: {assumed: why not}\n",
            "    source: {assumed: why, or why not}\n",
            "set.yaml:10 parameters.second.source.or why not: `or why not` is not a key of a source. Known: "
            "`assumed`, `derived`, `evidence`, `fitted`, `from`, `note`, `reported`. A comma inside {...} begins a new "
            "key: put the text in quotes.",
        ),
    ],
)
def test_faults_name_line_rule_and_cure(old: str, new: str, message: str) -> None:
    assert old in SET
    assert fault_of(SET[::-1].replace(old[::-1], new[::-1], 1)[::-1]) == message


def test_all_faults_of_a_file_are_found() -> None:
    text = SET.replace("unit: 1/day", "unit: banana").replace("    meaning: a flow\n", "").replace("is_not:", "isnot:")
    record, faults = build(ParameterSet, read_document("set.yaml", text))
    assert record is None
    assert [fault.where for fault in faults] == ["set.yaml:3 isnot"]
    record, faults = build(ParameterSet, read_document("set.yaml", text.replace("isnot:", "is_not:")))
    assert [fault.where for fault in faults] == ["set.yaml:5 parameters.first.unit", "set.yaml:6 parameters.second"]
    assert fault_of(text.replace("isnot:", "is_not:")).endswith(
        "(1 more in this file: `ipex-pd check` lists them all)."
    )


@pytest.mark.parametrize(
    ("text", "what"),
    [("", "the file is empty"), ("- 1\n", "the file is not a mapping"), ("word\n", "the file is not a mapping")],
)
def test_not_a_record(text: str, what: str) -> None:
    assert fault_of(text) == f"set.yaml: {what}. A record is written as `key: value` lines."
