"""measure(): laws of error, limits, visits, onsets, deaths, and the address of every draw."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from simulations_by_hand import made

import ipex_pd as ipx
from ipex_pd.errors import IpexError, SimulationError, UnitError, UnknownKeyError, UsageError
from ipex_pd.records.library import load_measurements
from ipex_pd.records.measurements import Measurement
from ipex_pd.records.yamlfile import from_data
from ipex_pd.simulation import thresholds
from ipex_pd.simulation.measurement_draws import death, level, seen
from ipex_pd.simulation.measuring import measurable, surveillance
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import Exposure

MANY = 20_000
ASSUMED = {"assumed": "a test"}


def item(kind: str, unit: str = "1", limits: Mapping[str, float] | None = None, **error: Any) -> Measurement:
    data: dict[str, Any] = {"name": "x", "quantity": "x", "unit": unit, "meaning": "a test"}
    data["error"] = {"kind": kind, **error} | ({} if kind == "survival" else {"source": ASSUMED})
    for name, value in (limits or {}).items():
        data[name] = {"value": value, "source": ASSUMED}
    return from_data(Measurement, data)


def still(value: float, *, count: int = MANY, unit: str = "1", name: str = "x") -> Simulation:
    return made(np.array([0.0, 10.0]), {name: np.full((count, 2), value)}, units={name: unit})


def measured(sim: Simulation, what: Measurement, days: Any = 10.0) -> pd.DataFrame:
    return ipx.measure(sim, {what.name: days}, seed=1, measurements=[what])


def drawn(value: float, what: Measurement, unit: str = "1") -> np.ndarray:
    return measured(still(value, unit=unit), what)["measured"].to_numpy()


@pytest.mark.parametrize(
    ("what", "spread"),
    [
        (item("additive", sd=0.5), 0.5),
        (item("proportional", cv=0.1), 0.4),
        (item("combined", cv=0.1, sd=0.3), 0.5),
    ],
)
def test_normal_errors_keep_the_mean_and_have_the_stated_spread(what: Measurement, spread: float) -> None:
    values = drawn(4.0, what)
    assert values.mean() == pytest.approx(4.0, abs=4 * spread / MANY**0.5)
    assert values.std() == pytest.approx(spread, rel=0.02)


@pytest.mark.parametrize("value", [2.0, 200_000.0])
def test_a_lognormal_error_is_relative_over_five_decades(value: float) -> None:
    values = drawn(value, item("lognormal", cv=0.84))
    assert np.median(values) == pytest.approx(value, rel=0.02)
    assert values.std() / values.mean() == pytest.approx(0.84, rel=0.05)


def test_a_logit_normal_error_stays_a_share() -> None:
    values = drawn(30.0, item("logit_normal", unit="percent", sd=0.5), unit="percent")
    assert 0 < values.min() < values.max() < 100
    logits = np.log(values / (100 - values))
    assert logits.mean() == pytest.approx(np.log(0.3 / 0.7), abs=0.015)
    assert logits.std() == pytest.approx(0.5, rel=0.02)


def test_none_and_all_stay_none_and_all() -> None:
    what = item("logit_normal", unit="fraction", sd=0.5)
    for value in (0.0, 1.0):
        assert set(measured(still(value, count=5, unit="fraction"), what)["measured"]) == {value}
    # what the solver leaves beyond an end by rounding counts as the end
    assert set(measured(still(-1e-12, count=5), what)["measured"]) == {0.0}
    with pytest.raises(SimulationError, match="x: `x` leaves its range"):
        measured(still(1.1, count=5), what)


def test_values_are_in_the_unit_of_the_measurement() -> None:
    table = measured(still(2.0, count=3, unit="mg/L"), item("additive", unit="ng/mL", sd=1e-9))
    assert set(table["unit"]) == {"ng/mL"}
    assert table["true"].to_numpy() == pytest.approx(2000.0)
    assert table["measured"].to_numpy() == pytest.approx(2000.0)
    with pytest.raises(UnitError):
        measured(still(2.0, count=3, unit="kg"), item("additive", unit="ng/mL", sd=1))


def test_limits_are_flagged_as_in_event_tables() -> None:
    table = measured(still(1.0), item("lognormal", limits={"lloq": 0.8, "uloq": 1.3}, cv=0.3))
    low, high, inside = (table[table["cens"] == code] for code in (1, -1, 0))
    assert min(len(low), len(high), len(inside)) > 1000
    assert set(low["measured"]) == {0.8}
    assert set(low["limit"]) == {0.0}
    assert set(high["measured"]) == {1.3}
    assert set(high["limit"]) == {np.inf}
    assert inside["measured"].between(0.8, 1.3).all()
    assert inside["limit"].isna().all()
    assert set(table["true"]) == {1.0}
    share = ipx.measure(still(1.0, unit="fraction"), {"x": [0]}, seed=1, measurements=[_chimerism()])
    assert set(share["cens"]) == {-1}
    assert set(share["limit"]) == {1.0}


def _chimerism() -> Measurement:
    return item("logit_normal", unit="fraction", limits={"lloq": 0.05, "uloq": 0.95}, sd=0.1)


def test_no_concentration_is_measured_below_nothing() -> None:
    table = measured(still(1.0), item("proportional", cv=0.8))
    cut = table[table["cens"] == 1]
    assert len(cut) == pytest.approx(MANY * 0.1056, rel=0.1)
    assert set(cut["measured"]) == {0.0}
    assert set(cut["limit"]) == {-np.inf}
    assert (measured(still(0.0), item("additive", sd=1.0))["measured"] < 0).any()


def test_ordinal_levels_lie_between_cut_points() -> None:
    sharp = item("ordinal", cuts=(0.1, 0.25, 0.4), levels=("a", "b", "c", "d"))
    sim = made(np.array([0.0]), {"x": np.array([[0.0], [0.0999], [0.1], [0.3], [0.4], [1.0], [np.nan]])})
    table = measured(sim, sharp, 0.0)
    assert table["measured"].tolist()[:6] == [0, 0, 1, 2, 3, 3]
    assert np.isnan(table["measured"].iloc[6])
    assert table["true"].equals(table["measured"])
    assert set(table["unit"]) == {"1"}


def test_a_judged_level_is_wrong_as_often_as_its_error_says() -> None:
    judged = item("ordinal", cuts=(0.5, 1.5), levels=("none", "one", "two"), sd=0.3)
    counts = np.bincount(drawn(1.0, judged).astype(int), minlength=3) / MANY
    assert counts == pytest.approx([0.0478, 0.9044, 0.0478], abs=0.006)
    assert level(judged.error, np.array([np.nan])) == pytest.approx([np.nan], nan_ok=True)  # type: ignore[arg-type]


def test_onsets_are_known_from_visits() -> None:
    times = np.arange(0.0, 101.0, 10.0)
    course = np.stack([np.full(11, 1.0), 1 - times / 100, np.where(times < 5, 0.1, 0.9), np.full(11, np.nan)])
    table = measured(made(times, {"x": course}), item("event", side="below", threshold=0.55), [20.0, 40.0, 60.0])
    assert table["true"].to_numpy() == pytest.approx([np.inf, 45.0, 0.0, np.nan], nan_ok=True)
    assert table["measured"].to_numpy() == pytest.approx([60.0, 60.0, 20.0, np.nan], nan_ok=True)
    assert table["limit"].to_numpy() == pytest.approx([np.inf, 40.0, -np.inf, np.nan], nan_ok=True)
    assert table["cens"].tolist() == [-1, 1, 1, 0]
    assert table["day"].tolist() == [60.0, 60.0, 20.0, 60.0]
    assert set(table["unit"]) == {"day"}
    rising = measured(made(times, {"x": course}), item("event", side="above", threshold=0.5), [0.0, 10.0])
    assert rising["true"].to_numpy() == pytest.approx([0.0, 0.0, 5.0, np.nan], nan_ok=True)


def test_an_onset_at_a_visit_is_seen_there_and_the_dead_are_not_visited() -> None:
    visits = np.array([10.0, 20.0, 30.0])
    day, cens, limit = seen(np.array([20.0, 25.0, 25.0, 25.0]), visits, np.array([np.inf, np.inf, 28.0, 5.0]))
    assert day == pytest.approx([20.0, 30.0, 20.0, np.nan], nan_ok=True)
    assert cens[:3].tolist() == [1, 1, -1]
    assert limit[:3] == pytest.approx([10.0, 20.0, np.inf])
    assert seen(np.array([25.0]), visits, np.array([20.0]))[0].tolist() == [10.0]


def test_days_of_death_follow_the_survival_curve() -> None:
    times = np.array([0.0, 50.0, 100.0, 200.0])
    survival = np.exp(-np.array([0.0, 0.5, 0.5, 1.0]))
    days = death(times, np.tile(survival, (3, 1)), np.array([np.exp(-0.25), np.exp(-0.75), np.exp(-1.01)]))
    assert days == pytest.approx([25.0, 150.0, np.inf])
    sim = made(times, {"x": np.tile(survival, (MANY, 1))}, units={"x": "fraction"})
    table = measured(sim, item("survival", unit="fraction"), [0.0, 200.0])
    alive = table["cens"] == -1
    assert alive.mean() == pytest.approx(np.exp(-1), abs=0.012)
    assert set(table[alive]["measured"]) == {200.0}
    assert set(table[alive]["limit"]) == {np.inf}
    died = table[~alive]
    assert (died["measured"] == died["true"]).all()
    assert (died["day"] == died["true"]).all()
    assert died["limit"].isna().all()
    assert (died["measured"] <= 50).mean() == pytest.approx((1 - np.exp(-0.5)) / (1 - np.exp(-1)), abs=0.015)
    assert not died["measured"].between(50.0001, 99.999).any()


def test_survival_counts_from_the_first_output_time_and_may_reach_nothing() -> None:
    times, half = np.array([0.0, 10.0]), np.array([0.5])
    assert death(times, np.array([[0.8, 0.4]]), half) == pytest.approx([10.0])
    assert death(times, np.array([[1.0, 0.0]]), half) == pytest.approx([10.0])
    assert np.isnan(death(times, np.array([[1.0, np.nan]]), half)).all()


def ward(count: int = 4) -> Simulation:
    times = np.arange(0.0, 366.0, 7.0)
    flat = np.ones((count, times.size))
    return made(
        times,
        {
            "ige": 100 * flat,
            "survival": np.exp(-times / 200) * flat,
            "beta_cell_mass": np.exp(-times / 100) * flat,
            "tacrolimus": 6 * flat,
        },
        units={"ige": "IU/mL", "survival": "fraction", "beta_cell_mass": "fraction", "tacrolimus": "ng/mL"},
        exposures=(Exposure("tacrolimus", "tacrolimus"),),
    )


def test_no_rows_after_a_death_that_is_drawn() -> None:
    table = ipx.measure(ward(30), {"ige": [0, 91, 182, 364], "death": [364], "diabetes_onset": [91, 182, 364]}, seed=2)
    died = table[(table["measurement"] == "death") & (table["cens"] == 0)].set_index("patient")["measured"]
    assert len(died) > 10
    others = table[table["measurement"] != "death"]
    assert (others["day"] < others["patient"].map(died).fillna(np.inf)).all()
    followed = ipx.measure(ward(30), {"ige": [0, 91, 182, 364]}, seed=2)
    assert len(followed) == 120
    both = others[others["measurement"] == "ige"].merge(followed, on=["patient", "day", "measurement"])
    assert (both["measured_x"] == both["measured_y"]).all()


def test_a_draw_depends_on_its_address_only() -> None:
    alone = ipx.measure(ward(2), {"ige": [91]}, seed=5)["measured"].tolist()
    table = ipx.measure(ward(4), {"tacrolimus_level": [0, 91], "ige": [364, 91, 0]}, seed=5)
    ige = table[(table["measurement"] == "ige") & (table["day"] == 91)]["measured"].tolist()
    assert ige[:2] == alone
    assert len(set(table[table["measurement"] == "ige"]["measured"])) == 12
    assert ipx.measure(ward(2), {"ige": [91]}, seed=5)["measured"].tolist() == alone
    twins = [item("additive", sd=1).model_copy(update={"name": name}) for name in ("one", "other")]
    assert ipx.measure(still(0.0, count=1), [0], seed=5, measurements=twins)["measured"].nunique() == 2
    assert ipx.measure(ward(2), {"ige": [91]}, seed=6)["measured"].tolist() != alone


def test_rows_stand_by_patient_day_and_measurement() -> None:
    table = ipx.measure(ward(2), {"tacrolimus_level": [91, 0], "ige": [0]}, seed=1)
    assert list(table.columns) == ["patient", "day", "measurement", "true", "measured", "unit", "cens", "limit"]
    assert table["patient"].tolist() == ["child-0"] * 3 + ["child-1"] * 3
    assert table["measurement"].tolist() == ["tacrolimus_level", "ige", "tacrolimus_level"] * 2
    assert table["day"].tolist() == [0.0, 0.0, 91.0] * 2


def test_the_default_is_surveillance_of_everything_every_three_months() -> None:
    sim = ward()
    assert surveillance(sim).tolist() == [0.0, 91.0, 182.0, 273.0]
    assert [item.name for item in measurable(sim)] == ["ige", "diabetes_onset", "death", "tacrolimus_level"]
    everything = ipx.measure(sim, seed=1)
    assert set(everything["measurement"]) == {"ige", "diabetes_onset", "death", "tacrolimus_level"}
    assert everything.equals(ipx.measure(sim, surveillance(sim), seed=1))


def test_the_level_of_a_drug_has_the_error_of_its_file() -> None:
    table = ipx.measure(ward(5000), {"tacrolimus_level": [91]}, seed=1)
    assert table["measured"].std() == pytest.approx(np.hypot(0.28, 0.21 * 6), rel=0.04)


def test_the_level_of_a_drug_that_is_gone_is_below_its_limit() -> None:
    given = (Exposure("ciclosporin", "ciclosporin"),)
    sim = made(np.array([0.0]), {"ciclosporin": [[1e-20]]}, units={"ciclosporin": "ng/mL"}, exposures=given)
    table = ipx.measure(sim, [0], seed=1)
    assert table[["measured", "cens", "limit"]].iloc[0].tolist() == [50.0, 1, -np.inf]


def test_patients_without_numbers_have_none() -> None:
    sim = made(np.array([0.0]), {"ige": np.array([[np.nan], [5.0]])}, units={"ige": "IU/mL"})
    table = ipx.measure(sim, [0], seed=1)
    assert np.isnan(table["measured"].iloc[0])
    assert table["cens"].tolist() == [0, 0]
    assert table["limit"].isna().all()


def test_events_use_the_thresholds_of_the_endpoints() -> None:
    shelf = {name: entry.error for name, entry in load_measurements().measurements.items()}
    wanted = {
        "diabetes_onset": thresholds.DIABETES_MASS,
        "hypothyroidism_onset": thresholds.HYPOTHYROID_MASS,
        "enteropathy_onset": thresholds.RELAPSE_INJURY,
    }
    for name, threshold in wanted.items():
        assert shelf[name].threshold == threshold.value  # type: ignore[union-attr]
    assert shelf["thyroid_state"].cuts[0] == thresholds.HYPOTHYROID_MASS.value  # type: ignore[union-attr]
    assert shelf["stool_severity"].cuts[:2] == (  # type: ignore[union-attr]
        thresholds.REMISSION_INJURY.value,
        thresholds.RELAPSE_INJURY.value,
    )


@pytest.mark.parametrize(
    ("schedule", "kind", "message"),
    [
        (
            {"igee": [0]},
            UnknownKeyError,
            "`igee` is not a measurement. Nearest: `ige`",
        ),
        (
            {"ige": [400]},
            UsageError,
            "ige: day 400 is outside the simulation. It covers days 0 to 364. Choose a day inside, or simulate longer.",
        ),
        (
            {"ige": [90]},
            UsageError,
            "ige: day 90 is not an output time. Nothing is read between output times; the nearest is 91. "
            "Choose that day, or simulate with `output_times` that hold the visits.",
        ),
        ({"ige": [91, 91]}, UsageError, "ige: a day stands twice. A measurement is made once on a day."),
        ({"ige": []}, UsageError, "ige: the days are no list of days. Visits are a list of finite days."),
        ([np.nan], UsageError, "schedule: the days are no list of days."),
        ({}, UsageError, "nothing is measured."),
        ({"c_peptide": [0]}, UsageError, "by hand: `c_peptide` reads `c_peptide`, which this simulation lacks."),
        (
            {"sirolimus_level": [0]},
            UsageError,
            "by hand: `sirolimus_level` cannot be measured: `sirolimus` is not given. Measure a drug of the regimen.",
        ),
    ],
)
def test_what_is_refused(schedule: Any, kind: type[IpexError], message: str) -> None:
    with pytest.raises(IpexError) as error:
        ipx.measure(ward(), schedule, seed=1)
    assert type(error.value) is kind
    assert message in str(error.value)


def test_a_drug_without_a_residual_error_is_refused() -> None:
    flat = np.ones((1, 1))
    given = (Exposure("methylprednisolone", "methylprednisolone"),)
    sim = made(np.array([0.0]), {"methylprednisolone": flat}, units={"methylprednisolone": "ng/mL"}, exposures=given)
    with pytest.raises(IpexError, match="states no residual error"):
        ipx.measure(sim, {"methylprednisolone_level": [0]}, seed=1)


def test_given_measurements_are_never_left_out_silently() -> None:
    with pytest.raises(UsageError, match="`x` reads `x`, which this simulation lacks"):
        ipx.measure(ward(), [0], seed=1, measurements=[item("additive", sd=1)])
    with pytest.raises(UsageError, match="two measurements have one name"):
        ipx.measure(still(1.0, count=1), [0], seed=1, measurements=[item("additive", sd=1), item("additive", sd=2)])
    with pytest.raises(UsageError, match="seed -1"):
        ipx.measure(ward(), [0], seed=-1)
