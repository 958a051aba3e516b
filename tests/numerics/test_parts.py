"""Functions of members in parts: the numbers and gradients of all members at once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.numerics.parts import InParts, split_members

MEMBERS = {"clearance": np.linspace(1.0, 3.0, 7), "states": np.arange(14.0).reshape(2, 7)}
X = np.array([0.4, 1.3, 2.0])


def outcome(members, x):
    decay = jnp.exp(-members["clearance"] * x[0])
    return {"level": x[1] * decay, "course": members["states"] * x[2] + decay}


def quantity(found):
    """Joins members in a way that no sum over parts does."""
    return jnp.log(jnp.sum(found["level"])) * jnp.max(found["course"][1])


def test_halves_give_the_gradient_of_the_whole():
    halves = InParts(outcome, split_members(MEMBERS, 7, 3))
    values, pull = halves.forward(X)
    joined = jax.tree.map(lambda *leaves: jnp.concatenate(leaves, -1)[..., :7], *values)
    whole, expected = jax.value_and_grad(lambda x: quantity(outcome(MEMBERS, x)))(X)
    assert float(quantity(joined)) == pytest.approx(float(whole), rel=1e-14)
    cotangents = jax.grad(quantity)(joined)
    filled = jax.tree.map(lambda leaf: jnp.pad(leaf, [(0, 0)] * (leaf.ndim - 1) + [(0, 2)]), cotangents)
    parts = [jax.tree.map(lambda leaf, i=i: leaf[..., 3 * i : 3 * i + 3], filled) for i in range(3)]
    np.testing.assert_allclose(pull(parts), expected, rtol=1e-12)
    np.testing.assert_allclose(pull(jax.tree.map(jnp.zeros_like, parts)), 0.0)


def test_other_data_and_values_alone():
    halves = InParts(outcome, split_members(MEMBERS, 7, 4))
    first = halves.value(X)
    assert [part["level"].shape for part in first] == [(4,), (4,)]
    halves.replaced(split_members({**MEMBERS, "clearance": 2 * MEMBERS["clearance"]}, 7, 4))
    np.testing.assert_allclose(halves.value(X)[0]["level"], X[1] * np.exp(-2 * MEMBERS["clearance"][:4] * X[0]))
