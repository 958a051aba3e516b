"""The split of the disease: the march from birth is costly, residual errors are cheap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.disease_endpoints import Endpoint, Judged
from ipex_pd.inference.disease_predictor import DiseasePredictor, word
from ipex_pd.inference.group import Group, Prediction
from ipex_pd.numerics.formulas import compile_formula

Array = Any

_LIGHT = ("shipped", "age", "endpoint")


@dataclass(frozen=True)
class DiseaseSplit:
    """See the module.

    Attributes:
        predictor: which is split.
        quantities: names of psi: parameters of the equations that vary, and what else predictions use.
    """

    predictor: DiseasePredictor
    quantities: tuple[str, ...]

    @property
    def size(self) -> int:
        """m."""
        return len(self.quantities)

    @property
    def least(self) -> tuple[float, ...]:
        """Random effects may be zero; the others are never small for what they are."""
        return tuple(0.1 if name in self.predictor.etas else 0.0 for name in self.quantities)

    @property
    def differenced(self) -> bool:
        """Compiling derivatives of the march takes minutes, and running them longer than differences."""
        return True

    def light(self, inputs: Any) -> dict[str, Any]:
        """Without the march."""
        return {name: inputs[name] for name in _LIGHT}

    def effort(self, inputs: Any) -> np.ndarray:
        """[B] steps from birth to the last that is read."""
        last = [np.asarray(inputs[name]).max(1) for name in ("birth_places", "places") if name in inputs]
        return np.asarray(sum(last))

    def psi(self, light: Any, theta: Array, eta: Array) -> Array:
        """[B, m]."""
        _, known = self.predictor.values(light, theta, eta)
        return jnp.stack([known[name] for name in self.quantities], -1)

    def readings(self, inputs: Any, psi: Array) -> Array:
        """Predictions [B, N] on the fitted scale."""
        shipped = inputs["shipped"]
        own = {name: psi[:, i] for i, name in enumerate(self.quantities)}
        values = {name: own.get(word(name), value) for name, value in shipped.items()}
        return self.predictor.means(inputs, values, {"age": inputs["age"], **own})

    def finish(self, light: Any, readings: Array, theta: Array, eta: Array) -> Prediction:
        """Residual variances."""
        _, known = self.predictor.values(light, theta, eta)
        nothing = jnp.zeros(readings.shape)
        variance = nothing + 1.0
        for k, endpoint in enumerate(self.predictor.endpoints):
            here = light["endpoint"] == k
            terms = {name: compile_formula(formula)(known) for name, formula in endpoint.terms}
            if endpoint.variances:
                terms = {name: jnp.sqrt(term) for name, term in terms.items()}
            wide = {name: jnp.broadcast_to(jnp.reshape(term, (-1, 1)), here.shape) for name, term in terms.items()}
            found = Judged(endpoint, jnp.where(here, readings, 1.0), wide, nothing).variance
            variance = jnp.where(here, found, variance)
        return Prediction(readings, variance, nothing, nothing)


def disease_split(group: Group) -> DiseaseSplit:
    """The split of a group of children.

    Raises:
        UsageError: an endpoint that is judged or an event, or whose residual error follows another quantity.
    """
    predictor = group.predictor
    assert isinstance(predictor, DiseasePredictor)
    shipped = {word(name) for name in group.inputs["shipped"]}
    own = [name for name, _ in predictor.individual]
    cheap = {*predictor.thetas, *predictor.etas, "age", *own}
    for endpoint in predictor.endpoints:
        _require_cheap(endpoint, cheap)
    used = set().union(*(endpoint.prediction.names for endpoint in predictor.endpoints), ())
    varied = [name for name in own if name in shipped]
    besides = sorted(used & {*predictor.thetas, *predictor.etas, *own} - set(varied))
    return DiseaseSplit(predictor, (*varied, *besides))


def _require_cheap(endpoint: Endpoint, cheap: set[str]) -> None:
    def refuse(what: str, rule: str) -> UsageError:
        return UsageError(
            f"{what} cannot be expanded",
            code="expansion.endpoint",
            where=f"endpoint `{endpoint.name}`",
            rule=rule,
            cure="Set `expansion` to False in the options, or leave the endpoint out",
        )

    if endpoint.kind != "value":
        raise refuse(f"an endpoint of kind `{endpoint.kind}`", "It gives a likelihood of its own")
    for name in sorted({n for _, f in endpoint.terms for n in f.names} - cheap):
        raise refuse(f"a residual error that follows `{name}`", "It may follow parameters and the prediction only")
