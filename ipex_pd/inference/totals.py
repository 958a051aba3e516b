"""The objective of a whole data set: the groups of a problem together, with the modes carried from call to call."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.inference.group import Group
from ipex_pd.inference.likelihood import check_likelihood
from ipex_pd.inference.objectives import Evaluated, Method, evaluate
from ipex_pd.inference.population import Population

Array = Any
Starts = tuple[np.ndarray, ...]


class Bound(Protocol):
    """What estimation needs of a problem that met its data."""

    @property
    def population(self) -> Population:
        """What is estimated."""

    @property
    def groups(self) -> tuple[Group, ...]:
        """Every subject stands in one of them."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The objective at one search vector; S subjects in the order of the data set.

    Attributes:
        value: -2 log likelihood without n log 2 pi, and -2 log density of the priors.
        gradient: [n] by the whole search vector.
        values, gradients: [S], [S, n] of each subject; NaN and 0 of those set aside.
        joint: [S] l at the mode.
        decrement: [S] what is left of the search for the mode, in posterior standard deviations.
        definite: [S] whether the exact curvature at the mode is positive definite.
        modes: for each group [B, q] modes in units of the prior.
    """

    value: float
    gradient: np.ndarray
    values: np.ndarray
    gradients: np.ndarray
    joint: np.ndarray
    decrement: np.ndarray
    definite: np.ndarray
    modes: Starts

    @property
    def found(self) -> np.ndarray:
        """[S] whether the mode of a subject was found."""
        found: np.ndarray = (self.decrement < 1e-6) & self.definite
        return found


class Objective:
    """The objective of a problem by one method.

    Args:
        population: what is estimated.
        groups: the subjects.
        method: how the likelihood is approximated.
        names: of the subjects as in the data; their numbers when left out.
    """

    def __init__(
        self, population: Population, groups: tuple[Group, ...], method: Method, names: Sequence[Any] = ()
    ) -> None:
        for group in groups:
            check_likelihood(group)
        self.population, self.method = population, method
        self.groups: tuple[Group, ...] = tuple(jax.tree.map(jnp.asarray, group) for group in groups)
        self.places = tuple(np.asarray(group.subjects) for group in groups)
        self.subjects = 1 + max(int(p.max(initial=-1)) for p in self.places)
        self.names = tuple(str(n) for n in names) or tuple(str(i + 1) for i in range(self.subjects))
        self.aside = np.zeros(self.subjects, bool)
        with_prior = any(t.prior for t in population.thetas) or any(b.prior for b in population.blocks)
        self.has_prior = with_prior
        self._penalty = jax.jit(jax.value_and_grad(population.penalty)) if with_prior else None

    @property
    def cold(self) -> Starts:
        """Modes to start from when nothing is known: zero."""
        return tuple(np.zeros(group.eta_mask.shape) for group in self.groups)

    def without(self, aside: np.ndarray) -> Objective:
        """The same objective without some subjects [S]: they keep their places, and count for nothing."""
        other = copy.copy(self)
        other.aside = self.aside | aside
        return other

    def who(self, places: Sequence[int] | np.ndarray, most: int = 6) -> str:
        """How the subjects at these places are called, in one phrase."""
        said = [self.names[int(i)] for i in places[:most]]
        more = len(places) - len(said)
        return (
            ("subject " if len(places) == 1 else "subjects ") + ", ".join(said) + (f" and {more} more" if more else "")
        )

    def at(self, w: np.ndarray, start: Starts | None = None) -> Evaluation:
        """The objective at a search vector [n], searching modes from `start` (zero when not given)."""
        layout = self.population.layout
        begin = self.cold if start is None else start
        vector = jnp.asarray(w, float)
        parts = [
            evaluate(group, vector, z, layout=layout, method=self.method)
            for group, z in zip(self.groups, begin, strict=True)
        ]
        return self._gathered(np.asarray(w, float), [Evaluated(*(np.asarray(v) for v in p)) for p in parts])

    def described(self, w: np.ndarray, modes: Starts) -> tuple[tuple[Group, ...], Starts]:
        """Groups that predict at these modes and where the random effects are zero, and the modes, at w [n]."""
        return self.groups, modes

    def nearby(self) -> Objective | None:
        """A cheap objective, close to this one where it was evaluated last; None where this one is cheap."""
        return None

    def roughly(self, on: bool) -> None:
        """Whether gradients may be less exact than usual, on the way to an end; here they never are."""

    def gather(self, parts: list[np.ndarray]) -> np.ndarray:
        """Arrays of the groups [B, ...] as one [S, ...] in the order of the data set."""
        whole = np.zeros((self.subjects, *parts[0].shape[1:]), parts[0].dtype)
        for place, part in zip(self.places, parts, strict=True):
            whole[place[place >= 0]] = part[place >= 0]
        return whole

    def _gathered(self, w: np.ndarray, parts: list[Evaluated]) -> Evaluation:
        values, gradients = self.gather([p.values for p in parts]), self.gather([p.gradients for p in parts])
        values[self.aside], gradients[self.aside] = np.nan, 0.0
        value, gradient = float(values[~self.aside].sum()), gradients.sum(0)
        if self._penalty is not None:
            extra, slope = self._penalty(jnp.asarray(w))
            value, gradient = value + float(extra), gradient + np.asarray(slope)
        return Evaluation(
            value=value,
            gradient=gradient,
            values=values,
            gradients=gradients,
            joint=self.gather([p.joint for p in parts]),
            decrement=self.gather([p.decrement for p in parts]),
            definite=self.gather([p.definite for p in parts]),
            modes=tuple(p.z for p in parts),
        )

    def lower(self, one: Evaluation, other: Evaluation) -> Starts:
        """For every subject the mode with the lower l of two evaluations at the same search vector."""
        return self.chosen(other.joint < one.joint - 1e-7, one, other)

    def chosen(self, better: np.ndarray, one: Evaluation, other: Evaluation) -> Starts:
        """Modes of the other evaluation for the subjects [S] that are better there."""
        return tuple(
            np.where((better[np.maximum(place, 0)] & (place >= 0))[:, None], b, a)
            for place, a, b in zip(self.places, one.modes, other.modes, strict=True)
        )

    def hessian(self, w: np.ndarray, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """[m, m] by the free entries of w: central differences of exact gradients, with modes searched from those here.

        Args:
            w: [n] search vector.
            at: the evaluation there.
            steps: [m] size of the differences.
            free: [m] places of the free entries.
        """
        rows = []
        for place, step in zip(free, steps, strict=True):
            ends = []
            for sign in (1.0, -1.0):
                there = np.array(w, float)
                there[place] += sign * step
                ends.append(self.at(there, at.modes).gradient[free])
            rows.append((ends[0] - ends[1]) / (2.0 * step))
        matrix = np.array(rows).reshape(len(free), len(free))
        symmetric: np.ndarray = 0.5 * (matrix + matrix.T)
        return symmetric
