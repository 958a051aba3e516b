"""Prediction errors: standard normal for the truth, not for a wrong model; ranks by hand; NONMEM's table."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from checked_problems import by_hand, frame, problem, simulated
from references import reference
from scipy import stats

from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.diagnostics.npde import normal_test, prediction_errors
from ipex_pd.inference.diagnostics.records import records_of
from ipex_pd.inference.diagnostics.replicates import replicate
from ipex_pd.records.library import load_problem
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data


def errors_at(bound, theta=None, omega=None, count=400, **options):
    start, spread = bound.population.unpack(bound.population.start)
    w = bound.population.pack(start if theta is None else theta, spread if omega is None else omega)
    return prediction_errors(replicate(records_of(bound), w, count, seed=5), **options)


@pytest.fixture(scope="module")
def truth(tmp_path_factory):
    return simulated(tmp_path_factory.mktemp("truth"), frame(80))


@pytest.mark.parametrize("root", ["cholesky", "symmetric"])
def test_the_truth_gives_standard_normal_errors(truth, root):
    found = errors_at(truth, root=root)
    assert found.whole.all()
    assert stats.kstest(found.npde, "norm").pvalue > 0.05
    assert normal_test(found.npde).p_global > 0.05
    assert found.npde == pytest.approx(found.ewres, abs=0.9)


def test_records_of_a_subject_are_decorrelated(truth):
    found = errors_at(truth)
    for errors, low, high in ((found.npde, -0.2, 0.2), (found.npd, 0.7, 1.0)):
        pairs = errors.reshape(80, 5)
        assert low < np.corrcoef(pairs[:, 0], pairs[:, 4])[0, 1] < high


@pytest.mark.parametrize(
    ("theta", "omega"),
    [([11.5, 0.0, 0.5], None), ([10.0, 0.05, 0.5], None), ([10.0, 0.0, 1.0], None), (None, [[0.4]])],
    ids=["typical value", "decay", "residual error", "variance"],
)
def test_a_wrong_model_is_found_out(truth, theta, omega):
    found = errors_at(truth, None if theta is None else np.array(theta), None if omega is None else np.array(omega))
    assert normal_test(found.npde).p_global < 1e-3


def test_censored_records_by_the_cdf_method(tmp_path):
    endpoints = {"level": {"prediction": "level", "error": {"model": "additive", "additive": "sd"}, "censoring": "m3"}}
    full = simulated(tmp_path / "full", frame(120))
    table = frame(120)
    values = np.concatenate([s.dv for s in full.dataset.subjects])
    table["CENS"], table["DV"] = (values < 9.0).astype(int), np.maximum(values, 9.0)
    assert 0.2 < table.CENS.mean() < 0.4
    found = errors_at(bind(problem(tmp_path / "cut", table, endpoints=endpoints)))
    assert found.imputed.sum() == table.CENS.sum()
    assert normal_test(found.npde).p_global > 0.05
    # a limit in place of a value would pile up: 30 % of errors at the same place
    assert len(np.unique(np.round(found.npd, 6))) > 100
    wrong = errors_at(bind(problem(tmp_path / "cut", table, endpoints=endpoints)), np.array([8.5, 0.0, 0.5]))
    assert normal_test(wrong.npde).p_global < 1e-3


def test_ranks_ties_and_ends_by_hand(tmp_path):
    bound = simulated(tmp_path, frame(4, (1.0,)))
    records = records_of(bound)
    column = np.arange(1.0, 41.0)
    own = records.dv
    shares = [10, 20, 0, 40]
    fitted = np.column_stack([own[j] + column - shares[j] - 0.5 for j in range(4)])
    fitted[19, 1] = own[1]  # the 20th of 40 values ties with the observation
    found = prediction_errors(by_hand(records, fitted))
    wanted = stats.norm.ppf([10 / 40, 19.5 / 40, 0.5 / 40, 39.5 / 40])
    np.testing.assert_allclose(found.npd, wanted, atol=1e-12)
    np.testing.assert_allclose(found.npde, wanted, atol=1e-12)  # one record: nothing to decorrelate
    np.testing.assert_allclose(found.epred, fitted.mean(0))
    np.testing.assert_allclose(found.ewres, (own - fitted.mean(0)) / fitted.std(0, ddof=1))


def test_too_few_replicates_are_refused(truth):
    with pytest.raises(UsageError, match=r"19 replicates\. Prediction errors need 20 at least"):
        errors_at(truth, count=19)


def test_a_singular_covariance_is_told_not_hidden(tmp_path):
    bound = simulated(tmp_path, frame(2, (1.0, 2.0)))
    drawn = replicate(records_of(bound), bound.population.start, 30)
    fitted = np.array(drawn.fitted)
    fitted[:, 1] = fitted[:, 0]
    found = prediction_errors(by_hand(drawn.records, fitted))
    assert found.whole.tolist() == [False, True]
    assert np.isnan(found.npde[:2]).all()
    assert np.isfinite(found.npde[2:]).all()


def problem_402(folder) -> EstimationProblem:
    values = ("v1", "cl", "v2", "q")
    names = dict(zip(values, ("volume_central", "clearance", "volume_peripheral", "intercompartmental_clearance"),
                     strict=True))  # fmt: skip
    return from_data(
        EstimationProblem,
        {
            "name": "run_402",
            "description": "Two compartments, intravenous bolus",
            "folder": str(folder),
            "data": {"file": "402.csv", "skip": 1, "comment": "C", "drop": ["C"]},
            "model": "two_compartments",
            "parameters": {**{f"tv_{v}": {"start": 1.0, "lower": 0} for v in values}, "variance": 0.02},
            "random_effects": {"between_subject": {f"eta_{v}": {"variance": 0.02} for v in values}},
            "individual": {names[v]: {"typical": f"tv_{v}", "random": f"eta_{v}"} for v in values},
            "endpoints": {
                "drug": {
                    "prediction": "concentration",
                    "error": {"model": "proportional", "proportional": "variance", "coefficients": "variance"},
                }
            },
        },
    )


def estimates(folder, name, thetas, etas):
    values = json.loads((folder / "reference.json").read_text())[name]["estimate"]
    theta = np.array([values[f"THETA{k + 1}"] for k in range(thetas)] + [values["SIGMA(1,1)"]])
    return theta, np.diag([values[f"OMEGA({k + 1},{k + 1})"] for k in range(etas)])


def nonmem_errors(case):
    """Our NPDE with the symmetric root and NONMEM's, record by record."""
    if case == "402":
        folder = reference("2cpt_iv_402")
        bound = bind(problem_402(folder), check=False)
        theta, omega = estimates(folder, "FOCEI", 4, 4)
        table = pd.read_csv(folder / "402.tab", sep=r"\s+", skiprows=1)
    else:
        folder = reference("pheno")
        bound = bind(load_problem("phenobarbital"))
        theta, omega = estimates(folder, "pheno_real_FOCEI", 3, 2)
        table = pd.read_csv(folder / "pheno_real_FOCEI.tab", sep=r"\s+", skiprows=1)
    seen = np.concatenate([s.observed for s in bound.subjects])
    records = records_of(bound)
    drawn = replicate(records, bound.population.pack(theta, omega), 1000, seed=9)
    return prediction_errors(drawn, root="symmetric").npde, table.NPDE[seen].to_numpy()


@pytest.mark.parametrize("case", ["402", "pheno"])
def test_nonmems_table_within_monte_carlo_error(case):
    """NONMEM decorrelates by the symmetric root. Its 300 replicates leave an error of 0.07 in the middle of the range
    (sqrt(p (1 - p)/300)/phi), ours of 1000 another 0.04; the median of the absolute value is two thirds of it."""
    own, theirs = nonmem_errors(case)
    near = np.abs(theirs) < 2
    assert np.median(np.abs(own - theirs)[near]) < 0.08
    assert np.corrcoef(own, theirs)[0, 1] > 0.99
