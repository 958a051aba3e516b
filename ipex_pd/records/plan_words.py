"""A plan in sentences that a pharmacist can check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ipex_pd.records import plan_limits as limit
from ipex_pd.records.dosing import Moment
from ipex_pd.records.plan_free import (
    PROPHYLAXIS,
    AnyFree,
    FreeDays,
    FreeDose,
    FreeInterval,
    FreeStart,
    FreeStop,
    TransplantConditioning,
    TransplantDay,
    TransplantDonor,
    order_keys,
)
from ipex_pd.records.plan_goals import GOALS
from ipex_pd.records.plan_names import PlanRecords, records_of
from ipex_pd.records.plans import PlanningProblem
from ipex_pd.records.regimens import Regimen
from ipex_pd.records.wording import DONORS, duration_in_words


def plan_in_words(problem: PlanningProblem) -> list[str]:
    """One sentence a line.

    Raises:
        RecordError: a name in the plan leads nowhere.
    """
    records = records_of(problem)
    lines = [
        f"For patient `{records.patient.name}` over {duration_in_words(problem.horizon)}, beginning from regimen "
        f"`{records.start.name}`:",
        *(f"  {line}" for line in records.start.in_words()),
    ]
    for other in records.alternatives:
        lines += [f"Or beginning from regimen `{other.name}`:", *(f"  {line}" for line in other.in_words())]
    lines += [f"Free: {free_in_words(line, records)}." for line in problem.free]
    lines += _goals(problem)
    lines += [f"Limit: {limit_in_words(line)}." for line in problem.limits]
    if problem.timing is not None:
        lines.append(problem.timing.in_words())
    if records.compare_with:
        lines.append(f"It is compared with {_listed([f'`{regimen.name}`' for regimen in records.compare_with])}.")
    return lines


def _goals(problem: PlanningProblem) -> Iterator[str]:
    alone = len(problem.goals) == 1
    goals = "; ".join(goal.in_words(alone) for goal in problem.goals)
    yield f"Goal: {goals}; {problem.statistic.in_words()}."
    yield f"Members: {problem.ensemble.in_words()}. The plan found is judged again: {problem.fresh.in_words()}."


def order_in_words(key: str) -> str:
    """`tacrolimus 2` as `tacrolimus (order 2)`."""
    name, _, number = key.removeprefix(PROPHYLAXIS).partition(" ")
    notes = ["prophylaxis"] if key.startswith(PROPHYLAXIS) else []
    notes += [f"order {number}"] if number else []
    return name.replace("_", " ") + (f" ({', '.join(notes)})" if notes else "")


def free_in_words(line: AnyFree, records: PlanRecords) -> str:
    """A free quantity; what it takes the place of in the regimens is said."""
    if isinstance(line, FreeDose):
        head = f"the dose of {order_in_words(line.order)} between {line.lowest} and {line.highest}, {_rhythm(line)}"
        return head + _replaced(line, records.regimens)
    if isinstance(line, FreeInterval):
        spans = _listed([duration_in_words(span) for span in line.among], "or")
        return f"the time between doses of {order_in_words(line.order)}, {spans}"
    if isinstance(line, FreeStart | FreeStop):
        what = "start" if isinstance(line, FreeStart) else "stop"
        return f"the {what} of {order_in_words(line.order)}, from {line.earliest} to {line.latest}{_count(line.order)}"
    if isinstance(line, FreeDays):
        return (
            f"the day of each dose of {order_in_words(line.order)}, from {line.earliest} to {line.latest}, "
            f"at least {duration_in_words(line.apart)} apart{_count(line.order)}"
        )
    if isinstance(line, TransplantDay):
        return f"the day of transplant, from day {line.earliest:g} to day {line.latest:g}"
    if isinstance(line, TransplantConditioning):
        return f"the conditioning, {_listed(line.among, 'or')}"
    return f"the donor, {_donors(line)}"


def _donors(line: TransplantDonor) -> str:
    return _listed(
        [
            DONORS[choice.donor] + (f" (there from day {choice.available:g})" if choice.available else "")
            for choice in line.among
        ],
        "or",
    )


def _count(key: str) -> str:
    return " after the transplant" if key.startswith(PROPHYLAXIS) else ""


def _rhythm(line: FreeDose) -> str:
    after = _count(line.order)
    if line.changes_every is not None:
        text = f"changed every {duration_in_words(line.changes_every).removeprefix('1 ')} at most"
    elif line.changes_on:
        text = f"changed on {_listed([_day(moment) for moment in line.changes_on])}{after} only"
    else:
        text = "one dose throughout"
    text += f", from {line.first}{after}" if line.first is not None else ""
    return text + (f", until {line.until}{after}" if line.until is not None else "")


def _day(moment: Moment) -> str:
    return str(moment)


def _replaced(line: FreeDose, regimens: Sequence[Regimen]) -> str:
    """What of the order gives way to the free dose."""
    found: list[str] = []
    for regimen in regimens:
        order = order_keys(regimen).get(line.order)
        if order is None:
            continue
        found += ["loading dose"] if order.dose.loading is not None else []
        found += ["taper"] if order.dose.taper else []
        found += ["trough target"] if order.dose.target_trough is not None else []
    names = list(dict.fromkeys(found))
    return f"; it takes the place of its {_listed(names)}" if names else ""


def limit_in_words(line: limit.AnyLimit) -> str:
    """A limit."""
    if isinstance(line, limit.TroughLimit):
        return _trough(line)
    if isinstance(line, limit.SingleDoseLimit | limit.DailyDoseLimit | limit.CumulativeDoseLimit):
        over = {"single_dose": "a dose", "daily_dose": "a day", "cumulative_dose": "in all"}[line.key]
        return f"at most {line.most.value:g} {line.most.basis} of {order_in_words(line.drug)} {over}"
    if isinstance(line, limit.TaperLimit):
        step = f", and a change is at least {line.smallest_step}" if line.smallest_step else ""
        return f"the dose of {order_in_words(line.order)} never rises{step}"
    if isinstance(line, limit.ChangesLimit):
        times = {0: "never changes", 1: "changes once at most"}.get(line.most, f"changes {line.most} times at most")
        return f"the dose of {order_in_words(line.order)} {times}"
    if isinstance(line, limit.VisitsLimit):
        return f"free doses change on visits only, on day {_listed([f'{day:g}' for day in line.days])}"
    if isinstance(line, limit.StrengthsLimit):
        halves = ", which may be halved" if line.halves else ""
        of = _listed([str(a) for a in line.of])
        return f"doses of {order_in_words(line.drug)} are made of tablets or capsules of {of}{halves}"
    if isinstance(line, limit.StepLimit):
        return f"doses of {order_in_words(line.drug)} are multiples of {line.of}"
    return _other(line)


def _other(
    line: limit.NotTogetherLimit | limit.ApartLimit | limit.ProphylaxisLimit | limit.EndpointLimit,
) -> str:
    if isinstance(line, limit.NotTogetherLimit):
        return f"no two of {_listed([order_in_words(drug) for drug in line.drugs])} are given at the same time"
    if isinstance(line, limit.ApartLimit):
        first, second = ("the transplant" if n == limit.TRANSPLANT else order_in_words(n) for n in line.between)
        return f"at least {duration_in_words(line.least)} between {first} and {second}"
    if isinstance(line, limit.ProphylaxisLimit):
        until = duration_in_words(line.least)
        return f"prophylaxis with {order_in_words(line.drug)} until at least {until} after the transplant"
    side, written = ("at most", line.most) if line.most is not None else ("at least", line.least)
    unit = "" if isinstance(written, str) or line.unit in ("1", "fraction") else f" {line.unit}"
    number = written if isinstance(written, str) else f"{line.bound:g}"
    return f"{GOALS[line.endpoint].words} {side} {number}{unit}{_share(line.share)}"


def _trough(line: limit.TroughLimit) -> str:
    if line.low is not None and line.high is not None:
        window = f"between {line.low} and {line.high}"
    else:
        window = f"above {line.low}" if line.low is not None else f"below {line.high}"
    if line.days:
        when = f"on day {_listed([f'{day:g}' for day in line.days])}"
    else:
        every = duration_in_words(line.every or limit.WEEK).removeprefix("1 ")
        when = f"every {every} from day {line.first:g}" + (f" to day {line.until:g}" if line.until is not None else "")
    share = " of members and days" if line.share is not None else ""
    return f"trough of {order_in_words(line.drug)} {window}, {when}{_share(line.share, share)}"


def _share(share: float | None, of: str = " of the members") -> str:
    return f", in {100 * share:g} %{of}" if share is not None else ", in the mean over the members"


def _listed(names: Sequence[str], last: str = "and") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {last} {names[-1]}"
