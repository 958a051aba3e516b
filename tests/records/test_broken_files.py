"""Whatever a file is broken into, the answer is a fault in our words, never a bare Python error."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.errors import IpexError
from ipex_pd.records import library
from ipex_pd.records.yamlfile import Document, build, read_document

SHIPPED = [
    ("drugs", "prednisolone"),
    ("drugs", "tacrolimus"),
    ("patients", "sibling_2"),
    ("regimens", "transplant_early_full"),
    ("regimens", "rituximab_course"),
    ("parameters", "disease"),
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(
        ["", " ", "x", "5", "-1 mg/kg", "1 day", "1e400 day", "%", "5 %", "transplant", "[]", "{}", "inf", "nan kg"]
    ),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)


def places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [here, *(place for key, value in inside for place in places(value, (*here, key)))]


def broken(data: Any, place: tuple[Any, ...], junk: Any) -> Any:
    if not place:
        return junk
    changed = copy.deepcopy(data)
    parent = changed
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = junk
    return changed


@pytest.mark.parametrize(("kind", "name"), SHIPPED)
@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_only_our_errors(kind: str, name: str, draw: st.DataObject) -> None:
    document = read_document(library.shipped(kind)[name])
    place = draw.draw(st.sampled_from(places(document.data)))
    data = broken(document.data, place, draw.draw(JUNK))
    record, faults = build(library.KINDS[kind][0], Document(document.path, data, document.lines))
    assert (record is None) == bool(faults)
    assert all(isinstance(fault, IpexError) and fault.what and fault.where for fault in faults)
