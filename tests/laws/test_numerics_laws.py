"""Laws of the solution: mass balance, zero dose, time shift, superposition, linearity in dose."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_systems import TACROLIMUS, THETA, schedule_of, toy_system

from ipex_pd.numerics.schedule import Order
from ipex_pd.numerics.solve import SolverOptions, solve
from ipex_pd.numerics.superposition import advance, concentration, kinetics

AGE = np.array([365.0])
ORDERS = (Order("tacrolimus"), Order("tacrolimus", "iv"))
OPTIONS = SolverOptions(chunk=1, audit="off")
few = settings(max_examples=12, deadline=None, derandomize=True)
positive = st.floats(0.05, 50.0)
doses = st.lists(
    st.tuples(st.floats(0.0, 5.0), st.sampled_from([0, 1]), st.floats(0.0, 5.0), st.floats(0.01, 1.0)),
    min_size=1,
    max_size=5,
)


def _run(rows, times, theta=THETA):
    # an infusion far beyond the last output keeps the compiled program the same for every example
    rows = [(t, o, a, d if o else 0.0) for t, o, a, d in rows] + [(900.0, 1, 1.0, 1.0), (900.0, 0, 1.0, 0.0)]
    return solve(toy_system(TACROLIMUS), schedule_of(ORDERS, rows), theta, age=AGE, output_times=times, options=OPTIONS)


@few
@given(positive, positive, positive, positive, positive, st.floats(0.0, 20.0))
def test_mass_is_conserved_without_elimination(volume, q1, v1, q2, v2, t):
    values = {
        "clearance": 1e-12,
        "volume_central": volume,
        "intercompartmental_clearance_1": q1,
        "volume_peripheral_1": v1,
        "intercompartmental_clearance_2": q2,
        "volume_peripheral_2": v2,
        "absorption_rate": 3.0,
    }
    for n in (1, 2, 3):
        start = np.arange(1.0, 2.0 + n)[:, None]
        end = advance(kinetics(values, n, True, 1), start, np.array([2.0]), np.array([t]), depot=True, infused=True)
        np.testing.assert_allclose(np.sum(end), start.sum() + 2.0 * t, rtol=1e-6)


@few
@given(doses)
def test_zero_doses_change_nothing(rows):
    nothing = _run([(t, o, 0.0, d) for t, o, _, d in rows], [3.0, 6.0])
    never = _run([], [3.0, 6.0])
    np.testing.assert_allclose(nothing.states, never.states, rtol=1e-7)
    assert (nothing.concentrations["tacrolimus"] == 0).all()


@few
@given(doses, st.floats(0.1, 10.0))
def test_concentration_is_linear_in_dose(rows, factor):
    once = _run(rows, [2.0, 6.5]).concentrations["tacrolimus"]
    more = _run([(t, o, a * factor, d) for t, o, a, d in rows], [2.0, 6.5]).concentrations["tacrolimus"]
    np.testing.assert_allclose(more, factor * once, rtol=1e-10, atol=1e-14)


@few
@given(doses)
def test_doses_superpose_and_agree_with_the_sum_over_doses(rows):
    times = np.array([1.0, 4.0, 7.0])
    found = _run(rows, times)
    values = {
        "clearance": THETA["tacrolimus.clearance"],
        "volume_central": 60.0,
        "absorption_rate": 0.56 * 24,
        "intercompartmental_clearance_1": 33.0 * 24,
        "volume_peripheral_1": 430.0,
        "lag": THETA["tacrolimus.lag"],
    }
    total = np.zeros((3, 1))
    for t, o, a, d in rows:
        total += np.asarray(
            concentration(values, times, [t], [a], compartments=2, oral=o == 0, durations=[d] if o else None)
        )
    np.testing.assert_allclose(found.concentrations["tacrolimus"], total, rtol=1e-9, atol=1e-14)


@few
@given(doses, st.floats(0.0, 20.0))
def test_a_shift_in_time_shifts_the_concentrations(rows, shift):
    first = _run(rows, [2.0, 6.5]).concentrations["tacrolimus"]
    later = _run([(t + shift, o, a, d) for t, o, a, d in rows], [2.0 + shift, 6.5 + shift]).concentrations["tacrolimus"]
    np.testing.assert_allclose(later, first, rtol=1e-8, atol=1e-13)


@few
@given(st.floats(0.5, 3.0), st.floats(0.0, 0.3))
def test_kinetics_with_growth_conserve_amounts_at_visits(day, gain):
    theta = {**THETA, "weight_gain": gain, "tacrolimus.clearance": 1e-9}
    schedule = replace(schedule_of(ORDERS, [(0.0, 1, 2.0, 0.0)]), visits=np.array([day]))
    system = toy_system(TACROLIMUS)
    times = [day - 1e-6, day, day + 60.0]
    found = solve(system, schedule, theta, age=AGE, output_times=times, options=OPTIONS)
    weight = 10.0 + gain * day
    level = found.concentrations["tacrolimus"][:, 0] * 60.0 / 10.0 * np.array([10.0, weight, weight])
    np.testing.assert_allclose(level[0], level[1], rtol=1e-4)
    central = 60.0 * weight / 10.0
    np.testing.assert_allclose(level[2], 2.0 * central / (central + 430.0), rtol=1e-4)
