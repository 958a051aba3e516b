"""What a planned study would tell: expected Fisher information, standard errors, and the directions left open.

`fo` linearises in the random effects (see `linearised`). `monte_carlo` simulates the study again and again and takes
the mean of s s', s the score of a subject: minus half its gradient of the objective, by FOCEI's, Laplace's or the
quadrature's approximation of the marginal likelihood.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.information_record import Information
from ipex_pd.inference.linearised import Kind, linearised_information, simulated
from ipex_pd.inference.objectives import Method, evaluate, method_for
from ipex_pd.inference.planned import plan_study, prior_information, require_plannable
from ipex_pd.inference.population import Population
from ipex_pd.inference.reestimation import natural_and_slopes
from ipex_pd.inference.totals import Bound
from ipex_pd.records.problems import EstimationProblem

Array = Any
Route = Literal["fo", "monte_carlo"]

_BATCHES = 10


@dataclass(frozen=True)
class DesignOptions:
    """How an expected information is found.

    Attributes:
        likelihood: of the Monte Carlo scores: `focei`, `laplace` or `agq` (adaptive quadrature, exact for few effects).
        studies: simulated, for Monte Carlo; at least two for each of the ten batches that its error is told from.
        nodes: of `agq`, per random effect.
        seed: of the simulations.
        typical_rse, variance_rse: [%] a typical value, or a variance or residual value, counts as informed below it.
            Assumed, there being no rule: what is known to 30 % decides on doses; of variances less is asked.
    """

    likelihood: Literal["focei", "laplace", "agq"] = "focei"
    studies: int = 200
    nodes: int = 9
    seed: int = 1
    typical_rse: float = 30.0
    variance_rse: float = 50.0

    def __post_init__(self) -> None:
        choices = ("focei", "laplace", "agq")
        if self.likelihood not in choices:
            raise UsageError(
                f"`{self.likelihood}` is not a choice of `likelihood`", rule=nearest_hint(self.likelihood, choices)
            )
        if self.studies < 2 * _BATCHES:
            raise UsageError(
                f"studies = {self.studies}", rule=f"At least {2 * _BATCHES}, to tell the Monte Carlo error"
            )
        if not (self.typical_rse > 0 and self.variance_rse > 0):
            raise UsageError("a limit of the relative standard error is not above zero")


def fisher_information(
    problem: EstimationProblem | Bound,
    kind: Kind | None = None,
    method: Route = "fo",
    *,
    study: str | os.PathLike[str] | None = None,
    at: Mapping[str, float] | None = None,
    options: DesignOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Information:
    """The expected Fisher information of a study, and what it says of every parameter.

    Args:
        problem: as loaded, or bound (see `inference.planned`). Subjects, doses and sampling times count, not DV.
        kind: `full`; `blocks`: without information between typical values and variances (or residual values);
            `reduced`: besides, what the variances tell of typical values is left out (as in NONMEM's $DESIGN). When
            left out, `reduced` by `fo`, which foretells standard errors better than the linearised full matrix
            (J. Nyberg et al., Br J Clin Pharmacol 79 (2015) 6), and `full` by Monte Carlo.
        method: `fo` or `monte_carlo` (always the full matrix).
        study: table of the planned study; the problem's own data when left out.
        at: values by name (as in `Fit.parameter_values`) in place of the start values.
        options: of the Monte Carlo, and limits of relative standard errors.
        progress: called with the number of studies simulated and of all.

    Raises:
        UsageError: records or priors without an expected information, an unknown name, or options that contradict.
        RecordError: the problem and the study do not fit together.
    """
    chosen = options or DesignOptions()
    asked: Kind = kind or ("full" if method == "monte_carlo" else "reduced")
    for name, given, known in (
        ("kind", asked, ("reduced", "blocks", "full")),
        ("method", method, ("fo", "monte_carlo")),
    ):
        if given not in known:
            raise UsageError(f"`{given}` is not a {name} of information", rule=nearest_hint(given, known))
    if method == "monte_carlo" and asked != "full":
        raise UsageError("Monte Carlo scores give the full information", cure='Write kind="full", or method="fo"')
    bound = _bound(problem, study)
    require_plannable(bound)
    w = _search_vector(bound.population, at)
    if method == "fo":
        parts, spread = _linearised(bound, w, asked), None
    else:
        parts, spread = _sampled(bound, w, chosen, progress)
    return _record(bound, w, parts, spread, (asked, method), chosen)


def _bound(problem: EstimationProblem | Bound, study: str | os.PathLike[str] | None) -> Bound:
    if isinstance(problem, EstimationProblem):
        return plan_study(problem, study)
    if study is not None:
        raise UsageError("a bound problem has its study already", cure="Give the problem as loaded, or no `study`")
    return problem


def _search_vector(population: Population, at: Mapping[str, float] | None) -> np.ndarray:
    """The start values, with those of `at` in their place. Raises: UsageError."""
    if not at:
        return population.start
    for name in at:
        if name not in population.names:
            raise UsageError(f"`{name}` is not a parameter", rule=nearest_hint(name, population.names))
    natural = np.asarray(population.layout.natural(jnp.asarray(population.start)))
    values = [float(at.get(name, v)) for name, v in zip(population.names, natural, strict=True)]
    thetas = len(population.thetas)
    blocks, place = [], thetas
    for block in population.blocks:
        row, column = np.tril_indices(len(block.names))
        matrix = np.zeros((len(block.names),) * 2)
        matrix[row, column] = matrix[column, row] = values[place : place + len(row)]
        place += len(row)
        blocks.append(replace(block, start=tuple(tuple(float(v) for v in line) for line in matrix)))
    moved = tuple(replace(t, start=v) for t, v in zip(population.thetas, values, strict=False))
    return np.concatenate(
        [population.layout.transform.search(np.array(values[:thetas])), Population(moved, tuple(blocks)).start[thetas:]]
    )


def _linearised(bound: Bound, w: np.ndarray, kind: Kind) -> np.ndarray:
    """[S, m, m] about the free entries of the search vector."""
    population = bound.population
    free = np.flatnonzero(population.free)
    basis = np.eye(len(w))[free]
    typical = np.array(
        [place < len(population.thetas) and population.thetas[place].role != "residual" for place in free]
    )
    parts = [
        np.asarray(
            linearised_information(
                jax.tree.map(jnp.asarray, group),
                jnp.asarray(w),
                jnp.asarray(basis),
                jnp.asarray(typical),
                layout=population.layout,
                kind=kind,
            )
        )
        for group in bound.groups
    ]
    return _gathered(bound, parts)


def _gathered(bound: Bound, parts: list[np.ndarray]) -> np.ndarray:
    places = [np.asarray(group.subjects) for group in bound.groups]
    whole = np.zeros((1 + max(int(p.max(initial=-1)) for p in places), *parts[0].shape[1:]))
    for place, part in zip(places, parts, strict=True):
        whole[place[place >= 0]] = part[place >= 0]
    return whole


def _sampled(
    bound: Bound, w: np.ndarray, options: DesignOptions, progress: Callable[[int, int], None] | None
) -> tuple[np.ndarray, np.ndarray]:
    """[S, m, m] of every subject, and [batches, m, m] of the study by batches of simulations."""
    population = bound.population
    groups = tuple(jax.tree.map(jnp.asarray, group) for group in bound.groups)
    method = method_for(options.likelihood, groups, options.nodes)
    free = np.flatnonzero(population.free)
    key = jax.random.key(options.seed)
    total = [np.zeros((group.shape[0], len(free), len(free))) for group in groups]
    batches = np.zeros((_BATCHES, len(free), len(free)))
    counts = np.zeros(_BATCHES)
    for number in range(options.studies):
        counts[number % _BATCHES] += 1
        for place, group in enumerate(groups):
            own = jax.random.fold_in(jax.random.fold_in(key, number), place)
            square = _score_square(group, population, jnp.asarray(w), own, method)[:, free][:, :, free]
            total[place] += square
            batches[number % _BATCHES] += square[np.asarray(group.subjects) >= 0].sum(0)
        if progress is not None:
            progress(number + 1, options.studies)
    return _gathered(bound, [part / options.studies for part in total]), batches / counts[:, None, None]


def _score_square(group: Any, population: Population, w: Array, key: Array, method: Method) -> np.ndarray:
    """[B, n, n] s s' of one simulated study. Raises: UsageError where a subject has no mode."""
    y, z = simulated(group, w, key, layout=population.layout)
    found = evaluate(replace(group, y=y), w, z, layout=population.layout, method=method)
    gradients = -0.5 * np.asarray(found.gradients)
    real = np.asarray(group.subjects) >= 0
    if not np.isfinite(gradients[real]).all() or not (np.asarray(found.decrement)[real] < 1e-6).all():
        raise UsageError(
            "a simulated subject has no proper mode, so that its score is not known",
            code="design.no-mode",
            rule="Leaving it out would bias the information",
            cure="Use `laplace`, or the method `fo`",
        )
    return np.asarray(np.einsum("bi,bj->bij", gradients, gradients))


def _record(
    bound: Bound,
    w: np.ndarray,
    parts: np.ndarray,
    spread: np.ndarray | None,
    how: tuple[str, str],
    options: DesignOptions,
) -> Information:
    """To natural values: J^-T F J^-1 with the derivatives J of the natural values by the search vector."""
    population = bound.population
    free = np.flatnonzero(population.free)
    natural, slopes = natural_and_slopes(population.layout, w)
    turn = np.linalg.inv(slopes[np.ix_(free, free)])
    prior = np.diag(_at_values(bound, natural)[free])
    return Information(
        names=tuple(population.names[i] for i in free),
        values=natural[free],
        scales=tuple(population.thetas[i].scale if i < len(population.thetas) else "natural" for i in free),
        variance=np.array([i >= len(population.thetas) or population.thetas[i].role == "residual" for i in free]),
        parts=turn.T @ parts @ turn,
        prior=prior,
        batches=None if spread is None else turn.T @ spread @ turn,
        kind=how[0],
        method=how[1],
        limits=(options.typical_rse, options.variance_rse),
    )


def _at_values(bound: Bound, natural: np.ndarray) -> np.ndarray:
    """What priors add at these natural values."""
    found = np.zeros(len(natural))
    thetas = bound.population.thetas
    found[: len(thetas)] = prior_information(thetas, natural)
    return found
