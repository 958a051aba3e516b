"""The equations written out: every state, effect, output and map with units and meanings, parameters with sources."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import sympy

from ipex_pd.equations.immunity import antigen, b_normal, b_total, cd4_normal, t_total
from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.model import Model
from ipex_pd.equations.symbols import Declaration, Name, declaration


class SourceText(Protocol):
    """Where a number comes from, in words."""

    def in_words(self) -> str:
        """One line."""
        ...


class ParameterText(Protocol):
    """What the document shows of a parameter."""

    @property
    def name(self) -> str:
        """Its name in the equations."""
        ...

    @property
    def value(self) -> float:
        """Its value, in its unit."""
        ...

    @property
    def unit(self) -> str:
        """Its unit."""
        ...

    @property
    def source(self) -> SourceText:
        """Where the value comes from."""
        ...


class ParameterTable(Protocol):
    """A set of parameters with values and sources."""

    @property
    def parameters(self) -> Sequence[ParameterText]:
        """In order."""
        ...


_SHORT: tuple[tuple[sympy.Expr, str, str], ...] = (
    (cd4_normal, r"C_n(a)", "CD4 cells normal for age"),
    (b_normal, r"B_n(a)", "B cells normal for age"),
    (antigen, r"G", "antigen, with feedback from injury"),
    (t_total, r"T_{+}", "T cells of host and donor"),
    (b_total, r"B_{+}", "B cells of host and donor"),
)


def symbol_latex(name: Name) -> str:
    """How a declared name is printed."""
    shown = declaration(name).latex
    return shown or r"\mathrm{" + str(name).replace("_", r"\_") + "}"


def expression_latex(expression: sympy.Expr) -> str:
    """An expression in LaTeX, with the shorthands of the model (cells normal for age, totals, antigen)."""
    expression = sympy.sympify(expression)
    shorthand = {long: sympy.Symbol(short) for long, short, _ in _SHORT}
    written = expression.xreplace(shorthand)
    names = {s: symbol_latex(s) for s in written.free_symbols if isinstance(s, Name)}
    names |= {s: str(s) for s in shorthand.values()}
    return str(sympy.latex(written, symbol_names=names))


def _lines(model: Model) -> Iterable[tuple[str, list[str]]]:
    yield "Effects of the drugs", [f"{symbol_latex(k)} = {expression_latex(v)}" for k, v in model.effects.items()]
    rates = [rf"\frac{{d{symbol_latex(k)}}}{{da}} = {expression_latex(v)}" for k, v in model.rates.items()]
    yield "Rates", [*_shorthands(), *rates]
    yield "Initial values", [f"{symbol_latex(k)}(a_0) = {expression_latex(v)}" for k, v in model.initial.items()]
    for event, mapping in model.maps.items():
        jumps = [rf"{symbol_latex(k)}^{{+}} = {expression_latex(v)}" for k, v in mapping.items()]
        yield f"At a {event}", jumps
    yield "Outputs", [f"{symbol_latex(k)} = {expression_latex(v)}" for k, v in model.outputs.items()]


def _shorthands() -> list[str]:
    lines = []
    for long, short, _ in _SHORT:
        names = {s: symbol_latex(s) for s in long.free_symbols}
        lines.append(f"{short} = {sympy.latex(long, symbol_names=names)}")
    return lines


_KINDS = (
    ("state", "States"),
    ("potency", "Drug potencies"),
    ("effect", "Drug effects"),
    ("output", "Outputs"),
    ("covariate", "Given with a transplant"),
    ("parameter", "Parameters"),
)


def _names(model: Model, kind: str) -> list[Declaration]:
    return [declaration(s) for s in model.symbols() if declaration(s).kind == kind]


def _printed(known: Declaration) -> str:
    return known.latex or r"\mathrm{" + known.name.replace("_", r"\_") + "}"


def _number(value: float) -> str:
    return f"{value:.4g}"


def equations_markdown(model: Model | None = None, parameter_set: ParameterTable | None = None) -> str:
    """The whole model as Markdown with LaTeX formulas.

    Args:
        model: the model; the composed disease when left out.
        parameter_set: values and sources for the table of parameters; without it the table has units and meanings.

    Returns:
        The text of a page, ending in a newline.
    """
    model = model or ipex_model()
    parts = [f"# Equations of `{model.name}`", "Time is the age $a$ in days."]
    for title, lines in _lines(model):
        if lines:
            parts += [f"## {title}", *(f"$$\n{line}\n$$" for line in lines)]
    values = {p.name: p for p in parameter_set.parameters} if parameter_set else {}
    for kind, title in _KINDS:
        known = _names(model, kind)
        if known:
            parts += [f"## {title}", _markdown_table(known, values if kind == "parameter" else {})]
    return "\n\n".join(parts) + "\n"


def _markdown_table(known: list[Declaration], values: dict[str, ParameterText]) -> str:
    head = ["symbol", "name", "unit", "meaning"] + (["value", "source"] if values else [])
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for one in known:
        cells = [f"${_printed(one)}$", f"`{one.name}`", one.unit, one.meaning]
        if values:
            given = values.get(one.name)
            cells += (
                [f"{_number(given.value)} {given.unit}", given.source.in_words()] if given else ["", "not in the set"]
            )
        rows.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
    return "\n".join(rows)


def equations_latex(model: Model | None = None, parameter_set: ParameterTable | None = None) -> str:
    """The whole model as a LaTeX document; arguments as in `equations_markdown`."""
    model = model or ipex_model()
    parts = [_PREAMBLE, rf"\section*{{Equations of {_escape(model.name)}}}", r"Time is the age $a$ in days."]
    for title, lines in _lines(model):
        if lines:
            parts.append(rf"\subsection*{{{_escape(title)}}}")
            parts += [rf"\begin{{dmath*}}{line}\end{{dmath*}}" for line in lines]
    values = {p.name: p for p in parameter_set.parameters} if parameter_set else {}
    for kind, title in _KINDS:
        known = _names(model, kind)
        if known:
            parts += [rf"\subsection*{{{title}}}", _latex_table(known, values if kind == "parameter" else {})]
    return "\n".join([*parts, r"\end{document}"]) + "\n"


def _latex_table(known: list[Declaration], values: dict[str, ParameterText]) -> str:
    columns = "lllp{5cm}" + ("lp{5cm}" if values else "")
    rows = [rf"\begin{{longtable}}{{{columns}}}"]
    for one in known:
        cells = [f"${_printed(one)}$", _escape(one.name), _escape(one.unit), _escape(one.meaning)]
        given = values.get(one.name)
        if values:
            shown = (
                [f"{_number(given.value)} {given.unit}", given.source.in_words()] if given else ["", "not in the set"]
            )
            cells += [_escape(cell) for cell in shown]
        rows.append(" & ".join(cells) + r" \\")
    return "\n".join([*rows, r"\end{longtable}"])


_PREAMBLE = r"""\documentclass{article}
\usepackage[margin=2cm]{geometry}
\usepackage{amsmath,breqn,longtable}
\begin{document}"""

_SPECIAL = {c: "\\" + c for c in "&%$#_{}"} | {
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
}


def _escape(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in text)
