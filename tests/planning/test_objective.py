"""Derivatives of every goal and limit against central differences: by doses, starts, stops, infusions, transplant."""

import numpy as np
import pytest

from ipex_pd.errors import UsageError
from ipex_pd.planning.ensemble import ensemble_of
from ipex_pd.planning.goals import GOALS as GOALS_OF
from ipex_pd.planning.objective import PlanObjective
from ipex_pd.planning.statistic import plain_statistic
from ipex_pd.planning.template import combinations, template_of
from ipex_pd.records.library import load_patient
from ipex_pd.records.plan_goals import GOALS, QUALITY
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.simulation.simulation import simulate

WORDS = {"assumed": "a test"}
ORAL = {"route": "oral", "source": WORDS}
STATES = {
    "remission": {"value": 1.0, **WORDS},
    "active": {"value": 0.6, **WORDS},
    "after_transplant": {"value": 0.4, "for": "10 day", **WORDS},
    "diabetes": {"value": 0.8, **WORDS},
}
START = {
    "name": "bridge",
    "description": "two oral drugs, infusions, a transplant",
    "doses": [
        {"drug": "prednisolone", "amount": "1 mg/kg/day", "every": "1 day", "stop": 15.4, **ORAL},
        {"drug": "tacrolimus", "amount": "0.15 mg/kg/day", "every": "12 h", "start": 1.3, **ORAL},
        {
            "drug": "rituximab",
            "amount": "375 mg/m2",
            "route": "iv",
            "infusion": "4 h",
            "every": "7 day",
            "start": 2.6,
            "count": 2,
            "source": WORDS,
        },
    ],
    "transplants": [
        {
            "day": 20.45,
            "conditioning": "reduced",
            "serotherapy": "alemtuzumab",
            "donor": "matched_unrelated",
            "graft": "marrow",
            "source": WORDS,
        }
    ],
}
FREE = [
    {"dose": "prednisolone", "changes_on": [0, 7], "lowest": "0 mg/kg/day", "highest": "2 mg/kg/day"},
    {"dose": "tacrolimus", "lowest": "0.02 mg/kg/day", "highest": "0.4 mg/kg/day"},
    {"stop": "prednisolone", "earliest": 8, "latest": 28},
    {"start": "tacrolimus", "earliest": 0, "latest": 6},
    {"days": "rituximab", "earliest": 0, "latest": 25, "apart": 5},
    {"transplant": "day", "earliest": 10, "latest": 28},
]
DOSES = [
    {"trough": "tacrolimus", "low": "3 ng/mL", "high": "10 ng/mL", "share": 0.9, "days": [7, 14, 21]},
    {"trough": "tacrolimus", "low": "3 ng/mL", "high": "10 ng/mL", "days": [14, 28]},
    {"daily_dose": "prednisolone", "most": "12 mg/day"},
    {"single_dose": "tacrolimus", "most": "5 mg"},
    {"cumulative_dose": "prednisolone", "most": "150 mg"},
    {"endpoint": "infection_risk", "most": 0.02, "share": 0.9},
    {"endpoint": "height_z_change", "least": 0.0, "share": 0.9},
]
ENDPOINTS = [
    {"endpoint": name, **({"least": 0} if goal.better == "higher" else {"most": 1})} for name, goal in GOALS.items()
]


def problem(**changes):
    stated = {
        "name": "everything",
        "description": "every kind of free quantity, goal and limit",
        "patient": "seidel_2009",
        "start": START,
        "horizon": "35 day",
        "ensemble": {"children": 2, "draws": 2, "seed": 1},
        "free": FREE,
        "goals": [
            {"maximise": QUALITY, "states": STATES, **WORDS},
            {"minimise": "steroid_dose", "weight": 0.01, **WORDS},
        ],
        "statistic": {"quantile": 0.3},
        "limits": [*DOSES, *ENDPOINTS],
    }
    return PlanningProblem.model_validate(stated | changes)


@pytest.fixture(scope="module")
def ensemble():
    return ensemble_of(load_patient("seidel_2009"), children=2, draws=2, seed=1).pick([0, 1, 3])


@pytest.fixture(scope="module")
def template():
    asked = problem()
    return template_of(asked, next(iter(combinations(asked))).regimen)


@pytest.fixture(scope="module")
def objective(ensemble, template):
    return PlanObjective(problem(), ensemble, template, direction="reverse")


@pytest.fixture(scope="module")
def evaluated(objective, template):
    return objective.evaluate(template.start)


def differences(function, x, step):
    columns = []
    for place, size in enumerate(step):
        up, down = x.copy(), x.copy()
        up[place] += size
        down[place] -= size
        columns.append((function(up) - function(down)) / (2 * size))
    return np.stack(columns, axis=-1)


def numbers(objective):
    def at(x):
        found = objective.told(x)
        return np.append(found.value, found.limits)

    return at


def test_every_goal_and_limit_has_its_exact_derivatives(objective, template, evaluated):
    x, step = template.start, np.where(np.array(template.units) == "day", 1e-4, 1e-4 * np.maximum(template.start, 0.1))
    expected = differences(numbers(objective), x, step)
    found = np.vstack([evaluated.gradient, evaluated.jacobian])
    for name, row, right in zip(("value", *objective.labels), found, expected, strict=True):
        size = np.abs(row * step).max() / step
        np.testing.assert_array_less(np.abs(row - right), 1e-5 * size + 1e-12, err_msg=name)
        assert np.abs(row).max() > 0, name


