"""The disease as an estimation problem: a cohort and a question about it as groups that every method can fit.

```python
problem = load_cohort_problem("synthetic_ipex")
parts = disease_groups(problem)
parts.population, parts.groups
```

All children march through one program from birth: untreated to day 0 of their regimens (healthy ones where the patient
file says `as_stated`), then under what they were given. What the problem does not estimate stays as shipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import SimulationError, UnknownKeyError, nearest_hint
from ipex_pd.inference.disease_endpoints import Endpoint, endpoint_of
from ipex_pd.inference.disease_predictor import DiseasePredictor, word
from ipex_pd.inference.disease_records import Records, records_of
from ipex_pd.inference.disease_schedule import Joined, join, system_of
from ipex_pd.inference.group import Group
from ipex_pd.inference.population import InverseWishart, OmegaBlock, Population, Prior, Role, Theta
from ipex_pd.numerics.march import plan_march
from ipex_pd.numerics.mesh import Grading
from ipex_pd.numerics.schedule import Schedule
from ipex_pd.records.cohort_problems import SHIPPED, CohortProblem
from ipex_pd.records.cohorts import CohortData, load_cohort
from ipex_pd.records.formulas import Formula
from ipex_pd.records.library import load_parameters
from ipex_pd.records.priors import LogNormal
from ipex_pd.simulation.individuals import CLASS_PARAMETERS

Array = Any

GRADING = Grading(first=1.0, growth=0.3, longest=2.0)
"""Sub-steps of a fit: at most two days long, over the doses inside. Against dose-aligned steps of a quarter day, 40
synthetic children over up to three years differ by at most 8e-4 in any measured quantity, half of them by 2e-4."""
FINER = Grading(first=0.2, growth=0.3, longest=0.5)
"""Sub-steps of the audit."""

_SMALL = 1e-3


@dataclass(frozen=True, eq=False)
class DiseaseParts:
    """What binding a problem of the disease gives.

    Attributes:
        problem, cohort: what was asked of whom.
        population: what is estimated.
        groups: all children.
        left_out: measurements of the table that the problem does not use, with their numbers of rows.
    """

    problem: CohortProblem
    cohort: CohortData
    population: Population
    groups: tuple[Group, ...]
    left_out: Mapping[str, int]

    @property
    def ids(self) -> tuple[str, ...]:
        """What the cohort calls its children."""
        return tuple(str(name) for name in self.cohort.ids)

    @property
    def records(self) -> tuple[dict[str, np.ndarray], ...]:
        """For each group, what its records [B, N] are: `TIME` [day] and `ENDPOINT`."""
        return tuple(_labels(group) for group in self.groups)


def disease_groups(
    problem: CohortProblem, cohort: CohortData | None = None, *, grading: Grading = GRADING
) -> DiseaseParts:
    """Bind a problem to its cohort.

    Args:
        problem: what is estimated, and how measurements are predicted.
        cohort: the children; those that the problem names when None.
        grading: sub-steps; `audit` tells what they cost in accuracy.

    Raises:
        RecordError: the cohort cannot be read.
        UnknownKeyError: a name in a formula, or an endpoint, that does not exist.
        SimulationError: something that the disease has no likelihood for, or a regimen that is no history.
    """
    children = cohort if cohort is not None else load_cohort(problem.cohort)
    endpoints = _endpoints(problem, children)
    thetas = tuple(problem.parameters)
    etas = tuple(problem.random_effects.names)
    individual = tuple((name, value.formula()) for name, value in problem.individual.items())
    group = disease_group(children, endpoints, thetas=thetas, etas=etas, individual=individual, grading=grading)
    used = {endpoint.name for endpoint in endpoints}
    counts = children.table["measurement"].value_counts()
    left_out = {str(name): int(n) for name, n in counts.items() if name not in used}
    return DiseaseParts(problem, children, population_of(problem), (group,), left_out)


def _endpoints(problem: CohortProblem, children: CohortData) -> tuple[Endpoint, ...]:
    for name in problem.endpoints:
        if name not in children.measurements:
            raise UnknownKeyError(
                f"`{name}` is not measured in `{children.name}`",
                where=f"problem `{problem.name}`: endpoints",
                rule=nearest_hint(name, children.measurements),
                cure="Rename it, or take it out",
            )
    return tuple(endpoint_of(name, asked, children.measurements[name]) for name, asked in problem.endpoints.items())


def disease_group(
    cohort: CohortData,
    endpoints: Sequence[Endpoint],
    *,
    thetas: Sequence[str],
    etas: Sequence[str],
    individual: Sequence[tuple[str, Formula]],
    grading: Grading = GRADING,
) -> Group:
    """One group of all children of a cohort.

    Args:
        cohort: who, and what was measured.
        endpoints: what is compared with the table.
        thetas, etas: names of the columns of theta and eta.
        individual: name -> formula, in order; parameters of the equations replace shipped values.
        grading: sub-steps.

    Raises:
        UnknownKeyError: a name in a formula that does not exist.
        SimulationError: a censored row that its endpoint refuses, or a regimen that is no history.
    """
    table = records_of(cohort, endpoints)
    joined = join(cohort.patients, cohort.regimens, table.until.tolist())
    _check_names(joined, endpoints, thetas, etas, individual)
    predictor, inputs = _bound(joined, table, endpoints, tuple(thetas), tuple(etas), tuple(individual), grading)
    return Group(
        subjects=np.arange(len(cohort)),
        y=table.y,
        mask=table.mask,
        cens=table.cens,
        limit=table.limit,
        floor=np.full(table.y.shape, -np.inf),
        jacobian=table.jacobian,
        direct=table.direct,
        partner=np.full(table.y.shape, -1),
        eta_mask=np.ones((len(cohort), len(etas)), bool),
        inputs=inputs,
        predictor=predictor,
    )


def _bound(
    joined: Joined,
    table: Records,
    endpoints: Sequence[Endpoint],
    thetas: tuple[str, ...],
    etas: tuple[str, ...],
    individual: tuple[tuple[str, Formula], ...],
    grading: Grading,
) -> tuple[DiseasePredictor, dict[str, Any]]:
    model, zero = joined.system.model, np.zeros_like(joined.age)
    healthy = load_parameters("foxp3_classes")
    classes = tuple((name, healthy[f"healthy__{name}"].value) for name in CLASS_PARAMETERS)
    born = np.asarray(model.initial(zero, joined.theta))
    shared: dict[str, Any] = {"theta": joined.theta, "grading": grading}
    birth, inputs = None, _inputs(joined, table)
    if joined.age.max() > 0:
        ages = np.maximum(np.minimum(table.days, 0.0) + joined.age[:, None], 0.0)
        ages = np.concatenate([ages, joined.age[:, None]], axis=1)
        before = plan_march(system_of(()), Schedule(), age=zero, x=born, days=ages.ravel(), **shared)
        birth = before.course
        inputs |= {"birth": before.slots, "birth_places": before.at(ages)}
    days = np.maximum(table.days, 0.0)
    after = plan_march(joined.system, joined.schedule, age=joined.age, x=born, days=days.ravel(), **shared)
    inputs |= {"slots": after.slots, "places": after.at(days)}
    predictor = DiseasePredictor(birth, after.course, thetas, etas, individual, classes, tuple(endpoints))
    return predictor, jax.tree.map(jnp.asarray, inputs)


def _inputs(joined: Joined, table: Records) -> dict[str, Any]:
    return {
        "shipped": joined.theta,
        "age": joined.age,
        "ill": joined.ill,
        "stated": joined.stated,
        "days": table.days,
        "visit": table.visit,
        "endpoint": table.endpoint,
        "y": table.y,
        "cens": table.cens,
    }


def _check_names(
    joined: Joined,
    endpoints: Sequence[Endpoint],
    thetas: Sequence[str],
    etas: Sequence[str],
    individual: Sequence[tuple[str, Formula]],
) -> None:
    model = joined.system.model
    quantities = {
        *model.states,
        *model.outputs,
        "weight",
        "height",
        "bsa",
        "time",
        *(d.name for d in joined.system.drugs),
    }
    shipped = {word(name) for name in joined.theta}
    known = {*thetas, *etas, "age", *(f"{SHIPPED}{name}" for name in shipped)}
    for name, formula in individual:
        _require_known(formula, known, f"individual value `{name}`")
        if name.endswith("_lag") and name in shipped:
            rule = "Sub-steps begin where a dose arrives, which must not move"
            raise SimulationError(f"`{name}` cannot be estimated from a cohort", where="individual", rule=rule)
        known.add(name)
    clash = quantities & {*thetas, *etas, *(name for name, _ in individual)}
    if clash:
        rule = "A name means one thing"
        raise SimulationError(
            f"`{min(clash)}` is a quantity of the model", where="individual", rule=rule, cure="Rename it"
        )
    if not any(name in shipped for name, _ in individual):
        raise UnknownKeyError(
            "no parameter of the equations is estimated",
            where="individual",
            rule=nearest_hint(individual[0][0] if individual else "", shipped),
        )
    for endpoint in endpoints:
        for used in endpoint.formulas():
            _require_known(used, {*known, *quantities}, f"endpoint `{endpoint.name}`")


def _require_known(formula: Formula, known: set[str], where: str) -> None:
    for name in sorted(formula.names - known):
        raise UnknownKeyError(
            f"`{name}` is not known here", where=where, rule=nearest_hint(name, known), cure="Rename it"
        )


def population_of(problem: CohortProblem) -> Population:
    """What a problem estimates, on its search scale."""
    errors = {
        n
        for e in problem.endpoints.values()
        if hasattr(e, "error")
        for f in e.error.formulas().values()
        for n in f.names
    }
    thetas = []
    for name, asked in problem.parameters.items():
        low, high = asked.limits
        prior = None
        if isinstance(asked.prior, LogNormal):
            prior = Prior("log_normal", float(np.log(asked.prior.median)), asked.prior.sd)
        elif asked.prior is not None:
            prior = Prior("normal", asked.prior.mean, asked.prior.sd)
        role: Role = "residual" if name in errors else "structural"
        thetas.append(
            Theta(name, asked.start, low, high, asked.fixed, asked.scale, prior, asked.unit, asked.meaning, role)
        )
    blocks = []
    for part in problem.random_effects.parts():
        known = part.prior
        wishart = None if known is None else InverseWishart(known.degrees, _square(known.scale))
        start = tuple(tuple(float(v) for v in row) for row in part.start)
        blocks.append(OmegaBlock(part.names, start, part.fixed, 0, wishart))
    return Population(tuple(thetas), tuple(blocks))


def _square(triangle: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    size = len(triangle)
    return tuple(tuple(float(triangle[max(i, j)][min(i, j)]) for j in range(size)) for i in range(size))


def audit(parts: DiseaseParts, theta: Array, eta: Array, *, grading: Grading = FINER) -> Array:
    """What the sub-steps cost: largest difference of a child's predictions to those on a finer mesh.

    Args:
        parts: of the problem.
        theta: [p] population values.
        eta: [children, q] random effects.
        grading: of the finer mesh.

    Returns:
        [children] largest |difference| over the size of the prediction; of logarithms the difference itself.
    """
    finer = disease_groups(parts.problem, parts.cohort, grading=grading)
    found = np.zeros(len(parts.cohort))
    for group, other in zip(parts.groups, finer.groups, strict=True):
        own = np.asarray(eta)[group.subjects]
        wide = jnp.broadcast_to(jnp.asarray(theta), (len(own), len(theta)))
        one, two = (np.asarray(g.predict(wide, jnp.asarray(own)).mean) for g in (group, other))
        size = np.where(_logarithmic(group), 1.0, np.maximum(np.abs(two), _SMALL))
        found[group.subjects] = np.where(group.mask, np.abs(one - two) / size, 0.0).max(axis=1)
    return found


def _labels(group: Group) -> dict[str, np.ndarray]:
    assert isinstance(group.predictor, DiseasePredictor)
    names = np.array([*(endpoint.name for endpoint in group.predictor.endpoints), ""], object)
    days, visit = np.asarray(group.inputs["days"]), np.asarray(group.inputs["visit"])
    return {"TIME": np.take_along_axis(days, visit, 1), "ENDPOINT": names[np.asarray(group.inputs["endpoint"])]}


def _logarithmic(group: Group) -> np.ndarray:
    """[B, N] whether a record is compared on a log or logit scale."""
    assert isinstance(group.predictor, DiseasePredictor)
    scales = np.array([endpoint.scale != "none" for endpoint in group.predictor.endpoints])
    return np.asarray(scales[np.maximum(np.asarray(group.inputs["endpoint"]), 0)])
