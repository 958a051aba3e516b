"""A small invented problem with every kind of parameter, and its density written apart from the package."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from nonmem_problems import Formula, group

from ipex_pd.inference.group import Prediction
from ipex_pd.inference.population import OmegaBlock, Population, Theta

TIMES = np.array([0.5, 1.0, 2.0, 4.0, 6.0, 8.0])
OCCASION = np.array([0, 0, 0, 1, 1, 1])


def decay(inputs, theta, eta):
    """f = a (b + (1 - b) exp(-k t)), k = k0 exp(eta1 + kappa of the occasion), a = a0 + eta2; sd = add + prop f."""
    kappa = eta[:, 2:][:, inputs["occasion"][0]] if eta.shape[1] > 2 else 0.0
    k = theta[:, :1] * jnp.exp(eta[:, :1] + kappa)
    f = (theta[:, 1:2] + eta[:, 1:2]) * (theta[:, 2:3] + (1.0 - theta[:, 2:3]) * jnp.exp(-k * inputs["t"]))
    return f, (theta[:, 3:4] + theta[:, 4:5] * f) ** 2


class Correlated(Formula):
    """The same, with residuals of neighbouring records correlated."""

    def __call__(self, inputs, theta, eta):
        said = super().__call__(inputs, theta, eta)
        return Prediction(said.mean, said.variance, said.minus2ll, jnp.full_like(said.mean, 0.6))


THETAS = (
    Theta("k", 0.3, 0.0),
    Theta("a", 10.0),
    Theta("b", 0.1, 0.0, 1.0, scale="logit"),
    Theta("add", 0.2, 0.0),
    Theta("prop", 0.1, 0.0),
)
BLOCK = OmegaBlock(("eta_k", "eta_a"), ((0.09, 0.02), (0.02, 1.0)))
BETWEEN_OCCASIONS = OmegaBlock(("kappa",), ((0.04,),), occasions=2)
POPULATION = Population(THETAS, (BLOCK, BETWEEN_OCCASIONS))
SIMPLE = Population(THETAS, (BLOCK,))


def toy(subjects=5, seed=3, etas=4, **changes):
    """A group drawn from the model."""
    random = np.random.default_rng(seed)
    eta = random.standard_normal((subjects, etas)) * np.array([0.3, 1.0, 0.2, 0.2])[:etas]
    inputs = {"t": np.tile(TIMES, (subjects, 1)), "occasion": np.tile(OCCASION, (subjects, 1))}
    theta = np.tile([t.start for t in THETAS], (subjects, 1))
    mean, variance = (np.asarray(v) for v in decay(inputs, theta, eta))
    y = mean + np.sqrt(variance) * random.standard_normal(mean.shape)
    return replace(group(decay, y, inputs, etas), **changes)


def correlated(subjects=5, seed=4, etas=2):
    """The same group with pairs of correlated records: (0, 1), (2, 3), (4, 5)."""
    partner = np.tile([-1, 0, -1, 2, -1, 4], (subjects, 1))
    return toy(subjects, seed, etas, partner=partner, correlated=True, predictor=Correlated(decay))


def censored(subjects=5, seed=5, etas=2, limit=2.0):
    """The same group with records below a limit of quantification, above 0."""
    plain = toy(subjects, seed, etas)
    below = plain.y < limit
    return toy(
        subjects,
        seed,
        etas,
        y=np.where(below, limit, plain.y),
        cens=below.astype(int),
        limit=np.where(below, -np.inf, 0.0),
    )
