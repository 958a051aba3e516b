"""Structural models for fitting: compartments with closed-form kinetics or rates, and what can be observed of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from ipex_pd.errors import RecordError, UnknownKeyError, nearest_hint
from ipex_pd.records.formulas import Formula, FormulaText, parse_formula
from ipex_pd.records.kinetics import Kinetics
from ipex_pd.records.provenance import Citation, Source
from ipex_pd.records.record import Name, Record, fault

TIME = "time"
"""The name of the record's time in formulas, in the unit of the data."""


def _described(kinetics: Any) -> dict[str, dict[str, Any]]:
    """What kinetics fill in; faulty ones are told where they stand, and fill in something harmless here."""
    try:
        return Kinetics.model_validate(kinetics).description()
    except ValidationError:
        return Kinetics(disposition=1).description()


def _unit_text(value: Any) -> Any:
    return str(value) if type(value) is int else value


Unit = Annotated[str, BeforeValidator(_unit_text), Field(min_length=1)]
"""A unit as text; the pure number 1 may be written as a number."""


class Quantity(Record):
    """What a name means.

    Attributes:
        meaning: in words.
        unit: in words of the data (`volume/time`), since a model serves data in any units.
    """

    meaning: str = Field(min_length=1)
    unit: Unit


class Output(Quantity):
    """What can be observed: a formula over compartments, parameters, inputs, `time` and earlier outputs."""

    formula: FormulaText


