"""Virtual groups for the validation table: covariates and individual kinetics of n subjects and of the typical one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ipex_pd.records.drugs import Drug
from ipex_pd.records.growth import body_surface, size_at
from ipex_pd.records.observations import CovariateSpread, Group
from ipex_pd.records.relations import COVARIATES, CYP3A5, SWITCH_DEFAULTS
from ipex_pd.simulation.draws import Array, normals, uniforms
from ipex_pd.simulation.individuals import REFERENCES
from ipex_pd.simulation.variability import individual

OLDEST_IN_TABLES = 19 * 365.25
WIDEST_Z = 2.0
"""z-scores of size beyond this are held: groups of studies have few of them, and the tables run off to huge weights."""


@dataclass(frozen=True, eq=False)
class Subjects:
    """Subjects of one group on one drug; the last column is the typical one.

    Attributes:
        drug: the drug.
        theta: full name -> (subject,), in the units of `records.drugs.UNITS`.
        covariates: name -> (subject,), in the units of `records.relations.COVARIATES`.
    """

    drug: Drug
    theta: Mapping[str, Array]
    covariates: Mapping[str, Array]

    def __len__(self) -> int:
        return int(self.covariates["weight"].size)


def draw(drug: Drug, group: Group, size: int, seed: int, name: str) -> Subjects:
    """`size` virtual subjects of a group, and the typical one as the last.

    Every draw has an address (seed, study, what), so that it depends on nothing else.
    """
    index = np.arange(size, dtype=np.int64)
    found = {key: np.full(size + 1, value) for key, value in _typical(drug).items()}
    for parameter in drug.parameter_set().parameters:
        if parameter.value:
            drawn = individual(parameter, normals(seed, f"{name}/eta/{parameter.name}", index))
            found[f"{drug.name}.{parameter.name}"][:-1] *= drawn / parameter.value
    return Subjects(drug, found, _covariates(group, index, seed, name))


def one(drug: Drug, known: Mapping[str, float]) -> Subjects:
    """The typical subject alone, with stated covariates (units of `COVARIATES`).

    Args:
        drug: the drug.
        known: name -> value; `weight` and `age` at least. Body surface is 1.8 m2 at 70 kg when not stated.
    """
    base = {"bsa": 1.8, "height": 170.0, "cyp3a5": float(CYP3A5.index("unknown"))}
    found = base | REFERENCES | SWITCH_DEFAULTS | dict(known)
    theta = {name: np.array([value]) for name, value in _typical(drug).items()}
    return Subjects(drug, theta, {name: np.array([value]) for name, value in found.items()})


def _typical(drug: Drug) -> dict[str, float]:
    return {f"{drug.name}.{name}": value for name, value in drug.values().items()}


def _covariates(group: Group, index: np.ndarray, seed: int, name: str) -> dict[str, Array]:
    found = {key: np.full(index.size + 1, value) for key, value in (REFERENCES | SWITCH_DEFAULTS).items()}
    found["cyp3a5"] = np.full(index.size + 1, group.cyp3a5_code)
    for key, spread in group.covariates.items():
        numbers = spread.numbers(COVARIATES[key][0])
        found[key] = _spread(
            spread, numbers, uniforms(seed, f"{name}/{key}", index), normals(seed, f"{name}/{key}", index)
        )
    female = np.append(uniforms(seed, f"{name}/female", index) < 0.5, False)
    for measure in ("weight", "height"):
        if measure not in found:
            z = np.append(np.clip(normals(seed, f"{name}/{measure}_z", index), -WIDEST_Z, WIDEST_Z), 0.0)
            found[measure] = _size(measure, found["age"], z, female)
    if "bsa" not in found:
        found["bsa"] = np.asarray(body_surface(found["weight"], found["height"]))
    return found


def _spread(spread: CovariateSpread, numbers: Mapping[str, float], uniform: Array, normal: Array) -> Array:
    """The draws of a spread with its centre appended."""
    if spread.value:
        return np.full(uniform.size + 1, numbers["value"])
    if spread.mean:
        width = float(np.sqrt(np.log1p((numbers["sd"] / numbers["mean"]) ** 2)))
        middle = np.log(numbers["mean"]) - width**2 / 2
        return np.asarray(np.exp(np.append(middle + width * normal, middle)))
    low, high = numbers["low"], numbers["high"]
    median = numbers.get("median", (low + high) / 2)
    return np.asarray(np.interp(np.append(uniform, 0.5), [0.0, 0.5, 1.0], [low, median, high]))


def _size(measure: str, age: Array, z: Array, female: Array) -> Array:
    held = np.minimum(age, OLDEST_IN_TABLES)
    boys, girls = (size_at(measure, sex, held, z) for sex in ("male", "female"))  # type: ignore[arg-type]
    return np.where(female, girls, boys)
