"""Dosing that is planned anew at each visit, tried on simulated children whose truth is not the planner's model.

At each trough sample the planner weighs its members by all troughs measured so far (`planning.belief`) and chooses the
dose of largest expected objective until the next sample, among prescribable ones within the order's limits. Beside it
stand the fixed protocol, dosing by the regimen's trough target, and a planner that knows the child. Every arm meets the
same children with the same errors of the assay.

```python
tried = adaptive_dosing(children, load_regimen("prednisolone_tacrolimus"), days=84, seed=1)
tried.table  # share of time in the window by arm
audit(tried, "planned", [0, 1])  # the same doses through `simulate`
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.planning.belief import Renewal, believe
from ipex_pd.planning.dosing_arms import Clinic, Objective, Treated, planned, time_in_window
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.trains import SIZES, Train, followed_order, train_of
from ipex_pd.records.library import load_drug, load_measurements
from ipex_pd.records.measurements import level_of
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import Order
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation import individuals
from ipex_pd.simulation.population import Population
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.study import Study, disease, study

if TYPE_CHECKING:
    from ipex_pd.records.patients import Patient

SCHEMA = "ipex_pd.adaptive/1"
ARMS: Mapping[str, str] = {
    "fixed": "the ordered dose, whatever is measured",
    "target_trough": "the dose follows each measured trough by the regimen's rule",
    "planned": "the dose of largest expected objective, planned anew at each sample",
    "clairvoyant": "planned in the same way by one who knows the child's parameters",
}
_AT_ONCE = 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AdaptiveOptions:
    """How the planner works.

    Attributes:
        members: of the planner's ensemble, where none is given.
        step: smallest difference between doses [mg]; None is a twentieth of the ordered dose of the first child
            (assumed: what a liquid or small capsules allow).
        early: the planned arms choose the first dose too, before any level; else it is as ordered.
        counted_from: time in the window counts from this day on [day].
        renewal: when members are drawn again.
    """

    members: int = 400
    step: float | None = None
    early: bool = False
    counted_from: float = 0.0
    renewal: Renewal = field(default_factory=Renewal)


@dataclass(frozen=True, eq=False)
class AdaptiveDosing:
    """Ways of dosing on the same children.

    Attributes:
        table: a row an arm: arm, share (mean share of time with the trough in the window), low, high (5 % and 95 % over
            children), below, above (mean shares), changes (mean number of dose changes), ratio (of mean shares to that
            of the fixed protocol), meaning.
        share: arm -> [C] share of time in the window of each child.
        multiples: arm -> [N, C] doses as multiples of the ordered one.
        troughs: arm -> [N, C] true troughs at the ends of the dosing intervals.
        effective: [J, C] effective number of the planner's members after each sample.
        renewed: [C] how often the planner's members were drawn again.
        train: of the true children.
        regimen: the plan that was tried.
        population: the children.
        missing: children that were not done because of an interrupt; they are in no table.
    """

    table: pd.DataFrame
    share: Mapping[str, Floats]
    multiples: Mapping[str, Floats]
    troughs: Mapping[str, Floats]
    effective: Floats
    renewed: np.ndarray
    train: Train
    regimen: Regimen
    population: Population
    missing: int = 0

    @property
    def partial(self) -> bool:
        """Whether an interrupt came before every child was done."""
        return self.missing > 0

    @property
    def window(self) -> tuple[float, float, str]:
        """Low, high and unit of the trough."""
        return self.train.aim.low, self.train.aim.high, self.train.unit

    def __repr__(self) -> str:
        low, high, unit = self.window
        rows = [
            f"  {row.arm}: {row.share:.0%} ({row.low:.0%} to {row.high:.0%}), {row.ratio:.2f} x fixed"
            for row in self.table.itertuples()
        ]
        head = f"Time of {self.train.drug} troughs in {low:g}-{high:g} {unit}, {len(self.population)} children:"
        told = f"  planner's members drawn again in {int((self.renewed > 0).sum())} children"
        if self.effective.size:
            told += f"; least effective number {self.effective.min():.1f}"
        return "\n".join([head, *rows, told, *(["  (interrupted)"] if self.partial else [])])

    def to_json(self) -> str:
        """The record as strict JSON."""
        body = {
            "regimen": self.regimen.name,
            "drug": self.train.drug,
            "window": list(self.window),
            "table": self.table,
            "share": self.share,
            "effective": self.effective,
            "renewed": self.renewed,
            "children": len(self.population),
            "partial": self.partial,
        }
        return as_json(SCHEMA, body)


def adaptive_dosing(
    children: Patient | Population | Ensemble,
    regimen: Regimen,
    *,
    days: float,
    seed: int,
    planner: Population | Ensemble | None = None,
    drug: str | None = None,
    objective: Objective = time_in_window,
    options: AdaptiveOptions | None = None,
    progress: Progress | None = None,
) -> AdaptiveDosing:
    """Try ways of dosing one drug on simulated children.

    Args:
        children: the truth: who is treated, with parameters of their own; weights of an ensemble are not used.
        regimen: with one order that follows troughs; its sampling days are the visits of every arm.
        days: how long [day].
        seed: of the errors of the assay and of the planner's members.
        planner: what the planner believes before any level: members with weights (a child's posterior). They take each
            child's own covariates and size, which are known. None is the published parameters with the variability
            between children.
        drug: whose order, where several follow troughs.
        objective: what a dose is chosen for.
        options: of the planner.
        progress: called with (children done, children). Ctrl-C keeps the children that are done.

    Raises:
        UsageError: no order that follows troughs, or no sample before the last day.
        SimulationError: a drug whose levels are not linear in its doses, or a level that cannot be measured.
    """
    chosen = options or AdaptiveOptions()
    population = children.population if isinstance(children, Ensemble) else individuals.as_population(children)
    order = followed_order(regimen, drug)
    asked = study(population, regimen, np.array([0.0, days]))
    size = {name: np.asarray(asked.state[name]) for name in SIZES}
    train = train_of(regimen, order, asked.theta, asked.age, size, days)
    if not train.aim.samples.size:
        raise UsageError(f"no trough is drawn before day {days:g}", where=regimen.name, cure="Plan for longer")
    step = chosen.step if chosen.step is not None else float(train.given[0, 0]) / 20.0
    assay = level_of(load_drug(order.drug), load_measurements().assays)
    clinic = Clinic(train, assay, step, seed)
    believed = _Planner(planner, asked, regimen, order, days, chosen.members, seed)
    done: list[tuple[Treated, Treated]] = []
    try:
        for child in range(len(population)):
            done.append(_treat(clinic, child, believed, objective, chosen, seed))
            if progress is not None:
                progress(len(done), len(population))
    except KeyboardInterrupt:
        if not done:
            raise
    return _told(clinic, done, regimen, population, chosen.counted_from)


def _treat(
    clinic: Clinic, child: int, planner: _Planner, objective: Objective, options: AdaptiveOptions, seed: int
) -> tuple[Treated, Treated]:
    believed = believe(planner.train(child), planner.weights)
    knows = believe(clinic.train.pick(np.array([child])), np.ones(1))
    ways = {"early": options.early, "renewal": options.renewal, "seed": seed + 1}
    first = planned(clinic, child, believed, objective, learns=True, **ways)  # type: ignore[arg-type]
    return first, planned(clinic, child, knows, objective, learns=False, **ways)  # type: ignore[arg-type]


class _Planner:
    """The planner's members under each child's covariates, made for some children at a time."""

    def __init__(
        self,
        given: Population | Ensemble | None,
        asked: Study,
        regimen: Regimen,
        order: Order,
        days: float,
        members: int,
        seed: int,
    ) -> None:
        if given is None:
            patient = asked.population.patients[0]
            given = Population("planner", (patient,) * members, np.arange(members, dtype=np.int64), seed + 1)
        group = given.population if isinstance(given, Ensemble) else given
        self.weights = given.weights if isinstance(given, Ensemble) else np.full(len(group), 1.0 / len(group))
        theta = individuals.theta(group, disease().model, asked.shelves)
        self.own = {name: values for name, values in theta.items() if not name.startswith("covariate.")}
        self.asked, self.regimen, self.order, self.days = asked, regimen, order, days
        self.first = 0
        self.made = self._make(0)

    def train(self, child: int) -> Train:
        """The train of the members as if they were the child."""
        first = child - child % _AT_ONCE
        if first != self.first:
            self.first, self.made = first, self._make(first)
        count = len(self.weights)
        place = (child - first) * count
        return self.made.pick(np.arange(place, place + count))

    def _make(self, first: int) -> Train:
        rows = np.arange(first, min(first + _AT_ONCE, len(self.asked.age)))
        count = len(self.weights)
        prefixes = tuple(f"{drug}." for drug in {d.name for d in self.asked.shelves.drugs.values()})
        theta = {n: np.tile(v, len(rows)) for n, v in self.own.items() if n.startswith(prefixes)}
        known = {n: v for n, v in self.asked.theta.items() if n.startswith("covariate.")}
        theta |= {name: np.repeat(np.asarray(values)[rows], count) for name, values in known.items()}
        size = {name: np.repeat(np.asarray(self.asked.state[name])[rows], count) for name in SIZES}
        age = np.repeat(self.asked.age[rows], count)
        return train_of(self.regimen, self.order, theta, age, size, self.days)


def _told(
    clinic: Clinic,
    done: Sequence[tuple[Treated, Treated]],
    regimen: Regimen,
    population: Population,
    counted_from: float,
) -> AdaptiveDosing:
    rows = np.arange(len(done))
    train = clinic.train
    multiples, troughs = {}, {}
    for arm, (given, found) in {"fixed": clinic.fixed(), "target_trough": clinic.by_target()}.items():
        multiples[arm], troughs[arm] = given[:, rows], found[:, rows]
    for place, arm in enumerate(("planned", "clairvoyant")):
        multiples[arm] = np.stack([pair[place].multiples for pair in done], axis=1)
        troughs[arm] = np.stack([pair[place].troughs for pair in done], axis=1)
    gap = float(train.times[1] - train.times[0])
    counted = train.times + gap > counted_from + 1e-9
    share = {arm: _inside(found[counted], train).mean(axis=0) for arm, found in troughs.items()}
    table = pd.DataFrame([_row(arm, share, multiples[arm], troughs[arm][counted], train) for arm in ARMS])
    return AdaptiveDosing(
        table=table,
        share=share,
        multiples=multiples,
        troughs=troughs,
        effective=np.stack([pair[0].effective for pair in done], axis=1),
        renewed=np.array([pair[0].renewed for pair in done]),
        train=train.pick(rows),
        regimen=regimen,
        population=population.pick(rows.tolist()),
        missing=len(population) - len(done),
    )


def _inside(troughs: Floats, train: Train) -> np.ndarray:
    return np.asarray((troughs >= train.aim.low) & (troughs <= train.aim.high))


def _row(arm: str, share: Mapping[str, Floats], multiples: Floats, troughs: Floats, train: Train) -> dict[str, object]:
    own, base = share[arm], float(share["fixed"].mean())
    low, high = np.quantile(own, [0.05, 0.95])
    return {
        "arm": arm,
        "share": float(own.mean()),
        "low": float(low),
        "high": float(high),
        "below": float((troughs < train.aim.low).mean()),
        "above": float((troughs > train.aim.high).mean()),
        "changes": float((np.abs(np.diff(multiples, axis=0)) > 1e-9).sum(axis=0).mean()),
        "ratio": float(own.mean()) / base if base > 0 else np.inf,
        "meaning": ARMS[arm],
    }


def given_regimen(tried: AdaptiveDosing, arm: str, child: int) -> Regimen:
    """The regimen with the doses [mg] that one child got in an arm, in place of the order that followed troughs.

    Raises:
        UsageError: an arm or child that is not there, or an order that is prophylaxis of a transplant.
    """
    train, data = tried.train, tried.regimen.as_data()
    if arm not in tried.multiples or not 0 <= child < len(tried.population):
        raise UsageError(f"arm `{arm}` of child {child}", rule=f"Arms are {', '.join(ARMS)}, children count from 0")
    if train.order.index >= len(tried.regimen.doses):
        raise UsageError("the order is prophylaxis of a transplant", where=tried.regimen.name)
    gap = float(train.times[1] - train.times[0])
    mg = train.given[:, child] * tried.multiples[arm][:, child]
    starts = np.flatnonzero(np.abs(np.diff(mg, prepend=-1.0)) > 1e-9 * mg)
    ends = [*starts[1:].tolist(), train.doses]
    dose = train.order.dose
    plain = {"drug": dose.drug, "route": dose.route, "every": f"{gap * 24:.10g} h"}
    plain |= {} if dose.infusion is None else {"infusion": f"{dose.infusion * 24:.10g} h"}
    pieces = [
        {**plain, "amount": f"{mg[a]:.12g} mg", "start": float(train.times[a]), "stop": float(train.times[b - 1] + gap)}
        for a, b in zip(starts.tolist(), ends, strict=True)
    ]
    others = [d for place, d in enumerate(data["doses"]) if place != train.order.index]
    name = f"{tried.regimen.name}_{arm}"
    return from_data(Regimen, {**data, "name": name, "doses": [*others, *pieces]}, where=name)


def audit(tried: AdaptiveDosing, arm: str, children: Sequence[int]) -> Floats:
    """Largest relative difference of each child's troughs to those that `simulate` gives under the same doses.

    What differs is the weight: here it follows the z-scores of day 0, there the course of the disease.

    Args:
        tried: what was tried.
        arm: whose doses.
        children: positions.
    """
    found = []
    gap = float(tried.train.times[1] - tried.train.times[0])
    for child in children:
        times = tried.train.times + gap
        asked = given_regimen(tried, arm, child)
        simulation = simulate(tried.population.pick([child]), asked, output_times=times)
        own = tried.troughs[arm][:, child]
        found.append(np.max(np.abs(simulation[tried.train.drug][0] - own) / np.maximum(own, 0.1 * tried.train.aim.low)))
    return np.array(found)
