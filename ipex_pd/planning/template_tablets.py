"""Tablets, capsules and steps: which of them make a dose."""

from __future__ import annotations

from functools import lru_cache

from ipex_pd.records.plan_limits import StepLimit, StrengthsLimit

_GRAIN = 1000


def tablets_for(milligrams: float, limit: StrengthsLimit | StepLimit) -> tuple[tuple[float, float], ...] | None:
    """(number, strength [mg]) with the fewest pieces that make a dose, largest first; None where none do.

    A half tablet counts as a piece, so that whole ones are preferred.
    """
    if isinstance(limit, StepLimit):
        number = round(milligrams / limit.of.value)
        return ((float(number), limit.of.value),) if abs(number * limit.of.value - milligrams) < 1e-6 else None
    whole = tuple(sorted((round(a.value * _GRAIN) for a in limit.of), reverse=True))
    target = milligrams * _GRAIN
    if abs(target - round(target)) > 1e-3:
        return None
    halves = tuple(w // 2 for w in whole if w % 2 == 0) if limit.halves else ()
    made = _fewest(round(target), tuple(sorted({*whole, *halves}, reverse=True)), whole)
    if made is None:
        return None
    found: dict[float, float] = {}
    for piece in made:
        strength = piece if piece in whole else 2 * piece
        found[strength / _GRAIN] = found.get(strength / _GRAIN, 0.0) + (1.0 if piece in whole else 0.5)
    return tuple((number, strength) for strength, number in sorted(found.items(), reverse=True))


@lru_cache(maxsize=4096)
def _fewest(target: int, pieces: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, ...] | None:
    """The fewest pieces with a sum, whole tablets before halves."""
    if target == 0:
        return ()
    step = _common(pieces)
    if target % step:
        return None
    size = target // step
    best: list[tuple[float, int]] = [(0.0, 0)] + [(float("inf"), 0)] * size
    for total in range(1, size + 1):
        for piece in pieces:
            part = piece // step
            if part <= total:
                cost = best[total - part][0] + (1.0 if piece in whole else 1.0 + 1e-6)
                if cost < best[total][0] - 1e-12:
                    best[total] = (cost, piece)
    if best[size][0] == float("inf"):
        return None
    found, total = [], size
    while total:
        found.append(best[total][1])
        total -= best[total][1] // step
    return tuple(found)


def _common(pieces: tuple[int, ...]) -> int:
    import math

    return max(1, math.gcd(*pieces))


def tablets_in_words(found: tuple[tuple[float, float], ...]) -> str:
    """`2 x 5 mg + 1.5 x 1 mg`."""
    return " + ".join(f"{number:g} x {strength:g} mg" for number, strength in found)
