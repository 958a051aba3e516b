"""What was understood of a dataset, in plain words: one fact a line."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ipex_pd.records.datarows import DataRows
from ipex_pd.records.tables import Mask, Numbers

_RULES = {"next": "rules the time up to its record", "last": "rules the time after its record"}
_FILLS = {
    "first": "empty cells take the subject's first value",
    "last": "empty cells take the value before",
    "next": "empty cells take the value after",
}


def in_words(rows: DataRows, covariates: Mapping[str, Numbers]) -> tuple[str, ...]:
    """Every fact about a dataset that was checked."""
    lines = [_size(rows), _columns(rows), *_left_out(rows), _times(rows), *_inferred(rows), *_doses(rows)]
    return (*lines, *_order(rows), *_resets(rows), *_classes(rows), *_censoring(rows), *_covariates(rows, covariates))


def _of(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _size(rows: DataRows) -> str:
    parts = [
        _of(len(rows.starts), "subject"),
        _of(int(rows.observed.sum()), "observation"),
        _of(int(rows.dosed.sum()), "dose record"),
    ]
    unused = (rows["evid"] == 0) & ~rows.observed
    if unused.any():
        parts.append(f"{_of(int(unused.sum()), 'record')} without a DV that counts")
    other = rows["evid"] == 2
    if other.any():
        parts.append(_of(int(other.sum()), "other record"))
    return ", ".join(parts)


def _columns(rows: DataRows) -> str:
    used = {**rows.headers, **{name: str(rows.table.find(rows.spec.column_of(name))) for name in rows.spec.covariates}}
    named = ", ".join(role if role == header.lower() else f"{role} = {header}" for role, header in used.items())
    rest = [header for header in rows.table.headers if header not in used.values()]
    return f"columns: {named}" + (f"; not used: {', '.join(rest)}" if rest else "")


def _left_out(rows: DataRows) -> list[str]:
    gone = [f"{count} by {reason}" for reason, count in rows.table.left_out.items() if count]
    return [f"rows left out: {', '.join(gone)}"] if gone else []


def _times(rows: DataRows) -> str:
    span = f"{np.min(rows['time']):g} to {np.max(rows['time']):g} {rows.spec.time_unit}"
    return f"time: {span}" + (f", from {rows.clock}" if rows.clock else "")


def _inferred(rows: DataRows) -> list[str]:
    words = {
        "evid": "EVID: not in the file; rows with a dose item are doses, others with MDV = 1 no observations",
        "mdv": "MDV: not in the file; observations with a DV count",
    }
    return [words[name] for name in rows.inferred]


def _doses(rows: DataRows) -> list[str]:
    rate, given, unit = rows["rate"], rows.dosed, rows.spec.time_unit
    spread = (rows["dur"] > 0) & (rate == -2)
    kinds: list[tuple[Mask, str]] = [
        (given & (rate == 0), "as a bolus"),
        (given & (rate > 0), "infused at RATE; bioavailability changes the duration"),
        (given & (rate == -1), "infused at a modelled rate (RATE = -1)"),
        (
            given & (rate == -2) & ~spread,
            "infused over a modelled duration (RATE = -2); bioavailability changes the rate",
        ),
        (given & spread, "infused over DUR; bioavailability changes the rate"),
        (given & (rows["ss"] > 0) & (rows["ii"] > 0), "at steady state of repeated doses"),
        (given & (rows["ss"] > 0) & (rows["ii"] == 0), "at steady state of a constant infusion"),
        (given & (rows["ss"] == 2), "added to what is there (SS = 2)"),
    ]
    lines = [f"doses: {int(mask.sum())} {words}" for mask, words in kinds if mask.any()]
    more = given & (rows["addl"] > 0)
    if more.any():
        total, record = int(rows["addl"][more].sum()), _of(int(more.sum()), "record")
        lines.append(f"doses: {record} with {_of(total, 'additional dose')}, every II {unit}")
    return lines


def _order(rows: DataRows) -> list[str]:
    before = after = 0
    places: dict[tuple[int, float], list[int]] = {}
    for place, key in enumerate(zip(rows.subject, rows["time"], strict=True)):
        places.setdefault((int(key[0]), float(key[1])), []).append(place)
    for same in places.values():
        doses = [place for place in same if rows.dosed[place]] if len(same) > 1 else []
        for place in same if doses else ():
            if rows.observed[place]:
                before, after = before + (place < doses[0]), after + (place > doses[0])
    if not before + after:
        return []
    return [f"at the time of a dose: {_of(before, 'observation')} before it in the file, {after} after it"]


def _resets(rows: DataRows) -> list[str]:
    counts = [(int((rows["evid"] == kind).sum()), words) for kind, words in ((3, "resets"), (4, "resets with a dose"))]
    said = [f"{count} {words}" for count, words in counts if count]
    return [", ".join(said)] if said else []


def _classes(rows: DataRows) -> list[str]:
    lines = []
    for role, words in (("dvid", "observations by endpoint"), ("occ", "observations by occasion")):
        if role in rows.headers:
            values, counts = np.unique(rows[role][rows.observed], return_counts=True)
            listed = ", ".join(f"{value:g}: {count}" for value, count in zip(values, counts, strict=True))
            lines.append(f"{words}: {listed}")
    return lines


def _censoring(rows: DataRows) -> list[str]:
    lines = []
    for sign, words in ((1, "below the limit"), (-1, "above the limit")):
        mask = rows.observed & (rows["cens"] == sign)
        if mask.any():
            names, counts = np.unique(rows.subject[mask], return_counts=True)
            listed = [f"{rows.ids[rows.starts[name]]}: {count}" for name, count in zip(names, counts, strict=True)]
            rest = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
            lines.append(
                f"censored {words}: {_of(int(mask.sum()), 'observation')} in {_of(len(names), 'subject')} "
                f"({', '.join(listed[:10])}{rest})"
            )
    return lines


def _covariates(rows: DataRows, covariates: Mapping[str, Numbers]) -> list[str]:
    lines = []
    for name, values in covariates.items():
        covariate = rows.spec.covariates[name]
        low, high = np.minimum.reduceat(values, rows.starts), np.maximum.reduceat(values, rows.starts)
        unit = "" if covariate.unit == "1" else f" {covariate.unit}"
        varying = int((low != high).sum())
        state = f"changes in {_of(varying, 'subject')}, {_RULES[rows.spec.carry_of(name)]}" if varying else "constant"
        filled = f"; {_FILLS[covariate.fill]}" if covariate.fill != "none" else ""
        lines.append(f"covariate {name}: {np.min(low):g} to {np.max(high):g}{unit}, {state}{filled}")
    return lines
