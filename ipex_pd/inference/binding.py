"""Where a problem meets its data: subjects in a few padded groups, with one predictor for all of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from ipex_pd.errors import IpexError, RecordError, SimulationError
from ipex_pd.inference.dosing import dose_values, prepared
from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.individual import IndividualModel, eta_places
from ipex_pd.inference.layout import endpoint_rows, lay_out, partners
from ipex_pd.inference.population import InverseWishart, OmegaBlock, Population, Prior, Theta
from ipex_pd.inference.predictor import Events, Inputs, Measured, ProblemPredictor, Rows
from ipex_pd.inference.residuals import Spread
from ipex_pd.numerics.eventtable import audit_rows, refine
from ipex_pd.numerics.rowplan import plan_rows
from ipex_pd.numerics.structures import Structure, structure_of
from ipex_pd.records.dataset_fit import require_fit
from ipex_pd.records.datasets import Dataset, Subject, read_dataset
from ipex_pd.records.endpoints import AnyEndpoint, Event
from ipex_pd.records.library import resolve_model
from ipex_pd.records.models import StructuralModel
from ipex_pd.records.priors import LogNormal, Normal
from ipex_pd.records.problem_checks import require_sound
from ipex_pd.records.problems import EstimationProblem

Array = Any
Places = NDArray[np.int64]

_WASTE, _FEW_ROWS, _MOST_GROUPS = 1.6, 500, 3


@dataclass(frozen=True, eq=False)
class BoundProblem:
    """A problem and its data, ready for any method of estimation.

    Attributes:
        problem: as written.
        model: its resolved structural model.
        dataset: as read.
        subjects: the subjects with the rows that the event table sees (copied doses included).
        population: what is estimated.
        groups: every subject stands in one of them.
        places: for each group [B, N] the place of a record among the rows of its subject in `subjects`.
        endpoints: for each group [N] the number of the endpoint of a record.
        tolerance: of the mesh of nonlinear models.
    """

    problem: EstimationProblem
    model: StructuralModel
    dataset: Dataset
    subjects: tuple[Subject, ...]
    population: Population
    groups: tuple[Group, ...]
    places: tuple[Places, ...]
    endpoints: tuple[Places, ...]
    tolerance: float

    @property
    def endpoint_names(self) -> tuple[str, ...]:
        """Names of the endpoints, by number."""
        return tuple(self.problem.endpoints)

    @property
    def etas(self) -> int:
        """Number of random effects of one subject."""
        return self.population.layout.etas

    def individual_values(self, theta: Array, etas: Sequence[Array]) -> tuple[dict[str, Array], ...]:
        """Individual values (and everything else that formulas may use) at the rows of the subjects.

        Args:
            theta: [p].
            etas: [B, q] for each group.

        Returns:
            For each group name -> [B, R], or [B, 1] where a value is the same in all rows.
        """
        return tuple(
            _predictor(group).values(group.inputs, _rows(theta, group), jnp.asarray(eta))
            for group, eta in zip(self.groups, etas, strict=True)
        )

    def refined(
        self, theta: Array, etas: Sequence[Array] | None = None, tolerance: float | None = None
    ) -> BoundProblem:
        """The problem with the mesh of a nonlinear model decided at other values; itself without such a mesh.

        Args:
            theta: [p].
            etas: [B, q] for each group; 0 when left out.
            tolerance: of the mesh; that of the problem when left out.

        Raises:
            SimulationError: values without meaning, or a model that cannot be advanced.
        """
        chosen = self.tolerance if tolerance is None else tolerance
        given = etas if etas is not None else [np.zeros((g.shape[0], self.etas)) for g in self.groups]
        groups = tuple(self._refined(g, theta, eta, chosen) for g, eta in zip(self.groups, given, strict=True))
        return replace(self, groups=groups, tolerance=chosen)

    def _refined(self, group: Group, theta: Array, eta: Array, tolerance: float) -> Group:
        try:
            return _refined(group, theta, eta, tolerance)
        except SimulationError as error:
            ids = [self.subjects[int(i)].id for i in np.asarray(group.subjects)]
            where = re.sub(r"subject (\d+) of the plan", lambda found: f"subject {ids[int(found[1])]}", error.where)
            raise type(error)(error.what, code=error.code, where=where, rule=error.rule, cure=error.cure) from error

    def audit(self, theta: Array, etas: Sequence[Array]) -> tuple[Array, ...]:
        """For each group [B] the relative difference of amounts to those on a finer mesh; 0 for linear models."""
        found = []
        for group, eta in zip(self.groups, etas, strict=True):
            predictor, inputs = _predictor(group), group.inputs
            if inputs.plan is None:
                found.append(np.zeros(group.shape[0]))
                continue
            values = predictor.values(inputs, _rows(theta, group), jnp.asarray(eta))
            found.append(audit_rows(inputs.plan, predictor.row_values(inputs, values)))
        return tuple(found)


def bind(
    problem: EstimationProblem, dataset: Dataset | None = None, *, check: bool = True, tolerance: float = 1e-8
) -> BoundProblem:
    """Bring a problem together with its data.

    Args:
        problem: what to estimate.
        dataset: its data, when they are in memory already; read from the problem's file otherwise.
        check: whether to predict every record at the starting values and refuse those without a likelihood.
        tolerance: local error of the mesh of a nonlinear model, relative to its amounts.

    Raises:
        RecordError: a problem that contradicts itself, its model or its data; every such row is named.
        SimulationError: an event that cannot be honoured, or a model that cannot be advanced.
    """
    model = resolve_model(problem.model)
    require_sound(problem, model)
    data = read_dataset(problem.data, problem.folder or ".") if dataset is None else dataset
    require_fit(problem, model, data)
    subjects = prepared(problem, model, data.subjects)
    population = population_of(problem, _most_occasions(problem, subjects))
    names, dose_formulas = dose_values(problem)
    structure = structure_of(model) if model.compartments else None
    predictor = ProblemPredictor(
        individual=IndividualModel(
            tuple(problem.parameters),
            eta_places(population.blocks),
            tuple((name, value.formula()) for name, value in problem.individual.items()),
        ),
        doses=dose_formulas,
        compartments=model.compartments,
        outputs=tuple(model.flat_outputs().items()),
        endpoints=tuple(_endpoint(e) for e in problem.endpoints.values()),
        correlations=_correlations(problem),
    )
    binder = _Binder(problem, model, subjects, population, predictor, structure, names)
    parts = [binder.group(places) for places in _partition(subjects)]
    groups, places, endpoints = zip(*parts, strict=True)
    bound = BoundProblem(problem, model, data, subjects, population, groups, places, endpoints, tolerance)
    start = np.array([t.start for t in population.thetas])
    bound = bound.refined(start)
    if check:
        require_start(bound, start)
    return bound


def population_of(problem: EstimationProblem, occasions: int = 1) -> Population:
    """What a problem estimates, with its random effects of occasions drawn `occasions` times."""
    roles, variances = problem.roles, _variances(problem)
    thetas = tuple(
        Theta(
            name=name,
            start=p.start,
            lower=p.limits[0],
            upper=p.limits[1],
            fixed=p.fixed,
            scale=p.scale,
            prior=_prior(p.prior),
            unit=p.unit,
            meaning=p.meaning,
            role=roles[name],
            sigma=name in variances,
        )
        for name, p in problem.parameters.items()
    )
    blocks = tuple(
        OmegaBlock(
            names=part.names,
            start=tuple(tuple(float(v) for v in row) for row in part.start),
            fixed=part.fixed,
            occasions=occasions if part.level == "occasion" else 0,
            prior=_wishart(part.prior),
        )
        for part in problem.random_effects.parts()
    )
    return Population(thetas, blocks)


def _variances(problem: EstimationProblem) -> frozenset[str]:
    """Parameters that are nothing but the variance of a term of one residual error."""
    terms = [
        (formula.names, str(formula.text).strip(), getattr(endpoint.error, "coefficients", "sd") == "variance")
        for endpoint in problem.endpoints.values()
        if not isinstance(endpoint, Event)
        for term, formula in endpoint.error.formulas().items()
        if term in ("additive", "proportional")
    ]
    alone = {text for names, text, variance in terms if variance and names == {text}}
    return frozenset(name for name in alone & set(problem.parameters) if problem.roles[name] == "residual")


def _prior(prior: Normal | LogNormal | None) -> Prior | None:
    if isinstance(prior, LogNormal):
        return Prior("log_normal", float(np.log(prior.median)), prior.sd)
    return None if prior is None else Prior("normal", prior.mean, prior.sd)


def _wishart(prior: Any) -> InverseWishart | None:
    if prior is None:
        return None
    from ipex_pd.records.matrices import full_matrix

    return InverseWishart(prior.degrees, tuple(tuple(float(v) for v in row) for row in full_matrix(prior.scale)))


def _most_occasions(problem: EstimationProblem, subjects: Sequence[Subject]) -> int:
    """The largest number of occasions of any subject. Raises: RecordError without any to tell apart."""
    most = max(len(np.unique(subject.occ)) for subject in subjects)
    effects = [part.names[0] for part in problem.random_effects.parts() if part.level == "occasion"]
    if effects and most < 2:
        raise RecordError(
            f"`{effects[0]}` differs between occasions and no subject has two",
            code="problem.one-occasion",
            where="random_effects.between_occasion",
            rule="Occasions are told apart by the column OCC",
            cure="Name it under `data.columns.occ`, or take the random effect out",
        )
    return most


def _endpoint(endpoint: AnyEndpoint) -> Measured | Events:
    if isinstance(endpoint, Event):
        return Events(endpoint.hazard, endpoint.cumulative_hazard)
    return Measured(endpoint.prediction, endpoint.scale, Spread.of(endpoint.error, endpoint.scale))


def _correlations(problem: EstimationProblem) -> tuple[tuple[tuple[int, int], Any], ...]:
    names = list(problem.endpoints)
    found = []
    for correlation in problem.correlations:
        first, second = sorted(names.index(name) for name in correlation.endpoints)
        found.append(((first, second), correlation.value))
    return tuple(found)


def _partition(subjects: Sequence[Subject]) -> list[list[int]]:
    """Subjects by size in as few groups as keep the padding small; each in the order of the dataset."""
    sizes = np.array([len(s.time) + int(np.sum(s.addl)) for s in subjects])
    order = np.argsort(sizes, kind="stable")
    ranked = sizes[order]
    for count in range(1, _MOST_GROUPS + 1):
        cuts = _best_cuts(ranked, count)
        area = sum(int(ranked[b - 1]) * (b - a) for a, b in itertools.pairwise(cuts))
        if area <= max(_WASTE * int(ranked.sum()), _FEW_ROWS) or count == _MOST_GROUPS:
            break
    return [sorted(int(i) for i in order[a:b]) for a, b in itertools.pairwise(cuts)]


def _best_cuts(ranked: NDArray[np.int64], count: int) -> list[int]:
    """Places between which rising sizes make `count` groups of the least padded area (fewer when sizes repeat)."""
    ends = [int(i) + 1 for i in np.flatnonzero(np.diff(ranked))] + [len(ranked)]
    best: dict[int, tuple[int, list[int]]] = {0: (0, [0])}
    for _ in range(min(count, len(ends))):
        reached: dict[int, tuple[int, list[int]]] = {}
        for begin, (area, cuts) in best.items():
            for end in (e for e in ends if e > begin):
                total = area + int(ranked[end - 1]) * (end - begin)
                if end not in reached or total < reached[end][0]:
                    reached[end] = (total, [*cuts, end])
        best = {**best, **{k: v for k, v in reached.items() if k not in best or v[0] < best[k][0]}}
    return best[len(ranked)][1]


def _padded(count: int) -> int:
    """A length padded to a few sizes, so that other data of about this size reuse compiled programs."""
    step = 2 if count <= 16 else 4 if count <= 64 else 16
    return max(-(-count // step) * step, 1)


@dataclass(frozen=True)
class _Binder:
    """Makes groups."""

    problem: EstimationProblem
    model: StructuralModel
    subjects: tuple[Subject, ...]
    population: Population
    predictor: ProblemPredictor
    structure: Structure | None
    doses: dict[str, dict[str, str]]

    def group(self, members: Sequence[int]) -> tuple[Group, Places, Places]:
        """A group of some subjects, the places of its records, and the endpoint of each."""
        own = [self.subjects[i] for i in members]
        rows = [endpoint_rows(self.problem, self.model, subject) for subject in own]
        parts = []
        for number, (name, endpoint) in enumerate(self.problem.endpoints.items()):
            places = [found[number] for found in rows]
            width = _padded(max(len(p) for p in places))
            parts.append(lay_out(endpoint, name, own, places, width))
        partner, pairs = partners(self.problem, own, parts)
        joined = {
            field: np.concatenate([getattr(part, field) for part in parts], axis=1)
            for field in ("y", "mask", "cens", "limit", "floor", "jacobian", "direct", "place")
        }
        place = joined.pop("place")
        numbers = np.concatenate([np.full(part.mask.shape[1], i) for i, part in enumerate(parts)])
        occasion, eta_mask = self._occasions(own)
        inputs = Inputs(
            plan=self._plan(own),
            covariates=self._covariates(own),
            time=_stacked([s.time for s in own], self._length(own)),
            occasion=occasion,
            rows=tuple(Rows(p.place, p.mask, p.happened) for p in parts),
            partner=partner,
        )
        group = Group(
            subjects=np.array(members),
            partner=partner,
            eta_mask=eta_mask,
            inputs=inputs,
            predictor=self.predictor,
            correlated=bool(pairs) and bool((partner >= 0).any()),
            **joined,
        )
        return group, place, numbers

    def _length(self, own: Sequence[Subject]) -> int:
        return _padded(max(len(s.time) for s in own))

    def _plan(self, own: Sequence[Subject]) -> Any:
        if self.structure is None:
            return None
        return plan_rows(own, self.structure, self.doses, records=self._length(own))

    def _covariates(self, own: Sequence[Subject]) -> dict[str, Array]:
        length = self._length(own)
        return {name: _stacked([s.covariates[name] for s in own], length) for name in self.problem.data.covariates}

    def _occasions(self, own: Sequence[Subject]) -> tuple[Places, NDArray[np.bool_]]:
        """[B, R] number of the occasion of each row, and [B, q] which random effects the subject has."""
        numbers = [np.unique(s.occ, return_inverse=True)[1] for s in own]
        mask = np.ones((len(own), self.population.layout.etas), bool)
        corner = 0
        for block in self.population.blocks:
            size = len(block.names)
            for k in range(block.occasions):
                here = slice(corner + k * size, corner + (k + 1) * size)
                mask[:, here] = np.array([k <= n.max() for n in numbers])[:, None]
            corner += size * max(block.occasions, 1)
        return _stacked(numbers, self._length(own)).astype(np.int64), mask


def _stacked(rows: Sequence[Array], length: int) -> NDArray[Any]:
    """[B, length]; the last value of each row repeats."""
    return np.stack([np.concatenate([row, np.repeat(row[-1:], length - len(row))]) for row in rows])


def _predictor(group: Group) -> ProblemPredictor:
    assert isinstance(group.predictor, ProblemPredictor)
    return group.predictor


def _rows(theta: Array, group: Group) -> Array:
    values = jnp.asarray(theta, float)
    return jnp.broadcast_to(values, (group.shape[0], values.shape[-1]))


def _refined(group: Group, theta: Array, eta: Array, tolerance: float) -> Group:
    predictor, inputs = _predictor(group), group.inputs
    if inputs.plan is None or inputs.plan.structure.route != "mesh":
        return group
    values = predictor.values(inputs, _rows(theta, group), jnp.asarray(eta))
    plan = refine(inputs.plan, predictor.row_values(inputs, values), tolerance)
    return replace(group, inputs=replace(inputs, plan=plan))


@jax.jit  # type: ignore[untyped-decorator]
def predict(group: Group, theta: Array, eta: Array) -> Prediction:
    """Predictions of a group; compiled once for a shape."""
    return group.predict(theta, eta)


def require_start(bound: BoundProblem, theta: Array) -> None:
    """Refuse records that have no likelihood at theta [p] and random effects of 0.

    Raises:
        RecordError: the first such record, with its subject, row and endpoint.
    """
    for group, places, numbers in zip(bound.groups, bound.places, bound.endpoints, strict=True):
        found = predict(group, _rows(theta, group), jnp.zeros((group.shape[0], bound.etas)))
        mean, variance, own = (np.asarray(v) for v in (found.mean, found.variance, found.minus2ll))
        usual = np.isfinite(mean) & np.isfinite(variance) & (variance > 0)
        bad = np.asarray(group.mask) & ~np.where(group.direct, np.isfinite(own), usual)
        for i, j in np.argwhere(bad)[:1]:
            subject = bound.subjects[int(np.asarray(group.subjects)[i])]
            name = bound.endpoint_names[int(numbers[j])]
            raise _no_likelihood(subject, int(places[i, j]), name, float(mean[i, j]), float(variance[i, j]))


def _no_likelihood(subject: Subject, place: int, endpoint: str, mean: float, variance: float) -> IpexError:
    where = f"subject {subject.id}, row {subject.rows[place]}, time {subject.time[place]:g}"
    if np.isfinite(mean) and variance == 0:
        return RecordError(
            f"the residual variance of `{endpoint}` is 0 at the starting values",
            code="problem.zero-variance-record",
            where=where,
            rule="An error in proportion to a prediction of 0 gives its record no likelihood",
            cure="Write `zero_prediction: unit_weight`, add an additive error, or leave the row out",
        )
    return RecordError(
        f"`{endpoint}` has the prediction {mean:g} and variance {variance:g} at the starting values",
        code="problem.no-likelihood",
        where=where,
        rule="Every record has a finite prediction and a positive variance on the fitted scale",
        cure="Change the starting values, the error model or the transform, or leave the row out",
    )
