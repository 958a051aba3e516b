"""Ensembles: the same children in every draw, draws in place of population values, members who stay who they are."""

import numpy as np
import pytest

from ipex_pd.errors import RecordError, UnknownKeyError, UsageError
from ipex_pd.planning.ensemble import ensemble_from, ensemble_of
from ipex_pd.records.draws import ParameterDraws
from ipex_pd.records.library import load_drug, load_regimen
from ipex_pd.records.patients import Patient
from ipex_pd.records.plan_parts import PlanEnsemble
from ipex_pd.simulation.population import virtual_population
from ipex_pd.simulation.simulation import simulate
from ipex_pd.simulation.variability import individual

ASSUMED = {"assumed": "a test"}
CLEARANCE = load_drug("tacrolimus").parameter_set()["clearance"]


def newborn(**fields) -> Patient:
    stated = {
        "name": "newborn",
        "description": "a boy",
        "sex": "male",
        "age": {"value": "0 day", "source": ASSUMED},
        "foxp3": {"value": "missense", "source": ASSUMED},
        "weight_z": {"value": 0.0, "source": ASSUMED},
    }
    return Patient.model_validate(stated | fields)


def draws_of(**columns) -> ParameterDraws:
    names = tuple(name.replace("__", ".") for name in columns)
    values = np.stack([np.asarray(v, float) for v in columns.values()], axis=1)
    return ParameterDraws(names, values, np.arange(1.0, len(values) + 1), "covariance")


DOUBTFUL = next(p for p in load_drug("prednisolone").parameter_set().parameters if p.uncertainty is not None)


def doubted(population):
    """Values of a parameter that states an uncertainty."""
    return population.values(DOUBTFUL, f"prednisolone.{DOUBTFUL.name}")


@pytest.fixture(scope="module")
def crossed():
    return ensemble_of(newborn(), children=4, draws=3, seed=7)


def test_the_same_children_live_in_every_draw(crossed):
    assert (len(crossed), crossed.draws, crossed.children) == (12, 3, 4)
    assert len(set(crossed.population.labels)) == 12
    children = virtual_population(newborn(), 4, seed=7)
    effects = crossed.population.eta("tacrolimus.clearance").reshape(3, 4)
    assert np.array_equal(effects, np.tile(children.eta("tacrolimus.clearance"), (3, 1)))
    assert crossed.population.patients == children.patients * 3
    values = doubted(crossed.population).reshape(3, 4)
    assert np.unique(values[:, 0]).size == 3, "every draw has a value of its own"
    plain = crossed.population.pick(range(4))
    assert np.array_equal(doubted(plain), values[0])


def test_nothing_of_a_member_depends_on_the_others(crossed):
    larger = ensemble_of(newborn(), children=4, draws=5, seed=7)
    assert np.array_equal(doubted(larger.population)[:12], doubted(crossed.population))
    picked = crossed.pick([11, 2])
    assert np.array_equal(doubted(picked.population), doubted(crossed.population)[[11, 2]])
    assert picked.population.labels == tuple(crossed.population.labels[i] for i in (11, 2))
    assert picked.weights.tolist() == [0.5, 0.5]
    with pytest.raises(UsageError, match="holds a patient twice"):
        crossed.pick([1, 1])


def test_draws_replace_population_values_under_the_childs_own_effects():
    own = draws_of(tacrolimus__clearance=[10.0, 20.0, 30.0], effector_loss=[0.1, 0.2, 0.3])
    found = ensemble_of(newborn(), children=5, draws=own, seed=3)
    np.testing.assert_allclose(found.weights, np.repeat([1, 2, 3], 5) / 30)
    eta = virtual_population(newborn(), 5, seed=3).eta("tacrolimus.clearance")
    for draw, value in enumerate([10.0, 20.0, 30.0]):
        got = found.population.values(CLEARANCE, "tacrolimus.clearance")[found.draw == draw]
        np.testing.assert_allclose(got, individual(CLEARANCE, eta, value), rtol=1e-14)
    alone = ensemble_of(newborn(), draws=own)
    np.testing.assert_array_equal(alone.population.values(CLEARANCE, "tacrolimus.clearance"), [10.0, 20.0, 30.0])
    assert alone.effective == pytest.approx(36 / 14)
    assert "parameter draws (covariance)" in alone.in_words()[-1]


