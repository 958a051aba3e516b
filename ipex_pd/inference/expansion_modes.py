"""Conditional modes of a group whose predictions are costly: steps to the modes of expansions, in trust regions.

Every subject has its own radius and stops by itself; only those still moving are evaluated. The second derivatives of
an earlier point serve as a guess: they shorten the way, and never enter what is returned.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.conditional import effects, slope
from ipex_pd.inference.expansion import Expander, Expansion
from ipex_pd.inference.group import Group
from ipex_pd.inference.modes import find_modes
from ipex_pd.inference.objectives import Method, values_of
from ipex_pd.inference.population import Layout

Array = Any

CLOSE = {False: 1e-4, True: 1e-5}
"""Longest step [prior SD] after which second derivatives are worth their cost; True: where they are differences."""
SETTLED = {False: 1e-8, True: 1e-6}
"""Longest step [prior SD] from where second derivatives were taken; the mode itself is found to the square of it."""
BENT = {False: 1e-8, True: 1e-3}
"""How far a quantity moves, relatively, before second derivatives are taken anew; True: where they are differences."""
ROUGH = 0.1
"""The same in a rough search."""
ROUGHLY_CLOSE = 1e-3
"""In a rough search, the longest step [prior SD] that is left to the expansion."""
ROUGHLY_SETTLED = 1e-5
"""The same as `SETTLED` in a rough search."""
_NEAR = 0.25
_FAR = 1.5
_SMALLEST = 1e-10
_ROUNDING = 1e-11
_BISECTIONS = 40
_ROUNDS = 60
_PATIENCE = 6
_REFINEMENTS = 6


class _Look(NamedTuple):
    value: Array
    step: Array


@functools.partial(jax.jit, static_argnames=("layout", "method"))
def _look(group: Group, w: Array, z: Array, radius: Array, *, layout: Layout, method: Method) -> _Look:
    """l at z [B, q], and a step no longer than the radius [B] towards the mode of the expansion."""
    values = values_of(layout, jnp.broadcast_to(w, (*z.shape[:1], w.shape[0])))
    here = slope(group, values, z, method.reading)
    whole = find_modes(group, values, z, reading=method.reading, exact=False).z - z
    length = jnp.sqrt(jnp.sum(whole**2, -1))
    inside = jnp.isfinite(length) & (length <= radius)
    return _Look(here.value, jnp.where(inside[:, None], whole, _damped(here.gradient, here.curvature, radius)))


def _damped(gradient: Array, curvature: Array, radius: Array) -> Array:
    """-(C + a I)^-1 g with the least a >= 0 for which it is no longer than the radius: it always leads down."""
    size, axes = jnp.linalg.eigh(curvature)
    along = jnp.einsum("bij,bi->bj", axes, gradient)

    def length(damping: Array) -> Array:
        return jnp.sqrt(jnp.sum((along / (size + damping[:, None])) ** 2, -1))

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = 0.5 * (low + high)
        long = length(middle) > radius
        return jnp.where(long, middle, low), jnp.where(long, high, middle)

    none = jnp.zeros_like(radius)
    most = jnp.sqrt(jnp.sum(gradient**2, -1)) / radius
    _, enough = jax.lax.fori_loop(0, _BISECTIONS, halve, (none, jnp.where(length(none) > radius, most, none)))
    return -jnp.einsum("bij,bj->bi", axes, along / (size + enough[:, None]))


@functools.partial(jax.jit, static_argnames=("layout",))
def _known(group: Group, w: Array, z: Array, *, layout: Layout) -> tuple[Array, Array]:
    """theta [B, p] and eta [B, q] of z."""
    values = values_of(layout, jnp.broadcast_to(w, (*z.shape[:1], w.shape[0])))
    return values.theta, effects(group, values, z)


@dataclass
class _State:
    """Of every subject: mode so far, expansion there, l, next step, radius, and whether it still moves."""

    z: np.ndarray
    near: Expansion
    value: np.ndarray
    step: np.ndarray
    radius: np.ndarray
    moving: np.ndarray


class ModeSearch:
    """Searches the modes of one group.

    Args:
        expander: of the group.
        layout: of the search vector.
        method: conditional, without an exact search.
    """

    def __init__(self, expander: Expander, layout: Layout, method: Method) -> None:
        self.expander, self.layout, self.method = expander, layout, method
        self._close, self._settled = CLOSE[expander.split.differenced], SETTLED[expander.split.differenced]
        self.rough = False
        self.known: Expansion | None = None
        self.known_still: Expansion | None = None
        self._bent = np.full((expander.rows, expander.split.size), np.nan)

    @property
    def close(self) -> float:
        """Longest step [prior SD] at which a subject need not move on."""
        return ROUGHLY_CLOSE if self.rough else self._close

    @property
    def settled(self) -> float:
        """Longest step [prior SD] from where second derivatives were taken that is let stand."""
        return ROUGHLY_SETTLED if self.rough else self._settled

    def psi(self, w: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Individual quantities [B, m] at w [n], z [B, q]."""
        return self.expander.psi(*_known(self.expander.group, jnp.asarray(w), jnp.asarray(z), layout=self.layout))

    def still(self, w: np.ndarray) -> Expansion:
        """The expansion where eta is zero."""
        return self.around(w, np.zeros(self.expander.group.eta_mask.shape), second=self.expander.split.differenced)

    def around(self, w: np.ndarray, z: np.ndarray, *, second: bool) -> Expansion:
        """The expansion at z [B, q], nothing searched."""
        psi = self.psi(w, z)
        expand = self.expander.second if second else self.expander.first
        return expand(self.expander.nothing(psi), psi, np.ones(len(psi), bool))

    def modes(self, w: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, Expansion, Expansion | None]:
        """Modes [B, q] searched from `start`, exact expansions there, and where eta is zero if the method needs it."""
        still = None if self.method.reading.interaction else self.still(w)
        state = self._begin(w, start, still)
        for number in range(1, _ROUNDS + 1):
            length = np.sqrt((state.step**2).sum(-1))
            state.moving &= (length > self.close) & (state.radius > _SMALLEST)
            if not state.moving.any():
                break
            if number % _PATIENCE == 0:
                self._bend(w, state, still)
            self._advance(w, state, still)
        state = self._refined(w, state, still)
        self.known, self.known_still = state.near, still
        return state.z, state.near, still

    def _begin(self, w: np.ndarray, start: np.ndarray, still: Expansion | None) -> _State:
        """At the start, or where an earlier expansion nearby says that the mode should be."""
        z, rows = np.array(start, float), len(start)
        everyone = np.ones(rows, bool)
        psi = self.psi(w, z)
        near = self.expander.nothing(psi) if self.known is None else self.known
        if self.known is not None:
            close = (np.abs(psi - near.at) <= _NEAR * np.abs(near.at)).all(-1)
            guess = self._look(w, near, still, z, np.full(rows, _NEAR))
            use = close & np.isfinite(guess.step).all(-1) & np.isfinite(guess.value)
            z = np.where(use[:, None], z + guess.step, z)
            near = near.straight(~use)
        near = self.expander.first(near, self.psi(w, z), everyone)
        look = self._look(w, near, still, z, np.full(rows, _FAR))
        return _State(z, near, look.value, look.step, np.full(rows, _FAR), np.isfinite(look.value))

    def _bend(self, w: np.ndarray, state: _State, still: Expansion | None) -> None:
        """Second derivatives for those who creep: slopes alone lead slowly where residuals are large."""
        moving = state.moving
        state.near = self.expander.second(state.near, self.psi(w, state.z), moving)
        look = self._look(w, state.near, still, state.z, state.radius)
        use = moving & np.isfinite(look.step).all(-1)
        state.step = np.where(use[:, None], look.step, state.step)

    def _advance(self, w: np.ndarray, state: _State, still: Expansion | None) -> None:
        """One step of everybody who moves; those for whom it does not lead down get a shorter one."""
        moving, length = state.moving, np.sqrt((state.step**2).sum(-1))
        z = np.where(moving[:, None], state.z + state.step, state.z)
        near = self.expander.first(state.near, self.psi(w, z), moving)
        radius = np.where(moving, np.maximum(state.radius, 2.0 * length), state.radius)
        look = self._look(w, near, still, z, radius)
        with np.errstate(invalid="ignore"):
            down = look.value <= state.value + _ROUNDING * (1.0 + np.abs(state.value))
        down &= np.isfinite(look.value) & np.isfinite(look.step).all(-1)
        took, failed = moving & down, moving & ~down
        state.z = np.where(took[:, None], z, state.z)
        state.near = state.near.chosen(took, near)
        state.value = np.where(took, look.value, state.value)
        state.step = np.where(took[:, None], look.step, state.step)
        state.radius = np.where(took, radius, np.where(failed, 0.25 * length, state.radius))
        if failed.any():
            state.near = state.near.straight(failed)
            again = self._look(w, state.near, still, state.z, state.radius)
            state.step = np.where(failed[:, None], again.step, state.step)

    def _refined(self, w: np.ndarray, state: _State, still: Expansion | None) -> _State:
        """Second derivatives at the end of the last short step, and again until nothing moves."""
        length = np.sqrt((state.step**2).sum(-1))
        close, stale = length <= self.close, self._stale(self.psi(w, state.z))
        moved = close & (stale | (length > self.settled) & (not self.rough))
        z = np.where(moved[:, None], state.z + state.step, state.z)
        near = state.near if self.known is None else state.near._replace(bend=self.known.bend)
        near = self.expander.first(near, self.psi(w, z), moved & ~stale)
        rows = stale
        for number in range(_REFINEMENTS):
            psi = self.psi(w, z)
            # second derivatives that are differences are no better a few millionths further on
            again = number > 0 and self.expander.split.differenced
            near = (self.expander.first if again else self.expander.second)(near, psi, rows)
            self._bent[rows] = psi[rows]
            look = self._look(w, near, still, z, np.full(len(z), self.close))
            rows = close & stale & (np.sqrt((look.step**2).sum(-1)) > self.settled)
            if not rows.any():
                break
            z = np.where(rows[:, None], z + look.step, z)
        return _State(z, near, look.value, look.step, state.radius, rows)

    def _stale(self, psi: np.ndarray) -> np.ndarray:
        """Whose second derivatives are to be taken anew: who moved, and in a rough search only who went far."""
        far = ROUGH if self.rough else BENT[self.expander.split.differenced]
        near: np.ndarray = np.abs(psi - self._bent) <= far * np.abs(self._bent)
        return np.asarray(~near.all(-1))

    def _look(
        self, w: np.ndarray, near: Expansion, still: Expansion | None, z: np.ndarray, radius: np.ndarray
    ) -> _Look:
        group = self.expander.expanded(near, still)
        found = _look(
            group, jnp.asarray(w), jnp.asarray(z), jnp.asarray(radius), layout=self.layout, method=self.method
        )
        return _Look(*(np.asarray(part) for part in found))
