"""From outcomes to a profile: optimum, intervals, groups, waiting and slopes, on numbers made by hand."""

import numpy as np
import pytest

from ipex_pd.errors import UsageError
from ipex_pd.planning.outcomes import CAUSES, LATE, Outcomes, Readings, fates, padded
from ipex_pd.planning.paths import NEVER
from ipex_pd.planning.timing_slope import best_day_by_slope
from ipex_pd.planning.timing_told import (
    Who,
    cause_table,
    coarse_days,
    finer_days,
    gain_of,
    group_table,
    optimum,
    peak,
    profile_table,
    resampled,
)

DRAWS, CHILDREN = 30, 20
DAYS = np.array([0.0, 100.0, 200.0, 300.0, 400.0, 500.0])


def who():
    count = DRAWS * CHILDREN
    draw, child = np.repeat(np.arange(DRAWS), CHILDREN), np.tile(np.arange(CHILDREN), DRAWS)
    return Who(np.full(count, 1 / count), draw, child, np.where(child < 5, 200.0, 900.0))


def made(value, days=DAYS, score=None):
    blank = np.zeros_like(value)
    return Outcomes(
        days=np.asarray(days, float),
        value=value,
        survival=0.5 + 0.0 * value,
        organ_free=0.25 + 0.0 * value,
        causes={name: blank + 1 / len(CAUSES) for name in CAUSES},
        late={name: blank for name in LATE},
        alive=np.ones_like(value),
        score=blank if score is None else score,
        members=np.arange(value.shape[1]),
    )


def hill(best, days=DAYS):
    """Values that are highest on a day of each member's own."""
    return 1.0 - ((np.asarray(days)[:, None] - best) / 400.0) ** 2


def test_the_optimum_lies_between_the_candidates_and_its_interval_holds_it():
    own = who()
    best = 240.0 + np.linspace(-40, 40, DRAWS)[own.draw] + np.linspace(-10, 10, CHILDREN)[own.child]
    found = optimum(made(hill(best)), own, 1)
    # between days a monotone cubic, which is flat at its highest candidate: half a step at most
    assert abs(found.day - 240.0) <= 50.0
    assert found.low <= found.planned <= found.high
    assert found.draw_low < found.draw_high
    assert np.isnan(found.never)
    fine = np.arange(150.0, 331.0, 10.0)
    sharp = optimum(made(hill(best, fine), fine), own, 1)
    assert sharp.day == pytest.approx(240.0, abs=5.0)
    assert sharp.draw_low == pytest.approx(204.0, abs=8.0)
    assert sharp.draw_high == pytest.approx(276.0, abs=8.0)


def test_no_transplant_is_a_candidate():
    own = who()
    value = hill(np.full(len(own.weights), 200.0))
    days = np.append(DAYS, NEVER)
    better = optimum(made(np.vstack([value, np.full(value.shape[1], 1.1)]), days), own, 1)
    assert np.isinf(better.day)
    assert better.planned == 200.0
    assert better.never == 1.0
    worse = optimum(made(np.vstack([value, np.full(value.shape[1], 0.9)]), days), own, 1)
    assert (worse.day, worse.never) == (200.0, 0.0)


def test_tables_have_a_row_a_day_and_parts_add_up():
    own = who()
    found = made(hill(np.full(len(own.weights), 200.0)))
    table = profile_table(found, own)
    assert table["day"].tolist() == DAYS.tolist()
    assert (table["value_low"] <= table["value"] + 1e-12).all()
    causes = cause_table(found, own)
    np.testing.assert_allclose(causes[list(CAUSES)].sum(axis=1), 1.0)


def test_groups_follow_score_and_age():
    own = who()
    score = np.broadcast_to(np.where(own.child < 10, 0.2, 3.0), (len(DAYS), len(own.weights)))
    table = group_table(made(hill(np.where(own.child < 10, 400.0, 100.0)), score=score.copy()), own)
    start = table[table["grouping"] == "score at start"]
    best = start.loc[start.groupby("group")["value"].idxmax()].set_index("group")["day"]
    assert best.to_dict() == {"score 0": 400.0, "score 2+": 100.0}
    ages = table[(table["grouping"] == "age at transplant") & (table["day"] == 200.0)].set_index("group")["share"]
    assert ages.to_dict() == pytest.approx({"1 to 2 years": 0.25, "2 to 5 years": 0.75})


