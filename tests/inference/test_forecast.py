"""The forecast of one child: a mode that is one, a spread that shrinks where data are, and draws that follow it."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import ipex_pd as ipx
from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.inference.disease import disease_group
from ipex_pd.inference.disease_endpoints import measured_endpoint
from ipex_pd.inference.forecast import INFORMED, forecast, one_child
from ipex_pd.inference.forecast_prior import prior_of_parameters
from ipex_pd.inference.likelihood import record_terms
from ipex_pd.records.library import load_parameters, shelf

DATA = shelf() / "fit" / "cohorts" / "synthetic_seidel_2009.csv"


@pytest.fixture(scope="module")
def child():
    return ipx.load_patient("seidel_2009")


@pytest.fixture(scope="module")
def regimen():
    return ipx.load_regimen("prednisolone")


@pytest.fixture(scope="module")
def found(child, regimen):
    return forecast(child, DATA, regimen=regimen, years=0.6, draws=16, seed=1, quantities=["ige", "weight", "b_cells"])


def test_the_mode_is_lowest_and_its_curvature_that_of_the_objective(child, regimen, found):
    cohort = one_child(child, DATA, regimen)
    prior = prior_of_parameters(cohort)
    endpoints = [measured_endpoint(item) for item in cohort.measurements.values()]
    group = disease_group(cohort, endpoints, thetas=(), etas=prior.etas, individual=prior.individual)
    size = len(prior.etas)
    axes = np.linalg.cholesky(found.mode.covariance)[:, : size // 2].T
    z = np.concatenate([found.mode.z[None], found.mode.z + 0.1 * axes, found.mode.z - 0.1 * axes])
    rows = group.take(jnp.zeros(len(z), int))
    terms = jax.jit(lambda g, t, e: record_terms(g, g.predict(t, e)).sum(-1))(rows, jnp.zeros((len(z), 0)), z)
    cost = np.asarray(terms) + (z**2).sum(-1)
    assert cost[0] == pytest.approx(found.mode.objective, rel=1e-9)
    up, down = cost[1 : 1 + len(axes)], cost[1 + len(axes) :]
    assert np.all(up > cost[0])
    assert np.all(down > cost[0])
    # steps of a tenth of the posterior SD raise the objective by 0.01 where it is quadratic; slopes cancel in the mean
    assert 0.5 * (up + down) - cost[0] == pytest.approx(0.01, rel=0.35)
    assert found.mode.converged


def test_what_was_measured_is_known_better_than_before(found):
    table = found.informed.set_index("parameter")
    assert table.loc["weight_z_potential", "posterior_sd"] < 0.5
    assert table.loc["residual_function", "informed"]
    assert table.loc["rejection_rate", "posterior_sd"] == pytest.approx(1.0, abs=1e-6)
    assert table.loc["rejection_rate", "value"] == pytest.approx(load_parameters("disease")["rejection_rate"].value)
    assert not table.loc["rejection_rate", "informed"]
    assert (table["informed"] == (table["posterior_sd"] < INFORMED)).all()
    assert "rejection_rate" in found.warnings[0]
    assert "residual_function" not in found.warnings[0]


def test_draws_have_the_posterior_spread_and_bands_hold_the_median(found):
    assert len(found.simulation) == 16
    bands = found.bands
    assert set(bands["quantity"]) == {"ige", "weight", "b_cells"}
    assert (bands["low"] <= bands["median"]).all()
    assert (bands["median"] <= bands["high"]).all()
    assert bands["time"].max() == pytest.approx(0.6 * 365.25)
    start = bands[(bands["quantity"] == "weight") & (bands["time"] == 0)].iloc[0]
    assert start["high"] == pytest.approx(start["low"])
    assert "survival" in set(found.endpoints["endpoint"])


def test_what_cannot_be_forecast_is_refused(child, regimen):
    table = pd.read_csv(DATA, dtype=str)
    with pytest.raises(UsageError, match="A forecast goes beyond the last measurement"):
        forecast(child, table, regimen=regimen, years=0.1)
    onset = pd.DataFrame({"TIME": ["90"], "DVID": ["diabetes_onset"], "DV": ["90"], "CENS": ["1"], "LIMIT": ["30"]})
    with pytest.raises(SimulationError, match="`diabetes_onset` is an onset"):
        forecast(child, pd.concat([table, onset]).fillna("."), regimen=regimen, years=1)
    with pytest.raises(SimulationError, match="follows trough levels"):
        forecast(child, table, regimen=ipx.load_regimen("sirolimus"), years=1)
    with pytest.raises(UsageError, match="At least one draw"):
        forecast(child, table, regimen=regimen, years=1, draws=0)
