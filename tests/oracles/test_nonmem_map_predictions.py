"""Population and individual predictions of eleven NONMEM runs (nine digits), at NONMEM's own random effects."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from nonmem_rows import Rows, padded, subjects_of
from references import reference

from ipex_pd.numerics.eventtable import audit_rows, propagate, refine
from ipex_pd.numerics.rowplan import plan_rows
from ipex_pd.numerics.structures import Structure, library_structure, ode_structure

ONE, TWO, INTRAVENOUS = library_structure(1, True), library_structure(2, True), library_structure(2, False)
SATURABLE = "ka * depot - vmax * (central / volume_central) / (km + central / volume_central)"


@dataclass(frozen=True)
class Run:
    """A run: typical values with the place of their random effect (None: without), and what is dosed how."""

    structure: Structure
    values: dict[str, tuple[float, int | None]]
    doses: dict[str, dict[str, str]]


ORAL: dict[str, tuple[float, int | None]] = {
    "clearance": (4.0, 0),
    "volume_central": (70.0, 1),
    "absorption_rate": (1.0, 2),
}
SHORT: dict[str, tuple[float, int | None]] = {"cl": (4.0, 0), "volume_central": (70.0, 1), "ka": (1.0, 2)}
RUNS = {
    "001": Run(ONE, ORAL, {}),
    "003": Run(ONE, ORAL | {"lag": (1.0, 3)}, {"depot": {"lag": "lag"}}),
    "005": Run(ONE, ORAL | {"duration": (1.0, 3)}, {"depot": {"duration": "duration"}}),
    "007": Run(
        ode_structure(
            {
                "depot": "-ka1 * depot",
                "central": "ka1 * depot + ka3 * slow - cl / volume_central * central",
                "slow": "-ka3 * slow",
            }
        ),
        {
            "cl": (4.0, 0),
            "volume_central": (70.0, 1),
            "ka1": (1.0, 2),
            "ka3": (0.25, 3),
            "f1": (0.2, None),
            "f3": (0.8, None),
        },
        {"depot": {"bioavailability": "f1"}, "slow": {"bioavailability": "f3"}},
    ),
    "101": Run(TWO, ORAL | {"volume_peripheral": (50.0, 3), "intercompartmental_clearance": (4.0, None)}, {}),
    "201": Run(
        ode_structure({"depot": "-ka * depot", "central": SATURABLE}),
        {"vmax": (10000.0, 0), "volume_central": (70.0, 1), "ka": (1.0, 2), "km": (2500.0, 3)},
        {},
    ),
    "203": Run(
        ode_structure({"depot": "-ka * depot", "central": f"{SATURABLE} - cl / volume_central * central"}),
        SHORT | {"km": (2500.0, 3), "vmax": (10000.0, None)},
        {},
    ),
    "401": Run(
        ode_structure(
            {
                "depot": "-ka * depot",
                "central": "ka * depot - cl / volume_central * central",
                "metabolite": "0.7 * cl / volume_central * central - clmet / vcmet * metabolite",
            }
        ),
        SHORT | {"clmet": (2.5, 3), "vcmet": (60.0, 4)},
        {},
    ),
    "403": Run(ONE, ORAL, {}),
    "501": Run(ONE, ORAL, {}),
    "901": Run(
        INTRAVENOUS,
        {
            "clearance": (6.38, 0),
            "volume_central": (9.50, 1),
            "volume_peripheral": (9.56, 2),
            "intercompartmental_clearance": (2.70, None),
        },
        {},
    ),
}
NONLINEAR = ("201", "203")


def individual(run: Run, subjects: list[Rows], eta: np.ndarray, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    values = {}
    for name, (typical, place) in run.values.items():
        factor = np.ones(len(eta)) if place is None else np.exp(eta[:, place])
        values[name] = np.repeat((typical * factor)[:, None], shape[1], axis=1)
    if "BSA" in subjects[0].table:
        area = padded(subjects, "BSA")
        values["volume_central"] = values["volume_central"] * area
    return values


@pytest.mark.parametrize("name", sorted(RUNS))
def test_predictions_of_nonmem(name):
    run = RUNS[name]
    subjects = subjects_of(pd.read_csv(reference("map", f"run{name}_data.csv")))
    eta = pd.read_csv(reference("map", f"run{name}_phi.csv")).filter(like="ETA(").to_numpy()
    plan = plan_rows(subjects, run.structure, run.doses)
    assert plan.structure.route == ("mesh" if name in NONLINEAR else run.structure.route)
    observed = padded(subjects, "EVID") == 0
    for printed, effects in (("NM_PRED", np.zeros_like(eta)), ("NM_IPRED", eta)):
        values = individual(run, subjects, effects, plan.shape)
        fine = refine(plan, values)
        amounts = np.asarray(propagate(fine, values))
        central = run.structure.compartments.index("central")
        ours = amounts[:, :, central] / values["volume_central"]
        if name == "401":
            metabolite = padded(subjects, "CMT") == 3
            ours = np.where(metabolite, amounts[:, :, 2] / values["vcmet"], ours)
        ours, theirs = ours[observed], padded(subjects, printed)[observed]
        before_the_lag = theirs == 0
        assert np.all(ours[before_the_lag] == 0)
        assert np.max(np.abs(ours / np.where(before_the_lag, 1.0, theirs) - 1)[~before_the_lag]) < 1e-6
        assert np.max(audit_rows(fine, values)) < 1e-8
