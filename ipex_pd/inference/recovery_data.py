"""A dataset drawn anew from known population values: the same subjects, doses and records, new effects and residuals.

Every draw has an address, (seed, number of the replicate, subject) or (seed, number, record), so that a replicate does
not depend on how many there are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.inference.binding import BoundProblem, predict
from ipex_pd.inference.diagnostics.records import records_of
from ipex_pd.inference.diagnostics.scales import fitted_scale, own_scale
from ipex_pd.inference.group import Group
from ipex_pd.simulation.draws import normals

if TYPE_CHECKING:
    from ipex_pd.inference.disease import DiseaseParts

    AnyBound = BoundProblem | DiseaseParts

Array = Any
_COARSE = 1e-3


def require_drawable(bound: AnyBound) -> None:
    """Refuse records that cannot be drawn as they were seen.

    Raises:
        UsageError: events or judged levels, records that are left out or truncated at a limit (M1, M4), or censored
            records of a cohort, whose limits are not those of its other records.
    """
    for group in bound.groups:
        if (np.asarray(group.direct) & np.asarray(group.mask)).any():
            raise _refusal("events or judged levels", "Drawn are values with a normal residual on their fitted scale")
        if np.isfinite(np.asarray(group.floor)).any():
            raise _refusal("records that are truncated at a limit (m4)", "Drawn are measured and censored (m3) records")
    if isinstance(bound, BoundProblem):
        ways = {getattr(e, "censoring", None) for e in bound.problem.endpoints.values()}
        if "m1" in ways:
            raise _refusal("records that are left out below a limit (m1)", "Other records would be left out each time")
    elif any((np.asarray(g.cens) != 0).any() for g in bound.groups):
        raise _refusal("censored records of a cohort", "A cohort tells the limit of censored records only")


def _refusal(what: str, rule: str) -> UsageError:
    return UsageError(
        f"this problem has {what}",
        code="recovery.records",
        rule=rule,
        cure="Leave such endpoints out of a copy of the problem",
    )


def redrawn(bound: AnyBound, w: np.ndarray, number: int, seed: int) -> AnyBound:
    """The problem with new data.

    Args:
        bound: the problem with its data, of which the design is kept.
        w: [n] search vector of the values that make the data.
        number: of the replicate, from 0.
        seed: of all draws.

    Raises:
        UsageError: see `require_drawable`.
        SimulationError: a prediction that is not finite.
    """
    require_drawable(bound)
    effects = drawn_effects(bound, w, number, seed)
    theta = np.asarray(bound.population.layout.theta(jnp.asarray(w)))
    meshed = bound.refined(theta, effects) if isinstance(bound, BoundProblem) else bound
    values = [
        _drawn(group, theta, effects[k], f"recovery/{number}/residual/{k}", seed)
        for k, group in enumerate(meshed.groups)
    ]
    if isinstance(bound, BoundProblem):
        return replace(bound, groups=_censored(bound, values))
    return replace(bound, groups=tuple(_given(g, y) for g, y in zip(bound.groups, values, strict=True)))


def drawn_effects(bound: AnyBound, w: np.ndarray, number: int, seed: int) -> list[np.ndarray]:
    """New random effects [B, q] for every group."""
    factor = np.asarray(bound.population.layout.factor(jnp.asarray(w)))
    subjects = 1 + max(int(np.asarray(group.subjects).max(initial=0)) for group in bound.groups)
    everyone = normals(seed, f"recovery/{number}/eta", np.arange(subjects * len(factor)))
    etas = everyone.reshape(subjects, len(factor)) @ factor.T
    return [np.where(np.asarray(g.eta_mask), etas[np.maximum(np.asarray(g.subjects), 0)], 0.0) for g in bound.groups]


def _drawn(group: Group, theta: np.ndarray, eta: np.ndarray, address: str, seed: int) -> np.ndarray:
    """[B, N] records on the fitted scale; a residual correlated with that of an earlier record follows it."""
    rows, records = group.shape
    said = predict(group, jnp.broadcast_to(jnp.asarray(theta), (rows, len(theta))), jnp.asarray(eta))
    mean, variance, share = (np.asarray(part) for part in (said.mean, said.variance, said.correlation))
    mask = np.asarray(group.mask)
    if not (np.isfinite(mean) & np.isfinite(variance) & (variance >= 0))[mask].all():
        raise SimulationError(
            "a drawn record has no finite prediction",
            code="recovery.prediction",
            rule="Every record has one at random effects drawn from the population",
            cure="Look at the start values: a large variance takes the model where it has no answer",
        )
    error = normals(seed, address, np.arange(rows * records)).reshape(rows, records)
    partner, people = np.asarray(group.partner), np.arange(rows)
    for n in range(records):
        paired = partner[:, n] >= 0
        follow, own = error[people, np.maximum(partner[:, n], 0)], error[:, n]
        error[:, n] = np.where(paired, share[:, n] * follow + np.sqrt(1.0 - share[:, n] ** 2) * own, own)
    return np.where(mask, mean + np.sqrt(np.where(mask, variance, 0.0)) * error, np.asarray(group.y))


def _given(group: Group, y: np.ndarray) -> Group:
    """The group with other values, all of them measured; what only shifts the objective by a constant is left out."""
    return replace(
        group,
        y=y,
        cens=np.zeros_like(np.asarray(group.cens)),
        limit=np.zeros_like(np.asarray(group.limit)),
        jacobian=np.zeros_like(np.asarray(group.jacobian)),
    )


def _censored(bound: BoundProblem, values: list[np.ndarray]) -> tuple[Group, ...]:
    """Groups with new values, those beyond a limit of quantification told as the limit."""
    records = records_of(bound)
    own = own_scale(records, records.flat(values))
    below, above = own < records.lower, own > records.upper
    ends = fitted_scale(records, np.where(below, records.lower, np.where(above, records.upper, own)))
    groups = []
    for k, group in enumerate(bound.groups):
        made = _given(group, values[k])
        beyond = (records.group == k) & (below | above)
        at = records.row[beyond], records.column[beyond]
        y, cens, limit = (np.array(part) for part in (made.y, made.cens, made.limit))
        y[at], cens[at] = ends[beyond], np.where(below[beyond], 1, -1)
        limit[at] = np.where(below[beyond], -np.inf, np.inf)
        groups.append(replace(made, y=y, cens=cens, limit=limit))
    return tuple(groups)
