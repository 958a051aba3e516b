"""The thresholds that turn courses into clinical events, each stated once with its source or reason."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Threshold:
    """One number that an endpoint compares with.

    Attributes:
        name, value, unit: what it is.
        basis: a citation with its evidence id, or `assumed:` and the reason.
    """

    name: str
    value: float
    unit: str
    basis: str


REMISSION_INJURY = Threshold(
    "remission_injury",
    0.10,
    "fraction",
    "assumed: a tenth of the worst injury of an organ is below clinical notice; no graded course was published",
)
REMISSION_HOLD = Threshold(
    "remission_hold",
    30.0,
    "day",
    "assumed: a remission must last four weeks to be told from fluctuation (surveillance is every 3-6 months, E179)",
)
RELAPSE_INJURY = Threshold(
    "relapse_injury",
    0.25,
    "fraction",
    "assumed: well above the remission threshold, so that fluctuation around that threshold is not counted as relapse",
)
DIABETES_MASS = Threshold(
    "diabetes_mass",
    0.20,
    "fraction",
    "assumed: insulin is needed when four fifths of the beta cells are lost; the mass left at onset in IPEX is unknown",
)
HYPOTHYROID_MASS = Threshold(
    "hypothyroid_mass",
    0.30,
    "fraction",
    "assumed: hormone is needed when most of the gland is lost; no thyroid kinetics in IPEX were found",
)
SCARRED_KIDNEY = Threshold(
    "scarred_kidney",
    0.50,
    "fraction",
    "assumed: half of the renal tissue scarred is taken as loss of the organ's reserve",
)
SEVERE_NEUTROPENIA = Threshold(
    "severe_neutropenia", 500.0, "cells/uL", "assumed: the usual clinical definition of severe neutropenia"
)
MODERATE_NEUTROPENIA = Threshold(
    "moderate_neutropenia", 1000.0, "cells/uL", "assumed: the usual clinical definition of moderate neutropenia"
)
LYMPHOPENIA = Threshold(
    "lymphopenia",
    1000.0,
    "cells/uL",
    "assumed: the usual clinical definition in older children and adults; normal infants lie higher",
)
LOW_CD4 = Threshold("low_cd4", 200.0, "cells/uL", "assumed: the usual limit below which prophylaxis is given")
HIGH_IGE = Threshold(
    "high_ige",
    1000.0,
    "IU/mL",
    "the level by which published patients are counted: 59 % above it (Gambineri 2018, E076)",
)

THRESHOLDS: tuple[Threshold, ...] = (
    REMISSION_INJURY,
    REMISSION_HOLD,
    RELAPSE_INJURY,
    DIABETES_MASS,
    HYPOTHYROID_MASS,
    SCARRED_KIDNEY,
    SEVERE_NEUTROPENIA,
    MODERATE_NEUTROPENIA,
    LYMPHOPENIA,
    LOW_CD4,
    HIGH_IGE,
)