def test_draws_reach_the_arrays_that_are_solved():
    own = draws_of(tacrolimus__clearance=[10.0, 20.0], effector_loss=[0.1, 0.2], residual_function=[0.05, 0.4])
    stated = newborn(residual_function={"value": 0.2, "source": ASSUMED})
    asked = ensemble_of(stated, draws=own).study(load_regimen("prednisolone_tacrolimus"), np.array([0.0, 1.0]))
    ratio = asked.theta["tacrolimus.clearance"]
    assert ratio[1] / ratio[0] == pytest.approx(2.0)
    np.testing.assert_allclose(asked.theta["effector_loss"], [0.1, 0.2])
    np.testing.assert_allclose(asked.theta["residual_function"], [0.05, 0.4])


def test_simulate_takes_the_members(crossed):
    sim = simulate(crossed.population.pick([0, 4, 9]), load_regimen("prednisolone"), output_times=[0.0, 7.0])
    assert sim.patients == tuple(crossed.population.labels[i] for i in (0, 4, 9))
    assert np.isfinite(sim["survival"]).all()
    assert np.unique(sim["auc_prednisolone"][:, -1]).size == 3, "child 0 in two draws, and another child"


def test_members_are_weighed_anew_and_averaged_by_draw(crossed):
    weights = np.arange(12.0)
    heavy = crossed.reweighted(weights)
    np.testing.assert_allclose(heavy.weights, weights / weights.sum())
    assert heavy.population is crossed.population
    values = np.arange(12.0)
    np.testing.assert_allclose(crossed.over_draws(values), [1.5, 5.5, 9.5])
    for bad in (-np.ones(12), np.zeros(12), np.full(12, np.nan)):
        with pytest.raises(UsageError, match="a weight is negative or not finite, or all are zero"):
            crossed.reweighted(bad)


def test_an_ensemble_as_a_plan_asks_for_it(tmp_path):
    file = tmp_path / "draws.json"
    draws_of(effector_loss=[0.12, 0.16, 0.2, 0.24]).save(file)
    some = ensemble_from(newborn(), PlanEnsemble(children=2, draws=3, file=str(file), seed=4))
    assert (some.draws, some.children) == (3, 2)
    assert set(some.population.typical["effector_loss"]) <= {0.12, 0.16, 0.2, 0.24}
    every = ensemble_from(newborn(), PlanEnsemble(children=2, file=str(file), seed=4))
    np.testing.assert_allclose(every.weights, np.repeat([0.1, 0.2, 0.3, 0.4], 2) / 2)
    plain = ensemble_from(newborn(), PlanEnsemble(children=2, draws=3, seed=4))
    assert (plain.kind, len(plain)) == ("uncertainty", 6)
    group = ensemble_from(
        virtual_population(newborn(), 3, seed=1, uncertainty=True), PlanEnsemble(children=9, draws=9, seed=4)
    )
    assert (group.kind, len(group)) == ("population", 3)


def test_what_is_no_parameter_is_refused():
    with pytest.raises(
        UnknownKeyError, match=r"`tacrolimus\.clearence` is not a parameter.*Nearest: `tacrolimus\.clearance`"
    ):
        ensemble_of(newborn(), draws=draws_of(tacrolimus__clearence=[1.0, 2.0]))
    with pytest.raises(UnknownKeyError, match="Nearest: `effector_loss`"):
        ensemble_of(newborn(), draws=draws_of(efector_loss=[1.0, 2.0]))
    with pytest.raises(UnknownKeyError, match="is a variance between children"):
        ensemble_of(newborn(), draws=ParameterDraws(("omega(eta_cl)",), np.ones((2, 1)), np.ones(2), "covariance"))
    with pytest.raises(RecordError, match=r"in draw 1\..*Its bounds are"):
        ensemble_of(newborn(), draws=draws_of(residual_function=[0.5, 1.5]))
    with pytest.raises(UsageError, match="Uncertainty enters once"):
        ensemble_of(virtual_population(newborn(), 3, seed=1, uncertainty=True), draws=5)
    with pytest.raises(UsageError, match="Virtual children are drawn around one child"):
        ensemble_of(virtual_population(newborn(), 3, seed=1), children=5)
