"""optimise on the command line and the page of a plan: what is written, what goes on, what is refused."""

import json
import re
from dataclasses import replace

import pytest

import ipex_pd as ipx
from ipex_pd.cli.main import run
from ipex_pd.planning.plan import PlanLimit, plan_from_json
from ipex_pd.report.plan_html import render_plan_report

PLAN = """
name: short_taper
description: Four weeks of prednisolone, less of it.
patient: seidel_2009
start: prednisolone
horizon: 4 week
ensemble: {children: 2, draws: 1, seed: 1}
out_of_sample: {children: 2, draws: 1, seed: 2}
free:
  - {dose: prednisolone, changes_on: [0, 14], lowest: 0.5 mg/kg/day, highest: 2 mg/kg/day, assumed: a test}
goals:
  - {maximise: survival, weight: 1, assumed: a test}
  - {minimise: steroid_dose, weight: 0.01, assumed: a test}
limits:
  - {taper: prednisolone, assumed: a test}
  - {strengths: prednisolone, of: [1 mg, 5 mg], assumed: a test}
compare_with: [untreated]
"""
FEW = ("--starts", "1", "--iterations", "6")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plans")
    (folder / "short.yaml").write_text(PLAN)
    return folder


@pytest.fixture(scope="module")
def finished(place):
    assert run(["optimise", str(place / "short.yaml"), *FEW, "--out", str(place / "run")]) == 0
    return place / "run"


def test_run_folder_holds_regimen_plan_and_report(finished):
    names = {path.name for path in finished.iterdir()}
    assert {"regimen.yaml", "plan.json", "report.html", "calendar.csv", "values.csv", "env.json", "inputs"} <= names
    assert json.loads((finished / "env.json").read_text())["state"] == "finished"


def test_the_regimen_can_be_simulated_and_gives_less_steroid(finished):
    child = ipx.load_patient("seidel_2009")
    planned = ipx.simulate(child, ipx.load_regimen(finished / "regimen.yaml"), days=28)
    usual = ipx.simulate(child, ipx.load_regimen("prednisolone"), days=28)
    assert planned["steroid_burden"][0, -1] < usual["steroid_burden"][0, -1]


def test_the_page_has_its_sections_and_needs_nothing_from_outside(finished):
    page = (finished / "report.html").read_text()
    heads = re.findall(r"<h2>(.*?)</h2>", page)
    assert heads[:5] == ["In two minutes", "What was asked", "The plan", "What the plan is worth", "Exposure"]
    assert "How sure the optimum is" in heads
    assert "What would change the decision" in heads
    assert heads[-1] == "This run"
    assert page.count("Research tool, not medical advice.") == 2
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)([^"']+)""", page) == []
    assert "<script" not in page


def test_a_plan_read_back_has_a_page_without_figures_of_courses(finished):
    plan = plan_from_json((finished / "plan.json").read_text())
    page = render_plan_report(plan)
    assert "What the plan is worth" in page
    assert "Organs and growth" not in page


def test_a_limit_that_fresh_children_miss_is_told_at_the_top(finished):
    found = plan_from_json((finished / "plan.json").read_text())
    plan = replace(found, expected=found.expected.assign(difference_high=1.0))  # costs no lives
    assert "on children it was not made for, within all limits" in render_plan_report(plan)
    missed = PlanLimit("trough", "fraction", "true", 0.4, 0.5, 1.0, -0.1, False)
    page = render_plan_report(replace(plan, limits=(*plan.limits, missed)))
    assert "Better, but a limit is missed" in page
    assert "on children it was not made for, within all limits" not in page


def test_calendar_of_the_page_is_the_calendar_of_the_plan(finished):
    plan = plan_from_json((finished / "plan.json").read_text())
    page = (finished / "report.html").read_text()
    first = plan.calendar[plan.calendar["drug"] == "prednisolone"].iloc[0]
    row = re.search(r'<th scope="row">weeks? 1(?:–\d+)?</th>.*?</tr>', page, flags=re.DOTALL).group(0)
    assert re.findall(r"<td>(.*?)</td>", row) == [f"{first['mg_a_day']:.4g}"] * 7


def test_resume_goes_on_from_what_was_searched(finished, capsys):
    checkpoint = json.loads((finished / "checkpoint.json").read_text())
    code = run(
        [
            "optimise",
            str(finished.parent / "short.yaml"),
            *FEW,
            "--no-sensitivity",
            "--out",
            str(finished),
            "--resume",
            "--json",
        ],
    )
    told = json.loads(capsys.readouterr().out)
    assert code == 0
    assert told["problem"]["name"] == "short_taper"
    (searched,) = checkpoint["searches"].values()
    assert told["optimality"]["starts"][0]["value"] >= searched[0]["value"] - 1e-9


def test_an_impossible_plan_says_what_stands_against_what(place, capsys):
    wish = "  - {endpoint: steroid_dose, most: 1 mg/kg, assumed: a test}\n"
    (place / "impossible.yaml").write_text(PLAN.replace("limits:\n", f"limits:\n{wish}"))
    code = run(["optimise", str(place / "impossible.yaml"), *FEW, "--no-sensitivity", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert code == 1
    assert told["feasible"] is False
    assert "steroid" in " ".join(told["conflicts"]["words"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimise", "steroid_sparing_tapr"], "steroid_sparing_taper"),
        (["optimise", "steroid_sparing_taper", "--resume"], "there is nothing to resume"),
        (["optimise", "steroid_sparing_taper", "--patient", "nobody"], "nobody"),
        (["optimise", "steroid_sparing_taper", "--draws", "none.json"], "none.json"),
        (["optimise", "steroid_sparing_taper", "--algorithm", "magic"], "magic"),
        (["optimise", "steroid_sparing_taper", "--front", "survival"], "two goals"),
        (["optimise", "steroid_sparing_taper", "--front", "survival,steroids"], "steroid_dose"),
    ],
)
def test_wrong_input_ends_with_a_cure(arguments, message, capsys):
    assert run(arguments) == 2
    assert message in capsys.readouterr().err
