"""A small disease and drugs with invented numbers, and its solution by SciPy, written apart from the package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

from ipex_pd.equations.model import Model
from ipex_pd.equations.symbols import covariate, effect, output, parameter, potency, state
from ipex_pd.numerics.compiler import CompiledModel, compile_model
from ipex_pd.numerics.schedule import DrugKinetics, Order, Schedule, System

EFFECTOR = state("toy_effector", "cells/uL", "effector cells of the toy")
INJURY = state("toy_injury", "fraction", "injury of the toy")
HOST = state("toy_host", "fraction", "host stem cells of the toy")
DONOR = state("toy_donor", "fraction", "donor stem cells of the toy")
K_IN = parameter("toy_k_in", "cells/uL/day", "effector production")
K_OUT = parameter("toy_k_out", "1/day", "effector loss")
HARM = parameter("toy_harm", "1/day", "injury per effector")
REPAIR = parameter("toy_repair", "1/day", "repair")
GROWTH = parameter("toy_growth", "1/day", "stem cell growth")
GRAFT = covariate("toy_graft", "fraction", "donor stem cells given")
SURVIVING = covariate("toy_surviving", "fraction", "host stem cells that survive")
CALCINEURIN = potency("calcineurin", "calcineurin inhibition")
STEROID = potency("steroid", "steroid action")
CALCINEURIN_EFFECT = effect("toy_calcineurin_effect", "calcineurin effect of the toy")
STEROID_EFFECT = effect("toy_steroid_effect", "steroid effect of the toy")

MODEL = Model(
    "toy",
    rates={
        EFFECTOR: K_IN * (1 - CALCINEURIN_EFFECT) * (1 + INJURY) - K_OUT * EFFECTOR * (1 + STEROID_EFFECT),
        INJURY: HARM * EFFECTOR / (10 + EFFECTOR) * (1 - INJURY) - REPAIR * INJURY,
        HOST: GROWTH * HOST * (1 - HOST - DONOR),
        DONOR: GROWTH * DONOR * (1 - HOST - DONOR),
    },
    initial={EFFECTOR: K_IN / K_OUT, INJURY: 0.1, HOST: 1.0, DONOR: 0.0},
    effects={CALCINEURIN_EFFECT: CALCINEURIN / (1 + CALCINEURIN), STEROID_EFFECT: STEROID / (1 + STEROID)},
    outputs={output("toy_chimerism", "fraction", "donor share of the toy"): DONOR / (HOST + DONOR)},
    maps={"transplant": {HOST: HOST * SURVIVING, DONOR: DONOR + GRAFT}},
)

THETA = {
    "toy_k_in": 30.0,
    "toy_k_out": 1.5,
    "toy_harm": 0.8,
    "toy_repair": 0.3,
    "toy_growth": 0.2,
    "tacrolimus.clearance": 12.0 * 24,
    "tacrolimus.lag": 0.37 / 24,
    "prednisolone.clearance": 8.0 * 24,
    "start_weight": 10.0,
    "weight_gain": 0.0,
}


def tacrolimus_values(theta: Any, covariates: Any) -> dict[str, Any]:
    one = jnp.ones_like(theta["tacrolimus.clearance"])
    return {
        "clearance": theta["tacrolimus.clearance"] * (covariates["weight"] / 10.0) ** 0.75,
        "volume_central": 60.0 * covariates["weight"] / 10.0,
        "intercompartmental_clearance_1": 33.0 * 24 * one,
        "volume_peripheral_1": 430.0 * one,
        "absorption_rate": 0.56 * 24 * one,
        "lag": theta["tacrolimus.lag"],
    }


def prednisolone_values(theta: Any, covariates: Any) -> dict[str, Any]:
    del covariates
    one = jnp.ones_like(theta["prednisolone.clearance"])
    return {"clearance": theta["prednisolone.clearance"], "volume_central": 20.0 * one, "absorption_rate": 24.0 * one}


def complete(theta: Any, covariates: Any, amount: Any, daily: Any) -> Any:
    del theta, covariates, daily
    return jnp.ones_like(amount)


def less_with_prednisolone(theta: Any, covariates: Any, amount: Any, daily: Any) -> Any:
    del theta, covariates
    return 1.0 / (1.0 + daily["prednisolone"] / 20.0) + 0.0 * amount


def tacrolimus_level(theta: Any, covariates: Any, c: Any) -> dict[str, Any]:
    del theta, covariates
    return {"tacrolimus": c}


def prednisolone_level(theta: Any, covariates: Any, c: Any) -> dict[str, Any]:
    del theta, covariates
    return {"prednisolone": c}


def tacrolimus_potency(theta: Any, c: Any) -> dict[str, Any]:
    del theta
    return {"calcineurin": c / 0.008}


def prednisolone_potency(theta: Any, c: Any) -> dict[str, Any]:
    del theta
    return {"steroid": c / 0.1}


def body(age: Any, x: Any, theta: Any) -> dict[str, Any]:
    del x
    weight = theta["start_weight"] + theta["weight_gain"] * (age - 365.0)
    return {"weight": weight, "bsa": (4 * weight + 7) / (weight + 90)}


TACROLIMUS = DrugKinetics("tacrolimus", 2, True, tacrolimus_values, complete, tacrolimus_level, tacrolimus_potency)
PREDNISOLONE = DrugKinetics(
    "prednisolone", 1, True, prednisolone_values, complete, prednisolone_level, prednisolone_potency
)


def toy_model() -> CompiledModel:
    return compile_model(MODEL)


def toy_system(*drugs: DrugKinetics) -> System:
    return System(toy_model(), drugs, body)


def schedule_of(orders: tuple[Order, ...], rows: list[tuple[Any, ...]], **more: Any) -> Schedule:
    """Rows are (time, order, amount[, duration[, per_day[, steady-state interval]]])."""
    table = [(*row, *(0.0, 0.0, 0.0)[len(row) - 3 :]) for row in rows]
    columns = list(zip(*table, strict=True)) or [()] * 6
    return Schedule(
        orders,
        np.array(columns[0], float),
        np.array(columns[1], int),
        np.array(columns[2], float),
        np.array(columns[3], float),
        np.array(columns[4], float),
        np.array(columns[5], float),
        **more,
    )


def twice_daily(days: float, amount: float = 1.0) -> Schedule:
    return schedule_of((Order("tacrolimus"),), [(t, 0, amount, 0.0, 2.0) for t in np.arange(0.0, days, 0.5)])


def compartments(values: dict[str, float], n: int) -> np.ndarray:
    """Matrix [1 + n, 1 + n] of depot and disposition, [1/day]."""
    matrix = np.zeros((1 + n, 1 + n))
    ka, volume = values.get("absorption_rate", 0.0), values["volume_central"]
    matrix[0, 0], matrix[1, 0], matrix[1, 1] = -ka, ka, -values["clearance"] / volume
    for i in range(1, n):
        q, peripheral = values[f"intercompartmental_clearance_{i}"], values[f"volume_peripheral_{i}"]
        matrix[1, 1] -= q / volume
        matrix[1 + i, 1] = q / volume
        matrix[1, 1 + i], matrix[1 + i, 1 + i] = q / peripheral, -q / peripheral
    return matrix


def by_scipy(
    theta: dict[str, float],
    doses: list[tuple[float, int, float]],
    infusions: list[tuple[float, float, int, float]],
    grafts: list[tuple[float, float, float]],
    outputs: np.ndarray,
    *,
    rtol: float = 1e-11,
) -> np.ndarray:
    """[T, 4 + 5] of the toy under tacrolimus (compartments 4..6) and prednisolone (7..8), stopped at every event.

    Doses are (time of arrival, compartment, mg), infusions (start, stop, compartment, mg/day), grafts (time, graft,
    surviving); weight stays 10 kg.
    """
    tac = compartments(
        {
            "clearance": theta["tacrolimus.clearance"],
            "volume_central": 60.0,
            "absorption_rate": 0.56 * 24,
            "intercompartmental_clearance_1": 33.0 * 24,
            "volume_peripheral_1": 430.0,
        },
        2,
    )
    pred = compartments(
        {"clearance": theta["prednisolone.clearance"], "volume_central": 20.0, "absorption_rate": 24.0}, 1
    )
    flow = np.zeros(9)

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        del t
        s, q = y[5] / 60.0 / 0.008, y[8] / 20.0 / 0.1
        e, r = s / (1 + s), q / (1 + q)
        effector, injury, host, donor = y[:4]
        room = theta["toy_growth"] * (1 - host - donor)
        disease = [
            theta["toy_k_in"] * (1 - e) * (1 + injury) - theta["toy_k_out"] * effector * (1 + r),
            theta["toy_harm"] * effector / (10 + effector) * (1 - injury) - theta["toy_repair"] * injury,
            room * host,
            room * donor,
        ]
        return np.concatenate([disease, tac @ y[4:7], pred @ y[7:9]]) + flow

    changes: list[tuple[float, int, Callable[[np.ndarray], None]]] = []
    for time, place, mg in doses:
        changes.append((time, 3, lambda y, place=place, mg=mg: _add(y, place, mg)))
    for begin, end, place, rate in infusions:
        changes.append((begin, 2, lambda y, place=place, rate=rate: _add(flow, place, rate)))
        changes.append((end, 2, lambda y, place=place, rate=rate: _add(flow, place, -rate)))
    for time, graft, surviving in grafts:
        changes.append((time, 1, lambda y, graft=graft, surviving=surviving: _transplant(y, graft, surviving)))
    y = np.array([theta["toy_k_in"] / theta["toy_k_out"], 0.1, 1.0, 0.0, 0, 0, 0, 0, 0], float)
    kept = np.zeros((len(outputs), 9))
    changes += [(t, 0, lambda y, k=k: kept.__setitem__(k, y)) for k, t in enumerate(outputs)]
    now = 0.0
    for time, _, change in sorted(changes, key=lambda c: (round(c[0], 9), c[1])):
        if time > now + 1e-12:
            y = solve_ivp(slope, (now, time), y, method="DOP853", rtol=rtol, atol=1e-13).y[:, -1]
            now = time
        change(y)
    return kept


def _add(y: np.ndarray, place: int, amount: float) -> None:
    y[place] += amount


def _transplant(y: np.ndarray, graft: float, surviving: float) -> None:
    y[2] *= surviving
    y[3] += graft


def relative(a: np.ndarray, b: np.ndarray) -> float:
    """Largest relative difference over time and states [T, S, ...]."""
    scale = np.maximum(np.abs(b), 1e-3 * np.abs(b).max(axis=0)) + 1e-12
    return float((np.abs(a - b) / scale).max())
