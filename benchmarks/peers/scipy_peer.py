"""SciPy, one patient after the other, restarted at every jump; the right-hand side is Python."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.integrate import odeint, solve_ivp

from benchmarks.equations import Array, Equations
from benchmarks.timeline import Segment


@dataclass(eq=False)
class SciPy:
    """A SciPy integrator as `timeline.Integrate`.

    LSODA is called through `odeint`, which has less overhead than `solve_ivp`; scalar code from sympy with `math` is
    faster here than NumPy arrays of 50 numbers.

    Attributes:
        equations: what is integrated.
        method: `lsoda` or `dop853`.
        rtol: relative tolerance; the absolute one is ``rtol * floor * scale``.
        scale: [n] size of every state.
        restart: first step after a jump [day].
        rates_in: `math` (scalar code, the faster) or `numpy` (as `sympy.lambdify` gives it to a SciPy user).
        seconds: spent inside.
    """

    equations: Equations
    method: Literal["lsoda", "dop853"]
    rtol: float
    scale: Array
    restart: float = 0.005
    floor: float = 1e-4
    seconds: float = 0.0
    rates_in: Literal["math", "numpy"] = "math"

    def __post_init__(self) -> None:
        self.rates = self.equations.function(self.rates_in)
        self.atol = self.rtol * self.floor * np.asarray(self.scale, float)

    def __call__(self, segment: Segment, x: Array, infusion: Array) -> tuple[Array, Array, Array]:
        """Integrate one segment."""
        after, rate = np.array(x, float), np.array(infusion, float)
        out = np.empty((len(segment.outputs), *x.shape))
        begin = time.perf_counter()
        for p in range(x.shape[1]):
            after[:, p], rate[:, p], out[:, :, p] = self._patient(segment, p, after[:, p], rate[:, p])
        self.seconds += time.perf_counter() - begin
        return after, rate, out

    def _patient(self, segment: Segment, p: int, x: Array, infusion: Array) -> tuple[Array, Array, Array]:
        q, rate = segment.q[:, p].tolist(), infusion.copy()
        real = np.isfinite(segment.event_time[:, p])
        events = list(
            zip(segment.event_time[real, p], segment.event_row[real, p], segment.event_value[real, p], strict=True)
        )
        edges = sorted({*np.round([t for t, _, _ in events], 9).tolist(), segment.end, segment.begin})
        out, t, k = np.empty((len(segment.outputs), len(x))), segment.begin, 0
        for edge in edges:
            wanted = [i for i, when in enumerate(segment.outputs) if t < when - 1e-9 and when <= edge + 1e-9]
            x, at = self._advance(float(segment.age[p]), x, rate.tolist(), q, t, edge, segment.outputs[wanted])
            out[wanted] = at
            t = edge
            while k < len(events) and events[k][0] <= edge + 1e-9:
                row, value = int(events[k][1]), events[k][2]
                if row >= 0:
                    x[row] += value
                else:
                    rate[-1 - row] += value
                k += 1
        return x, rate, out

    def _advance(
        self, age: float, x: Array, rate: list[float], q: list[float], begin: float, end: float, outputs: Array
    ) -> tuple[Array, Array]:
        if end - begin < 1e-12:
            return x, np.empty((0, len(x)))
        rates = self.rates
        inner = outputs[outputs < end - 1e-9]
        if self.method == "lsoda":
            grid = np.concatenate([[begin], inner, [end]])
            found = odeint(
                lambda t, y: rates(age + t, y.tolist(), rate, q),
                x,
                grid,
                rtol=self.rtol,
                atol=self.atol,
                tfirst=True,
                h0=min(self.restart, end - begin),
                mxstep=100000,
            )
        else:
            stops, rows = np.concatenate([inner, [end]]), [x]
            for left, right in zip(np.concatenate([[begin], inner]), stops, strict=True):
                step = min(self.restart, right - left)
                rows.append(
                    solve_ivp(
                        lambda t, y: rates(age + t, y.tolist(), rate, q),
                        (left, right),
                        rows[-1],
                        method="DOP853",
                        rtol=max(self.rtol, 3e-14),
                        atol=self.atol,
                        first_step=step,
                        t_eval=[right],
                    ).y[:, -1]
                )
            found = np.array(rows)
        return found[-1].copy(), found[1 : 1 + len(outputs)]
