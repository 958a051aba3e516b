from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data

DOSE: dict[str, Any] = {"drug": "prednisolone", "amount": "2 mg/kg/day", "route": "oral", "every": "12 h"}


def regimen(*doses: dict[str, Any], **other: Any) -> Regimen:
    return from_data(Regimen, {"name": "r", "description": "d", "doses": list(doses)} | other)


def rows(plan: Regimen, until: float) -> list[tuple[float, float]]:
    return [(row.time, row.amount) for row in plan.administrations(until)]


def test_a_day_amount_is_split() -> None:
    first, second = regimen(DOSE | {"maximum": "60 mg/day"}).administrations(1)
    assert (first.time, second.time) == (0.0, 0.5)
    assert first.amount == 1.0
    assert first.maximum_mg == 30.0
    assert (first.per_day, first.basis, first.duration, first.titration) == (2.0, "mg/kg", 0.0, None)


def test_an_order_that_stops_says_so() -> None:
    plan = regimen(DOSE | {"stop": 1})
    assert rows(plan, 10) == [(0.0, 1.0), (0.5, 1.0), (1.0, 0.0)]
    assert plan.administrations(10)[-1].per_day == 0.0
    assert rows(plan, 1) == [(0.0, 1.0), (0.5, 1.0)]


def test_counted_infusions() -> None:
    plan = regimen(
        {
            "drug": "rituximab",
            "amount": "375 mg/m2",
            "route": "iv",
            "infusion": "4 h",
            "every": "7 day",
            "count": 4,
            "start": 2,
        }
    )
    assert rows(plan, 100) == [(2.0, 375.0), (9.0, 375.0), (16.0, 375.0), (23.0, 375.0), (30.0, 0.0)]
    assert plan.administrations(100)[0].duration == pytest.approx(4 / 24)
    assert plan.administrations(100)[0].per_day == pytest.approx(1 / 7)


def test_days_of_the_week_and_clock_times() -> None:
    plan = regimen(
        {
            "drug": "prednisolone",
            "amount": "5 mg",
            "route": "oral",
            "at": ["20:00", "08:00"],
            "days_of_week": ["mon", "thu"],
        }
    )
    assert [time for time, _ in rows(plan, 8)] == pytest.approx(
        [8 / 24, 20 / 24, 3 + 8 / 24, 3 + 20 / 24, 7 + 8 / 24, 7 + 20 / 24]
    )
    assert plan.administrations(8)[0].per_day == pytest.approx(4 / 7)


def test_loading_doses_come_first() -> None:
    plan = regimen(
        {
            "drug": "sirolimus",
            "amount": "1 mg/m2",
            "route": "oral",
            "every": "1 day",
            "loading": {"amount": "3 mg/m2", "count": 2},
        }
    )
    assert rows(plan, 4) == [(0.0, 3.0), (1.0, 3.0), (2.0, 1.0), (3.0, 1.0)]


def test_a_taper_goes_down_by_shares_then_stops() -> None:
    plan = regimen(
        {
            "drug": "prednisolone",
            "amount": "2 mg/kg",
            "route": "oral",
            "every": "1 day",
            "taper": [
                {"after": "2 day", "by": "50 %", "every": "2 day", "until": "0.5 mg/kg"},
                {"after": "1 day", "to": "0 mg/kg"},
            ],
        }
    )
    assert rows(plan, 30) == [(0.0, 2.0), (1.0, 2.0), (2.0, 1.0), (3.0, 1.0), (4.0, 0.5), (5.0, 0.0)]


def test_a_taper_by_amounts_is_kept_if_asked() -> None:
    steps = [{"after": "1 day", "by": "10 mg", "every": "1 day", "until": "5 mg"}]
    plan = regimen(
        {
            "drug": "prednisolone",
            "amount": "30 mg",
            "route": "oral",
            "every": "1 day",
            "taper": steps,
            "after_taper": "maintain",
        }
    )
    assert rows(plan, 6) == [(0.0, 30.0), (1.0, 20.0), (2.0, 10.0), (3.0, 5.0), (4.0, 5.0), (5.0, 5.0)]


TITRATED = {
    "drug": "tacrolimus",
    "amount": "0.15 mg/kg/day",
    "route": "oral",
    "every": "12 h",
    "start": 2,
    "target_trough": {
        "low": "5 ng/mL",
        "high": "10 ug/L",
        "sampling_days": [5.2, 10],
        "then_every": "14 day",
        "smallest_dose": "0.03 mg/kg/day",
        "largest_dose": "0.3 mg/kg/day",
        "largest_step": 1.5,
    },
}


def test_troughs_are_sampled_before_a_dose() -> None:
    (titration,) = regimen(DOSE, TITRATED).titrations(45)
    assert titration.sample_times == (7.5, 12.0, 26.0, 40.0)
    assert (titration.low, titration.high) == pytest.approx((0.005, 0.010))
    assert titration.target == pytest.approx(0.005 * 2**0.5)
    assert (titration.smallest, titration.largest, titration.largest_step) == pytest.approx((0.2, 2.0, 1.5))
    assert (titration.index, titration.order, titration.drug) == (0, 1, "tacrolimus")
    assert {row.titration for row in regimen(DOSE, TITRATED).administrations(5)} == {None, 0}


