"""Gradients through the whole model, forward and reverse: a bridge of drugs, an infusion, a transplant."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.numerics.gradients import freeze, gradcheck, solve_traced
from ipex_pd.records.library import load_patient
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.study import output_grid, study

DAYS = 30.0
PARAMETERS = ("effector_loss", "tacrolimus.clearance", "prednisolone.ec50_steroid", "covariate.haematocrit")
WORDS = {"assumed": "a test"}


@pytest.fixture(scope="module")
def asked():
    oral = {"route": "oral", "every": "1 day", "source": WORDS}
    regimen = Regimen.model_validate(
        {
            "name": "bridge",
            "description": "two oral drugs, one infusion, a transplant",
            "doses": [
                {"drug": "prednisolone", "amount": "1 mg/kg", "stop": 12, **oral},
                {"drug": "tacrolimus", "amount": "0.1 mg/kg", "start": 0.3, "stop": 12, **oral},
                {
                    "drug": "rituximab",
                    "amount": "375 mg/m2",
                    "route": "iv",
                    "infusion": "4 h",
                    "every": "7 day",
                    "start": 2.6,
                    "count": 1,
                    "source": WORDS,
                },
            ],
            "transplants": [
                {
                    "day": 14.5,
                    "conditioning": "reduced",
                    "serotherapy": "alemtuzumab",
                    "donor": "matched_unrelated",
                    "graft": "marrow",
                    "source": WORDS,
                }
            ],
        }
    )
    return study(load_patient("seidel_2009"), regimen, output_grid(days=DAYS, every="15 day"))


@pytest.fixture(scope="module")
def outcome(asked):
    known = {"age": asked.age, "state": asked.state}
    frozen = freeze(asked.system, asked.schedule, asked.theta, output_times=asked.times, **known)
    names = asked.system.model.states
    chosen = ("gut_injury", "b_host", "treg_donor", "cumulative_hazard_transplant")
    watched = jnp.array([names.index(name) for name in chosen])

    def value(argument):
        """All knobs in one array: parameters, doses, times, infusion, transplant day, weight z at the start."""
        n, k = len(asked.schedule.order), len(PARAMETERS)
        scales, amounts, times = argument[:k], argument[k : k + n], argument[k + n : k + 2 * n]
        length, day, z = argument[k + 2 * n :]
        base = asked.theta | {"covariate.haematocrit": np.full(1, 0.28)}
        theta = base | {name: base[name] * scales[i] for i, name in enumerate(PARAMETERS)}
        schedule = replace(
            asked.schedule,
            amount=jnp.asarray(asked.schedule.amount) * amounts,
            times=jnp.asarray(asked.schedule.times) + times,
            duration=jnp.asarray(asked.schedule.duration) * length,
            transplant_times=jnp.asarray(asked.schedule.transplant_times) + day,
        )
        state = asked.state | {"weight_z": asked.state["weight_z"] + z}
        states = solve_traced(frozen, schedule, theta, age=asked.age, state=state).states
        return jnp.sum(states[-1, watched, 0] * jnp.array([1.0, 1.0, 0.01, 10.0]))

    return value


def test_every_knob_has_its_exact_gradient(asked, outcome):
    n, k = len(asked.schedule.order), len(PARAMETERS)
    at = np.concatenate([np.ones(k + n), np.zeros(n), [1.0, 0.0, 0.0]])
    drugs = np.array([asked.schedule.orders[i].drug for i in asked.schedule.order])
    given = asked.schedule.amount > 0
    rows = [np.flatnonzero((drugs == drug) & given)[0] for drug in ("prednisolone", "tacrolimus", "rituximab")]
    doses, times = [k + row for row in rows], [k + n + row for row in rows[1:]]
    chosen = np.array([*range(k), *doses, *times, *range(k + 2 * n, len(at))])

    def some(values):
        return outcome(jnp.asarray(at).at[chosen].set(values))

    found = gradcheck(some, at[chosen], step=1e-4)
    np.testing.assert_allclose(found.forward, found.reverse, rtol=1e-8, atol=1e-11)
    # central differences of step 1e-4 err by about 1e-8 of the value; small entries count against the largest
    np.testing.assert_allclose(found.reverse, found.differences, rtol=2e-5, atol=1e-7 * np.abs(found.differences).max())
    assert np.all(np.abs(found.reverse) > 1e-9), "every knob matters"
