"""Limits of a plan that need a simulation: troughs, endpoints, doses in another basis than they are ordered in.

Every limit is one number, or two, between bounds. A number is smooth, so that a search can follow it: a share of
members counts those near an edge in part, a largest dose is a mean weighed towards the largest. The same number
without smoothing (`exact`) stands beside it, and a smaller `width` brings the two together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.planning import smooth
from ipex_pd.planning.course import Course, Samples
from ipex_pd.planning.goals import goal_quantity
from ipex_pd.planning.statistic import mean
from ipex_pd.records import library
from ipex_pd.records.drugs import Drug
from ipex_pd.records.plan_goals import QualityStates
from ipex_pd.records.plan_limits import (
    AnyLimit,
    CumulativeDoseLimit,
    DailyDoseLimit,
    EndpointLimit,
    SingleDoseLimit,
    TroughLimit,
)
from ipex_pd.units import factor

Array = Any
Kind = Literal["trough share", "lowest trough", "highest trough", "single", "daily", "cumulative", "mean", "share"]

LEVEL_WIDTH = 0.05
"""Of the edges of a trough window, in log concentration: 5 % of the level. Assumed, below the error of an assay."""
LARGEST_WIDTH = 0.01
"""Of a largest or smallest value, as a share of its bound: assumed, a hundredth."""
ENDPOINT_WIDTH = 0.05
"""Of the bound of an endpoint that a share of members keeps, as a share of the bound: assumed."""
_LEAST_WIDTH: Mapping[str, float] = {
    "fraction": 0.005,
    "day": 0.5,
    "SD": 0.01,
    "ng/mL": 0.02,
    "mg/kg": 0.1,
    "1": 0.02,
}
"""The same where the bound is near zero, by unit: assumed, a tenth of a difference that matters."""


@dataclass(frozen=True)
class LimitQuantity:
    """One number that a plan keeps between bounds.

    Attributes:
        label: what it is, in words.
        unit: of the number.
        lower, upper: bounds, infinite where open.
        line: its place in the `limits` of the plan.
        kind: what is computed.
        about: drug or endpoint.
        low, high: window of a trough in the drug's unit; bound of an endpoint by which a share is counted.
        days: on which troughs are drawn.
        places: of these days among all sampled days of the drug (`trough_days`).
        basis: of doses.
        states: of quality-adjusted time.
    """

    label: str
    unit: str
    lower: float
    upper: float
    line: int
    kind: Kind
    about: str
    low: float = -np.inf
    high: float = np.inf
    days: tuple[float, ...] = ()
    places: tuple[int, ...] = ()
    basis: str = ""
    states: QualityStates | None = None

    def value(self, course: Course, weights: Array, width: Array) -> Array:
        """The smooth number.

        Args:
            course: of the members.
            weights: [M] with sum 1.
            width: scale of all widths.
        """
        if self.kind in ("trough share", "lowest trough", "highest trough"):
            return self._trough(course, weights, width)
        if self.kind in ("single", "daily", "cumulative"):
            table, heavy = self._doses(course, weights)
            return smooth.soft_largest(table, LARGEST_WIDTH * width * self.upper, heavy)
        values = goal_quantity(self.about, self.states).function(course, width)
        if self.kind == "mean":
            return mean(values, weights)
        scale = width * self._endpoint_width()
        inside = smooth.softly_below(values, self.high, scale) if np.isfinite(self.high) else 1.0
        return mean(inside * (smooth.softly_above(values, self.low, scale) if np.isfinite(self.low) else 1.0), weights)

    def exact(self, course: Course, weights: Array, width: Array) -> Array:
        """The number without smoothing of its own; goals keep the width of their thresholds."""
        if self.kind == "trough share":
            own = self._own(course)
            inside = (own.levels >= self.low) & (own.levels <= self.high)
            return self._share(inside, jnp.where(own.counts > 0, weights, 0.0))
        if self.kind in ("lowest trough", "highest trough"):
            daily, there = self._daily_means(course, weights)
            lowest, highest = jnp.where(there, daily, jnp.inf).min(), jnp.where(there, daily, 0.0).max()
            return jnp.where(there.any(), lowest, 0.0) if self.kind == "lowest trough" else highest
        if self.kind in ("single", "daily", "cumulative"):
            table, heavy = self._doses(course, weights)
            return jnp.max(jnp.where(heavy > 0, table, 0.0))
        values = goal_quantity(self.about, self.states).function(course, width)
        if self.kind == "mean":
            return mean(values, weights)
        return mean(((values >= self.low) & (values <= self.high)).astype(float), weights)

    def _own(self, course: Course) -> Samples:
        """The samples of this limit among those of its drug."""
        return Samples(*(leaf[np.array(self.places)] for leaf in course.troughs[self.about]))

    def _trough(self, course: Course, weights: Array, width: Array) -> Array:
        own = self._own(course)
        if self.kind == "trough share":
            level = jnp.log(jnp.maximum(own.levels, 1e-12))
            edge = LEVEL_WIDTH * width
            inside = 1.0
            if self.low > 0:
                inside = inside * smooth.softly_above(level, float(np.log(self.low)), edge)
            if np.isfinite(self.high):
                inside = inside * smooth.softly_below(level, float(np.log(self.high)), edge)
            return self._share(inside, own.counts * weights)
        daily, there = self._daily_means(course, weights)
        if self.kind == "lowest trough":
            return -smooth.soft_largest(-daily, LARGEST_WIDTH * width * self.lower, there)
        return smooth.soft_largest(daily, LARGEST_WIDTH * width * self.upper, there)

    def _share(self, inside: Array, counted: Array) -> Array:
        """Share of what is counted; a drug given on no sampled day misses a lower end, and keeps an upper one."""
        total = jnp.sum(counted)
        share = jnp.sum(inside * counted) / jnp.maximum(total, 1e-12)
        return jnp.where(total > 0, share, 0.0 if self.low > 0 else 1.0)

    def _daily_means(self, course: Course, weights: Array) -> tuple[Array, Array]:
        """[K] mean level of the members on each day, and whether any is counted."""
        own = self._own(course)
        counted = own.counts * weights
        total = jnp.sum(counted, axis=1)
        return jnp.sum(own.levels * counted, axis=1) / jnp.where(total > 0, total, 1.0), total > 0

    def _doses(self, course: Course, weights: Array) -> tuple[Array, Array]:
        """[J] doses, daily or cumulative doses of all members one after another, and their weights."""
        given = course.given(self.about)
        if self.kind == "single":
            table = given.doses[self.basis]
        elif self.kind == "daily":
            table = given.daily[self.basis]
        else:
            table = jnp.sum(given.doses[self.basis], axis=0, keepdims=True)
        return table.reshape(-1), jnp.broadcast_to(weights, table.shape).reshape(-1)

    def _endpoint_width(self) -> float:
        bound = self.high if np.isfinite(self.high) else self.low
        return max(ENDPOINT_WIDTH * abs(bound), _LEAST_WIDTH[self.unit_of_endpoint])

    @property
    def unit_of_endpoint(self) -> str:
        """Of the endpoint whose members are counted."""
        return goal_quantity(self.about, self.states).unit


def limit_quantities(
    limits: Sequence[AnyLimit],
    handled: Sequence[int],
    drugs: Mapping[str, Drug],
    horizon: float,
    states: QualityStates | None = None,
) -> tuple[LimitQuantity, ...]:
    """The limits that are not handled elsewhere, as numbers.

    Args:
        limits: of the plan.
        handled: places of those that hold by other means (linear in x, by the periods, by rounding).
        drugs: those given; a limit on another drug is idle.
        horizon: [day].
        states: worth of a day, from the goal of quality-adjusted time.

    Raises:
        UsageError: a limit that nobody keeps, troughs without a day before the horizon, or quality-adjusted time
            without the worth of states.
    """
    found: list[LimitQuantity] = []
    for line, limit in enumerate(limits):
        if line in handled:
            continue
        if isinstance(limit, EndpointLimit):
            found.append(_endpoint(line, limit, states))
        elif isinstance(limit, TroughLimit | SingleDoseLimit | DailyDoseLimit | CumulativeDoseLimit):
            name = library.load_drug(limit.drug).name
            own = next((drug for drug in drugs.values() if drug.name == name), None)
            if own is not None:
                found += (
                    _troughs(line, limit, own, horizon)
                    if isinstance(limit, TroughLimit)
                    else [_dose(line, limit, name)]
                )
        else:
            raise UsageError(
                f"limit {line + 1} (`{limit.key}`) is kept neither by the template nor by a simulation",
                code="limits.unkept",
                where="limits",
                rule="Every limit of a plan is kept, or refused",
            )
    every = trough_days(found)
    return tuple(
        replace(limit, places=tuple(every[limit.about].index(day) for day in limit.days)) if limit.days else limit
        for limit in found
    )


def trough_days(limits: Sequence[LimitQuantity]) -> dict[str, tuple[float, ...]]:
    """Drug -> every day on which some limit samples it."""
    found: dict[str, set[float]] = {}
    for limit in limits:
        if limit.days:
            found.setdefault(limit.about, set()).update(limit.days)
    return {drug: tuple(sorted(days)) for drug, days in found.items()}


def _troughs(line: int, limit: TroughLimit, drug: Drug, horizon: float) -> list[LimitQuantity]:
    unit = drug.concentration.unit
    scale, days = factor("mg/L", unit), limit.sample_days(horizon)
    if not days:
        raise UsageError(
            f"`{drug.name}` is not sampled before day {horizon:g}",
            code="limits.samples",
            where=f"limits[{line}]",
            rule="A trough is sampled on at least one day of the plan",
        )
    low, high = limit.low_mg_l * scale, limit.high_mg_l * scale
    window = " to ".join(f"{end:.4g}" for end in (low, high) if 0 < end < np.inf)
    window = f"{'at most ' if low <= 0 else ''}{'at least ' if np.isinf(high) else ''}{window} {unit}"

    def of(label: str, own_unit: str, lower: float, upper: float, kind: Kind) -> LimitQuantity:
        return LimitQuantity(label, own_unit, lower, upper, line, kind, drug.name, low, high, days)

    if limit.share is not None:
        return [of(f"{drug.name} trough {window}: members and days", "fraction", limit.share, np.inf, "trough share")]
    found = []
    if low > 0:
        found.append(of(f"{drug.name} trough, lowest of the daily means", unit, low, np.inf, "lowest trough"))
    if np.isfinite(high):
        found.append(of(f"{drug.name} trough, highest of the daily means", unit, -np.inf, high, "highest trough"))
    return found


def _dose(line: int, limit: SingleDoseLimit | DailyDoseLimit | CumulativeDoseLimit, drug: str) -> LimitQuantity:
    words: dict[str, tuple[str, Kind]] = {
        "single_dose": ("largest single dose", "single"),
        "daily_dose": ("largest daily dose", "daily"),
        "cumulative_dose": ("largest cumulative dose", "cumulative"),
    }
    label, kind = words[limit.key]
    most = limit.most
    return LimitQuantity(
        f"{drug}, {label} of any member", most.unit, -np.inf, most.value, line, kind, drug, basis=most.basis
    )


def _endpoint(line: int, limit: EndpointLimit, states: QualityStates | None) -> LimitQuantity:
    goal = goal_quantity(limit.endpoint, states)
    most = limit.bound if limit.most is not None else np.inf
    least = limit.bound if limit.least is not None else -np.inf
    if limit.share is None:
        label = f"{goal.label}, mean of the members"
        return LimitQuantity(label, goal.unit, least, most, line, "mean", limit.endpoint, states=states)
    words = f"at most {most:g}" if np.isfinite(most) else f"at least {least:g}"
    label = f"{goal.label} {words} {goal.unit}: members"
    return LimitQuantity(
        label, "fraction", limit.share, np.inf, line, "share", limit.endpoint, least, most, states=states
    )
