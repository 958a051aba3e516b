import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from toy_groups import POPULATION, SIMPLE, censored, decay, toy

from ipex_pd.inference.conditional import Reading, joint
from ipex_pd.inference.modes import find_modes
from ipex_pd.inference.objectives import values_of


def modes_of(group, population, *, exact=False, censoring="none", start=None):
    wide = np.tile(population.start, (group.shape[0], 1))
    values = values_of(population.layout, wide)
    reading = Reading(True, censoring)
    begin = np.zeros(group.eta_mask.shape) if start is None else start
    return find_modes(group, values, begin, reading=reading, exact=exact), values, reading


@pytest.mark.parametrize("exact", [False, True])
def test_modes_are_minima(exact):
    some = toy()
    found, values, reading = modes_of(some, POPULATION, exact=exact)
    assert float(found.decrement.max()) < 1e-7

    def total(z):
        return float(jnp.sum(joint(some, values, z.reshape(found.z.shape), reading)))

    best = minimize(total, np.zeros(found.z.size), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(found.z.ravel(), best.x, atol=1e-4)
    assert float(jnp.sum(found.slope.value)) <= best.fun + 1e-8


def test_modes_of_censored_subjects_are_minima():
    some = censored()
    assert some.cens.any()
    found, values, reading = modes_of(some, SIMPLE, exact=True, censoring="one_sided")

    def total(z):
        return float(jnp.sum(joint(some, values, z.reshape(found.z.shape), reading)))

    best = minimize(total, np.zeros(found.z.size), method="BFGS", options={"gtol": 1e-6})
    np.testing.assert_allclose(found.z.ravel(), best.x, atol=1e-4)


def test_a_subject_does_not_depend_on_its_neighbours():
    some = toy(6)
    whole, _, _ = modes_of(some, POPULATION)
    part, _, _ = modes_of(some.take(np.array([4, 1])), POPULATION)
    np.testing.assert_allclose(part.z, whole.z[np.array([4, 1])], atol=1e-8)


def test_a_failing_subject_is_told_and_spoils_nobody():
    some = toy(4)
    broken = some.inputs["t"].copy()
    broken[2] = np.nan
    fine, _, _ = modes_of(some, POPULATION)
    failed, _, _ = modes_of(toy(4, inputs={**some.inputs, "t": broken}), POPULATION)
    assert not np.isfinite(failed.decrement[2])
    others = np.array([0, 1, 3])
    np.testing.assert_allclose(failed.z[others], fine.z[others], atol=1e-12)


def test_an_absent_occasion_has_no_effect():
    present = np.ones((5, 4), bool)
    present[:, 3] = False
    some = toy(5, eta_mask=present)
    found, _, _ = modes_of(some, POPULATION)
    assert np.abs(found.z[:, 3]).max() == 0.0
    assert np.abs(found.z[:, 2]).min() > 0.0


def test_a_far_start_comes_to_the_same_modes():
    some = toy()
    near, _, _ = modes_of(some, POPULATION)
    far, _, _ = modes_of(some, POPULATION, start=np.full((5, 4), 1.5))
    np.testing.assert_allclose(far.z, near.z, atol=1e-7)


def test_the_toy_is_what_it_says():
    inputs = {"t": np.ones((1, 1)), "occasion": np.zeros((1, 1), int)}
    mean, variance = decay(inputs, np.array([[0.5, 2.0, 0.25, 0.1, 0.2]]), np.zeros((1, 2)))
    np.testing.assert_allclose(mean, 0.5 + 1.5 * np.exp(-0.5))
    np.testing.assert_allclose(variance, (0.1 + 0.2 * (0.5 + 1.5 * np.exp(-0.5))) ** 2)
