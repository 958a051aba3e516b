"""Thousands of members marched under many schedules: the timing of a transplant, policies, long horizons.

A march errs by about a thousandth and takes a fraction of the time of `solve`. Members under one schedule share its
times, so that a schedule is laid out once, whatever their number. What schedules have in common is marched once: a
branch keeps states and drug amounts on some days, and others go on from there.

```python
bridge = Branch(bridge_schedule, days=[1825.0], keep=[day - 2.0 for day in candidates])
(trunk,) = march_many(system, [bridge], theta, age=age, state=state, outputs=["survival"])
asked = [Branch(schedule_for(day), days=[1825.0], start=day - 2.0, trunk=trunk) for day in candidates]
found = march_many(system, asked, theta, age=age, outputs=["survival", "cumulative_hazard_transplant"])
found[3]["survival"]  # [days, members] under the fourth candidate
```

All branches of a call run through one program; a later call of the same shape finds it compiled. The years after the
last drug are marched several times as fast in a system without drugs: branch again where its amounts are gone.
Doses that follow trough levels, doses given as at steady state and amounts that differ between members are refused.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics import program
from ipex_pd.numerics.march import Carry, Course, beginning, dormant_in_march, march_on, observe
from ipex_pd.numerics.march_plan import Blocks, Laid, Shape, families_of, infused_orders, plan_branches, require_plain
from ipex_pd.numerics.march_steps import EPSILON
from ipex_pd.numerics.mesh import Grading
from ipex_pd.numerics.parallel import chunks, padded_size, run_chunks
from ipex_pd.numerics.reduction import Dormant
from ipex_pd.numerics.schedule import Order, Schedule, System, check_schedule
from ipex_pd.numerics.stepping import EIGHTH, Method

Array = Any
Floats = np.ndarray
Values = Mapping[str, Array]
Key = tuple[Order, int]

GRADING = Grading(first=1.0, growth=0.3, longest=2.0)
"""Lengths of the sub-steps. Measured against `solve` on 64 virtual children, five years with a bridge, a transplant
and prophylaxis: survival and cumulative hazards err by at most 1.1e-3 of their value, and by 7e-6 in the mean. Steps
of four days are as exact without a transplant (1e-9 and better), and unstable after one: members are not alive."""
_BLOCKS = 32
"""Layouts are filled up to multiples of so many blocks; the program passes over what only fills up."""
_DAYS = 16
"""Days that are read are filled up to multiples of so many, and the last results dropped."""
GONE = 1e-5
"""Amount [mg] of a drug below which a system without it may go on: assumed, a picogram in each mL of ten litres."""


@dataclass(frozen=True, eq=False)
class Branch:
    """A schedule that some members take.

    Attributes:
        schedule: times [N] and amounts [N] of all of them. Rows before ``start`` repeat what the trunk gave.
        days: [V] days at which outputs are read, from ``start`` on [day]; the branch ends at the last day of all.
        start: where it begins [day].
        trunk: what it goes on from, which kept ``start``; None on day 0.
        keep: [W] days on which other branches may go on.
        who: [B] members, ascending; None for all (of the trunk).
    """

    schedule: Schedule
    days: Sequence[float]
    start: float = 0.0
    trunk: Marched | None = None
    keep: Sequence[float] = ()
    who: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Marched:
    """Members under one schedule.

    Attributes:
        branch: what was asked.
        who: [B] members.
        days: [V] [day].
        outputs: name -> [V, B], before what happens on the day.
        alive: [B] False where numbers stopped being finite; neighbours are untouched.
        carried: what goes on from the kept days, a Carry of [W, ..., B].
        drugs: names of the drugs whose amounts are carried.
        first: [S, B] states on day 0, at which lags are taken.
        shape: of the arrays that were marched through.
    """

    branch: Branch
    who: np.ndarray
    days: Floats
    outputs: dict[str, Floats]
    alive: np.ndarray
    carried: Carry
    drugs: tuple[str, ...]
    first: Floats
    shape: Shape

    def __getitem__(self, name: str) -> Floats:
        """One output, [V, B]."""
        return self.outputs[name]


class _Task(NamedTuple):
    branch: int
    rows: np.ndarray


def march_many(
    system: System,
    branches: Sequence[Branch],
    theta: Values,
    *,
    age: Array,
    outputs: Sequence[str],
    state: Values | None = None,
    grading: Grading = GRADING,
    method: Method = EIGHTH,
    shape: Shape | None = None,
    chunk: int = 256,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> list[Marched]:
    """March members under one schedule or many.

    Args:
        system: disease, drugs, body.
        branches: schedules, and who takes them from which day; all give the same orders.
        theta: name -> [P], of all members.
        age: [P] at day 0 [day].
        outputs: names of what is read: states, outputs of the model, covariates, concentrations.
        state: states that replace those of the model on day 0, name -> [P].
        grading: lengths of the sub-steps.
        method: how one is taken.
        shape: `Marched.shape` of an earlier call with these drugs, whose program serves then where all doses fit in.
        chunk: members marched side by side.
        threads: chunks at a time.
        progress: called with (chunks done, chunks in all).

    Returns:
        One for each branch.

    Raises:
        SimulationError: a schedule that does not fit the system or its trunk, or that holds what a march cannot.
        KeyboardInterrupt: on Ctrl-C; nothing is kept.
    """
    ages = np.atleast_1d(np.asarray(age, float))
    wide = {name: np.broadcast_to(np.asarray(values, float), ages.shape) for name, values in theta.items()}
    _check(system, branches)
    starts = [_start(system, branch, wide, ages, state) for branch in branches]
    course, laid, whens = _laid_out(system, branches, starts, wide, ages, grading, shape)
    course = replace(course, method=method)
    tasks = [_Task(b, rows) for b, start in enumerate(starts) for rows in chunks(np.arange(len(start.who)), chunk)]
    work = partial(_march_chunk, course, laid, whens, tuple(outputs), starts, wide, ages, chunk)
    done, finished = run_chunks(tasks, work, threads=threads, progress=progress)
    if not finished:
        raise KeyboardInterrupt
    _check_outputs(outputs, [part[0] for part in done if part is not None])
    return [
        _gathered(
            system,
            branch,
            start,
            when,
            laid.shape,
            [p for t, p in zip(tasks, done, strict=True) if t.branch == b and p],
        )
        for b, (branch, start, when) in enumerate(zip(branches, starts, whens, strict=True))
    ]


class _Start(NamedTuple):
    """Where a branch begins: members, their states on day 0 and what they carry at the start (None on day 0)."""

    who: np.ndarray
    first: Floats
    carried: Carry | None
    x: Floats


def _check(system: System, branches: Sequence[Branch]) -> None:
    if not branches:
        raise SimulationError("no branch is asked", where="march_many")
    for branch in branches:
        schedule = branch.schedule
        check_schedule(schedule, system)
        arrays = (schedule.times, schedule.amount, schedule.duration, schedule.transplant_times)
        if any(np.ndim(v) == 2 for v in (*arrays, *schedule.transplants.values())):
            raise SimulationError(
                "times or amounts differ between members",
                where="branch",
                rule="Members of a branch share its schedule",
                cure="Make a branch of those who share it",
            )
        if schedule.orders != branches[0].schedule.orders:
            raise SimulationError("branches give different orders", where="march_many", cure="March them by themselves")
        days = [*branch.days, *branch.keep]
        if not len(branch.days) or min(days) < branch.start:
            raise SimulationError("a branch is read before its start, or never", where="branch")
        if branch.start > 0 and branch.trunk is None:
            raise SimulationError("a branch that begins later needs a trunk", where="branch")
        require_plain(system, schedule.rows(1))


def _start(system: System, branch: Branch, theta: Values, age: Floats, state: Values | None) -> _Start:
    if branch.trunk is None:
        who = np.arange(len(age)) if branch.who is None else np.asarray(branch.who, int)
        given = {n: np.broadcast_to(np.asarray(v, float), age.shape)[who] for n, v in (state or {}).items()}
        own = {n: v[who] for n, v in theta.items()}
        first = np.asarray(program.beginning(system, branch.schedule.orders, own, age[who], given)[0])
        return _Start(who, first, None, first)
    trunk = branch.trunk
    who = trunk.who if branch.who is None else np.asarray(branch.who, int)
    rows = np.searchsorted(trunk.who, who)
    if not (np.take(trunk.who, rows, mode="clip") == who).all():
        raise SimulationError("a member of a branch is not in its trunk", where="branch")
    at = np.flatnonzero(np.abs(np.asarray(trunk.branch.keep) - branch.start) < EPSILON)
    if not len(at):
        raise SimulationError(f"the trunk did not keep day {branch.start:g}", where="branch", cure="Add it to `keep`")
    _check_past(branch, trunk.branch)
    held = jax.tree.map(lambda leaf: leaf[at[0]][..., rows], trunk.carried)
    carried = _renamed(system, branch, trunk, held)
    return _Start(who, trunk.first[:, rows], carried, held.x)


def _keys(orders: Sequence[Order]) -> list[Key]:
    """Orders, and how many equal ones stand before each."""
    return [(order, orders[:k].count(order)) for k, order in enumerate(list(orders))]


def _check_past(branch: Branch, trunk: Branch) -> None:
    """Rows before the start must be what the trunk gave."""

    def given(schedule: Schedule) -> set[tuple[Key, float, float, float]]:
        keys = _keys(schedule.orders)
        columns = (schedule.order, schedule.times, schedule.amount, schedule.duration)
        return {
            (keys[k], round(float(t), 8), float(a), float(d))
            for k, t, a, d in zip(*columns, strict=True)
            if t < branch.start - EPSILON
        }

    if given(branch.schedule) - given(trunk.schedule):
        raise SimulationError(
            "a row before the start of a branch is not a row of its trunk",
            where="branch",
            rule="What happened before a branch begins is the same for it and its trunk",
            cure="Begin the branch earlier",
        )


def _renamed(system: System, branch: Branch, trunk: Marched, held: Carry) -> Carry:
    """What was carried, in the drugs and orders of this system."""
    members = held.x.shape[1]
    amounts = dict(zip(trunk.drugs, held.amounts, strict=True))
    for name in set(amounts) - {drug.name for drug in system.drugs}:
        if amounts[name].max(initial=0.0) > GONE:
            raise SimulationError(
                f"`{name}` is still in the body on day {branch.start:g}, and is not in the system",
                where="branch",
                cure="Begin the branch later, or keep the drug in the system",
            )
    places = {key: k for k, key in enumerate(_keys(trunk.branch.schedule.orders))}
    found = [places.get(key) for key in _keys(branch.schedule.orders)]
    empty = np.zeros(members)
    daily, rate = (
        np.stack([empty if k is None else table[k] for k in found]) if found else np.zeros((0, members))
        for table in (held.daily, held.rate)
    )
    own = tuple(amounts.get(d.name, np.zeros((1 + d.compartments, members))) for d in system.drugs)
    return held._replace(amounts=own, daily=daily, rate=rate)


def _laid_out(
    system: System,
    branches: Sequence[Branch],
    starts: Sequence[_Start],
    theta: Values,
    age: Floats,
    grading: Grading,
    shape: Shape | None,
) -> tuple[Course, Laid, list[Floats]]:
    """The program's static part, layouts of all branches, and the days [W] that each reads or keeps."""
    whens = [np.unique([*branch.days, *branch.keep]).astype(float) for branch in branches]
    widest = -(-max(len(when) for when in whens) // _DAYS) * _DAYS
    transplants = any(
        bool(((t := np.asarray(b.schedule.transplant_times)) > b.start - EPSILON).any() and (t < when[-1]).any())
        for b, when in zip(branches, whens, strict=True)
    )
    given, dormant, infused = [], [], set[int]()
    for branch, start in zip(branches, starts, strict=True):
        own = {name: values[start.who] for name, values in theta.items()}
        dormant.append(dormant_in_march(system, transplants, own, start.x))
        infused |= infused_orders(branch.schedule.rows(1))
        given.append((branch.schedule.rows(1), _lags(system, branch, start, own, age), branch.start))
    still = dormant[0] if len(set(dormant)) == 1 else Dormant(absent=dormant[0].absent)
    orders = branches[0].schedule.orders
    families = families_of(system, orders, infused, still, {n: v[0] for n, v in theta.items()})
    names = system.model.events["transplant"] if transplants else ()
    # days are filled up by repeating the last, so that branches have one shape
    padded = [np.append(when, np.repeat(when[-1:], widest - len(when))) for when in whens]
    laid = plan_branches(families, given, np.stack(padded), grading, names, shape)
    full = jax.tree.map(partial(_filled, extra=-laid.counts.max() % _BLOCKS), laid.blocks)
    return Course(system, orders, families, transplants, still), laid._replace(blocks=full), whens


def _lags(system: System, branch: Branch, start: _Start, theta: Values, age: Floats) -> Floats:
    """[N, 1] of the branch's rows [day]."""
    orders = branch.schedule.orders
    by_order = replace(branch.schedule, order=np.arange(len(orders)))
    found = np.asarray(program.lags_of(system, by_order, theta, age[start.who], start.first))
    if (found != found[:, :1]).any():
        raise SimulationError(
            "lags differ between members",
            where="march_many",
            rule="Members of a branch share the times at which doses arrive",
            cure="Hold lags at their typical values, or make branches of those who share them",
        )
    return found[branch.schedule.order, :1]


def _filled(leaf: np.ndarray, extra: int) -> np.ndarray:
    return np.concatenate([leaf, np.repeat(leaf[:, -1:], extra, axis=1)], axis=1)


@partial(jax.jit, static_argnums=(0, 1))
def _program(
    course: Course,
    names: tuple[str, ...],
    slots: Blocks,
    kept: Array,
    count: Array,
    when: Array,
    theta: Values,
    age: Array,
    begin: Carry | Array,
) -> tuple[dict[str, Array], Carry]:
    """Outputs [W, B] and what is carried on the days, of one chunk; ``begin``: what was carried, or states on day 0."""
    carry = begin if isinstance(begin, Carry) else beginning(course, theta, age=age, x=begin)
    left = march_on(course, slots, kept, count, theta, age=age, begin=carry)
    seen = observe(course.system, theta, age + when[:, None], left.carried.x, left.levels)
    return {name: seen[name] for name in names if name in seen}, left.carried


Part = tuple[dict[str, np.ndarray], Carry]


def _march_chunk(
    course: Course,
    laid: Laid,
    whens: Sequence[Floats],
    names: tuple[str, ...],
    starts: Sequence[_Start],
    theta: Values,
    age: Floats,
    chunk: int,
    task: _Task,
    halt: threading.Event,
) -> Part:
    if halt.is_set():
        raise KeyboardInterrupt
    b, start = task.branch, starts[task.branch]
    rows = np.append(task.rows, np.repeat(task.rows[-1:], padded_size(len(task.rows), chunk) - len(task.rows)))
    who = start.who[rows]
    begin = start.x[:, rows] if start.carried is None else jax.tree.map(lambda leaf: leaf[..., rows], start.carried)
    slots = jax.tree.map(lambda leaf: leaf[b : b + 1], laid.blocks)
    own = {name: values[who] for name, values in theta.items()}
    when = np.maximum(laid.days[b], 0.0)
    found = _program(course, names, slots, laid.kept[b], laid.counts[b], when, own, age[who], begin)
    used = len(whens[b])
    kept: Part = jax.tree.map(lambda leaf: np.asarray(leaf)[:used, ..., : len(task.rows)], found)
    return kept


def _check_outputs(asked: Sequence[str], found: Sequence[Mapping[str, Any]]) -> None:
    for name in asked:
        if found and name not in found[0]:
            raise SimulationError(f"`{name}` is not a quantity of this system", where="outputs")


def _gathered(
    system: System, branch: Branch, start: _Start, when: Floats, shape: Shape, parts: Sequence[Part]
) -> Marched:
    """One branch from its chunks: outputs on its days, what is carried on those that it keeps."""
    outputs, carried = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=-1), *parts)
    days, keep = (np.searchsorted(when, np.asarray(some, float) - EPSILON) for some in (branch.days, branch.keep))
    return Marched(
        branch=branch,
        who=start.who,
        days=np.asarray(branch.days, float),
        outputs={name: values[days] for name, values in outputs.items()},
        alive=np.isfinite(carried.x).all(axis=(0, 1)),
        carried=jax.tree.map(lambda leaf: leaf[keep.astype(int)], carried),
        drugs=tuple(drug.name for drug in system.drugs),
        first=start.first,
        shape=shape,
    )
