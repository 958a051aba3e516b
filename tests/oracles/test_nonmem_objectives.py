"""Objectives, modes, posterior covariances and residuals at NONMEM's printed estimates.

The totals and estimates typed in are NONMEM's (phenobarbital, problem 402, acop, theophylline FO) and nlmixr2's
(theophylline); tables are read from the reference data where they are at hand.
"""

import functools

import numpy as np
import pandas as pd
import pytest
from nonmem_problems import acop, control5, pheno, results, theophylline, two_compartments
from references import REFERENCE, needs_references

from ipex_pd.inference.individuals import describe
from ipex_pd.inference.objectives import method_for
from ipex_pd.inference.totals import Objective

pytestmark = needs_references

VARIANCE = ("SIGMA(1,1)",)
# folder, key, case, THETAs, residual variances, method, total by NONMEM
TOTALS = {
    "pheno_real": ("pheno", "pheno_real_FOCEI", lambda: pheno("real"), 3, VARIANCE, "focei", 586.276056),
    "pheno_base": ("pheno", "pheno_base_FOCEI", lambda: pheno("base"), 2, VARIANCE, "focei", 730.894727),
    "pheno_fo": ("pheno", "pheno_base_FO", lambda: pheno("FO"), 2, VARIANCE, "fo", 742.051046),
    "control5_fo": ("theophylline", "CONTROL5_FO", control5, 3, VARIANCE, "fo", 104.561068),
    "402": ("2cpt_iv_402", "FOCEI", two_compartments, 4, VARIANCE, "focei", 196.008342),
    "acop": ("acop_mit", "FOCEI", acop, 5, (), "focei", 2583.310901),
}
TABLES = {
    "pheno_real": "pheno/pheno_real_FOCEI_phi.csv",
    "pheno_base": "pheno/pheno_base_FOCEI_phi.csv",
    "402": "2cpt_iv_402/402_phi.csv",
    "control5_fo": "theophylline/CONTROL5_FO_phi.csv",
}


@functools.cache
def evaluated(name):
    folder, key, make, thetas, variances, method, _ = TOTALS[name]
    case = make()
    w = case.at(results(folder)[key]["estimate"], thetas, variances)
    objective = Objective(case.population, case.groups, method_for(method, case.groups))
    found = objective.at(w)
    return case, objective, w, found


@functools.cache
def described(name):
    _, objective, w, found = evaluated(name)
    return describe(objective, w, found.modes)


def flat(name, column):
    case = evaluated(name)[0]
    return described(name).tables[0][column][np.asarray(case.groups[0].mask)]


@pytest.mark.parametrize("name", list(TOTALS))
def test_totals(name):
    found = evaluated(name)[3]
    assert found.found.all()
    assert found.value == pytest.approx(TOTALS[name][-1], abs=1e-5)


@pytest.mark.parametrize("name", list(TABLES))
def test_individual_objectives(name):
    table = pd.read_csv(REFERENCE / TABLES[name])
    np.testing.assert_allclose(evaluated(name)[3].values, table.OBJ, atol=2e-4)


@pytest.mark.parametrize("name", ["pheno_real", "pheno_base", "402"])
def test_modes_and_posterior_covariances(name):
    table = pd.read_csv(REFERENCE / TABLES[name])
    who = described(name)
    size = who.eta.shape[1]
    for i in range(size):
        np.testing.assert_allclose(who.eta[:, i], table[f"ETA({i + 1})"], atol=1e-5)
        for j in range(i + 1):
            printed = table[f"ETC({i + 1},{j + 1})"]
            np.testing.assert_allclose(who.covariance[:, i, j], printed, rtol=1e-4, atol=1e-4 * np.abs(printed).max())


def printed_digits(table, digits=5):
    """Half a unit of the last printed digit, and a little for the printed estimates."""
    return 0.6 * 10.0 ** (np.floor(np.log10(np.maximum(np.abs(table), 1e-3))) - digits + 1)


@pytest.mark.parametrize(
    ("name", "path", "columns"),
    [
        ("pheno_real", "pheno/pheno_real_FOCEI.tab", {"PRED": "PRED", "IPRED": "IPRED", "CWRES": "CWRES"}),
        (
            "402",
            "2cpt_iv_402/402.tab",
            {"PRED": "PRED", "IPRED": "IPRE", "RES": "RES", "WRES": "WRES", "CWRES": "CWRES", "IWRES": "IWRE"},
        ),
    ],
)
def test_tables_to_the_printed_digits(name, path, columns):
    table = pd.read_csv(REFERENCE / path, sep=r"\s+", skiprows=1)
    table = table[table.AMT == 0]
    for own, theirs in columns.items():
        expected = table[theirs].to_numpy()
        assert np.all(np.abs(flat(name, own) - expected) <= printed_digits(expected) + 2e-5), own


def test_acop_table_to_the_printed_digits():
    data = pd.read_csv(REFERENCE / "acop_mit" / "acop.csv", na_values=".")
    seen = data[(data.id != 2) & (data.evid == 0)]
    table = pd.read_csv(REFERENCE / "acop_mit" / "acop1.tab", sep=r"\s+", skiprows=1).set_index("NUM").loc[seen.num]
    for column in ("PRED", "IPRED", "RES", "WRES", "CWRES"):
        expected = table[column].to_numpy()
        assert np.all(np.abs(flat("acop", column) - expected) <= printed_digits(expected) + 2e-4), column
    etas = pd.read_csv(REFERENCE / "acop_mit" / "acop1_par.tab", sep=r"\s+", skiprows=1).set_index("NUM").loc[seen.num]
    first = ~seen.id.duplicated().to_numpy()
    np.testing.assert_allclose(described("acop").eta, etas.loc[first, ["ETA1", "ETA2"]].to_numpy(), atol=2e-5)


# nlmixr2's FOCEI estimates of theophylline (12 subjects) and OFV; Laplace and the marginal by an independent script.
NLMIXR2 = (0.464451132923658, 1.01204689833242, 3.45997310165565, 0.693839405708945)
NLMIXR2_OMEGA = np.diag([0.404625391044372, 0.0687956048901995, 0.019222348721803])


@pytest.mark.parametrize(
    ("name", "expected", "tolerance"),
    [("focei", 116.803781, 5e-6), ("foce", 116.803781, 5e-6), ("laplace", 118.530358, 2e-6), ("agq", 118.1242, 2e-4)],
)
def test_theophylline_by_every_method(name, expected, tolerance):
    """The marginal was computed with 11 nodes for each random effect, and so is it here."""
    case = theophylline()
    objective = Objective(case.population, case.groups, method_for(name, case.groups, 11))
    found = objective.at(case.population.pack(np.array(NLMIXR2), NLMIXR2_OMEGA))
    assert found.value == pytest.approx(expected, abs=tolerance)


def test_the_marginal_of_phenobarbital():
    """Gauss-Hermite by an independent script: 729.56825; NONMEM's importance sampling scatters around it."""
    case, _, w, _ = evaluated("pheno_base")
    objective = Objective(case.population, case.groups, method_for("agq", case.groups, 25))
    assert objective.at(w).value == pytest.approx(729.56825, abs=5e-4)
