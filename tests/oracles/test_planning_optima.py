"""Known optima of dosing: closed forms, and a printed benchmark of optimal control."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from toy_systems import PREDNISOLONE, THETA, schedule_of, toy_system

from ipex_pd.numerics.constrained import ConstrainedStopping, minimise_constrained
from ipex_pd.numerics.constrained_limits import LinearLimits, NonlinearLimits
from ipex_pd.numerics.gradients import freeze, solve_traced
from ipex_pd.numerics.schedule import Order

CLEARANCE, VOLUME = THETA["prednisolone.clearance"], 20.0
RATE = CLEARANCE / VOLUME
AGE = np.array([365.0])


def pair(function):
    both = jax.jit(jax.value_and_grad(function))

    def evaluated(x):
        value, gradient = both(x)
        return float(value), np.asarray(gradient)

    return evaluated


def test_linear_quadratic_regulator_has_the_feedback_of_riccati():
    a, b = np.array([[0.9, 0.2], [-0.1, 0.95]]), np.array([[0.0], [0.3]])
    q, r, last, steps = np.diag([1.0, 0.2]), np.array([[0.5]]), np.diag([4.0, 1.0]), 12
    first = np.array([2.0, -1.0])

    def cost(u):
        x, total = jnp.asarray(first), 0.0
        for k in range(steps):
            total = total + x @ q @ x + r[0, 0] * u[k] ** 2
            x = a @ x + b[:, 0] * u[k]
        return total + x @ last @ x

    gains, value = [], last
    for _ in range(steps):
        gain = np.linalg.solve(r + b.T @ value @ b, b.T @ value @ a)
        value = q + a.T @ value @ (a - b @ gain)
        gains.append(gain)
    x, known = first, []
    for gain in reversed(gains):
        known.append(float((-gain @ x)[0]))
        x = a @ x + b[:, 0] * known[-1]
    stopping = ConstrainedStopping(gradient=1e-9, decrease=1e-16)
    found = minimise_constrained(pair(cost), np.zeros(steps), stopping=stopping)
    np.testing.assert_allclose(found.x, known, rtol=1e-6, atol=1e-7)
    assert found.value == pytest.approx(first @ value @ first, rel=1e-12)


class OneCompartment:
    """Intravenous boluses once a day, and an infusion, through the project's own engine."""

    def __init__(self, rows, out):
        self.schedule = schedule_of((Order("prednisolone", "iv"),), rows)
        self.system = toy_system(PREDNISOLONE)
        self.plan = freeze(self.system, self.schedule, THETA, age=AGE, output_times=out)

    def levels(self, amounts):
        """[T] concentrations [mg/L]."""
        changed = replace(self.schedule, amount=amounts)
        return solve_traced(self.plan, changed, THETA, age=AGE).concentrations[:, 0, 0]


def test_doses_to_a_target_trough_are_the_analytic_ones():
    days = np.array([0.0, 0.25, 0.5, 0.75])
    target = 0.4
    engine = OneCompartment([(day, 0, 1.0) for day in days], days + 0.25)
    found = minimise_constrained(
        pair(lambda x: jnp.sum((engine.levels(x) / target - 1.0) ** 2)),
        np.full(4, 10.0),
        lower=np.zeros(4),
        upper=np.full(4, 200.0),
        stopping=ConstrainedStopping(gradient=1e-10, decrease=1e-18),
    )
    up = np.exp(RATE * 0.25)
    loading, maintenance = target * VOLUME * up, target * VOLUME * (up - 1.0)
    np.testing.assert_allclose(found.x, [loading, maintenance, maintenance, maintenance], rtol=1e-6)


