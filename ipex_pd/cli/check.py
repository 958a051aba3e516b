"""`ipex-pd check`: is this file right, and what was understood of it?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ipex_pd.cli import console
from ipex_pd.cli.data_check import (
    DATA,
    examine_cohort,
    examine_cohort_of,
    examine_data_of,
    examine_table,
    is_error,
    is_table,
    print_table,
)
from ipex_pd.cli.options import JsonOption
from ipex_pd.errors import IpexError, UsageError, nearest_hint

_BEHIND = {"problems": examine_data_of, "cohort_problems": examine_cohort_of, "cohorts": examine_cohort}
"""Kinds of records that name a table, and how it is checked."""


def check(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME|FILE...",
            help="Files of any kind: parameters, drugs, patients, regimens, observations, problems, cohorts, tables.",
        ),
    ],
    problem: Annotated[
        str,
        typer.Option(
            "--problem", metavar="NAME|FILE", help="The estimation problem whose data the given table is to be."
        ),
    ] = "",
    json: JsonOption = False,
) -> None:
    """Check input files and say in plain words what was understood.

    A table of data is read by the usual names of columns, or as --problem says; a problem or a cohort is checked with
    its data.
    Exit code 0: all are right (warnings are no fault); 1: there are findings; 2: a file or name does not exist.

    Example: ipex-pd check my_patient.yaml my_regimen.yaml
    """
    paths = [path for file in files for path in _behind(file)]
    if problem and not any(is_table(path) for path in paths):
        raise UsageError(
            "no table of data is given", where="--problem", rule="It says how a table is read", cure="Name the table"
        )
    results = [result for path in paths for result in _results(path, problem)]
    if json:
        console.emit_json({"files": results})
    else:
        for result in results:
            (print_table if result["kind"] == DATA else _print)(result)
    if any(is_error(finding) for result in results for finding in result["findings"]):
        raise typer.Exit(console.EXIT_FAILED)


def _behind(given: str) -> list[Path]:
    """The file itself, or every shipped file of that name (a drug and a regimen may share one)."""
    from ipex_pd.records.library import all_names, files_of

    path = Path(given)
    if path.is_file():
        return [path]
    if path.is_dir():
        raise UsageError(
            f"`{given}` is a folder", where="FILE", rule="Files are checked", cure=f"Name them: {path}/*.yaml"
        )
    paths = files_of(given)
    if not paths and path.suffix:
        raise UsageError(
            f"there is no file `{given}`", where="FILE", rule="A file to check exists", cure="Check the path"
        )
    if not paths:
        raise UsageError(
            f"`{given}` is neither a file nor a shipped name",
            where="FILE",
            rule=nearest_hint(given, all_names()),
            cure="See: ipex-pd catalogue",
        )
    return paths


def _results(path: Path, problem: str) -> list[dict[str, Any]]:
    if is_table(path):
        return [examine_table(path, problem)]
    result = _examine(path)
    further = None if result["findings"] else _BEHIND.get(result["kind"])
    try:
        return [result, further(path)] if further else [result]
    except IpexError as error:
        return [{**result, "findings": [error.as_dict()]}]


def _examine(path: Path) -> dict[str, Any]:
    from ipex_pd.records.library import describe, findings, kind_of, load

    found: list[dict[str, str]] = []
    kind, words = "", []
    try:
        kind = kind_of(path)
        found = [finding.as_dict() for finding in findings(path)]
        words = [] if found else describe(load(path))
    except IpexError as error:
        found.append(error.as_dict())
    return {"file": str(path), "kind": kind, "understood": words, "findings": found}


def _print(result: dict[str, Any]) -> None:
    count = len(result["findings"])
    state = ("1 finding" if count == 1 else f"{count} findings") if count else "right"
    console.emit_text(f"{result['file']}: {result['kind'] or 'kind not known'}, {state}")
    for line in result["understood"]:
        console.emit_text(f"  {line}")
    for finding in result["findings"]:
        head = f"{finding['where']}: {finding['what']}" if finding["where"] else finding["what"]
        parts = [head, finding["rule"], finding["cure"]]
        console.emit_text(
            "  - " + " ".join(part.rstrip(". ") + "." for part in parts if part) + f" [{finding['code']}]"
        )
