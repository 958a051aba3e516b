"""Which states need the explicit method, as array code: not those at rest, nor those that only filter drug effects.

What stands still is worked out in `ipex_pd.equations.reduction`; `filters` integrates the filters, `explicit` the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ipex_pd.equations.model import Equations as Rates
from ipex_pd.equations.model import age as AGE
from ipex_pd.equations.reduction import Remainder, remainder, staying_at_rest, staying_zero, thinned, undriven
from ipex_pd.equations.symbols import Name
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
    _left: Remainder = field(repr=False)
    _rates: Block = field(repr=False)
    _linear: Block = field(repr=False)
    _resting: tuple[int, ...] = field(repr=False)

    def prepare(self, p: Values, x: Array) -> list[Array]:
        """What of the rates depends on parameters and on states at rest (rows of ``x`` [S, P]) alone."""
        env = self.model.environment(p)
        resting = [x[i] for i in self._resting]
        env.update(zip(self._left.resting, resting, strict=True))
        return resting + self._rates.prepare(env)

    def rates(
        self, age: Array, moving: Sequence[Array], seen: Sequence[Array], p: Values, prepared: Sequence[Array]
    ) -> Array:
        """d(state)/dt [M, P] of the moving states.

        Args:
            age: [P] [day].
            moving: M rows [P].
            seen: the effects of ``inputs``, then the filters that are used, each [P].
            p: parameters.
            prepared: by `prepare`.
        """
        model = self.model
        env = model.environment(p)
        env[AGE] = age
        count = len(self._resting)
        env.update(zip(self._left.resting, prepared[:count], strict=True))
        env.update(zip(self._left.moving, moving, strict=True))
        names = [*self._left.inputs, *(f.state for f in self._left.filters if f.used)]
        env.update(zip(names, seen, strict=True))
        return jnp.stack([jnp.broadcast_to(r, moving[0].shape) for r in self._rates(env, prepared[count:])])

    def linear(self, effects: Sequence[Array], p: Values) -> list[tuple[Array, Array]]:
        """(drive, decay) of every filter; ``effects`` are all effects, of any shape [..., P]."""
        env = self.model.environment(p)
        env.update(zip(self.model.model.effects, effects, strict=True))
        found = self._linear(env)
        return list(zip(found[::2], found[1::2], strict=True))


@lru_cache(maxsize=64)
def reduce(model: CompiledModel, dormant: Dormant) -> Reduced:
    """The model without what stands still."""
    states = dict(zip(model.states, model.model.states, strict=True))
    order = {s: i for i, s in enumerate(model.model.states)}
    effects = {e: i for i, e in enumerate(model.model.effects)}
    resting = [states[n] for n in dormant.resting]
    left = remainder(model.model, [states[n] for n in dormant.zero], resting, dormant.absent)
    parameters = set(model.model.parameters)
    return Reduced(
        model,
        tuple(order[s] for s in left.moving),
        tuple(Filter(order[f.state], f.decay != 0, f.used) for f in left.filters),
        tuple(effects[e] for e in left.inputs),
        left,
        make_block(left.moving, parameters | set(resting)),
        make_block(left.linear, parameters),
        tuple(order[s] for s in left.resting),
    )


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
    empty = tuple(n for n, row in zip(model.states, x, strict=True) if (row == 0).all())
    zero, candidates = _standing(model, empty, absent)
    env = {**model.environment(p), **dict(zip(model.model.states, x, strict=True))}
    balanced = {s: rate for s, rate in candidates.items() if bool(np.all(np.asarray(evaluate(rate, env)) == 0))}
    resting = staying_at_rest(model.model, balanced)
    return Dormant(tuple(map(str, zero)), tuple(map(str, resting)), absent)


@lru_cache(maxsize=64)
def _standing(model: CompiledModel, empty: tuple[str, ...], absent: tuple[str, ...]) -> tuple[tuple[Name, ...], Rates]:
    """States that stay zero, and the rates of the others that no drug and no age drives."""
    zero = staying_zero(
        model.model, [s for n, s in zip(model.states, model.model.states, strict=True) if n in empty], absent
    )
    rates = undriven(model.model, thinned(model.model, zero, absent))
    return zero, {s: rate for s, rate in rates.items() if s not in zero}
