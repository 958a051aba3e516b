"""Ways of dosing one drug, child by child: as ordered, by the trough target, planned anew at each sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ipex_pd.planning.belief import Belief, History, Renewal
from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.trains import Aim, Train
from ipex_pd.records.measurements import Measurement
from ipex_pd.simulation import measurement_draws as law
from ipex_pd.simulation.draws import normals


@dataclass(frozen=True, eq=False)
class Levels:
    """What candidate doses would do until the next sample.

    Attributes:
        days: [T] of the troughs, at the ends of the dosing intervals [day].
        troughs: [G, T, M] of each candidate dose in each member.
        dose: [G] the candidates [mg].
        low, high, target: of the trough, in its unit.
    """

    days: Floats
    troughs: Floats
    dose: Floats
    low: float
    high: float
    target: float


Objective = Callable[[Levels], Floats]
"""What a dose is chosen for: `Levels` -> [G, M], larger is better."""


def time_in_window(levels: Levels) -> Floats:
    """Share of the time with the trough in the window, [G, M]."""
    inside = (levels.troughs >= levels.low) & (levels.troughs <= levels.high)
    return np.asarray(inside.mean(axis=1))


def near_target(levels: Levels) -> Floats:
    """Minus the mean squared logarithm of trough over target, [G, M]: an objective without edges."""
    gap = np.log(np.maximum(levels.troughs, 1e-6 * levels.target) / levels.target)
    return np.asarray(-(gap**2).mean(axis=1))


@dataclass(frozen=True, eq=False)
class Clinic:
    """Where children are treated: their true train, the assay with its errors, and doses that can be given.

    Attributes:
        train: the true children.
        assay: of the level.
        step: smallest difference between doses [mg].
        seed: of the errors, which are the same for every arm.
    """

    train: Train
    assay: Measurement
    step: float
    seed: int

    def measured(self, sample: int, true: Floats) -> tuple[Floats, np.ndarray, Floats]:
        """Values, CENS and LIMIT of a sample of all children."""
        noise = normals(self.seed, f"adaptive/{self.assay.name}/{sample}", np.arange(self.train.members))
        return law.censored(self.assay, law.measured(self.assay, true, noise))

    def prescribable(self, dose: int, multiple: Floats) -> Floats:
        """The nearest multiples that are whole steps of mg at a dose, at least one step."""
        given = self.train.given[dose]
        return np.asarray(np.maximum(np.round(given * multiple / self.step), 1.0) * self.step / given)

    def fixed(self) -> tuple[Floats, Floats]:
        """Multiples and troughs [N, C] of the doses as ordered, rounded once."""
        multiples = np.broadcast_to(self.prescribable(0, np.ones(self.train.members)), self.train.given.shape)
        return multiples.copy(), self.train.run(self.train.begin(), 0, self.train.doses, multiples)[1]

    def by_target(self) -> tuple[Floats, Floats]:
        """Multiples and troughs [N, C] of doses that follow measured troughs by the regimen's rule."""
        aim: Aim = self.train.aim
        ends = [*aim.samples.tolist(), self.train.doses]
        multiple = self.prescribable(0, np.ones(self.train.members))
        state, start = self.train.begin(), 0
        multiples, troughs = np.empty(self.train.given.shape), np.empty(self.train.given.shape)
        for sample, end in enumerate(ends):
            multiples[start:end] = multiple
            state, troughs[start:end] = self.train.run(state, start, end, multiple)
            if end < self.train.doses:
                multiple = self.prescribable(end, aim.adjusted(multiple, self.measured(sample, troughs[end - 1])[0]))
            start = end
        return multiples, troughs


@dataclass(frozen=True, eq=False)
class Treated:
    """One child's course under a planner.

    Attributes:
        multiples, troughs: [N].
        effective: [J] effective number of the planner's members after each sample.
        renewed: how often members were drawn again.
    """

    multiples: Floats
    troughs: Floats
    effective: Floats
    renewed: int


