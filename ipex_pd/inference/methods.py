"""Stochastic methods as searches of `fit`: where SAEM and importance-sampling EM ended, told as any other search is.

The objective is that of importance sampling (never a by-product of the search), the gradient and the Hessian those of
the exact marginal likelihood by the same draws; modes, for tables of subjects, are those of the method given.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from ipex_pd.inference.imp import ImpOptions, imp
from ipex_pd.inference.information import Informed
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Population
from ipex_pd.inference.progress import Progress
from ipex_pd.inference.saem import SaemOptions, saem
from ipex_pd.inference.search import Found
from ipex_pd.inference.settings import settings_for
from ipex_pd.inference.totals import Evaluation, Objective

StochasticName = Literal["saem", "imp"]

STOCHASTIC: tuple[StochasticName, ...] = ("saem", "imp")


def stochastic(
    method: str,
    objective: Objective,
    options: FitOptions,
    progress: Progress | None = None,
    start: np.ndarray | None = None,
) -> Found:
    """Search by SAEM or importance-sampling EM.

    Args:
        method: `saem` or `imp`.
        objective: of the problem by a method with modes, such as `laplace`.
        options: of the fit; its settings are those of the method, made with its seed when not given.
        progress: told of every block of iterations.
        start: [n] search vector; the start of the population when not given.

    Raises:
        UsageError: settings of the other method.
    """
    population = objective.population if start is None else started(objective.population, start)

    own = settings_for(method, options)
    path: tuple[float, ...] = ()
    if isinstance(own, SaemOptions):
        fit = saem(population, objective.groups, own, progress)
        informed, words, iterations, stopped = fit.informed, fit.words, len(fit.trace), fit.interrupted
    else:
        assert isinstance(own, ImpOptions)
        climb = imp(population, objective.groups, own, progress)
        informed, words, iterations = climb.informed, climb.words(own.tolerance), len(climb.trace)
        stopped, path = climb.interrupted, tuple(float(v) for v in climb.objectives)
    tolerance = own.tolerance
    at = evaluation(objective, informed)
    free = np.flatnonzero(population.free)
    return Found(
        w=informed.w,
        at=at,
        start=path[0] if path else float("nan"),
        converged=bool(informed.left <= tolerance + informed.left_noise) and not stopped,
        outcome=words,
        iterations=iterations,
        evaluations=iterations,
        trace=path,
        path_difference=0.0,
        hessian=2.0 * informed.information[np.ix_(free, free)],
        interrupted=stopped,
    )


def evaluation(objective: Objective, informed: Informed) -> Evaluation:
    """The marginal likelihood by importance sampling as an evaluation, with the modes of the objective's own method."""
    modes = objective.at(informed.w)
    penalty = float(objective.population.penalty(informed.w))
    return replace(
        modes,
        value=informed.marginal.objective + penalty,
        gradient=2.0 * informed.score,
        values=informed.marginal.subjects,
        gradients=-2.0 * informed.slopes,
    )


def started(population: Population, w: np.ndarray) -> Population:
    """The population with its estimated values starting at a search vector."""
    theta, omega = population.unpack(w)
    thetas = tuple(t if t.fixed else replace(t, start=float(v)) for t, v in zip(population.thetas, theta, strict=True))
    blocks, corner = [], 0
    for block in population.blocks:
        size = len(block.names)
        part = omega[corner : corner + size, corner : corner + size]
        matrix = tuple(tuple(float(v) for v in row) for row in 0.5 * (part + part.T))
        blocks.append(block if block.fixed else replace(block, start=matrix))
        corner += size * max(block.occasions, 1)
    return Population(thetas, tuple(blocks))
