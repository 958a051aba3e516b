"""The dated events of a schedule carried out for solvers that only integrate: visits, troughs, doses, transplants.

Written anew from the contract of `Schedule`, not from the engine: between two visits or samples a peer gets the states,
the constants of every patient and a list of jumps; what depends on the
state (weight, trough, kinetics) is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from benchmarks.equations import Equations, micro_values
from ipex_pd.numerics.schedule import Schedule, System

Array = np.ndarray
DIGITS = 9


@dataclass(frozen=True, eq=False)
class Case:
    """A question that every solver gets alike.

    Attributes:
        system, schedule, theta: as `ipex_pd.numerics.solve.solve` takes them; theta is numpy, [P] each.
        age: [P] age at day 0 [day].
        start: [S, P] disease states at day 0.
        times: [T] output times [day].
        name: for people.
    """

    system: System
    schedule: Schedule
    theta: Mapping[str, Array]
    age: Array
    start: Array
    times: Array
    name: str

    def pick(self, rows: slice) -> Case:
        """Some of the patients."""
        theta = {n: np.asarray(v)[rows] for n, v in self.theta.items()}
        return replace(self, theta=theta, age=self.age[rows], start=self.start[:, rows])

    def until(self, times: Array) -> Case:
        """The same with other output times, of which the last one ends it."""
        return replace(self, times=times)


@dataclass(frozen=True, eq=False)
class Segment:
    """Work between two times at which anything but a dose happens.

    Attributes:
        begin, end: [day].
        q: [Q, P] constants of the right-hand sides.
        age: [P] age at day 0 [day].
        event_time: [R, P] rising, `inf` where a patient has no further one.
        event_row: [R, P] state that jumps, or -1 - drug where the infusion rate changes.
        event_value: [R, P].
        outputs: [T] times in (begin, end]; before the jumps there.
    """

    begin: float
    end: float
    q: Array
    age: Array
    event_time: Array
    event_row: Array
    event_value: Array
    outputs: Array


class Integrate(Protocol):
    """A peer: states [n, P] and infusion rates [D, P] at the begin -> both at the end, and outputs [T, n, P]."""

    def __call__(self, segment: Segment, x: Array, infusion: Array) -> tuple[Array, Array, Array]:
        """Integrate one segment."""


@dataclass(frozen=True, eq=False)
class Course:
    """What came out: states [T, S, P], concentrations and areas by name, [T, P]."""

    states: Array
    concentrations: dict[str, Array]
    auc: dict[str, Array]


def follow(case: Case, equations: Equations, integrate: Integrate) -> Course:
    """Carry out a schedule with a peer."""
    return _March(case, equations, integrate).run()


@dataclass(eq=False)
class _March:
    case: Case
    equations: Equations
    integrate: Integrate

    def __post_init__(self) -> None:
        case, schedule = self.case, self.case.schedule
        if (np.asarray(schedule.steady_state) > 0).any():
            raise ValueError("doses given as at steady state are not part of the benchmarks")
        self.patients = len(case.age)
        self.wide = schedule.rows(self.patients)
        self.end = float(case.times[-1])
        self.rows = len(schedule.order)
        self.orders = [schedule.orders[k] for k in schedule.order]
        self.drug = np.array([case.system.drug(o.drug) for o in self.orders], int)
        self.given = np.zeros((self.rows, self.patients))
        self.reaching = np.zeros((self.rows, self.patients))
        self.multiplier = np.ones((len(schedule.titrations), self.patients))
        self.x = np.zeros((len(self.equations.states), self.patients))
        self.x[: case.start.shape[0]] = case.start
        self.infusion = np.zeros((len(case.system.drugs), self.patients))
        self._renew(0.0)
        self.arrival = np.asarray(self.wide.times, float) + self._lags()
        self._latest_rows()

    def run(self) -> Course:
        times = self.case.times
        states = np.empty((len(times), len(self.equations.states), self.patients))
        volumes = np.empty((len(times), len(self.case.system.drugs), self.patients))
        bounds = self._bounds()
        states[times <= 0] = self.x
        for begin, end in pairwise(bounds):
            self._arrive(begin)
            within = (times > begin + 1e-9) & (times <= end + 1e-9)
            volumes[(times >= begin - 1e-9)] = self.volume
            segment = self._segment(begin, end, times[within])
            self.x, self.infusion, out = self.integrate(segment, self.x, self.infusion)
            states[within] = out
        self._arrive(bounds[-1])
        volumes[times >= bounds[-1] - 1e-9] = self.volume
        return self._course(states, volumes)

    def _bounds(self) -> list[float]:
        s = self.case.schedule
        inner = np.concatenate([np.asarray(s.visits), np.asarray(s.sample_times), self._transplant_days()])
        inner = inner[(inner > 0) & (inner < self.end)]
        return sorted({0.0, self.end, *np.round(inner, DIGITS).tolist()})

    def _transplant_days(self) -> Array:
        days = np.asarray(self.wide.transplant_times, float)
        if days.size and (days != days[:, :1]).any():
            raise ValueError("transplant days that differ between patients are not part of the benchmarks")
        return days[:, 0] if days.size else np.zeros(0)

    def _is(self, times: Any, now: float) -> Array:
        return np.abs(np.asarray(times, float) - now) < 10.0**-DIGITS

    def _renew(self, now: float) -> None:
        """A visit: covariates, kinetics and constants as of now."""
        case = self.case
        names = case.system.model.states
        body = case.system.body(case.age + now, dict(zip(names, self.x[: len(names)], strict=True)), case.theta)
        self.covariates = {n: np.broadcast_to(np.asarray(v, float), (self.patients,)) for n, v in body.items()}
        values = [d.individual(case.theta, self.covariates) for d in case.system.drugs]
        self.values = [
            {n: np.broadcast_to(np.asarray(v, float), (self.patients,)) for n, v in one.items()} for one in values
        ]
        micro = [m for d, v in zip(case.system.drugs, self.values, strict=True) for m in micro_values(d, v)]
        self.volume = np.array([v["volume_central"] for v in self.values]).reshape(-1, self.patients)
        found = {n: case.theta[n] for n in self.equations.inputs if not n.startswith("micro.")}
        columns = iter(micro)
        table = [found[n] if n in found else next(columns) for n in self.equations.inputs]
        self.q = self.equations.constants(np.stack([np.broadcast_to(c, (self.patients,)) for c in table]))

    def _lags(self) -> Array:
        zero = np.zeros(self.patients)
        rows = [
            self.values[d].get("lag", zero) if o.route == "oral" else zero
            for d, o in zip(self.drug, self.orders, strict=True)
        ]
        return np.array(rows).reshape(self.rows, self.patients)

    def _latest_rows(self) -> None:
        """[orders, R, P]: the last row of each order that has arrived when a row arrives, or -1."""
        schedule, rounded = self.case.schedule, np.round(self.arrival, DIGITS)
        self.latest = np.full((len(schedule.orders), self.rows, self.patients), -1)
        for k in range(len(schedule.orders)):
            mine = np.flatnonzero(schedule.order == k)
            for p in range(self.patients):
                place = np.searchsorted(rounded[mine, p], rounded[:, p], side="right") - 1
                self.latest[k, :, p] = np.where(place >= 0, mine[place], -1) if len(mine) else -1

    def _arrive(self, now: float) -> None:
        """What happens at a bound before its doses: visit, trough samples, transplant."""
        schedule = self.case.schedule
        if now > 0 and self._is(schedule.visits, now).any():
            self._renew(now)
        for k in np.flatnonzero(self._is(schedule.sample_times, now)):
            self._titrate(int(schedule.sample_titration[k]))
        for m in np.flatnonzero(self._is(self._transplant_days(), now)) if now < self.end else ():
            covariates = {n: np.asarray(v)[m] for n, v in self.wide.transplants.items()}
            size = self.case.start.shape[0]
            after = self.case.system.model.apply("transplant", self.x[:size], self.case.theta, covariates)
            self.x = np.concatenate([np.asarray(after), self.x[size:]])

    def _titrate(self, j: int) -> None:
        rule = self.case.schedule.titrations[j]
        d = self.case.system.drug(rule.drug)
        level = self.x[self.equations.central[d]] / self.volume[d]
        drug = self.case.system.drugs[d]
        trough = np.asarray(next(iter(drug.concentrations(self.case.theta, self.covariates, level).values())))
        outside = (trough > 0) & ((trough < rule.low) | (trough > rule.high))
        step = np.clip(rule.target / np.where(outside, trough, 1.0), rule.smallest_step, rule.largest_step)
        changed = np.clip(self.multiplier[j] * step, rule.smallest, rule.largest)
        self.multiplier[j] = np.where(outside, changed, self.multiplier[j])

    def _segment(self, begin: float, end: float, outputs: Array) -> Segment:
        final = np.inf if end >= self.end else end
        rounded = np.round(self.arrival, DIGITS)
        due = (rounded >= np.round(begin, DIGITS)) & (rounded < np.round(final, DIGITS)) & (rounded < self.end)
        self._prescribe(due)
        stops = np.round(self.arrival + np.asarray(self.wide.duration), DIGITS)
        lasting = (np.asarray(self.wide.duration) > 0) & (rounded < self.end)
        ending = lasting & (stops >= np.round(begin, DIGITS)) & (stops < np.round(final, DIGITS))
        return self._listed(begin, end, outputs, due, ending & (stops < self.end), lasting)

    def _prescribe(self, due: Array) -> None:
        """Amounts [mg] of the rows that arrive now, with what reaches the body."""
        which = np.flatnonzero(due.any(axis=1))
        for r in which:
            order = self.orders[r]
            size = {"mg": 1.0, "mg/kg": self.covariates.get("weight"), "mg/m2": self.covariates.get("bsa")}[order.basis]
            mg = np.minimum(np.asarray(self.wide.amount)[r] * size, np.inf if order.maximum is None else order.maximum)
            if order.titration is not None:
                mg = mg * self.multiplier[order.titration]
            self.given[r] = np.where(due[r], mg, self.given[r])
        people = np.arange(self.patients)
        per_day = np.asarray(self.case.schedule.per_day, float)
        for d, drug in enumerate(self.case.system.drugs):
            mine = [r for r in which if self.drug[r] == d]
            oral = [r for r in mine if self.orders[r].route == "oral"]
            for r in mine:
                self.reaching[r] = np.where(due[r], self.given[r], self.reaching[r])
            if not oral:
                continue
            last = self.latest[:, oral]
            daily = np.where(last >= 0, per_day[last] * self.given[last, people], 0.0)
            owner = np.array([o.drug for o in self.case.schedule.orders])
            totals = {other.name: daily[owner == other.name].sum(axis=0) for other in self.case.system.drugs}
            mg = self.given[oral]
            share = np.asarray(drug.bioavailability(self.case.theta, self.covariates, mg, totals))
            self.reaching[oral] = np.where(due[oral], mg * share, self.reaching[oral])

    def _listed(self, begin: float, end: float, outputs: Array, due: Array, ending: Array, lasting: Array) -> Segment:
        duration = np.asarray(self.wide.duration, float)
        rate = self.reaching / np.where(lasting, duration, 1.0)
        oral = np.array([o.route == "oral" for o in self.orders], bool)
        depot, central = (np.array(rows, int)[self.drug] for rows in (self.equations.depot, self.equations.central))
        row = np.where(oral, depot, central)
        starting = due & (np.where(lasting, rate, self.reaching) != 0)
        first = np.flatnonzero(starting.any(axis=1))
        last = np.flatnonzero(ending.any(axis=1))
        times = np.concatenate(
            [np.where(starting, self.arrival, np.inf)[first], np.where(ending, self.arrival + duration, np.inf)[last]]
        )
        rows = np.concatenate(
            [
                np.where(lasting, -1 - self.drug[:, None], row[:, None])[first],
                np.broadcast_to(-1 - self.drug[:, None], lasting.shape)[last],
            ]
        )
        values = np.concatenate([np.where(lasting, rate, self.reaching)[first], -rate[last]])
        turn = np.argsort(times, axis=0, kind="stable")
        times, rows, values = (np.take_along_axis(a, turn, 0) for a in (times, rows, values))
        values = np.where(np.isfinite(times), values, 0.0)
        times = np.where(np.isfinite(times), np.maximum(times, begin), np.inf)
        return Segment(begin, end, self.q, self.case.age, times, rows, values, outputs)

    def _course(self, states: Array, volumes: Array) -> Course:
        names = self.case.system.model.states
        concentrations: dict[str, Array] = {}
        auc = {}
        for d, drug in enumerate(self.case.system.drugs):
            level = states[:, self.equations.central[d]] / volumes[:, d]
            found = drug.concentrations(self.case.theta, self.covariates, level)
            concentrations |= {n: np.asarray(v) for n, v in found.items()}
            auc[drug.name] = states[:, self.equations.area[d]]
        return Course(states[:, : len(names)], concentrations, auc)
