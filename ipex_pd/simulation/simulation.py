"""simulate(): a child or a population under a regimen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ipex_pd.numerics.compiler import CompiledModel
from ipex_pd.numerics.drugs import concentration_names
from ipex_pd.numerics.schedule import Schedule, Titration
from ipex_pd.numerics.solve import SolverOptions, Trajectory, solve
from ipex_pd.records.library import citations
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation import individuals
from ipex_pd.simulation.draws import Array
from ipex_pd.simulation.individuals import Shelves
from ipex_pd.simulation.population import Population
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.safety import safety_warnings
from ipex_pd.simulation.study import InterruptedSimulation, Study, output_grid, study
from ipex_pd.simulation.tables import DoseTable, Exposure, TroughTable
from ipex_pd.units import factor, parse_measure

if TYPE_CHECKING:
    from ipex_pd.equations.symbols import Declaration
    from ipex_pd.records.parameters import ParameterSet
    from ipex_pd.records.patients import Patient

Progress = Callable[[int, int], Any]


def simulate(
    patients: Patient | Population,
    regimen: Regimen,
    *,
    years: float | None = None,
    days: float | None = None,
    output_every: str = "7 day",
    output_times: ArrayLike | None = None,
    parameters: ParameterSet | None = None,
    options: SolverOptions | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Give a regimen to a child or a population and follow the disease.

    A child whose file says `history: born_untreated` has lived untreated since birth; what the file states about day 0
    replaces what that course gives. Survival counts from day 0: the child is alive then.

    Args:
        patients: a child (the typical one of his file) or a virtual population.
        regimen: what is given.
        years, days: how long; one of them, 1 year when neither is given.
        output_every: interval of outputs with its unit, such as `7 day` or `2 h`.
        output_times: outputs at these days instead, rising from 0 or later.
        parameters: disease parameters; those of the population, else the shipped set, when None.
        options: of the solver.
        progress: called with (patients done, patients in all).

    Raises:
        UsageError: both years and days, or times that do not rise.
        RecordError: a drug or transplant choice that the records do not know.
        SimulationError: a schedule the solver cannot honour.
        InterruptedSimulation: on Ctrl-C; it holds the patients that were finished.
    """
    times = output_grid(years, days, output_every, output_times)
    asked = study(patients, regimen, times, parameters=parameters, options=options)
    found = solve(
        asked.system,
        asked.schedule,
        asked.theta,
        age=asked.age,
        output_times=times,
        state=asked.state,
        options=options,
        progress=progress,
    )
    return _finished(_labelled(asked, regimen, found), found.finished)


def _finished(simulation: Simulation, finished: Array) -> Simulation:
    if finished.all():
        return simulation
    kept = simulation.pick(np.flatnonzero(finished).tolist()) if finished.any() else None
    raise InterruptedSimulation(kept, len(simulation))


def _labelled(asked: Study, regimen: Regimen, found: Trajectory) -> Simulation:
    population, given, schedule = asked.population, asked.shelves, asked.schedule
    doses = _doses(schedule, found, len(population))
    values, units, meanings = quantities(asked.system.model, given, found)
    return Simulation(
        times=np.asarray(found.times),
        values=values,
        units=units,
        meanings=meanings,
        patients=population.labels,
        patient=population.name,
        regimen=regimen.name,
        age=asked.age,
        error=np.asarray(found.error),
        route=tuple(found.route),
        alive=np.asarray(found.alive),
        seed=population.seed,
        exposures=_exposures(regimen, given),
        doses=doses,
        troughs=_troughs(schedule, found),
        warnings=(
            *_warnings(regimen, schedule, found, population, units),
            *safety_warnings(
                [(given.drugs[limit.drug].name, limit) for limit in regimen.safety_limits],
                doses,
                values,
                np.asarray(found.times),
                schedule.visits,
                population.labels,
            ),
        ),
        assumptions=(*population.assumptions, *individuals.assumed(given.sets(), population.patients)),
        sources=_sources(given),
    )


def quantities(
    model: CompiledModel, given: Shelves, found: Trajectory
) -> tuple[dict[str, Array], dict[str, str], dict[str, str]]:
    """All quantities of a trajectory, (patient, time), with units and meanings: states, outputs, body, drugs."""
    by_name = {name: found.states[:, row] for row, name in enumerate(model.states)} | found.outputs
    columns: dict[str, tuple[Any, str, str]] = {}
    for symbol in (*model.model.states, *model.model.outputs):
        about: Declaration = symbol.declaration
        columns[about.name] = (by_name[about.name], about.unit, about.meaning)
    for name, unit in (("weight", "kg"), ("height", "cm"), ("bsa", "m**2")):
        columns[name] = (found.covariates[name], unit, {"bsa": "body surface area"}.get(name, f"body {name}"))
    for drug in given.drugs.values():
        unit = drug.concentration.unit
        for name, which in concentration_names(drug).items():
            columns[name] = (found.concentrations[name], unit, f"{drug.name}, {which.replace('_', ' ')} concentration")
        meaning = f"{drug.name}, area under the curve so far"
        columns[f"auc_{drug.name}"] = (found.auc[drug.name], f"{unit} * day", meaning)
    return (
        {name: np.asarray(c[0]).T for name, c in columns.items()},
        {name: c[1] for name, c in columns.items()},
        {name: c[2] for name, c in columns.items()},
    )


