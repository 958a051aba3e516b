"""Closed-form kinetics against the matrix exponential, at and near the removable singularities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from toy_systems import TACROLIMUS, THETA, compartments, schedule_of, toy_system

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.schedule import Order
from ipex_pd.numerics.solve import SolverOptions, solve
from ipex_pd.numerics.superposition import advance, central, concentration, kinetics

VALUES = {
    "clearance": 12.0,
    "volume_central": 6.0,
    "absorption_rate": 5.0,
    "intercompartmental_clearance_1": 30.0,
    "volume_peripheral_1": 40.0,
    "intercompartmental_clearance_2": 4.0,
    "volume_peripheral_2": 90.0,
}


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize("absorption", [5.0, "equal", "near"])
def test_amounts_are_the_matrix_exponential(n, absorption):
    values = dict(VALUES)
    if absorption != 5.0:
        rate = float(kinetics(values, n, True, 1).rates[-1, 0])
        values["absorption_rate"] = rate * (1 + (1e-7 if absorption == "near" else 0.0))
    drug = kinetics(values, n, True, 1)
    start = np.array([3.0, 1.0, 0.5, 0.2][: 1 + n])
    for t in (0.0, 0.01, 0.4, 7.0):
        exact = expm(compartments(values, n) * t) @ start
        found = advance(drug, start[:, None], jnp.zeros(1), jnp.array([t]), depot=True, infused=True)[:, 0]
        np.testing.assert_allclose(found, exact, rtol=1e-10, atol=1e-13)
        middle = central(drug, start[:, None], jnp.zeros(1), jnp.array([t]), depot=True, infused=True)
        np.testing.assert_allclose(middle[0], exact[1], rtol=1e-10, atol=1e-13)


def test_gradients_stay_right_where_absorption_meets_elimination():
    def level(ka):
        return concentration(
            {"clearance": 2.0, "volume_central": 1.0, "absorption_rate": ka},
            [0.7],
            [0.0],
            [1.0],
            compartments=1,
            oral=True,
        )[0, 0]

    k, t = 2.0, 0.7
    np.testing.assert_allclose(level(k), k * t * np.exp(-k * t), rtol=1e-13)
    np.testing.assert_allclose(jax.grad(level)(k), (t - k * t * t / 2) * np.exp(-k * t), rtol=1e-9)


def test_equal_peripheral_compartments():
    values = {**VALUES, "intercompartmental_clearance_2": 15.0, "volume_peripheral_2": 20.0}
    drug = kinetics(values, 3, True, 1)
    found = advance(
        drug, jnp.array([[0.0], [1.0], [0.0], [0.0]]), jnp.zeros(1), jnp.array([0.3]), depot=True, infused=False
    )
    np.testing.assert_allclose(found[:, 0], expm(compartments(values, 3) * 0.3) @ [0, 1, 0, 0], rtol=1e-9, atol=1e-12)


def test_infusion_rises_to_rate_over_clearance():
    level = concentration(VALUES, [1.0, 200.0], [0.0], [1200.0], compartments=2, oral=False, durations=[400.0])
    np.testing.assert_allclose(level[1, 0], 3.0 / 12.0, rtol=1e-9)
    matrix = compartments({**VALUES, "absorption_rate": 0.0}, 2)[1:, 1:]
    exact = np.linalg.solve(matrix, (expm(matrix) - np.eye(2)) @ [3.0, 0.0])
    np.testing.assert_allclose(level[0, 0], exact[0] / 6.0, rtol=1e-11)


@pytest.mark.parametrize(("route", "duration"), [("oral", 0.0), ("iv", 0.0), ("iv", 0.2)])
def test_steady_state_is_the_end_of_a_long_series(route, duration):
    theta = {**THETA, "tacrolimus.lag": 0.1}
    system, order = toy_system(TACROLIMUS), (Order("tacrolimus", route),)
    times, options = [0.0, 0.05, 0.3, 0.5, 0.8, 1.0], SolverOptions(chunk=1)
    series = schedule_of(order, [(t, 0, 1.0, duration) for t in np.arange(0.0, 31.0, 0.5)])
    at_once = schedule_of(order, [(0.0, 0, 1.0, duration, 2.0, 0.5), (0.5, 0, 1.0, duration)])
    age = np.array([365.0])
    long = solve(system, series, theta, age=age, output_times=30.0 + np.array(times), options=options)
    short = solve(system, at_once, theta, age=age, output_times=times, options=options)
    np.testing.assert_allclose(short.concentrations["tacrolimus"][1:], long.concentrations["tacrolimus"][1:], rtol=2e-4)


def test_refuses_a_steady_infusion_longer_than_its_interval():
    schedule = schedule_of((Order("tacrolimus", "iv"),), [(0.0, 0, 1.0, 0.6, 2.0, 0.5)])
    with pytest.raises(SimulationError, match="longer than its interval"):
        solve(toy_system(TACROLIMUS), schedule, THETA, age=np.array([365.0]), output_times=[1.0])


def test_missing_constant_is_named():
    with pytest.raises(SimulationError, match="`volume_peripheral_1` is missing"):
        kinetics({"clearance": 1.0, "volume_central": 1.0, "intercompartmental_clearance_1": 1.0}, 2, False, 1)
