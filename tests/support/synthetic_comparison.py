"""A synthetic comparison: invented curves, to test the report and the command line only."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from ipex_pd.planning.comparison import assemble
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import Exposure

QUANTITIES = {
    "treg_percent": ("percent", "FOXP3+ of CD4"),
    "functional_treg_percent": ("percent", "working Treg of CD4"),
    "effector_t": ("cells/uL", "effector T"),
    "autoantibody": ("ULN", "autoantibody"),
    "ige": ("IU/mL", "serum IgE"),
    "eosinophils": ("cells/uL", "eosinophils"),
    "gut_injury": ("fraction", "gut injury"),
    "skin_injury": ("fraction", "skin injury"),
    "liver_injury": ("fraction", "liver injury"),
    "kidney_injury": ("fraction", "kidney injury"),
    "lung_injury": ("fraction", "lung injury"),
    "blood_injury": ("fraction", "blood injury"),
    "beta_cell_mass": ("fraction", "beta-cell mass"),
    "thyroid_mass": ("fraction", "thyroid mass"),
    "renal_scarring": ("fraction", "renal scarring"),
    "weight_z": ("SD", "weight z-score"),
    "height_z": ("SD", "height z-score"),
    "chimerism_treg": ("fraction", "donor share of Treg"),
    "survival": ("fraction", "probability to be alive"),
    "cumulative_hazard_infection": ("1", "infection"),
    "cumulative_hazard_disease": ("1", "disease"),
    "cumulative_hazard_transplant": ("1", "transplant"),
    "tacrolimus": ("ng/mL", "whole-blood tacrolimus"),
}


@dataclass
class SyntheticRegimen:
    text: str

    def in_words(self):
        return self.text


@dataclass
class SyntheticPopulation:
    description: list


def synthetic_simulation(name, strength, *, transplant=False, patients=12, years=5.0, seed=0):
    """Invented courses: ``strength`` 0..1 holds the disease back."""
    rng = np.random.default_rng(seed)
    t = np.arange(0.0, years * 365.25, 7.0)
    spread = rng.lognormal(0.0, 0.3, (patients, 1))
    healed = 1 / (1 + np.exp(-(t - 400) / 40)) if transplant else np.zeros_like(t)
    activity = np.clip((1 - strength) * spread * (1 - np.exp(-t / 200)) * (1 - healed), 0, 1)
    hazard = np.cumsum(activity * 7, axis=1) / 1500
    peri = 0.12 * healed * spread
    infection = 0.03 * strength * t / 365 * spread
    values = {name: np.clip(activity * (0.4 + 0.1 * i % 0.6), 0, 1) for i, name in enumerate(QUANTITIES)}
    values |= {
        "treg_percent": 4 + 2 * healed + 0 * activity,
        "functional_treg_percent": 0.1 + 2.5 * healed * spread + 0.0 * activity,
        "effector_t": 300 + 2000 * activity,
        "autoantibody": 1 + 30 * activity,
        "ige": 30 * np.exp(5 * activity),
        "eosinophils": 200 + 3000 * activity,
        "beta_cell_mass": np.exp(-3 * hazard),
        "thyroid_mass": np.exp(-1.5 * hazard),
        "renal_scarring": 1 - np.exp(-0.3 * hazard - 0.05 * strength * t / 365),
        "weight_z": -2 * activity - 0.5,
        "height_z": -1.5 * activity - 0.8,
        "chimerism_treg": 0.9 * healed + 0 * activity,
        "survival": np.exp(-hazard - (peri - peri[:, :1]) - infection),
        "cumulative_hazard_infection": infection + 0 * hazard,
        "cumulative_hazard_disease": hazard,
        "cumulative_hazard_transplant": peri + 0 * hazard,
        "tacrolimus": np.abs(strength * 12 * spread * (1 + 0.15 * rng.standard_normal((patients, t.size)))) * (t > 0),
    }
    units = {name: unit for name, (unit, _) in QUANTITIES.items()}
    meanings = {name: text for name, (_, text) in QUANTITIES.items()}
    error = rng.uniform(1e-7, 4e-6, patients)
    tacrolimus = Exposure("tacrolimus", "tacrolimus", low=5.0, high=10.0, window_source="synthetic window")
    if "tacrolimus" not in name:
        del values["tacrolimus"]
    return Simulation(
        times=t,
        values=values,
        units=units,
        meanings=meanings,
        patients=tuple(f"synthetic-{i}" for i in range(patients)),
        patient="synthetic_child",
        regimen=name,
        age=np.full(patients, 30.0),
        error=error,
        route=("mesh",) * patients,
        alive=np.ones(patients, dtype=bool),
        assumptions=("Synthetic assumption: the curves are invented <b>&</b> prove nothing.",),
        sources=(("SYN1", "A synthetic citation that cites nobody."),),
        exposures=(tacrolimus,) if "tacrolimus" in name else (),
    )


@cache
def synthetic_comparison(patients=12):
    """Six invented regimens over invented patients."""
    plans = {
        "untreated": (0.0, False, "No drug is given."),
        "prednisolone_tacrolimus": (
            0.55,
            False,
            "Prednisolone by mouth 2 mg/kg a day, tapered; tacrolimus twice daily.",
        ),
        "prednisolone_ciclosporin": (
            0.45,
            False,
            "Prednisolone by mouth 2 mg/kg a day, tapered; ciclosporin twice daily.",
        ),
        "sirolimus": (0.7, False, "Sirolimus by mouth once a day, target trough 8 to 12 ng/mL."),
        "rituximab_course": (0.3, False, "Rituximab 375 mg/m2 on days 0, 7, 14 and 21."),
        "transplant_early_reduced": (
            0.5,
            True,
            "Transplant on day 365 after reduced conditioning; synthetic prophylaxis.",
        ),
    }
    simulations = {
        name: synthetic_simulation(name, s, transplant=g, patients=patients, seed=i)
        for i, (name, (s, g, _)) in enumerate(plans.items())
    }
    alive = np.arange(patients) != 2
    simulations["sirolimus"] = replace(
        simulations["sirolimus"], alive=alive, warnings=("synthetic-2: numbers stopped being finite on day 700",)
    )
    return assemble(
        SyntheticPopulation(["Synthetic boy, 30 days old.", f"{patients} synthetic virtual patients around him."]),
        {name: SyntheticRegimen(text) for name, (_, _, text) in plans.items()},
        simulations,
        {"years": 5.0, "seed": 1},
        seed=1,
    )
