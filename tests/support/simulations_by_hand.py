"""Simulations made by hand, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ipex_pd.simulation.results import Simulation
from ipex_pd.simulation.tables import DoseTable, Exposure, TroughTable


def made(
    times: np.ndarray,
    values: Mapping[str, np.ndarray],
    *,
    regimen: str = "by hand",
    units: Mapping[str, str] | None = None,
    alive: np.ndarray | None = None,
    exposures: tuple[Exposure, ...] = (),
    doses: DoseTable | None = None,
    troughs: TroughTable | None = None,
) -> Simulation:
    count = len(next(iter(values.values())))
    return Simulation(
        times=np.asarray(times, dtype=float),
        values={name: np.asarray(array, dtype=float) for name, array in values.items()},
        units={name: (units or {}).get(name, "1") for name in values},
        meanings={name: name.replace("_", " ") for name in values},
        patients=tuple(f"child-{index}" for index in range(count)),
        patient="child",
        regimen=regimen,
        age=np.full(count, 100.0),
        error=np.zeros(count),
        route=("mesh",) * count,
        alive=np.ones(count, dtype=bool) if alive is None else alive,
        exposures=exposures,
        doses=doses or DoseTable(),
        troughs=troughs or TroughTable(),
    )
