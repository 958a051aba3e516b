"""Where an interrupted planning run stands: the ends of its finished searches, as JSON."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ipex_pd.errors import RecordError
from ipex_pd.planning.plain import as_json

if TYPE_CHECKING:
    from ipex_pd.planning.ensemble import Ensemble
    from ipex_pd.planning.optimise_search import SearchEnd
    from ipex_pd.records.plans import PlanningProblem

SCHEMA = "ipex_pd.plan_checkpoint/2"


@dataclass(frozen=True)
class FinishedSearch:
    """A finished search: where it began and ended (x [n]), smooth goal, violation, and the unit of gradients."""

    start: str
    x: tuple[float, ...]
    value: float
    violation: float
    unit: float


@dataclass(frozen=True)
class PlanCheckpoint:
    """Finished searches of a planning run.

    Attributes:
        question: fingerprint of problem and ensemble; a run only goes on with its own.
        searches: combination of choices -> its finished searches.
    """

    question: str
    searches: dict[str, tuple[FinishedSearch, ...]]

    def with_end(self, name: str, end: SearchEnd) -> PlanCheckpoint:
        """The same with one search more."""
        value, violation, unit = float(end.value), float(end.violation), float(end.minimum.learnt.unit)
        done = FinishedSearch(end.start, tuple(map(float, end.x)), value, violation, unit)
        return PlanCheckpoint(self.question, {**self.searches, name: (*self.searches.get(name, ()), done)})

    def to_json(self) -> str:
        """As strict JSON; `checkpoint_from_json` reads it back."""
        searches = {name: [vars(done) for done in ends] for name, ends in self.searches.items()}
        return as_json(SCHEMA, {"question": self.question, "searches": searches})

    def require(self, question: str) -> None:
        """Raises RecordError where the run was of another question."""
        if self.question != question:
            raise RecordError(
                "the checkpoint belongs to another question",
                code="plan.checkpoint",
                rule="A run goes on with the problem, patient and members it began with",
                cure="Begin anew, or give the same problem and seeds",
            )


def checkpoint_from_json(text: str) -> PlanCheckpoint:
    """Read a checkpoint. Raises: RecordError."""
    data: Any = json.loads(text)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise RecordError("this is no checkpoint of a plan", code="plan.checkpoint", rule=f"Its schema is `{SCHEMA}`")
    searches = {
        name: tuple(FinishedSearch(d["start"], tuple(d["x"]), d["value"], d["violation"], d["unit"]) for d in ends)
        for name, ends in data["searches"].items()
    }
    return PlanCheckpoint(data["question"], searches)


def question_of(problem: PlanningProblem, ensemble: Ensemble) -> str:
    """Fingerprint of a problem and its members."""
    population = ensemble.population
    drawn = {**population.typical, **(getattr(population, "drawn", None) or {})}
    parts: list[Any] = [problem.as_data(), population.labels, population.seed, ensemble.weights.tolist(), ensemble.kind]
    parts.append({name: np.asarray(values).tolist() for name, values in drawn.items()})
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
