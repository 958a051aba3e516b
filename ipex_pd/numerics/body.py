"""The body that drugs meet: size from the growth tables at the child's own z-scores, and the covariates of kinetics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ipex_pd.records.growth import Measure, growth_table
from ipex_pd.records.relations import COVARIATES

Array = Any
Arrays = Mapping[str, Array]

FEMALE = "covariate.female"
"""Name in theta of the sex, 0 male and 1 female."""

_SMALLEST = 1e-3


def size(measure: Measure, female: Array, age: Array, z: Array) -> Array:
    """Weight [kg] or height [cm] at a z-score: ``M (1 + L S z)^(1/L)`` (WHO 2006, 2007).

    Args:
        measure: `weight` or `height`.
        female: 0 or 1, [..., P].
        age: [day].
        z: [SD].
    """
    boys, girls = growth_table(measure, "male"), growth_table(measure, "female")
    columns = [
        jnp.where(female > 0.5, jnp.interp(age, girls.age, g), jnp.interp(age, boys.age, b))
        for b, g in ((boys.l, girls.l), (boys.m, girls.m), (boys.s, girls.s))
    ]
    power, median, spread = columns
    flat = jnp.abs(power) < 1e-6
    safe = jnp.where(flat, 1.0, power)
    # z-scores far outside the tables are held where the formula still has a value
    inside = jnp.maximum(1.0 + safe * spread * z, _SMALLEST)
    return median * jnp.where(flat, jnp.exp(spread * z), jnp.exp(jnp.log(inside) / safe))


def body_size(age: Array, weight_z: Array, height_z: Array, female: Array) -> dict[str, Array]:
    """weight [kg], height [cm] and Mosteller's body surface [m2] at an age [day]."""
    weight = size("weight", female, age, weight_z)
    height = size("height", female, age, height_z)
    return {"weight": weight, "height": height, "bsa": jnp.sqrt(weight * height / 3600.0)}


def body(age: Array, state: Arrays, theta: Arrays) -> dict[str, Array]:
    """All covariates of drug kinetics at an age [day] and a disease state, in the units of `COVARIATES`.

    A protein-losing state follows the injury of the gut (assumed: no published scale links it to antibody loss).
    """
    stated = {name: theta[f"covariate.{name}"] for name in COVARIATES if f"covariate.{name}" in theta}
    sized = body_size(age, state["weight_z"], state["height_z"], theta[FEMALE])
    return {**stated, **sized, "age": age, "protein_loss": state["gut_injury"]}
