"""What a fit says in plain sentences: verdict, synopsis, methods, limitations."""

from __future__ import annotations

import math

import numpy as np

from ipex_pd.inference.diagnostics.summary import Diagnostics
from ipex_pd.inference.results import Fit
from ipex_pd.report.fit_tables import figure

METHODS = {
    "fo": "First-order approximation (FO): the model linearised at random effects of zero.",
    "foce": "First-order conditional estimation (FOCE), residual variance at random effects of zero.",
    "focei": "First-order conditional estimation with interaction (FOCEI).",
    "laplace": "Laplace's approximation with the exact Hessian of each subject's random effects.",
    "agq": "Adaptive Gauss-Hermite quadrature of the marginal likelihood.",
    "pooled": "Pooled: one model for all records, without random effects.",
    "map": "Population values as they are; only the random effects of the subjects were estimated (modes).",
    "saem": "Stochastic approximation expectation maximisation (SAEM).",
    "imp": "Expectation maximisation with importance sampling (IMP).",
}
_VERDICTS = {
    "trust": "The search ended at a minimum that it found again, and the estimates are well determined.",
    "look": "Usable with care: something below needs a look before it is relied on.",
    "do not trust": "Do not rely on these estimates.",
}
_FAR, _UNEVEN = 0.2, 0.2
_LOOSE = 30.0


def verdict_sentence(fit: Fit) -> str:
    """Whether to believe the fit, in one sentence."""
    return _VERDICTS[fit.verdict.level]


def synopsis(diagnostics: Diagnostics) -> list[str]:
    """The fit in a few sentences for readers in a hurry."""
    fit, records = diagnostics.fit, diagnostics.records
    told = [
        f"{len(np.unique(records.subject))} subjects with {len(records)} records were fitted by {fit.method.upper()}; "
        f"the objective is {fit.value:.3f} (−2 log likelihood without n log 2π).",
        *(f"Why: {reason.text}." for reason in fit.verdict.reasons),
        _estimates(fit),
        *_npde(diagnostics),
    ]
    vague = [name for name, value in fit.eta_shrinkage.items() if value > _LOOSE]
    if vague:
        told.append(f"Shrinkage above {_LOOSE:.0f} % ({', '.join(vague)}): plots of these random effects say little.")
    return [sentence for sentence in told if sentence]


def _estimates(fit: Fit) -> str:
    table = fit.parameters
    rows = [r for r in table.to_dict("records") if not r["fixed"] and not r["parameter"].startswith("omega(")]
    parts = []
    for row in rows[:8]:
        unit = "" if row["unit"] == "1" else f" {row['unit']}"
        within = f" ({figure(row['low'])} to {figure(row['high'])})" if math.isfinite(row["se"]) else ""
        parts.append(f"{row['parameter']} {figure(row['estimate'])}{unit}{within}")
    return f"Estimates with their {100 * fit.options.level:g} % intervals: " + "; ".join(parts) + "." if parts else ""


def _npde(diagnostics: Diagnostics) -> list[str]:
    """What prediction errors say, endpoint by endpoint."""
    told = []
    for row in diagnostics.npde_tests.to_dict("records"):
        if not math.isfinite(row["mean"]):
            continue
        off = []
        if row["p_mean"] < 0.05 and abs(row["mean"]) > _FAR:
            off.append(
                f"their mean is {figure(row['mean'], 2)}: the model predicts too {'low' if row['mean'] > 0 else 'high'}"
            )
        if row["p_variance"] < 0.05 and abs(row["variance"] - 1.0) > _UNEVEN:
            side = "less" if row["variance"] > 1 else "more"
            off.append(
                f"their variance is {figure(row['variance'], 2)}: the model expects {side} variability than there is"
            )
        name = row["endpoint"]
        if off:
            told.append(f"NPDE of {name} speak against the model: {'; '.join(off)}.")
        else:
            told.append(
                f"NPDE of {name} have mean {figure(row['mean'], 2)} and variance {figure(row['variance'], 2)} "
                "(0 and 1 expected)."
            )
    return told


def methods(diagnostics: Diagnostics) -> list[str]:
    """Algorithm, search, tolerances, uncertainty, checks."""
    fit, chosen = diagnostics.fit, diagnostics.options
    options, found = fit.options, fit.found
    told = [
        METHODS.get(fit.method, f"Method: {fit.method}."),
        f"The search ended after {found.iterations} steps and {found.evaluations} evaluations in {fit.seconds:.1f} s: "
        f"{found.outcome}.",
        f"Options: {', '.join(f'{name.replace(chr(95), chr(32))} {value}' for name, value in vars(options).items())}.",
    ]
    if found.restarts:
        ends = ", ".join(f"{value:.3f}" for value in found.restarts)
        told.append(f"Searches from other starts ended at {ends}.")
    if fit.covariance.done:
        told.append(
            f"Covariance of estimates: {fit.covariance.kind}, condition number {fit.covariance.condition_number:.3g} "
            "(largest over smallest eigenvalue of the correlation matrix; above 1000 is an alarm)."
        )
    else:
        told.append(f"Covariance of estimates: {fit.covariance.outcome}.")
    if diagnostics.replicates is not None:
        told.append(
            f"Checks by simulation: {chosen.replicates} replicates of the dataset, seed {chosen.seed}; intervals of "
            f"simulated percentiles hold {100 * chosen.level:g} %; NPDE decorrelated by the {chosen.root} root."
        )
        error = diagnostics.replicates.mesh_error
        if error > 0:
            told.append(f"Simulated amounts on a mesh: largest relative difference to a finer mesh {error:.1e}.")
    return told


def check_words(diagnostics: Diagnostics) -> str:
    """How the checks by simulation are read."""
    told = []
    if diagnostics.checks:
        told.append(
            "Black lines are the 5th, 50th and 95th percentiles of the observations, bands the "
            f"{100 * diagnostics.options.level:g} % intervals of the same percentiles over "
            f"{diagnostics.options.replicates} simulated datasets. A line that leaves its band says that the model "
            "does not describe that part of the data. Prediction correction takes out what doses, covariates and times "
            "explain. Where more records are censored than a percentile leaves room for, it is not drawn."
        )
    if diagnostics.survival_checks:
        told.append(
            "Steps are the Kaplan-Meier curve of first events (ticks: left without event), the band holds "
            f"{100 * diagnostics.options.level:g} % of the curves of simulated datasets."
        )
    return " ".join(told)


def limitations(diagnostics: Diagnostics) -> list[str]:
    """What weakens the conclusions: of this fit first, then of all fits."""
    fit = diagnostics.fit
    told = [f"{reason.text[0].upper()}{reason.text[1:]}." for reason in fit.verdict.reasons]
    told += [f"{note[0].upper()}{note[1:]}." for note in diagnostics.notes]
    if fit.method in ("fo", "foce", "focei", "laplace"):
        told.append(
            "The likelihood is approximated; with few records a subject or a strong nonlinearity, compare SAEM or AGQ."
        )
    told += [
        "The data that gave the estimates are also those of the checks: agreement is not validation.",
        "Standard errors are asymptotic; with few subjects, profile likelihoods or a bootstrap tell more.",
        "What lies outside the doses, ages and times of these data is extrapolation.",
    ]
    return told
