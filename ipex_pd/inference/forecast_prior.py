"""What is known of a child before his data: parameters that vary between children, or the result of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.inference.disease import DiseaseParts
from ipex_pd.inference.disease_predictor import word
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.records.cohort_problems import SHIPPED
from ipex_pd.records.cohorts import CohortData
from ipex_pd.records.formulas import Formula, parse_formula
from ipex_pd.records.parameters import Parameter
from ipex_pd.simulation import individuals
from ipex_pd.simulation.draws import Array
from ipex_pd.simulation.individuals import as_population
from ipex_pd.simulation.study import disease

if TYPE_CHECKING:
    from ipex_pd.inference.results import Fit


@dataclass(frozen=True, eq=False)
class ForecastPrior:
    """Individual values as formulas of random effects z, standard normal before the data.

    Attributes:
        etas: names of the random effects.
        thetas: population values, name -> value.
        individual: name -> formula over etas, thetas, `shipped_<parameter>`, in order.
        factor: [q, q] lower factor of the covariance: eta = factor z.
        shipped: value of the child without random effects, in the units of the equations, by parameter.
        ratio: value in the units of the equations over that in the parameter's own unit.
        known: values that formulas may use besides, name -> number.
        places: parameter -> its own random effect.
        others_vary: whether parameters without a formula vary as in virtual children.
    """

    etas: tuple[str, ...]
    thetas: Mapping[str, float]
    individual: tuple[tuple[str, Formula], ...]
    factor: Array
    shipped: Mapping[str, float]
    ratio: Mapping[str, float]
    known: Mapping[str, float]
    places: Mapping[str, int]
    others_vary: bool

    @property
    def parameters(self) -> tuple[str, ...]:
        """Parameters of the equations that differ between children."""
        return tuple(self.shipped)

    def place(self, parameter: str) -> int:
        """The random effect that tells most of a parameter: its first."""
        return self.places[parameter]

    def values(self, z: Array) -> dict[str, Array]:
        """Individual values in the units of the equations, name -> [n], at random effects [n, q] in prior SD."""
        eta = z @ self.factor.T
        env: dict[str, Any] = {**self.thetas, **self.known}
        env |= {name: eta[:, k] for k, name in enumerate(self.etas)}
        for name, formula in self.individual:
            env[name] = np.broadcast_to(np.asarray(compile_formula(formula)(env)), eta.shape[:1])
        return {name: np.asarray(env[word(name)]) for name in self.parameters}


def prior_of_parameters(cohort: CohortData, *, drugs: Sequence[str] | None = None) -> ForecastPrior:
    """The shipped variability between children.

    Parameters of the disease vary, and those of drugs whose level was measured (`drugs` names others); bounds hold the
    values. Drugs without a level keep the spread between children in the draws.

    Args:
        cohort: one child.
        drugs: names of drugs whose kinetics are estimated; None: those whose level was measured.
    """
    one = as_population(cohort.patients[0])
    given = individuals.shelves(cohort.regimens[0], None)
    values = individuals.theta(one, disease().model, given)
    wanted = [name.removesuffix("_level") for name in cohort.measurements if name.endswith("_level")]
    named: dict[str, Parameter] = {p.name: p for p in given.disease.parameters if p.variability is not None}
    function = given.classes[f"{cohort.patients[0].foxp3.value}__residual_function"]
    if function.variability is not None:
        named["residual_function"] = function
    for drug in given.drugs.values():
        if drug.name in (wanted if drugs is None else drugs):
            own = drug.parameter_set().parameters
            named |= {f"{drug.name}.{p.name}": p for p in own if p.variability is not None and p.name != "lag"}
    shipped = {name: float(values[name][0]) for name in named}
    ratio = {name: _ratio(shipped[name], p, name == "residual_function") for name, p in named.items()}
    etas = tuple(f"eta_{word(name)}" for name in named)
    formulas = [
        (word(name), parse_formula(_text(name, parameter, eta, ratio[name])))
        for (name, parameter), eta in zip(named.items(), etas, strict=True)
    ]
    return ForecastPrior(
        etas=etas,
        thetas={},
        individual=tuple(formulas),
        factor=np.eye(len(etas)),
        shipped=shipped,
        ratio=ratio,
        known={f"{SHIPPED}{word(name)}": float(value[0]) for name, value in values.items()},
        places={name: k for k, name in enumerate(named)},
        others_vary=True,
    )


def _ratio(shipped: float, parameter: Parameter, same_unit: bool) -> float:
    return 1.0 if same_unit or parameter.value == 0 else shipped / parameter.value


def _text(name: str, parameter: Parameter, eta: str, ratio: float) -> str:
    """The individual value in the units of the equations, held inside the bounds."""
    assert parameter.variability is not None
    kind, typical = parameter.variability.distribution, f"{SHIPPED}{word(name)}"
    spread = parameter.variability.eta_sd(parameter.value)
    low, high = (end * ratio for end in parameter.limits)
    if kind == "logit":
        return f"{low!r} + {high - low!r} * expit(logit(({typical} - {low!r}) / {high - low!r}) + {spread!r} * {eta})"
    text = f"{typical} * exp({spread!r} * {eta})" if kind == "lognormal" else f"{typical} + {spread * ratio!r} * {eta}"
    text = f"min({text}, {high!r})" if np.isfinite(high) else text
    return f"max({text}, {low!r})" if np.isfinite(low) else text


def prior_of_fit(fit: Fit, cohort: CohortData) -> ForecastPrior:
    """The population of a fitted problem of the disease: its estimates are taken as true.

    Args:
        fit: of a `DiseaseParts`.
        cohort: the child to forecast.

    Raises:
        SimulationError: a fit of something else.
    """
    parts = fit.bound
    if not isinstance(parts, DiseaseParts):
        raise SimulationError("the fit is not of the disease", where="prior", rule="Its problem says `model: ipex`")
    values = individuals.theta(
        as_population(cohort.patients[0]), disease().model, individuals.shelves(cohort.regimens[0], None)
    )
    plain = {word(name): name for name in values}
    individual = tuple((name, value.formula()) for name, value in parts.problem.individual.items())
    etas = tuple(parts.problem.random_effects.names)
    own = [(plain[name], formula) for name, formula in individual if name in plain]
    told = [(name, [k for k, eta in enumerate(etas) if eta in formula.names]) for name, formula in own]
    places = {name: found[0] for name, found in told if found}
    given = individuals.shelves(cohort.regimens[0], None)
    shipped = {name: float(values[name][0]) for name in places}
    ratio = {name: _own_ratio(name, shipped[name], given) for name in places}
    values_of = fit.parameter_values
    return ForecastPrior(
        etas=etas,
        thetas={name: values_of[name] for name in parts.problem.parameters},
        individual=individual,
        factor=np.linalg.cholesky(np.asarray(fit.population.omega(fit.w))),
        shipped=shipped,
        ratio=ratio,
        known={"age": cohort.patients[0].age, **{f"{SHIPPED}{word(n)}": float(v[0]) for n, v in values.items()}},
        places=places,
        others_vary=False,
    )


def _own_ratio(name: str, shipped: float, given: individuals.Shelves) -> float:
    if name in given.disease and name not in individuals.CLASS_PARAMETERS:
        return _ratio(shipped, given.disease[name], same_unit=False)
    return 1.0
