"""Simulation and estimation: the data drawn are those of the model, and what is told of the fits is counted right."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

import ipex_pd as ipx
from ipex_pd.cli.main import run
from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.recovery import OPTIONS, Recovery, Trial, recover, trial_of
from ipex_pd.inference.recovery_data import drawn_effects, redrawn, require_drawable


@pytest.fixture(scope="module")
def decay():
    return bind(ipx.load_problem("synthetic_decay"))


@pytest.fixture(scope="module")
def study(decay):
    return recover(decay, 2, seed=3)


def trial(number: int, value: float, low: float, high: float, **changes: object) -> Trial:
    made = Trial(number, {"a": value}, {"a": 0.5}, {"a": low}, {"a": high}, 1.0, 2.0, True, "", "fine", "done", 1.0)
    return replace(made, **changes)


def test_the_table_counts_what_it_says():
    nothing = {"a": math.nan}
    trials = (
        trial(0, 1.0, 0.5, 1.5),
        trial(1, 3.0, 2.5, 3.5),
        trial(2, 2.0, 1.0, 3.0),
        trial(3, 9.0, 8.0, 9.9, converged=False),
        trial(4, math.nan, math.nan, math.nan, converged=False, failure="SimulationError: of this test"),
        Trial(5, {"a": 2.0}, nothing, nothing, nothing, 1.0, 2.0, True, "", "do not trust", "R is not definite", 1.0),
    )
    study = Recovery("made", "focei", {"a": 2.0}, 1, 0.2, 0.9, trials)
    assert list(study.tally.values()) == [6, 1, 1, 1, 1]
    (row,) = study.table.to_dict("records")
    assert row["mean"] == pytest.approx(2.0)
    assert row["rmse"] == pytest.approx(math.sqrt(2.0 / 4.0))
    assert row["relative_bias_error"] == pytest.approx(100 * math.sqrt(2.0 / 3.0) / 2.0 / 2.0)
    assert row["coverage"] == pytest.approx(100 / 3)
    assert row["coverage_error"] == pytest.approx(100 * math.sqrt(2.0 / 27.0))
    assert row["intervals"] == 3
    assert "1 failed, 1 not converged" in str(study)


def test_a_replicate_survives_its_file():
    one = trial(3, 1.5, 1.0, math.nan)
    again = trial_of(one.to_data())
    assert math.isnan(again.high["a"])
    assert replace(again, high=one.high) == one
    with pytest.raises(UsageError, match="no replicate of a study"):
        trial_of({"number": 1})


def test_the_study_finds_what_made_the_data(study):
    assert len(study.usable) == 2
    for one in study.trials:
        for name, truth in study.truth.items():
            # five standard errors: a sign or scale gone wrong is far outside
            assert abs(one.estimates[name] - truth) < 5 * one.errors[name] + 1e-3


def test_a_replicate_depends_on_seed_and_number_only(decay, study):
    gone_on = recover(decay, 3, seed=3, done=study.trials[:1])
    assert gone_on.trials[0] is study.trials[0]
    assert gone_on.trials[1].estimates == study.trials[1].estimates
    assert len(gone_on.trials) == 3
    other = recover(decay, 1, seed=4)
    assert other.trials[0].estimates != study.trials[0].estimates


@pytest.mark.slow
def test_several_processes_find_the_same(study):
    other = recover(ipx.load_problem("synthetic_decay"), 2, seed=3, processes=2)
    assert [t.estimates for t in other.trials] == [t.estimates for t in study.trials]


def test_interrupted_studies_keep_what_is_done(decay):
    def stop(count: int, one: Trial) -> None:
        raise KeyboardInterrupt

    study = recover(decay, 5, seed=3, progress=stop)
    assert study.interrupted
    assert [one.number for one in study.trials] == [0]


def test_drawn_data_have_the_moments_of_the_model(decay):
    w = decay.population.start
    omega = np.asarray(decay.population.omega(w))
    effects = np.concatenate([np.concatenate(drawn_effects(decay, w, r, 1)) for r in range(400)])
    count = len(effects)
    assert np.abs(effects.mean(0)).max() < 4 * math.sqrt(omega.max() / count)
    np.testing.assert_allclose(
        np.cov(effects.T).reshape(omega.shape), omega, atol=5 * omega.max() * math.sqrt(2 / count)
    )
    group = decay.groups[0]
    again = redrawn(decay, w, 7, 1).groups[0]
    eta = drawn_effects(decay, w, 7, 1)[0]
    theta = np.broadcast_to(decay.population.unpack(w)[0], (len(eta), len(decay.population.thetas)))
    said = group.predict(theta, eta)
    mask = np.asarray(group.mask)
    residuals = ((np.asarray(again.y) - said.mean) / np.sqrt(said.variance))[mask]
    assert abs(residuals.mean()) < 4 / math.sqrt(len(residuals))
    assert residuals.std() == pytest.approx(1.0, abs=4 / math.sqrt(2 * len(residuals)))


def test_records_below_the_limit_are_censored_at_it():
    bound = bind(ipx.load_problem("synthetic_one_compartment"))
    limit = min(
        float(np.asarray(g.y)[np.asarray(g.cens) == 1].min()) for g in bound.groups if (np.asarray(g.cens) == 1).any()
    )
    for group in redrawn(bound, bound.population.start, 0, 1).groups:
        mask, cens, y = (np.asarray(part) for part in (group.mask, group.cens, group.y))
        assert (cens[mask] == 1).any()
        np.testing.assert_allclose(y[mask & (cens == 1)], limit)
        assert (y[mask & (cens == 0)] >= limit).all()
        assert np.isneginf(np.asarray(group.limit)[mask & (cens == 1)]).all()


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(UsageError, match="events") as told:
        require_drawable(bind(ipx.load_problem("synthetic_time_to_event")))
    assert told.value.code == "recovery.records"
    with pytest.raises(UsageError, match="no population estimates"):
        recover(ipx.load_problem("synthetic_decay"), 1, method="nuts")
    with pytest.raises(UsageError, match="at least 1"):
        recover(ipx.load_problem("synthetic_decay"), 0)


def test_command_writes_a_run_and_goes_on(tmp_path, capsys):
    out = tmp_path / "study"
    asked = ["recover", "synthetic_decay", "--seed", "3", "--out", str(out)]
    assert run([*asked, "--replicates", "1"]) == 0
    first = (out / "replicates" / "00000.json").read_text()
    assert run([*asked, "--replicates", "2", "--resume"]) == 0
    assert (out / "replicates" / "00000.json").read_text() == first
    assert (out / "replicates" / "00001.json").is_file()
    assert "held by 90 % interval" in capsys.readouterr().out
    assert run([*asked, "--replicates", "2", "--resume", "--moved", "0.5"]) == 2
    assert "another moved" in capsys.readouterr().err.replace("\n", " ")


def test_options_of_the_study_are_those_of_the_documentation():
    assert OPTIONS.level == 0.9
    assert OPTIONS.restarts == 0
