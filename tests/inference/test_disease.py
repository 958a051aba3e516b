"""The disease as groups: the same numbers as the simulator, row by row, with exact gradients."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.errors import SimulationError, UnknownKeyError
from ipex_pd.inference.disease import audit, disease_groups
from ipex_pd.numerics.gradients import gradcheck
from ipex_pd.numerics.solve import SolverOptions
from ipex_pd.records.library import load_cohort_problem, load_parameters

COHORT = """
name: hand_made
description: Children of this test.
observations: children.csv
children:
  - {id: 1, patient: seidel_2009, regimen: prednisolone}
  - {id: 2, patient: sibling_1, regimen: untreated}
  - {id: 4, patient: bul_2014, regimen: rituximab_course}
  - id: 5
    patient: seidel_2009
    regimen:
      name: grafted
      description: A transplant without trough targets.
      doses:
        - {drug: prednisolone, amount: 1 mg/kg/day, route: oral, every: 12 h, stop: transplant}
      transplants:
        - {day: 45, conditioning: reduced, serotherapy: alemtuzumab, donor: matched_unrelated, graft: marrow}
  - {id: 9, patient: healthy_child, regimen: prednisolone}
"""
DAYS = {1: (-20, 0, 30, 91.5), 2: (10, 40, 100), 4: (5, 28, 90), 5: (20, 50, 80, 120), 9: (7, 60)}
PROBLEM = """
name: hand_made
description: A question of this test.
model: ipex
cohort: children.yaml
parameters:
  th2_pop: {start: 0.3, scale: log}
  capacity_pop: {start: 200, scale: log}
  shift: 0.0
  sd_ige: {start: 0.2, lower: 0}
  sd_weight: {start: 0.1, lower: 0}
random_effects:
  between_subject:
    eta_th2: {sd: 0.5}
    eta_capacity: {sd: 0.3}
    eta_function: {sd: 1}
individual:
  th2_share: {typical: th2_pop, random: eta_th2}
  effector_capacity: {typical: capacity_pop, random: eta_capacity}
  residual_function: >-
    0.1 * expit(logit(shipped_residual_function / 0.1) + shift + eta_function)
    if shipped_residual_function < 0.1 else shipped_residual_function
endpoints:
  ige: {prediction: ige, error: {model: exponential, additive: sd_ige}, censoring: m3}
  weight: {prediction: weight, error: {model: additive, additive: sd_weight}}
  cd19: {kind: measured}
  chimerism: {kind: measured}
  stool_severity: {kind: measured}
  death: {kind: measured}
