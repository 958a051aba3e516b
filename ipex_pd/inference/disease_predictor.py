"""The predictor of a group of children: population values and random effects -> what is measured in each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp

from ipex_pd.inference.disease_endpoints import Endpoint, Judged
from ipex_pd.inference.group import Prediction
from ipex_pd.numerics.formulas import compile_formula
from ipex_pd.numerics.march import Course, march, observe
from ipex_pd.numerics.march_forward import march_forward
from ipex_pd.numerics.schedule import System
from ipex_pd.records.cohort_problems import SHIPPED
from ipex_pd.records.formulas import Formula

Array = Any
Values = Mapping[str, Array]

SURVIVED = "cumulative_hazard_"


def word(name: str) -> str:
    """A parameter as formulas name it: `tacrolimus_clearance` for `tacrolimus.clearance`."""
    return name.replace(".", "_")


@dataclass(frozen=True)
class DiseasePredictor:
    """Static part of the predictor; equal ones compute the same.

    Attributes:
        birth: the march from birth to day 0, None when every child starts at birth.
        course: the march from day 0 on.
        thetas, etas: names of the columns of theta and eta.
        individual: name -> formula, in order.
        healthy: class parameters of a healthy child, for children whose course before day 0 was healthy.
        endpoints: what is predicted.
    """

    birth: Course | None
    course: Course
    thetas: tuple[str, ...]
    etas: tuple[str, ...]
    individual: tuple[tuple[str, Formula], ...]
    healthy: tuple[tuple[str, float], ...]
    endpoints: tuple[Endpoint, ...]

    @property
    def system(self) -> System:
        """Disease, drugs and body."""
        return self.course.system

    def __call__(self, inputs: Any, theta: Array, eta: Array) -> Prediction:
        """Predictions [B, N] of the records of `inputs`, row by row."""
        values, env = self.values(inputs, theta, eta)
        seen = self.seen(inputs, values, env)
        judged = [Judged.judge(endpoint, seen) for endpoint in self.endpoints]
        return self._records(inputs, judged, inputs["days"].T.shape)

    def means(self, inputs: Any, values: Values, env: Values) -> Array:
        """Predictions [B, N] on the fitted scale alone, from all parameters and what else formulas name, each [B].

        Only differentiated forward, if at all: the march then ends where the longest of the children's ends.
        """
        seen = self.seen(inputs, values, env, forward=True)
        mean = jnp.zeros(inputs["endpoint"].shape)
        shape = inputs["days"].T.shape
        for k, endpoint in enumerate(self.endpoints):
            raw = jnp.broadcast_to(compile_formula(endpoint.prediction)(seen), shape)
            picked = jnp.take_along_axis(raw.T, inputs["visit"], axis=1)
            mean = jnp.where(inputs["endpoint"] == k, Judged(endpoint, picked, {}, jnp.zeros(())).mean, mean)
        return mean

    def seen(self, inputs: Any, values: Values, env: Values, *, forward: bool = False) -> dict[str, Array]:
        """Every name of endpoints' formulas on the days of the children, [V, B]."""
        x, levels = self.states(inputs, values, forward=forward)
        ages = inputs["days"].T + inputs["age"]
        return {**_wide(env, ages), **observe(self.system, values, ages, x, levels), "time": inputs["days"].T}

    def values(self, inputs: Any, theta: Array, eta: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        """All parameters of the children, name -> [B], and what formulas know of them besides."""
        shipped = inputs["shipped"]
        plain = {word(name): name for name in shipped}
        env = {name: theta[:, i] for i, name in enumerate(self.thetas)}
        env |= {name: eta[:, i] for i, name in enumerate(self.etas)}
        env |= {"age": inputs["age"]} | {f"{SHIPPED}{word(n)}": v for n, v in shipped.items()}
        for name, formula in self.individual:
            env[name] = jnp.broadcast_to(compile_formula(formula)(env), inputs["age"].shape)
        own = {plain[name]: env[name] for name, _ in self.individual if name in plain}
        return {**shipped, **own}, env

    def states(self, inputs: Any, values: Values, *, forward: bool = False) -> tuple[Array, Array]:
        """States [V, S, B] and central concentrations [V, D, B] [mg/L] on the days of the children."""
        go = march_forward if forward else march
        start, early = self._start(inputs, values, go)
        x, levels = go(self.course, inputs["slots"], inputs["places"], values, age=inputs["age"], x=start)
        if early is not None:
            before = (inputs["days"] < 0).T[:, None, :]
            x = jnp.where(before, early, x)
            levels = jnp.where(before, 0.0, levels)
        return x, levels

    def _start(self, inputs: Any, values: Values, go: Callable[..., tuple[Array, Array]]) -> tuple[Array, Array | None]:
        """States on day 0 [S, B], and on the days before it [V, S, B]."""
        model, zero = self.system.model, jnp.zeros_like(inputs["age"])
        healthy = {n: jnp.where(inputs["ill"], values[n], v) for n, v in self.healthy}
        lived = {**values, **healthy}
        born = model.initial(zero, lived)
        if self.birth is None:
            last, early = born, None
        else:
            # the last column of places is day 0
            course, _ = go(self.birth, inputs["birth"], inputs["birth_places"], lived, age=zero, x=born)
            last, early = course[-1], course[:-1]
        rows = []
        for i, name in enumerate(model.states):
            row = jnp.zeros_like(last[i]) if name.startswith(SURVIVED) else last[i]
            stated = inputs["stated"].get(name)
            if stated is not None:
                row = jnp.where(jnp.isnan(stated), row, jnp.nan_to_num(stated))
            rows.append(row)
        return jnp.stack(rows), early

    def _records(self, inputs: Any, judged: list[Judged], shape: tuple[int, ...]) -> Prediction:
        which, visit = inputs["endpoint"], inputs["visit"]
        mean = minus2ll = jnp.zeros(which.shape)
        variance = jnp.ones(which.shape)

        def pick(values: Array) -> Array:
            return jnp.take_along_axis(jnp.broadcast_to(values, shape).T, visit, axis=1)

        for k, found in enumerate(judged):
            here, read = which == k, found.read(pick)
            if found.endpoint.kind == "value":
                mean, variance = jnp.where(here, read.mean, mean), jnp.where(here, read.variance, variance)
            else:
                mean = jnp.where(here, read.raw, mean)
                minus2ll = jnp.where(here, read.minus2ll(inputs["y"], inputs["cens"]), minus2ll)
        return Prediction(mean, variance, minus2ll, jnp.zeros(which.shape))


def _wide(env: Values, ages: Array) -> dict[str, Array]:
    return {name: jnp.broadcast_to(value, ages.shape) for name, value in env.items()}
