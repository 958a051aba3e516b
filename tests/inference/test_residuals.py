"""Variances, transforms, Jacobians, censoring, events and correlated residuals, against numbers worked out by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from ipex_pd.errors import IpexError, RecordError
from ipex_pd.inference.binding import bind, predict
from ipex_pd.inference.likelihood import minus2ll
from ipex_pd.inference.residuals import Spread, jacobian, transformed
from ipex_pd.records.endpoints import Continuous, Transform
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

BOX_COX, YEO_JOHNSON = {"kind": "box_cox", "shape": 0.5}, {"kind": "yeo_johnson", "shape": 0.5}


def variance(error: dict[str, Any], f: float, transform: dict[str, Any] | None = None) -> float:
    data = {"prediction": "f", "error": error, **({"transform": transform} if transform else {})}
    endpoint = from_data(Continuous, data)
    spread = Spread.of(endpoint.error, endpoint.scale)
    return float(spread.variance(jnp.array([f]), {"t": jnp.array([3.0])})[0])


# f = 4, a = 0.3, b = 0.2; worked out by hand
HAND: list[tuple[dict[str, Any], dict[str, Any] | None, float]] = [
    ({"model": "additive", "additive": 0.3}, None, 0.09),
    ({"model": "additive", "additive": 0.3, "coefficients": "variance"}, None, 0.3),
    ({"model": "proportional", "proportional": 0.2}, None, 0.64),
    ({"model": "proportional", "proportional": 0.2, "coefficients": "variance"}, None, 3.2),
    ({"model": "power", "proportional": 0.2, "exponent": 0.5}, None, 0.16),
    ({"model": "power", "proportional": 0.1, "exponent": 0.5, "coefficients": "variance"}, None, 0.4),
    ({"model": "combined1", "additive": 0.3, "proportional": 0.2}, None, 1.21),
    ({"model": "combined2", "additive": 0.3, "proportional": 0.2}, None, 0.73),
    ({"model": "combined1", "additive": 0.3, "proportional": 0.2, "exponent": 0.5}, None, 0.49),
    ({"model": "combined2", "additive": 0.3, "proportional": 0.2, "exponent": 0.5}, None, 0.25),
    ({"model": "combined1", "additive": 0.09, "proportional": 0.04, "coefficients": "variance"}, None, 1.21),
    ({"model": "exponential", "additive": 0.3}, None, 0.09),
    ({"model": "formula", "sd": "0.1 * prediction + t"}, None, 11.56),
    ({"model": "proportional", "proportional": 0.2}, BOX_COX, 0.64),
    ({"model": "proportional", "proportional": 0.2, "scale": "transformed"}, BOX_COX, 0.16),
    ({"model": "proportional", "proportional": 0.2, "scale": "transformed"}, YEO_JOHNSON, 0.04 * (2 * 5**0.5 - 2) ** 2),
]


@pytest.mark.parametrize(("error", "transform", "expected"), HAND)
def test_variances_by_hand(error, transform, expected):
    assert variance(error, 4.0, transform) == pytest.approx(expected, rel=1e-12)


def test_a_prediction_of_zero():
    assert variance({"model": "proportional", "proportional": 0.2}, 0.0) == 0.0
    weighted = {"model": "proportional", "proportional": 0.2, "zero_prediction": "unit_weight"}
    assert variance(weighted, 0.0) == pytest.approx(0.04)
    assert variance(weighted, 4.0) == pytest.approx(0.64)
    power = {"model": "combined2", "additive": 0.3, "proportional": 0.2, "exponent": 0.5}
    assert variance(power, 0.0) == pytest.approx(0.09)


TRANSFORMS = [
    (None, 4.0, 4.0),
    ({"kind": "log"}, 4.0, 1.3862943611198906),
    ("log", 4.0, 1.3862943611198906),
    (BOX_COX, 4.0, 2.0),
    ({"kind": "box_cox", "shape": 0}, 4.0, 1.3862943611198906),
    (YEO_JOHNSON, 3.0, 2.0),
    (YEO_JOHNSON, -3.0, -14 / 3),
    ({"kind": "yeo_johnson", "shape": 0}, 3.0, 1.3862943611198906),
    ({"kind": "yeo_johnson", "shape": 2}, -3.0, -1.3862943611198906),
]


@pytest.mark.parametrize(("record", "y", "expected"), TRANSFORMS)
def test_transforms_and_their_jacobians(record, y, expected):
    transform = Transform.model_validate(record) if record else None
    assert float(transformed(transform, jnp.array(y))) == pytest.approx(expected, rel=1e-12)
    step = 1e-5
    slope = (transformed(transform, jnp.array(y + step)) - transformed(transform, jnp.array(y - step))) / (2 * step)
    assert jacobian(transform, np.array([y]))[0] == pytest.approx(-2 * np.log(abs(float(slope))), abs=1e-8)


def written(folder: Path, text: str, **parts: Any) -> EstimationProblem:
    (folder / "data.csv").write_text(text, encoding="utf-8")
    data = {
        "name": "example",
        "description": "An example",
        "folder": str(folder),
        "data": {"file": "data.csv"},
        "model": "exponential_decay",
        "parameters": {"k": 0.5, "start": 10.0, "sd": 0.4, "rho": {"start": 0.6, "lower": -1, "upper": 1}},
        "individual": {"decay_rate": "k", "start_value": "start"},
        "endpoints": {"measured": {"prediction": "level", "error": {"model": "additive", "additive": "sd"}}},
        **parts,
    }
    used = str({k: v for k, v in data.items() if k != "parameters"})
    if "parameters" not in parts:
        data["parameters"] = {n: v for n, v in data["parameters"].items() if n in used}
    return from_data(EstimationProblem, data)


likelihood = jax.jit(minus2ll)


def total(problem: EstimationProblem) -> float:
    bound = bind(problem)
    theta = np.array([t.start for t in bound.population.thetas])
    return float(
        sum(
            likelihood(g, np.broadcast_to(theta, (g.shape[0], len(theta))), np.zeros((g.shape[0], bound.etas))).sum()
            for g in bound.groups
        )
    )


CENSORED = "ID,TIME,DV,CENS,LIMIT\n1,0,9,0,.\n1,1,5,1,.\n1,2,3,1,1\n1,3,4,-1,.\n"
F = 10 * np.exp(-0.5 * np.arange(4))


def endpoint(**changes: Any) -> dict[str, Any]:
    return {"measured": {"prediction": "level", "error": {"model": "additive", "additive": "sd"}, **changes}}


def test_censored_records_by_m3_have_the_probability_of_their_interval(tmp_path):
    law = [scipy.stats.norm(f, 0.4) for f in F]
    expected = -2 * law[0].logpdf(9) - np.log(2 * np.pi)
    expected += -2 * (law[1].logcdf(5) + np.log(law[2].cdf(3) - law[2].cdf(1)) + law[3].logsf(4))
    assert total(written(tmp_path, CENSORED, endpoints=endpoint(censoring="m3"))) == pytest.approx(expected, rel=1e-10)


def test_m4_conditions_every_record_on_being_positive(tmp_path):
    law = [scipy.stats.norm(f, 0.4) for f in F]
    positive = [d.sf(0) for d in law]
    expected = -2 * law[0].logpdf(9) - np.log(2 * np.pi)
    expected += -2 * np.log((law[1].cdf(5) - law[1].cdf(0)) * (law[2].cdf(3) - law[2].cdf(1)) * law[3].sf(4))
    expected += 2 * np.sum(np.log(positive))
    assert total(written(tmp_path, CENSORED, endpoints=endpoint(censoring="m4"))) == pytest.approx(expected, rel=1e-10)


def test_m1_leaves_censored_records_out(tmp_path):
    expected = -2 * scipy.stats.norm(10, 0.4).logpdf(9) - np.log(2 * np.pi)
    assert total(written(tmp_path, CENSORED, endpoints=endpoint(censoring="m1"))) == pytest.approx(expected, rel=1e-12)


def test_censored_records_without_a_method_are_refused(tmp_path):
    with pytest.raises(RecordError, match="says nothing of censored observations"):
        bind(written(tmp_path, CENSORED))


def test_an_exponential_error_is_log_normal_and_limits_are_transformed(tmp_path):
    text = "ID,TIME,DV,CENS,LIMIT\n1,0,9,0,.\n1,1,5,1,.\n1,2,3,1,0\n"
    law = [scipy.stats.lognorm(0.4, scale=f) for f in F]
    expected = -2 * (law[0].logpdf(9) + law[1].logcdf(5) + law[2].logcdf(3)) - np.log(2 * np.pi)
    error = {"error": {"model": "exponential", "additive": "sd"}, "censoring": "m3"}
    assert total(written(tmp_path, text, endpoints=endpoint(**error))) == pytest.approx(expected, rel=1e-10)


def test_a_logarithm_of_what_is_not_positive_is_refused(tmp_path):
    error = {"error": {"model": "exponential", "additive": "sd"}}
    with pytest.raises(RecordError, match=r"row 3.*positive values"):
        bind(written(tmp_path, "ID,TIME,DV\n1,0,9\n1,1,-1\n", endpoints=endpoint(**error)))


def test_a_variance_of_zero_at_the_start_is_refused_with_its_row(tmp_path):
    error = {"error": {"model": "proportional", "proportional": "sd"}, "prediction": "level * (1 if time > 0 else 0)"}
    with pytest.raises(RecordError, match=r"subject 1, row 2, time 0: the residual variance of `measured` is 0"):
        bind(written(tmp_path, "ID,TIME,DV\n1,0,0\n1,1,5\n", endpoints=endpoint(**error)))
    error["error"]["zero_prediction"] = "unit_weight"
    bind(written(tmp_path, "ID,TIME,DV\n1,0,0\n1,1,5\n", endpoints=endpoint(**error)))


def test_correlated_residuals_of_one_sample_are_bivariate_normal(tmp_path):
    text = "ID,TIME,DV,DVID\n1,0,9,1\n1,0,21,2\n1,1,5,1\n1,2,8,2\n2,1,6.5,2\n2,1,6,1\n"
    one = {"error": {"model": "additive", "additive": "sd"}}
    endpoints = {
        "first": {"dvid": 1, "prediction": "level", **one},
        "second": {"dvid": 2, "prediction": "2 * level", "error": {"model": "additive", "additive": "2 * sd"}},
    }
    correlations = [{"endpoints": ["first", "second"], "value": "rho"}]
    covariance = np.array([[0.16, 0.6 * 0.4 * 0.8], [0.6 * 0.4 * 0.8, 0.64]])
    f = 10 * np.exp(-0.5 * np.arange(3))
    both = scipy.stats.multivariate_normal
    expected = -2 * both([f[0], 2 * f[0]], covariance).logpdf([9, 21])
    expected += -2 * (scipy.stats.norm(f[1], 0.4).logpdf(5) + scipy.stats.norm(2 * f[2], 0.8).logpdf(8))
    expected += -2 * both([f[1], 2 * f[1]], covariance).logpdf([6, 6.5]) - 6 * np.log(2 * np.pi)
    found = total(written(tmp_path, text, endpoints=endpoints, correlations=correlations))
    assert found == pytest.approx(expected, rel=1e-12)


EVENTS = "ID,TIME,DV,CENS\n1,5,1,0\n2,7,0,0\n3,2,0,0\n3,6,1,1\n4,1,1,0\n4,4,1,0\n4,9,0,0\n"


def event_problem(folder: Path, model: str, parameters: dict[str, float]) -> EstimationProblem:
    endpoints = {"event": {"kind": "event", "hazard": "hazard", "cumulative_hazard": "cumulative_hazard"}}
    return written(folder, EVENTS, model=model, parameters=parameters, individual={}, endpoints=endpoints)


@pytest.mark.parametrize(
    ("model", "parameters", "law"),
    [
        ("event_constant_hazard", {"hazard_rate": 0.2}, scipy.stats.expon(scale=5)),
        ("event_weibull", {"event_scale": 6.0, "event_shape": 1.5}, scipy.stats.weibull_min(1.5, scale=6)),
        (
            "event_gompertz",
            {"hazard_start": 0.1, "hazard_growth": 0.2},
            scipy.stats.gompertz(0.5, scale=5),
        ),
    ],
)
def test_events_have_the_density_and_survival_of_their_law(tmp_path, model, parameters, law):
    problem = event_problem(tmp_path, model, parameters)
    within = np.log(law.sf(2) - law.sf(6))
    repeated = law.logpdf(1) + (law.logpdf(4) - law.logsf(1)) + (law.logsf(9) - law.logsf(4))
    expected = -2 * (law.logpdf(5) + law.logsf(7) + within + repeated)
    assert total(problem) == pytest.approx(expected, rel=1e-10)


def test_an_event_that_is_neither_0_nor_1_is_refused(tmp_path):
    problem = event_problem(tmp_path, "event_constant_hazard", {"hazard_rate": 0.2})
    (tmp_path / "data.csv").write_text("ID,TIME,DV\n1,5,2\n", encoding="utf-8")
    with pytest.raises(IpexError, match=r"is 1 \(event\) or 0 \(none\)"):
        bind(problem)


def test_limits_of_events_are_refused(tmp_path):
    problem = event_problem(tmp_path, "event_constant_hazard", {"hazard_rate": 0.2})
    (tmp_path / "data.csv").write_text("ID,TIME,DV,CENS,LIMIT\n1,5,1,1,0\n", encoding="utf-8")
    with pytest.raises(IpexError, match="LIMIT or CENS = -1"):
        bind(problem)


def test_a_prediction_has_the_transformed_mean(tmp_path):
    problem = written(tmp_path, "ID,TIME,DV\n1,0,9\n1,1,5\n", endpoints=endpoint(transform=BOX_COX))
    bound = bind(problem)
    (group,) = bound.groups
    theta = np.array([[t.start for t in bound.population.thetas]])
    found = predict(group, theta, np.zeros((1, 0)))
    np.testing.assert_allclose(np.asarray(found.mean)[0, :2], 2 * (np.sqrt(F[:2]) - 1), rtol=1e-14)
    np.testing.assert_allclose(group.y[0, :2], 2 * (np.sqrt([9, 5]) - 1), rtol=1e-14)
    np.testing.assert_allclose(group.jacobian[0, :2], np.log([9, 5]), rtol=1e-14)
