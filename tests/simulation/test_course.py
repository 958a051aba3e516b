"""The course of the disease on the whole engine: records in, solved, endpoints out; evidence ids in docstrings."""

import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.patients import Patient
from ipex_pd.simulation.population import Population

YEAR = 365.25
FAST = SolverOptions(audit="off", chunk=8)
SPARSE = np.r_[np.arange(0.0, 371.0, 10.0), np.arange(400.0, 3 * YEAR, 30.0), 3 * YEAR]
REVERSIBLE = ("gut_injury", "skin_injury", "liver_injury", "kidney_injury", "lung_injury", "blood_injury")
ORDER = ("deletion", "frameshift", "missense", "splice", "in_frame")
ASSUMED = {"assumed": "for a test"}


def boy(foxp3, age=0.0):
    return Patient.model_validate(
        {
            "name": f"boy_{foxp3}",
            "description": f"a boy, {foxp3}",
            "sex": "male",
            "age": {"value": f"{age} day", "source": ASSUMED},
            "foxp3": {"value": foxp3, "source": ASSUMED},
            **({"weight_z": {"value": -1.5, "source": ASSUMED}} if age else {}),
        }
    )


def day_of(sim, reached):
    """First output day on which a condition holds, (patient,); inf if it never does."""
    return np.array([sim.times[np.argmax(row)] if row.any() else np.inf for row in reached])


def at(sim, quantity, day):
    return np.array([np.interp(day, sim.times, row) for row in sim[quantity]])


def worst(sim):
    return np.max([sim[name] for name in REVERSIBLE], axis=0)


@pytest.fixture(scope="module")
def typical():
    """A healthy child and the typical child of each class, untreated from birth: rows in that order."""
    children = (ipx.load_patient("healthy_child"), *(boy(name) for name in ORDER))
    group = Population("typical", children, np.arange(len(children)), seed=0, varies=frozenset())
    return ipx.simulate(group, ipx.load_regimen("untreated"), output_times=SPARSE, options=FAST)


@pytest.fixture(scope="module")
def severe():
    """Boys with almost no Treg function, who differ in everything else, untreated from birth."""
    group = ipx.virtual_population(boy("polyadenylation"), 24, seed=11)
    return ipx.simulate(group, ipx.load_regimen("untreated"), output_times=SPARSE, options=FAST)


def test_healthy_child_is_never_ill(typical):
    """Treg 4.8 % of CD4 at birth, then about 7 % (E087, E088, E212); IgE under its limit (E084)."""
    healthy = typical.pick([0])
    assert worst(healthy).max() < 0.02
    assert np.all(healthy["ige"] < healthy["ige_limit"])
    assert 4.5 < healthy["treg_percent"][0, 0] < 5.1
    assert np.all((healthy["treg_percent"][0, 6:] > 5) & (healthy["treg_percent"][0, 6:] < 7.5))
    assert healthy["beta_cell_mass"].min() > 0.95
    assert healthy["survival"][0, -1] > 0.995
    assert healthy.patient_endpoints()["infection_risk"].item() < 0.02


def test_without_treg_function_gut_skin_and_ige_come_in_weeks_to_months(severe):
    """Gut 97 %, skin 89 % with onset at 0-4 months (E052, E054, E079); IgE near normal at birth, thousands within six
    months (E080, E081); onset before a month in 41 % of all classes (E003)."""
    gut, skin = day_of(severe, severe["gut_injury"] > 0.25), day_of(severe, severe["skin_injury"] > 0.25)
    assert np.median(gut) < 60
    assert np.median(skin) < 60
    assert np.mean(np.minimum(gut, skin) < 180) > 0.9
    assert np.all(at(severe, "ige", 0.0) < 10)
    assert np.median(at(severe, "ige", 180.0)) > 1000
    assert at(severe, "ige", 180.0).max() > 5000


def test_without_treg_function_half_become_diabetic_and_most_die_within_two_years(severe):
    """Most die within one to two years untreated (E073), often by sepsis; diabetes in 49 % (E055)."""
    assert severe.patient_endpoints()["survival_2y"].mean() < 0.5
    assert 0.3 < at(severe, "survival", YEAR).mean() < 0.75
    diabetic = day_of(severe, severe["beta_cell_mass"] < 0.2)
    assert 0.3 < np.mean(diabetic < 3 * YEAR) < 0.9
    assert diabetic.min() < 120
    answers = severe.patient_endpoints()
    infection = answers["death_infection"].mean() / (answers["death_infection"] + answers["death_disease"]).mean()
    assert 0.35 < infection < 0.65


