"""Small problems without compartments, and their data made from the truth: quick to compile, easy to check by hand."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ipex_pd.inference.binding import BoundProblem, bind
from ipex_pd.inference.diagnostics.records import Records, records_of
from ipex_pd.inference.diagnostics.replicates import Replicates, replicate
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.results import Fit
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

TIMES = (0.5, 1.0, 2.0, 4.0, 8.0)


def frame(subjects: int, times: tuple[float, ...] = TIMES, **columns: Any) -> pd.DataFrame:
    """Rows of a design with DV 1; columns as functions of (subject, place)."""
    rows = [
        {"ID": i + 1, "TIME": t, "DV": 1.0, **{name: make(i, k) for name, make in columns.items()}}
        for i in range(subjects)
        for k, t in enumerate(times)
    ]
    return pd.DataFrame(rows)


def problem(folder: Path, table: pd.DataFrame, **changes: Any) -> EstimationProblem:
    """start_value (random, normal) that decays at a fixed rate; additive error. `changes` replace sections."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "data.csv", index=False)
    sections: dict[str, Any] = {
        "name": "checked",
        "description": "A made-up decay",
        "folder": str(folder),
        "data": {"file": "data.csv"},
        "model": "exponential_decay",
        "parameters": {"base": 10, "rate": 0, "sd": {"start": 0.5, "lower": 0}},
        "random_effects": {"between_subject": {"eta": {"variance": 4.0}}},
        "individual": {
            "start_value": {"typical": "base", "random": "eta", "distribution": "normal"},
            "decay_rate": "rate",
        },
        "endpoints": {
            "level": {"prediction": "level", "error": {"model": "additive", "additive": "sd"}, "unit": "mg/L"}
        },
    }
    made = from_data(EstimationProblem, {**sections, **changes})
    assert isinstance(made, EstimationProblem)
    return made


def simulated(folder: Path, table: pd.DataFrame, number: int = 0, seed: int = 11, **changes: Any) -> BoundProblem:
    """The problem bound to a dataset that was drawn from its start values."""
    first = bind(problem(folder / "design", table, **changes))
    records = records_of(first)
    drawn = replicate(records, first.population.start, number + 1, seed=seed)
    data = table.copy()
    data.loc[:, "DV"] = drawn.values[number]
    return bind(problem(folder / "data", data, **changes))


def by_hand(records: Records, fitted: Any, seed: int = 1) -> Replicates:
    """Replicates whose values are written down."""
    return Replicates(records, np.asarray(fitted, float), seed, 0.0)


@functools.cache
def decay_fit() -> Fit:
    """A fit of 24 subjects with a covariate, two groups, and records below a limit treated by M3."""
    folder = Path(tempfile.mkdtemp())
    columns = {"WT": lambda i, k: 50.0 + i, "SEX": lambda i, k: float(i % 2), "CENS": lambda i, k: 0}
    changes: dict[str, Any] = {
        "data": {"file": "data.csv", "covariates": {"WT": {"unit": "kg"}, "SEX": {}}},
        "parameters": {
            "base": {"start": 10, "lower": 0, "scale": "log", "unit": "mg/L", "meaning": "level at time 0"},
            "rate": {"start": 0.3, "lower": 0, "scale": "log", "unit": "1/h", "meaning": "rate of decay"},
            "sd": {"start": 0.4, "lower": 0, "scale": "log", "unit": "mg/L", "meaning": "residual error"},
        },
        "random_effects": {"between_subject": {"eta_base": {"variance": 0.09}, "eta_rate": {"variance": 0.04}}},
        "individual": {
            "start_value": {"typical": "base", "random": "eta_base"},
            "decay_rate": {"typical": "rate", "random": "eta_rate"},
        },
        "endpoints": {
            "level": {
                "prediction": "level",
                "unit": "mg/L",
                "error": {"model": "additive", "additive": "sd"},
                "censoring": "m3",
            }
        },
    }
    table = frame(24, **columns)
    full = simulated(folder, table, **changes)
    data = table.copy()
    values = np.concatenate([s.dv for s in full.dataset.subjects])
    data["CENS"] = (values < 1.0).astype(int)
    data["DV"] = np.maximum(values, 1.0)
    return fit(problem(folder / "fit", data, **changes), "laplace", FitOptions(restarts=0))
