"""Individual values: formulas, or short forms that say typical value, covariates, random effects and distribution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ipex_pd.records.formulas import Formula, FormulaText, parse_formula
from ipex_pd.records.record import Name, Number, Record, Texts, fault

Distribution = Literal["log_normal", "normal", "logit", "box_cox"]


class Relation(Record):
    """How a covariate x changes a typical value, as a factor with coefficient k and centre c.

    ```
    power        (x / c)^k
    exponential  exp(k (x - c))
    linear       1 + k (x - c)
    categorical  1 + k of the class of x; 1 in the reference class
    ```

    Attributes:
        covariate: its name in the data.
        kind: which of them.
        centre: c; 0 when left out, and needed for `power`.
        coefficient: formula for k, usually the name of a parameter.
        classes: of `categorical`: value of the covariate -> formula for k.
        reference: of `categorical`: the class with factor 1.
    """

    covariate: str
    kind: Literal["power", "exponential", "linear", "categorical"]
    centre: Number | None = None
    coefficient: FormulaText | None = None
    classes: dict[str, FormulaText] = Field(default_factory=dict)
    reference: Number | None = None

    @model_validator(mode="after")
    def _complete(self) -> Relation:
        if self.kind == "categorical":
            self._check_classes()
        elif self.coefficient is None or self.classes or self.reference is not None:
            what = f"a {self.kind} relation is not complete"
            raise fault(what, rule="It has a `coefficient`, and neither `classes` nor `reference`")
        if self.kind == "power" and (self.centre is None or self.centre <= 0):
            raise fault("a power relation has no centre above 0", rule="It is (covariate / centre)^coefficient")
        return self

    def _check_classes(self) -> None:
        if not self.classes or self.reference is None or self.coefficient is not None or self.centre is not None:
            rule = "It has `classes` and `reference`, and neither `coefficient` nor `centre`"
            raise fault("a categorical relation is not complete", rule=rule)
        for text in self.classes:
            try:
                value = float(text)
            except ValueError:
                rule = "Classes are numbers, as in the data (words get theirs under `levels` of the covariate)"
                raise fault(f"`{text}` is not a class", rule=rule, at=("classes", text)) from None
            if value == self.reference:
                rule = "The reference class has factor 1"
                raise fault(f"`{text}` is the reference class", rule=rule, at=("classes", text))

    def factor(self) -> str:
        """The factor, as text."""
        x, c = self.covariate, self.centre or 0.0
        if self.kind == "categorical":
            text = "1"
            for value, coefficient in self.classes.items():
                text = f"(1 + ({coefficient.text}) if {x} == {value} else {text})"
            return text
        k = f"({self.coefficient.text})" if self.coefficient is not None else "0"
        if self.kind == "power":
            return f"({x} / {c!r}) ** {k}"
        away = f"({x} - {c!r})" if c else x
        return f"exp({k} * {away})" if self.kind == "exponential" else f"(1 + {k} * {away})"


class Individual(Record):
    """One individual value in short form. With the typical value t (covariates included) and the sum of effects s:

    ```
    log_normal  t exp(s)
    normal      t + s
    logit       low + (high - low) expit(logit((t - low) / (high - low)) + s)
    box_cox     t exp((exp(s)^shape - 1) / shape)
    ```

    Attributes:
        typical: formula over parameters, covariates and earlier individual values.
        random: names of random effects; none when everybody has the typical value.
        distribution: which of them.
        covariates: relations, multiplied in order.
        low, high: of `logit`.
        shape: of `box_cox`, as a formula.
    """

    typical: FormulaText
    random: Texts = ()
    distribution: Distribution = "log_normal"
    covariates: tuple[Relation, ...] = ()
    low: Number = 0.0
    high: Number = 1.0
    shape: FormulaText | None = None

    @model_validator(mode="after")
    def _fits(self) -> Individual:
        if (self.shape is not None) != (self.distribution == "box_cox"):
            raise fault("`shape` does not fit the distribution", rule="`box_cox` needs a `shape`, the others have none")
        if self.distribution != "logit" and (self.low, self.high) != (0.0, 1.0):
            raise fault("`low` and `high` do not fit the distribution", rule="They belong to `logit`")
        if not self.low < self.high:
            raise fault(f"`low` {self.low:g} is not below `high` {self.high:g}", rule="An interval rises", at=("low",))
        return self

    def formula(self) -> Formula:
        """The same as one formula."""
        factors = [f"({self.typical.text})", *(relation.factor() for relation in self.covariates)]
        typical, total = " * ".join(factors), " + ".join(self.random)
        return parse_formula(self._distributed(typical, total) if total else typical)

    def _distributed(self, typical: str, total: str) -> str:
        if self.distribution == "log_normal":
            return f"{typical} * exp({total})"
        if self.distribution == "normal":
            return f"{typical} + {total}"
        if self.distribution == "box_cox":
            shape = f"({self.shape.text})" if self.shape is not None else "1"
            return f"{typical} * exp((exp({shape} * ({total})) - 1) / {shape})"
        low, width = self.low, self.high - self.low
        return f"{low!r} + {width!r} * expit(logit(({typical} - {low!r}) / {width!r}) + {total})"


class Value(Record):
    """An individual value written as a formula over parameters, random effects, covariates and earlier values."""

    written: FormulaText = Field(alias="formula")

    def formula(self) -> Formula:
        """The formula."""
        return self.written


class Dosing(Record):
    """How doses enter a compartment; each of these is the name of an individual value (or a formula over them).

    Attributes:
        lag: delay of doses and infusions.
        bioavailability: fraction of AMT that enters.
        duration, rate: of doses with RATE = -2 and -1.
        infuse: `coded` gives `duration` or `rate` to rows with RATE -2 or -1 only, `all` to every dose of the
            compartment.
        copies: another compartment each of whose doses is given here too (two ways of absorption from one record).
    """

    lag: FormulaText | None = None
    bioavailability: FormulaText | None = None
    duration: FormulaText | None = None
    rate: FormulaText | None = None
    infuse: Literal["coded", "all"] = "coded"
    copies: Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Dosing:
        if self.infuse == "all" and (self.duration is None) == (self.rate is None):
            rule = "Every dose is infused either over a duration or with a rate"
            raise fault("`infuse: all` needs one of `duration` and `rate`", rule=rule, at=("infuse",))
        if not self.formulas() and self.copies is None:
            raise fault("nothing is said of the doses", rule="Write lag, bioavailability, duration, rate or copies")
        return self

    def formulas(self) -> dict[str, Formula]:
        """What is written, by name."""
        terms = ("lag", "bioavailability", "duration", "rate")
        return {term: getattr(self, term) for term in terms if getattr(self, term) is not None}


def _written(value: Any) -> Any:
    """A formula where a short form may stand: a value without short form."""
    return {"formula": value} if isinstance(value, str | int | float) and not isinstance(value, bool) else value


def _form(value: Any) -> str:
    short = isinstance(value, Individual) or (isinstance(value, Mapping) and "formula" not in value)
    return "short" if short else "formula"


AnyIndividual = Annotated[
    Annotated[Value, Tag("formula")] | Annotated[Individual, Tag("short")],
    Discriminator(_form),
    BeforeValidator(_written),
]
"""An individual value: a formula as text, or a short form."""
