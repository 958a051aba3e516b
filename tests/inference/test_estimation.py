import json
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pytest
from nonmem_problems import Case, Formula, wang
from toy_groups import SIMPLE, THETAS, censored, decay, toy

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.inference.estimation import fit, objective_for
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import OmegaBlock, Population, Prior, Theta

SUBJECTS = 24


@dataclass(frozen=True)
class Toy:
    """A bound problem without data files."""

    population: Population
    groups: tuple


@dataclass(frozen=True)
class Breaking(Formula):
    """A predictor whose third subject has no prediction where k is above an edge."""

    edge: float = 1.0

    def __call__(self, inputs, theta, eta):
        said = super().__call__(inputs, theta, eta)
        lost = (inputs["who"] == 2) & (theta[:, 0] > self.edge)
        return said._replace(mean=jnp.where(lost[:, None], jnp.nan, said.mean))


@pytest.fixture(scope="module")
def problem():
    return Toy(SIMPLE, (toy(SUBJECTS, etas=2),))


@pytest.fixture(scope="module")
def found(problem):
    return fit(problem, "foce", FitOptions(restarts=1))


def test_a_fit_ends_at_a_minimum_that_is_found_again(found):
    assert found.found.converged
    assert found.found.outcome == "the gradient is zero"
    assert np.abs(found.found.at.gradient).max() < 1e-3
    assert abs(found.found.restarts[0] - found.value) < 1e-3
    assert found.value <= min(found.trace)
    assert found.found.path_difference < 1e-8


def test_no_direction_leads_down(problem, found):
    objective = objective_for(SIMPLE, problem, "foce")
    for unit in np.eye(len(found.w)):
        for step in (-0.02, 0.02):
            assert objective.at(found.w + step * unit).value > found.value


def test_the_parameter_table(found):
    table = found.parameters.set_index("parameter")
    assert list(table.index) == list(SIMPLE.names)
    row = table.loc["k"]
    assert row.estimate == pytest.approx(found.parameter_values["k"])
    assert row.rse_percent == pytest.approx(100 * row.se / row.estimate)
    assert row.low == pytest.approx(row.estimate - 1.959964 * row.se, rel=1e-6)
    assert 0 < table.loc["b"].low < table.loc["b"].estimate < table.loc["b"].high < 1
    omega = table.loc["omega(eta_k)"]
    assert omega.cv_percent == pytest.approx(100 * np.sqrt(np.expm1(omega.estimate)))
    assert omega.low * omega.high == pytest.approx(omega.estimate**2)
    shrinkage = 100 * (1 - found.etas.eta_k.std(ddof=1) / np.sqrt(omega.estimate))
    assert omega.shrinkage_percent == pytest.approx(shrinkage)


def test_other_tables_and_words(found):
    assert len(found.individuals) == SUBJECTS
    assert found.individuals.objective.sum() == pytest.approx(found.value)
    records = found.sdtab
    assert len(records) == SUBJECTS * 6
    np.testing.assert_allclose(records.DV - records.IPRED, records.IRES)
    assert found.shrinkage.name.tolist() == ["eta_k", "eta_a", "eps"]
    told = json.loads(found.to_json())
    assert told["objective"] == found.value
    assert told["parameters"][0]["parameter"] == "k"
    words = str(found)
    assert "FOCE" in words.splitlines()[0]
    assert "verdict:" in words.splitlines()[-1]


def test_fixed_values_stay(problem):
    thetas = tuple(replace(t, fixed=True) if t.name != "k" else t for t in THETAS)
    fixed = replace(problem, population=Population(thetas, (replace(SIMPLE.blocks[0], fixed=True),)))
    found = fit(fixed, "foce", FitOptions(restarts=0))
    np.testing.assert_array_equal(found.w[1:], SIMPLE.start[1:])
    assert found.w[0] != SIMPLE.start[0]
    assert "FIX" in str(found)
    assert found.covariance.names == ("k",)


def test_map_moves_nothing_and_knows_everybody(problem):
    found = fit(problem, "map")
    np.testing.assert_array_equal(found.w, SIMPLE.start)
    assert found.found.outcome == "nothing to estimate"
    assert found.etas.eta_k.abs().min() > 0
    assert not found.covariance.done


def test_pooled_has_no_random_effects(problem):
    found = fit(problem, "pooled", FitOptions(restarts=0))
    assert np.abs(found.who.eta).max() == 0
    assert found.parameter_values["omega(eta_k)"] == 0


