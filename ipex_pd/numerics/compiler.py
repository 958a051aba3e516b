"""Model to straight-line array code: the only door from sympy to jax.

Expressions that depend on parameters alone are computed once for a patient (`CompiledModel.prepare_rates`), common
subexpressions are shared, integer powers are multiplications. Every operation is elementwise over patients.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from ipex_pd.equations.model import Equations, Model
from ipex_pd.equations.symbols import declaration
from ipex_pd.errors import ModelError, nearest_hint
from ipex_pd.numerics.powers import integer_power

Array = Any
Environment = dict[sympy.Basic, Array]

_UNARY: dict[Any, Callable[[Array], Array]] = {
    sympy.exp: jnp.exp,
    sympy.log: jnp.log,
    sympy.tanh: jnp.tanh,
    sympy.sinh: jnp.sinh,
    sympy.cosh: jnp.cosh,
    sympy.sin: jnp.sin,
    sympy.cos: jnp.cos,
    sympy.tan: jnp.tan,
    sympy.asin: jnp.arcsin,
    sympy.acos: jnp.arccos,
    sympy.atan: jnp.arctan,
    sympy.asinh: jnp.arcsinh,
    sympy.acosh: jnp.arccosh,
    sympy.atanh: jnp.arctanh,
    sympy.Abs: jnp.abs,
    sympy.sign: jnp.sign,
    sympy.floor: jnp.floor,
    sympy.ceiling: jnp.ceil,
    sympy.erf: jax.scipy.special.erf,
    sympy.erfc: jax.scipy.special.erfc,
    sympy.loggamma: jax.scipy.special.gammaln,
    sympy.Heaviside: lambda x: jnp.heaviside(x, 0.5),
    sympy.Not: jnp.logical_not,
}
_PAIRWISE: dict[Any, Callable[[Array, Array], Array]] = {
    sympy.Max: jnp.maximum,
    sympy.Min: jnp.minimum,
    sympy.And: jnp.logical_and,
    sympy.Or: jnp.logical_or,
}
_RELATIONS: dict[Any, Callable[[Array, Array], Array]] = {
    sympy.StrictLessThan: jnp.less,
    sympy.LessThan: jnp.less_equal,
    sympy.StrictGreaterThan: jnp.greater,
    sympy.GreaterThan: jnp.greater_equal,
    sympy.Equality: jnp.equal,
    sympy.Unequality: jnp.not_equal,
}


def evaluate(expression: sympy.Basic, environment: Environment) -> Array:
    """The value of a sympy expression, each symbol taken from ``environment`` (which also remembers results).

    Raises:
        ModelError: the expression uses a function that has no array form.
    """
    known = environment.get(expression)
    if known is None:
        known = environment[expression] = _evaluate(expression, environment)
    return known


def _evaluate(e: sympy.Basic, env: Environment) -> Array:
    if e.is_Number or isinstance(e, sympy.NumberSymbol):
        return float(e)
    if e is sympy.true or e is sympy.false:
        return bool(e)
    if e.is_Add:
        return _sum(e, env)
    if e.is_Mul:
        return _product(e, env)
    if e.is_Pow:
        return _power(evaluate(e.base, env), e.exp, env)
    if isinstance(e, sympy.Piecewise):
        return _piecewise(e, env)
    values = [evaluate(a, env) for a in e.args]
    if e.func in _UNARY:
        return _UNARY[e.func](values[0])
    if e.func in _RELATIONS:
        return _RELATIONS[e.func](values[0], values[1])
    if e.func in _PAIRWISE:
        combine, total = _PAIRWISE[e.func], values[0]
        for value in values[1:]:
            total = combine(total, value)
        return total
    raise ModelError(
        f"`{e}` cannot be turned into array code",
        rule="Equations use elementary functions of declared names",
        cure="Write it with exp, log, sqrt, tanh, Min, Max, Piecewise and powers",
    )


def _sum(e: sympy.Add, env: Environment) -> Array:
    positive = [a for a in e.args if not a.could_extract_minus_sign()]
    negative = [-a for a in e.args if a.could_extract_minus_sign()]
    total = evaluate(positive[0], env) if positive else -evaluate(negative.pop(0), env)
    for term in positive[1:]:
        total = total + evaluate(term, env)
    for term in negative:
        total = total - evaluate(term, env)
    return total


def _product(e: sympy.Mul, env: Environment) -> Array:
    above = [a for a in e.args if not _inverse(a)]
    below = [sympy.Pow(a.base, -a.exp) for a in e.args if _inverse(a)]
    top = _multiply([evaluate(a, env) for a in above]) if above else 1.0
    return top / _multiply([evaluate(a, env) for a in below]) if below else top


def _inverse(e: sympy.Basic) -> bool:
    return bool(e.is_Pow and e.exp.is_Rational and e.exp < 0)


def _multiply(factors: Sequence[Array]) -> Array:
    total = factors[0]
    for factor in factors[1:]:
        total = total * factor
    return total


def _power(base: Array, exponent: sympy.Basic, env: Environment) -> Array:
    if exponent.is_Integer and abs(int(exponent)) <= 64:
        raised = integer_power(base, abs(int(exponent)))
        return 1.0 / raised if int(exponent) < 0 else raised
    if exponent.is_Rational and exponent.q == 2 and abs(exponent.p) <= 9:
        raised = jnp.sqrt(base) * integer_power(base, abs(int(exponent.p)) // 2)
        return 1.0 / raised if exponent.p < 0 else raised
    return jnp.power(base, evaluate(exponent, env))


def _piecewise(e: sympy.Piecewise, env: Environment) -> Array:
    *branches, (last, condition) = e.args
    value = evaluate(last, env) if condition == sympy.true else jnp.nan
    if condition != sympy.true:
        branches.append((last, condition))
    for branch, condition in reversed(branches):
        value = jnp.where(evaluate(condition, env), evaluate(branch, env), value)
    return value


class _Hoist:
    """Replaces what depends on parameters alone by symbols to be computed once."""

    def __init__(self, constants: set[sympy.Symbol]) -> None:
        self.constants = constants
        self.found: dict[sympy.Basic, sympy.Symbol] = {}

    def constant(self, e: sympy.Basic) -> bool:
        return bool(e.free_symbols) and e.free_symbols <= self.constants

    def name(self, e: sympy.Basic) -> sympy.Basic:
        if e.is_Symbol or e.is_Number:
            return e
        return self.found.setdefault(e, sympy.Dummy(f"constant_{len(self.found)}", real=True))

    def __call__(self, e: sympy.Basic) -> sympy.Basic:
        if self.constant(e):
            return self.name(e)
        if not e.args:
            return e
        if e.is_Add or e.is_Mul:
            fixed = [a for a in e.args if self.constant(a) or a.is_Number]
            moving = [self(a) for a in e.args if not (self.constant(a) or a.is_Number)]
            joined = e.func(*fixed) if fixed else None
            if joined is None:
                return e.func(*moving, evaluate=False)
            return e.func(self.name(joined), *moving, evaluate=False)
        return e.func(*[self(a) for a in e.args])


@dataclass(frozen=True)
class Block:
    """Equations of one purpose, with constants hoisted and common subexpressions named."""

    names: tuple[str, ...]
    constants: tuple[tuple[sympy.Symbol, sympy.Basic], ...]
    shared: tuple[tuple[sympy.Symbol, sympy.Basic], ...]
    results: tuple[sympy.Basic, ...]

    def prepare(self, env: Environment) -> list[Array]:
        """What depends on constants alone."""
        return [evaluate(e, env) for _, e in self.constants]

    def __call__(self, env: Environment, prepared: Sequence[Array] | None = None) -> list[Array]:
        """The results, from the values of all other symbols."""
        values = self.prepare(env) if prepared is None else prepared
        env.update(zip((s for s, _ in self.constants), values, strict=True))
        for symbol, expression in self.shared:
            env[symbol] = evaluate(expression, env)
        return [evaluate(e, env) for e in self.results]


def make_block(equations: Equations, constants: set[sympy.Symbol], *, inline: bool = False) -> Block:
    """Equations as array code, what depends on ``constants`` alone apart; ``inline``: later ones use earlier ones."""
    expressions = [sympy.sympify(e) for e in equations.values()]
    if inline:
        expressions = _inline(equations)
    hoist = _Hoist(constants)
    moved = [hoist(e) for e in expressions]
    shared, results = sympy.cse(moved, order="none") if moved else ([], [])
    return Block(
        tuple(str(s) for s in equations), tuple((s, e) for e, s in hoist.found.items()), tuple(shared), tuple(results)
    )


def _inline(equations: Equations) -> list[sympy.Basic]:
    """Later outputs may use earlier ones: put their expressions in place."""
    seen: dict[sympy.Basic, sympy.Basic] = {}
    for name, right in equations.items():
        seen[name] = sympy.sympify(right).xreplace(seen)
    return list(seen.values())


def _rows(values: Sequence[Array], like: Array) -> Array:
    shape = jnp.shape(like)
    return (
        jnp.stack([jnp.broadcast_to(jnp.asarray(v, float), shape) for v in values])
        if values
        else jnp.zeros((0, *shape))
    )


@dataclass(frozen=True, eq=False)
class CompiledModel:
    """A model as functions of arrays; patients are the last axis of every array.

    Attributes:
        model: the equations it was made from.
        states: names of the states, in the order of the rows of ``x``.
        parameters: names that ``p`` must hold (parameters and covariates of the equations).
        targets: targets of drugs, as in `potency_<target>`.
        effects: names of the effects, in the order of the rows of ``u``.
        outputs: names of the outputs.
        events: event -> names of the covariates that come with it.
    """

    model: Model
    states: tuple[str, ...]
    parameters: tuple[str, ...]
    targets: tuple[str, ...]
    effects: tuple[str, ...]
    outputs: tuple[str, ...]
    events: Mapping[str, tuple[str, ...]]
    _initial: Block = field(repr=False)
    _effects: Block = field(repr=False)
    _outputs: Block = field(repr=False)
    _maps: Mapping[str, Block] = field(repr=False)
    _symbols: Mapping[str, sympy.Symbol] = field(repr=False)

    @cached_property
    def _rates(self) -> Block:
        """All rates; most runs need only the reduced ones."""
        return make_block(self.model.rates, set(self.model.parameters))

    @cached_property
    def interval_scaled(self) -> np.ndarray:
        """[S] which states have no zero of their own, so that errors count against 1 SD."""
        return np.array([declaration(s).interval_scaled for s in self.model.states], bool)

    def prepare_rates(self, p: Mapping[str, Array]) -> list[Array]:
        """What of the rates depends on parameters alone, computed once for a patient."""
        return self._rates.prepare(self.environment(p))

    def prepare_effects(self, p: Mapping[str, Array]) -> list[Array]:
        """What of the effects depends on parameters alone."""
        return self._effects.prepare(self.environment(p))

    def rates(
        self, age: Array, x: Array, u: Array, p: Mapping[str, Array], prepared: Sequence[Array] | None = None
    ) -> list[Array]:
        """d(state)/dt [unit/day], a list of [P], at age [P] day, states ``x`` [S][P] and effects ``u`` [U][P]."""
        env = self.environment(p)
        self._put(env, ("age",), (age,))
        self._put(env, self.states, x)
        self._put(env, self.effects, u)
        return self._rates(env, prepared)

    def affected(
        self, potencies: Mapping[str, Array], p: Mapping[str, Array], prepared: Sequence[Array] | None = None
    ) -> list[Array]:
        """Effects (a list of arrays) from potencies, target -> array; targets left out have potency zero."""
        env = self.environment(p)
        for name in potencies:
            self._known(name, self.targets, "a target of this model")
        for target in self.targets:
            self._put(env, (f"potency_{target}",), (potencies.get(target, 0.0),))
        return self._effects(env, prepared)

    def initial(self, age: Array, p: Mapping[str, Array]) -> Array:
        """States [S, P] at the start."""
        env = self.environment(p)
        self._put(env, ("age",), (age,))
        return _rows(self._initial(env), age)

    def observe(
        self, age: Array, x: Array, u: Array, p: Mapping[str, Array], covariates: Mapping[str, Array]
    ) -> dict[str, Array]:
        """Outputs by name; ``covariates`` stand before ``p`` where both hold a name."""
        env = self.environment({**p, **covariates})
        self._put(env, ("age",), (age,))
        self._put(env, self.states, x)
        self._put(env, self.effects, u)
        return dict(zip(self.outputs, self._outputs(env), strict=True))

    def apply(self, event: str, x: Array, p: Mapping[str, Array], q: Mapping[str, Array]) -> Array:
        """States [S, P] after an event with its own covariates ``q``; states that it does not name stay."""
        self._known(event, self.events, "an event of this model")
        block = self._maps[event]
        env = self.environment({**p, **q})
        self._put(env, self.states, x)
        changed = dict(zip(block.names, block(env), strict=True))
        return _rows([changed.get(s, x[i]) for i, s in enumerate(self.states)], x[0])

    def require(self, p: Mapping[str, Array]) -> None:
        """Refuse a parameter table that lacks a name of the equations. Raises: ModelError."""
        missing = [n for n in self.parameters if n not in p]
        if missing:
            raise ModelError(
                f"no value for {', '.join(f'`{n}`' for n in missing)}",
                where=f"model `{self.model.name}`",
                rule="Every parameter and covariate of the equations has a value for each patient",
                cure="Add it to the parameter set or to the patient",
            )

    def environment(self, p: Mapping[str, Array]) -> Environment:
        """Parameters under their symbols."""
        return {s: p[n] for n, s in self._symbols.items() if n in p}

    def _put(self, env: Environment, names: Sequence[str], values: Sequence[Array]) -> None:
        for i, name in enumerate(names):
            if name in self._symbols:
                env[self._symbols[name]] = values[i]

    @staticmethod
    def _known(name: str, known: Sequence[str] | Mapping[str, Any], what: str) -> None:
        if name not in known:
            raise ModelError(f"`{name}` is not {what}", cure=nearest_hint(name, known))


_compiled: dict[str, CompiledModel] = {}


def compile_model(model: Model) -> CompiledModel:
    """Turn equations into array functions; equal models are compiled once.

    Raises:
        ModelError: an output stands in a rate, or a function has no array form.
    """
    key = model.fingerprint
    if key not in _compiled:
        _compiled[key] = _compile(model)
    return _compiled[key]


def _compile(model: Model) -> CompiledModel:
    constants = set(model.parameters)
    own = {e: tuple(str(s) for s in model.event_covariates(e)) for e in model.maps}
    symbols = {str(s): s for s in model.symbols()}
    potencies = [str(s) for s in model.symbols("potency")]
    return CompiledModel(
        model=model,
        states=tuple(str(s) for s in model.states),
        parameters=tuple(str(s) for s in model.parameters),
        targets=tuple(n.removeprefix("potency_") for n in potencies),
        effects=tuple(str(s) for s in model.effects),
        outputs=tuple(str(s) for s in model.outputs),
        events=own,
        _initial=make_block({state: model.initial[state] for state in model.states}, set()),
        _effects=make_block(model.effects, constants),
        _outputs=make_block(model.outputs, set(), inline=True),
        _maps={event: make_block(mapping, set()) for event, mapping in model.maps.items()},
        _symbols=symbols,
    )
