"""What people write by mistake, from files to the fit: every message word for word, and nothing lost."""

import copy
import json

import numpy as np
import pytest
import yaml

from ipex_pd import fit, load_problem
from ipex_pd.errors import IpexError, RecordError, UsageError
from ipex_pd.inference.objectives import METHODS
from ipex_pd.inference.options import FitOptions

ONCE = FitOptions(restarts=0)
HEAD = "ID,TIME,AMT,DV,EVID"
LEVEL = {"prediction": "concentration", "error": {"model": "additive", "additive": "sd"}}
PROBLEM = {
    "name": "small",
    "description": "Doses into a vein",
    "data": {"file": "data.csv"},
    "model": "one_compartment",
    "parameters": {
        "tvcl": {"start": 3, "lower": 0, "scale": "log"},
        "tvv": {"start": 30, "lower": 0, "scale": "log"},
        "sd": {"start": 0.2, "lower": 0, "scale": "log"},
    },
    "random_effects": {"between_subject": {"eta_cl": {"variance": 0.09}}},
    "individual": {"clearance": {"typical": "tvcl", "random": "eta_cl"}, "volume_central": "tvv"},
    "endpoints": {"level": LEVEL},
}


def drawn():
    """Six subjects, one dose and four samples each."""
    random = np.random.default_rng(1)
    rows = []
    for subject in range(1, 7):
        clearance = 3 * np.exp(0.3 * random.standard_normal())
        rows.append([subject, 0, 100, ".", 1])
        for t in (1, 4, 8, 24):
            level = 100 / 30 * np.exp(-clearance / 30 * t) + 0.1 * random.standard_normal()
            rows.append([subject, t, ".", round(level, 4), 0])
    return rows


ROWS = drawn()


