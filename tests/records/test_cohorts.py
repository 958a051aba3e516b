"""Cohorts: what their files may say, and that every fault is told with its line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError
from ipex_pd.records.cohort_records import Cohort
from ipex_pd.records.cohorts import load_cohort
from ipex_pd.records.library import load_patient, shelf
from ipex_pd.records.yamlfile import from_data

COHORT = """
name: small
description: Two children of this test.
observations: small.csv
columns: {CENTRE: where he was seen}
children:
  - {id: 3, patient: seidel_2009, regimen: prednisolone}
  - {id: 7, patient: sibling_1, regimen: untreated}
"""
HEADER = "ID,TIME,DVID,DV,CENS,LIMIT,MDV,CENTRE"
GOOD = ["3,0,ige,120,0,.,0,A", "3,10,ige,2,1,.,0,A", "3,-20,weight,7.1,0,.,0,A", "7,30,diabetes_onset,30,1,10,0,B"]


def write(folder: Path, rows: list[str], cohort: str = COHORT, header: str = HEADER) -> Path:
    (folder / "small.csv").write_text("\n".join([header, *rows]) + "\n")
    (folder / "small.yaml").write_text(cohort)
    return folder / "small.yaml"


def fault(folder: Path, row: str, kind: type[IpexError] = RecordError) -> str:
    with pytest.raises(kind) as caught:
        load_cohort(write(folder, [*GOOD, row]))
    assert ": line 6" in str(caught.value)
    return str(caught.value)


def test_a_cohort_is_read(tmp_path):
    rows = [*GOOD, "7,40,death,40,-1,.,0,B", "3,50,treg,.,0,.,1,A", "3,0,prednisolone_level,90,0,.,0,A"]
    data = load_cohort(write(tmp_path, rows))
    assert data.ids == (3, 7)
    assert data.patients[0] == load_patient("seidel_2009")
    assert [regimen.name for regimen in data.regimens] == ["prednisolone", "untreated"]
    assert data.missing == 1
    table = data.table
    assert table["day"].tolist() == [-20, 0, 0, 10, 30, 40]
    assert table["limit"][3] == 0.0
    assert table["limit"][4] == 10.0
    assert table["limit"][5] == np.inf
    assert set(data.measurements) == {"ige", "weight", "diabetes_onset", "death", "prednisolone_level"}
    assert data.understood()[0].startswith("2 children, 6 observations (death 1, diabetes_onset 1, ige 2,")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("4,0,ige,120,0,.,0,A", "child `4` is not in the cohort. Children are 3, 7"),
        ("3,0,igg,120,0,.,0,A", "`igg` cannot be measured in this child. Nearest: `ige`"),
        ("7,0,prednisolone_level,9,0,.,0,A", "`prednisolone_level` cannot be measured in this child"),
    ],
)
def test_unknown_names_are_refused(tmp_path, row, said):
    assert said in fault(tmp_path, row, UnknownKeyError)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("7,-1,ige,120,0,.,0,A", "day -1 lies before birth. The child is 0 days old on day 0"),
        ("3,20,ige,.,0,.,0,A", "DV is missing"),
        ("3,20,ige,abc,0,.,0,A", "DV is `abc`. It is a number"),
        ("3,20,ige,inf,0,.,0,A", "DV is `inf`. It is a finite number"),
        ("3,20,ige,-3,0,.,0,A", "`ige` is -3 IU/mL. It lies between 0 and inf"),
        ("3,20,chimerism,1,0,.,0,A", "`chimerism` is 1 fraction. It lies between 0 and 1"),
        ("3,20,ige,5,2,.,0,A", "CENS is 2. It is 0, 1 or -1"),
        ("3,20,ige,5,0,2,0,A", "LIMIT without CENS"),
        ("3,20,ige,5,1,9,0,A", "LIMIT 9 beside DV 5. With CENS 1 LIMIT lies below DV"),
        ("3,20,ige,5,0,.,3,A", "MDV is 3. It is 0 or 1"),
        ("3,0,ige,130,0,.,0,A", "`ige` of child 3 is repeated"),
        ("7,60,diabetes_onset,60,1,30,0,A", "`diabetes_onset` of child 7 is repeated"),
        ("3,20,diabetes_onset,20,0,.,0,A", "`diabetes_onset` with CENS 0. An onset is known as an interval"),
        ("3,20,death,20,1,.,0,A", "`death` with CENS 1. A death has a day"),
        ("3,20,stool_severity,1.5,0,.,0,A", "level 1.5 of `stool_severity`. Levels are 0 to 3"),
        ("3,20,stool_severity,1,1,.,0,A", "`stool_severity` is censored"),
    ],
)
def test_rows_that_break_a_rule_are_refused(tmp_path, row, said):
    assert said in fault(tmp_path, row)


def test_files_that_break_a_rule_are_refused(tmp_path):
    with pytest.raises(UnknownKeyError, match="`SITE` is not a column of a cohort"):
        load_cohort(write(tmp_path, GOOD, header=HEADER.replace("CENTRE", "SITE")))
    with pytest.raises(RecordError, match="column `DVID` is missing"):
        load_cohort(write(tmp_path, [], header="ID,TIME,DV"))
    with pytest.raises(RecordError, match="child 3 stands twice"):
        load_cohort(write(tmp_path, GOOD, cohort=COHORT.replace("id: 7", "id: 3")))
    with pytest.raises(UnknownKeyError, match=r"child 7.*`nobody` is not a shipped patient"):
        load_cohort(write(tmp_path, GOOD, cohort=COHORT.replace("sibling_1", "nobody")))
    with pytest.raises(RecordError, match="the table has no observation"):
        load_cohort(write(tmp_path, ["3,50,treg,.,0,.,1,A"]))
    with pytest.raises(UnknownKeyError, match=r"`synthetic_ipexx` is not a shipped cohort\. Nearest: `synthetic_ipex`"):
        load_cohort("synthetic_ipexx")


def test_the_shipped_cohort_says_that_it_is_synthetic():
    data = load_cohort("synthetic_ipex")
    assert len(data) == 40
    assert data.description.startswith("SYNTHETIC: ")
    assert data.table["cens"].isin([-1, 0, 1]).all()
    truth = (shelf() / "fit" / "cohorts" / "synthetic_ipex_truth.csv").read_text().splitlines()
    assert len(truth) == 41
    assert not set(truth[0].split(",")) & {"DV", "DVID"}


def test_a_record_is_written_and_read_back():
    record = from_data(
        Cohort,
        {
            "name": "small",
            "description": "one child",
            "observations": "small.csv",
            "children": [{"id": 1, "patient": load_patient("seidel_2009").as_data(), "regimen": "untreated"}],
        },
    )
    assert from_data(Cohort, record.as_data()) == record