def test_sampling_ends_where_a_taper_begins() -> None:
    taper = [{"after": "8 day", "to": "0 mg/kg/day"}]
    (titration,) = regimen(TITRATED | {"taper": taper}).titrations(45)
    assert titration.sample_times == (7.5,)


def transplanted(day: float) -> Regimen:
    return regimen(
        DOSE | {"stop": "transplant - 1 day"},
        transplants=[
            {
                "day": day,
                "conditioning": "full",
                "serotherapy": "none",
                "donor": "haploidentical",
                "graft": "peripheral_blood",
                "cd34": "5e6 cells/kg",
                "prophylaxis": [
                    {
                        "drug": "ciclosporin",
                        "amount": "1 mg/kg",
                        "route": "iv",
                        "infusion": "2 h",
                        "every": "12 h",
                        "start": -1,
                        "stop": 1,
                    }
                ],
            }
        ],
    )


def test_prophylaxis_and_bridge_move_with_the_transplant() -> None:
    plan = transplanted(3)
    expected = [(t / 2, 1.0) for t in range(4)] + [(2.0, 0.0)] + [(2 + t / 2, 1.0) for t in range(4)] + [(4.0, 0.0)]
    assert rows(plan, 30) == expected
    assert plan.with_transplant_day(5) == transplanted(5)
    assert rows(plan.with_transplant_day(5), 60)[-1] == (6.0, 0.0)
    assert plan.transplants[0].cells() == {"cd34": 5e6, "cd3": None}
    assert plan.drugs == ("prednisolone", "ciclosporin")


def test_a_bridge_of_no_length_gives_nothing() -> None:
    plan = transplanted(0)
    assert {row.drug for row in plan.administrations(10)} == {"ciclosporin"}
    assert plan.administrations(10)[0].time == 0.0
    assert len(plan.in_words()) == 2


def test_words_of_a_plan() -> None:
    plan = regimen(
        DOSE | {"maximum": "60 mg/day", "taper": [{"after": "28 day", "to": "0 mg/kg/day"}]},
        {"drug": "sirolimus", "amount": "1 mg/m2", "route": "oral", "at": "08:00", "loading": {"amount": "3 mg/m2"}},
        TITRATED,
        {"drug": "rituximab", "amount": "375 mg/m2", "route": "iv", "infusion": "4 h", "every": "7 day", "count": 4},
        {
            "drug": "methylprednisolone",
            "amount": "10 mg/kg",
            "maximum": "1 g",
            "route": "iv",
            "every": "1 day",
            "stop": 3,
        },
        transplants=[
            {
                "day": 60,
                "conditioning": "reduced",
                "serotherapy": "atg",
                "donor": "matched_related",
                "graft": "cord",
                "cd34": "5e6 cells/kg",
            }
        ],
    )
    assert plan.in_words() == [
        "Prednisolone by mouth: 2 mg/kg a day in 2 doses, every 12 h, at most 60 mg a day, from day 0 until day 28.",
        "Taper of prednisolone (mg/kg/day): none from day 28.",
        "Sirolimus by mouth: 1 mg/m2 a dose, at 08:00 every day, from day 0.",
        "First dose of sirolimus: 3 mg/m2.",
        "Tacrolimus by mouth: 0.15 mg/kg a day in 2 doses, every 12 h, from day 2.",
        "Trough of tacrolimus kept between 5 ng/mL and 10 ug/L, sampled 5.2, 10 days after its start, then every "
        "14 days; dose from 0.03 mg/kg/day to 0.3 mg/kg/day, changed at most 1.5-fold at once.",
        "Rituximab as an infusion over 4 h: 375 mg/m2 a dose, every 7 days, from day 0, 4 doses.",
        "Methylprednisolone as an intravenous injection: 10 mg/kg a dose, every day, at most 1000 mg a dose, "
        "from day 0 until day 3.",
        "Transplant on day 60 of cord blood (5e6 cells/kg CD34) from a matched related donor, after reduced-intensity "
        "conditioning with antithymocyte globulin.",
    ]
    assert regimen().in_words() == ["No drug and no transplant."]


def test_round_trip_of_a_plan() -> None:
    for plan in (transplanted(3), regimen(TITRATED | {"every": "8 h"}, DOSE | {"start": "2 week"})):
        assert from_data(Regimen, plan.as_data()) == plan


@settings(max_examples=40, deadline=None)
@given(
    every=st.sampled_from(["6 h", "8 h", "12 h", "1 day", "7 day"]),
    start=st.integers(0, 40),
    length=st.integers(1, 90),
    until=st.integers(1, 200),
)
def test_rows_are_ordered_inside_and_per_day_counts_them(every: str, start: int, length: int, until: int) -> None:
    plan = regimen(
        {
            "drug": "prednisolone",
            "amount": "5 mg",
            "route": "oral",
            "every": every,
            "start": start,
            "stop": start + length,
        }
    )
    found = plan.administrations(until)
    times = [row.time for row in found]
    assert times == sorted(times)
    assert all(start <= time < until for time in times)
    given_rows = [row for row in found if row.amount > 0]
    if start + length < until:
        assert found[-1].amount == 0.0
        assert abs(len(given_rows) - length * given_rows[0].per_day) < 1
