"""Which states need the explicit method: not those at rest, nor those that only filter drug effects.

A child without a transplant has no donor cells and stem cells in balance: twelve states stay zero and four stay where
they are. A state driven by drug effects alone at a constant rate (the steroid signal, the burdens) is an integral that
`filters` takes directly. What is left is smaller and slower than the whole disease.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import sympy

from ipex_pd.equations.model import age as AGE
from ipex_pd.numerics.compiler import Block, CompiledModel, evaluate, make_block

Array = Any
Values = Mapping[str, Array]


class Dormant(NamedTuple):
    """What stands still in a simulation, by name.

    Attributes:
        zero: states that are and stay zero.
        resting: states that stay at their values at day 0.
        absent: targets on which no drug of the system acts.
    """

    zero: tuple[str, ...] = ()
    resting: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()


class Filter(NamedTuple):
    """A state with rate ``drive(effects) - decay * state``.

    Attributes:
        state: its row.
        decays: whether ``decay`` is there; without, the state is an integral.
        used: whether other rates need it.
    """

    state: int
    decays: bool
    used: bool


@dataclass(frozen=True, eq=False)
class Reduced:
    """The rates that are left.

    Attributes:
        moving: rows of the states that the explicit method integrates.
        filters: states integrated directly.
        inputs: rows of the effects that the rates of ``moving`` need.
    """

    model: CompiledModel
    moving: tuple[int, ...]
    filters: tuple[Filter, ...]
    inputs: tuple[int, ...]
    _rates: Block = field(repr=False)
    _linear: Block = field(repr=False)
    _resting: tuple[int, ...] = field(repr=False)

    def prepare(self, p: Values, x: Array) -> list[Array]:
        """What of the rates depends on parameters and on states at rest (rows of ``x`` [S, P]) alone."""
        env = self.model.environment(p)
        resting = [x[i] for i in self._resting]
        env.update(zip(self._still(), resting, strict=True))
        return resting + self._rates.prepare(env)

    def rates(self, age: Array, moving: Array, seen: Sequence[Array], p: Values, prepared: Sequence[Array]) -> Array:
        """d(state)/dt [M, P] of the moving states.

        Args:
            age: [P] [day].
            moving: [M, P].
            seen: the effects of ``inputs``, then the filters that are used, each [P].
            p: parameters.
            prepared: by `prepare`.
        """
        model = self.model
        env = model.environment(p)
        env[AGE] = age
        count = len(self._resting)
        env.update(zip(self._still(), prepared[:count], strict=True))
        states, effects = model.model.states, tuple(model.model.effects)
        env.update(zip((states[i] for i in self.moving), moving, strict=True))
        names = [effects[i] for i in self.inputs] + [states[f.state] for f in self.filters if f.used]
        env.update(zip(names, seen, strict=True))
        return jnp.stack([jnp.broadcast_to(r, moving.shape[1:]) for r in self._rates(env, prepared[count:])])

    def linear(self, effects: Sequence[Array], p: Values) -> list[tuple[Array, Array]]:
        """(drive, decay) of every filter; ``effects`` are all effects, of any shape [..., P]."""
        env = self.model.environment(p)
        env.update(zip(self.model.model.effects, effects, strict=True))
        found = self._linear(env)
        return list(zip(found[::2], found[1::2], strict=True))

    def _still(self) -> list[sympy.Symbol]:
        return [self.model.model.states[i] for i in self._resting]


@lru_cache(maxsize=64)
def reduce(model: CompiledModel, dormant: Dormant) -> Reduced:
    """The model without what stands still."""
    states = {str(s): s for s in model.model.states}
    rates = dict(zip(states, _thinned(model, dormant), strict=True))
    resting = set(dormant.resting)
    still = resting | set(dormant.zero)
    linear = {
        name: form
        for name, rate in rates.items()
        if name not in still and (form := _linear_form(states[name], rate, model)) is not None
    }
    moving = [n for n in states if n not in still and n not in linear]
    needed: set[sympy.Basic] = set().union(*(rates[n].free_symbols for n in moving))
    order = {n: i for i, n in enumerate(states)}
    filters = tuple(Filter(order[n], decay != 0, states[n] in needed) for n, (_, decay) in linear.items())
    constants = set(model.model.parameters) | {states[n] for n in resting}
    inputs = tuple(i for i, e in enumerate(model.model.effects) if e in needed)
    parts = {sympy.Dummy(f"{n}_{k}"): form[k] for n, form in linear.items() for k in (0, 1)}
    return Reduced(
        model,
        tuple(order[n] for n in moving),
        filters,
        inputs,
        make_block({states[n]: rates[n] for n in moving}, constants),
        make_block(parts, set(model.model.parameters)),
        tuple(order[n] for n in dormant.resting),
    )


def _thinned(model: CompiledModel, dormant: Dormant) -> list[sympy.Expr]:
    """Rates with zeros put in for empty states and for effects that no drug has."""
    nothing = {s: sympy.S.Zero for s in model.model.states if str(s) in set(dormant.zero)}
    unmet = {f"potency_{target}" for target in dormant.absent}
    absent = {s: sympy.S.Zero for s in model.model.symbols("potency") if str(s) in unmet}
    if absent:
        nothing.update((e, sympy.S.Zero) for e, right in model.model.effects.items() if right.xreplace(absent) == 0)
    return [sympy.sympify(r).xreplace(nothing) for r in model.model.rates.values()]


def _linear_form(state: sympy.Symbol, rate: sympy.Expr, model: CompiledModel) -> tuple[sympy.Expr, sympy.Expr] | None:
    """(drive, decay) of a state whose rate has no other state, no age, and a decay that no drug changes."""
    allowed = {state, *model.model.parameters, *model.model.effects}
    if not rate.free_symbols <= allowed:
        return None
    slope = sympy.diff(rate, state)
    if not slope.free_symbols <= set(model.model.parameters):
        return None
    return rate.xreplace({state: sympy.S.Zero}), -slope


def absent_targets(model: CompiledModel, targets: Sequence[str]) -> tuple[str, ...]:
    """Targets of the model on which nothing acts."""
    return tuple(t for t in model.targets if t not in targets)


def dormant_states(model: CompiledModel, absent: tuple[str, ...], p: Values, x: np.ndarray) -> Dormant:
    """What stands still from ``x`` [S, P] on for all patients, if no event changes the states.

    Args:
        model: the disease.
        absent: targets on which no drug acts.
        p: name -> [P].
        x: states at day 0.
    """
    names = [str(s) for s in model.model.states]
    zero = {n for n, row in zip(names, x, strict=True) if (row == 0).all()}
    while True:
        rates = dict(zip(names, _thinned(model, Dormant(tuple(sorted(zero)), (), absent)), strict=True))
        woken = {n for n in zero if rates[n] != 0}
        if not woken:
            break
        zero -= woken
    values = dict(zip(names, x, strict=True))
    resting = {n for n in names if n not in zero and _balanced(model, rates[n], p, values)}
    symbols = {n: s for n, s in zip(names, model.model.states, strict=True)}
    while True:
        free = {symbols[n] for n in resting} | set(model.model.parameters)
        woken = {n for n in resting if not rates[n].free_symbols <= free}
        if not woken:
            break
        resting -= woken
    return Dormant(tuple(n for n in names if n in zero), tuple(n for n in names if n in resting), absent)


def _balanced(model: CompiledModel, rate: sympy.Expr, p: Values, values: Mapping[str, np.ndarray]) -> bool:
    """Whether a rate of states and parameters alone is exactly zero."""
    known = set(model.model.parameters) | set(model.model.states)
    if not rate.free_symbols <= known:
        return False
    env = model.environment(p)
    env.update((s, values[str(s)]) for s in model.model.states)
    return bool(np.all(np.asarray(evaluate(rate, env)) == 0))
