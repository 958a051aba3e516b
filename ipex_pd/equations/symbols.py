"""Names of the equations, declared once: state(), parameter(), covariate(), potency(), effect(), output().

A declared name is a sympy symbol; its unit, meaning and kind stand in a record that travels with it. Within a
model, two declarations of one name must agree in everything, so that subsystems share names without sharing files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import sympy

from ipex_pd.errors import ModelError

Kind = Literal["time", "state", "parameter", "covariate", "potency", "effect", "output"]


@dataclass(frozen=True)
class Declaration:
    """What a name means.

    Attributes:
        name: the word used in files and results.
        unit: its unit in the model (time in days).
        meaning: one line for people.
        kind: `state` (integrated), `parameter` (constant in time, one value a patient), `covariate` (constant given
            fact of the patient), `potency` (sum over drugs of concentration over EC50 on one target, changes in time),
            `effect` (time-only input of the rates, a function of potencies), `output` (observable), `time`.
        latex: how it is printed.
    """

    name: str
    unit: str
    meaning: str
    kind: Kind
    latex: str = ""

    @property
    def interval_scaled(self) -> bool:
        """Whether zero is a convention and not absence, as for z-scores: only differences mean something, in SD."""
        return self.unit == "SD"


class Name(sympy.Symbol):  # type: ignore[misc]  # sympy has no types
    """A sympy symbol with a declaration; symbols declared differently differ, even under one name."""

    __slots__ = ("declaration",)
    declaration: Declaration

    def _hashable_content(self) -> tuple[object, ...]:
        about = self.declaration
        return (about.name, about.kind, about.unit, about.meaning, about.latex, *sorted(self.assumptions0.items()))


def _declare(name: str, unit: str, meaning: str, kind: Kind, latex: str) -> Name:
    symbol: Name = sympy.Symbol.__xnew__(Name, name, real=True)
    symbol.declaration = Declaration(name, unit, meaning, kind, latex)
    return symbol


def state(name: str, unit: str, meaning: str, latex: str = "") -> Name:
    """Declare a state variable."""
    return _declare(name, unit, meaning, "state", latex)


def parameter(name: str, unit: str, meaning: str, latex: str = "") -> Name:
    """Declare a parameter: constant in time, one value for each patient."""
    return _declare(name, unit, meaning, "parameter", latex)


def covariate(name: str, unit: str, meaning: str, latex: str = "") -> Name:
    """Declare a covariate: a given fact of the patient."""
    return _declare(name, unit, meaning, "covariate", latex)


def potency(target: str, meaning: str, latex: str = "") -> Name:
    """Declare the drug potency on a target: the sum over drugs of concentration / EC50 [1]."""
    return _declare(f"potency_{target}", "1", meaning, "potency", latex)


def effect(name: str, meaning: str, latex: str = "") -> Name:
    """Declare a time-only input of the rates [1], a function of potencies."""
    return _declare(name, "1", meaning, "effect", latex)


def output(name: str, unit: str, meaning: str, latex: str = "") -> Name:
    """Declare an observable output."""
    return _declare(name, unit, meaning, "output", latex)


age = _declare("age", "day", "age of the patient since birth", "time", "a")
"""Age in days: the only time the equations know."""


def declaration(symbol: sympy.Symbol) -> Declaration:
    """The declaration of a symbol.

    Raises:
        ModelError: the symbol was never declared.
    """
    if isinstance(symbol, Name):
        return symbol.declaration
    raise ModelError(
        f"`{symbol}` stands in an equation but was never declared",
        rule="Every name has a unit and a meaning",
        cure="Declare it with state(), parameter(), covariate(), potency(), effect() or output()",
    )
