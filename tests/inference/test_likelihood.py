import jax
import jax.numpy as jnp
import numpy as np
import pytest
from nonmem_problems import group
from scipy.stats import multivariate_normal, norm
from toy_groups import correlated, toy

from ipex_pd.errors import RecordError
from ipex_pd.inference.group import Prediction
from ipex_pd.inference.likelihood import censoring_of, check_likelihood, log_interval, record_terms

MEAN = np.array([[2.0, 0.4, 3.0, 0.1, 5.0, 1.0]])
VARIANCE = np.array([[0.5, 0.2, 0.9, 0.3, 1.1, 0.7]])


def terms(y, **changes):
    zeros = np.zeros_like(MEAN)
    some = group(lambda i, t, e: (t, t), y, {}, 1, **changes)
    return np.asarray(record_terms(some, Prediction(MEAN, VARIANCE, changes.pop("minus2ll", zeros), zeros)))[0]


def test_measured_records_are_normal():
    y = np.array([[1.0, 0.7, 2.5, 0.2, 9.0, 1.0]])
    expected = -2 * norm.logpdf(y, MEAN, np.sqrt(VARIANCE)) - np.log(2 * np.pi)
    np.testing.assert_allclose(terms(y), expected[0], rtol=1e-13)


def test_censored_records_are_probabilities():
    """Left, left with an interval, right, right with an interval; the last two are measured."""
    y = np.array([[1.0, 0.5, 2.5, 0.2, 9.0, 1.0]])
    cens = np.array([[1, 1, -1, -1, 0, 0]])
    limit = np.array([[-np.inf, 0.1, np.inf, 0.9, 0.0, 0.0]])
    sd = np.sqrt(VARIANCE[0])
    m = MEAN[0]
    probability = [
        norm.cdf(1.0, m[0], sd[0]),
        norm.cdf(0.5, m[1], sd[1]) - norm.cdf(0.1, m[1], sd[1]),
        norm.sf(2.5, m[2], sd[2]),
        norm.cdf(0.9, m[3], sd[3]) - norm.cdf(0.2, m[3], sd[3]),
    ]
    np.testing.assert_allclose(terms(y, cens=cens, limit=limit)[:4], -2 * np.log(probability), rtol=1e-12)


def test_the_program_for_open_ends_says_the_same():
    y = np.array([[1.0, 0.5, 2.5, 0.2, 9.0, 1.0]])
    cens = np.array([[1, 1, -1, -1, 0, 0]])
    limit = np.where(cens > 0, -np.inf, np.where(cens < 0, np.inf, 0.0))
    zeros = np.zeros_like(MEAN)
    some = group(lambda i, t, e: (t, t), y, {}, 1, cens=cens, limit=limit)
    assert censoring_of(some) == "one_sided"
    assert censoring_of(group(lambda i, t, e: (t, t), y, {}, 1)) == "none"
    assert censoring_of(group(lambda i, t, e: (t, t), y, {}, 1, floor=zeros)) == "general"
    said = Prediction(MEAN, VARIANCE, zeros, zeros)
    np.testing.assert_allclose(record_terms(some, said, "one_sided"), record_terms(some, said), rtol=1e-12)


def test_m4_is_conditional_on_being_positive():
    y = np.array([[1.0, 0.5, 2.5, 0.2, 9.0, 1.0]])
    cens = np.array([[1, 0, 0, 0, 0, 0]])
    limit = np.where(cens, -np.inf, 0.0)
    sd, m = np.sqrt(VARIANCE[0]), MEAN[0]
    got = terms(y, cens=cens, limit=limit, floor=np.zeros_like(MEAN))
    share = (norm.cdf(1.0, m[0], sd[0]) - norm.cdf(0.0, m[0], sd[0])) / norm.sf(0.0, m[0], sd[0])
    density = norm.pdf(0.5, m[1], sd[1]) / norm.sf(0.0, m[1], sd[1]) * np.sqrt(2 * np.pi)
    np.testing.assert_allclose(got[:2], [-2 * np.log(share), -2 * np.log(density)], rtol=1e-12)


def test_padding_and_missing_records_count_nothing():
    y = np.array([[1.0, np.nan, 2.5, 0.2, 9.0, 1.0]])
    mask = np.array([[True, False, True, True, True, False]])
    assert terms(y, mask=mask)[[1, 5]].tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("left", "right"), [(-np.inf, -40.0), (30.0, 31.0), (-31.0, -30.0), (8.0, 8.001), (5.0, np.inf)]
)
def test_tails_are_accurate_and_their_slopes_too(left, right):
    steps = np.linspace(max(left, -60.0), min(right, 60.0), 200_001)
    middle = norm.logpdf(steps)
    top = middle.max()
    expected = top + np.log(np.trapezoid(np.exp(middle - top), steps))
    np.testing.assert_allclose(float(log_interval(left, right)), expected, rtol=1e-6)
    slope = jax.grad(lambda r: log_interval(jnp.asarray(left), r))(right) if np.isfinite(right) else 0.0
    assert np.isfinite(slope)
    if np.isfinite(right):
        np.testing.assert_allclose(slope, np.exp(norm.logpdf(right) - expected), rtol=1e-3)


def test_correlated_records_are_jointly_normal():
    some = correlated(subjects=1)
    said = some.predict(np.array([[0.3, 10.0, 0.1, 0.2, 0.1]]), np.zeros((1, 2)))
    total = float(np.sum(record_terms(some, said)))
    sd = np.sqrt(np.asarray(said.variance))[0]
    correlation = np.kron(np.eye(3), [[1.0, 0.6], [0.6, 1.0]])
    log = multivariate_normal.logpdf(some.y[0], np.asarray(said.mean)[0], correlation * np.outer(sd, sd))
    np.testing.assert_allclose(total, -2 * log - 6 * np.log(2 * np.pi), rtol=1e-12)


def test_a_censored_record_in_a_correlated_sample_is_refused():
    some = correlated(subjects=1)
    cens = np.zeros_like(some.cens)
    cens[0, 1] = 1
    with pytest.raises(RecordError, match="censored or event record belongs to a sample with correlated residuals"):
        check_likelihood(toy(1, etas=2, partner=some.partner, correlated=True, cens=cens))
