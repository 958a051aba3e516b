"""The wheel carries the shelves, and works away from the checkout; an editable install holds no copy of them."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELVES = ("parameters", "treatments")


def build(hook: str, folder: Path) -> zipfile.ZipFile:
    """The wheel that a build hook of the project's backend makes."""
    script = f"from hatchling.build import {hook}; print({hook}({str(folder)!r}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return zipfile.ZipFile(folder / done.stdout.split()[-1])


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel unpacked in a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    with build("build_wheel", folder) as wheel:
        wheel.extractall(folder / "site")
    return folder / "site"


def test_wheel_carries_every_file_of_the_shelves(installed):
    for shelf in SHELVES:
        own = {p.relative_to(ROOT).as_posix() for p in (ROOT / shelf).rglob("*.*") if p.is_file()}
        carried = installed / "ipex_pd" / "library_data"
        found = {p.relative_to(carried).as_posix() for p in (carried / shelf).rglob("*.*") if p.is_file()}
        assert found == own


def test_wheel_carries_the_report_template(installed):
    assert (installed / "ipex_pd" / "report" / "templates" / "report.html").is_file()


def test_installed_package_finds_its_library(installed, tmp_path):
    script = (
        "import sys, ipex_pd; from ipex_pd.cli.main import run; "
        "print(ipex_pd.__file__, file=sys.stderr); sys.exit(run(['catalogue', '--json']))"
    )
    # -S would hide the dependencies too: the unpacked wheel goes before everything else instead.
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.strip().startswith(str(installed))
    assert "seidel_2009" in json.loads(done.stdout)["patients"]


def test_editable_install_holds_no_copy_of_the_shelves(tmp_path):
    with build("build_editable", tmp_path) as wheel:
        assert not [name for name in wheel.namelist() if "library_data" in name]
