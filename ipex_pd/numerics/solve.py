"""solve(): a system under a schedule, for a batch of patients, audited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, SolverError
from ipex_pd.numerics import program
from ipex_pd.numerics.integrate import Layout, potencies
from ipex_pd.numerics.levels import (
    FIRST_LEVEL,
    LAST_LEVEL,
    MARGIN,
    difference,
    grading_for,
    rate_class,
)
from ipex_pd.numerics.mesh import build_mesh
from ipex_pd.numerics.parallel import chunks, padded_size, run_chunks
from ipex_pd.numerics.program import Raw
from ipex_pd.numerics.rates import STIFF_RATE, fastest_rate
from ipex_pd.numerics.reduction import Dormant, absent_targets, dormant_states
from ipex_pd.numerics.schedule import Schedule, System, check_schedule
from ipex_pd.numerics.trajectory import SolverOptions, Trajectory

Array = Any
Values = dict[str, Array]

GENERAL_TOLERANCES = {"default": 1e-8, "tight": 1e-10}
_LOOSER = 30.0
_OBSERVED = 32


@dataclass(frozen=True, eq=False)
class _Job:
    """Everything the chunks share."""

    system: System
    schedule: Schedule
    theta: Values
    age: np.ndarray
    x: np.ndarray
    lags: np.ndarray
    rate: np.ndarray
    times: np.ndarray
    options: SolverOptions
    dormant: Dormant
    observe: bool = True

    def part(self, patients: np.ndarray, size: int) -> _Job:
        """Some patients, the last one repeated up to ``size``."""
        index = np.concatenate([patients, np.full(size - len(patients), patients[-1])]).astype(int)
        return replace(
            self,
            schedule=self.schedule.select(index),
            theta={n: v[index] for n, v in self.theta.items()},
            age=self.age[index],
            x=self.x[:, index],
            lags=self.lags[:, index],
            rate=self.rate[index],
        )


@dataclass(eq=False)
class _Answer:
    """Best values so far of some patients; ``ahead`` is the finer solution that told the error."""

    patients: np.ndarray
    raw: Raw
    seen: dict[str, Any]
    error: np.ndarray
    route: str
    reason: str
    ahead: Raw | None = None


def solve(
    system: System,
    schedule: Schedule,
    theta: Mapping[str, Array],
    *,
    age: Array,
    output_times: Array,
    state: Mapping[str, Array] | None = None,
    options: SolverOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
    observe: bool = True,
) -> Trajectory:
    """Solve a system for a batch of patients; each patient's numbers are its own, whatever the batch.

    Args:
        system: disease, drugs, body.
        schedule: what is given and when.
        theta: name -> number or [P].
        age: [P] age at day 0 [day].
        output_times: [T] [day], not before day 0.
        state: values at day 0 of some states, instead of the model's initial values.
        options: accuracy, audit, route.
        progress: called with (patients done, patients in all).
        observe: compute outputs, effects, covariates and reported concentrations, beside states; without, they are
            left empty.

    Raises:
        SimulationError: what is given does not fit together.
        SolverError: the forced route cannot do what is asked.
    """
    options = options or SolverOptions()
    job = replace(_prepare(system, schedule, theta, age, output_times, state, options), observe=observe)
    everyone = np.arange(len(job.age))
    reason = _general_reason(job)
    if reason:
        answers, _ = _general_round(job, everyone, reason, progress)
    else:
        answers = _mesh_rounds(job, everyone, _by_patients(progress, len(everyone)))
    return _assemble(job, answers)


def _prepare(
    system: System,
    schedule: Schedule,
    theta: Mapping[str, Array],
    age: Array,
    output_times: Array,
    state: Mapping[str, Array] | None,
    options: SolverOptions,
) -> _Job:
    ages = np.atleast_1d(np.asarray(age, float))
    count = len(ages)
    times = np.atleast_1d(np.asarray(output_times, float))
    if times.size == 0 or times.min() < 0:
        raise SimulationError("output times are missing or negative", rule="Day 0 is the start of the simulation")
    check_schedule(schedule, system)
    wide = {n: np.broadcast_to(np.asarray(v, float), (count,)) for n, v in theta.items()}
    system.model.require(wide)
    rows = schedule.rows(count)
    rows = replace(
        rows,
        times=np.asarray(rows.times),
        amount=np.asarray(rows.amount),
        duration=np.asarray(rows.duration),
        transplant_times=np.asarray(rows.transplant_times),
        transplants={n: np.asarray(v) for n, v in rows.transplants.items()},
    )
    x, lags = _beginning(system, rows, wide, ages, _stated(system, state, count), options.chunk)
    dormant = Dormant(absent=unaffected(system, wide))
    if not len(rows.transplant_times):
        dormant = dormant_states(system.model, dormant.absent, wide, x)
    rate = _rates(system, dormant, wide, ages, x, options.chunk)
    _check_steady(rows, lags, system)
    return _Job(system, rows, wide, ages, x, lags, rate, times, options, dormant)


def unaffected(system: System, theta: Mapping[str, Array]) -> tuple[str, ...]:
    """Targets of the model on which no drug of the system acts."""
    acting = potencies(system, theta, [np.zeros(1)] * len(system.drugs))
    return absent_targets(system.model, tuple(acting))


def _stated(system: System, state: Mapping[str, Array] | None, count: int) -> Values:
    for name in state or {}:
        if name not in system.model.states:
            raise SimulationError(f"`{name}` is not a state of this model", where="state")
    return {n: np.broadcast_to(np.asarray(v, float), (count,)) for n, v in (state or {}).items()}


def _beginning(
    system: System, rows: Schedule, theta: Values, ages: np.ndarray, state: Values, chunk: int
) -> tuple[np.ndarray, np.ndarray]:
    """States [S, P] and lags [N, P] at day 0."""
    parts = []
    for index, kept in _batches(len(ages), chunk):
        stated = {n: v[index] for n, v in state.items()}
        found = program.beginning(system, rows.orders, {n: v[index] for n, v in theta.items()}, ages[index], stated)
        parts.append([np.asarray(part)[:, :kept] for part in found])
    x, lags = (np.concatenate(column, axis=1) for column in zip(*parts, strict=True))
    return x, lags[rows.order]


def _rates(system: System, dormant: Dormant, theta: Values, ages: np.ndarray, x: np.ndarray, chunk: int) -> np.ndarray:
    """[P] fastest rates at day 0."""
    parts = [
        fastest_rate(system.model, dormant, {n: v[i] for n, v in theta.items()}, ages[i], x[:, i])[:kept]
        for i, kept in _batches(len(ages), chunk)
    ]
    return np.concatenate(parts)


def _batches(count: int, chunk: int) -> list[tuple[np.ndarray, int]]:
    """(patients, how many of them count) in the sizes that programs are compiled for."""
    found = []
    for patients in chunks(np.arange(count), chunk):
        extra = padded_size(len(patients), chunk) - len(patients)
        found.append((np.concatenate([patients, np.full(extra, patients[-1])]).astype(int), len(patients)))
    return found


def _check_steady(rows: Schedule, lags: np.ndarray, system: System) -> None:
    steady = rows.steady_state > 0
    if (lags + rows.duration > rows.steady_state[:, None])[steady].any():
        raise SimulationError(
            "a dose at steady state has a lag and duration longer than its interval",
            where="schedule",
            rule="Lag plus infusion length stay within the dosing interval",
        )
    nonlinear = {d.name for d in system.drugs if d.nonlinear is not None}
    given = {rows.orders[k].drug for k in rows.order[steady]}
    if nonlinear & given:
        raise SimulationError(
            f"`{min(nonlinear & given)}` has nonlinear elimination and is given at steady state",
            where="schedule",
            rule="Steady state is a closed form of linear kinetics",
            cure="Start earlier with ordinary doses",
        )


def _by_patients(progress: Callable[[int, int], None] | None, count: int) -> Callable[[int, int], None] | None:
    """A progress of chunks told in patients."""
    if progress is None:
        return None
    return lambda done, total: progress(round(count * done / total), count)


def _general_reason(job: _Job) -> str:
    nonlinear = [d.name for d in job.system.drugs if d.nonlinear is not None]
    if nonlinear and job.options.route == "mesh":
        raise SolverError(
            f"`{nonlinear[0]}` has nonlinear elimination",
            where="route `mesh`",
            rule="The mesh holds drugs in closed form",
            cure="Use route `auto` or `general`",
        )
    if nonlinear:
        return "nonlinear elimination of " + ", ".join(nonlinear)
    return "forced" if job.options.route == "general" else ""


def _mesh_rounds(job: _Job, everyone: np.ndarray, progress: Callable[[int, int], None] | None) -> list[_Answer]:
    options = job.options
    stiffest = everyone[job.rate > STIFF_RATE] if options.route == "auto" else everyone[:0]
    answers, finished = run_chunks(
        _groups(job, np.setdiff1d(everyone, stiffest)),
        partial(_mesh_chunk, job),
        threads=options.threads,
        progress=progress,
    )
    settled = [a for a in answers if a is not None]
    if finished and len(stiffest):
        added, finished = _general_round(job, stiffest, "stiff disease", None)
        settled += added
    if options.audit == "off" or not finished:
        return settled
    for level in range(FIRST_LEVEL[options.accuracy] + 1, LAST_LEVEL):
        bound = MARGIN * options.accepted
        failed = [p for p, (a, i) in _last(settled).items() if not a.error[i] <= bound]
        if not failed:
            return settled
        again, finished = run_chunks(
            _groups(job, np.array(failed)), partial(_finer_chunk, job, level, _last(settled)), threads=options.threads
        )
        settled += [a for a in again if a is not None]
        if not finished:
            return settled
    best = {p: float(a.error[i]) for p, (a, i) in _last(settled).items()}
    hopeless = np.array([p for p, e in best.items() if not e <= options.accepted], int)
    if len(hopeless) and options.route == "auto":
        rescued, _ = _general_round(job, hopeless, "the mesh did not reach the tolerance", None)
        settled += [a for a in rescued if a.error[0] < best[int(a.patients[0])]]
    return settled


def _groups(job: _Job, patients: np.ndarray) -> list[np.ndarray]:
    """Chunks of patients that share a grading."""
    classes = rate_class(job.rate[patients])
    return [c for k in np.unique(classes) for c in chunks(patients[classes == k], job.options.chunk)]


Place = tuple[_Answer, int]


def _last(answers: list[_Answer]) -> dict[int, Place]:
    """Where the last mesh solution of each patient stands."""
    return {int(p): (a, i) for a in answers if a.route == "mesh" for i, p in enumerate(a.patients)}


def _mesh_chunk(job: _Job, patients: np.ndarray, halt: threading.Event) -> _Answer:
    """The first level, and with an audit the next one beside it, which tells the error."""
    part = job.part(patients, padded_size(len(patients), job.options.chunk))
    level = FIRST_LEVEL[job.options.accuracy]
    raw, layout = _march(part, level, halt)
    ahead = _march(part, level + 1, halt)[0] if job.options.audit == "full" else None
    return _answer(part, patients, level, raw, ahead, layout)


def _finer_chunk(
    job: _Job, level: int, known: Mapping[int, Place], patients: np.ndarray, halt: threading.Event
) -> _Answer:
    """The level that told the error of the last one, known already, and the next one beside it."""
    size = padded_size(len(patients), job.options.chunk)
    part = job.part(patients, size)
    ahead, layout = _march(part, level + 1, halt)
    places = [known[int(p)] for p in patients]
    return _answer(part, patients, level, _gathered(places + places[-1:] * (size - len(patients))), ahead, layout)


def _gathered(places: list[Place]) -> Raw:
    """The finer solutions of single patients side by side."""
    columns: list[tuple[Raw, int]] = [(a.ahead, i) for a, i in places if a.ahead is not None]
    names = [f.name for f in fields(Raw) if f.name != "shared"]
    rows = {n: np.stack([np.asarray(getattr(raw, n))[..., i] for raw, i in columns], axis=-1) for n in names}
    return Raw(**rows, shared=columns[0][0].shared)


def _answer(part: _Job, patients: np.ndarray, level: int, raw: Raw, ahead: Raw | None, layout: Layout) -> _Answer:
    cut = level - FIRST_LEVEL[part.options.accuracy]
    why = "linear drugs" if cut == 0 else f"linear drugs, sub-steps cut in {2**cut}"
    error = np.full(len(patients), np.nan) if ahead is None else _difference(part, raw, ahead)[: len(patients)]
    return _Answer(patients, raw, _observe(part, layout, raw), error, "mesh", why, ahead)


def _difference(part: _Job, coarse: Raw, fine: Raw) -> np.ndarray:
    return difference(coarse, fine, part.system.model.interval_scaled)


def _march(part: _Job, level: int, halt: threading.Event) -> tuple[Raw, Layout]:
    grading = grading_for(level, float(rate_class(part.rate[:1])[0]))
    mesh = build_mesh(part.system, part.schedule, part.lags, part.times, grading, separate=False)
    layout = program.layout_for(part.system, part.schedule, mesh, part.dormant)
    return program.march(
        layout, part.schedule, mesh, part.theta, part.age, jnp.asarray(part.x), part.lags, halt=halt
    ), layout


def _general_round(
    job: _Job, patients: np.ndarray, why: str, progress: Callable[[int, int], None] | None
) -> tuple[list[_Answer], bool]:
    work = partial(_general_one, job, why)
    answers, finished = run_chunks(
        [np.array([p]) for p in patients], work, threads=job.options.threads, progress=progress
    )
    return [a for a in answers if a is not None], finished


def _general_one(job: _Job, why: str, patients: np.ndarray, halt: threading.Event) -> _Answer:
    from ipex_pd.numerics import stiff  # loads diffrax, which most runs do not need

    part = job.part(patients, 1)
    mesh = build_mesh(part.system, part.schedule, part.lags, part.times, stiff.WHOLE, separate=False)
    layout = program.layout_for(part.system, part.schedule, mesh, part.dormant)
    method = stiff.Method(float(part.rate[0]) > STIFF_RATE, GENERAL_TOLERANCES[job.options.accuracy])

    def march(tolerance: float) -> Raw:
        return program.march(
            layout,
            part.schedule,
            mesh,
            part.theta,
            part.age,
            jnp.asarray(part.x),
            part.lags,
            run=stiff.runner(replace(method, tolerance=tolerance)),
            halt=halt,
        )

    raw = march(method.tolerance)
    error = np.full(1, np.nan)
    if job.options.audit == "full":
        loose = march(_LOOSER * method.tolerance)
        error = _difference(part, loose, raw)
    return _Answer(patients, raw, _observe(part, layout, raw), error, "general", f"{why} ({method.name})")


@partial(jax.jit, static_argnums=0)
def _observe_block(system: System, theta: Values, ages: Array, x: Array, levels: Array) -> dict[str, Any]:
    def one(age: Array, state: Array, level: Array) -> dict[str, Any]:
        covariates = system.body(age, dict(zip(system.model.states, state, strict=True)), theta)
        wide = {n: jnp.broadcast_to(jnp.asarray(v, float), age.shape) for n, v in covariates.items()}
        reported: Values = {}
        for i, drug in enumerate(system.drugs):
            reported.update(drug.concentrations(theta, wide, level[i]))
        affected = system.model.affected(potencies(system, theta, list(level)), theta)
        rows = [jnp.broadcast_to(jnp.asarray(v, float), age.shape) for v in affected]
        effects = jnp.stack(rows) if rows else jnp.zeros((0, *age.shape))
        observed = system.model.observe(age, state, rows, theta, wide)
        outputs = {n: jnp.broadcast_to(jnp.asarray(v, float), age.shape) for n, v in observed.items()}
        return {"covariates": wide, "concentrations": reported, "effects": effects, "outputs": outputs}

    seen: dict[str, Any] = jax.vmap(one)(ages, x, levels)
    return seen


def _observe(part: _Job, layout: Layout, raw: Raw) -> dict[str, Any]:
    """Covariates, reported concentrations and effects at the output times."""
    rows = _rows_of(part, raw, part.times)
    count = len(rows)
    if not part.observe:
        return {"effects": np.empty((count, 0, len(part.age))), "covariates": {}, "concentrations": {}, "outputs": {}}
    rows = np.concatenate([rows, np.repeat(rows[-1:], -count % _OBSERVED)])
    when = np.concatenate([part.times, np.repeat(part.times[-1:], -count % _OBSERVED)])
    pieces = []
    for first in range(0, len(rows), _OBSERVED):
        some = rows[first : first + _OBSERVED]
        ages = part.age + when[first : first + _OBSERVED, None]
        pieces.append(
            jax.tree.map(np.asarray, _observe_block(layout.system, part.theta, ages, raw.x[some], raw.central[some]))
        )
    return dict(jax.tree.map(lambda *a: np.concatenate(a)[:count], *pieces))


def _rows_of(part: _Job, raw: Raw, times: np.ndarray) -> np.ndarray:
    return np.searchsorted(raw.shared, np.asarray(times) - 1e-9)


def _assemble(job: _Job, answers: list[_Answer]) -> Trajectory:
    count, t = len(job.age), len(job.times)
    n, k = len(job.schedule.order), len(job.schedule.sample_times)
    system = job.system

    def blank(*shape: int) -> np.ndarray:
        return np.full((*shape, count), np.nan)

    states, effects = blank(t, len(system.model.states)), blank(t, len(system.model.effects) * job.observe)
    auc = {d.name: blank(t) for d in system.drugs}
    doses, multipliers, troughs, error = blank(n), blank(k), blank(k), blank()
    alive, done = np.ones(count, bool), np.zeros(count, bool)
    route, reason = np.full(count, "", dtype="<U8"), [""] * count
    named: dict[str, dict[str, np.ndarray]] = {"concentrations": {}, "covariates": {}, "outputs": {}}
    for answer in answers:
        who, raw = answer.patients, answer.raw
        own = slice(0, len(who))
        rows = _rows_of(job, raw, job.times)
        states[:, :, who], effects[:, :, who] = raw.x[rows][:, :, own], answer.seen["effects"][:, :, own]
        for i, drug in enumerate(system.drugs):
            auc[drug.name][:, who] = raw.auc[rows, i][:, own]
        for group, table in named.items():
            for name, values in answer.seen[group].items():
                table.setdefault(name, blank(t))[:, who] = values[:, own]
        doses[:, who], error[who] = raw.given[:, own], answer.error
        if k:
            at = np.minimum(_rows_of(job, raw, job.schedule.sample_times), len(raw.shared) - 1)
            within = (job.schedule.sample_times <= raw.shared[-1] + 1e-9)[:, None]
            multipliers[:, who] = np.where(within, raw.multiplier[at, job.schedule.sample_titration][:, own], np.nan)
            troughs[:, who] = np.where(within, raw.trough[at, job.schedule.sample_titration][:, own], np.nan)
        alive[who], done[who], route[who] = raw.alive[own], True, answer.route
        for p in who:
            reason[p] = answer.reason
    return Trajectory(
        job.times,
        states,
        named["concentrations"],
        auc,
        effects,
        named["covariates"],
        named["outputs"],
        doses,
        multipliers,
        troughs,
        error,
        route,
        tuple(reason),
        alive,
        done,
    )


__all__ = ["SolverOptions", "Trajectory", "solve", "unaffected"]
