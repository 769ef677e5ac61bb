"""History read ahead: while this process folds one slice, the server reads the next ones, on
connections of their own.

For long passes over the past only. What one slice reads does not depend on another, so nothing
is decided here: order and results are as without.

Without it the server's time and this process's add up: a replay of 10,000 commits takes 2.8 times
the processor time of the raw stream of diffs, and may take twice its wall-clock time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import chain, islice
from typing import TypeVar

from dolt_watch.engines import Engine

Job = TypeVar("Job")
Found = TypeVar("Found")

PREFETCH_CONNECTIONS = 3
"""Connections beside the first. So many slices are held in memory, and the one that is folded."""


def prefetch(
    engine: Engine, jobs: Iterable[Job], read: Callable[[Engine, Job], Found]
) -> Iterator[tuple[Job, Found]]:
    """Each job with what ``read`` found, in order.

    A single one, or an engine that gains nothing by a twin, is read where it stands.

    Raises what ``read`` raises, when its turn has come.
    """
    rest = iter(jobs)
    first = list(islice(rest, 2))
    with ExitStack() as stack:
        twins = list[Engine]()
        if len(first) > 1:
            for _ in range(PREFETCH_CONNECTIONS):
                twin = engine.open_sibling()
                if twin is not None:
                    twins.append(stack.enter_context(closing(twin)))
        if not twins:
            for job in chain(first, rest):
                yield job, read(engine, job)
            return

        # Late: a tick that reads little needs no threads.
        from concurrent.futures import Future, ThreadPoolExecutor

        def one(job: Job) -> Found:
            twin = twins.pop()  # there are as many as threads
            try:
                return read(twin, job)
            finally:
                twins.append(twin)

        pool = stack.enter_context(ThreadPoolExecutor(len(twins)))
        asked: deque[tuple[Job, Future[Found]]] = deque()
        stack.callback(
            lambda: [future.cancel() for _, future in asked]
        )  # before the pool is waited for
        for job in chain(first, rest):
            asked.append((job, pool.submit(one, job)))
            if len(asked) > PREFETCH_CONNECTIONS:
                done, future = asked.popleft()
                yield done, future.result()
        while asked:
            done, future = asked.popleft()
            yield done, future.result()
