"""Safety limits of a regimen: written orders above them are refused."""

from __future__ import annotations

from typing import Any

import pytest

from ipex_pd.errors import IpexError
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data

WHY = {"assumed": "an example"}
DOSE = {"drug": "tacrolimus", "amount": "0.15 mg/kg/day", "route": "oral", "every": "12 h"}


def regimen(limits: list[dict[str, Any]], **dose: Any) -> Regimen:
    limits = [{"drug": "tacrolimus", "source": WHY} | limit for limit in limits]
    data = {"name": "r", "description": "x", "doses": [DOSE | dose], "safety_limits": limits}
    return from_data(Regimen, data, where="r.yaml")


def test_limits_that_hold_are_kept_and_told() -> None:
    plan = regimen([{"single": "0.1 mg/kg", "daily": "10 mg/day"}])
    assert plan.in_words()[-1] == "Safety limit of tacrolimus: at most 0.1 mg/kg a dose and 10 mg a day."
    assert from_data(Regimen, plan.as_data()) == plan


@pytest.mark.parametrize(
    ("limits", "dose", "message"),
    [
        (
            [{"daily": "0.1 mg/kg/day"}],
            {},
            "r.yaml safety_limits: the order of `tacrolimus` gives 0.15 mg/kg a day. "
            "Its safety limit is 0.1 mg/kg a day. Lower the dose, or change the limit with its source.",
        ),
        (
            [{"single": "0.08 mg/kg"}],
            {"loading": {"amount": "0.2 mg/kg/day"}},
            "r.yaml safety_limits: the order of `tacrolimus` gives 0.1 mg/kg a dose. "
            "Its safety limit is 0.08 mg/kg a dose. Lower the dose, or change the limit with its source.",
        ),
        (
            [{"single": "4 mg"}],
            {"amount": "5 mg", "every": "14 day"},
            "r.yaml safety_limits: the order of `tacrolimus` gives 5 mg a dose. "
            "Its safety limit is 4 mg a dose. Lower the dose, or change the limit with its source.",
        ),
        (
            [{"drug": "tacrolimuss", "single": "4 mg"}],
            {},
            "r.yaml safety_limits[0].drug: `tacrolimuss` has a limit and no order. Nearest: `tacrolimus`. "
            "Rename it or take it out.",
        ),
        (
            [{"single": "4 mg"}, {"daily": "8 mg/day"}],
            {},
            "r.yaml safety_limits[1].drug: `tacrolimus` has its limits twice. They stand once. Take one of them out.",
        ),
        (
            [{}],
            {},
            "r.yaml safety_limits[0]: safety limits without a limit. They say `single`, `daily` or both. "
            "Write for example `single: 5 mg` or `daily: 10 mg/day`.",
        ),
        (
            [{"single": "4 mg/day"}],
            {},
            "r.yaml safety_limits[0].single: `4 mg/day` as a single limit. A single limit is an amount of one dose. "
            "Write `4 mg`.",
        ),
        (
            [{"daily": "4 mg"}],
            {},
            "r.yaml safety_limits[0].daily: `4 mg` as a daily limit. A daily limit is an amount of a day. "
            "Write `4 mg/day`.",
        ),
        (
            [{"single": "0 mg"}],
            {},
            "r.yaml safety_limits[0].single: a limit of nothing. A limit is more than zero. Take the drug out.",
        ),
    ],
)
def test_what_is_refused(limits: list[dict[str, Any]], dose: dict[str, Any], message: str) -> None:
    with pytest.raises(IpexError) as caught:
        regimen(limits, **dose)
    assert str(caught.value) == message


def test_a_maximum_keeps_an_order_below_its_limit() -> None:
    regimen([{"single": "4 mg", "daily": "8 mg/day"}], amount="5 mg", maximum="4 mg")
    with pytest.raises(IpexError, match="gives 8 mg a day"):
        regimen([{"daily": "7 mg/day"}], amount="5 mg", maximum="4 mg")
