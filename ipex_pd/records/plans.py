"""Planning problems: what is free in a treatment, what it is for, and what it must keep to.

```yaml
name: steroid_sparing_taper
description: ...
patient: seidel_2009
start: prednisolone_tacrolimus
horizon: 24 week
ensemble: {children: 20, draws: 10, seed: 1}
free:
  - {dose: prednisolone, changes_every: 1 week, lowest: 0 mg/kg/day, highest: 2 mg/kg/day}
goals:
  - {maximise: survival, weight: 1, assumed: ...}
  - {minimise: steroid_dose, weight: 0.002, assumed: ...}
limits:
  - {trough: tacrolimus, low: 5 ng/mL, high: 10 ng/mL, share: 90 %, from: 14}
```

See `plan_free`, `plan_goals` and `plan_limits` for the lines; `plan_checks` for what must fit between them.
"""

from __future__ import annotations

import os
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ipex_pd.records.plan_free import AnyFree, FreeOrder, TransplantDay, order_keys
from ipex_pd.records.plan_goals import Goal, Statistic, unsourced_weight
from ipex_pd.records.plan_limits import AnyLimit
from ipex_pd.records.plan_parts import PlanEnsemble, Timing
from ipex_pd.records.provenance import Citation
from ipex_pd.records.record import Name, Record, Span, fault
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.yamlfile import save_data


def _form(value: Any) -> str:
    return "<named>" if isinstance(value, str) else "<written out>"


AnyRegimen = Annotated[
    Annotated[str, Field(min_length=1), Tag("<named>")] | Annotated[Regimen, Tag("<written out>")],
    Discriminator(_form),
]
"""A regimen: a shipped name, the path of a file (from the folder of the plan's own file), or written out."""


def _one_regimen(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


class PlanningProblem(Record):
    """A question about treatment.

    Attributes:
        name, description: what it is.
        patient: a shipped name or the path of a file; who the plan is for.
        start: the regimen the plan begins from.
        alternatives: other regimens to begin from, such as other drugs; the best of all is the plan.
        horizon: until when it is judged.
        ensemble: the members over whom it is judged.
        out_of_sample: fresh members on whom the found plan is judged again; the same numbers with the next seed when
            left out (see `fresh`).
        free: what may change.
        goals: what it is for: a weighted sum.
        statistic: what is told of the sum over the members: `mean`, `worst` or `{quantile: 10 %}`.
        limits: what it must keep to. Safety limits of a regimen hold besides.
        timing: days of transplant for which the outcome is told.
        compare_with: regimens that the plan is compared with.
        sources: citations that stand in the same file.
    """

    name: Name
    description: str = Field(min_length=1)
    patient: str = Field(min_length=1)
    start: AnyRegimen
    alternatives: Annotated[tuple[AnyRegimen, ...], BeforeValidator(_one_regimen)] = ()
    horizon: Span = Field(ge=1)
    ensemble: PlanEnsemble
    out_of_sample: PlanEnsemble | None = None
    free: tuple[AnyFree, ...] = Field(min_length=1)
    goals: tuple[Goal, ...] = Field(min_length=1)
    statistic: Statistic = Statistic(kind="mean", share=None)
    limits: tuple[AnyLimit, ...] = ()
    timing: Timing | None = None
    compare_with: Annotated[tuple[AnyRegimen, ...], BeforeValidator(_one_regimen)] = ()
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _sound(self) -> PlanningProblem:
        for index, goal in enumerate(self.goals):
            if goal.name in [other.name for other in self.goals[:index]]:
                cure = "Take one of them out"
                raise fault(f"`{goal.name}` stands twice", rule="A goal stands once", cure=cure, at=("goals", index))
            if len(self.goals) > 1 and goal.source is None:
                raise unsourced_weight(goal, ("goals", index))
        if self.out_of_sample == self.ensemble:
            rule = "A plan is judged again on members that it has not seen"
            cure = "Give it another `seed`"
            raise fault("`out_of_sample` is the ensemble itself", rule=rule, cure=cure, at=("out_of_sample",))
        if self.timing is not None and self.timing.grid()[-1] >= self.horizon:
            what = f"a transplant on day {self.timing.grid()[-1]:g}, with the horizon on day {self.horizon:g}"
            raise fault(what, rule="The outcome is told at the horizon, after the transplant", at=("timing", "days"))
        return self

    @property
    def fresh(self) -> PlanEnsemble:
        """The members on whom the found plan is judged again."""
        if self.out_of_sample is not None:
            return self.out_of_sample
        return self.ensemble.model_copy(update={"seed": self.ensemble.seed + 1})

    def free_in(self, regimen: Regimen) -> tuple[AnyFree, ...]:
        """The free quantities that a regimen has."""
        known = order_keys(regimen)
        return tuple(
            line
            for line in self.free
            if (line.order in known if isinstance(line, FreeOrder) else bool(regimen.transplants))
        )

    @property
    def transplant_day(self) -> TransplantDay | None:
        """The free day of transplant, None when it is fixed or there is none."""
        return next((line for line in self.free if isinstance(line, TransplantDay)), None)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as YAML; `load_plan` reads it back."""
        save_data(path, self.as_data())

    def in_words(self) -> list[str]:
        """The question in sentences that a pharmacist can check."""
        from ipex_pd.records.plan_words import plan_in_words

        return plan_in_words(self)
