"""When to stop waiting: a rule for each visit, from what was measured, by regression backwards through the visits.

Longstaff and Schwartz (2001, Rev. Financ. Stud. 14:113) with the outcome of a transplant at every visit known for every
member. Backwards from the last visit, with V what a member gets when it waits at visit k and follows the rule later,

```
advantage_k(m) = value_k(m) - V_k+1(m),        score_k(x) = b0 + b . x    from    advantage_k ~ x_k
transplant at visit k if score_k(x) > 0
```

Both values count the death before visit k in the same way, so that their difference is proportional to the probability
to be alive there: dividing it by that probability, and weighing members by it, is regression among those alive. The
realised V of the rule is carried back, not the fitted one. Members are split by child: the value of the policy is taken
where its rule was not fitted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from ipex_pd.errors import UsageError
from ipex_pd.planning.evidence import Floats
from ipex_pd.planning.paths import Paths, Spread, spread_of
from ipex_pd.planning.plain import as_json
from ipex_pd.planning.policies import Fixed, best_fixed
from ipex_pd.simulation.draws import uniforms

SCHEMA = "ipex_pd.stopping/1"
RIDGE = 1e-3
"""Shrinkage of standardised coefficients, as a part of the members' weight: assumed, against ties of features."""
_LEAST = 1e-9
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Feature:
    """What a score reads.

    Attributes:
        measurement: of the visits.
        log: whether its logarithm is taken (counts and concentrations).
        change: whether the change since the visit before is meant (0 at the first).
    """

    measurement: str
    log: bool = False
    change: bool = False

    @property
    def name(self) -> str:
        """`log(ige)`, `change of log(ige)`, `oi_score`."""
        plain = f"log({self.measurement})" if self.log else self.measurement
        return f"change of {plain}" if self.change else plain

    def values(self, paths: Paths) -> Floats:
        """[V, M] at the visits; `nan` where nothing was measured."""
        seen = paths.seen(self.measurement)[: paths.visits]
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                seen = np.log(seen)
        if self.change:
            seen = np.diff(seen, axis=0, prepend=seen[:1])
        return np.asarray(np.where(np.isfinite(seen), seen, np.nan))


@dataclass(frozen=True, eq=False)
class StoppingRule:
    """A linear score at each visit: transplant where it is positive.

    Attributes:
        features: what the score reads.
        days: [V] candidate days.
        intercept: [V] in the unit of the value.
        coefficients: [V, F] in the unit of the value per unit of the feature.
        filled: [V, F] what stands for a missing value: the mean among those alive.
        label: its key in tables.
    """

    features: tuple[Feature, ...]
    days: Floats
    intercept: Floats
    coefficients: Floats
    filled: Floats
    label: str = "optimal stopping"

    @property
    def name(self) -> str:
        """Its key in tables."""
        return self.label

    def in_words(self) -> str:
        """The rule, for people."""
        names = ", ".join(feature.name for feature in self.features) or "nothing"
        return f"transplant at the first visit whose score of {names} is positive"

    def scores(self, paths: Paths) -> Floats:
        """[V, M] estimated gain of a transplant now over waiting."""
        return np.asarray(self.intercept[:, None] + _dot(self.coefficients, self._inputs(paths)))

    def choose(self, paths: Paths) -> np.ndarray:
        """[M] the candidate of each member: the first visit with a positive score, else the last candidate."""
        last = len(paths.days) - 1
        decided = min(paths.visits, last)
        go = self.scores(paths)[:decided] > 0
        return np.where(go.any(axis=0), go.argmax(axis=0), last)

    def table(self) -> pd.DataFrame:
        """A row a visit: day, intercept, and the coefficient of each feature."""
        columns = {"day": self.days, "intercept": self.intercept}
        columns |= {f.name: self.coefficients[:, i] for i, f in enumerate(self.features)}
        return pd.DataFrame(columns)

    def _inputs(self, paths: Paths) -> Floats:
        return _inputs(self.features, paths, self.filled)


