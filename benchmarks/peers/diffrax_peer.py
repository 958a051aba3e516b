"""diffrax under `vmap`: exact stops at every jump and output, forward loop without adjoint buffers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Literal

import diffrax
import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.equations import Array, Equations
from benchmarks.timeline import Segment

_CAPACITY = 128
"""Stops of a segment are kept in lists of a multiple of this length, so that few programs are compiled."""


@dataclass(eq=False)
class Diffrax:
    """A diffrax solver as `timeline.Integrate`; drug compartments are states, as in every peer.

    Between jumps one `diffeqsolve` ends exactly at the next stop of each patient; all stops of a segment are one
    compiled scan, patients are mapped by `vmap`.

    Attributes:
        equations: what is integrated.
        rtol: relative tolerance; the absolute one is ``rtol * floor * scale``.
        scale: [n] size of every state.
        solver: `tsit5` or `dopri8`.
        restart: first step after a stop [day].
        seconds, compile_seconds: spent running, and compiling.
        steps: accepted and rejected, summed over patients.
    """

    equations: Equations
    rtol: float
    scale: Array
    solver: Literal["tsit5", "dopri8"] = "tsit5"
    restart: float = 0.02
    floor: float = 1e-4
    seconds: float = 0.0
    compile_seconds: float = 0.0
    steps: int = 0
    _programs: dict[tuple[int, int], Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        rates = self.equations.function("jax")

        def field_(t: Any, x: Any, given: tuple[Any, Any, Any]) -> Any:
            age, infusion, q = given
            return jnp.stack([jnp.asarray(r, float) for r in rates(age + t, x, infusion, q)])

        self._term = diffrax.ODETerm(field_)
        self._method = diffrax.Tsit5() if self.solver == "tsit5" else diffrax.Dopri8()

    def _patient(
        self,
        begin: Any,
        count: Any,
        rtol: Any,
        restart: Any,
        x: Any,
        infusion: Any,
        q: Any,
        age: Any,
        stops: Any,
        rows: Any,
        values: Any,
    ) -> Any:
        size = x.shape[0]
        control = diffrax.PIDController(rtol=rtol, atol=rtol * self.floor * jnp.asarray(self.scale))

        def stop(i: Any, carry: Any) -> Any:
            t, state, rate, steps, kept = carry
            when, row, value = stops[i], rows[i], values[i]
            first = jnp.minimum(restart, jnp.maximum(when - t, 1e-9))
            solution = diffrax.diffeqsolve(
                self._term,
                self._method,
                t,
                when,
                first,
                state,
                args=(age, rate, q),
                saveat=diffrax.SaveAt(t1=True),
                stepsize_controller=control,
                adjoint=diffrax.ForwardMode(),
                max_steps=None,
                throw=False,
            )
            reached = jnp.where(when > t, solution.ys[0], state)
            jumped = reached.at[jnp.where(row >= 0, row, size)].add(value, mode="drop")
            changed = rate.at[jnp.where(row < 0, -1 - row, rate.shape[0])].add(value, mode="drop")
            return when, jumped, changed, steps + solution.stats["num_steps"], kept.at[i].set(reached)

        kept = jnp.zeros((stops.shape[0], size))
        _, x, infusion, steps, kept = jax.lax.fori_loop(0, count, stop, (begin, x, infusion, 0, kept))
        return x, infusion, kept, steps

    def _program(self, arguments: tuple[Any, ...]) -> Any:
        key = arguments[8].shape
        if key not in self._programs:
            begin = time.perf_counter()
            mapped = jax.jit(jax.vmap(self._patient, in_axes=(*[None] * 4, *[-1] * 7), out_axes=-1))
            self._programs[key] = mapped.lower(*arguments).compile()
            self.compile_seconds += time.perf_counter() - begin
        return self._programs[key]

    def __call__(self, segment: Segment, x: Array, infusion: Array) -> tuple[Array, Array, Array]:
        """Integrate one segment."""
        count, stops, rows, values, outputs = _stops(segment, len(self.equations.states))
        arguments = tuple(
            jnp.asarray(a)
            for a in (
                np.float64(segment.begin),
                count,
                self.rtol,
                self.restart,
                x,
                infusion,
                segment.q,
                segment.age,
                stops,
                rows,
                values,
            )
        )
        program = self._program(arguments)
        begin = time.perf_counter()
        found = jax.block_until_ready(program(*arguments))
        self.seconds += time.perf_counter() - begin
        self.steps += int(np.sum(found[3]))
        reached = np.asarray(found[2])
        picked = np.take_along_axis(reached, outputs[:, None, :], axis=0)
        return np.asarray(found[0]), np.asarray(found[1]), picked


def _stops(segment: Segment, size: int) -> tuple[int, Array, Array, Array, Array]:
    """Jumps, outputs and the end as rising lists [K, P], how many of them count, and the places of outputs [T, P]."""
    patients = segment.event_time.shape[1]
    count = len(segment.outputs)
    final = np.append(segment.outputs, segment.end)
    extra = np.broadcast_to(final[:, None], (count + 1, patients))
    times = np.concatenate([extra, np.minimum(segment.event_time, segment.end)])
    nothing = np.full((count + 1, patients), size)
    rows = np.concatenate([nothing, np.where(np.isfinite(segment.event_time), segment.event_row, size)])
    values = np.concatenate([np.zeros((count + 1, patients)), segment.event_value])
    used = len(times)
    pad = -used % _CAPACITY
    times = np.concatenate([times, np.full((pad, patients), segment.end)])
    rows = np.concatenate([rows, np.full((pad, patients), size)])
    values = np.concatenate([values, np.zeros((pad, patients))])
    turn = np.argsort(np.round(times, 9), axis=0, kind="stable")
    place = np.argsort(turn, axis=0, kind="stable")[:count]
    sorted_times = np.maximum.accumulate(np.take_along_axis(times, turn, 0), axis=0)
    return used, sorted_times, np.take_along_axis(rows, turn, 0), np.take_along_axis(values, turn, 0), place
