"""Residual errors and transforms: variances, transformed observations and their Jacobians (see `records.endpoints`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.records.endpoints import PREDICTION, ResidualError, Transform
from ipex_pd.records.formulas import Formula

Array = Any
Numbers = NDArray[np.float64]


def transformed(transform: Transform | None, value: Array) -> Array:
    """h(value), elementwise and traceable; the value itself without a transform."""
    if transform is None:
        return value
    shape = 0.0 if transform.shape is None else transform.shape
    if transform.positive:
        return jnp.log(value) if shape == 0 else (value**shape - 1.0) / shape
    above = value >= 0
    up, down = jnp.where(above, value, 0.0), jnp.where(above, 0.0, -value)
    return jnp.where(above, _stretched(up, shape), -_stretched(down, 2.0 - shape))


def _stretched(value: Array, shape: float) -> Array:
    """((1 + value)^shape - 1)/shape, the logarithm at 0."""
    return jnp.log1p(value) if shape == 0 else jnp.expm1(shape * jnp.log1p(value)) / shape


def jacobian(transform: Transform | None, y: Numbers) -> Numbers:
    """-2 log |h'(y)| of observations."""
    if transform is None:
        return np.zeros_like(y)
    shape = 0.0 if transform.shape is None else transform.shape
    if transform.positive:
        return np.asarray(-2.0 * (shape - 1.0) * np.log(y))
    slope = np.where(y >= 0, shape - 1.0, 1.0 - shape)
    return np.asarray(-2.0 * slope * np.log1p(np.abs(y)))


@dataclass(frozen=True)
class Spread:
    """The variance of an endpoint as a function of its prediction; compares by what it computes.

    Attributes:
        model, coefficients, scale, unit_weight: see `records.endpoints.ResidualError`.
        terms: its formulas by name.
        transform: of the endpoint.
    """

    model: str
    coefficients: str
    scale: str
    unit_weight: bool
    terms: tuple[tuple[str, Formula], ...]
    transform: Transform | None

    @classmethod
    def of(cls, error: ResidualError, transform: Transform | None) -> Spread:
        """From the record of an endpoint."""
        weight = error.zero_prediction == "unit_weight"
        return cls(error.model, error.coefficients, error.scale, weight, tuple(error.formulas().items()), transform)

    def variance(self, prediction: Array, values: Mapping[str, Array]) -> Array:
        """On the transformed scale, elementwise.

        Args:
            prediction: untransformed.
            values: names of the formulas.
        """
        return jnp.broadcast_to(self._variance(prediction, values), jnp.shape(prediction))

    def _variance(self, prediction: Array, values: Mapping[str, Array]) -> Array:
        if self.model == "formula":
            sd = compile_formula(dict(self.terms)["sd"])({**values, PREDICTION: prediction})
            return sd**2
        terms = {name: compile_formula(formula)(values) for name, formula in self.terms}
        a, b, c = terms.get("additive"), terms.get("proportional"), terms.get("exponent")
        if self.model in ("additive", "exponential"):
            return self._squared(a)
        grown = self._grown(prediction, c)
        if self.model == "combined1":
            return (self._rooted(a) + self._rooted(b) * grown) ** 2
        varying = self._squared(b) * grown**2
        return varying + self._squared(a) if self.model == "combined2" else varying

    def _squared(self, coefficient: Array) -> Array:
        return coefficient if self.coefficients == "variance" else coefficient**2

    def _rooted(self, coefficient: Array) -> Array:
        return jnp.sqrt(coefficient) if self.coefficients == "variance" else coefficient

    def _grown(self, prediction: Array, exponent: Array | None) -> Array:
        """g^c; with `unit_weight` g is 1 where it is 0."""
        base = transformed(self.transform, prediction) if self.scale == "transformed" else prediction
        if self.unit_weight:
            base = jnp.where(base == 0, 1.0, base)
        if exponent is None:
            return base
        zero = base == 0
        return jnp.where(zero, 0.0, jnp.abs(jnp.where(zero, 1.0, base)) ** exponent)


Observe = Callable[[Numbers], Numbers]


def observe(transform: Transform | None) -> Observe:
    """h on observed numbers, infinite limits included."""

    def on(values: Numbers) -> Numbers:
        if transform is None:
            return values
        with np.errstate(divide="ignore"):
            ends = np.where(np.isinf(values), 1.0, values)
            inside = np.asarray(transformed(transform, jnp.asarray(ends)))
        return np.where(np.isinf(values), values, inside)

    return on
