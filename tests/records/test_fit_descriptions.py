"""What `check` says of structural models and estimation problems."""

from __future__ import annotations

from ipex_pd.records import library
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import read_record

PROBLEM = """name: small
description: one output
data: {file: small.csv}
model: one_compartment_oral
parameters:
  cl: {start: 2, lower: 0, unit: L/h, meaning: typical clearance}
individual:
  clearance: cl
endpoints:
  level:
    prediction: concentration
    error: {model: proportional, proportional: 0.1}
"""


def test_a_model_in_words() -> None:
    assert library.describe(library.load(library.shipped("models")["indirect_response_1"])) == [
        "Structural model `indirect_response_1`: Indirect response I: the drug inhibits production",
        "Compartment response: response [response]",
        "Rate of change of response: kin * (1 - imax * concentration / (ic50 + concentration)) - kout * response",
        "response starts at kin / kout",
        "Parameter kin: production without drug [response/time]",
        "Parameter kout: rate of loss without drug [1/time]",
        "Parameter imax: largest inhibition",
        "Parameter ic50: concentration at half the largest inhibition [amount/volume]",
        "Input concentration: concentration that acts; an output of the kinetics before [amount/volume]",
        "Output effect = response: response [response]",
    ]


def test_a_problem_in_words() -> None:

    assert library.describe(read_record(EstimationProblem, "small.yaml", PROBLEM)) == [
        "Estimation problem `small`: one output",
        "Data: small.csv",
        "Model: one_compartment_oral",
        "Population value cl (typical clearance): estimated from 2 L/h",
        "In each subject, clearance = cl",
        "Observed level: concentration, proportional error",
    ]
