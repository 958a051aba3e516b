"""Planning problems as records: what is read, refused, told in words and written back."""

from __future__ import annotations

from pathlib import Path

import pytest
from plan_files import changed, plan, written

from ipex_pd.errors import IpexError, RecordError, SourceError, UnitError, UnknownKeyError
from ipex_pd.records import library
from ipex_pd.records.plan_free import FreeDose, TransplantDonor, order_keys
from ipex_pd.records.plan_goals import GOAL_NAMES, GOALS, Statistic
from ipex_pd.records.plan_limits import EndpointLimit, StepLimit, StrengthsLimit, TroughLimit
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.disease_endpoints import DISEASE_ENDPOINTS

REFUSED = [
    # what stands there, what is written instead, kind of error, message
    (
        "lowest: 0 mg/kg/day",
        "lowst: 0 mg/kg/day",
        UnknownKeyError,
        "free[0].lowst: `lowst` is not a key of a free dose. Nearest: `lowest`.",
    ),
    (
        "{changes: tac",
        "{chages: tac",
        UnknownKeyError,
        "limits[6]: `chages` does not begin a limit. Nearest: `changes`.",
    ),
    ("{start: siro", "{begin: siro", UnknownKeyError, "free[5]: `begin` does not begin a free quantity."),
    ("{start: siro", "{stop: x, start: siro", RecordError, "free[5]: `start` and `stop` on one line."),
    ("transplant: day", "transplant: dai", UnknownKeyError, "these are free: `day`, `conditioning`, `donor`."),
    (
        "maximise: survival",
        "maximise: surival",
        UnknownKeyError,
        "`surival` is not a goal. Nearest: `survival`, `organ_free_survival`.",
    ),
    (
        "maximise: survival",
        "minimise: survival",
        RecordError,
        "`minimise: survival` harms. Higher is better for the child. Write `maximise: survival`.",
    ),
    (", assumed: a life", "", SourceError, "goals[0]: the weight 1 of `survival` has no source."),
    ("{value: 60 %, assumed: ill}", "{value: 60 %}", SourceError, "the value 0.6 of a state has no source."),
    ("for: 100 day, ", "", RecordError, "`after_transplant` has no `for`. It ends some day."),
    ("weight: 0.002", "weight: 0", RecordError, "`weight` must be more than 0."),
    ("weight: 0.002", "weight: 0.002, states: {}", RecordError, "goals[1].states: `remission` is missing"),
    ("minimise: steroid_dose", "maximise: survival", RecordError, "goals[1]: `survival` stands twice."),
    ("quantile: 10 %", "quantil: 10 %", UnknownKeyError, "It is `mean`, `worst` or `{quantile: 10 %}`."),
    ("quantile: 10 %", "quantile: 110 %", RecordError, "out of range"),
    (
        "lowest: 0 mg/kg/day, highest: 2 mg/kg/day",
        "lowest: 3 mg/kg/day, highest: 2 mg/kg/day",
        RecordError,
        "free[0].lowest: `3 mg/kg/day` is not below `2 mg/kg/day`.",
    ),
    (
        "lowest: 0 mg/kg/day, highest: 2 mg/kg/day",
        "lowest: 0 mg/day, highest: 2 mg/kg/day",
        UnitError,
        "free[0].highest: `0 mg/day` beside `2 mg/kg/day`. Both bounds are in one unit.",
    ),
    ("changes_every: 1 week", "changes_every: 1", UnitError, "Every duration carries its unit."),
    ("changes_on: [0, 14, 42]", "changes_on: [0, 42, 14]", RecordError, "the days of `changes_on` are not in order."),
    ("changes_on: [0, 14, 42]", "changes_on: [0, transplant]", RecordError, "days of two kinds."),
    ('"transplant: ciclosporin"', "{transplant: ciclosporin}", RecordError, '"transplant: ciclosporin".'),
    (
        "earliest: 0, latest: 56",
        "earliest: 60, latest: 56",
        RecordError,
        "`earliest` day 60 is not before `latest` day 56.",
    ),
    ("apart: 7}", "apart: 0}", RecordError, "`apart` must be more than 0."),
    ("matched_related, from", "matched_sibling, from", UnknownKeyError, "Nearest: `matched_related`"),
    ("low: 5 ng/mL", "low: 50 ng/mL", RecordError, "limits[0].low: `50 ng/mL` is not below `10 ng/mL`."),
    ("low: 5 ng/mL", "low: 5 mg", UnitError, "`5 mg` does not measure what is asked."),
    ("share: 90 %, from: 14", "share: 190 %, from: 14", RecordError, "`share` must be at most 1."),
    ("days: [120, 150]", "every: 1 week", RecordError, "a trough needs one of `days` and `from`."),
    ("most: 60 mg/day", "most: 60 mg", RecordError, "It is an amount a day. Write `60 mg/day`."),
    ("most: 500 mg}", "most: 500 mg/day}", RecordError, "It is an amount without a day. Write `500 mg`."),
    ("of: 0.1 mg}", "of: 0.1 mg/kg}", UnitError, "`0.1 mg/kg` is not a strength."),
    ("{visits: [0, 14,", "{visits: [14, 0,", RecordError, "the visits are not in order."),
    ("most: 20 %", "most: 120 %", RecordError, "A probability or share lies between 0 and 1."),
    ("most: 20 %", "most: 20 day", UnitError, "The unit must be `fraction` or a multiple of it."),
    (
        "{children: 20, draws: 10, seed: 1}",
        "{children: 20, seed: 1}",
        RecordError,
        "Write `draws: 10`, or `file: draws",
    ),
    ("seed: 1}", "seed: 1}\nout_of_sample: {children: 20, draws: 10, seed: 1}", RecordError, "is the ensemble itself."),
    (
        "until: 300, every: 60",
        "until: 365, every: 61",
        RecordError,
        "a transplant on day 365, with the horizon on day 365.",
    ),
    ("patient: seidel_2009\n", "", RecordError, "`patient` is missing."),
    (
        "  - {drug: prednisolone, amount: 5 mg,",
        "  - {drg: prednisolone, amount: 5 mg,",
        UnknownKeyError,
        "start.doses[3].drg",
    ),
]


