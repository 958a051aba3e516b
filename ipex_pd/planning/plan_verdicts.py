"""What must be said of a plan: no better than the start, not certain, a limit missed, a search cut short."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from ipex_pd.planning.conflicts import Conflicts
    from ipex_pd.planning.judged import Judgement
    from ipex_pd.planning.plan_assembly import Candidate, Question


def verdicts(
    question: Question,
    inside: Mapping[str, Judgement],
    outside: Mapping[str, Judgement],
    values: pd.DataFrame,
    chosen: Candidate,
    conflicts: Conflicts | None,
) -> list[str]:
    """Sentences for the notes of a plan.

    Args:
        question: what was asked.
        inside, outside: judgements by candidate (`start`, `plan`, ...), in sample and on fresh members.
        values: of the plan.
        chosen: the combination of the plan.
        conflicts: what contradicts what.
    """
    lines = []
    if question.fresh is None:
        lines.append("no fresh members: values are in sample only, and better than they would be on others")
    row = values[values["role"] == "plan"].iloc[0]
    where = "on fresh members" if outside else "in sample"
    start = values[values["role"] == "start"].iloc[0]
    if not row["gain"] > 0 and row["feasible"] and not start["feasible"]:
        lines.append(
            f"the start has more of the goal {where} ({-row['gain']:+.3g}) and does not meet every limit; the plan does"
        )
    elif not row["gain"] > 0:
        lines.append(f"the plan does no better than the start {where} ({row['gain']:+.3g} of the goal): keep the start")
    elif math.isfinite(row["gain_low"]) and row["gain_low"] <= 0:
        lines.append(
            f"that the plan is better than the start is not certain: {row['gain']:+.3g} "
            f"[{row['gain_low']:.3g}, {row['gain_high']:.3g}] of the goal {where}"
        )
    if outside and math.isfinite(row["inside"]) and row["inside"] - row["outside"] > 0.1 * abs(row["inside"]):
        lines.append(
            f"the plan is worth {row['inside']:.4g} on the members it was made for and {row['outside']:.4g} on fresh "
            "ones: an ensemble with more members would be safer"
        )
    if not row["feasible"] and conflicts is None:
        missed = outside.get("plan", inside["plan"]).limits
        named = "; ".join(f"{limit.label}: {limit.value:.3g} {limit.unit}" for limit in missed if not limit.met)
        lines.append(f"not every limit is met {where}: {named}")
    if not chosen.best.minimum.converged:
        lines.append(f"the search stopped before its end ({chosen.best.minimum.outcome})")
    lost = max((j.lost for j in (*inside.values(), *outside.values())), default=0)
    if lost:
        lines.append(f"{lost} members have no finite numbers and count in nothing")
    lines.extend(dict.fromkeys(w for j in inside.values() if j.name == "plan" for w in j.simulation.warnings))
    return lines
