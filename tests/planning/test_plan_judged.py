"""Judging regimens: intervals over crossed samples, and limits as a simulation keeps them."""

from types import SimpleNamespace

import numpy as np
import pytest
from simulations_by_hand import made

from ipex_pd.planning.judged import Judgement, best_of, gain, interval, resampled
from ipex_pd.planning.judged_limits import judged_limits, sample_times
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.tables import DoseTable, Exposure

WHY = "assumed for this test"
BASE = {
    "name": "by_hand",
    "description": "A problem.",
    "patient": "seidel_2009",
    "start": "prednisolone_tacrolimus",
    "horizon": "28 day",
    "ensemble": {"children": 4, "draws": 3, "seed": 1},
    "free": [{"dose": "tacrolimus", "lowest": "0.02 mg/kg/day", "highest": "0.4 mg/kg/day"}],
    "goals": [{"minimise": "oi_score", "weight": 1, "assumed": WHY}],
}


def problem(**changes):
    return from_data(PlanningProblem, {**BASE, **changes}, where="by_hand")


def crossed(children, draws, weights=None):
    count = children * draws
    return SimpleNamespace(
        child=np.tile(np.arange(children), draws),
        draw=np.repeat(np.arange(draws), children),
        weights=np.full(count, 1.0 / count) if weights is None else weights,
        __len__=lambda: count,
    )


class Members(SimpleNamespace):
    def __len__(self):
        return len(self.weights)


def members(children, draws):
    plain = crossed(children, draws)
    return Members(child=plain.child, draw=plain.draw, weights=plain.weights)


def judgement(name, values, limits=()):
    return Judgement(name, None, float(np.mean(values)), 0.0, 0.0, np.asarray(values, float), {}, limits, None, 0)


def test_children_and_draws_are_resampled_as_wholes():
    counts = resampled(members(4, 3), seed=1)
    table = counts.reshape(-1, 3, 4)
    assert (table.sum((1, 2)) == 12).all()
    # counts are products of a count of the draw and a count of the child
    ranks = [np.linalg.matrix_rank(one) for one in table[:50]]
    assert max(ranks) == 1
    assert resampled(members(1, 1), seed=1) is None


def test_the_interval_covers_both_sources_of_spread():
    random = np.random.default_rng(5)
    child, draw = random.standard_normal(40), 3 * random.standard_normal(30)
    values = (draw[:, None] + child[None, :]).reshape(-1)
    low, high = interval(problem(), members(40, 30), values, seed=2)
    wide = 2 * 1.96 * np.sqrt(draw.var() / 30 + child.var() / 40)
    assert high - low == pytest.approx(wide, rel=0.15)
    # as if all 1200 members were independent it would be far too narrow
    assert high - low > 5 * 2 * 1.96 * values.std() / np.sqrt(1200)


def test_paired_gains_are_sharper_than_each_value():
    group = members(30, 4)
    base = np.random.default_rng(1).standard_normal(120)
    found = gain(problem(), group, judgement("a", base + 0.1), judgement("b", base), seed=1)
    assert found.value == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)
    assert found.share_better == 1.0


def test_what_the_solver_cannot_tell_is_no_gain():
    group = members(30, 4)
    base = 5.0 + np.random.default_rng(1).standard_normal(120)
    found = gain(problem(), group, judgement("a", base + 1e-7), judgement("b", base), seed=1)
    assert (found.value, found.low, found.high, found.share_better) == (0.0, 0.0, 0.0, 0.5)
    # a mean without difference of members who differ keeps its interval
    mixed = base + 0.1 * np.where(np.arange(120) % 2, 1, -1)
    found = gain(problem(), group, judgement("a", mixed), judgement("b", base), seed=1)
    assert found.low < found.high


def test_the_best_keeps_its_limits_first():
    limit = SimpleNamespace(met=False, violation=0.2)
    kept, missed = judgement("kept", [1.0]), judgement("missed", [2.0], (limit,))
    assert best_of([missed, kept]) is kept


