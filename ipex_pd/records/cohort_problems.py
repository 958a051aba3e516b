"""Estimation problems of the disease: which of its parameters a cohort of children is asked about.

```yaml
name: synthetic_ipex
description: ...
model: ipex
cohort: synthetic_ipex
parameters: {th2_share_pop: {start: 0.3, scale: log}, sd_ige: {start: 0.2, lower: 0}}
random_effects: {between_subject: {eta_th2: {sd: 0.5}}}
individual: {th2_share: {typical: th2_share_pop, random: [eta_th2]}}
endpoints:
  ige: {prediction: ige, error: {model: exponential, additive: sd_ige}, censoring: m3}
  treg: {kind: measured}
```

What stands under `individual` and is a parameter of the equations replaces the shipped value of every child; all other
parameters stay as shipped. The shipped value itself is known to formulas as `shipped_<parameter>` (so that children of
another FOXP3 class keep their own), the age on day 0 as `age`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from ipex_pd.errors import RecordError
from ipex_pd.records.endpoints import Continuous, Event
from ipex_pd.records.formulas import FormulaText
from ipex_pd.records.individual import AnyIndividual
from ipex_pd.records.problems import PopulationParameter
from ipex_pd.records.provenance import Citation
from ipex_pd.records.random_effects import RandomEffects
from ipex_pd.records.record import Name, Record, carried, fault

SHIPPED = "shipped_"
"""Before the name of a parameter: its shipped value in a child."""


class AsMeasured(Record):
    """An endpoint with the error of its measurement (`parameters/measurements.yaml` or the drug's file), not estimated.

    Attributes:
        kind: `measured`.
        prediction: in the unit of the measurement; the quantity that it reads when left out.
        censoring: `m3` takes the probability to lie beyond the limit, `m1` leaves censored rows out.
    """

    kind: Literal["measured"]
    prediction: FormulaText | None = None
    censoring: Literal["m1", "m3"] = "m3"


def _kind(value: Any) -> str:
    kind = value.get("kind", "continuous") if isinstance(value, Mapping) else getattr(value, "kind", "continuous")
    return str(kind) if kind in ("measured", "event") else "continuous"


AnyCohortEndpoint = Annotated[
    Annotated[AsMeasured, Tag("measured")] | Annotated[Continuous, Tag("continuous")] | Annotated[Event, Tag("event")],
    Discriminator(_kind),
]


class CohortProblem(Record):
    """A question about the disease put to a cohort.

    Attributes:
        name, description: what it is.
        model: `ipex`.
        cohort: a shipped cohort, or the path of one from the folder of the problem's file.
        parameters: population values: name -> start, bounds, scale, ...
        random_effects: between children.
        individual: parameter of the equations (or a value for later formulas) -> formula or short form, in order.
        endpoints: name of a measurement -> how it is predicted, and its error.
        sources: citations that stand in the same file.
    """

    name: Name
    description: str = Field(min_length=1)
    model: Literal["ipex"]
    cohort: str = Field(min_length=1)
    parameters: dict[Name, PopulationParameter] = Field(default_factory=dict)
    random_effects: RandomEffects = Field(default_factory=RandomEffects)
    individual: dict[Name, AnyIndividual] = Field(min_length=1)
    endpoints: dict[Name, AnyCohortEndpoint] = Field(min_length=1)
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _honoured(self) -> CohortProblem:
        for name, value in self.individual.items():
            try:
                value.formula()
            except RecordError as error:
                raise carried(error, ("individual", name)) from error
        if any(part.level == "occasion" for part in self.random_effects.parts()):
            rule = "A course of years has one value of a parameter for a child"
            raise fault("random effects between occasions", rule=rule, at=("random_effects", "between_occasion"))
        for name, endpoint in self.endpoints.items():
            for key in ("dvid", "cmt"):
                if getattr(endpoint, key, None) is not None:
                    rule = "The name of an endpoint is the name of its measurement in the table"
                    raise fault(f"`{name}` has a `{key}`", rule=rule, cure="Take it out", at=("endpoints", name, key))
            if getattr(endpoint, "censoring", None) == "m4":
                rule = "Measurements of a cohort lie on their own scale; use `m3`, or `m1` to leave censored rows out"
                raise fault(f"`{name}` is censored by `m4`", rule=rule, at=("endpoints", name, "censoring"))
        return self
