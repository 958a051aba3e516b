"""`ipex-pd cohort`: write a synthetic cohort of children."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ipex_pd.cli import console
from ipex_pd.cli.options import JsonOption, SeedOption
from ipex_pd.errors import OutputError


def cohort(
    children: Annotated[int, typer.Option("--children", min=1, help="How many.")] = 40,
    seed: SeedOption = 1,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder that gets the three files.")] = Path("."),
    name: Annotated[str, typer.Option("--name", help="Of the cohort; begins with synthetic_.")] = "synthetic_ipex",
    varies: Annotated[
        str, typer.Option("--varies", metavar="NAMES", help="Parameters that differ, with commas; all when empty.")
    ] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files of that name.")] = False,
    json: JsonOption = False,
) -> None:
    """Write a synthetic cohort: virtual children, mixed treatments, sparse measurements with errors, and the truth.

    Three files: NAME.yaml (children and what they were given), NAME.csv (what was measured), and NAME_truth.csv (the
    values that made it, which no fit reads).

    Example: ipex-pd cohort --children 60 --seed 1 --out cohorts
    """
    from ipex_pd.simulation.cohort import draw_cohort

    if not overwrite and any((out / f"{name}{end}").exists() for end in (".yaml", ".csv", "_truth.csv")):
        raise OutputError(
            f"`{name}` is already there", where=str(out), cure="Choose another --name, or add --overwrite"
        )
    chosen = [word.strip() for word in varies.split(",") if word.strip()] or None
    with console.progress("Treating", children, quiet=json) as advance:
        drawn = draw_cohort(
            children, seed=seed, name=name, varies=chosen, progress=lambda done, _: advance(f"child {done}", done)
        )
    paths = [str(path) for path in drawn.save(out)]
    if json:
        console.emit_json({"name": name, "children": children, "rows": len(drawn.table), "files": paths})
    else:
        console.emit_text(f"{children} children, {len(drawn.table)} rows. Wrote {', '.join(paths)}.")