def test_residual_function_comes_later_and_milder_class_by_class(typical):
    """Survival at 10 years rises from deletion to in-frame (E047-E051); so do age at onset and health here."""
    ill = typical.pick(slice(1, None))
    assert list(day_of(ill, ill["gut_injury"] > 0.25)) == sorted(day_of(ill, ill["gut_injury"] > 0.25))
    assert day_of(ill, ill["gut_injury"] > 0.25)[-1] > day_of(ill, ill["gut_injury"] > 0.25)[0] + 10
    for quantity in ("gut_injury", "skin_injury", "ige", "oi_score"):
        assert np.all(np.diff(ill[quantity].max(axis=1)) < 0), quantity
    assert np.all(np.diff(ill["survival"][:, -1]) > 0)


TAPER = """
name: sirolimus_then_taper
description: Sirolimus for a year, then tapered to nothing.
doses:
  - drug: sirolimus
    amount: 3 mg/m2
    route: oral
    every: 1 day
    taper:
      - {after: 365 day, by: 25 %, every: 14 day, until: 0.5 mg/m2}
      - {after: 14 day, to: 0 mg/m2}
    source: {assumed: for a test}
"""


def test_sirolimus_controls_and_the_disease_comes_back_on_taper(tmp_path):
    """Rapamycin alone helped 8 of 10 (E160, E161); diarrhoea fell from 76 to 20 % on drugs (E165, E166)."""
    path = tmp_path / "taper.yaml"
    path.write_text(TAPER)
    group = ipx.virtual_population(boy("missense", 365.0), 8, seed=2)
    times = np.arange(0.0, 801.0, 10.0)
    sim = ipx.simulate(group, ipx.load_regimen(path), output_times=times, options=FAST)
    bad = np.maximum(sim["gut_injury"], sim["skin_injury"])
    began_ill = bad[:, 0] > 0.25
    assert began_ill.sum() >= 6
    controlled = began_ill & (at(sim, "gut_injury", 360.0) < 0.1)
    assert controlled.sum() >= 0.7 * began_ill.sum()
    assert np.all(at(sim, "ige", 360.0)[controlled] < at(sim, "ige", 0.0)[controlled] / 4)
    assert np.mean(bad[controlled][:, -1] > 0.25) >= 0.8
    answers = sim.patient_endpoints()
    assert answers["death_infection"].mean() > answers["death_disease"].mean()


@pytest.fixture(scope="module")
def grafts():
    """The transplant of the published boy in children like him: four usual ones, the four of 300 who reject most."""
    everyone = ipx.virtual_population(ipx.load_patient("seidel_2009"), 300, seed=1)
    strength = np.argsort(everyone.values(ipx.load_parameters("disease")["rejection_rate"]))
    group = everyone.pick([*strength[148:152], *strength[-4:]])
    times = np.r_[np.arange(0.0, 160.0, 5.0), np.arange(160.0, 1861.0, 20.0)]
    return ipx.simulate(group, ipx.load_regimen("seidel_2009"), output_times=times, options=FAST)


def test_after_transplant_gut_and_skin_heal_in_a_month(grafts):
    """All symptoms gone 30 days after transplant, engraftment on day 12 (E144)."""
    assert np.mean(np.maximum(at(grafts, "gut_injury", 30.0), at(grafts, "skin_injury", 30.0)) > 0.25) > 0.7
    assert np.all(np.maximum(at(grafts, "gut_injury", 62.0), at(grafts, "skin_injury", 62.0)) < 0.1)
    engrafted = day_of(grafts, (grafts["neutrophils"] > 1000) & (grafts.times > 32))
    assert np.all(engrafted - 30.0 < 25)


def test_donor_treg_at_one_to_two_percent_keep_remission_when_the_graft_is_lost(grafts):
    """All donor lineages lost but > 90 % of Treg, at 1-2 % of CD4; six years well without drugs (E141-E143)."""
    lost = grafts.pick(slice(4, None))
    for lineage in ("myeloid", "t", "b"):
        assert np.all(at(lost, f"chimerism_{lineage}", 30.0 + 730.0) < 0.1)
    late = lost.times > 30.0 + 730.0
    assert np.all(lost["chimerism_treg"][:, late] > 0.9)
    assert np.all((lost["treg_percent"][:, late] > 1.0) & (lost["treg_percent"][:, late] < 2.2))
    assert worst(lost)[:, late].max() < 0.1
    assert np.all(lost["ige"][:, -1] < lost["ige_limit"][:, -1])


def test_a_usual_graft_stays(grafts):
    """Full chimerism in 31 of 53 (E131)."""
    assert np.all(at(grafts.pick(slice(0, 4)), "chimerism_myeloid", 30.0 + 730.0) > 0.8)


def test_diabetes_at_transplant_stays(grafts):
    """Diabetes present at transplant persists (E139)."""
    before, after = at(grafts, "beta_cell_mass", 30.0), grafts["beta_cell_mass"][:, -1]
    diabetic = before < 0.2
    assert diabetic.any()
    assert np.all(after[diabetic] < 0.2)
    assert np.all(after < before + 0.05)
