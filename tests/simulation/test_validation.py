"""The validation table: everything published is predicted or said not to be, and quantities are what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from ipex_pd.errors import IpexError, SimulationError, UsageError
from ipex_pd.records.library import load_drug, load_observations, observed
from ipex_pd.records.observations import CourseObservation, CovariateSpread, Observation, PublishedSpread, Study
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation import validation_course
from ipex_pd.simulation.validation import NEAR, Validation, validate
from ipex_pd.simulation.validation_group import draw, one
from ipex_pd.simulation.validation_measures import individual, measure
from ipex_pd.simulation.validation_page import COMMAND, validation_page

KINETIC = ["ciclosporin", "methylprednisolone", "other_drugs", "prednisolone", "rituximab", "sirolimus", "tacrolimus"]
PUBLISHED = [f"O{n:03d}" for n in (*range(1, 12), 13, 14, 17, *range(24, 66), 70, 71, *range(75, 89))]
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "validation.md"


@pytest.fixture(scope="module")
def table() -> Validation:
    return validate(60, seed=1, subjects=KINETIC)


def test_every_published_observation_is_accounted_for() -> None:
    found = [name for file in observed() for name in load_observations(file).ids]
    assert sorted(set(found)) == PUBLISHED
    assert len(PUBLISHED) == 72


def test_every_miss_has_a_reason(table: Validation) -> None:
    for row in table.rows:
        far = not 1 / NEAR <= row.ratio <= NEAR
        if row.verdict == "outside" or (row.verdict == "no spread" and far):
            assert row.reason, row.id
        if row.verdict == "inside":
            assert not row.reason, row.id
    assert all(row.because for row in table.unused)


def test_numbers_hold_together(table: Validation) -> None:
    for row in table.rows:
        assert row.low <= row.median <= row.high
        assert 0 < row.predicted < np.inf
        assert row.source
        if row.interval is not None:
            assert (row.interval[0] <= row.predicted <= row.interval[1]) == (row.verdict == "inside")
    found = table.summary()
    assert found["inside"] + found["outside"] + found["no_spread"] == found["rows"] == len(table.rows)
    assert table.to_json()["rows"][0]["ratio"] == table.rows[0].ratio


def test_inputs_come_back(table: Validation) -> None:
    variant = next(row for row in table.rows if (row.id, row.part) == ("O035", "variant"))
    assert variant.typical == pytest.approx(5.63, rel=2e-3)
    genotype = next(row for row in table.rows if row.id == "O014")
    assert genotype.typical == pytest.approx(1.98 / 1.04, rel=1e-3)


def test_page_tells_all(table: Validation) -> None:
    page = validation_page(table)
    assert COMMAND in page
    assert all(f"| {row.id} |" in page for row in (*table.rows, *table.unused))
    assert all(row.reason.rstrip(".") in page for row in table.rows)
    assert page.count("| **no** |") == table.count("outside")


def test_shipped_page_lists_every_observation() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"| {name} |" in page for name in PUBLISHED)


def test_draws_have_addresses() -> None:
    study = load_observations("sirolimus").studies[0]
    drug = load_drug(study.drug)
    few, many = (draw(drug, study.population, n, 3, study.name) for n in (5, 20))
    for name in few.covariates:
        np.testing.assert_array_equal(few.covariates[name][:5], many.covariates[name][:5])
    np.testing.assert_array_equal(few.theta["sirolimus.clearance"][:5], many.theta["sirolimus.clearance"][:5])
    assert few.theta["sirolimus.clearance"][-1] == drug.values()["clearance"]
    other = draw(drug, study.population, 5, 4, study.name)
    assert not np.any(other.covariates["age"][:5] == few.covariates["age"][:5])


def test_median_age_is_kept() -> None:
    study = load_observations("sirolimus").studies[0]
    ages = draw(load_drug("sirolimus"), study.population, 400, 1, "x").covariates["age"] / 365.25
    assert np.median(ages) == pytest.approx(15.5, abs=0.5)
    assert ages.min() >= 5
    assert ages.max() <= 20


def observation(**more: Any) -> dict[str, Any]:
    base = {
        "id": "O001",
        "quantity": "auc",
        "from": "10 day",
        "to": "11 day",
        "every": "1 h",
        "value": "1 mg*h/L",
        "statistic": "mean",
        "source": {"reported": "prograf_label"},
    }
    return base | more


def study(
    drug: str = "methylprednisolone", route: str = "iv", asked: dict[str, Any] | None = None, **more: Any
) -> Study:
    dose = {"drug": drug, "amount": "70 mg", "route": route, "every": "1 day"}
    data: dict[str, Any] = {
        "name": "synthetic",
        "population": {
            "description": "adults",
            "covariates": {"age": {"value": "30 year"}, "weight": {"value": "70 kg"}},
            "source": {"assumed": "a test"},
        },
        "doses": [dose],
        "observations": [asked or observation()],
    }
    return from_data(Study, data | more)


def typical(given: Study) -> float:
    subjects = draw(load_drug(given.drug), given.population, 3, 1, given.name)
    return float(measure(given, given.observations[0], subjects)[-1])


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (observation(every="5 min"), 70 / (26.53 * 24)),
        (observation(quantity="average", value="1 mg/L", every="5 min"), 70 / (26.53 * 24)),
        (observation(quantity="clearance", value="1 L/h", every="5 min"), 26.53 * 24),
        (observation(quantity="clearance", value="1 L/h/kg", per="kg", every="5 min"), 26.53 * 24 / 70),
        (
            observation(quantity="half_life", value="1 h", **{"from": "10.1 day", "to": "10.9 day"}),
            np.log(2) * 98 / 636.72,
        ),
        (observation(quantity="steady_state_volume", value="1 L"), 98),
    ],
)
def test_quantities_against_one_compartment(asked: dict[str, Any], expected: float) -> None:
    # trapezoids miss a little of the peak of a bolus, whose sample at the dose comes before it
    assert typical(study(asked=asked)) == pytest.approx(expected, rel=0.02)


def test_level_and_volume_of_one_dose() -> None:
    once = [{"drug": "methylprednisolone", "amount": "70 mg", "route": "iv", "every": "1 day", "count": 1}]
    level = observation(quantity="level", value="1 mg/L", per="mg", **{"from": "0 h", "to": "8 h"})
    assert typical(study(asked=level, doses=once)) == pytest.approx(np.exp(-26.53 * 8 / 98) / 98, rel=1e-7)
    volume = observation(quantity="terminal_volume", value="1 L", every="1 min", **{"from": "0 h", "to": "24 h"})
    assert typical(study(asked=volume, doses=once)) == pytest.approx(98, rel=0.01)
    seen = observation(
        quantity="detectable", value="1 day", limit="1 ug/L", every="10 min", **{"from": "0 h", "to": "5 day"}
    )
    assert typical(study(asked=seen, doses=once)) == pytest.approx(np.log(70 / 98 / 1e-3) * 98 / 636.72, abs=0.01)


def test_titrated_doses_reach_the_level() -> None:
    asked = observation(quantity="level", value="1 mg/L", **{"from": "10 day", "to": "20 day"}, every="1 day")
    aim = {"level": "123 ng/mL", "at": "20 day"}
    dose = {"drug": "sirolimus", "amount": "2 mg", "route": "oral", "every": "1 day"}
    assert typical(study(asked=asked, doses=[dose], titrated=aim)) == pytest.approx(0.123)


def test_doses_that_depend_on_themselves_are_not_titrated() -> None:
    dose = {"drug": "prednisolone", "amount": "20 mg", "route": "oral", "every": "1 day"}
    with pytest.raises(SimulationError) as error:
        typical(study(doses=[dose], titrated={"level": "1 mg/L", "at": "10 day"}))
    assert str(error.value) == "doses of `prednisolone` cannot be titrated. Its levels are not linear."


def test_one_subject_stands_at_the_stated_covariates() -> None:
    clearance = individual(one(load_drug("ciclosporin"), {"weight": 13.0, "age": 1500.0, "immunoassay": 0.0}))
    assert clearance["clearance"][0] == pytest.approx(6.1 * 24)


@pytest.mark.parametrize(
    ("spread", "interval"),
    [
        ({"sd": 2.0}, (8.0, 12.0)),
        ({"sem": 2.0}, (2.0, 18.0)),
        ({"range": [1, 30]}, (1.0, 30.0)),
        ({"rse": "10 %"}, (8.04, 11.96)),
    ],
)
def test_published_intervals(spread: dict[str, Any], interval: tuple[float, float]) -> None:
    assert from_data(PublishedSpread, spread).interval(10.0, 16) == pytest.approx(interval)


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        (CovariateSpread, {"low": "1 kg"}, "a spread needs `value`, `low` and `high`, or `mean` and `sd`"),
        (PublishedSpread, {}, "a spread needs one of `sd`, `sem`, `range`, `rse`"),
        (Observation, observation(value="1 L/h"), "`1 L/h` is no auc. Its unit is like `mg/L*day`"),
        (Observation, observation(**{"from": "12 day"}), "`from` is not before `to`"),
        (Observation, observation(slope=["1 day", "2 day"]), "`slope` does not lie inside the samples"),
        (Observation, observation(limit="1 mg/L"), "`limit` goes with `detectable`"),
        (Observation, observation(reference="sirolimus"), "`reference` goes with `bioavailability`"),
        (Observation, observation(quantity="auk"), "`auk` is not known here"),
    ],
)
def test_faulty_observations_are_refused(kind: Any, data: dict[str, Any], words: str) -> None:
    with pytest.raises(IpexError) as error:
        from_data(kind, data)
    assert words in str(error.value)


def test_wrong_names_and_sizes_are_refused() -> None:
    with pytest.raises(IpexError, match="`tacrolimos` is not a file of observations"):
        load_observations("tacrolimos")
    with pytest.raises(UsageError, match="groups of 0 subjects"):
        validate(0)


def course(**asked: Any) -> CourseObservation:
    base = {
        "id": "O070",
        "patient": "healthy_child",
        "doses": [
            {"drug": "rituximab", "amount": "375 mg/m2", "route": "iv", "infusion": "4 h", "every": "7 day", "count": 4}
        ],
        "description": "adults",
        "quantity": "b_cells",
        "after": "last_dose",
        "horizon": "400 day",
        "value": "5 month",
        "statistic": "median",
        "source": {"reported": "prograf_label"},
    }
    return from_data(CourseObservation, base | asked)


@pytest.fixture
def falling_and_rising(monkeypatch: pytest.MonkeyPatch) -> None:
    times = np.arange(0, 401, 5.0)
    values = np.stack([np.abs(times - middle) for middle in (100.0, 120.0, 140.0)])

    class Course(dict[str, Any]):
        units: ClassVar = {"b_cells": "cells/uL"}

    made = Course(b_cells=values)
    made.times = times
    monkeypatch.setattr(validation_course, "_simulated", lambda *asked: made)


@pytest.mark.usefixtures("falling_and_rising")
def test_courses() -> None:
    row = validation_course.course_row("tacrolimus", course(above="10 cells/uL"), 12, 1)
    assert row.predicted * 30.4375 == pytest.approx(130 - 21 - 4 / 24, abs=0.01)
    level = course(at="79 day", value="10 cells/uL")
    assert validation_course.course_row("tacrolimus", level, 12, 1).predicted == pytest.approx(20, abs=0.2)
    with pytest.raises(SimulationError, match="O070: `b_cells` is not above 500 cells/uL again"):
        validation_course.course_row("tacrolimus", course(above="500 cells/uL"), 12, 1)


def test_a_rate_is_a_half_life() -> None:
    rate = load_observations("b_cells").rates[0]
    assert validation_course.rate_row("b_cells", rate).predicted == pytest.approx(np.log(2) / 0.02)
