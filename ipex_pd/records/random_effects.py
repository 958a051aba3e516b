"""Random effects: how individuals, and occasions of one individual, differ from the typical one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ipex_pd.records.matrices import Triangle, from_correlations, full_matrix, is_positive_definite
from ipex_pd.records.priors import InverseWishart
from ipex_pd.records.record import Fraction, Name, Number, Record, fault

Level = Literal["subject", "occasion"]


class Effect(Record):
    """One random effect: normal around 0 with a start for its spread, stated once.

    Attributes:
        variance, sd: of the random effect.
        cv: coefficient of variation of exp(effect): variance = log(1 + cv^2). Only for log-normal parameters.
        fixed: the spread is not estimated.
        prior: of the variance.
        meaning: in words.
    """

    variance: Number | None = Field(None, ge=0)
    sd: Number | None = Field(None, ge=0)
    cv: Fraction | None = Field(None, ge=0)
    fixed: bool = False
    prior: InverseWishart | None = None
    meaning: str = ""

    @model_validator(mode="after")
    def _one_spread(self) -> Effect:
        if sum(x is not None for x in (self.variance, self.sd, self.cv)) != 1:
            rule, cure = "A spread is stated once", "Write one of `variance`, `sd`, `cv`"
            raise fault("a random effect needs one of `variance`, `sd`, `cv`", rule=rule, cure=cure)
        if self.start == 0:
            raise fault(
                "a random effect has a variance of 0",
                rule="A variance of 0 is no random effect"
                if self.fixed
                else "A variance is estimated from a positive start",
                cure="Take the random effect out of the problem" if self.fixed else "Give a positive start",
                code="problem.zero-variance",
            )
        if self.prior is not None and len(self.prior.scale) != 1:
            raise fault("the prior of one random effect has several", rule="Its scale is one number", at=("prior",))
        _prior_of_fixed(self.prior, self.fixed)
        return self

    @property
    def start(self) -> float:
        """The variance to start from."""
        if self.variance is not None:
            return self.variance
        if self.sd is not None:
            return self.sd**2
        return math.log1p((self.cv or 0.0) ** 2)


class Block(Record):
    """Correlated random effects.

    Attributes:
        names: of the random effects.
        covariance: lower triangle; or `sd` and `correlation` (lower triangle, ones on the diagonal).
        level: `subject`, or `occasion` (drawn anew at each occasion).
        fixed: the whole block is not estimated.
        prior: of the covariance.
    """

    names: tuple[Name, ...] = Field(min_length=2)
    covariance: Triangle | None = None
    sd: tuple[Number, ...] | None = None
    correlation: Triangle | None = None
    level: Level = "subject"
    fixed: bool = False
    prior: InverseWishart | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Block:
        if (self.covariance is None) == (self.sd is None) or (self.sd is None) != (self.correlation is None):
            rule = "A block is stated once, as `covariance`, or as `sd` and `correlation`"
            raise fault("the covariance of a block is not stated once", rule=rule)
        self._check_correlation()
        if len(self.start) != len(self.names):
            what = f"{len(self.names)} names and {len(self.start)} rows"
            raise fault(what, rule="A block has one row a random effect")
        if len(set(self.names)) != len(self.names):
            raise fault("a name stands twice in a block", rule="A random effect has one name", at=("names",))
        if not is_positive_definite(self.start):
            key = "covariance" if self.covariance is not None else "correlation"
            raise fault(
                f"the covariance of {', '.join(f'`{n}`' for n in self.names)} is not positive definite",
                rule="Variances are positive and each covariance is smaller than both standard deviations allow",
                cure="Make the covariances smaller, or the variances larger",
                code="problem.omega",
                at=(key,),
            )
        if self.prior is not None and len(self.prior.scale) != len(self.names):
            raise fault("the prior of a block has another size", rule="One row a random effect", at=("prior",))
        _prior_of_fixed(self.prior, self.fixed)
        return self

    def _check_correlation(self) -> None:
        if self.sd is None or self.correlation is None:
            return
        if len(self.sd) != len(self.correlation):
            raise fault("`sd` and `correlation` have different sizes", rule="One `sd` a row", at=("sd",))
        if any(row[-1] != 1 for row in self.correlation):
            raise fault("a diagonal correlation is not 1", rule="Correlations have ones on the diagonal")

    @property
    def start(self) -> tuple[tuple[float, ...], ...]:
        """Lower triangle of the covariance to start from."""
        if self.covariance is not None:
            return self.covariance
        return from_correlations(self.sd or (), self.correlation or ())


def _prior_of_fixed(prior: InverseWishart | None, fixed: bool) -> None:
    if prior is not None and fixed:
        raise fault("a fixed covariance has a prior", rule="A prior is of something estimated", at=("prior",))


@dataclass(frozen=True)
class OmegaPart:
    """A block of the covariance of random effects as a problem states it.

    Attributes:
        names: of the random effects.
        start: [d, d] covariance to start from.
        fixed: not estimated.
        level: `subject` or `occasion`.
        prior: of the covariance, or None.
    """

    names: tuple[str, ...]
    start: NDArray[np.float64]
    fixed: bool
    level: Level
    prior: InverseWishart | None


class RandomEffects(Record):
    """All random effects of a problem.

    Attributes:
        between_subject: name -> spread, one for each subject.
        between_occasion: name -> spread, drawn anew at each occasion of a subject.
        blocks: correlated ones, of either level.
    """

    between_subject: dict[Name, Effect] = Field(default_factory=dict)
    between_occasion: dict[Name, Effect] = Field(default_factory=dict)
    blocks: tuple[Block, ...] = ()

    @model_validator(mode="after")
    def _once(self) -> RandomEffects:
        seen: set[str] = set()
        for place, name in self._places():
            if name in seen:
                raise fault(
                    f"`{name}` is declared twice", rule="A random effect has one name", cure="Rename one", at=place
                )
            seen.add(name)
        return self

    def _places(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        for key, effects in (("between_subject", self.between_subject), ("between_occasion", self.between_occasion)):
            yield from (((key, name), name) for name in effects)
        for i, block in enumerate(self.blocks):
            yield from ((("blocks", i, "names", j), name) for j, name in enumerate(block.names))

    @property
    def places(self) -> dict[str, tuple[str | int, ...]]:
        """Name of each random effect -> where it stands in this record."""
        return {name: place for place, name in self._places()}

    @property
    def names(self) -> tuple[str, ...]:
        """Of every random effect, in the order of `parts`."""
        return tuple(name for part in self.parts() for name in part.names)

    @property
    def singles(self) -> dict[str, Effect]:
        """Uncorrelated random effects of both levels."""
        return {**self.between_subject, **self.between_occasion}

    def parts(self) -> tuple[OmegaPart, ...]:
        """Blocks of the covariance: effects of subjects first, then of occasions."""
        found = [
            OmegaPart((name,), np.array([[effect.start]]), effect.fixed, level, effect.prior)
            for level, effects in self._levels()
            for name, effect in effects.items()
        ]
        found += [OmegaPart(b.names, full_matrix(b.start), b.fixed, b.level, b.prior) for b in self.blocks]
        return tuple(sorted(found, key=lambda part: part.level == "occasion"))

    def _levels(self) -> tuple[tuple[Level, dict[str, Effect]], ...]:
        return ("subject", self.between_subject), ("occasion", self.between_occasion)