def planned(
    clinic: Clinic,
    child: int,
    belief: Belief,
    objective: Objective,
    *,
    learns: bool,
    early: bool,
    renewal: Renewal,
    seed: int,
) -> Treated:
    """Treat one child by planning anew at each sample.

    Args:
        clinic: with the child at position `child`.
        child: who.
        belief: of the planner before any level.
        objective: what a dose is chosen for.
        learns: whether levels are used (a planner who knows the child needs none).
        early: whether the first dose is planned too, before any level; else it is as ordered.
        renewal: when members are drawn again.
        seed: of that.
    """
    own = clinic.train.pick(np.array([child]))
    aim, count = own.aim, own.doses
    ends = [*aim.samples.tolist(), count]
    history = History(np.zeros(count))
    troughs, state, start = np.empty(count), own.begin(), 0
    multiple = float(clinic.prescribable(0, np.ones(clinic.train.members))[child])
    if early:
        multiple = _best(clinic, child, belief, objective, 0, ends[0], None)
    for sample, end in enumerate(ends):
        history.multiples[start:end] = multiple
        state, found = own.run(state, start, end, np.array([multiple]))
        troughs[start:end] = found[:, 0]
        if end < count:
            belief = _informed(clinic, child, belief, history, sample, end, troughs[end - 1], learns, renewal, seed)
            if learns:
                history = _noted(clinic, child, history, sample, end, troughs[end - 1])
            multiple = _best(clinic, child, belief, objective, end, ends[sample + 1], multiple)
        start = end
    return Treated(history.multiples, troughs, np.array(belief.effective), belief.renewed)


def _noted(clinic: Clinic, child: int, history: History, sample: int, dose: int, true: float) -> History:
    value, cens, limit = clinic.measured(sample, np.full(clinic.train.members, true))
    return history.with_sample(dose, float(value[child]), int(cens[child]), float(limit[child]))


def _informed(
    clinic: Clinic,
    child: int,
    belief: Belief,
    history: History,
    sample: int,
    dose: int,
    true: float,
    learns: bool,
    renewal: Renewal,
    seed: int,
) -> Belief:
    if not learns:
        state, _ = belief.train.run(belief.state, belief.place, dose, history.multiples[belief.place : dose, None])
        return replace(belief, state=state, place=dose)
    return belief.after(_noted(clinic, child, history, sample, dose, true), clinic.assay, renewal, seed + child)


def _best(
    clinic: Clinic, child: int, belief: Belief, objective: Objective, first: int, last: int, now: float | None
) -> float:
    """The multiple of largest expected objective from dose `first` to `last`, within the limits of the order."""
    aim, given = clinic.train.aim, float(clinic.train.given[first, child])
    low, high = aim.smallest, aim.largest
    if now is not None:
        low, high = max(low, now / aim.step), min(high, now * aim.step)
    least = max(np.ceil(low * given / clinic.step - 1e-9), 1.0)
    steps = np.arange(least, np.floor(high * given / clinic.step + 1e-9) + 1)
    if not steps.size:
        return float(clinic.prescribable(first, np.full(clinic.train.members, now or 1.0))[child])
    doses = steps * clinic.step
    base, own = belief.train.response(belief.state, first, last)
    levels = Levels(
        days=_ends(clinic.train, first, last),
        troughs=base[None] + (doses / given)[:, None, None] * own[None],
        dose=doses,
        low=aim.low,
        high=aim.high,
        target=aim.target,
    )
    worth = objective(levels) @ belief.weights
    # where doses are worth the same, as when none reaches the window, the one that comes nearest to the target
    best = np.where(worth >= worth.max() - 1e-9, near_target(levels) @ belief.weights, -np.inf)
    return float(doses[int(np.argmax(best))] / given)


def _ends(train: Train, first: int, last: int) -> Floats:
    gap = float(train.times[1] - train.times[0])
    return np.asarray(train.times[first:last] + gap)
