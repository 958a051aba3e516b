"""Expanded predictions give what the model itself gives: objective, gradient, modes, and what is said of subjects."""

import itertools
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy_groups import SIMPLE, toy

import ipex_pd as ipx
from ipex_pd.errors import UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.estimation import fit, objective_for
from ipex_pd.inference.expansion import Expanded, Expander
from ipex_pd.inference.expansion_objective import ExpandedObjective
from ipex_pd.inference.expansion_splits import splits_of
from ipex_pd.inference.expansion_stencil import stencil
from ipex_pd.inference.individuals import describe
from ipex_pd.inference.options import FitOptions
from ipex_pd.records.problems import EstimationProblem

TIMES = (0.5, 2.0, 6.0, 12.0, 24.0)
SATURABLE = {
    "name": "saturable",
    "description": "A small study of saturable elimination.",
    "model": "one_compartment_michaelis_menten",
    "parameters": {
        "vmax_pop": {"start": 7, "scale": "log"},
        "km": {"start": 2.0, "scale": "log"},
        "v_pop": {"start": 30, "scale": "log"},
        "prop": {"start": 0.15, "lower": 0},
        "add": {"start": 0.2, "lower": 0},
    },
    "random_effects": {
        "between_subject": {"eta_vmax": {"variance": 0.1}, "eta_v": {"variance": 0.05}},
    },
    "individual": {
        "size": "WT / 70",
        "vmax": "vmax_pop * size ** 0.75 * exp(eta_vmax)",
        "volume_central": "v_pop * size * exp(eta_v)",
    },
    "endpoints": {
        "drug": {
            "prediction": "concentration",
            "error": {"model": "combined2", "proportional": "prop", "additive": "add"},
        }
    },
}


def study(folder, growing=False):
    """Six subjects of a saturable drug, made by hand; with `growing` their weights change from record to record."""
    random = np.random.default_rng(3)
    rows = ["ID,TIME,AMT,DV,WT"]
    for subject in range(1, 7):
        weight, dose = 50 + 8 * subject, 150 * (1 + subject % 3)
        rows.append(f"{subject},0,{dose},.,{weight}")
        level = dose / (0.4 * weight)
        for k, time in enumerate(TIMES):
            level *= np.exp(-0.02 * time)
            seen = weight + 3 * k if growing else weight
            rows.append(f"{subject},{time:g},.,{level * np.exp(0.15 * random.standard_normal()):.4g},{seen}")
    (folder / "study.csv").write_text("\n".join(rows) + "\n")
    data = {**SATURABLE, "folder": str(folder), "data": {"file": "study.csv", "covariates": ["WT"]}}
    return bind(EstimationProblem.model_validate(data))


@pytest.fixture(scope="module")
def theophylline():
    return bind(ipx.load_problem("theophylline"))


@pytest.fixture(scope="module")
def saturable(tmp_path_factory):
    return study(tmp_path_factory.mktemp("saturable"))


@pytest.fixture(scope="module")
def growing(tmp_path_factory):
    return study(tmp_path_factory.mktemp("growing"), growing=True)


def same(direct, expanded, w, modes=None):
    one, other = direct.at(w, modes), expanded.at(w, modes)
    assert one.found.all()
    assert other.found.all()
    np.testing.assert_allclose(other.values, one.values, atol=1e-8)
    np.testing.assert_allclose(other.gradients, one.gradients, atol=1e-6)
    for mine, its in zip(other.modes, one.modes, strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-8)
    return one, other


@pytest.mark.parametrize(
    ("name", "method"),
    [
        *(("theophylline", method) for method in ("pooled", "fo", "focei")),
        pytest.param("saturable", "foce", marks=pytest.mark.slow),
        ("saturable", "focei"),
    ],
)
def test_objective_and_gradient_are_those_of_the_model(request, name, method):
    bound = request.getfixturevalue(name)
    w = bound.population.start
    direct = objective_for(bound.population, bound, method)
    expanded = objective_for(bound.population, bound, method, expansion=True)
    assert isinstance(expanded, ExpandedObjective)
    _, there = same(direct, expanded, w)
    moved = w + 0.15 * np.cos(np.arange(len(w)))
    same(direct, expanded, moved, there.modes)


