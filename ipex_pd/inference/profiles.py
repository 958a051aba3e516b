"""Likelihood profiles: how far a parameter can move before the best objective of the others has risen too much.

An end of the interval lies where the objective, minimised over all other parameters, is above its minimum by the
quantile of chi-square with one degree of freedom (3.84 for 95 %). The signed root of the rise is nearly linear in the
parameter, so that ends are found by regula falsi (Illinois) on it. A parameter whose rise stays below is told as such:
practically not identifiable on that side (A. Raue et al., Bioinformatics 25 (2009) 1923).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import chi2

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.draws import tails
from ipex_pd.inference.reestimation import Held, Reestimation, Refound, coordinate_of, natural_and_slopes
from ipex_pd.inference.results import Fit

End = Literal["found", "bound", "flat", "failed"]

_TOLERANCE = 4e-3
_DOUBLINGS = 6
_TRIALS = 25
_FARTHEST_LOG = 14.0
_LOWER = 0.01


@dataclass(frozen=True)
class ProfileEnd:
    """One end of an interval.

    Attributes:
        value: of the parameter; its bound where that was reached, infinite where the profile is flat, else NaN.
        outcome: `found`; `bound`: the objective rises too little up to the bound; `flat`: too little as far as was
            looked; `failed`: a search did.
        rise: of the objective at the last value looked at.
        text: the same in words.
    """

    value: float
    outcome: End
    rise: float
    text: str


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile of one parameter.

    Attributes:
        name: of the parameter.
        estimate: of the fit.
        low, high: ends of the interval.
        points: [rows] value, rise of the objective, converged, then all parameters there; in rising order of value.
    """

    name: str
    estimate: float
    low: ProfileEnd
    high: ProfileEnd
    points: pd.DataFrame

    @property
    def identifiable(self) -> bool:
        """Whether both ends were found: the data bound the parameter on both sides."""
        return self.low.outcome == "found" and self.high.outcome == "found"


@dataclass(frozen=True, eq=False)
class Profiles:
    """Likelihood profiles of a fit.

    Attributes:
        fit: whose objective was profiled.
        level: of the intervals.
        rise: of the objective at their ends.
        profiles: in the order asked for; those done when the user interrupted.
        again: the objective of a search from the estimates with nothing held, less that of the fit.
        interrupted: by the user.
    """

    fit: Fit
    level: float
    rise: float
    profiles: tuple[Profile, ...]
    again: float
    interrupted: bool = False

    def __getitem__(self, name: str) -> Profile:
        """One of them. Raises: UsageError."""
        named = {p.name: p for p in self.profiles}
        if name not in named:
            raise UsageError(f"`{name}` was not profiled", rule=nearest_hint(name, named))
        return named[name]

    @property
    def parameters(self) -> pd.DataFrame:
        """One row a parameter: estimate, both ends and what they are, whether it is identifiable in practice."""
        rows = [
            {
                "parameter": p.name,
                "estimate": p.estimate,
                "low": p.low.value,
                "high": p.high.value,
                "low_outcome": p.low.outcome,
                "high_outcome": p.high.outcome,
                "identifiable": p.identifiable,
            }
            for p in self.profiles
        ]
        return pd.DataFrame(rows)

    @property
    def lower(self) -> float:
        """The lowest objective found less that of the fit: below zero where the fit was not at its minimum."""
        rises = [float(np.nanmin(p.points["rise"])) for p in self.profiles]
        return float(np.nanmin([0.0, self.again, *rises]))

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be known, in words: ends that were not found, and a minimum below the fit's."""
        ends = [(p.name, end) for p in self.profiles for end in (p.low, p.high)]
        found = [f"{name}: {end.text}" for name, end in ends if end.outcome != "found"]
        if self.lower < -_LOWER:
            found.append(f"an objective lower by {-self.lower:.3g} was found: the fit is not at its minimum")
        if self.interrupted:
            found.append("interrupted: some parameters are missing")
        return tuple(found)

    def __str__(self) -> str:
        head = f"likelihood profiles, {100 * self.level:g} % (objective + {self.rise:.4g})"
        table = self.parameters.to_string(index=False, float_format=lambda v: f"{v:.5g}")
        return "\n".join([head, table, *self.remarks])


