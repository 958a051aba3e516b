"""The labelled result: names, units, tables, and what is on disk."""

import numpy as np
import pytest
from simulations_by_hand import made

from ipex_pd.errors import OutputError, RecordError, SimulationError, UnknownKeyError, UsageError
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import DoseTable, Exposure, TroughTable

TIMES = np.array([0.0, 10.0, 20.0])


def full() -> Simulation:
    return made(
        TIMES,
        {"ige": np.array([[1.0, 2.0, 4.0], [3.0, 6.0, 12.0]]), "survival": np.ones((2, 3))},
        units={"ige": "IU/mL"},
        exposures=(Exposure("tacrolimus", "tacrolimus", "tacrolimus_auc", 5.0, 10.0, "label"),),
        doses=DoseTable(
            ("tacrolimus",) * 2, ("oral",) * 2, np.array([[0.0, 1.0]] * 2), np.full((2, 2), 3.0), np.zeros((2, 2))
        ),
        troughs=TroughTable(("tacrolimus",), np.array([5.0]), np.array([[4.0], [8.0]]), np.array([[1.25], [1.0]])),
    )


def test_a_quantity_is_patient_by_time_and_cannot_be_changed():
    sim = full()
    assert sim["ige"].shape == (2, 3)
    assert sim.units["ige"] == "IU/mL"
    assert "ige" in sim
    assert len(sim) == 2
    with pytest.raises(ValueError, match="read-only"):
        sim["ige"][0, 0] = 5.0


def test_a_wrong_name_is_answered_with_the_nearest():
    with pytest.raises(UnknownKeyError) as error:
        full()["igE_"]
    assert str(error.value) == "`igE_` is not a quantity of this simulation. Nearest: `ige`."


def test_the_tidy_table_has_one_row_a_value():
    table = full().to_frame(["ige"])
    assert list(table.columns) == ["patient", "time", "quantity", "value", "unit"]
    assert table.query("patient == 'child-1' and time == 20")["value"].item() == 12.0
    assert len(full().to_frame()) == 12


def test_at_is_linear_between_output_times():
    assert full().at(15.0)["ige"].tolist() == [3.0, 9.0]
    assert full().at(0.0)["ige"].tolist() == [1.0, 3.0]
    assert full().at(20.0)["ige"].tolist() == [4.0, 12.0]
    with pytest.raises(UsageError, match="day 21 is outside the simulation"):
        full().at(21.0)


def test_quantiles_leave_out_patients_without_numbers():
    values = {"ige": np.array([[1.0, 1.0], [3.0, 3.0], [np.nan, np.nan]])}
    sim = made(np.array([0.0, 1.0]), values, alive=np.array([True, True, False]))
    assert sim.quantiles("ige", (0.5,)).tolist() == [[2.0, 2.0]]


def test_picking_patients_picks_everywhere():
    one = full().pick([1])
    assert one.patients == ("child-1",)
    assert one["ige"].tolist() == [[3.0, 6.0, 12.0]]
    assert one.doses.amount.shape == (1, 2)
    assert one.troughs.to_frame(one.patients)["trough"].tolist() == [8.0]


def test_save_and_load_give_the_same(tmp_path):
    sim = full()
    sim.save(tmp_path / "run")
    back = Simulation.load(tmp_path / "run")
    assert back.to_frame().equals(sim.to_frame())
    assert back.doses.to_frame(back.patients).equals(sim.doses.to_frame(sim.patients))
    assert back.exposures == sim.exposures
    assert (back.patient, back.regimen, back.seed, back.route) == (sim.patient, sim.regimen, sim.seed, sim.route)


def test_a_folder_that_exists_is_not_overwritten(tmp_path):
    with pytest.raises(OutputError, match="the folder exists already"):
        full().save(tmp_path)
    with pytest.raises(RecordError, match="no readable simulation here"):
        Simulation.load(tmp_path)


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full_disk)
    with pytest.raises(OutputError, match="No space left on device"):
        full().save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(SimulationError, match="expected \\(2, 3\\)"):
        made(TIMES, {"ige": np.ones((2, 3)), "cd4": np.ones((3, 2))})
    with pytest.raises(SimulationError, match="strictly increasing"):
        made(TIMES[::-1], {"ige": np.ones((2, 3))})