def test_values_that_change_within_a_subject_are_split_further(growing):
    (split,) = set(splits_of(tuple(growing.groups)))
    assert {q.name for q in split.quantities} == {"eta_v", "eta_vmax", "km", "v_pop", "vmax_pop"}
    w = growing.population.start
    same(
        objective_for(growing.population, growing, "focei"),
        objective_for(growing.population, growing, "focei", expansion=True),
        w,
    )


def test_few_quantities_where_values_stand_still(saturable):
    (split,) = set(splits_of(tuple(saturable.groups)))
    assert [q.name for q in split.quantities] == ["km", "vmax", "volume_central"]


@pytest.mark.parametrize("method", ["fo", "focei"])
def test_what_is_said_of_subjects_is_the_same(theophylline, method):
    w = theophylline.population.start
    direct = objective_for(theophylline.population, theophylline, method)
    expanded = objective_for(theophylline.population, theophylline, method, expansion=True)
    at = direct.at(w)
    one, other = describe(direct, w, at.modes), describe(expanded, w, at.modes)
    np.testing.assert_allclose(other.eta, one.eta, atol=1e-8)
    np.testing.assert_allclose(other.covariance, one.covariance, atol=1e-8)
    for mine, its in zip(other.tables, one.tables, strict=True):
        for column in its:
            np.testing.assert_allclose(mine[column], its[column], atol=1e-6, err_msg=column)


def test_a_fit_ends_where_the_direct_one_does(theophylline):
    options = FitOptions(restarts=0)
    one = fit(theophylline, "focei", replace(options, expansion=False))
    other = fit(theophylline, "focei", replace(options, expansion=True))
    assert other.found.converged
    assert other.value == pytest.approx(one.value, abs=1e-6)
    np.testing.assert_allclose(other.w, one.w, atol=1e-5)
    # R is taken before the last Newton step, which is not the same after a rough search
    np.testing.assert_allclose(other.covariance.standard_errors, one.covariance.standard_errors, rtol=1e-2)


def test_hessian_from_one_expansion_is_that_of_the_model(saturable):
    w, free = saturable.population.start, np.arange(7)
    direct = objective_for(saturable.population, saturable, "foce")
    expanded = objective_for(saturable.population, saturable, "foce", expansion=True)
    steps = np.full(7, 2e-4)
    one, other = (o.hessian(w, o.at(w), steps, free) for o in (direct, expanded))
    np.testing.assert_allclose(other, one, rtol=1e-4, atol=1e-4 * np.abs(one).max())


def test_modes_do_not_depend_on_where_they_are_searched_from(theophylline):
    w = theophylline.population.start
    expanded = objective_for(theophylline.population, theophylline, "focei", expansion=True)
    cold = expanded.at(w)
    far = expanded.at(w, tuple(np.full_like(z, 1.5) for z in cold.modes))
    assert far.found.all()
    assert far.value == pytest.approx(cold.value, abs=1e-9)
    np.testing.assert_allclose(far.gradient, cold.gradient, atol=1e-6)


def test_differenced_second_derivatives_are_close_to_exact_ones(saturable):
    group = jax.tree.map(jnp.asarray, saturable.groups[0])
    split = splits_of((group,))[0]

    class Differenced(type(split)):
        differenced = True

    exact, near = Expander(group, split), Expander(group, Differenced(split.predictor, split.quantities))
    rows = len(group.y)
    psi = np.tile([2.0, 7.0, 30.0], (rows, 1))
    everyone = np.ones(rows, bool)
    one, other = (e.second(e.nothing(psi), psi, everyone) for e in (exact, near))
    assert np.abs(one.bend).max() > 1e-3
    # central second differences with steps of 3e-4: of the square of the step, and rounding over it, is left
    np.testing.assert_allclose(other.bend, one.bend, rtol=1e-6, atol=2e-6 * np.abs(one.bend).max())
    np.testing.assert_allclose(other.slope, one.slope, rtol=1e-6, atol=1e-6 * np.abs(one.slope).max())
    later, again = (e.first(known, 1.0001 * psi, everyone) for e, known in ((exact, one), (near, other)))
    # one-sided ones with steps of 1e-4, mended by the second derivatives
    np.testing.assert_allclose(again.slope, later.slope, rtol=1e-6, atol=1e-6 * np.abs(later.slope).max())


