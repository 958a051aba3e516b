"""Arguments that several commands share, and how names, files and options become records."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.regimens import Regimen


def _complete(kinds: tuple[str, ...], incomplete: str) -> list[str]:
    from ipex_pd.records.library import catalogue

    known = catalogue()
    return [name for kind in kinds for name in known[kind] if name.startswith(incomplete)]


def complete_patient(incomplete: str) -> list[str]:
    """Shipped patients that start with what is typed."""
    return _complete(("patients",), incomplete)


def complete_regimen(incomplete: str) -> list[str]:
    """Shipped regimens that start with what is typed."""
    return _complete(("regimens",), incomplete)


def complete_problem(incomplete: str) -> list[str]:
    """Shipped problems, of drugs and of the disease, that start with what is typed."""
    return _complete(("problems", "cohort_problems"), incomplete)


def complete_plan(incomplete: str) -> list[str]:
    """Shipped plans that start with what is typed."""
    return _complete(("plans",), incomplete)


_PATIENT = "The child: a shipped name (see `ipex-pd catalogue patients`) or a YAML file."

PatientOption = Annotated[
    str, typer.Option("--patient", "-p", metavar="NAME|FILE", help=_PATIENT, autocompletion=complete_patient)
]
PatientArgument = Annotated[str, typer.Argument(metavar="PATIENT", help=_PATIENT, autocompletion=complete_patient)]
RegimenOption = Annotated[
    str,
    typer.Option(
        "--regimen",
        "-r",
        metavar="NAME|FILE",
        help="The regimen: a shipped name (see `ipex-pd catalogue regimens`) or a YAML file.",
        autocompletion=complete_regimen,
    ),
]
ProblemArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE",
        help="The problem: a shipped name (see `ipex-pd catalogue problems`) or a YAML file.",
        autocompletion=complete_problem,
    ),
]
PlanArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME|FILE",
        help="The plan: a shipped name (see `ipex-pd catalogue plans`) or a YAML file.",
        autocompletion=complete_plan,
    ),
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that `ipex-pd fit ... --out RUN` wrote.")]
ReportOption = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE", help="Write the report here, one self-contained HTML file."),
]
YearsOption = Annotated[float, typer.Option("--years", min=0.01, max=100.0, help="How long to simulate, in years.")]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of all random draws; the same seed, the same numbers.")
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", metavar="FOLDER", help="Write a run folder: inputs, results, versions, log."),
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace an older run in the --out folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result, and nothing else, as JSON.")]


def read_patient(name_or_file: str) -> Patient:
    """The patient of a shipped name or file. Raises: RecordError."""
    from ipex_pd.records.library import load_patient

    return load_patient(name_or_file)


def read_regimens(names_or_files: list[str]) -> dict[str, Regimen]:
    """Regimens by the name they are shown under, in the order given.

    Raises:
        UsageError: two regimens would be shown under one name.
        RecordError: a name or file that cannot be read.
    """
    from ipex_pd.records.library import load_regimen

    regimens: dict[str, Regimen] = {}
    for given in names_or_files:
        name = Path(given).stem
        if name in regimens:
            raise UsageError(
                f"`{name}` is given twice",
                where="--regimen",
                rule="Each regimen of a comparison has a name of its own (for a file, its name without ending)",
                cure="Give it once, or rename one of the files",
            )
        regimens[name] = load_regimen(given)
    return regimens


def input_files(patient: str, regimens: list[str]) -> list[Path]:
    """The files behind names or paths that were read before, in the order given."""
    from ipex_pd.records.library import shipped

    return [
        shipped("patients").get(patient, Path(patient)),
        *(shipped("regimens").get(regimen, Path(regimen)) for regimen in regimens),
    ]
