"""fit(): from a problem and a method to a Fit."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.binding import BoundProblem, bind
from ipex_pd.inference.covariance import Covariance, covariance_of, no_covariance, require_covariance
from ipex_pd.inference.individuals import describe
from ipex_pd.inference.likelihood import censoring_of, has_events
from ipex_pd.inference.meshing import MeshCheck, etas_of, has_mesh, settled
from ipex_pd.inference.methods import STOCHASTIC, started, stochastic
from ipex_pd.inference.objectives import METHODS, method_for
from ipex_pd.inference.options import DEFAULT_NODES, FitOptions
from ipex_pd.inference.population import OmegaBlock, Population
from ipex_pd.inference.progress import Progress
from ipex_pd.inference.results import Fit, Labels, eta_ratios
from ipex_pd.inference.search import Found, Search
from ipex_pd.inference.totals import Bound, Objective
from ipex_pd.inference.twostage import TwoStage, two_stage
from ipex_pd.inference.verdict import judge
from ipex_pd.records.cohort_problems import CohortProblem
from ipex_pd.records.individual import Individual
from ipex_pd.records.problems import EstimationProblem

if TYPE_CHECKING:
    from ipex_pd.inference.posterior import PosteriorFit

TWO_STAGE = "two_stage"
FIT_METHODS = (*METHODS, *STOCHASTIC, TWO_STAGE, "map", "nuts")


@overload
def fit(  # type: ignore[overload-overlap]
    problem: EstimationProblem | CohortProblem | Bound,
    method: Literal["nuts"],
    options: FitOptions | None = None,
    progress: Progress | None = None,
    start: np.ndarray | None = None,
) -> PosteriorFit: ...


@overload
def fit(
    problem: EstimationProblem | CohortProblem | Bound,
    method: str = "focei",
    options: FitOptions | None = None,
    progress: Progress | None = None,
    start: np.ndarray | None = None,
) -> Fit: ...


def fit(
    problem: EstimationProblem | CohortProblem | Bound,
    method: str = "focei",
    options: FitOptions | None = None,
    progress: Progress | None = None,
    start: np.ndarray | None = None,
) -> Fit | PosteriorFit:
    """Estimate a problem's population values and random effects by an approximate likelihood.

    Args:
        problem: as loaded (also one of the disease, with its cohort), or bound to its data.
        method: `fo`, `foce`, `focei`, `laplace`, `agq` (adaptive Gauss-Hermite: the exact marginal likelihood of few
            random effects), `saem`, `imp` (importance-sampling EM; both end where the exact marginal likelihood is
            highest), `two_stage` (every subject alone, then the population), `pooled` (no random effects), `map`
            (population values as they are, modes only), or `nuts` (draws from the posterior; needs numpyro).
        options: of the search and the covariance step; `settings` are those that saem, imp or nuts alone have.
        progress: told of every step. A KeyboardInterrupt keeps the best estimates.
        start: [n] search vector to start from instead of the problem's start values.

    Returns:
        A `Fit`; with `nuts` a `PosteriorFit`, which has draws in place of an objective and a covariance.

    Raises:
        UsageError: a method that does not exist, or cannot honour the data or an option.
        SimulationError: the objective is not finite at the start for more than a tenth of the subjects (fewer are set
            aside and told).
    """
    begun = time.perf_counter()
    chosen = options or FitOptions()
    if method not in FIT_METHODS:
        raise UsageError(
            f"`{method}` is not a method of fit", code="fit.method", rule=nearest_hint(method, FIT_METHODS)
        )
    chosen.require_for(method)
    bound = bound_of(problem)
    if method == "nuts":
        from ipex_pd.inference.posterior import sample_posterior

        return sample_posterior(bound, chosen, subject_names(bound), progress, start)
    population = population_for(bound.population, method)
    objective = objective_for(population, bound, method, chosen.nodes, chosen.expansion)
    require_covariance(chosen.covariance, objective.has_prior and bool(population.free.any()))
    if method == TWO_STAGE:
        if start is not None:
            population = started(population, np.asarray(start, float))
        return _by_stages(bound, population, chosen, progress, begun)
    if method in STOCHASTIC:
        found = stochastic(method, objective, chosen, progress, start)
    else:
        found = Search(objective, chosen, progress).run(population.start if start is None else np.asarray(start, float))
    objective = objective.without(found.aside) if found.aside.any() else objective
    mesh = None
    if has_mesh(bound):
        bound, objective, found, mesh = _on_its_mesh(bound, objective, found, method, chosen, progress)
    return conclude(bound, objective, found, method, chosen, time.perf_counter() - begun, mesh)


def bound_of(problem: EstimationProblem | CohortProblem | Bound) -> Bound:
    """A problem with its data. Raises: RecordError, and whatever binding refuses."""
    if isinstance(problem, CohortProblem):
        from ipex_pd.inference.disease import disease_groups

        return disease_groups(problem)
    return bind(problem) if isinstance(problem, EstimationProblem) else problem


def _by_stages(
    bound: Bound, population: Population, options: FitOptions, progress: Progress | None, begun: float
) -> Fit:
    """A fit by two stages; on a mesh they are done twice, the second time on one for the individual estimates."""
    objective = objective_for(population, bound, TWO_STAGE)
    found, covariance, stages = two_stage(population, objective, options, progress)
    mesh = None
    if has_mesh(bound):
        assert isinstance(bound, BoundProblem)
        bound = bound.refined(np.asarray(population.layout.theta(found.w)), etas_of(objective, found))
        objective = objective_for(population, bound, TWO_STAGE)
        found, covariance, stages = two_stage(population, objective, options, progress)

        def again(finer: BoundProblem) -> Objective:
            return objective_for(population, finer, TWO_STAGE)

        bound, objective, found, mesh = settled(bound, objective.without(found.aside), found, again, None)
    objective = objective.without(found.aside)
    seconds = time.perf_counter() - begun
    return conclude(bound, objective, found, TWO_STAGE, options, seconds, mesh, (covariance, stages))


def _on_its_mesh(
    bound: Bound, objective: Objective, found: Found, method: str, options: FitOptions, progress: Progress | None
) -> tuple[Bound, Objective, Found, MeshCheck]:
    """The fit with its mesh decided at the estimates."""
    assert isinstance(bound, BoundProblem)

    def go_on(other: Objective, before: Found) -> Found:
        return Search(other, replace(options, restarts=0), progress).run(before.w, before.at.modes)

    def again(finer: BoundProblem) -> Objective:
        return objective_for(objective.population, finer, method, options.nodes, options.expansion)

    return settled(bound, objective, found, again, None if method in STOCHASTIC else go_on)


def objective_for(
    population: Population, bound: Bound, method: str, nodes: int | None = None, expansion: bool | None = None
) -> Objective:
    """The objective of a method, of expanded predictions as `FitOptions.expansion` says. Raises: UsageError."""
    groups = tuple(bound.groups)
    name = method
    if method in ("map", TWO_STAGE) or method in STOCHASTIC:
        name = "laplace" if any(censoring_of(g) != "none" or has_events(g) for g in groups) else "focei"
    chosen = method_for(name, groups, DEFAULT_NODES if nodes is None else nodes)
    if expansion is not False and (method == "map" or method in METHODS):
        from ipex_pd.inference.expansion_splits import expanded_objective

        expanded = expanded_objective(population, groups, chosen, subject_names(bound), asked=expansion is True)
        if expanded is not None:
            return expanded
    return Objective(population, groups, chosen, subject_names(bound))


def population_for(population: Population, method: str) -> Population:
    """The population with what a method does not estimate fixed."""
    if method == "map":
        thetas = tuple(replace(theta, fixed=True) for theta in population.thetas)
        return Population(thetas, tuple(replace(block, fixed=True) for block in population.blocks))
    if method == "pooled":
        return Population(population.thetas, tuple(_without(block) for block in population.blocks))
    return population


def _without(block: OmegaBlock) -> OmegaBlock:
    size = len(block.names)
    nothing = tuple((0.0,) * size for _ in range(size))
    return OmegaBlock(block.names, nothing, True, block.occasions)


def conclude(
    bound: Bound,
    objective: Objective,
    found: Found,
    method: str,
    options: FitOptions,
    seconds: float,
    mesh: MeshCheck | None = None,
    by_stages: tuple[Covariance, TwoStage] | None = None,
) -> Fit:
    """The record of a fit: subjects first, then the covariance step, which may fail without harm to the rest."""
    begun = time.perf_counter()
    population = objective.population
    who = describe(objective, found.w, found.at.modes)
    if by_stages is not None:
        covariance = by_stages[0]
    elif not population.free.any():
        covariance = no_covariance(population, "nothing was estimated")
    elif options.covariance == "none" or found.interrupted:
        covariance = no_covariance(population, "not asked for" if options.covariance == "none" else "interrupted")
    else:
        covariance = _covariance(objective, found, options)
    stages = None if by_stages is None else by_stages[1]
    omega = np.asarray(population.omega(found.w))
    ratios = eta_ratios(population.eta_names, who, omega)
    shrinkage = {name: 100.0 * (1.0 - ratio) for name, ratio in ratios.items()}
    return Fit(
        bound=bound,
        population=population,
        method=method,
        options=options,
        found=found,
        covariance=covariance,
        who=who,
        labels=labels_of(bound, objective.subjects),
        verdict=judge(objective, found, covariance, shrinkage, mesh, stages),
        seconds=seconds + time.perf_counter() - begun,
        mesh=mesh,
        stages=stages,
    )


def _covariance(objective: Objective, found: Found, options: FitOptions) -> Covariance:
    try:
        return covariance_of(objective, found.w, found.at, found.hessian, options.covariance)
    except np.linalg.LinAlgError as error:
        return no_covariance(objective.population, f"the matrices could not be inverted ({error})", "r")


def subject_names(bound: Bound) -> tuple[Any, ...]:
    """What the data call the subjects; nothing where there is only a bound without data."""
    if isinstance(bound, BoundProblem):
        return tuple(subject.id for subject in bound.subjects)
    return tuple(getattr(bound, "ids", ()))


def labels_of(bound: Bound, subjects: int) -> Labels:
    """How subjects and records are called: as in the data, or by number where there is only a bound without data."""
    if not isinstance(bound, BoundProblem):
        ids = subject_names(bound) or tuple(range(1, subjects + 1))
        return Labels(ids, getattr(bound, "records", tuple({} for _ in bound.groups)), {})
    records = []
    for group, places, endpoints in zip(bound.groups, bound.places, bound.endpoints, strict=True):
        rows, times = np.zeros(places.shape, int), np.full(places.shape, np.nan)
        real = np.asarray(group.mask)
        for b, subject in enumerate(np.asarray(group.subjects)):
            if subject >= 0:
                own = bound.subjects[int(subject)]
                here = places[b][real[b]]
                rows[b][real[b]], times[b][real[b]] = own.rows[here], own.time[here]
        names = np.array(bound.endpoint_names, object)
        records.append({"ROW": rows, "TIME": times, "ENDPOINT": names[np.broadcast_to(endpoints, places.shape)]})
    kinds = {
        effect: value.distribution
        for value in bound.problem.individual.values()
        if isinstance(value, Individual)
        for effect in value.random
    }
    return Labels(subject_names(bound), tuple(records), kinds)
