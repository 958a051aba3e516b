"""Two-stage estimation: every subject alone, then the population from the individual estimates.

The first stage searches each subject's random effects without a prior (maximum likelihood). A subject whose data do not
tell its effects alone gets the mode with the start covariance as prior instead (MAP), and that is said. Parameters of
the residual error are shared: restricted maximum likelihood over the subjects that are identifiable alone, the
likelihood with the effects integrated out over a flat prior (for an additive error: sum of squares over the degrees of
freedom). The second stage is in `stages`; typical values move with the effects that they shift (`links`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.inference.conditional import exact_curvature, slope
from ipex_pd.inference.covariance import Covariance, correlation_of, estimated_names, no_covariance
from ipex_pd.inference.group import Group
from ipex_pd.inference.links import Links, find_links, scales_of, to_search
from ipex_pd.inference.objectives import Method, values_of
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Layout, OmegaBlock, Population
from ipex_pd.inference.progress import Progress
from ipex_pd.inference.search import Found, Search
from ipex_pd.inference.stages import Estimates, Stage, Structure, global_stage, standard_stage
from ipex_pd.inference.totals import Evaluation, Objective

Array = Any

_WIDE = 200.0
_KNOWN = 4.0
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class TwoStage:
    """What the two stages found.

    Attributes:
        chosen: `global` or `standard`: which of them the fit reports.
        standard, whole: population values by each, as search vectors [n].
        way: [S] `ml`, `map`, or `failed`.
        why: [S] why not `ml`; empty otherwise.
        estimates: [S, q] individual estimates of the random effects around the start values; NaN where failed.
        steps: of EM.
    """

    chosen: str
    standard: np.ndarray
    whole: np.ndarray
    way: tuple[str, ...]
    why: tuple[str, ...]
    estimates: np.ndarray
    steps: int

    def table(self, names: tuple[Any, ...]) -> pd.DataFrame:
        """One row a subject: how it was fitted, and why so."""
        return pd.DataFrame({"id": list(names), "way": self.way, "why": self.why})


@dataclass(frozen=True, eq=False)
class _First:
    """The first stage: what each subject's data say, at residual parameters that settled."""

    w: np.ndarray
    told: Estimates
    alone: np.ndarray
    failed: np.ndarray
    why: tuple[str, ...]


def require_two_stage(population: Population, links: Links) -> None:
    """Refuse a problem that two stages cannot do. Raises: UsageError."""
    cure = "Fit with focei, laplace, saem or imp"
    if not population.layout.etas:
        raise UsageError("two_stage needs random effects", code="two_stage.effects", cure="Fit with pooled")
    between = [b.names[0] for b in population.blocks if b.occasions]
    if between:
        raise UsageError(
            f"two_stage cannot honour `{between[0]}`, a random effect of occasions",
            code="two_stage.occasions",
            rule="Its individual estimates are one set of values for each subject",
            cure=cure,
        )
    prior = [t.name for t in population.thetas if t.prior] + [b.names[0] for b in population.blocks if b.prior]
    if prior:
        raise UsageError(
            f"two_stage cannot honour the prior of `{prior[0]}`",
            code="two_stage.prior",
            rule="Its second stage knows individual estimates only",
            cure=cure,
        )
    loose = [population.thetas[k] for k in links.numeric if population.thetas[k].role != "residual"]
    if loose:
        names = ", ".join(f"`{theta.name}`" for theta in loose)
        raise UsageError(
            f"two_stage cannot estimate typical values that shift no random effect: {names}",
            code="two_stage.no-effect",
            rule="A typical value is the mean of individual ones; one without variation between subjects has none",
            cure=f"Give them random effects, fix them, or do this: {cure[0].lower()}{cure[1:]}",
        )


