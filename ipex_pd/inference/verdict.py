"""One line on whether to believe a fit, with its reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ipex_pd.inference.covariance import Covariance
from ipex_pd.inference.meshing import MeshCheck
from ipex_pd.inference.search import Found
from ipex_pd.inference.totals import Objective
from ipex_pd.inference.twostage import TwoStage

Level = Literal["trust", "look", "do not trust"]

_LEFT = 0.01
_AGREE = 0.1
_ALARM_CONDITION = 1000.0
_ALARM_RSE = 50.0
_ALARM_SHRINKAGE = 30.0
_PATH = 1e-3
_MESH = 1e-3
_AT_BOUND = 7.0


@dataclass(frozen=True)
class Reason:
    """Something that speaks against a fit: how much, and what."""

    level: Literal["look", "do not trust"]
    text: str


@dataclass(frozen=True)
class Verdict:
    """Whether to believe a fit: its worst reason decides; `best` says what there is to trust where there is none."""

    reasons: tuple[Reason, ...]
    best: str = "at a minimum, found again, well determined"

    @property
    def level(self) -> Level:
        """`trust`, `look` or `do not trust`."""
        levels = {reason.level for reason in self.reasons}
        return "do not trust" if "do not trust" in levels else "look" if levels else "trust"

    def __str__(self) -> str:
        said = "; ".join(r.text for r in sorted(self.reasons, key=lambda r: r.level))
        return f"{self.level}: {said}" if said else f"trust: {self.best}"


def judge(
    objective: Objective,
    found: Found,
    covariance: Covariance,
    shrinkage: dict[str, float],
    mesh: MeshCheck | None = None,
    stages: TwoStage | None = None,
) -> Verdict:
    """Weigh a fit.

    Args:
        objective: of the fit.
        found: where the search ended.
        covariance: of the estimates.
        shrinkage: [%] SD shrinkage by random effect.
        mesh: what is known of the mesh of a nonlinear model.
        stages: of a two-stage fit.
    """
    reasons = [*_search_reasons(objective, found), *_subject_reasons(objective, found)]
    if objective.population.free.any():
        reasons += [*_minimum_reasons(objective, found, covariance), *_precision_reasons(objective, found, covariance)]
    reasons += [] if mesh is None else _mesh_reasons(mesh)
    for name, value in shrinkage.items():
        if value > _ALARM_SHRINKAGE:
            reasons.append(Reason("look", f"shrinkage of {name} is {value:.0f} %"))
    reasons += [] if stages is None else _stage_reasons(objective, stages)
    return Verdict(tuple(reasons), _best(objective, found, stages))


def _best(objective: Objective, found: Found, stages: TwoStage | None) -> str:
    """What a fit without reasons against it has in its favour."""
    if stages is not None:
        return "every subject tells its random effects alone, well determined"
    if not objective.population.free.any():
        return "a mode was found for every subject"
    return f"at a minimum, {'found again' if found.restarts else 'searched from one start'}, well determined"


def _stage_reasons(objective: Objective, stages: TwoStage) -> list[Reason]:
    reasons = []
    way = np.array(stages.way)
    maps, failed = np.flatnonzero(way == "map"), np.flatnonzero(way == "failed")
    if len(maps):
        text = f"{objective.who(maps)} by MAP: not identifiable alone"
        if stages.chosen == "standard":
            text += ", and so drawn towards the start values"
        reasons.append(Reason("look", text))
    if len(failed):
        reasons.append(Reason("do not trust", f"{objective.who(failed)} had no individual fit and took no part"))
    if stages.chosen == "standard":
        text = "variances of the standard stage hold the uncertainty of the individual estimates and are too large"
        reasons.append(Reason("look", text))
    return reasons


def _mesh_reasons(mesh: MeshCheck) -> list[Reason]:
    if not mesh.settled:
        return [Reason("do not trust", f"the mesh is not settled: {mesh.outcome}")]
    if not mesh.error <= _MESH:
        text = f"halving the sub-steps of the mesh moves the objective by {mesh.error:.2g} (most for {mesh.subject})"
        return [
            Reason("do not trust" if not mesh.error <= _AGREE else "look", f"{text}; bind with a smaller tolerance")
        ]
    return []


def _search_reasons(objective: Objective, found: Found) -> list[Reason]:
    reasons = []
    if found.interrupted:
        reasons.append(Reason("do not trust", "the search was interrupted"))
    elif not found.converged:
        reasons.append(Reason("do not trust", f"the search ended early: {found.outcome}"))
    worst = max((abs(v - found.at.value) for v in found.restarts), default=0.0)
    if worst > _AGREE:
        ends = ", ".join(f"{v:.3f}" for v in found.restarts)
        text = f"searches from other starts ended elsewhere ({ends} against {found.at.value:.3f})"
        reasons.append(Reason("look", text))
    if found.barriers and not found.converged:
        met = ", ".join(f"{objective.names[place]} at {points}" for place, points in found.barriers[:6])
        reasons.append(Reason("look", f"points tried had no likelihood of some subjects ({met})"))
    if found.path_difference > _PATH:
        text = f"the objective depends on where modes are searched from (by {found.path_difference:.2g})"
        reasons.append(Reason("look", text))
    return reasons


def _subject_reasons(objective: Objective, found: Found) -> list[Reason]:
    reasons = []
    aside = np.flatnonzero(objective.aside)
    if len(aside):
        text = f"{objective.who(aside)} had no finite likelihood and was set aside: the estimates are those of the rest"
        reasons.append(Reason("do not trust", text))
    lost = np.flatnonzero(~found.at.found & ~objective.aside)
    if not len(lost):
        return reasons
    share = len(lost) / objective.subjects
    level: Literal["look", "do not trust"] = "do not trust" if share > 0.1 else "look"
    text = f"no proper mode for {len(lost)} of {objective.subjects} subjects ({objective.who(lost)})"
    if objective.method.exact and not found.at.definite[lost].all():
        text += (
            "; their exact Hessian is not positive definite, so that this approximation has no meaning for them: "
            "compare with focei, or fit with saem or imp"
        )
    return [*reasons, Reason(level, text)]


def _minimum_reasons(objective: Objective, found: Found, covariance: Covariance) -> list[Reason]:
    gradient = found.at.gradient[objective.population.free]
    if not np.isfinite(found.hessian).all():
        return []
    if not covariance.definite and covariance.kind != "none":
        return [Reason("do not trust", "not a minimum: R is not positive definite")]
    gain = 0.5 * float(gradient @ np.linalg.lstsq(found.hessian, gradient, rcond=None)[0])
    if abs(gain) > _LEFT:
        return [Reason("do not trust", f"the objective could still fall by {gain:.2g}")]
    return []


def _precision_reasons(objective: Objective, found: Found, covariance: Covariance) -> list[Reason]:
    population = objective.population
    reasons = [Reason("look", f"{name} is at a bound") for name in at_bounds(objective, found.w)]
    if covariance.kind == "none":
        return reasons
    if not covariance.done:
        return [*reasons, Reason("look", f"no standard errors: {covariance.outcome}")]
    if covariance.condition_number > _ALARM_CONDITION:
        reasons.append(Reason("look", f"condition number {covariance.condition_number:.3g}"))
    natural = np.asarray(population.layout.natural(found.w))[population.free]
    with np.errstate(divide="ignore"):
        rse = 100.0 * covariance.standard_errors / np.abs(natural)
    thetas = int(population.free[: population.layout.thetas].sum())
    vague = [f"{n} ({v:.0f} %)" for n, v in zip(covariance.names[:thetas], rse, strict=False) if v > _ALARM_RSE]
    if vague:
        reasons.append(Reason("look", f"relative standard error above {_ALARM_RSE:.0f} %: {', '.join(vague)}"))
    return reasons


def at_bounds(objective: Objective, w: np.ndarray) -> tuple[str, ...]:
    """Names of estimated values that the search drove to a bound, and of variances driven to zero."""
    population = objective.population
    natural = np.asarray(population.layout.natural(w))
    names = []
    for i, theta in enumerate(population.thetas):
        low, high = theta.search_bounds
        two = np.isfinite(low) and np.isfinite(high)
        one = np.isfinite(low) != np.isfinite(high)
        from_start = w[i] - population.start[i]
        if not theta.fixed and ((two and abs(w[i]) > 10.0) or (one and from_start < -_AT_BOUND)):
            names.append(theta.name)
    for i in range(len(population.thetas), len(natural)):
        name = population.names[i]
        variance = "," not in name
        if population.free[i] and variance and natural[i] < 1e-6 * max(_start_of(objective, i), 1e-12):
            names.append(name)
    return tuple(names)


def _start_of(objective: Objective, place: int) -> float:
    return float(np.asarray(objective.population.layout.natural(objective.population.start))[place])
