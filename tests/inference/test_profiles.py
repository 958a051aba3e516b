"""Likelihood profiles against SciPy, and what is said where the data do not bound a parameter."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hand_groups import Bound, group_of
from linear_fits import X, fitted, minus2ll, observations, profiled

from ipex_pd.errors import UsageError
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import OmegaBlock, Population, Theta
from ipex_pd.inference.profiles import profile

Y = observations()


@pytest.fixture(scope="module")
def found():
    return fitted(Y)


def rise(y, estimates, place, value):
    return profiled(y, place, value, estimates) - minus2ll(y, estimates)


@pytest.mark.parametrize("place", [0, 2, 3])
def test_ends_lie_where_scipy_finds_the_rise(found, place):
    name = found.population.names[place]
    one = profile(found, [name])[name]
    assert one.identifiable
    for end in (one.low, one.high):
        assert rise(Y, found.estimates, place, end.value) == pytest.approx(scipy.stats.chi2.ppf(0.95, 1), abs=0.01)
    assert one.low.value < found.estimates[place] < one.high.value
    assert one.points["value"].is_monotonic_increasing
    assert one.points["rise"].min() == 0.0


def test_variances_and_covariances_of_a_block():
    y = observations(subjects=40, slope=0.5)
    block = fitted(y, effects=2)
    np.testing.assert_allclose(block.value, minus2ll(y, block.estimates), rtol=1e-8)
    for name, place in (("omega(eb,ea)", 4), ("omega(eb)", 5)):
        one = profile(block, [name], level=0.9)[name]
        assert one.identifiable
        assert rise(y, block.estimates, place, one.high.value) == pytest.approx(scipy.stats.chi2.ppf(0.9, 1), abs=0.02)
        assert one.points[name].to_numpy() == pytest.approx(one.points["value"].to_numpy(), rel=1e-9)


def test_a_variance_that_may_be_zero_reaches_its_bound():
    little = fitted(observations(subjects=12, spread=0.2, slope=0.0, seed=3))
    found = profile(little, ["omega(ea)"])
    one = found["omega(ea)"]
    assert one.low.outcome == "bound"
    assert one.low.value == 0.0
    assert one.low.rise < 3.84
    assert one.high.outcome == "found"
    assert not one.identifiable
    assert "next to its bound 0" in found.remarks[0]


def test_a_parameter_that_the_data_do_not_know_is_flat():
    def apart(inputs, theta, eta):
        (x,) = inputs
        return (theta[:, 0] + theta[:, 3] + eta[:, 0])[:, None] + theta[:, 1:2] * x, theta[:, 2:3]

    thetas = (
        Theta("a", 1.5),
        Theta("b", -0.4),
        Theta("s", 0.3, lower=0.0, scale="log", role="residual"),
        Theta("c", 0.1),
    )
    group = group_of(apart, Y, (jnp.asarray(np.tile(X, (len(Y), 1))),), 1)
    bound = Bound(Population(thetas, (OmegaBlock(("ea",), ((0.4,),)),)), (group,))
    found = profile(fit(bound, "fo", FitOptions(restarts=0)), ["c", "b"])
    assert (found["c"].low.outcome, found["c"].high.outcome) == ("flat", "flat")
    assert (found["c"].low.value, found["c"].high.value) == (-np.inf, np.inf)
    assert found["b"].identifiable
    assert all("practically not identifiable" in remark for remark in found.remarks)
    assert list(found.parameters["identifiable"]) == [False, True]


def test_a_fit_above_its_minimum_is_found_out(found):
    early = fit(found.bound, "fo", FitOptions(restarts=0, iterations=2, gradient=1e6), start=found.w + 0.2)
    assert early.value > found.value + 0.1
    told = profile(early, ["a"])
    assert told.lower == pytest.approx(found.value - early.value, abs=1e-3)
    assert "the fit is not at its minimum" in str(told)


def test_an_interrupt_keeps_the_profiles_done(found):
    def stop(name, value, rise):
        if name == "b":
            raise KeyboardInterrupt

    kept = profile(found, ["a", "b"], progress=stop)
    assert kept.interrupted
    assert [one.name for one in kept.profiles] == ["a"]


def test_names_that_are_not_estimated_are_refused(found):
    with pytest.raises(UsageError, match=r"`omega\(e\)` is not an estimated parameter\. Nearest: `omega\(ea\)`"):
        profile(found, ["omega(e)"])
    with pytest.raises(UsageError, match="level = 2"):
        profile(found, ["a"], level=2.0)
    with pytest.raises(UsageError, match="`b` was not profiled"):
        profile(found, ["a"])["b"]
