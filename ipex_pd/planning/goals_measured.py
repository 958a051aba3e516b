"""Goals that are no endpoints of their own, without smoothing: (patient,) from a simulation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ipex_pd.simulation import thresholds as limit
from ipex_pd.simulation.questions import worst_injury
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import Array

if TYPE_CHECKING:
    from ipex_pd.records.plan_goals import QualityStates

STEP = 1.0 / 16.0
"""Of the grid [day] on which the worth of a day is summed: a change of state is placed within half of it."""


def time_in_remission(sim: Simulation) -> Array:
    """Days with all reversible organs quiet, weighted by survival [day]."""
    return _summed(sim, lambda days, injury, mass: (injury < limit.REMISSION_INJURY.value).astype(float))


def quality_adjusted_time(sim: Simulation, states: QualityStates, transplants: Sequence[float] = ()) -> Array:
    """Integral of survival times the worth of a day [day].

    Args:
        sim: of the plan.
        states: worth of each state.
        transplants: days of the transplants [day].
    """
    after, diabetes = states.after_transplant, states.diabetes

    def worth(days: Array, injury: Array, mass: Array) -> Array:
        found = np.where(injury < limit.REMISSION_INJURY.value, states.remission.value, states.active.value)
        for day in transplants if after is not None else ():
            assert after is not None
            assert after.lasts is not None
            found = np.where((days >= day) & (days < day + after.lasts), after.value, found)
        if diabetes is not None:
            found = found * np.where(mass < limit.DIABETES_MASS.value, diabetes.value, 1.0)
        return found

    return _summed(sim, worth)


def _summed(sim: Simulation, worth: Callable[[Array, Array, Array], Array]) -> Array:
    """Integral of survival times worth(days, worst injury, beta-cell mass), courses linear between output times."""
    edges = np.linspace(sim.times[0], sim.horizon, max(int(np.ceil((sim.horizon - sim.times[0]) / STEP)), 1) + 1)
    days = 0.5 * (edges[1:] + edges[:-1])
    injury, mass, alive = worst_injury(sim), sim["beta_cell_mass"], sim["survival"]
    rows = []
    for member in range(len(sim)):
        lived, hurt, left = (np.interp(days, sim.times, course[member]) for course in (alive, injury, mass))
        rows.append(np.sum(lived * worth(days, hurt, left) * np.diff(edges)))
    return np.array(rows)
