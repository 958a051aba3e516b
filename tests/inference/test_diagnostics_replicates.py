"""Replicates: moments by closed form, addresses, transforms, correlated residuals, occasions, limits, M4."""

from __future__ import annotations

import numpy as np
import pytest
from checked_problems import frame, problem
from scipy import stats

from ipex_pd.errors import RecordError, UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.diagnostics.records import records_of
from ipex_pd.inference.diagnostics.replicates import replicate
from ipex_pd.inference.diagnostics.scales import undone
from ipex_pd.inference.residuals import transformed
from ipex_pd.records.endpoints import Transform


def replicates(folder, table, count=400, seed=3, **changes):
    bound = bind(problem(folder, table, **changes))
    return replicate(records_of(bound), bound.population.start, count, seed=seed)


def test_mean_and_covariance_are_those_of_the_linear_model(tmp_path):
    found = replicates(tmp_path, frame(30, (1.0, 2.0, 3.0)))
    values = found.values.reshape(-1, 3)
    assert values.mean() == pytest.approx(10.0, abs=4 * 2.0 / np.sqrt(len(values)))
    wanted = 4.0 * np.ones((3, 3)) + 0.25 * np.eye(3)
    # the standard error of an entry is about sqrt(2) 4.25 / sqrt(12 000) = 0.055
    np.testing.assert_allclose(np.cov(values.T), wanted, atol=0.2)


def test_more_replicates_leave_earlier_ones_where_they_were(tmp_path):
    few, many = (replicates(tmp_path, frame(7), count) for count in (3, 120))
    np.testing.assert_array_equal(few.values, many.values[:3])
    other = replicates(tmp_path, frame(7), 3, seed=4)
    assert (few.values != other.values).all()


def test_the_transform_is_undone(tmp_path):
    endpoints = {"level": {"prediction": "level", "error": {"model": "exponential", "additive": "sd"}}}
    random = {"between_subject": {"eta": {"variance": 0.01, "fixed": True}}}
    found = replicates(tmp_path, frame(10, (1.0,)), endpoints=endpoints, random_effects=random)
    np.testing.assert_allclose(found.values, np.exp(found.fitted))
    # log y = log(10 + eta) + 0.5 e
    assert np.log(found.values).std() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("kind", "shape"), [("log", None), ("box_cox", 0.0), ("box_cox", 0.4), ("box_cox", -0.5),
                                             ("yeo_johnson", 0.0), ("yeo_johnson", 0.7), ("yeo_johnson", 2.0),
                                             ("yeo_johnson", 2.6)])  # fmt: skip
def test_transforms_go_there_and_back(kind, shape):
    values = np.array([0.02, 0.5, 1.0, 7.0, 300.0])
    values = values if kind != "yeo_johnson" else np.concatenate([-values, [0.0], values])
    transform = Transform(kind=kind, shape=shape)
    np.testing.assert_allclose(undone(transform, np.asarray(transformed(transform, values))), values, rtol=1e-9)


def test_residuals_of_one_sample_are_correlated(tmp_path):
    table = frame(40, (1.0, 1.0, 2.0, 2.0), DVID=lambda i, k: 1 + k % 2)
    error = {"model": "additive", "additive": "sd"}
    endpoints = {name: {"prediction": "level", "dvid": k, "error": error} for k, name in ((1, "one"), (2, "two"))}
    changes = {
        "endpoints": endpoints,
        "parameters": {"base": 10, "rate": 0, "sd": 0.5, "rho": {"start": 0.8, "lower": -1, "upper": 1}},
        "random_effects": {"between_subject": {"eta": {"variance": 1e-8, "fixed": True}}},
        "correlations": [{"endpoints": ["one", "two"], "value": "rho"}],
    }
    found = replicates(tmp_path, table, **changes)
    one, two = (found.values[:, found.records.of_endpoint(name)].ravel() for name in ("one", "two"))
    assert np.corrcoef(one, two)[0, 1] == pytest.approx(0.8, abs=0.01)
    assert two.std() == pytest.approx(0.5, abs=0.01)


