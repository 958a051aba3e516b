"""`ipex-pd catalogue`: what is shipped."""

from __future__ import annotations

from typing import Annotated

import typer

from ipex_pd.cli import console
from ipex_pd.cli.options import JsonOption
from ipex_pd.errors import UsageError, nearest_hint


def catalogue(
    kind: Annotated[str, typer.Argument(metavar="[KIND]", help="Show one shelf only, such as drugs or regimens.")] = "",
    json: JsonOption = False,
) -> None:
    """List everything that is shipped, shelf by shelf.

    Every name can be used wherever a file can.

    Example: ipex-pd catalogue regimens
    """
    from ipex_pd.records.library import catalogue as shelves

    names = shelves()
    if kind:
        if kind not in names:
            raise UsageError(
                f"`{kind}` is not a shelf",
                where="KIND",
                rule="The library has named shelves",
                cure=nearest_hint(kind, names),
            )
        names = {kind: names[kind]}
    if json:
        console.emit_json(names)
        return
    for shelf, entries in names.items():
        console.emit_text(f"{shelf}:")
        console.emit_text("\n".join(f"  {entry}" for entry in entries) if entries else "  (empty)")
