"""A regimen with its transplant on any day, as a schedule that thousands of members share.

Orders that follow trough levels are given as the middle member gets them: at each dose the median, over some members,
of the multiples that the rule of their target leads to (`planning.trains`). Members march under shared doses, so that a
member who clears faster than the middle one is underexposed here and would be titrated in the clinic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.numerics.events import schedule_of
from ipex_pd.numerics.schedule import Schedule
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.paths import NEVER
from ipex_pd.planning.template_titration import require_uncapped
from ipex_pd.planning.trains import SIZES, train_of
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.schedule import Order
from ipex_pd.simulation import individuals
from ipex_pd.simulation.study import Study

_FOLLOWED = 40
"""Members whose multiples are looked at: the median of so many is known to a sixth of their spread."""
BEYOND = 1000.0
"""Days after the horizon at which a transplant that never comes is put, so that all that counts from it is later."""


@dataclass(frozen=True, eq=False)
class TransplantPlans:
    """The plans of a profile.

    Attributes:
        regimen: with one transplant.
        study: the members under it: system, parameters, states on day 0.
        horizon: [day].
        sample: positions of the members that stand for all when doses follow troughs.
        bridge: order -> multiples of its doses while no transplant ends it.
    """

    regimen: Regimen
    study: Study
    horizon: float
    sample: np.ndarray
    bridge: dict[int, Floats] = field(default_factory=dict)

    def on(self, day: float) -> Regimen:
        """The regimen with the transplant on a day; `NEVER` puts it after the horizon, and the bridge goes on."""
        return self.regimen.with_transplant_day(day if np.isfinite(day) else self.horizon + BEYOND)

    def schedule(self, day: float) -> Schedule:
        """What is given when the transplant is on a day.

        Raises:
            RecordError: an order that follows troughs and has a `maximum`.
        """
        regimen, given = self.on(day), self.study.shelves
        model = self.study.system.model
        jump = individuals.transplant_covariates(regimen.transplants, model.events["transplant"], given.transplant)
        made = schedule_of(regimen, given.drugs, self.horizon, jump)
        amount = np.array(made.amount)
        for order in regimen.orders:
            if order.titration is not None and order.given:
                rows = np.flatnonzero((made.order == order.index) & (made.per_day > 0))
                amount[rows] *= self._multiples(regimen, order, len(rows))
        orders = tuple(replace(order, titration=None) for order in made.orders)
        nothing = np.zeros(0)
        return replace(
            made,
            orders=orders,
            amount=amount,
            titrations=(),
            sample_times=nothing,
            sample_titration=np.zeros(0, int),
        )

    def _multiples(self, regimen: Regimen, order: Order, doses: int) -> Floats:
        """[N] multiples of the ordered doses of an order that follows troughs."""
        require_uncapped(order, regimen)
        rules = [rule for rule in regimen.titrations(self.horizon) if rule.order == order.index]
        if doses < 2 or not rules or not rules[0].sample_times:
            return np.ones(doses)
        endless = self.on(NEVER)
        if order.index < len(regimen.doses) and endless.orders[order.index].start == order.start:
            if order.index not in self.bridge:
                self.bridge[order.index] = self._followed(endless, endless.orders[order.index])
            return self.bridge[order.index][:doses]
        return self._followed(regimen, order)

    def _followed(self, regimen: Regimen, order: Order) -> Floats:
        rows, asked = self.sample, self.study
        theta = {name: np.asarray(values)[rows] for name, values in asked.theta.items()}
        size = {name: np.asarray(asked.state[name])[rows] for name in SIZES}
        train = train_of(regimen, order, theta, asked.age[rows], size, self.horizon)
        found: Floats = np.median(train.followed()[0], axis=1)
        return found

    @property
    def followed(self) -> tuple[str, ...]:
        """Drugs whose doses follow troughs."""
        return tuple(dict.fromkeys(order.drug for order in self.regimen.orders if order.titration is not None))


def transplant_plans(ensemble: Ensemble, regimen: Regimen, horizon: float) -> TransplantPlans:
    """The plans of a regimen with one transplant, for the members of an ensemble.

    Raises:
        UsageError: the regimen has no transplant, or several.
    """
    if len(regimen.transplants) != 1:
        raise UsageError(
            f"`{regimen.name}` has {len(regimen.transplants)} transplants",
            code="timing.transplants",
            rule="The day of a single transplant is moved",
            cure="Give a regimen with one transplant",
        )
    asked = ensemble.study(regimen, np.array([0.0, horizon]))
    count = len(ensemble)
    sample = np.unique(np.linspace(0, count - 1, min(_FOLLOWED, count)).astype(int))
    return TransplantPlans(regimen, asked, horizon, sample)


def first_difference(one: Schedule, other: Schedule) -> float:
    """The first day on which two schedules of the same orders differ [day]; `inf` when they do not."""
    events = [_events(schedule) for schedule in (one, other)]
    apart = set(events[0]) ^ set(events[1])
    return min((event[1] for event in apart), default=NEVER)


def _events(schedule: Schedule) -> list[tuple[int, float, float, float, float]]:
    columns = (schedule.order, schedule.times, schedule.amount, schedule.duration, schedule.per_day)
    rows = [(int(k), round(float(t), 8), float(a), float(d), float(n)) for k, t, a, d, n in zip(*columns, strict=True)]
    grafts = [(-1, round(float(t), 8), 0.0, 0.0, 0.0) for t in np.asarray(schedule.transplant_times)]
    return [*rows, *grafts]


def held_lags(theta: Mapping[str, Floats], weights: Floats) -> tuple[dict[str, Floats], tuple[str, ...]]:
    """Parameters with lags that differ between members held at their weighted mean, and which these are."""
    names = [n for n, v in theta.items() if n.endswith(".lag") and np.ptp(v) > 0]
    held = {name: np.full_like(theta[name], float(weights @ theta[name])) for name in names}
    return {**theta, **held}, tuple(names)
