from __future__ import annotations

from typing import Any

import pytest

from ipex_pd.errors import IpexError
from ipex_pd.records.growth import size_at
from ipex_pd.records.patients import Patient, assumptions
from ipex_pd.records.yamlfile import from_data

BECAUSE = {"assumed": "for the test"}


def fact(value: Any) -> dict[str, Any]:
    return {"value": value, "source": BECAUSE}


def patient(**changes: Any) -> Patient:
    data = {"name": "p", "description": "d", "sex": "male", "age": fact("1 year"), "foxp3": fact("missense")}
    return from_data(Patient, data | changes, where="p.yaml")


def test_what_is_not_stated_is_the_reference() -> None:
    child = patient()
    assert assumptions(child) == {"age": "for the test", "foxp3": "for the test"}
    assert child.age == pytest.approx(365.25)
    assert child.size_z() == {"weight_z": 0.0, "height_z": 0.0}
    assert child.covariates() == {"cyp3a5": 2.0}
    assert child.start_values() == {}


def test_stated_facts_in_their_units() -> None:
    child = patient(
        weight=fact("7500 g"),
        height_z=fact(-1.5),
        cyp3a5=fact("expresser"),
        haematocrit=fact("28 %"),
        start={"ige": fact("7.7 IU/mL"), "gut_injury": fact(0.4)},
    )
    assert size_at("weight", "male", child.age, child.size_z()["weight_z"]) == pytest.approx(7.5)
    assert child.size_z()["height_z"] == -1.5
    assert child.covariates() == pytest.approx({"cyp3a5": 1.0, "haematocrit": 0.28})
    assert child.start_values() == {"ige": 7.7, "gut_injury": 0.4}
    assert ("gut_injury", "0.4", "assumed") in [(name, value, source.kind) for name, value, source in child.facts()]


def test_round_trip_of_a_patient() -> None:
    seen = {"time": "6 h", "quantity": "ige", "value": 2.3, "unit": "IU/mL", "source": BECAUSE}
    child = patient(weight=fact("7500 g"), donors="matched_related", observations=[seen], history="as_stated")
    assert from_data(Patient, child.as_data()) == child
    assert child.observations[0].day == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"age": fact(300)},
            "p.yaml: `300` has no unit. Every quantity carries its unit. Write for example `300 day`.",
        ),
        (
            {"age": fact("-3 day")},
            "p.yaml age: age `-3 day` is negative. A child starts at birth or later. Write `0 day` for birth.",
        ),
        (
            {"age": fact("3 kg")},
            "p.yaml: `3 kg` does not measure what is asked. The unit must be `day` or a multiple of it.",
        ),
        (
            {"weight": fact("3 kg"), "weight_z": fact(0)},
            "p.yaml weight: both `weight` and `weight_z`. Size is stated once. Take one of them out.",
        ),
        ({"weight": fact("0 kg")}, "p.yaml weight: `weight` is not positive. A child has a size."),
        ({"height_z": fact(-20)}, "p.yaml height_z: a z-score of -20. It lies between -8 and 5."),
        (
            {"residual_function": fact(2)},
            "p.yaml residual_function: `residual_function` is 2. It lies between 0 and 1.",
        ),
        ({"albumin": fact("0 g/L")}, "p.yaml albumin: `albumin` is 0 g/L. It is more than zero."),
        (
            {"foxp3": fact("mis-sense")},
            "p.yaml foxp3.value: `mis-sense` is not known here. Nearest: `missense`.",
        ),
        (
            {"start": {"gut_injry": fact(0.2)}},
            "p.yaml start.gut_injry: `gut_injry` is not a state that a patient may start in. Nearest: "
            "`gut_injury`, `lung_injury`, `skin_injury`.",
        ),
        (
            {"start": {"gut_injury": fact(1.2)}},
            "p.yaml start.gut_injury: `gut_injury` starts at 1.2. It is between 0 and 1.",
        ),
        ({"start": {"ige": fact("-1 IU/mL")}}, "p.yaml start.ige: `ige` starts at -1. It is 0 or more."),
        (
            {"start": {"ige": fact(100)}},
            "p.yaml: `100` has no unit. Every quantity carries its unit. Write for example `100 IU/mL`.",
        ),
        (
            {"weight": {"value": "3 kg"}},
            "p.yaml weight: a number has no source. Every number has a source, or says `assumed` with a reason. "
            "Write `source: {reported: key_in_sources_yaml}` or `source: {assumed: why}`.",
        ),
        (
            {"observations": [{"time": "3 day", "quantity": "ige", "value": 4.0, "source": BECAUSE}]},
            "p.yaml observations[0]: observation `ige` has no unit. Every quantity carries its unit. "
            "Write `unit: ...`.",
        ),
        (
            {"observations": [{"time": "3 day", "quantity": "x", "value": "y", "unit": "mg", "source": BECAUSE}]},
            "p.yaml observations[0]: `y` with a unit. Words have no unit.",
        ),
    ],
)
def test_patient_rules(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IpexError) as caught:
        patient(**changes)
    assert str(caught.value) == message
