"""Objectives of Y. Wang, J Pharmacokinet Pharmacodyn 34 (2007) 575, Table 2, closed forms on ten subjects.

FO, FOCE and FOCEI as printed there and by NONMEM (three decimals, in nlmixr2est's tests); Laplace and the exact
marginal (Gauss-Hermite with 41 nodes) by an independent script.
"""

import numpy as np
import pytest
from nonmem_problems import wang

from ipex_pd.inference.individuals import describe
from ipex_pd.inference.objectives import method_for
from ipex_pd.inference.totals import Objective

PUBLISHED = {
    "prop": {"focei": 39.458, "foce": 39.207, "fo": 39.213},
    "add": {"focei": -2.059, "foce": -2.059, "fo": 0.026},
    "add+prop combined2": {"focei": 39.735, "foce": 39.499, "fo": 39.505},
    "lnorm (additive on log)": {"focei": 40.039, "foce": 40.039, "fo": 40.055},
}
OWN = {
    "prop": {"laplace": 39.22684657661205, "agq": 39.354803462611216},
    "add": {"laplace": -1.9361233656893733, "agq": -1.9896142612026078},
}
# ETA1, OBJI, CWRES, CWRESI and WRES of the second record of the first three subjects, NONMEM's table for prop, FOCEI.
NONMEM = {
    1: (0.071545, 5.2018, -1.2221, -1.1756, -1.1786),
    2: (0.0057045, 3.776, 0.19366, 0.19228, 0.19235),
}


def at(model, name):
    case = wang(model)
    objective = Objective(case.population, case.groups, method_for(name, case.groups, 41))
    return objective, objective.at(case.population.start)


@pytest.mark.parametrize(("model", "name"), [(m, n) for m, row in PUBLISHED.items() for n in row])
def test_published_objectives(model, name):
    assert at(model, name)[1].value == pytest.approx(PUBLISHED[model][name], abs=6e-4)


@pytest.mark.parametrize(("model", "name"), [(m, n) for m, row in OWN.items() for n in row])
def test_laplace_and_the_marginal(model, name):
    assert at(model, name)[1].value == pytest.approx(OWN[model][name], abs=1e-8)


def test_residuals_as_nonmem_tabulates_them():
    objective, found = at("prop", "focei")
    who = describe(objective, np.asarray(wang().population.start), found.modes)
    table = who.tables[0]
    for subject, (eta, value, *residuals) in NONMEM.items():
        own = [table[name][subject - 1, 1] for name in ("CWRES", "CWRESI", "WRES")]
        np.testing.assert_allclose(own, residuals, rtol=5e-5)
        assert who.eta[subject - 1, 0] == pytest.approx(eta, rel=1e-4)
        assert found.values[subject - 1] == pytest.approx(value, abs=1e-4)
