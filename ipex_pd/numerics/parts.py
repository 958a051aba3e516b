"""A differentiable function of members and a shared vector, part by part on threads.

Reverse mode over all members at once takes one core and more memory than its cache holds. Parts of some fifty members
each run side by side and give the same numbers; what joins members (a mean, a quantile, a limit) stands between the two
halves:

```python
halves = InParts(outcome, parts)  # outcome(part, x) -> arrays, members last; parts: pytrees of one shape
values, pull = halves.forward(x)  # one result for each part
slope = pull(cotangents)  # one for each part, shaped like the values; [n]
```
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ipex_pd.numerics.parallel import run_chunks

Array = Any


class InParts:
    """A function of members in parts. Equal shapes of the parts mean one compiled program.

    Args:
        function: (part, x) -> any pytree of arrays; traceable.
        parts: a pytree of arrays for each part.
        threads: parts at a time.
    """

    def __init__(self, function: Callable[[Any, Array], Any], parts: Sequence[Any], *, threads: int = 2) -> None:
        self.parts, self.threads = list(parts), threads
        self._value = jax.jit(function)
        self._forward = jax.jit(lambda part, x: jax.vjp(partial(function, part), x))
        self._back = jax.jit(lambda pull, given: pull(given)[0])

    def value(self, x: Array) -> list[Any]:
        """Results of all parts, without derivatives."""
        return self._each(lambda part: self._value(part, x), self.parts)

    def forward(self, x: Array) -> tuple[list[Any], Callable[[Sequence[Any]], np.ndarray]]:
        """Results of all parts, and what takes cotangents of them to the gradient by ``x`` (again and again)."""
        found = self._each(lambda part: self._forward(part, x), self.parts)
        pulls = [pull for _, pull in found]

        def back(given: Sequence[Any]) -> np.ndarray:
            slopes = self._each(lambda pair: self._back(*pair), list(zip(pulls, given, strict=True)))
            return np.asarray(sum(np.asarray(slope) for slope in slopes))

        return [value for value, _ in found], back

    def replaced(self, parts: Sequence[Any]) -> None:
        """Other data for the parts, of the same shapes: a mesh frozen anew."""
        self.parts = list(parts)

    def _each(self, work: Callable[[Any], Any], tasks: Sequence[Any]) -> list[Any]:
        def one(task: Any, halt: threading.Event) -> Any:
            if halt.is_set():
                raise KeyboardInterrupt
            return jax.block_until_ready(work(task))

        done, finished = run_chunks(tasks, one, threads=self.threads)
        if not finished:
            raise KeyboardInterrupt
        return done


def split_members(tree: Any, members: int, size: int) -> list[Any]:
    """Leaves [..., P] cut into parts of one size along the last axis, the last part filled up with its last member.

    Args:
        tree: arrays with members last; others (shared ones) must not be in it.
        members: P.
        size: members of a part.

    Returns:
        Parts; a filled-up one repeats a member, whose weight the caller sets to zero.
    """
    starts = range(0, members, size)
    rows = [np.minimum(np.arange(first, first + size), members - 1) for first in starts]
    return [jax.tree.map(lambda leaf, own=own: jnp.asarray(leaf)[..., own], tree) for own in rows]
