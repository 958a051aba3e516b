"""The validation table: published observations against what the models predict for the same people and doses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np

from ipex_pd.errors import UsageError
from ipex_pd.records.library import load_drug, load_observations, observed
from ipex_pd.records.observations import QUANTITIES, Group, Observation, Observations, PublishedSpread, Study
from ipex_pd.records.provenance import Citation
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.draws import Array
from ipex_pd.simulation.validation_group import draw
from ipex_pd.simulation.validation_measures import individual, measure
from ipex_pd.units import factor

Verdict = Literal["inside", "outside", "no spread"]
Progress = Callable[[str], Any]

NEAR = 1.25
"""Ratio, or its inverse, up to which a row without a published spread needs no reason."""


@dataclass(frozen=True)
class Row:
    """One published number and its prediction, in the published unit.

    Attributes:
        id, part: of the observation.
        subject: file of observations.
        drug: the model used.
        quantity, people, doses: in words.
        n: subjects studied, None when not stated.
        unit: of all numbers of the row.
        observed, statistic, spread, interval: published value, what it is, its spread in words and as an interval.
        predicted: the same statistic over the virtual group.
        median, low, high: over the virtual group; low and high are 5 and 95 %.
        typical: the subject with typical parameters and covariates; `nan` where cells are followed.
        verdict: whether `predicted` is inside the published interval.
        independent: False when the published number is, or fitted, an input of the model.
        caution, reason: what weakens the comparison; why the prediction misses.
        source: citation.
    """

    id: str
    part: str
    subject: str
    drug: str
    quantity: str
    people: str
    doses: str
    n: int | None
    unit: str
    observed: float
    statistic: str
    spread: str
    interval: tuple[float, float] | None
    predicted: float
    median: float
    low: float
    high: float
    typical: float
    verdict: Verdict
    independent: bool
    caution: str
    reason: str
    source: str

    @property
    def ratio(self) -> float:
        """Predicted over observed."""
        return self.predicted / self.observed


@dataclass(frozen=True)
class Unused:
    """An observation that is not predicted, and why."""

    id: str
    subject: str
    what: str
    because: str
    source: str


@dataclass(frozen=True)
class Validation:
    """The whole table.

    Attributes:
        rows, unused: see there; by number of the observation.
        size, seed: of the virtual groups.
        groups: study -> how its virtual group was drawn, in words.
    """

    rows: tuple[Row, ...]
    unused: tuple[Unused, ...]
    size: int
    seed: int
    groups: dict[str, str]

    @property
    def ids(self) -> list[str]:
        """Numbers of all observations, predicted or not, each once."""
        return sorted({row.id for row in self.rows} | {row.id for row in self.unused})

    def count(self, verdict: Verdict, independent: bool | None = None) -> int:
        """How many rows have a verdict."""
        return sum(r.verdict == verdict and independent in (None, r.independent) for r in self.rows)

    def to_json(self) -> dict[str, Any]:
        """Plain data: settings, summary, rows with their ratio, and unused observations."""
        return {
            "size": self.size,
            "seed": self.seed,
            "summary": self.summary(),
            "rows": [asdict(row) | {"ratio": row.ratio} for row in self.rows],
            "not_used": [asdict(row) for row in self.unused],
            "groups": self.groups,
        }

    def summary(self) -> dict[str, float]:
        """Counts of verdicts, of ratios within 1.25 and within 2, and the geometric mean of the ratios."""
        ratios = np.array([row.ratio for row in self.rows])
        fold = np.exp(np.abs(np.log(ratios)))
        return {
            "rows": len(self.rows),
            "inside": self.count("inside"),
            "outside": self.count("outside"),
            "no_spread": self.count("no spread"),
            "independent_inside": self.count("inside", True),
            "independent_outside": self.count("outside", True),
            "within_1.25": int(np.sum(fold <= NEAR)),
            "within_2": int(np.sum(fold <= 2.0)),
            "geometric_mean_ratio": float(np.exp(np.mean(np.log(ratios)))) if ratios.size else float("nan"),
            "not_used": len({row.id for row in self.unused}),
        }


def validate(
    size: int = 500, *, seed: int = 1, subjects: Sequence[str] | None = None, progress: Progress | None = None
) -> Validation:
    """Predict every usable published observation.

    Each study's group is drawn with its covariates and the between-patient variability of the drug file, given the
    study's doses, sampled and evaluated as in the study (areas by trapezoids, slopes by log-linear regression).
    Measurement error is not simulated.

    Args:
        size: virtual subjects of each group.
        seed: of all draws.
        subjects: names of `records.library.observed()`; all when None.
        progress: called with the name of each file when it is done.

    Raises:
        UsageError: no subject in a group.
        RecordError: an unknown subject, or a faulty file of observations.
    """
    if size < 1:
        raise UsageError(f"groups of {size} subjects", rule="A virtual group holds at least one")
    rows: list[Row] = []
    unused: list[Unused] = []
    groups: dict[str, str] = {}
    for name in observed() if subjects is None else subjects:
        found = load_observations(name)
        rows += _rows(found, size, seed)
        unused += _unused(found)
        groups |= {study.name: _group_in_words(study) for study in found.studies}
        if progress is not None:
            progress(name)
    return Validation(tuple(rows), tuple(sorted(unused, key=lambda u: u.id)), size, seed, groups)


def _rows(found: Observations, size: int, seed: int) -> Iterable[Row]:
    from ipex_pd.simulation.validation_course import course_row, rate_row

    for study in found.studies:
        for asked in study.observations:
            yield _study_row(found, study, asked, size, seed)
    for course in found.courses:
        yield course_row(found.name, course, size, seed)
    for rate in found.rates:
        yield rate_row(found.name, rate)


def _study_row(found: Observations, study: Study, asked: Observation, size: int, seed: int) -> Row:
    drug = load_drug(study.drug)
    subjects = draw(drug, study.population, size, seed, study.name)
    values = measure(study, asked, subjects)
    if study.against is not None:
        # the same seeds and names: both groups have the same random effects, as in a paired comparison
        other = measure(study, asked, draw(drug, study.against, size, seed, study.name))
        values = np.append(values[:-1] / _statistic(asked.statistic, other[:-1]), values[-1] / other[-1])
    if asked.quantity == "bioavailability":
        values = _bioavailability(asked, study.population, values, size, seed, study.name)
    base = QUANTITIES[asked.quantity][0] + ("/kg" if asked.per == "kg" else "")
    values = values * factor(base, asked.published.unit)
    doses = Regimen(name=study.name, description=study.name, doses=study.doses).in_words()
    row = blank_row(found.name, asked, drug.name, study.population.n)
    row = replace(row, quantity=_question(asked), people=study.population.description, doses=" ".join(doses))
    return filled(row, values[:-1], float(values[-1]), asked.spread)


def _bioavailability(asked: Observation, group: Group, apparent: Array, size: int, seed: int, name: str) -> Array:
    reference = draw(load_drug(asked.reference), group, size, seed, f"{name}/{asked.reference}")
    # the covariates of both are the same draws: only the name of the random effects differs
    same = draw(load_drug(asked.reference), group, size, seed, name)
    return individual(replace(reference, covariates=same.covariates))["clearance"] / apparent


def blank_row(subject: str, asked: Any, drug: str, n: int | None) -> Row:
    """A row that holds what was published; what is predicted is still missing (`nan`)."""
    value = asked.published
    missing = float("nan")
    return Row(
        id=asked.id,
        part=asked.part,
        subject=subject,
        drug=drug,
        quantity="",
        people="",
        doses="",
        n=n,
        unit=value.unit,
        observed=value.value,
        statistic=asked.statistic.replace("_", " "),
        spread=asked.spread.in_words() if asked.spread else "",
        interval=None,
        predicted=missing,
        median=missing,
        low=missing,
        high=missing,
        typical=missing,
        verdict="no spread",
        independent=asked.independent,
        caution=asked.caution,
        reason=asked.if_outside,
        source=cited(subject, asked.source.citations),
    )


def filled(row: Row, values: Array, typical: float, spread: PublishedSpread | None) -> Row:
    """A row with its prediction: individual values (subject,) and the typical subject's, in the row's unit."""
    low, median, high = (float(q) for q in np.quantile(values, [0.05, 0.5, 0.95]))
    statistic = row.statistic.replace(" ", "_")
    predicted = typical if statistic == "typical" else _statistic(statistic, values)
    interval = spread.interval(row.observed, row.n) if spread else None
    verdict: Verdict = "no spread"
    near = max(predicted / row.observed, row.observed / predicted) <= NEAR
    if interval is not None:
        verdict = "inside" if interval[0] <= predicted <= interval[1] else "outside"
    return replace(
        row,
        predicted=predicted,
        median=median,
        low=low,
        high=high,
        typical=typical,
        interval=interval,
        verdict=verdict,
        reason="" if verdict == "inside" or (verdict == "no spread" and near) else row.reason,
    )


def _statistic(name: str, values: Array) -> float:
    if name == "mean":
        return float(np.mean(values))
    if name == "geometric_mean":
        return float(np.exp(np.mean(np.log(values))))
    return float(np.median(values))


def cited(subject: str, keys: Sequence[str]) -> str:
    """Citations with identifiers, of keys on the shelf or in the file."""
    from ipex_pd.records.library import citations

    known = {**citations(), **load_observations(subject).sources}
    return "; ".join(_citation(known[key]) for key in keys)


def _citation(work: Citation) -> str:
    tail = f", doi {work.doi}" if work.doi else (f", PMID {work.pmid}" if work.pmid else "")
    return work.citation + tail


def _unused(found: Observations) -> list[Unused]:
    return [Unused(u.id, found.name, u.what, u.because, cited(found.name, u.source.citations)) for u in found.not_used]


def _question(asked: Observation) -> str:
    words = QUANTITIES[asked.quantity][1]
    if asked.quantity == "relative_dose" and asked.by == "level":
        words = words.replace("exposure", "trough")
    of = f" of {asked.of} drug" if asked.of else ""
    per = f" per {asked.per}{' of dose' if asked.per.startswith('mg') else ''}" if asked.per else ""
    head = f"{asked.part}: " if asked.part and asked.part not in words else ""
    if asked.quantity in ("level", "detectable", "steady_state_volume"):
        span = f", at {_time(asked.end)}" if asked.quantity == "level" else ""
    else:
        span = f", {_time(asked.start)} to {_time(asked.end)}"
    return f"{head}{words}{of}{per}{span}"


def _time(days: float) -> str:
    if days < 2:
        return f"{24 * days:.3g} h"
    whole = math.floor(days + 1e-6)
    hours = 24 * (days - whole)
    return f"day {whole}" if hours < 0.01 else f"day {whole} + {hours:.3g} h"


def _group_in_words(study: Study) -> str:
    text = _one_group(study.population)
    return text if study.against is None else f"{text}; against {_one_group(study.against)}"


def _one_group(group: Group) -> str:
    spreads = "; ".join(f"{name} {spread.in_words()}" for name, spread in group.covariates.items())
    return f"{group.description} ({spreads}; {group.source.in_words()})"
