"""Whatever a problem or a model is broken into, the answer is a fault in our words, never a bare Python error."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ipex_pd.errors import IpexError
from ipex_pd.records import library
from ipex_pd.records.yamlfile import read_document, save_data

FILES = [
    ("models", "one_compartment_oral"),
    ("models", "target_mediated_quasi_equilibrium"),
    ("models", "event_weibull"),
    ("problems", "phenobarbital"),
    ("problems", "synthetic_one_compartment"),
    ("problems", "synthetic_two_compartments"),
    ("problems", "synthetic_indirect_response"),
    ("problems", "synthetic_time_to_event"),
]
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**30),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["", " ", "x", "5", "time", "eta_cl", "tvcl", "exp(", "1e400", "[]", "{}", "a and b", "central"]),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text("ab_", min_size=1, max_size=3), st.integers(), max_size=2),
)


def places(data: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [here, *(place for key, value in inside for place in places(value, (*here, key)))]


def broken(data: Any, place: tuple[Any, ...], junk: Any) -> Any:
    changed = copy.deepcopy(data)
    parent = changed
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = junk
    return changed


@pytest.mark.parametrize(("kind", "name"), FILES)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(draw=st.data())
def test_only_our_errors(kind: str, name: str, draw: st.DataObject, tmp_path: Path) -> None:
    document = read_document(library.shipped(kind)[name])
    place = draw.draw(st.sampled_from(places(document.data)[1:]))
    path = tmp_path / f"{name}.yaml"
    save_data(path, broken(document.data, place, draw.draw(JUNK)))
    for fault in library.findings(path):
        assert isinstance(fault, IpexError)
        assert fault.what
        assert fault.where
        assert "Traceback" not in fault.message
        assert "pydantic" not in fault.message
