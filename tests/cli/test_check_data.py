"""`ipex-pd check` of tables of data: findings, what was understood, exit codes."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from oral_problem import ORAL

from ipex_pd.cli.main import run

RIGHT = "ID,TIME,AMT,DV,WT\n1,0,9,.,70\n1,1,.,5,70\n1,2,.,4,70\n"
WRONG = "ID,TIME,AMT,DV,WT\n1,0,9,.,70\n1,2,.,5,70\n1,1,.,4,70\n1,0,.,4,.\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "right.csv").write_text(RIGHT)
    (tmp_path / "wrong.csv").write_text(WRONG)
    (tmp_path / "doubtful.csv").write_text(RIGHT.replace("1,2,.,4", "1,1,.,4"))
    problem = {**ORAL, "data": {"file": "right.csv", "covariates": {"wt": {"column": "WT", "unit": "kg"}}}}
    problem["individual"] = {**ORAL["individual"], "volume_central": "tvv * wt / 70"}
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(problem, sort_keys=False))
    problem["data"] = {**problem["data"], "file": "missing.csv"}
    (tmp_path / "lost.yaml").write_text(yaml.safe_dump(problem, sort_keys=False))
    return tmp_path


def checked(capsys, *arguments):
    code = run(["check", *map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)["files"]


def test_a_right_table_is_exit_code_0_and_is_told_in_words(folder, capsys):
    assert run(["check", str(folder / "right.csv")]) == 0
    out = capsys.readouterr().out
    assert "right.csv: data, right" in out
    assert "1 subject, 2 observations, 1 dose record" in out
    assert "not used: WT" in out


def test_a_wrong_table_is_exit_code_1_with_a_table_of_findings(folder, capsys):
    assert run(["check", str(folder / "wrong.csv")]) == 1
    out = capsys.readouterr().out
    assert "wrong.csv: data, 2 error(s)" in out
    line = next(line for line in out.splitlines() if "data.time-decreases" in line)
    assert line.split()[:5] == ["error", "4", "1", "TIME", "1"]
    assert "TIME may not decrease inside a subject" in line


def test_warnings_are_told_and_are_no_fault(folder, capsys):
    assert run(["check", str(folder / "doubtful.csv")]) == 0
    out = capsys.readouterr().out
    assert "data, 1 warning(s)" in out
    assert "data.duplicate" in out


def test_json_holds_every_finding_with_its_row_and_cure(folder, capsys):
    code, (result,) = checked(capsys, folder / "wrong.csv")
    assert code == 1
    assert result["kind"] == "data"
    first = result["findings"][0]
    assert first["code"] == "data.time-decreases"
    assert first["severity"] == "error"
    assert (first["row"], first["subject"], first["column"], first["value"]) == (4, "1", "TIME", "1")
    assert first["where"].endswith("wrong.csv:4")
    assert first["rule"]
    assert first["cure"]


def test_a_problem_is_checked_with_its_data(folder, capsys):
    code, (record, data) = checked(capsys, folder / "p.yaml")
    assert code == 0
    assert record["kind"] == "problems"
    assert data["file"].endswith("right.csv")
    assert "covariate wt: 70 to 70 kg, constant" in data["understood"]


def test_a_table_is_checked_as_the_data_of_a_problem(folder, capsys):
    code, (result,) = checked(capsys, folder / "right.csv", "--problem", folder / "p.yaml")
    assert code == 0
    assert "covariate wt: 70 to 70 kg, constant" in result["understood"]
    code, (result,) = checked(capsys, folder / "wrong.csv", "--problem", folder / "p.yaml")
    assert code == 1
    assert {finding["code"] for finding in result["findings"]} == {"data.time-decreases", "data.covariate-missing"}


def test_what_the_problem_cannot_take_is_a_finding(folder, capsys):
    text = (folder / "p.yaml").read_text().replace("model: proportional", "model: exponential")
    (folder / "log.yaml").write_text(text.replace("proportional: prop", "additive: prop"))
    (folder / "zero.csv").write_text(RIGHT.replace("1,1,.,5", "1,1,.,0"))
    code, (result,) = checked(capsys, folder / "zero.csv", "--problem", folder / "log.yaml")
    assert code == 1
    assert [(finding["code"], finding["row"]) for finding in result["findings"]] == [("data.not-positive", 3)]


def test_data_that_are_not_there_are_a_finding_of_the_problem(folder, capsys):
    code, (_, data) = checked(capsys, folder / "lost.yaml")
    assert code == 1
    assert data["findings"][0]["code"] == "data.no-file"
    assert run(["check", str(folder / "lost.yaml")]) == 1
    assert "there is no such file" in capsys.readouterr().out


def test_many_findings_of_a_kind_are_counted(folder, capsys):
    rows = "".join(f"1,{9 - n},.,5,70\n" for n in range(9))
    (folder / "many.csv").write_text("ID,TIME,AMT,DV,WT\n1,0,9,.,70\n" + rows)
    assert run(["check", str(folder / "many.csv")]) == 1
    assert "3 more like these (--json lists them)" in capsys.readouterr().out
    assert len(checked(capsys, folder / "many.csv")[1][0]["findings"]) == 8


def test_a_problem_without_a_table_to_read_is_wrong_usage(folder, capsys):
    assert run(["check", str(folder / "p.yaml"), "--problem", str(folder / "p.yaml"), "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["where"] == "--problem"


def test_a_problem_that_does_not_exist_is_told(folder, capsys):
    assert run(["check", str(folder / "right.csv"), "--problem", "nothing", "--json"]) == 2
    assert "not a shipped estimation problem" in json.loads(capsys.readouterr().out)["error"]["what"]


def test_checking_a_table_loads_no_numerics(folder):
    script = (
        "import sys; from ipex_pd.cli.main import run; "
        f"run(['check', {os.fspath(folder / 'right.csv')!r}]); assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
