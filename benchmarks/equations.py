"""Disease and drugs as one system of ordinary differential equations, for solvers that know no closed form.

The drug compartments and the areas under the curves are states here. Nothing of `ipex_pd.numerics` is used but the
records' own formulas (potency, measured concentration), called with symbols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import sympy

from ipex_pd.equations.model import age
from ipex_pd.numerics.schedule import DrugKinetics, System

Array = np.ndarray
Expressions = list[sympy.Expr]


@dataclass(frozen=True, eq=False)
class Equations:
    """Right-hand sides with parameter-only parts taken out, so that no peer computes them again at every call.

    Attributes:
        system: disease, drugs, body.
        states: disease states, then amounts [mg] of every drug, then its area under the curve.
        depot, central, area: row of each drug's depot (or -1), central compartment, area.
        inputs: parameters and drug constants, in the order of the vector handed to `constants`.
        hoisted: (symbol, expression of inputs), computed once for a patient and visit.
        rates: d(state)/dt [unit/day].
        x, infusion, q: the symbols of states, infusion rates [mg/day] and hoisted constants.
    """

    system: System
    states: tuple[str, ...]
    depot: tuple[int, ...]
    central: tuple[int, ...]
    area: tuple[int, ...]
    inputs: tuple[str, ...]
    rates: Expressions
    hoisted: list[tuple[sympy.Symbol, sympy.Expr]]
    x: list[sympy.Symbol]
    infusion: list[sympy.Symbol]
    _inputs: list[sympy.Symbol] = field(repr=False)

    @property
    def q(self) -> list[sympy.Symbol]:
        """Symbols of the constants handed to a right-hand side."""
        return [symbol for symbol, _ in self.hoisted]

    @cached_property
    def constants(self) -> Callable[[Array], Array]:
        """Inputs [I, P] -> constants [Q, P]."""
        compute = sympy.lambdify(self._inputs, [e for _, e in self.hoisted], "numpy", cse=True)

        def evaluate(inputs: Array) -> Array:
            shape = inputs.shape[1:]
            return np.stack([np.broadcast_to(v, shape) for v in compute(*inputs)])

        return evaluate

    def function(self, tool: str) -> Callable[[Any, Sequence[Any], Sequence[Any], Sequence[Any]], list[Any]]:
        """(age, x, infusion, q) -> rates as a list, in `math`, `numpy` or `jax`."""
        found: Any = sympy.lambdify([age, self.x, self.infusion, self.q], self.rates, tool, cse=True)
        return found  # type: ignore[no-any-return]


def full_equations(system: System) -> Equations:
    """Join the disease with compartments and areas of the drugs."""
    model = system.model.model
    x = list(model.states)
    states = [str(s) for s in x]
    infusion = [sympy.Symbol(f"infusion_{i}", real=True) for i in range(len(system.drugs))]
    inputs: dict[str, sympy.Symbol] = {str(s): s for s in model.parameters}
    rates: Expressions = [sympy.sympify(r) for r in model.rates.values()]
    potency: dict[str, sympy.Expr] = {}
    depot, central, area = [], [], []
    for drug, rate in zip(system.drugs, infusion, strict=True):
        depot.append(len(x) if drug.depot else -1)
        central.append(len(x) + int(drug.depot))
        names, symbols, flows, level = _compartments(drug, rate, inputs)
        x += symbols
        states += names
        rates += flows
        table = _Symbols(inputs)
        for target, value in drug.potency(table, level).items():
            potency[target] = potency.get(target, sympy.Integer(0)) + value
        area.append(len(x))
        x.append(sympy.Symbol(f"area_{drug.name}", real=True))
        states.append(f"auc_{drug.name}")
        rates.append(next(iter(drug.concentrations(table, {}, level).values())))
    rates = _with_effects(system, rates, potency)
    hoist = _Hoist(set(inputs.values()))
    moved = [hoist(e) for e in rates]
    return Equations(
        system,
        tuple(states),
        tuple(depot),
        tuple(central),
        tuple(area),
        tuple(inputs),
        moved,
        hoist.pairs(moved),
        x,
        infusion,
        list(inputs.values()),
    )


class _Symbols(dict[str, sympy.Symbol]):
    """A parameter table that makes a symbol of any name asked for."""

    def __init__(self, known: dict[str, sympy.Symbol]) -> None:
        super().__init__()
        self.known = known

    def __getitem__(self, name: str) -> sympy.Symbol:
        return self.known.setdefault(name, sympy.Symbol(name.replace(".", "__"), positive=True))


def micro_names(drug: DrugKinetics) -> list[str]:
    """Names of a drug's constants among the inputs."""
    names = ["elimination", "volume"] + ["absorption"] * drug.depot
    for i in range(1, drug.compartments):
        names += [f"out_{i}", f"back_{i}"]
    return [f"micro.{drug.name}.{n}" for n in names]


