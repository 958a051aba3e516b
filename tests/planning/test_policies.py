"""Policies read measurements, not the truth; their regret is against the best with the draw known."""

import json

import numpy as np
import pytest
from simulations_by_hand import made as simulated

from ipex_pd.errors import UnknownKeyError, UsageError
from ipex_pd.planning.paths import NEVER, Paths, child_error, observe_visits, spread_of
from ipex_pd.planning.policies import (
    Seen,
    Threshold,
    at_organ_failure,
    at_remission,
    at_score,
    compare_policies,
    never,
    on_day,
)
from ipex_pd.records.library import load_measurements

DAYS = np.array([0.0, 90.0, 180.0, NEVER])
BLANK = np.full(4, np.nan)


def paths(**observed):
    value = np.array([[0.5, 0.5, 0.5, 0.5], [0.8, 0.6, 0.6, 0.4], [0.7, 0.7, 0.2, 0.3], [0.1, 0.9, 0.3, 0.3]])
    table = {name: np.vstack([rows, BLANK]) for name, rows in observed.items()}
    return Paths(
        days=DAYS,
        value=value,
        alive=np.ones((4, 4)),
        observed=table,
        weights=np.ones(4),
        draw=np.array([0, 0, 1, 1]),
        child=np.array([0, 1, 0, 1]),
    )


SCORES = np.array([[2.0, 0.0, 1.0, 3.0], [0.0, 1.0, 2.0, 3.0], [0.0, 2.0, 2.0, 3.0]])


def test_each_policy_takes_the_first_visit_that_shows_its_sign():
    own = paths(oi_score=SCORES)
    assert at_remission().choose(own).tolist() == [1, 0, 3, 3]
    assert at_remission(visits=2).choose(own).tolist() == [2, 3, 3, 3]
    assert at_score(2).choose(own).tolist() == [0, 2, 1, 0]
    assert on_day(90.0).choose(own).tolist() == [1, 1, 1, 1]
    assert never().choose(own).tolist() == [3, 3, 3, 3]
    bounded = Threshold("at 3, at most day 90", (Seen("oi_score", "least", 3.0),), otherwise=90.0)
    assert bounded.choose(own).tolist() == [1, 1, 1, 0]


def test_organ_failure_is_the_first_of_several_onsets():
    diabetes = np.array([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 1.0]])
    thyroid = np.array([[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    own = paths(diabetes_onset=diabetes, hypothyroidism_onset=thyroid)
    assert at_organ_failure().choose(own).tolist() == [1, 3, 0, 2]
    assert "diabetes_onset has come" in at_organ_failure().in_words()


def test_values_regret_and_gain_by_hand():
    own = paths(oi_score=SCORES)
    found = compare_policies(own, [on_day(0.0), at_score(2), never()])
    rows = found.table.set_index("policy")
    # fixed days: 0.5, 0.6, 0.475, 0.4: the best fixed day is 90
    assert found.best_fixed == 90.0
    assert set(rows.index) == {"day 0", "oi_score >= 2", "never", "day 90"}
    # at_score takes candidates 0, 2, 1, 0 in the four members: 0.5, 0.7, 0.6, 0.5
    assert rows.loc["oi_score >= 2", "value"] == pytest.approx(0.575)
    assert rows.loc["oi_score >= 2", "gain"] == pytest.approx(-0.025)
    assert rows.loc["oi_score >= 2", "transplanted"] == 1.0
    assert rows.loc["never", "transplanted"] == 0.0
    # draw 0: best is day 90 (0.7); draw 1: at_score (0.55), against day 0 (0.5), day 90 (0.5)
    regret = found.regret.table.set_index("policy")
    assert regret.loc["day 90", "mean"] == pytest.approx(0.5 * (0.0 + 0.05))
    assert regret.loc["oi_score >= 2", "worst"] == pytest.approx(0.1)
    assert regret.loc["day 0", "mean"] == pytest.approx(0.5 * (0.2 + 0.05))
    assert regret.loc["day 90", "best_in"] == pytest.approx(0.5)
    assert found.regret.best_by_draw == ("day 90", "oi_score >= 2")
    assert json.loads(found.to_json())["best_fixed_day"] == 90.0


def test_unknown_days_and_measurements_are_refused():
    own = paths(oi_score=SCORES)
    with pytest.raises(UsageError, match="day 91 is not a candidate"):
        on_day(91.0).choose(own)
    with pytest.raises(UnknownKeyError, match=r"`ige` is not measured before the transplant\. Known: `oi_score`"):
        at_score(2, "ige").choose(own)
    with pytest.raises(UsageError, match="two policies have one name"):
        compare_policies(own, [on_day(0.0), on_day(0.0)])


def test_visits_show_measured_values_not_true_ones():
    times = np.array([0.0, 60.0, 90.0, 150.0])
    course = np.array([[100.0, 400.0, 1000.0, 5000.0]] * 3000)
    mass = np.broadcast_to(np.array([1.0, 0.5, 0.1, 0.1]), (3000, 4))
    sim = simulated(
        times, {"ige": course, "beta_cell_mass": mass}, units={"ige": "IU/mL", "beta_cell_mass": "fraction"}
    )
    shelf = load_measurements().measurements
    seen = observe_visits(sim, [30.0, 90.0, 120.0, NEVER], [shelf["ige"], shelf["diabetes_onset"]], seed=3, notice=30.0)
    logs = np.log(seen["ige"][:3] / np.array([[100.0], [400.0], [1000.0]]))
    assert logs.std() == pytest.approx(np.sqrt(np.log1p(0.15**2)), rel=0.05)
    assert np.isnan(seen["ige"][3]).all()
    # beta cells fall under 0.2 on day 82.5: known at the visit of day 90
    assert seen["diabetes_onset"][:3, 0].tolist() == [0.0, 0.0, 1.0]
    with pytest.raises(UsageError, match="visit day 61 is not an output time"):
        observe_visits(sim, [91.0, NEVER], [shelf["ige"]], seed=3, notice=30.0)


def test_the_error_is_that_of_children_and_the_interval_that_of_draws():
    random = np.random.default_rng(5)
    effect, shift = random.standard_normal(40), np.linspace(-1.0, 1.0, 21)
    values = (shift[:, None] + effect[None, :]).ravel()
    draw, child = np.repeat(np.arange(21), 40), np.tile(np.arange(40), 21)
    weights = np.full(840, 1 / 840)
    assert child_error(values, weights, child) == pytest.approx(effect.std(ddof=1) / np.sqrt(40))
    found = spread_of(values, weights, draw, child)
    assert (found.low, found.high) == pytest.approx((effect.mean() - 0.9, effect.mean() + 0.9))
    assert np.isnan(spread_of(values[:1], np.ones(1), draw[:1], child[:1]).se)
