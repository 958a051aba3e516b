"""Plans for five virtual children, on members they were not made for, beside every standard regimen."""

import math

import pytest

from ipex_pd.planning.ensemble import ensemble_of
from ipex_pd.planning.judged import judge
from ipex_pd.planning.optimise import PlanOptions, optimise_regimen
from ipex_pd.records.library import load_patient, load_plan, load_regimen, shipped
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.population import virtual_population

CHILDREN, SEED = 5, 11
WHY = "assumed for this test"
TWO_DOSES = {
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
    "compare_with": ["untreated", "prednisolone", "prednisolone_tacrolimus"],
}


@pytest.fixture(scope="module")
def children():
    """Five boys of one age and size whose random effects are their own."""
    return virtual_population(load_patient("seidel_2009"), CHILDREN, seed=SEED)


def members(children, number, draws, seed):
    """One child in several truths: population values drawn from their uncertainty under his own random effects."""
    return ensemble_of(children.pick([number]), draws=draws, seed=seed)


def outdone(plan):
    """Standard regimens, the start among them, that keep the limits as well as the plan does on fresh members."""
    rows = plan.values.set_index("name")
    ours = rows.loc["plan"]
    assert math.isfinite(ours["outside"])
    others = rows[rows["role"].isin(["start", "standard"])]
    alike = others[others["violation"] <= ours["violation"] + 1e-9]
    assert (alike["outside"] < ours["outside"]).all(), alike["outside"].to_dict()
    return set(alike.index)


def agrees(plan, starts):
    """Every feasible end is within 1 % of the best, or is named as another optimum."""
    ends = plan.optimality.starts
    words = plan.optimality.agreement()
    assert len(ends) == starts
    if not words.startswith(f"the same optimum from {starts} of {starts} starts within 1%"):
        assert "other ends: " in words or "found no feasible point" in words


def test_a_plan_of_two_doses_beats_the_standards_on_members_it_was_not_made_for(children):
    goal = from_data(PlanningProblem, TWO_DOSES, where="two_doses")
    fresh = members(children, 0, 2, seed=2)
    options = PlanOptions(starts=2, iterations=30, neighbours=12)
    plan = optimise_regimen(members(children, 0, 2, seed=1), goal=goal, fresh=fresh, options=options)
    assert plan.feasible
    assert "start" in outdone(plan)
    agrees(plan, 2)
    assert plan.optimality.agreement().startswith("the same optimum from 2 of 2 starts within 1%")
    # the table says what simulating the fresh members anew says
    again = judge(goal, fresh, plan.regimen, "again")
    assert plan.value()["outside"] == pytest.approx(again.value, rel=1e-9)


STANDARDS = [
    "untreated",
    "methylprednisolone_pulses",
    "prednisolone",
    "prednisolone_ciclosporin",
    "prednisolone_tacrolimus",
    "rituximab_course",
    "sirolimus",
    "sirolimus_prednisolone",
]
"""Every shipped regimen that is nobody's own and holds no transplant."""


@pytest.fixture(scope="module")
def tapers(children):
    """The shipped taper, for each child in four truths, from five starts; judged in four others.

    Of the three second drugs ciclosporin is left out. Sirolimus does best where it reaches its window, which it does
    not in children who clear it fast: there the plan takes tacrolimus, and sirolimus alone does not keep the limits.
    """
    asked = {"alternatives": ("sirolimus_prednisolone",), "compare_with": tuple(STANDARDS)}
    goal = load_plan("steroid_sparing_taper").model_copy(update=asked)
    options = PlanOptions(starts=5, iterations=40, neighbours=20)
    return [
        optimise_regimen(
            members(children, number, 4, seed=1), goal=goal, fresh=members(children, number, 4, seed=2), options=options
        )
        for number in range(CHILDREN)
    ]


def test_the_standards_are_all_that_are_shipped():
    shelf = {name for name in shipped("regimens") if not load_regimen(name).transplants}
    assert shelf - {"seidel_2009"} == set(STANDARDS)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(CHILDREN))
def test_the_taper_beats_every_standard_regimen_out_of_sample(tapers, number):
    plan = tapers[number]
    assert plan.feasible
    assert outdone(plan)
    assert set(STANDARDS) - {"prednisolone_tacrolimus"} <= set(plan.values["name"])


@pytest.mark.slow
@pytest.mark.parametrize("number", range(CHILDREN))
def test_the_taper_can_be_prescribed(tapers, number):
    for row in tapers[number].calendar.to_dict("records"):
        step = {"tacrolimus": 0.1, "sirolimus": 0.1, "prednisolone": 0.5}[row["drug"]]
        assert abs(row["mg_a_dose"] / step - round(row["mg_a_dose"] / step)) < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("number", range(CHILDREN))
def test_the_taper_is_the_same_from_five_starts_or_says_which_others_there_are(tapers, number):
    agrees(tapers[number], 5)
