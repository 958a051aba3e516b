"""The record of a plan: what it says in words, and that nothing is lost in JSON."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ipex_pd.errors import RecordError
from ipex_pd.planning.conflicts import Conflict, Conflicts
from ipex_pd.planning.plan import (
    ActiveLimit,
    Plan,
    PlanLimit,
    PlanOptimality,
    RoundingCost,
    StartOutcome,
    plan_from_json,
)
from ipex_pd.planning.plan_words import limit_line, limit_lines
from ipex_pd.records.library import load_plan, load_regimen

NAN = math.nan


def outcome(name, value, violation=0.0, distance=0.0):
    return StartOutcome(name, value, violation, True, "optimization terminated successfully", 9, 12, distance)


def row(name, role, outside, gain, **more):
    low_high = {"outside_low": outside - 0.1, "outside_high": outside + 0.1}
    return {
        "name": name,
        "role": role,
        "smooth": NAN,
        "inside": outside + 0.02,
        "inside_low": NAN,
        "inside_high": NAN,
        "outside": outside,
        **low_high,
        "gain": gain,
        "gain_low": gain - 0.05,
        "gain_high": gain + 0.05,
        "share_better": 0.9,
        "feasible": True,
        "violation": 0.0,
        **more,
    }


LIMITS = (
    PlanLimit("taper: never rises", "", "linear", 0.0, -math.inf, 0.0, 0.0, True, 0.0),
    PlanLimit("tacrolimus trough", "fraction", "simulated", 0.91, 0.9, math.inf, 0.01, True, 0.25),
    PlanLimit("infection risk", "fraction", "true", 0.23, -math.inf, 0.2, -0.03, False),
)


@pytest.fixture
def plan():
    problem = load_plan("steroid_sparing_taper")
    start = load_regimen("prednisolone_tacrolimus")
    active = (
        ActiveLimit("tacrolimus trough", "lower", 0.9, "fraction", 0.25),
        ActiveLimit("prednisolone dose day 0-7", "upper", 2.0, "mg/kg/day", 0.0),
    )
    starts = (outcome("the start regimen", 1.0), outcome("random 1", 0.999, distance=0.02), outcome("random 2", 0.8))
    return Plan(
        problem=problem,
        patient="seidel_2009",
        regimen=start.model_copy(update={"name": "steroid_sparing_taper"}),
        relaxed=start,
        start=start,
        x=np.array([1.5, 0.1]),
        names=("a", "b"),
        units=("mg/kg/day", "mg/kg/day"),
        choices={"regimen": "prednisolone_tacrolimus"},
        words=("Prednisolone by mouth: 10 mg a day.",),
        calendar=pd.DataFrame([{"day": 0.0, "until": math.inf, "drug": "prednisolone"}]),
        values=pd.DataFrame([row("start", "start", 0.7, 0.0), row("plan", "plan", 0.9, 0.2)]),
        limits=LIMITS,
        optimality=PlanOptimality(2e-6, 1e-5, True, 0.0, "optimization terminated successfully", active, starts, 1.0),
        rounding=RoundingCost(1.0, 0.99, 17, 0.0, ("a: 1.52 to 1.5 mg/kg/day",)),
        ranking=pd.DataFrame([{"choices": "regimen: prednisolone_tacrolimus", "value": 1.0, "searched": True}]),
        conflicts=None,
        expected=pd.DataFrame([{"endpoint": "survival", "regimen": "plan", "mean": 0.9, "difference": 0.01}]),
        settings={"members": 200},
        notes=("a note",),
    )


def test_a_plan_prints_what_a_reader_needs(plan):
    text = repr(plan).splitlines()
    assert text[0] == "Plan `steroid_sparing_taper` for seidel_2009; regimen: prednisolone_tacrolimus"
    assert "  Prednisolone by mouth: 10 mg a day." in text
    assert "  start  0.7 [0.6, 0.8] (fresh members)" in text
    assert "  plan   0.9 [0.8, 1] (fresh members), +0.2 against the start [0.15, 0.25]" in text
    assert (
        "  [met] tacrolimus trough: 0.91 fraction (at least 0.9; simulated); a unit of it is worth 0.25 of the goal"
        in text
    )
    assert "  [NOT MET] infection risk: 0.23 fraction (at most 0.2; true)" in text
    assert "  the same optimum from 2 of 3 starts within 1%; other ends: 0.8" in text
    assert (
        "  tacrolimus trough is at its lower bound 0.9 fraction; one fraction lower would be worth 0.25 of the goal"
        in text
    )
    assert "  prescribable doses cost 0.01 of the goal (17 neighbours tried)" in text
    assert text[-1].startswith("Research tool, not medical advice")


def test_limits_that_cost_nothing_are_counted_in_one_line(plan):
    assert limit_lines(plan)[-1] == "[met] 1 limit on doses and days that cost nothing"
    costly = replace(LIMITS[0], price=0.5)
    assert len(limit_lines(replace(plan, limits=(costly,)))) == 1
    assert "worth 0.5" in limit_line(costly)


def test_nothing_is_lost_in_json(plan):
    again = plan_from_json(plan.to_json())
    assert again.to_json() == plan.to_json()
    assert again.problem == plan.problem
    assert again.regimen == plan.regimen
    assert again.limits[0].low == -math.inf
    assert again.limits[1].high == math.inf
    assert math.isnan(again.limits[2].price)
    np.testing.assert_array_equal(again.x, plan.x)
    assert again.optimality.starts == plan.optimality.starts
    assert repr(again) == repr(plan)


def test_conflicts_are_told_and_kept(plan):
    limits = (Conflict("trough", 5.0, 0.4, 0.6), Conflict("daily dose", 60.0, 0.0, math.inf))
    conflicts = Conflicts(limits, ("trough", "daily dose"), 0.08, False, np.array([1.0, 2.0]))
    told = replace(plan, conflicts=conflicts)
    assert conflicts.in_words()[0] == (
        "No plan that keeps all limits was found: `trough` is missed by 0.4 where all limits are missed least; moved "
        "alone, it has to yield by 0.6."
    )
    assert "cannot be kept together" in repr(told)
    again = plan_from_json(told.to_json())
    assert again.conflicts.limits == conflicts.limits
    assert again.conflicts.irreducible == conflicts.irreducible


def test_starts_that_end_apart_are_told(plan):
    starts = (outcome("a", 1.0), outcome("b", 0.9999, distance=0.5), outcome("c", 0.1, violation=0.3))
    words = replace(plan.optimality, starts=starts).agreement()
    assert words == (
        "the same optimum from 2 of 3 starts within 1%, by schedules that differ by up to 50% of a quantity's range; "
        "1 found no feasible point"
    )
    assert replace(plan.optimality, starts=starts).spread == pytest.approx(1e-4)


def test_a_plan_is_saved_as_regimen_and_record(plan, tmp_path):
    regimen, record = plan.save(tmp_path / "plan")
    assert load_regimen(str(regimen)).doses == plan.regimen.doses
    assert plan_from_json(record.read_text(encoding="utf-8")).x.tolist() == plan.x.tolist()


def test_other_json_is_refused():
    with pytest.raises(RecordError, match=r"schema `ipex_pd\.other/1`"):
        plan_from_json('{"schema": "ipex_pd.other/1"}')


def test_roles_and_gains(plan):
    assert plan.value("start")["outside"] == 0.7
    assert plan.better
    assert plan.feasible
    missed = replace(LIMITS[1], met=False)
    assert not replace(plan, limits=(missed,)).feasible
    in_sample = plan.values.assign(feasible_inside=[True, False])
    assert not replace(plan, values=in_sample).feasible
    with pytest.raises(KeyError):
        plan.value("relaxed")
