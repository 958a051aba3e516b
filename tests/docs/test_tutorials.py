"""The tutorials run from top to bottom, and what they say is what they computed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tutorials import bridge_and_transplant, steroid_sparing_taper, tacrolimus_trough

from ipex_pd.planning.adaptive import ARMS, adaptive_dosing
from ipex_pd.planning.plan import plan_from_json
from ipex_pd.records.library import load_patient, load_regimen
from ipex_pd.simulation.simulation import simulate

SCRIPTS = (steroid_sparing_taper, tacrolimus_trough, bridge_and_transplant)
FEW = ("--members", "4", "--starts", "1", "--iterations", "2")


def heads(text):
    return re.findall(r"^#* ?## (\d\. .*)$", text, flags=re.MULTILINE)


def number(pattern, text):
    found = re.search(pattern, text)
    assert found, pattern
    return float(found.group(1))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_sections_are_numbered_and_printed_as_they_are_written(script):
    text = Path(script.__file__).read_text(encoding="utf-8")
    written = re.findall(r"^# ## (.*)$", text, flags=re.MULTILINE)
    printed = re.findall(r'print\("(?:\\n)?## (.*?)"\)', text)
    assert written == printed
    assert [int(head[0]) for head in written] == list(range(1, len(written) + 1))
    assert "not medical advice" in script.__doc__


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_help_names_the_sizes(script, capsys):
    with pytest.raises(SystemExit) as end:
        script.main(["--help"])
    assert end.value.code == 0
    assert "--members" in capsys.readouterr().out


@pytest.fixture(scope="module")
def trough_goal():
    return tacrolimus_trough.question(4)


@pytest.fixture(scope="module")
def typed(trough_goal):
    return tacrolimus_trough.of_both_types(load_patient(trough_goal.patient), 2, seed=1)


def test_members_share_children_and_draws(trough_goal):
    asked = trough_goal.ensemble
    assert asked.children * asked.draws == 4
    assert trough_goal.fresh.seed != asked.seed


def test_types_differ_by_type_alone(typed):
    first, second = typed.population.patients[0], typed.population.patients[2]
    assert first.cyp3a5.value == "nonexpresser"
    assert second.model_copy(update={"cyp3a5": first.cyp3a5}) == first
    assert typed.weights.sum() == pytest.approx(1.0)
    assert typed.weights[typed.draw == 1].sum() == pytest.approx(0.15)


def test_fixed_regimens_differ_from_day_14_on(trough_goal):
    plain, double = (tacrolimus_trough.fixed(trough_goal, multiple) for multiple in (1.0, 2.0))
    for one, other in zip(plain.administrations(28.0), double.administrations(28.0), strict=True):
        later = one.drug == "tacrolimus" and one.time >= 14.0
        assert other.amount == pytest.approx(one.amount * (2.0 if later else 1.0))


@pytest.mark.slow
def test_what_is_printed_of_types_and_a_sample_is_what_was_found(trough_goal, typed, capsys):
    course = simulate(typed.population, tacrolimus_trough.fixed(trough_goal, 1.0), output_times=[0.0, 14.0, 84.0])
    capsys.readouterr()
    tacrolimus_trough.stood(trough_goal, 2)
    told = capsys.readouterr().out
    for place, name in enumerate(tacrolimus_trough.TYPES):
        median = float(np.median(course["tacrolimus"][typed.draw == place, 1]))
        assert number(rf" {name}: trough of day 14 ([\d.]+)", told) == pytest.approx(median, abs=0.06)
    found = tacrolimus_trough.informed(trough_goal, typed)
    told = capsys.readouterr().out
    assert found.best_now[0] in told
    assert number(r"adds ([\d.]+)%", told) == pytest.approx(100 * found.table["evsi"][0], abs=0.06)
    assert number(r"genotype would add ([\d.]+)%", told) == pytest.approx(100 * found.evppi, abs=0.06)
    assert ("worth more than the genotype" in told) == (found.table["evsi"][0] > found.evppi)
    assert found.evppi <= found.evpi + 1e-12


@pytest.mark.slow
def test_an_untyped_child_is_the_same_child(trough_goal, typed):
    regimen = load_regimen(trough_goal.start)
    same = [
        adaptive_dosing(group.population, regimen, days=28.0, seed=1, planner=group)
        for group in (typed, tacrolimus_trough.untyped(typed))
    ]
    for arm in ("fixed", "target_trough", "clairvoyant"):
        np.testing.assert_allclose(same[0].troughs[arm], same[1].troughs[arm], rtol=1e-9)


@pytest.mark.slow
def test_tutorial_of_the_trough(tmp_path, capsys):
    found = tacrolimus_trough.main([*FEW, "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert len(heads(told)) == 7
    assert all(file.is_file() for file in found.files)
    kept = plan_from_json((tmp_path / "plan.json").read_text())
    assert kept.regimen == found.plan.regimen
    for name, share in found.by_type.items():
        assert number(rf" {name}: (\d+)% inside", told) == pytest.approx(100 * share, abs=0.51)
    worse = min(found.by_type, key=found.by_type.get)
    assert f"The {worse} is served worse" in told
    share = found.adaptive.table.set_index("arm")["share"]
    for arm in ARMS:
        assert number(rf" {arm}: (\d+)% \(", told) == pytest.approx(100 * share[arm], abs=0.51)


@pytest.mark.slow
def test_tutorial_of_the_taper(tmp_path, capsys):
    found = steroid_sparing_taper.main([*FEW, "--points", "2", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert len(heads(told)) == 7
    assert all(file.is_file() for file in found.files)
    plan = found.plan
    assert number(r"is worth ([-\d.]+) over 4 members", told) == pytest.approx(found.start.value, rel=1e-3)
    assert f"the plan is {'better' if plan.better else 'not better'} than the start" in told
    assert number(r"than the start: ([-+][\d.e-]+)", told) == pytest.approx(plan.value()["gain"], rel=1e-3)
    assert f"an optimum {'holds' if plan.optimality.converged else 'does not hold'}" in told
    kept = sum(limit.met for limit in plan.limits)
    assert f"Limits: {kept} of {len(plan.limits)} kept" in told
    row = found.compared.differences.set_index("endpoint").loc["oi_score"]
    assert f"{row['label']} [{row['unit']}], plan less start: {row['mean']:+.3g}" in told
    assert len(found.front.table) == 2
    assert load_regimen(tmp_path / "regimen.yaml") == plan.regimen


@pytest.mark.slow
def test_tutorial_of_the_bridge(tmp_path, capsys):
    sizes = ("--members", "4", "--years", "1", "--days", "60", "210", "--folds", "2")
    found = bridge_and_transplant.main([*sizes, "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert len(heads(told)) == 7
    assert all(file.is_file() for file in found.files)
    profile = found.profile
    assert profile.days.tolist() == [60.0, 210.0, np.inf]
    value = profile.table["value"].to_numpy()
    assert number(r"best day is worth ([-+][\d.e-]+)", told) == pytest.approx(value[:2].max() - value[2], rel=1e-2)
    assert ("no transplant does best" in told) == np.isinf(found.waiting.table["best_day"][1])
    parts = profile.causes.drop(columns=["day", *(c for c in profile.causes if c.startswith("late_"))])
    np.testing.assert_allclose(parts.sum(axis=1), 1.0, atol=1e-6)
    named = set(found.policies.table["policy"])
    assert {"day 60", "at remission", "at first organ failure", "oi_score >= 2", "never"} <= named
    assert all(f"  {name}: " in told for name in named)
    assert found.stopping.clairvoyant >= max(found.policies.table["value"]) - 1e-9
    assert json.loads((tmp_path / "timing.json").read_text())["members"] == 4
