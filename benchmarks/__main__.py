"""`python -m benchmarks [PART ...] [--quick]`: measure, write benchmarks/results/, print the summary."""

from __future__ import annotations

import argparse
import importlib
import time
from datetime import UTC, datetime
from typing import Any

from benchmarks.figures import Part, entry, save
from benchmarks.measure import machine, say

PARTS = {
    "accuracy": "accuracy",
    "speed": "speed",
    "memory": "resources",
    "start": "start",
    "gradient": "gradient",
    "profile": "profile",
    "fitting": "fitting",
    "planning": "planning",
}


def main() -> None:
    """Read the command line, measure part after part, save after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; all when left out"
    )
    parser.add_argument("--quick", action="store_true", help="smoke test on small sizes; the results are not kept")
    chosen = parser.parse_args()
    unknown = [p for p in chosen.parts if p not in PARTS]
    if unknown:
        parser.error(f"`{unknown[0]}` is not a part; the parts are {', '.join(PARTS)}")
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    entries: dict[str, Any] = {}
    summary = None
    for name in chosen.parts or PARTS:
        where, begin = machine(), time.perf_counter()
        part: Part = importlib.import_module(f"benchmarks.{PARTS[name]}").measure(quick=chosen.quick)
        say(f"{name}: {time.perf_counter() - begin:.0f} s")
        entries[part.name] = entry(part, where, when)
        summary = save(entries, when, quick=chosen.quick)
    if summary is not None:
        print(summary.read_text())


if __name__ == "__main__":
    main()
