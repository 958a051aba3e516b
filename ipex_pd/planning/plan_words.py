"""A plan in words: what to give, what it is worth, what it keeps to, and how sure that is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ipex_pd.planning.plan import NOTICE

if TYPE_CHECKING:
    from ipex_pd.planning.plan import Plan, PlanLimit

_MOST_LINES = 12


def summary(plan: Plan) -> list[str]:
    """The lines that `print(plan)` shows."""
    state = " (interrupted: the best so far)" if plan.partial else ""
    chosen = "".join(f"; {name}: {choice}" for name, choice in plan.choices.items())
    lines = [f"Plan `{plan.problem.name}` for {plan.patient}{chosen}{state}", ""]
    lines += [f"  {line}" for line in plan.words[:_MOST_LINES]]
    if len(plan.words) > _MOST_LINES:
        lines.append(f"  ... {len(plan.words) - _MOST_LINES} more lines in `plan.words`")
    lines += ["", f"Goal ({goal_in_words(plan)}; larger is better)"]
    lines += [f"  {line}" for line in value_lines(plan)]
    lines += ["", "Limits"] if plan.limits else ["", "Limits: none"]
    lines += [f"  {line}" for line in limit_lines(plan)]
    lines += ["", "Optimality", *[f"  {line}" for line in optimality_lines(plan)]]
    if plan.conflicts is not None:
        lines += ["", "Conflicts", *[f"  {line}" for line in plan.conflicts.in_words()]]
    if plan.notes:
        lines += ["", "Notes", *[f"  {line}" for line in plan.notes]]
    return [*lines, "", NOTICE]


def goal_in_words(plan: Plan) -> str:
    """The weighted sum and its statistic."""
    goals = plan.problem.goals
    alone = len(goals) == 1
    return f"{', '.join(goal.in_words(alone=alone) for goal in goals)}; {plan.problem.statistic.in_words()}"


def value_lines(plan: Plan) -> list[str]:
    """One line a candidate: judged value, on fresh members where there are any, and the gain over the start."""
    lines = []
    width = max(len(str(name)) for name in plan.values["name"])
    for row in plan.values.to_dict("records"):
        fresh = _known(row["outside"])
        place = "outside" if fresh else "inside"
        where = "fresh members" if fresh else "in sample"
        line = f"{row['name']!s:{width}}  {_between(row, place)} ({where})"
        if row["role"] != "start" and _known(row["gain"]):
            line += f", {_signed(row['gain'])} against the start{_interval(row, 'gain')}"
        if not row["feasible"]:
            line += ", a limit is not met"
        lines.append(line)
    return lines


def limit_lines(plan: Plan) -> list[str]:
    """One line a limit; doses that keep their linear limits without a price are counted in one."""
    quiet = [limit for limit in plan.limits if limit.how == "linear" and limit.met and not abs(limit.price) > 1e-12]
    lines = [limit_line(limit) for limit in plan.limits if limit not in quiet]
    if quiet:
        lines.append(
            f"[met] {len(quiet)} {'limit' if len(quiet) == 1 else 'limits'} on doses and days that cost nothing"
        )
    return lines


def limit_line(limit: PlanLimit) -> str:
    """`[met] tacrolimus trough ...: 0.93, at least 0.9`."""
    ends = []
    if _known(limit.low):
        ends.append(f"at least {limit.low:.4g}")
    if _known(limit.high):
        ends.append(f"at most {limit.high:.4g}")
    unit = f" {limit.unit}" if limit.unit else ""
    state = "met" if limit.met else "NOT MET"
    line = f"[{state}] {limit.label}: {limit.value:.4g}{unit} ({' and '.join(ends)}; {limit.how})"
    if _known(limit.price) and abs(limit.price) > 1e-12:
        line += f"; a unit of it is worth {limit.price:.3g} of the goal"
    return line


def optimality_lines(plan: Plan) -> list[str]:
    """Convergence, starts, shadow prices, rounding."""
    found = plan.optimality
    holds = "holds" if found.converged else "does not hold"
    lines = [
        f"the optimality condition {holds}: {found.projected_gradient:.2g} of the goal is left over a quantity's range "
        f"({found.outcome})",
        found.agreement(),
    ]
    lines += [active.in_words() for active in sorted(found.active, key=lambda a: -abs(a.price))[:6]]
    rounding = plan.rounding
    lines.append(f"prescribable doses cost {rounding.cost:.3g} of the goal ({rounding.tried} neighbours tried)")
    return lines


def _known(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _between(row: Any, place: str) -> str:
    return f"{row[place]:.5g}{_interval(row, place)}" if _known(row[place]) else "not judged"


def _interval(row: Any, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f" [{low:.4g}, {high:.4g}]" if _known(low) and _known(high) else ""


def _signed(value: float) -> str:
    return f"{value:+.4g}"
