from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError
from ipex_pd.records.drugs import Drug
from ipex_pd.records.relations import COVARIATES, CYP3A5
from ipex_pd.records.yamlfile import from_data

BECAUSE = {"assumed": "for the test"}


def number(value: float, unit: str) -> dict[str, Any]:
    return {"value": value, "unit": unit, "meaning": "m", "source": BECAUSE}


DRUG: dict[str, Any] = {
    "name": "testol",
    "description": "d",
    "is_not": "n",
    "molar_mass": 400.0,
    "kinetics": {"compartments": 1, "depot": True},
    "parameters": {
        "clearance": number(2, "L/h"),
        "volume_central": number(10, "L"),
        "absorption_rate": number(1, "1/h"),
        "bioavailability": number(0.5, "1"),
        "binding_capacity": number(6, "1"),
        "binding_affinity": number(0.01, "L/nmol"),
        "binding_linear": number(0.8, "1"),
    },
    "concentration": {"kind": "saturable_binding", "unit": "ng/mL"},
    "acts_on": [{"target": "steroid", "of": "unbound", "ec50": {"value": 10, "unit": "ng/mL", "source": BECAUSE}}],
    "routes": ["oral"],
    "variants": {"slow": {"description": "slower", "parameters": {"clearance": number(1, "L/h")}}},
}


def drug(**changes: Any) -> Drug:
    return from_data(Drug, copy.deepcopy(DRUG) | changes, where="d")


def with_relation(**relation: Any) -> Drug:
    return drug(relations=[{"on": "clearance", "source": BECAUSE} | relation])


def test_values_in_the_units_of_the_solver() -> None:
    values = drug().values()
    assert values["clearance"] == pytest.approx(48)
    assert values["lag"] == 0.0
    assert values["binding_affinity"] == pytest.approx(0.01 * 1e6 / 400)
    assert values["ec50_steroid"] == pytest.approx(0.010)
    assert drug().parameter_set()["ec50_steroid"].unit == "ng/mL"


def test_variants_replace_parameters_and_their_relations() -> None:
    power = {"kind": "power", "on": "clearance", "covariate": "weight", "reference": "70 kg", "exponent": 0.75}
    base = drug(relations=[power | {"source": BECAUSE}])
    slow = base.variant("slow")
    assert (slow.name, slow.variant_of, slow.values()["clearance"]) == ("testol_slow", "testol", 24.0)
    assert slow.relations == base.relations
    with pytest.raises(UnknownKeyError) as caught:
        base.variant("fast")
    assert str(caught.value) == "`fast` is not a variant of `testol`. Known: `slow`."


def test_round_trip_of_a_drug() -> None:
    relation = {"kind": "hill_maturation", "maximum": 1.061, "at_birth": 0, "half_age": "0.66 year", "hill": 0.78}
    whole = with_relation(**relation, reference_age="2 year", youngest_age="7 day")
    assert from_data(Drug, whole.as_data()) == whole


