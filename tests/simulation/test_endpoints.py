"""Endpoints on simulations made by hand, against closed forms."""

import numpy as np
import pytest
from simulations_by_hand import made

from ipex_pd.errors import UnknownKeyError
from ipex_pd.simulation.endpoints import available, endpoint, registry, unavailable
from ipex_pd.simulation.questions import ORGANS
from ipex_pd.simulation.summary import quantile, summarise
from ipex_pd.simulation.tables import DoseTable, Exposure, TroughTable
from ipex_pd.simulation.thresholds import THRESHOLDS

WEEKS = np.arange(0.0, 366.0, 7.0)
DAYS = np.arange(0.0, 401.0)


def organs(worst: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.zeros_like(worst) for name in ORGANS} | {"gut_injury": worst}


def test_survival_and_causes_of_death():
    rates = {"disease": 1e-3, "infection": 2e-3, "transplant": 0.0}
    hazards = {f"cumulative_hazard_{cause}": rate * DAYS[None] for cause, rate in rates.items()}
    sim = made(DAYS, hazards | {"survival": np.exp(-3e-3 * DAYS)[None]})
    assert endpoint(sim, "survival_1y") == pytest.approx(np.exp(-3e-3 * 365.25), rel=1e-6)
    assert endpoint(sim, "restricted_mean_survival") == pytest.approx(-np.expm1(-1.2) / 3e-3, rel=1e-9)
    assert endpoint(sim, "death_infection") == pytest.approx(-np.expm1(-1.2) * 2 / 3, rel=1e-9)
    total = sum(endpoint(sim, f"death_{cause}") for cause in rates)
    assert total + endpoint(sim, "survival") == pytest.approx(1.0, abs=1e-12)


def test_an_event_competes_with_death():
    hazards = {f"cumulative_hazard_{cause}": 0.0 * DAYS[None] for cause in ("disease", "infection")}
    hazards |= {"cumulative_hazard_transplant": 1e-3 * DAYS[None], "cumulative_hazard_gvhd": 1e-3 * DAYS[None]}
    assert endpoint(made(DAYS, hazards), "gvhd") == pytest.approx(-np.expm1(-0.8) / 2, rel=1e-9)


def test_remission_relapse_and_their_times():
    healed = np.interp(DAYS, [0, 100], [1.0, 0.0])
    relapsed = np.interp(DAYS, [0, 100, 200, 300], [1.0, 0.0, 0.0, 1.0])
    never = np.ones_like(DAYS)
    sim = made(DAYS, organs(np.stack([healed, relapsed, never])) | {"survival": np.full((3, DAYS.size), 0.8)})
    table = sim.patient_endpoints()
    assert table["time_to_remission"].to_numpy() == pytest.approx([90.0, 90.0, np.inf])
    assert table["remission"].tolist() == [1.0, 0.0, 0.0]
    assert table["alive_in_remission"].tolist() == [0.8, 0.0, 0.0]
    assert table["time_to_relapse"].to_numpy() == pytest.approx([np.inf, 225.0, np.nan], nan_ok=True)
    assert table["relapse"].to_numpy() == pytest.approx([0.0, 1.0, np.nan], nan_ok=True)


def test_a_child_who_is_never_ill_is_in_remission_from_the_start():
    assert endpoint(made(DAYS, organs(np.zeros((1, DAYS.size)))), "time_to_remission") == [0.0]


def test_diabetes_counts_only_in_those_who_live_to_see_it():
    mass = np.stack([np.interp(DAYS, [0, 100], [1.0, 0.0]), np.ones_like(DAYS), np.zeros_like(DAYS)])
    survival = np.tile(np.exp(-1e-3 * DAYS), (3, 1))
    sim = made(DAYS, {"beta_cell_mass": mass, "survival": survival})
    assert endpoint(sim, "time_to_diabetes") == pytest.approx([80.0, np.inf, 0.0])
    assert endpoint(sim, "diabetes") == pytest.approx([np.exp(-0.08), 0.0, 1.0])
    assert endpoint(sim, "diabetes_free_survival") == pytest.approx([0.0, np.exp(-0.4), 0.0])


def test_counts_and_infection():
    neutrophils = np.interp(DAYS, [0, 100, 200], [2000.0, 0.0, 2000.0])[None]
    sim = made(DAYS, {"neutrophils": neutrophils, "cumulative_hazard_serious_infection": 1e-3 * DAYS[None]})
    assert endpoint(sim, "days_severe_neutropenia") == pytest.approx([50.0])
    assert endpoint(sim, "days_neutropenia") == pytest.approx([100.0])
    assert endpoint(sim, "infection_risk") == pytest.approx([-np.expm1(-0.4)])


def test_changes_and_folds():
    courses = {"height_z": [[-1.0, -2.5]], "ige": [[100.0, 25.0]], "steroid_burden": [[3.0, 90.0]]}
    sim = made(np.array([0.0, 30.0]), {name: np.array(rows) for name, rows in courses.items()})
    assert endpoint(sim, "height_z_change") == pytest.approx([-1.5])
    assert endpoint(sim, "ige_fold") == pytest.approx([0.25])
    assert endpoint(sim, "steroid_dose") == pytest.approx([87.0])


