"""The reference datasets are read as their descriptions say; skipped where the folder of references is absent."""

import numpy as np
import pytest
from references import REFERENCE, needs_references

from ipex_pd.records.datasets import DataError, load_dataset

pytestmark = needs_references


def doses(data):
    return sum(int(np.isin(subject.evid, (1, 4)).sum()) for subject in data.subjects)


# file, specification, subjects, observations, doses, records
COUNTS = [
    ("pheno/pheno.dta", {"covariates": {"wgt": "WGT", "apgr": "APGR"}}, 59, 155, 589, 744),
    ("theophylline/theo_sd.csv", {"covariates": {"wt": "WT"}}, 12, 132, 12, 144),
    ("theophylline/theopp_nonmem.csv", {"covariates": {"wt": {"column": "WT", "fill": "first"}}}, 12, 132, 12, 144),
    ("theophylline/theophylline_monolix_demo.txt", {"columns": {"dv": "CONC"}}, 12, 120, 12, 132),
    ("2cpt_iv_402/402.csv", {"skip": 1, "comment": "C"}, 30, 360, 30, 390),
    ("acop_mit/acop.csv", {"ignore": ["ID.EQ.2"], "covariates": {"wt": "WT"}}, 39, 741, 38, 779),
    ("wang2007/wang2007.csv", {"columns": {"dv": "Y"}}, 10, 20, 0, 20),
    ("events/events.csv", {"columns": {"dv": "CP"}}, 14, 1834, 18, 1853),
    ("events/events_nlmixr2_ext.csv", {"columns": {"dv": "CP"}}, 2, 262, 5, 267),
    ("events/time_varying_2001.csv", {"columns": {"dv": "CP"}, "covariates": ["WT"]}, 1, 33, 1, 34),
    ("simtruth/Oral_1CPT.csv", {"drop": ["SS", "II"]}, 120, 6947, 960, 7920),
    ("simtruth/Infusion_1CPT.csv", {"drop": ["SS", "II"], "accept": "SD == 1"}, 120, 2276, 120, 2400),
    ("simtruth/Bolus_1CPTMM.csv", {}, 120, 6950, 960, 7920),
    ("map/run001_data.csv", {}, 200, 800, 400, 1200),
    ("map/run005_data.csv", {}, 200, 800, 400, 1200),
    ("map/run007_data.csv", {}, 200, 800, 800, 1600),
    ("map/run901_data.csv", {"covariates": {"bsa": "BSA"}}, 100, 300, 100, 400),
]


@pytest.mark.parametrize(
    ("file", "spec", "subjects", "observed", "dosed", "records"), COUNTS, ids=lambda v: str(v)[:30]
)
def test_counts_are_those_of_the_descriptions(file, spec, subjects, observed, dosed, records):
    data = load_dataset(REFERENCE / file, spec)
    assert len(data.subjects) == subjects
    assert data.observations == observed
    assert doses(data) == dosed
    assert sum(len(subject.rows) for subject in data.subjects) == records
    for subject in data.subjects:
        assert np.all(np.diff(subject.rows) > 0)
        assert np.all(np.isfinite(subject.dv[subject.observed]))


def test_values_of_a_whitespace_file_are_those_of_numpy():
    raw = np.loadtxt(REFERENCE / "pheno/pheno.dta", skiprows=1)
    data = load_dataset(REFERENCE / "pheno/pheno.dta", {"covariates": {"wgt": "WGT"}})
    np.testing.assert_array_equal(np.concatenate([s.time for s in data.subjects]), raw[:, 1])
    np.testing.assert_array_equal(np.concatenate([s.amt for s in data.subjects]), raw[:, 2])
    np.testing.assert_array_equal(np.concatenate([s.covariates["wgt"] for s in data.subjects]), raw[:, 3])
    dv = np.concatenate([s.dv for s in data.subjects])
    np.testing.assert_array_equal(dv, np.where(raw[:, 2] > 0, np.nan, raw[:, 5]))
    assert "covariate wgt: 0.6 to 3.6, constant" in data.understood


def test_weights_of_the_first_record_only_need_to_be_asked_for():
    with pytest.raises(DataError) as caught:
        load_dataset(REFERENCE / "theophylline/theopp_nonmem.csv", {"covariates": {"wt": "WT"}})
    codes = [finding.code for finding in caught.value.findings]
    assert codes == ["data.covariate-missing"] * 12


def test_steady_state_codes_without_a_value_are_refused():
    with pytest.raises(DataError) as caught:
        load_dataset(REFERENCE / "simtruth/Oral_1CPT.csv")
    assert caught.value.code == "data.ss"
    assert "SS = 99" in str(caught.value)


def test_event_scenarios_are_understood():
    data = load_dataset(REFERENCE / "events/events.csv", {"columns": {"dv": "CP"}})
    assert "1 resets, 2 resets with a dose" in data.understood
    assert "doses: 1 added to what is there (SS = 2)" in data.understood
    scenarios = (1, 2, 3, 5, 6, 8, 10, 15, 17, 18, 20, 21, 26, 28)
    assert [subject.id for subject in data.subjects] == [str(n) for n in scenarios]


def test_weights_that_change_are_said_to_rule_the_time_before_their_record():
    spec = {"columns": {"dv": "CP"}, "covariates": {"wt": "WT"}}
    data = load_dataset(REFERENCE / "events/time_varying_2001.csv", spec)
    assert any("changes in 1 subject, rules the time up to its record" in line for line in data.understood)
