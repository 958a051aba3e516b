"""Simulations on disk: arrays in `simulation.npz`, words in `simulation.json`; a folder appears whole or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ipex_pd.errors import OutputError, RecordError
from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import DoseTable, Exposure, TroughTable

SCHEMA = "ipex_pd.simulation/1"


def _words(sim: Simulation) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "patient": sim.patient,
        "patients": list(sim.patients),
        "regimen": sim.regimen,
        "quantities": list(sim.values),
        "units": dict(sim.units),
        "meanings": dict(sim.meanings),
        "route": list(sim.route),
        "seed": sim.seed,
        "exposures": [asdict(item) for item in sim.exposures],
        "doses": {"drug": list(sim.doses.drug), "route": list(sim.doses.route)},
        "troughs": {"drug": list(sim.troughs.drug)},
        "warnings": list(sim.warnings),
        "assumptions": list(sim.assumptions),
        "sources": list(sim.sources),
    }


def _arrays(sim: Simulation) -> dict[str, Any]:
    values = {f"value_{index}": array for index, array in enumerate(sim.values.values())}
    return values | {
        "times": sim.times,
        "age": sim.age,
        "error": sim.error,
        "alive": sim.alive,
        "dose_times": sim.doses.times,
        "dose_amount": sim.doses.amount,
        "dose_duration": sim.doses.duration,
        "trough_times": sim.troughs.times,
        "trough_value": sim.troughs.trough,
        "trough_multiplier": sim.troughs.multiplier,
    }


def save(sim: Simulation, folder: Path) -> Path:
    """Write a simulation to a new folder. Raises: OutputError."""
    if folder.exists():
        raise OutputError(
            "the folder exists already", where=str(folder), rule="Results never overwrite", cure="Choose a new name"
        )
    draft: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        draft.chmod(0o755)
        np.savez_compressed(draft / "simulation.npz", **_arrays(sim))
        (draft / "simulation.json").write_text(json.dumps(_words(sim), indent=1), encoding="utf-8")
        draft.rename(folder)
    except OSError as error:
        raise OutputError(
            f"the simulation cannot be written ({error.strerror or error})",
            where=str(folder),
            cure="Choose another place",
        ) from error
    finally:
        if draft is not None:
            shutil.rmtree(draft, ignore_errors=True)
    return folder


def load(folder: Path) -> Simulation:
    """Read a simulation that `save` wrote. Raises: RecordError."""
    try:
        words = json.loads((folder / "simulation.json").read_text(encoding="utf-8"))
        with np.load(folder / "simulation.npz", allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        if words["schema"] != SCHEMA:
            raise RecordError(f"schema `{words['schema']}` is unknown", where=str(folder), rule=f"Expected `{SCHEMA}`")
        return _assemble(words, arrays)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise RecordError(
            f"no readable simulation here ({error})", where=str(folder), cure="Name a folder that Simulation.save wrote"
        ) from error


def _assemble(words: dict[str, Any], arrays: dict[str, Any]) -> Simulation:
    return Simulation(
        times=arrays["times"],
        values={name: arrays[f"value_{index}"] for index, name in enumerate(words["quantities"])},
        units=words["units"],
        meanings=words["meanings"],
        patients=tuple(words["patients"]),
        patient=words["patient"],
        regimen=words["regimen"],
        age=arrays["age"],
        error=arrays["error"],
        route=tuple(words["route"]),
        alive=arrays["alive"],
        seed=words["seed"],
        exposures=tuple(Exposure(**item) for item in words["exposures"]),
        doses=DoseTable(
            tuple(words["doses"]["drug"]),
            tuple(words["doses"]["route"]),
            arrays["dose_times"],
            arrays["dose_amount"],
            arrays["dose_duration"],
        ),
        troughs=TroughTable(
            tuple(words["troughs"]["drug"]), arrays["trough_times"], arrays["trough_value"], arrays["trough_multiplier"]
        ),
        warnings=tuple(words["warnings"]),
        assumptions=tuple(words["assumptions"]),
        sources=tuple((key, citation) for key, citation in words["sources"]),
    )
