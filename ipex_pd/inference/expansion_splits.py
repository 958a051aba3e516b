"""Which predictors can be split, and when fits use it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ipex_pd.errors import UsageError
from ipex_pd.inference.disease_predictor import DiseasePredictor
from ipex_pd.inference.expansion import Split
from ipex_pd.inference.expansion_disease import disease_split
from ipex_pd.inference.expansion_objective import ExpandedObjective, expandable
from ipex_pd.inference.expansion_problem import problem_split
from ipex_pd.inference.group import Group
from ipex_pd.inference.objectives import Method
from ipex_pd.inference.population import Population
from ipex_pd.inference.predictor import ProblemPredictor


def splits_of(groups: tuple[Group, ...]) -> tuple[Split, ...]:
    """The split of each group's predictor.

    Raises:
        UsageError: a predictor, or an endpoint of it, that cannot be split.
    """
    first = groups[0].predictor
    if isinstance(first, ProblemPredictor):
        return (problem_split(groups),) * len(groups)
    if isinstance(first, DiseasePredictor):
        return tuple(disease_split(group) for group in groups)
    raise UsageError(
        "these predictions cannot be expanded",
        code="expansion.predictor",
        rule="Known here: problems bound to their data, and cohorts of the disease",
        cure="Leave `expansion` out of the options",
    )


def expanded_objective(
    population: Population, groups: tuple[Group, ...], method: Method, names: Sequence[Any], *, asked: bool
) -> ExpandedObjective | None:
    """The objective of expanded predictions; unasked only where they are costly and everything allows it, else None.

    Raises:
        UsageError: asked for, and the method or the predictions do not allow it.
    """
    if asked:
        return ExpandedObjective(population, groups, method, splits_of(groups), names)
    if not costly(groups) or not expandable(method):
        return None
    try:
        splits = splits_of(groups)
    except UsageError:
        return None
    return ExpandedObjective(population, groups, method, splits, names)


def costly(groups: tuple[Group, ...]) -> bool:
    """Whether these predictions are so costly that fits expand them unasked: those of the disease."""
    return any(isinstance(group.predictor, DiseasePredictor) for group in groups)