def dosed(times: np.ndarray, course: np.ndarray, troughs: TroughTable | None = None):
    every_day = np.arange(0.0, 365.0)[None]
    doses = DoseTable(("tacrolimus",) * 365, ("oral",) * 365, every_day, np.ones((1, 365)), np.zeros((1, 365)))
    exposure = Exposure("tacrolimus", "tacrolimus", "tacrolimus_auc", 5.0, 10.0)
    values = {"tacrolimus": course[None], "tacrolimus_auc": 8.0 * times[None]}
    units = {"tacrolimus": "ng/mL", "tacrolimus_auc": "ng/mL*day"}
    return made(times, values, units=units, exposures=(exposure,), doses=doses, troughs=troughs)


def test_troughs_are_read_before_doses_and_not_before_the_first():
    course = np.where(WEEKS < 180, 4.0, 6.0)
    course[0] = 0.0
    sim = dosed(WEEKS, course)
    known = course[(WEEKS > 0) & (WEEKS < 365)]
    assert endpoint(sim, "trough_tacrolimus") == pytest.approx([known.mean()])
    assert endpoint(sim, "in_window_tacrolimus") == pytest.approx([np.mean(known >= 5)])
    assert endpoint(sim, "auc_tacrolimus") == pytest.approx([8.0 * WEEKS[-1]])
    assert endpoint(sim, "average_tacrolimus") == pytest.approx([8.0])


def test_the_average_is_over_the_days_on_the_drug_and_not_its_washout():
    days = np.arange(0.0, 101.0)
    area = np.where(days < 28, 5.0 * days, 5.0 * 28 + 2.0 * (days - 28))
    doses = DoseTable(("rituximab",) * 4, ("iv",) * 4, 7.0 * np.arange(4)[None], np.ones((1, 4)), np.zeros((1, 4)))
    exposure = Exposure("rituximab", "rituximab", "auc_rituximab")
    values = {"rituximab": np.ones((1, days.size)), "auc_rituximab": area[None]}
    sim = made(days, values, exposures=(exposure,), doses=doses)
    assert endpoint(sim, "average_rituximab") == pytest.approx([5.0])
    assert endpoint(sim, "auc_rituximab") == pytest.approx([5.0 * 28 + 2.0 * 72])


def test_sampled_troughs_go_first():
    sampled = TroughTable(("tacrolimus",) * 2, np.array([7.0, 14.0]), np.array([[4.0, 7.0]]), np.array([[1.2, 1.2]]))
    sim = dosed(WEEKS, np.full(WEEKS.size, 9.0), sampled)
    assert endpoint(sim, "trough_tacrolimus") == pytest.approx([5.5])
    assert endpoint(sim, "in_window_tacrolimus") == pytest.approx([0.5])


def test_a_peak_needs_a_fine_grid():
    hours = np.arange(0.0, 10.0, 1 / 24)
    sine = 6.0 + 3.0 * np.sin(2 * np.pi * hours)
    assert endpoint(dosed(hours, sine), "peak_tacrolimus") == pytest.approx([9.0])
    assert "peak_tacrolimus" not in registry(dosed(WEEKS, np.ones(WEEKS.size)))


def test_what_cannot_be_answered_says_why():
    sim = made(WEEKS, {"survival": np.ones((1, WEEKS.size))})
    assert {question.name for question in available(sim)} == {"survival", "restricted_mean_survival"}
    assert unavailable(sim)["survival_5y"] == "needs 1826.25 days"
    assert unavailable(sim)["c_peptide"] == "needs c_peptide"
    with pytest.raises(UnknownKeyError, match="cannot be computed here: it needs c_peptide"):
        endpoint(sim, "c_peptide")
    with pytest.raises(UnknownKeyError, match="Nearest: `survival`"):
        endpoint(sim, "survivall")


def test_patients_the_solver_gave_up_on_have_no_answer():
    sim = made(WEEKS, {"survival": np.ones((2, WEEKS.size))}, alive=np.array([True, False]))
    assert sim.patient_endpoints()["survival"].to_numpy() == pytest.approx([1.0, np.nan], nan_ok=True)
    assert sim.endpoints().set_index("endpoint").loc["survival", "patients"] == 1


def test_times_not_reached_are_censored_not_lost():
    answer = summarise(np.array([10.0, 20.0, np.inf, np.inf, np.inf]))
    assert np.isinf(answer.median)
    assert np.isinf(answer.high)
    assert answer.low == pytest.approx(12.0)
    assert answer.reached == pytest.approx(0.4)
    assert np.isnan(answer.mean)
    assert quantile(np.array([1.0, 2.0, np.inf]), 0.5) == 2.0


def test_summary_agrees_with_numpy_on_plain_numbers():
    values = np.random.default_rng(0).normal(size=101)
    answer = summarise(values)
    assert (answer.low, answer.median, answer.high) == pytest.approx(tuple(np.quantile(values, [0.05, 0.5, 0.95])))


def test_every_threshold_says_where_it_comes_from():
    assert all(len(item.basis) > 30 for item in THRESHOLDS)
    assert len({item.name for item in THRESHOLDS}) == len(THRESHOLDS)


def test_every_endpoint_is_named_once_and_explained():
    sim = dosed(WEEKS, np.ones(WEEKS.size))
    questions = registry(sim).values()
    assert all(q.meaning and q.unit and q.better in {"higher", "lower", ""} for q in questions)
    assert all(name == q.name for name, q in registry(sim).items())
