"""Growth of children by the WHO tables: z-score to size and back, by age in days.

value = M (1 + L S z)^(1/L), with L, M, S interpolated linearly between completed months (30.4375 days). Weight stands
in the WHO tables to 10 years; above, weight = BMI * height^2, whose distribution has M = M_bmi M_height^2 and
S^2 = S_bmi^2 + (2 S_height)^2 with the L of the BMI, taking BMI and height as independent. The two meet by a linear
blend from 10 to 12 years, so that a child on a constant z-score has no jump in weight. Held from 19 years on.

Source: WHO Child Growth Standards 2006, WHO Growth Reference 2007; body surface Mosteller 1987.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ipex_pd.errors import RecordError

Measure = Literal["weight", "height", "bmi"]
Sex = Literal["male", "female"]
Array = NDArray[np.float64]

DAYS_PER_MONTH = 30.4375
_BLEND_MONTHS = 24
_FILES = {"weight": "weight_for_age", "height": "length_height_for_age", "bmi": "bmi_for_age"}


@dataclass(frozen=True)
class GrowthTable:
    """LMS by age, for interpolation.

    Attributes:
        unit: of m (`kg`, `cm` or `kg/m**2`).
        age: [N] days, rising, from 0 to 19 years.
        l, m, s: [N].
    """

    unit: str
    age: Array
    l: Array  # noqa: E741
    m: Array
    s: Array

    def at(self, age: ArrayLike) -> tuple[Array, Array, Array]:
        """L, M and S at ages [day], held beyond the ends."""
        days = np.asarray(age, dtype=np.float64)
        return tuple(np.asarray(np.interp(days, self.age, column)) for column in (self.l, self.m, self.s))  # type: ignore[return-value]


@cache
def growth_table(measure: Measure, sex: Sex) -> GrowthTable:
    """The LMS table of weight [kg], height [cm] or BMI [kg/m**2]; weight above 10 years is derived, see the module.

    Raises:
        RecordError: the shelf of growth tables is missing or broken.
    """
    if measure != "weight":
        return _published(measure, sex)
    weight, bmi, height = (_published(name, sex) for name in ("weight", "bmi", "height"))  # type: ignore[arg-type]
    derived = _weight_from_bmi(bmi, height)
    later = bmi.age > weight.age[-1]
    share = np.clip((bmi.age[later] - weight.age[-1]) / (_BLEND_MONTHS * DAYS_PER_MONTH), 0.0, 1.0)
    seam = float(weight.m[-1] / derived.at(weight.age[-1])[1])
    return GrowthTable(
        unit="kg",
        age=np.concatenate([weight.age, bmi.age[later]]),
        l=np.concatenate([weight.l, weight.l[-1] + share * (derived.l[later] - weight.l[-1])]),
        m=np.concatenate([weight.m, derived.m[later] * seam ** (1.0 - share)]),
        s=np.concatenate([weight.s, weight.s[-1] + share * (derived.s[later] - weight.s[-1])]),
    )


def _weight_from_bmi(bmi: GrowthTable, height: GrowthTable) -> GrowthTable:
    _, m_height, s_height = height.at(bmi.age)
    return GrowthTable(
        unit="kg", age=bmi.age, l=bmi.l, m=bmi.m * (m_height / 100.0) ** 2, s=np.hypot(bmi.s, 2.0 * s_height)
    )


def _published(measure: Measure, sex: Sex) -> GrowthTable:
    from ipex_pd.records.library import growth_file

    path = growth_file(_FILES[measure])
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    rows = [row for row in csv.DictReader(lines) if row["sex"] == sex]
    if not rows:
        raise RecordError(f"no growth table for sex `{sex}`", where=str(path), rule="Tables know `male` and `female`")
    age, l, m, s = (np.array([float(row[key]) for row in rows]) for key in ("age_months", "l", "m", "s"))  # noqa: E741
    unit = {"weight": "kg", "height": "cm", "bmi": "kg/m**2"}[measure]
    return GrowthTable(unit=unit, age=age * DAYS_PER_MONTH, l=l, m=m, s=s)


def size_at(measure: Measure, sex: Sex, age: ArrayLike, z: ArrayLike) -> Array:
    """Size at a z-score.

    Args:
        measure: `weight`, `height` or `bmi`.
        sex: `male` or `female`.
        age: [day], any shape.
        z: z-scores [SD], broadcast with age.

    Returns:
        [kg], [cm] or [kg/m**2].

    Raises:
        RecordError: a z-score so far out that the formula has no value.
    """
    l, m, s = growth_table(measure, sex).at(age)  # noqa: E741
    inside = 1.0 + l * s * np.asarray(z, dtype=np.float64)
    if np.any(inside <= 0):
        raise RecordError("a z-score is outside the growth tables", rule="1 + L S z must stay positive")
    small = np.abs(l) < 1e-9
    power = np.where(small, 1.0, l)
    return np.asarray(m * np.where(small, np.exp(s * np.asarray(z)), inside ** (1.0 / power)))


def z_score(measure: Measure, sex: Sex, age: ArrayLike, size: ArrayLike) -> Array:
    """The inverse of `size_at`: z-scores [SD] of sizes in the units of the table.

    Raises:
        RecordError: a size that is not positive.
    """
    l, m, s = growth_table(measure, sex).at(age)  # noqa: E741
    ratio = np.asarray(size, dtype=np.float64) / m
    if np.any(ratio <= 0):
        raise RecordError("a size is not positive", rule="Weights and heights are more than zero")
    small = np.abs(l) < 1e-9
    power = np.where(small, 1.0, l)
    return np.asarray(np.where(small, np.log(ratio), (ratio**power - 1.0) / power) / s)


def body_surface(weight: ArrayLike, height: ArrayLike) -> Array:
    """Body surface [m**2] = sqrt(height [cm] * weight [kg] / 3600) (Mosteller 1987)."""
    return np.sqrt(np.asarray(weight, dtype=np.float64) * np.asarray(height, dtype=np.float64) / 3600.0)
