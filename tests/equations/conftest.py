"""A small solver for the composed equations: one child, constant drug potencies in stretches, one transplant."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import sympy
from scipy.integrate import solve_ivp

from ipex_pd.equations.ipex import ipex_model
from ipex_pd.equations.symbols import age
from ipex_pd.records.parameters import ParameterSet

SHELF = Path(__file__).parents[2] / "parameters"
YEAR = 365.25


class Child:
    """Solves the equations from birth with DOP853; drugs as (from day, to day, {target: potency})."""

    def __init__(self, values: Mapping[str, float]) -> None:
        self.model = ipex_model()
        self.values = dict(values)
        self.states = [str(s) for s in self.model.states]
        self._parameters = self.model.parameters
        potencies = self.model.symbols("potency")
        self._targets = [str(p).removeprefix("potency_") for p in potencies]
        inputs = [age, list(self.model.states), list(self.model.effects), list(self._parameters)]
        outputs: dict[sympy.Symbol, sympy.Expr] = {}
        for name, right in self.model.outputs.items():
            outputs[name] = sympy.sympify(right).xreplace(outputs)
        self.outputs = [str(o) for o in outputs]
        jumps = self.model.maps["transplant"]
        self._given = self.model.event_covariates("transplant")
        write = sympy.lambdify
        self._rates = write(inputs, list(self.model.rates.values()), cse=True, modules="math")
        self._outputs = write(inputs, list(outputs.values()), cse=True, modules="numpy")
        self._effects = write([list(potencies), list(self._parameters)], list(self.model.effects.values()), "math")
        self._start = write([age, list(self._parameters)], [self.model.initial[s] for s in self.model.states], "math")
        after = [jumps.get(s, s) for s in self.model.states]
        self._jump = write([list(self.model.states), list(self._parameters), list(self._given)], after, "math")

    def live(
        self,
        years: float,
        drugs: tuple[tuple[float, float, Mapping[str, float]], ...] = (),
        transplant: tuple[float, Mapping[str, float]] | None = None,
        **changes: float,
    ) -> dict[str, np.ndarray]:
        """States and outputs over time, with `t` in days."""
        values = [{**self.values, **changes}[str(p)] for p in self._parameters]
        end = years * YEAR
        at = [transplant[0]] if transplant else []
        cuts = sorted({0.0, end, *at, *(min(t, end) for first, last, _ in drugs for t in (first, last))})
        x = np.array(self._start(0.0, values), float)
        pieces = []
        for start, stop in itertools.pairwise(cuts):
            if transplant and start == transplant[0]:
                x = np.array(self._jump(x, values, [transplant[1][str(c)] for c in self._given]), float)
            effects = self._effects(self._potencies(drugs, start), values)
            times = np.unique(np.r_[np.arange(start, stop, 10.0), stop])
            # rates do not depend on the loop after this step: the solver finishes inside it
            solved = solve_ivp(
                lambda t, y, u=effects: self._rates(t, y, u, values),
                (start, stop), x, "DOP853", times, rtol=1e-5, atol=1e-8,
            )  # fmt: skip
            assert solved.success
            x = solved.y[:, -1]
            pieces.append(self._named(solved.t, solved.y, effects, values))
        return {k: np.concatenate([piece[k] for piece in pieces]) for k in pieces[0]}

    def _potencies(self, drugs: tuple[tuple[float, float, Mapping[str, float]], ...], now: float) -> list[float]:
        return [sum(p.get(t, 0.0) for first, last, p in drugs if first <= now < last) for t in self._targets]

    def _named(self, t: np.ndarray, y: np.ndarray, effects: list[float], values: list[float]) -> dict[str, np.ndarray]:
        shown = self._outputs(t, list(y), effects, values)
        named = {name: np.broadcast_to(value, t.shape) for name, value in zip(self.outputs, shown, strict=True)}
        return {"t": t, **dict(zip(self.states, y, strict=True)), **named}


def at(course: dict[str, np.ndarray], quantity: str, day: float) -> float:
    """A quantity at a day; on the day of a jump, before it."""
    return float(np.interp(day, course["t"], course[quantity]))


@pytest.fixture(scope="session")
def disease() -> ParameterSet:
    return ParameterSet.load(SHELF / "disease.yaml")


@pytest.fixture(scope="session")
def classes() -> ParameterSet:
    return ParameterSet.load(SHELF / "foxp3_classes.yaml")


@pytest.fixture(scope="session")
def choices() -> ParameterSet:
    return ParameterSet.load(SHELF / "transplant.yaml")


@pytest.fixture(scope="session")
def child(disease: ParameterSet) -> Child:
    return Child(disease.values())


@pytest.fixture
def value_at():
    return at
