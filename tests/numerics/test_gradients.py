"""Forward and reverse gradients on the frozen mesh against central differences."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_systems import PREDNISOLONE, TACROLIMUS, THETA, schedule_of, toy_system

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.gradients import freeze, gradcheck, solve_traced
from ipex_pd.numerics.schedule import Order
from ipex_pd.numerics.solve import SolverOptions, solve

AGE = np.array([365.0])
OUT = np.array([0.5, 1.0, 1.5])
NAMES = ("toy_k_in", "toy_k_out", "tacrolimus.clearance", "tacrolimus.lag", "start_weight")
ORDERS = (Order("tacrolimus", basis="mg/kg"), Order("prednisolone", "iv"))
ROWS = [(t, 0, 0.1) for t in (0.1, 0.6, 1.1)] + [(0.4, 1, 40.0, 0.3), (1.1, 1, 30.0, 0.2)]
GRAFT = {
    "transplant_times": np.array([0.9]),
    "transplants": {"toy_graft": np.array([0.2]), "toy_surviving": np.array([0.3])},
}
SCHEDULE = schedule_of(ORDERS, ROWS, visits=np.array([1.0]), **GRAFT)
SYSTEM = toy_system(TACROLIMUS, PREDNISOLONE)


@pytest.fixture(scope="module")
def frozen():
    return freeze(SYSTEM, SCHEDULE, THETA, age=AGE, output_times=OUT)


def _number(found):
    x = found.states[:, :, 0]
    return jnp.sum(x[1:, 0]) / 20 + 3 * jnp.sum(x[:, 1]) + 5 * x[2, 3] + x[2, 2] + 4 * jnp.sum(found.auc[-1])


def test_frozen_mesh_gives_the_same_solution(frozen):
    traced = solve_traced(frozen, SCHEDULE, THETA, age=AGE)
    plain = solve(SYSTEM, SCHEDULE, THETA, age=AGE, output_times=OUT, options=SolverOptions(chunk=1, audit="off"))
    np.testing.assert_allclose(traced.states, plain.states, rtol=1e-6)
    np.testing.assert_allclose(traced.concentrations[:, 0], plain.concentrations["tacrolimus"], rtol=1e-10)


def test_parameters_covariates_doses_times_lengths_and_transplant(frozen):
    n, k = len(ROWS), len(NAMES)

    def value(z):
        theta = {**THETA, **{name: THETA[name] * z[i] for i, name in enumerate(NAMES)}}
        times, amounts, (length, day, graft) = z[k : k + n], z[k + n : k + 2 * n], z[k + 2 * n :]
        changed = replace(
            SCHEDULE,
            times=times,
            amount=amounts,
            duration=SCHEDULE.duration * length,
            transplant_times=day[None],
            transplants={"toy_graft": graft[None], "toy_surviving": jnp.array([0.3])},
        )
        return _number(solve_traced(frozen, changed, theta, age=AGE))

    point = np.concatenate([np.ones(k), SCHEDULE.times, SCHEDULE.amount, [1.0, 0.9, 0.2]])
    check = gradcheck(value, point)
    assert check.disagreement < 1e-6
    assert (np.abs(check.reverse[:k]) > 1e-6).all()
    assert (np.abs(check.reverse[[k, k + n, k + n + 3]]) > 1e-6).all()
    assert (np.abs(check.reverse[-3:]) > 1e-6).all()


def test_simultaneous_events_can_part():
    schedule = schedule_of((Order("tacrolimus"), Order("prednisolone")), [(0.5, 0, 1.0), (0.5, 1, 10.0)])
    theta = {**THETA, "tacrolimus.lag": 0.0}
    frozen = freeze(SYSTEM, schedule, theta, age=AGE, output_times=[1.0])

    @jax.jit
    def value(shift):
        changed = replace(schedule, times=jnp.stack([0.5 + shift, jnp.asarray(0.5)]))
        return _number_at_end(solve_traced(frozen, changed, theta, age=AGE))

    slope, h = jax.jvp(value, (0.0,), (1.0,))[1], 1e-4
    backward = (3 * value(0.0) - 4 * value(-h) + value(-2 * h)) / (2 * h)
    np.testing.assert_allclose(slope, backward, rtol=1e-5)
    assert abs(slope) > 1e-4


def _number_at_end(found):
    return found.states[0, 0, 0] / 20 + found.states[0, 1, 0]


def test_nonlinear_drugs_are_refused():
    drug = replace(PREDNISOLONE, nonlinear=lambda theta, covariates, c: c)
    with pytest.raises(SimulationError, match="Gradients are taken on the mesh"):
        freeze(toy_system(drug), schedule_of((), []), THETA, age=AGE, output_times=[1.0])
