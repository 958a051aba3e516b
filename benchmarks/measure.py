"""Times, memory and the machine they were taken on."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ENGINE = (
    "body", "compiler", "drugs", "events", "explicit", "filters", "integrate", "levels", "mesh", "program", "rates",
    "reduction", "schedule", "solve", "stiff", "superposition",
)  # fmt: skip
"""Modules of `ipex_pd.numerics` that a solution goes through."""
PACKAGES = ("ipex-pd", "jax", "jaxlib", "diffrax", "scipy", "numpy", "sympy")


def say(text: str) -> None:
    """One line of progress on standard error."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def seconds(work: Callable[[], Any]) -> float:
    """Wall-clock time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def repeated(work: Callable[[], Any], repeats: int) -> tuple[float, float, list[float]]:
    """(time of the first call, median of the later ones, all later ones): compiling stays out of the median."""
    first = seconds(work)
    later = [seconds(work) for _ in range(repeats)]
    return first, statistics.median(later), later


def machine() -> dict[str, Any]:
    """Processor, memory, versions, commit, load average."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _commit(),
        "engine": engine_fingerprint(),
        "load": " ".join(f"{x:.1f}" for x in os.getloadavg()),
    }


def engine_fingerprint() -> str:
    """Which solver was measured: a hash of the sources that a solution depends on."""
    package, text = ROOT / "ipex_pd", hashlib.sha256()
    for path in [*sorted((package / "equations").glob("*.py")), *(package / "numerics" / f"{m}.py" for m in ENGINE)]:
        text.update(path.name.encode() + path.read_bytes())
    return text.hexdigest()[:12]


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        facts = dict(line.split(":", 1) for line in info.read_text().split("\n\n")[0].splitlines() if ":" in line)
        named = {k.strip(): v.strip() for k, v in facts.items()}
        name = named.get("model name", platform.machine())
        return f"{name} (family {named.get('cpu family')}, model {named.get('model')})"
    return platform.processor() or platform.machine()


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or "unknown"


def worker(task: str, *, one_core: bool = False, **arguments: Any) -> dict[str, Any]:
    """Do a task of `benchmarks.workers` in a process of its own; its answer and its peak memory [MB].

    Args:
        task: name of a function there.
        one_core: bind the process to one core (where the system can).
        arguments: of the function.
    """
    request = json.dumps({"task": task, "one_core": one_core, "arguments": arguments})
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.workers", request], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return answer
