"""Endpoints of the disease and of the safety of its treatment."""

from __future__ import annotations

from ipex_pd.simulation import measures
from ipex_pd.simulation import thresholds as limit
from ipex_pd.simulation.endpoints import Better, Endpoint
from ipex_pd.simulation.questions import (
    DEATH_HAZARDS,
    ORGANS,
    YEAR,
    alive_and,
    before_death,
    change,
    days_under,
    died_of,
    fold,
    happened,
    in_remission_at_end,
    incidence_under,
    kept_above,
    last,
    net_risk,
    organs_kept,
    relapse_time,
    remission_time,
    survival_to,
    time_under,
)
from ipex_pd.simulation.thresholds import Threshold

_REMISSION = (
    f"all six reversible organs below {limit.REMISSION_INJURY.value:g} of their worst injury "
    f"for {limit.REMISSION_HOLD.value:g} days"
)
_MASS = f"{limit.DIABETES_MASS.value:g} of the beta-cell mass"


def _survival() -> list[Endpoint]:
    fixed = [
        Endpoint(
            f"survival_{years}y",
            f"Survival at {years} y",
            "fraction",
            f"probability to live {years * YEAR:g} days from day 0",
            "higher",
            ("survival",),
            survival_to(years * YEAR),
            days=years * YEAR,
        )
        for years in (1, 2, 5, 10)
    ]
    words_of = {"disease": "the disease", "infection": "infection", "transplant": "the transplant"}
    notes = {"transplant": "most of these deaths are by infection in its wake (E016); "}
    causes = [
        Endpoint(
            f"death_{cause}",
            f"Death from {words}",
            "fraction",
            f"probability to have died from {words} by the horizon, other causes competing; "
            f"{notes.get(cause, '')}the causes add up to 1 - survival",
            "lower",
            tuple(DEATH_HAZARDS.values()),
            died_of(cause),
        )
        for cause, words in words_of.items()
    ]
    return [
        Endpoint(
            "survival",
            "Survival at the horizon",
            "fraction",
            "probability to live to the last output time",
            "higher",
            ("survival",),
            last("survival"),
        ),
        *fixed,
        Endpoint(
            "restricted_mean_survival",
            "Mean time alive",
            "day",
            "area under the survival curve up to the horizon",
            "higher",
            ("survival",),
            lambda sim: measures.restricted_mean_survival(sim.times, sim["survival"]),
        ),
        *causes,
    ]


def _activity() -> list[Endpoint]:
    return [
        Endpoint(
            "time_to_remission",
            "Time to remission",
            "day",
            f"start of the first remission ({_REMISSION}), in a child who lives; 0 when never ill",
            "lower",
            ORGANS,
            remission_time,
            is_time=True,
        ),
        Endpoint(
            "remission",
            "In remission at the horizon",
            "fraction",
            f"share of patients with {_REMISSION} at the horizon",
            "higher",
            ORGANS,
            in_remission_at_end,
        ),
        Endpoint(
            "alive_in_remission",
            "Alive in remission",
            "fraction",
            "survival at the horizon of those in remission, 0 for others",
            "higher",
            ("survival", *ORGANS),
            alive_and(in_remission_at_end),
        ),
        Endpoint(
            "relapse",
            "Relapse after remission",
            "fraction",
            f"share in whom an organ reaches {limit.RELAPSE_INJURY.value:g} after a remission, among those with one",
            "lower",
            ORGANS,
            lambda sim: happened(relapse_time(sim)),
        ),
        Endpoint(
            "time_to_relapse",
            "Time to relapse",
            "day",
            f"first day an organ reaches {limit.RELAPSE_INJURY.value:g} after a remission, counted from day 0",
            "higher",
            ORGANS,
            relapse_time,
            is_time=True,
        ),
        Endpoint(
            "ige_fold",
            "IgE, horizon over start",
            "1",
            "IgE at the horizon divided by IgE at day 0",
            "lower",
            ("ige",),
            fold("ige"),
        ),
        Endpoint(
            "days_high_ige",
            "Days with IgE over 1000 IU/mL",
            "day",
            f"days with IgE above {limit.HIGH_IGE.value:g} IU/mL",
            "lower",
            ("ige",),
            lambda sim: sim.horizon - sim.times[0] - days_under("ige", limit.HIGH_IGE)(sim),
        ),
        Endpoint(
            "autoantibody_fold",
            "Autoantibody, horizon over start",
            "1",
            "autoantibody at the horizon divided by that at day 0",
            "lower",
            ("autoantibody",),
            fold("autoantibody"),
        ),
        Endpoint(
            "oi_score",
            "Organ-involvement score",
            "1",
            "smooth organ-involvement score (0-5) at the horizon",
            "lower",
            ("oi_score",),
            last("oi_score"),
        ),
        Endpoint(
            "treg_chimerism",
            "Donor share of Treg",
            "fraction",
            "donor share of regulatory T cells at the horizon",
            "higher",
            ("chimerism_treg",),
            last("chimerism_treg"),
        ),
        Endpoint(
            "functional_treg",
            "Functional Treg",
            "percent",
            "functional regulatory T cells, percent of CD4, at the horizon",
            "higher",
            ("functional_treg_percent",),
            last("functional_treg_percent"),
        ),
    ]


