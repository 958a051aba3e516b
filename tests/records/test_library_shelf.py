from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ipex_pd.errors import RecordError, UnknownKeyError
from ipex_pd.records import library

REGIMEN = """name: mine
description: my own
doses:
  - {drug: tacrolimus, amount: 0.1 mg/kg/day, route: oral, every: 12 h}
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_importing_the_library_is_light() -> None:
    code = (
        "import sys, ipex_pd.records.library as l; l.catalogue(); "
        "print([m for m in ('jax', 'sympy', 'matplotlib', 'pint', 'scipy', 'pandas') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_names_synonyms_and_variants() -> None:
    assert library.load_drug("FK506").name == "tacrolimus"
    assert library.load_drug("Cyclosporine").name == "ciclosporin"
    assert library.load_drug("sirolimus_cheng_2020").variant_of == "sirolimus"
    assert library.resolve_drug("prednisolone_veltkamp") == ("prednisolone", "veltkamp")
    assert "tacrolimus_andrews_2018" in library.catalogue()["drugs"]


@pytest.mark.parametrize(
    ("load", "name", "message"),
    [
        (
            library.load_regimen,
            "prednisolon",
            "`prednisolon` is not a shipped regimen. Nearest: `prednisolone`, `sirolimus_prednisolone`, "
            "`prednisolone_tacrolimus`. Rename it, or give the path of a YAML file.",
        ),
        (
            library.load_patient,
            "siedel_2009",
            "`siedel_2009` is not a shipped patient. Nearest: `seidel_2009`, `sibling_2`. "
            "Rename it, or give the path of a YAML file.",
        ),
        (
            library.load_drug,
            "everolimus",
            "`everolimus` is not a known drug. Nearest: `sirolimus`, `tacrolimus`, `tacrolimus_iv`. "
            "Rename it (see `ipex-pd catalogue drugs`), or add a file to parameters/drugs.",
        ),
    ],
)
def test_unknown_names(load: object, name: str, message: str) -> None:
    with pytest.raises(UnknownKeyError) as caught:
        load(name)  # type: ignore[operator]
    assert str(caught.value) == message


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    path = written(tmp_path, REGIMEN)
    assert library.load_regimen(path).drugs == ("tacrolimus",)
    assert library.load_regimen(str(path)).name == "mine"
    assert library.kind_of(path) == "regimens"
    assert library.findings(path) == []
    assert library.describe(library.load(path)) == [
        "Regimen `mine`: my own",
        "Tacrolimus by mouth: 0.1 mg/kg a day in 2 doses, every 12 h, from day 0.",
    ]


def test_unknown_drugs_and_routes_of_a_regimen_are_all_told(tmp_path: Path) -> None:
    text = REGIMEN.replace("route: oral", "route: iv")
    text += "  - {drug: sirolimuss, amount: 1 mg, route: oral, every: 12 h}\n"
    path = written(tmp_path, text)
    assert [str(fault) for fault in library.findings(path)] == [
        f"{path}:4 doses[0].route: `tacrolimus` cannot be given by route `iv`. Its clearance and volumes are "
        "apparent (per bioavailability), so an intravenous dose would need a bioavailability (31 % in the label, 25 % "
        "in Wallemacq 1998, D174); use the drug `tacrolimus_iv` for infusions. Write `route: oral`.",
        f"{path}:5 doses[1].drug: `sirolimuss` is not a known drug. Nearest: `sirolimus`, `tacrolimus`, "
        "`tacrolimus_iv`. Rename it (see `ipex-pd catalogue drugs`), or add a file to parameters/drugs.",
    ]


def test_citations_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path, REGIMEN.replace("every: 12 h", "every: 12 h, source: {reported: my_2025}"))
    (fault,) = library.findings(path)
    assert str(fault).startswith(f"{path}:4 doses[0].source: `my_2025` is not a known citation.")
    path = written(tmp_path, path.read_text() + "sources:\n  my_2025: {citation: My own work 2025}\n")
    assert library.findings(path) == []


def test_findings_never_raise(tmp_path: Path) -> None:
    (fault,) = library.findings(tmp_path / "nothing.yaml")
    assert fault.code == "record.no-file"
    (fault,) = library.findings(written(tmp_path, "colour: red\n"))
    assert str(fault).endswith(
        "mine.yaml: this is not a file of this project. A drug has `kinetics`, a patient `sex`, a regimen `doses` or "
        "`transplants`, a plan `goals`, a parameter set `parameters`, a file of measurements `measurements`, one of "
        "observations `studies`, `courses` or `rates`, a structural model `outputs`, an estimation problem `data` and "
        "`endpoints`, one of the disease `cohort`, a cohort `children`, one of citations nothing but `sources`."
    )
    with pytest.raises(RecordError):
        library.load(tmp_path / "mine.yaml")


OBSERVED = """name: mine
description: my own
studies:
  - name: mine
    population:
      description: children
      covariates: {age: {value: 5 year}}
      source: {assumed: none was studied}
    doses:
      - {drug: tacrolimus, amount: 5 mg, route: oral, every: 12 h}
    observations:
      - {id: O001, quantity: peak, from: 1 day, to: 2 day, every: 1 h, value: 10 ng/mL, statistic: mean,
         source: {assumed: none was measured}}
