"""A plan with a moved transplant and frozen titrations: the traced schedule and the written regimen simulate alike."""

from dataclasses import replace

import numpy as np
import pytest

from ipex_pd.numerics.solve import solve
from ipex_pd.planning.template import combinations, template_of
from ipex_pd.records.library import load_patient
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.study import output_grid, study

DAYS = output_grid(days=112.0)


@pytest.fixture(scope="module")
def template():
    asked = from_data(
        PlanningProblem,
        {
            "name": "mine",
            "description": "a test",
            "patient": "seidel_2009",
            "start": "transplant_early_reduced",
            "horizon": "112 day",
            "ensemble": {"children": 1, "draws": 1, "seed": 1},
            "free": [
                {"transplant": "day", "earliest": 30, "latest": 80},
                {
                    "dose": "prednisolone",
                    "changes_on": [0, 28],
                    "lowest": "0 mg/kg/day",
                    "highest": "3 mg/kg/day",
                },
            ],
            "goals": [{"maximise": "survival", "weight": 1}],
        },
        where="mine",
    )
    start = combinations(asked)[0].regimen
    course = simulate(load_patient("seidel_2009"), start, output_times=DAYS)
    return template_of(asked, start, titrated=course)


@pytest.mark.parametrize("x", [[70.0, 2.0, 0.5], [52.3, 1.3, 0.0]])
def test_traced_and_written_doses_have_the_same_course(template, x):
    child = load_patient("seidel_2009")
    written = study(child, template.regimen(np.array(x)), DAYS)
    traced = replace(study(child, template.base, DAYS), schedule=template.schedule(np.array(x)))
    solved = [
        solve(s.system, s.schedule, s.theta, age=s.age, output_times=s.times, state=s.state) for s in (written, traced)
    ]
    one, other = solved
    names = written.system.model.states
    # rows of doses of nothing cut the traced mesh elsewhere: both are within the error of the solver
    scale = np.abs(one.states).max(axis=0) + 1e-12
    assert np.max(np.abs(one.states - other.states) / scale) < 1e-6, names
    for drug, level in one.concentrations.items():
        np.testing.assert_allclose(other.concentrations[drug], level, rtol=1e-8, atol=1e-8 * level.max())
    assert template.schedule(np.array(x)).transplant_times == [x[0]]
