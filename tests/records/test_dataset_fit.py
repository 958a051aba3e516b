"""What in a dataset a problem cannot take: each such row is named."""

import numpy as np
import pytest
from event_tables import read
from oral_problem import ORAL, oral_problem

from ipex_pd.records.dataset_fit import fit_findings, require_fit, rows_of
from ipex_pd.records.datasets import DataError

TWO = {
    "endpoints": {
        "parent": {**ORAL["endpoints"]["level"], "cmt": 2},
        "other": {**ORAL["endpoints"]["level"], "cmt": 1},
    }
}
EVENT = {"endpoints": {"death": {"kind": "event", "hazard": "prop", "cumulative_hazard": "prop * time"}}}


def test_data_that_fit_have_no_findings(tmp_path):
    problem, model = oral_problem()
    data = read(tmp_path, "ID,TIME,AMT,CMT,DV\n1,0,9,1,.\n1,1,.,2,5\n1,2,.,0,5")
    assert fit_findings(problem, model, data) == ()
    require_fit(problem, model, data)


@pytest.mark.parametrize(
    ("changes", "endpoint", "text", "code", "row", "words"),
    [
        ({}, {"transform": {"kind": "log"}}, "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,0\n1,2,.,5", "not-positive", 3, "`level`"),
        ({}, {"transform": {"kind": "log"}}, "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,-2\n1,2,.,5", "not-positive", 3, "MDV"),
        (
            {},
            {"error": {"model": "exponential", "additive": "prop"}},
            "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,5\n1,2,.,-2",
            "not-positive",
            4,
            "(log)",
        ),
        ({}, {}, "ID,TIME,AMT,CENS,DV\n1,0,9,0,.\n1,1,.,1,2\n1,2,.,0,5", "censoring", 3, "censoring: m3"),
        ({}, {"dvid": 2}, "ID,TIME,AMT,DVID,DV\n1,0,9,0,.\n1,1,.,1,2\n1,2,.,2,5", "no-endpoint", 3, "one endpoint"),
        ({}, {"dvid": 2}, "ID,TIME,AMT,DVID,DV\n1,0,9,0,.\n1,1,.,1,2", "endpoint-empty", 0, "`level`"),
        (TWO, {"dvid": 1}, "ID,TIME,AMT,DVID,CMT,DV\n1,0,9,1,1,.\n1,1,.,1,3,2", "no-endpoint", 3, "by its `dvid`"),
        ({}, {}, "ID,TIME,AMT,CMT,DV\n1,0,9,3,.\n1,1,.,2,2", "dose-compartment", 2, "1 depot, 2 central"),
        ({}, {}, "ID,TIME,AMT,RATE,DV\n1,0,9,-2,.\n1,1,.,.,2", "no-modelled-duration", 2, "{depot: {duration: ...}}"),
        ({}, {}, "ID,TIME,AMT,CMT,RATE,DV\n1,0,9,2,-1,.\n1,1,.,2,.,2", "no-modelled-rate", 2, "{central: {rate: ...}}"),
        (EVENT, {}, "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,0\n1,2,.,2", "event-dv", 4, "1 (event) or 0"),
    ],
)
def test_a_row_that_the_problem_cannot_take_is_named(tmp_path, changes, endpoint, text, code, row, words):
    problem, model = oral_problem(changes, **endpoint)
    data = read(tmp_path, text)
    found = [finding for finding in fit_findings(problem, model, data) if finding.code == f"data.{code}"]
    assert found
    assert found[0].row == row
    assert words in f"{found[0].rule} {found[0].cure}"
    with pytest.raises(DataError):
        require_fit(problem, model, data)


def test_endpoints_that_overlap_are_told_apart(tmp_path):
    both = {"endpoints": {name: ORAL["endpoints"]["level"] for name in ("one", "two")}}
    problem, model = oral_problem(both)
    data = read(tmp_path, "ID,TIME,AMT,DV\n1,0,9,.\n1,1,.,5")
    assert [finding.code for finding in fit_findings(problem, model, data)] == ["data.two-endpoints"]


def test_observations_without_a_compartment_are_of_the_default_one(tmp_path):
    problem, model = oral_problem(TWO)
    (subject,) = read(tmp_path, "ID,TIME,AMT,CMT,DV\n1,0,9,1,.\n1,1,.,0,5\n1,1,.,2,5\n1,1,.,1,5").subjects
    np.testing.assert_array_equal(rows_of(problem.endpoints["parent"], subject, model), [False, True, True, False])
    np.testing.assert_array_equal(rows_of(problem.endpoints["other"], subject, model), [False, False, False, True])


def test_a_positive_limit_takes_a_nonpositive_value_on_a_log_scale(tmp_path):
    problem, model = oral_problem(transform={"kind": "log"}, censoring="m3")
    data = read(tmp_path, "ID,TIME,AMT,BLQ,LLOQ,DV\n1,0,9,0,1,.\n1,1,.,1,1,0\n1,2,.,0,1,5")
    assert fit_findings(problem, model, data) == ()
