"""The structural models of the MAP reference as estimation problems: doses, two-compartment, nonlinear, metabolite."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

_ORAL = {"clearance": 4.0, "volume_central": 70.0, "absorption_rate": 1.0}
_PEAK = {"concentration": {"prediction": "concentration", "error": {"model": "proportional", "proportional": "sd"}}}


def _random(values: dict[str, float], variance: float = 0.2) -> dict[str, Any]:
    return {f"eta_{name}": {"variance": variance, "fixed": True} for name in values}


def _parts(values: dict[str, float], fixed: dict[str, float], variance: float) -> dict[str, Any]:
    typical = {f"tv_{name}": {"start": value, "fixed": True} for name, value in {**values, **fixed}.items()}
    return {
        "parameters": {**typical, "sd": {"start": 0.05**0.5, "fixed": True}},
        "random_effects": {"between_subject": _random(values, variance)},
        "individual": {
            **{name: {"typical": f"tv_{name}", "random": f"eta_{name}"} for name in values},
            **{name: f"tv_{name}" for name in fixed},
        },
    }


def _weighted(endpoints: dict[str, Any]) -> dict[str, Any]:
    for endpoint in endpoints.values():
        if endpoint["error"]["model"] == "proportional":
            endpoint["error"] = {**endpoint["error"], "zero_prediction": "unit_weight"}
    return endpoints


def _rates(rates: dict[str, str], parameters: tuple[str, ...], outputs: dict[str, str]) -> dict[str, Any]:
    known = {"meaning": "as in the reference", "unit": "1"}
    return {
        "compartments": {name: known for name in rates},
        "rates": rates,
        "parameters": {name: known for name in parameters},
        "outputs": {name: {**known, "formula": formula} for name, formula in outputs.items()},
        "default_observation": "central",
    }


_CONCENTRATION = {"concentration": "central / volume_central"}
_TWO_WAYS = _rates(
    {
        "depot": "-absorption_rate * depot",
        "central": "absorption_rate * depot + slow_rate * second - clearance / volume_central * central",
        "second": "-slow_rate * second",
    },
    ("clearance", "volume_central", "absorption_rate", "slow_rate"),
    _CONCENTRATION,
)
_METABOLITE = _rates(
    {
        "depot": "-absorption_rate * depot",
        "central": "absorption_rate * depot - clearance / volume_central * central",
        "metabolite": "0.7 * clearance / volume_central * central - cl_met / v_met * metabolite",
    },
    ("clearance", "volume_central", "absorption_rate", "cl_met", "v_met"),
    {**_CONCENTRATION, "level": "metabolite / v_met"},
)
_BOTH = {
    "concentration": {**_PEAK["concentration"], "cmt": 2},
    "level": {"prediction": "level", "cmt": 3, "error": {"model": "proportional", "proportional": "sd"}},
}

CASES: dict[str, dict[str, Any]] = {
    "001": {"values": _ORAL, "model": "one_compartment_oral"},
    "003": {"values": {**_ORAL, "lag": 1.0}, "model": "one_compartment_oral", "doses": {"depot": {"lag": "lag"}}},
    "005": {
        "values": {**_ORAL, "length": 1.0},
        "model": "one_compartment_oral",
        "doses": {"depot": {"duration": "length"}},
    },
    "007": {
        "values": {**_ORAL, "slow_rate": 0.25},
        "model": _TWO_WAYS,
        "doses": {"depot": {"bioavailability": 0.2}, "second": {"bioavailability": 0.8}},
    },
    "101": {
        "values": {**_ORAL, "volume_peripheral": 50.0},
        "fixed": {"intercompartmental_clearance": 4.0},
        "model": "two_compartments_oral",
    },
    "201": {
        "values": {"vmax": 10000.0, "volume_central": 70.0, "absorption_rate": 1.0, "km": 2500.0},
        "model": "one_compartment_oral_michaelis_menten",
    },
    "203": {
        "values": {**_ORAL, "km": 2500.0},
        "fixed": {"vmax": 10000.0},
        "model": "one_compartment_oral_linear_michaelis_menten",
    },
    "401": {"values": {**_ORAL, "cl_met": 2.5, "v_met": 60.0}, "model": _METABOLITE, "endpoints": _BOTH},
    "403": {
        "values": _ORAL,
        "model": "one_compartment_oral",
        "endpoints": {
            "concentration": {
                "prediction": "concentration",
                "error": {"model": "additive", "additive": "sd", "coefficients": "variance"},
            }
        },
        "error": 5000.0,
    },
    "501": {"values": _ORAL, "model": "one_compartment_oral", "variance": 0.4},
}


def map_problem(name: str, folder: Path) -> EstimationProblem:
    """A run of the reference as a problem; eta(k) is the k-th random effect."""
    case = CASES[name]
    data: dict[str, Any] = {
        "name": f"run_{name}",
        "description": "MAP reference",
        "folder": str(folder),
        "data": {"file": f"run{name}_data.csv", "drop": ["NM_PRED", "NM_IPRED"]},
        "model": case["model"],
        "endpoints": _weighted({k: dict(v) for k, v in case.get("endpoints", _PEAK).items()}),
        **_parts(case["values"], case.get("fixed", {}), case.get("variance", 0.2)),
        **({"doses": case["doses"]} if "doses" in case else {}),
    }
    if "error" in case:
        data["parameters"]["sd"] = {"start": case["error"], "fixed": True}
    return from_data(EstimationProblem, data)