def profile(
    fit: Fit,
    parameters: Sequence[str] | None = None,
    *,
    level: float = 0.95,
    progress: Callable[[str, float, float], None] | None = None,
) -> Profiles:
    """Likelihood profiles of chosen parameters, every point searched again from its neighbour.

    Args:
        fit: by an objective (fo, foce, focei, laplace, agq, pooled).
        parameters: names as in `fit.parameters`, variances and covariances among them; all estimated ones if left out.
        level: of the intervals.
        progress: called with the name, the value held and the rise of the objective. A KeyboardInterrupt keeps the
            profiles done.

    Raises:
        UsageError: a name that is not an estimated parameter, or a fit that cannot be searched again.
    """
    tails(level)
    near = Reestimation(fit, "a profile")
    population = fit.population
    estimated = [n for n, free in zip(population.names, population.free, strict=True) if free]
    names = list(parameters) if parameters is not None else estimated
    for name in names:
        if name not in estimated:
            raise UsageError(
                f"`{name}` is not an estimated parameter",
                code="profile.name",
                rule=nearest_hint(name, estimated),
            )
    rise = float(chi2.ppf(level, 1))
    done: list[Profile] = []
    again = near.search().value - fit.value
    try:
        for name in names:
            done.append(_Path(near, name, rise, progress).profile())
    except KeyboardInterrupt:
        return Profiles(fit, level, rise, tuple(done), again, interrupted=True)
    return Profiles(fit, level, rise, tuple(done), again)


@dataclass(frozen=True)
class _Point:
    """A place on a profile: its coordinate, the value held, the root of the rise, and the search there."""

    u: float
    value: float
    rise: float
    found: Refound


