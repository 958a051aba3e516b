"""`ipex-pd equations`: the model, written out."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ipex_pd.cli import console
from ipex_pd.cli.runs import require_writable_file, write_atomically


class Format(StrEnum):
    """How the equations are written."""

    markdown = "markdown"
    latex = "latex"


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

    text = equations_markdown() if format is Format.markdown else equations_latex()
    if out is None:
        console.emit_text(text)
    else:
        write_atomically(out, text)
        console.say(f"Wrote {out}.")
