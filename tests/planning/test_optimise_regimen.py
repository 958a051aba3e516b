"""Plans through the whole engine: two doses for two virtual children over four weeks."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize as scipy_minimize

from ipex_pd.planning.judged import judge
from ipex_pd.planning.objective import PlanObjective
from ipex_pd.planning.optimise import PlanOptions, optimise_regimen, question_for, template_for
from ipex_pd.planning.pareto import pareto_front
from ipex_pd.planning.plan import plan_from_json
from ipex_pd.planning.sensitivity import _Fixed, plan_sensitivity, value_slopes
from ipex_pd.planning.template import combinations
from ipex_pd.records.library import load_patient
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.simulation import simulate

pytestmark = pytest.mark.slow

WHY = "assumed for this test"
PROBLEM = {
    "name": "two_doses",
    "description": "Two doses over four weeks.",
    "patient": "seidel_2009",
    "start": "prednisolone_tacrolimus",
    "horizon": "4 week",
    "ensemble": {"children": 2, "draws": 1, "seed": 1},
    "free": [
        {"dose": "tacrolimus", "lowest": "0.02 mg/kg/day", "highest": "0.4 mg/kg/day"},
        {"dose": "prednisolone", "lowest": "0 mg/kg/day", "highest": "2 mg/kg/day"},
    ],
    "goals": [
        {"minimise": "oi_score", "weight": 1, "assumed": WHY},
        {"minimise": "steroid_dose", "weight": 0.01, "assumed": WHY},
        {"minimise": "calcineurin_burden", "weight": 0.02, "assumed": WHY},
    ],
    "limits": [
        {"endpoint": "infection_risk", "most": "60 %"},
        {"step": "tacrolimus", "of": "0.1 mg"},
        {"strengths": "prednisolone", "of": ["1 mg", "5 mg"]},
    ],
    "compare_with": ["prednisolone"],
}
OPTIONS = PlanOptions(starts=3, iterations=30, neighbours=20, gradient=1e-4)


def problem(**changes):
    return from_data(PlanningProblem, {**PROBLEM, **changes}, where="two_doses")


@pytest.fixture(scope="module")
def child():
    return load_patient("seidel_2009")


@pytest.fixture(scope="module")
def objective(child):
    question = question_for(child, problem(), None, None)
    template = template_for(question.problem, combinations(question.problem)[0].regimen, question.size, child)
    return PlanObjective(question.problem, question.ensemble, template)


@pytest.fixture(scope="module")
def told():
    return []


@pytest.fixture(scope="module")
def plan(child, told):
    return optimise_regimen(child, goal=problem(), options=OPTIONS, progress=lambda *what: told.append(what))


def test_the_optimum_is_that_of_scipy_and_of_brute_force(plan, objective):
    template = objective.template
    found = plan.optimality.starts[0].value
    axes = [
        np.linspace(low, high, count) for low, high, count in zip(template.lower, template.upper, (41, 5), strict=True)
    ]
    grid = np.array([(a, b) for a in axes[0] for b in axes[1]])
    values = [objective.value(x) for x in grid]
    assert template.names == ("prednisolone dose day 0 on", "tacrolimus dose day 0 on")
    assert found >= max(values) - 1e-7
    assert found <= max(values) + 2e-3
    best = grid[int(np.argmax(values))]

    def cost(x):
        at = objective.evaluate(x)
        return -at.value, -at.gradient

    box = list(zip(template.lower, template.upper, strict=True))
    direct = scipy_minimize(cost, best, jac=True, method="L-BFGS-B", bounds=box)
    assert found == pytest.approx(-direct.fun, rel=1e-6)
    assert plan.optimality.converged
    assert "tacrolimus dose day 0 on" in {a.label for a in plan.optimality.active}


def test_the_same_optimum_from_every_start(plan):
    values = [s.value for s in plan.optimality.starts]
    assert len(values) == 3
    assert max(values) - min(values) <= 0.01 * abs(max(values))
    assert plan.optimality.agreement().startswith("the same optimum from 3 of 3 starts within 1%")


def test_the_plan_can_be_prescribed_and_is_judged_in_truth(plan, child):
    for row in plan.calendar.to_dict("records"):
        step = {"tacrolimus": 0.1, "prednisolone": 1.0}[row["drug"]]
        assert abs(row["mg_a_dose"] / step - round(row["mg_a_dose"] / step)) < 1e-6
    rows = plan.values.set_index("role")
    assert rows.loc["plan", "inside"] > rows.loc["start", "inside"]
    assert rows.loc["plan", "gain"] > 0
    assert rows.loc["plan", "inside"] == pytest.approx(plan.rounding.after, abs=2e-3)
    assert plan.feasible
    assert {limit.how for limit in plan.limits} == {"simulated", "true"}
    judged = plan.judgements["plan"]
    members = question_for(child, problem(), None, None).ensemble
    again = simulate(members.population, plan.regimen, days=28)
    np.testing.assert_allclose(judged.goals["oi_score"], again["oi_score"][:, -1], rtol=1e-6)


def test_what_is_printed_and_kept_says_the_same(plan):
    text = repr(plan)
    assert text.startswith("Plan `two_doses` for seidel_2009")
    assert "Prednisolone by mouth" in text
    assert "the same optimum from 3 of 3 starts" in text
    assert text.endswith("a plan of a model of published facts and stated assumptions.")
    again = plan_from_json(plan.to_json())
    assert again.to_json() == plan.to_json()
    assert repr(again) == text


def test_progress_names_search_goal_and_violation(told):
    names = {name for name, *_ in told}
    assert {"the plan, the start regimen", "the plan, middle of the bounds", "the plan, rounding"} <= names
    assert all(len(what) == 4 for what in told)


def test_an_interrupt_plans_with_the_best_so_far_and_goes_on_later(child):
    kept = []

    def stop(name, iteration, value, violation):
        if name == "the plan, middle of the bounds" and iteration == 1:
            raise KeyboardInterrupt

    first = optimise_regimen(child, goal=problem(), options=OPTIONS, progress=stop, checkpoint=kept.append)
    assert first.partial
    assert "(interrupted: the best so far)" in repr(first)
    assert [done.start for done in kept[-1].searches["the plan"]] == ["the start regimen"]
    names = []
    second = optimise_regimen(
        child, goal=problem(), options=OPTIONS, progress=lambda name, *_: names.append(name), resume=kept[-1]
    )
    assert not second.partial
    assert second.optimality.starts[0].iterations <= 3
    assert "the plan, middle of the bounds" in names


SCOUTED = replace(OPTIONS, starts=2, scouts=2, neighbours=6)
FIVE = {"children": 5, "draws": 1, "seed": 1}


@pytest.fixture(scope="module")
def scouted(child):
    return optimise_regimen(child, goal=problem(ensemble=FIVE), options=SCOUTED)


def test_scouts_lead_to_the_optimum_of_all_members(scouted, child):
    everyone = optimise_regimen(child, goal=problem(ensemble=FIVE), options=replace(SCOUTED, scouts=5, starts=1))
    assert scouted.optimality.converged
    assert (scouted.optimality.members, scouted.optimality.scouts) == (5, 2)
    assert (everyone.optimality.members, everyone.optimality.scouts) == (5, 0)
    assert scouted.rounding.before == pytest.approx(everyone.rounding.before, rel=1e-4)
    assert "compared on 2 of 5 members" in repr(scouted)
    assert scouted.ranking["members"].tolist() == [5]
    # scouts are other members: what they have of the goal is another number
    assert abs(scouted.optimality.starts[0].value - scouted.rounding.before) > 1e-6


def test_an_interrupt_among_scouts_is_judged_on_all_members(scouted, child):
    def stop(name, iteration, value, violation):
        if name == "the plan, middle of the bounds" and iteration == 1:
            raise KeyboardInterrupt

    found = optimise_regimen(child, goal=problem(ensemble=FIVE), options=SCOUTED, progress=stop)
    assert found.partial
    assert found.optimality.members == 5
    assert not found.optimality.converged
    assert any("interrupted before the search on all members" in note for note in found.notes)
    assert len(found.judgements["plan"].members) == 5
    assert found.value()["inside"] == pytest.approx(found.rounding.after, abs=2e-3)


def test_an_interrupt_on_all_members_keeps_what_scouts_found_and_goes_on_later(scouted, child):
    kept, names = [], []

    def stop(name, iteration, value, violation):
        if name.endswith("all members") and iteration == 0:
            raise KeyboardInterrupt

    goal = problem(ensemble=FIVE)
    found = optimise_regimen(child, goal=goal, options=SCOUTED, progress=stop, checkpoint=kept.append)
    assert found.partial
    assert len(kept[-1].searches["the plan"]) == 2
    again = optimise_regimen(
        child, goal=goal, options=SCOUTED, progress=lambda name, *_: names.append(name), resume=kept[-1]
    )
    assert not again.partial
    assert "the plan, the start regimen, all members" in names or "the plan, middle of the bounds, all members" in names
    assert again.rounding.before == pytest.approx(scouted.rounding.before, rel=1e-4)


def test_a_limit_that_no_plan_keeps_is_named(child):
    impossible = [*PROBLEM["limits"], {"endpoint": "oi_score", "most": 0.001}]
    found = optimise_regimen(child, goal=problem(limits=impossible), options=replace(OPTIONS, starts=1))
    assert found.conflicts is not None
    (missed,) = [c for c in found.conflicts.limits if "score" in c.label]
    assert missed.excess > 0
    assert missed.alone == pytest.approx(missed.excess, rel=0.05)
    assert not found.feasible
    assert "Conflicts" in repr(found)


def test_enumerated_choices_are_ranked(child):
    choices = [*PROBLEM["free"], {"interval": "tacrolimus", "among": ["12 h", "24 h"]}]
    found = optimise_regimen(
        child, goal=problem(free=choices), options=replace(OPTIONS, starts=1, screen=1, neighbours=4)
    )
    assert len(found.ranking) == 2
    assert found.ranking["searched"].sum() == 1
    assert any("2 combinations of choices" in note for note in found.notes)
    assert set(found.choices) == {"interval of tacrolimus"}


def test_the_front_trades_one_goal_for_the_other(child):
    front = pareto_front(
        child,
        goal=problem(),
        first="oi_score",
        second="calcineurin_burden",
        points=4,
        options=replace(OPTIONS, starts=1),
    )
    kept = front.table[~front.table["dominated"]]
    assert len(kept) >= 3
    assert (np.diff(kept["first"]) >= -1e-6).all()
    assert (np.diff(kept["second"]) <= 1e-6).all()
    np.testing.assert_allclose(kept["first"], kept["first_judged"], atol=5e-3)
    assert 0 <= front.knee < 4


def test_slopes_of_the_value_by_parameters_are_those_of_differences(plan, child):
    ensemble = question_for(child, problem(), None, None).ensemble
    slopes = value_slopes(plan.problem, ensemble, plan.regimen)
    objective = PlanObjective(plan.problem, ensemble, _Fixed(plan.problem, ensemble, plan.regimen))
    members = objective.courses.members
    steepest = sorted(slopes, key=lambda name: -abs(slopes[name]))[:3]
    for name in [*steepest, "tacrolimus.clearance"]:
        values = []
        for factor in (1 + 1e-4, 1 - 1e-4):
            objective.courses.members = members._replace(theta={**members.theta, name: members.theta[name] * factor})
            values.append(objective.value(np.zeros(0)))
        assert slopes[name] == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-4, abs=1e-8)


def test_what_would_change_the_decision(plan, child):
    ensemble = question_for(child, problem(), None, None).ensemble
    found = plan_sensitivity(plan, ensemble, tried=1, factors=(0.5,), horizons=(0.75,))
    ours, theirs = (
        judge(plan.problem, ensemble, regimen, "x")
        for regimen in (plan.regimen, plan.judgements["prednisolone, fresh"].regimen)
    )
    rows = found.weights.set_index("goal")
    assert rows["contribution"].sum() == pytest.approx(found.advantage, rel=1e-6)
    if found.alternative == "prednisolone":
        assert found.advantage == pytest.approx(ours.value - theirs.value, rel=1e-9)
    assert (found.slopes["slope"].abs().diff().dropna() <= 1e-15).all()
    assert len(found.horizons) == 1
    assert found.in_words()[0].startswith("the plan is worth ")
    assert found.to_json()
