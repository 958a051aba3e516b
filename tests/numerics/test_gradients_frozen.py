"""The frozen mesh as data: one program for all days, the same numbers as a mesh held in a closure, kinks."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_systems import PREDNISOLONE, TACROLIMUS, THETA, schedule_of, toy_system

from ipex_pd.errors import SimulationError
from ipex_pd.numerics import integrate, program
from ipex_pd.numerics.explicit import mesh_advance
from ipex_pd.numerics.frozen import BLOCK, sizes_up_to
from ipex_pd.numerics.gradients import freeze, freezer, solve_traced
from ipex_pd.numerics.mesh import build_mesh, event_times
from ipex_pd.numerics.schedule import Order

AGE = np.array([365.0, 500.0])
OUT = np.array([0.5, 1.0, 1.5])
ORDERS = (Order("tacrolimus", basis="mg/kg"), Order("prednisolone", "iv"))
ROWS = [(t, 0, 0.1) for t in (0.1, 0.6, 1.1)] + [(0.4, 1, 40.0, 0.3), (1.1, 1, 30.0, 0.2)]
GRAFT = {"toy_graft": np.array([0.2]), "toy_surviving": np.array([0.3])}
SCHEDULE = schedule_of(ORDERS, ROWS, visits=np.array([1.0]), transplant_times=np.array([0.9]), transplants=GRAFT)
SYSTEM = toy_system(TACROLIMUS, PREDNISOLONE)
LAGS = {"tacrolimus.lag": np.array([0.01, 0.35])}


@pytest.fixture(scope="module")
def freezing():
    return freezer(SYSTEM, THETA, age=AGE, output_times=OUT)


@pytest.fixture(scope="module")
def outcome():
    """A number of (frozen mesh, day of transplant, shift of the second dose, length of infusions), counting traces."""
    traces = []

    def value(frozen, day, shift, length):
        traces.append(1)
        times = jnp.asarray(SCHEDULE.times).at[1].add(shift)
        duration = jnp.asarray(SCHEDULE.duration) * length
        changed = replace(SCHEDULE, times=times, duration=duration, transplant_times=jnp.reshape(day, (1,)))
        found = solve_traced(frozen, changed, THETA, age=AGE)
        return jnp.sum(found.states[-1]) + jnp.sum(found.auc[-1])

    return jax.jit(value), jax.jit(jax.grad(value, argnums=(1, 2, 3))), traces


def at(day, shift=0.0):
    times = SCHEDULE.times + shift * (np.arange(len(ROWS)) == 1)
    return replace(SCHEDULE, times=times, transplant_times=np.array([day]))


def closed_over(schedule, theta):
    """The same solution with the mesh as constants of the program, every member with events of its own."""
    wide = {name: np.broadcast_to(value, AGE.shape) for name, value in theta.items()}
    x, lags = program.beginning(SYSTEM, schedule.orders, wide, AGE, {})
    rows, lags = schedule.rows(2), np.asarray(lags)[schedule.order]
    frozen = freeze(SYSTEM, schedule, theta, age=AGE, output_times=OUT)
    grading = freezer(SYSTEM, theta, age=AGE, output_times=OUT)._ground(True, np.asarray(x)).grading
    mesh = build_mesh(SYSTEM, rows, lags, OUT, grading, separate=True)
    layout, table = frozen.layout, event_times(rows, lags, mesh.shared)
    facts, names = program.lookup(rows), program.event_names(frozen.layout)
    slots = program.slots_of(mesh, rows, facts, lags, table, slice(None), event_names=names)
    members = jnp.asarray(program.orders_of(SYSTEM, rows, layout.orders))
    step = partial(integrate.sub_step, layout, wide, AGE, members, mesh_advance(layout, wide, x))
    _, record = jax.jit(lambda: jax.lax.scan(step, integrate.begin(layout, wide, AGE, x), slots))()
    return frozen, np.asarray(record.x)[mesh.sync[np.searchsorted(mesh.shared, OUT - 1e-9)]]


@pytest.mark.parametrize("more", [{}, LAGS], ids=["a shared order", "an order of their own"])
def test_the_numbers_of_a_mesh_held_in_a_closure(more):
    theta = {**THETA, **more}
    frozen, states = closed_over(SCHEDULE, theta)
    assert frozen.left.shape[1] == (2 if more else 1)
    found = jax.jit(lambda mesh: solve_traced(mesh, SCHEDULE, theta, age=AGE))(frozen)
    np.testing.assert_allclose(found.states, states, rtol=1e-12, atol=1e-14)


def test_one_program_for_all_days_and_exact_gradients_on_both_sides_of_a_crossing(freezing, outcome):
    value, slope, traces = outcome
    crossing, slopes, orders = 0.6 + THETA["tacrolimus.lag"], [], set()
    for day in (crossing - 0.02, crossing + 0.02, 0.9, 1.3):
        frozen = freezing.freeze(at(day))
        orders.add(frozen.order)
        point = (day, 0.0, 1.0)
        found, h = slope(frozen, *point), 1e-4
        for i, exact in enumerate(found):
            up, down = ([v + s * h * (i == k) for k, v in enumerate(point)] for s in (1, -1))
            about = (value(frozen, *up) - value(frozen, *down)) / (2 * h)
            assert float(exact) == pytest.approx(float(about), rel=1e-5, abs=1e-8)
        slopes.append(found)
    assert len(orders) == 4
    assert len(traces) == 2, "one trace of the value, one of the gradient"


def test_the_value_is_continuous_where_events_change_places(freezing, outcome):
    value, _, _ = outcome
    crossing = 0.6 + THETA["tacrolimus.lag"]
    sides = [crossing - 1e-9, crossing + 1e-9]
    frozen = [freezing.freeze(at(day)) for day in sides]
    assert frozen[0].order != frozen[1].order
    values = [float(value(mesh, day, 0.0, 1.0)) for mesh, day in zip(frozen, sides, strict=True)]
    assert values[0] == pytest.approx(values[1], rel=1e-6)


def test_the_order_of_events_not_their_days_makes_a_new_mesh(freezing):
    frozen = freezing.freeze(at(0.9))
    assert freezing.freeze(at(0.91)).order == frozen.order
    assert freezing.renewed(frozen, at(0.91)) is frozen
    assert freezing.renewed(frozen, at(0.9, shift=0.02)) is frozen
    assert freezing.renewed(frozen, at(1.2)).order == freezing.freeze(at(1.2)).order != frozen.order


def test_sub_steps_that_would_be_stretched_are_made_anew():
    schedule = schedule_of((Order("tacrolimus"),), [(0.1, 0, 1.0)], transplant_times=np.array([2.0]), transplants=GRAFT)
    freezing = freezer(SYSTEM, THETA, age=AGE, output_times=[30.0])
    frozen = freezing.freeze(schedule)
    near, far = (replace(schedule, transplant_times=np.array([day])) for day in (2.2, 20.0))
    assert freezing.renewed(frozen, near) is frozen
    assert freezing.renewed(frozen, far) is not frozen
    assert freezing.renewed(frozen, far).order == frozen.order


def test_members_can_be_left_out_of_the_derivatives():
    schedule = schedule_of((Order("tacrolimus"),), [(0.1, 0, 1.0), (0.6, 0, 1.0)])
    known = {"age": AGE, "output_times": OUT}
    whole, less = (freeze(SYSTEM, schedule, THETA, derivatives=d, **known) for d in ("everything", "schedule"))
    assert not whole.layout.dormant.zero
    assert less.layout.dormant.zero or less.layout.dormant.resting

    def value(frozen, amount, clearance):
        theta = {**THETA, "tacrolimus.clearance": clearance}
        return jnp.sum(solve_traced(frozen, replace(schedule, amount=amount), theta, age=AGE).states[-1])

    amount, clearance = jnp.asarray(schedule.amount), THETA["tacrolimus.clearance"]
    one, two = (jax.jit(jax.grad(value, argnums=1))(frozen, amount, clearance) for frozen in (whole, less))
    np.testing.assert_allclose(one, two, rtol=1e-9)
    with pytest.raises(SimulationError, match="derivatives by parameters"):
        jax.grad(value, argnums=2)(less, amount, clearance)


def test_sizes_are_few_and_those_that_do_not_fit_are_refused():
    assert sizes_up_to(1) == (BLOCK,)
    assert all(size % BLOCK == 0 for size in sizes_up_to(20_000))
    assert len(sizes_up_to(20_000)) < 40
    assert freeze(SYSTEM, SCHEDULE, THETA, age=AGE, output_times=OUT, sizes=[BLOCK, 4 * BLOCK]).steps == BLOCK
    with pytest.raises(SimulationError, match="the mesh has"):
        freeze(SYSTEM, SCHEDULE, THETA, age=AGE, output_times=[400.0], sizes=[BLOCK])
    for wrong in ([], [33], [2 * BLOCK, BLOCK]):
        with pytest.raises(SimulationError, match="sizes do not fit"):
            freeze(SYSTEM, SCHEDULE, THETA, age=AGE, output_times=OUT, sizes=wrong)


def test_filling_up_changes_nothing():
    known = {"age": AGE, "output_times": OUT}
    one, two = (freeze(SYSTEM, SCHEDULE, THETA, sizes=[size], **known) for size in (BLOCK, 4 * BLOCK))
    found = [jax.jit(partial(solve_traced, mesh, SCHEDULE, THETA, age=AGE))() for mesh in (one, two)]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13)
