"""A synthetic child and synthetic results in place of the solver, so that the command line is tested in seconds."""

import sys
import types
from typing import NamedTuple

import pytest
from synthetic_comparison import synthetic_comparison

from ipex_pd.planning.comparison import InterruptedComparison, assemble


class Drawn(NamedTuple):
    child: str
    count: int
    seed: int

    @property
    def description(self):
        return ["Synthetic virtual patients."]


def drawn(child, n, *, seed):
    return Drawn(child, n, seed)


class InterruptedSimulation(KeyboardInterrupt):
    def __init__(self, simulation):
        self.simulation = simulation


class Stage:
    """What the fake solver is asked to do; ``interrupt_before`` is a regimen at which Ctrl-C arrives."""

    def __init__(self):
        self.interrupt_before = None
        self.asked = {}

    def compare(self, patients, regimens, *, years, seed, progress=None):
        self.asked = {"years": years, "seed": seed, "patients": patients}
        whole = synthetic_comparison()
        plans = {name: whole.regimens[name] for name in regimens}
        done = {}
        for name in regimens:
            if name == self.interrupt_before:
                raise InterruptedComparison(assemble(whole.patients, plans, done, {}, seed) if done else None)
            done[name] = whole.simulations[name]
            progress(name, done[name])
        return assemble(whole.patients, plans, done, {"years": years, "seed": seed}, seed)

    def simulate(self, patients, regimen, **options):
        self.asked = {"patients": patients, **options}
        whole = synthetic_comparison().simulations["sirolimus"]
        if self.interrupt_before == "simulate":
            raise InterruptedSimulation(whole.pick([0, 1, 2, 3]))
        return whole if isinstance(patients, Drawn) else whole.pick([0])


@pytest.fixture
def child(tmp_path):
    path = tmp_path / "synthetic_child.yaml"
    path.write_text("name: synthetic_child\n")
    return str(path)


@pytest.fixture
def stage(monkeypatch):
    stage = Stage()
    monkeypatch.setattr("ipex_pd.records.library.load_patient", lambda name: f"child {name}")
    monkeypatch.setattr("ipex_pd.simulation.population.virtual_population", drawn)
    monkeypatch.setattr("ipex_pd.planning.comparison.compare", stage.compare)
    solver = types.ModuleType("ipex_pd.simulation.simulation")
    solver.simulate = stage.simulate
    solver.InterruptedSimulation = InterruptedSimulation
    monkeypatch.setitem(sys.modules, solver.__name__, solver)
    return stage
