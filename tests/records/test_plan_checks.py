"""Plans whose parts do not fit: every check with its place, rule and cure."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_files import changed, plan, written

from ipex_pd.errors import RecordError, UnknownKeyError
from ipex_pd.records import library
from ipex_pd.records.plan_checks import CHECKS, require_sound_plan

TITRATED = (
    "{drug: tacrolimus, amount: 0.15 mg/kg/day, route: oral, every: 12 h, stop: transplant - 1 day}",
    "{drug: tacrolimus, amount: 0.15 mg/kg/day, route: oral, every: 12 h, stop: transplant - 1 day, target_trough: "
    "{low: 5 ng/mL, high: 10 ng/mL, sampling_days: [5], smallest_dose: 0.02 mg/kg/day, largest_dose: 1 mg/kg/day}}",
)

BROKEN = [
    # what stands there, what is written instead, code, place, message
    (
        "{dose: tacrolimus,",
        "{dose: tacrolimus 2,",
        "plan.unknown-order",
        "free[1].dose",
        "`tacrolimus 2` is not an order of `beginning` or of an alternative. Nearest: `tacrolimus`, `sirolimus`. "
        "Rename it, or add the order to the regimen.",
    ),
    (
        '{stop: "transplant: ciclosporin"',
        '{stop: "transplant: ciclosporine"',
        "plan.unknown-order",
        "free[3].stop",
        "Nearest: `transplant: ciclosporin`.",
    ),
    (
        "  - {start: sirolimus, earliest: 0, latest: 56}\n",
        "",
        "plan.nothing-free",
        "alternatives[0]",
        "nothing of `sirolimus` is free. Something is free in every regimen of a plan.",
    ),
    (
        "lowest: 0.02 mg/kg/day, highest: 0.4 mg/kg/day",
        "lowest: 0.02 mg/kg, highest: 0.4 mg/kg",
        "plan.unit",
        "free[1].lowest",
        "`0.02 mg/kg` beside an order in `mg/kg/day` (`beginning`). Bounds are in the unit of the order. "
        "Write it in `mg/kg/day`, or write the order of the regimen in `mg/kg`.",
    ),
    (
        "highest: 0.4 mg/kg/day}",
        "highest: 0.4 mg/kg/day}\n  - {dose: tacrolimus, lowest: 0 mg/kg/day, highest: 0.2 mg/kg/day, from: 70}",
        "plan.twice",
        "free[2]",
        "the dose of `tacrolimus` is free twice. A quantity is free once. Take one of the lines out.",
    ),
    (
        "latest: 60, apart: 7}",
        "latest: 60, apart: 7}\n  - {start: rituximab, earliest: 0, latest: 7}",
        "plan.twice",
        "free[5]",
        "`start` and `days` of `rituximab` are free.",
    ),
    (
        "among: [reduced, full]}",
        "among: [reduced, full]}\n  - {transplant: conditioning, among: [full, reduced]}",
        "plan.twice",
        "free[8]",
        "the conditioning of transplant is free twice.",
    ),
    (
        "changes_every: 1 week",
        "changes_every: 1 year",
        "plan.period",
        "free[0].changes_every",
        "a period of 365.25 days in 168 days. The free time holds one period at least.",
    ),
    ("until: 168}", "until: 168, from: 400}", "record", "free[0]", "`until` 168 is not after `from`."),
    (
        "until: 168}",
        "until: 500, from: 400}",
        "plan.period",
        "free[0]",
        "the free time of `prednisolone` in `beginning`",
    ),
    (
        "changes_on: [0, 14, 42]",
        "changes_on: [0, 14, 400]",
        "plan.visits",
        "free[1].changes_on[2]",
        "a change of `tacrolimus` on day 400. Visits are on 0, 14, 28, 42, 56, 84. Move it, or add the visit.",
    ),
    (
        "earliest: 60, latest: 200",
        "earliest: 60, latest: 280",
        "plan.day",
        "free[3].latest",
        "`latest` is day 370 of the regimen. The horizon is day 365.",
    ),
    (
        "earliest: 60, latest: 200",
        "earliest: transplant + 60 day, latest: transplant + 200 day",
        "plan.day",
        "free[3].earliest",
        "`transplant` in a line about prophylaxis. Days of a prophylaxis count from the transplant already.",
    ),
    (
        "latest: 60, apart: 7}",
        "latest: 30, apart: 14}",
        "plan.day",
        "free[4]",
        "4 doses at least 14 days apart in 30 days. The doses find room.",
    ),
    (
        "{days: rituximab, earliest: 0, latest: 60, apart: 7}",
        "{days: prednisolone 2, earliest: 290, latest: 350, apart: 7}",
        "plan.day",
        "free[4].days",
        "`prednisolone 2` of `beginning` is given at clock times. Days are free for orders with `every`.",
    ),
    (
        "{interval: tacrolimus, among: [12 h, 24 h]}",
        "{interval: prednisolone 2, among: [12 h, 24 h]}",
        "plan.interval",
        "free[2].interval",
        "`prednisolone 2` of `beginning` is given at clock times. Clock times fix the interval.",
    ),
    (
        "among: [12 h, 24 h]",
        "among: [8 h, 24 h]",
        "plan.interval",
        "free[2].among",
        "`tacrolimus` of `beginning` is given every 12 h. The interval of the regimen is one of the choices. Add it.",
    ),
    (
        "among: [12 h, 24 h]",
        "among: [12 h, 48 h]",
        "plan.interval",
        "free[2].among[1]",
        "`tacrolimus` of `beginning` is an amount a day, and doses 2 days apart.",
    ),
    (
        "earliest: 60, latest: 300}",
        "earliest: 60, latest: 365}",
        "plan.transplant",
        "free[6].latest",
        "`latest` is day 365. The horizon, day 365, is after the transplant.",
    ),
    (
        "donor: matched_related, from: 180",
        "donor: matched_related, from: 310",
        "plan.transplant",
        "free[8].among[1]",
        "the matched_related donor is there from day 310. The transplant comes before day 300.",
    ),
    (
        "  - {transplant: day, earliest: 60, latest: 300}\n",
        "",
        "plan.transplant",
        "free[7].among[1]",
        "the matched_related donor is there from day 180, the transplant on 90. No transplant without its donor.",
    ),
    (
        "highest: 0.4 mg/kg/day",
        "highest: 0.1 mg/kg/day",
        "plan.start-outside",
        "free[1].highest",
        "`beginning` gives 0.15 mg/kg/day of `tacrolimus` on day 0. A plan begins inside its bounds, and that is above "
        "0.1 mg/kg/day. Change `highest`, or begin from another dose.",
    ),
    (
        "lowest: 0 mg/kg/day, highest: 2 mg/kg/day",
        "lowest: 0.5 mg/kg/day, highest: 2 mg/kg/day",
        "plan.start-outside",
        "free[0].lowest",
        "`beginning` gives 0 mg/kg/day of `prednisolone` on day 56.",
    ),
    (
        "earliest: 60, latest: 300}",
        "earliest: 91, latest: 300}",
        "plan.start-outside",
        "free[6]",
        "the transplant of `beginning` is on day 90. A plan begins inside its bounds or choices.",
    ),
    (
        "donor: matched_unrelated}, {",
        "donor: haploidentical}, {",
        "plan.start-outside",
        "free[8]",
        "the transplant of `beginning` is from a matched_unrelated donor.",
    ),
    (
        "{start: sirolimus, earliest: 0",
        "{start: sirolimus, earliest: 7",
        "plan.start-outside",
        "free[5]",
        "`sirolimus` of `sirolimus` begins on day 0. A plan begins inside its bounds, from day 7 to day 56.",
    ),
    (
        "{single_dose: rituximab",
        "{single_dose: ritxuimab",
        "plan.unknown-drug",
        "limits[3].single_dose",
        "no order of the plan gives `ritxuimab`. Nearest: `rituximab`.",
    ),
    (
        "{changes: tacrolimus",
        "{changes: rituximab",
        "plan.limit-of-fixed-dose",
        "limits[6].changes",
        "the dose of `rituximab` is not free. Known: `prednisolone`, `tacrolimus`.",
    ),
    (
        "smallest_step: 0.1 mg/kg/day",
        "smallest_step: 3 mg/kg/day",
        "plan.limit-of-fixed-dose",
        "limits[5].smallest_step",
        "a smallest step of 3 mg/kg/day from 2 mg/kg/day to 0 mg/kg/day.",
    ),
    (
        "smallest_step: 0.1 mg/kg/day",
        "smallest_step: 1 mg",
        "plan.limit-of-fixed-dose",
        "limits[5].smallest_step",
        "a step of `1 mg` for a dose in `mg/kg/day`. A step is in the unit of the dose, or in mg.",
    ),
    (
        "{visits: [0, 14, 28, 42, 56, 84]}",
        "{visits: [0, 14, 42.5]}",
        "plan.visits",
        "free[1].changes_on[2]",
        "a change of `tacrolimus` on day 42.",
    ),
    (
        "{visits: [0, 14, 28, 42, 56, 84]}",
        "{visits: [0, 15]}",
        "plan.visits",
        "free[0].changes_every",
        "no change of `prednisolone` falls on a visit. Periods begin on day 0, 7, 14, 21 ..., visits are other days.",
    ),
    (
        "{step: tacrolimus, of: 0.1 mg}",
        "{step: prednisolone, of: 0.1 mg}",
        "plan.limit-twice",
        "limits[9]",
        "`strengths` and `step` of `prednisolone`. One of them says which doses there are.",
    ),
    (
        "{single_dose: rituximab, most: 500 mg}",
        "{daily_dose: prednisolone, most: 50 mg/day}",
        "plan.limit-twice",
        "limits[3]",
        "this limit stands twice.",
    ),
    (
        "days: [120, 150]",
        "days: [120, 380]",
        "plan.trough",
        "limits[1].days",
        "a trough on day 380. The horizon is day 365.",
    ),
    (
        "{trough: ciclosporin, high: 200 ng/mL, days: [120, 150]}",
        "{trough: tacrolimus, high: 4 ng/mL, days: [21]}",
        "plan.trough",
        "limits[1]",
        "two windows for the trough of `tacrolimus` on day 21 have nothing in common.",
    ),
    (
        "share: 90 %, from: 14, until: 56}",
        "share: 90 %, from: 14, until: 70}",
        "plan.trough",
        "limits[0]",
        "`tacrolimus` is sampled on day 63, when `beginning` may not give it. "
        "It is surely given after day 0 until day 59.",
    ),
    (
        "lowest: 0.02 mg/kg/day, highest: 0.4 mg/kg/day}",
        "lowest: 0.1 mg/kg/day, highest: 0.4 mg/kg/day}\n"
        '  - {dose: "transplant: ciclosporin", lowest: 5 mg/kg/day, highest: 9 mg/kg/day}',
        "plan.visits",
        "free[2]",
        "days that count from the transplant beside visits.",
    ),
    (
        "{daily_dose: prednisolone, most: 60 mg/day}",
        "{daily_dose: tacrolimus, most: 0.01 mg/kg/day}",
        "plan.contradiction",
        "limits[2].most",
        "the lowest dose of `tacrolimus` makes 0.02 mg/kg. The limit is 0.01 mg/kg/day.",
    ),
    (
        "{cumulative_dose: prednisolone, most: 200 mg/kg}",
        "{cumulative_dose: tacrolimus, most: 1 mg/kg}",
        "plan.contradiction",
        "limits[4].most",
        "the lowest dose of `tacrolimus` makes 1.78 mg/kg. The limit is 1 mg/kg.",
    ),
    (
        "of: [1 mg, 5 mg, 20 mg], halves: true",
        "of: [60 mg]",
        "plan.tablets",
        "limits[8].of",
        "They are made of 60 mg. Add a strength, or widen the bounds.",
    ),
    (
        "{step: tacrolimus, of: 0.1 mg}",
        "{strengths: rituximab, of: 100 mg}",
        "record",
        "limits[9].of",
        "does not fit",
    ),
    (
        "{step: tacrolimus, of: 0.1 mg}",
        "{step: rituximab, of: 100 mg}",
        "plan.tablets",
        "limits[9].step",
        "no dose of `rituximab` is free.",
    ),
    (
        "{apart: [rituximab, transplant], least: 7}",
        "{apart: [prednisolone, rituxima], least: 7}",
        "plan.unknown-drug",
        "limits[11].apart",
        "no order of the plan gives `rituxima`.",
    ),
    (
        "{prophylaxis: ciclosporin, least: 100}",
        "{prophylaxis: ciclosporin, least: 210}",
        "plan.contradiction",
        "limits[12].least",
        "`beginning` gives prophylaxis with `ciclosporin` for 200 days at most. The limit is 210 days.",
    ),
    (
        "{prophylaxis: ciclosporin, least: 100}",
        "{prophylaxis: tacrolimus, least: 100}",
        "plan.contradiction",
        "limits[12]",
        "`tacrolimus` is no prophylaxis in `beginning`. Prophylaxis belongs to the transplant.",
    ),
]


@pytest.mark.parametrize(("old", "new", "code", "place", "message"), BROKEN)
def test_what_does_not_fit_is_told_with_its_place(
    tmp_path: Path, old: str, new: str, code: str, place: str, message: str
) -> None:
    faults = library.findings(written(tmp_path, (old, new)))
    found = [fault for fault in faults if fault.code == code]
    assert found, [str(fault) for fault in faults]
    assert found[0].where.endswith(f" {place}")
    assert message in str(found[0])


def test_a_file_tells_all_its_faults_at_once(tmp_path: Path) -> None:
    faults = library.findings(
        written(tmp_path, ("latest: 300}", "latest: 400}"), ("among: [12 h, 24 h]", "among: [8 h, 24 h]"))
    )
    assert [fault.code for fault in faults] == ["plan.interval", "plan.transplant"]
    with pytest.raises(RecordError, match=r"\(1 more in this file"):
        library.load_plan(tmp_path / "mine.yaml")


def test_fixed_orders_that_exclude_each_other_contradict(tmp_path: Path) -> None:
    path = written(tmp_path, ("[tacrolimus, ciclosporin]", "[tacrolimus, sirolimus, rituximab]"))
    assert library.findings(path) == []  # the days of tacrolimus and sirolimus are free
    fixed = ("  - {days: rituximab, earliest: 0, latest: 60, apart: 7}\n", "")
    path = written(
        tmp_path,
        fixed,
        (
            "{dose: tacrolimus, changes_on: [0, 14, 42], lowest: 0.02 mg/kg/day, highest: 0.4 mg/kg/day}",
            "{dose: sirolimus, lowest: 0 mg/m2, highest: 4 mg/m2}",
        ),
        ("  - {changes: tacrolimus, most: 2}\n", ""),
        ("  - {step: tacrolimus, of: 0.1 mg}\n", ""),
        ("[tacrolimus, ciclosporin]", "[tacrolimus, rituximab]"),
    )
    (fault,) = library.findings(path)
    assert fault.code == "plan.contradiction"
    assert "`beginning` gives `tacrolimus` and `rituximab` together on day 0. Nothing that is free can part" in str(
        fault
    )


def test_a_washout_that_fixed_days_forbid(tmp_path: Path) -> None:
    drug = ("{apart: [rituximab, transplant], least: 7}", "{apart: [prednisolone, tacrolimus], least: 7}")
    assert library.findings(written(tmp_path, drug)) == []
    (fault,) = library.findings(
        written(
            tmp_path,
            (drug[0], "{apart: [ciclosporin, transplant], least: 7}"),
            ('  - {stop: "transplant: ciclosporin", earliest: 60, latest: 200}\n', ""),
        )
    )
    assert (fault.code, fault.where.split()[-1]) == ("plan.contradiction", "limits[11]")
    assert "-100 days between `ciclosporin` and `transplant` in `beginning`" in str(fault)


def test_safety_limits_of_the_regimen_bound_the_plan(tmp_path: Path) -> None:
    safety = "  safety_limits: [{drug: tacrolimus, daily: 0.3 mg/kg/day, source: {assumed: an example}}]\n"
    (fault,) = library.findings(
        written(tmp_path, ("alternatives: [sirolimus]\n", f"{safety}alternatives: [sirolimus]\n"))
    )
    assert "the highest dose of `tacrolimus` gives 0.4 mg/kg a day. The safety limit of `beginning` is 0.3" in str(
        fault
    )


def test_names_that_lead_nowhere_are_told_first(tmp_path: Path) -> None:
    faults = library.findings(
        written(
            tmp_path,
            ("patient: seidel_2009", "patient: siedel_2009"),
            ("alternatives: [sirolimus]", "alternatives: [sirolimuss, other.yaml]"),
            ("drug: rituximab, amount", "drug: rituximav, amount"),
            ("{children: 20, draws: 10, seed: 1}", "{children: 20, file: draws.json, seed: 1}"),
        )
    )
    assert [fault.where.split()[-1] for fault in faults] == [
        "patient",
        "start",
        "alternatives[0]",
        "alternatives[1]",
        "ensemble.file",
    ]
    assert isinstance(faults[0], UnknownKeyError)
    assert "`rituximav` is not a known drug" in str(faults[1])
    assert f"{tmp_path / 'other.yaml'}" in str(faults[3])


def test_a_free_dose_of_a_titrated_order_is_allowed_and_said(tmp_path: Path) -> None:
    path = written(tmp_path, TITRATED)
    assert library.findings(path) == []
    lines = library.describe(library.load_plan(path))
    assert any("dose of tacrolimus" in line and "takes the place of its trough target" in line for line in lines)


def test_a_plan_made_in_code_is_checked_by_the_same_rules() -> None:
    require_sound_plan(plan())
    with pytest.raises(RecordError, match=r"plan `mine` free\[6\]: the transplant of `beginning` is on day 90"):
        require_sound_plan(plan(("earliest: 60, latest: 300}", "earliest: 91, latest: 300}")))


def test_every_check_has_a_code_of_plans() -> None:
    assert all(check.code.startswith("plan.") for check in CHECKS)
    broken = {code for _, _, code, _, _ in BROKEN}
    beside = {"plan.timing", "plan.endpoint"}
    assert {check.code for check in CHECKS} - broken == beside


def test_timing_and_quality_need_what_they_are_about(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "name: mine\ndescription: d\npatient: seidel_2009\nstart: sirolimus\nhorizon: 90 day\n"
        "ensemble: {children: 1, draws: 1, seed: 1}\nfree: [{start: sirolimus, earliest: 0, latest: 9}]\n"
        "goals: [{maximise: survival}]\nlimits: [{endpoint: quality_adjusted_time, least: 50 day}]\n"
        "timing: {days: [30, 60]}\n"
    )
    assert [(fault.code, fault.where.split()[-1]) for fault in library.findings(path)] == [
        ("plan.timing", "timing"),
        ("plan.endpoint", "limits[0].endpoint"),
    ]


def test_the_plan_of_these_tests_is_sound(tmp_path: Path) -> None:
    assert changed().startswith("name: mine")
    assert library.findings(written(tmp_path)) == []
