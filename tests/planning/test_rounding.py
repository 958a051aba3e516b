"""Rounding to what can be prescribed: against brute force on small grids, and its rules."""

from itertools import product

import numpy as np
import pytest

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.planning.rounding import RoundingOptions, prescribable
from ipex_pd.planning.template import combinations, template_of
from ipex_pd.planning.template_grids import Grid
from ipex_pd.planning.template_tablets import tablets_for, tablets_in_words
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.yamlfile import from_data

PREDNISOLONE = {"drug": "prednisolone", "amount": "20 mg/day", "route": "oral", "every": "1 day"}
SIROLIMUS = {"drug": "sirolimus", "amount": "1 mg", "route": "oral", "every": "1 day", "stop": 40}
STEROID = {"dose": "prednisolone", "lowest": "0 mg/day", "highest": "20 mg/day", "changes_on": [0, 14, 28]}
TABLETS = {"strengths": "prednisolone", "of": ["5 mg", "20 mg"], "halves": True}
RITUXIMAB = {"drug": "rituximab", "amount": "300 mg", "route": "iv", "infusion": "4 h", "every": "7 day", "count": 2}


def made(doses, free, limits=()):
    data = {
        "name": "mine",
        "description": "a test",
        "patient": "seidel_2009",
        "start": {"name": "begin", "description": "to begin from.", "doses": doses},
        "horizon": "6 week",
        "ensemble": {"children": 1, "draws": 1, "seed": 1},
        "free": free,
        "goals": [{"maximise": "survival", "weight": 1}],
        "limits": list(limits),
    }
    asked = from_data(PlanningProblem, data, where="mine")
    return template_of(asked, combinations(asked)[0].regimen)


