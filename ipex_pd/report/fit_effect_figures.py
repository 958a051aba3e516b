"""Random effects: their distributions, pairs, and relations to covariates."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from ipex_pd.report.fit_axes import INK, OBSERVED, PREDICTED, dress, grid, panel, points, trend

Numbers = NDArray[np.float64]

_CLASSES = 6


def effect_figure(name: str, values: Numbers, sd: float, shrinkage: float) -> Figure:
    """The distribution of a random effect with the normal density of the model, and its quantiles.

    Args:
        name: of the effect.
        values: modes; NaN are left out.
        sd: of the model.
        shrinkage: [%].
    """
    usable = values[np.isfinite(values)]
    figure, (left, right) = grid(1, 2, height=2.1)
    dress(left, name, "", "")
    bins = min(20, max(5, int(np.sqrt(len(usable)))))
    left.hist(usable, bins=bins, density=True, facecolor=OBSERVED + "60", edgecolor=OBSERVED, linewidth=0.6)
    wide = max(3.2 * sd, 1.1 * float(np.abs(usable).max(initial=0.0)), 1e-6)
    at = np.linspace(-wide, wide, 121)
    if sd > 0:
        left.plot(at, stats.norm.pdf(at, scale=sd), color=PREDICTED, linewidth=1.3)
    left.axvline(0.0, color="#777777", linewidth=0.8)
    left.set_yticks([])
    dress(right, f"shrinkage {shrinkage:.0f} %", "normal quantiles", "")
    if len(usable) > 1 and sd > 0:
        expected = sd * stats.norm.ppf((np.arange(1, len(usable) + 1) - 0.5) / len(usable))
        right.plot(at, at, color="#777777", linewidth=1.0)
        points(right, expected, np.sort(usable))
    right.set_xlim(-wide, wide)
    right.set_ylim(-wide, wide)
    return figure


def pair_figure(first: str, second: str, x: Numbers, y: Numbers, omega: NDArray[np.float64]) -> Figure:
    """Two random effects against each other, with the ellipse that holds 95 % of them by the model.

    Args:
        first, second: names.
        x, y: modes.
        omega: [2, 2] their covariance.
    """
    usable = np.isfinite(x) & np.isfinite(y)
    told = f"r = {np.corrcoef(x[usable], y[usable])[0, 1]:.2f}" if usable.sum() > 2 else ""
    figure, axes = panel(f"{second} and {first}", first, second)
    values, vectors = np.linalg.eigh(omega)
    turn = np.linspace(0.0, 2.0 * np.pi, 121)
    radius = np.sqrt(stats.chi2.ppf(0.95, 2) * np.maximum(values, 0.0))
    ellipse = vectors @ (radius[:, None] * np.array([np.cos(turn), np.sin(turn)]))
    axes.plot(*ellipse, color=PREDICTED, linewidth=1.0)
    axes.axhline(0.0, color="#999999", linewidth=0.8)
    axes.axvline(0.0, color="#999999", linewidth=0.8)
    points(axes, x, y)
    axes.text(0.98, 0.97, told, transform=axes.transAxes, ha="right", va="top", fontsize=8, color=INK)
    return figure


def covariate_figure(effect: str, covariate: str, eta: Numbers, values: Numbers, *, unit: str = "") -> Figure:
    """A random effect against a covariate: points with a local regression, or boxes for a few classes."""
    below = covariate + (f" [{unit}]" if unit and unit != "1" else "")
    figure, axes = panel(f"{effect} and {covariate}", below, effect)
    axes.axhline(0.0, color="#777777", linewidth=1.0, zorder=1)
    usable = np.isfinite(eta) & np.isfinite(values)
    classes = np.unique(values[usable])
    if len(classes) > _CLASSES:
        points(axes, values, eta)
        trend(axes, values, eta)
        return figure
    groups = [eta[usable & (values == value)] for value in classes]
    axes.boxplot(
        groups,
        positions=np.arange(len(classes)),
        widths=0.5,
        showfliers=False,
        medianprops={"color": PREDICTED},
        boxprops={"color": INK},
        whiskerprops={"color": INK},
        capprops={"color": INK},
    )
    for k, group in enumerate(groups):
        shift = 0.13 * (np.arange(len(group)) % 5 - 2) / 2
        points(axes, k + shift, group)
    axes.set_xticks(
        np.arange(len(classes)), [f"{value:g} (n {len(g)})" for value, g in zip(classes, groups, strict=True)]
    )
    return figure
