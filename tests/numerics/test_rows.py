"""Rows of a table, and filters that no drug drives."""

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics import averaging
from ipex_pd.numerics.rows import rows_of

RANDOM = np.random.default_rng(3)
TABLE = RANDOM.uniform(0.5, 2.0, (5, 7))


def test_rows_are_the_rows():
    rows = rows_of(TABLE)
    assert len(rows) == 5
    for mine, row in zip(rows, TABLE, strict=True):
        np.testing.assert_array_equal(mine, row)
    assert rows_of(np.zeros((0, 7))) == []


def test_they_come_back_joined_and_not_filled_up():
    def weighed(table):
        return sum(k * jnp.sum(row**3) for k, row in enumerate(rows_of(table)))

    slope = jax.grad(weighed)
    np.testing.assert_allclose(slope(TABLE), 3 * np.arange(5)[:, None] * TABLE**2)
    used = {str(equation.primitive) for equation in jax.make_jaxpr(slope)(TABLE).jaxpr.eqns}
    assert "concatenate" in used
    assert "pad" not in used


def test_a_filter_that_no_drug_drives_is_in_closed_form():
    length = np.array([[0.5, 1.0], [2.0, 2.0], [1.5, 0.0]])
    start, drive, decay = np.array([3.0, 0.2]), np.array([0.7, 1.3]), np.array([0.4, 1.1])
    begin = np.concatenate([np.zeros((1, 2)), np.cumsum(length, axis=0)])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    to_degrees = (np.arange(4) + 0.5)[:, None] * (np.polynomial.legendre.legvander(nodes, 3) * weights[:, None]).T
    inside = begin[:-1, None] + 0.5 * (nodes[:, None] + 1.0) * length[:, None]
    for fading in (decay, None):

        def exact(time, fading=fading):
            if fading is None:
                return start + drive * time
            return drive / fading + (start - drive / fading) * np.exp(-fading * time)

        edges = averaging.undriven(start, drive, fading, length)
        np.testing.assert_allclose(edges, exact(begin), rtol=1e-13)
        table = averaging.undriven_coefficients(edges, drive, fading, length)
        np.testing.assert_allclose(table, np.einsum("dn,snb->dsb", to_degrees, exact(inside)), rtol=1e-9, atol=1e-12)
        # ten graded nodes under a drive that happens to be constant come near
        same = jnp.broadcast_to(drive, (3, averaging.NODES, 2))
        np.testing.assert_allclose(averaging.filtered(start, same, fading, length), edges, rtol=2e-6)
