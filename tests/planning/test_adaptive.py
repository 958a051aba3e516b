"""Dosing that is planned anew at each sample, on children whose truth is not the planner's model."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ipex_pd.errors import UsageError
from ipex_pd.planning.adaptive import AdaptiveOptions, adaptive_dosing, audit, given_regimen
from ipex_pd.planning.belief import Renewal, believe
from ipex_pd.planning.dosing_arms import Clinic, near_target, planned, time_in_window
from ipex_pd.planning.evidence import log_likelihood
from ipex_pd.planning.trains import SIZES, followed_order, train_of
from ipex_pd.records.library import load_drug, load_measurements, load_patient, load_regimen
from ipex_pd.records.measurements import level_of
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.population import virtual_population
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.study import study

DAYS = 84.0
FASTER = 1.6
"""Clearance of the true children over what the planner was told."""
RIGHT_DOSE = "0.3 mg/kg/day"
"""A dose that keeps the planner's own children in the window: the fixed protocol is right in his model."""


@pytest.fixture(scope="module")
def regimen():
    data = load_regimen("prednisolone_tacrolimus").as_data()
    data["doses"][1]["amount"] = RIGHT_DOSE
    return from_data(Regimen, data)


@pytest.fixture(scope="module")
def wrong(regimen):
    """100 children who clear tacrolimus faster than the planner's model says."""
    child = load_patient("magg_2018")
    group = virtual_population(child, 100, seed=11)
    clearance = load_drug("tacrolimus").parameter_set()["clearance"].value
    return replace(group, typical={"tacrolimus.clearance": np.full(100, FASTER * clearance)})


@pytest.fixture(scope="module")
def tried(wrong, regimen):
    return adaptive_dosing(wrong, regimen, days=DAYS, seed=5)


def test_planning_keeps_wrong_parameter_children_in_the_window_half_as_long_again_as_the_fixed_protocol(tried):
    share = tried.table.set_index("arm")["share"]
    assert share["planned"] >= 1.5 * share["fixed"]
    assert 0.1 < share["fixed"] < 0.5
    assert share["clairvoyant"] >= share["planned"]
    assert tried.table.set_index("arm")["ratio"]["planned"] == pytest.approx(share["planned"] / share["fixed"])
    assert len(tried.population) == 100


def test_the_arms_are_told(tried):
    told = json.loads(tried.to_json())
    assert [row["arm"] for row in told["table"]] == ["fixed", "target_trough", "planned", "clairvoyant"]
    assert tried.effective.shape == (len(tried.train.aim.samples), 100)
    assert "x fixed" in repr(tried)
    inside = tried.table[["share", "below", "above"]].sum(axis=1)
    np.testing.assert_allclose(inside, 1.0)


def test_doses_are_prescribable_and_change_by_no_more_than_the_rule_allows(tried):
    mg = tried.train.given * tried.multiples["planned"]
    first = np.append(0, tried.train.aim.samples)
    step = tried.train.given[0, 0] / 20.0
    np.testing.assert_allclose(np.round(mg[first] / step), mg[first] / step, atol=1e-6)
    change = tried.multiples["planned"][first[1:]] / tried.multiples["planned"][first[:-1]]
    assert change.max() <= tried.train.aim.step * (1 + 1e-9)
    assert change.min() >= (1 - 1e-9) / tried.train.aim.step


@pytest.mark.slow
def test_simulate_confirms_the_levels_once_the_body_is_its_own(tried, regimen):
    """Dosing knows the z-scores of day 0; told those of the visits, it gives the troughs of the disease's course."""
    times = tried.train.times + tried.train.times[1]
    visits = np.arange(0.0, DAYS, 28.0)
    for child in (0, 1):
        alone = tried.population.pick([child])
        doses = given_regimen(tried, "planned", child)
        course = simulate(alone, doses, output_times=np.unique([*times, *visits]))
        at = np.searchsorted(course.times, visits)
        asked = study(alone, regimen, np.array([0.0, DAYS]))
        size = {name: course[name][0, at][:, None] for name in SIZES}
        train = train_of(regimen, followed_order(regimen), asked.theta, asked.age, size, DAYS)
        mg = tried.train.given[:, child] * tried.multiples["planned"][:, child]
        _, troughs = train.run(train.begin(), 0, train.doses, (mg / train.given[:, 0])[:, None])
        known = course["tacrolimus"][0, np.searchsorted(course.times, times - 1e-9)]
        # on the day of a visit `simulate` reads the level in the volume weighed then, superposition in the one before
        between = ~np.isin(np.round(times, 6), visits)
        np.testing.assert_allclose(troughs[between, 0], known[between], rtol=1e-6)
        # without that knowledge a body that grows is missed by what it grew
        assert audit(tried, "planned", [child])[0] > 0.01
    days = given_regimen(tried, "planned", 0).administrations(DAYS)
    assert len([row for row in days if row.drug == "tacrolimus" and row.amount > 0]) == tried.train.doses


def test_levels_by_superposition_follow_troughs_as_simulate_does(regimen):
    child = load_patient("magg_2018")
    asked = study(child, regimen, np.array([0.0, 18.0]))
    size = {name: np.asarray(asked.state[name]) for name in SIZES}
    train = train_of(regimen, followed_order(regimen), asked.theta, asked.age, size, 18.0)
    multiples, troughs = train.followed()
    found = simulate(child, regimen, output_times=train.times[1:])
    # before the first monthly visit the weight is the same: so are the levels
    np.testing.assert_allclose(troughs[:-1, 0], found["tacrolimus"][0], rtol=1e-6)
    np.testing.assert_allclose(multiples[train.aim.samples, 0], found.troughs.multiplier[0], rtol=1e-6)


