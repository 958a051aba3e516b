"""What is estimated, and its search scale: typical values, covariances of random effects, and priors.

The whole search vector w holds every number, fixed or not, so that fixing one changes no program: the typical values
(log or logit by their bounds), then for every block of random effects the log standard deviations and the entries of
the unit lower triangular factor below them. With L = diag(sd) C, the covariance is L L'.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, field
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.errors import RecordError
from ipex_pd.numerics.transforms import Transform

Array = Any
Role = Literal["structural", "covariate", "residual"]
Scale = Literal["natural", "log", "logit"]


@dataclass(frozen=True)
class Prior:
    """What is known of a typical value before the data.

    Attributes:
        distribution: `normal`, or `log_normal` (mean and sd are those of the logarithm).
        mean, sd: of the value, or of its logarithm.
    """

    distribution: Literal["normal", "log_normal"]
    mean: float
    sd: float

    def __post_init__(self) -> None:
        if not self.sd > 0:
            raise RecordError(f"the sd {self.sd:g} of a prior is not positive", rule="A prior has a positive sd")

    def minus2log(self, value: Array) -> Array:
        """-2 log density, without its constant."""
        if self.distribution == "normal":
            return ((value - self.mean) / self.sd) ** 2
        return ((jnp.log(value) - self.mean) / self.sd) ** 2 + 2.0 * jnp.log(value)


@dataclass(frozen=True)
class InverseWishart:
    """What is known of a covariance before the data.

    ```
    density proportional to |Omega|^-((degrees + k + 1)/2) exp(-tr(scale Omega^-1)/2)
    ```

    Attributes:
        degrees: degrees of freedom, more than k - 1.
        scale: k rows of k numbers.
    """

    degrees: float
    scale: tuple[tuple[float, ...], ...]

    def minus2log(self, factor: Array) -> Array:
        """-2 log density, without its constant, at the covariance L L' of a lower factor [k, k]."""
        size = len(self.scale)
        inverse = jnp.linalg.solve(factor @ factor.T, jnp.array(self.scale))
        log_det = 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor)))
        return (self.degrees + size + 1) * log_det + jnp.trace(inverse)


@dataclass(frozen=True)
class Theta:
    """One typical value.

    Attributes:
        name: the user's name.
        start: where the search starts, or the value when fixed [unit].
        lower, upper: bounds, infinite where open.
        fixed: not estimated.
        scale: `log` and `logit` say how its uncertainty is told (interval and RSE); a log value is kept positive.
        prior, unit, meaning: as written.
        role: what it is for.
        sigma: whether it is the variance of a residual error by itself: a SIGMA in NONMEM's names, not a THETA.
    """

    name: str
    start: float
    lower: float = -math.inf
    upper: float = math.inf
    fixed: bool = False
    scale: Scale = "natural"
    prior: Prior | None = None
    unit: str = "1"
    meaning: str = ""
    role: Role = "structural"
    sigma: bool = False

    def __post_init__(self) -> None:
        if not self.fixed and not self.lower < self.start < self.upper:
            raise RecordError(
                f"`{self.name}` starts at {self.start:g}, not between {self.lower:g} and {self.upper:g}",
                rule="A search starts strictly inside the bounds",
                cure="Move the start or the bound, or fix the value",
            )
        if self.scale == "log" and (self.start <= 0 or (self.lower < 0 and math.isfinite(self.lower))):
            raise RecordError(f"`{self.name}` is on a log scale and not positive", rule="A log scale needs a value > 0")
        if self.scale == "logit" and not (math.isfinite(self.lower) and math.isfinite(self.upper)):
            raise RecordError(f"`{self.name}` is on a logit scale and not between two bounds")

    @property
    def search_bounds(self) -> tuple[float, float]:
        """Bounds of the search transform: none for a fixed value that does not lie strictly inside them."""
        low = max(self.lower, 0.0) if self.scale == "log" else self.lower
        return (low, self.upper) if low < self.start < self.upper else (-math.inf, math.inf)


