"""Whether the limits of a plan fit its regimens and each other, as far as it can be seen without a simulation."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from ipex_pd.errors import UnitError, UnknownKeyError, nearest_hint
from ipex_pd.records import plan_limits as limit
from ipex_pd.records.growth import body_surface, size_at
from ipex_pd.records.patients import Patient
from ipex_pd.records.plan_check_troughs import sampled_while_given, windows
from ipex_pd.records.plan_free import PROPHYLAXIS, FreeDose, FreeStart, FreeStop, drug_of
from ipex_pd.records.plan_goals import QUALITY
from ipex_pd.records.plan_view import Check, Placed, PlanView, Problem, finite
from ipex_pd.records.regimens import Regimen

_TINY = 1e-9


def _drugs(view: PlanView) -> Iterator[Problem]:
    """Every drug of a limit is given by some regimen."""
    for index, line in enumerate(view.problem.limits):
        for key, name in _names(line):
            known = [*view.drugs, limit.TRANSPLANT] if key == "apart" else view.drugs
            if name not in known:
                rule, cure = nearest_hint(name, known), "Rename it, or take the limit out"
                yield Problem(
                    ("limits", index, key), f"no order of the plan gives `{name}`", rule, cure, UnknownKeyError
                )
            if name == limit.TRANSPLANT and not any(regimen.transplants for regimen in view.records.regimens):
                cure = "Take the limit out"
                yield Problem(("limits", index, key), "no regimen of the plan has a transplant", "It is one", cure)


def _names(line: limit.AnyLimit) -> Iterator[tuple[str, str]]:
    if isinstance(line, limit.NotTogetherLimit):
        yield from (("not_together", name) for name in line.drugs)
    elif isinstance(line, limit.ApartLimit):
        yield from (("apart", name) for name in line.between)
    elif not isinstance(line, limit.TaperLimit | limit.ChangesLimit | limit.VisitsLimit | limit.EndpointLimit):
        yield line.key, line.drug


def _free_doses(view: PlanView) -> Iterator[Problem]:
    """Tapers and changes are about a free dose."""
    for index, line in enumerate(view.problem.limits):
        if not isinstance(line, limit.TaperLimit | limit.ChangesLimit):
            continue
        doses = [dose for _, dose in view.free(FreeDose, line.order)]
        place = ("limits", index, line.key)
        if not doses:
            free = [dose.order for _, dose in view.free(FreeDose)]
            what, rule = f"the dose of `{line.order}` is not free", nearest_hint(line.order, free)
            yield Problem(place, what, rule, "Free it, or take the limit out", UnknownKeyError)
        if isinstance(line, limit.TaperLimit) and line.smallest_step is not None:
            yield from _step(view, line, doses, index)


def _step(view: PlanView, line: limit.TaperLimit, doses: list[FreeDose], index: int) -> Iterator[Problem]:
    step, place = line.smallest_step, ("limits", index, "smallest_step")
    assert step is not None
    for dose in doses:
        if step.per_day != dose.highest.per_day or step.basis not in ("mg", dose.highest.basis):
            what, cure = f"a step of `{step}` for a dose in `{dose.highest.unit}`", f"Write it in `{dose.highest.unit}`"
            yield Problem(place, what, "A step is in the unit of the dose, or in mg", cure, UnitError)
        elif step.basis == dose.highest.basis and step.value > dose.highest.value - dose.lowest.value + _TINY:
            what = f"a smallest step of {step} from {dose.highest} to {dose.lowest}"
            yield Problem(place, what, "A step fits between the bounds of the dose", "Make it smaller")


def _visits(view: PlanView) -> Iterator[Problem]:
    found = list(view.limits(limit.VisitsLimit))
    for index, _ in found[1:]:
        yield Problem(("limits", index), "the visits stand twice", "They stand once", "Write them on one line")
    for _, visits in found[:1]:
        for index, line in view.free(FreeDose):
            for placed in view.placed(line.order):
                if line.anchor == "transplant" or placed.origin:
                    rule, cure = "Visits are days of the regimen", "Take the visits out, or the days of this line"
                    yield Problem(("free", index), "days that count from the transplant beside visits", rule, cure)
                    continue
                yield from _on_visits(view, placed, line, index, visits.days)


def _on_visits(
    view: PlanView, placed: Placed, line: FreeDose, index: int, visits: tuple[float, ...]
) -> Iterator[Problem]:
    """The stated days of changes are visits; of regular periods one at least begins on a visit."""
    for number, moment in enumerate(line.changes_on):
        if all(abs(moment.day - visit) > _TINY for visit in visits):
            what, rule = (
                f"a change of `{line.order}` on {moment}",
                f"Visits are on {', '.join(f'{v:g}' for v in visits)}",
            )
            yield Problem(("free", index, "changes_on", number), what, rule, "Move it, or add the visit")
    if line.changes_every is None:
        return
    begins = line.periods(placed.order.start, placed.end(view.problem.horizon))
    if not any(abs(begin - visit) < 1e-6 for begin in begins[1:] for visit in visits):
        what = f"no change of `{line.order}` falls on a visit"
        rule = f"Periods begin on day {', '.join(f'{b:g}' for b in begins[:4])} ..., visits are other days"
        yield Problem(("free", index, "changes_every"), what, rule, "Write `changes_on` with days of visits")


def _repeated(view: PlanView) -> Iterator[Problem]:
    """Limits of one kind about one thing stand once; trough windows may differ by their days."""
    seen: list[object] = []
    for index, line in enumerate(view.problem.limits):
        key = _about(line)
        if key is not None and key in seen:
            yield Problem(("limits", index), "this limit stands twice", "A limit stands once", "Take one of them out")
        seen.append(key)
    for index, line in view.limits(limit.StepLimit):
        if any(other.drug == line.drug for _, other in view.limits(limit.StrengthsLimit)):
            what, rule = f"`strengths` and `step` of `{line.drug}`", "One of them says which doses there are"
            yield Problem(("limits", index), what, rule, "Take one of them out")


def _about(line: limit.AnyLimit) -> object:
    if isinstance(line, limit.SingleDoseLimit | limit.DailyDoseLimit | limit.CumulativeDoseLimit):
        return line.key, line.drug, line.most.basis
    if isinstance(line, limit.StrengthsLimit | limit.StepLimit | limit.ProphylaxisLimit):
        return line.key, line.drug
    if isinstance(line, limit.TaperLimit | limit.ChangesLimit):
        return line.key, line.order
    if isinstance(line, limit.ApartLimit):
        return line.key, line.between
    if isinstance(line, limit.EndpointLimit):
        return line.key, line.endpoint, line.most is None, line.share
    return None


def _doses(view: PlanView) -> Iterator[Problem]:
    """The lowest free dose is permitted, the highest within the safety limits of the regimen."""
    for index, line in view.free(FreeDose):
        for placed in view.placed(line.order):
            if line.lowest.unit != placed.order.dose.amount.unit:
                continue
            lowest = _day_amount(placed, line.lowest.value)
            for number, other in enumerate(view.problem.limits):
                asked = _asked(view, placed, line, other, lowest)
                if asked is not None and asked > other.most.value * (1 + _TINY):  # type: ignore[union-attr]
                    what = f"the lowest dose of `{line.order}` makes {asked:.4g} {line.lowest.basis}"
                    rule = f"The limit is {other.most}"  # type: ignore[union-attr]
                    yield Problem(("limits", number, "most"), what, rule, "Lower `lowest`, or raise the limit")
            yield from _safety(placed, line, index)


def _asked(view: PlanView, placed: Placed, line: FreeDose, other: limit.AnyLimit, daily: float) -> float | None:
    """What the lowest dose makes of a limit in the same unit; None when the two do not meet."""
    if not isinstance(other, limit.SingleDoseLimit | limit.DailyDoseLimit | limit.CumulativeDoseLimit):
        return None
    if other.drug != drug_of(line.order) or other.most.basis != line.lowest.basis:
        return None
    dose = placed.order.dose
    if isinstance(other, limit.SingleDoseLimit):
        return line.lowest.per_dose(dose.split) if not view.moves(line.order) else None
    if isinstance(other, limit.DailyDoseLimit):
        return daily if dose.doses_a_day >= 1 else None
    fixed = not view.moves(line.order, FreeStart, FreeStop) and dose.count is None
    start, stop = placed.order.start, placed.end(view.problem.horizon)
    first, last = line.span(start, stop) if line.anchor != "transplant" and not placed.origin else (start, start)
    return daily * max(0.0, last - first) if fixed else None


def _day_amount(placed: Placed, value: float) -> float:
    dose = placed.order.dose
    return value if dose.amount.per_day else value * dose.doses_a_day


def _safety(placed: Placed, line: FreeDose, index: int) -> Iterator[Problem]:
    dose = placed.order.dose
    for safety in placed.regimen.safety_limits:
        if safety.drug != placed.order.drug:
            continue
        for most, words in safety.limits():
            single = line.highest.per_dose(dose.split)
            asked = single if words == "a dose" else single * max(1.0, dose.split)
            if most.basis == line.highest.basis and asked > most.value * (1 + _TINY):
                what = f"the highest dose of `{line.order}` gives {asked:g} {most.basis} {words}"
                rule = f"The safety limit of `{placed.regimen.name}` is {most.value:g} {most.basis} {words}"
                yield Problem(("free", index, "highest"), what, rule, "Lower `highest`")


def _tablets(view: PlanView) -> Iterator[Problem]:
    """Strengths make some dose between the bounds, in the plan's patient on day 0 or at the horizon."""
    for index, line in enumerate(view.problem.limits):
        if not isinstance(line, limit.StrengthsLimit | limit.StepLimit):
            continue
        doses = [(free, placed) for _, free in view.free(FreeDose) for placed in view.placed(free.order)]
        own = [(free, placed) for free, placed in doses if placed.order.drug == line.drug]
        place = ("limits", index, line.key)
        if not own and line.drug in view.drugs:
            rule, cure = "What is prescribable is said of a free dose", "Free it, or take the limit out"
            yield Problem(place, f"no dose of `{line.drug}` is free", rule, cure)
        for free, placed in own:
            if free.lowest.unit != placed.order.dose.amount.unit:
                continue
            if isinstance(line, limit.StrengthsLimit) and placed.order.route != "oral":
                rule, cure = "Tablets and capsules are taken by mouth", f"Write `{{step: {line.drug}, of: ...}}`"
                yield Problem(place, f"`{free.order}` is given into a vein", rule, cure)
            low, high = _range_mg(view, free, placed)
            if not any(value > 0 for value in line.permitted(low, high)):
                what = f"no dose of `{line.drug}` can be made between {low:.3g} and {high:.3g} mg"
                rule = f"They are made of {', '.join(f'{piece:g} mg' for piece in line.pieces_mg)}"
                yield Problem((*place[:2], "of"), what, rule, "Add a strength, or widen the bounds")


