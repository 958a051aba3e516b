"""Diagnostics of Markov chains: rank-normalised split R-hat, bulk and tail effective sample sizes, energy.

Vehtari, Gelman, Simpson, Carpenter & Buerkner 2021, Bayesian Anal 16:667-718; energy: Betancourt 2016,
arXiv:1604.00695.
The autocorrelations are those of numpyro.diagnostics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

Array = Any


def rank_normalised(draws: np.ndarray) -> np.ndarray:
    """Normal scores [chains, draws] of the ranks over all chains."""
    ranks = rankdata(draws, method="average").reshape(draws.shape)
    return np.asarray(ndtri((ranks - 0.375) / (draws.size + 0.25)))


def split(draws: np.ndarray) -> np.ndarray:
    """Every chain cut in two halves, [2 chains, draws // 2]."""
    half = draws.shape[1] // 2
    return np.concatenate([draws[:, :half], draws[:, -half:]])


def r_hat(draws: np.ndarray) -> float:
    """The larger of the rank-normalised split R-hat of the draws [chains, draws] and of their distance from the
    median."""
    folded = np.abs(draws - np.median(draws))
    return max(_plain_r_hat(split(rank_normalised(values))) for values in (draws, folded))


def _plain_r_hat(draws: np.ndarray) -> float:
    count = draws.shape[1]
    within = draws.var(axis=1, ddof=1).mean()
    if not within > 0:
        return float("nan")
    between = count * draws.mean(axis=1).var(ddof=1)
    return float(np.sqrt(((count - 1) / count * within + between / count) / within))


def bulk_size(draws: np.ndarray) -> float:
    """Effective sample size of the rank-normalised draws [chains, draws]."""
    return _effective(split(rank_normalised(draws)))


def tail_size(draws: np.ndarray) -> float:
    """The smaller effective sample size of the 5 % and the 95 % quantile."""
    return min(_effective(split((draws <= np.quantile(draws, q)).astype(float))) for q in (0.05, 0.95))


def _effective(draws: np.ndarray) -> float:
    from numpyro.diagnostics import effective_sample_size

    if not draws.std() > 0:
        return float("nan")
    return float(min(effective_sample_size(draws), draws.size * np.log10(draws.size)))


def energy_fraction(energy: np.ndarray) -> float:
    """The smallest E-BFMI of the chains' energies [chains, draws]; below 0.3 the momenta explore the energy poorly."""
    moves = np.mean(np.diff(energy, axis=1) ** 2, axis=1)
    return float(np.min(moves / energy.var(axis=1)))
