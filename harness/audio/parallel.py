"""Work on many tracks in worker processes: bounded memory, progress, and no process left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TypeVar

from harness.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")

Progress = Callable[[int, int], None]
"""Called with (done, total) after every item."""

ITEMS_WORTH_A_WORKER = 8
"""A worker takes a second or two to import what it needs: about eight tracks' worth of work."""

_THREADS = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


def map_items(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    progress: Progress | None = None,
    workers: int | None = None,
    name: Callable[[Item], object] = str,
) -> list[Result]:
    """Return `function` of every item, in order.

    Args:
        function: a module-level function of a module that is light to import.
        items: what it is called with.
        progress: told after every item how many are done, and of how many.
        workers: processes; by default one a processor, and fewer for a few items. One means this process.
        name: how an item is called in an error.

    Raises:
        DataError: a worker process died.
        Exception: whatever `function` raised first; items that have not started are dropped.
    """
    if workers is None:
        workers = min(_processors(), len(items) // ITEMS_WORTH_A_WORKER)
    if workers <= 1:
        return [_reported(function(item), done, len(items), progress) for done, item in enumerate(items, start=1)]

    results: dict[int, Result] = {}
    pending: dict[Future[Result], int] = {}
    waiting = iter(enumerate(items))
    # Not a fork server: a process has only one, and it belongs to the trials, who choose what it has imported.
    context = multiprocessing.get_context("spawn")
    with _single_threaded(), ProcessPoolExecutor(workers, context, initializer=_start_worker) as pool:
        try:
            while len(results) < len(items):
                for index, item in waiting:
                    pending[pool.submit(function, item)] = index
                    if len(pending) >= 2 * workers:
                        break
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    results[pending[future]] = future.result()
                    del pending[future]
                    if progress is not None:
                        progress(len(results), len(items))
        except BrokenProcessPool:
            suspects = ", ".join(str(name(items[index])) for index in sorted(pending.values()))
            raise DataError(
                f"A worker process died while it worked on one of: {suspects}. It may have run out of memory, or "
                f"one of these files may crash the decoder. Free some memory and run again, or remove the file."
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    return [results[index] for index in range(len(items))]


def _reported(result: Result, done: int, total: int, progress: Progress | None) -> Result:
    if progress is not None:
        progress(done, total)
    return result


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Let workers that start within use one thread of linear algebra each; it is read when numpy is imported."""
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(_THREADS)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
