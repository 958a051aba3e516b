"""The rules of event records, as NONMEM has them: what breaks one is found, with its row; nothing is repaired."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ipex_pd.records.datarows import DOSE_ITEMS, DataRows
from ipex_pd.records.findings import Notebook
from ipex_pd.records.tables import Mask

_EVID = "EVID is 0 (observation), 1 (dose), 2 (other), 3 (reset) or 4 (reset and dose)"


def check_events(rows: DataRows, found: Notebook) -> None:
    """Every rule about single records and their order."""
    for check in _CHECKS:
        check(rows, found)


def _times(rows: DataRows, found: Notebook) -> None:
    with np.errstate(over="ignore"):
        step = np.diff(rows["time"], prepend=np.nan)
    step[rows.starts] = np.nan
    cure = "Sort the rows, or mark a new start with EVID 3 or 4"
    if rows.clock and "date" not in rows.headers:
        cure = "Clock times that pass midnight need a column DATE"
    rule = "TIME may not decrease inside a subject, except at EVID 3 and 4"
    back = (step < 0) & ~np.isin(rows["evid"], (3, 4))
    rows.tell(found, "error", "time-decreases", back, "time", rule, cure)


def _subjects(rows: DataRows, found: Notebook) -> None:
    names = [rows.ids[start] for start in rows.starts]
    again = np.zeros(rows.count, dtype=bool)
    again[[start for place, start in enumerate(rows.starts) if names[place] in names[:place]]] = True
    rule = "A new subject starts whenever ID changes, even if the ID was there before"
    rows.tell(found, "warning", "id-again", again, "id", rule, "If it is one subject, put its rows together")


def _kinds(rows: DataRows, found: Notebook) -> None:
    known = np.isin(rows["evid"], (0, 1, 2, 3, 4))
    cure = "EVID 5 and more are private extensions of other programs: write the event with 0 to 4"
    rows.tell(found, "error", "evid", ~known, "evid", _EVID, cure)
    rule = "MDV is 0 (observed), 1 (not), or 100 and 101 (the same, left out of the estimation)"
    rows.tell(found, "error", "mdv", ~np.isin(rows["mdv"], (0, 1, 100, 101)), "mdv", rule)
    rule = "Records that are no observation (EVID 1 to 4) have MDV = 1"
    event = (rows["evid"] != 0) & np.isin(rows["mdv"], (0, 100))
    rows.tell(found, "error", "mdv-on-event", event, "mdv", rule, "Write MDV = 1, or EVID = 0")
    rule = "MDV 100 and 101 leave a record out of the estimation"
    rows.tell(found, "note", "mdv-100", np.isin(rows["mdv"], (100, 101)), "mdv", rule, together=True)


def _values(rows: DataRows, found: Notebook) -> None:
    empty = (rows["evid"] == 0) & ~rows.given["dv"] & (rows["blq"] != 1)
    rule = "An observation with MDV = 0 has a DV; an empty one is not 0"
    rows.tell(found, "error", "dv-missing", empty & np.isin(rows["mdv"], (0, 100)), "dv", rule, "Write DV, or MDV = 1")
    if "mdv" in rows.inferred:
        rule = "Observations without DV are not fitted (NONMEM would read 0)"
        rows.tell(found, "warning", "dv-missing", empty, "dv", rule, "Write DV, or MDV = 1 to say so", together=True)
    ignored = (rows["evid"] != 0) & rows.given["dv"] & (np.nan_to_num(rows["dv"]) != 0)
    if {"evid", "mdv"} <= set(rows.inferred):
        rule = "A row with a dose and a DV can be read two ways: NONMEM would not use the DV"
        rows.tell(found, "error", "dose-with-dv", ignored, "dv", rule, "Give the observation a row of its own")
    else:
        rule = "DV of records with EVID 1 to 4 is not used"
        rows.tell(found, "warning", "dv-on-event", ignored, "dv", rule, "Write `.`, or give it a row of its own", True)
    unused = (rows["evid"] == 0) & np.isin(rows["mdv"], (1, 101)) & (np.nan_to_num(rows["dv"]) != 0)
    rows.tell(found, "note", "dv-not-used", unused, "dv", "DV is not used where MDV = 1", together=True)


def _doses(rows: DataRows, found: Notebook) -> None:
    amount, given = rows["amt"], rows.dosed
    rule = "Only EVID 1 and 4 give a dose"
    lost = ~given & (amount != 0)
    rows.tell(found, "error", "amt-not-dosed", lost, "amt", rule, "Write EVID = 1, or AMT = 0")
    for item in DOSE_ITEMS[1:]:
        rule = f"{item.upper()} is 0 where EVID is 0, 2 or 3"
        present = (rows[item] != 0) & ((rows[item] <= 3) if item == "ss" else True)
        rows.tell(found, "error", "dose-item", ~given & present, item, rule, "Write 0")
    rows.tell(found, "error", "amt-negative", amount < 0, "amt", "Amounts are positive")
    if given.any() and "amt" not in rows.headers:
        rule, cure = "Records with EVID 1 or 4 need a column of amounts", "Write `columns: {amt: ...}`"
        rows.tell(found, "error", "dose-no-amt", given, "amt", rule, cure, together=True)
        return
    constant = (rows["ss"] > 0) & (rows["ii"] == 0)
    rule = "A dose has an amount; only a constant infusion at steady state (SS, RATE, no II) has AMT = 0"
    cure = "Write AMT, or EVID = 2 if nothing was given"
    rows.tell(found, "error", "dose-no-amt", given & (amount == 0) & ~constant, "amt", rule, cure)
    if given.any() and not (amount[given] > 0).any() and not (given & constant).any():
        rows.tell(found, "warning", "all-doses-zero", given, "amt", "Every dose of the dataset is 0", "Check AMT", True)


def _rates(rows: DataRows, found: Notebook) -> None:
    rate, duration = rows["rate"], rows["dur"]
    rule = "RATE is 0 (bolus), positive (infusion), -1 (modelled rate) or -2 (modelled duration)"
    rows.tell(found, "error", "rate", (rate < 0) & ~np.isin(rate, (-1, -2)), "rate", rule)
    rows.tell(found, "error", "dur", duration < 0, "dur", "Durations are positive")
    both = rows.dosed & (rate != 0) & (duration > 0)
    apart = both & ~np.isclose(rate * duration, rows["amt"], rtol=1e-6, atol=0.0)
    cure = "Keep one of them (`drop` the other column)"
    rows.tell(found, "error", "rate-and-dur", apart, "dur", "AMT = RATE x DUR where both are written", cure)
    unread = rows.dosed & (duration > 0) & (rate == 0)
    if not any(rows.table.find(rows.spec.column_of(name)) == rows.headers.get("dur") for name in rows.spec.covariates):
        rule = "A column DUR is the duration of infusions; the model takes it as a covariate"
        cure = "Write `covariates: {dur: DUR}` and `doses: {compartment: {duration: dur}}`, or `drop` the column"
        rows.tell(found, "error", "dur-covariate", unread, "dur", rule, cure, together=True)
    nothing = (duration > 0) & (rows["amt"] == 0) & rows.dosed
    rows.tell(found, "error", "dur-no-amt", nothing, "dur", "DUR spreads an amount: AMT is positive", "Write RATE")


def _steady_states(rows: DataRows, found: Notebook) -> None:
    state, interval = rows["ss"], rows["ii"]
    cure = "If the number says that there is none, write `.` or `drop` the column"
    rows.tell(found, "error", "ss", ~np.isin(state, (0, 1, 2, 3)), "ss", "SS is 0, 1 (replace) or 2 (add)", cure)
    cure = "Write SS = 1: the steady state is the same, only the starting guess differs"
    rows.tell(found, "error", "ss-3", state == 3, "ss", "SS = 3 is not offered", cure)
    regular = np.isin(state, (1, 2)) & (rows["amt"] > 0) & (interval <= 0)
    rows.tell(
        found, "error", "ss-ii", regular, "ii", "Steady state of repeated doses needs II > 0", "Write the interval"
    )
    constant = np.isin(state, (1, 2)) & (rows["amt"] == 0)
    off = constant & (interval == 0) & ~((rows["rate"] > 0) | (rows["rate"] == -1))
    cure = "Write RATE > 0 (or -1), or AMT and II"
    rows.tell(found, "error", "ss-rate", off, "rate", "With AMT = 0, steady state is that of a constant infusion", cure)
    more = constant & (interval == 0) & (rows["addl"] != 0)
    rows.tell(found, "error", "ss-addl", more, "addl", "A constant infusion has no additional doses", "Write 0")


def _additional(rows: DataRows, found: Notebook) -> None:
    number, interval, plain = rows["addl"], rows["ii"], rows["ss"] == 0
    cure = "Write SS = 1, or the doses"
    rule = "Negative ADDL asks NONMEM for an empirical steady state, which is not offered"
    rows.tell(found, "error", "addl-negative", number < 0, "addl", rule, cure)
    rows.tell(found, "error", "ii-negative", interval < 0, "ii", "Intervals are positive")
    rule = "ADDL and II go together"
    rows.tell(found, "error", "addl-no-ii", (number > 0) & (interval == 0), "ii", rule, "Write II, or ADDL = 0")
    idle = plain & (interval > 0) & (number == 0) & rows.dosed
    rows.tell(found, "error", "ii-no-addl", idle, "addl", rule, "Write ADDL (or SS), or II = 0")


def _compartments(rows: DataRows, found: Notebook) -> None:
    place, evid = rows["cmt"], rows["evid"]
    rule = "A negative CMT with EVID 2 switches a compartment off, which is not offered"
    rows.tell(
        found, "error", "compartment-off", (place < 0) & (evid == 2), "cmt", rule, "Take the row out, or use EVID 3"
    )
    rows.tell(
        found, "error", "cmt", (place < 0) & (evid != 2), "cmt", "CMT counts compartments from 1; 0 is the default"
    )
    rule = "CMT 100 and 1000 are NONMEM's output compartment, which is not offered"
    rows.tell(found, "error", "output-compartment", np.isin(place, (100, 1000)), "cmt", rule, "Observe a compartment")


def _censoring(rows: DataRows, found: Notebook) -> None:
    flag, limit = rows["cens"], rows["limit"]
    rule = "CENS is 0, 1 (below DV) or -1 (above DV)"
    rows.tell(found, "error", "cens", ~np.isin(flag, (-1, 0, 1)), "cens", rule)
    idle = (flag != 0) & ~rows.observed & ~np.isin(rows["mdv"], (100, 101))
    rows.tell(found, "warning", "cens-on-event", idle, "cens", "CENS counts on observations only", "Write 0", True)
    crossed = rows.observed & (((flag == 1) & (limit >= rows["dv"])) | ((flag == -1) & (limit <= rows["dv"])))
    rule = "LIMIT is the other end of the interval: below DV where CENS = 1, above it where CENS = -1"
    rows.tell(found, "error", "limit", crossed, "limit", rule, "Write `.` when there is no other end")
    loose = rows.observed & (flag == 0) & rows.given["limit"] & (limit != 0)
    rule = "LIMIT is not used where CENS = 0 (another program would read a truncated observation)"
    rows.tell(found, "warning", "limit-no-cens", loose, "limit", rule, "Write `.`, or CENS", together=True)


def _quantification(rows: DataRows, found: Notebook) -> None:
    flag = rows["blq"]
    rows.tell(found, "error", "blq", ~np.isin(flag, (0, 1)), "blq", "BLQ is 0 or 1")
    below = rows.observed & (flag == 1)
    if "blq" in rows.headers and "cens" in rows.headers:
        rule, cure = "Censoring is said once", "`drop` CENS or BLQ"
        rows.tell(found, "error", "cens-and-blq", np.arange(rows.count) == 0, "blq", rule, cure)
    if rows.spec.lloq is not None and "lloq" in rows.headers:
        rule, cure = "The limit of quantification is said once", "`drop` LLOQ, or take `lloq` out of the data section"
        rows.tell(found, "error", "two-limits", np.arange(rows.count) == 0, "lloq", rule, cure)
    rule = "BLQ = 1 needs the limit: a column LLOQ or `lloq` in the data section"
    rows.tell(found, "error", "blq-no-lloq", below & np.isnan(rows["lloq"]), "blq", rule, "Write the limit")
    if "blq" not in rows.headers and "cens" not in rows.headers:
        hidden = rows.observed & (rows["dv"] < rows["lloq"])
        rule = "DV below LLOQ without a column CENS or BLQ counts as measured"
        rows.tell(found, "warning", "below-lloq", hidden, "dv", rule, "Add a column BLQ", together=True)


def _classes(rows: DataRows, found: Notebook) -> None:
    if "dvid" in rows.headers:
        empty = rows.observed & ~rows.given["dvid"]
        rows.tell(found, "error", "missing", empty, "dvid", "Every observation says which endpoint it is of")


def _duplicates(rows: DataRows, found: Notebook) -> None:
    seen: set[tuple[object, ...]] = set()
    twice = np.zeros(rows.count, dtype=bool)
    restarts = np.cumsum(np.isin(rows["evid"], (3, 4)))
    keys = zip(
        rows.subject, restarts, rows["time"], rows["evid"], rows["cmt"], rows["dvid"], rows["occ"], rows["mdv"],
        strict=True,
    )  # fmt: skip
    for place, key in enumerate(keys):
        twice[place] = key in seen
        seen.add(key)
    rule = "Two rows have the same ID, TIME, EVID and CMT"
    rows.tell(
        found, "warning", "duplicate", twice, "time", rule, "Take one out if it is there by mistake", together=True
    )


def _contents(rows: DataRows, found: Notebook) -> None:
    if not rows.observed.any():
        cure = "Check MDV and EVID, and that the DV column is the measured one"
        found.write("error", "no-observations", "No row of the dataset is an observation", cure)
        return
    if not rows.dosed.any():
        cure = "If there should be some, name the column: `columns: {amt: ...}`"
        found.write("warning", "no-doses", "No row of the dataset gives a dose", cure)
    names = np.array([rows.ids[start] for start in rows.starts])
    without = names[_per_subject(rows, rows.observed) == 0]
    _listed(found, "warning", "subject-no-observations", without, "Subjects without observations add nothing to a fit")
    if rows.dosed.any():
        undosed = names[_per_subject(rows, rows.dosed) == 0]
        _listed(found, "note", "subject-no-doses", undosed, "Some subjects have no dose")
    censored = rows.observed & ((rows["cens"] != 0) | (rows["blq"] == 1))
    every = _per_subject(rows, rows.observed & ~censored) == 0
    blind = names[every & (_per_subject(rows, censored) > 0)]
    _listed(found, "warning", "all-censored", blind, "All observations of a subject are censored")


def _per_subject(rows: DataRows, mask: Mask) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.add.reduceat(mask.astype(np.int64), rows.starts)


def _listed(
    found: Notebook, severity: str, code: str, names: np.ndarray[tuple[int], np.dtype[np.str_]], rule: str
) -> None:
    if len(names):
        listed = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        found.write("warning" if severity == "warning" else "note", code, rule, column="ID", value=listed)


def _bookkeeping(rows: DataRows, found: Notebook) -> None:
    row, clinical = rows.table.find("ROW"), rows.table.find("USUBJID")
    if row is not None:
        numbers = rows.table.numbers(row).values
        if np.any(np.diff(numbers) <= 0):
            line = int(rows.table.lines[1:][np.diff(numbers) <= 0][0])
            found.write("warning", "row-order", "ROW rises through the file", "Check the order", row=line, column=row)
    if clinical is not None:
        pairs = set(zip(rows.ids, rows.table.text(clinical), strict=True))
        if len(pairs) != len({left for left, _ in pairs}) or len(pairs) != len({right for _, right in pairs}):
            cure = "Check how ID was numbered"
            found.write(
                "warning", "usubjid", "ID and USUBJID name the same subjects, one to one", cure, column=clinical
            )


_CHECKS: tuple[Callable[[DataRows, Notebook], None], ...] = (
    _times,
    _subjects,
    _kinds,
    _values,
    _doses,
    _rates,
    _steady_states,
    _additional,
    _compartments,
    _censoring,
    _quantification,
    _classes,
    _duplicates,
    _contents,
    _bookkeeping,
)
