"""compare(): pairing, differences, interruption and what is written, on an engine of closed forms."""

import json
import sys
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import pytest
from simulations_by_hand import made

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.planning.comparison import InterruptedComparison, assemble, compare
from ipex_pd.simulation.questions import ORGANS

TIMES = np.arange(0.0, 401.0, 10.0)


@dataclass(frozen=True)
class PlainRegimen:
    name: str
    hazard: float
    healing: float = 0.02

    def in_words(self) -> list[str]:
        return [f"hazard {self.hazard:g} a day"]


def outcome(regimen: PlainRegimen, frailty: np.ndarray, times: np.ndarray = TIMES):
    hazard = regimen.hazard * frailty[:, None] * times
    injury = np.exp(-regimen.healing * times) + np.zeros_like(hazard)
    values = {name: injury for name in ORGANS} | {"survival": np.exp(-hazard)}
    return made(times, values, regimen=regimen.name)


@pytest.fixture
def engine(monkeypatch):
    """A simulate() in closed form: hazard times frailty."""
    calls = []

    def simulate(patients, regimen, *, years, output_every, options):
        calls.append(regimen.name)
        if regimen.hazard < 0:
            raise KeyboardInterrupt
        return outcome(regimen, np.asarray(patients))

    module = ModuleType("ipex_pd.simulation.simulation")
    module.simulate = simulate
    monkeypatch.setitem(sys.modules, "ipex_pd.simulation.simulation", module)
    return calls


FRAILTY = np.array([0.5, 1.0, 2.0])
NONE, SOME = PlainRegimen("none", 2e-3, healing=0.0), PlainRegimen("some", 1e-3)


def test_differences_are_taken_in_the_same_patient(engine):
    table = compare(FRAILTY, [NONE, SOME], seed=4)
    assert engine == ["none", "some"]
    row = table.differences.set_index("endpoint").loc["survival"]
    expected = np.exp(-0.4 * FRAILTY) - np.exp(-0.8 * FRAILTY)
    assert row["regimen"] == "some"
    assert row["reference"] == "none"
    assert row["mean"] == pytest.approx(expected.mean())
    assert row["median"] == pytest.approx(np.median(expected))
    assert row["low"] < row["median"] < row["high"]
    assert row["mean_low"] <= row["mean"] <= row["mean_high"]
    assert row["share_better"] == 1.0


def test_a_time_not_reached_is_said_and_counts_as_the_horizon(engine):
    table = compare(FRAILTY, [NONE, SOME])
    answers = table.endpoints.set_index(["regimen", "endpoint"])
    assert np.isinf(answers.loc[("none", "time_to_remission"), "median"])
    assert answers.loc[("none", "time_to_remission"), "reached"] == 0
    reached = answers.loc[("some", "time_to_remission"), "median"]
    difference = table.differences.set_index("endpoint").loc["time_to_remission"]
    assert difference["median"] == pytest.approx(reached - 400.0)
    assert difference["meaning"].endswith("a time not reached counts as the horizon")


def test_the_reference_comes_first_and_can_be_chosen(engine):
    table = compare(FRAILTY, {"a": NONE, "b": SOME}, reference="b")
    assert list(table.regimens) == ["b", "a"]
    assert set(table.differences["reference"]) == {"b"}
    with pytest.raises(UsageError, match="reference `c` is not among the regimens"):
        compare(FRAILTY, {"a": NONE, "b": SOME}, reference="c")


def test_what_cannot_be_compared_is_refused(engine):
    with pytest.raises(UsageError, match="1 regimen cannot be compared"):
        compare(FRAILTY, [NONE])
    with pytest.raises(UsageError, match="regimen `none` is given twice"):
        compare(FRAILTY, [NONE, SOME, NONE])
    assert engine == []


def test_progress_hands_over_every_finished_regimen(engine):
    seen = []
    compare(FRAILTY, [NONE, SOME], progress=lambda name, sim: seen.append((name, len(sim))))
    assert seen == [("none", 3), ("some", 3)]


def test_an_interrupt_keeps_what_is_finished(engine):
    stop = PlainRegimen("stop", -1.0)
    with pytest.raises(KeyboardInterrupt) as caught:
        compare(FRAILTY, [NONE, SOME, stop, PlainRegimen("later", 0.0)])
    assert isinstance(caught.value, InterruptedComparison)
    kept = caught.value.comparison
    assert kept.partial
    assert kept.missing == ("stop", "later")
    assert list(kept.simulations) == ["none", "some"]
    assert json.loads(kept.to_json())["partial"] is True
    with pytest.raises(InterruptedComparison) as early:
        compare(FRAILTY, [stop, NONE])
    assert early.value.comparison is None


def test_one_finished_regimen_has_endpoints_and_no_differences(engine):
    with pytest.raises(InterruptedComparison) as caught:
        compare(FRAILTY, [NONE, PlainRegimen("stop", -1.0)])
    kept = caught.value.comparison
    assert kept.differences.empty
    assert "median" in kept.differences.columns
    assert not kept.endpoints.empty


def test_simulations_of_other_patients_are_not_compared():
    simulations = {"none": outcome(NONE, FRAILTY), "some": outcome(SOME, FRAILTY[:2])}
    with pytest.raises(SimulationError, match="`some` was not simulated for the same patients"):
        assemble(FRAILTY, {"none": NONE, "some": SOME}, simulations, {})


def test_json_is_strict_and_complete(engine):
    table = compare(FRAILTY, [NONE, SOME], years=400 / 365.25, seed=9)
    data = json.loads(table.to_json())
    assert data["schema"] == "ipex_pd.comparison/1"
    assert "not medical advice" in data["notice"]
    assert data["settings"]["seed"] == 9
    assert data["reference"] == "none"
    assert data["regimens"] == {"none": ["hazard 0.002 a day"], "some": ["hazard 0.001 a day"]}
    assert data["patients"] == 3
    keys = {"regimen", "endpoint", "unit", "mean", "median", "low", "high", "reached", "patients", "meaning"}
    assert all(keys <= set(row) for row in data["endpoints"])
    keys = {"regimen", "reference", "endpoint", "mean", "mean_low", "mean_high", "median", "low", "high", "pairs"}
    assert all(keys <= set(row) for row in data["differences"])
    never = next(r for r in data["endpoints"] if r["endpoint"] == "time_to_remission" and r["regimen"] == "none")
    assert never["median"] is None
    assert never["reached"] == 0
    assert any("remission_injury" in words for words in data["assumptions"])
