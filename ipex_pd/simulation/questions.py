"""The questions of the endpoints: small functions from a simulation to one number a patient."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ipex_pd.simulation import measures
from ipex_pd.simulation import thresholds as limit
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import Array
from ipex_pd.simulation.thresholds import Threshold

YEAR = 365.25
ORGANS = ("gut_injury", "skin_injury", "liver_injury", "kidney_injury", "lung_injury", "blood_injury")
DEATH_HAZARDS = {
    "disease": "cumulative_hazard_disease",
    "infection": "cumulative_hazard_infection",
    "transplant": "cumulative_hazard_transplant",
}


def worst_injury(sim: Simulation) -> Array:
    """Largest injury among the reversible organs [fraction], (patient, time)."""
    return np.asarray(np.max([sim[name] for name in ORGANS], axis=0), dtype=np.float64)


def remission_time(sim: Simulation) -> Array:
    """Start of the first remission [day], (patient,)."""
    return measures.first_below(sim.times, worst_injury(sim), limit.REMISSION_INJURY.value, limit.REMISSION_HOLD.value)


def in_remission_at_end(sim: Simulation) -> Array:
    """1 in remission at the horizon, (patient,)."""
    return measures.below_at_end(sim.times, worst_injury(sim), limit.REMISSION_INJURY.value, limit.REMISSION_HOLD.value)


def relapse_time(sim: Simulation) -> Array:
    """First relapse after the first remission [day], (patient,); `nan` without a remission."""
    return measures.first_above_after(sim.times, worst_injury(sim), limit.RELAPSE_INJURY.value, remission_time(sim))


def competing_deaths(sim: Simulation) -> dict[str, Array]:
    """Cumulative hazard of death from day 0 by cause [1], (patient, time)."""
    return {cause: sim[name] - sim[name][:, :1] for cause, name in DEATH_HAZARDS.items()}


def died_of(cause: str) -> Callable[[Simulation], Array]:
    """Probability to have died of one cause by the horizon, the others competing."""
    return lambda sim: measures.incidence(competing_deaths(sim), cause)[:, -1]


def before_death(hazard: str) -> Callable[[Simulation], Array]:
    """Probability of an event with its own hazard by the horizon, death competing."""

    def value(sim: Simulation) -> Array:
        hazards = competing_deaths(sim) | {"event": sim[hazard] - sim[hazard][:, :1]}
        return measures.incidence(hazards, "event")[:, -1]

    return value


def survival_to(days: float) -> Callable[[Simulation], Array]:
    """Probability to live to a day."""
    return lambda sim: measures.at_time(sim.times, sim["survival"], np.full(len(sim), days))


def last(quantity: str) -> Callable[[Simulation], Array]:
    """The value at the horizon."""
    return lambda sim: sim[quantity][:, -1]


def change(quantity: str) -> Callable[[Simulation], Array]:
    """The value at the horizon less the one at day 0."""
    return lambda sim: sim[quantity][:, -1] - sim[quantity][:, 0]


def fold(quantity: str) -> Callable[[Simulation], Array]:
    """The value at the horizon over the one at day 0; `nan` where that is zero."""

    def value(sim: Simulation) -> Array:
        start = sim[quantity][:, 0]
        ratio: Array = np.divide(sim[quantity][:, -1], start, out=np.full(len(sim), np.nan), where=start > 0)
        return ratio

    return value


def days_under(quantity: str, threshold: Threshold) -> Callable[[Simulation], Array]:
    """Days with the quantity under a threshold."""
    return lambda sim: measures.days_below(sim.times, sim[quantity], threshold.value)


def time_under(quantity: str, threshold: Threshold) -> Callable[[Simulation], Array]:
    """First time the quantity lies under a threshold."""
    return lambda sim: measures.first_below(sim.times, sim[quantity], threshold.value)


def incidence_under(quantity: str, threshold: Threshold) -> Callable[[Simulation], Array]:
    """Probability to live to see the quantity under a threshold: survival at that moment, 0 if it never comes."""

    def value(sim: Simulation) -> Array:
        moments = time_under(quantity, threshold)(sim)
        lived = measures.at_time(sim.times, sim["survival"], moments)
        return np.where(np.isinf(moments), 0.0, lived)

    return value


def alive_and(condition: Callable[[Simulation], Array]) -> Callable[[Simulation], Array]:
    """Survival at the horizon of those who meet a condition, 0 for others."""
    return lambda sim: sim["survival"][:, -1] * condition(sim)


def kept_above(*pairs: tuple[str, Threshold]) -> Callable[[Simulation], Array]:
    """1 where every quantity is at or above its threshold at the horizon, else 0."""
    return lambda sim: np.all([sim[name][:, -1] >= threshold.value for name, threshold in pairs], axis=0).astype(
        np.float64
    )


def organs_kept(sim: Simulation) -> Array:
    """1 where beta cells, thyroid and kidney are kept at the horizon, else 0."""
    glands = kept_above(("beta_cell_mass", limit.DIABETES_MASS), ("thyroid_mass", limit.HYPOTHYROID_MASS))(sim)
    return glands * (sim["renal_scarring"][:, -1] <= limit.SCARRED_KIDNEY.value)


def net_risk(hazard: str) -> Callable[[Simulation], Array]:
    """Probability of an event by the horizon if nothing else could happen: 1 - exp(-cumulative hazard)."""
    return lambda sim: -np.expm1(sim[hazard][:, 0] - sim[hazard][:, -1])


def happened(moments: Array) -> Array:
    """1 for a time that was reached, 0 for one that was not, `nan` where it has no meaning."""
    return np.where(np.isnan(moments), np.nan, np.isfinite(moments).astype(np.float64))
