"""Work on many items in worker processes: bounded memory, progress, and no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from threadpoolctl import threadpool_limits

from harness.errors import DataError
from harness.keras_backend import ONE_THREAD
from harness.processes import die_with_parent, environment_set, sheltered

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int], None]
"""Called with (done, total) after every item."""

ITEMS_WORTH_A_WORKER = 8
"""A worker takes a second or two to import what it needs: about eight tracks' worth of work."""


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    name: Callable[[Item], object] = str,
    advice: str = "It may have run out of memory. Free some, and run again.",
) -> list[Result]:
    """Return `function` of every item, in order.

    Workers do not import this program's `__main__`: a script needs no guard, and nothing of it runs twice.

    Args:
        function: a module-level function of a module that is light to import, or a partial of one; not of `__main__`.
        items: what it is called with.
        progress: told after every item how many are done, and of how many.
        workers: processes; by default one a processor, and fewer for a few items. One means this process.
        name: how an item is called in an error.
        advice: what may have ended a worker that died, and what to do about it.

    Raises:
        DataError: a worker process died.
        Exception: whatever `function` raised first; items that have not started are dropped.
    """
    if workers is None:
        workers = min(_processors(), len(items) // ITEMS_WORTH_A_WORKER)
    if workers <= 1:
        # As in a worker: on products as small as these, threads of BLAS only wait for each other.
        with threadpool_limits(1, "blas"):
            return [_reported(function(item), done, len(items), progress) for done, item in enumerate(items, start=1)]

    results: dict[int, Result] = {}
    pending: dict[Future[Result], int] = {}
    waiting = iter(enumerate(items))
    # Not a fork server: a process has only one, and it belongs to the trials, who choose what it has imported.
    context = multiprocessing.get_context("spawn")
    with sheltered():
        executor = ProcessPoolExecutor(workers, context, initializer=_start_worker)
    with executor as pool:
        try:
            while len(results) < len(items):
                for index, item in waiting:
                    # The pool starts its workers here, one by one as it comes to need them.
                    with environment_set(ONE_THREAD), sheltered():
                        future = pool.submit(function, item)
                    pending[future] = index
                    if len(pending) >= 2 * workers:
                        break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    results[pending[future]] = future.result()
                    del pending[future]
                    if progress is not None:
                        progress(len(results), len(items))
        except BrokenProcessPool:
            suspects = ", ".join(str(name(items[index])) for index in sorted(pending.values()))
            raise DataError(f"A worker process died while it worked on one of: {suspects}. {advice}") from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [results[index] for index in range(len(items))]


def _reported(result: Result, done: int, total: int, progress: Progress | None) -> Result:
    if progress is not None:
        progress(done, total)
    return result


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
