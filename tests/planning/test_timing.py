"""Profiles of the day of transplant against simulate(), policies on marched paths, and the optimum by slope."""

import json

import numpy as np
import pytest
from toy_transplant import PLAIN

from ipex_pd.errors import UsageError
from ipex_pd.planning.ensemble import ensemble_of
from ipex_pd.planning.information import readings, value_of_information
from ipex_pd.planning.objective import PlanObjective
from ipex_pd.planning.outcomes import CAUSES
from ipex_pd.planning.paths import NEVER
from ipex_pd.planning.policies import at_organ_failure, at_remission, at_score, compare_policies, never, on_day
from ipex_pd.planning.stopping import Feature, optimal_stopping
from ipex_pd.planning.template import template_of
from ipex_pd.planning.timing import TimingOptions, transplant_timing
from ipex_pd.planning.timing_paths import decision_of, decision_paths
from ipex_pd.planning.timing_slope import best_day_by_slope
from ipex_pd.planning.transplant_plans import first_difference, transplant_plans
from ipex_pd.planning.waiting import value_of_waiting
from ipex_pd.records.library import load_measurements, load_patient, load_regimen
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.simulation import simulate

HORIZON = 300.0
DAYS = (40.0, 120.0)
GOALS = [
    {"maximise": "weight_z_change", "weight": 1, "assumed": "a toy"},
    {"minimise": "death_transplant", "weight": 2, "assumed": "a toy"},
]
"""Waiting makes the transplant safer and costs growth: there is a best day between."""


def goal(**changes):
    data = {
        "name": "toy",
        "description": "A toy.",
        "patient": "seidel_2009",
        "start": PLAIN,
        "horizon": f"{HORIZON:g} day",
        "ensemble": {"children": 3, "draws": 2, "seed": 1},
        "free": [{"transplant": "day", "earliest": 30, "latest": 200, "assumed": "a toy"}],
        "goals": GOALS,
    }
    return from_data(PlanningProblem, data | changes)


@pytest.fixture(scope="module")
def members():
    return ensemble_of(load_patient("seidel_2009"), children=3, draws=2, seed=1)


@pytest.fixture(scope="module")
def profile(members):
    return transplant_timing(members, goal=goal(), days=DAYS)


@pytest.fixture(scope="module")
def plain():
    return from_data(Regimen, PLAIN)


def test_every_day_is_what_simulate_gives(profile, members, plain):
    times = np.append(np.arange(0.0, HORIZON, 10.0), HORIZON)
    for place, day in enumerate((*DAYS, HORIZON + 50)):
        found = simulate(members.population, plain.with_transplant_day(day), output_times=times)
        # a march errs by about a thousandth
        own = profile.outcomes
        np.testing.assert_allclose(own.survival[place], found["survival"][:, -1], atol=2e-3)
        growth = found["weight_z"][:, -1] - found["weight_z"][:, 0]
        told = found.patient_endpoints()
        np.testing.assert_allclose(own.value[place], growth - 2 * told["death_transplant"], atol=1e-2)
        np.testing.assert_allclose(own.organ_free[place], told["organ_free_survival"], atol=2e-3)
        np.testing.assert_allclose(own.causes["death_transplant"][place], told["death_transplant"], atol=2e-3)
        np.testing.assert_allclose(own.late["gvhd"][place], told["gvhd"], atol=5e-3)


def test_the_profile_is_told(profile):
    assert profile.days.tolist() == [*DAYS, NEVER]
    np.testing.assert_allclose(profile.causes[list(CAUSES)].sum(axis=1), 1.0, atol=1e-9)
    assert profile.causes["death_transplant"].iloc[-1] == 0.0
    told = json.loads(profile.to_json())
    assert told["table"][-1]["day"] is None
    assert told["members"] == 6
    assert "never" in repr(profile)
    assert any("about a thousandth" in note for note in profile.notes)
    assert np.isfinite(profile.table["value_se"]).all()


@pytest.mark.slow
def test_days_of_a_plan_are_refined_around_the_best(members):
    found = transplant_timing(members, goal=goal(), options=TimingOptions(coarse=3, rounds=1, never=False))
    assert len(found.days) in (4, 5)
    assert {30.0, 200.0} <= set(found.days.tolist())
    assert any("refined" in note for note in found.notes)


@pytest.mark.slow
def test_an_interrupt_keeps_the_members_that_are_done(members, profile):
    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    found = transplant_timing(members, goal=goal(), days=DAYS, options=TimingOptions(at_once=2), progress=stop)
    assert found.partial
    assert found.outcomes.members.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(found.outcomes.value, profile.outcomes.value[:, :4], rtol=1e-9)
    assert "interrupted" in repr(found)


