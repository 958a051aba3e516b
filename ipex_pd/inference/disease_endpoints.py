"""Endpoints of the disease: predictions of measurements, their errors and scales, and direct likelihoods.

| kind | fitted scale | likelihood |
|---|---|---|
| value | y, log y, or logit of a share | normal, with censoring by the group |
| ordinal | level k | Phi((c_k+1 - f)/sd) - Phi((c_k - f)/sd) |
| event | day | h(t) exp(-H(t)) of an event, exp(-H(t)) without |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import log_ndtr

from ipex_pd.errors import SimulationError
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.records import endpoints as written
from ipex_pd.records import measurements as clinic
from ipex_pd.records.cohort_problems import AsMeasured
from ipex_pd.records.formulas import Formula, parse_formula
from ipex_pd.records.measurements import Measurement

Array = Any
Scale = Literal["none", "log", "logit"]
Kind = Literal["value", "ordinal", "event"]

_TINY = 1e-12


@dataclass(frozen=True)
class Endpoint:
    """What a measurement is compared with; static, compares by content.

    Attributes:
        name: of the measurement.
        kind: see the module.
        prediction: formula, in the unit of the measurement; the hazard [1/day] of an event.
        scale: on which values are compared.
        whole: what a share is a share of (1, or 100 for percent).
        error: name of the residual error, terms as formulas.
        cuts: of an ordinal endpoint.
        cumulative: cumulative hazard of an event.
        censoring: `m3`, `m1`, or None where censored rows are refused.
    """

    name: str
    kind: Kind
    prediction: Formula
    scale: Scale = "none"
    whole: float = 1.0
    error: str = "additive"
    terms: tuple[tuple[str, Formula], ...] = ()
    variances: bool = False
    cuts: tuple[float, ...] = ()
    cumulative: Formula | None = None
    censoring: str | None = "m3"

    def formulas(self) -> list[Formula]:
        """All of them."""
        return [self.prediction, *(f for _, f in self.terms), *([self.cumulative] if self.cumulative else [])]

    def scaled(self, values: Array, tool: Any = jnp) -> Array:
        """Values of the measurement on the fitted scale."""
        if self.scale == "log":
            return tool.log(values)
        if self.scale == "logit":
            share = values / self.whole
            return tool.log(share) - tool.log1p(-share)
        return values

    def jacobian(self, values: np.ndarray) -> np.ndarray:
        """-2 log |dh/dy| of measured values."""
        if self.scale == "log":
            return np.asarray(2.0 * np.log(values))
        if self.scale == "logit":
            return np.asarray(2.0 * np.log(values * (1.0 - values / self.whole)))
        return np.zeros(np.shape(values))


def endpoint_of(name: str, asked: AsMeasured | written.Continuous | written.Event, item: Measurement) -> Endpoint:
    """An endpoint of a problem.

    Args:
        name: of the endpoint, which is that of the measurement.
        asked: what the problem says.
        item: the measurement.

    Raises:
        SimulationError: an error model, transform or kind of measurement for which the disease has no likelihood.
    """
    if isinstance(asked, AsMeasured):
        return replace(measured_endpoint(item, asked.prediction), censoring=asked.censoring)
    if isinstance(asked, written.Event):
        _require(isinstance(item.error, clinic.Survival), name, "an event", "`death` is the event of a cohort")
        return Endpoint(name, "event", asked.hazard, cumulative=asked.cumulative_hazard)
    valued = clinic.Additive | clinic.Proportional | clinic.Combined | clinic.Lognormal | clinic.LogitNormal
    _require(isinstance(item.error, valued), name, "a continuous endpoint", f"It is measured as `{item.kind}`")
    known = ("additive", "proportional", "combined1", "combined2", "exponential")
    _require(asked.error.model in known, name, f"a {asked.error.model} error", f"Known here: {', '.join(known)}")
    transform = asked.scale
    _require(transform is None or transform.kind == "log", name, "this transform", "Known here: log")
    log_additive = transform is None or asked.error.model in ("additive", "exponential")
    _require(log_additive, name, f"a {asked.error.model} error of a logarithm", "Known there: additive")
    plain = asked.error.exponent is None and asked.error.scale == "untransformed"
    _require(plain, name, "an exponent, or an error of the transformed prediction", "Leave it out")
    _require(asked.error.zero_prediction == "refuse", name, "`unit_weight`", "Leave it out")
    return Endpoint(
        name=name,
        kind="value",
        prediction=asked.prediction,
        scale="log" if transform is not None else "none",
        error="additive" if asked.error.model == "exponential" else asked.error.model,
        terms=tuple(sorted(asked.error.formulas().items(), key=lambda pair: pair[0])),
        variances=asked.error.coefficients == "variance",
        censoring=asked.censoring,
    )


def _require(condition: bool, name: str, what: str, rule: str) -> None:
    if not condition:
        raise SimulationError(f"{what} cannot be used here", where=f"endpoint `{name}`", rule=rule)


def measured_endpoint(item: Measurement, prediction: Formula | None = None) -> Endpoint:
    """A measurement with the error of its own record.

    Raises:
        SimulationError: an onset, whose day the model gives without error.
    """
    error, formula = item.error, prediction if prediction is not None else parse_formula(_reading(item))

    def value(scale: Scale, kind: str, **terms: float) -> Endpoint:
        given = tuple((term, parse_formula(number)) for term, number in sorted(terms.items()))
        return Endpoint(item.name, "value", formula, scale, item.support[1], kind, given)

    match error:
        case clinic.Additive():
            return value("none", "additive", additive=error.sd)
        case clinic.Proportional():
            return value("none", "proportional", proportional=error.cv)
        case clinic.Combined():
            return value("none", "combined2", additive=error.sd, proportional=error.cv)
        case clinic.Lognormal():
            return value("log", "additive", additive=float(np.sqrt(np.log1p(error.cv**2))))
        case clinic.LogitNormal():
            return value("logit", "additive", additive=error.sd)
        case clinic.Ordinal():
            _require(error.sd > 0, item.name, "a level judged without error", "Its likelihood would be 0 or 1")
            given = (("additive", parse_formula(error.sd)),)
            return Endpoint(item.name, "ordinal", formula, terms=given, cuts=tuple(error.cuts))
        case clinic.Survival():
            causes = ("infection", "disease", "transplant")
            total = parse_formula(" + ".join(f"cumulative_hazard_{cause}" for cause in causes))
            return Endpoint(item.name, "event", parse_formula("death_hazard"), cumulative=total)
    raise SimulationError(
        f"`{item.name}` has no likelihood",
        where=f"endpoint `{item.name}`",
        rule="The model gives the day of an onset without error, so that an interval is either certain or impossible",
        cure="Use what was judged at visits (severity, mass, level), or leave the endpoint out",
    )


def _reading(item: Measurement) -> str:
    """The quantity in the unit of the measurement, as a formula."""
    from ipex_pd.simulation.study import disease
    from ipex_pd.units import factor

    model = disease().model
    units = {s.declaration.name: s.declaration.unit for s in (*model.states, *model.outputs)} | {"weight": "kg"}
    scale = factor(units[item.quantity], item.unit) if item.quantity in units else 1.0
    return item.quantity if scale == 1.0 else f"{scale!r} * {item.quantity}"


@dataclass(frozen=True)
class Judged:
    """Values of an endpoint's formulas, [...]: prediction, terms of its error, cumulative hazard."""

    endpoint: Endpoint
    raw: Array
    terms: Mapping[str, Array]
    total: Array

    @classmethod
    def judge(cls, endpoint: Endpoint, values: Mapping[str, Array]) -> Judged:
        """From named arrays [...]."""
        terms = {name: compile_formula(formula)(values) for name, formula in endpoint.terms}
        if endpoint.variances:
            terms = {name: jnp.sqrt(term) for name, term in terms.items()}
        total = compile_formula(endpoint.cumulative)(values) if endpoint.cumulative else jnp.zeros(())
        return cls(endpoint, compile_formula(endpoint.prediction)(values), terms, total)

    def read(self, pick: Callable[[Array], Array]) -> Judged:
        """The same after picking places of every array."""
        terms = {name: pick(term) for name, term in self.terms.items()}
        return Judged(self.endpoint, pick(self.raw), terms, pick(self.total))

    @property
    def mean(self) -> Array:
        """Prediction on the fitted scale."""
        if self.endpoint.scale == "logit":
            share = jnp.clip(self.raw / self.endpoint.whole, _TINY, 1.0 - _TINY)
            return jnp.log(share) - jnp.log1p(-share)
        if self.endpoint.scale == "log":
            return jnp.log(jnp.maximum(self.raw, _TINY))
        return self.raw

    @property
    def variance(self) -> Array:
        """Of the residual on the fitted scale."""
        added = self.terms.get("additive", 0.0)
        share = self.terms.get("proportional", 0.0) * self.raw
        if self.endpoint.error == "combined1":
            return jnp.square(added + share)
        return jnp.square(added) + jnp.square(share) + jnp.zeros_like(self.raw)

    def minus2ll(self, y: Array, cens: Array) -> Array:
        """-2 log likelihood of levels or events `y`, of the shape of the values."""
        if self.endpoint.kind == "event":
            happened = cens == 0
            hazard = jnp.where(happened, jnp.maximum(self.raw, _TINY), 1.0)
            return 2.0 * self.total - 2.0 * jnp.log(hazard)
        cuts = jnp.concatenate([jnp.array([-jnp.inf]), jnp.array(self.endpoint.cuts), jnp.array([jnp.inf])])
        level = jnp.clip(y.astype(int), 0, len(self.endpoint.cuts))
        sd = self.terms["additive"]
        return -2.0 * _log_between((cuts[level] - self.raw) / sd, (cuts[level + 1] - self.raw) / sd)


def _log_between(low: Array, high: Array) -> Array:
    """log(Phi(high) - Phi(low)), of the tail in which both lie."""
    upper = low > 0
    a, b = jnp.where(upper, -high, low), jnp.where(upper, -low, high)
    open_a, open_b = jnp.isinf(a), jnp.isinf(b)
    log_b = jnp.where(open_b, 0.0, log_ndtr(jnp.where(open_b, 0.0, b)))
    log_a = jnp.where(open_a, 0.0, log_ndtr(jnp.where(open_a, 0.0, a)))
    gap = jnp.where(open_a, 0.0, jnp.exp(jnp.where(open_a, -1.0, log_a - log_b)))
    return log_b + jnp.log1p(-gap)