def written(folder, rows=ROWS, head=HEAD, **sections):
    """The problem file, with sections replaced (None takes one out)."""
    folder.mkdir(exist_ok=True)
    (folder / "data.csv").write_text("\n".join([head, *(",".join(map(str, row)) for row in rows)]) + "\n")
    problem = {**copy.deepcopy(PROBLEM), **sections}
    (folder / "problem.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(problem)), sort_keys=False))
    return load_problem(str(folder / "problem.yaml"))


def refusal(folder, kind=IpexError, method="focei", options=ONCE, rows=ROWS, head=HEAD, **sections):
    """The message of a fit that is refused, without the folder."""
    with pytest.raises(kind) as caught:
        fit(written(folder, rows, head, **sections), method, options)
    return str(caught.value).replace(f"{folder}/", "")


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The fit of sound input."""
    return fit(written(tmp_path_factory.mktemp("usual")), "focei", ONCE)


def test_a_subject_without_observations_stays_in_the_tables_and_is_warned_of(tmp_path, usual):
    found = fit(written(tmp_path, [*ROWS, [7, 0, 100, ".", 1]]), "focei", ONCE)
    assert found.value == pytest.approx(usual.value, abs=1e-7)
    np.testing.assert_allclose(found.estimates, usual.estimates, rtol=1e-5)
    last = found.individuals.iloc[-1]
    assert (last.id, last.objective, last.eta_cl) == ("7", 0, 0)
    assert last["se(eta_cl)"] == pytest.approx(np.sqrt(found.parameter_values["omega(eta_cl)"]))
    assert found.warnings == ("ID 7: Subjects without observations add nothing to a fit",)
    assert "data: ID 7: Subjects without observations add nothing to a fit" in str(found)


def test_a_subject_without_doses_is_noted_and_counts(tmp_path, usual):
    """Its prediction is 0: only the residual error learns from it."""
    found = fit(written(tmp_path, [*ROWS, [7, 1, ".", 0.1, 0], [7, 2, ".", 0.05, 0]]), "focei", ONCE)
    assert [one.code for one in found.bound.dataset.findings] == ["data.subject-no-doses"]
    sd = found.parameter_values["sd"]
    terms = 2 * np.log(sd**2) + (0.1**2 + 0.05**2) / sd**2
    assert found.individuals.objective.iloc[-1] == pytest.approx(terms)
    assert len(found.sdtab) == len(usual.sdtab) + 2


def censored(limit):
    return [[*row[:3], limit, 0, 1] if row[0] == 2 and row[4] == 0 else [*row, 0] for row in ROWS]


def test_a_subject_with_censored_records_only(tmp_path, usual):
    head = f"{HEAD},CENS"
    assert refusal(tmp_path, rows=censored(0.5), head=head) == (
        "data.csv: 4 error(s) in 1 subject(s): row 8, subject 2, DV = 0.5: The endpoint `level` says nothing of "
        "censored observations. Write `censoring: m3` (or m1, m4). [data.censoring] ... and 3 more. List them all: "
        "ipex-pd check."
    )
    m3 = {"level": {**LEVEL, "censoring": "m3"}}
    assert refusal(tmp_path, rows=censored(0.5), head=head, endpoints=m3) == (
        "`focei` cannot honour censored records (M3, M4, intervals). It takes every record as normal with a mean and "
        "a variance. Use laplace, saem or imp."
    )
    found = fit(written(tmp_path, censored(0.5), head, endpoints=m3), "laplace", ONCE)
    assert found.individuals.eta_cl[1] > found.individuals.eta_cl.drop(1).max()
    assert found.warnings == ("ID 2: All observations of a subject are censored",)
    without = fit(
        written(tmp_path, censored(0.5), head, endpoints={"level": {**LEVEL, "censoring": "m1"}}), "focei", ONCE
    )
    assert without.individuals.objective[1] == 0
    assert without.warnings == found.warnings
    assert len(without.sdtab) == len(usual.sdtab) - 4


def test_a_covariate_missing_in_one_row(tmp_path):
    rows = [[*row, "." if (row[0], row[1]) == (3, 4) else 70] for row in ROWS]
    told = refusal(
        tmp_path,
        rows=rows,
        head=f"{HEAD},WT",
        data={"file": "data.csv", "covariates": {"wt": "WT"}},
        individual={**PROBLEM["individual"], "volume_central": "tvv * wt / 70"},
    )
    assert told == (
        "data.csv: 1 error(s) in 1 subject(s): row 14, subject 3, WT = (empty): The covariate `wt` has no value. Write "
        "it, or say what stands in empty cells: `fill: first`, `last` or `next`. [data.covariate-missing]."
    )


def test_a_record_written_twice_counts_twice_and_is_warned_of(tmp_path, usual):
    found = fit(written(tmp_path, [*ROWS[:3], ROWS[2], *ROWS[3:]]), "focei", ONCE)
    assert found.warnings == ("row 5, subject 1: Two rows have the same ID, TIME, EVID and CMT",)
    assert len(found.sdtab) == len(usual.sdtab) + 1
    assert found.value != pytest.approx(usual.value, abs=0.1)


def test_a_negative_observation_with_a_log_error(tmp_path):
    rows = copy.deepcopy(ROWS)
    rows[4][3] = -0.5
    told = refusal(
        tmp_path, rows=rows, endpoints={"level": {**LEVEL, "error": {"model": "exponential", "additive": "sd"}}}
    )
    assert told == (
        "data.csv: 1 error(s) in 1 subject(s): row 6, subject 1, DV = -0.5: The endpoint `level` is fitted on a scale "
        "of positive values (log). Mark it as below the limit (CENS or BLQ), leave it out (MDV = 1), or fit it without "
        "that scale. [data.not-positive]."
    )


def test_a_prediction_of_zero_with_a_proportional_error(tmp_path):
    error = {"model": "proportional", "proportional": "sd"}
    rows = [*ROWS, [7, 1, ".", 0.1, 0]]
    assert refusal(tmp_path, rows=rows, endpoints={"level": {**LEVEL, "error": error}}) == (
        "subject 7, row 32, time 1: the residual variance of `level` is 0 at the starting values. An error in "
        "proportion to a prediction of 0 gives its record no likelihood. Write `zero_prediction: unit_weight`, add an "
        "additive error, or leave the row out."
    )


def two_effects(covariance):
    return {
        "random_effects": {"blocks": [{"names": ["eta_cl", "eta_v"], "covariance": covariance}]},
        "individual": {**PROBLEM["individual"], "volume_central": {"typical": "tvv", "random": "eta_v"}},
    }


WRONG = {
    "omega": (
        two_effects([[0.04], [0.2, 0.09]]),
        "random_effects.blocks[0].covariance: the covariance of `eta_cl`, `eta_v` is not positive definite. Variances "
        "are positive and each covariance is smaller than both standard deviations allow. Make the covariances "
        "smaller, or the variances larger.",
    ),
    "start outside": (
        {"parameters": {**PROBLEM["parameters"], "tvcl": {"start": 3, "lower": 4}}},
        "parameters.tvcl.start: the start 3 is not inside its bounds 4 to open. An estimate starts strictly between "
        "its bounds. Move the start or the bound.",
    ),
    "start on": (
        {"parameters": {**PROBLEM["parameters"], "tvcl": {"start": 0, "lower": 0}}},
        "parameters.tvcl.start: the start 0 is not inside its bounds 0 to open. An estimate starts strictly between "
        "its bounds. Move the start or the bound.",
    ),
    "zero fixed": (
        {"random_effects": {"between_subject": {"eta_cl": {"variance": 0, "fixed": True}}}},
        "random_effects.between_subject.eta_cl: a random effect has a variance of 0. A variance of 0 is no random "
        "effect. Take the random effect out of the problem.",
    ),
    "zero": (
        {"random_effects": {"between_subject": {"eta_cl": {"variance": 0}}}},
        "random_effects.between_subject.eta_cl: a random effect has a variance of 0. A variance is estimated from a "
        "positive start. Give a positive start.",
    ),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_values_that_cannot_be(tmp_path, name):
    sections, message = WRONG[name]
    told = refusal(tmp_path, RecordError, **sections)
    place, rest = told.split(" ", 1)
    assert place.startswith("problem.yaml:")
    assert rest == message


def test_a_prior_and_the_sandwich_are_refused_before_the_search(tmp_path):
    prior = {"distribution": "log_normal", "median": 3, "sd": 0.1, "source": {"assumed": "for this test"}}
    parameters = {**PROBLEM["parameters"], "tvcl": {"start": 3, "lower": 0, "scale": "log", "prior": prior}}

    def never(stage):
        raise AssertionError("the search began")

    for kind in ("sandwich", "s"):
        with pytest.raises(UsageError) as caught:
            fit(written(tmp_path, parameters=parameters), "focei", FitOptions(covariance=kind), progress=never)
        assert str(caught.value) == (
            f"covariance `{kind}` does not know priors. S is a sum over subjects. Use `r` or `auto`."
        )


def test_quadrature_over_too_many_effects(tmp_path):
    effects = {f"eta_{i}": {"variance": 0.1} for i in range(7)}
    individual = {"clearance": f"tvcl * exp({' + '.join(effects)})", "volume_central": "tvv"}
    told = refusal(tmp_path, UsageError, "agq", random_effects={"between_subject": effects}, individual=individual)
    assert told == (
        "agq with 9 nodes for each of 7 random effects needs 4782969 points a subject. The most are 20000. Use fewer "
        "nodes, laplace or imp."
    )


def test_occasions(tmp_path):
    effects = {"between_subject": {"eta_cl": {"variance": 0.1}}, "between_occasion": {"iov_cl": {"variance": 0.1}}}
    individual = {"clearance": "tvcl * exp(eta_cl + iov_cl)", "volume_central": {"typical": "tvv"}}
    sections = {"random_effects": effects, "individual": individual}
    assert refusal(tmp_path, **sections) == (
        "random_effects.between_occasion: `iov_cl` differs between occasions and no subject has two. Occasions are "
        "told apart by the column OCC. Name it under `data.columns.occ`, or take the random effect out."
    )
    rows = [[*row, 1 if row[1] < 8 else 2] for row in ROWS]
    assert refusal(tmp_path, UsageError, "two_stage", rows=rows, head=f"{HEAD},OCC", **sections) == (
        "two_stage cannot honour `iov_cl`, a random effect of occasions. Its individual estimates are one set of "
        "values for each subject. Fit with focei, laplace, saem or imp."
    )


def test_correlated_residuals_and_censoring(tmp_path):
    rows = [[*row, d, int(d == 2 and row[1] == 24)] for row in ROWS for d in ((1, 2) if row[4] == 0 else (1,))]
    endpoints = {"first": {"dvid": 1, **LEVEL}, "second": {"dvid": 2, **LEVEL, "censoring": "m3"}}
    told = refusal(
        tmp_path,
        RecordError,
        "laplace",
        rows=rows,
        head=f"{HEAD},DVID,CENS",
        endpoints=endpoints,
        parameters={**PROBLEM["parameters"], "rho": {"start": 0.3, "lower": -1, "upper": 1, "scale": "logit"}},
        correlations=[{"endpoints": ["first", "second"], "value": "rho"}],
    )
    assert told.split(" ", 1)[1] == (
        "correlations[0].endpoints: `second` is an event or is censored by M3 or M4, and its error is correlated. "
        "Correlated errors are of measured continuous endpoints. Use M1, or no correlation."
    )


SEARCHING = "methods that search an objective: saem, imp and map do not"
OPTIONS = [
    ("focei", {"nodes": 5}, "nodes = 5", "Nodes are those of the quadrature of agq"),
    ("saem", {"restarts": 3}, "restarts = 3", f"Restarts are further searches of {', '.join(METHODS[:-1])} and agq"),
    ("imp", {"gradient": 1e-6}, "gradient = 1e-06", f"It ends the polishing of {SEARCHING}"),
    ("map", {"search": "adam"}, "search = adam", f"It names the minimiser of {SEARCHING}"),
    ("map", {"covariance": "r"}, "covariance = r", "Nothing is estimated by map, so that nothing has a standard error"),
    ("laplace", {"stages": "global"}, "stages = global", "It says which estimates are the answer, of two_stage"),
]


@pytest.mark.parametrize(("method", "given", "where", "rule"), OPTIONS)
def test_options_of_another_method(tmp_path, method, given, where, rule):
    name = next(iter(given))
    assert refusal(tmp_path, UsageError, method, FitOptions(**given)) == (
        f"{where}: `{method}` has no option `{name}`. {rule}. Leave it out, or choose another method."
    )
