"""The disease under drugs against SciPy and against the general solver."""

from dataclasses import replace

import numpy as np
import pytest
from toy_systems import (
    PREDNISOLONE,
    TACROLIMUS,
    THETA,
    by_scipy,
    less_with_prednisolone,
    relative,
    schedule_of,
    toy_system,
    twice_daily,
)

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.numerics.schedule import Order, Titration
from ipex_pd.numerics.solve import SolverOptions, solve

OUT = np.array([0.0, 0.3, 0.5, 1.0, 2.25, 3.0, 5.0, 6.0])
LAG = THETA["tacrolimus.lag"]
AGE = np.array([365.0])
SMALL = SolverOptions(chunk=1)
TIGHT = SolverOptions("tight", chunk=1)


@pytest.fixture(scope="module")
def everything():
    orders = (Order("tacrolimus"), Order("prednisolone"), Order("prednisolone", "iv"))
    rows = [(t, 0, 1.0, 0.0, 2.0) for t in np.arange(0, 6, 0.5)] + [(t, 1, 10.0, 0.0, 1.0) for t in np.arange(0.0, 6)]
    rows += [(1.2, 2, 40.0, 0.25), (1.3, 2, 20.0, 0.5), (4.0, 2, 30.0)]
    more = {
        "transplant_times": np.array([2.7]),
        "transplants": {"toy_graft": np.array([0.2]), "toy_surviving": np.array([0.3])},
    }
    schedule = schedule_of(orders, rows, **more)
    doses = (
        [(t + LAG, 4, 1.0) for t in np.arange(0, 6, 0.5)] + [(t, 7, 10.0) for t in np.arange(0.0, 6)] + [(4.0, 8, 30.0)]
    )
    reference = by_scipy(THETA, doses, [(1.2, 1.45, 8, 160.0), (1.3, 1.8, 8, 40.0)], [(2.7, 0.2, 0.3)], OUT)
    return toy_system(TACROLIMUS, PREDNISOLONE), schedule, reference


