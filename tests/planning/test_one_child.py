"""Members who are draws of one child have his size, so that his tablets can be counted."""

from dataclasses import replace

import numpy as np
import pytest

from ipex_pd.planning.ensemble import ensemble_of
from ipex_pd.planning.optimise import question_for
from ipex_pd.planning.plan_checkpoint import question_of
from ipex_pd.planning.template import size_of
from ipex_pd.records.draws import ParameterDraws
from ipex_pd.records.library import load_patient, load_plan
from ipex_pd.simulation.population import virtual_population


@pytest.fixture(scope="module")
def goal():
    return load_plan("steroid_sparing_taper")


@pytest.fixture(scope="module")
def child(goal):
    return load_patient(goal.patient)


def test_draws_of_one_child_are_that_child_under_any_name(goal, child):
    members = ensemble_of(child, draws=3, seed=1)
    group = members.population
    renamed = tuple(p.model_copy(update={"name": f"draw_{place}"}) for place, p in enumerate(group.patients))
    named = replace(members, population=replace(group, patients=renamed))
    for asked in (members, named, named.population):
        question = question_for(asked, goal, None, None)
        assert question.patient == child
        assert question.size.weight(14.0) == size_of(child).weight(14.0)
        assert len(question.ensemble) == 3


def test_other_draws_are_another_question(goal, child):
    made = [
        ensemble_of(child, draws=ParameterDraws(("th2_share",), np.array([[0.2], [value]]), np.ones(2), "posterior"))
        for value in (0.3, 0.3, 0.4)
    ]
    first, same, other = (question_of(goal, ensemble) for ensemble in made)
    assert first == same != other


def test_children_who_differ_have_no_size_in_common(goal, child):
    question = question_for(virtual_population(child, 2, seed=1), goal, None, None)
    assert question.size is None
    assert question.patient is None
