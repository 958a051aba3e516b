"""Legs of a plan: where they end, what is given in them, and that they change nothing."""

import numpy as np
import pytest

from ipex_pd.numerics.schedule import Order, Schedule
from ipex_pd.planning import legs
from ipex_pd.planning.ensemble import ensemble_of
from ipex_pd.planning.legs import ACUTE, WASHOUT, of_drugs, stops
from ipex_pd.planning.outcomes import Marcher
from ipex_pd.records.library import load_patient, load_plan, load_regimen

HORIZON = 900.0
DAY = 90.0
GIVEN = Schedule(
    orders=(Order("bridge"), Order("guard"), Order("bridge", route="iv")),
    times=np.array([0.0, 80.0, 90.0, 200.0, 200.0]),
    order=np.array([0, 0, 1, 1, 2]),
    amount=np.array([1.0, 1.0, 2.0, 2.0, 0.0]),
    duration=np.array([0.0, 0.0, 0.0, 1.0, 0.0]),
    per_day=np.array([1.0, 1.0, 1.0, 0.0, 0.0]),
    steady_state=np.zeros(5),
    transplant_times=np.array([DAY]),
    transplants={"graft": np.ones(1)},
    visits=np.array([0.0, 28.0]),
)


def test_legs_end_when_drugs_are_gone():
    assert stops(GIVEN, 60.0, DAY, HORIZON) == [DAY + WASHOUT, 201.0 + WASHOUT, HORIZON]
    # a leg that would be short is part of the next; so is one that ends near the horizon
    assert stops(GIVEN, DAY + WASHOUT - 10.0, DAY, HORIZON) == [201.0 + WASHOUT, HORIZON]
    assert stops(GIVEN, 60.0, DAY, 260.0) == [DAY + WASHOUT, 260.0]
    # without drugs the months after a transplant are a leg still
    assert stops(Schedule(transplant_times=np.array([DAY])), 60.0, DAY, HORIZON) == [DAY + ACUTE, HORIZON]


def test_what_some_drugs_are_given():
    guard = of_drugs(GIVEN, ["guard"])
    assert guard.orders == (Order("guard"),)
    assert guard.times.tolist() == [90.0, 200.0]
    assert guard.order.tolist() == [0, 0]
    assert guard.duration.tolist() == [0.0, 1.0]
    assert guard.transplant_times.tolist() == [DAY]
    bridge = of_drugs(GIVEN, ["bridge"])
    assert bridge.order.tolist() == [0, 0, 1]
    nothing = of_drugs(GIVEN, [])
    assert nothing.orders == ()
    assert len(nothing.times) == len(nothing.visits) == 0


@pytest.fixture(scope="module")
def marchers():
    """The same members twice, the second never taken out of the system with all drugs."""
    goal = load_plan("bridge_and_transplant").model_copy(update={"horizon": HORIZON})
    members = ensemble_of(load_patient("seidel_2009"), children=4, draws=2, seed=1)
    made = [Marcher(members, goal, load_regimen("transplant_early_reduced"), [30.0, 300.0]) for _ in range(2)]
    return made, np.arange(len(members))


@pytest.mark.slow
def test_legs_change_nothing(marchers, monkeypatch):
    (short, whole), who = marchers
    found = short.outcomes([30.0, 300.0], 0, who)
    monkeypatch.setattr(legs, "stops", lambda schedule, start, day, horizon: [horizon])
    plain = whole.outcomes([30.0, 300.0], 0, who)
    for name in ("value", "survival", "organ_free"):
        np.testing.assert_allclose(getattr(found, name), getattr(plain, name), atol=2e-5)
    for name, table in found.causes.items():
        np.testing.assert_allclose(table, plain.causes[name], atol=2e-5)
    for name, table in found.late.items():
        np.testing.assert_allclose(table, plain.late[name], atol=2e-5)
