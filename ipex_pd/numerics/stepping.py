"""One step of the disease over a sub-step: order eight, or of second order and stable over many days.

```python
EIGHTH.step(rhs, x, inputs, age, length)  # DOP853
Chebyshev(8).step(rhs, x, inputs, age, length)  # stable for rates up to Chebyshev(8).reach / length
```

A right-hand side is ``(age [B], states [M, B], inputs [I, B]) -> slopes [M, B]``; inputs are given at `times` of the
method, as parts of the sub-step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev
from scipy.integrate import DOP853

from ipex_pd.numerics.rows import rows_of

Array = Any
Slope = Callable[[Array, Array, Array], Array]

STAGES = 12
"""Of DOP853 without its error estimate."""
_DAMPING = 2.0 / 13.0
"""Of Chebyshev polynomials: five hundredths of the oscillations of stiff parts are damped at each step."""


class Method(Protocol):
    """How a sub-step is taken; equal ones are one program."""

    @property
    def times(self) -> np.ndarray:
        """[stage] at which the right-hand side is asked, as parts of the sub-step."""

    def step(self, rhs: Slope, x: Array, inputs: Array, age: Array, length: Array) -> Array:
        """States at the end.

        Args:
            rhs: the right-hand side.
            x: [M, B].
            inputs: [stage, I, B].
            age: [B] at the left edge [day].
            length: [B] [day].
        """


@dataclass(frozen=True)
class EighthOrder:
    """DOP853 (Hairer, Norsett and Wanner 1993, coefficients of SciPy), the stages in a loop: the program holds the
    right-hand side once. Stable for real rates up to about six a step."""

    @property
    def times(self) -> np.ndarray:
        """[12]."""
        return np.asarray(DOP853.C[:STAGES])

    def step(self, rhs: Slope, x: Array, inputs: Array, age: Array, length: Array) -> Array:
        """As `Method.step`."""
        if not x.shape[0]:
            return x

        def stage(slopes: Array, row: tuple[Array, Array, Array, Array]) -> tuple[Array, None]:
            i, weights, share, seen = row
            slope = rhs(age + share * length, x + length * jnp.tensordot(weights, slopes, axes=1), seen)
            return jax.lax.dynamic_update_slice(slopes, slope[None], (i, 0, 0)), None

        rows = (jnp.arange(STAGES), jnp.asarray(DOP853.A[:STAGES, :STAGES]), jnp.asarray(self.times), inputs)
        slopes, _ = jax.lax.scan(stage, jnp.zeros((STAGES, *x.shape)), rows)
        return x + length * jnp.tensordot(jnp.asarray(DOP853.B), slopes, axes=1)


EIGHTH = EighthOrder()


class _Recurrence(NamedTuple):
    """Coefficients [stage] of stages two to the last; those of Sommeijer, Shampine and Verwer (1997)."""

    first: float
    times: np.ndarray
    mu: np.ndarray
    nu: np.ndarray
    slope: np.ndarray
    opening: np.ndarray


@dataclass(frozen=True)
class Chebyshev:
    """The Runge-Kutta-Chebyshev method of second order (Sommeijer, Shampine and Verwer, J Comput Appl Math 1997;
    88:315-326): stable over steps that grow with the square of the stages.

    For the quiet years, where a few fast states stand at their balance and bound the step of DOP853.

    Args:
        stages: evaluations of the right-hand side, two or more.
    """

    stages: int

    def __post_init__(self) -> None:
        if self.stages < 2:
            raise ValueError("a Chebyshev method of second order has two stages or more")

    @property
    def reach(self) -> float:
        """Real rates times length up to which steps are stable."""
        return float(2.0 / 3.0 * (self.stages**2 - 1) * (1.0 - 2.0 / 15.0 * _DAMPING))

    @property
    def times(self) -> np.ndarray:
        """[stages]."""
        return self._recurrence.times

    @cached_property
    def _recurrence(self) -> _Recurrence:
        orders = np.arange(self.stages + 1)
        at = 1.0 + _DAMPING / self.stages**2
        shapes = np.eye(self.stages + 1)
        value, slope, bend = (
            np.array([chebyshev.chebval(at, chebyshev.chebder(row, k)) for row in shapes]) for k in range(3)
        )
        scale = slope[-1] / bend[-1]
        b = np.empty(self.stages + 1)
        b[2:] = bend[2:] / slope[2:] ** 2
        b[:2] = b[2]
        c = np.zeros(self.stages + 1)
        c[2:] = scale * bend[2:] / slope[2:]
        c[1] = c[2] / slope[2]
        j = orders[2:]
        push = 2.0 * b[j] * scale / b[j - 1]
        return _Recurrence(
            first=float(b[1] * scale),
            times=c[:-1],
            mu=2.0 * b[j] * at / b[j - 1],
            nu=-b[j] / b[j - 2],
            slope=push,
            opening=-(1.0 - b[j - 1] * value[j - 1]) * push,
        )

    def step(self, rhs: Slope, x: Array, inputs: Array, age: Array, length: Array) -> Array:
        """As `Method.step`."""
        if not x.shape[0]:
            return x
        known = self._recurrence
        begin = length * rhs(age, x, inputs[0])

        def stage(last: tuple[Array, Array], row: tuple[Array, ...]) -> tuple[tuple[Array, Array], None]:
            before, now = last
            weights, seen = row
            mu, nu, slope, opening, share = rows_of(weights)
            moved = length * rhs(age + share * length, now, seen)
            after = (1.0 - mu - nu) * x + mu * now + nu * before + slope * moved + opening * begin
            return (now, after), None

        table = np.stack([known.mu, known.nu, known.slope, known.opening, known.times[1:]], axis=1)
        (_, end), _ = jax.lax.scan(stage, (x, x + known.first * begin), (jnp.asarray(table), inputs[1:]))
        return end