def test_one_repeated_dose_to_a_target_trough_is_the_analytic_one():
    days, target = np.array([0.0, 0.25, 0.5, 0.75]), 0.4
    engine = OneCompartment([(day, 0, 1.0) for day in days], np.array([1.0]))
    limits = NonlinearLimits(*_trough_limit(engine, target), ("trough on day 1",))
    found = minimise_constrained(
        lambda x: (float(x[0]), np.ones(1)),
        np.array([50.0]),
        lower=np.zeros(1),
        upper=np.full(1, 200.0),
        nonlinear=limits,
    )
    down = np.exp(-RATE * 0.25)
    known = target * VOLUME * (1 - down) / down / (1 - down**4)
    assert found.x[0] == pytest.approx(known, rel=1e-6)
    (active,) = found.multipliers
    assert active.label == "trough on day 1"
    assert active.price == pytest.approx(known / target, rel=1e-6)


def _trough_limit(engine, target):
    both = jax.jit(lambda x: (engine.levels(x * jnp.ones(4)), jax.jacfwd(lambda y: engine.levels(y * jnp.ones(4)))(x)))

    def limit(x):
        values, slopes = both(x)
        return np.asarray(values), np.asarray(slopes)

    return limit, np.array([target]), np.array([np.inf])


def test_loading_bolus_and_constant_infusion_hold_a_target():
    target, out = 1.5, np.linspace(0.1, 0.9, 9)
    engine = OneCompartment([(0.0, 0, 1.0), (0.0, 0, 1.0, 1.0)], out)
    both = minimise_constrained(
        pair(lambda x: jnp.sum((engine.levels(x) / target - 1.0) ** 2)),
        np.array([5.0, 100.0]),
        lower=np.zeros(2),
        upper=np.array([100.0, 1000.0]),
        stopping=ConstrainedStopping(gradient=1e-10, decrease=1e-18),
    )
    np.testing.assert_allclose(both.x, [target * VOLUME, target * CLEARANCE], rtol=1e-6)
    # without the bolus the best rate is a least-squares answer
    alone = minimise_constrained(
        pair(lambda x: jnp.sum((engine.levels(x) / target - 1.0) ** 2)),
        np.array([0.0, 100.0]),
        lower=np.zeros(2),
        upper=np.array([0.0, 1000.0]),
        stopping=ConstrainedStopping(gradient=1e-10, decrease=1e-18),
    )
    rise = 1.0 - np.exp(-RATE * out)
    assert alone.x[1] == pytest.approx(target * CLEARANCE * rise.sum() / (rise @ rise), rel=1e-6)


# Optimal scheduling of an angiogenic inhibitor: Ledzewicz and Schaettler, Optim Control Appl Meth 29 (2008) 41-57, as
# problem 10.141 of Betts, Practical Methods for Optimal Control Using Nonlinear Programming, 3rd edition. The optimum
# p(tf) = 7571.6712 and its time 1.1961336 days are quoted from the book by the gallery of opty (`betts_10_141`).
GROWTH, BIRTH, DEATH, KILL, LOSS = 0.084, 5.85, 0.00873, 0.15, 0.02
MOST_RATE, MOST_DRUG = 75.0, 15.0
LARGEST = ((BIRTH - LOSS) / DEATH) ** 1.5
PRINTED_VOLUME, PRINTED_TIME = 7571.6712, 1.1961336


def tumour(rates, lengths, substeps):
    """Volume [mm3] after phases of constant rates, by Runge-Kutta steps of the logarithms."""

    def slope(logs, rate):
        vessels = BIRTH - LOSS - DEATH * jnp.exp(2.0 * logs[0] / 3.0) - KILL * rate
        return jnp.stack([-GROWTH * (logs[0] - logs[1]), vessels])

    def phase(logs, given):
        rate, length = given
        h = length / substeps

        def step(y, _):
            k1 = slope(y, rate)
            k2 = slope(y + h / 2 * k1, rate)
            k3 = slope(y + h / 2 * k2, rate)
            k4 = slope(y + h * k3, rate)
            return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

        return jax.lax.scan(step, logs, None, length=substeps)[0], None

    logs, _ = jax.lax.scan(phase, jnp.log(jnp.array([LARGEST / 2, LARGEST / 4])), (rates, lengths))
    return jnp.exp(logs[0])


