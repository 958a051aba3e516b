"""FO, FOCE and FOCEI of costly predictions: values and exact gradients from expansions at the modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.inference.expansion import Expander, Split
from ipex_pd.inference.expansion_modes import ModeSearch
from ipex_pd.inference.group import Group
from ipex_pd.inference.objectives import Evaluated, Method, evaluate
from ipex_pd.inference.population import Population
from ipex_pd.inference.totals import Evaluation, Objective, Starts

EXPANDABLE = ("pooled", "fo", "foce", "focei")
"""Methods that need a prediction up to its second derivatives."""


_FURTHEST = 1e-2
"""Longest way [prior SD] from an expansion to the mode at which the objective is still told, as one not found."""


def expandable(method: Method) -> bool:
    """Whether two derivatives of predictions are enough for a method."""
    return method.name in EXPANDABLE and not method.exact


class ExpandedObjective(Objective):
    """The objective of a problem whose predictions are expanded around every mode.

    Args:
        population, groups, method, names: as those of `Objective`.
        splits: of each group's predictor.

    Raises:
        UsageError: a method that needs third derivatives.
    """

    def __init__(
        self,
        population: Population,
        groups: tuple[Group, ...],
        method: Method,
        splits: tuple[Split, ...],
        names: Sequence[Any] = (),
    ) -> None:
        if not expandable(method):
            raise UsageError(
                f"`{method.name}` cannot use expanded predictions",
                code="expansion.method",
                rule="Expansions hold two derivatives: enough for " + ", ".join(EXPANDABLE) + " of normal records",
                cure="Leave `expansion` out, or choose one of these methods",
            )
        super().__init__(population, groups, method, names)
        pairs = zip(self.groups, splits, strict=True)
        self._searches = tuple(ModeSearch(Expander(g, s), population.layout, method) for g, s in pairs)

    @property
    def expansions(self) -> int:
        """How many times a program of the model was run."""
        return sum(search.expander.evaluations for search in self._searches)

    def at(self, w: np.ndarray, start: Starts | None = None) -> Evaluation:
        """The objective at a search vector [n], searching modes from `start` (zero when not given)."""
        vector = np.asarray(w, float)
        begin = self.cold if start is None else start
        pairs = zip(self._searches, begin, strict=True)
        return self._gathered(vector, [self._evaluated(search, vector, np.asarray(z)) for search, z in pairs])

    def _evaluated(self, search: ModeSearch, w: np.ndarray, start: np.ndarray) -> Evaluated:
        still, z = None, start
        if self.method.conditional:
            z, near, still = search.modes(w, start)
        else:
            near = search.around(w, np.zeros_like(start), second=self.method.name == "fo")
        group = search.expander.expanded(near, still)
        found = evaluate(group, jnp.asarray(w), jnp.asarray(z), layout=search.layout, method=self.method)
        parts = Evaluated(*(np.asarray(v) for v in found))
        if not self.method.conditional:
            return parts
        away = np.sqrt(((parts.z - z) ** 2).sum(-1))
        short = away <= 2.0 * (search.close if search.rough else search.settled)
        lost = ~(away <= _FURTHEST)
        return parts._replace(
            values=np.where(lost, np.nan, parts.values),
            z=np.where(lost[:, None], z, parts.z),
            decrement=np.where(short, parts.decrement, np.maximum(parts.decrement, away)),
        )

    def nearby(self) -> Objective | None:
        """The objective of the expansions as they are; None before the first evaluation, and without modes."""
        known = [search.known for search in self._searches]
        stills = [search.known_still for search in self._searches]
        groups = []
        for search, near, still in zip(self._searches, known, stills, strict=True):
            if near is None:
                return None
            groups.append(search.expander.expanded(near, still))
        return self._cheap(tuple(groups))

    def _cheap(self, groups: tuple[Group, ...]) -> Objective:
        return Objective(self.population, groups, self.method, self.names).without(self.aside)

    def roughly(self, on: bool) -> None:
        """Whether second derivatives may be those of a point nearby: exact enough on the way, never at its end."""
        for search in self._searches:
            search.rough = on

    def hessian(self, w: np.ndarray, at: Evaluation, steps: np.ndarray, free: np.ndarray) -> np.ndarray:
        """[m, m] by the free entries of w, as `Objective.hessian`, of predictions expanded to third order once."""
        groups = []
        for search, modes in zip(self._searches, at.modes, strict=True):
            nowhere = np.zeros_like(modes)
            near = search.expander.third(search.psi(w, modes if self.method.conditional else nowhere))
            still = search.around(w, nowhere, second=True) if self.method.name == "foce" else None
            groups.append(search.expander.expanded(near, still))
        return self._cheap(tuple(groups)).hessian(w, at, steps, free)

    def described(self, w: np.ndarray, modes: Starts) -> tuple[tuple[Group, ...], Starts]:
        """Groups expanded at the modes and where eta is zero, and these modes."""
        groups, starts = [], []
        for search, start in zip(self._searches, modes, strict=True):
            z, near, _ = search.modes(w, np.asarray(start))
            still = search.around(w, np.zeros_like(z), second=False)
            groups.append(search.expander.expanded(near, still))
            starts.append(z)
        return tuple(groups), tuple(starts)