def test_routes() -> None:
    drug().require_route("oral")
    with pytest.raises(RecordError) as caught:
        drug(refused_routes={"iv": "There is no such form"}).require_route("iv", where="doses[0]")
    assert str(caught.value) == (
        "doses[0]: `testol` cannot be given by route `iv`. There is no such form. Write `route: oral`."
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"parameters": DRUG["parameters"] | {"clearence": number(1, "L/h")}},
            "d parameters.clearence: `clearence` is not a parameter of this structure. Nearest: `clearance`. "
            "Rename it or change `kinetics`.",
        ),
        (
            {"parameters": {"clearance": number(1, "L/h")}},
            "d: parameter `volume_central` is missing. The structure needs it.",
        ),
        (
            {"parameters": DRUG["parameters"] | {"clearance": number(1, "L")}},
            "d parameters.clearance.unit: `clearance` is in `L`. It must be in `L/day` or a multiple of it.",
        ),
        ({"molar_mass": None}, "d: a molar affinity without `molar_mass`. mol and mg meet through the molar mass."),
        (
            {"acts_on": [{"target": "steroids", "ec50": number(1, "ng/mL")}]},
            "d acts_on[0].target: `steroids` is not known here. Nearest: `steroid`.",
        ),
        (
            {"acts_on": [{"target": "steroid", "of": "free", "ec50": number(1, "ng/mL")}]},
            "d acts_on[0].of: `free` is not a concentration of `testol`. Known: `total`, `unbound`.",
        ),
        (
            {"acts_on": [{"target": "steroid", "ec50": number(1, "mg")}]},
            "d acts_on[0].ec50.unit: EC50 in `mg`. An EC50 is a mass concentration.",
        ),
        (
            {"concentration": {"kind": "saturable_binding", "unit": "5"}},
            "d: `5` is not a unit. Units are written as in `mg/kg`, `L/h`, `ng/mL`, `1/day`, `cells/uL`, `1`.",
        ),
        (
            {"concentration": {"kind": "saturable_binding", "unit": "mg"}},
            "d concentration.unit: `mg` is not a mass concentration.",
        ),
        (
            {"variants": {"slow": {"description": "x", "parameters": {"lag": number(1, "h")}}}},
            "d variants.slow.parameters.lag: variant `slow` gives `lag`, which `testol` does not have. Known: "
            "`absorption_rate`, `binding_affinity`, `binding_capacity`, `binding_linear`, `bioavailability`, "
            "`clearance`, `volume_central`.",
        ),
        (
            {
                "relations": [
                    {"kind": "power", "on": "clearence", "covariate": "weight", "reference": "70 kg", "exponent": 1}
                ]
            },
            "d relations[0]: a number has no source. Every number has a source, or says `assumed` with a reason. "
            "Write `source: {reported: key_in_sources_yaml}` or `source: {assumed: why}`.",
        ),
    ],
)
def test_drug_rules(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(IpexError) as caught:
        drug(**changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("relation", "message"),
    [
        (
            {"kind": "powr"},
            "d relations[0]: `powr` is not known here. Nearest: `power`, `dose_power`, `power_below`.",
        ),
        (
            {"kind": "power", "on": "volume", "covariate": "weight", "reference": "70 kg", "exponent": 1},
            "d relations[0].on: a relation acts on `volume`, which is not a parameter of `testol`. "
            "Nearest: `volume_central`.",
        ),
        (
            {"kind": "power", "covariate": "wieght", "reference": "70 kg", "exponent": 1},
            "d relations[0]: `wieght` is not a covariate. Nearest: `weight`, `height`.",
        ),
        (
            {"kind": "power", "covariate": "weight", "reference": "70 L", "exponent": 1},
            "d relations[0]: `70 L` does not measure what is asked. The unit must be `kg` or a multiple of it.",
        ),
        (
            {"kind": "power", "covariate": "weight", "reference": "0 kg", "exponent": 1},
            "d relations[0]: reference `0 kg` is not positive. A reference is divided by.",
        ),
        (
            {"kind": "category", "covariate": "cyp3a5", "factors": {"expresser": 1.9}},
            "d relations[0]: no factor for `nonexpresser`. A category gives one for each of "
            "nonexpresser, expresser, unknown.",
        ),
        (
            {"kind": "dose_power", "reference": "30 mg", "exponent": -0.28, "smallest_dose": "5 mg"},
            "d relations[0].on: a dose relation acts on `clearance`. The dose may change `bioavailability` only.",
        ),
        (
            {"kind": "dose_power", "reference": "0 mg", "exponent": -0.28, "smallest_dose": "5 mg"},
            "d relations[0]: `0 mg` is not positive. A reference dose is more than zero.",
        ),
        (
            {"kind": "scale", "covariate": "azole", "multiplier": 0},
            "d relations[0].multiplier: `0` is out of range. `multiplier` must be more than 0.",
        ),
    ],
)
def test_relation_rules(relation: dict[str, Any], message: str) -> None:
    with pytest.raises(IpexError) as caught:
        with_relation(**relation)
    assert str(caught.value) == message


def factor(covariates: dict[str, Any], **relation: Any) -> Any:
    (found,) = with_relation(**relation).relations
    assert set(found.covariates()) <= set(COVARIATES)
    return found.factor(np, {name: np.asarray(value, dtype=float) for name, value in covariates.items()})  # type: ignore[union-attr]


def test_factors() -> None:
    weight = {"weight": [70.0, 17.5]}
    assert factor(weight, kind="power", covariate="weight", reference="70 kg", exponent=0.5) == pytest.approx([1, 0.5])
    low = {"kind": "power_below", "covariate": "haematocrit", "reference": "30 %", "exponent": -0.44}
    assert factor({"haematocrit": [0.45, 0.15]}, **low) == pytest.approx([1.0, 2**0.44])
    codes = [float(CYP3A5.index(level)) for level in ("nonexpresser", "expresser", "unknown")]
    factors = {"nonexpresser": 1.04, "expresser": 1.98, "unknown": 1.0}
    assert factor({"cyp3a5": codes}, kind="category", covariate="cyp3a5", factors=factors) == pytest.approx(
        [1.04, 1.98, 1]
    )
    assert factor({"azole": [0, 1]}, kind="scale", covariate="azole", multiplier=0.8) == pytest.approx([1, 0.8])
    assert factor({}, kind="scale", multiplier=1.5) == 1.5
    year = 365.25
    age = {"age": np.array([0.0, 0.44 * year, 10 * year])}
    found = factor(age, kind="age_saturation", half_age="0.44 year", youngest_age="7 day")
    assert found == pytest.approx([7 / (7 + 0.44 * year), 0.5, 10 / 10.44])


def test_hill_maturation_is_one_from_the_reference_age() -> None:
    hill = {"kind": "hill_maturation", "maximum": 1.061, "at_birth": 0, "half_age": "0.66 year", "hill": 0.78}
    hill |= {"reference_age": "2 year", "youngest_age": "7 day"}
    ages = np.array([0.0, 7.0, 365.25, 730.5, 5000.0])
    found = factor({"age": ages}, **hill)
    assert found[0] == found[1] > 0
    assert found[1] < found[2] < 1
    assert found[3:] == pytest.approx([1, 1])
    assert found[2] == pytest.approx((1 / (1 + 0.66**0.78)) / (2**0.78 / (2**0.78 + 0.66**0.78)))
    assert factor({"age": ages}, **hill, exponent=-1) == pytest.approx(1 / found)


def test_dose_relations() -> None:
    relations = [
        {
            "kind": "dose_power",
            "on": "bioavailability",
            "reference": "20 mg",
            "exponent": -0.5,
            "smallest_dose": "5 mg",
        },
        {
            "kind": "companion_reduction",
            "on": "bioavailability",
            "companions": {"prednisolone": 1, "methylprednisolone": 1.25},
            "largest": "67 %",
            "half_dose": "35 mg/day",
            "adult_weight": "70 kg",
        },
    ]
    power, companion = drug(relations=[r | {"source": BECAUSE} for r in relations]).relations
    amounts = np.array([1.0, 5.0, 80.0])
    assert power.dose_factor(np, {}, amounts, {}) == pytest.approx([2.0, 2.0, 0.5])  # type: ignore[union-attr]
    child = {"weight": np.array([14.0])}
    daily = {"prednisolone": np.array([2.0]), "methylprednisolone": np.array([4.0]), "sirolimus": np.array([9.0])}
    assert companion.dose_factor(np, child, amounts, daily) == pytest.approx(1 - 0.67 * 35 / 70)  # type: ignore[union-attr]
    assert companion.dose_factor(np, child, amounts, {"sirolimus": np.array([9.0])}) == 1.0  # type: ignore[union-attr]
