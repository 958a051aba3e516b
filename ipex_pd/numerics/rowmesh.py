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
_A, _B, _C = np.asarray(DOP853.A)[:_STAGES, :_STAGES], np.asarray(DOP853.B), np.asarray(DOP853.C)[:_STAGES]
_FIFTH, _THIRD = np.asarray(DOP853.E5)[:_STAGES], np.asarray(DOP853.E3)[:_STAGES]
_LONGEST = 192
_FLOOR = 1e-6
_NEWTON, _SOLVED, _ACCEPTED = 60, 1e-13, 1e-9


def _combined(weights: Sequence[float], slopes: Sequence[Array]) -> Array:
    return sum(float(w) * k for w, k in zip(weights, slopes, strict=False) if w != 0.0)


def _slopes(rate: Rate, x: Array, t: Array, h: Array) -> list[Array]:
    slopes = [rate(x, t)]
    for i in range(1, _STAGES):
        slopes.append(rate(x + h * _combined(_A[i, :i], slopes), t + _C[i] * h))
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
        at: structural values of slots, name -> [E, B].
        start: [S, B].
        slots: intervals and events.
        jump: [S, E, B] amounts added at the end of slots.
        inputs: [S, E, B] infusion rates during slots; None without infusions.
    """
    mesh = plan.mesh
    assert mesh is not None
    slot = jnp.asarray(mesh.slot)
    length, time = slots.length[slot], slots.time[slot]
    given = {n: v[slot] for n, v in at.items()}
    entering = None if inputs is None else jnp.moveaxis(inputs, 1, 0)[slot]
    added = jnp.moveaxis(jump, 1, 0)[slot]

    @jax.checkpoint
    def step(x: Array, now: tuple[Any, ...]) -> tuple[Array, Array]:
        t, h, values, u, last, keep, more = now

        def rate(y: Array, when: Array) -> Array:
            slope = plan.structure.derivative(y, when, values)
            return slope if u is None else slope + u

        moved = advance(rate, x, t, h)
        after = jnp.where(last, jnp.where(keep, moved, 0.0) + more, moved)
        return after, after

    rows = (
        time + mesh.offset * length,
        mesh.fraction * length,
        given,
        entering,
        jnp.asarray(mesh.last),
        slots.keep[slot],
        added,
    )
    _, history = jax.lax.scan(step, start, rows)
    return history[jnp.asarray(mesh.end)]


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

    def one_slot(carry: tuple[Array, Array, Array], row: tuple[Any, ...]) -> tuple[Any, Any]:
        x, guess, peak = carry
        t, length, values, u, keep, more = row

        def rate(y: Array, when: Array) -> Array:
            slope = plan.structure.derivative(y, when, values)
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

        relative = jnp.where(length > 0, jnp.minimum(guess / jnp.where(length > 0, length, 1.0), 1.0), 1.0)
        blank = jnp.zeros((_LONGEST, subjects))
        first = _Search(x, jnp.zeros(subjects), relative, jnp.zeros(subjects, int), peak, blank)
        end = jax.lax.while_loop(lambda s: jnp.any(unfinished(s)), body, first)
        lost = (length > 0) & (end.done < 1.0)
        after = jnp.where(keep, end.x, 0.0) + more
        further = jnp.where(length > 0, jnp.maximum(end.step * length, 1e-6 * length), guess)
        peak = jnp.maximum(end.peak, jnp.abs(after))
        return (after, further, peak), (jnp.where(lost, -1, end.count), end.fraction)

    rows = (
        slots.time,
        slots.length,
        dict(at),
        None if inputs is None else jnp.moveaxis(inputs, 1, 0),
        slots.keep,
        jnp.moveaxis(jump, 1, 0),
    )
    guess = jnp.full(subjects, jnp.inf)
    _, found = jax.lax.scan(one_slot, (start, guess, jnp.abs(start)), rows)
    return found


def assemble(counts: np.ndarray, fractions: np.ndarray, period: np.ndarray) -> Mesh:
    """The mesh of chosen sub-steps; shared rows, each subject's own lengths (0 where it needs fewer).

    Args:
        counts: [E, B].
        fractions: [E, longest, B].
        period: [N, B].
    """
    return _joined([fractions[e, : max(1, int(counts[e].max()))] for e in range(counts.shape[0])], period)


def halved(mesh: Mesh) -> Mesh:
    """The mesh with every sub-step cut in two."""
    ends = np.asarray(mesh.end) + 1
    fraction = np.asarray(mesh.fraction)
    blocks = [fraction[i:j] for i, j in zip([0, *ends[:-1]], ends, strict=True)]
    return _joined([np.repeat(0.5 * b, 2, axis=0) for b in blocks], np.repeat(0.5 * np.asarray(mesh.period), 2, axis=0))


def _joined(blocks: list[np.ndarray], period: np.ndarray) -> Mesh:
    fraction = np.concatenate(blocks)
    offset = np.concatenate([np.cumsum(b, axis=0) - b for b in blocks])
    end = np.cumsum([len(b) for b in blocks]) - 1
    more = _rounded(len(fraction)) - len(fraction)
    blank = np.zeros((more, fraction.shape[1]))
    last = np.zeros((len(fraction) + more, 1), bool)
    last[end] = True
    return Mesh(
        fraction=np.concatenate([fraction, blank]),
        offset=np.concatenate([offset, blank]),
        slot=np.repeat(np.arange(len(blocks) + 1), [len(b) for b in blocks] + [more]).clip(max=len(blocks) - 1),
        last=last,
        end=end,
        period=period,
    )


def _rounded(count: int) -> int:
    """The next of few sizes, so that few programs are compiled."""
    unit = max(8, 2 ** max(0, count.bit_length() - 3))
    return -(-count // unit) * unit


def graded(count: int) -> np.ndarray:
    """Sub-steps [count] of a dosing interval, finer where it begins."""
    edges = (np.arange(count + 1) / count) ** 2
    return np.diff(edges)


def _through(rate: Rate, x: Array, time: Array, fractions: Array) -> Array:
    """Amounts [S, B, Q] after times [B, Q] in sub-steps of relative lengths [N, B]."""

    def step(y: Array, fraction: Array) -> tuple[Array, None]:
        return advance(rate, y, jnp.zeros_like(time), fraction[:, None] * time), None

    return jax.lax.scan(jax.checkpoint(step), x, fractions)[0]


class _Steady(NamedTuple):
    """What the map over a dosing interval depends on."""

    own: Values
    train: Train


def steady(plan: RowPlan, own: Values, train: Train) -> Array:
    """Amounts [S, B, Q] of endless trains of doses; NaN where none was found.

    Args:
        plan: with a mesh.
        own: structural values of the dose records, name -> [B, Q].
        train: the doses.
    """
    mesh = plan.mesh
    assert mesh is not None
    fractions = jnp.asarray(mesh.period)

    def after(y: Array, given: _Steady, time: Array) -> Array:
        whole, rest = overlapping(given.train)

        def rate_with(running: Array) -> Rate:
            return lambda x, t: plan.structure.derivative(x, t, given.own) + running * given.train.rate

        both = jnp.minimum(time, rest)
        x = _through(rate_with(whole + 1), y + given.train.bolus, both, fractions)
        return _through(rate_with(whole), x, time - both, fractions)

    def period(y: Array, given: _Steady) -> Array:
        return after(y, given, given.train.interval) - y

    def balance(y: Array, given: _Steady) -> Array:
        return plan.structure.derivative(y, jnp.zeros_like(given.train.interval), given.own) + given.train.rate

    given = _Steady(own, train)
    amounts = jnp.zeros((len(plan.structure.compartments), *train.interval.shape))
    if REPEATED in plan.patterns:
        guess = amounts
        for _ in range(3):
            guess = after(guess, given, train.interval)
        before = _root(period, given, guess, train.repeated)
        amounts = jnp.where(train.repeated, after(before, given, train.phase), amounts)
    if CONSTANT in plan.patterns:
        amounts = jnp.where(train.constant, _root(balance, given, jnp.zeros_like(amounts), train.constant), amounts)
    return amounts


def _root(residual: Callable[[Array, _Steady], Array], given: _Steady, guess: Array, wanted: Array) -> Array:
    """y [S, ...] with residual(y, given) = 0 by Newton's method; 0 where not ``wanted``, NaN where that fails.

    Two last steps with the Jacobian held are what derivatives go through: they make the first and second ones exact.
    """
    size = guess.shape[0]
    units = jnp.eye(size).reshape(size, size, *([1] * (guess.ndim - 1)))
    held: _Steady = jax.lax.stop_gradient(given)

    def jacobian(y: Array) -> Array:
        def column(unit: Array) -> Array:
            return jax.jvp(lambda x: residual(x, held), (y,), (jnp.broadcast_to(unit, y.shape),))[1]

        return jnp.where(wanted, jnp.moveaxis(jax.vmap(column)(units), 0, 1), units)

    def error(y: Array, at: _Steady) -> Array:
        return jnp.where(wanted, residual(y, at), 0.0)

    def off(y: Array, wrong: Array) -> Array:
        return jnp.max(jnp.abs(wrong), axis=0) / (jnp.max(jnp.abs(y), axis=0) + 1e-300)

    def newton(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        y, wrong, count = state
        moved = y - linear.solve(jacobian(y), wrong)
        moved = jnp.where((y > 0) & (moved < 0.1 * y), 0.1 * y, moved)
        moved = jnp.where(off(y, wrong) > _SOLVED, moved, y)
        return moved, error(moved, held), count + 1

    def going(state: tuple[Array, Array, Array]) -> Array:
        return jnp.any(off(state[0], state[1]) > _SOLVED) & (state[2] < _NEWTON)

    first = jnp.where(wanted, jax.lax.stop_gradient(guess), 0.0)
    found, wrong, _ = jax.lax.while_loop(going, newton, (first, error(first, held), jnp.zeros((), int)))
    found, good = jax.lax.stop_gradient(found), off(found, wrong) <= _ACCEPTED
    matrix = jax.lax.stop_gradient(jacobian(found))
    answer = found
    for _ in range(2):
        answer = answer - linear.solve(matrix, error(answer, given))
    return jnp.where(good, answer, jnp.nan)
