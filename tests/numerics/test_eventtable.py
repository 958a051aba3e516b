"""Event tables: rules of events that the reference data do not reach, gradients, independence of neighbours."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from nonmem_rows import rows_of
from scipy.integrate import solve_ivp

from ipex_pd.numerics.eventtable import audit_rows, propagate, refine
from ipex_pd.numerics.gradients import gradcheck
from ipex_pd.numerics.rowplan import plan_rows
from ipex_pd.numerics.structures import library_structure, ode_structure

ALL_DOSES = {"central": {"lag": "lag", "bioavailability": "f", "duration": "duration", "rate": "rate"}}
ORAL = {"clearance": 1.1, "volume_central": 20.0, "absorption_rate": 1.5}
COLUMNS = ["TIME", "EVID", "AMT", "CMT", "RATE", "SS", "II", "ADDL"]


def subject(*rows, name=1):
    """Records as tuples of (TIME, EVID, AMT, CMT, RATE, SS, II, ADDL), shortened from the right."""
    return rows_of(pd.DataFrame([(*r, *[0] * (8 - len(r))) for r in rows], columns=COLUMNS), name)


def wide(plan, **values):
    return {n: np.broadcast_to(np.asarray(v, float), plan.shape) for n, v in values.items()}


def solved(plan, values):
    return np.asarray(propagate(refine(plan, values), values))


def routes(*slow):
    """Each way of solving; those that take a minute to compile are for `pytest -m slow`."""
    base = library_structure(1, True)
    return [
        pytest.param(replace(base, route=r), id=r, marks=[pytest.mark.slow] if r in slow else [])
        for r in ("closed", "exponential", "mesh")
    ]


EVENTS = [
    subject((0, 1, 100, 2, -2), (1, 0), (2, 0), (5, 0), (9, 0)),
    subject((0, 1, 100, 2, -1), (1, 0), (2, 0), (5, 0), (9, 0)),
    subject((0, 1, 100, 2, 20, 0, 3, 1), (1, 0), (4, 0), (6, 0), (9, 0)),
    subject((0, 1, 100, 2, 0, 0, 3, 2), (1, 0), (4, 0), (6, 0), (9, 0)),
    subject((0, 1, 100, 2, 0, 1, 8, 1), (1, 0), (4, 0), (6, 0), (9, 0)),
    subject((0, 1, 100, 2, 5, 1, 8, 1), (1, 0), (4, 0), (6, 0), (9, 0)),
    subject((0, 1, 100, 2, -2, 1, 8, 1), (1, 0), (4, 0), (6, 0), (9, 0)),
    subject((0, 1, 100, 2, -1, 1, 8, 1), (1, 0), (4, 0), (6, 0), (9, 0)),
    subject((0, 1, 60, 1), (1, 0), (4, 4, 100, 2, -2), (6, 0), (9, 0)),
]
NAMES = ["clearance", "volume_central", "absorption_rate", "lag", "f", "duration", "rate"]
POINT = np.array([1.1, 20.0, 1.5, 0.37, 0.81, 4.6, 9.3])


@pytest.mark.parametrize("structure", routes("mesh"))
def test_gradients_of_everything_a_dose_has(structure):
    """Lag, bioavailability, duration, rate and kinetics, through additional doses, steady states and resets."""
    plan = plan_rows(EVENTS, structure, ALL_DOSES)
    weights = np.random.default_rng(1).normal(size=(len(EVENTS), 5, 2))
    start = wide(plan, **dict(zip(NAMES, POINT, strict=True)))
    frozen = refine(plan, start, 1e-11)

    def outcome(point):
        values = {n: jnp.full(plan.shape, point[i]) for i, n in enumerate(NAMES)}
        return jnp.sum(weights * propagate(frozen, values))

    check = gradcheck(outcome, POINT, step=2e-6 if structure.route == "mesh" else 1e-5)
    assert np.all(np.abs(check.forward) > 0.01)
    assert check.disagreement < 1e-7
    np.testing.assert_allclose(check.forward, check.reverse, rtol=1e-9)


@pytest.mark.parametrize("structure", routes("closed")[:2])
def test_second_derivatives(structure):
    plan = plan_rows(EVENTS, structure, ALL_DOSES)

    def slope(point):
        return jax.grad(
            lambda p: jnp.sum(propagate(plan, {n: jnp.full(plan.shape, p[i]) for i, n in enumerate(NAMES)}))
        )(point)

    hessian = np.asarray(jax.jit(jax.jacfwd(slope))(POINT))
    run, step = jax.jit(slope), 1e-5
    for i in range(len(POINT)):
        shift = np.zeros(len(POINT))
        shift[i] = step * POINT[i]
        differences = (run(POINT + shift) - run(POINT - shift)) / (2 * shift[i])
        np.testing.assert_allclose(hessian[i], differences, rtol=1e-6, atol=1e-6 * np.abs(hessian[i]).max())


def test_gradients_where_formulas_have_removable_singularities():
    """ka = k, a lag of 0, an amount of 0 and records at one time: finite, and the limit of neighbours."""
    plan = plan_rows(
        [subject((0, 1, 100, 1), (0, 1, 0, 2), (0, 0), (3, 0), (3, 0), (7, 1, 50, 1, 10), (9, 0))],
        library_structure(1, True),
        {"central": {"lag": "lag"}},
    )

    def central(ka, lag):
        values = {n: jnp.full(plan.shape, v) for n, v in ORAL.items()}
        values |= {"absorption_rate": jnp.full(plan.shape, ka), "lag": jnp.full(plan.shape, lag)}
        return propagate(plan, values)[0, :, 1]

    elimination = ORAL["clearance"] / ORAL["volume_central"]
    at = jax.jit(lambda ka: jax.jacfwd(central)(ka, 0.0))
    assert np.all(np.isfinite(jax.jacrev(central, (0, 1))(elimination, 0.0)))
    np.testing.assert_allclose(at(elimination), (at(elimination - 1e-6) + at(elimination + 1e-6)) / 2, rtol=1e-9)


@pytest.mark.parametrize("structure", routes())
def test_a_subject_does_not_know_its_neighbours(structure):
    plan = plan_rows(EVENTS, structure, ALL_DOSES)
    values = wide(plan, **dict(zip(NAMES, POINT, strict=True)))
    together = solved(plan, values)
    for i in (6,) if structure.route == "mesh" else (0, 3, 6):
        alone_plan = plan_rows([EVENTS[i]], structure, ALL_DOSES)
        alone = solved(alone_plan, {n: v[i : i + 1] for n, v in values.items()})
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("structure", routes())
def test_padding_is_never_read(structure):
    plan = plan_rows([EVENTS[0], EVENTS[3]], structure, ALL_DOSES, records=9)
    values = {n: v.copy() for n, v in wide(plan, **dict(zip(NAMES, POINT, strict=True))).items()}
    kept = solved(plan, values)[:, :5]
    for v in values.values():
        v[:, 5:] = np.nan
    np.testing.assert_array_equal(solved(plan, values)[:, :5], kept)


@pytest.mark.parametrize("structure", routes())
def test_a_modelled_rate_may_change_during_the_infusion(structure):
    """RATE -1: records change the rate under way; the infusion ends when the amount is in."""
    plan = plan_rows([subject((0, 1, 100, 2, -1), (2, 0), (4, 0), (10, 0), (12, 0))], structure, ALL_DOSES)
    values = wide(plan, **ORAL, lag=0.5, f=0.9, duration=1.0, rate=[[20.0, 20.0, 10.0, 15.0, 15.0]])
    found = solved(plan, values)[0, :, 1]
    k = ORAL["clearance"] / ORAL["volume_central"]
    pieces = [(0.5, 2.0, 20.0), (2.0, 4.0, 10.0), (4.0, 4.0 + 40 / 15, 15.0)]
    assert sum((b - a) * r for a, b, r in pieces) == pytest.approx(90.0)
    times = np.array([0, 2, 4, 10, 12.0])

    def piece(t, start, end, rate):
        late, early = np.maximum(t - end, 0), np.clip(t - start, 0, end - start)
        return rate / k * (1 - np.exp(-k * early)) * np.exp(-k * late)

    np.testing.assert_allclose(found, sum(piece(times, *p) for p in pieces), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("structure", routes())
def test_a_train_of_doses_leads_to_its_steady_state(structure):
    """Overlapping infusions with a lag: a hundred doses and SS agree, at the record and after it."""
    long = subject((0, 1, 100, 2, -2, 0, 6, 120), (600, 0), (603, 0), (609, 0), (611.5, 0))
    steady = subject((600, 1, 100, 2, -2, 1, 6, 5), (600, 0), (603, 0), (609, 0), (611.5, 0))
    plan = plan_rows([long, steady], structure, ALL_DOSES)
    values = wide(plan, **(ORAL | {"clearance": 2.0}), lag=2.2, f=0.7, duration=14.5, rate=1.0)
    slow, fast = solved(plan, values)
    np.testing.assert_allclose(fast[1:, 1], slow[1:, 1], rtol=1e-8)


def test_what_resets_and_steady_states_cancel():
    """EVID 3 and SS 1 cancel a pending lagged dose, further doses and a running infusion; SS 2 does not."""
    doses = {"central": {"lag": "lag"}}

    def after(*events):
        pending = [(0, 1, 100, 2, 0, 0, 10, 3), (1, 1, 80, 1, 8)]
        plan = plan_rows([subject(*pending, *events, (40, 0))], library_structure(1, True), doses)
        return solved(plan, wide(plan, **ORAL, lag=4.0))[0, -1]

    def without(*events):
        plan = plan_rows([subject(*events, (40, 0))], library_structure(1, True), doses)
        return solved(plan, wide(plan, **ORAL, lag=4.0))[0, -1]

    assert np.all(after((3, 3, 0, 0)) == 0)
    np.testing.assert_allclose(after((3, 4, 50, 1)), without((3, 1, 50, 1)), rtol=1e-12)
    one = (3, 1, 50, 1, 0, 1, 12)
    np.testing.assert_allclose(after(one), without(one), rtol=1e-12)
    two = (3, 1, 50, 1, 0, 2, 12)
    np.testing.assert_allclose(after(two), after() + without(two), rtol=1e-12)


def test_time_may_restart_after_a_reset():
    plan = plan_rows([subject((0, 1, 100, 1), (5, 0), (0, 4, 100, 1), (5, 0))], library_structure(1, True))
    found = solved(plan, wide(plan, **ORAL))[0]
    np.testing.assert_allclose(found[3], found[1], rtol=1e-14)


def test_order_at_one_time():
    """File order decides; an additional dose comes before records of its time, a lag of 0 delays nothing."""
    plan = plan_rows(
        [subject((0, 0), (0, 1, 100, 2, 0, 0, 5, 1), (0, 0), (5, 0))],
        library_structure(1, True),
        {"central": {"lag": "lag"}},
    )
    found = solved(plan, wide(plan, **ORAL, lag=0.0))[0, :, 1]
    np.testing.assert_allclose(found[:3], [0, 100, 100], rtol=1e-14)
    assert found[3] == pytest.approx(100 * np.exp(-5 * 1.1 / 20) + 100)


def test_nonlinear_steady_state_and_time_dependent_rates_against_scipy():
    saturable = ode_structure({"depot": "-ka * depot", "central": "ka * depot - vmax * central / (km + central)"})
    plan = plan_rows([subject((0, 1, 100, 1, 0, 1, 12, 1), (3, 0), (12, 0), (20, 0))], saturable)
    values = wide(plan, ka=1.0, vmax=15.0, km=40.0)

    dose = np.array([100.0, 0.0])

    def rate(t, y):
        return [-y[0], y[0] - 15 * y[1] / (40 + y[1])]

    y = np.array([0.0, 0.0])
    for _ in range(300):
        y = solve_ivp(rate, (0, 12), y + dose, method="DOP853", rtol=1e-12, atol=1e-12).y[:, -1]
    fine = refine(plan, values)
    found = np.asarray(propagate(fine, values))[0]
    np.testing.assert_allclose(found[0], y + dose, rtol=1e-8, atol=1e-6)
    expected = solve_ivp(rate, (0, 12), y + dose, t_eval=[3, 12], method="DOP853", rtol=1e-12, atol=1e-12).y
    np.testing.assert_allclose(found[1, 1], expected[1, 0], rtol=1e-8)
    assert audit_rows(fine, values).max() < 1e-8

    circadian = ode_structure({"r": "kin * (1 + 0.5 * tanh(time - 4)) - kout * r"}, initial={"r": "kin / kout"})
    plan = plan_rows([subject((1, 0), (3, 0), (4, 3), (9, 0))], circadian)
    found = solved(plan, wide(plan, kin=10.0, kout=0.5))[0, :, 0]

    def slope(t, r):
        return 10 * (1 + 0.5 * np.tanh(t - 4)) - 0.5 * r

    def curve(a, b):
        return solve_ivp(slope, (a, b), [20.0], method="DOP853", rtol=1e-12, atol=1e-12).y[0, -1]

    np.testing.assert_allclose(found, [20, curve(1, 3), 20, curve(4, 9)], rtol=1e-8)


@pytest.mark.slow
def test_gradients_of_a_nonlinear_steady_state():
    saturable = ode_structure({"depot": "-ka * depot", "central": "ka * depot - vmax * central / (km + central)"})
    rows = [subject((0, 1, 100, 1, 0, 1, 12, 1), (3, 0), (13, 0)), subject((0, 1, 0, 2, 9, 1), (3, 0), (13, 0))]
    plan = plan_rows(rows, saturable)
    names, point = ["ka", "vmax", "km"], np.array([1.0, 15.0, 40.0])
    frozen = refine(plan, wide(plan, **dict(zip(names, point, strict=True))), 1e-11)

    def outcome(p):
        return jnp.sum(propagate(frozen, {n: jnp.full(plan.shape, p[i]) for i, n in enumerate(names)})[:, :, 1])

    assert gradcheck(outcome, point).disagreement < 1e-7
    hessian = np.asarray(jax.jit(jax.hessian(outcome))(point))
    slope = jax.jit(jax.grad(outcome))
    for i, size in enumerate(1e-5 * point):
        shift = np.zeros(3)
        shift[i] = size
        np.testing.assert_allclose(hessian[i], (slope(point + shift) - slope(point - shift)) / (2 * size), rtol=1e-5)


@pytest.mark.parametrize(("disposition", "depot"), [(2, True), (3, True), (3, False)])
def test_closed_forms_are_matrix_exponentials(disposition, depot):
    structure = library_structure(disposition, depot)
    plan = plan_rows(
        [subject((0, 1, 100, 1), (1, 1, 50, 2, 20), (2, 0), (3, 1, 50, 1, 5, 1, 8), (6, 0), (40, 0))], structure
    )
    other = plan_rows(
        [subject((0, 1, 100, 1), (1, 1, 50, 2, 20), (2, 0), (3, 1, 50, 1, 5, 1, 8), (6, 0), (40, 0))],
        replace(structure, route="exponential"),
    )
    numbers = {"volume_peripheral": 30.0, "intercompartmental_clearance": 4.0}
    numbers |= {"volume_peripheral_2": 90.0, "intercompartmental_clearance_2": 2.5}
    values = wide(plan, **ORAL, **numbers)
    np.testing.assert_allclose(solved(plan, values), solved(other, values), rtol=1e-10)
