"""The dataset simulated again from estimates: the same design, new random effects and new residuals.

Every draw has an address: (seed, replicate, random effect of a subject) or (seed, replicate, record). More replicates,
or other batches of them, change nothing of those that were there.

With standard normal e, a record is h(y) = m + sqrt(r) e; where its residual is correlated (c) with that of another
record of the sample, e = c e' + sqrt(1 - c^2) e''. Where the likelihood is conditional on y > floor (M4), e is
drawn above it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ipex_pd.errors import SimulationError, UsageError
from ipex_pd.inference.binding import BoundProblem, predict
from ipex_pd.inference.diagnostics.records import Records
from ipex_pd.inference.diagnostics.scales import own_scale
from ipex_pd.inference.group import Group
from ipex_pd.inference.sampling import widened
from ipex_pd.simulation.draws import normals

Numbers = NDArray[np.float64]
Array = Any

_ROWS = 512
_COARSE = 1e-3


@dataclass(frozen=True, eq=False)
class Replicates:
    """R simulated datasets.

    Attributes:
        records: what was simulated.
        fitted: [R, M] simulated records on the fitted (transformed) scale; NaN for event endpoints.
        values: [R, M] the same on the data's own scale, before censoring.
        seed: of all draws.
        mesh_error: largest relative difference of amounts to a finer mesh at the first replicate; 0 for linear models.
    """

    records: Records
    fitted: Numbers
    seed: int
    mesh_error: float
    values: Numbers = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", own_scale(self.records, self.fitted))

    def __len__(self) -> int:
        return len(self.fitted)

    @property
    def cens(self) -> NDArray[np.int64]:
        """[R, M] 1 below the limit of the record, -1 above its upper limit, 0 in between."""
        below, above = self.values < self.records.lower, self.values > self.records.upper
        return np.where(below, 1, np.where(above, -1, 0)).astype(np.int64)

    @property
    def reported(self) -> Numbers:
        """[R, M] as a laboratory would report them: the limit in place of what lies beyond it."""
        return np.clip(self.values, self.records.lower, self.records.upper)


def simulated_effects(bound: BoundProblem, w: Numbers, replicate: int, seed: int) -> list[Numbers]:
    """New random effects [B, q] for every group, of one replicate.

    Args:
        bound: the problem with its data.
        w: [n] search vector.
        replicate: its number, from 0.
        seed: of the draws.
    """
    factor = np.asarray(bound.population.layout.factor(jnp.asarray(w)))
    size = bound.etas
    found = []
    everyone = normals(seed, f"replicate/{replicate}/eta", np.arange(len(bound.subjects) * size))
    for group in bound.groups:
        own = everyone.reshape(len(bound.subjects), size)[np.maximum(np.asarray(group.subjects), 0)]
        drawn = own @ factor.T
        found.append(np.where(np.asarray(group.eta_mask), drawn, 0.0))
    return found


def replicate(records: Records, w: Numbers, count: int = 300, *, seed: int = 20240) -> Replicates:
    """Simulate the dataset again and again.

    Args:
        records: what to simulate (`records_of`).
        w: [n] search vector of the population values.
        count: number of replicates R.
        seed: of all draws.

    Raises:
        UsageError: fewer than one replicate.
        SimulationError: a simulated record is not finite, or has no positive variance.
    """
    if count < 1:
        raise UsageError(f"{count} replicates", rule="At least one is simulated")
    vector = np.asarray(w, float)
    bound, error = _meshed(records.bound, vector, seed)
    theta = np.asarray(bound.population.layout.theta(jnp.asarray(vector)))
    effects = [simulated_effects(bound, vector, r, seed) for r in range(count)]
    said = [_predicted(g, theta, np.stack([e[k] for e in effects])) for k, g in enumerate(bound.groups)]
    mean, variance, correlation = (records.flat([part[name] for part in said]) for name in range(3))
    _require_finite(records, mean, variance)
    noise = np.stack([normals(seed, f"replicate/{r}/residual", np.arange(len(records))) for r in range(count)])
    fitted = _drawn(records, mean, np.sqrt(variance), correlation, noise)
    return Replicates(records, np.where(records.event, np.nan, fitted), seed, error)


def _meshed(bound: BoundProblem, w: Numbers, seed: int) -> tuple[BoundProblem, float]:
    """The problem with a mesh that is good enough for simulated subjects, and its audited error."""
    theta, _ = bound.population.unpack(w)
    effects = simulated_effects(bound, w, 0, seed)
    chosen = bound.refined(theta)
    error = _audited(chosen, theta, effects)
    if error > _COARSE:
        chosen = bound.refined(theta, effects, 0.01 * bound.tolerance)
        error = _audited(chosen, theta, effects)
    return chosen, error


def _audited(bound: BoundProblem, theta: Numbers, effects: list[Numbers]) -> float:
    return max(float(np.max(np.asarray(part), initial=0.0)) for part in bound.audit(theta, effects))


def _predicted(group: Group, theta: Numbers, effects: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Mean, variance and correlation [R, B, N] at random effects [R, B, q], a few replicates at a time."""
    rows, records = group.shape
    total = len(effects)
    copies = min(total, max(1, _ROWS // rows))
    wide = widened(group, copies) if copies > 1 else group
    given = jnp.broadcast_to(jnp.asarray(theta), (copies * rows, len(theta)))
    parts: list[list[Numbers]] = [[], [], []]
    for start in range(0, total, copies):
        some = effects[start : start + copies]
        filled = np.concatenate([some, np.zeros((copies - len(some), *some.shape[1:]))])
        said = predict(wide, given, jnp.asarray(filled.reshape(copies * rows, -1)))
        for part, values in zip(parts, (said.mean, said.variance, said.correlation), strict=True):
            part.append(np.asarray(values).reshape(copies, rows, records)[: len(some)])
    mean, variance, correlation = (np.concatenate(part) for part in parts)
    return mean, variance, correlation


def _require_finite(records: Records, mean: Numbers, variance: Numbers) -> None:
    bad = (~np.isfinite(mean) | ~(variance >= 0) | ~np.isfinite(variance)) & records.continuous
    for number, place in np.argwhere(bad)[:1]:
        raise SimulationError(
            f"replicate {number} has the prediction {mean[number, place]:g} and variance {variance[number, place]:g}",
            code="diagnostics.replicate",
            where=f"subject {records.ids[place]}, row {records.line[place]}, time {records.time[place]:g}",
            rule="A simulated record is finite",
            cure="Look at the estimates: a large variance of random effects takes the model where it has no answer",
        )


def _drawn(records: Records, mean: Numbers, sd: Numbers, correlation: Numbers, noise: Numbers) -> Numbers:
    """[R, M] records with residuals, endpoint by endpoint: a partner stands in an earlier one."""
    partner = _partners(records)
    error = np.array(noise)
    floor = records.flat([group.floor for group in records.bound.groups])
    for number in range(len(records.bound.endpoint_names)):
        own = np.flatnonzero((records.endpoint == number) & records.continuous)
        share = np.where(partner[own] >= 0, correlation[:, own], 0.0)
        middle, rest = share * error[:, np.maximum(partner[own], 0)], np.sqrt(1.0 - share**2)
        raw = error[:, own]
        closed = np.isfinite(floor[own])
        if closed.any():
            least = (np.where(closed, floor[own], 0.0) - mean[:, own]) / sd[:, own]
            raw = np.where(closed, _above((least - middle) / rest, raw), raw)
        error[:, own] = middle + rest * raw
    return mean + sd * error


def _above(least: Numbers, noise: Numbers) -> Numbers:
    """Standard normal numbers above `least` that have the place in their distribution of `noise` in its own."""
    return -np.asarray(ndtri(ndtr(-noise) * ndtr(-least)))


def _partners(records: Records) -> NDArray[np.int64]:
    """[M] the record with which a record's residual is correlated; -1 without one."""
    spots = {
        (int(g), int(i), int(j)): k
        for k, (g, i, j) in enumerate(zip(records.group, records.row, records.column, strict=True))
    }
    found = np.full(len(records), -1)
    for k, (g, i, j) in enumerate(zip(records.group, records.row, records.column, strict=True)):
        partner = int(np.asarray(records.bound.groups[g].partner)[i, j])
        if partner >= 0:
            found[k] = spots[int(g), int(i), partner]
    return found
