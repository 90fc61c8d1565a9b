"""What a contender measured, as the one line of JSON on its standard output; all else that it prints goes elsewhere."""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from typing import Any

import psutil

Figures = Mapping[str, Any]
"""What a contender measured, by name; a unit stands in the name, as `_seconds` or `_bytes`."""


def report(contender: Callable[[], Figures]) -> None:
    """Run a contender and print its figures, with those of its whole process.

    The latter are `cpu_seconds` (user and system, since the process began; ended children count), `wall_seconds` (of
    the contender), and `peak_rss_bytes` (of this process, not of its children).
    """
    started = time.perf_counter()
    with redirect_stdout(sys.stderr):
        figures = contender()
    process = {
        "cpu_seconds": cpu_seconds(),
        "wall_seconds": time.perf_counter() - started,
        "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    print(json.dumps({**process, **figures}))


def cpu_seconds() -> float:
    """Return the user and system seconds of this process and of its children that ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def rss_bytes() -> int:
    """Return the memory that is resident for this process, shared pages included."""
    return int(psutil.Process().memory_info().rss)


def later_median(values: Sequence[float]) -> float:
    """Return the median of all values but the first, which pays for what is made once."""
    return statistics.median(values[1:] or values)
