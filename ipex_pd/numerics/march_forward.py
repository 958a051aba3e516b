"""The march without derivatives in reverse: it ends with the last block that is read, whatever is laid out after it."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from ipex_pd.numerics import march as whole
from ipex_pd.numerics.march import Course, Values
from ipex_pd.numerics.march_plan import Blocks

Array = Any


def march_forward(
    course: Course, slots: Blocks, places: Array, theta: Values, *, age: Array, x: Array
) -> tuple[Array, Array]:
    """The same numbers as `march`, in time that follows the last of the steps that are read.

    Args:
        course: of the plan.
        slots: of the plan, or some rows of it; rows of similar length waste little.
        places: [B, V] steps at which a child's values are read, before what happens there.
        theta: name -> [B].
        age: [B] at day 0 [day].
        x: [S, B] states at day 0.
    """
    blocks = jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), slots)
    step = partial(whole._block, course, theta, age)
    begin = whole.beginning(course, theta, age=age, x=x)
    one = jax.tree.map(lambda leaf: leaf[0], blocks)
    _, row = jax.eval_shape(step, begin, one)
    count, size = blocks.length.shape[:2]
    history = jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape), leaf.dtype), row)
    needed = jnp.minimum(jnp.max(places) // size + 1, count)

    def advance(state: tuple[Array, Any, Any]) -> tuple[Array, Any, Any]:
        k, carry, rows = state
        after, found = step(carry, jax.tree.map(lambda leaf: leaf[k], blocks))
        return k + 1, after, jax.tree.map(lambda all_rows, new: all_rows.at[k].set(new), rows, found)

    start = (jnp.zeros((), int), begin, history)
    _, _, history = jax.lax.while_loop(lambda state: state[0] < needed, advance, start)
    return whole._read(history, places)
