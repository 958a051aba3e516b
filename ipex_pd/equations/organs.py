"""Organs: injury that heals, losses that stay, growth, and the organ-involvement score.

A reversible injury ``q`` follows ``q' = susceptibility * onset * drive * (1 - q) - repair * q``: it stays between 0 and
1, and heals in weeks once the drive is gone. Steroid holds the drive back. Beta cells and thyroid are lost in
proportion to what is left and grow back hardly at all.
"""

from __future__ import annotations

import sympy

from ipex_pd.equations.immunity import effector_birth
from ipex_pd.equations.model import Model
from ipex_pd.equations.pharmacodynamics import calcineurin_effect, hill2, inhibition
from ipex_pd.equations.states import (
    autoantibody,
    beta_cell_mass,
    blood_injury,
    effector_t,
    gut_injury,
    height_z,
    kidney_injury,
    liver_injury,
    lung_injury,
    renal_scarring,
    skin_injury,
    steroid_signal,
    th2,
    thyroid_mass,
    weight_z,
)
from ipex_pd.equations.symbols import Name, output, parameter

injury_onset = parameter("injury_onset", "1/day", "injury at susceptibility 1 and full drive", r"k_q")
injury_repair = parameter("injury_repair", "1/day", "repair of an injured organ", r"d_q")
injury_e50 = parameter("injury_e50", "cells/uL", "effector cells for half of the full drive", r"E_{50}")
injury_th50 = parameter("injury_th50", "cells/uL", "Th2 cells for half of the full drive in skin", r"W_{50}")
injury_a50 = parameter("injury_a50", "ULN", "autoantibody for half of the full drive", r"A_{50}")
injury_steroid_maximum = parameter("injury_steroid_maximum", "1", "share of inflammation stopped by steroid", r"E_q")
gut_susceptibility = parameter("gut_susceptibility", "1", "susceptibility of the gut", r"s_{gut}")
skin_susceptibility = parameter("skin_susceptibility", "1", "susceptibility of the skin", r"s_{skin}")
liver_susceptibility = parameter("liver_susceptibility", "1", "susceptibility of the liver", r"s_{liver}")
kidney_susceptibility = parameter("kidney_susceptibility", "1", "susceptibility of the kidney", r"s_{kidney}")
lung_susceptibility = parameter("lung_susceptibility", "1", "susceptibility of the lung", r"s_{lung}")
blood_susceptibility = parameter("blood_susceptibility", "1", "susceptibility of blood cells", r"s_{blood}")
beta_susceptibility = parameter("beta_susceptibility", "1", "susceptibility of the beta cells", r"s_\beta")
thyroid_susceptibility = parameter("thyroid_susceptibility", "1", "susceptibility of the thyroid", r"s_T")
gland_loss = parameter("gland_loss", "1/day", "loss of a gland of susceptibility 1 at full drive", r"k_m")
gland_regeneration = parameter("gland_regeneration", "1/day", "regeneration of what is left of a gland", r"g_m")
fetal_attack = parameter("fetal_attack", "day", "length of the attack on beta cells before birth", r"\tau_f")
kidney_cni_toxicity = parameter("kidney_cni_toxicity", "1/day", "functional kidney injury by calcineurin inhibition")
scarring_nephritis = parameter("scarring_nephritis", "1/day", "scarring at full kidney injury")
scarring_cni = parameter("scarring_cni", "1/day", "scarring at full calcineurin inhibition")

weight_z_potential = parameter("weight_z_potential", "SD", "weight for age of the child without disease", r"z_{w0}")
height_z_potential = parameter("height_z_potential", "SD", "height for age of the child without disease", r"z_{h0}")
weight_pace = parameter("weight_pace", "1/day", "rate at which weight for age follows", r"k_w")
height_pace = parameter("height_pace", "1/day", "rate at which height for age follows", r"k_h")
weight_gut_loss = parameter("weight_gut_loss", "SD", "weight for age lost at full gut injury", r"l_w")
weight_skin_loss = parameter("weight_skin_loss", "SD", "weight for age lost at full skin injury", r"l_s")
height_gut_loss = parameter("height_gut_loss", "SD", "height for age lost at full gut injury", r"l_h")
height_steroid_loss = parameter("height_steroid_loss", "SD/day", "pace of height for age lost at full steroid effect")

c_peptide_normal = parameter("c_peptide_normal", "ng/mL", "C-peptide with all beta cells")
involvement_half = parameter("involvement_half", "fraction", "injury at which an organ counts half", r"q_{50}")
malnutrition_z = parameter("malnutrition_z", "SD", "weight for age at which malnutrition counts half", r"z_{50}")
malnutrition_scale = parameter("malnutrition_scale", "SD", "softness of that limit", r"z_s")

