"""Optimal stopping by regression, against problems that are solved in closed form."""

import json

import numpy as np
import pytest
from scipy import stats

from ipex_pd.errors import UnknownKeyError, UsageError
from ipex_pd.planning.paths import NEVER, Paths
from ipex_pd.planning.policies import compare_policies, on_day
from ipex_pd.planning.stopping import Feature, fit_rule, optimal_stopping

MEMBERS = 20_000


def made(days, value, observed, alive=None):
    count = value.shape[1]
    return Paths(
        days=np.asarray(days, float),
        value=value,
        alive=np.ones_like(value) if alive is None else alive,
        observed=observed,
        weights=np.ones(count),
        draw=np.arange(count) % 4,
        child=np.arange(count),
    )


def test_offers_without_recall_are_taken_at_mosers_thresholds():
    # Cayley's problem (Moser 1956, Scripta Mathematica 22:289): of n uniform offers, one at a time and none twice, take
    # the first above m_(n-1) left to come; m_1 = 1/2, m_(n+1) = E max(x, m_n) = (1 + m_n^2) / 2
    worth = [0.5]
    for _ in range(4):
        worth.append((1 + worth[-1] ** 2) / 2)
    offers = np.random.default_rng(7).random((5, MEMBERS))
    paths = made(np.arange(5.0), offers, {"offer": offers})
    found = optimal_stopping(paths, [Feature("offer")])
    assert found.value.mean == pytest.approx(worth[4], abs=4 * found.value.se)
    assert found.value.se < 0.003
    thresholds = -found.rule.intercept[:4] / found.rule.coefficients[:4, 0]
    np.testing.assert_allclose(thresholds, worth[3::-1], atol=0.02)
    assert found.clairvoyant == pytest.approx(5 / 6, abs=0.005)
    assert found.gain.mean == pytest.approx(worth[4] - 0.5, abs=0.02)


def test_death_before_a_visit_lowers_what_waiting_is_worth():
    # value S_k x counts the death before visit k: V_k = E max(S_k x, V_(k+1)) = S_k (1 + (V_(k+1) / S_k)^2) / 2
    alive = np.array([1.0, 0.8, 0.5])
    worth = [alive[2] / 2]
    for k in (1, 0):
        worth.append(alive[k] * (1 + (worth[-1] / alive[k]) ** 2) / 2)
    offers = np.random.default_rng(8).random((3, MEMBERS))
    wide = np.broadcast_to(alive[:, None], offers.shape)
    paths = made([0.0, 1.0, 2.0], wide * offers, {"offer": offers}, wide.copy())
    found = optimal_stopping(paths, [Feature("offer")], folds=3)
    assert found.value.mean == pytest.approx(worth[-1], abs=4 * found.value.se)
    thresholds = -found.rule.intercept[:2] / found.rule.coefficients[:2, 0]
    np.testing.assert_allclose(thresholds, [worth[1] / 1.0, worth[0] / 0.8], atol=0.02)


def test_a_noisy_sign_is_trusted_as_far_as_it_tells():
    # theta ~ N(0.3, 1), y = theta + N(0, 1): transplant (theta) or never (0) by E[theta | y] = (0.3 + y) / 2 > 0;
    # worth E max(0, N(0.3, s^2)) with s^2 = 1/2
    random = np.random.default_rng(9)
    theta = 0.3 + random.standard_normal(MEMBERS)
    seen = theta + random.standard_normal(MEMBERS)
    value = np.stack([theta, np.zeros(MEMBERS)])
    paths = made([0.0, NEVER], value, {"y": np.stack([seen, np.full(MEMBERS, np.nan)])})
    found = optimal_stopping(paths, [Feature("y")])
    s = np.sqrt(0.5)
    assert found.value.mean == pytest.approx(0.3 * stats.norm.cdf(0.3 / s) + s * stats.norm.pdf(0.3 / s), abs=0.02)
    assert -found.rule.intercept[0] / found.rule.coefficients[0, 0] == pytest.approx(-0.3, abs=0.05)


def test_a_feature_without_news_gains_nothing_out_of_sample():
    random = np.random.default_rng(10)
    value = random.standard_normal((3, 300)) + np.array([[0.0], [0.5], [0.2]])
    noise = {f"noise_{i}": random.standard_normal((3, 300)) for i in range(6)}
    paths = made([0.0, 30.0, NEVER], value, noise)
    found = optimal_stopping(paths, [Feature(name) for name in noise])
    assert found.in_sample > found.value.mean
    assert found.value.mean < value[1].mean() + 2 * found.value.se
    assert found.value.mean < found.clairvoyant


def test_changes_logarithms_and_missing_values_are_features():
    random = np.random.default_rng(11)
    marker = random.lognormal(0.0, 0.5, (3, 400))
    marker[1, :50] = np.nan
    value = np.stack([np.zeros(400), np.log(np.nan_to_num(marker[1], nan=1.0)), np.full(400, -0.5)])
    paths = made([0.0, 30.0, NEVER], value, {"marker": marker})
    rule = fit_rule(paths, [Feature("marker", log=True), Feature("marker", log=True, change=True)])
    assert [f.name for f in rule.features] == ["log(marker)", "change of log(marker)"]
    assert np.isfinite(rule.scores(paths)).all()
    assert list(rule.table().columns) == ["day", "intercept", "log(marker)", "change of log(marker)"]
    with pytest.raises(UnknownKeyError, match="`makrer` is not measured"):
        fit_rule(paths, [Feature("makrer")])


def test_the_policy_stands_beside_others_and_is_told():
    offers = np.random.default_rng(12).random((4, 2000))
    paths = made(np.arange(4.0), offers, {"offer": offers})
    found = optimal_stopping(paths, [Feature("offer")], folds=4)
    table = compare_policies(paths, [on_day(0.0), found.rule])
    assert table.table["policy"][0] == "optimal stopping"
    told = json.loads(found.to_json())
    assert told["folds"] == [4, "child"]
    assert len(told["table"]) == 4
    assert "out of sample" in repr(found)
    with pytest.raises(UsageError, match="nothing to fit"):
        optimal_stopping(paths, [])


def test_an_interrupt_leaves_the_rule_of_all_members():
    offers = np.random.default_rng(13).random((3, 500))
    paths = made(np.arange(3.0), offers, {"offer": offers})

    def stop(done, total):
        raise KeyboardInterrupt

    found = optimal_stopping(paths, [Feature("offer")], progress=stop)
    assert found.partial
    assert found.choice.shape == (500,)
