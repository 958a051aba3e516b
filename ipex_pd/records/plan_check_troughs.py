"""Whether the trough windows of a plan fit each other and the time in which the drug is given."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from ipex_pd.records import plan_limits as limit
from ipex_pd.records.plan_free import PROPHYLAXIS, FreeDose, FreeStart, FreeStop
from ipex_pd.records.plan_view import Placed, PlanView, Problem, finite

_TINY = 1e-9


def windows(view: PlanView) -> Iterator[Problem]:
    """Windows are sampled before the horizon, and have something in common where they meet."""
    found = list(view.limits(limit.TroughLimit))
    horizon = view.problem.horizon
    for index, line in found:
        late = [day for day in line.days if day > horizon]
        if late or not line.sample_days(horizon):
            day = late[0] if late else line.first
            what = f"a trough on day {day:g}"
            key = "days" if line.days else "from"
            yield Problem(("limits", index, key), what, f"The horizon is day {horizon:g}", "Sample earlier")
    for (_, line), (index, other) in combinations(found, 2):
        shared = set(line.sample_days(horizon)) & set(other.sample_days(horizon))
        apart = max(line.low_mg_l, other.low_mg_l) >= min(line.high_mg_l, other.high_mg_l)
        if line.drug == other.drug and shared and apart:
            what = f"two windows for the trough of `{line.drug}` on day {min(shared):g} have nothing in common"
            yield Problem(("limits", index), what, "A trough lies in both", "Change the windows or their days")


def sampled_while_given(view: PlanView) -> Iterator[Problem]:
    """A window with a lower end is sampled on days on which the drug is surely given, whatever is chosen."""
    horizon = view.problem.horizon
    for index, line in view.limits(limit.TroughLimit):
        for regimen in view.records.regimens if line.low is not None else ():
            spans = [_surely(view, p) for p in view.orders_of(regimen) if p.order.drug == line.drug and p.order.given]
            idle = [
                day
                for day in line.sample_days(horizon)
                if spans and not any(begin < day - _TINY and day <= end + _TINY for begin, end in spans)
            ]
            if idle:
                what = f"`{line.drug}` is sampled on day {idle[0]:g}, when `{regimen.name}` may not give it"
                given = " and ".join(f"after day {begin:g} until day {end:g}" for begin, end in spans if begin < end)
                rule = f"It is surely given {given}" if given else "There is no day on which it is surely given"
                yield Problem(("limits", index), what, rule, "Write `until`, or `days` when it is given")


def _surely(view: PlanView, placed: Placed) -> tuple[float, float]:
    """The latest first and the earliest last day of an order, over all that is free."""
    order, dose, horizon = placed.order, placed.order.dose, view.problem.horizon
    prophylaxis = placed.key.startswith(PROPHYLAXIS)
    begins_with = prophylaxis or dose.start.anchor == "transplant"
    ends_with = prophylaxis or (dose.stop.anchor == "transplant" if dose.stop is not None else begins_with)
    early, late = _drift(view, placed)
    begin = order.start + (late if begins_with else 0.0)
    for _, start in view.free(FreeStart, placed.key):
        begin = placed.day_of(start.latest) + (late if prophylaxis or start.latest.anchor == "transplant" else 0.0)
    stop = placed.end(horizon) if view.moves(placed.key, FreeDose) else finite(order.stop, horizon)
    open_end = dose.stop is None and dose.count is None and stop >= horizon
    end = stop + (early if ends_with and not open_end else 0.0)
    for _, free in view.free(FreeStop, placed.key):
        end = placed.day_of(free.earliest) + (early if prophylaxis or free.earliest.anchor == "transplant" else 0.0)
    return begin, end


def _drift(view: PlanView, placed: Placed) -> tuple[float, float]:
    """By how much the transplant may come earlier (not positive) and later than in the regimen [day]."""
    free, days = view.problem.transplant_day, [transplant.day for transplant in placed.regimen.transplants]
    return (free.earliest - days[0], free.latest - days[0]) if free is not None and days else (0.0, 0.0)
