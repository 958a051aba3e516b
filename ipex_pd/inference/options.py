"""How a fit is searched and how its uncertainty is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ipex_pd.errors import UsageError, nearest_hint

CovarianceKind = Literal["auto", "sandwich", "r", "s", "none"]
Search = Literal["bfgs", "l-bfgs-b", "adam"]


@dataclass(frozen=True)
class FitOptions:
    """Options of `fit`.

    Attributes:
        search: the minimiser.
        iterations: the most steps of one search.
        gradient: largest entry of the gradient, on the search scale, at which polishing ends.
        restarts: further searches, from the start values moved at random.
        spread: standard deviation of these moves on the search scale (log scale for most parameters).
        seed: of the moves.
        nodes: of the quadrature of `agq`, per random effect.
        covariance: `sandwich` is R^-1 S R^-1 (NONMEM's default), `r` R^-1, `s` S^-1; `auto` is the sandwich, or `r`
            where S is of no use (priors, fewer subjects than parameters).
        level: of confidence intervals.
    """

    search: Search = "bfgs"
    iterations: int = 300
    gradient: float = 1e-4
    restarts: int = 1
    spread: float = 0.15
    seed: int = 20240
    nodes: int = 9
    covariance: CovarianceKind = "auto"
    level: float = 0.95

    def __post_init__(self) -> None:
        for name, kind in (("search", Search), ("covariance", CovarianceKind)):
            given = getattr(self, name)
            if given not in get_args(kind):
                raise UsageError(f"`{given}` is not a choice of `{name}`", rule=nearest_hint(given, get_args(kind)))
        for name in ("iterations", "gradient", "spread", "nodes"):
            value = getattr(self, name)
            if not value > 0:
                raise UsageError(f"`{name}` is {value:g}", rule="It must be above zero")
        if self.restarts < 0 or not 0 < self.level < 1:
            raise UsageError("`restarts` is below zero, or `level` not between 0 and 1")
