"""Estimation problems: data, model, what is estimated, and how predictions are compared with data."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ipex_pd.errors import RecordError
from ipex_pd.records.dataspec import DataSpec
from ipex_pd.records.endpoints import AnyEndpoint, Continuous, Correlation
from ipex_pd.records.individual import AnyIndividual, Dosing, Individual
from ipex_pd.records.models import StructuralModel, Unit
from ipex_pd.records.parameters import Scale
from ipex_pd.records.priors import LogNormal, Normal
from ipex_pd.records.provenance import Citation, Source
from ipex_pd.records.random_effects import RandomEffects
from ipex_pd.records.record import Name, Number, Record, carried, fault, measures

Role = Literal["structural", "covariate", "residual"]
Prior = Annotated[Normal | LogNormal, Field(discriminator="distribution")]


class PopulationParameter(Record):
    """One number that is the same in all subjects.

    Attributes:
        start: the value to start from, or the value when `fixed`.
        lower, upper: bounds; None is open.
        fixed: not estimated.
        scale: on which it is searched.
        unit, meaning: what it is; `1` is a pure number.
        prior: what is known of it before the data.
        source: where start or fixed value come from.
    """

    start: Number
    lower: Number | None = None
    upper: Number | None = None
    fixed: bool = False
    scale: Scale = "natural"
    unit: Unit = "1"
    meaning: str = ""
    prior: Prior | None = None
    source: Source | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return {"start": data} if isinstance(data, int | float) and not isinstance(data, bool) else data

    @model_validator(mode="after")
    def _sound(self) -> PopulationParameter:
        measures(self.unit, "1")
        low, high = self.limits
        if not low < high:
            what = f"`lower` {low:g} is not below `upper` {high:g}"
            raise fault(what, rule="Bounds rise; a value that is known is `fixed: true`", at=("lower",))
        inside = low <= self.start <= high if self.fixed else low < self.start < high
        if not inside:
            raise fault(
                f"the start {self.start:g} is not inside its bounds {_bound(low)} to {_bound(high)}",
                rule="An estimate starts strictly between its bounds",
                cure="Move the start or the bound",
                code="problem.start",
                at=("start",),
            )
        if self.scale == "log" and (self.start <= 0 or low < 0):
            what = "a parameter on a log scale starts, or may go, below 0"
            raise fault(what, rule="Log scale needs positive values", cure="Write `lower: 0`", at=("scale",))
        if self.scale == "logit" and not (math.isfinite(low) and math.isfinite(high) and low < self.start < high):
            what = "a parameter on a logit scale has an open bound, or starts on one"
            raise fault(what, rule="Logit scale needs lower < start < upper", at=("scale",))
        if self.fixed and self.prior is not None:
            raise fault("a fixed parameter has a prior", rule="A prior is of something estimated", at=("prior",))
        return self

    @property
    def limits(self) -> tuple[float, float]:
        """Bounds as numbers, open ones infinite; a log scale is bounded by 0."""
        floor = 0.0 if self.scale == "log" else -math.inf
        return (floor if self.lower is None else self.lower, math.inf if self.upper is None else self.upper)


def _bound(value: float) -> str:
    return "open" if math.isinf(value) else f"{value:g}"


class Composition(Record):
    """Shipped models joined into one.

    Attributes:
        compose: their names, kinetics first.
        inputs: input of a later model -> output of an earlier one, where names differ.
    """

    compose: tuple[str, ...] = Field(min_length=2)
    inputs: dict[str, str] = Field(default_factory=dict)


def _model_form(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    if isinstance(value, Composition) or (isinstance(value, Mapping) and "compose" in value):
        return "composition"
    return "inline"


AnyModel = Annotated[
    Annotated[str, Tag("name")]
    | Annotated[Composition, Tag("composition")]
    | Annotated[StructuralModel, Tag("inline")],
    Discriminator(_model_form),
]


class EstimationProblem(Record):
    """A question put to data.

    Attributes:
        name, description: what it is.
        folder: from where `data.file` is looked up; the folder of the problem's own file when it was loaded from one.
        data: see `DataSpec`.
        model: a shipped name, a composition of names, or a model written out.
        parameters: population values: name -> start, bounds, scale, ...
        random_effects: between subjects and between occasions.
        individual: name -> formula or short form, computed in order. Parameters and inputs of the model take the
            individual value of their name, else the population value, else the covariate.
        doses: compartment -> lag, bioavailability, duration, rate.
        endpoints: name -> prediction and error.
        correlations: of residual errors within one sample.
        sources: citations that stand in the same file.
    """

    name: Name
    description: str = Field(min_length=1)
    folder: str = ""
    data: DataSpec
    model: AnyModel
    parameters: dict[Name, PopulationParameter] = Field(default_factory=dict)
    random_effects: RandomEffects = Field(default_factory=RandomEffects)
    individual: dict[Name, AnyIndividual] = Field(default_factory=dict)
    doses: dict[Name, Dosing] = Field(default_factory=dict)
    endpoints: dict[Name, AnyEndpoint] = Field(min_length=1)
    correlations: tuple[Correlation, ...] = ()
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _readable(self) -> EstimationProblem:
        for name, value in self.individual.items():
            try:
                value.formula()
            except RecordError as error:
                raise carried(error, ("individual", name)) from error
        return self

    @property
    def roles(self) -> dict[str, Role]:
        """What each population parameter is for."""
        errors, relations = self._error_names(), self._relation_names()
        return {
            name: "residual" if name in errors else "covariate" if name in relations else "structural"
            for name in self.parameters
        }

    def _error_names(self) -> set[str]:
        names = set[str]()
        for endpoint in self.endpoints.values():
            if isinstance(endpoint, Continuous):
                names |= set[str]().union(*(f.names for f in endpoint.error.formulas().values()))
        return names.union(*(correlation.value.names for correlation in self.correlations))

    def _relation_names(self) -> set[str]:
        names = set[str]()
        for value in self.individual.values():
            for relation in value.covariates if isinstance(value, Individual) else ():
                formulas = [*relation.classes.values(), *([relation.coefficient] if relation.coefficient else [])]
                names = names.union(*(formula.names for formula in formulas))
        return names
