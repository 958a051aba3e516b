"""Population values from individual estimates: the standard and the global two-stage method.

Of subject i its data say, to second order, l_i(eta) = eta' I_i eta / 2 - b_i' eta: an information I_i and b_i = I_i e_i
with the estimate e_i. The population says eta_i ~ N(X_i s, D), s the shifts of typical values from where they started.

| stage | shifts and covariance |
|---|---|
| standard | least squares of e_i on X_i, and the covariance of what is left (with its degrees of freedom) |
| global | maximum likelihood of e_i ~ N(X_i s, D + I_i^-1) by EM; I_i may be singular, since only I_i and b_i enter |

The standard covariance holds the uncertainty of the estimates as well and is too large; the global one is free of it.

J. L. Steimer, A. Mallet, J. L. Golmard, J. F. Boisvieux, Drug Metab Rev 15 (1984) 265 name both methods; the equations
here are those of a linear mixed model with known covariances, derived anew (the paper itself was not opened).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

_TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Estimates:
    """What is known of n subjects with q effects, m linked typical values.

    Attributes:
        information: [n, q, q].
        weighted: [n, q] b.
        estimate: [n, q] individual estimates, for the standard stage.
        design: [n, q, m].
    """

    information: Numbers
    weighted: Numbers
    estimate: Numbers
    design: Numbers


@dataclass(frozen=True, eq=False)
class Structure:
    """Which entries of the covariance of the random effects are estimated.

    Attributes:
        start: [q, q] covariance to start from.
        free: [q, q] True where it is estimated; fixed entries keep their start, others are 0.
    """

    start: Numbers
    free: NDArray[np.bool_]

    @property
    def entries(self) -> list[tuple[int, int]]:
        """Estimated entries of the lower triangle, row by row."""
        return [(i, j) for i in range(len(self.free)) for j in range(i + 1) if self.free[i, j]]

    def keep(self, covariance: Numbers) -> Numbers:
        """A covariance with its fixed entries restored."""
        return np.where(self.free, covariance, self.start)


@dataclass(frozen=True, eq=False)
class Stage:
    """Population values of one stage.

    Attributes:
        shift: [m] of the linked typical values, on their scales.
        omega: [q, q].
        shift_covariance: [m, m].
        omega_covariance: [k, k] of the estimated entries of omega.
        effects: [n, q] individual effects by this stage: estimates, or their means given the population.
        steps: of EM; 0 without.
        converged: whether EM ended.
    """

    shift: Numbers
    omega: Numbers
    shift_covariance: Numbers
    omega_covariance: Numbers
    effects: Numbers
    steps: int
    converged: bool


def standard_stage(told: Estimates, structure: Structure) -> Stage:
    """The standard two-stage estimates: each subject counts the same."""
    subjects, effects = told.estimate.shape
    links = told.design.shape[2]
    pulls = np.zeros((links, effects, subjects))
    used = np.zeros(effects)
    for j in range(effects):
        own = np.flatnonzero(np.any(told.design[:, j, :] != 0, axis=0))
        if len(own):
            pulls[own, j] = np.linalg.pinv(told.design[:, j, own])
            used[j] = len(own)
    shift = np.einsum("mjn,nj->m", pulls, told.estimate)
    left = told.estimate - told.design @ shift
    degrees = np.sqrt(np.maximum(subjects - used, 1.0))
    omega = structure.keep(left.T @ left / np.outer(degrees, degrees))
    shift_covariance = np.einsum("ajn,bkn,jk->ab", pulls, pulls, omega)
    pairs = structure.entries
    spread = [
        [(omega[i, k] * omega[j, m] + omega[i, m] * omega[j, k]) / max(subjects - 1, 1) for k, m in pairs]
        for i, j in pairs
    ]
    omega_covariance = np.array(spread).reshape(len(pairs), len(pairs))
    return Stage(shift, omega, shift_covariance, omega_covariance, told.estimate, 0, True)


def global_stage(told: Estimates, structure: Structure, first: Stage, iterations: int = 20_000) -> Stage:
    """The global two-stage estimates by EM: the covariance from posterior moments, shifts by generalised least squares.

    Args:
        told: of the subjects.
        structure: of the covariance.
        first: where to start from.
        iterations: the most steps.
    """
    effects = told.estimate.shape[1]
    unit, x, info = np.eye(effects), told.design, told.information
    omega = first.omega if np.linalg.eigvalsh(first.omega).min() >= 0 else structure.start
    shift, converged, steps = first.shift, False, 0
    while not converged and steps < iterations:
        steps += 1
        shift, _ = _shifts(told, omega)
        spread = np.linalg.solve(unit + omega @ info, np.broadcast_to(omega, info.shape))
        away = np.einsum("nij,nj->ni", spread, told.weighted - np.einsum("nij,nj->ni", info, x @ shift))
        new = structure.keep((spread + away[:, :, None] * away[:, None, :]).mean(0))
        new = 0.5 * (new + new.T)
        size = np.sqrt(np.maximum(np.diag(structure.start), 1e-300))
        change = float(np.abs((new - omega) / np.outer(size, size)).max(initial=0.0))
        omega, converged = new, change < _TOLERANCE
    shift, shift_covariance = _shifts(told, omega)
    spread = np.linalg.solve(unit + omega @ info, np.broadcast_to(omega, info.shape))
    mean = x @ shift
    away = np.einsum("nij,nj->ni", spread, told.weighted - np.einsum("nij,nj->ni", info, mean))
    covariance = _omega_covariance(told, omega, structure)
    return Stage(shift, omega, shift_covariance, covariance, mean + away, steps, converged)


def _weights(told: Estimates, omega: Numbers) -> Numbers:
    """[n, q, q] (D + I^-1)^-1 = I (1 + D I)^-1, also where I has no inverse."""
    info = told.information
    return np.asarray(info @ np.linalg.inv(np.eye(len(omega)) + omega @ info))


def _shifts(told: Estimates, omega: Numbers) -> tuple[Numbers, Numbers]:
    """Shifts [m] by generalised least squares given D, and their covariance [m, m]."""
    x = told.design
    pulled = np.linalg.solve(np.eye(len(omega)) + told.information @ omega, told.weighted[..., None])[..., 0]
    covariance = np.linalg.pinv(np.einsum("nim,nij,njl->ml", x, _weights(told, omega), x), hermitian=True)
    return covariance @ np.einsum("nim,ni->m", x, pulled), covariance


def _omega_covariance(told: Estimates, omega: Numbers, structure: Structure) -> Numbers:
    """[k, k] inverse of the expected information tr(W E W E')/2 of the entries of D."""
    weights, pairs = _weights(told, omega), structure.entries
    units = []
    for i, j in pairs:
        unit = np.zeros(omega.shape)
        unit[i, j] = unit[j, i] = 1.0
        units.append(weights @ unit)
    found = [[0.5 * float(np.einsum("nij,nji->", one, other)) for other in units] for one in units]
    return np.asarray(np.linalg.pinv(np.array(found).reshape(len(pairs), len(pairs)), hermitian=True))
