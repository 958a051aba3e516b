"""A synthetic cohort: virtual children, mixed treatments, irregular visits, sparse assays with errors, and the truth.

Numbers of the design stand in `DESIGN`, each assumed: no registry of IPEX patients with visits and assays is public.
Nothing here may be read as data of real children; what is written says so in its name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.cohort_records import Cohort
from ipex_pd.records.cohorts import COLUMNS
from ipex_pd.records.library import load_parameters, load_regimen
from ipex_pd.records.patients import Fact, Patient
from ipex_pd.records.provenance import Source
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data, save_data
from ipex_pd.simulation import individuals
from ipex_pd.simulation.cohort_design import DESIGN, Design, Plan, plans
from ipex_pd.simulation.cohort_histories import as_given
from ipex_pd.simulation.measuring import measurable, measure
from ipex_pd.simulation.population import Population, cohort_population
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.study import disease, initial_state

PREFIX = "synthetic_"
"""How the name of every synthetic cohort begins."""


@dataclass(frozen=True, eq=False)
class SyntheticCohort:
    """A synthetic cohort in the form of its files.

    Attributes:
        record: the cohort file.
        table: the rows of its table, as written.
        truth: one row a child, the values that made his course; never to be read by a fit.
    """

    record: Cohort
    table: pd.DataFrame
    truth: pd.DataFrame

    def save(self, folder: Path) -> tuple[Path, Path, Path]:
        """Write the record, the table and the truth; the paths."""
        folder.mkdir(parents=True, exist_ok=True)
        paths = tuple(
            folder / name for name in (f"{self.record.name}.yaml", self.record.observations, _truth(self.record))
        )
        save_data(paths[0], self.record.as_data())
        self.table.to_csv(paths[1], index=False)
        self.truth.to_csv(paths[2], index=False)
        return paths[0], paths[1], paths[2]


def _truth(record: Cohort) -> str:
    return record.truth or f"{record.name}_truth.csv"


def draw_cohort(
    children: int,
    *,
    seed: int,
    name: str = "synthetic_ipex",
    varies: Sequence[str] | None = None,
    design: Design = DESIGN,
    progress: Callable[[int, int], object] | None = None,
) -> SyntheticCohort:
    """Draw children, treat them, and see them as a clinic would.

    Args:
        children: how many.
        seed: of everything that is drawn.
        name: of the cohort; it begins with `synthetic_`.
        varies: parameters in which children differ; every one with a variability when None.
        design: visits, assays and treatments.
        progress: called with (children done, children in all).

    Raises:
        UsageError: a name that does not say what it is, a name under `varies` that does not vary, or no child.
    """
    if not name.startswith(PREFIX):
        raise UsageError(
            f"`{name}`", where="name", rule=f"The name of a synthetic cohort begins with `{PREFIX}`", cure="Rename it"
        )
    crowd = _crowd(children, seed, varies)
    entries, tables, truth = [], [], []
    for child, plan in enumerate(plans(design, seed, children)):
        one = _aged(crowd.pick([child]), plan.age)
        simulation = simulate(one, plan.regimen, output_times=plan.days, options=SolverOptions(audit="off"))
        given = plan.regimen
        if any(order.titration is not None for order in given.orders):
            given = as_given(given, simulation).model_copy(update={"description": "What the child was given."})
        rows = _seen(simulation, plan, child + 1, _seed(seed, child))
        entries.append(_entry(child + 1, one.patients[0], given, plan))
        tables.append(rows)
        truth.append({"ID": child + 1, "regimen": plan.regimen.name, **_true_values(one, plan.regimen)})
        if progress is not None:
            progress(child + 1, children)
    record = from_data(
        Cohort,
        {
            "name": name,
            "description": _description(children, seed, varies, design),
            "observations": f"{name}.csv",
            "truth": f"{name}_truth.csv",
            "children": entries,
        },
        where=name,
    )
    return SyntheticCohort(record, pd.concat(tables, ignore_index=True)[list(COLUMNS)], pd.DataFrame(truth))


def _seed(seed: int, child: int) -> int:
    """A seed for the errors of one child."""
    return 1_000_003 * (seed + 1) + child


def _crowd(children: int, seed: int, varies: Sequence[str] | None) -> Population:
    crowd = cohort_population(children, seed=seed)
    if varies is None:
        return crowd
    disease = load_parameters("disease")
    vary = {p.name for p in disease.parameters if p.variability is not None} | {"residual_function"}
    for name in varies:
        if name not in vary and "." not in name:
            known = ", ".join(f"`{v}`" for v in sorted(vary))
            raise UsageError(f"`{name}` does not vary between children", where="varies", rule=f"These do: {known}")
    return Population(
        crowd.name, crowd.patients, crowd.index, crowd.seed, frozenset(varies), None, None, crowd.description
    )


def _aged(one: Population, age: float) -> Population:
    """A newborn of the population at the age of his diagnosis, with the size that his course gave him."""
    drawn = Source.model_validate({"assumed": "drawn; see the design of the synthetic cohort"})
    born = {"stated_age": Fact(value=f"{age:g} day", source=drawn), "weight_z": None, "height_z": None}
    older = Population(one.name, (one.patients[0].model_copy(update=born),), one.index, one.seed, one.varies)
    values = individuals.theta(older, disease().model, individuals.shelves(load_regimen("untreated"), None))
    state = initial_state(older, disease(), values, SolverOptions(audit="off"))
    size = {n: Fact(value=round(float(state[n][0]), 3), source=drawn) for n in ("weight_z", "height_z")}
    return replace(older, patients=(older.patients[0].model_copy(update=size),))


def _true_values(one: Population, regimen: Regimen) -> dict[str, Any]:
    """Individual values of every parameter that varies between children, in the units of the equations."""
    child, given = one.patients[0], individuals.shelves(regimen, None)
    found: dict[str, Any] = {"foxp3": child.foxp3.value, "age": child.age}
    values = individuals.theta(one, disease().model, given)
    for name in sorted(_varying(given) if one.varies is None else {*one.varies, "residual_function"} & set(values)):
        found[name] = float(f"{float(values[name][0]):.8g}")
    return found


def _varying(given: individuals.Shelves) -> set[str]:
    disease_names = {p.name for p in given.disease.parameters if p.variability is not None}
    drugs = {
        f"{drug.name}.{p.name}"
        for drug in given.drugs.values()
        for p in drug.parameter_set().parameters
        if p.variability
    }
    return {*disease_names, "residual_function", *drugs}


def _seen(simulation: Simulation, plan: Plan, number: int, seed: int) -> pd.DataFrame:
    """Rows of one child as a clinic would have recorded them."""
    items = {item.name: item for item in measurable(simulation)}
    asked = {name: days for name, days in plan.assays(tuple(items)).items() if len(days)}
    rows = measure(simulation, asked, seed=seed)
    rows = rows[~(rows["measured"].isna() & (rows["unit"] == "day"))]
    names = rows["measurement"].to_numpy()
    days = rows["day"].to_numpy()
    lost = np.array(
        [plan.is_lost(n, d) and items[n].kind not in ("event", "survival") for n, d in zip(names, days, strict=True)]
    )
    table = pd.DataFrame(
        {
            "ID": number,
            "TIME": [f"{day:g}" for day in days],
            "DVID": names,
            "DV": [_text(value) for value in rows["measured"]],
            "CENS": rows["cens"].to_numpy(),
            "LIMIT": [_text(value) for value in rows["limit"]],
            "MDV": lost.astype(int),
        }
    )
    table.loc[lost, ["DV", "LIMIT"]] = "."
    table.loc[lost, "CENS"] = 0
    return table


def _text(value: float) -> str:
    return f"{value:.5g}" if np.isfinite(value) else "."


def _entry(number: int, patient: Patient, regimen: Regimen, plan: Plan) -> dict[str, Any]:
    data = patient.as_data() | {
        "name": f"child_{number}",
        "description": f"virtual boy, followed for {plan.days[-1]:g} days",
    }
    shelf = regimen == load_regimen(plan.shelf)
    return {"id": number, "patient": data, "regimen": plan.shelf if shelf else _lean(regimen)}


def _lean(regimen: Regimen) -> dict[str, Any]:
    """The regimen without the sources of its doses, which stand with the shipped plan."""
    data = regimen.as_data()
    data.pop("sources", None)

    def bare(item: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in item.items() if key != "source"}
        return kept | ({"prophylaxis": [bare(dose) for dose in kept["prophylaxis"]]} if "prophylaxis" in kept else {})

    return data | {key: [bare(item) for item in data[key]] for key in ("doses", "transplants") if key in data}


def _description(children: int, seed: int, varies: Sequence[str] | None, design: Design) -> str:
    differ = "every parameter with a variability" if varies is None else ", ".join(varies)
    return (
        f"SYNTHETIC: {children} virtual boys simulated with the shipped parameters (seed {seed}); not data of real "
        f"children. They differ in FOXP3 class, haematocrit, CYP3A5 and in {differ}. {design.in_words()}"
    )
