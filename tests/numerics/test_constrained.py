import numpy as np
import pytest
from scipy.optimize import NonlinearConstraint, linprog
from scipy.optimize import minimize as scipy_minimize

from ipex_pd.errors import UsageError
from ipex_pd.numerics.constrained import ConstrainedStopping, minimise_constrained
from ipex_pd.numerics.constrained_limits import LinearLimits, NonlinearLimits

SEARCHES = ("slsqp", "trust-constr", "trust-constr-sr1", "adam")
PATIENT = ConstrainedStopping(iterations=3000)


def product_of_four(x):
    """Problem 71 of Hock and Schittkowski (1981): optimum 17.0140173, printed there."""
    a, b, c, d = x
    value = a * d * (a + b + c) + c
    return float(value), np.array([d * (2 * a + b + c), a * d, a * d + 1, a * (a + b + c)])


def product_and_sphere(x):
    product = np.prod(x)
    return np.array([product, x @ x]), np.stack([product / x, 2 * x])


PRODUCT_LIMITS = NonlinearLimits(product_and_sphere, [25.0, 40.0], [np.inf, 40.0], ("product", "sphere"))
PRODUCT_BOX = {"lower": np.ones(4), "upper": np.full(4, 5.0)}
PRODUCT_START = np.array([1.0, 5.0, 5.0, 1.0])


@pytest.mark.parametrize("algorithm", SEARCHES)
def test_a_published_problem_is_solved_from_outside_its_limits(algorithm):
    found = minimise_constrained(
        product_of_four,
        PRODUCT_START,
        **PRODUCT_BOX,
        nonlinear=PRODUCT_LIMITS,
        algorithm=algorithm,
        stopping=PATIENT,
    )
    # the quasi-Newton interior point comes near, and says how near by its gradient
    assert found.value == pytest.approx(17.0140173, rel=1e-7 if algorithm in ("slsqp", "adam") else 1e-5)
    assert found.feasible
    assert found.converged
    assert set(found.active) == {"product", "sphere", "x1"}


def test_shadow_prices_are_what_the_optimum_gains():
    found = minimise_constrained(product_of_four, PRODUCT_START, **PRODUCT_BOX, nonlinear=PRODUCT_LIMITS)
    prices = {m.label: m.price for m in found.multipliers}

    def moved(product=25.0, sphere=40.0, first=1.0):
        limits = NonlinearLimits(product_and_sphere, [product, sphere], [np.inf, sphere])
        box = {**PRODUCT_BOX, "lower": np.array([first, 1.0, 1.0, 1.0])}
        return minimise_constrained(product_of_four, found.x, **box, nonlinear=limits).value

    h = 1e-4
    assert prices["product"] == pytest.approx((moved(product=25 + h) - moved(product=25 - h)) / (2 * h), rel=1e-4)
    assert prices["sphere"] == pytest.approx((moved(sphere=40 - h) - moved(sphere=40 + h)) / (2 * h), rel=1e-4)
    assert prices["x1"] == pytest.approx((moved(first=1 + h) - moved(first=1 - h)) / (2 * h), rel=1e-4)


def test_numbers_of_very_different_size_do_not_matter():
    size = np.array([1e-5, 1.0, 1e4, 1e2])

    def stretched(y):
        value, gradient = product_of_four(y / size)
        return 1e6 * value, 1e6 * gradient / size

    def limits(y):
        values, slopes = product_and_sphere(y / size)
        return values, slopes / size

    found = minimise_constrained(
        stretched,
        PRODUCT_START * size,
        lower=size,
        upper=5 * size,
        nonlinear=NonlinearLimits(limits, PRODUCT_LIMITS.lower, PRODUCT_LIMITS.upper),
    )
    plain = minimise_constrained(product_of_four, PRODUCT_START, **PRODUCT_BOX, nonlinear=PRODUCT_LIMITS)
    np.testing.assert_allclose(found.x / size, plain.x, rtol=1e-6)
    assert found.converged


