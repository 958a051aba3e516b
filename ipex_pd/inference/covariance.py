"""The covariance of estimates: R, S and the sandwich, as NONMEM names them.

With OFV = -2 log L: R is half the Hessian of OFV, S a quarter of the sum of g g' over subjects, g the gradient of a
subject's OFV. All on the search scale first; natural values by the delta method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.population import Population
from ipex_pd.inference.totals import Evaluation, Objective

Kind = Literal["sandwich", "r", "s", "stages", "none"]


@dataclass(frozen=True, eq=False)
class Covariance:
    """The covariance of the estimates, or why there is none.

    Attributes:
        kind: `sandwich`, `r` or `s`; `stages` that of two-stage estimates; `none` when it was not asked for.
        outcome: `done`, or why it failed, in words.
        names: of the m estimated natural values.
        search: [m, m] on the search scale; NaN when it failed.
        matrix: [m, m] of the natural values; NaN when it failed.
        r, s: [m, m] on the search scale.
        eigenvalues: [m] of the correlation matrix of the natural estimates, ascending.
        definite: whether R is positive definite: the estimates are at a minimum.
    """

    kind: Kind
    outcome: str
    names: tuple[str, ...]
    search: np.ndarray
    matrix: np.ndarray
    r: np.ndarray
    s: np.ndarray
    eigenvalues: np.ndarray
    definite: bool

    @property
    def done(self) -> bool:
        """Whether there is a covariance."""
        return self.outcome == "done"

    @property
    def standard_errors(self) -> np.ndarray:
        """[m] of the natural values."""
        errors: np.ndarray = np.sqrt(np.diag(self.matrix))
        return errors

    @property
    def correlation(self) -> np.ndarray:
        """[m, m] of the natural estimates."""
        return correlation_of(self.matrix)

    @property
    def condition_number(self) -> float:
        """Largest over smallest eigenvalue of the correlation matrix."""
        return float(self.eigenvalues[-1] / self.eigenvalues[0]) if len(self.eigenvalues) else float("nan")


def correlation_of(matrix: np.ndarray) -> np.ndarray:
    """The correlation matrix of a covariance matrix."""
    sd = np.sqrt(np.diag(matrix))
    correlation: np.ndarray = matrix / np.outer(sd, sd)
    return correlation


def no_covariance(population: Population, why: str, kind: Kind = "none") -> Covariance:
    """The record of a covariance step that was not made or failed."""
    names = estimated_names(population)
    nothing = np.full((len(names), len(names)), np.nan)
    return Covariance(kind, why, names, nothing, nothing, nothing, nothing, np.zeros(0), False)


def require_covariance(kind: str, prior: bool) -> None:
    """Refuse a covariance that cannot honour priors. Raises: UsageError."""
    if kind in ("s", "sandwich") and prior:
        raise UsageError(
            f"covariance `{kind}` does not know priors",
            code="fit.covariance-prior",
            rule="S is a sum over subjects",
            cure="Use `r` or `auto`",
        )


def estimated_names(population: Population) -> tuple[str, ...]:
    """Names of the estimated natural values."""
    return tuple(name for name, free in zip(population.names, population.free, strict=True) if free)


def covariance_of(
    objective: Objective, w: np.ndarray, at: Evaluation, hessian: np.ndarray, kind: str = "auto"
) -> Covariance:
    """The covariance of the estimates; a failure is told in `outcome`, never raised.

    Args:
        objective: of the fit.
        w: [n] the estimates on the search scale.
        at: the evaluation there.
        hessian: [m, m] of OFV by the free entries of w.
        kind: `auto`, `sandwich`, `r` or `s`.

    Raises:
        UsageError: S or the sandwich is asked for where there are priors.
    """
    population = objective.population
    require_covariance(kind, objective.has_prior)
    useless = objective.has_prior or (kind == "auto" and objective.subjects <= int(population.free.sum()))
    chosen: Literal["sandwich", "r", "s"] = "s" if kind == "s" else "r" if kind == "r" or useless else "sandwich"
    r = 0.5 * hessian
    gradients = at.gradients[:, population.free]
    s = 0.25 * gradients.T @ gradients
    definite = bool(np.isfinite(r).all() and np.linalg.eigvalsh(_scaled(r)).min() > 0)
    failed = _failure(chosen, r, s, definite, objective.subjects)
    if failed:
        empty = no_covariance(population, failed, chosen)
        return Covariance(chosen, failed, empty.names, empty.search, empty.matrix, r, s, np.zeros(0), definite)
    search = _inverse(s) if chosen == "s" else _inverse(r)
    if chosen == "sandwich":
        search = search @ s @ search
    slopes = np.asarray(jax.jacfwd(population.layout.natural)(jnp.asarray(w)))
    part = slopes[np.ix_(population.free, population.free)]
    matrix = part @ search @ part.T
    eigenvalues = np.linalg.eigvalsh(correlation_of(matrix))
    return Covariance(chosen, "done", estimated_names(population), search, matrix, r, s, eigenvalues, definite)


def _failure(kind: str, r: np.ndarray, s: np.ndarray, definite: bool, subjects: int) -> str:
    if kind != "s" and not np.isfinite(r).all():
        return "the Hessian is not finite"
    if kind != "s" and not definite:
        return "R is not positive definite: these estimates are not at a minimum, or some cannot be told apart"
    if kind != "r" and (subjects < len(s) or np.linalg.matrix_rank(_scaled(s)) < len(s)):
        return f"S has not full rank: {subjects} subjects for {len(s)} parameters; use covariance `r`"
    return ""


def _scaled(matrix: np.ndarray) -> np.ndarray:
    """The matrix with a unit diagonal, so that rank and definiteness do not depend on scales."""
    size = np.sqrt(np.maximum(np.abs(np.diag(matrix)), 1e-300))
    scaled: np.ndarray = matrix / np.outer(size, size)
    return scaled


def _inverse(matrix: np.ndarray) -> np.ndarray:
    size = np.sqrt(np.diag(matrix))
    inverse: np.ndarray = np.linalg.inv(_scaled(matrix)) / np.outer(size, size)
    return inverse
