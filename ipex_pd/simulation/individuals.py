"""Who the patients are, as arrays: parameters, covariates and transplant choices of a population in model units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import RecordError, SimulationError, nearest_hint
from ipex_pd.records.library import load_drug, load_parameters
from ipex_pd.records.relations import COVARIATES, SWITCH_DEFAULTS
from ipex_pd.simulation.draws import Array
from ipex_pd.simulation.population import Population
from ipex_pd.simulation.variability import individual

if TYPE_CHECKING:
    from ipex_pd.equations.model import Model
    from ipex_pd.records.drugs import Drug
    from ipex_pd.records.orders import Transplant
    from ipex_pd.records.parameters import ParameterSet
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.regimens import Regimen

REFERENCES = {"haematocrit": 0.35, "albumin": 40.0, "bilirubin": 11.29}
"""Covariates when a patient file does not state them: haematocrit of a well child (assumed, above the 0.30 below which
tacrolimus clearance rises), normal albumin [g/L] (assumed), bilirubin at the reference of Cheng 2020 [umol/L]
(D054)."""

CLASS_PARAMETERS = ("residual_function", "foxp3_expression")
"""Parameters whose typical value is that of the FOXP3 class."""


@dataclass(frozen=True)
class Shelves:
    """The parameter sets a simulation stands on."""

    disease: ParameterSet
    classes: ParameterSet
    transplant: ParameterSet
    drugs: Mapping[str, Drug]

    def sets(self) -> tuple[ParameterSet, ...]:
        """All of them."""
        return (self.disease, self.classes, self.transplant, *(d.parameter_set() for d in self.drugs.values()))


def shelves(regimen: Regimen, parameters: ParameterSet | None) -> Shelves:
    """Load the sets that a regimen needs; `parameters` replaces the shipped disease set."""
    return Shelves(
        disease=parameters if parameters is not None else load_parameters("disease"),
        classes=load_parameters("foxp3_classes"),
        transplant=load_parameters("transplant"),
        drugs={name: load_drug(name) for name in regimen.drugs},
    )


def as_population(patients: Patient | Population) -> Population:
    """A population as it is; a patient as the one typical child of his file."""
    if isinstance(patients, Population):
        return patients
    return Population(
        name=patients.name, patients=(patients,), index=np.zeros(1, dtype=np.int64), seed=0, varies=frozenset()
    )


def require_size(population: Population, regimen: Regimen) -> None:
    """Refuse doses by body size for a child whose file states no weight. Raises: RecordError."""
    for patient in population.patients:
        if regimen.needs_weight() and patient.weight_kg is None and patient.weight_z is None:
            raise RecordError(
                f"`{patient.name}` has no weight, and `{regimen.name}` doses by body size",
                where=patient.name,
                rule="Doses in mg/kg or mg/m2 need the weight at the start",
                cure="Write `weight: {value: 7.5 kg, source: ...}` or `weight_z: ...` in the patient file",
            )


def theta(population: Population, model: Model, given: Shelves) -> dict[str, Array]:
    """Individual values by name, (patient,), in the units of the equations and of `records.drugs.UNITS`.

    Raises:
        SimulationError: the disease set lacks a parameter of the equations.
    """
    found = _disease(population, model, given)
    for drug in {d.name: d for d in given.drugs.values()}.values():
        scale = drug.values()
        for parameter in drug.parameter_set().parameters:
            name = f"{drug.name}.{parameter.name}"
            found[name] = population.values(parameter, name) * _ratio(scale[parameter.name], parameter.value)
        if drug.kinetics.depot:
            found.setdefault(f"{drug.name}.lag", np.zeros(len(population)))
    return found | covariates(population.patients)


def _ratio(canonical: float, written: float) -> float:
    return canonical / written if written else 1.0


def _disease(population: Population, model: Model, given: Shelves) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for symbol in model.parameters:
        declared = symbol.declaration
        if declared.name not in given.disease:
            raise SimulationError(
                f"`{declared.name}` is a parameter of the equations and not in `{given.disease.name}`",
                rule=nearest_hint(declared.name, given.disease.names),
                cure="Add it to the parameter set",
            )
        parameter = given.disease[declared.name]
        scale = _ratio(parameter.value_in(declared.unit), parameter.value)
        if declared.name in CLASS_PARAMETERS:
            found[declared.name] = _of_class(population, declared.name, given) * scale
        else:
            found[declared.name] = population.values(parameter) * scale
    return found


def _of_class(population: Population, name: str, given: Shelves) -> Array:
    """A class parameter: the class's typical value, or what the patient file states, with the patient's own effect."""
    values = np.empty(len(population))
    keys = [(p.foxp3.value, _stated(p, name)) for p in population.patients]
    for key in set(keys):
        rows = [i for i, k in enumerate(keys) if k == key]
        parameter = given.classes[f"{key[0]}__{name}"]
        group = population.pick(rows)
        if key[1] is None:
            drawn = group.values(parameter.model_copy(update={"name": name}))
        elif population.varies is None and parameter.variability is not None and 0.0 < key[1] < 1.0:
            drawn = individual(parameter, group.eta(name), key[1])
        else:
            drawn = np.full(len(rows), key[1])
        values[rows] = drawn
    return values


def _stated(patient: Patient, name: str) -> float | None:
    if name != "residual_function" or patient.residual_function is None:
        return None
    return patient.residual_function.in_unit("1")


def covariates(patients: Sequence[Patient]) -> dict[str, Array]:
    """Covariates of drug kinetics as `covariate.<name>`, (patient,); references where a file states none."""
    constant = [name for name in COVARIATES if name in {*REFERENCES, *SWITCH_DEFAULTS, "cyp3a5"} - {"protein_loss"}]
    defaults = {**REFERENCES, **SWITCH_DEFAULTS}
    stated = [patient.covariates() for patient in patients]
    found = {f"covariate.{name}": np.array([s.get(name, defaults.get(name, 0.0)) for s in stated]) for name in constant}
    return found | {"covariate.female": np.array([float(p.sex == "female") for p in patients])}


def start_overrides(population: Population) -> dict[str, Array]:
    """States that patient files set at day 0: name -> (patient,), `nan` where a file leaves it to the course so far."""
    rows = [_stated_start(p) for p in population.patients]
    names = sorted({name for row in rows for name in row})
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _stated_start(patient: Patient) -> dict[str, float]:
    sizes = patient.size_z()
    stated = dict(patient.start_values())
    if patient.weight_kg is not None or patient.weight_z is not None:
        stated["weight_z"] = sizes["weight_z"]
    if patient.height_cm is not None or patient.height_z is not None:
        stated["height_z"] = sizes["height_z"]
    return stated


def transplant_covariates(
    transplants: Sequence[Transplant], names: Iterable[str], given: ParameterSet
) -> dict[str, Array]:
    """Covariates of the transplant map for each transplant, [M]: products over the choices made.

    The numbers of CD34 and CD3 cells, where stated, scale the grafted stem and T cells by the source's usual numbers.

    Raises:
        SimulationError: a choice has no entry in the set.
    """
    return {name: np.array([_covariate(t, name, given) for t in transplants]) for name in names}


def _covariate(transplant: Transplant, name: str, given: ParameterSet) -> float:
    value = 1.0
    for choice in (transplant.conditioning, transplant.serotherapy, transplant.donor, transplant.graft):
        if not any(n.startswith(f"{choice}__") for n in given.names):
            known = {n.split("__")[0] for n in given.names}
            raise SimulationError(
                f"`{choice}` has no entry in parameter set `{given.name}`", rule=nearest_hint(choice, known)
            )
        if f"{choice}__{name}" in given:
            value *= given[f"{choice}__{name}"].value
    for cells, scaled in (("cd34", ("graft_stem",)), ("cd3", ("graft_t", "graft_treg"))):
        stated = transplant.cells()[cells]
        if stated is not None and name in scaled:
            value *= stated / given[f"{transplant.graft}__{cells}_usual"].value_in("cells/kg")
    return value


def fill(initial: Array, states: Sequence[str], overrides: Mapping[str, Array]) -> Array:
    """States [S, P] with the stated ones in place."""
    filled = np.array(initial, dtype=np.float64)
    for name, stated in overrides.items():
        row = states.index(name)
        filled[row] = np.where(np.isnan(stated), filled[row], stated)
    return filled


def by_age(population: Population) -> list[tuple[float, list[int]]]:
    """Positions of the patients by their age at the start [day]."""
    ages = [patient.age for patient in population.patients]
    return [(age, [i for i, a in enumerate(ages) if a == age]) for age in sorted(set(ages))]


def assumed(sets: Sequence[ParameterSet], patients: Sequence[Patient]) -> tuple[str, ...]:
    """Every assumed number that entered, with its reason."""
    lines = [
        f"{s.name}: {p.name} = {p.value:g} {p.unit} ({p.source.reason})"
        for s in sets
        for p in s.parameters
        if p.source.assumed
    ]
    child = patients[0]
    own = [f"{child.name}: {what} = {value} ({why.reason})" for what, value, why in child.facts() if why.assumed]
    return (*own, *_left_out(child), *lines)


def _left_out(child: Patient) -> list[str]:
    stated = child.covariates()
    missing = {name: value for name, value in REFERENCES.items() if name not in stated}
    lines = [f"{child.name}: {name} = {value:g} (not stated)" for name, value in missing.items()]
    if child.height_cm is None and child.height_z is None:
        lines.append(f"{child.name}: height (not stated; from the course before day 0, the median at birth)")
    return lines
