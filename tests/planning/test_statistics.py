"""Intervals of paired differences."""

import numpy as np
import pytest

from ipex_pd.planning.statistics import bootstrap_mean, paired_differences, restricted


def test_the_bootstrap_interval_of_a_mean_is_that_of_the_normal_theory():
    values = np.random.default_rng(1).normal(3.0, 2.0, (400, 1))
    low, high = bootstrap_mean(values, seed=7)[:, 0]
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)


def test_the_same_seed_gives_the_same_interval_and_columns_do_not_disturb_each_other():
    values = np.random.default_rng(2).normal(size=(50, 3))
    assert np.array_equal(bootstrap_mean(values, seed=1), bootstrap_mean(values, seed=1))
    assert not np.array_equal(bootstrap_mean(values, seed=1), bootstrap_mean(values, seed=2))
    assert bootstrap_mean(values[:, :1], seed=1)[:, 0] == pytest.approx(bootstrap_mean(values, seed=1)[:, 0], abs=1e-12)


def test_missing_answers_are_left_out():
    values = np.array([[1.0, np.nan, 5.0], [2.0, np.nan, np.nan], [3.0, 4.0, 5.0], [np.nan, np.nan, 5.0]])
    low, high = bootstrap_mean(values, seed=3)
    assert 1.0 <= low[0] < high[0] <= 3.0
    assert np.isnan([low[1], high[1]]).all()
    assert (low[2], high[2]) == (5.0, 5.0)


def test_one_patient_has_a_difference_but_no_interval_of_the_mean():
    answer = paired_differences(np.array([[2.0]]), ["higher"], seed=0)[0]
    assert (answer.mean, answer.median, answer.low, answer.high, answer.pairs) == (2.0, 2.0, 2.0, 2.0, 1)
    assert np.isnan(answer.mean_low)
    assert answer.share_better == 1.0


def test_spread_over_patients_is_not_the_interval_of_the_mean():
    values = np.random.default_rng(4).normal(1.0, 1.0, (500, 1))
    answer = paired_differences(values, ["lower"], seed=0)[0]
    assert answer.high - answer.low > 10 * (answer.mean_high - answer.mean_low)
    assert answer.share_better == pytest.approx(np.mean(values < 0))


def test_ties_count_half_and_no_direction_has_no_better():
    column = np.array([[0.0], [0.0], [1.0], [-1.0]])
    assert paired_differences(column, ["higher"], seed=0)[0].share_better == 0.5
    assert np.isnan(paired_differences(column, [""], seed=0)[0].share_better)


def test_a_time_not_reached_counts_as_the_horizon():
    assert restricted(np.array([10.0, np.inf]), 100.0).tolist() == [10.0, 100.0]
