"""Where the engine's time goes: nanoseconds per patient and sub-step, by piece."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.engine import run
from benchmarks.figures import Figure, Part
from benchmarks.measure import repeated, say
from benchmarks.problem import SPEED_REGIMEN, case_of, population, weekly
from benchmarks.timeline import Case
from ipex_pd.numerics import program
from ipex_pd.numerics.explicit import mesh_advance
from ipex_pd.numerics.levels import grading_for
from ipex_pd.numerics.mesh import Mesh, build_mesh, event_times
from ipex_pd.numerics.reduction import dormant_states, reduce
from ipex_pd.numerics.schedule import Schedule
from ipex_pd.numerics.solve import SolverOptions, unaffected

BATCH = 256
LOOPS = 50
SLOW = 5.0
"""Fastest rate of an ordinary child's disease [1/day]: the class of the coarsest mesh."""


def measure(*, quick: bool) -> Part:
    """One batch of 256 patients of the speed regimen, 36 days; single pieces are timed in compiled loops."""
    patients, repeats = (8, 1) if quick else (BATCH, 5)
    case = case_of(population(patients, seed=1), SPEED_REGIMEN, weekly(0.1))
    pieces = _Pieces(case)
    figures = [_figure(f"{name}", work, count * patients, repeats) for name, work, count in pieces.all()]
    say("profile: the whole of solve()")
    options = SolverOptions(audit="off", threads=1)
    _, whole, _ = repeated(lambda: run(case, options), repeats)
    steps = pieces.mesh.steps
    figures.append(
        Figure(
            "all of `solve` without audit",
            1e9 * whole / steps / patients,
            "ns",
            note=f"{steps} sub-steps in {case.times[-1]:.0f} days; {1000 * whole / patients:.2f} ms a patient",
        )
    )
    return Part("profile", figures, {"patients": patients, "sub_steps": steps})


def _figure(name: str, work: Callable[[], Any], count: int, repeats: int) -> Figure:
    first, median, _ = repeated(work, repeats)
    say(f"profile: {name}: {1e9 * median / count:.0f} ns")
    return Figure(name, 1e9 * median / count, "ns", note=f"first call {first:.1f} s")


class _Pieces:
    """The pieces of a sub-step on the mesh of a case."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.system = case.system
        self.schedule: Schedule = case.schedule.rows(len(case.age))
        self.theta = {n: jnp.asarray(v) for n, v in case.theta.items()}
        self.age, self.x = jnp.asarray(case.age), jnp.asarray(case.start)
        self.lags = np.asarray(program.lags_of(self.system, self.schedule, self.theta, self.age, self.x))
        self.mesh: Mesh = self._mesh()
        absent = unaffected(self.system, self.theta)
        self.dormant = dormant_states(self.system.model, absent, self.case.theta, self.case.start)
        self.layout = program.layout_for(self.system, self.schedule, self.mesh, self.dormant)
        self.carry = program.start(self.layout, self.theta, self.age, self.x)

    def all(self) -> list[tuple[str, Callable[[], Any], int]]:
        """(name, work, how many sub-steps or calls one work is)."""
        blocks = program.padded(self.mesh, program.BLOCK)
        return [
            ("one disease right-hand side (twelve in a sub-step)", self._looped(self._rates), LOOPS),
            ("drugs, effects and DOP853 of a sub-step", self._looped(self._advance), LOOPS),
            ("a sub-step with its events, compiled block", self._block(blocks), program.BLOCK),
            ("rows of the mesh for the compiled block (host)", lambda: self._rows(blocks), program.BLOCK),
            ("building the mesh (host)", self._mesh, self.mesh.steps),
        ]

    def _looped(self, piece: Callable[[Any], Any]) -> Callable[[], Any]:
        compiled = jax.jit(lambda x: jax.lax.fori_loop(0, LOOPS, lambda i, y: piece(y), x))
        return lambda: jax.block_until_ready(compiled(self.x))

    def _rates(self, x: Any) -> Any:
        reduced = reduce(self.system.model, self.dormant)
        seen = [jnp.full(x.shape[1], 0.3)] * (len(reduced.inputs) + sum(f.used for f in reduced.filters))
        constants = reduced.prepare(self.theta, x)
        moving = x[np.array(reduced.moving)]
        return x.at[np.array(reduced.moving)].add(1e-6 * reduced.rates(self.age, moving, seen, self.theta, constants))

    def _advance(self, x: Any) -> Any:
        advance = mesh_advance(self.layout, self.theta, x)
        dosed = tuple(a + 1.0 for a in self.carry.amounts)
        carry = self.carry._replace(x=x, amounts=dosed)
        return advance(carry, self.age, jnp.full(x.shape[1], 0.2))[0]

    def _rows(self, mesh: Mesh) -> Any:
        table = event_times(self.schedule, self.lags, self.mesh.shared)
        return program.slots_of(
            mesh,
            self.schedule,
            program.lookup(self.schedule),
            self.lags,
            table,
            slice(0, program.BLOCK),
            event_names=program.event_names(self.layout),
        )

    def _block(self, mesh: Mesh) -> Callable[[], Any]:
        slots = self._rows(mesh)
        membership = program.orders_of(self.system, self.schedule, self.layout.orders)
        return lambda: jax.block_until_ready(
            program.block(self.layout, self.theta, self.age, membership, self.carry, slots)
        )

    def _mesh(self) -> Mesh:
        return build_mesh(self.system, self.schedule, self.lags, self.case.times, grading_for(0, SLOW), separate=False)