@dataclass(frozen=True, eq=False)
class Stopping:
    """An optimal stopping policy and what it is worth.

    Attributes:
        rule: fitted to all members; `table` tells it.
        value: expected value out of sample, by cross-fitting.
        in_sample: expected value of `rule` where it was fitted: too good.
        gain: over the best fixed day, in the same members, out of sample.
        clairvoyant: expected value of knowing each member's best day: no policy can be above it.
        best_fixed: the best day decided upon at the start [day].
        choice: [M] candidate taken, out of sample.
        table: a row a visit: day, transplanted (of those who come untransplanted to the visit, by weight alive), the
            mean gain of going now in those who go and of waiting in those who wait, then the score's coefficients.
        folds: in how many parts, and of what (`child`, `draw`, `member`).
        unit: of the values.
        partial: whether an interrupt came before every fold was done; the folds left take the rule of all.
    """

    rule: StoppingRule
    value: Spread
    in_sample: float
    gain: Spread
    clairvoyant: float
    best_fixed: float
    choice: np.ndarray
    table: pd.DataFrame
    folds: tuple[int, str]
    unit: str
    partial: bool = False

    def __repr__(self) -> str:
        return (
            f"Stopping: {self.value.mean:.4g} {self.unit} out of sample (in sample {self.in_sample:.4g}), "
            f"{self.gain.mean:+.3g} (se {self.gain.se:.1g}) over the best decided at the start, "
            f"{Fixed(self.best_fixed).name}; knowing the future {self.clairvoyant:.4g}\n"
            f"{self.rule.table().to_string(index=False)}"
        )

    def to_json(self) -> str:
        """The record as strict JSON."""
        body = {
            "rule": self.rule.in_words(),
            "table": self.table,
            "value": vars(self.value),
            "gain_over_best_fixed": vars(self.gain),
            "in_sample": self.in_sample,
            "clairvoyant": self.clairvoyant,
            "best_fixed_day": self.best_fixed,
            "folds": list(self.folds),
            "unit": self.unit,
            "partial": self.partial,
        }
        return as_json(SCHEMA, body)


def optimal_stopping(
    paths: Paths,
    features: Sequence[Feature],
    *,
    folds: int = 5,
    seed: int = 1,
    progress: Progress | None = None,
) -> Stopping:
    """Fit a score for each visit, and value the policy out of sample.

    Args:
        paths: outcomes and what visits show.
        features: of the scores.
        folds: parts of the children (of the draws with fewer children than folds, else of the members).
        seed: of the split.
        progress: called with (folds done, folds).

    Raises:
        UsageError: fewer than two folds, no feature, or fewer members than folds.
    """
    if folds < 2 or not features:
        raise UsageError("nothing to fit", where="optimal_stopping", rule="There are 2 folds or more, and a feature")
    part, kind = _split(paths, folds, seed)
    rule = fit_rule(paths, features)
    choice = rule.choose(paths)
    inside = float(paths.weights @ paths.of(choice))
    choice, partial = choice.copy(), False
    try:
        for number in range(folds):
            held = part == number
            own = fit_rule(_some(paths, ~held), features)
            choice[held] = own.choose(_some(paths, held))
            if progress is not None:
                progress(number + 1, folds)
    except KeyboardInterrupt:
        partial = True
    fixed = best_fixed(paths)
    value, base = paths.of(choice), paths.of(fixed.choose(paths))
    members = (paths.weights, paths.draw, paths.child)
    return Stopping(
        rule=rule,
        value=spread_of(value, *members),
        in_sample=inside,
        gain=spread_of(value - base, *members),
        clairvoyant=float(paths.weights @ paths.value.max(axis=0)),
        best_fixed=fixed.day,
        choice=choice,
        table=_told(paths, rule),
        folds=(folds, kind),
        unit=paths.unit,
        partial=partial,
    )


