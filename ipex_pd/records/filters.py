"""Which rows of a table to use: conditions over its columns, in the grammar of formulas or as `COLUMN.EQ.value`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import RecordError
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
    parse_formula,
    walk,
)

Values = NDArray[np.float64]
_DOTTED = re.compile(r"(?P<column>[^.]+?)\s*\.(?P<operator>EQ|NE|LT|LE|GT|GE|EQN|NEN)\.\s*(?P<value>.+)", re.IGNORECASE)
_SYMBOLS = {"EQ": "==", "EQN": "==", "NE": "!=", "NEN": "!=", "LT": "<", "LE": "<=", "GT": ">", "GE": ">="}
_RELATIONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "**": np.power,
}
_FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "log": np.log,
    "log10": np.log10,
    "log1p": np.log1p,
    "sqrt": np.sqrt,
    "abs": np.abs,
    "tanh": np.tanh,
    "floor": np.floor,
}


@dataclass(frozen=True)
class RowFilter:
    """A condition over the cells of a row.

    Args:
        text: as written.
        columns: headers it looks at.
        formula: the condition over numbers, or None for a comparison of words.
        column, operator, word: the comparison of words.
    """

    text: str
    columns: frozenset[str]
    formula: Formula | None = None
    column: str = ""
    operator: str = ""
    word: str = ""

    def holds(self, values: Mapping[str, Values]) -> NDArray[np.bool_]:
        """Where the condition holds, for columns of numbers (NaN where a cell is empty: nothing holds there)."""
        assert self.formula is not None
        with np.errstate(all="ignore"):
            true = np.asarray(_value(self.formula.tree, values), dtype=bool)
        empty = [np.isnan(values[name]) for name in self.columns]
        return np.asarray(true & ~np.any(empty, axis=0))


def parse_filter(text: str) -> RowFilter:
    """Read a condition: `TIME > 24 and BLQ == 0`, `ID.EQ.2` or `SEX.NE.M`.

    Raises:
        RecordError: not a condition, or outside the grammar of formulas.
    """
    dotted = _DOTTED.fullmatch(text.strip()) if isinstance(text, str) else None
    if dotted:
        column, symbol = dotted["column"].strip(), _SYMBOLS[dotted["operator"].upper()]
        value = dotted["value"].strip().strip("\"'")
        if not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?", value):
            return _words(text, column, symbol, value)
        tree = Comparison(symbol, Name(column), Number(float(value)))
        return RowFilter(text, frozenset({column}), Formula(text, tree, frozenset({column})))
    formula = parse_formula(text)
    functions = {node.function for node in walk(formula.tree) if isinstance(node, Call)}
    if not formula.is_condition or not formula.names or functions - {*_FUNCTIONS, "min", "max"}:
        raise RecordError(
            f"`{text}` does not choose rows",
            code="data.filter",
            rule="A filter is a condition over columns",
            cure="Write for example `ID == 2`, `TIME > 24 and BLQ == 0` or `SEX.EQ.M`",
        )
    return RowFilter(formula.text, formula.names, formula)


def _words(text: str, column: str, symbol: str, value: str) -> RowFilter:
    if symbol not in ("==", "!="):
        raise RecordError(
            f"`{value}` in `{text}` is not a number",
            code="data.filter",
            rule="Words are equal (EQ) or not (NE), never larger or smaller",
            cure="Compare with a number",
        )
    return RowFilter(text, frozenset({column}), None, column, symbol, value)


def _value(tree: Tree, values: Mapping[str, Values]) -> Any:
    match tree:
        case Number(value):
            return value
        case Name(name):
            return values[name]
        case Negative(argument):
            return -_value(argument, values)
        case Not(argument):
            return np.logical_not(_value(argument, values))
        case Binary(operator, left, right):
            return _ARITHMETIC[operator](_value(left, values), _value(right, values))
        case Comparison(operator, left, right):
            return _RELATIONS[operator](_value(left, values), _value(right, values))
        case Logical(operator, arguments):
            parts = [_value(argument, values) for argument in arguments]
            join = np.logical_and if operator == "and" else np.logical_or
            return join.reduce(np.broadcast_arrays(*parts))
        case Choice(condition, yes, no):
            return np.where(_value(condition, values), _value(yes, values), _value(no, values))
        case Call(function, arguments):
            parts = [_value(argument, values) for argument in arguments]
            if function in ("min", "max"):
                least = np.minimum if function == "min" else np.maximum
                return least.reduce(np.broadcast_arrays(*parts))
            return _FUNCTIONS[function](parts[0])
