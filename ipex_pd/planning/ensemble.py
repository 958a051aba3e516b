"""Who a plan is made for: truths that may hold, times children who may stand before us, with weights.

A member is (parameter draw, virtual child). The same children, with the same random effects, live in every draw (common
random numbers), so that plans are compared on equal terms. Nothing of a member depends on which others are there.

```python
ensemble = ensemble_of(load_patient("seidel_2009"), children=20, draws=10, seed=1)
ensemble_of(child, draws=load_draws("fit.json"))  # draws of a fit, in the child himself
ensemble_from(child, problem.ensemble)  # as a plan asks for it
ensemble.study(regimen, times)  # what `freeze` and `solve_traced` take
simulate(ensemble.population, regimen, years=1)  # the same members, by the ordinary way
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import RecordError, UnknownKeyError, UsageError, nearest_hint
from ipex_pd.records import library
from ipex_pd.records.draws import ParameterDraws, load_draws
from ipex_pd.records.patients import Patient
from ipex_pd.simulation.draws import Array, Index
from ipex_pd.simulation.individuals import CLASS_PARAMETERS
from ipex_pd.simulation.population import Population, single, virtual_population
from ipex_pd.simulation.study import Study, study

if TYPE_CHECKING:
    from ipex_pd.numerics.solve import SolverOptions
    from ipex_pd.records.parameters import Parameter, ParameterSet
    from ipex_pd.records.plan_parts import PlanEnsemble
    from ipex_pd.records.regimens import Regimen

KINDS = {
    "typical": "the published values taken as true",
    "uncertainty": "population values drawn from their stated uncertainty",
    "population": "the patients as they were given",
}
"""Where the draws of an ensemble come from, besides the kinds that files of draws name themselves."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Members with weights.

    Attributes:
        population: the members as a virtual population, which `simulate` and `compare` take too.
        weights: [M] not negative, with sum 1.
        draw: [M] number of the draw of each member.
        child: [M] number of the child of each member.
        kind: where the draws come from.
    """

    population: Population
    weights: Array
    draw: Index
    child: Index
    kind: str

    def __post_init__(self) -> None:
        weights = np.array(self.weights, dtype=np.float64)
        for name, given in {"weights": weights, "draw": self.draw, "child": self.child}.items():
            if given.shape != (len(self.population),):
                raise UsageError(f"`{name}` has {given.size} entries for {len(self.population)} members")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise UsageError("a weight is negative or not finite, or all are zero", code="ensemble.weights")
        weights = weights / weights.sum()
        weights.setflags(write=False)
        object.__setattr__(self, "weights", weights)

    def __len__(self) -> int:
        return len(self.population)

    def __repr__(self) -> str:
        return f"Ensemble({self.population.name!r}: {len(self)} members, {self.draws} draws, {self.children} children)"

    @property
    def draws(self) -> int:
        """How many draws."""
        return int(np.unique(self.draw).size)

    @property
    def children(self) -> int:
        """How many children."""
        return int(np.unique(self.child).size)

    @property
    def effective(self) -> float:
        """The effective number of members: 1 over the sum of squared weights."""
        return float(1.0 / np.sum(self.weights**2))

    def pick(self, rows: Sequence[int] | NDArray[np.int64] | slice) -> Ensemble:
        """The ensemble of some members, by position; each stays who it is, weights are scaled to sum 1."""
        places = np.arange(len(self))[rows if isinstance(rows, slice) else np.asarray(rows, dtype=np.int64)]
        return Ensemble(
            self.population.pick(places.tolist()),
            self.weights[places],
            self.draw[places],
            self.child[places],
            self.kind,
        )

    def reweighted(self, weights: NDArray[np.float64]) -> Ensemble:
        """The same members with other weights, scaled to sum 1. Raises: UsageError."""
        return replace(self, weights=np.asarray(weights, dtype=np.float64))

    def study(self, regimen: Regimen, times: Array, *, options: SolverOptions | None = None) -> Study:
        """All members under a regimen, ready to be solved; the time before day 0 is lived once for all regimens.

        Args:
            regimen: what is given.
            times: output times [day].
            options: of the solver, for the course before day 0.

        Raises:
            RecordError: a drug or transplant choice that the records do not know, or doses by size without one.
        """
        return study(self.population, regimen, times, options=options)

    def over_draws(self, values: Array) -> Array:
        """Weighted means of [M] values within each draw, in the order of the draws' numbers: [D]."""
        _, where = np.unique(self.draw, return_inverse=True)
        total = np.bincount(where, weights=self.weights * values)
        return np.asarray(total / np.bincount(where, weights=self.weights))

    def in_words(self) -> tuple[str, ...]:
        """Sentences for a report."""
        equal = bool(np.allclose(self.weights, self.weights[0], rtol=1e-9))
        weighed = "of equal weight" if equal else f"worth {self.effective:.1f} of equal weight"
        source = KINDS.get(self.kind, f"parameter draws ({self.kind})")
        return (
            *self.population.description,
            f"{len(self)} members, {weighed}: {self.children} "
            f"{'child' if self.children == 1 else 'children'} x {self.draws} "
            f"{'draw' if self.draws == 1 else 'draws'}; {source}. Every child lives in every draw with the same random "
            "effects, and every plan meets the same members.",
        )