@pytest.mark.parametrize(("old", "new", "kind", "message"), REFUSED)
def test_what_a_line_may_not_say(old: str, new: str, kind: type[IpexError], message: str) -> None:
    with pytest.raises(kind) as caught:
        plan((old, new))
    assert message in str(caught.value)
    assert str(caught.value).startswith("mine.yaml")


def test_it_goes_round_through_data_and_a_file(tmp_path: Path) -> None:
    problem = plan()
    assert from_data(PlanningProblem, problem.as_data()) == problem
    problem.save(tmp_path / "again.yaml")
    assert library.load_plan(tmp_path / "again.yaml") == problem
    assert library.kind_of(tmp_path / "again.yaml") == "plans"


def test_orders_have_names_in_the_order_of_the_regimen() -> None:
    regimen = plan().start
    assert isinstance(regimen, Regimen)
    keys = order_keys(regimen)
    assert list(keys) == ["prednisolone", "tacrolimus", "rituximab", "prednisolone 2", "transplant: ciclosporin"]
    assert [order.index for order in keys.values()] == [0, 1, 2, 3, 4]
    twice = library.load_regimen("transplant_early_reduced")
    assert list(order_keys(twice))[2:] == ["transplant: ciclosporin", "transplant: ciclosporin 2"]


def test_what_is_free_in_a_regimen() -> None:
    problem = plan()
    assert isinstance(problem.start, Regimen)
    assert [line.key for line in problem.free_in(library.load_regimen("sirolimus"))] == ["start"]
    assert len(problem.free_in(problem.start)) == len(problem.free) - 1
    assert problem.transplant_day is not None
    assert problem.transplant_day.latest == 300


