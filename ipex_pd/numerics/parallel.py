"""Chunks of patients over threads, with progress and an orderly end on Ctrl-C."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

import numpy as np

Task = TypeVar("Task")
Result = TypeVar("Result")

SIZES = (1, 8, 64, 256)
"""Numbers of patients that programs are compiled for."""


def run_chunks(
    tasks: Sequence[Task],
    work: Callable[[Task, threading.Event], Result],
    *,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[list[Result | None], bool]:
    """Do all tasks, a few at a time.

    Args:
        tasks: what to do.
        work: (task, event that is set when work must stop) -> result.
        threads: how many at a time.
        progress: called with (tasks done, tasks in all) after each.

    Returns:
        Results in the order of the tasks, None where one was not finished, and whether all were: an interrupt from
        the keyboard keeps what is there.
    """
    results: list[Result | None] = [None] * len(tasks)
    halt = threading.Event()
    done = 0
    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        waiting: dict[Future[Result], int] = {pool.submit(work, task, halt): i for i, task in enumerate(tasks)}
        try:
            while waiting:
                finished, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in finished:
                    results[waiting.pop(future)] = future.result()
                    done += 1
                    if progress is not None:
                        progress(done, len(tasks))
        except KeyboardInterrupt:
            halt.set()
            for future in waiting:
                future.cancel()
            return results, False
        except BaseException:
            halt.set()
            for future in waiting:
                future.cancel()
            raise
    return results, True


def chunks(patients: np.ndarray, largest: int) -> list[np.ndarray]:
    """Groups of patients, at most ``largest`` each, that waste little when filled up to a compiled size."""
    groups = []
    rest = np.asarray(patients, int)
    while len(rest):
        size = min(len(rest), largest)
        if 2 * size < padded_size(size, largest):
            size = max(s for s in SIZES if s <= size)
        groups.append(rest[:size])
        rest = rest[size:]
    return groups


def padded_size(count: int, largest: int) -> int:
    """The compiled size that holds ``count`` patients."""
    return next((s for s in SIZES if count <= s <= largest), largest)