def _range_mg(view: PlanView, line: FreeDose, placed: Placed) -> tuple[float, float]:
    """Single doses that the bounds allow the plan's patient, smaller on day 0 and larger at the horizon [mg]."""
    patient, basis = view.records.patient, line.lowest.basis
    first, last = _size(patient, basis, 0.0), _size(patient, basis, view.problem.horizon)
    split = placed.order.dose.split
    return line.lowest.per_dose(split) * min(first, last), line.highest.per_dose(split) * max(first, last)


def _size(patient: Patient, basis: str, day: float) -> float:
    """What an amount is multiplied by to be in mg: 1, weight [kg] or surface [m2] at the z-scores of the start."""
    if basis == "mg":
        return 1.0
    z, age = patient.size_z(), patient.age + day
    weight = float(size_at("weight", patient.sex, age, z["weight_z"]))
    if basis == "mg/kg":
        return weight
    return float(body_surface(weight, float(size_at("height", patient.sex, age, z["height_z"]))))


def _can_move(view: PlanView, placed: Placed) -> bool:
    return view.moves(placed.key, FreeDose, FreeStart, FreeStop)


def _together(view: PlanView) -> Iterator[Problem]:
    """Drugs that exclude each other are not both fixed at one time."""
    for index, line in view.limits(limit.NotTogetherLimit):
        for regimen in view.records.regimens:
            orders = [p for p in view.orders_of(regimen) if p.order.drug in line.drugs and p.order.given]
            fixed = [placed for placed in orders if not _can_move(view, placed)]
            for one, other in combinations(fixed, 2):
                begin = max(one.order.start, other.order.start)
                if one.order.drug != other.order.drug and begin < min(one.order.stop, other.order.stop) - _TINY:
                    what = f"`{regimen.name}` gives `{one.key}` and `{other.key}` together on day {begin:g}"
                    rule, cure = "Nothing that is free can part them", "Free a dose, a start or a stop of one"
                    yield Problem(("limits", index), what, rule, cure)


