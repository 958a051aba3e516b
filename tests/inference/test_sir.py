"""SIR against exact likelihoods, its diagnostics, and resampling without replacement."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats
from hand_groups import Bound
from linear_fits import bound_of, observations

from ipex_pd.errors import UsageError
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.importance_resampling import SirOptions, sir, without_replacement
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Population

Y = observations(subjects=8)
OPTIONS = SirOptions(samples=(400,), resamples=(80,), seed=3)


def fitted(*free, **options):
    """The linear model without random effects, all values fixed but those named."""
    bound = bound_of(Y)
    thetas = tuple(replace(t, fixed=t.name not in free) for t in bound.population.thetas)
    return fit(
        Bound(Population(thetas, bound.population.blocks), bound.groups), "pooled", FitOptions(restarts=0, **options)
    )


@pytest.fixture(scope="module")
def normal():
    return fitted("a", "b", covariance="r")


def test_of_a_normal_likelihood_every_draw_is_worth_one(normal):
    found = sir(normal, OPTIONS)
    assert found.last.effective == pytest.approx(400, rel=1e-3)
    assert found.last.degrees == pytest.approx(2.0, abs=4 * 2 / np.sqrt(80))
    table = found.parameters
    assert list(table["parameter"]) == ["a", "b"]
    np.testing.assert_allclose(table["sd"], normal.covariance.standard_errors, rtol=0.3)
    assert found.remarks == ()


def test_a_skewed_likelihood_is_told_with_its_tails():
    found = sir(fitted("s", covariance="r"), SirOptions(samples=(500, 1500), resamples=(100, 300), seed=1)).draws
    residuals = Y - 1.5 + 0.4 * np.array([0.0, 1.0, 2.0, 4.0])
    exact = np.sum(residuals**2) / scipy.stats.chi2(residuals.size).ppf([0.9, 0.5, 0.1])
    told = found.table(level=0.8)
    place = found.names.index("s")
    ends = told.loc[place, ["low", "median", "high"]].to_numpy(float)
    np.testing.assert_allclose(ends, exact, rtol=0.06)
    assert exact[2] / exact[1] > 1.03 * exact[1] / exact[0]


def test_iterations_mend_a_narrow_proposal_and_the_first_one_says_so(normal):
    once = sir(normal, replace(OPTIONS, inflation=0.05))
    assert once.last.effective < 80
    assert any("draw more samples" in remark for remark in once.remarks)
    more = sir(normal, SirOptions(samples=(400,) * 4, resamples=(80,) * 4, inflation=0.05, seed=3))
    table = more.diagnostics
    assert table["effective"].iloc[-1] > 2 * table["effective"].iloc[0]
    assert list(more.distribution.columns[:2]) == ["share", "chi_square"]
    assert "SIR, seed 3" in str(more)


def test_a_fit_above_its_minimum_is_found_out(normal):
    w = normal.w.copy()
    w[0] += 0.5
    moved = replace(normal, found=replace(normal.found, w=w, at=sir_at(normal, w)))
    assert any("the fit is not at its minimum" in remark for remark in sir(moved, OPTIONS).remarks)


def sir_at(one, w):
    from ipex_pd.inference.estimation import objective_for

    return objective_for(one.population, one.bound, one.method).at(w)


def test_seeds_and_interrupts(normal):
    options = SirOptions(samples=(100, 100), resamples=(20, 20), seed=5)
    whole = sir(normal, options)
    np.testing.assert_array_equal(whole.draws.values, sir(normal, options).draws.values)

    def stop(done, total):
        assert total == 200
        if done == 150:
            raise KeyboardInterrupt

    kept = sir(normal, options, progress=stop)
    assert kept.interrupted
    assert len(kept.iterations) == 1
    np.testing.assert_array_equal(kept.last.free, whole.iterations[0].free)
    assert "interrupted" in kept.remarks[0]


def test_without_replacement_none_comes_twice_and_chances_are_right():
    random = np.random.default_rng(0)
    logs = np.log([0.6, 0.3, 0.1])
    counts = np.zeros(3)
    for _ in range(4000):
        places = without_replacement(logs, 2, random)
        assert len(set(places)) == 2
        counts[places] += 1
    last = 0.6 * 0.3 / 0.4 + 0.3 * 0.6 / 0.7
    assert 1 - counts[2] / 4000 == pytest.approx(last, abs=0.03)
    assert not np.isin(2, without_replacement(np.array([0.0, 0.0, -np.inf]), 2, random))


def test_what_cannot_be_honoured_is_refused(normal):
    with pytest.raises(UsageError, match="Resampling is without replacement"):
        SirOptions(samples=(100,), resamples=(200,))
    with pytest.raises(UsageError, match="One of each an iteration"):
        SirOptions(samples=(100, 100), resamples=(20,))
    with pytest.raises(UsageError, match="inflation = 0"):
        SirOptions(inflation=0.0)
    without = replace(normal, covariance=replace(normal.covariance, outcome="not asked for", definite=False))
    with pytest.raises(UsageError, match="no covariance of its estimates: not asked for"):
        sir(without, OPTIONS)