def _organs() -> list[Endpoint]:
    glands = ("beta_cell_mass", "thyroid_mass", "renal_scarring")
    return [
        Endpoint(
            "organ_free_survival",
            "Alive with all organs",
            "fraction",
            f"survival at the horizon of those with at least {_MASS}, {limit.HYPOTHYROID_MASS.value:g} of the thyroid, "
            f"and at most {limit.SCARRED_KIDNEY.value:g} renal scarring; 0 for others",
            "higher",
            ("survival", *glands),
            alive_and(organs_kept),
        ),
        Endpoint(
            "diabetes_free_survival",
            "Alive without diabetes",
            "fraction",
            f"survival at the horizon of those with at least {_MASS}; 0 for others",
            "higher",
            ("survival", "beta_cell_mass"),
            alive_and(kept_above(("beta_cell_mass", limit.DIABETES_MASS))),
        ),
        Endpoint(
            "diabetes",
            "Diabetes",
            "fraction",
            f"probability to live to the day when less than {_MASS} is left (present at day 0 counts); death competes",
            "lower",
            ("survival", "beta_cell_mass"),
            incidence_under("beta_cell_mass", limit.DIABETES_MASS),
        ),
        Endpoint(
            "time_to_diabetes",
            "Time to diabetes",
            "day",
            f"first day with less than {_MASS}, in a child who lives",
            "higher",
            ("beta_cell_mass",),
            time_under("beta_cell_mass", limit.DIABETES_MASS),
            is_time=True,
        ),
        Endpoint(
            "hypothyroidism",
            "Hypothyroidism",
            "fraction",
            f"probability to live to the day when less than {limit.HYPOTHYROID_MASS.value:g} of the thyroid is left; "
            "death competes",
            "lower",
            ("survival", "thyroid_mass"),
            incidence_under("thyroid_mass", limit.HYPOTHYROID_MASS),
        ),
        Endpoint(
            "c_peptide",
            "C-peptide reserve",
            "ng/mL",
            "C-peptide at the horizon, in a child who lives",
            "higher",
            ("c_peptide",),
            last("c_peptide"),
        ),
        Endpoint(
            "renal_scarring",
            "Renal scarring",
            "fraction",
            "scarred share of the kidney at the horizon",
            "lower",
            ("renal_scarring",),
            last("renal_scarring"),
        ),
        Endpoint(
            "height_z_change",
            "Height, change of z",
            "SD",
            "height-for-age z at the horizon less that at day 0",
            "higher",
            ("height_z",),
            change("height_z"),
        ),
        Endpoint(
            "weight_z_change",
            "Weight, change of z",
            "SD",
            "weight-for-age z at the horizon less that at day 0",
            "higher",
            ("weight_z",),
            change("weight_z"),
        ),
    ]


def _safety() -> list[Endpoint]:
    counts: list[tuple[str, str, str, Threshold]] = [
        ("days_severe_neutropenia", "Days neutropenic, severe", "neutrophils", limit.SEVERE_NEUTROPENIA),
        ("days_neutropenia", "Days neutropenic", "neutrophils", limit.MODERATE_NEUTROPENIA),
        ("days_lymphopenia", "Days lymphopenic", "lymphocytes", limit.LYMPHOPENIA),
        ("days_low_cd4", "Days with low CD4", "cd4", limit.LOW_CD4),
    ]
    better: Better = "lower"
    deaths = tuple(DEATH_HAZARDS.values())
    return [
        Endpoint(
            "steroid_dose",
            "Cumulative steroid",
            "mg/kg",
            "steroid given from day 0 to the horizon, as prednisolone",
            better,
            ("steroid_burden",),
            change("steroid_burden"),
        ),
        Endpoint(
            "calcineurin_burden",
            "Calcineurin inhibition",
            "day",
            "time-integral of the calcineurin effect (days of full inhibition) from day 0 to the horizon",
            better,
            ("cni_burden",),
            change("cni_burden"),
        ),
        Endpoint(
            "infection_risk",
            "Serious infection",
            "fraction",
            "1 - exp(-cumulative hazard of a serious infection, fatal or survived): the risk of at least one by the "
            "horizon in a child who lives; fatal ones stand under the causes of death",
            better,
            ("cumulative_hazard_serious_infection",),
            net_risk("cumulative_hazard_serious_infection"),
        ),
        *(
            Endpoint(
                name,
                f"{label} (< {threshold.value:g}/uL)",
                "day",
                f"days with {quantity} below {threshold.value:g} cells/uL",
                better,
                (quantity,),
                days_under(quantity, threshold),
            )
            for name, label, quantity, threshold in counts
        ),
        Endpoint(
            "gvhd",
            "Graft-versus-host disease",
            "fraction",
            "probability of GvHD by the horizon, death competing",
            better,
            ("cumulative_hazard_gvhd", *deaths),
            before_death("cumulative_hazard_gvhd"),
        ),
        Endpoint(
            "graft_failure",
            "Graft failure",
            "fraction",
            "probability of graft failure by the horizon, death competing",
            better,
            ("cumulative_hazard_graft_failure", *deaths),
            before_death("cumulative_hazard_graft_failure"),
        ),
    ]


DISEASE_ENDPOINTS: tuple[Endpoint, ...] = (*_survival(), *_activity(), *_organs(), *_safety())
"""In the order in which tables show them."""
