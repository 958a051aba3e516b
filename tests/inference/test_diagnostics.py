"""diagnose(): its tables against NONMEM's, its counts, notes and refusals."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from checked_problems import decay_fit, frame, problem
from nonmem_problems import pheno
from references import reference

import ipex_pd
from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.diagnostics.records import records_of
from ipex_pd.inference.diagnostics.summary import DiagnosticOptions
from ipex_pd.inference.diagnostics.tables import curves, individual_table, record_table
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.options import FitOptions
from ipex_pd.records.library import load_problem


@pytest.fixture(scope="module")
def checked():
    return ipex_pd.diagnose(decay_fit(), DiagnosticOptions(replicates=100, stratify="SEX"))


def test_the_table_of_records_has_the_usual_columns(checked):
    assert list(checked.table.columns) == [
        "ID", "ROW", "TIME", "TAD", "DV", "CENS", "EVID", "MDV", "ENDPOINT", "PRED", "IPRED", "RES", "IRES", "WRES",
        "CWRES", "CWRESI", "IWRES", "EPRED", "EWRES", "NPD", "NPDE", "OCC", "WT", "SEX",
    ]  # fmt: skip
    table = checked.table
    assert len(table) == 120
    assert table.ROW.tolist() == list(range(2, 122))
    measured = table.CENS == 0
    np.testing.assert_allclose((table.DV - table.IPRED)[measured], table.IRES[measured])
    sd = checked.fit.parameter_values["sd"]
    np.testing.assert_allclose(table.IRES[measured] / sd, table.IWRES[measured])
    assert table.CWRES[~measured].isna().all()
    assert table.NPDE.notna().all()


def test_predictions_are_those_of_the_formula(checked):
    table, own = checked.table, checked.individuals.set_index("ID")
    values = own.loc[table.ID]
    level = values.start_value.to_numpy() * np.exp(-values.decay_rate.to_numpy() * table.TIME)
    np.testing.assert_allclose(table.IPRED, level, rtol=1e-9)
    typical = checked.fit.parameter_values
    np.testing.assert_allclose(table.PRED, typical["base"] * np.exp(-typical["rate"] * table.TIME), rtol=1e-9)
    np.testing.assert_allclose(own.start_value, typical["base"] * np.exp(own.eta_base), rtol=1e-9)
    lines = curves(checked.fit, checked.records, points=20)
    first = lines[lines.subject == 0]
    assert len(first) == 23  # both ends of the 20 and three others stand in the data
    np.testing.assert_allclose(first.PRED, typical["base"] * np.exp(-typical["rate"] * first.TIME), rtol=1e-9)
    assert (np.diff(first.TIME) > 0).all()


def test_shrinkage_stands_without_a_covariance(checked):
    bare = fit(checked.fit.bound, "laplace", FitOptions(restarts=0, covariance="none"), start=checked.fit.w)
    assert not bare.covariance.done
    found = ipex_pd.diagnose(bare, DiagnosticOptions(replicates=20)).shrinkage.set_index("name")
    eta = checked.individuals.eta_base
    sd = np.sqrt(checked.fit.parameter_values["omega(eta_base)"])
    assert found.sd_percent["eta_base"] == pytest.approx(100 * (1 - eta.std(ddof=1) / sd), abs=1e-3)
    assert found.vr_percent["eps"] == pytest.approx(100 * (1 - checked.table.IWRES.var(ddof=1)), abs=1e-2)


def test_checks_are_made_for_every_stratum(checked):
    (check,), (corrected,) = checked.checks, checked.corrected_checks
    assert sorted(check.table.stratum.unique()) == ["SEX 0", "SEX 1"]
    assert corrected.correction == "ratio"
    assert check.replicates == 100
    assert check.censored.observed.max() > 0
    censored = int((checked.table.CENS == 1).sum())
    assert censored > 5
    assert f"{censored} censored records have no residuals; their NPDE are drawn by the cdf method" in checked.notes


def test_npde_of_the_fitted_model_speak_for_it(checked):
    row = checked.npde_tests.iloc[0]
    assert row.records == 120
    assert row.p_global > 0.05


def test_left_out_records_are_told(tmp_path):
    table = frame(4, (1.0, 2.0), CENS=lambda i, k: int(k == 1))
    endpoints = {"level": {"prediction": "level", "error": {"model": "additive", "additive": "sd"}, "censoring": "m1"}}
    found = fit(bind(problem(tmp_path, table, endpoints=endpoints)), "map")
    checked = ipex_pd.diagnose(found, DiagnosticOptions(replicates=20))
    assert len(checked.table) == 4
    assert checked.notes[0].startswith("level: censored records were left out of the fit (M1)")


def test_what_cannot_be_honoured_is_refused():
    for words, told in (
        ({"replicates": 19}, "19 replicates. A check needs 20 at least, better 300 or more."),
        ({"level": 1.0}, "the level 1. It lies between 0 and 1, such as 0.95."),
        ({"root": "polar"}, "`polar` is not a root. Write `cholesky` or `symmetric`."),
    ):
        with pytest.raises(UsageError) as error:
            DiagnosticOptions(**words)
        assert error.value.message == told


def test_a_fit_without_a_dataset_is_refused():
    reference("pheno")
    found = fit(pheno("real"), "map")
    with pytest.raises(UsageError, match="this fit has no dataset"):
        ipex_pd.diagnose(found)


def test_phenobarbital_against_nonmems_table():
    """CWRES, PRED and IPRED at our own optimum; NONMEM prints five digits and stops at three of the estimates."""
    folder = reference("pheno")
    found = fit(load_problem("phenobarbital"), "focei", FitOptions(restarts=0, covariance="none"))
    records = records_of(found.bound)
    table = record_table(found, records)
    nonmem = pd.read_csv(folder / "pheno_real_FOCEI.tab", sep=r"\s+", skiprows=1)
    seen = np.concatenate([s.observed for s in found.bound.subjects])
    for name, tolerance in (("PRED", 2e-3), ("IPRED", 2e-3)):
        np.testing.assert_allclose(table[name], nonmem[name][seen], rtol=tolerance)
    np.testing.assert_allclose(table.CWRES, nonmem.CWRES[seen], atol=5e-3)
    np.testing.assert_allclose(table.TAD, nonmem.TAD[seen], atol=1e-3)
    phi = pd.read_csv(folder / "pheno_real_FOCEI_phi.csv")
    own = individual_table(found, records)
    np.testing.assert_allclose(own.eta_cl, phi["ETA(1)"], atol=2e-3)
