"""Derivatives of a costly function from its values at few points around one: weights that are exact for polynomials.

With values v_k at x + s p_k, weights c solve sum_k c_k p_k^a = a! of the derivative wanted and 0 of every other
monomial up to the order; of those the shortest. Points come in pairs p and -p, so that the next order cancels too.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import lru_cache
from math import factorial
from typing import NamedTuple

import numpy as np

SIZES = {1: 1e-4, 2: 3e-4, 3: 2e-3}
"""Steps by order, relative: what rounding and what is left out of the polynomial then add is of one size."""


class Stencil(NamedTuple):
    """Points around a centre, in steps, and the weights of their values.

    Attributes:
        points: [K, m], the first is the centre.
        weights: of each order 0, 1, ..., [m, ..., m, K].
    """

    points: np.ndarray
    weights: tuple[np.ndarray, ...]

    def derivatives(self, values: np.ndarray, steps: np.ndarray) -> list[np.ndarray]:
        """Of every order, [B, N, m, ...], from values [K, B, N] at steps [B, m]."""
        found = []
        for order, weights in enumerate(self.weights):
            part = np.moveaxis(np.tensordot(weights, values, axes=(-1, 0)), (-2, -1), (0, 1))
            for axis in range(order):
                shape = [len(steps), 1, *[1] * order]
                shape[2 + axis] = steps.shape[1]
                part = part / steps.reshape(shape)
            found.append(part)
        return found


@lru_cache(maxsize=32)
def stencil(size: int, order: int) -> Stencil:
    """Points and weights for all derivatives by `size` quantities up to an order of 1 (one-sided), 2 or 3."""
    points = np.array(list(_points(size, order)), float)
    chosen = (c for n in range(order + 1) for c in itertools.combinations_with_replacement(range(size), n))
    exponents = [tuple(c.count(i) for i in range(size)) for c in chosen]
    table = np.array([np.prod(points ** np.array(a), axis=1) for a in exponents])
    solved = np.linalg.pinv(table)
    place = {a: k for k, a in enumerate(exponents)}
    weights = []
    for degree in range(order + 1):
        tensor = np.zeros((*[size] * degree, len(points)))
        for axes in itertools.product(range(size), repeat=degree):
            powers = tuple(axes.count(i) for i in range(size))
            tensor[axes] = solved[:, place[powers]] * np.prod([factorial(p) for p in powers])
        weights.append(tensor)
    return Stencil(points, tuple(weights))


def _points(size: int, order: int) -> Iterator[np.ndarray]:
    units = np.eye(size)
    yield np.zeros(size)
    if order == 1:
        yield from units
        return
    ends = [sign * unit for unit in units for sign in (1.0, -1.0)]
    yield from ends
    pairs = list(itertools.combinations(range(size), 2))
    for i, j in pairs:
        yield from (sign * (units[i] + units[j]) for sign in (1.0, -1.0))
    if order == 3:
        yield from (2.0 * end for end in ends)
        for i, j in pairs:
            yield from (sign * (units[i] - units[j]) for sign in (1.0, -1.0))
        for i, j, k in itertools.combinations(range(size), 3):
            yield from (sign * (units[i] + units[j] + units[k]) for sign in (1.0, -1.0))