def two_stage(
    population: Population, objective: Objective, options: FitOptions, progress: Progress | None = None
) -> tuple[Found, Covariance, TwoStage]:
    """Estimate by two stages.

    Args:
        population: of the problem.
        objective: focei or laplace of the problem: its modes are those of the first stage, and its value at the
            estimates is what the fit reports.
        options: of the fit.
        progress: told while residual parameters are searched.

    Raises:
        UsageError: a problem that two stages cannot do, or one whose subjects are not identifiable alone.
    """
    links = find_links(population, objective.groups)
    require_two_stage(population, links)
    first = _first_stage(population, objective, links, options, progress)
    structure = _structure(population)
    standard = standard_stage(first.told, structure)
    whole = global_stage(first.told, structure, standard)
    chosen, name = (standard, "standard") if options.stages == "standard" else (whole, "global")
    vectors = [_vector(population, links, first.w, stage, structure) for stage in (standard, whole)]
    w = vectors[0] if name == "standard" else vectors[1]
    found = _found(objective, w, first, chosen, name)
    way = tuple(np.where(first.failed, "failed", np.where(first.alone, "ml", "map")).tolist())
    estimates = np.full((objective.subjects, population.layout.etas), np.nan)
    estimates[~first.failed] = first.told.estimate
    record = TwoStage(name, vectors[0], vectors[1], way, first.why, estimates, whole.steps)
    if options.covariance == "none":
        return found, no_covariance(population, "not asked for"), record
    return found, _covariance(population, objective, links, first, chosen, w), record


def _structure(population: Population) -> Structure:
    size = population.layout.etas
    start, free = np.zeros((size, size)), np.zeros((size, size), bool)
    corner = 0
    for block in population.blocks:
        here = slice(corner, corner + len(block.names))
        start[here, here], free[here, here] = np.array(block.start), not block.fixed
        corner += len(block.names)
    return Structure(start, free)


def _first_stage(
    population: Population, objective: Objective, links: Links, options: FitOptions, progress: Progress | None
) -> _First:
    """Every subject alone, again until the residual parameters and the set of identifiable subjects are settled."""
    residual = [k for k in links.numeric if population.thetas[k].role == "residual"]
    near = _frozen(population, residual)
    wide = _widened(near)
    shared = Objective(near, objective.groups, objective.method, objective.names)
    w = np.array(near.start)
    before = None
    for _ in range(_ROUNDS):
        told, alone, failed, why, modes = _alone(shared, w, _beside(w, wide, population.layout.thetas))
        if not residual or (before is not None and (before == alone).all()):
            break
        if not alone.any():
            raise UsageError(
                "no subject tells its random effects alone, so that nothing tells the residual error",
                code="two_stage.sparse",
                rule="Two stages need subjects with more observations than random effects",
                cure="Fit with focei, laplace, saem or imp; they share what subjects have in common",
            )
        search = Search(shared.without(~alone), replace(options, restarts=0), progress)
        found = search.run(_beside(w, wide, population.layout.thetas), modes)
        w = np.array(w)
        w[residual] = found.w[residual]
        before = alone
    if not (~failed).any():
        raise UsageError("no subject has a likelihood", code="two_stage.failed", cure="Move the start values")
    kept = ~failed
    information, weighted, estimate = (v[kept] for v in told)
    estimates = Estimates(information, weighted, estimate, links.design[kept])
    return _First(w, estimates, alone, failed, why)


def _frozen(population: Population, residual: list[int]) -> Population:
    """The population with everything fixed but the residual parameters."""
    thetas = tuple(t if k in residual else replace(t, fixed=True) for k, t in enumerate(population.thetas))
    return Population(thetas, tuple(replace(block, fixed=True) for block in population.blocks))


def _widened(population: Population) -> np.ndarray:
    """[n] the search vector with standard deviations so wide that the prior says next to nothing."""

    def wide(block: OmegaBlock) -> OmegaBlock:
        matrix = np.diag(np.diag(np.array(block.start)) * _WIDE**2)
        return replace(block, start=tuple(tuple(float(v) for v in row) for row in matrix))

    return Population(population.thetas, tuple(wide(block) for block in population.blocks)).start


def _beside(w: np.ndarray, wide: np.ndarray, thetas: int) -> np.ndarray:
    """The typical values of one search vector with the covariance of the other."""
    return np.concatenate([w[:thetas], wide[thetas:]])


