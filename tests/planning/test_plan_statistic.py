"""Statistics over weighted members against NumPy and against counting copies; slopes of a quantile."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.planning.statistic import mean, plain_statistic, quantile, worst
from ipex_pd.records.plan_goals import Statistic

RANDOM = np.random.default_rng(5)
VALUES = RANDOM.standard_normal(17)
EQUAL = np.full(17, 1 / 17)
COUNTS = RANDOM.integers(1, 4, 17)


@pytest.mark.parametrize("share", [0.03, 0.1, 0.5, 0.77, 0.99])
def test_a_quantile_of_equal_weights_is_that_of_numpy(share):
    assert float(quantile(VALUES, EQUAL, share)) == pytest.approx(np.quantile(VALUES, share, method="hazen"), rel=1e-12)


def test_a_weight_stands_for_copies_up_to_half_a_step():
    copied = np.repeat(VALUES, COUNTS)
    for share in (0.1, 0.5, 0.9):
        found = float(quantile(VALUES, COUNTS / COUNTS.sum(), share))
        near = np.quantile(copied, [max(share - 2 / COUNTS.sum(), 0), min(share + 2 / COUNTS.sum(), 1)], method="hazen")
        assert near[0] <= found <= near[1]


def test_members_of_no_weight_count_for_nothing():
    heavy, with_ghost = np.append(EQUAL, 0.0), np.append(VALUES, -1e9)
    for function in (mean, worst, lambda v, w: quantile(v, w, 0.02)):
        assert float(function(with_ghost, heavy)) == pytest.approx(float(function(VALUES, EQUAL)), rel=1e-12)
        assert np.isfinite(jax.grad(function)(jnp.asarray(with_ghost), heavy)).all()


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
def test_the_slope_of_a_quantile_is_exact(share):
    weights = COUNTS / COUNTS.sum()
    slope = np.asarray(jax.grad(lambda v: quantile(v, weights, share))(jnp.asarray(VALUES)))
    unit, size = np.eye(17), 1e-7
    differences = [
        (quantile(VALUES + size * e, weights, share) - quantile(VALUES - size * e, weights, share)) / (2 * size)
        for e in unit
    ]
    np.testing.assert_allclose(slope, differences, atol=1e-7)
    assert slope.sum() == pytest.approx(1.0)


def test_statistics_as_a_plan_writes_them():
    told = [Statistic.model_validate(words) for words in ("mean", "worst", {"quantile": "10 %"})]
    found = [plain_statistic(asked, VALUES, EQUAL) for asked in told]
    np.testing.assert_allclose(
        found, [VALUES.mean(), VALUES.min(), np.quantile(VALUES, 0.1, method="hazen")], rtol=1e-12
    )


def test_the_order_of_members_does_not_matter():
    order, weights = RANDOM.permutation(17), COUNTS / COUNTS.sum()
    for asked in ("mean", "worst", {"quantile": 0.25}):
        words = Statistic.model_validate(asked)
        assert plain_statistic(words, VALUES[order], weights[order]) == pytest.approx(
            plain_statistic(words, VALUES, weights), rel=1e-13
        )
