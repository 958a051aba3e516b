import numpy as np
import pytest

from ipex_pd.numerics.constrained_elastic import feasible_start, irreducible, least_violation
from ipex_pd.numerics.constrained_limits import LinearLimits, NonlinearLimits

BOX = {"lower": np.zeros(3), "upper": np.full(3, 5.0)}
# a + b >= 3, a <= 1 and b + c <= 1.5 cannot be kept together
CONTRARY = LinearLimits(
    np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]]),
    [3.0, -np.inf, -np.inf, -np.inf],
    [np.inf, 1.0, 1.5, 4.0],
    ("sum", "first", "rest", "idle"),
)


def test_the_sum_of_violations_is_least():
    found = least_violation(np.zeros(3), **BOX, linear=CONTRARY)
    assert not found.feasible
    assert found.exact
    # half a unit is missing, and it is cheapest where a unit weighs least: a third
    np.testing.assert_allclose(found.excess, [0.5, 0.0, 0.0, 0.0], atol=1e-9)
    assert found.total == pytest.approx(0.5 / 3)


def test_only_the_soft_limits_yield():
    found = least_violation(np.zeros(3), **BOX, linear=CONTRARY, soft=np.array([False, True, False, False]))
    np.testing.assert_allclose(found.excess, [0.0, 0.5, 0.0, 0.0], atol=1e-9)


def test_limits_that_can_be_kept_are():
    kept = LinearLimits(CONTRARY.matrix[1:], CONTRARY.lower[1:], CONTRARY.upper[1:], CONTRARY.labels[1:])
    assert least_violation(np.full(3, 5.0), **BOX, linear=kept).feasible
    assert irreducible(kept, BOX["lower"], BOX["upper"], ("a", "b", "c")) == ()


def test_an_irreducible_set_can_be_kept_without_any_of_its_members():
    names = ("a", "b", "c")
    found = irreducible(CONTRARY, BOX["lower"], BOX["upper"], names)
    assert found == ("sum", "first", "rest", "c is at least 0")
    for label in found[:3]:
        rows = [i for i, other in enumerate(CONTRARY.labels) if other != label]
        fewer = LinearLimits(CONTRARY.matrix[rows], CONTRARY.lower[rows], CONTRARY.upper[rows])
        assert irreducible(fewer, BOX["lower"], BOX["upper"], names) == ()


def test_limits_that_are_not_linear_yield_too():
    # the circle allows a + b <= sqrt(2), the line asks for 3: measured in their sizes, the line yields
    circle = NonlinearLimits(lambda x: (np.array([x @ x]), 2 * x[None]), [-np.inf], [1.0], ("circle",))
    line = LinearLimits(np.array([[1.0, 1.0, 0.0]]), [3.0], [np.inf], ("line",))
    found = least_violation(np.ones(3), **BOX, linear=line, nonlinear=circle)
    assert found.labels == ("line", "circle")
    np.testing.assert_allclose(found.excess, [3 - np.sqrt(2), 0.0], atol=1e-6)
    np.testing.assert_allclose(found.x, [np.sqrt(0.5), np.sqrt(0.5), 0.0], atol=1e-6)


def test_the_nearest_point_within_linear_limits():
    limits = LinearLimits(np.array([[1.0, 1.0, 0.0]]), [3.0], [np.inf])
    found = feasible_start(np.array([1.0, 0.0, 2.0]), BOX["lower"], BOX["upper"], limits)
    assert found[0] + found[1] == pytest.approx(3.0)
    assert np.abs(found - [1.0, 0.0, 2.0]).sum() == pytest.approx(2.0)
    inside = np.array([2.0, 2.0, 1.0])
    np.testing.assert_array_equal(feasible_start(inside, BOX["lower"], BOX["upper"], limits), inside)
    assert feasible_start(inside, BOX["lower"], np.ones(3), limits) is None
