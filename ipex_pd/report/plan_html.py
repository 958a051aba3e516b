"""The report of a plan: a page (see `page`) that a pharmacist, a physician and a pharmacometrician can read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipex_pd.planning.plan_words import goal_in_words, optimality_lines
from ipex_pd.report import figures, narrative, plan_tables, tables
from ipex_pd.report.page import digest, pictures_of, render_page, run_rows, write_page
from ipex_pd.report.plan_figures import (
    PLAN,
    START,
    front_figure,
    plan_figures,
    sensitivity_figure,
    simulations_of,
)
from ipex_pd.report.plan_timing import bridges_content, timing_content

if TYPE_CHECKING:
    from ipex_pd.planning.bridges import BridgeTiming
    from ipex_pd.planning.pareto import PlanFront
    from ipex_pd.planning.plan import Plan
    from ipex_pd.planning.sensitivity import Sensitivity
    from ipex_pd.planning.timing import TimingProfile

_PACKAGES = ("ipex-pd", "jax", "scipy", "numpy")
_LIMITS = (
    "The plan is the best for the goals, weights and limits as they are written above, in this model. Other weights "
    "are other plans.",
    "Intervals hold the sampling of virtual children and of parameters. They do not hold what the model lacks: "
    "infections that are not modelled, adherence, interactions, decisions of the clinic, errors of the equations.",
    "A plan that was searched on a sample looks better there than on others; what counts is its value on fresh ones.",
)


def write_plan_report(
    plan: Plan,
    path: str | Path,
    *,
    timing: TimingProfile | None = None,
    front: PlanFront | None = None,
    sensitivity: Sensitivity | None = None,
    bridges: BridgeTiming | None = None,
) -> Path:
    """Write the report of a plan.

    Args:
        plan: what `optimise_regimen` returned.
        path: the HTML file; an older one is replaced when the new one is complete.
        timing: the outcome by day of transplant, of `transplant_timing`.
        front: of two goals, of `pareto_front`.
        sensitivity: what the plan hangs on, of `plan_sensitivity`.
        bridges: a bridge for each day of transplant, of `bridge_timing`.

    Returns:
        The path of the report.

    Raises:
        OutputError: the file cannot be written.
    """
    page = render_plan_report(plan, timing=timing, front=front, sensitivity=sensitivity, bridges=bridges)
    return write_page(page, path)


def render_plan_report(
    plan: Plan,
    *,
    timing: TimingProfile | None = None,
    front: PlanFront | None = None,
    sensitivity: Sensitivity | None = None,
    bridges: BridgeTiming | None = None,
) -> str:
    """The report as one HTML text; arguments as for `write_plan_report`."""
    return render_page("plan_report.html", _content(plan, timing, front, sensitivity, bridges))


def _content(
    plan: Plan,
    timing: TimingProfile | None,
    front: PlanFront | None,
    sensitivity: Sensitivity | None,
    bridges: BridgeTiming | None,
) -> dict[str, Any]:
    names = [str(row["name"]) for row in plan.values.to_dict("records") if row["role"] != "relaxed"]
    look = figures.styles([START, PLAN, *(name for name in names if name not in (START, PLAN))])
    letters = {name: style.letter for name, style in look.items()}
    drawn = plan_figures(plan, look)
    drawn["front"] = [] if front is None else [front_figure(front)]
    drawn["sensitivity"] = [] if sensitivity is None else [sensitivity_figure(sensitivity)]
    told = timing_content(timing)
    drawn["timing"] = told.pop("figures")
    bridged = bridges_content(bridges)
    drawn["bridges"] = bridged.pop("figures")
    columns, expected = plan_tables.expected_rows(plan, letters)
    runs = simulations_of(plan)
    chosen = runs.get(PLAN)
    return {
        "name": tables.plain_name(plan.problem.name),
        "child": tables.plain_name(plan.patient),
        "notice": narrative.NOTICE,
        "state": _state(plan),
        "summary": summary_sentences(plan),
        "notes": list(plan.notes),
        "conflicts": [] if plan.conflicts is None else list(plan.conflicts.in_words()),
        "question": plan.problem.in_words(),
        "goal": goal_in_words(plan),
        "words": list(plan.words),
        "choices": [(tables.plain_name(key), tables.plain_name(value)) for key, value in plan.choices.items()],
        "doses": plan_tables.dose_rows(plan),
        "calendar": plan_tables.calendar_weeks(plan),
        "values": plan_tables.value_rows(plan, letters),
        "legend": [_legend(name, look[name]) for name in names if name in look],
        "limits_kept": plan_tables.limit_rows(plan),
        "quiet": sum(1 for limit in plan.limits if limit.how == "linear" and limit.met),
        "columns": columns,
        "expected": expected,
        "pictures": pictures_of(drawn),
        "optimality": optimality_lines(plan),
        "ranking": _ranking(plan),
        "rounding": list(plan.rounding.notes),
        "timing": told,
        "bridges": bridged,
        "front": None if front is None else repr(front).splitlines()[1:],
        "switches": [] if sensitivity is None else list(sensitivity.in_words()),
        "limits": list(_LIMITS),
        "assumptions": [] if chosen is None else list(chosen.assumptions),
        "sources": [] if chosen is None else list(chosen.sources),
        "meanings": _meanings(plan),
        "run": [
            *((tables.plain_name(str(key)), str(value)) for key, value in plan.settings.items()),
            *run_rows(_PACKAGES),
            ("SHA-256 of plan.json", digest(plan.to_json())),
        ],
    }


def _state(plan: Plan) -> tuple[str, str, str]:
    """Class, word and sentence of the box at the top."""
    if plan.partial:
        return "look", "Interrupted", "the search was stopped; this is the best plan that was found until then"
    if not plan.feasible:
        return "do-not-trust", "A limit is not kept", "see what stands against what, and by how much"
    if not plan.better:
        return "look", "No better than the start", "the regimen that the plan began from does as well or better"
    lost = _survival_lost(plan)
    if lost:
        return "look", "Better by its goals, worse in survival", lost
    missed = [limit for limit in plan.limits if not limit.met]
    if missed:
        count = "a limit is" if len(missed) == 1 else f"{len(missed)} limits are"
        return (
            "look",
            "Better, but a limit is missed",
            f"{count} kept in the children it was made for, and not in fresh ones",
        )
    row = plan.value()
    if row["gain_low"] == row["gain_low"] and row["gain_low"] <= 0:
        return "look", "Perhaps better", "the interval of the gain over the start holds zero"
    return "trust", "Better than the start", "on children it was not made for, within all limits"


def _survival_lost(plan: Plan) -> str:
    """What the plan costs in lives where that is sure; empty otherwise."""
    for row in plan.expected.to_dict("records"):
        if row["endpoint"] == "survival" and row["regimen"] == PLAN and row["difference_high"] < 0:
            low, high = (abs(100 * float(row[key])) for key in ("difference_high", "difference_low"))
            return (
                f"of 100 children {low:.2g} to {high:.2g} fewer live to the horizon than under the start; "
                "the weights of the goals say that this is worth what it buys: think again"
            )
    return ""


def summary_sentences(plan: Plan) -> list[str]:
    """What the plan is worth, how sure that is, and what it costs."""
    row, start = plan.value(), plan.value("start")
    fresh = row["outside"] == row["outside"]
    place = "outside" if fresh else "inside"
    where = "fresh virtual children" if fresh else "the virtual children it was made for"
    lines = [
        f"On {where} the goal goes from {start[place]:.4g} under the start to {row[place]:.4g} under the plan; "
        f"the plan does better in {100 * row['share_better']:.0f} % of them."
    ]
    told = plan.expected.to_dict("records")
    for name, words, scale, unit in (
        ("survival", "Expected survival at the horizon", 100.0, "%"),
        ("organ_free_survival", "Alive with all organs", 100.0, "%"),
        ("steroid_dose", "Cumulative steroid", 1.0, "mg/kg"),
        ("infection_risk", "Serious infection", 100.0, "%"),
    ):
        own = {str(e["regimen"]): float(e["mean"]) for e in told if e["endpoint"] == name}
        if {START, PLAN} <= set(own):
            then, now = tables.number(scale * own[START]), tables.number(scale * own[PLAN])
            lines.append(f"{words}: {now} {unit}, against {then} {unit} under the start.")
    lines.append(f"Prescribable doses cost {plan.rounding.cost:.2g} of the goal; {plan.optimality.agreement()}.")
    return lines


def _legend(name: str, style: figures.Style) -> dict[str, Any]:
    dashes = " ".join(f"{2 * d:g}" for d in style.dashes) or "none"
    return {"letter": style.letter, "colour": style.colour, "dashes": dashes, "name": tables.plain_name(name)}


def _ranking(plan: Plan) -> list[list[str]]:
    if len(plan.ranking) < 2:
        return []
    rows = []
    for row in plan.ranking.to_dict("records"):
        value = f"{row['value']:.4g}" if row["value"] == row["value"] else "–"
        state = "within all limits" if row["feasible"] else f"over a limit by {row['violation']:.2g}"
        how = "in full" if row["searched"] else "shortly"
        rows.append([str(row["choices"]), tables.plain_name(str(row["regimen"])), value, state, how])
    return rows


def _meanings(plan: Plan) -> list[tuple[str, str]]:
    if plan.expected.empty:
        return []
    rows = plan.expected.drop_duplicates("endpoint").to_dict("records")
    return [(str(row["label"]), str(row["meaning"])) for row in rows if "meaning" in row and row["label"]]
