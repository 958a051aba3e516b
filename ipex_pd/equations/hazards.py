"""Hazards of death by infection, disease and transplant, graft-versus-host disease and graft failure.

Survival is ``exp(-sum of the three cumulative hazards of death)``. After a transplant three phases follow one another
through two risks that the transplant sets and that fade with their own pace, so that everything is smooth in the time
of the transplant. Organ involvement and malnutrition at the transplant, the intensity of conditioning and the donor
scale what it sets.

Infection kills through the barrier: extensive injury of gut and skin lets bacteria through, and drugs and the lack of T
cells multiply what that costs. A serious infection is survived more often than not: its hazard is that of a fatal one
divided by the case fatality. Deaths in the wake of a transplant keep the cause `transplant`, although most are by
infection: `transplant_infection_share` of them count among the serious infections.
"""

from __future__ import annotations

import sympy

from ipex_pd.equations.model import Model
from ipex_pd.equations.organs import involvement, underweight
from ipex_pd.equations.pharmacodynamics import drug_excess
from ipex_pd.equations.states import (
    cumulative_hazard_disease,
    cumulative_hazard_graft_failure,
    cumulative_hazard_gvhd,
    cumulative_hazard_infection,
    cumulative_hazard_transplant,
    gut_injury,
    gvhd_pressure,
    rejection,
    skin_injury,
    t_donor,
    t_host,
    transplant_early,
    transplant_late,
)
from ipex_pd.equations.symbols import Name, age, covariate, output, parameter
from ipex_pd.equations.transplant import rejection_decay

transplant_risk = covariate("transplant_risk", "1", "factor of the procedure's hazard, mean of published = 1", r"g_P")
gvhd_risk = covariate("gvhd_risk", "1", "factor of the GvHD hazard, mean of published = 1", r"g_G")
full_intensity = covariate("full_intensity", "fraction", "conditioning: 0 reduced, 1 full intensity", r"g_I")

infection_base = parameter("infection_base", "1/day", "hazard of death by infection in good health", r"h_I")
infection_barrier = parameter("infection_barrier", "1", "excess at full injury of gut and skin", r"h_b")
infection_fatality = parameter("infection_fatality", "fraction", "serious infections that end in death", r"c_I")
transplant_infection_share = parameter(
    "transplant_infection_share", "fraction", "share of infection in deaths by the transplant", r"c_T"
)
infection_lymphopenia = parameter("infection_lymphopenia", "1", "excess without T cells", r"h_L")
infant_excess = parameter("infant_excess", "1", "excess of the hazards at birth", r"h_y")
infant_age = parameter("infant_age", "day", "age at which that excess is half", r"a_y")
disease_maximum = parameter("disease_maximum", "1/day", "hazard of death by disease with all five organs", r"h_D")
transplant_early_hazard = parameter("transplant_early_hazard", "1", "cumulative hazard of the early phase", r"h_1")
transplant_late_hazard = parameter("transplant_late_hazard", "1", "cumulative hazard of the late phase", r"h_2")
transplant_early_decay = parameter("transplant_early_decay", "1/day", "pace of the early phase", r"d_1")
transplant_late_decay = parameter("transplant_late_decay", "1/day", "pace of the late phase", r"d_2")
transplant_involvement = parameter("transplant_involvement", "1", "weight of the squared score at transplant", r"h_o")
transplant_reference = parameter("transplant_reference", "1", "organ-involvement score of the mean-risk child", r"o_0")
transplant_intensity = parameter(
    "transplant_intensity", "1", "share of the hazard saved by full conditioning with high involvement", r"h_f"
)
transplant_intensity_half = parameter("transplant_intensity_half", "1", "score for half of that saving", r"o_f")
transplant_infant = parameter("transplant_infant", "1", "excess of the hazard in a malnourished newborn", r"h_n")
gvhd_hazard = parameter("gvhd_hazard", "1", "cumulative hazard of GvHD, acute and chronic", r"h_G")
gvhd_decay = parameter("gvhd_decay", "1/day", "pace of GvHD", r"d_G")
graft_failure_hazard = parameter("graft_failure_hazard", "1", "cumulative hazard of graft failure", r"h_F")

infection_hazard = output("infection_hazard", "1/day", "hazard of death by infection")
cumulative_hazard_serious_infection = output(
    "cumulative_hazard_serious_infection", "1", "serious infection, fatal or survived, in the wake of a transplant too"
)
disease_hazard = output("disease_hazard", "1/day", "hazard of death by the disease")
transplant_hazard = output("transplant_hazard", "1/day", "hazard of death by the transplant")
death_hazard = output("death_hazard", "1/day", "hazard of death")
survival = output("survival", "fraction", "probability to be alive")


def _young() -> sympy.Expr:
    return 1 / (1 + (age / infant_age) ** 2)


def _infection() -> sympy.Expr:
    barrier = 1 + infection_barrier * ((gut_injury + skin_injury) / 2) ** 4
    lymphopenia = 1 + infection_lymphopenia * (1 - t_host - t_donor) ** 2
    return infection_base * (1 + drug_excess()) * barrier * lymphopenia * (1 + infant_excess * _young())


def _serious_infections() -> sympy.Expr:
    fatal = cumulative_hazard_infection + transplant_infection_share * cumulative_hazard_transplant
    return fatal / infection_fatality


def _disease() -> sympy.Expr:
    return disease_maximum * (involvement() / 5) ** 3 * (1 + infant_excess * _young())


def _transplant() -> sympy.Expr:
    early = transplant_early_hazard * transplant_early_decay * transplant_early
    late = transplant_late_hazard * transplant_late_decay * transplant_late
    return (early + late) * (1 + transplant_infant * underweight() * _young())


def _risk_at_transplant() -> sympy.Expr:
    score = involvement()
    organs = (1 + transplant_involvement * score**2) / (1 + transplant_involvement * transplant_reference**2)
    high = score**4 / (transplant_intensity_half**4 + score**4)
    return transplant_risk * organs * (1 - transplant_intensity * full_intensity * high)


def hazards() -> Model:
    """Cumulative hazards, survival and the risks that a transplant sets."""
    rates: dict[Name, sympy.Expr] = {
        transplant_early: -transplant_early_decay * transplant_early,
        transplant_late: -transplant_late_decay * transplant_late,
        gvhd_pressure: -gvhd_decay * gvhd_pressure,
        cumulative_hazard_infection: _infection(),
        cumulative_hazard_disease: _disease(),
        cumulative_hazard_transplant: _transplant(),
        cumulative_hazard_gvhd: gvhd_hazard * gvhd_decay * gvhd_pressure,
        cumulative_hazard_graft_failure: graft_failure_hazard * rejection_decay * rejection,
    }
    outputs: dict[Name, sympy.Expr] = {
        infection_hazard: _infection(),
        cumulative_hazard_serious_infection: _serious_infections(),
        disease_hazard: _disease(),
        transplant_hazard: _transplant(),
        death_hazard: infection_hazard + disease_hazard + transplant_hazard,
        survival: sympy.exp(-cumulative_hazard_infection - cumulative_hazard_disease - cumulative_hazard_transplant),
    }
    at_transplant: dict[Name, sympy.Expr] = {
        transplant_early: transplant_early + _risk_at_transplant(),
        transplant_late: transplant_late + _risk_at_transplant(),
        gvhd_pressure: gvhd_pressure + gvhd_risk,
    }
    start: dict[Name, sympy.Expr] = dict.fromkeys(rates, sympy.Integer(0))
    return Model("hazards", rates, start, outputs=outputs, maps={"transplant": at_transplant})
