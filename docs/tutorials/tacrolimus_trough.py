"""Tutorial 2: tacrolimus to a trough, in a boy who grows and whose CYP3A5 type is not known.

Tacrolimus is given so that its trough stays between 5 and 10 ng/mL. Children differ: carriers of CYP3A5*1 clear it
almost twice as fast, clearance follows size, and the rest is called variability. What can one schedule do without a
single blood sample? What does the first sample buy, and what does a genotype? And how far does dosing get that looks at
every sample?

    python docs/tutorials/tacrolimus_trough.py --out runs/trough            # over 200 members
    python docs/tutorials/tacrolimus_trough.py --members 8 --iterations 10    # a first look

Every number that is printed is computed in the run. Research tool, not medical advice.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import ipex_pd as ipx
from ipex_pd.planning.adaptive import ARMS, AdaptiveDosing
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.information import Decision, Information, readings
from ipex_pd.planning.optimise import PlanOptions
from ipex_pd.planning.plan import Plan
from ipex_pd.records.library import load_measurements
from ipex_pd.records.measurements import level_of
from ipex_pd.records.patients import Cyp3a5, Patient
from ipex_pd.records.plan_limits import TroughLimit
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.relations import Category
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.children import CYP3A5_EXPRESSER
from ipex_pd.simulation.results import Simulation
from ipex_pd.units import factor

DRUG, UNIT = "tacrolimus", "ng/mL"
TYPES = ("nonexpresser", "expresser")
MULTIPLES = (0.5, 0.7, 1.0, 1.4, 2.0)
"""Doses that one may go on with: what a clinic tries, about half a step of a doubling apart."""
CHANGE, SAMPLE = 14.0, 7.0
"""The dose changes once, on day 14; the sample that may decide it is drawn on day 7."""


@dataclass(frozen=True)
class Findings:
    """What the tutorial found, section by section."""

    goal: PlanningProblem
    typed: Ensemble
    plan: Plan
    by_type: dict[str, float]
    information: Information
    adaptive: AdaptiveDosing
    files: tuple[Path, ...]


# ## 1. The question
#
# The plan asks for the most remission with the least drug, with 40 % of troughs inside the window: a chance
# constraint, over members and sampled days at once. Why so few? The next section shows how far children lie apart.


def question(members: int) -> PlanningProblem:
    """The shipped plan, over about so many members."""
    goal = ipx.load_plan("tacrolimus_trough")
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


# ## 2. Who stands before us
#
# The boy was not typed. So we take virtual children around him twice, once as non-expressers and once as expressers:
# the same bodies, blood values and random effects, another gene. The two types are two possible truths, with weights;
# the share of expressers is an assumption of the package, and the first thing to replace by that of your clinic.
# Under one dose by weight, the types part. Growth, and the weight that a child regains, come
# on top: a dose written once in mg is another dose per kg some weeks later.


def stood(goal: PlanningProblem, children: int) -> Ensemble:
    """Virtual children of both types, and what the label's dose does in them."""
    typed = of_both_types(ipx.load_patient(goal.patient), children, seed=goal.ensemble.seed)
    print(f"{children} children, each as {' and as '.join(TYPES)}; {CYP3A5_EXPRESSER.value:.0%} are taken to be")
    print(f"expressers ({CYP3A5_EXPRESSER.basis}).")
    regimen = fixed(goal, 1.0)
    course = ipx.simulate(typed.population, regimen, output_times=[0.0, CHANGE, goal.horizon])
    trough, weight = levels(course)[:, 1], course["weight"]
    for number, name in enumerate(TYPES):
        low, middle, high = np.quantile(trough[typed.draw == number], [0.05, 0.5, 0.95])
        print(f"  {name}: trough of day {CHANGE:g} {middle:.1f} {UNIT} ({low:.1f} to {high:.1f})")
    grown = float(np.median(weight[:, -1] / weight[:, 0] - 1.0))
    print(
        f"Over {goal.horizon / 7:g} weeks weight changes by {grown:+.1%} (median), and a dose kept in mg by "
        f"{1.0 / (1.0 + grown) - 1.0:+.1%} per kg."
    )
    return typed


def of_both_types(child: Patient, children: int, *, seed: int) -> Ensemble:
    """The same virtual children as non-expressers and as expressers, by weight."""
    group = ipx.virtual_population(child, children, seed=seed)
    patients = [of_type(patient, name) for name in TYPES for patient in group.patients]
    draw = np.repeat(np.arange(len(TYPES)), children)
    both = replace(group, patients=tuple(patients), index=np.tile(group.index, len(TYPES)), draw=draw)
    share = np.array([1.0 - CYP3A5_EXPRESSER.value, CYP3A5_EXPRESSER.value])
    return Ensemble(both, share[draw], draw, both.index, "types of CYP3A5")


def of_type(patient: Patient, name: str) -> Patient:
    """The child with a type."""
    known = from_data(Cyp3a5, {"value": name, "source": {"assumed": "one of the types that may be"}}, where="cyp3a5")
    return patient.model_copy(update={"cyp3a5": known})


