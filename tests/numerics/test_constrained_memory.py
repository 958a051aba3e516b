"""What one constrained search hands on to the next, values without derivatives, and the end of searches that stall."""

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from ipex_pd.numerics.constrained import ConstrainedStopping, minimise_constrained
from ipex_pd.numerics.constrained_limits import NonlinearLimits
from ipex_pd.numerics.constrained_memory import Learnt

SIZE = 40
PLACE = np.linspace(0.0, 1.0, SIZE)
HESSIAN = 30.0 * np.exp(-np.abs(PLACE[:, None] - PLACE)) + 0.5 * np.eye(SIZE)
"""Quantities that act together, as daily doses do: one direction is a thousand times as bent as others."""
AIM = HESSIAN @ (0.6 + 0.5 * np.sin(6.0 * PLACE))
BOX = {"lower": np.zeros(SIZE), "upper": np.ones(SIZE)}
START = np.full(SIZE, 0.1)


def bowl(x):
    return float(0.5 * x @ HESSIAN @ x - AIM @ x), HESSIAN @ x - AIM


def disc(x):
    return np.array([x @ x]), 2.0 * x[None]


LIMIT = NonlinearLimits(disc, [-np.inf], [15.0], ("disc",))


@pytest.fixture(scope="module")
def whole():
    stopping = ConstrainedStopping(gradient=1e-6, iterations=400)
    return minimise_constrained(bowl, START, **BOX, nonlinear=LIMIT, stopping=stopping)


@pytest.fixture(scope="module")
def begun():
    return minimise_constrained(bowl, START, **BOX, nonlinear=LIMIT, stopping=ConstrainedStopping(iterations=25))


def test_a_search_that_takes_over_goes_on_where_a_new_one_begins_anew(whole, begun):
    few = ConstrainedStopping(iterations=12)
    on, anew = (
        minimise_constrained(bowl, begun.x, **BOX, nonlinear=LIMIT, stopping=few, learnt=learnt)
        for learnt in (begun.learnt, None)
    )
    assert whole.converged
    assert on.feasible
    assert on.value - whole.value < 0.5 * (anew.value - whole.value)
    assert (on.x >= 0).all()
    assert (on.x <= 1).all()


def test_what_was_learnt_evens_out_the_curvature(begun):
    root = begun.learnt.root(np.ones(SIZE))
    seen = np.linalg.eigvalsh(root.T @ HESSIAN @ root)
    plain = np.linalg.eigvalsh(HESSIAN)
    assert seen[-1] / seen[-4] < 0.2 * plain[-1] / plain[-4]


def test_gains_and_steps_add_up_over_searches(begun):
    on = minimise_constrained(
        bowl, begun.x, **BOX, nonlinear=LIMIT, stopping=ConstrainedStopping(iterations=5), learnt=begun.learnt
    )
    assert on.learnt.unit == begun.learnt.unit
    assert on.learnt.gained == pytest.approx(bowl(START)[0] - on.value, rel=1e-6)
    assert len(on.learnt.steps) == len(begun.learnt.steps) + len(on.trace) - 1


def test_nothing_learnt_is_no_root():
    assert Learnt(1.0).root(np.ones(3)) is None
    flat = Learnt(1.0, 0.0, np.ones((1, 3)), np.zeros((1, 3)))
    assert flat.root(np.ones(3)) is None


def test_trial_points_are_asked_for_values_alone():
    def valley(x):
        return float(rosen(x)), rosen_der(x)

    asked = {"quick": 0, "slopes": 0}

    def slopes(x):
        asked["slopes"] += 1
        return valley(x)

    def quick(x):
        asked["quick"] += 1
        return valley(x)[0], np.zeros(0)

    start = np.array([-1.2, 1.0, 0.5])
    plain = minimise_constrained(valley, start)
    found = minimise_constrained(slopes, start, quick=quick)
    np.testing.assert_array_equal(found.x, plain.x)
    assert found.converged
    assert asked["slopes"] < 0.9 * asked["quick"]


def test_a_search_that_gains_little_ends(whole):
    stopping = ConstrainedStopping(iterations=400, stall=0.05, patience=3)
    found = minimise_constrained(bowl, START, **BOX, nonlinear=LIMIT, stopping=stopping)
    assert found.outcome == "3 steps gained less than 5% of all"
    assert not found.interrupted
    assert len(found.trace) < len(whole.trace)
    assert found.value - whole.value < 0.2 * (bowl(START)[0] - whole.value)


@pytest.mark.parametrize("fault", ["value", "slope"])
def test_points_without_numbers_are_stepped_back_from(fault, whole):
    def odd(x):
        value, slope = bowl(x)
        far = np.linalg.norm(x - START) > 1.0 + np.linalg.norm(whole.x - START)
        return (np.nan, slope) if far and fault == "value" else (value, slope * (np.nan if far else 1.0))

    found = minimise_constrained(odd, START, **BOX, nonlinear=LIMIT, stopping=ConstrainedStopping(iterations=300))
    assert np.isfinite(found.gradient).all()
    assert found.value == pytest.approx(whole.value, rel=1e-4)
