from __future__ import annotations

from typing import Any

import pytest

from ipex_pd.errors import IpexError, RecordError, UnitError, UnknownKeyError
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data

DOSE: dict[str, Any] = {"drug": "prednisolone", "amount": "1 mg/kg/day", "route": "oral", "every": "12 h"}
TROUGH = {
    "low": "5 ng/mL",
    "high": "10 ng/mL",
    "sampling_days": [5],
    "smallest_dose": "0.1 mg/kg/day",
    "largest_dose": "2 mg/kg/day",
}
TRANSPLANT = {
    "day": 60,
    "conditioning": "reduced",
    "serotherapy": "alemtuzumab",
    "donor": "matched_unrelated",
    "graft": "marrow",
}


def regimen(*doses: dict[str, Any], transplants: tuple[dict[str, Any], ...] = ()) -> Regimen:
    data = {"name": "r", "description": "d", "doses": list(doses), "transplants": list(transplants)}
    return from_data(Regimen, data, where="r.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"amount": 5},
            "r.yaml doses[0].amount: dose `5` has no unit. A dose is written as `5 mg`, `0.1 mg/kg`, `60 mg/m2`, or a "
            "day's amount as `2 mg/kg/day`. Write for example `5 mg`.",
        ),
        (
            {"amount": "5 mL/kg"},
            "r.yaml doses[0].amount: `5 mL/kg` is not a dose. A dose is written as `5 mg`, `0.1 mg/kg`, `60 mg/m2`, or "
            "a day's amount as `2 mg/kg/day`.",
        ),
        (
            {"amount": "-1 mg"},
            "r.yaml doses[0].amount: dose `-1 mg` is negative. A dose is zero or more. Write it without the minus.",
        ),
        (
            {"amount": "0 mg"},
            "r.yaml doses[0].amount: dose `0 mg` is nothing. An order gives something. Take the order out.",
        ),
        (
            {"maximum": "1 mg/kg"},
            "r.yaml doses[0].maximum: maximum `1 mg/kg` depends on size. A maximum is in mg.",
        ),
        (
            {"every": 12},
            "r.yaml doses[0].every: `12` has no unit. Every duration carries its unit. "
            "Write for example `12 h` or `7 day`.",
        ),
        (
            {"every": "0 h"},
            "r.yaml doses[0].every: doses 0 h apart. They are at least an hour apart. "
            "Write `every: 12 h`, or use `infusion`.",
        ),
        (
            {"every": None},
            "r.yaml doses[0]: a dose needs one of `every` and `at`. It says when it is given. "
            "Write `every: 12 h`, or `at: ['08:00', '20:00']`.",
        ),
        (
            {"every": "7 day"},
            "r.yaml doses[0]: `1 mg/kg/day` is an amount a day, but doses are more than a day apart. "
            "Then the amount of one dose must be said. Write `mg/kg`.",
        ),
        (
            {"every": None, "at": "8:00"},
            "r.yaml doses[0]: `8:00` is not a time of day. Times are written `08:00`, in quotes.",
        ),
        (
            {"days_of_week": ["mon"]},
            "r.yaml doses[0]: `days_of_week` without `at`. Days of the week go with clock times. Add `at: '08:00'`.",
        ),
        (
            {"every": None, "at": "08:00", "amount": "1 mg", "days_of_week": ["monday"]},
            "r.yaml doses[0]: `monday` is not a day of the week. Days are mon, tue, wed, thu, fri, sat, sun.",
        ),
        (
            {"every": None, "at": ["08:00", "08:00"]},
            "r.yaml doses[0]: `at` names one twice. Each stands once.",
        ),
        (
            {"route": "iv", "infusion": "0 h"},
            "r.yaml doses[0].infusion: an infusion of no length. `infusion` is the length of an intravenous infusion. "
            "Write `infusion: 4 h`; a bolus has no `infusion`.",
        ),
        (
            {"infusion": "4 h"},
            "r.yaml doses[0].infusion: an infusion by mouth. `infusion` is the length of an intravenous infusion. "
            "Take `infusion` out.",
        ),
        (
            {"route": "rectal"},
            "r.yaml doses[0].route: `rectal` is not known here. Nearest: `oral`.",
        ),
        (
            {"start": 5, "stop": 5},
            "r.yaml doses[0].stop: it stops at day 5, not after its start at day 5. `stop` is later than `start`.",
        ),
        (
            {"stop": 5, "count": 3},
            "r.yaml doses[0]: both `stop` and `count`. An order ends by one of them. Take one of them out.",
        ),
        ({"count": 0}, "r.yaml doses[0].count: `0` is out of range. `count` must be at least 1."),
        (
            {"count": 1, "loading": {"amount": "2 mg/kg/day"}},
            "r.yaml doses[0]: the loading doses are all there is. `count` counts them too. Raise `count`.",
        ),
        (
            {"loading": {"amount": "2 mg/m2"}},
            "r.yaml doses[0]: loading dose `2 mg/m2` beside an order in `mg/kg/day`. Both are in one unit.",
        ),
        (
            {"start": "soon"},
            "r.yaml doses[0].start: `soon` is not a day. A day is written as `14`, `2 week`, `transplant` or "
            "`transplant - 1 day`.",
        ),
        (
            {"stop": "transplant"},
            "r.yaml doses[0]: an order counts from the transplant, but there is none. Add `transplants`.",
        ),
        (
            {"taper": [{"after": "7 day", "to": "0.5 mg/kg/day"}]},
            "r.yaml doses[0].taper: the taper never ends. It stays at 0.5 mg/kg/day. "
            "End at `0 mg/kg/day`, add `stop`, or write `after_taper: maintain`.",
        ),
        (
            {"taper": [{"after": "7 day", "by": "25 %", "every": "7 day", "until": "0 mg/kg/day"}]},
            "r.yaml doses[0].taper: the taper never ends. A share of what is left never reaches zero. "
            "Give `until` above zero and a last step `to` zero.",
        ),
        (
            {"taper": [{"after": "7 day", "by": "25 %"}]},
            "r.yaml doses[0].taper[0]: a taper `by` steps needs `every` and `until`. Otherwise it never ends.",
        ),
        (
            {"taper": [{"after": "7 day", "by": "1e-9 mg/kg/day", "every": "1 day", "until": "0 mg/kg/day"}]},
            "r.yaml doses[0]: a taper of more than 1000 steps. Its steps are too small. Write larger ones.",
        ),
        (
            {"amount": "1e999 mg"},
            "r.yaml doses[0].amount: dose `1e999 mg` is not a finite number. Numbers are finite.",
        ),
        ({"count": 10**30}, "r.yaml doses[0].count: `{n}` is out of range. `count` must be at most 10000."),
        (
            {"taper": [{"after": "7 day"}]},
            "r.yaml doses[0].taper[0]: a taper step needs one of `to` and `by`. "
            "It goes to an amount, or down by steps.",
        ),
        (
            {"taper": [{"after": "7 day", "to": "0 mg/kg/day", "every": "7 day"}]},
            "r.yaml doses[0].taper[0]: `every` and `until` go with `by`. A step `to` an amount happens once.",
        ),
        (
            {"taper": [{"after": "7 day", "to": "2 mg/kg/day"}], "after_taper": "maintain"},
            "r.yaml doses[0].taper: the taper goes from 1 to 2 mg/kg/day. A taper goes down. "
            "Write a rise as an order of its own.",
        ),
        (
            {"taper": [{"after": "7 day", "to": "5 mg"}], "after_taper": "maintain"},
            "r.yaml doses[0]: `5 mg` beside an order in `mg/kg/day`. An order keeps one unit. Write it in `mg/kg/day`.",
        ),
        (
            {"taper": [{"after": "7 day", "by": "1 mg", "every": "7 day", "until": "0 mg/kg/day"}]},
            "r.yaml doses[0]: `1 mg` is not a reduction of an order in `mg/kg/day`. "
            "A reduction is a share such as `25 %` or an amount in the order's unit.",
        ),
        (
            {"taper": [{"after": "7 day", "by": "120 %", "every": "7 day", "until": "0.1 mg/kg/day"}]},
            "r.yaml doses[0].taper: `120 %` is not a reduction. A share lies between 0 and 100 %.",
        ),
        (
            {"taper": [{"after": "7 day", "to": "0 mg/kg/day"}], "after_taper": "maintain"},
            "r.yaml doses[0]: `after_taper: maintain` of nothing. The taper reaches zero.",
        ),
        (
            {"taper": [{"after": "7 day", "to": "0 mg/kg/day"}], "count": 3},
            "r.yaml doses[0]: both `taper` and `count`. A taper ends at its last step. Take one of them out.",
        ),
        ({"after_taper": "maintain"}, "r.yaml doses[0]: `after_taper` without a taper. It says what follows a taper."),
        (
            {"maximun": "1 mg"},
            "r.yaml doses[0].maximun: `maximun` is not a key of a dose. Nearest: `maximum`, `amount`. "
            "Rename it or take it out.",
        ),
        (
            {"target_trough": TROUGH | {"high": "5 ng/mL"}},
            "r.yaml doses[0].target_trough: `5 ng/mL` is not below `5 ng/mL`. A target goes from low to high.",
        ),
        (
            {"target_trough": TROUGH | {"target": "20 ng/mL"}},
            "r.yaml doses[0].target_trough: target `20 ng/mL` is outside 5 ng/mL to 10 ng/mL. The target lies inside.",
        ),
        (
            {"target_trough": TROUGH | {"sampling_days": [5, 5]}},
            "r.yaml doses[0].target_trough: sampling days are not in order. They rise, and the first is after the "
            "order's start.",
        ),
        (
            {"target_trough": TROUGH | {"smallest_dose": "3 mg/kg/day"}},
            "r.yaml doses[0].target_trough: `3 mg/kg/day` is above `2 mg/kg/day`. Limits go from small to large.",
        ),
        (
            {"target_trough": TROUGH | {"low": "5 mg"}},
            "r.yaml doses[0].target_trough: `5 mg` does not measure what is asked. The unit must be `mg/L` or a "
            "multiple of it.",
        ),
    ],
)
def test_dose_rules(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecordError) as caught:
        regimen({key: value for key, value in (DOSE | changes).items() if value is not None})
    assert str(caught.value) == message.replace("{n}", str(10**30))


