"""A fit as the files that NONMEM writes, so that pharmpy, PsN, xpose and their like can read it.

| file | what it holds |
|---|---|
| `.ext` | start and end of the search; rows -1000000000 estimates, -1000000001 standard errors, -1000000002 eigenvalues, -1000000003 condition number and extreme eigenvalues, -1000000004 standard deviations and correlations, -1000000005 their standard errors, -1000000006 1 where fixed, -1000000007 outcome |
| `.cov` `.cor` | covariance of the estimates; correlations with the standard errors on the diagonal |
| `.phi` | modes of the random effects, their variances and each subject's objective |
| `.shk` | shrinkage, in the numbered rows of NONMEM |
| `sdtab` `patab` | records and subjects |

A residual parameter that is the variance of an error term (`coefficients: variance`) is a SIGMA, numbered in the order
of the parameters. Standard deviations, exponents and correlations stand among the THETAs, as in `Y = F + W*EPS(1)`;
where no variance is a parameter, SIGMA(1,1) is fixed at 1. All random effects of all occasions are ETAs, as with SAME blocks. Something fixed has the standard error 1E+10.

Rows: NONMEM on-line help, `rawout`; types of `.shk` as listed by NMdata (`NMreadShk`).
"""  # noqa: E501

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from ipex_pd.errors import OutputError, UsageError
from ipex_pd.inference.diagnostics.summary import Diagnostics
from ipex_pd.inference.results import Fit

Numbers = NDArray[np.float64]

NAMES = {
    "fo": "First Order",
    "foce": "First Order Conditional Estimation",
    "focei": "First Order Conditional Estimation with Interaction",
    "laplace": "Laplacian Conditional Estimation",
    "saem": "Stochastic Approximation Expectation-Maximization",
    "imp": "Objective Function Evaluation by Importance Sampling",
}
_FIXED = 1e10
_FINAL = -1000000000


@dataclass(frozen=True, eq=False)
class _Table:
    """Every THETA, SIGMA and OMEGA in NONMEM's order, with what is known of it.

    Attributes:
        names: [K].
        start, value, error: [K] start values, estimates and standard errors.
        scaled, scaled_error: [K] standard deviations and correlations of random effects, and their errors.
        fixed: [K].
        covariance: [K, K], 0 where fixed.
        source: [K] place among the natural values of the fit, -1 for zeros and SIGMA.
    """

    names: tuple[str, ...]
    start: Numbers
    value: Numbers
    error: Numbers
    scaled: Numbers
    scaled_error: Numbers
    fixed: NDArray[np.bool_]
    covariance: Numbers
    source: NDArray[np.int64]


def write_nonmem(diagnostics: Diagnostics, folder: str | Path, run: str = "1") -> tuple[Path, ...]:
    """Write `run<run>.ext`, `.phi`, `.shk`, `sdtab<run>`, `patab<run>` and, with standard errors, `.cov` and `.cor`.

    Args:
        diagnostics: what `diagnose` returned.
        folder: made where it does not exist; files of the same names are replaced.
        run: its number or name.

    Returns:
        The paths of the files.

    Raises:
        UsageError: a run name that makes no file name.
        OutputError: a file cannot be written.
    """
    if not run or not all(c.isalnum() or c in "_-." for c in run):
        raise UsageError(f"`{run}` makes no file name", rule="A run has letters, digits, `_`, `-` and `.`")
    fit = diagnostics.fit
    table = _table(fit)
    texts = {
        f"run{run}.ext": ext_text(fit, table),
        f"run{run}.phi": phi_text(fit),
        f"run{run}.shk": shk_text(fit),
        f"sdtab{run}": table_text(_numeric(diagnostics.table)),
        f"patab{run}": table_text(_numeric(diagnostics.individuals)),
    }
    if fit.covariance.done:
        texts[f"run{run}.cov"] = matrix_text(fit, table.names, table.covariance)
        texts[f"run{run}.cor"] = matrix_text(fit, table.names, _correlations(table))
    target = Path(folder)
    written = []
    try:
        target.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (target / name).write_text(text, encoding="ascii")
            written.append(target / name)
    except OSError as error:
        raise OutputError(f"the files cannot be written ({error.strerror or error})", where=str(target)) from error
    return tuple(written)