def test_linear_programmes_agree_with_linprog():
    random = np.random.default_rng(3)
    for _ in range(5):
        matrix, cost = random.uniform(-1, 1, (6, 5)), random.uniform(-1, 1, 5)
        ends = matrix @ random.uniform(0, 1, 5) + random.uniform(0, 0.3, 6)
        known = linprog(cost, A_ub=matrix, b_ub=ends, bounds=(0, 1))
        found = minimise_constrained(
            lambda x, cost=cost: (float(cost @ x), cost),
            np.full(5, 0.5),
            lower=np.zeros(5),
            upper=np.ones(5),
            linear=LinearLimits(matrix, np.full(6, -np.inf), ends),
        )
        assert found.converged
        assert found.value == pytest.approx(known.fun, abs=1e-6)


def test_an_interior_point_search_agrees_with_slsqp_on_quadratic_programmes():
    random = np.random.default_rng(4)
    for _ in range(3):
        matrix, cost, root = random.uniform(-1, 1, (6, 5)), random.uniform(-2, 0, 5), random.uniform(-1, 1, (5, 5))
        bend = root @ root.T + 0.1 * np.eye(5)
        ends = matrix @ random.uniform(0, 1, 5) + random.uniform(0, 0.3, 6)

        def bowl(x, cost=cost, bend=bend):
            return float(cost @ x + 0.5 * x @ bend @ x), cost + bend @ x

        asked = {"lower": np.zeros(5), "upper": np.ones(5), "linear": LinearLimits(matrix, np.full(6, -np.inf), ends)}
        exact = minimise_constrained(bowl, np.full(5, 0.5), **asked)
        inner = minimise_constrained(bowl, np.full(5, 0.5), **asked, algorithm="trust-constr", stopping=PATIENT)
        assert exact.converged
        np.testing.assert_allclose(inner.x, exact.x, atol=1e-4)


def test_the_same_point_as_scipy_called_directly_and_brute_force():
    def wavy(x):
        value = np.sin(3 * x[0]) + (x[0] - 0.4) ** 2 + (x[1] - 0.7) ** 2 + x[0] * x[1]
        return float(value), np.array([3 * np.cos(3 * x[0]) + 2 * (x[0] - 0.4) + x[1], 2 * (x[1] - 0.7) + x[0]])

    def circle(x):
        return np.array([x @ x]), 2 * x[None]

    limits = NonlinearLimits(circle, [0.5], [1.0])
    found = min(
        (
            minimise_constrained(wavy, np.array(start), lower=-np.ones(2), upper=np.ones(2), nonlinear=limits)
            for start in ([-0.8, 0.3], [0.8, 0.3], [0.1, -0.9])
        ),
        key=lambda minimum: minimum.value,
    )
    direct = scipy_minimize(
        lambda x: wavy(x)[0],
        [-0.8, 0.3],
        jac=lambda x: wavy(x)[1],
        method="trust-constr",
        bounds=[(-1, 1)] * 2,
        constraints=NonlinearConstraint(lambda x: x @ x, 0.5, 1.0, jac=lambda x: 2 * x[None]),
        options={"gtol": 1e-9},
    )
    np.testing.assert_allclose(found.x, direct.x, atol=1e-5)
    axis = np.linspace(-1, 1, 801)
    a, b = np.meshgrid(axis, axis)
    inside = (a**2 + b**2 >= 0.5) & (a**2 + b**2 <= 1.0)
    grid = np.where(inside, np.sin(3 * a) + (a - 0.4) ** 2 + (b - 0.7) ** 2 + a * b, np.inf)
    assert found.value <= grid.min() + 1e-9
    assert found.value == pytest.approx(grid.min(), abs=1e-2)


