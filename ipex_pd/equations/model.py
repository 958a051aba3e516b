"""Model: states, rates, initial values, effects, outputs and state maps; compose() joins subsystems."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import sympy

from ipex_pd.equations.symbols import Kind, Name, age, declaration
from ipex_pd.errors import ModelError

Equations = Mapping[Name, sympy.Expr]


@dataclass(frozen=True)
class Model:
    """A system of ordinary differential equations, affine in its time-only inputs.

    Attributes:
        name: what it is called in reports.
        rates: state -> d(state)/dt, in [unit of the state / day], of age, states, effects, parameters, covariates.
        initial: state -> value at the start, of parameters, covariates and age.
        effects: effect -> function of potencies and parameters only.
        outputs: output -> function of anything (outputs may use other outputs declared before them).
        maps: event -> state -> value after the event, of states, parameters and the event's own `covariate`s.
    """

    name: str
    rates: Equations
    initial: Equations
    effects: Equations = field(default_factory=dict)
    outputs: Equations = field(default_factory=dict)
    maps: Mapping[str, Equations] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if set(self.rates) != set(self.initial):
            odd = sorted(str(s) for s in set(self.rates) ^ set(self.initial))
            raise ModelError(f"model `{self.name}`: rates and initial values name different states: {', '.join(odd)}")
        for event, mapping in self.maps.items():
            for symbol in mapping:
                if symbol not in self.rates:
                    raise ModelError(f"model `{self.name}`: event `{event}` changes `{symbol}`, which is not a state")
        self._check_names()
        for state, rate in self.rates.items():
            self._check_affine(state, rate)

    def _check_names(self) -> None:
        known: dict[str, Name] = {}
        for symbol in self.symbols():
            declaration(symbol)
            if known.setdefault(str(symbol), symbol) != symbol:
                raise ModelError(
                    f"model `{self.name}`: `{symbol}` is declared twice, differently",
                    rule="A name means one thing, in one unit",
                    cure="Import the first declaration or choose another name",
                )

    def _check_affine(self, state: Name, rate: sympy.Expr) -> None:
        inputs = [s for s in self.effects if rate.has(s)]
        for i, left in enumerate(inputs):
            slope = sympy.diff(rate, left)
            for right in inputs[i:]:
                if slope.has(right):
                    raise ModelError(
                        f"rate of `{state}` is not affine in `{left}` and `{right}`",
                        rule="Effects enter the rates linearly",
                        cure="Declare their product as an effect of its own",
                    )

    def symbols(self, kind: Kind | None = None) -> tuple[Name, ...]:
        """All names in order of first appearance, or those of one kind."""
        found: dict[Name, None] = dict.fromkeys(self.rates)
        groups = [self.rates, self.initial, self.effects, self.outputs, *self.maps.values()]
        for group in groups:
            for left, right in group.items():
                found.setdefault(left)
                for symbol in sorted(sympy.sympify(right).free_symbols, key=str):
                    found.setdefault(symbol)
        return tuple(s for s in found if kind is None or declaration(s).kind == kind)

    @property
    def states(self) -> tuple[Name, ...]:
        """The states, in order."""
        return tuple(self.rates)

    @property
    def parameters(self) -> tuple[Name, ...]:
        """Parameters and covariates that the equations need, by name; events' own covariates are left out."""
        own = {s for event in self.maps for s in self.event_covariates(event)}
        return tuple(s for s in self.symbols() if declaration(s).kind in ("parameter", "covariate") and s not in own)

    def event_covariates(self, event: str) -> tuple[Name, ...]:
        """Covariates that stand in this event's map and nowhere else: they are given with the event."""
        elsewhere: set[sympy.Symbol] = set()
        for group in (self.rates, self.initial, self.effects, self.outputs):
            for right in group.values():
                elsewhere |= sympy.sympify(right).free_symbols
        inside = {s for right in self.maps[event].values() for s in sympy.sympify(right).free_symbols}
        return tuple(
            sorted((s for s in inside - elsewhere if declaration(s).kind == "covariate"), key=lambda s: str(s))
        )

    @property
    def fingerprint(self) -> str:
        """A hash of all equations: equal models compile once."""
        lines = [
            f"{k}={sympy.srepr(sympy.sympify(v))}"
            for g in (self.rates, self.initial, self.effects, self.outputs)
            for k, v in g.items()
        ]
        lines += [str(declaration(symbol)) for symbol in self.symbols()]
        for event, mapping in self.maps.items():
            lines += [f"{event}:{k}={sympy.srepr(sympy.sympify(v))}" for k, v in mapping.items()]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def compose(name: str, *parts: Model) -> Model:
    """Join subsystems that share names. A state, effect or output is defined by exactly one part.

    Raises:
        ModelError: two parts define the same name.
    """
    rates: dict[Name, sympy.Expr] = {}
    initial: dict[Name, sympy.Expr] = {}
    effects: dict[Name, sympy.Expr] = {}
    outputs: dict[Name, sympy.Expr] = {}
    maps: dict[str, dict[Name, sympy.Expr]] = {}
    for part in parts:
        for into, group in (
            (rates, part.rates),
            (initial, part.initial),
            (effects, part.effects),
            (outputs, part.outputs),
        ):
            _merge(into, group, name)
        for event, mapping in part.maps.items():
            _merge(maps.setdefault(event, {}), mapping, name)
    return Model(name, rates, initial, effects, outputs, maps)


def _merge(into: dict[Name, sympy.Expr], group: Equations, name: str) -> None:
    for symbol, right in group.items():
        if symbol in into:
            raise ModelError(f"model `{name}`: `{symbol}` is defined by two subsystems", rule="Each name has one owner")
        into[symbol] = right


__all__ = ["Equations", "Model", "age", "compose"]