def fixed(goal: PlanningProblem, multiple: float) -> Regimen:
    """The start regimen without its trough target, with so many times its dose from day 14 on."""
    data = ipx.load_regimen(str(goal.start)).as_data()
    (order,) = [dose for dose in data["doses"] if dose["drug"] == DRUG]
    others = [dose for dose in data["doses"] if dose["drug"] != DRUG]
    plain = {name: value for name, value in order.items() if name != "target_trough"}
    amount, unit = str(order["amount"]).split(maxsplit=1)
    later = {**plain, "amount": f"{float(amount) * multiple:.6g} {unit}", "start": CHANGE}
    name = f"tacrolimus_times_{multiple:g}".replace(".", "_")
    return from_data(Regimen, {**data, "name": name, "doses": [*others, {**plain, "stop": CHANGE}, later]}, where=name)


def levels(course: Simulation) -> np.ndarray:
    """[M, T] concentrations [ng/mL]; at the time of a dose, what is there before it is absorbed."""
    return np.asarray(course[DRUG] * factor(course.units[DRUG], UNIT))


def window(goal: PlanningProblem) -> tuple[float, float, list[float]]:
    """Ends of the window [ng/mL], and the days on which the plan samples before its horizon."""
    limit = next(limit for limit in goal.limits if isinstance(limit, TroughLimit))
    scale = factor("mg/L", UNIT)
    days = [day for day in limit.sample_days(goal.horizon) if day < goal.horizon]
    return limit.low_mg_l * scale, limit.high_mg_l * scale, days


# ## 3. One schedule for all
#
# The search moves the dose of five periods and tries both dosing intervals; what it finds is rounded to volumes that
# can be measured. Look at the lines of the chance constraint: `simulated` is the share in the members that the
# schedule was made for, `true` the share on fresh ones. Where the constraint binds it has a price, what one more
# point of share costs the goal; with few members the fresh share may fall short of it, and more members, or a higher
# share asked, are the remedy.


def scheduled(goal: PlanningProblem, options: PlanOptions) -> Plan:
    """The plan."""
    plan = ipx.optimise_regimen(ipx.load_patient(goal.patient), goal=goal, options=options)
    print(plan)
    for limit in plan.limits:
        if "trough" in limit.label:
            state = "kept" if limit.met else "not kept"
            print(f"Chance constraint ({limit.how}): {limit.value:.1%} of troughs, asked {limit.low:.0%}: {state}.")
    return plan


# ## 4. Whom the schedule serves
#
# A share over everybody hides who pays for it. The plan's schedule, given to both types:


def served(goal: PlanningProblem, plan: Plan, typed: Ensemble) -> dict[str, float]:
    """Share of sampled troughs inside the window by type, under the plan."""
    low, high, days = window(goal)
    course = ipx.simulate(typed.population, plan.regimen, output_times=[0.0, *days, goal.horizon])
    trough = levels(course)[:, 1:-1]
    found = {}
    for number, name in enumerate(TYPES):
        own = trough[typed.draw == number]
        found[name] = float(((own >= low) & (own <= high)).mean())
        print(f"  {name}: {found[name]:.0%} inside, {(own < low).mean():.0%} below", end="")
        print(f", {(own > high).mean():.0%} above")
    worse = min(found, key=lambda name: found[name])
    print(f"The {worse} is served worse: {abs(found[TYPES[0]] - found[TYPES[1]]):.0%} of days apart.")
    return found


# ## 5. What one sample buys
#
# Suppose the dose may change once, on day 14. Without a measurement everybody gets the multiple that is best on
# average. A trough on day 7 tells something about this child: each possible value makes some members more probable,
# and another dose may then be best. The expected gain is its value of information, before the sample is drawn.
# Knowing the genotype is the knowledge of which of the two truths holds; knowing the child is the most that anything
# can buy.


def informed(goal: PlanningProblem, typed: Ensemble) -> Information:
    """A trough on day 7, against a genotype and against knowing everything."""
    low, high, sampled = window(goal)
    days = [day for day in sampled if day > CHANGE]
    runs = {
        f"{multiple:g} x": ipx.simulate(
            typed.population, fixed(goal, multiple), output_times=[0.0, SAMPLE, *days, goal.horizon]
        )
        for multiple in MULTIPLES
    }
    troughs = [levels(run)[:, 2:-1] for run in runs.values()]
    inside = [(found >= low) & (found <= high) for found in troughs]
    decision = Decision(
        actions=tuple(runs),
        value=np.stack([row.mean(axis=1) for row in inside]),
        latest=np.full(len(runs), CHANGE),
        weights=typed.weights,
        draw=typed.draw,
        unit="share of days inside",
    )
    level = level_of(ipx.load_drug(DRUG), load_measurements().assays)
    found = ipx.value_of_information(decision, readings(runs["1 x"], [level], [SAMPLE]), seed=1)
    row = found.table.iloc[0]
    dose, now = found.best_now
    print(f"Without a measurement the best is {dose} the label's dose: {now:.1%} of days inside.")
    print(f"A trough on day {row['day']:g} adds {row['evsi']:.1%}; the dose changes for {row['changes']:.0%}.")
    print(f"The genotype would add {found.evppi:.1%}, knowing the child {found.evpi:.1%}.")
    if row["evsi"] > found.evppi:
        print("The trough is worth more than the genotype: it also sees what else makes this child differ.")
    else:
        print("The trough is worth no more than the genotype: errors of the assay hide what it sees beyond the type.")
    return found


