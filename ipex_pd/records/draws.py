"""Draws of parameters: one small record for whatever uncertainty was found, that planning can read as an ensemble."""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ipex_pd.errors import RecordError, UsageError, nearest_hint

_SCHEMA = 1
_HEAD = ("kind", "weight")


@dataclass(frozen=True, eq=False)
class ParameterDraws:
    """K draws of the natural values of parameters.

    Attributes:
        names: of the n values, as `Population.names` has them; fixed ones are among them.
        values: [K, n].
        weights: [K] not negative, with sum 1.
        kind: where they come from: `covariance`, `bootstrap`, `sir`, `posterior`, ...
    """

    names: tuple[str, ...]
    values: np.ndarray
    weights: np.ndarray
    kind: str

    def __post_init__(self) -> None:
        values, weights = np.array(self.values, float), np.array(self.weights, float)
        if len(set(self.names)) != len(self.names):
            raise RecordError("two parameters of the draws have one name", rule="A name stands for one parameter")
        if values.shape != (len(weights), len(self.names)) or not len(weights):
            raise RecordError(
                f"{values.shape} values, {len(weights)} weights and {len(self.names)} names do not fit together",
                rule="There is a weight for every draw and a name for every value, and at least one draw",
            )
        if not np.isfinite(values).all():
            raise RecordError("a draw is not finite", rule="Draws without a value are left out before, and counted")
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
            raise RecordError("a weight is negative or not finite, or all are zero")
        weights = weights / weights.sum()
        for array in (values, weights):
            array.setflags(write=False)
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "weights", weights)

    def __len__(self) -> int:
        return len(self.weights)

    def __getitem__(self, name: str) -> np.ndarray:
        """[K] values of one parameter. Raises: UsageError."""
        if name not in self.names:
            raise UsageError(f"`{name}` is not a parameter of the draws", rule=nearest_hint(name, self.names))
        values: np.ndarray = self.values[:, self.names.index(name)]
        return values

    @property
    def effective(self) -> float:
        """The effective number of draws: 1 over the sum of squared weights."""
        return float(1.0 / np.sum(self.weights**2))

    def table(self, level: float = 0.95) -> pd.DataFrame:
        """One row a parameter: mean, sd, median and the interval between quantiles."""
        mean = self.weights @ self.values
        sd = np.sqrt(np.maximum(self.weights @ (self.values - mean) ** 2, 0.0))
        tail = 0.5 * (1.0 - level)
        low, median, high = weighted_quantiles(self.values, self.weights, (tail, 0.5, 1.0 - tail))
        found = {"parameter": self.names, "mean": mean, "sd": sd, "median": median, "low": low, "high": high}
        return pd.DataFrame(found)

    def sample(self, count: int, seed: int) -> ParameterDraws:
        """`count` draws with equal weights: all different where the weights are equal and there are enough."""
        random = np.random.default_rng(seed)
        equal = bool(np.allclose(self.weights, self.weights[0], rtol=1e-9))
        rows = random.choice(len(self), count, replace=not (equal and count <= len(self)), p=self.weights)
        return ParameterDraws(self.names, self.values[rows], np.ones(count), self.kind)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write a `.json` or `.csv` file (a row a draw: kind, weight, then the parameters); digits are kept."""
        place = Path(path)
        if _format(place) == "json":
            whole = {
                "schema": _SCHEMA,
                "kind": self.kind,
                "names": list(self.names),
                "weights": self.weights.tolist(),
                "values": self.values.tolist(),
            }
            place.write_text(json.dumps(whole, allow_nan=False), encoding="utf-8")
            return
        with place.open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow([*_HEAD, *self.names])
            for weight, values in zip(self.weights.tolist(), self.values.tolist(), strict=True):
                rows.writerow([self.kind, repr(weight), *map(repr, values)])


def load_draws(path: str | os.PathLike[str]) -> ParameterDraws:
    """Read what `ParameterDraws.save` wrote.

    Raises:
        RecordError: no such file, or one that does not hold draws.
    """
    place = Path(path)
    kind = _format(place)
    try:
        text = place.read_text(encoding="utf-8")
        return _from_json(text) if kind == "json" else _from_csv(text)
    except OSError as error:
        raise RecordError("the draws cannot be read", where=str(place), rule=error.strerror or "") from error
    except (KeyError, ValueError, TypeError) as error:
        raise RecordError(
            f"this file does not hold draws of parameters ({error})",
            where=str(place),
            cure="Write it with `ParameterDraws.save`",
        ) from error


def _format(place: Path) -> str:
    kind = place.suffix.lower().removeprefix(".")
    if kind not in ("json", "csv"):
        raise UsageError(f"draws are kept as .json or .csv, not as `{place.name}`", cure="Change the end of the name")
    return kind


def _from_json(text: str) -> ParameterDraws:
    whole = json.loads(text)
    if whole["schema"] != _SCHEMA:
        raise ValueError(f"schema {whole['schema']}, not {_SCHEMA}")
    values = np.array(whole["values"], float)
    return ParameterDraws(tuple(whole["names"]), values, np.array(whole["weights"], float), str(whole["kind"]))


def _from_csv(text: str) -> ParameterDraws:
    head, *rows = list(csv.reader(text.splitlines()))
    kinds = {row[0] for row in rows}
    if tuple(head[:2]) != _HEAD or len(kinds) != 1:
        raise ValueError("the columns are kind, weight and the parameters, and all rows are of one kind")
    numbers = np.array([[float(cell) for cell in row[1:]] for row in rows])
    return ParameterDraws(tuple(head[2:]), numbers[:, 1:], numbers[:, 0], kinds.pop())


def weighted_quantiles(values: np.ndarray, weights: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """[len(shares), ...] quantiles of values [K, ...].

    With equal weights those of `numpy.quantile`; else the smallest value up to which the weights reach the share, so
    that a draw of no weight counts for nothing.
    """
    if np.allclose(weights, weights[0], rtol=1e-9, atol=0.0):
        return np.asarray(np.quantile(values, shares, axis=0))
    flat = values.reshape(len(weights), -1)
    order = np.argsort(flat, axis=0, kind="stable")
    reached = np.cumsum(weights[order], axis=0) / weights.sum()
    rows = [np.minimum((reached < share - 1e-12).sum(0), len(weights) - 1) for share in shares]
    found = [flat[order[row, np.arange(flat.shape[1])], np.arange(flat.shape[1])] for row in rows]
    return np.array(found).reshape(len(shares), *values.shape[1:])
