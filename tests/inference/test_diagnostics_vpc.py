"""Visual predictive checks and bins against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from checked_problems import by_hand, frame, problem, simulated

from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.diagnostics.bins import bins_of
from ipex_pd.inference.diagnostics.records import records_of
from ipex_pd.inference.diagnostics.replicates import replicate
from ipex_pd.inference.diagnostics.vpc import percentile, visual_check


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    table = frame(9, (1.0, 2.0), ARM=lambda i, k: i % 2)
    data = {"file": "data.csv", "covariates": ["ARM"]}
    bound = simulated(tmp_path_factory.mktemp("vpc"), table, data=data)
    return replicate(records_of(bound), bound.population.start, 50, seed=2)


def row(check, where, q, stratum=""):
    table = check.table
    return table[(table.stratum == stratum) & (table.bin == where) & (table.percentile == q)].iloc[0]


def test_percentiles_and_their_intervals_are_numpys(drawn):
    check = visual_check(drawn, np.full(len(drawn.records), 10.0))
    assert len(check.table) == 6
    for k, time in enumerate((1.0, 2.0)):
        own = drawn.records.time == time
        for q in (5, 50, 95):
            found = row(check, k, q)
            assert found.x == time
            assert found.records == 9
            assert found.observed == pytest.approx(np.percentile(drawn.records.dv[own], q))
            told = np.percentile(drawn.values[:, own], q, axis=1)
            wanted = np.percentile(told, [2.5, 50, 97.5])
            np.testing.assert_allclose([found.low, found["median"], found.high], wanted)


def test_a_tiny_case_by_hand(tmp_path):
    bound = simulated(tmp_path, frame(3, (1.0,)))
    records = records_of(bound)
    values = [[1.0, 2.0, 6.0], [3.0, 5.0, 4.0], [0.0, 9.0, 3.0]]
    found = row(visual_check(by_hand(records, values), np.ones(3), level=0.5), 0, 50)
    # medians 2, 4, 3 of the three replicates; their quartiles are 2.5 and 3.5
    assert (found.low, found["median"], found.high) == (2.5, 3.0, 3.5)


def test_prediction_correction_by_hand(drawn):
    records = drawn.records
    population = 5.0 + np.arange(len(records), dtype=float)
    for correction in ("ratio", "difference"):
        check = visual_check(drawn, population, correction=correction)
        for k, time in enumerate((1.0, 2.0)):
            own = records.time == time
            middle, mine = np.median(population[own]), population[own]

            def corrected(y, middle=middle, mine=mine, correction=correction):
                return y * middle / mine if correction == "ratio" else y + middle - mine

            found = row(check, k, 95)
            assert found.observed == pytest.approx(np.percentile(corrected(records.dv[own]), 95))
            told = np.percentile(corrected(drawn.values[:, own]), 95, axis=1)
            assert found.high == pytest.approx(np.percentile(told, 97.5))


def test_records_that_cannot_be_corrected_are_counted(drawn):
    population = np.where(np.arange(len(drawn.records)) < 4, 0.0, 10.0)
    assert visual_check(drawn, population, correction="ratio").left_out == 4
    with pytest.raises(UsageError, match="no record of `level` can be corrected"):
        visual_check(drawn, 0 * population, correction="ratio")


def test_strata(drawn):
    check = visual_check(drawn, np.full(len(drawn.records), 10.0), stratify="ARM", bins=1)
    assert sorted(check.table.stratum.unique()) == ["ARM 0", "ARM 1"]
    own = drawn.records.covariates["ARM"] == 1
    found = row(check, 0, 50, "ARM 1")
    assert found.records == own.sum() == 8
    assert found.observed == pytest.approx(np.median(drawn.records.dv[own]))


def test_wrong_words_are_refused(drawn):
    ones = np.ones(len(drawn.records))
    for words, told in (
        ({"x": "tiem"}, "`tiem` is not something to plot against. Nearest: `time`"),
        ({"stratify": "AGE"}, "`AGE` is not something to stratify by"),
        ({"endpoint": "levl"}, "`levl` is not an endpoint. Nearest: `level`"),
        ({"correction": "both"}, "`both` is not a correction"),
        ({"bins": [1.0, 1.0]}, "the edges of bins do not rise"),
        ({"bins": 0}, "0 bins"),
    ):
        with pytest.raises(UsageError) as error:
            visual_check(drawn, ones, **words)
        assert error.value.message.startswith(told)


def test_censored_shares_and_percentiles_by_hand(tmp_path):
    endpoints = {"level": {"prediction": "level", "error": {"model": "additive", "additive": "sd"}, "censoring": "m3"}}
    table = frame(5, (1.0,), CENS=lambda i, k: int(i < 2))
    table["DV"] = [4.0, 4.0, 5.0, 6.0, 8.0]
    records = records_of(bind(problem(tmp_path, table, endpoints=endpoints)))
    values = [[3.0, 5.0, 6.0, 7.0, 8.0], [1.0, 2.0, 3.0, 4.5, 5.0], [1.0, 2.0, 5.0, 6.0, 7.0]]
    check = visual_check(by_hand(records, values), np.ones(5), level=0.5)
    shares = check.censored.iloc[0]
    assert (shares.side, shares.observed) == (1, 0.4)
    assert (shares.low, shares["median"], shares.high) == pytest.approx((0.3, 0.4, 0.5))  # of 0.2, 0.4 and 0.6
    assert row(check, 0, 50).observed == 5.0
    assert np.isnan(row(check, 0, 5).observed)  # it lies below the limit
    # the medians of the replicates are 6, below the limit, and 5
    assert row(check, 0, 50)["median"] == 5.0
    assert check.points.y.isna().sum() == 2


def test_percentiles_with_infinities():
    values = np.array([-np.inf, -np.inf, 1.0, 2.0, 4.0])
    assert percentile(values, 50) == 1.0
    assert percentile(values, 25) == -np.inf
    assert percentile(values, 87.5) == 3.0
    assert percentile(-values, 80) == np.inf


def test_bins_given_distinct_and_clustered():
    x = np.repeat([0.0, 1.0, 2.0], 5)
    np.testing.assert_array_equal(bins_of(x).edges, [0.0, 0.5, 1.5, 2.0])
    given = bins_of(x, [0.0, 1.0, 3.0])
    np.testing.assert_array_equal(given.place(np.array([-1.0, 0.0, 1.0, 3.0, 3.1, np.nan])), [-1, 0, 1, 1, -1, -1])
    random = np.random.default_rng(1)
    clusters = np.concatenate([random.normal(m, 0.1, 40) for m in (0.0, 5.0, 20.0)])
    np.testing.assert_allclose(bins_of(clusters, 3).edges[1:3], [2.5, 12.5], atol=0.4)
    np.testing.assert_array_equal(bins_of(clusters, 3).place(clusters), np.repeat([0, 1, 2], 40))
    assert len(bins_of(np.array([3.0, 3.0]))) == 1


def test_clusters_have_the_least_spread():
    """Against every partition of nine values into three runs."""
    x = np.sort(np.random.default_rng(4).exponential(1.0, 9))

    def spread(parts):
        return sum(((part - part.mean()) ** 2).sum() for part in parts)

    best = min(spread([x[:a], x[a:b], x[b:]]) for a in range(1, 8) for b in range(a + 1, 9))
    place = bins_of(x, 3).place(x)
    assert spread([x[place == k] for k in range(3)]) == pytest.approx(best)
    many = bins_of(np.random.default_rng(5).normal(size=3000))
    counts = np.bincount(many.place(np.random.default_rng(5).normal(size=3000)))
    assert counts.min() >= 0.04 * 3000 * 0.99
