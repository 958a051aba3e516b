"""Tutorial 1: how fast can the steroid be tapered?

A boy of ten months has IPEX syndrome. Prednisolone keeps him quiet and stunts his growth; tacrolimus could take over.
How fast can prednisolone come down, and how much tacrolimus does that take? We let a search answer, and then spend most
of our time on whether to believe it.

    python docs/tutorials/steroid_sparing_taper.py --out runs/taper            # over 200 members
    python docs/tutorials/steroid_sparing_taper.py --members 8 --iterations 10 # a first look

Every number that is printed is computed in the run. Research tool, not medical advice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import ipex_pd as ipx
from ipex_pd.planning.comparison import Comparison
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.judged import Judgement, judge
from ipex_pd.planning.optimise import PlanOptions
from ipex_pd.planning.pareto import PlanFront
from ipex_pd.planning.plan import Plan
from ipex_pd.records.plans import PlanningProblem

YEAR = 365.25


@dataclass(frozen=True)
class Findings:
    """What the tutorial found, section by section."""

    goal: PlanningProblem
    start: Judgement
    plan: Plan
    compared: Comparison
    front: PlanFront
    files: tuple[Path, ...]


# ## 1. The question
#
# A plan is a YAML file: whom it is for, the regimen it begins from, which doses are free, what is wanted and what
# must hold. `in_words` says what was understood. Two lines deserve a second look before anything is computed: the
# weights of the goals, which are judgements and not facts, and the members. Each member is one virtual child living
# in one possible truth about the uncertain parameters; a plan that is best for one child in one truth is a guess.


def question(members: int) -> PlanningProblem:
    """The shipped plan, over about so many members."""
    goal = ipx.load_plan("steroid_sparing_taper")
    draws = max(1, round((members / 2) ** 0.5))
    size = {"children": max(1, round(members / draws)), "draws": draws}
    goal = goal.model_copy(
        update={
            "ensemble": goal.ensemble.model_copy(update=size),
            "out_of_sample": goal.fresh.model_copy(update=size),
        }
    )
    print("\n".join(goal.in_words()))
    return goal


# ## 2. Where we begin
#
# Before improving a regimen, look at what it does. `judge` simulates it in every member and answers the plan's own
# goals and limits. The value is the weighted sum of the goals; it has no meaning but in comparison. Note that the
# start may break a limit: its tacrolimus follows measured troughs, the plan's will not, so the share of troughs in
# the window is an honest price of doing without sampling.


def beginning(goal: PlanningProblem, ensemble: Ensemble) -> Judgement:
    """The start regimen, by the goals and limits of the plan."""
    start = judge(goal, ensemble, ipx.load_regimen(str(goal.start)), "start")
    print(f"`{start.regimen.name}` is worth {start.value:.4g} over {len(ensemble)} members:")
    for wish in goal.goals:
        mean = float(ensemble.weights @ start.goals[wish.name])
        print(f"  {wish.name}: {mean:.4g} {wish.unit}, which counts {wish.sign * wish.weight * mean:+.4g}")
    for limit in start.limits:
        print(f"  {limit.label}: {limit.value:.3g} {limit.unit}, {'kept' if limit.met else 'not kept'}")
    return start


# ## 3. The search
#
# Every dose between two days on which it may change is one number, and the value has an exact gradient with respect
# to all of them at once. Searches begin at the start regimen and at other points; what they find is rounded to
# tablets and measured volumes by trying neighbours. Both start regimens (tacrolimus, ciclosporin) are searched, and
# the better one is the plan. Ctrl-C would end it with the best so far.


def searched(goal: PlanningProblem, options: PlanOptions) -> Plan:
    """The plan."""
    plan = ipx.optimise_regimen(ipx.load_patient(goal.patient), goal=goal, options=options)
    print(plan)
    return plan


# ## 4. Reading the plan
#
# Four questions, in this order. Did it help, on members it was not made for? Is it the optimum, or just where a
# search gave up? What does it lean on? And what did it cost to make it prescribable? A shadow price is the gain of
# the goal when a limit yields by one unit: where it is zero, arguing about the limit is a waste of time; where it is
# large, the limit deserves its source.


def reading(plan: Plan) -> None:
    """The four questions."""
    row = plan.value()
    where = "fresh members" if row["outside"] == row["outside"] else "its own members"
    helped = "better" if plan.better else "not better"
    print(f"On {where} the plan is {helped} than the start: {row['gain']:+.4g}", end="")
    print(f" [{row['gain_low']:.3g}, {row['gain_high']:.3g}], in {row['share_better']:.0%} of the members.")
    if row["gain_low"] <= 0.0 <= row["gain_high"]:
        print("The interval holds zero: with so many children and draws the gain may be chance.")
    found = plan.optimality
    print(f"The condition of an optimum {'holds' if found.converged else 'does not hold'}; {found.agreement()}.")
    if not found.converged:
        print(
            "More iterations would tell whether there is more to gain; until then this is a better plan, not the best."
        )
    priced = sorted((a for a in found.active if abs(a.price) > 1e-12), key=lambda a: -abs(a.price))
    print(f"It leans on {len(found.active)} limits and bounds, {len(priced)} of them at a price:")
    for active in priced[:5]:
        print(f"  {active.in_words()}")
    print(f"Prescribable doses cost {plan.rounding.cost:.3g} of the goal after {plan.rounding.tried} neighbours.")
    missed = [limit for limit in plan.limits if not limit.met]
    print(f"Limits: {len(plan.limits) - len(missed)} of {len(plan.limits)} kept.")
    for limit in missed:
        print(f"  not kept ({limit.how}): {limit.label}: {limit.value:.3g} {limit.unit}")
    if plan.conflicts is not None:
        print("\n".join(plan.conflicts.in_words()))


# ## 5. On children that nobody has seen
#
# The search saw the first sample of members; the choice among candidates and the report used the second. A third
# sample is as near as a model comes to the next child. `compare` gives start and plan to the same children, so that
# differences are paired; the interval is that of their mean. A gain that melts here was made of noise.


def unseen(goal: PlanningProblem, plan: Plan) -> Comparison:
    """Start and plan on a third sample."""
    child, asked = ipx.load_patient(goal.patient), goal.ensemble
    third = ipx.ensemble_of(child, children=asked.children, draws=asked.draws or 0, seed=goal.fresh.seed + 1)
    regimens = {"start": plan.start, "plan": plan.regimen}
    compared = ipx.compare(third.population, regimens, years=goal.horizon / YEAR, seed=1)
    rows = compared.differences.set_index("endpoint")
    for name in ("survival", "alive_in_remission", "height_z_change", "oi_score"):
        if name in rows.index:
            row = rows.loc[name]
            print(f"{row['label']} [{row['unit']}], plan less start: {row['mean']:+.3g}", end="")
            print(f" ({row['mean_low']:.3g} to {row['mean_high']:.3g})")
    for name, warnings in compared.warnings.items():
        print("\n".join(f"  {name}: {line}" for line in warnings))
    return compared


# ## 6. What steroid buys
#
# The weights decided how much a day in remission is worth in mg of steroid. The front takes them away: for each
# amount of steroid, the most time in remission that the limits allow. Where it is steep, steroid buys remission;
# where it is flat, it buys side effects only. The knee is where one turns into the other; a family may choose another
# point.


def traded(goal: PlanningProblem, options: PlanOptions, points: int) -> PlanFront:
    """Time in remission against steroid."""
    child = ipx.load_patient(goal.patient)
    front = ipx.pareto_front(
        child, goal=goal, first="time_in_remission", second="steroid_dose", points=points, options=options
    )
    print(front)
    ends = front.table.iloc[[0, -1]]
    days, dose = (float(ends[name].iloc[0] - ends[name].iloc[1]) for name in ("first", "second"))
    print(f"From end to end {dose:.3g} {front.units[1]} of steroid go with {days:.3g} {front.units[0]}s in remission.")
    return front


# ## 7. What to keep
#
# `regimen.yaml` is a regimen like any other; `plan.json` is the whole plan; the report shows doses, calendar,
# exposure, outcomes and the front.


def kept(plan: Plan, front: PlanFront, out: Path) -> tuple[Path, ...]:
    """Files of the plan."""
    files = (*plan.save(out), ipx.write_plan_report(plan, out / "report.html", front=front))
    print("\n".join(f"wrote {file}" for file in files))
    return files


def main(arguments: Sequence[str] | None = None) -> Findings:
    """The tutorial from top to bottom."""
    parser = argparse.ArgumentParser(description="How fast can the steroid be tapered?")
    parser.add_argument("--members", type=int, default=200, help="virtual children times parameter draws")
    parser.add_argument("--starts", type=int, default=3, help="searches of each drug")
    parser.add_argument("--iterations", type=int, default=60, help="the most steps of one search")
    parser.add_argument("--points", type=int, default=7, help="points on the front")
    parser.add_argument("--out", type=Path, default=Path("runs/steroid_sparing_taper"), help="folder for files")
    asked = parser.parse_args(arguments)
    options = PlanOptions(starts=asked.starts, iterations=asked.iterations, neighbours=asked.iterations)

    print("## 1. The question")
    goal = question(asked.members)
    ensemble = ipx.ensemble_of(
        ipx.load_patient(goal.patient),
        children=goal.ensemble.children,
        draws=goal.ensemble.draws or 0,
        seed=goal.ensemble.seed,
    )
    print("\n## 2. Where we begin")
    start = beginning(goal, ensemble)
    print("\n## 3. The search")
    plan = searched(goal, options)
    print("\n## 4. Reading the plan")
    reading(plan)
    print("\n## 5. On children that nobody has seen")
    compared = unseen(goal, plan)
    print("\n## 6. What steroid buys")
    front = traded(goal, options, asked.points)
    print("\n## 7. What to keep")
    return Findings(goal, start, plan, compared, front, kept(plan, front, asked.out))


if __name__ == "__main__":
    main()
