"""Patients and regimens as the case that every solver gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks.timeline import Array, Case
from ipex_pd.numerics.body import body
from ipex_pd.numerics.drugs import bind_drug
from ipex_pd.numerics.events import schedule_of
from ipex_pd.numerics.schedule import System
from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.library import load_patient, load_regimen
from ipex_pd.simulation import individuals
from ipex_pd.simulation.population import Population, virtual_population
from ipex_pd.simulation.study import disease, initial_state

YEAR = 365.25
HERE = Path(__file__).parent
SPEED_REGIMEN = str(HERE / "regimens" / "speed.yaml")
CHILD = "seidel_2009"


def population(patients: int, seed: int) -> Population:
    """Virtual patients around the shipped child, every parameter with a variability drawn."""
    return virtual_population(load_patient(CHILD), patients, seed=seed)


def weekly(years: float) -> Array:
    """Output times [day], every week and the end."""
    end = years * YEAR
    grid = np.arange(0.0, end, 7.0)
    return np.append(grid, end) if end - grid[-1] > 1e-9 else grid


def case_of(group: Population, regimen_name: str, times: Array) -> Case:
    """Bind a population to a regimen, as `simulate` does, with the states at day 0 solved tightly."""
    regimen = load_regimen(regimen_name)
    given = individuals.shelves(regimen, None)
    model = disease()
    theta = individuals.theta(group, model.model, given)
    system = System(model, tuple(bind_drug(d) for d in given.drugs.values()), body)
    jump = individuals.transplant_covariates(regimen.transplants, model.events["transplant"], given.transplant)
    schedule = schedule_of(regimen, given.drugs, float(times[-1]), jump)
    start = initial_state(group, model, theta, SolverOptions(accuracy="tight", audit="off"))
    age = np.array([p.age for p in group.patients])
    wide = {n: np.broadcast_to(np.asarray(v, float), age.shape).copy() for n, v in theta.items()}
    return Case(system, schedule, wide, age, np.stack([start[n] for n in model.states]), times, regimen.name)
