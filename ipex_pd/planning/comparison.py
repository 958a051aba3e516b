"""compare(): the same virtual patients under several regimens, their endpoints and paired differences."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ipex_pd.errors import SimulationError, UsageError, nearest_hint
from ipex_pd.planning.statistics import CONFIDENCE, RESAMPLES, paired_differences, restricted
from ipex_pd.records.patients import Patient
from ipex_pd.records.plain import plain
from ipex_pd.simulation.endpoints import Endpoint, available, summary_of
from ipex_pd.simulation.population import Population, single
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.thresholds import THRESHOLDS

if TYPE_CHECKING:
    from ipex_pd.numerics.solve import SolverOptions
    from ipex_pd.records.regimens import Regimen

SCHEMA = "ipex_pd.comparison/1"
NOTICE = "Research tool, not medical advice: a model of published facts and stated assumptions, not of one child."
Progress = Callable[[str, Simulation], None]


@dataclass(frozen=True, eq=False)
class Comparison:
    """Regimens over the same patients.

    Attributes:
        patients: the population; a single child stands as a population of one.
        regimens: name -> regimen, the reference first; only those that were simulated.
        simulations: name -> result, patients in the same order in all.
        reference: the regimen that differences are taken from.
        endpoints: regimen, endpoint, label, unit, mean, median, low, high, reached, patients, better, drug, meaning.
            Low and high are the 5 % and 95 % quantiles over patients; `inf` is a time not reached before the horizon.
        differences: regimen, reference, endpoint, label, unit, mean, mean_low, mean_high, median, low, high,
            share_better, pairs, better, drug, meaning; regimen less reference in the same patient (`PairedDifference`).
        assumptions: numbers without a published source, thresholds of endpoints included.
        sources: works that numbers were taken from, as (key, citation).
        windows: drug -> (low, high, unit) of its target window.
        settings: what was asked.
        missing: regimens that were asked for and not simulated, because the run was interrupted.
    """

    patients: Population
    regimens: Mapping[str, Regimen]
    simulations: Mapping[str, Simulation]
    reference: str
    endpoints: pd.DataFrame
    differences: pd.DataFrame
    assumptions: tuple[str, ...] = ()
    sources: tuple[tuple[str, str], ...] = ()
    windows: Mapping[str, tuple[float, float, str]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def partial(self) -> bool:
        """Whether the run was interrupted before every regimen was simulated."""
        return bool(self.missing)

    @property
    def warnings(self) -> dict[str, tuple[str, ...]]:
        """What the user must know, by regimen; regimens without warnings are left out."""
        return {name: sim.warnings for name, sim in self.simulations.items() if sim.warnings}

    def __repr__(self) -> str:
        count = len(next(iter(self.simulations.values())))
        state = f", interrupted before {', '.join(self.missing)}" if self.missing else ""
        return f"Comparison({', '.join(self.simulations)}; {count} patients{state})"

    def as_data(self) -> dict[str, Any]:
        """Everything but the courses, as plain data; `inf` and `nan` become None (`reached` tells them apart)."""
        first = self.simulations[self.reference]
        return {
            "schema": SCHEMA,
            "notice": NOTICE,
            "settings": dict(self.settings),
            "reference": self.reference,
            "regimens": {name: regimen.in_words() for name, regimen in self.regimens.items()},
            "partial": self.partial,
            "missing": list(self.missing),
            "patient": first.patient,
            "patients": len(first),
            "horizon_days": first.horizon,
            "intervals": {
                "low_high": "5 % and 95 % quantiles over patients: how much patients differ",
                "mean_low_mean_high": f"{CONFIDENCE:.0%} bootstrap interval of the mean over {RESAMPLES} resamples",
            },
            "endpoints": plain(self.endpoints.to_dict("records")),
            "differences": plain(self.differences.to_dict("records")),
            "windows": {drug: list(window) for drug, window in self.windows.items()},
            "largest_error": {name: _largest(sim) for name, sim in self.simulations.items()},
            "warnings": {name: list(words) for name, words in self.warnings.items()},
            "assumptions": list(self.assumptions),
            "sources": [list(source) for source in self.sources],
        }

    def to_json(self) -> str:
        """`as_data` as strict JSON."""
        return json.dumps(self.as_data(), indent=1, ensure_ascii=False, allow_nan=False)


class InterruptedComparison(KeyboardInterrupt):
    """Ctrl-C during a comparison.

    Attributes:
        comparison: of the regimens that were finished, marked partial; None when there is none.
    """

    def __init__(self, comparison: Comparison | None) -> None:
        self.comparison = comparison
        finished = ", ".join(comparison.simulations) if comparison is not None else "none"
        super().__init__(f"interrupted; finished regimens: {finished}")


def compare(
    patients: Patient | Population,
    regimens: Mapping[str, Regimen] | Sequence[Regimen],
    *,
    years: float = 5.0,
    reference: str | None = None,
    seed: int = 0,
    output_every: str = "7 day",
    options: SolverOptions | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Give several regimens to the same patients and compare what follows.

    Every virtual patient meets every regimen with the same random effects, so that differences come from the regimens.
    An interrupt (Ctrl-C) passes through as `InterruptedComparison`, which carries the comparison of the regimens that
    were finished; the others stand in its `missing`.

    Args:
        patients: a child, or the virtual population around one.
        regimens: at least two; by name, or a list whose members carry distinct names.
        years: how long.
        reference: the regimen that differences are taken from; the first when None.
        seed: of the bootstrap; the patients were drawn with the population's own seed.
        output_every: interval of the output grid.
        options: of the solver.
        progress: called with the name and the result of every finished regimen.

    Raises:
        UsageError: fewer than two regimens, a name given twice, or an unknown reference.
        InterruptedComparison: on Ctrl-C.
    """
    from ipex_pd.simulation.simulation import simulate

    ordered = _ordered(_named(regimens), reference)
    group = single(patients) if isinstance(patients, Patient) else patients
    settings = {"years": years, "seed": seed, "output_every": output_every, "regimens": list(ordered)}
    simulations: dict[str, Simulation] = {}
    try:
        for name, regimen in ordered.items():
            simulations[name] = simulate(group, regimen, years=years, output_every=output_every, options=options)
            if progress is not None:
                progress(name, simulations[name])
    except KeyboardInterrupt as stop:
        kept = assemble(group, ordered, simulations, settings, seed) if simulations else None
        raise InterruptedComparison(kept) from stop
    return assemble(group, ordered, simulations, settings, seed)


