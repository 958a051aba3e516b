"""Sub-steps over many doses: where they lie, and levels, averages and filters inside them against closed forms."""

from __future__ import annotations

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import fixed_quad

from ipex_pd.numerics import averaging, superposition
from ipex_pd.numerics.march_steps import cut, rooms
from ipex_pd.numerics.mesh import Grading

GRADING = Grading(first=1.0, growth=0.3, longest=2.0)
EVENTS = np.array([0.01, 0.51, 1.01, 1.51, 2.01, 2.01, 2.51, 3.01, 3.51])
HARD = np.array([0.0, 0.7, 4.0, 9.0])
VALUES = {
    "clearance": 30.0,
    "volume_central": 20.0,
    "intercompartmental_clearance_1": 10.0,
    "volume_peripheral_1": 50.0,
    "absorption_rate": 25.0,
}


def test_sub_steps_begin_where_they_must_and_hold_every_event_once():
    steps = cut(HARD, HARD[:1], [EVENTS], (4,), GRADING)
    pieces = steps.pieces[0]
    assert set(HARD) <= set(steps.edges)
    assert np.diff(steps.edges).max() <= 2.0 + 1e-8
    assert np.diff(steps.edges)[-1] == 0
    assert pieces.event[pieces.event >= 0].tolist() == list(range(len(EVENTS)))
    assert pieces.begin[pieces.event >= 0] == pytest.approx(EVENTS)
    assert np.bincount(pieces.step).max() <= 4
    assert np.bincount(pieces.step, pieces.span) == pytest.approx(np.diff(steps.edges))
    assert pieces.span.max() <= 1.1
    assert rooms([(HARD, [EVENTS])], GRADING) >= (3,)


@pytest.fixture(scope="module")
def taken():
    """One child over three pieces of one sub-step: a dose at 0, one infused from 0.4 to 1.0, none, over 1.5 days."""
    drug = superposition.kinetics(VALUES, 2, True, 1)
    span, zero = jnp.array([[0.4], [0.6], [0.5]]), jnp.zeros((3, 1))
    oral, rate = zero.at[0].set(5.0), zero.at[1].set(3.0 / 0.6)
    found = averaging.take(drug, jnp.zeros((3, 1)), span, oral, zero, rate)
    return drug, span, rate, found


def level(times):
    oral = superposition.concentration(VALUES, times, np.array([0.0]), np.array([5.0]), compartments=2, oral=True)
    poured = superposition.concentration(
        VALUES, times, np.array([0.4]), np.array([3.0]), compartments=2, oral=False, durations=np.array([0.6])
    )
    return np.asarray(oral + poured)[:, 0]


def test_levels_are_those_of_the_superposition(taken):
    drug, span, rate, found = taken
    made = averaging.levels(drug, found, span, rate, depot=True, infused=True)[:, :, 0]
    begin = np.array([0.0, 0.4, 1.0])[:, None]
    times = begin + averaging.TIMES * np.asarray(span)
    assert np.asarray(made).ravel() == pytest.approx(level(times.ravel()), rel=1e-10)
    assert float(found.end[1, 0] / drug.volume[0]) == pytest.approx(level(np.array([1.5]))[0], rel=1e-10)
    assert float(found.before[2, 0] / drug.volume[0]) == pytest.approx(level(np.array([1.0]))[0], rel=1e-10)


def integral(function, low, high):
    """By Gauss quadrature; half as many nodes give the same."""
    found, coarser = (fixed_quad(function, low, high, n=n)[0] for n in (80, 40))
    assert found == pytest.approx(coarser, rel=1e-8, abs=1e-12)
    return found


def test_averages_and_filters_are_those_of_quadrature(taken):
    drug, span, rate, found = taken
    made = averaging.levels(drug, found, span, rate, depot=True, infused=True)
    effect = made / (made + 0.02)

    def exact(time):
        value = level(time)
        return value / (value + 0.02)

    begin = jnp.array([[[0.0], [0.4], [1.0]]])
    weights = averaging.basis(begin, span[None], jnp.array([[1.5]]))
    moments = np.asarray(averaging.coefficients(weights, effect))[:, 0, 0]
    for degree, moment in enumerate(moments):
        shape = np.polynomial.legendre.Legendre.basis(degree)
        cuts = ((0.0, 0.05), (0.05, 0.4), (0.4, 0.45), (0.45, 1.0), (1.0, 1.5))
        parts = [integral(lambda t, s=shape: exact(t) * s(2 * t / 1.5 - 1), *ends) for ends in cuts]
        assert moment == pytest.approx((2 * degree + 1) / 1.5 * sum(parts), abs=3e-4)
    decay = jnp.array([4.0])
    edges = averaging.filtered(jnp.array([0.2]), effect, decay, span)
    left = [integral(lambda t: exact(t) * np.exp(-4.0 * (1.5 - t)), *ends) for ends in cuts]
    assert float(edges[-1, 0]) == pytest.approx(0.2 * np.exp(-6.0) + sum(left), abs=1e-4)
    inside = averaging.filter_nodes(edges, effect, decay, span)[0, 6, 0]
    when = float(averaging.TIMES[6] * 0.4)
    ends = (0.0, when / 20, when)
    until = sum(integral(lambda t: exact(t) * np.exp(-4.0 * (when - t)), *pair) for pair in pairwise(ends))
    assert float(inside) == pytest.approx(0.2 * np.exp(-4.0 * when) + until, abs=3e-4)
