"""The validation table as a Markdown page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ipex_pd.simulation.validation import NEAR, Row, Unused, Validation
from ipex_pd.simulation.validation_course import LARGEST_GROUP

COMMAND = "ipex-pd validate --write docs/explanation/validation.md"

_SIGNS = {"inside": "yes", "outside": "**no**", "no spread": "–"}
_HEAD = """# Validation: are the drugs right?

Written by `{command}`; do not edit.

Published observations are held against what the shipped drug models predict for the same people, doses and samples.
Each study has a virtual group of {size} subjects (seed {seed}) with its covariates and the between-patient
variability of the drug file; areas are taken by trapezoids and half-lives by log-linear slopes, as in the studies.
Nothing was tuned to these numbers. Measurement error is not simulated. Rows about cells use the disease model, with
{courses} virtual children. Observations, doses, groups and reasons stand in `parameters/observed/`, one file a
subject: a row is added there, as a study (kinetics), a course (cells, by the disease model) or a rate. That typical
subjects also reproduce the exposures computed elsewhere from the same published parameters is a test
(`tests/oracles/`).

*predicted* is the statistic that was published (mean, median, geometric mean, or the typical subject of a model),
*5–95 %* the spread over the virtual group, *typical* the subject with typical parameters and covariates, *ratio* is
predicted over observed. *inside* says whether the prediction lies within the published spread: mean ± 1 SD (a
standard error is turned into an SD by √n), the published range, or the 95 % interval of an estimate; "–" where none
was published.
"""


def validation_page(table: Validation) -> str:
    """The page: summary, one table for each subject, reasons, observations not used, how groups were drawn."""
    subjects = list(dict.fromkeys(row.subject for row in table.rows))
    parts = [
        _HEAD.format(command=COMMAND, size=table.size, seed=table.seed, courses=min(table.size, LARGEST_GROUP)),
        _summary(table, subjects),
        *(_section(subject, [row for row in table.rows if row.subject == subject]) for subject in subjects),
        _not_used(table.unused),
        _groups(table),
    ]
    return "\n".join(parts)


def _summary(table: Validation, subjects: Sequence[str]) -> str:
    found = table.summary()
    judged = table.count("inside") + table.count("outside")
    own = table.count("inside", True), table.count("inside", True) + table.count("outside", True)
    lines = [
        "## Summary",
        "",
        f"- {len(table.ids)} observations: {len({r.id for r in table.rows})} predicted ({len(table.rows)} numbers), "
        f"{found['not_used']} not used (see below, with reasons).",
        f"- Inside the published spread: **{table.count('inside')} of {judged}** numbers that have one; {own[0]} of "
        f"{own[1]} where neither the number nor the people measured went into the model.",
        f"- Ratio predicted/observed: {found['within_1.25']} of {len(table.rows)} within {NEAR:g}-fold, "
        f"{found['within_2']} within 2-fold; geometric mean {found['geometric_mean_ratio']:.2f}.",
        "",
        "| subject | numbers | inside | outside | no spread | within 2-fold |",
        "|---|---|---|---|---|---|",
    ]
    for subject in subjects:
        rows = [row for row in table.rows if row.subject == subject]
        counts = [sum(row.verdict == verdict for row in rows) for verdict in ("inside", "outside", "no spread")]
        twofold = sum(0.5 <= row.ratio <= 2.0 for row in rows)
        lines.append(f"| {_title(subject)} | {len(rows)} | " + " | ".join(str(n) for n in (*counts, twofold)) + " |")
    return "\n".join(lines) + "\n"


def _section(subject: str, rows: Sequence[Row]) -> str:
    lines = [
        f"## {_title(subject)}",
        "",
        "| id | people and doses | quantity | observed | predicted | 5–95 % | typical | ratio | inside | note |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    notes: dict[str, int] = {}
    before = ""
    for row in rows:
        marks = [notes.setdefault(text, len(notes) + 1) for text in _remarks(row)]
        who = _who(row)
        lines.append(_line(row, "″" if who == before else who, marks))
        before = who
    lines += ["", *(f"{number}. {text}" for text, number in notes.items())]
    return "\n".join([*lines, "", "Sources: " + _sources(rows) + "."]) + "\n"


def _remarks(row: Row) -> list[str]:
    texts = [row.caution] if row.caution else []
    if not row.independent:
        texts.append("Not independent: the number, or the people it was measured in, went into the model")
    texts += [f"Why outside: {row.reason}"] if row.reason and row.verdict == "outside" else []
    texts += [f"Why not nearer: {row.reason}"] if row.reason and row.verdict == "no spread" else []
    return [_sentence(text) for text in texts]


def _who(row: Row) -> str:
    n = f" (n = {row.n})" if row.n else ""
    model = f"Model: `{row.drug}`." if row.drug != row.subject else ""
    return " ".join(part for part in (_sentence(row.people + n), row.doses, model) if part)


def _line(row: Row, who: str, marks: Sequence[int]) -> str:
    unit = "" if row.unit == "1" else f" {row.unit}"
    cells = [
        row.id,
        who,
        row.quantity,
        f"{_number(row.observed)}{unit} ({', '.join(x for x in (row.statistic, row.spread) if x)})",
        _number(row.predicted),
        f"{_number(row.low)}–{_number(row.high)}" if row.low != row.high else "",
        _number(row.typical) if math.isfinite(row.typical) else "",
        f"{row.ratio:.2f}",
        _SIGNS[row.verdict],
        ", ".join(str(mark) for mark in marks),
    ]
    return "| " + " | ".join(cell.replace("|", "/").strip() for cell in cells) + " |"


def _not_used(unused: Sequence[Unused]) -> str:
    lines = ["## Observations not used", "", "| id | what | why not |", "|---|---|---|"]
    lines += [f"| {u.id} | {u.what} ({u.source}) | {u.because} |" for u in unused]
    return "\n".join(lines) + "\n"


def _groups(table: Validation) -> str:
    lines = [
        "## How the groups were drawn",
        "",
        "Covariates that are not listed: size by age and sex from the WHO tables (held from 19 years on), haematocrit "
        "and other blood values at their references.",
        "",
    ]
    return "\n".join([*lines, *(f"- `{name}`: {text}" for name, text in table.groups.items())]) + "\n"


def _sources(rows: Iterable[Row]) -> str:
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row.source, []).append(row.id)
    return "; ".join(f"{source} ({', '.join(dict.fromkeys(ids))})" for source, ids in found.items())


def _title(subject: str) -> str:
    return subject.replace("_", " ").capitalize()


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.3g}"
