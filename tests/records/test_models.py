"""Structural models: what a file may say, what is filled in, and how models are joined."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError
from ipex_pd.records import library
from ipex_pd.records.models import StructuralModel, compose
from ipex_pd.records.yamlfile import from_data

Q = {"meaning": "something", "unit": 1}
TURNOVER: dict[str, Any] = {
    "compartments": {"response": Q},
    "rates": {"response": "kin - kout * response"},
    "initial": {"response": "kin / kout"},
    "parameters": {"kin": Q, "kout": Q},
    "outputs": {"effect": {**Q, "formula": "response"}},
}


def model(data: dict[str, Any]) -> StructuralModel:
    return from_data(StructuralModel, data)


def changed(data: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    new = copy.deepcopy(data)
    *steps, last = path.split(".")
    here = new
    for step in steps:
        here = here.setdefault(step, {})
    if value is None:
        here.pop(last)
    else:
        here[last] = value
    return new


@pytest.mark.parametrize(
    ("disposition", "absorption", "compartments", "parameters"),
    [
        (1, "none", ("central",), ("clearance", "volume_central")),
        (1, "first_order", ("depot", "central"), ("clearance", "volume_central", "absorption_rate")),
        (
            3,
            "first_order",
            ("depot", "central", "peripheral", "peripheral_2"),
            (
                "clearance",
                "volume_central",
                "intercompartmental_clearance",
                "volume_peripheral",
                "intercompartmental_clearance_2",
                "volume_peripheral_2",
                "absorption_rate",
            ),
        ),
    ],
)
def test_kinetics_fill_in_what_they_are(disposition, absorption, compartments, parameters):
    read = model({"kinetics": {"disposition": disposition, "absorption": absorption}})
    assert read.compartments == compartments
    assert tuple(read.parameters) == parameters
    assert read.default_dose == compartments[0]
    assert read.default_observation == "central"
    assert set(read.as_rates().rates) == set(compartments)


def test_a_model_without_compartments_is_a_formula():
    read = model({"compartments": {}, "parameters": {"k": Q}, "outputs": {"level": {**Q, "formula": "exp(-k * time)"}}})
    assert read.compartments == ()
    assert read.default_dose == ""


FAULTS = {
    "rates.response": ("kin - kuot * response", "`kuot` in `kin - kuot * response` is not declared", "Nearest: `kout`"),
    "rates.other": ("kin", "`other` is not a compartment of this model", "Known: `response`"),
    "initial.other": ("kin", "`other` is not a compartment of this model", ""),
    "initial.response": ("response", "`response` in `response` is not declared", ""),
    "parameters.extra": (Q, "`extra` is never used", "Use it or take it out"),
    "parameters.response": (Q, "`response` is both one of the compartments and one of the parameters", "one thing"),
    "parameters.time": (Q, "`time` is both the time and one of the parameters", ""),
    "compartments.second": (Q, "`second` has no rate", "Every compartment has a rate"),
    "outputs.effect": ({**Q, "formula": "respons"}, "`respons` in `respons` is not declared", "Nearest: `response`"),
    "outputs": ({}, "`outputs` is empty", ""),
    "default_dose": ("gut", "`gut` is not a compartment of this model", ""),
    "default_observation": ("gut", "`gut` is not a compartment of this model", ""),
    "kinetics": ({"disposition": 1}, "`rates` stands beside `kinetics`", "Take one of them out"),
    "ratess": ({}, "`ratess` is not a key", "Nearest: `rates`"),
}


@pytest.mark.parametrize("path", FAULTS)
def test_faults_of_a_model_are_told(path):
    value, what, cure = FAULTS[path]
    with pytest.raises(RecordError) as told:
        model(changed(TURNOVER, path, value))
    assert what in told.value.message
    assert cure in told.value.message


def test_kinetics_do_not_take_other_compartments_or_fewer_parameters():
    with pytest.raises(RecordError, match="the compartments do not fit the kinetics"):
        model(
            {"kinetics": {"disposition": 1}, "compartments": {"blood": Q}, "outputs": {"c": {**Q, "formula": "blood"}}}
        )
    with pytest.raises(RecordError, match="`volume_central` is missing"):
        model({"kinetics": {"disposition": 1}, "parameters": {"clearance": Q}})


def test_faulty_kinetics_are_told_where_they_stand():
    with pytest.raises(RecordError, match="`dispositon` is not a key") as told:
        model({"kinetics": {"dispositon": 1}})
    assert told.value.where.strip() == "kinetics.dispositon"


def test_a_response_takes_the_concentration_of_the_kinetics_before():
    joined = compose([library.load_model("one_compartment_oral"), library.load_model("indirect_response_3")])
    assert joined.compartments == ("depot", "central", "response")
    assert joined.kinetics is None
    assert {"central", "volume_central", "sc50"} <= joined.rates["response"].names
    assert "concentration" not in joined.rates["response"].names
    assert joined.default_dose == "depot"
    assert not joined.inputs


def test_a_response_without_compartments_leaves_the_kinetics_closed():
    joined = compose([library.load_model("two_compartments"), library.load_model("emax_sigmoid")])
    assert joined.kinetics is not None
    assert joined.flat_outputs()["effect"].names == {"e0", "emax", "ec50", "hill", "central", "volume_central"}


def test_a_response_can_follow_another_output():
    pair = [library.load_model("parent_metabolite_oral"), library.load_model("effect_compartment_emax")]
    joined = compose(pair, {"concentration": "concentration_metabolite"})
    assert {"metabolite", "volume_metabolite"} <= joined.rates["effect_site"].names
    with pytest.raises(UnknownKeyError, match="`nothing` is not an output before"):
        compose(pair, {"concentration": "nothing"})
    with pytest.raises(UnknownKeyError, match="`level` is not an input"):
        compose(pair, {"level": "concentration"})


def test_an_input_that_nobody_gives_stays_an_input():
    joined = compose([library.load_model("event_constant_hazard"), library.load_model("emax_direct")])
    assert set(joined.inputs) == {"concentration"}


def test_models_with_a_name_in_common_are_not_joined():
    with pytest.raises(RecordError, match="`central` stands in both"):
        compose([library.load_model("one_compartment"), library.load_model("one_compartment_oral")])
    with pytest.raises(RecordError, match="fewer than two"):
        compose([library.load_model("one_compartment")])


@pytest.mark.parametrize("name", library.shipped("models"))
def test_every_shipped_model_says_where_it_comes_from(name):
    shipped = library.load_model(name)
    assert shipped.source is not None
    assert shipped.source.citations
    assert all(work.read for work in shipped.sources.values())


def test_what_the_library_of_models_must_have():
    names = set(library.shipped("models"))
    kinetics = {f"{n}_compartment{s}" for n, s in (("one", ""), ("two", "s"), ("three", "s"))}
    assert kinetics | {f"{n}_oral" for n in kinetics} <= names
    assert {f"indirect_response_{i}" for i in (1, 2, 3, 4)} <= names
    assert {"target_mediated_full", "target_mediated_quasi_equilibrium", "target_mediated_michaelis_menten"} <= names
    assert {"event_constant_hazard", "event_weibull", "event_gompertz"} <= names
    assert {"myelosuppression_linear", "turnover", "effect_compartment_emax", "one_compartment_transit_3"} <= names


def test_an_unknown_model_is_answered_with_near_ones():
    with pytest.raises(IpexError, match=r"`one_compartmnt` is not a shipped structural model.*`one_compartment`"):
        library.load_model("one_compartmnt")
