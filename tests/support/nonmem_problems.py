"""Published estimation problems as groups with closed-form predictions: no event engine, no problem file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
from references import REFERENCE

from ipex_pd.inference.group import Group, Prediction
from ipex_pd.inference.population import OmegaBlock, Population, Theta


@dataclass(frozen=True)
class Formula:
    """A predictor from a function (inputs, theta, eta) -> (mean, variance); compares by the function."""

    function: Callable[[Any, Any, Any], tuple[Any, Any]]

    def __call__(self, inputs, theta, eta):
        mean, variance = self.function(inputs, theta, eta)
        none = jnp.zeros_like(mean)
        return Prediction(mean, jnp.broadcast_to(variance, mean.shape), none, none)


def group(function, y, inputs, etas, mask=None, **changes) -> Group:
    """A group of measured records; `changes` replace its fields."""
    y = np.asarray(y, float)
    rows = len(y)
    fields = {
        "subjects": np.arange(rows),
        "y": y,
        "mask": np.ones(y.shape, bool) if mask is None else np.asarray(mask, bool),
        "cens": np.zeros(y.shape, int),
        "limit": np.zeros(y.shape),
        "floor": np.full(y.shape, -np.inf),
        "jacobian": np.zeros(y.shape),
        "direct": np.zeros(y.shape, bool),
        "partner": np.full(y.shape, -1),
        "eta_mask": np.ones((rows, etas), bool),
        "inputs": inputs,
        "predictor": Formula(function),
    }
    return Group(**{**fields, **changes})


def padded(frame: pd.DataFrame, columns: list[str], by: str = "ID") -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns of a table as [B, N] arrays by subject, filled up with zeros, and which entries are real."""
    parts = [part for _, part in frame.groupby(by, sort=False)]
    longest = max(len(p) for p in parts)
    arrays = {c: np.array([np.pad(p[c].to_numpy(float), (0, longest - len(p))) for p in parts]) for c in columns}
    mask = np.array([np.arange(longest) < len(p) for p in parts])
    return arrays, mask


def diagonal(**variances: float) -> tuple[OmegaBlock, ...]:
    return tuple(OmegaBlock((name,), ((value,),)) for name, value in variances.items())


@dataclass(frozen=True)
class Case:
    """A problem, and where its numbers in NONMEM's order stand in the search vector."""

    population: Population
    groups: tuple[Group, ...]

    def at(self, estimate: dict[str, float], thetas: int, variances: tuple[str, ...] = ()) -> np.ndarray:
        """The search vector of NONMEM's estimates: THETAs, the residual variances named, and OMEGA."""
        theta = [estimate[f"THETA{i + 1}"] for i in range(thetas)] + [estimate[name] for name in variances]
        size = self.population.layout.etas
        omega = np.zeros((size, size))
        for i in range(size):
            for j in range(i + 1):
                omega[i, j] = omega[j, i] = estimate[f"OMEGA({i + 1},{j + 1})"]
        return self.population.pack(np.array(theta), omega)


def results(name: str) -> Any:
    """The reference results of a folder."""
    return json.loads((REFERENCE / name / "reference.json").read_text())


# Wang 2007: f = 10 exp(-ke t), ke = 0.5 exp(eta), eta ~ N(0, 0.04); 10 subjects, times 0 and 1
# (Y. Wang, J Pharmacokinet Pharmacodyn 34 (2007) 575, the data as in nlmixr2est).
WANG_Y = np.array(
    [
        [10.68, 3.6837], [10.402, 6.454], [9.8814, 5.8565], [9.3408, 5.6209], [10.082, 6.7583],
        [9.8938, 6.5049], [9.8908, 6.9557], [10.234, 6.4488], [9.9882, 6.7112], [9.6736, 6.6402],
    ]
)  # fmt: skip
WANG_POPULATION = Population((Theta("ke", 0.5, 0.0), Theta("variance", 0.1, 0.0)), diagonal(eta_ke=0.04))


def wang_concentration(inputs, theta, eta):
    return 10.0 * jnp.exp(-theta[:, :1] * jnp.exp(eta[:, :1]) * inputs["t"])


def _wang_prop(i, t, e):
    f = wang_concentration(i, t, e)
    return f, t[:, 1:2] * f**2


def _wang_add(i, t, e):
    f = wang_concentration(i, t, e)
    return f, t[:, 1:2] * jnp.ones_like(f)


def _wang_combined2(i, t, e):
    f = wang_concentration(i, t, e)
    return f, t[:, 1:2] * (1.0 + f**2)


def _wang_lnorm(i, t, e):
    f = wang_concentration(i, t, e)
    return jnp.log(f), t[:, 1:2] * jnp.ones_like(f)


WANG_MODELS = {
    "prop": _wang_prop,
    "add": _wang_add,
    "add+prop combined2": _wang_combined2,
    "lnorm (additive on log)": _wang_lnorm,
}


