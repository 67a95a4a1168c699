"""Processes of their own for detection and replacement; what they return does not depend on how many they are."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from pipelines import processes
from pipelines.errors import Transient

Job = TypeVar("Job")
Done = TypeVar("Done")
Work = Callable[[Job], Done]
Map = Callable[[Work[Any, Any], Sequence[Any]], Iterable[Any]]
"""map(work, jobs): the result of each job, in the jobs' order."""


@contextmanager
def workers(count: int, start: Callable[..., None], *arguments: object) -> Iterator[Map]:
    """Yields a `map` over `count` spawned processes (a fork of a process with threads can hang), each prepared by
    start(*arguments). With fewer than two the work is done here.

    Raises:
        Transient: a process died.
    """
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    if count < 2:
        with threadpool_limits(1):  # as in a process of its own: the same sums in the same order
            start(*arguments)
            yield map
        return
    initial = (os.getpid(), start, arguments)
    try:
        with ProcessPoolExecutor(count, get_context("spawn"), initializer=_begin, initargs=initial) as pool:
            yield pool.map
    except BrokenProcessPool:
        raise Transient("scrub: a working process died (out of memory?)") from None


def _begin(parent: int, start: Callable[..., None], arguments: Sequence[object]) -> None:
    processes.end_with(parent)
    threadpool_limits(1)  # a process a core: more threads would only contend
    start(*arguments)