def bowl(centre, seed):
    """A concave goal with its top at a point, the quantities coupled."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(len(centre), len(centre)))
    curvature = np.eye(len(centre)) + 0.3 * root @ root.T / len(centre)
    return lambda x: (-float((x - centre) @ curvature @ (x - centre)), 0.0)


def brute(template, value):
    grid = Grid(template)
    axes = [grid.values(place, template.start) for place in range(len(template.names))]
    kept = [np.array(point) for point in product(*axes) if not grid.broken(np.array(point))]
    return max(kept, key=lambda point: value(point)[0])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("limits", [[TABLETS], [TABLETS, {"taper": "prednisolone", "smallest_step": "5 mg/day"}]])
def test_the_local_search_finds_the_best_of_all_tablets(seed, limits):
    template = made([PREDNISOLONE], [STEROID], limits)
    centre = np.sort(np.random.default_rng(100 + seed).uniform(1.0, 19.0, 3))[::-1].copy()
    value = bowl(centre, seed)
    found = prescribable(template, centre, value)
    best = brute(template, value)
    assert found.value == pytest.approx(value(best)[0], rel=1e-9)
    assert found.cost == pytest.approx(-value(best)[0])
    assert found.outcome == "no neighbour is better"
    assert found.tried < 200
    assert not Grid(template).broken(found.x)
    assert np.all(np.isin(found.x, np.arange(0.0, 20.1, 2.5)))


RULES = {
    "one change": {"changes": "prednisolone", "most": 1},
    "large steps": {"taper": "prednisolone", "smallest_step": "5 mg/day"},
}


@pytest.mark.parametrize("rule", RULES)
def test_rules_on_changes_do_not_keep_the_search_from_the_best(rule):
    """Four periods, ten tops: where single steps break the rules, the search begins at the best of several points."""
    template = made([PREDNISOLONE], [{**STEROID, "changes_on": [0, 7, 14, 28]}], [TABLETS, RULES[rule]])
    grid = Grid(template)
    points = (np.array(p) for p in product(np.arange(0.0, 20.1, 2.5), repeat=4))
    kept = [p for p in points if not grid.broken(p)]
    for seed in range(10):
        centre = np.sort(np.random.default_rng(500 + seed).uniform(1.0, 19.0, 4))[::-1].copy()
        value = bowl(centre, seed)
        assert prescribable(template, centre, value).value == pytest.approx(max(value(p)[0] for p in kept)), seed


def test_few_changes_by_the_cheapest_mergers():
    template = made([PREDNISOLONE], [STEROID], [TABLETS, {"changes": "prednisolone", "most": 1}])
    value = bowl(np.array([16.0, 14.0, 4.0]), 0)
    found = prescribable(template, np.array([16.0, 14.0, 4.0]), value)
    np.testing.assert_array_equal(found.x, [15.0, 15.0, 5.0])
    assert found.value == value(brute(template, value))[0]
    assert found.changes == (
        "prednisolone dose day 0-14: 16 to 15 mg/day",
        "prednisolone dose day 14-28: 14 to 15 mg/day",
        "prednisolone dose day 28 on: 4 to 5 mg/day",
    )


def test_fewer_changes_for_a_stated_loss():
    template = made([PREDNISOLONE], [STEROID], [TABLETS])
    value = bowl(np.array([10.0, 7.5, 5.0]), 1)
    dear = prescribable(template, np.array([10.0, 7.5, 5.0]), value)
    np.testing.assert_array_equal(dear.x, [10.0, 7.5, 5.0])
    assert (dear.cost, dear.changes) == (0.0, ())
    cheap = prescribable(template, np.array([10.0, 7.5, 5.0]), value, RoundingOptions(give=100.0))
    assert len(set(cheap.x)) == 1


def test_linear_limits_hold_after_rounding_up():
    limits = [{"strengths": "prednisolone", "of": ["5 mg"]}, {"cumulative_dose": "prednisolone", "most": "340 mg"}]
    template = made([PREDNISOLONE], [STEROID], limits)
    x = np.array([8.0, 8.0, 8.0])
    found = prescribable(template, x, bowl(x, 2))
    assert template.linear.excess(found.x).max() == 0.0
    assert 14 * found.x.sum() <= 340
    np.testing.assert_array_equal(np.sort(found.x), [5.0, 5.0, 10.0])


def test_days_are_whole_and_doses_too():
    free = [
        {"stop": "sirolimus", "earliest": 2.5, "latest": 40},
        {"days": "rituximab", "earliest": 0, "latest": 30, "apart": 7},
    ]
    template = made([SIROLIMUS, RITUXIMAB], free)
    value = bowl(np.array([17.4, 3.2, 9.9]), 3)
    found = prescribable(template, np.array([17.4, 3.2, 10.2]), value)
    np.testing.assert_array_equal(found.x, np.round(found.x))
    assert template.linear.excess(found.x).max() == 0.0
    assert found.cut_doses == ()
    axes = [np.arange(14.0, 21.0), np.arange(0.0, 8.0), np.arange(7.0, 15.0)]
    kept = [np.array(p) for p in product(*axes) if p[2] - p[1] >= 7]
    assert found.value == pytest.approx(max(value(p)[0] for p in kept))


def test_a_stop_falls_on_a_day_of_a_dose():
    weekly = {"drug": "prednisolone", "amount": "20 mg", "route": "oral", "every": "7 day", "start": 1}
    template = made([weekly], [{"stop": "prednisolone", "earliest": 5, "latest": 40}])
    np.testing.assert_array_equal(Grid(template).values(0, template.start), [8.0, 15.0, 22.0, 29.0, 36.0])
    assert prescribable(template, np.array([20.0]), bowl(np.array([20.0]), 0)).x == [22.0]


def test_the_limits_of_others_come_before_the_goal():
    template = made([PREDNISOLONE], [STEROID], [TABLETS])
    x = np.array([11.0, 11.0, 11.0])

    def value(at):
        return -float(np.sum((at - 11.0) ** 2)), max(0.0, 32.0 - float(at.sum()))

    found = prescribable(template, x, value)
    assert found.violation == 0.0
    assert found.x.sum() == 32.5


def test_doses_without_strengths_keep_three_digits():
    line = {"dose": "sirolimus", "lowest": "0 mg", "highest": "4 mg"}
    template = made([SIROLIMUS], [line])
    x = np.array([1.23456])
    assert prescribable(template, x, bowl(x, 0)).x == pytest.approx([1.23])


def test_the_same_question_has_the_same_answer_and_the_budget_is_kept():
    template = made([PREDNISOLONE], [STEROID], [TABLETS])
    x = np.array([17.0, 9.0, 3.0])
    asked = []

    def value(at):
        asked.append(at)
        return bowl(np.array([3.0, 9.0, 17.0]), 4)(at)

    short = prescribable(template, x, value, RoundingOptions(evaluations=7))
    assert (short.outcome, short.tried, len(asked)) == ("out of evaluations", 7, 7)
    assert not Grid(template).broken(short.x)
    long = prescribable(template, x, value)
    again = prescribable(template, x, value)
    np.testing.assert_array_equal(long.x, again.x)
    assert long.tried == again.tried
    assert long.value >= short.value


@pytest.mark.parametrize("after", [0, 1, 5])
def test_an_interrupt_keeps_the_best(after):
    template = made([PREDNISOLONE], [STEROID], [TABLETS])
    x, asked = np.array([17.0, 9.0, 3.0]), []

    def value(at):
        if len(asked) == after:
            raise KeyboardInterrupt
        asked.append(bowl(np.array([3.0, 9.0, 17.0]), 4)(at)[0])
        return asked[-1], 0.0

    found = prescribable(template, x, value)
    assert found.outcome == "interrupted"
    assert not Grid(template).broken(found.x)
    assert np.isnan(found.value) if after < 2 else found.value == max(asked[1:])


def test_refusals_word_for_word():
    sized = made(
        [{**PREDNISOLONE, "amount": "2 mg/kg/day"}],
        [{**STEROID, "lowest": "0 mg/kg/day", "highest": "2 mg/kg/day"}],
        [TABLETS],
    )
    with pytest.raises(UsageError) as caught:
        prescribable(sized, sized.start, lambda x: (0.0, 0.0))
    assert str(caught.value) == (
        "mine: `prednisolone` is dosed in `mg/kg/day`, and its tablets are in mg. Tablets are counted for doses in mg. "
        "Round `template.sized(x)`."
    )
    narrow = made([PREDNISOLONE], [{**STEROID, "lowest": "11 mg/day", "highest": "12 mg/day"}], [TABLETS])
    with pytest.raises(RecordError) as caught:
        prescribable(narrow, narrow.start, lambda x: (0.0, 0.0))
    assert str(caught.value) == (
        "mine: no tablets or steps of `prednisolone` make prednisolone dose day 0-14. It lies between 11 and 12 "
        "mg/day. Widen its bounds, or give other strengths."
    )
    limits = [TABLETS, {"cumulative_dose": "prednisolone", "most": "100 mg"}]
    least = made([PREDNISOLONE], [{**STEROID, "lowest": "2.5 mg/day"}], limits)
    with pytest.raises(RecordError) as caught:
        prescribable(least, least.start, lambda x: (0.0, 0.0))
    assert str(caught.value) == (
        "mine: nothing that can be prescribed was found that keeps `prednisolone: at most 100 mg in all`; the nearest "
        "is 5 away. Prescribed doses keep the limits. Widen the limit, or give other strengths or steps."
    )


def test_fewest_tablets():
    limit = from_data(PlanningProblem, _plan(TABLETS), where="mine").limits[0]
    assert tablets_for(32.5, limit) == ((1.5, 20.0), (0.5, 5.0))
    assert tablets_in_words(tablets_for(27.5, limit)) == "1 x 20 mg + 1.5 x 5 mg"
    assert tablets_for(3.0, limit) is None
    assert tablets_for(0.0, limit) == ()
    step = from_data(PlanningProblem, _plan({"step": "prednisolone", "of": "0.5 mg"}), where="mine").limits[0]
    assert tablets_for(1.5, step) == ((3.0, 0.5),)
    assert tablets_for(1.6, step) is None


def _plan(limit):
    return {
        "name": "mine",
        "description": "a test",
        "patient": "seidel_2009",
        "start": "prednisolone",
        "horizon": "6 week",
        "ensemble": {"children": 1, "draws": 1, "seed": 1},
        "free": [STEROID],
        "goals": [{"maximise": "survival", "weight": 1}],
        "limits": [limit],
    }
