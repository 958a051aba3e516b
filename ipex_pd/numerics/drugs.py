"""A drug's file as closed-form kinetics: records.Drug -> DrugKinetics.

Parameters of drug `d` stand in theta under `d.<parameter>`, in the units of `records.drugs.UNITS`; amounts are mg and
concentrations inside the solver mg/L.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp

from ipex_pd.numerics.schedule import DrugKinetics
from ipex_pd.records.drugs import Drug, SaturableBinding
from ipex_pd.records.relations import CovariateRelation, DoseRelation, Relation
from ipex_pd.units import factor

Array = Any
Arrays = Mapping[str, Array]


_bound: dict[str, DrugKinetics] = {}


def bind_drug(drug: Drug) -> DrugKinetics:
    """The kinetics, reported concentrations and potencies of a drug as functions of theta and covariates.

    Equal drugs give the same object, so that programs compiled for it are used again.
    """
    key = drug.model_dump_json(include={"name", "kinetics", "relations", "concentration", "acts_on", "parameters"})
    if key not in _bound:
        _bound[key] = _bind(drug)
    return _bound[key]


def _bind(drug: Drug) -> DrugKinetics:
    return DrugKinetics(
        name=drug.name,
        compartments=drug.kinetics.compartments,
        depot=drug.kinetics.depot,
        individual=_individual(drug),
        bioavailability=_bioavailability(drug),
        concentrations=_concentrations(drug),
        potency=_potency(drug),
    )


def concentration_names(drug: Drug) -> dict[str, str]:
    """Quantity name -> reported concentration; the measured one bears the drug's name."""
    measured, *others = drug.concentration.names
    return {drug.name: measured, **{f"{drug.name}_{other}": other for other in others}}


def _adjusted(relations: tuple[Relation, ...], value: Array, covariates: Arrays) -> Array:
    for relation in relations:
        if isinstance(relation, CovariateRelation):
            value = value * relation.factor(jnp, covariates)
    return value


def _individual(drug: Drug) -> Callable[[Arrays, Arrays], dict[str, Array]]:
    names = [n for n in drug.values() if n not in ("bioavailability",) and not n.startswith(("binding_", "ec50_"))]
    relations = {name: drug.relations_on(name) for name in names}

    def individual(theta: Arrays, covariates: Arrays) -> dict[str, Array]:
        return {name: _adjusted(relations[name], theta[f"{drug.name}.{name}"], covariates) for name in names}

    return individual


def _bioavailability(drug: Drug) -> Callable[[Arrays, Arrays, Array, Arrays], Array]:
    relations = drug.relations_on("bioavailability")

    def bioavailability(theta: Arrays, covariates: Arrays, amount: Array, daily: Arrays) -> Array:
        if not drug.kinetics.depot:
            return jnp.ones_like(amount)
        value = _adjusted(relations, theta[f"{drug.name}.bioavailability"], covariates)
        for relation in relations:
            if isinstance(relation, DoseRelation):
                value = value * relation.dose_factor(jnp, covariates, amount, _by_drug(relation, daily))
        return value

    return bioavailability


def _by_drug(relation: Relation, daily: Arrays) -> dict[str, Array]:
    """Daily doses by the names that a relation uses: `<drug>_<variant>` counts as the drug."""
    names = getattr(relation, "companions", {})
    found: dict[str, Array] = {}
    for given, dose in daily.items():
        for name in names:
            if given == name or given.startswith(f"{name}_"):
                found[name] = found.get(name, 0.0) + dose
    return found


def _total_over_unbound(drug: Drug, theta: Arrays, c: Array) -> Array:
    capacity, affinity, linear = (theta[f"{drug.name}.binding_{n}"] for n in ("capacity", "affinity", "linear"))
    return 1.0 + capacity / (1.0 + affinity * c) + linear


def _concentrations(drug: Drug) -> Callable[[Arrays, Arrays, Array], dict[str, Array]]:
    scale = factor("mg/L", drug.concentration.unit)
    names = list(concentration_names(drug))

    def concentrations(theta: Arrays, covariates: Arrays, c: Array) -> dict[str, Array]:
        if isinstance(drug.concentration, SaturableBinding):
            total, unbound = names
            return {total: scale * c * _total_over_unbound(drug, theta, c), unbound: scale * c}
        return {names[0]: scale * c}

    return concentrations


def _potency(drug: Drug) -> Callable[[Arrays, Array], dict[str, Array]]:
    binding = isinstance(drug.concentration, SaturableBinding)

    def potency(theta: Arrays, c: Array) -> dict[str, Array]:
        found: dict[str, Array] = {}
        for action in drug.acts_on:
            acting = c * _total_over_unbound(drug, theta, c) if binding and action.of != "unbound" else c
            found[action.target] = acting / theta[f"{drug.name}.ec50_{action.target}"]
        return found

    return potency
