"""The summary in plain sentences: numbers with their ranges, and what they do not say."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ipex_pd.report.tables import band, cell, plain_name

if TYPE_CHECKING:
    from ipex_pd.planning.comparison import Comparison
    from ipex_pd.simulation.results import Simulation

NOTICE = (
    "Research tool, not medical advice. These are results of a mathematical model, not of a trial. "
    "They must not be used to decide about a patient."
)

# Quantities of which the last value is told, with the words for it and the factor to the unit told.
_TOLD = (
    ("beta_cell_mass", "beta cells", 100.0, "% of normal"),
    ("weight_z", "weight", 1.0, "SD"),
    ("functional_treg_percent", "working Treg", 1.0, "% of CD4"),
)


def final(simulation: Simulation, quantity: str) -> NDArray[np.float64]:
    """The last value of a quantity in every patient whose numbers are finite, (patient,)."""
    return np.asarray(simulation[quantity][simulation.alive, -1], dtype=np.float64)


def summary_sentences(comparison: Comparison) -> list[str]:
    """What happens under each regimen, one sentence each, in the order asked."""
    return [_sentence(name, simulation) for name, simulation in comparison.simulations.items()]


def _sentence(name: str, simulation: Simulation) -> str:
    years = simulation.horizon / 365.25
    alive = 100.0 * final(simulation, "survival")
    middle = band(alive[:, None])
    text = (
        f"{plain_name(name).capitalize()}: of 100 such children the model expects {np.mean(alive):.0f} to be alive "
        f"after {years:.3g} years ({_range(middle.low[0], middle.high[0])} across the virtual patients)."
    )
    told = []
    for quantity, words, factor, unit in _TOLD:
        if quantity in simulation:
            values = band(factor * final(simulation, quantity)[:, None])
            told.append(f"{words} {cell(values.median[0], values.low[0], values.high[0])} {unit}")
    return text + (f" In a child alive by then: {'; '.join(told)}." if told else "")


def _range(low: float, high: float) -> str:
    return f"{low:.0f} in each" if round(low) == round(high) else f"{low:.0f} to {high:.0f}"


def difference_sentences(comparison: Comparison) -> list[str]:
    """The change of survival against the reference, paired within each virtual patient."""
    table = comparison.differences
    rows = table[table["endpoint"] == "survival"].to_dict("records")
    return [_difference(row, plain_name(comparison.reference)) for row in rows if row["pairs"]]


def _difference(row: dict[Hashable, Any], reference: str) -> str:
    mean, low, high, surest, boldest = (100 * row[key] for key in ("mean", "low", "high", "mean_low", "mean_high"))
    known = f"95 % interval of this mean {signed(surest)} to {signed(boldest)}, " if np.isfinite(surest) else ""
    return (
        f"{plain_name(str(row['regimen'])).capitalize()} against {reference}: {abs(mean):.0f} "
        f"{'more' if mean >= 0 else 'fewer'} of 100 alive at the end ({known}{signed(low)} to {signed(high)} across "
        f"the virtual patients); higher survival in {100 * row['share_better']:.0f} % of them."
    )


def signed(value: float) -> str:
    """A whole number with its sign."""
    return f"{value:+.0f}".replace("-", "\u2212") if round(value) else "0"


def caution_sentences(comparison: Comparison) -> list[str]:
    """What the numbers do not say."""
    missing = [
        f"The run was interrupted: {', '.join(plain_name(name) for name in comparison.missing)} could not be compared."
    ]
    return [
        *(missing if comparison.partial else []),
        "The ranges show how virtual patients differ from each other. "
        "The interval of a mean shows how well this number of virtual patients fixes it. Neither contains the error of "
        "the model itself.",
        f"{len(comparison.assumptions)} inputs or statements are assumed, not measured; they are listed below. "
        "Where a conclusion rests on one of them, it is no stronger than that assumption.",
        "A difference between regimens is a prediction to be tested, not evidence of benefit.",
    ]
