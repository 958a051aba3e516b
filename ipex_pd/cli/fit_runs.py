"""The run folder of a fit: what was asked and on which data, the best point so far, and what came out."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipex_pd.cli.console import to_json
from ipex_pd.cli.runs import RunFolder, write_atomically
from ipex_pd.errors import UsageError

if TYPE_CHECKING:
    import numpy as np

    from ipex_pd.inference.options import FitOptions
    from ipex_pd.inference.posterior import PosteriorFit
    from ipex_pd.inference.progress import Progress, Stage
    from ipex_pd.inference.results import Fit
    from ipex_pd.records.cohort_problems import CohortProblem
    from ipex_pd.records.problems import EstimationProblem

    AnyProblem = EstimationProblem | CohortProblem

SETTINGS, CHECKPOINT, RESULT = "settings.json", "checkpoint.json", "fit.json"
_PROBLEM, _COHORT = "inputs/problem.yaml", "inputs/cohort.yaml"
_BETWEEN_CHECKPOINTS = 2.0


def problem_file(name_or_file: str) -> Path:
    """The file behind a shipped name or a path."""
    from ipex_pd.records.library import shipped

    return {**shipped("problems"), **shipped("cohort_problems")}.get(name_or_file, Path(name_or_file))


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def keep_problem(folder: RunFolder, name: str, problem: AnyProblem) -> dict[str, str]:
    """Copy a problem and its data into the run. Returns the digests of the copies. Raises: OutputError."""
    folder.write(_PROBLEM, problem_file(name).read_text(encoding="utf-8"))
    places = [_PROBLEM]
    for source, place in _data_files(problem):
        folder.write(place, source.read_text(encoding="utf-8"))
        places.append(place)
    return {place: digest(folder.path / place) for place in places}


def _data_files(problem: AnyProblem) -> list[tuple[Path, str]]:
    """The files of the data, and where they are kept."""
    from ipex_pd.records.cohorts import table_of
    from ipex_pd.records.library import file_of
    from ipex_pd.records.problems import EstimationProblem

    if isinstance(problem, EstimationProblem):
        data = Path(problem.folder) / problem.data.file
        return [(data, f"inputs/{data.name}")]
    cohort = file_of("cohorts", problem.cohort)
    table = table_of(cohort)
    return [(cohort, _COHORT), (table, f"inputs/{table.name}")]


def kept_problem(run: Path) -> AnyProblem:
    """The problem of a run, with the data that were kept beside it.

    Raises:
        UsageError: the folder is no run of a fit, or its inputs were changed since.
    """
    from ipex_pd.records.library import load_any_problem
    from ipex_pd.records.problems import EstimationProblem

    for place, expected in settings_of(run)["inputs"].items():
        file = run / place
        if not file.is_file() or digest(file) != expected:
            raise UsageError(
                f"`{place}` is missing or was changed after the run",
                code="usage.inputs-changed",
                where=str(run),
                rule="A run is repeated on the inputs it was made with",
                cure="Fit again from the files themselves",
            )
    problem = load_any_problem(run / _PROBLEM)
    if not isinstance(problem, EstimationProblem):
        return problem.model_copy(update={"cohort": str((run / _COHORT).resolve())})
    data = problem.data.model_copy(update={"file": Path(problem.data.file).name})
    return problem.model_copy(update={"folder": str((run / "inputs").resolve()), "data": data})


def same_problem(one: AnyProblem, other: AnyProblem) -> bool:
    """Whether two problems ask the same, wherever their data lie."""
    return _without_places(one) == _without_places(other)


def _without_places(problem: AnyProblem) -> dict[str, Any]:
    plain = problem.model_dump(mode="json", exclude={"folder", "cohort"})
    plain.get("data", {}).pop("file", None)
    return plain


def settings_of(run: Path) -> dict[str, Any]:
    """What a run was asked. Raises: UsageError."""
    return _read(run, SETTINGS)


def result_of(run: Path) -> dict[str, Any]:
    """What a run found. Raises: UsageError."""
    return _read(run, RESULT)


def checkpoint_of(run: Path) -> dict[str, Any] | None:
    """The best point that a run wrote down, if it came so far."""
    return _read(run, CHECKPOINT) if (run / CHECKPOINT).is_file() else None


def _read(run: Path, name: str) -> dict[str, Any]:
    file = run / name
    if not file.is_file():
        raise UsageError(
            f"there is no `{name}` in this folder",
            code="usage.not-a-fit",
            where=str(run),
            rule="This command works on the folder that `ipex-pd fit ... --out FOLDER` wrote",
            cure="Name such a folder",
        )
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"`{name}` is no JSON ({error})", code="usage.not-a-fit", where=str(run)) from error
    return found


def describe_options(options: FitOptions) -> dict[str, Any]:
    """Options as plain data."""
    return asdict(options)


class Checkpoints:
    """A progress that writes the best point seen every few seconds and hands every stage on."""

    def __init__(self, folder: RunFolder | None, onward: Progress) -> None:
        self._folder, self._onward = folder, onward
        self._best: float | None = None
        self._written = 0.0

    def __call__(self, stage: Stage) -> None:
        """Note a stage. Raises: OutputError."""
        self._onward(stage)
        better = stage.objective is None or self._best is None or stage.objective < self._best
        if self._folder is None or not better:
            return
        self._best = stage.objective
        if time.monotonic() - self._written >= _BETWEEN_CHECKPOINTS:
            self._written = time.monotonic()
            point = {
                "phase": stage.phase,
                "iteration": stage.iteration,
                "objective": stage.objective,
                "search": stage.w.tolist(),
            }
            write_atomically(self._folder.path / CHECKPOINT, to_json(point) + "\n", kept=self._folder.kept)


def write_fit(folder: RunFolder, fit: Fit) -> None:
    """Everything that a fit found, as JSON and as tables. Raises: OutputError."""
    folder.write(RESULT, fit.to_json() + "\n")
    folder.write("parameters.csv", fit.parameters.to_csv(index=False))
    folder.write("individuals.csv", fit.individuals.to_csv(index=False))
    folder.write("shrinkage.csv", fit.shrinkage.to_csv(index=False))
    folder.write("sdtab.csv", fit.sdtab.to_csv(index=False))
    folder.write("convergence.csv", _trace(fit.trace))
    if fit.covariance.done:
        folder.write("cov.csv", _matrix(fit.covariance.names, fit.covariance.matrix))
    folder.write("fit.txt", str(fit) + "\n")


def write_posterior(folder: RunFolder, posterior: PosteriorFit) -> None:
    """Everything that sampling found, as JSON and as tables. Raises: OutputError."""
    folder.write(RESULT, posterior.to_json() + "\n")
    folder.write("parameters.csv", posterior.parameters.to_csv(index=False))
    folder.write("individuals.csv", posterior.individuals.to_csv(index=False))
    folder.write("chains.csv", posterior.draw_table.to_csv(index=False))
    folder.save("draws.csv", posterior.draws.save)
    folder.write("fit.txt", str(posterior) + "\n")


def _trace(trace: tuple[float, ...]) -> str:
    return "step,objective\n" + "".join(f"{i},{value!r}\n" for i, value in enumerate(trace))


def _matrix(names: tuple[str, ...], matrix: np.ndarray) -> str:
    import pandas as pd

    return pd.DataFrame(matrix, index=pd.Index(names, name="parameter"), columns=list(names)).to_csv()
