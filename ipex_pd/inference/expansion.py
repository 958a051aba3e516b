"""A group expanded to second order around points of its own: costly predictions as data of a cheap program.

FO, FOCE and FOCEI, their exact gradients and the exact Hessian of the joint at a mode need a prediction only up to its
second derivatives there, by the few individual quantities psi through which theta and eta enter:

```
psi = h(theta, eta)                                         cheap, differentiable
readings = F(psi)                                           costly; only forward programs: F, F', F''
prediction = T(readings, theta, eta)                        cheap: transforms and residual variances
expanded: readings = f + J d + d'H d / 2,  d = h(theta, eta) - psi0
```

At psi0 the value and both derivatives of the expanded prediction are those of the model, so that the programs of
`objectives` give there what they would give with the model itself.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.conditional import along
from ipex_pd.inference.expansion_stencil import SIZES, stencil
from ipex_pd.inference.group import Group, Prediction

Array = Any

_SMALL_CHUNK = 8
_LEAST = 1e-3


class Split(Hashable, Protocol):
    """A predictor in three parts; static, equal ones compute the same. All functions are row by row."""

    @property
    def size(self) -> int:
        """m, the number of individual quantities."""

    @property
    def least(self) -> tuple[float, ...]:
        """The least size [m] that a difference takes a quantity to have; 0 where its own value tells."""

    @property
    def differenced(self) -> bool:
        """Whether derivatives are differences of values, because those of the program would compile for minutes."""

    def light(self, inputs: Any) -> Any:
        """What the cheap parts need of the inputs of a group; leaves begin with [B]."""

    def effort(self, inputs: Any) -> np.ndarray:
        """[B] what the readings of a row cost, in any unit: rows of similar cost are taken together."""

    def psi(self, light: Any, theta: Array, eta: Array) -> Array:
        """Individual quantities [B, m] of theta [B, p] and eta [B, q]."""

    def readings(self, inputs: Any, psi: Array) -> Array:
        """What is costly, of every record: [B, N]."""

    def finish(self, light: Any, readings: Array, theta: Array, eta: Array) -> Prediction:
        """Predictions [B, N]."""


class Expansion(NamedTuple):
    """A function of m quantities around a point, row by row.

    Attributes:
        at: [B, m].
        f: [B, N].
        slope: [B, N, m].
        bend: [B, N, m, m] second derivatives; zero where only the slope is known.
        twist: [B, N, m, m, m] third derivatives; zero where they are not known.
    """

    at: Array
    f: Array
    slope: Array
    bend: Array
    twist: Array

    def value(self, psi: Array) -> Array:
        """[B, N] from what is known."""
        away = psi - self.at
        twisted = self.bend + jnp.einsum("bnijk,bk->bnij", self.twist, away) / 3.0
        bent = self.slope + 0.5 * jnp.einsum("bnij,bj->bni", twisted, away)
        return self.f + jnp.einsum("bni,bi->bn", bent, away)

    def chosen(self, rows: np.ndarray, other: Expansion) -> Expansion:
        """This one with the rows [B] of the other."""
        pairs = zip(self, other, strict=True)
        return Expansion(*(np.where(rows.reshape(-1, *[1] * (b.ndim - 1)), b, a) for a, b in pairs))

    def straight(self, rows: np.ndarray) -> Expansion:
        """This one without second derivatives in some rows [B]."""
        return self._replace(bend=np.where(rows[:, None, None, None], 0.0, self.bend))


class ExpandedInputs(NamedTuple):
    """Inputs of an expanded group.

    Attributes:
        light: of the split.
        near: the expansion to use.
        still: another one, where eta is exactly zero (residual variance without interaction); None when not needed.
    """

    light: Any
    near: Expansion
    still: Expansion | None


@dataclass(frozen=True)
class Expanded:
    """The predictor of an expanded group."""

    split: Split

    def __call__(self, inputs: ExpandedInputs, theta: Array, eta: Array) -> Prediction:
        """Predictions [B, N] from the expansion."""
        psi = self.split.psi(inputs.light, theta, eta)
        readings = inputs.near.value(psi)
        if inputs.still is not None:
            zero = jnp.all(eta == 0, axis=-1)[:, None]
            readings = jnp.where(zero, inputs.still.value(psi), readings)
        return self.split.finish(inputs.light, readings, theta, eta)


@functools.partial(jax.jit, static_argnames=("split",))
def _zeroth(inputs: Any, rows: Array, psi: Array, *, split: Split) -> Array:
    return split.readings(jax.tree.map(lambda leaf: leaf[rows], inputs), psi)


@functools.partial(jax.jit, static_argnames=("split",))
def _first(inputs: Any, rows: Array, psi: Array, *, split: Split) -> tuple[Array, Array]:
    own = jax.tree.map(lambda leaf: leaf[rows], inputs)
    pair: tuple[Array, Array] = along(lambda x: split.readings(own, x), psi)
    return pair


@functools.partial(jax.jit, static_argnames=("split",))
def _second(inputs: Any, rows: Array, psi: Array, *, split: Split) -> tuple[Array, Array, Array]:
    own = jax.tree.map(lambda leaf: leaf[rows], inputs)

    def first(x: Array) -> tuple[Array, Array]:
        pair: tuple[Array, Array] = along(lambda point: split.readings(own, point), x)
        return pair

    (f, slope), (_, bend) = along(first, psi)
    return f, slope, bend


@functools.partial(jax.jit, static_argnames=("split",))
def psi_of(light: Any, theta: Array, eta: Array, *, split: Split) -> Array:
    """Individual quantities [B, m]."""
    return split.psi(light, theta, eta)


class Expander:
    """Expands the subjects of one group, only those that are asked for, in few shapes.

    Args:
        group: with leaves on the device.
        split: of its predictor.
    """

    def __init__(self, group: Group, split: Split) -> None:
        self.group, self.split = group, split
        self.light = split.light(group.inputs)
        self.rows, self.records = group.shape
        self.evaluations = 0
        self._mask = np.asarray(group.mask)
        self._effort = split.effort(group.inputs)

    def nothing(self, psi: np.ndarray) -> Expansion:
        """Nothing known around psi [B, m]."""
        m, shape = self.split.size, (self.rows, self.records)
        return Expansion(psi, np.full(shape, np.nan), *(np.zeros((*shape, *[m] * k)) for k in (1, 2, 3)))

    def psi(self, theta: Array, eta: Array) -> np.ndarray:
        """Individual quantities [B, m] of theta [B, p] and eta [B, q]."""
        return np.asarray(psi_of(self.light, theta, eta, split=self.split))

    def first(self, known: Expansion, psi: np.ndarray, rows: np.ndarray) -> Expansion:
        """The expansion with value and slope anew at psi for some rows [B]; second derivatives are kept as they are.

        Differenced slopes are one-sided, mended by the second derivatives that are kept.
        """
        return self._anew(known, psi, rows, second=False)

    def second(self, known: Expansion, psi: np.ndarray, rows: np.ndarray) -> Expansion:
        """The expansion with everything anew at psi for some rows [B]."""
        return self._anew(known, psi, rows, second=True)

    def _anew(self, known: Expansion, psi: np.ndarray, rows: np.ndarray, *, second: bool) -> Expansion:
        parts = [np.array(part) for part in known]
        places = np.flatnonzero(rows)
        if not len(places):
            return known
        if self.split.differenced:
            found = self._differenced(places, psi[places], 2 if second else 1)
            if not second:
                steps = SIZES[1] * self._sizes(psi[places])
                found[1] = found[1] - 0.5 * np.einsum("bnii,bi->bni", known.bend[places], steps)
        else:
            found = self._differentiated(places, psi[places], second=second)
        usual = self._mask[places]
        parts[0][places] = psi[places]
        parts[1][places] = found[0]
        for part, new in zip(parts[2:], found[1:], strict=False):
            part[places] = np.where(usual.reshape(*usual.shape, *[1] * (new.ndim - 2)), new, 0.0)
        return Expansion(*parts)

    def _differentiated(self, places: np.ndarray, psi: np.ndarray, *, second: bool) -> list[np.ndarray]:
        """Value, slope and bend of some rows by the program of the model's own derivatives."""
        program = _second if second else _first
        pieces = []
        for some in _chunks(np.arange(len(places)), self.rows):
            self.evaluations += 1
            found = program(self.group.inputs, jnp.asarray(places[some]), jnp.asarray(psi[some]), split=self.split)
            pieces.append([np.asarray(part) for part in found])
        return [np.concatenate(parts)[: len(places)] for parts in zip(*pieces, strict=True)]

    def _differenced(self, places: np.ndarray, psi: np.ndarray, order: int) -> list[np.ndarray]:
        """Derivatives of some rows up to an order, from values around psi."""
        known, steps = stencil(self.split.size, order), SIZES[order] * self._sizes(psi)
        around = (psi + known.points[:, None, :] * steps).reshape(-1, psi.shape[1])
        values = self._values(np.tile(places, len(known.points)), around)
        values = values.reshape(len(known.points), len(places), -1)
        return [values[0], *known.derivatives(values, steps)[1:]]

    def _values(self, places: np.ndarray, psi: np.ndarray) -> np.ndarray:
        """Readings [n, N] of rows [n], each as often as it is named."""
        order = np.argsort(self._effort[places], kind="stable")
        found = np.zeros((len(places), self.records))
        for some in _chunks(order, self.rows):
            self.evaluations += 1
            rows = jnp.asarray(places[some])
            found[some] = _zeroth(self.group.inputs, rows, jnp.asarray(psi[some]), split=self.split)
        return found

    def third(self, psi: np.ndarray) -> Expansion:
        """Expansions of everybody at psi with third derivatives, from values around it."""
        f, *parts = self._differenced(np.arange(self.rows), psi, 3)
        usual = [np.where(self._mask.reshape(*self._mask.shape, *[1] * (p.ndim - 2)), p, 0.0) for p in parts]
        return Expansion(psi, f, *usual)

    def _sizes(self, psi: np.ndarray) -> np.ndarray:
        """[B, m] of quantities, for differences."""
        own = np.maximum(np.abs(psi), _LEAST * np.abs(psi).max(0))
        sizes: np.ndarray = np.maximum(own, np.array(self.split.least))
        return np.where(sizes > 0, sizes, 1.0)

    def expanded(self, near: Expansion, still: Expansion | None = None) -> Group:
        """The group with its predictor replaced by the expansion."""
        parts = [jax.tree.map(jnp.asarray, part) for part in (near, still)]
        return replace(self.group, inputs=ExpandedInputs(self.light, *parts), predictor=Expanded(self.split))


def _chunks(places: np.ndarray, rows: int) -> list[np.ndarray]:
    """Places in pieces of one of two sizes, the last filled up with one that is there already."""
    whole = len(places) // rows * rows
    pieces = list(places[:whole].reshape(-1, rows))
    rest = places[whole:]
    if len(rest):
        size = rows if rows <= 2 * _SMALL_CHUNK or len(rest) > rows // 2 else _SMALL_CHUNK
        padded = np.concatenate([rest, np.repeat(rest[:1], -len(rest) % size)])
        pieces += list(padded.reshape(-1, size))
    return pieces