c_peptide = output("c_peptide", "ng/mL", "C-peptide in serum")
malnutrition = output("malnutrition", "fraction", "malnutrition, smooth from 0 to 1")
oi_score = output("oi_score", "1", "organ-involvement score, smooth")
oi_score_integer = output("oi_score_integer", "1", "organ-involvement score as counted at the bedside")


def reversible(injury: Name, susceptibility: Name, drive: sympy.Expr) -> sympy.Expr:
    """Rate of a reversible injury under a drive between 0 and 1."""
    held = drive * inhibition(injury_steroid_maximum, steroid_signal)
    return susceptibility * injury_onset * held * (1 - injury) - injury_repair * injury


def gland(mass: Name, susceptibility: Name) -> sympy.Expr:
    """Rate of a gland that is lost under attack and regenerates only from what is left."""
    attack = gland_loss * susceptibility * hill2(effector_t, injury_e50)
    return -attack * mass + gland_regeneration * mass * (1 - mass)


def involved(injury: sympy.Expr) -> sympy.Expr:
    """How far an organ counts as involved: ``q^4 / (q50^4 + q^4)``."""
    return injury**4 / (involvement_half**4 + injury**4)


def underweight() -> sympy.Expr:
    """How far a child counts as malnourished, from weight for age: half at `malnutrition_z`."""
    return 1 / (1 + ((weight_z - malnutrition_z + malnutrition_scale) / malnutrition_scale) ** 12)


def involvement() -> sympy.Expr:
    """The smooth organ-involvement score, 0 to 5."""
    organs = (gut_injury, liver_injury, lung_injury, kidney_injury)
    return underweight() + sum((involved(q) for q in organs), start=sympy.Integer(0))


def _counted() -> sympy.Expr:
    organs = (gut_injury, liver_injury, lung_injury, kidney_injury)
    points = [q >= involvement_half for q in organs] + [weight_z <= malnutrition_z]
    return sum((sympy.Piecewise((1, p), (0, True)) for p in points), start=sympy.Integer(0))


def _rates() -> dict[Name, sympy.Expr]:
    cells, antibody = hill2(effector_t, injury_e50), hill2(autoantibody, injury_a50)
    toxicity = kidney_cni_toxicity * calcineurin_effect * (1 - kidney_injury)
    scarring = scarring_nephritis * kidney_injury + scarring_cni * calcineurin_effect
    weight_aim = weight_z_potential - weight_gut_loss * gut_injury - weight_skin_loss * skin_injury
    height_aim = height_z_potential - height_gut_loss * gut_injury
    return {
        gut_injury: reversible(gut_injury, gut_susceptibility, cells),
        skin_injury: reversible(skin_injury, skin_susceptibility, hill2(th2, injury_th50)),
        liver_injury: reversible(liver_injury, liver_susceptibility, cells),
        kidney_injury: reversible(kidney_injury, kidney_susceptibility, antibody) + toxicity,
        lung_injury: reversible(lung_injury, lung_susceptibility, cells),
        blood_injury: reversible(blood_injury, blood_susceptibility, antibody),
        beta_cell_mass: gland(beta_cell_mass, beta_susceptibility),
        thyroid_mass: gland(thyroid_mass, thyroid_susceptibility),
        renal_scarring: scarring * (1 - renal_scarring),
        weight_z: weight_pace * (weight_aim - weight_z),
        height_z: height_pace * (height_aim - height_z) - height_steroid_loss * steroid_signal**2,
    }


def _initial() -> dict[Name, sympy.Expr]:
    injuries = (gut_injury, skin_injury, liver_injury, kidney_injury, lung_injury, blood_injury, renal_scarring)
    before_birth = fetal_attack * gland_loss * beta_susceptibility * hill2(effector_birth(), injury_e50)
    return {
        **dict.fromkeys(injuries, sympy.Integer(0)),
        beta_cell_mass: 1 / (1 + before_birth),
        thyroid_mass: sympy.Integer(1),
        weight_z: weight_z_potential,
        height_z: height_z_potential,
    }


def organs() -> Model:
    """Injuries, glands, growth and the organ-involvement score."""
    outputs: dict[Name, sympy.Expr] = {
        c_peptide: c_peptide_normal * beta_cell_mass,
        malnutrition: underweight(),
        oi_score: involvement(),
        oi_score_integer: _counted(),
    }
    return Model("organs", _rates(), _initial(), outputs=outputs)
