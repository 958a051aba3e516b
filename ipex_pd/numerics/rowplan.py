"""The static side of event tables: every event that can happen to a subject, in NONMEM's order, padded to one shape.

A subject's records run on an inner clock that never goes back: a reset (EVID 3, 4) starts a new segment where TIME may
restart. Events stand in the order that decides among equal times: a record, then what its dose brings (arrivals and
ends of infusions), so that an additional dose comes before a later record of the same time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np

from ipex_pd.errors import ModelError, SimulationError, nearest_hint
from ipex_pd.numerics.structures import TIME, Structure, is_linear

Array = Any

RECORD, ARRIVAL, END, TAIL, NOTHING = range(5)
"""Kinds of events: a record of the table; a dose that enters later than its record; the end of an infusion; the end of
an infusion that an earlier dose of a steady-state train had started; padding."""
BOLUS, RATE, MODELLED_RATE, MODELLED_DURATION = range(4)
"""How a dose enters."""
NO_STEADY, REPEATED, CONSTANT = range(3)
DOSE_VALUES = ("lag", "bioavailability", "duration", "rate")


class _SubjectLike(Protocol):
    """Rows of one subject; arrays [R] in file order."""

    @property
    def id(self) -> Any: ...
    @property
    def rows(self) -> np.ndarray: ...
    @property
    def time(self) -> np.ndarray: ...
    @property
    def evid(self) -> np.ndarray: ...
    @property
    def amt(self) -> np.ndarray: ...
    @property
    def rate(self) -> np.ndarray: ...
    @property
    def ii(self) -> np.ndarray: ...
    @property
    def addl(self) -> np.ndarray: ...
    @property
    def ss(self) -> np.ndarray: ...
    @property
    def cmt(self) -> np.ndarray: ...


class Events(NamedTuple):
    """Events of each subject, all [B, E].

    Attributes:
        kind: one of the kinds.
        record: the record they come from.
        clock: inner time at which they would happen without a lag (of the start of an infusion for its end).
        compartment: of the dose.
        amount, rate: of the dose, as in the table; amount 0 where none enters.
        mode: how the dose enters.
        limit: inner time after which the event is cancelled (next reset or SS=1, or the last record).
        own: the dose enters with its record: its bioavailability is the record's.
        first: the dose of the record itself, not an additional one.
        keep: amounts stay (False: a reset or SS=1 replaces them and stops infusions).
        reset: amounts start anew.
    """

    kind: Array
    record: Array
    clock: Array
    compartment: Array
    amount: Array
    rate: Array
    mode: Array
    limit: Array
    own: Array
    first: Array
    keep: Array
    reset: Array


class SteadyDoses(NamedTuple):
    """Doses with SS, all [B, Q]; ``pattern`` is NO_STEADY in padding; ``tails`` counts earlier infusions."""

    pattern: Array
    record: Array
    event: Array
    compartment: Array
    amount: Array
    rate: Array
    mode: Array
    interval: Array
    tails: Array


class Mesh(NamedTuple):
    """Sub-steps of the nonlinear route; each subject has its own.

    Attributes:
        fraction: [B, M] length of each sub-step relative to its slot; 0 in padding.
        offset: [B, M] where in its slot it begins, relative to the slot.
        slot: [B, M] the slot each belongs to.
        last: [B, M] whether it is the last one of its slot.
        end: [B, E] the last sub-step of each slot.
        period: [B, N] lengths of the sub-steps of a dosing interval at steady state, relative to each of its parts.
    """

    fraction: Array
    offset: Array
    slot: Array
    last: Array
    end: Array
    period: Array


@dataclass(frozen=True, eq=False)
class RowPlan:
    """What is fixed about the events of B subjects; a pytree whose arrays are data.

    Attributes:
        structure: the model.
        names: compartment by compartment, the names of the values for lag, bioavailability, duration and rate.
        moving: whether event times depend on values, so that events are sorted for each evaluation.
        direct: whether events are exactly the records.
        modes: which modes of doses occur.
        patterns: which patterns of steady state occur.
        events: in the order that decides among equal times (already sorted when they do not move).
        steady: doses with SS.
        clock: [B, R] inner time of records.
        shift: [B, R] inner time minus TIME.
        last: [B] place of the last record.
        event: [B, R] the event of each record.
        arrival: [B, R] the event after which a dose record is read when its lag is zero.
        ruling: [B, E] the record whose values rule the interval that ends at each event; when they do not move.
        mesh: sub-steps, for the nonlinear route after `refine`.
    """

    structure: Structure
    names: tuple[tuple[str | None, ...], ...]
    moving: bool
    direct: bool
    modes: tuple[int, ...]
    patterns: tuple[int, ...]
    events: Events
    steady: SteadyDoses
    clock: Array
    shift: Array
    last: Array
    event: Array
    arrival: Array
    ruling: Array
    mesh: Mesh | None = None

    @property
    def shape(self) -> tuple[int, int]:
        """Subjects and records, with padding."""
        return int(self.clock.shape[0]), int(self.clock.shape[1])

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of values that `propagate` must be given."""
        doses = {n for row in self.names for n in row if n is not None}
        return tuple(sorted(doses | set(self.structure.needs)))

    @property
    def infusions(self) -> bool:
        """Whether any dose is an infusion."""
        return any(m != BOLUS for m in self.modes)


