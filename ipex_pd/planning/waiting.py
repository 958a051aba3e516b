"""What waiting for something better is worth: a donor who is there later, another bridge, another conditioning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.policies import Fixed
from ipex_pd.planning.timing import TimingProfile
from ipex_pd.planning.timing_told import gain_of

SCHEMA = "ipex_pd.waiting/1"


@dataclass(frozen=True, eq=False)
class Waiting:
    """What waiting for something better is worth.

    Attributes:
        table: a row an offer: offer, available (first day), best_day, value, gain over the first offer, gain_low,
            gain_high (5 % and 95 % when draws and children are resampled), gain_draw_low, gain_draw_high (over the
            parameter draws).
        best: the offer of largest value.
        unit: of the values.
    """

    table: pd.DataFrame
    best: str
    unit: str

    def __repr__(self) -> str:
        rows = [
            f"  {row['offer']}: {row['value']:.4g} with {Fixed(float(row['best_day'])).in_words()}, {row['gain']:+.3g} "
            f"({row['gain_low']:+.3g} to {row['gain_high']:+.3g})"
            for row in self.table.to_dict("records")
        ]
        return "\n".join([f"Waiting [{self.unit}], best {self.best}:", *rows])

    def to_json(self) -> str:
        """The record as strict JSON."""
        return as_json(SCHEMA, {"table": self.table, "best": self.best, "unit": self.unit})


def value_of_waiting(
    profiles: Mapping[str, TimingProfile], available: Mapping[str, float] | None = None, *, seed: int = 1
) -> Waiting:
    """Compare offers (a donor who is there later, another bridge) each at its best day, on the same members.

    Args:
        profiles: offer -> profile of the same members; gains are taken over the first.
        available: offer -> first day on which its transplant can be [day]; the others from the start. A profile without
            a candidate on that day begins at its first candidate after it.
        seed: of the resampling.

    Raises:
        UsageError: profiles of other members, goals or horizons, or an offer without a candidate day.
    """
    since = dict.fromkeys(profiles, 0.0) | dict(available or {})
    unknown = sorted(set(since) - set(profiles))
    if unknown or not profiles:
        raise UsageError(f"`{unknown[0] if unknown else ''}` has no profile", rule="Every offer has a profile")
    first = next(iter(profiles.values()))
    parts = {}
    for name, profile in profiles.items():
        _require_same(first, profile, name)
        open_ = profile.days >= since[name] - 1e-9
        if not open_.any():
            raise UsageError(
                f"`{name}` has no candidate from day {since[name]:g} on", cure="Give the profile later days"
            )
        parts[name] = (profile.days[open_], profile.outcomes.value[open_])
    rows: list[dict[str, object]] = []
    base = next(iter(parts.values()))
    for name, part in parts.items():
        means = part[1] @ first.who.weights
        gain = gain_of(part, base, first.who, seed)
        rows.append(
            {
                "offer": name,
                "available": since[name],
                "best_day": float(part[0][int(np.argmax(means))]),
                "value": float(means.max()),
                "gain": gain.mean,
                "gain_low": gain.low,
                "gain_high": gain.high,
                "gain_draw_low": gain.draw_low,
                "gain_draw_high": gain.draw_high,
            }
        )
    table = pd.DataFrame(rows)
    return Waiting(table, str(table["offer"][int(table["value"].argmax())]), first.unit)


def _require_same(one: TimingProfile, other: TimingProfile, name: str) -> None:
    same = (
        one.goal == other.goal
        and one.horizon == other.horizon
        and len(one.who.weights) == len(other.who.weights)
        and bool(np.array_equal(one.who.draw, other.who.draw) and np.array_equal(one.who.child, other.who.child))
    )
    if not same:
        rule = "Offers are compared on the same members, goals and horizon"
        raise UsageError(f"`{name}` is of other members or another plan", rule=rule, cure="Give one ensemble to both")
