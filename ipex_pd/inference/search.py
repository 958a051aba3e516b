"""The search for the estimates: scaled, warm-started, guarded against its own path, polished by Newton steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from ipex_pd.errors import SimulationError
from ipex_pd.inference.nearby import Led, lead
from ipex_pd.inference.options import FitOptions
from ipex_pd.inference.progress import Progress, Stage
from ipex_pd.inference.totals import Evaluation, Objective, Starts
from ipex_pd.numerics.optimiser import Minimum, Step, Stopping, minimise

_DIFFERENCE = 2e-4
_OTHER_PATH = 1e-6
_ROUNDS = 3
_UNLIKELY = 4.0
_MOST_ASIDE = 0.1
_ROUGHLY = 0.01
_COARSE = Stopping(gradient=1.0, decrease=0.5, iterations=50)
_FINE = Stopping(gradient=1e-3, decrease=1e-5, iterations=10**6)


@dataclass(frozen=True, eq=False)
class Found:
    """Where a search ended.

    Attributes:
        w: [n] estimates on the search scale: the best point seen.
        at: the objective there, with modes searched from zero and from where the search left them, the better of both.
        start: objective at the start.
        converged, outcome: whether and why the search ended.
        iterations, evaluations: counts.
        trace: [steps] the objective at accepted points.
        path_difference: how much the objective at w depended on where modes were searched from.
        hessian: [m, m] of OFV at w by the free entries; NaN when it was not finite or the search was interrupted.
        restarts: objective at the end of every restart.
        interrupted: by the user.
        aside: [S] subjects without a likelihood, set aside; they count for nothing (empty: nobody).
        barriers: how often a subject had no likelihood at a point that was tried: (place, points).
    """

    w: np.ndarray
    at: Evaluation
    start: float
    converged: bool
    outcome: str
    iterations: int
    evaluations: int
    trace: tuple[float, ...]
    path_difference: float
    hessian: np.ndarray
    restarts: tuple[float, ...] = ()
    interrupted: bool = False
    aside: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    barriers: tuple[tuple[int, int], ...] = ()


class Search:
    """The search of one objective over the free entries of w, scaled to size one."""

    def __init__(self, objective: Objective, options: FitOptions, progress: Progress | None = None) -> None:
        population = objective.population
        self.objective, self.options, self.progress = objective, options, progress
        self._everybody = objective
        self.free = np.flatnonzero(population.free)
        finite = np.array([np.isfinite(t.search_bounds).any() for t in population.thetas], bool)
        self.scale = np.ones(len(population.start))
        starts = np.abs(population.start[: len(finite)])
        self.scale[: len(finite)] = np.where(finite | (starts == 0), 1.0, starts)
        self.evaluations = 0
        self.phase = "search"
        self._warm: Starts | None = None
        self._barriers = np.zeros(objective.subjects, int)

    def run(self, w: np.ndarray, modes: Starts | None = None) -> Found:
        """Search from w [n], with restarts and polishing; modes from zero, or from those given.

        Raises:
            SimulationError: the objective is not finite at the start for more than a tenth of the subjects.
        """
        first = self._begin(w, modes)
        found = self._descend(w, first)
        if self.objective is not self._everybody and not found.interrupted:
            found = self._with_everybody(found)
        ends = []
        random = np.random.default_rng(self.options.seed)
        for number in range(self.options.restarts if not found.interrupted else 0):
            self.phase = f"restart {number + 1}"
            other = self._restart(w, random)
            if other is None:
                continue
            ends.append(other.at.value)
            if other.at.value < found.at.value - 1e-4 or other.interrupted:
                found = other if other.at.value < found.at.value else found
            if other.interrupted:
                return self._finished(found, first.value, tuple(ends), interrupted=True)
        return self._finished(found, first.value, tuple(ends), interrupted=found.interrupted)

    def _begin(self, w: np.ndarray, modes: Starts | None) -> Evaluation:
        """The objective at the start; subjects that have no likelihood there are set aside, if they are few.

        Modes are searched from zero, and from around it for subjects that have no likelihood at zero.
        """
        first = self._roughly_at(w, modes)
        for start in self._around() if self._lost(first).any() else []:
            first = self._mended(w, first, self._at(w, start))
        lost = self._lost(first)
        if lost.any() and lost.sum() <= max(1, _MOST_ASIDE * len(lost)) and lost.sum() < len(lost):
            self.objective = self.objective.without(lost)
            first = self._at(w, first.modes)
        if self._lost(first).any() or not np.isfinite(first.value):
            raise _no_start(self.objective, first, lost)
        return first

    def _lost(self, at: Evaluation) -> np.ndarray:
        lost = ~np.isfinite(at.values) | ~np.isfinite(at.gradients).all(1)
        counted: np.ndarray = lost & ~self.objective.aside
        return counted

    def _mended(self, w: np.ndarray, one: Evaluation, other: Evaluation) -> Evaluation:
        """One evaluation, with the modes of the other for subjects that only have a likelihood there."""
        better = self._lost(one) & ~self._lost(other)
        if not better.any():
            return one
        return self._at(w, self.objective.chosen(better, one, other))

    def _with_everybody(self, found: Found) -> Found:
        """The search continued with the subjects set aside, if all of them have a likelihood where it ended."""
        alone, everybody = self.objective, self._everybody
        self.objective = everybody
        whole = self._at(found.w, found.at.modes)
        if self._lost(whole).any():
            self.objective = alone
            return found
        more = self._descend(found.w, whole)
        return replace(more, trace=found.trace + more.trace, iterations=found.iterations + more.iterations)

    def _restart(self, w: np.ndarray, random: np.random.Generator) -> Found | None:
        moved = np.array(w, float)
        moved[self.free] += self.options.spread * self.scale[self.free] * random.standard_normal(len(self.free))
        first = self._at(moved, None)
        if not (np.isfinite(first.value) and np.isfinite(first.gradient).all()):
            return None
        return self._descend(moved, first)

    def _at(self, w: np.ndarray, start: Starts | None) -> Evaluation:
        self.evaluations += 1
        found = self.objective.at(w, start)
        self._barriers += ~np.isfinite(found.values) & ~self.objective.aside
        return found

    def _roughly_at(self, w: np.ndarray, start: Starts | None) -> Evaluation:
        """The objective where only who has which mode matters, and its value to a thousandth."""
        self.objective.roughly(True)
        try:
            return self._at(w, start)
        finally:
            self.objective.roughly(False)

    def _descend(self, w: np.ndarray, first: Evaluation) -> Found:
        """One search; begun again where modes searched from zero turn out better than those it carried along."""
        trace: list[float] = []
        converged, outcome, iterations, interrupted = True, "nothing to estimate", 0, False
        for _ in range(_ROUNDS):
            self._warm = first.modes
            if len(self.free):
                minimum = self._approached(w, first)
                if minimum is None:
                    minimum = self._minimise(w, first, self.free, _FINE)
                trace += [step.value for step in minimum.trace]
                w = self._whole(w, minimum.x, self.free)
                converged, outcome = minimum.converged, minimum.outcome
                iterations += minimum.iterations
                interrupted = outcome.startswith("interrupted")
            first, difference = self.settle(w, brief=interrupted)
            if interrupted or difference <= 1e-3 or not len(self.free):
                break
        hessian = np.full((len(self.free), len(self.free)), np.nan)
        return Found(
            w, first, 0.0, converged, outcome, iterations, 0, tuple(trace), difference, hessian, (), interrupted
        )

    def settle(self, w: np.ndarray, brief: bool = False) -> tuple[Evaluation, float]:
        """The objective at w with the better modes of several starts, and how far it was from the carried one.

        Args:
            w: [n] search vector.
            brief: only with the modes that the search carried along.
        """
        warm = self._at(w, self._warm)
        if brief:
            return warm, 0.0
        cold = self._roughly_at(w, None)
        best = self._better(w, warm, cold)
        if not best.found.all():
            for start in self._around():
                best = self._better(w, best, self._at(w, start))
        difference = abs(best.value - warm.value)
        self._warm = best.modes
        return best, difference if np.isfinite(difference) else np.inf

    def _better(self, w: np.ndarray, one: Evaluation, other: Evaluation) -> Evaluation:
        if not (other.joint < one.joint - _OTHER_PATH).any():
            return one
        return self._at(w, self.objective.lower(one, other))

    def _around(self) -> list[Starts]:
        """Modes to start from around zero: one prior standard deviation and a half along every axis, both ways."""
        size = self.objective.population.layout.etas if self.objective.method.conditional else 0
        return [
            tuple(np.broadcast_to(sign * 1.5 * np.eye(size)[k], z.shape) for z in self.objective.cold)
            for k in range(size)
            for sign in (1.0, -1.0)
        ]

    def _approached(self, w: np.ndarray, first: Evaluation) -> Minimum | None:
        """Where a start explains the subjects by unlikely effects only: a search that begins with typical values alone.

        Otherwise a search far from the data lets variances grow without end instead of moving typical values.
        """
        thetas = self.free[self.free < self.objective.population.layout.thetas]
        squares = self.objective.gather([z**2 for z in first.modes]).mean(0)
        if not len(thetas) or squares.max(initial=0.0) < _UNLIKELY:
            return None
        coarse = self._minimise(w, first, thetas, _COARSE)
        there = self._whole(w, coarse.x, thetas)
        if coarse.outcome.startswith("interrupted"):
            x = there[self.free] / self.scale[self.free]
            return replace(coarse, x=x)
        fine = self._minimise(there, self._at(there, self._warm), self.free, _FINE)
        return replace(fine, trace=coarse.trace + fine.trace, iterations=coarse.iterations + fine.iterations)

    def _minimise(self, w: np.ndarray, first: Evaluation, free: np.ndarray, stopping: Stopping) -> Minimum:
        scale = self.scale[free]
        lowest = np.inf

        def function(x: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal lowest
            found = self._at(self._whole(w, x, free), self._warm)
            if found.value < lowest:
                lowest, self._warm = found.value, found.modes
            return found.value, found.gradient[free] * scale

        def tell(step: Step) -> None:
            if self.progress is not None:
                at = self._whole(w, step.x, free)
                self.progress(
                    Stage(self.phase, step.iteration, at, step.value, float(np.abs(step.gradient).max(initial=0.0)))
                )

        bfgs = self.options.search == "bfgs"
        led = self._led(w, first, free, stopping, tell) if bfgs else None
        if led is not None and (led.ended or led.interrupted):
            self._warm = led.at.modes
            return led.minimum(free, scale)
        begin, curvature = w, _curvature(first.gradients[:, free] * scale) if bfgs else None
        if led is not None:
            begin, self._warm = led.w, led.at.modes
            curvature = curvature if led.curvature is None else led.curvature
        self.objective.roughly(True)
        try:
            found = minimise(
                function,
                begin[free] / scale,
                algorithm=self.options.search,
                stopping=replace(stopping, iterations=min(stopping.iterations, self.options.iterations)),
                curvature=curvature,
                callback=tell,
            )
        finally:
            self.objective.roughly(False)
        if led is None:
            return found
        return replace(found, trace=led.trace + found.trace, iterations=len(led.trace) + found.iterations)

    def _led(
        self, w: np.ndarray, first: Evaluation, free: np.ndarray, stopping: Stopping, tell: Callable[[Step], None]
    ) -> Led | None:
        """The cheaper way of a search, where the objective offers one: roughly first, then exactly."""
        enough = stopping.decrease
        led = self._led_roughly(w, first, free, max(enough, _ROUGHLY), tell, ())
        if led is None or not led.ended or enough >= _ROUGHLY:
            return led
        try:
            there = self._at(led.w, led.at.modes)
        except KeyboardInterrupt:
            return replace(led, interrupted=True)
        # second derivatives are fresh now, and the way left is short
        return self._led_roughly(led.w, there, free, enough, tell, led.trace)

    def _led_roughly(
        self,
        w: np.ndarray,
        first: Evaluation,
        free: np.ndarray,
        enough: float,
        tell: Callable[[Step], None],
        trace: tuple[Step, ...],
    ) -> Led | None:
        self.objective.roughly(True)
        try:
            scale = self.scale[free]
            return lead(self.objective, self._at, w, first, free, scale, enough=enough, tell=tell, trace=trace)
        finally:
            self.objective.roughly(False)

    def _whole(self, w: np.ndarray, x: np.ndarray, free: np.ndarray) -> np.ndarray:
        whole = np.array(w, float)
        whole[free] = x * self.scale[free]
        return whole

    def hessian(self, w: np.ndarray, at: Evaluation) -> np.ndarray:
        """[m, m] of OFV by the free entries of w."""
        self.evaluations += 2 * len(self.free)
        return self.objective.hessian(w, at, _DIFFERENCE * self.scale[self.free], self.free)

    def _finished(self, found: Found, start: float, restarts: tuple[float, ...], interrupted: bool) -> Found:
        w, at, hessian, outcome, converged = found.w, found.at, found.hessian, found.outcome, found.converged
        if len(self.free) and not interrupted:
            try:
                w, at, hessian, left = self._polished(w, at)
                if left <= self.options.gradient:
                    outcome, converged = "the gradient is zero", True
            except KeyboardInterrupt:
                interrupted, outcome, converged = True, "interrupted before polishing", False
        return Found(
            w=w,
            at=at,
            start=start,
            converged=converged,
            outcome=outcome,
            iterations=found.iterations,
            evaluations=self.evaluations,
            trace=found.trace,
            path_difference=found.path_difference,
            hessian=hessian,
            restarts=restarts,
            interrupted=interrupted,
            aside=self.objective.aside,
            barriers=tuple((int(i), int(self._barriers[i])) for i in np.flatnonzero(self._barriers)),
        )

    def _polished(self, w: np.ndarray, at: Evaluation) -> tuple[np.ndarray, Evaluation, np.ndarray, float]:
        """Newton steps with the differenced Hessian until the gradient is small or nothing improves."""
        hessian = self.hessian(w, at)
        left = self._left(at)
        for _ in range(4):
            if left <= self.options.gradient or not _definite(hessian, self.scale[self.free]):
                break
            there = np.array(w, float)
            there[self.free] -= np.linalg.solve(hessian, at.gradient[self.free])
            trial = self._at(there, at.modes)
            if not (trial.value <= at.value + 1e-7 and self._left(trial) < left):
                break
            moved = float(np.abs((there[self.free] - w[self.free]) / self.scale[self.free]).max())
            w, at, left = there, trial, self._left(trial)
            if moved > 1e-3:
                hessian = self.hessian(w, at)
        return w, at, hessian, left

    def _left(self, at: Evaluation) -> float:
        return float(np.abs(at.gradient[self.free] * self.scale[self.free]).max())


def _curvature(gradients: np.ndarray) -> np.ndarray:
    """[m, m] a guess of the Hessian from what the subjects' gradients [S, m] say of it."""
    away = gradients - gradients.mean(0)
    curvature = 0.5 * away.T @ away
    size = max(float(np.trace(curvature)) / len(curvature), 1e-6)
    return np.asarray(curvature + np.diag(0.01 * np.diag(curvature) + 1e-3 * size))


