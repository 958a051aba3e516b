"""Expected information: closed forms, finite differences, Monte Carlo, and what is said of what a study cannot tell."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from hand_groups import Bound, group_of

from ipex_pd.errors import IpexError, RecordError, UsageError
from ipex_pd.inference.binding import bind
from ipex_pd.inference.design import DesignOptions, fisher_information
from ipex_pd.inference.planned import plan_study
from ipex_pd.inference.population import OmegaBlock, Population, Prior, Theta
from ipex_pd.records.library import load_problem
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

TIMES = np.array([0.0, 1.0, 2.0, 4.0])


def line(inputs, theta, eta):
    """A random intercept and slope; theta: intercept, slope, residual variance."""
    mean = (theta[:, 0] + eta[:, 0])[:, None] + (theta[:, 1] + eta[:, 1])[:, None] * inputs
    return mean, theta[:, 2:3]


def linear(subjects=6, thetas=None, function=line, times=TIMES):
    thetas = thetas or (Theta("a", 2.0), Theta("b", -0.5), Theta("s", 0.3, lower=0.0, scale="log", role="residual"))
    block = OmegaBlock(("ea", "eb"), ((0.5, 0.1), (0.1, 0.2)))
    inputs = jnp.asarray(np.tile(times, (subjects, 1)))
    return Bound(Population(thetas, (block,)), (group_of(function, np.zeros(inputs.shape), inputs, 2),))


def by_hand(values, subjects, times=TIMES):
    """The exact information of the linear model about a, b, s, and the covariance's three entries."""
    _, _, s, aa, ab, bb = values
    x = np.stack([np.ones_like(times), times], 1)
    inverse = np.linalg.inv(x @ np.array([[aa, ab], [ab, bb]]) @ x.T + s * np.eye(len(times)))
    turns = [np.outer(x[:, 0], x[:, 0]), np.outer(x[:, 0], x[:, 1]) + np.outer(x[:, 1], x[:, 0])]
    slopes = [np.eye(len(times)), *turns, np.outer(x[:, 1], x[:, 1])]
    whole = np.zeros((6, 6))
    whole[:2, :2] = x.T @ inverse @ x
    for i, one in enumerate(slopes):
        for j, other in enumerate(slopes):
            whole[2 + i, 2 + j] = 0.5 * np.trace(inverse @ one @ inverse @ other)
    return subjects * whole


VALUES = (2.0, -0.5, 0.3, 0.5, 0.1, 0.2)


@pytest.mark.parametrize("kind", ["reduced", "blocks", "full"])
def test_a_linear_model_has_the_closed_form_by_every_kind(kind):
    found = fisher_information(linear(), kind)
    np.testing.assert_allclose(found.matrix, by_hand(VALUES, 6), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(np.diag(np.linalg.inv(by_hand(VALUES, 6)))), rtol=1e-9)


def test_monte_carlo_agrees_with_the_closed_form_within_its_error():
    options = DesignOptions(studies=300, seed=4)
    found = fisher_information(linear(subjects=20), method="monte_carlo", options=options)
    exact = np.sqrt(np.diag(np.linalg.inv(by_hand(VALUES, 20))))
    errors = found.monte_carlo_errors
    assert (errors < 0.03).all()
    assert (np.abs(np.log(found.standard_errors / exact)) < 3.5 * errors).all()
    assert (np.abs(np.log(found.standard_errors / exact)) > 0).all()


def curved(inputs, theta, eta):
    """Decay with a proportional error: typical values and variances inform of each other."""
    mean = jnp.exp(theta[:, 0] + eta[:, 0])[:, None] * jnp.exp(-jnp.exp(theta[:, 1] + eta[:, 1])[:, None] * inputs)
    return mean, theta[:, 2:3] * mean**2


def test_the_full_information_against_finite_differences():
    bound = linear(subjects=1, function=curved)
    names = ("a", "b", "s", "aa", "ab", "bb")

    def moments(v):
        a, b, s, aa, ab, bb = v
        mean = np.exp(a) * np.exp(-np.exp(b) * TIMES)
        slopes = np.stack([mean, -mean * np.exp(b) * TIMES], 1)
        return mean, slopes @ np.array([[aa, ab], [ab, bb]]) @ slopes.T + np.diag(s * mean**2)

    values, whole = np.array(VALUES), np.zeros((6, 6))
    inverse = np.linalg.inv(moments(values)[1])
    steps = 1e-5 * np.eye(6)
    slopes = [[(u - d) / 2e-5 for u, d in zip(moments(values + h), moments(values - h), strict=True)] for h in steps]
    for i in range(len(names)):
        for j in range(len(names)):
            trace = np.trace(inverse @ slopes[i][1] @ inverse @ slopes[j][1])
            whole[i, j] = slopes[i][0] @ inverse @ slopes[j][0] + 0.5 * trace
    np.testing.assert_allclose(fisher_information(bound, "full").matrix, whole, rtol=1e-7, atol=1e-7)
    assert abs(whole[0, 2]) > 1.0
    assert fisher_information(bound, "blocks").matrix[0, 2] == 0.0


def test_what_to_expect_of_theophylline():
    """Of the absorption rate the linearised full matrix promises half the error that Monte Carlo and fits find."""
    problem = load_problem("theophylline")
    bound, at = bind(problem), {"tka": 0.464, "tcl": 1.012, "tv": 3.46, "omega(eta_ka)": 0.4, "omega(eta_cl)": 0.07}
    at["omega(eta_v)"] = 0.019
    sampled = fisher_information(bound, method="monte_carlo", at=at, options=DesignOptions(studies=100))
    reduced, full = (fisher_information(bound, kind, at=at) for kind in ("reduced", "full"))
    np.testing.assert_allclose(reduced.standard_errors, sampled.standard_errors, rtol=0.15)
    assert full.standard_errors[0] < 0.6 * sampled.standard_errors[0]
    assert {"se_error_percent"} <= set(sampled.table)


