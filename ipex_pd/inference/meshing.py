"""What the mesh of a nonlinear model costs a fit, and the search continued on a mesh that suits the estimates.

A mesh is decided at the start values and held while a search moves. Where the search ended it is decided anew: if the
objective there changes by more than 1e-3, the search goes on upon the new mesh. What is left is told in units of the
objective: how much -2 log likelihood, at the modes, moves when every sub-step is halved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.inference.binding import BoundProblem, predict
from ipex_pd.inference.conditional import effects
from ipex_pd.inference.group import Group
from ipex_pd.inference.likelihood import record_terms
from ipex_pd.inference.objectives import values_of
from ipex_pd.inference.search import Found
from ipex_pd.inference.totals import Objective
from ipex_pd.numerics.rowmesh import halved

Array = Any

CHANGE = 1e-3
_MOST_ROUNDS = 3


@dataclass(frozen=True)
class MeshCheck:
    """What is known of the mesh of a fit.

    Attributes:
        error: change of -2 log likelihood at the modes when every sub-step is halved.
        amounts: largest change of an amount by the same, relative to the peak of its compartment.
        subject: whose amounts change most, as in the data.
        change: of the objective when the mesh was last decided anew, at the estimates; NaN when it was not.
        rounds: how often the search went on upon a new mesh.
        outcome: `settled`, or why the mesh could not be settled, in words.
    """

    error: float
    amounts: float
    subject: str
    change: float
    rounds: int
    outcome: str

    @property
    def settled(self) -> bool:
        """Whether deciding the mesh anew no longer changes the objective."""
        return self.outcome == "settled"


def has_mesh(bound: Any) -> bool:
    """Whether a bound problem is advanced on a mesh."""
    return isinstance(bound, BoundProblem) and any(
        g.inputs.plan is not None and g.inputs.plan.structure.route == "mesh" for g in bound.groups
    )


def etas_of(objective: Objective, found: Found) -> tuple[np.ndarray, ...]:
    """For each group [B, q] random effects at the modes; zero for subjects that were set aside."""
    layout, w = objective.population.layout, jnp.asarray(found.w)
    parts = []
    for group, place, z in zip(objective.groups, objective.places, found.at.modes, strict=True):
        values = values_of(layout, jnp.broadcast_to(w, (len(z), len(found.w))))
        eta = np.asarray(effects(group, values, jnp.asarray(z)))
        aside = objective.aside[np.maximum(place, 0)] & (place >= 0)
        parts.append(np.where(aside[:, None] | ~np.isfinite(eta), 0.0, eta))
    return tuple(parts)


def settled(
    bound: BoundProblem,
    objective: Objective,
    found: Found,
    again: Callable[[BoundProblem], Objective],
    go_on: Callable[[Objective, Found], Found] | None,
) -> tuple[BoundProblem, Objective, Found, MeshCheck]:
    """Decide the mesh at the estimates, and search on where that changes the objective.

    Args:
        bound: with the mesh that was used.
        objective: of the search.
        found: where it ended.
        again: the objective on another mesh.
        go_on: continues a search on it; None where the method has no search to continue.

    Returns:
        What the fit goes on with, and what is known of its mesh.
    """
    rounds, change, outcome = 0, float("nan"), "settled"
    while not found.interrupted:
        theta = np.asarray(objective.population.layout.theta(jnp.asarray(found.w)))
        try:
            finer = bound.refined(theta, etas_of(objective, found))
        except SimulationError as error:
            outcome = f"no mesh could be decided at the estimates ({error.what})"
            break
        other = again(finer).without(objective.aside)
        at = other.at(found.w, found.at.modes)
        change = abs(at.value - found.at.value) if go_on is not None else _moved(objective, other, found)
        if change <= CHANGE:
            break
        if go_on is None or rounds == _MOST_ROUNDS or not np.isfinite(change):
            outcome = f"deciding the mesh anew at the estimates changes the objective by {change:.2g}"
            break
        rounds += 1
        ends = tuple(v + at.value - found.at.value for v in found.restarts)
        more = go_on(other, replace(found, at=at))
        bound, objective = finer, again(finer)
        found = replace(more, start=found.start, trace=found.trace + more.trace, restarts=ends)
        objective = objective.without(found.aside) if found.aside.any() else objective
    return bound, objective, found, _checked(bound, objective, found, change, rounds, outcome)


def _moved(objective: Objective, other: Objective, found: Found) -> float:
    """How much the approximate objective differs between two meshes, for methods whose value is another."""
    return abs(other.at(found.w, found.at.modes).value - objective.at(found.w, found.at.modes).value)


def _checked(
    bound: BoundProblem, objective: Objective, found: Found, change: float, rounds: int, outcome: str
) -> MeshCheck:
    theta = np.asarray(objective.population.layout.theta(jnp.asarray(found.w)))
    etas = etas_of(objective, found)
    differences = np.zeros(objective.subjects)
    for group, place, eta in zip(bound.groups, objective.places, etas, strict=True):
        there = np.asarray(_terms(_halved(group), theta, eta) - _terms(group, theta, eta))
        differences[place[place >= 0]] = there[place >= 0]
    audit = objective.gather([np.asarray(a) for a in bound.audit(theta, etas)])
    audit[objective.aside], differences[objective.aside] = 0.0, 0.0
    worst = int(np.argmax(np.nan_to_num(audit, nan=np.inf)))
    return MeshCheck(
        abs(float(differences.sum())), float(audit[worst]), objective.names[worst], change, rounds, outcome
    )


def _terms(group: Group, theta: np.ndarray, eta: np.ndarray) -> Array:
    wide = jnp.broadcast_to(jnp.asarray(theta), (group.shape[0], len(theta)))
    return jnp.sum(record_terms(group, predict(group, wide, jnp.asarray(eta))), -1)


def _halved(group: Group) -> Group:
    plan = group.inputs.plan
    if plan is None or plan.mesh is None:
        return group
    return replace(group, inputs=replace(group.inputs, plan=replace(plan, mesh=halved(plan.mesh))))
