"""fit and replay on a small shipped problem: run folders, interrupts, resuming, changed inputs."""

import json

import numpy as np
import pytest

from ipex_pd.cli.main import run
from ipex_pd.inference.progress import Stage

PROBLEM = "synthetic_decay"


def error_of(capsys):
    return json.loads(capsys.readouterr().out)["error"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("fits") / "run"
    assert run(["fit", PROBLEM, "--out", str(out)]) == 0
    return out


def test_fit_prints_estimates_and_a_verdict(capsys):
    assert run(["fit", "theophylline", "--restarts", "0"]) == 0
    shown = capsys.readouterr().out
    # nlmixr2's FOCEI fit of the same model and data: 116.803781
    assert "FOCEI  objective 116.803" in shown
    assert "verdict: trust" in shown


def test_fit_json_is_the_result_and_nothing_else(capsys):
    assert run(["fit", PROBLEM, "--json", "--restarts", "0"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["problem"] == PROBLEM
    assert found["converged"]
    assert found["covariance"]["outcome"] == "done"


def test_run_folder_holds_all_that_repeats_the_fit(finished):
    names = {p.relative_to(finished).as_posix() for p in finished.rglob("*") if p.is_file()}
    assert names >= {
        "inputs/problem.yaml",
        "inputs/synthetic_decay.csv",
        "settings.json",
        "fit.json",
        "parameters.csv",
        "individuals.csv",
        "sdtab.csv",
        "shrinkage.csv",
        "cov.csv",
        "convergence.csv",
        "env.json",
        "log.txt",
    }
    settings = json.loads((finished / "settings.json").read_text())
    assert set(settings["inputs"]) == {"inputs/problem.yaml", "inputs/synthetic_decay.csv"}
    assert settings["options"]["seed"] == 20240


def test_replay_finds_the_same(finished, capsys):
    assert run(["replay", str(finished), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["same"]
    assert found["largest_difference"] <= 1e-8


def test_replay_tells_a_result_that_was_changed(finished, capsys):
    file = finished / "fit.json"
    before = file.read_text()
    changed = json.loads(before)
    changed["parameters"][0]["estimate"] *= 1.001
    file.write_text(json.dumps(changed))
    assert run(["replay", str(finished)]) == 1
    file.write_text(before)
    assert "Not the same: 0.001 is above 1e-06." in capsys.readouterr().out


def test_replay_refuses_inputs_that_were_changed(finished, capsys):
    file = finished / "inputs" / "synthetic_decay.csv"
    before = file.read_text()
    file.write_text(before + "\n")
    assert run(["replay", str(finished), "--json"]) == 2
    file.write_text(before)
    assert error_of(capsys)["code"] == "usage.inputs-changed"


def test_replay_refuses_a_folder_that_is_no_fit(tmp_path, capsys):
    assert run(["replay", str(tmp_path), "--json"]) == 2
    error = error_of(capsys)
    assert error["code"] == "usage.not-a-fit"
    assert "ipex-pd fit" in error["rule"]


def test_unknown_method_and_problem_name_the_nearest(capsys):
    assert run(["fit", PROBLEM, "--method", "foceii", "--json"]) == 2
    assert "`focei`" in error_of(capsys)["rule"]
    assert run(["fit", "theofylline", "--json"]) == 2
    assert "`theophylline`" in error_of(capsys)["rule"]


def test_interrupted_fit_keeps_the_best_point_and_goes_on(tmp_path, capsys, monkeypatch, finished):
    out = tmp_path / "run"
    from ipex_pd.cli import fit as command

    def stop(advance, stage: Stage):
        if stage.iteration == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "_tell", stop)
        assert run(["fit", PROBLEM, "--out", str(out)]) == 130
    shown = capsys.readouterr()
    assert "--resume" in shown.err
    kept = json.loads((out / "fit.json").read_text())
    assert not kept["converged"]
    assert json.loads((out / "env.json").read_text())["state"] == "interrupted"

    point = json.loads((out / "checkpoint.json").read_text())["search"]
    assert run(["fit", PROBLEM, "--out", str(out), "--resume"]) == 0
    settings = json.loads((out / "settings.json").read_text())
    assert settings["resumed_from"] == point
    whole = json.loads((finished / "fit.json").read_text())
    resumed = json.loads((out / "fit.json").read_text())
    assert resumed["objective"] == pytest.approx(whole["objective"], abs=1e-5)
    assert np.allclose(resumed["search"], whole["search"], atol=1e-3)


def test_resume_refuses_what_it_cannot_go_on_from(finished, tmp_path, capsys):
    assert run(["fit", PROBLEM, "--resume", "--json"]) == 2
    assert error_of(capsys)["where"] == "--resume"
    assert run(["fit", PROBLEM, "--out", str(tmp_path / "new"), "--resume", "--json"]) == 2
    assert error_of(capsys)["code"] == "usage.not-a-fit"
    assert run(["fit", "theophylline", "--out", str(finished), "--resume", "--json"]) == 2
    assert "is not the problem of the run" in error_of(capsys)["what"]
    assert (finished / "fit.json").is_file()
