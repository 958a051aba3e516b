"""Virtual populations: children around a given one, or an unselected IPEX cohort, with paired random effects.

A patient carries a number; every random effect is a function of (seed, name of what varies, number). The same patient
is therefore the same child under every regimen, in a population of 10 and of 1000, and whatever else is made to vary.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.simulation import children
from ipex_pd.simulation.draws import Array, Index, normals
from ipex_pd.simulation.variability import individual, uncertain

if TYPE_CHECKING:
    from ipex_pd.records.parameters import Parameter, ParameterSet
    from ipex_pd.records.patients import Patient


@dataclass(frozen=True, eq=False)
class Population:
    """Virtual patients.

    Attributes:
        name: of the population.
        patients: one record a patient, with covariates of its own.
        index: number of every patient, (patient,): the address of its random effects.
        seed: of the random effects.
        varies: names of parameters that may vary; None is every one that has a variability.
        uncertainty_seed: None, or the seed of draws from the uncertainty of the population values: then every patient
            also stands for another possible truth.
        parameters: the disease parameters the population was made for; None is the shipped set.
        description: sentences for the report.
        assumptions: what was assumed about the spread of covariates.
        draw: number of the truth that every patient lives in, (patient,); None is one truth for all, or with an
            `uncertainty_seed` one for each patient. The same child may stand in several truths.
        typical: name -> population value of every patient in the parameter's own unit, (patient,), in place of the
            parameter's value and its uncertainty.
    """

    name: str
    patients: tuple[Patient, ...]
    index: Index
    seed: int
    varies: frozenset[str] | None = None
    uncertainty_seed: int | None = None
    parameters: ParameterSet | None = None
    description: tuple[str, ...] = ()
    assumptions: tuple[str, ...] = ()
    draw: Index | None = None
    typical: Mapping[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.patients) != self.index.size or not self.patients:
            raise UsageError("a population needs at least one patient, and a number for each")
        for name, given in {"draw": self.draw, **self.typical}.items():
            if given is not None and given.shape != self.index.shape:
                raise UsageError(f"`{name}` has {given.size} entries for {len(self)} patients")
        if len(np.unique(np.stack([self.index, self.truth]), axis=1).T) != len(self):
            raise UsageError("a population holds a patient twice", rule="Every patient has a number of its own")

    def __len__(self) -> int:
        return len(self.patients)

    def __repr__(self) -> str:
        return f"Population({self.name!r}, {len(self)} patients, seed {self.seed})"

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of every patient, with the truth he lives in where there are several."""
        names = tuple(patient.name for patient in self.patients)
        if self.draw is None:
            return names
        return tuple(f"{name}/{draw:04d}" for name, draw in zip(names, self.draw.tolist(), strict=True))

    @property
    def truth(self) -> Index:
        """The number that addresses the population values of every patient, (patient,)."""
        return self.index if self.draw is None else self.draw

    def pick(self, patients: Sequence[int] | slice) -> Population:
        """The population of some patients, by position; each stays who it is."""
        rows = np.arange(len(self))[patients if isinstance(patients, slice) else list(patients)]
        return replace(
            self,
            patients=tuple(self.patients[row] for row in rows),
            index=self.index[rows],
            draw=None if self.draw is None else self.draw[rows],
            typical={name: values[rows] for name, values in self.typical.items()},
        )

    def chunks(self, size: int) -> list[Population]:
        """The population in parts of at most `size` patients. Raises: UsageError."""
        if size < 1:
            raise UsageError(f"a chunk of {size} patients", rule="A chunk holds at least one")
        return [self.pick(slice(start, start + size)) for start in range(0, len(self), size)]

    def eta(self, name: str) -> Array:
        """Random effects of a parameter [SD], standard normal, (patient,)."""
        return normals(self.seed, f"eta/{name}", self.index)

    def values(self, parameter: Parameter, name: str = "") -> Array:
        """Individual values of a parameter in its own unit, (patient,).

        Args:
            parameter: with its variability, uncertainty and bounds.
            name: its full name, such as `tacrolimus.clearance`; the parameter's own when empty.
        """
        key = name or parameter.name
        typical = self.typical.get(key)
        if typical is None and self.uncertainty_seed is not None and parameter.uncertainty is not None:
            typical = uncertain(parameter, normals(self.uncertainty_seed, f"uncertainty/{key}", self.truth))
        if self.varies is not None and key not in self.varies:
            return np.full(len(self), parameter.value) if typical is None else np.array(typical, dtype=np.float64)
        return individual(parameter, self.eta(key), typical)

    def theta(self, sets: Mapping[str, ParameterSet]) -> dict[str, Array]:
        """Individual values of all parameters of several sets, in their own units: name -> (patient,).

        Args:
            sets: prefix -> set; the disease has the empty prefix, a drug its name (`tacrolimus` gives
                `tacrolimus.clearance`).
        """
        named = {
            f"{prefix}.{item.name}" if prefix else item.name: item
            for prefix, parameters in sets.items()
            for item in parameters.parameters
        }
        return {name: self.values(item, name) for name, item in named.items()}

    def with_uncertainty(self, seed: int) -> Population:
        """The same patients with population values drawn from their uncertainty, under a seed of its own."""
        return replace(self, uncertainty_seed=seed)