def test_rows_are_evaluated_by_effort_and_told_in_their_order(saturable):
    group = jax.tree.map(jnp.asarray, saturable.groups[0])
    split = splits_of((group,))[0]

    class Uneven(type(split)):
        differenced = True

        def effort(self, inputs):
            return np.array([3.0, 1.0, 2.0, 0.0, 5.0, 4.0])

    plain = Expander(group, split)
    sorted_by_effort = Expander(group, Uneven(split.predictor, split.quantities))
    psi = np.array([2.0, 7.0, 30.0]) * (1.0 + 0.05 * np.arange(6)[:, None])
    everyone = np.ones(6, bool)
    one, other = (e.first(e.nothing(psi), psi, everyone) for e in (plain, sorted_by_effort))
    np.testing.assert_allclose(other.f, one.f, rtol=1e-12)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_stencils_are_exact_for_polynomials_of_their_order(size):
    random = np.random.default_rng(size)
    f, slope = 0.7, random.normal(size=size)
    bend, twist = random.normal(size=(size, size)), random.normal(size=(size, size, size))
    bend = bend + bend.T
    twist = sum(np.transpose(twist, axes) for axes in itertools.permutations(range(3)))
    steps = np.exp(random.normal(size=(1, size)))
    for order in (1, 2, 3):
        parts = [f, slope, bend, twist][: order + 1]
        rule = stencil(size, order)
        values = [polynomial(parts, point * steps[0]) for point in rule.points]
        found = rule.derivatives(np.array(values)[:, None, None], steps)
        for own, expected in zip(found, parts, strict=True):
            np.testing.assert_allclose(own[0, 0], expected, atol=1e-11 * 10**order)


def polynomial(parts, x):
    letters, total = "ijk", 0.0
    for order, tensor in enumerate(parts):
        axes = letters[:order]
        scaled = np.einsum(",".join([axes, *axes]) + "->", tensor, *[x] * order)
        total += scaled / math.factorial(order)
    return total


def test_only_subjects_that_are_asked_for_are_expanded_anew(saturable):
    group = jax.tree.map(jnp.asarray, saturable.groups[0])
    expander = Expander(group, splits_of((group,))[0])
    psi = np.tile([2.0, 40.0, 30.0], (len(group.y), 1))
    everyone = np.ones(len(psi), bool)
    first = expander.second(expander.nothing(psi), psi, everyone)
    some = np.arange(len(psi)) == 2
    moved = expander.first(first, 1.1 * psi, some)
    for before, after in zip(first[:3], moved[:3], strict=True):
        np.testing.assert_array_equal(after[~some], before[~some])
        assert (after[some] != before[some]).any()
    np.testing.assert_array_equal(moved.bend, first.bend)


def test_an_expansion_is_the_model_to_second_order(saturable):
    group = jax.tree.map(jnp.asarray, saturable.groups[0])
    expander = Expander(group, splits_of((group,))[0])
    theta = jnp.broadcast_to(saturable.population.layout.theta(jnp.asarray(saturable.population.start)), (6, 5))
    eta = jnp.zeros((6, 2))
    psi = expander.psi(theta, eta)
    expanded = expander.expanded(expander.second(expander.nothing(psi), psi, np.ones(6, bool)))
    assert isinstance(expanded.predictor, Expanded)
    mask = np.asarray(group.mask)
    errors = []
    for size in (1e-2, 2e-2):
        away = [np.asarray(g.predict(theta, eta + size).mean) for g in (group, expanded)]
        errors.append(np.abs(away[0] - away[1])[mask].max())
    assert errors[0] > 0
    assert errors[1] / errors[0] == pytest.approx(8.0, rel=0.1)


@pytest.mark.parametrize("method", ["laplace", "agq"])
def test_methods_of_third_derivatives_are_refused_by_name(theophylline, method):
    with pytest.raises(UsageError, match=method) as told:
        objective_for(theophylline.population, theophylline, method, 3, expansion=True)
    assert told.value.code == "expansion.method"


def test_what_cannot_be_expanded_is_refused():
    bound = type("Bound", (), {"population": SIMPLE, "groups": (toy(6, etas=2),)})()
    with pytest.raises(UsageError) as told:
        objective_for(SIMPLE, bound, "focei", expansion=True)
    assert told.value.code == "expansion.predictor"
    with pytest.raises(UsageError, match="expansion"):
        FitOptions(expansion=True).require_for("saem")


def test_unasked_only_costly_predictions_are_expanded(theophylline):
    assert not isinstance(objective_for(theophylline.population, theophylline, "focei"), ExpandedObjective)
