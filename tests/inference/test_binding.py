"""Problems bound to data: NONMEM's predictions, row independence, groups, doses, and what is refused."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest
from map_problems import CASES, map_problem
from references import reference

from ipex_pd.errors import IpexError, RecordError, SolverError
from ipex_pd.inference.binding import BoundProblem, bind, predict
from ipex_pd.inference.group import Group
from ipex_pd.records import library
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

DECAY: dict[str, Any] = {
    "name": "wang",
    "description": "Wang 2007",
    "model": "exponential_decay",
    "parameters": {"tvk": 0.5, "start_value": 10, "s": 0.1},
    "random_effects": {"between_subject": {"eta": {"variance": 0.04}}},
    "individual": {"decay_rate": {"typical": "tvk", "random": "eta"}},
}


def start(bound: BoundProblem, group: Group, **values: float) -> np.ndarray:
    thetas = [values.get(t.name, t.start) for t in bound.population.thetas]
    return np.tile(np.array(thetas), (group.shape[0], 1))


def predicted(bound: BoundProblem, etas: np.ndarray, **values: float) -> list[np.ndarray]:
    """Means of the observations of each subject, in the order of its rows; etas [subjects, q]."""
    found: list[np.ndarray] = [np.array([])] * len(bound.subjects)
    for group, places in zip(bound.groups, bound.places, strict=True):
        mean = np.asarray(predict(group, start(bound, group, **values), etas[group.subjects]).mean)
        for row, subject in enumerate(group.subjects):
            mask = np.asarray(group.mask)[row]
            found[subject] = mean[row, mask][np.argsort(places[row, mask], kind="stable")]
    return found


@pytest.mark.parametrize("run", ["001", "003", "005", "007", "101", "203", "401"])
def test_predictions_and_individual_predictions_of_nonmem(run):
    folder = reference("map")
    bound = bind(map_problem(run, folder))
    table = pd.read_csv(folder / f"run{run}_data.csv", na_values=".")
    subject = table.ID.ne(table.ID.shift()).cumsum()
    observed = [rows[(rows.EVID == 0) & (rows.MDV == 0)] for _, rows in table.groupby(subject)]
    phi = pd.read_csv(folder / f"run{run}_phi.csv")
    etas = phi[[f"ETA({i + 1})" for i in range(len(CASES[run]["values"]))]].to_numpy()
    for column, at in (("NM_PRED", 0 * etas), ("NM_IPRED", etas)):
        for own, rows in zip(predicted(bound, at), observed, strict=True):
            # The files print nine digits; etas of lagged doses move predictions by 5e-8 in their last digit.
            np.testing.assert_allclose(own, rows[column], rtol=1e-7, atol=1e-7 * rows[column].max())


def test_phenobarbital_gives_nonmems_population_predictions():
    folder = reference("pheno")
    estimate = json.loads((folder / "reference.json").read_text())["pheno_real_FOCEI"]["estimate"]
    bound = bind(library.load_problem("phenobarbital"))
    values = {"tvcl": estimate["THETA1"], "tvv": estimate["THETA2"], "low_apgar": estimate["THETA3"]}
    own = np.concatenate(predicted(bound, np.zeros((59, 2)), **values))
    table = pd.read_csv(folder / "pheno_real_FOCEI.tab", sep=r"\s+", skiprows=1)
    observed = np.concatenate([s.observed for s in bound.subjects])
    assert observed.sum() == 155
    np.testing.assert_allclose(own, table.PRED[observed], rtol=6e-5)  # five printed digits, six of the estimates
    etas = pd.read_csv(folder / "pheno_real_FOCEI_phi.csv")[["ETA(1)", "ETA(2)"]].to_numpy()
    own = np.concatenate(predicted(bound, etas, **values))
    np.testing.assert_allclose(own, table.IPRED[observed], rtol=6e-5)


def test_phenobarbital_by_typed_numbers_of_nonmem():
    """Estimates and table of a NONMEM FOCEI run as printed (pheno_real, the example that Pharmpy carries)."""
    values = {"tvcl": 0.00469555, "tvv": 0.984258, "low_apgar": 0.15892}
    own = predicted(bind(library.load_problem("phenobarbital")), np.zeros((59, 2)), **values)
    np.testing.assert_allclose(own[0], [17.970, 28.649], rtol=5e-5)
    np.testing.assert_allclose(own[1], [10.063, 18.402, 25.783], rtol=5e-5)
    np.testing.assert_allclose(own[2], [20.175, 26.024, 31.522], rtol=5e-5)


def linearised_objective(bound: BoundProblem, omega: np.ndarray, **values: float) -> float:
    """The FO objective written out with NumPy: y ~ N(f(0), R + J Omega J')."""
    total = 0.0
    for group in bound.groups:
        theta, zero = start(bound, group, **values), np.zeros((group.shape[0], len(omega)))
        slopes = jax.jacfwd(lambda e, g=group, t=theta, z=zero: predict(g, t, z + e).mean)(np.zeros(len(omega)))
        at = predict(group, theta, zero)
        for i in range(group.shape[0]):
            own = np.asarray(group.mask)[i]
            slope, residual = np.asarray(slopes)[i, own], (group.y[i] - np.asarray(at.mean)[i])[own]
            spread = np.diag(np.asarray(at.variance)[i, own]) + slope @ omega @ slope.T
            total += np.linalg.slogdet(spread)[1] + residual @ np.linalg.solve(spread, residual)
            total += group.jacobian[i, own].sum()
    return total


def test_theophylline_gives_nonmems_fo_objective():
    folder = reference("theophylline")
    estimate = json.loads((folder / "reference.json").read_text())["CONTROL5_FO"]["estimate"]
    problem = from_data(
        EstimationProblem,
        {
            "name": "control5",
            "description": "NONMEM guide, problem 5",
            "folder": str(folder),
            "data": {"file": "theopp_nonmem.csv", "covariates": {"WT": {"unit": "kg", "fill": "first"}}},
            "model": "one_compartment_oral",
            "parameters": {
                "tka": estimate["THETA1"],
                "tk": estimate["THETA2"],
                "tcl": estimate["THETA3"],
                "s2": 0.387509,
            },
            "random_effects": {"between_subject": {f"eta_{i}": {"variance": 1} for i in (1, 2, 3)}},
            "individual": {
                "absorption_rate": "tka + eta_1",
                "k": "tk + eta_2",
                "clearance": "tcl * WT + eta_3",
                "volume_central": "clearance / k",
            },
            "endpoints": {
                "drug": {
                    "prediction": "concentration * WT",
                    "error": {"model": "additive", "additive": "s2", "coefficients": "variance"},
                }
            },
        },
    )
    omega = np.array([[estimate[f"OMEGA({max(i, j)},{min(i, j)})"] for j in (1, 2, 3)] for i in (1, 2, 3)])
    # Printed with six digits: omega to 1e-6 relative moves the objective by less than 1e-4.
    assert linearised_objective(bind(problem), omega) == pytest.approx(104.561068, abs=2e-4)


WANG = {
    "prop": {"model": "proportional", "proportional": "s", "coefficients": "variance"},
    "add": {"model": "additive", "additive": "s", "coefficients": "variance"},
    "add+prop combined2": {"model": "combined2", "additive": "s", "proportional": "s", "coefficients": "variance"},
    "lnorm (additive on log)": {"model": "exponential", "additive": "s", "coefficients": "variance"},
}


@pytest.mark.parametrize("name", WANG)
def test_wang_2007_first_order_objectives(name):
    folder = reference("wang2007")
    expected = {entry["model"]: entry["fo"] for entry in json.loads((folder / "reference.json").read_text())}
    endpoint = {"prediction": "level", "error": WANG[name]}
    data = {"file": "wang2007.csv", "columns": {"time": "Time", "dv": "Y"}}
    problem = {**DECAY, "folder": str(folder), "data": data, "endpoints": {"y": endpoint}}
    bound = bind(from_data(EstimationProblem, problem))
    assert linearised_objective(bound, np.array([[0.04]])) == pytest.approx(expected[name], abs=1e-9)


def test_covariates_that_change_rule_the_interval_that_ends_at_their_record():
    folder = reference("events")
    problem = {
        "name": "varying",
        "description": "NONMEM with a weight that changes",
        "folder": str(folder),
        "data": {"file": "time_varying_2001.csv", "columns": {"dv": "CP"}, "covariates": ["WT"], "drop": ["CL"]},
        "model": "one_compartment_oral",
        "parameters": {"tvcl": 1.1, "volume_central": 20, "absorption_rate": 1.5, "beta": 0.75, "sd": 1},
        "individual": {
            "clearance": {
                "typical": "tvcl",
                "covariates": [{"covariate": "WT", "kind": "power", "centre": 70, "coefficient": "beta"}],
            }
        },
        "endpoints": {"cp": {"prediction": "1000 * concentration", "error": {"model": "additive", "additive": "sd"}}},
    }
    bound = bind(from_data(EstimationProblem, problem))
    for own, subject in zip(predicted(bound, np.zeros((len(bound.subjects), 0))), bound.subjects, strict=True):
        np.testing.assert_allclose(own, subject.dv[subject.observed], rtol=6e-5)  # five printed digits


def test_every_dosing_scenario_of_nonmem_through_a_problem():
    folder = reference("events")
    problem = {
        "name": "events",
        "description": "Doses with lag, bioavailability, modelled duration, steady state and resets",
        "folder": str(folder),
        "data": {
            "file": "events.csv",
            "columns": {"dv": "CP"},
            "covariates": ["LAGT", "BIOAV", "DUR2"],
            "drop": ["MODE", "RAT2"],
        },
        "model": "one_compartment_oral",
        "parameters": {"clearance": 1.1, "volume_central": 20, "absorption_rate": 1.5, "sd": 1},
        "doses": {"central": {"lag": "LAGT", "bioavailability": "BIOAV", "duration": "DUR2"}},
        "endpoints": {"cp": {"prediction": "1000 * concentration", "error": {"model": "additive", "additive": "sd"}}},
    }
    bound = bind(from_data(EstimationProblem, problem))
    assert len(bound.subjects) == 14
    for own, subject in zip(predicted(bound, np.zeros((14, 0))), bound.subjects, strict=True):
        expected = subject.dv[subject.observed]  # five printed digits
        np.testing.assert_allclose(own, expected, rtol=6e-5, atol=1e-9, err_msg=f"scenario {subject.id}")


@pytest.fixture(scope="module")
def pair() -> BoundProblem:
    return bind(library.load_problem("synthetic_indirect_response"))


def test_rows_do_not_depend_on_each_other(pair):
    (group,) = pair.groups
    rng = np.random.default_rng(1)
    theta, eta = start(pair, group), 0.2 * rng.normal(size=(group.shape[0], 3))
    whole = predict(group, theta, eta)
    rows = np.array([5, 2, 2, 20])
    some = predict(group.take(rows), theta[rows], eta[rows])
    np.testing.assert_array_equal(np.asarray(some.mean), np.asarray(whole.mean)[rows])
    np.testing.assert_array_equal(np.asarray(some.variance), np.asarray(whole.variance)[rows])
    disturbed = eta.copy()
    disturbed[0] = np.nan
    after = predict(group, theta, disturbed)
    np.testing.assert_array_equal(np.asarray(after.mean)[1:], np.asarray(whole.mean)[1:])


def test_gradients_stay_finite_in_padding_and_where_a_logarithm_meets_it(pair):
    (group,) = pair.groups
    theta, eta = start(pair, group), np.zeros((group.shape[0], 3))

    def total(t, e):
        found = group.predict(t, e)
        return (jax.numpy.where(group.mask, found.mean + found.variance, 0.0)).sum()

    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(theta, eta)
    assert all(np.isfinite(np.asarray(s)).all() for s in slopes)
    assert not np.asarray(group.mask).all()


def test_the_joined_model_gives_the_response_of_an_independent_integrator(pair):
    truth = {"tvcl": 0.5, "tvv": 10.0, "tvkin": 5.0, "kout": 0.05, "ic50": 1.5}
    from scipy.integrate import solve_ivp

    made = runpy.run_path(str(library.cohort_files()["synthetic_decay"].parent / "make_synthetic.py"))
    own = predicted(pair, np.zeros((24, 3)), **truth)
    times = np.array([1.0, 4.0, 12.0, 24.0, 48.0, 72.0, 120.0])
    for subject, dose in ((0, 100.0), (1, 200.0), (2, 50.0)):
        solved = solve_ivp(
            made["_indirect"](dose, 1.0, 0.5, 10.0, 5.0, 0.05, 1.5),
            (0, 120),
            [100.0],
            "LSODA",
            times,
            rtol=1e-11,
            atol=1e-11,
        )
        level = made["_oral"](dose, times, 1.0, 0.5, 10.0)
        np.testing.assert_allclose(own[subject][0::2], np.log(level), rtol=1e-7)
        np.testing.assert_allclose(own[subject][1::2], solved.y[0], rtol=1e-7)


def test_synthetic_tables_are_drawn_again_number_by_number():
    made = runpy.run_path(str(library.cohort_files()["synthetic_decay"].parent / "make_synthetic.py"))
    for name, draw in made["COHORTS"].items():
        assert library.cohort_files()[name].read_text(encoding="utf-8") == made["as_csv"](draw()), name


def test_occasions_have_random_effects_of_their_own():
    bound = bind(library.load_problem("synthetic_two_compartments"))
    assert bound.population.eta_names == ("eta_cl", "eta_v1", "occ_cl[1]", "occ_cl[2]")
    (group,) = bound.groups
    assert np.asarray(group.eta_mask).all()
    theta, zero = start(bound, group), np.zeros((group.shape[0], 4))
    second = zero.copy()
    second[:, 3] = 0.5
    changed = np.asarray(predict(group, theta, second).mean) != np.asarray(predict(group, theta, zero).mean)
    first = np.array([[s.occ[p] == 1 for p in row] for s, row in zip(bound.subjects, bound.places[0], strict=True)])
    assert not changed[np.asarray(group.mask) & first].any()
    assert changed[np.asarray(group.mask) & ~first].all()
    both = zero.copy()
    both[:, 2:] = 0.5
    alike = zero.copy()
    alike[:, 0] = 0.5
    np.testing.assert_allclose(predict(group, theta, both).mean, predict(group, theta, alike).mean, rtol=1e-12)


ORAL = "ID,TIME,AMT,DV\n1,0,100,.\n1,1,.,1\n1,5,.,1\n1,12,.,1\n2,0,50,.\n2,3,.,1\n"


def oral(folder: Path, text: str = ORAL, **parts: Any) -> EstimationProblem:
    (folder / "data.csv").write_text(text, encoding="utf-8")
    data = {
        "name": "oral",
        "description": "A test",
        "folder": str(folder),
        "data": {"file": "data.csv"},
        "model": "one_compartment_oral",
        "parameters": {"clearance": 3.0, "volume_central": 30.0, "absorption_rate": 1.0, "sd": 0.1},
        "endpoints": {"drug": {"prediction": "concentration", "error": {"model": "additive", "additive": "sd"}}},
        **parts,
    }
    return from_data(EstimationProblem, data)


def bateman(t, dose, ka=1.0, k=0.1, v=30.0):
    t = np.maximum(t, 0)
    return dose * ka / v / (ka - k) * (np.exp(-k * t) - np.exp(-ka * t))


def infusion(t, dose, length, k=0.1, v=30.0):
    rate, after = dose / length / (k * v), np.maximum(t - length, 0)
    return rate * (1 - np.exp(-k * np.minimum(t, length))) * np.exp(-k * after)


def test_lag_and_bioavailability_are_formulas_over_individual_values(tmp_path):
    values = {"clearance": 3, "volume_central": 30, "absorption_rate": 1, "sd": 0.1, "tlag": 0.5, "f": 0.8}
    problem = oral(tmp_path, parameters=values, doses={"depot": {"lag": "tlag", "bioavailability": "f ** 2"}})
    own = predicted(bind(problem), np.zeros((2, 0)))
    np.testing.assert_allclose(own[0], bateman(np.array([0.5, 4.5, 11.5]), 64), rtol=1e-10)
    np.testing.assert_allclose(own[1], bateman(np.array([2.5]), 32), rtol=1e-10)


def test_one_dose_can_enter_in_two_ways(tmp_path):
    values = {"clearance": 3, "volume_central": 30, "absorption_rate": 1, "sd": 0.1, "share": 0.3, "length": 4}
    doses = {
        "depot": {"bioavailability": "share"},
        "central": {"copies": "depot", "bioavailability": "1 - share", "duration": "length", "infuse": "all"},
    }
    problem = oral(tmp_path, parameters=values, doses=doses, model="one_compartment_mixed_absorption")
    own = predicted(bind(problem), np.zeros((2, 0)))
    times = np.array([1.0, 5.0, 12.0])
    np.testing.assert_allclose(own[0], bateman(times, 30) + infusion(times, 70, 4), rtol=1e-10)


def test_zero_order_absorption(tmp_path):
    values = {"clearance": 3, "volume_central": 30, "sd": 0.1, "length": 4}
    doses = {"central": {"duration": "length", "infuse": "all"}}
    problem = oral(tmp_path, parameters=values, doses=doses, model="one_compartment_zero_order")
    own = predicted(bind(problem), np.zeros((2, 0)))
    np.testing.assert_allclose(own[0], infusion(np.array([1.0, 5.0, 12.0]), 100, 4), rtol=1e-10)


@pytest.mark.parametrize("name", ["one_compartment_oral", "two_compartments", "three_compartments_oral"])
def test_closed_forms_agree_with_the_same_rates_written_out(tmp_path, name):
    model = library.load_model(name)
    values = {n: 1.0 + 0.7 * i for i, n in enumerate(model.parameters)} | {"sd": 0.1}
    closed = predicted(bind(oral(tmp_path, parameters=values, model=name)), np.zeros((2, 0)))
    rates = {**model.as_rates().as_data(), "name": "written_out"}
    written = predicted(bind(oral(tmp_path, parameters=values, model=rates)), np.zeros((2, 0)))
    np.testing.assert_allclose(np.concatenate(closed), np.concatenate(written), rtol=1e-9)


def test_individual_values_are_told_by_row():
    bound = bind(library.load_problem("phenobarbital"))
    theta = np.array([t.start for t in bound.population.thetas])
    etas = [np.full((g.shape[0], 2), 0.1) for g in bound.groups]
    (group,), (values,) = bound.groups, bound.individual_values(theta, etas)
    weight = np.array([s.covariates["WT"][0] for s in bound.subjects])[group.subjects]
    np.testing.assert_allclose(np.asarray(values["clearance"])[:, 0], 0.005 * weight * np.exp(0.1), rtol=1e-14)


def test_subjects_of_very_different_lengths_make_few_groups(tmp_path):
    lines = ["ID,TIME,AMT,DV"]
    for subject in range(1, 41):
        lines += [f"{subject},0,100,."]
        lines += [f"{subject},{t},.,1" for t in range(1, (60 if subject % 10 == 0 else 4))]
    bound = bind(oral(tmp_path, "\n".join(lines)))
    assert 2 <= len(bound.groups) <= 3
    assert sorted(int(i) for g in bound.groups for i in g.subjects) == list(range(40))
    assert len({g.predictor for g in bound.groups}) == 1
    own = predicted(bound, np.zeros((40, 0)))
    np.testing.assert_allclose(own[9], bateman(np.arange(1.0, 60.0), 100), rtol=1e-9)
    np.testing.assert_allclose(own[10], bateman(np.arange(1.0, 4.0), 100), rtol=1e-9)


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"doses": {"central": {"lag": "sd"}}}, ORAL, "no dose of the data goes to `central`"),
    ({"doses": {"depot": {"duration": "sd"}}}, ORAL, "the duration of doses into `depot` is never used"),
    ({}, "ID,TIME,AMT,DV,CMT\n1,0,100,.,3\n1,1,.,1,2\n", "Doses go to a compartment of the model"),
    ({}, "ID,TIME,AMT,RATE,DV\n1,0,100,-2,.\n1,1,.,.,1\n", "takes the duration from the model"),
    (
        {
            "endpoints": {
                "drug": {"prediction": "concentration", "dvid": 2, "error": {"model": "additive", "additive": "sd"}}
            }
        },
        "ID,TIME,AMT,DV,DVID\n1,0,100,.,.\n1,1,.,1,1\n",
        "Every observation belongs to one endpoint",
    ),
    (
        {
            "random_effects": {"between_occasion": {"kappa": {"sd": 0.1}}},
            "individual": {"clearance": {"typical": "tv", "random": "kappa"}},
            "parameters": {"tv": 3, "volume_central": 30, "absorption_rate": 1, "sd": 0.1},
        },
        ORAL,
        "`kappa` differs between occasions and no subject has two",
    ),
    (
        {"parameters": {"clearance": 3, "volume_central": 30, "absorption_rate": 1, "sd": 0}},
        ORAL,
        "the residual variance of",
    ),
    ({"model": "one_compartment_orl"}, ORAL, "is not a shipped structural model"),
    ({"doses": {"gut": {"lag": "sd"}}}, ORAL, "`gut` is not a compartment"),
]