def _definite(hessian: np.ndarray, scale: np.ndarray) -> bool:
    scaled = hessian * np.outer(scale, scale)
    return bool(np.isfinite(scaled).all() and np.linalg.eigvalsh(scaled).min() > 0)


def _no_start(objective: Objective, first: Evaluation, lost: np.ndarray) -> SimulationError:
    """The refusal of a start: a Hessian that is not positive definite, or numbers that are not finite."""
    places = np.flatnonzero(lost)
    count = f"{len(places)} of {objective.subjects} subjects"
    where = objective.who(places, 8) if len(places) else "priors"
    bent = lost & np.isfinite(first.joint) & ~first.definite
    if objective.method.exact and len(places) and (bent == lost).all():
        return SimulationError(
            f"the conditional density of the random effects has no proper mode for {count} at the start values",
            code="fit.indefinite",
            where=where,
            rule=f"{objective.method.name} needs the exact Hessian of -2 log density by the random effects to be "
            "positive definite at the mode of every subject: here is a saddle, a ridge, or two modes close together",
            cure="Move the start values, start from larger residual error, fit with focei (its curvature is always "
            "positive), or with saem or imp, which need no Hessian",
        )
    return SimulationError(
        f"the objective is not finite for {count} at the start values",
        code="fit.start",
        where=where,
        rule="A search starts where nine of ten subjects have a likelihood; fewer than that are set aside and told",
        cure="Move the start values, or look at these subjects' data",
    )
