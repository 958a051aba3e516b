"""`ipex-pd check`: is this file right, and what was understood of it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ipex_pd.cli import console
from ipex_pd.cli.options import JsonOption
from ipex_pd.errors import IpexError, UsageError


def check(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Parameter, drug, patient or regimen files.")],
    json: JsonOption = False,
) -> None:
    """Check input files and say in plain words what was understood.

    Exit code 0: all are right; 1: there are findings; 2: a file does not exist.

    Example: ipex-pd check my_patient.yaml my_regimen.yaml
    """
    for file in files:
        _require(file)
    results = [_examine(Path(file)) for file in files]
    if json:
        console.emit_json({"files": results})
    else:
        for result in results:
            _print(result)
    if any(result["findings"] for result in results):
        raise typer.Exit(console.EXIT_FAILED)


def _require(file: str) -> None:
    if not Path(file).is_file():
        raise UsageError(f"`{file}` is not a file", where="FILE", rule="Files that exist can be checked")


def _examine(path: Path) -> dict[str, Any]:
    from ipex_pd.records.library import describe, findings, kind_of

    found: list[dict[str, str]] = []
    kind, words = "", []
    try:
        kind = kind_of(path)
        found = [finding.as_dict() for finding in findings(path)]
        words = [] if found else describe(path)
    except IpexError as error:
        found.append(error.as_dict())
    return {"file": str(path), "kind": kind, "understood": words, "findings": found}


def _print(result: dict[str, Any]) -> None:
    state = f"{len(result['findings'])} finding(s)" if result["findings"] else "right"
    console.emit_text(f"{result['file']}: {result['kind'] or 'unknown kind'}, {state}")
    for line in result["understood"]:
        console.emit_text(f"  {line}")
    for finding in result["findings"]:
        parts = [finding["where"], finding["what"], finding["rule"], finding["cure"]]
        console.emit_text("  - " + " ".join(part.rstrip(". ") + "." for part in parts if part) + f" [{finding['code']}]")
