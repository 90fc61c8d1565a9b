"""A stand-in for the NVIDIA driver, and processes that really hold the memory that it reports.

`Driver` is a process that finds `libnvidia-ml.so.1` as any process does, through the loader's path. What the driver
reports is written with `describe`; the directives are explained at the top of `nvml_stub.c`.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.processes import environment_set, sheltered

SOURCE = Path(__file__).with_name("nvml_stub.c")
STATE = "NVML_STUB_STATE"
"""The variable that names the file in which stands what the driver reports."""

_PYTHON = [sys.executable, "-I", "-S", "-c"]
_HOLDER = """
import os, sys
blocks, figure = [], sys.argv[1]
print(os.getpid(), flush=True)
for line in sys.stdin:
    command, _, size = line.partition(" ")
    if command == "hold":
        blocks.append(b"x" * (int(size) << 20))
    else:
        blocks.clear()
    with open(figure + ".new", "w") as file:
        file.write(str(sum(map(len, blocks))))
    os.replace(figure + ".new", figure)
    print("done", flush=True)
"""

_numbers = itertools.count()


def build(folder: Path, *defines: str) -> None:
    """Compile the stand-in into a folder that is not there yet.

    Args:
        defines: macros of `nvml_stub.c`.

    Raises:
        RuntimeError: there is no C compiler.
    """
    if shutil.which("gcc") is None:
        raise RuntimeError("The tests of GPU memory compile a stand-in for the NVIDIA driver: install gcc.")
    folder.mkdir(parents=True)
    options = ["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread", "-Wl,-soname,libnvidia-ml.so.1"]
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", *options, *(f"-D{name}" for name in defines), "-o", library, SOURCE], check=True)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables of a process that is to find the driver in a folder, as what is there describes it."""
    return {"LD_LIBRARY_PATH": str(folder), STATE: str(folder / "state")}


class Driver:
    """A process that sees a driver through the loader, as any process does."""

    def __init__(self, executor: ProcessPoolExecutor) -> None:
        self._executor = executor

    @classmethod
    def start(cls, folder: Path) -> Driver:
        """Start a process that sees the driver in `folder`; a broken one where the folder holds an empty library."""
        driver = cls(ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")))
        with sheltered(), environment_set(environment(folder)):
            driver.run(os.getpid)
        return driver

    def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Return what a function of a module answers there, or raise what it raises."""
        return self._executor.submit(function, *arguments).result(timeout=60)

    def close(self) -> None:
        """End the process."""
        self._executor.shutdown()


def describe(*lines: str) -> None:
    """Set what the driver of this process reports from now on; each line is a directive."""
    path = Path(os.environ[STATE])
    new = path.with_name("state.new")
    new.write_text("driver 550.54.14\n" + "".join(f"{line}\n" for line in lines))
    new.replace(path)


@dataclass(frozen=True)
class Holder:
    """A process that holds real memory, and writes how many bytes into the file `figure`.

    Attributes:
        process: that was started: the holder itself, or its parent.
        pid: of the process that holds the memory.
    """

    process: subprocess.Popen[str]
    pid: int
    figure: Path

    @property
    def root(self) -> int:
        """The pid of the process that was started."""
        return self.process.pid

    def hold(self, mib: int) -> None:
        """Take so much more."""
        self._tell(f"hold {mib}")

    def drop(self) -> None:
        """Give everything back."""
        self._tell("drop")

    def end(self) -> None:
        """End it, however it is."""
        self.process.kill()
        self.process.wait()

    def _tell(self, command: str) -> None:
        assert self.process.stdin is not None
        print(command, file=self.process.stdin, flush=True)
        _answer(self.process)


@contextmanager
def holding(mib: int, *, in_grandchild: bool = False) -> Iterator[Holder]:
    """Run a child, or a child of a child, that holds so much memory."""
    figure = Path(os.environ[STATE]).with_name(f"figure-{next(_numbers)}")
    command = [*_PYTHON, _HOLDER, str(figure)]
    if in_grandchild:
        command = [*_PYTHON, "import subprocess, sys; subprocess.call(sys.argv[1:])", *command]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        holder = Holder(process, int(_answer(process)), figure)
        try:
            holder.hold(mib)
            yield holder
        finally:
            holder.end()


def _answer(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()