def test_a_tight_prior_holds_its_parameter(problem):
    thetas = (Theta("k", 0.3, 0.0, prior=Prior("normal", 0.45, 1e-4)), *THETAS[1:])
    informed = replace(problem, population=Population(thetas, SIMPLE.blocks))
    found = fit(informed, "foce", FitOptions(restarts=0))
    assert found.parameter_values["k"] == pytest.approx(0.45, abs=1e-3)
    assert found.covariance.kind == "r"
    with pytest.raises(UsageError, match="covariance `sandwich` does not know priors"):
        fit(informed, "foce", FitOptions(restarts=0, covariance="sandwich"))


def test_an_interrupt_keeps_the_best(problem):
    def stop(stage):
        if stage.iteration == 2:
            raise KeyboardInterrupt

    found = fit(problem, "foce", progress=stop)
    assert found.found.interrupted
    assert found.value < found.found.trace[0]
    assert found.verdict.level == "do not trust"
    assert len(found.individuals) == SUBJECTS


def test_a_start_without_a_likelihood_names_the_subjects(problem):
    group = problem.groups[0]
    y = group.y.copy()
    y[[5, 9, 11], 2] = np.nan
    with pytest.raises(SimulationError) as caught:
        fit(replace(problem, groups=(replace(group, y=y),)), "foce")
    assert str(caught.value) == (
        "subjects 6, 10, 12: the objective is not finite for 3 of 24 subjects at the start values. A search starts "
        "where nine of ten subjects have a likelihood; fewer than that are set aside and told. Move the start values, "
        "or look at these subjects' data."
    )


def test_a_subject_without_a_likelihood_is_set_aside_and_told(problem):
    """The rest is what a fit without this subject finds."""
    group = problem.groups[0]
    y = group.y.copy()
    y[5, 2] = np.nan
    found = fit(replace(problem, groups=(replace(group, y=y),)), "foce", FitOptions(restarts=0))
    mask = group.mask.copy()
    mask[5] = False
    others = fit(replace(problem, groups=(replace(group, mask=mask),)), "foce", FitOptions(restarts=0))
    assert found.failed == (6,)
    assert found.value == pytest.approx(others.value, abs=1e-6)
    np.testing.assert_allclose(found.estimates, others.estimates, rtol=1e-5)
    assert found.verdict.level == "do not trust"
    assert "subject 6 had no finite likelihood and was set aside: the estimates are those of the rest" in str(found)
    assert found.individuals.objective.isna().tolist() == [i == 5 for i in range(SUBJECTS)]
    assert found.individuals.eta_k.isna().sum() == 1
    assert found.shrinkage.sd_percent.notna().all()
    assert json.loads(found.to_json())["failed"] == ["6"]


def test_a_subject_that_only_fails_at_the_start_comes_back(problem, found):
    """Subject 3 has no likelihood at the start, and has one where the search ends."""
    group = problem.groups[0]
    start = SIMPLE.start.copy()
    edge = float(found.parameter_values["k"]) * 1.05
    start[0] = np.log(edge * 1.2)
    broken = replace(group, predictor=Breaking(decay, edge), inputs=group.inputs | {"who": np.arange(SUBJECTS)})
    again = fit(replace(problem, groups=(broken,)), "foce", FitOptions(restarts=0), start=start)
    assert again.failed == ()
    assert again.value == pytest.approx(found.value, abs=1e-5)
    assert dict(again.found.barriers)[2] > 0


def test_refusals(problem):
    with pytest.raises(UsageError, match=r"`focus` is not a method of fit. Nearest: `foce`"):
        fit(problem, "focus")
    with pytest.raises(UsageError, match="`foce` cannot honour censored records"):
        fit(replace(problem, groups=(censored(),)), "foce")
    with pytest.raises(UsageError, match="restarts = 3: `map` has no option `restarts`"):
        fit(problem, "map", FitOptions(restarts=3))
    with pytest.raises(UsageError, match="`sandwitch` is not a choice of `covariance`"):
        FitOptions(covariance="sandwitch")
    with pytest.raises(UsageError, match="`spread` is 0"):
        FitOptions(spread=0.0)


def test_a_variance_without_information_goes_to_zero_and_is_told():
    """Wang's subjects with a second, idle random effect."""
    case = wang("add")
    thetas = tuple(replace(t, fixed=t.name == "ke") for t in case.population.thetas)
    blocks = (*case.population.blocks, OmegaBlock(("idle",), ((0.1,),)))
    group = replace(case.groups[0], eta_mask=np.ones((10, 2), bool))
    found = fit(Case(Population(thetas, blocks), (group,)), "foce", FitOptions(restarts=0))
    assert found.verdict.level != "trust"
    assert found.covariance.outcome != "done"
    assert np.isfinite(found.value)
