"""A small estimation problem of oral doses, written as people write it."""

import copy

from ipex_pd.records.library import resolve_model
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

ORAL = {
    "name": "oral",
    "description": "A small problem of oral doses",
    "data": {"file": "data.csv"},
    "model": "one_compartment_oral",
    "parameters": {
        "tvcl": {"start": 3, "lower": 0},
        "tvv": {"start": 30, "lower": 0},
        "tvka": {"start": 1, "lower": 0},
        "prop": {"start": 0.2, "lower": 0},
    },
    "random_effects": {"between_subject": {"eta_cl": {"sd": 0.3}}},
    "individual": {
        "clearance": {"typical": "tvcl", "random": "eta_cl"},
        "volume_central": "tvv",
        "absorption_rate": "tvka",
    },
    "endpoints": {"level": {"prediction": "concentration", "error": {"model": "proportional", "proportional": "prop"}}},
}


def oral_problem(changes=None, **endpoint):
    """(problem, its model): `changes` replace sections, `endpoint` replaces keys of the endpoint."""
    data = copy.deepcopy({**ORAL, **(changes or {})})
    for one in data["endpoints"].values():
        one.update(endpoint)
    problem = from_data(EstimationProblem, data)
    return problem, resolve_model(problem.model)
