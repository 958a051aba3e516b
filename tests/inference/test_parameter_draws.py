"""Draws of parameters from fits and as search vectors, and the intervals that follow from them."""

from __future__ import annotations

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from linear_fits import fitted, observations

from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import bind, predict
from ipex_pd.inference.draws import (
    covariance_draws,
    natural_draws,
    posterior_draws,
    search_vectors,
)
from ipex_pd.inference.intervals import function_intervals, prediction_intervals
from ipex_pd.records.draws import ParameterDraws
from ipex_pd.records.library import load_problem


@pytest.fixture(scope="module")
def found():
    return fitted(observations(subjects=40, slope=0.5), effects=2)


@pytest.fixture(scope="module")
def draws(found):
    return covariance_draws(found, 400, seed=2)


def test_draws_of_the_covariance_have_its_errors(found, draws):
    table = draws.table()
    np.testing.assert_allclose(table["sd"], found.covariance.standard_errors, rtol=0.35)
    np.testing.assert_allclose(table["median"], found.estimates, rtol=0.1)
    assert (draws["s"] > 0).all()
    assert draws.effective == pytest.approx(400)
    with pytest.raises(UsageError, match="`tau` is not a parameter of the draws"):
        draws["tau"]


def test_search_vectors_of_draws_are_those_they_came_from(found):
    free = found.w + 0.2 * np.random.default_rng(0).standard_normal((6, len(found.w)))
    drawn = natural_draws(found.population, free, "x")
    np.testing.assert_allclose(search_vectors(found.population, drawn), free, rtol=1e-9, atol=1e-10)
    with pytest.raises(UsageError, match="not of the parameters of this problem"):
        search_vectors(found.population, ParameterDraws(("q",), np.ones((1, 1)), np.ones(1), "x"))


def test_the_chains_of_a_posterior_come_one_after_another():
    chains = np.arange(12.0).reshape(2, 3, 2)
    draws = posterior_draws(SimpleNamespace(names=("a", "b"), draws=chains))
    assert draws.kind == "posterior"
    assert draws["a"].tolist() == [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]


def test_intervals_of_a_function(draws):
    table = function_intervals(lambda v: [v["a"] + 2 * v["b"], v["s"]], draws, level=0.9)
    expected = np.quantile(draws["a"] + 2 * draws["b"], [0.05, 0.95])
    np.testing.assert_allclose(table.loc[0, ["low", "high"]].to_numpy(float), expected)
    assert table.loc[1, "mean"] == pytest.approx(draws["s"].mean())


@pytest.fixture(scope="module")
def bound():
    return bind(load_problem("theophylline"))


def one_value(bound, count):
    population = bound.population
    return natural_draws(population, np.tile(population.start, (count, 1)), "covariance")


def test_the_typical_prediction_of_equal_draws_is_the_prediction(bound):
    table = prediction_intervals(bound, one_value(bound, 3))
    group = bound.groups[0]
    theta = jnp.broadcast_to(jnp.array([t.start for t in bound.population.thetas]), (group.shape[0], 4))
    exact = np.asarray(predict(group, theta, jnp.zeros((group.shape[0], 3))).mean)[0][np.asarray(group.mask)[0]]
    own = table[table["id"] == bound.subjects[int(np.asarray(group.subjects)[0])].id]
    for column in ("mean", "low", "high"):
        np.testing.assert_allclose(own[column], exact, rtol=1e-12)
    assert len(table) == bound.dataset.observations


def test_an_observation_has_the_residual_error_besides(bound):
    draws = one_value(bound, 600)
    before_dose = {}
    for of in ("individual", "observation"):
        table = prediction_intervals(bound, draws, of=of)
        before_dose[of] = table[table["time"] == 0].iloc[:4]
    assert (before_dose["individual"]["high"] == 0).all()
    wide = before_dose["observation"]["high"] - before_dose["observation"]["low"]
    np.testing.assert_allclose(wide, 2 * 1.96 * 0.7, rtol=0.2)


def test_what_cannot_be_predicted_is_refused(bound):
    draws = one_value(bound, 2)
    with pytest.raises(UsageError, match=r"`theophyline` is not an endpoint\. Nearest: `theophylline`"):
        prediction_intervals(bound, draws, endpoint="theophyline")
    with pytest.raises(UsageError, match="`mean` is not what can be predicted"):
        prediction_intervals(bound, draws, of="mean")
    events = bind(load_problem("synthetic_time_to_event"))
    with pytest.raises(UsageError, match="has no mean to predict"):
        prediction_intervals(events, one_value(events, 2))
