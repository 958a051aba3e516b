"""What a search learns of a problem besides its minimum, for searches of the same problem that follow it.

A quasi-Newton search begins with the identity as Hessian and spends its first steps on learning what many doses do
together: it oversteps, comes back, and gains nothing meanwhile. The steps of the search before (with wider smoothing,
or on fewer members) tell that in advance. Their gradients make a Hessian B (damped BFGS); quantities w with
z = z0 + S w and S S' = inverse of B then have a curvature near one in every direction.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ipex_pd.numerics.constrained_limits import Array

_PAIRS = 40
_DAMPED = 0.2


def _nothing() -> Array:
    return np.zeros((0, 0))


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a search hands on.

    Attributes:
        unit: what of a gradient counts as one.
        gained: of the goal, since the first feasible point of the first search.
        steps: [k, n] between accepted points.
        changes: [k, n] of the goal's gradient along them.
    """

    unit: float
    gained: float = 0.0
    steps: Array = field(default_factory=_nothing)
    changes: Array = field(default_factory=_nothing)

    def root(self, scale: Array) -> Array | None:
        """S [n, n] with S S' the inverse Hessian by z, in `unit`s; None where no step tells of it.

        Args:
            scale: [n] x = shift + scale z.
        """
        pairs = [
            (step / scale, change * scale / self.unit)
            for step, change in zip(self.steps[-_PAIRS:], self.changes[-_PAIRS:], strict=True)
        ]
        bent = [float(y @ y / (s @ y)) for s, y in pairs if s @ y > 1e-12 * float(np.sqrt((s @ s) * (y @ y)))]
        if not bent:
            return None
        hessian = float(np.median(bent)) * np.eye(len(scale))
        for s, y in pairs:
            hessian = _updated(hessian, s, y)
        try:
            lower = np.linalg.cholesky(hessian)
        except np.linalg.LinAlgError:
            return None
        found: Array = np.linalg.inv(lower).T
        return found if np.isfinite(found).all() else None


def _updated(hessian: Array, s: Array, y: Array) -> Array:
    """BFGS, damped (Powell) so that it stays positive."""
    push = hessian @ s
    along, curved = float(s @ push), float(s @ y)
    if along <= 0.0:
        return hessian
    if curved < _DAMPED * along:
        part = (1.0 - _DAMPED) * along / (along - curved)
        y = part * y + (1.0 - part) * push
        curved = float(s @ y)
    found: Array = hessian - np.outer(push, push) / along + np.outer(y, y) / curved
    return found