"""
QUANTITIES = {"ige": "ige", "weight": "weight", "cd19": "b_cells", "chimerism": "chimerism"}
THETA = np.array([0.3, 200.0, 0.0, 0.2, 0.1])
ETA = np.array([0.3, -0.2, 0.0])


def write(folder: Path, *, problem: str = PROBLEM, cohort: str = COHORT) -> Path:
    """The hand-made cohort and its problem."""
    rows = ["ID,TIME,DVID,DV,CENS,LIMIT,MDV"]
    for child, days in DAYS.items():
        for day in days:
            rows += [f"{child},{day},ige,{100 + day:g},0,.,0", f"{child},{day},weight,{8 + day / 100:g},0,.,0"]
            rows.append(f"{child},{day},cd19,{'1,1,0,0' if child == 4 and day > 20 else '500,0,.,0'}")
    rows += ["5,120,chimerism,0.95,-1,1,0", "5,80,chimerism,0.8,0,.,0", "1,91.5,stool_severity,2,0,.,0"]
    rows += ["1,91.5,death,91.5,-1,.,0", "2,100,death,77,0,.,0", "1,30,treg,.,0,.,1"]
    (folder / "children.csv").write_text("\n".join(rows) + "\n")
    (folder / "children.yaml").write_text(cohort)
    (folder / "problem.yaml").write_text(problem)
    return folder / "problem.yaml"


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    return disease_groups(load_cohort_problem(write(tmp_path_factory.mktemp("cohort"))))


@pytest.fixture(scope="module")
def predict():
    return jax.jit(lambda group, theta, eta: group.predict(theta, eta))


def wide(row: np.ndarray, children: int) -> jax.Array:
    return jnp.broadcast_to(jnp.asarray(row), (children, len(row)))


@pytest.fixture(scope="module")
def predicted(parts, predict):
    group = parts.groups[0]
    return predict(group, wide(THETA, 5), wide(ETA, 5))


def test_predictions_are_those_of_the_simulator(parts, predicted):
    changes = {"th2_share": 0.3 * np.exp(0.3), "effector_capacity": 200 * np.exp(-0.2)}
    sets = load_parameters("disease").replace(changes, reason="of this test")
    cohort, compared = parts.cohort, 0
    for child in range(5):
        rows = cohort.table[cohort.table["child"] == child].reset_index(drop=True)
        days = np.unique(np.append(rows["day"][rows["day"] >= 0], 0.0))
        course = ipx.simulate(
            cohort.patients[child],
            cohort.regimens[child],
            output_times=days,
            parameters=sets,
            options=SolverOptions(accuracy="tight", audit="off"),
        )
        for place, row in rows.iterrows():
            if row["measurement"] not in QUANTITIES or row["day"] < 0:
                continue
            expected = course[QUANTITIES[row["measurement"]]][0][np.searchsorted(days, row["day"])]
            if row["measurement"] in ("ige", "cd19"):
                expected = np.log(expected)
            if row["measurement"] == "chimerism":
                expected = np.log(expected / (1 - expected))
            assert predicted.mean[child, place] == pytest.approx(expected, rel=1e-3, abs=1e-3), row
            compared += 1
    assert compared == 47


def test_days_before_the_regimen_are_those_of_the_untreated_course(parts, predicted):
    child = parts.cohort.patients[0]
    born = child.model_copy(update={"stated_age": child.stated_age.model_copy(update={"value": "0 day"})})
    plain = born.model_copy(update={n: None for n in ("stated_weight", "weight_z", "stated_height", "height_z")})
    changes = {"th2_share": 0.3 * np.exp(0.3), "effector_capacity": 200 * np.exp(-0.2)}
    sets = load_parameters("disease").replace(changes, reason="of this test")
    times = [child.age - 20.0]
    course = ipx.simulate(
        plain.model_copy(update={"start": {}}), ipx.load_regimen("untreated"), output_times=times, parameters=sets
    )
    assert predicted.mean[0, 0] == pytest.approx(np.log(course["ige"][0][0]), abs=1e-3)


def test_direct_likelihoods_and_scales(parts, predicted):
    group = parts.groups[0]
    names = [e.name for e in group.predictor.endpoints]
    which = np.asarray(group.inputs["endpoint"])
    death, stool = which == names.index("death"), which == names.index("stool_severity")
    assert np.array_equal(np.asarray(group.direct), death | stool)
    injury = float(predicted.mean[stool][0])
    from scipy.stats import norm

    between = norm.cdf((0.40 - injury) / 0.05) - norm.cdf((0.25 - injury) / 0.05)
    assert predicted.minus2ll[stool][0] == pytest.approx(-2 * np.log(between), rel=1e-9)
    cd19 = which == names.index("cd19")
    censored = cd19 & (np.asarray(group.cens) == 1)
    assert censored.sum() == 2
    assert np.all(np.asarray(group.limit)[censored] == -np.inf)
    assert np.asarray(predicted.variance)[cd19] == pytest.approx(np.log1p(0.84**2))
    measured = (which == names.index("ige")) & np.asarray(group.mask)
    assert np.asarray(group.jacobian)[measured] == pytest.approx(2 * np.asarray(group.y)[measured])


def test_an_event_counts_hazard_and_survival(parts, predicted):
    group = parts.groups[0]
    names = [e.name for e in group.predictor.endpoints]
    death = np.asarray(group.inputs["endpoint"]) == names.index("death")
    changes = {"th2_share": 0.3 * np.exp(0.3), "effector_capacity": 200 * np.exp(-0.2)}
    sets = load_parameters("disease").replace(changes, reason="of this test")
    child = parts.cohort.patients[1]
    course = ipx.simulate(child, ipx.load_regimen("untreated"), output_times=[0.0, 77.0], parameters=sets)
    expected = -2 * np.log(course["death_hazard"][0][1]) - 2 * np.log(course["survival"][0][1])
    assert predicted.minus2ll[1][death[1]] == pytest.approx(expected, rel=1e-3)


def test_rows_do_not_depend_on_each_other(parts, predict, predicted):
    group = parts.groups[0]
    rows = jnp.array([3, 1, 1])
    some = predict(group.take(rows), wide(THETA, 3), wide(ETA, 3))
    assert np.allclose(some.mean, predicted.mean[rows], rtol=1e-12, atol=1e-12)
    moved = wide(ETA, 5).at[2].set(jnp.array([1.0, 0.5, -1.0]))
    other = predict(group, wide(THETA, 5), moved)
    kept = np.array([0, 1, 3, 4])
    assert np.array_equal(other.mean[kept], predicted.mean[kept])
    assert not np.allclose(other.mean[2], predicted.mean[2])


@pytest.mark.slow
def test_gradients_by_population_values_and_random_effects(parts):
    group = parts.groups[0].take(jnp.array([0, 3]))
    weights = np.random.default_rng(1).normal(size=group.shape)

    def number(values: jax.Array) -> jax.Array:
        theta, eta = jnp.array([0.3, 200.0, 0.0, 0.2, 0.1]) * jnp.exp(values[:5]), values[5:].reshape(2, 3)
        found = group.predict(jnp.broadcast_to(theta, (2, 5)).at[:, 2].set(values[2]), eta)
        return jnp.sum(weights * jnp.where(group.direct, found.minus2ll, found.mean + jnp.log(found.variance)))

    check = gradcheck(number, np.concatenate([[0.05, -0.02, 0.1, 0.03, 0.01], [0.2, -0.1, 0.4, -0.3, 0.2, 0.1]]))
    assert check.disagreement < 1e-6
    assert np.all(check.reverse != 0)


@pytest.mark.slow
def test_the_mesh_of_fits_is_good_to_a_thousandth(parts):
    assert audit(parts, THETA, np.broadcast_to(ETA, (5, 3))).max() < 1e-3


def test_what_is_estimated(parts):
    population = parts.population
    assert [t.name for t in population.thetas] == ["th2_pop", "capacity_pop", "shift", "sd_ige", "sd_weight"]
    assert [t.role for t in population.thetas] == ["structural"] * 3 + ["residual"] * 2
    assert [b.names for b in population.blocks] == [("eta_th2",), ("eta_capacity",), ("eta_function",)]
    assert parts.left_out == {}


def refused(folder: Path, kind: type[Exception], **texts: str) -> str:
    with pytest.raises(kind) as caught:
        disease_groups(load_cohort_problem(write(folder, **texts)))
    return str(caught.value)


def test_what_cannot_be_honoured_is_refused(tmp_path):
    unknown = refused(tmp_path, UnknownKeyError, problem=PROBLEM.replace("prediction: ige", "prediction: igg"))
    assert "endpoint `ige`: `igg` is not known here" in unknown
    absent = refused(tmp_path, UnknownKeyError, problem=PROBLEM.replace("  chimerism:", "  chimerism_t:"))
    assert "`chimerism_t` is not measured in `hand_made`" in absent
    nothing = PROBLEM.replace("  cd19: {kind: measured}\n", "")
    censored = nothing + "  cd19: {prediction: b_cells, error: {model: exponential, additive: sd_ige}}\n"
    assert "does not say what to do with censored rows" in refused(tmp_path, SimulationError, problem=censored)
    titrated = COHORT.replace("regimen: untreated", "regimen: sirolimus")
    plan = refused(tmp_path, SimulationError, cohort=titrated)
    assert "sirolimus: `sirolimus` follows trough levels" in plan
    clash = PROBLEM.replace("th2_pop", "ige")
    assert "`ige` is a quantity of the model" in refused(tmp_path, SimulationError, problem=clash)
