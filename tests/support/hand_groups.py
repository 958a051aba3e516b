"""Small estimation problems bound by hand, apart from the package's own binding: the reference data and made-up
ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import pandas as pd
from references import reference

from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.population import OmegaBlock, Population, Theta

Array = Any


class Bound(NamedTuple):
    population: Population
    groups: tuple[Group, ...]


@dataclass(frozen=True)
class Function:
    """A predictor of a plain function (inputs, theta, eta) -> (mean, variance)."""

    function: Callable[[Any, Array, Array], tuple[Array, Array]]

    def __call__(self, inputs: Any, theta: Array, eta: Array) -> Prediction:
        mean, variance = self.function(inputs, theta, eta)
        zeros = jnp.zeros_like(mean)
        return Prediction(mean, variance + zeros, zeros, zeros)


def group_of(
    function: Callable[[Any, Array, Array], tuple[Array, Array]],
    y: Array,
    inputs: Any,
    effects: int,
    *,
    mask: Array | None = None,
    cens: Array | None = None,
    floor: Array | None = None,
    limit: Array | None = None,
    eta_mask: Array | None = None,
    subjects: Array | None = None,
) -> Group:
    y = np.asarray(y, float)
    rows = y.shape[0]
    none = np.zeros(y.shape)
    mask = np.ones(y.shape, bool) if mask is None else mask
    cens = none.astype(int) if cens is None else cens
    return Group(
        subjects=jnp.arange(rows) if subjects is None else jnp.asarray(subjects),
        y=jnp.asarray(np.where(mask, y, 0.0)),
        mask=jnp.asarray(mask),
        cens=jnp.asarray(cens),
        limit=jnp.asarray(np.where(cens > 0, -np.inf, np.where(cens < 0, np.inf, 0.0)) if limit is None else limit),
        floor=jnp.full(y.shape, -np.inf) if floor is None else jnp.asarray(floor),
        jacobian=jnp.asarray(none),
        direct=jnp.zeros(y.shape, bool),
        partner=jnp.full(y.shape, -1),
        eta_mask=jnp.ones((rows, effects), bool) if eta_mask is None else jnp.asarray(eta_mask),
        inputs=inputs,
        predictor=Function(function),
    )


def oral(inputs: Any, theta: Array, eta: Array) -> tuple[Array, Array]:
    """One compartment, first-order absorption; theta: log ka, log cl, log v, residual variance."""
    time, dose = inputs
    ka, cl, v = (jnp.exp(theta[:, i] + eta[:, i])[:, None] for i in range(3))
    k = cl / v
    mean = dose[:, None] * ka / (v * (ka - k)) * (jnp.exp(-k * time) - jnp.exp(-ka * time))
    return mean, theta[:, 3:4]


THEOPHYLLINE_MLE = [0.4593, 1.0117, 3.4538, 0.4843, 0.4051, 0.0703, 0.0185]


def theophylline(*, start: tuple[float, ...] = (0.4644511, 1.0120469, 3.4599731, 0.481413121)) -> Bound:
    """12 subjects; the values to start from are those of a FOCEI fit."""
    table = pd.read_csv(reference("theophylline") / "theo_sd.csv")
    y, time, dose = [], [], []
    for _, rows in table.groupby("ID", sort=False):
        seen = rows[rows.EVID == 0]
        y.append(seen.DV)
        time.append(seen.TIME)
        dose.append(rows[rows.EVID == 1].AMT.sum())
    inputs = (jnp.asarray(np.array(time, float)), jnp.asarray(np.array(dose, float)))
    thetas = tuple(Theta(n, s) for n, s in zip(("tka", "tcl", "tv"), start[:3], strict=True))
    residual = Theta("variance", start[3], lower=0.0, scale="log", role="residual")
    blocks = tuple(
        OmegaBlock((n,), ((v,),))
        for n, v in zip(("ka", "cl", "v"), (0.404625391, 0.06879560489, 0.01922234872), strict=True)
    )
    return Bound(Population((*thetas, residual), blocks), (group_of(oral, np.array(y, float), inputs, 3),))


def bolus(inputs: Any, theta: Array, eta: Array) -> tuple[Array, Array]:
    """One compartment, boluses at times [B, D]; theta: cl, v, residual variance of 1 + eps."""
    time, when, amount = inputs
    cl, v = theta[:, 0] * jnp.exp(eta[:, 0]), theta[:, 1] * jnp.exp(eta[:, 1])
    since = time[:, :, None] - when[:, None, :]
    k = (cl / v)[:, None, None]
    given = jnp.where(since >= 0, amount[:, None, :] * jnp.exp(-k * jnp.where(since >= 0, since, 0.0)), 0.0)
    mean = jnp.sum(given, -1) / v[:, None]
    return mean, theta[:, 2:3] * mean**2


def phenobarbital() -> Bound:
    """59 neonates, the base model at the FOCEI estimates."""
    table = pd.read_csv(reference("pheno") / "pheno.dta", sep=r"\s+")
    subjects = [rows for _, rows in table.groupby("ID", sort=False)]
    records = max(int((rows.AMT == 0).sum()) for rows in subjects)
    doses = max(int((rows.AMT > 0).sum()) for rows in subjects)
    y, time, mask = np.zeros((59, records)), np.ones((59, records)) * 10.0, np.zeros((59, records), bool)
    when, amount = np.zeros((59, doses)), np.zeros((59, doses))
    for i, rows in enumerate(subjects):
        seen, given = rows[rows.AMT == 0], rows[rows.AMT > 0]
        y[i, : len(seen)], time[i, : len(seen)], mask[i, : len(seen)] = seen.DV, seen.TIME, True
        when[i, : len(given)], amount[i, : len(given)] = given.TIME, given.AMT
    inputs = tuple(jnp.asarray(v) for v in (time, when, amount))
    thetas = (
        Theta("cl", 0.00581756, lower=0.0, scale="log"),
        Theta("v", 1.44555, lower=0.0, scale="log"),
        Theta("variance", 0.0164177, lower=0.0, scale="log", role="residual"),
    )
    blocks = (OmegaBlock(("eta_cl",), ((0.111053,),)), OmegaBlock(("eta_v",), ((0.201526,),)))
    return Bound(Population(thetas, blocks), (group_of(bolus, y, inputs, 2, mask=mask),))


def decay_proportional(inputs: Any, theta: Array, eta: Array) -> tuple[Array, Array]:
    mean = 10.0 * jnp.exp(-theta[:, :1] * jnp.exp(eta[:, :1]) * inputs[0])
    return mean, theta[:, 1:2] * mean**2


def decay_additive(inputs: Any, theta: Array, eta: Array) -> tuple[Array, Array]:
    mean = 10.0 * jnp.exp(-theta[:, :1] * jnp.exp(eta[:, :1]) * inputs[0])
    return mean, theta[:, 1:2]


def decay_combined(inputs: Any, theta: Array, eta: Array) -> tuple[Array, Array]:
    mean = 10.0 * jnp.exp(-theta[:, :1] * jnp.exp(eta[:, :1]) * inputs[0])
    return mean, theta[:, 1:2] * (1.0 + mean**2)


WANG = {"prop": decay_proportional, "add": decay_additive, "add+prop combined2": decay_combined}


def wang(model: str) -> Bound:
    """10 subjects, two records each; everything as published."""
    table = pd.read_csv(reference("wang2007") / "wang2007.csv")
    y = table.Y.to_numpy().reshape(10, 2)
    inputs = (jnp.asarray(table.Time.to_numpy().reshape(10, 2).astype(float)),)
    thetas = (Theta("ke", 0.5, lower=0.0), Theta("variance", 0.1, lower=0.0, scale="log", role="residual"))
    population = Population(thetas, (OmegaBlock(("eta",), ((0.04,),)),))
    return Bound(population, (group_of(WANG[model], y, inputs, 1),))
