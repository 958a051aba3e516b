"""Natural scale <-> search scale: parameters with bounds become free numbers, one by one.

| bounds | search value w | natural value |
|---|---|---|
| none | w = x | x = w |
| lower | w = log(x - lower) | x = lower + exp(w) |
| upper | w = log(upper - x) | x = upper - exp(w) |
| both | w = log((x - lower)/(upper - x)) | x = lower + (upper - lower)/(1 + exp(-w)) |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

import ipex_pd.numerics  # noqa: F401  (float64)

Array = Any
Kind = Literal["free", "above", "below", "between"]


def kind_of(lower: float, upper: float) -> Kind:
    """Which of the four transforms keeps a number between these bounds (infinite: open)."""
    if math.isfinite(lower):
        return "between" if math.isfinite(upper) else "above"
    return "below" if math.isfinite(upper) else "free"


@dataclass(frozen=True)
class Transform:
    """The transforms of p parameters; hashable, so that a program can be specialised to it.

    Attributes:
        lower, upper: [p] bounds, infinite where open.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The transform of each parameter."""
        return tuple(kind_of(low, high) for low, high in zip(self.lower, self.upper, strict=True))

    def natural(self, search: Array) -> Array:
        """Natural values of search values, both [..., p]; traceable and differentiable."""
        kinds = np.array(self.kinds)
        low = np.where(np.isfinite(self.lower), self.lower, 0.0)
        high = np.where(np.isfinite(self.upper), self.upper, 0.0)
        one_sided = (kinds == "above") | (kinds == "below")
        away = jnp.exp(jnp.where(one_sided, search, 0.0))
        inside = low + (high - low) * jax.nn.sigmoid(jnp.where(kinds == "between", search, 0.0))
        bounded = jnp.where(kinds == "above", low + away, jnp.where(kinds == "below", high - away, inside))
        return jnp.where(kinds == "free", search, bounded)

    def search(self, natural: np.ndarray) -> np.ndarray:
        """Search values [p] of natural values [p] strictly inside their bounds."""
        return np.array([_search(*row) for row in zip(natural, self.lower, self.upper, strict=True)], float)


def _search(value: float, lower: float, upper: float) -> float:
    kind = kind_of(lower, upper)
    if kind == "above":
        return math.log(value - lower)
    if kind == "below":
        return math.log(upper - value)
    return math.log((value - lower) / (upper - value)) if kind == "between" else float(value)
