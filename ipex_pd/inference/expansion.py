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
import itertools
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.conditional import along
from ipex_pd.inference.group import Group, Prediction

Array = Any

_SMALL_CHUNK = 8
_DIFFERENCE = 1e-4
_WIDE = 1e-3
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
        """Whether second derivatives are central differences of exact slopes, because F'' would compile for minutes."""

    def light(self, inputs: Any) -> Any:
        """What the cheap parts need of the inputs of a group; leaves begin with [B]."""

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

    def nothing(self, psi: np.ndarray) -> Expansion:
        """Nothing known around psi [B, m]."""
        m, shape = self.split.size, (self.rows, self.records)
        return Expansion(psi, np.full(shape, np.nan), *(np.zeros((*shape, *[m] * k)) for k in (1, 2, 3)))

    def psi(self, theta: Array, eta: Array) -> np.ndarray:
        """Individual quantities [B, m] of theta [B, p] and eta [B, q]."""
        return np.asarray(psi_of(self.light, theta, eta, split=self.split))

    def first(self, known: Expansion, psi: np.ndarray, rows: np.ndarray) -> Expansion:
        """The expansion with value and slope anew at psi for some rows [B]; second derivatives are kept as they are."""
        return self._anew(known, psi, rows, second=False)

    def second(self, known: Expansion, psi: np.ndarray, rows: np.ndarray) -> Expansion:
        """The expansion with everything anew at psi for some rows [B]."""
        return self._anew(known, psi, rows, second=True)

    def _anew(self, known: Expansion, psi: np.ndarray, rows: np.ndarray, *, second: bool) -> Expansion:
        parts = [np.array(part) for part in known]
        for places in _chunks(np.flatnonzero(rows), self.rows):
            found = self._second(places, psi[places]) if second else self._first(places, psi[places])
            usual = self._mask[places]
            parts[0][places] = psi[places]
            parts[1][places] = found[0]
            for part, new in zip(parts[2:], found[1:], strict=False):
                part[places] = np.where(usual.reshape(*usual.shape, *[1] * (new.ndim - 2)), new, 0.0)
        return Expansion(*parts)

    def _first(self, places: np.ndarray, psi: np.ndarray) -> tuple[np.ndarray, ...]:
        self.evaluations += 1
        found = _first(self.group.inputs, jnp.asarray(places), jnp.asarray(psi), split=self.split)
        return tuple(np.asarray(part) for part in found)

    def _second(self, places: np.ndarray, psi: np.ndarray) -> tuple[np.ndarray, ...]:
        if not self.split.differenced:
            self.evaluations += 1
            found = _second(self.group.inputs, jnp.asarray(places), jnp.asarray(psi), split=self.split)
            return tuple(np.asarray(part) for part in found)
        f, slope = self._first(places, psi)
        steps = _DIFFERENCE * self._sizes(psi)
        columns = []
        for i, unit in enumerate(np.eye(self.split.size)):
            ends = [self._first(places, psi + sign * unit * steps)[1] for sign in (1.0, -1.0)]
            columns.append((ends[0] - ends[1]) / (2.0 * steps[:, i, None, None]))
        bend = np.stack(columns, -1)
        return f, slope, 0.5 * (bend + np.swapaxes(bend, -1, -2))

    def third(self, psi: np.ndarray) -> Expansion:
        """Expansions of everybody at psi with third derivatives, from differences of exact slopes."""
        m, everyone = self.split.size, np.arange(self.rows)
        steps, units = _WIDE * self._sizes(psi), np.eye(m)

        def slope_at(away: np.ndarray) -> np.ndarray:
            found = self._first(everyone, psi + away * steps)[1]
            return np.where(self._mask[..., None], found, 0.0)

        f, middle = self._first(everyone, psi)
        middle = np.where(self._mask[..., None], middle, 0.0)
        up, down = ([slope_at(sign * unit) for unit in units] for sign in (1.0, -1.0))
        bend = np.stack([(up[i] - down[i]) / (2.0 * steps[:, i, None, None]) for i in range(m)], -1)
        twist = np.zeros((*bend.shape, m))
        for j in range(m):
            curved = (up[j] - 2.0 * middle + down[j]) / (steps[:, j] ** 2)[:, None, None]
            for i in range(m):
                _fill(twist, (i, j, j), curved[..., i])
        for j, k in _pairs(m):
            away = units[j] + units[k]
            mixed = slope_at(away) + slope_at(-away) - up[j] - down[j] - up[k] - down[k] + 2.0 * middle
            mixed = mixed / (2.0 * steps[:, j] * steps[:, k])[:, None, None]
            for i in set(range(m)) - {j, k}:
                _fill(twist, (i, j, k), mixed[..., i])
        return Expansion(psi, f, middle, 0.5 * (bend + np.swapaxes(bend, -1, -2)), twist)

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
    """Rows in pieces of one of two sizes, the last filled up with a row that is there already."""
    if not len(places):
        return []
    if rows <= 2 * _SMALL_CHUNK or len(places) > rows // 2:
        return [np.concatenate([places, np.repeat(places[:1], rows - len(places))])]
    size = _SMALL_CHUNK
    padded = np.concatenate([places, np.repeat(places[:1], -len(places) % size)])
    return list(padded.reshape(-1, size))


def _fill(tensor: np.ndarray, place: tuple[int, int, int], values: np.ndarray) -> None:
    """Set an entry of a symmetric tensor at all its places."""
    for some in itertools.permutations(place):
        tensor[:, :, some[0], some[1], some[2]] = values


def _pairs(size: int) -> list[tuple[int, int]]:
    """Few pairs such that of any three of `size` quantities two make one of them."""
    open_triples = set(itertools.combinations(range(size), 3))
    found = []
    while open_triples:
        best = max(
            itertools.combinations(range(size), 2), key=lambda pair: sum(set(pair) <= set(t) for t in open_triples)
        )
        open_triples = {t for t in open_triples if not set(best) <= set(t)}
        found.append(best)
    return found
