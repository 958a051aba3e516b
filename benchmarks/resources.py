"""Memory, and how time grows with patients and years."""

from __future__ import annotations

import math
from typing import Any

from benchmarks.figures import Figure, Goal, Part
from benchmarks.measure import say, worker

CHUNK = 1000


def measure(*, quick: bool) -> Part:
    """100 to 20,000 patients for 36 days, 1 to 10 years for 100 patients; `simulate`, in chunks."""
    patients = [8, 16] if quick else [100, 1000, 5000, 20000]
    years = [0.1, 0.2] if quick else [1.0, 2.0, 5.0, 10.0]
    by_patients = {n: _one(n, 0.1) for n in patients}
    by_years = {y: _one(8 if quick else 100, y) for y in years}
    many, long = (16, 0.1) if quick else (1000, 2.0)
    main = _one(many, long)
    peak = max(r["peak_mb"] for r in (*by_patients.values(), *by_years.values(), main))
    figures = [
        Figure(
            f"peak memory of {many} patients x {long:g} years",
            main["peak_mb"] / 1024,
            "GB",
            Goal("at most", 4),
            f"`simulate` with its audit, all quantities of a chunk of {CHUNK} in memory; {main['seconds']:.1f} s",
        ),
        Figure("peak memory of all runs of this part", peak / 1024, "GB", Goal("at most", 4)),
        _growth("patients", {float(n): r["seconds"] for n, r in by_patients.items()}),
        _growth("years", {y: r["seconds"] for y, r in by_years.items()}),
    ]
    return Part("memory and growth", figures, {"patients": by_patients, "years": by_years, "main": main})


def _one(patients: int, years: float) -> dict[str, Any]:
    row = worker("simulate_population", patients=patients, years=years, chunk=CHUNK, warm=True)
    say(f"memory: {patients} patients x {years:g} years: {row['seconds']:.1f} s, {row['peak_mb']:.0f} MB")
    return row


def _growth(what: str, times: dict[float, float]) -> Figure:
    """Exponent of time over size between the ends of the range: 1 is linear."""
    first, last = min(times), max(times)
    exponent = math.log(times[last] / times[first]) / math.log(last / first)
    steps = "; ".join(f"{n:g}: {t:.1f} s" for n, t in times.items())
    return Figure(f"growth of time with {what} (exponent, 1 is linear)", exponent, "", Goal("at most", 1.1), steps)