class _Path:
    """The profile of one parameter, told in a coordinate u that has no bounds (covariances apart)."""

    def __init__(
        self, near: Reestimation, name: str, rise: float, progress: Callable[[str, float, float], None] | None
    ) -> None:
        fit = near.fit
        self.near, self.name, self.rise, self.progress = near, name, rise, progress
        self.place = fit.population.names.index(name)
        self.entry, self.kind = coordinate_of(near.layout, self.place)
        self.estimate = float(fit.estimates[self.place])
        self.bounds = fit.population.thetas[self.place].search_bounds if self.kind == "theta" else (0.0, math.inf)
        self.start = self._u(self.estimate)
        self.points: list[_Point] = [_Point(self.start, self.estimate, 0.0, _here(fit))]

    def _u(self, value: float) -> float:
        if self.kind == "covariance":
            return value
        if self.kind == "variance":
            return math.log(value)
        return float(self.near.fit.w[self.entry])

    def _value(self, u: float) -> float:
        if self.kind == "covariance":
            return u
        if self.kind == "variance":
            return math.exp(u)
        w = np.array(self.near.fit.w, float)
        w[self.entry] = u
        return float(natural_and_slopes(self.near.layout, w)[0][self.place])

    def profile(self) -> Profile:
        low, high = self._end(-1.0), self._end(1.0)
        points = sorted(self.points, key=lambda p: p.value)
        return Profile(self.name, self.estimate, low, high, self._table(points))

    def _step(self) -> float:
        """A fifth beyond where the rise would be reached were the profile a parabola, by the Hessian of the fit."""
        slopes = natural_and_slopes(self.near.layout, self.near.fit.w)[1][self.place][self.near.free]
        by_u = slopes / (self.estimate if self.kind == "variance" else 1.0)
        if self.kind == "theta":
            by_u = (self.near.free == self.entry).astype(float)
        spread = 2.0 * float(by_u @ np.linalg.solve(self.near.curvature, by_u))
        return 1.2 * math.sqrt(self.rise * spread) if spread > 0 and math.isfinite(spread) else 0.5

    def _farthest(self) -> float:
        """The farthest that is looked: about a factor of a million where the scale is a logarithm."""
        far = self._step() * 2.0**_DOUBLINGS
        logs = self.kind == "variance" or any(map(math.isfinite, self.bounds))
        return min(far, _FARTHEST_LOG) if self.kind != "covariance" and logs else far

    def _end(self, side: float) -> ProfileEnd:
        inside, away, farthest = self.points[0], self._step(), self._farthest()
        away = min(away, farthest)
        while True:
            outside = self._at(self.start + side * away, inside)
            if not math.isfinite(outside.rise):
                return self._approached(inside, side, away)
            if outside.rise >= self.rise:
                return self._between(inside, outside)
            inside = outside
            if away >= farthest:
                return self._open(outside, side)
            away = min(2.0 * away, farthest)

    def _approached(self, inside: _Point, side: float, away: float) -> ProfileEnd:
        """An end between a value that has an objective and one that has none: half the way until one is above."""
        near = abs(inside.u - self.start)
        for _ in range(8):
            middle = self._at(self.start + side * 0.5 * (near + away), inside)
            if not math.isfinite(middle.rise):
                away = abs(middle.u - self.start)
            elif middle.rise >= self.rise:
                return self._between(inside, middle)
            else:
                inside, near = middle, abs(middle.u - self.start)
        told = f"no objective beyond {inside.value:.4g}, where it has risen by {inside.rise:.3g}"
        return ProfileEnd(math.nan, "failed", inside.rise, told)

    def _between(self, inside: _Point, outside: _Point) -> ProfileEnd:
        """Regula falsi on the root of the rise, halving the weight of an end that stays (Illinois)."""
        goal = math.sqrt(self.rise)
        ends = [(inside, _root(inside.rise) - goal), (outside, _root(outside.rise) - goal)]
        for _ in range(_TRIALS):
            (a, fa), (b, fb) = ends
            here = self._at(b.u - fb * (b.u - a.u) / (fb - fa), a if abs(fa) < abs(fb) else b)
            if not math.isfinite(here.rise):
                here = self._at(0.5 * (a.u + b.u), a)
            if not math.isfinite(here.rise):
                break
            left = _root(here.rise) - goal
            if abs(here.rise - self.rise) < _TOLERANCE:
                told = f"the objective has risen by {here.rise:.3f} at {here.value:.5g}"
                return ProfileEnd(here.value, "found", here.rise, told)
            ends = [(here, left), (b, fb * 0.5)] if left < 0 else [(a, fa * 0.5), (here, left)]
        told = f"between {ends[0][0].value:.4g} and {ends[1][0].value:.4g} the search for the others is not smooth"
        return ProfileEnd(math.nan, "failed", ends[0][0].rise, told)

    def _open(self, last: _Point, side: float) -> ProfileEnd:
        """The end of a profile that never rose enough: the bound on that side, or nothing."""
        bound = self.bounds[0] if side < 0 else self.bounds[1]
        flipped = self.kind == "theta" and math.isinf(self.bounds[0]) and math.isfinite(self.bounds[1])
        if flipped:
            bound = self.bounds[1] if side < 0 else self.bounds[0]
        risen = f"the objective rises by {last.rise:.3g} only up to {last.value:.4g}"
        if self.kind != "covariance" and math.isfinite(bound):
            return ProfileEnd(bound, "bound", last.rise, f"{risen}, next to its bound {bound:g}")
        upward = (last.value > self.estimate) - (last.value < self.estimate)
        told = f"{risen}: flat, practically not identifiable on that side"
        return ProfileEnd(math.copysign(math.inf, upward), "flat", last.rise, told)

    def _at(self, u: float, near: _Point) -> _Point:
        """The point at u, from the nearest one that is known."""
        value = self._value(u)
        known = min(self.points, key=lambda p: abs(p.u - u) if math.isfinite(p.rise) else math.inf)
        start = known if abs(known.u - u) < abs(near.u - u) else near
        found = self.near.search(
            held=Held(self.near.layout, self.place, value),
            start=self._predicted(start, u),
            modes=start.found.modes,
        )
        if found.interrupted:
            raise KeyboardInterrupt
        usable = math.isfinite(found.value) and found.converged
        rise = found.value - self.near.fit.value if usable else math.nan
        point = _Point(u, value, rise, found)
        self.points.append(point)
        if self.progress is not None:
            self.progress(self.name, value, rise)
        return point

    def _predicted(self, start: _Point, u: float) -> np.ndarray:
        """The others moved on by the line through the estimates and a known point."""
        if start.u == self.start or abs(u - self.start) > 3.0 * abs(start.u - self.start):
            return start.found.w
        line = (u - self.start) / (start.u - self.start)
        fit = self.near.fit.w
        moved = np.array(start.found.w, float)
        free = self.near.free
        moved[free] = fit[free] + line * (start.found.w[free] - fit[free])
        return moved

    def _table(self, points: list[_Point]) -> pd.DataFrame:
        rows = []
        for p in points:
            natural = natural_and_slopes(self.near.layout, p.found.w)[0]
            named = dict(zip(self.near.fit.population.names, natural.tolist(), strict=True))
            rows.append({"value": p.value, "rise": p.rise, "converged": p.found.converged, **named})
        return pd.DataFrame(rows)


def _root(rise: float) -> float:
    return math.copysign(math.sqrt(abs(rise)), rise)


def _here(fit: Fit) -> Refound:
    return Refound(fit.w, fit.value, True, "the estimates", fit.found.at.modes)
