"""`ipex-pd check` of cohorts and of problems of the disease: what they are, their tables, every fault."""

import json
import shutil

import pytest

from ipex_pd.cli.main import run
from ipex_pd.records import library


def checked(capsys, *arguments):
    code = run(["check", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)["files"]


@pytest.fixture
def folder(tmp_path):
    shelf = library.shelf() / "fit"
    for name in ("cohorts/synthetic_ipex.yaml", "cohorts/synthetic_ipex.csv", "problems/synthetic_ipex.yaml"):
        shutil.copy(shelf / name, tmp_path / f"{name.split('/')[0]}_{name.split('/')[1]}")
    (tmp_path / "cohorts_synthetic_ipex.csv").rename(tmp_path / "synthetic_ipex.csv")
    return tmp_path


def changed(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    return path


def test_a_problem_of_the_disease_is_told_with_its_cohort(capsys):
    code, (problem, table) = checked(capsys, library.shelf() / "fit/problems/synthetic_ipex.yaml")
    assert code == 0
    assert problem["kind"] == "cohort_problems"
    assert problem["understood"][1] == "Cohort: synthetic_ipex"
    assert any(line.startswith("In each child, th2_share = ") for line in problem["understood"])
    assert table["kind"] == "cohort_table"
    assert table["understood"][0].startswith("40 children")


def test_a_name_means_the_problem_and_its_cohort(capsys):
    code, results = checked(capsys, "synthetic_ipex")
    assert code == 0
    assert [result["kind"] for result in results] == ["cohort_problems", "cohort_table", "cohorts", "cohort_table"]


def test_every_fault_of_a_cohorts_table_is_told(folder, capsys):
    table = folder / "synthetic_ipex.csv"
    lines = table.read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join(["99", *cells[1:]])
    lines[2] = lines[2].replace(lines[2].split(",")[2], "ige_level")
    table.write_text("\n".join(lines) + "\n")
    code, (cohort, found) = checked(capsys, folder / "cohorts_synthetic_ipex.yaml")
    assert code == 1
    assert cohort["findings"] == []
    said = [finding["what"] for finding in found["findings"]]
    assert len(said) == 2
    assert said[0] == "child `99` is not in the cohort"
    assert found["findings"][0]["where"].endswith("synthetic_ipex.csv: line 2")


def test_names_that_a_problem_or_a_cohort_mentions_must_exist(folder, capsys):
    problem = changed(folder / "problems_synthetic_ipex.yaml", "cohort: synthetic_ipex", "cohort: synthetic_ipx")
    code, (result,) = checked(capsys, problem)
    assert code == 1
    (finding,) = result["findings"]
    assert finding["what"] == "`synthetic_ipx` is not a shipped cohort"
    assert "`synthetic_ipex`" in finding["rule"]
    changed(problem, "cohort: synthetic_ipx", "cohort: lost.yaml")
    code, (result,) = checked(capsys, problem)
    assert (code, result["findings"][0]["code"]) == (1, "record.no-file")


def test_a_table_alone_is_not_that_of_a_problem_of_the_disease(folder, capsys):
    assert run(["check", str(folder / "synthetic_ipex.csv"), "--problem", "synthetic_ipex", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["where"] == "--problem"
    assert "is a problem of the disease" in error["what"]


def test_catalogue_has_tables_apart_from_cohorts():
    names = library.catalogue()
    assert names["cohort_problems"] == ["synthetic_ipex", "synthetic_ipex_pair"]
    assert names["cohorts"] == ["synthetic_ipex"]
    assert "theophylline" in names["data"]
