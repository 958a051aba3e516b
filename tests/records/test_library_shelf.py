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
            "Rename it, or add a file to parameters/drugs.",
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
        "`tacrolimus_iv`. Rename it, or add a file to parameters/drugs.",
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
        "`transplants`, a parameter set `parameters`."
    )
    with pytest.raises(RecordError):
        library.load(tmp_path / "mine.yaml")
