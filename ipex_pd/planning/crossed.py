"""Children and parameter draws as two crossed samples: how often each member counts when both are drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def crossed_counts(random: np.random.Generator, groups: Sequence[np.ndarray], count: int) -> NDArray[np.float64] | None:
    """[count, M] products of how often the group of each member was drawn (the pigeonhole bootstrap).

    Args:
        random: whence; a group is drawn after another, in their order.
        groups: [M] labels each, such as the child and the draw of every member.
        count: resamples.

    Returns:
        None where no grouping has more than one group: nothing can be drawn again.
    """
    found: NDArray[np.float64] | None = None
    for labels in groups:
        _, place = np.unique(labels, return_inverse=True)
        size = int(place.max()) + 1
        if size > 1:
            times = random.multinomial(size, np.full(size, 1.0 / size), size=count)[:, place].astype(np.float64)
            found = times if found is None else found * times
    return found
