"""Rows of the report of a plan: doses, a calendar by weeks, values, limits, expected outcomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from ipex_pd.report import tables

if TYPE_CHECKING:
    from ipex_pd.planning.plan import Plan

LONGEST_CALENDAR = 183.0
"""Horizons up to this [day] have a calendar by weeks."""
_NOTHING = 1e-4
"""A difference that is a smaller part of the mean is not told."""
_HOW = {"linear": "of the doses", "simulated": "searched, in sample", "true": "true, on fresh members"}
_TOLD = (
    "survival",
    "organ_free_survival",
    "diabetes_free_survival",
    "remission",
    "time_to_remission",
    "relapse",
    "infection_risk",
    "steroid_dose",
    "calcineurin_burden",
    "c_peptide",
    "renal_scarring",
    "height_z_change",
    "weight_z_change",
    "ige_fold",
    "oi_score",
    "death_disease",
    "death_infection",
    "death_transplant",
)


class WeekRow(NamedTuple):
    """Weeks with the same doses: their label, and what is given on each of the seven days."""

    label: str
    days: tuple[str, ...]


def dose_rows(plan: Plan) -> list[list[str]]:
    """A row a change: from, until, drug, dose, how often, mg of one dose, mg a day, tablets."""
    rows = []
    for row in plan.calendar.to_dict("records"):
        if row["drug"] == "transplant":
            rows.append([str(row["week"]), f"day {row['day']:g}", "transplant", "", "", "", "", ""])
            continue
        until = "goes on" if math.isinf(row["until"]) else f"day {row['until']:g}"
        times, once = float(row["times_a_day"]), row["until"] == row["day"]
        rows.append(
            [
                f"{row['week']} (day {row['day']:g})",
                "" if once else until,
                tables.plain_name(str(row["drug"])),
                str(row["dose"]),
                "once" if once else _often(times),
                _milligrams(row["mg_a_dose"]),
                _milligrams(row["mg_a_day"]) if times >= 1 and not once else "",
                str(row["tablets"]),
            ]
        )
    return rows


def _often(times: float) -> str:
    if times >= 1:
        whole = round(times)
        return {1: "once a day", 2: "twice a day", 3: "three times a day"}.get(whole, f"{times:.3g} times a day")
    return f"every {1 / times:.3g} days"


def _milligrams(value: Any) -> str:
    return f"{float(value):.4g}" if isinstance(value, int | float) and math.isfinite(value) else ""


def calendar_weeks(plan: Plan) -> list[tuple[str, str, list[WeekRow]]]:
    """Drug, unit, and what is given on every day; weeks that are alike stand once. Empty for long horizons."""
    horizon = plan.problem.horizon
    if horizon > LONGEST_CALENDAR:
        return []
    found = []
    table = plan.calendar[plan.calendar["drug"] != "transplant"]
    for drug, rows in table.groupby("drug", sort=False):
        known = np.isfinite(rows["mg_a_dose"].to_numpy(float)).all()
        unit = "mg a day" if known else f"{str(rows['dose'].iloc[0]).split(' ', 1)[1]}, each dose"
        given = [_given(rows, day, horizon, bool(known)) for day in range(math.ceil(horizon / 7) * 7)]
        weeks = [tuple(given[start : start + 7]) for start in range(0, len(given), 7)]
        found.append((tables.plain_name(str(drug)), unit, _merged(weeks)))
    return found


def _given(rows: pd.DataFrame, day: int, horizon: float, known: bool) -> str:
    if day >= horizon:
        return ""
    total, told = 0.0, []
    for row in rows.to_dict("records"):
        times, begin, until = float(row["times_a_day"]), float(row["day"]), float(row["until"])
        if times >= 1:
            active = begin - 0.5 <= day < until - 0.5 if until > begin else round(begin) == day
            amount = float(row["mg_a_day"])
        else:
            gap = round(1 / times)
            active = begin - 0.5 <= day <= until + 0.5 and (day - round(begin)) % gap == 0
            amount = float(row["mg_a_dose"])
        if active:
            total += amount if known else 0.0
            told.append(str(row["dose"]).split(" ", 1)[0])
    if not told:
        return "–"
    return f"{total:.4g}" if known else " + ".join(told)


def _merged(weeks: Sequence[tuple[str, ...]]) -> list[WeekRow]:
    rows: list[WeekRow] = []
    first = 0
    for place in range(1, len(weeks) + 1):
        if place == len(weeks) or weeks[place] != weeks[first]:
            label = f"week {first + 1}" if place - first == 1 else f"weeks {first + 1}–{place}"
            rows.append(WeekRow(label, weeks[first]))
            first = place
    return rows


def value_rows(plan: Plan, letters: dict[str, str]) -> list[list[str]]:
    """A row a candidate: letter and name, value on the members it was made for, on fresh ones, gain, limits."""
    rows = []
    for row in plan.values.to_dict("records"):
        name = str(row["name"])
        label = f"{letters[name]}  {tables.plain_name(name)}" if name in letters else tables.plain_name(name)
        gain = "" if row["role"] == "start" else _interval(row, "gain", signed=True)
        better = "" if row["role"] == "start" else f"{100 * row['share_better']:.0f} %"
        kept = "kept" if row["feasible"] else f"overstepped by {row['violation']:.2g}"
        rows.append([label, _interval(row, "inside"), _interval(row, "outside"), gain, better, kept])
    return rows


def _interval(row: dict[Any, Any], name: str, *, signed: bool = False) -> str:
    value, low, high = (float(row[key]) for key in (name, f"{name}_low", f"{name}_high"))
    if not math.isfinite(value):
        return "–"
    form = "+.4g" if signed else ".4g"
    known = math.isfinite(low) and math.isfinite(high)
    text = f"{value:{form}}" + (f" [{low:{form}}, {high:{form}}]" if known else "")
    return text.replace("-", "−")


def limit_rows(plan: Plan) -> list[list[str]]:
    """A row a limit that was simulated, or that has a price: what, value, bounds, kept, worth of a unit."""
    rows = []
    for limit in plan.limits:
        priced = math.isfinite(limit.price) and abs(limit.price) > 1e-12
        if limit.how == "linear" and limit.met and not priced:
            continue
        ends = [f"at least {limit.low:.4g}"] if math.isfinite(limit.low) else []
        ends += [f"at most {limit.high:.4g}"] if math.isfinite(limit.high) else []
        how = {"linear": "of the doses", "simulated": "searched, in sample", "true": "true, on fresh members"}[
            limit.how
        ]
        unit = tables.plain_unit(limit.unit)
        worth = f"{limit.price:.3g}" if priced else ""
        rows.append(
            [
                limit.label,
                how,
                f"{limit.value:.4g} {unit}",
                " and ".join(ends),
                "met" if limit.met else "NOT MET",
                worth,
            ]
        )
    return rows


def expected_rows(plan: Plan, letters: dict[str, str]) -> tuple[list[str], list[tables.Row]]:
    """Headings and a row an endpoint: mean and range of start, plan and standards, with the paired difference."""
    table = plan.expected
    if table.empty:
        return [], []
    names = [name for name in letters if name in set(table["regimen"])]
    rows = []
    for endpoint in _TOLD:
        own = {str(row["regimen"]): row for row in table[table["endpoint"] == endpoint].to_dict("records")}
        if own and set(names) <= set(own):
            first = next(iter(own.values()))
            unit = str(first["unit"])
            scale = 100.0 if unit == "fraction" else 1.0
            cells = tuple(_cell(own[name], scale) for name in names)
            shown = "%" if unit == "fraction" else tables.plain_unit(unit)
            rows.append(tables.Row(str(first["label"]), shown, cells))
    return [f"{letters[name]}  {tables.plain_name(name)}" for name in names], rows


def _cell(row: dict[Any, Any], scale: float) -> tables.Cell:
    shown = tables.cell(scale * row["mean"], scale * row["low"], scale * row["high"])
    difference, low, high = (scale * float(row[key]) for key in ("difference", "difference_low", "difference_high"))
    if not math.isfinite(difference) or abs(difference) <= _NOTHING * abs(scale * row["mean"]):
        return shown
    known = f" ({low:+.3g} to {high:+.3g})" if math.isfinite(low) and math.isfinite(high) else ""
    return shown._replace(interval=f"{difference:+.3g}{known} against the start".replace("-", "−"))