@pytest.mark.parametrize(("options", "tolerance"), [(SMALL, 1e-5), (TIGHT, 1e-7)])
def test_mesh_agrees_with_scipy_and_the_audit_tells_its_error(everything, options, tolerance):
    system, schedule, reference = everything
    found = solve(system, schedule, THETA, age=AGE, output_times=OUT, options=options)
    true = relative(found.states[:, :, 0], reference[:, :4])
    assert true < tolerance
    assert found.error[0] < tolerance
    assert true / 10 - 1e-9 < found.error[0] < 10 * true + 1e-9
    np.testing.assert_allclose(found.concentrations["tacrolimus"][:, 0], reference[:, 5] / 60.0, rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(
        found.concentrations["prednisolone"][:, 0], reference[:, 8] / 20.0, rtol=1e-8, atol=1e-11
    )
    assert list(found.route) == ["mesh"]
    assert found.alive.all()


def test_general_solver_agrees_with_scipy(everything):
    system, schedule, reference = everything
    options = SolverOptions("tight", route="general", audit="off")
    found = solve(system, schedule, THETA, age=AGE, output_times=OUT, options=options)
    assert relative(found.states[:, :, 0], reference[:, :4]) < 1e-8
    np.testing.assert_allclose(found.concentrations["tacrolimus"][:, 0], reference[:, 5] / 60.0, rtol=1e-7, atol=1e-10)
    assert list(found.route) == ["general"]
    assert found.reason == ("forced (Dopri8)",)


def test_auc_is_dose_over_clearance():
    schedule = schedule_of((Order("tacrolimus"),), [(0.0, 0, 3.0)])
    found = solve(toy_system(TACROLIMUS), schedule, THETA, age=AGE, output_times=[60.0], options=SMALL)
    np.testing.assert_allclose(found.auc["tacrolimus"][0, 0], 3.0 / THETA["tacrolimus.clearance"], rtol=1e-6)


def test_no_drug_no_dose_stays_at_the_closed_form():
    found = solve(
        toy_system(), schedule_of((), []), {**THETA, "toy_harm": 0.0}, age=AGE, output_times=[0.0, 10.0], options=SMALL
    )
    np.testing.assert_allclose(found.states[1, 0, 0], 20.0 * (1 + 0.1 * _washout(10.0)), rtol=1e-7)


def _washout(t):
    # effector excess after injury decays as exp(-0.3 t): a(t) = k_out / (k_out - r) (exp(-r t) - exp(-k_out t))
    return 1.5 / (1.5 - 0.3) * (np.exp(-0.3 * t) - np.exp(-1.5 * t))


def test_amounts_follow_weight_caps_and_companions():
    drug = replace(TACROLIMUS, bioavailability=less_with_prednisolone)
    orders = (Order("tacrolimus", basis="mg/kg", maximum=2.2), Order("prednisolone"))
    rows = [(0.0, 0, 0.2, 0.0, 1.0), (1.0, 1, 20.0, 0.0, 1.0), (2.0, 0, 0.2, 0.0, 1.0), (4.0, 0, 0.2, 0.0, 1.0)]
    schedule = schedule_of(orders, rows, visits=np.array([2.0]))
    theta = {**THETA, "weight_gain": 1.0}
    found = solve(
        toy_system(drug, PREDNISOLONE), schedule, theta, age=AGE, output_times=[0.0, 1.5, 2.0, 4.0, 6.0], options=SMALL
    )
    np.testing.assert_allclose(found.doses[:, 0], [2.0, 20.0, 2.2, 2.2])
    np.testing.assert_allclose(found.weight[:, 0], [10.0, 11.5, 12.0, 14.0, 16.0])
    alone = solve(
        toy_system(TACROLIMUS, PREDNISOLONE), schedule, theta, age=AGE, output_times=[1.5, 6.0], options=SMALL
    )
    same = found.concentrations["tacrolimus"][1, 0] / alone.concentrations["tacrolimus"][0, 0]
    halved = found.concentrations["tacrolimus"][4, 0] / alone.concentrations["tacrolimus"][1, 0]
    assert same == pytest.approx(1.0, abs=1e-12)
    assert 0.5 < halved < 0.75


def test_titration_reaches_the_window():
    rule = Titration(
        "tacrolimus",
        low=0.006,
        high=0.010,
        target=0.008,
        smallest=0.2,
        largest=8.0,
        smallest_step=0.5,
        largest_step=2.0,
    )
    samples = np.arange(5.0, 40.0, 5.0)
    schedule = replace(
        twice_daily(40.0),
        orders=(Order("tacrolimus", titration=0),),
        titrations=(rule,),
        sample_times=samples,
        sample_titration=np.zeros(len(samples), int),
    )
    found = solve(
        toy_system(TACROLIMUS),
        schedule,
        THETA,
        age=np.full(2, 365.0),
        output_times=[40.0],
        options=SolverOptions(chunk=8),
    )
    assert found.troughs[0, 0] < 0.006
    assert 0.006 < found.troughs[-1, 0] < 0.010
    ratio = np.clip(0.008 / found.troughs[0, 0], 0.5, 2.0)
    assert found.multipliers[0, 0] == pytest.approx(ratio)
    assert found.doses[-1, 0] == pytest.approx(found.multipliers[-1, 0])


def test_a_patient_does_not_depend_on_the_batch():
    rng = np.random.default_rng(2)
    count = 11
    theta = {
        **THETA,
        "tacrolimus.lag": LAG * np.exp(0.8 * rng.normal(size=count)),
        "toy_k_out": 1.5 * np.exp(0.5 * rng.normal(size=count)),
    }
    orders = (Order("tacrolimus"), Order("prednisolone"))
    rows = [(t, 0, 1.0) for t in np.arange(0, 4, 0.5)] + [(t + 0.02, 1, 10.0) for t in np.arange(0.0, 4)]
    schedule = schedule_of(orders, rows)
    system = toy_system(TACROLIMUS, PREDNISOLONE)
    times = [0.0, 0.51, 1.02, 4.0]
    together = solve(
        system,
        schedule,
        theta,
        age=np.full(count, 365.0),
        output_times=times,
        options=SolverOptions(chunk=64, threads=1),
    )
    parts = solve(
        system,
        schedule,
        theta,
        age=np.full(count, 365.0),
        output_times=times,
        options=SolverOptions(chunk=8, threads=2),
    )
    np.testing.assert_allclose(parts.states, together.states, rtol=1e-12)
    for k in (0, 7):
        own = {n: np.asarray(v)[k] if np.ndim(v) else v for n, v in theta.items()}
        alone = solve(system, schedule, own, age=AGE, output_times=times, options=SMALL)
        np.testing.assert_allclose(alone.states[:, :, 0], together.states[:, :, k], rtol=1e-12)
        np.testing.assert_allclose(alone.auc["tacrolimus"][:, 0], together.auc["tacrolimus"][:, k], rtol=1e-12)


def test_one_broken_patient_is_named_and_spoils_nobody():
    theta = {**THETA, "toy_k_in": np.array([30.0, np.nan, 25.0])}
    schedule = twice_daily(2.0)
    found = solve(
        toy_system(TACROLIMUS),
        schedule,
        theta,
        age=np.full(3, 365.0),
        output_times=[2.0],
        options=SolverOptions(chunk=8, route="mesh"),
    )
    assert list(found.alive) == [True, False, True]
    assert np.isinf(found.error[1])
    alone = solve(
        toy_system(TACROLIMUS), schedule, {**THETA, "toy_k_in": 25.0}, age=AGE, output_times=[2.0], options=SMALL
    )
    np.testing.assert_allclose(found.states[:, :, 2], alone.states[:, :, 0], rtol=1e-12)


def test_fast_disease_is_refined_or_handed_over():
    theta = {**THETA, "toy_k_out": np.array([1.5, 40.0, 5000.0]), "toy_k_in": np.array([30.0, 800.0, 1e5])}
    found = solve(
        toy_system(TACROLIMUS),
        twice_daily(2.0),
        theta,
        age=np.full(3, 365.0),
        output_times=[1.0, 2.0],
        options=SolverOptions(chunk=8),
    )
    assert list(found.route) == ["mesh", "mesh", "general"]
    assert found.reason[2] == "stiff disease (Kvaerno5)"
    assert (found.error < 1e-5).all()
    exact = solve(
        toy_system(TACROLIMUS),
        twice_daily(2.0),
        theta,
        age=np.full(3, 365.0),
        output_times=[1.0, 2.0],
        options=SolverOptions("tight", route="general", audit="off"),
    )
    assert relative(found.states, exact.states) < 1e-5


def test_nonlinear_elimination_goes_to_the_general_solver():
    drug = replace(PREDNISOLONE, nonlinear=_saturable)
    schedule = schedule_of((Order("prednisolone", "iv"),), [(0.0, 0, 50.0)])
    theta = {**THETA, "prednisolone.clearance": 0.0}
    found = solve(toy_system(drug), schedule, theta, age=AGE, output_times=[0.0, 0.5, 1.0], options=SMALL)
    c = found.concentrations["prednisolone"][1:, 0]
    spent = 20.0 * ((2.5 - c) + 0.4 * np.log(2.5 / c))
    np.testing.assert_allclose(spent, [30.0, 60.0] * np.array([1.0, 1.0]), rtol=1e-6)
    assert found.reason[0].startswith("nonlinear elimination of prednisolone")


def _saturable(theta, covariates, c):
    del theta, covariates
    return 60.0 * c / (0.4 + c)


def test_state_at_day_0_and_refusals():
    system = toy_system(TACROLIMUS)
    found = solve(
        system, twice_daily(1.0), THETA, age=AGE, output_times=[0.0], state={"toy_injury": 0.7}, options=SMALL
    )
    assert found.states[0, 1, 0] == 0.7
    with pytest.raises(SimulationError, match="`toy_harmm` is not a state of this model"):
        solve(system, twice_daily(1.0), THETA, age=AGE, output_times=[0.0], state={"toy_harmm": 0.7})
    with pytest.raises(SimulationError, match="drug `sirolimus` is not in the system"):
        solve(system, schedule_of((Order("sirolimus"),), [(0.0, 0, 1.0)]), THETA, age=AGE, output_times=[1.0])
    with pytest.raises(SimulationError, match="before the start"):
        solve(system, schedule_of((Order("tacrolimus"),), [(-1.0, 0, 1.0)]), THETA, age=AGE, output_times=[1.0])
    with pytest.raises(UsageError, match="accuracy is `best`"):
        SolverOptions("best")


def test_interrupt_keeps_finished_chunks():
    def progress(done, total):
        assert total == 3
        if done == 1:
            raise KeyboardInterrupt

    found = solve(
        toy_system(TACROLIMUS),
        twice_daily(2.0),
        THETA,
        age=np.full(3, 365.0),
        output_times=[2.0],
        options=SolverOptions(chunk=1, threads=1),
        progress=progress,
    )
    assert found.finished.sum() == 1
    assert np.isnan(found.states[:, :, ~found.finished]).all()
