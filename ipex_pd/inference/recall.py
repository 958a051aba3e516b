"""A fit rebuilt from what it told as JSON, without searching again: modes, covariance, tables at its estimates."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.inference.binding import BoundProblem
from ipex_pd.inference.estimation import bound_of, conclude, objective_for, population_for
from ipex_pd.inference.imp import ImpOptions
from ipex_pd.inference.information import inform
from ipex_pd.inference.links import find_links
from ipex_pd.inference.meshing import etas_of, has_mesh, settled
from ipex_pd.inference.methods import STOCHASTIC, evaluation
from ipex_pd.inference.objectives import METHODS
from ipex_pd.inference.results import Fit
from ipex_pd.inference.saem import SaemOptions
from ipex_pd.inference.search import Found, Search
from ipex_pd.inference.settings import options_from, settings_for
from ipex_pd.inference.totals import Bound, Objective
from ipex_pd.records.cohort_problems import CohortProblem
from ipex_pd.records.problems import EstimationProblem

RECALLED = (*METHODS, *STOCHASTIC, "map")
_SAME = 1e-3


def recall(problem: EstimationProblem | CohortProblem | Bound, told: Mapping[str, Any]) -> Fit:
    """The fit of a problem that `Fit.to_json` told, evaluated anew at its estimates.

    What the search did (steps, restarts, how it ended) is taken over; everything else is computed.

    Args:
        problem: the same as was fitted.
        told: the parsed JSON.

    Raises:
        UsageError: a method whose result is no fit of this kind, or another problem.
        SimulationError: the objective is not what the fit told.
    """
    begun = time.perf_counter()
    method = str(told.get("method", ""))
    if method not in RECALLED:
        raise UsageError(
            f"a result of `{method}` cannot be checked this way",
            code="fit.recall",
            rule="It has no modes at maximum-likelihood estimates; " + _instead(method),
            cure="Fit with one of: " + ", ".join(RECALLED),
        )
    options = options_from(method, told["options"])
    bound = bound_of(problem)
    population = population_for(bound.population, method)
    w = np.array([np.nan if v is None else v for v in told["search"]], float)
    if w.shape != population.start.shape or not np.isfinite(w).all():
        raise UsageError(
            f"{w.size} values were kept, the problem has {population.start.size}",
            code="fit.recall",
            rule="Estimates belong to the problem they were found for",
            cure="Fit the problem again",
        )
    objective = objective_for(population, bound, method, options.nodes)
    found, objective = _found(objective, w, method, told)
    mesh = None
    if has_mesh(bound):
        assert isinstance(bound, BoundProblem)
        bound, objective, found = _nearest(bound, objective, found, method, told)

        def again(finer: BoundProblem) -> Objective:
            return objective_for(objective.population, finer, method, options.nodes)

        bound, objective, found, mesh = settled(bound, objective, found, again, None)
    _require_same(found.at.value, told)
    return conclude(bound, objective, found, method, options, time.perf_counter() - begun, mesh)


def _instead(method: str) -> str:
    return "draws say themselves how good they are" if method == "nuts" else "its own tables are in the folder"


def _found(objective: Objective, w: np.ndarray, method: str, told: Mapping[str, Any]) -> tuple[Found, Objective]:
    """The end of the search, and the objective without the subjects that have no likelihood there."""
    options = options_from(method, told["options"])
    search = Search(objective, options)
    at, _ = search.settle(w)
    lost = ~np.isfinite(at.values) | ~np.isfinite(at.gradients).all(1)
    if lost.any():
        objective = objective.without(lost)
        search = Search(objective, options)
        at, _ = search.settle(w)
    interrupted = str(told["outcome"]).lower().startswith("interrupted")
    free = np.flatnonzero(objective.population.free)
    hessian = np.full((len(free), len(free)), np.nan)
    if method in STOCHASTIC:
        settings = settings_for(method, options)
        assert isinstance(settings, SaemOptions | ImpOptions)
        links = find_links(objective.population, objective.groups)
        informed = inform(objective.population, objective.groups, w, settings.importance, links)
        at = evaluation(objective, informed)
        hessian = 2.0 * informed.information[np.ix_(free, free)]
    elif len(free) and not interrupted:
        hessian = search.hessian(w, at)
    trace = tuple(np.nan if v is None else float(v) for v in told["trace"])
    found = Found(
        w=w,
        at=at,
        start=trace[0] if trace else float("nan"),
        converged=bool(told["converged"]),
        outcome=str(told["outcome"]),
        iterations=int(told["iterations"]),
        evaluations=int(told["evaluations"]),
        trace=trace,
        path_difference=float(told["path_difference"] or 0.0),
        hessian=hessian,
        restarts=tuple(np.nan if v is None else float(v) for v in told["restarts"]),
        interrupted=interrupted,
        aside=lost,
    )
    return found, objective


def _nearest(
    bound: BoundProblem, objective: Objective, found: Found, method: str, told: Mapping[str, Any]
) -> tuple[BoundProblem, Objective, Found]:
    """On the mesh of the start values, or that of the estimates: whichever gives the objective that was told."""
    away = abs(found.at.value - float(told["objective"]))
    if away <= 1e-6:
        return bound, objective, found
    theta = np.asarray(objective.population.layout.theta(jnp.asarray(found.w)))
    finer = bound.refined(theta, etas_of(objective, found))
    nodes = options_from(method, told["options"]).nodes
    other, there = _found(objective_for(objective.population, finer, method, nodes), found.w, method, told)
    if abs(other.at.value - float(told["objective"])) < away:
        return finer, there, other
    return bound, objective, found


def _require_same(value: float, told: Mapping[str, Any]) -> None:
    before = told["objective"]
    if before is None or not abs(value - before) <= _SAME:
        raise SimulationError(
            f"the objective at the kept estimates is {value:.6f}, the fit told {before}",
            code="fit.recall",
            rule=f"A fit is rebuilt only where both agree within {_SAME:g}",
            cure="Data, problem or versions differ: fit again",
        )
