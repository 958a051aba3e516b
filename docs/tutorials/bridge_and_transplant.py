"""Tutorial 3: when to transplant, and how to live until then.

Seidel (2009) reported a boy who was transplanted at eleven months. We stand a month earlier and ask what he was asked:
now, later, or not at all? A transplant cures and kills; the disease kills and takes organs that do not come back. Both
are in the model, with what is not known about either.

    python docs/tutorials/bridge_and_transplant.py --out runs/bridge            # over 200 members
    python docs/tutorials/bridge_and_transplant.py --members 8            # a first look

Every number that is printed is computed in the run. Research tool, not medical advice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import ipex_pd as ipx
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.outcomes import CAUSES
from ipex_pd.planning.paths import NEVER, Paths
from ipex_pd.planning.policies import (
    Policy,
    PolicyComparison,
    at_organ_failure,
    at_remission,
    at_score,
    compare_policies,
    never,
    on_day,
)
from ipex_pd.planning.stopping import Feature, Stopping
from ipex_pd.planning.timing import TimingProfile
from ipex_pd.planning.timing_paths import decision_paths
from ipex_pd.planning.waiting import Waiting
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data

DONOR_FROM = 180.0
"""Day on which a second, related donor could be there: assumed, to have something to wait for."""


@dataclass(frozen=True)
class Findings:
    """What the tutorial found, section by section."""

    goal: PlanningProblem
    profile: TimingProfile
    waiting: Waiting
    paths: Paths
    policies: PolicyComparison
    stopping: Stopping
    files: tuple[Path, ...]


# ## 1. The question
#
# The plan says what an outcome is worth: survival first, organs kept for life, and time weighted by how well it is
# lived. Five years are meant to be long enough to see the price of waiting. The regimen before the transplant is the
# bridge; it goes on until the day, whatever the day. Members are virtual children under draws of the uncertain
# parameters, as always.


def question(members: int) -> tuple[PlanningProblem, Regimen, Ensemble]:
    """The shipped plan, its regimen, and about so many members."""
    goal = ipx.load_plan("bridge_and_transplant")
    draws = max(1, round((members / 2) ** 0.5))
    size = {"children": max(1, round(members / draws)), "draws": draws}
    goal = goal.model_copy(update={"ensemble": goal.ensemble.model_copy(update=size)})
    child = ipx.load_patient(goal.patient)
    print(child.description)
    regimen = ipx.load_regimen(str(goal.start))
    print("The bridge, and the transplant that is moved:")
    print("\n".join(f"  {line}" for line in regimen.in_words()))
    print("\n".join(wish.in_words() for wish in goal.goals))
    ensemble = ipx.ensemble_of(child, children=size["children"], draws=size["draws"], seed=goal.ensemble.seed)
    print("\n".join(ensemble.in_words()))
    return goal, regimen, ensemble


# ## 2. Outcome by day
#
# The same members are transplanted on every candidate day, and on none. A coarse grid of days is refined around the
# best. Read three things: how high the curve is where it is highest against "never", how flat it is there (a flat top
# means that a month more or less is not what matters), and its two intervals. One says how well the day is known with
# so many virtual children and shrinks with more of them; the other says what the parameters leave open and does not.


def timed(goal: PlanningProblem, regimen: Regimen, ensemble: Ensemble, days: Sequence[float] | None) -> TimingProfile:
    """The profile."""
    profile = ipx.transplant_timing(ensemble, goal=goal, regimen=regimen, days=days)
    print(profile)
    best, table = profile.optimum, profile.table
    dates = table[np.isfinite(table["day"])]
    top, none = float(dates["value"].max()), without(profile)
    print(f"A transplant on its best day is worth {top - none:+.3g} against none; no transplant does better in", end="")
    print(f" {best.never:.0%} of the resamples.")
    gap = float(dates["value_se"].to_numpy()[int(dates["value"].argmax())])
    near = dates.loc[dates["value"] >= top - 2 * gap, "day"]
    print(
        f"Days {near.min():g} to {near.max():g} lie within two Monte Carlo errors of the best: the choice among them is"
    )
    print("not settled by this many members.")
    return profile


def without(profile: TimingProfile) -> float:
    """Expected value of no transplant."""
    table = profile.table
    return float(table.loc[~np.isfinite(table["day"]), "value"].to_numpy()[0])


# ## 3. What people die of, and what is lost
#
# An average hides its reasons: the procedure, the disease and infections before and after it, organs lost on the way.
# The parts of the fate add up to one. Follow each over the days: what falls with waiting, and what rises?


def caused(profile: TimingProfile) -> None:
    """Fates by day, and by organ-involvement score and age."""
    for row in profile.causes.to_dict("records"):
        when = f"day {row['day']:g}" if np.isfinite(row["day"]) else "never"
        parts = ", ".join(f"{CAUSES[name]} {row[name]:.1%}" for name in CAUSES if row[name] >= 0.005)
        print(f"{when}: {parts}")
    groups = profile.groups[profile.groups["grouping"] == "score at transplant"]
    for day, rows in groups.groupby("day"):
        told = [f"{r['group']} ({r['share']:.0%}) {r['survival_if_alive']:.1%}" for r in rows.to_dict("records")]
        print(f"Survival of those alive on day {day:g}, by organ-involvement score then: {', '.join(told)}")
    print(
        "The groups are different children: a score that is high at transplant also marks who was worse to begin with."
    )


# ## 4. Is a better donor worth waiting for?
#
# Suppose that a matched sibling could give marrow from day 180 on. Waiting has two prices: the months, and whatever
# happens in them. Both offers are taken at their own best day, on the same members.


def waited(
    goal: PlanningProblem, regimen: Regimen, ensemble: Ensemble, profile: TimingProfile, days: Sequence[float] | None
) -> Waiting:
    """The unrelated donor now, or the related one later."""
    data = regimen.as_data()
    moved = [{**transplant, "donor": "matched_related"} for transplant in data["transplants"]]
    related = from_data(Regimen, {**data, "name": "related_donor", "transplants": moved}, where="related_donor")
    other = ipx.transplant_timing(ensemble, goal=goal, regimen=related, days=days)
    offers = {"unrelated donor": profile, "related donor later": other}
    waiting = ipx.value_of_waiting(offers, {"related donor later": DONOR_FROM})
    print(waiting)
    row = waiting.table.iloc[1]
    if np.isinf(row["best_day"]):
        print("Even with the later donor no transplant does best: the offer changes nothing.")
    else:
        sure = "clear of zero" if row["gain_low"] * row["gain_high"] > 0 else "not clear of zero"
        print(f"Best is the {waiting.best}; the difference is {sure} with this many members.")
    return waiting


# ## 5. Rules instead of days
#
# A day that is fixed at the start ignores what happens on the way. A rule looks at each visit: transplant at
# remission, at the first organ that fails, at a score. Rules see measurements with their errors, not the truth.
# Regret is what a rule loses, in each possible truth, to whatever would have been best there; a rule with a good mean
# and a terrible worst case is a bet on the parameters.


def ruled(
    goal: PlanningProblem, regimen: Regimen, ensemble: Ensemble, visits: Sequence[float]
) -> tuple[Paths, PolicyComparison]:
    """Policies over the same members."""
    paths, _ = decision_paths(ensemble, goal, regimen, visits, seed=1)
    rules: list[Policy] = [on_day(visits[0]), at_remission(), at_organ_failure(), at_score(2), never()]
    found = compare_policies(paths, rules)
    print(found)
    for row in found.table.to_dict("records"):
        print(f"  {row['policy']}: {row['rule']}")
    print(found.regret)
    return paths, found


# ## 6. The best rule of its kind
#
# Working backwards from the last visit, a score of what was measured says at each visit whether to go on. It is
# fitted on some children and valued on others: the value out of sample is the one to quote. Nothing can beat knowing
# the future; the gap to it is what no rule can have from these measurements, or has not learnt from so few members.


def stopped(paths: Paths, folds: int) -> Stopping:
    """Optimal stopping by regression."""
    found = ipx.optimal_stopping(paths, [Feature("oi_score"), Feature("ige", log=True)], folds=folds)
    print(found)
    worth = "beats" if found.gain.mean > 2 * found.gain.se else "does not clearly beat"
    print(f"Out of sample the rule {worth} the best day fixed at the start ({found.gain.mean:+.3g}).")
    return found


# ## 7. What to keep
#
# The record of the profile, and two figures: value by day with its band, and fates by day. The bridge itself, the day
# and the conditioning are optimised together by `ipex-pd optimise bridge_and_transplant`, whose report holds this
# profile too.


def kept(profile: TimingProfile, out: Path) -> tuple[Path, ...]:
    """Files of the profile."""
    out.mkdir(parents=True, exist_ok=True)
    files = (out / "timing.json", out / "timing.svg", out / "fates.svg")
    files[0].write_text(profile.to_json(), encoding="utf-8")
    table = profile.table[np.isfinite(profile.table["day"])]
    figure, axes = plt.subplots(layout="constrained")
    axes.fill_between(table["day"], table["value_low"], table["value_high"], alpha=0.2)
    axes.plot(table["day"], table["value"], marker="o")
    axes.axhline(without(profile), linestyle="--", label="no transplant")
    axes.set(xlabel="day of transplant", ylabel=f"value [{profile.unit}]")
    axes.legend()
    figure.savefig(files[1])
    plt.close(figure)
    causes = profile.causes[np.isfinite(profile.causes["day"])]
    figure, axes = plt.subplots(layout="constrained")
    axes.stackplot(causes["day"], [causes[name] for name in CAUSES], labels=list(CAUSES.values()))
    axes.set(xlabel="day of transplant", ylabel="share of children", ylim=(0, 1))
    axes.legend(fontsize="x-small", loc="lower right")
    figure.savefig(files[2])
    plt.close(figure)
    print("\n".join(f"wrote {file}" for file in files))
    return files


def main(arguments: Sequence[str] | None = None) -> Findings:
    """The tutorial from top to bottom."""
    parser = argparse.ArgumentParser(description="When to transplant, and how to live until then.")
    parser.add_argument("--members", type=int, default=200, help="virtual children times parameter draws")
    parser.add_argument("--years", type=float, help="horizon, in place of the plan's five years")
    parser.add_argument("--days", type=float, nargs="+", help="candidate days, in place of a grid that is refined")
    parser.add_argument("--folds", type=int, default=5, help="parts of the cross-fit of the stopping rule")
    parser.add_argument("--out", type=Path, default=Path("runs/bridge_and_transplant"), help="folder for files")
    asked = parser.parse_args(arguments)

    print("## 1. The question")
    goal, regimen, ensemble = question(asked.members)
    if asked.years is not None:
        goal = goal.model_copy(update={"horizon": asked.years * 365.25})
    print("\n## 2. Outcome by day")
    profile = timed(goal, regimen, ensemble, asked.days)
    print("\n## 3. What people die of, and what is lost")
    caused(profile)
    print("\n## 4. Is a better donor worth waiting for?")
    waiting = waited(goal, regimen, ensemble, profile, asked.days)
    print("\n## 5. Rules instead of days")
    visits = [day for day in profile.days.tolist() if day != NEVER]
    paths, policies = ruled(goal, regimen, ensemble, visits)
    print("\n## 6. The best rule of its kind")
    stopping = stopped(paths, asked.folds)
    print("\n## 7. What to keep")
    return Findings(goal, profile, waiting, paths, policies, stopping, kept(profile, asked.out))


if __name__ == "__main__":
    main()