def micro_values(drug: DrugKinetics, values: dict[str, Array]) -> list[Array]:
    """The same constants from clearances [L/day] and volumes [L]."""
    volume = values["volume_central"]
    found = [values["clearance"] / volume, volume] + ([values["absorption_rate"]] if drug.depot else [])
    for i in range(1, drug.compartments):
        flow = values[f"intercompartmental_clearance_{i}"]
        found += [flow / volume, flow / values[f"volume_peripheral_{i}"]]
    return found


def _compartments(
    drug: DrugKinetics, rate: sympy.Symbol, inputs: dict[str, sympy.Symbol]
) -> tuple[list[str], list[sympy.Symbol], Expressions, sympy.Expr]:
    table = _Symbols(inputs)
    micro = {n.rsplit(".", 1)[1]: table[n] for n in micro_names(drug)}
    names = ["depot"] * drug.depot + ["central"] + [f"peripheral_{i}" for i in range(1, drug.compartments)]
    amount = {n: sympy.Symbol(f"{drug.name}_{n}", real=True) for n in names}
    central = rate - micro["elimination"] * amount["central"]
    flows: dict[str, sympy.Expr] = {}
    if drug.depot:
        flows["depot"] = -micro["absorption"] * amount["depot"]
        central = central + micro["absorption"] * amount["depot"]
    for i in range(1, drug.compartments):
        there, back = micro[f"out_{i}"] * amount["central"], micro[f"back_{i}"] * amount[f"peripheral_{i}"]
        flows[f"peripheral_{i}"] = there - back
        central = central - there + back
    flows["central"] = central
    full = [f"{drug.name}.{n}" for n in names]
    return full, list(amount.values()), [flows[n] for n in names], amount["central"] / micro["volume"]


def _with_effects(system: System, rates: Expressions, potency: dict[str, sympy.Expr]) -> Expressions:
    model = system.model.model
    levels = {s: potency.get(str(s).removeprefix("potency_"), sympy.Integer(0)) for s in model.symbols("potency")}
    effects = {e: sympy.sympify(right).xreplace(levels) for e, right in model.effects.items()}
    return [r.xreplace(effects) for r in rates]


class _Hoist:
    """Takes out what depends on parameters alone."""

    def __init__(self, constants: set[sympy.Symbol]) -> None:
        self.constants = constants
        self.found: dict[sympy.Expr, sympy.Symbol] = {}

    def pairs(self, expressions: Expressions) -> list[tuple[sympy.Symbol, sympy.Expr]]:
        used = set().union(*(e.free_symbols for e in expressions))
        own = [(s, s) for s in sorted(self.constants & used, key=str)]
        return own + [(s, e) for e, s in self.found.items() if s in used]

    def _fixed(self, e: sympy.Expr) -> bool:
        return bool(e.free_symbols) and e.free_symbols <= self.constants

    def _name(self, e: sympy.Expr) -> sympy.Expr:
        if e.is_Symbol or e.is_Number:
            return e
        return self.found.setdefault(e, sympy.Symbol(f"constant_{len(self.found)}", real=True))

    def __call__(self, e: sympy.Expr) -> sympy.Expr:
        if self._fixed(e):
            return self._name(e)
        if not e.args:
            return e
        if not (e.is_Add or e.is_Mul):
            return e.func(*[self(a) for a in e.args])
        fixed = [a for a in e.args if self._fixed(a)]
        moving = [self(a) for a in e.args if not self._fixed(a)]
        return e.func(*([self._name(e.func(*fixed))] if fixed else []), *moving)
