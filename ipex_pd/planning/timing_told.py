"""From outcomes by day of transplant to a profile: means with their bands, the optimum with its interval, groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.interpolate import PchipInterpolator

from ipex_pd.planning.crossed import crossed_counts
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.outcomes import CAUSES, LATE, Outcomes
from ipex_pd.planning.paths import child_error, spread_of
from ipex_pd.records.draws import weighted_quantiles

RESAMPLES = 400
SCORES: tuple[tuple[str, float, float], ...] = (
    ("score 0", -np.inf, 0.5),
    ("score 1", 0.5, 1.5),
    ("score 2+", 1.5, np.inf),
)
"""Classes of the organ-involvement score, cut as the clinical score is (`parameters/measurements.yaml`)."""
_YEAR = 365.25
AGES: tuple[tuple[str, float, float], ...] = (
    ("under 1 year", 0.0, _YEAR),
    ("1 to 2 years", _YEAR, 2 * _YEAR),
    ("2 to 5 years", 2 * _YEAR, 5 * _YEAR),
    ("5 years and older", 5 * _YEAR, np.inf),
)
"""Ages at transplant: assumed, the usual years of infancy, toddlers, preschool and school."""


@dataclass(frozen=True)
class Optimum:
    """The best day of transplant.

    Attributes:
        day: of largest expected value [day]; `inf` where no transplant is best.
        value: there.
        planned: best day among those on which a transplant happens [day].
        low, high: 5 % and 95 % of `planned` when draws and children are resampled: how well it is known.
        draw_low, draw_high: 5 % and 95 % over parameter draws of the day best in each: what the parameters leave open.
        never: share of the resamples in which no transplant is better than any day; `nan` where it was not asked.
    """

    day: float
    value: float
    planned: float
    low: float
    high: float
    draw_low: float
    draw_high: float
    never: float


@dataclass(frozen=True, eq=False)
class Who:
    """The members of outcomes: weights with sum 1, draws, children, age at day 0 [day]; each [M]."""

    weights: Floats
    draw: np.ndarray
    child: np.ndarray
    age: Floats

    @staticmethod
    def of(ensemble: Ensemble, rows: np.ndarray) -> Who:
        """Some members of an ensemble."""
        weights = ensemble.weights[rows]
        age = np.array([ensemble.population.patients[row].age for row in rows])
        return Who(weights / weights.sum(), ensemble.draw[rows], ensemble.child[rows], age)


def profile_table(found: Outcomes, who: Who) -> pd.DataFrame:
    """A row a day: value, survival and organ-free survival, each with its band over draws and Monte Carlo error."""
    rows = []
    for k, day in enumerate(found.days):
        row: dict[str, float] = {"day": float(day)}
        for name in ("value", "survival", "organ_free"):
            own = spread_of(getattr(found, name)[k], who.weights, who.draw, who.child)
            row |= {name: own.mean, f"{name}_low": own.low, f"{name}_high": own.high, f"{name}_se": own.se}
        rows.append(row)
    return pd.DataFrame(rows)


def cause_table(found: Outcomes, who: Who) -> pd.DataFrame:
    """A row a day: parts of the fate, which add up to 1, then late effects, which overlap them."""
    columns = {"day": found.days}
    columns |= {name: found.causes[name] @ who.weights for name in CAUSES}
    columns |= {f"late_{name}": found.late[name] @ who.weights for name in LATE}
    return pd.DataFrame(columns)


def optimum(found: Outcomes, who: Who, seed: int) -> Optimum:
    """The best day, between the candidates by a monotone cubic through their means (PCHIP), on whole days."""
    finite = np.isfinite(found.days)
    days, values = found.days[finite], found.value[finite]
    planned, best = peak(days, values @ who.weights)
    none = found.value[~finite] @ who.weights
    weights = resampled(who, seed)
    means = weights @ values.T
    peaks = [peak(days, row) for row in means]
    low, high = np.quantile([day for day, _ in peaks], [0.05, 0.95])
    never = float("nan")
    if none.size:
        others = weights @ found.value[~finite][0]
        never = float(np.mean(others > np.array([value for _, value in peaks])))
    draw_low, draw_high = draw_interval(found, who)
    if none.size and none[0] > best:
        return Optimum(np.inf, float(none[0]), planned, float(low), float(high), draw_low, draw_high, never)
    return Optimum(planned, best, planned, float(low), float(high), draw_low, draw_high, never)


def draw_interval(found: Outcomes, who: Who) -> tuple[float, float]:
    """5 % and 95 % over parameter draws of the day best in each."""
    finite = np.isfinite(found.days)
    _, group = np.unique(who.draw, return_inverse=True)
    total = np.bincount(group, who.weights)
    values = found.value[finite]
    within = np.stack([np.bincount(group, who.weights * row) / total for row in values])
    best = np.array([peak(found.days[finite], column)[0] for column in within.T])
    low, high = (float(v) for v in weighted_quantiles(best, total, (0.05, 0.95)))
    return low, high


def peak(days: Floats, means: Floats) -> tuple[float, float]:
    """Whole day and value of the maximum of the curve through some days."""
    if len(days) == 1:
        return float(days[0]), float(means[0])
    grid = np.unique([*np.arange(np.ceil(days[0]), np.floor(days[-1]) + 1), *days])
    curve = PchipInterpolator(days, means)(grid)
    place = int(np.argmax(curve))
    return float(grid[place]), float(curve[place])


def resampled(who: Who, seed: int, count: int = RESAMPLES) -> Floats:
    """[count, M] weights when draws and children are drawn anew with replacement, each on its own."""
    counts = crossed_counts(np.random.default_rng(seed), (who.draw, who.child), count)
    product = np.tile(who.weights, (count, 1)) if counts is None else who.weights * counts
    total = product.sum(axis=1, keepdims=True)
    return np.asarray(np.where(total > 0, product / np.where(total > 0, total, 1.0), who.weights))


def group_table(found: Outcomes, who: Who) -> pd.DataFrame:
    """A row for each grouping, group and day: share of those alive, survival and value of those who come to the day.

    `score at start` and `age at start` follow the same children over the days; `score at transplant` and `age at
    transplant` compare different children. Value is not divided by survival to the day, survival is.
    """
    finite = np.isfinite(found.days)
    days = found.days[finite]
    rows: list[dict[str, object]] = []
    for k, day in enumerate(days):
        at = {
            "score at start": (found.score[0] if days[0] <= 0 else None, SCORES),
            "score at transplant": (found.score[k], SCORES),
            "age at start": (who.age, AGES),
            "age at transplant": (who.age + day, AGES),
        }
        for grouping, (values, classes) in at.items():
            if values is not None:
                rows += [_group(found, who, k, grouping, name, (values >= a) & (values < b)) for name, a, b in classes]
    table = pd.DataFrame([row for row in rows if row["share"]])
    return table.sort_values(["grouping", "group", "day"], ignore_index=True)


def _group(found: Outcomes, who: Who, k: int, grouping: str, name: str, inside: np.ndarray) -> dict[str, object]:
    weights = who.weights * inside
    alive = float(weights @ found.alive[k])
    total = float(who.weights @ found.alive[k])
    mean = float(weights @ found.value[k] / weights.sum()) if weights.sum() > 0 else np.nan
    return {
        "grouping": grouping,
        "group": name,
        "day": float(found.days[k]),
        "share": alive / total if total > 0 else 0.0,
        "members": int(inside.sum()),
        "value": mean,
        "survival_if_alive": float(weights @ found.survival[k]) / alive if alive > 0 else np.nan,
        "se": child_error(found.value[k][inside], weights[inside] / weights.sum(), who.child[inside])
        if inside.sum() > 1
        else np.nan,
    }


def coarse_days(low: float, high: float, count: int) -> tuple[float, ...]:
    """Whole days from low to high, closer together early: a power of 1.5 of equal steps."""
    return tuple(sorted({float(day) for day in np.round(low + (high - low) * np.linspace(0, 1, count) ** 1.5)}))


def finer_days(found: Outcomes, who: Who, nearest: float) -> tuple[float, ...]:
    """Days in the middle between the best candidate and its neighbours, where these are far enough apart."""
    finite = np.isfinite(found.days)
    days = found.days[finite]
    best = int(np.argmax(found.value[finite] @ who.weights))
    gaps: Sequence[tuple[int, int]] = [(best - 1, best), (best, best + 1)]
    middles = [
        round(0.5 * (days[a] + days[b])) for a, b in gaps if a >= 0 and b < len(days) and days[b] - days[a] >= nearest
    ]
    return tuple(float(day) for day in middles if day not in days)


@dataclass(frozen=True)
class Gain:
    """A difference of best expected values.

    Attributes:
        mean: expected gain.
        low, high: 5 % and 95 % when draws and children are resampled, the same for both.
        draw_low, draw_high: 5 % and 95 % over the parameter draws, days held.
    """

    mean: float
    low: float
    high: float
    draw_low: float
    draw_high: float


def gain_of(one: tuple[Floats, Floats], other: tuple[Floats, Floats], who: Who, seed: int) -> Gain:
    """What the best of some days gains over the best of others, each (days [D], value [D, M]) of the same members."""
    weights = resampled(who, seed)

    def best(days: Floats, values: Floats, some: Floats) -> float:
        means = some @ values.T
        finite = np.isfinite(days)
        top = peak(days[finite], means[finite])[1] if finite.any() else -np.inf
        return max(top, float(means[~finite][0])) if (~finite).any() else top

    differences = [best(*one, row) - best(*other, row) for row in weights]
    held = [values[int(np.argmax(values @ who.weights))] for _, values in (one, other)]
    told = spread_of(held[0] - held[1], who.weights, who.draw, who.child)
    low, high = np.quantile(differences, [0.05, 0.95])
    mean = best(*one, who.weights) - best(*other, who.weights)
    return Gain(mean, float(low), float(high), told.low, told.high)
