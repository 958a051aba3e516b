"""Whether the parts of an estimation problem fit each other and its model; every fault with its place and cure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ipex_pd.errors import IpexError, RecordError, UnknownKeyError, nearest_hint
from ipex_pd.records.endpoints import PREDICTION, Continuous, Event
from ipex_pd.records.formulas import Formula
from ipex_pd.records.individual import Individual
from ipex_pd.records.models import TIME, StructuralModel
from ipex_pd.records.problems import EstimationProblem
from ipex_pd.records.yamlfile import Document, Place, first


@dataclass(frozen=True)
class Fault:
    """A fault of a problem: where in the record it stands, and the error without a file."""

    place: Place
    error: IpexError

    def located(self, where: str) -> IpexError:
        """The error with its file and line."""
        e = self.error
        return type(e)(e.what, code=e.code, where=where, rule=e.rule, cure=e.cure)


def problem_faults(problem: EstimationProblem, model: StructuralModel) -> list[Fault]:
    """Everything in a problem that does not fit, given its resolved model."""
    return list(_Checker(problem, model).faults())


def located_faults(problem: EstimationProblem, model: StructuralModel, document: Document) -> list[IpexError]:
    """The same, as errors that name file and line."""
    return [fault.located(document.where(fault.place)) for fault in problem_faults(problem, model)]


def require_sound(problem: EstimationProblem, model: StructuralModel) -> None:
    """Refuse a problem with faults.

    Raises:
        RecordError: the first fault, with its place in the problem.
    """
    faults = located_faults(problem, model, Document(f"problem `{problem.name}`", problem.as_data(), {}))
    if faults:
        raise first(faults)


class _Checker:
    """The names of a problem and its model, and the rules between them."""

    def __init__(self, problem: EstimationProblem, model: StructuralModel) -> None:
        self.problem, self.model = problem, model
        self.covariates = set(problem.data.covariates)
        self.etas = set(problem.random_effects.names)
        self.base = {*problem.parameters, *self.etas, *self.covariates, TIME}
        self.values = {*self.base, *problem.individual}
        self.observed = {*self.values, *model.compartments, *model.outputs, *model.parameters, *model.inputs}

    def faults(self) -> Iterator[Fault]:
        yield from self._clashes()
        yield from self._individual()
        yield from self._filled()
        yield from self._doses()
        yield from self._endpoints()
        yield from self._correlations()
        yield from self._short_forms()
        yield from self._unused()

    def _clashes(self) -> Iterator[Fault]:
        problem, effects = self.problem, self.problem.random_effects.places
        declared: list[tuple[Place, str, str]] = [
            *((("parameters", n), n, "a parameter") for n in problem.parameters),
            *((("random_effects", *place), n, "a random effect") for n, place in effects.items()),
            *((("individual", n), n, "an individual value") for n in problem.individual),
            *((("data", "covariates", n), n, "a covariate") for n in problem.data.covariates),
        ]
        taken = dict.fromkeys(self.model.compartments, "a compartment of the model")
        taken |= dict.fromkeys(self.model.outputs, "an output of the model") | {
            TIME: "the time",
            PREDICTION: "the prediction in an error",
        }
        for place, name, kind in declared:
            if name in taken:
                what = f"`{name}` is {kind} and also {taken[name]}"
                yield Fault(place, RecordError(what, rule="A name means one thing", cure="Rename one of them"))
            taken.setdefault(name, kind)

    def _individual(self) -> Iterator[Fault]:
        known = set(self.base)
        for name, value in self.problem.individual.items():
            yield from self._names(value.formula(), known, ("individual", name), "an earlier individual value")
            known.add(name)

    def _names(self, formula: Formula, known: set[str], place: Place, last: str) -> Iterator[Fault]:
        for name in sorted(formula.names - known):
            hint = nearest_hint(name, known)
            if name in self.problem.individual and name not in known:
                hint = f"`{name}` is computed later: individual values are computed in the order of the file"
            yield Fault(
                place,
                UnknownKeyError(
                    f"`{name}` in `{formula.text}` is not a parameter, a random effect, a covariate or {last}",
                    code="formula.unknown-name",
                    rule=hint,
                    cure="Correct the spelling or declare it",
                ),
            )

    def _filled(self) -> Iterator[Fault]:
        for kind in ("parameters", "inputs"):
            for name in getattr(self.model, kind):
                if name not in self.values:
                    meaning = getattr(self.model, kind)[name].meaning
                    yield Fault(
                        ("individual",),
                        RecordError(
                            f"`{name}` ({meaning}) of the model `{self.model.name}` has no value",
                            rule="Every parameter and input of the model is an individual value, a population "
                            "parameter or a covariate of its name",
                            cure=f"Write `{name}:` under `individual`",
                            code="problem.no-value",
                        ),
                    )
                elif name in self.etas:
                    what = f"`{name}` of the model is a random effect"
                    yield Fault(("random_effects",), RecordError(what, rule="A name means one thing", cure="Rename it"))

    def _doses(self) -> Iterator[Fault]:
        for compartment, dosing in self.problem.doses.items():
            place: Place = ("doses", compartment)
            for name, at in ((compartment, place), (dosing.copies, (*place, "copies"))):
                if name is not None and name not in self.model.compartments:
                    rule = nearest_hint(name, self.model.compartments)
                    what = f"`{name}` is not a compartment of `{self.model.name}`"
                    yield Fault(at, UnknownKeyError(what, rule=rule, cure="Rename it", code="problem.compartment"))
            source = self.problem.doses.get(dosing.copies or "")
            if dosing.copies == compartment or (source is not None and source.copies is not None):
                what = f"the doses of `{compartment}` are copied in a circle or through another copy"
                yield Fault(place, RecordError(what, rule="A compartment copies one that gets its doses from the data"))
            for key, formula in dosing.formulas().items():
                yield from self._names(formula, self.values, (*place, key), "an individual value")

    def _endpoints(self) -> Iterator[Fault]:
        for name, endpoint in self.problem.endpoints.items():
            place: Place = ("endpoints", name)
            last = "an individual value, an output or a compartment"
            if isinstance(endpoint, Event):
                for key in ("hazard", "cumulative_hazard"):
                    yield from self._names(getattr(endpoint, key), self.observed, (*place, key), last)
                continue
            yield from self._names(endpoint.prediction, self.observed, (*place, "prediction"), last)
            for key, formula in endpoint.error.formulas().items():
                known = {*self.values, *self.model.parameters, *self.model.inputs}
                if key == "sd":
                    known |= {PREDICTION}
                yield from self._names(formula, known, (*place, "error", key), "an individual value")
        yield from self._selectors()

    def _selectors(self) -> Iterator[Fault]:
        endpoints = self.problem.endpoints
        keys = {name: (e.dvid, e.cmt) for name, e in endpoints.items()}
        for name, (dvid, cmt) in keys.items():
            place: Place = ("endpoints", name)
            if dvid is not None and cmt is not None:
                what = f"`{name}` is chosen by `dvid` and by `cmt`"
                yield Fault(place, RecordError(what, rule="One of them says which rows are of an endpoint"))
            if dvid is None and cmt is None and len(endpoints) > 1:
                what, rule = (
                    f"`{name}` does not say which rows are its own",
                    "Of several endpoints each has `dvid` or `cmt`",
                )
                yield Fault(place, RecordError(what, rule=rule, cure="Write `dvid: 1` and so on"))
        if {k[0] is None for k in keys.values()} == {True, False} and len(endpoints) > 1:
            what = "some endpoints are chosen by `dvid`, others by `cmt`"
            yield Fault(("endpoints",), RecordError(what, rule="All are chosen by the same column"))
        for key, count in Counter(keys.values()).items():
            if count > 1 and key != (None, None):
                what = "two endpoints are chosen by the same number"
                yield Fault(("endpoints",), RecordError(what, rule="A row is of one endpoint"))

    def _correlations(self) -> Iterator[Fault]:
        used: Counter[str] = Counter()
        for i, correlation in enumerate(self.problem.correlations):
            place: Place = ("correlations", i)
            yield from self._names(correlation.value, self.values, (*place, "value"), "an individual value")
            used.update(correlation.endpoints)
            for name in correlation.endpoints:
                endpoint = self.problem.endpoints.get(name)
                if endpoint is None:
                    hint = nearest_hint(name, self.problem.endpoints)
                    yield Fault((*place, "endpoints"), UnknownKeyError(f"`{name}` is not an endpoint", rule=hint))
                elif not isinstance(endpoint, Continuous) or endpoint.censoring in ("m3", "m4"):
                    what = f"`{name}` is an event or is censored by M3 or M4, and its error is correlated"
                    rule = "Correlated errors are of measured continuous endpoints"
                    yield Fault((*place, "endpoints"), RecordError(what, rule=rule, cure="Use M1, or no correlation"))
            yield from self._proper(correlation.value)
            if used[correlation.endpoints[0]] > 1 or used[correlation.endpoints[1]] > 1:
                what = "an endpoint stands in two correlations"
                yield Fault(place, RecordError(what, rule="Residual errors are correlated in pairs"))

    def _proper(self, value: Formula) -> Iterator[Fault]:
        """A correlation that is one population value is kept between -1 and 1 by its bounds."""
        parameter = self.problem.parameters.get(value.text)
        if parameter is None or (parameter.fixed and abs(parameter.start) < 1):
            return
        low, high = parameter.limits
        if low < -1 or high > 1:
            yield Fault(
                ("parameters", value.text),
                RecordError(
                    f"the correlation `{value.text}` may leave -1 to 1",
                    rule="A correlation lies between -1 and 1",
                    cure="Write `lower: -1, upper: 1`",
                    code="problem.correlation",
                ),
            )

    def _short_forms(self) -> Iterator[Fault]:
        effects, by_cv = self.problem.random_effects, set[str]()
        for name, effect in effects.singles.items():
            if effect.cv is not None:
                by_cv.add(name)
        for name, value in self.problem.individual.items():
            if not isinstance(value, Individual):
                continue
            for eta in value.random:
                if eta not in self.etas and eta in self.base:
                    what = f"`{eta}` is not a random effect"
                    hint = nearest_hint(eta, self.etas)
                    yield Fault(("individual", name, "random"), UnknownKeyError(what, rule=hint, cure="Rename it"))
                if eta in by_cv and value.distribution != "log_normal":
                    what = f"the spread of `{eta}` is a `cv` and `{name}` is {value.distribution}"
                    rule = "A coefficient of variation is that of a log-normal value"
                    cure = "Write `sd` or `variance`"
                    yield Fault(("random_effects", *effects.places[eta]), RecordError(what, rule=rule, cure=cure))

    def _used(self) -> set[str]:
        problem = self.problem
        formulas: list[Formula] = [value.formula() for value in problem.individual.values()]
        formulas += [f for dosing in problem.doses.values() for f in dosing.formulas().values()]
        for endpoint in problem.endpoints.values():
            if isinstance(endpoint, Event):
                formulas += [endpoint.hazard, endpoint.cumulative_hazard]
            else:
                formulas += [endpoint.prediction, *endpoint.error.formulas().values()]
        formulas += [correlation.value for correlation in problem.correlations]
        return set[str]().union(*(f.names for f in formulas), self.model.parameters, self.model.inputs)

    def _unused(self) -> Iterator[Fault]:
        used, effects = self._used(), self.problem.random_effects.places
        groups: Iterable[tuple[str, Iterable[tuple[Place, str]]]] = (
            ("parameter", ((("parameters", n), n) for n in self.problem.parameters)),
            ("random effect", ((("random_effects", *place), n) for n, place in effects.items())),
            ("individual value", ((("individual", n), n) for n in self.problem.individual)),
        )
        for kind, members in groups:
            for place, name in members:
                if name not in used:
                    yield Fault(
                        place,
                        RecordError(
                            f"the {kind} `{name}` is never used",
                            rule="What is declared stands in a formula",
                            cure="Use it or take it out",
                            code="problem.unused",
                        ),
                    )
