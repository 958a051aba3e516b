"""Data and results of other programs: the folder `shared/reference`, absent from most checkouts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def _folder() -> Path:
    here = Path(__file__).resolve()
    places = [Path(os.environ.get("IPEX_PD_REFERENCE", "")), *(p / "shared" / "reference" for p in here.parents)]
    return next((place for place in places if place.name and place.is_dir()), Path("shared/reference"))


REFERENCE = _folder()
"""The folder, or a path where nothing is; the variable IPEX_PD_REFERENCE names another."""

needs_references = pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference data are not at hand")
"""Marks tests, or whole files with `pytestmark`, that nothing is left of without the folder."""


def reference(*parts: str) -> Path:
    """A file or folder of the reference data; the test is skipped where it is absent."""
    path = REFERENCE.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"reference data `{'/'.join(parts)}` are not at hand")
    return path
