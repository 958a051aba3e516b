"""Formulas that people write in files: parsed with `ast`, whitelisted, kept as a tree, never evaluated as code."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError, nearest_hint
from ipex_pd.records.record import carried

FUNCTIONS: dict[str, int] = {
    "exp": 1,
    "log": 1,
    "log10": 1,
    "log1p": 1,
    "sqrt": 1,
    "abs": 1,
    "tanh": 1,
    "logit": 1,
    "expit": 1,
    "floor": 1,
    "normal_cdf": 1,
    "min": 2,
    "max": 2,
}
"""Every function of the grammar and how many arguments it takes; `min` and `max` take two or more."""

_MANY = ("min", "max")
_ARITHMETIC: dict[type[ast.operator], str] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_RELATIONS: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_LONGEST, _DEEPEST = 20_000, 150
_GRAMMAR = (
    "A formula has numbers, names, + - * / ** (or ^), comparisons, `a if c else b`, and/or/not, and the functions "
    + ", ".join(FUNCTIONS)
)


@dataclass(frozen=True)
class Number:
    """A finite number."""

    value: float


@dataclass(frozen=True)
class Name:
    """The value of a name."""

    name: str


@dataclass(frozen=True)
class Negative:
    """Minus its argument."""

    argument: Tree


@dataclass(frozen=True)
class Binary:
    """Two values joined by ``+ - * / **``."""

    operator: str
    left: Tree
    right: Tree


@dataclass(frozen=True)
class Call:
    """A function of `FUNCTIONS`."""

    function: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True)
class Comparison:
    """``< <= > >= == !=``: a condition."""

    operator: str
    left: Tree
    right: Tree


@dataclass(frozen=True)
class Logical:
    """``and`` or ``or`` of two or more conditions."""

    operator: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True)
class Not:
    """The opposite of a condition."""

    argument: Tree


@dataclass(frozen=True)
class Choice:
    """``yes if condition else no``."""

    condition: Tree
    yes: Tree
    no: Tree


Tree: TypeAlias = Number | Name | Negative | Binary | Call | Comparison | Logical | Not | Choice
CONDITIONS = (Comparison, Logical, Not)
"""Trees that are true or false; in arithmetic they count 1 or 0."""


@dataclass(frozen=True)
class Formula:
    """A formula that has been read.

    Args:
        text: as written.
        tree: what it means.
        names: the names it uses; functions are not names.
    """

    text: str
    tree: Tree = field(repr=False)
    names: frozenset[str] = field(repr=False)

    def __str__(self) -> str:
        return self.text

    @property
    def is_condition(self) -> bool:
        """Whether it is true or false rather than a number."""
        return isinstance(self.tree, CONDITIONS)


def children(tree: Tree) -> tuple[Tree, ...]:
    """The trees directly below a tree."""
    match tree:
        case Negative(argument) | Not(argument):
            return (argument,)
        case Binary(_, left, right) | Comparison(_, left, right):
            return (left, right)
        case Call(_, arguments) | Logical(_, arguments):
            return arguments
        case Choice(condition, yes, no):
            return (condition, yes, no)
    return ()


def walk(tree: Tree) -> Iterator[Tree]:
    """A tree and everything below it."""
    waiting = [tree]
    while waiting:
        tree = waiting.pop()
        yield tree
        waiting.extend(children(tree))


def parse_formula(text: str | float) -> Formula:
    """Read a formula.

    Args:
        text: for example ``tvcl * (wt / 70) ** 0.75``; a plain number is a formula too. Line breaks are spaces.

    Raises:
        RecordError: something outside the grammar; the message quotes it (codes ``formula.*``).
    """
    if isinstance(text, bool) or not isinstance(text, str | int | float):
        raise _refusal("type", f"`{text}` is not a formula", "Write it as text or as a number")
    written = " ".join((text if isinstance(text, str) else repr(text)).split())
    if not written:
        raise _refusal("empty", "The formula is empty", "Write a number or an expression")
    if len(written) > _LONGEST:
        raise _refusal("long", f"`{_short(written)}` has {len(written)} characters", "Name its parts")
    if "#" in written:
        raise _refusal("syntax", f"`#` stands in the formula `{_short(written)}`", "Put comments outside the formula")
    tree = _Reader(written.replace("^", "**")).tree()
    return Formula(written, tree, frozenset(node.name for node in walk(tree) if isinstance(node, Name)))


def require_names(formula: Formula, known: Iterable[str], *, where: str = "", meaning: str = "name") -> None:
    """Refuse a formula that uses a name which does not exist.

    Raises:
        UnknownKeyError: with the formula's text and the nearest names (code ``formula.unknown-name``).
    """
    names = set(known)
    for name in sorted(formula.names - names):
        raise UnknownKeyError(
            f"`{name}` in `{_short(formula.text)}` is not a {meaning}",
            code="formula.unknown-name",
            where=where,
            rule=nearest_hint(name, names),
            cure="Correct the spelling or declare it",
        )


def _short(text: str, length: int = 80) -> str:
    return text if len(text) <= length else text[: length - 3] + "..."


def _refusal(code: str, what: str, cure: str, rule: str = _GRAMMAR) -> RecordError:
    return RecordError(what, code=f"formula.{code}", rule=rule, cure=cure)


class _Reader:
    """From Python's syntax tree to ours; whatever is not named here is refused."""

    def __init__(self, text: str) -> None:
        self.text = text

    def tree(self) -> Tree:
        try:
            body = ast.parse(self.text, mode="eval").body
        except SyntaxError as error:
            at = self.text[max((error.offset or 1) - 1, 0) :] or self.text
            raise self._refuse("syntax", at, "cannot be read", f"Look at `{_short(at, 30)}`") from None
        except (ValueError, MemoryError, RecursionError, OverflowError):
            raise self._refuse("syntax", self.text, "cannot be read", "Write it in several named parts") from None
        return self._read(body, 0)

    def _read(self, node: ast.AST, depth: int) -> Tree:
        if depth > _DEEPEST:
            raise self._refuse("deep", self.text, "is nested too deeply", "Write it in several named parts")
        depth += 1
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name():
                return self._name(node)
            case ast.UnaryOp():
                return self._unary(node, depth)
            case ast.BinOp():
                return self._binary(node, depth)
            case ast.Call():
                return self._call(node, depth)
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.BoolOp():
                parts = tuple(self._condition(value, depth) for value in node.values)
                return Logical("and" if isinstance(node.op, ast.And) else "or", parts)
            case ast.IfExp():
                condition = self._condition(node.test, depth)
                return Choice(condition, self._read(node.body, depth), self._read(node.orelse, depth))
        raise self._refuse("syntax", self._source(node), "is not part of the grammar", "Write it another way")

    def _number(self, node: ast.Constant) -> Number:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._refuse("syntax", self._source(node), "is not a number", "Write a number or a name")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self._refuse("number", self._source(node), "is not a finite number", "Write a smaller number")
        return Number(number)

    def _name(self, node: ast.Name) -> Name:
        written = self._source(node)
        if not _NAME.fullmatch(written):
            raise self._refuse("name", written, "is not a name", "Names have letters, digits and underscores")
        if written in FUNCTIONS:
            raise self._refuse("name", written, "is a function without arguments", f"Write `{written}(...)`")
        return Name(written)

    def _unary(self, node: ast.UnaryOp, depth: int) -> Tree:
        if isinstance(node.op, ast.Not):
            return Not(self._condition(node.operand, depth))
        if isinstance(node.op, ast.Invert):
            raise self._refuse("syntax", self._source(node), "is not part of the grammar", "Write `not`")
        argument = self._read(node.operand, depth)
        if isinstance(node.op, ast.UAdd):
            return argument
        return Number(-argument.value) if isinstance(argument, Number) else Negative(argument)

    def _binary(self, node: ast.BinOp, depth: int) -> Binary:
        operator = _ARITHMETIC.get(type(node.op))
        if operator is None:
            cure = "Write `floor(a / b)`" if isinstance(node.op, ast.FloorDiv) else "Use + - * / **"
            raise self._refuse("operator", self._source(node), "uses an operator that does not exist here", cure)
        return Binary(operator, self._read(node.left, depth), self._read(node.right, depth))

    def _call(self, node: ast.Call, depth: int) -> Call:
        written = self._source(node.func)
        if not isinstance(node.func, ast.Name) or written not in FUNCTIONS:
            rule = nearest_hint(written, FUNCTIONS)
            raise self._refuse("function", self._source(node), "calls an unknown function", "Use a known one", rule)
        count, wanted = len(node.args), FUNCTIONS[written]
        if node.keywords or (count < wanted) or (count > wanted and written not in _MANY):
            takes = "two or more arguments" if written in _MANY else "one argument"
            cure = f"Give `{written}` its arguments"
            raise self._refuse("arguments", self._source(node), "has the wrong arguments", cure, f"It takes {takes}")
        return Call(written, tuple(self._read(argument, depth) for argument in node.args))

    def _comparison(self, node: ast.Compare, depth: int) -> Tree:
        values = [self._read(value, depth) for value in (node.left, *node.comparators)]
        parts = []
        for operator, left, right in zip(node.ops, values[:-1], values[1:], strict=True):
            symbol = _RELATIONS.get(type(operator))
            if symbol is None:
                cure = "Use < <= > >= == !="
                raise self._refuse("operator", self._source(node), "compares in a way that does not exist here", cure)
            parts.append(Comparison(symbol, left, right))
        return parts[0] if len(parts) == 1 else Logical("and", tuple(parts))

    def _condition(self, node: ast.AST, depth: int) -> Tree:
        tree = self._read(node, depth)
        if not isinstance(tree, CONDITIONS):
            source = self._source(node)
            raise self._refuse(
                "condition", source, "is not a condition", f"Write `{_short(source, 30)} != 0`", "Conditions compare"
            )
        return tree

    def _source(self, node: ast.AST) -> str:
        return ast.get_source_segment(self.text, node) or self.text  # type: ignore[arg-type]

    def _refuse(self, code: str, part: str, what: str, cure: str, rule: str = _GRAMMAR) -> RecordError:
        inside = "" if part == self.text else f" in `{_short(self.text)}`"
        return _refusal(code, f"`{_short(part)}`{inside} {what}", cure, rule)


def _formula(value: Any) -> Formula:
    if isinstance(value, Formula):
        return value
    try:
        return parse_formula(value)
    except IpexError as error:
        raise carried(error) from error


FormulaText = Annotated[
    Formula, PlainValidator(_formula), PlainSerializer(lambda formula: formula.text, return_type=str)
]
"""A formula as a field of a record, written as text or as a number."""
