"""What a planner believes of one child's kinetics: members weighed by measured troughs, renewed when few are left.

Weights follow Bayes' rule on the whole history. When the effective number of members falls below a share of them, they
are drawn again by weight and moved: x' = x + h sd e on the logarithms x of the kinetic values, and weighed by

```
w = p(x') L(x') / (p(x) L(x)),      p the normal law of the members' logarithms before any measurement
```

with L the likelihood of the whole history. With x from the posterior and a symmetric step this is exact importance
sampling: E[w f(x')] = integral of f p L / integral of p L. The step is never smaller than a part of the spread before
any measurement, so that a child outside of what was expected is still found.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ipex_pd.planning.evidence import Floats, effective, log_likelihood, reweighted
from ipex_pd.planning.trains import Train
from ipex_pd.records.measurements import Measurement
from ipex_pd.simulation.draws import normals, uniforms

_FREE = (
    "clearance",
    "volume_central",
    "intercompartmental_clearance_1",
    "volume_peripheral_1",
    "intercompartmental_clearance_2",
    "volume_peripheral_2",
    "absorption_rate",
)


@dataclass(frozen=True)
class Renewal:
    """When members are drawn again, and how far they move. All numbers are assumed; results do not hang on them.

    Attributes:
        below: effective share of the members under which they are drawn again.
        step: h, of the spread that is left.
        floor: least step, as a part of the spread before any measurement.
        rounds: at most so often after one sample.
    """

    below: float = 0.2
    step: float = 0.4
    floor: float = 0.15
    rounds: int = 3


@dataclass(frozen=True, eq=False)
class History:
    """What was given and measured so far.

    Attributes:
        multiples: [N] multiples of the doses given; what is not given yet counts for nothing.
        samples: numbers of the dose before which each sample was drawn.
        measured, cens, limit: of each sample, in the unit of the assay.
    """

    multiples: Floats
    samples: tuple[int, ...] = ()
    measured: tuple[float, ...] = ()
    cens: tuple[int, ...] = ()
    limit: tuple[float, ...] = ()

    def with_sample(self, dose: int, measured: float, cens: int, limit: float) -> History:
        """The history with one more sample."""
        return replace(
            self,
            samples=(*self.samples, dose),
            measured=(*self.measured, measured),
            cens=(*self.cens, cens),
            limit=(*self.limit, limit),
        )


@dataclass(frozen=True, eq=False)
class Prior:
    """Normal law of the logarithms of the kinetic values that differ between members.

    Attributes:
        names: of the values.
        mean, sd: [P].
        precision: [P, P].
    """

    names: tuple[str, ...]
    mean: Floats
    sd: Floats
    precision: Floats

    def log_density(self, logs: Floats) -> Floats:
        """[M] of [P, M], without its constant."""
        gap = logs - self.mean[:, None]
        return np.asarray(-0.5 * np.einsum("im,ij,jm->m", gap, self.precision, gap))


@dataclass(frozen=True, eq=False)
class Belief:
    """Members of one child's planner with their weights.

    Attributes:
        train: the order in the members.
        weights: [M] with sum 1.
        state: [S, M] amounts before dose `place`.
        place: number of that dose.
        prior: of the kinetic values.
        log_likelihood: [M] of the history so far.
        effective: effective number of members after each sample, before any were drawn again.
        renewed: how often members were drawn again.
    """

    train: Train
    weights: Floats
    state: Floats
    place: int
    prior: Prior
    log_likelihood: Floats
    effective: tuple[float, ...] = ()
    renewed: int = 0

    @property
    def live(self) -> float:
        """Effective number of members now."""
        return effective(self.weights)

    def logs(self) -> Floats:
        """[P, M] logarithms of the kinetic values at the first visit."""
        return _logs(self.train, self.prior.names)

    def after(self, history: History, assay: Measurement, renewal: Renewal, seed: int) -> Belief:
        """What is believed after the last sample of a history, at its dose.

        Raises:
            SimulationError: a sample that no member can give.
        """
        end = history.samples[-1]
        state, troughs = self.train.run(self.state, self.place, end, history.multiples[self.place : end, None])
        now = _log_of(history, len(history.samples) - 1, assay, troughs[-1])
        found = reweighted(self.weights, now)
        here = replace(
            self,
            weights=found.weights,
            state=state,
            place=end,
            log_likelihood=self.log_likelihood + now,
            effective=(*self.effective, found.effective),
        )
        for _ in range(renewal.rounds if self.prior.names else 0):
            if here.live >= renewal.below * here.train.members:
                break
            here = here._renewed(history, assay, renewal, seed)
        return here

    def _renewed(self, history: History, assay: Measurement, renewal: Renewal, seed: int) -> Belief:
        rows = systematic(self.weights, seed, self.renewed)
        old = self.logs()
        new = old[:, rows] + self._steps(old, renewal, seed)
        ratios = {name: np.exp(new[i] - old[i, rows]) for i, name in enumerate(self.prior.names)}
        train = self.train.pick(rows).moved(ratios)
        state, logs = replay(train, history, assay)
        change = self.prior.log_density(new) + logs - (self.prior.log_density(old) + self.log_likelihood)[rows]
        weights = reweighted(np.full(train.members, 1.0 / train.members), change).weights
        return replace(self, train=train, weights=weights, state=state, log_likelihood=logs, renewed=self.renewed + 1)

    def _steps(self, logs: Floats, renewal: Renewal, seed: int) -> Floats:
        """[P, M]."""
        mean = logs @ self.weights
        left = np.sqrt(np.maximum((logs - mean[:, None]) ** 2 @ self.weights, 0.0))
        size = np.maximum(renewal.step * left, renewal.floor * self.prior.sd)
        index = np.arange(self.train.members)
        noise = [normals(seed, f"belief/{name}/{self.renewed}", index) for name in self.prior.names]
        return np.asarray(size[:, None] * np.stack(noise))


def believe(train: Train, weights: Floats) -> Belief:
    """What is believed before any measurement, of members with weights of sum 1."""
    known = [name for name in _FREE if name in train.kinetics.values]
    logs = _logs(train, tuple(known))
    mean = logs @ weights
    sd = np.sqrt(np.maximum((logs - mean[:, None]) ** 2 @ weights, 0.0))
    free = sd > 1e-9
    some = logs[free] - mean[free, None]
    cov = (some * weights) @ some.T
    # a small part of the variances keeps members that lie on a line from making the law singular
    precision = np.asarray(np.linalg.inv(cov + 1e-6 * np.diag(np.diag(cov))), dtype=np.float64)
    names = tuple(name for name, moves in zip(known, free, strict=True) if moves)
    prior = Prior(names, mean[free], sd[free], precision)
    return Belief(train, weights, train.begin(), 0, prior, np.zeros(train.members))


def replay(train: Train, history: History, assay: Measurement) -> tuple[Floats, Floats]:
    """Amounts [S, M] at the last sample, and the log likelihood [M] of all."""
    state, logs, place = train.begin(), np.zeros(train.members), 0
    for number, end in enumerate(history.samples):
        state, troughs = train.run(state, place, end, history.multiples[place:end, None])
        logs, place = logs + _log_of(history, number, assay, troughs[-1]), end
    return state, logs


def systematic(weights: Floats, seed: int, round_: int) -> np.ndarray:
    """As many members, drawn by weight with one uniform number for all."""
    count = len(weights)
    start = uniforms(seed, f"belief/rows/{round_}", np.zeros(1, dtype=np.int64))[0]
    places = (np.arange(count) + start) / count
    return np.asarray(np.minimum(np.searchsorted(np.cumsum(weights), places), count - 1))


def _logs(train: Train, names: tuple[str, ...]) -> Floats:
    if not names:
        return np.zeros((0, train.members))
    return np.asarray(np.log(np.stack([train.kinetics.values[name][0] for name in names])))


def _log_of(history: History, number: int, assay: Measurement, troughs: Floats) -> Floats:
    true = np.maximum(troughs, 1e-12)
    return log_likelihood(assay, history.measured[number], true, history.cens[number], history.limit[number])
