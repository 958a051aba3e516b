"""Simulated sets whose truth is known, fitted through problem files, against NONMEM's FOCEI fits.

NONMEM searched them to two or three significant digits, with `SS` and `II` unread: all doses are plain ones.
"""

import functools
import json

import numpy as np
import pytest
from references import REFERENCE, needs_references

import ipex_pd as ipx
from ipex_pd.inference.options import FitOptions

FOLDER = REFERENCE / "simtruth"
pytestmark = [needs_references, pytest.mark.slow]

PROBLEM = """
name: {name}
description: A simulated set with a known truth, as NONMEM fitted it
data:
  file: {file}
  accept: SD == 1
  drop: {drop}
model: {model}
parameters:
{parameters}
  proportional: {{start: 0.3, lower: 0}}
random_effects:
  between_subject:
{effects}
individual:
{individual}
endpoints:
  drug:
    prediction: concentration
    error: {{model: proportional, proportional: proportional}}
"""
MEANING = {
    "CL": ("clearance", 1.6),
    "V": ("volume_central", 4.5),
    "KA": ("absorption_rate", 0.2),
    "VM": ("vmax", 7.0),
    "KM": ("km", 5.7),
}
MODELS = {
    "Oral_1CPT": ("one_compartment_oral", "[SS, II]"),
    "Infusion_1CPT": ("one_compartment", "[SS, II]"),
    "Bolus_1CPTMM": ("one_compartment_michaelis_menten", "[]"),
}


def reference(name):
    return json.loads((FOLDER / "reference.json").read_text())[f"{name}_SD"]


def lines(names, pattern, indent):
    return "\n".join(" " * indent + pattern.format(MEANING[n][0], MEANING[n][1]) for n in names)


@functools.cache
def fitted(name, folder):
    names = reference(name)["parameters"]
    model, drop = MODELS[name]
    text = PROBLEM.format(
        name=f"{name}_sd".lower(),
        file=FOLDER / f"{name}.csv",
        drop=drop,
        model=model,
        parameters=lines(names, "log_{0}: {{start: {1}}}", 2),
        effects=lines(names, "eta_{0}: {{variance: 0.15}}", 4),
        individual=lines(names, "{0}: {{typical: exp(log_{0}), random: eta_{0}}}", 2),
    )
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return ipx.fit(ipx.load_problem(path), options=FitOptions(restarts=0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("simtruth")


def runs(name):
    found = reference(name)
    return [found[kind] for kind in ("ODE", "closed_form") if kind in found]


@pytest.mark.parametrize("name", list(MODELS))
def test_the_minimum_is_reached(name, folder):
    """Not above the better of NONMEM's two runs by more than what they differ by; not below it by more either."""
    found = fitted(name, folder)
    best = min(run["estimate"]["OBJ"] for run in runs(name))
    assert found.found.converged
    assert best - 0.05 < found.value <= best + 0.05


@pytest.mark.parametrize("name", list(MODELS))
def test_estimates_lie_within_a_fraction_of_a_standard_error(name, folder):
    """Within 0.3 SE of one of NONMEM's runs, which differ from each other by up to 0.27 SE."""
    found = fitted(name, folder)
    count = len(reference(name)["parameters"])
    order = [f"THETA{i + 1}" for i in range(count + 1)] + [f"OMEGA({i + 1},{i + 1})" for i in range(count)]
    errors = np.array([reference(name)["ODE"]["se"][n] for n in order])
    apart = [np.abs(found.estimates - [run["estimate"][n] for n in order]) / errors for run in runs(name)]
    assert min(a.max() for a in apart) < 0.3


@pytest.mark.parametrize("name", list(MODELS))
def test_the_truth_is_recovered(name, folder):
    """The realised geometric means and log standard deviations of the individual values, within three SE."""
    found, names = fitted(name, folder), reference(name)["parameters"]
    truth = json.loads((FOLDER / "truth.json").read_text())[name]
    errors = found.covariance.standard_errors
    count = len(names)
    typical = np.array([np.log(truth[n]["geomean"]) for n in names])
    spread = np.array([truth[n]["sdlog"] ** 2 for n in names])
    np.testing.assert_array_less(np.abs(found.estimates[:count] - typical) / errors[:count], 3.0)
    np.testing.assert_array_less(np.abs(found.estimates[count + 1 :] - spread) / errors[count + 1 :], 3.0)
    assert abs(found.estimates[count] - truth["residual_sdlog"]) < 3.0 * errors[count]
