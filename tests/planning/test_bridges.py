"""A bridge for each day of transplant: searched without the day, and valued on the same members."""

import json

import numpy as np
import pytest
from toy_transplant import PLAIN

from ipex_pd.errors import UsageError
from ipex_pd.planning.bridges import bridge_timing
from ipex_pd.planning.ensemble import ensemble_of
from ipex_pd.planning.optimise import PlanOptions
from ipex_pd.planning.timing import TimingOptions, transplant_timing
from ipex_pd.planning.waiting import value_of_waiting
from ipex_pd.records.library import load_patient
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.yamlfile import from_data
from ipex_pd.report.plan_html import render_plan_report

DAY = 60.0
GOAL = {
    "name": "bridge",
    "description": "A steroid until the transplant, and none after it.",
    "patient": "seidel_2009",
    "start": PLAIN,
    "horizon": "150 day",
    "ensemble": {"children": 2, "draws": 1, "seed": 1},
    "out_of_sample": {"children": 2, "draws": 1, "seed": 2},
    "free": [
        {"transplant": "day", "earliest": 30, "latest": 120},
        {"transplant": "conditioning", "among": ["reduced", "full"]},
        {"dose": "prednisolone", "lowest": "0 mg/kg/day", "highest": "2 mg/kg/day"},
    ],
    "goals": [
        {"minimise": "oi_score", "weight": 1, "assumed": "a toy"},
        {"minimise": "steroid_dose", "weight": 0.002, "assumed": "a toy"},
    ],
}


@pytest.fixture(scope="module")
def goal():
    return from_data(PlanningProblem, GOAL, where="bridge")


@pytest.fixture(scope="module")
def members(goal):
    return ensemble_of(load_patient(goal.patient), children=2, draws=1, seed=1)


@pytest.fixture(scope="module")
def bridges(goal, members):
    options = PlanOptions(starts=1, iterations=8, neighbours=4)
    return bridge_timing(members, goal=goal, days=[DAY], never=False, options=options)


def test_a_bridge_of_its_own_is_no_worse_than_the_one_given(bridges):
    row = bridges.table.iloc[0]
    assert bridges.table["day"].tolist() == [DAY]
    assert row["feasible"]
    assert row["gain"] == pytest.approx(row["made"] - row["given"])
    assert row["gain"] > 0
    assert row["gain_low"] <= row["gain"] <= row["gain_high"]


def test_both_bridges_are_valued_as_profiles_are(bridges, goal, members):
    plan = bridges.plans[DAY]
    options = TimingOptions(never=False)
    for regimen, told in ((goal.start, bridges.given), (plan.regimen, bridges.made)):
        again = transplant_timing(members, goal=goal, regimen=regimen, days=[DAY], options=options)
        np.testing.assert_allclose(told.outcomes.value, again.outcomes.value, rtol=1e-12)


def test_the_day_and_the_transplant_stay_as_they_are_asked(bridges):
    (transplant,) = bridges.plans[DAY].regimen.transplants
    assert transplant.day == DAY
    assert transplant.conditioning == "reduced"
    assert bridges.plans[DAY].regimen.orders[0].dose != bridges.given.regimen.orders[0].dose


def test_waiting_is_weighed_with_bridges_of_their_own(bridges):
    waiting = value_of_waiting({"given": bridges.given, "made": bridges.made})
    assert waiting.best == "made"
    assert waiting.table["gain"][1] == pytest.approx(bridges.table["gain"][0])


def test_bridges_are_told_and_written(bridges):
    assert f"transplant on day {DAY:g}: " in repr(bridges)
    kept = json.loads(bridges.to_json())
    assert kept["bridges"][0]["day"] == DAY
    assert "not medical advice" in kept["notice"]
    page = render_plan_report(bridges.plans[DAY], bridges=bridges)
    assert "A bridge for each day" in page
    assert "Bridge of its own" in page


def test_an_interrupt_before_the_first_bridge_is_one(goal, members):
    def stop(*told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bridge_timing(members, goal=goal, days=[DAY], never=False, progress=stop)


def test_what_leaves_nothing_to_search_is_refused(goal, members):
    only = goal.model_copy(update={"free": goal.free[:2]})
    with pytest.raises(UsageError, match="nothing but the day is free in `bridge`"):
        bridge_timing(members, goal=only, days=[DAY])
    with pytest.raises(UsageError, match="no candidate day"):
        bridge_timing(members, goal=goal, days=[])
