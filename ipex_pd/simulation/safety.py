"""Doses as given against the safety limits of the plan: what titration or growth makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from ipex_pd.records.dosing import Amount
from ipex_pd.records.safety import SafetyLimits
from ipex_pd.simulation.tables import Array, DoseTable

_SIZE = {"mg/kg": "weight", "mg/m2": "bsa"}
_SLACK = 1.01
"""Doses and limits by size are rounded alike, but the weight at a visit is read between two outputs."""


def safety_warnings(
    limits: Sequence[tuple[str, SafetyLimits]],
    doses: DoseTable,
    sizes: Mapping[str, Array],
    times: Array,
    visits: Array,
    labels: Sequence[str],
) -> Iterator[str]:
    """A sentence for every limit that is exceeded, naming the first patient and day.

    Args:
        limits: of the regimen, each with the name of its drug among the doses.
        doses: as given.
        sizes: weight [kg] and bsa [m**2] at the output times, (patient, time).
        times: of outputs [day].
        visits: days on which doses by size are brought up to date; limits by size follow the same visits.
        labels: names of the patients.
    """
    for name, limit in limits:
        rows = np.flatnonzero([drug == name for drug in doses.drug])
        if rows.size == 0:
            continue
        when, given = doses.times[:, rows], doses.amount[:, rows]
        for most, words in limit.limits():
            amount = given / _size(most, sizes, times, visits, when)
            day, found = (when, amount) if words == "a dose" else _daily(when, amount)
            above = found > most.value * (_SLACK if most.basis in _SIZE else 1 + 1e-9)
            if above.any():
                yield _sentence(name, most, words, np.where(above, day, np.inf), found, labels)


def _size(most: Amount, sizes: Mapping[str, Array], times: Array, visits: Array, when: Array) -> Array:
    """Weight or surface that a dose was written for, (patient, row); 1 for a limit in mg."""
    if most.basis not in _SIZE:
        return np.ones_like(when)
    known = np.unique(np.append(visits, 0.0))
    at = known[np.maximum(np.searchsorted(known, when, side="right") - 1, 0)]
    course = sizes[_SIZE[most.basis]]
    return np.stack([np.interp(at[row], times, course[row]) for row in range(len(when))])


def _daily(when: Array, amount: Array) -> tuple[Array, Array]:
    """Days and the amount given on each, (patient, day)."""
    days = np.floor(when + 1e-9).astype(np.int64)
    total = np.zeros((len(when), int(days.max()) + 1))
    np.add.at(total, (np.arange(len(when))[:, None], days), amount)
    return np.broadcast_to(np.arange(total.shape[1], dtype=np.float64), total.shape), total


def _sentence(drug: str, most: Amount, words: str, day: Array, found: Array, labels: Sequence[str]) -> str:
    patient, column = divmod(int(np.argmin(day)), day.shape[1])
    many = int(np.isfinite(day).any(axis=1).sum())
    return (
        f"{drug}: the safety limit of {most.value:g} {most.basis} {words} is exceeded in {many} of {len(labels)} "
        f"patients, first on day {np.floor(day[patient, column]):g} in {labels[patient]} "
        f"({found[patient, column]:.3g} {most.basis})"
    )