def test_periods_of_a_free_dose() -> None:
    weekly, listed = (line for line in plan().free if isinstance(line, FreeDose))
    assert weekly.periods(0, 30) == (0, 7, 14, 21, 28)
    assert weekly.periods(2, 16) == (2, 9)
    assert weekly.periods(0, 365)[-1] == 161
    assert weekly.periods(200, 365) == ()
    assert listed.periods(0, 365) == (0, 14, 42)
    assert listed.periods(7, 20) == (7, 14)
    once = FreeDose.model_validate({"dose": "tacrolimus", "lowest": "1 mg", "highest": "2 mg", "from": 5})
    assert once.periods(0, 60) == (5,)


def test_doses_that_strengths_and_steps_permit() -> None:
    halves = StrengthsLimit.model_validate({"strengths": "x", "of": ["5 mg", "20 mg"], "halves": True})
    assert halves.pieces_mg == (2.5, 5, 10, 20)
    assert halves.permitted(0, 10) == (0, 2.5, 5, 7.5, 10)
    whole = StrengthsLimit.model_validate({"strengths": "x", "of": ["0.5 mg", "0.75 mg"]})
    assert whole.permitted(0.1, 1.6) == (0.5, 0.75, 1.0, 1.25, 1.5)
    assert whole.permitted(0.1, 0.4) == ()
    step = StepLimit.model_validate({"step": "x", "of": "0.1 mg"})
    assert step.permitted(0.25, 0.5) == (0.3, 0.4, 0.5)


def test_days_of_trough_samples() -> None:
    weekly = TroughLimit.model_validate({"trough": "x", "low": "5 ng/mL", "from": 14})
    assert weekly.sample_days(30) == (14, 21, 28)
    assert (weekly.low_mg_l, weekly.high_mg_l) == (pytest.approx(0.005), float("inf"))
    listed = TroughLimit.model_validate({"trough": "x", "high": "0.2 mg/L", "days": [3, 9]})
    assert listed.sample_days(5) == (3,)


def test_bounds_of_endpoints_are_in_their_units() -> None:
    assert EndpointLimit.model_validate({"endpoint": "survival", "least": "80 %"}).bound == pytest.approx(0.8)
    assert EndpointLimit.model_validate({"endpoint": "steroid_dose", "most": "0.1 g/kg"}).bound == pytest.approx(100)
    assert EndpointLimit.model_validate({"endpoint": "oi_score", "most": 2}).bound == 2


def test_statistics_are_written_short() -> None:
    for written_as in ("mean", "worst", {"quantile": 0.1}):
        assert Statistic.model_validate(written_as).model_dump() == written_as


def test_fresh_members_are_others() -> None:
    problem = plan()
    assert problem.fresh.seed == 2
    assert problem.fresh.children == problem.ensemble.children
    stated = plan(("seed: 1}", "seed: 1}\nout_of_sample: {children: 3, draws: 4, seed: 9}"))
    assert stated.fresh.seed == 9


def test_a_donor_has_a_first_day() -> None:
    (donor,) = (line for line in plan().free if isinstance(line, TransplantDonor))
    assert [(choice.donor, choice.available) for choice in donor.among] == [
        ("matched_unrelated", 0),
        ("matched_related", 180),
    ]


def test_goals_that_are_endpoints_have_their_units_and_direction() -> None:
    own = {"time_in_remission", "beta_cell_mass", "quality_adjusted_time"}
    assert len(GOAL_NAMES) == 19
    endpoints = {question.name: question for question in DISEASE_ENDPOINTS}
    for name in set(GOAL_NAMES) - own:
        assert (GOALS[name].unit, GOALS[name].better) == (endpoints[name].unit, endpoints[name].better), name


