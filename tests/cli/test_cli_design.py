"""design: expected standard errors fall with the root of the number of subjects; the disease is refused."""

import json
import math

import pytest

from ipex_pd.cli.main import run


def errors(capsys, *more):
    assert run(["design", "theophylline", "--json", *more]) == 0
    found = json.loads(capsys.readouterr().out)
    return found["subjects"], {row["parameter"]: row["se"] for row in found["parameters"]}


def test_four_times_the_subjects_halve_the_errors(capsys):
    count, own = errors(capsys)
    assert count == 12
    larger, more = errors(capsys, "--subjects", "48")
    assert larger == 48
    for name, value in own.items():
        if value is not None:
            assert more[name] == pytest.approx(value / math.sqrt(4), rel=1e-9)


def test_problems_of_the_disease_are_refused(capsys):
    assert run(["design", "synthetic_ipex", "--json"]) == 2
    assert "problem of the disease" in json.loads(capsys.readouterr().out)["error"]["what"]