@pytest.mark.parametrize("algorithm", SEARCHES)
def test_points_without_a_finite_value_are_steps_too_long(algorithm):
    def logarithm(x):
        with np.errstate(invalid="ignore", divide="ignore"):
            value = 1000 * x[0] - np.log(x[0] - 0.2) + x[1] ** 2
        if x[0] <= 0.2:
            return np.nan, np.full(2, np.nan)
        return float(value), np.array([1000 - 1 / (x[0] - 0.2), 2 * x[1]])

    found = minimise_constrained(
        logarithm,
        np.array([0.9, 0.5]),
        lower=np.array([0.0, -1.0]),
        upper=np.ones(2),
        algorithm=algorithm,
        stopping=ConstrainedStopping(iterations=2000),
    )
    assert found.x[0] > 0.2
    assert found.value == pytest.approx(200 + 1 - np.log(1e-3), rel=1e-3)


def test_an_interrupt_keeps_the_best_feasible_point():
    def stop(step):
        if step.iteration == 4:
            raise KeyboardInterrupt

    found = minimise_constrained(
        product_of_four, PRODUCT_START, **PRODUCT_BOX, nonlinear=PRODUCT_LIMITS, callback=stop, algorithm="trust-constr"
    )
    assert found.interrupted
    assert not found.converged
    assert found.outcome == "interrupted; the best point seen is kept"
    assert found.violation <= min(step.violation for step in found.trace)


def test_without_a_feasible_point_the_least_violation_is_kept():
    limits = LinearLimits(np.array([[1.0, 1.0]]), [3.0], [np.inf], ("enough",))
    found = minimise_constrained(
        lambda x: (float(x @ x), 2 * x), np.full(2, 0.2), lower=np.zeros(2), upper=np.ones(2), linear=limits
    )
    assert not found.feasible
    assert not found.converged
    assert found.violation == pytest.approx(1 / 3, rel=1e-6)


def test_a_start_that_is_optimal_stays():
    found = minimise_constrained(product_of_four, PRODUCT_START, **PRODUCT_BOX, nonlinear=PRODUCT_LIMITS)
    again = minimise_constrained(product_of_four, found.x, **PRODUCT_BOX, nonlinear=PRODUCT_LIMITS)
    assert again.value == pytest.approx(found.value, rel=1e-8)
    assert again.converged


def test_a_fixed_quantity_does_not_move():
    found = minimise_constrained(
        lambda x: (float(x @ x), 2 * x), np.array([0.5, 0.5]), lower=np.array([0.5, -1]), upper=np.array([0.5, 1])
    )
    np.testing.assert_allclose(found.x, [0.5, 0.0], atol=1e-7)
    assert found.converged


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"algorithm": "slqp"}, "`slqp` is not a constrained search. Nearest: `slsqp`."),
        ({"lower": np.zeros(3)}, "2 quantities with bounds of shape (3,) and (2,)."),
        (
            {"lower": np.full(2, 2.0)},
            "quantity 1 lies between 2 and 1. A lower bound does not lie above its upper bound.",
        ),
        ({"linear": LinearLimits.none(3)}, "limits on 3 quantities, and 2 of them."),
        ({"names": ("a",)}, "1 names for 2 quantities."),
    ],
)
def test_what_does_not_fit_is_refused(change, words):
    asked = {"lower": np.zeros(2), "upper": np.ones(2), **change}
    with pytest.raises(UsageError) as refused:
        minimise_constrained(lambda x: (float(x @ x), 2 * x), np.ones(2), **asked)
    assert str(refused.value) == words


def test_limits_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="`dose` asks for at least 2 and at most 1"):
        LinearLimits(np.ones((1, 2)), [2.0], [1.0], ("dose",))
    with pytest.raises(UsageError, match="1 limits with 2 lower ends"):
        LinearLimits(np.ones((1, 2)), [0.0, 0.0], [1.0])
    with pytest.raises(UsageError, match="the limit `trough` is not finite where the search starts"):
        minimise_constrained(
            lambda x: (float(x @ x), 2 * x),
            np.ones(2),
            nonlinear=NonlinearLimits(lambda x: (np.array([np.nan]), np.ones((1, 2))), [0.0], [1.0], ("trough",)),
        )
