"""A question made ready for the numerics: the system, the schedule and the arrays of a population under a regimen.

`simulate()` solves it; `ipex_pd.numerics.gradients` differentiates it:

```python
asked = study(load_patient("seidel_2009"), load_regimen("transplant_early_reduced"), output_grid(days=120))
known = {"age": asked.age, "state": asked.state}
frozen = freeze(asked.system, asked.schedule, asked.theta, output_times=asked.times, **known)
```
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import ArrayLike

from ipex_pd.equations.ipex import ipex_model
from ipex_pd.errors import UsageError
from ipex_pd.numerics.body import FEMALE, body
from ipex_pd.numerics.compiler import CompiledModel, compile_model
from ipex_pd.numerics.drugs import bind_drug
from ipex_pd.numerics.events import schedule_of
from ipex_pd.numerics.schedule import DrugKinetics, Schedule, System, Values
from ipex_pd.numerics.solve import SolverOptions, solve
from ipex_pd.records.library import load_parameters
from ipex_pd.simulation import individuals
from ipex_pd.simulation.draws import Array
from ipex_pd.simulation.individuals import Shelves
from ipex_pd.simulation.population import Population
from ipex_pd.units import factor, parse_measure

if TYPE_CHECKING:
    from ipex_pd.records.parameters import ParameterSet
    from ipex_pd.records.patients import Patient
    from ipex_pd.records.regimens import Regimen
    from ipex_pd.simulation.results import Simulation

YEAR = 365.25
SURVIVED = "cumulative_hazard_"


class InterruptedSimulation(KeyboardInterrupt):
    """Ctrl-C during a simulation.

    Attributes:
        simulation: of the patients that were finished; None when there is none.
    """

    def __init__(self, simulation: Simulation | None, asked: int) -> None:
        self.simulation = simulation
        super().__init__(f"interrupted; finished patients: {0 if simulation is None else len(simulation)} of {asked}")


@dataclass(frozen=True, eq=False)
class Study:
    """A population under a regimen, ready to be solved.

    Attributes:
        population: who.
        shelves: the parameter sets and drugs it stands on.
        system: disease, drugs and body.
        schedule: what is given and when.
        theta: name -> (patient,), parameters and covariates.
        age: at day 0 [day], (patient,).
        state: states on day 0, name -> (patient,).
        times: output times [day].
    """

    population: Population
    shelves: Shelves
    system: System
    schedule: Schedule
    theta: Values
    age: Array
    state: Values
    times: Array


@lru_cache(maxsize=1)
def disease() -> CompiledModel:
    """The compiled disease."""
    return compile_model(ipex_model())


@lru_cache(maxsize=64)
def _system(drugs: tuple[DrugKinetics, ...]) -> System:
    """One system for each set of drugs, so that its compiled program is used again."""
    return System(disease(), drugs, body)


def study(
    patients: Patient | Population,
    regimen: Regimen,
    times: Array,
    *,
    parameters: ParameterSet | None = None,
    options: SolverOptions | None = None,
) -> Study:
    """Bind a regimen to a child or population, and live the time before day 0.

    Args:
        patients: a child (the typical one of his file) or a virtual population.
        regimen: what is given.
        times: output times [day].
        parameters: disease parameters; those of the population, else the shipped set, when None.
        options: of the solver, for the course before day 0; a population lives it once for all its regimens.

    Raises:
        RecordError: a drug or transplant choice that the records do not know, or doses by size for a child without one.
        InterruptedSimulation: on Ctrl-C before day 0 is reached.
    """
    population = individuals.as_population(patients)
    individuals.require_size(population, regimen)
    given = individuals.shelves(regimen, parameters if parameters is not None else population.parameters)
    model = disease()
    theta = individuals.theta(population, model.model, given)
    kinetics = {d.name: bind_drug(d) for d in given.drugs.values()}
    jump = individuals.transplant_covariates(regimen.transplants, model.events["transplant"], given.transplant)
    return Study(
        population=population,
        shelves=given,
        system=_system(tuple(kinetics.values())),
        schedule=schedule_of(regimen, given.drugs, float(times[-1]), jump),
        theta=theta,
        age=np.array([p.age for p in population.patients]),
        state=dict(_day_zero(population, given, theta, options or SolverOptions())),
        times=times,
    )


_lived_through: WeakKeyDictionary[Population, tuple[ParameterSet, SolverOptions, Values]] = WeakKeyDictionary()


def _day_zero(population: Population, given: Shelves, theta: Values, options: SolverOptions) -> Values:
    """`initial_state`, kept for the next regimen of the same population: treatment begins on day 0."""
    kept = _lived_through.get(population)
    if kept is None or kept[:2] != (given.disease, options):
        state = initial_state(population, disease(), theta, options)
        for values in state.values():
            values.setflags(write=False)
        kept = _lived_through[population] = (given.disease, options, state)
    return kept[2]


def initial_state(
    population: Population, model: CompiledModel, theta: Mapping[str, Array], options: SolverOptions
) -> Values:
    """States on day 0, name -> (patient,): the course since birth, then what the file states.

    `born_untreated` children have lived untreated with their own parameters, `as_stated` ones as healthy children.
    """
    start = np.empty((len(model.states), len(population)))
    healthy = load_parameters("foxp3_classes")
    for age, rows in individuals.by_age(population):
        own = {name: values[rows] for name, values in theta.items()}
        ill = np.array([population.patients[row].history == "born_untreated" for row in rows])
        for name in individuals.CLASS_PARAMETERS:
            own[name] = np.where(ill, own[name], healthy[f"healthy__{name}"].value)
        start[:, rows] = _lived(model, own, age, options)
    for row, name in enumerate(model.states):
        if name.startswith(SURVIVED):
            start[row] = 0.0
    filled = individuals.fill(start, model.states, individuals.start_overrides(population))
    return dict(zip(model.states, filled, strict=True))


def _lived(model: CompiledModel, theta: Mapping[str, Array], age: float, options: SolverOptions) -> Array:
    """States [S, P] at an age without drugs since birth."""
    birth = np.zeros(len(theta[FEMALE]))
    if age <= 0:
        return np.asarray(model.initial(birth, theta))
    end = np.array([age])
    course = solve(_system(()), Schedule(), theta, age=birth, output_times=end, options=options, observe=False)
    if not course.finished.all():
        raise InterruptedSimulation(None, birth.size)
    last: Array = np.asarray(course.states)[-1]
    return last


def output_grid(
    years: float | None = None, days: float | None = None, every: str = "7 day", times: ArrayLike | None = None
) -> Array:
    """Output times [day]: `times` as they are, or every so often up to a length in years or days (1 year when neither).

    Raises:
        UsageError: a length stated twice, or times that do not rise.
    """
    if times is not None:
        if years is not None or days is not None:
            raise UsageError("`output_times` beside a length", rule="Output times say how long already")
        found = np.asarray(times, dtype=np.float64)
        if found.size == 0 or np.any(np.diff(found) <= 0) or found[0] < 0:
            raise UsageError("`output_times` do not rise from day 0 on", rule="Output times are rising days")
        return found
    if years is not None and days is not None:
        raise UsageError("both `years` and `days`", rule="A length is stated once")
    horizon = days if days is not None else (1.0 if years is None else years) * YEAR
    step = parse_measure(every, where="output_every", like="day")
    interval = step.value * factor(step.unit, "day")
    if not horizon > 0:
        raise UsageError(
            f"a length of {horizon:g} days", rule="A simulation lasts longer than nothing", cure="Raise it"
        )
    if not interval > 0:
        what, cure = f"outputs every `{every}`", "Write for example `7 day`"
        raise UsageError(what, where="output_every", rule="Time between outputs is more than zero", cure=cure)
    grid = np.arange(0.0, horizon, interval)
    return np.append(grid, horizon) if horizon - grid[-1] > 1e-9 else grid