jax.tree_util.register_dataclass(
    RowPlan,
    data_fields=["events", "steady", "clock", "shift", "last", "event", "arrival", "ruling", "mesh"],
    meta_fields=["structure", "names", "moving", "direct", "modes", "patterns"],
)


def plan_rows(
    subjects: Sequence[_SubjectLike],
    structure: Structure,
    doses: Mapping[str, Mapping[str, str]] | None = None,
    *,
    records: int | None = None,
    overlap: int = 3,
) -> RowPlan:
    """Static facts of every event of some subjects, padded to one shape.

    Args:
        subjects: their records.
        structure: the model.
        doses: compartment -> {lag, bioavailability, duration, rate}: names of values.
        records: pad to this many records; the largest number of any subject when not given.
        overlap: how many infusions of a steady-state train may still run at its record where their length depends on
            values; more than that gives no number (NaN) and an error of `check_values`.

    Returns:
        The plan. On the mesh route it must go through `refine` before `propagate`.

    Raises:
        SimulationError: a record that cannot be honoured, with its subject and row.
        ModelError: ``doses`` names something unknown.
    """
    names = _dose_names(structure, doses or {})
    tables = [_Table(subject, structure, names, overlap) for subject in subjects]
    if not tables:
        raise SimulationError("no subjects", where="plan_rows", cure="Give at least one subject")
    length = max(t.count for t in tables) if records is None else records
    if any(t.count > length for t in tables):
        raise SimulationError(f"a subject has more than {length} records", where="plan_rows", cure="Raise `records`")
    widest = max(len(t.events) + length - t.count for t in tables)
    for table in tables:
        table.pad(length, widest)
    events = Events(
        *(np.stack([np.array([e[i] for e in t.events]) for t in tables]) for i in range(len(Events._fields)))
    )
    many = max(len(t.steady) for t in tables)
    blank = (NO_STEADY, 0, 0, 0, 0.0, 0.0, BOLUS, 1.0, 0)
    steady = [np.array(t.steady + [blank] * (many - len(t.steady)), float).reshape(many, 9) for t in tables]
    columns = np.stack(steady)
    whole = {0, 1, 2, 3, 6, 8}
    modes = {int(m) for m in np.unique(events.mode[events.amount > 0])} | {q[6] for t in tables for q in t.steady}
    moving = bool(np.any([t.moving for t in tables]))
    plan = RowPlan(
        structure=structure,
        names=names,
        moving=moving,
        direct=events.kind.shape[1] == length,
        modes=tuple(sorted(modes)),
        patterns=tuple(sorted({q[0] for t in tables for q in t.steady})),
        events=events,
        steady=SteadyDoses(*(columns[..., i].astype(int if i in whole else float) for i in range(9))),
        clock=np.stack([t.clock for t in tables]),
        shift=np.stack([t.shift for t in tables]),
        last=np.array([t.count - 1 for t in tables]),
        event=np.stack([t.event for t in tables]),
        arrival=np.stack([t.arrival for t in tables]),
        ruling=np.zeros(events.kind.shape, int),
    )
    return plan if moving else _sorted(plan)


def _dose_names(structure: Structure, doses: Mapping[str, Mapping[str, str]]) -> tuple[tuple[str | None, ...], ...]:
    for compartment, given in doses.items():
        if compartment not in structure.compartments:
            raise ModelError(
                f"doses: `{compartment}` is not a compartment", cure=nearest_hint(compartment, structure.compartments)
            )
        for name in given:
            if name not in DOSE_VALUES:
                raise ModelError(f"doses.{compartment}: `{name}` is unknown", cure=nearest_hint(name, DOSE_VALUES))
    return tuple(tuple(doses.get(c, {}).get(v) for v in DOSE_VALUES) for c in structure.compartments)


