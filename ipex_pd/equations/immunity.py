"""Regulation and autoimmunity: Treg number and function, effector and Th2 cells, B lineage, antibodies, IgE.

The tolerance threshold: effector cells multiply by `tolerance_ratio` in a generation when nothing holds them, and by
``R0 = tolerance_ratio / (1 + r / suppression_half)`` when Treg cells that work are the share ``r`` of CD4 cells. Above
one they grow (IPEX), below one only their thymic seed is left (health). Number and function of Treg cells are separate:
IPEX cells of the Treg lineage are many and suppress with the share `residual_function` of a healthy cell.
"""

from __future__ import annotations

import sympy

from ipex_pd.equations.model import Model
from ipex_pd.equations.pharmacodynamics import (
    calcineurin_effect,
    calcineurin_mtor_effect,
    hill2,
    indirect_response,
    inhibition,
    mtor_effect,
)
from ipex_pd.equations.states import (
    autoantibody,
    b_donor,
    b_host,
    effector_t,
    eosinophils,
    gut_injury,
    ige,
    ige_plasma,
    long_lived_plasma,
    lymphoid_donor,
    lymphoid_host,
    short_lived_plasma,
    skin_injury,
    steroid_signal,
    t_donor,
    t_host,
    th2,
    treg_donor,
    treg_host,
)
from ipex_pd.equations.symbols import Name, age, output, parameter
from ipex_pd.equations.transplant import graft_treg, plasma_survival, share, t_cell_survival, treg_survival

residual_function = parameter("residual_function", "fraction", "suppression by one host Treg cell, healthy = 1", r"f")
foxp3_expression = parameter("foxp3_expression", "fraction", "host Treg-lineage cells that stain for FOXP3", r"x")

cd4_birth = parameter("cd4_birth", "cells/uL", "CD4 cells of a healthy newborn", r"C_0")
cd4_child = parameter("cd4_child", "cells/uL", "CD4 cells of an older healthy child", r"C_\infty")
cd4_half_age = parameter("cd4_half_age", "day", "age at which half the fall of CD4 is over", r"a_C")
b_birth = parameter("b_birth", "cells/uL", "CD19 B cells of a healthy infant", r"B_0")
b_child = parameter("b_child", "cells/uL", "CD19 B cells of an older healthy child", r"B_\infty")
b_half_age = parameter("b_half_age", "day", "age at which half the fall of B cells is over", r"a_B")
cd8_per_cd4 = parameter("cd8_per_cd4", "1", "CD8 cells for each CD4 cell")
natural_killer = parameter("natural_killer", "cells/uL", "natural killer cells")

treg_birth_share = parameter("treg_birth_share", "fraction", "Treg share of CD4 at birth", r"\rho_0")
treg_output = parameter("treg_output", "1/day", "thymic Treg output for each CD4 cell", r"\theta_R")
treg_renewal = parameter("treg_renewal", "1/day", "self-renewal of Treg cells with free IL-2", r"p_R")
treg_loss = parameter("treg_loss", "1/day", "turnover of Treg cells", r"d_R")
treg_niche = parameter("treg_niche", "fraction", "Treg share of CD4 that halves self-renewal", r"\nu_R")
treg_il2_boost = parameter("treg_il2_boost", "1", "extra self-renewal by IL-2 of effector cells", r"b_R")
treg_il2_e50 = parameter("treg_il2_e50", "cells/uL", "effector cells for half of the extra renewal", r"b_{50}")
treg_cni_maximum = parameter("treg_cni_maximum", "1", "share of Treg renewal stopped by CNI", r"E_{RC}")
treg_exclusion = parameter("treg_exclusion", "1", "extra loss of unfit host Treg beside donor Treg", r"x_R")
treg_exclusion_half = parameter("treg_exclusion_half", "1", "donor Treg, in niches, for half of that loss", r"x_{50}")

tolerance_ratio = parameter("tolerance_ratio", "1", "effector cells from one in a generation without Treg", r"R_{max}")
suppression_half = parameter("suppression_half", "fraction", "functional Treg share that halves activation", r"r_{50}")
effector_loss = parameter("effector_loss", "1/day", "death of effector T cells", r"\delta_E")
effector_seed = parameter("effector_seed", "cells/uL/day", "effector cells that escape central tolerance", r"\sigma_E")
effector_capacity = parameter("effector_capacity", "cells/uL", "effector cells that halve their activation", r"K_E")
effector_fetal = parameter("effector_fetal", "cells/uL", "effector cells at birth without any Treg function", r"E_f")
antigen_feedback = parameter("antigen_feedback", "1", "rise of activation by antigen of injured gut, skin", r"\phi")
effector_cni_maximum = parameter("effector_cni_maximum", "1", "largest inhibition of activation by CNI", r"E_C")
effector_mtor_maximum = parameter("effector_mtor_maximum", "1", "largest inhibition of proliferation by mTOR", r"E_M")
effector_steroid_maximum = parameter("effector_steroid_maximum", "1", "rise of effector death by steroid", r"E_S")

