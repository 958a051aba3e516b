"""Studies that are planned: tables of subjects, doses and sampling times whose DV need not be there."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import BoundProblem, bind
from ipex_pd.inference.likelihood import censoring_of, has_events
from ipex_pd.inference.population import Theta
from ipex_pd.inference.totals import Bound
from ipex_pd.records.datasets import read_dataset
from ipex_pd.records.findings import Notebook
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.tables import read_table


def plan_study(problem: EstimationProblem, study: str | os.PathLike[str] | None = None) -> BoundProblem:
    """A problem bound to a planned study.

    Args:
        problem: what would be estimated, at its start values.
        study: table of the study, written as the data of the problem are (columns that those `drop` need not be
            there); its own data when left out. Every row that is an observation (EVID 0, and not MDV 1 in a column MDV)
            is a planned sample, with or without a DV.

    Raises:
        DataError: what is wrong with the table.
        RecordError: the problem, its model and the study do not fit together.
    """
    spec, folder = problem.data, Path(problem.folder or ".")
    if study is not None:
        place = Path(study)
        folder = place.parent
        spec = spec.model_copy(update={"file": place.name, "drop": ()})
        table = read_table(spec, folder, Notebook(place.name))
        there = tuple(name for name in problem.data.drop if table.find(name) is not None)
        spec = spec.model_copy(update={"drop": there})
    return bind(problem, read_dataset(spec, folder, planned=True))


def require_plannable(bound: Bound) -> None:
    """Refuse records whose expected information is not offered. Raises: UsageError."""
    if any(has_events(group) for group in bound.groups):
        raise UsageError(
            "event endpoints have no expected information here",
            code="design.events",
            rule="It is that of measured records with a mean and a variance",
            cure="Take the endpoint out, or simulate studies and fit them",
        )
    if any(censoring_of(group) != "none" for group in bound.groups):
        raise UsageError(
            "censored records (CENS, BLQ, M4) have no expected information here",
            code="design.censored",
            rule="Which samples of a planned study will be censored is not known before",
            cure="Take the flags and `censoring: m4` out: every sample then counts as measured",
        )
    population = bound.population
    if any(block.prior is not None for block in population.blocks):
        raise UsageError(
            "a prior of a covariance cannot be added to an expected information",
            code="design.wishart",
            cure="Take it out, or fix the covariance",
        )
    if not population.free.any():
        raise UsageError("every parameter is fixed: nothing is estimated", code="design.nothing")


def prior_information(thetas: tuple[Theta, ...], values: np.ndarray) -> np.ndarray:
    """[p] what priors add, on the natural scale: 1/sd^2, or 1/(value sd)^2 of a log-normal one."""
    found = np.zeros(len(thetas))
    for place, theta in enumerate(thetas):
        if theta.prior is not None:
            size = float(values[place]) if theta.prior.distribution == "log_normal" else 1.0
            found[place] = 1.0 / (theta.prior.sd * size) ** 2
    return found
