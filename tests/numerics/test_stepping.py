"""Steps of the disease against SciPy's solutions: order, stability, inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from ipex_pd.numerics.stepping import EIGHTH, Chebyshev

END = 2.0


def pendulum(age, x, inputs):
    """Not linear, and driven by age."""
    return jnp.stack([x[1], -jnp.sin(x[0]) + 0.3 * jnp.cos(age)])


def stepped(method, count):
    length = jnp.full(1, END / count)
    inputs = jnp.zeros((len(method.times), 0, 1))
    step = jax.jit(lambda x, k: method.step(pendulum, x, inputs, k * length, length))
    x = jnp.array([[1.0], [0.0]])
    for k in range(count):
        x = step(x, k)
    return np.asarray(x[:, 0])


@pytest.fixture(scope="module")
def truth():
    def slope(t, y):
        return [y[1], -np.sin(y[0]) + 0.3 * np.cos(t)]

    return solve_ivp(slope, (0.0, END), [1.0, 0.0], rtol=1e-13, atol=1e-14).y[:, -1]


@pytest.mark.parametrize(("method", "order"), [(EIGHTH, 8), (Chebyshev(2), 2), (Chebyshev(8), 2)], ids=str)
def test_halving_a_step_gains_what_the_order_says(method, order, truth):
    coarse, fine = (np.abs(stepped(method, count) - truth).max() for count in (4, 8))
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.6)


@pytest.mark.parametrize("stages", [3, 8, 12])
def test_a_stiff_state_follows_its_balance_up_to_the_reach_of_the_method(stages):
    method, length = Chebyshev(stages), jnp.full(2, 7.0)
    rates = method.reach / 7.0 * jnp.array([0.999, 1.3])

    def fall(age, x, inputs):
        return -rates * (x - 3.0)

    x = jnp.ones((1, 2))
    for k in range(60):
        x = method.step(fall, x, jnp.zeros((stages, 0, 2)), k * length, length)
    assert abs(float(x[0, 0]) - 3.0) < 1e-2
    assert abs(float(x[0, 1]) - 3.0) > 10.0


@pytest.mark.parametrize(("method", "degree"), [(EIGHTH, 7), (Chebyshev(4), 1), (Chebyshev(9), 1)], ids=str)
def test_inputs_are_taken_at_the_times_of_the_stages(method, degree):
    """A polynomial input of a degree below the order is integrated exactly."""
    inputs = jnp.asarray(method.times**degree)[:, None, None]
    found = method.step(lambda age, x, u: u, jnp.zeros((1, 1)), inputs, jnp.zeros(1), jnp.ones(1))
    assert float(found[0, 0]) == pytest.approx(1.0 / (degree + 1), rel=1e-13)


def test_nothing_that_moves_and_too_few_stages():
    for method in (EIGHTH, Chebyshev(3)):
        nothing = method.step(pendulum, jnp.zeros((0, 2)), jnp.zeros((12, 0, 2)), jnp.zeros(2), jnp.ones(2))
        assert nothing.shape == (0, 2)
    with pytest.raises(ValueError, match="two stages"):
        Chebyshev(1)
