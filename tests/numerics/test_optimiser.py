import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der

from ipex_pd.errors import UsageError
from ipex_pd.numerics.optimiser import Stopping, minimise


def valley(x):
    return float(rosen(x)), rosen_der(x)


@pytest.mark.parametrize("algorithm", ["bfgs", "l-bfgs-b"])
def test_the_valley_is_followed_to_its_end(algorithm):
    stopping = Stopping(gradient=1e-7, decrease=1e-14)
    found = minimise(valley, np.array([-1.2, 1.0, 0.5]), algorithm=algorithm, stopping=stopping)
    np.testing.assert_allclose(found.x, 1.0, atol=1e-5)
    assert found.converged
    assert found.value <= min(step.value for step in found.trace)


def test_adam_comes_near():
    def bowl(x):
        return float(x @ x), 2 * x

    found = minimise(bowl, np.ones(3), algorithm="adam", stopping=Stopping(iterations=400, gradient=1e-3))
    assert found.value < 1e-5


def test_a_good_curvature_needs_few_steps():
    scales = np.array([1e-4, 1.0, 1e4])

    def bowl(x):
        return float(0.5 * x @ (scales * x)), scales * x

    start = np.ones(3)
    with_curvature = minimise(bowl, start, curvature=np.diag(scales), stopping=Stopping(gradient=1e-9, decrease=0.0))
    assert with_curvature.iterations <= 2
    np.testing.assert_allclose(with_curvature.x, 0.0, atol=1e-9)


def test_points_without_a_finite_value_are_stepped_back_from():
    def logarithm(x):
        if x[0] <= 0:
            return np.nan, np.full(1, np.nan)
        return float(x[0] - np.log(x[0])), 1 - 1 / x

    found = minimise(logarithm, np.array([3.5]), stopping=Stopping(longest=50.0, gradient=1e-8))
    np.testing.assert_allclose(found.x, 1.0, rtol=1e-6)


def test_an_interrupt_keeps_the_best_point():
    def stop_at_three(step):
        if step.iteration == 3:
            raise KeyboardInterrupt

    found = minimise(valley, np.array([-1.2, 1.0]), callback=stop_at_three)
    assert not found.converged
    assert found.outcome.startswith("interrupted")
    assert found.value <= found.trace[-1].value


def test_too_few_iterations_are_said():
    found = minimise(valley, np.array([-1.2, 1.0]), stopping=Stopping(iterations=3))
    assert found.outcome == "3 iterations were not enough"
    assert not found.converged


def test_refusals():
    with pytest.raises(UsageError, match="not finite where the search starts"):
        minimise(lambda x: (np.nan, x), np.zeros(2))
    with pytest.raises(UsageError, match="`bfgs` takes no bounds"):
        minimise(valley, np.zeros(2), bounds=[(0, 1), (0, 1)])
    with pytest.raises(UsageError, match="`newton` is not a search"):
        minimise(valley, np.zeros(2), algorithm="newton")
