"""Everything that is enumerated: regimens to begin from, intervals, conditioning, donors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from ipex_pd.errors import RecordError
from ipex_pd.records.library import load_regimen
from ipex_pd.records.plan_free import DonorChoice, FreeInterval, TransplantConditioning, TransplantDonor, order_keys
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.wording import duration_in_words
from ipex_pd.records.yamlfile import from_data


@dataclass(frozen=True)
class Combination:
    """One combination of enumerated choices.

    Attributes:
        choices: what was chosen where there is a choice, in words: `regimen`, `interval of tacrolimus`,
            `conditioning`, `donor`.
        regimen: to begin from.
    """

    choices: Mapping[str, str]
    regimen: Regimen


def combinations(problem: PlanningProblem) -> tuple[Combination, ...]:
    """All combinations, that of `start` as it stands first.

    Donors who are not there by the (latest) day of transplant are left out.

    Raises:
        RecordError: no donor is there in time, or a regimen that cannot be loaded or changed.
    """
    found = []
    regimens = [_regimen(value) for value in (problem.start, *problem.alternatives)]
    for regimen in regimens:
        named = {"regimen": regimen.name} if len(regimens) > 1 else {}
        for choice in _within(problem, regimen):
            found.append(Combination({**named, **choice.choices}, choice.regimen))
    if not found:
        raise RecordError(
            "no donor is there by the day of transplant",
            where=problem.name,
            rule="A transplant comes after its donor",
            cure="Move the transplant, or add a donor",
        )
    return tuple(found)


def _regimen(value: Regimen | str) -> Regimen:
    return value if isinstance(value, Regimen) else load_regimen(value)


def _within(problem: PlanningProblem, regimen: Regimen) -> Iterator[Combination]:
    options = [list(found) for line in problem.free_in(regimen) if (found := list(_options(problem, regimen, line)))]
    asked = [line for line in problem.free_in(regimen) if isinstance(line, _ENUMERATED)]
    if len(options) < len(asked):
        return
    for chosen in product(*options):
        data = regimen.as_data()
        choices: dict[str, str] = {}
        for name, words, change in chosen:
            data = change(data)
            choices[name] = words
        made = regimen if data == regimen.as_data() else from_data(Regimen, data, where=regimen.name)
        yield Combination(choices, made)


_ENUMERATED = (FreeInterval, TransplantConditioning, TransplantDonor)


def _options(problem: PlanningProblem, regimen: Regimen, line: Any) -> Iterator[tuple[str, str, Any]]:
    """(name, choice in words, change of the regimen's data), what stands in the regimen first."""
    if isinstance(line, FreeInterval):
        order = order_keys(regimen)[line.order]
        for span in sorted(line.among, key=lambda s: order.dose.every is None or abs(s - order.dose.every) > 1e-9):
            yield f"interval of {line.order}", duration_in_words(span), _interval(regimen, order.index, span)
    elif isinstance(line, TransplantConditioning):
        present = regimen.transplants[0]
        for name in sorted(line.among, key=lambda n: n != present.conditioning):
            yield "conditioning", name, _transplant("conditioning", name)
    elif isinstance(line, TransplantDonor):
        present = regimen.transplants[0]
        for choice in sorted(line.among, key=lambda c: c.donor != present.donor):
            if _in_time(problem, regimen, choice):
                yield "donor", choice.donor, _transplant("donor", choice.donor)


def _in_time(problem: PlanningProblem, regimen: Regimen, choice: DonorChoice) -> bool:
    free = problem.transplant_day
    return choice.available < free.latest if free else choice.available <= regimen.transplants[0].day


def _transplant(key: str, value: str) -> Any:
    def change(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "transplants": [{**item, key: value} for item in data["transplants"]]}

    return change


def _interval(regimen: Regimen, index: int, span: float) -> Any:
    """The order with another interval; the other orders as they are."""

    def change(data: dict[str, Any]) -> dict[str, Any]:
        written = f"{span!r} day"
        if index < len(regimen.doses):
            doses = [{**d, "every": written} if n == index else d for n, d in enumerate(data["doses"])]
            return {**data, "doses": doses}
        place, grafts = index - len(regimen.doses), []
        for item in data["transplants"]:
            own = item.get("prophylaxis", [])
            changed = [{**d, "every": written} if n == place else d for n, d in enumerate(own)]
            grafts.append({**item, "prophylaxis": changed})
            place -= len(own)
        return {**data, "transplants": grafts}

    return change
