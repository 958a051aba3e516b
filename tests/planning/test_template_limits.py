"""Linear limits of a template against the doses themselves; lines that cannot be honoured, word for word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.errors import RecordError
from ipex_pd.planning.template import combinations, template_of
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.yamlfile import from_data

PREDNISOLONE = {"drug": "prednisolone", "amount": "2 mg/kg/day", "route": "oral", "every": "12 h"}
TACROLIMUS = {"drug": "tacrolimus", "amount": "0.2 mg/kg/day", "route": "oral", "every": "12 h"}
SIROLIMUS = {"drug": "sirolimus", "amount": "1 mg", "route": "oral", "every": "1 day", "start": 20}
CICLOSPORIN = {
    "drug": "ciclosporin",
    "amount": "6 mg/kg/day",
    "route": "oral",
    "every": "12 h",
    "start": -1,
    "stop": 50,
}
GRAFT = {
    "day": 40,
    "conditioning": "reduced",
    "serotherapy": "alemtuzumab",
    "donor": "matched_unrelated",
    "graft": "marrow",
    "prophylaxis": [CICLOSPORIN],
}
DAY = {"transplant": "day", "earliest": 30, "latest": 60}
STEROID = {"dose": "prednisolone", "lowest": "0 mg/kg/day", "highest": "3 mg/kg/day", "changes_on": [0, 14, 28, 56]}


def made(doses, free, limits=(), grafts=(), safety=()):
    start = {"name": "begin", "description": "to begin from.", "doses": doses, "transplants": list(grafts)}
    data = {
        "name": "mine",
        "description": "a test",
        "patient": "seidel_2009",
        "start": {**start, "safety_limits": list(safety)},
        "horizon": "12 week",
        "ensemble": {"children": 1, "draws": 1, "seed": 1},
        "free": free,
        "goals": [{"maximise": "survival", "weight": 1}],
        "limits": list(limits),
    }
    asked = from_data(PlanningProblem, data, where="mine")
    return template_of(asked, combinations(asked)[0].regimen)


def refusal(*args, **kwargs):
    with pytest.raises(RecordError) as caught:
        made(*args, **kwargs).linear  # noqa: B018
    return str(caught.value)


TAPER = made(
    [PREDNISOLONE],
    [STEROID],
    [
        {"taper": "prednisolone", "smallest_step": "0.1 mg/kg/day"},
        {"single_dose": "prednisolone", "most": "1 mg/kg"},
        {"daily_dose": "prednisolone", "most": "1.5 mg/kg/day"},
        {"cumulative_dose": "prednisolone", "most": "60 mg/kg"},
        {"trough": "prednisolone", "high": "1 mg/L", "from": 7},
    ],
)


@given(st.lists(st.floats(0.0, 3.0), min_size=4, max_size=4))
@settings(max_examples=60, deadline=None)
def test_the_linear_limits_are_those_of_the_doses(levels):
    """excess > 0 exactly where the doses of the schedule break a limit."""
    x = np.array(levels)
    amounts = np.asarray(TAPER.schedule(x).amount)
    broken = {
        "taper": bool(np.any(np.diff(amounts) > 1e-12)),
        "a dose": bool(amounts.max() > 1.0 + 1e-12),
        "a day": bool((2 * amounts).max() > 1.5 + 1e-12),
        "in all": bool(amounts.sum() > 60.0 + 1e-9),
    }
    found = TAPER.linear.excess(x) > 1e-12
    for word, expected in broken.items():
        mine = [k for k, label in enumerate(TAPER.linear.labels) if word in label]
        assert mine, word
        if word == "in all":
            assert abs(amounts.sum() - 60.0) < 1e-6 or bool(found[mine].any()) == expected
        else:
            assert bool(found[mine].any()) == expected


def test_lines_that_are_settled_are_named():
    assert TAPER.handled == (0, 1, 2, 3)
    assert TAPER.linear.labels[0] == "taper of prednisolone: day 14-28 not above day 0-14"
    assert TAPER.linear.labels[3] == "prednisolone: at most 1 mg/kg a dose, day 0-14"
    assert TAPER.linear.labels[-1] == "prednisolone: at most 60 mg/kg in all"


def test_limits_in_another_unit_or_under_moving_days_are_left_to_others():
    stop = {"stop": "prednisolone", "earliest": 10, "latest": 80}
    limits = [
        {"daily_dose": "prednisolone", "most": "60 mg/day"},
        {"cumulative_dose": "prednisolone", "most": "60 mg/kg"},
    ]
    assert made([PREDNISOLONE], [STEROID], limits).handled == (1,)
    assert made([PREDNISOLONE], [STEROID, stop], limits).handled == ()
    capped = {**PREDNISOLONE, "maximum": "60 mg/day"}
    assert made([capped], [STEROID], limits).handled == ()


def test_a_taper_ends_at_the_fixed_dose_that_follows():
    tapered = {**PREDNISOLONE, "taper": [{"after": "28 day", "to": "0.5 mg/kg/day"}], "after_taper": "maintain"}
    template = made([tapered], [{**STEROID, "until": 42, "changes_on": [0, 14]}], [{"taper": "prednisolone"}])
    np.testing.assert_allclose(template.linear.excess(np.array([1.0, 0.4])), [0.0, 0.1])
    assert template.linear.labels[1] == "taper of prednisolone: the fixed 0.5 not above day 14-42"


def test_safety_limits_of_the_regimen_hold():
    safety = [{"drug": "prednisolone", "daily": "2.5 mg/kg/day", "source": {"assumed": "a test"}}]
    template = made([PREDNISOLONE], [STEROID], safety=safety)
    np.testing.assert_allclose(template.linear.excess(np.array([2.6, 0, 0, 0])), [0.1, 0, 0, 0], atol=1e-12)
    assert template.handled == ()


def test_stops_come_after_starts_and_orders_of_a_drug_take_turns():
    doses = [{**TACROLIMUS, "stop": 30}, {**TACROLIMUS, "amount": "1 mg", "start": 40}]
    free = [
        {"stop": "tacrolimus", "earliest": 5, "latest": 60},
        {"start": "tacrolimus 2", "earliest": 5, "latest": 60},
        {"start": "tacrolimus", "earliest": 0, "latest": 50},
    ]
    template = made(doses, free)
    assert template.names == ("tacrolimus start", "tacrolimus stop", "tacrolimus 2 start")
    excess = template.linear.excess(np.array([20.0, 15.0, 12.0]))
    assert dict(zip(template.linear.labels, excess, strict=True)) == {
        "tacrolimus: stop not before start": 5.0,
        "tacrolimus 2: start not before the end of tacrolimus": 3.0,
    }


def test_a_washout_before_the_transplant():
    free = [DAY, {"stop": "sirolimus", "earliest": 21, "latest": 58}]
    template = made([SIROLIMUS], free, [{"apart": ["sirolimus", "transplant"], "least": 7}], [GRAFT])
    excess = dict(zip(template.linear.labels, template.linear.excess(np.array([40.0, 36.0])), strict=True))
    assert excess["the transplant at least 7 days after sirolimus"] == 2.0
    assert template.handled == (0,)


def test_drugs_that_exclude_each_other_take_turns():
    free = [{"stop": "tacrolimus", "earliest": 5, "latest": 60}]
    template = made([TACROLIMUS, SIROLIMUS], free, [{"not_together": ["sirolimus", "tacrolimus"]}])
    np.testing.assert_allclose(template.linear.excess(np.array([23.0])), [0.0, 3.0])


def test_periods_of_one_length_begin_on_visits():
    free = [{"dose": "prednisolone", "lowest": "0 mg/kg/day", "highest": "3 mg/kg/day", "changes_every": "1 week"}]
    template = made([PREDNISOLONE], free, [{"visits": [14, 20, 42]}])
    assert template.names == tuple(f"prednisolone dose day {d}" for d in ("0-14", "14-42", "42 on"))
    assert template.handled == (0,)


def test_prophylaxis_goes_on():
    key = "transplant: ciclosporin"
    free = [DAY, {"stop": key, "earliest": 30, "latest": 90}]
    template = made([], free, [{"prophylaxis": "ciclosporin", "least": 60}], [GRAFT])
    np.testing.assert_allclose(template.linear.excess(np.array([40.0, 50.0])), [0.0, 10.0])


def test_lines_that_cannot_be_honoured_word_for_word():
    assert refusal([PREDNISOLONE], [{**STEROID, "changes_on": [0, 10]}], [{"visits": [0, 14]}]) == (
        "mine limits[0]: a period of `prednisolone` begins on day 10, which is no visit. Doses change on visits; the "
        "nearest is on day 14. Write `changes_on: [0, 14]`."
    )
    stop = {"stop": "prednisolone", "earliest": 10, "latest": 80}
    assert refusal([PREDNISOLONE], [stop], [{"taper": "prednisolone"}]) == (
        "mine limits[0]: the dose of `prednisolone` is not free. A taper is found for a free dose. Add `dose: "
        "prednisolone` to `free`, or take the line out."
    )
    assert refusal(
        [PREDNISOLONE],
        [{**STEROID, "from": 7, "changes_on": []}],
        [{"daily_dose": "prednisolone", "most": "1 mg/kg/day"}],
    ) == (
        "mine limits[0]: `prednisolone` gives 2 mg/kg a day where its dose is not free. The limit is 1 mg/kg a day. "
        "Lower the dose in the start regimen, or free it there."
    )
    assert refusal(
        [TACROLIMUS, SIROLIMUS],
        [{"start": "sirolimus", "earliest": 5, "latest": 60}],
        [{"not_together": ["tacrolimus", "sirolimus"]}],
    ) == (
        "mine limits[0]: `tacrolimus` and `sirolimus` are given together. They are not given at the same time. Let "
        "`tacrolimus` stop before, free its `stop`, or write them as `alternatives`."
    )
    assert refusal([SIROLIMUS], [DAY], [{"apart": ["sirolimus", "transplant"], "least": 7}], [GRAFT]) == (
        "mine limits[0]: `sirolimus` does not end 7 days before the transplant. They are at least 7 days apart. Write "
        "an earlier `stop` for `sirolimus` in the start regimen, or free it."
    )
    assert refusal([], [DAY], [{"prophylaxis": "ciclosporin", "least": 100}], [GRAFT]) == (
        "mine limits[0]: the prophylaxis with `ciclosporin` ends 50 days after the transplant. It goes on for at least "
        "100 days. Write a later `stop` in the start regimen."
    )
    free = [{"dose": "transplant: ciclosporin", "lowest": "0 mg/kg/day", "highest": "8 mg/kg/day"}]
    assert refusal([], free, [{"prophylaxis": "ciclosporin", "least": 40}], [GRAFT]) == (
        "mine limits[0]: the dose of `transplant: ciclosporin` may be nothing. The prophylaxis goes on for at least 40 "
        "days. Write `lowest` above zero."
    )
    moving = [
        DAY,
        {"dose": "transplant: ciclosporin", "changes_on": [0, 14], "lowest": "1 mg/kg/day", "highest": "8 mg/kg/day"},
    ]
    assert refusal([], moving, [{"visits": [0, 14]}], [GRAFT]) == (
        "mine limits[0]: a period of `transplant: ciclosporin` begins on a day that moves. Doses change on visits, "
        "which are days of the regimen. Fix the day that it counts from, or take `visits` out."
    )
    assert refusal(
        [CICLOSPORIN | {"start": 0}],
        [DAY],
        [{"prophylaxis": "ciclosporin", "least": 40}],
        [{**GRAFT, "prophylaxis": []}],
    ) == (
        "mine limits[0]: the transplant has no prophylaxis with `ciclosporin`. It goes on for at least 40 days. Add it "
        "to the start regimen, or take the line out."
    )
