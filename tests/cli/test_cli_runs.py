"""Runs of simulate and compare: run folders, reports, interrupts, a full disk. Their results are synthetic."""

import errno
import json
import os

import pandas as pd
import pytest

from ipex_pd.cli.main import run
from ipex_pd.simulation.results import Simulation

ASKED = ["--regimen", "untreated", "--regimen", "sirolimus", "--regimen", "rituximab_course"]


def error_of(capsys):
    return json.loads(capsys.readouterr().out)["error"]


def test_compare_prints_the_endpoint_table(stage, child, capsys):
    assert run(["compare", "--patient", child, *ASKED, "--patients", "7", "--years", "5", "--seed", "3"]) == 0
    shown = capsys.readouterr()
    assert "Survival at the horizon" in shown.out
    assert "synthetic-2: numbers stopped being finite" in shown.err
    assert stage.asked == {"years": 5.0, "seed": 3, "patients": (f"child {child}", 7, 3)}


def test_compare_json_is_the_result_and_nothing_else(stage, child, capsys, tmp_path):
    report = tmp_path / "report.html"
    assert run(["compare", "--patient", child, *ASKED, "--json", "--report", str(report)]) == 0
    assert list(json.loads(capsys.readouterr().out)["regimens"]) == ["untreated", "sirolimus", "rituximab_course"]
    assert report.read_text().rstrip().endswith("</html>")


def test_compare_run_folder_holds_inputs_results_and_surroundings(stage, child, tmp_path):
    out = tmp_path / "run"
    assert run(["compare", "--patient", child, *ASKED, "--out", str(out)]) == 0
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    assert names >= {
        "inputs/regimens_sirolimus.yaml",
        "result.json",
        "endpoints.csv",
        "differences.csv",
        "report.html",
        "env.json",
        "log.txt",
        "simulations/sirolimus/simulation.npz",
    }
    environment = json.loads((out / "env.json").read_text())
    assert environment["state"] == "finished"
    assert environment["options"]["seed"] == 1
    assert environment["versions"]["jax"][0].isdigit()
    assert Simulation.load(out / "simulations" / "sirolimus").regimen == "sirolimus"
    assert not [name for name in names if "/." in name or name.startswith(".")]


def test_existing_folder_is_refused_with_the_cure(stage, child, capsys, tmp_path):
    out = tmp_path / "run"
    asked = ["simulate", "--patient", child, "--regimen", "sirolimus", "--out", str(out)]
    assert run(asked) == 0
    before = (out / "result.json").read_bytes()
    capsys.readouterr()
    assert run([*asked, "--json"]) == 2
    error = error_of(capsys)
    assert error["code"] == "usage.folder-exists"
    assert error["cure"] == "Name another folder, or add `--overwrite`"
    assert (out / "result.json").read_bytes() == before
    assert run([*asked, "--overwrite"]) == 0