def assemble(
    patients: Population,
    regimens: Mapping[str, Regimen],
    simulations: Mapping[str, Simulation],
    settings: Mapping[str, Any],
    seed: int = 0,
) -> Comparison:
    """A comparison of finished simulations, the first being the reference.

    Raises:
        SimulationError: the simulations are not of the same patients at the same times.
    """
    _check_paired(simulations)
    reference = next(iter(simulations))
    first = simulations[reference]
    answers = {name: _Answers.of(sim) for name, sim in simulations.items()}
    return Comparison(
        patients=patients,
        regimens={name: regimens[name] for name in simulations},
        simulations=dict(simulations),
        reference=reference,
        endpoints=_endpoint_table(answers),
        differences=_difference_table(answers, reference, seed),
        assumptions=_assumptions(simulations),
        sources=_union(sim.sources for sim in simulations.values()),
        windows=_windows(simulations),
        settings={**settings, "patient": first.patient, "patients": len(first)},
        missing=tuple(name for name in regimens if name not in simulations),
    )


def _named(regimens: Mapping[str, Regimen] | Sequence[Regimen]) -> dict[str, Regimen]:
    if isinstance(regimens, Mapping):
        named = dict(regimens)
    else:
        names = [regimen.name for regimen in regimens]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise UsageError(
                f"regimen `{twice[0]}` is given twice",
                rule="Each regimen of a comparison has a name of its own",
                cure="Leave one out, or give a mapping of names to regimens",
            )
        named = dict(zip(names, regimens, strict=True))
    if len(named) < 2:
        raise UsageError(
            f"{len(named)} regimen cannot be compared",
            rule="A comparison needs at least two",
            cure="Add one, or simulate()",
        )
    return named


