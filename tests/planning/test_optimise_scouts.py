"""Scouts stand for all members: their statistics, who they are, and what is searched on from where they ended."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from ipex_pd.planning.ensemble import ensemble_of
from ipex_pd.planning.optimise_scouts import scouts_of
from ipex_pd.planning.optimise_search import PlanOptions, SearchEnd, distinct_ends
from ipex_pd.planning.plan import PlanOptimality, StartOutcome
from ipex_pd.planning.statistic import plain_statistic
from ipex_pd.records.library import load_patient
from ipex_pd.records.plan_goals import Statistic

MEAN, WORST, TENTH = (Statistic.model_validate(words) for words in ("mean", "worst", {"quantile": 0.1}))


@pytest.fixture(scope="module")
def everyone():
    return ensemble_of(load_patient("seidel_2009"), children=20, draws=10, seed=1)


@pytest.fixture(scope="module")
def values(everyone):
    random = np.random.default_rng(4)
    return (2 * random.standard_normal(10)[:, None] + random.standard_normal(20)[None, :]).reshape(-1)


def places(everyone, scouts):
    labels = list(everyone.population.labels)
    return np.array([labels.index(label) for label in scouts.population.labels])


def test_statistics_of_scouts_are_near_those_of_all(everyone, values):
    scouts = scouts_of(everyone, values, 16, MEAN)
    own = values[places(everyone, scouts)]
    assert len(scouts) == 16
    assert scouts.weights.sum() == pytest.approx(1.0)
    assert plain_statistic(MEAN, own, scouts.weights) == pytest.approx(values.mean(), abs=0.1 * values.std())
    tenth = plain_statistic(TENTH, own, scouts.weights)
    near = np.quantile(values, [0.03, 0.17])
    assert near[0] <= tenth <= near[1]


def test_scouts_come_from_many_draws_and_children_and_are_the_same_each_time(everyone, values):
    scouts = scouts_of(everyone, values, 16, MEAN)
    assert scouts.children >= 14
    assert scouts.draws >= 8
    again = scouts_of(everyone, values, 16, MEAN)
    assert again.population.labels == scouts.population.labels
    np.testing.assert_array_equal(again.weights, scouts.weights)


def test_where_the_worst_counts_the_worst_go(everyone, values):
    scouts = scouts_of(everyone, values, 16, WORST)
    gone = set(places(everyone, scouts).tolist())
    assert set(np.argsort(values)[:8].tolist()) <= gone
    assert len(gone) == 16


def test_members_without_weight_or_numbers_stay(everyone, values):
    lost, idle = np.where(np.arange(200) % 3 == 0, np.nan, values), np.ones(200)
    idle[1::3] = 0.0
    gone = places(everyone, scouts_of(everyone.reweighted(idle), lost, 16, MEAN))
    assert (gone % 3 == 2).all()


def test_heavy_members_stand_for_themselves(everyone, values):
    heavy = np.full(200, 1.0)
    heavy[7] = 200.0
    scouts = scouts_of(everyone.reweighted(heavy), values, 16, MEAN)
    mine = places(everyone, scouts)
    assert 7 in mine
    assert scouts.weights[list(mine).index(7)] == pytest.approx(0.5, abs=0.1)


def test_a_small_ensemble_goes_as_a_whole(everyone):
    few = everyone.pick(range(16))
    assert scouts_of(few, np.zeros(16), 16, MEAN) is few


def end(value, x, violation=0.0):
    return SearchEnd("s", np.array(x), value, SimpleNamespace(violation=violation), 0.0)


def test_a_second_optimum_that_is_nearly_as_good_is_searched_too():
    width = np.array([1.0, 0.0])
    best, other = end(1.0, [0.2, 0.0]), end(0.98, [0.9, 0.0])
    assert distinct_ends([best, end(0.999, [0.21, 0.0])], width) == [best]
    assert distinct_ends([other, best, end(0.999, [0.21, 0.0])], width) == [best, other]
    assert distinct_ends([best, end(0.9, [0.9, 0.0])], width) == [best]
    assert distinct_ends([best, end(2.0, [0.9, 0.0], violation=0.1)], width) == [best]


def test_that_starts_were_compared_on_few_members_is_said():
    one = StartOutcome("a", 1.0, 0.0, True, "", 1, 1, 0.0)
    found = PlanOptimality(0.0, 0.0, True, 0.0, "", (), (one, replace(one, name="b")), 1.0, 200, 16)
    assert found.agreement() == (
        "the same optimum from 2 of 2 starts within 1%, compared on 16 of 200 members; from the best on all of them"
    )
    assert "members" not in replace(found, scouts=0).agreement()


def test_options_of_scouts():
    assert PlanOptions().scouts == 16
    for wrong in ({"scouts": 0}, {"polish": 0}):
        with pytest.raises(Exception, match="It is one or more"):
            PlanOptions(**wrong)