def test_waiting_for_another_donor_is_compared_on_the_same_members(members, profile, plain):
    sibling = plain.model_copy(
        update={"transplants": (plain.transplants[0].model_copy(update={"donor": "matched_related"}),)}
    )
    later = transplant_timing(members, goal=goal(), regimen=sibling, days=DAYS, options=TimingOptions(never=False))
    found = value_of_waiting({"now": profile, "sibling": later}, {"sibling": 100.0})
    row = found.table.set_index("offer").loc["sibling"]
    assert row["best_day"] == 120.0
    means = later.outcomes.value @ profile.who.weights
    assert row["value"] == pytest.approx(means[1])
    assert row["gain_low"] <= row["gain"] + 1e-9
    with pytest.raises(UsageError, match="`late` has no profile"):
        value_of_waiting({"now": profile}, {"late": 1.0})


def test_what_a_profile_cannot_tell_is_refused(members):
    with pytest.raises(UsageError, match=r"Write `statistic: mean`"):
        transplant_timing(members, goal=goal(statistic="worst"))
    with pytest.raises(UsageError, match="`prednisolone` has 0 transplants"):
        transplant_timing(members, goal=goal(), regimen=load_regimen("prednisolone"))
    with pytest.raises(UsageError, match="a transplant on day 300 of 300"):
        transplant_timing(members, goal=goal(), days=[40.0, 300.0])


def test_doses_that_follow_troughs_are_those_of_the_middle_member():
    child = load_patient("seidel_2009")
    regimen = load_regimen("transplant_early_reduced")
    plans = transplant_plans(ensemble_of(child), regimen, 200.0)
    made = plans.schedule(60.0)
    assert not made.titrations
    found = simulate(child, regimen, days=40.0)
    tacrolimus = [k for k, order in enumerate(made.orders) if order.drug == "tacrolimus"]
    rows = np.flatnonzero((made.order == tacrolimus[0]) & (made.per_day > 0))
    given = made.amount[rows] / made.amount[rows[0]]
    sampled = np.searchsorted(made.times[rows], found.troughs.times[:3] - 1e-6)
    np.testing.assert_allclose(given[sampled], found.troughs.multiplier[0, :3], rtol=0.02)
    # plans part a day before the transplant, when the tacrolimus ends
    assert first_difference(made, plans.schedule(NEVER)) == 59.0


@pytest.mark.slow
def test_policies_stopping_and_information_on_marched_paths(members, plain):
    paths, course = decision_paths(members, goal(), plain, DAYS, seed=4, notice=10.0)
    assert paths.labels == ("day 40", "day 120", "never")
    assert {"oi_score", "ige", "weight", "diabetes_onset", "prednisolone_level"} <= set(paths.observed)
    np.testing.assert_allclose(paths.alive[0], course["survival"][:, np.searchsorted(course.times, 30.0)])
    found = compare_policies(paths, [on_day(40.0), at_remission(), at_organ_failure(), at_score(2), never()])
    assert (found.regret.by_draw >= 0).all()
    best = optimal_stopping(paths, [Feature("oi_score"), Feature("ige", log=True)], folds=3)
    assert best.value.mean <= best.clairvoyant + 1e-12
    item = load_measurements().measurements["ige"]
    worth = value_of_information(decision_of(paths), readings(course, [item], [30.0]), replicates=200)
    assert 0 <= worth.table["evsi"][0] <= worth.evpi + 3 * worth.table["se"][0] + 1e-12


@pytest.mark.slow
def test_the_best_day_by_slope_is_the_best_of_a_daily_grid(members, plain):
    problem = goal()
    objective = PlanObjective(problem, members, template_of(problem, plain))

    def evaluate(day):
        found = objective.evaluate(np.array([day]))
        return found.value, float(found.gradient[0])

    by_slope = best_day_by_slope(evaluate, 30.0, 200.0, scan=4)
    days = np.arange(np.floor(by_slope.day) - 20, by_slope.day + 21)
    daily = transplant_timing(members, goal=problem, days=days, options=TimingOptions(never=False))
    best = days[int(np.argmax(daily.table["value"]))]
    assert not by_slope.at_bound
    assert days[0] < best < days[-1]
    assert abs(by_slope.day - best) <= 3.0
    # and on the objective's own numbers
    own = [objective.value(np.array([day])) for day in days[10:-10]]
    assert abs(by_slope.day - days[10:-10][int(np.argmax(own))]) <= 3.0
