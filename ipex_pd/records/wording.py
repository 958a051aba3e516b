"""Orders and transplants in sentences that a pharmacist can check."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ipex_pd.records.orders import Dose, TargetTrough, Transplant, levels
from ipex_pd.records.schedule import Order

_CONDITIONING = {"reduced": "reduced-intensity conditioning", "full": "full (myeloablative) conditioning"}
_SEROTHERAPY = {"alemtuzumab": "with alemtuzumab", "atg": "with antithymocyte globulin", "none": "without serotherapy"}
DONORS = {
    "matched_related": "a matched related donor",
    "matched_unrelated": "a matched unrelated donor",
    "haploidentical": "a haploidentical donor",
    "mismatched": "a mismatched donor",
}
_GRAFT = {"marrow": "marrow", "peripheral_blood": "peripheral blood stem cells", "cord": "cord blood"}


def duration_in_words(days: float) -> str:
    """`0.5` as `12 h`, `14` as `14 days`."""
    if days < 1:
        hours = days * 24
        return f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"
    return "1 day" if days == 1 else f"{days:g} days"


def regimen_in_words(found: Sequence[Order], transplants: Sequence[Transplant]) -> list[str]:
    """One sentence a line: each order with its taper and target, then the transplants."""
    lines = [line for order in found if order.given for line in order_in_words(order)]
    lines += [transplant_in_words(transplant) for transplant in transplants]
    return lines or ["No drug and no transplant."]


def order_in_words(order: Order) -> list[str]:
    """The order, its loading dose, its taper and its target."""
    dose = order.dose
    when = f"once, on day {order.start:g}" if _once(order) else f"{_rhythm(dose)}{_maximum(dose)}, {_period(order)}"
    lines = [f"{_drug(dose.drug)} {_way(dose)}: {_amount(dose)}, {when}."]
    if dose.loading is not None:
        first = "First dose" if dose.loading.count == 1 else f"First {dose.loading.count} doses"
        lines.append(f"{first} of {_drug(dose.drug).lower()}: {dose.loading.amount}.")
    if dose.taper:
        lines.append(_taper(order))
    if dose.target_trough is not None:
        lines.append(_target(dose.drug, dose.target_trough))
    return lines


def _once(order: Order) -> bool:
    """Whether the order ends before its second dose."""
    dose = order.dose
    alone = dose.every is not None and order.stop - order.start <= dose.every and dose.loading is None
    return (dose.count == 1 or alone) and dose.maximum is None and not dose.amount.per_day


def _drug(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _way(dose: Dose) -> str:
    if dose.route == "oral":
        return "by mouth"
    return f"as an infusion over {duration_in_words(dose.infusion)}" if dose.infusion else "as an intravenous injection"


def _amount(dose: Dose) -> str:
    if not dose.amount.per_day:
        return f"{dose.amount} a dose"
    number = f"{dose.split:g} doses" if dose.split != 1 else "1 dose"
    size = dose.amount
    return f"{size.value:g} {size.basis} a day in {number}"


def _rhythm(dose: Dose) -> str:
    if dose.every is not None:
        return "every day" if dose.every == 1 else f"every {duration_in_words(dose.every)}"
    days = f" on {', '.join(dose.days_of_week)} (day 0 is a Monday)" if dose.days_of_week else " every day"
    return f"at {' and '.join(sorted(dose.at))}{days}"


def _maximum(dose: Dose) -> str:
    if dose.maximum is None:
        return ""
    return f", at most {dose.maximum.value:g} mg a {'day' if dose.maximum.per_day else 'dose'}"


def _period(order: Order) -> str:
    dose, start = order.dose, f"from day {order.start:g}"
    if dose.count is not None:
        return f"{start}, {dose.count} dose{'s' if dose.count > 1 else ''}"
    return start if math.isinf(order.stop) else f"{start} until day {order.stop:g}"


def _taper(order: Order) -> str:
    steps = [
        f"{value:.3g} from day {order.start + day:g}" if value else f"none from day {order.start + day:g}"
        for day, value in levels(order.dose)[1:]
        if order.start + day < order.stop or not value
    ]
    return f"Taper of {_drug(order.drug).lower()} ({order.dose.amount.unit}): {', '.join(steps)}."


def _target(drug: str, aim: TargetTrough) -> str:
    days = ", ".join(f"{day:g}" for day in aim.sampling_days)
    later = f", then every {duration_in_words(aim.then_every)}" if aim.then_every else ""
    name = _drug(drug).lower()
    return (
        f"Trough of {name} kept between {aim.low} and {aim.high}, sampled {days} days after its start{later}; "
        f"dose from {aim.smallest_dose} to {aim.largest_dose}, changed at most {aim.largest_step:g}-fold at once."
    )


def transplant_in_words(transplant: Transplant) -> str:
    """Day, donor, graft, conditioning and cells."""
    cells = [f"{text} {name}" for name, text in (("CD34", transplant.cd34), ("CD3", transplant.cd3)) if text]
    tail = f" ({', '.join(cells)})" if cells else ""
    graft, donor = _GRAFT[transplant.graft], DONORS[transplant.donor]
    return (
        f"Transplant on day {transplant.day:g} of {graft}{tail} from {donor}, after "
        f"{_CONDITIONING[transplant.conditioning]} {_SEROTHERAPY[transplant.serotherapy]}."
    )
