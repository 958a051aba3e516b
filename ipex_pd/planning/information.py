"""The value of one more measurement before a decision: preposterior analysis on the members of an ensemble.

With values v_a(m) of actions a in members m of weight w, and a measured value y of law p(y | m),

```
EVPI = sum_m w max_a v_a(m) - max_a sum_m w v_a(m)
EVSI = E_y[ max_a E[v_a | y] ] - max_a E[v_a],      E[v_a | y] = sum_m w p(y | m) v_a(m) / sum_m w p(y | m)
```

y is drawn from members (stratified by weight), and every member's outcome is used again under every y, so that EVSI
costs no simulation. The gain of each y is taken against the action that was best before: it is never negative.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.planning.evidence import Floats, log_likelihood, normalised
from ipex_pd.planning.plain import as_json
from ipex_pd.records.measurements import Measurement
from ipex_pd.simulation import measurement_draws as law
from ipex_pd.simulation.draws import normals, uniforms
from ipex_pd.simulation.results import Simulation
from ipex_pd.units import factor

SCHEMA = "ipex_pd.information/1"
_CHUNK = 64
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Decision:
    """Actions over the same members.

    Attributes:
        actions: their names.
        value: [A, M], higher is better.
        latest: [A] last day on which the action can still be chosen [day]; `inf` without one.
        weights: [M] of the members.
        draw: [M] which parameter draw a member belongs to.
        unit: of the value.
    """

    actions: tuple[str, ...]
    value: Floats
    latest: Floats
    weights: Floats
    draw: np.ndarray
    unit: str = "1"

    def __post_init__(self) -> None:
        shape = (len(self.actions), len(self.weights))
        if self.value.shape != shape or self.latest.shape != shape[:1] or self.draw.shape != shape[1:]:
            raise UsageError(
                f"values {self.value.shape} of {shape[0]} actions in {shape[1]} members",
                rule="A decision has a value of every action in every member, and a last day of every action",
            )
        if not np.isfinite(self.value).all():
            raise UsageError("a value is not finite", rule="Every action has a value in every member")
        object.__setattr__(self, "weights", normalised(self.weights))

    def open_on(self, day: float) -> np.ndarray:
        """[A] whether an action can still be chosen on a day."""
        return np.asarray(self.latest >= day - 1e-9)

    @property
    def expected(self) -> Floats:
        """[A] expected value of each action."""
        return np.asarray(self.value @ self.weights)

    @property
    def best(self) -> int:
        """The action of largest expected value."""
        return int(np.argmax(self.expected))

    def perfect(self, open_: np.ndarray | None = None) -> float:
        """EVPI: expected gain of knowing the member before choosing (among the open actions)."""
        value = self.value if open_ is None else self.value[open_]
        return float(self.weights @ value.max(axis=0) - (value @ self.weights).max())

    def perfect_parameters(self, open_: np.ndarray | None = None) -> float:
        """Expected gain of knowing the parameter draw, but not the child within it."""
        value = self.value if open_ is None else self.value[open_]
        _, group = np.unique(self.draw, return_inverse=True)
        sums = np.stack([np.bincount(group, self.weights * row) for row in value])
        return float(sums.max(axis=0).sum() - (value @ self.weights).max())


@dataclass(frozen=True, eq=False)
class Reading:
    """A measurement that could be made: the true quantity in every member on a day.

    Attributes:
        item: the measurement.
        day: when [day].
        true: [M] in the unit of the measurement.
    """

    item: Measurement
    day: float
    true: Floats

    @property
    def name(self) -> str:
        """Assay and day."""
        return f"{self.item.name} on day {self.day:g}"


@dataclass(frozen=True, eq=False)
class Information:
    """Which measurement next.

    Attributes:
        table: a row a reading, best net gain first: measurement, day, evsi, se (Monte Carlo standard error over
            readings, given the ensemble), evpi (the bound, of the actions still open on that day), share (evsi / evpi),
            changes (probability that the best action changes), delay (expected loss of waiting for that day: the best
            action now less the best one still open then), net = evsi - delay, effective (mean effective number of
            members after the reading).
        best_now: the action of largest expected value without a measurement, and its value.
        evpi: of all actions: knowing the child and the parameters.
        evppi: knowing the parameters only.
        unit: of all of these.
        partial: whether an interrupt came before every reading was done.
    """

    table: pd.DataFrame
    best_now: tuple[str, float]
    evpi: float
    evppi: float
    unit: str
    partial: bool = False

    def __repr__(self) -> str:
        lines = [
            f"Information: without a measurement {self.best_now[0]} ({self.best_now[1]:.4g} {self.unit}); "
            f"perfect knowledge would add {self.evpi:.3g}, of the parameters alone {self.evppi:.3g}"
        ]
        for row in self.table.head(5).itertuples():
            lines.append(f"  {row.measurement} on day {row.day:g}: {row.evsi:.3g} +- {row.se:.1g}, net {row.net:.3g}")
        return "\n".join([*lines, "  (interrupted: not every reading was done)"] if self.partial else lines)

    def to_json(self) -> str:
        """The record as strict JSON."""
        body = {
            "table": self.table,
            "best_now": {"action": self.best_now[0], "value": self.best_now[1]},
            "evpi": self.evpi,
            "evppi": self.evppi,
            "unit": self.unit,
            "partial": self.partial,
        }
        return as_json(SCHEMA, body)


def readings(simulation: Simulation, items: Sequence[Measurement], days: Sequence[float]) -> list[Reading]:
    """Readings of measurements on output days of a simulation of the members before the decision.

    Raises:
        UsageError: a quantity that the simulation lacks, or a day that is no output time.
    """
    found = []
    for item in items:
        if item.quantity not in simulation:
            raise UsageError(f"`{item.name}` reads `{item.quantity}`, which this simulation lacks")
        course = simulation[item.quantity] * factor(simulation.units[item.quantity], item.unit)
        for day in days:
            row = int(np.argmin(np.abs(simulation.times - day)))
            if abs(simulation.times[row] - day) > 1e-6:
                raise UsageError(
                    f"day {day:g} is not an output time",
                    where=item.name,
                    rule=f"The nearest is {simulation.times[row]:g}",
                )
            found.append(Reading(item, float(day), course[:, row]))
    return found


def value_of_information(
    decision: Decision,
    candidates: Sequence[Reading],
    *,
    replicates: int = 2000,
    seed: int = 1,
    progress: Progress | None = None,
) -> Information:
    """Expected gain of the best decision after each of some measurements.

    Args:
        decision: the actions and what they bring every member.
        candidates: measurements that could be made, each alone.
        replicates: simulated readings of each.
        seed: of readings and their errors; the same members and errors serve every candidate.
        progress: called with (readings done, readings in all). Ctrl-C keeps what is done and marks it partial.

    Raises:
        UsageError: fewer than two actions or replicates, or a reading of other members.
    """
    if len(decision.actions) < 2 or replicates < 2 or not candidates:
        raise UsageError("nothing to decide", rule="There are at least two actions, a reading and two replicates")
    rows, partial = [], False
    try:
        for number, reading in enumerate(candidates):
            rows.append(_row(decision, reading, replicates, seed))
            if progress is not None:
                progress(number + 1, len(candidates))
    except KeyboardInterrupt:
        partial = True
        if not rows:
            raise
    table = pd.DataFrame(rows).sort_values("net", ascending=False, ignore_index=True)
    best = decision.best
    now = (decision.actions[best], float(decision.expected[best]))
    return Information(table, now, decision.perfect(), decision.perfect_parameters(), decision.unit, partial)


def _row(decision: Decision, reading: Reading, replicates: int, seed: int) -> dict[str, object]:
    if reading.true.shape != decision.weights.shape:
        raise UsageError(f"`{reading.name}` is of {reading.true.size} members", rule="Readings are of the same members")
    open_ = decision.open_on(reading.day)
    if open_.sum() < 2:
        rule = "A measurement is made while at least two actions are open"
        raise UsageError(f"on day {reading.day:g} {int(open_.sum())} actions are open", where=reading.name, rule=rule)
    value = decision.value[open_]
    before = value @ decision.weights
    first = int(np.argmax(before))
    gains, changed, counts = _gains(value, first, decision.weights, reading, replicates, seed)
    evsi, bound = float(gains.mean()), decision.perfect(open_)
    delay = float(decision.expected.max() - before.max())
    return {
        "measurement": reading.item.name,
        "day": reading.day,
        "evsi": evsi,
        "se": float(gains.std(ddof=1) / np.sqrt(replicates)),
        "evpi": bound,
        "share": evsi / bound if bound > 0 else 0.0,
        "changes": float(changed.mean()),
        "delay": delay,
        "net": evsi - delay,
        "effective": float(counts.mean()),
    }


def _gains(
    value: Floats, first: int, weights: Floats, reading: Reading, replicates: int, seed: int
) -> tuple[Floats, np.ndarray, Floats]:
    """Of each simulated reading: gain over the action best before, whether another is best, effective members."""
    who = stratified(weights, replicates, seed)
    noise = normals(seed, f"information/{reading.item.name}", np.arange(replicates))
    found = law.censored(reading.item, law.measured(reading.item, reading.true[who], noise))
    gains, best, counts = np.zeros(replicates), np.zeros(replicates, int), np.zeros(replicates)
    with np.errstate(divide="ignore"):
        prior = np.log(weights)
    for start in range(0, replicates, _CHUNK):
        part = slice(start, start + _CHUNK)
        measured, cens, limit = (column[part, None] for column in found)
        logs = prior + log_likelihood(reading.item, measured, reading.true, cens, limit)
        after = np.exp(logs - logs.max(axis=1, keepdims=True))
        after /= after.sum(axis=1, keepdims=True)
        expected = after @ value.T
        best[part] = expected.argmax(axis=1)
        gains[part] = expected.max(axis=1) - expected[:, first]
        counts[part] = 1.0 / (after**2).sum(axis=1)
    return gains, best != first, counts


def stratified(weights: Floats, count: int, seed: int) -> np.ndarray:
    """`count` members by weight, one from each of as many strata of equal probability."""
    places = (np.arange(count) + uniforms(seed, "information/members", np.arange(count))) / count
    found = np.searchsorted(np.cumsum(weights), places * weights.sum(), side="left")
    return np.asarray(np.minimum(found, len(weights) - 1))
