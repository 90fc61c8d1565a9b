"""What contenders of ours do alike: a command that prints figures, and clocks of processor time."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass

import typer


class Contenders(typer.Typer):
    """Functions that return figures, each a command of its module."""

    def __init__(self) -> None:
        super().__init__(add_completion=False, pretty_exceptions_enable=False)
        # With a callback a function alone is a command by its name, too.
        self.callback()(lambda: None)

    def print_figures(self) -> None:
        """Run the command that the arguments of this process name, and print its figures as a line of JSON."""
        with redirect_stdout(sys.stderr):
            figures = self(standalone_mode=False)
        print(json.dumps(figures))


@dataclass
class Spent:
    """What a block took; whole once it has ended.

    Attributes:
        cpu: user and system seconds of this process, and of its children that ended.
        thread: of the thread alone.
    """

    cpu: float = 0.0
    thread: float = 0.0
    wall: float = 0.0


@contextmanager
def spent() -> Iterator[Spent]:
    """Measure a block."""
    taken = Spent()
    cpu, thread, wall = cpu_seconds(), time.thread_time(), time.perf_counter()
    yield taken
    taken.cpu, taken.thread = cpu_seconds() - cpu, time.thread_time() - thread
    taken.wall = time.perf_counter() - wall


def cpu_seconds() -> float:
    """Return the user and system seconds of this process, and of its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def process_seconds(pid: int) -> float:
    """Return the user and system seconds of a running process, without its children."""
    # The clock of a process by its number; see MAKE_PROCESS_CPUCLOCK in the kernel.
    return time.clock_gettime(~pid << 3 | 2)


def use_one_thread() -> None:
    """Set what a trial's child sets before it imports the framework, here for one thread of a processor."""
    from harness.keras_backend import CHILD_CPU, environment

    os.environ.update({**environment(), **CHILD_CPU})
