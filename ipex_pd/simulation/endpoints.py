"""Endpoints: named questions put to a simulation, each a small function from courses to one number a patient.

A time that is not reached before the horizon is `inf` (censored there, not missing); a question without meaning for a
patient (relapse without remission) is `nan`. Courses describe the child while alive; where death matters, the endpoint
is weighted by survival and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ipex_pd.errors import UnknownKeyError, nearest_hint
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.summary import summarise
from ipex_pd.simulation.tables import Array

Better = Literal["higher", "lower", ""]


@dataclass(frozen=True)
class Endpoint:
    """One named question.

    Attributes:
        name: its key.
        label: its name in tables.
        unit: of the answer.
        meaning: what is computed, with its thresholds, for people.
        better: whether `higher` or `lower` is good for the child; empty when neither.
        needs: quantities it reads.
        value: the answer, Simulation -> (patient,).
        days: length of simulation that it needs [day].
        is_time: whether the answer is a time to an event, censored at the horizon.
        drug: the drug it is about; empty for the disease.
    """

    name: str
    label: str
    unit: str
    meaning: str
    better: Better
    needs: tuple[str, ...]
    value: Callable[[Simulation], Array]
    days: float = 0.0
    is_time: bool = False
    drug: str = ""

    def obstacle(self, sim: Simulation) -> str:
        """Why a simulation cannot answer; empty when it can."""
        missing = [name for name in self.needs if name not in sim]
        if missing:
            return f"needs {', '.join(missing)}"
        if sim.horizon < self.days:
            return f"needs {self.days:g} days"
        return "needs more than one output time" if sim.times.size < 2 else ""


def registry(sim: Simulation) -> Mapping[str, Endpoint]:
    """Every endpoint, those of the disease and those of the drugs given, by name."""
    from ipex_pd.simulation.disease_endpoints import DISEASE_ENDPOINTS
    from ipex_pd.simulation.exposure_endpoints import exposure_endpoints

    return {endpoint.name: endpoint for endpoint in (*DISEASE_ENDPOINTS, *exposure_endpoints(sim))}


def available(sim: Simulation) -> tuple[Endpoint, ...]:
    """The endpoints that a simulation can answer."""
    return tuple(endpoint for endpoint in registry(sim).values() if not endpoint.obstacle(sim))


def unavailable(sim: Simulation) -> dict[str, str]:
    """The endpoints that it cannot answer, and why."""
    reasons = {name: endpoint.obstacle(sim) for name, endpoint in registry(sim).items()}
    return {name: reason for name, reason in reasons.items() if reason}


def endpoint(sim: Simulation, name: str) -> Array:
    """One endpoint by name, (patient,).

    Raises:
        UnknownKeyError: no endpoint has this name, or this simulation cannot answer it.
    """
    known = registry(sim)
    if name not in known:
        raise UnknownKeyError(f"`{name}` is not an endpoint", cure=nearest_hint(name, known))
    obstacle = known[name].obstacle(sim)
    if obstacle:
        raise UnknownKeyError(f"`{name}` cannot be computed here: it {obstacle}", where=sim.regimen)
    return _value(known[name], sim)


def _value(question: Endpoint, sim: Simulation) -> Array:
    # float64 also where a question answers with a truth value; patients the solver gave up on have no answer
    return np.where(sim.alive, np.asarray(question.value(sim), dtype=np.float64), np.nan)


def evaluate(sim: Simulation) -> pd.DataFrame:
    """All endpoints that a simulation can answer: a row a patient, a column an endpoint."""
    columns = {question.name: _value(question, sim) for question in available(sim)}
    return pd.DataFrame(columns, index=pd.Index(sim.patients, name="patient"))


def summary(sim: Simulation, interval: tuple[float, float] = (0.05, 0.95)) -> pd.DataFrame:
    """Every endpoint over the patients, one row an endpoint; see `Simulation.endpoints`."""
    return summary_of(evaluate(sim), available(sim), interval)


def summary_of(
    answers: pd.DataFrame, questions: Sequence[Endpoint], interval: tuple[float, float] = (0.05, 0.95)
) -> pd.DataFrame:
    """The same from answers that `evaluate` gave."""
    rows = []
    for question in questions:
        numbers = summarise(answers[question.name].to_numpy(), interval)
        rows.append(
            {"endpoint": question.name, "label": question.label, "unit": question.unit}
            | numbers.as_dict()
            | {"better": question.better, "drug": question.drug, "meaning": question.meaning}
        )
    return pd.DataFrame(rows)