@pytest.mark.slow
def test_forward_and_reverse_agree(ensemble, template, evaluated, objective):
    other = PlanObjective(problem(), ensemble, template, direction="forward").evaluate(template.start)
    assert other.value == pytest.approx(evaluated.value, rel=1e-12)
    for mine, theirs in ((other.gradient, evaluated.gradient), (other.jacobian, evaluated.jacobian)):
        scale = np.abs(theirs).max(axis=-1, keepdims=True)
        np.testing.assert_allclose(mine / scale, theirs / scale, rtol=1e-7, atol=1e-10)
    assert objective.direction == "reverse"


def test_members_in_another_order_and_in_other_chunks_give_the_same(ensemble, template, evaluated, objective):
    turned = PlanObjective(problem(), ensemble.pick([2, 0, 1]), template, direction="reverse").told(template.start)
    assert turned.value == pytest.approx(evaluated.value, rel=1e-12)
    np.testing.assert_allclose(turned.limits, evaluated.limits, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(turned.members[[1, 2, 0]], evaluated.members, rtol=1e-12)


def test_goals_are_those_of_a_simulation(objective, ensemble, template, evaluated):
    x = template.start
    regimen = template.regimen(x)
    sim = simulate(ensemble.population, regimen, output_times=objective.courses.frozen(x).outputs)
    course = objective.courses.at(x)
    # the mesh of derivatives errs by 1e-5 of a quantity at most
    for name in ("survival", "ige", "tacrolimus", "weight", "auc_prednisolone", "gut_injury"):
        np.testing.assert_allclose(course[name].T, sim[name], rtol=1e-4, atol=1e-5 * np.abs(sim[name]).max())
    smooth = [name for name, goal in GOALS_OF.items() if not goal.smoothed]
    for name in smooth:
        found = np.asarray(GOALS_OF[name].function(course, 1.0))
        np.testing.assert_allclose(found, GOALS_OF[name].measured(sim, regimen), rtol=1e-3, atol=1e-6, err_msg=name)
    for drug in ("prednisolone", "tacrolimus", "rituximab"):
        given = sim.doses.amount[:, sim.doses.rows(drug)].sum(axis=1)
        np.testing.assert_allclose(np.sum(course.given(drug).doses["mg"], axis=0), given, rtol=1e-4)
    daily = np.asarray(course.given("tacrolimus").daily["mg"])
    assert daily.shape == (35, 3)
    np.testing.assert_allclose(daily.sum(axis=0), np.sum(course.given("tacrolimus").doses["mg"], axis=0), rtol=1e-12)


def test_troughs_are_drawn_before_the_first_dose_that_follows(objective, template):
    course = objective.courses.at(template.start)
    own = course.troughs["tacrolimus"]
    np.testing.assert_allclose(own.days, [7.3, 14.3, 21.3, 28.3], atol=1e-5)
    assert np.all(np.asarray(own.counts) == 1.0)
    later = np.array(template.start)
    later[template.names.index("tacrolimus start")] = 1.45
    np.testing.assert_allclose(objective.courses.at(later).troughs["tacrolimus"].days, own.days + 0.15, atol=1e-5)


def test_a_crossing_of_events_is_followed_and_the_value_stays_continuous(objective, template):
    x, place = np.array(template.start), template.names.index("transplant day")
    before = objective.courses.frozen(x).mesh
    days = (21.0, 20.9999, 21.0001, 20.45)
    told = []
    for day in days:
        x[place] = day
        told.append(objective.told(x))
    assert told[1].value == pytest.approx(told[2].value, rel=1e-5)
    x[place] = days[2]
    assert objective.courses.frozen(x).mesh.order != before.order
    x[place] = 20.45
    assert objective.told(x).value == pytest.approx(told[3].value, rel=1e-12)


def test_a_sharper_width_brings_limits_to_their_exact_numbers(objective, template):
    wide = objective.told(template.start)
    sharp = objective.sharpened(1e-3).told(template.start)
    np.testing.assert_allclose(sharp.limits, sharp.exact, rtol=1e-3, atol=1e-9)
    assert np.abs(wide.limits - wide.exact).max() > np.abs(sharp.limits - sharp.exact).max()


@pytest.mark.slow
def test_a_member_alone_differs_by_the_error_of_the_mesh(ensemble, template, evaluated):
    # beside faster members it may have shorter sub-steps
    alone = PlanObjective(problem(), ensemble.pick([0]), template, direction="reverse").told(template.start)
    assert alone.members[0] == pytest.approx(evaluated.members[0], rel=2e-5)


def test_the_value_is_the_statistic_of_the_members(objective, ensemble, evaluated):
    weights, asked = ensemble.weights, objective.question.statistic
    assert evaluated.value == pytest.approx(plain_statistic(asked, evaluated.members, weights), rel=1e-12)
    goals = evaluated.goals
    np.testing.assert_allclose(evaluated.members, goals[QUALITY] - 0.01 * goals["steroid_dose"], rtol=1e-12)
    assert evaluated.parts["steroid_dose"] == pytest.approx(weights @ goals["steroid_dose"])


def test_what_cannot_be_kept_or_asked_is_refused(ensemble, template):
    short = problem(horizon="20 day", free=FREE[:2], start={**START, "transplants": []}, limits=[])
    short = short.model_copy(update={"goals": problem(goals=[{"maximise": "remission"}]).goals})
    asked = template_of(short, next(iter(combinations(short))).regimen)
    with pytest.raises(UsageError, match=r"`remission` over 20 days\. It has a meaning from 30 days on"):
        PlanObjective(short, ensemble, asked)
    with pytest.raises(UsageError, match="is more than zero"):
        PlanObjective(problem(), ensemble, template, width=0.0)
