"""The part of `ipex-pd check` that reads tables of event records, alone or against an estimation problem."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipex_pd.cli import console
from ipex_pd.errors import IpexError, UsageError

if TYPE_CHECKING:
    from ipex_pd.records.dataspec import DataSpec
    from ipex_pd.records.findings import Finding
    from ipex_pd.records.problems import EstimationProblem

DATA = "data"
"""The kind of a table among the results of a check."""

COHORT_TABLE = "cohort_table"
"""The kind of a cohort's table among them."""

_SHOWN_OF_A_KIND = 5
_TABLES = (".csv", ".tsv", ".tab", ".dta", ".dat", ".prn", ".txt")


def is_table(path: Path) -> bool:
    """Whether a file is a table of data rather than a record, by its ending."""
    return path.suffix.lower() in _TABLES


def examine_table(path: Path, problem: str = "") -> dict[str, Any]:
    """Check a table by the usual names of columns, or as the data of a problem.

    Raises:
        RecordError: the problem does not exist or is itself at fault.
        UsageError: the problem is one of the disease.
    """
    from ipex_pd.records.dataspec import default_spec
    from ipex_pd.records.library import load_any_problem
    from ipex_pd.records.problems import EstimationProblem

    asked = load_any_problem(problem) if problem else None
    if not isinstance(asked, EstimationProblem | None):
        raise UsageError(
            f"`{asked.name}` is a problem of the disease",
            where="--problem",
            rule="Its measurements belong to a cohort, which says whose they are",
            cure="Check the cohort's YAML file, or the problem: both read the table",
        )
    spec = asked.data.model_copy(update={"file": path.name}) if asked else default_spec(path.name)
    return _examine(path, spec, path.parent, asked)


def examine_data_of(problem: Path) -> dict[str, Any]:
    """Check the data that the file of a problem names.

    Raises:
        RecordError: the problem is itself at fault.
    """
    from ipex_pd.records.library import load_problem

    asked = load_problem(problem)
    folder = Path(asked.folder or ".")
    return _examine(folder / asked.data.file, asked.data, folder, asked)


def examine_cohort(path: Path) -> dict[str, Any]:
    """Check the table of a cohort's file.

    Raises:
        RecordError: the cohort's file does not exist or is itself at fault.
    """
    from ipex_pd.records.cohorts import load_cohort, table_faults, table_of

    faults = [fault.as_dict() for fault in table_faults(path)]
    words = [] if faults else load_cohort(path).understood()
    return {"file": str(table_of(path)), "kind": COHORT_TABLE, "understood": words, "findings": faults}


def examine_cohort_of(problem: Path) -> dict[str, Any]:
    """Check the table of the cohort that a problem of the disease names.

    Raises:
        RecordError: the problem or the cohort does not exist or is itself at fault.
    """
    from ipex_pd.records.library import file_of, load_cohort_problem

    return examine_cohort(file_of("cohorts", load_cohort_problem(problem).cohort))


def _examine(path: Path, spec: DataSpec, folder: Path, problem: EstimationProblem | None) -> dict[str, Any]:
    from ipex_pd.records.dataset_fit import fit_findings
    from ipex_pd.records.datasets import DataError, read_dataset
    from ipex_pd.records.library import resolve_model

    found: tuple[Finding, ...] = ()
    faults: list[dict[str, Any]] = []
    words: tuple[str, ...] = ()
    try:
        data = read_dataset(spec, folder)
        found, words = data.findings, data.understood
        if problem is not None:
            found += fit_findings(problem, resolve_model(problem.model), data)
    except DataError as error:
        found = error.findings
    except IpexError as error:
        faults = [{"severity": "error", "row": 0, "subject": "", "column": "", "value": "", **error.as_dict()}]
    told = [{**one.as_dict(), "where": _where(path, one), "what": one.what} for one in found]
    return {"file": str(path), "kind": DATA, "understood": list(words), "findings": faults + told}


def _where(path: Path, finding: Finding) -> str:
    return f"{path}:{finding.row}" if finding.row else str(path)


def is_error(finding: dict[str, Any]) -> bool:
    """Whether a finding makes a file unusable; findings of records always do."""
    return bool(finding.get("severity", "error") == "error")


def print_table(result: dict[str, Any]) -> None:
    """What was understood of a table, and what was found in it: the first few of each kind."""
    counts = Counter(finding["severity"] for finding in result["findings"])
    state = ", ".join(f"{counts[kind]} {kind}(s)" for kind in ("error", "warning", "note") if counts[kind]) or "right"
    console.emit_text(f"{result['file']}: data, {state}")
    for line in result["understood"]:
        console.emit_text(f"  {line}")
    rows: list[list[str]] = []
    seen = Counter[tuple[str, str]]()
    for finding in result["findings"]:
        kind = (finding["code"], finding["column"])
        seen[kind] += 1
        if seen[kind] <= _SHOWN_OF_A_KIND:
            rows.append(_cells(finding))
    for (code, column), count in seen.items():
        if count > _SHOWN_OF_A_KIND:
            rows.append(
                ["", "", "", column, "", f"{count - _SHOWN_OF_A_KIND} more like these (--json lists them)", code]
            )
    if rows:
        console.emit_table("", ["finding", "row", "subject", "column", "value", "rule and cure", "code"], rows)


def _cells(finding: dict[str, Any]) -> list[str]:
    more = f" +{finding['count'] - 1}" if finding.get("count", 1) > 1 else ""
    row = f"{finding['row']}{more}" if finding["row"] else ""
    parts = ["" if finding["column"] else finding["what"], finding["rule"], finding["cure"]]
    advice = " ".join(str(part).rstrip(". ") + "." for part in parts if part)
    return [finding["severity"], row, finding["subject"], finding["column"], finding["value"], advice, finding["code"]]
