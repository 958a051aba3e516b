"""What is said of a plan: never silently worse than where it began."""

from types import SimpleNamespace

import pandas as pd
import pytest

from ipex_pd.planning.plan_verdicts import verdicts


def judged(name="plan", limits=()):
    return SimpleNamespace(name=name, lost=0, limits=limits, simulation=SimpleNamespace(warnings=()))


def told(gain, *, low=0.01, feasible=True, start_feasible=True, inside=1.0, outside=0.95, fresh=True, converged=True):
    values = pd.DataFrame(
        [
            {"role": "start", "gain": 0.0, "gain_low": 0.0, "gain_high": 0.0, "feasible": start_feasible},
            {"role": "plan", "gain": gain, "gain_low": low, "gain_high": 0.5, "feasible": feasible},
        ]
    ).assign(inside=inside, outside=outside)
    limit = SimpleNamespace(label="trough", value=0.4, unit="fraction", met=False)
    both = {"start": judged("start"), "plan": judged(limits=(limit,))}
    best = SimpleNamespace(minimum=SimpleNamespace(converged=converged, outcome="60 iterations"))
    question = SimpleNamespace(fresh=object() if fresh else None)
    return verdicts(question, both, both if fresh else {}, values, SimpleNamespace(best=best), None)


def test_a_good_plan_needs_no_comment():
    assert told(0.2) == []


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ({"gain": -0.1}, "the plan does no better than the start on fresh members (-0.1 of the goal): keep the start"),
        (
            {"gain": -0.1, "start_feasible": False},
            "the start has more of the goal on fresh members (+0.1) and does not meet every limit; the plan does",
        ),
        (
            {"gain": 0.2, "low": -0.05},
            "that the plan is better than the start is not certain: +0.2 [-0.05, 0.5] of the goal on fresh members",
        ),
        ({"gain": 0.2, "feasible": False}, "not every limit is met on fresh members: trough: 0.4 fraction"),
        ({"gain": 0.2, "converged": False}, "the search stopped before its end (60 iterations)"),
        (
            {"gain": 0.2, "fresh": False},
            "no fresh members: values are in sample only, and better than they would be on others",
        ),
        (
            {"gain": 0.2, "outside": 0.7},
            "the plan is worth 1 on the members it was made for and 0.7 on fresh ones: an ensemble with more members "
            "would be safer",
        ),
    ],
)
def test_what_a_reader_must_know_is_said(case, words):
    assert told(**case) == [words]
