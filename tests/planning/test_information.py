"""What one more measurement is worth: closed forms of two actions and a normal law, bounds, and other laws."""

import json

import numpy as np
import pytest
from scipy import stats

from ipex_pd.errors import UsageError
from ipex_pd.planning.information import Decision, Reading, stratified, value_of_information
from ipex_pd.records.measurements import Measurement

TOY = {"assumed": "a number of a test"}


def assay(unit="1", **error):
    return Measurement.model_validate(
        {"name": "marker", "quantity": "marker", "unit": unit, "meaning": "a marker", "error": {**error, "source": TOY}}
    )


def unit_normal_loss(u):
    return stats.norm.pdf(u) - u * stats.norm.sf(u)


def normal_decision(mean, sd, members=2001):
    """Treat (worth theta) or not (worth 0), theta normal: its quantiles are the members."""
    theta = stats.norm.ppf((np.arange(members) + 0.5) / members, mean, sd)
    value = np.stack([np.zeros(members), theta])
    return theta, Decision(
        ("wait", "treat"), value, np.full(2, np.inf), np.ones(members), np.zeros(members, int), "year"
    )


@pytest.mark.parametrize(("mean", "error"), [(0.1, 1.0), (0.4, 0.5), (-0.7, 2.0)])
def test_a_normal_marker_is_worth_what_raiffa_and_schlaifer_say(mean, error):
    # prior sd 1.5; the posterior mean is normal with sd s = 1.5^2 / sqrt(1.5^2 + error^2); EVSI = s L(|mean| / s)
    theta, decision = normal_decision(mean, 1.5)
    found = value_of_information(decision, [Reading(assay(kind="additive", sd=error), 0.0, theta)], replicates=4000)
    spread = 1.5**2 / np.hypot(1.5, error)
    row = found.table.iloc[0]
    assert row["evsi"] == pytest.approx(spread * unit_normal_loss(abs(mean) / spread), abs=4 * row["se"])
    assert row["se"] < 0.02
    assert found.evpi == pytest.approx(1.5 * unit_normal_loss(abs(mean) / 1.5), rel=2e-3)
    assert found.best_now[0] == ("treat" if mean > 0 else "wait")


def test_a_perfect_reading_is_worth_perfect_knowledge_and_noise_nothing():
    theta, decision = normal_decision(0.3, 1.0, 400)
    sharp, blunt = (Reading(assay(kind="additive", sd=sd), 0.0, theta) for sd in (1e-6, 1e6))
    table = value_of_information(decision, [sharp, blunt], replicates=400).table
    assert table["share"][0] == pytest.approx(1.0, rel=0.01)
    assert table["evsi"][1] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    "law",
    [
        {"kind": "lognormal", "cv": 0.3},
        {"kind": "proportional", "cv": 0.3},
        {"kind": "combined", "cv": 0.2, "sd": 0.2},
        {"kind": "ordinal", "cuts": [0.5, 1.5], "levels": ["low", "middle", "high"], "sd": 0.3},
        {"kind": "ordinal", "cuts": [1.0], "levels": ["low", "high"]},
    ],
)
def test_every_law_stays_between_nothing_and_perfect_knowledge(law):
    random = np.random.default_rng(4)
    marker = random.lognormal(0.0, 0.6, 500)
    value = np.stack([np.full(500, 1.0), marker, 2.5 - marker]) + 0.1 * random.standard_normal((3, 500))
    decision = Decision(("a", "b", "c"), value, np.full(3, np.inf), random.random(500), np.arange(500) % 5)
    found = value_of_information(decision, [Reading(assay(**law), 1.0, marker)], replicates=500)
    row = found.table.iloc[0]
    assert 0.0 < row["evsi"] < row["evpi"] + 3 * row["se"]
    assert row["evpi"] == pytest.approx(found.evpi)
    assert 0.0 <= found.evppi <= found.evpi
    assert json.loads(found.to_json())["schema"] == "ipex_pd.information/1"


def test_actions_that_are_over_by_then_are_lost():
    theta, decision = normal_decision(0.5, 1.0, 300)
    early = Decision(
        ("wait", "treat", "treat at once"),
        np.concatenate([decision.value, [theta + 0.2]]),
        np.array([np.inf, np.inf, 10.0]),
        decision.weights,
        decision.draw,
    )
    item = assay(kind="additive", sd=0.5)
    table = value_of_information(early, [Reading(item, 30.0, theta), Reading(item, 5.0, theta)], replicates=500).table
    late = table[table["day"] == 30.0].iloc[0]
    assert late["delay"] == pytest.approx(0.2, abs=1e-9)
    assert late["net"] == pytest.approx(late["evsi"] - 0.2)
    assert table["day"][0] == 5.0
    with pytest.raises(UsageError, match="1 actions are open"):
        value_of_information(
            Decision(("a", "b"), decision.value, np.array([10.0, np.inf]), decision.weights, decision.draw),
            [Reading(item, 30.0, theta)],
        )


def test_an_interrupt_keeps_what_is_done():
    theta, decision = normal_decision(0.0, 1.0, 100)
    item = assay(kind="additive", sd=1.0)

    def stop(done, total):
        if done == 2:
            raise KeyboardInterrupt

    found = value_of_information(
        decision, [Reading(item, float(d), theta) for d in range(4)], replicates=50, progress=stop
    )
    assert found.partial
    assert len(found.table) == 2
    assert "interrupted" in repr(found)


def test_members_are_drawn_in_strata():
    weights = np.array([0.5, 0.25, 0.25, 0.0])
    counts = np.bincount(stratified(weights, 400, 1), minlength=4)
    assert counts.tolist() == [200, 100, 100, 0]