def test_printed_optimum_of_a_dosing_benchmark_with_free_switches():
    """Three phases with free rates and lengths: full rate until the drug is used up, then none until the minimum.

    Integrated to 1e-13, the printed time gives 7571.67007 and the minimum is 7571.67004 at 1.19635 days: the printed
    value lies 1.5e-7 of itself higher, within the tolerance of a collocation, and the minimum is that flat in time.
    """

    def drug(x):
        return np.array([x[:3] @ x[3:]]), np.concatenate([x[3:], x[:3]])[None]

    found = minimise_constrained(
        pair(lambda x: tumour(x[:3], x[3:], 60)),
        np.array([20.0, 10.0, 5.0, 0.3, 0.3, 0.5]),
        lower=np.concatenate([np.zeros(3), np.full(3, 0.01)]),
        upper=np.concatenate([np.full(3, MOST_RATE), np.full(3, 1.5)]),
        nonlinear=NonlinearLimits(drug, [-np.inf], [MOST_DRUG], ("drug",)),
        stopping=ConstrainedStopping(gradient=1e-9, decrease=1e-16),
    )
    rates, lengths = found.x[:3], found.x[3:]
    assert found.value == pytest.approx(PRINTED_VOLUME, rel=2e-7)
    assert found.value <= PRINTED_VOLUME
    assert lengths.sum() == pytest.approx(PRINTED_TIME, abs=3e-4)
    assert found.value == pytest.approx(_integrated(rates, lengths), rel=1e-10)
    assert rates @ lengths == pytest.approx(MOST_DRUG, rel=1e-7)
    assert "drug" in found.active


def _integrated(rates, lengths):
    logs = np.log([LARGEST / 2, LARGEST / 4])
    for rate, length in zip(rates, lengths, strict=True):

        def slope(_, y, rate=rate):
            return [-GROWTH * (y[0] - y[1]), BIRTH - LOSS - DEATH * np.exp(2 * y[0] / 3) - KILL * rate]

        logs = solve_ivp(slope, (0.0, length), logs, method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    return float(np.exp(logs[0]))


@pytest.mark.parametrize("start", [(10.0, 1.0), (3.0, 1.5)])
def test_printed_optimum_of_a_dosing_benchmark_on_a_grid(start):
    """Sixty equal intervals: the switch lies on the grid, which costs 1e-6 of the optimum."""
    n = 60

    def drug(x):
        return np.array([x[n] * x[:n].mean()]), np.concatenate([np.full(n, x[n] / n), [x[:n].mean()]])[None]

    found = minimise_constrained(
        pair(lambda x: tumour(x[:n], jnp.full(n, x[n] / n), 6)),
        np.concatenate([np.full(n, start[0]), [start[1]]]),
        lower=np.concatenate([np.zeros(n), [0.1]]),
        upper=np.concatenate([np.full(n, MOST_RATE), [5.0]]),
        nonlinear=NonlinearLimits(drug, [-np.inf], [MOST_DRUG], ("drug",)),
    )
    assert found.converged
    assert PRINTED_VOLUME * (1 - 1e-7) <= found.value <= PRINTED_VOLUME * (1 + 2e-6)
    np.testing.assert_allclose(found.x[:10], MOST_RATE, rtol=1e-6)
    np.testing.assert_allclose(found.x[10:n], 0.0, atol=1e-5)


def test_the_cheapest_doses_under_a_taper_are_those_of_a_linear_programme():
    """Doses that never rise, by steps of at most a quarter of the first: the least total for a given exposure."""
    weights = np.array([0.5, 0.8, 1.0, 1.1])
    falling = np.eye(4)[:-1] - np.eye(4)[1:]
    found = minimise_constrained(
        lambda x: (float(x.sum()), np.ones(4)),
        np.full(4, 5.0),
        lower=np.zeros(4),
        upper=np.full(4, 100.0),
        linear=LinearLimits(
            np.concatenate([falling, weights[None]]), [0.0, 0.0, 0.0, 34.0], [np.inf] * 4, ("1", "2", "3", "exposure")
        ),
    )
    np.testing.assert_allclose(found.x, 10.0, rtol=1e-8)
    assert {m.label: m.price for m in found.multipliers}["exposure"] == pytest.approx(4 / 3.4, rel=1e-8)
