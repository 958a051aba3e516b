"""Draws of parameters as a record: files, weights, quantiles."""

from __future__ import annotations

import numpy as np
import pytest

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.records.draws import ParameterDraws, load_draws, weighted_quantiles


@pytest.fixture
def draws():
    values = np.exp(np.random.default_rng(2).standard_normal((8, 3)))
    return ParameterDraws(("a", "b", "s"), values, np.ones(8), "covariance")


def test_a_parameter_is_found_by_name(draws):
    np.testing.assert_array_equal(draws["b"], draws.values[:, 1])
    assert draws.effective == pytest.approx(8)
    table = draws.table(level=0.5).set_index("parameter")
    assert table.loc["s", "mean"] == pytest.approx(draws["s"].mean())
    assert table.loc["s", "low"] == pytest.approx(np.quantile(draws["s"], 0.25))
    with pytest.raises(UsageError, match="`tau` is not a parameter of the draws"):
        draws["tau"]


@pytest.mark.parametrize("name", ["draws.json", "draws.csv"])
def test_a_file_holds_them_to_the_last_digit(draws, tmp_path, name):
    weighted = ParameterDraws(draws.names, draws.values[:5], np.array([1, 2, 3, 4, 5.0]), "sir")
    weighted.save(tmp_path / name)
    again = load_draws(tmp_path / name)
    assert (again.names, again.kind) == (weighted.names, "sir")
    np.testing.assert_array_equal(again.values, weighted.values)
    np.testing.assert_allclose(again.weights, weighted.weights, rtol=1e-15)


def test_files_that_hold_none_are_refused(draws, tmp_path):
    with pytest.raises(UsageError, match=r"kept as \.json or \.csv"):
        draws.save(tmp_path / "draws.txt")
    (tmp_path / "a.json").write_text('{"schema": 9}', encoding="utf-8")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n", encoding="utf-8")
    for name in ("a.json", "a.csv"):
        with pytest.raises(RecordError, match="does not hold draws"):
            load_draws(tmp_path / name)
    with pytest.raises(RecordError, match="cannot be read"):
        load_draws(tmp_path / "b.csv")
    with pytest.raises(RecordError, match="do not fit together"):
        ParameterDraws(("a",), np.ones((3, 2)), np.ones(3), "x")
    with pytest.raises(RecordError, match="a draw is not finite"):
        ParameterDraws(("a",), np.array([[np.nan]]), np.ones(1), "x")
    with pytest.raises(RecordError, match="a weight is negative"):
        ParameterDraws(("a",), np.ones((1, 1)), -np.ones(1), "x")


def test_quantiles_with_and_without_weights():
    values = np.random.default_rng(1).standard_normal((50, 3))
    shares = (0.1, 0.5, 0.8)
    np.testing.assert_allclose(
        weighted_quantiles(values, np.ones(50) / 50, shares), np.quantile(values, shares, axis=0)
    )
    skewed = weighted_quantiles(np.array([[1.0], [9.0], [0.0]]), np.array([0.7, 1e-9, 0.3]), (0.2, 0.29, 0.31, 0.97))
    assert skewed[:, 0].tolist() == [0.0, 0.0, 1.0, 1.0]
    sample = np.random.default_rng(3).choice(50, 4000, p=np.arange(50) / 1225)
    told = weighted_quantiles(values, np.arange(50) / 1225, shares)
    np.testing.assert_allclose(told, np.quantile(values[sample], shares, axis=0), atol=0.15)


def test_a_sample_follows_the_weights():
    draws = ParameterDraws(("a",), np.array([[0.0], [1.0]]), np.array([0.25, 0.75]), "sir")
    assert draws.sample(4000, seed=1).values.mean() == pytest.approx(0.75, abs=0.03)
    equal = ParameterDraws(("a",), np.arange(9.0)[:, None], np.ones(9), "sir")
    assert sorted(equal.sample(9, seed=1)["a"]) == list(range(9))