def test_occasions_draw_their_own_effects(tmp_path):
    table = frame(40, (1.0, 2.0, 3.0, 4.0), OCC=lambda i, k: 1 + k // 2)
    changes = {
        "random_effects": {
            "between_subject": {"eta": {"variance": 1.0}},
            "between_occasion": {"kappa": {"variance": 3.0}},
        },
        "individual": {"start_value": "base + eta + kappa", "decay_rate": "rate"},
    }
    found = replicates(tmp_path, table, **changes)
    covariance = np.cov(found.values.reshape(-1, 4).T)
    assert covariance[0, 1] == pytest.approx(4.0, abs=0.25)
    assert covariance[0, 2] == pytest.approx(1.0, abs=0.2)


M3 = {"level": {"prediction": "level", "error": {"model": "additive", "additive": "sd"}, "censoring": "m3"}}


def test_replicates_are_censored_at_each_records_limit(tmp_path):
    table = frame(6, (1.0, 2.0), CENS=lambda i, k: int(k == 0))
    table.loc[table.CENS == 1, "DV"] = 9.0
    found = replicates(tmp_path, table, endpoints=M3)
    np.testing.assert_array_equal(found.records.lower, 9.0)
    np.testing.assert_array_equal(found.cens == 1, found.values < 9.0)
    assert found.reported.min() == 9.0
    share = (found.cens == 1).mean()
    assert share == pytest.approx(stats.norm.cdf((9.0 - 10.0) / np.sqrt(4.25)), abs=0.02)


def test_a_limit_that_is_not_known_is_refused(tmp_path):
    table = frame(6, (1.0, 2.0), CENS=lambda i, k: int(k == 0 and i < 2))
    table.loc[table.CENS == 1, "DV"] = [8.0, 9.0]
    bound = bind(problem(tmp_path, table, endpoints=M3))
    with pytest.raises(RecordError) as told:
        records_of(bound)
    assert told.value.message == (
        "endpoint level: the censored records of `level` have 2 limits. To censor simulated values, the limit of every "
        "record must be known. Say it: limits={'level': ...}, or write `lloq` in the data section."
    )
    records = records_of(bound, {"level": 7.0})
    np.testing.assert_array_equal(records.lower[:6], [8.0, 7.0, 9.0, 7.0, 7.0, 7.0])
    with pytest.raises(UsageError, match="`levle` is not an endpoint"):
        records_of(bound, {"levle": 7.0})


def test_m4_draws_above_zero_only(tmp_path):
    changes = {
        "parameters": {"base": 0.5, "rate": 0, "sd": 1.0},
        "random_effects": {"between_subject": {"eta": {"variance": 1e-10, "fixed": True}}},
        "endpoints": {"level": {**M3["level"], "censoring": "m4"}},
    }
    found = replicates(tmp_path, frame(20, (1.0,)), **changes)
    assert found.values.min() > 0
    wanted = stats.truncnorm(-0.5, np.inf, loc=0.5)
    assert stats.kstest(found.values.ravel(), wanted.cdf).pvalue > 0.01


def test_time_after_dose_knows_additional_doses_and_resets(tmp_path):
    table = frame(1, (0.0, 1.0, 13.0, 24.0, 30.0, 40.0), EVID=lambda i, k: (1, 0, 0, 0, 3, 0)[k],
                  AMT=lambda i, k: 100.0 * (k == 0), II=lambda i, k: 12.0 * (k == 0), ADDL=lambda i, k: 2 * (k == 0),
                  MDV=lambda i, k: (1, 0, 0, 0, 1, 0)[k])  # fmt: skip
    table["DV"] = table["DV"].where(table.MDV == 0)
    changes = {
        "model": "one_compartment",
        "parameters": {"tvcl": 5, "volume_central": 50, "sd": 0.5},
        "random_effects": {"between_subject": {"eta": {"variance": 0.1}}},
        "individual": {"clearance": "tvcl * exp(eta)"},
        "endpoints": {"drug": {"prediction": "concentration", "error": {"model": "additive", "additive": "sd"}}},
    }
    records = records_of(bind(problem(tmp_path, table, **changes)))
    np.testing.assert_array_equal(records.time_after_dose, [1.0, 1.0, 0.0, np.nan])
    assert records.line.tolist() == [3, 4, 5, 7]
