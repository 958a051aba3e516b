"""Estimation problems: each inconsistency is told with its place, rule and cure."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ipex_pd.errors import IpexError, RecordError
from ipex_pd.records import library
from ipex_pd.records.problem_checks import problem_faults
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data, save_data

SOUND: dict[str, Any] = {
    "name": "example",
    "description": "An example",
    "data": {"file": "data.csv", "covariates": {"WT": {"unit": "kg"}, "SEX": {}}},
    "model": "one_compartment_oral",
    "parameters": {
        "tvcl": {"start": 4, "lower": 0, "upper": 40, "scale": "log", "unit": "L/h"},
        "tvv": {"start": 50, "lower": 0},
        "tvka": 1.0,
        "beta": 0.75,
        "male": 0.1,
        "sd": {"start": 0.1, "lower": 0},
    },
    "random_effects": {
        "between_subject": {"eta_ka": {"cv": "30 %"}},
        "blocks": [{"names": ["eta_cl", "eta_v"], "covariance": [[0.1], [0.01, 0.2]]}],
    },
    "individual": {
        "clearance": {
            "typical": "tvcl",
            "random": "eta_cl",
            "covariates": [
                {"covariate": "WT", "kind": "power", "centre": 70, "coefficient": "beta"},
                {"covariate": "SEX", "kind": "categorical", "reference": 0, "classes": {"1": "male"}},
            ],
        },
        "volume_central": "tvv * exp(eta_v)",
        "absorption_rate": {"typical": "tvka", "random": "eta_ka"},
    },
    "endpoints": {
        "drug": {"prediction": "concentration", "error": {"model": "proportional", "proportional": "sd"}},
    },
}


def changed(*changes: tuple[str, Any]) -> dict[str, Any]:
    new = copy.deepcopy(SOUND)
    for path, value in changes:
        *steps, last = path.split(".")
        here: Any = new
        for step in steps:
            here = here[int(step)] if isinstance(here, list) else here.setdefault(step, {})
        if value is None:
            here.pop(last)
        else:
            here[int(last) if isinstance(here, list) else last] = value
    return new


def first_fault(data: dict[str, Any]) -> tuple[tuple[Any, ...], IpexError]:
    problem = from_data(EstimationProblem, data)
    faults = problem_faults(problem, library.resolve_model(problem.model))
    assert faults, "nothing was found"
    return faults[0].place, faults[0].error


def test_a_sound_problem_is_accepted_and_written_back():
    problem = from_data(EstimationProblem, SOUND)
    assert problem_faults(problem, library.resolve_model(problem.model)) == []
    assert from_data(EstimationProblem, problem.as_data()) == problem
    assert problem.roles == {
        "tvcl": "structural",
        "tvv": "structural",
        "tvka": "structural",
        "beta": "covariate",
        "male": "covariate",
        "sd": "residual",
    }


def test_short_forms_are_formulas():
    problem = from_data(EstimationProblem, SOUND)
    text = problem.individual["clearance"].formula().text
    assert text == "(tvcl) * (WT / 70.0) ** (beta) * (1 + (male) if SEX == 1 else 1) * exp(eta_cl)"
    forms = {
        "normal": "(tvcl) + eta_cl",
        "logit": "0.0 + 1.0 * expit(logit(((tvcl) - 0.0) / 1.0) + eta_cl)",
        "log_normal": "(tvcl) * exp(eta_cl)",
    }
    for distribution, expected in forms.items():
        value = {"typical": "tvcl", "random": "eta_cl", "distribution": distribution}
        made = from_data(EstimationProblem, changed(("individual.clearance", value)))
        assert made.individual["clearance"].formula().text == expected
    boxcox = {"typical": "tvcl", "random": "eta_cl", "distribution": "box_cox", "shape": "male"}
    made = from_data(EstimationProblem, changed(("individual.clearance", boxcox)))
    assert made.individual["clearance"].formula().text == "(tvcl) * exp((exp((male) * (eta_cl)) - 1) / (male))"


@pytest.mark.parametrize(
    ("kind", "text"),
    [("exponential", "exp((beta) * (WT - 70.0))"), ("linear", "(1 + (beta) * (WT - 70.0))")],
)
def test_centred_relations(kind, text):
    relation = {"covariate": "WT", "kind": kind, "centre": 70, "coefficient": "beta"}
    made = from_data(EstimationProblem, changed(("individual.clearance.covariates.0", relation)))
    assert text in made.individual["clearance"].formula().text


def test_starts_of_random_effects():
    parts = from_data(EstimationProblem, SOUND).random_effects.parts()
    assert [part.names for part in parts] == [("eta_ka",), ("eta_cl", "eta_v")]
    assert parts[0].start[0, 0] == pytest.approx(0.0861777)  # log(1 + 0.3^2), by hand
    np.testing.assert_allclose(parts[1].start, [[0.1, 0.01], [0.01, 0.2]])
    block = {"names": ["a", "b"], "sd": [0.5, 2.0], "correlation": [[1], [0.3, 1]]}
    made = from_data(EstimationProblem, changed(("random_effects", {"blocks": [block]})))
    np.testing.assert_allclose(made.random_effects.parts()[0].start, [[0.25, 0.3], [0.3, 4.0]])


# What is changed -> what is said, and (where it matters) a piece of the rule or cure.
RECORD_FAULTS: list[tuple[str, Any, str, str]] = [
    ("parameters.tvcl.start", 50, "the start 50 is not inside its bounds 0 to 40", "strictly between"),
    ("parameters.tvcl.start", 0, "the start 0 is not inside its bounds 0 to 40", ""),
    ("parameters.tvv.upper", -1, "`lower` 0 is not below `upper` -1", "fixed: true"),
    ("parameters.tvv.scale", "logit", "a parameter on a logit scale has an open bound", ""),
    ("parameters.tvka", {"start": -1, "scale": "log"}, "is not inside its bounds 0 to open", ""),
    ("parameters.tvcl.unit", "blurb/h", "`blurb/h` is not a unit", ""),
    ("parameters.tvcl.strat", 3, "`strat` is not a key", "Nearest: `start`"),
    ("parameters.tvcl.prior", {"distribution": "normal", "mean": 4, "sd": 0}, "`0` is out of range", "more than 0"),
    (
        "random_effects.between_subject.eta_ka",
        {"variance": 0, "fixed": True},
        "a random effect has a variance of 0",
        "out",
    ),
    ("random_effects.between_subject.eta_ka", {"variance": 0}, "a random effect has a variance of 0", "positive start"),
    ("random_effects.between_subject.eta_ka", {"sd": 1, "cv": 1}, "needs one of `variance`, `sd`, `cv`", "once"),
    (
        "random_effects.blocks.0.covariance",
        [[0.1], [0.2, 0.2]],
        "is not positive definite",
        "Make the covariances smaller",
    ),
    ("random_effects.blocks.0.covariance", [[0.1, 0.2], [0.2]], "row 1 has 2 numbers", "lower triangle"),
    ("random_effects.blocks.0.covariance", [[0.1]], "2 names and 1 rows", ""),
    ("random_effects.blocks.0.names", ["eta_cl", "eta_ka"], "`eta_ka` is declared twice", ""),
    ("individual.clearance.distribution", "logistic", "`logistic` is not known here", "Nearest: `logit`"),
    ("individual.clearance.covariates.0.kind", "linear", None, ""),  # a power relation may become a linear one
    ("individual.clearance.covariates.0.centre", None, "a power relation has no centre above 0", ""),
    ("individual.volume_central", "tvv * exp(eta_v", "cannot be read", ""),
    ("individual.volume_central", "__import__('os')", "calls an unknown function", ""),
    ("endpoints.drug.error", {"model": "combined1", "additive": "sd"}, "`proportional` is missing", ""),
    ("endpoints.drug.error.additive", "sd", "a proportional error has no `additive`", "choose another model"),
    ("endpoints.drug.transform", {"kind": "box_cox"}, "`box_cox` has no shape", ""),
    ("endpoints.drug.error", {"model": "additive", "additive": "sd", "zero_prediction": "unit_weight"}, "takes no", ""),
    ("endpoints.drug.censoring", "m2", "`m2` is not known here", ""),
    ("endpoints", {}, "`endpoints` is empty", ""),
    ("doses", {"depot": {}}, "nothing is said of the doses", ""),
    ("doses", {"depot": {"lag": 1, "infuse": "all"}}, "`infuse: all` needs one of", ""),
]


@pytest.mark.parametrize(("path", "value", "what", "rule"), RECORD_FAULTS)
def test_faults_inside_a_part(path, value, what, rule):
    if what is None:
        assert from_data(EstimationProblem, changed((path, value)))
        return
    with pytest.raises(RecordError) as told:
        from_data(EstimationProblem, changed((path, value)))
    assert what in told.value.message
    assert rule in told.value.message
    assert path.split(".")[0] in told.value.where


BETWEEN: list[tuple[list[tuple[str, Any]], str, str, tuple[Any, ...]]] = [
    (
        [("individual.volume_central", "tvvv * exp(eta_v)")],
        "`tvvv` in `tvvv * exp(eta_v)` is not a parameter, a random effect, a covariate or an earlier individual value",
        "Nearest: `tvv`",
        ("individual", "volume_central"),
    ),
    (
        [("individual.clearance.typical", "absorption_rate * tvcl")],
        "`absorption_rate` in",
        "computed later",
        ("individual", "clearance"),
    ),
    ([("parameters.spare", 1)], "the parameter `spare` is never used", "take it out", ("parameters", "spare")),
    (
        [("random_effects.between_subject.eta_x", {"sd": 1})],
        "the random effect `eta_x` is never used",
        "",
        ("random_effects", "between_subject", "eta_x"),
    ),
    ([("individual.extra", "tvcl * 2")], "the individual value `extra` is never used", "", ("individual", "extra")),
    (
        [("individual.absorption_rate", None)],
        "of absorption from the depot) of the model `one_compartment_oral` has no value",
        "Write `absorption_rate:` under `individual`",
        ("individual",),
    ),
    ([("doses", {"gut": {"lag": "tvka"}})], "`gut` is not a compartment", "", ("doses", "gut")),
    ([("doses", {"depot": {"lag": "tlag"}})], "`tlag` in `tlag` is not", "", ("doses", "depot", "lag")),
    ([("doses", {"central": {"copies": "central"}})], "copied in a circle", "", ("doses", "central")),
    ([("endpoints.drug.prediction", "conc")], "`conc` in `conc`", "", ("endpoints", "drug", "prediction")),
    (
        [("endpoints.drug.error.proportional", "sigma")],
        "`sigma` in `sigma`",
        "",
        ("endpoints", "drug", "error", "proportional"),
    ),
    (
        [("endpoints.second", SOUND["endpoints"]["drug"])],
        "`drug` does not say which rows are its own",
        "Write `dvid: 1`",
        ("endpoints", "drug"),
    ),
    (
        [("individual.absorption_rate.distribution", "normal")],
        "the spread of `eta_ka` is a `cv` and `absorption_rate` is normal",
        "Write `sd` or `variance`",
        ("random_effects", "between_subject", "eta_ka"),
    ),
    (
        [("individual.absorption_rate.random", "tvv")],
        "`tvv` is not a random effect",
        "",
        ("individual", "absorption_rate", "random"),
    ),
    (
        [("data.covariates.tvcl", {})],
        "`tvcl` is a covariate and also a parameter",
        "one thing",
        ("data", "covariates", "tvcl"),
    ),
    (
        [("parameters.central", 1)],
        "`central` is a parameter and also a compartment of the model",
        "",
        ("parameters", "central"),
    ),
    (
        [("correlations", [{"endpoints": ["drug", "other"], "value": "beta"}])],
        "`other` is not an endpoint",
        "",
        ("correlations", 0, "endpoints"),
    ),
]


@pytest.mark.parametrize(("changes", "what", "rule", "place"), BETWEEN)
def test_faults_between_parts(changes, what, rule, place):
    where, error = first_fault(changed(*changes))
    assert what in error.message
    assert rule in error.message
    assert where == place


def test_a_correlation_is_bounded():
    two = [("endpoints.drug.dvid", 1), ("endpoints.other", {**SOUND["endpoints"]["drug"], "dvid": 2})]
    joined = [("correlations", [{"endpoints": ["drug", "other"], "value": "rho"}])]
    place, error = first_fault(changed(*two, *joined, ("parameters.rho", {"start": 0.5, "lower": -1})))
    assert place == ("parameters", "rho")
    assert "the correlation `rho` may leave -1 to 1" in error.message
    sound = changed(*two, *joined, ("parameters.rho", {"start": 0.5, "lower": -1, "upper": 1}))
    problem = from_data(EstimationProblem, sound)
    assert problem_faults(problem, library.resolve_model(problem.model)) == []


def test_faults_carry_file_and_line(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    save_data(path, changed(("individual.volume_central", "tvvv * exp(eta_v)")))
    found = library.findings(path)
    line = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if "tvvv" in text)
    assert found[0].where.startswith(f"{path}:{line} individual.volume_central")
    with pytest.raises(RecordError):
        library.load_problem(path)


def test_an_unknown_model_is_told_at_its_line(tmp_path: Path):
    path = tmp_path / "broken.yaml"
    save_data(path, changed(("model", "one_compartment_orl")))
    (found,) = library.findings(path)
    assert "is not a shipped structural model" in found.message
    assert "`one_compartment_oral`" in found.rule
    assert " model" in found.where


def test_a_problem_knows_its_folder():
    problem = library.load_problem("theophylline")
    assert (Path(problem.folder) / problem.data.file).resolve() == library.cohort_files()["theophylline"].resolve()


@pytest.mark.parametrize("name", library.shipped("problems"))
def test_every_shipped_problem_has_its_data_and_a_page_about_them(name):
    problem = library.load_problem(name)
    table = (Path(problem.folder) / problem.data.file).resolve()
    assert table.is_file()
    assert all(p.source is not None for p in problem.parameters.values() if p.fixed)
    page = table.with_suffix(".md")
    page = page if page.is_file() else table.parent / "synthetic.md"
    assert table.stem in page.read_text(encoding="utf-8")


def test_priors_are_read():
    problem = from_data(
        EstimationProblem,
        changed(
            ("parameters.tvcl.prior", {"distribution": "log_normal", "median": 4, "sd": 0.3}),
            ("random_effects.blocks.0.prior", {"degrees": 10, "scale": [[1], [0.1, 2]]}),
        ),
    )
    assert problem.parameters["tvcl"].prior.median == 4
    assert problem.random_effects.parts()[1].prior.degrees == 10
    for prior, what in (
        ({"degrees": 1, "scale": [[1], [0, 1]]}, "1 degrees of freedom for 2 random effects"),
        ({"degrees": 5, "scale": [[1], [3, 1]]}, "the scale is not positive definite"),
        ({"degrees": 5, "scale": [[1]]}, "the prior of a block has another size"),
    ):
        with pytest.raises(RecordError, match=what):
            from_data(EstimationProblem, changed(("random_effects.blocks.0.prior", prior)))
    fixed = changed(
        ("parameters.tvka", {"start": 1, "fixed": True, "prior": {"distribution": "normal", "mean": 1, "sd": 1}})
    )
    with pytest.raises(RecordError, match="a fixed parameter has a prior"):
        from_data(EstimationProblem, fixed)