def test_values_other_than_the_start_and_unknown_ones():
    at = {"a": 1.0, "s": 0.6, "omega(ea)": 0.9, "omega(eb,ea)": 0.2}
    found = fisher_information(linear(), at=at)
    assert (found.kind, found.method) == ("reduced", "fo")
    np.testing.assert_allclose(found.matrix, by_hand((1.0, -0.5, 0.6, 0.9, 0.2, 0.2), 6), rtol=1e-10, atol=1e-12)
    with pytest.raises(UsageError, match=r"`omega\(e\)` is not a parameter. Nearest"):
        fisher_information(linear(), at={"omega(e)": 1.0})


def test_more_subjects_and_how_many_are_needed():
    found = fisher_information(linear())
    wider = found.for_subjects(24)
    np.testing.assert_allclose(wider.standard_errors, found.standard_errors / 2, rtol=1e-12)
    assert wider.minus_log_det == pytest.approx(found.minus_log_det - 6 * np.log(4), abs=1e-9)
    table = found.table.set_index("parameter")
    needed = int(table.loc["b", "subjects_needed"])
    limit = table.loc["b", "limit_percent"]
    assert found.for_subjects(needed).rse_percent[1] <= limit < found.for_subjects(needed - 1).rse_percent[1]
    assert not table.loc["b", "informed"]


def test_a_study_that_cannot_tell_two_values_apart():
    def sum_only(inputs, theta, eta):
        return (theta[:, 0] + theta[:, 1] + eta[:, 0])[:, None] + (1 + eta[:, 1])[:, None] * inputs, theta[:, 2:3]

    found = fisher_information(linear(function=sum_only))
    assert found.rank == 5
    assert found.minus_log_det == np.inf
    assert np.isinf(found.standard_errors[:2]).all()
    assert np.isfinite(found.standard_errors[2:]).all()
    assert "tells nothing of it" in found.weakest(1)[0]
    assert "a" in found.weakest(1)[0]
    assert "b" in found.weakest(1)[0]
    assert "tells nothing of it" in str(found)


def test_a_prior_of_a_typical_value_counts():
    thetas = (
        Theta("a", 2.0, prior=Prior("normal", 2.0, 0.1)),
        Theta("b", 0.5, lower=0.0, scale="log", prior=Prior("log_normal", 0.0, 0.2)),
        Theta("s", 0.3, lower=0.0, scale="log", role="residual"),
    )
    added = fisher_information(linear(thetas=thetas)).matrix - by_hand((2.0, 0.5, 0.3, 0.5, 0.1, 0.2), 6)
    np.testing.assert_allclose(np.diag(added)[:3], [100.0, 100.0, 0.0], atol=1e-9)


def test_log_scale_values_are_told_as_log_normal():
    found = fisher_information(linear())
    relative = found.standard_errors[2] / 0.3
    assert found.rse_percent[2] == pytest.approx(100 * np.sqrt(np.exp(relative**2) - 1))


def study(folder, table, **changes):
    (folder / "plan.csv").write_text("\n".join(table) + "\n", encoding="utf-8")
    problem = load_problem("theophylline")
    data = problem.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude={"folder"})
    data["data"] = {"file": str(folder / "plan.csv")}
    return from_data(EstimationProblem, {**data, **changes})


TABLE = ["ID,TIME,AMT,DV", "1,0,320,.", "1,1,.,.", "1,4,.,.", "1,12,.,.", "2,0,320,.", "2,2,.,.", "2,24,.,."]


def test_a_planned_study_needs_no_observations(tmp_path):
    problem = study(tmp_path, TABLE)
    bound = plan_study(problem)
    assert [int(np.asarray(g.mask).sum()) for g in bound.groups] == [5]
    with pytest.raises(IpexError, match="No row of the dataset is an observation"):
        bind(problem)
    found = fisher_information(load_problem("theophylline"), study=tmp_path / "plan.csv")
    assert found.subjects == 2
    assert "tka" in str(found)


def test_rows_left_out_by_mdv_are_no_samples(tmp_path):
    table = ["ID,TIME,AMT,DV,MDV", "1,0,320,.,1", "1,1,.,.,0", "1,4,.,.,1", "1,12,.,3.1,0"]
    bound = plan_study(study(tmp_path, table))
    assert int(np.asarray(bound.groups[0].mask).sum()) == 2


def test_what_has_no_expected_information_is_refused():
    with pytest.raises(UsageError, match="event endpoints have no expected information"):
        fisher_information(load_problem("synthetic_time_to_event"))
    with pytest.raises(UsageError, match="censored records"):
        fisher_information(load_problem("synthetic_one_compartment"))
    with pytest.raises(UsageError, match="`most` is not a kind"):
        fisher_information(linear(), "most")
    with pytest.raises(UsageError, match="full information"):
        fisher_information(linear(), "reduced", "monte_carlo")
    with pytest.raises(UsageError, match=r"studies = 5\. At least 20"):
        DesignOptions(studies=5)
    with pytest.raises(UsageError, match="has its study already"):
        fisher_information(linear(), study="x.csv")
    with pytest.raises(RecordError, match="no such file"):
        fisher_information(load_problem("theophylline"), study="nowhere.csv")
