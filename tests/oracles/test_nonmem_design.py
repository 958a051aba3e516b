"""The expected information of the warfarin study of NONMEM's $DESIGN example: standard errors, covariance, -log det."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from references import reference

from ipex_pd.inference.design import fisher_information
from ipex_pd.inference.planned import plan_study
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

PROBLEM = {
    "name": "warfarin",
    "description": "One dose by mouth, three samples",
    "data": {"file": "design.csv"},
    "model": "one_compartment_oral",
    "parameters": {
        "theta1": {"start": 0.15, "unit": "L/h"},
        "theta2": {"start": 8.0, "unit": "L"},
        "theta3": {"start": 1.0, "unit": "1/h"},
        "sigma1": {"start": 0.01},
        "sigma2": {"start": 0.001, "fixed": True},
    },
    "random_effects": {
        "between_subject": {"e1": {"variance": 0.07}, "e2": {"variance": 0.02}, "e3": {"variance": 0.6}}
    },
    "individual": {
        "clearance": {"typical": "theta1", "random": "e1"},
        "volume_central": {"typical": "theta2", "random": "e2"},
        "absorption_rate": {"typical": "theta3", "random": "e3"},
    },
    "endpoints": {
        "concentration": {
            "prediction": "concentration",
            "error": {
                "model": "combined2",
                "coefficients": "variance",
                "proportional": "sigma1",
                "additive": "sigma2",
            },
        }
    },
}
NAMES = ("THETA1", "THETA2", "THETA3", "SIGMA(1,1)", "OMEGA(1,1)", "OMEGA(2,2)", "OMEGA(3,3)")
FULL = (0.0489144, 0.345722, 0.102794)
"""Worked out apart from this package, beside the reference; its README has them."""


def study(folder: Path, subjects: int = 32) -> EstimationProblem:
    """The problem and its table, without a DV."""
    lines = ["ID,TIME,AMT,DV"]
    for i in range(1, subjects + 1):
        lines += [f"{i},0,70,.", f"{i},1,.,.", f"{i},4,.,.", f"{i},8,.,."]
    (folder / "design.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return from_data(EstimationProblem, {**PROBLEM, "data": {"file": str(folder / "design.csv")}})


def test_the_reduced_information_is_that_of_nonmem(tmp_path):
    folder = reference("design_fim")
    told = json.loads((folder / "reference.json").read_text(encoding="utf-8"))["FO_FIM"]
    found = fisher_information(study(tmp_path), "reduced")
    assert found.names == ("theta1", "theta2", "theta3", "sigma1", "omega(e1)", "omega(e2)", "omega(e3)")
    expected = [told["se"][name] for name in NAMES]
    np.testing.assert_allclose(found.standard_errors, expected, rtol=1.5e-6)
    assert found.minus_log_det == pytest.approx(told["estimate"]["OBJ"], abs=1e-8)


def test_the_covariance_is_that_of_nonmem(tmp_path):
    table = pd.read_csv(reference("design_fim") / "warfarin_fim.cov", sep=r"\s+", skiprows=1).set_index("NAME")
    expected = table.loc[list(NAMES), list(NAMES)].to_numpy()
    found = fisher_information(study(tmp_path), "reduced").covariance
    np.testing.assert_allclose(found, expected, rtol=5e-6, atol=1e-15)


def test_the_information_with_what_variances_tell_of_typical_values(tmp_path):
    reference("design_fim")
    found = fisher_information(study(tmp_path), "blocks")
    np.testing.assert_allclose(found.standard_errors[:3], FULL, rtol=5e-6)
    assert found.minus_log_det == pytest.approx(-40.66267, abs=6e-6)


def test_one_subject_many_times_over_is_the_study(tmp_path):
    one = plan_study(study(tmp_path, subjects=1))
    found = fisher_information(one, "reduced").for_subjects(32)
    assert found.minus_log_det == pytest.approx(-39.518205662077754, abs=1e-8)
