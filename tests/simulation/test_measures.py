"""Courses whose answers are known by hand."""

import numpy as np
import pytest

from ipex_pd.simulation import measures

YEAR = np.linspace(0.0, 365.0, 366)


def test_days_below_is_exact_for_a_straight_line():
    times = np.array([0.0, 10.0])
    assert measures.days_below(times, np.array([[0.0, 10.0]]), 4.0) == pytest.approx([4.0])
    assert measures.days_below(times, np.array([[10.0, 0.0]]), 4.0) == pytest.approx([4.0])
    assert measures.days_below(times, np.array([[5.0, 4.0]]), 4.0) == pytest.approx([0.0])
    assert measures.days_below(times, np.array([[4.0, 4.0]]), 4.0) == pytest.approx([0.0])


def test_days_below_of_a_sine_is_half_its_period():
    fine = np.linspace(0.0, 100.0, 4001)
    course = np.sin(2 * np.pi * fine / 10.0)[None]
    assert measures.days_below(fine, course, 0.0)[0] == pytest.approx(50.0, abs=1e-6)


def test_missing_numbers_give_no_answer():
    course = np.array([[1.0, np.nan, 1.0]])
    times = np.arange(3.0)
    assert np.isnan(measures.days_below(times, course, 2.0)).all()
    assert np.isnan(measures.first_below(times, course, 2.0)).all()


def test_spells_of_a_zigzag():
    times = np.array([0.0, 2.0, 4.0, 6.0])
    assert measures.spells_below(times, np.array([0.0, 2.0, 0.0, 0.0]), 1.0) == [(0.0, 1.0), (3.0, 6.0)]


def test_first_spell_must_hold_long_enough():
    times = np.array([0.0, 1.0, 2.0, 10.0, 60.0])
    course = np.array([[2.0, 0.0, 2.0, 0.0, 0.0]])
    assert measures.first_below(times, course, 1.0) == pytest.approx([0.5])
    assert measures.first_below(times, course, 1.0, hold=30.0) == pytest.approx([6.0])
    assert np.isinf(measures.first_below(times, course, 1.0, hold=100.0)).all()


def test_below_at_end_needs_the_whole_hold():
    times = np.array([0.0, 10.0, 20.0, 40.0])
    courses = np.array([[2.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 2.0]])
    assert measures.below_at_end(times, courses, 1.0, hold=30.0).tolist() == [1.0, 0.0, 0.0]


def test_relapse_is_looked_for_after_each_patients_own_day():
    times = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    course = np.array([[2.0, 0.0, 0.0, 2.0, 0.0]] * 3)
    after = np.array([0.5, np.inf, 3.6])
    assert measures.first_above_after(times, course, 1.0, after)[0] == pytest.approx(2.5)
    assert np.isnan(measures.first_above_after(times, course, 1.0, after)[1])
    assert np.isinf(measures.first_above_after(times, course, 1.0, after)[2])


def test_restricted_mean_survival_of_a_constant_hazard():
    hazard = np.array([0.0, 1e-12, 1e-3, 0.05])[:, None]
    survival = np.exp(-hazard * YEAR)
    exact = np.array([365.0, 365.0, *(-np.expm1(-hazard[2:, 0] * 365) / hazard[2:, 0])])
    assert measures.restricted_mean_survival(YEAR, survival) == pytest.approx(exact, rel=1e-9)


def test_an_infinite_hazard_ends_the_mean_at_once():
    survival = np.array([[1.0, 1.0, 0.0, 0.0]])
    assert measures.restricted_mean_survival(np.arange(4.0), survival) == pytest.approx([1.0])


def test_competing_risks_of_constant_hazards():
    rates = {"disease": 1e-3, "infection": 3e-3}
    coarse = np.array([0.0, 7.0, 100.0, 365.0])
    hazards = {cause: rate * coarse[None] for cause, rate in rates.items()}
    for cause, rate in rates.items():
        exact = rate / 4e-3 * -np.expm1(-4e-3 * coarse)
        assert measures.incidence(hazards, cause)[0] == pytest.approx(exact, rel=1e-12)


def test_competing_risks_add_up_whatever_the_hazards():
    rng = np.random.default_rng(5)
    hazards = {cause: np.cumsum(rng.exponential(0.01, (20, 366)), axis=1) for cause in "abc"}
    hazards = {cause: course - course[:, :1] for cause, course in hazards.items()}
    dead = sum(measures.incidence(hazards, cause) for cause in hazards)
    assert dead == pytest.approx(1 - np.exp(-sum(hazards.values())), abs=1e-13)


def test_no_hazard_no_death():
    hazards = {"a": np.zeros((2, 5)), "b": np.zeros((2, 5))}
    assert np.all(measures.incidence(hazards, "a") == 0)