@pytest.fixture(scope="module")
def clinic(regimen):
    """One child, and a planner whose members differ in clearance alone."""
    child = load_patient("magg_2018")
    group = virtual_population(child, 2, seed=3, varies=["tacrolimus.clearance"]).pick([0])
    planners = replace(
        virtual_population(child, 1500, seed=4, varies=["tacrolimus.clearance"]), patients=group.patients * 1500
    )
    asked = study(group, regimen, np.array([0.0, DAYS]))
    size = {name: np.asarray(asked.state[name]) for name in SIZES}
    order = followed_order(regimen)
    train = train_of(regimen, order, asked.theta, asked.age, size, DAYS)
    own = planners.values(load_drug("tacrolimus").parameter_set()["clearance"], "tacrolimus.clearance")
    wide = {n: np.broadcast_to(np.asarray(v), (1500,)) for n, v in asked.theta.items()}
    ratio = own / load_drug("tacrolimus").parameter_set()["clearance"].value
    wide["tacrolimus.clearance"] = ratio * load_drug("tacrolimus").values()["clearance"]
    sizes = {name: np.broadcast_to(v, (1500,)) for name, v in size.items()}
    members = train_of(regimen, order, wide, np.broadcast_to(asked.age, (1500,)), sizes, DAYS)
    assay = level_of(load_drug("tacrolimus"), load_measurements().assays)
    return Clinic(train, assay, 0.02, 9), members


def test_weights_follow_the_levels_to_the_posterior_on_a_grid(clinic):
    own, members = clinic
    belief = believe(members, np.full(1500, 1 / 1500))
    plan = planned(own, 0, belief, time_in_window, learns=True, early=False, renewal=Renewal(below=0.0), seed=1)
    moved = planned(own, 0, belief, time_in_window, learns=True, early=False, renewal=Renewal(below=0.5), seed=1)
    assert plan.renewed == 0 < moved.renewed
    assert plan.effective[-1] < plan.effective[0]
    # the same levels again, on a fine grid of clearances with the normal prior of the logarithm
    logs = np.log(members.kinetics.values["clearance"][0])
    grid = np.linspace(logs.mean() - 5 * logs.std(), logs.mean() + 5 * logs.std(), 801)
    fine = members.pick(np.zeros(801, int)).moved({"clearance": np.exp(grid - logs[0])})
    state, found, place = fine.begin(), -0.5 * ((grid - logs.mean()) / logs.std()) ** 2, 0
    true, start = own.train.begin(), 0
    for sample, end in enumerate(members.aim.samples.tolist()):
        given = moved.multiples[start:end, None]
        state, troughs = fine.run(state, place, end, given)
        true, levels = own.train.run(true, start, end, given)
        value, cens, limit = own.measured(sample, levels[-1])
        found = found + log_likelihood(own.assay, value[0], troughs[-1], cens[0], limit[0])
        place = start = end
    weights = np.exp(found - found.max())
    exact = weights @ grid / weights.sum()
    spread = np.sqrt(weights @ (grid - exact) ** 2 / weights.sum())
    last = _replayed(own, members, moved, Renewal(below=0.5))
    # every renewal of 1500 members adds about 4 % of the spread
    assert last.weights @ last.logs()[0] == pytest.approx(exact, abs=0.15 * spread)


def _replayed(own, members, treated, renewal):
    from ipex_pd.planning.belief import History

    belief, history = believe(members, np.full(members.members, 1 / members.members)), History(treated.multiples)
    state, start = own.train.begin(), 0
    for sample, end in enumerate(members.aim.samples.tolist()):
        state, levels = own.train.run(state, start, end, treated.multiples[start:end, None])
        value, cens, limit = own.measured(sample, levels[-1])
        history = history.with_sample(end, float(value[0]), int(cens[0]), float(limit[0]))
        belief, start = belief.after(history, own.assay, renewal, 1), end
    return belief


def test_any_objective_is_taken(clinic):
    own, members = clinic
    belief = believe(members, np.full(1500, 1 / 1500))
    found = planned(own, 0, belief, near_target, learns=True, early=True, renewal=Renewal(), seed=1)
    low, high = own.train.aim.low, own.train.aim.high
    assert ((found.troughs[60:] > low) & (found.troughs[60:] < high)).mean() > 0.5


def test_a_posterior_of_the_caller_is_the_planner_and_interrupts_keep_children(regimen):
    child = load_patient("magg_2018")
    group = virtual_population(child, 3, seed=2)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    found = adaptive_dosing(
        group, regimen, days=30.0, seed=1, planner=virtual_population(child, 50, seed=8), progress=stop
    )
    assert found.partial
    assert found.missing == 1
    assert found.multiples["planned"].shape[1] == 2
    assert "interrupted" in repr(found)


def test_what_cannot_be_planned_is_refused(regimen):
    child = load_patient("magg_2018")
    with pytest.raises(UsageError, match="0 orders follow trough levels"):
        adaptive_dosing(child, load_regimen("prednisolone"), days=30.0, seed=1)
    with pytest.raises(UsageError, match="no trough is drawn before day 4"):
        adaptive_dosing(child, regimen, days=4.0, seed=1, options=AdaptiveOptions(members=10))