def _table(fit: Fit) -> _Table:
    population = fit.population
    thetas, size = len(population.thetas), population.layout.etas
    theta, omega = population.unpack(fit.w)
    theta0, omega0 = population.unpack(population.start)
    places = {name: k for k, name in enumerate(population.nonmem_names)}
    repeats = _first_repeats(fit)
    sigmas = [k for k in range(thetas) if population.thetas[k].sigma]
    plain = [k for k in range(thetas) if not population.thetas[k].sigma]
    names, source = [f"THETA{n + 1}" for n in range(len(plain))], list(plain)
    start, value = [theta0[k] for k in plain], [theta[k] for k in plain]
    for i in range(max(len(sigmas), 1)):
        for j in range(i + 1):
            names.append(f"SIGMA({i + 1},{j + 1})")
            estimated = bool(sigmas) and i == j
            source.append(sigmas[i] if estimated else -1)
            start.append(theta0[sigmas[i]] if estimated else float(not sigmas))
            value.append(theta[sigmas[i]] if estimated else float(not sigmas))
    for i in range(size):
        for j in range(i + 1):
            names.append(f"OMEGA({i + 1},{j + 1})")
            first = (repeats[i], repeats[j]) if i - j == repeats[i] - repeats[j] else (i, j)
            source.append(places.get(f"OMEGA({first[0] + 1},{first[1] + 1})", -1) if omega0[i, j] or i == j else -1)
            start.append(omega0[i, j])
            value.append(omega[i, j])
    where = np.array(source, np.int64)
    free = np.append(population.free, False)
    fixed = ~free[where]
    wide = np.zeros((len(free), len(free)))
    if fit.covariance.done:
        wide[np.ix_(free, free)] = fit.covariance.matrix
    covariance = wide[np.ix_(where, where)]
    error = np.where(fixed, _FIXED, np.sqrt(np.maximum(np.diag(covariance), 0.0)))
    scaled, scaled_error = _scaled(names, np.array(value, float), covariance, fixed)
    return _Table(
        tuple(names),
        np.array(start, float),
        np.array(value, float),
        error,
        scaled,
        scaled_error,
        fixed,
        covariance,
        where,
    )


def _first_repeats(fit: Fit) -> list[int]:
    """For each random effect the place of the same effect on the first occasion."""
    found: list[int] = []
    corner = 0
    for block in fit.population.blocks:
        size = len(block.names)
        for _ in range(max(block.occasions, 1)):
            found += range(corner, corner + size)
        corner += size * max(block.occasions, 1)
    return found


def _scaled(
    names: Sequence[str], value: Numbers, covariance: Numbers, fixed: NDArray[np.bool_]
) -> tuple[Numbers, Numbers]:
    """Standard deviations and correlations of OMEGA and SIGMA with their standard errors; 0 for THETAs."""
    place = {name: k for k, name in enumerate(names)}
    scaled, error = np.zeros(len(names)), np.zeros(len(names))
    for name, k in place.items():
        if name.startswith("THETA"):
            continue
        i, j = name[6:-1].split(",")
        first, second = place[f"{name[:5]}({i},{i})"], place[f"{name[:5]}({j},{j})"]
        size = math.sqrt(value[k]) if first == second else math.sqrt(value[first] * value[second])
        gradient = np.zeros(len(names))
        if first == second:
            scaled[k] = size
            gradient[k] = 0.5 / size if size > 0 else 0.0
        elif size > 0:
            scaled[k] = value[k] / size
            gradient[[k, first, second]] = 1.0 / size, -0.5 * scaled[k] / value[first], -0.5 * scaled[k] / value[second]
        error[k] = _FIXED if fixed[k] else math.sqrt(max(float(gradient @ covariance @ gradient), 0.0))
    return scaled, error


def _correlations(table: _Table) -> Numbers:
    sd = np.sqrt(np.maximum(np.diag(table.covariance), 0.0))
    safe = np.where(sd > 0, sd, 1.0)
    found = table.covariance / np.outer(safe, safe)
    np.fill_diagonal(found, sd)
    return np.asarray(found)


def _title(fit: Fit, goal: str = "") -> str:
    name = NAMES.get(fit.method, fit.method.upper())
    tail = "Problem=1 Subproblem=0 Superproblem1=0 Iteration1=0 Superproblem2=0 Iteration2=0"
    return f"TABLE NO.     1: {name}: {goal}{tail}"


def ext_text(fit: Fit, table: _Table) -> str:
    """The `.ext` file."""
    count = len(table.names)
    nothing = np.zeros(count)

    def padded(values: Sequence[float] | Numbers) -> Numbers:
        return np.concatenate([values, np.zeros(max(count - len(values), 0))])[:count]

    steps = max(fit.found.iterations, 1)
    rows: list[tuple[int, Numbers, float]] = [
        (0, table.start, fit.found.start),
        (steps, table.value, fit.value),
        (_FINAL, table.value, fit.value),
    ]
    covariance = fit.covariance
    if covariance.done:
        eigenvalues = covariance.eigenvalues
        extremes = [covariance.condition_number, float(eigenvalues[0]), float(eigenvalues[-1])]
        rows += [
            (_FINAL - 1, table.error, 0.0),
            (_FINAL - 2, padded(eigenvalues), 0.0),
            (_FINAL - 3, padded(extremes), 0.0),
        ]
    rows.append((_FINAL - 4, table.scaled, 0.0))
    if covariance.done:
        rows.append((_FINAL - 5, table.scaled_error, 0.0))
    rows.append((_FINAL - 6, table.fixed.astype(float), 0.0))
    rows.append((_FINAL - 7, nothing if fit.found.converged else padded([1.0]), 0.0))
    head = " ITERATION    " + "".join(f"{name:<13}" for name in table.names) + "OBJ"
    lines = [_title(fit, "Goal Function=MINIMUM VALUE OF OBJECTIVE FUNCTION: "), head]
    lines += [f"{number:13d}" + _cells(values) + f"  {value:.15f}" for number, values, value in rows]
    return "\n".join(lines) + "\n"


