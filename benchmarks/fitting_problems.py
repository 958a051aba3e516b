"""Problems that the fitting part measures: shipped ones, simulated ones of any size, and published simulated sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.measure import ROOT
from ipex_pd.inference.binding import bind, predict
from ipex_pd.records.library import load_problem
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import from_data

REFERENCE = ROOT.parent / "shared" / "reference" / "simtruth"
SAMPLES = (0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 4, 6, 8, 12, 16, 20, 24, 36, 48, 60, 71.9)
_RANDOM = ("clearance", "volume_central", "absorption_rate", "intercompartmental_clearance", "volume_peripheral")
_TYPICAL = {
    "clearance": 4.0,
    "volume_central": 70.0,
    "absorption_rate": 1.0,
    "intercompartmental_clearance": 4.0,
    "volume_peripheral": 50.0,
}
_SATURABLE = {"vmax": 7.0, "km": 5.7, "volume_central": 4.5}
_LINEAR = {"clearance": 1.6, "volume_central": 4.5, "absorption_rate": 0.2}


@dataclass(frozen=True)
class Size:
    """A simulated two-compartment oral problem.

    Attributes:
        subjects: how many.
        samples: of each subject; they follow its last dose.
        doses: of each subject, one a day.
        effects: random effects, 1 to 5.
    """

    subjects: int = 160
    samples: int = 19
    doses: int = 1
    effects: int = 3


def simulated(size: Size, folder: Path, seed: int = 1) -> EstimationProblem:
    """A simulated two-compartment oral problem whose data lie in the folder: CV 30 %, 20 % proportional error."""
    random = np.random.default_rng(seed)
    table = _design(size, random)
    _write(folder / "data.csv", table)
    problem = from_data(EstimationProblem, _oral(size, folder))
    bound = bind(problem)
    (group,) = bound.groups
    theta = jnp.broadcast_to(jnp.array([*_TYPICAL.values(), 0.2]), (size.subjects, len(_TYPICAL) + 1))
    found = predict(group, theta, 0.3 * random.standard_normal((size.subjects, size.effects)))
    level = np.asarray(found.mean)[:, : size.samples]
    measured = np.maximum(level * (1 + 0.2 * random.standard_normal(level.shape)), 0.02 * level)
    table[table[:, 4] == 0, 2] = measured.ravel()
    _write(folder / "data.csv", table)
    return problem


def _design(size: Size, random: np.random.Generator) -> np.ndarray:
    """Rows ID, TIME, DV, AMT, EVID; sampling times differ from subject to subject by a few per cent."""
    chosen = np.interp(np.linspace(0, 18, size.samples), np.arange(19), SAMPLES)
    blocks = []
    for subject in range(size.subjects):
        given = 24.0 * np.arange(size.doses)
        times = given[-1] + np.sort(chosen * random.uniform(0.97, 1.03, size.samples))
        doses = [[subject + 1, t, 0.0, 60000.0 * (1 + subject % 4), 1] for t in given]
        blocks.append(np.array(doses + [[subject + 1, t, 1.0, 0.0, 0] for t in times]))
    return np.concatenate(blocks)


def _write(path: Path, table: np.ndarray) -> None:
    np.savetxt(path, table, delimiter=",", header="ID,TIME,DV,AMT,EVID", comments="", fmt="%.8g")


def _oral(size: Size, folder: Path) -> dict[str, Any]:
    random = _RANDOM[: size.effects]
    return {
        "name": "oral_two_compartments",
        "description": "Simulated oral doses, two compartments",
        "data": {"file": str(folder / "data.csv")},
        "model": "two_compartments_oral",
        "parameters": {
            **{f"t_{n}": {"start": 1.4 * v, "lower": 0, "scale": "log"} for n, v in _TYPICAL.items()},
            "proportional": {"start": 0.3, "lower": 0, "scale": "log"},
        },
        "random_effects": {"between_subject": {f"eta_{n}": {"variance": 0.15} for n in random}},
        "individual": {n: {"typical": f"t_{n}", "random": f"eta_{n}"} if n in random else f"t_{n}" for n in _TYPICAL},
        "endpoints": {
            "drug": {
                "prediction": "concentration",
                "error": {"model": "proportional", "proportional": "proportional"},
            }
        },
    }


def published(name: str, part: str) -> EstimationProblem:
    """A simulated set with a NONMEM result, `Oral_1CPT`, `Infusion_1CPT` or `Bolus_1CPTMM`, as its README says.

    Args:
        name: of the file.
        part: `SD` (single dose), `MD` (multiple doses) or `ALL`.
    """
    saturable = name == "Bolus_1CPTMM"
    starts = _SATURABLE if saturable else {k: v for k, v in _LINEAR.items() if k != "absorption_rate" or "Oral" in name}
    model = "one_compartment_michaelis_menten" if saturable else "one_compartment" + "_oral" * ("Oral" in name)
    data: dict[str, Any] = {"file": str(REFERENCE / f"{name}.csv")}
    if not saturable:
        data["drop"] = ["SS", "II"]
    if part != "ALL":
        data["accept"] = f"SD == {1 if part == 'SD' else 0}"
    return from_data(
        EstimationProblem,
        {
            "name": f"{name}_{part}".lower(),
            "description": "Simulated set with a known truth",
            "data": data,
            "model": model,
            "parameters": {
                **{f"log_{n}": {"start": v} for n, v in starts.items()},
                "proportional": {"start": 0.3, "lower": 0, "scale": "log"},
            },
            "random_effects": {"between_subject": {f"eta_{n}": {"variance": 0.15} for n in starts}},
            "individual": {n: {"typical": f"exp(log_{n})", "random": f"eta_{n}"} for n in starts},
            "endpoints": {
                "drug": {
                    "prediction": "concentration",
                    "error": {"model": "proportional", "proportional": "proportional"},
                }
            },
        },
    )


def problem_of(name: str, folder: Path) -> EstimationProblem:
    """A problem by the name the report uses."""
    if name == "oral_two_compartments":
        return simulated(Size(), folder)
    if name.startswith(("Oral_", "Infusion_", "Bolus_")):
        stem, part = name.rsplit("_", 1)
        return published(stem, part)
    return load_problem(name)
