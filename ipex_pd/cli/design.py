"""`ipex-pd design`: what a planned study can be expected to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipex_pd.cli import console, options
from ipex_pd.cli.runs import guarded, interruptible
from ipex_pd.errors import UsageError


def design(
    problem: options.ProblemArgument,
    study: Annotated[
        Path | None,
        typer.Option("--study", metavar="FILE", help="Table of the planned study; the problem's own data if left out."),
    ] = None,
    subjects: Annotated[
        int | None, typer.Option("--subjects", min=1, help="As if the study had so many subjects of the same kinds.")
    ] = None,
    json: options.JsonOption = False,
) -> None:
    """Expected standard errors of a planned study, at the start values of a problem, and what it cannot tell.

    By the first-order Fisher information; observed values in the table are not used.

    Example: ipex-pd design theophylline --subjects 24
    """
    from ipex_pd.records.library import load_any_problem
    from ipex_pd.records.problems import EstimationProblem

    asked = load_any_problem(problem)
    if not isinstance(asked, EstimationProblem):
        raise UsageError(
            f"`{asked.name}` is a problem of the disease",
            where="PROBLEM",
            rule="A planned study is an event table of a drug",
            cure="See: ipex-pd catalogue problems",
        )
    with guarded(None):
        from ipex_pd.inference.design import fisher_information

        found = interruptible(lambda: fisher_information(asked, study=study))
        found = found if subjects is None else found.for_subjects(subjects)
    if json:
        table = found.table.to_dict("records")
        console.emit_json(
            {"problem": problem, "subjects": found.subjects, "parameters": table, "weakest": found.weakest()}
        )
    else:
        console.emit_text(str(found))
