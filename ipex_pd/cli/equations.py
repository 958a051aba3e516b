"""`ipex-pd equations`: the model, written out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ipex_pd.cli import console
from ipex_pd.cli.runs import require_writable_file, write_atomically

if TYPE_CHECKING:
    from ipex_pd.records.parameters import Parameter


class Format(StrEnum):
    """How the equations are written."""

    markdown = "markdown"
    latex = "latex"


@dataclass(frozen=True)
class ParameterTable:
    """The parameters of several sets, as one table."""

    parameters: tuple[Parameter, ...]


def all_parameters() -> ParameterTable:
    """The parameters of every shipped set."""
    from ipex_pd.records.library import load_parameters, shipped

    return ParameterTable(tuple(p for name in shipped("parameters") for p in load_parameters(name).parameters))


def equations(
    format: Annotated[Format, typer.Option("--format", help="The language to write.")] = Format.markdown,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write to this file instead of standard output.")
    ] = None,
) -> None:
    """Write the model's equations with their units and sources.

    Example: ipex-pd equations --format latex --out model.tex
    """
    if out is not None:
        require_writable_file(out, "--out")
    from ipex_pd.equations.document import equations_latex, equations_markdown

    write = equations_markdown if format is Format.markdown else equations_latex
    text = write(parameter_set=all_parameters())
    if out is None:
        console.emit_text(text)
    else:
        write_atomically(out, text)
        console.say(f"Wrote {out}.")
