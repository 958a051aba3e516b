"""Normalised prediction distribution errors: where each observation lies in what the model simulates for it.

With K replicates of the n records of a subject, E and V their mean and covariance, and V = C C':

```
pd_j   = share of simulated y_j below the observed one               NPD  = Phi^-1(pd)
y*     = C^-1 (y - E), for the observed and every simulated vector   pde_j, NPDE likewise from y*
EWRES  = y* of the observed records
```

A share of 0 or 1 becomes 1/(2K) or 1 - 1/(2K); a tie counts half. Below a limit (cdf method): pd is drawn uniformly
between 0 and the share of replicates below the limit, and y is the quantile of that share; the same is done to
simulated values below it, so that both have lost the same. Everything is on the fitted (transformed) scale, where
decorrelation is linear in the residuals.

K. Brendel et al., Pharm Res 23 (2006) 2036; E. Comets, K. Brendel, F. Mentre, Comput Methods Programs Biomed 90 (2008)
154; censored records: T. H. T. Nguyen, E. Comets, F. Mentre, J Pharmacokinet Pharmacodyn 39 (2012) 499.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.linalg import solve_triangular
from scipy.special import ndtri

from ipex_pd.errors import UsageError
from ipex_pd.inference.diagnostics.replicates import Replicates
from ipex_pd.inference.diagnostics.scales import fitted_scale
from ipex_pd.simulation.draws import uniforms

Numbers = NDArray[np.float64]
Root = Literal["cholesky", "symmetric"]

_FEWEST = 20


@dataclass(frozen=True, eq=False)
class PredictionErrors:
    """Prediction errors of M records; NaN for event endpoints.

    Attributes:
        npde, npd: normalised, with and without decorrelation.
        epred: mean of the replicates, on the data's own scale.
        ewres: decorrelated residual of the observation (imputed where censored).
        imputed: [M] True where the observation was censored and imputed.
        whole: [S] True for subjects whose covariance could be decorrelated; NPDE and EWRES of others are NaN.
    """

    npde: Numbers
    npd: Numbers
    epred: Numbers
    ewres: Numbers
    imputed: NDArray[np.bool_]
    whole: NDArray[np.bool_]


class NormalTest(NamedTuple):
    """Whether prediction errors look standard normal: mean, variance, and p values.

    The four tests are those of the literature: t (mean 0), chi-squared of the variance (1), Shapiro-Wilk, and the
    global one, three times the smallest of them. Records of a subject are not quite independent: p values are guides.
    """

    records: int
    mean: float
    mean_se: float
    variance: float
    variance_se: float
    p_mean: float
    p_variance: float
    p_shape: float
    p_global: float


def prediction_errors(replicates: Replicates, *, root: Root = "cholesky") -> PredictionErrors:
    """NPDE, NPD, EPRED and EWRES of every record.

    Args:
        replicates: of the fit.
        root: `cholesky`, or `symmetric`: the symmetric square root of V in place of C, as NONMEM takes unless told
            otherwise; the order of a subject's records then does not matter.

    Raises:
        UsageError: too few replicates.
    """
    records, count = replicates.records, len(replicates)
    if count < _FEWEST:
        raise UsageError(f"{count} replicates", rule=f"Prediction errors need {_FEWEST} at least, better 300 or more")
    observed, simulated, imputed = _completed(replicates)
    npd = _normal(observed, simulated)
    npde, ewres = np.full(len(records), np.nan), np.full(len(records), np.nan)
    epred = np.where(records.event, np.nan, replicates.values.mean(0))
    whole = np.ones(len(records.bound.subjects), bool)
    for who in np.unique(records.subject[records.continuous]):
        own = np.flatnonzero((records.subject == who) & records.continuous)
        pair = _decorrelated(observed[own], simulated[:, own], root)
        if pair is None:
            whole[who] = False
            continue
        ewres[own] = pair[0]
        npde[own] = _normal(*pair)
    return PredictionErrors(npde, np.where(records.event, np.nan, npd), epred, ewres, imputed, whole)


def _normal(observed: Numbers, simulated: Numbers) -> Numbers:
    """Phi^-1 of the share of simulated [K, n] below the observed [n]."""
    count = len(simulated)
    share = (np.sum(simulated < observed, 0) + 0.5 * np.sum(simulated == observed, 0)) / count
    return np.asarray(ndtri(np.clip(share, 0.5 / count, 1.0 - 0.5 / count)))


def _decorrelated(observed: Numbers, simulated: Numbers, root: Root) -> tuple[Numbers, Numbers] | None:
    """y* [n] and its simulated counterparts [K, n]; None where V is not positive definite."""
    mean = simulated.mean(0)
    covariance = np.atleast_2d(np.cov(simulated, rowvar=False))
    centred = np.vstack([observed, simulated]) - mean
    if not np.isfinite(covariance).all() or len(simulated) <= len(observed):
        return None
    if root == "cholesky":
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError:
            return None
        found = solve_triangular(factor, centred.T, lower=True).T
    else:
        values, vectors = np.linalg.eigh(covariance)
        if values[0] <= 0:
            return None
        found = centred @ (vectors / np.sqrt(values)) @ vectors.T
    return found[0], found[1:]


def _completed(replicates: Replicates) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """Observed [M] and simulated [K, M] records on the fitted scale, those beyond a limit imputed."""
    records = replicates.records
    observed = fitted_scale(records, np.where(records.event, np.nan, records.dv))
    other = fitted_scale(records, records.limit)
    simulated = np.array(replicates.fitted)
    limited = records.continuous & (np.isfinite(records.lower) | np.isfinite(records.upper))
    shares = uniforms(replicates.seed, "npde/observed", np.arange(len(records)))
    beyond = replicates.cens
    for j in np.flatnonzero(limited):
        ranked = np.sort(replicates.fitted[:, j])
        if records.cens[j] != 0:
            low, high = sorted(np.searchsorted(ranked, (observed[j], other[j])) / len(ranked))
            observed[j] = _quantile(ranked, low + shares[j] * (high - low))
        own = uniforms(replicates.seed, f"npde/simulated/{j}", np.arange(len(replicates)))
        below, above = (np.mean(beyond[:, j] == side) for side in (1, -1))
        simulated[:, j] = np.where(beyond[:, j] == 1, _quantile(ranked, own * below), simulated[:, j])
        simulated[:, j] = np.where(beyond[:, j] == -1, _quantile(ranked, 1.0 - own * above), simulated[:, j])
    return observed, simulated, np.asarray(limited & (records.cens != 0))


def _quantile(ranked: Numbers, share: float | Numbers) -> Numbers:
    """Values of a sorted sample below which a share of it lies."""
    count = len(ranked)
    middles = (np.arange(count) + 0.5) / count
    return np.asarray(np.interp(share, middles, ranked))


def normal_test(errors: Numbers) -> NormalTest:
    """Mean, variance and tests of prediction errors against N(0, 1); errors that are NaN are left out."""
    usable = errors[np.isfinite(errors)]
    count = len(usable)
    if count < 3:
        return NormalTest(count, *([float("nan")] * 8))
    mean, variance = float(usable.mean()), float(usable.var(ddof=1))
    p_mean = float(stats.ttest_1samp(usable, 0.0).pvalue)
    tail = float(stats.chi2.cdf((count - 1) * variance, count - 1))
    p_variance = 2.0 * min(tail, 1.0 - tail)
    p_shape = float(stats.shapiro(usable[:5000]).pvalue)
    p_global = min(1.0, 3.0 * min(p_mean, p_variance, p_shape))
    return NormalTest(
        count,
        mean,
        (variance / count) ** 0.5,
        variance,
        variance * (2.0 / (count - 1)) ** 0.5,
        p_mean,
        p_variance,
        p_shape,
        p_global,
    )
