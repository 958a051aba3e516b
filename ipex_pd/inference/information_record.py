"""The record of an expected information: standard errors, who is informed, and the directions left open."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError

_NULL = 1e-10
_PART = 1e-4


@dataclass(frozen=True, eq=False)
class Information:
    """The expected Fisher information of a study about m natural values.

    Attributes:
        names: of the estimated parameters.
        values: [m] at which it holds.
        scales: [m] `log` where the relative standard error is told as of a log-normal value.
        variance: [m] whether the parameter is a variance, covariance or residual value.
        parts: [S, m, m] of every subject.
        prior: [m, m] what priors add to all subjects together.
        batches: [10, m, m] of the study by batches of simulations; None without Monte Carlo.
        kind: `reduced`, `blocks` or `full`.
        method: `fo` or `monte_carlo`.
        limits: [%] relative standard errors below which typical values, and variances, count as informed.
    """

    names: tuple[str, ...]
    values: np.ndarray
    scales: tuple[str, ...]
    variance: np.ndarray
    parts: np.ndarray
    prior: np.ndarray
    batches: np.ndarray | None
    kind: str
    method: str
    limits: tuple[float, float]

    @property
    def subjects(self) -> int:
        """Number of subjects."""
        return len(self.parts)

    @functools.cached_property
    def matrix(self) -> np.ndarray:
        """[m, m] of all subjects and the priors, in reciprocal products of the parameters' units."""
        whole: np.ndarray = self.parts.sum(0) + self.prior
        return np.asarray(0.5 * (whole + whole.T))

    @property
    def rank(self) -> int:
        """How many directions the study says anything about."""
        return int(np.sum(self._spectrum[0] > _NULL))

    @property
    def minus_log_det(self) -> float:
        """-log det of the information: the D-criterion, to be made small; infinite where it is singular."""
        sign, log = np.linalg.slogdet(self.matrix)
        return float(-log) if sign > 0 and self.rank == len(self.names) else math.inf

    @functools.cached_property
    def _spectrum(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Eigenvalues and vectors of the matrix with a unit diagonal, and the scale that gave it."""
        return _spectrum(self.matrix)

    @functools.cached_property
    def covariance(self) -> np.ndarray:
        """[m, m] the inverse; infinite variances, and NaN beside them, of parameters that the study cannot tell."""
        return _inverse(self.matrix)

    @property
    def standard_errors(self) -> np.ndarray:
        """[m] expected."""
        return np.asarray(np.sqrt(np.diag(self.covariance)))

    @property
    def monte_carlo_errors(self) -> np.ndarray:
        """[m] relative errors of the standard errors by the jackknife over batches; 0 without Monte Carlo."""
        if self.batches is None:
            return np.zeros(len(self.names))
        whole, count = self.batches.sum(0), len(self.batches)
        left = [(whole - batch) / (count - 1) + self.prior for batch in self.batches]
        with np.errstate(invalid="ignore"):
            logs = np.log(np.array([np.sqrt(np.diag(_inverse(0.5 * (m + m.T)))) for m in left]))
            return np.asarray(np.sqrt((count - 1) * logs.var(axis=0)))

    @property
    def rse_percent(self) -> np.ndarray:
        """[m] expected relative standard errors: SE/value, of log-scale values 100 sqrt(exp((SE/value)^2) - 1)."""
        return self._rse(1.0)

    def _relative(self) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = self.standard_errors / np.abs(self.values)
        return np.asarray(np.where(self.values == 0, np.inf, relative))

    def _rse(self, share: float) -> np.ndarray:
        relative = self._relative() * math.sqrt(share)
        logs = np.array([scale == "log" for scale in self.scales])
        grown = np.sqrt(np.expm1(np.minimum(relative, 20.0) ** 2))
        return np.asarray(100.0 * np.where(logs, np.where(relative > 20.0, np.inf, grown), relative))

    @property
    def table(self) -> pd.DataFrame:
        """One row a parameter: value, SE, RSE [%], its limit [%], whether it is informed, subjects needed for that.

        With priors, and for values of zero, no number of subjects is told.
        """
        rse, limits = self.rse_percent, np.where(self.variance, self.limits[1], self.limits[0])
        rows = {
            "parameter": self.names,
            "value": self.values,
            "se": self.standard_errors,
            "rse_percent": rse,
            "limit_percent": limits,
            "informed": rse <= limits,
            "subjects_needed": self._needed(limits),
        }
        if self.batches is not None:
            rows["se_error_percent"] = 100.0 * self.monte_carlo_errors
        return pd.DataFrame(rows)

    def _needed(self, limits: np.ndarray) -> np.ndarray:
        logs = np.array([scale == "log" for scale in self.scales])
        goal = np.where(logs, np.sqrt(np.log1p((limits / 100.0) ** 2)), limits / 100.0)
        needed = np.ceil(self.subjects * (self._relative() / goal) ** 2 - 1e-9)
        return np.full(len(needed), np.nan) if self.prior.any() else np.asarray(needed)

    def for_subjects(self, count: int) -> Information:
        """The same study with `count` subjects, in the same proportions. Raises: UsageError."""
        if count < 1:
            raise UsageError(f"count = {count}", rule="A study has at least one subject")
        share = count / self.subjects
        mean = np.repeat(self.parts.mean(0)[None], count, 0)
        batches = None if self.batches is None else self.batches * share
        return Information(
            self.names,
            self.values,
            self.scales,
            self.variance,
            mean,
            self.prior,
            batches,
            self.kind,
            self.method,
            self.limits,
        )

    def weakest(self, count: int = 3) -> tuple[str, ...]:
        """The directions that the study tells least of, in words, the worst first.

        They are eigenvectors of the information about relative changes (absolute ones of values that are zero).
        """
        size = np.where(self.values == 0, 1.0, np.abs(self.values))
        eigenvalues, vectors = np.linalg.eigh(self.matrix * np.outer(size, size))
        top = max(float(eigenvalues[-1]), 1e-300)
        return tuple(self._said(eigenvalues[i], vectors[:, i], top) for i in range(min(count, len(eigenvalues))))

    def _said(self, eigenvalue: float, vector: np.ndarray, top: float) -> str:
        order = np.argsort(-np.abs(vector))
        parts = [i for i in order if abs(vector[i]) > 0.2 * abs(vector[order[0]])][:4]
        lead = parts[0]
        ups = [self.names[i] for i in parts if vector[i] * vector[lead] > 0]
        downs = [self.names[i] for i in parts if vector[i] * vector[lead] < 0]
        what = " and ".join(ups) + (" up" if len(parts) > 1 else "")
        what += f" with {' and '.join(downs)} down" if downs else " together" if len(ups) > 1 else ""
        if eigenvalue <= _NULL * top:
            return f"{what}: the study tells nothing of it"
        return f"{what}: known to {100.0 / math.sqrt(eigenvalue):.3g} % (one standard deviation of the relative change)"

    def __str__(self) -> str:
        head = f"expected information of {self.subjects} subjects ({self.kind}, {self.method})"
        det = f"-log det {self.minus_log_det:.6g}, rank {self.rank} of {len(self.names)}"
        table = self.table.to_string(index=False, float_format=lambda v: f"{v:.4g}")
        return "\n".join([f"{head}: {det}", table, "told least of:", *(f"  {line}" for line in self.weakest())])


def _spectrum(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    diagonal = np.diag(matrix)
    scale = np.where(diagonal > 0, 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 0.0)
    eigenvalues, vectors = np.linalg.eigh(matrix * np.outer(scale, scale))
    return eigenvalues, vectors, scale


def _inverse(matrix: np.ndarray) -> np.ndarray:
    """The inverse where there is one; infinite variance for parameters that a null direction touches."""
    eigenvalues, vectors, scale = _spectrum(matrix)
    known = eigenvalues > _NULL
    inverse = (vectors[:, known] / eigenvalues[known]) @ vectors[:, known].T * np.outer(scale, scale)
    lost = (np.abs(vectors[:, ~known]) > _PART).any(axis=1)
    inverse[lost, :] = inverse[:, lost] = np.nan
    inverse[lost, lost] = np.inf
    return np.asarray(inverse)
