"""Fits from the start values of the control streams, against NONMEM's estimates and standard errors.

NONMEM's covariance is R^-1 S R^-1 in all of these. Its searches stop at three significant digits, so that estimates are
compared in standard errors.
"""

import functools

import numpy as np
import pytest
from nonmem_problems import acop, control5, pheno, results, theophylline, two_compartments
from references import needs_references

from ipex_pd.inference.estimation import fit
from ipex_pd.inference.options import FitOptions

pytestmark = needs_references

FITS = {
    "pheno_real": ("pheno", "pheno_real_FOCEI", lambda: pheno("real"), "focei"),
    "pheno_base": ("pheno", "pheno_base_FOCEI", lambda: pheno("base"), "focei"),
    "pheno_fo": ("pheno", "pheno_base_FO", lambda: pheno("FO"), "fo"),
    "control5_fo": ("theophylline", "CONTROL5_FO", control5, "fo"),
    "402": ("2cpt_iv_402", "FOCEI", two_compartments, "focei"),
    "acop": ("acop_mit", "FOCEI", acop, "focei"),
}


@functools.cache
def fitted(name):
    _, _, make, method = FITS[name]
    return fit(make(), method, FitOptions(restarts=0))


def in_order(values, found):
    """NONMEM's numbers in our order: THETAs, the residual variance where it is estimated, OMEGA."""
    names = [
        n.replace("THETA(", "THETA").rstrip(")") if n.startswith("T") else n for n in found.population.nonmem_names
    ]
    return np.array([values.get(n, values.get("SIGMA(1,1)")) for n in names], float)


@pytest.mark.parametrize("name", list(FITS))
def test_the_minimum_is_reached(name):
    found, reference = fitted(name), results(FITS[name][0])[FITS[name][1]]["estimate"]
    assert found.found.converged, found.found.outcome
    assert found.value <= reference["OBJ"] + 1e-3
    assert found.value >= reference["OBJ"] - 0.05
    assert np.abs(found.found.at.gradient).max() < 1e-3


@pytest.mark.parametrize("name", [n for n in FITS if n != "pheno_base"])
def test_estimates_and_standard_errors(name):
    """The worst here is 0.02 SE, and 1 % of an SE (the reference of pheno_base has no covariance step)."""
    found, reference = fitted(name), results(FITS[name][0])[FITS[name][1]]
    own, theirs = found.estimates, in_order(reference["estimate"], found)
    errors = in_order(reference["se"], found)
    assert found.covariance.done
    assert found.covariance.kind == "sandwich"
    np.testing.assert_array_less(np.abs(own - theirs) / errors, 0.02)
    np.testing.assert_allclose(found.covariance.standard_errors, errors, rtol=0.01)


def test_condition_number_is_told_as_nonmem_does():
    """Largest over smallest eigenvalue of the correlation matrix, row -1000000003 of pheno_base_FO.ext."""
    assert fitted("pheno_fo").covariance.condition_number == pytest.approx(3.89447, rel=2e-3)


def test_theophylline_reaches_nlmixr2():
    """nlmixr2: FOCEI 116.803781; its SEs (sandwich, as here): tka 0.1979, tcl 0.0756, tv 0.0429, add.sd 0.0925."""
    found = fit(theophylline(), "focei", FitOptions(restarts=1))
    assert found.value <= 116.803781
    assert found.value == pytest.approx(116.8034, abs=1e-4)
    assert found.verdict.level == "trust"
    np.testing.assert_allclose(found.estimates[:4], [0.46445, 1.01205, 3.45997, 0.69384], rtol=2e-3)
    np.testing.assert_allclose(found.covariance.standard_errors[:4], [0.1979, 0.0756, 0.0429, 0.0925], rtol=0.03)
