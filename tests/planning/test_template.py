"""Templates: traced doses against written regimens, closed cases of tapers, ramps and transplants."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.errors import RecordError, SimulationError, UnitError, UsageError
from ipex_pd.numerics.events import schedule_of
from ipex_pd.planning.template import combinations, size_of, template_of
from ipex_pd.planning.template_grids import Grid
from ipex_pd.records.library import load_drug, load_patient, load_regimen
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data

PREDNISOLONE = {"drug": "prednisolone", "amount": "2 mg/kg/day", "route": "oral", "every": "1 day"}
TACROLIMUS = {"drug": "tacrolimus", "amount": "0.2 mg/kg/day", "route": "oral", "every": "12 h"}
RITUXIMAB = {
    "drug": "rituximab",
    "amount": "375 mg/m2",
    "route": "iv",
    "infusion": "4 h",
    "every": "7 day",
    "count": 3,
}
CICLOSPORIN_IV = {
    "drug": "ciclosporin",
    "amount": "2 mg/kg/day",
    "route": "iv",
    "infusion": "2 h",
    "every": "12 h",
    "start": -1,
    "stop": 21,
}
CICLOSPORIN = {
    "drug": "ciclosporin",
    "amount": "6 mg/kg/day",
    "route": "oral",
    "every": "12 h",
    "start": 21,
    "taper": [{"after": "10 day", "by": "2 mg/kg/day", "every": "7 day", "until": "0 mg/kg/day"}],
}
GRAFT = {
    "day": 40,
    "conditioning": "reduced",
    "serotherapy": "alemtuzumab",
    "donor": "matched_unrelated",
    "graft": "marrow",
    "prophylaxis": [CICLOSPORIN_IV, CICLOSPORIN],
}
DAY = {"transplant": "day", "earliest": 30, "latest": 60}
AIM = {
    "low": "5 ng/mL",
    "high": "10 ng/mL",
    "sampling_days": [5, 10],
    "smallest_dose": "0.02 mg/kg/day",
    "largest_dose": "0.6 mg/kg/day",
}
STEROID = {"dose": "prednisolone", "lowest": "0 mg/kg/day", "highest": "3 mg/kg/day"}


def regimen(*doses, grafts=(), **others):
    data = {"name": "begin", "description": "to begin from.", "doses": list(doses), "transplants": list(grafts)}
    return {**data, **others}


def problem(start, *free, limits=(), weeks=12, **others):
    data = {
        "name": "mine",
        "description": "a test",
        "patient": "seidel_2009",
        "start": start,
        "horizon": f"{weeks} week",
        "ensemble": {"children": 1, "draws": 1, "seed": 1},
        "free": list(free),
        "goals": [{"maximise": "survival", "weight": 1}],
        "limits": list(limits),
    }
    return from_data(PlanningProblem, {**data, **others}, where="mine")


def made(*args, **kwargs):
    asked = problem(*args, **kwargs)
    return template_of(asked, combinations(asked)[0].regimen)


def rows(schedule, horizon):
    """What is given: (day, drug, route, basis, amount, length, maximum, doses a day), nothing left out."""
    found = []
    for k, index in enumerate(schedule.order):
        order = schedule.orders[index]
        amount, time = float(schedule.amount[k]), float(schedule.times[k])
        if amount > 1e-12 and time < horizon - 1e-9:
            what = (order.drug, order.route, order.basis, order.maximum)
            found.append((round(time, 6), what, time, amount, float(schedule.duration[k]), float(schedule.per_day[k])))
    return sorted(found, key=lambda row: (row[0], str(row[1])))


def written(template, x):
    regimen_at = template.regimen(x)
    drugs = {name: load_drug(name) for name in regimen_at.drugs}
    return schedule_of(regimen_at, drugs, template.horizon)


def assert_same(template, x):
    traced, plain = rows(template.schedule(x), template.horizon), rows(written(template, x), template.horizon)
    assert [row[:2] for row in traced] == [row[:2] for row in plain]
    np.testing.assert_allclose([row[2:] for row in traced], [row[2:] for row in plain], rtol=1e-9, atol=1e-9)


# --- doses by periods


def test_a_taper_of_four_periods_has_the_levels_of_the_start():
    start = regimen(
        {
            **PREDNISOLONE,
            "taper": [{"after": "28 day", "by": "25 %", "every": "14 day", "until": "1 mg/kg/day"}],
            "after_taper": "maintain",
        }
    )
    template = made(start, {**STEROID, "changes_on": [0, 28, 42, 56]})
    assert template.names == tuple(f"prednisolone dose day {d}" for d in ("0-28", "28-42", "42-56", "56 on"))
    assert template.units == ("mg/kg/day",) * 4
    np.testing.assert_allclose(template.start, [2.0, 1.5, 1.125, 1.0])
    np.testing.assert_array_equal((template.lower, template.upper), ([0.0] * 4, [3.0] * 4))
    x = np.array([2.5, 2.0, 0.0, 0.5])
    schedule = template.schedule(x)
    np.testing.assert_array_equal(schedule.times, np.arange(84.0))
    np.testing.assert_array_equal(schedule.amount, np.repeat(x, [28, 14, 14, 28]))
    assert_same(template, x)
    assert [d.amount.value for d in template.regimen(x).doses] == [2.5, 2.0, 0.5]


def test_an_amount_a_day_is_split_and_its_maximum_stays():
    template = made(
        regimen({**TACROLIMUS, "maximum": "10 mg/day"}),
        {"dose": "tacrolimus", "changes_every": "4 week", "lowest": "0.1 mg/kg/day", "highest": "0.4 mg/kg/day"},
    )
    schedule = template.schedule(np.array([0.1, 0.2, 0.3]))
    np.testing.assert_allclose(np.unique(schedule.amount), [0.05, 0.1, 0.15])
    assert {order.maximum for order in schedule.orders} == {5.0}
    assert set(schedule.per_day) == {2.0}
    assert_same(template, template.start)


def test_equal_neighbours_are_one_order_and_nothing_is_left_out():
    template = made(regimen(PREDNISOLONE), {**STEROID, "changes_every": "2 week"})
    regimen_at = template.regimen(np.array([2.0, 2.0, 1.0, 0.0, 0.0, 0.5]))
    assert [(d.start.day, d.stop.day if d.stop else None, d.amount.value) for d in regimen_at.doses] == [
        (0.0, 28.0, 2.0),
        (28.0, 42.0, 1.0),
        (70.0, None, 0.5),
    ]
    assert {d.source.in_words() for d in regimen_at.doses} == {"assumed: found by optimisation of plan mine"}
    assert template.regimen(np.zeros(6)).doses == ()


def test_a_dose_that_is_free_for_a_time_is_fixed_before_and_after():
    start = regimen({**PREDNISOLONE, "taper": [{"after": "21 day", "to": "1 mg/kg/day"}], "after_taper": "maintain"})
    template = made(start, {**STEROID, "from": 14, "until": 28, "changes_every": "1 week"})
    assert template.names == ("prednisolone dose day 14-21", "prednisolone dose day 21-28")
    x = np.array([0.7, 0.3])
    np.testing.assert_allclose(template.schedule(x).amount, np.repeat([2.0, 0.7, 0.3, 1.0], [14, 7, 7, 56]))
    assert_same(template, x)


def test_a_freed_dose_goes_on_where_the_taper_reached_nothing():
    start = regimen({**PREDNISOLONE, "taper": [{"after": "28 day", "to": "0 mg/kg/day"}]})
    template = made(start, {**STEROID, "changes_on": [0, 28]})
    np.testing.assert_allclose(template.start, [2.0, 0.0])
    assert_same(template, np.array([1.0, 0.5]))
    assert np.sum(template.schedule(np.array([1.0, 0.5])).amount) == pytest.approx(28 + 28)


def test_a_freed_dose_gives_way_to_the_next_order_of_the_drug():
    first = {**PREDNISOLONE, "taper": [{"after": "14 day", "to": "0 mg/kg/day"}]}
    second = {**PREDNISOLONE, "amount": "5 mg", "start": 42}
    template = made(regimen(first, second), {**STEROID, "changes_on": [0, 14]})
    assert template.names == ("prednisolone dose day 0-14", "prednisolone dose day 14-42")
    assert_same(template, np.array([1.0, 0.5]))


def test_doses_at_clock_times_on_days_of_the_week():
    dose = {**PREDNISOLONE, "amount": "10 mg", "at": ["08:00"], "days_of_week": ["mon", "thu"], "start": 3}
    dose.pop("every")
    template = made(
        regimen(dose), {"dose": "prednisolone", "changes_on": [3, 30], "lowest": "0 mg", "highest": "20 mg"}
    )
    assert_same(template, np.array([5.0, 2.5]))
    assert template.schedule(template.start).times[0] == pytest.approx(3 + 8 / 24)


def test_a_loading_dose_outside_the_free_time_stays_and_inside_it_goes():
    dose = {
        "drug": "sirolimus",
        "amount": "1 mg/m2",
        "route": "oral",
        "every": "1 day",
        "loading": {"amount": "3 mg/m2"},
    }
    line = {"dose": "sirolimus", "lowest": "0 mg/m2", "highest": "4 mg/m2"}
    late = made(regimen(dose), {**line, "from": 7})
    np.testing.assert_allclose(late.schedule(np.array([2.0])).amount[:8], [3, 1, 1, 1, 1, 1, 1, 2])
    assert_same(late, np.array([2.0]))
    whole = made(regimen(dose), line)
    np.testing.assert_allclose(whole.schedule(np.array([2.0])).amount[:2], [2, 2])


# --- starts, stops, days


def test_a_free_stop_shrinks_the_last_dose_to_nothing():
    template = made(regimen(PREDNISOLONE), {"stop": "prednisolone", "earliest": 0, "latest": 60})
    given = {stop: np.asarray(template.schedule(np.array([stop])).amount) for stop in (10.0, 10.25, 11.0)}
    np.testing.assert_allclose(given[10.0][9:12], [2.0, 0.0, 0.0])
    np.testing.assert_allclose(given[10.25][9:12], [2.0, 0.5, 0.0])
    np.testing.assert_allclose(given[11.0][9:12], [2.0, 2.0, 0.0])
    total = jax.grad(lambda x: jnp.sum(template.schedule(x).amount))
    np.testing.assert_allclose(total(jnp.array([10.3])), [2.0])
    for stop in (0.0, 10.0, 10.25, 59.5):
        assert_same(template, np.array([stop]))


def test_a_free_start_moves_the_doses_with_their_taper_and_loading():
    dose = {**PREDNISOLONE, "taper": [{"after": "7 day", "to": "1 mg/kg/day"}, {"after": "7 day", "to": "0 mg/kg/day"}]}
    template = made(regimen(dose), {"start": "prednisolone", "earliest": 0, "latest": 40})
    schedule = template.schedule(np.array([12.5]))
    np.testing.assert_allclose(schedule.times[:14], 12.5 + np.arange(14))
    np.testing.assert_allclose(schedule.amount[:14], np.repeat([2.0, 1.0], 7))
    slope = jax.jacobian(lambda x: template.schedule(x).times)(jnp.array([3.0]))
    np.testing.assert_array_equal(slope, np.ones((15, 1)))
    assert_same(template, np.array([12.5]))


def test_start_stop_and_doses_of_one_order_are_free_together():
    template = made(
        regimen(TACROLIMUS),
        {"start": "tacrolimus", "earliest": 0, "latest": 14},
        {"stop": "tacrolimus", "earliest": 10, "latest": 70},
        {"dose": "tacrolimus", "changes_on": [7, 28], "lowest": "0 mg/kg/day", "highest": "1 mg/kg/day"},
    )
    assert template.names == (
        "tacrolimus start",
        "tacrolimus stop",
        "tacrolimus dose day 0 on after its start",
        "tacrolimus dose day 7-28",
        "tacrolimus dose day 28 on",
    )
    whole = np.array([3.0, 50.0, 0.2, 0.4, 0.6])
    schedule = template.schedule(whole)
    amounts = np.asarray(schedule.amount)[: 2 * 60]
    np.testing.assert_allclose(amounts, np.repeat([0.1, 0.2, 0.3, 0.0], [8, 42, 44, 26]))
    assert_same(template, whole)


def test_infusions_have_days_of_their_own():
    template = made(regimen(RITUXIMAB), {"days": "rituximab", "earliest": 0, "latest": 40, "apart": 5})
    np.testing.assert_allclose(template.start, [0.0, 7.0, 14.0])
    x = np.array([2.0, 8.5, 30.0])
    assert_same(template, x)
    stops = [(d.start.day, d.stop.day, d.every) for d in template.regimen(x).doses]
    assert stops == [(2.0, 8.5, 7.0), (8.5, 15.5, 7.0), (30.0, 37.0, 7.0)]
    np.testing.assert_allclose(template.linear.excess(np.array([2.0, 6.0, 30.0])), [1.0, 0.0])
    np.testing.assert_array_equal(jax.jacobian(lambda y: template.schedule(y).times[:1])(x), [[1.0, 0.0, 0.0]])


@given(
    doses=st.lists(st.floats(0.0, 3.0), min_size=4, max_size=4),
    stop=st.floats(20.0, 80.0),
    begin=st.floats(0.0, 30.0),
    days=st.lists(st.floats(0.0, 20.0), min_size=3, max_size=3),
)
@settings(max_examples=40, deadline=None)
def test_the_written_regimen_gives_the_traced_doses(doses, stop, begin, days):
    x = np.array([stop, begin, *np.cumsum(np.array(days) + 1.0), *doses])
    assert_same(MIXED, x)


MIXED = made(
    regimen(PREDNISOLONE, {**TACROLIMUS, "count": 40}, RITUXIMAB),
    {"stop": "prednisolone", "earliest": 20, "latest": 80},
    {"start": "tacrolimus", "earliest": 0, "latest": 30},
    {"days": "rituximab", "earliest": 0, "latest": 70, "apart": 1},
    {**STEROID, "changes_on": [0, 14, 28, 56]},
)


# --- transplant


@pytest.fixture(scope="module")
def bridge():
    start = regimen(
        {**PREDNISOLONE, "stop": "transplant"}, {**TACROLIMUS, "stop": "transplant - 1 day"}, grafts=[GRAFT]
    )
    return made(start, DAY)


def test_all_that_counts_from_the_transplant_moves_with_it(bridge):
    schedule = bridge.schedule(np.array([50.0]))
    np.testing.assert_array_equal(schedule.transplant_times, [50.0])
    given = rows(schedule, bridge.horizon)
    days = {drug: [r[2] for r in given if r[1][:2] == drug] for drug in {r[1][:2] for r in given}}
    assert (days["prednisolone", "oral"][-1], days["tacrolimus", "oral"][-1]) == (49.0, 48.5)
    assert days["ciclosporin", "iv"][0] == 49.0
    assert days["ciclosporin", "oral"][0] == 71.0
    assert len(given) == len(set(r[:2] for r in given))
    plain = load_regimen("transplant_early_reduced").with_transplant_day(50.0)
    assert plain.transplants[0].day == 50.0


def test_orders_that_the_transplant_only_moves_stay_as_they_are_written(bridge):
    found = bridge.regimen(np.array([50.0]))
    assert found.transplants[0].prophylaxis == bridge.base.transplants[0].prophylaxis
    assert found.doses == bridge.base.doses
    assert found.transplants[0].day == 50.0


@pytest.mark.parametrize("day", [30.0, 40.0, 44.3, 59.75])
def test_a_moved_transplant_is_written_with_all_its_doses(bridge, day):
    found = bridge.regimen(np.array([day]))
    drugs = {name: load_drug(name) for name in found.drugs}
    names = bridge.schedule(bridge.start).transplants
    plain = schedule_of(found, drugs, bridge.horizon, {name: np.zeros(1) for name in names})
    traced = rows(bridge.schedule(np.array([day])), bridge.horizon)
    expected = rows(plain, bridge.horizon)
    assert [r[:2] for r in traced] == [r[:2] for r in expected]
    np.testing.assert_allclose([r[2:] for r in traced], [r[2:] for r in expected], rtol=1e-9, atol=1e-9)


def test_the_whole_dose_of_a_bridge_is_continuous_in_the_day_of_transplant(bridge):
    total = jax.jit(lambda x: jnp.sum(bridge.schedule(x).amount))
    slope = jax.grad(lambda x: jnp.sum(bridge.schedule(x).amount))(jnp.array([44.2]))
    np.testing.assert_allclose(slope, [2.0 + 0.2])
    at = [float(total(jnp.array([45.0 + shift]))) for shift in (-1e-7, 0.0, 1e-7)]
    np.testing.assert_allclose(at, at[1], rtol=1e-7)


def test_doses_of_prophylaxis_and_its_end_are_free():
    start = regimen(
        PREDNISOLONE, grafts=[{**GRAFT, "prophylaxis": [CICLOSPORIN_IV, {**CICLOSPORIN, "taper": [], "stop": 40}]}]
    )
    key = "transplant: ciclosporin 2"
    template = made(
        start,
        DAY,
        {"stop": key, "earliest": 30, "latest": 60},
        {"dose": key, "changes_on": [21, 28], "lowest": "1 mg/kg/day", "highest": "8 mg/kg/day"},
        weeks=20,
    )
    assert template.names == (
        "transplant day",
        f"{key} stop after the transplant",
        f"{key} dose day 21-28 after the transplant",
        f"{key} dose day 28 on after the transplant",
    )
    np.testing.assert_allclose(template.start, [40.0, 40.0, 6.0, 6.0])
    found = template.regimen(np.array([35.0, 50.0, 4.0, 2.0])).transplants[0]
    assert [(d.start.day, d.stop.day, d.amount.value) for d in found.prophylaxis[1:]] == [(21, 28, 4.0), (28, 50, 2.0)]


def test_the_donor_is_there_before_the_transplant():
    donors = {
        "transplant": "donor",
        "among": [{"donor": "matched_unrelated"}, {"donor": "matched_related", "from": 45}],
    }
    asked = problem(regimen(PREDNISOLONE, grafts=[GRAFT]), DAY, donors)
    found = combinations(asked)
    assert [dict(c.choices) for c in found] == [{"donor": "matched_unrelated"}, {"donor": "matched_related"}]
    assert [template_of(asked, c.regimen).lower[0] for c in found] == [30.0, 45.0]


def test_all_choices_are_combined_the_start_first():
    asked = problem(
        regimen(TACROLIMUS, grafts=[GRAFT]),
        {"interval": "tacrolimus", "among": ["24 h", "12 h"]},
        {"transplant": "conditioning", "among": ["full", "reduced"]},
        alternatives=["prednisolone"],
    )
    found = combinations(asked)
    assert [dict(c.choices) for c in found] == [
        {"regimen": "begin", "interval of tacrolimus": "12 h", "conditioning": "reduced"},
        {"regimen": "begin", "interval of tacrolimus": "12 h", "conditioning": "full"},
        {"regimen": "begin", "interval of tacrolimus": "1 day", "conditioning": "reduced"},
        {"regimen": "begin", "interval of tacrolimus": "1 day", "conditioning": "full"},
        {"regimen": "prednisolone"},
    ]
    assert found[0].regimen == from_data(Regimen, asked.start.as_data())
    assert found[2].regimen.doses[0].every == 1.0
    assert found[1].regimen.transplants[0].conditioning == "full"


# --- in mg, in words, as a calendar


def test_tablets_are_counted_at_the_weight_at_the_beginning_of_the_period():
    limits = [{"strengths": "prednisolone", "of": ["1 mg", "5 mg"], "halves": True}]
    template = made(
        regimen({**PREDNISOLONE, "maximum": "20 mg/day"}), {**STEROID, "changes_on": [0, 42]}, limits=limits
    )
    size = size_of(load_patient("seidel_2009"))
    mg, x = template.sized(np.array([1.0, 3.0]))
    assert mg.units == ("mg/day", "mg/day")
    np.testing.assert_allclose(x, [size.weight(0.0), 20.0])
    np.testing.assert_allclose(mg.upper, [min(20.0, 3 * size.weight(0.0)), 20.0])
    assert {order.basis for order in mg.schedule(x).orders} == {"mg"}
    assert_same(mg, np.array([7.5, 16.0]))
    table = mg.calendar(np.array([7.5, 16.0]))
    assert list(table.tablets) == ["1.5 x 5 mg", "3 x 5 mg + 1 x 1 mg"]
    assert list(table.mg_a_day) == [7.5, 16.0]
    assert template.sized(template.start)[0] is not template
    plain = made(regimen(PREDNISOLONE), STEROID)
    assert plain.sized(plain.start)[0] is plain


def test_a_plan_reads_as_sentences_and_as_a_calendar():
    template = made(
        regimen(PREDNISOLONE),
        {**STEROID, "changes_on": [0, 14]},
        {"stop": "prednisolone", "earliest": 20, "latest": 40},
    )
    x = np.array([30.0, 2.0, 1.0])
    assert template.in_words(x)[:2] == [
        "Prednisolone by mouth: 2 mg/kg a day in 1 dose, every day, from day 0 until day 14.",
        "Prednisolone by mouth: 1 mg/kg a day in 1 dose, every day, from day 14 until day 30.",
    ]
    table = template.calendar(x)
    weight = size_of(load_patient("seidel_2009")).weight
    assert list(table.day) == [0.0, 14.0]
    assert list(table.until) == [14.0, 30.0]
    assert list(table.week) == ["week 1, day 1", "week 3, day 1"]
    assert list(table.dose) == ["2 mg/kg", "1 mg/kg"]
    np.testing.assert_allclose(table.mg_a_day, [2 * weight(0.0), weight(14.0)])
    assert "tablets" in table


def test_an_order_that_follows_troughs_can_be_frozen_as_a_child_was_given():
    asked = problem(regimen(PREDNISOLONE, {**TACROLIMUS, "target_trough": AIM}), STEROID, weeks=3)
    start = combinations(asked)[0].regimen
    troughs = SimpleNamespace(times=np.array([5.0, 10.0]), multiplier=np.array([[1.5, 0.75]]), rows=lambda drug: [0, 1])
    template = template_of(asked, start, titrated=SimpleNamespace(regimen="begin", troughs=troughs))
    schedule = template.schedule(template.start)
    tacrolimus = np.array([schedule.orders[k].drug == "tacrolimus" for k in schedule.order])
    np.testing.assert_allclose(np.asarray(schedule.amount)[tacrolimus], np.repeat([0.1, 0.15, 0.075], [10, 10, 22]))
    assert_same(template, template.start)
    assert template.regimen(template.start).titrations(21.0) == []


# --- refusals


def refusal(kind, *args, **kwargs):
    with pytest.raises(kind) as caught:
        made(*args, **kwargs)
    return str(caught.value)


def test_refusals_word_for_word():
    titrated = {**TACROLIMUS, "target_trough": AIM}
    assert refusal(RecordError, regimen(PREDNISOLONE, titrated), STEROID) == (
        "mine: `tacrolimus` of `begin` follows its trough level. The doses of a plan are settled beforehand. Free its "
        "dose from its start to its end (`dose: tacrolimus`), or take `target_trough` out of the regimen."
    )
    part = {"dose": "tacrolimus", "lowest": "0 mg/kg/day", "highest": "1 mg/kg/day", "from": 7}
    assert refusal(RecordError, regimen(titrated), part).startswith("mine: `tacrolimus` of `begin` follows its trough")
    assert refusal(UnitError, regimen(PREDNISOLONE), {**STEROID, "lowest": "0 mg/day", "highest": "9 mg/day"}) == (
        "mine free[0]: `9 mg/day` beside an order in `mg/kg/day`. Bounds are in the unit of the order. Write them in "
        "`mg/kg/day`."
    )
    clock = {**PREDNISOLONE, "at": "08:00"}
    clock.pop("every")
    assert refusal(RecordError, regimen(clock), {"stop": "prednisolone", "earliest": 1, "latest": 9}) == (
        "mine free[0]: `prednisolone` is given at clock times, and its days are free. Days are free for orders with "
        "`every`. Write `every: 12 h` in the start regimen."
    )
    assert refusal(RecordError, regimen(RITUXIMAB), {"stop": "rituximab", "earliest": 1, "latest": 9}) == (
        "mine free[0]: the stop of `rituximab` is free, and it has a `count`. An order ends by one of them. Take "
        "`count` out of the start regimen, or free its days."
    )
    days = {"days": "rituximab", "earliest": 0, "latest": 20, "apart": 2}
    assert refusal(RecordError, regimen({**RITUXIMAB, "count": None}), days) == (
        "mine free[0]: the days of `rituximab` are free, and it has no `count`. The number of doses is fixed. Write "
        "`count` in the start regimen."
    )
    assert refusal(RecordError, regimen(RITUXIMAB), days, {"start": "rituximab", "earliest": 0, "latest": 9}) == (
        "mine free[1]: the days of `rituximab` are free, and its start or stop besides. The days of all doses say "
        "when it starts and stops. Take one of the lines out."
    )
    assert refusal(RecordError, regimen(RITUXIMAB), {**days, "latest": 3}) == (
        "mine free[0]: 3 doses of `rituximab` at least 2 days apart do not fit. They come from day 0 to day 3. Raise "
        "`latest`, or lower `apart`."
    )
    twice = {"stop": "prednisolone", "earliest": 1, "latest": 9}
    assert refusal(RecordError, regimen(PREDNISOLONE), twice, {**twice, "latest": 8}) == (
        "mine free[1]: the stop of `prednisolone` is free twice. A quantity is freed once. Take one of the lines out."
    )


def test_refusals_of_transplants_word_for_word():
    start = regimen(PREDNISOLONE, grafts=[GRAFT])
    assert refusal(RecordError, start, {**DAY, "earliest": 0.5}) == (
        "mine free[0]: a transplant may come on day 0.5, and an order begins 1 days before it. Nothing is given before "
        "day 0. Write `earliest: 1` or later."
    )
    both = regimen(PREDNISOLONE, grafts=[GRAFT, {**GRAFT, "day": 80, "prophylaxis": []}])
    assert refusal(RecordError, both, DAY) == (
        "mine free[0]: `begin` has 2 transplants. The day of a single transplant can be free. Start from a regimen "
        "with one transplant, or take the line out."
    )
    late = {
        "transplant": "donor",
        "among": [{"donor": "matched_unrelated", "from": 70}, {"donor": "haploidentical", "from": 80}],
    }
    assert refusal(RecordError, start, late) == (
        "mine: no donor is there by the day of transplant. A transplant comes after its donor. Move the transplant, or "
        "add a donor."
    )
    clock = {k: v for k, v in CICLOSPORIN_IV.items() if k != "every"} | {"at": "08:00"}
    assert refusal(RecordError, regimen(PREDNISOLONE, grafts=[{**GRAFT, "prophylaxis": [clock]}]), DAY) == (
        "mine: `transplant: ciclosporin` is given at clock times and moves with the transplant. What moves has "
        "`every`. Write `every: 12 h` in the start regimen."
    )


def test_refusals_of_sizes_donors_and_frozen_titrations_word_for_word():
    limits = [{"strengths": "prednisolone", "of": ["5 mg"]}, {"taper": "prednisolone", "smallest_step": "5 mg/day"}]
    unsized = replace(made(regimen(PREDNISOLONE), STEROID, limits=limits), size=None)
    with pytest.raises(RecordError) as caught:
        unsized.sized(unsized.start)
    assert str(caught.value) == (
        "seidel_2009: tablets of `prednisolone` cannot be counted: the child has no weight. Doses by size are turned "
        "into mg by the weight at the beginning of each period. Write `weight: {value: 7.5 kg, source: ...}` in the "
        "patient file."
    )
    stepped = made(regimen(PREDNISOLONE), {**STEROID, "changes_on": [0, 14]}, limits=limits[1:])
    with pytest.raises(RecordError) as caught:
        Grid(replace(stepped, size=None)).unruly(np.array([2.0, 1.9]))
    assert str(caught.value) == (
        "mine: a step of `5 mg/day` in an order in `mg/kg/day`, and the child has no weight. Units are converted by "
        "the size of the child. Write the step in `mg/kg/day`."
    )
    donors = {"transplant": "donor", "among": [{"donor": "matched_unrelated", "from": 60}, {"donor": "haploidentical"}]}
    asked = problem(regimen(PREDNISOLONE, grafts=[GRAFT]), DAY, donors)
    with pytest.raises(RecordError) as caught:
        template_of(asked, asked.start)
    assert str(caught.value) == (
        "mine free[0]: the donor is there from day 60, and the transplant comes until day 60. A free day has room. "
        "Raise `latest`, or take the donor out."
    )
    course = SimpleNamespace(regimen="another", troughs=None)
    with pytest.raises(SimulationError) as caught:
        template_of(asked, asked.start, titrated=course)
    assert str(caught.value) == "begin: the simulation is of `another`. Doses are those of the plan given."
    capped = problem(regimen({**TACROLIMUS, "target_trough": AIM, "maximum": "5 mg/day"}), DAY | {"latest": 61})
    with pytest.raises(RecordError) as caught:
        template_of(capped, capped.start, titrated=SimpleNamespace(regimen="begin", troughs=None))
    assert str(caught.value) == (
        "begin: `tacrolimus` has a `maximum` and follows its trough. Titration multiplies what `maximum` has capped. "
        "Take `maximum` or `target_trough` out."
    )


def test_points_of_another_length_are_refused():
    template = made(regimen(PREDNISOLONE), STEROID)
    with pytest.raises(UsageError) as caught:
        template.regimen(np.zeros(2))
    assert str(caught.value) == (
        "mine: x has shape (2,), or is not finite. It holds 1 finite numbers: prednisolone dose day 0 on."
    )
    with pytest.raises(UsageError) as caught:
        template.place("dose")
    assert str(caught.value) == "mine: `dose` is not free. Free are: prednisolone dose day 0 on."
