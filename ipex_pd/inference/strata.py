"""Strata of subjects, and the weights of their resampling."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipex_pd.errors import UsageError, nearest_hint
from ipex_pd.inference.binding import BoundProblem
from ipex_pd.inference.results import Fit

Stratify = str | Sequence[object] | None
ENDPOINT = "endpoint"


def strata_of(fit: Fit, stratify: Stratify) -> tuple[str, ...]:
    """[S] the stratum of every subject.

    Args:
        fit: whose subjects they are.
        stratify: nothing (one stratum), the name of a covariate that does not change in a subject, `endpoint` (which
            endpoints a subject has records of), or a label for every subject.

    Raises:
        UsageError: strata that cannot be had, or within which nothing can be resampled.
    """
    count = len(fit.found.at.values)
    if stratify is None:
        labels = ("all",) * count
    elif isinstance(stratify, str):
        labels = _endpoints(fit) if stratify == ENDPOINT else _covariate(fit, stratify)
    else:
        labels = tuple(str(label) for label in stratify)
    if len(labels) != count:
        raise UsageError(f"{len(labels)} labels for {count} subjects", rule="Every subject belongs to one stratum")
    if len(set(labels)) == count:
        raise UsageError(
            f"every one of the {count} subjects is a stratum of its own",
            code="bootstrap.nothing-resampled",
            rule="Subjects are drawn from their own stratum: nothing would be resampled",
            cure="Choose strata with several subjects each, for example classes of the covariate",
        )
    return labels


def _bound(fit: Fit) -> BoundProblem:
    if not isinstance(fit.bound, BoundProblem):
        raise UsageError(
            "a problem without data has no covariates or endpoints to stratify by",
            cure="Give a label for every subject",
        )
    return fit.bound


def _covariate(fit: Fit, name: str) -> tuple[str, ...]:
    bound = _bound(fit)
    known = (*bound.problem.data.covariates, ENDPOINT)
    if name not in known:
        raise UsageError(f"`{name}` is no covariate of this problem", rule=nearest_hint(name, known))
    labels = []
    for subject in bound.subjects:
        values = np.unique(subject.covariates[name])
        if len(values) != 1:
            raise UsageError(
                f"`{name}` changes in subject {subject.id}",
                code="bootstrap.changing-covariate",
                rule="A subject belongs to one stratum",
                cure="Give a label for every subject",
            )
        labels.append(f"{name} = {values[0]:g}")
    return tuple(labels)


def _endpoints(fit: Fit) -> tuple[str, ...]:
    bound = _bound(fit)
    labels = ["" for _ in bound.subjects]
    for group, numbers in zip(bound.groups, bound.endpoints, strict=True):
        mask = np.asarray(group.mask)
        for row, subject in enumerate(np.asarray(group.subjects)):
            if subject >= 0:
                own = sorted({int(n) for n in np.asarray(numbers)[mask[row]]})
                labels[int(subject)] = " and ".join(bound.endpoint_names[n] for n in own) or "no record"
    return tuple(labels)


def resampled(strata: tuple[str, ...], seed: int, replicate: int) -> np.ndarray:
    """[S] how often each subject was drawn, with replacement within its stratum; by seed and replicate alone."""
    random = np.random.default_rng([seed, replicate])
    labels = np.array(strata)
    counts = np.zeros(len(labels), int)
    for label in sorted(set(strata)):
        members = np.flatnonzero(labels == label)
        counts += np.bincount(random.choice(members, len(members)), minlength=len(labels))
    return counts
