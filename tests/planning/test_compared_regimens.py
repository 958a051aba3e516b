"""compare() on the real model: pairing, competing risks and independence of the batch."""

import json

import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.simulation import study
from ipex_pd.simulation.questions import DEATH_HAZARDS

REGIMENS = ("untreated", "prednisolone_tacrolimus")


@pytest.fixture(scope="module")
def group():
    return ipx.virtual_population(ipx.load_patient("seidel_2009"), 3, seed=1)


@pytest.fixture(scope="module")
def table(group):
    return ipx.compare(group, {name: ipx.load_regimen(name) for name in REGIMENS}, years=0.5, seed=1)


def test_every_patient_starts_the_same_under_every_regimen(table):
    first, second = (table.simulations[name] for name in REGIMENS)
    for name in set(first.quantities) & set(second.quantities) - {"immunosuppression_index"}:
        assert np.array_equal(first[name][:, 0], second[name][:, 0]), name
    assert not np.array_equal(first["effector_t"][:, -1], second["effector_t"][:, -1])


def test_the_course_before_day_0_is_lived_once_for_all_regimens(group, monkeypatch):
    lived, solve = [], study.solve

    def counted(*arguments, **options):
        lived.append(options["age"])
        return solve(*arguments, **options)

    monkeypatch.setattr(study, "solve", counted)
    others = group.pick([0, 1])
    times = study.output_grid(days=7)
    first, second = (study.study(others, ipx.load_regimen(name), times) for name in REGIMENS)
    assert len(lived) == 1
    assert all(np.array_equal(first.state[name], second.state[name]) for name in first.state)
    set_of_own = first.shelves.disease.replace({"effector_fetal": 1.0}, "to see it matter")
    changed = study.study(others, ipx.load_regimen("untreated"), times, parameters=set_of_own)
    assert len(lived) == 2
    assert not np.array_equal(changed.state["effector_t"], first.state["effector_t"])


def test_patients_differ(table):
    assert np.unique(table.simulations["untreated"]["ige"][:, -1]).size == 3


def test_all_deaths_have_a_cause(table):
    means = table.endpoints.pivot_table(index="endpoint", columns="regimen", values="mean")
    total = means.loc[[f"death_{cause}" for cause in DEATH_HAZARDS]].sum() + means.loc["survival"]
    assert total.to_numpy() == pytest.approx(1.0, abs=1e-9)


def test_exposure_stands_in_the_table(table):
    given = table.endpoints.query("regimen == 'prednisolone_tacrolimus'").set_index("endpoint")
    assert given.loc["trough_tacrolimus", "unit"] == "ng/mL"
    assert given.loc["trough_tacrolimus", "median"] > 0
    assert given.loc["steroid_dose", "median"] > 0
    assert 0 <= given.loc["in_window_tacrolimus", "low"] <= given.loc["in_window_tacrolimus", "high"] <= 1


def test_a_patient_does_not_depend_on_the_others(group, table):
    alone = ipx.simulate(group.pick([2]), ipx.load_regimen("untreated"), years=0.5)
    together = table.simulations["untreated"].pick([2])
    assert alone.patients == together.patients
    for name in together.quantities:
        assert alone[name] == pytest.approx(together[name], rel=1e-11, abs=1e-13), name


def test_the_comparison_is_written_as_strict_json(table):
    data = json.loads(table.to_json())
    assert data["patients"] == 3
    assert set(data["regimens"]) == set(REGIMENS)
    assert data["sources"]
    assert max(data["largest_error"].values()) < 1e-3
