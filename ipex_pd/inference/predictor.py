"""The predictor of a problem: individual values at every record, amounts, then predictions and variances of endpoints.

The records of a group stand endpoint by endpoint, each endpoint padded to a number of its own. In padding, compartments
and time are 1, so that no formula of an endpoint meets a value (a zero under a logarithm) that none of its records has.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from ipex_pd.inference.group import Prediction
from ipex_pd.inference.individual import IndividualModel
from ipex_pd.inference.residuals import Spread, transformed
from ipex_pd.numerics.eventtable import propagate
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.numerics.rowplan import RowPlan
from ipex_pd.records.endpoints import Transform
from ipex_pd.records.formulas import Formula
from ipex_pd.records.models import TIME

Array = Any


@dataclass(frozen=True)
class Rows:
    """Records of one endpoint in a group; a pytree.

    Attributes:
        place: [B, N] places among the rows of the subject.
        mask: [B, N] False is padding.
        happened: [B, N] of an event endpoint: 0 no event, 1 at the time of the record, 2 since the record before.
    """

    place: Array
    mask: Array
    happened: Array


@dataclass(frozen=True)
class Inputs:
    """What the predictor of a problem needs to know of a group; a pytree.

    Attributes:
        plan: events of the subjects; None for a model without compartments.
        covariates: name -> [B, R].
        time: [B, R] in the unit of the data.
        occasion: [B, R] which of the subject's occasions, from 0.
        rows: records of each endpoint.
        partner: [B, N] earlier record of the same sample over all endpoints of the group, -1 none.
    """

    plan: RowPlan | None
    covariates: Mapping[str, Array]
    time: Array
    occasion: Array
    rows: tuple[Rows, ...]
    partner: Array


jax.tree_util.register_dataclass(Rows, data_fields=["place", "mask", "happened"], meta_fields=[])
jax.tree_util.register_dataclass(
    Inputs, data_fields=["plan", "covariates", "time", "occasion", "rows", "partner"], meta_fields=[]
)


@dataclass(frozen=True)
class Measured:
    """A continuous endpoint: its prediction, transform and variance."""

    prediction: Formula
    transform: Transform | None
    spread: Spread

    def __call__(self, values: Mapping[str, Array], rows: Rows) -> Prediction:
        """On the fitted scale."""
        f = jnp.broadcast_to(compile_formula(self.prediction)(values), rows.mask.shape)
        variance = self.spread.variance(f, values)
        nothing = jnp.zeros(rows.mask.shape)
        return Prediction(transformed(self.transform, f), variance, nothing, nothing)


@dataclass(frozen=True)
class Events:
    """An event endpoint: hazard and cumulative hazard; each record tells of the time since the one before."""

    hazard: Formula
    cumulative: Formula

    def __call__(self, values: Mapping[str, Array], rows: Rows) -> Prediction:
        """-2 log likelihood: density at an event, survival without one, 1 - survival for one since the last record."""
        hazard = jnp.broadcast_to(compile_formula(self.hazard)(values), rows.mask.shape)
        total = jnp.broadcast_to(compile_formula(self.cumulative)(values), rows.mask.shape)
        gained = total - jnp.concatenate([jnp.zeros_like(total[:, :1]), total[:, :-1]], axis=1)
        at, within = rows.happened == 1, rows.happened == 2
        density = -2.0 * jnp.log(jnp.where(at, hazard, 1.0))
        share = -2.0 * jnp.log(-jnp.expm1(-jnp.where(within, gained, 1.0)))
        minus2ll = jnp.where(within, share, 2.0 * gained + jnp.where(at, density, 0.0))
        nothing = jnp.zeros(rows.mask.shape)
        return Prediction(nothing, nothing + 1.0, jnp.where(rows.mask, minus2ll, 0.0), nothing)


@dataclass(frozen=True)
class ProblemPredictor:
    """The pure function behind the groups of a problem; equal ones compute the same.

    Attributes:
        individual: formulas of individual values.
        doses: name of a value of the event table -> its formula over individual values.
        compartments: names, in the order of the last axis of amounts.
        outputs: of the model, over compartments, parameters, inputs and time.
        endpoints: in the order of the records of a group.
        correlation: correlation of the residuals of one sample, or None.
    """

    individual: IndividualModel
    doses: tuple[tuple[str, Formula], ...]
    compartments: tuple[str, ...]
    outputs: tuple[tuple[str, Formula], ...]
    endpoints: tuple[Measured | Events, ...]
    correlations: tuple[tuple[tuple[int, int], Formula], ...] = ()

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        """Looked up at every call of a compiled function, so computed once."""
        return hash((self.individual, self.doses, self.outputs, self.endpoints, self.correlations))

    def __call__(self, inputs: Inputs, theta: Array, eta: Array) -> Prediction:
        """Predictions [B, N] of every record from theta [B, p] and eta [B, q]."""
        values = self.values(inputs, theta, eta)
        amounts = self.amounts(inputs, values)
        parts, seen = [], []
        for endpoint, rows in zip(self.endpoints, inputs.rows, strict=True):
            known = self._at(inputs, values, amounts, rows)
            parts.append(endpoint(known, rows))
            seen.append(known)
        prediction = Prediction(*(jnp.concatenate(field, axis=1) for field in zip(*parts, strict=True)))
        if not self.correlations:
            return prediction
        return prediction._replace(correlation=self._correlation(inputs, seen))

    def values(self, inputs: Inputs, theta: Array, eta: Array) -> dict[str, Array]:
        """Every name of formulas at every row: [B, R], or [B, 1] where it is the same at all."""
        return self.individual.values(theta, eta, inputs.covariates, inputs.time, inputs.occasion)

    def row_values(self, inputs: Inputs, values: Mapping[str, Array]) -> dict[str, Array]:
        """The values [B, R] that the event table asks for; [B, 1] where they are the same at all rows."""
        plan = inputs.plan
        if plan is None:
            return {}
        doses = {name: jnp.atleast_2d(compile_formula(formula)(values)) for name, formula in self.doses}
        known = {**values, **doses}
        rows = plan.shape[0]
        return {name: jnp.broadcast_to(known[name], (rows, known[name].shape[1])) for name in plan.needs}

    def amounts(self, inputs: Inputs, values: Mapping[str, Array]) -> Array:
        """Amounts [B, R, S] at every row."""
        if inputs.plan is None:
            return jnp.zeros((*inputs.time.shape, 0))
        return propagate(inputs.plan, self.row_values(inputs, values))

    def _at(self, inputs: Inputs, values: Mapping[str, Array], amounts: Array, rows: Rows) -> dict[str, Array]:
        """Every name that the formulas of an endpoint may use, at its records [B, N]."""
        wide = inputs.time.shape[1]

        def pick(value: Array) -> Array:
            return jnp.take_along_axis(value, rows.place, 1) if value.shape[1] == wide and wide > 1 else value

        known = {name: pick(value) for name, value in values.items()}
        known[TIME] = jnp.where(rows.mask, known[TIME], 1.0)
        for i, name in enumerate(self.compartments):
            known[name] = jnp.where(rows.mask, jnp.take_along_axis(amounts[:, :, i], rows.place, 1), 1.0)
        for name, formula in self.outputs:
            known[name] = compile_formula(formula)(known)
        return known

    def _correlation(self, inputs: Inputs, seen: list[dict[str, Array]]) -> Array:
        """[B, N], of the records that have a partner."""
        blocks = [jnp.zeros(rows.mask.shape) for rows in inputs.rows]
        for (_, later), formula in self.correlations:
            blocks[later] = jnp.broadcast_to(compile_formula(formula)(seen[later]), blocks[later].shape)
        return jnp.where(inputs.partner >= 0, jnp.concatenate(blocks, axis=1), 0.0)