th2_share = parameter("th2_share", "1", "Th2 cells for each effector cell", r"\omega")
th2_turnover = parameter("th2_turnover", "1/day", "turnover of Th2 cells", r"d_W")
ige_th2 = parameter("ige_th2", "cells/uL", "autoreactive Th2 cells that double the IgE made", r"W_e")
short_plasma_loss = parameter("short_plasma_loss", "1/day", "death of short-lived plasma cells", r"d_s")
long_plasma_loss = parameter("long_plasma_loss", "1/day", "death of long-lived plasma cells", r"d_l")
help_maximum = parameter("help_maximum", "1", "rise of plasma-cell formation by T-cell help", r"h_B")
help_e50 = parameter("help_e50", "cells/uL", "effector cells for half of the help", r"h_{50}")
autoantibody_normal = parameter("autoantibody_normal", "ULN", "autoantibody of a healthy child", r"A_0")
autoantibody_loss = parameter("autoantibody_loss", "1/day", "elimination of IgG", r"d_A")
autoantibody_long_share = parameter("autoantibody_long_share", "fraction", "share made by long-lived plasma cells")
ige_help_maximum = parameter("ige_help_maximum", "1", "rise of class switch to IgE by T-cell help", r"h_e")
ige_plasma_loss = parameter("ige_plasma_loss", "1/day", "turnover of IgE plasma cells", r"d_e")
ige_loss = parameter("ige_loss", "1/day", "elimination of IgE", r"d_I")
ige_limit_birth = parameter("ige_limit_birth", "IU/mL", "upper limit of normal IgE, at birth by extrapolation")
ige_limit_slope = parameter("ige_limit_slope", "IU/mL/day", "rise of the upper limit of IgE with age")
ige_normal_share = parameter("ige_normal_share", "1", "IgE of a healthy child as a share of the upper limit")
ige_half_age = parameter("ige_half_age", "day", "age at which IgE production is half of its course")
ige_birth = parameter("ige_birth", "IU/mL", "IgE at birth")
eosinophil_normal = parameter("eosinophil_normal", "cells/uL", "eosinophils of a healthy child", r"O_0")
eosinophil_turnover = parameter("eosinophil_turnover", "1/day", "turnover of eosinophils in blood", r"d_O")
eosinophil_maximum = parameter("eosinophil_maximum", "1", "rise of eosinophil production by Th2 cells", r"h_O")
eosinophil_th50 = parameter("eosinophil_th50", "cells/uL", "Th2 cells for half of that rise", r"O_{50}")
eosinophil_steroid_maximum = parameter("eosinophil_steroid_maximum", "1", "share of production stopped by steroid")

cd4 = output("cd4", "cells/uL", "CD4 T cells in blood")
b_cells = output("b_cells", "cells/uL", "CD19 B cells in blood")
lymphocytes = output("lymphocytes", "cells/uL", "lymphocytes in blood")
treg_percent = output("treg_percent", "percent", "FOXP3+ Treg cells of CD4 cells")
functional_treg_percent = output("functional_treg_percent", "percent", "Treg of CD4, weighted by what each can do")
chimerism_treg = output("chimerism_treg", "fraction", "donor share of the Treg lineage")
ige_limit = output("ige_limit", "IU/mL", "upper limit of normal IgE at this age")
reproduction_number = output("reproduction_number", "1", "effector cells from one in a generation, untreated")


def falling(birth: sympy.Expr, child: sympy.Expr, half_age: sympy.Expr) -> sympy.Expr:
    """A count that falls with age: ``child + (birth - child) / (1 + (age / half_age)^2)``."""
    return child + (birth - child) / (1 + (age / half_age) ** 2)


cd4_normal = falling(cd4_birth, cd4_child, cd4_half_age)
b_normal = falling(b_birth, b_child, b_half_age)
t_total = t_host + t_donor
b_total = b_host + b_donor
cd4_now = cd4_normal * t_total
functional_share = (residual_function * treg_host + treg_donor) / cd4_now
antigen = 1 + antigen_feedback * (gut_injury + skin_injury) / 2


def suppression(functional: sympy.Expr) -> sympy.Expr:
    """Share of activation left by a functional Treg share: ``1 / (1 + r / r50)``."""
    return 1 / (1 + functional / suppression_half)


def drug_activation() -> sympy.Expr:
    """Share of activation left by calcineurin and mTOR inhibitors, affine in the three effects."""
    both = effector_cni_maximum * effector_mtor_maximum * calcineurin_mtor_effect
    return 1 - effector_cni_maximum * calcineurin_effect - effector_mtor_maximum * mtor_effect + both


def drug_loss() -> sympy.Expr:
    """Factor on effector death by steroid."""
    return 1 + effector_steroid_maximum * steroid_signal


