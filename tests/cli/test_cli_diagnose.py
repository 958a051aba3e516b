"""diagnose: what it writes into a run folder, that nothing is searched again, and what it refuses."""

import json
import shutil

import pandas as pd
import pytest

from ipex_pd.cli.main import run

PROBLEM = "synthetic_decay"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp("diagnosed") / "run"
    assert run(["fit", PROBLEM, "--out", str(out), "--restarts", "0"]) == 0
    return out


def test_everything_is_written_and_the_fit_is_the_same(fitted, capsys, monkeypatch):
    def searched(*_):
        raise AssertionError("diagnose must not search")

    monkeypatch.setattr("ipex_pd.inference.search.Search.run", searched)
    told = json.loads((fitted / "fit.json").read_text())
    assert run(["diagnose", str(fitted), "--report", "--plots", "--nonmem", "--replicates", "40", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["objective"] == pytest.approx(told["objective"], abs=1e-6)
    assert said["verdict"]["level"] == told["verdict"]["level"]
    assert {"sdtab.csv", "vpc.csv", "report.html", "nonmem/run1.ext"} <= set(said["written"])
    assert all((fitted / name).is_file() for name in said["written"])
    assert pd.read_csv(fitted / "sdtab.csv")["NPDE"].notna().all()
    assert {"observed", "low", "median", "high"} <= set(pd.read_csv(fitted / "vpc.csv").columns)
    plots = list((fitted / "plots").glob("*.svg"))
    assert plots
    assert all(plot.read_text().startswith("<svg") for plot in plots)


def test_a_result_that_was_changed_is_refused(fitted, tmp_path, capsys):
    other = tmp_path / "changed"
    shutil.copytree(fitted, other)
    told = json.loads((other / "fit.json").read_text())
    told["search"][0] += 0.1
    (other / "fit.json").write_text(json.dumps(told))
    assert run(["diagnose", str(other), "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "fit.recall"
    assert "the fit told" in error["what"]


def test_folders_that_are_no_fit_are_refused(tmp_path, capsys):
    assert run(["diagnose", str(tmp_path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage.not-a-fit"
    told = {"method": "nuts", "options": {}}
    (tmp_path / "fit.json").write_text(json.dumps(told))
    (tmp_path / "settings.json").write_text(json.dumps({"inputs": {"inputs/problem.yaml": "0"}}))
    assert run(["diagnose", str(tmp_path), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage.inputs-changed"
