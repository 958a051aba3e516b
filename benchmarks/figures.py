"""Measured figures beside their goals, as JSON and as Markdown."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Goal:
    """A bound of the project's plan."""

    sense: Literal["at most", "at least", "within a factor"]
    value: float

    def met(self, measured: float) -> bool:
        """Whether a figure keeps it; no figure that is not a number does."""
        if self.sense == "at least":
            return measured >= self.value
        if self.sense == "at most":
            return measured <= self.value
        return 1.0 / self.value <= measured <= self.value


@dataclass(frozen=True)
class Figure:
    """One line of the summary.

    Attributes:
        what: was measured.
        measured: the number, None when a peer is not installed.
        unit: `s`, `x` (a ratio in one run), `relative error`, ...
        goal: of the plan, None for what only informs.
        note: what a reader must know.
    """

    what: str
    measured: float | None
    unit: str
    goal: Goal | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """`met`, `not met`, `not measured`, or nothing without a goal."""
        if self.measured is None:
            return "not measured"
        return "" if self.goal is None else "met" if self.goal.met(self.measured) else "not met"


@dataclass(frozen=True)
class Part:
    """All figures of one part, with the raw measurements."""

    name: str
    figures: list[Figure]
    detail: dict[str, Any] = field(default_factory=dict)


def missing(what: str, reason: object) -> Figure:
    """The line of a peer that is not installed."""
    return Figure(what, None, "", note=f"peer not installed: skipped ({reason})")


def entry(part: Part, machine: dict[str, Any], when: str) -> dict[str, Any]:
    """A part as it stands in a result file."""
    figures = [{**asdict(f), "verdict": f.verdict} for f in part.figures]
    return {"when": when, "machine": machine, "figures": figures, "detail": part.detail}


def save(entries: dict[str, Any], when: str, *, quick: bool) -> Path:
    """Write results/<date>.json, which keeps parts measured before on the same day, and the Markdown summary of all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / ("quick.json.tmp" if quick else f"{when[:10]}.json")
    known = json.loads(path.read_text())["parts"] if path.exists() and not quick else {}
    known |= entries
    path.write_text(json.dumps({"parts": known}, indent=1, allow_nan=True) + "\n")
    summary = RESULTS / ("quick.md.tmp" if quick else "latest.md")
    summary.write_text(markdown(known if quick else _newest(), quick=quick))
    return summary


def _newest() -> dict[str, Any]:
    """Each part as it was measured last, on whatever day."""
    found: dict[str, Any] = {}
    for path in sorted(RESULTS.glob("????-??-??.json")):
        found |= json.loads(path.read_text())["parts"]
    return found


def markdown(parts: dict[str, Any], *, quick: bool) -> str:
    """The summary of parts as they stand in a result file."""
    lines = ["# Benchmarks", ""]
    if quick:
        lines += ["Smoke test on small sizes: these numbers say nothing about the goals.", ""]
    else:
        lines += [
            "Written by `python -m benchmarks`. Ratios were taken in one run on one machine; times are medians of "
            "repeats and do not carry over to other machines, ratios nearly do.",
            "",
        ]
    newest = max(parts.values(), key=lambda part: part["when"])["machine"].get("engine") if parts else None
    for name, part in parts.items():
        m = part["machine"]
        old = m.get("engine") != newest
        lines += [
            f"## {name}{' (earlier engine)' if old else ''}",
            "",
            f"{part['when']}; {m['processor']}, {m['cores']} cores, {m['memory_gb']} GB; load average before: "
            f"{m['load']}; commit {m['commit']}.",
            "",
            "| what | measured | goal | | note |",
            "|---|---|---|---|---|",
        ]
        lines += [_row(f) for f in part["figures"]] + [""]
    return "\n".join(lines)


def _row(figure: dict[str, Any]) -> str:
    value = "" if figure["measured"] is None else f"{figure['measured']:.3g} {figure['unit']}".strip()
    goal = figure["goal"]
    bound = "" if goal is None else f"{goal['sense']} {goal['value']:g}"
    return f"| {figure['what']} | {value} | {bound} | {figure['verdict']} | {figure['note']} |"
