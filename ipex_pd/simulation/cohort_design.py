"""The design of a synthetic cohort: who is treated how, when children are seen, and what is measured then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from ipex_pd.records.library import load_regimen
from ipex_pd.records.regimens import Regimen
from ipex_pd.simulation.draws import Array, uniforms

_ONSETS = "_onset"


@dataclass(frozen=True)
class Design:
    """How a synthetic cohort is treated and seen. All numbers are assumed; reasons in the fields' words.

    Attributes:
        regimens: shipped regimen -> share of children; mixed so that every shipped kind of treatment is there.
        transplant_days: earliest and latest day of a transplant [day]; from soon after diagnosis to a delayed one.
        age: median [day] and log-sd of the age at diagnosis; onset is within months (E002), diagnosis later.
        ages: lowest and highest age at diagnosis [day].
        years: shortest and longest follow-up [year].
        first_visits: days of the first visits after day 0, with `jitter` days of irregularity.
        between: shortest and longest time between later visits [day]; surveillance every 3 to 6 months (E179).
        done: measurement -> share of visits at which it is made; `other` of those not named.
        lost: share of samples that give no value.
    """

    regimens: Mapping[str, float] = field(
        default_factory=lambda: {
            "untreated": 0.10,
            "prednisolone": 0.10,
            "prednisolone_tacrolimus": 0.15,
            "prednisolone_ciclosporin": 0.10,
            "sirolimus": 0.15,
            "sirolimus_prednisolone": 0.10,
            "rituximab_course": 0.10,
            "transplant_early_reduced": 0.10,
            "transplant_early_full": 0.10,
        }
    )
    transplant_days: tuple[float, float] = (60.0, 600.0)
    age: tuple[float, float] = (120.0, 0.8)
    ages: tuple[float, float] = (14.0, 730.0)
    years: tuple[float, float] = (1.0, 3.0)
    first_visits: tuple[float, ...] = (14.0, 42.0)
    jitter: float = 5.0
    between: tuple[float, float] = (84.0, 190.0)
    done: Mapping[str, float] = field(
        default_factory=lambda: {
            "weight": 0.95,
            "ige": 0.8,
            "eosinophils": 0.9,
            "lymphocytes": 0.9,
            "cd19": 0.6,
            "treg": 0.3,
            "autoantibody": 0.4,
            "c_peptide": 0.5,
            "thyroid_state": 0.4,
            "stool_severity": 0.9,
            "skin_severity": 0.9,
            "chimerism": 0.9,
            "chimerism_t": 0.4,
            "other": 0.0,
        }
    )
    lost: float = 0.04

    def in_words(self) -> str:
        """What was assumed, in a sentence."""
        low, high = self.between
        return (
            f"Followed for {self.years[0]:g} to {self.years[1]:g} years with visits {low:g} to {high:g} days apart, "
            "assays sparse and partly missing; treatments, transplants, visits and assays follow an assumed design."
        )


DESIGN = Design()
"""The design of the shipped synthetic cohort."""


@dataclass(frozen=True, eq=False)
class Plan:
    """One child's treatment and visits.

    Attributes:
        regimen: what is planned.
        shelf: the shipped regimen that it was made from.
        age: at day 0 [day].
        visits: days of visits; the first is 0.
        days: output times of a simulation that holds them.
        graft: day of the transplant, infinite without one.
    """

    regimen: Regimen
    shelf: str
    age: float
    visits: Array
    days: Array
    graft: float
    address: tuple[int, int]
    design: Design

    def assays(self, names: Sequence[str]) -> dict[str, Array]:
        """Measurement -> days on which it is made; onsets and death are asked for at every visit."""
        return {name: self._made(name) for name in names}

    def _made(self, name: str) -> Array:
        if name.endswith(_ONSETS) or name == "death":
            return self.visits
        share = self.design.done.get(name, 0.5 if name.endswith("_level") else self.design.done["other"])
        made = self._draw(f"done/{name}") < share
        if name.startswith("chimerism"):
            made &= self.visits >= self.graft + 14.0
        return self.visits[made]

    def is_lost(self, name: str, day: float) -> bool:
        """Whether a sample of a visit gave no value."""
        place = int(np.argmin(np.abs(self.visits - day)))
        return bool(self._draw(f"lost/{name}")[place] < self.design.lost)

    def _draw(self, what: str) -> Array:
        seed, child = self.address
        return uniforms(seed, f"cohort/{child}/{what}", np.arange(len(self.visits)))


def plans(design: Design, seed: int, children: int) -> Iterator[Plan]:
    """The plan of every child; a child's does not depend on how many there are."""
    index = np.arange(children)
    names = list(design.regimens)
    ends = np.cumsum(list(design.regimens.values())) / sum(design.regimens.values())
    which = np.searchsorted(ends, uniforms(seed, "cohort/regimen", index), side="right")
    median, spread = design.age
    ages = np.round(np.clip(median * np.exp(spread * ndtri(uniforms(seed, "cohort/age", index))), *design.ages))
    years = _between(design.years, uniforms(seed, "cohort/years", index))
    grafts = np.round(_between(design.transplant_days, uniforms(seed, "cohort/graft", index)))
    for child in range(children):
        shelf = names[which[child]]
        regimen, graft = load_regimen(shelf), np.inf
        if regimen.transplants:
            graft = float(grafts[child])
            regimen = regimen.with_transplant_day(graft)
        visits = _visits(design, seed, child, float(years[child]) * 365.25)
        # the onset of an event is read between outputs, so that these stand closer than visits
        days = np.unique(np.concatenate([visits, np.arange(0.0, visits[-1], 14.0)]))
        yield Plan(regimen, shelf, float(ages[child]), visits, days, graft, (seed, child), design)


def _between(ends: tuple[float, float], share: Array) -> Array:
    return np.asarray(ends[0] + (ends[1] - ends[0]) * share)


def _visits(design: Design, seed: int, child: int, horizon: float) -> Array:
    """Whole days of visits, from 0 to at most the end of follow-up."""
    first = np.array(design.first_visits)
    most = first.size + int(np.ceil(horizon / design.between[0])) + 1
    share = uniforms(seed, f"cohort/{child}/visits", np.arange(most))
    early = first + design.jitter * (2.0 * share[: first.size] - 1.0)
    later = early[-1] + np.cumsum(_between(design.between, share[first.size :]))
    days = np.round(np.concatenate([[0.0], early, later]))
    return np.unique(days[days <= horizon])
