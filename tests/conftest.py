"""What every test shares."""

import gc
import sys
from pathlib import Path

import pytest

_MAPS = Path("/proc/self/maps")
_MANY = 20_000


@pytest.fixture(autouse=True, scope="module")
def few_compiled_programs():
    """Compiled programs hold pieces of memory of which Linux gives a process 65,530: let go of them in time."""
    yield
    if "jax" in sys.modules and _MAPS.exists() and _MAPS.read_bytes().count(b"\n") > _MANY:
        sys.modules["jax"].clear_caches()
        gc.collect()
