"""Reading history ahead: while this process applies one slice, the server reads the next ones on
further connections.

It is for long passes over history only. Slices don't depend on each other, so order and results
are the same without it.

Without it, the time of the server and of this process add up: a replay of 10,000 commits takes 2.8
times the processor time of the raw stream of diffs, and may take twice its wall-clock time.
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
"""Further connections. Memory holds a slice for each, and the one that is applied."""


def prefetch(
    engine: Engine, jobs: Iterable[Job], read: Callable[[Engine, Job], Found]
) -> Iterator[tuple[Job, Found]]:
    """Yield each job with the result of ``read``, in order.

    A single job, or one of an engine without siblings, is read on the engine itself. An error of
    ``read`` is raised in its turn.
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
        pending: deque[tuple[Job, Future[Found]]] = deque()
        stack.callback(
            lambda: [future.cancel() for _, future in pending]
        )  # before the pool is waited for
        for job in chain(first, rest):
            pending.append((job, pool.submit(one, job)))
            if len(pending) > PREFETCH_CONNECTIONS:
                done, future = pending.popleft()
                yield done, future.result()
        while pending:
            done, future = pending.popleft()
            yield done, future.result()
