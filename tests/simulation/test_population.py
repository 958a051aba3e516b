"""Virtual populations: the same patient everywhere, spreads as stated, cohorts as published."""

from dataclasses import replace

import numpy as np
import pytest

from ipex_pd.errors import UsageError
from ipex_pd.records.parameters import ParameterSet
from ipex_pd.records.patients import Patient
from ipex_pd.simulation.children import CLASS_COUNTS
from ipex_pd.simulation.population import cohort_population, single, virtual_population

ASSUMED = {"assumed": "a test"}


def child(**fields) -> Patient:
    stated = {
        "name": "test_child",
        "description": "a boy",
        "sex": "male",
        "age": {"value": "200 day", "source": ASSUMED},
        "foxp3": {"value": "missense", "source": ASSUMED},
    }
    return Patient.model_validate(stated | fields)


def parameters(**spreads: float) -> ParameterSet:
    fields = {
        name: {"value": 2.0, "unit": "1/day", "meaning": name, "variability": {"cv": cv}, "source": ASSUMED}
        for name, cv in spreads.items()
    }
    return ParameterSet.model_validate({"name": "s", "description": "d", "is_not": "n", "parameters": fields})


def test_a_patient_is_the_same_in_a_small_and_a_large_population():
    small, large = (virtual_population(child(), n, seed=5) for n in (10, 1000))
    given = {"": parameters(growth=0.3), "tacrolimus": parameters(clearance=0.4)}
    for name, values in large.theta(given).items():
        assert np.array_equal(values[:10], small.theta(given)[name])
    assert large.patients[:10] == small.patients
    assert large.labels[:10] == small.labels


def test_adding_a_parameter_moves_no_other():
    group = virtual_population(child(), 50, seed=5)
    one = group.theta({"": parameters(growth=0.3)})["growth"]
    assert np.array_equal(group.theta({"": parameters(first=0.9, growth=0.3)})["growth"], one)
    assert not np.array_equal(group.theta({"drug": parameters(growth=0.3)})["drug.growth"], one)


def test_chunks_and_picks_keep_everyone_who_they_are():
    group = virtual_population(child(), 23, seed=1)
    given = {"": parameters(growth=0.3)}
    parts = [part.theta(given)["growth"] for part in group.chunks(5)]
    assert [part.size for part in parts] == [5, 5, 5, 5, 3]
    assert np.array_equal(np.concatenate(parts), group.theta(given)["growth"])
    assert group.pick([7, 2]).labels == ("test_child_00007", "test_child_00002")
    assert np.array_equal(group.pick([7, 2]).eta("growth"), group.eta("growth")[[7, 2]])


def test_seeds_are_explicit():
    same, again, other = (virtual_population(child(), 20, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(same.eta("x"), again.eta("x"))
    assert not np.array_equal(same.eta("x"), other.eta("x"))
    with pytest.raises(UsageError, match="A seed is a whole number from 0 on"):
        virtual_population(child(), 20, seed=-1)
    with pytest.raises(UsageError, match="a population of 0 patients"):
        virtual_population(child(), 0, seed=1)


def test_a_stated_size_is_the_centre_of_a_spread_and_an_unstated_one_is_left_to_the_course():
    stated = child(weight_z={"value": -2.0, "source": ASSUMED}, height={"value": "65 cm", "source": ASSUMED})
    group = virtual_population(stated, 2000, seed=3)
    weight = np.array([patient.weight_z.in_unit("SD") for patient in group.patients])
    height = np.array([patient.height_z.in_unit("SD") for patient in group.patients])
    assert weight.mean() == pytest.approx(-2.0, abs=0.05)
    assert weight.std() == pytest.approx(0.5, abs=0.03)
    assert height.mean() == pytest.approx(stated.size_z()["height_z"], abs=0.05)
    assert np.corrcoef(weight, height)[0, 1] == pytest.approx(0.6, abs=0.05)
    assert all(patient.stated_height is None for patient in group.patients)
    assert all(patient.weight_z is None for patient in virtual_population(child(), 5, seed=3).patients)


def test_cyp3a5_is_drawn_only_where_it_is_unknown():
    def share(patient: Patient) -> float:
        group = virtual_population(patient, 2000, seed=4)
        return float(np.mean([p.cyp3a5.value == "expresser" for p in group.patients]))

    assert share(child()) == pytest.approx(0.15, abs=0.03)
    assert share(child(cyp3a5={"value": "expresser", "source": ASSUMED})) == 1.0


def test_what_is_stated_at_the_start_stays():
    stated = child(start={"beta_cell_mass": {"value": 0.1, "source": ASSUMED}})
    group = virtual_population(stated, 5, seed=1)
    assert all(patient.start_values() == {"beta_cell_mass": 0.1} for patient in group.patients)
    assert all(patient.age == 200.0 for patient in group.patients)


def test_only_the_named_parameters_vary_if_asked():
    group = virtual_population(child(), 10, seed=1, varies=["growth"])
    theta = group.theta({"": parameters(growth=0.3, loss=0.3)})
    assert np.unique(theta["growth"]).size == 10
    assert set(theta["loss"]) == {2.0}


def test_uncertainty_is_a_layer_of_its_own():
    field = {"value": 2.0, "unit": "1/day", "meaning": "m", "variability": {"cv": 0.3}, "uncertainty": {"rse": 0.2}}
    given = {
        "": ParameterSet.model_validate(
            {"name": "s", "description": "d", "is_not": "n", "parameters": {"growth": field | {"source": ASSUMED}}}
        )
    }
    plain = virtual_population(child(), 4000, seed=1)
    doubted = virtual_population(child(), 4000, seed=1, uncertainty=True)
    assert np.array_equal(plain.eta("growth"), doubted.eta("growth"))
    ratio = doubted.theta(given)["growth"] / plain.theta(given)["growth"]
    assert ratio.std() == pytest.approx(0.2, abs=0.01)
    other = plain.with_uncertainty(99).theta(given)["growth"] / plain.theta(given)["growth"]
    assert abs(np.corrcoef(ratio, other)[0, 1]) < 0.06


def test_the_cohort_has_the_published_classes():
    group = cohort_population(4000, seed=2)
    classes = [patient.foxp3.value for patient in group.patients]
    for name, count in CLASS_COUNTS.items():
        assert classes.count(name) / 4000 == pytest.approx(count / 85, abs=0.02)
    assert all(patient.age == 0.0 for patient in group.patients)
    weight = np.array([patient.weight_z.in_unit("SD") for patient in group.patients])
    assert weight.std() == pytest.approx(1.0, abs=0.05)
    small = cohort_population(50, seed=2)
    assert small.patients == group.patients[:50]


def test_a_population_says_what_it_is():
    group = virtual_population(child(), 30, seed=7)
    assert group.description[0] == "a boy."
    assert group.description[1] == "A boy of 7 months at the start, FOXP3 class missense."
    assert group.description[2].startswith("30 virtual patients around this child (seed 7)")
    assert any("CYP3A5" in line for line in group.assumptions)


def test_a_single_child_has_typical_values():
    alone = single(child())
    assert alone.labels == ("test_child",)
    assert alone.theta({"": parameters(growth=0.3)})["growth"].tolist() == [2.0]


def test_nobody_stands_in_a_population_twice():
    group = virtual_population(child(), 3, seed=1)
    with pytest.raises(UsageError, match="a population holds a patient twice"):
        replace(group, index=np.array([0, 1, 1]))
