"""The split of a problem's predictor: individual values that stand still within a subject, then the event table.

An individual value that changes within a subject (a covariate, time or an occasion in its formula) is not one quantity;
what it is made of takes its place: typical values, random effects, other individual values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.predictor import Inputs, Measured, ProblemPredictor
from ipex_pd.inference.residuals import transformed
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.records.endpoints import PREDICTION
from ipex_pd.records.models import TIME

Array = Any


class Quantity(NamedTuple):
    """One entry of psi: a typical value or a random effect by its column, or an individual value by its name."""

    kind: Literal["theta", "eta", "value"]
    name: str
    column: int = -1


@dataclass(frozen=True)
class ProblemSplit:
    """See the module.

    Attributes:
        predictor: which is split.
        quantities: psi.
    """

    predictor: ProblemPredictor
    quantities: tuple[Quantity, ...]

    @property
    def size(self) -> int:
        """m."""
        return len(self.quantities)

    @property
    def least(self) -> tuple[float, ...]:
        """Random effects may be zero; the others are never small for what they are."""
        return tuple(0.1 if quantity.kind == "eta" else 0.0 for quantity in self.quantities)

    @property
    def differenced(self) -> bool:
        """Compiling second derivatives of an event table takes seconds."""
        return False

    def light(self, inputs: Inputs) -> Inputs:
        """Without the event table."""
        return replace(inputs, plan=None)

    def effort(self, inputs: Inputs) -> np.ndarray:
        """[B] the same for everybody."""
        return np.zeros(inputs.time.shape[0])

    def psi(self, light: Inputs, theta: Array, eta: Array) -> Array:
        """[B, m]."""
        values = self.predictor.values(light, theta, eta)
        columns = {"theta": theta, "eta": eta}
        return jnp.stack(
            [values[q.name][:, 0] if q.kind == "value" else columns[q.kind][:, q.column] for q in self.quantities], -1
        )

    def readings(self, inputs: Inputs, psi: Array) -> Array:
        """Untransformed predictions [B, N]."""
        predictor, values = self.predictor, self._values(inputs, psi)
        amounts = predictor.amounts(inputs, values)
        parts = []
        for endpoint, rows in zip(predictor.endpoints, inputs.rows, strict=True):
            assert isinstance(endpoint, Measured)
            known = predictor._at(inputs, values, amounts, rows)
            parts.append(jnp.broadcast_to(compile_formula(endpoint.prediction)(known), rows.mask.shape))
        return jnp.concatenate(parts, axis=1)

    def finish(self, light: Inputs, readings: Array, theta: Array, eta: Array) -> Prediction:
        """Transforms and residual errors."""
        bare = replace(self.predictor, compartments=(), outputs=())
        values = self.predictor.values(light, theta, eta)
        none = jnp.zeros((*light.time.shape, 0))
        parts, seen, first = [], [], 0
        for endpoint, rows in zip(self.predictor.endpoints, light.rows, strict=True):
            assert isinstance(endpoint, Measured)
            width = rows.mask.shape[1]
            f = readings[:, first : first + width]
            known = bare._at(light, values, none, rows)
            nothing = jnp.zeros(rows.mask.shape)
            variance = endpoint.spread.variance(f, known)
            parts.append(Prediction(transformed(endpoint.transform, f), variance, nothing, nothing))
            seen.append(known)
            first += width
        prediction = Prediction(*(jnp.concatenate(field, axis=1) for field in zip(*parts, strict=True)))
        if not self.predictor.correlations:
            return prediction
        return prediction._replace(correlation=self.predictor._correlation(light, seen))

    def _values(self, inputs: Inputs, psi: Array) -> dict[str, Array]:
        """Names of formulas, as far as the costly part needs them."""
        known: dict[str, Array] = {**inputs.covariates, TIME: inputs.time}
        known |= {quantity.name: psi[:, i : i + 1] for i, quantity in enumerate(self.quantities)}
        for name, formula in self.predictor.individual.formulas:
            if name not in known and formula.names <= known.keys():
                known[name] = jnp.atleast_2d(compile_formula(formula)(known))
        return known


def problem_split(groups: tuple[Group, ...]) -> ProblemSplit:
    """The split that serves all groups of a problem.

    Raises:
        UsageError: an endpoint whose residual error or correlation is made of the costly part, or an event.
    """
    predictor = groups[0].predictor
    assert isinstance(predictor, ProblemPredictor)
    individual = predictor.individual
    formulas = dict(individual.formulas)
    cheap = {*individual.thetas, *(e.name for e in individual.etas), *groups[0].inputs.covariates, TIME, *formulas}
    for endpoint in predictor.endpoints:
        if not isinstance(endpoint, Measured):
            raise _refusal("event endpoints", "They give a likelihood of their own")
        names = set().union(*(f.names for _, f in endpoint.spread.terms), ()) - {PREDICTION}
        if names - cheap:
            raise _refusal(f"a residual error that follows `{min(names - cheap)}`", "It may follow the prediction only")
    for _, formula in predictor.correlations:
        if formula.names - cheap:
            raise _refusal(f"a correlation that follows `{min(formula.names - cheap)}`", "It may follow parameters")
    return ProblemSplit(predictor, _quantities(predictor, _needed(predictor, groups), _changing(predictor, groups)))


def _refusal(what: str, rule: str) -> UsageError:
    return UsageError(
        f"{what} cannot be expanded", code="expansion.endpoint", rule=rule, cure="Leave `expansion` out of the options"
    )


def _needed(predictor: ProblemPredictor, groups: tuple[Group, ...]) -> set[str]:
    """Names that the event table, outputs and predictions use."""
    doses = dict(predictor.doses)
    plans = [g.inputs.plan for g in groups if g.inputs.plan is not None]
    needed = {name for plan in plans for name in plan.needs} - doses.keys()
    used = [*doses.values(), *(f for _, f in predictor.outputs)]
    used += [e.prediction for e in predictor.endpoints if isinstance(e, Measured)]
    return needed.union(*(formula.names for formula in used))


def _changing(predictor: ProblemPredictor, groups: tuple[Group, ...]) -> set[str]:
    """Names whose value changes within a subject."""
    changing = {TIME, *(e.name for e in predictor.individual.etas if e.stride)}
    for group in groups:
        for name, value in group.inputs.covariates.items():
            wide = np.asarray(value)
            if wide.shape[1] and not (wide == wide[:, :1]).all():
                changing.add(name)
    for name, formula in predictor.individual.formulas:
        if formula.names & changing:
            changing.add(name)
    return changing


def _quantities(predictor: ProblemPredictor, needed: set[str], changing: set[str]) -> tuple[Quantity, ...]:
    individual = predictor.individual
    formulas, etas = dict(individual.formulas), {e.name: e for e in individual.etas}
    found: dict[Quantity, None] = {}

    def visit(name: str) -> None:
        if name in formulas and name not in changing:
            found[Quantity("value", name)] = None
        elif name in formulas:
            for part in sorted(formulas[name].names):
                visit(part)
        elif name in individual.thetas:
            found[Quantity("theta", name, individual.thetas.index(name))] = None
        elif name in etas and not etas[name].stride:
            found[Quantity("eta", name, etas[name].place)] = None
        elif name in etas:
            raise _refusal(f"`{name}`, which is drawn anew on every occasion,", "Effects belong to the subject here")

    for name in sorted(needed):
        visit(name)
    return tuple(found)