def _alone(
    shared: Objective, w: np.ndarray, wide: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray, np.ndarray, tuple[str, ...], tuple[np.ndarray, ...]]:
    """(information, weighted, estimate), who is identifiable alone, who failed, why, and modes under the wide prior."""
    layout = shared.population.layout
    prior, flat = (np.asarray(layout.factor(jnp.asarray(v))) for v in (w, wide))
    active = np.flatnonzero(np.diag(prior) > 0)
    at = shared.at(w)
    z = shared.gather(list(at.modes))
    eta = z @ prior.T
    begin = np.zeros_like(eta)
    begin[:, active] = eta[:, active] / np.diag(flat)[active]
    free = shared.at(wide, _spread_out(shared, begin))
    near, far = (_told(shared, e, v, f, active) for e, v, f in ((at, w, prior), (free, wide, flat)))
    failed = ~(np.isfinite(at.values) & at.found & np.isfinite(near[0]).all((1, 2)))
    unit = prior[np.ix_(active, active)]
    size = np.where(np.isfinite(far[0]).all((1, 2))[:, None, None], far[0], 0.0)[:, active][:, :, active]
    weakest = np.linalg.eigvalsh(np.einsum("ji,njk,kl->nil", unit, size, unit)).min(-1)
    lost = ~(np.isfinite(free.values) & free.found)
    alone = ~failed & ~lost & (weakest > _KNOWN**-2)
    words = np.where(lost, "no maximum of its likelihood was found", "its data do not tell every random effect")
    why = np.where(alone, "", np.where(failed, "no finite likelihood or no mode was found", words))
    information, weighted, estimate = (
        np.where(alone.reshape(-1, *[1] * (a.ndim - 1)), b, a) for a, b in zip(near, far, strict=True)
    )
    own = np.where(alone)[0]
    estimate = np.array(estimate)
    part = information[own][:, active][:, :, active]
    estimate[np.ix_(own, active)] = np.linalg.solve(part, weighted[np.ix_(own, active)][..., None])[..., 0]
    return (information, weighted, estimate), alone, failed, tuple(why.tolist()), free.modes


