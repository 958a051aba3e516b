"""Visual predictive checks: percentiles of the data in bins against those of replicates of the whole dataset.

With prediction correction a value becomes y_j median(PRED of the bin)/PRED_j (`ratio`), or y_j + median(PRED) - PRED_j
(`difference`: for data that are logarithms or changes), observed and simulated ones alike. It takes out what the design
explains (doses, covariates, times inside the bin): M. Bergstrand et al., AAPS J 13 (2011) 143.

A value beyond its limit of quantification stands at -inf or inf in the order of values, in the data and in the
replicates, so that a percentile is drawn only where it is a measured value, and both sides have lost the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.diagnostics.bins import bins_of
from ipex_pd.inference.diagnostics.records import Records
from ipex_pd.inference.diagnostics.replicates import Replicates
from ipex_pd.records.endpoints import Continuous

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

Correction = Literal["none", "ratio", "difference"]

PERCENTILES = (5.0, 50.0, 95.0)
_MOST_STRATA = 8


@dataclass(frozen=True, eq=False)
class Vpc:
    """A visual predictive check of one endpoint.

    Attributes:
        endpoint, x, stratum: names: the endpoint, the independent variable, and what it is stratified by (or empty).
        correction: how values are corrected by their predictions.
        level: of the intervals of simulated percentiles.
        replicates: how many.
        table: one row for each stratum, bin and percentile: `stratum`, `bin`, `from`, `to`, `x` (median in the bin),
            `records`, `percentile`, `observed`, and of the simulated one `low`, `median`, `high`. NaN: beyond a limit.
        censored: one row for each stratum, bin and side (1 below the lower limit, -1 above the upper one) with a limit:
            share `observed`, and of the simulated one `low`, `median`, `high`.
        points: the records: `subject`, `x`, `y` (corrected where asked; NaN where censored), `stratum`, `cens`.
        left_out: records that cannot be corrected because their prediction is 0 or of the wrong sign.
    """

    endpoint: str
    x: str
    stratum: str
    correction: Correction
    level: float
    replicates: int
    table: pd.DataFrame
    censored: pd.DataFrame
    points: pd.DataFrame
    left_out: int


def visual_check(
    replicates: Replicates,
    population: Numbers,
    *,
    endpoint: str = "",
    x: str = "time",
    bins: int | Sequence[float] | None = None,
    stratify: str = "",
    correction: Correction = "none",
    level: float = 0.95,
) -> Vpc:
    """A visual predictive check.

    Args:
        replicates: of the fit.
        population: [M] predictions at random effects of 0 (PRED), on the data's own scale.
        endpoint: its name; may be left out when there is one measured endpoint only.
        x: `time`, `time_after_dose`, `prediction`, or a covariate.
        bins: how many, their edges, or None for automatic ones (see `bins.bins_of`).
        stratify: a covariate, or `occasion`.
        correction: `none`, `ratio` or `difference`.
        level: of the intervals.

    Raises:
        UsageError: an unknown endpoint, variable or stratum, too many strata, or no prediction to correct by.
    """
    records = replicates.records
    if correction not in get_args(Correction):
        raise UsageError(f"`{correction}` is not a correction", rule=nearest_hint(correction, get_args(Correction)))
    name = endpoint or _only_endpoint(records)
    chosen = records.of_endpoint(name) & records.continuous
    if not chosen.any():
        raise UsageError(f"`{name}` is not measured but an event", rule="Events are checked by `survival_check`")
    values = _variable(records, population, x)
    strata = _strata(records, stratify)
    chosen &= np.isfinite(values)
    usable = chosen & _correctable(population, correction)
    if not usable.any():
        raise UsageError(
            f"no record of `{name}` can be corrected",
            rule="A ratio needs predictions above 0",
            cure="Write correction='difference'",
        )
    parts = _Parts([], [], [])
    for stratum in np.unique(strata[usable]):
        asked = _Asked(str(stratum), usable & (strata == stratum), bins, correction, level)
        _stratum(replicates, population, values, asked, parts)
    return Vpc(
        endpoint=name,
        x=x,
        stratum=stratify,
        correction=correction,
        level=level,
        replicates=len(replicates),
        table=pd.DataFrame(parts.table),
        censored=pd.DataFrame(
            parts.censored, columns=["stratum", "bin", "from", "to", "x", "records", "side", *_SHARE_COLUMNS]
        ),
        points=pd.concat(parts.points, ignore_index=True),
        left_out=int((chosen & ~usable).sum()),
    )


_SHARE_COLUMNS = ("observed", "low", "median", "high")


@dataclass(frozen=True, eq=False)
class _Asked:
    """One stratum and how it is checked."""

    stratum: str
    own: Mask
    bins: int | Sequence[float] | None
    correction: Correction
    level: float

    @property
    def ends(self) -> list[float]:
        """Percentiles of an interval and its middle."""
        return [50.0 * (1.0 - self.level), 50.0, 50.0 * (1.0 + self.level)]


@dataclass(frozen=True)
class _Parts:
    table: list[dict[str, object]]
    censored: list[dict[str, object]]
    points: list[pd.DataFrame]


def _stratum(replicates: Replicates, population: Numbers, x: Numbers, asked: _Asked, parts: _Parts) -> None:
    records = replicates.records
    bins = bins_of(x[asked.own], asked.bins)
    place = np.where(asked.own, bins.place(x), -1)
    shown = np.where(records.cens == 0, records.dv, np.where(records.cens > 0, -np.inf, np.inf))
    for k in range(len(bins)):
        here = np.flatnonzero(place == k)
        if len(here) == 0:
            continue
        common: dict[str, object] = {
            "stratum": asked.stratum,
            "bin": k,
            "from": bins.edges[k],
            "to": bins.edges[k + 1],
            "x": float(np.median(x[here])),
            "records": len(here),
        }
        shown[here] = _corrected(shown[here], population[here], asked.correction)
        simulated = _corrected(_simulated(replicates, here), population[here], asked.correction)
        parts.table.extend({**common, **row} for row in _percentile_rows(shown[here], simulated, asked.ends))
        parts.censored.extend({**common, **row} for row in _censored_rows(replicates, here, asked.ends))
    parts.points.append(_points(records, x, shown, place >= 0, asked.stratum))


def _simulated(replicates: Replicates, here: NDArray[np.int64]) -> Numbers:
    """[R, n] simulated values, infinite beyond limits."""
    values, records = replicates.values[:, here], replicates.records
    values = np.where(values < records.lower[here], -np.inf, values)
    return np.where(values > records.upper[here], np.inf, values)


def _percentile_rows(observed: Numbers, simulated: Numbers, ends: list[float]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for q in PERCENTILES:
        told = percentile(simulated, q)
        low, middle, high = (float(_finite(percentile(told, end))) for end in ends)
        seen = float(_finite(percentile(observed, q)))
        rows.append({"percentile": q, "observed": seen, "low": low, "median": middle, "high": high})
    return rows


def _censored_rows(replicates: Replicates, here: NDArray[np.int64], ends: list[float]) -> list[dict[str, object]]:
    records = replicates.records
    rows: list[dict[str, object]] = []
    for side, limit in ((1, records.lower[here]), (-1, records.upper[here])):
        if np.isfinite(limit).any():
            values = replicates.values[:, here]
            share = (values < limit if side == 1 else values > limit).mean(1)
            low, middle, high = (float(v) for v in np.percentile(share, ends))
            seen = float((records.cens[here] == side).mean())
            rows.append({"side": side, "observed": seen, "low": low, "median": middle, "high": high})
    return rows


def _points(records: Records, x: Numbers, y: Numbers, own: Mask, stratum: str) -> pd.DataFrame:
    ids = np.array(records.ids, dtype=object)
    return pd.DataFrame(
        {
            "subject": ids[own],
            "x": x[own],
            "y": _finite(y[own]),
            "stratum": stratum,
            "cens": records.cens[own],
        }
    )


def percentile(values: Numbers, q: float) -> Numbers:
    """The percentile q [%] along the last axis, linear between order statistics; infinite where one of the two is."""
    ranked = np.sort(values, axis=-1)
    last = ranked.shape[-1] - 1
    below = min(int(q / 100.0 * last), last)
    share = q / 100.0 * last - below
    low, high = ranked[..., below], ranked[..., min(below + 1, last)]
    if share == 0:
        return np.asarray(low)
    with np.errstate(invalid="ignore"):
        between = low + share * (high - low)
    return np.where(np.isinf(low), low, np.where(np.isinf(high), high, between))


def _finite(values: Numbers) -> Numbers:
    return np.where(np.isfinite(values), values, np.nan)


def _only_endpoint(records: Records) -> str:
    names = [n for n, e in records.bound.problem.endpoints.items() if isinstance(e, Continuous)]
    if len(names) != 1:
        raise UsageError(
            f"{len(names)} measured endpoints", rule="A check is of one", cure="Name it: " + ", ".join(names)
        )
    return names[0]


def _variable(records: Records, population: Numbers, x: str) -> Numbers:
    known = {"time": records.time, "time_after_dose": records.time_after_dose, "prediction": population}
    known |= dict(records.covariates)
    if x not in known:
        raise UsageError(f"`{x}` is not something to plot against", rule=nearest_hint(x, known))
    return known[x]


def _strata(records: Records, stratify: str) -> NDArray[np.object_]:
    if not stratify:
        return np.full(len(records), "", dtype=object)
    known: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {**records.covariates, "occasion": records.occasion}
    if stratify not in known:
        raise UsageError(f"`{stratify}` is not something to stratify by", rule=nearest_hint(stratify, known))
    values = known[stratify]
    if len(np.unique(values)) > _MOST_STRATA:
        raise UsageError(
            f"`{stratify}` has {len(np.unique(values))} values",
            rule=f"Strata are at most {_MOST_STRATA} classes",
            cure="Plot against it, or give the data a column of classes",
        )
    return np.array([f"{stratify} {value:g}" for value in values], dtype=object)


def _correctable(population: Numbers, correction: Correction) -> Mask:
    return np.isfinite(population) & ((population > 0) | (correction != "ratio"))


def _corrected(values: Numbers, population: Numbers, correction: Correction) -> Numbers:
    """Values [..., n] of one bin with the differences of its predictions [n] taken out."""
    middle = np.median(population)
    if correction == "ratio":
        return np.asarray(values * (middle / population))
    return np.asarray(values + (middle - population)) if correction == "difference" else values
