"""Individual values: from typical values, random effects and covariates to the values of every record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from ipex_pd.inference.population import OmegaBlock
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.records.formulas import Formula
from ipex_pd.records.models import TIME

Array = Any


@dataclass(frozen=True)
class EtaPlace:
    """Where a random effect stands in eta [q].

    Attributes:
        name: the user's.
        place: its place, on the first occasion when it is drawn anew at each.
        stride: places from one occasion to the next; 0 for an effect of the subject.
    """

    name: str
    place: int
    stride: int = 0


def eta_places(blocks: tuple[OmegaBlock, ...]) -> tuple[EtaPlace, ...]:
    """Places of all random effects; those of a repeated block come occasion by occasion."""
    found, corner = [], 0
    for block in blocks:
        size = len(block.names)
        found += [EtaPlace(n, corner + i, size if block.occasions else 0) for i, n in enumerate(block.names)]
        corner += size * max(block.occasions, 1)
    return tuple(found)


@dataclass(frozen=True)
class IndividualModel:
    """Formulas of individual values in their order; compares by what it computes.

    Attributes:
        thetas: names of the typical values, in the order of theta.
        etas: places of the random effects.
        formulas: name -> formula of each individual value.
    """

    thetas: tuple[str, ...]
    etas: tuple[EtaPlace, ...]
    formulas: tuple[tuple[str, Formula], ...]

    def values(
        self, theta: Array, eta: Array, covariates: Mapping[str, Array], time: Array, occasion: Array
    ) -> dict[str, Array]:
        """Every name that a formula may use, as arrays that broadcast to [B, R].

        Args:
            theta: [B, p].
            eta: [B, q].
            covariates: name -> [B, R].
            time: [B, R] in the unit of the data.
            occasion: [B, R] which of the subject's occasions, from 0.
        """
        known: dict[str, Array] = {**covariates, TIME: time}
        known |= {name: theta[:, i : i + 1] for i, name in enumerate(self.thetas)}
        for effect in self.etas:
            if effect.stride == 0:
                known[effect.name] = eta[:, effect.place : effect.place + 1]
            else:
                known[effect.name] = jnp.take_along_axis(eta, effect.place + effect.stride * occasion, 1)
        for name, formula in self.formulas:
            known[name] = jnp.atleast_2d(compile_formula(formula)(known))
        return known
