"""What happens to the members under one candidate plan: a pytree of arrays, time first and members last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax

from ipex_pd.errors import UnknownKeyError, nearest_hint

Array = Any


class Samples(NamedTuple):
    """Troughs of one drug, K of them in order of time.

    Attributes:
        days: [K] when they are drawn, right before a dose [day].
        levels: [K, M] measured concentrations in the unit in which the drug reports them.
        counts: [K, M] between 0 and 1: how much of the order is left; 0 where the drug has been stopped.
    """

    days: Array
    levels: Array
    counts: Array


class Given(NamedTuple):
    """Doses of one drug, N of them in the order of the schedule's rows, by basis (`mg`, `mg/kg`, `mg/m2`).

    Attributes:
        days: [N] when [day].
        doses: basis -> [N, M], by weight and surface at the last visit.
        daily: basis -> [D, M] sums over each day before the horizon, a day beginning at midnight. To which day a dose
            counts is not differentiated: one that moves over midnight moves at once.
    """

    days: Array
    doses: dict[str, Array]
    daily: dict[str, Array]


@dataclass(frozen=True, eq=False)
class Course:
    """The members under a plan.

    Attributes:
        times: [T] from day 0 to the horizon [day].
        values: name -> [T, M]: states, outputs, covariates, measured concentrations and `auc_<drug>`, in the units of
            `simulate`.
        troughs: drug -> samples.
        doses: drug -> doses.
        transplants: [G, M] days of the transplants before the horizon.
    """

    times: Array
    values: dict[str, Array]
    troughs: dict[str, Samples]
    doses: dict[str, Given]
    transplants: Array

    def __getitem__(self, name: str) -> Array:
        """[T, M] one quantity. Raises: UnknownKeyError."""
        if name not in self.values:
            raise UnknownKeyError(f"`{name}` is not a quantity of a course", rule=nearest_hint(name, self.values))
        return self.values[name]

    @property
    def members(self) -> int:
        """Their number M."""
        return int(self.values["survival"].shape[1])

    def given(self, drug: str) -> Given:
        """The doses of a drug. Raises: UnknownKeyError."""
        if drug not in self.doses:
            raise UnknownKeyError(f"`{drug}` is not given", rule=nearest_hint(drug, self.doses))
        return self.doses[drug]


jax.tree_util.register_dataclass(Course, ["times", "values", "troughs", "doses", "transplants"], [])