def _ordered(regimens: dict[str, Regimen], reference: str | None) -> dict[str, Regimen]:
    if reference is None:
        return regimens
    if reference not in regimens:
        raise UsageError(f"reference `{reference}` is not among the regimens", cure=nearest_hint(reference, regimens))
    return {reference: regimens[reference]} | regimens


def _check_paired(simulations: Mapping[str, Simulation]) -> None:
    first = next(iter(simulations.values()))
    for name, sim in simulations.items():
        if sim.patients != first.patients or not np.array_equal(sim.times, first.times):
            raise SimulationError(
                f"`{name}` was not simulated for the same patients at the same times as `{first.regimen}`",
                rule="Differences are taken in the same patient",
            )


@dataclass(frozen=True, eq=False)
class _Answers:
    table: pd.DataFrame
    questions: tuple[Endpoint, ...]
    horizon: float

    @staticmethod
    def of(sim: Simulation) -> _Answers:
        return _Answers(sim.patient_endpoints(), available(sim), sim.horizon)


def _endpoint_table(answers: Mapping[str, _Answers]) -> pd.DataFrame:
    tables = []
    for name, given in answers.items():
        table = summary_of(given.table, given.questions)
        table.insert(0, "regimen", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _difference_table(answers: Mapping[str, _Answers], reference: str, seed: int) -> pd.DataFrame:
    base = answers[reference]
    rows: list[dict[str, Any]] = []
    for name, given in answers.items():
        if name == reference:
            continue
        shared = [question for question in given.questions if question.name in base.table]
        columns = _differences(given.table, base.table, shared, given.horizon)
        results = paired_differences(columns, [question.better for question in shared], seed)
        rows.extend(
            {"regimen": name, "reference": reference, "endpoint": question.name, "label": question.label}
            | {"unit": question.unit}
            | result.as_dict()
            | {"better": question.better, "drug": question.drug, "meaning": _difference_meaning(question)}
            for question, result in zip(shared, results, strict=True)
        )
    return pd.DataFrame(
        rows, columns=None if rows else ["regimen", "reference", "endpoint", "unit", "median", "low", "high"]
    )


def _differences(
    values: pd.DataFrame, base: pd.DataFrame, shared: Sequence[Endpoint], horizon: float
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    columns = np.empty((len(values), len(shared)))
    for index, question in enumerate(shared):
        left, right = values[question.name].to_numpy(), base[question.name].to_numpy()
        if question.is_time:
            left, right = restricted(left, horizon), restricted(right, horizon)
        columns[:, index] = left - right
    return columns


def _difference_meaning(question: Endpoint) -> str:
    return question.meaning + ("; a time not reached counts as the horizon" if question.is_time else "")


def _largest(sim: Simulation) -> float | None:
    known = sim.error[np.isfinite(sim.error)]
    return float(known.max()) if known.size else None


def _union(parts: Any) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(item for part in parts for item in part))


def _assumptions(simulations: Mapping[str, Simulation]) -> tuple[str, ...]:
    limits = [
        f"threshold `{item.name}` = {item.value:g} {item.unit}: {item.basis.removeprefix('assumed: ')}"
        for item in THRESHOLDS
        if item.basis.startswith("assumed")
    ]
    return (*_union(sim.assumptions for sim in simulations.values()), *limits)


def _windows(simulations: Mapping[str, Simulation]) -> dict[str, tuple[float, float, str]]:
    return {
        item.drug: (_short(item.window[0]), _short(item.window[1]), sim.units[item.concentration])
        for sim in simulations.values()
        for item in sim.exposures
        if item.has_window
    }


def _short(value: float) -> float:
    # a change of units leaves 4.999999999999999 where 5 was written
    return float(f"{value:.9g}")
