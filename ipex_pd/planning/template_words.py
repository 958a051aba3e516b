"""A plan at x in words and as a calendar, for pharmacists and parents."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.planning.template_size import countable
from ipex_pd.planning.template_tablets import tablets_for, tablets_in_words
from ipex_pd.planning.template_written import Piece, plan_pieces

if TYPE_CHECKING:
    import pandas as pd

    from ipex_pd.planning.template import Template

COLUMNS = (
    "day",
    "until",
    "week",
    "drug",
    "route",
    "dose",
    "times_a_day",
    "mg_a_dose",
    "mg_a_day",
    "tablets",
)


def words_of(template: Template, x: np.ndarray) -> list[str]:
    """See `Template.in_words`."""
    lines = list(template.regimen(x).in_words())
    return lines + list(template.notes)


def calendar_of(template: Template, x: np.ndarray) -> pd.DataFrame:
    """See `Template.calendar`."""
    import pandas as pd

    rows = [_row(template, piece) for piece in plan_pieces(template, x) if piece.begin < template.horizon]
    if template.transplant is not None:
        day = float(template.transplant.at(x))
        rows.append({"day": day, "until": day, "week": week_of(day), "drug": "transplant"})
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return table.sort_values(["day", "drug"], kind="stable", ignore_index=True)


def week_of(day: float) -> str:
    """`week 3, day 1`: the first week is week 1, its first day is day 1."""
    whole = math.floor(day)
    return f"week {whole // 7 + 1}, day {whole % 7 + 1}"


def _row(template: Template, piece: Piece) -> dict[str, object]:
    course, dose = piece.course, piece.course.order.dose
    amount = piece.amount / course.split
    milligrams = math.nan
    if course.basis == "mg" or template.size is not None:
        factor = 1.0 if template.size is None else template.size.of(course.basis, max(0.0, piece.begin))
        most = course.order.maximum_mg
        milligrams = amount * factor if most is None else min(amount * factor, most)
    times = 1.0 if piece.single and dose.doses_a_day < 1 else dose.doses_a_day
    end = piece.last if piece.single else piece.end
    return {
        "day": piece.begin,
        "until": math.inf if end is None else end,
        "week": week_of(piece.begin),
        "drug": course.order.drug,
        "route": course.order.route,
        "dose": f"{amount:.6g} {course.basis}",
        "times_a_day": times,
        "mg_a_dose": milligrams,
        "mg_a_day": milligrams * times,
        "tablets": _tablets(template, course.order.drug, milligrams),
    }


def _tablets(template: Template, drug: str, milligrams: float) -> str:
    limit = countable(template).get(drug)
    if limit is None or not math.isfinite(milligrams):
        return ""
    found = tablets_for(milligrams, limit)
    return "" if found is None else tablets_in_words(found)
