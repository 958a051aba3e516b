"""uncertainty: bootstrap, SIR, profiles and draws from a run folder; kept on Ctrl-C, gone on with, refused by name."""

import json

import numpy as np
import pandas as pd
import pytest

import ipex_pd as ipx
from ipex_pd.cli.main import run

ESTIMATED = 7


def error_of(capsys):
    return json.loads(capsys.readouterr().out)["error"]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uncertain") / "run"
    assert run(["fit", "theophylline", "--out", str(out), "--restarts", "0"]) == 0
    return out


@pytest.fixture(scope="module")
def repeated(fitted):
    assert run(["uncertainty", str(fitted), "--replicates", "3", "--seed", "5"]) == 0
    return fitted / "bootstrap"


def test_bootstrap_writes_intervals_draws_and_replicates(repeated, fitted):
    table = pd.read_csv(repeated / "parameters.csv")
    estimates = pd.read_csv(fitted / "parameters.csv").set_index("parameter").estimate
    assert np.allclose(table.estimate, estimates[table.parameter], rtol=1e-6)
    assert (table.low <= table.high).all()
    draws = ipx.load_draws(repeated / "draws.csv")
    assert (len(draws), draws.kind) == (3, "bootstrap")
    assert draws.names == tuple(estimates.index)
    rows = pd.read_csv(repeated / "replicates.csv")
    assert rows.replicate.tolist() == [0, 1, 2]
    assert rows.objective.nunique() == 3
    assert json.loads((repeated / "env.json").read_text())["state"] == "finished"


def test_resumed_bootstrap_keeps_its_replicates_and_adds_more(repeated, fitted, capsys):
    before = pd.read_csv(repeated / "replicates.csv")
    command = ["uncertainty", str(fitted), "--replicates", "4", "--seed", "5", "--resume", "--json"]
    assert run(command) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tally"]["replicates"] == 4
    after = pd.read_csv(repeated / "replicates.csv")
    pd.testing.assert_frame_equal(after.iloc[:3], before, check_exact=False, rtol=1e-12)
    assert run([*command[:5], "6", *command[6:]]) == 2
    assert error_of(capsys)["code"] == "bootstrap.resume"


def test_interrupted_bootstrap_keeps_what_is_done_and_says_how_to_go_on(fitted, tmp_path, capsys, monkeypatch):
    from ipex_pd.inference import resampling

    whole = resampling._repeated

    def stopped(near, strata, seed, number):
        if number == 2:
            raise KeyboardInterrupt
        return whole(near, strata, seed, number)

    monkeypatch.setattr(resampling, "_repeated", stopped)
    out = tmp_path / "stopped"
    command = ["uncertainty", str(fitted), "--out", str(out), "--replicates", "4", "--seed", "5"]
    assert run(command) == 130
    assert "--resume" in capsys.readouterr().err.replace("\n", " ")
    assert len(ipx.load_draws(out / "draws.csv")) == 2
    assert json.loads((out / "env.json").read_text())["state"] == "interrupted"
    assert len(json.loads((out / "bootstrap.json").read_text())["replicates"]) == 2


def test_sir_leaves_the_draws_asked_for(fitted, capsys):
    assert run(["uncertainty", str(fitted), "--method", "sir", "--draws", "16", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["samples"] for row in found["iterations"]] == [40, 40, 80]
    assert len(ipx.load_draws(fitted / "sir" / "draws.csv")) == 16
    assert {"parameters.csv", "iterations.csv", "dofv.csv", "draws.csv"} <= set(found["written"])


def test_profile_of_one_parameter_has_both_ends(fitted, capsys):
    name = pd.read_csv(fitted / "parameters.csv").parameter[0]
    assert run(["uncertainty", str(fitted), "--method", "profile", "--parameter", name, "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)["parameters"]
    assert row["low"] < row["estimate"] < row["high"]
    assert row["identifiable"]
    points = pd.read_csv(fitted / "profile" / "points.csv")
    assert points.rise.max() > 3.84 - 0.01
    assert not (fitted / "profile" / "draws.csv").exists()
    (picture,) = (fitted / "profile" / "plots").glob("*.svg")
    assert picture.read_text().startswith("<svg")


def test_draws_from_the_covariance_have_its_spread(fitted, capsys):
    assert run(["uncertainty", str(fitted), "--method", "covariance", "--draws", "4000", "--json"]) == 0
    found = {row["parameter"]: row for row in json.loads(capsys.readouterr().out)["parameters"]}
    assert len(found) == ESTIMATED
    told = pd.read_csv(fitted / "parameters.csv").set_index("parameter")
    for name, row in found.items():
        if told.rse_percent[name] < 20:
            assert row["sd"] == pytest.approx(told.se[name], rel=0.1), name


def test_a_folder_is_not_overwritten_silently(repeated, fitted, capsys):
    assert run(["uncertainty", str(fitted), "--replicates", "2", "--json"]) == 2
    assert error_of(capsys)["code"] == "usage.folder-exists"
    assert (repeated / "draws.csv").is_file()


@pytest.mark.parametrize(
    ("arguments", "where", "said"),
    [
        (["--method", "sir", "--replicates", "3"], "--replicates", "`sir` does not read `--replicates`"),
        (["--method", "profile", "--seed", "3"], "--seed", "`profile` does not read `--seed`"),
        (["--draws", "30"], "--draws", "`bootstrap` does not read `--draws`"),
        (["--method", "bootstrp"], "--method", "`bootstrp` is not a method"),
        (["--method", "profile", "--parameter", "tvc"], "--parameter", "`tvc` is not an estimated parameter"),
        (["--stratify", "sex"], "--stratify", "`sex` is no covariate"),
        (["--out", "nowhere", "--resume"], "--resume", "there are no replicates to go on from"),
    ],
)
def test_options_that_cannot_be_honoured_are_refused(fitted, capsys, arguments, where, said):
    assert run(["uncertainty", str(fitted), *arguments, "--json"]) == 2
    error = error_of(capsys)
    assert error["where"] == where
    assert said in error["what"]


@pytest.mark.parametrize(
    ("method", "cure"),
    [
        ("saem", "--method covariance"),
        ("imp", "--method covariance"),
        ("nuts", "draws.csv"),
        ("map", "focei"),
        ("two_stage", "focei"),
    ],
)
def test_methods_that_it_cannot_follow_are_refused_by_name(fitted, capsys, monkeypatch, method, cure):
    told = {**json.loads((fitted / "fit.json").read_text()), "method": method}
    monkeypatch.setattr("ipex_pd.cli.fit_runs.result_of", lambda run: told)
    for way in ("bootstrap", "sir", "profile"):
        assert run(["uncertainty", str(fitted), "--method", way, "--json"]) == 2
        error = error_of(capsys)
        assert error["code"] == "reestimation.method"
        assert f"`{method}`" in error["what"]
        assert cure in error["cure"]
