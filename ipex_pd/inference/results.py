"""What a fit found, as one frozen record with tables."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit
from scipy.stats import norm

from ipex_pd.inference.covariance import Covariance
from ipex_pd.inference.group import Group
from ipex_pd.inference.individuals import COLUMNS, Individuals
from ipex_pd.inference.meshing import MeshCheck
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.population import Population
from ipex_pd.inference.search import Found
from ipex_pd.inference.totals import Bound
from ipex_pd.inference.twostage import TwoStage
from ipex_pd.inference.verdict import Verdict
from ipex_pd.records.findings import Finding
from ipex_pd.records.plain import plain

SCHEMA = 1
_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Labels:
    """How the subjects and records of a problem are called.

    Attributes:
        subjects: [S] identifiers.
        records: for each group, column name -> [B, N] of the data (such as ID, TIME, row of the file).
        distributions: of individual values by random effect: `log_normal`, `normal`, ...; empty where not known.
    """

    subjects: tuple[Any, ...]
    records: tuple[dict[str, np.ndarray], ...]
    distributions: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class Fit:
    """A fit: estimates, their uncertainty, the subjects, and whether to believe it.

    Attributes:
        bound: the problem and its data.
        population: what was estimated (`map` and `pooled` fix what they do not estimate).
        method: how it was fitted.
        options: of the fit.
        found: where the search ended.
        covariance: of the estimates.
        who: what is known of every subject.
        labels: how subjects and records are called.
        verdict: whether to believe it.
        seconds: wall time.
        mesh: what is known of the mesh of a nonlinear model; None without one.
        stages: how every subject was fitted, and both estimates, of method `two_stage`.
    """

    bound: Bound
    population: Population
    method: str
    options: FitOptions
    found: Found
    covariance: Covariance
    who: Individuals
    labels: Labels
    verdict: Verdict
    seconds: float
    mesh: MeshCheck | None = None
    stages: TwoStage | None = None

    @property
    def value(self) -> float:
        """The objective: -2 log likelihood without n log 2 pi (and the priors' -2 log density)."""
        return self.found.at.value

    @property
    def mesh_error(self) -> float:
        """How much halving every sub-step moves -2 log likelihood at the modes; 0 for models without a mesh."""
        return 0.0 if self.mesh is None else self.mesh.error

    @property
    def failed(self) -> tuple[Any, ...]:
        """Identifiers of subjects that were set aside because they had no finite likelihood."""
        aside = self.found.aside
        return tuple(name for name, out in zip(self.labels.subjects, aside, strict=True) if out) if len(aside) else ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was warned of when the data were read, one sentence each."""
        found = getattr(getattr(self.bound, "dataset", None), "findings", ())
        return tuple(_finding(one) for one in found if one.severity == "warning")

    @property
    def w(self) -> np.ndarray:
        """[n] estimates on the search scale."""
        return self.found.w

    @property
    def estimates(self) -> np.ndarray:
        """[n] natural values in the order of `population.names`."""
        return np.asarray(self.population.layout.natural(self.w))

    @property
    def parameter_values(self) -> dict[str, float]:
        """Natural values by the user's names."""
        return dict(zip(self.population.names, self.estimates.tolist(), strict=True))

    @property
    def trace(self) -> tuple[float, ...]:
        """The objective along the search."""
        return self.found.trace

    @property
    def parameters(self) -> pd.DataFrame:
        """One row a parameter: estimate, SE, RSE [%], interval, SD and CV [%] of random effects, their shrinkage [%].

        RSE is SE/estimate; of a parameter on the log scale sqrt(exp(SE^2) - 1) with its SE there. Intervals are
        estimate +- z SE on the scale of the parameter (log for variances), transformed back. CV is
        sqrt(exp(omega^2) - 1), given where the individual value is log-normal or its distribution is not known.
        """
        population, shrinkage = self.population, self.eta_shrinkage
        se = self._expand(self.covariance.standard_errors)
        rows = []
        for i, name in enumerate(population.names):
            row: dict[str, Any] = {"parameter": name, "nonmem": population.nonmem_names[i]}
            if i < len(population.thetas):
                row |= self._theta_row(i, float(se[i]))
            else:
                row |= self._omega_row(i, float(se[i]), shrinkage)
            rows.append(row)
        return pd.DataFrame(rows)

    def _expand(self, values: np.ndarray) -> np.ndarray:
        whole = np.full(len(self.w), np.nan)
        whole[self.population.free] = values
        return whole

    def _theta_row(self, place: int, se: float) -> dict[str, Any]:
        theta, value = self.population.thetas[place], float(self.estimates[place])
        z = float(norm.ppf(0.5 + 0.5 * self.options.level))
        rse, low, high = _percent(se, value), value - z * se, value + z * se
        if theta.scale == "log":
            on_log = se / value
            rse = 100.0 * math.sqrt(math.expm1(on_log**2)) if on_log < 20 else math.inf
            low, high = value * math.exp(-z * on_log), value * math.exp(min(z * on_log, 700.0))
        elif theta.scale == "logit":
            width = theta.upper - theta.lower
            share = (value - theta.lower) / width
            on_logit = se / (width * share * (1.0 - share))
            low, high = (theta.lower + width * float(expit(logit(share) + s * z * on_logit)) for s in (-1, 1))
        return {
            "unit": theta.unit,
            "meaning": theta.meaning,
            "estimate": value,
            "se": se,
            "rse_percent": rse,
            "low": low,
            "high": high,
            "sd": math.nan,
            "cv_percent": math.nan,
            "shrinkage_percent": math.nan,
            "fixed": theta.fixed,
        }

    def _omega_row(self, place: int, se: float, shrinkage: dict[str, float]) -> dict[str, Any]:
        value, name = float(self.estimates[place]), self.population.names[place]
        z = float(norm.ppf(0.5 + 0.5 * self.options.level))
        variance = "," not in name
        eta = name.removeprefix("omega(").removesuffix(")")
        low, high = value - z * se, value + z * se
        if variance and value > 0:
            factor = math.exp(min(z * se / value, 700.0))
            low, high = value / factor, value * factor
        told = self.labels.distributions.get(eta, "log_normal") == "log_normal"
        return {
            "unit": "1",
            "meaning": f"variance of {eta}" if variance else f"covariance of {eta.replace(',', ' and ')}",
            "estimate": value,
            "se": se,
            "rse_percent": _percent(se, value),
            "low": low,
            "high": high,
            "sd": math.sqrt(value) if variance else math.nan,
            "cv_percent": 100.0 * math.sqrt(math.expm1(min(value, 700.0))) if variance and told else math.nan,
            "shrinkage_percent": self._shrinkage_of(eta, shrinkage) if variance else math.nan,
            "fixed": not bool(self.population.free[place]),
        }

    def _shrinkage_of(self, eta: str, shrinkage: dict[str, float]) -> float:
        own = [v for n, v in shrinkage.items() if n == eta or n.startswith(f"{eta}[")]
        return float(np.mean(own)) if own else math.nan

    @property
    def eta_shrinkage(self) -> dict[str, float]:
        """SD shrinkage [%] by random effect: 100 (1 - SD(eta)/omega), over the subjects that have it."""
        return {name: 100.0 * (1.0 - ratio) for name, ratio in self._eta_ratios().items()}

    @property
    def shrinkage(self) -> pd.DataFrame:
        """SD and variance shrinkage [%] of random effects (ETAshrinkSD, VR) and of residuals (EPSshrinkSD, VR)."""
        rows = [
            {"name": name, "sd_percent": 100.0 * (1.0 - r), "vr_percent": 100.0 * (1.0 - r * r)}
            for name, r in self._eta_ratios().items()
        ]
        residuals = np.concatenate([t["IWRES"][np.isfinite(t["IWRES"])] for t in self.who.tables])
        if len(residuals) > 1:
            sd = float(residuals.std(ddof=1))
            rows.append({"name": "eps", "sd_percent": 100.0 * (1.0 - sd), "vr_percent": 100.0 * (1.0 - sd * sd)})
        return pd.DataFrame(rows, columns=["name", "sd_percent", "vr_percent"])

    def _eta_ratios(self) -> dict[str, float]:
        return eta_ratios(self.population.eta_names, self.who, np.asarray(self.population.omega(self.w)))

    @property
    def etas(self) -> pd.DataFrame:
        """[S rows] identifier and modes of the random effects; NaN on occasions that a subject does not have."""
        eta = np.where(self.who.present, self.who.eta, np.nan)
        table = pd.DataFrame(eta, columns=list(self.population.eta_names))
        table.insert(0, "id", list(self.labels.subjects))
        return table

    @property
    def individuals(self) -> pd.DataFrame:
        """[S rows] identifier, objective, whether the mode was found, random effects and their standard errors."""
        errors = np.sqrt(np.maximum(np.diagonal(self.who.covariance, axis1=1, axis2=2), 0.0))
        table = self.etas
        table.insert(1, "objective", self.found.at.values)
        table.insert(2, "found", self.found.at.found)
        if self.stages is not None:
            table.insert(3, "way", list(self.stages.way))
        for i, name in enumerate(self.population.eta_names):
            table[f"se({name})"] = np.where(self.who.present[:, i], errors[:, i], np.nan)
        return table

    @property
    def sdtab(self) -> pd.DataFrame:
        """One row a record: identifier, columns of the data, DV on the fitted scale, PRED, IPRED and all residuals."""
        parts = [
            _records(group, table, labels, self.labels.subjects)
            for group, table, labels in zip(self.bound.groups, self.who.tables, self.labels.records, strict=True)
        ]
        table = pd.concat(parts).sort_values(["_subject", "_record"])
        return table.drop(columns=["_subject", "_record"]).reset_index(drop=True)

    def to_json(self) -> str:
        """The fit as JSON: everything but the data and the record table."""
        at, covariance = self.found.at, self.covariance
        whole = {
            "schema": SCHEMA,
            "method": self.method,
            "options": asdict(self.options),
            "objective": self.value,
            "outcome": self.found.outcome,
            "converged": self.found.converged,
            "verdict": {"level": self.verdict.level, "text": str(self.verdict)},
            "iterations": self.found.iterations,
            "evaluations": self.found.evaluations,
            "seconds": self.seconds,
            "restarts": list(self.found.restarts),
            "path_difference": self.found.path_difference,
            "warnings": list(self.warnings),
            "failed": [str(name) for name in self.failed],
            "stages": None if self.stages is None else self.stages.table(self.labels.subjects).to_dict("records"),
            "mesh": None if self.mesh is None else vars(self.mesh),
            "parameters": self.parameters.to_dict("records"),
            "search": self.w.tolist(),
            "gradient": at.gradient.tolist(),
            "covariance": {
                "kind": covariance.kind,
                "outcome": covariance.outcome,
                "names": list(covariance.names),
                "matrix": covariance.matrix.tolist(),
                "eigenvalues": covariance.eigenvalues.tolist(),
            },
            "shrinkage": self.shrinkage.to_dict("records"),
            "individuals": self.individuals.to_dict("records"),
            "eta_covariance": self.who.covariance.tolist(),
            "trace": list(self.trace),
        }
        return json.dumps(plain(whole), indent=1, allow_nan=False)

    def __str__(self) -> str:
        how = f"{self.found.outcome}; {self.found.evaluations} evaluations, {self.seconds:.1f} s"
        head = f"{self.method.upper()}  objective {self.value:.4f}  ({how})"
        interval = f"{100 * self.options.level:g} % interval"
        columns = f"{'estimate':>11s} {'SE':>10s} {'RSE %':>7s} {interval:>25s} {'CV %':>7s} {'shrink %':>9s}"
        lines = [f"{'parameter':24s} {columns}", *(_line(row) for row in self.parameters.to_dict("records"))]
        covariance = self.covariance
        if covariance.done:
            foot = f"covariance: {covariance.kind}, condition number {covariance.condition_number:.4g}"
        else:
            foot = f"covariance: {covariance.outcome}"
        notes = "CV % = sqrt(exp(omega^2) - 1); shrinkage = 1 - SD(eta)/omega; objective without n log(2 pi)"
        foot += "".join(f"\ndata: {text}" for text in self.warnings[:_SHOWN])
        if len(self.warnings) > _SHOWN:
            foot += f"\ndata: {len(self.warnings) - _SHOWN} more warnings in `warnings`"
        if self.mesh is not None:
            foot += f"\nmesh: error {self.mesh.error:.2g} in the objective, {self.mesh.amounts:.1g} of an amount's peak"
        return "\n".join([head, *lines, foot, notes, f"verdict: {self.verdict}"])


def eta_ratios(names: tuple[str, ...], who: Individuals, omega: np.ndarray) -> dict[str, float]:
    """SD(eta)/omega of every random effect with a variance, over the subjects that have it."""
    ratios = {}
    for i, name in enumerate(names):
        own = who.eta[who.present[:, i], i]
        if len(own) > 1 and omega[i, i] > 0:
            ratios[name] = float(own.std(ddof=1) / math.sqrt(omega[i, i]))
    return ratios


def _finding(one: Finding) -> str:
    """A warning in words: where, and what."""
    count = f" ({one.count} times)" if one.count > 1 else ""
    where = f"row {one.row}, subject {one.subject}" if one.row else f"{one.column} {one.value}"
    return f"{where}: {one.rule.rstrip('.')}{count}"


def _percent(se: float, value: float) -> float:
    return 100.0 * se / abs(value) if value else math.nan


def _line(row: Mapping[Hashable, Any]) -> str:
    def number(value: float, width: int, digits: int = 4) -> str:
        return f"{value:{width}.{digits}g}" if math.isfinite(value) else " " * width

    name, estimate = row["parameter"], number(row["estimate"], 11, 5)
    if row["fixed"]:
        return f"{name:24s} {estimate} {'FIX':>10s}"
    interval = f"{number(row['low'], 12)} {number(row['high'], 12)}" if math.isfinite(row["se"]) else " " * 25
    return (
        f"{name:24s} {estimate} {number(row['se'], 10)} {number(row['rse_percent'], 7, 3)} {interval} "
        f"{number(row['cv_percent'], 7, 3)} {number(row['shrinkage_percent'], 9, 3)}"
    ).rstrip()


def _records(
    group: Group, table: dict[str, np.ndarray], labels: dict[str, np.ndarray], subjects: tuple[Any, ...]
) -> pd.DataFrame:
    places = np.asarray(group.subjects)
    real = np.asarray(group.mask) & (places >= 0)[:, None]
    row, column = np.nonzero(real)
    found: dict[str, Any] = {"_subject": places[row], "_record": column, "ID": [subjects[int(p)] for p in places[row]]}
    found |= {name: values[real] for name, values in labels.items()}
    found["DV"] = np.asarray(group.y)[real]
    found["CENS"] = np.asarray(group.cens)[real]
    found |= {name: table[name][real] for name in COLUMNS}
    return pd.DataFrame(found)