def test_resampled_weights_take_whole_draws_and_children():
    own = who()
    weights = resampled(own, 3, 50)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    table = weights.reshape(50, DRAWS, CHILDREN)
    outer = table.sum(axis=2)[:, :, None] * table.sum(axis=1)[:, None, :]
    np.testing.assert_allclose(table, outer, atol=1e-15)


def test_days_are_put_in_around_the_best():
    own = who()
    found = made(hill(np.full(len(own.weights), 190.0)))
    assert finer_days(found, own, 8.0) == (150.0, 250.0)
    assert finer_days(found, own, 150.0) == ()
    assert coarse_days(60.0, 1800.0, 4) == (60.0, 395.0, 1007.0, 1800.0)
    assert peak(np.array([7.0]), np.array([0.4])) == (7.0, 0.4)


def test_a_later_offer_gains_what_its_best_day_is_better():
    own = who()
    one = hill(np.full(len(own.weights), 200.0))
    gain = gain_of((DAYS[3:], one[3:] + 0.2), (DAYS, one), own, 1)
    assert gain.mean == pytest.approx(0.2 - (100 / 400) ** 2)
    assert gain.low == pytest.approx(gain.mean)


def test_fates_add_up_to_one_and_split_at_the_transplant():
    times = np.arange(0.0, 101.0, 10.0)
    rise = {"disease": 1e-3, "infection": 2e-3, "transplant": 0.0}
    tables = {f"cumulative_hazard_{n}": np.outer(times * r, np.ones(3)) for n, r in rise.items()}
    tables["cumulative_hazard_transplant"] = np.outer(np.where(times > 50, (times - 50) * 4e-3, 0.0), np.ones(3))
    tables |= {f"cumulative_hazard_{n}": np.zeros((11, 3)) for n in ("gvhd", "graft_failure")}
    last = {"beta_cell_mass": [1.0, 0.1, 1.0], "thyroid_mass": [1.0, 0.1, 0.1], "renal_scarring": [0.0, 0.0, 0.0]}
    tables |= {name: np.broadcast_to(values, (11, 3)) for name, values in last.items()}
    causes, late = fates(Readings(times, tables), 50.0)
    np.testing.assert_allclose(sum(causes.values()), 1.0)
    before = 1 - np.exp(-3e-3 * 50)
    np.testing.assert_allclose(causes["death_before_infection"], 2 / 3 * before)
    np.testing.assert_allclose(causes["death_before_disease"], 1 / 3 * before)
    after = np.exp(-3e-3 * 50) * (1 - np.exp(-7e-3 * 50))
    np.testing.assert_allclose(causes["death_transplant"], 4 / 7 * after)
    alive = np.exp(-(3e-3 * 100 + 4e-3 * 50))
    np.testing.assert_allclose(causes["alive_all_organs"], [alive, 0.0, 0.0])
    np.testing.assert_allclose(causes["alive_diabetes"], [0.0, alive, 0.0])
    np.testing.assert_allclose(causes["alive_other_organ_loss"], [0.0, 0.0, alive])
    assert late["gvhd"].max() == 0.0


def test_padding_puts_midpoints_in():
    read = Readings(np.array([0.0, 10.0, 12.0]), {"a": np.array([[0.0], [1.0], [5.0]])})
    found = padded(read, 6)
    assert len(found.times) == 6
    np.testing.assert_allclose(np.interp(found.times, read.times, read.tables["a"][:, 0]), found.tables["a"][:, 0])


def test_the_best_day_is_found_by_its_slope():
    found = best_day_by_slope(lambda d: (-((d - 123.4) ** 2), -2 * (d - 123.4)), 20.0, 400.0)
    assert found.day == pytest.approx(123.4, abs=0.5)
    assert not found.at_bound
    assert found.evaluations < 15
    assert found.low <= found.day <= found.high
    # two hills: the higher one; a kink: slopes of both sides
    two = best_day_by_slope(lambda d: (np.cos(d / 30) + d / 1e3, -np.sin(d / 30) / 30 + 1e-3), 20.0, 400.0, scan=12)
    assert two.day == pytest.approx(30 * (4 * np.pi + np.arcsin(0.03)), abs=0.5)
    kink = best_day_by_slope(lambda d: (-abs(d - 77.0), -1.0 if d >= 77.0 else 2.0), 0.0, 200.0)
    assert kink.day == pytest.approx(77.0, abs=0.5)
    falling = best_day_by_slope(lambda d: (-d, -1.0), 20.0, 400.0)
    assert (falling.day, falling.at_bound) == (20.0, True)
    with pytest.raises(UsageError, match="days 5 to 5"):
        best_day_by_slope(lambda d: (d, 1.0), 5.0, 5.0)
