"""Run folders of saem and nuts: what they keep, Ctrl-C and --resume, what follows them and what refuses to."""

import json

import numpy as np
import pandas as pd
import pytest

import ipex_pd as ipx
from ipex_pd.cli import fit as command
from ipex_pd.cli.main import run

PROBLEM = "synthetic_decay"
SAEM = ["--method", "saem"]
for setting in ("explore=50", "smooth=50", "cool=50", "rounds=1", "importance.samples=200"):
    SAEM += ["--option", setting]
NUTS = ["--method", "nuts"]
for setting in ("chains=2", "warmup=50", "draws=100", "max_tree_depth=4"):
    NUTS += ["--option", setting]


def error_of(capsys):
    return json.loads(capsys.readouterr().out)["error"]


def settings_of(out):
    return json.loads((out / "settings.json").read_text())


def state_of(out):
    return json.loads((out / "env.json").read_text())["state"]


def stopped(monkeypatch, at, arguments):
    """The exit code of a fit that Ctrl-C stops at an iteration."""

    def stop(advance, stage):
        if stage.iteration == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(command, "_tell", stop)
        return run(arguments)


@pytest.fixture(scope="module")
def saem(tmp_path_factory):
    out = tmp_path_factory.mktemp("saem") / "run"
    assert run(["fit", PROBLEM, *SAEM, "--out", str(out)]) in (0, 1)
    return out


@pytest.fixture(scope="module")
def nuts(tmp_path_factory):
    pytest.importorskip("numpyro")
    out = tmp_path_factory.mktemp("nuts") / "run"
    assert run(["fit", PROBLEM, *NUTS, "--out", str(out)]) in (0, 1)
    return out


def test_saem_keeps_its_settings_and_is_replayed(saem, capsys):
    assert settings_of(saem)["options"]["settings"]["explore"] == 50
    assert json.loads((saem / "fit.json").read_text())["method"] == "saem"
    assert state_of(saem) == "finished"
    assert run(["replay", str(saem), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["largest_difference"] <= 1e-8


def test_draws_from_the_covariance_follow_saem(saem, capsys):
    assert run(["uncertainty", str(saem), "--method", "covariance", "--draws", "50", "--json"]) == 0
    assert len(ipx.load_draws(saem / "covariance" / "draws.csv")) == 50


def test_interrupted_saem_goes_on_where_it_was(tmp_path, monkeypatch):
    out = tmp_path / "run"
    assert stopped(monkeypatch, 100, ["fit", PROBLEM, *SAEM, "--out", str(out)]) == 130
    assert state_of(out) == "interrupted"
    point = json.loads((out / "checkpoint.json").read_text())["search"]
    assert run(["fit", PROBLEM, *SAEM, "--out", str(out), "--resume"]) in (0, 1)
    assert settings_of(out)["resumed_from"] == point
    assert state_of(out) == "finished"


def test_nuts_keeps_its_draws(nuts):
    draws = ipx.load_draws(nuts / "draws.csv")
    assert (len(draws), draws.kind) == (200, "posterior")
    chains = pd.read_csv(nuts / "chains.csv")
    assert chains.groupby("chain").draw.max().tolist() == [100, 100]
    told = json.loads((nuts / "fit.json").read_text())
    means = {row["parameter"]: row["mean"] for row in told["parameters"]}
    for name, mean in means.items():
        assert np.mean(draws[name]) == pytest.approx(mean, rel=1e-9), name


def test_what_needs_modes_refuses_nuts_by_name(nuts, capsys):
    assert run(["diagnose", str(nuts), "--json"]) == 2
    error = error_of(capsys)
    assert (error["code"], "`nuts`" in error["what"]) == ("fit.recall", True)
    assert "focei" in error["cure"]
    for method in ("bootstrap", "covariance"):
        assert run(["uncertainty", str(nuts), "--method", method, "--json"]) == 2
        error = error_of(capsys)
        assert error["code"] == "reestimation.method"
        assert "draws.csv" in error["cure"]


@pytest.mark.slow
def test_interrupted_nuts_keeps_its_draws_and_starts_again_near_them(nuts, tmp_path, monkeypatch):
    out = tmp_path / "run"
    assert stopped(monkeypatch, 100, ["fit", PROBLEM, *NUTS, "--out", str(out)]) == 130
    assert state_of(out) == "interrupted"
    assert len(ipx.load_draws(out / "draws.csv")) == 100
    point = json.loads((out / "checkpoint.json").read_text())["search"]
    assert run(["fit", PROBLEM, *NUTS, "--out", str(out), "--resume"]) in (0, 1)
    assert settings_of(out)["resumed_from"] == point
    assert len(ipx.load_draws(out / "draws.csv")) == 200