TIMES = np.arange(0.0, 29.0, 0.5)
LIMITS = [
    {"trough": "tacrolimus", "low": "5 ng/mL", "high": "10 ng/mL", "share": "90 %", "days": [7, 14]},
    {"trough": "tacrolimus", "high": "10 ng/mL", "days": [7, 14]},
    {"daily_dose": "tacrolimus", "most": "2 mg/day"},
    {"single_dose": "tacrolimus", "most": "0.15 mg/kg"},
    {"cumulative_dose": "tacrolimus", "most": "10 mg"},
    {"endpoint": "oi_score", "most": 0.5, "share": "50 %"},
]


@pytest.fixture
def regimen():
    dose = {"drug": "tacrolimus", "amount": "1 mg", "route": "oral", "every": "12 h", "source": {"assumed": WHY}}
    return from_data(Regimen, {"name": "by_hand", "description": "Doses.", "doses": [dose]}, where="by_hand")


def simulation(levels, scores):
    level = np.stack([np.full(TIMES.shape, value) for value in levels])
    times = np.tile(np.arange(0.0, 28.0, 0.5), (2, 1))
    return made(
        TIMES,
        {
            "tacrolimus": level,
            "weight": np.full(level.shape, 10.0),
            "oi_score": np.stack([np.full(TIMES.shape, score) for score in scores]),
        },
        units={"tacrolimus": "ng/mL"},
        exposures=(Exposure("tacrolimus", "tacrolimus"),),
        doses=DoseTable(("tacrolimus",) * 56, ("oral",) * 56, times, np.ones(times.shape), np.zeros(times.shape)),
    )


def test_limits_are_kept_as_they_are_written(regimen):
    asked = problem(limits=LIMITS)
    np.testing.assert_allclose(sample_times(asked, regimen), [7.0, 14.0, 7.0, 14.0])
    weights = np.array([0.75, 0.25])
    found = judged_limits(asked, simulation([7.0, 14.0], [0.4, 0.9]), regimen, weights)
    share, mean, daily, single, total, endpoint = found
    assert (share.value, share.low, share.met) == (0.75, 0.9, False)
    assert share.label == "trough of tacrolimus at least 5 and at most 10 ng/mL in 90%"
    assert mean.value == pytest.approx(0.75 * 7 + 0.25 * 14)
    assert mean.met
    assert (daily.value, daily.met) == (2.0, True)
    assert single.value == pytest.approx(0.1)
    assert single.met
    assert total.value == pytest.approx(56.0)
    assert not total.met
    assert total.violation == pytest.approx(4.6)
    assert (endpoint.value, endpoint.met) == (0.75, True)


def test_a_drug_that_is_over_misses_its_window_and_keeps_an_upper_end():
    dose = {
        "drug": "tacrolimus",
        "amount": "1 mg",
        "route": "oral",
        "every": "12 h",
        "stop": "5 day",
        "source": {"assumed": WHY},
    }
    short = from_data(Regimen, {"name": "by_hand", "description": "Doses.", "doses": [dose]}, where="by_hand")
    asked = problem(limits=LIMITS[:1])
    assert sample_times(asked, short).size == 0
    (found,) = judged_limits(asked, simulation([1.0, 1.0], [0.1, 0.1]), short, np.array([0.5, 0.5]))
    assert "no dose on the sampled days" in found.label
    assert (found.value, found.low, found.met) == (0.0, 0.9, False)
    # the same window of the mean, and windows that only have an upper end
    window = {name: end for name, end in LIMITS[0].items() if name != "share"}
    upper = {name: end for name, end in LIMITS[0].items() if name != "low"}
    asked = problem(limits=[window, upper, LIMITS[1]])
    met = [one.met for one in judged_limits(asked, simulation([1.0, 1.0], [0.1, 0.1]), short, np.array([0.5, 0.5]))]
    assert met == [False, True, True]
