"""Limits of a plan as numbers, on courses made by hand: shares, daily means, largest doses, endpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.errors import UsageError
from ipex_pd.planning.course import Course, Given, Samples
from ipex_pd.planning.course_programs import moving_leaves
from ipex_pd.planning.courses import chunks_of, plan_times
from ipex_pd.planning.limits import limit_quantities, trough_days
from ipex_pd.records.library import load_drug
from ipex_pd.records.plans import PlanningProblem

WORDS = {"assumed": "a test"}
DRUGS = {name: load_drug(name) for name in ("tacrolimus", "prednisolone")}
LEVELS = np.array([[4.0, 6.0, 12.0], [5.5, 7.0, 9.0], [6.0, 3.0, 8.0]])
WEIGHTS = np.array([0.5, 0.25, 0.25])


def limits(*lines, handled=(), horizon=28.0):
    stated = {
        "name": "p",
        "description": "d",
        "patient": "seidel_2009",
        "start": "prednisolone_tacrolimus",
        "horizon": "28 day",
        "ensemble": {"children": 1, "draws": 1, "seed": 1},
        "free": [{"dose": "tacrolimus", "lowest": "0.02 mg/kg/day", "highest": "0.4 mg/kg/day"}],
        "goals": [{"maximise": "survival"}],
        "limits": list(lines),
    }
    return limit_quantities(PlanningProblem.model_validate(stated).limits, handled, DRUGS, horizon)


def course(counts=None, survival=(0.9, 0.8, 0.7)):
    doses = np.array([[10.0, 20.0, 30.0], [12.0, 18.0, 33.0], [5.0, 5.0, 5.0]])
    size = np.array([10.0, 12.0, 15.0])
    daily = {"mg": jnp.asarray(np.stack([doses[0] + doses[1], doses[2]])), "mg/kg": jnp.asarray(doses[:2] / size)}
    given = Given(jnp.array([0.0, 0.5, 1.0]), {"mg": jnp.asarray(doses), "mg/kg": jnp.asarray(doses / size)}, daily)
    own = Samples(jnp.array([7.0, 14.0, 21.0]), jnp.asarray(LEVELS), jnp.ones((3, 3)) if counts is None else counts)
    values = {"survival": jnp.array([[1.0, 1.0, 1.0], survival])}
    return Course(jnp.array([0.0, 28.0]), values, {"tacrolimus": own}, {"prednisolone": given}, jnp.zeros((0, 3)))


WINDOW = {"trough": "tacrolimus", "low": "5 ng/mL", "high": "10 ng/mL", "days": [7, 14, 21]}


def test_a_share_of_members_and_days():
    (share,) = limits({**WINDOW, "share": "90 %"})
    inside = np.array([[0, 1, 0], [1, 1, 1], [1, 0, 1]])
    assert float(share.exact(course(), WEIGHTS, 1.0)) == pytest.approx((inside * WEIGHTS).sum() / 3)
    smooth = [float(share.value(course(), WEIGHTS, width)) for width in (1.0, 0.1, 0.01)]
    errors = np.abs(np.array(smooth) - (inside * WEIGHTS).sum() / 3)
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6
    assert (share.lower, share.upper, share.unit) == (0.9, np.inf, "fraction")
    assert share.label == "tacrolimus trough 5 to 10 ng/mL: members and days"


def test_a_drug_that_has_been_stopped_is_not_counted_and_one_never_given_keeps_no_window():
    (share,) = limits({**WINDOW, "share": 0.9})
    stopped = jnp.asarray(np.array([[1.0] * 3, [1.0] * 3, [0.0] * 3]))
    assert float(share.exact(course(stopped), WEIGHTS, 1.0)) == pytest.approx((0.25 + 1.0) / 2)
    for number in (share.exact, share.value):
        assert float(number(course(jnp.zeros((3, 3))), WEIGHTS, 1.0)) == 0.0


def test_a_drug_given_on_no_sampled_day_keeps_an_upper_end():
    (share,) = limits({"trough": "tacrolimus", "high": "10 ng/mL", "days": [7, 14, 21], "share": 0.9})
    for number in (share.exact, share.value):
        assert float(number(course(jnp.zeros((3, 3))), WEIGHTS, 1.0)) == 1.0
    some = jnp.asarray(np.array([[0.0] * 3, [0.0] * 3, [1.0, 1.0, 1.0]]))
    assert float(share.exact(course(some), WEIGHTS, 1.0)) == pytest.approx(1.0)
    slopes = jax.grad(lambda counts: share.value(course(counts), WEIGHTS, 1.0))(jnp.zeros((3, 3)))
    assert np.isfinite(slopes).all()


def test_daily_means_of_the_members():
    lowest, highest = limits({**WINDOW, "days": [7, 21]}, {**WINDOW, "share": 0.5})[:2]
    means = LEVELS @ WEIGHTS
    assert float(lowest.exact(course(), WEIGHTS, 1.0)) == pytest.approx(min(means[0], means[2]))
    assert float(highest.exact(course(), WEIGHTS, 1.0)) == pytest.approx(max(means[0], means[2]))
    assert float(lowest.value(course(), WEIGHTS, 1e-3)) == pytest.approx(min(means[0], means[2]), rel=1e-6)
    assert (lowest.lower, highest.upper) == (pytest.approx(5.0), pytest.approx(10.0))
    assert trough_days((lowest, highest)) == {"tacrolimus": (7.0, 21.0)}


def test_doses_hold_in_every_member():
    single, daily, whole = limits(
        {"single_dose": "prednisolone", "most": "2.5 mg/kg"},
        {"daily_dose": "prednisolone", "most": "60 mg/day"},
        {"cumulative_dose": "prednisolone", "most": "70 mg"},
    )
    for limit, largest in ((single, 33 / 15), (daily, 63.0), (whole, 68.0)):
        assert float(limit.exact(course(), WEIGHTS, 1.0)) == pytest.approx(largest)
        assert float(limit.value(course(), WEIGHTS, 0.05)) == pytest.approx(largest, rel=1e-4)
        assert float(limit.value(course(), WEIGHTS, 1.0)) <= largest
    ghost = np.array([0.5, 0.5, 0.0])
    assert float(daily.exact(course(), ghost, 1.0)) == pytest.approx(38.0)


def test_endpoints_on_average_and_in_a_share():
    mean, share = limits(
        {"endpoint": "survival", "least": 0.85}, {"endpoint": "survival", "least": "75 %", "share": 0.8}
    )
    assert float(mean.value(course(), WEIGHTS, 1.0)) == pytest.approx(0.825)
    assert (mean.lower, share.lower) == (0.85, 0.8)
    assert float(share.exact(course(), WEIGHTS, 1.0)) == pytest.approx(0.75)
    assert float(share.value(course(), WEIGHTS, 0.01)) == pytest.approx(0.75, abs=1e-6)


def test_limits_that_others_keep_or_that_are_idle_are_left_out():
    daily = {"daily_dose": "prednisolone", "most": "60 mg/day"}
    assert limits(daily, handled=(0,)) == ()
    assert limits({"single_dose": "sirolimus", "most": "5 mg"}) == ()
    with pytest.raises(UsageError, match=r"limit 1 \(`changes`\) is kept neither by the template nor by a simulation"):
        limits({"changes": "tacrolimus", "most": 3})
    with pytest.raises(UsageError, match="`tacrolimus` is not sampled before day 28"):
        limits({**WINDOW, "days": [40], "share": 0.9})


def test_members_go_in_chunks_that_leave_no_one_out():
    for members in (1, 3, 9, 40, 200, 1001):
        parts = chunks_of(members, 2)
        assert {len(part) for part in parts} == {len(parts[0])}
        assert np.array_equal(np.unique(np.concatenate(parts)), np.arange(members))
        assert all((np.diff(part) >= 0).all() for part in parts)


def test_what_moves_is_read_from_the_program_and_not_from_its_slopes():
    def doses(x):
        return {"times": jnp.clip(x[:1] - 5.0, 0.0), "amount": jnp.zeros(2), "transplants": jnp.ones(1) * x[1]}

    assert moving_leaves(doses, np.array([1.0, 2.0])) == ("times", "transplants")
    assert plan_times(10.0).tolist() == [0.0, 7.0, 10.0]
    assert plan_times(14.0).tolist() == [0.0, 7.0, 14.0]
