"""Every dosing event against predictions printed by NONMEM (five significant digits), by each route."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from nonmem_rows import Rows, padded, subjects_of
from references import reference

from ipex_pd.numerics.eventtable import check_values, propagate, refine
from ipex_pd.numerics.rowplan import plan_rows
from ipex_pd.numerics.structures import library_structure

PRINTED = 1e-4  # five significant digits: half a unit of the last one is 5e-5
DOSES = {"central": {"lag": "LAGT", "bioavailability": "BIOAV", "duration": "DUR2", "rate": "RAT2"}}
VOLUME = 20.0


def structure(route):
    return replace(library_structure(1, True), route=route)


def predicted(subjects: list[Rows], route: str, doses: dict, **values: np.ndarray) -> np.ndarray:
    plan = plan_rows(subjects, structure(route), doses)
    constant = {"clearance": 1.1, "volume_central": VOLUME, "absorption_rate": 1.5}
    known = {n: np.full(plan.shape, v) for n, v in constant.items()} | values
    plan = refine(plan, known)
    check_values(plan, known)
    return np.asarray(propagate(plan, known))[:, :, 1] / (VOLUME / 1000)


def agrees(ours: np.ndarray, subject: Rows) -> None:
    printed = subject.table["CP"].to_numpy()
    ours = ours[: len(printed)]
    assert np.all(np.abs(ours[printed == 0]) < 1e-9)
    apart = np.abs(ours / np.where(printed == 0, 1.0, printed) - 1)[printed != 0]
    assert apart.max() < PRINTED, f"scenario {subject.id}: row {subject.rows[printed != 0][apart.argmax()]}"


def by_scenario(name: str) -> list[Rows]:
    subjects = subjects_of(pd.read_csv(reference("events", name)))
    assert not any((s.table["MODE"] == 1).any() and (s.rate == -2).any() for s in subjects)
    return subjects


@pytest.mark.parametrize("route", ["closed", "exponential", "mesh"])
@pytest.mark.parametrize("name", ["events.csv", "events_nlmixr2_ext.csv"])
def test_every_scenario_of_events(name, route):
    subjects = by_scenario(name)
    columns = {}
    for header in ("LAGT", "BIOAV", "DUR2", "RAT2"):
        column = padded(subjects, header)
        columns[header] = np.where(column > 0, column, 1.0) if header in ("DUR2", "RAT2") else column
    found = predicted(subjects, route, DOSES, **columns)
    for one, subject in zip(found, subjects, strict=True):
        agrees(one, subject)


@pytest.mark.parametrize("route", ["closed", "exponential", "mesh"])
def test_covariates_of_a_record_rule_the_interval_that_ends_at_it(route):
    subjects = subjects_of(pd.read_csv(reference("events", "time_varying_2001.csv")))
    agrees(predicted(subjects, route, {}, clearance=padded(subjects, "CL"))[0], subjects[0])