def wang(model: str = "prop") -> Case:
    inputs = {"t": np.tile([0.0, 1.0], (10, 1))}
    logged = model.startswith("lnorm")
    changes = {"jacobian": 2.0 * np.log(WANG_Y)} if logged else {}
    y = np.log(WANG_Y) if logged else WANG_Y
    return Case(WANG_POPULATION, (group(WANG_MODELS[model], y, inputs, 1, **changes),))


def bolus_one(dose_time, dose, clearance, volume, t):
    """One compartment by superposition: doses [B, D], times [B, N]."""
    since = t[:, :, None] - dose_time[:, None, :]
    decay = jnp.exp(-(clearance / volume)[:, :, None] * jnp.maximum(since, 0.0))
    return jnp.sum(jnp.where(since >= 0, dose[:, None, :] * decay, 0.0), -1) / volume


def _pheno(inputs, theta, eta, clearance, volume):
    f = bolus_one(
        inputs["dose_time"], inputs["dose"], clearance * jnp.exp(eta[:, :1]), volume * jnp.exp(eta[:, 1:2]), inputs["t"]
    )
    f = jnp.where(inputs["t"] > 0, f, 1.0)
    return f, theta[:, -1:] * f**2


def _pheno_real(inputs, theta, eta):
    low = jnp.where(inputs["apgar"] < 5, 1.0 + theta[:, 2:3], 1.0)
    return _pheno(inputs, theta, eta, theta[:, :1] * inputs["weight"], theta[:, 1:2] * inputs["weight"] * low)


def _pheno_base(inputs, theta, eta):
    return _pheno(inputs, theta, eta, theta[:, :1], theta[:, 1:2])


@functools.cache
def pheno(model: str = "real") -> Case:
    """Grasela & Donn 1985, 59 neonates; starts of the control streams (first line of the .ext)."""
    frame = pd.read_csv(REFERENCE / "pheno" / "pheno.dta", sep=r"\s+")
    seen, mask = padded(frame[frame.AMT == 0], ["TIME", "DV"])
    given, real = padded(frame[frame.AMT > 0], ["TIME", "AMT"])
    first = frame.groupby("ID", sort=False).first()
    inputs = {
        "t": seen["TIME"],
        "dose_time": np.where(real, given["TIME"], 1e9),
        "dose": given["AMT"],
        "weight": first[["WGT"]].to_numpy(float),
        "apgar": first[["APGR"]].to_numpy(float),
    }
    if model == "real":
        thetas = (Theta("cl", 4.69307e-3, 0.0), Theta("v", 1.00916, 0.0), Theta("low_apgar", 0.1, -0.99))
        population = Population(
            (*thetas, Theta("variance", 1.30865e-2, 0.0)), diagonal(eta_cl=3.09626e-2, eta_v=3.1128e-2)
        )
        return Case(population, (group(_pheno_real, seen["DV"], inputs, 2, mask),))
    starts = {"base": (4.69307e-3, 1.00916, 1.3241e-2, 3.09626e-2, 3.1128e-2), "FO": (1.05e-2, 1.05, 4e-2, 0.4, 0.25)}
    start = starts[model]
    population = Population(
        (Theta("cl", start[0], 0.0), Theta("v", start[1], 0.0), Theta("variance", start[2], 0.0)),
        diagonal(eta_cl=start[3], eta_v=start[4]),
    )
    return Case(population, (group(_pheno_base, seen["DV"], inputs, 2, mask),))


def oral_one(dose, absorption, elimination, volume, t):
    amount = dose * absorption / (absorption - elimination)
    return amount * (jnp.exp(-elimination * t) - jnp.exp(-absorption * t)) / volume


def _theophylline(inputs, theta, eta):
    ka, cl, v = (jnp.exp(theta[:, k : k + 1] + eta[:, k : k + 1]) for k in range(3))
    f = oral_one(inputs["dose"], ka, cl / v, v, inputs["t"])
    return f, theta[:, 3:4] ** 2 * jnp.ones_like(f)


@functools.cache
def theophylline() -> Case:
    """The nlmixr2 model: ka, cl, v log-normal, additive error; 12 subjects, the dose-time record included."""
    frame = pd.read_csv(REFERENCE / "theophylline" / "theo_sd.csv")
    seen, mask = padded(frame[frame.EVID == 0], ["TIME", "DV"])
    dose = frame[frame.EVID == 1][["AMT"]].to_numpy(float)
    population = Population(
        (Theta("tka", 0.45), Theta("tcl", 1.0), Theta("tv", 3.45), Theta("add_sd", 0.7, 0.0)),
        diagonal(eta_ka=0.6, eta_cl=0.3, eta_v=0.1),
    )
    return Case(population, (group(_theophylline, seen["DV"], {"t": seen["TIME"], "dose": dose}, 3, mask),))


