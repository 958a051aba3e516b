"""A fit written as NONMEM's files and read back: by the rules of the format, and by pharmpy where it is installed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from checked_problems import decay_fit
from references import reference

import ipex_pd
from ipex_pd.errors import OutputError, UsageError
from ipex_pd.exchange.nonmem import write_nonmem
from ipex_pd.inference.diagnostics.summary import DiagnosticOptions
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.options import FitOptions
from ipex_pd.records.library import load_problem


def table_of(path):
    return pd.read_csv(path, sep=r"\s+", skiprows=1)


@pytest.fixture(scope="module")
def checked():
    return ipex_pd.diagnose(decay_fit(), DiagnosticOptions(replicates=20))


@pytest.fixture(scope="module")
def folder(checked, tmp_path_factory):
    place = tmp_path_factory.mktemp("nonmem")
    written = write_nonmem(checked, place / "new", "7")
    assert sorted(p.name for p in written) == [
        "patab7", "run7.cor", "run7.cov", "run7.ext", "run7.phi", "run7.shk", "sdtab7",
    ]  # fmt: skip
    return place / "new"


def test_ext_has_the_numbered_rows(checked, folder):
    table, found = table_of(folder / "run7.ext").set_index("ITERATION"), checked.fit
    assert list(table.columns) == [
        "THETA1", "THETA2", "THETA3", "SIGMA(1,1)", "OMEGA(1,1)", "OMEGA(2,1)", "OMEGA(2,2)", "OBJ",
    ]  # fmt: skip
    final = table.loc[-1000000000]
    np.testing.assert_allclose(
        final[["THETA1", "THETA2", "THETA3", "OMEGA(1,1)", "OMEGA(2,2)"]], found.estimates, rtol=1e-5
    )
    assert final["OBJ"] == pytest.approx(found.value, abs=1e-9)
    assert final["SIGMA(1,1)"] == 1
    errors = table.loc[-1000000001]
    np.testing.assert_allclose(errors[["THETA1", "THETA2", "THETA3", "OMEGA(1,1)", "OMEGA(2,2)"]],
                               found.covariance.standard_errors, rtol=1e-5)  # fmt: skip
    assert (errors[["SIGMA(1,1)", "OMEGA(2,1)"]] == 1e10).all()
    np.testing.assert_allclose(table.loc[-1000000002].iloc[:5], found.covariance.eigenvalues, rtol=1e-5)
    assert table.loc[-1000000003, "THETA1"] == pytest.approx(found.covariance.condition_number, rel=1e-5)
    assert table.loc[-1000000004, "OMEGA(1,1)"] == pytest.approx(np.sqrt(final["OMEGA(1,1)"]), rel=1e-5)
    # SE(sd) = SE(variance)/(2 sd)
    wanted = errors["OMEGA(2,2)"] / (2 * np.sqrt(final["OMEGA(2,2)"]))
    assert table.loc[-1000000005, "OMEGA(2,2)"] == pytest.approx(wanted, rel=1e-5)
    assert table.loc[-1000000006].tolist()[:7] == [0, 0, 0, 1, 0, 1, 0]
    assert (table.loc[-1000000007] == 0).all()


def test_cov_and_cor_belong_together(checked, folder):
    covariance, correlation = (table_of(folder / f"run7.{kind}").set_index("NAME") for kind in ("cov", "cor"))
    own = ["THETA1", "THETA2", "THETA3", "OMEGA(1,1)", "OMEGA(2,2)"]
    np.testing.assert_allclose(covariance.loc[own, own], checked.fit.covariance.matrix, rtol=1e-4, atol=1e-9)
    assert (covariance.loc["SIGMA(1,1)"] == 0).all()
    sd = np.diag(correlation.loc[own, own])
    np.testing.assert_allclose(sd, checked.fit.covariance.standard_errors, rtol=1e-5)
    assert correlation.loc["THETA1", "THETA2"] * sd[0] * sd[1] == pytest.approx(
        covariance.loc["THETA1", "THETA2"], rel=1e-4
    )


def test_phi_and_shk(checked, folder):
    phi, who = table_of(folder / "run7.phi"), checked.fit.who
    assert list(phi.columns) == ["SUBJECT_NO", "ID", "ETA(1)", "ETA(2)", "ETC(1,1)", "ETC(2,1)", "ETC(2,2)", "OBJ"]
    np.testing.assert_allclose(phi[["ETA(1)", "ETA(2)"]], who.eta, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(phi["ETC(2,1)"], who.covariance[:, 1, 0], rtol=1e-5, atol=1e-12)
    assert phi.OBJ.sum() == pytest.approx(checked.fit.value)
    shk = table_of(folder / "run7.shk").set_index("TYPE")
    assert shk.index.tolist() == list(range(1, 11))
    shrinkage = checked.shrinkage.set_index("name")
    assert shk.loc[4, "ETA(1)"] == pytest.approx(shrinkage.sd_percent["eta_base"], rel=1e-5)
    assert shk.loc[8, "ETA(2)"] == pytest.approx(shrinkage.vr_percent["eta_rate"], rel=1e-5)
    assert shk.loc[5, "ETA(1)"] == pytest.approx(shrinkage.sd_percent["eps"], rel=1e-5)
    assert shk.loc[7].tolist() == [1, 24, 24]


def test_tables_hold_records_and_subjects(checked, folder):
    records, subjects = table_of(folder / "sdtab7"), table_of(folder / "patab7")
    assert len(records) == 120
    np.testing.assert_allclose(records.CWRES, checked.table.CWRES.fillna(0.0), rtol=1e-4, atol=1e-9)
    assert {"ID", "TIME", "TAD", "DV", "PRED", "IPRED", "IWRES", "NPDE", "MDV"} <= set(records.columns)
    assert len(subjects) == 24
    lines = (folder / "sdtab7").read_text().splitlines()
    assert lines[0] == "TABLE NO.  1"
    assert {len(line) for line in lines[2:]} == {12 * len(records.columns)}


def test_layout_is_that_of_nonmems_own_file(folder):
    nonmem = (reference("pheno") / "pheno_real_FOCEI.ext").read_text().splitlines()
    own = (folder / "run7.ext").read_text().splitlines()
    assert own[0].startswith("TABLE NO.     1: ")
    head, theirs = own[1], nonmem[1]
    assert [
        head.index(n) for n in ("ITERATION", "THETA1", "THETA2", "THETA3", "SIGMA(1,1)", "OMEGA(1,1)", "OMEGA(2,1)")
    ] == [
        theirs.index(n) for n in ("ITERATION", "THETA1", "THETA2", "THETA3", "SIGMA(1,1)", "OMEGA(1,1)", "OMEGA(2,1)")
    ]
    assert own[-1][:13] == nonmem[-2][:13] == "  -1000000007"
    cov = (folder / "run7.cov").read_text().splitlines()
    theirs = (reference("pheno") / "pheno_real_FOCEI.cov").read_text().splitlines()
    assert cov[1][:27] == theirs[1][:27]
    assert cov[2][:14] == theirs[2][:14]


def test_phenobarbital_rows_against_nonmem(tmp_path):
    """Everything stands under the same names, the residual variance as SIGMA."""
    folder = reference("pheno")
    found = fit(load_problem("phenobarbital"), "focei", FitOptions(restarts=0))
    write_nonmem(ipex_pd.diagnose(found, DiagnosticOptions(replicates=20)), tmp_path)
    own = table_of(tmp_path / "run1.ext").set_index("ITERATION")
    theirs = table_of(folder / "pheno_real_FOCEI.ext").set_index("ITERATION")
    columns = ["THETA1", "THETA2", "THETA3", "SIGMA(1,1)", "OMEGA(1,1)", "OMEGA(2,2)"]
    for code, tolerance in ((0, 1e-3), (1, 1e-2), (4, 1e-3), (5, 1e-2), (6, 0)):
        chosen = columns if code != 0 else [*columns, "OBJ"]
        np.testing.assert_allclose(own.loc[-1000000000 - code, chosen], theirs.loc[-1000000000 - code, chosen],
                                   rtol=tolerance)  # fmt: skip


def test_pharmpy_reads_the_files(checked, folder):
    table = pytest.importorskip("pharmpy.model.external.nonmem.table")
    ext = table.NONMEMTableFile(str(folder / "run7.ext")).tables[0]
    assert ext.final_parameter_estimates["THETA(1)"] == pytest.approx(checked.fit.parameter_values["base"], rel=1e-5)
    assert ext.fixed["SIGMA(1,1)"]
    phi = table.NONMEMTableFile(str(folder / "run7.phi")).tables[0]
    assert len(phi.etas) == 24


def test_refusals(checked, tmp_path):
    with pytest.raises(UsageError, match="`a/b` makes no file name"):
        write_nonmem(checked, tmp_path, "a/b")
    (tmp_path / "taken").write_text("")
    with pytest.raises(OutputError, match="the files cannot be written"):
        write_nonmem(checked, tmp_path / "taken")
