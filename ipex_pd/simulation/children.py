"""Covariates of virtual children: how the body differs around one child, and who is in an unselected IPEX cohort.

Everything drawn here is constant in a child; size is drawn at the start and grows by the model. A Patient record comes
out, so that the engine treats a virtual child as it treats a real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.simulation.draws import Array, Index, normals, uniforms

if TYPE_CHECKING:
    from ipex_pd.records.patients import Patient


@dataclass(frozen=True)
class Spread:
    """One number about how children differ.

    Attributes:
        value, unit: of the number.
        basis: a citation with its evidence id, or `assumed:` and the reason.
    """

    value: float
    unit: str
    basis: str


STATED_SIZE_SD = Spread(
    0.5,
    "SD",
    "assumed: children like one of stated size spread half as widely as all children; no series gives z-scores",
)
FREE_SIZE_SD = Spread(1.0, "SD", "by definition of the WHO z-score in healthy children (WHO 2006)")
SIZE_CORRELATION = Spread(
    0.6, "1", "assumed: weight and height go together; a moderate correlation keeps the body mass index plausible"
)
CYP3A5_EXPRESSER = Spread(
    0.15, "fraction", "assumed: carriers of CYP3A5*1 are a minority in children of European ancestry and more elsewhere"
)
HAEMATOCRIT_MEDIAN = Spread(
    0.35, "fraction", "assumed: that of a well young child; a third of the patients is anaemic at some time (E058)"
)
HAEMATOCRIT_SD = Spread(
    0.12, "1", "assumed: relative spread that puts a tenth of the children below 0.30, where tacrolimus clearance rises"
)
STATED_HAEMATOCRIT_SD = Spread(0.05, "1", "assumed: relative spread around a measured value, as it varies in time")

CLASS_COUNTS: dict[str, int] = {"missense": 43, "splice": 14, "in_frame": 11, "polyadenylation": 11, "frameshift": 6}
"""Patients by class of FOXP3 mutation: Gambineri 2018, 85 patients (E047-E051)."""

_SPREADS = {
    "SD of weight and height z around a stated size": STATED_SIZE_SD,
    "correlation of weight and height z": SIZE_CORRELATION,
    "share of CYP3A5 expressers where the type is unknown": CYP3A5_EXPRESSER,
    "median haematocrit where none is stated": HAEMATOCRIT_MEDIAN,
    "relative SD of haematocrit": HAEMATOCRIT_SD,
    "relative SD of haematocrit around a stated value": STATED_HAEMATOCRIT_SD,
}
DAYS_PER_MONTH = 30.4375
_Z_LOW, _Z_HIGH = -6.0, 4.0
_HAEMATOCRIT_LOW, _HAEMATOCRIT_HIGH = 0.15, 0.55


def around(patient: Patient, seed: int, index: Index) -> tuple[Patient, ...]:
    """Virtual children around one, (patient,): what its record states is kept, or spread if it is a measurement."""
    sizes = _sizes(patient, seed, index)
    expresser = uniforms(seed, "covariate/cyp3a5", index) < CYP3A5_EXPRESSER.value
    haematocrit = _haematocrit(patient, seed, index)
    children = []
    for row, number in enumerate(index):
        size = {name: float(z[row]) for name, z in sizes.items()}
        name = f"{patient.name}_{number:05d}"
        children.append(_child(patient, name, size, bool(expresser[row]), float(haematocrit[row])))
    return tuple(children)


def cohort(seed: int, index: Index) -> tuple[Patient, ...]:
    """Newborn boys with classes of FOXP3 mutation in the published proportions, (patient,)."""
    names = list(CLASS_COUNTS)
    ends = np.cumsum(list(CLASS_COUNTS.values())) / sum(CLASS_COUNTS.values())
    which = np.searchsorted(ends, uniforms(seed, "covariate/foxp3", index), side="right")
    found: dict[int, Patient] = {}
    for position, name in enumerate(names):
        members = index[which == position]
        found.update(zip(members.tolist(), around(_newborn(name), seed, members), strict=True))
    return tuple(found[number] for number in index.tolist())


def _newborn(foxp3: str) -> Patient:
    from ipex_pd.records.patients import Patient

    return Patient.model_validate(
        {
            "name": "ipex_cohort",
            "description": f"newborn boy with a {foxp3.replace('_', ' ')} mutation of FOXP3",
            "sex": "male",
            "age": {"value": "0 day", "source": {"assumed": "the cohort is followed from birth"}},
            "foxp3": {
                "value": foxp3,
                "source": {
                    "derived": "drawn from the classes of 85 patients",
                    "from": "gambineri_2018",
                    "evidence": ["E047", "E048", "E049", "E050", "E051"],
                },
            },
        }
    )


def _sizes(patient: Patient, seed: int, index: Index) -> dict[str, Array]:
    """Weight and height z at the start [SD], name -> (patient,).

    Without a stated size, a newborn spreads as all newborns do, and an older child's size is left to its course so far.
    """
    centre = patient.size_z()
    first, other = normals(seed, "covariate/weight_z", index), normals(seed, "covariate/height_z", index)
    share = SIZE_CORRELATION.value
    draws = {"weight_z": first, "height_z": share * first + np.sqrt(1.0 - share**2) * other}
    stated = {
        "weight_z": patient.weight_z is not None or patient.stated_weight is not None,
        "height_z": patient.height_z is not None or patient.stated_height is not None,
    }
    return {
        name: np.clip(centre[name] + (STATED_SIZE_SD if known else FREE_SIZE_SD).value * draws[name], _Z_LOW, _Z_HIGH)
        for name, known in stated.items()
        if known or patient.age == 0.0
    }


def _haematocrit(patient: Patient, seed: int, index: Index) -> Array:
    stated = patient.haematocrit is not None
    centre = patient.covariates()["haematocrit"] if stated else HAEMATOCRIT_MEDIAN.value
    spread = STATED_HAEMATOCRIT_SD.value if stated else HAEMATOCRIT_SD.value
    draws = normals(seed, "covariate/haematocrit", index)
    return np.asarray(np.clip(centre * np.exp(spread * draws), _HAEMATOCRIT_LOW, _HAEMATOCRIT_HIGH))


def _child(patient: Patient, name: str, size: Mapping[str, float], expresser: bool, haematocrit: float) -> Patient:
    from ipex_pd.records.patients import Cyp3a5, Fact
    from ipex_pd.records.provenance import Source

    drawn = Source.model_validate({"assumed": "drawn around the child of the record"})
    changes: dict[str, object] = {
        "name": name,
        "haematocrit": Fact(value=haematocrit, source=drawn),
        "observations": (),
    }
    for key, z in size.items():
        changes[key] = Fact(value=z, source=drawn)
        changes[f"stated_{key.removesuffix('_z')}"] = None
    if patient.cyp3a5 is None or patient.cyp3a5.value == "unknown":
        changes["cyp3a5"] = Cyp3a5(value="expresser" if expresser else "nonexpresser", source=drawn)
    return patient.model_copy(update=changes)


def in_words(patient: Patient) -> tuple[str, ...]:
    """The child the population was built around."""
    known = "; ".join(
        f"{name.replace('_', ' ')} {value}" for name, value, _ in patient.facts() if name not in {"age", "foxp3"}
    )
    stated = f" Stated: {known}." if known else ""
    boy = "boy" if patient.sex == "male" else "girl"
    return (
        f"{patient.description.rstrip('.')}.",
        f"A {boy} of {_age_in_words(patient.age)} at the start, FOXP3 class {patient.foxp3.value}.{stated}",
    )


def _age_in_words(days: float) -> str:
    months = days / DAYS_PER_MONTH
    if months < 3:
        return f"{days:.0f} days"
    return f"{months:.0f} months" if months < 24 else f"{months / 12:.1f} years"


def spread_in_words(n: int, seed: int, uncertainty: bool) -> tuple[str, ...]:
    """How the virtual children differ."""
    doubt = " Population values are drawn from their uncertainty as well." if uncertainty else ""
    return (
        f"{n} virtual patients around this child (seed {seed}): same age, sex and genotype; size where stated, "
        "haematocrit, CYP3A5 where unknown, and every parameter with a between-patient variability are drawn, the same "
        f"for every regimen.{doubt}",
    )


def cohort_in_words(n: int, seed: int) -> tuple[str, ...]:
    """The cohort in sentences."""
    classes = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in CLASS_COUNTS.items())
    return (
        f"{n} virtual boys with IPEX followed from birth (seed {seed}).",
        f"FOXP3 classes as in the 85 patients of Gambineri 2018: {classes}.",
    )


def assumptions() -> tuple[str, ...]:
    """Sentences about the spreads that are assumed."""
    return tuple(
        f"virtual children: {name} = {item.value:g}: {item.basis.removeprefix('assumed: ')}"
        for name, item in _SPREADS.items()
        if item.basis.startswith("assumed")
    )
