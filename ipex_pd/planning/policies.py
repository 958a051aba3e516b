"""Policies: rules that name the day of transplant from what visits have shown so far.

```python
policies = [on_day(0.0), at_remission(), at_organ_failure(), at_score(2), never()]
compare_policies(paths, policies)
```
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.paths import Paths, spread_of
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.regret import Regret, regret_of
from ipex_pd.records.draws import weighted_quantiles

SCHEMA = "ipex_pd.policies/1"
FAILURES = ("diabetes_onset", "hypothyroidism_onset")
"""Onsets that count as the loss of an organ: glands do not come back."""


class Policy(Protocol):
    """A rule for the day of transplant."""

    @property
    def name(self) -> str:
        """Its key in tables."""

    def in_words(self) -> str:
        """The rule, for people."""

    def choose(self, paths: Paths) -> np.ndarray:
        """[M] the candidate taken by each member, from what is observed up to its visit."""


@dataclass(frozen=True)
class Fixed:
    """A day decided upon at the start.

    Attributes:
        day: of the candidates [day]; `inf` is never.
    """

    day: float

    @property
    def name(self) -> str:
        """Its key in tables."""
        return f"day {self.day:g}" if np.isfinite(self.day) else "never"

    def in_words(self) -> str:
        """The rule, for people."""
        return f"transplant on day {self.day:g}" if np.isfinite(self.day) else "no transplant"

    def choose(self, paths: Paths) -> np.ndarray:
        """[M] the same candidate for everybody. Raises: UsageError."""
        return np.full(len(paths.weights), place_of(paths, self.day))


@dataclass(frozen=True)
class Seen:
    """A measured value beyond a bound.

    Attributes:
        measurement: of the visits.
        side: `least` (at or above the bound) or `most` (at or below it).
        bound: in the unit of the measurement.
    """

    measurement: str
    side: Literal["least", "most"]
    bound: float

    def met(self, paths: Paths) -> np.ndarray:
        """[D, M] whether a visit shows it; a visit without a value does not."""
        values = paths.seen(self.measurement)
        with np.errstate(invalid="ignore"):
            return np.asarray(values >= self.bound if self.side == "least" else values <= self.bound)

    def in_words(self) -> str:
        """`oi_score is at least 2`; of an onset, `diabetes_onset has come`."""
        if self.measurement.endswith("_onset"):
            return f"{self.measurement} {'has come' if self.side == 'least' else 'has not come'}"
        return f"{self.measurement} is at {self.side} {self.bound:g}"


@dataclass(frozen=True)
class Threshold:
    """Transplant at the first visit where something was seen at so many visits in a row.

    Attributes:
        label: its key in tables.
        conditions: one of them is enough.
        hold: visits in a row.
        otherwise: the day when it never happens: the last candidate (never, where that is one) when None.
    """

    label: str
    conditions: tuple[Seen, ...]
    hold: int = 1
    otherwise: float | None = None

    def __post_init__(self) -> None:
        if not self.conditions or self.hold < 1:
            raise UsageError(
                f"policy `{self.label}` has no condition", rule="It waits for something, at 1 visit or more"
            )

    @property
    def name(self) -> str:
        """Its key in tables."""
        return self.label

    def in_words(self) -> str:
        """The rule, for people."""
        what = " or ".join(condition.in_words() for condition in self.conditions)
        held = f" at {self.hold} visits in a row" if self.hold > 1 else ""
        last = "else not" if self.otherwise is None else f"at the latest on day {self.otherwise:g}"
        return f"transplant when {what}{held}, {last}"

    def choose(self, paths: Paths) -> np.ndarray:
        """[M] the candidate of each member. Raises: UsageError."""
        visits = paths.visits
        met = np.any([condition.met(paths)[:visits] for condition in self.conditions], axis=0)
        lasting = met.copy()
        for back in range(1, self.hold):
            lasting[back:] &= met[:-back]
            lasting[:back] = False
        last = len(paths.days) - 1 if self.otherwise is None else place_of(paths, self.otherwise)
        found = np.where(lasting.any(axis=0), lasting.argmax(axis=0), last)
        return np.asarray(np.minimum(found, last) if self.otherwise is not None else found)


def on_day(day: float) -> Fixed:
    """Transplant on a day, whatever is seen."""
    return Fixed(float(day))


def never() -> Fixed:
    """No transplant."""
    return Fixed(np.inf)


def at_remission(measurement: str = "oi_score", visits: int = 1) -> Threshold:
    """Transplant when no organ is involved; without remission, no transplant (or the latest day)."""
    return Threshold("at remission", (Seen(measurement, "most", 0.0),), visits)


def at_organ_failure(onsets: Sequence[str] = FAILURES) -> Threshold:
    """Transplant when the first gland has failed."""
    return Threshold("at first organ failure", tuple(Seen(name, "least", 1.0) for name in onsets))


def at_score(least: float, measurement: str = "oi_score") -> Threshold:
    """Transplant when the organ-involvement score has reached a number."""
    return Threshold(f"{measurement} >= {least:g}", (Seen(measurement, "least", float(least)),))


def place_of(paths: Paths, day: float) -> int:
    """Position of a candidate day. Raises: UsageError."""
    near = np.flatnonzero(np.isclose(paths.days, day, rtol=0.0, atol=1e-6))
    if not near.size:
        known = ", ".join(paths.labels)
        raise UsageError(f"day {day:g} is not a candidate", where="policy", rule=f"Candidates are {known}")
    return int(near[0])


@dataclass(frozen=True, eq=False)
class PolicyComparison:
    """Policies over the same members.

    Attributes:
        table: a row a policy, best first: policy, value, low, high (5 % and 95 % over parameter draws), se (Monte Carlo
            error over children), gain, gain_low, gain_high, gain_se (less the best fixed day, paired), transplanted
            (share of members), median_day (of those, by weight), rule.
        regret: of each policy, over the parameter draws.
        choices: policy -> [M] candidate taken.
        best_fixed: the best day decided upon at the start.
        unit: of the value.
    """

    table: pd.DataFrame
    regret: Regret
    choices: dict[str, np.ndarray]
    best_fixed: float
    unit: str

    def __repr__(self) -> str:
        rows = [
            f"  {row.policy}: {row.value:.4g} ({row.low:.4g} to {row.high:.4g}), {row.transplanted:.0%} transplanted, "
            f"mean regret {self.regret.mean(str(row.policy)):.2g}"
            for row in self.table.itertuples()
        ]
        return "\n".join([f"Policies [{self.unit}], best decided at the start: {Fixed(self.best_fixed).name}", *rows])

    def to_json(self) -> str:
        """The record as strict JSON."""
        body = {
            "table": self.table,
            "regret": self.regret.table,
            "best_fixed_day": self.best_fixed,
            "unit": self.unit,
        }
        return as_json(SCHEMA, body)


def compare_policies(paths: Paths, policies: Sequence[Policy]) -> PolicyComparison:
    """Expected value and regret of policies; the best fixed day is always among them.

    Raises:
        UsageError: two policies of one name, or a day that is no candidate.
    """
    fixed = best_fixed(paths)
    asked = [*policies] if any(p.name == fixed.name for p in policies) else [*policies, fixed]
    names = [policy.name for policy in asked]
    if len(set(names)) < len(names):
        raise UsageError("two policies have one name", rule="Each has a name of its own", cure="Give them labels")
    choices = {policy.name: policy.choose(paths) for policy in asked}
    base = paths.of(choices[fixed.name])
    rows = [_row(paths, policy, choices[policy.name], base) for policy in asked]
    table = pd.DataFrame(rows).sort_values("value", ascending=False, ignore_index=True, kind="stable")
    regret = regret_of(paths, {name: paths.of(choice) for name, choice in choices.items()})
    return PolicyComparison(table, regret, choices, fixed.day, paths.unit)


def best_fixed(paths: Paths) -> Fixed:
    """The candidate of largest expected value."""
    return Fixed(float(paths.days[int(np.argmax(paths.value @ paths.weights))]))


def _row(paths: Paths, policy: Policy, choice: np.ndarray, base: Floats) -> dict[str, object]:
    value = paths.of(choice)
    own = spread_of(value, paths.weights, paths.draw, paths.child)
    gain = spread_of(value - base, paths.weights, paths.draw, paths.child)
    days = paths.days[choice]
    going = np.isfinite(days)
    weight = paths.weights[going]
    median = float(weighted_quantiles(days[going], weight, (0.5,))[0]) if weight.sum() > 0 else np.nan
    return {
        "policy": policy.name,
        "value": own.mean,
        "low": own.low,
        "high": own.high,
        "se": own.se,
        "gain": gain.mean,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "gain_se": gain.se,
        "transplanted": float(weight.sum()),
        "median_day": median,
        "rule": policy.in_words(),
    }
