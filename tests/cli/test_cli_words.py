"""What the commands say: results on standard output, errors with their cure, exit codes."""

import json
import subprocess
import sys

import pytest

from ipex_pd import __version__
from ipex_pd.cli.main import run

GOOD = "name: synthetic\ndescription: a synthetic regimen without drugs\ndoses: []\n"
BAD = "name: synthetic\ndescription: a synthetic regimen\ndozes: []\ndoses: []\n"


def error_of(capsys):
    return json.loads(capsys.readouterr().out)["error"]


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"ipex-pd {__version__}\n"


def test_bare_call_shows_help_and_is_wrong_usage(capsys):
    assert run([]) == 2
    assert "catalogue" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["simulate", "compare", "validate", "equations", "check", "catalogue"])
def test_help_of_every_command_teaches_an_example(capsys, command):
    assert run([command, "--help"]) == 0
    assert f"Example: ipex-pd {command}" in capsys.readouterr().out


def test_misspelt_option_is_one_panel_with_the_cure(capsys):
    assert run(["simulate", "--patint", "x"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "--patint" in shown.err
    assert "See: ipex-pd simulate --help" in shown.err


def test_misspelt_option_with_json_is_an_error_object(capsys):
    assert run(["catalogue", "--json", "--knd"]) == 2
    error = error_of(capsys)
    assert error["code"] == "usage"
    assert error["cure"] == "See: ipex-pd catalogue --help"


def test_value_out_of_range_is_wrong_usage(capsys):
    assert run(["compare", "--patient", "x", "--regimen", "y", "--years", "0"]) == 2
    assert "--years" in capsys.readouterr().err


def test_catalogue_names_the_shelves(capsys):
    assert run(["catalogue", "--json"]) == 0
    names = json.loads(capsys.readouterr().out)
    assert list(names)[:4] == ["parameters", "drugs", "patients", "regimens"]
    assert "sirolimus" in names["drugs"]


def test_catalogue_of_one_shelf_for_people(capsys):
    assert run(["catalogue", "regimens"]) == 0
    assert capsys.readouterr().out.startswith("regimens:\n")


def test_unknown_shelf_names_the_nearest(capsys):
    assert run(["catalogue", "drugz", "--json"]) == 2
    assert error_of(capsys) == {
        "code": "usage",
        "where": "KIND",
        "what": "`drugz` is not a shelf",
        "rule": "The library has named shelves",
        "cure": "Nearest: `drugs`",
    }


def test_check_says_what_was_understood(capsys, tmp_path):
    path = tmp_path / "synthetic.yaml"
    path.write_text(GOOD)
    assert run(["check", str(path), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["files"]
    assert result["kind"] == "regimens"
    assert result["findings"] == []
    assert "a synthetic regimen without drugs" in result["understood"][0]


def test_check_of_a_wrong_file_is_exit_code_1_and_names_the_place(capsys, tmp_path):
    path = tmp_path / "synthetic.yaml"
    path.write_text(BAD)
    assert run(["check", str(path)]) == 1
    shown = capsys.readouterr().out
    assert "regimens, 1 finding\n" in shown
    assert "`dozes`" in shown
    assert "synthetic.yaml:3 dozes: `dozes` is not a key" in shown


def test_check_takes_a_shipped_name_and_all_files_of_it(capsys):
    assert run(["check", "sirolimus", "--json"]) == 0
    kinds = {result["kind"] for result in json.loads(capsys.readouterr().out)["files"]}
    assert kinds == {"drugs", "regimens", "observations"}


def test_check_says_what_measurements_and_variants_are(capsys):
    assert run(["check", "measurements", "tacrolimus_andrews_2018"]) == 0
    shown = capsys.readouterr().out
    assert "measurements.yaml: measurements, right" in shown
    assert "tacrolimus.yaml: drugs, right" in shown


def test_check_of_nothing_known_names_the_nearest(capsys):
    assert run(["check", "sirolimis", "--json"]) == 2
    assert "`sirolimus`" in error_of(capsys)["rule"]


def test_equations_are_written_to_a_file(capsys, tmp_path):
    path = tmp_path / "model.tex"
    assert run(["equations", "--format", "latex", "--out", str(path)]) == 0
    assert path.read_text().rstrip().endswith(r"\end{document}")
    assert capsys.readouterr().out == ""


def test_equations_into_a_missing_folder_are_refused(capsys, tmp_path):
    assert run(["equations", "--out", str(tmp_path / "missing" / "model.md")]) == 2
    assert "Create it first" in capsys.readouterr().err


def test_fault_of_the_program_is_told_as_such(capsys, monkeypatch):
    monkeypatch.setattr("ipex_pd.records.library.catalogue", lambda: 1 / 0)
    assert run(["catalogue", "--json"]) == 1
    assert error_of(capsys)["code"] == "internal"


def test_completion_is_offered():
    script = "from ipex_pd.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "--show-completion", "bash"], capture_output=True, text=True, check=False
    )
    assert (
        "--install-completion"
        in subprocess.run([sys.executable, "-c", script, "--help"], capture_output=True, text=True, check=False).stdout
        or "complete" in done.stdout
    )
