"""solve(): a system under a schedule, for a batch of patients, audited."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.numerics import program
from ipex_pd.numerics.mesh import Grading, build_mesh
from ipex_pd.numerics.schedule import Schedule, System, check_schedule

Array = Any

def quick(system, schedule, theta, age, output_times, grading, state=None):
    age = jnp.asarray(age, float)
    P = age.shape[0]
    theta = {n: jnp.broadcast_to(jnp.asarray(v, float), (P,)) for n, v in theta.items()}
    check_schedule(schedule, system)
    s = schedule.rows(P)
    x = program.initial_state(system, theta, age, state)
    lags = np.asarray(program.lags_of(system, s, theta, age, x))
    mesh = build_mesh(system, s, lags, np.asarray(output_times, float), grading, separate=False)
    layout = program.layout_for(system, s, mesh)
    return mesh, program.march(layout, s, mesh, theta, age, x, lags)