def test_it_is_told_in_words() -> None:
    lines = plan().in_words()
    assert lines[0] == "For patient `seidel_2009` over 365 days, beginning from regimen `beginning`:"
    assert lines[-6:] == [
        "Limit: no two of tacrolimus and ciclosporin are given at the same time.",
        "Limit: at least 7 days between rituximab and the transplant.",
        "Limit: prophylaxis with ciclosporin until at least 100 days after the transplant.",
        "Limit: risk of a serious infection by the horizon at most 20 %, in 90 % of the members.",
        "The outcome is told for a transplant on day 60 to 300, every 60 days.",
        "It is compared with `untreated`.",
    ]
    free = [line.removeprefix("Free: ") for line in lines if line.startswith("Free: ")]
    assert free == [
        "the dose of prednisolone between 0 mg/kg/day and 2 mg/kg/day, changed every 7 days at most, until day 168; "
        "it takes the place of its taper.",
        "the dose of tacrolimus between 0.02 mg/kg/day and 0.4 mg/kg/day, changed on day 0, day 14 and day 42 only.",
        "the time between doses of tacrolimus, 12 h or 1 day.",
        "the stop of ciclosporin (prophylaxis), from day 60 to day 200 after the transplant.",
        "the day of each dose of rituximab, from day 0 to day 60, at least 7 days apart.",
        "the start of sirolimus, from day 0 to day 56.",
        "the day of transplant, from day 60 to day 300.",
        "the conditioning, reduced or full.",
        "the donor, a matched unrelated donor or a matched related donor (there from day 180).",
    ]
    (goal,) = (line for line in lines if line.startswith("Goal: "))
    assert goal == (
        "Goal: more survival to the horizon (weight 1 per 100 %); less cumulative steroid as prednisolone (weight "
        "0.002 per mg/kg); more quality-adjusted time alive up to the horizon, a day being worth 1 in remission, 0.6 "
        "in active disease, 0.5 for 100 days after a transplant, times 0.9 with diabetes (weight 0.001 per day); in "
        "the member than whom 10 % do worse."
    )
    assert (
        "Limit: doses of prednisolone are made of tablets or capsules of 1 mg, 5 mg and 20 mg, which may be halved."
        in lines
    )
    assert "Limit: the dose of prednisolone never rises, and a change is at least 0.1 mg/kg/day." in lines


def test_one_goal_needs_no_weight() -> None:
    text = changed()
    head, tail = text.split("goals:\n")
    alone = head + "goals:\n  - {maximise: survival}\nstatistic" + tail.split("statistic")[1]
    problem = from_data(PlanningProblem, library.read_document("mine.yaml", alone).data)
    assert "Goal: more survival to the horizon; in the member" in "\n".join(problem.in_words())


def test_files_are_looked_up_beside_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.load_regimen("sirolimus").save(tmp_path / "own.yaml")
    (tmp_path / "draws.csv").write_text("kind,weight,a\nsir,1,2\n", encoding="utf-8")
    path = written(
        tmp_path,
        ("alternatives: [sirolimus]", "alternatives: own.yaml"),
        ("draws: 10, seed: 1", "file: draws.csv, seed: 1"),
    )
    monkeypatch.chdir(tmp_path.parent)
    problem = library.load_plan(path)
    assert problem.alternatives == (str(tmp_path / "own.yaml"),)
    assert problem.ensemble.file == str(tmp_path / "draws.csv")
    assert f"every draw in `{tmp_path / 'draws.csv'}`" in "\n".join(problem.in_words())


def test_a_regimen_is_saved_and_read_back(tmp_path: Path) -> None:
    for name in ("transplant_early_reduced", "rituximab_course", "seidel_2009"):
        regimen = library.load_regimen(name)
        regimen.save(tmp_path / f"{name}.yaml")
        assert library.load_regimen(tmp_path / f"{name}.yaml") == regimen


def test_an_unknown_plan() -> None:
    with pytest.raises(
        UnknownKeyError, match=r"`steroid_sparing` is not a shipped plan\. Nearest: `steroid_sparing_taper`"
    ):
        library.load_plan("steroid_sparing")