def _control5(inputs, theta, eta):
    ka, k = theta[:, :1] + eta[:, :1], theta[:, 1:2] + eta[:, 1:2]
    weight = inputs["weight"]
    scale = (theta[:, 2:3] * weight + eta[:, 2:3]) / k / weight
    f = oral_one(inputs["dose"], ka, k, scale, inputs["t"])
    return f, theta[:, 3:4] * jnp.ones_like(f)


@functools.cache
def control5() -> Case:
    """NONMEM's CONTROL5: KA and K additive, clearance by weight, full OMEGA, FO."""
    frame = pd.read_csv(REFERENCE / "theophylline" / "theopp_nonmem.csv", na_values=".")
    seen, mask = padded(frame[frame.AMT.isna()], ["TIME", "DV"])
    first = frame.groupby("ID", sort=False).first()
    inputs = {"t": seen["TIME"], "dose": first[["AMT"]].to_numpy(float), "weight": first[["WT"]].to_numpy(float)}
    omega = ((6.0, 0.005, 0.3), (0.005, 2e-4, 0.006), (0.3, 0.006, 4.0))
    population = Population(
        (Theta("ka", 3.0, 0.1, 5.0), Theta("k", 0.08, 0.008, 0.5), Theta("cl", 0.04, 0.004, 0.9), Theta("s", 0.4, 0.0)),
        (OmegaBlock(("eta_ka", "eta_k", "eta_cl"), omega),),
    )
    return Case(population, (group(_control5, seen["DV"], inputs, 3, mask),))


def bolus_two(dose, cl, v1, q, v2, t):
    k10, k12, k21 = cl / v1, q / v1, q / v2
    total = k10 + k12 + k21
    root = jnp.sqrt(total**2 - 4.0 * k10 * k21)
    fast, slow = 0.5 * (total + root), 0.5 * (total - root)
    sum_ = (fast - k21) * jnp.exp(-fast * t) + (k21 - slow) * jnp.exp(-slow * t)
    return dose / v1 * sum_ / (fast - slow)


def _two(inputs, theta, eta):
    v1, cl, v2, q = (theta[:, k : k + 1] * jnp.exp(eta[:, k : k + 1]) for k in range(4))
    f = bolus_two(inputs["dose"], cl, v1, q, v2, inputs["t"])
    return f, theta[:, 4:5] * f**2


@functools.cache
def two_compartments() -> Case:
    """Bauer's tutorial problem 402: two compartments, intravenous bolus."""
    frame = pd.read_csv(REFERENCE / "2cpt_iv_402" / "402.csv", skiprows=1, na_values=".")
    frame = frame[frame.C != "C"].astype({"ID": float, "TIME": float, "DV": float, "AMT": float})
    seen, mask = padded(frame[frame.AMT.isna()], ["TIME", "DV"])
    dose = frame[frame.AMT > 0][["AMT"]].to_numpy(float)
    names = ("v1", "cl", "v2", "q", "variance")
    starts = (9.8, 3.7, 8.6, 31.0, 0.02)
    population = Population(
        tuple(Theta(n, s, 0.0) for n, s in zip(names, starts, strict=True)),
        diagonal(eta_v1=0.02, eta_cl=0.02, eta_v2=0.02, eta_q=0.02),
    )
    return Case(population, (group(_two, seen["DV"], {"t": seen["TIME"], "dose": dose}, 4, mask),))


def _acop(inputs, theta, eta):
    cl = theta[:, 1:2] * (inputs["weight"] / 70.0) ** 0.75 * jnp.exp(eta[:, :1])
    v = theta[:, 2:3] * jnp.exp(eta[:, 1:2])
    f = oral_one(inputs["dose"], theta[:, :1], cl / v, v, jnp.maximum(inputs["t"], 0.0))
    f = jnp.where(inputs["t"] > 0, f, 0.0)
    sd = f * theta[:, 3:4] + theta[:, 4:5]
    return f, sd**2


@functools.cache
def acop() -> Case:
    """bbr's acop: one compartment, oral, combined error; the record at time 0 stands before the dose, and
    the first subject was given none."""
    frame = pd.read_csv(REFERENCE / "acop_mit" / "acop.csv", na_values=".")
    frame = frame[frame.id != 2]
    seen, mask = padded(frame[frame.evid == 0], ["time", "dv", "num"], by="id")
    first = frame.assign(amt=frame.amt.fillna(0.0)).groupby("id", sort=False)
    dose, weight = first[["amt"]].sum().to_numpy(float), first[["wt"]].first().to_numpy(float)
    population = Population(
        (Theta("ka", 2.0, 0.0), Theta("cl", 3.0, 0.0), Theta("v", 10.0, 0.0), Theta("prop", 0.02), Theta("add", 1.0)),
        diagonal(eta_cl=0.05, eta_v=0.2),
    )
    inputs = {"t": seen["time"], "dose": dose, "weight": weight}
    return Case(population, (group(_acop, seen["dv"], inputs, 2, mask),))
