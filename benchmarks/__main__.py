"""`python -m benchmarks [PART ...] [--quick]`: measure, write results/<date>.json and results/latest.md, print the summary."""

from __future__ import annotations

import argparse
import importlib
from datetime import UTC, datetime

from benchmarks.figures import Part, save
from benchmarks.measure import machine, say, seconds

PARTS = {"accuracy": "accuracy", "speed": "speed", "memory": "resources", "start": "start", "gradient": "gradient",
         "profile": "profile"}


def main() -> None:
    """Read the command line, measure part after part, save after each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one or more of {', '.join(PARTS)}; all when left out")
    parser.add_argument("--quick", action="store_true", help="smoke test on small sizes; the results are not kept")
    chosen = parser.parse_args()
    unknown = [p for p in chosen.parts if p not in PARTS]
    if unknown:
        parser.error(f"`{unknown[0]}` is not a part; the parts are {', '.join(PARTS)}")
    when = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    summary = None
    for name in chosen.parts or PARTS:
        where = machine()
        found: list[Part] = []
        took = seconds(lambda n=name, f=found: f.append(importlib.import_module(f"benchmarks.{PARTS[n]}").measure(  # type: ignore[misc]
            quick=chosen.quick)))
        say(f"{name}: {took:.0f} s")
        summary = save(found, where, when, quick=chosen.quick)
    if summary is not None:
        print(summary.read_text())


if __name__ == "__main__":
    main()