@pytest.mark.parametrize(("parts", "text", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_what_cannot_be_honoured_is_refused(tmp_path, parts, text, message):
    with pytest.raises(IpexError) as told:
        bind(oral(tmp_path, text, **parts))
    assert message in told.value.message
    assert told.value.code


def test_a_model_too_stiff_for_its_steps_names_the_subject(tmp_path):
    text = ORAL.replace("\n1,", "\nanna,").replace("\n2,", "\nbert,")
    values = {"absorption_rate": 1e7, "vmax": 1.0, "km": 1.0, "volume_central": 30.0, "sd": 0.1}
    with pytest.raises(SolverError, match="subject anna: slot"):
        bind(oral(tmp_path, text, parameters=values, model="one_compartment_oral_michaelis_menten"))


def test_a_subject_without_observations_stays_and_adds_nothing(tmp_path):
    bound = bind(oral(tmp_path, ORAL + "3,0,100,.\n"))
    (group,) = bound.groups
    assert not np.asarray(group.mask)[2].any()
    assert np.isfinite(np.asarray(predict(group, start(bound, group), np.zeros((3, 0))).mean)).all()


def test_equal_problems_share_their_compiled_program(tmp_path):
    first, second = bind(oral(tmp_path)), bind(oral(tmp_path))
    assert first.groups[0].predictor == second.groups[0].predictor
    predict(first.groups[0], start(first, first.groups[0]), np.zeros((2, 0)))
    before = predict._cache_size()
    predict(second.groups[0], start(second, second.groups[0]), np.zeros((2, 0)))
    assert predict._cache_size() == before


def test_priors_reach_the_population(tmp_path):
    values = {
        "clearance": {"start": 3, "prior": {"distribution": "log_normal", "median": 2, "sd": 0.5}},
        "volume_central": {"start": 30, "prior": {"distribution": "normal", "mean": 25, "sd": 5}},
        "absorption_rate": 1,
        "sd": 0.1,
    }
    bound = bind(oral(tmp_path, parameters=values))
    # ((log 3 - log 2)/0.5)^2 + 2 log 3 and ((30 - 25)/5)^2
    expected = (np.log(1.5) / 0.5) ** 2 + 2 * np.log(3) + 1
    assert float(bound.population.penalty(bound.population.start)) == pytest.approx(expected)


def test_a_dose_in_a_model_without_compartments_is_refused(tmp_path):
    (tmp_path / "data.csv").write_text(ORAL, encoding="utf-8")
    problem = {**DECAY, "folder": str(tmp_path), "data": {"file": "data.csv"}}
    problem["endpoints"] = {"y": {"prediction": "level", "error": {"model": "additive", "additive": "s"}}}
    with pytest.raises(RecordError, match="Doses go to a compartment of the model"):
        bind(from_data(EstimationProblem, problem))
