"""Formulas of files as array code: elementwise, and with derivatives that stay finite.

Both branches of ``a if c else b`` are computed. Where a branch is not chosen, its names and the arguments of its
functions that have poles or overflow are 1, so that no derivative becomes 0 x infinity. Where a base is exactly 0,
``sqrt`` and powers with a positive exponent have the derivatives that are finite there, and 0 for those that are not:
this keeps a structural zero (a concentration before the first dose) from making the gradient undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ipex_pd.errors import ModelError, nearest_hint
from ipex_pd.numerics.powers import integer_power
from ipex_pd.records.formulas import (
    Binary,
    Call,
    Choice,
    Comparison,
    Formula,
    Logical,
    Name,
    Negative,
    Not,
    Number,
    Tree,
)

Array = Any
_LARGEST_INTEGER_POWER = 64


def _sqrt(x: Array) -> Array:
    zero = x == 0
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, x)))


_WITH_POLES: dict[str, Callable[[Array], Array]] = {
    "exp": jnp.exp,
    "log": jnp.log,
    "log10": jnp.log10,
    "log1p": jnp.log1p,
    "sqrt": _sqrt,
    "logit": lambda x: jnp.log(x) - jnp.log1p(-x),
}
_WHOLE: dict[str, Callable[[Array], Array]] = {
    "abs": jnp.abs,
    "tanh": jnp.tanh,
    "expit": jax.nn.sigmoid,
    "floor": jnp.floor,
    "normal_cdf": jax.scipy.special.ndtr,
}
_SAFE = {"logit": 0.5}
_RELATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "<": jnp.less,
    "<=": jnp.less_equal,
    ">": jnp.greater,
    ">=": jnp.greater_equal,
    "==": jnp.equal,
    "!=": jnp.not_equal,
}
_ARITHMETIC: dict[str, Callable[[Array, Array], Array]] = {
    "+": jnp.add,
    "-": jnp.subtract,
    "*": jnp.multiply,
}


def compile_formula(formula: Formula) -> Callable[[Mapping[str, Array]], Array]:
    """The formula as an elementwise function of named arrays, pure in JAX.

    Args:
        formula: from `ipex_pd.records.formulas.parse_formula`.

    Returns:
        A function from a mapping of (at least) ``formula.names`` to arrays of shapes that broadcast; its value is
        float64, a condition counting 1 or 0. It raises ModelError when a name is missing.
    """
    tree, names = formula.tree, formula.names

    def value(values: Mapping[str, Array]) -> Array:
        for name in sorted(names - values.keys()):
            raise ModelError(
                f"`{name}` has no value",
                code="formula.missing-value",
                where=f"formula `{formula.text}`",
                rule=nearest_hint(name, values),
                cure="Give every name of the formula a value",
            )
        given = {name: jnp.asarray(values[name], dtype=float) for name in names}
        return jnp.asarray(_number(tree, given, None), dtype=float)

    return value


def _masked(x: Array, chosen: Array | None, safe: float) -> Array:
    return x if chosen is None else jnp.where(chosen, x, safe)


def _number(tree: Tree, values: Mapping[str, Array], chosen: Array | None) -> Array:
    """The value of a tree; ``chosen`` says where the branch it stands in is the one that counts (None: everywhere)."""
    match tree:
        case Number(value):
            return value
        case Name(name):
            return _masked(values[name], chosen, 1.0)
        case Negative(argument):
            return -_number(argument, values, chosen)
        case Binary():
            return _binary(tree, values, chosen)
        case Call():
            return _call(tree, values, chosen)
        case Choice(condition, yes, no):
            true = _condition(condition, values)
            false = jnp.logical_not(true)
            if chosen is not None:
                true, false = jnp.logical_and(chosen, true), jnp.logical_and(chosen, false)
            return jnp.where(true, _number(yes, values, true), _number(no, values, false))
        case Comparison() | Logical() | Not():
            return jnp.where(_condition(tree, values), 1.0, 0.0)


def _condition(tree: Tree, values: Mapping[str, Array]) -> Array:
    """Where a condition holds. It carries no derivative, so its parts need no guard."""
    match tree:
        case Comparison(operator, left, right):
            return _RELATIONS[operator](_number(left, values, None), _number(right, values, None))
        case Not(argument):
            return jnp.logical_not(_condition(argument, values))
        case Logical(operator, arguments):
            join = jnp.logical_and if operator == "and" else jnp.logical_or
            total = _condition(arguments[0], values)
            for argument in arguments[1:]:
                total = join(total, _condition(argument, values))
            return total
    return jnp.not_equal(_number(tree, values, None), 0)


def _binary(tree: Binary, values: Mapping[str, Array], chosen: Array | None) -> Array:
    left = _number(tree.left, values, chosen)
    if tree.operator == "**":
        return _power(left, tree.right, values, chosen)
    right = _number(tree.right, values, chosen)
    if tree.operator == "/":
        return jnp.divide(left, _masked(right, chosen, 1.0))
    return _ARITHMETIC[tree.operator](left, right)


def _power(base: Array, exponent: Tree, values: Mapping[str, Array], chosen: Array | None) -> Array:
    base = _masked(base, chosen, 1.0)
    if isinstance(exponent, Number) and exponent.value.is_integer() and abs(exponent.value) <= _LARGEST_INTEGER_POWER:
        raised = integer_power(base, abs(int(exponent.value)))
        return jnp.divide(1.0, raised) if exponent.value < 0 else raised
    power = jnp.asarray(_masked(_number(exponent, values, chosen), chosen, 1.0), dtype=float)
    zero = (jnp.asarray(base) == 0) & (power > 0)
    at_zero = 0.0 if isinstance(exponent, Number) else _power_at_zero(base, power)
    return jnp.where(zero, at_zero, jnp.power(jnp.where(zero, 1.0, base), power))


def _power_at_zero(base: Array, power: Array) -> Array:
    """A power where its base is 0, with the derivatives by the base that are finite; those by the exponent are 0."""
    total = jnp.zeros_like(base * power)
    for n in (1, 2, 3):
        total = total + jnp.where(power == n, integer_power(base, n), 0.0)
    return total


def _call(tree: Call, values: Mapping[str, Array], chosen: Array | None) -> Array:
    arguments = [_number(argument, values, chosen) for argument in tree.arguments]
    if tree.function in ("min", "max"):
        join = jnp.minimum if tree.function == "min" else jnp.maximum
        total = arguments[0]
        for argument in arguments[1:]:
            total = join(total, argument)
        return total
    argument = jnp.asarray(arguments[0], dtype=float)
    if tree.function in _WITH_POLES:
        return _WITH_POLES[tree.function](_masked(argument, chosen, _SAFE.get(tree.function, 1.0)))
    return _WHOLE[tree.function](argument)