@dataclass(frozen=True)
class OmegaBlock:
    """Random effects with a full covariance among them.

    Attributes:
        names: the user's names of the k effects.
        start: k rows of k numbers, the covariance to start from.
        fixed: not estimated.
        occasions: 0: between subjects; n: drawn anew on each of n occasions with the same covariance.
        prior: of the covariance.
    """

    names: tuple[str, ...]
    start: tuple[tuple[float, ...], ...]
    fixed: bool = False
    occasions: int = 0
    prior: InverseWishart | None = None

    def __post_init__(self) -> None:
        matrix = np.array(self.start, float)
        where = ", ".join(self.names)
        if matrix.shape != (len(self.names), len(self.names)):
            raise RecordError(f"the covariance of {where} is not {len(self.names)} by {len(self.names)}")
        if not np.allclose(matrix, matrix.T, rtol=1e-9, atol=0):
            raise RecordError(f"the covariance of {where} is not symmetric")
        zero = self.fixed and not matrix.any()
        if not zero and not (np.isfinite(matrix).all() and np.linalg.eigvalsh(matrix).min() > 0):
            raise RecordError(
                f"the covariance of {where} is not positive definite",
                rule="A covariance to start from is positive definite; a fixed one may also be all zero",
            )

    @property
    def search(self) -> np.ndarray:
        """[k + k(k-1)/2] log sd, then the factor below the diagonal, row by row."""
        matrix = np.array(self.start, float)
        size = len(self.names)
        if not matrix.any():
            return np.concatenate([np.full(size, -np.inf), np.zeros(size * (size - 1) // 2)])
        factor = np.linalg.cholesky(matrix)
        sd = np.diag(factor)
        return np.concatenate([np.log(sd), (factor / sd[:, None])[np.tril_indices(size, -1)]])


@dataclass(frozen=True)
class Layout:
    """How a search vector is read; two populations that differ in values only have equal layouts.

    Attributes:
        transform: of the typical values.
        blocks: size and repetitions of every block of random effects.
    """

    transform: Transform
    blocks: tuple[tuple[int, int], ...]

    @property
    def thetas(self) -> int:
        """Number of typical values."""
        return len(self.transform.lower)

    @property
    def size(self) -> int:
        """Length of the search vector."""
        return self.thetas + sum(k * (k + 1) // 2 for k, _ in self.blocks)

    @property
    def etas(self) -> int:
        """Number of random effects of one subject."""
        return sum(k * repeats for k, repeats in self.blocks)

    @functools.cached_property
    def _entries(self) -> np.ndarray:
        """[5, n] row, column, place of the log sd, place of the factor (or -1), whether first repetition."""
        found = []
        at, corner = self.thetas, 0
        for size, repeats in self.blocks:
            pairs = [(i, j) for i in range(size) for j in range(i)]
            below = {pair: at + size + n for n, pair in enumerate(pairs)}
            for repeat in range(repeats):
                for i in range(size):
                    for j in range(i + 1):
                        entry = (corner + i, corner + j, at + i, below.get((i, j), -1), int(repeat == 0))
                        found.append(entry)
                corner += size
            at += size * (size + 1) // 2
        return np.array(found, int).reshape(-1, 5).T

    @functools.partial(jax.jit, static_argnums=0)
    def theta(self, w: Array) -> Array:
        """[..., p] typical values of search vectors [..., n]."""
        return self.transform.natural(w[..., : self.thetas])

    @functools.partial(jax.jit, static_argnums=0)
    def factor(self, w: Array) -> Array:
        """[..., q, q] lower triangular L with covariance L L'."""
        row, column, log_sd, below, _ = self._entries
        entries = jnp.exp(w[..., log_sd]) * jnp.where(below < 0, 1.0, w[..., np.maximum(below, 0)])
        return jnp.zeros((*w.shape[:-1], self.etas, self.etas)).at[..., row, column].set(entries)

    @functools.partial(jax.jit, static_argnums=0)
    def omega(self, w: Array) -> Array:
        """[..., q, q] covariance of the random effects."""
        factor = self.factor(w)
        return factor @ jnp.swapaxes(factor, -1, -2)

    @functools.partial(jax.jit, static_argnums=0)
    def natural(self, w: Array) -> Array:
        """[..., n] typical values, then the lower triangles of the covariances, row by row, each block once."""
        row, column, _, _, first = self._entries
        once = first == 1
        return jnp.concatenate([self.theta(w), self.omega(w)[..., row[once], column[once]]], -1)


@dataclass(frozen=True)
class Population:
    """What is estimated.

    Attributes:
        thetas: typical values, also those of residual error.
        blocks: random effects, in the order of `eta`; the effects of a repeated block come occasion by occasion.
    """

    thetas: tuple[Theta, ...]
    blocks: tuple[OmegaBlock, ...] = ()
    layout: Layout = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [t.name for t in self.thetas] + [n for b in self.blocks for n in b.names]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise RecordError(f"`{twice[0]}` is the name of two parameters", rule="A name stands for one parameter")
        bounds = [t.search_bounds for t in self.thetas]
        transform = Transform(tuple(low for low, _ in bounds), tuple(high for _, high in bounds))
        blocks = tuple((len(b.names), max(b.occasions, 1)) for b in self.blocks)
        object.__setattr__(self, "layout", Layout(transform, blocks))

    @functools.cached_property
    def start(self) -> np.ndarray:
        """[n] the search vector to start from."""
        thetas = self.layout.transform.search(np.array([t.start for t in self.thetas], float))
        return np.concatenate([thetas, *(block.search for block in self.blocks)])

    @functools.cached_property
    def free(self) -> np.ndarray:
        """[n] True where the search vector is estimated."""
        blocks = [np.full(len(b.search), not b.fixed) for b in self.blocks]
        return np.concatenate([np.array([not t.fixed for t in self.thetas], bool), *blocks])

    def pack(self, theta: np.ndarray, omega: np.ndarray | None = None) -> np.ndarray:
        """The search vector [n] of typical values [p] and a covariance [q, q] (first repetitions are read)."""
        parts = [self.layout.transform.search(np.asarray(theta, float))]
        corner = 0
        for block in self.blocks:
            size = len(block.names)
            matrix = block.start
            if omega is not None:
                part = np.asarray(omega, float)[corner : corner + size, corner : corner + size]
                matrix = tuple(tuple(float(v) for v in row) for row in part)
            parts.append(OmegaBlock(block.names, matrix, block.fixed).search)
            corner += size * max(block.occasions, 1)
        return np.concatenate(parts)

    def unpack(self, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Typical values [p] and covariance [q, q] of a search vector [n]."""
        return np.asarray(self.layout.theta(jnp.asarray(w))), np.asarray(self.layout.omega(jnp.asarray(w)))

    def omega(self, w: Array) -> Array:
        """[q, q] covariance of the random effects of a search vector [n]."""
        return self.layout.omega(w)

    def penalty(self, w: Array) -> Array:
        """-2 log density of the priors, a number, of a search vector [n]; traceable."""
        theta = self.layout.theta(w)
        terms = [t.prior.minus2log(theta[i]) for i, t in enumerate(self.thetas) if t.prior is not None]
        factor, corner = self.layout.factor(w), 0
        for block, (size, repeats) in zip(self.blocks, self.layout.blocks, strict=True):
            if block.prior is not None:
                terms.append(block.prior.minus2log(factor[corner : corner + size, corner : corner + size]))
            corner += size * repeats
        return sum(terms, start=jnp.zeros(()))

    @property
    def eta_names(self) -> tuple[str, ...]:
        """[q] names of the random effects; those of repeated blocks carry their occasion: `iov_cl[2]`."""
        names = []
        for b in self.blocks:
            names += (
                list(b.names) if b.occasions == 0 else [f"{n}[{k + 1}]" for k in range(b.occasions) for n in b.names]
            )
        return tuple(names)

    @property
    def names(self) -> tuple[str, ...]:
        """[n] the user's names of the natural values: `cl`, `omega(eta_cl)`, `omega(eta_v,eta_cl)`."""
        pairs = [(a, b) for block in self.blocks for i, a in enumerate(block.names) for b in block.names[: i + 1]]
        return (*(t.name for t in self.thetas), *(f"omega({a})" if a == b else f"omega({a},{b})" for a, b in pairs))

    @property
    def nonmem_names(self) -> tuple[str, ...]:
        """[n] the same in the way of NONMEM: `THETA(1)`, `SIGMA(1,1)`, `OMEGA(2,1)`.

        A residual parameter that is the variance of an error term (`coefficients: variance`) is the SIGMA of its EPS,
        numbered in the order of the parameters. One that is a standard deviation, an exponent or a correlation is a
        THETA, as in `Y = F + THETA(3)*EPS(1)` with SIGMA fixed at 1. THETAs are numbered without the SIGMAs.
        """
        row, column, _, _, first = self.layout._entries
        once = first == 1
        omegas = [f"OMEGA({i + 1},{j + 1})" for i, j in zip(row[once], column[once], strict=True)]
        numbers = {True: 0, False: 0}
        names = []
        for theta in self.thetas:
            numbers[theta.sigma] += 1
            number = numbers[theta.sigma]
            names.append(f"SIGMA({number},{number})" if theta.sigma else f"THETA({number})")
        return (*names, *omegas)