def _sorted(plan: RowPlan) -> RowPlan:
    """The plan with events in their final order, when no time depends on values."""
    e = plan.events
    ends = np.where((e.mode == RATE) & (e.amount > 0), e.amount / np.where(e.rate > 0, e.rate, 1.0), 0.0)
    when = np.where((e.kind == END) | (e.kind == TAIL), e.clock + ends, e.clock)
    own = np.take_along_axis(plan.clock, e.record, 1)
    cancelled = (when > e.limit) | ((e.kind == TAIL) & (when <= own))
    order = np.argsort(np.where(cancelled, own, when), axis=1, kind="stable")
    back = np.argsort(order, axis=1)
    events = Events(*(np.take_along_axis(a, order, 1) for a in e))
    isrecord = events.kind == RECORD
    ruling = np.minimum(np.cumsum(isrecord, axis=1) - isrecord, plan.last[:, None])
    moved = {n: np.take_along_axis(back, getattr(plan, n), 1) for n in ("event", "arrival")}
    steady = plan.steady._replace(event=np.take_along_axis(back, plan.steady.event, 1))
    fields = {**plan.__dict__, **moved, "events": events, "ruling": ruling, "steady": steady}
    return RowPlan(**fields)


class _Table:
    """Events of one subject."""

    def __init__(
        self, subject: _SubjectLike, structure: Structure, names: tuple[tuple[str | None, ...], ...], overlap: int
    ) -> None:
        self.subject, self.structure, self.names, self.overlap = subject, structure, names, overlap
        self.count = len(subject.time)
        if self.count == 0:
            raise SimulationError("no records", where=f"subject {subject.id}", cure="Leave this subject out")
        self.events: list[tuple[Any, ...]] = []
        self.steady: list[tuple[Any, ...]] = []
        self.moving = False
        self.evid = np.asarray(subject.evid).astype(int)
        self.ss = np.asarray(subject.ss).astype(int)
        self.clock, self.shift = self._clocks()
        stops = (self.evid >= 3) | ((self.evid == 1) & ((self.ss == 1) | (self.ss == 3)))
        self.event = np.zeros(self.count, int)
        self.arrival = np.zeros(self.count, int)
        for r in range(self.count):
            later = np.flatnonzero(stops[r + 1 :])
            limit = self.clock[r + 1 + later[0]] if len(later) else self.clock[-1]
            self._record(r, float(limit))

    def _clocks(self) -> tuple[np.ndarray, np.ndarray]:
        time = np.asarray(self.subject.time, float)
        clock = np.zeros(self.count)
        for r in range(1, self.count):
            step = time[r] - time[r - 1]
            if not step >= 0 and self.evid[r] < 3:
                self._refuse(r, "TIME decreases", "Inside a subject TIME restarts only at EVID 3 or 4", "Sort the rows")
            clock[r] = clock[r - 1] + max(step, 0.0)
        return clock, clock - time

    def _refuse(self, r: int, what: str, rule: str, cure: str = "") -> None:
        row = np.asarray(self.subject.rows)[r]
        raise SimulationError(
            what, code="simulation.record", where=f"subject {self.subject.id}, row {row}", rule=rule, cure=cure
        )

    def _record(self, r: int, limit: float) -> None:
        evid = self.evid[r]
        if evid not in (0, 1, 2, 3, 4):
            self._refuse(r, f"EVID {evid}", "EVID is 0, 1, 2, 3 or 4")
        if evid == 2 and float(self.subject.cmt[r]) < 0:
            self._refuse(r, "a compartment is switched off", "Compartments are always on here", "Leave the row out")
        keep = not (evid >= 3 or (evid == 1 and self.ss[r] in (1, 3)))
        self.event[r] = self.arrival[r] = len(self.events)
        dose = self._dose(r) if evid in (1, 4) else None
        lagged = dose is not None and self.names[dose[0]][0] is not None
        constant = dose is not None and self.ss[r] != 0 and dose[1] == 0
        entering = dose is not None and not lagged and not constant
        compartment, amount, mode, rate = dose if dose is not None else (0, 0.0, BOLUS, 0.0)
        amount, mode, rate = (amount, mode, rate) if entering else (0.0, BOLUS, 0.0)
        self.events.append(
            (RECORD, r, self.clock[r], compartment, amount, rate, mode, limit, True, True, keep, evid >= 3)
        )
        if dose is None:
            return
        if self.ss[r] != 0:
            self._steady(r, dose, limit)
        if not constant:
            self._additional(r, dose, limit, lagged)

    def _dose(self, r: int) -> tuple[int, float, int, float]:
        s = self.subject
        given = float(s.cmt[r])
        place = self.structure.compartments.index(self.structure.default_dose) if not given > 0 else int(given) - 1
        if given != given // 1 or place >= len(self.structure.compartments) or given < 0:
            self._refuse(r, f"CMT {given:g}", f"Doses go to compartments 1 to {len(self.structure.compartments)}")
        amount, rate = float(s.amt[r]), float(s.rate[r])
        _, _, duration, modelled = self.names[place]
        if not (math.isfinite(amount) and amount >= 0):
            self._refuse(r, f"AMT {amount:g}", "The amount of a dose is not negative")
        if rate == 0:
            return place, amount, BOLUS, 0.0
        if rate > 0:
            if amount == 0 and self.ss[r] == 0:
                self._refuse(
                    r, "an infusion without AMT", "AMT 0 with RATE is a constant infusion at steady state (SS)"
                )
            return place, amount, RATE, rate
        if rate not in (-1.0, -2.0):
            self._refuse(r, f"RATE {rate:g}", "RATE is 0, positive, -1 (modelled rate) or -2 (modelled duration)")
        if (modelled if rate == -1 else duration) is None:
            what = "rate" if rate == -1 else "duration"
            self._refuse(
                r,
                f"RATE {rate:g} without a modelled {what}",
                f"It takes the {what} of doses into `{self.structure.compartments[place]}` from the model",
                f"Name it under doses.{self.structure.compartments[place]}.{what}",
            )
        self.moving = True
        return place, amount, MODELLED_RATE if rate == -1 else MODELLED_DURATION, 0.0

    def _additional(self, r: int, dose: tuple[int, float, int, float], limit: float, lagged: bool) -> None:
        place, amount, mode, rate = dose
        more, interval = float(self.subject.addl[r]), float(self.subject.ii[r])
        if more < 0 or more != more // 1:
            self._refuse(r, f"ADDL {more:g}", "ADDL is a whole number of further doses, not negative")
        if more > 0 and not interval > 0:
            self._refuse(r, "ADDL without II", "Further doses need the time between them")
        for k in range(int(more) + 1):
            start = self.clock[r] + k * interval
            if start > limit:
                break
            own, first = k == 0 and not lagged, k == 0
            tail = (place, amount, rate, mode, limit, own, first, True, False)
            if not own:
                if first:
                    self.arrival[r] = len(self.events)
                self.events.append((ARRIVAL, r, start, *tail))
            if mode != BOLUS:
                self.events.append((END, r, start, *tail))
        bioavailable = self.names[place][1] is not None
        self.moving = self.moving or lagged or (mode == RATE and bioavailable)

    def _steady(self, r: int, dose: tuple[int, float, int, float], limit: float) -> None:
        place, amount, mode, rate = dose
        interval = float(self.subject.ii[r])
        event = self.event[r]
        if any(TIME in f.names for f in self.structure.rates):
            self._refuse(r, "SS with rates that depend on time", "There is no steady state then", "Write the doses out")
        if self.ss[r] not in (1, 2, 3):
            self._refuse(r, f"SS {self.ss[r]}", "SS is 0, 1, 2 or 3")
        if self.ss[r] == 2 and self.structure.affine:
            self._refuse(r, "SS 2 with production at a constant rate", "It would be counted twice", "Use SS 1")
        if self.ss[r] == 2 and self.structure.route == "mesh" and not is_linear(self.structure):
            self._refuse(r, "SS 2 with nonlinear rates", "Steady states add up only when rates are linear", "Use SS 1")
        if amount == 0:
            if mode not in (RATE, MODELLED_RATE) or interval > 0:
                self._refuse(r, "SS without AMT", "AMT 0 at steady state is a constant infusion: RATE, and II 0")
            self.steady.append((CONSTANT, r, event, place, 0.0, rate, mode, 1.0, 0))
            return
        if not interval > 0:
            self._refuse(r, "SS without II", "Steady state of repeated doses needs the time between them")
        if mode == RATE and float(self.subject.addl[r]) < 0:
            self._refuse(r, "ADDL below 0", "Empirical steady state is not known here")
        lagged, bioavailable = self.names[place][0] is not None, self.names[place][1] is not None
        tails = 0
        if mode == RATE:
            tails = math.ceil(amount / rate / interval) - 1 + lagged + (self.overlap if bioavailable else 0)
        elif mode != BOLUS:
            tails = self.overlap + lagged
        self.steady.append((REPEATED, r, event, place, amount, rate, mode, interval, tails))
        for m in range(1, tails + 1):
            start = self.clock[r] - m * interval
            self.events.append((TAIL, r, start, place, amount, rate, mode, limit, True, False, True, False))

    def pad(self, records: int, events: int) -> None:
        """Repeat the last record, and add events in which nothing happens."""
        more = records - self.count
        end = float(self.clock[-1])
        blank = (NOTHING, self.count - 1, end, 0, 0.0, 0.0, BOLUS, end, True, True, True, False)
        self.events += [blank] * (events - len(self.events))
        self.clock = np.concatenate([self.clock, np.full(more, end)])
        self.shift = np.concatenate([self.shift, np.full(more, self.shift[-1])])
        self.event = np.concatenate([self.event, np.full(more, self.event[-1])])
        self.arrival = np.concatenate([self.arrival, np.full(more, self.arrival[-1])])
