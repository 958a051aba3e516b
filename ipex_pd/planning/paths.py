"""What a decision about the day of transplant is made from: outcomes by day, and what visits show before it.

A member's outcome of a transplant on day d counts the death before it, as the chance of it; what visits show is the
course of a child who is alive and not transplanted yet. A policy picks one candidate for each member from what was
measured, never from the true course.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ipex_pd.errors import UnknownKeyError, UsageError, nearest_hint
from ipex_pd.planning.evidence import Floats, normalised
from ipex_pd.records.draws import weighted_quantiles
from ipex_pd.records.measurements import Event, Measurement, Survival
from ipex_pd.simulation import measurement_draws as law
from ipex_pd.simulation.draws import normals
from ipex_pd.simulation.results import Simulation
from ipex_pd.units import factor

NEVER = np.inf
"""The day of a transplant that does not come."""


@dataclass(frozen=True, eq=False)
class Paths:
    """Candidate days with their outcomes, and the visits at which one decides.

    Attributes:
        days: [D] candidate days, rising; the last may be `NEVER`.
        value: [D, M] outcome when the transplant is planned for that day, in `unit`; higher is better.
        alive: [D, M] probability to be alive at the visit of that day, not transplanted.
        observed: measurement -> [D, M] what the visit of that day shows (`nan`: nothing); the row of `NEVER` is unused.
        weights: [M] of the members.
        draw, child: [M] numbers of the parameter draw and the child.
        notice: days between the visit at which one decides and the transplant.
        unit: of the value.
    """

    days: Floats
    value: Floats
    alive: Floats
    observed: Mapping[str, Floats]
    weights: Floats
    draw: np.ndarray
    child: np.ndarray
    notice: float = 0.0
    unit: str = "1"

    def __post_init__(self) -> None:
        shape = (len(self.days), len(self.weights))
        for name, given in {"value": self.value, "alive": self.alive, **self.observed}.items():
            if given.shape != shape:
                raise UsageError(f"`{name}` is {given.shape}", rule=f"There are {shape[0]} days and {shape[1]} members")
        if len(self.days) < 2 or np.any(np.diff(self.days) <= 0):
            raise UsageError("the candidate days do not rise", rule="There are at least two candidates, `NEVER` last")
        if not (np.isfinite(self.value).all() and np.isfinite(self.alive).all()):
            raise UsageError("an outcome is not finite", rule="Every member has an outcome on every candidate day")
        object.__setattr__(self, "weights", normalised(self.weights))

    @property
    def visits(self) -> int:
        """Number of candidates that are decided at a visit: all but `NEVER`."""
        return int(np.isfinite(self.days).sum())

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the candidates."""
        return tuple(f"day {day:g}" if np.isfinite(day) else "never" for day in self.days)

    def of(self, choice: np.ndarray) -> Floats:
        """[M] outcome of each member under its own candidate."""
        return np.asarray(np.take_along_axis(self.value, choice[None, :], axis=0)[0])

    def seen(self, name: str) -> Floats:
        """[D, M] one measurement. Raises: UnknownKeyError."""
        if name not in self.observed:
            raise UnknownKeyError(
                f"`{name}` is not measured before the transplant", rule=nearest_hint(name, self.observed)
            )
        return self.observed[name]

    def by_draw(self, values: Floats) -> Floats:
        """Weighted means of [..., M] values within each parameter draw, [..., K]."""
        weights, group = self.weights, np.unique(self.draw, return_inverse=True)[1]
        total = np.bincount(group, weights)
        flat = values.reshape(-1, values.shape[-1])
        found = np.stack([np.bincount(group, weights * row) / total for row in flat])
        return found.reshape(*values.shape[:-1], len(total))


def observe_visits(
    simulation: Simulation, days: Sequence[float], items: Sequence[Measurement], *, seed: int, notice: float = 0.0
) -> dict[str, Floats]:
    """What visits show of a course without transplant: measurement -> [D, M], with the errors and limits of the assay.

    An onset is 1 from the first visit at which it is known, 0 before. A value below its limit of quantification is
    that limit. Errors are addressed as in `simulation.measuring.measure`, by (seed, measurement, day, position).

    Args:
        simulation: of the members, not transplanted, with the visits among its output times.
        days: candidate days of transplant; the visit is `notice` days earlier, never before day 0. `NEVER` has none.
        items: what is measured.
        seed: of the errors.
        notice: days from visit to transplant.

    Raises:
        UsageError: a visit that is no output time, a quantity that the simulation lacks, or survival as a measurement.
    """
    visits = [max(day - notice, 0.0) for day in days if np.isfinite(day)]
    rows = [_row(simulation, day) for day in visits]
    found: dict[str, Floats] = {}
    for item in items:
        if isinstance(item.error, Survival) or item.quantity not in simulation:
            what = "is not decided upon" if isinstance(item.error, Survival) else f"reads `{item.quantity}`, not here"
            raise UsageError(f"`{item.name}` {what}", where="observe", rule="A visit measures quantities of the course")
        course = simulation[item.quantity] * factor(simulation.units[item.quantity], item.unit)
        table = np.full((len(days), len(simulation)), np.nan)
        if isinstance(item.error, Event):
            onset = law.onset(item.error, simulation.times, course)
            table[: len(visits)] = onset[None, :] <= np.asarray(visits)[:, None]
        else:
            people = np.arange(len(simulation))
            for place, (day, row) in enumerate(zip(visits, rows, strict=True)):
                noise = normals(seed, f"measure/{item.name}/{round(float(day), 6)!r}", people)
                table[place] = law.censored(item, law.measured(item, course[:, row], noise))[0]
        found[item.name] = table
    return found


def _row(simulation: Simulation, day: float) -> int:
    row = int(np.argmin(np.abs(simulation.times - day)))
    if abs(simulation.times[row] - day) > 1e-6:
        raise UsageError(
            f"visit day {day:g} is not an output time",
            where="observe",
            rule=f"The nearest is {simulation.times[row]:g}",
        )
    return row


@dataclass(frozen=True)
class Spread:
    """A mean over members with what is not known about it.

    Attributes:
        mean: expected value.
        low, high: 5 % and 95 % quantiles over parameter draws of the mean within a draw: what parameters leave open.
        se: Monte Carlo standard error of the mean from a finite number of children.
    """

    mean: float
    low: float
    high: float
    se: float


def spread_of(values: Floats, weights: Floats, draw: np.ndarray, child: np.ndarray) -> Spread:
    """Mean, between-draw interval and Monte Carlo error of [M] values.

    The error is that of the mean over children, each averaged over the draws first: children are the independent part,
    since the same ones live in every draw. `nan` with a single child.
    """
    mean = float(weights @ values)
    _, group = np.unique(draw, return_inverse=True)
    total = np.asarray(np.bincount(group, weights), dtype=np.float64)
    within = np.bincount(group, weights * values)[total > 0] / total[total > 0]
    low, high = (float(v) for v in weighted_quantiles(within, total[total > 0], (0.05, 0.95)))
    return Spread(mean, low, high, child_error(values, weights, child))


def child_error(values: Floats, weights: Floats, child: np.ndarray) -> float:
    """Standard error of the weighted mean when whole children are the sampling unit (linearised ratio)."""
    _, group = np.unique(child, return_inverse=True)
    count = int(group.max()) + 1
    if count < 2:
        return float("nan")
    residual = np.bincount(group, weights * (values - weights @ values)) / weights.sum()
    return float(np.sqrt(count / (count - 1) * np.sum(residual**2)))