def effector_birth() -> sympy.Expr:
    """Effector cells at birth: the fetal infiltrate fades with the function of the Treg cells."""
    return effector_fetal * suppression(residual_function * treg_birth_share) ** 4


def effector_activation() -> sympy.Expr:
    """New effector cells from present ones [cells/uL/day]."""
    crowding = 1 / (1 + effector_t / effector_capacity)
    ratio = tolerance_ratio * antigen * drug_activation() * suppression(functional_share)
    return effector_loss * ratio * crowding * effector_t


def _treg_rates() -> dict[Name, sympy.Expr]:
    niche = treg_niche * cd4_now
    il2 = 1 + treg_il2_boost * effector_t / (treg_il2_e50 + effector_t)
    renewal = treg_renewal * inhibition(treg_cni_maximum, calcineurin_effect) * il2
    beside_host = 1 + (treg_host + treg_donor) / niche
    beside_donor = 1 + (residual_function * treg_host + treg_donor) / niche
    crowd = treg_donor / (treg_exclusion_half * niche + treg_donor)
    exclusion = 1 + treg_exclusion * (1 - residual_function) * crowd
    thymus = treg_output * cd4_now
    return {
        treg_host: thymus * lymphoid_host + renewal * treg_host / beside_host - treg_loss * exclusion * treg_host,
        treg_donor: thymus * lymphoid_donor + renewal * treg_donor / beside_donor - treg_loss * treg_donor,
    }


def _humoral_rates() -> dict[Name, sympy.Expr]:
    help_given = hill2(effector_t, help_e50)
    plasma_help, switch_help = 1 + help_maximum * help_given, 1 + ige_help_maximum * help_given
    makers = (1 - autoantibody_long_share) * short_lived_plasma + autoantibody_long_share * long_lived_plasma
    ige_normal = ige_normal_share * _ige_limit() * age / (age + ige_half_age)
    allergy = 1 + eosinophil_maximum * th2 / (eosinophil_th50 + th2)
    eosinophil_production = allergy * inhibition(eosinophil_steroid_maximum, steroid_signal)
    one = sympy.Integer(1)
    return {
        short_lived_plasma: indirect_response(
            short_lived_plasma, short_plasma_loss, one, production=plasma_help * b_total
        ),
        long_lived_plasma: indirect_response(long_lived_plasma, long_plasma_loss, short_lived_plasma),
        ige_plasma: indirect_response(
            ige_plasma, ige_plasma_loss, one, production=(1 + th2 / ige_th2 * switch_help) * b_total
        ),
        autoantibody: indirect_response(autoantibody, autoantibody_loss, autoantibody_normal, production=makers),
        ige: indirect_response(ige, ige_loss, ige_normal, production=ige_plasma),
        eosinophils: indirect_response(
            eosinophils, eosinophil_turnover, eosinophil_normal, production=eosinophil_production
        ),
    }


def _ige_limit() -> sympy.Expr:
    return ige_limit_birth + ige_limit_slope * age


def _rates() -> dict[Name, sympy.Expr]:
    return {
        **_treg_rates(),
        effector_t: effector_seed * t_total + effector_activation() - effector_loss * drug_loss() * effector_t,
        th2: indirect_response(th2, th2_turnover, th2_share * effector_t, loss=drug_loss()),
        **_humoral_rates(),
    }


def _initial() -> dict[Name, sympy.Expr]:
    plasma = (short_lived_plasma, long_lived_plasma, ige_plasma)
    return {
        treg_host: treg_birth_share * cd4_normal,
        treg_donor: sympy.Integer(0),
        effector_t: effector_birth(),
        th2: th2_share * effector_birth(),
        **dict.fromkeys(plasma, sympy.Integer(1)),
        autoantibody: autoantibody_normal,
        ige: ige_birth,
        eosinophils: eosinophil_normal,
    }


def _map() -> dict[Name, sympy.Expr]:
    plasma = (short_lived_plasma, long_lived_plasma, ige_plasma)
    return {
        treg_host: treg_host * treg_survival,
        treg_donor: treg_donor * treg_survival + graft_treg,
        effector_t: effector_t * t_cell_survival,
        th2: th2 * t_cell_survival,
        **{cell: cell * plasma_survival for cell in plasma},
    }


def immunity() -> Model:
    """Treg cells, effector cells, B lineage and antibodies, with their part of the transplant map."""
    stained = foxp3_expression * treg_host + treg_donor
    outputs: dict[Name, sympy.Expr] = {
        cd4: cd4_now,
        b_cells: b_normal * b_total,
        lymphocytes: cd4 * (1 + cd8_per_cd4) + b_cells + natural_killer * t_total,
        treg_percent: 100 * stained / cd4,
        functional_treg_percent: 100 * functional_share,
        chimerism_treg: share(treg_donor, treg_host),
        ige_limit: _ige_limit(),
        reproduction_number: tolerance_ratio * antigen * suppression(functional_share),
    }
    return Model("immunity", _rates(), _initial(), outputs=outputs, maps={"transplant": _map()})
