"""What is compared with data: predictions, residual errors, transforms, censoring, events.

With the prediction `f`, a transform `h` and a standard normal `e`, the observed value `y` is

```
h(y) = h(f) + sd e                             -2 log L gets the Jacobian -2 log |h'(y)|
additive      sd = a
proportional  sd = b g                         g is f, or h(f) with `scale: transformed`
power         sd = b g^c
combined1     sd = a + b g^c                   c is 1 when left out
combined2     sd = sqrt(a^2 + (b g^c)^2)
exponential   log y = log f + a e
formula       sd is a formula of its own, with `prediction` for f
```

With `coefficients: variance` each of a, b is a variance: sqrt(a) and sqrt(b) take their places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Tag, model_validator

from ipex_pd.records.formulas import Formula, FormulaText
from ipex_pd.records.record import Name, Number, Record, fault

PREDICTION = "prediction"
"""The name of the prediction inside a residual error written as a formula."""

ErrorModel = Literal["additive", "proportional", "power", "combined1", "combined2", "exponential", "formula"]
_WANTED: dict[str, tuple[str, ...]] = {
    "additive": ("additive",),
    "proportional": ("proportional",),
    "power": ("proportional", "exponent"),
    "combined1": ("additive", "proportional"),
    "combined2": ("additive", "proportional"),
    "exponential": ("additive",),
    "formula": ("sd",),
}
_ALLOWED: dict[str, tuple[str, ...]] = {"combined1": ("exponent",), "combined2": ("exponent",)}
_TERMS = ("additive", "proportional", "exponent", "sd")


class ResidualError(Record):
    """The residual error of a continuous endpoint; see the module for the equations.

    Attributes:
        model: which of them.
        additive, proportional, exponent: a, b, c as formulas (usually the name of a parameter, or a number).
        sd: of `formula`; over parameters, individual values, covariates, `time` and `prediction`.
        coefficients: whether a and b are standard deviations or variances.
        scale: whether g is the prediction itself or the transformed one.
        zero_prediction: what to do where g is exactly 0 and the error has no additive part: `refuse`, or NONMEM's
            `unit_weight`: 1 stands in its place.
    """

    model: ErrorModel
    additive: FormulaText | None = None
    proportional: FormulaText | None = None
    exponent: FormulaText | None = None
    sd: FormulaText | None = None
    coefficients: Literal["sd", "variance"] = "sd"
    scale: Literal["untransformed", "transformed"] = "untransformed"
    zero_prediction: Literal["refuse", "unit_weight"] = "refuse"

    @model_validator(mode="after")
    def _terms(self) -> ResidualError:
        wanted = _WANTED[self.model]
        for term in wanted:
            if getattr(self, term) is None:
                raise fault(f"`{term}` is missing", rule=f"A {self.model} error needs {_listed(wanted)}")
        for term in _TERMS:
            if getattr(self, term) is not None and term not in (*wanted, *_ALLOWED.get(self.model, ())):
                raise fault(
                    f"a {self.model} error has no `{term}`",
                    rule=f"It needs {_listed(wanted)}",
                    cure="Take it out, or choose another model",
                    at=(term,),
                )
        if self.coefficients == "variance" and self.model == "formula":
            raise fault("`coefficients` stands beside a formula", rule="A formula states the standard deviation")
        if self.zero_prediction == "unit_weight" and self.model not in ("proportional", "power"):
            raise fault(
                f"a {self.model} error takes no `unit_weight`",
                rule="It replaces the weight of errors that vanish with the prediction: proportional and power",
                cure="Take it out",
                at=("zero_prediction",),
            )
        return self

    def formulas(self) -> dict[str, Formula]:
        """The terms that are written, by name."""
        return {term: getattr(self, term) for term in _TERMS if getattr(self, term) is not None}


def _listed(terms: tuple[str, ...]) -> str:
    return " and ".join(f"`{term}`" for term in terms)


class Transform(Record):
    """A transform h of observation and prediction; `log` alone may be written as a word.

    ```
    log          h(y) = log y
    box_cox      h(y) = (y^l - 1)/l, log y at l = 0
    yeo_johnson  h(y) = ((1 + y)^l - 1)/l for y >= 0, -((1 - y)^(2 - l) - 1)/(2 - l) below (logarithms at l = 0 and 2)
    ```

    Attributes:
        kind: which.
        shape: l, a fixed number.
    """

    kind: Literal["log", "box_cox", "yeo_johnson"]
    shape: Number | None = None

    @model_validator(mode="before")
    @classmethod
    def _word(cls, data: Any) -> Any:
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _shape(self) -> Transform:
        if (self.shape is None) != (self.kind == "log"):
            what = "`log` has a shape" if self.kind == "log" else f"`{self.kind}` has no shape"
            raise fault(what, rule="`box_cox` and `yeo_johnson` need `shape`, `log` has none")
        return self

    @property
    def positive(self) -> bool:
        """Whether observations must be above 0."""
        return self.kind != "yeo_johnson"


class Continuous(Record):
    """A measured quantity.

    Attributes:
        kind: `continuous`, which may be left out.
        prediction: formula over outputs, compartments, individual values, parameters, covariates and `time`.
        dvid, cmt: which rows of the data are of this endpoint; neither when it is the only one.
        error: its residual error.
        transform: of observation and prediction; None compares them as they are.
        censoring: `m1` leaves censored rows out, `m3` takes the probability to lie beyond the limit, `m4` besides
            conditions every row of the endpoint on being positive. None refuses censored rows.
        meaning, unit: for people.
    """

    kind: Literal["continuous"] = "continuous"
    prediction: FormulaText
    dvid: int | None = None
    cmt: int | None = None
    error: ResidualError
    transform: Transform | None = None
    censoring: Literal["m1", "m3", "m4"] | None = None
    meaning: str = ""
    unit: str = ""

    @model_validator(mode="after")
    def _fits(self) -> Continuous:
        if self.error.model == "exponential" and self.transform is not None:
            raise fault(
                "an exponential error stands beside a transform",
                rule="An exponential error is an additive one of the logarithm",
                cure="Write `transform: {kind: log}` with an additive error, or take the transform out",
                at=("transform",),
            )
        if self.error.scale == "transformed" and self.scale is None:
            what = "`scale: transformed` without a transform"
            raise fault(what, rule="There is no transformed prediction", at=("error", "scale"))
        if self.censoring == "m4" and self.scale is not None and self.scale.positive:
            raise fault(
                "`m4` stands on a logarithmic or Box-Cox scale",
                rule="M4 conditions on positive values, and here they are positive always",
                cure="Write `censoring: m3`",
                at=("censoring",),
            )
        return self

    @property
    def scale(self) -> Transform | None:
        """The transform, that of an exponential error included."""
        return Transform(kind="log") if self.error.model == "exponential" else self.transform


class Event(Record):
    """A time to event: DV 1 is an event at the time of its row, DV 0 none since the row before (or since time 0).

    A row with DV 1 and CENS 1 says that the event came at some time since the row before.

    Attributes:
        hazard: instantaneous hazard [1/time].
        cumulative_hazard: its integral since time 0.
        dvid, cmt: which rows of the data are of this endpoint.
        meaning: for people.
    """

    kind: Literal["event"]
    hazard: FormulaText
    cumulative_hazard: FormulaText
    dvid: int | None = None
    cmt: int | None = None
    meaning: str = ""


def _kind(value: Any) -> str:
    kind = value.get("kind", "continuous") if isinstance(value, Mapping) else getattr(value, "kind", "continuous")
    return "event" if kind == "event" else "continuous"


AnyEndpoint = Annotated[Annotated[Continuous, Tag("continuous")] | Annotated[Event, Tag("event")], Discriminator(_kind)]
"""An endpoint of either kind; continuous when nothing is said."""


class Correlation(Record):
    """Residual errors of two endpoints measured in one sample (same subject, same time) are correlated.

    Attributes:
        endpoints: the two.
        value: correlation as a formula, usually the name of a parameter between -1 and 1.
    """

    endpoints: tuple[Name, Name]
    value: FormulaText

    @model_validator(mode="after")
    def _two(self) -> Correlation:
        if self.endpoints[0] == self.endpoints[1]:
            raise fault("an endpoint is correlated with itself", rule="A correlation joins two endpoints")
        return self
