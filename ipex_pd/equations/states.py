"""The states of the disease on one page: what the model carries from day to day.

Subsystems share states without sharing files: each state's rate, start and transplant jump stand in one subsystem.
"""

from __future__ import annotations

from ipex_pd.equations.symbols import state

# drug signals and burdens
steroid_signal = state("steroid_signal", "fraction", "genomic steroid effect after its delay", r"S")
steroid_burden = state("steroid_burden", "mg/kg", "steroid exposure so far, as prednisolone", r"B_S")
cni_burden = state("cni_burden", "day", "time-integral of the calcineurin effect", r"B_C")

# stem cells and lineages, as shares of what is normal for age
stem_host = state("stem_host", "fraction", "host stem cells, share of the niche", r"H_h")
stem_donor = state("stem_donor", "fraction", "donor stem cells, share of the niche", r"H_d")
lymphoid_host = state("lymphoid_host", "fraction", "host lymphoid precursors in marrow and thymus", r"L_h")
lymphoid_donor = state("lymphoid_donor", "fraction", "donor lymphoid precursors in marrow and thymus", r"L_d")
t_host = state("t_host", "fraction", "host T cells, share of normal for age", r"T_h")
t_donor = state("t_donor", "fraction", "donor T cells, share of normal for age", r"T_d")
b_host = state("b_host", "fraction", "host B cells, share of normal for age", r"B_h")
b_donor = state("b_donor", "fraction", "donor B cells, share of normal for age", r"B_d")
neutrophils = state("neutrophils", "cells/uL", "neutrophils in blood", r"N")
rejection = state("rejection", "1", "pressure of host T cells against the graft", r"J")

# regulation and autoimmunity
treg_host = state("treg_host", "cells/uL", "host cells of the Treg lineage, whatever they can do", r"R_h")
treg_donor = state("treg_donor", "cells/uL", "donor Treg cells", r"R_d")
effector_t = state("effector_t", "cells/uL", "autoreactive effector T cells", r"E")
th2 = state("th2", "cells/uL", "autoreactive Th2 cells", r"W")
short_lived_plasma = state("short_lived_plasma", "1", "short-lived plasma cells, normal = 1", r"P_s")
long_lived_plasma = state("long_lived_plasma", "1", "long-lived plasma cells, normal = 1", r"P_l")
ige_plasma = state("ige_plasma", "1", "IgE plasma cells, normal = 1", r"P_e")
autoantibody = state("autoantibody", "ULN", "autoantibody, in upper limits of normal", r"A")
ige = state("ige", "IU/mL", "total IgE in serum", r"I_E")
eosinophils = state("eosinophils", "cells/uL", "eosinophils in blood", r"O")

# organs
gut_injury = state("gut_injury", "fraction", "injury of the gut: villous atrophy, diarrhoea", r"q_{gut}")
skin_injury = state("skin_injury", "fraction", "injury of the skin: eczema", r"q_{skin}")
liver_injury = state("liver_injury", "fraction", "injury of the liver: hepatitis", r"q_{liver}")
kidney_injury = state("kidney_injury", "fraction", "reversible injury of the kidney: nephritis", r"q_{kidney}")
lung_injury = state("lung_injury", "fraction", "injury of the lung", r"q_{lung}")
blood_injury = state("blood_injury", "fraction", "autoimmune cytopenia", r"q_{blood}")
beta_cell_mass = state("beta_cell_mass", "fraction", "beta cells left", r"m_\beta")
thyroid_mass = state("thyroid_mass", "fraction", "thyroid tissue left", r"m_T")
renal_scarring = state("renal_scarring", "fraction", "irreversible scarring of the kidney", r"m_K")
weight_z = state("weight_z", "SD", "weight for age", r"z_w")
height_z = state("height_z", "SD", "height for age", r"z_h")

# time since transplant, and risks run so far
transplant_early = state("transplant_early", "1", "risk carried from the transplant, first months", r"c_1")
transplant_late = state("transplant_late", "1", "risk carried from the transplant, first years", r"c_2")
gvhd_pressure = state("gvhd_pressure", "1", "risk of graft-versus-host disease carried from the transplant", r"c_g")
cumulative_hazard_infection = state("cumulative_hazard_infection", "1", "death by infection", r"\Lambda_I")
cumulative_hazard_disease = state("cumulative_hazard_disease", "1", "death by the disease", r"\Lambda_D")
cumulative_hazard_transplant = state("cumulative_hazard_transplant", "1", "death by the transplant", r"\Lambda_T")
cumulative_hazard_gvhd = state("cumulative_hazard_gvhd", "1", "GvHD, acute or chronic", r"\Lambda_G")
cumulative_hazard_graft_failure = state("cumulative_hazard_graft_failure", "1", "graft failure", r"\Lambda_F")
