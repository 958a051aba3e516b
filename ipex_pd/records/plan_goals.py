"""What a plan is for: goals with weights, and how the members of an ensemble are weighed against each other.

```yaml
goals:
  - {maximise: survival, weight: 1, assumed: a life counts most}
  - {minimise: steroid_dose, weight: 0.002, assumed: 100 mg/kg of steroid weigh as much as a fifth of a life}
statistic: {quantile: 10 %}
```

The value of a plan in one member is `sum of sign x weight x goal`, with sign +1 for `maximise` and -1 for `minimise`;
the statistic makes one number of all members. Larger is better.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, model_serializer, model_validator

from ipex_pd.errors import UnknownKeyError, nearest_hint
from ipex_pd.records.plan_parts import Sourced
from ipex_pd.records.record import Day, Fraction, Number, Record, fault


class GoalName(NamedTuple):
    """A quantity that a plan can be for.

    Attributes:
        unit: of the quantity.
        better: whether `higher` or `lower` is good for the child.
        words: what it is, in a sentence.
    """

    unit: str
    better: Literal["higher", "lower"]
    words: str


GOALS: Mapping[str, GoalName] = {
    "survival": GoalName("fraction", "higher", "survival to the horizon"),
    "death_disease": GoalName("fraction", "lower", "death from the disease by the horizon"),
    "death_infection": GoalName("fraction", "lower", "death from infection by the horizon"),
    "death_transplant": GoalName("fraction", "lower", "death from the transplant by the horizon"),
    "organ_free_survival": GoalName("fraction", "higher", "survival with all organs at the horizon"),
    "diabetes_free_survival": GoalName("fraction", "higher", "survival without diabetes at the horizon"),
    "time_in_remission": GoalName("day", "higher", "time alive in remission up to the horizon"),
    "remission": GoalName("fraction", "higher", "remission at the horizon"),
    "c_peptide": GoalName("ng/mL", "higher", "C-peptide at the horizon"),
    "beta_cell_mass": GoalName("fraction", "higher", "beta-cell mass at the horizon"),
    "height_z_change": GoalName("SD", "higher", "change of height-for-age z up to the horizon"),
    "weight_z_change": GoalName("SD", "higher", "change of weight-for-age z up to the horizon"),
    "steroid_dose": GoalName("mg/kg", "lower", "cumulative steroid as prednisolone"),
    "calcineurin_burden": GoalName("day", "lower", "cumulative calcineurin inhibition in days of full effect"),
    "infection_risk": GoalName("fraction", "lower", "risk of a serious infection by the horizon"),
    "renal_scarring": GoalName("fraction", "lower", "renal scarring at the horizon"),
    "oi_score": GoalName("1", "lower", "organ-involvement score at the horizon"),
    "ige_fold": GoalName("1", "lower", "IgE at the horizon over IgE at the start"),
    "quality_adjusted_time": GoalName("day", "higher", "quality-adjusted time alive up to the horizon"),
}
"""Every goal; names that `simulation.endpoints` has too mean the same there."""

GOAL_NAMES = tuple(GOALS)
QUALITY = "quality_adjusted_time"
"""The goal that needs `states`."""


def goal_name(value: Any) -> str:
    """The name of a goal. Raises (for pydantic): UnknownKeyError with the nearest names."""
    if not isinstance(value, str) or value not in GOALS:
        rule, kind = nearest_hint(str(value), GOALS), UnknownKeyError.__name__
        raise fault(f"`{value}` is not a goal", rule=rule, cure="Rename it", kind=kind)
    return value


GoalKey = Annotated[str, BeforeValidator(goal_name)]


class Quality(Sourced):
    """What a day in a state is worth.

    Attributes:
        value: between 0 (as death) and 1 (full health).
        lasts: written `for`; how long the state lasts (after a transplant) [day].
    """

    value: Fraction = Field(ge=0, le=1)
    lasts: Day | None = Field(None, alias="for", gt=0)

    @model_validator(mode="after")
    def _sourced(self) -> Quality:
        if self.source is None:
            raise _unsourced(f"the value {self.value:g} of a state has no source")
        return self


class QualityStates(Record):
    """The worth of a day alive by state; `quality_adjusted_time` is the integral of survival times worth.

    A child is in `after_transplant` for its time after a transplant, else in `remission` or `active`; with `diabetes`
    the worth is multiplied by its value.

    Attributes:
        remission: all reversible organs quiet, as the endpoint `remission` has it.
        active: alive and not in remission.
        after_transplant: for some time after a transplant; no state of its own when left out.
        diabetes: factor while too little beta-cell mass is left, as the endpoint `diabetes` has it; 1 when left out.
    """

    remission: Quality
    active: Quality
    after_transplant: Quality | None = None
    diabetes: Quality | None = None

    @model_validator(mode="after")
    def _lasting(self) -> QualityStates:
        for name in ("remission", "active", "diabetes"):
            state: Quality | None = getattr(self, name)
            if state is not None and state.lasts is not None:
                raise fault(
                    f"`{name}` with `for`", rule="Only `after_transplant` lasts a stated time", at=(name, "for")
                )
        if self.after_transplant is not None and self.after_transplant.lasts is None:
            cure = "Write `{value: 0.5, for: 100 day, assumed: ...}`"
            raise fault("`after_transplant` has no `for`", rule="It ends some day", cure=cure, at=("after_transplant",))
        return self

    def in_words(self) -> str:
        """`1 in remission, 0.6 in active disease, ...`."""
        parts = [f"{self.remission.value:g} in remission", f"{self.active.value:g} in active disease"]
        if self.after_transplant is not None:
            parts.append(f"{self.after_transplant.value:g} for {self.after_transplant.lasts:g} days after a transplant")
        if self.diabetes is not None:
            parts.append(f"times {self.diabetes.value:g} with diabetes")
        return ", ".join(parts)


class Goal(Sourced):
    """One thing to gain or to avoid.

    Attributes:
        maximise, minimise: name of the goal (see `GOALS`), under one of the two.
        weight: worth of one unit of it; it matters beside other goals only, and then needs a source.
        states: of `quality_adjusted_time`: what a day in each state is worth.
    """

    maximise: GoalKey | None = None
    minimise: GoalKey | None = None
    weight: Number = Field(1.0, gt=0)
    states: QualityStates | None = None

    @model_validator(mode="after")
    def _sound(self) -> Goal:
        if (self.maximise is None) == (self.minimise is None):
            cure = "Write `{maximise: survival, weight: 1, assumed: why}`"
            raise fault("a goal needs one of `maximise` and `minimise`", rule="It says what is good", cure=cure)
        verb, good = ("maximise", "higher") if self.maximise else ("minimise", "lower")
        if GOALS[self.name].better != good:
            other = "minimise" if self.maximise else "maximise"
            rule = f"{GOALS[self.name].better.capitalize()} is better for the child"
            raise fault(f"`{verb}: {self.name}` harms", rule=rule, cure=f"Write `{other}: {self.name}`", at=(verb,))
        if (self.states is not None) != (self.name == QUALITY):
            what = f"`{self.name}` {'without' if self.states is None else 'with'} `states`"
            rule = "`states` says what a day in each state is worth, for `quality_adjusted_time` alone"
            raise fault(what, rule=rule, cure="Add `states: {remission: ..., active: ...}`, or take it out")
        return self

    @property
    def name(self) -> str:
        """Of the quantity."""
        return str(self.maximise or self.minimise)

    @property
    def sign(self) -> float:
        """1 to maximise, -1 to minimise."""
        return 1.0 if self.maximise else -1.0

    @property
    def unit(self) -> str:
        """Of the quantity."""
        return GOALS[self.name].unit

    def in_words(self, alone: bool = False) -> str:
        """`more survival to the horizon (weight 1 per 100 %)`."""
        worth = "" if alone else f" (weight {self.weight:g} per {per_unit(self.unit)})"
        states = f", a day being worth {self.states.in_words()}" if self.states is not None else ""
        return f"{'more' if self.maximise else 'less'} {GOALS[self.name].words}{states}{worth}"


def per_unit(unit: str) -> str:
    """A unit as it follows `per`."""
    return {"fraction": "100 %", "1": "point"}.get(unit, unit)


def unsourced_weight(goal: Goal, at: tuple[str | int, ...]) -> Exception:
    """The fault of a weight without a source, to raise inside a validator."""
    return _unsourced(f"the weight {goal.weight:g} of `{goal.name}` has no source", at)


def _unsourced(what: str, at: tuple[str | int, ...] = ()) -> Exception:
    rule = "Every number has a source, or says `assumed` with a reason"
    cure = "Add `assumed: why`, or `source: {reported: ...}`"
    return fault(what, rule=rule, cure=cure, kind="SourceError", at=at)


class Statistic(Record):
    """What is told of a value that differs between members: written `mean`, `worst` or `{quantile: 10 %}`.

    Attributes:
        kind: which.
        share: of a quantile: the weight of the members that do worse.
    """

    kind: Literal["mean", "quantile", "worst"] = "mean"
    share: Fraction | None = Field(None, gt=0, lt=1)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if data in ("mean", "worst"):
            return {"kind": data}
        if isinstance(data, Mapping) and set(data) == {"quantile"}:
            return {"kind": "quantile", "share": data["quantile"]}
        if isinstance(data, Mapping) and "kind" in data:
            return data
        rule = "It is `mean`, `worst` or `{quantile: 10 %}`"
        raise fault(f"`{data}` is not a statistic", rule=rule, kind=UnknownKeyError.__name__)

    @model_validator(mode="after")
    def _shared(self) -> Statistic:
        if (self.kind == "quantile") != (self.share is not None):
            raise fault(f"`{self.kind}` with a share of {self.share}", rule="A quantile has a share, others have none")
        return self

    @model_serializer(mode="plain")
    def _written(self) -> Any:
        return {"quantile": self.share} if self.kind == "quantile" else self.kind

    def in_words(self) -> str:
        """`on average over the members` and so on."""
        if self.kind == "mean":
            return "on average over the members"
        if self.kind == "worst":
            return "in the member who does worst"
        return f"in the member than whom {100 * (self.share or 0.0):g} % do worse"