# ## 6. A schedule against a clinic
#
# At last, dosing that follows every sample. On simulated children, whose parameters the planner does not know, four
# ways are tried with the same errors of the assay: the dose as ordered; the rule of the shipped regimen (outside the
# window, scale the dose); a planner that updates what it believes after each sample and takes the dose with the most
# expected time inside; and the same by someone who knows the child. The planner here does not know the type either:
# to it the type is a factor on clearance.


def followed(goal: PlanningProblem, children: int) -> AdaptiveDosing:
    """Ways of dosing on children of both types, half of each."""
    child, seed = ipx.load_patient(goal.patient), goal.fresh.seed
    truth = untyped(of_both_types(child, children, seed=seed))
    planner = untyped(of_both_types(child, max(100, 2 * children), seed=seed + 1))
    found = ipx.adaptive_dosing(
        truth.population, ipx.load_regimen(str(goal.start)), days=goal.horizon, seed=seed, planner=planner
    )
    print(found)
    for arm in ARMS:
        print(f"  {arm}: {ARMS[arm]}")
    share = found.table.set_index("arm")["share"]
    reach = share["clairvoyant"] - share["fixed"]
    if reach > 0:
        rule, plan = ((share[arm] - share["fixed"]) / reach for arm in ("target_trough", "planned"))
        print(f"Of what knowing the child would add to the fixed dose, the rule gets {rule:.0%}, planning {plan:.0%}.")
    return found


def untyped(typed: Ensemble) -> Ensemble:
    """The same members with an unknown type, whose factor is in their clearance instead."""
    drug = ipx.load_drug(DRUG)
    (relation,) = [item for item in drug.relations_on("clearance") if isinstance(item, Category)]
    factors, known = relation.factors, typed.population
    values = np.array([factors[p.cyp3a5.value] / factors["unknown"] for p in known.patients if p.cyp3a5])
    typical = {f"{DRUG}.clearance": values * drug.parameter_set()["clearance"].value}
    patients = tuple(of_type(patient, "unknown") for patient in known.patients)
    return replace(typed, population=replace(known, patients=patients, typical=typical))


# ## 7. What to keep
#
# The plan as a regimen, the record, the report, and a figure of the four ways.


def kept(plan: Plan, adaptive: AdaptiveDosing, out: Path) -> tuple[Path, ...]:
    """Files of the plan."""
    files = (*plan.save(out), ipx.write_plan_report(plan, out / "report.html"), out / "ways_of_dosing.svg")
    figure, axes = plt.subplots(layout="constrained")
    axes.boxplot([adaptive.share[arm] for arm in ARMS], tick_labels=list(ARMS))
    low, high, unit = adaptive.window
    axes.set(ylabel=f"share of time with the trough in {low:g}-{high:g} {unit}", ylim=(0, 1))
    figure.savefig(files[-1])
    plt.close(figure)
    print("\n".join(f"wrote {file}" for file in files))
    return files


def main(arguments: Sequence[str] | None = None) -> Findings:
    """The tutorial from top to bottom."""
    parser = argparse.ArgumentParser(description="Tacrolimus to a trough under growth and CYP3A5 uncertainty.")
    parser.add_argument("--members", type=int, default=200, help="virtual children times parameter draws")
    parser.add_argument("--starts", type=int, default=3, help="searches of each interval")
    parser.add_argument("--iterations", type=int, default=60, help="the most steps of one search")
    parser.add_argument("--out", type=Path, default=Path("runs/tacrolimus_trough"), help="folder for files")
    asked = parser.parse_args(arguments)
    options = PlanOptions(starts=asked.starts, iterations=asked.iterations, neighbours=asked.iterations)
    children = max(2, asked.members // 2)

    print("## 1. The question")
    goal = question(asked.members)
    print("\n## 2. Who stands before us")
    typed = stood(goal, children)
    print("\n## 3. One schedule for all")
    plan = scheduled(goal, options)
    print("\n## 4. Whom the schedule serves")
    by_type = served(goal, plan, typed)
    print("\n## 5. What one sample buys")
    information = informed(goal, typed)
    print("\n## 6. A schedule against a clinic")
    adaptive = followed(goal, children)
    print("\n## 7. What to keep")
    return Findings(goal, typed, plan, by_type, information, adaptive, kept(plan, adaptive, asked.out))


if __name__ == "__main__":
    main()