def test_error_classes_tell_the_kind() -> None:
    for changes, kind in (
        ({"amount": 5}, UnitError),
        ({"maximum": "1 mg/kg"}, UnitError),
        ({"dose": 1}, UnknownKeyError),
        ({"route": "rectal"}, UnknownKeyError),
    ):
        with pytest.raises(kind):
            regimen(DOSE | changes)


@pytest.mark.parametrize(
    ("doses", "transplants", "message"),
    [
        (
            (),
            (TRANSPLANT, TRANSPLANT),
            "r.yaml transplants[1].day: two transplants on day 60. Transplants are at least a day apart. "
            "Move one of them, or take it out.",
        ),
        (
            (),
            (TRANSPLANT | {"day": -1},),
            "r.yaml transplants[0].day: a transplant on day -1. The regimen starts on day 0, a transplant comes no "
            "earlier. Start with a younger child, and write the day counted from that start.",
        ),
        (
            (),
            (TRANSPLANT | {"donor": "match_related"},),
            "r.yaml transplants[0].donor: `match_related` is not known here. "
            "Nearest: `matched_related`, `matched_unrelated`, `mismatched`.",
        ),
        (
            (),
            (TRANSPLANT | {"cd34": "5e6"},),
            "r.yaml transplants[0]: `5e6` has no unit. Every quantity carries its unit. "
            "Write for example `5e6 cells/kg`.",
        ),
        (
            (),
            (TRANSPLANT | {"prophylaxis": [DOSE | {"start": "transplant"}]},),
            "r.yaml transplants[0]: `transplant` in a prophylaxis. Its days are counted from the transplant already.",
        ),
        (
            (DOSE, DOSE | {"start": 30}),
            (),
            "r.yaml: `prednisolone` by mouth is ordered twice at once, from day 30. "
            "One order of a drug and route runs at a time. Let the first stop before the second starts.",
        ),
        (
            (DOSE,),
            (TRANSPLANT | {"prophylaxis": [DOSE | {"start": -1}]},),
            "r.yaml: `prednisolone` by mouth is ordered twice at once, from day 59. "
            "One order of a drug and route runs at a time. Let the first stop before the second starts.",
        ),
    ],
)
def test_plan_rules(doses: tuple[Any, ...], transplants: tuple[Any, ...], message: str) -> None:
    with pytest.raises(IpexError) as caught:
        regimen(*doses, transplants=transplants)
    assert str(caught.value) == message


def test_body_size_is_needed_or_not() -> None:
    assert regimen(DOSE).needs_weight()
    assert not regimen(DOSE | {"amount": "5 mg"}).needs_weight()


def test_moving_a_transplant_needs_one() -> None:
    with pytest.raises(RecordError) as caught:
        regimen(DOSE).with_transplant_day(30)
    assert str(caught.value) == "`r` has 0 transplants. The day of a single transplant can be moved."
    with pytest.raises(RecordError, match="a transplant on day -3"):
        regimen(transplants=(TRANSPLANT,)).with_transplant_day(-3)