def _apart(view: PlanView) -> Iterator[Problem]:
    """A washout is not contradicted by days that are fixed."""
    for index, line in view.limits(limit.ApartLimit):
        first, second = line.between
        for regimen in view.records.regimens:
            ends = [p for p in view.orders_of(regimen) if p.order.drug == first and p.order.given]
            begins = [p for p in view.orders_of(regimen) if p.order.drug == second and p.order.given]
            if any(_can_move(view, placed) for placed in (*ends, *begins)):
                continue
            day = _transplant_day(regimen) if first == limit.TRANSPLANT else _stops(view, ends)
            later = _transplant_day(regimen) if second == limit.TRANSPLANT else _begins(begins)
            if day is None or later is None or _drifts(view, line, ends, begins):
                continue
            if later - day < line.least - _TINY:
                what = f"{later - day:g} days between `{first}` and `{second}` in `{regimen.name}`"
                rule, cure = "Nothing that is free can part them further", f"Stop `{first}` earlier, or free its stop"
                yield Problem(("limits", index), what, rule, cure)


def _drifts(view: PlanView, line: limit.ApartLimit, ends: list[Placed], begins: list[Placed]) -> bool:
    """Whether a free day of transplant moves the two against each other."""
    if view.problem.transplant_day is None or limit.TRANSPLANT not in line.between:
        return False
    stops = ((placed, placed.order.dose.stop) for placed in ends)
    starts = ((placed, placed.order.dose.start) for placed in begins)
    moments = stops if line.between[1] == limit.TRANSPLANT else starts
    return not all(
        placed.key.startswith(PROPHYLAXIS) or (moment is not None and moment.anchor == "transplant")
        for placed, moment in moments
    )