def matrix_text(fit: Fit, names: Sequence[str], matrix: Numbers) -> str:
    """The `.cov` or `.cor` file."""
    lines = [_title(fit), " NAME         " + "".join(f"{name:<13}" for name in names).rstrip()]
    lines += [f" {name:<12}" + _cells(row) for name, row in zip(names, matrix, strict=True)]
    return "\n".join(lines) + "\n"


def phi_text(fit: Fit) -> str:
    """The `.phi` file."""
    size = fit.population.layout.etas
    pairs = [(i, j) for i in range(size) for j in range(i + 1)]
    columns = ["SUBJECT_NO", "ID", *(f"ETA({i + 1})" for i in range(size))]
    columns += [f"ETC({i + 1},{j + 1})" for i, j in pairs] + ["OBJ"]
    lines = [_title(fit), " " + "".join(f"{name:<13}" for name in columns).rstrip()]
    ids = _identifiers(fit.labels.subjects)
    for k, (one, value) in enumerate(zip(ids, fit.found.at.values, strict=True)):
        spread = fit.who.covariance[k]
        cells = [*fit.who.eta[k], *(spread[i, j] for i, j in pairs)]
        lines.append(f"{k + 1:13d}{_cells([one])}{_cells(cells)}  {value:.15f}")
    return "\n".join(lines) + "\n"


def shk_text(fit: Fit) -> str:
    """The `.shk` file."""
    omega = np.sqrt(np.diagonal(fit.population.unpack(fit.w)[1]))
    rows: dict[int, list[float]] = {kind: [] for kind in (1, 2, 3, 4, 6, 7, 8, 9)}
    for k, sd in enumerate(omega):
        own = fit.who.present[:, k]
        eta, variance = fit.who.eta[own, k], fit.who.covariance[own, k, k]
        count = len(eta)
        mean = float(eta.mean()) if count else 0.0
        error = float(eta.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
        told = float(eta.std(ddof=1)) / sd if count > 1 and sd > 0 else 0.0
        left = min(max(1.0 - float(variance.mean()) / sd**2, 0.0), 1.0) if count and sd > 0 else 0.0
        rows[1].append(mean)
        rows[2].append(error)
        rows[3].append(float(2.0 * stats.norm.sf(abs(mean) / error)) if error > 0 else 1.0)
        rows[4].append(100.0 * (1.0 - told))
        rows[6].append(100.0 * (1.0 - math.sqrt(left)))
        rows[7].append(count)
        rows[8].append(100.0 * (1.0 - told**2))
        rows[9].append(100.0 * (1.0 - left))
    residuals = fit.shrinkage[fit.shrinkage["name"].eq("eps")]
    eps = residuals.iloc[0] if len(residuals) else {"sd_percent": 0.0, "vr_percent": 0.0}
    rows[5] = _filled(float(eps["sd_percent"]), len(omega))
    rows[10] = _filled(float(eps["vr_percent"]), len(omega))
    names = [f"ETA({k + 1})" for k in range(len(omega))]
    lines = [_title(fit), " TYPE          SUBPOP       " + "".join(f"{name:<13}" for name in names).rstrip()]
    lines += [f"{kind:13d}{1:13d}{_cells(rows[kind])}" for kind in sorted(rows)]
    return "\n".join(lines) + "\n"


def _filled(value: float, count: int) -> list[float]:
    return [value, *([0.0] * (count - 1))][:count]


def table_text(table: pd.DataFrame) -> str:
    """A NONMEM table; what is missing becomes 0, as NONMEM writes it."""
    lines = ["TABLE NO.  1", " " + "".join(f"{name:<12}" for name in table.columns).rstrip()]
    values = np.nan_to_num(table.to_numpy(float), nan=0.0, posinf=0.0, neginf=0.0)
    lines += ["".join(f" {value:11.4E}" for value in row) for row in values]
    return "\n".join(lines) + "\n"


def _numeric(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers only, names as NONMEM allows them (20 letters) and each name once."""
    found: dict[str, NDArray[np.float64]] = {}
    for name in table.columns:
        if name == "ID":
            values = np.array(_identifiers(table["ID"]))
        elif name == "ENDPOINT":
            values = 1.0 + pd.factorize(table[name])[0]
        else:
            values = table[name].to_numpy(float)
        short = "".join(c if c.isalnum() else "_" for c in str(name)).strip("_").upper()[:11]
        while short in found:
            short = f"{short[:9]}{len(found)}"
        found[short] = values
    return pd.DataFrame(found)


def _identifiers(ids: Sequence[object] | pd.Series) -> list[float]:
    """Identifiers as numbers; their order of appearance where some are not."""
    texts = [str(one) for one in ids]
    try:
        return [float(one) for one in texts]
    except ValueError:
        return [1.0 + k for k in pd.factorize(np.array(texts, dtype=object))[0]]


def _cells(values: Sequence[float] | Numbers) -> str:
    return "".join(f" {value:12.5E}" for value in values)