def ensemble_of(
    patient: Patient | Population,
    *,
    children: int | None = None,
    draws: int | ParameterDraws = 0,
    seed: int = 1,
    parameters: ParameterSet | None = None,
) -> Ensemble:
    """Cross parameter draws with virtual children.

    A number of draws takes the uncertainty that parameters and drugs state (those without one stay as they are); draws
    of a file replace the values of the parameters they name, under each child's own random effects, and leave others
    at theirs. A draw depends on the seed, the parameter's name and its own number only.

    Args:
        patient: a child, or a population that is taken as it is (a forecast's draws of one child).
        children: how many virtual children around him; None is the child himself, without random effects.
        draws: how many draws of the stated uncertainty (0: the values as they stand), or draws themselves.
        seed: of the children; draws of the uncertainty use the next one.
        parameters: disease parameters; the shipped set, or the population's, when None.

    Raises:
        UnknownKeyError: a draw of something that is no parameter of the disease or of a drug.
        RecordError: a draw outside the bounds of its parameter.
        UsageError: children of a population, or a negative number.
    """
    group = _children(patient, children, seed, parameters)
    if isinstance(draws, int):
        if draws < 0:
            raise UsageError(f"{draws} draws", code="ensemble.draws", rule="Their number is zero or more")
        return _crossed(group, draws, seed)
    return _with_values(group, draws)


def ensemble_from(
    patient: Patient | Population, asked: PlanEnsemble, *, parameters: ParameterSet | None = None
) -> Ensemble:
    """The ensemble that a plan asks for; a number of draws from a file takes so many of them at random, by weight.

    Args:
        patient: a child; a population is taken as it is, and only `draws` of a file are crossed with it.
        asked: what the plan says.
        parameters: disease parameters; the shipped set, or the population's, when None.

    Raises:
        RecordError: a file that does not hold draws, or draws that do not fit.
    """
    children = None if isinstance(patient, Population) else asked.children
    draws: int | ParameterDraws = asked.draws or 0
    if asked.file is not None:
        whole = load_draws(asked.file)
        draws = whole if asked.draws is None else whole.sample(asked.draws, asked.seed)
    elif isinstance(patient, Population) and has_draws(patient):
        draws = 0
    return ensemble_of(patient, children=children, draws=draws, seed=asked.seed, parameters=parameters)


def has_draws(population: Population) -> bool:
    """Whether its members live in different truths already (a forecast's draws of one child among them)."""
    drawn = (population.typical, getattr(population, "drawn", None))
    return population.draw is not None or any(drawn) or population.uncertainty_seed is not None


def _children(patient: Patient | Population, children: int | None, seed: int, given: ParameterSet | None) -> Population:
    if isinstance(patient, Population):
        if children is not None:
            raise UsageError(
                "children of a population",
                code="ensemble.children",
                rule="Virtual children are drawn around one child",
                cure="Give the child, or leave `children` out",
            )
        return patient if given is None else replace(patient, parameters=given)
    if children is None:
        return replace(single(patient), parameters=given)
    return virtual_population(patient, children, seed=seed, parameters=given)


