"""Drugs: kinetic structure, parameters, relations to the patient, what is measured, and what the drug acts on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_serializer, model_validator

from ipex_pd.errors import RecordError, UnitError, UnknownKeyError, nearest_hint
from ipex_pd.records.parameters import Parameter, ParametersByName, ParameterSet, unnamed
from ipex_pd.records.provenance import Citation, Source
from ipex_pd.records.record import Fraction, Name, Number, Record, Texts, fault, measures, quantity
from ipex_pd.records.relations import AnyRelation, Relation
from ipex_pd.units import factor

Route = Literal["oral", "iv"]
Target = Literal["steroid", "calcineurin", "mtor", "cd20"]
TARGETS: tuple[Target, ...] = ("steroid", "calcineurin", "mtor", "cd20")

UNITS: dict[str, str] = {
    "clearance": "L/day",
    "volume_central": "L",
    "intercompartmental_clearance_1": "L/day",
    "volume_peripheral_1": "L",
    "intercompartmental_clearance_2": "L/day",
    "volume_peripheral_2": "L",
    "absorption_rate": "1/day",
    "lag": "day",
    "bioavailability": "1",
    "binding_capacity": "1",
    "binding_affinity": "L/mg",
    "binding_linear": "1",
}
"""Kinetic parameters and the units in which `Drug.values` hands them over."""


class Kinetics(Record):
    """The compartments: `compartments` for disposition, and a depot for what is swallowed."""

    compartments: Literal[1, 2, 3]
    depot: bool


class Linear(Record):
    """What is measured is the amount over the central volume."""

    kind: Literal["linear"]
    measured: Literal["whole_blood", "plasma", "serum"]
    unit: str

    @property
    def names(self) -> tuple[str, ...]:
        """Reported concentrations, the measured one first."""
        return (self.measured,)


class SaturableBinding(Record):
    """The kinetics are those of unbound drug; what is measured is total drug in plasma.

    total = unbound * (1 + binding_capacity / (1 + binding_affinity * unbound) + binding_linear)
    """

    kind: Literal["saturable_binding"]
    unit: str

    @property
    def names(self) -> tuple[str, ...]:
        """Reported concentrations, the measured one first."""
        return ("total", "unbound")


Concentration = Annotated[Linear | SaturableBinding, Field(discriminator="kind")]


class Action(Record):
    """An action on a target: potency = concentration / EC50, summed over drugs.

    Attributes:
        target: where it enters the disease.
        ec50: parameter named `ec50_<target>`.
        of: which reported concentration acts; the measured one when empty.
    """

    target: Target
    ec50: Parameter
    of: str = ""

    @model_validator(mode="before")
    @classmethod
    def _name(cls, data: Any) -> Any:
        if isinstance(data, Mapping) and isinstance(data.get("ec50"), Mapping):
            name = f"ec50_{data.get('target')}"
            return {
                **data,
                "ec50": {"name": name, "meaning": f"half-maximal concentration, {name[5:]}", **data["ec50"]},
            }
        return data

    @field_serializer("ec50")
    def _unnamed(self, ec50: Parameter) -> dict[str, Any]:
        return unnamed(ec50)


class Window(Record):
    """A range of trough concentrations used in practice."""

    setting: str
    low: str
    high: str
    source: Source

    @model_validator(mode="after")
    def _ordered(self) -> Window:
        low, high = quantity(self.low, "mg/L"), quantity(self.high, "mg/L")
        if low.value * factor(low.unit, high.unit) >= high.value:
            raise fault(f"`{self.low}` is not below `{self.high}`", rule="A window goes from low to high")
        return self


class Residual(Record):
    """Error of a measured concentration: proportional [1] and additive part."""

    proportional: Fraction = Field(0.0, ge=0)
    additive: str = ""
    source: Source

    @model_validator(mode="after")
    def _concentration(self) -> Residual:
        if self.additive:
            quantity(self.additive, "mg/L")
        return self


class Variant(Record):
    """Another published choice for some parameters; relations given here replace those on the same parameters."""

    description: str
    parameters: ParametersByName
    relations: tuple[AnyRelation, ...] = ()
    drops_relations_on: Texts = ()


class Drug(Record):
    """A drug as its file says it.

    Attributes:
        name, synonyms, description: what it is; `synonyms` resolve to it.
        is_not: what its model must not be used for.
        molar_mass: g/mol, needed when a parameter is molar.
        kinetics, parameters, relations: the model; parameters are typical values at the references of the relations.
        concentration: what is reported and measured.
        acts_on: targets and EC50.
        routes: how it may be given; `refused_routes` says why another is refused and what to do.
        windows, residual, limits: troughs in use, assay error, known limits.
        variants: other published choices; `variant_of` is set in a drug made from one.
    """

    name: Name
    synonyms: Texts = ()
    description: str = Field(min_length=1)
    is_not: str = Field(min_length=1)
    molar_mass: Number | None = Field(None, gt=0)
    kinetics: Kinetics
    parameters: ParametersByName
    relations: tuple[AnyRelation, ...] = ()
    concentration: Concentration
    acts_on: tuple[Action, ...] = Field(min_length=1)
    routes: tuple[Route, ...] = Field(min_length=1)
    refused_routes: dict[Route, str] = Field(default_factory=dict)
    windows: tuple[Window, ...] = ()
    residual: Residual | None = None
    limits: Texts = ()
    variants: dict[str, Variant] = Field(default_factory=dict)
    variant_of: str = ""
    sources: dict[str, Citation] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Drug:
        self._check_parameters()
        for index, relation in enumerate(self.relations):
            self._check_relation(relation, ("relations", index, "on"))
        for index, action in enumerate(self.acts_on):
            self._check_action(action, ("acts_on", index))
        for name, variant in self.variants.items():
            for parameter in variant.parameters:
                if parameter.name not in {p.name for p in self.parameters}:
                    what = f"variant `{name}` gives `{parameter.name}`, which `{self.name}` does not have"
                    raise fault(
                        what,
                        rule=nearest_hint(parameter.name, [p.name for p in self.parameters]),
                        at=("variants", name, "parameters", parameter.name),
                    )
        if "oral" in self.routes and not self.kinetics.depot:
            raise fault(f"`{self.name}` has no depot and cannot be given by mouth", rule="An oral route needs a depot")
        if not measures(self.concentration.unit, "mg/L"):
            raise fault(
                f"`{self.concentration.unit}` is not a mass concentration",
                kind=UnitError.__name__,
                at=("concentration", "unit"),
            )
        return self

    def expected_parameters(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the parameters that the structure needs, and of those it may have."""
        needed = ["clearance", "volume_central"]
        for i in range(1, self.kinetics.compartments):
            needed += [f"intercompartmental_clearance_{i}", f"volume_peripheral_{i}"]
        if self.kinetics.depot:
            needed += ["absorption_rate", "bioavailability"]
        if isinstance(self.concentration, SaturableBinding):
            needed += ["binding_capacity", "binding_affinity", "binding_linear"]
        return tuple(needed), ("lag",) if self.kinetics.depot else ()

    def _check_parameters(self) -> None:
        needed, optional = self.expected_parameters()
        names = [p.name for p in self.parameters]
        for name in names:
            if name not in needed and name not in optional:
                what = f"`{name}` is not a parameter of this structure"
                rule = nearest_hint(name, (*needed, *optional))
                raise fault(
                    what,
                    rule=rule,
                    cure="Rename it or change `kinetics`",
                    kind=UnknownKeyError.__name__,
                    at=("parameters", name),
                )
        for name in needed:
            if name not in names:
                raise fault(f"parameter `{name}` is missing", rule="The structure needs it", code="record.missing")
        for parameter in self.parameters:
            self._canonical(parameter)

    def _check_relation(self, relation: Relation, at: tuple[str | int, ...]) -> None:
        names = [p.name for p in self.parameters]
        if relation.on not in names:
            what = f"a relation acts on `{relation.on}`, which is not a parameter of `{self.name}`"
            raise fault(what, rule=nearest_hint(relation.on, names), kind=UnknownKeyError.__name__, at=at)
        if relation.needs_dose and relation.on != "bioavailability":
            raise fault(
                f"a dose relation acts on `{relation.on}`", rule="The dose may change `bioavailability` only", at=at
            )

    def _check_action(self, action: Action, at: tuple[str | int, ...]) -> None:
        if action.of and action.of not in self.concentration.names:
            rule = nearest_hint(action.of, self.concentration.names)
            raise fault(
                f"`{action.of}` is not a concentration of `{self.name}`",
                rule=rule,
                kind=UnknownKeyError.__name__,
                at=(*at, "of"),
            )
        if not measures(action.ec50.unit, "mg/L"):
            raise fault(
                f"EC50 in `{action.ec50.unit}`",
                rule="An EC50 is a mass concentration",
                kind=UnitError.__name__,
                at=(*at, "ec50", "unit"),
            )

    def _canonical(self, parameter: Parameter) -> float:
        unit, source = UNITS[parameter.name], parameter.unit
        if measures(source, unit):
            return factor(source, unit)
        if parameter.name == "binding_affinity" and measures(source, "L/nmol"):
            if self.molar_mass is None:
                raise fault("a molar affinity without `molar_mass`", rule="mol and mg meet through the molar mass")
            return factor(source, "L/nmol") * 1e6 / self.molar_mass
        what = f"`{parameter.name}` is in `{source}`"
        raise fault(
            what,
            rule=f"It must be in `{unit}` or a multiple of it",
            kind=UnitError.__name__,
            at=("parameters", parameter.name, "unit"),
        )

    @property
    def targets(self) -> tuple[str, ...]:
        """What it acts on."""
        return tuple(action.target for action in self.acts_on)

    def parameter_set(self) -> ParameterSet:
        """All its numbers that may differ between patients, EC50 included, in the units of the file."""
        return ParameterSet(
            name=self.name,
            description=self.description,
            is_not=self.is_not,
            sources=self.sources,
            parameters=(*self.parameters, *(action.ec50 for action in self.acts_on)),
        )

    def values(self) -> dict[str, float]:
        """Typical values in the units of `UNITS`; `ec50_<target>` in mg/L; an absent lag is 0."""
        found = {p.name: p.value * self._canonical(p) for p in self.parameters}
        if self.kinetics.depot:
            found.setdefault("lag", 0.0)
        return found | {f"ec50_{a.target}": a.ec50.value_in("mg/L") for a in self.acts_on}

    def relations_on(self, name: str) -> tuple[Relation, ...]:
        """Relations acting on one parameter, in order."""
        return tuple(r for r in self.relations if r.on == name)

    def require_route(self, route: str, where: str = "") -> None:
        """Refuse a route that the model cannot honour. Raises: RecordError."""
        if route in self.routes:
            return
        reason = next((text for name, text in self.refused_routes.items() if name == route), "")
        raise RecordError(
            f"`{self.name}` cannot be given by route `{route}`",
            code="record.route",
            where=where,
            rule=reason or f"Its model knows: {', '.join(self.routes)}",
            cure=f"Write `route: {self.routes[0]}`",
        )

    def variant(self, name: str) -> Drug:
        """The drug with another published choice, named `<drug>_<variant>`.

        Raises:
            UnknownKeyError: no such variant.
        """
        if name not in self.variants:
            what = f"`{name}` is not a variant of `{self.name}`"
            raise UnknownKeyError(what, rule=nearest_hint(name, self.variants))
        chosen = self.variants[name]
        new = {p.name: p for p in chosen.parameters}
        replaced = {*(r.on for r in chosen.relations), *chosen.drops_relations_on}
        return Drug.model_validate(
            dict(self)
            | {
                "name": f"{self.name}_{name}",
                "synonyms": (),
                "description": chosen.description,
                "parameters": tuple(new.get(p.name, p) for p in self.parameters),
                "relations": (*(r for r in self.relations if r.on not in replaced), *chosen.relations),
                "variants": {},
                "variant_of": self.name,
            }
        )
