"""What of a model moves: states at rest put in as they are, states that filter drug effects told apart.

A child without a transplant has no donor cells and stem cells in balance: twelve states stay zero and four stay where
they are. A state driven by drug effects alone at a constant rate (the steroid signal, the burdens) is an integral that
can be taken directly. What is left is smaller and slower than the whole disease.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import sympy

from ipex_pd.equations.model import Equations, Model
from ipex_pd.equations.symbols import Name


@dataclass(frozen=True)
class LinearFilter:
    """A state with rate ``drive(effects) - decay * state``.

    Attributes:
        state: the state.
        drive: of effects and parameters.
        decay: of parameters; zero makes the state an integral.
        used: whether rates of moving states need it.
    """

    state: Name
    drive: sympy.Expr
    decay: sympy.Expr
    used: bool


@dataclass(frozen=True)
class Remainder:
    """A model without what stands still.

    Attributes:
        moving: state -> rate, of states that neither rest nor filter.
        filters: states that only filter effects.
        inputs: effects that the rates of ``moving`` need, in the order of the model.
        resting: states that the rates may name as constants.
    """

    moving: Equations
    filters: tuple[LinearFilter, ...]
    inputs: tuple[Name, ...]
    resting: tuple[Name, ...]

    @property
    def linear(self) -> dict[Name, sympy.Expr]:
        """Drive and decay of every filter, one after the other, under names of their own."""
        parts: dict[Name, sympy.Expr] = {}
        for one in self.filters:
            parts[sympy.Dummy(f"{one.state}_drive")] = one.drive
            parts[sympy.Dummy(f"{one.state}_decay")] = one.decay
        return parts


def remainder(model: Model, zero: Collection[Name], resting: Collection[Name], absent: Collection[str]) -> Remainder:
    """The model without states that stay where they are.

    Args:
        model: the whole.
        zero: states that are and stay zero.
        resting: states that stay at other values.
        absent: targets on which no drug acts.
    """
    still = {*zero, *resting}
    rates = {s: r for s, r in thinned(model, zero, absent).items() if s not in still}
    linear = {s: form for s, r in rates.items() if (form := _linear_form(s, r, model)) is not None}
    moving = {s: r for s, r in rates.items() if s not in linear}
    needed = _names(moving)
    return Remainder(
        moving,
        tuple(LinearFilter(s, drive, decay, s in needed) for s, (drive, decay) in linear.items()),
        tuple(e for e in model.effects if e in needed),
        tuple(resting),
    )


def thinned(model: Model, zero: Collection[Name], absent: Collection[str]) -> dict[Name, sympy.Expr]:
    """State -> rate, with zeros put in for empty states and for effects that no drug has."""
    nothing = dict.fromkeys(zero, sympy.S.Zero)
    unmet = {f"potency_{target}" for target in absent}
    silent = {s: sympy.S.Zero for s in model.symbols("potency") if str(s) in unmet}
    if silent:
        nothing |= {e: sympy.S.Zero for e, right in model.effects.items() if right.xreplace(silent) == 0}
    return {s: sympy.sympify(r).xreplace(nothing) for s, r in model.rates.items()}


def staying_zero(model: Model, zero: Collection[Name], absent: Collection[str]) -> tuple[Name, ...]:
    """Which of the states that are zero stay so: their rates vanish while the others of them are zero."""
    left = tuple(s for s in model.states if s in zero)
    while True:
        rates = thinned(model, left, absent)
        kept = tuple(s for s in left if rates[s] == 0)
        if kept == left:
            return left
        left = kept


def undriven(model: Model, rates: Mapping[Name, sympy.Expr]) -> dict[Name, sympy.Expr]:
    """The rates that name states and parameters alone, neither effects nor age."""
    known = {*model.parameters, *model.states}
    return {s: r for s, r in rates.items() if r.free_symbols <= known}


def staying_at_rest(model: Model, balanced: Mapping[Name, sympy.Expr]) -> tuple[Name, ...]:
    """Which of the states whose rates are zero now stay so: those whose rates name only each other."""
    left = dict(balanced)
    while True:
        free = {*left, *model.parameters}
        kept = {s: r for s, r in left.items() if r.free_symbols <= free}
        if len(kept) == len(left):
            return tuple(s for s in model.states if s in left)
        left = kept


def _names(equations: Equations) -> set[sympy.Basic]:
    return set().union(*(right.free_symbols for right in equations.values()))


def _linear_form(state: Name, rate: sympy.Expr, model: Model) -> tuple[sympy.Expr, sympy.Expr] | None:
    """(drive, decay) of a state whose rate has no other state, no age, and a decay that no drug changes."""
    if not rate.free_symbols <= {state, *model.parameters, *model.effects}:
        return None
    slope = sympy.diff(rate, state)
    if not slope.free_symbols <= set(model.parameters):
        return None
    return rate.xreplace({state: sympy.S.Zero}), -slope