def fit_rule(paths: Paths, features: Sequence[Feature]) -> StoppingRule:
    """Backward induction over the visits: the scores of all of them."""
    asked, last = tuple(features), len(paths.days) - 1
    visits = paths.visits
    raw = np.stack([feature.values(paths) for feature in asked], axis=1)
    filled = _means(raw, paths)
    inputs = np.where(np.isnan(raw), filled[:, :, None], raw)
    intercept, coefficients = np.zeros(visits), np.zeros((visits, len(asked)))
    waiting = paths.value[last].copy()
    for k in range(min(visits, last) - 1, -1, -1):
        alive = paths.weights * paths.alive[k]
        advantage = paths.value[k] - waiting
        here = paths.alive[k] > _LEAST
        target = np.divide(advantage, paths.alive[k], out=np.zeros_like(advantage), where=here)
        intercept[k], coefficients[k] = _regress(inputs[k], target, np.where(here, alive, 0.0))
        go = intercept[k] + coefficients[k] @ inputs[k] > 0
        waiting = np.where(go, paths.value[k], waiting)
    return StoppingRule(asked, paths.days[:visits], intercept, coefficients, filled)


def _regress(x: Floats, y: Floats, weights: Floats) -> tuple[float, Floats]:
    """Weighted ridge regression of [M] on [F, M], features standardised: (intercept, [F])."""
    if weights.sum() <= 0:
        return 0.0, np.zeros(len(x))
    share = weights / weights.sum()
    centre = x @ share
    sd = np.sqrt(np.maximum(((x - centre[:, None]) ** 2) @ share, 0.0))
    varied = sd > 1e-12 * np.maximum(np.abs(centre), 1.0)
    z = (x[varied] - centre[varied, None]) / sd[varied, None]
    mean = float(y @ share)
    gram = (z * share) @ z.T + RIDGE * np.eye(len(z))
    slope = np.zeros(len(x))
    slope[varied] = np.linalg.solve(gram, (z * share) @ (y - mean)) / sd[varied]
    return mean - float(slope @ centre), slope


def _means(raw: Floats, paths: Paths) -> Floats:
    """[V, F] means among those alive with a value; 0 where nobody has one."""
    weights = (paths.weights * paths.alive[: len(raw)])[:, None, :] * np.isfinite(raw)
    total = weights.sum(axis=2)
    return np.asarray(np.divide((weights * np.nan_to_num(raw)).sum(axis=2), total, out=0 * total, where=total > 0))


def _inputs(features: Sequence[Feature], paths: Paths, filled: Floats) -> Floats:
    raw = np.stack([feature.values(paths) for feature in features], axis=1)
    return np.asarray(np.where(np.isnan(raw), filled[:, :, None], raw))


def _dot(coefficients: Floats, inputs: Floats) -> Floats:
    return np.asarray(np.einsum("vf,vfm->vm", coefficients, inputs))


def _split(paths: Paths, folds: int, seed: int) -> tuple[np.ndarray, str]:
    for kind, groups in (("child", paths.child), ("draw", paths.draw), ("member", np.arange(len(paths.weights)))):
        names, place = np.unique(groups, return_inverse=True)
        if len(names) >= folds:
            order = np.argsort(uniforms(seed, "stopping/folds", np.arange(len(names))), kind="stable")
            fold = np.empty(len(names), int)
            fold[order] = np.arange(len(names)) % folds
            return fold[place], kind
    raise UsageError(f"{len(paths.weights)} members in {folds} folds", rule="A fold holds at least one member")


def _some(paths: Paths, rows: np.ndarray) -> Paths:
    return replace(
        paths,
        value=paths.value[:, rows],
        alive=paths.alive[:, rows],
        observed={name: table[:, rows] for name, table in paths.observed.items()},
        weights=paths.weights[rows],
        draw=paths.draw[rows],
        child=paths.child[rows],
    )


def _told(paths: Paths, rule: StoppingRule) -> pd.DataFrame:
    choice, scores = rule.choose(paths), rule.scores(paths)
    rows = []
    for k in range(paths.visits):
        weight = paths.weights * paths.alive[k] * (choice >= k)
        go = scores[k] > 0
        total = weight.sum()
        rows.append(
            {
                "day": paths.days[k],
                "transplanted": float(weight[go].sum() / total) if total > 0 else np.nan,
                "score_going": float(np.average(scores[k][go], weights=weight[go])) if weight[go].sum() > 0 else np.nan,
                "score_waiting": (
                    float(np.average(scores[k][~go], weights=weight[~go])) if weight[~go].sum() > 0 else np.nan
                ),
            }
        )
    return pd.DataFrame(rows).merge(rule.table(), on="day")
