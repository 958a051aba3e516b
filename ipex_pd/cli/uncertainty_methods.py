"""What `ipex-pd uncertainty` can do after a fit: each method runs, keeps its details, and ends the same way."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ipex_pd.cli.console import Advance
from ipex_pd.cli.runs import RunFolder

if TYPE_CHECKING:
    from ipex_pd.inference.profiles import Profiles
    from ipex_pd.inference.resampling import Bootstrap, Replicate
    from ipex_pd.inference.results import Fit
    from ipex_pd.records.draws import ParameterDraws

REPLICATES = "bootstrap.json"
"""File of the replicates of a bootstrap, from which it goes on."""

_BETWEEN_CHECKPOINTS = 2.0
_SIR_DRAWS, _COVARIANCE_DRAWS = 200, 1000
_SAMPLES_A_DRAW = 5


@dataclass(frozen=True)
class Asked:
    """What a method is asked; each reads what is its own.

    Attributes:
        replicates: of the bootstrap.
        stratify: a covariate, `endpoint`, or nothing.
        draws: that sir or covariance leaves; None for their default.
        parameters: to profile; all when empty.
        level: of the intervals.
        seed: of everything drawn.
    """

    replicates: int
    stratify: str | None
    draws: int | None
    parameters: tuple[str, ...]
    level: float
    seed: int


@dataclass(frozen=True)
class Ended:
    """How a method ended.

    Attributes:
        text: for people.
        tables: file -> its text; `parameters.csv` has the intervals.
        details: of the method, for JSON.
        draws: the ensemble; None with profiles.
        remarks: what speaks against it.
        interrupted: by the user; this is what was finished.
    """

    text: str
    tables: dict[str, str]
    details: dict[str, Any]
    draws: ParameterDraws | None
    remarks: tuple[str, ...] = ()
    interrupted: bool = False


@dataclass(frozen=True)
class Method:
    """One way to tell the uncertainty of a fit.

    Attributes:
        title: of the progress bar.
        purpose: as a message names it.
        options: of the command line that it reads, besides the level.
        run: (fit, what is asked, folder, progress) -> its end. Raises: KeyboardInterrupt, before anything was finished.
    """

    title: str
    purpose: str
    options: tuple[str, ...]
    run: Callable[[Fit, Asked, RunFolder, Advance], Ended]


def _bootstrap(fit: Fit, asked: Asked, folder: RunFolder, advance: Advance) -> Ended:
    from ipex_pd.inference.resampling import Bootstrap, bootstrap, load_bootstrap
    from ipex_pd.inference.strata import strata_of

    file = folder.path / REPLICATES
    before = load_bootstrap(file, fit) if file.is_file() else None
    done: list[Replicate] = [] if before is None else list(before.replicates)
    count, strata = max(asked.replicates, len(done)), strata_of(fit, asked.stratify)
    written = time.monotonic()

    def tell(number: int, one: Replicate) -> None:
        nonlocal written
        done.append(one)
        advance(f"{number} of {count} replicates", number)
        if time.monotonic() - written >= _BETWEEN_CHECKPOINTS:
            written = time.monotonic()
            _keep(folder, Bootstrap(fit, asked.seed, strata, tuple(done), asked.level))

    found = bootstrap(
        fit, count, seed=asked.seed, stratify=asked.stratify, level=asked.level, progress=tell, resume=before
    )
    _keep(folder, found)
    if found.interrupted and not any(one.usable for one in found.replicates):
        raise KeyboardInterrupt
    return Ended(
        text=str(found),
        tables={
            "parameters.csv": found.parameters.to_csv(index=False),
            "replicates.csv": found.table.to_csv(index=False),
        },
        details={"parameters": found.parameters.to_dict("records"), "tally": found.tally},
        draws=found.draws(),
        interrupted=found.interrupted,
    )


def _keep(folder: RunFolder, found: Bootstrap) -> None:
    """The replicates so far, whole or not at all."""
    draft = folder.path / f".{REPLICATES}.part"
    found.save(draft)
    draft.replace(folder.path / REPLICATES)
    if REPLICATES not in folder.written:
        folder.written.append(REPLICATES)


def _sir(fit: Fit, asked: Asked, folder: RunFolder, advance: Advance) -> Ended:
    from ipex_pd.inference.importance_resampling import SirOptions, sir

    last = asked.draws or _SIR_DRAWS
    kept = (max(2, last // 2), max(2, last // 2), last)
    drawn = tuple(_SAMPLES_A_DRAW * n for n in kept)
    chosen = SirOptions(samples=drawn, resamples=kept, seed=asked.seed, level=asked.level)
    found = sir(fit, chosen, lambda done, whole: advance(f"{done} of {whole} samples", done * 100 // whole))
    if not found.iterations:
        raise KeyboardInterrupt
    return Ended(
        text=str(found),
        tables={
            "parameters.csv": found.parameters.to_csv(index=False),
            "iterations.csv": found.diagnostics.to_csv(index=False),
            "dofv.csv": found.distribution.to_csv(index=False),
        },
        details={
            "parameters": found.parameters.to_dict("records"),
            "iterations": found.diagnostics.to_dict("records"),
        },
        draws=found.draws,
        remarks=found.remarks,
        interrupted=found.interrupted,
    )


def _profile(fit: Fit, asked: Asked, folder: RunFolder, advance: Advance) -> Ended:
    import pandas as pd

    from ipex_pd.inference.profiles import profile

    names = asked.parameters or tuple(n for n, f in zip(fit.population.names, fit.population.free, strict=True) if f)

    def tell(name: str, value: float, rise: float) -> None:
        advance(f"{name} at {value:.4g}, objective + {rise:.3g}", 100 * names.index(name) // len(names))

    found = profile(fit, names, level=asked.level, progress=tell)
    if not found.profiles:
        raise KeyboardInterrupt
    points = pd.concat([one.points.assign(profiled=one.name) for one in found.profiles], ignore_index=True)
    return Ended(
        text=str(found),
        tables={
            "parameters.csv": found.parameters.to_csv(index=False),
            "points.csv": points.to_csv(index=False),
            **_pictures(found),
        },
        details={"parameters": found.parameters.to_dict("records"), "rise": found.rise},
        draws=None,
        remarks=found.remarks,
        interrupted=found.interrupted,
    )


def _pictures(found: Profiles) -> dict[str, str]:
    """File -> SVG, one a parameter."""
    from ipex_pd.report.figures import to_svg
    from ipex_pd.report.profile_figures import profile_figures

    drawn = zip(found.profiles, profile_figures(found), strict=True)
    names = {one.name: f"plots/{re.sub(r'[^A-Za-z0-9_]+', '_', one.name).strip('_')}.svg" for one in found.profiles}
    return {names[one.name]: to_svg(figure, names[one.name]) for one, (_, figure) in drawn}


def _covariance(fit: Fit, asked: Asked, folder: RunFolder, advance: Advance) -> Ended:
    from ipex_pd.inference.draws import covariance_draws

    draws = covariance_draws(fit, asked.draws or _COVARIANCE_DRAWS, asked.seed)
    table = draws.table(asked.level)[fit.population.free].reset_index(drop=True)
    table.insert(1, "estimate", fit.estimates[fit.population.free])
    head = f"{len(draws)} draws from the covariance ({fit.covariance.kind}), seed {asked.seed}"
    return Ended(
        text=f"{head}\n{table.to_string(index=False, float_format=lambda v: f'{v:.4g}')}",
        tables={"parameters.csv": table.to_csv(index=False)},
        details={"parameters": table.to_dict("records"), "draws": len(draws)},
        draws=draws,
    )


METHODS = {
    "bootstrap": Method("Bootstrap", "the bootstrap", ("--replicates", "--stratify", "--seed", "--resume"), _bootstrap),
    "sir": Method("SIR", "SIR", ("--draws", "--seed"), _sir),
    "profile": Method("Profiles", "a profile", ("--parameter",), _profile),
    "covariance": Method("Drawing", "drawing from the covariance", ("--draws", "--seed"), _covariance),
}
"""By name, as `--method` takes them."""