class StructuralModel(Record):
    """Compartments and how they change.

    Attributes:
        name, description: what it is.
        kinetics: linear kinetics solved in closed form; instead of `rates`.
        states: written `compartments`: name -> meaning and unit, in the order of CMT 1, 2, ...; filled in for
            `kinetics`. Empty: the outputs are formulas of time alone.
        rates: compartment -> d(amount)/dt over compartments, parameters, inputs and `time`.
        parameters: names that a problem gives individual values to; filled in for `kinetics`.
        inputs: names that come from elsewhere: covariates, individual values, or outputs of the model before in a
            composition.
        initial: compartment -> amount at the first record over parameters and inputs; 0 when left out.
        outputs: name -> formula; filled in (`concentration`) for `kinetics`.
        default_dose: where doses without a compartment go; the first one when left out, empty without compartments.
        default_observation: the compartment of observations without one; `central`, or the first one.
        source: where the equations come from.
        sources: citations that stand in the same file.
    """

    name: Name = "inline"
    description: str = Field("Written in the problem", min_length=1)
    kinetics: Kinetics | None = None
    states: dict[Name, Quantity] = Field(default_factory=dict, alias="compartments")
    rates: dict[Name, FormulaText] = Field(default_factory=dict)
    parameters: dict[Name, Quantity] = Field(default_factory=dict)
    inputs: dict[str, Quantity] = Field(default_factory=dict)
    initial: dict[Name, FormulaText] = Field(default_factory=dict)
    outputs: dict[Name, Output] = Field(min_length=1)
    default_dose: str = ""
    default_observation: str = ""
    source: Source | None = None
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _fill(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        given = dict(data)
        if "states" in given:
            given["compartments"] = given.pop("states")
        for key in ("compartments", "parameters"):
            if key in given and not given[key]:
                given[key] = {}
        if given.get("kinetics") is not None:
            for key, filled in _described(given["kinetics"]).items():
                if not given.get(key):
                    given[key] = filled
        names = list(given["compartments"]) if isinstance(given.get("compartments"), Mapping) else []
        if names and not given.get("default_dose"):
            given["default_dose"] = names[0]
        if names and not given.get("default_observation"):
            given["default_observation"] = "central" if "central" in names else names[0]
        return given

    @property
    def compartments(self) -> tuple[str, ...]:
        """Names of the compartments, in the order of CMT 1, 2, ..."""
        return tuple(self.states)

    @model_validator(mode="after")
    def _consistent(self) -> StructuralModel:
        if self.kinetics is not None:
            self._closed(self.kinetics)
        self._rated()
        self._distinct()
        self._names_exist()
        self._parameters_used()
        for key in ("default_dose", "default_observation"):
            chosen = getattr(self, key)
            if chosen and chosen not in self.compartments:
                raise _unknown(chosen, "a compartment of this model", self.compartments, (key,))
        return self

    def _closed(self, kinetics: Kinetics) -> None:
        if self.rates:
            raise fault(
                "`rates` stands beside `kinetics`",
                rule="`kinetics` has rates of its own",
                cure="Take one of them out",
                at=("rates",),
            )
        if self.compartments != kinetics.compartments:
            rule = f"These kinetics have the compartments {', '.join(f'`{n}`' for n in kinetics.compartments)}"
            what = "the compartments do not fit the kinetics"
            raise fault(what, rule=rule, cure="Leave them out", at=("compartments",))
        for name in kinetics.parameters:
            if name not in self.parameters:
                rule, cure = "These kinetics need it", "Declare it under `parameters`, or leave `parameters` out"
                raise fault(f"`{name}` is missing", rule=rule, cure=cure, at=("parameters",))

    def _rated(self) -> None:
        for key in ("rates", "initial"):
            for name in getattr(self, key):
                if name not in self.compartments:
                    raise _unknown(name, "a compartment of this model", self.compartments, (key, name))
        if self.kinetics is None:
            for name in self.compartments:
                if name not in self.rates:
                    rule, cure = "Every compartment has a rate", f"Write `{name}:` under `rates` (0 when it stays)"
                    raise fault(f"`{name}` has no rate", rule=rule, cure=cure, at=("compartments", name))

    def _distinct(self) -> None:
        seen: dict[str, str] = {TIME: "the time"}
        for kind in ("compartments", "parameters", "inputs", "outputs"):
            for name in getattr(self, kind):
                if name in seen:
                    what = f"`{name}` is both {seen[name]} and one of the {kind}"
                    raise fault(what, rule="A name means one thing", cure="Rename one", at=(kind, name))
                seen[name] = f"one of the {kind}"

    def _names_exist(self) -> None:
        values = {*self.parameters, *self.inputs}
        rates = {*values, *self.compartments, TIME}
        for key, known, formulas in (("rates", rates, self.rates), ("initial", values, self.initial)):
            for name, formula in formulas.items():
                _require(formula, known, (key, name))
        known = set(rates)
        for name, output in self.outputs.items():
            _require(output.formula, known, ("outputs", name, "formula"))
            known.add(name)

    def _parameters_used(self) -> None:
        outputs = [output.formula for output in self.outputs.values()]
        used = set[str]().union(*(f.names for f in (*self.rates.values(), *self.initial.values(), *outputs)))
        used = used.union(self.kinetics.parameters if self.kinetics is not None else ())
        for kind in ("parameters", "inputs"):
            for name in getattr(self, kind):
                if name not in used:
                    what, rule = f"`{name}` is never used", "What is declared stands in a rate, a start or an output"
                    raise fault(what, rule=rule, cure="Use it or take it out", at=(kind, name))

    def flat_outputs(self) -> dict[str, Formula]:
        """Outputs over compartments, parameters, inputs and `time` alone: earlier outputs are put in their place."""
        flat: dict[str, Formula] = {}
        for name, output in self.outputs.items():
            flat[name] = substitute(output.formula, flat)
        return flat

    def as_rates(self) -> StructuralModel:
        """The same model with its closed-form kinetics written out as rates."""
        if self.kinetics is None:
            return self
        rates = {name: parse_formula(text) for name, text in self.kinetics.rates().items()}
        return self.model_copy(update={"kinetics": None, "rates": rates})


def substitute(formula: Formula, replaced: Mapping[str, Formula]) -> Formula:
    """A formula with names replaced by other formulas."""
    if not formula.names & replaced.keys():
        return formula

    def put(match: re.Match[str]) -> str:
        found = replaced.get(match.group(0))
        return match.group(0) if found is None else f"({found.text})"

    return parse_formula(re.sub(r"\b[A-Za-z_]\w*", put, formula.text))


def compose(models: Sequence[StructuralModel], inputs: Mapping[str, str] | None = None) -> StructuralModel:
    """One model out of several, each later one taking its inputs from the outputs of those before it.

    Closed-form kinetics stay closed where no later model has compartments, and are written out as rates elsewhere.

    Args:
        models: in order, kinetics first.
        inputs: input of a later model -> output of an earlier one, where their names differ.

    Raises:
        RecordError: fewer than two models, two of them declare one name, or an input leads nowhere.
    """
    if len(models) < 2:
        raise RecordError("a composition has fewer than two models", rule="It joins two or more")
    links = dict(inputs or {})
    if any(model.compartments for model in models[1:]):
        models = [model.as_rates() for model in models]
    joined, produced = models[0], models[0].flat_outputs()
    for model in models[1:]:
        source = {name: links.pop(name, name) for name in model.inputs}
        for name, output in source.items():
            if name != output and output not in produced:
                raise UnknownKeyError(
                    f"`{output}` is not an output before `{model.name}`", rule=nearest_hint(output, produced)
                )
        given = {name: produced[output] for name, output in source.items() if output in produced}
        joined = _joined(joined, model, given)
        produced = joined.flat_outputs()
    for name in links:
        known = {n for model in models[1:] for n in model.inputs}
        raise UnknownKeyError(f"`{name}` is not an input of a later model", rule=nearest_hint(name, known))
    return joined


def _joined(first: StructuralModel, second: StructuralModel, given: Mapping[str, Formula]) -> StructuralModel:
    taken = {*first.compartments, *first.parameters, *first.outputs}
    for name in (*second.compartments, *second.parameters, *second.outputs):
        if name in taken:
            raise RecordError(
                f"`{name}` stands in both `{first.name}` and `{second.name}`",
                rule="A name means one thing",
                cure="Write the joined model in the problem with names of your own",
            )
    outputs = {
        name: output.model_copy(update={"formula": substitute(output.formula, given)})
        for name, output in second.outputs.items()
    }
    own = {name: meaning for name, meaning in second.inputs.items() if name not in given and name not in taken}
    return StructuralModel(
        name=f"{first.name}_{second.name}",
        description=f"{first.description.rstrip('.')}; {second.description}",
        kinetics=first.kinetics,
        compartments={**first.states, **second.states},
        rates={**first.rates, **{n: substitute(f, given) for n, f in second.rates.items()}},
        parameters={**first.parameters, **second.parameters},
        inputs={**first.inputs, **own},
        initial={**first.initial, **{n: substitute(f, given) for n, f in second.initial.items()}},
        outputs={**first.outputs, **outputs},
        default_dose=first.default_dose,
        default_observation=first.default_observation,
        source=first.source,
        sources={**first.sources, **second.sources},
    )


def _unknown(name: str, what: str, known: Iterable[str], at: tuple[str, ...]) -> Exception:
    rule = nearest_hint(name, known)
    return fault(f"`{name}` is not {what}", rule=rule, cure="Rename it", kind="UnknownKeyError", at=at)


def _require(formula: Formula, known: set[str], at: tuple[str, ...]) -> None:
    for name in sorted(formula.names - known):
        raise fault(
            f"`{name}` in `{formula.text}` is not declared",
            rule=nearest_hint(name, known),
            cure="Correct the spelling, or declare it under `parameters` or `inputs`",
            kind="UnknownKeyError",
            code="formula.unknown-name",
            at=at,
        )
