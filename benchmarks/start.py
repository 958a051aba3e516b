"""Cold start of the command line."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time

from benchmarks.figures import Figure, Goal, Part
from benchmarks.measure import ROOT, say

COMMAND = [sys.executable, "-c", "from ipex_pd.cli.main import main; main()"]
REGIMEN = "prednisolone_tacrolimus"


def measure(*, quick: bool) -> Part:
    """`ipex-pd simulate` of one child for two years without and with the compile cache, and `ipex-pd --help`."""
    repeats, years = (1, "0.1") if quick else (3, "2")
    asked = ["simulate", "--patient", "seidel_2009", "--regimen", REGIMEN, "--years", years, "--json"]
    with tempfile.TemporaryDirectory(prefix="ipex_benchmarks_") as cache:
        first = _run(asked, cache)
        say(f"cold start: empty cache {first:.2f} s")
        again = [_run(asked, cache) for _ in range(repeats)]
        say(f"cold start: with the cache {statistics.median(again):.2f} s")
        helped = [_run(["--help"], cache) for _ in range(max(3, repeats))]
    figures = [
        Figure("one child, two years, empty compile cache", first, "s", note="whole process, one run"),
        Figure(
            "one child, two years, with the cache",
            statistics.median(again),
            "s",
            Goal("at most", 6),
            f"median of {repeats}",
        ),
        Figure("`ipex-pd --help`", statistics.median(helped), "s", Goal("at most", 0.6), f"median of {len(helped)}"),
    ]
    return Part("cold start", figures, {"first": first, "cached": again, "help": helped})


def _run(arguments: list[str], cache: str) -> float:
    begin = time.perf_counter()
    subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env={**os.environ, "IPEX_PD_CACHE": cache},
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    return time.perf_counter() - begin
