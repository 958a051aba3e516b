"""The shipped structural models against laws that hold for them: closed forms, steady states, areas, limits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.special

from ipex_pd.inference.binding import bind, predict
from ipex_pd.records import library
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data


def course(
    folder: Path, model: Any, values: dict[str, float], times: Any, seen: str, dose: tuple[float, float] | None = None
) -> np.ndarray:
    """A quantity at times after one dose (amount, rate of infusion or 0) at time 0."""
    rows = ["ID,TIME,AMT,RATE,DV"]
    rows += [f"1,0,{dose[0]!r},{dose[1]!r},."] if dose else []
    rows += [f"1,{float(t)!r},.,.,1" for t in times]
    (folder / "data.csv").write_text("\n".join(rows), encoding="utf-8")
    data = {
        "name": "law",
        "description": "A law",
        "folder": str(folder),
        "data": {"file": "data.csv"},
        "model": model,
        "parameters": {**{n: {"start": v} for n, v in values.items()}, "sd": 1.0},
        "endpoints": {"seen": {"prediction": seen, "error": {"model": "additive", "additive": "sd"}}},
    }
    bound = bind(from_data(EstimationProblem, data), tolerance=1e-9)
    (group,) = bound.groups
    theta = np.array([[t.start for t in bound.population.thetas]])
    return np.asarray(predict(group, theta, np.zeros((1, 0))).mean)[0, : len(times)]


def test_michaelis_menten_is_the_lambert_function(tmp_path):
    times, start = np.array([0.5, 2.0, 5.0, 9.0]), 10.0
    values = {"vmax": 20.0, "km": 2.0, "volume_central": 10.0}
    own = course(tmp_path, "one_compartment_michaelis_menten", values, times, "concentration", (100.0, 0.0))
    exact = 2.0 * scipy.special.lambertw(start / 2.0 * np.exp((start - 2.0 * times) / 2.0)).real
    np.testing.assert_allclose(own, exact, rtol=1e-8)


@pytest.mark.parametrize("stages", [3, 5])
def test_transit_compartments_delay_by_their_number_over_their_rate(tmp_path, stages):
    values = {"transit_rate": 2.0, "absorption_rate": 1.5, "clearance": 3.0, "volume_central": 10.0}
    times = np.linspace(0.02, 60, 3000)
    own = course(tmp_path, f"one_compartment_transit_{stages}", values, times, "concentration", (100.0, 0.0))
    area = np.trapezoid(own, times)
    assert area == pytest.approx(100 / 3.0, rel=1e-4)
    assert np.trapezoid(times * own, times) / area == pytest.approx(stages / 2 + 1 / 1.5 + 10 / 3, rel=1e-4)


def test_the_metabolite_has_the_area_of_what_is_formed(tmp_path):
    values = {"absorption_rate": 1.0, "clearance": 2.0, "volume_central": 8.0}
    values |= {"fraction_metabolised": 0.4, "clearance_metabolite": 1.5, "volume_metabolite": 5.0}
    times = np.linspace(0.02, 120, 6000)
    own = course(tmp_path, "parent_metabolite_oral", values, times, "concentration_metabolite", (100.0, 0.0))
    assert np.trapezoid(own, times) == pytest.approx(0.4 * 100 / 1.5, rel=1e-4)


KINETICS = {"clearance": 2.0, "volume_central": 5.0}
LEVEL = 3.0
"""Concentration in an endless infusion: its rate over the clearance."""
LONG = (6.0e5, LEVEL * 2.0)
RESPONSES = {
    "indirect_response_1": ({"kin": 8.0, "kout": 0.5, "imax": 0.9, "ic50": 2.0}, 16 * (1 - 0.9 * 3 / 5)),
    "indirect_response_2": ({"kin": 8.0, "kout": 0.5, "imax": 0.9, "ic50": 2.0}, 16 / (1 - 0.9 * 3 / 5)),
    "indirect_response_3": ({"kin": 8.0, "kout": 0.5, "stimulation": 2.0, "sc50": 1.0}, 16 * (1 + 2 * 3 / 4)),
    "indirect_response_4": ({"kin": 8.0, "kout": 0.5, "stimulation": 2.0, "sc50": 1.0}, 16 / (1 + 2 * 3 / 4)),
    "emax_direct": ({"e0": 1.0, "emax": 10.0, "ec50": 2.0}, 1 + 10 * 3 / 5),
    "emax_sigmoid": ({"e0": 1.0, "emax": 10.0, "ec50": 2.0, "hill": 2.0}, 1 + 10 * 9 / 13),
    "effect_compartment_emax": ({"ke0": 0.4, "e0": 1.0, "emax": 10.0, "ec50": 2.0}, 1 + 10 * 3 / 5),
    "effect_compartment_sigmoid": ({"ke0": 0.4, "e0": 1.0, "emax": 10.0, "ec50": 2.0, "hill": 3.0}, 1 + 10 * 27 / 35),
    "myelosuppression_linear": (
        {"baseline": 5.0, "mean_transit_time": 5.0, "feedback": 0.2, "slope": 0.1},
        5 * (1 - 0.3) ** 5,
    ),
    "myelosuppression_emax": (
        {"baseline": 5.0, "mean_transit_time": 5.0, "feedback": 0.2, "emax_proliferation": 0.8, "ec50": 3.0},
        5 * (1 - 0.4) ** 5,
    ),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_responses_settle_where_their_equations_balance(tmp_path, name):
    own, settled = RESPONSES[name]
    seen = "cells" if name.startswith("myelo") else "effect"
    model = {"compose": ["one_compartment", name]}
    found = course(tmp_path, model, {**KINETICS, **own}, np.linspace(0, 400, 33), seen, LONG)
    assert found[-1] == pytest.approx(settled, rel=1e-6)
    untreated = {"indirect": 16.0, "myelo": 5.0, "emax_d": 1.0, "emax_s": 1.0, "effect": 1.0}
    begin = next(value for start, value in untreated.items() if name.startswith(start))
    assert found[0] == pytest.approx(begin, rel=1e-12)


def test_turnover_returns_to_its_balance(tmp_path):
    times = np.array([0.0, 1.0, 4.0])
    own = course(tmp_path, "turnover", {"kin": 8.0, "kout": 0.5, "baseline": 10.0}, times, "effect")
    np.testing.assert_allclose(own, 16 + (10 - 16) * np.exp(-0.5 * times), rtol=1e-9)


TARGET = {"clearance": 0.5, "volume_central": 3.0, "kint": 0.1, "ksyn": 0.6, "kdeg": 0.2}


def test_quasi_equilibrium_is_the_limit_of_fast_binding(tmp_path):
    times = np.arange(0.25, 30.1, 0.25)
    fast = {**TARGET, "kon": 100.0, "koff": 50.0}
    full = course(tmp_path, "target_mediated_full", fast, times, "total_concentration", (30.0, 6.0))
    name = "target_mediated_quasi_equilibrium"
    near = course(tmp_path, name, {**TARGET, "kd": 0.5}, times, "total_concentration", (30.0, 6.0))
    np.testing.assert_allclose(near, full, rtol=4e-3)  # the difference is of the order kint/koff = 2e-3


def test_quasi_steady_state_is_exact_at_a_steady_state(tmp_path):
    values = {**TARGET, "kon": 0.4, "koff": 0.1}
    full = course(tmp_path, "target_mediated_full", values, [600.0], "concentration", (6000.0, 2.0))
    name = "target_mediated_quasi_steady_state"
    near = course(tmp_path, name, {**TARGET, "kss": (0.1 + 0.1) / 0.4}, [600.0], "concentration", (6000.0, 2.0))
    np.testing.assert_allclose(near, full, rtol=1e-6)


def test_the_michaelis_menten_approximation_balances_its_infusion(tmp_path):
    values = {"clearance": 0.5, "volume_central": 3.0, "vmax_target": 0.4, "km": 0.8}
    (level,) = course(tmp_path, "target_mediated_michaelis_menten", values, [900.0], "concentration", (9000.0, 2.0))
    assert 0.5 * level + 0.4 * 3.0 * level / (0.8 + level) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    ("name", "more", "linear"),
    [
        ("one_compartment_linear_michaelis_menten", {}, "one_compartment"),
        ("one_compartment_oral_linear_michaelis_menten", {"absorption_rate": 0.7}, "one_compartment_oral"),
        (
            "two_compartments_linear_michaelis_menten",
            {"intercompartmental_clearance": 1.0, "volume_peripheral": 8.0},
            "two_compartments",
        ),
    ],
)
def test_saturable_elimination_far_below_km_is_linear(tmp_path, name, more, linear):
    times = np.array([1.0, 6.0, 20.0])
    values = {**KINETICS, **more}
    own = course(tmp_path, name, {**values, "vmax": 1e6, "km": 1e6}, times, "concentration", (10.0, 0.0))
    sum_of_both = {**values, "clearance": 3.0}
    np.testing.assert_allclose(
        own, course(tmp_path, linear, sum_of_both, times, "concentration", (10.0, 0.0)), rtol=5e-6
    )


def test_every_model_can_be_advanced(tmp_path):
    """Every model stands in one of these tests, or is closed, oral saturable (MAP reference) or an event."""
    closed = {name for name in library.shipped("models") if library.load_model(name).kinetics is not None}
    tested = {*RESPONSES, "turnover", "one_compartment_michaelis_menten", "parent_metabolite_oral", "exponential_decay"}
    tested |= {n for n in library.shipped("models") if "target_mediated" in n or "transit" in n or "event" in n}
    tested |= {n for n in library.shipped("models") if "linear_michaelis" in n}
    assert set(library.shipped("models")) - closed - tested == {"one_compartment_oral_michaelis_menten"}
