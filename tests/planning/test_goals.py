"""Goals against the endpoints of a simulation of the same courses; slopes against differences."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from simulations_by_hand import made

from ipex_pd.errors import UnknownKeyError, UsageError
from ipex_pd.planning import smooth
from ipex_pd.planning.course import Course
from ipex_pd.planning.goals import GOALS, goal_quantity
from ipex_pd.records.plan_goals import GOAL_NAMES, QUALITY, QualityStates
from ipex_pd.simulation import measures
from ipex_pd.simulation.questions import ORGANS

TIMES = np.append(np.arange(0.0, 364.0, 7.0), 365.0)
MEMBERS = 40
ASSUMED = {"assumed": "a test"}
STATES = QualityStates.model_validate(
    {
        "remission": {"value": 1.0, **ASSUMED},
        "active": {"value": 0.6, **ASSUMED},
        "after_transplant": {"value": 0.4, "for": "100 day", **ASSUMED},
        "diabetes": {"value": 0.8, **ASSUMED},
    }
)
GRAFT = 130.25


def courses(seed=1):
    """Invented courses that cross every threshold in some members."""
    random = np.random.default_rng(seed)

    def wave(low, high):
        phase, speed = random.uniform(0, 6, (MEMBERS, 1)), random.uniform(0.002, 0.02, (MEMBERS, 1))
        return low + (high - low) * 0.5 * (1 + np.sin(phase + speed * TIMES))

    def rising(rate):
        return np.cumsum(np.diff(TIMES, prepend=0.0) * random.uniform(0.2, 2, (MEMBERS, 1)) * wave(0.3, 1.0), 1) * rate

    illness = wave(0.03, 0.22)
    values = {name: illness * random.uniform(0.6, 1.0, (MEMBERS, 1)) for name in ORGANS}
    values |= {"beta_cell_mass": wave(0.02, 0.7), "thyroid_mass": wave(0.05, 0.9), "renal_scarring": wave(0.1, 0.8)}
    names = ("cumulative_hazard_disease", "cumulative_hazard_infection", "cumulative_hazard_transplant")
    hazards = {name: rising(1e-3) for name in names}
    hazards = {name: course - course[:, :1] for name, course in hazards.items()}
    values |= hazards | {"survival": np.exp(-sum(hazards.values()))}
    values |= {"cumulative_hazard_serious_infection": rising(2e-3), "c_peptide": wave(0.1, 2), "height_z": wave(-3, 1)}
    values |= {
        "weight_z": wave(-3, 1),
        "steroid_burden": rising(0.5),
        "cni_burden": rising(0.3),
        "oi_score": wave(0, 5),
    }
    return values | {"ige": wave(10, 5000)}


@pytest.fixture(scope="module")
def values():
    return courses()


def course_of(values, times=TIMES, graft=GRAFT):
    return Course(
        times=jnp.asarray(times),
        values={name: jnp.asarray(course.T) for name, course in values.items()},
        troughs={},
        doses={},
        transplants=jnp.full((1, MEMBERS), graft),
    )


def quantity(name):
    return goal_quantity(name, STATES if name == QUALITY else None)


def regimen(*days):
    return SimpleNamespace(transplants=tuple(SimpleNamespace(day=day) for day in days))


@pytest.mark.parametrize("name", [name for name in GOALS if not GOALS[name].smoothed])
def test_a_smooth_goal_is_the_endpoint(name, values):
    found = GOALS[name].function(course_of(values), 1.0)
    np.testing.assert_allclose(found, GOALS[name].measured(made(TIMES, values), regimen()), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in GOAL_NAMES if quantity(name).smoothed])
def test_a_smoothed_goal_comes_to_the_endpoint_as_its_width_shrinks(name, values):
    exact = quantity(name).measured(made(TIMES, values), regimen(GRAFT))
    course = course_of(values)
    far, near, nearer = (np.abs(quantity(name).function(course, width) - exact) for width in (1.0, 0.1, 0.01))
    scale = np.abs(exact).max()
    # the product of survival, quiet and diabetes is summed by the means of each over a week
    remains = 5e-3 if name in ("time_in_remission", QUALITY) else 1e-3
    assert np.median(nearer) <= np.median(near) <= np.median(far) < 0.1 * scale
    assert np.median(nearer) < remains * scale
    assert abs(np.mean(quantity(name).function(course, 1.0) - exact)) < 0.05 * scale


def test_every_goal_of_a_plan_is_there():
    assert {*GOALS, QUALITY} == set(GOAL_NAMES)
    for name in GOAL_NAMES:
        assert quantity(name).smoothed == ("smoothed" in quantity(name).meaning)


@pytest.mark.parametrize("name", GOAL_NAMES)
def test_slopes_are_those_of_differences(name, values):
    random = np.random.default_rng(2)
    along = {key: random.standard_normal(course.shape) * np.abs(course).max() for key, course in values.items()}

    def at(step):
        moved = {key: jnp.asarray(course) + step * along[key] for key, course in values.items()}
        return jnp.sum(quantity(name).function(course_of(moved, graft=GRAFT + step), 1.0) * WEIGHTS)

    slope, size = float(jax.grad(at)(0.0)), 1e-6
    differences = float((at(size) - at(-size)) / (2 * size))
    assert slope == pytest.approx(differences, rel=1e-6)
    assert slope != 0.0


WEIGHTS = np.random.default_rng(3).uniform(0.5, 1.5, MEMBERS)


def test_a_transplant_moves_its_days_of_convalescence(values):
    course = course_of(values)
    at = jax.jit(lambda day: jnp.sum(quantity(QUALITY).function(course_of(values, graft=day), 1.0)))
    assert float(jax.grad(at)(GRAFT)) == pytest.approx(float(at(GRAFT + 1e-4) - at(GRAFT - 1e-4)) / 2e-4, rel=1e-6)
    # a transplant on the last day costs nothing any more
    without = quantity(QUALITY).function(Course(course.times, course.values, {}, {}, jnp.zeros((0, MEMBERS))), 1.0)
    np.testing.assert_allclose(quantity(QUALITY).function(course_of(values, graft=365.0), 1.0), without, rtol=1e-12)


def test_areas_and_survival_are_those_of_the_endpoints(values):
    alive = values["survival"]
    found = smooth.mean_time_alive(TIMES, jnp.asarray(alive.T))
    np.testing.assert_allclose(found, measures.restricted_mean_survival(TIMES, alive), rtol=1e-9)
    np.testing.assert_allclose(smooth.area(TIMES, alive.T), measures.area(TIMES, alive), rtol=1e-12)
    start, stop = np.full(MEMBERS, 33.3), np.linspace(40.0, 500.0, MEMBERS)
    means = smooth.middles(jnp.asarray(alive.T))
    dense = np.linspace(33.3, np.minimum(stop, 365.0), 20000, endpoint=False) + (np.minimum(stop, 365.0) - 33.3) / 40000
    held = [row[np.searchsorted(TIMES, d) - 1].mean() for d, row in zip(dense.T, np.asarray(means).T, strict=True)]
    found = smooth.area_between(jnp.asarray(TIMES), means, start, stop)
    np.testing.assert_allclose(found, held * (np.minimum(stop, 365.0) - 33.3), rtol=1e-4)


def test_the_share_below_a_threshold_is_that_of_the_endpoints(values):
    injury = values["gut_injury"]
    share = smooth.share_below(jnp.asarray(injury.T), 0.1, 1e-6)
    days = jnp.sum(share * np.diff(TIMES)[:, None], axis=0)
    np.testing.assert_allclose(days, measures.days_below(TIMES, injury, 0.1), atol=0.02)
    # a flat course, and one that is nearly flat, meet where the formula changes
    line = jnp.asarray(0.1 + np.array([[0.0, 0.0], [1e-4, 1.001e-4]]))
    np.testing.assert_allclose(np.diff(smooth.share_below(line, 0.1, 0.01)[0]), -0.25 * 0.5e-5, rtol=1e-3)


def test_a_soft_largest_value_is_below_the_largest_and_comes_to_it():
    table = jnp.asarray(np.random.default_rng(4).uniform(1.0, 2.0, (50, 3)))
    wide, sharp = (smooth.soft_largest(table, width) for width in (0.05, 0.0005))
    assert np.all(wide < table.max(axis=0))
    np.testing.assert_allclose(sharp, table.max(axis=0), atol=1e-3)
    heavy = (table < 1.5).astype(float)
    np.testing.assert_allclose(smooth.soft_largest(table, 1e-5, heavy), np.max(table * heavy, axis=0), rtol=1e-6)


def test_unknown_goals_and_missing_states_are_refused():
    with pytest.raises(UnknownKeyError, match="Nearest: `survival`"):
        goal_quantity("surviva")
    with pytest.raises(UsageError, match="A day in each state has a stated worth"):
        goal_quantity(QUALITY)