courses:
  - id: O002
    patient: healthy_child
    regimen: untreated
    description: children
    quantity: b_cells
    after: last_dose
    at: 2 week
    horizon: 20 day
    value: 5 cells/uL
    statistic: median
    source: {assumed: none was measured}
rates:
  - {id: O003, set: disease, parameter: b_turnover, description: children, value: 35 day, statistic: typical,
     source: {assumed: none was measured}}
not_used:
  - {id: O004, what: something, because: it was not read, source: {assumed: none was measured}}
"""


def test_a_file_of_observations_in_plain_words(tmp_path: Path) -> None:
    path = written(tmp_path, OBSERVED)
    assert library.kind_of(path) == "observations"
    assert library.findings(path) == []
    tail = "(assumed: none was measured)"
    assert library.describe(library.load(path)) == [
        "Observations `mine`: my own",
        "3 observations to be predicted, 1 that are not, each with its reason.",
        "Study `mine`: children.",
        "  Tacrolimus by mouth: 5 mg a dose, every 12 h, from day 0.",
        f"  O001, mean 10 ng/mL: peak, 1 day to 2 days after the first dose {tail}",
        "O002, median 5 cells/uL: b_cells, level after 14 days, counted from the last dose, in children; "
        f"predicted with patient `healthy_child` under regimen `untreated` {tail}",
        f"O003, typical 35 day: half-life of `b_turnover` in `disease`, in children {tail}",
        f"O004 is not predicted: something; it was not read {tail}",
        "Sources: 5 assumed.",
    ]


def test_names_in_a_file_of_observations_must_exist(tmp_path: Path) -> None:
    text = OBSERVED.replace("drug: tacrolimus", "drug: tacrolimis").replace("b_turnover", "b_turn_over")
    text = text.replace("healthy_child", "healthy_chid").replace("regimen: untreated", "regimen: untreted")
    path = written(tmp_path, text)
    assert [str(fault).partition(": ")[2] for fault in library.findings(path)] == [
        "`tacrolimis` is not a known drug. Nearest: `tacrolimus`, `tacrolimus_iv`, `sirolimus`. "
        "Rename it (see `ipex-pd catalogue drugs`), or add a file to parameters/drugs.",
        "`healthy_chid` is not a shipped patient. Nearest: `healthy_child`. Rename it.",
        "`untreted` is not a shipped regimen. Nearest: `untreated`. Rename it.",
        "`b_turn_over` is not a parameter of `disease`. Nearest: `b_turnover`, `t_turnover`, `th2_turnover`. "
        "Rename it.",
    ]
    with pytest.raises(RecordError, match="not a known drug"):
        library.load_observations(path)


def test_measurements_in_plain_words_and_their_drugs(tmp_path: Path) -> None:
    lines = """name: mine
description: my own
assays:
  tacrolimus: {unit: ng/mL, lloq: {value: 1, source: {assumed: as sirolimus}}}
measurements:
  ige:
    quantity: ige
    unit: IU/mL
    meaning: total IgE
    error: {kind: lognormal, cv: 15 %, source: {assumed: relative}}
    lloq: {value: 2, source: {assumed: low}}
"""
    path = written(tmp_path, lines)
    assert library.kind_of(path) == "measurements"
    assert library.describe(library.load(path)) == [
        "Measurements `mine`: my own",
        "ige (total IgE) reads `ige` in IU/mL: lognormal, cv 0.15 (assumed: relative); "
        "lower limit of quantification 2 IU/mL (assumed: low)",
        "Level of tacrolimus: lower limit of quantification 1 ng/mL (assumed: as sirolimus).",
        "Sources: 3 assumed.",
    ]
    (fault,) = library.findings(written(tmp_path, lines.replace("tacrolimus:", "tacrolimis:")))
    assert str(fault).startswith(f"{path}:4 assays.tacrolimis: `tacrolimis` is not a known drug.")


def test_citations_in_plain_words(tmp_path: Path) -> None:
    path = written(tmp_path, "sources:\n  my_2025: {citation: My own work 2025, doi: 10.1/x}\n")
    assert library.kind_of(path) == "citations"
    assert library.describe(library.load(path)) == ["1 citations.", "my_2025: My own work 2025, doi 10.1/x"]


def test_every_shipped_file_of_a_name() -> None:
    shown = [path.relative_to(library.shelf()).as_posix() for path in library.files_of("sirolimus")]
    assert shown == [
        "parameters/drugs/sirolimus.yaml",
        "treatments/regimens/sirolimus.yaml",
        "parameters/observed/sirolimus.yaml",
    ]
    assert [path.name for path in library.files_of("sirolimus_cheng_2020")] == ["sirolimus.yaml"]
    assert [path.name for path in library.files_of("measurements")] == ["measurements.yaml"]
    assert library.files_of("nothing") == []
    assert all(library.files_of(name) for name in library.all_names())
