"""Stem cells of host and donor in one niche, and the lineages that follow them with their delays.

Marrow fills within weeks, B cells within months, T cells over a year or two. Host T cells may reject the graft slowly:
a rejected graft loses all lineages except Treg cells, which renew themselves (see `immunity`). A transplant is a map
of the states: conditioning leaves surviving fractions of host cells, the graft adds donor cells.
"""

from __future__ import annotations

import sympy

from ipex_pd.equations.model import Model
from ipex_pd.equations.pharmacodynamics import (
    calcineurin_effect,
    cd20_effect,
    indirect_response,
    inhibition,
)
from ipex_pd.equations.states import (
    b_donor,
    b_host,
    lymphoid_donor,
    lymphoid_host,
    neutrophils,
    rejection,
    stem_donor,
    stem_host,
    t_donor,
    t_host,
)
from ipex_pd.equations.symbols import Name, covariate, output, parameter

stem_survival = covariate("stem_survival", "fraction", "host stem cells left by conditioning", r"\sigma_H")
t_cell_survival = covariate("t_cell_survival", "fraction", "host T cells left", r"\sigma_T")
treg_survival = covariate("treg_survival", "fraction", "host Treg-lineage cells left", r"\sigma_R")
b_cell_survival = covariate("b_cell_survival", "fraction", "host B cells left", r"\sigma_B")
plasma_survival = covariate("plasma_survival", "fraction", "plasma cells left", r"\sigma_P")
graft_stem = covariate("graft_stem", "fraction", "stem cells given, share of the niche", r"g_H")
graft_t = covariate("graft_t", "fraction", "T cells given, share of normal", r"g_T")
graft_treg = covariate("graft_treg", "cells/uL", "Treg cells given", r"g_R")
rejection_risk = covariate("rejection_risk", "1", "rejection pressure, mean of published transplants = 1", r"g_J")

stem_growth = parameter("stem_growth", "1/day", "growth of stem and early progenitor cells in an empty niche", r"k_H")
neutrophil_normal = parameter("neutrophil_normal", "cells/uL", "neutrophils of a healthy child", r"N_0")
marrow_transit = parameter("marrow_transit", "1/day", "one over the transit of neutrophils through marrow", r"k_N")
lymphoid_transit = parameter("lymphoid_transit", "1/day", "one over the transit of lymphoid precursors", r"k_L")
t_turnover = parameter("t_turnover", "1/day", "thymic replacement of peripheral T cells", r"k_T")
t_expansion = parameter("t_expansion", "1/day", "homeostatic expansion of T cells in an empty niche", r"p_T")
b_turnover = parameter("b_turnover", "1/day", "turnover of B cells", r"k_B")
cd20_maximum = parameter("cd20_maximum", "1", "largest rise of B-cell loss by anti-CD20", r"E_R")
rejection_rate = parameter("rejection_rate", "1/day", "loss of graft at full rejection pressure", r"k_J")
rejection_t50 = parameter("rejection_t50", "fraction", "host T cells for half of full rejection", r"T_{50}")
rejection_decay = parameter("rejection_decay", "1/day", "acceptance of the graft with time", r"d_J")
rejection_cni_maximum = parameter("rejection_cni_maximum", "1", "share of rejection stopped by calcineurin inhibition")

chimerism = output("chimerism", "fraction", "donor share of white blood cells")
chimerism_myeloid = output("chimerism_myeloid", "fraction", "donor share of myeloid cells")
chimerism_t = output("chimerism_t", "fraction", "donor share of T cells")
chimerism_b = output("chimerism_b", "fraction", "donor share of B cells")


def share(donor: sympy.Expr, host: sympy.Expr) -> sympy.Expr:
    """Donor share of a lineage: ``donor / (host + donor)``."""
    return donor / (donor + host)


def rejection_loss() -> sympy.Expr:
    """Loss rate of grafted cells by host T cells [1/day]."""
    host = t_host / (rejection_t50 + t_host)
    return rejection_rate * rejection * host * inhibition(rejection_cni_maximum, calcineurin_effect)


def _rates() -> dict[Name, sympy.Expr]:
    space = 1 - stem_host - stem_donor
    rejected = rejection_loss()
    t_space = 1 - t_host - t_donor
    anti_cd20 = 1 + cd20_maximum * cd20_effect
    marrow = stem_host + stem_donor
    return {
        stem_host: stem_growth * stem_host * space,
        stem_donor: stem_growth * stem_donor * space - rejected * stem_donor,
        neutrophils: indirect_response(neutrophils, marrow_transit, neutrophil_normal, production=marrow),
        lymphoid_host: lymphoid_transit * (stem_host - lymphoid_host),
        lymphoid_donor: lymphoid_transit * (stem_donor - lymphoid_donor),
        t_host: t_turnover * (lymphoid_host - t_host) + t_expansion * t_host * t_space,
        t_donor: t_turnover * (lymphoid_donor - t_donor) + t_expansion * t_donor * t_space - rejected * t_donor,
        b_host: indirect_response(b_host, b_turnover, lymphoid_host, loss=anti_cd20),
        b_donor: indirect_response(b_donor, b_turnover, lymphoid_donor, loss=anti_cd20),
        rejection: -rejection_decay * rejection,
    }


def _initial() -> dict[Name, sympy.Expr]:
    hosts = (stem_host, lymphoid_host, t_host, b_host)
    donors = (stem_donor, lymphoid_donor, t_donor, b_donor, rejection)
    return {
        **dict.fromkeys(hosts, sympy.Integer(1)),
        **dict.fromkeys(donors, sympy.Integer(0)),
        neutrophils: neutrophil_normal,
    }


def _map() -> dict[Name, sympy.Expr]:
    return {
        stem_host: stem_host * stem_survival,
        stem_donor: stem_donor * stem_survival + graft_stem,
        neutrophils: neutrophils * stem_survival,
        lymphoid_host: lymphoid_host * stem_survival,
        lymphoid_donor: lymphoid_donor * stem_survival,
        t_host: t_host * t_cell_survival,
        t_donor: t_donor * t_cell_survival + graft_t,
        b_host: b_host * b_cell_survival,
        b_donor: b_donor * b_cell_survival,
        rejection: rejection_risk,
    }


def transplant() -> Model:
    """Host and donor lineages, rejection, chimerism and their part of the transplant map."""
    outputs: dict[Name, sympy.Expr] = {
        chimerism_myeloid: share(stem_donor, stem_host),
        chimerism_t: share(t_donor, t_host),
        chimerism_b: share(b_donor, b_host),
        chimerism: (chimerism_myeloid + chimerism_t + chimerism_b) / 3,
    }
    return Model("transplant", _rates(), _initial(), outputs=outputs, maps={"transplant": _map()})
