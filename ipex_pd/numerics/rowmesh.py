"""Nonlinear compartment models between events: Dormand-Prince steps of order 8 on sub-steps that are data.

`choose` finds the sub-steps of every slot, subject by subject, with error control; `walk` repeats them as a smooth
function of the values. Steady states are fixed points of the map over one dosing interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import DOP853

from ipex_pd.numerics import linear
from ipex_pd.numerics.linear import Train, overlapping
from ipex_pd.numerics.rowplan import CONSTANT, REPEATED, Mesh, RowPlan

Array = Any
Values = Mapping[str, Array]
Rate = Callable[[Array, Array], Array]

_STAGES = 12
_A: list[list[float]] = np.asarray(DOP853.A)[:_STAGES, :_STAGES].tolist()
_B: list[float] = np.asarray(DOP853.B).tolist()
_C: list[float] = np.asarray(DOP853.C)[:_STAGES].tolist()
_FIFTH: list[float] = np.asarray(DOP853.E5)[:_STAGES].tolist()
_THIRD: list[float] = np.asarray(DOP853.E3)[:_STAGES].tolist()
_LONGEST = 192
_FLOOR = 1e-6
_NEWTON, _SOLVED, _ACCEPTED = 60, 1e-13, 1e-9
_REHEARSAL = 6


def _combined(weights: Sequence[float], slopes: Sequence[Array]) -> Array:
    return sum(w * k for w, k in zip(weights, slopes, strict=False) if w != 0.0)


def _slopes(rate: Rate, x: Array, t: Array, h: Array) -> list[Array]:
    slopes = [rate(x, t)]
    for i in range(1, _STAGES):
        slopes.append(rate(x + h * _combined(_A[i], slopes), t + _C[i] * h))
    return slopes


def advance(rate: Rate, x: Array, t: Array, h: Array) -> Array:
    """Amounts [S, ...] a time h [...] after time t [...]."""
    return x + h * _combined(_B, _slopes(rate, x, t, h))


def _advance_with_error(rate: Rate, x: Array, t: Array, h: Array) -> tuple[Array, Array]:
    slopes = _slopes(rate, x, t, h)
    fifth, third = h * _combined(_FIFTH, slopes), h * _combined(_THIRD, slopes)
    size = jnp.sqrt(fifth**2 + 0.01 * third**2)
    return x + h * _combined(_B, slopes), jnp.where(size > 0, fifth**2 / jnp.where(size > 0, size, 1.0), 0.0)


def walk(plan: RowPlan, at: Values, start: Array, slots: Any, jump: Array, inputs: Array | None) -> Array:
    """Amounts [E, S, B] after each slot of a plan with a mesh.

    Args:
        plan: with a mesh.
        at: structural values of slots, name -> [E, B] or [1, B].
        start: [S, B].
        slots: intervals and events.
        jump: [S, E, B] amounts added at the end of slots.
        inputs: [S, E, B] infusion rates during slots; None without infusions.
    """
    mesh = plan.mesh
    assert mesh is not None
    slot, last = jnp.asarray(mesh.slot).T, jnp.asarray(mesh.last).T
    fixed, changing = _apart(at)

    def of_steps(rows: Array) -> Array:
        """Rows [E, B] or [E, S, B] of slots as those of sub-steps."""
        return jnp.take_along_axis(rows, slot if rows.ndim == 2 else slot[:, None, :], 0)

    length = of_steps(slots.length)

    def step(x: Array, now: tuple[Any, ...]) -> tuple[Array, Array]:
        t, h, values, u, ends, keep, more = now

        def rate(y: Array, when: Array) -> Array:
            slope = plan.structure.derivative(y, when, {**fixed, **values})
            return slope if u is None else slope + u

        moved = advance(rate, x, t, h)
        after = jnp.where(ends, jnp.where(keep, moved, 0.0) + more, moved)
        return after, after

    rows = (
        of_steps(slots.time) + jnp.asarray(mesh.offset).T * length,
        jnp.asarray(mesh.fraction).T * length,
        {n: of_steps(v) for n, v in changing.items()},
        None if inputs is None else of_steps(jnp.moveaxis(inputs, 1, 0)),
        last,
        of_steps(slots.keep),
        of_steps(jnp.moveaxis(jump, 1, 0)),
    )
    _, history = jax.lax.scan(jax.checkpoint(step), start, rows)
    return jnp.take_along_axis(history, jnp.asarray(mesh.end).T[:, None, :], 0)


def _apart(at: Values) -> tuple[dict[str, Array], dict[str, Array]]:
    """Values [B] that are the same in all slots, and those [E, B] of each."""
    fixed = {n: v[0] for n, v in at.items() if v.shape[0] == 1}
    return fixed, {n: v for n, v in at.items() if v.shape[0] != 1}


class _Search(NamedTuple):
    x: Array
    done: Array
    step: Array
    count: Array
    peak: Array
    fraction: Array


def choose(
    plan: RowPlan, slots: Any, at: Values, start: Array, jump: Array, inputs: Array | None, tolerance: Array
) -> tuple[Array, Array]:
    """Accepted sub-steps under error control: their number [E, B] and relative lengths [E, longest, B].

    A slot that needs more than the longest row has the number -1.
    """
    subjects = start.shape[1]
    fixed, changing = _apart(at)

    def one_slot(carry: tuple[Array, Array, Array], row: tuple[Any, ...]) -> tuple[Any, Any]:
        x, guess, peak = carry
        t, length, values, u, keep, more = row

        def rate(y: Array, when: Array) -> Array:
            slope = plan.structure.derivative(y, when, {**fixed, **values})
            return slope if u is None else slope + u

        def unfinished(s: _Search) -> Array:
            return (s.done < 1.0) & (s.count < _LONGEST) & (length > 0)

        def body(s: _Search) -> _Search:
            busy = unfinished(s)
            rest = 1.0 - s.done
            size = jnp.where(s.step >= rest * (1 - 1e-9), rest, jnp.where(s.step > 0.5 * rest, 0.5 * rest, s.step))
            moved, error = _advance_with_error(rate, s.x, t + s.done * length, jnp.where(busy, size, 0.0) * length)
            peak = jnp.maximum(s.peak, jnp.maximum(jnp.abs(moved), jnp.abs(s.x)))
            scale = jnp.maximum(jnp.abs(moved), jnp.abs(s.x)) + _FLOOR * peak
            ratio = jnp.max(error / (tolerance * jnp.where(scale > 0, scale, 1.0)), axis=0)
            ratio = jnp.where(jnp.isfinite(ratio) & jnp.all(jnp.isfinite(moved), axis=0), ratio, 1e30)
            factor = jnp.clip(0.9 * jnp.maximum(ratio, 1e-30) ** (-1 / 8), 0.1, 5.0)
            taken = busy & (ratio <= 1.0)
            place = jnp.minimum(s.count, _LONGEST - 1)
            lanes = jnp.arange(subjects)
            kept = jnp.where(taken, size, s.fraction[place, lanes])
            tiny = busy & (size < 1e-12)
            return _Search(
                jnp.where(taken, moved, s.x),
                jnp.where(taken, jnp.where(size >= rest, 1.0, s.done + size), s.done),
                jnp.where(busy, size * factor, s.step),
                jnp.where(tiny, _LONGEST, s.count + taken),
                jnp.where(taken, peak, s.peak),
                s.fraction.at[place, lanes].set(kept),
            )

        relative = jnp.clip(guess / jnp.where(length > 0, length, 1.0), 1e-4, 1.0)
        blank = jnp.zeros((_LONGEST, subjects))
        first = _Search(x, jnp.zeros(subjects), relative, jnp.zeros(subjects, int), peak, blank)
        end = jax.lax.while_loop(lambda s: jnp.any(unfinished(s)), body, first)
        lost = (length > 0) & (end.done < 1.0)
        after = jnp.where(keep, end.x, 0.0) + more
        further = jnp.where(length > 0, end.step * length, guess)
        peak = jnp.maximum(end.peak, jnp.abs(after))
        return (after, further, peak), (jnp.where(lost, -1, end.count), end.fraction)

    rows = (
        slots.time,
        slots.length,
        changing,
        None if inputs is None else jnp.moveaxis(inputs, 1, 0),
        slots.keep,
        jnp.moveaxis(jump, 1, 0),
    )
    guess = jnp.full(subjects, jnp.inf)
    _, (counts, fractions) = jax.lax.scan(one_slot, (start, guess, jnp.abs(start)), rows)
    return counts, fractions


def assemble(counts: np.ndarray, fractions: np.ndarray, period: np.ndarray) -> Mesh:
    """The mesh of chosen sub-steps; every slot has at least one, of length 0 where nothing is to be advanced.

    Args:
        counts: [E, B].
        fractions: [E, longest, B].
        period: [B, N].
    """
    many = np.maximum(counts, 1)
    slots, subjects = counts.shape
    rows = _rounded(int(many.sum(0).max()))
    fraction, slot = np.zeros((subjects, rows)), np.full((subjects, rows), slots - 1)
    end = np.cumsum(many, axis=0).T - 1
    last = np.zeros((subjects, rows), bool)
    np.put_along_axis(last, end, True, axis=1)
    for b in range(subjects):
        own = int(end[b, -1]) + 1
        fraction[b, :own] = np.concatenate([fractions[e, : many[e, b], b] for e in range(slots)])
        slot[b, :own] = np.repeat(np.arange(slots), many[:, b])
    return _mesh(fraction, slot, last, end, period)


def halved(mesh: Mesh) -> Mesh:
    """The mesh with every sub-step cut in two."""
    fraction, slot, last = (np.repeat(np.asarray(a), 2, axis=1) for a in (mesh.fraction, mesh.slot, mesh.last))
    last[:, ::2] = False
    period = np.repeat(0.5 * np.asarray(mesh.period), 2, axis=1)
    return _mesh(0.5 * fraction, slot, last, 2 * np.asarray(mesh.end) + 1, period)


def _mesh(fraction: np.ndarray, slot: np.ndarray, last: np.ndarray, end: np.ndarray, period: np.ndarray) -> Mesh:
    before = np.cumsum(fraction, axis=1) - fraction
    first = np.concatenate([np.zeros((len(end), 1), int), end[:, :-1] + 1], axis=1)
    offset = before - np.take_along_axis(np.take_along_axis(before, first, 1), slot, 1)
    return Mesh(fraction=fraction, offset=offset, slot=slot, last=last, end=end, period=period)


def _rounded(count: int) -> int:
    """The next of few sizes, so that few programs are compiled."""
    unit = max(8, 1 << max(0, count.bit_length() - 3))
    return -(-count // unit) * unit


def graded(count: int) -> np.ndarray:
    """Sub-steps [count] of a dosing interval, finer where it begins."""
    edges = (np.arange(count + 1) / count) ** 2
    return np.diff(edges)


class _Given(NamedTuple):
    """What the map over a dosing interval depends on."""

    own: Values
    train: Train


def _through(plan: RowPlan, given: _Given, before: Array, time: Array) -> Array:
    """Amounts [S, B, Q] a time [B, Q] after a dose, from those before it."""
    assert plan.mesh is not None
    whole, rest = overlapping(given.train)
    first = jnp.minimum(time, rest)

    def step(y: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        fraction, early = now
        length = fraction[:, None] * jnp.where(early, first, time - first)
        running = whole + jnp.where(early, 1.0, 0.0)

        def rate(x: Array, t: Array) -> Array:
            return plan.structure.derivative(x, t, given.own) + running * given.train.rate

        return advance(rate, y, jnp.zeros_like(time), length), None

    fractions, early = jnp.asarray(plan.mesh.period).T, np.zeros(plan.mesh.period.shape[1], bool)
    if plan.infusions:
        early = np.concatenate([~early, early])
        fractions = jnp.concatenate([fractions, fractions])
    return jax.lax.scan(jax.checkpoint(step), before + given.train.bolus, (fractions, jnp.asarray(early)))[0]


def rehearse(plan: RowPlan, own: Values, train: Train) -> Array:
    """Amounts [S, B, Q] after some dosing intervals, to judge the sub-steps of an interval."""
    given = _Given(own, train)

    def again(y: Array, _: None) -> tuple[Array, None]:
        return jnp.where(train.repeated, _through(plan, given, y, train.interval), 0.0), None

    start = jnp.zeros((len(plan.structure.compartments), *train.interval.shape))
    return jax.lax.scan(again, start, None, length=_REHEARSAL)[0]


def steady(plan: RowPlan, own: Values, train: Train) -> Array:
    """Amounts [S, B, Q] of endless trains of doses; NaN where none was found.

    Args:
        plan: with a mesh.
        own: structural values of the dose records, name -> [B, Q].
        train: the doses.
    """
    given = _Given(own, train)
    zero = jnp.zeros_like(train.interval)
    amounts = jnp.zeros((len(plan.structure.compartments), *zero.shape))

    def period(y: Array, at: _Given) -> Array:
        return _through(plan, at, y, at.train.interval) - y

    def balance(y: Array, at: _Given) -> Array:
        return plan.structure.derivative(y, zero, at.own) + at.train.rate

    if REPEATED in plan.patterns:
        before = _root(period, given, amounts, train.repeated, repeats=3)
        amounts = jnp.where(train.repeated, _through(plan, given, before, train.phase), amounts)
    if CONSTANT in plan.patterns:
        level = _root(balance, given, jnp.zeros_like(amounts), train.constant, repeats=0)
        amounts = jnp.where(train.constant, level, amounts)
    return amounts


class _Iterate(NamedTuple):
    y: Array
    matrix: Array
    off: Array
    count: Array


def _root(
    residual: Callable[[Array, _Given], Array], given: _Given, guess: Array, wanted: Array, *, repeats: int
) -> Array:
    """y [S, ...] with residual(y, given) = 0; 0 where not ``wanted``, NaN where none is found.

    Newton's method after some plain repetitions y + residual(y). Two last steps with the Jacobian held are what
    derivatives go through: they make the first and second ones exact.
    """
    size = guess.shape[0]
    units = jnp.eye(size).reshape(size, size, *([1] * (guess.ndim - 1)))
    held: _Given = jax.lax.stop_gradient(given)

    def slope(y: Array, unit: Array) -> Any:
        return jax.jvp(lambda x: residual(x, held), (y,), (jnp.broadcast_to(unit, y.shape),))

    def newton(now: _Iterate) -> _Iterate:
        wrong, columns = jax.vmap(slope, (None, 0), (None, 0))(now.y, units)
        wrong = jnp.where(wanted, wrong, 0.0)
        matrix = jnp.where(wanted, jnp.moveaxis(columns, 0, 1), units)
        moved = now.y - linear.solve(jnp.where(now.count < repeats, -units, matrix), wrong)
        moved = jnp.where((now.y > 0) & (moved < 0.1 * now.y), 0.1 * now.y, moved)
        off = jnp.max(jnp.abs(wrong), axis=0) / (jnp.max(jnp.abs(now.y), axis=0) + 1e-300)
        return _Iterate(jnp.where(off > _SOLVED, moved, now.y), matrix, off, now.count + 1)

    def going(now: _Iterate) -> Array:
        return jnp.any(now.off > _SOLVED) & (now.count < _NEWTON)

    matrix = jnp.broadcast_to(units, (size, *guess.shape))
    start = _Iterate(jax.lax.stop_gradient(guess), matrix, jnp.full(wanted.shape, jnp.inf), jnp.zeros((), int))
    found: _Iterate = jax.lax.stop_gradient(jax.lax.while_loop(going, newton, start))

    def polish(y: Array, _: None) -> tuple[Array, None]:
        return y - linear.solve(found.matrix, jnp.where(wanted, residual(y, given), 0.0)), None

    answer, _ = jax.lax.scan(polish, found.y, None, length=2)
    return jnp.where(found.off <= _ACCEPTED, answer, jnp.nan)
