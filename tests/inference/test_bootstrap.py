"""The bootstrap: it resamples, reuses programs, repeats itself, and hides no replicate."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
from hand_groups import Bound
from linear_fits import bound_of, fitted, observations

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.objectives import evaluate
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Population, Prior
from ipex_pd.inference.reestimation import Reestimation
from ipex_pd.inference.resampling import bca_intervals, bootstrap, load_bootstrap
from ipex_pd.inference.strata import resampled, strata_of
from ipex_pd.records.library import load_problem

Y = observations()
STRATA = tuple("big" if i < 16 else "small" for i in range(24))


@pytest.fixture(scope="module")
def found():
    return fitted(Y)


@pytest.fixture(scope="module")
def repeated(found):
    return bootstrap(found, 30, seed=7, stratify=STRATA)


def test_a_replicate_is_the_fit_to_the_drawn_subjects(found, repeated):
    for number in (0, 3):
        rows = np.repeat(np.arange(24), repeated.counts[number])
        group = replace(bound_of(Y).groups[0].take(rows), subjects=np.arange(24))
        direct = fit(Bound(found.population, (group,)), "fo", FitOptions(restarts=0))
        assert repeated.replicates[number].value == pytest.approx(direct.value, abs=1e-4)
        np.testing.assert_allclose(repeated.draws().values[number], direct.estimates, rtol=2e-3)


def test_stratified_resampling_resamples_and_keeps_the_sizes_of_strata(repeated):
    counts = repeated.counts
    big = np.array(STRATA) == "big"
    assert (counts[:, big].sum(1) == 16).all()
    assert (counts[:, ~big].sum(1) == 8).all()
    for member in (big, ~big):
        drawn = counts[:, member]
        assert not (drawn == 1).all(axis=1).any()
        size = drawn.shape[1]
        assert (drawn == 0).mean() == pytest.approx((1 - 1 / size) ** size, abs=0.06)
    assert len({tuple(row) for row in counts}) == len(counts)
    values = repeated.draws().values
    assert (values.std(0) > 0).all()


def test_drawn_how_often_depends_on_seed_and_number_only():
    np.testing.assert_array_equal(resampled(STRATA, 7, 4), resampled(STRATA, 7, 4))
    assert (resampled(STRATA, 7, 4) != resampled(STRATA, 7, 5)).any()
    assert (resampled(STRATA, 7, 4) != resampled(STRATA, 8, 4)).any()


def test_nothing_is_compiled_anew(found):
    bootstrap(found, 1)
    before = evaluate._cache_size()
    bootstrap(found, 3, seed=2)
    assert evaluate._cache_size() == before


def test_standard_errors_are_near_those_of_the_sandwich(found):
    table = bootstrap(found, 80, seed=3).parameters
    np.testing.assert_allclose(table["se"], found.covariance.standard_errors, rtol=0.35)
    assert (table["low"] < table["estimate"]).all()
    assert (table["high"] > table["estimate"]).all()


def test_a_bootstrap_goes_on_where_it_stopped(found, repeated, tmp_path):
    begun = bootstrap(found, 4, seed=7, stratify=STRATA)
    begun.save(tmp_path / "boot.json")
    ended = bootstrap(found, 8, seed=7, stratify=STRATA, resume=load_bootstrap(tmp_path / "boot.json", found))
    assert [r.number for r in ended.replicates] == list(range(8))
    np.testing.assert_array_equal(ended.draws().values, repeated.draws().values[:8])
    with pytest.raises(UsageError, match="another fit, seed or strata"):
        bootstrap(found, 8, seed=8, stratify=STRATA, resume=begun)
    other = fitted(observations(seed=9))
    with pytest.raises(RecordError, match="the bootstrap of another fit"):
        load_bootstrap(tmp_path / "boot.json", other)
    (tmp_path / "boot.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RecordError, match="does not hold a bootstrap"):
        load_bootstrap(tmp_path / "boot.json", found)


def test_an_interrupt_keeps_the_replicates_done(found, repeated, monkeypatch):
    def stop(done, _):
        if done == 3:
            raise KeyboardInterrupt

    kept = bootstrap(found, 9, seed=7, stratify=STRATA, progress=stop)
    assert kept.interrupted
    assert len(kept.replicates) == 3
    assert "(interrupted)" in str(kept)

    calls = iter(range(10**6))
    own = Reestimation.search

    def search(self, *args, **kwargs):
        result = own(self, *args, **kwargs)
        return replace(result, interrupted=True) if next(calls) == 2 else result

    monkeypatch.setattr(Reestimation, "search", search)
    kept = bootstrap(found, 9, seed=7, stratify=STRATA)
    assert kept.interrupted
    np.testing.assert_array_equal(kept.draws().values, repeated.draws().values[:2])


def test_failed_and_boundary_replicates_are_counted_and_both_intervals_given(monkeypatch):
    little = fitted(observations(subjects=12, spread=0.25, slope=0.0, seed=3))
    own = Reestimation.search
    calls = iter(range(10**6))

    def search(self, *args, **kwargs):
        result = own(self, *args, **kwargs)
        bad = {"value": float("nan"), "outcome": "failed: on purpose", "converged": False}
        return replace(result, **bad) if next(calls) == 1 else result

    monkeypatch.setattr(Reestimation, "search", search)
    found = bootstrap(little, 40, seed=1)
    tally = found.tally
    assert tally["failed"] == 1
    assert tally["at a boundary"] >= 3
    assert tally["replicates"] == 40
    assert sum(tally.values()) == 80
    assert len(found.draws()) == 39
    assert len(found.draws(clean=True)) == tally["clean"]
    table = found.parameters.set_index("parameter")
    assert table.loc["omega(ea)", "low"] < table.loc["omega(ea)", "clean_low"]
    assert found.table["outcome"][1] == "failed: on purpose"
    assert found.table["boundary"].str.contains("omega").sum() == tally["at a boundary"]
    assert "1 failed" in str(found)


def test_bca_against_scipy():
    sample = np.random.default_rng(2).exponential(size=25)
    told = scipy.stats.bootstrap((sample,), np.mean, n_resamples=4000, method="BCa", rng=np.random.default_rng(0))
    away = sample - sample.mean()
    skew = np.array([np.sum(away**3) / (6 * np.sum(away**2) ** 1.5)])
    ends = bca_intervals(told.bootstrap_distribution[:, None], np.array([sample.mean()]), skew, 0.95)
    np.testing.assert_allclose(ends[:, 0], told.confidence_interval, rtol=2e-3)
    assert np.isnan(bca_intervals(np.ones((5, 1)), np.zeros(1), skew, 0.9)).all()


def test_strata_within_which_nothing_is_resampled_are_refused(found):
    with pytest.raises(UsageError, match="nothing would be resampled"):
        bootstrap(found, 3, stratify=range(24))
    with pytest.raises(UsageError, match="3 labels for 24 subjects"):
        bootstrap(found, 3, stratify=["a", "b", "c"])
    with pytest.raises(UsageError, match="no covariates or endpoints to stratify by"):
        bootstrap(found, 3, stratify="sex")
    with pytest.raises(UsageError, match="replicates = 0"):
        bootstrap(found, 0)


def test_strata_by_covariate_and_endpoint():
    bound = bind(load_problem("phenobarbital"))
    like = SimpleNamespace(bound=bound, found=SimpleNamespace(at=SimpleNamespace(values=np.zeros(59))))
    labels = strata_of(like, "APGAR")
    assert len(labels) == 59
    assert labels[0] == f"APGAR = {bound.subjects[0].covariates['APGAR'][0]:g}"
    assert set(strata_of(like, "endpoint")) == {"phenobarbital"}
    with pytest.raises(UsageError, match=r"`APGR` is no covariate of this problem\. Nearest: `APGAR`"):
        strata_of(like, "APGR")
    first = bound.subjects[0]
    moved = replace(first, covariates={**first.covariates, "APGAR": np.arange(len(first.time), dtype=float)})
    like.bound = replace(bound, subjects=(moved, *bound.subjects[1:]))
    with pytest.raises(UsageError, match="`APGAR` changes in subject 1"):
        strata_of(like, "APGAR")


def test_a_fit_that_cannot_be_repeated_is_refused():
    modes = fit(bound_of(Y), "map", FitOptions(restarts=0))
    with pytest.raises(UsageError, match="the bootstrap cannot follow a fit by `map`"):
        bootstrap(modes, 3)


def test_priors_and_subjects_set_aside_count_as_in_the_fit():
    bound = bound_of(Y)
    thetas = (replace(bound.population.thetas[0], prior=Prior("normal", 5.0, 0.05)), *bound.population.thetas[1:])
    held = fit(Bound(Population(thetas, bound.population.blocks), bound.groups), "fo", FitOptions(restarts=0))
    again = Reestimation(held, "a test").search()
    assert again.value == pytest.approx(held.value, abs=1e-6)
    table = bootstrap(held, 10).parameters.set_index("parameter")
    assert table.loc["a", "mean"] == pytest.approx(5.0, abs=0.3)
    assert table.loc["a", "se"] < 0.05

    values = np.where(np.arange(24) == 3, np.nan, held.found.at.values)
    aside = replace(held, found=replace(held.found, at=replace(held.found.at, values=values)))
    near = Reestimation(aside, "a test")
    rest = near.search().value
    assert rest < held.value - held.found.at.values[3] + 1e-6
    assert rest == pytest.approx(near.search(weights=np.where(np.arange(24) == 3, 7.0, 1.0)).value, abs=1e-6)
