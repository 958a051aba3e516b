from dataclasses import replace

import numpy as np
import pytest
from toy_groups import SIMPLE, toy

from ipex_pd.inference.covariance import covariance_of
from ipex_pd.inference.objectives import method_for
from ipex_pd.inference.search import Found
from ipex_pd.inference.totals import Objective
from ipex_pd.inference.verdict import judge

SIZE = len(SIMPLE.start)
HESSIAN = 1e4 * np.eye(SIZE)


@pytest.fixture(scope="module")
def good():
    """A search that ended well: the gradient is set to zero by hand."""
    group = toy(24, etas=2)
    objective = Objective(SIMPLE, (group,), method_for("fo", (group,)))
    at = replace(objective.at(SIMPLE.start), gradient=np.zeros(SIZE))
    found = Found(SIMPLE.start, at, 0.0, True, "the gradient is zero", 5, 9, (), 0.0, HESSIAN, (at.value,))
    return objective, found


def verdict(good, hessian=HESSIAN, shrinkage=None, **changes):
    objective, found = good
    at = replace(found.at, **changes.pop("at", {}))
    changed = replace(found, at=at, hessian=hessian, **changes)
    covariance = covariance_of(objective, changed.w, at, hessian, "r")
    return judge(objective, changed, covariance, shrinkage or {})


def test_trust(good):
    assert str(verdict(good)) == "trust: at a minimum, found again, well determined"


def bent():
    hessian = HESSIAN.copy()
    hessian[0, 0] = -1.0
    return hessian


def narrow():
    hessian = HESSIAN.copy()
    hessian[0, 1] = hessian[1, 0] = 0.9999 * 1e4
    return hessian


def lost(count):
    definite = np.ones(24, bool)
    definite[:count] = False
    return {"definite": definite}


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"interrupted": True}, "do not trust", "the search was interrupted"),
        ({"converged": False, "outcome": "too slow"}, "do not trust", "the search ended early: too slow"),
        ({"hessian": bent()}, "do not trust", "not a minimum: R is not positive definite"),
        ({"hessian": narrow()}, "look", "condition number"),
        ({"at": {"gradient": np.full(SIZE, 50.0)}}, "do not trust", "the objective could still fall by"),
        ({"restarts": (1.0,)}, "look", "searches from other starts ended elsewhere"),
        ({"path_difference": 0.5}, "look", "depends on where modes are searched from"),
        ({"at": lost(1)}, "look", "no proper mode for 1 of 24 subjects (subject 1)"),
        ({"at": lost(9)}, "do not trust", "no proper mode for 9 of 24 subjects (subjects 1, 2, 3, 4, 5, 6 and 3 more)"),
        ({"shrinkage": {"eta_k": 55.0}}, "look", "shrinkage of eta_k is 55 %"),
        ({"hessian": 1e-1 * np.eye(SIZE)}, "look", "relative standard error above 50 %"),
        ({"w": SIMPLE.start - np.array([20.0, *[0.0] * (SIZE - 1)])}, "look", "k is at a bound"),
    ],
)
def test_each_reason(good, changes, level, words):
    found = verdict(good, **changes)
    assert found.level == level
    assert words in str(found)
