"""solve(): a system under a schedule, for a batch of patients, audited."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, SolverError
from ipex_pd.numerics import program
from ipex_pd.numerics.integrate import Layout, potencies
from ipex_pd.numerics.mesh import Grading, build_mesh
from ipex_pd.numerics.parallel import chunks, padded_size, run_chunks
from ipex_pd.numerics.program import Raw
from ipex_pd.numerics.rates import STIFF_RATE, fastest_rate
from ipex_pd.numerics.schedule import Schedule, System, check_schedule
from ipex_pd.numerics.trajectory import SolverOptions, Trajectory

Array = Any
Values = dict[str, Array]

GENERAL_TOLERANCES = {"default": 1e-8, "tight": 1e-10}
_REFINEMENTS = (1, 2, 4, 8)
_LOOSER = 30.0
_FLOOR = 1e-3
_OBSERVED = 32
_SLOWEST_CLASS = 4.0
_MARGIN = 1.0 / 3.0
"""Share of the tolerance that an audit may use up: estimates fell short of the true error by up to a factor three."""


def grading_for(accuracy: str, rate: float) -> Grading:
    """Sub-step lengths for a disease whose fastest mode has a ``rate`` [1/day].

    Measured on turnover systems under twice-daily doses: two sub-steps in 12 h err by 4e-7 at 3/day and by 1e-4 at
    10/day, three by 3e-8 and 3e-6; explicit steps stay stable below length x rate of about 4. Under daily doses four
    sub-steps keep the IPEX model below 1e-5 in nine of ten children while rituximab removes B cells; three do not.
    """
    first = 0.2 if rate <= _SLOWEST_CLASS else min(0.1, 1.2 / rate)
    longest = max(min(1.0, 3.0 / rate), first * 1.01)
    return Grading(first, growth=0.3, longest=longest, refine=2 if accuracy == "tight" else 1)


def rate_class(rates: np.ndarray) -> np.ndarray:
    """Rates [1/day] rounded up to 4, 8, 16, ...: patients of one class share a grading."""
    return np.asarray(2.0 ** np.ceil(np.log2(np.maximum(rates, _SLOWEST_CLASS))))


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
    """Best values so far of some patients."""

    patients: np.ndarray
    raw: Raw
    seen: dict[str, Any]
    error: np.ndarray
    route: str
    reason: str


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
    x, lags, rate = _beginning(system, rows, wide, ages, _stated(system, state, count), options.chunk)
    _check_steady(rows, lags, system)
    return _Job(system, rows, wide, ages, x, lags, rate, times, options)


def _stated(system: System, state: Mapping[str, Array] | None, count: int) -> Values:
    for name in state or {}:
        if name not in system.model.states:
            raise SimulationError(f"`{name}` is not a state of this model", where="state")
    return {n: np.broadcast_to(np.asarray(v, float), (count,)) for n, v in (state or {}).items()}


def _beginning(
    system: System, rows: Schedule, theta: Values, ages: np.ndarray, state: Values, chunk: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """States [S, P], lags [N, P] and fastest rates [P] at day 0, in the sizes that programs are compiled for."""
    parts = []
    for patients in chunks(np.arange(len(ages)), chunk):
        size = padded_size(len(patients), chunk)
        index = np.concatenate([patients, np.full(size - len(patients), patients[-1])]).astype(int)
        own, age = {n: v[index] for n, v in theta.items()}, ages[index]
        stated = {n: v[index] for n, v in state.items()}
        x, lags = program.beginning(system, rows.orders, own, age, stated)
        found = (np.asarray(x), np.asarray(lags)[rows.order], fastest_rate(system.model, own, age, x))
        parts.append([part[..., : len(patients)] for part in found])
    x_all, lags_all, rates = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))
    return x_all, lags_all, rates


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
    for level in _REFINEMENTS[1:-1]:
        failed = _failed(settled, _MARGIN * options.accepted)
        if not len(failed):
            return settled
        again, finished = run_chunks(
            _groups(job, failed), partial(_mesh_chunk, job, level=level), threads=options.threads
        )
        settled += [a for a in again if a is not None]
        if not finished:
            return settled
    failed = _failed(settled, options.accepted)
    if len(failed) and options.route == "auto":
        rescued, _ = _general_round(job, failed, "the mesh did not reach the tolerance", None)
        best = _errors(settled)
        settled += [a for a in rescued if a.error[0] < best[int(a.patients[0])]]
    return settled


def _groups(job: _Job, patients: np.ndarray) -> list[np.ndarray]:
    """Chunks of patients that share a grading."""
    classes = rate_class(job.rate[patients])
    return [c for k in np.unique(classes) for c in chunks(patients[classes == k], job.options.chunk)]


def _errors(answers: list[_Answer]) -> dict[int, float]:
    """Last estimate on the mesh, by patient."""
    error: dict[int, float] = {}
    for answer in answers:
        if answer.route == "mesh":
            error.update(zip(answer.patients.tolist(), answer.error.tolist(), strict=True))
    return error


def _failed(answers: list[_Answer], accepted: float) -> np.ndarray:
    return np.array([p for p, e in _errors(answers).items() if not e <= accepted], int)


def _mesh_chunk(job: _Job, patients: np.ndarray, halt: threading.Event, level: int = 1) -> _Answer:
    size = padded_size(len(patients), job.options.chunk)
    part = job.part(patients, size)
    raw, layout = _march(part, level, halt)
    error = np.full(size, np.nan)
    if job.options.audit == "full":
        finer, _ = _march(part, 2 * level, halt)
        error = _difference(raw, finer)
    seen = _observe(part, layout, raw)
    why = "linear drugs" if level == 1 else f"linear drugs, sub-steps cut in {level}"
    return _Answer(patients, raw, seen, error[: len(patients)], "mesh", why)


def _march(part: _Job, level: int, halt: threading.Event) -> tuple[Raw, Layout]:
    grading = grading_for(part.options.accuracy, float(rate_class(part.rate[:1])[0]))
    grading = replace(grading, refine=level * grading.refine)
    mesh = build_mesh(part.system, part.schedule, part.lags, part.times, grading, separate=False)
    layout = program.layout_for(part.system, part.schedule, mesh)
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
    layout = program.layout_for(part.system, part.schedule, mesh)
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
        error = _difference(march(_LOOSER * method.tolerance), raw)
    return _Answer(patients, raw, _observe(part, layout, raw), error, "general", f"{why} ({method.name})")


def _difference(coarse: Raw, fine: Raw) -> np.ndarray:
    """[P] largest relative difference of states and AUC; small values count against a part of the largest in time."""
    worst = np.zeros(fine.x.shape[-1])
    for one, two in ((coarse.x, fine.x), (coarse.auc, fine.auc)):
        if two.shape[1]:
            scale = np.maximum(np.abs(two), _FLOOR * np.abs(two).max(axis=0)) + 1e-12
            worst = np.maximum(worst, (np.abs(one - two) / scale).max(axis=(0, 1)))
    return np.where(coarse.alive & fine.alive, worst, np.inf)


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


__all__ = ["SolverOptions", "Trajectory", "grading_for", "rate_class", "solve"]