def _crossed(group: Population, draws: int, seed: int) -> Ensemble:
    if draws == 0:
        kind = "population" if has_draws(group) else "typical"
        return _ensemble(group, group.draw, 1, np.ones(1), kind)
    if has_draws(group):
        raise UsageError(
            "draws of a population that has draws of its own",
            code="ensemble.draws",
            rule="Uncertainty enters once",
            cure="Leave `draws` out",
        )
    wide = replace(_tiled(group, draws), uncertainty_seed=seed + 1)
    return _ensemble(wide, wide.draw, draws, np.ones(draws), "uncertainty")


def _with_values(group: Population, draws: ParameterDraws) -> Ensemble:
    if has_draws(group):
        raise UsageError(
            "draws of a population that has draws of its own", code="ensemble.draws", rule="Uncertainty enters once"
        )
    count = len(draws.weights)
    for name, values in zip(draws.names, np.asarray(draws.values).T, strict=True):
        _require_inside(_parameter(name, group.parameters), name, values)
    if "residual_function" in draws.names:
        # a stated residual function is what its draws are about already
        stated = tuple(p.model_copy(update={"residual_function": None}) for p in group.patients)
        group = replace(group, patients=stated)
    wide = _tiled(group, count)
    typical = {name: np.repeat(v, len(group)) for name, v in zip(draws.names, np.asarray(draws.values).T, strict=True)}
    return _ensemble(replace(wide, typical=typical), wide.draw, count, np.asarray(draws.weights), draws.kind)


def _tiled(group: Population, draws: int) -> Population:
    """Every patient once in every draw, draw after draw."""
    return replace(
        group,
        patients=group.patients * draws,
        index=np.tile(group.index, draws),
        draw=np.repeat(np.arange(draws, dtype=np.int64), len(group)),
    )


def _ensemble(group: Population, draw: Index | None, draws: int, weights: Array, kind: str) -> Ensemble:
    children = len(group) // draws
    return Ensemble(
        population=group,
        weights=np.repeat(np.asarray(weights, dtype=np.float64), children),
        draw=np.zeros(len(group), dtype=np.int64) if draw is None else draw,
        child=group.index,
        kind=kind,
    )


def _parameter(name: str, disease: ParameterSet | None) -> Parameter:
    """The record of a parameter named as `clearance_of_x` or `tacrolimus.clearance`. Raises: UnknownKeyError."""
    drug, _, own = name.rpartition(".")
    known = library.catalogue()["drugs"]
    if drug in known:
        of_drug = library.load_drug(drug).parameter_set()
        if own in of_drug:
            return of_drug[own]
        raise _unknown(name, [f"{drug}.{n}" for n in of_drug.names])
    given = disease if disease is not None else library.load_parameters("disease")
    names = {*given.names, *CLASS_PARAMETERS}
    if drug or name not in names:
        every = [f"{d}.{n}" for d in known for n in library.load_drug(d).parameter_set().names] if drug else names
        raise _unknown(name, every)
    return given[name]


def _unknown(name: str, known: Sequence[str] | set[str]) -> UnknownKeyError:
    if name.startswith("omega("):
        return UnknownKeyError(
            f"`{name}` is a variance between children",
            code="ensemble.unknown",
            where="draws",
            rule="Draws of an ensemble are values of parameters; how children differ is what the shelves state",
            cure="Keep the columns of the parameters",
        )
    return UnknownKeyError(
        f"`{name}` is not a parameter of the disease or of a drug",
        code="ensemble.unknown",
        where="draws",
        rule=nearest_hint(name, known),
        cure="Rename it; drug parameters are written `tacrolimus.clearance`",
    )


def _require_inside(parameter: Parameter, name: str, values: Array) -> None:
    low, high = parameter.limits
    outside = np.flatnonzero(~((values >= low) & (values <= high)))
    if outside.size:
        at = int(outside[0])
        raise RecordError(
            f"`{name}` is {values[at]:g} {parameter.unit} in draw {at}",
            code="ensemble.bounds",
            where="draws",
            rule=f"Its bounds are {low:g} to {high:g} {parameter.unit}",
            cure="Draw on the scale of the parameter, or leave such draws out",
        )
