"""The whole disease fitted to the synthetic cohort, from the problem's start values to a verdict."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ipex_pd.inference.binding import predict
from ipex_pd.inference.disease import disease_groups
from ipex_pd.inference.estimation import fit
from ipex_pd.inference.expansion import Expander
from ipex_pd.inference.expansion_disease import disease_split
from ipex_pd.inference.options import FitOptions
from ipex_pd.records.library import load_cohort_problem

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def parts():
    return disease_groups(load_cohort_problem("synthetic_ipex"))


@pytest.fixture(scope="module")
def found(parts):
    return fit(parts, "focei", FitOptions(restarts=0))


def test_the_search_ends_at_a_minimum(found):
    assert found.found.converged
    assert found.found.at.found.all()
    assert found.covariance.done
    assert found.covariance.definite
    assert found.verdict.level != "do not trust"


def test_the_march_that_ends_early_reads_the_same(parts):
    """Readings of expansions, of children in another order and number, against the plain predictions."""
    group = jax.tree.map(jnp.asarray, parts.groups[0])
    split = disease_split(group)
    theta = jnp.broadcast_to(parts.population.layout.theta(jnp.asarray(parts.population.start)), (len(group.y), 6))
    eta = 0.3 * np.random.default_rng(1).standard_normal((len(group.y), 4))
    plain = np.asarray(predict(group, theta, jnp.asarray(eta)).mean)
    expander = Expander(group, split)
    psi = expander.psi(theta, jnp.asarray(eta))
    everyone, some = np.ones(len(psi), bool), np.arange(len(psi)) % 9 == 4
    whole = expander.first(expander.nothing(psi), psi, everyone).f
    part = expander.first(expander.nothing(psi), psi, some).f
    mask = np.asarray(group.mask)
    np.testing.assert_allclose(whole[mask], plain[mask], rtol=1e-10)
    np.testing.assert_allclose(part[mask & some[:, None]], plain[mask & some[:, None]], rtol=1e-10)


def test_the_objective_is_that_of_its_definition(parts, found):
    """-2 log L by FOCEI written out, with slopes as differences of the plain predictions, no expansion anywhere."""
    group, population = parts.groups[0], parts.population
    theta, omega = population.unpack(found.w)
    eta, step = found.etas[list(population.eta_names)].to_numpy(), 1e-4
    rows, q = eta.shape
    wide = jnp.broadcast_to(jnp.asarray(theta), (rows, len(theta)))

    def said(values):
        prediction = predict(group, wide, jnp.asarray(values))
        return np.asarray(prediction.mean), np.log(np.asarray(prediction.variance))

    mean, log_r = said(eta)
    ends = [[said(eta + sign * step * np.eye(q)[k]) for sign in (1.0, -1.0)] for k in range(q)]
    a, c = (np.stack([(up[i] - down[i]) / (2 * step) for up, down in ends], -1) for i in (0, 1))
    mask, inverse = np.asarray(group.mask), np.linalg.inv(omega)
    residual = np.where(mask, np.asarray(group.y) - mean, 0.0)
    weight = np.where(mask, np.exp(-log_r), 0.0)
    a, c = a * mask[..., None], c * mask[..., None]
    joint = (np.where(mask, log_r, 0.0) + residual**2 * weight).sum(1) + np.einsum("bi,ij,bj->b", eta, inverse, eta)
    curvature = inverse + np.einsum("bni,bnj,bn->bij", a, a, weight) + 0.5 * np.einsum("bni,bnj->bij", c, c)
    values = joint + np.linalg.slogdet(omega)[1] + np.linalg.slogdet(curvature)[1]
    values = values + np.where(mask, np.asarray(group.jacobian), 0.0).sum(1)
    np.testing.assert_allclose(values, found.found.at.values, atol=1e-4)
    slope = np.einsum("bi,ij->bj", eta, inverse) - np.einsum("bni,bn->bi", a, residual * weight)
    slope += 0.5 * np.einsum("bni,bn->bi", c, mask - residual**2 * weight)
    # how far the modes are from where the slope of l is zero, in their posterior standard deviations
    left = np.sqrt(np.einsum("bi,bij,bj->b", slope, np.linalg.inv(curvature), slope))
    assert left.max() < 1e-4


def test_what_made_the_data_lies_within_what_the_estimates_allow(found):
    """Values of `parameters/`, which made the cohort; four standard errors on the scale of the estimate."""
    rows = {row["parameter"]: row for row in found.parameters.to_dict("records")}
    truth = {"th2_share_pop": 0.3, "effector_capacity_pop": 200.0, "gut_susceptibility_pop": 1.0}
    for name, value in {**truth, "sd_ige": 0.149, "sd_eosinophils": 0.294}.items():
        row = rows[name]
        assert abs(np.log(row["estimate"] / value)) < 4 * row["se"] / row["estimate"], name
    assert abs(rows["function_shift"]["estimate"]) < 4 * rows["function_shift"]["se"]


def test_records_are_told_by_day_and_endpoint(parts, found):
    told = found.sdtab
    own = told[told["ENDPOINT"] == "ige"]
    table = parts.cohort.table[parts.cohort.table["measurement"] == "ige"]
    ids = [str(parts.cohort.ids[child]) for child in table["child"]]
    expected = sorted(zip(ids, table["day"], np.round(np.log(table["value"]), 9), strict=True))
    assert sorted(zip(own["ID"].astype(str), own["TIME"], np.round(own["DV"], 9), strict=True)) == expected
    assert set(told["ENDPOINT"]) == set(parts.problem.endpoints)
