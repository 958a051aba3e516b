"""What a stranger may write wrong: each is told with its place, rule and cure, and with the right exit code."""

import json

import pytest

from ipex_pd.cli.main import run

DOSE = "doses:\n  - {drug: prednisolone, amount: 2 mg/kg, route: oral, every: 1 day}\n"
TAPERED = """doses:
  - drug: prednisolone
    amount: 2 mg/kg/day
    route: oral
    every: 1 day
    taper:
      - {after: 14 day, to: 1 mg/kg/day}
"""
INFUSED = "doses:\n  - {drug: rituximab, amount: 375 mg/m2, route: iv, infusion: 0 h, every: 7 day}\n"
GRAFT = "conditioning: reduced, serotherapy: none, donor: matched_related, graft: marrow"
TWICE = f"transplants:\n  - {{day: 60, {GRAFT}}}\n  - {{day: 60, {GRAFT}}}\n"
CHILD = """name: mine
description: a boy
sex: male
age: {value: 300 day, source: {assumed: chosen}}
foxp3: {value: missense, source: {assumed: chosen}}
"""

REGIMENS = {
    "misspelt key": (
        DOSE.replace("amount", "amout"),
        ":4 doses[0].amout",
        "`amout` is not a key of a dose",
        "Nearest: `amount`, `route`, `count`",
        "Rename it or take it out",
    ),
    "unknown drug": (
        DOSE.replace("prednisolone", "prednisolon"),
        ":4 doses[0].drug",
        "`prednisolon` is not a known drug",
        "Nearest: `prednisolone`, `prednisone`, `methylprednisolone`",
        "Rename it (see `ipex-pd catalogue drugs`), or add a file to parameters/drugs",
    ),
    "no unit": (
        DOSE.replace("2 mg/kg", "2"),
        ":4 doses[0].amount",
        "dose `2` has no unit",
        "A dose is written as `5 mg`, `0.1 mg/kg`, `60 mg/m2`, or a day's amount as `2 mg/kg/day`",
        "Write for example `2 mg`",
    ),
    "negative dose": (
        DOSE.replace("2 mg/kg", "-2 mg/kg"),
        ":4 doses[0].amount",
        "dose `-2 mg/kg` is negative",
        "A dose is zero or more",
        "Write it without the minus",
    ),
    "not a number": (
        DOSE.replace("2 mg/kg", ".nan"),
        ":4",
        "`.nan` is not a finite number",
        "Numbers are finite",
        "Write the number",
    ),
    "endless taper": (
        TAPERED,
        ":8 doses[0].taper",
        "the taper never ends",
        "It stays at 1 mg/kg/day",
        "End at `0 mg/kg/day`, add `stop`, or write `after_taper: maintain`",
    ),
    "infusion of no length": (
        INFUSED,
        ":4 doses[0].infusion",
        "an infusion of no length",
        "`infusion` is the length of an intravenous infusion",
        "Write `infusion: 4 h`; a bolus has no `infusion`",
    ),
    "two transplants": (
        TWICE,
        ":5 transplants[1].day",
        "two transplants on day 60",
        "Transplants are at least a day apart",
        "Move one of them, or take it out",
    ),
    "two transplants on one day": (
        TWICE.replace("60", "60.5", 1),
        ":5 transplants[1].day",
        "two transplants on days 60.5 and 60",
        "Transplants are at least a day apart",
        "Move one of them, or take it out",
    ),
    "transplant before birth": (
        TWICE.replace("60", "-60", 1),
        ":4 transplants[0].day",
        "a transplant on day -60",
        "The regimen starts on day 0, a transplant comes no earlier",
        "Start with a younger child, and write the day counted from that start",
    ),
}


def written(folder, text):
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(("text", "place", "what", "rule", "cure"), REGIMENS.values(), ids=REGIMENS.keys())
def test_a_wrong_regimen_is_told_and_refused(text, place, what, rule, cure, tmp_path, capsys):
    path = written(tmp_path, f"name: mine\ndescription: my own\n{text}")
    assert run(["check", path, "--json"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["files"][0]["findings"]
    assert finding.pop("code").startswith("record")
    assert finding == {"where": path + place, "what": what, "rule": rule, "cure": cure}
    assert run(["simulate", "--patient", "seidel_2009", "--regimen", path, "--years", "10", "--json"]) == 2
    told = json.loads(capsys.readouterr().out)["error"]
    assert {key: told[key] for key in finding} == finding


def test_a_parameter_outside_its_bounds(tmp_path, capsys):
    rate = "  rate: {value: 3, unit: 1/day, meaning: a rate, bounds: [0, 1], source: {assumed: why}}\n"
    path = written(tmp_path, f"name: mine\ndescription: my own\nis_not: for use\nparameters:\n{rate}")
    assert run(["check", path]) == 1
    assert capsys.readouterr().out == (
        f"{path}: parameters, 1 finding\n"
        f"  - {path}:5 parameters.rate.value: `rate` is 3 1/day, outside its bounds 0 to 1. "
        "A value lies inside its bounds. Change the value, or the bounds with a reason. [record]\n"
    )


def test_a_child_before_birth(tmp_path, capsys):
    path = written(tmp_path, CHILD.replace("300 day", "-3 day"))
    assert run(["simulate", "--patient", path, "--regimen", "untreated", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["where"] == f"{path}:4 age"
    assert error["cure"] == "Write `0 day` for birth"


def test_a_dose_by_weight_for_a_child_without_one(tmp_path, capsys):
    path = written(tmp_path, CHILD)
    assert run(["simulate", "--patient", path, "--regimen", "prednisolone", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["what"] == "`mine` has no weight, and `prednisolone` doses by body size"
    assert error["cure"] == "Write `weight: {value: 7.5 kg, source: ...}` or `weight_z: ...` in the patient file"


@pytest.mark.parametrize(
    ("every", "what", "cure"),
    [
        ("7", "`7` has no unit", "Write for example `7 day`"),
        ("0 h", "outputs every `0 h`", "Write for example `7 day`"),
    ],
)
def test_outputs_that_cannot_be_spaced(every, what, cure, capsys):
    asked = ["simulate", "--patient", "seidel_2009", "--regimen", "untreated", "--output-every", every, "--json"]
    assert run(asked) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["where"], error["what"], error["cure"]) == ("output_every", what, cure)


def test_a_folder_or_a_missing_file_cannot_be_checked(tmp_path, capsys):
    assert run(["check", str(tmp_path), "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["what"] == f"`{tmp_path}` is a folder"
    assert error["cure"] == f"Name them: {tmp_path}/*.yaml"
    assert run(["check", "nowhere.yaml", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["what"] == "there is no file `nowhere.yaml`"


@pytest.mark.parametrize(
    ("text", "what"), [("", "the file is empty"), ("sex,age\nmale,0\n", "the file is not a mapping")]
)
def test_what_is_no_record_is_told_as_such(text, what, tmp_path, capsys):
    path = written(tmp_path, text)
    assert run(["check", path]) == 1
    rule = "A record is written as `key: value` lines"
    assert capsys.readouterr().out == f"{path}: kind not known, 1 finding\n  - {path}: {what}. {rule}. [record]\n"