def _exposures(regimen: Regimen, given: Shelves) -> tuple[Exposure, ...]:
    found = {}
    for order in regimen.orders:
        drug = given.drugs[order.drug]
        window = _window(order, drug)
        if drug.name not in found or window[0] is not None:
            found[drug.name] = Exposure(drug.name, drug.name, f"auc_{drug.name}", *window)
    return tuple(found.values())


def _window(order: Any, drug: Any) -> tuple[float | None, float | None, str]:
    aim = order.dose.target_trough
    if aim is not None:
        scale = factor("mg/L", drug.concentration.unit)
        return aim.low_mg_l * scale, aim.high_mg_l * scale, "trough target of the regimen"
    if not drug.windows:
        return None, None, ""
    window = drug.windows[0]
    low, high = (parse_measure(text) for text in (window.low, window.high))
    unit = drug.concentration.unit
    ends = low.value * factor(low.unit, unit), high.value * factor(high.unit, unit)
    return *ends, f"{window.setting}, not a target here"


def _doses(schedule: Schedule, found: Trajectory, count: int) -> DoseTable:
    if not len(schedule.order):
        return DoseTable()
    wide = schedule.rows(count)
    drugs = [schedule.orders[i] for i in schedule.order]
    return DoseTable(
        drug=tuple(o.drug for o in drugs),
        route=tuple(o.route for o in drugs),
        times=np.asarray(wide.times).T,
        amount=np.asarray(found.doses).T,
        duration=np.asarray(wide.duration).T,
    )


def _troughs(schedule: Schedule, found: Trajectory) -> TroughTable:
    if not len(schedule.sample_times):
        return TroughTable()
    return TroughTable(
        drug=tuple(schedule.titrations[i].drug for i in schedule.sample_titration),
        times=np.asarray(schedule.sample_times),
        trough=np.asarray(found.troughs).T,
        multiplier=np.asarray(found.multipliers).T,
    )


def _warnings(
    regimen: Regimen, schedule: Schedule, found: Trajectory, population: Population, units: Mapping[str, str]
) -> tuple[str, ...]:
    lines: list[str] = []
    lost = [label for label, fine in zip(population.labels, np.asarray(found.alive), strict=True) if not fine]
    if lost:
        named = ", ".join(lost[:10])
        lines.append(f"{len(lost)} patients have no finite numbers and are left out of summaries: {named}")
    for index, aim in enumerate(schedule.titrations):
        rows = np.flatnonzero(schedule.sample_titration == index)
        if rows.size:
            unit = units[aim.drug]
            lines += _reach(aim, unit, np.asarray(found.troughs)[rows], np.asarray(found.multipliers)[rows])
    donors = {donor for p in population.patients for donor in p.donors}
    for transplant in regimen.transplants:
        if donors and transplant.donor not in donors:
            known = ", ".join(sorted(donors))
            lines.append(f"the regimen uses a {transplant.donor} donor; the patient's file names: {known}")
    return tuple(lines)


def _reach(aim: Titration, unit: str, troughs: Array, multipliers: Array) -> list[str]:
    in_force = multipliers[-2] if len(multipliers) > 1 else np.ones_like(multipliers[-1])
    short = (in_force >= aim.largest * (1 - 1e-9)) & (troughs[-1] < aim.low)
    beyond = (in_force <= aim.smallest * (1 + 1e-9)) & (troughs[-1] > aim.high)
    window = f"{aim.low:g} to {aim.high:g} {unit}"
    return [
        f"{aim.drug}: the trough target {window} was {missed} dose allowed in {int(which.sum())} of {which.size} "
        f"patients (median trough there {np.median(troughs[-1][which]):.3g} {unit})"
        for missed, which in (("not reached at the largest", short), ("exceeded at the smallest", beyond))
        if which.any()
    ]


def _sources(given: Shelves) -> tuple[Any, ...]:
    known = dict(citations())
    used: dict[str, None] = {}
    for s in given.sets():
        known |= s.sources
        for p in s.parameters:
            used |= dict.fromkeys(p.source.citations)
    return tuple((key, known[key].citation) for key in used if key in known)


__all__ = ["InterruptedSimulation", "simulate"]
