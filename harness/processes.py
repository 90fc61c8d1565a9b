"""What processes of ours do alike: end for good, end with their parent, keep quiet, start without a user's modules."""

from __future__ import annotations

import ctypes
import os
import platform
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path

from harness.python_path import child_variables, safe_path

_POLL_SECONDS = 0.02


def kill_group(pgid: int, grace_seconds: float = 5.0, kill_seconds: float = 10.0) -> bool:
    """End every process of a group: SIGTERM, then SIGKILL for those that are still there.

    Zombies count as gone; reaping them is their parent's business, so `Popen.wait` and `Process.join` still work.

    Args:
        pgid: the group; never the caller's own.
        grace_seconds: how long members may take to end by themselves.
        kill_seconds: how long to wait for the kernel after SIGKILL; a process inside a hung driver outlives it.

    Returns:
        Whether all members are gone.

    Raises:
        ValueError: `pgid` is the caller's own group, or no group.
    """
    if pgid <= 1 or pgid == os.getpgrp():
        raise ValueError(f"process group {pgid} is not one to kill")
    for number, seconds in ((signal.SIGTERM, grace_seconds), (signal.SIGKILL, kill_seconds)):
        with suppress(ProcessLookupError):
            os.killpg(pgid, number)
        deadline = time.monotonic() + seconds
        while (alive := _has_members(pgid)) and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
        if not alive:
            return True
    return False


def _has_members(pgid: int) -> bool:
    import psutil

    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            if os.getpgid(pid) == pgid and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
    return False


def die_with_parent(*, group: bool = False) -> None:
    """End this process once the one that started it is gone, however it went: a daemon thread waits for that.

    Args:
        group: whether all of this process's group ends with it; it must be the group's leader.
    """
    threading.Thread(target=_await_parent, args=(group,), daemon=True).start()


def _await_parent(group: bool) -> None:
    parent = parent_process()
    if parent is None:
        return
    parent.join()
    if group:
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


@contextmanager
def redirected(*descriptors: int, to: Path | None = None) -> Iterator[None]:
    """Send what this process, its libraries included, writes to `descriptors` (1, 2) to a file, for the block.

    It holds for all threads: only for a program that does one thing at a time.

    Args:
        to: the file; None throws it away.
    """
    kept = {descriptor: os.dup(descriptor) for descriptor in descriptors}
    try:
        redirect(*descriptors, to=to)
        yield
    finally:
        for descriptor, copy in kept.items():
            os.dup2(copy, descriptor)
            os.close(copy)


def redirect(*descriptors: int, to: Path | None = None) -> None:
    """Do what `redirected` does, for good."""
    with open(os.devnull if to is None else to, "wb") as file:
        for descriptor in descriptors:
            os.dup2(file.fileno(), descriptor)


@contextmanager
def c_notes_discarded() -> Iterator[None]:
    """Throw away what libraries in C print to their `stderr`, and nothing else, for the block.

    Standard error as the process and Python have it stays open: other threads, a live view and servers go on writing.
    Blocks of several threads may overlap. It does nothing where the C library is not glibc.
    """
    _c_notes.enter()
    try:
        yield
    finally:
        _c_notes.leave()


class _CNotes:
    """The variable `stderr` of the C library while any block points it elsewhere."""

    def __init__(self) -> None:
        self._lock, self._blocks = threading.Lock(), 0
        self._variable: ctypes.c_void_p | None = None
        self._kept: int | None = None
        self._nowhere: int | None = None

    def enter(self) -> None:
        with self._lock:
            self._blocks += 1
            if self._blocks == 1 and self._prepared() and self._variable is not None:
                self._kept, self._variable.value = self._variable.value, self._nowhere

    def leave(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0 and self._nowhere and self._variable is not None:
                self._variable.value = self._kept

    def _prepared(self) -> bool:
        if self._variable is None and platform.libc_ver()[0] == "glibc":
            library = ctypes.CDLL(None)
            library.fopen.restype = ctypes.c_void_p
            self._nowhere = library.fopen(os.devnull.encode(), b"w")
            self._variable = ctypes.c_void_p.in_dll(library, "stderr")
        return bool(self._nowhere)


_c_notes = _CNotes()


@contextmanager
def environment_set(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the processes that are started within the block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def child_environment() -> dict[str, str]:
    """Return the environment for a program in Python: no module of the current folder is executed in it by its name."""
    return {**os.environ, **child_variables()}


@contextmanager
def sheltered() -> Iterator[None]:
    """Let children that `multiprocessing` starts within the block leave this program's own modules alone.

    They would import its `__main__` again: seconds for a heavy one, a second run of a script without a guard, and in a
    notebook there is none to import. And they would look for every module in the folder of the script, or the current
    one, first. What they are to call must therefore be importable from a module; see `harness.python_path`.

    Blocks of several threads may overlap: all is as it was when the last of them ends.
    """
    _shelter.enter()
    try:
        yield
    finally:
        _shelter.leave()


class _Shelter:
    """What children inherit of this program: made harmless while any block asks for it."""

    def __init__(self) -> None:
        self._lock, self._blocks = threading.Lock(), 0
        self._block = ExitStack()

    def enter(self) -> None:
        with self._lock:
            if self._blocks == 0:
                self._block.enter_context(environment_set(child_variables()))
                self._block.callback(setattr, sys, "path", sys.path)
                sys.path = safe_path()
                self._block.callback(sys.modules.__setitem__, "__main__", sys.modules["__main__"])
                sys.modules["__main__"] = types.ModuleType("__main__")
            self._blocks += 1

    def leave(self) -> None:
        with self._lock:
            self._blocks -= 1
            if self._blocks == 0:
                self._block.close()


_shelter = _Shelter()
