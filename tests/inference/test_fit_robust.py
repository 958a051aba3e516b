"""Fits under strain: subjects without a mode, other threads, other groups, coarse meshes; and NONMEM's names."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace

import jax.numpy as jnp
import numpy as np
import pytest
from nonmem_problems import Formula
from oral_problem import ORAL, oral_problem
from toy_groups import SIMPLE, decay, toy

from ipex_pd.errors import SimulationError
from ipex_pd.inference.binding import bind, population_of
from ipex_pd.inference.estimation import fit, objective_for
from ipex_pd.inference.meshing import etas_of
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Population
from ipex_pd.records.datasets import load_dataset

ONCE = FitOptions(restarts=0)
SUBJECTS = 12


@dataclass(frozen=True)
class Toy:
    """A bound problem without data files."""

    population: Population
    groups: tuple
    ids: tuple = ()


@dataclass(frozen=True)
class Endless(Formula):
    """Marked subjects have a variance that falls with the square of an effect: a density without a mode."""

    def __call__(self, inputs, theta, eta):
        said = super().__call__(inputs, theta, eta)
        falling = jnp.exp(-10.0 * eta[:, :1] ** 2) * jnp.ones_like(said.mean)
        return said._replace(
            mean=jnp.where(inputs["endless"][:, None], inputs["y"], said.mean),
            variance=jnp.where(inputs["endless"][:, None], falling, said.variance),
        )


def endless(places):
    group = toy(SUBJECTS, etas=2)
    inputs = group.inputs | {"endless": np.isin(np.arange(SUBJECTS), places), "y": group.y}
    ids = tuple(f"P{i + 1:02d}" for i in range(SUBJECTS))
    return Toy(SIMPLE, (replace(group, predictor=Endless(decay), inputs=inputs),), ids)


def test_subjects_without_a_mode_are_named_with_what_it_means():
    with pytest.raises(SimulationError) as caught:
        fit(endless([2, 7]), "laplace", ONCE)
    assert caught.value.code == "fit.indefinite"
    assert str(caught.value) == (
        "subjects P03, P08: the conditional density of the random effects has no proper mode for 2 of 12 subjects at "
        "the start values. laplace needs the exact Hessian of -2 log density by the random effects to be positive "
        "definite at the mode of every subject: here is a saddle, a ridge, or two modes close together. Move the start "
        "values, start from larger residual error, fit with focei (its curvature is always positive), or with saem or "
        "imp, which need no Hessian."
    )


def test_one_such_subject_is_set_aside_by_laplace():
    found = fit(endless([2]), "laplace", ONCE)
    assert found.failed == ("P03",)
    assert "subject P03 had no finite likelihood and was set aside" in str(found.verdict)
    assert found.found.converged
    group = toy(SUBJECTS, etas=2)
    mask = group.mask.copy()
    mask[2] = False
    others = fit(Toy(SIMPLE, (replace(group, mask=mask),)), "laplace", ONCE)
    assert found.value == pytest.approx(others.value, abs=1e-6)


def split(group, cuts):
    return tuple(group.take(np.arange(a, b)) for a, b in zip((0, *cuts), (*cuts, SUBJECTS), strict=True))


@pytest.mark.parametrize("cuts", [(5,), (1, 2, 9)])
def test_how_subjects_are_grouped_changes_nothing(cuts):
    group = toy(SUBJECTS, etas=2)
    whole, parts = (fit(Toy(SIMPLE, groups), "focei", ONCE) for groups in ((group,), split(group, cuts)))
    assert parts.value == pytest.approx(whole.value, abs=1e-8)
    np.testing.assert_allclose(parts.estimates, whole.estimates, rtol=1e-6)
    np.testing.assert_allclose(parts.individuals.objective, whole.individuals.objective, atol=1e-5)


PROGRAM = """
import json, os, sys
os.sched_setaffinity(0, list(os.sched_getaffinity(0))[: int(sys.argv[1])])
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.estimation import fit
from test_fit_robust import SUBJECTS, SIMPLE, Toy, toy
found = fit(Toy(SIMPLE, (toy(SUBJECTS, etas=2),)), "focei", FitOptions(restarts=0))
print(json.dumps([found.value, found.estimates.tolist()]))
"""


def in_threads(count):
    """The fit in a process of its own that has this many threads."""
    flags = f"--xla_cpu_multi_thread_eigen={'true' if count > 1 else 'false'}"
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(count)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(told.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_number_of_threads_changes_nothing():
    (one, estimates), (two, others) = in_threads(1), in_threads(2)
    assert one == pytest.approx(two, abs=1e-8)
    np.testing.assert_allclose(estimates, others, rtol=1e-6)


SATURABLE = {
    "model": "one_compartment_michaelis_menten",
    "parameters": {
        "tvvm": {"start": 30, "lower": 0, "scale": "log"},
        "tvv": {"start": 30, "lower": 0, "scale": "log"},
        "sd": {"start": 0.3, "lower": 0, "scale": "log"},
    },
    "random_effects": {"between_subject": {"eta_vm": {"variance": 0.09}}},
    "individual": {"vmax": {"typical": "tvvm", "random": "eta_vm"}, "volume_central": "tvv", "km": 0.3},
    "endpoints": {"level": {"prediction": "concentration", "error": {"model": "additive", "additive": "sd"}}},
}


@pytest.mark.slow
def test_the_mesh_is_decided_anew_at_the_estimates_and_its_error_told(tmp_path):
    """A mesh of tolerance 1e-2, decided at a start with four times the elimination."""
    random = np.random.default_rng(1)
    rows = ["ID,TIME,AMT,DV,EVID"]
    for i in range(1, 7):
        rate = 0.1 * np.exp(0.3 * random.standard_normal())
        rows.append(f"{i},0,100,.,1")
        for t in (1, 4, 8, 24):
            level = 100 / 30 * np.exp(-rate * t) + 0.1 * random.standard_normal()
            rows.append(f"{i},{t},.,{level:.4f},0")
    (tmp_path / "data.csv").write_text("\n".join(rows) + "\n")
    problem, _ = oral_problem({**SATURABLE})
    bound = bind(problem, load_dataset(tmp_path / "data.csv"), tolerance=1e-2)
    found = fit(bound, "focei", ONCE)
    assert found.mesh.rounds >= 1
    assert found.mesh.settled
    assert found.mesh.change <= 1e-3
    objective = objective_for(found.population, found.bound, "focei")
    theta, _ = found.population.unpack(found.w)
    finest = found.bound.refined(theta, etas_of(objective, found.found), 1e-10)
    truth = objective_for(found.population, finest, "focei").at(found.w).value
    assert found.mesh_error == pytest.approx(abs(truth - found.value), rel=0.5)
    assert found.verdict.level == "do not trust"
    assert "halving the sub-steps of the mesh moves the objective by" in str(found.verdict)
    assert "mesh: error" in str(found)


def test_a_model_without_a_mesh_has_no_mesh_error():
    found = fit(Toy(SIMPLE, (toy(SUBJECTS, etas=2),)), "map")
    assert found.mesh is None
    assert found.mesh_error == 0


def test_variances_of_error_terms_are_sigmas_for_nonmem():
    """Numbered in the order of the parameters; a standard deviation or a share of a formula stays THETA."""
    parameters = {**ORAL["parameters"], "add": {"start": 0.1, "lower": 0}, "extra": {"start": 0.1, "lower": 0}}
    both = {"model": "combined2", "additive": "add", "proportional": "prop", "coefficients": "variance"}
    problem, _ = oral_problem({"parameters": parameters}, error=both)
    population = population_of(problem)
    assert population.names[:5] == ("tvcl", "tvv", "tvka", "prop", "add")
    assert population.nonmem_names == (
        *("THETA(1)", "THETA(2)", "THETA(3)", "SIGMA(1,1)", "SIGMA(2,2)"),
        *("THETA(4)", "OMEGA(1,1)"),
    )
    sd, _ = oral_problem({"parameters": parameters}, error={**both, "coefficients": "sd"})
    assert population_of(sd).nonmem_names[3:5] == ("THETA(4)", "THETA(5)")
    mixed, _ = oral_problem({"parameters": parameters}, error={**both, "additive": "add * extra"})
    assert population_of(mixed).nonmem_names[3:6] == ("SIGMA(1,1)", "THETA(4)", "THETA(5)")
