"""Paths for policies from the march: outcomes by day of transplant, and what visits before it show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.planning.ensemble import Ensemble
from ipex_pd.planning.information import Decision
from ipex_pd.planning.outcomes import Marcher
from ipex_pd.planning.paths import NEVER, Paths, observe_visits
from ipex_pd.records.library import load_drug, load_measurements
from ipex_pd.records.measurements import Measurement, level_of
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.study import disease

Progress = Callable[[int, int], None]
SHOWN = ("oi_score", "ige", "weight", "diabetes_onset", "hypothyroidism_onset")
"""What visits measure where nothing else is said, besides the levels of the drugs of the bridge."""


def decision_paths(
    ensemble: Ensemble,
    goal: PlanningProblem,
    regimen: Regimen,
    days: Sequence[float],
    *,
    seed: int,
    notice: float = 0.0,
    measurements: Sequence[Measurement] | None = None,
    at_once: int = 2000,
    progress: Progress | None = None,
) -> tuple[Paths, Simulation]:
    """Paths of the members for `planning.policies` and `planning.stopping`, and their course without transplant.

    Args:
        ensemble: the members.
        goal: what an outcome is worth, and the horizon.
        regimen: with one transplant; what comes before it is the bridge, which goes on until the transplant.
        days: candidate days [day]; `NEVER` is put last.
        seed: of the errors of measurement.
        notice: days from the visit at which one decides to the transplant.
        measurements: of the visits; `SHOWN` and the levels of the bridge when None.
        at_once: members whose courses are held in memory at a time.
        progress: called with (blocks of members done, blocks).

    Raises:
        UsageError: a candidate before the notice is over, or a measurement of something that is not marched.
    """
    finite = sorted({float(day) for day in days if np.isfinite(day)})
    if not finite or finite[0] < notice:
        raise UsageError(
            f"a transplant on day {finite[0] if finite else 0:g} with a notice of {notice:g} days",
            where="days",
            rule="One decides from day 0 on",
        )
    visits = [day - notice for day in finite]
    marcher = Marcher(ensemble, goal, regimen, finite, at_once=at_once, read=visits)
    blocks, parts = marcher.blocks(), []
    for number, who in enumerate(blocks):
        parts.append(marcher.outcomes([*finite, NEVER], number, who))
        if progress is not None:
            progress(number + 1, len(blocks))
    found = parts[0]
    for part in parts[1:]:
        found = found.beside(part)
    course = course_without(marcher)
    items = _items(regimen, course) if measurements is None else tuple(measurements)
    alive = np.stack([course["survival"][:, _at(course.times, day)] for day in visits] + [course["survival"][:, -1]])
    paths = Paths(
        days=found.days,
        value=found.value,
        alive=alive,
        observed=observe_visits(course, found.days.tolist(), items, seed=seed, notice=notice),
        weights=ensemble.weights,
        draw=ensemble.draw,
        child=ensemble.child,
        notice=notice,
        unit="weighted goals" if len(goal.goals) > 1 else goal.goals[0].unit,
    )
    return paths, course


def decision_of(paths: Paths) -> Decision:
    """The choice of a day once and for all, for `planning.information`: a day can be chosen until its visit."""
    latest = np.where(np.isfinite(paths.days), paths.days - paths.notice, np.inf)
    return Decision(paths.labels, paths.value, latest, paths.weights, paths.draw, paths.unit)


def course_without(marcher: Marcher) -> Simulation:
    """What was marched of the members without transplant, as a simulation of the quantities that were read."""
    trunks = [marcher.trunk(number, who) for number, who in enumerate(marcher.blocks())]
    tables = {name: np.concatenate([t[name] for t in trunks], axis=1).T for name in marcher.trunk_names}
    declared = {s.declaration.name: s.declaration for s in (*disease().model.states, *disease().model.outputs)}
    units = {name: declared[name].unit if name in declared else _unit(name) for name in tables}
    meanings = {name: declared[name].meaning if name in declared else name for name in tables}
    count = len(marcher.ensemble)
    return Simulation(
        times=trunks[0].days,
        values=tables,
        units=units,
        meanings=meanings,
        patients=marcher.ensemble.population.labels,
        patient=marcher.ensemble.population.name,
        regimen=f"{marcher.plans.regimen.name}, no transplant",
        age=marcher.age,
        error=np.full(count, np.nan),
        route=("march",) * count,
        alive=np.isfinite(tables["survival"]).all(axis=1),
    )


def _unit(name: str) -> str:
    return {"weight": "kg", "height": "cm", "bsa": "m**2"}.get(name) or load_drug(name).concentration.unit


def _items(regimen: Regimen, course: Simulation) -> tuple[Measurement, ...]:
    record = load_measurements()
    bridge = [load_drug(name) for name in dict.fromkeys(dose.drug for dose in regimen.doses)]
    levels = [level_of(drug, record.assays) for drug in bridge if drug.residual is not None and drug.name in course]
    return (*(record.measurements[name] for name in SHOWN), *levels)


def _at(times: np.ndarray, day: float) -> int:
    return int(np.argmin(np.abs(times - day)))