def virtual_population(
    patient: Patient,
    n: int,
    *,
    seed: int,
    parameters: ParameterSet | None = None,
    uncertainty: bool = False,
    varies: Sequence[str] | None = None,
) -> Population:
    """Virtual patients around one child: same age, sex and genotype, other body, blood values and random effects.

    Stated size, haematocrit and residual function are centres of a spread (`ipex_pd.simulation.children`, and the
    parameter's variability); stated organs and laboratory values stay as stated; CYP3A5 is drawn where it is unknown.

    Args:
        patient: the child.
        n: how many.
        seed: of covariates and random effects.
        parameters: disease parameters; the shipped set when None.
        uncertainty: draw the population values from their uncertainty too (seed + 1).
        varies: names of the parameters that vary between patients; every one with a variability when None.

    Raises:
        UsageError: fewer than one patient, or a negative seed.
    """
    index = _numbers(n, seed)
    return Population(
        name=patient.name,
        patients=children.around(patient, seed, index),
        index=index,
        seed=seed,
        varies=None if varies is None else frozenset(varies),
        uncertainty_seed=seed + 1 if uncertainty else None,
        parameters=parameters,
        description=(*children.in_words(patient), *children.spread_in_words(n, seed, uncertainty)),
        assumptions=children.assumptions(),
    )


def single(patient: Patient) -> Population:
    """One child as its record says it, without random effects, as a population of one."""
    return Population(
        name=patient.name,
        patients=(patient,),
        index=np.zeros(1, dtype=np.int64),
        seed=0,
        varies=frozenset(),
        description=children.in_words(patient),
    )


def cohort_population(n: int, *, seed: int, parameters: ParameterSet | None = None) -> Population:
    """An unselected IPEX cohort from birth: classes of FOXP3 mutation as published, healthy size at birth.

    Args:
        n: how many.
        seed: of classes, covariates and random effects.
        parameters: disease parameters; the shipped set when None.

    Raises:
        UsageError: fewer than one patient, or a negative seed.

    Source: Gambineri 2018, mutation classes of 85 patients (E047-E051).
    """
    index = _numbers(n, seed)
    return Population(
        name="ipex_cohort",
        patients=children.cohort(seed, index),
        index=index,
        seed=seed,
        parameters=parameters,
        description=children.cohort_in_words(n, seed),
        assumptions=children.assumptions(),
    )


def _numbers(n: int, seed: int) -> Index:
    if n < 1:
        raise UsageError(f"a population of {n} patients", rule="A population holds at least one")
    if seed < 0:
        raise UsageError(f"seed {seed}", rule="A seed is a whole number from 0 on")
    return np.arange(n, dtype=np.int64)
