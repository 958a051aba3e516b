"""Many members under many schedules: the numbers of `solve`, and of one march when a branch goes on from a trunk."""

from dataclasses import replace

import numpy as np
import pytest
from toy_systems import PREDNISOLONE, TACROLIMUS, THETA, schedule_of, toy_system

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.march_many import Branch, march_many
from ipex_pd.numerics.mesh import Grading
from ipex_pd.numerics.schedule import Order
from ipex_pd.numerics.solve import SolverOptions, solve

SYSTEM = toy_system(TACROLIMUS, PREDNISOLONE)
ORDERS = (Order("tacrolimus", basis="mg/kg"), Order("prednisolone", "iv"))
GRAFT = {"toy_graft": np.array([0.2]), "toy_surviving": np.array([0.3])}
AGE = np.array([365.0, 500.0, 800.0])
PEOPLE = {
    **THETA,
    "tacrolimus.clearance": THETA["tacrolimus.clearance"] * np.array([0.8, 1.0, 1.3]),
    "weight_gain": 0.01,
}
NAMES = ("toy_effector", "toy_injury", "toy_donor", "toy_chimerism", "tacrolimus", "weight")
FINE = Grading(first=0.25, growth=0.2, longest=1.0)
END = 20.0
KNOWN = {"age": AGE, "outputs": NAMES, "grading": FINE}


def given(graft):
    """Tacrolimus twice a day to the day after the graft, one infusion running over day 8, an order that ends."""
    rows = [(t / 2, 0, 0.1, 0.0, 2.0) for t in range(2 * int(graft + 1))] + [(graft + 1.0, 0, 0.0, 0.0, 0.0)]
    rows += [(7.9, 1, 40.0, 0.3, 0.0), (graft + 0.3, 1, 30.0, 0.2, 0.0)]
    return schedule_of(
        ORDERS, rows, visits=np.arange(0.0, END, 7.0), transplant_times=np.array([graft]), transplants=GRAFT
    )


@pytest.fixture(scope="module")
def whole():
    return march_many(SYSTEM, [Branch(given(day), [4.0, END]) for day in (10.4, 13.0)], PEOPLE, **KNOWN)


def test_the_numbers_of_the_mesh(whole):
    for day, found in zip((10.4, 13.0), whole, strict=True):
        times = np.array([4.0, END])
        exact = solve(
            SYSTEM,
            given(day),
            PEOPLE,
            age=AGE,
            output_times=times,
            options=SolverOptions(accuracy="tight", audit="off"),
        )
        for i, name in enumerate(SYSTEM.model.states):
            if name in NAMES:
                np.testing.assert_allclose(found[name], exact.states[:, i], rtol=2e-3, atol=1e-5)
        np.testing.assert_allclose(found["toy_chimerism"], exact.outputs["toy_chimerism"], rtol=2e-3)
        np.testing.assert_allclose(found["tacrolimus"], exact.concentrations["tacrolimus"], rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(found["weight"], exact.weight, rtol=1e-9)


def test_a_branch_goes_on_as_if_it_had_never_stopped(whole):
    bridge = replace(given(13.0), transplant_times=np.array([1000.0]))
    (trunk,) = march_many(SYSTEM, [Branch(bridge, [4.0, END], keep=[8.0, 10.0])], PEOPLE, **KNOWN)
    asked = [
        Branch(given(10.4), [END], start=8.0, trunk=trunk),
        Branch(given(13.0), [12.0, END], start=10.0, trunk=trunk, who=np.array([0, 2])),
    ]
    first, second = march_many(SYSTEM, asked, PEOPLE, **KNOWN)
    assert second.who.tolist() == [0, 2]
    for name in NAMES:
        # the sub-steps around the start are others: the error of a march, not of what is carried
        np.testing.assert_allclose(trunk[name][0], whole[1][name][0], rtol=1e-6)
        np.testing.assert_allclose(first[name][-1], whole[0][name][-1], rtol=1e-4, atol=1e-9)
        np.testing.assert_allclose(second[name][-1], whole[1][name][-1][[0, 2]], rtol=1e-4, atol=1e-9)


def test_a_system_without_drugs_goes_on_once_they_are_gone(whole):
    schedule = given(10.4)
    (course,) = march_many(SYSTEM, [Branch(schedule, [13.0], keep=[13.0, 17.0])], PEOPLE, **KNOWN)
    bare = schedule_of((), [], visits=schedule.visits)
    alone = {**KNOWN, "outputs": NAMES[:3]}
    with pytest.raises(SimulationError, match="still in the body"):
        march_many(toy_system(), [Branch(bare, [END], start=13.0, trunk=course)], PEOPLE, **alone)
    (longer,) = march_many(SYSTEM, [Branch(schedule, [200.0], keep=[150.0])], PEOPLE, **KNOWN)
    (tail,) = march_many(toy_system(), [Branch(bare, [200.0], start=150.0, trunk=longer)], PEOPLE, **alone)
    for name in NAMES[:3]:
        np.testing.assert_allclose(tail[name], longer[name], rtol=1e-6)


def test_a_member_who_is_lost_leaves_the_others_alone(whole):
    people = {**PEOPLE, "toy_k_in": np.array([30.0, np.nan, 30.0])}
    found, _ = march_many(SYSTEM, [Branch(given(day), [4.0, END]) for day in (10.4, 13.0)], people, **KNOWN)
    assert found.alive.tolist() == [True, False, True]
    np.testing.assert_allclose(found["toy_injury"][:, [0, 2]], whole[0]["toy_injury"][:, [0, 2]], rtol=1e-14)
    assert whole[0].alive.all()


def test_what_a_march_cannot_honour_is_refused(whole):
    schedule, trunk = given(10.4), whole[0]
    lags = {**PEOPLE, "tacrolimus.lag": np.array([0.01, 0.02, 0.03])}
    cases = {
        "differ between members": (Branch(replace(schedule, amount=np.ones((len(schedule.order), 3))), [END]), PEOPLE),
        "lags differ": (Branch(schedule, [END]), lags),
        "before its start": (Branch(schedule, [4.0], start=8.0, trunk=trunk), PEOPLE),
        "needs a trunk": (Branch(schedule, [END], start=8.0), PEOPLE),
        "did not keep day 9": (Branch(schedule, [END], start=9.0, trunk=trunk), PEOPLE),
    }
    for message, (branch, theta) in cases.items():
        with pytest.raises(SimulationError, match=message):
            march_many(SYSTEM, [branch], theta, **KNOWN)
    (kept,) = march_many(SYSTEM, [Branch(given(13.0), [END], keep=[8.0])], PEOPLE, **KNOWN)
    other = replace(schedule, amount=2 * schedule.amount)
    with pytest.raises(SimulationError, match="not a row of its trunk"):
        march_many(SYSTEM, [Branch(other, [END], start=8.0, trunk=kept)], PEOPLE, **KNOWN)
    with pytest.raises(SimulationError, match="not a quantity"):
        march_many(SYSTEM, [Branch(schedule, [END])], PEOPLE, **{**KNOWN, "outputs": ["nothing"]})
