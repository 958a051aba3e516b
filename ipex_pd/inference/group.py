"""Subjects of one padded shape, and what a model predicts for them: all that an objective needs to know of a problem.

A group is a pytree: data are its leaves, the predictor is static and compares by what it computes, so that a function
jitted over groups is compiled once for a shape, however many groups share it.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import jax

import ipex_pd.numerics  # noqa: F401  (float64)

Array = Any


class Prediction(NamedTuple):
    """What a model says of the records of a group; all [B, N], on the fitted (transformed) scale.

    Attributes:
        mean: of the records.
        variance: residual variance.
        minus2ll: -2 log likelihood of the records where `Group.direct` is True, 0 elsewhere.
        correlation: of the residual with that of the record `Group.partner`, 0 where there is none.
    """

    mean: Array
    variance: Array
    minus2ll: Array
    correlation: Array


class Predictor(Hashable, Protocol):
    """The pure function behind `Group.predict`; equal predictors compute the same."""

    def __call__(self, inputs: Any, theta: Array, eta: Array) -> Prediction:
        """Predictions [B, N] from the group's inputs, theta [B, p] and eta [B, q], row by row."""


@dataclass(frozen=True, eq=False)
class Group:
    """Subjects padded to one number of records N; row-independent.

    Attributes:
        subjects: [B] places in the dataset; -1 is a row of padding (its mask is False everywhere).
        y: [B, N] observations on the fitted scale; where censored, the limit that was written in DV.
        mask: [B, N] False is padding or a record that is left out (M1).
        cens: [B, N] 0 measured, 1 below `y` (left), -1 above `y` (right).
        limit: [B, N] the other end of the interval of a censored record: -inf or inf when open; 0 where measured.
        floor: [B, N] the likelihood of the record is conditional on being above this (M4); -inf: unconditional.
        jacobian: [B, N] -2 log |dh/dy| of measured records, to be added to the objective; 0 elsewhere.
        direct: [B, N] True where `Prediction.minus2ll` is the record's whole contribution (event endpoints).
        partner: [B, N] place of the earlier record of the same sample whose residual is correlated; -1: none.
        eta_mask: [B, q] False for random effects of occasions that a subject does not have.
        inputs: the predictor's own data: a pytree whose leaves begin with [B].
        predictor: static.
        correlated: static; whether any record has a partner. A method that cannot honour it refuses.
    """

    subjects: Array
    y: Array
    mask: Array
    cens: Array
    limit: Array
    floor: Array
    jacobian: Array
    direct: Array
    partner: Array
    eta_mask: Array
    inputs: Any
    predictor: Predictor
    correlated: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Subjects and records."""
        rows, records = self.y.shape
        return rows, records

    def predict(self, theta: Array, eta: Array) -> Prediction:
        """Predictions of every record.

        Args:
            theta: [B, p] population values on their natural scale, in the order of `Population.thetas`.
            eta: [B, q] random effects, in the order of `Population.omega`.
        """
        return self.predictor(self.inputs, theta, eta)

    def take(self, rows: Array) -> Group:
        """The group of some of its rows, in that order."""

        def some(leaf: Array) -> Array:
            return leaf[rows]

        taken: Group = jax.tree.map(some, self)
        return taken


jax.tree_util.register_dataclass(
    Group,
    data_fields=[
        "subjects",
        "y",
        "mask",
        "cens",
        "limit",
        "floor",
        "jacobian",
        "direct",
        "partner",
        "eta_mask",
        "inputs",
    ],
    meta_fields=["predictor", "correlated"],
)
