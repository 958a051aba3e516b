"""`ipex-pd validate`: published observations of drugs against what the models predict."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ipex_pd.cli import console
from ipex_pd.cli.options import JsonOption, SeedOption
from ipex_pd.cli.runs import require_writable_file, write_atomically

if TYPE_CHECKING:
    from ipex_pd.simulation.validation import Row, Validation


def _complete_subject(incomplete: str) -> list[str]:
    from ipex_pd.records.library import observed

    return [name for name in observed() if name.startswith(incomplete)]


def validate(
    subjects: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...",
            help="Files of observations by name, such as tacrolimus; all when none is named.",
            autocompletion=_complete_subject,
        ),
    ] = None,
    size: Annotated[int, typer.Option("--size", min=1, help="Virtual subjects of each published group.")] = 500,
    seed: SeedOption = 1,
    write: Annotated[
        Path | None, typer.Option("--write", metavar="FILE", help="Write the whole table here, as a Markdown page.")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Compare published observations of drugs with what the models predict.

    Every group is drawn with the covariates, doses and sampling of its study. The page of --write also holds the
    reasons for misses and the observations that are not used.

    Example: ipex-pd validate tacrolimus --size 200
    """
    if write is not None:
        require_writable_file(write, "--write")
    from ipex_pd.records.library import observed
    from ipex_pd.simulation.validation import validate as run_validation

    chosen = list(subjects) if subjects else list(observed())
    with console.progress("Predicting", len(chosen), quiet=json) as advance:
        found = run_validation(size, seed=seed, subjects=chosen, progress=advance)
    if write is not None:
        from ipex_pd.simulation.validation_page import validation_page

        write_atomically(write, validation_page(found))
        console.say(f"Wrote {write}.")
    if json:
        console.emit_json(found.to_json())
    else:
        _print(found)


def _print(found: Validation) -> None:
    columns = ["id", "drug", "quantity", "unit", "published", "predicted", "ratio", "verdict"]
    title = "Published against predicted; `inside` means inside the published spread"
    console.emit_table(title, columns, [_row(row) for row in found.rows])
    for row in found.rows:
        if row.verdict == "outside" and row.reason:
            console.emit_text(f"{row.id}: {row.reason}")
    for key, value in found.summary().items():
        console.emit_text(f"{key.replace('_', ' ')}: {value:g}")


def _row(row: Row) -> list[str]:
    return [
        row.id,
        row.drug,
        row.quantity,
        row.unit,
        f"{row.observed:.3g}",
        f"{row.predicted:.3g}",
        f"{row.ratio:.2f}",
        row.verdict,
    ]
