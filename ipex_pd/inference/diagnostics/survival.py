"""Times to an event: Kaplan-Meier curves of the data against those of replicates.

The time T of a replicate solves H(T) = -log U with the cumulative hazard H of a simulated subject and U uniform. H is
taken from the model at the subject's records and on a grid up to the end of follow-up, and is linear in between. A
subject without event in the data is followed as long as in the data, one with an event up to the longest follow-up.

E. L. Kaplan, P. Meier, J Am Stat Assoc 53 (1958) 457.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ipex_pd.errors import SimulationError, UsageError, nearest_hint
from ipex_pd.inference.binding import BoundProblem, predict
from ipex_pd.inference.diagnostics.dense import densified
from ipex_pd.inference.diagnostics.records import Records, records_of
from ipex_pd.inference.diagnostics.replicates import simulated_effects
from ipex_pd.records.endpoints import Event
from ipex_pd.simulation.draws import uniforms

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]

_GRID = 100
_SHOWN = 120


@dataclass(frozen=True, eq=False)
class FirstEvents:
    """First events of the S subjects that have records of an endpoint.

    Attributes:
        subject: [S] numbers of the subjects.
        time: [S] of the event, or of the last record without one.
        happened: [S].
        follow_up: [S] how long a replicate of the subject is followed.
    """

    subject: NDArray[np.int64]
    time: Numbers
    happened: Mask
    follow_up: Numbers


@dataclass(frozen=True, eq=False)
class SurvivalCheck:
    """Kaplan-Meier curves of the data and of replicates.

    Attributes:
        endpoint, stratum: names.
        level: of the band.
        replicates: how many.
        table: one row for each stratum and time: share without event `observed`, and simulated `low`, `median`, `high`;
            NaN after the last subject.
        subjects: for each stratum `subjects` and `events`, observed, and events simulated `low`, `median`, `high`.
        marks: stratum and time of subjects that left without event.
    """

    endpoint: str
    stratum: str
    level: float
    replicates: int
    table: pd.DataFrame
    subjects: pd.DataFrame
    marks: pd.DataFrame


def first_events(records: Records, endpoint: str) -> FirstEvents:
    """First events in the data.

    Raises:
        UsageError: the endpoint is not one of events, or its events are known between two times only.
    """
    own = records.of_endpoint(endpoint)
    if not isinstance(records.bound.problem.endpoints[endpoint], Event):
        raise UsageError(f"`{endpoint}` is measured, not an event", rule="Measured endpoints have a `visual_check`")
    if (own & (records.cens != 0)).any():
        raise UsageError(
            f"events of `{endpoint}` are known between two times only",
            code="diagnostics.interval-event",
            rule="Kaplan-Meier curves need times of events",
            cure="Look at the likelihood instead, or give the data times",
        )
    subjects = np.unique(records.subject[own])
    times, happened = np.zeros(len(subjects)), np.zeros(len(subjects), bool)
    for k, who in enumerate(subjects):
        rows = np.flatnonzero(own & (records.subject == who))
        events = rows[records.dv[rows] == 1]
        happened[k] = len(events) > 0
        times[k] = records.time[events[0]] if len(events) else records.time[rows].max()
    return FirstEvents(subjects, times, happened, np.where(happened, times.max(), times))


def simulated_events(
    records: Records, w: Numbers, events: FirstEvents, endpoint: str, count: int, seed: int
) -> tuple[Numbers, Mask]:
    """Times [R, S] of simulated first events or ends of follow-up, and whether there was an event.

    Args:
        records: of the data.
        w: [n] search vector.
        events: of the data (whom to follow, and for how long).
        endpoint: its name.
        count: number of replicates R.
        seed: of all draws.

    Raises:
        SimulationError: a cumulative hazard falls or is not finite.
    """
    bound = records.bound
    until = np.zeros(len(bound.subjects))
    until[events.subject] = events.follow_up
    grids = [np.linspace(0.0, end, _GRID + 1)[1:] if end > 0 else np.zeros(0) for end in until]
    dense = densified(bound, grids)
    fine = records_of(dense)
    rows = [
        np.flatnonzero(fine.of_endpoint(endpoint) & (fine.subject == who) & (fine.time <= until[who]))
        for who in events.subject
    ]
    theta = np.asarray(bound.population.layout.theta(jnp.asarray(w)))
    times, happened = np.zeros((count, len(rows))), np.zeros((count, len(rows)), bool)
    for number in range(count):
        gained = 0.5 * fine.flat(_hazards(dense, theta, simulated_effects(dense, w, number, seed)))
        drawn = -np.log(uniforms(seed, f"replicate/{number}/event/{endpoint}", events.subject))
        for k, own in enumerate(rows):
            total = np.concatenate([[0.0], np.cumsum(gained[own])])
            _require_rising(total, fine, own, number)
            when = np.concatenate([[0.0], fine.time[own]])
            happened[number, k] = total[-1] >= drawn[k]
            times[number, k] = np.interp(drawn[k], total, when) if happened[number, k] else events.follow_up[k]
    return times, happened


def _hazards(bound: BoundProblem, theta: Numbers, effects: list[Numbers]) -> list[Numbers]:
    """Twice the cumulative hazard gained at each record: -2 log likelihood of no event."""
    found = []
    for group, eta in zip(bound.groups, effects, strict=True):
        given = jnp.broadcast_to(jnp.asarray(theta), (group.shape[0], len(theta)))
        found.append(np.asarray(predict(group, given, jnp.asarray(eta)).minus2ll))
    return found


def _require_rising(total: Numbers, fine: Records, own: NDArray[np.int64], number: int) -> None:
    if not np.isfinite(total).all() or (np.diff(total) < -1e-9 * max(total[-1], 1.0)).any():
        raise SimulationError(
            f"the cumulative hazard of replicate {number} falls, or is not finite",
            code="diagnostics.hazard",
            where=f"subject {fine.ids[own[0]]}",
            rule="A cumulative hazard rises with time",
            cure="Correct `cumulative_hazard`",
        )


def kaplan_meier(time: Numbers, happened: Mask, at: Numbers) -> Numbers:
    """Share without event at the times `at`; NaN after the last subject left without event.

    Args:
        time: [S] of the event or of leaving.
        happened: [S].
        at: [K].
    """
    order = np.argsort(time, kind="stable")
    time, happened = time[order], happened[order]
    distinct = np.unique(time[happened])
    at_risk = len(time) - np.searchsorted(time, distinct, side="left")
    lost = np.array([np.sum(happened & (time == t)) for t in distinct])
    curve = np.concatenate([[1.0], np.cumprod(1.0 - lost / at_risk)]) if len(distinct) else np.ones(1)
    shares = curve[np.searchsorted(distinct, at, side="right")]
    return np.where((at > time[-1]) & (curve[-1] > 0), np.nan, shares)


def survival_check(
    records: Records,
    w: Numbers,
    *,
    endpoint: str = "",
    count: int = 300,
    seed: int = 20240,
    stratify: str = "",
    level: float = 0.95,
) -> SurvivalCheck:
    """A visual predictive check of times to a first event.

    Args:
        records: of the data.
        w: [n] search vector.
        endpoint: its name; may be left out when there is one of events only.
        count: number of replicates.
        seed: of all draws.
        stratify: a covariate, taken at the first record.
        level: of the band.

    Raises:
        UsageError: no such endpoint or stratum, or events that are known between two times only.
        SimulationError: a cumulative hazard falls or is not finite.
    """
    name = endpoint or _only_events(records)
    events = first_events(records, name)
    times, happened = simulated_events(records, w, events, name, count, seed)
    strata = _strata(records, events, stratify)
    ends = [50.0 * (1.0 - level), 50.0, 50.0 * (1.0 + level)]
    tables, counts, marks = [], [], []
    for stratum in np.unique(strata):
        own = strata == stratum
        at = np.unique(np.concatenate([np.linspace(0.0, events.follow_up[own].max(), _SHOWN), events.time[own]]))
        curves = np.array([kaplan_meier(t[own], h[own], at) for t, h in zip(times, happened, strict=True)])
        low, middle, high = _over_replicates(curves, ends)
        seen = kaplan_meier(events.time[own], events.happened[own], at)
        tables.append(
            pd.DataFrame({"stratum": stratum, "time": at, "observed": seen, "low": low, "median": middle, "high": high})
        )
        few, usual, many = np.percentile(happened[:, own].sum(1), ends)
        counts.append(
            {
                "stratum": stratum,
                "subjects": int(own.sum()),
                "events": int(events.happened[own].sum()),
                "low": few,
                "median": usual,
                "high": many,
            }
        )
        marks.append(pd.DataFrame({"stratum": stratum, "time": events.time[own & ~events.happened]}))
    return SurvivalCheck(
        name,
        stratify,
        level,
        count,
        pd.concat(tables, ignore_index=True),
        pd.DataFrame(counts),
        pd.concat(marks, ignore_index=True),
    )


def _over_replicates(curves: Numbers, ends: list[float]) -> NDArray[np.float64]:
    """[3, K] percentiles over the replicates that still follow someone; NaN where fewer than half do."""
    usable = np.isfinite(curves).mean(0) >= 0.5
    found = np.full((3, curves.shape[1]), np.nan)
    found[:, usable] = np.nanpercentile(curves[:, usable], ends, axis=0)
    return found


def _only_events(records: Records) -> str:
    names = [n for n, e in records.bound.problem.endpoints.items() if isinstance(e, Event)]
    if len(names) != 1:
        raise UsageError(f"{len(names)} event endpoints", rule="A check is of one", cure="Name it: " + ", ".join(names))
    return names[0]


def _strata(records: Records, events: FirstEvents, stratify: str) -> NDArray[np.object_]:
    if not stratify:
        return np.full(len(events.subject), "", dtype=object)
    if stratify not in records.covariates:
        raise UsageError(
            f"`{stratify}` is not something to stratify by", rule=nearest_hint(stratify, records.covariates)
        )
    first = [int(np.flatnonzero(records.subject == who)[0]) for who in events.subject]
    return np.array([f"{stratify} {value:g}" for value in records.covariates[stratify][first]], dtype=object)