def test_overwrite_never_empties_a_folder_that_is_no_run(stage, child, capsys, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    asked = ["simulate", "--patient", child, "--regimen", "sirolimus", "--out", str(tmp_path / "mine"), "--overwrite"]
    assert run([*asked, "--json"]) == 2
    assert error_of(capsys)["code"] == "usage.folder-not-a-run"
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "years of work"


def test_one_regimen_cannot_be_compared(stage, child, capsys):
    assert run(["compare", "--patient", child, "--regimen", "sirolimus", "--json"]) == 2
    assert error_of(capsys)["what"] == "one regimen cannot be compared"


def test_regimen_given_twice_is_refused(stage, child, capsys):
    assert run(["compare", "--patient", child, "--regimen", "sirolimus", "--regimen", "sirolimus", "--json"]) == 2
    assert error_of(capsys)["what"] == "`sirolimus` is given twice"


def test_unknown_regimen_names_the_nearest(stage, child, capsys):
    assert run(["simulate", "--patient", child, "--regimen", "sirolimis", "--json"]) == 2
    error = error_of(capsys)
    assert error["code"] == "record.unknown-key"
    assert "`sirolimus`" in error["rule"]


def test_report_into_a_missing_folder_is_refused_before_the_work(stage, child, capsys, tmp_path):
    report = tmp_path / "missing" / "report.html"
    assert run(["compare", "--patient", child, *ASKED, "--report", str(report), "--json"]) == 2
    assert "does not exist" in error_of(capsys)["what"]
    assert stage.asked == {}


def test_interrupt_keeps_the_finished_regimens(stage, child, capsys, tmp_path):
    stage.interrupt_before = "rituximab_course"
    out, report = tmp_path / "run", tmp_path / "report.html"
    assert run(["compare", "--patient", child, *ASKED, "--out", str(out), "--report", str(report)]) == 130
    assert "stopped before rituximab_course" in " ".join(capsys.readouterr().err.split())
    assert json.loads((out / "env.json").read_text())["state"] == "interrupted"
    assert json.loads((out / "result.json").read_text())["missing"] == ["rituximab_course"]
    assert Simulation.load(out / "simulations" / "untreated").regimen == "untreated"
    assert "The run was interrupted: rituximab course could not be compared" in report.read_text()


def test_interrupt_after_one_regimen_still_writes_its_report(stage, child, tmp_path):
    stage.interrupt_before = "sirolimus"
    out = tmp_path / "run"
    assert run(["compare", "--patient", child, *ASKED, "--out", str(out)]) == 130
    assert json.loads((out / "env.json").read_text())["state"] == "interrupted"
    assert (out / "report.html").is_file()


def test_interrupt_before_anything_is_finished_says_so(stage, child, capsys, tmp_path):
    stage.interrupt_before = "untreated"
    out = tmp_path / "run"
    assert run(["compare", "--patient", child, *ASKED, "--out", str(out)]) == 130
    assert "before anything was finished" in capsys.readouterr().err
    assert json.loads((out / "env.json").read_text())["state"] == "interrupted"


def test_interrupt_keeps_the_finished_patients(stage, child, capsys, tmp_path):
    stage.interrupt_before = "simulate"
    out = tmp_path / "run"
    asked = ["simulate", "--patient", child, "--regimen", "sirolimus", "--population", "12", "--out", str(out)]
    assert run(asked) == 130
    assert "stopped after 4 of 12 patients" in " ".join(capsys.readouterr().err.split())
    assert json.loads((out / "env.json").read_text())["state"] == "interrupted"
    assert pd.read_csv(out / "quantities.csv")["patient"].nunique() == 4


def test_full_disk_is_told_with_what_is_kept(stage, child, capsys, tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if str(target).endswith("endpoints.csv"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    out = tmp_path / "run"
    assert run(["simulate", "--patient", child, "--regimen", "sirolimus", "--out", str(out), "--json"]) == 1
    error = error_of(capsys)
    assert error["code"] == "output.disk-full"
    assert "result.json" in error["rule"]
    assert json.loads((out / "result.json").read_text())["patients"]
    assert not (out / "endpoints.csv").exists()
    assert not [p for p in out.rglob(".*")]


def test_simulate_json_has_courses_with_units(stage, child, capsys):
    assert run(["simulate", "--patient", child, "--regimen", "sirolimus", "--years", "5", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["quantities"]["ige"]["unit"] == "IU/mL"
    assert len(result["quantities"]["ige"]["median"]) == len(result["times"]["values"])
    assert stage.asked["patients"] == f"child {child}"
    assert "seed" not in stage.asked
    assert result["seed"] is None


def test_simulate_refuses_a_seed_where_nothing_is_drawn(stage, child, capsys):
    asked = ["simulate", "--patient", child, "--regimen", "sirolimus", "--seed", "3", "--json"]
    assert run(asked) == 2
    assert "nothing is drawn with seed 3" in error_of(capsys)["what"]
    assert run([*asked, "--population", "12"]) == 0
    assert stage.asked["patients"] == (f"child {child}", 12, 3)
    assert json.loads(capsys.readouterr().out)["seed"] == 3


def test_simulate_population_and_its_table(stage, child, tmp_path, capsys):
    out = tmp_path / "run"
    asked = ["simulate", "--patient", child, "--regimen", "sirolimus", "--population", "12", "--out", str(out)]
    assert run(asked) == 0
    assert stage.asked["patients"] == (f"child {child}", 12, 1)
    assert "functional_treg_percent" in capsys.readouterr().out
    table = pd.read_csv(out / "quantities.csv")
    assert set(table.columns) >= {"patient", "time", "quantity", "value", "unit"}


@pytest.mark.parametrize("place", ["file", "folder"])
def test_out_that_cannot_be_a_folder_is_refused(stage, child, capsys, tmp_path, place):
    (tmp_path / "file").write_text("")
    out = tmp_path / "file" if place == "file" else tmp_path / "file" / "run"
    assert run(["simulate", "--patient", child, "--regimen", "sirolimus", "--out", str(out), "--json"]) in {1, 2}
    assert str(tmp_path / "file") in str(error_of(capsys))