def _transplant_day(regimen: Regimen) -> float | None:
    return min((transplant.day for transplant in regimen.transplants), default=None)


def _stops(view: PlanView, ends: list[Placed]) -> float | None:
    return max((finite(p.order.stop, view.problem.horizon) for p in ends), default=None)


def _begins(begins: list[Placed]) -> float | None:
    return min((p.order.start for p in begins), default=None)


def _prophylaxis(view: PlanView) -> Iterator[Problem]:
    for index, line in view.limits(limit.ProphylaxisLimit):
        for regimen in view.records.regimens:
            own = [
                p for p in view.orders_of(regimen) if p.order.drug == line.drug and p.order.index >= len(regimen.doses)
            ]
            if regimen.transplants and not own and line.drug in regimen.drugs:
                rule, cure = "Prophylaxis belongs to the transplant", "Order it under `prophylaxis`"
                yield Problem(("limits", index), f"`{line.drug}` is no prophylaxis in `{regimen.name}`", rule, cure)
            ends = [_latest_end(view, placed) - placed.origin for placed in own]
            if own and max(ends) < line.least - _TINY:
                what = f"`{regimen.name}` gives prophylaxis with `{line.drug}` for {max(ends):g} days at most"
                yield Problem(
                    ("limits", index, "least"), what, f"The limit is {line.least:g} days", "Lengthen the order"
                )


def _latest_end(view: PlanView, placed: Placed) -> float:
    stops = [line.latest for _, line in view.free(FreeStop, placed.key)]
    if stops:
        return placed.day_of(stops[0])
    if view.moves(placed.key, FreeDose):
        return max(finite(placed.order.stop, view.problem.horizon), placed.end(view.problem.horizon))
    return finite(placed.order.stop, view.problem.horizon)


def _endpoints(view: PlanView) -> Iterator[Problem]:
    states = any(goal.states is not None for goal in view.problem.goals)
    for index, line in view.limits(limit.EndpointLimit):
        if line.endpoint == QUALITY and not states:
            rule, cure = (
                "The worth of each state stands in the goal of that name",
                "Add the goal, or take the limit out",
            )
            yield Problem(("limits", index, "endpoint"), f"`{QUALITY}` without `states`", rule, cure)


LIMIT_CHECKS: tuple[Check, ...] = (
    Check("plan.unknown-drug", _drugs),
    Check("plan.limit-of-fixed-dose", _free_doses),
    Check("plan.visits", _visits),
    Check("plan.limit-twice", _repeated),
    Check("plan.trough", windows),
    Check("plan.trough", sampled_while_given),
    Check("plan.contradiction", _doses),
    Check("plan.tablets", _tablets),
    Check("plan.contradiction", _together),
    Check("plan.contradiction", _apart),
    Check("plan.contradiction", _prophylaxis),
    Check("plan.endpoint", _endpoints),
)
"""Checks of limits, in the order in which faults are told."""