def _spread_out(shared: Objective, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Values [S, q] as arrays of the groups."""
    return tuple(np.where((p >= 0)[:, None], values[np.maximum(p, 0)], 0.0) for p in shared.places)


def _told(
    shared: Objective, at: Evaluation, w: np.ndarray, factor: np.ndarray, active: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Information [S, q, q], weighted [S, q] and eta [S, q] at the modes, of the data without the prior."""
    layout, method = shared.population.layout, shared.method
    curvatures = [
        np.asarray(_curvature(group, jnp.asarray(w), jnp.asarray(z), layout=layout, method=method))
        for group, z in zip(shared.groups, at.modes, strict=True)
    ]
    curvature, z = shared.gather(curvatures), shared.gather(list(at.modes))
    count, size = z.shape
    inverse = np.linalg.inv(factor[np.ix_(active, active)])
    own = curvature[:, active][:, :, active]
    information, weighted = np.zeros((count, size, size)), np.zeros((count, size))
    places = np.ix_(np.arange(count), active, active)
    information[places] = np.einsum("ji,njk,kl->nil", inverse, own - np.eye(len(active)), inverse)
    weighted[:, active] = np.einsum("ji,njk,nk->ni", inverse, own, z[:, active])
    return information, weighted, z @ factor.T


@functools.partial(jax.jit, static_argnames=("layout", "method"))
def _curvature(group: Group, w: Array, z: Array, *, layout: Layout, method: Method) -> Array:
    values = values_of(layout, jnp.broadcast_to(w, (*group.y.shape[:1], w.shape[0])))
    if method.exact:
        return exact_curvature(group, values, z, method.reading)
    return slope(group, values, z, method.reading).curvature


def _vector(population: Population, links: Links, w: np.ndarray, stage: Stage, structure: Structure) -> np.ndarray:
    """[n] search vector of a stage; a covariance at its edge is kept just inside."""
    layout = population.layout
    vector = jnp.asarray(w)
    scales = np.asarray(scales_of(layout, links.links, vector)) + stage.shift
    for link, scale in zip(links.links, scales, strict=True):
        vector = vector.at[link.theta].set(to_search(layout, link, jnp.asarray(scale)))
    lifted = stage.omega + np.where(structure.free, np.diag(1e-10 * np.diag(structure.start)), 0.0)
    return population.pack(np.asarray(layout.theta(vector)), lifted)


def _found(objective: Objective, w: np.ndarray, first: _First, stage: Stage, name: str) -> Found:
    start = objective.without(first.failed).at(objective.population.start)
    at = objective.at(w)
    lost = ~np.isfinite(at.values) | ~np.isfinite(at.gradients).all(1)
    aside = lost | first.failed
    at = objective.without(aside).at(w) if aside.any() else at
    count = len(aside)
    maps = int((~first.alone & ~first.failed).sum())
    words = f"{name} two-stage: {int(first.alone.sum())} of {count} subjects alone, {maps} by MAP"
    words += f", {int(first.failed.sum())} failed" if first.failed.any() else ""
    if not stage.converged:
        words = f"EM of the global stage did not settle in {stage.steps} steps; {words}"
    size = int(objective.population.free.sum())
    hessian = np.full((size, size), np.nan)
    return Found(w, at, start.value, stage.converged, words, stage.steps, 0, (), 0.0, hessian, aside=aside)


def _covariance(
    population: Population, objective: Objective, links: Links, first: _First, stage: Stage, w: np.ndarray
) -> Covariance:
    """Of linked typical values, of the covariance of random effects and of residual parameters, block by block."""
    thetas, free = population.layout.thetas, population.free
    size = len(free)
    natural = np.zeros((size, size))
    places = [link.theta for link in links.links]
    slopes = np.array([_natural_slope(population, link, w) for link in links.links])
    natural[np.ix_(places, places)] = stage.shift_covariance * np.outer(slopes, slopes)
    omegas = thetas + np.flatnonzero(free[thetas:])
    natural[np.ix_(omegas, omegas)] = stage.omega_covariance
    residual = [k for k in links.numeric if population.thetas[k].role == "residual"]
    if residual:
        natural[np.ix_(residual, residual)] = _residual_covariance(population, objective, residual, first)
    matrix = natural[np.ix_(free, free)]
    if not (np.isfinite(matrix).all() and np.linalg.eigvalsh(correlation_of(matrix)).min() > 0):
        return no_covariance(population, "the individual estimates do not tell all standard errors", "stages")
    jacobian = np.asarray(jax.jacfwd(population.layout.natural)(jnp.asarray(w)))[np.ix_(free, free)]
    back = np.linalg.inv(jacobian)
    nothing = np.full(matrix.shape, np.nan)
    eigenvalues = np.linalg.eigvalsh(correlation_of(matrix))
    names = estimated_names(population)
    return Covariance("stages", "done", names, back @ matrix @ back.T, matrix, nothing, nothing, eigenvalues, True)


def _natural_slope(population: Population, link: Any, w: np.ndarray) -> float:
    """Derivative of the natural value by the scale on which its random effect shifts it."""
    value = float(population.layout.theta(jnp.asarray(w))[link.theta])
    if link.scale == "natural":
        return 1.0
    if link.scale == "log":
        return value
    slope_of = jax.jvp(population.layout.theta, (jnp.asarray(w),), (jnp.eye(len(w))[link.theta],))[1]
    return float(slope_of[link.theta])


def _residual_covariance(
    population: Population, objective: Objective, residual: list[int], first: _First
) -> np.ndarray:
    """[r, r] of the residual parameters: twice the inverse Hessian of the restricted -2 log likelihood."""
    near = _frozen(population, residual)
    wide = _beside(first.w, _widened(near), population.layout.thetas)
    shared = Objective(near, objective.groups, objective.method, objective.names).without(~first.alone)
    at = shared.at(wide)
    steps = np.full(len(residual), 2e-4)
    hessian = shared.hessian(wide, at, steps, np.array(residual))
    slopes = np.diag(np.asarray(jax.jacfwd(population.layout.theta)(jnp.asarray(wide))))[residual]
    if not np.linalg.eigvalsh(hessian).min() > 0:
        return np.full(hessian.shape, np.nan)
    return np.asarray(2.0 * np.linalg.inv(hessian) * np.outer(slopes, slopes))
